/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values to fit weights to (fit_values.h).
 */
#include "fit_values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"

struct reading {
	struct mr_fit_values *out;
	struct mr_parser *parser;
	void *clean; /* its block */
	uint64_t capacity;
	char first_key[MR_PARSE_KEY_MAX]; /* where no key was named */
	int32_t first_key_bytes;	  /* -1: there was none yet */
};

static int keep(struct reading *reading, double value, struct mr_error *err)
{
	struct mr_fit_values *out = reading->out;

	if (out->count == reading->capacity) {
		uint64_t capacity = out->count ? 2 * out->count : 4096;
		double *grown = realloc(out->values, capacity * sizeof(double));

		if (!grown)
			return mr_error_set(err, -ENOMEM, "no memory for %" PRIu64 " values",
					    capacity);
		out->values = grown;
		reading->capacity = capacity;
	}
	out->values[out->count++] = value;
	return 0;
}

static bool is_key(const struct mr_parsed *parsed, const char *key, int32_t key_bytes)
{
	return parsed->key_bytes == key_bytes && memcmp(parsed->key, key, (size_t)key_bytes) == 0;
}

/* True, false, or an error: no key was named, and here is a second one. */
static int is_wanted(struct reading *reading, const struct mr_parsed *parsed, struct mr_error *err)
{
	const char *key = reading->out->key;

	if (key)
		return is_key(parsed, key, (int32_t)strlen(key));
	if (reading->first_key_bytes < 0) {
		memcpy(reading->first_key, parsed->key, (size_t)parsed->key_bytes);
		reading->first_key_bytes = parsed->key_bytes;
	}
	if (is_key(parsed, reading->first_key, reading->first_key_bytes))
		return true;
	mr_error_set(err, -EINVAL, "topic '%s' has several keys, '%.*s' and '%.*s' among them",
		     reading->out->topic, (int)reading->first_key_bytes, reading->first_key,
		     (int)parsed->key_bytes, parsed->key);
	return mr_error_hint(err, "name the one that is meant: --key %.*s",
			     (int)reading->first_key_bytes, reading->first_key);
}

static int take(struct reading *reading, const struct mr_message *message, struct mr_error *err)
{
	struct mr_parsed parsed;
	int wanted;

	if (mr_parser_parse(reading->parser, message, &parsed) != MR_PARSE_OK) {
		reading->out->rejected++;
		return 0;
	}
	wanted = is_wanted(reading, &parsed, err);
	if (wanted <= 0) {
		reading->out->other_keys += wanted == 0;
		return wanted;
	}
	if (mr_clean_check(&reading->out->rule->clean, reading->clean, parsed.time_ms,
			   parsed.value) == MR_CLEAN_KEEP)
		return keep(reading, parsed.value, err);
	reading->out->dropped++;
	return 0;
}

static int each(void *arg, const struct mr_message *messages, uint32_t count, struct mr_error *err)
{
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++)
		r = take(arg, &messages[i], err);
	return r;
}

/* A key's records are all in one partition; without a key there must be one partition. */
static int choose_partition(const struct mr_fit_values *values, struct mr_connection *connection,
			    int32_t *partition, struct mr_error *err)
{
	int count = mr_replay_partitions(connection, values->topic, err);

	if (count < 0)
		return count;
	*partition = 0;
	if (count == 1)
		return 0;
	if (!values->key) {
		mr_error_set(err, -EINVAL, "topic '%s' has %d partitions: which key is meant?",
			     values->topic, count);
		return mr_error_hint(err, "name it: --key press-9");
	}
	*partition = mr_partition_of_key(values->key, strlen(values->key), count);
	return 0;
}

int mr_fit_values_read(struct mr_connection *connection, struct mr_fit_values *values,
		       struct mr_error *err)
{
	struct reading reading = {.out = values, .first_key_bytes = -1};
	struct mr_replay replay = {.connection = connection,
				   .topic = values->topic,
				   .from = MR_FROM_EARLIEST,
				   .to = MR_REPLAY_TO_END,
				   .each = each,
				   .arg = &reading};
	int r = mr_parser_new(&values->rule->parse, &reading.parser, err);

	if (r < 0)
		return r;
	reading.clean = calloc(1, mr_clean_block_bytes(&values->rule->clean) + 8);
	if (!reading.clean)
		r = mr_error_set(err, -ENOMEM, "no memory to read values");
	else
		mr_clean_block_init(&values->rule->clean, reading.clean);
	if (r == 0)
		r = choose_partition(values, connection, &replay.partition, err);
	if (r == 0)
		r = mr_replay_run(&replay, err);
	mr_parser_free(reading.parser);
	free(reading.clean);
	return r;
}

void mr_fit_values_hint(const struct mr_fit_values *values, struct mr_error *err)
{
	if (values->key && !values->count && values->dropped)
		mr_error_hint(err,
			      "of %" PRIu64 " records of '%s' cleaning kept none: is the value "
			      "where '%s' says?",
			      values->dropped, values->key, values->rule->parse.value);
	else if (!values->key && !values->count)
		mr_error_hint(err,
			      "%" PRIu64 " records could not be read: each needs a key, and a "
			      "value where '%s' says; %" PRIu64 " were dropped by cleaning",
			      values->rejected, values->rule->parse.value, values->dropped);
	else if (values->key && !values->count)
		mr_error_hint(err,
			      "%" PRIu64 " records are of other keys, %" PRIu64
			      " could not be read: is '%s' right?",
			      values->other_keys, values->rejected, values->key);
}

void mr_fit_values_deinit(struct mr_fit_values *values)
{
	free(values->values);
	values->values = NULL;
	values->count = 0;
}
