/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: one owner writes a register, and nothing is told that is not durable; what a host
 * led before a start it does not lead again unseen; a hand-over loses nothing, a take-over wins
 * against all that was written unseen.
 *
 * Up to three coordinators; what they say waits in a list, what they save until a test lets it be
 * durable.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coord_static.h"

#define HOSTS	3
#define ALL	7u
#define NODE(n) (UINT64_C(1) << (n))

struct host {
	struct mr_coord *coord; /* NULL: it is dead */
	uint64_t incarnation;
	uint8_t *disk, *saving;
	size_t disk_bytes, saving_bytes;
	int fails;		     /* so many saves from now on */
	struct mr_coord_state state; /* of the newest event */
	enum mr_coord_event_kind kind;
	uint32_t states;	/* events of that kind */
	uint64_t first_version; /* of its first event */
	int promoted;		/* outcome; 1: none yet */
	char sentence[400];
};

struct notice {
	uint32_t from, to;
	char *text;
};

static struct host hosts[HOSTS];
static bool linked[HOSTS][HOSTS];
static struct notice notices[1000];
static size_t notice_count;
static uint32_t lose_percent;
static uint64_t chance, now_ns;
static struct mr_error err;
static const struct mr_coord_key key = {.topic_id = {0xab, 1, 2, 3}, .partition = 7};

static bool happens(uint32_t percent)
{
	chance = chance * 6364136223846793005u + 1442695040888963407u;
	return (chance >> 33) % 100 < percent;
}

static int save(void *arg, const void *bytes, size_t count)
{
	struct host *host = arg;

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
	uint32_t from = (uint32_t)((struct host *)arg - hosts);

	cr_assert_eq(strlen(text), bytes);
	if (!linked[from][node] || happens(lose_percent))
		return;
	cr_assert_lt(notice_count, sizeof(notices) / sizeof(notices[0]));
	notices[notice_count++] = (struct notice){from, node, strdup(text)};
}

static const char *name(void *arg, uint32_t node, char room[16])
{
	snprintf(room, 16, "%c", (char)('a' + node));
	return room;
}

static int open_host(uint32_t n)
{
	struct host *host = &hosts[n];
	struct mr_coord_static_options options = {
		.self = n,
		.incarnation = ++host->incarnation,
		.save = save,
		.notify = notify,
		.name = name,
		.arg = host,
	};

	host->kind = MR_COORD_NOTHING;
	host->states = 0;
	host->first_version = 0;
	host->state = (struct mr_coord_state){0};
	return mr_coord_static_open(&options, host->disk, host->disk_bytes, &host->coord, &err);
}

