/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Producers and consumers are killed and stopped at random moments; the engine lives. Nobody else
 * may notice: two witnesses, a producer and a consumer that nobody touches, make progress all the
 * time. What a killed producer had published is in the log, its lanes are reclaimed, and the engine
 * has no more descriptors and hardly more memory than before.
 *
 *	torture-clients [SECONDS [SEED]]
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crew.h"

#define SECONDS	      40
#define PARTITIONS    8
#define WARM_UP_US    3000000
#define STOP_US	      1500000 /* a stopped one stays so for at most that long */
#define PAUSE_US      150000  /* between two cruelties, at most */
#define STALL_MS      20000   /* a witness must move within that time: the disk may stall */
#define RECLAIM_US    10000000
#define MEMORY_GROWTH (96u << 20)

static const char *const options[] = {
	"partitions=8",
	"segment_bytes=64 MiB",
	"first_segment_bytes=16 MiB",
	"record_bytes_max=256 KiB",
	"group_bytes=256 KiB",
	"tail_bytes=1 MiB",
	NULL,
};

/* Untouched: it must not notice what happens to the others. */
#define WITNESS CREW_PLACE

struct progress {
	uint64_t value;
	uint64_t moved_us;
	uint64_t longest_us;
};

struct run {
	struct crew crew;
	struct progress produced, consumed;
	uint32_t producers_killed, producers_stopped;
	uint32_t consumers_killed, consumers_stopped;
	/* stopped now: to go on at that time; 0: nobody is */
	uint64_t producer_goes_on_us, consumer_goes_on_us;
	enum crew_habit stopped;
};

/* ---- the engine from outside ----------------------------------------------------------------- */

/* Open descriptors, without the log's files, of which there may be ever more. */
static uint32_t count_descriptors(pid_t pid)
{
	char path[64], link[320], target[512];
	struct dirent *entry;
	uint32_t count = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	if (!directory)
		torture_die("cannot look at the engine's descriptors: %s", strerror(errno));
	while ((entry = readdir(directory)) != NULL) {
		ssize_t bytes;

		snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		bytes = readlink(link, target, sizeof(target) - 1);
		target[bytes > 0 ? bytes : 0] = '\0';
		count += bytes > 0 && !strstr(target, "/topics/");
	}
	(void)closedir(directory); /* was read only */
	return count;
}

