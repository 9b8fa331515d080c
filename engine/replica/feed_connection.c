/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection from its beginning to its end. Runs on the feed's thread; owns the link.
 *
 *	LINK ──► HELLO ──► UP ──► OVER
 *	   └───────┴───────┴──► LEAVING ──► OVER	a refusal is going out
 *
 * Who connected says hello first. Who was connected to looks at that, and answers with its own
 * hello or with a refusal: so nobody is up for a moment only because both do not know yet. Workers
 * hear CONNECTED before anything that came on the connection, and DISCONNECTED after all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "check.h"
#include "feed_inside.h"

/* ---- beginning ---- */

static void enlist(struct feed_connection *connection)
{
	struct mr_feed *feed = connection->feed;

	connection->next = feed->all;
	if (feed->all)
		feed->all->previous = connection;
	feed->all = connection;
}

int feed_connection_new(struct mr_feed *feed, struct mr_link *link, struct mr_feed_peer *peer,
			struct feed_connection **out)
{
	struct feed_connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		mr_link_close(link);
		return -ENOMEM;
	}
	*connection = (struct feed_connection){
		.feed = feed,
		.link = link,
		.peer = peer,
		.claimed = peer,
		.ours = peer != NULL,
		.fd = -1,
		.readable = true, /* until the first try says otherwise */
		.writable = true,
		.due_ns = feed->now_ns + feed->patience_ns,
	};
	enlist(connection);
	feed->strangers += !peer;
	*out = connection;
	if (feed_send_init(connection) == 0 && feed_receive_init(connection) == 0)
		return 0;
	connection->stage = FEED_STAGE_OVER; /* nobody was told of it */
	feed->strangers -= !peer;
	return -ENOMEM;
}

void feed_connection_free(struct feed_connection *connection)
{
	struct mr_feed *feed = connection->feed;

	mr_assert(connection->stage == FEED_STAGE_OVER);
	if (connection->next)
		connection->next->previous = connection->previous;
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		feed->all = connection->next;
	mr_link_close(connection->link);
	feed_send_deinit(connection);
	feed_receive_deinit(connection);
	free(connection);
}

/* ---- its end ---- */

static const char *whose(const struct feed_connection *connection)
{
	return connection->peer ? connection->peer->name : mr_link_address(connection->link);
}

/*
 * Nobody here has it any more: parcels come back, workers and control hear of it. 'more': something
 * is to be said on it yet; -ENOMEM: it cannot be.
 */
static int let_go(struct feed_connection *connection, const char *why, bool more)
{
	struct mr_feed *feed = connection->feed;
	struct mr_feed_peer *peer = connection->peer;
	bool was_up = connection->stage == FEED_STAGE_UP;
	int r = feed_send_clear(connection, more);

	if (!peer)
		feed->strangers -= connection->stage < FEED_STAGE_LEAVING;
	if (was_up) {
		struct mr_feed_delivery news = {.what = MR_DELIVERY_DISCONNECTED,
						.node = peer->node,
						.connection = connection->number};

		peer->connection = NULL;
		feed_deliver_news(feed, &news);
		feed_peer_say(feed, peer, "", why);
		feed_tell_text(feed, MR_FEED_EVENT_DISCONNECTED, peer->node, why,
			       connection->number);
	}
	if (peer && (was_up || peer->attempt == connection)) {
		if (peer->attempt == connection)
			peer->attempt = NULL;
		feed_peer_lost(feed, peer, was_up);
	}
	return r;
}

void feed_connection_end(struct feed_connection *connection, const char *why)
{
	if (connection->stage == FEED_STAGE_OVER)
		return;
	if (connection->stage < FEED_STAGE_UP)
		feed_peer_refused(connection->feed, connection->claimed, why);
	if (connection->stage < FEED_STAGE_LEAVING)
		(void)let_go(connection, why, false);
	connection->stage = FEED_STAGE_OVER;
}

void feed_connection_refuse(struct feed_connection *connection, enum mr_feed_refusal_code code,
			    const char *why)
{
	struct feed_sending *sending = &connection->sending;
	struct mr_feed *feed = connection->feed;
	bool was_up = connection->stage == FEED_STAGE_UP;

	if (connection->stage >= FEED_STAGE_LEAVING)
		return;
	if (connection->stage == FEED_STAGE_LINK) {
		feed_connection_end(connection, why);
		return;
	}
	if (!was_up)
		feed_peer_refused(feed, connection->claimed, why);
	if (connection->claimed)
		feed_count(&connection->claimed->figures.refused, 1);
	if (let_go(connection, why, true) < 0) {
		connection->stage = FEED_STAGE_OVER; /* half a message went out: no more can */
		return;
	}
	connection->stage = FEED_STAGE_LEAVING;
	connection->due_ns = feed->now_ns + FEED_GOODBYE_NS;
	feed_send_urgent(connection, mr_feed_encode_refusal(code, why, sending->urgent), true);
}

