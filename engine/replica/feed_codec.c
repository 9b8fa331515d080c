/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See feed_codec.h. Pure functions over memory, on whatever thread; owns nothing. Bytes of a peer
 * are checked and refused, never asserted; what this engine is about to say is asserted by the same
 * checks.
 */
#include "feed_codec.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "crc32c.h"
#include "feed_entry.h"
#include "log/compress.h"

static_assert(MR_FEED_HELLO_BYTES_MAX == sizeof(struct mr_feed_header) +
						 sizeof(struct mr_feed_hello_head) +
						 MR_FEED_NAME_MAX,
	      "a hello's size");
static_assert(MR_FEED_REFUSE_BYTES_MAX == sizeof(struct mr_feed_header) +
						  sizeof(struct mr_feed_refuse_head) +
						  MR_FEED_SENTENCE_MAX,
	      "a refusal's size");

/* ---- checks ---- */

static bool is_printable(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f;
}

bool mr_feed_name_fits(const char *name)
{
	size_t bytes = strnlen(name, MR_FEED_NAME_MAX + 1);

	for (size_t i = 0; i < bytes; i++)
		if (!is_printable((uint8_t)name[i]))
			return false;
	return bytes >= 1 && bytes <= MR_FEED_NAME_MAX;
}

/* 'bytes' of text, known to fit, into 'out', which gets its end. */
static int take_text(const char *field, const uint8_t *text, size_t bytes, char *out,
		     struct mr_error *err)
{
	for (size_t i = 0; i < bytes; i++)
		if (!is_printable(text[i]))
			return mr_error_set(err, -EBADMSG,
					    "feed message has byte %02x at %zu of its %s, expected "
					    "printable ASCII",
					    text[i], i, field);
	memcpy(out, text, bytes);
	out[bytes] = '\0';
	return 0;
}

/* ---- the header ---- */

static void header_to_wire(struct mr_feed_header *header)
{
	header->magic = htole32(header->magic);
	header->entry_count = htole16(header->entry_count);
	header->head_bytes = htole32(header->head_bytes);
	header->payload_bytes = htole32(header->payload_bytes);
	header->head_crc = htole32(header->head_crc);
	header->payload_crc = htole32(header->payload_crc);
}

/* Whether it has the short form: then it has no other. */
static bool is_short(const struct mr_feed_header *header)
{
	return header->kind == MR_FEED_ENTRIES && header->entry_count <= UINT8_MAX &&
	       header->head_bytes <= UINT8_MAX && header->payload_bytes <= UINT16_MAX;
}

uint32_t mr_feed_header_bytes(const struct mr_feed_header *header)
{
	return is_short(header) ? MR_FEED_HEADER_BYTES_MIN : MR_FEED_HEADER_BYTES;
}

/* 'header' is in host order. Returns its size on the wire. */
static uint32_t encode_header(const struct mr_feed_header *header, uint8_t *bytes)
{
	struct mr_feed_header wire = *header;
	struct mr_feed_short_header brief = {
		.magic = htole16(MR_FEED_SHORT_MAGIC),
		.version = header->version,
		.kind = header->kind,
		.entry_count = (uint8_t)header->entry_count,
		.head_bytes = (uint8_t)header->head_bytes,
		.payload_bytes = htole16((uint16_t)header->payload_bytes),
		.head_crc = htole32(header->head_crc),
		.payload_crc = htole32(header->payload_crc),
	};

	if (is_short(header)) {
		memcpy(bytes, &brief, sizeof(brief));
		return sizeof(brief);
	}
	wire.magic = MR_FEED_MAGIC;
	header_to_wire(&wire);
	memcpy(bytes, &wire, sizeof(wire));
	return sizeof(wire);
}

static void expand_header(const struct mr_feed_short_header *brief, struct mr_feed_header *header)
{
	*header = (struct mr_feed_header){
		.magic = MR_FEED_MAGIC,
		.version = brief->version,
		.kind = brief->kind,
		.entry_count = brief->entry_count,
		.head_bytes = brief->head_bytes,
		.payload_bytes = le16toh(brief->payload_bytes),
		.head_crc = le32toh(brief->head_crc),
		.payload_crc = le32toh(brief->payload_crc),
	};
}

