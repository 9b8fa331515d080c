/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of pipelines (pipelines.h). JSON by jansson; every byte read back is checked before
 * it is used.
 */
#include "pipelines.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/catalogue_file.h"
#include "check.h"
#include "log/partition.h"
#include "topics.h"

#define PIPELINES_FILE	    "pipelines.json"
#define PIPELINES_BYTES_MAX (256u << 20)
#define PIPELINES_VERSION   2 /* 1: no offset was unknown */
#define PIPELINES_OLDEST    1

static const struct mr_catalogue_file pipelines_file = {.path = PIPELINES_FILE,
							.rows = "pipelines",
							.bytes_max = PIPELINES_BYTES_MAX,
							.version_oldest = PIPELINES_OLDEST,
							.version = PIPELINES_VERSION};

/* ---- one definition -------------------------------------------------------------------------- */

static void free_version(struct mr_definition_version *version)
{
	free(version->text);
	free(version->at);
	json_decref(version->weights);
}

void mr_definition_free(struct mr_definition *definition)
{
	uint32_t i;

	if (!definition)
		return;
	for (i = 0; i < definition->version_count; i++)
		free_version(&definition->versions[i]);
	free(definition->versions);
	free(definition);
}

struct mr_definition *mr_definition_copy(const struct mr_definition *definition)
{
	json_t *row = mr_definition_to_json(definition);
	struct mr_definition *copy = NULL;

	if (row && mr_definition_from_json(row, &copy, NULL) < 0)
		copy = NULL;
	json_decref(row);
	return copy;
}

int mr_definition_add_version(struct mr_definition *definition, const char *text,
			      const json_t *weights, const uint64_t *at, struct mr_error *err)
{
	size_t at_bytes = (size_t)definition->partition_count * sizeof(*at);
	json_t *said = json_string(text);
	struct mr_definition_version *grown, *version;

	if (!said)
		return mr_error_set(err, -EBADMSG, "the rule's text is no UTF-8");
	json_decref(said);
	grown = realloc(definition->versions, (definition->version_count + 1) * sizeof(*grown));
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	definition->versions = grown;
	version = &grown[definition->version_count];
	version->text = strdup(text);
	version->at = malloc(at_bytes);
	version->weights = json_deep_copy(weights); /* counted by one thread only */
	if (!version->text || !version->at) {
		free_version(version);
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	}
	if (at)
		memcpy(version->at, at, at_bytes);
	else
		memset(version->at, 0xff, at_bytes); /* MR_OFFSET_UNKNOWN */
	definition->version_count++;
	return 0;
}

void mr_definition_drop_version(struct mr_definition *definition)
{
	mr_assert(definition->version_count > 0);
	free_version(&definition->versions[--definition->version_count]);
}

bool mr_definition_begins(struct mr_definition *definition, uint32_t version, int32_t partition,
			  uint64_t offset)
{
	uint64_t first = definition->versions[0].at[partition];
	bool news = false;
	uint32_t i;

	if (offset < first)
		offset = first;
	for (i = version; i > 0 && definition->versions[i].at[partition] > offset; i--) {
		definition->versions[i].at[partition] = offset;
		news = true;
	}
	return news;
}

uint32_t mr_definition_pending(const struct mr_definition *definition, int32_t partition)
{
	uint32_t i = definition->version_count;

	while (i > 1 && definition->versions[i - 1].at[partition] == MR_OFFSET_UNKNOWN)
		i--;
	return i;
}

bool mr_definition_same_rule(const struct mr_definition *a, const struct mr_definition *b,
			     uint32_t i)
{
	const struct mr_definition_version *one = &a->versions[i], *two = &b->versions[i];

	return strcmp(one->text, two->text) == 0 &&
	       (one->weights == two->weights ||
		json_equal((json_t *)one->weights, (json_t *)two->weights));
}

/* How many of its versions are the same here, or not here yet. */
static uint32_t count_alike(const struct mr_definition *definition,
			    const struct mr_definition *other)
{
	uint32_t i = 0;

	while (i < other->version_count && i < definition->version_count &&
	       mr_definition_same_rule(definition, other, i))
		i++;
	return i == definition->version_count ? other->version_count : i;
}

