/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of who may connect, and of peers that are hostile or broken: who is not whom the
 * configuration names, or not alone in being it, or speaks no common version, is told why not, on
 * both sides; bytes that are no messages end their connection with a refusal and nothing else: the
 * peers that keep to the rules do not notice. A peer that stands and says nothing any more is found
 * out.
 *
 * 'a' (node 0) is a raw socket of the test's here, unless both are feeds.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "feed_codec.h"
#include "feed_rig.h"

static const struct mr_feed_hello usual = {.version_min = 1,
					   .version_max = MR_FEED_VERSION,
					   .node = 0,
					   .cluster_id = {0xc0},
					   .log_id = {0xd0},
					   .incarnation = 10,
					   .name = "a"};

/* ---- a raw peer ---- */

static int raw_connect(struct rig *rig)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(rig_port(rig)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void raw_send(int fd, const void *bytes, size_t count)
{
	const uint8_t *at = bytes;

	while (count > 0) {
		ssize_t sent = send(fd, at, count, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN)
			return; /* it was refused before all was said */
		at += sent > 0 ? sent : 0;
		count -= sent > 0 ? (size_t)sent : 0;
		if (sent < 0)
			rig_turn();
	}
}

/* Exactly so many bytes. False: it ended before. */
static bool raw_receive(int fd, void *bytes, size_t count)
{
	uint64_t until_ms = rig_now_ms() + RIG_SECONDS * 1000;
	uint8_t *at = bytes;

	while (count > 0) {
		ssize_t got = recv(fd, at, count, MSG_DONTWAIT);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return false;
		if (got < 0) {
			cr_assert_lt(rig_now_ms(), until_ms, "nothing came");
			rig_turn();
			continue;
		}
		at += got;
		count -= (size_t)got;
	}
	return true;
}

static struct mr_feed_header head;
static uint8_t body[1u << 16];

/* The next message's kind; 0: the connection has ended. */
static int raw_message(int fd)
{
	uint8_t bytes[MR_FEED_HEADER_BYTES];
	struct mr_error err;
	int r;

	if (!raw_receive(fd, bytes, MR_FEED_HEADER_BYTES_MIN))
		return 0;
	r = mr_feed_decode_header(bytes, MR_FEED_HEADER_BYTES_MIN, MR_FEED_VERSION, &head, &err);
	if (r == -EAGAIN) {
		if (!raw_receive(fd, bytes + MR_FEED_HEADER_BYTES_MIN,
				 sizeof(bytes) - MR_FEED_HEADER_BYTES_MIN))
			return 0;
		r = mr_feed_decode_header(bytes, sizeof(bytes), MR_FEED_VERSION, &head, &err);
	}
	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_leq(mr_feed_body_bytes(&head), sizeof(body));
	return raw_receive(fd, body, mr_feed_body_bytes(&head)) ? head.kind : 0;
}

/* As raw_message(), of those that say more than that somebody is there. */
static int raw_news(int fd)
{
	int kind;

	do
		kind = raw_message(fd);
	while (kind == MR_FEED_ALIVE);
	return kind;
}

static void raw_hello(int fd, const struct mr_feed_hello *hello)
{
	uint8_t bytes[MR_FEED_HELLO_BYTES_MAX];

	raw_send(fd, bytes, mr_feed_encode_hello(hello, bytes));
}

/* Connected, and said hello to. */
static int raw_meet(struct rig *rig, const struct mr_feed_hello *hello)
{
	uint32_t before = rig->news_count[0];
	int fd = raw_connect(rig);

	raw_hello(fd, hello);
	cr_assert_eq(raw_message(fd), MR_FEED_HELLO);
	rig_wait(rig->news_count[0] > before && rig->connection[0]);
	return fd;
}

/* It is refused, in words that hold 'word', and then the connection ends. Closes it. */
static void raw_refused(int fd, enum mr_feed_refusal_code code, const char *word)
{
	struct mr_feed_refusal refusal;
	struct mr_error err;
	int kind;

	do
		kind = raw_message(fd);
	while (kind == MR_FEED_HELLO);
	cr_assert_eq(kind, MR_FEED_REFUSE, "kind %d", kind);
	cr_assert_eq(mr_feed_decode_refusal(&head, body, mr_feed_body_bytes(&head), &refusal, &err),
		     0);
	cr_assert_eq(refusal.code, code, "%u: %s", refusal.code, refusal.sentence);
	cr_assert_not_null(strstr(refusal.sentence, word), "%s", refusal.sentence);
	cr_assert_eq(raw_message(fd), 0);
	close(fd);
}

/* Of the partition that rig_route() calls 1, 2. */
static size_t make_entries(uint8_t *bytes, size_t room, bool with_open)
{
	struct mr_feed_item open = {.channel = 3, .entry = {.kind = MR_FEED_OPEN}, .partition = 2};
	struct mr_feed_item flushed = {
		.channel = 3,
		.entry = {.kind = MR_FEED_FLUSHED, .leader_epoch = 1, .session = 1, .offset = 7}};
	struct mr_feed_writer writer;

	rig_topic_id(1, open.topic_id);
	mr_feed_begin(&writer, MR_FEED_VERSION, bytes, room);
	if (with_open)
		cr_assert_eq(mr_feed_add(&writer, &open), 0);
	cr_assert_eq(mr_feed_add(&writer, &flushed), 0);
	return mr_feed_end(&writer, NULL, 0);
}

/* ---- who may ---- */

static void check_refused(const struct mr_feed_hello *hello, enum mr_feed_refusal_code code,
			  const char *word)
{
	struct rig_tuning tuning = {.strangers = 1u << 2};
	struct rig *b = rig_start(1, &tuning);
	const struct mr_feed_event *event;
	int fd = raw_connect(b);

	raw_hello(fd, hello);
	raw_refused(fd, code, word);
	event = rig_event(b, MR_FEED_EVENT_REFUSED);
	cr_assert_not_null(strstr(event->text, word), "%s", event->text);
	if (hello->node == 0) {
		cr_assert_eq(event->node, 0);
		cr_assert_not_null(strstr(rig_status(b, 0).last_error, word));
		cr_assert_eq(rig_status(b, 0).refused, 1);
	}
	cr_assert_eq(b->news_count[0], 0);
	close(raw_meet(b, &usual)); /* and who may can, at once */
	rig_stop(b);
}

Test(feed_refusals, of_another_cluster)
{
	struct mr_feed_hello hello = usual;

	hello.cluster_id[15] = 1;
	check_refused(&hello, MR_FEED_REFUSED_CLUSTER, "'a' is of another cluster than 'b'");
}

Test(feed_refusals, of_no_node_of_ours)
{
	struct mr_feed_hello hello = usual;

	hello.node = 7;
	check_refused(&hello, MR_FEED_REFUSED_NODE, "node 7 ('a') is no peer of 'b'");
	hello.node = 2;
	check_refused(&hello, MR_FEED_REFUSED_NODE, "node 2 ('a') is no peer of 'b'");
	hello.node = 1;
	check_refused(&hello, MR_FEED_REFUSED_NODE,
		      "'a' says that its number is 1, which is the number of 'b'");
}

Test(feed_refusals, of_another_name)
{
	struct mr_feed_hello hello = usual;

	snprintf(hello.name, sizeof(hello.name), "z");
	check_refused(&hello, MR_FEED_REFUSED_NODE, "node 0 says it is 'z', but 'b' knows it as");
}

Test(feed_refusals, of_who_should_wait_to_be_called)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_hello hello = usual;
	int fd = raw_connect(b);

	hello.node = 2;
	snprintf(hello.name, sizeof(hello.name), "c");
	raw_hello(fd, &hello);
	raw_refused(fd, MR_FEED_REFUSED_NODE, "the lower number does");
	rig_stop(b);
}