static void take_events(uint32_t n)
{
	struct host *host = &hosts[n];

	for (;;) {
		struct mr_coord_event event = host->coord->operations->next(host->coord);

		if (event.kind == MR_COORD_NOTHING)
			return;
		cr_assert_eq(memcmp(&event.key, &key, sizeof(key)), 0);
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

static void start(uint32_t n)
{
	cr_assert_eq(open_host(n), 0, "%s", err.what);
	mr_coord_static_time(hosts[n].coord, now_ns);
	(void)hosts[n].coord->operations->watch(hosts[n].coord, &key, &err); /* if it is there */
}

static void cut(uint32_t a, uint32_t b)
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
	if (hosts[a].coord)
		mr_coord_static_disconnected(hosts[a].coord, b);
	if (hosts[b].coord)
		mr_coord_static_disconnected(hosts[b].coord, a);
}

static void join(uint32_t a, uint32_t b)
{
	if (linked[a][b] || !hosts[a].coord || !hosts[b].coord)
		return;
	linked[a][b] = linked[b][a] = true;
	mr_coord_static_connected(hosts[a].coord, b, hosts[b].incarnation);
	mr_coord_static_connected(hosts[b].coord, a, hosts[a].incarnation);
}

/* Power is cut: what was being saved is not. */
static void crash(uint32_t n)
{
	for (uint32_t i = 0; i < HOSTS; i++)
		if (i != n)
			cut(n, i);
	hosts[n].coord->operations->close(hosts[n].coord);
	hosts[n].coord = NULL;
	free(hosts[n].saving);
	hosts[n].saving = NULL;
}

static bool save_done(uint32_t n)
{
	struct host *host = &hosts[n];

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

static bool deliver(void)
{
	struct notice notice;

	if (!notice_count)
		return false;
	notice = notices[0];
	memmove(notices, notices + 1, --notice_count * sizeof(notices[0]));
	cr_assert_eq(mr_coord_static_heard(hosts[notice.to].coord, notice.from, notice.text,
					   strlen(notice.text), &err),
		     0, "%s: %s", err.what, notice.text);
	free(notice.text);
	return true;
}

/* All that is under way arrives and becomes durable. */
static void settle(void)
{
	bool more = true;

	for (int i = 0; more && i < 10000; i++) {
		more = false;
		for (uint32_t n = 0; n < HOSTS; n++)
			more |= save_done(n);
		more |= deliver();
	}
	cr_assert(!more, "it comes to rest");
	for (uint32_t n = 0; n < HOSTS; n++)
		if (hosts[n].coord)
			take_events(n);
}

static void pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 100) {
		now_ns += 100000000;
		for (uint32_t n = 0; n < HOSTS; n++)
			if (hosts[n].coord)
				mr_coord_static_time(hosts[n].coord, now_ns);
		settle();
	}
}

static void create(uint32_t n, uint64_t replicas, uint32_t leader)
{
	cr_assert_eq(mr_coord_static_create(hosts[n].coord, &key, replicas, leader, &err), 0, "%s",
		     err.what);
	cr_assert_eq(hosts[n].coord->operations->watch(hosts[n].coord, &key, &err), 0);
}

/* All are up, host 0 leads. */
static void setup(void)
{
	for (uint32_t n = 0; n < HOSTS; n++)
		start(n);
	join(0, 1);
	join(0, 2);
	join(1, 2);
	for (uint32_t n = 0; n < HOSTS; n++)
		create(n, ALL, 0);
	settle();
}

static void teardown(void)
{
	lose_percent = 0;
	for (uint32_t n = 0; n < HOSTS; n++) {
		if (hosts[n].coord)
			crash(n);
		free(hosts[n].disk);
	}
}

static struct mr_coord_state known(uint32_t n)
{
	struct mr_coord_state state = {0};
	uint64_t not_heard_of;

	cr_assert_eq(mr_coord_static_known(hosts[n].coord, &key, &state, &not_heard_of), 0);
	return state;
}

static uint64_t not_heard(uint32_t n)
{
	struct mr_coord_state state = {0};
	uint64_t not_heard_of = 0;

	(void)mr_coord_static_known(hosts[n].coord, &key, &state, &not_heard_of);
	return not_heard_of;
}

static struct mr_coord_proposal proposal_of(uint32_t n)
{
	struct mr_coord_proposal proposal = {.wanted = known(n), .guard = MR_NODE_NONE};

	proposal.wanted.version++;
	return proposal;
}

static void propose(uint32_t n, const struct mr_coord_proposal *proposal)
{
	hosts[n].kind = MR_COORD_NOTHING;
	cr_assert_eq(hosts[n].coord->operations->propose(hosts[n].coord, &key, proposal, &err), 0);
}

/* As the protocol does where the register says that this host leads. */
static void claim(uint32_t n)
{
	struct mr_coord_proposal proposal = proposal_of(n);

	proposal.wanted.leader = (int32_t)n;
	proposal.wanted.leader_incarnation = hosts[n].incarnation;
	proposal.wanted.leader_epoch = (proposal.wanted.leader_epoch / 64 + 1) * 64 + (int32_t)n;
	propose(n, &proposal);
	settle();
}

static void shrink(uint32_t n, uint64_t isr)
{
	struct mr_coord_proposal proposal = proposal_of(n);

	proposal.wanted.isr = isr;
	propose(n, &proposal);
}