/* 'header' is in host order. */
static uint32_t head_crc(const struct mr_feed_header *header, const uint8_t *heads)
{
	struct mr_feed_header zero = *header;
	uint8_t wire[sizeof(zero)];
	uint32_t crc;

	zero.head_crc = 0;
	crc = mr_crc32c(0, wire, encode_header(&zero, wire));
	return mr_crc32c(crc, heads, header->head_bytes);
}

/*
 * Puts the header before its heads, which stand behind the room of a long one: behind a short one
 * they move up. Returns the size of both.
 */
static uint32_t put_header(struct mr_feed_header *header, uint8_t *bytes)
{
	uint32_t size = mr_feed_header_bytes(header);

	header->head_crc = head_crc(header, bytes + sizeof(*header));
	if (size < sizeof(*header))
		memmove(bytes + size, bytes + sizeof(*header), header->head_bytes);
	(void)encode_header(header, bytes); /* as long as it said */
	return size + header->head_bytes;
}

struct bounds {
	uint32_t entries_min, entries_max;
	uint32_t head_bytes_min, head_bytes_max;
	uint32_t payload_bytes_min, payload_bytes_max;
};

static const struct bounds bounds_of[] = {
	[MR_FEED_HELLO] = {.head_bytes_min = sizeof(struct mr_feed_hello_head) + 1,
			   .head_bytes_max = sizeof(struct mr_feed_hello_head) + MR_FEED_NAME_MAX},
	[MR_FEED_REFUSE] = {.head_bytes_min = sizeof(struct mr_feed_refuse_head) + 1,
			    .head_bytes_max =
				    sizeof(struct mr_feed_refuse_head) + MR_FEED_SENTENCE_MAX},
	[MR_FEED_ENTRIES] = {.entries_min = 1,
			     .entries_max = MR_FEED_ENTRIES_MAX,
			     .head_bytes_min = MR_FEED_ENTRY_BYTES_MIN,
			     .head_bytes_max = MR_FEED_HEAD_BYTES_MAX,
			     .payload_bytes_max = MR_FEED_PAYLOAD_BYTES_MAX},
	[MR_FEED_NOTICE] = {.payload_bytes_min = 1, .payload_bytes_max = MR_FEED_NOTICE_MAX},
	[MR_FEED_ALIVE] = {.payload_bytes_max = 0},
};

static int check_bounds(const struct mr_feed_header *header, struct mr_error *err)
{
	const struct bounds *bounds = &bounds_of[header->kind];
	uint32_t heads_min = header->entry_count * MR_FEED_ENTRY_BYTES_MIN;
	int r;

	if (heads_min < bounds->head_bytes_min)
		heads_min = bounds->head_bytes_min;
	r = mr_feed_check_range("entry_count", header->entry_count, bounds->entries_min,
				bounds->entries_max, err);
	if (r == 0)
		r = mr_feed_check_range("head_bytes", header->head_bytes, heads_min,
					bounds->head_bytes_max, err);
	if (r == 0)
		r = mr_feed_check_range("payload_bytes", header->payload_bytes,
					bounds->payload_bytes_min, bounds->payload_bytes_max, err);
	if (r == 0 && header->payload_bytes == 0)
		r = mr_feed_check_range("payload_crc", header->payload_crc, 0, 0, err);
	return r;
}

/* Of either form, its magic looked at. */
static int load_header(const uint8_t *bytes, size_t available, struct mr_feed_header *header,
		       struct mr_error *err)
{
	struct mr_feed_short_header brief;
	uint32_t magic = 0;

	if (available >= sizeof(brief)) {
		memcpy(&brief, bytes, sizeof(brief));
		memcpy(&magic, bytes, sizeof(magic));
		magic = le32toh(magic);
		if (le16toh(brief.magic) == MR_FEED_SHORT_MAGIC) {
			expand_header(&brief, header);
			return mr_feed_check_range("kind of a short header", brief.kind,
						   MR_FEED_ENTRIES, MR_FEED_ENTRIES, err);
		}
		if (magic != MR_FEED_MAGIC)
			return mr_error_set(err, -EBADMSG,
					    "feed message has magic %08x, expected %08x", magic,
					    MR_FEED_MAGIC);
	}
	if (available < sizeof(*header))
		return mr_error_set(err, -EAGAIN, "%zu bytes are too few for a feed message",
				    available);
	memcpy(header, bytes, sizeof(*header));
	header_to_wire(header); /* its own inverse */
	if (is_short(header))
		return mr_error_set(err, -EBADMSG,
				    "feed message of %u entries has the long header, expected the "
				    "short one",
				    header->entry_count);
	return 0;
}

