/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka's RecordBatch v2 (magic 2; kafka.apache.org/documentation/#recordbatch), the one format of
 * records in memory, on disk, on the feed and on the wire. Encoding is the one copy a record gets:
 * out of a lane straight into the tail. Pure: no I/O, no clock, no allocation.
 *
 * Offsets of the 61 header bytes (big-endian):
 *
 *	0  base offset i64	21 attributes i16		43 producer id i64
 *	8  batch length i32	23 last offset delta i32	51 producer epoch i16
 *	12 leader epoch i32	27 base timestamp i64		53 base sequence i32
 *	16 magic i8		35 max timestamp i64		57 record count i32
 *	17 crc u32						61 records
 */
#ifndef MR_BATCH_H
#define MR_BATCH_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "millrace.h"
#include "varint.h"

#define MR_BATCH_HEADER_BYTES 61u
/* Base offset to crc: what the batch's own crc does not cover. */
#define MR_BATCH_PREFIX_BYTES 21u
/* Of a record: length, attributes, deltas and three lengths, at their shortest and longest. */
#define MR_BATCH_RECORD_BYTES_MIN	   7u
#define MR_BATCH_RECORD_BYTES_OVERHEAD_MAX 36u
#define MR_SEQUENCE_NONE		   (-1)
#define MR_PRODUCER_ID_NONE		   (-1)

/* The header of a batch in host order, copied out and checked by mr_batch_decode_header(). */
struct mr_batch_header {
	uint64_t base_offset;
	uint32_t total_bytes; /* 12 + batch length */
	int32_t leader_epoch;
	uint32_t crc;
	uint16_t attributes;
	int32_t last_offset_delta;
	int64_t base_timestamp_ms;
	int64_t max_timestamp_ms;
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t record_count;
};

enum mr_batch_attribute {
	MR_BATCH_CODEC_MASK = 0x07, /* 0 none, 1 gzip, 2 snappy, and: */
	MR_BATCH_CODEC_LZ4 = 3,
	MR_BATCH_CODEC_ZSTD = 4,
	MR_BATCH_APPEND_TIME = 0x08,
	MR_BATCH_TRANSACTIONAL = 0x10,
	MR_BATCH_CONTROL = 0x20,
	MR_BATCH_DELETE_HORIZON = 0x40, /* compacted topics only */
	MR_BATCH_ATTRIBUTES_KNOWN = 0x7f,
};

/* ---- encoding: begin, add..., end ---- */

/* A batch being written into 'bytes'; owned by the writing thread, no bigger than 'limit'. */
struct mr_batch_writer {
	uint8_t *bytes; /* start of the batch, borrowed */
	uint8_t *at;	/* where the next record goes */
	uint8_t *limit; /* first byte that may not be written */
	int64_t base_timestamp_ms;
	int64_t max_timestamp_ms;
	int32_t record_count;
	size_t length_bytes; /* that the last record's length took: a guess for the next */
};

/* Begins a batch in 'capacity' bytes at 'bytes' (at least 61; at most 2 GiB - 1 are used). */
void mr_batch_begin(struct mr_batch_writer *writer, uint8_t *bytes, size_t capacity);

/* A key, a value or the headers: 'bytes' of them are copied, if there are any. */
static inline uint8_t *mr_batch_put_bytes(uint8_t *at, const void *source, size_t bytes)
{
	if (bytes > 0)
		memcpy(at, source, bytes);
	return at + bytes;
}

/*
 * Appends a record; lengths as in struct mr_record (-1: null). 'headers' are 'header_bytes' of
 * encoded headers (varint name length, name, varint value length, value, ...), 'header_count' of
 * them, not looked into. 0, or -ENOSPC when it does not fit, or -EINVAL for a length below -1 or a
 * count beyond 2^31 - 1 (then nothing was written). Sources are read exactly once, so they may lie
 * in memory that somebody else is changing; the lengths may not (pass copies). Inline, since it is
 * the engine's hottest code: all varints but few take one byte.
 */
