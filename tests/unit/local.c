/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the local socket while a long request is carried out (a topic of a thousand
 * partitions): who waits hears that the engine is at work, and who comes meanwhile is greeted, so
 * that it has patience, too. Nothing else is taken from it before the request is done.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach.h"
#include "serve/local.h"

static struct mr_local *local;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int epoll_fd;
static int late = -1; /* a client that comes while a request is carried out */
static uint32_t admins;
static struct mr_packet packet;
static uint64_t ahead_ns; /* of the machine's clock */

static uint64_t monotonic_ahead(const struct mr_clock *clock)
{
	return mr_clock_monotonic_ns(&mr_clock_system) + ahead_ns;
}

static int64_t wall(const struct mr_clock *clock)
{
	return mr_clock_wall_ms(&mr_clock_system);
}

static const struct mr_clock clock_ahead = {.monotonic_ns = monotonic_ahead, .wall_ms = wall};

/* ---- clients ----------------------------------------------------------------------------- */

static int come(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, enum mr_message_type type, const void *body, size_t bytes)
{
	struct mr_message_header head = {.type = (uint16_t)type, .request_id = 7};

	cr_assert_eq(mr_packet_send(fd, &head, body, bytes, NULL, 0), 0);
}

static void say_hello(int fd)
{
	struct mr_hello hello = {.format = MR_FORMAT_VERSION, .client_name = "test"};

	say(fd, MR_MESSAGE_HELLO, &hello, sizeof(hello));
}

/* The flags of the next packet; 0: there is none. */
static uint16_t hear(int fd)
{
	int r = mr_packet_receive(fd, &packet);

	cr_assert(r == 0 || r == -EAGAIN, "%d", r);
	return r == 0 ? packet.head.flags : 0;
}

/* ---- the engine -------------------------------------------------------------------------- */

static int carry_out(void *engine, const char *json, struct mr_local_ticket *ticket, char **reply,
		     struct mr_error *err)
{
	admins++;
	if (late < 0) {
		late = come();
		say_hello(late);
		mr_local_at_work(local);
		cr_assert_eq(hear(late), MR_MESSAGE_REPLY, "it is greeted");
		cr_assert_eq(packet.body_bytes, sizeof(struct mr_hello_reply));
		say(late, MR_MESSAGE_ADMIN, "{}", 2);
		mr_local_at_work(local);
		cr_assert_eq(hear(late), MR_MESSAGE_AT_WORK, "and told to be patient");
		cr_assert_eq(admins, 1, "what it asks for waits");
	}
	*reply = strdup("{\"done\":true}");
	return 0;
}

#define LONG_BYTES (4u << 20) /* many times what a socket takes at once */

static int answer_at_length(void *engine, const char *json, struct mr_local_ticket *ticket,
			    char **reply, struct mr_error *err)
{
	admins++;
	*reply = calloc(1, LONG_BYTES + 1);
	cr_assert_not_null(*reply);
	for (size_t i = 0; i < LONG_BYTES; i++)
		(*reply)[i] = (char)('a' + i % 23);
	return 0;
}

static struct mr_local_host operations = {.admin = carry_out};

static void turn(void)
{
	struct epoll_event events[8];
	int count;

	while ((count = epoll_wait(epoll_fd, events, 8, 0)) > 0)
		for (int i = 0; i < count; i++) {
			struct mr_local_source *source = events[i].data.ptr;

			source->ready(source, events[i].events);
		}
	mr_local_sweep(local);
}

static void begin(void)
{
	static const struct mr_secret secret = {{1}};
	struct mr_local_options options = {
		.socket_path = address.sun_path,
		.host = &operations,
		.secret = &secret,
		.clock = &clock_ahead,
		.connections_per_user = 2,
	};

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/unit-local-%d", (int)getpid());
	options.epoll_fd = epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cr_assert_eq(mr_local_open(&options, &local, NULL), 0);
}

static void end(void)
{
	mr_local_close(local);
	close(epoll_fd);
}

Test(local, who_comes_while_the_engine_is_at_work_is_greeted)
{
	int first;

	begin();
	first = come();
	say_hello(first);
	turn();
	cr_assert_eq(hear(first), MR_MESSAGE_REPLY);
	say(first, MR_MESSAGE_ADMIN, "{}", 2);
	turn();
	cr_assert_eq(hear(first), MR_MESSAGE_AT_WORK);
	cr_assert_eq(hear(first), MR_MESSAGE_AT_WORK);
	cr_assert_eq(hear(first), MR_MESSAGE_REPLY);
	cr_assert_eq(packet.head.status, 0);
	cr_assert_eq(packet.head.request_id, 7, "the answer is to what it asked");
	cr_assert_eq(hear(late), MR_MESSAGE_REPLY, "and the other has its own");
	cr_assert_eq(admins, 2);
	close(late);
	close(first);
	end();
}

