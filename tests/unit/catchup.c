/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of reading a log for a peer that lags: byte for byte what the log has, from any
 * offset on, whatever happened to its files meanwhile; damage is told with its place, what is not
 * there yet is not damage, and memory is bounded.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_fault.h"
#include "log_rig.h"
#include "replay.h"
#include "replica/catchup_reader.h"
#include "truncate.h"

#define MANY UINT32_MAX

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *io;
static struct mr_catchup_readers *readers;
static struct mr_catchup_request *request;
static struct mr_error err;

static void begin_readers(struct mr_io *disk)
{
	struct mr_catchup_reader_options how = {.io = disk, .ahead_max = 16u << 20};

	cr_assert_eq(mr_catchup_readers_open(&how, &readers, &err), 0);
	request = mr_catchup_request_new();
	snprintf(request->directory, sizeof(request->directory), "%s", RIG_DIRECTORY);
}

static void end_readers(void)
{
	mr_catchup_readers_close(readers);
	mr_catchup_request_free(request);
}

static void begin_with(uint64_t segment_bytes)
{
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	options.segment_bytes = segment_bytes;
	mr_test_rig_open(&rig, &options, io, NULL);
	begin_readers(io);
}

static void begin(void)
{
	begin_with(mr_test_rig_defaults().segment_bytes);
}

static void end(void)
{
	end_readers();
	mr_test_rig_close(&rig);
	mr_io_close(io);
}

static void cut(uint64_t offset, bool reset)
{
	struct mr_truncation truncation = {
		.offset = offset, .reset = reset, .segment_bytes = options.segment_bytes};

	memcpy(truncation.topic_id, mr_test_topic_id, sizeof(truncation.topic_id));
	memcpy(truncation.log_id, mr_test_log_id, sizeof(truncation.log_id));
	mr_test_rig_close(&rig);
	cr_assert_eq(mr_log_truncate(io, RIG_DIRECTORY, &truncation, &err), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, NULL);
}

/* Groups of one batch and of several, batches of one record and of several. */
static void put_mixed(int count)
{
	for (int i = 0; i < count; i++) {
		mr_test_rig_put(&rig, 1 + i % 4, 40 + 97 * (uint32_t)(i % 11));
		if (i % 3 != 0)
			continue;
		for (int k = 0; k < 4; k++) {
			struct mr_test_batch batch = {
				.producer_id = -1, .records = 1 + k, .value_bytes = 60};

			cr_assert_eq(mr_test_rig_append(&rig, &batch), MR_LOG_ROOM);
		}
		mr_test_rig_settle(&rig);
	}
}

static void put_segments(size_t count)
{
	while (mr_log_files_count(rig.files) < count)
		put_mixed(8);
}

/* ---- what is expected: the log as replay reads it ---- */

struct expected {
	uint8_t *bytes;
	size_t count, capacity;
	uint64_t base;
};

static int expect_batch(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	struct expected *expected = arg;

	if (expected->count == 0)
		expected->base = header->base_offset;
	if (expected->count + header->total_bytes > expected->capacity) {
		expected->capacity = 2 * (expected->capacity + header->total_bytes);
		expected->bytes = realloc(expected->bytes, expected->capacity);
	}
	memcpy(expected->bytes + expected->count, bytes, header->total_bytes);
	expected->count += header->total_bytes;
	return 0;
}

static struct expected expect(uint64_t from)
{
	struct expected expected = {0};
	struct mr_replay_options replay = {.from_offset = from,
					   .end_offset = rig.partition.log_end,
					   .batch = expect_batch,
					   .arg = &expected};

	cr_assert_eq(mr_log_replay(rig.files, &replay, &err), 0, "%s", err.what);
	return expected;
}

static int ask(uint64_t offset, uint32_t bytes_max, uint64_t limit)
{
	request->offset = offset;
	request->bytes_max = bytes_max;
	request->limit_offset = limit;
	return mr_catchup_read(readers, request, 0);
}

/* What came is what 'expected' has there; the request's own numbers fit it. */
static void check_answer(const struct expected *expected, size_t at)
{
	const uint8_t *bytes = request->bytes, *last = bytes + request->byte_count;
	uint64_t next = request->base_offset;
	struct mr_batch_header batch;
	uint32_t batches = 0;

	cr_assert_eq(request->status, 0, "%s", request->err.what);
	cr_assert_gt(request->byte_count, 0u);
	cr_assert_leq(at + request->byte_count, expected->count);
	cr_assert_eq(memcmp(bytes, expected->bytes + at, request->byte_count), 0);
	for (; bytes < last; bytes += batch.total_bytes, batches++) {
		cr_assert_eq(mr_batch_decode_header(bytes, (size_t)(last - bytes), &batch), 0);
		cr_assert_eq(batch.base_offset, next);
		next += (uint64_t)batch.record_count;
	}
	cr_assert_eq(request->end_offset, next);
	cr_assert_eq(request->record_count, next - request->base_offset);
	cr_assert_leq(request->base_offset, request->offset);
	cr_assert_gt(request->end_offset, request->offset);
	if (batches > 1)
		cr_assert_leq(request->byte_count, request->bytes_max);
}

