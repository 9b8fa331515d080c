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

#define ENTRY_HEAD_BYTES ((uint32_t)sizeof(struct mr_feed_entry_head))

static_assert(MR_FEED_HELLO_BYTES_MAX == sizeof(struct mr_feed_header) +
						 sizeof(struct mr_feed_hello_head) +
						 MR_FEED_NAME_MAX,
	      "a hello's size");
static_assert(MR_FEED_REFUSE_BYTES_MAX == sizeof(struct mr_feed_header) +
						  sizeof(struct mr_feed_refuse_head) +
						  MR_FEED_SENTENCE_MAX,
	      "a refusal's size");

/* ---- checks ---- */

/* Numbers beyond INT64_MAX come in negative. */
static int check_range(const char *field, int64_t found, int64_t least, int64_t most,
		       struct mr_error *err)
{
	if (found >= least && found <= most)
		return 0;
	if (least == most)
		return mr_error_set(err, -EBADMSG,
				    "feed message has %s %" PRId64 ", expected %" PRId64, field,
				    found, least);
	return mr_error_set(err, -EBADMSG,
			    "feed message has %s %" PRId64 ", expected %" PRId64 " to %" PRId64,
			    field, found, least, most);
}

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

/* 'header' is in host order. */
static uint32_t head_crc(const struct mr_feed_header *header, const uint8_t *heads)
{
	struct mr_feed_header wire = *header;
	uint32_t crc;

	wire.head_crc = 0;
	header_to_wire(&wire);
	crc = mr_crc32c(0, &wire, sizeof(wire));
	return mr_crc32c(crc, heads, header->head_bytes);
}

/* Puts the header before its heads, which stand there already. Returns the size of both. */
static uint32_t put_header(struct mr_feed_header *header, uint8_t *bytes)
{
	uint32_t size = MR_FEED_HEADER_BYTES + header->head_bytes;

	header->magic = MR_FEED_MAGIC;
	header->head_crc = head_crc(header, bytes + sizeof(*header));
	header_to_wire(header);
	memcpy(bytes, header, sizeof(*header));
	return size;
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
			     .head_bytes_min = sizeof(struct mr_feed_entry_head),
			     .head_bytes_max = MR_FEED_HEAD_BYTES_MAX,
			     .payload_bytes_max = MR_FEED_PAYLOAD_BYTES_MAX},
	[MR_FEED_NOTICE] = {.payload_bytes_min = 1, .payload_bytes_max = MR_FEED_NOTICE_MAX},
};

static int check_bounds(const struct mr_feed_header *header, struct mr_error *err)
{
	const struct bounds *bounds = &bounds_of[header->kind];
	uint32_t heads_min = header->entry_count * ENTRY_HEAD_BYTES;
	int r;

	if (heads_min < bounds->head_bytes_min)
		heads_min = bounds->head_bytes_min;
	r = check_range("entry_count", header->entry_count, bounds->entries_min,
			bounds->entries_max, err);
	if (r == 0)
		r = check_range("head_bytes", header->head_bytes, heads_min, bounds->head_bytes_max,
				err);
	if (r == 0)
		r = check_range("payload_bytes", header->payload_bytes, bounds->payload_bytes_min,
				bounds->payload_bytes_max, err);
	if (r == 0 && header->payload_bytes == 0)
		r = check_range("payload_crc", header->payload_crc, 0, 0, err);
	return r;
}

int mr_feed_decode_header(const uint8_t *bytes, size_t available, uint8_t agreed,
			  struct mr_feed_header *header, struct mr_error *err)
{
	uint8_t version = MR_FEED_VERSION_HELLO;
	int r;

	if (available < sizeof(*header))
		return mr_error_set(err, -EAGAIN, "%zu bytes are too few for a feed message",
				    available);
	memcpy(header, bytes, sizeof(*header));
	header_to_wire(header); /* its own inverse */
	if (header->magic != MR_FEED_MAGIC)
		return mr_error_set(err, -EBADMSG, "feed message has magic %08x, expected %08x",
				    header->magic, MR_FEED_MAGIC);
	r = check_range("kind", header->kind, MR_FEED_HELLO,
			agreed ? MR_FEED_NOTICE : MR_FEED_REFUSE, err);
	if (r < 0)
		return r;
	if (header->kind == MR_FEED_ENTRIES || header->kind == MR_FEED_NOTICE)
		version = agreed;
	r = check_range("version", header->version, version, version, err);
	return r < 0 ? r : check_bounds(header, err);
}

