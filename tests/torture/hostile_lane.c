/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks through shared memory: indexes, frames, frames that change while they are read, the
 * memory itself, and lanes handed back that are not what they say. The attacker loses its lane,
 * with a sentence on the engine's page, and nobody else loses anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "doorbell.h"
#include "hostile.h"

/* Nonsense goes beside a well-behaved producer's records: none of it is ever taken. */
#define NEIGHBOUR_TOPIC "torture"

/* ---- indexes and frames ---------------------------------------------------------------------- */

static void wild_indexes(struct hostile *self)
{
	for (int i = 0; i < 30; i++) {
		struct hostile_lane lane;
		uint32_t capacity, index;

		hostile_hello(self);
		hostile_open_lane(self, NEIGHBOUR_TOPIC, i % 3, true, &lane);
		capacity = lane.lane_bytes / MR_SLOT_BYTES;
		index = i == 0	 ? capacity + 1
			: i == 1 ? UINT32_MAX
				 : capacity + 1 +
					   (uint32_t)torture_below(&self->random,
								   UINT32_MAX - 2 * capacity);
		hostile_publish(&lane, index);
		hostile_poisoned(&lane, "an impossible index");
		hostile_close_lane(&lane);
	}
}

/* One field of a frame that is good otherwise. */
static void spoil(struct hostile *self, struct mr_frame *frame, uint32_t which)
{
	uint32_t luck = (uint32_t)torture_random(&self->random);

	switch (which) {
	case 0:
		frame->bytes = luck % sizeof(*frame);
		break;
	case 1:
		frame->bytes = UINT32_MAX - luck % 64;
		break;
	case 2:
		frame->bytes += 8 + luck % 100000;
		break;
	case 3:
		frame->kind = (uint8_t)(MR_FRAME_RECORD + 1 + luck % 250);
		break;
	case 4:
		frame->flags |= (uint8_t)(4u << (luck % 6));
		break;
	case 5:
		frame->number += 1 + luck;
		break;
	case 6:
		frame->number -= 1 + (uint64_t)luck;
		break;
	case 7:
		frame->key_bytes = luck | 1;
		break;
	case 8:
		frame->value_bytes = UINT32_MAX - luck % 64;
		break;
	case 9:
		frame->key_bytes = UINT32_MAX;
		frame->value_bytes = frame->value_bytes + 1;
		frame->flags = 0;
		break;
	case 10:
		frame->header_count = (uint16_t)(1 + luck % 60000);
		break;
	default:
		frame->flags |= MR_FRAME_NULL_VALUE;
		break;
	}
}

static void bad_frames(struct hostile *self)
{
	uint8_t payload[512];

	for (uint32_t which = 0; which < 12 * 4; which++) {
		struct hostile_lane lane;
		struct mr_frame frame;

		hostile_hello(self);
		hostile_open_lane(self, NEIGHBOUR_TOPIC, which % 3, true, &lane);
		hostile_fill(self, payload, sizeof(payload));
		frame = hostile_good_frame(&lane, 1 + which * 7);
		spoil(self, &frame, which % 12);
		hostile_put(&lane, &frame, payload, 1 + which * 7);
		hostile_poisoned(&lane, "a bad frame");
		hostile_close_lane(&lane);
	}
}

static void random_slots(struct hostile *self)
{
	for (int i = 0; i < 30; i++) {
		struct hostile_lane lane;

		hostile_hello(self);
		hostile_open_lane(self, NEIGHBOUR_TOPIC, i % 3, true, &lane);
		hostile_fill(self, (uint8_t *)lane.client + MR_PAGE_BYTES, lane.lane_bytes);
		hostile_publish(&lane, lane.lane_bytes / MR_SLOT_BYTES);
		hostile_poisoned(&lane, "random bytes in the slots");
		hostile_close_lane(&lane);
	}
}