/* Reads on from 'from' to the log's end, by 'bytes_max': all of it, once. */
static void read_all(uint64_t from, uint32_t bytes_max, uint64_t limit)
{
	struct expected expected = expect(from);
	uint64_t offset = from;
	size_t at = 0;

	while (offset < rig.partition.log_end) {
		cr_assert_eq(ask(offset, bytes_max, limit), 0, "at %llu: %s",
			     (unsigned long long)offset, request->err.what);
		check_answer(&expected, at);
		at += request->byte_count;
		offset = request->end_offset;
	}
	cr_assert_eq(at, expected.count);
	cr_assert_eq(ask(offset, bytes_max, limit), -ENODATA);
	cr_assert_eq(request->byte_count, 0);
	free(expected.bytes);
}

static void read_in_all_ways(uint64_t from)
{
	static const uint32_t sizes[] = {0, 1, 300, 5000, 40000, MR_CATCHUP_BYTES, MANY};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		read_all(from, sizes[i], 0);
		read_all(from, sizes[i], rig.partition.log_end);
	}
}

/* ---- reading ---- */

Test(catchup, from_any_offset_the_batch_that_holds_it_comes_first)
{
	begin();
	put_segments(3);
	for (uint64_t offset = 0; offset < rig.partition.log_end; offset++) {
		struct expected expected = expect(offset);

		cr_assert_eq(ask(offset, 700, 0), 0, "%s", request->err.what);
		cr_assert_eq(request->base_offset, expected.base);
		check_answer(&expected, 0);
		free(expected.bytes);
	}
	end();
}

Test(catchup, a_log_of_many_segments_comes_out_byte_for_byte)
{
	begin();
	put_segments(5);
	read_in_all_ways(0);
	read_in_all_ways(7);
	read_in_all_ways(rig.partition.log_end - 1);
	end();
}

/* Segments begin inside the ones before, several deep; one takes the name of another. */
Test(catchup, what_was_cut_off_never_comes)
{
	static const uint64_t cuts[] = {300, 290, 205, 204, 120, 3, 1, 0};

	begin();
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		put_mixed(60);
		cr_assert_gt(rig.partition.log_end, cuts[i]);
		read_all(0, 2000, 0);
		cut(cuts[i], false);
		put_mixed(3);
		read_in_all_ways(0);
	}
	end();
}

/*
 * The reader has its file open and has read ahead when the log is cut behind, at and before it, and
 * goes on otherwise there: from its place on, and from before, only the new records come.
 */
Test(catchup, a_cut_under_the_reader_is_seen)
{
	for (uint64_t keep = 0; keep < 40; keep++) {
		struct expected expected;

		begin();
		put_mixed(30);
		cr_assert_eq(ask(0, 1000, 0), 0);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(ask(request->end_offset, 700, 0), 0);
		cut(keep, false);
		put_mixed(30);
		expected = expect(request->end_offset);
		cr_assert_eq(ask(request->end_offset, MANY, 0), 0, "%s", request->err.what);
		check_answer(&expected, 0);
		cr_assert_eq(request->byte_count, expected.count);
		free(expected.bytes);
		read_all(0, 3000, 0);
		end();
	}
}

Test(catchup, a_log_that_began_anew_is_another_one)
{
	begin();
	put_mixed(20);
	cr_assert_eq(ask(0, 600, 0), 0);
	cut(5, true);
	put_mixed(20);
	cr_assert_eq(ask(request->end_offset, MANY, 0), request->end_offset < 5 ? -ERANGE : 0);
	cr_assert_eq(ask(4, MANY, 0), -ERANGE);
	cr_assert(strstr(request->err.what, "offset 4 is not kept: the oldest is 5"), "%s",
		  request->err.what);
	read_in_all_ways(5);
	end();
}

static void let_go_of_the_oldest(void)
{
	uint64_t log_start;
	struct mr_segment *segment =
		mr_log_files_retain(rig.files, 1, 0, rig.partition.log_end, &log_start);

	cr_assert_not_null(segment);
	cr_assert_eq(mr_segment_remove(segment, &err), 0);
	mr_segment_close(segment);
}

