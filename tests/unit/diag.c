/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a message is one whole line of a known shape, a noisy place is limited and its
 * silence counted, and text of strangers cannot drive the terminal.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diag.h"

/* A clock that stands still until told. 2026-11-22T10:37:59.123Z. */
static uint64_t now_ns;
static int64_t now_ms = 1795343879123;

static uint64_t fake_monotonic_ns(const struct mr_clock *clock)
{
	return now_ns;
}

static int64_t fake_wall_ms(const struct mr_clock *clock)
{
	return now_ms;
}

static const struct mr_clock fake_clock = {fake_monotonic_ns, fake_wall_ms};

/* A pipe of which messages go into one end; taken() gives what came since the last call. */
static int pipe_fds[2];
static char text[65536];

static void start(enum mr_diag_level level_max)
{
	now_ns = 1000 * MR_DIAG_INTERVAL_NS;
	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	mr_diag_start(pipe_fds[1], level_max, &fake_clock);
}

static const char *taken_from(int fd)
{
	ssize_t bytes = read(fd, text, sizeof(text) - 1);

	text[bytes > 0 ? bytes : 0] = '\0';
	return text;
}

static const char *taken(void)
{
	return taken_from(pipe_fds[0]);
}

static int line_count(const char *lines)
{
	int count = 0;

	for (; *lines; lines++)
		count += *lines == '\n';
	return count;
}

Test(diag, says_time_level_words_and_pairs)
{
	start(MR_DIAG_INFO);
	mr_diag_warn("peer lags", "peer=%s behind_bytes=%d", "b1", 4096);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning peer lags peer=b1 "
				  "behind_bytes=4096\n");
}

Test(diag, knows_four_levels)
{
	start(MR_DIAG_INFO);
	mr_diag_fail("a", "x=%d", 1);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z error a x=1\n");
	mr_diag_notice("b", "x=%d", 2);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z notice b x=2\n");
	mr_diag_info("c", "x=%d", 3);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z info c x=3\n");
}

Test(diag, without_pairs_ends_after_the_words)
{
	start(MR_DIAG_INFO);
	mr_diag_notice("ready", "");
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z notice ready\n");
}

Test(diag, keeps_quiet_above_the_level)
{
	start(MR_DIAG_WARNING);
	mr_diag_notice("a", "x=%d", 1);
	mr_diag_info("a", "x=%d", 1);
	cr_assert_str_empty(taken());
	mr_diag_warn("a", "x=%d", 1);
	cr_assert_eq(line_count(taken()), 1);
}

/* What nobody wanted to hear does not use up the burst of what they do want. */
Test(diag, a_level_not_shown_is_not_counted)
{
	struct mr_diag_site site = {0};

	start(MR_DIAG_WARNING);
	for (int i = 0; i < 100; i++)
		mr_diag_say(&site, MR_DIAG_INFO, "a", "x=%d", i);
	mr_diag_say(&site, MR_DIAG_WARNING, "a", "x=%d", 100);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning a x=100\n");
}

static void say_at_one_place(int number)
{
	mr_diag_warn("again", "n=%d", number);
}

Test(diag, a_place_gets_a_burst_and_then_silence)
{
	start(MR_DIAG_INFO);
	for (int i = 0; i < 1000; i++)
		say_at_one_place(i);
	cr_assert_eq(line_count(taken()), MR_DIAG_BURST);
}

Test(diag, tells_how_much_was_kept_back)
{
	start(MR_DIAG_INFO);
	for (int i = 0; i < 1000; i++)
		say_at_one_place(i);
	(void)taken();
	now_ns += MR_DIAG_INTERVAL_NS;
	say_at_one_place(1000);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning again suppressed=995 n=1000\n");
	say_at_one_place(1001);
	cr_assert_str_empty(taken(), "one interval buys one line");
	now_ns += MR_DIAG_INTERVAL_NS;
	say_at_one_place(1002);
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning again suppressed=1 n=1002\n");
}

Test(diag, a_quiet_time_gives_the_whole_burst_back_and_no_more)
{
	start(MR_DIAG_INFO);
	for (int i = 0; i < 100; i++)
		say_at_one_place(i);
	(void)taken();
	now_ns += 1000 * MR_DIAG_INTERVAL_NS;
	for (int i = 0; i < 100; i++)
		say_at_one_place(i);
	cr_assert_eq(line_count(taken()), MR_DIAG_BURST);
}

Test(diag, places_are_limited_apart)
{
	start(MR_DIAG_INFO);
	for (int i = 0; i < 100; i++)
		say_at_one_place(i);
	(void)taken();
	mr_diag_warn("another place", "n=%d", 1);
	cr_assert_eq(line_count(taken()), 1);
}

/* A client may call its topic anything: no second line, no escape sequence, in either set. */
Test(diag, makes_control_characters_harmless)
{
	start(MR_DIAG_INFO);
	mr_diag_warn("name", "topic=%s",
		     "a\nb\033[2Jc\x7f\xc2\x9b"
		     "d\xc3\xa4");
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning name "
				  "topic=a?b?[2Jc???d\xc3\xa4\n");
}

