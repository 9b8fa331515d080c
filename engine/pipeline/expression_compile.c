/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a condition's text to its program, in one pass: a function for each line of the grammar
 * (expression.h) takes its tokens and puts its operations behind those of its parts. Each says
 * whether it left a number or a truth; what does not fit is refused where it stands. Nesting is
 * bounded, so is the recursion. Pure; any thread.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "expression_parts.h"

enum type { NUMBER, TRUTH };

struct compiler {
	const char *text;
	struct mr_token token; /* the present one */
	struct mr_expression_scope *scope;
	struct mr_error *err;
	uint32_t op_count;
	uint32_t numbers, truths; /* on their stacks behind the last operation */
	uint32_t nesting;
	bool needs_previous;
	uint32_t for_count; /* of the expression that is made */
	int64_t for_ms;
	struct mr_expression_op ops[MR_EXPRESSION_OPS_MAX];
};

/* ---- refusing -----------------------------------------------------------------------------------
 */

/* Characters, not bytes, counted from 1. */
static uint32_t column_of(const struct compiler *compiler, const struct mr_token *token)
{
	uint32_t column = 1;

	for (const char *at = compiler->text; at < token->at; at++)
		column += ((unsigned char)*at & 0xc0) != 0x80;
	return column;
}

__attribute__((format(printf, 3, 4))) static int
refuse(struct compiler *compiler, const struct mr_token *token, const char *format, ...)
{
	char what[200];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	mr_error_set(compiler->err, -EINVAL, "column %u: %s", column_of(compiler, token), what);
	return -EINVAL;
}

/* The token as it is shown: nothing in it moves a terminal. */
static const char *shown(const struct mr_token *token, char text[64])
{
	unsigned char first = (unsigned char)token->at[0];

	if (token->kind == MR_TOKEN_END)
		snprintf(text, 64, "the end");
	else if (first < 0x20 || first == 0x7f)
		snprintf(text, 64, "the byte 0x%02x", first);
	else
		snprintf(text, 64, "'%.*s%s'", (int)(token->bytes < 40 ? token->bytes : 40),
			 token->at, token->bytes > 40 ? "..." : "");
	return text;
}

/* What other languages have. */
static void hint_symbol(const struct mr_token *token, struct mr_error *err)
{
	static const char *const others[][2] = {
		{"=", "=="}, {"<>", "!="}, {"&&", "and"}, {"||", "or"}, {"!", "not"},
	};

	for (size_t i = 0; i < mr_array_count(others); i++) {
		if (mr_token_is(token, others[i][0]))
			mr_error_hint(err, "did you mean '%s'?", others[i][1]);
	}
}

static int refuse_token(struct compiler *compiler, const char *expected)
{
	const struct mr_token *token = &compiler->token;
	char text[64];

	if (token->kind == MR_TOKEN_BAD_TIME) {
		refuse(compiler, token, "%s is no number and no time", shown(token, text));
		mr_error_hint(compiler->err, "write a time as a whole number with ms, s, m, "
					     "h or d, as in 90s");
		return -EINVAL;
	}
	refuse(compiler, token, "found %s, expected %s", shown(token, text), expected);
	if (token->kind == MR_TOKEN_WRONG)
		hint_symbol(token, compiler->err);
	return -EINVAL;
}

/* A name that there is none of; behind it stands "(", or not. */
static int refuse_name(struct compiler *compiler, const struct mr_token *name, bool called)
{
	const struct mr_expression_scope *scope = compiler->scope;
	struct mr_nearest nearest;
	char text[64];

	refuse(compiler, name, "there is no %s %s", called ? "function" : "name",
	       shown(name, text));
	mr_nearest_begin(&nearest, name->at, name->bytes);
	for (uint32_t i = 0; i < scope->count && !called; i++)
		mr_nearest_offer(&nearest, scope->names[i], strlen(scope->names[i]));
	for (size_t i = 0; i < MR_WINDOW_FUNCTIONS; i++)
		mr_nearest_offer(&nearest, mr_window_functions[i].name,
				 strlen(mr_window_functions[i].name));
	mr_expression_offer_words(&nearest);
	if (!mr_nearest_hint(&nearest, compiler->err))
		mr_error_hint(compiler->err,
			      called ? "docs/RULES.md lists the functions"
				     : "names are value, time, and those of the rule's windows");
	return -EINVAL;
}

/* ---- emitting -----------------------------------------------------------------------------------
 */