/* Headers are checked as copied, not as they stand in the lane. */
static void bad_headers(struct hostile *self)
{
	uint8_t payload[256];

	for (int i = 0; i < 40; i++) {
		struct hostile_lane lane;
		struct mr_frame frame;
		uint32_t bytes = 8 + (uint32_t)torture_below(&self->random, 200);

		hostile_hello(self);
		hostile_open_lane(self, HOSTILE_TOPIC, i % 3, true, &lane);
		hostile_fill(self, payload, bytes);
		payload[0] = 0xff; /* a name of a negative or huge length */
		payload[1] = 0xff;
		payload[2] = 0xff;
		frame = hostile_good_frame(&lane, 0);
		frame.bytes += bytes;
		frame.header_count = (uint16_t)(1 + torture_below(&self->random, bytes / 2));
		hostile_put(&lane, &frame, payload, bytes);
		hostile_poisoned(&lane, "headers that are none");
		hostile_close_lane(&lane);
	}
}

/* ---- records changed while they are read ----------------------------------------------------- */

struct flipper {
	struct hostile_lane *lane;
	struct torture_random random;
	_Atomic bool stop;
};

static void *flip(void *arg)
{
	struct flipper *flipper = arg;
	uint8_t *slots = (uint8_t *)flipper->lane->client + MR_PAGE_BYTES;

	while (!atomic_load(&flipper->stop)) {
		uint64_t luck = torture_random(&flipper->random);
		uint8_t *byte = &slots[luck % 40 + luck / 64 % 16 * 64];
		uint8_t old = __atomic_load_n(byte, __ATOMIC_RELAXED);

		__atomic_store_n(byte, (uint8_t)(old ^ (luck >> 32)), __ATOMIC_RELAXED);
		for (uint64_t held = luck >> 40 & 0xff; held > 0; held--)
			__builtin_ia32_pause(); /* long enough for the engine to meet it now and
						   then */
		__atomic_store_n(byte, old, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void changing_frames(struct hostile *self)
{
	uint64_t end_us = torture_now_us() + 4000000, most_us = end_us + 16000000;
	int lanes = 0, lost = 0;

	/* on busy cores it takes longer until the engine reads while something is changed */
	while (torture_now_us() < (lost ? end_us : most_us)) {
		struct hostile_lane lane;
		struct flipper flipper = {.lane = &lane, .random = self->random};
		uint8_t payload[32] = {0};
		pthread_t thread;

		hostile_hello(self);
		hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_MEMORY, true, &lane);
		if (pthread_create(&thread, NULL, flip, &flipper) != 0)
			torture_die("no thread");
		for (int i = 0; i < 200 && !hostile_is_poisoned(&lane); i++) {
			struct mr_frame frame = hostile_good_frame(&lane, sizeof(payload));

			hostile_put(&lane, &frame, payload, sizeof(payload));
			if (i % 16 == 15)
				torture_sleep_us(200);
		}
		atomic_store(&flipper.stop, true);
		pthread_join(thread, NULL);
		lost += hostile_is_poisoned(&lane);
		lanes++;
		self->random.state++;
		hostile_close_lane(&lane);
	}
	if (lost == 0)
		torture_die("none of %d lanes was lost: nothing was changed in time", lanes);
}

/* The same with the index, the flags and the bells, which the engine looks at all the time. */
static void flapping_pages(struct hostile *self)
{
	uint64_t end_us = torture_now_us() + 2000000;
	struct hostile_lane lane;
	bool on = false;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &lane);
	while (torture_now_us() < end_us) {
		atomic_store(&lane.client->waiting,
			     on ? 1 : (uint32_t)torture_random(&self->random));
		lane.client->magic = (uint32_t)torture_random(&self->random);
		lane.client->version = (uint32_t)torture_random(&self->random);
		mr_doorbell_ring(lane.bell_to_worker);
		on = !on;
	}
	if (hostile_is_poisoned(&lane))
		torture_die("a lane was closed for its flags");
	hostile_close_lane(&lane);
}

/* Bells that are full, and blocking for whoever shares their open file. */
static void bells(struct hostile *self)
{
	struct hostile_lane lane;
	uint64_t most = UINT64_MAX - 1;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &lane);
	atomic_store(&lane.client->waiting, 1);
	for (int i = 0; i < 300000; i++)
		mr_doorbell_ring(i % 2 ? lane.bell_to_client : lane.bell_to_worker);
	(void)fcntl(lane.bell_to_client, F_SETFL, 0); /* if it is no eventfd, it has two ends */
	for (int i = 0; i < 100; i++) {
		struct mr_frame frame = hostile_good_frame(&lane, 8);

		(void)fcntl(lane.bell_to_worker, F_SETFL, O_NONBLOCK);	/* or this one would hang */
		(void)!write(lane.bell_to_worker, &most, sizeof(most)); /* full now, or already */
		hostile_put(&lane, &frame, "12345678", 8);
		(void)fcntl(lane.bell_to_worker, F_SETFL, 0); /* as the attack began */
		torture_sleep_us(500);
	}
	hostile_close_lane(&lane);
}

