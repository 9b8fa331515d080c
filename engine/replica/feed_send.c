/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out on a connection. Runs on the feed's thread; owns the parcels that workers sent
 * until their bytes are with the kernel.
 *
 * Parcels of one partition stay in order: a follower that heard how far was sent before it has the
 * batches would take them for lost. Between partitions there is no order. So each partition has a
 * queue, a flow. When nothing is being sent, a message is made: first the entries without batches
 * of all flows that have one next, so that they wait for no more than the message under way; then
 * one parcel of batches of each flow in turn, up to a bound and to the peer's quota; then the
 * entries that came up behind these.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "feed_inside.h"

#define SEND_TURN_BYTES (8u << 20) /* on one connection before the others have a turn */
#define STUCK_PATIENCES 3

/* ---- parcels ---- */

static struct mr_feed_parcel *first_parcel(const struct feed_list *list)
{
	return (struct mr_feed_parcel *)list->first; /* the mail is its first member */
}

static void send_back(struct mr_feed *feed, struct mr_feed_parcel *parcel, int status)
{
	parcel->status = status;
	if (parcel->catch_up) /* what was read is the feed's */
		parcel->piece_count = 0;
	feed_way_send_back(&feed->ports[parcel->mail.worker].to_worker, &parcel->mail);
}

static void send_all_back(struct mr_feed *feed, struct feed_list *list, int status)
{
	struct mr_feed_mail *mail;

	while ((mail = feed_list_take(list)))
		send_back(feed, (struct mr_feed_parcel *)mail, status);
}

/* ---- the catch-up reader ---- */

static void reading_free(struct feed_reading *reading)
{
	if (reading->next)
		reading->next->previous = reading->previous;
	if (reading->previous)
		reading->previous->next = reading->next;
	else
		reading->feed->readings = reading->next;
	mr_catchup_request_free(reading->request);
	free(reading);
}

void feed_readings_free(struct mr_feed *feed)
{
	while (feed->readings)
		reading_free(feed->readings);
}

static struct feed_reading *reading_new(struct feed_connection *connection, struct feed_flow *flow)
{
	struct feed_reading *reading = calloc(1, sizeof(*reading));

	if (!reading)
		return NULL;
	reading->request = mr_catchup_request_new();
	if (!reading->request) {
		free(reading);
		return NULL;
	}
	reading->request->owner = reading;
	reading->feed = connection->feed;
	reading->next = reading->feed->readings;
	if (reading->next)
		reading->next->previous = reading;
	reading->feed->readings = reading;
	reading->connection = connection;
	reading->flow = flow;
	return reading;
}

/* The flow has no use for it any more. */
static void reading_leave(struct feed_flow *flow)
{
	struct feed_reading *reading = flow->reading;

	flow->reading = NULL;
	if (!reading)
		return;
	reading->connection = NULL;
	reading->flow = NULL;
	if (!reading->out)
		reading_free(reading);
}

/* As mr_topic_partition_directory(). */
static void name_directory(const struct feed_key *key, char *path, size_t room)
{
	char id[33];

	for (size_t i = 0; i < sizeof(key->topic_id); i++)
		snprintf(id + 2 * i, sizeof(id) - 2 * i, "%02x", key->topic_id[i]);
	snprintf(path, room, "topics/%s/%" PRId32, id, key->partition);
}

static int start_reading(struct feed_connection *connection, struct feed_flow *flow)
{
	struct mr_feed *feed = connection->feed;
	struct mr_feed_parcel *parcel = first_parcel(&flow->parcels);
	struct mr_catchup_request *request;

	if (!feed->catchup)
		return -EIO;
	if (!flow->reading)
		flow->reading = reading_new(connection, flow);
	if (!flow->reading)
		return -EIO;
	request = flow->reading->request;
	name_directory(&flow->key, request->directory, sizeof(request->directory));
	request->offset = parcel->entry.offset;
	request->bytes_max = parcel->entry.bytes;
	request->limit_offset = parcel->entry.end_offset;
	flow->reading->out = true;
	mr_catchup_send(feed->catchup, request);
	return 0;
}

/* ---- flows ---- */

static void flow_list_add(struct feed_flow_list *list, struct feed_flow *flow)
{
	flow->next = NULL;
	if (list->last)
		list->last->next = flow;
	else
		list->first = flow;
	list->last = flow;
}

static struct feed_flow *flow_list_take(struct feed_flow_list *list)
{
	struct feed_flow *flow = list->first;