/* How an operation changes the stacks. */
static void effect(uint32_t code, int32_t *numbers, int32_t *truths)
{
	*truths = 0;
	*numbers = 0;
	if (code <= MR_OP_PREVIOUS_RESULT)
		*numbers = 1;
	else if (code > MR_OP_EXP && code <= MR_OP_MAX)
		*numbers = -1;
	else if (code > MR_OP_MAX && code <= MR_OP_NOT_EQUAL)
		*numbers = -2;
	if (code > MR_OP_MAX && code <= MR_OP_NOT_EQUAL)
		*truths = 1;
	else if (code > MR_OP_NOT)
		*truths = -1;
}

static int emit_op(struct compiler *compiler, struct mr_expression_op op)
{
	int32_t numbers, truths;

	if (compiler->op_count == MR_EXPRESSION_OPS_MAX)
		return refuse(compiler, &compiler->token, "more than %d operations",
			      MR_EXPRESSION_OPS_MAX);
	effect(op.code, &numbers, &truths);
	compiler->numbers += (uint32_t)numbers;
	compiler->truths += (uint32_t)truths;
	if (compiler->numbers > MR_EXPRESSION_DEPTH_MAX ||
	    compiler->truths > MR_EXPRESSION_DEPTH_MAX)
		return refuse(compiler, &compiler->token, "too deeply nested");
	compiler->ops[compiler->op_count++] = op;
	return 0;
}

static int emit(struct compiler *compiler, uint32_t code)
{
	return emit_op(compiler, (struct mr_expression_op){.code = code});
}

static void advance(struct compiler *compiler)
{
	compiler->token = mr_token_read(compiler->token.at + compiler->token.bytes);
}

static bool take(struct compiler *compiler, enum mr_token_kind kind)
{
	if (compiler->token.kind != kind)
		return false;
	advance(compiler);
	return true;
}

/* ---- windows that conditions make ---------------------------------------------------------------
 */

static bool same_window(const struct mr_window_spec *a, const struct mr_window_spec *b)
{
	return a->fn == b->fn && a->extent == b->extent && a->count == b->count &&
	       a->span_ms == b->span_ms && a->fn != MR_WINDOW_WEIGHTED_AVERAGE &&
	       (a->parameter == b->parameter || (isnan(a->parameter) && isnan(b->parameter)));
}

/* From the function's name to the ")" behind it, as it is written but for blanks. */
static bool make_name(const struct mr_token *from, const char *end, char out[64])
{
	size_t used = 0;

	for (const char *at = from->at; at < end; at++) {
		bool blank = *at == ' ' || *at == '\t' || *at == '\r' || *at == '\n';

		if (used + 3 > 64)
			return false;
		if (!blank)
			out[used++] = *at;
		if (*at == ',')
			out[used++] = ' ';
	}
	out[used] = '\0';
	return true;
}

/* The present token stands behind the call. */
static int use_window(struct compiler *compiler, const struct mr_token *name, const char *end,
		      const struct mr_window_spec *spec)
{
	struct mr_expression_scope *scope = compiler->scope;
	uint32_t i = 0;

	while (i < scope->count && !same_window(&scope->specs[i], spec))
		i++;
	if (i == MR_WINDOWS_MAX)
		return refuse(compiler, name, "more than %d windows, the rule's own included",
			      MR_WINDOWS_MAX);
	if (i == scope->count) {
		if (!make_name(name, end, scope->names[i]))
			return refuse(compiler, name,
				      "a window is written with more than 62 letters");
		scope->specs[i] = *spec;
		scope->count++;
	}
	return emit_op(compiler, (struct mr_expression_op){.code = MR_OP_RESULT, .index = i});
}

static bool wants_share(enum mr_window_fn fn)
{
	return fn == MR_WINDOW_QUANTILE || fn == MR_WINDOW_EWMA;
}

static bool wants_time(enum mr_window_fn fn)
{
	return fn == MR_WINDOW_INTERPOLATE || fn == MR_WINDOW_EXTRAPOLATE;
}

