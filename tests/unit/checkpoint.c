/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the checkpoint: it comes back whole, a torn slot costs one generation and no
 * more, damage is told from absence, and no bytes lead outside.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checkpoint.h"
#include "crc32c.h"
#include "io_fake.h"

static struct mr_error err;

static void fill_producer(struct mr_producer_entry *entry, int64_t id)
{
	*entry = (struct mr_producer_entry){.producer_id = id,
					    .last_offset = 1000 + (uint64_t)id,
					    .last_append_ms = 5,
					    .last_sequence = INT32_MAX,
					    .epoch = 3,
					    .recent_count = 2,
					    .recent_next = 2};
	entry->recent[0].first_sequence = 7;
	entry->recent[0].count = 2;
	entry->recent[0].base_offset = 900;
	entry->recent[1].first_sequence = INT32_MAX;
	entry->recent[1].count = 1;
	entry->recent[1].base_offset = 1000 + (uint64_t)id;
}

/* Three partitions with 0, 1 and 2 producers, two commits. */
static void make(struct mr_checkpoint *checkpoint)
{
	memset(checkpoint, 0, sizeof(*checkpoint));
	checkpoint->engine_start = 4;
	memset(checkpoint->log_id, 0xab, 16);
	checkpoint->next_producer_id = 12345;
	checkpoint->commits_offset = 99;
	checkpoint->window_bytes = 33 << 20;
	checkpoint->partition_count = 3;
	checkpoint->partitions = calloc(3, sizeof(*checkpoint->partitions));
	for (uint32_t i = 0; i < 3; i++) {
		struct mr_checkpoint_partition *p = &checkpoint->partitions[i];

		memset(p->topic_id, (int)i, 16);
		p->partition = (int32_t)i * 10;
		p->leader_epoch = 6;
		p->log_start = 50;
		p->offset = 60 + i;
		p->position = 8192 * (i + 1);
		p->group_number = 17;
		p->previous_crc = 0xfeedbeef;
		p->clean = i == 1;
		p->producer_count = i;
		p->producers = calloc(i + 1, sizeof(*p->producers));
		for (uint32_t k = 0; k < i; k++)
			fill_producer(&p->producers[k], 100 + k);
		p->epoch_count = 2 * i;
		p->epochs = calloc(2 * i + 1, sizeof(*p->epochs));
		for (uint32_t k = 0; k < 2 * i; k++)
			p->epochs[k] = (struct mr_epoch){(int32_t)(64 * k + i), 10 + 13 * k};
	}
	checkpoint->commit_count = 2;
	checkpoint->commits = calloc(2, sizeof(*checkpoint->commits));
	for (uint32_t i = 0; i < 2; i++) {
		checkpoint->commits[i].group = strdup(i ? "" : "readers of the mill");
		checkpoint->commits[i].partition = (int32_t)i;
		checkpoint->commits[i].offset = 40 + i;
		checkpoint->commits[i].committed_ms = INT64_C(1795305600123) + i;
		checkpoint->commits[i].node = 63 * i;
	}
}

static void assert_same_partition(const struct mr_checkpoint_partition *p,
				  const struct mr_checkpoint_partition *q)
{
	cr_assert_eq(memcmp(p, q, offsetof(struct mr_checkpoint_partition, producers)), 0);
	cr_assert_eq(p->clean, q->clean);
	for (uint32_t k = 0; k < p->producer_count; k++)
		cr_assert_eq(memcmp(&p->producers[k], &q->producers[k], sizeof(p->producers[k])),
			     0);
	for (uint32_t k = 0; k < p->epoch_count; k++) {
		cr_assert_eq(p->epochs[k].leader_epoch, q->epochs[k].leader_epoch);
		cr_assert_eq(p->epochs[k].start_offset, q->epochs[k].start_offset);
	}
}

