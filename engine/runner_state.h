/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runner.c (the thread) and runner_part.c (one partition of it) share. All of it is the
 * pipeline's thread's, but for what is said to be another's.
 */
#ifndef MR_RUNNER_STATE_H
#define MR_RUNNER_STATE_H

#include <pthread.h>

#include "alert_actions.h"
#include "base/mailbox.h"
#include "millrace.h"
#include "pipeline_file.h"
#include "runner.h"

#define MR_RUNNER_SLICE 256 /* records that are fed at once: then what they gave is published */

/*
 * One partition of the input. saved_offset <= offset. While 'pending', PATH.new is written and
 * waits until all that was said before it is acknowledged.
 */
struct mr_runner_part {
	struct mr_runner *runner;
	int32_t number;
	uint32_t version; /* of the rule: definition->versions[version] */
	struct mr_pipeline *pipeline;
	struct mr_runner_lanes *lanes; /* NULL: not open */
	bool active;		       /* else in shadow: nothing is said */
	bool astray;		       /* in shadow, and input was gone: it knows nothing more */
	uint64_t offset;	       /* of the next input record */
	uint64_t added[MR_PIPELINE_TOPICS];
	uint64_t known[MR_PIPELINE_TOPICS]; /* numbers below are in the log since before */
	uint64_t skipped;
	uint64_t full, cut;
	uint64_t rate, rated_records;
	int status; /* not 0: what was fed is not all in the lanes; nothing of it counts */
	struct mr_error err;
	bool saved; /* there is a checkpoint that counts, of */
	uint64_t saved_offset;
	uint32_t saved_version;
	bool pending;
	uint64_t pending_offset;
	uint32_t pending_version;
	uint64_t pending_numbers[MR_PIPELINE_TOPICS];
	uint64_t pending_ns; /* since when */
};

struct mr_runner {
	struct mr_place_entry place; /* constant, as are the next four */
	struct mr_io *io;
	const struct mr_clock *clock;
	char socket_path[108];
	uint64_t checkpoint_ns;
	struct mr_mailbox *to_runner, *to_control;
	pthread_t thread;
	struct mr_runner_view view;
	_Atomic bool stop;  /* the control thread's; relaxed: seen in time */
	_Atomic bool leave; /* as well: a FORGET is in the mailbox */
	struct mr_definition *definition;
	struct mr_rule **rules; /* by version; NULL: not compiled yet */
	struct mr_program **programs;
	uint32_t program_count;
	struct mr_runner_part *parts; /* definition->partition_count */
	struct mr_connection *connection;
	struct mr_consumer *consumer;
	struct mr_alert_actions *actions; /* NULL: its alerts have none */
	struct mr_runner_message ask;	  /* to the control thread: one out at a time */
	bool asked;
	struct mr_runner_message *queued, **queued_end; /* came while that was out */
	uint64_t save_ns, second_ns;
};

/* For good. */
static inline bool mr_runner_ends(const struct mr_runner *runner)
{
	return atomic_load_explicit(&runner->stop, memory_order_relaxed);
}

/* What it does, if only to begin it once more. */
static inline bool mr_runner_stops(const struct mr_runner *runner)
{
	return mr_runner_ends(runner) || atomic_load_explicit(&runner->leave, memory_order_relaxed);
}

/* runner.c */
/* Asks the control thread and waits for its answer, in runner->ask: its status. */
int mr_runner_ask(struct mr_runner *runner, enum mr_runner_message_kind kind, int32_t partition,
		  struct mr_error *err);
/* While it waits for room in a topic: what it is asked is refused, with that. */
void mr_runner_refuse_all(struct mr_runner *runner, const char *topic, int32_t partition);
int mr_runner_program(struct mr_runner *runner, uint32_t version, struct mr_program **out,
		      struct mr_error *err);
/* 'mark' stands at 'offset' of a partition, if there is one: the catalogue has it, durably, and the
 * definition is what the catalogue knows by now. */
int mr_runner_learn(struct mr_runner *runner, const struct mr_version_mark *mark, int32_t partition,
		    uint64_t offset, struct mr_error *err);

/* Learns the marks among records that are left out. -EAGAIN: not all can be read yet. */
int mr_runner_read_marks(struct mr_runner *runner, struct mr_runner_part *part, uint64_t from,
			 uint64_t to, struct mr_error *err);

/* runner_part.c */
/* From its checkpoint, if there is one, or from the beginning. */
int mr_runner_part_begin(struct mr_runner_part *part, struct mr_error *err);
/* Gives back what it has; what is to count must have been settled. */
void mr_runner_part_end(struct mr_runner_part *part);
int mr_runner_part_feed(struct mr_runner_part *part, const struct mr_message *messages,
			uint32_t count, struct mr_error *err);
/* The record is of a control batch: if it is the mark of a version, that is learnt. */
int mr_runner_part_learn(struct mr_runner_part *part, const struct mr_message *message,
			 struct mr_error *err);
/* The same of the next record of its input. */
int mr_runner_part_mark(struct mr_runner_part *part, const struct mr_message *message,
			struct mr_error *err);
/* The version that holds at its offset. */
int mr_runner_part_follow(struct mr_runner_part *part, struct mr_error *err);
/* The records before 'log_start' are gone. */
int mr_runner_part_skip(struct mr_runner_part *part, uint64_t log_start, uint64_t log_end,
			struct mr_error *err);
/* Writes down how it stands. It counts after mr_runner_part_settle(). */
int mr_runner_part_save(struct mr_runner_part *part, struct mr_error *err);
/* Gives what was written its name, if all before it is safe by now. */
int mr_runner_part_settle(struct mr_runner_part *part, struct mr_error *err);
/* Whether anything was read since what was written last. */
bool mr_runner_part_changed(const struct mr_runner_part *part);
/* Whether it is still what it was: its lanes open, this host leading or not. -ESTALE: not that. */
int mr_runner_part_check(struct mr_runner_part *part, struct mr_error *err);
void mr_runner_part_show(struct mr_runner_part *part);

/* runner_get.c */
/* What is known of a key, as JSON; NULL: no memory. */
char *mr_runner_get(const struct mr_runner *runner, const char *key, uint32_t key_bytes);

#endif
