/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One partition's log without an engine around it: writer, files, recovery and the chores that the
 * engine's threads would do, each only when a test says so. Aborts when something fails that the
 * test did not ask for.
 */
#ifndef MR_TEST_LOG_RIG_H
#define MR_TEST_LOG_RIG_H

#include "batches.h"
#include "io_fake.h"
#include "log.h"
#include "recover.h"

#define RIG_DIRECTORY  "topics/0123/0"
#define RIG_CHORES_MAX 4

struct mr_test_rig_options {
	struct mr_log_options log;
	uint64_t tail_bytes;
	uint64_t segment_bytes;
	uint32_t producers_max;
	uint64_t zeroed_bytes; /* of a new spare, as the log is told; 0: as it is */
	struct mr_io *disk;    /* the fake disk where the io is wrapped around it */
	bool replicated;       /* the test starts the partition, and says under which epoch */
};

struct mr_test_rig {
	struct mr_test_rig_options options;
	struct mr_io *io;
	struct mr_io_queue *queue;
	struct mr_tail tail;
	struct mr_log *log;
	struct mr_log_files *files;
	struct mr_partition partition;
	struct mr_recovered recovered; /* numbers only; its segments were taken out */
	struct mr_test_clock clock;
	int32_t leader_epoch;
	uint64_t flushed; /* as the last completion or naming told */
	bool spare_wanted;
	struct mr_log_event chores[RIG_CHORES_MAX]; /* oldest first */
	uint32_t chore_count;
};

extern const uint8_t mr_test_topic_id[16];
extern const uint8_t mr_test_log_id[16];

/* Small groups, small segments: much happens in few bytes. */
struct mr_test_rig_options mr_test_rig_defaults(void);
struct mr_recover_options mr_test_recover_options(const struct mr_test_rig *rig);

/* Recovers the log on 'io', or makes one if there is none, and begins a new leader epoch. */
void mr_test_rig_open(struct mr_test_rig *rig, const struct mr_test_rig_options *options,
		      struct mr_io *io, const struct mr_checkpoint_partition *checkpoint);
/*
 * The parts of it, where the test recovers itself: into rig->partition, then it takes the
 * segments.
 */
void mr_test_rig_init(struct mr_test_rig *rig, const struct mr_test_rig_options *options,
		      struct mr_io *io);
void mr_test_rig_start(struct mr_test_rig *rig, struct mr_recovered *recovered);
/* Lets what is in flight go by and frees all; the disk stays. */
void mr_test_rig_close(struct mr_test_rig *rig);

/* Appends a batch (its offset and epoch are set here) if there is room; remembers the producer. */
enum mr_log_room mr_test_rig_append(struct mr_test_rig *rig, struct mr_test_batch *batch);
/* A batch of another host, as it is; mr_epochs_note() and the producer's entry included. */
enum mr_log_room mr_test_rig_append_bytes(struct mr_test_rig *rig, const uint8_t *bytes,
					  const struct mr_batch_header *header);
/* Submits, reaps once and takes events over as chores. Returns completions. */
int mr_test_rig_turn(struct mr_test_rig *rig, bool force);
/*
 * Does the oldest chore, if there is one, and tells the log; false if it could not (err says why).
 */
bool mr_test_rig_chore(struct mr_test_rig *rig, struct mr_error *err);
/* Makes a spare if one is wanted. */
bool mr_test_rig_spare(struct mr_test_rig *rig, struct mr_error *err);
/* Turns and chores until everything appended is flushed. */
void mr_test_rig_settle(struct mr_test_rig *rig);
/* Appends one batch, turning until there is room, and settles. */
void mr_test_rig_put(struct mr_test_rig *rig, int32_t records, uint32_t value_bytes);
/* The partition as it stands when all is flushed; 'producers' is allocated. */
void mr_test_rig_checkpoint(const struct mr_test_rig *rig,
			    struct mr_checkpoint_partition *checkpoint);
/* 'count' flushed groups of one record each. */
void mr_test_put_many(struct mr_test_rig *rig, int count);
bool mr_test_same_producers(const struct mr_partition *a, const struct mr_partition *b);

/* ---- a log that is recovered --------------------------------------------- */

/* What a test of recovery has in hand: a fake disk, the log on it, and what recovery says of it. */
struct mr_test_recovery {
	struct mr_io *io;
	struct mr_test_rig_options options;
	struct mr_test_rig rig;
	struct mr_recovered found;
	struct mr_partition partition;
	struct mr_error err;
};

/* A new disk and an empty log. */
void mr_test_begin(struct mr_test_recovery *t);
/* Every file descriptor and lock goes, the disk keeps what it must: a power cut. */
void mr_test_stop(struct mr_test_recovery *t, uint64_t seed);
/* Recovers it into 'found' and 'partition', the disk seen through 'io'. */
int mr_test_look_through(struct mr_test_recovery *t, struct mr_io *io,
			 const struct mr_checkpoint_partition *checkpoint);
int mr_test_look(struct mr_test_recovery *t, const struct mr_checkpoint_partition *checkpoint);
void mr_test_done(struct mr_test_recovery *t); /* with what was found */
void mr_test_end(struct mr_test_recovery *t);
/* Writes 'count' bytes of one block of a file, behind the engine's back and durably. */
void mr_test_scribble(struct mr_io *io, const char *path, uint64_t at, const void *bytes,
		      size_t count);

#endif
