/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for people, on standard error (the word "log" belongs to the record log). One line each:
 *
 *	2026-11-22T10:37:59.123Z warning peer lags peer=b1 behind_bytes=1048576
 *
 * Only the engine itself (engine/, not its folders) and the commands print; layers below
 * return errors. Never one per record: that is a counter. Each call site may say MR_DIAG_BURST
 * lines at once and one a second after that; what it was kept from saying is counted and told
 * with its next line (suppressed=N). Any thread may call; a line is one write. Control
 * characters (a hostile client's name) are shown as '?'. Colour on a terminal only.
 *
 * A terminal that somebody stopped stops the caller too: workers say nothing themselves, the
 * control thread speaks for them.
 */
#ifndef MR_DIAG_H
#define MR_DIAG_H

#include <stdatomic.h>
#include <stdint.h>

#include "clock.h"
#include "error.h"

#define MR_DIAG_BURST	    5
#define MR_DIAG_INTERVAL_NS UINT64_C(1000000000)

enum mr_diag_level {
	MR_DIAG_ERROR,
	MR_DIAG_WARNING,
	MR_DIAG_NOTICE,
	MR_DIAG_INFO,
};

/* One place in the program that says something; made by the macros below, all zero at first. */
struct mr_diag_site {
	_Atomic uint64_t due_ns;     /* when the site has its full burst again */
	_Atomic uint64_t suppressed; /* lines kept back since the last one said */
};

/*
 * Where to (a descriptor, borrowed), up to which level, by which clock (borrowed, lives on).
 * At start, before other threads; without it: standard error, up to notice, the machine's
 * clock.
 */
void mr_diag_start(int fd, enum mr_diag_level level_max, const struct mr_clock *clock);

/* The function behind the macros. 'format' makes the key=value pairs; it may be "". */
__attribute__((format(printf, 4, 5))) void mr_diag_say(struct mr_diag_site *site,
						       enum mr_diag_level level, const char *words,
						       const char *format, ...);

#define mr_diag_at(level, words, ...)                                                              \
	do {                                                                                       \
		static struct mr_diag_site mr_diag_this_site;                                      \
		mr_diag_say(&mr_diag_this_site, (level), (words), __VA_ARGS__);                    \
	} while (0)

/* mr_diag_warn("peer lags", "peer=%s behind_bytes=%" PRIu64, name, behind); */
#define mr_diag_fail(words, ...)   mr_diag_at(MR_DIAG_ERROR, words, __VA_ARGS__)
#define mr_diag_warn(words, ...)   mr_diag_at(MR_DIAG_WARNING, words, __VA_ARGS__)
#define mr_diag_notice(words, ...) mr_diag_at(MR_DIAG_NOTICE, words, __VA_ARGS__)
#define mr_diag_info(words, ...)   mr_diag_at(MR_DIAG_INFO, words, __VA_ARGS__)

/*
 * The three lines of an error for a person, never rate-limited: what failed (and errno's
 * name), why, what to do. Lines with nothing to say are left out.
 */
void mr_diag_error(const struct mr_error *err);

#endif
