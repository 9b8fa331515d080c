/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table, and values as text. Only for the files of config.
 */
#ifndef MR_CONFIG_TABLE_H
#define MR_CONFIG_TABLE_H

#include "config.h"

enum mr_option_type {
	MR_OPTION_PATH, /* text of 'least' to 'most' bytes */
	MR_OPTION_NAME, /* of a topic, host or cluster */
	MR_OPTION_ADDRESS,
	MR_OPTION_WORD, /* one of 'words'; the field gets its index */
	MR_OPTION_COUNT,
	MR_OPTION_BYTES,
	MR_OPTION_POWER, /* bytes, a power of two */
	MR_OPTION_TIME,	 /* milliseconds in the field, any unit in the file */
	/* no value of their own */
	MR_OPTION_LIST,	 /* `topics`: a list of rows with options of their own */
	MR_OPTION_PEERS, /* `peers`: such rows by name */
	MR_OPTION_GROUP, /* `tls`: one such row */
};

struct mr_option {
	const char *name;
	enum mr_option_type type;
	const char *fallback; /* the default, as it would stand in the file; NULL: see 'meaning' */
	uint64_t least;
	uint64_t most;
	const char *words; /* "auto|uring|posix" */
	size_t offset;	   /* of its field in the struct */
	size_t bytes;	   /* of its field: 1, 4 or 8 for numbers */
	const char *meaning;
};

struct mr_option_table {
	const struct mr_option *rows;
	size_t count;
};

#define MR_OPTIONS_MAX 48 /* rows of any table */

/* General options, with fields of struct mr_config; a topic's, of struct mr_config_topic. */
extern const struct mr_option_table mr_config_options;
extern const struct mr_option_table mr_config_topic_options;
extern const struct mr_option_table mr_config_peer_options;
extern const struct mr_option_table mr_config_tls_options;

/* Two options, both bytes: 'greater' is at least 'factor' times 'lesser'. */
struct mr_option_relation {
	const char *lesser;
	const char *greater;
	uint64_t factor;
	const char *why;
};

#define MR_OPTION_RELATIONS 7
extern const struct mr_option_relation mr_config_relations[MR_OPTION_RELATIONS];

/* NULL if there is none of that name. */
const struct mr_option *mr_option_find(const struct mr_option_table *table, const char *name);

/* The name in the table that is most like 'name', or NULL if none is near. */
const char *mr_option_nearest(const struct mr_option_table *table, const char *name);

/* Converts, checks and stores. -EINVAL: err says what was found and what is expected. */
int mr_option_set(const struct mr_option *option, const char *text, void *fields,
		  struct mr_error *err);

static inline bool mr_option_is_alone(const struct mr_option *option)
{
	return option->type < MR_OPTION_LIST;
}

static inline bool mr_option_is_number(const struct mr_option *option)
{
	return option->type >= MR_OPTION_WORD && option->type < MR_OPTION_LIST;
}

/* Which value a sentence of mr_config_check_hosts() is about. */
struct mr_config_misfit {
	const char *option;  /* general */
	size_t peer;	     /* of `peers`, where 'option' is NULL, */
	const char *of_peer; /* and which of its own; NULL: all of it */
};

/* Hosts, their numbers and addresses, and what protects what is said between them. */
int mr_config_check_hosts(const struct mr_config *config, struct mr_config_misfit *misfit,
			  struct mr_error *err);
/* Copies and leaders of a topic; 'name' NULL: of those made on first use. */
int mr_config_check_replicas(const struct mr_config *config, const char *name, uint32_t replicas,
			     uint32_t min_insync_replicas, const char *leaders,
			     struct mr_error *err);

/* A number's field. */
uint64_t mr_option_get(const struct mr_option *option, const void *fields);
void mr_option_put(const struct mr_option *option, uint64_t value, void *fields);

/* "16 MiB", "7 d", "64": shortest exact form. */
const char *mr_option_format(const struct mr_option *option, uint64_t value, char *text,
			     size_t bytes);

/* "bytes from 16 MiB to 4 GiB", "auto, uring or posix". */
const char *mr_option_expected(const struct mr_option *option, char *text, size_t bytes);

#endif
