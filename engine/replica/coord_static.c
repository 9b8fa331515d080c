/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static coordinator (coord_static.h): registers, who may write them, what of it is durable and
 * who hears of it. Runs on the control thread; owns the registers.
 *
 * A write goes its way in one order, always: 'now', the file, 'durable', and only then the notices;
 * when the members of its ISR have confirmed, 'accepted', the answer and the event. So nobody ever
 * acts on what a crash takes back, nor the owner on what goes with its disk.
 *
 * Two writers of one register can come only from a person's take-over beside a leader that was not
 * stopped. Whatever they wrote, all hosts come to hold the same: the greater version, then epoch,
 * then leader. Where versions are equal the winner writes once more, since nobody looks at another
 * register of the same version.
 */
#include "coord_static.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "coord_registers.h"

/* ---- the set of them ------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
	const struct mr_register *left = a, *right = b;
	int by_topic = memcmp(left->key.topic_id, right->key.topic_id, 16);

	return by_topic ? by_topic
			: (left->key.partition > right->key.partition) -
				  (left->key.partition < right->key.partition);
}

struct mr_register *mr_registers_find(const struct mr_coord_static *us,
				      const struct mr_coord_key *key)
{
	struct mr_register wanted = {.key = *key};
	void *const *found = tfind(&wanted, &us->tree, compare_keys);

	return found ? *found : NULL;
}

struct mr_register *mr_registers_add(struct mr_coord_static *us, const struct mr_coord_key *key,
				     uint64_t replicas)
{
	struct mr_register *reg;

	if (us->count >= MR_COORD_REGISTERS_MAX)
		return NULL;
	reg = calloc(1, sizeof(*reg));
	if (!reg)
		return NULL;
	reg->key = *key;
	reg->replicas = replicas;
	reg->now.state.leader = reg->durable.state.leader = MR_NODE_NONE;
	reg->now.owner = reg->durable.owner = MR_NODE_NONE;
	reg->released = !mr_coord_others(us, reg);
	reg->blank = !reg->released;
	if (!tsearch(reg, &us->tree, compare_keys)) {
		free(reg);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&us->registers, reg, all);
	us->count++;
	return reg;
}

static void remove_register(struct mr_coord_static *us, struct mr_register *reg)
{
	struct mr_error err = {0};

	mr_error_set(&err, -ENOENT, "its topic is deleted");
	mr_register_promote_done(reg, -ENOENT, &err);
	if (reg->queued)
		TAILQ_REMOVE(&us->due, reg, due);
	TAILQ_REMOVE(&us->registers, reg, all);
	(void)tdelete(reg, &us->tree, compare_keys); /* it is there */
	us->strangers -= !reg->created;
	us->count--;
	free(reg);
}

/* ---- what this host hears of them ------------------------------------------------------------ */

static void enqueue(struct mr_coord_static *us, struct mr_register *reg)
{
	uint64_t one = 1;

	if (reg->queued)
		return;
	reg->queued = true;
	TAILQ_INSERT_TAIL(&us->due, reg, due);
	(void)!write(us->event_fd, &one, sizeof(one)); /* it cannot fill up: it is a sum */
}

void mr_register_answer(struct mr_coord_static *us, struct mr_register *reg,
			enum mr_coord_event_kind kind, const struct mr_coord_state *state)
{
	reg->answer = (struct mr_coord_event){.kind = kind, .key = reg->key, .state = *state};
	enqueue(us, reg);
}

bool mr_register_is_durable(const struct mr_register *reg)
{
	return memcmp(&reg->now, &reg->durable, sizeof(reg->now)) == 0;
}

bool mr_register_is_accepted(const struct mr_register *reg)
{
	return reg->accepted && mr_register_is_durable(reg);
}

bool mr_register_is_held(const struct mr_coord_static *us, const struct mr_register *reg)
{
	if (reg->blank)
		return true;
	return !reg->released && (reg->durable.owner == (int32_t)us->options.self ||
				  reg->durable.state.leader == (int32_t)us->options.self);
}

