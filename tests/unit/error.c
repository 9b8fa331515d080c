/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: an error is always complete, terminated and returned as it was set. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "check.h"
#include "error.h"

Test(error, returns_the_code_it_sets)
{
	struct mr_error err;

	cr_assert_eq(mr_error_set(&err, -ENOENT, "topic '%s' is not there", "trades"), -ENOENT);
	cr_assert_eq(err.code, -ENOENT);
	cr_assert_str_eq(err.what, "topic 'trades' is not there");
	cr_assert_str_empty(err.why);
	cr_assert_str_empty(err.hint);
}

Test(error, hint_and_why_keep_the_sentence)
{
	struct mr_error err;

	mr_error_set(&err, -EAGAIN, "lane is full");
	cr_assert_eq(mr_error_why(&err, "the disk is behind"), -EAGAIN);
	cr_assert_eq(mr_error_hint(&err, "wait, or open it with %d bytes", 4096), -EAGAIN);
	cr_assert_str_eq(err.what, "lane is full");
	cr_assert_str_eq(err.why, "the disk is behind");
	cr_assert_str_eq(err.hint, "wait, or open it with 4096 bytes");
}

Test(error, a_new_error_forgets_the_old_hint)
{
	struct mr_error err;

	mr_error_set(&err, -EAGAIN, "first");
	mr_error_hint(&err, "do this");
	mr_error_set(&err, -EIO, "second");
	cr_assert_str_empty(err.hint);
}

Test(error, a_long_sentence_is_cut_and_terminated)
{
	struct mr_error err;
	char text[4096];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	mr_error_set(&err, -EINVAL, "%s", text);
	cr_assert_eq(strlen(err.what), sizeof(err.what) - 1);
	mr_error_prefix(&err, "%s", text);
	cr_assert_eq(strlen(err.what), sizeof(err.what) - 1);
}

Test(error, prefix_stands_in_front)
{
	struct mr_error err;

	mr_error_set(&err, -EIO, "cannot read 'a'");
	mr_error_hint(&err, "look at the disk");
	mr_error_prefix(&err, "partition %d: ", 3);
	cr_assert_str_eq(err.what, "partition 3: cannot read 'a'");
	cr_assert_str_eq(err.hint, "look at the disk");
	cr_assert_eq(err.code, -EIO);
}

Test(error, null_is_taken_everywhere)
{
	cr_assert_eq(mr_error_set(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(mr_error_hint(NULL, "x"), 0);
	cr_assert_eq(mr_error_why(NULL, "x"), 0);
	mr_error_prefix(NULL, "x");
}

Test(error, a_broken_promise_aborts, .signal = SIGABRT)
{
	mr_assert(1 + 1 == 2);
	mr_assert(1 + 1 == 3);
}
