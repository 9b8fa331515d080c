/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts say to each other of registers (coord_static.h): a notice is {"coord": [row, ...]}, a
 * row a text of words with one blank between them, numbers in hexadecimal, nodes one higher than
 * they are (0: none). Runs on the control thread.
 *
 *	s KEY VALUE replicas handed_to newest	a register, as it is durable at the sender, which
 *						may be its owner and may write it (newest: 1)
 *	h KEY version epoch leader		confirmed: durable here as well; version 0:
 *						heard, but its topic is not made here yet
 *	p KEY id VALUE guard incarnation	proposed, to the owner
 *	o KEY id done VALUE			what came of that: carried out, or how it is
 *	m KEY id to wall_ms			a person promotes, at another host than the owner's
 *	d KEY id code sentence			what came of that
 *
 *	KEY	topic id, partition
 *	VALUE	version leader owner incarnation epoch isr
 *
 * What comes is checked before anything of it counts; a row out of order ends the notice.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "coord_registers.h"

#define ROWS_A_NOTICE  2000u /* with at most 400 bytes each: well below a notice's bound */
#define ROW_BYTES_MAX  400u
#define SENTENCE_BYTES 160u
#define NOTICE_BYTES   (1u << 20)

/* ---- saying ---------------------------------------------------------------------------------- */

static void flush_node(struct mr_coord_static *us, uint32_t node)
{
	struct mr_coord_peer *peer = &us->peers[node];
	json_t *notice;
	char *text = NULL;

	if (!peer->rows)
		return;
	notice = json_pack("{s:o}", "coord", peer->rows);
	peer->rows = NULL;
	if (notice)
		text = json_dumps(notice, JSON_COMPACT);
	if (text) /* else it is as if it was lost */
		us->options.notify(us->options.arg, node, text, strlen(text));
	free(text);
	json_decref(notice);
}

void mr_coord_flush(struct mr_coord_static *us)
{
	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		flush_node(us, node);
}

__attribute__((format(printf, 4, 5))) static void say(struct mr_coord_static *us, uint32_t node,
						      const struct mr_register *reg,
						      const char *format, ...)
{
	struct mr_coord_peer *peer = &us->peers[node];
	char row[ROW_BYTES_MAX];
	va_list arguments;
	size_t used = 2;

	if (!peer->connected)
		return;
	if (!peer->rows)
		peer->rows = json_array();
	row[0] = format[0]; /* what it is, then whose, then the rest */
	row[1] = ' ';
	for (int i = 0; i < 16; i++)
		used += (size_t)snprintf(row + used, sizeof(row) - used, "%02x",
					 reg->key.topic_id[i]);
	used += (size_t)snprintf(row + used, sizeof(row) - used, " %x", reg->key.partition);
	va_start(arguments, format);
	vsnprintf(row + used, sizeof(row) - used, format + 1, arguments);
	va_end(arguments);
	(void)json_array_append_new(peer->rows, json_string(row)); /* or it was lost */
	if (json_array_size(peer->rows) >= ROWS_A_NOTICE)
		flush_node(us, node);
}

#define VALUE_FORMAT " %" PRIx64 " %x %x %" PRIx64 " %x %" PRIx64
#define VALUE_ARGUMENTS(state, owner)                                                              \
	(state)->version, (state)->leader + 1, (owner) + 1, (state)->leader_incarnation,           \
		(state)->leader_epoch, (state)->isr

void mr_coord_say_state(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	if (!reg->created) /* else it would count as kept on this disk */
		return;
	say(us, node, reg, "s" VALUE_FORMAT " %" PRIx64 " %" PRIx64 " %x",
	    VALUE_ARGUMENTS(&reg->durable.state, reg->durable.owner), reg->replicas, reg->handed_to,
	    mr_register_is_ours(us, reg));
}

void mr_coord_say_confirm(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	if (reg->created)
		say(us, node, reg, "h %" PRIx64 " %x %x", reg->durable.state.version,
		    reg->durable.state.leader_epoch, reg->durable.state.leader + 1);
	else
		say(us, node, reg, "h 0 0 0");
}

void mr_coord_say_proposal(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			   uint64_t id, const struct mr_coord_proposal *proposal)
{
	const struct mr_coord_state *wanted = &proposal->wanted;
	int32_t owner = wanted->leader == MR_NODE_NONE ? reg->now.owner : wanted->leader;

	say(us, node, reg, "p %" PRIx64 VALUE_FORMAT " %x %" PRIx64, id,
	    VALUE_ARGUMENTS(wanted, owner), proposal->guard + 1, proposal->guard_incarnation);
}

void mr_coord_say_outcome(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			  uint64_t id, bool done)
{
	say(us, node, reg, "o %" PRIx64 " %x" VALUE_FORMAT, id, done,
	    VALUE_ARGUMENTS(&reg->durable.state, reg->durable.owner));
}

void mr_coord_say_promote(struct mr_coord_static *us, struct mr_register *reg, uint32_t node)
{
	say(us, node, reg, "m %" PRIx64 " %x %" PRIx64, reg->promoting->id,
	    reg->promoting->wanted.to + 1, (uint64_t)reg->promoting->wanted.wall_ms);
}

