/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmillrace: publish records into, and read records from, the Millrace engine of this host.
 *
 *	connect ──► producer: reserve, publish (or put)       ──► flush, close
 *	        └─► consumer: poll (or poll_in_place, release) ──► commit, close
 *
 * The library needs libc only and works from C and C++ (C11, C++11 and later).
 *
 * Errors. Functions return 0 or a count, else a negative errno; those that take 'err' also fill in
 * sentences for a person. Functions on a record's path return the number only; mr_producer_error()
 * and mr_consumer_error() tell the sentence afterwards. 'err' may be NULL everywhere.
 *
 * Threads. A connection may be used by any thread. A producer or consumer belongs to the thread
 * that opened it; another thread's call gets -EPERM, unless it took the handle over with
 * mr_producer_adopt() or mr_consumer_adopt() while no other call on it was under way. A process
 * with several publishing threads opens a producer in each. The library runs one thread of its own
 * per connection, with all signals blocked: it watches the engine and, when the engine was
 * restarted, connects again and hands lanes back.
 *
 * Fork. Nothing is inherited: in a child every call on a parent's handle gets -EPERM (closing frees
 * nothing there); the child connects anew. exec closes all descriptors.
 *
 * Restart of the engine. A program notices only time: calls go on, or report "full" or time-outs,
 * until the engine is back. Every record published with acks `committed` is then in the log exactly
 * once, in order; a producer with weaker acks may lose acknowledged records and is told how many
 * (struct mr_producer_state).
 *
 * Topics in memory (storage: memory) have no log. All their records are gone when the engine or the
 * host stops, and older ones are overwritten as soon as newer ones need the room. Their producers
 * must ask for MR_ACKS_MEMORY: the other levels, MR_ACKS_COMMITTED by default among them, are
 * refused with -EOPNOTSUPP. Their consumers get -ERANGE for what is gone. Offsets are never given
 * twice: after a restart they go on far above.
 *
 * Units: bytes, milliseconds, records, unless a name says otherwise. Timestamps are milliseconds
 * since
 * 1970-01-01 UTC. Text is UTF-8. Structs of options begin with their own size, so that they can
 * grow.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MR_VERSION "0.1.0"
#define MR_API __attribute__((visibility("default")))

/*
 * An error as a value. Three lines for a person: what failed, why, what to do (the last two may be
 * empty).
 */
struct mr_error {
	int code;	/* negative errno */
	char what[320]; /* the object, what was found, what was expected */
	char why[160];
	char hint[200];
};

struct mr_connection;
struct mr_producer;
struct mr_consumer;

/* The version of the library that is loaded, "0.1.0". Static text. */
MR_API const char *mr_version(void);

/*
 * The Kafka partition of a key (murmur2 as the Java client's default partitioner), so that Millrace
 * and Kafka producers agree. A key of zero bytes is a key. -EINVAL when 'partition_count' is below
 * 1.
 */
MR_API int32_t mr_partition_of_key(const void *key, size_t key_bytes, int32_t partition_count);

/* ---- connection ------------------------------------------------------------------------------ */

struct mr_connect_options {
	size_t size;		 /* sizeof(struct mr_connect_options) */
	const char *socket_path; /* NULL: $MILLRACE_SOCKET, else $XDG_RUNTIME_DIR/millrace.sock if
				    it is
				    there, else ./millrace-data/millrace.sock */
	const char *client_name; /* shown to operators; NULL: the program's name */
	uint32_t timeout_ms;	 /* how long the engine may say nothing, in this and each later
				    conversation; 0: 5,000. One that says that it is at work
				    (on a topic of many partitions) is waited for. */
};

/*
 * Connects to the engine on this host. 'options' may be NULL. On success the caller owns *out.
 * -ECONNREFUSED or -ENOENT: no engine listens there (err says where it looked). -EACCES: refused.
 * -EPROTO: it speaks another version.
 */
MR_API int mr_connect(const struct mr_connect_options *options, struct mr_connection **out,
		      struct mr_error *err);

