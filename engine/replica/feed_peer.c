/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configured peer. Runs on the feed's thread.
 *
 * Of two nodes the one with the lower number connects, again and again, more seldom at first, at
 * times that are a little random, so that a host that comes back is not called by all at once; but
 * within about a second, since nothing may be acknowledged before it is back.
 *
 * Two engines that say they are the same node, or two connections of one engine, are twins. While a
 * connection stands, another one is let in only if it is of a later life of the same engine: then
 * the one that stands is dead and nobody noticed. An earlier life is never let in again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "check.h"
#include "feed_inside.h"

void feed_peer_init(struct mr_feed_peer *peer, const struct mr_feed_peer_options *options,
		    uint64_t now_ns)
{
	peer->node = options->node;
	peer->bytes_per_second = options->bytes_per_second;
	peer->tokens_ns = now_ns;
	peer->retry_ns = now_ns;
	peer->backoff_ns = FEED_BACKOFF_MIN_NS;
	peer->figures.since_ns = now_ns;
	snprintf(peer->name, sizeof(peer->name), "%s", options->name);
	snprintf(peer->address, sizeof(peer->address), "%s",
		 options->address ? options->address : "");
}

/* ---- connecting ---- */

/* Between half of it and one and a half. */
static uint64_t about(uint64_t ns)
{
	uint32_t random = 0;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK); /* else it is not random */
	return ns / 2 + ns * (random % 1024) / 1024;
}

static void retry_later(struct mr_feed_peer *peer, uint64_t now_ns)
{
	peer->retry_ns = now_ns + about(peer->backoff_ns);
	peer->backoff_ns *= 2;
	if (peer->backoff_ns > FEED_BACKOFF_MAX_NS)
		peer->backoff_ns = FEED_BACKOFF_MAX_NS;
}

void feed_peer_lost(struct mr_feed *feed, struct mr_feed_peer *peer, bool was_up)
{
	uint64_t since_ns = atomic_load_explicit(&peer->figures.since_ns, memory_order_relaxed);

	if (was_up) {
		if (feed->now_ns - since_ns > FEED_GOOD_NS)
			peer->backoff_ns = FEED_BACKOFF_MIN_NS;
		atomic_store_explicit(&peer->figures.connected, false, memory_order_relaxed);
		atomic_store_explicit(&peer->figures.since_ns, feed->now_ns, memory_order_relaxed);
		atomic_store_explicit(&peer->figures.rtt_us, 0, memory_order_relaxed);
		atomic_store_explicit(&peer->figures.watched, false, memory_order_relaxed);
	}
	retry_later(peer, feed->now_ns);
}

uint64_t feed_peer_connect(struct mr_feed *feed, struct mr_feed_peer *peer)
{
	struct mr_link *link;
	struct mr_error err;
	int r;

	if (peer->node < feed->hello.node || peer->connection || peer->attempt || feed->stopping ||
	    feed->news > FEED_NEWS_MAX)
		return UINT64_MAX;
	if (feed->now_ns < peer->retry_ns)
		return peer->retry_ns;
	r = mr_link_connect(peer->address, feed->trust, peer->name, &link, &err);
	if (r == 0) {
		r = feed_connection_new(feed, link, peer, &peer->attempt);
		if (r == 0)
			return UINT64_MAX;
		peer->attempt = NULL;
		mr_error_set(&err, r, "no memory for a connection");
	}
	feed_peer_refused(feed, peer, err.what);
	retry_later(peer, feed->now_ns);
	return peer->retry_ns;
}

/* ---- who it is ---- */

