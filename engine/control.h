/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: it owns the catalogue, the segments' list of every partition, the
 * conversations with clients, the checkpoint, and decides; workers append, the chores thread blocks
 * on the disk. control.c is its loop, control_log.c what it does about logs, control_memory.c what
 * about topics without one, control_topics.c topics, control_hosted.c one partition,
 * control_recover.c a start, control_host.c what clients ask for.
 */
#ifndef MR_CONTROL_H
#define MR_CONTROL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/config.h"
#include "base/secret.h"
#include "chores.h"
#include "counters.h"
#include "log/recover.h"
#include "offsets.h"
#include "own_lane.h"
#include "serve/local.h"
#include "topics.h"
#include "trouble.h"
#include "worker.h"

struct mr_control;
struct mr_control_peers;     /* control_peers.h */
struct mr_control_pipelines; /* control_pipelines.h */
struct host_watch;	     /* control_host.c */
struct segment_chore;	     /* control_log.c */
struct drop_chore;	     /* control_log.c */

enum mr_hosted_state {
	MR_HOSTED_OK,
	MR_HOSTED_READ_ONLY, /* its log is damaged */
	MR_HOSTED_FAILED,    /* the data directory failed (D3) */
	MR_HOSTED_REMOVING,
};

/* Whether the feed brings a replicated partition what arrives for it. */
enum mr_hosted_route {
	MR_ROUTE_NONE,
	MR_ROUTE_WAITING, /* its worker does not have it yet */
	MR_ROUTE_THERE,
	MR_ROUTE_LEAVING, /* until the feed says that nothing more comes */
};

/* How far the cutting of its log is: control_cut.c. */
enum mr_hosted_cut {
	MR_CUT_NONE,
	MR_CUT_UNROUTING,
	MR_CUT_LETTING_GO,
	MR_CUT_AT_REST,
	MR_CUT_CUTTING,
	MR_CUT_ADDING,
};

/* A partition as the control thread sees it. */
struct mr_hosted {
	struct mr_control *control;
	struct mr_topic *topic;
	int32_t number;
	enum mr_hosted_state state;
	struct mr_error reason; /* of READ_ONLY and FAILED */
	uint64_t corrupt_offset;
	struct mr_error damage; /* met by who read its log; code 0: none */
	char directory[96];
	struct mr_worker *worker;
	uint32_t worker_number;
	int32_t node;
	struct mr_worker_partition *part; /* the worker's; only handed out, never looked into */
	struct mr_log_files *files;
	int32_t leader_epoch;
	uint64_t next_segment_bytes;
	bool spare_wanted; /* making one failed: try again */
	bool spare_pending;
	bool spare_kept;	       /* an engine that ended well left one */
	bool no_space;		       /* told once */
	uint32_t chores;	       /* under way for this partition */
	struct segment_chore *unnamed; /* its active segment's: no space, tried again */
	struct drop_chore *undropped;  /* segments that could not be removed, tried again */
	bool dropping;		       /* segments, oldest first */
	bool naming;		       /* its active segment is called "spare" still */
	uint32_t lanes, watches;       /* that the worker has */
	struct host_watch *watch_list;
	uint32_t posts;	    /* requests that the worker has not answered */
	bool remove_posted; /* or will be, when the feed has let go of it */
	int remove_why;
	bool let_go;			       /* by the worker; it may still answer requests */
	bool removed;			       /* all answered */
	uint64_t ended_offset, ended_position; /* of its log when the worker let go; 0: not whole */
	struct mr_worker_message add, remove, spare, named, log_start, snapshot_message, reserved;
	bool reserved_out; /* offsets of a topic in memory, see control_memory.c */
	bool log_start_out;
	struct mr_worker_snapshot snapshot;
	bool snapshot_out;
	bool snapshot_valid;		     /* the last one, for the next checkpoint */
	struct mr_checkpoint_partition last; /* of the last snapshot; producers owned */
	uint64_t checkpointed_offset;
	struct mr_checkpoint_partition held; /* the next 'last', when all of it is committed */
	bool held_valid;
	/* replicated */
	enum mr_hosted_route route;
	enum mr_hosted_cut cut;
	uint64_t cut_offset;
	bool cut_reset;
	bool cut_waits;			     /* for space */
	bool cut_forgotten;		     /* by the pipelines that read it */
	bool cut_unlearnt;		     /* marks of their versions are among what goes */
	uint32_t forgets;		     /* of them, out */
	struct mr_checkpoint_partition anew; /* what the log begins anew with, if 'anew_valid' */
	bool anew_valid;
	struct mr_trouble name_trouble, drop_trouble, cut_trouble, read_trouble;
	uint64_t waits_since_ns; /* it acknowledges nothing; 0: it does (control_waits.c) */
	uint64_t told_isr; /* while this host leads it: what people were told (control_sync.c) */
	bool lost;	   /* as topic->lost, until the register says it */
	struct mr_worker_partition *cut_part; /* whose place 'part' takes */
	_Atomic uint64_t *counters[MR_PARTITION_COUNTERS];
};

