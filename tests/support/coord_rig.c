/* SPDX-License-Identifier: Apache-2.0 */
/* The test's disks, network and time for coordinators (coord_rig.h). */
#include "coord_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct notice {
	uint32_t from, to;
	char *text;
};

struct coords_host coords_hosts[COORDS];
static bool linked[COORDS][COORDS];
static struct notice notices[1000];
static size_t notice_count;
uint32_t coords_lose_percent;
uint64_t coords_chance;
static uint64_t now_ns;
struct mr_error coords_err;
const struct mr_coord_key coords_key = {.topic_id = {0xab, 1, 2, 3}, .partition = 7};

static uint64_t monotonic_ns(const struct mr_clock *clock)
{
	return now_ns;
}

static const struct mr_clock rig_clock = {.monotonic_ns = monotonic_ns};

static bool happens(uint32_t percent)
{
	coords_chance = coords_chance * 6364136223846793005u + 1442695040888963407u;
	return (coords_chance >> 33) % 100 < percent;
}

static int save(void *arg, const void *bytes, size_t count)
{
	struct coords_host *host = arg;

	cr_assert_null(host->saving, "one at a time");
	if (host->fails > 0 && host->fails--)
		return -ENOSPC;
	host->saving = malloc(count);
	memcpy(host->saving, bytes, count);
	host->saving_bytes = count;
	return 0;
}

static void notify(void *arg, uint32_t node, const char *text, size_t bytes)
{
	uint32_t from = (uint32_t)((struct coords_host *)arg - coords_hosts);

	cr_assert_eq(strlen(text), bytes);
	if (!linked[from][node] || happens(coords_lose_percent))
		return;
	cr_assert_lt(notice_count, sizeof(notices) / sizeof(notices[0]));
	notices[notice_count++] = (struct notice){from, node, strdup(text)};
}

static const char *name(void *arg, uint32_t node, char room[16])
{
	snprintf(room, 16, "%c", (char)('a' + node));
	return room;
}

int coords_open_host(uint32_t n)
{
	struct coords_host *host = &coords_hosts[n];
	struct mr_coord_static_options options = {
		.self = n,
		.incarnation = ++host->incarnation,
		.save = save,
		.notify = notify,
		.name = name,
		.arg = host,
		.clock = &rig_clock,
	};

	host->kind = MR_COORD_NOTHING;
	host->states = 0;
	host->first_version = 0;
	host->state = (struct mr_coord_state){0};
	return mr_coord_static_open(&options, host->disk, host->disk_bytes, &host->coord,
				    &coords_err);
}

void coords_take_events(uint32_t n)
{
	struct coords_host *host = &coords_hosts[n];

	for (;;) {
		struct mr_coord_event event = host->coord->operations->next(host->coord);

		if (event.kind == MR_COORD_NOTHING)
			return;
		cr_assert_eq(memcmp(&event.key, &coords_key, sizeof(coords_key)), 0);
		host->states += event.kind == MR_COORD_STATE;
		if (!host->first_version)
			host->first_version = event.state.version;
		if (event.kind == MR_COORD_STATE && host->kind == MR_COORD_ACCEPTED)
			cr_expect_geq(event.state.version, host->state.version);
		else
			host->kind = event.kind;
		host->state = event.state;
	}
}

void coords_start(uint32_t n)
{
	cr_assert_eq(coords_open_host(n), 0, "%s", coords_err.what);
	(void)coords_hosts[n].coord->operations->watch(coords_hosts[n].coord, &coords_key,
						       &coords_err); /* if it is there */
}

void coords_cut(uint32_t a, uint32_t b)
{
	if (!linked[a][b])
		return;
	linked[a][b] = linked[b][a] = false;
	for (size_t i = 0; i < notice_count; i++) {
		if (notices[i].from + notices[i].to == a + b) {
			free(notices[i].text);
			notices[i--] = notices[--notice_count];
		}
	}
	if (coords_hosts[a].coord)
		mr_coord_static_disconnected(coords_hosts[a].coord, b);
	if (coords_hosts[b].coord)
		mr_coord_static_disconnected(coords_hosts[b].coord, a);
}

void coords_join(uint32_t a, uint32_t b)
{
	if (linked[a][b] || !coords_hosts[a].coord || !coords_hosts[b].coord)
		return;
	linked[a][b] = linked[b][a] = true;
	mr_coord_static_connected(coords_hosts[a].coord, b, coords_hosts[b].incarnation);
	mr_coord_static_connected(coords_hosts[b].coord, a, coords_hosts[a].incarnation);
}

/* Power is cut: what was being saved is not. */
void coords_crash(uint32_t n)
{
	for (uint32_t i = 0; i < COORDS; i++)
		if (i != n)
			coords_cut(n, i);
	coords_hosts[n].coord->operations->close(coords_hosts[n].coord);
	coords_hosts[n].coord = NULL;
	free(coords_hosts[n].saving);
	coords_hosts[n].saving = NULL;
}

bool coords_save_done(uint32_t n)
{
	struct coords_host *host = &coords_hosts[n];

	if (!host->saving)
		return false;
	free(host->disk);
	host->disk = host->saving;
	host->disk_bytes = host->saving_bytes;
	host->saving = NULL;
	if (host->coord)
		mr_coord_static_saved(host->coord, 0);
	return true;
}