/*
 * While something newer is on its way to the disk the older is not handed out: to a replica that
 * lost its data the first version of all, which its own host made, would look as if nobody had ever
 * led, and it would stay in the ISR (R7).
 */
static void state_is_due(struct mr_coord_static *us, struct mr_register *reg)
{
	if (!reg->watched || !reg->durable.state.version || mr_register_is_held(us, reg) ||
	    !mr_register_is_accepted(reg))
		return;
	reg->state_due = true;
	enqueue(us, reg);
}

static struct mr_coord_event next(struct mr_coord *coord)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = TAILQ_FIRST(&us->due);
	struct mr_coord_event event = {.kind = MR_COORD_NOTHING};
	uint64_t sum;

	if (!reg) {
		(void)!read(us->event_fd, &sum, sizeof(sum)); /* may be empty already */
		return event;
	}
	if (reg->answer.kind != MR_COORD_NOTHING) {
		event = reg->answer;
		reg->answer.kind = MR_COORD_NOTHING;
	} else {
		event.kind = MR_COORD_STATE;
		event.key = reg->key;
		event.state = reg->durable.state;
		reg->state_due = false;
	}
	if (!reg->state_due) {
		TAILQ_REMOVE(&us->due, reg, due);
		reg->queued = false;
	}
	return event;
}

/* ---- writing --------------------------------------------------------------------------------- */

bool mr_register_is_ours(const struct mr_coord_static *us, const struct mr_register *reg)
{
	return reg->released && reg->now.owner == (int32_t)us->options.self;
}

/* What a write was for is told, now that it is durable or never will be. */
static void end_write(struct mr_coord_static *us, struct mr_register *reg, bool done)
{
	struct mr_coord_write write = reg->write;
	struct mr_error err = {0};

	reg->write = (struct mr_coord_write){0};
	if (!write.version)
		return;
	if (!done)
		mr_error_set(&err, -ESTALE, "another host was promoted at the same time");
	if (write.promotion && write.id)
		mr_coord_say_promoted(us, reg, write.node, write.id, done ? NULL : &err);
	else if (write.promotion)
		mr_register_promote_done(reg, done ? 0 : -ESTALE, done ? NULL : &err);
	else if (write.id)
		mr_coord_say_outcome(us, reg, write.node, write.id, done);
	else
		mr_register_answer(us, reg, done ? MR_COORD_ACCEPTED : MR_COORD_REFUSED,
				   done ? &reg->durable.state : &reg->now.state);
}

static void set_now(struct mr_coord_static *us, struct mr_register *reg,
		    const struct mr_coord_state *state, int32_t owner)
{
	reg->now = (struct mr_coord_value){0};
	reg->now.state.version = state->version;
	reg->now.state.leader_incarnation = state->leader_incarnation;
	reg->now.state.isr = state->isr;
	reg->now.state.leader = state->leader;
	reg->now.state.leader_epoch = state->leader_epoch;
	reg->now.owner = owner;
	reg->handed_to = 0;
	reg->confirm = 0;
	reg->written_here = false;
	us->dirty = true;
}

void mr_register_write(struct mr_coord_static *us, struct mr_register *reg,
		       const struct mr_coord_state *state, const struct mr_coord_write *write)
{
	set_now(us, reg, state, state->leader == MR_NODE_NONE ? reg->now.owner : state->leader);
	reg->written_here = true;
	reg->write = *write;
}

/*
 * What a host that is not the owner may want: to leave the ISR after it lost its data (R7), or to
 * lead what nobody leads, being in sync. All else is the leader's.
 */
static bool may_propose(const struct mr_register *reg, const struct mr_coord_state *wanted,
			uint32_t node)
{
	const struct mr_coord_state *state = &reg->now.state;

	if (wanted->leader == state->leader && wanted->leader_epoch == state->leader_epoch)
		return wanted->leader_incarnation == state->leader_incarnation &&
		       wanted->isr == (state->isr & ~mr_coord_bit(node));
	return state->leader == MR_NODE_NONE && wanted->leader == (int32_t)node &&
	       wanted->leader_epoch > state->leader_epoch && wanted->isr == state->isr &&
	       (state->isr & mr_coord_bit(node));
}

