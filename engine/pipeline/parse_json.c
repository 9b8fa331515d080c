/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON (RFC 8259): one pass over the text, which checks all of it and keeps what paths lead to.
 * Pure; any thread; allocates nothing.
 *
 * The scanner goes from member to member with a stack of the containers that it is in. A container
 * knows which paths lead through it ('going'); a member's name or index narrows these down to those
 * that go on in its value and those that end with it. A path that meets its name again forgets what
 * it found before: of names given twice the last counts.
 *
 * Strings are looked through eight bytes at a time for the first one that is a quote, an escape, a
 * control character or not ASCII. Such bytes, and they alone, are looked at one by one.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "parse_inside.h"
#include "text.h"

/* ---- paths -------------------------------------------------------------------------------- */

/* Of a name in a text that goes on to 'end'. */
static inline uint64_t first_bytes(const char *name, size_t bytes, const char *end)
{
	uint64_t first = mr_text_load(name, end);

	return bytes < 8 ? first & ~(~UINT64_C(0) << (8 * bytes)) : first;
}

/* A step of the path of 'want', at a depth. */
static void set_step(struct mr_json_paths *paths, int want, const char *name, size_t bytes)
{
	struct mr_json_step *step = &paths->steps[paths->counts[want]];
	uint32_t used = 0;

	for (uint32_t depth = 0; depth < paths->counts[want]; depth++) {
		if (paths->steps[depth].bytes[want] != MR_JSON_NO_NAME)
			used += paths->steps[depth].bytes[want];
	}
	step->first[want] = first_bytes(name, bytes, name + bytes);
	step->bytes[want] = (uint32_t)bytes;
	step->at[want] = (uint8_t)used;
	memcpy(paths->names[want] + used, name, bytes);
}

static void set_index(struct mr_json_paths *paths, int want, const char *digits, size_t count)
{
	uint32_t index = 0;

	for (size_t i = 0; i < count; i++)
		index = index * 10 + (unsigned)(digits[i] - '0');
	paths->steps[paths->counts[want]].index[want] = index;
}

/* [2] or ["name"]: behind it, or NULL. */
static const char *read_bracket(const char *at, struct mr_json_paths *paths, int want)
{
	char quote = at[1] == '"' || at[1] == '\'' ? at[1] : '\0';
	const char *name = at + 1 + (quote != '\0');
	size_t bytes =
		!quote ? strspn(name, "0123456789") : strcspn(name, quote == '"' ? "\"" : "'");

	if (bytes == 0 || (!quote && bytes > 9) || (quote && name[bytes] != quote) ||
	    name[bytes + (quote != '\0')] != ']')
		return NULL;
	if (quote)
		set_step(paths, want, name, bytes);
	else
		set_index(paths, want, name, bytes);
	return name + bytes + 1 + (quote != '\0');
}

/* .name */
static const char *read_name(const char *at, struct mr_json_paths *paths, int want)
{
	size_t bytes = strcspn(at + 1, ".[");

	if (*at != '.' || bytes == 0)
		return NULL;
	set_step(paths, want, at + 1, bytes);
	return at + 1 + bytes;
}

static int read_path(const char *text, struct mr_json_paths *paths, int want)
{
	const char *at = text + 1;

	if (*text != '$')
		return -EINVAL;
	while (*at) {
		if (paths->counts[want] == MR_JSON_STEPS_MAX)
			return -EINVAL;
		at = *at == '[' ? read_bracket(at, paths, want) : read_name(at, paths, want);
		if (!at)
			return -EINVAL;
		paths->counts[want]++;
	}
	return 0;
}

int mr_parse_json_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		       struct mr_error *err)
{
	const char *const texts[MR_WANTS] = {spec->key, spec->time, spec->value};
	struct mr_json_paths *paths = &parser->json;

	for (int depth = 0; depth <= MR_JSON_STEPS_MAX; depth++) {
		memset(paths->steps[depth].bytes, 0xff, sizeof(paths->steps[depth].bytes));
		memset(paths->steps[depth].index, 0xff, sizeof(paths->steps[depth].index));
	}
	for (int want = 0; want < MR_WANTS; want++) {
		if (!parser->wanted[want] || read_path(texts[want], paths, want) == 0)
			continue;
		mr_error_set(err, -EINVAL, "%s: '%s' is no path into JSON",
			     mr_parse_want_names[want], texts[want]);
		return mr_error_hint(err, "write $.name, $.name.inner, $.list[0] or $[\"a name\"]");
	}
	return 0;
}

