/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running conditions: one pass over the operations, with numbers on one stack and truths on
 * another, of which the compiler has counted that neither overflows. Pure; any thread.
 */
#include "expression.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "expression_parts.h"

#define LN2_HIGH 0x1.62e42fee00000p-1 /* its last bits are zero: times a small integer is exact */
#define LN2_LOW	 0x1.a39ef35793c76p-33
#define LOG2_E	 0x1.71547652b82fep+0

/* ---- logarithm and exponential ------------------------------------------------------------------
 */

/* x = 2^e m with m near 1: log m = 2 artanh(s) = 2 (s + s^3 / 3 + ...), s = (m - 1) / (m + 1). */
double mr_expression_log(double x)
{
	double m, s, z, sum = 0;
	int e;

	if (!(x > 0))
		return NAN;
	if (isinf(x))
		return x;
	m = frexp(x, &e);
	if (m < 0x1.6a09e667f3bcdp-1) {
		m *= 2;
		e--;
	}
	s = (m - 1) / (m + 1);
	z = s * s;
	for (int n = 23; n >= 3; n -= 2)
		sum = (sum + 1.0 / n) * z;
	return e * LN2_HIGH + (2 * s + (2 * s * sum + e * LN2_LOW));
}

/* x = k ln 2 + r with |r| at most half of ln 2: 2^k (1 + r + r^2 / 2! + ...). */
double mr_expression_exp(double x)
{
	double k, r, sum = 1;

	if (isnan(x))
		return x;
	if (x > 710)
		return INFINITY;
	if (x < -746)
		return 0;
	k = rint(x * LOG2_E);
	r = (x - k * LN2_HIGH) - k * LN2_LOW;
	for (int n = 14; n >= 1; n--)
		sum = 1 + sum * r / n;
	return ldexp(sum, (int)k);
}

/* ---- operations ---------------------------------------------------------------------------------
 */

static inline double load(const struct mr_expression_op *op,
			  const struct mr_expression_input *input)
{
	switch (op->code) {
	case MR_OP_CONSTANT:
		return op->number;
	case MR_OP_VALUE:
		return input->value;
	case MR_OP_TIME:
		return input->time_s;
	case MR_OP_RESULT:
		return input->results[op->index];
	case MR_OP_PREVIOUS_VALUE:
		return input->previous_value;
	case MR_OP_PREVIOUS_TIME:
		return input->previous_time_s;
	default:
		return input->previous_results ? input->previous_results[op->index] : NAN;
	}
}

static inline double of_one(uint32_t code, double a)
{
	switch (code) {
	case MR_OP_NEGATE:
		return -a;
	case MR_OP_ABS:
		return fabs(a);
	case MR_OP_SQRT:
		return a < 0 ? NAN : sqrt(a);
	case MR_OP_LOG:
		return mr_expression_log(a);
	default:
		return mr_expression_exp(a);
	}
}

/* A sum with NaN in it is NaN, so it tells that one is missing. */
static inline double of_two(uint32_t code, double a, double b)
{
	switch (code) {
	case MR_OP_ADD:
		return a + b;
	case MR_OP_SUBTRACT:
		return a - b;
	case MR_OP_MULTIPLY:
		return a * b;
	case MR_OP_DIVIDE:
		return b == 0 ? NAN : a / b;
	case MR_OP_MIN:
		return isunordered(a, b) ? NAN : a < b ? a : b;
	default:
		return isunordered(a, b) ? NAN : a > b ? a : b;
	}
}

static inline uint8_t compare(uint32_t code, double a, double b)
{
	if (isunordered(a, b))
		return MR_UNKNOWN;
	switch (code) {
	case MR_OP_LESS:
		return a < b;
	case MR_OP_LESS_EQUAL:
		return a <= b;
	case MR_OP_GREATER:
		return a > b;
	case MR_OP_GREATER_EQUAL:
		return a >= b;
	case MR_OP_EQUAL:
		return a == b;
	default:
		return a != b;
	}
}

static const uint8_t truth_not[3] = {MR_TRUE, MR_FALSE, MR_UNKNOWN};
static const uint8_t truth_and[3][3] = {
	{MR_FALSE, MR_FALSE, MR_FALSE},
	{MR_FALSE, MR_TRUE, MR_UNKNOWN},
	{MR_FALSE, MR_UNKNOWN, MR_UNKNOWN},
};
static const uint8_t truth_or[3][3] = {
	{MR_FALSE, MR_TRUE, MR_UNKNOWN},
	{MR_TRUE, MR_TRUE, MR_TRUE},
	{MR_UNKNOWN, MR_TRUE, MR_UNKNOWN},
};

