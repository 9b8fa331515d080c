/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table: every option there is, a row each. Schema, checks, defaults and
 * docs/CONFIG.md all come from here. Constant; any thread may read it.
 *
 * To add an option: a field in config.h, a row here, and docs/CONFIG.md made anew.
 */
#include <assert.h>

#include "check.h"
#include "config_table.h"

#define FIELD(name) offsetof(struct mr_config, name), sizeof(((struct mr_config *)0)->name)
#define TOPIC_FIELD(name)                                                                          \
	offsetof(struct mr_config_topic, name), sizeof(((struct mr_config_topic *)0)->name)

#define PEER_FIELD(name)                                                                           \
	offsetof(struct mr_config_peer, name), sizeof(((struct mr_config_peer *)0)->name)
#define TLS_FIELD(name)                                                                            \
	offsetof(struct mr_config_tls, name), sizeof(((struct mr_config_tls *)0)->name)

#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define TIB    (1024 * GIB)
#define SECOND UINT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

#define SEGMENT_LEAST	     (16 * MIB)
#define SEGMENT_MOST	     (4 * GIB)
#define PARTITIONS_MOST	     1024
#define RETENTION_BYTES_MOST (1024 * TIB)
#define RETENTION_TIME_MOST  (36500 * DAY)

static const struct mr_option general[] = {
	{"data", MR_OPTION_PATH, "./millrace-data", 1, MR_CONFIG_PATH_BYTES - 1, NULL, FIELD(data),
	 "Directory of the log, made if it is not there."},
	{"socket", MR_OPTION_PATH, "", 0, MR_CONFIG_SOCKET_BYTES - 1, NULL, FIELD(socket),
	 "Socket for the programs of this host; empty: `$MILLRACE_SOCKET`, else "
	 "`$XDG_RUNTIME_DIR/millrace.sock`, else `millrace.sock` in the data directory."},
	{"io", MR_OPTION_WORD, "auto", 0, 0, "auto|uring|posix", FIELD(io),
	 "How files are written: io_uring with O_DIRECT, or threads with fdatasync; auto takes "
	 "io_uring where kernel and file system allow it."},
	{"node", MR_OPTION_NAME, "local", 1, MR_CONFIG_NODE_BYTES - 1, NULL, FIELD(node),
	 "Name of this host among its peers, and in its certificate."},
	{"number", MR_OPTION_COUNT, "0", 0, MR_CONFIG_HOSTS_MAX - 1, NULL, FIELD(number),
	 "Number of this host among its peers: each has one of its own, for ever. Leader epochs "
	 "are taken from those that are this number modulo 64, and of two hosts the one with the "
	 "lower number connects to the other."},
	{"cluster", MR_OPTION_NAME, "millrace", 1, MR_CONFIG_NODE_BYTES - 1, NULL, FIELD(cluster),
	 "Name of the cluster: hosts that say different ones do not speak to each other."},
	{"listen", MR_OPTION_ADDRESS, "", 0, MR_ADDRESS_BYTES_MAX - 1, NULL, FIELD(listen),
	 "Where peers with lower numbers connect to; empty: nowhere."},
	{"peers", MR_OPTION_PEERS, "none", 0, MR_CONFIG_HOSTS_MAX - 1, NULL, FIELD(peers),
	 "The other hosts of the cluster, by name."},
	{"tls", MR_OPTION_GROUP, "none", 0, 0, NULL, FIELD(tls),
	 "Certificates for what hosts say to each other; `millrace cert init` makes a first set."},
	{"insecure", MR_OPTION_WORD, "false", 0, 0, "false|true", FIELD(insecure),
	 "Speak to peers on other hosts without TLS: whoever is on that network can read and "
	 "change all records."},
	{"catch_up_bytes_per_second", MR_OPTION_BYTES, "256 MiB", 1 * MIB, 1 * TIB, NULL,
	 FIELD(catch_up_bytes_per_second),
	 "Read from segments for peers that lag, at most, all of them together."},
	{"auto_create", MR_OPTION_WORD, "true", 0, 0, "false|true", FIELD(auto_create),
	 "Make a topic when a producer first opens it."},
	{"partitions", MR_OPTION_COUNT, "1", 1, PARTITIONS_MOST, NULL, FIELD(partitions),
	 "Partitions of a topic that is made on first use."},
	{"segment_bytes", MR_OPTION_BYTES, "1 GiB", SEGMENT_LEAST, SEGMENT_MOST, NULL,
	 FIELD(segment_bytes), "Start a new segment at this size."},
	{"first_segment_bytes", MR_OPTION_BYTES, "16 MiB", 1 * MIB, SEGMENT_MOST, NULL,
	 FIELD(first_segment_bytes),
	 "Size of a partition's first segment; each further one is twice as large, up to "
	 "`segment_bytes`."},
	{"retention_bytes", MR_OPTION_BYTES, "0", 0, RETENTION_BYTES_MOST, NULL,
	 FIELD(retention_bytes),
	 "Remove the oldest segments when a partition's files take more than this; 0: never."},
	{"retention", MR_OPTION_TIME, "0", 0, RETENTION_TIME_MOST, NULL, FIELD(retention_ms),
	 "Remove segments whose records were all appended longer ago than this; 0: never."},
	{"tail_bytes", MR_OPTION_POWER, "16 MiB", 1 * MIB, 4 * GIB, NULL, FIELD(tail_bytes),
	 "Memory for the end of each partition's log, from which disk and consumers read."},
	{"lane_bytes", MR_OPTION_POWER, "1 MiB", 64 * KIB, 256 * MIB, NULL, FIELD(lane_bytes),
	 "Ring of a producer that asks for no size; it must hold rate x time to acknowledge. No "
	 "record is larger than half of it."},
	{"lane_bytes_max", MR_OPTION_POWER, "64 MiB", 64 * KIB, 256 * MIB, NULL,
	 FIELD(lane_bytes_max), "Largest ring that a producer may ask for."},
	{"record_bytes_max", MR_OPTION_BYTES, "1 MiB", 1 * KIB, 64 * MIB, NULL,
	 FIELD(record_bytes_max), "Largest record: key, value and headers together."},
	{"group_bytes", MR_OPTION_BYTES, "1 MiB", 64 * KIB, 4 * MIB, NULL, FIELD(group_bytes),
	 "Largest group, which is what one durable write carries, before padding."},
	{"groups_in_flight", MR_OPTION_COUNT, "4", 1, 16, NULL, FIELD(groups_in_flight),
	 "Durable writes of a partition that may be under way at once."},
	{"idle", MR_OPTION_WORD, "adaptive", 0, 0, "spin|adaptive|park", FIELD(idle),
	 "What a worker does that finds nothing to do: spin burns its core for the lowest latency "
	 "(but not a core that the disk's interrupts need), park sleeps at once, adaptive spins a "
	 "while and then sleeps."},
	{"workers", MR_OPTION_COUNT, "0", 0, MR_PLACE_WORKERS_MAX, NULL, FIELD(workers),
	 "Worker threads, each with a core of its own; 0: as many as leaves room for the programs "
	 "beside the engine."},
	{"placement", MR_OPTION_WORD, "spread", 0, 0, "spread|compact", FIELD(placement),
	 "Spread workers over NUMA nodes in turn, or fill one node before the next."},
	{"lanes_per_user", MR_OPTION_COUNT, "256", 1, 65536, NULL, FIELD(lanes_per_user),
	 "Producers' rings that one user id may have open."},
	{"connections_per_user", MR_OPTION_COUNT, "64", 1, 65536, NULL, FIELD(connections_per_user),
	 "Connections that one user id may have open."},
	{"checkpoint_quiet", MR_OPTION_TIME, "100 ms", 1, 60 * SECOND, NULL,
	 FIELD(checkpoint_quiet_ms),
	 "Write a checkpoint after nothing was appended for this long."},
	{"pipeline_checkpoint", MR_OPTION_TIME, "5 s", 10, 3600 * SECOND, NULL,
	 FIELD(pipeline_checkpoint_ms),
	 "How often a pipeline writes down how far it has read: so much is read again after a "
	 "crash."},
	{"compression", MR_OPTION_WORD, "none", 0, 0, "none|lz4|zstd", FIELD(compression),
	 "How the record batches of a topic that is made on first use lie in memory, on disk and "
	 "on "
	 "the wire to its peers: none, by lz4 (the least work) or by zstd (the smallest)."},
	{"replicas", MR_OPTION_COUNT, "1", 1, MR_CONFIG_HOSTS_MAX, NULL, FIELD(replicas),
	 "Hosts that keep a copy of a topic that is made on first use."},
	{"min_insync_replicas", MR_OPTION_COUNT, "0", 0, MR_CONFIG_HOSTS_MAX, NULL,
	 FIELD(min_insync_replicas),
	 "Replicas on which a record must be durable to be committed; 0: 1 where there are up to "
	 "two replicas, 2 where there are more."},
	{"leaders", MR_OPTION_NAME, MR_CONFIG_LEADERS_SPREAD, 1, MR_CONFIG_NODE_BYTES - 1, NULL,
	 FIELD(leaders),
	 "Who first leads the partitions of a topic that is made on first use: the host of this "
	 "name, or with spread one replica after the other."},
	{"producer_ids_max", MR_OPTION_COUNT, "4096", 1, 1048576, NULL, FIELD(producer_ids_max),
	 "Producers that a partition remembers, to refuse their duplicates."},
	{"producer_expiry", MR_OPTION_TIME, "7 d", 60 * SECOND, 3650 * DAY, NULL,
	 FIELD(producer_expiry_ms), "Forget a producer that published nothing for this long."},
	{"topics", MR_OPTION_LIST, "none", 0, MR_CONFIG_TOPICS_MAX, NULL, FIELD(topics),
	 "Topics that differ from the options above."},
};

