/* SPDX-License-Identifier: Apache-2.0 */
/* What the measuring programs share: time, percentiles, arguments. */
#ifndef MR_BENCH_COMMON_H
#define MR_BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

#include "millrace.h"

/* Monotonic. */
uint64_t bench_now_ns(void);

/* Sorts 'values' and gives the value below which 'share' (0 .. 1) of them lie. */
uint64_t bench_percentile(uint64_t *values, size_t count, double share);

/* "--NAME VALUE" among the arguments, or 'otherwise'. Prints a message and exits on a bad number.
 */
const char *bench_text(int count, char **arguments, const char *name, const char *otherwise);
double bench_number(int count, char **arguments, const char *name, double otherwise);

/* Connects or prints the error's sentences and exits. */
struct mr_connection *bench_connect(const char *socket_path);
void bench_fail(const char *doing, const struct mr_error *err) __attribute__((noreturn));

#endif