static int check_name(struct mr_feed *feed, const struct feed_connection *connection,
		      const struct mr_feed_hello *hello, struct mr_error *err)
{
	struct mr_feed_peer *peer = feed->by_node[hello->node];
	const char *certified = mr_link_peer(connection->link);

	if (hello->node == feed->hello.node)
		return mr_error_set(err, -EACCES,
				    "'%s' says that its number is %u, which is the number of '%s'",
				    hello->name, hello->node, feed->hello.name);
	if (!peer)
		return mr_error_set(err, -EACCES, "node %u ('%s') is no peer of '%s'", hello->node,
				    hello->name, feed->hello.name);
	if (strcmp(hello->name, peer->name) != 0)
		return mr_error_set(err, -EACCES,
				    "node %u says it is '%s', but '%s' knows it as '%s'",
				    hello->node, hello->name, feed->hello.name, peer->name);
	if (certified && strcmp(certified, peer->name) != 0)
		return mr_error_set(err, -EACCES, "node %u is '%s', but its certificate says '%s'",
				    hello->node, peer->name, certified);
	if (connection->ours && peer != connection->peer)
		return mr_error_set(err, -EACCES, "node %u ('%s') answers at the address of '%s'",
				    hello->node, hello->name, connection->peer->name);
	if (!connection->ours && hello->node > feed->hello.node)
		return mr_error_set(err, -EACCES,
				    "node %u ('%s') connects, but of two nodes the one with the "
				    "lower number does: node %u ('%s')",
				    hello->node, hello->name, feed->hello.node, feed->hello.name);
	return 0;
}

static int check_twin(struct mr_feed *feed, const struct mr_feed_peer *peer,
		      const struct mr_feed_hello *hello, struct mr_error *err)
{
	bool same_log =
		peer->known && memcmp(peer->log_id, hello->log_id, sizeof(peer->log_id)) == 0;

	if (same_log && hello->incarnation < peer->incarnation)
		return mr_error_set(err, -EACCES,
				    "incarnation %" PRIu64 " of '%s' is over: '%s' has seen "
				    "incarnation %" PRIu64,
				    hello->incarnation, peer->name, feed->hello.name,
				    peer->incarnation);
	if (!peer->connection)
		return 0;
	if (!same_log)
		return mr_error_set(err, -EACCES,
				    "another node %u ('%s') is connected, with another data "
				    "directory",
				    peer->node, peer->name);
	if (hello->incarnation == peer->incarnation)
		return mr_error_set(err, -EACCES,
				    "incarnation %" PRIu64 " of '%s' is connected already",
				    hello->incarnation, peer->name);
	return 0;
}

int feed_peer_check(struct mr_feed *feed, const struct feed_connection *connection,
		    const struct mr_feed_hello *hello, struct mr_error *err)
{
	if (memcmp(hello->cluster_id, feed->hello.cluster_id, sizeof(hello->cluster_id)) != 0) {
		mr_error_set(err, -EACCES, "'%s' is of another cluster than '%s'", hello->name,
			     feed->hello.name);
		return MR_FEED_REFUSED_CLUSTER;
	}
	if (check_name(feed, connection, hello, err) < 0)
		return MR_FEED_REFUSED_NODE;
	if (check_twin(feed, feed->by_node[hello->node], hello, err) < 0)
		return MR_FEED_REFUSED_TWIN;
	return 0;
}

void feed_peer_up(struct mr_feed *feed, struct mr_feed_peer *peer,
		  const struct mr_feed_hello *hello, uint8_t version)
{
	struct feed_figures *figures = &peer->figures;

	peer->known = true;
	peer->incarnation = hello->incarnation;
	memcpy(peer->log_id, hello->log_id, sizeof(peer->log_id));
	atomic_store_explicit(&figures->incarnation, hello->incarnation, memory_order_relaxed);
	atomic_store_explicit(&figures->version, version, memory_order_relaxed);
	atomic_store_explicit(&figures->since_ns, feed->now_ns, memory_order_relaxed);
	atomic_store_explicit(&figures->connected, true, memory_order_relaxed);
	peer->said[0] = '\0'; /* what comes next is news */
}

/* ---- for people ---- */

void feed_peer_say(struct mr_feed *feed, struct mr_feed_peer *peer, const char *security,
		   const char *error)
{
	pthread_mutex_lock(&feed->lock);
	if (security)
		snprintf(peer->security, sizeof(peer->security), "%s", security);
	if (error)
		snprintf(peer->last_error, sizeof(peer->last_error), "%s", error);
	pthread_mutex_unlock(&feed->lock);
}