static void promoted(void *arg, int status, const struct mr_error *why)
{
	struct host *host = arg;

	cr_assert_eq(host->promoted, 1, "told once");
	host->promoted = status;
	snprintf(host->sentence, sizeof(host->sentence), "%s", why ? why->what : "");
}

static int promote(uint32_t at, uint32_t to, bool accept_loss, uint32_t least)
{
	struct mr_coord_promotion promotion = {
		.key = key,
		.to = to,
		.accept_loss = accept_loss,
		.min_insync_replicas = least,
		.wall_ms = 1700000000123,
		.done = promoted,
		.arg = &hosts[at],
	};

	hosts[at].promoted = 1;
	err = (struct mr_error){0};
	return mr_coord_static_promote(hosts[at].coord, &promotion, &err);
}

static void all_agree(void)
{
	for (uint32_t n = 0; n < HOSTS; n++) {
		struct mr_coord_state a = known(0), b = known(n);

		cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0, "hosts 0 and %u", n);
	}
}

/* ---- the beginning --------------------------------------------------------------------------- */

Test(coord_static, begins_alike_everywhere, .init = setup, .fini = teardown)
{
	all_agree();
	cr_expect_eq(known(1).version, 1);
	cr_expect_eq(known(1).leader, 0);
	cr_expect_eq(known(1).isr, ALL);
	cr_expect_eq(known(1).leader_epoch, 0);
	for (uint32_t n = 0; n < HOSTS; n++) {
		cr_expect_eq(hosts[n].kind, MR_COORD_STATE);
		cr_expect_eq(hosts[n].state.version, 1);
	}
	create(0, ALL, 0); /* again */
	settle();
	all_agree();
}

Test(coord_static, leads_alone_at_once_without_other_replicas, .fini = teardown)
{
	start(0);
	create(0, NODE(0), 0);
	cr_expect_eq(hosts[0].coord->operations->next(hosts[0].coord).kind, MR_COORD_NOTHING,
		     "not durable yet");
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_STATE);
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	crash(0);
	start(0);
	settle();
	cr_expect_eq(hosts[0].state.version, 2);
	cr_expect_eq(hosts[0].state.leader_epoch, 64);
}

/* A host that lost its disk must not take a topic for new that others have worked with. */
Test(coord_static, holds_back_a_new_one_until_others_have_it, .fini = teardown)
{
	start(0);
	create(0, ALL, 0);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING);
	cr_expect_eq(not_heard(0), NODE(1) | NODE(2));
	start(1);
	join(0, 1);
	settle();
	cr_expect_eq(not_heard(0), NODE(2));
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING);
	start(2);
	join(0, 2);
	settle();
	cr_expect_eq(not_heard(0), 0);
	cr_expect_eq(hosts[0].kind, MR_COORD_STATE);
}

/*
 * R7: what it made of the topic by itself is never handed out where others know more, in whatever
 * order disk and notices come: it would look as if nobody had ever led.
 */
Test(coord_static, never_hands_out_its_own_first_version_after_a_loss, .init = setup,
     .fini = teardown)
{
	claim(0);
	for (int order = 0; order < 2; order++) {
		crash(1);
		free(hosts[1].disk);
		hosts[1].disk = NULL;
		hosts[1].disk_bytes = 0;
		start(1);
		create(1, ALL, 0);
		if (order)
			while (save_done(1))
				;
		join(1, 0);
		join(1, 2);
		while (deliver()) /* all of it before anything newer is durable */
			;
		take_events(1);
		settle();
		cr_expect_gt(hosts[1].first_version, 1, "order %d", order);
		cr_expect_eq(hosts[1].state.version, 2);
	}
}

Test(coord_static, leads_what_was_just_created, .fini = teardown)
{
	start(0);
	create(0, ALL, 0);
	mr_coord_static_release(hosts[0].coord, &key);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_STATE);
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	crash(0);
	start(0);
	mr_coord_static_release(hosts[0].coord, &key); /* it is not new any more */
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING);
}

