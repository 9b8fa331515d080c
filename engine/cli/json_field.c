/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A field of a JSON value by its dotted path. Pure; any thread; allocates nothing.
 */
#include "json_field.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"

/* The member or place that the first step of the path names; *rest is what comes behind the dot. */
static const json_t *step(const json_t *value, const char *path, const char **rest)
{
	size_t bytes = strcspn(path, ".");
	char place[24];
	uint64_t index;

	*rest = path[bytes] ? path + bytes + 1 : NULL;
	if (json_is_object(value))
		return json_object_getn(value, path, bytes);
	if (!json_is_array(value) || bytes >= sizeof(place))
		return NULL;
	memcpy(place, path, bytes);
	place[bytes] = '\0';
	if (mr_argument_number(place, 0, SIZE_MAX, &index) < 0)
		return NULL;
	return json_array_get(value, index);
}

int mr_json_find(const json_t *root, const char *path, const json_t **out, struct mr_error *err)
{
	const json_t *value = root;
	const char *rest = path;

	while (value && rest) {
		const json_t *whole = json_is_object(value) ? json_object_get(value, rest) : NULL;

		if (whole) {
			value = whole;
			break;
		}
		value = step(value, rest, &rest);
	}
	if (!value)
		return mr_error_set(err, -EBADMSG, "there is no field '%s'", path);
	if (json_is_null(value))
		return mr_error_set(err, -EBADMSG, "field '%s' is null", path);
	*out = value;
	return 0;
}

int mr_json_number_text(const json_t *value, char text[MR_JSON_NUMBER_BYTES])
{
	if (json_is_integer(value)) {
		snprintf(text, MR_JSON_NUMBER_BYTES, "%lld", (long long)json_integer_value(value));
		return 0;
	}
	if (!json_is_real(value))
		return -EINVAL;
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, MR_JSON_NUMBER_BYTES, "%.*g", digits, json_real_value(value));
		if (strtod(text, NULL) == json_real_value(value))
			break;
	}
	return 0;
}