/* The right kind, the right length, the right checksums. */
static int check_body(const struct mr_feed_header *header, enum mr_feed_message kind,
		      const uint8_t *body, size_t count, struct mr_error *err)
{
	uint32_t crc;
	int r = check_range("kind", header->kind, kind, kind, err);

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
	int r = check_range("version_min", hello->version_min, 1, UINT8_MAX, err);

	if (r == 0)
		r = check_range("version_max", hello->version_max, hello->version_min, UINT8_MAX,
				err);
	return r < 0 ? r : check_range("node", hello->node, 0, MR_NODES_MAX - 1, err);
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
	r = check_range("name_bytes", head.name_bytes, (int64_t)count, (int64_t)count, err);
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
	r = check_range("code", refusal->code, 1, UINT32_MAX, err);
	if (r == 0)
		r = check_range("reserved", le16toh(head.reserved), 0, 0, err);
	if (r < 0)
		return r;
	count -= sizeof(head); /* of which the header's bounds say that it fits a sentence */
	r = check_range("sentence_bytes", le16toh(head.sentence_bytes), (int64_t)count,
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

/* ---- an entry ---- */

/* The fields of a kind, as they are sent. */
union fields {
	struct mr_feed_answer_fields answer; /* the longest first: {0} means all of it */
	struct mr_feed_ask_fields ask;
	struct mr_feed_fetch_fields fetch;
	struct mr_feed_batches_fields batches;
	struct mr_feed_watermark_fields watermark;
	struct mr_feed_open_fields open;
	struct mr_feed_forward_fields forward;
	struct mr_feed_forwarded_fields forwarded;
	struct mr_feed_ask_state_fields ask_state;
	struct mr_feed_state_fields state;
};
static_assert(sizeof(union fields) + sizeof(struct mr_feed_entry_head) == MR_FEED_ENTRY_BYTES_MAX,
	      "the longest head of an entry");

static const uint8_t field_bytes[] = {
	[MR_FEED_ASK] = sizeof(struct mr_feed_ask_fields),
	[MR_FEED_ANSWER] = sizeof(struct mr_feed_answer_fields),
	[MR_FEED_FETCH] = sizeof(struct mr_feed_fetch_fields),
	[MR_FEED_BATCHES] = sizeof(struct mr_feed_batches_fields),
	[MR_FEED_FLUSHED] = sizeof(struct mr_feed_fetch_fields),
	[MR_FEED_WATERMARK] = sizeof(struct mr_feed_watermark_fields),
	[MR_FEED_STALE] = 0,
	[MR_FEED_OPEN] = sizeof(struct mr_feed_open_fields),
	[MR_FEED_FORWARD] = sizeof(struct mr_feed_forward_fields),
	[MR_FEED_FORWARDED] = sizeof(struct mr_feed_forwarded_fields),
	[MR_FEED_ASK_STATE] = sizeof(struct mr_feed_ask_state_fields),
	[MR_FEED_STATE] = sizeof(struct mr_feed_state_fields),
};
static_assert(mr_array_count(field_bytes) == MR_FEED_KIND_COUNT, "a size for each kind");

static enum mr_feed_kind last_kind(uint8_t version)
{
	return version < 2 ? MR_FEED_FORWARDED : MR_FEED_KIND_COUNT - 1;
}

bool mr_feed_speaks(uint8_t version, enum mr_feed_kind kind)
{
	return kind <= last_kind(version);
}

/* How long the piece of a state is that begins at entry->at. */
static uint32_t piece_bytes(const struct mr_feed_entry *entry)
{
	uint32_t left = entry->at < entry->total_bytes ? entry->total_bytes - entry->at : 0;

	return left < MR_FEED_STATE_PIECE_MAX ? left : MR_FEED_STATE_PIECE_MAX;
}

/* What a kind does not use is zero, and zero is within the bounds of everything. */
static int check_entry(const struct mr_feed_item *item, struct mr_error *err)
{
	const struct mr_feed_entry *entry = &item->entry;
	bool batches = mr_feed_has_batches(entry->kind);
	bool no_epoch = entry->kind == MR_FEED_OPEN;
	bool no_session = no_epoch || entry->kind == MR_FEED_STALE;
	bool state = entry->kind == MR_FEED_STATE;
	bool piece = state || entry->kind == MR_FEED_ASK_STATE;
	const struct {
		const char *field;
		int64_t found, least, most;
	} checks[] = {
		{"channel", item->channel, 0, MR_FEED_CHANNELS_MAX - 1},
		{"leader_epoch", entry->leader_epoch, 0, no_epoch ? 0 : INT32_MAX},
		{"session", entry->session, 0, no_session ? 0 : UINT32_MAX},
		{"last_epoch", entry->last_epoch, MR_EPOCH_NONE, INT32_MAX},
		{"offset", (int64_t)entry->offset, 0, INT64_MAX},
		{"high_watermark", (int64_t)entry->high_watermark, 0, INT64_MAX},
		{"log_start", (int64_t)entry->log_start, 0, INT64_MAX},
		{"credit_bytes", (int64_t)entry->credit_bytes, 0, INT64_MAX},
		{"total_bytes", entry->total_bytes, state, state ? MR_FEED_STATE_BYTES_MAX : 0},
		{"at", entry->at, 0,
		 state	 ? (int64_t)entry->total_bytes - 1
		 : piece ? MR_FEED_STATE_BYTES_MAX
			 : 0},
		{"bytes", entry->bytes,
		 batches ? MR_BATCH_HEADER_BYTES
		 : state ? piece_bytes(entry)
			 : 0,
		 batches ? MR_FEED_PAYLOAD_BYTES_MAX
		 : state ? piece_bytes(entry)
			 : 0},
		{"partition", item->partition, 0, MR_PARTITIONS_MAX - 1},
		{"producer_id", entry->producer_id, 0, INT64_MAX},
		{"sequence", entry->sequence, 0, INT32_MAX},
		{"refused", entry->refused, 0, MR_FEED_FORWARD_REFUSAL_COUNT - 1},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < mr_array_count(checks); i++)
		r = check_range(checks[i].field, checks[i].found, checks[i].least, checks[i].most,
				err);
	return r;
}

static union fields fields_of(const struct mr_feed_item *item)
{
	const struct mr_feed_entry *entry = &item->entry;
	union fields fields = {0};

	switch (entry->kind) {
	case MR_FEED_ASK:
		fields.ask.offset = htole64(entry->offset);
		fields.ask.last_epoch = (int32_t)htole32((uint32_t)entry->last_epoch);
		break;
	case MR_FEED_ANSWER:
		fields.answer.offset = htole64(entry->offset);
		fields.answer.log_start = htole64(entry->log_start);
		fields.answer.last_epoch = (int32_t)htole32((uint32_t)entry->last_epoch);
		break;
	case MR_FEED_FETCH:
	case MR_FEED_FLUSHED:
		fields.fetch.offset = htole64(entry->offset);
		fields.fetch.credit_bytes = htole64(entry->credit_bytes);
		break;
	case MR_FEED_BATCHES:
		fields.batches.bytes = htole32(entry->bytes);
		fields.batches.high_watermark[0] = htole32((uint32_t)entry->high_watermark);
		fields.batches.high_watermark[1] = htole32((uint32_t)(entry->high_watermark >> 32));
		break;
	case MR_FEED_WATERMARK:
		fields.watermark.offset = htole64(entry->offset);
		fields.watermark.high_watermark = htole64(entry->high_watermark);
		fields.watermark.log_start = htole64(entry->log_start);
		break;
	case MR_FEED_OPEN:
		memcpy(fields.open.topic_id, item->topic_id, sizeof(fields.open.topic_id));
		fields.open.partition = (int32_t)htole32((uint32_t)item->partition);
		break;
	case MR_FEED_FORWARD:
		fields.forward.bytes = htole32(entry->bytes);
		break;
	case MR_FEED_FORWARDED:
		fields.forwarded.credit_bytes = htole64(entry->credit_bytes);
		fields.forwarded.producer_id = (int64_t)htole64((uint64_t)entry->producer_id);
		fields.forwarded.sequence = (int32_t)htole32((uint32_t)entry->sequence);
		fields.forwarded.refused = htole32(entry->refused);
		break;
	case MR_FEED_ASK_STATE:
		fields.ask_state.offset = htole64(entry->offset);
		fields.ask_state.at = htole32(entry->at);
		break;
	case MR_FEED_STATE:
		fields.state.offset = htole64(entry->offset);
		fields.state.log_start = htole64(entry->log_start);
		fields.state.at = htole32(entry->at);
		fields.state.total_bytes = htole32(entry->total_bytes);
		break;
	case MR_FEED_STALE:
	case MR_FEED_KIND_COUNT:
		break;
	}
	return fields;
}

/* Returns what stands in a reserved field. */
static uint32_t load_fields(const union fields *fields, struct mr_feed_item *item)
{
	struct mr_feed_entry *entry = &item->entry;

	switch (entry->kind) {
	case MR_FEED_ASK:
		entry->offset = le64toh(fields->ask.offset);
		entry->last_epoch = (int32_t)le32toh((uint32_t)fields->ask.last_epoch);
		return le32toh(fields->ask.reserved);
	case MR_FEED_ANSWER:
		entry->offset = le64toh(fields->answer.offset);
		entry->log_start = le64toh(fields->answer.log_start);
		entry->last_epoch = (int32_t)le32toh((uint32_t)fields->answer.last_epoch);
		return le32toh(fields->answer.reserved);
	case MR_FEED_FETCH:
	case MR_FEED_FLUSHED:
		entry->offset = le64toh(fields->fetch.offset);
		entry->credit_bytes = le64toh(fields->fetch.credit_bytes);
		break;
	case MR_FEED_BATCHES:
		entry->bytes = le32toh(fields->batches.bytes);
		entry->high_watermark = (uint64_t)le32toh(fields->batches.high_watermark[1]) << 32 |
					le32toh(fields->batches.high_watermark[0]);
		break;
	case MR_FEED_WATERMARK:
		entry->offset = le64toh(fields->watermark.offset);
		entry->high_watermark = le64toh(fields->watermark.high_watermark);
		entry->log_start = le64toh(fields->watermark.log_start);
		break;
	case MR_FEED_OPEN:
		memcpy(item->topic_id, fields->open.topic_id, sizeof(item->topic_id));
		item->partition = (int32_t)le32toh((uint32_t)fields->open.partition);
		break;
	case MR_FEED_FORWARD:
		entry->bytes = le32toh(fields->forward.bytes);
		break;
	case MR_FEED_FORWARDED:
		entry->credit_bytes = le64toh(fields->forwarded.credit_bytes);
		entry->producer_id = (int64_t)le64toh((uint64_t)fields->forwarded.producer_id);
		entry->sequence = (int32_t)le32toh((uint32_t)fields->forwarded.sequence);
		entry->refused = le32toh(fields->forwarded.refused);
		break;
	case MR_FEED_ASK_STATE:
		entry->offset = le64toh(fields->ask_state.offset);
		entry->at = le32toh(fields->ask_state.at);
		return le32toh(fields->ask_state.reserved);
	case MR_FEED_STATE:
		entry->offset = le64toh(fields->state.offset);
		entry->log_start = le64toh(fields->state.log_start);
		entry->at = le32toh(fields->state.at);
		entry->total_bytes = le32toh(fields->state.total_bytes);
		entry->bytes = piece_bytes(entry);
		break;
	case MR_FEED_STALE:
	case MR_FEED_KIND_COUNT:
		break;
	}
	return 0;
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
	struct mr_feed_entry_head head = {
		.channel = htole32(item->channel),
		.kind = (uint8_t)entry->kind,
		.leader_epoch = (int32_t)htole32((uint32_t)entry->leader_epoch),
		.session = htole32(entry->session),
	};
	union fields fields = fields_of(item);
	uint8_t *at = writer->bytes + MR_FEED_HEADER_BYTES + writer->head_bytes;
	uint32_t bytes;

	mr_assert(entry->kind >= MR_FEED_ASK);
	mr_assert(entry->kind < MR_FEED_KIND_COUNT);
	mr_assert(check_entry(item, NULL) == 0);
	mr_assert(mr_feed_speaks(writer->version, entry->kind));
	bytes = ENTRY_HEAD_BYTES + field_bytes[entry->kind];
	if (bytes > writer->head_bytes_max - writer->head_bytes ||
	    entry->bytes > MR_FEED_PAYLOAD_BYTES_MAX - writer->payload_bytes ||
	    writer->entry_count == MR_FEED_ENTRIES_MAX)
		return -ENOSPC;
	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), &fields, field_bytes[entry->kind]);
	writer->head_bytes += bytes;
	writer->payload_bytes += entry->bytes;
	writer->entry_count++;
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
		 const uint8_t *body, size_t count, struct mr_error *err)
{
	int r = check_body(header, MR_FEED_ENTRIES, body, count, err);

	if (r < 0)
		return r;
	*reader = (struct mr_feed_reader){
		.at = body,
		.payload = body + header->head_bytes,
		.batches = body + header->head_bytes,
		.payload_end = body + count,
		.left = header->entry_count,
		.last_kind = last_kind(header->version),
	};
	return 0;
}

