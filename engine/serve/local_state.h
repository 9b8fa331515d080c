/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the conversation share (local.c, local_lane.c, local_read.c); nobody else
 * includes it. All of it belongs to the control thread.
 */
#ifndef MR_LOCAL_STATE_H
#define MR_LOCAL_STATE_H

#include "attach.h"
#include "local.h"

#define MR_LOCAL_WAITS_MAX   64	  /* per session */
#define MR_LOCAL_WATCHES_MAX 4096 /* per wait page */

enum mr_local_lane_stage {
	MR_LOCAL_LANE_OFFERED, /* memory sent; waiting for "mapped" */
	MR_LOCAL_LANE_OPEN,    /* a worker has it */
	MR_LOCAL_LANE_CLOSING, /* the worker was asked to let go */
	MR_LOCAL_LANE_GONE,
};

struct mr_local_lane {
	struct mr_local *local;
	struct mr_local_session *session; /* NULL: the session ended before the lane */
	struct mr_local_lane *next;	  /* all lanes of the engine */
	struct mr_lane_identity identity;
	enum mr_local_lane_stage stage;
	uint64_t id;
	uint32_t close_request; /* request_id to answer when it is closed; 0: nobody asked */
	int client_fd;
	int engine_fd;
	int bell_to_worker;
	int bell_to_client; /* the end that is rung */
	int bell_at_client; /* the end that it sleeps on: handed out, then closed here */
	int bells;	    /* the worker's set */
	struct mr_lane_engine_page *engine; /* until a worker's reader has it */
	void *handle;
};

/* A consumer's page to sleep on; freed when its last watch is gone. */
struct mr_local_wait {
	struct mr_local_session *session;
	struct mr_local_wait *next;
	uint64_t id;
	int memory_fd;
	int bell;			 /* the end that is rung */
	int wait_bell;			 /* the end that is handed out */
	const struct mr_wait_page *page; /* NULL until "mapped" */
	struct mr_local_watch *watches;
	uint32_t watch_count;
	bool ended;
};

struct mr_local_watch {
	struct mr_local *local;
	struct mr_local_wait *wait;
	struct mr_local_watch *next;
	uint8_t topic_id[16];
	int32_t partition;
	void *handle;
	bool removing;
};

struct mr_local_ticket {
	struct mr_local *local;
	struct mr_local_session *session; /* NULL: nobody waits for the answer any more */
	struct mr_local_ticket *next;
	uint32_t request_id;
	uint16_t type;
};

struct mr_local_session {
	struct mr_local_source source; /* first: the socket's events */
	struct mr_local *local;
	struct mr_local_session *next;
	struct mr_local_wait *waits;
	int socket;
	uint32_t uid;
	int32_t pid;
	uint64_t next_id; /* names of lanes and waits on this connection */
	uint32_t lane_count;
	uint32_t wait_count;
	/* Of a text that the socket had no room for: sent as the client reads; NULL: none. */
	char *unsent;
	size_t unsent_at;
	uint64_t unsent_ns; /* when it took some of it last */
	struct mr_message_header unsent_head;
	bool greeted;
	bool ended; /* swept when no event can name it */
	char name[64];
};

struct mr_local {
	struct mr_local_source source; /* first: the listening socket's events */
	struct mr_local_options options;
	char socket_path[108];
	int listener;
	int spare_fd; /* let go when no descriptor is left, to turn a client away */
	struct mr_local_session *sessions;
	struct mr_local_lane *lanes;
	struct mr_local_ticket *tickets;
	struct mr_packet packet; /* one at a time */
	struct mr_packet early;	 /* a hello, while that one is carried out */
	uint32_t session_count;
	uint32_t lane_count;
	uint32_t watches_out; /* watches that workers still have */
	bool ending;
};

/* local.c */
void mr_local_reply(struct mr_local_session *session, const struct mr_message_header *request,
		    const void *body, size_t bytes, const int *fds, uint32_t fd_count);
void mr_local_refuse(struct mr_local_session *session, const struct mr_message_header *request,
		     const struct mr_error *err);
void mr_local_hang_up(struct mr_local_session *session);
struct mr_local_ticket *mr_local_ticket_new(struct mr_local_session *session,
					    const struct mr_message_header *request);
void mr_local_ticket_free(struct mr_local_ticket *ticket);

/* local_lane.c; each answers the request or returns a negative errno with its sentence. */
int mr_local_open_lane(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err);
int mr_local_lane_mapped(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err);
int mr_local_hand_back(struct mr_local_session *session, struct mr_packet *packet,
		       struct mr_error *err);
int mr_local_close_lane(struct mr_local_session *session, const struct mr_packet *packet,
			struct mr_error *err);
void mr_local_end_lanes(struct mr_local_session *session);

/* local_read.c */
int mr_local_open_wait(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err);
int mr_local_wait_mapped(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err);
int mr_local_attach_tail(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err);
int mr_local_detach_tail(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err);
int mr_local_find_segment(struct mr_local_session *session, const struct mr_packet *packet,
			  struct mr_error *err);
int mr_local_find_offset(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err);
int mr_local_commit(struct mr_local_session *session, const struct mr_packet *packet,
		    struct mr_error *err);
int mr_local_committed(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err);
void mr_local_end_waits(struct mr_local_session *session);

#endif
