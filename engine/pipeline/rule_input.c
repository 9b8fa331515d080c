/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a rule's file says that records are read and cleaned (rule_parts.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "number.h"
#include "rule_parts.h"

/* ---- parse -------------------------------------------------------------------------------------
 */

static int read_format(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"json", "csv", "line-protocol", "number", "raw"};
	uint32_t format = 0;
	int r = mr_rule_read_word(reader, node, "parse", words, mr_array_count(words), &format);

	reader->rule->parse.format = (enum mr_parse_format)format;
	return r;
}

static int read_columns(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_parse_spec *spec = &reader->rule->parse;
	const yaml_node_t *item;

	if (!mr_rule_is_list(node))
		return mr_rule_refuse(reader, node, "columns: expected a list of names");
	for (uint32_t i = 0; (item = mr_rule_item(reader, node, i)); i++) {
		if (i == MR_PARSE_COLUMNS_MAX)
			return mr_rule_refuse(reader, node, "columns: more than %d",
					      MR_PARSE_COLUMNS_MAX);
		if (mr_rule_read_text(reader, item, "columns", spec->names[i],
				      sizeof(spec->names[i])) < 0)
			return -EINVAL;
		spec->name_count = i + 1;
	}
	return 0;
}

static int read_delimiter(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	char text[2];
	int r = mr_rule_read_text(reader, node, "delimiter", text, sizeof(text));

	reader->rule->parse.delimiter = text[0];
	if (r == 0 && (text[0] == '"' || text[0] == '\n' || text[0] == '\r'))
		r = mr_rule_refuse(reader, node,
				   "delimiter: quotes and line ends mean something "
				   "else");
	return r;
}

/* "f64", "u8", "text:16". */
static bool parse_type(const char *text, struct mr_parse_raw_field *field)
{
	unsigned long bits;
	char *end;

	if (strncmp(text, "text:", 5) == 0) {
		bits = strtoul(text + 5, &end, 10);
		field->type = 't';
		field->bytes = (uint32_t)bits;
		return !*end && bits >= 1 && bits <= MR_PARSE_KEY_MAX;
	}
	if (!strchr("iuf", text[0]) || !text[0])
		return false;
	bits = strtoul(text + 1, &end, 10);
	field->type = text[0];
	field->bytes = (uint32_t)bits / 8;
	return !*end && (bits == 64 || bits == 32 || (text[0] != 'f' && (bits == 16 || bits == 8)));
}

/* "temp: f64 @ 8" */
static int parse_field(struct mr_rule_reader *reader, const yaml_node_t *node,
		       struct mr_parse_raw_field *field)
{
	char text[128], type[32];
	unsigned at;
	int end = 0;

	if (mr_rule_read_text(reader, node, "fields", text, sizeof(text)) < 0)
		return -EINVAL;
	if (sscanf(text, " %31[A-Za-z0-9_] : %31[a-z0-9:] @ %7u %n", field->name, type, &at,
		   &end) != 3 ||
	    text[end] || strpbrk(text, "+-") || !parse_type(type, field))
		return mr_rule_refuse(reader, node,
				      "fields: '%s' is not like \"temp: f64 @ 8\": types are i8 to "
				      "i64, u8 to u64, f32, f64, text:N",
				      text);
	field->at = at;
	return 0;
}

static int read_fields(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_parse_spec *spec = &reader->rule->parse;
	const yaml_node_t *item;

	if (!mr_rule_is_list(node))
		return mr_rule_refuse(reader, node, "fields: expected a list: [\"temp: f64 @ 8\"]");
	for (uint32_t i = 0; (item = mr_rule_item(reader, node, i)); i++) {
		if (i == MR_PARSE_COLUMNS_MAX)
			return mr_rule_refuse(reader, node, "fields: more than %d",
					      MR_PARSE_COLUMNS_MAX);
		if (parse_field(reader, item, &spec->fields[i]) < 0)
			return -EINVAL;
		snprintf(spec->names[i], sizeof(spec->names[i]), "%s", spec->fields[i].name);
		spec->name_count = i + 1;
	}
	return 0;
}

static int read_endian(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"little", "big"};
	uint32_t *big = out;

	return mr_rule_read_word(reader, node, "endian", words, 2, big);
}

static const struct mr_rule_field parse_fields[] = {
	{"format", read_format, true},	      {"columns", read_columns, false},
	{"delimiter", read_delimiter, false}, {"fields", read_fields, false},
	{"endian", read_endian, false},
};

static bool was_given(const struct mr_rule_reader *reader, const char *name)
{
	for (uint32_t i = 0; i < mr_array_count(parse_fields); i++)
		if (strcmp(parse_fields[i].name, name) == 0)
			return reader->given >> i & 1;
	return false;
}

/* Options that belong to another format. */
static int check_options(struct mr_rule_reader *reader, const yaml_node_t *node)
{
	enum mr_parse_format format = reader->rule->parse.format;
	bool csv = was_given(reader, "columns") || was_given(reader, "delimiter");
	bool raw = was_given(reader, "fields") || was_given(reader, "endian");

	if (csv && format != MR_PARSE_CSV)
		return mr_rule_refuse(reader, node, "columns and delimiter are for csv");
	if (raw && format != MR_PARSE_RAW)
		return mr_rule_refuse(reader, node, "fields and endian are for raw");
	if (format == MR_PARSE_RAW && !was_given(reader, "fields"))
		return mr_rule_refuse(
			reader, node,
			"raw records need their layout: {format: raw, fields: [\"temp: "
			"f64 @ 8\"]}");
	return 0;
}

