/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline as a person writes it: a small YAML file, read and checked as a whole before anything
 * runs. What is here is plain data; pipeline.h makes it run.
 *
 *	pipeline: hot-press
 *	input: sensors
 *	parse: json                  # json | csv | line-protocol | number | raw, or a map:
 *	                             # {format: csv, columns: [ts, temp], delimiter: ";"},
 *	                             # {format: raw, fields: ["id: text:16 @ 0", "temp: f64 @ 16"],
 *	                             # endian: little}
 *	key: $.machine
 *	time: $.ts                   # or {path: $.ts, unit: s | ms | us | ns}
 *	value: $.temp
 *	clean: {range: [-40, 200], drop: [missing, duplicate, unchanged], max_late: 5s, spike: 6mad}
 *	windows:
 *	  avg:  {fn: weighted_average, last: 16, weights: linear | exponential | fitted | [4, 2, 1]}
 *	  next: {fn: interpolate, last: 8}
 *	  peak: {fn: max, last: 60s}
 *	  busy: {fn: quantile, quantile: 0.9, each: 5m}        # tumbling
 *	alert:
 *	  - {name: hot, when: "avg > 90 for 3", clear: "avg < 85", severity: critical,
 *	     exec: "/usr/bin/logger hot", webhook: "https://..."}
 *	output: sensors.knowledge    # or {topic: ..., format: json | packed, alerts: ..., rejected:
 *..., #     storage: log | memory} limits: {keys: 1000000, bytes: 1GiB, idle: 7d, samples: 65536}
 */
#ifndef MR_RULE_H
#define MR_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "clean.h"
#include "error.h"
#include "millrace/format.h"
#include "parse.h"
#include "window.h"

#define MR_RULE_NAME_MAX   63
#define MR_RULE_ALERTS_MAX 32
#define MR_RULE_TEXT_MAX   1023	       /* of a condition, a command, an address */
#define MR_RULE_FILE_MAX   (48u << 10) /* to the engine it goes in one message */
#define MR_RULE_EXEC_WORDS 32

enum mr_rule_weights {
	MR_RULE_WEIGHTS_NONE,
	MR_RULE_WEIGHTS_LINEAR,	     /* K, K - 1, ..., 1 from the newest on */
	MR_RULE_WEIGHTS_EXPONENTIAL, /* 1, 1/2, 1/4, ... from the newest on */
	MR_RULE_WEIGHTS_GIVEN,
	MR_RULE_WEIGHTS_FITTED, /* by `millrace fit`; until they are set, spec.weights is NULL */
};

enum mr_rule_severity { MR_RULE_INFO, MR_RULE_WARNING, MR_RULE_CRITICAL };
enum mr_rule_output { MR_RULE_JSON, MR_RULE_PACKED };

struct mr_rule_window {
	char name[32];
	enum mr_rule_weights kind;
	struct mr_window_spec spec; /* its weights point into 'weights' */
	double *weights;	    /* owned */
	uint32_t line;
};

struct mr_rule_alert {
	char name[32];
	enum mr_rule_severity severity;
	char when[MR_RULE_TEXT_MAX + 1];
	char clear[MR_RULE_TEXT_MAX + 1]; /* "": it clears when 'when' is false */
	char exec[MR_RULE_TEXT_MAX + 1];  /* split at spaces and quotes, no shell; "": none */
	char webhook[MR_RULE_TEXT_MAX + 1];
	int64_t every_ms; /* actions at most this often for a key; default 1 s */
	uint32_t line;
};

struct mr_rule {
	char name[MR_RULE_NAME_MAX + 1];
	char input[MR_TOPIC_NAME_MAX + 1];
	struct mr_parse_spec parse; /* with key, time and value */
	struct mr_clean_spec clean;
	struct mr_rule_window windows[MR_WINDOWS_MAX];
	uint32_t window_count;
	struct mr_rule_alert alerts[MR_RULE_ALERTS_MAX];
	uint32_t alert_count;
	enum mr_rule_output format;
	char output[MR_TOPIC_NAME_MAX + 1];
	char alerts_topic[MR_TOPIC_NAME_MAX + 1];   /* by default the output's name with its last
						       part, if that is "knowledge", replaced by
						       "alerts"; else with ".alerts" added */
	char rejected_topic[MR_TOPIC_NAME_MAX + 1]; /* by default <output>.rejected */
	bool output_in_memory;
	uint64_t keys_max;    /* of a partition's state; the key quiet for longest goes first */
	uint64_t bytes_max;   /* the same */
	int64_t idle_ms;      /* by event time; 0: keys are kept however long they are quiet */
	uint32_t samples_max; /* of a key: beyond it windows by time lose their oldest early */
};

/*
 * Reads a file's bytes. 'file' is its name in messages. -EINVAL: err->what begins "FILE:LINE: ",
 * says what was found and what was expected; err->hint has the nearest valid word. Every expression
 * was compiled once, and the windows make a plan.
 */
int mr_rule_read(const void *bytes, size_t count, const char *file, struct mr_rule **out,
		 struct mr_error *err);
void mr_rule_free(struct mr_rule *rule); /* takes NULL */

/* A window with weights 'fitted' that has none yet: its index, else -1. */
int mr_rule_unfitted(const struct mr_rule *rule);
/* Newest first, as many as the window's 'last'. -EINVAL. */
int mr_rule_set_weights(struct mr_rule *rule, uint32_t window, const double *weights,
			uint32_t count, struct mr_error *err);

/* 'text' into words as exec has them: into 'buffer' of MR_RULE_TEXT_MAX + 1 bytes, ended by NULL.
 * -EINVAL: an open quote, too many words, none. */
int mr_rule_words(const char *text, char *buffer, char *words[MR_RULE_EXEC_WORDS + 1],
		  struct mr_error *err);

#endif
