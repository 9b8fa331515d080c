/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of conditions: from text to tokens, and which names mean something by themselves.
 * Pure; any thread.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/config_table.h"
#include "check.h"
#include "expression_parts.h"
#include "number.h"

#define TIME_BYTES_MAX 32

static const struct {
	const char *text;
	enum mr_token_kind kind;
} keywords[] = {
	{"and", MR_TOKEN_AND},
	{"or", MR_TOKEN_OR},
	{"not", MR_TOKEN_NOT},
	{"for", MR_TOKEN_FOR},
};

/* The longer of two that begin alike first. */
static const struct {
	const char *text;
	enum mr_token_kind kind;
} symbols[] = {
	{"<=", MR_TOKEN_LESS_EQUAL}, {">=", MR_TOKEN_GREATER_EQUAL}, {"==", MR_TOKEN_EQUAL},
	{"!=", MR_TOKEN_NOT_EQUAL},  {"<>", MR_TOKEN_WRONG},	     {"&&", MR_TOKEN_WRONG},
	{"||", MR_TOKEN_WRONG},	     {"<", MR_TOKEN_LESS},	     {">", MR_TOKEN_GREATER},
	{"(", MR_TOKEN_OPEN},	     {")", MR_TOKEN_CLOSE},	     {",", MR_TOKEN_COMMA},
	{"+", MR_TOKEN_ADD},	     {"-", MR_TOKEN_SUBTRACT},	     {"*", MR_TOKEN_MULTIPLY},
	{"/", MR_TOKEN_DIVIDE},
};

/* What has a meaning of its own, or is kept from being given another. */
static const char *const meanings[] = {"value", "time", "previous", "abs", "sqrt", "log", "exp"};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool mr_token_is(const struct mr_token *token, const char *word)
{
	return strlen(word) == token->bytes && memcmp(token->at, word, token->bytes) == 0;
}

static size_t digits_at(const char *at)
{
	size_t count = 0;

	while (is_digit(at[count]))
		count++;
	return count;
}

/* digits ["." digits] [("e" | "E") ["+" | "-"] digits]; the exponent only if it has digits. */
static size_t number_at(const char *at, bool *digits)
{
	size_t count = digits_at(at);
	size_t sign;

	*digits = true;
	if (at[count] == '.' && is_digit(at[count + 1])) {
		*digits = false;
		count += 1 + digits_at(at + count + 1);
	}
	if (at[count] != 'e' && at[count] != 'E')
		return count;
	sign = at[count + 1] == '+' || at[count + 1] == '-';
	if (!is_digit(at[count + 1 + sign]))
		return count;
	*digits = false;
	return count + 1 + sign + digits_at(at + count + 1 + sign);
}

/* "60s": the units are those of the configuration. */
static void read_time(struct mr_token *token)
{
	static const struct mr_option row = {.name = "time",
					     .type = MR_OPTION_TIME,
					     .most = UINT64_C(36500) * 86400 * 1000,
					     .bytes = sizeof(uint64_t)};
	char text[TIME_BYTES_MAX];
	uint64_t ms;

	token->kind = MR_TOKEN_BAD_TIME;
	snprintf(text, sizeof(text), "%.*s", (int)token->bytes, token->at);
	if (!token->digits || token->bytes >= sizeof(text) ||
	    mr_option_set(&row, text, &ms, NULL) < 0)
		return;
	token->kind = MR_TOKEN_TIME;
	token->ms = (int64_t)ms;
}

static void read_number(struct mr_token *token)
{
	token->bytes = number_at(token->at, &token->digits);
	if (is_letter(token->at[token->bytes])) {
		while (is_letter(token->at[token->bytes]) || is_digit(token->at[token->bytes]))
			token->bytes++;
		read_time(token);
		return;
	}
	token->kind = MR_TOKEN_WRONG;
	if (mr_number_read(token->at, token->bytes, &token->number) == token->bytes &&
	    isfinite(token->number))
		token->kind = MR_TOKEN_NUMBER;
}

static void read_name(struct mr_token *token)
{
	token->kind = MR_TOKEN_NAME;
	while (is_letter(token->at[token->bytes]) || is_digit(token->at[token->bytes]))
		token->bytes++;
	for (size_t i = 0; i < mr_array_count(keywords); i++) {
		if (mr_token_is(token, keywords[i].text))
			token->kind = keywords[i].kind;
	}
}

static void read_symbol(struct mr_token *token)
{
	token->kind = MR_TOKEN_WRONG;
	for (size_t i = 0; i < mr_array_count(symbols); i++) {
		token->bytes = strlen(symbols[i].text);
		if (strncmp(token->at, symbols[i].text, token->bytes) == 0) {
			token->kind = symbols[i].kind;
			return;
		}
	}
	/* One character of UTF-8, as far as it goes on. */
	token->bytes = 1;
	while (((unsigned char)token->at[token->bytes] & 0xc0) == 0x80 && token->bytes < 4)
		token->bytes++;
}

struct mr_token mr_token_read(const char *at)
{
	struct mr_token token = {.kind = MR_TOKEN_END};

	token.at = at + strspn(at, " \t\r\n");
	if (is_digit(token.at[0]))
		read_number(&token);
	else if (is_letter(token.at[0]))
		read_name(&token);
	else if (token.at[0])
		read_symbol(&token);
	return token;
}

void mr_expression_offer_words(struct mr_nearest *nearest)
{
	for (size_t i = 0; i < mr_array_count(keywords); i++)
		mr_nearest_offer(nearest, keywords[i].text, strlen(keywords[i].text));
	for (size_t i = 0; i < mr_array_count(meanings); i++)
		mr_nearest_offer(nearest, meanings[i], strlen(meanings[i]));
}

static bool is_taken(const char *name)
{
	enum mr_window_fn fn;

	if (mr_window_function_find(name, strlen(name), &fn) == 0)
		return true;
	for (size_t i = 0; i < mr_array_count(meanings); i++) {
		if (strcmp(name, meanings[i]) == 0)
			return true;
	}
	return mr_token_read(name).kind != MR_TOKEN_NAME;
}

int mr_expression_check_name(const char *name, struct mr_error *err)
{
	size_t bytes = strlen(name);

	for (size_t i = 0; i < bytes; i++) {
		if (!is_letter(name[i]) && (i == 0 || !is_digit(name[i])))
			bytes = 0;
	}
	if (bytes == 0 || bytes > MR_EXPRESSION_NAME_MAX) {
		mr_error_set(err, -EINVAL, "'%.40s' is no name, expected 1 to %d of a-z A-Z 0-9 _",
			     name, MR_EXPRESSION_NAME_MAX);
		return mr_error_hint(err, "begin it with a letter; conditions speak of it");
	}
	if (!is_taken(name))
		return 0;
	mr_error_set(err, -EINVAL, "'%s' means something in conditions already", name);
	mr_error_hint(err, "take another name, as my_%s", name);
	return -EINVAL;
}