static bool has_mark(const struct mr_definition *definition, uint32_t version)
{
	int32_t p;

	for (p = 0; p < definition->partition_count; p++)
		if (definition->versions[version].at[p] != MR_OFFSET_UNKNOWN)
			return true;
	return false;
}

bool mr_definition_unlearn(struct mr_definition *definition, int32_t partition, uint64_t from,
			   uint64_t to)
{
	bool changed = false;
	uint32_t i;

	for (i = 1; i < definition->version_count; i++) {
		uint64_t *at = &definition->versions[i].at[partition];

		/* those that follow it begin no sooner */
		changed |= *at >= from && *at < to;
		if (changed)
			*at = MR_OFFSET_UNKNOWN;
	}
	while (changed && definition->version_count > 1 &&
	       !has_mark(definition, definition->version_count - 1))
		mr_definition_drop_version(definition);
	return changed;
}

int mr_definition_merge(struct mr_definition *definition, const struct mr_definition *other,
			struct mr_error *err)
{
	uint32_t i = definition->version_count, alike = count_alike(definition, other);
	bool news = i < alike;
	int32_t p;
	int r = 0;

	for (; r == 0 && i < alike; i++)
		r = mr_definition_add_version(definition, other->versions[i].text,
					      other->versions[i].weights, NULL, err);
	for (i = 1; r == 0 && i < alike; i++)
		for (p = 0; p < definition->partition_count; p++)
			if (other->versions[i].at[p] != MR_OFFSET_UNKNOWN)
				news |= mr_definition_begins(definition, i, p,
							     other->versions[i].at[p]);
	if (news && !definition->topics[MR_PIPELINE_ALERTS][0])
		memcpy(definition->topics[MR_PIPELINE_ALERTS], other->topics[MR_PIPELINE_ALERTS],
		       sizeof(definition->topics[MR_PIPELINE_ALERTS]));
	return r < 0 ? r : news;
}

uint32_t mr_definition_version_at(const struct mr_definition *definition, int32_t partition,
				  uint64_t offset)
{
	uint32_t i = definition->version_count - 1;

	while (i > 0 && definition->versions[i].at[partition] > offset)
		i--;
	return i;
}

void mr_definition_directory(const struct mr_definition *definition, char path[64])
{
	char text[33];

	mr_topic_id_text(definition->id, text);
	snprintf(path, 64, "pipelines/%s", text);
}

void mr_definition_checkpoint(const struct mr_definition *definition, int32_t partition,
			      char path[80])
{
	char text[33];

	mr_topic_id_text(definition->id, text);
	snprintf(path, 80, "pipelines/%s/%" PRId32, text, partition);
}

/* ---- as something that runs ------------------------------------------------------------------ */

static int set_window_weights(struct mr_rule *rule, uint32_t window, const json_t *list,
			      struct mr_error *err)
{
	size_t count = json_array_size(list), i;
	double *weights = calloc(count ? count : 1, sizeof(*weights));
	int r;

	if (!weights)
		return mr_error_set(err, -ENOMEM, "no memory for weights");
	for (i = 0; i < count; i++)
		weights[i] = json_number_value(json_array_get(list, i));
	r = mr_rule_set_weights(rule, window, weights, (uint32_t)count, err);
	free(weights);
	return r;
}

static int set_weights(struct mr_rule *rule, const json_t *weights, struct mr_error *err)
{
	int window, r = 0;

	while (r == 0 && (window = mr_rule_unfitted(rule)) >= 0) {
		const char *name = rule->windows[window].name;
		const json_t *list = json_object_get(weights, name);

		if (list) {
			r = set_window_weights(rule, (uint32_t)window, list, err);
			continue;
		}
		r = mr_error_set(err, -EINVAL,
				 "pipeline '%s': window '%s' has weights: fitted, and none are "
				 "given",
				 rule->name, name);
		mr_error_why(err, "what is fitted is found on stored records first");
		mr_error_hint(err, "find them with millrace fit, or write them out as a list");
	}
	return r;
}

int mr_pipelines_compile(const char *text, const json_t *weights, const char *file,
			 struct mr_rule **rule, struct mr_program **program, struct mr_error *err)
{
	int r = mr_rule_read(text, strlen(text), file, rule, err);