int mr_feed_decode_header(const uint8_t *bytes, size_t available, uint8_t agreed,
			  struct mr_feed_header *header, struct mr_error *err)
{
	uint8_t version = MR_FEED_VERSION_HELLO;
	int r = load_header(bytes, available, header, err);

	if (r < 0)
		return r;
	r = mr_feed_check_range("kind", header->kind, MR_FEED_HELLO,
				agreed ? MR_FEED_ALIVE : MR_FEED_REFUSE, err);
	if (r < 0)
		return r;
	if (header->kind >= MR_FEED_ENTRIES)
		version = agreed;
	r = mr_feed_check_range("version", header->version, version, version, err);
	return r < 0 ? r : check_bounds(header, err);
}

/* The right kind, the right length, the right checksums. */
static int check_body(const struct mr_feed_header *header, enum mr_feed_message kind,
		      const uint8_t *body, size_t count, struct mr_error *err)
{
	uint32_t crc;
	int r = mr_feed_check_range("kind", header->kind, kind, kind, err);

	if (r < 0)
		return r;
	if (count != mr_feed_body_bytes(header))
		return mr_error_set(err, -EBADMSG,
				    "feed message has %zu bytes behind its header, expected %zu",
				    count, mr_feed_body_bytes(header));
	crc = head_crc(header, body);
	if (crc != header->head_crc)
		return mr_error_set(err, -EBADMSG, "feed message has head_crc %08x, computed %08x",
				    header->head_crc, crc);
	crc = mr_crc32c(0, body + header->head_bytes, header->payload_bytes);
	if (crc != header->payload_crc)
		return mr_error_set(err, -EBADMSG,
				    "feed message has payload_crc %08x, computed %08x",
				    header->payload_crc, crc);
	return 0;
}

/* ---- hello and refusal ---- */

static void hello_to_wire(struct mr_feed_hello_head *head)
{
	head->name_bytes = htole16(head->name_bytes);
	head->node = htole32(head->node);
	head->incarnation = htole64(head->incarnation);
	head->capabilities = htole64(head->capabilities);
}

/* What is in a hello besides its name. */
static int check_hello(const struct mr_feed_hello *hello, struct mr_error *err)
{
	int r = mr_feed_check_range("version_min", hello->version_min, 1, UINT8_MAX, err);

	if (r == 0)
		r = mr_feed_check_range("version_max", hello->version_max, hello->version_min,
					UINT8_MAX, err);
	return r < 0 ? r : mr_feed_check_range("node", hello->node, 0, MR_NODES_MAX - 1, err);
}

size_t mr_feed_encode_hello(const struct mr_feed_hello *hello,
			    uint8_t bytes[MR_FEED_HELLO_BYTES_MAX])
{
	size_t name_bytes = strnlen(hello->name, sizeof(hello->name));
	struct mr_feed_hello_head head = {
		.version_min = hello->version_min,
		.version_max = hello->version_max,
		.name_bytes = (uint16_t)name_bytes,
		.node = hello->node,
		.incarnation = hello->incarnation,
		.capabilities = hello->capabilities,
	};
	struct mr_feed_header header = {
		.version = MR_FEED_VERSION_HELLO,
		.kind = MR_FEED_HELLO,
		.head_bytes = (uint32_t)(sizeof(head) + name_bytes),
	};

	mr_assert(mr_feed_name_fits(hello->name));
	mr_assert(check_hello(hello, NULL) == 0);
	memcpy(head.cluster_id, hello->cluster_id, sizeof(head.cluster_id));
	memcpy(head.log_id, hello->log_id, sizeof(head.log_id));
	hello_to_wire(&head);
	memcpy(bytes + sizeof(header), &head, sizeof(head));
	memcpy(bytes + sizeof(header) + sizeof(head), hello->name, name_bytes);
	return put_header(&header, bytes);
}

