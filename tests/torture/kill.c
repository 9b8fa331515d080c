/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kill test: kill -9 of the engine at random moments, restarted at once, with four producers of
 * mixed record sizes and a consumer attached throughout. Afterwards the whole log is read: every
 * acknowledged record is there once, in its producer's order, and what a living producer published
 * with acks disk or committed is there; a memory lane lost exactly what its producer was told.
 *
 *	torture-kill [KILLS [SEED]]
 *
 * A seed repeats the same plan; where in the engine a kill strikes is up to the machine.
 */
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

#include "kill.h"

#define KILLS	       200
#define START_MS       30000 /* a start must not take longer */
#define END_MS	       120000
#define MANY_WRITES    200
#define REPORTS_A_READ 256
#define PIPE_BYTES     (1 << 20)

/*
 * Few partitions, so that starts are short and kills many; then many, each with a write under way,
 * so that a kill leaves hundreds of them in the kernel.
 */
struct stage {
	const char *name;
	uint32_t partitions;
	uint32_t kills; /* 0: as many as asked for */
	bool only_bursts;
	const char *partitions_option;
};

static const struct stage stages[] = {
	{"narrow", 16, 0, false, "partitions=16"},
	{"wide", 240, 4, true, "partitions=240"},
};

static const char *options[] = {
	NULL, /* the stage's partitions */
	"segment_bytes=16 MiB",
	"first_segment_bytes=1 MiB",
	"record_bytes_max=256 KiB",
	"group_bytes=256 KiB",
	"tail_bytes=1 MiB",
	"groups_in_flight=16",
	"lanes_per_user=4096",
	NULL,
};

enum moment {
	ANY_TIME,
	IN_RECOVERY,
	IN_HAND_BACK,
	WITH_PRODUCER,
	IN_BURST,
	WITH_MANY_WRITES,
};

struct process {
	pid_t pid;
	uint32_t writer; /* of a producer */
};

/* How many kills met what. */
struct counts {
	uint32_t kills;
	uint32_t unacknowledged;
	uint32_t in_flight;
	uint32_t many_writes;
	uint32_t in_recovery;
	uint32_t in_hand_back;
	uint32_t with_producer;
	uint64_t most_writes;
	uint64_t most_unacknowledged;
};

struct run {
	const struct stage *stage;
	struct torture_engine engine;
	struct torture_random random;
	struct kill_page *page;
	int page_fd;
	struct kill_told *told;
	int reports_in, reports_out;
	struct process producers[KILL_HABITS];
	struct process seers[KILL_SEERS];
	uint32_t writers; /* begun so far */
	struct counts counts;
};

/* ---- processes ------------------------------------------------------------------------------- */

static void start_producer(struct run *run, enum kill_habit habit)
{
	char page[16], reports[16], habit_word[16], writer[16], seed[32];
	const char *words[] = {
		"producer", run->engine.socket, page, reports, habit_word, writer, seed, NULL};
	struct process *producer = &run->producers[habit];

	producer->writer = run->writers++;
	kill_told_begin(run->told, producer->writer, habit);
	atomic_store(&run->page->producers[habit].published, 0);
	atomic_store(&run->page->producers[habit].acknowledged, 0);
	snprintf(page, sizeof(page), "%d", run->page_fd);
	snprintf(reports, sizeof(reports), "%d", run->reports_out);
	snprintf(habit_word, sizeof(habit_word), "%d", (int)habit);
	snprintf(writer, sizeof(writer), "%u", producer->writer);
	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(&run->random) >> 1);
	producer->pid = torture_spawn(words);
}

static void start_seer(struct run *run, enum kill_seer seer)
{
	char page[16], seer_word[16], seed[32];
	const char *words[] = {"seer", run->engine.socket, page, seer_word, seed, NULL};

	snprintf(page, sizeof(page), "%d", run->page_fd);
	snprintf(seer_word, sizeof(seer_word), "%d", (int)seer);
	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(&run->random) >> 1);
	run->seers[seer].pid = torture_spawn(words);
}

/* Nobody but the killed ends by itself. */
static void check_living(struct run *run)
{
	int status;

	for (int i = 0; i < KILL_HABITS; i++)
		if (run->producers[i].pid && torture_ended(run->producers[i].pid, &status))
			torture_die("producer %u %s", run->producers[i].writer,
				    torture_status_text(status));
	if (torture_ended(run->seers[KILL_CONSUMER].pid, &status))
		torture_die("the consumer %s", torture_status_text(status));
}

/* ---- reports --------------------------------------------------------------------------------- */