/* ---- the memory itself ----------------------------------------------------------------------- */

static void must_fail(bool failed, const char *what)
{
	if (!failed)
		torture_die("%s is not refused", what);
}

static void attack_memory(int fd, size_t bytes, const char *whose)
{
	void *at;

	printf("memory of %s\n", whose);
	must_fail(ftruncate(fd, 0) < 0, "making it smaller");
	must_fail(ftruncate(fd, (off_t)(2 * bytes)) < 0, "making it larger");
	must_fail(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) < 0,
		  "punching holes");
	must_fail(pwrite(fd, "x", 1, 0) < 0, "writing to the descriptor");
	must_fail(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0, "another seal");
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must_fail(at == MAP_FAILED, "mapping it anew for writing");
	at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	must_fail(at == MAP_FAILED || mprotect(at, bytes, PROT_READ | PROT_WRITE) < 0,
		  "making a map writable");
}

static void lane_memory(struct hostile *self)
{
	struct hostile_lane lane;
	size_t bytes;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, false, &lane);
	bytes = MR_PAGE_BYTES + (size_t)lane.lane_bytes;
	must_fail(ftruncate(lane.client_fd, 0) < 0, "making it smaller before it is mapped");
	(void)fallocate(lane.client_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			(off_t)bytes); /* allowed until then */
	if (hostile_say_mapped(self, &lane) < 0 || self->reply.head.status < 0)
		return; /* the engine does not take memory with holes: as well */
	attack_memory(lane.client_fd, bytes, "the lane's client");
	must_fail(madvise(lane.client, bytes, MADV_REMOVE) < 0, "removing pages of an old map");
	attack_memory(lane.engine_fd, MR_LANE_ENGINE_BYTES, "the lane's engine");
	hostile_close_lane(&lane);
}

/* Punched all the while the engine takes it. */
static void punched_while_taken(struct hostile *self)
{
	for (int i = 0; i < 20; i++) {
		struct hostile_lane lane;
		struct mr_lane_id id;
		struct packet {
			struct mr_message_header head;
			struct mr_lane_id id;
		} packet = {0};
		uint64_t end_us;

		hostile_hello(self);
		hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, false, &lane);
		id.lane = lane.id;
		packet.head = (struct mr_message_header){.magic = MR_MESSAGE_MAGIC,
							 .version = MR_PROTOCOL_VERSION,
							 .type = MR_MESSAGE_LANE_MAPPED,
							 .bytes = sizeof(packet)};
		packet.id = id;
		(void)hostile_send(self, &packet, sizeof(packet), NULL, 0); /* told below */
		end_us = torture_now_us() + 20000;
		while (torture_now_us() < end_us)
			(void)madvise(lane.client, MR_PAGE_BYTES + (size_t)lane.lane_bytes,
				      MADV_REMOVE); /* refused sooner or later */
		if (hostile_receive(self) < 0)
			torture_die("hung up on one whose memory has holes");
		hostile_close_lane(&lane);
	}
}

