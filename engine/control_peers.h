/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This host among its peers, as the control thread sees it: the feed, the coordinator, and what
 * hosts tell each other of topics. Parts of it: control_peers.c starts the feed and takes its
 * events; control_coord.c stands between coordinator and workers; control_catalog.c exchanges
 * topics, control_names.c names of those that are elsewhere, control_commits.c groups' positions,
 * control_disk.c how their disks are; control_sync.c says who is in sync no longer; control_cut.c
 * routes partitions, cuts their logs and takes them away; control_report.c tells people. All of it
 * runs on the control thread.
 */
#ifndef MR_CONTROL_PEERS_H
#define MR_CONTROL_PEERS_H

#include <jansson.h>

#include "control.h"
#include "replica/coord_static.h"
#include "replica/feed.h"
#include "trouble.h"

#define MR_CLASHES_MAX 16 /* told to people: more are said once and forgotten */

/* A topic that a peer has under a name that means another one here. */
struct mr_clash {
	char name[MR_TOPIC_NAME_MAX + 1];
	uint32_t node;
};

/* A peer's topic that was begun here and is settled with those that come together with it. */
struct mr_heard_topic {
	struct mr_topic *topic;
	uint32_t node;
};

/* What a host says of its disk, for people. */
struct mr_disk_state {
	enum mr_disk_kind {
		MR_DISK_WELL,
		MR_DISK_SHORT,	/* of room, most often: tried again */
		MR_DISK_FAILED, /* for good, until it is started again (D3) */
	} kind;
	char why[320];
};

/* Of topics that a peer keeps and this host does not. */
struct mr_peer_names {
	char **names;
	uint32_t count, room;
};

struct mr_peer_samples {
	uint64_t at_ns;
	uint32_t count;
	struct mr_feed_peer_status peers[MR_CONFIG_HOSTS_MAX];
};

struct mr_control_peers {
	struct mr_control *control;
	struct mr_feed *feed;
	struct mr_coord *coord;
	struct mr_local_source feed_source;
	uint64_t connected;   /* bit i: node i */
	uint64_t ask_topics;  /* bit i: its topics could not all be made here: asked again */
	uint64_t ask_commits; /* bit i: nor did its groups' positions find room */
	uint64_t told_old;    /* bit i: people know that its engine is too old to begin anew by */
	uint32_t cuts;	      /* partitions whose logs are being cut */
	struct mr_clash clashes[MR_CLASHES_MAX];
	uint32_t clash_count;
	struct mr_heard_topic *heard; /* begun, not settled: within one turn only */
	uint32_t heard_count, heard_room;
	bool names_due;
	bool catalogue_due; /* what was heard is not in the file yet */
	struct mr_trouble topic_trouble, catalogue_trouble, coord_trouble;
	struct mr_disk_state own_disk; /* as it was told last */
	struct mr_disk_state disks[MR_NODES_MAX];
	struct mr_link_trust_ends ends; /* of certificates; 0: none */
	int64_t ends_told_ms;		/* when people were last warned of that */
	struct mr_peer_names names[MR_NODES_MAX];
	uint64_t named;				 /* bit i: node i said which, since the start */
	uint64_t record_bytes_max[MR_NODES_MAX]; /* as peers said; 0: not yet */
	struct mr_peer_samples sampled[2];	 /* now, and a second ago: for rates */
};

static inline uint64_t mr_node_bit(uint32_t node)
{
	return UINT64_C(1) << node;
}

/* "b", or "7" of a host that the configuration does not know (any more). */
const char *mr_control_node_name(const struct mr_control *control, uint32_t node, char room[16]);
/* "a, c"; "none". */
const char *mr_control_node_list(const struct mr_control *control, uint64_t nodes, char *text,
				 size_t bytes);
/* -ENOENT: the configuration knows no such host. */
int mr_control_node_number(const struct mr_control *control, const char *name, uint32_t *node);

/* control_peers.c */
/* What a person may do about a connection that did not come about; "": nobody knows. */
const char *mr_control_peer_hint(const char *why);
/* To one node, or to all of 'nodes' that are connected. Takes the JSON. */
void mr_control_tell(struct mr_control_peers *peers, uint64_t nodes, json_t *json);