/*
 * This host proposes against what it knows, and something newer of it waits for members that do not
 * confirm. The same again waits on. Fewer members take its place: what the host knows did not move,
 * so it counts on all that it ever proposed (R4). Nobody comes in, who may have left by R7.
 */
static enum mr_coord_event_kind supersede(struct mr_coord_static *us, struct mr_register *reg,
					  const struct mr_coord_proposal *proposal,
					  struct mr_coord_write *write)
{
	const struct mr_coord_state *now = &reg->now.state;
	struct mr_coord_state wanted = proposal->wanted;

	if (wanted.version != reg->base + 1 || (wanted.isr & ~now->isr) ||
	    wanted.leader != now->leader || wanted.leader_epoch != now->leader_epoch ||
	    wanted.leader_incarnation != now->leader_incarnation)
		return MR_COORD_UNKNOWN;
	write->version = now->version;
	if (wanted.isr == now->isr) {
		reg->write = *write;
		return MR_COORD_NOTHING;
	}
	wanted.version = ++write->version;
	mr_register_write(us, reg, &wanted, write);
	return MR_COORD_NOTHING;
}

enum mr_coord_event_kind mr_register_try(struct mr_coord_static *us, struct mr_register *reg,
					 const struct mr_coord_proposal *proposal, uint32_t node,
					 uint64_t id)
{
	const struct mr_coord_state *wanted = &proposal->wanted;
	struct mr_coord_write write = {.version = wanted->version,
				       .node = node,
				       .id = id,
				       .since_ns = mr_coord_now_ns(us)};

	if (!mr_register_is_durable(reg)) /* one at a time; and no word of what is about to pass */
		return MR_COORD_UNKNOWN;
	if (!reg->accepted)
		return node == us->options.self ? supersede(us, reg, proposal, &write)
						: MR_COORD_UNKNOWN;
	if (wanted->version != reg->now.state.version + 1 ||
	    (node != us->options.self && !may_propose(reg, wanted, node)))
		return MR_COORD_REFUSED;
	if (proposal->guard != MR_NODE_NONE &&
	    us->peers[proposal->guard].incarnation != proposal->guard_incarnation)
		return MR_COORD_REFUSED;
	mr_register_write(us, reg, wanted, &write);
	return MR_COORD_NOTHING;
}

/* ---- what others know ------------------------------------------------------------------------ */

void mr_register_release(struct mr_coord_static *us, struct mr_register *reg)
{
	if (reg->released)
		return;
	reg->released = true;
	reg->told = 0; /* who waits for the owner's word has it only now */
	mr_register_is_newest(us, reg);
	state_is_due(us, reg);
}

/* What is durable may be older than what the owner said: by configuration, or of a third host. */
static void end_blank(struct mr_coord_static *us, struct mr_register *reg)
{
	if (!reg->blank || !reg->blank_until || reg->durable.state.version < reg->blank_until)
		return;
	reg->blank = false;
	reg->blank_until = 0;
	us->dirty = true;
	state_is_due(us, reg);
}

void mr_register_is_newest(struct mr_coord_static *us, struct mr_register *reg)
{
	if (!reg->blank || reg->blank_until)
		return;
	reg->blank_until = reg->now.state.version;
	end_blank(us, reg);
}

void mr_register_heard(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	reg->heard |= mr_coord_bit(node);
	if (!(mr_coord_others(us, reg) & ~reg->heard))
		mr_register_release(us, reg);
}

