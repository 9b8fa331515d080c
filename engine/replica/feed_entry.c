/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See feed_entry.h; format.h says what a head is made of. Pure functions over memory, on whatever
 * thread; owns nothing but the term that a channel has, which is the caller's.
 */
#include "feed_entry.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "batch.h"
#include "check.h"

#define NUMBER_BYTES_MAX 10u
#define NUMBER_BITS	 7u
#define NUMBER_MORE	 0x80u

/* Numbers beyond INT64_MAX come in negative. */
int mr_feed_check_range(const char *field, int64_t found, int64_t least, int64_t most,
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

/* ---- what a kind holds ---- */

/* What a head may hold behind its term: numbers, as they are sent. */
enum field {
	FIELD_NONE,
	FIELD_OFFSET,
	FIELD_LAST_EPOCH, /* and 1 */
	FIELD_LOG_START,
	FIELD_CREDIT,
	FIELD_BYTES,
	FIELD_WATERMARK,
	FIELD_BEHIND, /* the high watermark, by how much it is below the offset */
	FIELD_PARTITION,
	FIELD_PRODUCER,
	FIELD_SEQUENCE,
	FIELD_REFUSED,
	FIELD_AT,
	FIELD_TOTAL,
	FIELD_COUNT,
};

#define FIELDS_MAX 4 /* of a kind */

static const uint8_t fields_of[][FIELDS_MAX] = {
	[MR_FEED_ASK] = {FIELD_OFFSET, FIELD_LAST_EPOCH},
	[MR_FEED_ANSWER] = {FIELD_OFFSET, FIELD_LOG_START, FIELD_LAST_EPOCH},
	[MR_FEED_FETCH] = {FIELD_OFFSET, FIELD_CREDIT},
	[MR_FEED_BATCHES] = {FIELD_BYTES, FIELD_WATERMARK},
	[MR_FEED_FLUSHED] = {FIELD_OFFSET, FIELD_CREDIT},
	[MR_FEED_WATERMARK] = {FIELD_OFFSET, FIELD_BEHIND, FIELD_LOG_START},
	[MR_FEED_STALE] = {FIELD_NONE},
	[MR_FEED_OPEN] = {FIELD_PARTITION},
	[MR_FEED_FORWARD] = {FIELD_BYTES},
	[MR_FEED_FORWARDED] = {FIELD_CREDIT, FIELD_PRODUCER, FIELD_SEQUENCE, FIELD_REFUSED},
	[MR_FEED_ASK_STATE] = {FIELD_OFFSET, FIELD_AT},
	[MR_FEED_STATE] = {FIELD_OFFSET, FIELD_LOG_START, FIELD_AT, FIELD_TOTAL},
};
static_assert(mr_array_count(fields_of) == MR_FEED_KIND_COUNT, "fields of each kind");

/* What can be told of each by itself: no more than where it is kept can hold. */
static const struct {
	const char *name;
	int64_t most; /* -1: any 64 bits */
} field_rows[] = {
	[FIELD_OFFSET] = {"offset", INT64_MAX},
	[FIELD_LAST_EPOCH] = {"last_epoch and 1", (int64_t)INT32_MAX + 1},
	[FIELD_LOG_START] = {"log_start", INT64_MAX},
	[FIELD_CREDIT] = {"credit_bytes", INT64_MAX},
	[FIELD_BYTES] = {"bytes", UINT32_MAX},
	[FIELD_WATERMARK] = {"high_watermark", INT64_MAX},
	[FIELD_BEHIND] = {"high_watermark", -1},
	[FIELD_PARTITION] = {"partition", INT32_MAX},
	[FIELD_PRODUCER] = {"producer_id", INT64_MAX},
	[FIELD_SEQUENCE] = {"sequence", INT32_MAX},
	[FIELD_REFUSED] = {"refused", UINT32_MAX},
	[FIELD_AT] = {"at", UINT32_MAX},
	[FIELD_TOTAL] = {"total_bytes", UINT32_MAX},
};
static_assert(mr_array_count(field_rows) == FIELD_COUNT, "a row for each field");

enum mr_feed_kind mr_feed_entry_last_kind(uint8_t version)
{
	return version < MR_FEED_VERSION_STATE ? MR_FEED_FORWARDED : MR_FEED_KIND_COUNT - 1;
}

bool mr_feed_speaks(uint8_t version, enum mr_feed_kind kind)
{
	return kind <= mr_feed_entry_last_kind(version);
}

/* How long the piece of a state is that begins at entry->at. */
static uint32_t piece_bytes(const struct mr_feed_entry *entry)
{
	uint32_t left = entry->at < entry->total_bytes ? entry->total_bytes - entry->at : 0;

	return left < MR_FEED_STATE_PIECE_MAX ? left : MR_FEED_STATE_PIECE_MAX;
}

/* What a kind does not use is zero, and zero is within the bounds of everything. */
int mr_feed_entry_check(const struct mr_feed_item *item, struct mr_error *err)
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
		r = mr_feed_check_range(checks[i].field, checks[i].found, checks[i].least,
					checks[i].most, err);
	return r;
}