Test(feed_refusals, of_versions_that_nobody_speaks)
{
	struct mr_feed_hello hello = usual;

	hello.version_min = 8;
	hello.version_max = 9;
	check_refused(&hello, MR_FEED_REFUSED_VERSION, "versions 8 to 9");
}

/* A newer engine: its version is higher, and it can do what nobody here has heard of. */
Test(feed_refusals, a_newer_engine_is_spoken_to)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_hello hello = usual;
	uint8_t bytes[256];
	int fd;

	hello.version_max = MR_FEED_VERSION + 1;
	hello.capabilities = UINT64_MAX;
	rig_route(b, 1, 2);
	fd = raw_meet(b, &hello);
	cr_assert_eq(b->news[0][0].capabilities, MR_FEED_TAKES_COMPRESSED | MR_FEED_CAN_SAY_ALIVE);
	raw_send(fd, bytes, make_entries(bytes, sizeof(bytes), true));
	rig_wait(b->expected == b->arrival_count);
	rig_send_flushed(b, 0, 1, 2, 9);
	cr_assert_eq(raw_news(fd), MR_FEED_ENTRIES);
	cr_assert_eq(head.version, MR_FEED_VERSION);
	close(fd);
	rig_stop(b);
}

/* And two feeds of which one is older. */
Test(feed_refusals, neighbours_in_version_speak_the_lower_one)
{
	struct rig_tuning newer = {.version_max = MR_FEED_VERSION + 1};
	struct rig *b = rig_start(1, &newer), *a = rig_start(0, NULL);

	rig_route(b, 1, 0);
	rig_route(a, 1, 0);
	rig_meet(a, b);
	rig_send_flushed(a, 1, 1, 0, 1);
	rig_send_flushed(b, 0, 1, 0, 2);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 1);
	cr_assert_eq(rig_expect(a)->item.entry.offset, 2);
	rig_stop(a);
	rig_stop(b);
}