/* Positive: 'a' is newer. */
static int compare_values(const struct mr_coord_value *a, const struct mr_coord_value *b)
{
	if (a->state.version != b->state.version)
		return a->state.version > b->state.version ? 1 : -1;
	if (a->state.leader_epoch != b->state.leader_epoch)
		return a->state.leader_epoch > b->state.leader_epoch ? 1 : -1;
	if (a->state.leader != b->state.leader)
		return a->state.leader > b->state.leader ? 1 : -1;
	return memcmp(a, b, sizeof(*a)); /* any order will do, if it is the same everywhere */
}

void mr_register_owner_has(struct mr_coord_static *us, struct mr_register *reg,
			   const struct mr_coord_value *value)
{
	if (compare_values(value, &reg->now) == 0) /* else it was taken over from that owner */
		mr_register_is_newest(us, reg);
}

/* Whoever may write a register hands it to this very life: it need not ask the others. */
static bool is_handed_over(const struct mr_coord_static *us, const struct mr_coord_value *value,
			   uint64_t handed_to)
{
	return value->state.leader == (int32_t)us->options.self &&
	       (value->state.leader_incarnation == us->options.incarnation ||
		handed_to == us->options.incarnation);
}

void mr_register_merge(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
		       const struct mr_coord_value *value, uint64_t handed_to)
{
	int order = compare_values(value, &reg->now);
	struct mr_coord_state again = reg->now.state;

	if (order > 0) {
		set_now(us, reg, &value->state, value->owner);
		end_write(us, reg, false);
		reg->confirm |= mr_coord_bit(node);
	} else if (order == 0) {
		if (mr_register_is_durable(reg)) {
			mr_register_confirmed(us, reg, node);
			mr_coord_say_confirm(us, reg, node);
		} else {
			reg->confirm |= mr_coord_bit(node);
		}
	} else if (value->state.version == again.version && mr_register_is_ours(us, reg)) {
		again.version++;
		if (mr_register_is_durable(reg))
			mr_register_write(us, reg, &again, &(struct mr_coord_write){0});
	} else if (mr_register_is_durable(reg)) {
		mr_coord_say_state(us, reg, node);
	}
	if (order >= 0 && is_handed_over(us, value, handed_to))
		mr_register_release(us, reg);
	mr_register_heard(us, reg, node);
}

/* ---- the file -------------------------------------------------------------------------------- */

void mr_coord_static_save(struct mr_coord_static *us)
{
	struct mr_register *reg;
	uint8_t *bytes;
	size_t count;
	int r;

	if (!us->dirty || us->is_saving || us->save_failed)
		return;
	bytes = mr_coord_static_encode(us, &count);
	r = bytes ? us->options.save(us->options.arg, bytes, count) : -ENOMEM;
	free(bytes);
	if (r < 0) {
		us->save_failed = true;
		us->failed_ns = mr_coord_now_ns(us);
		return;
	}
	us->dirty = false;
	us->is_saving = true;
	TAILQ_FOREACH(reg, &us->registers, all)
	reg->saving = reg->now;
}

/* Not before it is durable here: a crash must not take back what this host has acted on. */
void mr_register_tell_outcome(struct mr_coord_static *us, struct mr_register *reg)
{
	if (!reg->asked.version || reg->durable.state.version < reg->asked.version ||
	    !reg->accepted)
		return;
	reg->asked.version = 0;
	mr_register_answer(us, reg, reg->asked.done ? MR_COORD_ACCEPTED : MR_COORD_REFUSED,
			   &reg->durable.state);
}

/* Whether the members have it whose disks count; version 1 is the same by configuration. */
static bool is_with_members(const struct mr_coord_static *us, const struct mr_register *reg)
{
	uint64_t members = reg->durable.state.isr & mr_coord_others(us, reg);

	return reg->durable.owner != (int32_t)us->options.self || reg->durable.state.version == 1 ||
	       !(members & ~reg->has);
}