/* ---- the handshake ---- */

static void say_hello(struct feed_connection *connection)
{
	struct feed_sending *sending = &connection->sending;

	feed_send_urgent(connection,
			 mr_feed_encode_hello(&connection->feed->hello, sending->urgent), false);
}

static void come_up(struct feed_connection *connection, struct mr_feed_peer *peer,
		    const struct mr_feed_hello *hello, uint64_t capabilities)
{
	struct mr_feed *feed = connection->feed;
	struct mr_feed_delivery news = {.what = MR_DELIVERY_CONNECTED,
					.node = peer->node,
					.incarnation = hello->incarnation,
					.capabilities = capabilities};
	struct mr_feed_event event = {.kind = MR_FEED_EVENT_CONNECTED,
				      .node = peer->node,
				      .incarnation = hello->incarnation};

	if (!connection->peer) {
		feed->strangers--;
		feed_count(&peer->figures.received_bytes, connection->unclaimed_bytes);
		feed_count(&peer->figures.received_messages, 1);
	}
	connection->peer = peer;
	connection->number = news.connection = ++feed->last_number;
	connection->stage = FEED_STAGE_UP;
	connection->due_ns = 0;
	connection->watched = capabilities & MR_FEED_CAN_SAY_ALIVE;
	connection->said_ns = feed->now_ns;
	peer->attempt = connection->ours ? NULL : peer->attempt;
	peer->connection = connection;
	feed_peer_up(feed, peer, hello, connection->version);
	atomic_store_explicit(&peer->figures.watched, connection->watched, memory_order_relaxed);
	feed_connection_heard(connection);
	feed_peer_say(feed, peer, mr_link_security(connection->link), NULL);
	memcpy(event.log_id, hello->log_id, sizeof(event.log_id));
	feed_deliver_news(feed, &news);
	feed_tell(feed, &event, connection->number);
}

void feed_connection_hello(struct feed_connection *connection, const struct mr_feed_hello *hello)
{
	struct mr_feed *feed = connection->feed;
	struct mr_feed_peer *peer = feed->by_node[hello->node];
	struct mr_error err;
	uint64_t capabilities;
	int code;

	if (peer)
		connection->claimed = peer;
	code = feed_peer_check(feed, connection, hello, &err);
	if (code == 0 &&
	    mr_feed_agree(&feed->hello, hello, &connection->version, &capabilities, &err) < 0)
		code = MR_FEED_REFUSED_VERSION;
	if (code != 0) {
		feed_connection_refuse(connection, code, err.what);
		return;
	}
	if (peer->connection)
		feed_connection_end(peer->connection, "it came back with a newer incarnation");
	if (!connection->ours)
		say_hello(connection);
	come_up(connection, peer, hello, capabilities);
}

void feed_connection_refused(struct feed_connection *connection,
			     const struct mr_feed_refusal *refusal)
{
	char why[MR_FEED_SENTENCE_MAX + MR_LINK_ADDRESS_MAX + 32];

	snprintf(why, sizeof(why), "'%s' refuses: %s", whose(connection), refusal->sentence);
	if (connection->peer)
		feed_count(&connection->peer->figures.refused, 1);
	feed_connection_end(connection, why);
}

/* ---- what it can do now ---- */

static bool step(struct feed_connection *connection)
{
	struct mr_error err;
	int r = mr_link_step(connection->link, &err);

	connection->readable = connection->writable = false; /* until it wants again */
	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		feed_connection_end(connection, err.what);
		return true;
	}
	connection->stage = FEED_STAGE_HELLO;
	connection->readable = connection->writable = true;
	if (connection->ours)
		say_hello(connection);
	return true;
}

static bool receive(struct feed_connection *connection)
{
	struct mr_error err;
	int r = feed_receive_turn(connection, &err);

	if (r >= 0)
		return r > 0;
	if (r == -EBADMSG)
		feed_connection_refuse(connection, MR_FEED_REFUSED_MESSAGE, err.what);
	else
		feed_connection_end(connection, err.what);
	return true;
}

static bool send_out(struct feed_connection *connection)
{
	struct mr_error err;
	int r = feed_send_turn(connection, &err);

	if (r < 0 && connection->stage != FEED_STAGE_LEAVING)
		(void)receive(connection); /* it may have said why, and that comes first */
	if (r < 0)
		feed_connection_end(connection, err.what);
	else if (connection->stage == FEED_STAGE_LEAVING && feed_send_idle(connection))
		connection->stage = FEED_STAGE_OVER;
	return r != 0;
}

