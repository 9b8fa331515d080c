/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a rule's file, each read into the reader's rule. Only for the files of rule.
 */
#ifndef MR_RULE_PARTS_H
#define MR_RULE_PARTS_H

#include "rule_yaml.h"

/* Functions of a field (rule_yaml.h); 'out' is not used. */
int mr_rule_read_windows(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);
int mr_rule_read_alerts(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);
int mr_rule_read_parse(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);
int mr_rule_read_time_path(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);
int mr_rule_read_clean(struct mr_rule_reader *reader, const yaml_node_t *node, void *out);

/* A name of the rule's own: letters, digits and _, not a digit first, none of the words taken. */
int mr_rule_read_name(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      char out[32]);

#endif
