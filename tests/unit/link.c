/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of plain connections: bytes arrive as they were sent, also when the socket takes
 * them in parts; no call waits; each way to fail is told apart in a sentence; nothing leaks.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "replica/link.h"

/* ---- the rig -----------------------------------------------------------------------------------
 */

static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int listen_anywhere(char address[64])
{
	struct sockaddr_in own;
	socklen_t bytes = sizeof(own);
	struct mr_error err;
	int fd = mr_link_listen("127.0.0.1:0", &err);

	cr_assert_geq(fd, 0, "%s", err.what);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&own, &bytes), 0);
	snprintf(address, 64, "127.0.0.1:%d", ntohs(own.sin_port));
	return fd;
}

/* As the feed does it: waits for what the link wants, then steps. Ten seconds at most. */
static int step_until_done(struct mr_link *link, struct mr_error *err)
{
	int r = -EAGAIN;

	for (int i = 0; i < 1000 && r == -EAGAIN; i++) {
		struct pollfd ready = {.fd = mr_link_fd(link),
				       .events = (short)mr_link_wants(link)};

		cr_assert_geq(ready.fd, 0);
		(void)poll(&ready, 1, 10);
		r = mr_link_step(link, err);
	}
	return r;
}

static struct mr_link *accept_one(int listener)
{
	struct pollfd ready = {.fd = listener, .events = POLLIN};
	struct mr_link *link;
	struct mr_error err;
	int fd;

	cr_assert_eq(poll(&ready, 1, 5000), 1);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(mr_link_accept(fd, NULL, &link, &err), 0, "%s", err.what);
	return link;
}

struct pair {
	struct mr_link *a, *b; /* a connected, b accepted */
};

static struct pair pair_open(void)
{
	struct pair pair;
	struct mr_error err;
	char address[64];
	int listener = listen_anywhere(address);

	cr_assert_eq(mr_link_connect(address, NULL, NULL, &pair.a, &err), 0, "%s", err.what);
	cr_assert_eq(step_until_done(pair.a, &err), 0, "%s", err.what);
	pair.b = accept_one(listener);
	cr_assert_eq(step_until_done(pair.b, &err), 0);
	close(listener);
	return pair;
}

static void pair_close(struct pair *pair)
{
	mr_link_close(pair->a);
	mr_link_close(pair->b);
}

static ssize_t receive_some(struct mr_link *link, void *bytes, size_t count, struct mr_error *err)
{
	ssize_t got = -EAGAIN;

	for (int i = 0; i < 500 && got == -EAGAIN; i++) {
		struct pollfd ready = {.fd = mr_link_fd(link), .events = POLLIN};

		(void)poll(&ready, 1, 10);
		got = mr_link_receive(link, bytes, count, err);
	}
	return got;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251 + 1);
}

/* ---- addresses ----------------------------------------------------------------------------------
 */

Test(link, a_good_address_is_taken)
{
	static const char *const good[] = {
		"10.0.0.2:7420",  "[::1]:7420",	    "host.example:7420", "a:1",
		"[fe80::1%lo]:5", "host-2_b:65535", "9lives:80",
	};
	struct mr_error err;

	for (size_t i = 0; i < mr_array_count(good); i++)
		cr_assert_eq(mr_link_check_address(good[i], &err), 0, "%s: %s", good[i], err.what);
}

Test(link, a_bad_address_is_refused_with_a_sentence)
{
	char endless[600];
	const char *const bad[] = {
		"",	    "0",	":0",		"10.0.0.2",  "[::1]",	     ":7420",
		"[]:7420",  "a:0",	"a:",		"a:65536",   "a:7420 ",	     "a:-1",
		"a:+1",	    "::1:7420", "[10.0.0.2]:7", "[::1:7420", "10.0.0.300:7", "10.0.0:7",
		"a b:7420", "a/b:7420", endless,
	};
	struct mr_error err;

	memset(endless, 'a', sizeof(endless));
	memcpy(endless + sizeof(endless) - 3, ":1", 3);
	for (size_t i = 0; i < mr_array_count(bad); i++) {
		cr_assert_eq(mr_link_check_address(bad[i], &err), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(err.what, "is no address of a host"), "%s", err.what);
		cr_assert(strstr(err.hint, "7420"));
		if (strcmp(bad[i], "a:0") !=
		    0) /* a port that the kernel chooses is for listening */
			cr_assert_eq(mr_link_listen(bad[i], &err), -EINVAL, "%s", bad[i]);
	}
}