/* This host acts on it: what was asked for is answered. */
static void accept_durable(struct mr_coord_static *us, struct mr_register *reg)
{
	if (reg->accepted || !mr_register_is_durable(reg) || !is_with_members(us, reg))
		return;
	reg->accepted = true;
	reg->base = reg->durable.state.version;
	if (reg->write.version && reg->write.version <= reg->durable.state.version)
		end_write(us, reg, true);
	mr_register_tell_outcome(us, reg);
	end_blank(us, reg);
	state_is_due(us, reg);
}

void mr_register_confirmed(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	reg->told |= mr_coord_bit(node);
	reg->has |= mr_coord_bit(node);
	accept_durable(us, reg);
}

/* It is durable: all hear of it, and this host acts on it as soon as it may. */
static void is_durable_now(struct mr_coord_static *us, struct mr_register *reg)
{
	uint64_t left = mr_coord_others(us, reg);

	reg->durable = reg->saving;
	reg->told = 0;
	reg->has = mr_register_is_durable(reg) ? reg->confirm : 0; /* they said it */
	reg->accepted = false;
	reg->durable_ns = mr_coord_now_ns(us);
	end_blank(us, reg);
	accept_durable(us, reg);
	if (!mr_register_is_durable(reg))
		return;
	for (; left; left &= left - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(left);

		if (!us->peers[node].connected)
			continue;
		/* by its writer, and by who needs their word; else it is said again later */
		if (reg->confirm & mr_coord_bit(node))
			mr_coord_say_confirm(us, reg, node);
		else if (reg->written_here || reg->durable.owner == (int32_t)us->options.self)
			mr_coord_say_state(us, reg, node);
	}
	reg->confirm = 0;
}

void mr_coord_static_saved(struct mr_coord *coord, int status)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg;

	mr_assert(us->is_saving);
	us->is_saving = false;
	if (status < 0) {
		us->dirty = true;
		us->save_failed = true;
		us->failed_ns = mr_coord_now_ns(us);
		return;
	}
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		if (reg->saving.state.version &&
		    memcmp(&reg->saving, &reg->durable, sizeof(reg->saving)) != 0)
			is_durable_now(us, reg);
	}
	mr_coord_static_save(us);
	mr_coord_flush(us);
}

/* ---- what the engine asks -------------------------------------------------------------------- */

static int unknown_register(const struct mr_coord_key *key, struct mr_error *err)
{
	return mr_error_set(err, -ENOENT, "no register of partition %d is known", key->partition);
}

static int watch(struct mr_coord *coord, const struct mr_coord_key *key, struct mr_error *err)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);

	if (!reg)
		return unknown_register(key, err);
	reg->watched = true;
	state_is_due(us, reg);
	return 0;
}

/* The proposal of this host, at the owner. */
static enum mr_coord_event_kind ask_owner(struct mr_coord_static *us, struct mr_register *reg,
					  const struct mr_coord_proposal *proposal)
{
	uint32_t owner = (uint32_t)reg->now.owner;

	if (reg->now.owner == MR_NODE_NONE || owner == us->options.self ||
	    !us->peers[owner].connected || !mr_register_is_durable(reg))
		return MR_COORD_UNKNOWN;
	reg->asked = (struct mr_coord_asked){
		.id = ++us->last_id,
		.since_ns = mr_coord_now_ns(us),
		.node = owner,
	};
	mr_coord_say_proposal(us, reg, owner, reg->asked.id, proposal);
	return MR_COORD_NOTHING;
}

static int propose(struct mr_coord *coord, const struct mr_coord_key *key,
		   const struct mr_coord_proposal *proposal, struct mr_error *err)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);
	enum mr_coord_event_kind kind;

	if (!reg)
		return unknown_register(key, err);
	if (mr_register_is_ours(us, reg))
		kind = mr_register_try(us, reg, proposal, us->options.self, 0);
	else
		kind = ask_owner(us, reg, proposal);
	if (kind != MR_COORD_NOTHING)
		mr_register_answer(us, reg, kind, &reg->durable.state);
	mr_coord_static_save(us);
	mr_coord_flush(us);
	return 0;
}

static int event_fd(const struct mr_coord *coord)
{
	return mr_coord_static_of(coord)->event_fd;
}