void mr_coord_say_promoted(struct mr_coord_static *us, const struct mr_register *reg, uint32_t node,
			   uint64_t id, const struct mr_error *err)
{
	say(us, node, reg, "d %" PRIx64 " %x %.*s", id, err ? (unsigned int)-err->code : 0,
	    (int)SENTENCE_BYTES, err ? err->what : "-");
}

/* ---- words ----------------------------------------------------------------------------------- */

struct words {
	const char *at;
	bool bad;
};

/* The next word as a number of at most 'most'. */
static uint64_t take_number(struct words *words, uint64_t most)
{
	size_t digits = strspn(words->at, "0123456789abcdef");
	uint64_t value;

	if (words->bad || digits < 1 || digits > 16 ||
	    (words->at[digits] != ' ' && words->at[digits] != '\0')) {
		words->bad = true;
		return 0;
	}
	value = strtoull(words->at, NULL, 16);
	words->at += digits;
	if (*words->at && !*++words->at)
		words->bad = true; /* a blank, and nothing behind it */
	words->bad |= value > most;
	return value;
}

static int32_t take_node(struct words *words)
{
	return (int32_t)take_number(words, MR_NODES_MAX) - 1;
}

static void take_key(struct words *words, struct mr_coord_key *key)
{
	unsigned int byte;

	memset(key, 0, sizeof(*key));
	if (strspn(words->at, "0123456789abcdef") != 32 || words->at[32] != ' ') {
		words->bad = true;
		return;
	}
	for (size_t i = 0; i < 16; i++) {
		(void)sscanf(words->at + 2 * i, "%2x", &byte); /* digits they are */
		key->topic_id[i] = (uint8_t)byte;
	}
	words->at += 33;
	key->partition = (int32_t)take_number(words, INT32_MAX);
}

static struct mr_coord_value take_value(struct words *words)
{
	struct mr_coord_value value = {.owner = MR_NODE_NONE};

	value.state.version = take_number(words, MR_COORD_VERSION_MAX);
	value.state.leader = take_node(words);
	value.owner = take_node(words);
	value.state.leader_incarnation = take_number(words, UINT64_MAX);
	value.state.leader_epoch = (int32_t)take_number(words, INT32_MAX);
	value.state.isr = take_number(words, UINT64_MAX);
	return value;
}

/* All words were there, and no more. */
static bool is_whole(const struct words *words)
{
	return !words->bad && *words->at == '\0';
}

/* ---- hearing --------------------------------------------------------------------------------- */

/* A register of a topic that is not made here yet, or never will be, is kept in memory. */
static struct mr_register *stranger(struct mr_coord_static *us, const struct mr_coord_key *key,
				    uint64_t replicas)
{
	struct mr_register *reg;

	if (us->strangers >= MR_COORD_STRANGERS_MAX || !(replicas & mr_coord_bit(us->options.self)))
		return NULL;
	reg = mr_registers_add(us, key, replicas);
	us->strangers += reg != NULL;
	return reg;
}

static bool hear_state(struct mr_coord_static *us, uint32_t node, const struct mr_coord_key *key,
		       struct words *words)
{
	struct mr_register *reg = mr_registers_find(us, key);
	struct mr_coord_value value = take_value(words);
	uint64_t replicas = take_number(words, UINT64_MAX);
	uint64_t handed_to = take_number(words, UINT64_MAX);
	bool newest = take_number(words, 1) == 1;

	if (!is_whole(words) || !mr_register_is_possible(key, replicas, &value) ||
	    !(replicas & mr_coord_bit(node)) || (reg && reg->replicas != replicas))
		return false;
	if (!reg)
		reg = stranger(us, key, replicas);
	if (!reg)
		return true;
	mr_register_merge(us, reg, node, &value, handed_to);
	if (newest && value.owner == (int32_t)node)
		mr_register_owner_has(us, reg, &value);
	return true;
}

static bool hear_confirm(struct mr_coord_static *us, uint32_t node, struct mr_register *reg,
			 struct words *words)
{
	uint64_t version = take_number(words, MR_COORD_VERSION_MAX);
	int32_t epoch = (int32_t)take_number(words, INT32_MAX);
	int32_t leader = take_node(words);

	if (!is_whole(words))
		return false;
	if (reg && version == 0)
		mr_register_heard(us, reg, node);
	if (!reg || version != reg->durable.state.version ||
	    epoch != reg->durable.state.leader_epoch || leader != reg->durable.state.leader)
		return true; /* of what was before */
	mr_register_confirmed(us, reg, node);
	mr_register_heard(us, reg, node);
	return true;
}

static bool hear_proposal(struct mr_coord_static *us, uint32_t node, struct mr_register *reg,
			  struct words *words)
{
	uint64_t id = take_number(words, UINT64_MAX);
	struct mr_coord_value value = take_value(words);
	struct mr_coord_proposal proposal = {.wanted = value.state, .guard = take_node(words)};
	enum mr_coord_event_kind kind;