/* ---- coming and going ---------------------------------------------------------------------------
 */

Test(link, both_sides_know_whom_they_talk_to)
{
	struct pair pair = pair_open();
	struct sockaddr_in own;
	socklen_t bytes = sizeof(own);
	char expected[64];

	cr_assert_eq(getsockname(mr_link_fd(pair.a), (struct sockaddr *)&own, &bytes), 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%d", ntohs(own.sin_port));
	cr_assert_str_eq(mr_link_address(pair.b), expected);
	cr_assert_eq(getpeername(mr_link_fd(pair.a), (struct sockaddr *)&own, &bytes), 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%d", ntohs(own.sin_port));
	cr_assert_str_eq(mr_link_address(pair.a), expected);
	cr_assert_null(mr_link_peer(pair.a));
	cr_assert_null(mr_link_peer(pair.b));
	cr_assert_str_eq(mr_link_security(pair.a), "plain");
	cr_assert_not(mr_link_has_more(pair.a));
	pair_close(&pair);
}

Test(link, a_socket_is_set_up_for_messages_and_for_dead_peers)
{
	struct pair pair = pair_open();
	struct mr_link *both[] = {pair.a, pair.b};

	for (int i = 0; i < 2; i++) {
		int fd = mr_link_fd(both[i]);
		int value = 0;
		socklen_t bytes = sizeof(value);

		getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &bytes);
		cr_assert_eq(value, 1);
		getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &bytes);
		cr_assert_eq(value, 1);
		getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &bytes);
		cr_assert_eq(value, 10000);
		if (getsockopt(fd, IPPROTO_TCP, 44, &value, &bytes) == 0) /* TCP_RTO_MAX_MS */
			cr_assert_eq(value, 1000, "after a cut what was lost comes in a second");
		cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
		cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	pair_close(&pair);
}

Test(link, a_name_is_looked_up_without_waiting)
{
	struct mr_link *link, *other;
	struct mr_error err;
	char address[64], named[80];
	int listener = listen_anywhere(address);
	int first;

	snprintf(named, sizeof(named), "localhost%s", strchr(address, ':'));
	cr_assert_eq(mr_link_connect(named, NULL, NULL, &link, &err), 0, "%s", err.what);
	first = mr_link_fd(link);
	cr_assert_eq(mr_link_wants(link), EPOLLIN);
	cr_assert_str_eq(mr_link_address(link), named);
	/* localhost may be [::1] first, where nobody listens: then the next one is taken */
	cr_assert_eq(step_until_done(link, &err), 0, "%s", err.what);
	cr_assert_neq(mr_link_fd(link), first);
	cr_assert_str_eq(mr_link_address(link), address);
	other = accept_one(listener);
	mr_link_close(link);
	mr_link_close(other);
	close(listener);
}

Test(link, epoll_never_takes_one_descriptor_for_the_next)
{
	struct mr_link *link;
	struct mr_error err;
	int r = -EAGAIN;

	/* Refused at each of its addresses. The feed compares numbers, so they must differ. */
	cr_assert_eq(mr_link_connect("localhost:1", NULL, NULL, &link, &err), 0);
	for (int i = 0; i < 500 && r == -EAGAIN; i++) {
		struct pollfd ready = {.fd = mr_link_fd(link),
				       .events = (short)mr_link_wants(link)};
		struct epoll_event event = {.events = mr_link_wants(link)};
		int before = mr_link_fd(link);
		int set = epoll_create1(EPOLL_CLOEXEC);

		cr_assert_eq(epoll_ctl(set, EPOLL_CTL_ADD, before, &event), 0);
		(void)poll(&ready, 1, 10);
		r = mr_link_step(link, &err);
		/* the same number is the same file: the set still has it */
		if (mr_link_fd(link) == before)
			cr_assert_eq(epoll_ctl(set, EPOLL_CTL_MOD, before, &event), 0);
		close(set);
	}
	cr_assert_eq(r, -ECONNREFUSED);
	mr_link_close(link);
}

