/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A person's word (coord_static.h): leadership handed over by the owner, or taken over from one
 * that cannot be asked. Runs on the control thread.
 *
 * Handed over: the register names another leader under the old epoch, without an incarnation; the
 * one it names then claims the next epoch as after a start. It must be in sync and there, so
 * nothing is lost. Taken over: the version rises by 2^32, the leader epoch by 2^20, so that nothing
 * that the old leader wrote unseen is newer, and only the new leader is in sync until the others
 * have caught up.
 *
 * In the end both stand in the list of promotions, which is never cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "coord_registers.h"

#define PROMOTIONS_MAX 1000000u

/* ---- words for people ------------------------------------------------------------------------ */

static const char *name_of(const struct mr_coord_static *us, int32_t node, char room[16])
{
	if (us->options.name)
		return us->options.name(us->options.arg, (uint32_t)node, room);
	snprintf(room, 16, "%d", node);
	return room;
}

/* "a, c" */
static const char *list_nodes(const struct mr_coord_static *us, uint64_t nodes, char *text,
			      size_t bytes)
{
	size_t used = 0;
	char room[16];

	snprintf(text, bytes, "none");
	for (; nodes && used < bytes; nodes &= nodes - 1)
		used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "",
					 name_of(us, __builtin_ctzll(nodes), room));
	return text;
}

/* What is known, and what cannot be: R11. */
static void tell_loss(const struct mr_coord_static *us, const struct mr_register *reg, uint32_t to,
		      uint32_t least, struct mr_error *err)
{
	uint64_t isr = reg->now.state.isr;
	char room[16];
	const char *name = name_of(us, (int32_t)to, room);

	if (!(isr & mr_coord_bit(to)))
		mr_error_why(err,
			     "host %s is not in sync: records that were committed "
			     "without it would be lost",
			     name);
	else if (least >= (uint32_t)__builtin_popcountll(reg->replicas))
		mr_error_why(err, "every replica has what was committed: nothing of it would be "
				  "lost, if the old leader is stopped");
	else if (least >= 2)
		mr_error_why(err,
			     "host %s was in sync when the leader was last heard; what "
			     "was committed since on other hosts without it cannot be known, "
			     "and would be lost",
			     name);
	else
		mr_error_why(err,
			     "host %s was in sync when the leader was last heard; what "
			     "the leader committed alone since cannot be known, and would be "
			     "lost",
			     name);
	mr_error_hint(err, "stop the old leader, for good or until this host can be reached from "
			   "it; then say so by --accept-loss --old-leader-is-stopped");
}