/* Ends the connection and frees it; producers and consumers must have been closed. Takes NULL. */
MR_API void mr_disconnect(struct mr_connection *connection);

/* ---- producer -------------------------------------------------------------------------------- */

/* When a record counts as acknowledged. Nothing weaker than the name is ever reported. */
enum mr_acks {
	MR_ACKS_COMMITTED = 0, /* durable on every in-sync replica, at least min_insync_replicas of
				  them */
	MR_ACKS_DISK = 1,      /* durable on this host */
	MR_ACKS_MEMORY = 2,    /* in the engine's memory: lost if the engine or the host fails */
};

/* murmur2 of the key; records without a key go round by publish */
#define MR_PARTITION_BY_KEY (-1)
#define MR_WAIT_FOR_EVER UINT32_MAX
#define MR_NULL_BYTES (-1)		 /* a length that says: null, not merely empty */
#define MR_TIMESTAMP_NOW INT64_MIN	 /* the library reads the clock */
#define MR_OFFSET_UNKNOWN UINT64_MAX

struct mr_producer_options {
	size_t size;	       /* sizeof(struct mr_producer_options) */
	const char *topic;     /* 1 to 249 of a-z A-Z 0-9 . _ -, created if the engine's
				  configuration allows */
	int32_t partition;     /* a partition, or MR_PARTITION_BY_KEY */
	enum mr_acks acks;     /* 0: committed */
	uint32_t lane_bytes;   /* ring per partition; 0: 1 MiB. It must hold rate x ack latency:
				  1,000,000
				  records/s of 136 bytes x 0.005 s = 680,000. Rounded up to a power
				  of two */
	uint32_t full_wait_ms; /* how long put and reserve wait in a full lane; 0: return -EAGAIN at
				  once */
};

/* A header of a record: name and value, in order, names may repeat. */
struct mr_header {
	const char *name; /* UTF-8, not terminated */
	int32_t name_bytes;
	const void *value;
	int32_t value_bytes; /* MR_NULL_BYTES: null */
};

/* A record to publish. All memory is borrowed for the call only. */
struct mr_record {
	const void *key;
	const void *value;
	const struct mr_header *headers;
	int32_t key_bytes;   /* MR_NULL_BYTES: no key */
	int32_t value_bytes; /* MR_NULL_BYTES: null, a tombstone where a topic is compacted */
	uint32_t header_count;
	uint32_t reserved;    /* 0 */
	int64_t timestamp_ms; /* MR_TIMESTAMP_NOW, or the event's own time */
};

/*
 * Opens a producer: one lane (a ring in shared memory) into the partition, or one into each of the
 * topic's partitions with MR_PARTITION_BY_KEY. -ENOENT: no such topic and none may be created.
 * -ERANGE: no such partition. -EACCES: not allowed. -ENOBUFS: this user has its share of lanes.
 * -EOPNOTSUPP: the topic is in memory and acks are not MR_ACKS_MEMORY. -EAGAIN: somebody makes the
 * topic just now, which takes a while where it has many partitions.
 */
MR_API int mr_producer_open(struct mr_connection *connection,
			    const struct mr_producer_options *options, struct mr_producer **out,
			    struct mr_error *err);

/*
 * Publishes one record: copies it into the lane and makes it visible to the engine. 0; -EAGAIN when
 * the lane is full (nothing was published; so is it after full_wait_ms); -EMSGSIZE when it can
 * never fit (more than the topic's largest record or the lane); -EPIPE when the engine closed the
 * lane: mr_producer_error() says why; -EINVAL for nonsense.
 */
MR_API int mr_producer_put(struct mr_producer *producer, const struct mr_record *record);

/*
 * Publishes several records at once, which is faster than one by one: returns how many were taken,
 * from the first on, at least 1; or an error as mr_producer_put() when not even the first was.
 */
MR_API int mr_producer_put_many(struct mr_producer *producer, const struct mr_record *records,
				uint32_t count);

