/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options' values: from text into a struct's fields, checked against their row of the table,
 * and back into words. Runs on any thread, owns nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config_table.h"
#include "nearest.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* The smallest first. Without a unit a size is bytes; a time has no unit of its own. */
static const struct unit byte_units[] = {
	{"", 1},
	{"KiB", UINT64_C(1) << 10},
	{"MiB", UINT64_C(1) << 20},
	{"GiB", UINT64_C(1) << 30},
};
static const struct unit time_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit no_units[] = {{"", 1}};

/* How many there are goes to *count. */
static const struct unit *units_of(const struct mr_option *option, size_t *count)
{
	switch (option->type) {
	case MR_OPTION_BYTES:
	case MR_OPTION_POWER:
		*count = mr_array_count(byte_units);
		return byte_units;
	case MR_OPTION_TIME:
		*count = mr_array_count(time_units);
		return time_units;
	default:
		*count = 1;
		return no_units;
	}
}

const struct mr_option *mr_option_find(const struct mr_option_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->rows[i].name, name) == 0)
			return &table->rows[i];
	}
	return NULL;
}

const char *mr_option_nearest(const struct mr_option_table *table, const char *name)
{
	struct mr_nearest nearest;

	mr_nearest_begin(&nearest, name, strlen(name));
	for (size_t i = 0; i < table->count; i++)
		mr_nearest_offer(&nearest, table->rows[i].name, strlen(table->rows[i].name));
	return mr_nearest_word(&nearest, NULL);
}

/* The word of "a|b|c" that is nearest to 'text', as a hint. */
static void hint_word(const char *words, const char *text, struct mr_error *err)
{
	struct mr_nearest nearest;

	mr_nearest_begin(&nearest, text, strlen(text));
	for (const char *word = words; *word;) {
		size_t length = strcspn(word, "|");

		mr_nearest_offer(&nearest, word, length);
		word += length + (word[length] == '|');
	}
	(void)mr_nearest_hint(&nearest, err); /* none is near: no hint */
}

/* -EINVAL if 'text' is none of the words. */
static int parse_word(const char *words, const char *text, uint64_t *value)
{
	*value = 0;
	for (const char *word = words; *word; (*value)++) {
		size_t length = strcspn(word, "|");

		if (strlen(text) == length && strncmp(word, text, length) == 0)
			return 0;
		word += length + (word[length] == '|');
	}
	return -EINVAL;
}

/* "1 GiB", "1GiB", "1073741824". Zero needs no unit. */
static int parse_number(const struct mr_option *option, const char *text, uint64_t *value)
{
	size_t count;
	const struct unit *units = units_of(option, &count);
	uint64_t number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	end += strspn(end, " ");
	for (size_t i = 0; i < count; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		return __builtin_mul_overflow(number, units[i].factor, value) ? -EINVAL : 0;
	}
	*value = 0;
	return number == 0 && *end == '\0' ? 0 : -EINVAL;
}

static int parse_bounded(const struct mr_option *option, const char *text, uint64_t *value)
{
	if (parse_number(option, text, value) < 0)
		return -EINVAL;
	if (*value < option->least || *value > option->most)
		return -EINVAL;
	if (option->type == MR_OPTION_POWER && (*value & (*value - 1)))
		return -EINVAL;
	return 0;
}

/* No control characters: a path is shown to people, and none has them by intent. */
static bool is_path(const struct mr_option *option, const char *text)
{
	size_t bytes = strlen(text);

	for (const char *at = text; *at; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return false;
	}
	return bytes >= option->least && bytes <= option->most;
}

static bool is_name(const struct mr_option *option, const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t bytes = strlen(text);

	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	return bytes >= option->least && bytes <= option->most && strspn(text, allowed) == bytes;
}

static bool is_address(const struct mr_option *option, const char *text)
{
	if (!text[0])
		return option->least == 0;
	return strlen(text) <= option->most && mr_address_parse(text, NULL, NULL) == 0;
}

static bool is_text(const struct mr_option *option, const char *text)
{
	if (option->type == MR_OPTION_PATH)
		return is_path(option, text);
	return option->type == MR_OPTION_NAME ? is_name(option, text) : is_address(option, text);
}

void mr_option_put(const struct mr_option *option, uint64_t value, void *fields)
{
	uint8_t *field = (uint8_t *)fields + option->offset;
	uint32_t value32 = (uint32_t)value;
	bool value1 = value != 0;

	switch (option->bytes) {
	case sizeof(uint64_t):
		memcpy(field, &value, sizeof(value));
		return;
	case sizeof(uint32_t):
		mr_assert(value <= UINT32_MAX);
		memcpy(field, &value32, sizeof(value32));
		return;
	default:
		mr_assert(option->bytes == sizeof(bool));
		memcpy(field, &value1, sizeof(value1));
	}
}