/* "0.9," of quantile, "5s," of interpolate, which may be left out. */
static int parse_parameter(struct compiler *compiler, struct mr_window_spec *spec)
{
	struct mr_token before = compiler->token;
	bool negative = wants_time(spec->fn) && take(compiler, MR_TOKEN_SUBTRACT);
	struct mr_token token = compiler->token;
	char expected[96];

	if (wants_time(spec->fn) && token.kind == MR_TOKEN_TIME) {
		advance(compiler);
		if (take(compiler, MR_TOKEN_COMMA)) {
			spec->parameter = (double)(negative ? -token.ms : token.ms);
			return 0;
		}
		compiler->token = before; /* it was the extent */
	}
	if (wants_time(spec->fn))
		return negative ? refuse(compiler, &before, "found '-', expected a time and ','")
				: 0;
	snprintf(expected, sizeof(expected), "%s(%s, how many): a number from 0 to 1 first",
		 mr_window_functions[spec->fn].name, mr_window_functions[spec->fn].parameter);
	if (token.kind != MR_TOKEN_NUMBER || token.number > 1)
		return refuse_token(compiler, expected);
	spec->parameter = token.number;
	advance(compiler);
	return take(compiler, MR_TOKEN_COMMA) ? 0 : refuse_token(compiler, expected);
}

static int parse_extent(struct compiler *compiler, struct mr_window_spec *spec)
{
	const struct mr_window_function *function = &mr_window_functions[spec->fn];
	const struct mr_token *token = &compiler->token;
	char expected[96];

	snprintf(expected, sizeof(expected), "how many values %s looks at, as %s", function->name,
		 function->by_time ? "16 or 60s" : "16");
	if (token->kind == MR_TOKEN_NUMBER && token->digits && token->number >= 1 &&
	    token->number <= MR_WINDOW_COUNT_MAX) {
		spec->extent = MR_WINDOW_BY_COUNT;
		spec->count = (uint32_t)token->number;
	} else if (token->kind == MR_TOKEN_NUMBER) {
		return refuse(compiler, token, "%s of %.*s values, expected 1 to %u",
			      function->name, (int)(token->bytes < 40 ? token->bytes : 40),
			      token->at, MR_WINDOW_COUNT_MAX);
	} else if (token->kind == MR_TOKEN_TIME && !function->by_time) {
		return refuse(compiler, token, "%s takes no time, expected how many values",
			      function->name);
	} else if (token->kind == MR_TOKEN_TIME && token->ms > 0) {
		spec->extent = MR_WINDOW_BY_TIME;
		spec->span_ms = token->ms;
	} else {
		return refuse_token(compiler, expected);
	}
	advance(compiler);
	return 0;
}

/* The present token stands behind "(". */
static int parse_window(struct compiler *compiler, const struct mr_token *name,
			enum mr_window_fn fn)
{
	struct mr_window_spec spec = {.fn = fn, .parameter = NAN};
	const char *end;
	int r = 0;

	if (fn == MR_WINDOW_WEIGHTED_AVERAGE) {
		refuse(compiler, name, "weighted_average needs weights");
		mr_error_hint(compiler->err, "give it a name in 'windows', and say that");
		return -EINVAL;
	}
	if (wants_share(fn) || wants_time(fn))
		r = parse_parameter(compiler, &spec);
	if (r == 0)
		r = parse_extent(compiler, &spec);
	if (r < 0)
		return r;
	end = compiler->token.at + compiler->token.bytes;
	if (!take(compiler, MR_TOKEN_CLOSE))
		return refuse_token(compiler, "')'");
	return use_window(compiler, name, end, &spec);
}

/* ---- the grammar --------------------------------------------------------------------------------
 */

static int parse_or(struct compiler *compiler, enum type *type);
static int parse_sum(struct compiler *compiler, enum type *type);

static int parse_nested(struct compiler *compiler,
			int (*parse)(struct compiler *compiler, enum type *type), enum type *type)
{
	int r;

	if (compiler->nesting == MR_EXPRESSION_DEPTH_MAX)
		return refuse(compiler, &compiler->token, "too deeply nested");
	compiler->nesting++;
	r = parse(compiler, type);
	compiler->nesting--;
	return r;
}

static int want_number(struct compiler *compiler, const struct mr_token *at, enum type type)
{
	if (type == NUMBER)
		return 0;
	return refuse(compiler, at, "found a condition, expected a number");
}

static int want_truth(struct compiler *compiler, const struct mr_token *at, enum type type)
{
	if (type == TRUTH)
		return 0;
	refuse(compiler, at, "found a number, expected a condition");
	mr_error_hint(compiler->err, "compare it, as in '... > 0'");
	return -EINVAL;
}