/*
 * In place: reserves room for a record in the lane and returns where its value is to be written,
 * 'value_bytes' bytes; the key (borrowed) is copied now. Several may be reserved, then published
 * together. Nothing of it exists for others before mr_producer_publish(). Errors as
 * mr_producer_put(). Without headers.
 */
MR_API int mr_producer_reserve(struct mr_producer *producer, const void *key, int32_t key_bytes,
			       uint32_t value_bytes, int64_t timestamp_ms, void **value);
/* Publishes all that was reserved; returns how many records. */
MR_API int mr_producer_publish(struct mr_producer *producer);
/* Drops all that was reserved and not published; returns how many records. */
MR_API int mr_producer_abandon(struct mr_producer *producer);

/* What became of this producer's records, since it was opened. */
struct mr_producer_state {
	size_t size;	       /* sizeof(struct mr_producer_state), set by the caller */
	uint64_t published;    /* records made visible to the engine */
	uint64_t acknowledged; /* of those: safe as the acks level says */
	uint64_t lost;	       /* acknowledged at a level weaker than committed, then lost with the
				  engine; of a topic in memory all that were, read or not */
	uint64_t full;	       /* times a lane was full */
	uint64_t hand_backs;   /* times lanes were handed to a restarted engine */
	uint64_t lane_bytes_free; /* in the fullest lane */
};
MR_API int mr_producer_state(struct mr_producer *producer, struct mr_producer_state *state);

/* Where a run of acknowledged records lies in the log. */
struct mr_receipt {
	uint64_t first;	      /* the producer's own count in this partition: its first record is
				 0 */
	uint64_t count;
	uint64_t base_offset; /* of the first; the rest follow densely; or MR_OFFSET_UNKNOWN */
	int32_t partition;
	int32_t reserved;
};

/*
 * Takes up to 'max' receipts of records acknowledged since the last call, in order per partition;
 * returns how many. The engine keeps the last 256 per lane: a program that asks too rarely gets
 * MR_OFFSET_UNKNOWN for what was overwritten, never a wrong offset. So it does for records that a
 * restarted engine found in its log already.
 */
MR_API int mr_producer_receipts(struct mr_producer *producer, struct mr_receipt *receipts,
				uint32_t max);

/*
 * Waits until all that was published is acknowledged: 0, -ETIMEDOUT, or -EPIPE as
 * mr_producer_put().
 */
MR_API int mr_producer_flush(struct mr_producer *producer, uint32_t timeout_ms);

/* The sentence behind the last error of this producer. */
MR_API void mr_producer_error(struct mr_producer *producer, struct mr_error *err);
MR_API int mr_producer_adopt(struct mr_producer *producer); /* the calling thread owns it now */

/*
 * Flushes as mr_producer_flush(), then closes the lanes and frees the producer in every case.
 * -ETIMEDOUT: some records were not acknowledged in time; they may or may not come into the log.
 * Takes NULL.
 */
MR_API int mr_producer_close(struct mr_producer *producer, uint32_t timeout_ms);

/* ---- consumer -------------------------------------------------------------------------------- */

enum mr_from {
	MR_FROM_EARLIEST = 0,  /* the oldest record kept when the first one is read */
	MR_FROM_LATEST = 1,    /* the next record to come */
	MR_FROM_OFFSET = 2,    /* options.from_value is an offset (one partition only, or all at the
				  same) */
	MR_FROM_TIME = 3,      /* the first record whose timestamp is at least options.from_value */
	MR_FROM_COMMITTED = 4, /* the group's committed offset; where there is none, the earliest */
};

enum mr_view {
	MR_VIEW_COMMITTED = 0, /* records below the high watermark: they never vanish again */
	MR_VIEW_APPENDED = 1,  /* all that is in the engine's memory: it may vanish if the host
				  fails */
};

struct mr_consumer_options {
	size_t size;		   /* sizeof(struct mr_consumer_options) */
	const char *topic;
	const int32_t *partitions; /* NULL: all of them */
	uint32_t partition_count;
	enum mr_from from;
	int64_t from_value;
	const char *group; /* names durable committed offsets; NULL: none. Groups do not share out
			      partitions */
	enum mr_view view;
	uint32_t reserved;
};

