/* SPDX-License-Identifier: Apache-2.0 */
/* The attackers' client (hostile.h). One thread a process, but for what an attack starts itself. */
#include "hostile.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doorbell.h"

/* ---- packets --------------------------------------------------------------------------------- */

void hostile_connect(struct hostile *self)
{
	uint64_t end_us = torture_now_us() + HOSTILE_MS * UINT64_C(1000);

	if (self->conversation.socket >= 0)
		(void)close(self->conversation.socket); /* whatever was said there */
	self->conversation.wake = -1;
	do {
		self->conversation.socket = mr_conversation_connect(self->path);
		if (self->conversation.socket >= 0)
			return;
		torture_sleep_us(1000); /* its backlog may be full */
	} while (torture_now_us() < end_us);
	torture_die("cannot connect: %s", strerror(-self->conversation.socket));
}

int hostile_ask(struct hostile *self, uint32_t type, const void *body, size_t bytes, const int *fds,
		uint32_t fd_count)
{
	struct mr_request request = {
		.type = (enum mr_message_type)type,
		.body = body,
		.body_bytes = bytes,
		.fds = fds,
		.fd_count = fd_count,
	};
	int r;

	mr_packet_close_fds(&self->reply);
	r = mr_conversation_ask(&self->conversation, &request, mr_deadline_after(HOSTILE_MS),
				&self->reply);
	if (r == -ETIMEDOUT)
		torture_die("no answer to a request of type %u", type);
	return r;
}

bool hostile_send(struct hostile *self, const void *bytes, size_t count, const int *fds,
		  uint32_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd_count) {
		struct cmsghdr *rights = &control.align;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
	}
	while (sendmsg(self->conversation.socket, &message, MSG_NOSIGNAL) < 0) {
		struct pollfd room = {.fd = self->conversation.socket, .events = POLLOUT};

		if (errno != EAGAIN)
			return false;
		if (poll(&room, 1, HOSTILE_MS) != 1)
			torture_die("the engine takes no more packets, and does not hang up");
	}
	return true;
}

int hostile_receive(struct hostile *self)
{
	struct pollfd news = {.fd = self->conversation.socket, .events = POLLIN};

	mr_packet_close_fds(&self->reply);
	if (poll(&news, 1, HOSTILE_MS) != 1)
		torture_die("no answer, and no hang-up");
	return mr_packet_receive(self->conversation.socket, &self->reply);
}

void hostile_refused(struct hostile *self, int code, const char *of_what)
{
	struct mr_error_reply text;

	if (self->reply.head.status >= 0)
		torture_die("%s was not refused", of_what);
	if (code && self->reply.head.status != code)
		torture_die("%s was refused with %s", of_what, strerror(-self->reply.head.status));
	if (self->reply.body_bytes != sizeof(text))
		torture_die("%s was refused without a sentence", of_what);
	memcpy(&text, self->reply.body, sizeof(text));
	if (text.what[0] == '\0' || !memchr(text.what, '\0', sizeof(text.what)))
		torture_die("%s was refused without words", of_what);
}

void hostile_hung_up(struct hostile *self, const char *after_what)
{
	int r = hostile_receive(self);

	if (r == 0)
		torture_die("the engine goes on talking after %s", after_what);
}

void hostile_hello(struct hostile *self)
{
	struct mr_hello hello = {.format = MR_FORMAT_VERSION, .client_name = "hostile"};
	uint64_t end_us = torture_now_us() + HOSTILE_MS * UINT64_C(1000);

	do { /* connections of an attack before this one may not be gone yet */
		hostile_connect(self);
		if (hostile_ask(self, MR_MESSAGE_HELLO, &hello, sizeof(hello), NULL, 0) == 0 &&
		    self->reply.head.status == 0)
			return;
		torture_sleep_us(10000);
	} while (torture_now_us() < end_us);
	torture_die("the engine says no hello");
}