static void close_coord(struct mr_coord *coord)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg;

	while ((reg = TAILQ_FIRST(&us->registers)))
		remove_register(us, reg);
	for (uint32_t i = 0; i < MR_NODES_MAX; i++)
		json_decref(us->peers[i].rows);
	if (us->event_fd >= 0)
		(void)close(us->event_fd); /* nothing was written */
	free(us->promoted);
	free(us);
}

static const struct mr_coord_operations operations = {
	.close = close_coord,
	.watch = watch,
	.read = watch, /* what is watched is told again */
	.propose = propose,
	.next = next,
	.fd = event_fd,
};

int mr_coord_static_open(const struct mr_coord_static_options *options, const void *bytes,
			 size_t count, struct mr_coord **out, struct mr_error *err)
{
	struct mr_coord_static *us = calloc(1, sizeof(*us));
	struct mr_register *reg;
	int r = 0;

	mr_assert(options->self < MR_NODES_MAX);
	if (!us)
		return mr_error_set(err, -ENOMEM, "no memory for the coordinator");
	us->head.operations = &operations;
	us->options = *options;
	TAILQ_INIT(&us->registers);
	TAILQ_INIT(&us->due);
	us->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (us->event_fd < 0)
		r = mr_error_set(err, -errno, "no eventfd for the coordinator");
	else if (bytes)
		r = mr_coord_static_decode(us, bytes, count, err);
	if (r < 0) {
		close_coord(&us->head);
		return r;
	}
	TAILQ_FOREACH(reg, &us->registers, all)
	accept_durable(us, reg);
	*out = &us->head;
	return 0;
}

int mr_coord_static_create(struct mr_coord *coord, const struct mr_coord_key *key,
			   uint64_t replicas, uint32_t leader, struct mr_error *err)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);
	struct mr_coord_state state = {.version = 1, .isr = replicas, .leader = (int32_t)leader};

	mr_assert(leader < MR_NODES_MAX);
	mr_assert(replicas & mr_coord_bit(leader));
	if (reg && reg->created)
		return 0;
	if (!reg) {
		reg = mr_registers_add(us, key, replicas);
		if (!reg)
			return mr_error_set(err, -ENOMEM, "no room for one more register");
		set_now(us, reg, &state, (int32_t)leader);
		reg->written_here = true;
	} else {
		us->strangers--;
		reg->durable = reg->saving = (struct mr_coord_value){.owner = MR_NODE_NONE};
		reg->durable.state.leader = reg->saving.state.leader = MR_NODE_NONE;
	}
	reg->created = true;
	us->dirty = true;
	mr_coord_static_save(us);
	mr_coord_flush(us);
	return 0;
}

void mr_coord_static_release(struct mr_coord *coord, const struct mr_coord_key *key)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);

	if (reg && reg->now.state.version == 1)
		mr_register_release(us, reg);
}

void mr_coord_static_doubt(struct mr_coord *coord, const struct mr_coord_key *key)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);

	/* what was heard of in this life already was never taken from the disk */
	if (reg && !reg->heard && !reg->released)
		reg->blank = true;
}

void mr_coord_static_forget(struct mr_coord *coord, const struct mr_coord_key *key)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, key);

	if (!reg)
		return;
	us->dirty |= reg->created;
	remove_register(us, reg);
	mr_coord_static_save(us);
}

int mr_coord_static_known(const struct mr_coord *coord, const struct mr_coord_key *key,
			  struct mr_coord_state *state, uint64_t *not_heard_of)
{
	const struct mr_coord_static *us = mr_coord_static_of(coord);
	const struct mr_register *reg = mr_registers_find(us, key);

	if (!reg)
		return -ENOENT;
	*state = reg->durable.state;
	*not_heard_of = mr_register_is_held(us, reg) ? mr_coord_others(us, reg) & ~reg->heard : 0;
	return 0;
}

