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
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crew.h"

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
	struct crew crew;
	struct counts counts;
};

/* ---- the kills ------------------------------------------------------------------------------- */

static enum moment choose(struct run *run)
{
	uint64_t luck = torture_below(&run->crew.random, 100);

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

	crew_pass_time(&run->crew, torture_now_us() + 500000); /* lanes are handed back */
	atomic_store(&run->crew.page->burst, 1);
	do {
		crew_take_reports(&run->crew);
	} while (torture_counter(&run->crew.engine, "writes_in_flight") < MANY_WRITES &&
		 torture_now_us() < end_us);
}

/* Waits for the moment; the engine was just started. */
static void wait_for(struct run *run, enum moment moment)
{
	if (moment == IN_RECOVERY) {
		uint64_t most_us = run->crew.engine.ready_us ? run->crew.engine.ready_us : 20000;

		crew_pass_time(&run->crew, run->crew.engine.started_us +
						   torture_below(&run->crew.random, most_us));
		return;
	}
	crew_wait_ready(&run->crew);
	switch (moment) {
	case ANY_TIME:
	case WITH_PRODUCER:
		crew_pass_time(&run->crew,
			       torture_now_us() + torture_below(&run->crew.random, 800000));
		break;
	case IN_HAND_BACK:
		crew_pass_time(&run->crew,
			       torture_now_us() + torture_below(&run->crew.random, 120000));
		break;
	case IN_BURST:
		crew_pass_time(&run->crew, torture_now_us() + 200000);
		atomic_store(&run->crew.page->burst, 1);
		crew_pass_time(&run->crew, torture_now_us() + 100000 +
						   torture_below(&run->crew.random, 300000));
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

	for (int i = 0; i < CREW_HABITS; i++) {
		const struct crew_producer_page *producer = &run->crew.page->producers[i];
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

	snprintf(path, sizeof(path), "%s/data/LOCK", run->crew.engine.directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd >= 0 ? read(fd, owner, sizeof(owner) - 1) : 0;
	if (fd >= 0)
		(void)close(fd); /* was read only */
	return got > 0 && strtol(owner, NULL, 10) == run->crew.engine.pid;
}

/* What the dead engine was doing, by its counters and its producers' pages. */
static void count_kill(struct run *run, bool was_ready)
{
	uint64_t writes = torture_counter(&run->crew.engine, "writes_in_flight");
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
	return run->stage->partitions + CREW_HABITS - 1;
}

static void kill_producer(struct run *run)
{
	crew_kill_producer(&run->crew,
			   (enum crew_habit)torture_below(&run->crew.random, CREW_HABITS), false);
	run->counts.with_producer++;
}

static void replace_producers(struct run *run)
{
	for (int i = 0; i < CREW_HABITS; i++)
		if (!run->crew.producers[i].pid)
			crew_start_producer(&run->crew, (enum crew_habit)i);
}

static void one_kill(struct run *run)
{
	enum moment moment = choose(run);
	bool producer_first = torture_chance(&run->crew.random, 50), was_ready;
	uint64_t lanes;

	wait_for(run, moment);
	crew_check_living(&run->crew);
	if (moment == WITH_PRODUCER && producer_first)
		kill_producer(run);
	was_ready = torture_engine_ready(&run->crew.engine, 0);
	torture_engine_kill(&run->crew.engine);
	lanes = torture_counter(&run->crew.engine, "lanes");
	count_kill(run, was_ready);
	run->counts.in_hand_back += was_ready && lanes < lanes_of_all(run);
	if (moment == WITH_PRODUCER && !producer_first)
		kill_producer(run);
	atomic_store(&run->crew.page->burst, 0);
	torture_engine_start(&run->crew.engine);
	replace_producers(run);
}

/* ---- the report ------------------------------------------------------------------------------ */

static void report_kills(const struct run *run)
{
	const struct counts *counts = &run->counts;

	printf("kills                      %u of the engine, %u starts\n", counts->kills,
	       run->crew.engine.starts);
	printf("  a start takes            %.1f ms\n",
	       (double)run->crew.engine.all_ready_us / 1e3 / run->crew.engine.readies);
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

static void run_stage(const struct stage *stage, uint32_t kills, uint64_t seed)
{
	struct run run = {.stage = stage};
	uint64_t began_us = torture_now_us(), killed_us;

	printf("\n%s: %u partitions, %u kills\n", stage->name, stage->partitions, kills);
	options[0] = stage->partitions_option;
	crew_begin(&run.crew, stage->name, options, stage->partitions, seed);
	for (uint32_t i = 0; i < kills; i++)
		one_kill(&run);
	killed_us = torture_now_us();
	crew_end(&run.crew);
	report_kills(&run);
	crew_report(&run.crew);
	printf("time                       %.1f s, of it kills %.1f s\n",
	       (double)(torture_now_us() - began_us) / 1e6, (double)(killed_us - began_us) / 1e6);
	crew_clean(&run.crew);
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

	int role = crew_role(count, words);

	if (role >= 0)
		return role;
	if (count > 1)
		kills = (uint32_t)strtoul(words[1], NULL, 10);
	if (count > 2)
		seed = strtoull(words[2], NULL, 10);
	return run_stages(kills, seed);
}
