/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the catch-up thread, on a real disk: every request comes back once, in order,
 * with what the log has; a stop is quick however slow the rate is.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log_rig.h"
#include "replica/catchup.h"

#define REQUESTS 20

static char directory[64];
static struct mr_io *io;
static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_catchup *catchup;
static struct mr_catchup_request *requests[REQUESTS];
static struct mr_error err;

static void begin(uint64_t bytes_per_second)
{
	snprintf(directory, sizeof(directory), "catchup-test-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(mr_io_open_directory(directory, "auto", &io, &err), 0, "%s", err.what);
	options = mr_test_rig_defaults();
	options.segment_bytes = 1u << 20;
	mr_test_rig_open(&rig, &options, io, NULL);
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 7, 1000);
	cr_assert_eq(mr_catchup_start(NULL, io, bytes_per_second, &catchup, &err), 0);
	for (int i = 0; i < REQUESTS; i++) {
		requests[i] = mr_catchup_request_new();
		snprintf(requests[i]->directory, sizeof(requests[i]->directory), RIG_DIRECTORY);
		requests[i]->bytes_max = 100000;
		requests[i]->limit_offset = rig.partition.log_end;
		requests[i]->owner = &requests[i];
	}
}

static void end(void)
{
	char command[128];

	for (int i = 0; i < REQUESTS; i++)
		mr_catchup_request_free(requests[i]);
	mr_test_rig_close(&rig);
	mr_io_close(io);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	cr_assert_eq(system(command), 0);
}

/* As the feed waits: takes what is there, else sleeps until the bell. */
static struct mr_catchup_request *wait_for_one(void)
{
	for (int i = 0; i < 1000; i++) {
		struct pollfd bell = {.fd = mr_catchup_fd(catchup), .events = POLLIN};
		struct mr_catchup_request *request = mr_catchup_take(catchup);

		if (request)
			return request;
		if (mr_catchup_sleep(catchup))
			cr_assert_eq(poll(&bell, 1, 30000), 1, "a sleeper was not woken");
		mr_catchup_wake(catchup);
	}
	return NULL;
}

static void check(const struct mr_catchup_request *request)
{
	const uint8_t *at = request->bytes, *last = at + request->byte_count;
	uint64_t next = request->base_offset;
	struct mr_batch_header batch;
	struct mr_batch_reader reader;
	struct mr_message message;

	for (; at < last; at += batch.total_bytes) {
		cr_assert_eq(mr_batch_decode_header(at, (size_t)(last - at), &batch), 0);
		cr_assert_eq(mr_batch_read(&reader, at, &batch), 0);
		while (mr_batch_next(&reader, &message) == 1) {
			uint64_t said;

			memcpy(&said, message.value, sizeof(said));
			cr_assert_eq(said, next++);
		}
	}
	cr_assert_eq(next, request->end_offset);
}

Test(catchup_thread, requests_come_back_in_order)
{
	begin(0);
	for (int i = 0; i < REQUESTS; i++) {
		requests[i]->offset = rig.partition.log_end * (uint64_t)i / REQUESTS;
		mr_catchup_send(catchup, requests[i]);
	}
	for (int i = 0; i < REQUESTS; i++) {
		struct mr_catchup_request *request = wait_for_one();

		cr_assert_eq(request, requests[i]);
		cr_assert_eq(request->owner, &requests[i]);
		cr_assert_eq(request->status, 0, "%s", request->err.what);
		check(request);
	}
	cr_assert_null(mr_catchup_take(catchup));
	mr_catchup_stop(catchup);
	end();
}

/* Two peers, one after the other, through all of the log while it grows. */
Test(catchup_thread, a_log_is_read_to_its_end)
{
	uint64_t offset = 0;

	begin(0);
	for (int i = 0; i < 100 && offset < rig.partition.log_end; i++) {
		requests[0]->offset = offset;
		mr_catchup_send(catchup, requests[0]);
		if (i < 10)
			mr_test_rig_put(&rig, 1, 100);
		cr_assert_eq(wait_for_one(), requests[0]);
		cr_assert_eq(requests[0]->status, 0, "%s", requests[0]->err.what);
		check(requests[0]);
		offset = requests[0]->end_offset;
		requests[0]->limit_offset = rig.partition.log_end;
	}
	cr_assert_eq(offset, rig.partition.log_end);
	mr_catchup_stop(catchup);
	end();
}

/* At one byte a second the second request would wait for days. */
Test(catchup_thread, a_stop_does_not_wait_for_the_rate, .timeout = 30)
{
	begin(1);
	for (int i = 0; i < REQUESTS; i++)
		mr_catchup_send(catchup, requests[i]);
	cr_assert_eq(wait_for_one(), requests[0]);
	cr_assert_eq(requests[0]->status, 0, "what is saved pays for the first");
	(void)poll(NULL, 0, 50);
	cr_assert_null(mr_catchup_take(catchup), "the rate holds the others back");
	mr_catchup_stop(catchup);
	for (int i = 1; i < REQUESTS; i++) {
		cr_assert_eq(requests[i]->status, -ECANCELED);
		cr_assert_eq(requests[i]->byte_count, 0);
	}
	end();
}

Test(catchup_thread, a_stop_without_work)
{
	begin(0);
	mr_catchup_stop(catchup);
	mr_catchup_stop(NULL);
	mr_catchup_request_free(NULL);
	end();
}

/* What the readers lean on, on this disk: who keeps a file open knows that it is another one now.
 */
Test(catchup_thread, a_file_knows_whether_it_has_its_name)
{
	struct mr_io_file *file, *other;

	begin(0);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_CREATE, &file, &err), 0);
	cr_assert_eq(mr_io_open(io, "b", MR_IO_CREATE, &other, &err), 0);
	cr_assert(mr_io_is_named(file));
	cr_assert_eq(mr_io_rename(io, "b", "a", &err), 0);
	cr_assert_not(mr_io_is_named(file));
	cr_assert(mr_io_is_named(other));
	cr_assert_eq(mr_io_remove(io, "a", &err), 0);
	cr_assert_not(mr_io_is_named(other));
	mr_io_file_close(file);
	mr_io_file_close(other);
	mr_catchup_stop(catchup);
	end();
}