static void tail_memory(struct hostile *self)
{
	struct mr_topic_reply topic;
	struct mr_attach_tail body = {0};
	struct mr_tail_reply reply;

	hostile_hello(self);
	hostile_open_topic(self, NEIGHBOUR_TOPIC, &topic);
	memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
	if (hostile_ask(self, MR_MESSAGE_ATTACH_TAIL, &body, sizeof(body), NULL, 0) < 0 ||
	    self->reply.head.status < 0 || self->reply.fds[0] < 0)
		torture_die("cannot attach a tail");
	memcpy(&reply, self->reply.body, sizeof(reply));
	attack_memory(self->reply.fds[0], MR_TAIL_DATA_OFFSET + reply.tail_bytes, "a tail");
}

/* ---- handing back what is none --------------------------------------------------------------- */

static int hand_back(struct hostile *self, int client_fd, int engine_fd)
{
	struct mr_hand_back body = {.published = torture_random(&self->random)};
	int fds[2] = {client_fd, engine_fd};

	return hostile_ask(self, MR_MESSAGE_HAND_BACK, &body, sizeof(body), fds, 2);
}

/* A memfd with this content. */
static int forge(const void *bytes, size_t count, int seals)
{
	int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || (count && write(fd, bytes, count) != (ssize_t)count) ||
	    (seals && fcntl(fd, F_ADD_SEALS, seals) < 0))
		torture_die("cannot forge memory: %s", strerror(errno));
	return fd;
}

#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

struct engine_memory {
	struct mr_lane_engine_page page;
	uint8_t receipts[MR_PAGE_BYTES];
};

static void expect_refusal(struct hostile *self, int r, const char *what)
{
	if (r == 0)
		hostile_refused(self, 0, what);
	else
		hostile_hello(self); /* it hung up, which is a refusal too */
}

static void foreign_descriptors(struct hostile *self)
{
	static const struct engine_memory nothing;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), ends[2];
	int empty = forge(NULL, 0, 0), unsealed = forge(&nothing, sizeof(nothing), 0);
	int sealed = forge(&nothing, sizeof(nothing), ALL_SEALS);

	if (pipe(ends) < 0 || file < 0)
		torture_die("no descriptors");
	hostile_hello(self);
	expect_refusal(self, hand_back(self, file, file), "a file handed back");
	expect_refusal(self, hand_back(self, ends[0], ends[1]), "a pipe handed back");
	expect_refusal(self, hand_back(self, empty, empty), "empty memory handed back");
	expect_refusal(self, hand_back(self, unsealed, unsealed), "unsealed memory handed back");
	expect_refusal(self, hand_back(self, sealed, sealed), "foreign memory handed back");
	expect_refusal(self, hand_back(self, self->conversation.socket, sealed), "a socket");
	(void)close(file);     /* enough */
	(void)close(ends[0]);  /* the same */
	(void)close(ends[1]);  /* the same */
	(void)close(empty);    /* the same */
	(void)close(unsealed); /* the same */
	(void)close(sealed);   /* the same */
}

static void copy_page(const struct hostile_lane *lane, struct engine_memory *out)
{
	memcpy(out, lane->engine, sizeof(*out));
}

/* The same producer's lane while it is open, and a page whose identity was changed. */
static void replayed_and_forged(struct hostile *self)
{
	static struct engine_memory memory;
	struct hostile_lane lane;
	int forged;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &lane);
	expect_refusal(self, hand_back(self, lane.client_fd, lane.engine_fd),
		       "a lane that is open, handed back");
	for (int i = 0; i < 40; i++) {
		uint8_t *identity = (uint8_t *)&memory.page.identity;

		copy_page(&lane, &memory);
		if (i % 2)
			identity[torture_below(&self->random, sizeof(memory.page.identity))] ^= 1;
		else
			memory.page.mac[torture_below(&self->random, 32)] ^=
				(uint8_t)(1 + torture_below(&self->random, 255));
		forged = forge(&memory, sizeof(memory), ALL_SEALS);
		hostile_hello(self); /* the lane's connection ends: it could be handed back */
		expect_refusal(self, hand_back(self, lane.client_fd, forged), "a forged lane");
		(void)close(forged); /* enough */
	}
	hostile_close_lane(&lane);
}