	if (!flow)
		return NULL;
	list->first = flow->next;
	if (!list->first)
		list->last = NULL;
	flow->place = FEED_FLOW_IDLE;
	return flow;
}

/* It has its turn before all others again: there was no room. */
static void flow_list_put_back(struct feed_flow_list *list, struct feed_flow *flow,
			       enum feed_flow_place place)
{
	flow->next = list->first;
	list->first = flow;
	if (!list->last)
		list->last = flow;
	flow->place = place;
}

/* Batches, and where they lie is known. */
static bool is_ready(const struct mr_feed_parcel *parcel)
{
	return parcel && mr_feed_has_batches(parcel->entry.kind) &&
	       (!parcel->catch_up || parcel->piece_count);
}

/* Into the list of what it has next, unless it is in one or waits for the reader. */
static void place_flow(struct feed_connection *connection, struct feed_flow *flow)
{
	struct mr_feed_parcel *parcel;

	while (flow->place == FEED_FLOW_IDLE && (parcel = first_parcel(&flow->parcels))) {
		if (!mr_feed_speaks(connection->version, parcel->entry.kind)) {
			feed_list_take(&flow->parcels);
			send_back(connection->feed, parcel, -EPROTONOSUPPORT);
		} else if (!mr_feed_has_batches(parcel->entry.kind)) {
			flow->place = FEED_FLOW_SMALL;
			flow_list_add(&connection->small, flow);
		} else if (is_ready(parcel)) {
			flow->place = FEED_FLOW_BATCHES;
			flow_list_add(&connection->batches, flow);
		} else if (flow->reading && flow->reading->used) {
			return; /* again when that was sent */
		} else if (start_reading(connection, flow) == 0) {
			flow->place = FEED_FLOW_READING;
		} else {
			feed_list_take(&flow->parcels);
			send_back(connection->feed, parcel, -EIO);
		}
	}
}

static void flow_free(struct feed_flow *flow)
{
	reading_leave(flow);
	free(flow);
}

static struct feed_flow *find_flow(struct feed_connection *connection,
				   const struct mr_feed_parcel *parcel)
{
	struct feed_key key = feed_key(parcel->topic_id, parcel->partition);

	return feed_table_find(&connection->flows, &key);
}

/* NULL: no memory, or no channel: a new connection has all of them. */
static struct feed_flow *make_flow(struct feed_connection *connection,
				   const struct mr_feed_parcel *parcel)
{
	struct feed_flow *flow = find_flow(connection, parcel);

	if (flow || connection->flow_count == MR_FEED_CHANNELS_MAX)
		return flow;
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	flow->key = feed_key(parcel->topic_id, parcel->partition);
	flow->channel = connection->flow_count;
	if (feed_table_add(&connection->flows, &flow->key) < 0) {
		free(flow);
		return NULL;
	}
	connection->flow_count++;
	return flow;
}

void feed_send_parcel(struct mr_feed *feed, struct mr_feed_parcel *parcel)
{
	struct mr_feed_peer *peer =
		parcel->node < MR_NODES_MAX ? feed->by_node[parcel->node] : NULL;
	struct feed_connection *connection = peer ? peer->connection : NULL;
	struct feed_flow *flow;

	if (!connection || connection->number != parcel->connection) {
		send_back(feed, parcel, -ENOTCONN);
		return;
	}
	flow = make_flow(connection, parcel);
	if (!flow) {
		send_back(feed, parcel, -ENOTCONN);
		feed_connection_end(connection, "no channel, or no memory, for a partition");
		return;
	}
	if (parcel->catch_up)
		parcel->piece_count = 0; /* until it was read */
	feed_list_add(&flow->parcels, &parcel->mail);
	place_flow(connection, flow);
}

/* What lies there is not whole, or the disk does not give it: that does not pass by itself. */
static void tell_unreadable(struct feed_connection *connection, const struct feed_flow *flow,
			    const struct mr_catchup_request *request)
{
	struct mr_feed_event event = {
		.kind = MR_FEED_EVENT_UNREADABLE,
		.node = connection->peer->node,
		.partition = flow->key.partition,
		.status = request->status,
	};

	if (request->status != -EBADMSG && request->status != -EIO)
		return;
	event.text = strdup(request->err.what);
	event.bytes = event.text ? strlen(event.text) : 0;
	memcpy(event.topic_id, flow->key.topic_id, sizeof(event.topic_id));
	feed_tell(connection->feed, &event, 0);
}