/* One batch, which must begin at 'offset' and be of 'epoch_least' to 'epoch_most'. */
static int check_batch(const struct mr_batch_header *batch, uint64_t offset, int32_t epoch_least,
		       int32_t epoch_most, struct mr_error *err)
{
	int r = check_range("base offset of a batch", (int64_t)batch->base_offset, (int64_t)offset,
			    (int64_t)offset, err);

	if (r == 0)
		r = check_range("record count of a batch", batch->record_count, 1, INT32_MAX, err);
	if (r == 0)
		r = check_range("last offset delta of a batch", batch->last_offset_delta,
				batch->record_count - 1, batch->record_count - 1, err);
	if (r == 0)
		r = check_range("end offset of a batch",
				(int64_t)(offset + (uint64_t)batch->record_count), 1, INT64_MAX,
				err);
	if (r == 0)
		r = check_range("leader epoch of a batch", batch->leader_epoch, epoch_least,
				epoch_most, err);
	return r;
}

/* Batches fill 'entry->bytes' exactly; their offsets become the entry's. */
static int walk_batches(const uint8_t *at, struct mr_feed_entry *entry, struct mr_error *err)
{
	const uint8_t *start = at, *end = at + entry->bytes;
	int32_t epoch_most = entry->kind == MR_FEED_FORWARD ? 0 : entry->leader_epoch;
	struct mr_batch_header batch;
	int32_t epoch = 0;

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
	int r = check_range("bytes of an entry's batches", bytes, 0,
			    reader->payload_end - reader->batches, err);

	if (r == 0 && mr_feed_has_batches(item->entry.kind))
		r = walk_batches(reader->batches, &item->entry, err);
	if (r == 0 && item->entry.kind == MR_FEED_FORWARD)
		r = check_range("base offset of a forwarded batch", (int64_t)item->entry.offset, 0,
				0, err);
	if (r < 0)
		return r;
	item->batches = reader->batches;
	reader->batches += bytes;
	return 0;
}

