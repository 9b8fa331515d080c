/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of the crew: starts, kills and ends its programs, takes what they report. */
#include "crew.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS	       120000
#define REPORTS_A_READ 256
#define PIPE_BYTES     (1 << 20)

/* ---- processes ------------------------------------------------------------------------------- */

int crew_role(int count, char **words)
{
	if (count > 1 && !strcmp(words[1], "engine"))
		torture_engine_main(count - 1, words + 1);
	if (count > 1 && !strcmp(words[1], "producer"))
		return crew_producer_main(count - 1, words + 1);
	if (count > 1 && !strcmp(words[1], "seer"))
		return crew_seer_main(count - 1, words + 1);
	return -1;
}

void crew_start_producer(struct crew *crew, enum crew_habit habit)
{
	char page[16], reports[16], habit_word[16], writer[16], seed[32];
	const char *words[] = {
		"producer", crew->engine.socket, page, reports, habit_word, writer, seed, NULL};
	struct crew_process *producer = &crew->producers[habit];

	producer->writer = crew->writers++;
	crew_told_begin(crew->told, producer->writer, habit);
	atomic_store(&crew->page->producers[habit].published, 0);
	atomic_store(&crew->page->producers[habit].acknowledged, 0);
	snprintf(page, sizeof(page), "%d", crew->page_fd);
	snprintf(reports, sizeof(reports), "%d", crew->reports_out);
	snprintf(habit_word, sizeof(habit_word), "%d", (int)habit);
	snprintf(writer, sizeof(writer), "%u", producer->writer);
	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(&crew->random) >> 1);
	producer->pid = torture_spawn(words);
}

void crew_start_seer(struct crew *crew, enum crew_seer seer)
{
	char page[16], seer_word[16], seed[32];
	const char *words[] = {"seer", crew->engine.socket, page, seer_word, seed, NULL};

	snprintf(page, sizeof(page), "%d", crew->page_fd);
	snprintf(seer_word, sizeof(seer_word), "%d", (int)seer);
	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(&crew->random) >> 1);
	crew->seers[seer].pid = torture_spawn(words);
}

/* Nobody but the killed ends by itself. */
void crew_check_living(struct crew *crew)
{
	int status;

	for (int i = 0; i < CREW_HABITS; i++)
		if (crew->producers[i].pid && torture_ended(crew->producers[i].pid, &status))
			torture_die("producer %u %s", crew->producers[i].writer,
				    torture_status_text(status));
	if (torture_ended(crew->seers[CREW_CONSUMER].pid, &status))
		torture_die("the consumer %s", torture_status_text(status));
}

/* ---- reports --------------------------------------------------------------------------------- */

void crew_take_reports(struct crew *crew)
{
	struct crew_report reports[REPORTS_A_READ];
	ssize_t got;

	do {
		got = read(crew->reports_in, reports, sizeof(reports));
		if (got > 0 && got % (ssize_t)sizeof(reports[0]) != 0)
			torture_die("a report came in pieces");
		for (ssize_t i = 0; i < got / (ssize_t)sizeof(reports[0]); i++)
			crew_told_take(crew->told, &reports[i]);
	} while (got == (ssize_t)sizeof(reports));
}

/* Takes reports until then. */
void crew_pass_time(struct crew *crew, uint64_t until_us)
{
	uint64_t now_us;

	do {
		struct pollfd reports = {.fd = crew->reports_in, .events = POLLIN};
		uint64_t left_us;

		now_us = torture_now_us();
		left_us = until_us > now_us ? until_us - now_us : 0;
		if (left_us > 2000)
			(void)poll(&reports, 1, 1); /* more often than the pipe fills */
		else
			torture_sleep_us(left_us);
		crew_take_reports(crew);
	} while (now_us < until_us);
}

void crew_wait_ready(struct crew *crew)
{
	uint64_t end_us = torture_now_us() + CREW_START_MS * UINT64_C(1000);

	while (!torture_engine_ready(&crew->engine, 0)) {
		if (torture_now_us() > end_us)
			torture_die("start %u of the engine takes longer than %d s (data in %s)",
				    crew->engine.starts, CREW_START_MS / 1000,
				    crew->engine.directory);
		crew_pass_time(crew, torture_now_us() + 1000);
	}
}

void crew_kill_producer(struct crew *crew, enum crew_habit habit, bool engine_lives)
{
	struct crew_process *producer = &crew->producers[habit];
	int status;

	if (!torture_kill(producer->pid, &status))
		torture_die("producer %u %s", producer->writer, torture_status_text(status));
	crew_told_killed(crew->told, producer->writer,
			 engine_lives ? atomic_load(&crew->page->producers[habit].published) : 0);
	producer->pid = 0;
}

void crew_kill_seer(struct crew *crew, enum crew_seer seer)
{
	int status;

	if (!torture_kill(crew->seers[seer].pid, &status))
		torture_die("a consumer %s", torture_status_text(status));
	crew->seers[seer].pid = 0;
}

/* ---- beginning and ending -------------------------------------------------------------------- */

static void open_pipe(struct crew *crew)
{
	int ends[2];

	if (pipe(ends) < 0)
		torture_die("no pipe: %s", strerror(errno));
	crew->reports_in = ends[0];
	crew->reports_out = ends[1];
	(void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);	/* cannot fail on an open descriptor */
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);	/* the same */
	(void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* smaller only makes producers wait */
}