uint64_t mr_register_unconfirmed(const struct mr_coord_static *us, const struct mr_register *reg)
{
	if (reg->accepted || reg->durable.owner != (int32_t)us->options.self ||
	    mr_coord_now_ns(us) - reg->durable_ns < MR_COORD_GIVE_UP_NS)
		return 0;
	return reg->durable.state.isr & mr_coord_others(us, reg) & ~reg->has;
}

uint64_t mr_coord_static_unconfirmed(const struct mr_coord *coord, const struct mr_coord_key *key)
{
	const struct mr_coord_static *us = mr_coord_static_of(coord);
	const struct mr_register *reg = mr_registers_find(us, key);

	return reg ? mr_register_unconfirmed(us, reg) : 0;
}

/* ---- connections and time -------------------------------------------------------------------- */

void mr_coord_static_connected(struct mr_coord *coord, uint32_t node, uint64_t incarnation)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg;

	mr_assert(node < MR_NODES_MAX && node != us->options.self);
	us->peers[node].connected = true;
	us->peers[node].incarnation = incarnation;
	us->peers[node].said_ns = mr_coord_now_ns(us);
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		reg->told &= ~mr_coord_bit(node);
		reg->has &= ~mr_coord_bit(node); /* its disk may be another one */
		if ((reg->replicas & mr_coord_bit(node)) && reg->durable.state.version &&
		    mr_register_is_durable(reg))
			mr_coord_say_state(us, reg, node);
	}
	mr_coord_flush(us);
}

static void nobody_knows(struct mr_coord_static *us, struct mr_register *reg)
{
	reg->asked.id = 0;
	mr_register_answer(us, reg, MR_COORD_UNKNOWN, &reg->durable.state);
}

void mr_coord_static_disconnected(struct mr_coord *coord, uint32_t node)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg;

	mr_assert(node < MR_NODES_MAX);
	us->peers[node].connected = false;
	json_decref(us->peers[node].rows);
	us->peers[node].rows = NULL;
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		reg->confirm &= ~mr_coord_bit(node);
		if (reg->asked.id && reg->asked.node == node)
			nobody_knows(us, reg);
		mr_register_promote_lost(us, reg, node);
	}
}

/* What a peer has not confirmed is said again. */
static void say_again(struct mr_coord_static *us, uint32_t node)
{
	struct mr_coord_peer *peer = &us->peers[node];
	struct mr_register *reg;

	if (!peer->connected || mr_coord_now_ns(us) - peer->said_ns < MR_COORD_ASK_AGAIN_NS)
		return;
	peer->said_ns = mr_coord_now_ns(us);
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		if ((reg->replicas & ~reg->told & mr_coord_bit(node)) &&
		    reg->durable.state.version && mr_register_is_durable(reg))
			mr_coord_say_state(us, reg, node);
	}
}

/* Members that do not confirm: who proposed it may propose less. */
static void give_up(struct mr_coord_static *us, struct mr_register *reg)
{
	const struct mr_coord_write *write = &reg->write;

	if (!write->version || write->promotion || write->node != us->options.self ||
	    !mr_register_is_durable(reg) ||
	    mr_coord_now_ns(us) - write->since_ns < MR_COORD_GIVE_UP_NS)
		return;
	reg->write = (struct mr_coord_write){0};
	mr_register_answer(us, reg, MR_COORD_UNKNOWN, &reg->durable.state);
}

void mr_coord_static_time(struct mr_coord *coord)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	uint64_t now_ns = mr_coord_now_ns(us);
	struct mr_register *reg;

	if (us->save_failed && now_ns - us->failed_ns >= MR_COORD_ASK_AGAIN_NS)
		us->save_failed = false;
	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		say_again(us, node);
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		if (reg->asked.id && now_ns - reg->asked.since_ns >= MR_COORD_GIVE_UP_NS)
			nobody_knows(us, reg);
		give_up(us, reg);
		mr_register_promote_time(us, reg);
	}
	mr_coord_static_save(us);
	mr_coord_flush(us);
}