Test(catchup, retention_under_the_reader)
{
	uint32_t buffered;

	begin();
	put_segments(5);
	cr_assert_eq(ask(0, 3000, 0), 0);
	cr_assert_eq(mr_catchup_readers_count(readers, &buffered), 1);
	let_go_of_the_oldest();
	mr_catchup_readers_tidy(readers, 1, UINT64_MAX);
	cr_assert_eq(mr_catchup_readers_count(readers, &buffered), 0, "it has no name any more");
	cr_assert_eq(ask(request->end_offset, 3000, 0), -ERANGE);
	read_in_all_ways(mr_log_files_start_offset(rig.files));
	cr_assert_eq(ask(mr_log_files_start_offset(rig.files), 3000, 0), 0);
	let_go_of_the_oldest();
	cr_assert_eq(ask(request->end_offset, 3000, 0), -ERANGE, "%s", request->err.what);
	cr_assert_eq(request->byte_count, 0);
	end();
}

Test(catchup, what_is_not_there_is_not_kept)
{
	begin();
	snprintf(request->directory, sizeof(request->directory), "topics/0123/7");
	cr_assert_eq(ask(0, MANY, 0), -ERANGE);
	cr_assert(strstr(request->err.what, "topics/0123/7"), "%s", request->err.what);
	end();
}

/* ---- the end ---- */

/* What was read ahead had nothing there; when more is asked for, it has. */
Test(catchup, goes_on_at_the_end_as_the_log_grows)
{
	begin();
	cr_assert_eq(ask(0, MANY, 0), -ENODATA);
	for (int i = 0; i < 60; i++) {
		uint64_t from = rig.partition.log_end;
		struct expected expected;

		mr_test_rig_put(&rig, 1 + i % 5, 1000);
		expected = expect(from);
		cr_assert_eq(ask(from, MANY, 0), 0, "%s", request->err.what);
		check_answer(&expected, 0);
		cr_assert_eq(ask(rig.partition.log_end, MANY, 0), -ENODATA);
		free(expected.bytes);
	}
	end();
}

Test(catchup, nothing_at_or_above_the_limit_comes)
{
	begin();
	put_mixed(40);
	for (uint64_t limit = 1; limit < rig.partition.log_end; limit++) {
		uint64_t offset = 0;

		while (ask(offset, 900, limit) == 0) {
			uint64_t last = request->end_offset;

			cr_assert_gt(last, offset);
			cr_assert_lt(request->base_offset, limit);
			offset = last;
		}
		cr_assert_eq(request->status, -ENODATA);
		cr_assert_geq(offset, limit, "all below it came");
	}
	end();
}

/* A group is on its way to the disk, and only a part of it has arrived. */
Test(catchup, a_torn_end_is_no_damage)
{
	begin();
	put_mixed(5);
	for (int i = 0; i < 4; i++) {
		uint64_t flushed = rig.partition.log_end;
		struct mr_log_state state;
		uint8_t noise[64];
		uint64_t byte;

		memset(noise, 0xa5, sizeof(noise));
		mr_log_state(rig.log, &state);
		byte = state.flushed_position - mr_log_files_at(rig.files, 0)->base_position;
		mr_test_scribble(io, RIG_DIRECTORY "/00000000000000000000.log",
				 byte + (uint64_t)i * 512, noise, sizeof(noise));
		cr_assert_eq(ask(flushed, MANY, 0), -ENODATA, "%s", request->err.what);
		cr_assert_eq(ask(0, MANY, 0), 0);
		cr_assert_eq(request->end_offset, flushed);
		mr_test_rig_put(&rig, 2, 1200);
		read_in_all_ways(0);
	}
	end();
}

/* ---- damage ---- */

static void flip(uint64_t byte)
{
	mr_io_fake_flip_bit(io, RIG_DIRECTORY "/00000000000000000000.log", byte * 8 + 3);
}

Test(catchup, damage_is_told_with_its_place)
{
	begin();
	put_segments(3);
	flip(4096 + 4096 * 5 + 100);
	cr_assert_eq(ask(0, MANY, 0), 0, "what stands before it comes");
	cr_assert_gt(request->end_offset, 0u);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(ask(request->end_offset, MANY, 0), -EBADMSG);
		cr_assert_eq(request->byte_count, 0);
		cr_assert(strstr(request->err.what,
				 "segment '" RIG_DIRECTORY "/00000000000000000000.log', byte "),
			  "%s", request->err.what);
	}
	end();
}