/* Two feeds that do not fit: both say why, once, and go on trying. */
Test(feed_refusals, both_sides_say_why)
{
	struct rig_tuning other = {.cluster = 1, .strangers = 1u << 2};
	struct rig_tuning same = {.strangers = 1u << 2};
	struct rig *b = rig_start(1, &same), *a = rig_start(0, &other);
	const struct mr_feed_event *event = rig_event(b, MR_FEED_EVENT_REFUSED);

	cr_assert_not_null(strstr(event->text, "another cluster"), "%s", event->text);
	event = rig_event(a, MR_FEED_EVENT_REFUSED);
	cr_assert_not_null(strstr(event->text, "'b' refuses: "), "%s", event->text);
	cr_assert_not_null(strstr(event->text, "another cluster"), "%s", event->text);
	rig_wait(rig_status(b, 0).refused >= 3);
	cr_assert_not_null(strstr(rig_status(a, 1).last_error, "another cluster"));
	cr_assert_not_null(strstr(rig_status(b, 0).last_error, "another cluster"));
	cr_assert_eq(a->event_count, 1, "said once");
	cr_assert_eq(b->event_count, 1);
	cr_assert_eq(a->news_count[0], 0);
	cr_assert_eq(b->news_count[0], 0);
	rig_stop(a);
	rig_stop(b);
}

/* The address of one peer leads to another. */
Test(feed_refusals, somebody_else_answers)
{
	struct rig *c = rig_start(2, NULL), *b, *a;
	struct rig_tuning wrong = {.ports = {0, rig_port(c)}, .strangers = 1u << 2};

	b = rig_start(1, NULL);
	a = rig_start(0, &wrong);
	cr_assert_not_null(strstr(rig_event(a, MR_FEED_EVENT_REFUSED)->text,
				  "node 2 ('c') is no peer of 'a'"));
	cr_assert_eq(a->news_count[0], 0);
	rig_stop(a);
	rig_stop(b);
	rig_stop(c);
}

/* ---- twins ---- */

Test(feed_refusals, a_second_connection_of_the_same_life)
{
	struct rig *b = rig_start(1, NULL);
	int first = raw_meet(b, &usual), second = raw_connect(b);
	uint8_t bytes[256];

	raw_hello(second, &usual);
	raw_refused(second, MR_FEED_REFUSED_TWIN, "incarnation 10 of 'a' is connected already");
	rig_route(b, 1, 2);
	rig_unroute(b, 1, 9); /* the route is known when this is answered */
	raw_send(first, bytes, make_entries(bytes, sizeof(bytes), true));
	cr_assert_eq(rig_expect(b)->item.entry.offset, 7, "the first one stands");
	cr_assert_eq(b->news_count[0], 1);
	close(first);
	rig_wait(!b->connection[0]);
	close(raw_meet(b, &usual)); /* the old one is over */
	rig_stop(b);
}

