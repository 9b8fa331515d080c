/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline over one input partition: records in, records out, and the state in between. The pure
 * core (I10): no thread, no clock, no file, no socket; the state is a function of the records fed
 * since it was new, and the same records give the same outputs, byte for byte, also when the state
 * was written down and read back in between.
 *
 *	program (a rule, compiled; shared, constant) ──► pipeline (the state of one partition)
 *	feed(record) ──► parse ──► clean ──► windows ──► alerts ──► sink(output record)
 *
 * Each input record that is kept gives one record to the output topic; each that cannot be read one
 * to the topic of the rejected; what cleaning drops gives none and is counted. Alerts that are
 * raised or cleared give one each to the topic of alerts. Outputs of each topic are numbered from 0
 * on: the number is the sequence by which the log takes each once.
 *
 * Bounds. When the rule's limits are reached, a key that was quiet long leaves with all that is
 *known of it (second chance, keys.h), and is counted. With `idle` keys leave that were quiet for so
 *long by event time: one in 16 records has a key looked at, in turn. The pipeline's clock for that
 * follows the records' times by at most a 1,024th of `idle` a record, so that a single record
 * from the far future does not make everybody old.
 */
#ifndef MR_PIPELINE_H
#define MR_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "clean.h"
#include "expression.h"
#include "parse.h"
#include "rule.h"
#include "window.h"

/* ---- program ----------------------------------------------------------------------------------
 */

struct mr_program;

/* The rule is borrowed for the program's life. */
int mr_program_new(const struct mr_rule *rule, struct mr_program **out, struct mr_error *err);
void mr_program_free(struct mr_program *program); /* takes NULL */
const struct mr_rule *mr_program_rule(const struct mr_program *program);
/* Windows in all, those that conditions made included, and their names. */
uint32_t mr_program_windows(const struct mr_program *program);
const char *mr_program_window_name(const struct mr_program *program, uint32_t window);
const struct mr_window_spec *mr_program_window_spec(const struct mr_program *program,
						    uint32_t window);
const struct mr_window_plan *mr_program_plan(const struct mr_program *program);

/* ---- what comes out ---------------------------------------------------------------------------
 */

enum mr_pipeline_topic {
	MR_PIPELINE_OUTPUT,
	MR_PIPELINE_ALERTS,
	MR_PIPELINE_REJECTED,
	MR_PIPELINE_TOPICS,
};

/* Borrowed for the call. */
struct mr_pipeline_record {
	enum mr_pipeline_topic topic;
	uint64_t number; /* of the topic's outputs of this partition: 0, 1, ... */
	int64_t timestamp_ms;
	const void *key;
	const void *value;
	int32_t key_bytes; /* MR_NULL_BYTES: none */
	uint32_t value_bytes;
	int32_t alert; /* ALERTS: which of the rule's; else -1 */
	bool raised;   /* ALERTS: raised, not cleared */
};

struct mr_pipeline_sink {
	void (*put)(void *arg, const struct mr_pipeline_record *record);
	void *arg;
};

/*
 * The packed format of an output record, little endian, for programs:
 *	u64 input offset, i64 time (ms), f64 value, u32 alerts raised now (bit i), u32 windows n,
 *	n x f64 results in the rule's order
 */
#define MR_PIPELINE_PACKED_BYTES(windows) (32 + 8 * (size_t)(windows))

/* ---- pipeline ---------------------------------------------------------------------------------
 */

struct mr_pipeline;

struct mr_pipeline_counters {
	uint64_t records; /* fed */
	uint64_t kept;
	uint64_t dropped[MR_CLEAN_VERDICTS];
	uint64_t rejected[MR_PARSE_REASONS];
	uint64_t raised, cleared;
	uint64_t evicted; /* keys that left for want of room, or because they were idle */
	uint64_t shed;	  /* samples that left windows by time early */
	uint64_t keys;	  /* now */
	uint64_t bytes;	  /* of their state now */
	uint64_t outputs[MR_PIPELINE_TOPICS]; /* the next number of each */
};

/* One thread at a time. 'partition' stands in outputs. */
int mr_pipeline_new(const struct mr_program *program, int32_t partition, struct mr_pipeline **out,
		    struct mr_error *err);
void mr_pipeline_free(struct mr_pipeline *pipeline); /* takes NULL */

/*
 * Feeds 'count' records in offset order; they are looked at ahead of their turn, for speed. 0;
 * -ENOMEM: the machine has no memory for a key within the rule's limits. Nobody knows then how far
 * it came: begin again from what was saved.
 */
int mr_pipeline_feed(struct mr_pipeline *pipeline, const struct mr_message *messages,
		     uint32_t count, const struct mr_pipeline_sink *sink);
const struct mr_pipeline_counters *mr_pipeline_counters(const struct mr_pipeline *pipeline);

/* Another version of the rule from here on: numbers and counters go on; the state of keys begins
 * anew unless windows and cleaning are the same. -ENOMEM: as before. */
int mr_pipeline_replace(struct mr_pipeline *pipeline, const struct mr_program *program,
			struct mr_error *err);

/*
 * The state as bytes, in pieces, so that a large one needs no second copy: 'write' is called in
 * order until all is written or it returns negative (which is returned).
 */
int mr_pipeline_save(const struct mr_pipeline *pipeline,
		     int (*write)(void *arg, const void *bytes, size_t count), void *arg);
/* The reverse, into a new pipeline. 'read' fills all 'count' bytes. -EBADMSG: not a state of this
 * program (all of it is checked: it comes from a disk); the pipeline must be freed then. */
int mr_pipeline_load(struct mr_pipeline *pipeline,
		     int (*read)(void *arg, void *bytes, size_t count), void *arg,
		     struct mr_error *err);

/* ---- looking at it ----------------------------------------------------------------------------
 */

struct mr_pipeline_key {
	int64_t time_ms;     /* of the newest kept value */
	double value;	     /* of the last kept record */
	uint64_t offset;     /* its input offset */
	uint32_t raised;     /* alerts, bit i */
	const void *windows; /* its block: mr_window_block_sample() */
	double results[MR_WINDOWS_MAX];
	uint64_t dropped[MR_CLEAN_VERDICTS];
	uint64_t bytes; /* of its state */
};
/* False: no such key now. */
bool mr_pipeline_find(const struct mr_pipeline *pipeline, const void *key, int32_t key_bytes,
		      struct mr_pipeline_key *out);

/*
 * What became of one record, for `explain` and `test`: called, if set, for each record after it was
 * done. 'key' is NULL where it was rejected.
 */
struct mr_pipeline_trace {
	const struct mr_message *message;
	struct mr_parsed parsed;
	enum mr_parse_reason reason;
	enum mr_clean_verdict verdict;
	uint32_t raised, cleared; /* alerts, bit i, now */
	const struct mr_pipeline_key *key;
};
void mr_pipeline_set_trace(struct mr_pipeline *pipeline,
			   void (*trace)(void *arg, const struct mr_pipeline_trace *trace),
			   void *arg);

#endif