static void assert_same(const struct mr_checkpoint *a, const struct mr_checkpoint *b)
{
	cr_assert_eq(a->generation, b->generation);
	cr_assert_eq(a->engine_start, b->engine_start);
	cr_assert_eq(memcmp(a->log_id, b->log_id, 16), 0);
	cr_assert_eq(a->next_producer_id, b->next_producer_id);
	cr_assert_eq(a->commits_offset, b->commits_offset);
	cr_assert_eq(a->window_bytes, b->window_bytes);
	cr_assert_eq(a->partition_count, b->partition_count);
	for (uint32_t i = 0; i < a->partition_count; i++)
		assert_same_partition(&a->partitions[i], &b->partitions[i]);
	cr_assert_eq(a->commit_count, b->commit_count);
	for (uint32_t i = 0; i < a->commit_count; i++) {
		cr_assert_str_eq(a->commits[i].group, b->commits[i].group);
		cr_assert_eq(a->commits[i].offset, b->commits[i].offset);
		cr_assert_eq(a->commits[i].partition, b->commits[i].partition);
		cr_assert_eq(a->commits[i].committed_ms, b->commits[i].committed_ms);
		cr_assert_eq(a->commits[i].node, b->commits[i].node);
	}
}

Test(checkpoint, comes_back_as_it_was)
{
	struct mr_checkpoint a;
	struct mr_checkpoint b;
	uint8_t *bytes;
	size_t count;

	make(&a);
	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), 0, "%s", err.what);
	assert_same(&a, &b);
	free(bytes);
	mr_checkpoint_deinit(&a);
	mr_checkpoint_deinit(&b);
	mr_checkpoint_deinit(&b); /* an empty one too */
}

Test(checkpoint, an_empty_one_is_one)
{
	struct mr_checkpoint a = {0};
	struct mr_checkpoint b;
	uint8_t *bytes;
	size_t count;

	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), 0, "%s", err.what);
	cr_assert_eq(b.partition_count, 0);
	cr_assert_null(mr_checkpoint_find(&b, b.log_id, 0));
	free(bytes);
	mr_checkpoint_deinit(&b);
}

Test(checkpoint, finds_a_partition_by_topic_and_number)
{
	struct mr_checkpoint a;
	uint8_t topic_id[16];

	make(&a);
	memset(topic_id, 1, 16);
	cr_assert_eq(mr_checkpoint_find(&a, topic_id, 10), &a.partitions[1]);
	cr_assert_null(mr_checkpoint_find(&a, topic_id, 0));
	memset(topic_id, 9, 16);
	cr_assert_null(mr_checkpoint_find(&a, topic_id, 10));
	mr_checkpoint_deinit(&a);
}

/* What version 1 wrote, no epochs, and version 2: neither knew when and where groups committed. */
static uint8_t *encode_version(uint32_t version, const struct mr_checkpoint *checkpoint,
			       size_t *count)
{
	const size_t head = version == 1 ? 72 : 80;
	uint8_t *bytes, *from, *to;
	uint64_t whole;
	uint32_t crc;

	cr_assert_eq(mr_checkpoint_encode(checkpoint, &bytes, count), 0);
	memcpy(bytes + 4, &version, sizeof(version));
	from = to = bytes + 80;
	for (uint32_t i = 0; i < checkpoint->partition_count; i++) {
		const struct mr_checkpoint_partition *p = &checkpoint->partitions[i];

		size_t tables = 112 * p->producer_count + (version == 1 ? 0 : 12 * p->epoch_count);

		memmove(to, from, head);
		memmove(to + head, from + 80, tables);
		from += 80 + 112 * p->producer_count + 12 * p->epoch_count;
		to += head + tables;
	}
	for (uint32_t i = 0; i < checkpoint->commit_count; i++) {
		size_t name = strlen(checkpoint->commits[i].group);

		memmove(to, from, 32);
		memmove(to + 32, from + 44, name);
		from += 44 + name;
		to += 32 + name;
	}
	*count = (size_t)(to - bytes) + 4;
	whole = *count;
	memcpy(bytes + 8, &whole, sizeof(whole));
	crc = mr_crc32c(0, bytes, *count - 4);
	memcpy(bytes + *count - 4, &crc, sizeof(crc));
	return bytes;
}