/* An argument of a function: a sum. */
static int parse_argument(struct compiler *compiler)
{
	struct mr_token at = compiler->token;
	enum type type;
	int r = parse_nested(compiler, parse_sum, &type);

	return r < 0 ? r : want_number(compiler, &at, type);
}

/* What it takes is kept from one record to the next: names, and no more than one record back. */
static int refuse_previous(struct compiler *compiler, const struct mr_token *name)
{
	if (!mr_token_is(name, "previous"))
		return refuse_name(compiler, name, false);
	refuse_token(compiler, "value, time or a window's name");
	return mr_error_hint(compiler->err, "previous() goes one record back: give what lies "
					    "further back a window, as in 'last: 3'");
}

/* previous(NAME), from behind "(". */
static int parse_previous(struct compiler *compiler)
{
	const struct mr_expression_scope *scope = compiler->scope;
	struct mr_expression_op op = {.code = MR_OPS};
	struct mr_token name = compiler->token;

	if (name.kind != MR_TOKEN_NAME)
		return refuse_token(compiler, "value, time or a window's name");
	if (mr_token_is(&name, "value"))
		op.code = MR_OP_PREVIOUS_VALUE;
	else if (mr_token_is(&name, "time"))
		op.code = MR_OP_PREVIOUS_TIME;
	for (uint32_t i = 0; i < scope->count && op.code == MR_OPS; i++) {
		if (mr_token_is(&name, scope->names[i]))
			op = (struct mr_expression_op){.code = MR_OP_PREVIOUS_RESULT, .index = i};
	}
	if (op.code == MR_OPS)
		return refuse_previous(compiler, &name);
	advance(compiler);
	if (!take(compiler, MR_TOKEN_CLOSE)) {
		refuse_token(compiler, "')'");
		return mr_error_hint(compiler->err,
				     "previous() takes one name; give a window one in 'windows'");
	}
	compiler->needs_previous = true;
	return emit_op(compiler, op);
}

/* The rest of min(a, b, ...), from behind "(": an operation for each number but the first. */
static int parse_many(struct compiler *compiler, const struct mr_token *name, uint32_t code)
{
	uint32_t count = 1;
	int r = parse_argument(compiler);

	for (; r == 0 && take(compiler, MR_TOKEN_COMMA); count++) {
		r = parse_argument(compiler);
		if (r == 0)
			r = emit(compiler, code);
	}
	if (r < 0)
		return r;
	if (!take(compiler, MR_TOKEN_CLOSE))
		return refuse_token(compiler, count == 1 ? "','" : "',' or ')'");
	if (count > 1)
		return 0;
	refuse(compiler, name, "%.*s of one number", (int)name->bytes, name->at);
	mr_error_hint(compiler->err,
		      "give it more, as %.*s(value, 0), or say of how many values, as "
		      "%.*s(16) or %.*s(60s)",
		      (int)name->bytes, name->at, (int)name->bytes, name->at, (int)name->bytes,
		      name->at);
	return -EINVAL;
}

/* "(16)" and "(60s)" are an extent: then max is the window's. */
static bool is_extent(const struct compiler *compiler)
{
	const struct mr_token *token = &compiler->token;

	return (token->kind == MR_TOKEN_NUMBER || token->kind == MR_TOKEN_TIME) &&
	       mr_token_read(token->at + token->bytes).kind == MR_TOKEN_CLOSE;
}

/* From behind "(". */
static int parse_call(struct compiler *compiler, const struct mr_token *name)
{
	static const struct {
		const char *name;
		uint32_t code;
	} functions[] = {
		{"abs", MR_OP_ABS}, {"sqrt", MR_OP_SQRT}, {"log", MR_OP_LOG}, {"exp", MR_OP_EXP}};
	enum mr_window_fn fn;
	int r;

	if (mr_token_is(name, "previous"))
		return parse_previous(compiler);
	if (mr_token_is(name, "min") && !is_extent(compiler))
		return parse_many(compiler, name, MR_OP_MIN);
	if (mr_token_is(name, "max") && !is_extent(compiler))
		return parse_many(compiler, name, MR_OP_MAX);
	if (mr_window_function_find(name->at, name->bytes, &fn) == 0)
		return parse_window(compiler, name, fn);
	for (size_t i = 0; i < mr_array_count(functions); i++) {
		if (!mr_token_is(name, functions[i].name))
			continue;
		r = parse_argument(compiler);
		if (r < 0)
			return r;
		if (!take(compiler, MR_TOKEN_CLOSE))
			return refuse_token(compiler, "')'");
		return emit(compiler, functions[i].code);
	}
	return refuse_name(compiler, name, true);
}