static inline int mr_batch_add(struct mr_batch_writer *writer, int64_t timestamp_ms,
			       const void *key, int32_t key_bytes, const void *value,
			       int32_t value_bytes, const void *headers, uint32_t header_bytes,
			       uint32_t header_count)
{
	int64_t base_ms = writer->record_count > 0 ? writer->base_timestamp_ms : timestamp_ms;
	uint64_t time = mr_varint_zigzag((int64_t)((uint64_t)timestamp_ms - (uint64_t)base_ms));
	uint64_t offset = mr_varint_zigzag(writer->record_count);
	uint64_t key_length = mr_varint_zigzag(key_bytes);
	uint64_t value_length = mr_varint_zigzag(value_bytes);
	uint64_t headers_length = mr_varint_zigzag(header_count);
	size_t key_copied = key_bytes > 0 ? (size_t)key_bytes : 0;
	size_t value_copied = value_bytes > 0 ? (size_t)value_bytes : 0;
	size_t body = 1 + mr_varint_bytes(time) + mr_varint_bytes(offset) +
		      mr_varint_bytes(key_length) + key_copied + mr_varint_bytes(value_length) +
		      value_copied + mr_varint_bytes(headers_length) + header_bytes;
	uint64_t length = mr_varint_zigzag((int64_t)body);
	uint8_t *at = writer->at;

	if (__builtin_expect(key_bytes < -1 || value_bytes < -1 || header_count > INT32_MAX, 0))
		return -EINVAL;
	if (__builtin_expect(mr_varint_bytes(length) + body > (size_t)(writer->limit - at), 0))
		return -ENOSPC;
	at = mr_varint_put(at, length);
	*at++ = 0;
	at = mr_varint_put(at, time);
	at = mr_varint_put(at, offset);
	at = mr_varint_put(at, key_length);
	at = mr_batch_put_bytes(at, key, key_copied);
	at = mr_varint_put(at, value_length);
	at = mr_batch_put_bytes(at, value, value_copied);
	at = mr_varint_put(at, headers_length);
	writer->at = mr_batch_put_bytes(at, headers, header_bytes);
	writer->base_timestamp_ms = base_ms;
	if (writer->record_count == 0 || timestamp_ms > writer->max_timestamp_ms)
		writer->max_timestamp_ms = timestamp_ms;
	writer->record_count++;
	return 0;
}

/* Blocks in which mr_batch_put_blocks() copies, and what it may write behind the bytes. */
#define MR_BATCH_BLOCK_BYTES 32u
/* From here on the C library copies faster. */
#define MR_BATCH_BLOCKS_MAX 1024u

/* What must be free besides the payload for mr_batch_add_plain(). */
#define MR_BATCH_PLAIN_ROOM (MR_BATCH_RECORD_BYTES_OVERHEAD_MAX + MR_BATCH_BLOCK_BYTES)

/*
 * As mr_batch_put_bytes(), in whole blocks, one at least: up to MR_BATCH_BLOCK_BYTES bytes behind
 * the source are read, and as many behind the target are written over.
 */
static inline uint8_t *mr_batch_put_blocks(uint8_t *at, const uint8_t *source, size_t bytes)
{
	size_t done = MR_BATCH_BLOCK_BYTES;

	memcpy(at, source, MR_BATCH_BLOCK_BYTES);
	if (bytes <= MR_BATCH_BLOCK_BYTES)
		return at + bytes;
	if (__builtin_expect(bytes > MR_BATCH_BLOCKS_MAX, 0)) {
		memcpy(at + done, source + done, bytes - done);
		return at + bytes;
	}
	do {
		memcpy(at + done, source + done, MR_BATCH_BLOCK_BYTES);
		done += MR_BATCH_BLOCK_BYTES;
	} while (done < bytes);
	return at + bytes;
}

/*
 * mr_batch_add() for a record without headers whose key and value lie in 'payload', one behind the
 * other, with MR_BATCH_BLOCK_BYTES readable behind them. A null one has 0 bytes and its mark is 1.
 * False: there may be no room for it, or not enough to copy in blocks; nothing counts as written.
 *
 * How many bytes the record's length takes is known only when the numbers behind it are written:
 * it is taken to be as many as for the record before, and if not, they are written again.
 */