static bool all_acknowledge(const struct crew *crew)
{
	for (int i = 0; i < CREW_HABITS; i++)
		if (atomic_load(&crew->page->producers[i].acknowledged) == 0)
			return false;
	return true;
}

static void wait_first_records(struct crew *crew)
{
	uint64_t end_us = torture_now_us() + CREW_START_MS * UINT64_C(1000);

	while (!all_acknowledge(crew) && torture_now_us() < end_us) {
		crew_pass_time(crew, torture_now_us() + 10000);
		crew_check_living(crew);
	}
	torture_check(all_acknowledge(crew), "each producer gets acknowledgements");
}

void crew_begin(struct crew *crew, const char *name, const char *const *options,
		uint32_t partitions, uint64_t seed)
{
	crew->random.state = seed;
	crew->page = torture_share(sizeof(*crew->page), &crew->page_fd);
	crew->page->partitions = partitions;
	crew->told = crew_told_new();
	open_pipe(crew);
	torture_engine_init(&crew->engine, name, options);
	torture_engine_start(&crew->engine);
	crew_wait_ready(crew);
	for (int i = 0; i < CREW_HABITS; i++)
		crew_start_producer(crew, (enum crew_habit)i);
	crew_start_seer(crew, CREW_CONSUMER);
	wait_first_records(crew);
}

/* Producers flush and end; the consumer sees all. */
static void end_producers(struct crew *crew)
{
	uint64_t end_us = torture_now_us() + END_MS * UINT64_C(1000);
	int ended = 0, status;

	atomic_store(&crew->page->stop, 1);
	for (int i = 0; i < CREW_HABITS; i++) {
		while (!torture_ended(crew->producers[i].pid, &status)) {
			if (torture_now_us() > end_us)
				torture_die("producer %u does not end: %" PRIu64
					    " published, %" PRIu64 " acknowledged (data in %s)",
					    crew->producers[i].writer,
					    atomic_load(&crew->page->producers[i].published),
					    atomic_load(&crew->page->producers[i].acknowledged),
					    crew->engine.directory);
			crew_pass_time(crew, torture_now_us() + 1000);
		}
		ended += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	crew_take_reports(crew);
	torture_check(ended == CREW_HABITS, "living producers flush and close: %d of %d", ended,
		      CREW_HABITS);
}

static void end_seer(struct crew *crew, enum crew_seer seer, const char *name)
{
	atomic_store(&crew->page->stop_seer[seer], 1);
	torture_check(torture_wait(crew->seers[seer].pid, END_MS) == 0, "the %s sees the end",
		      name);
	torture_check(atomic_load(&crew->page->faults[seer]) == 0,
		      "the %s saw each offset once, in order, whole: %" PRIu64 " faults", name,
		      atomic_load(&crew->page->faults[seer]));
}

void crew_end(struct crew *crew)
{
	crew_wait_ready(crew);
	end_producers(crew);
	end_seer(crew, CREW_CONSUMER, "consumer attached throughout");
	torture_check(torture_engine_stop(&crew->engine, CREW_START_MS) == 0, "the engine stops");
	torture_engine_start(&crew->engine);
	crew_wait_ready(crew);
	crew_start_seer(crew, CREW_READER);
	end_seer(crew, CREW_READER, "reader of the whole log");
	torture_check(torture_engine_stop(&crew->engine, CREW_START_MS) == 0,
		      "the engine stops again");
}

void crew_report(const struct crew *crew)
{
	struct crew_verdict v;

	crew_told_check(crew->told, crew->page, &v);
	printf("records                    %" PRIu64 " of %u producers\n", v.records,
	       crew->writers);
	printf("  acknowledged             %" PRIu64 "\n", v.acknowledged);
	printf("  lost                     %" PRIu64 "\n", v.lost);
	printf("  doubled                  %" PRIu64 "\n", v.doubled);
	printf("  lost by memory lanes     %" PRIu64 ", told %" PRIu64 "\n", v.memory_lost,
	       v.memory_told);
	torture_check(v.acknowledged > 0, "records were acknowledged");
	torture_check(v.lost == 0, "no acknowledged record is lost, nor one of a living producer");
	torture_check(v.doubled == 0, "nothing is doubled");
	torture_check(v.disordered == 0, "each producer's order holds: %" PRIu64, v.disordered);
	torture_check(v.misplaced == 0, "records lie where receipts say: %" PRIu64, v.misplaced);
	torture_check(v.strange == 0, "nobody else's records are there: %" PRIu64, v.strange);
	torture_check(v.unflushed == 0, "living producers flushed: %" PRIu64, v.unflushed);
	torture_check(v.left == 0, "what killed producers had published was taken: %" PRIu64,
		      v.left);
	torture_check(v.memory_lost == v.memory_told, "memory lanes lost what was told");
	torture_check(v.differing == 0, "consumer and reader saw the same: %" PRIu64, v.differing);
}

void crew_clean(struct crew *crew)
{
	crew_told_free(crew->told);
	torture_engine_clean(&crew->engine);
	(void)munmap(crew->page, sizeof(*crew->page)); /* all who used it have ended */
	(void)close(crew->page_fd);		       /* the same */
	(void)close(crew->reports_in);		       /* the same */
	(void)close(crew->reports_out);		       /* the same */
}
