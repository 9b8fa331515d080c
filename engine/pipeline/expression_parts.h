/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of expressions share: words (expression_words.c), what a text compiles to
 * (expression_compile.c) and how that runs (expression.c).
 */
#ifndef MR_EXPRESSION_PARTS_H
#define MR_EXPRESSION_PARTS_H

#include <stddef.h>

#include "base/nearest.h"
#include "expression.h"

/* ---- words --------------------------------------------------------------------------------------
 */

enum mr_token_kind {
	MR_TOKEN_END,
	MR_TOKEN_NUMBER,
	MR_TOKEN_TIME,
	MR_TOKEN_NAME,
	MR_TOKEN_AND,
	MR_TOKEN_OR,
	MR_TOKEN_NOT,
	MR_TOKEN_FOR,
	MR_TOKEN_OPEN,
	MR_TOKEN_CLOSE,
	MR_TOKEN_COMMA,
	MR_TOKEN_ADD,
	MR_TOKEN_SUBTRACT,
	MR_TOKEN_MULTIPLY,
	MR_TOKEN_DIVIDE,
	MR_TOKEN_LESS,
	MR_TOKEN_LESS_EQUAL,
	MR_TOKEN_GREATER,
	MR_TOKEN_GREATER_EQUAL,
	MR_TOKEN_EQUAL,
	MR_TOKEN_NOT_EQUAL,
	MR_TOKEN_BAD_TIME, /* a number with a unit that there is none of */
	MR_TOKEN_WRONG,	   /* nothing of this language */
};

struct mr_token {
	enum mr_token_kind kind;
	const char *at;
	size_t bytes;
	double number; /* NUMBER */
	bool digits;   /* NUMBER: nothing but digits */
	int64_t ms;    /* TIME */
};

/* The token at 'at', which is terminated; blanks before it are passed over. */
struct mr_token mr_token_read(const char *at);
bool mr_token_is(const struct mr_token *token, const char *word);
/* All words that mean something by themselves, but those of mr_window_functions. */
void mr_expression_offer_words(struct mr_nearest *nearest);

/* ---- programs -----------------------------------------------------------------------------------
 */

/* In the order of what they take from the stacks and put there. */
enum mr_expression_code {
	/* a number more */
	MR_OP_CONSTANT,
	MR_OP_VALUE,
	MR_OP_TIME,
	MR_OP_RESULT,
	MR_OP_PREVIOUS_VALUE,
	MR_OP_PREVIOUS_TIME,
	MR_OP_PREVIOUS_RESULT,
	/* a number for a number */
	MR_OP_NEGATE,
	MR_OP_ABS,
	MR_OP_SQRT,
	MR_OP_LOG,
	MR_OP_EXP,
	/* a number for two */
	MR_OP_ADD,
	MR_OP_SUBTRACT,
	MR_OP_MULTIPLY,
	MR_OP_DIVIDE,
	MR_OP_MIN,
	MR_OP_MAX,
	/* a truth for two numbers */
	MR_OP_LESS,
	MR_OP_LESS_EQUAL,
	MR_OP_GREATER,
	MR_OP_GREATER_EQUAL,
	MR_OP_EQUAL,
	MR_OP_NOT_EQUAL,
	/* a truth for one */
	MR_OP_NOT,
	/* a truth for two */
	MR_OP_AND,
	MR_OP_OR,
	MR_OPS,
};

struct mr_expression_op {
	uint32_t code;
	uint32_t index; /* RESULT, PREVIOUS_RESULT: which */
	double number;	/* CONSTANT */
};

/* Constant once compiled. Its ops leave one truth and no number, and no stack ever holds more than
 * MR_EXPRESSION_DEPTH_MAX: expression_compile.c counts. */
struct mr_expression {
	int64_t for_ms;
	uint32_t for_count;
	uint32_t op_count;
	bool needs_previous;
	struct mr_expression_op ops[];
};

/* log and exp by additions and multiplications in one order: the same bits on every host. */
double mr_expression_log(double x);
double mr_expression_exp(double x);

#endif
