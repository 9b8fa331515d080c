/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's thread, and what the control thread asks of it (feed.h; feed_inside.h says which file
 * does what).
 *
 * The thread goes round: what control and workers sent, what the catch-up reader read, what each
 * connection can do now, what is due. It sleeps only after a turn that found nothing to do, and
 * is woken by a mailbox's bell, a socket, or the clock.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "feed_inside.h"

#define EVENTS_MAX	64
#define ACCEPTS_MAX	16		    /* a turn */
#define MAILS_MAX	4096		    /* of a worker a turn */
#define LATER_NS	FEED_MILLISECOND_NS /* what found no room is tried again */
#define FIGURES_NS	FEED_SECOND_NS
#define LISTEN_AGAIN_NS (100 * FEED_MILLISECOND_NS)

/* ---- telling the control thread ---- */

void feed_tell(struct mr_feed *feed, const struct mr_feed_event *event, uint64_t connection)
{
	struct feed_event *told = malloc(sizeof(*told));

	mr_assert(told); /* a few bytes: it must know, so there is no going on without */
	*told = (struct feed_event){.event = *event, .connection = connection};
	atomic_fetch_add_explicit(&feed->untaken, event->bytes, memory_order_relaxed);
	feed_way_send(&feed->events, &told->mail);
}

void feed_tell_text(struct mr_feed *feed, enum mr_feed_event_kind kind, uint32_t node,
		    const char *text, uint64_t connection)
{
	struct mr_feed_event event = {.kind = kind, .node = node, .text = strdup(text)};

	event.bytes = event.text ? strlen(event.text) : 0;
	feed_tell(feed, &event, connection);
}

/* ---- what control asks for ---- */

static void route(struct mr_feed *feed, struct feed_route *wanted)
{
	struct feed_route *present = feed_table_find(&feed->routes, &wanted->key);
	int r = 0;

	if (present) {
		present->worker = wanted->worker;
		present->owner = wanted->owner;
		free(wanted);
		return;
	}
	r = feed_table_add(&feed->routes, &wanted->key);
	mr_assert(r == 0); /* a few bytes a partition */
}

static void take_mail(struct mr_feed *feed, struct mr_feed_mail *mail)
{
	if (mail->kind == MR_MAIL_PARCEL)
		feed_send_parcel(feed, (struct mr_feed_parcel *)(void *)mail);
	else
		feed_deliver_back(feed, (struct mr_feed_delivery *)(void *)mail);
}

static bool take_mails(struct mr_feed *feed, uint32_t most)
{
	bool did = false;

	for (uint32_t i = 0; i < feed->port_count; i++) {
		struct mr_mailbox *box = feed->ports[i].to_feed.box;
		struct mr_feed_mail *mail;

		for (uint32_t n = 0; n < most && (mail = mr_mailbox_receive(box)); n++) {
			take_mail(feed, mail);
			did = true;
		}
	}
	return did;
}

static void unroute(struct mr_feed *feed, struct feed_request *request)
{
	struct mr_feed_event event = {.kind = MR_FEED_EVENT_UNROUTED,
				      .partition = request->key.partition};
	struct feed_connection *connection;
	struct feed_event *told = malloc(sizeof(*told));

	(void)take_mails(feed, UINT32_MAX); /* what was sent before this was asked */
	for (connection = feed->all; connection; connection = connection->next)
		if (feed_send_purge(connection, &request->key) < 0)
			feed_connection_end(connection, "no memory for the rest of a message");
	free(feed_table_remove(&feed->routes, &request->key));
	mr_assert(told);
	memcpy(event.topic_id, request->key.topic_id, sizeof(event.topic_id));
	*told = (struct feed_event){.event = event};
	feed_list_add(&feed->held, &told->mail);
}

static void spread_notice(struct mr_feed *feed, const struct feed_request *request)
{
	request->notice->references++;
	for (uint32_t i = 0; i < feed->peer_count; i++) {
		struct feed_connection *connection = feed->peers[i].connection;

		if (!connection || connection->number != request->connections[feed->peers[i].node])
			continue;
		if (feed_send_notice(connection, request->notice) < 0)
			feed_connection_end(connection, "it leaves too many notices unread");
	}
	feed_notice_drop(request->notice);
}