/* Any bit of what is kept: what comes is right, and somewhere it ends with the damage. */
Test(catchup, no_damage_comes_out)
{
	for (uint64_t byte = 0; byte < 3 * 4096; byte += 61) {
		struct expected expected;
		uint64_t offset = 0;
		size_t at = 0;

		begin();
		for (int i = 0; i < 6; i++)
			mr_test_rig_put(&rig, 2, 900);
		expected = expect(0);
		flip(4096 + byte);
		while (ask(offset, 1, rig.partition.log_end) == 0) {
			check_answer(&expected, at);
			at += request->byte_count;
			offset = request->end_offset;
		}
		cr_assert_eq(request->status, -EBADMSG, "byte %llu", (unsigned long long)byte);
		free(expected.bytes);
		end();
	}
}

/* Below what is flushed nothing may be missing, in the newest segment either. */
Test(catchup, a_flushed_group_that_is_gone_is_damage)
{
	static const uint8_t zeros[4096];

	begin();
	mr_test_put_many(&rig, 10);
	mr_test_scribble(io, RIG_DIRECTORY "/00000000000000000000.log", 4096 * 6, zeros,
			 sizeof(zeros));
	cr_assert_eq(ask(0, MANY, 10), 0);
	cr_assert_eq(request->end_offset, 5);
	cr_assert_eq(ask(5, MANY, 10), -EBADMSG);
	cr_assert(strstr(request->err.what, "byte 24576: no group, expected that of offset 5"),
		  "%s", request->err.what);
	cr_assert_eq(ask(5, MANY, 0), -ENODATA, "without a limit it may be on its way");
	cr_assert_eq(ask(7, MANY, 10), -EBADMSG, "nor is it passed on the way");
	end();
}

/* A segment of another history, in the place of one of ours. */
Test(catchup, a_segment_that_does_not_follow_is_damage)
{
	_Alignas(4096) uint8_t block[4096];
	struct mr_segment_header header;
	uint64_t second;
	char name[32], path[128];
	size_t bytes;
	void *copy;

	begin();
	put_segments(4);
	second = mr_log_files_at(rig.files, 1)->base_offset;
	cr_assert_eq(ask(0, 3000, 0), 0);
	mr_segment_file_name(second, name);
	snprintf(path, sizeof(path), "%s/%s", RIG_DIRECTORY, name);
	copy = mr_io_fake_bytes(io, path, &bytes);
	cr_assert_not_null(copy);
	memcpy(block, copy, sizeof(block));
	free(copy);
	cr_assert_eq(mr_segment_decode_header(block, &header, &err), 0);
	header.previous_crc++;
	cr_assert_eq(mr_segment_encode_header(&header, block), 0);
	mr_test_scribble(io, path, 0, block, sizeof(block));
	while (ask(request->end_offset, 3000, 0) == 0)
		;
	cr_assert_eq(request->status, -EBADMSG);
	cr_assert_eq(request->offset, second);
	cr_assert(strstr(request->err.what, "expected group"), "%s", request->err.what);
	end();
}

/* ---- costs ---- */

/* A peer comes back far into a large segment: its index says where, or only headers are read. */
Test(catchup, little_is_read_to_find_a_place)
{
	uint64_t bytes, late;

	begin_with(4u << 20);
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 7, 1000);
	late = mr_log_files_at(rig.files, 1)->base_offset - 30;
	bytes = mr_catchup_readers_bytes(readers);
	cr_assert_eq(ask(late, 8000, 0), 0, "%s", request->err.what);
	bytes = mr_catchup_readers_bytes(readers) - bytes;
	cr_assert_leq(bytes, 1500u << 10, "%llu bytes", (unsigned long long)bytes);
	cr_assert_eq(request->end_offset > late, true);
	end();
}

/* The index is a hint: without it, or with one that does not check out, the same comes. */
Test(catchup, an_index_is_only_a_hint)
{
	struct expected expected;
	uint64_t late;

	begin_with(2u << 20);
	while (mr_log_files_count(rig.files) < 2)
		mr_test_rig_put(&rig, 7, 1000);
	late = mr_log_files_at(rig.files, 1)->base_offset - 100;
	expected = expect(late);
	cr_assert_eq(ask(late, 8000, 0), 0, "%s", request->err.what);
	check_answer(&expected, 0);
	mr_io_fake_flip_bit(io, RIG_DIRECTORY "/00000000000000000000.index", 900);
	cr_assert_eq(ask(late, 8000, 0), 0, "%s", request->err.what);
	check_answer(&expected, 0);
	mr_io_fake_delete(io, RIG_DIRECTORY "/00000000000000000000.index");
	cr_assert_eq(ask(late, 8000, 0), 0, "%s", request->err.what);
	check_answer(&expected, 0);
	free(expected.bytes);
	end();
}