static int refuse_takeover(const struct mr_coord_static *us, const struct mr_register *reg,
			   const struct mr_coord_promotion *wanted, struct mr_error *err)
{
	char hosts[200], room[16];

	if (reg->now.owner == (int32_t)us->options.self)
		mr_error_set(
			err, -EPERM,
			"this host led before its start, and has not heard of %s since, which may "
			"lead now",
			list_nodes(us, mr_coord_others(us, reg) & ~reg->heard, hosts,
				   sizeof(hosts)));
	else
		mr_error_set(err, -EPERM,
			     "the leader, host %s, cannot be reached; in sync were %s, by version "
			     "%" PRIu64,
			     name_of(us, reg->now.owner, room),
			     list_nodes(us, reg->now.state.isr, hosts, sizeof(hosts)),
			     reg->now.state.version);
	tell_loss(us, reg, wanted->to, wanted->min_insync_replicas, err);
	return -EPERM;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int note_promotion(struct mr_coord_static *us, const struct mr_coord_promoted *promoted,
			  struct mr_error *err)
{
	uint32_t room = us->promoted_room ? 2 * us->promoted_room : 4;
	struct mr_coord_promoted *more;

	if (us->promoted_count >= PROMOTIONS_MAX)
		return mr_error_set(err, -ENOSPC, "%u promotions are noted already",
				    us->promoted_count);
	if (us->promoted_count == us->promoted_room) {
		more = reallocarray(us->promoted, room, sizeof(*more));
		if (!more)
			return mr_error_set(err, -ENOMEM, "no memory to note a promotion");
		us->promoted = more;
		us->promoted_room = room;
	}
	us->promoted[us->promoted_count++] = *promoted;
	return 0;
}

static int write_promotion(struct mr_coord_static *us, struct mr_register *reg,
			   const struct mr_coord_promotion *wanted, bool taken_over,
			   struct mr_coord_write *write, struct mr_error *err)
{
	struct mr_coord_state state = reg->now.state;
	struct mr_coord_promoted promoted = {
		.key = reg->key,
		.from = state.leader,
		.to = (int32_t)wanted->to,
		.taken_over = taken_over,
		.min_insync_replicas = wanted->min_insync_replicas,
		.isr = state.isr,
		.wall_ms = wanted->wall_ms,
	};
	int r;

	if (state.version > MR_COORD_VERSION_MAX - 2 * MR_COORD_TAKEOVER ||
	    state.leader_epoch > INT32_MAX - 2 * MR_COORD_TAKEOVER_EPOCH)
		return mr_error_set(err, -ERANGE, "the register was taken over too often");
	state.version += taken_over ? MR_COORD_TAKEOVER : 1;
	state.leader = (int32_t)wanted->to;
	state.leader_incarnation = 0;
	if (taken_over) {
		state.isr = mr_coord_bit(wanted->to);
		state.leader_epoch += MR_COORD_TAKEOVER_EPOCH;
	}
	promoted.version = state.version;
	r = note_promotion(us, &promoted, err);
	if (r < 0)
		return r;
	write->version = state.version;
	write->promotion = true;
	mr_register_write(us, reg, &state, write);
	if (!taken_over || wanted->to != us->options.self)
		reg->handed_to = us->peers[wanted->to].incarnation;
	return 0;
}

static uint64_t connected(const struct mr_coord_static *us)
{
	uint64_t nodes = 0;

	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		if (us->peers[node].connected)
			nodes |= mr_coord_bit(node);
	return nodes;
}

/* In a moment it is over; or, where somebody must write it down who is gone, when he is back. */
static int refuse_while_changed(const struct mr_coord_static *us, const struct mr_register *reg,
				struct mr_error *err)
{
	uint64_t missing = mr_register_unconfirmed(us, reg);
	char hosts[200];

	if (!missing)
		return mr_error_set(err, -EAGAIN, "the register is being changed: say it again");
	mr_error_set(err, -EAGAIN,
		     "who is in sync was changed, and that is not written down yet by %s",
		     list_nodes(us, missing, hosts, sizeof(hosts)));
	return mr_error_hint(err, "what to do: millrace status, at the leader; then say it again");
}

/*
 * By the owner, where nobody is in sync any more (R7: the last one that was lost what it had): no
 * host has more than another by right, and a person chooses what is left.
 */
static int choose(struct mr_coord_static *us, struct mr_register *reg,
		  const struct mr_coord_promotion *wanted, struct mr_coord_write *write,
		  struct mr_error *err)
{
	char room[16];

	if (wanted->accept_loss)
		return write_promotion(us, reg, wanted, true, write, err);
	mr_error_set(err, -EPERM,
		     "no host is in sync any more, the last one lost what it had: one is chosen at "
		     "host %s, with --accept-loss --old-leader-is-stopped",
		     name_of(us, (int32_t)us->options.self, room));
	mr_error_why(err, "records that were committed and are not on host %s would be lost",
		     name_of(us, (int32_t)wanted->to, room));
	return mr_error_hint(err, "choose the host that has most of them: millrace topic describe, "
				  "on each");
}

/* By the owner: 'to' has all that was committed, and is there to go on. */
static int hand_over(struct mr_coord_static *us, struct mr_register *reg,
		     const struct mr_coord_promotion *wanted, struct mr_coord_write *write,
		     struct mr_error *err)
{
	char hosts[200], room[16];
	const char *to = name_of(us, (int32_t)wanted->to, room);
	uint64_t missing;

	if (!(reg->replicas & mr_coord_bit(wanted->to)))
		return mr_error_set(err, -EINVAL, "host %s keeps no copy: %s do", to,
				    list_nodes(us, reg->replicas, hosts, sizeof(hosts)));
	if (reg->now.state.leader == (int32_t)wanted->to)
		return mr_error_set(err, -EALREADY, "host %s leads already", to);
	if (!mr_register_is_accepted(reg))
		return refuse_while_changed(us, reg, err);
	if (reg->now.state.isr && !(reg->now.state.isr & mr_coord_bit(wanted->to))) {
		mr_error_set(err, -EPERM, "host %s is not in sync; in sync: %s", to,
			     list_nodes(us, reg->now.state.isr, hosts, sizeof(hosts)));
		mr_error_hint(err,
			      "wait until it is, or name one of them; where none of them can lead "
			      "again, stop them, and say it at host %s with --accept-loss "
			      "--old-leader-is-stopped",
			      to);
		return -EPERM;
	}
	if (wanted->to != us->options.self && !us->peers[wanted->to].connected) {
		mr_error_set(err, -EHOSTUNREACH, "host %s cannot be reached by the leader", to);
		mr_error_hint(err, "look with: millrace peers");
		return -EHOSTUNREACH;
	}
	if (!reg->now.state.isr)
		return choose(us, reg, wanted, write, err);
	missing = reg->now.state.isr & mr_coord_others(us, reg) & ~connected(us);
	if (missing) {
		mr_error_set(err, -EHOSTUNREACH,
			     "host %s is in sync and cannot be reached by the leader",
			     list_nodes(us, missing, hosts, sizeof(hosts)));
		mr_error_hint(err, "a new leader begins when all in sync know of it: wait until it "
				   "is there again, or out of sync");
		return -EHOSTUNREACH;
	}
	return write_promotion(us, reg, wanted, false, write, err);
}

/* ---- asked by a person here ------------------------------------------------------------------ */

void mr_register_promote_done(struct mr_register *reg, int status, const struct mr_error *err)
{
	struct mr_coord_promoting *promoting = reg->promoting;

	if (!promoting)
		return;
	reg->promoting = NULL; /* 'done' may promote again */
	promoting->wanted.done(promoting->wanted.arg, status, err);
	free(promoting);
}

static int take_over(struct mr_coord_static *us, struct mr_register *reg,
		     const struct mr_coord_promotion *wanted, struct mr_coord_write *write,
		     struct mr_error *err)
{
	char room[16];
	int r;

	if (wanted->to != us->options.self) {
		mr_error_set(err, -EHOSTUNREACH, "the leader, host %s, cannot be reached",
			     name_of(us, reg->now.owner, room));
		mr_error_hint(err, "to take over from it ask at host %s itself",
			      name_of(us, (int32_t)wanted->to, room));
		return -EHOSTUNREACH;
	}
	if (!wanted->accept_loss)
		return refuse_takeover(us, reg, wanted, err);
	if (reg->write.version)
		return mr_error_set(err, -EAGAIN, "the register is being changed: say it again");
	r = write_promotion(us, reg, wanted, true, write, err);
	if (r == 0)
		mr_register_release(us, reg);
	return r;
}

/* What the owner will say. */
static int ask_owner(struct mr_coord_static *us, struct mr_register *reg,
		     const struct mr_coord_promotion *wanted, struct mr_error *err)
{
	char room[16];

	if (!(reg->replicas & mr_coord_bit(wanted->to)))
		return mr_error_set(err, -EINVAL, "host %s keeps no copy",
				    name_of(us, (int32_t)wanted->to, room));
	reg->promoting->asked = (uint32_t)reg->now.owner;
	mr_coord_say_promote(us, reg, reg->promoting->asked);
	return 0;
}

static int begin(struct mr_coord_static *us, struct mr_register *reg, struct mr_error *err)
{
	const struct mr_coord_promotion *wanted = &reg->promoting->wanted;
	struct mr_coord_write write = {.node = us->options.self};
	uint32_t owner = (uint32_t)reg->now.owner;
	char room[16];
	int r;

	if (mr_register_is_ours(us, reg))
		r = hand_over(us, reg, wanted, &write, err);
	else if (owner != us->options.self && us->peers[owner].connected)
		return ask_owner(us, reg, wanted, err);
	else if (!(reg->replicas & mr_coord_bit(wanted->to)))
		r = mr_error_set(err, -EINVAL, "host %s keeps no copy",
				 name_of(us, (int32_t)wanted->to, room));
	else
		r = take_over(us, reg, wanted, &write, err);
	reg->promoting->version = write.version;
	return r;
}

int mr_coord_static_promote(struct mr_coord *coord, const struct mr_coord_promotion *promotion,
			    struct mr_error *err)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	struct mr_register *reg = mr_registers_find(us, &promotion->key);
	int r;

	mr_assert(promotion->to < MR_NODES_MAX);
	if (!reg)
		return mr_error_set(err, -ENOENT, "no register of partition %d is known",
				    promotion->key.partition);
	if (reg->promoting)
		return mr_error_set(err, -EBUSY, "it is being promoted already");
	reg->promoting = calloc(1, sizeof(*reg->promoting));
	if (!reg->promoting)
		return mr_error_set(err, -ENOMEM, "no memory for a promotion");
	*reg->promoting = (struct mr_coord_promoting){
		.wanted = *promotion,
		.id = ++us->last_id,
		.since_ns = mr_coord_now_ns(us),
	};
	r = begin(us, reg, err);
	if (r < 0) {
		free(reg->promoting);
		reg->promoting = NULL;
	}
	mr_coord_static_save(us);
	mr_coord_flush(us);
	return r;
}

