/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a configuration file in two passes. The first goes through libyaml's events, by their
 * own marks: it refuses what is not in the table, with the right line and the nearest word,
 * and remembers where every value stands. The second lets libcyaml bind the texts by a schema
 * made from the table. (libcyaml's own complaints have lines that are off by one; after the
 * first pass it has none but for memory.) Its schemas know no keys that are names: groups of keys
 * are kept by the first pass.
 *
 * Anchors, aliases and second documents are refused: nothing needs them here, and a few lines
 * of aliases can stand for more values than any memory holds.
 */
#include "config_yaml.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "check.h"

struct walk {
	yaml_parser_t parser;
	yaml_event_t event; /* the present one; deleted before the next is taken */
	const char *name;
	struct mr_config_yaml *yaml;
	struct mr_error *err;
};

void mr_config_yaml_prefix(const char *name, uint32_t line, struct mr_error *err)
{
	if (line > 0)
		mr_error_prefix(err, "%.160s:%u: ", name, line);
	else
		mr_error_prefix(err, "%.160s: ", name);
}

static uint32_t line_of(const struct walk *walk)
{
	return (uint32_t)walk->event.start_mark.line + 1;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct walk *walk, const char *format, ...)
{
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	mr_error_set(walk->err, -EINVAL, "%s", what);
	mr_config_yaml_prefix(walk->name, line_of(walk), walk->err);
	return -EINVAL;
}

static int refuse_text(struct walk *walk)
{
	const yaml_parser_t *parser = &walk->parser;
	uint32_t line = (uint32_t)(parser->problem_mark.line ? parser->problem_mark.line
							     : parser->mark.line) +
			1;

	if (parser->error == YAML_MEMORY_ERROR)
		return mr_error_set(walk->err, -ENOMEM, "no memory to read '%.160s'", walk->name);
	mr_error_set(walk->err, -EINVAL, "this is not YAML: %s",
		     parser->problem ? parser->problem : "cannot be read");
	mr_config_yaml_prefix(walk->name, line, walk->err);
	if (parser->context)
		mr_error_why(walk->err, "it happened %s", parser->context);
	return -EINVAL;
}

static bool has_anchor(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return true;
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor != NULL;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor != NULL;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor != NULL;
	default:
		return false;
	}
}

static int next(struct walk *walk)
{
	yaml_event_delete(&walk->event);
	if (!yaml_parser_parse(&walk->parser, &walk->event))
		return refuse_text(walk);
	if (has_anchor(&walk->event))
		return refuse(walk, "anchors and aliases are not taken here");
	return 0;
}

static const char *scalar(const struct walk *walk)
{
	return (const char *)walk->event.data.scalar.value;
}

/* What stands there, in words. */
static const char *found(const struct walk *walk)
{
	switch (walk->event.type) {
	case YAML_SCALAR_EVENT:
		return scalar(walk)[0] ? "a plain value" : "nothing";
	case YAML_SEQUENCE_START_EVENT:
		return "a list";
	case YAML_MAPPING_START_EVENT:
		return "a group of keys";
	default:
		return "nothing";
	}
}

static int check_scalar(struct walk *walk, const char *what)
{
	if (walk->event.type != YAML_SCALAR_EVENT)
		return refuse(walk, "%s is %s, expected a plain value", what, found(walk));
	if (strlen(scalar(walk)) != walk->event.data.scalar.length)
		return refuse(walk, "%s has a zero byte in it", what);
	return 0;
}

static const char *whose(const struct mr_option_table *table)
{
	if (table == &mr_config_topic_options)
		return " of a topic";
	if (table == &mr_config_peer_options)
		return " of a peer";
	return table == &mr_config_tls_options ? " of tls" : "";
}

static int refuse_key(struct walk *walk, const struct mr_option_table *table)
{
	const char *nearest = mr_option_nearest(table, scalar(walk));

	refuse(walk, "unknown key '%.60s', expected an option%s", scalar(walk), whose(table));
	if (nearest)
		mr_error_hint(walk->err, "did you mean '%s'?", nearest);
	else
		mr_error_hint(walk->err, "docs/CONFIG.md lists all options");
	return -EINVAL;
}

/* Takes the present event as a key of the table. */
static int take_key(struct walk *walk, const struct mr_option_table *table,
		    struct mr_config_lines *lines, const struct mr_option **option)
{
	size_t row;
	int r = check_scalar(walk, "a key");