Test(feed_refusals, a_newer_life_replaces_the_older)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_hello newer = usual, older = usual;
	int first = raw_meet(b, &usual), second, third;
	uint64_t connection = b->connection[0];

	newer.incarnation = 11;
	second = raw_connect(b);
	raw_hello(second, &newer);
	cr_assert_eq(raw_message(second), MR_FEED_HELLO);
	rig_wait(b->news_count[0] == 3);
	cr_assert_eq(b->news[0][1].what, MR_DELIVERY_DISCONNECTED);
	cr_assert_eq(b->news[0][1].connection, connection);
	cr_assert_eq(b->news[0][2].what, MR_DELIVERY_CONNECTED);
	cr_assert_eq(b->news[0][2].incarnation, 11);
	cr_assert_eq(raw_message(first), 0, "the older one is over");
	older.incarnation = 10;
	third = raw_connect(b);
	raw_hello(third, &older);
	raw_refused(third, MR_FEED_REFUSED_TWIN, "'b' has seen incarnation 11");
	close(second);
	rig_wait(!b->connection[0]);
	third = raw_connect(b); /* nor when nobody is there */
	raw_hello(third, &older);
	raw_refused(third, MR_FEED_REFUSED_TWIN, "incarnation 10 of 'a' is over");
	close(first);
	rig_stop(b);
}

/* Another disk counts its lives anew; while the one with the old disk is there, it is a twin. */
Test(feed_refusals, another_data_directory)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_hello other = usual;
	int first = raw_meet(b, &usual), second = raw_connect(b);

	other.log_id[5] = 1;
	other.incarnation = 1;
	raw_hello(second, &other);
	raw_refused(second, MR_FEED_REFUSED_TWIN, "another data directory");
	close(first);
	rig_wait(!b->connection[0]);
	close(raw_meet(b, &other));
	rig_stop(b);
}

/* ---- hostile ---- */

/* 'bytes', after a good hello if 'met': refused so, and the peer that was there does not notice. */
static void check_hostile(bool met, const void *bytes, size_t count, const char *word)
{
	struct rig *c = rig_start(2, NULL), *b = rig_start(1, NULL);
	uint64_t connection;
	int fd;

	rig_meet(b, c);
	connection = b->connection[2];
	rig_route(c, 1, 2);
	rig_route(b, 1, 2);
	fd = met ? raw_meet(b, &usual) : raw_connect(b);
	raw_send(fd, bytes, count);
	raw_refused(fd, MR_FEED_REFUSED_MESSAGE, word);
	rig_wait(!b->connection[0]);
	cr_assert_eq(b->arrival_count, 0);
	rig_send_flushed(b, 2, 1, 2, 5);
	cr_assert_eq(rig_expect(c)->item.entry.offset, 5);
	cr_assert_eq(b->connection[2], connection);
	if (met)
		cr_assert_not_null(strstr(rig_event(b, MR_FEED_EVENT_DISCONNECTED)->text, word));
	else
		cr_assert_not_null(strstr(rig_event(b, MR_FEED_EVENT_REFUSED)->text, word));
	close(raw_meet(b, &usual));
	rig_stop(b);
	rig_stop(c);
}

Test(feed_refusals, garbage)
{
	char garbage[5000];

	memset(garbage, 'g', sizeof(garbage));
	check_hostile(false, garbage, sizeof(garbage), "magic");
	check_hostile(true, garbage, sizeof(garbage), "magic");
	check_hostile(false, "GET / HTTP/1.1\r\nHost: b\r\n\r\n", 27, "magic");
}

Test(feed_refusals, entries_before_a_hello)
{
	uint8_t bytes[256];

	check_hostile(false, bytes, make_entries(bytes, sizeof(bytes), true), "kind 3");
}

Test(feed_refusals, a_second_hello)
{
	uint8_t bytes[MR_FEED_HELLO_BYTES_MAX];

	check_hostile(true, bytes, mr_feed_encode_hello(&usual, bytes), "a second hello");
}

