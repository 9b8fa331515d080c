/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RecordBatch v2 to records and back; see batch.h for the format. Pure: any thread, no state but
 * the caller's writer or reader, no allocation. The writer leaves 61 bytes free and fills the
 * header in last, when all is known. The reader trusts nothing: each byte of a header or a number
 * is loaded once, and what was loaded is checked against the batch's end before it is used.
 */
#include "batch.h"

#include <endian.h>
#include <inttypes.h>

#include "check.h"
#include "crc32c.h"
#include "error.h"

#define BATCH_LENGTH_BYTES_MIN (MR_BATCH_HEADER_BYTES - 12u)
#define BATCH_BYTES_MAX	       INT32_MAX
#define CODEC_MAX	       4

enum {
	AT_BASE_OFFSET = 0,
	AT_LENGTH = 8,
	AT_LEADER_EPOCH = 12,
	AT_MAGIC = 16,
	AT_CRC = 17,
	AT_ATTRIBUTES = 21, /* the checksum covers all from here */
	AT_LAST_OFFSET_DELTA = 23,
	AT_BASE_TIMESTAMP = 27,
	AT_MAX_TIMESTAMP = 35,
	AT_PRODUCER_ID = 43,
	AT_PRODUCER_EPOCH = 51,
	AT_BASE_SEQUENCE = 53,
	AT_RECORD_COUNT = 57,
};

static void put_u16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
}

static void put_u32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void put_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static uint16_t get_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint64_t get_u64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

/* ---- encoding ---- */

void mr_batch_begin(struct mr_batch_writer *writer, uint8_t *bytes, size_t capacity)
{
	mr_assert(capacity >= MR_BATCH_HEADER_BYTES);
	if (capacity > BATCH_BYTES_MAX)
		capacity = BATCH_BYTES_MAX;
	*writer = (struct mr_batch_writer){
		.bytes = bytes,
		.at = bytes + MR_BATCH_HEADER_BYTES,
		.limit = bytes + capacity,
		.length_bytes = 1,
	};
}

size_t mr_batch_end(struct mr_batch_writer *writer, const struct mr_batch_identity *identity)
{
	uint8_t *bytes = writer->bytes;
	size_t total = (size_t)(writer->at - bytes);

	mr_assert(writer->record_count > 0);
	put_u64(bytes + AT_BASE_OFFSET, identity->base_offset);
	put_u32(bytes + AT_LENGTH, (uint32_t)(total - AT_LEADER_EPOCH));
	put_u32(bytes + AT_LEADER_EPOCH, (uint32_t)identity->leader_epoch);
	bytes[AT_MAGIC] = 2;
	put_u16(bytes + AT_ATTRIBUTES, identity->attributes);
	put_u32(bytes + AT_LAST_OFFSET_DELTA, (uint32_t)writer->record_count - 1);
	put_u64(bytes + AT_BASE_TIMESTAMP, (uint64_t)writer->base_timestamp_ms);
	put_u64(bytes + AT_MAX_TIMESTAMP, (uint64_t)writer->max_timestamp_ms);
	put_u64(bytes + AT_PRODUCER_ID, (uint64_t)identity->producer_id);
	put_u16(bytes + AT_PRODUCER_EPOCH, (uint16_t)identity->producer_epoch);
	put_u32(bytes + AT_BASE_SEQUENCE, (uint32_t)identity->base_sequence);
	put_u32(bytes + AT_RECORD_COUNT, (uint32_t)writer->record_count);
	put_u32(bytes + AT_CRC, mr_crc32c(0, bytes + AT_ATTRIBUTES, total - AT_ATTRIBUTES));
	return total;
}