int mr_rule_read_parse(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_parse_spec *spec = &reader->rule->parse;
	uint32_t big = 0;
	int r;

	if (mr_rule_is_map(node)) {
		r = mr_rule_read_map(reader, node, "parse", parse_fields,
				     mr_array_count(parse_fields), &big);
	} else {
		reader->given = 0;
		r = read_format(reader, node, NULL);
	}
	if (r == 0)
		r = check_options(reader, node);
	for (uint32_t i = 0; i < MR_PARSE_COLUMNS_MAX; i++)
		spec->fields[i].big_endian = big;
	return r;
}

/* ---- time --------------------------------------------------------------------------------------
 */

static int read_time_text(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_text(reader, node, "time", reader->rule->parse.time, MR_PARSE_PATH_MAX);
}

static int read_unit(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"auto", "s", "ms", "us", "ns"};
	uint32_t unit = 0;
	int r = mr_rule_read_word(reader, node, "unit", words, mr_array_count(words), &unit);

	reader->rule->parse.time_unit = (enum mr_parse_time_unit)unit;
	return r;
}

static const struct mr_rule_field time_fields[] = {
	{"path", read_time_text, true},
	{"unit", read_unit, false},
};

int mr_rule_read_time_path(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	if (mr_rule_is_map(node))
		return mr_rule_read_map(reader, node, "time", time_fields,
					mr_array_count(time_fields), NULL);
	return read_time_text(reader, node, NULL);
}

/* ---- clean -------------------------------------------------------------------------------------
 */

static int read_bound(struct mr_rule_reader *reader, const yaml_node_t *node, double *out)
{
	if (node && mr_rule_is_scalar(node) &&
	    (strcmp(mr_rule_text(node), "null") == 0 || strcmp(mr_rule_text(node), "~") == 0)) {
		*out = NAN;
		return 0;
	}
	return mr_rule_read_number(reader, node, "range", out);
}

static int read_range(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_clean_spec *spec = &reader->rule->clean;

	if (!mr_rule_is_list(node) || !mr_rule_item(reader, node, 1) ||
	    mr_rule_item(reader, node, 2))
		return mr_rule_refuse(reader, node,
				      "range: expected [LEAST, MOST], null for no bound");
	if (read_bound(reader, mr_rule_item(reader, node, 0), &spec->low) < 0 ||
	    read_bound(reader, mr_rule_item(reader, node, 1), &spec->high) < 0)
		return -EINVAL;
	if (spec->low > spec->high)
		return mr_rule_refuse(reader, node,
				      "range: %g is greater than %g: nothing would "
				      "be kept",
				      spec->low, spec->high);
	return 0;
}

static int read_drop(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"missing", "duplicate", "unchanged"};
	struct mr_clean_spec *spec = &reader->rule->clean;
	const yaml_node_t *item;
	uint32_t word = 0;

	if (!mr_rule_is_list(node))
		return mr_rule_refuse(reader, node,
				      "drop: expected a list of missing, duplicate, unchanged");
	for (uint32_t i = 0; (item = mr_rule_item(reader, node, i)); i++) {
		if (mr_rule_read_word(reader, item, "drop", words, mr_array_count(words), &word) <
		    0)
			return -EINVAL;
		spec->drop_duplicate |= word == 1; /* missing ones always are */
		spec->drop_unchanged |= word == 2;
	}
	return 0;
}

static int read_max_late(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_clean_spec *spec = &reader->rule->clean;

	if (mr_rule_is_scalar(node) && strcmp(mr_rule_text(node), "0s") == 0) {
		spec->max_late_ms = 0;
		return 0;
	}
	return mr_rule_read_time(reader, node, "max_late", &spec->max_late_ms);
}

/* "6mad" */
static int read_mads(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_clean_spec *spec = &reader->rule->clean;
	char text[64];
	size_t bytes;
	int r = mr_rule_read_text(reader, node, "spike", text, sizeof(text));

	if (r < 0)
		return r;
	bytes = mr_number_read(text, strlen(text), &spec->spike_mads);
	if (!bytes || strcmp(text + bytes, "mad") != 0 || !(spec->spike_mads > 0) ||
	    !isfinite(spec->spike_mads))
		return mr_rule_refuse(reader, node,
				      "spike: found '%s', expected a number of median "
				      "absolute deviations: 6mad",
				      text);
	return 0;
}

static int read_floor(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_clean_spec *spec = &reader->rule->clean;
	int r = mr_rule_read_number(reader, node, "floor", &spec->spike_floor);

	if (r == 0 && spec->spike_floor < 0)
		r = mr_rule_refuse(reader, node, "floor: %g is below 0", spec->spike_floor);
	return r;
}

static const struct mr_rule_field spike_fields[] = {
	{"beyond", read_mads, true},
	{"floor", read_floor, false},
};

static int read_spike(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	if (mr_rule_is_map(node))
		return mr_rule_read_map(reader, node, "spike", spike_fields,
					mr_array_count(spike_fields), NULL);
	return read_mads(reader, node, NULL);
}

static const struct mr_rule_field clean_fields[] = {
	{"range", read_range, false},
	{"drop", read_drop, false},
	{"max_late", read_max_late, false},
	{"spike", read_spike, false},
};

int mr_rule_read_clean(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_map(reader, node, "clean", clean_fields, mr_array_count(clean_fields),
				NULL);
}
