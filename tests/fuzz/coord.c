/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as the static coordinator's file, and any text as what a peer says to one.
 * What must hold beside memory safety: a file that is refused has a sentence, so has
 * a notice, and no register goes back.
 *
 * The first byte chooses: 0 a file, else a notice to a coordinator that leads one partition.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coord_static.h"
#include "crc32c.h"
#include "fuzz.h"

static uint8_t *saved;
static size_t saved_bytes;

static int save(void *arg, const void *bytes, size_t count)
{
	free(saved);
	saved = malloc(count);
	memcpy(saved, bytes, count);
	saved_bytes = count;
	return 0;
}

static void notify(void *arg, uint32_t node, const char *text, size_t bytes)
{
	fuzz_demand(strlen(text) == bytes);
}

static uint64_t now_ns;

static uint64_t monotonic_ns(const struct mr_clock *clock)
{
	return now_ns;
}

static const struct mr_clock fuzz_clock = {.monotonic_ns = monotonic_ns};

static struct mr_coord *open_with(const uint8_t *bytes, size_t count, int *status)
{
	struct mr_coord_static_options options = {
		.self = 0, .incarnation = 1, .save = save, .notify = notify, .clock = &fuzz_clock};
	struct mr_error err = {.code = 0};
	struct mr_coord *coord = NULL;

	*status = mr_coord_static_open(&options, bytes, count, &coord, &err);
	fuzz_demand(*status == 0 || (err.code == *status && err.what[0]));
	return *status == 0 ? coord : NULL;
}

/* The checksum is made good, so that what is behind it is reached. */
static void try_file(const uint8_t *data, size_t count)
{
	static const struct mr_coord_key key = {.partition = 77};
	uint8_t *bytes = malloc(count + 1);
	struct mr_coord *coord;
	uint32_t crc;
	int status;

	memcpy(bytes, data, count);
	if (count >= 4) {
		crc = mr_crc32c(0, bytes, count - 4);
		memcpy(bytes + count - 4, &crc, 4);
	}
	coord = open_with(bytes, count, &status);
	if (coord) {
		mr_coord_static_connected(coord, 1, 2);
		(void)mr_coord_static_create(coord, &key, 3, 0, NULL); /* it may be there */
		mr_coord_static_forget(coord, &key);
		coord->operations->close(coord);
	} else {
		fuzz_demand(status == -EBADMSG || status == -ENOMEM);
	}
	free(bytes);
}

static void try_notice(const uint8_t *data, size_t count)
{
	static const struct mr_coord_key key = {.topic_id = {0xab}, .partition = 7};
	struct mr_coord_state before, after;
	struct mr_error err = {.code = 0};
	uint64_t not_heard_of;
	int status;
	struct mr_coord *coord = open_with(NULL, 0, &status);

	fuzz_demand(coord != NULL);
	mr_coord_static_connected(coord, 1, 2);
	fuzz_demand(mr_coord_static_create(coord, &key, 3, 0, &err) == 0);
	mr_coord_static_release(coord, &key);
	fuzz_demand(coord->operations->watch(coord, &key, &err) == 0);
	mr_coord_static_saved(coord, 0);
	fuzz_demand(mr_coord_static_known(coord, &key, &before, &not_heard_of) == 0);
	for (int i = 0; i < 2; i++) {
		status = mr_coord_static_heard(coord, 1, (const char *)data, count, &err);
		fuzz_demand(status == 0 || (status == -EBADMSG && err.what[0]));
	}
	now_ns += 1000000000;
	mr_coord_static_time(coord);
	fuzz_demand(mr_coord_static_known(coord, &key, &after, &not_heard_of) == 0);
	fuzz_demand(after.version >= before.version);
	for (int i = 0; i < 8; i++)
		(void)coord->operations->next(coord); /* whatever it is */
	coord->operations->close(coord);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	if (count < 1)
		return 0;
	if (data[0] == 0)
		try_file(data + 1, count - 1);
	else
		try_notice(data + 1, count - 1);
	free(saved);
	saved = NULL;
	return 0;
}
