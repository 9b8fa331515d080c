/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the socket: bytes that are no message, other versions, wrong sizes, requests out of
 * turn, and floods. Whatever it is, an answer or a hang-up comes in time.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hostile.h"

/* ---- what is no message ---------------------------------------------------------------------- */

struct packet {
	struct mr_message_header head;
	uint8_t body[MR_PACKET_BODY_MAX];
};

static struct mr_message_header good_head(uint32_t type, uint32_t body_bytes)
{
	return (struct mr_message_header){
		.magic = MR_MESSAGE_MAGIC,
		.version = MR_PROTOCOL_VERSION,
		.type = (uint16_t)type,
		.bytes = (uint32_t)sizeof(struct mr_message_header) + body_bytes,
		.request_id = 1,
	};
}

static void random_bytes(struct hostile *self)
{
	static struct packet packet;

	for (int i = 0; i < 60; i++) {
		size_t bytes = 1 + torture_below(&self->random, sizeof(packet));

		if (torture_chance(&self->random, 50))
			bytes = 1 + torture_below(&self->random, 64);
		hostile_connect(self);
		hostile_fill(self, &packet, bytes);
		if (bytes >= sizeof(packet.head) && torture_chance(&self->random, 50))
			packet.head.magic = MR_MESSAGE_MAGIC;
		if (!hostile_send(self, &packet, bytes, NULL, 0))
			continue;
		if (hostile_receive(self) == 0) {
			hostile_refused(self, 0, "a packet of random bytes");
			hostile_hung_up(self, "a packet of random bytes");
		}
	}
}

static void other_versions(struct hostile *self)
{
	static const uint16_t versions[] = {0, MR_PROTOCOL_VERSION + 1, 255, UINT16_MAX};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct mr_hello hello = {.format = MR_FORMAT_VERSION};
		struct packet packet = {.head = good_head(MR_MESSAGE_HELLO, sizeof(hello))};

		packet.head.version = versions[i];
		memcpy(packet.body, &hello, sizeof(hello));
		hostile_connect(self);
		if (!hostile_send(self, &packet, packet.head.bytes, NULL, 0) ||
		    hostile_receive(self) < 0)
			torture_die("an older client does not learn why it is refused");
		hostile_refused(self, -EPROTO, "another version");
		hostile_hung_up(self, "another version");
	}
}

static void other_formats(struct hostile *self)
{
	struct mr_hello hello = {.format = MR_FORMAT_VERSION + 1};

	hostile_connect(self);
	if (hostile_ask(self, MR_MESSAGE_HELLO, &hello, sizeof(hello), NULL, 0) < 0)
		torture_die("a client of another format does not learn why it is refused");
	hostile_refused(self, -EPROTO, "another format of lanes");
}

static void lying_heads(struct hostile *self)
{
	for (int i = 0; i < 40; i++) {
		struct packet packet = {.head = good_head(MR_MESSAGE_HELLO, 72)};
		uint32_t sent = packet.head.bytes;

		packet.head.bytes = (uint32_t)torture_random(&self->random);
		packet.head.fd_count = (uint16_t)torture_below(&self->random, 3);
		packet.head.type = (uint16_t)torture_below(&self->random, 20);
		hostile_connect(self);
		if (hostile_send(self, &packet, sent, NULL, 0) && hostile_receive(self) == 0)
			hostile_refused(self, -EBADMSG, "a head that lies about its size");
	}
}

/* ---- what is no request ---------------------------------------------------------------------- */

