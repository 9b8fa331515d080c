/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in on a connection. Runs on the feed's thread; owns each message's buffer until the
 * last worker gave its delivery back.
 *
 * Small messages are read ahead into a staging area, many by one system call. A header says how
 * long its message is, within bounds; only then there is a buffer for it, with room for the
 * deliveries before the body. Of a long body the rest goes straight there. A message is taken apart
 * once; the workers get what is theirs, in order, or nothing of it if anything in it is wrong.
 *
 *	buffer	| deliveries, one a worker | arrivals, one an entry | the message's body |
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "feed_inside.h"

#define CHANNELS_MIN 64u

/* ---- deliveries ---- */

static size_t deliveries_bytes(const struct mr_feed *feed)
{
	return feed->port_count * sizeof(struct feed_delivery);
}

static struct feed_delivery *delivery_of(struct feed_buffer *buffer, uint32_t worker)
{
	return (struct feed_delivery *)(void *)buffer->bytes + worker;
}

static void deliver(struct mr_feed *feed, struct feed_buffer *buffer, uint32_t worker,
		    const struct mr_feed_delivery *what)
{
	struct feed_delivery *delivery = delivery_of(buffer, worker);

	*delivery = (struct feed_delivery){.delivery = *what, .buffer = buffer};
	delivery->delivery.mail.kind = MR_MAIL_DELIVERY;
	buffer->references++;
	feed_way_send(&feed->ports[worker].to_worker, &delivery->delivery.mail);
}

void feed_deliver_news(struct mr_feed *feed, const struct mr_feed_delivery *news)
{
	struct feed_buffer *buffer;

	if (!feed->port_count)
		return;
	buffer = feed_buffer_take(&feed->buffers, NULL, deliveries_bytes(feed));
	mr_assert(buffer); /* a few KiB: the workers must know, so there is no going on without */
	for (uint32_t worker = 0; worker < feed->port_count; worker++)
		deliver(feed, buffer, worker, news);
	feed->news += feed->port_count;
	feed_buffer_drop(&feed->buffers, buffer);
}

void feed_deliver_back(struct mr_feed *feed, struct mr_feed_delivery *delivery)
{
	struct feed_buffer *buffer = ((struct feed_delivery *)(void *)delivery)->buffer;

	if (delivery->what != MR_DELIVERY_ARRIVALS)
		feed->news--;
	feed_buffer_drop(&feed->buffers, buffer);
}

/* The first 'count' of the feed's items, to the workers that they were routed to. */
static void deliver_items(struct feed_connection *connection, uint32_t count)
{
	struct mr_feed *feed = connection->feed;
	struct feed_buffer *buffer = connection->receiving.buffer;
	struct mr_feed_arrival *next =
		(struct mr_feed_arrival *)(void *)(buffer->bytes + deliveries_bytes(feed));

	memset(feed->item_counts, 0, feed->port_count * sizeof(*feed->item_counts));
	for (uint32_t i = 0; i < count; i++)
		feed->item_counts[feed->item_routes[i]->worker]++;
	for (uint32_t worker = 0; worker < feed->port_count; worker++) {
		struct mr_feed_delivery what = {.what = MR_DELIVERY_ARRIVALS,
						.node = connection->peer->node,
						.connection = connection->number,
						.arrivals = next};

		if (!feed->item_counts[worker])
			continue;
		for (uint32_t i = 0; i < count; i++)
			if (feed->item_routes[i]->worker == worker)
				*next++ = (struct mr_feed_arrival){
					.owner = feed->item_routes[i]->owner,
					.item = feed->items[i]};
		what.count = feed->item_counts[worker];
		deliver(feed, buffer, worker, &what);
	}
}

/* ---- what a message holds ---- */

static int make_channels(struct feed_channels *theirs, uint32_t more_than, struct mr_error *err)
{
	uint32_t count = theirs->count ? theirs->count : CHANNELS_MIN, before = theirs->count;
	struct feed_channel *channels;
	struct mr_feed_term *terms;

	while (count <= more_than)
		count *= 2;
	channels = realloc(theirs->channels, count * sizeof(*channels));
	if (channels)
		theirs->channels = channels;
	terms = realloc(theirs->terms.of, count * sizeof(*terms));
	if (terms)
		theirs->terms.of = terms;
	if (!channels || !terms)
		return mr_error_set(err, -ENOMEM, "no memory for %u channels", count);
	memset(channels + before, 0, (count - before) * sizeof(*channels));
	memset(terms + before, 0, (count - before) * sizeof(*terms));
	theirs->count = theirs->terms.count = count;
	return 0;
}

static int open_channel(struct feed_channels *theirs, const struct mr_feed_item *item,
			struct mr_error *err)
{
	struct feed_channel *channel;
	int r = 0;

	if (item->channel >= theirs->count)
		r = make_channels(theirs, item->channel, err);
	if (r < 0)
		return r;
	channel = &theirs->channels[item->channel];
	if (channel->open)
		return mr_error_set(err, -EBADMSG, "feed message opens channel %u again",
				    item->channel);
	channel->key = feed_key(item->topic_id, item->partition);
	channel->open = true;
	return 0;
}

