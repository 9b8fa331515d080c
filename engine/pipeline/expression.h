/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conditions of rules: `avg > 90 for 3`, `abs(value - next) > 4 * stddev(32)`. Compiled once to
 * a short program of typed operations on a stack of fixed depth; running it cannot loop, allocate
 * or fail.
 *
 *	condition  = or ["for" (COUNT | TIME)]           true so many records in a row, or so long
 *	or         = and {"or" and}
 *	and        = not {"and" not}
 *	not        = ["not"] comparison
 *	comparison = sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum | "(" or ")"
 *	sum        = product {("+" | "-") product}
 *	product    = unary {("*" | "/") unary}
 *	unary      = ["-"] primary
 *	primary    = NUMBER | TIME | NAME | FUNCTION "(" sum {"," sum} ")" | "(" sum ")"
 *
 * NAME: `value`, `time` (seconds), a window's name. FUNCTION: abs, sqrt, log, exp, min, max (of two
 * or more), previous(NAME) (its value at the key's record before), and every window function over
 * `value`: stddev(32), mean(60s), quantile(0.9, 128): those become windows of the plan. TIME: 60s,
 * 5m, 250ms, as a number: seconds.
 *
 * Three values: a comparison in which a number is missing (NaN) is unknown; and, or, not as in SQL.
 * A condition that is unknown neither raises nor clears an alert, and does not interrupt "for".
 * Missing is also what has no result: a division by zero, the root of a negative number, the
 * logarithm of one that is not positive, and min or max of which a number is missing.
 */
#ifndef MR_EXPRESSION_H
#define MR_EXPRESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "window.h"

#define MR_EXPRESSION_OPS_MAX	256
#define MR_EXPRESSION_DEPTH_MAX 32
#define MR_EXPRESSION_NAME_MAX	31	   /* of what a person names */
#define MR_EXPRESSION_FOR_MAX	1000000000 /* records */

enum mr_truth { MR_FALSE, MR_TRUE, MR_UNKNOWN };

/* What names mean. Windows that expressions make are appended to 'specs', as "stddev(32)", unless
 * one that is the same is there. */
struct mr_expression_scope {
	struct mr_window_spec *specs; /* MR_WINDOWS_MAX of them */
	char (*names)[64];	      /* of each spec; also MR_WINDOWS_MAX */
	uint32_t count;
};

struct mr_expression;

/* What it is run on; results[i] belongs to spec i of the scope. */
struct mr_expression_input {
	double value;
	double time_s;
	const double *results;
	double previous_value; /* of the key's record before; NaN: there was none */
	double previous_time_s;
	const double *previous_results; /* NULL: there was none */
};

/* -EINVAL: err->what names the word and the column, err->hint the nearest valid word; the scope is
 * as before. */
int mr_expression_compile(const char *text, struct mr_expression_scope *scope,
			  struct mr_expression **out, struct mr_error *err);
void mr_expression_free(struct mr_expression *expression); /* takes NULL */
enum mr_truth mr_expression_run(const struct mr_expression *expression,
				const struct mr_expression_input *input);
/* Of "for": 1 and 0 without it. */
uint32_t mr_expression_for_count(const struct mr_expression *expression);
int64_t mr_expression_for_ms(const struct mr_expression *expression);
bool mr_expression_needs_previous(const struct mr_expression *expression);

/* True: it looks at nothing of a record, so it is always the same. */
bool mr_expression_is_constant(const struct mr_expression *expression);
/*
 * True: whenever 'a' is true, 'b' is, as far as is easily seen: the same, or one and the same
 * expression compared with two numbers. "for" is not looked at.
 */
bool mr_expression_implies(const struct mr_expression *a, const struct mr_expression *b);

/* Whether conditions can speak of a window of this name. -EINVAL: err says why not. */
int mr_expression_check_name(const char *name, struct mr_error *err);

#endif