	proposal.guard_incarnation = take_number(words, UINT64_MAX);
	if (!is_whole(words) || !id || proposal.guard >= MR_NODES_MAX)
		return false;
	if (!reg || !(reg->replicas & mr_coord_bit(node)))
		return true; /* deleted here */
	if (!mr_register_is_possible(&reg->key, reg->replicas, &value))
		return false;
	if (!mr_register_is_ours(us, reg)) {
		if (mr_register_is_durable(reg))
			mr_coord_say_state(us, reg, node); /* ask whom this names */
		return true;
	}
	kind = mr_register_try(us, reg, &proposal, node, id);
	if (kind == MR_COORD_REFUSED)
		mr_coord_say_outcome(us, reg, node, id, false);
	return true; /* UNKNOWN: nothing is said, and that is how it looks there */
}

static bool hear_outcome(struct mr_coord_static *us, uint32_t node, struct mr_register *reg,
			 struct words *words)
{
	uint64_t id = take_number(words, UINT64_MAX);
	bool done = take_number(words, 1) == 1;
	struct mr_coord_value value = take_value(words);

	if (!is_whole(words))
		return false;
	if (!reg || !(reg->replicas & mr_coord_bit(node)))
		return true;
	if (!mr_register_is_possible(&reg->key, reg->replicas, &value))
		return false;
	if (id && reg->asked.id == id && reg->asked.node == node) {
		reg->asked.id = 0;
		reg->asked.version = value.state.version;
		reg->asked.done = done;
	}
	mr_register_merge(us, reg, node, &value, 0);
	mr_register_owner_has(us, reg, &value); /* only who may write carries out, or refuses */
	mr_register_tell_outcome(us, reg);
	return true;
}

static bool hear_promote(struct mr_coord_static *us, uint32_t node, struct mr_register *reg,
			 struct words *words)
{
	uint64_t id = take_number(words, UINT64_MAX);
	int32_t to = take_node(words);
	int64_t wall_ms = (int64_t)take_number(words, INT64_MAX);

	if (!is_whole(words) || !id || to == MR_NODE_NONE)
		return false;
	if (reg)
		mr_register_promote_for(us, reg, node, id, (uint32_t)to, wall_ms);
	return true;
}

static bool hear_promoted(struct mr_coord_static *us, uint32_t node, struct mr_register *reg,
			  struct words *words)
{
	uint64_t id = take_number(words, UINT64_MAX);
	int code = (int)take_number(words, 4095);
	struct mr_error err = {0};

	if (words->bad || strlen(words->at) > SENTENCE_BYTES)
		return false;
	if (!reg || !reg->promoting || reg->promoting->version || reg->promoting->id != id ||
	    reg->now.owner == (int32_t)us->options.self)
		return true;
	if (code)
		mr_error_set(&err, -code, "%s", words->at);
	mr_register_promote_done(reg, -code, code ? &err : NULL);
	return true;
}

static bool hear_row(struct mr_coord_static *us, uint32_t node, const char *row)
{
	struct words words = {.at = row + 2, .bad = !row[0] || row[1] != ' '};
	struct mr_register *reg;
	struct mr_coord_key key;

	if (words.bad || strlen(row) >= ROW_BYTES_MAX)
		return false;
	take_key(&words, &key);
	if (words.bad)
		return false;
	reg = mr_registers_find(us, &key);
	switch (row[0]) {
	case 's':
		return hear_state(us, node, &key, &words);
	case 'h':
		return hear_confirm(us, node, reg, &words);
	case 'p':
		return hear_proposal(us, node, reg, &words);
	case 'o':
		return hear_outcome(us, node, reg, &words);
	case 'm':
		return hear_promote(us, node, reg, &words);
	case 'd':
		return hear_promoted(us, node, reg, &words);
	default:
		return false;
	}
}

int mr_coord_static_heard(struct mr_coord *coord, uint32_t node, const char *text, size_t bytes,
			  struct mr_error *err)
{
	struct mr_coord_static *us = mr_coord_static_of(coord);
	json_t *notice = NULL, *rows;
	json_error_t where;
	size_t i;
	int r = 0;

	mr_assert(node < MR_NODES_MAX);
	if (bytes <= NOTICE_BYTES)
		notice = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
	rows = json_object_get(notice, "coord");
	if (!json_is_array(rows) || json_object_size(notice) != 1)
		r = mr_error_set(err, -EBADMSG,
				 "host number %u said %zu bytes of registers that are no notice",
				 node, bytes);
	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		const char *row = json_string_value(json_array_get(rows, i));

		if (!row || !hear_row(us, node, row))
			r = mr_error_set(err, -EBADMSG,
					 "host number %u said '%.60s%s' of a register, which is "
					 "nonsense",
					 node, row ? row : "no text",
					 row && strlen(row) > 60 ? "..." : "");
	}
	json_decref(notice);
	mr_coord_static_save(us);
	mr_coord_flush(us);
	return r;
}
