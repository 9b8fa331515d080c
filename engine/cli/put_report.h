/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `millrace put` tells: how far it is, and at the end what became of the records. No engine,
 * no clock; owned by one thread.
 */
#ifndef MR_PUT_REPORT_H
#define MR_PUT_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

#define MR_PUT_BAD_LINES_SHOWN 5

/* Where the records of one partition went, as far as receipts told. */
struct mr_put_partition {
	uint64_t records;      /* acknowledged */
	uint64_t unknown;      /* of those, with an offset that is not known */
	uint64_t first_offset; /* MR_OFFSET_UNKNOWN: none is known */
	uint64_t last_offset;
};

struct mr_put_report {
	const char *topic; /* borrowed */
	enum mr_acks acks;
	bool terminal; /* progress is shown */
	bool shown;    /* a line of progress stands there */
	bool stopped;  /* by a signal, before the end of the input */
	uint64_t published;
	uint64_t acknowledged;
	uint64_t lost;
	uint64_t bad; /* lines left out */
	uint64_t elapsed_ns;
	uint64_t due_ns;		     /* when progress is shown next */
	struct mr_put_partition *partitions; /* owned; by number */
	uint32_t partition_count;
};

void mr_put_report_init(struct mr_put_report *report, const char *topic, enum mr_acks acks,
			bool terminal);
void mr_put_report_deinit(struct mr_put_report *report);

void mr_put_report_receipt(struct mr_put_report *report, const struct mr_receipt *receipt);

/* A line that was left out: the first few are shown, all are counted. */
void mr_put_report_bad(struct mr_put_report *report, const struct mr_error *err);

/* On a terminal: shows how far it is, twice a second, on one line that is written over. */
void mr_put_report_progress(struct mr_put_report *report, uint64_t now_ns);
void mr_put_report_end_progress(struct mr_put_report *report); /* leaves that line */

void mr_put_report_print(const struct mr_put_report *report, FILE *out);
void mr_put_report_json(const struct mr_put_report *report, FILE *out); /* the same, one object */

#endif