/* The notice of the topic is later than that of the register. */
Test(coord_static, takes_a_register_before_its_topic, .fini = teardown)
{
	start(0);
	start(1);
	join(0, 1);
	create(0, 3, 0);
	settle();
	claim(0);
	cr_expect_eq(known(1).version, 2);
	cr_expect_eq(hosts[1].kind, MR_COORD_NOTHING, "nobody looks at it yet");
	create(1, 3, 0);
	settle();
	cr_expect_eq(hosts[1].state.version, 2, "not begun anew");
	crash(1);
	start(1);
	settle();
	cr_expect_eq(hosts[1].state.version, 2, "and kept");
	mr_coord_static_forget(hosts[1].coord, &key);
	cr_expect_eq(mr_coord_static_known(hosts[1].coord, &key, &hosts[1].state, &chance),
		     -ENOENT);
	settle();
	crash(1);
	cr_assert_eq(open_host(1), 0);
	cr_expect_eq(mr_coord_static_known(hosts[1].coord, &key, &hosts[1].state, &chance),
		     -ENOENT);
}

/* ---- compare and set ------------------------------------------------------------------------- */

Test(coord_static, tells_nobody_before_it_is_durable, .init = setup, .fini = teardown)
{
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	shrink(0, NODE(0));
	take_events(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING, "answered before it is durable");
	while (deliver())
		;
	cr_expect_eq(known(0).version, 2);
	cr_expect_eq(known(1).version, 2, "told before it is durable");
	crash(0);
	start(0);
	cr_expect_eq(known(0).isr, ALL, "as if it had never been");
}

Test(coord_static, is_changed_by_its_next_version_only, .init = setup, .fini = teardown)
{
	struct mr_coord_proposal proposal;

	claim(0);
	proposal = proposal_of(0);
	proposal.wanted.version++;
	propose(0, &proposal);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_REFUSED);
	proposal.wanted.version -= 2;
	propose(0, &proposal);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_REFUSED);
	shrink(0, NODE(0) | NODE(1));
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	all_agree();
	cr_expect_eq(hosts[2].state.isr, NODE(0) | NODE(1));
}

/* R3: a follower that came back from a crash is not taken in for what it flushed before it. */
Test(coord_static, guards_the_incarnation_of_a_follower, .init = setup, .fini = teardown)
{
	struct mr_coord_proposal proposal;

	claim(0);
	shrink(0, NODE(0));
	settle();
	proposal = proposal_of(0);
	proposal.wanted.isr |= NODE(1);
	proposal.guard = 1;
	proposal.guard_incarnation = hosts[1].incarnation;
	crash(1);
	start(1);
	join(0, 1);
	propose(0, &proposal);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_REFUSED);
	cr_expect_eq(known(0).version, 3);
	proposal.guard_incarnation = hosts[1].incarnation;
	propose(0, &proposal);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
}

Test(coord_static, asks_the_owner_for_others, .init = setup, .fini = teardown)
{
	claim(0);
	shrink(1, NODE(0) | NODE(2)); /* R7: host 1 leaves */
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_ACCEPTED);
	all_agree();
	cr_expect_eq(known(0).isr, NODE(0) | NODE(2));
	shrink(1, NODE(0)); /* not its own */
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_REFUSED);
	cr_expect_eq(known(0).isr, NODE(0) | NODE(2));
}

Test(coord_static, says_that_nobody_knows, .init = setup, .fini = teardown)
{
	claim(0);
	lose_percent = 100;
	shrink(1, NODE(0) | NODE(2));
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_NOTHING);
	pass(1100);
	cr_expect_eq(hosts[1].kind, MR_COORD_UNKNOWN, "no answer");
	lose_percent = 0;
	shrink(1, NODE(0) | NODE(2));
	cut(0, 1);
	take_events(1);
	cr_expect_eq(hosts[1].kind, MR_COORD_UNKNOWN, "the connection ended");
	shrink(1, NODE(0) | NODE(2));
	take_events(1);
	cr_expect_eq(hosts[1].kind, MR_COORD_UNKNOWN, "there is none");
	join(0, 1);
	settle();
	shrink(1, NODE(0) | NODE(2));
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_ACCEPTED);
}