	if (r < 0)
		return r;
	*option = mr_option_find(table, scalar(walk));
	if (!*option)
		return refuse_key(walk, table);
	row = (size_t)(*option - table->rows);
	if (lines->values[row] > 0)
		return refuse(walk, "%s is given a second time; line %u has it already",
			      (*option)->name, lines->values[row]);
	lines->values[row] = line_of(walk);
	return 0;
}

/* Room for the lines of one more topic. */
static struct mr_config_lines *add_topic(struct walk *walk)
{
	struct mr_config_yaml *yaml = walk->yaml;
	struct mr_config_lines *more = yaml->topic_lines;

	/* Doubles whenever the count is a power of two. */
	if ((yaml->topic_count & (yaml->topic_count - 1)) == 0)
		more = realloc(more,
			       (yaml->topic_count ? 2 * yaml->topic_count : 1) * sizeof(*more));
	if (!more)
		return NULL;
	yaml->topic_lines = more;
	more = &more[yaml->topic_count++];
	memset(more, 0, sizeof(*more));
	return more;
}

/* One row of `topics`; the present event is what stands behind the dash. */
static int walk_topic(struct walk *walk)
{
	const struct mr_option *option;
	struct mr_config_lines *lines;
	uint32_t line = line_of(walk);
	int r;

	if (walk->event.type != YAML_MAPPING_START_EVENT)
		return refuse(walk, "a topic is %s, expected its options, as 'name: ...'",
			      found(walk));
	if (walk->yaml->topic_count == MR_CONFIG_TOPICS_MAX)
		return refuse(walk, "more than %d topics", MR_CONFIG_TOPICS_MAX);
	lines = add_topic(walk);
	if (!lines)
		return mr_error_set(walk->err, -ENOMEM, "no memory for the list of topics");
	for (r = next(walk); r == 0 && walk->event.type != YAML_MAPPING_END_EVENT; r = next(walk)) {
		r = take_key(walk, &mr_config_topic_options, lines, &option);
		if (r == 0)
			r = next(walk);
		if (r == 0)
			r = check_scalar(walk, option->name);
		if (r < 0)
			return r;
	}
	if (r == 0 && lines->values[0] == 0) {
		mr_error_set(walk->err, -EINVAL, "a topic without a name");
		mr_config_yaml_prefix(walk->name, line, walk->err);
		return -EINVAL;
	}
	return r;
}