/* Something came back from the reader. */
void feed_read_back(struct feed_reading *reading)
{
	struct feed_connection *connection = reading->connection;
	struct mr_catchup_request *request = reading->request;
	struct feed_flow *flow = reading->flow;
	struct mr_feed_parcel *parcel;

	reading->out = false;
	if (!connection) {
		reading_free(reading);
		return;
	}
	mr_assert(flow->place == FEED_FLOW_READING);
	parcel = first_parcel(&flow->parcels);
	if (request->status == 0) {
		parcel->entry.offset = request->base_offset;
		parcel->entry.end_offset = request->end_offset;
		parcel->entry.bytes = request->byte_count;
		parcel->plain_bytes = request->plain_bytes;
		parcel->pieces[0] = (struct iovec){request->bytes, request->byte_count};
		parcel->piece_count = 1;
		reading->used = true;
	} else {
		tell_unreadable(connection, flow, request);
		feed_list_take(&flow->parcels);
		send_back(connection->feed, parcel, request->status);
	}
	flow->place = FEED_FLOW_IDLE;
	place_flow(connection, flow);
}

/* ---- the quota ---- */

static void fill_bucket(struct mr_feed_peer *peer, uint64_t now_ns)
{
	uint64_t most = peer->bytes_per_second / 8, passed_ns = now_ns - peer->tokens_ns;

	if (most < FEED_STAGING_BYTES)
		most = FEED_STAGING_BYTES;
	if (passed_ns > FEED_SECOND_NS)
		passed_ns = FEED_SECOND_NS;
	if (passed_ns * peer->bytes_per_second < FEED_SECOND_NS)
		return; /* not a whole byte yet */
	peer->tokens_ns = now_ns;
	peer->tokens +=
		(int64_t)((unsigned __int128)passed_ns * peer->bytes_per_second / FEED_SECOND_NS);
	if (peer->tokens > (int64_t)most)
		peer->tokens = (int64_t)most;
}

static bool may_send_batches(const struct mr_feed_peer *peer)
{
	return !peer->bytes_per_second || peer->tokens > 0;
}

uint64_t feed_send_next_ns(const struct feed_connection *connection)
{
	const struct mr_feed_peer *peer = connection->peer;
	uint64_t missing;

	if (!connection->batches.first || connection->sending.bytes || may_send_batches(peer))
		return UINT64_MAX;
	missing = (uint64_t)(1 - peer->tokens);
	return connection->feed->now_ns + FEED_MILLISECOND_NS +
	       (uint64_t)((unsigned __int128)missing * FEED_SECOND_NS / peer->bytes_per_second);
}

/* ---- making a message ---- */

/* -ENOSPC: no room for it. */
static int add_parcel(struct feed_connection *connection, struct mr_feed_writer *writer,
		      struct feed_flow *flow)
{
	struct feed_sending *sending = &connection->sending;
	struct mr_feed_parcel *parcel = first_parcel(&flow->parcels);
	struct mr_feed_item item = {
		.channel = flow->channel, .entry = parcel->entry, .term = &flow->term};
	struct mr_feed_item open = {.channel = flow->channel,
				    .entry = {.kind = MR_FEED_OPEN},
				    .partition = flow->key.partition};

	mr_assert(parcel->piece_count <= MR_PARCEL_PIECES);
	if (parcel->piece_count > FEED_PIECES_MAX - sending->piece_count)
		return -ENOSPC;
	memcpy(open.topic_id, flow->key.topic_id, sizeof(open.topic_id));
	if (!flow->opened && mr_feed_add(writer, &open) < 0)
		return -ENOSPC;
	flow->opened = true; /* whatever follows: it will be in this message */
	if (mr_feed_add(writer, &item) < 0)
		return -ENOSPC;
	memcpy(sending->pieces + sending->piece_count, parcel->pieces,
	       parcel->piece_count * sizeof(parcel->pieces[0]));
	sending->piece_count += parcel->piece_count;
	if (connection->peer->bytes_per_second)
		connection->peer->tokens -= parcel->entry.bytes;
	feed_list_take(&flow->parcels);
	feed_list_add(&sending->parcels, &parcel->mail);
	return 0;
}