enum mr_truth mr_expression_run(const struct mr_expression *expression,
				const struct mr_expression_input *input)
{
	double numbers[MR_EXPRESSION_DEPTH_MAX];
	uint8_t truths[MR_EXPRESSION_DEPTH_MAX];
	uint32_t n = 0; /* numbers on their stack */
	uint32_t t = 0;

	for (uint32_t i = 0; i < expression->op_count; i++) {
		const struct mr_expression_op *op = &expression->ops[i];

		if (op->code <= MR_OP_PREVIOUS_RESULT) {
			numbers[n++] = load(op, input);
		} else if (op->code <= MR_OP_EXP) {
			numbers[n - 1] = of_one(op->code, numbers[n - 1]);
		} else if (op->code <= MR_OP_MAX) {
			n--;
			numbers[n - 1] = of_two(op->code, numbers[n - 1], numbers[n]);
		} else if (op->code <= MR_OP_NOT_EQUAL) {
			n -= 2;
			truths[t++] = compare(op->code, numbers[n], numbers[n + 1]);
		} else if (op->code == MR_OP_NOT) {
			truths[t - 1] = truth_not[truths[t - 1]];
		} else {
			t--;
			truths[t - 1] = op->code == MR_OP_AND ? truth_and[truths[t - 1]][truths[t]]
							      : truth_or[truths[t - 1]][truths[t]];
		}
	}
	return (enum mr_truth)truths[0];
}

/* ---- asking about it ----------------------------------------------------------------------------
 */

void mr_expression_free(struct mr_expression *expression)
{
	free(expression);
}

uint32_t mr_expression_for_count(const struct mr_expression *expression)
{
	return expression->for_count;
}

int64_t mr_expression_for_ms(const struct mr_expression *expression)
{
	return expression->for_ms;
}

bool mr_expression_needs_previous(const struct mr_expression *expression)
{
	return expression->needs_previous;
}

bool mr_expression_is_constant(const struct mr_expression *expression)
{
	for (uint32_t i = 0; i < expression->op_count; i++) {
		uint32_t code = expression->ops[i].code;

		if (code > MR_OP_CONSTANT && code <= MR_OP_PREVIOUS_RESULT)
			return false;
	}
	return true;
}

/* NaN is no constant, so equal numbers are equal ops. */
static bool same_ops(const struct mr_expression *a, const struct mr_expression *b, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (a->ops[i].code != b->ops[i].code || a->ops[i].index != b->ops[i].index ||
		    a->ops[i].number != b->ops[i].number)
			return false;
	}
	return true;
}

/* Is every x with 'x code a' one with 'x other b'? */
static bool bound_implies(uint32_t code, double a, uint32_t other, double b)
{
	bool upward = code == MR_OP_GREATER || code == MR_OP_GREATER_EQUAL;
	bool downward = code == MR_OP_LESS || code == MR_OP_LESS_EQUAL;

	switch (other) {
	case MR_OP_GREATER:
		return (upward && a > b) || (code == MR_OP_GREATER && a == b) ||
		       (code == MR_OP_EQUAL && a > b);
	case MR_OP_GREATER_EQUAL:
		return (upward || code == MR_OP_EQUAL) && a >= b;
	case MR_OP_LESS:
		return (downward && a < b) || (code == MR_OP_LESS && a == b) ||
		       (code == MR_OP_EQUAL && a < b);
	case MR_OP_LESS_EQUAL:
		return (downward || code == MR_OP_EQUAL) && a <= b;
	default:
		return false;
	}
}

bool mr_expression_implies(const struct mr_expression *a, const struct mr_expression *b)
{
	uint32_t count = a->op_count;
	const struct mr_expression_op *a_end = &a->ops[count];
	const struct mr_expression_op *b_end = &b->ops[count];

	if (b->op_count != count)
		return false;
	if (same_ops(a, b, count))
		return true;
	if (count < 3 || !same_ops(a, b, count - 2) || a_end[-2].code != MR_OP_CONSTANT ||
	    b_end[-2].code != MR_OP_CONSTANT)
		return false;
	return bound_implies(a_end[-1].code, a_end[-2].number, b_end[-1].code, b_end[-2].number);
}