static const struct mr_option topic[] = {
	{"name", MR_OPTION_NAME, NULL, 1, MR_CONFIG_TOPIC_NAME_BYTES - 1, NULL, TOPIC_FIELD(name),
	 "Which topic; must be given, once."},
	{"partitions", MR_OPTION_COUNT, NULL, 1, PARTITIONS_MOST, NULL, TOPIC_FIELD(partitions),
	 "Its partitions, when it is made."},
	{"retention_bytes", MR_OPTION_BYTES, NULL, 0, RETENTION_BYTES_MOST, NULL,
	 TOPIC_FIELD(retention_bytes), "As above, for this topic."},
	{"retention", MR_OPTION_TIME, NULL, 0, RETENTION_TIME_MOST, NULL, TOPIC_FIELD(retention_ms),
	 "As above, for this topic."},
	{"segment_bytes", MR_OPTION_BYTES, NULL, SEGMENT_LEAST, SEGMENT_MOST, NULL,
	 TOPIC_FIELD(segment_bytes), "As above, for this topic."},
	{"storage", MR_OPTION_WORD, "disk", 0, 0, "disk|memory", TOPIC_FIELD(storage),
	 "Where its records are, when it is made: memory has lanes and a tail and no files. What "
	 "is "
	 "in it is gone when the engine or the host stops, and older records are overwritten when "
	 "the tail is full; producers must ask for acks memory; no retention, no `segment_bytes`."},
	{"compression", MR_OPTION_WORD, NULL, 0, 0, "none|lz4|zstd", TOPIC_FIELD(compression),
	 "As above, for this topic, when it is made."},
	{"tail_bytes", MR_OPTION_POWER, NULL, 1 * MIB, 4 * GIB, NULL, TOPIC_FIELD(tail_bytes),
	 "As above, for each of its partitions, when it is made; with storage memory all that is "
	 "kept."},
	{"replicas", MR_OPTION_COUNT, NULL, 1, MR_CONFIG_HOSTS_MAX, NULL, TOPIC_FIELD(replicas),
	 "Hosts that keep a copy, when it is made."},
	{"min_insync_replicas", MR_OPTION_COUNT, NULL, 0, MR_CONFIG_HOSTS_MAX, NULL,
	 TOPIC_FIELD(min_insync_replicas), "As above, for this topic."},
	{"leaders", MR_OPTION_NAME, NULL, 1, MR_CONFIG_NODE_BYTES - 1, NULL, TOPIC_FIELD(leaders),
	 "Who first leads its partitions, when it is made."},
};

