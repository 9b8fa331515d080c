/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline's state as bytes and back: a head, then the keys in the order in which the hand goes
 * round, each with its parts as they are in memory. Little-endian machines only, as all of
 * Millrace's files. Who stores it adds a checksum; here every length and index is checked all the
 * same, since no call may ever leave its memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "pipeline_parts.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define STATE_MAGIC   UINT32_C(0x5350524d) /* "MRPS" */
#define STATE_VERSION 1

/* 8-byte fields first to last: no padding. */
struct state_head {
	uint32_t magic;
	uint32_t version;
	uint64_t fingerprint; /* of what the state's meaning depends on */
	struct mr_pipeline_counters counters;
	int64_t clock_ms;
	uint64_t clock_set;
	uint32_t count;
	uint32_t hand;
	uint32_t sweep;
	int32_t partition;
};

struct state_key {
	uint32_t key_bytes;
	uint32_t capacity; /* of its windows */
	uint32_t raised;
	uint32_t touched;
	int64_t seen_ms;
	int64_t time_ms;
	double value;
	uint64_t offset;
	uint32_t dropped[MR_CLEAN_VERDICTS - 1];
};

static uint64_t hash_text(const char *text, uint64_t seed)
{
	return XXH3_64bits_withSeed(text, strlen(text) + 1, seed);
}

/* Two programs with one state have one fingerprint (mr_program_same_state()). */
static uint64_t fingerprint(const struct mr_program *program)
{
	const struct mr_rule *rule = program->rule;
	uint64_t numbers[8] = {program->window_count, rule->alert_count,
			       (uint64_t)rule->clean.max_late_ms, rule->clean.drop_duplicate,
			       rule->clean.drop_unchanged};
	double reals[4] = {rule->clean.low, rule->clean.high, rule->clean.spike_mads,
			   rule->clean.spike_floor};
	uint64_t hash = XXH3_64bits_withSeed(numbers, sizeof(numbers), STATE_VERSION);

	hash = XXH3_64bits_withSeed(reals, sizeof(reals), hash);
	for (uint32_t i = 0; i < program->window_count; i++) {
		const struct mr_window_spec *spec = &program->specs[i];
		uint64_t parts[4] = {spec->fn, spec->extent, spec->count, (uint64_t)spec->span_ms};

		hash = hash_text(program->names[i], hash);
		hash = XXH3_64bits_withSeed(parts, sizeof(parts), hash);
		hash = XXH3_64bits_withSeed(&spec->parameter, sizeof(double), hash);
		if (spec->weight_count)
			hash = XXH3_64bits_withSeed(spec->weights,
						    spec->weight_count * sizeof(double), hash);
	}
	for (uint32_t i = 0; i < rule->alert_count; i++) {
		hash = hash_text(rule->alerts[i].name, hash);
		hash = hash_text(rule->alerts[i].when, hash);
		hash = hash_text(rule->alerts[i].clear, hash);
	}
	return hash;
}

/* ---- out ---------------------------------------------------------------------------------------
 */

static int save_key(const struct mr_program *program, const struct mr_key_entry *entry,
		    int (*write)(void *arg, const void *bytes, size_t count), void *arg)
{
	const void *windows = mr_key_windows(program, entry);
	struct state_key key = {
		.key_bytes = entry->key_bytes,
		.capacity = mr_window_block_capacity(windows),
		.raised = entry->raised,
		.touched = entry->touched,
		.seen_ms = entry->seen_ms,
		.time_ms = entry->time_ms,
		.value = entry->value,
		.offset = entry->offset,
	};
	size_t state_bytes =
		program->fixed_bytes + mr_window_block_bytes(program->plan, key.capacity);
	int r;

	memcpy(key.dropped, entry->dropped, sizeof(key.dropped));
	r = write(arg, &key, sizeof(key));
	if (r >= 0)
		r = write(arg, entry->key, entry->key_bytes);
	if (r >= 0)
		r = write(arg, mr_key_state(entry), state_bytes);
	return r < 0 ? r : 0;
}

int mr_pipeline_save(const struct mr_pipeline *pipeline,
		     int (*write)(void *arg, const void *bytes, size_t count), void *arg)
{
	const struct mr_keys *keys = &pipeline->keys;
	struct state_head head = {
		.magic = STATE_MAGIC,
		.version = STATE_VERSION,
		.fingerprint = fingerprint(pipeline->program),
		.counters = pipeline->counters,
		.clock_ms = pipeline->clock_ms,
		.clock_set = pipeline->clock_set,
		.count = keys->count,
		.hand = keys->hand,
		.sweep = keys->sweep,
		.partition = pipeline->partition,
	};
	int r = write(arg, &head, sizeof(head));

	for (uint32_t i = 0; i < keys->count && r >= 0; i++)
		r = save_key(pipeline->program, keys->ring[i], write, arg);
	return r < 0 ? r : 0;
}

/* ---- in ----------------------------------------------------------------------------------------
 */

struct source {
	int (*read)(void *arg, void *bytes, size_t count);
	void *arg;
};

static int get(const struct source *source, void *bytes, size_t count)
{
	return count ? source->read(source->arg, bytes, count) : 0;
}

static int bad(struct mr_error *err, uint32_t key, const char *what)
{
	return mr_error_set(err, -EBADMSG, "state of a pipeline: key %u: %s", key, what);
}