static void stop(struct mr_feed *feed)
{
	char why[MR_FEED_NAME_MAX + 16];

	feed->stopping = true;
	feed->stop_ns = feed->now_ns + FEED_GOODBYE_NS;
	snprintf(why, sizeof(why), "'%s' stops", feed->hello.name);
	for (struct feed_connection *connection = feed->all; connection;
	     connection = connection->next)
		feed_connection_refuse(connection, MR_FEED_REFUSED_STOPPING, why);
}

static void carry_out(struct mr_feed *feed, struct feed_request *request)
{
	switch (request->kind) {
	case FEED_REQUEST_ROUTE:
		route(feed, request->route);
		break;
	case FEED_REQUEST_UNROUTE:
		unroute(feed, request);
		break;
	case FEED_REQUEST_NOTICE:
		spread_notice(feed, request);
		break;
	case FEED_REQUEST_STOP:
		stop(feed);
		break;
	}
	free(request);
}

static bool take_requests(struct mr_feed *feed)
{
	struct feed_request *request;
	bool did = false;

	while ((request = mr_mailbox_receive(feed->requests.box))) {
		carry_out(feed, request);
		did = true;
	}
	return did;
}

/* ---- the other parts of a turn ---- */

static bool take_readings(struct mr_feed *feed)
{
	struct mr_catchup_request *request;
	bool did = false;

	while (feed->catchup && (request = mr_catchup_take(feed->catchup))) {
		feed_read_back(request->owner);
		did = true;
	}
	return did;
}

/* The one that has waited longest for somebody's hello makes room for another. */
static void end_oldest_stranger(struct mr_feed *feed)
{
	struct feed_connection *oldest = NULL;

	for (struct feed_connection *connection = feed->all; connection;
	     connection = connection->next)
		if (!connection->peer && connection->stage < FEED_STAGE_UP)
			oldest = connection; /* new ones come first in the list */
	if (oldest)
		feed_connection_end(oldest, "too many connections that say no hello");
}

static void accept_one(struct mr_feed *feed, int fd)
{
	struct feed_connection *connection;
	struct mr_link *link;
	struct mr_error err;

	if (feed->news > FEED_NEWS_MAX) { /* workers hear of none until they heard of others */
		(void)close(fd);	  /* it comes again */
		return;
	}
	if (feed->strangers >= FEED_STRANGERS_MAX)
		end_oldest_stranger(feed);
	if (mr_link_accept(fd, feed->trust, &link, &err) < 0)
		return; /* it is gone already, and was nobody yet */
	(void)feed_connection_new(feed, link, NULL, &connection); /* no memory: it comes again */
}

