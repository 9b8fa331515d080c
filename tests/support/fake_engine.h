/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small engine for tests of the library: one thread that answers the conversation, drains lanes
 * into tails, writes groups into segment files and acknowledges. Its log outlives it, so that a
 * test can let it die and start another on the same log, which takes the lanes back. Knobs make it
 * slow, silent or unfriendly.
 */
#ifndef MR_FAKE_ENGINE_H
#define MR_FAKE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach.h"
#include "compress.h"
#include "group.h"
#include "lane.h"
#include "tail.h"

#define FAKE_PARTITIONS_MAX 4
#define FAKE_SEGMENTS_MAX   256
#define FAKE_PRODUCERS_MAX  32
#define FAKE_SESSIONS_MAX   8
#define FAKE_LANES_MAX	    16
#define FAKE_TAKES_MAX	    4096
#define FAKE_GROUPS_MAX	    65536

struct fake_segment {
	int fd;
	uint64_t id;
	uint64_t base_position;
	uint64_t base_offset;
};

struct fake_group {
	uint64_t position;
	uint64_t offset;
	uint64_t end;
};

/* What a data directory would hold of a partition. */
struct fake_partition {
	struct fake_segment segments[FAKE_SEGMENTS_MAX];
	uint32_t segment_count;
	struct fake_group *groups; /* closed ones, all that ever were */
	uint32_t group_count;
	uint64_t position; /* a group's start */
	uint64_t offset;
	uint64_t log_start;
	uint32_t previous_crc;
	uint64_t next_number[FAKE_PRODUCERS_MAX];
	uint64_t group_committed; /* offset of the only group there is; MR_OFFSET_UNKNOWN */
};

struct fake_log {
	uint8_t log_id[16];
	uint8_t topic_id[16];
	uint32_t partition_count;
	uint64_t tail_bytes;
	uint32_t segment_bytes;
	int64_t producers; /* ids given out */
	uint64_t starts;
	struct fake_partition partitions[FAKE_PARTITIONS_MAX];
};

/* What a test may turn while the engine runs. */
struct fake_knobs {
	_Atomic bool hold_drain; /* lanes fill */
	_Atomic bool hold_flush; /* appended, but neither flushed nor acknowledged */
	_Atomic bool keep_open;	 /* groups are flushed, but stay open in the tail until large */
	_Atomic bool mute;	 /* answers nothing */
	_Atomic bool topic_gone; /* the topic was deleted */
	_Atomic int refuse;	 /* answer hand-backs with this error */
	_Atomic int signs;	 /* that it is at work, before each answer, 30 ms apart */
	_Atomic int idle_ms;	 /* how long its thread sleeps: bells must wake it */
	_Atomic uint64_t rings;	 /* taken by workers */
	enum mr_config_compression compression; /* of its batches; before it starts */
};

struct fake_take {
	uint32_t lane;
	uint32_t index;
	uint64_t number;
	uint64_t base_offset;
	uint32_t count;
};

struct fake_lane {
	bool used;
	bool mapped;
	int session;
	int64_t producer_id;
	uint32_t partition;
	int client_fd;
	struct mr_lane_reader reader;
	struct mr_lane_engine_page *engine;
	uint32_t lane_bytes;
	int bell_to_worker;
	int bell_to_client;
};

struct fake_session {
	int socket; /* -1: free */
	const struct mr_wait_page *wait;
	int wait_fd;
	int bell;
};

struct fake_engine {
	struct fake_log *log;
	struct fake_knobs *knobs;
	int listener;
	pthread_t thread;
	_Atomic bool stop;
	struct mr_tail tails[FAKE_PARTITIONS_MAX];
	struct mr_group groups[FAKE_PARTITIONS_MAX]; /* open ones; bytes NULL: none */
	uint64_t group_position[FAKE_PARTITIONS_MAX];
	uint32_t reclaimed_groups[FAKE_PARTITIONS_MAX];
	uint64_t next_number[FAKE_PARTITIONS_MAX][FAKE_PRODUCERS_MAX];
	struct fake_session sessions[FAKE_SESSIONS_MAX];
	struct fake_lane lanes[FAKE_LANES_MAX];
	struct fake_take takes[FAKE_TAKES_MAX];
	uint32_t take_count;
	struct mr_packet packet;
	struct mr_compressor *compressor;
};

/* An empty log; segments are files without a name. */
void fake_log_init(struct fake_log *log, uint32_t partitions, uint64_t tail_bytes,
		   uint32_t segment_bytes);
void fake_log_free(struct fake_log *log);

/* Starts an engine at 'path' (an old socket there goes); it takes hand-backs. */
struct fake_engine *fake_engine_start(struct fake_log *log, struct fake_knobs *knobs,
				      const char *path);
/* Dies as by kill -9: what was not flushed is gone, lanes stay as they are. */
void fake_engine_kill(struct fake_engine *engine);

#endif