static const uint32_t sizes[MR_MESSAGE_TYPE_COUNT] = {
	[MR_MESSAGE_HELLO] = sizeof(struct mr_hello),
	[MR_MESSAGE_OPEN_TOPIC] = sizeof(struct mr_open_topic),
	[MR_MESSAGE_OPEN_LANE] = sizeof(struct mr_open_lane),
	[MR_MESSAGE_LANE_MAPPED] = sizeof(struct mr_lane_id),
	[MR_MESSAGE_HAND_BACK] = sizeof(struct mr_hand_back),
	[MR_MESSAGE_CLOSE_LANE] = sizeof(struct mr_lane_id),
	[MR_MESSAGE_WAIT_MAPPED] = sizeof(struct mr_wait_id),
	[MR_MESSAGE_ATTACH_TAIL] = sizeof(struct mr_attach_tail),
	[MR_MESSAGE_DETACH_TAIL] = sizeof(struct mr_attach_tail),
	[MR_MESSAGE_FIND_SEGMENT] = sizeof(struct mr_find_segment),
	[MR_MESSAGE_FIND_OFFSET] = sizeof(struct mr_find_offset),
	[MR_MESSAGE_COMMIT] = sizeof(struct mr_commit),
	[MR_MESSAGE_COMMITTED] = sizeof(struct mr_commit),
};

static uint32_t fds_of(uint32_t type)
{
	return type == MR_MESSAGE_HAND_BACK ? 2 : 0;
}

static void expect_end(struct hostile *self, int r, const char *what)
{
	if (r < 0)
		return; /* hung up at once */
	hostile_refused(self, 0, what);
	hostile_hung_up(self, what);
}

static void wrong_sizes(struct hostile *self)
{
	static const uint8_t body[MR_PACKET_BODY_MAX];

	for (uint32_t type = 0; type < MR_MESSAGE_TYPE_COUNT + 3; type++) {
		uint32_t right = type < MR_MESSAGE_TYPE_COUNT ? sizes[type] : 0;
		uint32_t wrong[] = {right + 1, right ? right - 1 : 7, (uint32_t)sizeof(body)};

		for (int i = 0; i < 3 && type != MR_MESSAGE_ADMIN; i++) {
			hostile_hello(self);
			expect_end(self, hostile_ask(self, type, body, wrong[i], NULL, 0),
				   "a request of a wrong size");
		}
	}
}

static void before_hello(struct hostile *self)
{
	static const uint8_t body[MR_PACKET_BODY_MAX];

	for (uint32_t type = MR_MESSAGE_OPEN_TOPIC; type < MR_MESSAGE_TYPE_COUNT; type++) {
		int fds[2] = {0, 0};

		hostile_connect(self);
		expect_end(self, hostile_ask(self, type, body, sizes[type], fds, fds_of(type)),
			   "a request before hello");
	}
}

static void wrong_descriptors(struct hostile *self)
{
	for (uint32_t count = 1; count <= 64; count *= 2) {
		struct packet packet = {.head = good_head(MR_MESSAGE_OPEN_WAIT, 0)};
		int fds[64];

		for (uint32_t i = 0; i < count; i++)
			fds[i] = 1;
		packet.head.fd_count = (uint16_t)count;
		hostile_hello(self);
		if (hostile_send(self, &packet, packet.head.bytes, fds, count))
			expect_end(self, hostile_receive(self), "descriptors nobody asked for");
	}
}

/* Right sizes, wrong contents. Everything gets its answer; who is hung up on comes again. */
static void random_fields(struct hostile *self)
{
	static uint8_t body[4096];
	int fds[2] = {0, 1};

	hostile_hello(self);
	for (int i = 0; i < 400; i++) {
		uint32_t type = 1 + (uint32_t)torture_below(&self->random, MR_MESSAGE_ADMIN - 1);

		hostile_fill(self, body, sizes[type]);
		if (torture_chance(&self->random, 50))
			memset(body, 0, sizes[type] / 2);
		if (type == MR_MESSAGE_HELLO)
			continue;
		if (hostile_ask(self, type, body, sizes[type], fds, fds_of(type)) < 0)
			hostile_hello(self);
	}
}