static uint64_t count_memory(pid_t pid)
{
	unsigned long long size = 0, resident = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%llu %llu", &size, &resident) != 2)
		torture_die("cannot look at the engine's memory");
	(void)fclose(file); /* was read only */
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the witnesses --------------------------------------------------------------------------- */

static void note(struct progress *progress, uint64_t value, uint64_t now_us)
{
	if (value != progress->value) {
		progress->value = value;
		progress->moved_us = now_us;
	} else if (now_us - progress->moved_us > progress->longest_us) {
		progress->longest_us = now_us - progress->moved_us;
	}
}

static void watch_witnesses(struct run *run)
{
	const struct crew_page *page = run->crew.page;
	uint64_t now_us = torture_now_us();

	note(&run->produced, atomic_load(&page->producers[WITNESS].acknowledged), now_us);
	note(&run->consumed, atomic_load(&page->next[CREW_CONSUMER][WITNESS]), now_us);
}

static void forget_progress(struct run *run)
{
	uint64_t now_us = torture_now_us();

	run->produced = (struct progress){.moved_us = now_us};
	run->consumed = (struct progress){.moved_us = now_us};
}

/* ---- cruelties ------------------------------------------------------------------------------- */

static void send(pid_t pid, int number)
{
	if (kill(pid, number) < 0)
		torture_die("process %d is gone: %s", (int)pid, strerror(errno));
}

static enum crew_habit choose_victim(struct run *run)
{
	static const enum crew_habit victims[] = {CREW_SMALL, CREW_MANY, CREW_KEYS};

	return victims[torture_below(&run->crew.random, sizeof(victims) / sizeof(victims[0]))];
}

static void start_victim_consumer(struct run *run)
{
	for (int i = 0; i < PARTITIONS; i++)
		atomic_store(&run->crew.page->next[CREW_VICTIM][i], 0);
	crew_start_seer(&run->crew, CREW_VICTIM);
}

static void kill_a_producer(struct run *run)
{
	enum crew_habit habit = choose_victim(run);

	if (run->producer_goes_on_us && run->stopped == habit)
		run->producer_goes_on_us = 0; /* a stopped one is killed as well */
	crew_kill_producer(&run->crew, habit, true);
	crew_start_producer(&run->crew, habit);
	run->producers_killed++;
}

static void stop_a_producer(struct run *run)
{
	if (run->producer_goes_on_us)
		return;
	run->stopped = choose_victim(run);
	send(run->crew.producers[run->stopped].pid, SIGSTOP);
	run->producer_goes_on_us = torture_now_us() + torture_below(&run->crew.random, STOP_US);
	run->producers_stopped++;
}

static void kill_a_consumer(struct run *run)
{
	run->consumer_goes_on_us = 0;
	crew_kill_seer(&run->crew, CREW_VICTIM);
	start_victim_consumer(run);
	run->consumers_killed++;
}

static void stop_a_consumer(struct run *run)
{
	if (run->consumer_goes_on_us)
		return;
	send(run->crew.seers[CREW_VICTIM].pid, SIGSTOP);
	run->consumer_goes_on_us = torture_now_us() + torture_below(&run->crew.random, STOP_US);
	run->consumers_stopped++;
}

static void let_go_on(struct run *run, bool all)
{
	uint64_t now_us = torture_now_us();

	if (run->producer_goes_on_us && (all || now_us > run->producer_goes_on_us)) {
		send(run->crew.producers[run->stopped].pid, SIGCONT);
		run->producer_goes_on_us = 0;
	}
	if (run->consumer_goes_on_us && (all || now_us > run->consumer_goes_on_us)) {
		send(run->crew.seers[CREW_VICTIM].pid, SIGCONT);
		run->consumer_goes_on_us = 0;
	}
}

static void be_cruel(struct run *run)
{
	uint64_t luck = torture_below(&run->crew.random, 100);

	if (luck < 40)
		kill_a_producer(run);
	else if (luck < 60)
		stop_a_producer(run);
	else if (luck < 80)
		kill_a_consumer(run);
	else
		stop_a_consumer(run);
}

static void torture_clients(struct run *run, uint32_t seconds)
{
	uint64_t end_us = torture_now_us() + seconds * UINT64_C(1000000), next_us = 0;

	while (torture_now_us() < end_us) {
		if (torture_now_us() > next_us) {
			be_cruel(run);
			next_us = torture_now_us() + torture_below(&run->crew.random, PAUSE_US);
		}
		crew_pass_time(&run->crew, torture_now_us() + 2000);
		let_go_on(run, false);
		watch_witnesses(run);
		crew_check_living(&run->crew);
	}
	let_go_on(run, true);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static uint64_t lanes_expected(void)
{
	return PARTITIONS + CREW_HABITS - 1;
}

static void wait_reclaimed(struct run *run)
{
	uint64_t end_us = torture_now_us() + RECLAIM_US, lanes;

	do {
		crew_pass_time(&run->crew, torture_now_us() + 50000);
		lanes = torture_counter(&run->crew.engine, "lanes");
	} while (lanes != lanes_expected() && torture_now_us() < end_us);
	torture_check(lanes == lanes_expected(), "lanes are reclaimed: %" PRIu64 " of %" PRIu64,
		      lanes, lanes_expected());
}

static void check_growth(struct run *run, uint32_t descriptors, uint64_t memory)
{
	uint32_t descriptors_now = count_descriptors(run->crew.engine.pid);
	uint64_t memory_now = count_memory(run->crew.engine.pid);

	torture_check(descriptors_now <= descriptors + 2,
		      "the engine's descriptors, but for log files: %u before, %u after",
		      descriptors, descriptors_now);
	torture_check(memory_now <= memory + MEMORY_GROWTH,
		      "the engine's resident memory: %" PRIu64 " KiB before, %" PRIu64 " KiB after",
		      memory >> 10, memory_now >> 10);
	torture_check(torture_counter(&run->crew.engine, "poisoned_lanes") == 0,
		      "no lane was closed for what was in it");
}

static void check_witnesses(const struct run *run)
{
	torture_check(run->produced.longest_us < STALL_MS * UINT64_C(1000),
		      "the untouched producer is acknowledged all the time: longest wait %.0f ms",
		      (double)run->produced.longest_us / 1e3);
	torture_check(run->consumed.longest_us < STALL_MS * UINT64_C(1000),
		      "the untouched consumer reads all the time: longest wait %.0f ms",
		      (double)run->consumed.longest_us / 1e3);
}

static void end_victim_consumer(struct run *run)
{
	atomic_store(&run->crew.page->stop_seer[CREW_VICTIM], 1);
	torture_check(torture_wait(run->crew.seers[CREW_VICTIM].pid, 60000) == 0,
		      "a consumer that was stopped and began late ends well");
	torture_check(atomic_load(&run->crew.page->faults[CREW_VICTIM]) == 0,
		      "and so all of them saw each offset once, in order, whole: %" PRIu64
		      " faults",
		      atomic_load(&run->crew.page->faults[CREW_VICTIM]));
}

static int run_test(uint32_t seconds, uint64_t seed)
{
	struct run run = {.stopped = CREW_SMALL};
	uint32_t descriptors;
	uint64_t memory;

	printf("torture-clients %u %" PRIu64 "\n", seconds, seed);
	crew_begin(&run.crew, "clients", options, PARTITIONS, seed);
	start_victim_consumer(&run);
	crew_pass_time(&run.crew, torture_now_us() + WARM_UP_US);
	descriptors = count_descriptors(run.crew.engine.pid);
	memory = count_memory(run.crew.engine.pid);
	forget_progress(&run);
	torture_clients(&run, seconds);
	wait_reclaimed(&run);
	check_growth(&run, descriptors, memory);
	check_witnesses(&run);
	end_victim_consumer(&run);
	crew_end(&run.crew);
	printf("producers                  %u killed, %u stopped\n", run.producers_killed,
	       run.producers_stopped);
	printf("consumers                  %u killed, %u stopped\n", run.consumers_killed,
	       run.consumers_stopped);
	crew_report(&run.crew);
	crew_clean(&run.crew);
	if (torture_failed())
		printf("repeat with: torture-clients %u %" PRIu64 "\n", seconds, seed);
	return torture_finish();
}

int main(int count, char **words)
{
	uint32_t seconds = SECONDS;
	uint64_t seed = torture_now_us();
	int role = crew_role(count, words);

	if (role >= 0)
		return role;
	if (count > 1)
		seconds = (uint32_t)strtoul(words[1], NULL, 10);
	if (count > 2)
		seed = strtoull(words[2], NULL, 10);
	return run_test(seconds, seed);
}
