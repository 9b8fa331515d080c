/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the mark of a version in a log: it is a control batch that replicas and readers
 * take, comes back as it was, and what is no such mark is told from one that makes no sense.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "version_mark.h"

static struct mr_error err;
static uint8_t *batch;
static uint32_t batch_bytes;

/* The one record of 'batch'. */
static struct mr_message record_of(void)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;

	cr_assert_eq(mr_batch_check(batch, batch_bytes, true, &header, &err), 0, "%s", err.what);
	cr_assert_eq(header.total_bytes, batch_bytes);
	cr_assert_eq(header.attributes, MR_BATCH_CONTROL);
	cr_assert_eq(header.producer_id, -1);
	cr_assert_eq(header.record_count, 1);
	cr_assert_eq(header.max_timestamp_ms, 1234);
	cr_assert_eq(mr_batch_read(&reader, batch, &header), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	return message;
}

Test(version_mark, comes_back_as_it_was)
{
	json_t *weights = json_pack("{s:[f, f]}", "avg", 0.75, 0.1);
	struct mr_version_mark mark = {.version = 7,
				       .text = "pipeline: \"h\u00fc\"\n",
				       .weights = weights},
			       found;
	struct mr_batch_header header;
	struct mr_message message;

	for (int i = 0; i < 16; i++)
		mark.pipeline_id[i] = (uint8_t)(i * 17);
	cr_assert_eq(mr_version_mark_encode(&mark, 1234, 4096, &batch, &batch_bytes, &err), 0);
	cr_assert_eq(mr_batch_check(batch, batch_bytes, false, &header, &err), -EBADMSG,
		     "no producer writes one");
	message = record_of();
	cr_assert_eq(mr_version_mark_read(&message, &found), 0);
	cr_assert_eq(memcmp(found.pipeline_id, mark.pipeline_id, 16), 0);
	cr_assert_eq(found.version, 7);
	cr_assert_str_eq(found.text, mark.text);
	cr_assert(json_equal((json_t *)found.weights, weights));
	mr_version_mark_deinit(&found);
	free(batch);
	mark.weights = NULL;
	cr_assert_eq(mr_version_mark_encode(&mark, 1234, 4096, &batch, &batch_bytes, &err), 0);
	message = record_of();
	cr_assert_eq(mr_version_mark_read(&message, &found), 0);
	cr_assert_null(found.weights);
	mr_version_mark_deinit(&found);
	free(batch);
	json_decref(weights);
}

Test(version_mark, one_that_fits_no_batch_is_refused)
{
	char text[2001];
	struct mr_version_mark mark = {.version = 1, .text = text};

	memset(text, 'x', 2000);
	text[2000] = '\0';
	cr_assert_eq(mr_version_mark_encode(&mark, 1234, 2000, &batch, &batch_bytes, &err),
		     -EMSGSIZE);
	cr_assert_null(batch);
	cr_assert_eq(mr_version_mark_encode(&mark, 1234, 2400, &batch, &batch_bytes, &err), 0);
	cr_assert_leq(batch_bytes, 2400);
	(void)record_of();
	free(batch);
}

static int read_value(const char *key, size_t key_bytes, const char *value)
{
	struct mr_version_mark found;
	struct mr_message message = {
		.key = key,
		.key_bytes = (int32_t)key_bytes,
		.value = value,
		.value_bytes = value ? (int32_t)strlen(value) : -1,
	};
	int r = mr_version_mark_read(&message, &found);

	if (r == 0)
		mr_version_mark_deinit(&found);
	else
		cr_assert_null(found.json);
	return r;
}

#define ID   "\"000102030405060708090a0b0c0d0e0f\""
#define GOOD "{\"pipeline\":" ID ",\"version\":2,\"text\":\"t\",\"weights\":{\"avg\":[1]}}"

Test(version_mark, what_makes_no_sense_is_told_from_what_is_another_kind)
{
	static const char key[] = {0, 0, 0x4d, 0x56};
	static const char *const bad[] = {
		NULL,
		"",
		"{",
		"[]",
		"{}",
		"{\"pipeline\":\"0001\",\"version\":2,\"text\":\"t\"}",
		"{\"pipeline\":" ID ",\"version\":1,\"text\":\"t\"}",
		"{\"pipeline\":" ID ",\"version\":-1,\"text\":\"t\"}",
		"{\"pipeline\":" ID ",\"version\":101,\"text\":\"t\"}",
		"{\"pipeline\":" ID ",\"version\":4294967298,\"text\":\"t\"}",
		"{\"pipeline\":" ID ",\"version\":2,\"text\":5}",
		"{\"pipeline\":" ID ",\"version\":2,\"text\":\"t\",\"weights\":[1]}",
	};

	cr_assert_eq(read_value(key, 4, GOOD), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(read_value(key, 4, bad[i]), -EBADMSG, "%s", bad[i]);
	/* Kafka's commit marker, and what is no control record's key */
	cr_assert_eq(read_value("\0\0\0\1", 4, GOOD), -ENOENT);
	cr_assert_eq(read_value("\0\0\0\1\0\0", 6, GOOD), -ENOENT);
	cr_assert_eq(read_value(NULL, (size_t)-1, GOOD), -ENOENT);
	cr_assert_eq(read_value(key, 3, GOOD), -ENOENT);
}