static inline bool mr_batch_add_plain(struct mr_batch_writer *writer, int64_t timestamp_ms,
				      const uint8_t *payload, uint64_t key_bytes, uint64_t null_key,
				      uint64_t value_bytes, uint64_t null_value)
{
	uint64_t value_length = value_bytes * 2 + null_value; /* zigzag: -1 is 1 */
	uint64_t time, body;
	uint8_t *at;

	if (__builtin_expect(key_bytes + value_bytes + MR_BATCH_PLAIN_ROOM >
				     (size_t)(writer->limit - writer->at),
			     0))
		return false;
	if (__builtin_expect(writer->record_count == 0, 0))
		writer->base_timestamp_ms = writer->max_timestamp_ms = timestamp_ms;
	time = mr_varint_zigzag(
		(int64_t)((uint64_t)timestamp_ms - (uint64_t)writer->base_timestamp_ms));
	for (;;) {
		at = writer->at + writer->length_bytes;
		*at++ = 0;
		at = mr_varint_put(at, time);
		at = mr_varint_put(at, (uint64_t)writer->record_count * 2);
		at = mr_varint_put(at, key_bytes * 2 + null_key);
		body = (size_t)(at - writer->at) - writer->length_bytes + key_bytes +
		       mr_varint_bytes(value_length) + value_bytes + 1;
		if (__builtin_expect(mr_varint_bytes(body * 2) == writer->length_bytes, 1))
			break;
		writer->length_bytes = mr_varint_bytes(body * 2);
	}
	(void)mr_varint_put(writer->at, body * 2);
	if (key_bytes > 0)
		at = mr_batch_put_blocks(at, payload, key_bytes);
	at = mr_varint_put(at, value_length);
	at = mr_batch_put_blocks(at, payload + key_bytes, value_bytes);
	*at++ = 0;
	writer->at = at;
	if (timestamp_ms > writer->max_timestamp_ms)
		writer->max_timestamp_ms = timestamp_ms;
	writer->record_count++;
	return true;
}

/* How many bytes mr_batch_add() may need at most for such a record. */
static inline size_t mr_batch_record_bytes_max(size_t payload_bytes)
{
	return payload_bytes + MR_BATCH_RECORD_BYTES_OVERHEAD_MAX;
}

/* Who wrote it and where it stands: what mr_batch_end() adds to the writer's own. */
struct mr_batch_identity {
	uint64_t base_offset;
	int32_t leader_epoch;
	uint16_t attributes;
	int64_t producer_id;	/* -1: none */
	int16_t producer_epoch; /* -1: none */
	int32_t base_sequence;	/* -1: none */
};

/* Fills in header and checksum; returns the batch's whole size in bytes. At least one record. */
size_t mr_batch_end(struct mr_batch_writer *writer, const struct mr_batch_identity *identity);

/* Rewrites base offset and leader epoch of a finished batch; the checksum does not cover them. */
void mr_batch_place(uint8_t *bytes, uint64_t base_offset, int32_t leader_epoch);

/* ---- headers of a record, encoded ---- */

size_t mr_headers_bytes(const struct mr_header *headers, uint32_t count);
size_t mr_headers_encode(const struct mr_header *headers, uint32_t count, void *out);
/* 0 if the 'bytes' are exactly 'count' well-formed headers, else -EBADMSG. */
int mr_headers_check(const void *headers, size_t bytes, uint32_t count);

/* ---- decoding: everything is bounds-checked; bad bytes give -EBADMSG, never a crash ---- */

/*
 * Reads the header of the batch at 'bytes', of which 'available' may be read. 0; -EAGAIN when fewer
 * than 61 bytes, or fewer than the batch's whole size, are available (header->total_bytes is set in
 * the second case and 0 in the first); -EBADMSG when it cannot be a batch. Compaction may have
 * taken records out of it, even all.
 */
int mr_batch_decode_header(const uint8_t *bytes, size_t available, struct mr_batch_header *header);

/* 0 if the checksum over the whole batch is right, else -EBADMSG. 'header' is its own, decoded. */
int mr_batch_check_crc(const uint8_t *bytes, const struct mr_batch_header *header);

/* Walks the records of a batch, in order. */
struct mr_batch_reader {
	const uint8_t *at;
	const uint8_t *end;
	uint64_t base_offset;
	int64_t base_timestamp_ms;
	int64_t append_timestamp_ms; /* all records' time if the batch carries append time */
	bool append_time;
	int32_t leader_epoch;
	int64_t next; /* offset delta the next record must have at least */
	int32_t last_offset_delta;
	int32_t left; /* records not read yet */
};

/* "none", "gzip", "snappy", "lz4", "zstd"; "unknown". */
const char *mr_batch_codec_name(const struct mr_batch_header *header);

/* -ENOTSUP for a compressed batch. 'bytes' must stay until the reading is over. */
int mr_batch_read(struct mr_batch_reader *reader, const uint8_t *bytes,
		  const struct mr_batch_header *header);
/* Of one whose records lie elsewhere: expanded (expand.h). */
void mr_batch_read_records(struct mr_batch_reader *reader, const struct mr_batch_header *header,
			   const uint8_t *records, size_t bytes);
/* The next record, whatever it is: what mr_batch_next() falls back to. */
int mr_batch_next_any(struct mr_batch_reader *reader, struct mr_message *message);