/* Its log takes requests: the worker has it, and nobody takes it away. */
static inline bool mr_hosted_serves(const struct mr_hosted *hosted)
{
	return hosted->part && !hosted->remove_posted && !hosted->let_go && !hosted->cut;
}

/* What is known to be damaged of its log; code 0: nothing. */
static inline const struct mr_error *mr_hosted_damage(const struct mr_hosted *hosted)
{
	return hosted->state == MR_HOSTED_READ_ONLY ? &hosted->reason : &hosted->damage;
}

/* R7: of what others count on here something is gone, or damaged. */
static inline bool mr_hosted_must_leave(const struct mr_hosted *hosted)
{
	return hosted->lost || hosted->state == MR_HOSTED_READ_ONLY;
}

/* All partitions of a topic; topic->owner. */
struct mr_hosted_topic {
	struct mr_topic *topic;
	struct mr_hosted *partitions;	  /* topic->partition_count */
	struct mr_local_ticket *deleting; /* answered when the last partition is gone; or NULL */
	struct mr_hosted_topic *next;	  /* in control->deleted */
};

struct mr_pending_commit {
	struct mr_local_ticket *ticket; /* NULL: a peer's */
	struct mr_commit commit;
	struct mr_offsets_stamp stamp;
	uint64_t number; /* of its record: answered when acknowledged */
	struct mr_pending_commit *next;
};

struct mr_control {
	TAILQ_HEAD(, mr_control_making) makings; /* topics that are not there yet */
	uint64_t making_ns;			 /* when there was a step of one */
	const struct mr_config *config;
	struct mr_io *io;
	const struct mr_clock *clock;
	struct mr_counters *counters;
	struct mr_secret secret;
	struct mr_topics topics;
	struct mr_hosted_topic
		*deleted;  /* out of the catalogue, not yet out of the workers' hands */
	uint32_t deleting; /* those, and those whose files are being removed */
	struct mr_checkpoint checkpoint; /* the newest written: log id, starts, producer ids */
	int64_t next_producer_id;	 /* below checkpoint.next_producer_id */
	int32_t leader_epoch;		 /* of this start */
	struct mr_place_plan plan;
	struct mr_worker **workers;
	struct mr_worker_message *failures; /* MR_WORKER_FAIL, one a worker, sent at most once */
	uint32_t worker_count;
	uint32_t guests[MR_PLACE_WORKERS_MAX];	   /* lanes and watches that each worker has */
	uint32_t partitions[MR_PLACE_WORKERS_MAX]; /* and partitions */
	struct mr_chores *chores;
	struct mr_control_peers *peers; /* NULL: this host is alone */
	struct mr_control_pipelines *pipelines;
	struct mr_local *local;
	struct mr_local_host host;
	struct mr_offsets *offsets;
	struct mr_own_lane commit_lane; /* into "__offsets", from the first commit on */
	struct mr_pending_commit *commits, **commits_end;
	uint64_t commits_applied; /* offset of "__offsets" up to which 'offsets' is right */
	int epoll_fd;
	int stop_fd; /* eventfd: rung to stop */
	struct mr_local_source stop_source, chores_source, workers_source, commits_source;
	char data_path[1024];
	char socket_path[108];
	uint64_t started_ns;
	uint64_t next_second_ns;
	uint64_t told_ns; /* clients, that this thread is at work and does not answer */
	uint64_t quiet_since_ns;
	uint64_t checkpoint_ns;
	uint64_t last_log_end_sum;
	uint64_t checkpoint_sum; /* log end offsets added up when the last checkpoint was begun */
	bool checkpoint_running; /* snapshots are out, or it is being written */
	bool checkpoint_writing;
	bool checkpoint_again; /* there was no space for one */
	struct mr_trouble checkpoint_trouble;
	bool stopping;
	uint32_t feed_version_max;
	bool failed;	     /* the data directory failed */
	uint32_t lanes_left; /* at the end, that were not empty in time */
	struct mr_error failure;
	struct mr_error shortage; /* for want of room, the last: control_disk.c */
};