static const struct mr_option peer[] = {
	{"number", MR_OPTION_COUNT, NULL, 0, MR_CONFIG_HOSTS_MAX - 1, NULL, PEER_FIELD(number),
	 "As that host's own `number`; must be given."},
	{"address", MR_OPTION_ADDRESS, "", 0, MR_ADDRESS_BYTES_MAX - 1, NULL, PEER_FIELD(address),
	 "Where it listens, as `10.0.0.2:7420`; must be given if its number is higher than this "
	 "host's."},
	{"bytes_per_second", MR_OPTION_BYTES, "0", 0, 1 * TIB, NULL, PEER_FIELD(bytes_per_second),
	 "Sent to it at most; 0: no bound."},
};

static const struct mr_option tls[] = {
	{"authority", MR_OPTION_PATH, NULL, 1, MR_CONFIG_PATH_BYTES - 1, NULL, TLS_FIELD(authority),
	 "The authority's certificate, PEM; must be given."},
	{"certificate", MR_OPTION_PATH, NULL, 1, MR_CONFIG_PATH_BYTES - 1, NULL,
	 TLS_FIELD(certificate), "This host's certificate, PEM; must be given."},
	{"key", MR_OPTION_PATH, NULL, 1, MR_CONFIG_PATH_BYTES - 1, NULL, TLS_FIELD(key),
	 "The key of that certificate, PEM; must be given."},
};

const struct mr_option_relation mr_config_relations[MR_OPTION_RELATIONS] = {
	{"first_segment_bytes", "segment_bytes", 1, "segments grow to that size"},
	{"lane_bytes", "lane_bytes_max", 1, "no producer may have a larger ring"},
	{"record_bytes_max", "lane_bytes_max", 2, "a record passes through a ring as a whole"},
	{"record_bytes_max", "tail_bytes", 2, "a record lies in the tail as a whole"},
	{"record_bytes_max", "first_segment_bytes", 2, "a record lies in a segment as a whole"},
	{"group_bytes", "tail_bytes", 2, "one group grows while another is written"},
	{"group_bytes", "first_segment_bytes", 2, "a group lies in a segment as a whole"},
};

static_assert(mr_array_count(general) < MR_OPTIONS_MAX, "more options than the schema holds");
static_assert(mr_array_count(topic) < MR_OPTIONS_MAX, "more options than the schema holds");
static_assert(sizeof(MR_CONFIG_LEADERS_SPREAD) <= MR_CONFIG_NODE_BYTES, "a word fits its field");

const struct mr_option_table mr_config_options = {general, mr_array_count(general)};
const struct mr_option_table mr_config_topic_options = {topic, mr_array_count(topic)};
const struct mr_option_table mr_config_peer_options = {peer, mr_array_count(peer)};
const struct mr_option_table mr_config_tls_options = {tls, mr_array_count(tls)};