static bool is_function(const struct mr_token *name)
{
	static const char *const others[] = {"previous", "abs", "sqrt", "log", "exp"};
	enum mr_window_fn fn;

	for (size_t i = 0; i < mr_array_count(others); i++) {
		if (mr_token_is(name, others[i]))
			return true;
	}
	return mr_window_function_find(name->at, name->bytes, &fn) == 0;
}

static int parse_name(struct compiler *compiler)
{
	const struct mr_expression_scope *scope = compiler->scope;
	struct mr_token name = compiler->token;

	advance(compiler);
	if (take(compiler, MR_TOKEN_OPEN))
		return parse_call(compiler, &name);
	if (mr_token_is(&name, "value"))
		return emit(compiler, MR_OP_VALUE);
	if (mr_token_is(&name, "time"))
		return emit(compiler, MR_OP_TIME);
	for (uint32_t i = 0; i < scope->count; i++) {
		if (mr_token_is(&name, scope->names[i]))
			return emit_op(compiler,
				       (struct mr_expression_op){.code = MR_OP_RESULT, .index = i});
	}
	if (!is_function(&name))
		return refuse_name(compiler, &name, false);
	refuse(compiler, &name, "'%.*s' is a function, expected '(' behind it", (int)name.bytes,
	       name.at);
	return -EINVAL;
}

static int parse_primary(struct compiler *compiler, enum type *type)
{
	const struct mr_token token = compiler->token;
	int r;

	*type = NUMBER;
	switch (token.kind) {
	case MR_TOKEN_NUMBER:
	case MR_TOKEN_TIME:
		advance(compiler);
		return emit_op(compiler, (struct mr_expression_op){
						 .code = MR_OP_CONSTANT,
						 .number = token.kind == MR_TOKEN_NUMBER
								   ? token.number
								   : (double)token.ms / 1000});
	case MR_TOKEN_NAME:
		return parse_name(compiler);
	case MR_TOKEN_OPEN:
		advance(compiler);
		r = parse_nested(compiler, parse_or, type);
		if (r < 0)
			return r;
		return take(compiler, MR_TOKEN_CLOSE) ? 0 : refuse_token(compiler, "')'");
	default:
		return refuse_token(compiler, "a number, a name, a function or '('");
	}
}

static int parse_unary(struct compiler *compiler, enum type *type)
{
	struct mr_token sign = compiler->token;
	int r;

	if (!take(compiler, MR_TOKEN_SUBTRACT))
		return parse_primary(compiler, type);
	r = parse_primary(compiler, type);
	if (r == 0)
		r = want_number(compiler, &sign, *type);
	return r < 0 ? r : emit(compiler, MR_OP_NEGATE);
}

/* Both sides of an operator at 'at'; the left one is parsed, the right one is parsed here. */
static int parse_right(struct compiler *compiler, const struct mr_token *at, enum type left,
		       int (*parse)(struct compiler *compiler, enum type *type),
		       int (*want)(struct compiler *compiler, const struct mr_token *at,
				   enum type type))
{
	struct mr_token begin = compiler->token;
	enum type right;
	int r = want(compiler, at, left);

	if (r == 0)
		r = parse(compiler, &right);
	return r < 0 ? r : want(compiler, &begin, right);
}

static int parse_product(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	int r = parse_unary(compiler, type);

	while (r == 0) {
		bool multiply = compiler->token.kind == MR_TOKEN_MULTIPLY;

		if (!take(compiler, MR_TOKEN_MULTIPLY) && !take(compiler, MR_TOKEN_DIVIDE))
			return 0;
		r = parse_right(compiler, &at, *type, parse_unary, want_number);
		if (r == 0)
			r = emit(compiler, multiply ? MR_OP_MULTIPLY : MR_OP_DIVIDE);
	}
	return r;
}

static int parse_sum(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	int r = parse_product(compiler, type);

	while (r == 0) {
		bool add = compiler->token.kind == MR_TOKEN_ADD;

		if (!take(compiler, MR_TOKEN_ADD) && !take(compiler, MR_TOKEN_SUBTRACT))
			return 0;
		r = parse_right(compiler, &at, *type, parse_product, want_number);
		if (r == 0)
			r = emit(compiler, add ? MR_OP_ADD : MR_OP_SUBTRACT);
	}
	return r;
}