struct mr_control_options {
	const struct mr_config *config;
	struct mr_io *io; /* borrowed */
	const struct mr_clock *clock;
	const char *data_path;
	const char *socket_path;
	int counters_fd;			  /* taken */
	void (*say)(const char *line, void *arg); /* progress of a long recovery; may be NULL */
	void *arg;
	uint32_t feed_version_max; /* 0: MR_FEED_VERSION */
};

/*
 * Recovers everything below the data directory, takes a new epoch durably, starts workers and
 * listens. When it returns 0 clients can connect; mr_control_run() serves them.
 */
int mr_control_open(const struct mr_control_options *options, struct mr_control **out,
		    struct mr_error *err);
/* Runs until mr_control_stop(); then flushes, checkpoints, and lets everything go. */
void mr_control_run(struct mr_control *control);
/* After it: so many lanes were not empty in time; their producers hold what is in them. */
uint32_t mr_control_lanes_left(const struct mr_control *control);
/* From any thread or a signal handler. */
void mr_control_stop(struct mr_control *control);
void mr_control_close(struct mr_control *control); /* after run; takes NULL */
/* Not 0 once the data directory failed. Any thread. */
bool mr_control_degraded(const struct mr_control *control);

/* ---- among the control thread's own files -------------------------------------------------------
 */

/* control.c */
int mr_control_watch_fd(struct mr_control *control, int fd, struct mr_local_source *source,
			void (*ready)(struct mr_local_source *, uint32_t), struct mr_error *err);
/* Feed and coordinator, then workers: once this start's number is durable. */
int mr_control_start_threads(struct mr_control *control, struct mr_error *err);

/* control_peers.c: all of it does nothing on a host that is alone */
int mr_control_peers_open(struct mr_control *control, struct mr_error *err);
void mr_control_peers_close(struct mr_control *control);
struct mr_feed_port *mr_control_peers_port(struct mr_control *control, uint32_t worker);
void mr_control_peers_turn(struct mr_control *control);
void mr_control_peers_second(struct mr_control *control);
bool mr_control_peers_sleep(struct mr_control *control);
void mr_control_peers_wake(struct mr_control *control);

/* control_coord.c: of replicated partitions */
/* 'created': just now, with its topic. */
int mr_control_register(struct mr_hosted *hosted, bool created, struct mr_error *err);
void mr_control_unregister(struct mr_hosted *hosted);
void mr_control_coordinate(struct mr_hosted *hosted, struct mr_worker_message *message);
/* A person's word; the ticket is answered later. */
struct mr_control_promotion {
	uint32_t to;
	bool accept_loss; /* and the old leader is stopped */
};
int mr_control_promote(struct mr_hosted *hosted, const struct mr_control_promotion *promotion,
		       struct mr_local_ticket *ticket, struct mr_error *err);

/* control_cut.c: of replicated partitions */
void mr_control_added(struct mr_hosted *hosted);
/* False: not yet; mr_control_post_removal() follows. */
bool mr_control_may_remove(struct mr_hosted *hosted);
void mr_control_truncate(struct mr_hosted *hosted, struct mr_worker_message *message);
void mr_control_let_go(struct mr_hosted *hosted);

/* control_anew.c: states that replicas hand to each other */
void mr_control_keep_state(struct mr_hosted *hosted, struct mr_worker_message *message);
void mr_control_state_room(struct mr_hosted *hosted, struct mr_worker_message *message);
/* message->state: into hosted->anew, for a log that begins at message->offset. -EBADMSG: none */
int mr_control_take_state(struct mr_hosted *hosted, struct mr_worker_message *message);
void mr_control_drop_state(struct mr_worker_message *message);
void mr_control_forget_anew(struct mr_hosted *hosted);

/* control_catalog.c */
/* Peers with a replica hear of it. */
void mr_control_topic_made(struct mr_control *control, const struct mr_topic *topic);
/* The largest record that may be published to it: as all known hosts take it that keep a copy. */
uint32_t mr_control_record_bytes_max(const struct mr_control *control,
				     const struct mr_topic *topic);
void mr_control_topic_deleted(struct mr_control *control, const struct mr_topic *topic);
/* No topic here has this name any more. */
void mr_control_catalog_name_free(struct mr_control *control, const char *name);

