/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines for tests (pipe_rig.h). */
#include "pipe_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static void keep(struct mr_pipe_rig *rig, const void *bytes, size_t count)
{
	if (rig->out_bytes + count + 1 > rig->out_capacity) {
		rig->out_capacity = 2 * (rig->out_bytes + count + 1);
		rig->out = realloc(rig->out, rig->out_capacity);
		mr_assert(rig->out);
	}
	memcpy(rig->out + rig->out_bytes, bytes, count);
	rig->out_bytes += count;
	rig->out[rig->out_bytes] = '\0';
}

static void put_out(void *arg, const struct mr_pipeline_record *record)
{
	struct mr_pipe_rig *rig = arg;
	char head[64];

	rig->outputs++;
	if (rig->count_only)
		return;
	keep(rig, head,
	     (size_t)snprintf(head, sizeof(head), "%c %llu ", "OAR"[record->topic],
			      (unsigned long long)record -> number));
	if (record->key_bytes < 0)
		keep(rig, "-", 1);
	else
		keep(rig, record->key, (size_t)record->key_bytes);
	keep(rig, " ", 1);
	keep(rig, record->value, record->value_bytes);
	keep(rig, "\n", 1);
}

void mr_pipe_rig_open(struct mr_pipe_rig *rig, const char *rule)
{
	struct mr_error err = {0};

	memset(rig, 0, sizeof(*rig));
	if (mr_rule_read(rule, strlen(rule), "test.yaml", &rig->rule, &err) < 0 ||
	    mr_program_new(rig->rule, &rig->program, &err) < 0 ||
	    mr_pipeline_new(rig->program, 0, &rig->pipeline, &err) < 0) {
		fprintf(stderr, "%s\n%s\n%s\n", err.what, err.why, err.hint);
		mr_assert(false);
	}
	keep(rig, "", 0);
}

void mr_pipe_rig_close(struct mr_pipe_rig *rig)
{
	mr_pipeline_free(rig->pipeline);
	mr_program_free(rig->program);
	mr_rule_free(rig->rule);
	free(rig->out);
	free(rig->taken);
	memset(rig, 0, sizeof(*rig));
}

int mr_pipe_rig_feed(struct mr_pipe_rig *rig, const struct mr_message *messages, uint32_t count)
{
	struct mr_pipeline_sink sink = {.put = put_out, .arg = rig};

	return mr_pipeline_feed(rig->pipeline, messages, count, &sink);
}

void mr_pipe_rig_put(struct mr_pipe_rig *rig, const char *key, int64_t timestamp_ms,
		     const char *value)
{
	struct mr_message message = {
		.offset = rig->offset++,
		.timestamp_ms = timestamp_ms,
		.key = key,
		.key_bytes = key ? (int32_t)strlen(key) : MR_NULL_BYTES,
		.value = value,
		.value_bytes = value ? (int32_t)strlen(value) : MR_NULL_BYTES,
	};

	mr_assert(mr_pipe_rig_feed(rig, &message, 1) == 0);
}

const char *mr_pipe_rig_take(struct mr_pipe_rig *rig)
{
	free(rig->taken);
	rig->taken = rig->out;
	rig->taken_bytes = rig->out_bytes;
	rig->out = NULL;
	rig->out_bytes = rig->out_capacity = 0;
	keep(rig, "", 0);
	return rig->taken;
}

struct bytes {
	uint8_t *bytes;
	size_t count;
	size_t capacity;
	size_t at;
};

static int write_bytes(void *arg, const void *bytes, size_t count)
{
	struct bytes *to = arg;

	if (to->count + count > to->capacity) {
		to->capacity = 2 * (to->count + count);
		to->bytes = realloc(to->bytes, to->capacity);
		mr_assert(to->bytes);
	}
	memcpy(to->bytes + to->count, bytes, count);
	to->count += count;
	return 0;
}

static int read_bytes(void *arg, void *bytes, size_t count)
{
	struct bytes *from = arg;

	if (count > from->count - from->at)
		return -EBADMSG;
	memcpy(bytes, from->bytes + from->at, count);
	from->at += count;
	return 0;
}

uint8_t *mr_pipe_rig_save(const struct mr_pipe_rig *rig, size_t *bytes)
{
	struct bytes to = {0};

	mr_assert(mr_pipeline_save(rig->pipeline, write_bytes, &to) == 0);
	*bytes = to.count;
	return to.bytes;
}

int mr_pipe_rig_load(struct mr_pipe_rig *rig, const uint8_t *bytes, size_t count,
		     struct mr_error *err)
{
	struct bytes from = {.bytes = (uint8_t *)bytes, .count = count};
	struct mr_pipeline *loaded;
	int r = mr_pipeline_new(rig->program, 0, &loaded, err);

	if (r == 0)
		r = mr_pipeline_load(loaded, read_bytes, &from, err);
	if (r == 0 && from.at != count)
		r = mr_error_set(err, -EBADMSG, "bytes are left");
	if (r < 0) {
		mr_pipeline_free(loaded);
		return r;
	}
	mr_pipeline_free(rig->pipeline);
	rig->pipeline = loaded;
	return 0;
}
