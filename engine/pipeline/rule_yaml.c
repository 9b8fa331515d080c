/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule's file as YAML nodes (rule_yaml.h).
 */
#include "rule_yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "check.h"
#include "number.h"

#define DEPTH_MAX 16

/* ---- the tree ----------------------------------------------------------------------------------
 */

static int refuse_text(struct mr_rule_reader *reader, const yaml_parser_t *parser)
{
	size_t line = parser->problem_mark.line ? parser->problem_mark.line : parser->mark.line;

	if (parser->error == YAML_MEMORY_ERROR)
		return mr_error_set(reader->err, -ENOMEM, "no memory to read '%.160s'",
				    reader->file);
	mr_error_set(reader->err, -EINVAL, "%.160s:%zu: this is not YAML: %s", reader->file,
		     line + 1, parser->problem ? parser->problem : "it cannot be read");
	if (parser->context)
		mr_error_why(reader->err, "it happened %s", parser->context);
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

/* How deep it is nested behind the event; -EINVAL: too deep, or with an anchor. */
static int check_event(struct mr_rule_reader *reader, const yaml_event_t *event, int depth)
{
	const char *what = has_anchor(event)   ? "anchors and aliases are not taken here"
			   : depth > DEPTH_MAX ? "it is nested too deeply"
					       : NULL;

	if (what)
		return mr_error_set(reader->err, -EINVAL, "%.160s:%zu: %s", reader->file,
				    event->start_mark.line + 1, what);
	if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
		return depth + 1;
	if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT)
		return depth - 1;
	return depth;
}