/* control_report.c: for people, as JSON */
struct json_t;
void mr_control_add_replica(struct json_t *row, const struct mr_hosted *hosted);
void mr_control_add_replicas(struct json_t *row, const struct mr_control *control,
			     const struct mr_topic *topic);
struct json_t *mr_control_peers_json(struct mr_control *control);
struct json_t *mr_control_status_json(struct mr_control *control);

/* control_waits.c: rows on partitions that acknowledge nothing; of 'topic', or of all. */
struct json_t *mr_control_waits_json(struct mr_control *control, const struct mr_topic *topic);
/* Why one acknowledges nothing, and what to do, into 'why' and 'hint'. False: it does. */
bool mr_control_wait_words(const struct mr_hosted *hosted, struct mr_error *out);

/* control_commits.c: peers with a replica hear of it */
void mr_control_commit_made(struct mr_control *control, const struct mr_commit *commit,
			    struct mr_offsets_stamp stamp);

/* control_hosted.c */
/* topic->owner, with all its partitions; no worker has any. NULL: no memory. */
struct mr_hosted_topic *mr_control_hosted_topic_new(struct mr_control *control,
						    struct mr_topic *topic);
void mr_control_free_topic(struct mr_topic *topic);
/* Since the engine's start; false: it was not counted for this partition alone. */
bool mr_control_counted(const struct mr_hosted *hosted, enum mr_partition_counter which,
			uint64_t *value);
/* The largest record alone in a batch. */
uint32_t mr_control_batch_bytes_max(const struct mr_config *config);
/* Of each of its partitions. */
uint64_t mr_control_tail_bytes(const struct mr_control *control, const struct mr_topic *topic);
/* A segment of about 'wanted' bytes: within what the topic wants, and enough for any batch. */
uint64_t mr_control_segment_bytes(const struct mr_hosted *hosted, uint64_t wanted);
/* What the first checkpoint of this start says of a partition: exactly what recovery found. */
int mr_control_remember_start(struct mr_hosted *hosted, const struct mr_recovered *recovered,
			      const struct mr_partition *state);
int mr_control_begin_in_memory(struct mr_hosted *hosted, bool created,
			       struct mr_recovered *recovered, struct mr_partition *state,
			       struct mr_error *err);
/* The worker's half and the control thread's half of a recovered (or new) log. */
int mr_control_make_part(struct mr_hosted *hosted, struct mr_recovered *recovered,
			 struct mr_partition *state, struct mr_error *err);
/* The highest that it has led or followed under, or that its log has. */
int32_t mr_control_leader_epoch(const struct mr_hosted *hosted);
/* Its worker takes it; or it never will. */
void mr_control_hand_over(struct mr_hosted *hosted);
void mr_control_give_up_part(struct mr_hosted *hosted);
/* A new one: its files and what a worker is to have of it, without memory yet. */
int mr_control_make_partition(struct mr_hosted *hosted, struct mr_error *err);
/* It is known from now on, and its worker's. */
int mr_control_enter_partition(struct mr_hosted *hosted, struct mr_error *err);
void mr_control_remove_partition(struct mr_hosted *hosted, int why);
void mr_control_post_removal(struct mr_hosted *hosted);
/* The control thread's half of its log, the active segment too. */
void mr_control_close_files(struct mr_hosted *hosted);
void mr_control_partition_removed(struct mr_hosted *hosted); /* the worker let go of it */

/* control_recover.c */
int mr_control_recover_topics(struct mr_control *control, const struct mr_control_options *options,
			      struct mr_error *err);

/* control_making.c */
/* Who is told when it is there; 'topic' NULL: 'err' says why it is not. */
struct mr_control_told {
	void (*made)(struct mr_control *control, void *arg, struct mr_topic *topic,
		     const struct mr_error *err);
	void *arg;
};
struct mr_control_making {
	TAILQ_ENTRY(mr_control_making) entry;
	struct mr_topic *topic;
	bool begun;
	int32_t next;	    /* the partition that is made */
	uint64_t populated; /* bytes of its tail */
	struct mr_control_told told;
};
/* Partitions. */
static inline uint64_t mr_control_making_left(const struct mr_control_making *making)
{
	return (uint64_t)(making->topic->partition_count - making->next);
}
/* 1: there is more to do; 0: all of it is there, and nobody knows; or a negative errno. */
int mr_control_making_step(struct mr_control *control, struct mr_control_making *making,
			   struct mr_error *err);