/* A key may have more room than the rule lets it take now: an earlier version gave it. */
static int check_key(const struct mr_program *program, const struct state_key *key)
{
	uint32_t most =
		program->capacity > MR_WINDOW_COUNT_MAX ? program->capacity : MR_WINDOW_COUNT_MAX;

	if (!mr_pipeline_time_fits(key->seen_ms) || !mr_pipeline_time_fits(key->time_ms))
		return -EBADMSG;
	return key->key_bytes <= MR_PARSE_KEY_MAX && key->capacity >= program->capacity &&
			       key->capacity <= most && key->touched <= 1 &&
			       (uint64_t)key->raised >> program->rule->alert_count == 0
		       ? 0
		       : -EBADMSG;
}

static bool alerts_make_sense(const struct mr_program *program, const struct mr_key_entry *entry)
{
	const struct mr_program_alert_state *states = mr_key_alerts(entry);

	for (uint32_t i = 0; i < program->rule->alert_count; i++)
		if (!mr_pipeline_time_fits(states[i].since_ms) ||
		    !mr_pipeline_time_fits(states[i].raised_ms) || states[i].reserved != 0)
			return false;
	return true;
}

/* The entry holds no windows that were checked yet. */
static int load_parts(const struct mr_program *program, struct mr_key_entry *entry,
		      uint32_t capacity, const struct source *source)
{
	size_t window_bytes = mr_window_block_bytes(program->plan, capacity);
	int r = get(source, mr_key_state(entry), program->fixed_bytes + window_bytes);

	if (r < 0)
		return r;
	if (!alerts_make_sense(program, entry) ||
	    !mr_clean_block_valid(&program->rule->clean, mr_key_clean(program, entry)))
		return -EBADMSG;
	if (!mr_window_block_check(program->plan, mr_key_windows(program, entry), window_bytes) ||
	    mr_window_block_capacity(mr_key_windows(program, entry)) != capacity)
		return -EBADMSG;
	return 0;
}

static int load_key(struct mr_pipeline *pipeline, uint32_t number, const struct source *source,
		    struct mr_error *err)
{
	const struct mr_program *program = pipeline->program;
	struct mr_keys *keys = &pipeline->keys;
	struct mr_key_entry *entry;
	char text[MR_PARSE_KEY_MAX];
	struct state_key key;
	uint32_t hash;
	int r = get(source, &key, sizeof(key));

	if (r == 0 && check_key(program, &key) < 0)
		return bad(err, number, "a length or a number is out of bounds");
	if (r == 0)
		r = get(source, text, key.key_bytes);
	if (r < 0)
		return mr_error_set(err, r, "state of a pipeline: key %u cannot be read", number);
	hash = mr_keys_hash(keys, text, (int32_t)key.key_bytes);
	if (mr_keys_find(keys, hash, text, (int32_t)key.key_bytes))
		return bad(err, number, "it is there twice");
	entry = mr_keys_add(keys, hash, text, (int32_t)key.key_bytes, key.capacity);
	if (!entry)
		return mr_error_set(err, -ENOMEM, "no memory for the keys of a pipeline");
	entry->raised = key.raised;
	entry->touched = (uint8_t)key.touched;
	entry->seen_ms = key.seen_ms;
	entry->time_ms = key.time_ms;
	entry->value = key.value;
	entry->offset = key.offset;
	memcpy(entry->dropped, key.dropped, sizeof(key.dropped));
	r = load_parts(program, entry, key.capacity, source);
	if (r == -EBADMSG)
		return bad(err, number, "its windows or its cleaning make no sense");
	return r < 0 ? mr_error_set(err, r, "state of a pipeline: key %u cannot be read", number)
		     : 0;
}

static int check_head(const struct mr_pipeline *pipeline, const struct state_head *head,
		      struct mr_error *err)
{
	if (head->magic != STATE_MAGIC || head->version != STATE_VERSION)
		return mr_error_set(err, -EBADMSG,
				    "state of a pipeline: begins %08" PRIx32 ", version %" PRIu32
				    "; expected %08" PRIx32 ", version %d",
				    head->magic, head->version, STATE_MAGIC, STATE_VERSION);
	if (head->fingerprint != fingerprint(pipeline->program))
		return mr_error_set(err, -EBADMSG,
				    "state of a pipeline: of another version of the rule");
	if (head->partition != pipeline->partition || head->clock_set > 1 ||
	    !mr_pipeline_time_fits(head->clock_ms) || head->hand > head->count ||
	    head->sweep > head->count)
		return mr_error_set(err, -EBADMSG, "state of a pipeline: its head makes no sense");
	return 0;
}

int mr_pipeline_load(struct mr_pipeline *pipeline,
		     int (*read)(void *arg, void *bytes, size_t count), void *arg,
		     struct mr_error *err)
{
	struct source source = {.read = read, .arg = arg};
	struct state_head head;
	int r = get(&source, &head, sizeof(head));

	if (r < 0)
		return mr_error_set(err, r, "state of a pipeline cannot be read");
	r = check_head(pipeline, &head, err);
	for (uint32_t i = 0; i < head.count && r == 0; i++)
		r = load_key(pipeline, i, &source, err);
	if (r < 0)
		return r;
	pipeline->keys.hand = head.hand < head.count ? head.hand : 0;
	pipeline->keys.sweep = head.sweep; /* behind the last: a key that comes now is next */
	pipeline->clock_ms = head.clock_ms;
	pipeline->clock_set = head.clock_set;
	pipeline->counters = head.counters;
	pipeline->counters.keys = pipeline->keys.count;
	pipeline->counters.bytes = pipeline->keys.bytes;
	return 0;
}
