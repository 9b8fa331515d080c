/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: lines with fields of a layout, a zero byte, a record. A layout that was taken reads
 * every record that is long enough, and nothing behind it.
 */
#include "parse_check.h"

#define LAYOUT_MAX 1024

static uint32_t read_layout(char *text, bool big_endian, struct mr_parse_spec *spec)
{
	uint32_t end = 0;
	char *line;

	while ((line = strsep(&text, "\n")) && spec->name_count < MR_PARSE_COLUMNS_MAX) {
		struct mr_parse_raw_field *field = &spec->fields[spec->name_count];

		if (mr_parse_raw_field_read(line, big_endian, field, NULL) < 0)
			continue;
		fuzz_demand(field->at + field->bytes <= MR_PARSE_RAW_MAX);
		end = field->at + field->bytes > end ? field->at + field->bytes : end;
		spec->name_count++;
	}
	return end;
}

/* Each field in turn is the key, the time and the value. */
static void check_fields(struct mr_parse_spec *spec, uint32_t end, const uint8_t *record,
			 size_t count)
{
	for (uint32_t i = 0; i < spec->name_count; i++) {
		const char *name = spec->fields[i].name;
		struct mr_parser *parser = NULL;
		struct mr_parsed parsed;
		bool malformed;

		snprintf(spec->key, sizeof(spec->key), "%s", i % 2 ? name : "");
		snprintf(spec->time, sizeof(spec->time), "%s", i % 3 ? "" : name);
		snprintf(spec->value, sizeof(spec->value), "%s", name);
		if (mr_parser_new(spec, &parser, NULL) < 0)
			return; /* a name twice */
		malformed = fuzz_parse(parser, record, count, &parsed) == MR_PARSE_MALFORMED;
		fuzz_demand(malformed == (count < end));
		mr_parser_free(parser);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	const uint8_t *zero = memchr(data, '\0', count);
	struct mr_parse_spec spec = {.format = MR_PARSE_RAW};
	char layout[LAYOUT_MAX];
	uint32_t end;

	if (!zero || zero - data >= LAYOUT_MAX)
		return 0;
	memcpy(layout, data, (size_t)(zero - data) + 1);
	end = read_layout(layout, count & 1, &spec);
	check_fields(&spec, end, zero + 1, count - (size_t)(zero + 1 - data));
	return 0;
}
