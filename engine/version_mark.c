/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks of versions (version_mark.h). JSON by jansson.
 */
#include "version_mark.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "pipelines.h"
#include "topics.h"

/* int16 version 0, int16 type, big endian. Kafka's own types are small numbers. */
static const uint8_t control_key[4] = {0, 0, 0x4d, 0x56};

static char *mark_to_text(const struct mr_version_mark *mark)
{
	char id[33], *text;
	json_t *json;

	mr_topic_id_text(mark->pipeline_id, id);
	json = json_pack("{s:s, s:I, s:s}", "pipeline", id, "version",
			 (json_int_t)mark->version + 1, "text", mark->text);
	if (json && mark->weights)
		json_object_set(json, "weights", (json_t *)mark->weights);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

static int encode(const char *text, size_t length, int64_t now_ms, size_t room, uint8_t *batch,
		  uint32_t *bytes, struct mr_error *err)
{
	static const struct mr_batch_identity identity = {
		.attributes = MR_BATCH_CONTROL,
		.producer_id = -1,
		.producer_epoch = -1,
		.base_sequence = -1,
	};
	struct mr_batch_writer writer;
	int r;

	mr_batch_begin(&writer, batch, room);
	r = mr_batch_add(&writer, now_ms, control_key, sizeof(control_key), text, (int32_t)length,
			 NULL, 0, 0);
	if (r < 0)
		return mr_error_set(err, r, "a version of a pipeline does not fit into a batch");
	*bytes = (uint32_t)mr_batch_end(&writer, &identity);
	return 0;
}

int mr_version_mark_encode(const struct mr_version_mark *mark, int64_t now_ms, size_t bytes_max,
			   uint8_t **batch, uint32_t *bytes, struct mr_error *err)
{
	char *text = mark_to_text(mark);
	size_t length = text ? strlen(text) : 0;
	size_t room =
		MR_BATCH_HEADER_BYTES + mr_batch_record_bytes_max(sizeof(control_key) + length);
	int r;

	*batch = text && room <= bytes_max ? malloc(room) : NULL;
	if (*batch) {
		r = encode(text, length, now_ms, room, *batch, bytes, err);
	} else if (room > bytes_max) {
		r = mr_error_set(err, -EMSGSIZE,
				 "the rule takes %zu bytes with its weights, and a batch has %zu",
				 room, bytes_max);
		mr_error_hint(err, "raise record_bytes_max on all hosts, or make the rule shorter");
	} else {
		r = mr_error_set(err, -ENOMEM, "no memory for a version of a pipeline");
	}
	free(text);
	if (r < 0) {
		free(*batch);
		*batch = NULL;
	}
	return r;
}

int mr_version_mark_read(const struct mr_message *message, struct mr_version_mark *out)
{
	json_int_t version;
	const char *id;

	memset(out, 0, sizeof(*out));
	if (message->key_bytes != sizeof(control_key) ||
	    memcmp(message->key, control_key, sizeof(control_key)) != 0)
		return -ENOENT;
	if (message->value_bytes > 0)
		out->json = json_loadb(message->value, (size_t)message->value_bytes, 0, NULL);
	if (!out->json)
		return -EBADMSG;
	if (json_unpack(out->json, "{s:s, s:I, s:s}", "pipeline", &id, "version", &version, "text",
			&out->text) < 0 ||
	    mr_topic_id_parse(id, out->pipeline_id) < 0 || version < 2 ||
	    version > MR_PIPELINE_VERSIONS_MAX) {
		mr_version_mark_deinit(out);
		return -EBADMSG;
	}
	out->version = (uint32_t)version - 1;
	out->weights = json_object_get(out->json, "weights");
	if (out->weights && !json_is_object(out->weights)) {
		mr_version_mark_deinit(out);
		return -EBADMSG;
	}
	return 0;
}

void mr_version_mark_deinit(struct mr_version_mark *mark)
{
	json_decref(mark->json);
	memset(mark, 0, sizeof(*mark));
}
