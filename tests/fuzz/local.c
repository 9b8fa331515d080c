/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: what programs may do on the engine's socket. Up to three clients connect, send any
 * packets with any descriptors (those that the engine gave them among them) and leave; behind the
 * conversation stands a host that takes everything, refuses some of it, and lets go late. What must
 * hold beside memory safety: when all have left, nothing of them is left, no descriptor either.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach.h"
#include "doorbell.h"
#include "fuzz.h"
#include "local.h"

#define CLIENTS	     3
#define KEPT_FDS     8
#define HELD_MAX     256
#define STEPS_MAX    64
#define LONG_REPLY   200000
#define LANE_BYTES   (64u << 10)
#define TAIL_BYTES   (1u << 20)
#define RECORD_BYTES (16u << 10)
#define ROUNDS_OF_IT 8

/* What a worker would have. */
struct held {
	struct mr_lane_reader reader;
	struct mr_local_lane *lane; /* one of these two */
	struct mr_local_watch *watch;
	bool leaving;
};

struct host {
	struct held *held[HELD_MAX];
	struct mr_local_ticket *tickets[HELD_MAX];
	uint32_t held_count, ticket_count;
	struct mr_tail tail;
	int bells;
	bool refuses;
	int64_t next_producer_id;
};

static struct host host;
static int clients[CLIENTS];
static int kept[KEPT_FDS];
static uint32_t kept_next;
static int epoll_fd = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* ---- the host -------------------------------------------------------------------------------- */

static int refuse(struct mr_error *err)
{
	mr_error_set(err, -ENOENT, "refused as asked");
	return mr_error_hint(err, "ask for something else");
}

static int open_topic(void *engine, const char *name, bool create, bool producer,
		      struct mr_topic_reply *reply, struct mr_error *err)
{
	fuzz_demand(strlen(name) < sizeof(((struct mr_open_topic *)0)->name));
	if (host.refuses)
		return refuse(err);
	reply->partition_count = 2;
	if (producer)
		reply->producer_id = host.next_producer_id++;
	return 0;
}

static int find_partition(void *engine, const uint8_t topic_id[16], int32_t partition,
			  struct mr_local_partition *out, struct mr_error *err)
{
	if (host.refuses || partition < 0 || partition > 1)
		return refuse(err);
	*out = (struct mr_local_partition){.tail = &host.tail,
					   .bells = host.bells,
					   .node = -1,
					   .leader_epoch = 64,
					   .record_bytes_max = RECORD_BYTES,
					   .topic = "fuzz",
					   .in_memory = partition == 1};
	return 0;
}

static int hold(struct mr_error *err, void **handle)
{
	struct held *held;

	if (host.refuses || host.held_count == HELD_MAX)
		return refuse(err);
	held = calloc(1, sizeof(*held));
	fuzz_demand(held != NULL);
	host.held[host.held_count++] = held;
	*handle = held;
	return 0;
}

static int add_lane(void *engine, struct mr_local_lane_offer *offer, void **handle,
		    struct mr_error *err)
{
	int r = hold(err, handle);
	struct held *held = *handle;

	if (r < 0)
		return r;
	fuzz_demand(offer->identity.partition != 1 || offer->identity.acks == MR_ACKS_MEMORY);
	held->reader = offer->reader;
	held->lane = offer->lane;
	(void)mr_lane_reader_poll(&held->reader, NULL); /* whatever it says: it must be there */
	return 0;
}

static void leave(void *engine, void *handle)
{
	struct held *held = handle;

	fuzz_demand(!held->leaving);
	held->leaving = true;
}

static int add_watch(void *engine, const uint8_t topic_id[16], int32_t partition,
		     const _Atomic uint32_t *waiting, int bell, struct mr_local_watch *watch,
		     void **handle, struct mr_error *err)
{
	int r = hold(err, handle);

	if (r < 0)
		return r;
	((struct held *)*handle)->watch = watch;
	(void)*waiting; /* it must be readable */
	mr_doorbell_ring(bell);
	return 0;
}

static int find_segment(void *engine, const struct mr_find_segment *request,
			struct mr_segment_reply *reply, int *fd, struct mr_error *err)
{
	if (host.refuses)
		return refuse(err);
	*fd = dup(host.tail.fd);
	fuzz_demand(*fd >= 0);
	return 0;
}

static int find_offset(void *engine, const struct mr_find_offset *request, uint64_t *offset,
		       struct mr_error *err)
{
	*offset = 7;
	return host.refuses ? refuse(err) : 0;
}

static int keep_ticket(struct mr_local_ticket *ticket, struct mr_error *err)
{
	if (host.refuses || host.ticket_count == HELD_MAX)
		return refuse(err);
	host.tickets[host.ticket_count++] = ticket;
	return 0;
}