uint64_t mr_option_get(const struct mr_option *option, const void *fields)
{
	const uint8_t *field = (const uint8_t *)fields + option->offset;
	uint64_t value;
	uint32_t value32;

	if (option->bytes == sizeof(bool))
		return *field;
	if (option->bytes == sizeof(uint32_t)) {
		memcpy(&value32, field, sizeof(value32));
		return value32;
	}
	mr_assert(option->bytes == sizeof(uint64_t));
	memcpy(&value, field, sizeof(value));
	return value;
}

static int parse_into(const struct mr_option *option, const char *text, void *fields)
{
	char *field = (char *)fields + option->offset;
	uint64_t value;
	int r;

	switch (option->type) {
	case MR_OPTION_PATH:
	case MR_OPTION_NAME:
	case MR_OPTION_ADDRESS:
		if (!is_text(option, text))
			return -EINVAL;
		mr_assert(strlen(text) < option->bytes);
		memcpy(field, text, strlen(text) + 1);
		return 0;
	case MR_OPTION_WORD:
		r = parse_word(option->words, text, &value);
		break;
	case MR_OPTION_LIST:
	case MR_OPTION_PEERS:
	case MR_OPTION_GROUP:
		return -EINVAL;
	default:
		r = parse_bounded(option, text, &value);
		break;
	}
	if (r == 0)
		mr_option_put(option, value, fields);
	return r;
}

static void add_hint(const struct mr_option *option, const char *text, struct mr_error *err)
{
	switch (option->type) {
	case MR_OPTION_WORD:
		hint_word(option->words, text, err);
		return;
	case MR_OPTION_BYTES:
	case MR_OPTION_POWER:
		mr_error_hint(err, "write a whole number, alone or with KiB, MiB or GiB");
		return;
	case MR_OPTION_TIME:
		mr_error_hint(err, "write a whole number with ms, s, min, h or d");
		return;
	case MR_OPTION_NAME:
		mr_error_hint(err, "a name is made of a-z A-Z 0-9 . _ -");
		return;
	case MR_OPTION_ADDRESS:
		mr_error_hint(err, "write a host and a port, as 10.0.0.2:7420, [::1]:7420 or "
				   "host.example:7420");
		return;
	default:
		return;
	}
}

int mr_option_set(const struct mr_option *option, const char *text, void *fields,
		  struct mr_error *err)
{
	char expected[120];

	if (parse_into(option, text, fields) == 0)
		return 0;
	mr_option_expected(option, expected, sizeof(expected));
	mr_error_set(err, -EINVAL, "%s is '%.40s%s', expected %s", option->name, text,
		     strlen(text) > 40 ? "..." : "", expected);
	add_hint(option, text, err);
	return -EINVAL;
}

const char *mr_option_format(const struct mr_option *option, uint64_t value, char *text,
			     size_t bytes)
{
	size_t count;
	const struct unit *units = units_of(option, &count);

	while (count > 1 && (value == 0 || value % units[count - 1].factor != 0))
		count--;
	snprintf(text, bytes, "%llu%s%s", (unsigned long long)(value / units[count - 1].factor),
		 value && units[count - 1].name[0] ? " " : "", value ? units[count - 1].name : "");
	return text;
}

/* "auto|uring|posix" as "auto, uring or posix". */
static void format_words(const char *words, char *text, size_t bytes)
{
	size_t used = 0;

	for (const char *word = words; *word && used < bytes;) {
		size_t length = strcspn(word, "|");
		bool last = word[length] == '\0';
		const char *between = word == words ? "" : last ? " or " : ", ";
		int n = snprintf(text + used, bytes - used, "%s%.*s", between, (int)length, word);

		used += (size_t)n;
		word += length + !last;
	}
}

const char *mr_option_expected(const struct mr_option *option, char *text, size_t bytes)
{
	static const char *const kinds[] = {
		[MR_OPTION_COUNT] = "a whole number",
		[MR_OPTION_BYTES] = "a size",
		[MR_OPTION_POWER] = "a power of two",
		[MR_OPTION_TIME] = "a time",
	};
	char least[32], most[32];

	switch (option->type) {
	case MR_OPTION_WORD:
		format_words(option->words, text, bytes);
		return text;
	case MR_OPTION_PATH:
		snprintf(text, bytes, "a path of %s%llu bytes", option->least ? "1 to " : "up to ",
			 (unsigned long long)option->most);
		return text;
	case MR_OPTION_ADDRESS:
		snprintf(text, bytes, "an address with a port");
		return text;
	case MR_OPTION_PEERS:
		snprintf(text, bytes, "hosts by name");
		return text;
	case MR_OPTION_GROUP:
		snprintf(text, bytes, "a group of keys");
		return text;
	case MR_OPTION_NAME:
		snprintf(text, bytes, "a name of 1 to %llu characters",
			 (unsigned long long)option->most);
		return text;
	case MR_OPTION_LIST:
		snprintf(text, bytes, "a list");
		return text;
	default:
		snprintf(text, bytes, "%s from %s to %s", kinds[option->type],
			 mr_option_format(option, option->least, least, sizeof(least)),
			 mr_option_format(option, option->most, most, sizeof(most)));
		return text;
	}
}