static void read_version(uint32_t version)
{
	struct mr_checkpoint a, b;
	uint8_t *bytes;
	size_t count;

	make(&a);
	bytes = encode_version(version, &a, &count);
	cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), 0, "%s", err.what);
	for (uint32_t i = 0; i < 3 && version == 1; i++)
		a.partitions[i].epoch_count = 0;
	for (uint32_t i = 0; i < 2; i++)
		a.commits[i].committed_ms = a.commits[i].node = 0;
	assert_same(&a, &b);
	free(bytes);
	mr_checkpoint_deinit(&a);
	mr_checkpoint_deinit(&b);
}

Test(checkpoint, those_of_older_versions_are_read)
{
	read_version(1);
	read_version(2);
}

Test(checkpoint, one_of_a_later_version_is_refused)
{
	struct mr_checkpoint a, b;
	uint8_t *bytes;
	size_t count;
	uint32_t crc;

	make(&a);
	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	for (uint32_t version = 0; version < 5; version++) {
		memcpy(bytes + 4, &version, sizeof(version));
		crc = mr_crc32c(0, bytes, count - 4);
		memcpy(bytes + count - 4, &crc, sizeof(crc));
		if (version >= 1 && version <= MR_CHECKPOINT_VERSION)
			continue;
		cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), -EBADMSG);
		cr_assert(strstr(err.what, "expected 1 to 3"), "%s", err.what);
	}
	free(bytes);
	mr_checkpoint_deinit(&a);
}

static void refuse_epochs(int32_t first, uint64_t first_offset, int32_t second,
			  uint64_t second_offset)
{
	struct mr_checkpoint a, b;
	uint8_t *bytes;
	size_t count;

	make(&a);
	a.partitions[1].epochs[0] = (struct mr_epoch){first, first_offset};
	a.partitions[1].epochs[1] = (struct mr_epoch){second, second_offset};
	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), -EBADMSG);
	free(bytes);
	mr_checkpoint_deinit(&a);
}

/* They would be noted as they are, and a table that does not rise says nothing that is true. */
Test(checkpoint, epochs_rise_and_begin_below_the_offset)
{
	refuse_epochs(5, 10, 5, 20);
	refuse_epochs(5, 10, 4, 20);
	refuse_epochs(5, 10, 6, 10);
	refuse_epochs(5, 10, 6, 9);
	refuse_epochs(5, 10, 6, 61);
	refuse_epochs(-1, 10, 6, 20);
}

/* ---- a replica's state -------------------------------------------------------------------- */

