/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What recovery and repair share: finding a partition's files, zeroing behind the log's end.
 * Private to log/.
 */
#ifndef MR_RECOVER_PARTS_H
#define MR_RECOVER_PARTS_H

#include "recover.h"
#include "scan.h"

/* A file whose name says that it is a segment. */
struct mr_found_segment {
	char name[32];
	uint64_t base_offset;	    /* as the name says */
	struct mr_segment *segment; /* NULL: not opened, or taken out */
	struct mr_segment_header header;
};

/* Sorted by base offset; other names are left alone, but a leftover spare goes if 'tidy'. */
int mr_recover_find(struct mr_io *io, const char *directory, bool tidy,
		    struct mr_found_segment **found, size_t *count, struct mr_error *err);
void mr_recover_found_free(struct mr_found_segment *found, size_t count);
/* A spare that the engine before this one left; 0 too if there is none. */
int mr_recover_remove_spare(struct mr_io *io, const char *directory, struct mr_error *err);
bool mr_recover_is_zero(const uint8_t block[MR_BLOCK_BYTES]);
/* Makes file bytes [from, to) of a segment zeros where they are not, and syncs if it wrote. */
int mr_recover_zero(struct mr_scan *scan, struct mr_segment *segment, uint64_t from, uint64_t to,
		    struct mr_error *err);

#endif