Test(link, a_name_that_is_not_there_is_told)
{
	struct mr_link *link;
	struct mr_error err;

	cr_assert_eq(mr_link_connect("no-such-host.invalid:7420", NULL, NULL, &link, &err), 0);
	cr_assert_eq(step_until_done(link, &err), -EHOSTUNREACH);
	cr_assert(strstr(err.what, "no-such-host.invalid"), "%s", err.what);
	mr_link_close(link);
}

Test(link, look_ups_are_left_alone_by_those_who_do_not_wait)
{
	struct mr_link *link;
	struct mr_error err;
	int r = 0;

	/* More at once than there may be threads: refused, or served, but nothing is harmed. */
	for (int i = 0; i < 300; i++) {
		r = mr_link_connect("no-such-host.invalid:7420", NULL, NULL, &link, &err);
		cr_assert(r == 0 || r == -EBUSY);
		if (r == 0)
			mr_link_close(link);
	}
	for (int i = 0; i < 1000 && mr_link_connect("localhost:1", NULL, NULL, &link, &err); i++)
		(void)poll(NULL, 0, 10);
	(void)step_until_done(link, &err);
	mr_link_close(link);
}

Test(link, who_refuses_is_named)
{
	struct mr_link *link;
	struct mr_error err;
	char address[64];

	close(listen_anywhere(address));
	cr_assert_eq(mr_link_connect(address, NULL, NULL, &link, &err), 0);
	cr_assert_eq(step_until_done(link, &err), -ECONNREFUSED);
	cr_assert(strstr(err.what, address), "%s", err.what);
	cr_assert(strstr(err.what, "refused"), "%s", err.what);
	mr_link_close(link);
}

Test(link, a_port_that_is_taken_is_told)
{
	struct mr_error err;
	char address[64];
	int listener = listen_anywhere(address);

	cr_assert_eq(mr_link_listen(address, &err), -EADDRINUSE);
	cr_assert(strstr(err.what, address), "%s", err.what);
	cr_assert(strstr(err.hint, "another engine"));
	close(listener);
	/* and free again at once, though connections of it may linger */
	listener = mr_link_listen(address, &err);
	cr_assert_geq(listener, 0, "%s", err.what);
	close(listener);
	cr_assert_eq(mr_link_listen("192.0.2.1:7420", &err), -EADDRNOTAVAIL);
	cr_assert_eq(mr_link_listen("7420", &err), -EINVAL);
}

/* A network of its own, in which the kernel has one port to give to those who connect. */
static bool enter_network_of_one_port(const char *port)
{
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd, socket_fd;
	bool set;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 && unshare(CLONE_NEWNET) < 0)
		return false;
	socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	set = ioctl(socket_fd, SIOCSIFFLAGS, &loopback) == 0;
	close(socket_fd);
	fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	set = write(fd, port, strlen(port)) == (ssize_t)strlen(port) && set;
	close(fd);
	return set;
}