static void take_reports(struct run *run)
{
	struct kill_report reports[REPORTS_A_READ];
	ssize_t got;

	do {
		got = read(run->reports_in, reports, sizeof(reports));
		if (got > 0 && got % (ssize_t)sizeof(reports[0]) != 0)
			torture_die("a report came in pieces");
		for (ssize_t i = 0; i < got / (ssize_t)sizeof(reports[0]); i++)
			kill_told_take(run->told, &reports[i]);
	} while (got == (ssize_t)sizeof(reports));
}

/* Takes reports until then. */
static void pass_time(struct run *run, uint64_t until_us)
{
	uint64_t now_us;

	do {
		struct pollfd reports = {.fd = run->reports_in, .events = POLLIN};
		uint64_t left_us;

		now_us = torture_now_us();
		left_us = until_us > now_us ? until_us - now_us : 0;
		if (left_us > 2000)
			(void)poll(&reports, 1, 1); /* more often than the pipe fills */
		else
			torture_sleep_us(left_us);
		take_reports(run);
	} while (now_us < until_us);
}

static void wait_ready(struct run *run)
{
	uint64_t end_us = torture_now_us() + START_MS * UINT64_C(1000);

	while (!torture_engine_ready(&run->engine, 0)) {
		if (torture_now_us() > end_us)
			torture_die("start %u of the engine takes longer than %d s (data in %s)",
				    run->engine.starts, START_MS / 1000, run->engine.directory);
		pass_time(run, torture_now_us() + 1000);
	}
}

/* ---- the kills ------------------------------------------------------------------------------- */

static enum moment choose(struct run *run)
{
	uint64_t luck = torture_below(&run->random, 100);

	if (run->stage->only_bursts)
		return WITH_MANY_WRITES;
	if (luck < 35)
		return ANY_TIME;
	if (luck < 50)
		return IN_RECOVERY;
	if (luck < 70)
		return IN_HAND_BACK;
	if (luck < 83)
		return WITH_PRODUCER;
	return IN_BURST;
}

/* As fast as possible, until so much is queued. */
static void wait_many_writes(struct run *run)
{
	uint64_t end_us = torture_now_us() + 5000000;

	pass_time(run, torture_now_us() + 500000); /* lanes are handed back */
	atomic_store(&run->page->burst, 1);
	do {
		take_reports(run);
	} while (torture_counter(&run->engine, "writes_in_flight") < MANY_WRITES &&
		 torture_now_us() < end_us);
}

/* Waits for the moment; the engine was just started. */
static void wait_for(struct run *run, enum moment moment)
{
	if (moment == IN_RECOVERY) {
		uint64_t most_us = run->engine.ready_us ? run->engine.ready_us : 20000;

		pass_time(run, run->engine.started_us + torture_below(&run->random, most_us));
		return;
	}
	wait_ready(run);
	switch (moment) {
	case ANY_TIME:
	case WITH_PRODUCER:
		pass_time(run, torture_now_us() + torture_below(&run->random, 800000));
		break;
	case IN_HAND_BACK:
		pass_time(run, torture_now_us() + torture_below(&run->random, 120000));
		break;
	case IN_BURST:
		pass_time(run, torture_now_us() + 200000);
		atomic_store(&run->page->burst, 1);
		pass_time(run, torture_now_us() + 100000 + torture_below(&run->random, 300000));
		break;
	case WITH_MANY_WRITES:
		wait_many_writes(run);
		break;
	case IN_RECOVERY:
		break;
	}
}

static uint64_t unacknowledged(const struct run *run)
{
	uint64_t sum = 0;

	for (int i = 0; i < KILL_HABITS; i++) {
		const struct kill_producer_page *producer = &run->page->producers[i];
		uint64_t acknowledged = atomic_load(&producer->acknowledged);
		uint64_t published = atomic_load(&producer->published);

		sum += published > acknowledged ? published - acknowledged : 0;
	}
	return sum;
}

static bool had_begun(const struct run *run)
{
	char path[128], owner[16] = {0};
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/data/LOCK", run->engine.directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd >= 0 ? read(fd, owner, sizeof(owner) - 1) : 0;
	if (fd >= 0)
		(void)close(fd); /* was read only */
	return got > 0 && strtol(owner, NULL, 10) == run->engine.pid;
}

/* What the dead engine was doing, by its counters and its producers' pages. */
static void count_kill(struct run *run, bool was_ready)
{
	uint64_t writes = torture_counter(&run->engine, "writes_in_flight");
	uint64_t open = unacknowledged(run);
	struct counts *counts = &run->counts;

	counts->kills++;
	counts->unacknowledged += open > 0;
	if (open > counts->most_unacknowledged)
		counts->most_unacknowledged = open;
	if (!was_ready) {
		counts->in_recovery += had_begun(run);
		return;
	}
	counts->in_flight += writes > 0;
	counts->many_writes += writes >= MANY_WRITES;
	if (writes > counts->most_writes)
		counts->most_writes = writes;
}