int mr_feed_decode_hello(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			 struct mr_feed_hello *hello, struct mr_error *err)
{
	struct mr_feed_hello_head head;
	int r = check_body(header, MR_FEED_HELLO, body, count, err);

	if (r < 0)
		return r;
	memcpy(&head, body, sizeof(head));
	hello_to_wire(&head); /* its own inverse */
	*hello = (struct mr_feed_hello){
		.version_min = head.version_min,
		.version_max = head.version_max,
		.node = head.node,
		.incarnation = head.incarnation,
		.capabilities = head.capabilities,
	};
	memcpy(hello->cluster_id, head.cluster_id, sizeof(head.cluster_id));
	memcpy(hello->log_id, head.log_id, sizeof(head.log_id));
	r = check_hello(hello, err);
	if (r < 0)
		return r;
	count -= sizeof(head); /* of which the header's bounds say that it fits a name */
	r = mr_feed_check_range("name_bytes", head.name_bytes, (int64_t)count, (int64_t)count, err);
	return r < 0 ? r : take_text("name", body + sizeof(head), count, hello->name, err);
}

size_t mr_feed_encode_refusal(enum mr_feed_refusal_code code, const char *sentence,
			      uint8_t bytes[MR_FEED_REFUSE_BYTES_MAX])
{
	size_t sentence_bytes = strnlen(sentence, MR_FEED_SENTENCE_MAX);
	struct mr_feed_refuse_head head = {
		.code = htole32((uint32_t)code),
		.sentence_bytes = htole16((uint16_t)sentence_bytes),
	};
	struct mr_feed_header header = {
		.version = MR_FEED_VERSION_HELLO,
		.kind = MR_FEED_REFUSE,
		.head_bytes = (uint32_t)(sizeof(head) + sentence_bytes),
	};
	uint8_t *text = bytes + sizeof(header) + sizeof(head);

	mr_assert(code != 0);
	mr_assert(sentence_bytes > 0);
	memcpy(bytes + sizeof(header), &head, sizeof(head));
	for (size_t i = 0; i < sentence_bytes; i++)
		text[i] = is_printable((uint8_t)sentence[i]) ? (uint8_t)sentence[i] : '?';
	return put_header(&header, bytes);
}

int mr_feed_decode_refusal(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			   struct mr_feed_refusal *refusal, struct mr_error *err)
{
	struct mr_feed_refuse_head head;
	int r = check_body(header, MR_FEED_REFUSE, body, count, err);

	if (r < 0)
		return r;
	memcpy(&head, body, sizeof(head));
	refusal->code = le32toh(head.code);
	r = mr_feed_check_range("code", refusal->code, 1, UINT32_MAX, err);
	if (r == 0)
		r = mr_feed_check_range("reserved", le16toh(head.reserved), 0, 0, err);
	if (r < 0)
		return r;
	count -= sizeof(head); /* of which the header's bounds say that it fits a sentence */
	r = mr_feed_check_range("sentence_bytes", le16toh(head.sentence_bytes), (int64_t)count,
				(int64_t)count, err);
	return r < 0 ? r
		     : take_text("sentence", body + sizeof(head), count, refusal->sentence, err);
}

int mr_feed_agree(const struct mr_feed_hello *mine, const struct mr_feed_hello *theirs,
		  uint8_t *version, uint64_t *capabilities, struct mr_error *err)
{
	uint8_t spoken =
		mine->version_max < theirs->version_max ? mine->version_max : theirs->version_max;

	if (spoken < mine->version_min || spoken < theirs->version_min)
		return mr_error_set(err, -EPROTONOSUPPORT,
				    "'%s' speaks versions %u to %u of the feed, '%s' %u to %u",
				    theirs->name, theirs->version_min, theirs->version_max,
				    mine->name, mine->version_min, mine->version_max);
	*version = spoken;
	*capabilities = mine->capabilities & theirs->capabilities;
	return 0;
}

/* ---- notices ---- */

void mr_feed_encode_notice(uint8_t version, const char *text, size_t count,
			   uint8_t bytes[MR_FEED_HEADER_BYTES])
{
	struct mr_feed_header header = {
		.version = version,
		.kind = MR_FEED_NOTICE,
		.payload_bytes = (uint32_t)count,
	};

	mr_assert(version > 0);
	mr_assert(count >= 1);
	mr_assert(count <= MR_FEED_NOTICE_MAX);
	mr_assert(!memchr(text, '\0', count));
	header.payload_crc = mr_crc32c(0, text, count);
	put_header(&header, bytes);
}