/* Of either sign to none: small ones stay small. */
static uint64_t fold(uint64_t difference)
{
	return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

static uint64_t unfold(uint64_t number)
{
	return number >> 1 ^ (number & 1 ? UINT64_MAX : 0);
}

static uint64_t load_field(const struct mr_feed_item *item, enum field field)
{
	const struct mr_feed_entry *entry = &item->entry;

	switch (field) {
	case FIELD_OFFSET:
		return entry->offset;
	case FIELD_LAST_EPOCH:
		return (uint64_t)((int64_t)entry->last_epoch + 1);
	case FIELD_LOG_START:
		return entry->log_start;
	case FIELD_CREDIT:
		return entry->credit_bytes;
	case FIELD_BYTES:
		return entry->bytes;
	case FIELD_WATERMARK:
		return entry->high_watermark;
	case FIELD_BEHIND:
		return fold(entry->offset - entry->high_watermark);
	case FIELD_PARTITION:
		return (uint64_t)item->partition;
	case FIELD_PRODUCER:
		return (uint64_t)entry->producer_id;
	case FIELD_SEQUENCE:
		return (uint64_t)entry->sequence;
	case FIELD_REFUSED:
		return entry->refused;
	case FIELD_AT:
		return entry->at;
	case FIELD_TOTAL:
		return entry->total_bytes;
	case FIELD_NONE:
	case FIELD_COUNT:
		break;
	}
	return 0;
}

/* 'value' is no more than its row says. */
static void store_field(struct mr_feed_item *item, enum field field, uint64_t value)
{
	struct mr_feed_entry *entry = &item->entry;

	switch (field) {
	case FIELD_OFFSET:
		entry->offset = value;
		break;
	case FIELD_LAST_EPOCH:
		entry->last_epoch = (int32_t)((int64_t)value - 1);
		break;
	case FIELD_LOG_START:
		entry->log_start = value;
		break;
	case FIELD_CREDIT:
		entry->credit_bytes = value;
		break;
	case FIELD_BYTES:
		entry->bytes = (uint32_t)value;
		break;
	case FIELD_WATERMARK:
		entry->high_watermark = value;
		break;
	case FIELD_BEHIND:
		entry->high_watermark = entry->offset - unfold(value);
		break;
	case FIELD_PARTITION:
		item->partition = (int32_t)value;
		break;
	case FIELD_PRODUCER:
		entry->producer_id = (int64_t)value;
		break;
	case FIELD_SEQUENCE:
		entry->sequence = (int32_t)value;
		break;
	case FIELD_REFUSED:
		entry->refused = (uint32_t)value;
		break;
	case FIELD_AT:
		entry->at = (uint32_t)value;
		break;
	case FIELD_TOTAL:
		entry->total_bytes = (uint32_t)value;
		break;
	case FIELD_NONE:
	case FIELD_COUNT:
		break;
	}
}

/* ---- numbers ---- */

static uint8_t *put_number(uint8_t *at, uint64_t number)
{
	for (; number >= NUMBER_MORE; number >>= NUMBER_BITS)
		*at++ = (uint8_t)(number | NUMBER_MORE);
	*at++ = (uint8_t)number;
	return at;
}

/* Returns how many bytes it takes; 0: it does not end, or is longer than need be, or too large. */
static uint32_t take_number(const uint8_t *at, size_t left, uint64_t *number)
{
	uint32_t i;

	*number = 0;
	for (i = 0; i < left && i < NUMBER_BYTES_MAX; i++) {
		if (i == NUMBER_BYTES_MAX - 1 && at[i] > 1)
			return 0;
		*number |= (uint64_t)(at[i] & (NUMBER_MORE - 1)) << i * NUMBER_BITS;
		if (!(at[i] & NUMBER_MORE))
			return i > 0 && at[i] == 0 ? 0 : i + 1;
	}
	return 0;
}

/* ---- saying it ---- */

static bool is_term(const struct mr_feed_term *term, const struct mr_feed_entry *entry)
{
	return term && term->said && term->leader_epoch == entry->leader_epoch &&
	       term->session == entry->session;
}

/* Returns the size of an entry's head. */
uint32_t mr_feed_entry_put(const struct mr_feed_item *item, uint8_t head[MR_FEED_ENTRY_BYTES_MAX])
{
	const struct mr_feed_entry *entry = &item->entry;
	const uint8_t *fields = fields_of[entry->kind];
	bool open = entry->kind == MR_FEED_OPEN;
	bool says = !open && !is_term(item->term, entry);
	uint8_t *at = head;

	*at++ = (uint8_t)(entry->kind | (says ? MR_FEED_TERM_SAID : 0));
	at = put_number(at, item->channel);
	if (says) {
		at = put_number(at, (uint64_t)entry->leader_epoch);
		at = put_number(at, entry->session);
	}
	if (open) {
		memcpy(at, item->topic_id, sizeof(item->topic_id));
		at += sizeof(item->topic_id);
	}
	for (uint32_t i = 0; i < FIELDS_MAX && fields[i] != FIELD_NONE; i++)
		at = put_number(at, load_field(item, fields[i]));
	mr_assert(at - head <= (ptrdiff_t)MR_FEED_ENTRY_BYTES_MAX);
	return (uint32_t)(at - head);
}

/* ---- hearing it ---- */

/* 'most' below 0: any number. */
static int take_field(struct mr_feed_reader *reader, const char *name, int64_t most,
		      uint64_t *value, struct mr_error *err)
{
	uint32_t bytes = take_number(reader->at, (size_t)(reader->payload - reader->at), value);

	if (!bytes)
		return mr_error_set(err, -EBADMSG,
				    "feed message has no number, whole and as short as it can be, "
				    "for an entry's %s",
				    name);
	reader->at += bytes;
	return most < 0 ? 0 : mr_feed_check_range(name, (int64_t)*value, 0, most, err);
}

/* The term of the entry: said, or that of the one before on its channel. */
static int take_term(struct mr_feed_reader *reader, struct mr_feed_item *item, bool said,
		     struct mr_error *err)
{
	struct mr_feed_entry *entry = &item->entry;
	struct mr_feed_term *term;
	uint64_t epoch = 0, session = 0;
	int r = 0;

	if (item->channel >= reader->terms->count)
		return mr_error_set(err, -EBADMSG,
				    "feed message has an entry on channel %u, which is not open",
				    item->channel);
	term = &reader->terms->of[item->channel];
	if (!said && !term->said)
		return mr_error_set(err, -EBADMSG,
				    "feed message has an entry on channel %u before any leader "
				    "epoch was said there",
				    item->channel);
	if (said)
		r = take_field(reader, "leader_epoch", INT32_MAX, &epoch, err);
	if (said && r == 0)
		r = take_field(reader, "session", UINT32_MAX, &session, err);
	if (r < 0)
		return r;
	entry->leader_epoch = said ? (int32_t)epoch : term->leader_epoch;
	entry->session = said ? (uint32_t)session : term->session;
	if (said && is_term(term, entry))
		return mr_error_set(err, -EBADMSG,
				    "feed message says leader epoch %" PRId32
				    " and session %" PRIu32 " of channel %u once more",
				    entry->leader_epoch, entry->session, item->channel);
	*term = (struct mr_feed_term){entry->leader_epoch, entry->session, true};
	return 0;
}

static int take_topic_id(struct mr_feed_reader *reader, struct mr_feed_item *item,
			 struct mr_error *err)
{
	int r = mr_feed_check_range("bytes for a topic id", reader->payload - reader->at,
				    sizeof(item->topic_id), INT64_MAX, err);

	if (r < 0)
		return r;
	memcpy(item->topic_id, reader->at, sizeof(item->topic_id));
	reader->at += sizeof(item->topic_id);
	return 0;
}

static int take_fields(struct mr_feed_reader *reader, struct mr_feed_item *item,
		       struct mr_error *err)
{
	const uint8_t *fields = fields_of[item->entry.kind];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < FIELDS_MAX && fields[i] != FIELD_NONE; i++) {
		uint64_t value;

		r = take_field(reader, field_rows[fields[i]].name, field_rows[fields[i]].most,
			       &value, err);
		if (r == 0)
			store_field(item, fields[i], value);
	}
	if (item->entry.kind == MR_FEED_STATE)
		item->entry.bytes = piece_bytes(&item->entry);
	return r;
}

