/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a source beside a tail that is written as fast as it can be: no record that was
 * torn by the writer is ever handed out, copied or in place, and nobody calls it damage. And what
 * the engine wrote for itself is handed out to nobody who did not ask for it. The engine's answers
 * are this test's own; there are no files.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "group.h"
#include "source.h"

#define TAIL_BYTES    (1u << 16)
#define BATCH_RECORDS 24u
#define VALUE_BYTES   500u
#define RUN_MS	      400u

static struct mr_tail tail;
static _Atomic bool stop;
static uint32_t asked;

/* In the place of the connection's: an engine that never answers. */
int mr_connection_ask(struct mr_connection *connection, enum mr_message_type type, const void *body,
		      size_t body_bytes, size_t reply_bytes, uint32_t reply_fds, uint64_t deadline,
		      struct mr_packet *reply, struct mr_error *err)
{
	asked++;
	return -ETIMEDOUT;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* One batch at 'at', whose records are filled with the low byte of their offsets. */
static size_t write_batch(uint8_t *at, uint64_t offset)
{
	struct mr_batch_identity identity = {.base_offset = offset, .producer_id = -1};
	struct mr_batch_writer writer;
	uint8_t value[VALUE_BYTES];

	mr_batch_begin(&writer, at, TAIL_BYTES / 2);
	for (uint32_t i = 0; i < BATCH_RECORDS; i++) {
		memset(value, (int)(offset + i), sizeof(value));
		cr_assert_eq(mr_batch_add(&writer, 0, NULL, -1, value, VALUE_BYTES, NULL, 0, 0), 0);
	}
	return mr_batch_end(&writer, &identity);
}

/* Groups of one batch and of two, one after another, each reclaiming as much as it needs. */
static void *write_tail(void *arg)
{
	uint64_t position = 0, offset = 0, starts[64], offsets[64], first = 0, count = 0;

	while (!stop) {
		struct mr_group_place place = {.number = count};
		struct mr_group group;
		uint32_t crc;

		while (position + TAIL_BYTES / 2 > tail.page->reclaimed + TAIL_BYTES) {
			first++;
			mr_tail_reclaim(&tail, first < count ? starts[first % 64] : position,
					first < count ? offsets[first % 64] : offset);
		}
		starts[count % 64] = position;
		offsets[count++ % 64] = offset;
		mr_group_begin(&group, mr_tail_at(&tail, position), 1, offset);
		for (uint64_t b = 0; b <= count % 2; b++) {
			size_t bytes = write_batch(mr_group_at(&group), offset);

			mr_group_add(&group, (uint32_t)bytes, BATCH_RECORDS);
			offset += BATCH_RECORDS;
			mr_tail_publish_appended(&tail, position + 64 + group.batch_bytes, offset);
		}
		position += mr_group_close(&group, &place, &crc);
		mr_tail_publish_flushed(&tail, tail.page->appended, offset);
		mr_tail_publish_committed(&tail, tail.page->appended, offset);
		for (uint64_t i = 0; i < count % 16 * 4000 && !stop; i++)
			__asm__ volatile(""); /* now slower, now faster than the reader */
	}
	return arg;
}

static bool is_right(const struct mr_message *message)
{
	const uint8_t *value = message->value;

	if (message->value_bytes != VALUE_BYTES)
		return false;
	for (uint32_t i = 0; i < VALUE_BYTES; i++)
		if (value[i] != (uint8_t)message->offset)
			return false;
	return true;
}

/* What was read, and how often the writer came in between. */
struct tally {
	uint64_t records;
	uint64_t overtaken;
};

static struct tally read_for_a_while(bool in_place)
{
	struct mr_reading reading = {.topic = "tail"};
	struct tally tally = {0};
	struct mr_source source;
	struct mr_error err;
	uint64_t until = now_ms() + RUN_MS, next = 0;