int mr_feed_decode_notice(const struct mr_feed_header *header, const uint8_t *body, size_t count,
			  struct mr_error *err)
{
	const uint8_t *zero;
	int r = check_body(header, MR_FEED_NOTICE, body, count, err);

	if (r < 0)
		return r;
	zero = memchr(body, '\0', count);
	if (zero)
		return mr_error_set(err, -EBADMSG,
				    "feed message has a zero at %td of its notice, expected text",
				    zero - body);
	return 0;
}

/* ---- signs of life ---- */

void mr_feed_encode_alive(uint8_t version, uint8_t bytes[MR_FEED_HEADER_BYTES])
{
	struct mr_feed_header header = {.version = version, .kind = MR_FEED_ALIVE};

	mr_assert(version > 0);
	put_header(&header, bytes);
}

int mr_feed_decode_alive(const struct mr_feed_header *header, struct mr_error *err)
{
	return check_body(header, MR_FEED_ALIVE, (const uint8_t *)"", 0, err);
}

/* ---- writing ---- */

void mr_feed_begin(struct mr_feed_writer *writer, uint8_t version, uint8_t *bytes, size_t capacity)
{
	size_t room = capacity - sizeof(struct mr_feed_header);

	mr_assert(capacity >= sizeof(struct mr_feed_header) + MR_FEED_ENTRY_BYTES_MAX);
	mr_assert(version > 0);
	*writer = (struct mr_feed_writer){
		.bytes = bytes,
		.head_bytes_max =
			room < MR_FEED_HEAD_BYTES_MAX ? (uint32_t)room : MR_FEED_HEAD_BYTES_MAX,
		.version = version,
	};
}

int mr_feed_add(struct mr_feed_writer *writer, const struct mr_feed_item *item)
{
	const struct mr_feed_entry *entry = &item->entry;
	uint8_t head[MR_FEED_ENTRY_BYTES_MAX];
	uint32_t bytes;

	mr_assert(entry->kind >= MR_FEED_ASK);
	mr_assert(entry->kind < MR_FEED_KIND_COUNT);
	mr_assert(mr_feed_entry_check(item, NULL) == 0);
	mr_assert(mr_feed_speaks(writer->version, entry->kind));
	bytes = mr_feed_entry_put(item, head);
	if (bytes > writer->head_bytes_max - writer->head_bytes ||
	    entry->bytes > MR_FEED_PAYLOAD_BYTES_MAX - writer->payload_bytes ||
	    writer->entry_count == MR_FEED_ENTRIES_MAX)
		return -ENOSPC;
	memcpy(writer->bytes + MR_FEED_HEADER_BYTES + writer->head_bytes, head, bytes);
	writer->head_bytes += bytes;
	writer->payload_bytes += entry->bytes;
	writer->entry_count++;
	if (item->term && entry->kind != MR_FEED_OPEN)
		*item->term = (struct mr_feed_term){entry->leader_epoch, entry->session, true};
	return 0;
}

uint32_t mr_feed_end(struct mr_feed_writer *writer, const struct iovec *pieces, size_t piece_count)
{
	struct mr_feed_header header = {
		.version = writer->version,
		.kind = MR_FEED_ENTRIES,
		.entry_count = (uint16_t)writer->entry_count,
		.head_bytes = writer->head_bytes,
		.payload_bytes = writer->payload_bytes,
	};
	size_t bytes = 0;

	mr_assert(writer->entry_count > 0);
	for (size_t i = 0; i < piece_count; i++) {
		header.payload_crc =
			mr_crc32c(header.payload_crc, pieces[i].iov_base, pieces[i].iov_len);
		bytes += pieces[i].iov_len;
	}
	mr_assert(bytes == writer->payload_bytes);
	return put_header(&header, writer->bytes);
}

/* ---- reading ---- */

int mr_feed_read(struct mr_feed_reader *reader, const struct mr_feed_header *header,
		 const uint8_t *body, size_t count, struct mr_feed_terms *terms,
		 struct mr_error *err)
{
	int r = check_body(header, MR_FEED_ENTRIES, body, count, err);

	if (r < 0)
		return r;
	*reader = (struct mr_feed_reader){
		.at = body,
		.payload = body + header->head_bytes,
		.batches = body + header->head_bytes,
		.payload_end = body + count,
		.terms = terms,
		.left = header->entry_count,
		.last_kind = mr_feed_entry_last_kind(header->version),
	};
	return 0;
}