bool coords_deliver(void)
{
	struct notice notice;

	if (!notice_count)
		return false;
	notice = notices[0];
	memmove(notices, notices + 1, --notice_count * sizeof(notices[0]));
	cr_assert_eq(mr_coord_static_heard(coords_hosts[notice.to].coord, notice.from, notice.text,
					   strlen(notice.text), &coords_err),
		     0, "%s: %s", coords_err.what, notice.text);
	free(notice.text);
	return true;
}

/* All that is under way arrives and becomes durable. */
void coords_settle(void)
{
	bool more = true;

	for (int i = 0; more && i < 10000; i++) {
		more = false;
		for (uint32_t n = 0; n < COORDS; n++)
			more |= coords_save_done(n);
		more |= coords_deliver();
	}
	cr_assert(!more, "it comes to rest");
	for (uint32_t n = 0; n < COORDS; n++)
		if (coords_hosts[n].coord)
			coords_take_events(n);
}

void coords_pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 100) {
		now_ns += 100000000;
		for (uint32_t n = 0; n < COORDS; n++)
			if (coords_hosts[n].coord)
				mr_coord_static_time(coords_hosts[n].coord);
		coords_settle();
	}
}

void coords_create(uint32_t n, uint64_t replicas, uint32_t leader)
{
	cr_assert_eq(mr_coord_static_create(coords_hosts[n].coord, &coords_key, replicas, leader,
					    &coords_err),
		     0, "%s", coords_err.what);
	cr_assert_eq(coords_hosts[n].coord->operations->watch(coords_hosts[n].coord, &coords_key,
							      &coords_err),
		     0);
}

/* All are up, host 0 leads. */
void coords_setup(void)
{
	for (uint32_t n = 0; n < COORDS; n++)
		coords_start(n);
	coords_join(0, 1);
	coords_join(0, 2);
	coords_join(1, 2);
	for (uint32_t n = 0; n < COORDS; n++)
		coords_create(n, COORDS_ALL, 0);
	coords_settle();
}

void coords_teardown(void)
{
	coords_lose_percent = 0;
	for (uint32_t n = 0; n < COORDS; n++) {
		if (coords_hosts[n].coord)
			coords_crash(n);
		free(coords_hosts[n].disk);
	}
}

struct mr_coord_state coords_known(uint32_t n)
{
	struct mr_coord_state state = {0};
	uint64_t not_heard_of;

	cr_assert_eq(
		mr_coord_static_known(coords_hosts[n].coord, &coords_key, &state, &not_heard_of),
		0);
	return state;
}

uint64_t coords_not_heard(uint32_t n)
{
	struct mr_coord_state state = {0};
	uint64_t not_heard_of = 0;

	(void)mr_coord_static_known(coords_hosts[n].coord, &coords_key, &state, &not_heard_of);
	return not_heard_of;
}

struct mr_coord_proposal coords_proposal_of(uint32_t n)
{
	struct mr_coord_proposal proposal = {.wanted = coords_known(n), .guard = MR_NODE_NONE};

	proposal.wanted.version++;
	return proposal;
}

void coords_propose(uint32_t n, const struct mr_coord_proposal *proposal)
{
	coords_hosts[n].kind = MR_COORD_NOTHING;
	cr_assert_eq(coords_hosts[n].coord->operations->propose(coords_hosts[n].coord, &coords_key,
								proposal, &coords_err),
		     0);
}

/* As the protocol does where the register says that this host leads. */
void coords_claim(uint32_t n)
{
	struct mr_coord_proposal proposal = coords_proposal_of(n);

	proposal.wanted.leader = (int32_t)n;
	proposal.wanted.leader_incarnation = coords_hosts[n].incarnation;
	proposal.wanted.leader_epoch = (proposal.wanted.leader_epoch / 64 + 1) * 64 + (int32_t)n;
	coords_propose(n, &proposal);
	coords_settle();
}

void coords_shrink(uint32_t n, uint64_t isr)
{
	struct mr_coord_proposal proposal = coords_proposal_of(n);

	proposal.wanted.isr = isr;
	coords_propose(n, &proposal);
}

static void promoted(void *arg, int status, const struct mr_error *why)
{
	struct coords_host *host = arg;

	cr_assert_eq(host->promoted, 1, "told once");
	host->promoted = status;
	snprintf(host->sentence, sizeof(host->sentence), "%s", why ? why->what : "");
}

int coords_promote(uint32_t at, uint32_t to, bool accept_loss, uint32_t least)
{
	struct mr_coord_promotion promotion = {
		.key = coords_key,
		.to = to,
		.accept_loss = accept_loss,
		.min_insync_replicas = least,
		.wall_ms = 1700000000123,
		.done = promoted,
		.arg = &coords_hosts[at],
	};

	coords_hosts[at].promoted = 1;
	coords_err = (struct mr_error){0};
	return mr_coord_static_promote(coords_hosts[at].coord, &promotion, &coords_err);
}

void coords_all_agree(void)
{
	for (uint32_t n = 0; n < COORDS; n++) {
		struct mr_coord_state a = coords_known(0), b = coords_known(n);

		cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0, "hosts 0 and %u", n);
	}
}
