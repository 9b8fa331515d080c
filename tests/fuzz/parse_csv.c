/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the first byte is the delimiter, the rest is a row. A row that was taken, of which
 * the key is written down in quotes again, gives the same key again.
 */
#include "parse_check.h"

static void check_quoted(struct mr_parser *parser, const struct mr_parsed *parsed)
{
	uint8_t row[2 * MR_PARSE_KEY_MAX + 16];
	char key[MR_PARSE_KEY_MAX];
	int32_t key_bytes = parsed->key_bytes;
	struct mr_parsed again;
	size_t at = 0;

	memcpy(key, parsed->key, (size_t)key_bytes);
	row[at++] = '"';
	for (int32_t i = 0; i < key_bytes; i++) {
		if (key[i] == '"')
			row[at++] = '"';
		row[at++] = (uint8_t)key[i];
	}
	row[at++] = '"';
	fuzz_demand(fuzz_parse(parser, row, at, &again) == MR_PARSE_OK);
	fuzz_demand(again.key_bytes == key_bytes);
	fuzz_demand(memcmp(again.key, key, (size_t)key_bytes) == 0);
	fuzz_demand(isnan(again.value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_CSV, .key = "1", .value = "2"};
	struct mr_parser *parser = NULL;
	struct mr_parsed parsed;

	if (count == 0)
		return 0;
	spec.delimiter = (char)data[0];
	if (mr_parser_new(&spec, &parser, NULL) < 0)
		return 0;
	if (fuzz_parse(parser, data + 1, count - 1, &parsed) == MR_PARSE_OK)
		check_quoted(parser, &parsed);
	mr_parser_free(parser);
	snprintf(spec.time, sizeof(spec.time), "3");
	parser = fuzz_parser(&spec);
	(void)fuzz_parse(parser, data + 1, count - 1, &parsed);
	mr_parser_free(parser);
	return 0;
}