/* ---- scanning ----------------------------------------------------------------------------- */

/* A container that the scanner is in. */
struct level {
	char end; /* the bracket that closes it */
	bool begun;
	uint8_t going;	/* bit 'want': the path leads through it */
	uint32_t index; /* of the next member */
};

/* Functions take a place and return the one behind what they took; NULL: it stops 'where'. */
struct scan {
	const char *end;
	const struct mr_json_paths *paths;
	struct mr_found *found;
	const char *where;
	enum mr_parse_reason reason;
	uint32_t depth;
	struct level levels[MR_PARSE_DEPTH_MAX];
};

static __attribute__((cold, noinline)) const char *stop(struct scan *scan, const char *at)
{
	scan->where = at;
	scan->reason = MR_PARSE_MALFORMED;
	return NULL;
}

static __attribute__((noinline)) const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

static inline const char *skip_space(const char *at, const char *end)
{
	if (__builtin_expect(at < end && (unsigned char)*at > ' ', 1))
		return at;
	return skip_blanks(at, end);
}

/* The first of eight bytes that does not simply belong to a string; 8: none. */
static inline unsigned first_special(uint64_t eight)
{
	uint64_t quote = eight ^ MR_TEXT_EACH('"');
	uint64_t escape = eight ^ MR_TEXT_EACH('\\');

	/* A borrow begins only in a byte that is named, and what it spoils lies behind that one. */
	return mr_text_first(((eight - MR_TEXT_EACH(' ')) | (quote - MR_TEXT_EACH(1)) |
			      (escape - MR_TEXT_EACH(1)) | eight) &
			     MR_TEXT_TOPS);
}

/* "12ab"; -1: no four hexadecimal digits. */
static int hexadecimal(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char lower = (char)(at[i] | 0x20);
		int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
			    : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
							   : -1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* What \u stands for, with the second half of a surrogate pair; -1: nothing. *bytes from u on. */
static int32_t code_point(const char *at, const char *end, size_t *bytes)
{
	int high = hexadecimal(at + 1, end);
	int low;

	*bytes = 5;
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || end - at < 11 || at[5] != '\\' || at[6] != 'u')
		return -1;
	low = hexadecimal(at + 7, end);
	*bytes = 11;
	return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((high - 0xd800) << 10) + low - 0xdc00;
}

/* Bytes of the escape behind a backslash; 0: there is none. */
static size_t escape_bytes(const char *at, const char *end)
{
	size_t bytes;

	if (at == end)
		return 0;
	if (*at == 'u')
		return code_point(at, end, &bytes) < 0 ? 0 : bytes;
	return *at && strchr("\"\\/bfnrt", *at) ? 1 : 0;
}