	if (r < 0)
		return r;
	r = set_weights(*rule, weights, err);
	if (r == 0)
		r = mr_program_new(*rule, program, err);
	if (r < 0) {
		mr_rule_free(*rule);
		*rule = NULL;
	}
	return r;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *version_to_json(const struct mr_definition_version *version, int32_t partitions)
{
	json_t *at = json_array(), *row;
	int32_t p;

	for (p = 0; p < partitions; p++) /* -1: not known */
		json_array_append_new(at, json_integer((json_int_t)version->at[p]));
	row = json_pack("{s:s, s:o}", "text", version->text, "at", at);
	if (row && version->weights)
		json_object_set(row, "weights", version->weights);
	return row;
}

json_t *mr_definition_to_json(const struct mr_definition *definition)
{
	json_t *versions = json_array();
	char id[33], input_id[33];
	uint32_t i;

	for (i = 0; i < definition->version_count; i++)
		json_array_append_new(versions, version_to_json(&definition->versions[i],
								definition->partition_count));
	mr_topic_id_text(definition->id, id);
	mr_topic_id_text(definition->input_id, input_id);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:[s, s, s], s:b, s:I, s:I, s:o}", "name",
		definition->name, "id", id, "input", definition->input, "input_id", input_id,
		"partitions", (int)definition->partition_count, "topics",
		definition->topics[MR_PIPELINE_OUTPUT], definition->topics[MR_PIPELINE_ALERTS],
		definition->topics[MR_PIPELINE_REJECTED], "in_memory", (int)definition->in_memory,
		"producer_id", (json_int_t)definition->producer_id, "created_ms",
		(json_int_t)definition->created_ms, "versions", versions);
}

static bool copy_name(char *out, size_t bytes, const char *text)
{
	return (size_t)snprintf(out, bytes, "%s", text) < bytes;
}

static bool topic_name_fits(const char *text, bool may_be_empty)
{
	return (may_be_empty && !text[0]) || mr_topic_check_name(text, NULL) == 0;
}

static bool read_versions(const json_t *rows, struct mr_definition *definition)
{
	uint64_t *at = calloc((size_t)definition->partition_count, sizeof(*at));
	bool good = at && json_array_size(rows) >= 1 &&
		    json_array_size(rows) <= MR_PIPELINE_VERSIONS_MAX;
	size_t i;

	for (i = 0; good && i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *text = json_string_value(json_object_get(row, "text"));
		json_t *weights = json_object_get(row, "weights");
		const json_t *offsets = json_object_get(row, "at");
		int32_t p;

		good = text && (!weights || json_is_object(weights)) &&
		       json_array_size(offsets) == (size_t)definition->partition_count;
		for (p = 0; good && p < definition->partition_count; p++) {
			const json_t *offset = json_array_get(offsets, (size_t)p);

			at[p] = (uint64_t)json_integer_value(offset);
			good = json_is_integer(offset) &&
			       json_integer_value(offset) >= (i == 0 ? 0 : -1) &&
			       (i == 0 || at[p] >= definition->versions[i - 1].at[p]);
		}
		good = good && mr_definition_add_version(definition, text, weights, at, NULL) == 0;
	}
	free(at);
	return good;
}

static bool read_row(const json_t *row, struct mr_definition *definition)
{
	const char *name, *id, *input, *input_id, *topics[MR_PIPELINE_TOPICS];
	int partitions, in_memory, t;
	json_int_t producer_id, created_ms;
	json_t *versions;

	if (json_unpack((json_t *)row, "{s:s, s:s, s:s, s:s, s:i, s:[s, s, s], s:b, s:I, s:I, s:o}",
			"name", &name, "id", &id, "input", &input, "input_id", &input_id,
			"partitions", &partitions, "topics", &topics[MR_PIPELINE_OUTPUT],
			&topics[MR_PIPELINE_ALERTS], &topics[MR_PIPELINE_REJECTED], "in_memory",
			&in_memory, "producer_id", &producer_id, "created_ms", &created_ms,
			"versions", &versions) < 0)
		return false;
	if (!copy_name(definition->name, sizeof(definition->name), name) || !name[0] ||
	    mr_topic_id_parse(id, definition->id) < 0 ||
	    mr_topic_id_parse(input_id, definition->input_id) < 0 ||
	    !topic_name_fits(input, false) || partitions < 1 || partitions > MR_PARTITIONS_MAX ||
	    producer_id < MR_PRODUCER_ID_FIXED)
		return false;
	copy_name(definition->input, sizeof(definition->input), input);
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (!topic_name_fits(topics[t], t == MR_PIPELINE_ALERTS) ||
		    !copy_name(definition->topics[t], sizeof(definition->topics[t]), topics[t]))
			return false;
	definition->partition_count = partitions;
	definition->in_memory = in_memory;
	definition->producer_id = producer_id;
	definition->created_ms = created_ms;
	return read_versions(versions, definition);
}