/* The answer was lost, or is late; the register says it, and is durable here. */
static bool seen_done(struct mr_register *reg)
{
	if (reg->durable.state.leader != (int32_t)reg->promoting->wanted.to)
		return false;
	mr_register_promote_done(reg, 0, NULL);
	return true;
}

void mr_register_promote_time(struct mr_coord_static *us, struct mr_register *reg)
{
	struct mr_error err = {0};

	if (!reg->promoting || mr_coord_now_ns(us) - reg->promoting->since_ns < MR_COORD_PERSON_NS)
		return;
	if (!reg->promoting->version && seen_done(reg))
		return;
	mr_error_set(&err, -EINPROGRESS, "no answer came%s yet: it may be carried out still",
		     reg->promoting->version ? " from the disk" : " from the leader");
	mr_error_hint(&err, "look with: millrace peers; then say it again");
	mr_register_promote_done(reg, -EINPROGRESS, &err);
}

/*
 * Who was asked for 'to' may have written it or not, and only what is durable here is known. A
 * person who says it again is told which: that it leads already, or anew.
 */
void mr_register_promote_lost(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	const struct mr_coord_promoting *promoting = reg->promoting;
	struct mr_error err = {0};
	char room[16];

	if (!promoting || promoting->version || promoting->asked != node)
		return;
	if (seen_done(reg))
		return;
	mr_error_set(&err, -ECONNRESET,
		     "the connection with the leader, host %s, broke before it answered: it may "
		     "have been carried out",
		     name_of(us, (int32_t)node, room));
	mr_error_hint(&err, "say it again when millrace peers shows that host as connected");
	mr_register_promote_done(reg, -ECONNRESET, &err);
}