static inline bool continues(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Bytes of a character of UTF-8 beyond ASCII: the shortest form, no surrogates; 0: none such. */
static size_t utf8_bytes(const char *text, const char *end)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t left = (size_t)(end - text);

	if (at[0] < 0xc2 || at[0] > 0xf4 || left < 2 || !continues(at[1]))
		return 0;
	if (at[0] < 0xe0)
		return 2;
	if (left < 3 || !continues(at[2]) || (at[0] == 0xe0 && at[1] < 0xa0) ||
	    (at[0] == 0xed && at[1] > 0x9f))
		return 0;
	if (at[0] < 0xf0)
		return 3;
	if (left < 4 || !continues(at[3]) || (at[0] == 0xf0 && at[1] < 0x90) ||
	    (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return 4;
}

/* The escape or the character beyond ASCII that stands here. */
static __attribute__((noinline)) const char *take_special(struct scan *scan, const char *at,
							  bool *escaped)
{
	size_t bytes;

	if (at == scan->end)
		return stop(scan, at);
	if (*at == '\\') {
		*escaped = true;
		bytes = escape_bytes(at + 1, scan->end);
		return bytes ? at + 1 + bytes : stop(scan, at);
	}
	bytes = utf8_bytes(at, scan->end);
	return bytes ? at + bytes : stop(scan, at);
}

/* From behind the opening quote to behind the closing one. */
static inline const char *take_string(struct scan *scan, const char *at, bool *escaped)
{
	*escaped = false;
	for (;;) {
		uint64_t eight = mr_text_load(at, scan->end);
		unsigned plain = first_special(eight);

		if (plain == 8) {
			at += 8;
			continue;
		}
		at += plain;
		if (__builtin_expect((eight >> (8 * plain) & 0xff) == '"', 1))
			return at + 1;
		at = take_special(scan, at, escaped);
		if (!at)
			return NULL;
	}
}

/* The one that was found first, for all others whose path ends here. */
static void spread(struct mr_found *found, uint8_t ending)
{
	int first = __builtin_ctz(ending);

	for (int want = first + 1; want < MR_WANTS; want++) {
		if (ending & 1u << want)
			found[want] = found[first];
	}
}

static inline void keep(const struct scan *scan, uint8_t ending, enum mr_found_kind kind,
			const char *text, const char *end)
{
	struct mr_found *found = &scan->found[__builtin_ctz(ending)];

	found->kind = kind;
	found->escaped = false;
	found->text = text;
	found->bytes = (uint32_t)(end - text);
}

/* true, false or null, or their beginning. */
static const char *take_word(struct scan *scan, const char *at, uint8_t ending)
{
	const char *word = *at == 't' ? "true" : *at == 'f' ? "false" : "null";
	size_t bytes = *at == 'f' ? 5 : 4;

	if ((size_t)(scan->end - at) < bytes || memcmp(at, word, bytes) != 0)
		return stop(scan, at);
	if (ending) {
		keep(scan, ending, *at == 'n' ? MR_FOUND_NULL : MR_FOUND_TRUTH, at, at + bytes);
		scan->found[__builtin_ctz(ending)].truth = *at == 't';
		spread(scan->found, ending);
	}
	return at + bytes;
}

static inline const char *skip_digits(const char *at, const char *end)
{
	unsigned count;

	do {
		count = mr_text_first(mr_text_not_digits(mr_text_load(at, end)));
		at += count;
	} while (count == 8);
	return at;
}

/* The rest of a number that nobody asked for, from its point or exponent on. */
static const char *skip_fraction(struct scan *scan, const char *at)
{
	const char *start = at;

	if (*at == '.') {
		at = skip_digits(at + 1, scan->end);
		if (at == start + 1)
			return stop(scan, start);
	}
	if (at == scan->end || (*at | 0x20) != 'e')
		return at;
	at++;
	at += at < scan->end && (*at == '-' || *at == '+');
	start = at;
	at = skip_digits(at, scan->end);
	return at > start ? at : stop(scan, start);
}

/* One that nobody asked for. */
static inline const char *skip_number(struct scan *scan, const char *at)
{
	const char *digits = at + (*at == '-');
	const char *end = skip_digits(digits, scan->end);

	if (end == digits || (*digits == '0' && end > digits + 1))
		return stop(scan, at);
	if (end < scan->end && (*end == '.' || (*end | 0x20) == 'e'))
		return skip_fraction(scan, end);
	return end;
}

static inline const char *take_number(struct scan *scan, const char *at, uint8_t ending)
{
	size_t bytes;

	if (!ending)
		return skip_number(scan, at);
	bytes = mr_decimal_read(at, (size_t)(scan->end - at), MR_DECIMAL_JSON,
				&scan->found[__builtin_ctz(ending)].decimal);
	if (bytes == 0)
		return stop(scan, at);
	keep(scan, ending, MR_FOUND_NUMBER, at, at + bytes);
	spread(scan->found, ending);
	return at + bytes;
}

static inline const char *take_text(struct scan *scan, const char *at, uint8_t ending)
{
	bool escaped;
	const char *end = take_string(scan, at + 1, &escaped);

	if (!end || !ending)
		return end;
	keep(scan, ending, MR_FOUND_TEXT, at + 1, end - 1);
	scan->found[__builtin_ctz(ending)].escaped = escaped;
	spread(scan->found, ending);
	return end;
}

static const char *enter(struct scan *scan, const char *at, uint8_t ending, uint8_t going)
{
	if (scan->depth == MR_PARSE_DEPTH_MAX) {
		(void)stop(scan, at);
		scan->reason = MR_PARSE_TOO_DEEP;
		return NULL;
	}
	scan->levels[scan->depth++] = (struct level){.end = *at == '{' ? '}' : ']', .going = going};
	if (ending) {
		keep(scan, ending, MR_FOUND_OTHER, at, at);
		spread(scan->found, ending);
	}
	return at + 1;
}

/* A value; of an array or object only its beginning. */
static inline const char *take_value(struct scan *scan, const char *at, uint8_t ending,
				     uint8_t going)
{
	if (at == scan->end)
		return stop(scan, at);
	switch (*at) {
	case '{':
	case '[':
		return enter(scan, at, ending, going);
	case '"':
		return take_text(scan, at, ending);
	case 't':
	case 'f':
	case 'n':
		return take_word(scan, at, ending);
	default:
		return take_number(scan, at, ending);
	}
}

/* A bit for each path whose name at this depth it may be: the length and the first bytes agree. */
static inline uint8_t may_be_named(const struct mr_json_step *step, size_t bytes, uint64_t first)
{
	uint8_t matching = 0;

	static_assert(MR_WANTS == 3, "the loop becomes three comparisons");
	for (int want = 0; want < MR_WANTS; want++)
		matching |= (uint8_t)((step->first[want] == first && step->bytes[want] == bytes)
				      << want);
	return matching;
}

static __attribute__((noinline)) uint8_t match_long(const struct mr_json_paths *paths,
						    uint32_t depth, uint8_t matching,
						    const char *name, size_t bytes)
{
	for (int want = 0; want < MR_WANTS; want++) {
		if (matching & 1u << want &&
		    memcmp(paths->names[want] + paths->steps[depth].at[want], name, bytes) != 0)
			matching &= (uint8_t) ~(1u << want);
	}
	return matching;
}

/* Which of the paths through the innermost container lead to a member of this name. */
static inline uint8_t match_plain(const struct scan *scan, uint8_t going, const char *name,
				  size_t bytes, const char *end)
{
	uint32_t depth = scan->depth - 1;
	uint8_t matching = going & may_be_named(&scan->paths->steps[depth], bytes,
						first_bytes(name, bytes, end));

	return matching && bytes > 8 ? match_long(scan->paths, depth, matching, name, bytes)
				     : matching;
}

static __attribute__((noinline)) uint8_t match_escaped(const struct scan *scan, uint8_t going,
						       const char *name, size_t bytes)
{
	char plain[MR_PARSE_PATH_MAX];

	bytes = mr_parse_json_unescape(name, bytes, plain, sizeof(plain));
	if (bytes > sizeof(plain))
		return 0; /* longer than any that is looked for */
	return match_plain(scan, going, plain, bytes, plain + bytes);
}

static uint8_t match_index(const struct scan *scan, uint8_t going, uint32_t index)
{
	const uint32_t *wanted = scan->paths->steps[scan->depth - 1].index;
	uint8_t matching = 0;

	for (int want = 0; want < MR_WANTS; want++)
		matching |= (uint8_t)((wanted[want] == index) << want);
	return matching & going;
}

/* Those of 'matching' whose last step this was; they all forget what they had found. */
static inline uint8_t split_ending(const struct scan *scan, uint8_t matching)
{
	uint8_t ending = 0;

	for (; matching; matching &= (uint8_t)(matching - 1)) {
		int want = __builtin_ctz(matching);

		scan->found[want].kind = MR_FOUND_NOTHING;
		if (scan->paths->counts[want] == scan->depth)
			ending |= (uint8_t)(1u << want);
	}
	return ending;
}

/* A name and its colon: *matching are the paths that lead on. */
static inline const char *take_name(struct scan *scan, const char *at, uint8_t going,
				    uint8_t *matching)
{
	const char *name = at + 1;
	bool escaped;

	if (at == scan->end || *at != '"')
		return stop(scan, at);
	at = take_string(scan, name, &escaped);
	if (!at)
		return NULL;
	if (going && !escaped)
		*matching = match_plain(scan, going, name, (size_t)(at - 1 - name), scan->end);
	else if (going)
		*matching = match_escaped(scan, going, name, (size_t)(at - 1 - name));
	at = skip_space(at, scan->end);
	if (at == scan->end || *at != ':')
		return stop(scan, at);
	return skip_space(at + 1, scan->end);
}

/* The innermost container's next member, or its end. */
static inline const char *take_member(struct scan *scan, const char *at)
{
	struct level *level = &scan->levels[scan->depth - 1];
	uint8_t matching = 0;
	uint8_t ending = 0;

	at = skip_space(at, scan->end);
	if (at == scan->end)
		return stop(scan, at);
	if (*at == level->end) {
		scan->depth--;
		return at + 1;
	}
	if (level->begun) {
		if (*at != ',')
			return stop(scan, at);
		at = skip_space(at + 1, scan->end);
	}
	level->begun = true;
	if (level->end == '}') {
		at = take_name(scan, at, level->going, &matching);
		if (!at)
			return NULL;
	} else if (level->going) { /* else it may be deeper than any path */
		matching = match_index(scan, level->going, level->index++);
	}
	if (matching)
		ending = split_ending(scan, matching);
	return take_value(scan, at, ending, matching & (uint8_t)~ending);
}

enum mr_parse_reason mr_parse_json(const struct mr_parser *parser, const char *text, size_t bytes,
				   struct mr_found *found, const char **where)
{
	const char *at = text;
	uint8_t going = 0;
	uint8_t ending = 0;
	struct scan scan;

	scan.end = text + bytes;
	scan.paths = &parser->json;
	scan.found = found;
	scan.depth = 0;
	for (int want = 0; want < MR_WANTS; want++)
		going |= (uint8_t)(parser->wanted[want] << want);
	ending = split_ending(&scan, going);
	at = take_value(&scan, skip_space(at, scan.end), ending, going & (uint8_t)~ending);
	while (at && scan.depth > 0)
		at = take_member(&scan, at);
	if (at) {
		at = skip_space(at, scan.end);
		if (at == scan.end)
			return MR_PARSE_OK;
		(void)stop(&scan, at);
	}
	*where = scan.where;
	return scan.reason;
}

/* ---- escapes ------------------------------------------------------------------------------ */

static size_t write_utf8(int32_t point, char out[4])
{
	size_t bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	static const unsigned char firsts[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = bytes - 1; i > 0; i--, point >>= 6)
		out[i] = (char)(0x80 | (point & 0x3f));
	out[0] = (char)(firsts[bytes] | point);
	return bytes;
}

/* One escape, from behind its backslash; what it stands for. */
static size_t read_escape(const char *at, const char *end, char out[4], size_t *taken)
{
	static const char letters[] = "bfnrt";
	static const char meanings[] = "\b\f\n\r\t";
	const char *letter;

	if (*at == 'u')
		return write_utf8(code_point(at, end, taken), out);
	letter = strchr(letters, *at);
	out[0] = letter ? meanings[letter - letters] : *at;
	*taken = 1;
	return 1;
}

size_t mr_parse_json_unescape(const char *text, size_t bytes, char *out, size_t most)
{
	const char *end = text + bytes;
	size_t written = 0;

	while (text < end) {
		char one[4] = {*text};
		size_t taken = 1;
		size_t count = 1;

		if (*text == '\\') {
			count = read_escape(text + 1, end, one, &taken);
			taken++;
		}
		if (count > most - written)
			return most + 1;
		memcpy(out + written, one, count);
		written += count;
		text += taken;
	}
	return written;
}