Test(checkpoint, a_state_comes_back_and_every_flipped_bit_is_seen)
{
	struct mr_checkpoint a;
	struct mr_checkpoint_partition back;
	uint8_t *bytes;
	size_t count;

	make(&a);
	cr_assert_eq(mr_checkpoint_encode_state(&a.partitions[2], &bytes, &count), 0);
	cr_assert_eq(mr_checkpoint_decode_state(bytes, count, &back, &err), 0, "%s", err.what);
	assert_same_partition(&a.partitions[2], &back);
	mr_checkpoint_partition_deinit(&back);
	for (size_t bit = 0; bit < count * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(mr_checkpoint_decode_state(bytes, count, &back, &err), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t n = 0; n < count; n++)
		cr_assert_eq(mr_checkpoint_decode_state(bytes, n, &back, &err), -EBADMSG);
	free(bytes);
	mr_checkpoint_deinit(&a);
}

/* Of epochs only what is before its start; recovery looks at the producers. */
Test(checkpoint, a_log_begins_anew_with_what_its_leader_knew)
{
	struct mr_checkpoint a;
	struct mr_checkpoint_partition *p;

	make(&a);
	p = &a.partitions[2]; /* offset 62; epochs begin at 10, 23, 36, 49 */
	mr_checkpoint_begin_anew(p, 49);
	cr_assert_eq(p->offset, 49);
	cr_assert_eq(p->log_start, 49);
	cr_assert_eq(p->position, 0);
	cr_assert_eq(p->group_number, 1);
	cr_assert_eq(p->previous_crc, 0);
	cr_assert_eq(p->producer_count, 2);
	cr_assert_eq(p->epoch_count, 3);
	mr_checkpoint_deinit(&a);
}

Test(checkpoint, entries_come_and_go)
{
	struct mr_checkpoint a;
	struct mr_checkpoint_partition copy;
	uint8_t topic_id[16];

	make(&a);
	memset(topic_id, 0, 16);
	cr_assert_eq(mr_checkpoint_copy_partition(&a.partitions[2], &copy), 0);
	assert_same_partition(&a.partitions[2], &copy);
	mr_checkpoint_forget(&a, topic_id, 0);
	mr_checkpoint_forget(&a, topic_id, 0);
	cr_assert_eq(a.partition_count, 2);
	cr_assert_null(mr_checkpoint_find(&a, topic_id, 0));
	copy.offset = 1000;
	cr_assert_eq(mr_checkpoint_put(&a, &copy), 0);
	cr_assert_eq(a.partition_count, 2, "it takes the other's place");
	memset(topic_id, 2, 16);
	cr_assert_eq(mr_checkpoint_find(&a, topic_id, 20)->offset, 1000);
	cr_assert_null(copy.producers);
	mr_checkpoint_deinit(&a);
}

Test(checkpoint, refuses_every_flipped_bit_and_every_shorter_one)
{
	struct mr_checkpoint a;
	struct mr_checkpoint b;
	uint8_t *bytes;
	size_t count;

	make(&a);
	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	for (size_t bit = 0; bit < count * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(mr_checkpoint_decode(bytes, count, &b, &err), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t n = 0; n < count; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, bytes, n);
		cr_assert_eq(mr_checkpoint_decode(copy, n, &b, &err), -EBADMSG);
		free(copy);
	}
	free(bytes);
	mr_checkpoint_deinit(&a);
}

/* Under a checksum that is right, counts and lengths may still lie. */
Test(checkpoint, refuses_what_leads_outside_under_a_right_checksum)
{
	struct mr_checkpoint a;
	uint8_t *bytes;
	size_t count;
	uint64_t state = 1;

	make(&a);
	cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
	for (int i = 0; i < 20000; i++) {
		uint8_t *copy = malloc(count);
		struct mr_checkpoint b;
		uint32_t crc;
		uint64_t at = 16 + mr_io_fake_random(&state) % (count - 20);

		memcpy(copy, bytes, count);
		copy[at] = i % 2 ? 0xff : (uint8_t)mr_io_fake_random(&state);
		crc = mr_crc32c(0, copy, count - 4);
		memcpy(copy + count - 4, &crc, 4);
		if (mr_checkpoint_decode(copy, count, &b, &err) == 0)
			mr_checkpoint_deinit(&b);
		free(copy);
	}
	free(bytes);
	mr_checkpoint_deinit(&a);
}

Test(checkpoint, is_written_in_turn)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_checkpoint a;
	struct mr_checkpoint b;

	make(&a);
	cr_assert_eq(mr_checkpoint_load(io, &b, &err), -ENOENT);
	for (uint64_t i = 1; i <= 5; i++) {
		a.engine_start = i * 10;
		cr_assert_eq(mr_checkpoint_save(io, &a, &err), 0, "%s", err.what);
		cr_assert_eq(a.generation, i);
		cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0, "%s", err.what);
		assert_same(&a, &b);
		mr_checkpoint_deinit(&b);
	}
	mr_checkpoint_deinit(&a);
	mr_io_close(io);
}