/* What epoll is to look for, and where. */
static void ask_epoll(struct feed_connection *connection)
{
	int fd = mr_link_fd(connection->link), epoll_fd = connection->feed->epoll_fd;
	struct epoll_event event = {.events = mr_link_wants(connection->link),
				    .data.ptr = connection};
	int r = 0;

	if (connection->stage == FEED_STAGE_LEAVING)
		event.events = EPOLLOUT;
	if (connection->paused)
		event.events &= ~(uint32_t)EPOLLIN;
	if (fd == connection->fd && event.events == connection->events)
		return;
	if (fd != connection->fd)
		r = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	if (fd == connection->fd || (r < 0 && errno == EEXIST))
		r = epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	connection->fd = fd;
	connection->events = event.events;
	if (r < 0)
		feed_connection_end(connection, "epoll does not take its socket");
}

static void unpause(struct feed_connection *connection)
{
	struct feed_receiving *receiving = &connection->receiving;

	if (!connection->paused || feed_receive_full(connection))
		return;
	connection->paused = false;
	connection->readable = true;
	connection->heard_ns = connection->feed->now_ns; /* nobody listened */
	if (receiving->due_ns)				 /* it could not come on */
		receiving->due_ns = connection->feed->now_ns + connection->feed->patience_ns;
}

bool feed_connection_serve(struct feed_connection *connection)
{
	bool did = false;

	if (connection->stage == FEED_STAGE_LINK && (connection->readable || connection->writable))
		did = step(connection);
	unpause(connection);
	if (connection->hung_up && connection->paused)
		feed_connection_end(connection, "the connection was reset");
	if ((connection->stage == FEED_STAGE_HELLO || connection->stage == FEED_STAGE_UP) &&
	    connection->readable && !connection->paused)
		did |= receive(connection);
	if (connection->stage > FEED_STAGE_LINK && connection->stage < FEED_STAGE_OVER &&
	    connection->writable)
		did |= send_out(connection);
	if (connection->stage != FEED_STAGE_OVER)
		ask_epoll(connection);
	return did;
}

/* ---- time ---- */

void feed_connection_heard(struct feed_connection *connection)
{
	connection->heard_ns = connection->feed->now_ns;
	if (connection->stage == FEED_STAGE_UP)
		atomic_store_explicit(&connection->peer->figures.heard_ns, connection->heard_ns,
				      memory_order_relaxed); /* a number for people */
}

/* When a peer that says nothing is given up; 0: TCP says when it is gone (link.h). */
static uint64_t silent_ns(const struct feed_connection *connection)
{
	if (!connection->watched || connection->stage != FEED_STAGE_UP || connection->paused)
		return 0;
	return connection->heard_ns + connection->feed->patience_ns;
}

/* It may have been this host that was stopped: what came meanwhile is looked at first. */
static void refuse_silent(struct feed_connection *connection)
{
	const struct mr_feed *feed = connection->feed;
	char why[2 * MR_FEED_NAME_MAX + 64];

	(void)receive(connection);
	if (!silent_ns(connection) || feed->now_ns < silent_ns(connection))
		return;
	snprintf(why, sizeof(why), "'%s' heard nothing from '%s' for %.1f s", feed->hello.name,
		 connection->peer->name, (double)feed->patience_ns / (double)FEED_SECOND_NS);
	feed_connection_refuse(connection, MR_FEED_REFUSED_SILENT, why);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return b && b < a ? b : a;
}

uint64_t feed_connection_time(struct feed_connection *connection)
{
	uint64_t now_ns = connection->feed->now_ns;
	uint64_t message_ns = connection->paused ? 0 : connection->receiving.due_ns;
	uint64_t silence_ns = silent_ns(connection);
	uint64_t next_ns = sooner(UINT64_MAX, connection->due_ns);

	next_ns = sooner(next_ns, message_ns);
	next_ns = sooner(next_ns, connection->stuck_ns);
	next_ns = sooner(next_ns, silence_ns);
	if (now_ns < next_ns) {
		if (connection->stage != FEED_STAGE_UP)
			return next_ns;
		next_ns = sooner(next_ns, feed_send_next_ns(connection));
		return sooner(next_ns, feed_send_sign_ns(connection));
	}
	if (connection->stage == FEED_STAGE_LEAVING)
		connection->stage = FEED_STAGE_OVER;
	else if (message_ns && now_ns >= message_ns)
		feed_connection_refuse(connection, MR_FEED_REFUSED_MESSAGE,
				       "a message did not come to its end in time");
	else if (silence_ns && now_ns >= silence_ns)
		refuse_silent(connection);
	else if (connection->stuck_ns && now_ns >= connection->stuck_ns)
		feed_connection_end(connection, "it takes nothing any more");
	else if (connection->stage == FEED_STAGE_LINK)
		feed_connection_end(connection, "no connection in time");
	else
		feed_connection_refuse(connection, MR_FEED_REFUSED_MESSAGE, "no hello in time");
	return now_ns;
}