/* Lanes that an engine gets back when all living producers have done so. */
static uint64_t lanes_of_all(const struct run *run)
{
	return run->stage->partitions + KILL_HABITS - 1;
}

static void kill_producer(struct run *run)
{
	enum kill_habit habit = (enum kill_habit)torture_below(&run->random, KILL_HABITS);
	int status;

	if (!torture_kill(run->producers[habit].pid, &status))
		torture_die("producer %u %s", run->producers[habit].writer,
			    torture_status_text(status));
	kill_told_killed(run->told, run->producers[habit].writer);
	run->producers[habit].pid = 0;
	run->counts.with_producer++;
}

static void replace_producers(struct run *run)
{
	for (int i = 0; i < KILL_HABITS; i++)
		if (!run->producers[i].pid)
			start_producer(run, (enum kill_habit)i);
}

static void one_kill(struct run *run)
{
	enum moment moment = choose(run);
	bool producer_first = torture_chance(&run->random, 50), was_ready;
	uint64_t lanes;

	wait_for(run, moment);
	check_living(run);
	if (moment == WITH_PRODUCER && producer_first)
		kill_producer(run);
	was_ready = torture_engine_ready(&run->engine, 0);
	torture_engine_kill(&run->engine);
	lanes = torture_counter(&run->engine, "lanes");
	count_kill(run, was_ready);
	run->counts.in_hand_back += was_ready && lanes < lanes_of_all(run);
	if (moment == WITH_PRODUCER && !producer_first)
		kill_producer(run);
	atomic_store(&run->page->burst, 0);
	torture_engine_start(&run->engine);
	replace_producers(run);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void begin(struct run *run, uint64_t seed)
{
	int ends[2];

	run->random.state = seed;
	run->page = torture_share(sizeof(*run->page), &run->page_fd);
	run->page->partitions = run->stage->partitions;
	run->told = kill_told_new();
	if (pipe(ends) < 0)
		torture_die("no pipe: %s", strerror(errno));
	run->reports_in = ends[0];
	run->reports_out = ends[1];
	(void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);	/* cannot fail on an open descriptor */
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);	/* the same */
	(void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* smaller only makes producers wait */
	options[0] = run->stage->partitions_option;
	torture_engine_init(&run->engine, run->stage->name, options);
	torture_engine_start(&run->engine);
	wait_ready(run);
	for (int i = 0; i < KILL_HABITS; i++)
		start_producer(run, (enum kill_habit)i);
	start_seer(run, KILL_CONSUMER);
}

static bool all_acknowledge(const struct run *run)
{
	for (int i = 0; i < KILL_HABITS; i++)
		if (atomic_load(&run->page->producers[i].acknowledged) == 0)
			return false;
	return true;
}

static void wait_first_records(struct run *run)
{
	uint64_t end_us = torture_now_us() + START_MS * UINT64_C(1000);

	while (!all_acknowledge(run) && torture_now_us() < end_us) {
		pass_time(run, torture_now_us() + 10000);
		check_living(run);
	}
	torture_check(all_acknowledge(run), "each producer gets acknowledgements");
}

/* Producers flush and end; the consumer sees all. */
static void end_producers(struct run *run)
{
	uint64_t end_us = torture_now_us() + END_MS * UINT64_C(1000);
	int ended = 0, status;

	atomic_store(&run->page->stop, 1);
	for (int i = 0; i < KILL_HABITS; i++) {
		while (!torture_ended(run->producers[i].pid, &status)) {
			if (torture_now_us() > end_us)
				torture_die("producer %u does not end: %" PRIu64
					    " published, %" PRIu64 " acknowledged (data in %s)",
					    run->producers[i].writer,
					    atomic_load(&run->page->producers[i].published),
					    atomic_load(&run->page->producers[i].acknowledged),
					    run->engine.directory);
			pass_time(run, torture_now_us() + 1000);
		}
		ended += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	take_reports(run);
	torture_check(ended == KILL_HABITS, "living producers flush and close: %d of %d", ended,
		      KILL_HABITS);
}

static void end_seer(struct run *run, enum kill_seer seer, const char *name)
{
	atomic_store(&run->page->stop_seer[seer], 1);
	torture_check(torture_wait(run->seers[seer].pid, END_MS) == 0, "the %s sees the end", name);
	torture_check(atomic_load(&run->page->faults[seer]) == 0,
		      "the %s saw each offset once, in order, whole: %" PRIu64 " faults", name,
		      atomic_load(&run->page->faults[seer]));
}

static void end(struct run *run)
{
	wait_ready(run);
	end_producers(run);
	end_seer(run, KILL_CONSUMER, "consumer attached throughout");
	torture_check(torture_engine_stop(&run->engine, START_MS) == 0, "the engine stops");
	torture_engine_start(&run->engine);
	wait_ready(run);
	start_seer(run, KILL_READER);
	end_seer(run, KILL_READER, "reader of the whole log");
	torture_check(torture_engine_stop(&run->engine, START_MS) == 0, "the engine stops again");
}

/* ---- the report ------------------------------------------------------------------------------ */

static void report_kills(const struct run *run)
{
	const struct counts *counts = &run->counts;

	printf("kills                      %u of the engine, %u starts\n", counts->kills,
	       run->engine.starts);
	printf("  a start takes            %.1f ms\n",
	       (double)run->engine.all_ready_us / 1e3 / run->engine.readies);
	printf("  with unacknowledged      %u (at most %" PRIu64 " frames)\n",
	       counts->unacknowledged, counts->most_unacknowledged);
	printf("  with groups in flight    %u\n", counts->in_flight);
	printf("  with 200 writes queued   %u (at most %" PRIu64 " writes)\n", counts->many_writes,
	       counts->most_writes);
	printf("  during recovery          %u\n", counts->in_recovery);
	printf("  during hand-back         %u\n", counts->in_hand_back);
	printf("  together with a producer %u\n", counts->with_producer);
	torture_check(counts->unacknowledged * 2 >= counts->kills,
		      "at least half of the kills met unacknowledged frames");
	if (run->stage->only_bursts)
		torture_check(counts->many_writes > 0, "kills met %d queued writes", MANY_WRITES);
	if (counts->kills < KILLS)
		return;
	torture_check(counts->in_flight > 0, "kills met groups in flight");
	torture_check(counts->in_recovery > 0, "kills met recovery");
	torture_check(counts->in_hand_back > 0, "kills met the hand-back");
	torture_check(counts->with_producer > 0, "kills met a producer too");
}

static void report_records(const struct run *run)
{
	struct kill_verdict v;

	kill_told_check(run->told, run->page, &v);
	printf("records                    %" PRIu64 " of %u producers\n", v.records, run->writers);
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
	torture_check(v.memory_lost == v.memory_told, "memory lanes lost what was told");
	torture_check(v.differing == 0, "consumer and reader saw the same: %" PRIu64, v.differing);
}

static void run_stage(const struct stage *stage, uint32_t kills, uint64_t seed)
{
	struct run run = {.stage = stage};
	uint64_t began_us = torture_now_us(), killed_us;

	printf("\n%s: %u partitions, %u kills\n", stage->name, stage->partitions, kills);
	begin(&run, seed);
	wait_first_records(&run);
	for (uint32_t i = 0; i < kills; i++)
		one_kill(&run);
	killed_us = torture_now_us();
	end(&run);
	report_kills(&run);
	report_records(&run);
	printf("time                       %.1f s, of it kills %.1f s\n",
	       (double)(torture_now_us() - began_us) / 1e6, (double)(killed_us - began_us) / 1e6);
	kill_told_free(run.told);
	torture_engine_clean(&run.engine);
	(void)munmap(run.page, sizeof(*run.page)); /* all who used it have ended */
	(void)close(run.page_fd);		   /* the same */
	(void)close(run.reports_in);		   /* the same */
	(void)close(run.reports_out);		   /* the same */
}

static int run_stages(uint32_t kills, uint64_t seed)
{
	printf("torture-kill %u %" PRIu64 "\n", kills, seed);
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		run_stage(&stages[i], stages[i].kills ? stages[i].kills : kills, seed + i);
	if (torture_failed())
		printf("repeat with: torture-kill %u %" PRIu64 "\n", kills, seed);
	return torture_finish();
}

int main(int count, char **words)
{
	uint32_t kills = KILLS;
	uint64_t seed = torture_now_us();

	if (count > 1 && !strcmp(words[1], "engine"))
		torture_engine_main(count - 1, words + 1);
	if (count > 1 && !strcmp(words[1], "producer"))
		return kill_producer_main(count - 1, words + 1);
	if (count > 1 && !strcmp(words[1], "seer"))
		return kill_seer_main(count - 1, words + 1);
	if (count > 1)
		kills = (uint32_t)strtoul(words[1], NULL, 10);
	if (count > 2)
		seed = strtoull(words[2], NULL, 10);
	return run_stages(kills, seed);
}
