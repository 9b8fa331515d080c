/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers and the promotions as bytes that are kept (coord_static.h). Pure. Layout,
 * little-endian, no padding:
 *
 *	head		magic u32, version u32, registers u32, promotions u32
 *	registers	64 bytes each: topic id 16, partition i32, leader i32, owner i16, flags u16
 *			(1: blank), leader epoch i32, version u64, incarnation u64, isr u64,
 *			replicas u64
 *	promotions	64 bytes each: topic id 16, partition i32, from i32, to i32, taken over u32,
 *			version u64, isr u64, wall clock ms i64, min_insync_replicas u32, 0 u32
 *	checksum	CRC-32C of all before it, u32
 *
 * Any bytes may come: what does not check out is refused as a whole.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "coord_registers.h"
#include "crc32c.h"

#define FILE_MAGIC     0x6f63726du /* "mrco" */
#define FILE_VERSION   1u
#define HEAD_BYTES     16u
#define ROW_BYTES      64u
#define CRC_BYTES      4u
#define FLAG_BLANK     0x10000u
#define PROMOTIONS_MAX 1000000u

/* ---- numbers --------------------------------------------------------------------------------- */

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint32_t get_u32(const uint8_t **at)
{
	uint32_t value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return le32toh(value);
}

static uint64_t get_u64(const uint8_t **at)
{
	uint64_t value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return le64toh(value);
}

static uint8_t *put_key(uint8_t *at, const struct mr_coord_key *key)
{
	memcpy(at, key->topic_id, 16);
	return put_u32(at + 16, (uint32_t)key->partition);
}

static void get_key(const uint8_t **at, struct mr_coord_key *key)
{
	memcpy(key->topic_id, *at, 16);
	*at += 16;
	key->partition = (int32_t)get_u32(at);
}

/* ---- to bytes -------------------------------------------------------------------------------- */

static uint8_t *put_register(uint8_t *at, const struct mr_register *reg)
{
	at = put_key(at, &reg->key);
	at = put_u32(at, (uint32_t)reg->now.state.leader);
	at = put_u32(at, (uint32_t)reg->now.owner | (reg->blank ? FLAG_BLANK : 0));
	at = put_u32(at, (uint32_t)reg->now.state.leader_epoch);
	at = put_u64(at, reg->now.state.version);
	at = put_u64(at, reg->now.state.leader_incarnation);
	at = put_u64(at, reg->now.state.isr);
	return put_u64(at, reg->replicas);
}

static uint8_t *put_promotion(uint8_t *at, const struct mr_coord_promoted *promoted)
{
	at = put_key(at, &promoted->key);
	at = put_u32(at, (uint32_t)promoted->from);
	at = put_u32(at, (uint32_t)promoted->to);
	at = put_u32(at, promoted->taken_over);
	at = put_u64(at, promoted->version);
	at = put_u64(at, promoted->isr);
	at = put_u64(at, (uint64_t)promoted->wall_ms);
	at = put_u32(at, promoted->min_insync_replicas);
	return put_u32(at, 0);
}

uint8_t *mr_coord_static_encode(const struct mr_coord_static *us, size_t *count)
{
	uint32_t registers = us->count - us->strangers;
	size_t bytes =
		HEAD_BYTES + CRC_BYTES + ROW_BYTES * ((size_t)registers + us->promoted_count);
	const struct mr_register *reg;
	uint8_t *made = malloc(bytes), *at = made;

	if (!made)
		return NULL;
	at = put_u32(at, FILE_MAGIC);
	at = put_u32(at, FILE_VERSION);
	at = put_u32(at, registers);
	at = put_u32(at, us->promoted_count);
	TAILQ_FOREACH(reg, &us->registers, all)
	{
		if (reg->created)
			at = put_register(at, reg);
	}
	for (uint32_t i = 0; i < us->promoted_count; i++)
		at = put_promotion(at, &us->promoted[i]);
	mr_assert(at == made + bytes - CRC_BYTES);
	put_u32(at, mr_crc32c(0, made, bytes - CRC_BYTES));
	*count = bytes;
	return made;
}

/* ---- and back -------------------------------------------------------------------------------- */

static bool is_node(int32_t node)
{
	return node >= MR_NODE_NONE && node < MR_NODES_MAX;
}

bool mr_register_is_possible(const struct mr_coord_key *key, uint64_t replicas,
			     const struct mr_coord_value *value)
{
	const struct mr_coord_state *state = &value->state;

	return key->partition >= 0 && replicas && state->version >= 1 &&
	       state->version <= MR_COORD_VERSION_MAX && is_node(state->leader) &&
	       is_node(value->owner) && value->owner != MR_NODE_NONE &&
	       (state->leader == MR_NODE_NONE || state->leader == value->owner) &&
	       (replicas & mr_coord_bit((uint32_t)value->owner)) && !(state->isr & ~replicas) &&
	       state->leader_epoch >= 0;
}