/* A number of one byte or two at *at, which moves past it; UINT32_MAX: it takes more. */
static inline uint32_t mr_batch_short_number(const uint8_t **at)
{
	uint32_t first = mr_varint_load(*at), second;

	if (__builtin_expect(first < 0x80, 1)) {
		*at += 1;
		return first;
	}
	second = mr_varint_load(*at + 1);
	if (__builtin_expect(second >= 0x80, 0))
		return UINT32_MAX;
	*at += 2;
	return (first & 0x7f) | second << 7;
}

/* A record has these many bytes at least before its key, and behind its value, to be plain. */
#define MR_BATCH_PLAIN_BEFORE 7u /* attributes, three numbers of two bytes */
#define MR_BATCH_PLAIN_BEHIND 3u /* the value's length of two bytes, the count of no headers */

/*
 * Records as nearly all are: no headers, no number of more than two bytes but for lengths and
 * bounds that are checked once for several of them. True: *message is filled in and the reader
 * past it. False says nothing and moves nothing: ask mr_batch_next_any(). Each byte of a number is
 * loaded once here; that it may be loaded again there does no harm, since nothing is kept.
 */
static inline bool mr_batch_next_plain(struct mr_batch_reader *reader, struct mr_message *message)
{
	const uint8_t *at = reader->at, *end;
	uint32_t length, time, offset, key, value;

	if (__builtin_expect(reader->left == 0 || reader->append_time || reader->end - at < 2, 0))
		return false;
	length = mr_batch_short_number(&at);
	if (__builtin_expect(length & 1, 0)) /* negative, or longer */
		return false;
	length /= 2;
	if (__builtin_expect(length > (size_t)(reader->end - at) ||
				     length < MR_BATCH_PLAIN_BEFORE + MR_BATCH_PLAIN_BEHIND,
			     0))
		return false;
	end = at + length;
	at++; /* attributes of a record mean nothing */
	time = mr_batch_short_number(&at);
	offset = mr_batch_short_number(&at);
	key = mr_batch_short_number(&at);
	if (__builtin_expect(time == UINT32_MAX || (offset & 1) || key == UINT32_MAX, 0))
		return false;
	offset /= 2;
	if (__builtin_expect((int32_t)offset < reader->next ||
				     (int32_t)offset > reader->last_offset_delta,
			     0))
		return false;
	message->key = key == 1 ? NULL : at;
	message->key_bytes = key == 1 ? -1 : (int32_t)(key / 2);
	if (__builtin_expect((key & 1) && key != 1, 0) ||
	    __builtin_expect(key / 2 + MR_BATCH_PLAIN_BEHIND > (size_t)(end - at), 0))
		return false;
	at += key / 2;
	value = mr_batch_short_number(&at);
	/* exactly one byte is behind the value: no headers */
	if (__builtin_expect(value == UINT32_MAX || ((value & 1) && value != 1), 0) ||
	    __builtin_expect(value / 2 + 1 != (size_t)(end - at), 0) ||
	    __builtin_expect(mr_varint_load(end - 1) != 0, 0))
		return false;
	message->value = value == 1 ? NULL : at;
	message->value_bytes = value == 1 ? -1 : (int32_t)(value / 2);
	message->headers = end;
	message->header_bytes = 0;
	message->header_count = 0;
	message->offset = reader->base_offset + offset;
	message->timestamp_ms = (int64_t)((uint64_t)reader->base_timestamp_ms +
					  (time >> 1 ^ (0 - (uint64_t)(time & 1))));
	message->leader_epoch = reader->leader_epoch;
	reader->at = end;
	reader->next = (int64_t)offset + 1;
	reader->left--;
	return true;
}

/*
 * 1 and the next record in *message (pointers into the batch; partition is left alone), 0 after the
 * last, -EBADMSG. Safe on memory that changes meanwhile: never reads outside the batch. Offsets
 * rise strictly but may have gaps (compaction). Headers are only bounded here: mr_message_header()
 * checks what it reads. Inline, since it is the consumer's hottest code.
 */
static inline int mr_batch_next(struct mr_batch_reader *reader, struct mr_message *message)
{
	return mr_batch_next_plain(reader, message) ? 1 : mr_batch_next_any(reader, message);
}

/*
 * All that may be asked of a whole batch from outside: header, one batch exactly, crc, control bit
 * clear unless 'control_allowed', sequence numbers where there is a producer id, offsets dense from
 * 0; records and headers walked if not compressed. 0 or -EBADMSG with a sentence. What no checksum
 * covers is the base offset and the leader epoch: whoever appends the batch sets both. 'bytes' must
 * be memory that nobody changes.
 */
int mr_batch_check(const uint8_t *bytes, size_t count, bool control_allowed,
		   struct mr_batch_header *header, struct mr_error *err);

#endif
