/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done when an alert is raised or cleared, besides the record: a command, or an HTTP POST.
 * A few at a time, each with a time limit; none ever holds up who asked for it. One thread owns it
 * and turns it by mr_actions_wait().
 *
 * A command is run without a shell, as the engine's user, in a process group of its own, with
 * nothing of the engine's but PATH: the body on its standard input, the given variables around it,
 * its output thrown away. It has failed when it cannot be started, exits with anything but 0, or is
 * not done in time: then its whole group is killed. A webhook is a POST of the body as
 * application/json over HTTP or HTTPS, certificates verified, redirections not followed; it has
 * failed when the answer is not 2xx.
 *
 * Nothing is tried again: an alert is a record in the log, which does not get lost.
 */
#ifndef MR_ACTIONS_H
#define MR_ACTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "error.h"

#define MR_ACTIONS_RUNNING_MAX	 16   /* at a time */
#define MR_ACTIONS_LIMITS	 4096 /* that are remembered; who was forgotten may go on at once */
#define MR_ACTIONS_VARIABLES_MAX 16

enum mr_action_kind { MR_ACTION_EXEC, MR_ACTION_WEBHOOK };

/* Borrowed for the call. */
struct mr_action {
	enum mr_action_kind kind;
	const char *target; /* the command as the rule has it, or the address */
	const void *body;
	size_t body_bytes;
	const char *const *variables; /* EXEC: "NAME=value", ended by NULL */
	/*
	 * Of those with the same number one of each state in 'every_ms' is done; 0: all are. The
	 * last that came too soon is done when the time is over, if its state is not the one that
	 * was told last: nobody is left with a state that is over.
	 */
	uint64_t limit;
	uint32_t state; /* 0 or 1 */
	int64_t every_ms;
};

struct mr_actions_counters {
	uint64_t started;
	uint64_t done;
	uint64_t failed; /* timed out among them */
	uint64_t timed_out;
	uint64_t limited; /* left out: too soon after the one before */
};

struct mr_actions;

/* 'clock' is borrowed. 'timeout_ms' is that of each action. */
int mr_actions_open(const struct mr_clock *clock, int64_t timeout_ms, struct mr_actions **out,
		    struct mr_error *err);
/* Those under way are killed or dropped. Takes NULL. */
void mr_actions_close(struct mr_actions *actions);

/*
 * Starts it. 0: it runs, was too soon (limited, or kept for later), or failed at once (counted);
 * -EAGAIN: as many run as may: wait, and ask again.
 */
int mr_actions_start(struct mr_actions *actions, const struct mr_action *action);
/* Starts what is due, waits for those under way, at most so long; returns how many still are. */
uint32_t mr_actions_wait(struct mr_actions *actions, uint32_t timeout_ms);
void mr_actions_counters(const struct mr_actions *actions, struct mr_actions_counters *out);
/* The last failure, "" when there was none: valid until the next call. */
const char *mr_actions_last_failure(const struct mr_actions *actions);

#endif