static int commit(void *engine, const struct mr_commit *request, struct mr_local_ticket *ticket,
		  struct mr_error *err)
{
	fuzz_demand(memchr(request->group, '\0', sizeof(request->group)) != NULL);
	return keep_ticket(ticket, err);
}

static int committed(void *engine, const struct mr_commit *request, uint64_t *offset,
		     struct mr_error *err)
{
	fuzz_demand(memchr(request->group, '\0', sizeof(request->group)) != NULL);
	*offset = 9;
	return host.refuses ? refuse(err) : 0;
}

/* Answered later, at once, or at once and at length. */
static int admin(void *engine, const char *request, struct mr_local_ticket *ticket, char **reply,
		 struct mr_error *err)
{
	size_t bytes = strlen(request) % 2 ? LONG_REPLY : 10;

	if (host.refuses || strlen(request) % 3 == 0)
		return keep_ticket(ticket, err);
	*reply = malloc(bytes + 1);
	fuzz_demand(*reply != NULL);
	memset(*reply, 'x', bytes);
	(*reply)[bytes] = '\0';
	return 0;
}

static const struct mr_local_host operations = {
	.open_topic = open_topic,
	.find_partition = find_partition,
	.add_lane = add_lane,
	.close_lane = leave,
	.add_watch = add_watch,
	.remove_watch = leave,
	.find_segment = find_segment,
	.find_offset = find_offset,
	.commit = commit,
	.committed = committed,
	.admin = admin,
};

/* Workers return what they were asked for; requests that wait are answered. */
static void let_go(bool refused)
{
	struct mr_error err;
	uint32_t i = 0;

	mr_error_set(&err, -EIO, "no answer will come");
	while (host.ticket_count)
		mr_local_answer(host.tickets[--host.ticket_count], refused ? -EIO : 0, &err, NULL);
	while (i < host.held_count) {
		struct held *held = host.held[i];

		if (!held->leaving) {
			i++;
			continue;
		}
		host.held[i] = host.held[--host.held_count];
		if (held->lane) {
			mr_lane_reader_close(&held->reader);
			mr_local_lane_closed(held->lane);
		} else {
			mr_local_watch_removed(held->watch);
		}
		free(held);
	}
}

static void poison_one(void)
{
	uint32_t i;

	for (i = 0; i < host.held_count; i++)
		if (host.held[i]->lane && !host.held[i]->leaving) {
			mr_lane_poison(&host.held[i]->reader, MR_LANE_BAD_FRAME, "as asked");
			mr_local_lane_poisoned(host.held[i]->lane);
			return;
		}
}

/* ---- the clients ----------------------------------------------------------------------------- */

static void hang_up(int client)
{
	if (clients[client] >= 0)
		(void)close(clients[client]); /* the engine sees it at its next turn */
	clients[client] = -1;
}

static void enter(int client)
{
	if (clients[client] >= 0)
		return;
	clients[client] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_demand(clients[client] >= 0);
	if (connect(clients[client], (struct sockaddr *)&address, sizeof(address)) < 0)
		hang_up(client);
}

static void keep(int fd)
{
	int *place = &kept[kept_next++ % KEPT_FDS];

	if (*place >= 0)
		(void)close(*place); /* a descriptor of the engine's memory */
	*place = fd;
}

static void take_replies(int client)
{
	static struct mr_packet packet;
	int i;

	while (clients[client] >= 0) {
		int r = mr_packet_receive(clients[client], &packet);

		if (r == -EPIPE)
			hang_up(client);
		if (r < 0)
			return;
		fuzz_demand(packet.head.flags & MR_MESSAGE_REPLY);
		for (i = 0; i < MR_MESSAGE_FDS_MAX; i++)
			if (packet.fds[i] >= 0)
				keep(packet.fds[i]);
	}
}

/* As the library does with a lane's two regions: header and slots are there, a frame perhaps. */
static void write_lane(uint8_t place)
{
	struct mr_lane_writer writer = {0};
	int client = kept[place % KEPT_FDS], engine = kept[(place + 1u) % KEPT_FDS];

	if (client < 0 || engine < 0 ||
	    mr_lane_writer_open(client, engine, LANE_BYTES, 0, &writer, NULL) < 0)
		return;
	mr_lane_writer_close(&writer);
}

/* Sizes of bodies, so that most requests pass the first check. */
static const uint16_t body_bytes[MR_MESSAGE_TYPE_COUNT] = {
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
	[MR_MESSAGE_ADMIN] = 20,
};

/* The input, taken from the front; zeros when it is used up. */
struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

/*
 * A request: its type; a byte that says which descriptors go with it and whether the size is right;
 * where in the body how many bytes of the input stand, then those.
 */
