/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a log of a data directory that no engine runs on, as a follower does: no command of the
 * program does that, and what reads logs must know how they look afterwards.
 *
 *	cut-log DIRECTORY topics/ID/PARTITION OFFSET
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recover_parts.h"
#include "truncate.h"

static int cut(const char *directory, const char *log, uint64_t offset, struct mr_error *err)
{
	struct mr_truncation truncation = {.offset = offset, .segment_bytes = 16u << 20};
	struct mr_found_segment *found = NULL;
	struct mr_segment_header header;
	struct mr_segment *segment = NULL;
	struct mr_io *io = NULL;
	size_t count = 0;
	int r = mr_io_open_directory(directory, "auto", &io, err);

	if (r < 0)
		return r;
	r = mr_recover_find(io, log, false, &found, &count, err);
	if (r == 0 && count == 0)
		r = mr_error_set(err, -1, "there is no segment in '%s'", log);
	if (r == 0)
		r = mr_segment_open(io, log, found[0].name, false, 0, &segment, &header, err);
	if (r == 0) {
		memcpy(truncation.topic_id, header.topic_id, sizeof(truncation.topic_id));
		memcpy(truncation.log_id, header.log_id, sizeof(truncation.log_id));
		truncation.partition = header.partition;
		mr_segment_close(segment);
		r = mr_log_truncate(io, log, &truncation, err);
	}
	mr_recover_found_free(found, count);
	mr_io_close(io);
	return r;
}

int main(int argc, char **argv)
{
	struct mr_error err = {0};

	if (argc != 4) {
		fprintf(stderr, "usage: cut-log DIRECTORY topics/ID/PARTITION OFFSET\n");
		return 2;
	}
	if (cut(argv[1], argv[2], strtoull(argv[3], NULL, 10), &err) == 0)
		return 0;
	fprintf(stderr, "cut-log: %s\n", err.what);
	return 1;
}