/* The next packet of text, which must go on at 'at'. False: there is none now. */
static bool hear_text(int fd, size_t *at, bool *last)
{
	int r = mr_packet_receive(fd, &packet);

	if (r == -EAGAIN)
		return false;
	cr_assert_eq(r, 0);
	cr_assert_eq(packet.head.request_id, 7);
	for (size_t i = 0; i < packet.body_bytes; i++)
		cr_assert_eq(packet.body[i], 'a' + (*at + i) % 23);
	*at += packet.body_bytes;
	*last = !(packet.head.flags & MR_MESSAGE_MORE);
	return true;
}

Test(local, an_answer_longer_than_the_socket_waits_for_who_reads_it)
{
	size_t at = 0;
	bool last = false;
	int fd;

	operations.admin = answer_at_length;
	begin();
	fd = come();
	say_hello(fd);
	turn();
	cr_assert_eq(hear(fd), MR_MESSAGE_REPLY);
	say(fd, MR_MESSAGE_ADMIN, "{}", 2);
	say(fd, MR_MESSAGE_ADMIN, "{}", 2);
	turn();
	cr_assert_eq(admins, 1, "what else it asks for waits");
	mr_local_at_work(local); /* says nothing in the middle of a text */
	for (int i = 0; i < 1000 && !last; i++) {
		while (!last && hear_text(fd, &at, &last))
			continue;
		cr_assert(last || at < LONG_BYTES);
		if (!last)
			turn();
	}
	cr_assert(last);
	cr_assert_eq(at, LONG_BYTES);
	turn();
	cr_assert_eq(admins, 2, "and comes next");
	close(fd); /* in the middle of it */
	turn();
	end();
}

/* It is not kept for ever for who does not read it. */
Test(local, who_reads_nothing_of_a_long_answer_is_hung_up_on)
{
	size_t at = 0;
	bool last = false;
	int fd;

	operations.admin = answer_at_length;
	begin();
	fd = come();
	say_hello(fd);
	turn();
	cr_assert_eq(hear(fd), MR_MESSAGE_REPLY);
	say(fd, MR_MESSAGE_ADMIN, "{}", 2);
	turn();
	for (int i = 0; i < 3; i++) { /* slowly is well */
		ahead_ns += UINT64_C(4900000000);
		while (hear_text(fd, &at, &last))
			continue;
		turn();
		cr_assert_eq(mr_local_session_count(local), 1);
	}
	ahead_ns += UINT64_C(5000000000);
	turn();
	cr_assert_eq(mr_local_session_count(local), 0);
	cr_assert_lt(at, LONG_BYTES);
	close(fd);
	end();
}

static struct mr_local_ticket *pending;

static int answer_later(void *engine, const char *json, struct mr_local_ticket *ticket,
			char **reply, struct mr_error *err)
{
	pending = ticket;
	return 0;
}

/* Who asked for nothing that takes its time hears nothing. */
Test(local, who_waits_for_an_answer_hears_of_it_every_second)
{
	int asks, other;

	operations.admin = answer_later;
	begin();
	asks = come();
	say_hello(asks);
	other = come();
	say_hello(other);
	turn();
	cr_assert_eq(hear(asks), MR_MESSAGE_REPLY);
	cr_assert_eq(hear(other), MR_MESSAGE_REPLY);
	say(asks, MR_MESSAGE_ADMIN, "{}", 2);
	turn();
	for (int second = 0; second < 10; second++) {
		mr_local_second(local);
		cr_assert_eq(hear(asks), MR_MESSAGE_AT_WORK);
		cr_assert_eq(hear(asks), 0, "once");
	}
	cr_assert_eq(hear(other), 0);
	mr_local_answer(pending, 0, NULL, "{}");
	cr_assert_eq(hear(asks), MR_MESSAGE_REPLY);
	cr_assert_eq(packet.head.request_id, 7);
	mr_local_second(local);
	cr_assert_eq(hear(asks), 0);
	say(asks, MR_MESSAGE_ADMIN, "{}", 2);
	turn();
	close(asks);
	turn();
	mr_local_second(local); /* nobody waits any more */
	mr_local_answer(pending, 0, NULL, "{}");
	close(other);
	end();
}

/* Whoever does not begin with hello is no client, whenever it comes. */
Test(local, a_stranger_is_refused_while_the_engine_is_at_work)
{
	int stranger;

	begin();
	stranger = come();
	say(stranger, MR_MESSAGE_ADMIN, "{}", 2);
	mr_local_at_work(local);
	cr_assert_eq(hear(stranger), MR_MESSAGE_REPLY);
	cr_assert_eq(packet.head.status, -EPROTO);
	cr_assert_eq(mr_packet_receive(stranger, &packet), -EPIPE);
	cr_assert_eq(admins, 0);
	turn();
	cr_assert_eq(mr_local_session_count(local), 0);
	close(stranger);
	end();
}