/* A first pass: libyaml takes a time that grows with the square of the depth. */
static int check_shape(struct mr_rule_reader *reader, const void *bytes, size_t count)
{
	yaml_parser_t parser;
	yaml_event_t event;
	bool more = true;
	int depth = 0;

	if (!yaml_parser_initialize(&parser))
		return mr_error_set(reader->err, -ENOMEM, "no memory to read '%.160s'",
				    reader->file);
	yaml_parser_set_input_string(&parser, bytes, count);
	while (more && depth >= 0) {
		if (!yaml_parser_parse(&parser, &event)) {
			depth = refuse_text(reader, &parser);
			break;
		}
		depth = check_event(reader, &event, depth);
		more = event.type != YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return depth < 0 ? depth : 0;
}

static int load(struct mr_rule_reader *reader, yaml_parser_t *parser)
{
	yaml_document_t second;
	bool more;

	if (!yaml_parser_load(parser, &reader->document))
		return refuse_text(reader, parser);
	if (!yaml_parser_load(parser, &second)) {
		yaml_document_delete(&reader->document);
		return refuse_text(reader, parser);
	}
	more = yaml_document_get_root_node(&second) != NULL;
	yaml_document_delete(&second);
	if (!more)
		return 0;
	yaml_document_delete(&reader->document);
	return mr_error_set(reader->err, -EINVAL,
			    "%.160s: a file holds one pipeline: '---' begins a second",
			    reader->file);
}

int mr_rule_yaml_open(struct mr_rule_reader *reader, const void *bytes, size_t count,
		      const yaml_node_t **root)
{
	yaml_parser_t parser;
	int r = check_shape(reader, bytes, count);

	if (r < 0)
		return r;
	if (!yaml_parser_initialize(&parser))
		return mr_error_set(reader->err, -ENOMEM, "no memory to read '%.160s'",
				    reader->file);
	yaml_parser_set_input_string(&parser, bytes, count);
	r = load(reader, &parser);
	yaml_parser_delete(&parser);
	if (r < 0)
		return r;
	*root = yaml_document_get_root_node(&reader->document);
	if (*root && mr_rule_is_map(*root))
		return 0;
	r = mr_error_set(reader->err, -EINVAL,
			 "%.160s: %s; expected 'pipeline: NAME' and what follows", reader->file,
			 *root ? "it is no map" : "it is empty");
	mr_rule_yaml_close(reader);
	return r;
}

void mr_rule_yaml_close(struct mr_rule_reader *reader)
{
	yaml_document_delete(&reader->document);
}

bool mr_rule_is_map(const yaml_node_t *node)
{
	return node->type == YAML_MAPPING_NODE;
}

bool mr_rule_is_list(const yaml_node_t *node)
{
	return node->type == YAML_SEQUENCE_NODE;
}

bool mr_rule_is_scalar(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE;
}

const char *mr_rule_text(const yaml_node_t *node)
{
	return (const char *)node->data.scalar.value;
}

uint32_t mr_rule_line(const yaml_node_t *node)
{
	return (uint32_t)node->start_mark.line + 1;
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

int mr_rule_refuse_as(struct mr_rule_reader *reader, const yaml_node_t *node)
{
	mr_error_prefix(reader->err, "%.160s:%" PRIu32 ": ", reader->file, mr_rule_line(node));
	return reader->err->code;
}

int mr_rule_refuse(struct mr_rule_reader *reader, const yaml_node_t *node, const char *format, ...)
{
	char what[240];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	mr_error_set(reader->err, -EINVAL, "%s", what);
	return mr_rule_refuse_as(reader, node);
}

static const char *kind(const yaml_node_t *node)
{
	return mr_rule_is_map(node) ? "a map" : mr_rule_is_list(node) ? "a list" : "a value";
}

/* A scalar, not empty, without a zero byte inside. */
static int check_scalar(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what)
{
	if (!mr_rule_is_scalar(node))
		return mr_rule_refuse(reader, node, "%s: found %s, expected one value", what,
				      kind(node));
	if (strlen(mr_rule_text(node)) != node->data.scalar.length)
		return mr_rule_refuse(reader, node, "%s: it has a zero byte", what);
	if (!node->data.scalar.length)
		return mr_rule_refuse(reader, node, "%s: it has no value", what);
	return 0;
}

/* ---- maps and lists ----------------------------------------------------------------------------
 */

static const yaml_node_t *node_of(struct mr_rule_reader *reader, int index)
{
	return yaml_document_get_node(&reader->document, index);
}

static int unknown_key(struct mr_rule_reader *reader, const yaml_node_t *key, const char *what,
		       const struct mr_rule_field *fields, uint32_t count)
{
	const char *name = mr_rule_text(key);
	struct mr_nearest nearest;

	mr_rule_refuse(reader, key, "%s has no '%.60s'", what, name);
	mr_nearest_begin(&nearest, name, strlen(name));
	for (uint32_t i = 0; i < count; i++)
		mr_nearest_offer(&nearest, fields[i].name, strlen(fields[i].name));
	if (!mr_nearest_hint(&nearest, reader->err)) {
		char words[160] = "";
		size_t used = 0;

		for (uint32_t i = 0; i < count && used < sizeof(words) - 32; i++)
			used += (size_t)snprintf(words + used, sizeof(words) - used, "%s%s",
						 i ? ", " : "", fields[i].name);
		mr_error_hint(reader->err, "it may have: %s", words);
	}
	return -EINVAL;
}

static int read_pair(struct mr_rule_reader *reader, const yaml_node_pair_t *pair, const char *what,
		     const struct mr_rule_field *fields, uint32_t count, uint64_t *given, void *out)
{
	const yaml_node_t *key = node_of(reader, pair->key);
	uint32_t i = 0;
	int r = check_scalar(reader, key, what);

	if (r < 0)
		return r;
	while (i < count && strcmp(fields[i].name, mr_rule_text(key)) != 0)
		i++;
	if (i == count)
		return unknown_key(reader, key, what, fields, count);
	if (*given >> i & 1)
		return mr_rule_refuse(reader, key, "'%s' is given twice in %s", fields[i].name,
				      what);
	*given |= UINT64_C(1) << i;
	return fields[i].read(reader, node_of(reader, pair->value), out);
}

int mr_rule_read_map(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		     const struct mr_rule_field *fields, uint32_t count, void *out)
{
	uint64_t given = 0;
	int r = 0;

	if (!mr_rule_is_map(node))
		return mr_rule_refuse(reader, node, "%s: found %s, expected a map", what,
				      kind(node));
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top && r == 0; pair++)
		r = read_pair(reader, pair, what, fields, count, &given, out);
	for (uint32_t i = 0; i < count && r == 0; i++)
		if (fields[i].required && !(given >> i & 1))
			r = mr_rule_refuse(reader, node, "%s needs '%s'", what, fields[i].name);
	reader->given = given;
	return r;
}

int mr_rule_each(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		 int (*each)(struct mr_rule_reader *reader, const yaml_node_t *key,
			     const yaml_node_t *value))
{
	int r = 0;

	if (!mr_rule_is_map(node))
		return mr_rule_refuse(reader, node, "%s: found %s, expected a map by name", what,
				      kind(node));
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top && r == 0; pair++) {
		const yaml_node_t *key = node_of(reader, pair->key);

		r = check_scalar(reader, key, what);
		if (r == 0)
			r = each(reader, key, node_of(reader, pair->value));
	}
	return r;
}

const yaml_node_t *mr_rule_entry(struct mr_rule_reader *reader, const yaml_node_t *node,
				 const char *name)
{
	const yaml_node_pair_t *pair, *end;

	if (!mr_rule_is_map(node))
		return NULL;
	pair = node->data.mapping.pairs.start;
	end = node->data.mapping.pairs.top;
	for (; pair < end; pair++) {
		const yaml_node_t *key = node_of(reader, pair->key);

		if (mr_rule_is_scalar(key) && strcmp(mr_rule_text(key), name) == 0)
			return node_of(reader, pair->value);
	}
	return NULL;
}

