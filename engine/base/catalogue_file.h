/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalogue's file: one JSON object in the data directory that is read once at the start and
 * replaced as a whole at each change. On disk it is TEXT "\n" CRC32C "\n", the crc of TEXT in eight
 * hex digits.
 *
 * A crash leaves the old file or the new one (mr_io_replace). A file that is cut, that has another
 * crc than its text, that is no JSON or that a newer program wrote is refused, never taken in part.
 */
#ifndef MR_CATALOGUE_FILE_H
#define MR_CATALOGUE_FILE_H

#include <jansson.h>
#include <stddef.h>

#include "error.h"
#include "io.h"

struct mr_catalogue_file {
	const char *path;
	const char *rows; /* what it lists: the key of the array, and a word for people */
	size_t bytes_max;
	int version_oldest, version; /* what is read; what the caller writes */
};

/*
 * On success the caller owns *out, an object whose version fits and whose rows are an array; NULL
 * if there is no such file. On failure *out is NULL.
 */
int mr_catalogue_file_load(const struct mr_catalogue_file *file, struct mr_io *io, json_t **out,
			   struct mr_error *err);

/* Takes 'root', whatever comes of it; NULL is one for which there was no memory. */
int mr_catalogue_file_save(const struct mr_catalogue_file *file, struct mr_io *io, json_t *root,
			   struct mr_error *err);

#endif