/* 1: it goes to *route; 0: to nobody. */
static int route_item(struct feed_connection *connection, const struct mr_feed_item *item,
		      struct feed_route **route, struct mr_error *err)
{
	const struct feed_channels *theirs = &connection->theirs;

	if (item->entry.kind == MR_FEED_OPEN)
		return open_channel(&connection->theirs, item, err);
	if (item->channel >= theirs->count || !theirs->channels[item->channel].open)
		return mr_error_set(err, -EBADMSG,
				    "feed message has an entry on channel %u, which is not open",
				    item->channel);
	*route = feed_table_find(&connection->feed->routes, &theirs->channels[item->channel].key);
	if (*route)
		return 1;
	connection->feed->unrouted++;
	return 0;
}

static void count_items(struct feed_figures *figures, const struct mr_feed_item *items,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct mr_feed_entry *entry = &items[i].entry;

		if (!mr_feed_has_batches(entry->kind))
			continue;
		feed_count(&figures->received_batch_bytes, entry->bytes);
		feed_count(&figures->received_plain_bytes, items[i].plain_bytes);
		feed_count(&figures->received_records, entry->end_offset - entry->offset);
	}
}

static int take_entries(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	struct mr_feed *feed = connection->feed;
	struct mr_feed_reader reader;
	uint32_t count = 0;
	int r = mr_feed_read(&reader, &receiving->header, receiving->body, receiving->body_bytes,
			     &connection->theirs.terms, err);

	if (r < 0)
		return r;
	while ((r = mr_feed_next(&reader, &feed->items[count], err)) > 0) {
		r = route_item(connection, &feed->items[count], &feed->item_routes[count], err);
		if (r < 0)
			return r;
		count += (uint32_t)r;
	}
	if (r < 0)
		return r;
	count_items(&connection->peer->figures, feed->items, count);
	deliver_items(connection, count);
	return 0;
}

static int take_notice(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	struct mr_feed_event event = {.kind = MR_FEED_EVENT_NOTICE,
				      .node = connection->peer->node,
				      .bytes = receiving->body_bytes};
	int r = mr_feed_decode_notice(&receiving->header, receiving->body, receiving->body_bytes,
				      err);

	if (r < 0)
		return r;
	event.text = malloc(event.bytes + 1);
	if (!event.text)
		return mr_error_set(err, -ENOMEM, "no memory for a notice");
	memcpy(event.text, receiving->body, event.bytes);
	event.text[event.bytes] = '\0';
	feed_tell(connection->feed, &event, connection->number);
	return 0;
}

/* That something came was noted with its bytes. */
static int take_alive(struct feed_connection *connection, struct mr_error *err)
{
	int r = mr_feed_decode_alive(&connection->receiving.header, err);

	if (r == 0 && !connection->watched)
		return mr_error_set(err, -EBADMSG, "a sign of life, which was not agreed on");
	return r;
}

static int take_hello(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	struct mr_feed_hello hello;
	int r = mr_feed_decode_hello(&receiving->header, receiving->body, receiving->body_bytes,
				     &hello, err);

	if (r < 0)
		return r;
	if (connection->stage != FEED_STAGE_HELLO)
		return mr_error_set(err, -EBADMSG, "a second hello");
	feed_connection_hello(connection, &hello);
	return 0;
}

static int take_refusal(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	struct mr_feed_refusal refusal;
	int r = mr_feed_decode_refusal(&receiving->header, receiving->body, receiving->body_bytes,
				       &refusal, err);

	if (r == 0)
		feed_connection_refused(connection, &refusal);
	return r;
}

/* It is whole. */
static int take_message(struct feed_connection *connection, struct mr_error *err)
{
	switch (connection->receiving.header.kind) {
	case MR_FEED_HELLO:
		return take_hello(connection, err);
	case MR_FEED_REFUSE:
		return take_refusal(connection, err);
	case MR_FEED_NOTICE:
		return take_notice(connection, err);
	case MR_FEED_ALIVE:
		return take_alive(connection, err);
	default:
		return take_entries(connection, err);
	}
}

/* ---- bytes ---- */

/* Messages as a whole, so that one is always let in that is longer than the share. */
bool feed_receive_full(const struct feed_connection *connection)
{
	if (connection->receiving.buffer || !connection->peer)
		return false;
	return connection->peer->share > FEED_SHARE_BYTES ||
	       atomic_load_explicit(&connection->feed->untaken, memory_order_relaxed) >
		       FEED_UNTAKEN_MAX;
}