static size_t make_header(uint8_t kind, uint16_t entries, uint32_t heads, uint32_t payload,
			  uint8_t *bytes)
{
	bool hello = kind == MR_FEED_HELLO || kind == MR_FEED_REFUSE;
	struct mr_feed_header header = {.magic = MR_FEED_MAGIC,
					.version = hello ? MR_FEED_VERSION_HELLO : MR_FEED_VERSION,
					.kind = kind,
					.entry_count = entries,
					.head_bytes = heads,
					.payload_bytes = payload};

	memcpy(bytes, &header, sizeof(header));
	return sizeof(header);
}

Test(feed_refusals, lengths_beyond_all_bounds)
{
	uint8_t bytes[64];

	check_hostile(true, bytes, make_header(MR_FEED_ENTRIES, 1, UINT32_MAX, 0, bytes),
		      "head_bytes");
	check_hostile(true, bytes, make_header(MR_FEED_ENTRIES, 1, 64, UINT32_MAX, bytes),
		      "payload_bytes");
	check_hostile(true, bytes, make_header(MR_FEED_NOTICE, 0, 0, UINT32_MAX, bytes),
		      "payload_bytes");
	check_hostile(false, bytes, make_header(MR_FEED_HELLO, 0, UINT32_MAX, 0, bytes),
		      "head_bytes");
}

Test(feed_refusals, a_wrong_checksum)
{
	uint8_t bytes[256];
	size_t count = make_entries(bytes, sizeof(bytes), true);

	bytes[count - 1] ^= 1;
	check_hostile(true, bytes, count, "head_crc");
	mr_feed_encode_notice(MR_FEED_VERSION, "notice", 6, bytes);
	memcpy(bytes + MR_FEED_HEADER_BYTES, "NOTICE", 6);
	check_hostile(true, bytes, MR_FEED_HEADER_BYTES + 6, "payload_crc");
}

/* A good message of an older connection, said again on a new one: its channels are not open. */
Test(feed_refusals, frames_of_an_older_connection)
{
	uint8_t bytes[256];

	check_hostile(true, bytes, make_entries(bytes, sizeof(bytes), false),
		      "channel 3, which is not open");
}

Test(feed_refusals, a_channel_opened_twice)
{
	uint8_t bytes[512];
	size_t count = make_entries(bytes, 256, true);

	count += make_entries(bytes + count, 256, true);
	{
		struct rig *b = rig_start(1, NULL);
		int fd;

		rig_route(b, 1, 2);
		fd = raw_meet(b, &usual);
		raw_send(fd, bytes, count);
		raw_refused(fd, MR_FEED_REFUSED_MESSAGE, "opens channel 3 again");
		rig_stop(b);
	}
}

/* A message without a fault but for its last entry is nobody's at all. */
Test(feed_refusals, a_message_with_one_fault_is_dropped_as_a_whole)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_item open = {.channel = 0, .entry = {.kind = MR_FEED_OPEN}, .partition = 2};
	struct mr_feed_term term = {0};
	struct mr_feed_item entry = {.entry = {.kind = MR_FEED_FLUSHED, .session = 1},
				     .term = &term};
	struct mr_feed_writer writer;
	uint8_t bytes[512];
	int fd;

	rig_topic_id(1, open.topic_id);
	rig_route(b, 1, 2);
	fd = raw_meet(b, &usual);
	mr_feed_begin(&writer, MR_FEED_VERSION, bytes, sizeof(bytes));
	cr_assert_eq(mr_feed_add(&writer, &open), 0);
	cr_assert_eq(mr_feed_add(&writer, &entry), 0);
	raw_send(fd, bytes, mr_feed_end(&writer, NULL, 0));
	rig_wait(b->arrival_count == 1);
	mr_feed_begin(&writer, MR_FEED_VERSION, bytes, sizeof(bytes));
	cr_assert_eq(mr_feed_add(&writer, &entry), 0);
	entry.channel = 9;
	entry.term = NULL;
	cr_assert_eq(mr_feed_add(&writer, &entry), 0);
	raw_send(fd, bytes, mr_feed_end(&writer, NULL, 0));
	raw_refused(fd, MR_FEED_REFUSED_MESSAGE, "channel 9");
	rig_wait(!b->connection[0]);
	cr_assert_eq(b->arrival_count, 1);
	rig_stop(b);
}