/* R7 of the leader itself: the next one of those in sync asks the one before. */
Test(coord_static, a_leader_that_gives_up_stays_the_owner, .init = setup, .fini = teardown)
{
	struct mr_coord_proposal proposal;

	claim(0);
	proposal = proposal_of(0);
	proposal.wanted.isr &= ~NODE(0);
	proposal.wanted.leader = MR_NODE_NONE;
	propose(0, &proposal);
	settle();
	all_agree();
	cr_expect_eq(known(2).leader, MR_NODE_NONE);
	proposal = proposal_of(0); /* it is out of it */
	proposal.wanted.leader = 0;
	claim(2);
	cr_expect_eq(hosts[2].kind, MR_COORD_ACCEPTED);
	all_agree();
	claim(1);
	cr_expect_neq(hosts[1].kind, MR_COORD_ACCEPTED, "one of them");
	cr_expect_eq(known(0).leader, 2);
	shrink(2, NODE(2));
	settle();
	cr_expect_eq(hosts[2].kind, MR_COORD_ACCEPTED, "host 2 owns it now");
	all_agree();
}

Test(coord_static, saves_again_after_a_failure, .init = setup, .fini = teardown)
{
	hosts[0].fails = 2;
	claim(0);
	cr_expect_neq(hosts[0].kind, MR_COORD_ACCEPTED);
	pass(2000);
	cr_expect_eq(hosts[0].fails, 0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	shrink(0, NODE(0));
	free(hosts[0].saving);
	hosts[0].saving = NULL;
	mr_coord_static_saved(hosts[0].coord, -EIO);
	take_events(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING);
	pass(1000);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	all_agree();
}

/* ---- starts ---------------------------------------------------------------------------------- */

Test(coord_static, does_not_lead_unseen_after_a_start, .init = setup, .fini = teardown)
{
	claim(0);
	crash(0);
	start(0);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING, "not even to itself");
	cr_expect_eq(not_heard(0), NODE(1) | NODE(2));
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_UNKNOWN);
	join(0, 2);
	settle();
	shrink(2, NODE(0) | NODE(1));
	settle();
	pass(1100);
	cr_expect_eq(hosts[2].kind, MR_COORD_UNKNOWN, "nor for others");
	cr_expect_eq(not_heard(0), NODE(1));
	join(0, 1);
	settle();
	cr_expect_eq(not_heard(0), 0);
	cr_expect_eq(hosts[0].kind, MR_COORD_STATE);
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(known(1).leader_epoch, 128);
}

Test(coord_static, a_follower_does_not_wait, .init = setup, .fini = teardown)
{
	claim(0);
	crash(1);
	start(1);
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_STATE);
	cr_expect_eq(hosts[1].state.leader, 0);
}

/* R7: what a third host remembers from long ago would let it out of an ISR that it is in. */
Test(coord_static, a_new_disk_believes_the_owner_only, .init = setup, .fini = teardown)
{
	claim(0);
	shrink(0, NODE(0) | NODE(2));
	settle();
	crash(2); /* it remembers that host 1 was out */
	shrink(0, ALL);
	settle();
	crash(1);
	free(hosts[1].disk);
	hosts[1].disk = NULL;
	start(1);
	create(1, ALL, 0);
	start(2);
	join(1, 2);
	settle();
	cr_expect_eq(known(1).version, 3);
	cr_expect_eq(hosts[1].kind, MR_COORD_NOTHING, "not from host 2");
	crash(1);
	start(1);
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_NOTHING, "nor after one more start");
	join(0, 1);
	settle();
	cr_expect_eq(hosts[1].kind, MR_COORD_STATE);
	cr_expect_eq(hosts[1].state.version, 4);
	cr_expect_eq(hosts[1].state.isr, ALL);
}