static int get_register(struct mr_coord_static *us, const uint8_t **at, struct mr_error *err)
{
	struct mr_coord_value value = {.owner = MR_NODE_NONE};
	struct mr_register *reg;
	struct mr_coord_key key;
	uint64_t replicas;
	uint32_t owner;

	get_key(at, &key);
	value.state.leader = (int32_t)get_u32(at);
	owner = get_u32(at);
	value.owner = (int32_t)(owner & ~FLAG_BLANK); /* others make it no node */
	value.state.leader_epoch = (int32_t)get_u32(at);
	value.state.version = get_u64(at);
	value.state.leader_incarnation = get_u64(at);
	value.state.isr = get_u64(at);
	replicas = get_u64(at);
	if (!mr_register_is_possible(&key, replicas, &value))
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has a register that cannot be, of "
				    "partition %d",
				    key.partition);
	if (mr_registers_find(us, &key))
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has the register of partition %d twice",
				    key.partition);
	reg = mr_registers_add(us, &key, replicas);
	if (!reg)
		return mr_error_set(err, -ENOMEM, "no room for one more register");
	reg->created = true;
	reg->blank = owner & FLAG_BLANK;
	reg->now = reg->saving = reg->durable = value;
	return 0;
}

static int get_promotion(struct mr_coord_promoted *promoted, const uint8_t **at,
			 struct mr_error *err)
{
	uint32_t taken_over;

	get_key(at, &promoted->key);
	promoted->from = (int32_t)get_u32(at);
	promoted->to = (int32_t)get_u32(at);
	taken_over = get_u32(at);
	promoted->taken_over = taken_over == 1;
	promoted->version = get_u64(at);
	promoted->isr = get_u64(at);
	promoted->wall_ms = (int64_t)get_u64(at);
	promoted->min_insync_replicas = get_u32(at);
	if (get_u32(at) != 0 || taken_over > 1 || promoted->key.partition < 0 ||
	    !is_node(promoted->from) || !is_node(promoted->to) || promoted->to == MR_NODE_NONE)
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has a promotion that cannot be");
	return 0;
}

/* The lengths are those of the head. */
static int get_rows(struct mr_coord_static *us, const uint8_t *at, uint32_t registers,
		    uint32_t promotions, struct mr_error *err)
{
	int r = 0;

	us->promoted = calloc((size_t)promotions + 1, sizeof(*us->promoted));
	if (!us->promoted)
		return mr_error_set(err, -ENOMEM, "no memory for %u promotions", promotions);
	for (uint32_t i = 0; r == 0 && i < registers; i++)
		r = get_register(us, &at, err);
	for (uint32_t i = 0; r == 0 && i < promotions; i++)
		r = get_promotion(&us->promoted[i], &at, err);
	us->promoted_room = promotions + 1;
	if (r == 0)
		us->promoted_count = promotions;
	return r;
}

int mr_coord_static_decode(struct mr_coord_static *us, const uint8_t *bytes, size_t count,
			   struct mr_error *err)
{
	uint32_t magic, version, registers, promotions, crc;
	const uint8_t *at = bytes, *end;

	if (count < HEAD_BYTES + CRC_BYTES)
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has %zu bytes, expected at least %u",
				    count, HEAD_BYTES + CRC_BYTES);
	magic = get_u32(&at);
	version = get_u32(&at);
	if (magic != FILE_MAGIC)
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file begins with %08x, expected %08x", magic,
				    FILE_MAGIC);
	if (version != FILE_VERSION)
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file is of version %u, expected %u", version,
				    FILE_VERSION);
	end = bytes + count - CRC_BYTES;
	crc = get_u32(&end);
	if (crc != mr_crc32c(0, bytes, count - CRC_BYTES))
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has crc %08x, computed %08x", crc,
				    mr_crc32c(0, bytes, count - CRC_BYTES));
	registers = get_u32(&at);
	promotions = get_u32(&at);
	if (registers > MR_COORD_REGISTERS_MAX || promotions > PROMOTIONS_MAX ||
	    count != HEAD_BYTES + CRC_BYTES + ROW_BYTES * ((size_t)registers + promotions))
		return mr_error_set(err, -EBADMSG,
				    "the coordinator's file has %zu bytes, with %u registers and "
				    "%u promotions",
				    count, registers, promotions);
	return get_rows(us, at, registers, promotions, err);
}