/* Every cut of a good conversation, then the end: no crash, and the next one is let in. */
Test(feed_refusals, conversations_that_break_off)
{
	struct rig *b = rig_start(1, NULL);
	uint8_t bytes[1024];
	size_t count = mr_feed_encode_hello(&usual, bytes);

	count += make_entries(bytes + count, 256, true);
	mr_feed_encode_notice(MR_FEED_VERSION, "notice", 6, bytes + count);
	memcpy(bytes + count + MR_FEED_HEADER_BYTES, "notice", 6);
	count += MR_FEED_HEADER_BYTES + 6;
	for (size_t cut = 0; cut <= count; cut += 7) {
		int fd = raw_connect(b);

		raw_send(fd, bytes, cut);
		if (cut % 2)
			rig_turn();
		close(fd);
		rig_turn();
		rig_wait(!b->connection[0]);
	}
	close(raw_meet(b, &usual));
	rig_stop(b);
}

/* Flipped bits anywhere behind the hello: refused, whatever they say. */
Test(feed_refusals, flipped_bits)
{
	struct rig *b = rig_start(1, NULL);
	uint8_t bytes[256];
	size_t count = make_entries(bytes, sizeof(bytes), true);

	for (size_t at = 0; at < count; at += 2) {
		int fd;

		rig_wait(!b->connection[0]);
		if (at >= 5 && at < 8)
			continue; /* lengths: below */
		fd = raw_meet(b, &usual);
		bytes[at] ^= 0x10;
		raw_send(fd, bytes, count);
		raw_refused(fd, MR_FEED_REFUSED_MESSAGE, "feed message has");
		bytes[at] ^= 0x10;
	}
	rig_stop(b);
}

/* ---- silence ---- */

Test(feed_refusals, who_says_no_hello_is_let_go)
{
	struct rig_tuning tuning = {.patience_ms = 300};
	struct rig *b = rig_start(1, &tuning);
	uint64_t began_ms = rig_now_ms();
	int silent = raw_connect(b), half = raw_connect(b);
	uint8_t bytes[MR_FEED_HELLO_BYTES_MAX];

	raw_send(half, bytes, mr_feed_encode_hello(&usual, bytes) - 1);
	raw_refused(silent, MR_FEED_REFUSED_MESSAGE, "no hello in time");
	cr_assert_geq(rig_now_ms() - began_ms, 250);
	raw_refused(half, MR_FEED_REFUSED_MESSAGE, "in time");
	rig_stop(b);
}

/* Whoever comes back is found within about a second: it once took eight, with five between. */
Test(feed_refusals, who_cannot_be_reached_is_called_again_soon)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct rig_tuning tuning = {.strangers = 1u << 2};
	uint64_t began_ms = rig_now_ms();
	uint32_t calls = 0;
	struct rig *a;
	int fd;

	cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(listener, 8), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &bytes), 0);
	tuning.ports[1] = ntohs(at.sin_port);
	a = rig_start(0, &tuning);
	while (calls < 12) {
		fd = -1;
		rig_wait(fd >= 0 || (fd = accept(listener, NULL, NULL)) >= 0);
		close(fd);
		calls++;
	}
	/* with five seconds between them it would be 26 in all; it is about six */
	cr_assert_lt(rig_now_ms() - began_ms, 20000);
	rig_stop(a);
	close(listener);
}

Test(feed_refusals, half_a_message_and_silence)
{
	struct rig_tuning tuning = {.patience_ms = 1500};
	struct rig *c = rig_start(2, &tuning), *b = rig_start(1, &tuning);
	uint8_t bytes[256];
	size_t count = make_entries(bytes, sizeof(bytes), true);
	uint64_t connection;
	int fd;

	rig_meet(b, c);
	connection = b->connection[2];
	for (size_t cut = 1; cut < count; cut += count / 3) {
		fd = raw_meet(b, &usual);
		raw_send(fd, bytes, cut);
		raw_refused(fd, MR_FEED_REFUSED_MESSAGE, "did not come to its end");
		rig_wait(!b->connection[0]);
	}
	fd = raw_meet(b, &usual); /* silence between messages is nothing bad */
	for (uint64_t until_ms = rig_now_ms() + 3300; rig_now_ms() < until_ms;)
		rig_turn();
	cr_assert(b->connection[0]);
	cr_assert_eq(b->connection[2], connection);
	close(fd);
	rig_stop(b);
	rig_stop(c);
}