/* Entries without batches, of all flows that have one next. False: no more room. */
static bool add_small(struct feed_connection *connection, struct mr_feed_writer *writer,
		      uint32_t head_bytes_max)
{
	struct feed_flow *flow;

	while ((flow = flow_list_take(&connection->small))) {
		struct mr_feed_parcel *parcel;
		int r = 0;

		while (r == 0 && (parcel = first_parcel(&flow->parcels)) &&
		       !mr_feed_has_batches(parcel->entry.kind))
			r = writer->head_bytes < head_bytes_max
				    ? add_parcel(connection, writer, flow)
				    : -ENOSPC;
		if (r < 0) {
			flow_list_put_back(&connection->small, flow, FEED_FLOW_SMALL);
			return false;
		}
		place_flow(connection, flow);
	}
	return true;
}

static void add_batches(struct feed_connection *connection, struct mr_feed_writer *writer)
{
	struct feed_flow *flow;

	while (writer->payload_bytes < FEED_BATCH_BYTES && may_send_batches(connection->peer) &&
	       (flow = flow_list_take(&connection->batches))) {
		if (is_ready(first_parcel(&flow->parcels)) &&
		    add_parcel(connection, writer, flow) < 0) {
			flow_list_put_back(&connection->batches, flow, FEED_FLOW_BATCHES);
			return;
		}
		place_flow(connection, flow);
	}
}

static void begin_sending(struct feed_connection *connection, size_t head_bytes,
			  size_t payload_bytes)
{
	struct feed_sending *sending = &connection->sending;

	sending->pieces[0] = (struct iovec){sending->heads, head_bytes};
	sending->head_bytes = head_bytes;
	sending->bytes = head_bytes + payload_bytes;
	sending->sent = sending->parcel_bytes = 0;
	sending->at = 0;
}

static bool make_entries(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;
	struct mr_feed_writer writer;
	uint32_t small_max = MR_FEED_HEAD_BYTES_MAX;

	mr_feed_begin(&writer, connection->version, sending->heads,
		      MR_FEED_HEADER_BYTES + MR_FEED_HEAD_BYTES_MAX);
	sending->piece_count = 1; /* the heads' */
	if (connection->batches.first)
		small_max /= 2; /* batches have their turn, however much else there is */
	if (connection->peer->bytes_per_second)
		fill_bucket(connection->peer, connection->feed->now_ns);
	if (add_small(connection, &writer, small_max)) {
		add_batches(connection, &writer);
		(void)add_small(connection, &writer, MR_FEED_HEAD_BYTES_MAX);
	} else {
		add_batches(connection, &writer);
	}
	if (!writer.entry_count)
		return false;
	begin_sending(connection,
		      mr_feed_end(&writer, sending->pieces + 1, sending->piece_count - 1),
		      writer.payload_bytes);
	return true;
}

static bool make_notice(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;
	struct feed_notice *notice;

	if (!connection->notice_count)
		return false;
	notice = connection->notices[connection->notice_first];
	connection->notice_first = (connection->notice_first + 1) % connection->notice_room;
	connection->notice_count--;
	connection->notice_bytes -= notice->bytes;
	mr_feed_encode_notice(connection->version, notice->text, notice->bytes, sending->heads);
	sending->notice = notice;
	sending->pieces[1] = (struct iovec){notice->text, notice->bytes};
	sending->piece_count = 2;
	begin_sending(connection, MR_FEED_HEADER_BYTES, notice->bytes);
	return true;
}

static bool make_urgent(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	if (!sending->urgent_bytes)
		return false;
	memcpy(sending->heads, sending->urgent, sending->urgent_bytes);
	sending->piece_count = 1;
	sending->last = sending->urgent_last;
	begin_sending(connection, sending->urgent_bytes, 0);
	sending->urgent_bytes = 0;
	return true;
}

/* ---- signs of life ---- */

uint64_t feed_send_sign_ns(const struct feed_connection *connection)
{
	if (!connection->watched || connection->stage != FEED_STAGE_UP || connection->sending.bytes)
		return UINT64_MAX;
	return connection->said_ns + connection->feed->patience_ns / FEED_SIGNS;
}

static bool make_sign(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	if (connection->feed->now_ns < feed_send_sign_ns(connection))
		return false;
	mr_feed_encode_alive(connection->version, sending->heads);
	sending->piece_count = 1;
	begin_sending(connection, MR_FEED_HEADER_BYTES, 0);
	return true;
}