int mr_definition_from_json(const json_t *row, struct mr_definition **out, struct mr_error *err)
{
	struct mr_definition *definition = calloc(1, sizeof(*definition));

	if (!definition)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	if (!read_row(row, definition)) {
		mr_definition_free(definition);
		return mr_error_set(err, -EBADMSG,
				    "a pipeline's definition has values out of bounds");
	}
	*out = definition;
	return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct mr_definition *mr_pipelines_find(const struct mr_pipelines *pipelines, const char *name)
{
	size_t i;

	for (i = 0; i < pipelines->count; i++)
		if (strcmp(pipelines->rows[i]->name, name) == 0)
			return pipelines->rows[i];
	return NULL;
}

int mr_pipelines_add(struct mr_pipelines *pipelines, struct mr_definition *definition,
		     struct mr_error *err)
{
	struct mr_definition **grown;
	size_t place = 0;

	if (mr_pipelines_find(pipelines, definition->name))
		return mr_error_set(err, -EEXIST, "pipeline '%s' is there already",
				    definition->name);
	if (pipelines->count >= MR_PIPELINES_MAX) {
		mr_error_set(err, -ENOSPC, "there are %u pipelines already", MR_PIPELINES_MAX);
		return mr_error_hint(err, "remove one: millrace rule remove NAME");
	}
	grown = realloc(pipelines->rows, (pipelines->count + 1) * sizeof(*grown));
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	pipelines->rows = grown;
	while (place < pipelines->count && strcmp(grown[place]->name, definition->name) < 0)
		place++;
	memmove(grown + place + 1, grown + place, (pipelines->count - place) * sizeof(*grown));
	grown[place] = definition;
	pipelines->count++;
	return 0;
}

void mr_pipelines_take(struct mr_pipelines *pipelines, struct mr_definition *definition)
{
	size_t place = 0;

	while (place < pipelines->count && pipelines->rows[place] != definition)
		place++;
	mr_assert(place < pipelines->count);
	pipelines->count--;
	memmove(pipelines->rows + place, pipelines->rows + place + 1,
		(pipelines->count - place) * sizeof(*pipelines->rows));
}

int mr_pipelines_note_removed(struct mr_pipelines *pipelines, const uint8_t id[16])
{
	uint8_t(*grown)[16];

	if (mr_pipelines_is_removed(pipelines, id))
		return 0;
	if (pipelines->removed_count == MR_PIPELINES_REMOVED_MAX) {
		pipelines->removed_count--;
		memmove(pipelines->removed, pipelines->removed + 1,
			pipelines->removed_count * sizeof(*grown));
	}
	grown = realloc(pipelines->removed, (pipelines->removed_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pipelines->removed = grown;
	memcpy(grown[pipelines->removed_count++], id, 16);
	return 0;
}

bool mr_pipelines_is_removed(const struct mr_pipelines *pipelines, const uint8_t id[16])
{
	size_t i;

	for (i = 0; i < pipelines->removed_count; i++)
		if (!memcmp(pipelines->removed[i], id, 16))
			return true;
	return false;
}

static bool writes(const struct mr_definition *definition, const char *topic)
{
	int t;

	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (strcmp(definition->topics[t], topic) == 0)
			return true;
	return false;
}

const struct mr_definition *mr_pipelines_using(const struct mr_pipelines *pipelines,
					       const char *topic)
{
	size_t i;

	for (i = 0; i < pipelines->count; i++)
		if (strcmp(pipelines->rows[i]->input, topic) == 0 ||
		    writes(pipelines->rows[i], topic))
			return pipelines->rows[i];
	return NULL;
}

/* Whether one of those that are reached writes what this one reads. */
static bool reads_of(const struct mr_pipelines *pipelines, const bool *reached, size_t reader)
{
	size_t i;

	for (i = 0; i < pipelines->count; i++)
		if (reached[i] && writes(pipelines->rows[i], pipelines->rows[reader]->input))
			return true;
	return false;
}

/* By rounds: each marks what is one pipeline further; there are no more rounds than pipelines. */
bool mr_pipelines_lead_to(const struct mr_pipelines *pipelines, const char *topic, const char *from)
{
	bool reached[MR_PIPELINES_MAX] = {false};
	bool more = true;
	size_t i;

	if (strcmp(topic, from) == 0)
		return true;
	for (i = 0; i < pipelines->count; i++)
		reached[i] = strcmp(pipelines->rows[i]->input, topic) == 0;
	while (more) {
		more = false;
		for (i = 0; i < pipelines->count; i++)
			if (!reached[i] && reads_of(pipelines, reached, i))
				reached[i] = more = true;
	}
	for (i = 0; i < pipelines->count; i++)
		if (reached[i] && writes(pipelines->rows[i], from))
			return true;
	return false;
}

void mr_pipelines_deinit(struct mr_pipelines *pipelines)
{
	size_t i;

	for (i = 0; i < pipelines->count; i++)
		mr_definition_free(pipelines->rows[i]);
	free(pipelines->rows);
	free(pipelines->removed);
	memset(pipelines, 0, sizeof(*pipelines));
}

/* ---- the file -------------------------------------------------------------------------------- */

static int read_removed(const json_t *rows, struct mr_pipelines *out, struct mr_error *err)
{
	size_t i;

	for (i = 0; i < json_array_size(rows); i++) {
		const char *text = json_string_value(json_array_get(rows, i));
		uint8_t id[16];

		if (!text || mr_topic_id_parse(text, id) < 0)
			return mr_error_set(err, -EBADMSG,
					    "file '" PIPELINES_FILE "': a removed one's id");
		if (mr_pipelines_note_removed(out, id) < 0)
			return mr_error_set(err, -ENOMEM, "no memory for removed pipelines");
	}
	return 0;
}

static int read_rows(const json_t *root, struct mr_pipelines *out, struct mr_error *err)
{
	const json_t *rows = json_object_get(root, "pipelines");
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		struct mr_definition *definition = NULL;

		r = mr_definition_from_json(json_array_get(rows, i), &definition, err);
		if (r == 0)
			r = mr_pipelines_add(out, definition, err);
		if (r < 0)
			mr_definition_free(definition);
	}
	return r < 0 ? r : read_removed(json_object_get(root, "removed"), out, err);
}

int mr_pipelines_load(struct mr_io *io, struct mr_pipelines *out, struct mr_error *err)
{
	json_t *root;
	int r;

	memset(out, 0, sizeof(*out));
	r = mr_catalogue_file_load(&pipelines_file, io, &root, err);
	if (r < 0 || !root)
		return r;
	r = read_rows(root, out, err);
	json_decref(root);
	if (r < 0)
		mr_pipelines_deinit(out);
	return r;
}

int mr_pipelines_save(struct mr_io *io, const struct mr_pipelines *pipelines, struct mr_error *err)
{
	json_t *rows = json_array(), *removed = json_array();
	json_t *root = json_pack("{s:i, s:o, s:o}", "version", PIPELINES_VERSION, "pipelines", rows,
				 "removed", removed);
	char id[33];
	size_t i;

	for (i = 0; i < pipelines->count; i++)
		json_array_append_new(rows, mr_definition_to_json(pipelines->rows[i]));
	for (i = 0; i < pipelines->removed_count; i++) {
		mr_topic_id_text(pipelines->removed[i], id);
		json_array_append_new(removed, json_string(id));
	}
	return mr_catalogue_file_save(&pipelines_file, io, root, err);
}