/* Names of things that are not there, in the right words. */
static void unknown_things(struct hostile *self)
{
	struct mr_lane_id lane = {.lane = 77};
	struct mr_wait_id wait = {.wait = 78};
	struct mr_attach_tail tail = {.partition = -1, .wait = 79};
	struct mr_topic_reply topic;

	hostile_hello(self);
	hostile_open_topic(self, HOSTILE_TOPIC, &topic);
	(void)hostile_ask(self, MR_MESSAGE_LANE_MAPPED, &lane, sizeof(lane), NULL, 0);
	hostile_refused(self, 0, "an unknown lane, mapped");
	(void)hostile_ask(self, MR_MESSAGE_CLOSE_LANE, &lane, sizeof(lane), NULL, 0);
	hostile_refused(self, 0, "an unknown lane, closed");
	(void)hostile_ask(self, MR_MESSAGE_WAIT_MAPPED, &wait, sizeof(wait), NULL, 0);
	hostile_refused(self, 0, "an unknown wait page");
	memcpy(tail.topic_id, topic.topic_id, sizeof(tail.topic_id));
	(void)hostile_ask(self, MR_MESSAGE_ATTACH_TAIL, &tail, sizeof(tail), NULL, 0);
	hostile_refused(self, 0, "partition -1");
	tail.partition = 0;
	(void)hostile_ask(self, MR_MESSAGE_ATTACH_TAIL, &tail, sizeof(tail), NULL, 0);
	hostile_refused(self, 0, "a tail for an unknown wait page");
}

/* ---- admin ----------------------------------------------------------------------------------- */

static void admin_nonsense(struct hostile *self)
{
	static const char *const texts[] = {
		"",
		"null",
		"{",
		"[]",
		"{}",
		"{\"do\": 7}",
		"{\"do\": \"topic.create\"}",
		"{\"do\": \"topic.create\", \"name\": \"../../x\"}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"partitions\": -1}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"partitions\": 1e308}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"segment_bytes\": 1}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"storage\": \"paper\"}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"storage\": 1}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"storage\": \"memory\", "
		"\"retention_ms\": 1000}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"storage\": \"memory\", "
		"\"tail_bytes\": 3145728}",
		"{\"do\": \"topic.create\", \"name\": \"x\", \"tail_bytes\": -1}",
		"{\"do\": \"topic.delete\", \"name\": \"__offsets\"}",
		"{\"do\": \"topic.describe\", \"name\": \"\\u0000\"}",
		"{\"do\": \"\xff\xfe\"}",
	};
	static char deep[60000];

	hostile_hello(self);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (hostile_ask(self, MR_MESSAGE_ADMIN, texts[i], strlen(texts[i]), NULL, 0) < 0)
			hostile_hello(self);
		else
			hostile_refused(self, 0, texts[i]);
	}
	memset(deep, '[', sizeof(deep));
	if (hostile_ask(self, MR_MESSAGE_ADMIN, deep, sizeof(deep), NULL, 0) == 0)
		hostile_refused(self, 0, "brackets without end");
}

/* ---- floods ---------------------------------------------------------------------------------- */

static void never_reading(struct hostile *self)
{
	static const char list[] = "{\"do\": \"topic.list\"}";
	struct packet packet = {.head = good_head(MR_MESSAGE_ADMIN, sizeof(list) - 1)};
	uint64_t end_us = torture_now_us() + HOSTILE_MS * UINT64_C(1000);

	memcpy(packet.body, list, sizeof(list) - 1);
	hostile_hello(self);
	while (hostile_send(self, &packet, packet.head.bytes, NULL, 0))
		if (torture_now_us() > end_us)
			torture_die("the engine waits for one who never reads");
}

static void many_connections(struct hostile *self)
{
	enum { COUNT = 300 };
	struct mr_hello hello = {.format = MR_FORMAT_VERSION};
	int sockets[COUNT], refused = 0;

	for (int i = 0; i < COUNT; i++) {
		self->conversation.socket = -1;
		hostile_connect(self);
		sockets[i] = self->conversation.socket;
	}
	for (int i = 0; i < COUNT; i++) {
		self->conversation.socket = sockets[i];
		if (hostile_ask(self, MR_MESSAGE_HELLO, &hello, sizeof(hello), NULL, 0) < 0 ||
		    self->reply.head.status < 0)
			refused++;
	}
	for (int i = 0; i < COUNT; i++)
		(void)close(sockets[i]); /* enough */
	self->conversation.socket = -1;
	if (refused == 0)
		torture_die("one user may have %d connections", COUNT);
	hostile_hello(self); /* there is room again */
}

