/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one table of options, a row each (config_table.c). From it come the
 * schema of the YAML file, its checks, the defaults and docs/CONFIG.md, so that none of them
 * can disagree. A new option is a field here and a row there.
 *
 *	# millrace.yaml
 *	data: /var/lib/millrace
 *	segment_bytes: 256 MiB
 *	retention: 7 d
 *	topics:
 *	  - name: trades
 *	    partitions: 4
 *	node: a
 *	peers:
 *	  b: {number: 1, address: "10.0.0.2:7420"}
 *
 * A file is taken as a whole or refused with the line, the key, what was found there and what
 * is expected. Used at start by one thread; afterwards every thread may read the struct,
 * nobody changes it.
 */
#ifndef MR_CONFIG_H
#define MR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "address.h"
#include "error.h"
#include "place.h"

#define MR_CONFIG_PATH_BYTES	   1024 /* of a directory's path, with its final zero */
#define MR_CONFIG_SOCKET_BYTES	   108	/* of a Unix socket's path, with its final zero */
#define MR_CONFIG_TOPIC_NAME_BYTES 250	/* with its final zero */
#define MR_CONFIG_TOPICS_MAX	   4096 /* rows of `topics` */
#define MR_CONFIG_NODE_BYTES	   65	/* of a host's or a cluster's name, with its final zero */
#define MR_CONFIG_HOSTS_MAX	   64	/* of a cluster, this one included */
#define MR_CONFIG_FILE_BYTES_MAX   (1u << 20)

/* For 'retention_bytes' and 'retention_ms'. */
#define MR_CONFIG_UNLIMITED 0

enum mr_config_io {
	MR_CONFIG_IO_AUTO,
	MR_CONFIG_IO_URING,
	MR_CONFIG_IO_POSIX,
};

enum mr_config_idle {
	MR_CONFIG_IDLE_SPIN,
	MR_CONFIG_IDLE_ADAPTIVE,
	MR_CONFIG_IDLE_PARK,
};

enum mr_config_storage {
	MR_CONFIG_STORAGE_DISK,
	MR_CONFIG_STORAGE_MEMORY, /* lanes and a tail, no log: gone with the engine */
};

/* How batches lie in the tail, in the log and on the feed. */
enum mr_config_compression {
	MR_CONFIG_COMPRESSION_NONE,
	MR_CONFIG_COMPRESSION_LZ4,
	MR_CONFIG_COMPRESSION_ZSTD,
};

#define MR_CONFIG_LEADERS_SPREAD "spread"

/* Another host of the cluster. */
struct mr_config_peer {
	char name[MR_CONFIG_NODE_BYTES];
	uint32_t number;
	char address[MR_ADDRESS_BYTES_MAX]; /* empty: its number is lower, so it connects to us */
	uint64_t bytes_per_second;	    /* sent to it at most; 0: no bound */
};

/* Files, in PEM. All are given, or none. */
struct mr_config_tls {
	char authority[MR_CONFIG_PATH_BYTES];
	char certificate[MR_CONFIG_PATH_BYTES];
	char key[MR_CONFIG_PATH_BYTES];
};

/*
 * What one topic has of its own; where the file is silent, the general option's value stands
 * here.
 */
struct mr_config_topic {
	char name[MR_CONFIG_TOPIC_NAME_BYTES];
	uint32_t partitions;
	uint64_t retention_bytes;
	uint64_t retention_ms;
	uint64_t segment_bytes;
	enum mr_config_storage storage;
	enum mr_config_compression compression;
	uint64_t tail_bytes; /* a power of two */
	uint32_t replicas;
	uint32_t min_insync_replicas;	    /* 0: not given, see mr_config_least_in_sync() */
	char leaders[MR_CONFIG_NODE_BYTES]; /* MR_CONFIG_LEADERS_SPREAD, or a host's name */
};