/* A peer that takes nothing for long: its parcels come back, it does not hold them for ever. */
Test(feed_refusals, who_takes_nothing_is_let_go)
{
	struct rig_tuning tuning = {.patience_ms = 200};
	struct rig *b = rig_start(1, &tuning);
	int fd = raw_meet(b, &usual);

	for (int32_t p = 0; p < 10; p++)
		rig_send_batches(b, 0, 1, p, 0, 4, 1000000);
	rig_parcels_back(b, 10, -ENOTCONN);
	cr_assert_not_null(strstr(rig_event(b, MR_FEED_EVENT_DISCONNECTED)->text, "takes nothing"));
	close(fd);
	rig_stop(b);
}

/* Whether the other side has ended it. */
static bool raw_is_over(int fd)
{
	struct pollfd look = {.fd = fd, .events = POLLIN};
	uint8_t byte;

	return poll(&look, 1, 0) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static uint32_t count_open(const int *fds, uint32_t count)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < count; i++)
		open += !raw_is_over(fds[i]);
	return open;
}

/* Many that say nothing leave room for one that does; of them there are never more than a few. */
Test(feed_refusals, a_crowd_of_strangers)
{
	struct rig_tuning tuning = {.patience_ms = 60000}; /* no time-out ends them */
	struct rig *b = rig_start(1, &tuning);
	int fds[200];

	for (uint32_t i = 0; i < 200; i++) {
		fds[i] = raw_connect(b);
		rig_turn();
	}
	rig_wait(count_open(fds, 200) <= 64);
	close(raw_meet(b, &usual));
	for (uint32_t i = 0; i < 200; i++)
		close(fds[i]);
	cr_assert_leq(b->event_count, 4, "control is not told of each");
	rig_stop(b);
}

/* Whoever claims to be a peer, and is refused for another reason each time, fills nobody's mailbox.
 */
Test(feed_refusals, a_liar_with_many_reasons)
{
	struct rig *b = rig_start(1, NULL);
	struct mr_feed_hello hello = usual;

	for (int i = 0; i < 100; i++) {
		int fd = raw_connect(b);

		snprintf(hello.name, sizeof(hello.name), "z%d", i);
		raw_hello(fd, &hello);
		raw_refused(fd, MR_FEED_REFUSED_NODE, "but 'b' knows it as");
	}
	cr_assert_geq(b->event_count, 1);
	cr_assert_leq(b->event_count, 20, "control is not told of each: %u", b->event_count);
	cr_assert_not_null(strstr(rig_status(b, 0).last_error, "'z99'"), "but each is shown");
	close(raw_meet(b, &usual)); /* and the peer itself is let in */
	rig_stop(b);
}

/* ---- at the door ---- */

Test(feed_refusals, options_that_cannot_be)
{
	struct rig *b = rig_start(1, NULL);
	struct rig_tuning taken = {0};
	char address[32];
	struct mr_error err;

	snprintf(address, sizeof(address), "127.0.0.1:%u", rig_port(b));
	taken.address = address;
	cr_assert_eq(rig_try(2, &taken, &err), -EADDRINUSE, "%s", err.what);
	cr_assert_not_null(strstr(err.what, address), "%s", err.what);
	taken.address = "nowhere";
	cr_assert_eq(rig_try(2, &taken, &err), -EINVAL);
	rig_stop(b);
}

/* ---- silence ---- */

static struct mr_feed_hello watched(void)
{
	struct mr_feed_hello hello = usual;

	hello.capabilities = MR_FEED_CAN_SAY_ALIVE;
	return hello;
}