/* Whoever they are, and whomever they claim to be, they do not fill control's mailbox. */
static bool may_tell(struct feed_told *told, uint64_t now_ns, uint32_t most)
{
	if (now_ns - told->since_ns >= FEED_SECOND_NS)
		*told = (struct feed_told){.since_ns = now_ns};
	return told->count++ < most;
}

void feed_peer_refused(struct mr_feed *feed, struct mr_feed_peer *peer, const char *why)
{
	char *said = peer ? peer->said : feed->said_of_strangers;

	if (peer)
		feed_peer_say(feed, peer, NULL, why);
	if (strncmp(said, why, FEED_SAID_BYTES - 1) == 0)
		return;
	if (!may_tell(peer ? &peer->told : &feed->told_of_strangers, feed->now_ns,
		      peer ? FEED_REASONS_MAX : 1))
		return; /* one that stays is told when it comes again */
	snprintf(said, FEED_SAID_BYTES, "%s", why);
	feed_tell_text(feed, MR_FEED_EVENT_REFUSED, peer ? peer->node : UINT32_MAX, why, 0);
}

/* It says something each second: a few that did not come are no chance. */
static bool is_silent(const struct mr_feed *feed, const struct feed_figures *figures)
{
	uint64_t heard_ns = atomic_load_explicit(&figures->heard_ns, memory_order_relaxed);
	uint64_t now_ns = mr_clock_monotonic_ns(feed->clock);

	return atomic_load_explicit(&figures->watched, memory_order_relaxed) && now_ns > heard_ns &&
	       now_ns - heard_ns > FEED_SIGNS_MISSING * (feed->patience_ns / FEED_SIGNS);
}

/* The control thread's. */
static void describe(struct mr_feed *feed, const struct mr_feed_peer *peer,
		     struct mr_feed_peer_status *out)
{
	const struct feed_figures *figures = &peer->figures;

	*out = (struct mr_feed_peer_status){
		.node = peer->node,
		.connected = atomic_load_explicit(&figures->connected, memory_order_relaxed),
		.incarnation = atomic_load_explicit(&figures->incarnation, memory_order_relaxed),
		.since_ns = atomic_load_explicit(&figures->since_ns, memory_order_relaxed),
		.version = atomic_load_explicit(&figures->version, memory_order_relaxed),
		.rtt_us = atomic_load_explicit(&figures->rtt_us, memory_order_relaxed),
		.heard_ns = atomic_load_explicit(&figures->heard_ns, memory_order_relaxed),
		.refused = atomic_load_explicit(&figures->refused, memory_order_relaxed),
		.silent = is_silent(feed, figures),
	};
	const struct {
		uint64_t *to;
		const _Atomic uint64_t *from;
	} sums[] = {
		{&out->sent_bytes, &figures->sent_bytes},
		{&out->received_bytes, &figures->received_bytes},
		{&out->sent_messages, &figures->sent_messages},
		{&out->received_messages, &figures->received_messages},
		{&out->sent_batch_bytes, &figures->sent_batch_bytes},
		{&out->received_batch_bytes, &figures->received_batch_bytes},
		{&out->sent_plain_bytes, &figures->sent_plain_bytes},
		{&out->received_plain_bytes, &figures->received_plain_bytes},
		{&out->sent_records, &figures->sent_records},
		{&out->received_records, &figures->received_records},
	};

	for (size_t i = 0; i < mr_array_count(sums); i++)
		*sums[i].to = atomic_load_explicit(sums[i].from, memory_order_relaxed);
	memcpy(out->name, peer->name, sizeof(out->name));
	memcpy(out->address, peer->address, sizeof(out->address));
	pthread_mutex_lock(&feed->lock);
	memcpy(out->security, peer->security, sizeof(out->security));
	memcpy(out->last_error, peer->last_error, sizeof(out->last_error));
	pthread_mutex_unlock(&feed->lock);
}

uint32_t mr_feed_peers(struct mr_feed *feed, struct mr_feed_peer_status *out, uint32_t max)
{
	uint32_t count = feed->peer_count < max ? feed->peer_count : max;

	for (uint32_t i = 0; i < count; i++)
		describe(feed, &feed->peers[i], &out[i]);
	return count;
}