static int take_head(struct mr_feed_reader *reader, struct mr_feed_item *item, struct mr_error *err)
{
	size_t left = (size_t)(reader->payload - reader->at);
	struct mr_feed_entry_head head;
	union fields fields = {0};
	uint32_t reserved;
	int r;

	if (left < sizeof(head))
		return mr_error_set(err, -EBADMSG,
				    "feed message has %zu bytes for an entry's head, expected %zu",
				    left, sizeof(head));
	memcpy(&head, reader->at, sizeof(head));
	r = check_range("kind of an entry", head.kind, MR_FEED_ASK, reader->last_kind, err);
	if (r < 0)
		return r;
	if (left - sizeof(head) < field_bytes[head.kind])
		return mr_error_set(err, -EBADMSG,
				    "feed message has %zu bytes for an entry's fields, expected %u",
				    left - sizeof(head), field_bytes[head.kind]);
	memcpy(&fields, reader->at + sizeof(head), field_bytes[head.kind]);
	*item = (struct mr_feed_item){
		.channel = le32toh(head.channel),
		.entry = {.kind = head.kind,
			  .leader_epoch = (int32_t)le32toh((uint32_t)head.leader_epoch),
			  .session = le32toh(head.session)},
	};
	reserved =
		load_fields(&fields, item) | head.reserved[0] | head.reserved[1] | head.reserved[2];
	r = check_range("reserved bytes of an entry", reserved, 0, 0, err);
	reader->at += sizeof(head) + field_bytes[head.kind];
	return r < 0 ? r : check_entry(item, err);
}

/* Nothing may be left when all entries were read. */
static int check_end(const struct mr_feed_reader *reader, struct mr_error *err)
{
	int r = check_range("bytes of heads behind its last entry", reader->payload - reader->at, 0,
			    0, err);

	return r < 0 ? r
		     : check_range("bytes of batches behind its last entry",
				   reader->payload_end - reader->batches, 0, 0, err);
}

int mr_feed_next(struct mr_feed_reader *reader, struct mr_feed_item *item, struct mr_error *err)
{
	int r;

	if (reader->left == 0)
		return check_end(reader, err);
	r = take_head(reader, item, err);
	if (r == 0 && item->entry.bytes > 0)
		r = take_batches(reader, item, err);
	if (r < 0)
		return r;
	reader->left--;
	return 1;
}
