/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hostile client test: attack after attack on an engine that serves well-behaved producers and
 *a consumer meanwhile. Each attack must be answered as hostile.h says; the others make progress
 * through all of them, and afterwards every record of theirs is in its place. Built with sanitizers
 * this is an engine with sanitizers.
 *
 *	torture-hostile [ATTACK [SEED]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "crew.h"
#include "hostile.h"

#define PARTITIONS  4
#define ATTACK_MS   60000
#define PROGRESS_MS 20000

static const char *const options[] = {
	"partitions=4",
	"segment_bytes=64 MiB",
	"first_segment_bytes=16 MiB",
	"record_bytes_max=256 KiB",
	"group_bytes=256 KiB",
	"tail_bytes=1 MiB",
	"connections_per_user=32",
	"lanes_per_user=64",
	NULL,
};

static const struct hostile_attack *find_attack(const char *name)
{
	const struct hostile_attack *tables[] = {hostile_socket_attacks, hostile_lane_attacks};

	for (size_t i = 0; i < 2; i++)
		for (const struct hostile_attack *attack = tables[i]; attack->name; attack++)
			if (!strcmp(attack->name, name))
				return attack;
	torture_die("there is no attack '%s'", name);
}

/* "hostile" SOCKET ATTACK SEED */
static int attack_main(char **words)
{
	static struct hostile self;

	self.path = words[1];
	self.random.state = strtoull(words[3], NULL, 10);
	self.conversation.socket = -1;
	self.conversation.wake = -1;
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		self.reply.fds[i] = -1;
	find_attack(words[2])->run(&self);
	return 0;
}

/* ---- the parent ------------------------------------------------------------------------------ */

static int run_attack(struct crew *crew, const struct hostile_attack *attack)
{
	uint64_t end_us = torture_now_us() + ATTACK_MS * UINT64_C(1000);
	const char *words[] = {"hostile", crew->engine.socket, attack->name, NULL, NULL};
	char seed[32];
	int status;
	pid_t pid;

	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(&crew->random) >> 1);
	words[3] = seed;
	pid = torture_spawn(words);
	while (!torture_ended(pid, &status)) {
		if (torture_now_us() > end_us) {
			(void)torture_kill(pid, &status); /* it is gone either way */
			return -1;
		}
		crew_pass_time(crew, torture_now_us() + 2000);
		crew_check_living(crew);
		if (torture_ended(crew->engine.pid, &status))
			torture_die("the engine %s during attack '%s' (messages in %s)",
				    torture_status_text(status), attack->name,
				    crew->engine.directory);
	}
	return status;
}

static void read_progress(const struct crew *crew, uint64_t out[CREW_HABITS + 1])
{
	for (int i = 0; i < CREW_HABITS; i++)
		out[i] = atomic_load(&crew->page->producers[i].acknowledged);
	out[CREW_HABITS] = atomic_load(&crew->page->next[CREW_CONSUMER][CREW_PLACE]);
}

/* All of the crew move on after the attack. */
static bool goes_on(struct crew *crew)
{
	uint64_t end_us = torture_now_us() + PROGRESS_MS * UINT64_C(1000);
	uint64_t before[CREW_HABITS + 1], now[CREW_HABITS + 1];
	int moved;

	read_progress(crew, before);
	do {
		crew_pass_time(crew, torture_now_us() + 5000);
		read_progress(crew, now);
		moved = 0;
		for (int i = 0; i <= CREW_HABITS; i++)
			moved += now[i] > before[i];
	} while (moved <= CREW_HABITS && torture_now_us() < end_us);
	return moved > CREW_HABITS;
}

static void try_attack(struct crew *crew, const struct hostile_attack *attack)
{
	uint64_t began_us = torture_now_us();
	int status = run_attack(crew, attack);
	bool others = goes_on(crew);

	torture_check(status == 0 && others, "%s (%.1f s)%s%s", attack->name,
		      (double)(torture_now_us() - began_us) / 1e6,
		      status ? ": the attacker is not content: " : "",
		      status ? torture_status_text(status) : "");
	if (!others)
		torture_die("the others do not go on after it");
}

/* Lanes and connections of the attackers are gone. */
static void wait_quiet(struct crew *crew)
{
	uint64_t end_us = torture_now_us() + PROGRESS_MS * UINT64_C(1000), lanes;

	do {
		crew_pass_time(crew, torture_now_us() + 20000);
		lanes = torture_counter(&crew->engine, "lanes");
	} while (lanes != PARTITIONS + CREW_HABITS - 1 && torture_now_us() < end_us);
	torture_check(lanes == PARTITIONS + CREW_HABITS - 1,
		      "only the others' lanes are left: %" PRIu64, lanes);
	torture_check(torture_counter(&crew->engine, "poisoned_lanes") > 0,
		      "lanes closed for what was in them are counted: %" PRIu64,
		      torture_counter(&crew->engine, "poisoned_lanes"));
}

/* What a sanitizer says stands among the engine's messages. */
static void check_messages(const struct crew *crew)
{
	char path[128], line[4096];
	bool clean = true;
	FILE *file;

	snprintf(path, sizeof(path), "%s/messages", crew->engine.directory);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strstr(line, "Sanitizer") && !strstr(line, "runtime error"))
			continue;
		printf("engine: %s", line);
		clean = false;
	}
	if (file)
		(void)fclose(file); /* was read only */
	torture_check(clean, "the engine had no word of a sanitizer");
}

static void make_memory_topic(const struct crew *crew)
{
	struct mr_connect_options wanted = {.size = sizeof(wanted),
					    .socket_path = crew->engine.socket};
	struct mr_connection *connection;
	struct mr_error err;
	char *reply;

	if (mr_connect(&wanted, &connection, &err) < 0 ||
	    mr_connection_admin(connection,
				"{\"do\": \"topic.create\", \"name\": \"" HOSTILE_MEMORY_TOPIC
				"\", \"storage\": \"memory\"}",
				&reply, &err) < 0)
		torture_die("%s", err.what);
	free(reply);
	mr_disconnect(connection);
}

static int run_test(const char *only, uint64_t seed)
{
	struct crew crew = {0};

	printf("torture-hostile '%s' %" PRIu64 "\n", only ? only : "", seed);
	crew_begin(&crew, "hostile", options, PARTITIONS, seed);
	make_memory_topic(&crew);
	if (only) {
		try_attack(&crew, find_attack(only));
	} else {
		for (const struct hostile_attack *a = hostile_socket_attacks; a->name; a++)
			try_attack(&crew, a);
		for (const struct hostile_attack *a = hostile_lane_attacks; a->name; a++)
			try_attack(&crew, a);
		wait_quiet(&crew);
	}
	crew_end(&crew);
	check_messages(&crew);
	crew_report(&crew);
	crew_clean(&crew);
	return torture_finish();
}

int main(int count, char **words)
{
	uint64_t seed = torture_now_us();
	int role = crew_role(count, words);

	if (role >= 0)
		return role;
	if (count > 1 && !strcmp(words[1], "hostile"))
		return attack_main(words + 1);
	if (count > 2)
		seed = strtoull(words[2], NULL, 10);
	return run_test(count > 1 && words[1][0] ? words[1] : NULL, seed);
}