const yaml_node_t *mr_rule_item(struct mr_rule_reader *reader, const yaml_node_t *list, uint32_t i)
{
	const yaml_node_item_t *start = list->data.sequence.items.start;

	if (i >= (size_t)(list->data.sequence.items.top - start))
		return NULL;
	return node_of(reader, start[i]);
}

/* ---- scalars -----------------------------------------------------------------------------------
 */

int mr_rule_read_text(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      char *out, size_t room)
{
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	if (node->data.scalar.length >= room)
		return mr_rule_refuse(reader, node, "%s: %zu bytes are more than %zu", what,
				      node->data.scalar.length, room - 1);
	for (size_t i = 0; i < node->data.scalar.length; i++) {
		unsigned char byte = node->data.scalar.value[i];

		if (byte < 0x20 || byte == 0x7f)
			return mr_rule_refuse(reader, node, "%s: it has control byte 0x%02x", what,
					      byte);
	}
	memcpy(out, mr_rule_text(node), node->data.scalar.length + 1);
	return 0;
}

int mr_rule_read_word(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      const char *const *words, uint32_t count, uint32_t *out)
{
	struct mr_nearest nearest;
	char all[200] = "";
	size_t used = 0;
	const char *text;
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	text = mr_rule_text(node);
	for (*out = 0; *out < count; (*out)++)
		if (strcmp(words[*out], text) == 0)
			return 0;
	for (uint32_t i = 0; i < count && used < sizeof(all) - 32; i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
					 words[i]);
	mr_rule_refuse(reader, node, "%s: '%.60s' is none of %s", what, text, all);
	mr_nearest_begin(&nearest, text, strlen(text));
	for (uint32_t i = 0; i < count; i++)
		mr_nearest_offer(&nearest, words[i], strlen(words[i]));
	(void)mr_nearest_hint(&nearest, reader->err); /* none is near: the sentence has them all */
	return -EINVAL;
}

int mr_rule_read_number(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
			double *out)
{
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	if (mr_number_read(mr_rule_text(node), node->data.scalar.length, out) !=
		    node->data.scalar.length ||
	    !isfinite(*out))
		return mr_rule_refuse(reader, node, "%s: '%.60s' is no number", what,
				      mr_rule_text(node));
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit time_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit byte_units[] = {
	{"", 1},
	{"KiB", UINT64_C(1) << 10},
	{"MiB", UINT64_C(1) << 20},
	{"GiB", UINT64_C(1) << 30},
};

/* Digits and a unit. 0, -EINVAL, -ERANGE. */
static int parse_units(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	for (size_t i = 0; i < count; i++)
		if (strcmp(units[i].name, end) == 0)
			return __builtin_mul_overflow(*out, units[i].factor, out) ||
					       *out > INT64_MAX / 4
				       ? -ERANGE
				       : 0;
	return -EINVAL;
}

bool mr_rule_is_time(const yaml_node_t *node)
{
	uint64_t ms;

	return mr_rule_is_scalar(node) && parse_units(mr_rule_text(node), time_units,
						      mr_array_count(time_units), &ms) != -EINVAL;
}

int mr_rule_read_count(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		       uint64_t least, uint64_t most, uint64_t *out)
{
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	if (parse_units(mr_rule_text(node), byte_units, 1, out) < 0 || *out < least || *out > most)
		return mr_rule_refuse(reader, node,
				      "%s: found '%.60s', expected a whole number from %" PRIu64
				      " to %" PRIu64,
				      what, mr_rule_text(node), least, most);
	return 0;
}

int mr_rule_read_time(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      int64_t *ms)
{
	uint64_t number = 0;
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	r = parse_units(mr_rule_text(node), time_units, mr_array_count(time_units), &number);
	if (r < 0 || number == 0)
		return mr_rule_refuse(reader, node,
				      "%s: found '%.60s', expected a time: 250ms, 5s, 1min, 1h, 7d",
				      what, mr_rule_text(node));
	*ms = (int64_t)number;
	return 0;
}

int mr_rule_read_bytes(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		       uint64_t *out)
{
	int r = check_scalar(reader, node, what);

	if (r < 0)
		return r;
	if (parse_units(mr_rule_text(node), byte_units, mr_array_count(byte_units), out) < 0 ||
	    *out == 0)
		return mr_rule_refuse(reader, node,
				      "%s: found '%.60s', expected bytes: 65536, 64KiB, 1GiB", what,
				      mr_rule_text(node));
	return 0;
}