Test(catchup, going_on_reads_nothing_twice)
{
	uint64_t bytes;

	begin_with(4u << 20);
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 7, 1000);
	read_all(0, 10000, 0);
	bytes = mr_catchup_readers_bytes(readers);
	cr_assert_leq(bytes, 3u * (4u << 20) + (8u << 20), "%llu bytes", (unsigned long long)bytes);
	end();
}

Test(catchup, readers_and_buffers_are_bounded)
{
	uint32_t buffered;

	begin();
	put_segments(3);
	for (uint64_t offset = 0; offset < rig.partition.log_end; offset++) {
		cr_assert_eq(ask(offset, 1, 0), 0);
		cr_assert_leq(mr_catchup_readers_count(readers, &buffered), MR_CATCHUP_READERS_MAX);
		cr_assert_leq(buffered, MR_CATCHUP_BUFFERS_MAX);
	}
	cr_assert_eq(mr_catchup_readers_count(readers, &buffered), MR_CATCHUP_READERS_MAX);
	/* those whose buffers were taken go on all the same */
	for (uint64_t offset = 0; offset + 40 < rig.partition.log_end; offset += 9) {
		struct expected expected = expect(offset);

		cr_assert_eq(ask(offset, 1, 0), 0);
		check_answer(&expected, 0);
		free(expected.bytes);
	}
	mr_catchup_readers_tidy(readers, MR_CATCHUP_IDLE_NS, MR_CATCHUP_IDLE_NS);
	cr_assert_eq(mr_catchup_readers_count(readers, &buffered), 0);
	end();
}

/* Several peers at several places in turn, each by small steps: all get all of it. */
Test(catchup, peers_in_turn_do_not_disturb_each_other)
{
	uint64_t at[9] = {0};
	size_t seen[9] = {0};
	struct expected expected;
	bool all;

	begin();
	put_segments(3);
	expected = expect(0);
	do {
		all = true;
		for (size_t i = 0; i < 9; i++) {
			if (ask(at[i], 200 + 150 * (uint32_t)i, 0) != 0)
				continue;
			check_answer(&expected, seen[i]);
			seen[i] += request->byte_count;
			at[i] = request->end_offset;
			all = false;
		}
	} while (!all);
	for (size_t i = 0; i < 9; i++)
		cr_assert_eq(seen[i], expected.count);
	free(expected.bytes);
	end();
}

Test(catchup, a_large_answers_memory_goes_with_the_next)
{
	begin();
	put_segments(3);
	cr_assert_eq(ask(0, 8000, 0), 0);
	cr_assert_leq(request->capacity, 16000u);
	request->bytes = realloc(request->bytes, 8u << 20);
	request->capacity = 8u << 20;
	cr_assert_eq(ask(request->end_offset, 8000, 0), 0);
	cr_assert_leq(request->capacity, 16000u);
	end();
}

/* Each operation on the disk fails once: nothing wrong comes, and the next try is right. */
Test(catchup, every_failure_is_told_and_gone_with_the_next_try, .timeout = 60)
{
	uint64_t hits = 1;

	for (uint64_t nth = 1; hits > 0 && nth < 2000; nth++) {
		struct mr_io_fault_plan plan = {.kind = MR_IO_FAULT_ANY, .nth = nth, .error = -EIO};
		struct expected expected;
		uint64_t offset = 3;
		size_t at = 0;
		struct mr_io *fault;
		int failures = 0;

		begin();
		put_segments(3);
		end_readers();
		fault = mr_io_fault_new(io);
		begin_readers(fault);
		expected = expect(3);
		mr_io_fault_set(fault, &plan);
		while (offset < rig.partition.log_end) {
			if (ask(offset, 9000, 0) != 0) {
				cr_assert_eq(request->status, -EIO, "%s", request->err.what);
				cr_assert_neq(request->err.what[0], 0);
				cr_assert_lt(++failures, 3);
				continue;
			}
			check_answer(&expected, at);
			at += request->byte_count;
			offset = request->end_offset;
		}
		cr_assert_eq(at, expected.count);
		hits = mr_io_fault_hits(fault);
		free(expected.bytes);
		end_readers();
		mr_io_close(fault);
		begin_readers(io);
		end();
	}
	cr_assert_eq(hits, 0, "the sweep came to its end");
}
