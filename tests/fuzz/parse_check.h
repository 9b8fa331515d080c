/* SPDX-License-Identifier: Apache-2.0 */
/* What every parser must hold to, whatever the record holds. */
#ifndef MR_FUZZ_PARSE_CHECK_H
#define MR_FUZZ_PARSE_CHECK_H

#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "parse.h"

/* Parses twice, as there is a scratch: all is within bounds, and the same again. */
static inline enum mr_parse_reason fuzz_parse(struct mr_parser *parser, const uint8_t *data,
					      size_t count, struct mr_parsed *out)
{
	struct mr_message message = {.key = "own",
				     .key_bytes = 3,
				     .timestamp_ms = 1234,
				     .value = data,
				     .value_bytes = (int32_t)count};
	enum mr_parse_reason reason = mr_parser_parse(parser, &message, out);
	char key[MR_PARSE_KEY_MAX];
	struct mr_parsed again;

	fuzz_demand(reason >= MR_PARSE_OK && reason < MR_PARSE_REASONS);
	fuzz_demand(reason != MR_PARSE_NULL);
	fuzz_demand(out->where <= count);
	if (reason != MR_PARSE_OK)
		return reason;
	fuzz_demand(out->key_bytes >= 0 && out->key_bytes <= MR_PARSE_KEY_MAX);
	fuzz_demand(isfinite(out->value) || isnan(out->value));
	memcpy(key, out->key, (size_t)out->key_bytes);
	fuzz_demand(mr_parser_parse(parser, &message, &again) == MR_PARSE_OK);
	fuzz_demand(again.key_bytes == out->key_bytes);
	fuzz_demand(memcmp(again.key, key, (size_t)out->key_bytes) == 0);
	fuzz_demand(again.time_ms == out->time_ms);
	fuzz_demand(again.value == out->value || (isnan(again.value) && isnan(out->value)));
	return reason;
}

static inline struct mr_parser *fuzz_parser(const struct mr_parse_spec *spec)
{
	struct mr_parser *parser = NULL;

	fuzz_demand(mr_parser_new(spec, &parser, NULL) == 0);
	return parser;
}

#endif