static void send_request(int client, struct input *input)
{
	_Alignas(8) static uint8_t body[MR_PACKET_BODY_MAX];
	struct mr_message_header head = {.type = take(input), .request_id = 7};
	uint8_t shape = take(input), offset = take(input), count = take(input) % 64;
	uint32_t bytes = head.type < MR_MESSAGE_TYPE_COUNT ? body_bytes[head.type] : 8, i;
	uint32_t fd_count = shape & 3;
	int fds[4];

	memset(body, 0, 1024);
	((struct mr_hello *)body)->format = head.type == MR_MESSAGE_HELLO ? MR_FORMAT_VERSION : 0;
	if (head.type == MR_MESSAGE_HAND_BACK)
		fd_count = 2;
	for (i = 0; i < count; i++)
		body[offset + i] = take(input);
	bytes += shape >> 2 & 1 ? shape >> 3 : 0;
	for (i = 0; i < fd_count; i++) {
		fds[i] = kept[((shape >> 4) + i) % KEPT_FDS];
		if (fds[i] < 0)
			fds[i] = clients[client];
	}
	if (clients[client] >= 0)
		(void)mr_packet_send(clients[client], &head, body, bytes, fds, fd_count);
}

static void send_raw(int client, struct input *input)
{
	size_t bytes = take(input);

	if (bytes > input->left)
		bytes = input->left;
	if (clients[client] >= 0) /* whether it went out is all the same */
		(void)!send(clients[client], input->at, bytes, MSG_NOSIGNAL);
	input->at += bytes;
	input->left -= bytes;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void serve(struct mr_local *local)
{
	struct epoll_event events[8];
	int rounds, count, i;

	for (rounds = 0; rounds < ROUNDS_OF_IT; rounds++) {
		count = epoll_wait(epoll_fd, events, 8, 0);
		for (i = 0; i < count; i++) {
			struct mr_local_source *source = events[i].data.ptr;

			source->ready(source, events[i].events);
		}
		mr_local_sweep(local);
		if (count <= 0)
			return;
	}
}

static void step(struct mr_local *local, struct input *input)
{
	uint8_t what = take(input);
	int client = (what >> 4) % CLIENTS;

	switch (what & 15) {
	case 0:
		enter(client);
		break;
	case 1:
		hang_up(client);
		break;
	case 2:
		take_replies(client);
		break;
	case 3:
		let_go(what & 16);
		break;
	case 4:
		poison_one();
		break;
	case 5:
		host.refuses = !host.refuses;
		break;
	case 6:
		send_raw(client, input);
		break;
	case 7:
		write_lane(take(input));
		break;
	default:
		send_request(client, input);
	}
	serve(local);
}

static int lowest_fd(void)
{
	int fd = dup(STDERR_FILENO);

	fuzz_demand(fd >= 0);
	(void)close(fd); /* was for its number */
	return fd;
}

static void prepare(void)
{
	static const uint8_t topic_id[16] = {1};

	fuzz_demand(mr_tail_create(TAIL_BYTES, topic_id, 0, 4096, 0, &host.tail, NULL) == 0);
	host.bells = mr_doorbell_set_open(NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fuzz_demand(host.bells >= 0 && epoll_fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fuzz-local-%d", (int)getpid());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static const struct mr_secret secret = {{1, 2, 3}};
	struct mr_local_options options = {
		.socket_path = address.sun_path,
		.host = &operations,
		.secret = &secret,
		.clock = &mr_clock_system,
		.engine_start = 1,
		.lane_bytes = LANE_BYTES,
		.lane_bytes_max = 1 << 20,
		.lanes_per_user = 16,
		.connections_per_user = 2,
	};
	struct input input = {data, count};
	struct mr_local *local = NULL;
	int fd, i;

	if (epoll_fd < 0)
		prepare();
	options.epoll_fd = epoll_fd;
	host.refuses = false;
	kept_next = 0;
	fd = lowest_fd();
	fuzz_demand(mr_local_open(&options, &local, NULL) == 0);
	for (i = 0; i < CLIENTS; i++)
		clients[i] = -1;
	for (i = 0; i < KEPT_FDS; i++)
		kept[i] = -1;
	for (i = 0; i < STEPS_MAX && input.left; i++)
		step(local, &input);
	for (i = 0; i < CLIENTS; i++)
		hang_up(i);
	serve(local);
	mr_local_end(local);
	let_go(true);
	fuzz_demand(mr_local_idle(local));
	fuzz_demand(host.held_count == 0);
	mr_local_close(local);
	for (i = 0; i < KEPT_FDS; i++)
		keep(-1);
	fuzz_demand(lowest_fd() == fd);
	return 0;
}