/* ---- asked by a person elsewhere ------------------------------------------------------------- */

void mr_register_promote_for(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			     uint64_t id, uint32_t to, int64_t wall_ms)
{
	struct mr_coord_promotion wanted = {.key = reg->key, .to = to, .wall_ms = wall_ms};
	struct mr_coord_write write = {.node = node, .id = id};
	struct mr_error err = {0};
	char hosts[200], room[16];
	const char *name = name_of(us, (int32_t)us->options.self, room);
	int r;

	if (mr_register_is_ours(us, reg))
		r = hand_over(us, reg, &wanted, &write, &err);
	else if (reg->now.owner == (int32_t)us->options.self)
		r = mr_error_set(&err, -EAGAIN,
				 "host %s led before its start, and has yet to hear of %s", name,
				 list_nodes(us, mr_coord_others(us, reg) & ~reg->heard, hosts,
					    sizeof(hosts)));
	else
		r = mr_error_set(&err, -ESTALE, "host %s does not lead any more", name);
	if (r < 0)
		mr_coord_say_promoted(us, reg, node, id, &err);
}

const struct mr_coord_promoted *mr_coord_static_promoted(const struct mr_coord *coord,
							 uint32_t *count)
{
	const struct mr_coord_static *us = mr_coord_static_of(coord);

	*count = us->promoted_count;
	return us->promoted;
}
