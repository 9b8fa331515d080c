/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a line of the line protocol, and as a record that is one number. What
 * is asked for does not change whether the line is one.
 */
#include "parse_check.h"

static enum mr_parse_reason ask(const char *key, const char *time, const char *value,
				const uint8_t *data, size_t count)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_LINE_PROTOCOL};
	struct mr_parser *parser;
	struct mr_parsed parsed;
	enum mr_parse_reason reason;

	snprintf(spec.key, sizeof(spec.key), "%s", key);
	snprintf(spec.time, sizeof(spec.time), "%s", time);
	snprintf(spec.value, sizeof(spec.value), "%s", value);
	parser = fuzz_parser(&spec);
	reason = fuzz_parse(parser, data, count, &parsed);
	mr_parser_free(parser);
	return reason;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static const struct mr_parse_spec number = {.format = MR_PARSE_NUMBER};
	bool line = ask("", "", "f", data, count) != MR_PARSE_MALFORMED;
	struct mr_parser *parser = fuzz_parser(&number);
	struct mr_parsed parsed;

	fuzz_demand(line == (ask("measurement", "", "t", data, count) != MR_PARSE_MALFORMED));
	fuzz_demand(line == (ask("t", "time", "f", data, count) != MR_PARSE_MALFORMED));
	if (line)
		fuzz_demand(ask("measurement", "", "nothing such", data, count) != MR_PARSE_NULL);
	fuzz_demand(fuzz_parse(parser, data, count, &parsed) != MR_PARSE_MALFORMED);
	mr_parser_free(parser);
	return 0;
}