int mr_feed_entry_take(struct mr_feed_reader *reader, struct mr_feed_item *item,
		       struct mr_error *err)
{
	int r = mr_feed_check_range("bytes for an entry's head", reader->payload - reader->at,
				    MR_FEED_ENTRY_BYTES_MIN, INT64_MAX, err);
	uint64_t channel;
	uint8_t kind;
	bool said;

	if (r < 0)
		return r;
	kind = *reader->at & (uint8_t)~MR_FEED_TERM_SAID;
	said = *reader->at++ & MR_FEED_TERM_SAID;
	r = mr_feed_check_range("kind of an entry", kind, MR_FEED_ASK, reader->last_kind, err);
	if (r == 0)
		r = take_field(reader, "channel", MR_FEED_CHANNELS_MAX - 1, &channel, err);
	if (r < 0)
		return r;
	*item = (struct mr_feed_item){.channel = (uint32_t)channel, .entry = {.kind = kind}};
	if (kind != MR_FEED_OPEN) {
		r = take_term(reader, item, said, err);
	} else {
		r = mr_feed_check_range("a term with what opens a channel", said, 0, 0, err);
		if (r == 0)
			r = take_topic_id(reader, item, err);
	}
	if (r == 0)
		r = take_fields(reader, item, err);
	return r < 0 ? r : mr_feed_entry_check(item, err);
}