/* One batch, which must begin at 'offset' and be of 'epoch_least' to 'epoch_most'. */
static int check_batch(const struct mr_batch_header *batch, uint64_t offset, int32_t epoch_least,
		       int32_t epoch_most, struct mr_error *err)
{
	int r = mr_feed_check_range("base offset of a batch", (int64_t)batch->base_offset,
				    (int64_t)offset, (int64_t)offset, err);

	if (r == 0)
		r = mr_feed_check_range("record count of a batch", batch->record_count, 1,
					INT32_MAX, err);
	if (r == 0)
		r = mr_feed_check_range("last offset delta of a batch", batch->last_offset_delta,
					batch->record_count - 1, batch->record_count - 1, err);
	if (r == 0)
		r = mr_feed_check_range("end offset of a batch",
					(int64_t)(offset + (uint64_t)batch->record_count), 1,
					INT64_MAX, err);
	if (r == 0)
		r = mr_feed_check_range("leader epoch of a batch", batch->leader_epoch, epoch_least,
					epoch_most, err);
	return r;
}

/* Batches fill the entry's bytes exactly; their offsets become the entry's. */
static int walk_batches(const uint8_t *at, struct mr_feed_item *item, struct mr_error *err)
{
	struct mr_feed_entry *entry = &item->entry;
	const uint8_t *start = at, *end = at + entry->bytes;
	int32_t epoch_most = entry->kind == MR_FEED_FORWARD ? 0 : entry->leader_epoch;
	struct mr_batch_header batch;
	int32_t epoch = 0;

	item->plain_bytes = 0;
	while (at < end) {
		int r = mr_batch_decode_header(at, (size_t)(end - at), &batch);

		if (r == -EAGAIN && batch.total_bytes > 0)
			return mr_error_set(err, -EBADMSG,
					    "feed message has a batch of %u bytes at byte %td of "
					    "its entry's, expected at most %td",
					    batch.total_bytes, at - start, end - at);
		if (r < 0)
			return mr_error_set(err, -EBADMSG,
					    "feed message has %td bytes at byte %td of an entry's "
					    "batches that are none",
					    end - at, at - start);
		if (at == start)
			entry->offset = entry->end_offset = batch.base_offset;
		r = check_batch(&batch, entry->end_offset, epoch, epoch_most, err);
		if (r < 0)
			return r;
		epoch = batch.leader_epoch;
		entry->end_offset += (uint64_t)batch.record_count;
		item->plain_bytes += mr_compress_plain_bytes(at, &batch);
		at += batch.total_bytes;
	}
	return 0;
}

/*
 * Finds the entry's batches, or piece of a state, in the payload. Batches that are forwarded have
 * no place yet.
 */
static int take_batches(struct mr_feed_reader *reader, struct mr_feed_item *item,
			struct mr_error *err)
{
	uint32_t bytes = item->entry.bytes;
	int r = mr_feed_check_range("bytes of an entry's batches", bytes, 0,
				    reader->payload_end - reader->batches, err);

	if (r == 0 && mr_feed_has_batches(item->entry.kind))
		r = walk_batches(reader->batches, item, err);
	if (r == 0 && item->entry.kind == MR_FEED_FORWARD)
		r = mr_feed_check_range("base offset of a forwarded batch",
					(int64_t)item->entry.offset, 0, 0, err);
	if (r < 0)
		return r;
	item->batches = reader->batches;
	reader->batches += bytes;
	return 0;
}

/* Nothing may be left when all entries were read. */
static int check_end(const struct mr_feed_reader *reader, struct mr_error *err)
{
	int r = mr_feed_check_range("bytes of heads behind its last entry",
				    reader->payload - reader->at, 0, 0, err);

	return r < 0 ? r
		     : mr_feed_check_range("bytes of batches behind its last entry",
					   reader->payload_end - reader->batches, 0, 0, err);
}

int mr_feed_next(struct mr_feed_reader *reader, struct mr_feed_item *item, struct mr_error *err)
{
	int r;

	if (reader->left == 0)
		return check_end(reader, err);
	r = mr_feed_entry_take(reader, item, err);
	if (r == 0 && item->entry.bytes > 0)
		r = take_batches(reader, item, err);
	if (r < 0)
		return r;
	reader->left--;
	return 1;
}