static bool is_comparison(enum mr_token_kind kind)
{
	return kind >= MR_TOKEN_LESS && kind <= MR_TOKEN_NOT_EQUAL;
}

static int parse_comparison(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	enum mr_token_kind kind;
	int r = parse_sum(compiler, type);

	kind = compiler->token.kind;
	if (r < 0 || !is_comparison(kind))
		return r;
	advance(compiler);
	r = parse_right(compiler, &at, *type, parse_sum, want_number);
	if (r == 0)
		r = emit(compiler, MR_OP_LESS + (kind - MR_TOKEN_LESS));
	if (r < 0 || !is_comparison(compiler->token.kind)) {
		*type = TRUTH;
		return r;
	}
	refuse(compiler, &compiler->token, "comparisons do not chain");
	mr_error_hint(compiler->err, "join two with 'and', as in '0 < value and value < 9'");
	return -EINVAL;
}

static int parse_not(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	int r;

	if (!take(compiler, MR_TOKEN_NOT))
		return parse_comparison(compiler, type);
	at = compiler->token;
	r = parse_comparison(compiler, type);
	if (r == 0)
		r = want_truth(compiler, &at, *type);
	return r < 0 ? r : emit(compiler, MR_OP_NOT);
}

static int parse_and(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	int r = parse_not(compiler, type);

	while (r == 0 && take(compiler, MR_TOKEN_AND)) {
		r = parse_right(compiler, &at, *type, parse_not, want_truth);
		if (r == 0)
			r = emit(compiler, MR_OP_AND);
	}
	return r;
}

static int parse_or(struct compiler *compiler, enum type *type)
{
	struct mr_token at = compiler->token;
	int r = parse_and(compiler, type);

	while (r == 0 && take(compiler, MR_TOKEN_OR)) {
		r = parse_right(compiler, &at, *type, parse_and, want_truth);
		if (r == 0)
			r = emit(compiler, MR_OP_OR);
	}
	return r;
}

static int parse_for(struct compiler *compiler)
{
	const struct mr_token *token = &compiler->token;

	if (!take(compiler, MR_TOKEN_FOR))
		return 0;
	if (token->kind == MR_TOKEN_NUMBER && token->digits && token->number >= 1 &&
	    token->number <= MR_EXPRESSION_FOR_MAX)
		compiler->for_count = (uint32_t)token->number;
	else if (token->kind == MR_TOKEN_TIME && token->ms > 0)
		compiler->for_ms = token->ms;
	else
		return refuse_token(compiler, "how many records or how long, as 'for 3' or "
					      "'for 10s'");
	advance(compiler);
	return 0;
}

static int parse_condition(struct compiler *compiler)
{
	struct mr_token at = compiler->token;
	enum type type;
	int r = parse_or(compiler, &type);

	if (r < 0)
		return r;
	if (compiler->token.kind != MR_TOKEN_END && compiler->token.kind != MR_TOKEN_FOR)
		return refuse_token(compiler, "an operator or the end");
	r = want_truth(compiler, &at, type);
	if (r == 0)
		r = parse_for(compiler);
	if (r < 0 || compiler->token.kind == MR_TOKEN_END)
		return r;
	return refuse_token(compiler, "an operator or the end");
}

int mr_expression_compile(const char *text, struct mr_expression_scope *scope,
			  struct mr_expression **out, struct mr_error *err)
{
	struct compiler compiler = {.text = text, .scope = scope, .err = err, .for_count = 1};
	const uint32_t windows = scope->count;
	struct mr_expression *expression;
	int r;

	compiler.token = mr_token_read(text);
	r = parse_condition(&compiler);
	if (r < 0) {
		scope->count = windows;
		return r;
	}
	mr_assert(compiler.truths == 1);
	mr_assert(compiler.numbers == 0);
	expression = malloc(sizeof(*expression) + compiler.op_count * sizeof(compiler.ops[0]));
	if (!expression) {
		scope->count = windows;
		return mr_error_set(err, -ENOMEM, "no memory for a condition");
	}
	*expression = (struct mr_expression){
		.for_ms = compiler.for_ms,
		.for_count = compiler.for_count,
		.op_count = compiler.op_count,
		.needs_previous = compiler.needs_previous,
	};
	memcpy(expression->ops, compiler.ops, compiler.op_count * sizeof(compiler.ops[0]));
	*out = expression;
	return 0;
}
