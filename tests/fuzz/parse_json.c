/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a JSON record, against jansson: the same verdict, and at three paths
 * the same value and the same key. jansson's own limits are left out: it knows no zero bytes
 * between tokens or in names, and no numbers beyond a double.
 */
#include <jansson.h>

#include "parse_check.h"

#define ALIKE (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

static const json_t *look_up(const json_t *root, int which)
{
	if (which == 0)
		return json_object_get(root, "a");
	if (which == 1)
		return json_object_get(json_object_get(root, "b"), "c");
	return json_array_get(json_object_get(root, "l"), 1);
}

static struct mr_parser *parser_of(const char *key, const char *value)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_JSON};

	snprintf(spec.key, sizeof(spec.key), "%s", key);
	snprintf(spec.value, sizeof(spec.value), "%s", value);
	return fuzz_parser(&spec);
}

static void check_value(const json_t *found, enum mr_parse_reason reason, double value)
{
	if (json_is_string(found) || json_is_array(found) || json_is_object(found)) {
		fuzz_demand(reason == MR_PARSE_NOT_NUMBER);
		return;
	}
	fuzz_demand(reason == MR_PARSE_OK);
	if (json_is_number(found))
		fuzz_demand(value == json_number_value(found));
	else if (json_is_boolean(found))
		fuzz_demand(value == (double)json_is_true(found));
	else
		fuzz_demand(isnan(value));
}

static void check_key(const json_t *found, enum mr_parse_reason reason,
		      const struct mr_parsed *parsed)
{
	if (!json_is_string(found) || json_string_length(found) > MR_PARSE_KEY_MAX) {
		fuzz_demand(json_is_number(found) ? reason == MR_PARSE_OK
						  : reason == MR_PARSE_NO_KEY);
		return;
	}
	fuzz_demand(reason == MR_PARSE_OK);
	fuzz_demand((size_t)parsed->key_bytes == json_string_length(found));
	fuzz_demand(memcmp(parsed->key, json_string_value(found), json_string_length(found)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static const char *const paths[] = {"$.a", "$.b.c", "$.l[1]"};
	static struct mr_parser *values[3], *keys[3];
	struct mr_parsed parsed;
	enum mr_parse_reason reason;
	json_error_t error;
	json_t *root;

	for (int i = 0; i < 3 && !values[i]; i++) {
		values[i] = parser_of("", paths[i]);
		keys[i] = parser_of(paths[i], "$.nothing such");
	}
	root = memchr(data, '\0', count) ? NULL
					 : json_loadb((const char *)data, count, ALIKE, &error);
	reason = fuzz_parse(values[0], data, count, &parsed);
	if (reason == MR_PARSE_TOO_DEEP ||
	    (!root && !memchr(data, '\0', count) &&
	     (json_error_code(&error) == json_error_null_byte_in_key ||
	      json_error_code(&error) == json_error_numeric_overflow))) {
		json_decref(root);
		return 0;
	}
	fuzz_demand((reason == MR_PARSE_MALFORMED) == !root);
	for (int i = 0; root && i < 3; i++) {
		reason = fuzz_parse(values[i], data, count, &parsed);
		check_value(look_up(root, i), reason, parsed.value);
		reason = fuzz_parse(keys[i], data, count, &parsed);
		check_key(look_up(root, i), reason, &parsed);
	}
	json_decref(root);
	return 0;
}