/* ---- a person's word ------------------------------------------------------------------------- */

static void hand_over_at(uint32_t at)
{
	claim(0);
	cr_assert_eq(promote(at, 2, false, 2), 0, "%s", err.what);
	cr_expect_eq(hosts[at].promoted, 1, "not yet");
	settle();
	cr_expect_eq(hosts[at].promoted, 0, "%s", hosts[at].sentence);
	all_agree();
	cr_expect_eq(known(0).leader, 2);
	cr_expect_eq(known(0).leader_incarnation, 0, "to be claimed");
	cr_expect_eq(known(0).version, 3);
	cr_expect_eq(known(0).leader_epoch, 64, "still");
	cr_expect_eq(hosts[2].state.version, 3);
	claim(2);
	cr_expect_eq(hosts[2].kind, MR_COORD_ACCEPTED);
	all_agree();
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_REFUSED, "not its any more");
}

Test(coord_static, hands_over, .init = setup, .fini = teardown)
{
	const struct mr_coord_promoted *rows;
	uint32_t count;

	hand_over_at(0);
	rows = mr_coord_static_promoted(hosts[0].coord, &count);
	cr_assert_eq(count, 1);
	cr_expect_eq(rows[0].from, 0);
	cr_expect_eq(rows[0].to, 2);
	cr_expect(!rows[0].taken_over);
	cr_expect_eq(rows[0].version, 3);
	cr_expect_eq(rows[0].wall_ms, 1700000000123);
}

Test(coord_static, hands_over_from_anywhere, .init = setup, .fini = teardown)
{
	hand_over_at(1);
}

Test(coord_static, hands_over_to_who_asks, .init = setup, .fini = teardown)
{
	hand_over_at(2);
}

Test(coord_static, hands_over_to_who_is_in_sync_only, .init = setup, .fini = teardown)
{
	claim(0);
	shrink(0, NODE(0) | NODE(1));
	settle();
	cr_expect_eq(promote(0, 2, true, 1), -EPERM, "not even with a loss: it need not be");
	cr_expect_str_eq(err.what, "host c is not in sync; in sync: a, b");
	cr_assert_eq(promote(1, 2, false, 1), 0);
	settle();
	cr_expect_eq(hosts[1].promoted, -EPERM);
	cr_expect_str_eq(hosts[1].sentence, "host c is not in sync; in sync: a, b");
	cr_expect_eq(promote(0, 0, false, 1), -EALREADY);
	cr_expect_eq(promote(0, 5, false, 1), -EINVAL);
	cut(0, 1);
	cr_expect_eq(promote(0, 1, false, 1), -EHOSTUNREACH, "it could not go on");
	all_agree();
}

/* It died before it could tell, and comes back. */
Test(coord_static, finishes_a_hand_over_after_a_crash, .init = setup, .fini = teardown)
{
	claim(0);
	lose_percent = 100;
	cr_assert_eq(promote(0, 1, false, 1), 0);
	settle();
	cr_expect_eq(hosts[0].promoted, 0);
	crash(0);
	lose_percent = 0;
	start(0);
	settle();
	cr_expect_eq(hosts[0].state.leader, 1, "it follows; nothing is held back");
	join(0, 1);
	settle();
	cr_expect_eq(known(1).leader, 1);
	cr_expect_eq(hosts[1].state.version, 3, "host 1 never stopped hearing of the others");
}

/* What was handed to its earlier life may have been taken from it since. */
Test(coord_static, is_not_handed_what_was_for_an_earlier_life, .init = setup, .fini = teardown)
{
	claim(0);
	lose_percent = 100;
	cr_assert_eq(promote(0, 1, false, 1), 0);
	settle();
	crash(1);
	lose_percent = 0;
	start(1);
	settle();
	cr_expect_eq(hosts[1].state.leader, 0);
	join(0, 1);
	settle();
	cr_expect_eq(known(1).leader, 1);
	cr_expect_eq(not_heard(1), NODE(2));
	cr_expect_eq(hosts[1].state.leader, 0, "held back");
	join(1, 2);
	settle();
	cr_expect_eq(hosts[1].state.leader, 1);
}