static int walk_topics(struct walk *walk)
{
	int r;

	if (walk->event.type != YAML_SEQUENCE_START_EVENT)
		return refuse(walk, "topics is %s, expected a list of topics", found(walk));
	for (r = next(walk); r == 0 && walk->event.type != YAML_SEQUENCE_END_EVENT;
	     r = next(walk)) {
		r = walk_topic(walk);
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- groups of keys --------------------------------------------------------------------------
 */

static int keep_text(struct walk *walk, char **out)
{
	*out = strdup(scalar(walk));
	if (!*out)
		return mr_error_set(walk->err, -ENOMEM, "no memory to read '%.160s'", walk->name);
	return 0;
}

/* The present event is the group's beginning. */
static int walk_group(struct walk *walk, const struct mr_option_table *table,
		      struct mr_config_group *group)
{
	const struct mr_option *option;
	int r;

	for (r = next(walk); r == 0 && walk->event.type != YAML_MAPPING_END_EVENT; r = next(walk)) {
		r = take_key(walk, table, &group->lines, &option);
		if (r == 0)
			r = next(walk);
		if (r == 0)
			r = check_scalar(walk, option->name);
		if (r == 0)
			r = keep_text(walk, &group->texts.values[option - table->rows]);
		if (r < 0)
			return r;
	}
	return r;
}

static int walk_tls(struct walk *walk)
{
	if (walk->event.type != YAML_MAPPING_START_EVENT)
		return refuse(walk, "tls is %s, expected its options, as 'key: ...'", found(walk));
	walk->yaml->tls.line = line_of(walk);
	return walk_group(walk, &mr_config_tls_options, &walk->yaml->tls);
}

/* Room for one more; NULL after a refusal. The present event is its name. */
static struct mr_config_group *add_peer(struct walk *walk)
{
	struct mr_config_yaml *yaml = walk->yaml;
	struct mr_config_group *peers;

	if (yaml->peer_count == MR_CONFIG_HOSTS_MAX - 1) {
		(void)refuse(walk, "more than %d peers", MR_CONFIG_HOSTS_MAX - 1); /* err has it */
		return NULL;
	}
	peers = realloc(yaml->peers, (yaml->peer_count + 1) * sizeof(*peers));
	if (!peers) {
		(void)mr_error_set(walk->err, -ENOMEM, "no memory for the list of peers");
		return NULL;
	}
	yaml->peers = peers;
	peers = &peers[yaml->peer_count++];
	*peers = (struct mr_config_group){.line = line_of(walk)};
	return keep_text(walk, &peers->name) < 0 ? NULL : peers;
}

/* The present event is what stands as the peer's name. */
static int walk_peer(struct walk *walk)
{
	const struct mr_config_yaml *yaml = walk->yaml;
	struct mr_config_group *peer;
	int r = check_scalar(walk, "a peer's name");

	for (size_t i = 0; r == 0 && i < yaml->peer_count; i++) {
		if (strcmp(yaml->peers[i].name, scalar(walk)) == 0)
			r = refuse(walk,
				   "peer '%.64s' is given a second time; line %u has it already",
				   scalar(walk), yaml->peers[i].line);
	}
	if (r < 0)
		return r;
	peer = add_peer(walk);
	if (!peer)
		return walk->err ? walk->err->code : -EINVAL;
	r = next(walk);
	if (r == 0 && walk->event.type != YAML_MAPPING_START_EVENT)
		r = refuse(walk, "peer '%.64s' is %s, expected its options, as 'number: 1'",
			   peer->name, found(walk));
	return r < 0 ? r : walk_group(walk, &mr_config_peer_options, peer);
}

static int walk_peers(struct walk *walk)
{
	int r;

	if (walk->event.type != YAML_MAPPING_START_EVENT)
		return refuse(walk, "peers is %s, expected hosts by name, as 'b: {number: 1}'",
			      found(walk));
	for (r = next(walk); r == 0 && walk->event.type != YAML_MAPPING_END_EVENT; r = next(walk)) {
		r = walk_peer(walk);
		if (r < 0)
			return r;
	}
	return r;
}

static void free_group(struct mr_config_group *group)
{
	free(group->name);
	for (size_t i = 0; i < MR_OPTIONS_MAX; i++)
		free(group->texts.values[i]);
}

static int walk_value(struct walk *walk, const struct mr_option *option)
{
	switch (option->type) {
	case MR_OPTION_LIST:
		return walk_topics(walk);
	case MR_OPTION_PEERS:
		return walk_peers(walk);
	case MR_OPTION_GROUP:
		return walk_tls(walk);
	default:
		return check_scalar(walk, option->name);
	}
}

/* From the event behind the root's beginning to its end. */
static int walk_root(struct walk *walk)
{
	const struct mr_option *option;
	int r;

	for (r = next(walk); r == 0 && walk->event.type != YAML_MAPPING_END_EVENT; r = next(walk)) {
		r = take_key(walk, &mr_config_options, &walk->yaml->lines, &option);
		if (r == 0)
			r = next(walk);
		if (r == 0)
			r = walk_value(walk, option);
		if (r < 0)
			return r;
	}
	return r;
}

/* 1 if there is anything to bind, 0 if the file has no content, or an error. */
static int walk_file(struct walk *walk)
{
	bool any = false;
	int r;

	r = next(walk); /* the stream's start */
	if (r == 0)
		r = next(walk);
	if (r < 0 || walk->event.type == YAML_STREAM_END_EVENT)
		return r;
	r = next(walk); /* behind the document's start */
	if (r < 0)
		return r;
	if (walk->event.type == YAML_MAPPING_START_EVENT) {
		any = true;
		r = walk_root(walk);
	} else if (walk->event.type != YAML_SCALAR_EVENT || scalar(walk)[0]) {
		return refuse(walk, "the file is %s, expected options, as 'data: ...'",
			      found(walk));
	}
	if (r == 0)
		r = next(walk); /* the document's end */
	if (r == 0)
		r = next(walk);
	if (r == 0 && walk->event.type != YAML_STREAM_END_EVENT)
		return refuse(walk, "a second document begins, expected the end of the file");
	return r < 0 ? r : any;
}

/* The schema for libcyaml, a field per row of the tables. */
struct schema {
	cyaml_schema_field_t fields[MR_OPTIONS_MAX + 1]; /* ends with a field without a key */
	cyaml_schema_field_t topic_fields[MR_OPTIONS_MAX + 1];
	cyaml_schema_value_t topic;
	cyaml_schema_value_t root;
};

static cyaml_schema_value_t text_schema(void)
{
	return (cyaml_schema_value_t){
		.type = CYAML_STRING,
		.flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
		.data_size = sizeof(char),
		.string = {.min = 0, .max = MR_CONFIG_FILE_BYTES_MAX},
	};
}

static cyaml_schema_value_t list_schema(const cyaml_schema_value_t *entry)
{
	return (cyaml_schema_value_t){
		.type = CYAML_SEQUENCE,
		.flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
		.data_size = sizeof(struct mr_config_texts),
		.sequence = {.entry = entry, .min = 0, .max = MR_CONFIG_TOPICS_MAX},
	};
}

static void make_fields(const struct mr_option_table *table, const cyaml_schema_value_t *topic,
			cyaml_schema_field_t *fields)
{
	for (size_t i = 0; i < table->count; i++) {
		fields[i].key = table->rows[i].name;
		if (table->rows[i].type == MR_OPTION_LIST) {
			fields[i].value = list_schema(topic);
			fields[i].data_offset = offsetof(struct mr_config_root, topics);
			fields[i].count_offset = offsetof(struct mr_config_root, topic_count);
			fields[i].count_size = sizeof(uint32_t);
		} else if (!mr_option_is_alone(&table->rows[i])) {
			fields[i].value.type = CYAML_IGNORE;
			fields[i].value.flags = CYAML_FLAG_OPTIONAL;
		} else {
			fields[i].value = text_schema();
			fields[i].data_offset = (uint32_t)(i * sizeof(char *));
		}
	}
}

static void make_schema(struct schema *schema)
{
	memset(schema, 0, sizeof(*schema));
	make_fields(&mr_config_topic_options, NULL, schema->topic_fields);
	schema->topic.type = CYAML_MAPPING;
	schema->topic.data_size = sizeof(struct mr_config_texts);
	schema->topic.mapping.fields = schema->topic_fields;
	make_fields(&mr_config_options, &schema->topic, schema->fields);
	schema->root.type = CYAML_MAPPING;
	schema->root.flags = CYAML_FLAG_POINTER;
	schema->root.data_size = sizeof(struct mr_config_root);
	schema->root.mapping.fields = schema->fields;
}

static const cyaml_config_t settings = {
	.mem_fn = cyaml_mem,
	.log_level = CYAML_LOG_ERROR,
	.flags = CYAML_CFG_NO_ALIAS,
};

static int bind(const void *bytes, size_t count, const char *name, struct mr_config_yaml *out,
		struct mr_error *err)
{
	struct schema schema;
	cyaml_data_t *root = NULL;
	cyaml_err_t r;

	make_schema(&schema);
	r = cyaml_load_data(bytes, count, &settings, &schema.root, &root, NULL);
	if (r == CYAML_ERR_OOM)
		return mr_error_set(err, -ENOMEM, "no memory to read '%.160s'", name);
	if (r != CYAML_OK) {
		mr_error_set(err, -EINVAL, "cannot be read: %s", cyaml_strerror(r));
		mr_config_yaml_prefix(name, 0, err);
		return -EINVAL;
	}
	out->root = root;
	mr_assert(out->root->topic_count == out->topic_count);
	return 0;
}

int mr_config_yaml_read(const void *bytes, size_t count, const char *name,
			struct mr_config_yaml *out, struct mr_error *err)
{
	struct walk walk = {.name = name, .yaml = out, .err = err};
	int r;

	memset(out, 0, sizeof(*out));
	if (!yaml_parser_initialize(&walk.parser))
		return mr_error_set(err, -ENOMEM, "no memory to read '%.160s'", name);
	yaml_parser_set_input_string(&walk.parser, bytes, count);
	r = walk_file(&walk);
	yaml_event_delete(&walk.event);
	yaml_parser_delete(&walk.parser);
	return r == 1 ? bind(bytes, count, name, out, err) : r;
}

void mr_config_yaml_deinit(struct mr_config_yaml *yaml)
{
	struct schema schema;

	make_schema(&schema);
	(void)cyaml_free(&settings, &schema.root, yaml->root, 0); /* fails for bad arguments only */
	free(yaml->topic_lines);
	for (size_t i = 0; i < yaml->peer_count; i++)
		free_group(&yaml->peers[i]);
	free(yaml->peers);
	free_group(&yaml->tls);
	memset(yaml, 0, sizeof(*yaml));
}
