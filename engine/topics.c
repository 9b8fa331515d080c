/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of topics (topics.h). JSON by jansson; every byte read back is checked before it is
 * used.
 */
#include "topics.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crc32c.h"

#define CATALOG_FILE	  "catalog"
#define CATALOG_BYTES_MAX (64u << 20)
#define CATALOG_VERSION	  2
#define CATALOG_VERSION_1 1 /* all topics on disk, all tails alike */

void mr_topic_id_text(const uint8_t id[16], char text[33])
{
	int i;

	for (i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static int parse_id(const char *text, uint8_t id[16])
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	if (strlen(text) != 32)
		return -EBADMSG;
	for (i = 0; i < 16; i++) {
		const char *high = strchr(digits, text[2 * i]);
		const char *low = strchr(digits, text[2 * i + 1]);

		if (!high || !low)
			return -EBADMSG;
		id[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return 0;
}

void mr_topic_directory(const uint8_t id[16], char path[64])
{
	char text[33];

	mr_topic_id_text(id, text);
	snprintf(path, 64, "topics/%s", text);
}

void mr_topic_partition_directory(const uint8_t id[16], int32_t partition, char path[80])
{
	char text[33];

	mr_topic_id_text(id, text);
	snprintf(path, 80, "topics/%s/%" PRId32, text, partition);
}

int mr_topic_check_name(const char *name, struct mr_error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t length = strlen(name), good = strspn(name, allowed);

	if (length == 0 || length > MR_TOPIC_NAME_MAX)
		return mr_error_set(err, -EINVAL, "topic name of %zu bytes: 1 to %u are allowed",
				    length, MR_TOPIC_NAME_MAX);
	if (good != length)
		return mr_error_set(
			err, -EINVAL,
			"topic name '%.60s' has byte 0x%02x at place %zu: letters, digits, "
			"'.', '_' and '-' are allowed",
			name, (unsigned char)name[good], good);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return mr_error_set(err, -EINVAL, "topic name '%s' is not allowed", name);
	return 0;
}

/* Index of the first topic whose name is not below 'name'. */
static size_t place_of(const struct mr_topics *topics, const char *name)
{
	size_t low = 0, high = topics->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(topics->topics[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct mr_topic *mr_topics_find(const struct mr_topics *topics, const char *name)
{
	size_t place = place_of(topics, name);

	if (place < topics->count && !strcmp(topics->topics[place]->name, name))
		return topics->topics[place];
	return NULL;
}

struct mr_topic *mr_topics_find_id(const struct mr_topics *topics, const uint8_t id[16])
{
	size_t i;

	for (i = 0; i < topics->count; i++)
		if (!memcmp(topics->topics[i]->id, id, 16))
			return topics->topics[i];
	return NULL;
}

int mr_topics_add(struct mr_topics *topics, struct mr_topic *topic, struct mr_error *err)
{
	size_t place = place_of(topics, topic->name);
	struct mr_topic **grown;

	if (place < topics->count && !strcmp(topics->topics[place]->name, topic->name))
		return mr_error_set(err, -EEXIST, "topic '%s' is there already", topic->name);
	grown = realloc(topics->topics, (topics->count + 1) * sizeof(*grown));
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory for topic '%s'", topic->name);
	topics->topics = grown;
	memmove(grown + place + 1, grown + place, (topics->count - place) * sizeof(*grown));
	grown[place] = topic;
	topics->count++;
	return 0;
}

void mr_topics_take(struct mr_topics *topics, struct mr_topic *topic)
{
	size_t place = place_of(topics, topic->name);

	mr_assert(place < topics->count);
	mr_assert(topics->topics[place] == topic);
	topics->count--;
	memmove(topics->topics + place, topics->topics + place + 1,
		(topics->count - place) * sizeof(*topics->topics));
}

void mr_topics_deinit(struct mr_topics *topics)
{
	size_t i;

	for (i = 0; i < topics->count; i++)
		free(topics->topics[i]);
	free(topics->topics);
	memset(topics, 0, sizeof(*topics));
}

/* ---- the file
 * ---------------------------------------------------------------------------------------- */

static json_t *topic_to_json(const struct mr_topic *topic)
{
	char id[33];

	mr_topic_id_text(topic->id, id);
	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:s, s:I}", "name", topic->name, "id",
			 id, "partitions", (int)topic->partition_count, "created_ms",
			 (json_int_t)topic->created_ms, "retention_bytes",
			 (json_int_t)topic->retention_bytes, "retention_ms",
			 (json_int_t)topic->retention_ms, "segment_bytes",
			 (json_int_t)topic->segment_bytes, "storage",
			 mr_config_storage_word(topic->storage), "tail_bytes",
			 (json_int_t)topic->tail_bytes);
}

/* What version 2 has more. */
static int storage_from_json(const json_t *row, struct mr_topic *topic)
{
	json_int_t tail_bytes;
	const char *storage;

	if (json_unpack((json_t *)row, "{s:s, s:I}", "storage", &storage, "tail_bytes",
			&tail_bytes) < 0)
		return -EBADMSG;
	if (tail_bytes < 0 || (tail_bytes & (tail_bytes - 1)))
		return -EBADMSG;
	topic->tail_bytes = (uint64_t)tail_bytes;
	return mr_config_storage_parse(storage, &topic->storage);
}

static int topic_from_json(const json_t *row, json_int_t version, struct mr_topic **out,
			   struct mr_error *err)
{
	json_int_t created, bytes, age, segment;
	const char *name, *id;
	struct mr_topic *topic;
	json_error_t why;
	int partitions;

	if (json_unpack_ex((json_t *)row, &why, 0, "{s:s, s:s, s:i, s:I, s:I, s:I, s:I}", "name",
			   &name, "id", &id, "partitions", &partitions, "created_ms", &created,
			   "retention_bytes", &bytes, "retention_ms", &age, "segment_bytes",
			   &segment) < 0)
		return mr_error_set(err, -EBADMSG, "file '" CATALOG_FILE "': a topic's entry: %s",
				    why.text);
	if (mr_topic_check_name(name, err) < 0)
		return -EBADMSG;
	topic = calloc(1, sizeof(*topic));
	if (!topic)
		return mr_error_set(err, -ENOMEM, "no memory for topic '%s'", name);
	snprintf(topic->name, sizeof(topic->name), "%s", name);
	topic->partition_count = partitions;
	topic->created_ms = created;
	topic->retention_bytes = (uint64_t)bytes;
	topic->retention_ms = (uint64_t)age;
	topic->segment_bytes = (uint64_t)segment;
	if (parse_id(id, topic->id) < 0 || partitions < 1 || partitions > MR_PARTITIONS_MAX ||
	    bytes < 0 || age < 0 || segment < 0 ||
	    (version != CATALOG_VERSION_1 && storage_from_json(row, topic) < 0)) {
		free(topic);
		return mr_error_set(err, -EBADMSG,
				    "file '" CATALOG_FILE "': topic '%s' has values out of bounds",
				    name);
	}
	*out = topic;
	return 0;
}

static int read_topics(const json_t *root, struct mr_topics *out, struct mr_error *err)
{
	const json_t *rows = json_object_get(root, "topics");
	json_int_t version = json_integer_value(json_object_get(root, "version"));
	size_t i;
	int r = 0;

	if (version < CATALOG_VERSION_1 || version > CATALOG_VERSION || !json_is_array(rows))
		return mr_error_set(err, -EBADMSG,
				    "file '" CATALOG_FILE "': version %lld, expected %d to %d",
				    (long long)version, CATALOG_VERSION_1, CATALOG_VERSION);
	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		struct mr_topic *topic = NULL;

		r = topic_from_json(json_array_get(rows, i), version, &topic, err);
		if (r == 0)
			r = mr_topics_add(out, topic, err);
		if (r < 0)
			free(topic);
	}
	return r;
}

/* The file is TEXT "\n" 8 hex digits "\n". */
static int check_sum(const char *text, size_t bytes, size_t *length, struct mr_error *err)
{
	const char *end = memchr(text, '\n', bytes);
	char expected[9];

	if (!end || (size_t)(text + bytes - end) != 10 || text[bytes - 1] != '\n')
		return mr_error_set(err, -EBADMSG, "file '" CATALOG_FILE "' is cut: %zu bytes",
				    bytes);
	*length = (size_t)(end - text);
	snprintf(expected, sizeof(expected), "%08x", mr_crc32c(0, text, *length));
	if (memcmp(expected, end + 1, 8) != 0)
		return mr_error_set(err, -EBADMSG,
				    "file '" CATALOG_FILE "' has crc %.8s, computed %s", end + 1,
				    expected);
	return 0;
}

int mr_topics_load(struct mr_io *io, struct mr_topics *out, struct mr_error *err)
{
	size_t bytes, length = 0;
	void *text = NULL;
	json_t *root = NULL;
	json_error_t why;
	int r;

	memset(out, 0, sizeof(*out));
	r = mr_io_load(io, CATALOG_FILE, CATALOG_BYTES_MAX, &text, &bytes, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = check_sum(text, bytes, &length, err);
	if (r == 0) {
		root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
		r = root ? read_topics(root, out, err)
			 : mr_error_set(err, -EBADMSG, "file '" CATALOG_FILE "': %s", why.text);
	}
	json_decref(root);
	free(text);
	if (r < 0)
		mr_topics_deinit(out);
	return r;
}

int mr_topics_save(struct mr_io *io, const struct mr_topics *topics, struct mr_error *err)
{
	json_t *rows = json_array();
	json_t *root = json_pack("{s:i, s:o}", "version", CATALOG_VERSION, "topics", rows);
	char *json, *text = NULL;
	size_t i;
	int r;

	for (i = 0; i < topics->count; i++)
		json_array_append_new(rows, topic_to_json(topics->topics[i]));
	json = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (!json)
		return mr_error_set(err, -ENOMEM, "no memory for the catalogue of topics");
	r = asprintf(&text, "%s\n%08x\n", json, mr_crc32c(0, json, strlen(json)));
	free(json);
	if (r < 0)
		return mr_error_set(err, -ENOMEM, "no memory for the catalogue of topics");
	r = mr_io_replace(io, CATALOG_FILE, text, (size_t)r, err);
	free(text);
	return r;
}
