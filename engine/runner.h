/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline that runs: one thread, which reads its input as any consumer of this host does, and
 * says what it found through lanes of the engine's own, three for each partition. So nothing that
 * it does or fails to do is felt by whoever writes its input.
 *
 * Exactly once. What it says is numbered by partition and topic, and the number is the frame's
 * number in the lane, under producer ids that never change. Every few seconds it writes down how
 * far it read, the numbers, and the state between; that counts once all that was said before is
 * acknowledged. After a crash it goes on there and says the same bytes under the same numbers
 * again, of which the log drops what it has (I6).
 *
 * On a host that keeps a replica of its input and does not lead the partition, it runs in shadow:
 * it reads the same, says nothing, and writes down how it stands; that counts once the outputs that
 * it would have said are durable in this host's copies of their logs. When this host comes to lead,
 * it begins at that checkpoint with its lanes open: what the old leader had said is dropped.
 *
 * The control thread and this one talk by messages. A message belongs to whoever received it last;
 * a request comes back as its answer.
 */
#ifndef MR_RUNNER_H
#define MR_RUNNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/place.h"
#include "own_lane.h"
#include "pipelines.h"

struct mr_runner;
struct mr_local_ticket;
struct mr_version_mark;

/*
 * The lanes of one partition, made by the control thread. They belong to it but between the answer
 * to OPEN_LANES and the sending of CLOSE_LANES: then their writers are the pipeline's thread's.
 */
struct mr_runner_lanes {
	struct mr_own_lane own[MR_PIPELINE_TOPICS];
	bool used[MR_PIPELINE_TOPICS];
	/* the sequence that each log expects next, or MR_OFFSET_UNKNOWN; and where it ended */
	uint64_t next[MR_PIPELINE_TOPICS];
	uint64_t log_end[MR_PIPELINE_TOPICS];
	/* the control thread's own */
	void *owner;
	uint32_t adding, out;
	struct mr_runner_message *waiting;
};

enum mr_runner_message_kind {
	/* pipeline -> control -> pipeline */
	MR_RUNNER_LOOK,	       /* partition: where its input begins and ends; who leads it */
	MR_RUNNER_KNOWN,       /* partition, numbers: back with those durable in the outputs */
	MR_RUNNER_OPEN_LANES,  /* partition, numbers: of the first frames; back with lanes */
	MR_RUNNER_CLOSE_LANES, /* partition: back when all is taken and answered */
	MR_RUNNER_LEARN,       /* partition, offset, mark: of a version, NULL: none; back with a
				  definition that knows of it, the pipeline's */
	/* control -> pipeline -> control */
	MR_RUNNER_GET, /* key: back with text */
	/* partition, log_end: the input's log loses what it has from there on. Back when nothing
	 * here knows of it: no state, no checkpoint */
	MR_RUNNER_FORGET,
	/* pipeline -> control, who frees it */
	MR_RUNNER_SAYS,	       /* err: why it does not run; status 0: it does */
	MR_RUNNER_DISK_FAILED, /* D3 */
	MR_RUNNER_ENDED,       /* the last word: the thread is to be joined */
};

struct mr_runner_message {
	enum mr_runner_message_kind kind;
	int status;
	struct mr_error err;
	int32_t partition;
	uint64_t numbers[MR_PIPELINE_TOPICS];
	struct mr_runner_lanes *lanes;
	uint64_t log_start, log_end;
	bool active; /* this host leads the input's partition */
	uint64_t offset;
	const struct mr_version_mark *mark; /* the pipeline's */
	char *key;			    /* owned by the message */
	uint32_t key_bytes;
	char *text; /* JSON; owned by the message */
	struct mr_definition *definition;
	struct mr_local_ticket *ticket; /* the control thread's */
	struct mr_runner_message *next;
};

enum mr_runner_state {
	MR_RUNNER_STARTING,
	MR_RUNNER_RUNNING,
	MR_RUNNER_STOPPED, /* something is wrong; it tries again */
	MR_RUNNER_STATES,
};
extern const char *const mr_runner_state_words[MR_RUNNER_STATES];

