/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule's file as YAML nodes, and reading values out of them: each refusal names the line, what
 * was found and what was expected. Only for the files of rule.
 *
 * libyaml builds the tree and keeps every node's place. Anchors, aliases and deep nesting are
 * refused before, so no file makes more of itself than it has bytes.
 */
#ifndef MR_RULE_YAML_H
#define MR_RULE_YAML_H

#include <yaml.h>

#include "rule.h"

struct mr_rule_reader {
	yaml_document_t document;
	const char *file;
	struct mr_rule *rule;
	struct mr_error *err;
	uint64_t given; /* bit i: field i of the map that is read was there */
};

/* A key that a map may have. */
struct mr_rule_field {
	const char *name;
	int (*read)(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);
	bool required;
};

/* 0 and the root, a map; else -EINVAL, and nothing is left behind. */
int mr_rule_yaml_open(struct mr_rule_reader *reader, const void *bytes, size_t count,
		      const yaml_node_t **root);
void mr_rule_yaml_close(struct mr_rule_reader *reader);

/* Says "FILE:LINE: " and the sentence; -EINVAL. */
__attribute__((format(printf, 3, 4))) int
mr_rule_refuse(struct mr_rule_reader *reader, const yaml_node_t *node, const char *format, ...);
/* Puts "FILE:LINE: " before an error that is there; returns its code. */
int mr_rule_refuse_as(struct mr_rule_reader *reader, const yaml_node_t *node);

/*
 * Reads every key of 'node' with its field, into 'out'. Unknown keys, keys given twice and required
 * ones that are missing are refused; 'what' is the map's name in sentences.
 */
int mr_rule_read_map(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		     const struct mr_rule_field *fields, uint32_t count, void *out);
/* Calls 'each' for each entry of a map whose keys are names. */
int mr_rule_each(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		 int (*each)(struct mr_rule_reader *reader, const yaml_node_t *key,
			     const yaml_node_t *value));
/* What stands behind 'name' in the map 'node'; NULL: nothing, or 'node' is no map. */
const yaml_node_t *mr_rule_entry(struct mr_rule_reader *reader, const yaml_node_t *node,
				 const char *name);
/* Items of a list; item 'i'. NULL beyond its end. */
const yaml_node_t *mr_rule_item(struct mr_rule_reader *reader, const yaml_node_t *list, uint32_t i);

bool mr_rule_is_map(const yaml_node_t *node);
bool mr_rule_is_list(const yaml_node_t *node);
bool mr_rule_is_scalar(const yaml_node_t *node);
/* A scalar's text, terminated. */
const char *mr_rule_text(const yaml_node_t *node);
uint32_t mr_rule_line(const yaml_node_t *node);

/* Scalars. 'what' is the value's name in sentences. */
int mr_rule_read_text(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      char *out, size_t room);
/* One of 'words': its index. */
int mr_rule_read_word(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      const char *const *words, uint32_t count, uint32_t *out);
int mr_rule_read_number(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
			double *out);
int mr_rule_read_count(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		       uint64_t least, uint64_t most, uint64_t *out);
/* "250ms", "5s", "1min", "1h", "7d": at least 1 ms. */
int mr_rule_read_time(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      int64_t *ms);
int mr_rule_read_bytes(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		       uint64_t *out);
/* True if the scalar is digits and a unit of time. */
bool mr_rule_is_time(const yaml_node_t *node);

#endif