	mr_source_init(&source, 0);
	cr_assert_eq(mr_tail_view_open(tail.fd, TAIL_BYTES, &source.view, &err), 0);
	source.viewed = true;
	while (now_ms() < until) {
		int r = mr_source_read(&source, &reading, in_place, 0, &err);
		uint32_t wrong = 0;

		cr_assert(r >= 0, "%s: %s", err.what, err.why);
		for (uint32_t i = 0; i < reading.message_count; i++, next++)
			wrong += reading.messages[i].offset != next ||
				 !is_right(&reading.messages[i]);
		if (mr_source_release(&source) == 0) {
			cr_assert_eq(wrong, 0, "at %" PRIu64, next);
			tally.records += reading.message_count;
		}
		if (source.place.mode != MR_SOURCE_FIND)
			continue;
		next = tail.page->reclaimed_offset; /* there is no file: go on where the tail is */
		mr_source_seek(&source, next);
	}
	tally.overtaken = source.overtaken;
	mr_source_close(&source);
	free(reading.messages);
	free(reading.copy);
	return tally;
}

static struct tally run(bool in_place)
{
	static const uint8_t topic_id[16];
	struct tally tally;
	pthread_t writer;

	cr_assert_eq(mr_tail_create(TAIL_BYTES, topic_id, 0, 0, 0, &tail, NULL), 0);
	pthread_create(&writer, NULL, write_tail, NULL);
	tally = read_for_a_while(in_place);
	stop = true;
	pthread_join(writer, NULL);
	mr_tail_destroy(&tail);
	return tally;
}

/*
 * The same without chance: a page in the middle of the batch is taken from the reader, whose access
 * to it then is the moment at which the writer comes round and writes over the batch.
 */
static uint8_t *taken_page;

static void write_over(int signal, siginfo_t *info, void *context)
{
	if ((uint8_t *)info->si_addr < taken_page || (uint8_t *)info->si_addr >= taken_page + 4096)
		abort();
	mr_tail_reclaim(&tail, TAIL_BYTES / 2, BATCH_RECORDS);
	memset(mr_tail_at(&tail, 4096), 0xee, TAIL_BYTES / 2);
	mprotect(taken_page, 4096, PROT_READ);
}

static void read_while_it_is_written_over(bool in_place)
{
	static const uint8_t topic_id[16];
	struct sigaction action = {.sa_sigaction = write_over, .sa_flags = SA_SIGINFO};
	struct mr_reading reading = {.topic = "tail"};
	struct mr_source source;
	struct mr_group group;
	struct mr_error err;
	uint64_t end;

	cr_assert_eq(mr_tail_create(TAIL_BYTES, topic_id, 0, 0, 0, &tail, NULL), 0);
	mr_group_begin(&group, mr_tail_at(&tail, 0), 1, 0);
	mr_group_add(&group, (uint32_t)write_batch(mr_group_at(&group), 0), BATCH_RECORDS);
	end = sizeof(struct mr_group_header) + group.batch_bytes;
	mr_tail_publish_appended(&tail, TAIL_BYTES / 2, BATCH_RECORDS);
	mr_tail_publish_flushed(&tail, end, BATCH_RECORDS);
	mr_tail_publish_committed(&tail, end, BATCH_RECORDS);
	mr_source_init(&source, 0);
	cr_assert_eq(mr_tail_view_open(tail.fd, TAIL_BYTES, &source.view, &err), 0);
	source.viewed = true;
	taken_page = (uint8_t *)(uintptr_t)source.view.data + 8192;
	sigaction(SIGSEGV, &action, NULL);
	cr_assert_eq(mprotect(taken_page, 4096, PROT_NONE), 0);
	cr_assert_eq(mr_source_read(&source, &reading, in_place, 0, &err), 0, "%s %s", err.what,
		     err.why);
	cr_assert_eq(reading.message_count, 0);
	cr_assert_eq(source.overtaken, 1);
	cr_assert_eq(source.place.next, 0);
	cr_assert_eq(asked, 1, "it goes on from the files");
	mr_source_close(&source);
	mr_tail_destroy(&tail);
	free(reading.messages);
	free(reading.copy);
}

Test(source, a_copy_that_is_written_over_is_dropped)
{
	read_while_it_is_written_over(false);
}

Test(source, a_batch_in_place_that_is_written_over_is_dropped)
{
	read_while_it_is_written_over(true);
}

Test(source, a_copy_is_whole_or_it_is_none)
{
	struct tally tally = run(false);

	cr_assert_gt(tally.overtaken, 0, "nothing was tried");
	cr_assert_gt(tally.records, 0);
}

Test(source, a_view_in_place_is_whole_or_its_release_says_so)
{
	struct tally tally = run(true);

	cr_assert_gt(tally.overtaken, 0, "nothing was tried");
	cr_assert_gt(tally.records, 0);
}

/* ---- control batches ------------------------------------------------------------------------- */

/* A tail of one group of these batches, one record each: 'c' is a control batch. */
static void fill_tail(const char *kinds)
{
	static const uint8_t topic_id[16];
	struct mr_group group;
	uint64_t count = strlen(kinds);

	cr_assert_eq(mr_tail_create(TAIL_BYTES, topic_id, 0, 0, 0, &tail, NULL), 0);
	mr_group_begin(&group, mr_tail_at(&tail, 0), 1, 0);
	for (uint64_t i = 0; i < count; i++) {
		struct mr_batch_identity identity = {
			.base_offset = i,
			.attributes = kinds[i] == 'c' ? MR_BATCH_CONTROL : 0,
			.producer_id = -1,
		};
		struct mr_batch_writer writer;

		mr_batch_begin(&writer, mr_group_at(&group), 1024);
		cr_assert_eq(mr_batch_add(&writer, 0, "key", 3, &kinds[i], 1, NULL, 0, 0), 0);
		mr_group_add(&group, (uint32_t)mr_batch_end(&writer, &identity), 1);
	}
	mr_tail_publish_appended(&tail, sizeof(struct mr_group_header) + group.batch_bytes, count);
	mr_tail_publish_committed(&tail, tail.page->appended, count);
}

/* One letter a record as it comes, a blank behind each read. */
static void expect_reads(const char *kinds, bool in_place, bool control, const char *expected)
{
	struct mr_reading reading = {.topic = "tail", .control = control};
	struct mr_source source;
	struct mr_error err;
	char got[64] = "";
	size_t used = 0;

	fill_tail(kinds);
	mr_source_init(&source, 0);
	cr_assert_eq(mr_tail_view_open(tail.fd, TAIL_BYTES, &source.view, &err), 0);
	source.viewed = true;
	while (mr_source_read(&source, &reading, in_place, 0, &err) > 0) {
		for (uint32_t i = 0; i < reading.message_count; i++) {
			char kind = *(const char *)reading.messages[i].value;

			cr_assert_eq(kind, kinds[reading.messages[i].offset]);
			cr_assert_eq(reading.is_control, kind == 'c');
			got[used++] = kind;
		}
		got[used++] = ' ';
		cr_assert_eq(mr_source_release(&source), 0);
	}
	cr_assert_str_eq(got, expected, "%s, %s", kinds, in_place ? "in place" : "copied");
	cr_assert_eq(source.place.next, strlen(kinds), "it is past all of them");
	mr_source_close(&source);
	mr_tail_destroy(&tail);
	free(reading.messages);
	free(reading.copy);
}

Test(source, a_control_batch_is_handed_out_alone_or_not_at_all)
{
	for (int in_place = 0; in_place < 2; in_place++) {
		expect_reads("abcde", in_place, false, "abde ");
		expect_reads("abcde", in_place, true, "ab c de ");
		expect_reads("ca", in_place, true, "c a ");
		expect_reads("ac", in_place, true, "a c ");
		expect_reads("ccc", in_place, true, "c c c ");
		expect_reads("ccc", in_place, false, "");
	}
}