Test(coord_static, takes_over_by_a_persons_word_only, .init = setup, .fini = teardown)
{
	const struct mr_coord_promoted *rows;
	uint32_t count;

	claim(0);
	crash(0);
	cr_expect_eq(promote(1, 2, true, 1), -EHOSTUNREACH);
	cr_expect_str_eq(err.hint, "to take over from it ask at host c itself");
	cr_expect_eq(promote(1, 1, false, 1), -EPERM);
	cr_expect_str_eq(
		err.what,
		"the leader, host a, cannot be reached; in sync were a, b, c, by version 2");
	cr_expect_str_eq(err.why, "host b was in sync when the leader was last heard; what "
				  "the leader committed alone since cannot be known, and would be "
				  "lost");
	cr_expect_not_null(strstr(err.hint, "--accept-loss --old-leader-is-stopped"),
			   "all that has to be said");
	cr_expect_eq(promote(1, 1, false, 2), -EPERM);
	cr_expect_not_null(strstr(err.why, "on other hosts without it cannot be known"));
	cr_expect_eq(promote(1, 1, false, 3), -EPERM);
	cr_expect_not_null(strstr(err.why, "nothing of it would be lost"));
	cr_assert_eq(promote(1, 1, true, 1), 0, "%s", err.what);
	settle();
	cr_expect_eq(hosts[1].promoted, 0);
	cr_expect_eq(known(1).version, 2 + MR_COORD_TAKEOVER);
	cr_expect_eq(known(1).leader, 1);
	cr_expect_eq(known(1).leader_epoch, 64 + MR_COORD_TAKEOVER_EPOCH, "above what was unseen");
	cr_expect_eq(known(1).isr, NODE(1), "nobody else is known to have it");
	cr_expect_eq(hosts[2].state.leader, 1);
	claim(1);
	cr_expect_eq(hosts[1].kind, MR_COORD_ACCEPTED);
	start(0); /* it is told before it leads anything */
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_NOTHING);
	join(0, 1);
	settle();
	cr_expect_eq(hosts[0].state.leader, 1);
	crash(1); /* and it is noted for ever */
	start(1);
	rows = mr_coord_static_promoted(hosts[1].coord, &count);
	cr_assert_eq(count, 1);
	cr_expect(rows[0].taken_over);
	cr_expect_eq(rows[0].isr, ALL);
	cr_expect_eq(rows[0].from, 0);
	cr_expect_eq(rows[0].version, 2 + MR_COORD_TAKEOVER);
	cr_expect_eq(rows[0].min_insync_replicas, 1);
}

Test(coord_static, says_that_who_is_out_of_sync_lacks_records, .init = setup, .fini = teardown)
{
	claim(0);
	shrink(0, NODE(0) | NODE(2));
	settle();
	crash(0);
	cr_expect_eq(promote(1, 1, false, 2), -EPERM);
	cr_expect_not_null(strstr(err.why, "host b is not in sync"));
}

/* Whatever the old leader wrote unseen, it is less. */
Test(coord_static, a_take_over_wins_against_what_was_unseen, .init = setup, .fini = teardown)
{
	claim(0);
	cut(0, 1);
	cut(0, 2);
	for (int i = 0; i < 20; i++) {
		shrink(0, i % 2 ? ALL : NODE(0));
		settle();
		cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	}
	cr_assert_eq(promote(1, 1, true, 1), 0);
	settle();
	claim(1);
	join(0, 1);
	join(0, 2);
	settle();
	all_agree();
	cr_expect_eq(known(0).leader, 1);
	cr_expect_eq(hosts[0].state.leader, 1, "it is told");
	shrink(0, NODE(0));
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_REFUSED);
}

