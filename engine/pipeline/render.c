/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output records as bytes (render.h). Text that came from outside is escaped as RFC 8259 wants it;
 * bytes that are no UTF-8 become U+FFFD one by one.
 */
#include "render.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "number.h"

static const char *const severities[] = {"info", "warning", "critical"};

/* ---- pieces ------------------------------------------------------------------------------------
 */

static char *put(char *at, const char *text, size_t bytes)
{
	memcpy(at, text, bytes);
	return at + bytes;
}

static char *put_text(char *at, const char *text)
{
	return put(at, text, strlen(text));
}

/* Bytes of the UTF-8 character at 'at', 0: it is none (overlong and surrogates neither). */
static size_t character_bytes(const uint8_t *at, const uint8_t *end)
{
	size_t bytes = 0;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] < 0xf5)
		bytes = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	if (!bytes || bytes > (size_t)(end - at))
		return 0;
	for (size_t i = 1; i < bytes; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return bytes;
}

static char *put_control(char *at, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";
	static const char names[] = "btn\0fr"; /* 8 to 13 */

	*at++ = '\\';
	if (byte >= 8 && byte <= 13 && names[byte - 8]) {
		*at++ = names[byte - 8];
		return at;
	}
	at = put(at, "u00", 3);
	*at++ = hex[byte >> 4];
	*at++ = hex[byte & 15];
	return at;
}

static bool is_plain(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* With its quotes. At most 6 bytes for each of the text's. */
static char *put_string(char *at, const void *text, size_t bytes)
{
	const uint8_t *from = text;
	const uint8_t *end = from + bytes;

	*at++ = '"';
	while (from < end) {
		size_t count;

		if (is_plain(*from)) {
			*at++ = (char)*from++;
			continue;
		}
		count = character_bytes(from, end);
		if (count > 1) {
			at = put(at, (const char *)from, count);
		} else if (count == 0) {
			at = put(at, "\xef\xbf\xbd", 3);
			count = 1;
		} else if (*from == '"' || *from == '\\') {
			*at++ = '\\';
			*at++ = (char)*from;
		} else if (*from < 0x20) {
			at = put_control(at, *from);
		} else {
			*at++ = (char)*from; /* DEL */
		}
		from += count;
	}
	*at++ = '"';
	return at;
}

static char *put_integer(char *at, int64_t number)
{
	return at + mr_number_write_integer(at, number);
}

/* ---- records -----------------------------------------------------------------------------------
 */

/* The names of windows are words: they need no escape. */
static char *put_results(char *at, const struct mr_render_kept *kept)
{
	const struct mr_rule *rule = kept->program->rule;

	for (uint32_t i = 0; i < rule->window_count; i++) {
		at = put(at, ",\"", 2);
		at = put_text(at, rule->windows[i].name);
		at = put(at, "\":", 2);
		at += mr_number_write(at, kept->results[i]);
	}
	return at;
}

static char *put_place(char *at, const struct mr_render_kept *kept)
{
	at = put_text(at, ",\"offset\":");
	at = put_integer(at, (int64_t)kept->offset);
	at = put_text(at, ",\"time\":");
	at = put_integer(at, kept->time_ms);
	at = put_text(at, ",\"value\":");
	return at + mr_number_write(at, kept->value);
}

static char *put_raised(char *at, const struct mr_render_kept *kept)
{
	const struct mr_rule *rule = kept->program->rule;
	const char *before = ",\"alerts\":[\"";

	if (!kept->raised)
		return at;
	for (uint32_t i = 0; i < rule->alert_count; i++) {
		if (!(kept->raised >> i & 1))
			continue;
		at = put_text(at, before);
		at = put_text(at, rule->alerts[i].name);
		*at++ = '"';
		before = ",\"";
	}
	*at++ = ']';
	return at;
}

uint32_t mr_render_json(const struct mr_render_kept *kept, char *out)
{
	char *at = put_text(out, "{\"key\":");

	at = put_string(at, kept->key, (size_t)kept->key_bytes);
	at = put_place(at, kept);
	at = put_results(at, kept);
	at = put_raised(at, kept);
	*at++ = '}';
	return (uint32_t)(at - out);
}

static char *put_u64(char *at, uint64_t number)
{
	number = htole64(number);
	return put(at, (const char *)&number, sizeof(number));
}

static char *put_u32(char *at, uint32_t number)
{
	number = htole32(number);
	return put(at, (const char *)&number, sizeof(number));
}

static char *put_double(char *at, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	return put_u64(at, bits);
}

uint32_t mr_render_packed(const struct mr_render_kept *kept, char *out)
{
	uint32_t windows = kept->program->rule->window_count;
	char *at = put_u64(out, kept->offset);

	at = put_u64(at, (uint64_t)kept->time_ms);
	at = put_double(at, kept->value);
	at = put_u32(at, kept->raised);
	at = put_u32(at, windows);
	for (uint32_t i = 0; i < windows; i++)
		at = put_double(at, kept->results[i]);
	return (uint32_t)(at - out);
}

uint32_t mr_render_alert(const struct mr_render_alert *alert, char *out)
{
	const struct mr_render_kept *kept = &alert->kept;
	const struct mr_rule *rule = kept->program->rule;
	const struct mr_rule_alert *row = &rule->alerts[alert->alert];
	char *at = put_text(out, "{\"alert\":\"");

	at = put_text(at, row->name);
	at = put_text(at, alert->raised ? "\",\"state\":\"raised\"" : "\",\"state\":\"cleared\"");
	at = put_text(at, ",\"severity\":\"");
	at = put_text(at, severities[row->severity]);
	at = put_text(at, "\",\"pipeline\":\"");
	at = put_text(at, rule->name);
	at = put_text(at, "\",\"key\":");
	at = put_string(at, kept->key, (size_t)kept->key_bytes);
	at = put_text(at, ",\"partition\":");
	at = put_integer(at, kept->partition);
	at = put_place(at, kept);
	at = put_results(at, kept);
	if (!alert->raised) {
		at = put_text(at, ",\"raised\":");
		at = put_integer(at, alert->raised_ms);
	}
	at = put_text(at, ",\"condition\":");
	if (alert->raised || !row->clear[0])
		at = put_string(at, row->when, strlen(row->when));
	else
		at = put_string(at, row->clear, strlen(row->clear));
	*at++ = '}';
	return (uint32_t)(at - out);
}

uint32_t mr_render_rejected(const struct mr_render_rejected *rejected, char *out)
{
	const struct mr_message *message = rejected->message;
	size_t bytes = message->value_bytes > 0 ? (size_t)message->value_bytes : 0;
	char *at = put_text(out, "{\"reason\":\"");

	at = put_text(at, mr_parse_reason_names[rejected->reason]);
	at = put_text(at, "\",\"where\":");
	at = put_integer(at, rejected->where);
	at = put_text(at, ",\"pipeline\":\"");
	at = put_text(at, rejected->program->rule->name);
	at = put_text(at, "\",\"partition\":");
	at = put_integer(at, message->partition);
	at = put_text(at, ",\"offset\":");
	at = put_integer(at, (int64_t)message->offset);
	at = put_text(at, ",\"bytes\":");
	at = put_integer(at, (int64_t)bytes);
	at = put_text(at, ",\"record\":");
	if (bytes > MR_RENDER_REJECTED_MAX)
		bytes = MR_RENDER_REJECTED_MAX;
	at = message->value_bytes < 0 ? put_text(at, "null")
				      : put_string(at, message->value, bytes);
	*at++ = '}';
	return (uint32_t)(at - out);
}
