/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catch-up thread reads a log for two peers while it is written, rolls on and loses its oldest
 * segments, on a real disk, for ThreadSanitizer: what comes back is whole and in order, or says
 * that it is no longer kept.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log_rig.h"
#include "replica/catchup.h"

#define PEERS	 2u
#define ROUNDS	 600u
#define SEGMENTS 4u /* that are kept */

static char directory[64];
static struct mr_test_rig rig;
static struct mr_catchup *catchup;
static struct mr_catchup_request *requests[PEERS];
static bool out[PEERS];
static uint32_t answers, too_old;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "catchup: %s\n", what);
	exit(1);
}

/* Follows on what the peer had, batch by batch. */
static void look(const struct mr_catchup_request *request)
{
	const uint8_t *at = request->bytes, *end = at + request->byte_count;
	uint64_t next = request->base_offset;
	struct mr_batch_header batch;

	check(next <= request->offset, "it does not hold the offset that was asked for");
	for (; at < end; at += batch.total_bytes) {
		check(mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0, "no batch");
		check(mr_batch_check_crc(at, &batch) == 0, "a batch is broken");
		check(batch.base_offset == next, "a batch is missing");
		next += (uint64_t)batch.record_count;
	}
	check(next == request->end_offset, "it ends elsewhere");
	check(next <= request->limit_offset, "more than is flushed");
}

static void take(void)
{
	struct mr_catchup_request *request;

	while ((request = mr_catchup_take(catchup))) {
		uint32_t peer = (uint32_t)(uintptr_t)request->owner;

		out[peer] = false;
		answers++;
		if (request->status == 0) {
			look(request);
			request->offset = request->end_offset;
		} else {
			check(request->status == -ERANGE, request->err.what);
			request->offset = mr_log_files_start_offset(rig.files);
			too_old++;
		}
	}
}

static void ask(uint32_t peer)
{
	struct mr_catchup_request *request = requests[peer];

	if (out[peer] || request->offset >= rig.partition.flushed)
		return;
	request->bytes_max = peer ? 20000 : 500; /* one of them is slow */
	request->limit_offset = rig.partition.flushed;
	out[peer] = true;
	mr_catchup_send(catchup, request);
}

/* As the feed waits. */
static void sleep_for_answers(void)
{
	struct pollfd bell = {.fd = mr_catchup_fd(catchup), .events = POLLIN};

	if (mr_catchup_sleep(catchup))
		(void)poll(&bell, 1, 10);
	mr_catchup_wake(catchup);
}

static void retain(void)
{
	while (mr_log_files_count(rig.files) > SEGMENTS) {
		uint64_t start;
		struct mr_segment *gone =
			mr_log_files_retain(rig.files, 1, 0, rig.partition.flushed, &start);

		if (!gone)
			return;
		check(mr_segment_remove(gone, NULL) == 0, "a segment stays");
		mr_segment_close(gone);
	}
}

static void begin(struct mr_io **io)
{
	struct mr_test_rig_options options = mr_test_rig_defaults();
	struct mr_error err = {0};

	snprintf(directory, sizeof(directory), "catchup-threads-XXXXXX");
	check(mkdtemp(directory), "no directory");
	check(mr_io_open_directory(directory, "auto", io, &err) == 0, err.what);
	mr_test_rig_open(&rig, &options, *io, NULL);
	check(mr_catchup_start(NULL, *io, 0, &catchup, &err) == 0, err.what);
	for (uint32_t i = 0; i < PEERS; i++) {
		requests[i] = mr_catchup_request_new();
		check(requests[i], "no memory");
		snprintf(requests[i]->directory, sizeof(requests[i]->directory), RIG_DIRECTORY);
		requests[i]->owner = (void *)(uintptr_t)i;
	}
}

int main(void)
{
	char command[128];
	struct mr_io *io;

	begin(&io);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		mr_test_rig_put(&rig, 5, 300);
		if (round % 10 == 0)
			retain();
		for (uint32_t i = 0; i < PEERS; i++)
			ask(i);
		if (round % 7 == 0)
			sleep_for_answers();
		take();
	}
	for (uint32_t i = 0; i < PEERS; i++)
		ask(i); /* and it ends with some under way */
	mr_catchup_stop(catchup);
	for (uint32_t i = 0; i < PEERS; i++)
		mr_catchup_request_free(requests[i]);
	mr_test_rig_close(&rig);
	mr_io_close(io);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	check(system(command) == 0, "the directory stays");
	check(answers > 50, "nothing was read");
	check(too_old > 0, "retention was never faster");
	printf("%u answers, %u of them too late, each batch at its place\n", answers, too_old);
	return 0;
}