/*
 * A step with each turn of the loop, those with fewest partitions first; then it is installed and
 * who is told hears of it: with NULL, and why, where it failed. 'topic' is taken. -ENOMEM.
 */
int mr_control_make_later(struct mr_control *control, struct mr_topic *topic,
			  const struct mr_control_told *told, struct mr_error *err);
/* 'busy': others are being served just now; they come first, for a while. */
void mr_control_making_turn(struct mr_control *control, bool busy);
/* The engine stops: none of them will be there. */
void mr_control_making_end(struct mr_control *control);
/* -EAGAIN: a topic of that name is being made; 0: none is. */
int mr_control_making_explain(const struct mr_control *control, const char *name,
			      struct mr_error *err);

/* control_topics.c */
/* What is known now goes into both slots of the checkpoint, after one that is being written. */
int mr_control_vouch(struct mr_control *control, struct mr_error *err);
int mr_control_save_catalogue(struct mr_control *control, struct mr_error *err);
/* -ENOENT, with the name that may have been meant, or where else it may be. */
int mr_control_no_topic(const struct mr_control *control, const char *name, struct mr_error *err);
int mr_control_open_topic(struct mr_control *control, const char *name, bool create,
			  struct mr_topic **out, struct mr_error *err);
/*
 * Begun, then settled: several at a time are as dear as one. In between nothing else may happen to
 * them, and on failure of the second each is undone. 'topic' is taken, on failure too.
 */
int mr_control_begin_topic(struct mr_control *control, struct mr_topic *topic,
			   struct mr_error *err);
/* Clients are told from now on that this thread is at work: before the first. */
void mr_control_begin_work(struct mr_control *control);
int mr_control_settle_topics(struct mr_control *control, bool replicated, struct mr_error *err);
void mr_control_undo_topic(struct mr_control *control, struct mr_topic *topic, int why,
			   struct mr_error *err);
int mr_control_create_topic(struct mr_control *control, const struct mr_config_topic *wanted,
			    struct mr_topic **out, struct mr_error *err);
/* The same while others are served; 0: who is told will hear of it. */
int mr_control_create_later(struct mr_control *control, const struct mr_config_topic *wanted,
			    const struct mr_control_told *told, struct mr_error *err);
/* The last of it: all of it is there, or 'r' < 0 says that it is not. 'topic' is taken. */
int mr_control_install_topic(struct mr_control *control, struct mr_topic *topic, int r,
			     struct mr_error *err);
/* As 'like' in partitions, replicas and leaders; in 'storage'. */
int mr_control_create_like(struct mr_control *control, const char *name,
			   const struct mr_topic *like, enum mr_config_storage storage,
			   struct mr_topic **out, struct mr_error *err);
int mr_control_delete_topic(struct mr_control *control, struct mr_topic *topic,
			    struct mr_local_ticket *ticket, struct mr_error *err);
struct mr_hosted *mr_control_find(struct mr_control *control, const uint8_t topic_id[16],
				  int32_t partition, struct mr_error *err);
void mr_control_finish_deleting(struct mr_control *control);

/* control_memory.c */
/* Of a new topic's partition, or of one that the catalogue names at start. */
void mr_control_begin_offsets(struct mr_hosted *hosted, bool created, struct mr_recovered *out);
void mr_control_reserve_offsets(struct mr_hosted *hosted);

/* control_log.c */
void mr_control_log_event(struct mr_hosted *hosted, struct mr_worker_message *message);
void mr_control_make_spare(struct mr_hosted *hosted);
void mr_control_every_second(struct mr_control *control);
void mr_control_give_up_name(struct mr_hosted *hosted);
void mr_control_log_start_known(struct mr_hosted *hosted);
void mr_control_forget_chores(struct mr_hosted *hosted); /* those that wait to be tried again */
void mr_control_forget_held(struct mr_hosted *hosted);
/* Short of something that may come back; nothing was lost. */
bool mr_control_may_pass(int status);
/* That happened: why, for people. */
void mr_control_note_shortage(struct mr_control *control, const struct mr_error *err);
/* A chore for this partition failed and is tried again; or went well. */
void mr_control_trouble(const struct mr_hosted *hosted, struct mr_trouble *trouble,
			const char *what, const struct mr_chore *chore);