/* The next message, if there is one. Notices and entries take turns. */
static bool make_message(struct feed_connection *connection)
{
	bool notice_first = !connection->notice_was_last;

	if (make_urgent(connection))
		return true;
	if (connection->stage != FEED_STAGE_UP)
		return false;
	if (notice_first && make_notice(connection)) {
		connection->notice_was_last = true;
		return true;
	}
	connection->notice_was_last = false;
	return make_entries(connection) || make_notice(connection) || make_sign(connection);
}

void feed_send_urgent(struct feed_connection *connection, size_t encoded, bool last)
{
	mr_assert(encoded <= sizeof(connection->sending.urgent));
	connection->sending.urgent_bytes = (uint32_t)encoded;
	connection->sending.urgent_last = last;
}

int feed_send_notice(struct feed_connection *connection, struct feed_notice *notice)
{
	uint32_t room = connection->notice_room;

	if (connection->notice_bytes + notice->bytes > FEED_NOTICES_MAX)
		return -ENOBUFS;
	if (connection->notice_count == room) {
		uint32_t bigger = room ? room * 2 : 64;
		struct feed_notice **ring = calloc(bigger, sizeof(struct feed_notice *));

		if (!ring)
			return -ENOMEM;
		for (uint32_t i = 0; i < room; i++)
			ring[i] = connection->notices[(connection->notice_first + i) % room];
		free(connection->notices);
		connection->notices = ring;
		connection->notice_first = 0;
		connection->notice_room = room = bigger;
	}
	connection->notices[(connection->notice_first + connection->notice_count++) % room] =
		notice;
	connection->notice_bytes += notice->bytes;
	notice->references++;
	return 0;
}

/* ---- sending it ---- */

static void count_sent(struct feed_figures *figures, const struct mr_feed_parcel *parcel)
{
	const struct mr_feed_entry *entry = &parcel->entry;

	if (!mr_feed_has_batches(entry->kind))
		return;
	feed_count(&figures->sent_batch_bytes, entry->bytes);
	feed_count(&figures->sent_plain_bytes, parcel->plain_bytes);
	if (entry->end_offset > entry->offset)
		feed_count(&figures->sent_records, entry->end_offset - entry->offset);
}

static void parcel_sent(struct feed_connection *connection, struct mr_feed_parcel *parcel)
{
	struct feed_flow *flow = parcel->catch_up ? find_flow(connection, parcel) : NULL;

	count_sent(&connection->peer->figures, parcel);
	send_back(connection->feed, parcel, 0);
	if (flow && flow->reading) {
		flow->reading->used = false;
		place_flow(connection, flow);
	}
}

/* Those whose bytes are all with the kernel, or in a copy. */
static void return_parcels(struct feed_connection *connection, uint64_t sent)
{
	struct feed_sending *sending = &connection->sending;
	struct mr_feed_parcel *parcel;

	while ((parcel = first_parcel(&sending->parcels)) &&
	       sending->head_bytes + sending->parcel_bytes + parcel->entry.bytes <= sent) {
		sending->parcel_bytes += parcel->entry.bytes;
		feed_list_take(&sending->parcels);
		parcel_sent(connection, parcel);
	}
}

static void advance(struct feed_connection *connection, size_t bytes)
{
	struct feed_sending *sending = &connection->sending;

	sending->sent += bytes;
	while (bytes > 0) {
		struct iovec *piece = &sending->pieces[sending->at];
		size_t part = bytes < piece->iov_len ? bytes : piece->iov_len;

		piece->iov_base = (uint8_t *)piece->iov_base + part;
		piece->iov_len -= part;
		bytes -= part;
		if (piece->iov_len == 0)
			sending->at++;
	}
	return_parcels(connection, sending->sent);
}

static void end_message(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	mr_assert(!sending->parcels.first);
	feed_notice_drop(sending->notice);
	sending->notice = NULL;
	free(sending->copy);
	sending->copy = NULL;
	sending->bytes = sending->sent = 0;
	if (connection->peer)
		feed_count(&connection->peer->figures.sent_messages, 1);
}

/* Some of the message. -EAGAIN: not now; 0: more may go. */
static int send_some(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_sending *sending = &connection->sending;
	ssize_t sent = mr_link_send(connection->link, sending->pieces + sending->at,
				    (int)(sending->piece_count - sending->at), err);

	if (sent == -EAGAIN) {
		connection->writable = false;
		if (!connection->stuck_ns)
			connection->stuck_ns = connection->feed->now_ns +
					       STUCK_PATIENCES * connection->feed->patience_ns;
	}
	if (sent < 0)
		return (int)sent;
	connection->stuck_ns = 0;
	connection->said_ns = connection->feed->now_ns;
	if (connection->peer)
		feed_count(&connection->peer->figures.sent_bytes, (uint64_t)sent);
	advance(connection, (size_t)sent);
	return 0;
}