/* How a partition stands, for people: each written by the pipeline's thread, read by anyone. */
enum mr_runner_number {
	MR_RUNNER_OFFSET,     /* of the next input record */
	MR_RUNNER_CHECKPOINT, /* the same, of the checkpoint that counts */
	MR_RUNNER_VERSION,    /* of the rule, from 1 */
	MR_RUNNER_ACTIVE,     /* 1; 0: in shadow */
	MR_RUNNER_RECORDS,
	MR_RUNNER_RATE, /* of those, in the last second */
	MR_RUNNER_KEPT,
	MR_RUNNER_RAISED,
	MR_RUNNER_CLEARED,
	MR_RUNNER_EVICTED,
	MR_RUNNER_SHED,
	MR_RUNNER_KEYS,
	MR_RUNNER_BYTES,
	MR_RUNNER_OUTPUTS,
	MR_RUNNER_ALERTS,
	MR_RUNNER_REJECTS,
	MR_RUNNER_SKIPPED, /* gone before they were read */
	MR_RUNNER_FULL,	   /* times a lane was full */
	MR_RUNNER_CUT,	   /* values that were longer than an output may be */
	MR_RUNNER_ASTRAY,  /* 1: in shadow, without some of its input and without a checkpoint */
	MR_RUNNER_DROPPED, /* by verdict */
	MR_RUNNER_REJECTED = MR_RUNNER_DROPPED + MR_CLEAN_VERDICTS, /* by reason */
	/* 0: nothing; 1 + topic: room in that lane; + topics: what was said there is not
	 * acknowledged. Only what lasts. */
	MR_RUNNER_WAITS_FOR = MR_RUNNER_REJECTED + MR_PARSE_REASONS,
	MR_RUNNER_NUMBERS,
};
extern const char *const mr_runner_number_words[MR_RUNNER_DROPPED];

#define MR_RUNNER_ACTIONS 5

struct mr_runner_view {
	_Atomic uint32_t state; /* enum mr_runner_state */
	/* relaxed, all of it: numbers for people */
	_Atomic uint64_t (*parts)[MR_RUNNER_NUMBERS]; /* by partition */
	_Atomic uint64_t actions[MR_RUNNER_ACTIONS];  /* as struct mr_actions_counters has them */
};

struct mr_runner_options {
	struct mr_definition *definition;   /* taken */
	const struct mr_place_entry *place; /* copied */
	struct mr_io *io;
	const struct mr_clock *clock;
	const char *socket_path; /* borrowed for the call */
	uint64_t checkpoint_ms;	 /* how often it writes down how it stands */
	/* Called before the thread is: 'fd' is readable when it has sent something. */
	int (*watch)(void *arg, int fd, struct mr_error *err);
	void *arg;
};

/* Control thread. */
int mr_runner_start(const struct mr_runner_options *options, struct mr_runner **out,
		    struct mr_error *err);
const struct mr_runner_view *mr_runner_view(const struct mr_runner *runner);
/* -EAGAIN: it is too far behind to be asked. */
int mr_runner_send(struct mr_runner *runner, struct mr_runner_message *message);
struct mr_runner_message *mr_runner_take(struct mr_runner *runner); /* NULL: none */
/* FORGET: whatever it does, it leaves it for this, and begins at its checkpoints once more.
 * -EAGAIN: as mr_runner_send(). */
int mr_runner_forget(struct mr_runner *runner, struct mr_runner_message *message);
/* What its catalogue says of records that it has read is not what it knew: as FORGET, of nothing.
 */
void mr_runner_again(struct mr_runner *runner);
/* After ENDED: what it was sent and did not take; NULL: no more. */
struct mr_runner_message *mr_runner_left(struct mr_runner *runner);
/* FORGET of who has no thread (any more). -EIO: D3. */
int mr_runner_forget_checkpoint(struct mr_io *io, const struct mr_definition *definition,
				const struct mr_runner_message *message, struct mr_error *err);
/* It writes a last checkpoint, gives its lanes back, and says ENDED. */
void mr_runner_stop(struct mr_runner *runner);
/* After ENDED: joins the thread. */
void mr_runner_close(struct mr_runner *runner);

#endif