Test(diag, a_text_that_ends_in_half_a_character_is_taken)
{
	start(MR_DIAG_INFO);
	mr_diag_warn("name", "topic=%s", "x\xc2");
	cr_assert_str_eq(taken(), "2026-11-22T10:37:59.123Z warning name topic=x\xc2\n");
}

Test(diag, cuts_a_line_that_is_too_long_and_shows_it)
{
	static char name[5000];

	memset(name, 'x', sizeof(name) - 1);
	start(MR_DIAG_INFO);
	mr_diag_warn("name", "topic=%s", name);
	taken();
	cr_assert_lt(strlen(text), 1024);
	cr_assert_gt(strlen(text), 1000);
	cr_assert_eq(line_count(text), 1);
	cr_assert_str_eq(text + strlen(text) - 5, "x...\n");
}

/* Every length around the bound. */
Test(diag, lines_of_every_length_are_whole)
{
	static char name[1100];

	start(MR_DIAG_INFO);
	for (size_t i = 900; i < sizeof(name); i++) {
		struct mr_diag_site site = {0};

		memset(name, 'x', i);
		name[i] = '\0';
		mr_diag_say(&site, MR_DIAG_INFO, "n", "%s", name);
		taken();
		cr_assert_eq(line_count(text), 1, "%zu", i);
		cr_assert_eq(text[strlen(text) - 1], '\n', "%zu", i);
	}
}

Test(diag, a_broken_pipe_is_survived)
{
	start(MR_DIAG_INFO);
	close(pipe_fds[0]);
	signal(SIGPIPE, SIG_IGN);
	mr_diag_warn("a", "x=%d", 1);
}

Test(diag, uses_colour_on_a_terminal_only)
{
	int terminal, slave;

	unsetenv("NO_COLOR");
	cr_assert_eq(openpty(&terminal, &slave, NULL, NULL, NULL), 0);
	mr_diag_start(slave, MR_DIAG_INFO, &fake_clock);
	mr_diag_warn("a", "x=%d", 1);
	cr_assert_str_eq(taken_from(terminal),
			 "2026-11-22T10:37:59.123Z \033[33mwarning\033[0m a x=1\r\n");
	setenv("NO_COLOR", "1", 1);
	mr_diag_start(slave, MR_DIAG_INFO, &fake_clock);
	mr_diag_warn("a", "x=%d", 1);
	cr_assert_str_eq(taken_from(terminal), "2026-11-22T10:37:59.123Z warning a x=1\r\n");
}

Test(diag, an_error_is_three_lines)
{
	struct mr_error err;

	start(MR_DIAG_INFO);
	mr_error_set(&err, -ENOSPC, "cannot extend segment '%s'", "a.log");
	mr_error_why(&err, "the disk is full");
	mr_error_hint(&err, "free some space");
	mr_diag_error(&err);
	cr_assert_str_eq(taken(), "error: cannot extend segment 'a.log' (ENOSPC)\n"
				  "  why: the disk is full\n"
				  "  do:  free some space\n");
}

Test(diag, an_error_leaves_out_what_it_does_not_know)
{
	struct mr_error err;

	start(MR_DIAG_INFO);
	mr_error_set(&err, -4095, "strange");
	mr_diag_error(&err);
	cr_assert_str_eq(taken(), "error: strange (unknown error)\n");
	mr_error_hint(&err, "go\non");
	mr_diag_error(&err);
	cr_assert_str_eq(taken(), "error: strange (unknown error)\n  do:  go?on\n");
}

/* The longest error there is still fits. */
Test(diag, a_long_error_is_whole)
{
	struct mr_error err = {.code = -EIO};

	start(MR_DIAG_INFO);
	memset(err.what, 'a', sizeof(err.what) - 1);
	memset(err.why, 'b', sizeof(err.why) - 1);
	memset(err.hint, 'c', sizeof(err.hint) - 1);
	mr_diag_error(&err);
	cr_assert_eq(line_count(taken()), 3);
	cr_assert_str_eq(text + strlen(text) - 3, "cc\n");
}

#define THREADS	       4
#define LINES_A_THREAD 2000

static struct mr_diag_site shared_site;

static void *say_much(void *arg)
{
	for (int i = 0; i < LINES_A_THREAD; i++)
		mr_diag_say(&shared_site, MR_DIAG_INFO, "a", "x=%d", i);
	return NULL;
}

static uint64_t suppressed_in(const char *lines)
{
	static const char key[] = "suppressed=";
	uint64_t sum = 0;

	while ((lines = strstr(lines, key))) {
		lines += strlen(key);
		sum += strtoull(lines, NULL, 10);
	}
	return sum;
}

/* Said and kept back together are all there were, whoever won which race. */
Test(diag, threads_at_one_place_are_counted_together)
{
	pthread_t threads[THREADS];
	uint64_t suppressed;

	start(MR_DIAG_INFO);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, say_much, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(line_count(taken()), MR_DIAG_BURST);
	suppressed = suppressed_in(text);
	now_ns += MR_DIAG_INTERVAL_NS;
	mr_diag_say(&shared_site, MR_DIAG_INFO, "a", "x=%d", 1);
	suppressed += suppressed_in(taken());
	cr_assert_eq(suppressed, THREADS * LINES_A_THREAD - MR_DIAG_BURST);
}