/* Two people at once, each on a side, against the rule: in the end there is one. */
static void promoted_on_both_sides(bool claimed)
{
	claim(0);
	crash(0);
	cut(1, 2);
	cr_assert_eq(promote(1, 1, true, 1), 0);
	cr_assert_eq(promote(2, 2, true, 1), 0);
	settle();
	if (claimed) {
		claim(1);
		claim(2);
	}
	join(1, 2);
	settle();
	cr_expect_eq(memcmp(&(struct mr_coord_state[]){known(1)},
			    &(struct mr_coord_state[]){known(2)}, sizeof(struct mr_coord_state)),
		     0);
	cr_expect_eq(hosts[1].state.leader, hosts[2].state.leader);
	cr_expect_eq(hosts[1].state.version, hosts[2].state.version);
	cr_expect_eq(hosts[1].state.leader, 2, "the greater epoch or number");
	start(0);
	join(0, 1);
	join(0, 2);
	settle();
	all_agree();
	cr_expect_eq(hosts[0].state.leader, 2);
}

Test(coord_static, two_take_overs_come_to_one, .init = setup, .fini = teardown)
{
	promoted_on_both_sides(false);
}

Test(coord_static, two_claimed_take_overs_come_to_one, .init = setup, .fini = teardown)
{
	promoted_on_both_sides(true);
}

/* The one with the disk that nobody else can tell of, by its person's word. */
Test(coord_static, a_held_back_leader_goes_on_by_a_persons_word, .init = setup, .fini = teardown)
{
	claim(0);
	crash(0);
	crash(1);
	crash(2);
	start(0);
	settle();
	cr_expect_eq(promote(0, 0, false, 1), -EPERM);
	cr_expect_str_eq(err.what,
			 "this host led before its start, and has not heard of b, c since, which "
			 "may lead now");
	cr_assert_eq(promote(0, 0, true, 1), 0);
	settle();
	cr_expect_eq(hosts[0].kind, MR_COORD_STATE);
	claim(0);
	cr_expect_eq(hosts[0].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(known(0).isr, NODE(0));
}

Test(coord_static, a_promotion_without_an_answer_ends, .init = setup, .fini = teardown)
{
	claim(0);
	lose_percent = 100;
	cr_assert_eq(promote(1, 1, false, 1), 0);
	cr_expect_eq(promote(1, 1, false, 1), -EBUSY);
	hosts[1].promoted = 1;
	pass(5100);
	cr_expect_eq(hosts[1].promoted, -ETIMEDOUT);
}

/* ---- lost notices ---------------------------------------------------------------------------- */

Test(coord_static, all_is_told_in_the_end, .fini = teardown)
{
	for (chance = 1; chance < 40; chance++) {
		uint64_t seed = chance;

		lose_percent = 40;
		setup();
		pass(30000);
		claim(0);
		pass(10000);
		all_agree();
		for (int i = 0; i < 3; i++) {
			shrink(0, i % 2 ? ALL : NODE(0) | NODE(1));
			pass(8000);
			all_agree();
		}
		cr_assert_eq(known(2).version, 5, "%llu", (unsigned long long)known(2).version);
		teardown();
		memset(hosts, 0, sizeof(hosts));
		memset(linked, 0, sizeof(linked));
		chance = seed;
	}
}

/* Who waits for events sleeps on it. */
Test(coord_static, its_descriptor_says_when_there_is_something, .init = setup, .fini = teardown)
{
	struct pollfd at = {.fd = hosts[0].coord->operations->fd(hosts[0].coord), .events = POLLIN};

	cr_expect_eq(poll(&at, 1, 0), 0);
	cr_assert_eq(hosts[0].coord->operations->read(hosts[0].coord, &key, &err), 0);
	cr_expect_eq(poll(&at, 1, 0), 1);
	take_events(0);
	cr_expect_eq(poll(&at, 1, 0), 0);
	cr_expect_eq(hosts[0].coord->operations->read(hosts[0].coord,
						      &(struct mr_coord_key){.partition = 1}, &err),
		     -ENOENT);
}