Test(link, a_socket_never_connects_with_itself)
{
	struct mr_link *link;
	struct mr_error err;

	if (!enter_network_of_one_port("40000 40000"))
		cr_skip_test("no network namespaces here");
	cr_assert_eq(mr_link_connect("127.0.0.1:40000", NULL, NULL, &link, &err), 0);
	cr_assert_eq(step_until_done(link, &err), -ECONNREFUSED);
	mr_link_close(link);
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

Test(link, pieces_arrive_in_order_as_one_stream)
{
	struct pair pair = pair_open();
	struct iovec pieces[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
	struct mr_error err;
	char got[64] = {0};
	size_t have = 0;

	cr_assert_eq(mr_link_receive(pair.b, got, sizeof(got), &err), -EAGAIN);
	cr_assert_eq(mr_link_send(pair.a, pieces, 4, &err), 13);
	cr_assert_eq(mr_link_wants(pair.a), EPOLLIN);
	while (have < 13) {
		ssize_t r = receive_some(pair.b, got + have, sizeof(got) - have, &err);

		cr_assert_gt(r, 0);
		have += (size_t)r;
	}
	cr_assert_str_eq(got, "one two three");
	pair_close(&pair);
}

/* What a link that takes bytes in parts is offered, and what comes out at the other end. */
Test(link, what_does_not_fit_is_offered_again)
{
	enum { BYTES = 8 << 20 };
	struct pair pair = pair_open();
	uint8_t *out = malloc(BYTES), *in = malloc(BYTES);
	size_t sent = 0, received = 0;
	struct mr_error err;
	bool waited = false;

	for (size_t i = 0; i < BYTES; i++)
		out[i] = pattern(i);
	for (int turn = 0; turn < 1000000 && received < BYTES; turn++) {
		size_t half = (BYTES - sent) / 2;
		struct iovec pieces[] = {{out + sent, half},
					 {out + sent + half, BYTES - sent - half}};
		ssize_t r = sent < BYTES ? mr_link_send(pair.a, pieces, 2, &err) : 0;

		cr_assert(r >= 0 || r == -EAGAIN, "%s", err.what);
		waited = waited || r == -EAGAIN;
		if (sent < BYTES && r < (ssize_t)(BYTES - sent))
			cr_assert_eq(mr_link_wants(pair.a), EPOLLIN | EPOLLOUT);
		sent += r > 0 ? (size_t)r : 0;
		if (turn % 3)
			continue;
		r = mr_link_receive(pair.b, in + received, BYTES - received, &err);
		cr_assert(r > 0 || r == -EAGAIN);
		received += r > 0 ? (size_t)r : 0;
	}
	cr_assert(waited, "the socket took all at once: nothing was tested");
	cr_assert_eq(received, BYTES);
	cr_assert_eq(memcmp(in, out, BYTES), 0);
	free(in);
	free(out);
	pair_close(&pair);
}

Test(link, more_pieces_than_the_kernel_takes_are_taken_in_part)
{
	enum { COUNT = 3000 };
	static struct iovec pieces[COUNT];
	struct pair pair = pair_open();
	struct mr_error err;

	for (int i = 0; i < COUNT; i++)
		pieces[i] = (struct iovec){"x", 1};
	cr_assert_eq(mr_link_send(pair.a, pieces, COUNT, &err), 1024);
	pair_close(&pair);
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

Test(link, an_end_in_good_order_is_zero)
{
	struct pair pair = pair_open();
	struct iovec piece = {"bye", 3};
	struct mr_error err;
	char got[8];

	cr_assert_eq(mr_link_send(pair.a, &piece, 1, &err), 3);
	mr_link_close(pair.a);
	pair.a = NULL;
	cr_assert_eq(receive_some(pair.b, got, sizeof(got), &err), 3);
	cr_assert_eq(receive_some(pair.b, got, sizeof(got), &err), 0);
	pair_close(&pair);
}

/* Until the other's socket and ours are full. Returns how many bytes. */
static size_t fill(struct mr_link *link)
{
	static uint8_t bytes[1 << 16];
	struct iovec piece = {bytes, sizeof(bytes)};
	struct mr_error err;
	size_t sent = 0;
	ssize_t r;

	while ((r = mr_link_send(link, &piece, 1, &err)) > 0)
		sent += (size_t)r;
	cr_assert_eq(r, -EAGAIN);
	return sent;
}

/* A host that refuses says why and closes, though the other goes on talking and is slow to hear.
 * A socket closed with unread bytes would throw away what it has not sent yet. */
Test(link, last_words_arrive_although_the_other_was_not_heard_out)
{
	static uint8_t bytes[1 << 16];
	struct pair pair = pair_open();
	struct iovec chatter = {bytes, sizeof(bytes)};
	struct mr_error err;
	size_t sent, received = 0;
	ssize_t r;

	cr_assert_gt(mr_link_send(pair.a, &chatter, 1, &err), 0);
	sent = fill(pair.b);
	mr_link_close(pair.b);
	pair.b = NULL;
	while ((r = receive_some(pair.a, bytes, sizeof(bytes), &err)) > 0)
		received += (size_t)r;
	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_eq(received, sent);
	pair_close(&pair);
}

/* Not a link: a socket of the test's own, to misbehave with. */
static int raw_connect(const char *address)
{
	struct sockaddr_in where = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	where.sin_port = htons((uint16_t)strtol(strchr(address, ':') + 1, NULL, 10));
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
	return fd;
}

static void raw_reset(int fd)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

Test(link, a_reset_is_an_error_and_no_signal)
{
	struct iovec piece = {"into the void", 13};
	struct mr_link *link;
	struct mr_error err;
	char address[64];
	int listener = listen_anywhere(address);
	int raw = raw_connect(address);
	char got[8];

	link = accept_one(listener);
	raw_reset(raw);
	cr_assert_eq(receive_some(link, got, sizeof(got), &err), -ECONNRESET);
	cr_assert(strstr(err.what, mr_link_address(link)), "%s", err.what);
	cr_assert_eq(mr_link_send(link, &piece, 1, &err), -EPIPE);
	cr_assert(strstr(err.what, "Broken pipe"), "%s", err.what);
	mr_link_close(link);
	close(listener);
}

Test(link, a_half_closed_peer_still_listens)
{
	struct pair pair = pair_open();
	struct iovec piece = {"heard", 5};
	struct mr_error err;
	char got[8];

	shutdown(mr_link_fd(pair.a), SHUT_WR);
	cr_assert_eq(receive_some(pair.b, got, sizeof(got), &err), 0);
	cr_assert_eq(mr_link_send(pair.b, &piece, 1, &err), 5);
	cr_assert_eq(receive_some(pair.a, got, sizeof(got), &err), 5);
	pair_close(&pair);
}

Test(link, tls_to_a_plain_host_is_told_in_words)
{
	static const uint8_t client_hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 252};
	struct pair pair = pair_open();
	struct iovec piece = {(void *)client_hello, sizeof(client_hello)};
	struct mr_error err;
	char got[16];

	cr_assert_eq(mr_link_send(pair.a, &piece, 1, &err), (ssize_t)sizeof(client_hello));
	cr_assert_eq(receive_some(pair.b, got, sizeof(got), &err), -EPROTO);
	cr_assert(strstr(err.what, "speaks TLS"), "%s", err.what);
	pair_close(&pair);
}

Test(link, a_round_trip_is_measured)
{
	struct pair pair = pair_open();
	struct mr_error err;
	char got[8];

	for (int i = 0; i < 10; i++) {
		struct iovec piece = {"ping", 4};

		cr_assert_eq(mr_link_send(pair.a, &piece, 1, &err), 4);
		cr_assert_eq(receive_some(pair.b, got, sizeof(got), &err), 4);
	}
	cr_assert_gt(mr_link_rtt_us(pair.a), 0);
	cr_assert_lt(mr_link_rtt_us(pair.a), 1000000);
	pair_close(&pair);
}

Test(link, nothing_leaks)
{
	int before;
	struct mr_link *link;
	struct mr_error err;
	char address[64];
	int listener = listen_anywhere(address);

	before = open_count();
	mr_link_close(NULL);
	cr_assert_eq(mr_link_accept(open("/dev/null", O_RDONLY), NULL, &link, &err), -ENOTSOCK);
	for (int i = 0; i < 5; i++) {
		/* closed in each of its stages */
		cr_assert_eq(mr_link_connect(address, NULL, NULL, &link, &err), 0);
		for (int k = 0; k < i; k++)
			(void)mr_link_step(link, &err);
		mr_link_close(link);
	}
	cr_assert_eq(mr_link_connect("localhost:1", NULL, NULL, &link, &err), 0);
	(void)step_until_done(link, &err);
	mr_link_close(link);
	for (int i = 0; i < 500 && open_count() != before; i++)
		(void)poll(NULL, 0, 10); /* the look-up's thread may be the last to let go */
	cr_assert_eq(open_count(), before);
	close(listener);
}
