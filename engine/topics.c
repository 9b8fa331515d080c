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

#include "base/catalogue_file.h"
#include "base/nearest.h"
#include "check.h"
#include "replica/coord.h"

#define CATALOG_FILE	  "catalog"
#define CATALOG_BYTES_MAX (64u << 20)
#define CATALOG_VERSION	  3
#define CATALOG_VERSION_2 2 /* no replicas */
#define CATALOG_VERSION_1 1 /* all topics on disk, all tails alike */

static const struct mr_catalogue_file catalog = {.path = CATALOG_FILE,
						 .rows = "topics",
						 .bytes_max = CATALOG_BYTES_MAX,
						 .version_oldest = CATALOG_VERSION_1,
						 .version = CATALOG_VERSION};

void mr_topic_id_text(const uint8_t id[16], char text[33])
{
	int i;

	for (i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

int mr_topic_id_parse(const char *text, uint8_t id[16])
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

bool mr_topics_hint_nearest(const struct mr_topics *topics, const char *name, struct mr_error *err)
{
	struct mr_nearest nearest;

	mr_nearest_begin(&nearest, name, strlen(name));
	for (size_t i = 0; i < topics->count; i++)
		if (strncmp(topics->topics[i]->name, "__", 2) != 0)
			mr_nearest_offer(&nearest, topics->topics[i]->name,
					 strlen(topics->topics[i]->name));
	return mr_nearest_hint(&nearest, err);
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
	free(topics->deleted);
	memset(topics, 0, sizeof(*topics));
}

/* ---- replicas ------------------------------------------------------------------------------- */

uint32_t mr_topic_leader(const struct mr_topic *topic, int32_t partition)
{
	uint64_t left = topic->replicas;
	uint32_t turn;

	mr_assert(left != 0);
	if (topic->leaders != MR_TOPIC_LEADERS_SPREAD)
		return (uint32_t)topic->leaders;
	turn = (uint32_t)partition % (uint32_t)__builtin_popcountll(left);
	while (turn-- > 0)
		left &= left - 1;
	return (uint32_t)__builtin_ctzll(left);
}

bool mr_topics_is_deleted(const struct mr_topics *topics, const uint8_t id[16])
{
	size_t i;

	for (i = 0; i < topics->deleted_count; i++)
		if (!memcmp(topics->deleted[i].id, id, 16))
			return true;
	return false;
}

int mr_topics_note_deleted(struct mr_topics *topics, const struct mr_topic_deleted *deleted)
{
	struct mr_topic_deleted *grown;

	if (!deleted->replicas || mr_topics_is_deleted(topics, deleted->id))
		return 0;
	if (topics->deleted_count == MR_TOPICS_DELETED_MAX) {
		topics->deleted_count--;
		memmove(topics->deleted, topics->deleted + 1,
			topics->deleted_count * sizeof(*topics->deleted));
	}
	grown = realloc(topics->deleted, (topics->deleted_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	topics->deleted = grown;
	grown[topics->deleted_count++] = *deleted;
	return 0;
}

void mr_topics_forget_deleted(struct mr_topics *topics, const uint8_t id[16])
{
	size_t i = 0;

	while (i < topics->deleted_count && memcmp(topics->deleted[i].id, id, 16) != 0)
		i++;
	if (i == topics->deleted_count)
		return;
	topics->deleted_count--;
	memmove(topics->deleted + i, topics->deleted + i + 1,
		(topics->deleted_count - i) * sizeof(*topics->deleted));
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A set of nodes as the list of their numbers. */
static json_t *nodes_to_json(uint64_t nodes)
{
	json_t *list = json_array();

	for (; nodes; nodes &= nodes - 1)
		json_array_append_new(list, json_integer(__builtin_ctzll(nodes)));
	return list;
}

static int nodes_from_json(const json_t *list, uint64_t *nodes)
{
	size_t i;

	*nodes = 0;
	if (!json_is_array(list))
		return -EBADMSG;
	for (i = 0; i < json_array_size(list); i++) {
		const json_t *number = json_array_get(list, i);
		json_int_t node = json_integer_value(number);

		if (!json_is_integer(number) || node < 0 || node >= MR_NODES_MAX ||
		    (*nodes & UINT64_C(1) << node))
			return -EBADMSG;
		*nodes |= UINT64_C(1) << node;
	}
	return 0;
}

json_t *mr_topic_to_json(const struct mr_topic *topic)
{
	char id[33];
	json_t *row;

	mr_topic_id_text(topic->id, id);
	row = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:s, s:I}", "name", topic->name, "id",
			id, "partitions", (int)topic->partition_count, "created_ms",
			(json_int_t)topic->created_ms, "retention_bytes",
			(json_int_t)topic->retention_bytes, "retention_ms",
			(json_int_t)topic->retention_ms, "segment_bytes",
			(json_int_t)topic->segment_bytes, "storage",
			mr_config_storage_word(topic->storage), "tail_bytes",
			(json_int_t)topic->tail_bytes);
	if (row && topic->compression != MR_CONFIG_COMPRESSION_NONE)
		json_object_set_new(row, "compression",
				    json_string(mr_config_compression_word(topic->compression)));
	if (!row || !mr_topic_replicated(topic))
		return row;
	json_object_set_new(row, "replicas", nodes_to_json(topic->replicas));
	json_object_set_new(row, "min_insync_replicas",
			    json_integer((json_int_t)topic->min_insync_replicas));
	json_object_set_new(row, "leaders",
			    topic->leaders == MR_TOPIC_LEADERS_SPREAD
				    ? json_string("spread")
				    : json_integer(topic->leaders));
	return row;
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

/*
 * Nothing of it: none. It needs no version of its own: who does not know it keeps the batches as
 * they are, and makes new ones without.
 */
static int compression_from_json(const json_t *row, struct mr_topic *topic)
{
	const json_t *word = json_object_get(row, "compression");

	if (!word)
		return 0;
	if (!json_is_string(word))
		return -EBADMSG;
	return mr_config_compression_parse(json_string_value(word), &topic->compression, NULL);
}

/* What version 3 has more; nothing of it: this host alone. */
static int replicas_from_json(const json_t *row, struct mr_topic *topic)
{
	const json_t *leaders = json_object_get(row, "leaders");
	const json_t *least = json_object_get(row, "min_insync_replicas");

	topic->min_insync_replicas = 1;
	topic->leaders = MR_TOPIC_LEADERS_SPREAD;
	if (!json_object_get(row, "replicas"))
		return leaders || least ? -EBADMSG : 0;
	if (nodes_from_json(json_object_get(row, "replicas"), &topic->replicas) < 0 ||
	    !topic->replicas || topic->storage == MR_CONFIG_STORAGE_MEMORY)
		return -EBADMSG;
	if (!json_is_integer(least) || json_integer_value(least) < 1 ||
	    json_integer_value(least) > __builtin_popcountll(topic->replicas))
		return -EBADMSG;
	topic->min_insync_replicas = (uint32_t)json_integer_value(least);
	if (json_is_string(leaders))
		return strcmp(json_string_value(leaders), "spread") == 0 ? 0 : -EBADMSG;
	if (!json_is_integer(leaders) || json_integer_value(leaders) < 0 ||
	    json_integer_value(leaders) >= MR_NODES_MAX ||
	    !(topic->replicas & UINT64_C(1) << json_integer_value(leaders)))
		return -EBADMSG;
	topic->leaders = (int32_t)json_integer_value(leaders);
	return 0;
}

static int read_topic(const json_t *row, json_int_t version, struct mr_topic **out,
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
		return mr_error_set(err, -EBADMSG, "a topic's entry makes no sense: %s", why.text);
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
	if (mr_topic_id_parse(id, topic->id) < 0 || partitions < 1 ||
	    partitions > MR_PARTITIONS_MAX || bytes < 0 || age < 0 || segment < 0 ||
	    (version > CATALOG_VERSION_1 && storage_from_json(row, topic) < 0) ||
	    compression_from_json(row, topic) < 0 || replicas_from_json(row, topic) < 0 ||
	    (version < CATALOG_VERSION && mr_topic_replicated(topic))) {
		free(topic);
		return mr_error_set(err, -EBADMSG, "topic '%s' has values out of bounds", name);
	}
	*out = topic;
	return 0;
}

int mr_topic_from_json(const json_t *row, struct mr_topic **out, struct mr_error *err)
{
	return read_topic(row, CATALOG_VERSION, out, err);
}

json_t *mr_topic_deleted_to_json(const struct mr_topic_deleted *deleted)
{
	char id[33];

	mr_topic_id_text(deleted->id, id);
	return json_pack("{s:s, s:o, s:I}", "id", id, "replicas", nodes_to_json(deleted->replicas),
			 "deleted_ms", (json_int_t)deleted->deleted_ms);
}

int mr_topic_deleted_from_json(const json_t *row, struct mr_topic_deleted *out)
{
	const char *id;
	json_t *nodes;
	json_int_t at;

	if (json_unpack((json_t *)row, "{s:s, s:o, s:I}", "id", &id, "replicas", &nodes,
			"deleted_ms", &at) < 0 ||
	    mr_topic_id_parse(id, out->id) < 0 || nodes_from_json(nodes, &out->replicas) < 0)
		return -EBADMSG;
	out->deleted_ms = at;
	return 0;
}

static int read_deleted(const json_t *rows, struct mr_topics *out, struct mr_error *err)
{
	size_t i;

	for (i = 0; i < json_array_size(rows); i++) {
		struct mr_topic_deleted deleted;

		if (mr_topic_deleted_from_json(json_array_get(rows, i), &deleted) < 0)
			return mr_error_set(err, -EBADMSG,
					    "file '" CATALOG_FILE "': a deleted topic's entry");
		if (mr_topics_note_deleted(out, &deleted) < 0)
			return mr_error_set(err, -ENOMEM, "no memory for deleted topics");
	}
	return 0;
}

/* What only version 3 has: rows that may be missing. */
static int read_cluster(const json_t *root, struct mr_topics *out, struct mr_error *err)
{
	const json_t *met = json_object_get(root, "met");
	const json_t *lost = json_object_get(root, "lost");
	size_t i;

	if (met && nodes_from_json(met, &out->met) < 0)
		return mr_error_set(err, -EBADMSG,
				    "file '" CATALOG_FILE "': its list of hosts met");
	for (i = 0; i < json_array_size(lost); i++) {
		const char *name = json_string_value(json_array_get(lost, i));
		struct mr_topic *topic = name ? mr_topics_find(out, name) : NULL;

		if (!topic)
			return mr_error_set(err, -EBADMSG,
					    "file '" CATALOG_FILE "': its list of lost topics");
		topic->lost = true;
	}
	return read_deleted(json_object_get(root, "deleted"), out, err);
}

static int read_topics(const json_t *root, struct mr_topics *out, struct mr_error *err)
{
	const json_t *rows = json_object_get(root, "topics");
	json_int_t version = json_integer_value(json_object_get(root, "version"));
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		struct mr_topic *topic = NULL;

		r = read_topic(json_array_get(rows, i), version, &topic, err);
		if (r == 0)
			r = mr_topics_add(out, topic, err);
		if (r < 0) {
			free(topic);
			mr_error_prefix(err, "file '" CATALOG_FILE "': ");
		}
	}
	return r < 0 ? r : read_cluster(root, out, err);
}

int mr_topics_load(struct mr_io *io, struct mr_topics *out, struct mr_error *err)
{
	json_t *root;
	int r;

	memset(out, 0, sizeof(*out));
	r = mr_catalogue_file_load(&catalog, io, &root, err);
	if (r < 0 || !root)
		return r;
	r = read_topics(root, out, err);
	json_decref(root);
	if (r < 0)
		mr_topics_deinit(out);
	return r;
}

static void add_cluster(json_t *root, const struct mr_topics *topics)
{
	json_t *lost = json_array(), *rows = json_array();
	size_t i;

	for (i = 0; i < topics->count; i++)
		if (topics->topics[i]->lost)
			json_array_append_new(lost, json_string(topics->topics[i]->name));
	for (i = 0; i < topics->deleted_count; i++)
		json_array_append_new(rows, mr_topic_deleted_to_json(&topics->deleted[i]));
	json_object_set_new(root, "met", nodes_to_json(topics->met));
	json_object_set_new(root, "lost", lost);
	json_object_set_new(root, "deleted", rows);
}

int mr_topics_save(struct mr_io *io, const struct mr_topics *topics, struct mr_error *err)
{
	json_t *rows = json_array();
	json_t *root = json_pack("{s:i, s:o}", "version", CATALOG_VERSION, "topics", rows);
	size_t i;

	for (i = 0; i < topics->count; i++)
		json_array_append_new(rows, mr_topic_to_json(topics->topics[i]));
	add_cluster(root, topics);
	return mr_catalogue_file_save(&catalog, io, root, err);
}
