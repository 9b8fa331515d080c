/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration file as texts: which options it gives, in which line, in which words. Only
 * for the files of config.
 */
#ifndef MR_CONFIG_YAML_H
#define MR_CONFIG_YAML_H

#include "config_table.h"

/* Texts by row of the table; NULL where the file is silent. */
struct mr_config_texts {
	char *values[MR_OPTIONS_MAX];
};

/* What the file's schema loads into. */
struct mr_config_root {
	char *values[MR_OPTIONS_MAX];
	struct mr_config_texts *topics;
	uint32_t topic_count;
};

/* Lines, counted from 1, by row of the table; 0 where the file is silent. */
struct mr_config_lines {
	uint32_t values[MR_OPTIONS_MAX];
};

/* Options in a group of their own: one of `peers`, by its name, or `tls`, which has none. */
struct mr_config_group {
	char *name;
	uint32_t line; /* where it begins; 0: it is not there */
	struct mr_config_texts texts;
	struct mr_config_lines lines;
};

struct mr_config_yaml {
	struct mr_config_root *root; /* owned; NULL: an empty file */
	struct mr_config_lines lines;
	struct mr_config_lines *topic_lines; /* owned; as many as there are topics */
	size_t topic_count;
	struct mr_config_group *peers; /* owned; names differ */
	size_t peer_count;
	struct mr_config_group tls;
};

/*
 * Reads 'count' bytes. Every key is known and given once, every value is what the table's type
 * has: a text, a list or groups of them. -EINVAL: err->what begins "NAME:LINE: ". The caller ends
 * with mr_config_yaml_deinit(), after an error too.
 */
int mr_config_yaml_read(const void *bytes, size_t count, const char *name,
			struct mr_config_yaml *out, struct mr_error *err);
void mr_config_yaml_deinit(struct mr_config_yaml *yaml);

/* Puts "NAME:LINE: " before the sentence, or "NAME: " for line 0. */
void mr_config_yaml_prefix(const char *name, uint32_t line, struct mr_error *err);

#endif