static void wait_closed(struct hostile *self, const struct hostile_lane *lane)
{
	uint64_t end_us = torture_now_us() + HOSTILE_MS * UINT64_C(1000);

	do { /* -EBUSY until the worker let go of it */
		hostile_hello(self);
		if (hand_back(self, lane->client_fd, lane->engine_fd) == 0 &&
		    self->reply.head.status != -EBUSY)
			return;
		torture_sleep_us(2000);
	} while (torture_now_us() < end_us);
	torture_die("a lane that nobody has is not taken back");
}

/* The mark is right, and all the rest a lie: it was taken, and so is the nonsense lane then. */
static void lying_pages(struct hostile *self)
{
	static struct engine_memory memory;

	for (int i = 0; i < 40; i++) {
		struct hostile_lane lane;
		int forged;

		hostile_hello(self);
		hostile_open_lane(self, HOSTILE_TOPIC, i % 3, true, &lane);
		copy_page(&lane, &memory);
		hostile_fill(self, &memory.page.acknowledged, 64);
		memory.page.number = i % 3 ? torture_random(&self->random) >> 1 : (uint64_t)i;
		memory.page.lost_before = torture_random(&self->random);
		hostile_fill(self, memory.receipts, sizeof(memory.receipts));
		if (i % 2)
			hostile_fill(self, (uint8_t *)lane.client + MR_PAGE_BYTES, lane.lane_bytes);
		atomic_store(&lane.client->published, (uint32_t)torture_random(&self->random));
		forged = forge(&memory, sizeof(memory), ALL_SEALS);
		hostile_hello(self);
		(void)hand_back(self, lane.client_fd, forged); /* whatever it says to that */
		torture_sleep_us(2000);
		(void)close(forged); /* enough */
		hostile_close_lane(&lane);
	}
}

/* Handed back as it should be, again and again, then with another lane's memory. */
static void handed_back(struct hostile *self)
{
	struct hostile_lane lane, other;

	hostile_hello(self);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &other);
	hostile_open_lane(self, HOSTILE_TOPIC, MR_ACKS_COMMITTED, true, &lane);
	for (int i = 0; i < 5; i++) {
		wait_closed(self, &lane);
		if (self->reply.head.status < 0)
			torture_die("a lane is not taken back");
	}
	hostile_hello(self);
	torture_sleep_us(20000);
	(void)hand_back(self, other.client_fd, lane.engine_fd); /* its own memory: as it likes */
	hostile_close_lane(&lane);
	hostile_close_lane(&other);
}

/* A topic in memory gives no lane that promises more, whoever asks and however often. */
static void stronger_acks(struct hostile *self)
{
	struct mr_open_lane body = {.lane_bytes = 64u << 10};
	struct mr_topic_reply topic;

	hostile_hello(self);
	hostile_open_topic(self, HOSTILE_MEMORY_TOPIC, &topic);
	memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
	body.producer_id = topic.producer_id;
	for (uint32_t i = 0; i < 200; i++) {
		body.acks = i < 100 ? i % 2 : 3 + (uint32_t)torture_below(&self->random, 1000);
		if (hostile_ask(self, MR_MESSAGE_OPEN_LANE, &body, sizeof(body), NULL, 0) < 0)
			torture_die("hung up on one who asked for acks %u", body.acks);
		hostile_refused(self, i < 100 ? -EOPNOTSUPP : -EINVAL, "acks that cannot be");
	}
}

const struct hostile_attack hostile_lane_attacks[] = {
	{"wild indexes", wild_indexes},
	{"bad frames", bad_frames},
	{"random slots", random_slots},
	{"bad headers", bad_headers},
	{"changing frames", changing_frames},
	{"flapping pages", flapping_pages},
	{"bells", bells},
	{"lane memory", lane_memory},
	{"punched while taken", punched_while_taken},
	{"tail memory", tail_memory},
	{"foreign descriptors", foreign_descriptors},
	{"replayed and forged", replayed_and_forged},
	{"lying pages", lying_pages},
	{"handed back", handed_back},
	{"stronger acks", stronger_acks},
	{NULL, NULL},
};
