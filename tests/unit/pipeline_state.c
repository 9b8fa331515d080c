/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: whatever the bytes of a saved state say, reading them ends in a pipeline that
 * works or in a sentence; the state of another rule is refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipe_rig.h"

static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
			   "clean: {drop: [duplicate], spike: 6mad}\n"
			   "windows: {m: {fn: max, last: 5}, a: {fn: mean, last: 10s},\n"
			   "  e: {fn: sum, each: 1s}}\n"
			   "alert: [{name: high, when: \"a > 5 for 3\"}]\n"
			   "output: o\nlimits: {samples: 64}\n";

static struct mr_pipe_rig rig;

static void fill(void)
{
	static const char *const keys[] = {"a", "bb", "c c", "a key of more than sixteen bytes"};
	char text[16];

	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "%d.5", i * 7919 % 23);
		mr_pipe_rig_put(&rig, keys[i % 4], i * 100, text);
	}
}

Test(pipeline_state, another_rules_state_is_refused)
{
	static const char *const others[] = {
		"pipeline: p\ninput: i\nparse: number\nwindows: {m: {fn: max, last: 6}}\n"
		"output: o\n",
		"pipeline: p\ninput: i\nparse: number\nwindows: {m: {fn: min, last: 5}}\n"
		"output: o\n",
		"pipeline: p\ninput: i\nparse: number\nwindows: {n: {fn: max, last: 5}}\n"
		"output: o\n",
		"pipeline: p\ninput: i\nparse: number\nwindows: {m: {fn: max, last: 5}}\n"
		"clean: {range: [0, 1]}\noutput: o\n",
		"pipeline: p\ninput: i\nparse: number\nwindows: {m: {fn: max, last: 5}}\n"
		"alert: [{name: x, when: \"m > 1\"}]\noutput: o\n",
	};
	static const char mine[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {m: {fn: max, last: 5}}\noutput: o\n";
	struct mr_error err;
	size_t bytes;
	uint8_t *state;

	mr_pipe_rig_open(&rig, mine);
	mr_pipe_rig_put(&rig, "k", 1, "2");
	state = mr_pipe_rig_save(&rig, &bytes);
	mr_pipe_rig_close(&rig);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		mr_pipe_rig_open(&rig, others[i]);
		cr_assert_eq(mr_pipe_rig_load(&rig, state, bytes, &err), -EBADMSG, "%zu", i);
		cr_assert(strstr(err.what, "another version"), "%s", err.what);
		mr_pipe_rig_close(&rig);
	}
	free(state);
}

Test(pipeline_state, a_state_that_ends_early_is_refused)
{
	struct mr_error err;
	size_t bytes;
	uint8_t *state;

	mr_pipe_rig_open(&rig, rule);
	fill();
	state = mr_pipe_rig_save(&rig, &bytes);
	for (size_t i = 0; i < bytes; i += 1 + i / 64)
		cr_assert_eq(mr_pipe_rig_load(&rig, state, i, &err), -EBADMSG, "%zu", i);
	cr_assert_eq(mr_pipe_rig_load(&rig, state, bytes, &err), 0, "%s", err.what);
	free(state);
	mr_pipe_rig_close(&rig);
}

/* A checksum lies over it in the file; here is what stands when somebody made that right, too. */
Test(pipeline_state, no_byte_of_it_can_do_harm)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff};
	struct mr_error err;
	uint32_t refused = 0, taken = 0;
	size_t bytes;
	uint8_t *state;

	mr_pipe_rig_open(&rig, rule);
	fill();
	state = mr_pipe_rig_save(&rig, &bytes);
	rig.count_only = true;
	for (size_t i = 0; i < bytes; i++) {
		for (size_t m = 0; m < sizeof(masks); m++) {
			state[i] ^= masks[m];
			if (mr_pipe_rig_load(&rig, state, bytes, &err) == 0) {
				fill();
				taken++;
			} else {
				cr_assert_eq(err.code, -EBADMSG, "byte %zu: %s", i, err.what);
				refused++;
			}
			state[i] ^= masks[m];
		}
	}
	cr_assert_gt(refused, 100);
	cr_assert_gt(taken, 100); /* values may be any */
	free(state);
	mr_pipe_rig_close(&rig);
}
