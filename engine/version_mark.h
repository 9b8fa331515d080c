/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a version of a pipeline begins: a mark in the log of its input, one for each partition. It
 * is a control batch of one record, which consumers pass over (KIP-98 has the form: the key is a
 * version and a type, both int16; who does not know the type passes it over as well). Its value is
 * JSON and holds the version itself, so that whoever has the log can go on by it:
 *
 *	{"pipeline": ID, "version": 2, "text": "...", "weights": {...}}
 *
 * So a version is replicated, cut and kept as the records around it are, and all hosts change from
 * one to the next between the same two records. The first mark of a version in a log counts.
 */
#ifndef MR_VERSION_MARK_H
#define MR_VERSION_MARK_H

#include <stdint.h>

#include "error.h"
#include "millrace.h"

struct json_t;

struct mr_version_mark {
	uint8_t pipeline_id[16];
	uint32_t version; /* of definition->versions: 1 or more; people count from 1 */
	const char *text;
	const struct json_t *weights; /* NULL: none */
	struct json_t *json; /* owned: 'text' and 'weights' lie in it; NULL: the caller's */
};

/* As a batch of at most 'bytes_max'; '*batch' is the caller's to free. -EMSGSIZE, -ENOMEM. */
int mr_version_mark_encode(const struct mr_version_mark *mark, int64_t now_ms, size_t bytes_max,
			   uint8_t **batch, uint32_t *bytes, struct mr_error *err);
/*
 * Of a control batch's record. -ENOENT: it is of another kind; -EBADMSG: it makes no sense. Only
 * after 0 there is something to deinit.
 */
int mr_version_mark_read(const struct mr_message *message, struct mr_version_mark *out);
void mr_version_mark_deinit(struct mr_version_mark *mark);

#endif