static bool accept_all(struct mr_feed *feed)
{
	bool did = false;

	for (int i = 0; feed->listen_ready && i < ACCEPTS_MAX; i++) {
		int fd = accept4(feed->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		feed->listen_ready = fd >= 0;
		if (fd < 0) {
			if (errno != EAGAIN) /* no descriptor, no memory: it has to wait */
				feed->listen_ns = feed->now_ns + LISTEN_AGAIN_NS;
			break;
		}
		accept_one(feed, fd);
		did = true;
	}
	return did;
}

static bool serve_connections(struct mr_feed *feed)
{
	bool did = false;

	for (struct feed_connection *connection = feed->all; connection;
	     connection = connection->next)
		did |= feed_connection_serve(connection);
	return did;
}

/* What is over is freed only here: nobody has hold of it. */
static void sweep(struct mr_feed *feed)
{
	struct feed_connection *connection = feed->all;

	while (connection) {
		struct feed_connection *next = connection->next;

		if (connection->stage == FEED_STAGE_OVER)
			feed_connection_free(connection);
		connection = next;
	}
}

/* What found no room in a mailbox. False: some of it still waits. */
static bool push(struct mr_feed *feed)
{
	bool all = true;

	for (uint32_t i = 0; i < feed->port_count; i++)
		all &= feed_way_push(&feed->ports[i].to_worker);
	if (all) { /* a worker's mailbox has all that came before it was unrouted */
		struct mr_feed_mail *mail;

		while ((mail = feed_list_take(&feed->held)))
			feed_way_send(&feed->events, mail);
	}
	return feed_way_push(&feed->events) && all;
}

static void note_figures(struct mr_feed *feed)
{
	if (feed->now_ns - feed->figures_ns < FIGURES_NS)
		return;
	feed->figures_ns = feed->now_ns;
	for (uint32_t i = 0; i < feed->peer_count; i++) {
		struct mr_feed_peer *peer = &feed->peers[i];

		if (peer->connection)
			atomic_store_explicit(&peer->figures.rtt_us,
					      mr_link_rtt_us(peer->connection->link),
					      memory_order_relaxed);
	}
}

/* What is due; returns when to look again. */
static uint64_t keep_time(struct mr_feed *feed)
{
	uint64_t next_ns = UINT64_MAX;

	note_figures(feed);
	for (uint32_t i = 0; i < feed->peer_count; i++) {
		uint64_t at_ns = feed_peer_connect(feed, &feed->peers[i]);

		next_ns = at_ns < next_ns ? at_ns : next_ns;
	}
	for (struct feed_connection *connection = feed->all; connection;
	     connection = connection->next) {
		uint64_t at_ns = feed_connection_time(connection);

		next_ns = at_ns < next_ns ? at_ns : next_ns;
		if (connection->stage == FEED_STAGE_OVER ||
		    (connection->stage == FEED_STAGE_LINK && connection->fd < 0))
			next_ns = feed->now_ns; /* new, or to be swept */
		if (connection->paused && feed->now_ns + 10 * LATER_NS < next_ns)
			next_ns = feed->now_ns + 10 * LATER_NS; /* control rings no bell for it */
	}
	if (feed->stopping && feed->stop_ns < next_ns)
		next_ns = feed->stop_ns;
	if (feed->listen_ns && feed->now_ns >= feed->listen_ns) {
		feed->listen_ready = true;
		feed->listen_ns = 0;
		next_ns = feed->now_ns;
	} else if (feed->listen_ns && feed->listen_ns < next_ns) {
		next_ns = feed->listen_ns;
	}
	return next_ns;
}

/* Whether something waits until workers have given deliveries back. */
static bool awaits_deliveries(const struct mr_feed *feed)
{
	for (const struct feed_connection *connection = feed->all; connection;
	     connection = connection->next)
		if (connection->paused)
			return true;
	return feed->news > FEED_NEWS_MAX;
}

/* Goes through all mailboxes; false: one has something. */
static bool sleep_on_mailboxes(struct mr_feed *feed)
{
	bool empty = mr_mailbox_sleep(feed->requests.box), all = awaits_deliveries(feed);

	for (uint32_t i = 0; i < feed->port_count; i++) {
		struct mr_mailbox *box = feed->ports[i].to_feed.box;

		empty &= all ? mr_mailbox_sleep(box) : mr_mailbox_sleep_deeply(box);
	}
	if (feed->catchup)
		empty &= mr_catchup_sleep(feed->catchup);
	return empty;
}

static void wake_mailboxes(struct mr_feed *feed)
{
	mr_mailbox_wake(feed->requests.box);
	for (uint32_t i = 0; i < feed->port_count; i++)
		mr_mailbox_wake(feed->ports[i].to_feed.box);
	if (feed->catchup)
		mr_catchup_wake(feed->catchup);
}

static int wait_ms(const struct mr_feed *feed, uint64_t until_ns)
{
	uint64_t ns = until_ns > feed->now_ns ? until_ns - feed->now_ns : 0;

	if (ns > 10 * FEED_SECOND_NS)
		ns = 10 * FEED_SECOND_NS;
	return (int)((ns + FEED_MILLISECOND_NS - 1) / FEED_MILLISECOND_NS);
}

static void note_event(struct mr_feed *feed, const struct epoll_event *event)
{
	struct feed_connection *connection = event->data.ptr;
	bool over = event->events & (EPOLLERR | EPOLLHUP);

	if (event->data.ptr == feed) {
		feed->listen_ready = true;
	} else if (connection) {
		connection->readable |= over || event->events & EPOLLIN;
		connection->writable |= over || event->events & EPOLLOUT;
		connection->hung_up |= over;
	} /* else a mailbox, which is looked into anyway */
}

/* Until 'until_ns', or anything happens. With 'until_ns' in the past it only looks. */
static void wait_for_events(struct mr_feed *feed, uint64_t until_ns)
{
	struct epoll_event events[EVENTS_MAX];
	int count, timeout_ms = 0;

	bool sleeps = until_ns > feed->now_ns;

	if (sleeps && sleep_on_mailboxes(feed))
		timeout_ms = wait_ms(feed, until_ns);
	count = epoll_wait(feed->epoll_fd, events, EVENTS_MAX, timeout_ms);
	if (sleeps)
		wake_mailboxes(feed);
	for (int i = 0; i < count; i++)
		note_event(feed, &events[i]);
}

static bool turn(struct mr_feed *feed)
{
	bool did = take_requests(feed);

	did |= take_mails(feed, MAILS_MAX);
	did |= take_readings(feed);
	did |= accept_all(feed);
	did |= serve_connections(feed);
	return did;
}

/* Whether nothing is left to be said, or it took too long. */
static bool is_stopped(const struct mr_feed *feed)
{
	return feed->stopping && (!feed->all || feed->now_ns >= feed->stop_ns);
}

static void end_all(struct mr_feed *feed)
{
	for (struct feed_connection *connection = feed->all; connection;
	     connection = connection->next)
		feed_connection_end(connection, "the engine ends");
	sweep(feed);
	mr_assert(!feed->all);
}

static void *run(void *arg)
{
	struct mr_feed *feed = arg;

	(void)pthread_setname_np(pthread_self(), "feed"); /* for people only */
	(void)mr_place_bind_thread(&feed->place, NULL);	  /* a wish, no need */
	while (!is_stopped(feed)) {
		uint64_t until_ns;
		bool did;

		feed->now_ns = mr_clock_monotonic_ns(feed->clock);
		did = turn(feed);
		until_ns = keep_time(feed);
		if (!push(feed) && until_ns > feed->now_ns + LATER_NS)
			until_ns = feed->now_ns + LATER_NS;
		wait_for_events(feed, did ? feed->now_ns : until_ns);
		sweep(feed);
	}
	end_all(feed);
	return NULL;
}

/* ---- start and stop ---------------------------------------------------------------------------
 */

static int check_options(const struct mr_feed_options *options, struct mr_error *err)
{
	uint64_t seen = UINT64_C(1) << options->node;

	mr_assert(options->node < MR_NODES_MAX);
	mr_assert(mr_feed_name_fits(options->name));
	for (uint32_t i = 0; i < options->peer_count; i++) {
		const struct mr_feed_peer_options *peer = &options->peers[i];
		int r = 0;

		if (peer->node >= MR_NODES_MAX || seen >> peer->node & 1)
			return mr_error_set(err, -EINVAL,
					    "peer '%s' has number %u, which is beyond %u or "
					    "another node's",
					    peer->name, peer->node, MR_NODES_MAX - 1);
		if (!mr_feed_name_fits(peer->name))
			return mr_error_set(err, -EINVAL,
					    "the name of node %u is no name: 1 to %u printable "
					    "ASCII characters",
					    peer->node, MR_FEED_NAME_MAX);
		if (peer->node > options->node) /* to this one it connects */
			r = mr_link_check_address(peer->address ? peer->address : "", err);
		if (r < 0)
			return r;
		seen |= UINT64_C(1) << peer->node;
	}
	return 0;
}

static int make_peers(struct mr_feed *feed, const struct mr_feed_options *options)
{
	feed->peers = calloc(options->peer_count + 1, sizeof(*feed->peers));
	if (!feed->peers)
		return -ENOMEM;
	feed->peer_count = options->peer_count;
	for (uint32_t i = 0; i < options->peer_count; i++) {
		feed_peer_init(&feed->peers[i], &options->peers[i], feed->now_ns);
		feed->by_node[feed->peers[i].node] = &feed->peers[i];
	}
	return 0;
}

static void make_hello(struct mr_feed *feed, const struct mr_feed_options *options)
{
	struct mr_feed_hello *hello = &feed->hello;

	*hello = (struct mr_feed_hello){
		.version_min = MR_FEED_VERSION_OLDEST,
		.version_max = MR_FEED_VERSION,
		.node = options->node,
		.incarnation = options->incarnation,
		.capabilities = FEED_CAPABILITIES,
	};
	if (options->version_max)
		hello->version_max = (uint8_t)options->version_max;
	memcpy(hello->cluster_id, options->cluster_id, sizeof(hello->cluster_id));
	memcpy(hello->log_id, options->log_id, sizeof(hello->log_id));
	snprintf(hello->name, sizeof(hello->name), "%s", options->name);
}

static int open_ports(struct mr_feed *feed, uint32_t count, struct mr_error *err)
{
	int r = feed_way_open(&feed->requests, MR_MAILBOX_BELL_IF_ASLEEP, err);

	if (r == 0)
		r = feed_way_open(&feed->events, MR_MAILBOX_BELL_IF_ASLEEP, err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		struct mr_feed_port *port = &feed->ports[i];

		port->worker = i;
		feed->port_count = i + 1;
		r = feed_way_open(&port->to_feed, MR_MAILBOX_BELL_IF_ASLEEP, err);
		if (r == 0)
			r = feed_way_open(&port->to_worker, MR_MAILBOX_BELL_IF_ASLEEP, err);
	}
	return r;
}

static int allocate(struct mr_feed *feed, const struct mr_feed_options *options)
{
	uint32_t items = MR_FEED_ENTRIES_MAX + 1;

	feed->ports = calloc(options->worker_count + 1, sizeof(*feed->ports));
	feed->items = calloc(items, sizeof(*feed->items));
	feed->item_routes = calloc(items, sizeof(struct feed_route *));
	feed->item_counts = calloc(options->worker_count + 1, sizeof(*feed->item_counts));
	if (!feed->ports || !feed->items || !feed->item_routes || !feed->item_counts)
		return -ENOMEM;
	return make_peers(feed, options);
}

static int watch(struct mr_feed *feed, int fd, uint32_t events, void *what)
{
	struct epoll_event event = {.events = events, .data.ptr = what};

	return epoll_ctl(feed->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int watch_all(struct mr_feed *feed, struct mr_error *err)
{
	int r = 0;

	feed->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (feed->epoll_fd < 0)
		return mr_error_set(err, -errno, "cannot make the feed's epoll");
	r = watch(feed, mr_mailbox_fd(feed->requests.box), EPOLLIN, NULL);
	for (uint32_t i = 0; r == 0 && i < feed->port_count; i++)
		r = watch(feed, mr_mailbox_fd(feed->ports[i].to_feed.box), EPOLLIN, NULL);
	if (r == 0 && feed->catchup)
		r = watch(feed, mr_catchup_fd(feed->catchup), EPOLLIN, NULL);
	if (r == 0 && feed->listen_fd >= 0)
		r = watch(feed, feed->listen_fd, EPOLLIN | EPOLLET, feed);
	return r < 0 ? mr_error_set(err, r, "cannot fill the feed's epoll") : 0;
}

static int listen_at(struct mr_feed *feed, const char *address, struct mr_error *err)
{
	struct sockaddr_storage own;
	socklen_t bytes = sizeof(own);

	if (!address)
		return 0;
	feed->listen_fd = mr_link_listen(address, err);
	if (feed->listen_fd < 0)
		return feed->listen_fd;
	if (getsockname(feed->listen_fd, (struct sockaddr *)&own, &bytes) < 0)
		return mr_error_set(err, -errno, "cannot ask where the feed listens");
	feed->listens_at =
		ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
						: ((struct sockaddr_in *)&own)->sin_port);
	return 0;
}

static int start_thread(struct mr_feed *feed, struct mr_error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&feed->thread, NULL, run, feed);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r < 0 ? mr_error_set(err, r, "cannot start the feed's thread") : 0;
}

/* What nobody took any more. */
static void forget(struct mr_feed *feed)
{
	struct feed_request *request;
	struct feed_route *route;
	struct mr_feed_mail *mail;

	while (feed->requests.box && (feed_way_push(&feed->requests), true) &&
	       (request = mr_mailbox_receive(feed->requests.box))) {
		free(request->route);
		free(request->notice);
		free(request);
	}
	while ((mail = feed_list_take(&feed->held)))
		feed_way_send(&feed->events, mail);
	while (feed->events.box) {
		struct mr_feed_event event;

		(void)feed_way_push(&feed->events);
		event = mr_feed_take(feed);
		if (event.kind == MR_FEED_EVENT_NOTHING)
			break;
		free(event.text);
	}
	while ((route = feed_table_any(&feed->routes)))
		free(feed_table_remove(&feed->routes, &route->key));
	feed_table_deinit(&feed->routes);
}

/* After its thread, or without one. */
static void feed_free(struct mr_feed *feed)
{
	forget(feed);
	mr_catchup_stop(feed->catchup);
	feed_readings_free(feed);
	for (uint32_t i = 0; i < feed->port_count; i++) {
		feed_way_close(&feed->ports[i].to_feed);
		feed_way_close(&feed->ports[i].to_worker);
	}
	feed_way_close(&feed->requests);
	feed_way_close(&feed->events);
	feed_buffers_deinit(&feed->buffers);
	if (feed->listen_fd >= 0)
		(void)close(feed->listen_fd); /* it holds nothing */
	if (feed->epoll_fd >= 0)
		(void)close(feed->epoll_fd); /* nor does this */
	mr_link_trust_close(feed->trust);
	pthread_mutex_destroy(&feed->lock);
	free(feed->peers);
	free(feed->ports);
	free(feed->items);
	free(feed->item_routes);
	free(feed->item_counts);
	free(feed);
}

int mr_feed_start(const struct mr_feed_options *options, struct mr_feed **out, struct mr_error *err)
{
	struct mr_feed *feed = calloc(1, sizeof(*feed));
	int r;

	if (!feed) {
		mr_link_trust_close(options->trust);
		return mr_error_set(err, -ENOMEM, "no memory for the feed");
	}
	feed->place = *options->place;
	feed->clock = options->clock;
	feed->trust = options->trust;
	feed->listen_fd = feed->epoll_fd = -1;
	feed->patience_ns = options->patience_ns ? options->patience_ns : FEED_PATIENCE_NS;
	feed->now_ns = mr_clock_monotonic_ns(feed->clock);
	pthread_mutex_init(&feed->lock, NULL);
	r = check_options(options, err);
	if (r == 0 && allocate(feed, options) < 0)
		r = mr_error_set(err, -ENOMEM, "no memory for the feed");
	if (r == 0)
		r = open_ports(feed, options->worker_count, err);
	if (r == 0 && options->io)
		r = mr_catchup_start(options->place, options->io,
				     options->catch_up_bytes_per_second, &feed->catchup, err);
	if (r == 0)
		r = listen_at(feed, options->listen, err);
	if (r == 0)
		r = watch_all(feed, err);
	if (r < 0)
		goto fail;
	make_hello(feed, options);
	r = start_thread(feed, err);
	if (r < 0)
		goto fail;
	*out = feed;
	return 0;
fail:
	feed_free(feed);
	return r;
}

/* ---- the control thread's ----------------------------------------------------------------------
 */

static int ask(struct mr_feed *feed, const struct feed_request *wanted)
{
	struct feed_request *request = malloc(sizeof(*request));

	if (!request)
		return -ENOMEM;
	*request = *wanted;
	feed_way_send(&feed->requests, &request->mail);
	return 0;
}

int mr_feed_route(struct mr_feed *feed, const uint8_t topic_id[16], int32_t partition,
		  uint32_t worker, void *owner)
{
	struct feed_request request = {.kind = FEED_REQUEST_ROUTE};
	int r;

	mr_assert(worker < feed->port_count);
	request.route = malloc(sizeof(*request.route));
	if (!request.route)
		return -ENOMEM;
	*request.route = (struct feed_route){
		.key = feed_key(topic_id, partition), .worker = worker, .owner = owner};
	r = ask(feed, &request);
	if (r < 0)
		free(request.route);
	return r;
}

int mr_feed_unroute(struct mr_feed *feed, const uint8_t topic_id[16], int32_t partition)
{
	struct feed_request request = {.kind = FEED_REQUEST_UNROUTE,
				       .key = feed_key(topic_id, partition)};

	return ask(feed, &request);
}

int mr_feed_notify(struct mr_feed *feed, int32_t node, const char *text, size_t bytes)
{
	struct feed_request request = {.kind = FEED_REQUEST_NOTICE};
	bool any = false;
	int r;

	mr_assert(node < MR_NODES_MAX);
	if (bytes == 0 || bytes > MR_FEED_NOTICE_MAX)
		return -EMSGSIZE;
	for (int32_t i = 0; i < MR_NODES_MAX; i++)
		if (node == MR_NODE_NONE || node == i) {
			request.connections[i] = feed->connections[i];
			any |= feed->connections[i] != 0;
		}
	if (!any)
		return -ENOTCONN;
	request.notice = malloc(sizeof(*request.notice) + bytes);
	if (!request.notice)
		return -ENOMEM;
	request.notice->references = 0;
	request.notice->bytes = (uint32_t)bytes;
	memcpy(request.notice->text, text, bytes);
	r = ask(feed, &request);
	if (r < 0)
		free(request.notice);
	return r;
}

struct mr_feed_event mr_feed_take(struct mr_feed *feed)
{
	struct feed_event *told = mr_mailbox_receive(feed->events.box);
	struct mr_feed_event event = {.kind = MR_FEED_EVENT_NOTHING};

	(void)feed_way_push(&feed->requests); /* the rest follows with the next look */
	if (!told)
		return event;
	event = told->event;
	if (event.kind == MR_FEED_EVENT_CONNECTED)
		feed->connections[event.node] = told->connection;
	else if (event.kind == MR_FEED_EVENT_DISCONNECTED)
		feed->connections[event.node] = 0;
	atomic_fetch_sub_explicit(&feed->untaken, event.bytes, memory_order_relaxed);
	free(told);
	return event;
}

int mr_feed_fd(const struct mr_feed *feed)
{
	return mr_mailbox_fd(feed->events.box);
}

bool mr_feed_sleep(struct mr_feed *feed)
{
	return feed_way_push(&feed->requests) && mr_mailbox_sleep(feed->events.box);
}

void mr_feed_wake(struct mr_feed *feed)
{
	mr_mailbox_wake(feed->events.box);
}

struct mr_feed_port *mr_feed_port(struct mr_feed *feed, uint32_t worker)
{
	mr_assert(worker < feed->port_count);
	return &feed->ports[worker];
}

void mr_feed_stop(struct mr_feed *feed)
{
	struct feed_request request = {.kind = FEED_REQUEST_STOP};
	int r;

	if (!feed)
		return;
	r = ask(feed, &request);
	mr_assert(r == 0); /* a few bytes, and there is no going on without */
	while (!feed_way_push(&feed->requests))
		(void)poll(NULL, 0, 1); /* its mailbox is full: it takes from it */
	pthread_join(feed->thread, NULL);
	feed_free(feed);
}

uint16_t mr_feed_listens_at(const struct mr_feed *feed)
{
	return feed->listens_at;
}