/* control_coord.c */
int mr_control_coord_open(struct mr_control_peers *peers, struct mr_error *err);
void mr_control_coord_close(struct mr_control_peers *peers);
/* What it has to say goes to the workers. */
void mr_control_coord_turn(struct mr_control_peers *peers);
void mr_control_coord_second(struct mr_control_peers *peers);

/* control_catalog.c */
void mr_control_catalog_tell_all(struct mr_control_peers *peers, uint32_t node);
void mr_control_catalog_second(struct mr_control_peers *peers);
/* At the end of a turn. */
void mr_control_catalog_turn(struct mr_control_peers *peers);
/* Topics that were heard of are made to last: before anything else is done with them. */
void mr_control_catalog_settle(struct mr_control_peers *peers);
/* What a peer said. False: that is no word about topics. */
bool mr_control_catalog_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json);

/* control_names.c */
void mr_control_names_tell_all(struct mr_control_peers *peers, uint32_t node);
void mr_control_names_made(struct mr_control_peers *peers, const struct mr_topic *topic);
void mr_control_names_gone(struct mr_control_peers *peers, const struct mr_topic *topic);
bool mr_control_names_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json);
/* What was known before this start; and what is new goes into the file. */
void mr_control_names_open(struct mr_control_peers *peers);
void mr_control_names_second(struct mr_control_peers *peers);
void mr_control_names_close(struct mr_control_peers *peers);
/* Who has a topic of that name, as far as was heard: bit i is node i. */
uint64_t mr_control_names_keepers(const struct mr_control_peers *peers, const char *name);
/* -EEXIST: one that is to keep a copy of 'topic' has another one of that name. */
int mr_control_names_check(const struct mr_control_peers *peers, const struct mr_topic *topic,
			   struct mr_error *err);
/* Of a topic that is not here: where it is, or where it may be. */
void mr_control_names_explain(const struct mr_control_peers *peers, const char *name,
			      struct mr_error *err);

/* control_commits.c */
void mr_control_commits_tell_all(struct mr_control_peers *peers, uint32_t node);
bool mr_control_commits_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json);
void mr_control_commits_second(struct mr_control_peers *peers);

/* control_disk.c */
void mr_control_disk_tell(struct mr_control_peers *peers, uint32_t node); /* it connected */
void mr_control_disk_second(struct mr_control_peers *peers);
bool mr_control_disk_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json);
json_t *mr_control_disk_json(const struct mr_disk_state *disk);
/* Nobody is made leader whose disk failed: it would not lead. */
int mr_control_disk_may_lead(const struct mr_control_peers *peers, uint32_t node,
			     struct mr_error *err);
/* The peers that cannot write: who, why, and what to do. */
json_t *mr_control_disks_json(const struct mr_control *control);
/* What a person may do there; "" when it is well. */
const char *mr_control_disk_hint(const struct mr_disk_state *disk);

/* control_pipeline_peers.c */
void mr_control_pipelines_tell_all(struct mr_control_peers *peers, uint32_t node);
bool mr_control_pipelines_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json);

/* control_pipeline_cut.c */
/* True: no pipeline knows any more what the log is about to lose. */
bool mr_control_pipelines_forget(struct mr_hosted *hosted);

/* control_report.c */
void mr_control_report_second(struct mr_control_peers *peers);

/* control_sync.c */
void mr_control_sync_second(struct mr_control_peers *peers);
/* Why a replica is not in sync, as its leader's view has it; "": it is not known. */
const char *mr_control_sync_why(const struct mr_control_peers *peers, uint32_t node,
				const struct mr_worker_replica_peer_view *view);

/* Why this follower gets nothing although its leader is connected; "": that is not so. */
const char *mr_control_follow_why(const struct mr_hosted *hosted);

/* control_trust.c */
int mr_control_trust_open(struct mr_control_peers *peers, struct mr_link_trust **out,
			  struct mr_error *err);
void mr_control_trust_second(struct mr_control_peers *peers);
void mr_control_add_certificates(json_t *row, const struct mr_control *control);

/* control_waits.c */
void mr_control_waits_second(struct mr_control_peers *peers);

/* control_cut.c */
void mr_control_unrouted(struct mr_hosted *hosted);
void mr_control_cuts_turn(struct mr_control_peers *peers);
void mr_control_routes_second(struct mr_control_peers *peers);

#endif