Test(checkpoint, shrinks_and_grows)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_checkpoint big;
	struct mr_checkpoint small = {0};
	struct mr_checkpoint b;

	make(&big);
	cr_assert_eq(mr_checkpoint_save(io, &big, &err), 0);
	cr_assert_eq(mr_checkpoint_save(io, &big, &err), 0);
	small.generation = big.generation;
	cr_assert_eq(mr_checkpoint_save(io, &small, &err), 0);
	cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0, "%s", err.what);
	cr_assert_eq(b.partition_count, 0);
	mr_checkpoint_deinit(&b);
	mr_checkpoint_deinit(&big);
	mr_io_close(io);
}

/* A power cut anywhere in a save leaves the one before or the new one. */
Test(checkpoint, a_torn_slot_costs_one_generation)
{
	uint32_t old_kept = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);
		struct mr_checkpoint a;
		struct mr_checkpoint b;
		struct mr_io_file *file;
		uint8_t *bytes;
		_Alignas(4096) uint8_t block[4096] = {0};
		size_t count;

		make(&a);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(mr_checkpoint_save(io, &a, &err), 0);
		/* the write of generation 4 without its sync */
		a.generation++;
		cr_assert_eq(mr_checkpoint_encode(&a, &bytes, &count), 0);
		cr_assert_leq(count, sizeof(block));
		memcpy(block, bytes, count);
		free(bytes);
		cr_assert_eq(mr_io_open(io, "checkpoint.0", MR_IO_WRITE, &file, &err), 0);
		cr_assert_eq(mr_io_write(file, block, sizeof(block), 0, &err), 0);
		mr_io_fake_crash(io, seed);
		mr_io_file_close(file);
		cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0, "seed %zu: %s", (size_t)seed,
			     err.what);
		cr_assert(b.generation == 3 || b.generation == 4);
		old_kept += b.generation == 3;
		cr_assert_eq(mr_checkpoint_save(io, &b, &err), 0);
		mr_checkpoint_deinit(&b);
		cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0);
		mr_checkpoint_deinit(&b);
		mr_checkpoint_deinit(&a);
		mr_io_close(io);
	}
	cr_assert_gt(old_kept, 10);
}

/* Right after the first start: no crash may leave a slot that looks damaged. */
Test(checkpoint, the_first_ones_are_there_or_not)
{
	uint32_t absent = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);
		struct mr_checkpoint a;
		struct mr_checkpoint b;
		int r;

		make(&a);
		mr_io_fake_set_free(io, (seed % 8) * 4096); /* cut off where space ends */
		r = mr_checkpoint_save(io, &a, &err);
		mr_io_fake_crash(io, seed);
		if (r == 0) {
			cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0, "%s", err.what);
			mr_checkpoint_deinit(&b);
		} else {
			cr_assert_eq(r, -ENOSPC);
			cr_assert_eq(a.generation, 0);
			cr_assert_eq(mr_checkpoint_load(io, &b, &err), -ENOENT, "%s", err.what);
			absent++;
		}
		mr_checkpoint_deinit(&a);
		mr_io_close(io);
	}
	cr_assert_gt(absent, 0);
}

Test(checkpoint, both_bad_is_damage_and_not_absence)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_checkpoint a;
	struct mr_checkpoint b;

	make(&a);
	cr_assert_eq(mr_checkpoint_save(io, &a, &err), 0);
	mr_io_fake_flip_bit(io, "checkpoint.1", 200);
	cr_assert_eq(mr_checkpoint_load(io, &b, &err), -EBADMSG, "the only one there is");
	mr_io_fake_flip_bit(io, "checkpoint.1", 200);
	cr_assert_eq(mr_checkpoint_save(io, &a, &err), 0);
	mr_io_fake_flip_bit(io, "checkpoint.0", 200);
	cr_assert_eq(mr_checkpoint_load(io, &b, &err), 0);
	cr_assert_eq(b.generation, 1);
	mr_checkpoint_deinit(&b);
	mr_io_fake_cut(io, "checkpoint.1", 0);
	cr_assert_eq(mr_checkpoint_load(io, &b, &err), -EBADMSG);
	mr_checkpoint_deinit(&a);
	mr_io_close(io);
}