/* A stopped process: its host still takes bytes, and TCP has no complaint. */
Test(feed_refusals, a_peer_that_falls_silent_is_told_so_and_left)
{
	struct rig_tuning tuning = {.patience_ms = 3000};
	struct rig *b = rig_start(1, &tuning);
	struct mr_feed_hello hello = watched();
	const struct mr_feed_event *event;
	struct mr_feed_refusal refusal;
	uint64_t met_ms;
	int fd = raw_meet(b, &hello);

	met_ms = rig_now_ms();
	rig_wait(rig_status(b, 0).silent);
	cr_assert(rig_status(b, 0).connected, "people hear of it before it is ended");
	event = rig_event(b, MR_FEED_EVENT_DISCONNECTED);
	cr_assert_geq(rig_now_ms() - met_ms, 2500);
	cr_assert_str_eq(event->text, "'b' heard nothing from 'a' for 3.0 s");
	cr_assert_not(rig_status(b, 0).silent, "it is not connected");
	cr_assert_not(rig_status(b, 0).connected);
	cr_assert_eq(raw_news(fd), MR_FEED_REFUSE);
	cr_assert_eq(mr_feed_decode_refusal(&head, body, mr_feed_body_bytes(&head), &refusal, NULL),
		     0);
	cr_assert_eq(refusal.code, MR_FEED_REFUSED_SILENT);
	cr_assert_eq(raw_message(fd), 0);
	close(fd);
	fd = raw_meet(b, &hello); /* it goes on, and comes back */
	close(fd);
	rig_stop(b);
}

Test(feed_refusals, whoever_has_nothing_to_say_gives_signs_of_life)
{
	struct rig_tuning tuning = {.patience_ms = 3000};
	struct rig *b = rig_start(1, &tuning);
	struct mr_feed_hello hello = watched();
	uint64_t began_ms, took_ms;
	uint8_t bytes[MR_FEED_HEADER_BYTES];
	int fd = raw_meet(b, &hello);

	began_ms = rig_now_ms();
	for (int i = 0; i < 20; i++) { /* the time of two patiences */
		cr_assert_eq(raw_message(fd), MR_FEED_ALIVE, "sign %d", i);
		mr_feed_encode_alive(MR_FEED_VERSION, bytes);
		raw_send(fd, bytes, sizeof(bytes));
	}
	took_ms = rig_now_ms() - began_ms;
	cr_assert_geq(took_ms, 5400, "20 signs in %u ms: a tenth of the patience apart",
		      (unsigned int)took_ms);
	cr_assert(b->connection[0], "it was heard");
	cr_assert_not(rig_status(b, 0).silent);
	close(fd);
	rig_stop(b);
}

/* Two feeds that have nothing to tell each other stay connected. */
Test(feed_refusals, silence_of_partitions_is_no_silence)
{
	struct rig_tuning tuning = {.patience_ms = 2000};
	struct rig *b = rig_start(1, &tuning), *a = rig_start(0, &tuning);
	uint64_t until_ms;

	rig_meet(a, b);
	for (until_ms = rig_now_ms() + 5000; rig_now_ms() < until_ms;)
		rig_turn();
	cr_assert_eq(a->news_count[0], 1, "connected once, and never lost");
	cr_assert_eq(b->news_count[0], 1);
	rig_stop(a);
	rig_stop(b);
}

/* Of a host that cannot say that it is there silence says nothing, and it is not bothered. */
Test(feed_refusals, an_older_engine_may_be_silent)
{
	struct rig_tuning tuning = {.patience_ms = 100};
	struct rig *b = rig_start(1, &tuning);
	int fd = raw_meet(b, &usual);
	uint8_t bytes[MR_FEED_HEADER_BYTES];
	uint64_t until_ms;

	for (until_ms = rig_now_ms() + 500; rig_now_ms() < until_ms;)
		rig_turn();
	cr_assert(b->connection[0]);
	cr_assert_not(rig_status(b, 0).silent);
	cr_assert_eq(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1, "nothing was said");
	mr_feed_encode_alive(MR_FEED_VERSION, bytes);
	raw_send(fd, bytes, sizeof(bytes));
	raw_refused(fd, MR_FEED_REFUSED_MESSAGE, "not agreed on");
	rig_stop(b);
}
