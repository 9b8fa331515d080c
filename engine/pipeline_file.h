/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint of one input partition of a pipeline as a file (struct mr_pipeline_file): written
 * under another name, durable, and given its name only when all that it stands for is safe. Called
 * on the pipeline's own thread, which may block on the disk.
 */
#ifndef MR_PIPELINE_FILE_H
#define MR_PIPELINE_FILE_H

#include <stdint.h>

#include "base/io.h"
#include "millrace/format.h"
#include "pipeline/pipeline.h"

/* Writes PATH.new, durably. 'head': ids, partition, rule_version, offset, numbers, added, skipped;
 * the rest is filled in here. */
int mr_pipeline_file_write(struct mr_io *io, const char *path, struct mr_pipeline_file *head,
			   const struct mr_pipeline *pipeline, struct mr_error *err);
/* PATH.new becomes PATH, durably. */
int mr_pipeline_file_name(struct mr_io *io, const char *path, struct mr_error *err);

/* Its head, checked by itself. -ENOENT: there is none; -EBADMSG: it is damaged. */
int mr_pipeline_file_head(struct mr_io *io, const char *path, struct mr_pipeline_file *head,
			  struct mr_error *err);
/* The state behind that head, into a new pipeline of its rule's version. -EBADMSG: damaged; the
 * pipeline must be freed then. */
int mr_pipeline_file_load(struct mr_io *io, const char *path, const struct mr_pipeline_file *head,
			  struct mr_pipeline *pipeline, struct mr_error *err);

#endif