/* All values are within the bounds of the table and fit each other. */
struct mr_config {
	char data[MR_CONFIG_PATH_BYTES];
	char socket[MR_CONFIG_SOCKET_BYTES]; /* empty: the default place */
	enum mr_config_io io;
	char node[MR_CONFIG_NODE_BYTES]; /* this host's name */
	uint32_t number;		 /* and its number among the hosts of the cluster */
	char cluster[MR_CONFIG_NODE_BYTES];
	char listen[MR_ADDRESS_BYTES_MAX]; /* empty: connects only */
	struct mr_config_peer *peers;	   /* owned; NULL if none; in the file's order */
	size_t peer_count;
	struct mr_config_tls tls;
	bool insecure;
	uint64_t catch_up_bytes_per_second;
	bool auto_create;
	uint32_t partitions; /* of a topic made on first use */
	uint64_t segment_bytes;
	uint64_t first_segment_bytes;
	uint64_t retention_bytes; /* of a partition's files; MR_CONFIG_UNLIMITED */
	uint64_t retention_ms;	  /* MR_CONFIG_UNLIMITED */
	uint64_t tail_bytes;	  /* a power of two */
	uint64_t lane_bytes;	  /* a power of two: what a producer gets that does not ask */
	uint64_t lane_bytes_max;  /* a power of two: what a producer may ask for */
	uint64_t record_bytes_max;
	uint64_t group_bytes; /* the largest group, before padding */
	uint32_t groups_in_flight;
	enum mr_config_idle idle;
	uint32_t workers; /* 0: the placement plan decides */
	enum mr_place_policy placement;
	uint32_t lanes_per_user;
	uint32_t connections_per_user;
	uint64_t checkpoint_quiet_ms;
	uint64_t pipeline_checkpoint_ms;
	enum mr_config_compression compression; /* of a topic made on first use */
	uint32_t replicas;			/* the same */
	uint32_t min_insync_replicas;		/* 0: not given, see mr_config_least_in_sync() */
	char leaders[MR_CONFIG_NODE_BYTES];	/* MR_CONFIG_LEADERS_SPREAD, or a host's name */
	uint32_t producer_ids_max;		/* of a partition */
	uint64_t producer_expiry_ms;
	struct mr_config_topic *topics; /* owned; NULL if none; in the file's order, names unique */
	size_t topic_count;
};

/* Every option at its default. The caller ends with mr_config_deinit(). */
void mr_config_defaults(struct mr_config *config);

/* Frees what the struct owns. Takes one of zeros. */
void mr_config_deinit(struct mr_config *config);

/*
 * Reads the file 'path' over the defaults. On success the caller owns what *out holds; on
 * failure *out is untouched. -ENOENT, -EACCES, ...: cannot read it. -EFBIG: over
 * MR_CONFIG_FILE_BYTES_MAX. -EINVAL: refused; err->what begins "PATH:LINE: ".
 */
int mr_config_load(const char *path, struct mr_config *out, struct mr_error *err);

/*
 * The same for 'count' bytes of text; 'name' stands for the file in messages. Any bytes may
 * come.
 */
int mr_config_parse(const void *bytes, size_t count, const char *name, struct mr_config *out,
		    struct mr_error *err);

/*
 * Sets one option from text, as in the file ("segment_bytes", "256 MiB"), for the command
 * line. -EINVAL leaves *config as it was. Call mr_config_check() when all are set.
 */
int mr_config_set(struct mr_config *config, const char *option, const char *text,
		  struct mr_error *err);

/* Do the values fit each other? mr_config_load() and mr_config_parse() have asked already. */
int mr_config_check(const struct mr_config *config, struct mr_error *err);

/* The row of a topic, or NULL: then the general options stand. */
const struct mr_config_topic *mr_config_topic_find(const struct mr_config *config,
						   const char *name);

/* A topic without a row, from the general options. 'name' is copied, cut where it is too long. */
void mr_config_topic_defaults(const struct mr_config *config, const char *name,
			      struct mr_config_topic *out);

/* Another host by its name, or by its number; NULL: there is none. */
const struct mr_config_peer *mr_config_peer_find(const struct mr_config *config, const char *name);
const struct mr_config_peer *mr_config_peer_numbered(const struct mr_config *config,
						     uint32_t number);

/* Hosts that have not the same one do not speak to each other: from `cluster`, the same anywhere.
 */
void mr_config_cluster_id(const struct mr_config *config, uint8_t id[16]);

/*
 * What min_insync_replicas means for a topic with so many replicas: what was 'given', else 1 up to
 * two replicas, so that one host goes on alone, and 2 from three on (reliability.md R11).
 */
uint32_t mr_config_least_in_sync(uint32_t given, uint32_t replicas);

/* "auto", "uring", "posix": as mr_io_open_directory() takes it. "spin", "adaptive", "park". */
const char *mr_config_io_word(enum mr_config_io io);
const char *mr_config_idle_word(enum mr_config_idle idle);
const char *mr_config_storage_word(enum mr_config_storage storage);	    /* "disk", "memory" */
int mr_config_storage_parse(const char *word, enum mr_config_storage *out); /* -EINVAL */
/* "none", "lz4", "zstd". */
const char *mr_config_compression_word(enum mr_config_compression compression);
/* -EINVAL: says which there are, and what is near to it. */
int mr_config_compression_parse(const char *word, enum mr_config_compression *out,
				struct mr_error *err);

/* Writes docs/CONFIG.md. 0, or -EIO. */
int mr_config_describe(FILE *out);

#endif