static void turned_away_with_a_reason(struct hostile *self)
{
	enum { COUNT = 64 };
	int sockets[COUNT];
	bool told = false;

	for (int i = 0; i < COUNT; i++) {
		self->conversation.socket = -1;
		hostile_connect(self);
		sockets[i] = self->conversation.socket;
	}
	for (int i = 0; i < COUNT && !told; i++) {
		struct pollfd news = {.fd = sockets[i], .events = POLLIN};

		self->conversation.socket = sockets[i];
		if (poll(&news, 1, 100) == 1 && hostile_receive(self) == 0) {
			hostile_refused(self, -EMFILE, "one connection too many");
			told = true;
		}
	}
	self->conversation.socket = -1;
	for (int i = 0; i < COUNT; i++)
		(void)close(sockets[i]); /* enough */
	if (!told)
		torture_die("one who has too many connections is not told so");
}

static void many_lanes(struct hostile *self)
{
	struct mr_open_lane body = {.lane_bytes = 64u << 10};
	struct mr_topic_reply topic;
	int refused = 0;

	hostile_hello(self);
	for (int i = 0; i < 2000; i++) {
		hostile_open_topic(self, HOSTILE_TOPIC, &topic);
		memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
		body.producer_id = topic.producer_id;
		if (hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0) < 0)
			torture_die("hung up after %d lanes", i);
		if (self->reply.head.status < 0) {
			hostile_refused(self, -ENOBUFS, "one lane too many");
			refused++;
		}
	}
	if (refused == 0)
		torture_die("one user may have 2000 lanes");
}

static void same_producer_twice(struct hostile *self)
{
	struct hostile_lane lane;
	struct mr_open_lane body = {.lane_bytes = 64u << 10};
	struct mr_topic_reply topic;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &lane);
	hostile_open_topic(self, HOSTILE_TOPIC, &topic);
	memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
	body.producer_id = lane.producer_id;
	(void)hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0);
	hostile_refused(self, -EBUSY, "a second lane of one producer");
	hostile_close_lane(&lane);
}

static void nonsense_lanes(struct hostile *self)
{
	struct mr_topic_reply topic;
	struct mr_open_lane body = {0};

	hostile_hello(self);
	hostile_open_topic(self, HOSTILE_TOPIC, &topic);
	memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
	body.producer_id = topic.producer_id;
	body.acks = 3;
	(void)hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0);
	hostile_refused(self, 0, "an acks level that there is not");
	body.acks = 0;
	body.lane_bytes = UINT32_MAX;
	(void)hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0);
	hostile_refused(self, 0, "a lane of 4 GiB");
	body.lane_bytes = 0;
	body.producer_id = -1;
	(void)hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0);
	hostile_refused(self, 0, "a lane of nobody");
}

static void many_waits(struct hostile *self)
{
	int refused = 0;

	hostile_hello(self);
	for (int i = 0; i < 400; i++) {
		if (hostile_ask(self, MR_MESSAGE_OPEN_WAIT, NULL, 0, NULL, 0) < 0)
			torture_die("hung up after %d wait pages", i);
		if (self->reply.head.status < 0) {
			hostile_refused(self, 0, "one wait page too many");
			refused++;
		}
	}
	if (refused == 0)
		torture_die("one connection may have 400 wait pages");
}

const struct hostile_attack hostile_socket_attacks[] = {
	{"random bytes", random_bytes},
	{"other versions", other_versions},
	{"other formats", other_formats},
	{"lying heads", lying_heads},
	{"wrong sizes", wrong_sizes},
	{"before hello", before_hello},
	{"wrong descriptors", wrong_descriptors},
	{"random fields", random_fields},
	{"unknown things", unknown_things},
	{"admin nonsense", admin_nonsense},
	{"never reading", never_reading},
	{"many connections", many_connections},
	{"turned away", turned_away_with_a_reason},
	{"many lanes", many_lanes},
	{"same producer twice", same_producer_twice},
	{"nonsense lanes", nonsense_lanes},
	{"many waits", many_waits},
	{NULL, NULL},
};
