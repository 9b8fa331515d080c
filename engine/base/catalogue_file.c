/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalogue's file (catalogue_file.h): its crc, its version, and JSON by jansson. What its rows
 * say is the caller's to check.
 */
#include "catalogue_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

#define SUM_BYTES 10 /* "\n", eight digits, "\n" */

static int check_sum(const char *path, const char *text, size_t bytes, size_t *length,
		     struct mr_error *err)
{
	const char *end = memchr(text, '\n', bytes);
	char expected[9];

	if (!end || (size_t)(text + bytes - end) != SUM_BYTES || text[bytes - 1] != '\n')
		return mr_error_set(err, -EBADMSG, "file '%s' is cut: %zu bytes", path, bytes);
	*length = (size_t)(end - text);
	snprintf(expected, sizeof(expected), "%08x", mr_crc32c(0, text, *length));
	if (memcmp(expected, end + 1, 8) != 0)
		return mr_error_set(err, -EBADMSG, "file '%s' has crc %.8s, computed %s", path,
				    end + 1, expected);
	return 0;
}

static int check_root(const struct mr_catalogue_file *file, const json_t *root,
		      struct mr_error *err)
{
	json_int_t version = json_integer_value(json_object_get(root, "version"));

	if (version >= file->version_oldest && version <= file->version &&
	    json_is_array(json_object_get(root, file->rows)))
		return 0;
	if (file->version_oldest == file->version)
		return mr_error_set(err, -EBADMSG, "file '%s': version %lld, expected %d",
				    file->path, (long long)version, file->version);
	return mr_error_set(err, -EBADMSG, "file '%s': version %lld, expected %d to %d", file->path,
			    (long long)version, file->version_oldest, file->version);
}

static int read_text(const struct mr_catalogue_file *file, const char *text, size_t bytes,
		     json_t **out, struct mr_error *err)
{
	json_error_t why;
	json_t *root;
	size_t length = 0;
	int r = check_sum(file->path, text, bytes, &length, err);

	if (r < 0)
		return r;
	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return mr_error_set(err, -EBADMSG, "file '%s': %s", file->path, why.text);
	r = check_root(file, root, err);
	if (r < 0)
		json_decref(root);
	else
		*out = root;
	return r;
}

int mr_catalogue_file_load(const struct mr_catalogue_file *file, struct mr_io *io, json_t **out,
			   struct mr_error *err)
{
	void *text = NULL;
	size_t bytes;
	int r = mr_io_load(io, file->path, file->bytes_max, &text, &bytes, err);

	*out = NULL;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = read_text(file, text, bytes, out, err);
	free(text);
	return r;
}

int mr_catalogue_file_save(const struct mr_catalogue_file *file, struct mr_io *io, json_t *root,
			   struct mr_error *err)
{
	char *json = json_dumps(root, JSON_COMPACT), *text = NULL;
	int r = json ? asprintf(&text, "%s\n%08x\n", json, mr_crc32c(0, json, strlen(json))) : -1;

	json_decref(root);
	free(json);
	if (r < 0)
		return mr_error_set(err, -ENOMEM, "no memory for the catalogue of %s", file->rows);
	r = mr_io_replace(io, file->path, text, (size_t)r, err);
	free(text);
	return r;
}