void mr_batch_place(uint8_t *bytes, uint64_t base_offset, int32_t leader_epoch)
{
	put_u64(bytes + AT_BASE_OFFSET, base_offset);
	put_u32(bytes + AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

/* ---- decoding ---- */

static void load_header(const uint8_t *copy, struct mr_batch_header *header)
{
	*header = (struct mr_batch_header){
		.base_offset = get_u64(copy + AT_BASE_OFFSET),
		.total_bytes = get_u32(copy + AT_LENGTH) + AT_LEADER_EPOCH,
		.leader_epoch = (int32_t)get_u32(copy + AT_LEADER_EPOCH),
		.crc = get_u32(copy + AT_CRC),
		.attributes = get_u16(copy + AT_ATTRIBUTES),
		.last_offset_delta = (int32_t)get_u32(copy + AT_LAST_OFFSET_DELTA),
		.base_timestamp_ms = (int64_t)get_u64(copy + AT_BASE_TIMESTAMP),
		.max_timestamp_ms = (int64_t)get_u64(copy + AT_MAX_TIMESTAMP),
		.producer_id = (int64_t)get_u64(copy + AT_PRODUCER_ID),
		.producer_epoch = (int16_t)get_u16(copy + AT_PRODUCER_EPOCH),
		.base_sequence = (int32_t)get_u32(copy + AT_BASE_SEQUENCE),
		.record_count = (int32_t)get_u32(copy + AT_RECORD_COUNT),
	};
}

static bool could_be_batch(const struct mr_batch_header *header)
{
	return header->attributes <= MR_BATCH_ATTRIBUTES_KNOWN &&
	       (header->attributes & MR_BATCH_CODEC_MASK) <= CODEC_MAX &&
	       header->last_offset_delta >= 0 && header->base_offset <= INT64_MAX &&
	       header->base_offset <= (uint64_t)(INT64_MAX - header->last_offset_delta) &&
	       header->record_count >= 0 &&
	       header->record_count <= (int64_t)header->last_offset_delta + 1 &&
	       header->producer_id >= MR_PRODUCER_ID_NONE && header->producer_epoch >= -1 &&
	       header->base_sequence >= MR_SEQUENCE_NONE;
}

int mr_batch_decode_header(const uint8_t *bytes, size_t available, struct mr_batch_header *header)
{
	uint8_t copy[MR_BATCH_HEADER_BYTES];
	uint32_t length;

	*header = (struct mr_batch_header){0};
	if (available < sizeof(copy))
		return -EAGAIN;
	memcpy(copy, bytes, sizeof(copy));
	__asm__("" : "+m"(copy)); /* what follows is read from the copy, never from 'bytes' again */
	length = get_u32(copy + AT_LENGTH);
	if (copy[AT_MAGIC] != 2 || length < BATCH_LENGTH_BYTES_MIN || length > INT32_MAX)
		return -EBADMSG;
	load_header(copy, header);
	if (!could_be_batch(header))
		return -EBADMSG;
	return header->total_bytes <= available ? 0 : -EAGAIN;
}

static uint32_t crc_of(const uint8_t *bytes, const struct mr_batch_header *header)
{
	return mr_crc32c(0, bytes + AT_ATTRIBUTES, header->total_bytes - AT_ATTRIBUTES);
}

int mr_batch_check_crc(const uint8_t *bytes, const struct mr_batch_header *header)
{
	return crc_of(bytes, header) == header->crc ? 0 : -EBADMSG;
}

const char *mr_batch_codec_name(const struct mr_batch_header *header)
{
	static const char *const names[MR_BATCH_CODEC_MASK + 1] = {
		"none",
		"gzip",
		"snappy",
		[MR_BATCH_CODEC_LZ4] = "lz4",
		[MR_BATCH_CODEC_ZSTD] = "zstd",
	};
	const char *name = names[header->attributes & MR_BATCH_CODEC_MASK];

	return name ? name : "unknown";
}

void mr_batch_read_records(struct mr_batch_reader *reader, const struct mr_batch_header *header,
			   const uint8_t *records, size_t bytes)
{
	*reader = (struct mr_batch_reader){
		.at = records,
		.end = records + bytes,
		.base_offset = header->base_offset,
		.base_timestamp_ms = header->base_timestamp_ms,
		.append_timestamp_ms = header->max_timestamp_ms,
		.append_time = header->attributes & MR_BATCH_APPEND_TIME,
		.leader_epoch = header->leader_epoch,
		.last_offset_delta = header->last_offset_delta,
		.left = header->record_count,
	};
}

int mr_batch_read(struct mr_batch_reader *reader, const uint8_t *bytes,
		  const struct mr_batch_header *header)
{
	if (header->attributes & MR_BATCH_CODEC_MASK)
		return -ENOTSUP;
	mr_batch_read_records(reader, header, bytes + MR_BATCH_HEADER_BYTES,
			      header->total_bytes - MR_BATCH_HEADER_BYTES);
	return 0;
}

/* The numbers of a record before its key. Returns the byte after them, or NULL. */
static const uint8_t *read_deltas(const struct mr_batch_reader *reader, const uint8_t *at,
				  const uint8_t *end, int64_t *timestamp_delta,
				  int32_t *offset_delta)
{
	if (at == end)
		return NULL;
	at = mr_varlong_get(at + 1, end, timestamp_delta); /* attributes of a record mean nothing */
	if (!at)
		return NULL;
	at = mr_varint_get(at, end, offset_delta);
	if (!at || *offset_delta < reader->next || *offset_delta > reader->last_offset_delta)
		return NULL;
	return at;
}

/* Key, value and the bounds of the headers, which end where the record ends. */
static int read_payload(const uint8_t *at, const uint8_t *end, struct mr_message *message)
{
	int32_t count;

	at = mr_varint_get_field(at, end, &message->key, &message->key_bytes);
	if (!at)
		return -EBADMSG;
	at = mr_varint_get_field(at, end, &message->value, &message->value_bytes);
	if (!at)
		return -EBADMSG;
	at = mr_varint_get(at, end, &count);
	if (!at || count < 0)
		return -EBADMSG;
	message->headers = at;
	message->header_bytes = (uint32_t)(end - at);
	message->header_count = (uint32_t)count;
	if (count == 0)
		return at == end ? 0 : -EBADMSG;
	return (end - at) / 2 >= count ? 0 : -EBADMSG; /* a header takes two bytes at least */
}

int mr_batch_next_any(struct mr_batch_reader *reader, struct mr_message *message)
{
	const uint8_t *at;
	const uint8_t *end;
	int64_t timestamp_delta;
	int32_t offset_delta;
	int32_t length;

	if (reader->left == 0)
		return reader->at == reader->end ? 0 : -EBADMSG;
	at = mr_varint_get(reader->at, reader->end, &length);
	if (!at || length < 0 || length > reader->end - at)
		return -EBADMSG;
	end = at + length;
	at = read_deltas(reader, at, end, &timestamp_delta, &offset_delta);
	if (!at || read_payload(at, end, message) < 0)
		return -EBADMSG;
	message->offset = reader->base_offset + (uint64_t)offset_delta;
	message->timestamp_ms = reader->append_time
					? reader->append_timestamp_ms
					: (int64_t)((uint64_t)reader->base_timestamp_ms +
						    (uint64_t)timestamp_delta);
	message->leader_epoch = reader->leader_epoch;
	reader->at = end;
	reader->next = (int64_t)offset_delta + 1;
	reader->left--;
	return 1;
}

/* ---- a batch from outside ---- */

static int check_header(const struct mr_batch_header *header, bool control_allowed,
			struct mr_error *err)
{
	bool control = header->attributes & MR_BATCH_CONTROL;

	if (control && !control_allowed)
		return mr_error_set(err, -EBADMSG, "batch is a control batch");
	if (header->record_count == 0)
		return mr_error_set(err, -EBADMSG, "batch has no records");
	if (header->last_offset_delta != header->record_count - 1)
		return mr_error_set(err, -EBADMSG,
				    "batch of %" PRId32 " records has last offset delta %" PRId32,
				    header->record_count, header->last_offset_delta);
	if (header->producer_id < 0 || control)
		return 0;
	if (header->producer_epoch < 0 || header->base_sequence < 0)
		return mr_error_set(err, -EBADMSG,
				    "batch of producer %" PRId64 " has epoch %d, sequence %" PRId32,
				    header->producer_id, header->producer_epoch,
				    header->base_sequence);
	return 0;
}

static int check_records(const uint8_t *bytes, const struct mr_batch_header *header,
			 struct mr_error *err)
{
	struct mr_batch_reader reader;
	struct mr_message message;
	int32_t seen = 0;
	int r;

	if (mr_batch_read(&reader, bytes, header) == -ENOTSUP)
		return 0;
	while ((r = mr_batch_next(&reader, &message)) > 0) {
		if (mr_headers_check(message.headers, message.header_bytes, message.header_count))
			return mr_error_set(err, -EBADMSG,
					    "record %" PRId32 " of the batch has bad headers",
					    seen);
		seen++;
	}
	if (r < 0)
		return mr_error_set(err, r, "batch is malformed at byte %td, record %" PRId32,
				    reader.at - bytes, seen);
	return 0;
}

int mr_batch_check(const uint8_t *bytes, size_t count, bool control_allowed,
		   struct mr_batch_header *header, struct mr_error *err)
{
	uint32_t crc;
	int r;

	r = mr_batch_decode_header(bytes, count, header);
	if (r == -EBADMSG)
		return mr_error_set(err, r, "these %zu bytes do not begin with a record batch",
				    count);
	if (header->total_bytes == 0)
		return mr_error_set(err, -EBADMSG, "%zu bytes are less than a batch's header",
				    count);
	if (header->total_bytes != count)
		return mr_error_set(err, -EBADMSG,
				    "%zu bytes are not one batch exactly: it has %" PRIu32, count,
				    header->total_bytes);
	crc = crc_of(bytes, header);
	if (crc != header->crc)
		return mr_error_set(err, -EBADMSG,
				    "batch has crc %08" PRIx32 ", computed %08" PRIx32, header->crc,
				    crc);
	r = check_header(header, control_allowed, err);
	return r < 0 ? r : check_records(bytes, header, err);
}