/* The header is known: room for the rest. */
static int begin_body(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	size_t before = deliveries_bytes(connection->feed) +
			receiving->header.entry_count * sizeof(struct mr_feed_arrival);

	receiving->body_bytes = mr_feed_body_bytes(&receiving->header);
	receiving->buffer = feed_buffer_take(&connection->feed->buffers, connection->peer,
					     before + receiving->body_bytes);
	if (!receiving->buffer)
		return mr_error_set(err, -ENOMEM, "no memory for a message of %zu bytes",
				    receiving->body_bytes);
	receiving->body = receiving->buffer->bytes + before;
	receiving->have = 0;
	receiving->due_ns = connection->feed->now_ns + connection->feed->patience_ns +
			    receiving->body_bytes * FEED_SECOND_NS / FEED_BYTES_A_SECOND;
	return 0;
}

static void end_body(struct feed_connection *connection)
{
	struct feed_receiving *receiving = &connection->receiving;

	if (receiving->buffer)
		feed_buffer_drop(&connection->feed->buffers, receiving->buffer);
	receiving->buffer = NULL;
	receiving->due_ns = 0;
}

/* 1: there was a header; 0: not yet. */
static int take_header(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	uint8_t version = connection->stage == FEED_STAGE_UP ? connection->version : 0;
	int r = mr_feed_decode_header(receiving->staging + receiving->staged_at,
				      receiving->staged - receiving->staged_at, version,
				      &receiving->header, err);

	if (r == -EAGAIN) {
		if (receiving->staged > receiving->staged_at && !receiving->due_ns)
			receiving->due_ns =
				connection->feed->now_ns + connection->feed->patience_ns;
		return 0;
	}
	if (r < 0)
		return r;
	receiving->staged_at += mr_feed_header_bytes(&receiving->header);
	r = begin_body(connection, err);
	return r < 0 ? r : 1;
}

static void fill_from_staging(struct feed_receiving *receiving)
{
	size_t part = receiving->staged - receiving->staged_at;

	if (part > receiving->body_bytes - receiving->have)
		part = receiving->body_bytes - receiving->have;
	memcpy(receiving->body + receiving->have, receiving->staging + receiving->staged_at, part);
	receiving->have += part;
	receiving->staged_at += (uint32_t)part;
}

/* What was read ahead. 1: it got on; 0: more must come, or may not now. */
static int consume(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	int r;

	if (!receiving->buffer) {
		if (feed_receive_full(connection))
			return 0;
		r = take_header(connection, err);
		if (r <= 0)
			return r;
	}
	fill_from_staging(receiving);
	if (receiving->have < receiving->body_bytes)
		return 0;
	if (connection->peer)
		feed_count(&connection->peer->figures.received_messages, 1);
	r = take_message(connection, err);
	end_body(connection);
	return r < 0 ? r : 1;
}

/* From the connection, into the body if it is long, else into the staging area. */
static ssize_t read_more(struct feed_connection *connection, struct mr_error *err)
{
	struct feed_receiving *receiving = &connection->receiving;
	size_t missing = receiving->buffer ? receiving->body_bytes - receiving->have : 0;
	uint32_t kept = receiving->staged - receiving->staged_at;
	ssize_t got;

	if (missing >= FEED_STAGING_BYTES) {
		got = mr_link_receive(connection->link, receiving->body + receiving->have, missing,
				      err);
		receiving->have += got > 0 ? (size_t)got : 0;
		return got;
	}
	memmove(receiving->staging, receiving->staging + receiving->staged_at, kept);
	receiving->staged_at = 0;
	receiving->staged = kept;
	got = mr_link_receive(connection->link, receiving->staging + kept,
			      FEED_STAGING_BYTES - kept, err);
	receiving->staged += got > 0 ? (uint32_t)got : 0;
	return got;
}

/* As long as it is taking messages. */
static bool is_open(const struct feed_connection *connection)
{
	return connection->stage == FEED_STAGE_HELLO || connection->stage == FEED_STAGE_UP;
}

int feed_receive_turn(struct feed_connection *connection, struct mr_error *err)
{
	size_t turn = 0;
	int r = 0;

	while (turn < FEED_TURN_BYTES) {
		ssize_t got;

		do
			r = consume(connection, err);
		while (r > 0 && is_open(connection));
		if (r < 0)
			return r;
		connection->paused = feed_receive_full(connection);
		if (connection->paused || !is_open(connection))
			return turn > 0;
		got = read_more(connection, err);
		if (got == -EAGAIN) {
			connection->readable = false;
			return turn > 0;
		}
		if (got == 0)
			return mr_error_set(err, -ECONNRESET, "the other side closed it");
		if (got < 0)
			return (int)got;
		turn += (size_t)got;
		feed_connection_heard(connection);
		if (connection->peer)
			feed_count(&connection->peer->figures.received_bytes, (uint64_t)got);
		else
			connection->unclaimed_bytes += (uint64_t)got;
	}
	return 1;
}

int feed_receive_init(struct feed_connection *connection)
{
	connection->receiving.staging = malloc(FEED_STAGING_BYTES);
	return connection->receiving.staging ? 0 : -ENOMEM;
}

void feed_receive_deinit(struct feed_connection *connection)
{
	end_body(connection);
	free(connection->receiving.staging);
	free(connection->theirs.channels);
	free(connection->theirs.terms.of);
}