void hostile_fill(struct hostile *self, void *at, size_t bytes)
{
	uint8_t *to = at;

	for (size_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)torture_random(&self->random);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

void hostile_open_topic(struct hostile *self, const char *name, struct mr_topic_reply *reply)
{
	struct mr_open_topic body = {.create = 1, .producer = 1};

	memcpy(body.name, name, strlen(name) + 1);
	if (hostile_ask(self, MR_MESSAGE_OPEN_TOPIC, &body, sizeof(body), NULL, 0) < 0 ||
	    self->reply.head.status < 0)
		torture_die("cannot open topic '%s'", name);
	memcpy(reply, self->reply.body, sizeof(*reply));
}

static void *map(int fd, size_t bytes, int protection)
{
	void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		torture_die("cannot map a lane: %s", strerror(errno));
	return at;
}

int hostile_say_mapped(struct hostile *self, const struct hostile_lane *lane)
{
	struct mr_lane_id id = {.lane = lane->id};

	return hostile_ask(self, MR_MESSAGE_LANE_MAPPED, &id, sizeof(id), NULL, 0);
}

void hostile_open_lane(struct hostile *self, const char *topic, uint32_t acks, bool mapped,
		       struct hostile_lane *lane)
{
	struct mr_open_lane body = {.acks = acks, .lane_bytes = 64u << 10, .partition = 0};
	struct mr_topic_reply opened;
	struct mr_lane_reply reply;

	if (acks == MR_ACKS_MEMORY && !strcmp(topic, HOSTILE_TOPIC))
		topic = HOSTILE_MEMORY_TOPIC;
	hostile_open_topic(self, topic, &opened);
	memcpy(body.topic_id, opened.topic_id, sizeof(body.topic_id));
	body.producer_id = opened.producer_id;
	/* lanes of sessions that ended count until the worker has let go of them */
	for (int tries = 0; tries < 300; tries++) {
		if (hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0) < 0)
			torture_die("cannot ask for a lane");
		if (self->reply.head.status != -ENOBUFS)
			break;
		torture_sleep_us(10000);
	}
	if (self->reply.head.status < 0 || self->reply.head.fd_count != 4)
		torture_die("cannot open a lane: %d %.320s", self->reply.head.status,
			    (const char *)self->reply.body);
	memcpy(&reply, self->reply.body, sizeof(reply));
	*lane = (struct hostile_lane){
		.id = reply.lane,
		.producer_id = opened.producer_id,
		.lane_bytes = reply.lane_bytes,
		.client_fd = self->reply.fds[0],
		.engine_fd = self->reply.fds[1],
		.bell_to_worker = self->reply.fds[2],
		.bell_to_client = self->reply.fds[3],
	};
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		self->reply.fds[i] = -1;
	lane->client = map(lane->client_fd, MR_PAGE_BYTES + (size_t)lane->lane_bytes,
			   PROT_READ | PROT_WRITE);
	lane->engine = map(lane->engine_fd, MR_LANE_ENGINE_BYTES, PROT_READ);
	lane->client->magic = MR_LANE_CLIENT_MAGIC;
	lane->client->version = MR_FORMAT_VERSION;
	if (mapped && (hostile_say_mapped(self, lane) < 0 || self->reply.head.status < 0))
		torture_die("the engine does not take a lane");
}

void hostile_close_lane(struct hostile_lane *lane)
{
	(void)munmap(lane->client, MR_PAGE_BYTES + (size_t)lane->lane_bytes); /* its own side */
	(void)munmap((void *)lane->engine, MR_LANE_ENGINE_BYTES);	      /* the same */
	(void)close(lane->client_fd);					      /* the same */
	(void)close(lane->engine_fd);					      /* the same */
	(void)close(lane->bell_to_worker);				      /* the same */
	(void)close(lane->bell_to_client);				      /* the same */
}

void hostile_publish(struct hostile_lane *lane, uint32_t index)
{
	atomic_store(&lane->client->published, index);
	mr_doorbell_ring(lane->bell_to_worker);
}

static void write_slots(struct hostile_lane *lane, uint32_t at, const void *bytes, uint32_t count)
{
	uint8_t *slots = (uint8_t *)lane->client + MR_PAGE_BYTES;

	for (uint32_t i = 0; i < count; i++)
		slots[(at + i) & (lane->lane_bytes - 1)] = ((const uint8_t *)bytes)[i];
}

void hostile_put(struct hostile_lane *lane, const struct mr_frame *frame, const void *payload,
		 uint32_t payload_bytes)
{
	uint32_t at = lane->index * MR_SLOT_BYTES;
	uint32_t bytes = (uint32_t)sizeof(*frame) + payload_bytes;

	write_slots(lane, at, frame, sizeof(*frame));
	write_slots(lane, at + (uint32_t)sizeof(*frame), payload, payload_bytes);
	lane->index += (bytes + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES;
	lane->number++;
	hostile_publish(lane, lane->index);
}

struct mr_frame hostile_good_frame(const struct hostile_lane *lane, uint32_t value_bytes)
{
	return (struct mr_frame){
		.bytes = (uint32_t)sizeof(struct mr_frame) + value_bytes,
		.kind = MR_FRAME_RECORD,
		.flags = MR_FRAME_NULL_KEY,
		.number = lane->number,
		.value_bytes = value_bytes,
	};
}

bool hostile_is_poisoned(const struct hostile_lane *lane)
{
	return atomic_load(&lane->engine->reason) != MR_LANE_OPEN;
}

void hostile_poisoned(struct hostile_lane *lane, const char *by_what)
{
	uint64_t end_us = torture_now_us() + HOSTILE_MS * UINT64_C(1000);

	while (!hostile_is_poisoned(lane)) {
		if (torture_now_us() > end_us)
			torture_die("%s does not close the lane", by_what);
		mr_doorbell_ring(lane->bell_to_worker);
		torture_sleep_us(1000);
	}
	if (lane->engine->reason_text[0] == '\0' ||
	    !memchr(lane->engine->reason_text, '\0', sizeof(lane->engine->reason_text)))
		torture_die("%s closes the lane without a sentence", by_what);
}