int feed_send_turn(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_sending *sending = &connection->sending;
	uint64_t turn = 0;
	int r;

	while (turn < SEND_TURN_BYTES && (sending->bytes || !sending->last)) {
		if (!sending->bytes && !make_message(connection))
			return turn > 0;
		do {
			uint64_t before = sending->sent;

			r = send_some(connection, err);
			if (r == -EAGAIN)
				return turn > 0;
			if (r < 0)
				return r;
			turn += sending->sent - before;
		} while (sending->sent < sending->bytes && turn < SEND_TURN_BYTES);
		if (sending->sent == sending->bytes)
			end_message(connection);
	}
	return 1;
}

bool feed_send_idle(const struct feed_connection *connection)
{
	return !connection->sending.bytes && !connection->sending.urgent_bytes;
}

/* ---- an end ---- */

/* The rest of the message under way into memory of its own, so that its parcels can go. */
static int copy_rest(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;
	size_t rest = sending->bytes - sending->sent, at = 0;
	uint8_t *copy;

	if (!sending->parcels.first)
		return 0;
	copy = malloc(rest);
	if (!copy)
		return -ENOMEM;
	for (uint32_t i = sending->at; i < sending->piece_count; i++) {
		memcpy(copy + at, sending->pieces[i].iov_base, sending->pieces[i].iov_len);
		at += sending->pieces[i].iov_len;
	}
	mr_assert(at == rest);
	sending->copy = copy;
	sending->pieces[0] = (struct iovec){copy, rest};
	sending->at = 0;
	sending->piece_count = 1;
	return_parcels(connection, UINT64_MAX);
	return 0;
}

static void clear_flow(struct feed_connection *connection, struct feed_flow *flow)
{
	reading_leave(flow);
	send_all_back(connection->feed, &flow->parcels, -ENOTCONN);
	if (flow->place == FEED_FLOW_READING)
		flow->place = FEED_FLOW_IDLE;
}

static bool is_sending(const struct feed_sending *sending, const struct feed_key *key)
{
	const struct mr_feed_mail *mail = sending->parcels.first;

	for (; mail; mail = mail->next) {
		const struct mr_feed_parcel *parcel = (const struct mr_feed_parcel *)mail;

		if (parcel->partition == key->partition &&
		    memcmp(parcel->topic_id, key->topic_id, sizeof(key->topic_id)) == 0)
			return true;
	}
	return false;
}

int feed_send_purge(struct feed_connection *connection, const struct feed_key *key)
{
	struct feed_flow *flow = feed_table_find(&connection->flows, key);
	int r = 0;

	if (!flow)
		return 0;
	if (is_sending(&connection->sending, key))
		r = copy_rest(connection);
	clear_flow(connection, flow);
	return r;
}

int feed_send_clear(struct feed_connection *connection, bool more)
{
	struct feed_sending *sending = &connection->sending;
	struct feed_flow *flow;
	int r = more ? copy_rest(connection) : 0;

	if (r < 0 || !more)
		send_all_back(connection->feed, &sending->parcels, -ENOTCONN);
	while ((flow = feed_table_any(&connection->flows))) {
		feed_table_remove(&connection->flows, &flow->key);
		clear_flow(connection, flow);
		flow_free(flow);
	}
	connection->small = connection->batches = (struct feed_flow_list){0};
	while (connection->notice_count) {
		feed_notice_drop(connection->notices[connection->notice_first]);
		connection->notice_first = (connection->notice_first + 1) % connection->notice_room;
		connection->notice_count--;
	}
	return r;
}

int feed_send_init(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	sending->heads = malloc(MR_FEED_HEADER_BYTES + MR_FEED_HEAD_BYTES_MAX);
	sending->pieces = calloc(FEED_PIECES_MAX, sizeof(*sending->pieces));
	return sending->heads && sending->pieces ? 0 : -ENOMEM;
}

void feed_send_deinit(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	mr_assert(!sending->parcels.first);
	mr_assert(connection->flows.count == 0);
	feed_notice_drop(sending->notice);
	free(sending->copy);
	free(sending->heads);
	free(sending->pieces);
	free(connection->notices);
	feed_table_deinit(&connection->flows);
}