void mr_control_snapshot_done(struct mr_hosted *hosted, struct mr_worker_message *message);
/* Collects snapshots, then writes by a chore; or writes at once what is known. */
void mr_control_checkpoint(struct mr_control *control);
int mr_control_checkpoint_now(struct mr_control *control, struct mr_error *err);
void mr_control_checkpoint_clean(struct mr_control *control);
/* What must not go back even if one slot is damaged later: producer ids, the start, epochs. */
int mr_control_checkpoint_twice(struct mr_control *control, struct mr_error *err);
void mr_control_fail(struct mr_control *control, int status, const char *what);
/* A request met 'status' on the disk: -EIO is no matter of that request only (D3). */
void mr_control_suspect(struct mr_control *control, int status, const struct mr_error *err);

/* control_host.c */
extern const struct mr_local_host
	mr_control_host_operations; /* .engine is filled in by control.c */
void mr_control_lane_added(struct mr_worker_message *message);
void mr_control_lane_closed(struct mr_worker_message *message);
void mr_control_lane_poisoned(struct mr_worker_message *message);
void mr_control_drop_watches(struct mr_hosted *hosted);
void mr_control_watch_removed(struct mr_worker_message *message);
int mr_control_new_producer_id(struct mr_control *control, int64_t *id, struct mr_error *err);

/* control_offsets.c */
int mr_control_commit(void *engine, const struct mr_commit *request, struct mr_local_ticket *ticket,
		      struct mr_error *err);
int mr_control_publish_commit(struct mr_control *control, const struct mr_commit *request,
			      struct mr_offsets_stamp stamp, struct mr_local_ticket *ticket,
			      struct mr_error *err);
int mr_control_committed(void *engine, const struct mr_commit *request, uint64_t *offset,
			 struct mr_error *err);
void mr_control_commits_acknowledged(struct mr_control *control);
extern const struct mr_own_lane_events mr_control_commit_lane_events;
void mr_control_fail_commits(struct mr_control *control, const struct mr_error *why);
int mr_control_load_offsets(struct mr_control *control, struct mr_error *err);
int mr_control_replay_offsets(struct mr_control *control, struct mr_error *err);

/* control_space.c */
const char *mr_control_bytes_text(uint64_t bytes, char room[24]); /* "1.5 GiB" */
/* -ENOMEM, -ENOSPC: this host has not what the topic's partitions take; none is made yet. */
int mr_control_check_topic_space(struct mr_control *control, const struct mr_topic *topic,
				 struct mr_error *err);
/* The same of the memory of all that are there. */
int mr_control_check_start_memory(struct mr_control *control, struct mr_error *err);

/* control_pipelines.c */
int mr_control_pipelines_open(struct mr_control *control, struct mr_error *err);
/* Their threads run from here on. */
void mr_control_pipelines_run(struct mr_control *control);
void mr_control_pipelines_stop(struct mr_control *control);
bool mr_control_pipelines_ended(const struct mr_control *control);
void mr_control_pipelines_close(struct mr_control *control); /* takes none */

/* control_versions.c */
/* MR_WORKER_APPEND is back: of which partition. */
struct mr_hosted *mr_control_version_marked(struct mr_worker_message *message);
void mr_control_versions_second(struct mr_control *control);

/* control_rules.c: what people ask of pipelines */
struct mr_admin_request {
	struct mr_control *control;
	const struct json_t *json;
	struct mr_local_ticket *ticket;
	struct json_t *reply; /* owned; NULL: answered later */
};
int mr_control_rule_add(struct mr_admin_request *request, struct mr_error *err);
int mr_control_rule_list(struct mr_admin_request *request, struct mr_error *err);
int mr_control_rule_describe(struct mr_admin_request *request, struct mr_error *err);
int mr_control_rule_remove(struct mr_admin_request *request, struct mr_error *err);
int mr_control_get(struct mr_admin_request *request, struct mr_error *err);
/* -EBUSY: a pipeline reads or writes it. */
int mr_control_rule_uses(const struct mr_control *control, const char *topic, struct mr_error *err);

/* control_admin.c */
int mr_control_admin(struct mr_control *control, const char *request,
		     struct mr_local_ticket *ticket, char **reply, struct mr_error *err);

/* Iterating over every partition. */
#define mr_control_each(control, hosted)                                                           \
	for (size_t i_ = 0; i_ < (control)->topics.count; i_++)                                    \
		for (struct mr_hosted_topic *t_ = (control)->topics.topics[i_]->owner; t_;         \
		     t_ = NULL)                                                                    \
			for (int32_t p_ = 0;                                                       \
			     p_ < t_->topic->partition_count && ((hosted) = &t_->partitions[p_]);  \
			     p_++)

#endif