/*
 * A record that was read. The memory belongs to the consumer; see poll and poll_in_place for how
 * long.
 */
struct mr_message {
	uint64_t offset;
	int64_t timestamp_ms;
	const void *key;
	const void *value;
	const void *headers; /* as they are in the log; mr_message_header() reads them */
	int32_t key_bytes;   /* MR_NULL_BYTES: no key */
	int32_t value_bytes; /* MR_NULL_BYTES: null */
	uint32_t header_bytes;
	uint32_t header_count;
	int32_t partition;
	int32_t leader_epoch;
};

/*
 * -ENOENT: no such topic (consumers never create one). -ERANGE: no such partition or offset.
 * -EAGAIN: the topic is being made just now.
 */
MR_API int mr_consumer_open(struct mr_connection *connection,
			    const struct mr_consumer_options *options, struct mr_consumer **out,
			    struct mr_error *err);

/*
 * Waits up to 'timeout_ms' for records and returns how many there are, in *messages: an array of
 * copies, each record's checksum verified, all of one partition, in offset order, good until the
 * next call on this consumer. 0: none came in time. -ERANGE: the next offset is no longer kept
 * (retention; in memory: overwritten, or gone with the engine before); mr_consumer_error() names
 * both offsets and what is gone between; mr_consumer_seek() goes on. -EBADMSG: the log is damaged
 * at that offset. -EPIPE: the topic was deleted.
 * -ENOTSUP: compressed by a codec whose library (liblz4, libzstd; opened at the first such batch)
 * is not here, or by gzip or snappy.
 */
MR_API int mr_consumer_poll(struct mr_consumer *consumer, uint32_t timeout_ms,
			    const struct mr_message **messages);

/*
 * The same without a copy: messages lie in the engine's memory, but those of compressed batches,
 * and can be overwritten while they are read. What was read counts only if mr_consumer_release()
 * then returns 0. -EOVERFLOW from it: the consumer was overtaken; undo, and call poll again: the
 * same records come once more, from the log's files; of a topic in memory, which has none, poll
 * says -ERANGE.
 */
MR_API int mr_consumer_poll_in_place(struct mr_consumer *consumer, uint32_t timeout_ms,
				     const struct mr_message **messages);
MR_API int mr_consumer_release(struct mr_consumer *consumer);

/* Reads header 'index' (0 <= index < header_count) of a message: 0, -ENOENT, or -EBADMSG. */
MR_API int mr_message_header(const struct mr_message *message, uint32_t index,
			     struct mr_header *header);

/*
 * Makes the offsets after the last records handed out the group's committed offsets, durably. Needs
 * a group. -ETIMEDOUT: the outcome is unknown; commit again.
 */
MR_API int mr_consumer_commit(struct mr_consumer *consumer, uint32_t timeout_ms);

/* The next record to hand out is 'offset' of that partition. Checked at the next poll. */
MR_API int mr_consumer_seek(struct mr_consumer *consumer, int32_t partition, uint64_t offset);

/* The next offset to hand out, and how many records of this consumer's view lie ahead of it. */
struct mr_consumer_position {
	size_t size;	 /* sizeof(struct mr_consumer_position), set by the caller */
	uint64_t offset;
	uint64_t lag;
	uint64_t overtaken; /* times this consumer went on from the files */
};
MR_API int mr_consumer_position(struct mr_consumer *consumer, int32_t partition,
				struct mr_consumer_position *position);

MR_API int32_t mr_consumer_partition_count(struct mr_consumer *consumer); /* of the topic */
MR_API void mr_consumer_error(struct mr_consumer *consumer, struct mr_error *err);
MR_API int mr_consumer_adopt(struct mr_consumer *consumer);
MR_API void mr_consumer_close(struct mr_consumer *consumer); /* commits nothing; takes NULL */

#ifdef __cplusplus
}
#endif

#endif
