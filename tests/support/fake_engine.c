/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake engine: all of it runs on its own thread between start and kill. It trusts the library
 * under test no more than it must to notice its mistakes: every call of ringbuf that fails ends the
 * test.
 */
#include "fake_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach.h"
#include "check.h"
#include "doorbell.h"
#include "region.h"

#define DRAIN_BYTES 16384u
#define OPEN_BYTES  65536u /* an open group is closed at this size */
#define ROOM_BYTES  (DRAIN_BYTES + 8 * MR_BLOCK_BYTES)

/* ---- the log -----------------------------------------------------------------------------------
 */

void fake_log_init(struct fake_log *log, uint32_t partitions, uint64_t tail_bytes,
		   uint32_t segment_bytes)
{
	memset(log, 0, sizeof(*log));
	memset(log->log_id, 0x4c, sizeof(log->log_id));
	memset(log->topic_id, 0x54, sizeof(log->topic_id));
	log->partition_count = partitions;
	log->tail_bytes = tail_bytes;
	log->segment_bytes = segment_bytes;
	for (uint32_t i = 0; i < partitions; i++) {
		log->partitions[i].groups = calloc(FAKE_GROUPS_MAX, sizeof(struct fake_group));
		log->partitions[i].group_committed = MR_OFFSET_UNKNOWN;
		mr_assert(log->partitions[i].groups);
	}
}

void fake_log_free(struct fake_log *log)
{
	for (uint32_t i = 0; i < log->partition_count; i++) {
		struct fake_partition *partition = &log->partitions[i];

		for (uint32_t s = 0; s < partition->segment_count; s++)
			close(partition->segments[s].fd);
		free(partition->groups);
	}
}

static void write_file(const struct fake_segment *segment, uint64_t position, const void *bytes,
		       size_t count)
{
	off_t at = (off_t)(position - segment->base_position);

	mr_assert(pwrite(segment->fd, bytes, count, at) == (ssize_t)count);
}

static uint8_t *tail_at(struct fake_engine *engine, uint32_t p, uint64_t position)
{
	return mr_tail_at(&engine->tails[p], position);
}

/* Gives up the oldest groups until 'bytes' more fit behind 'position'. False: they are not flushed
 * yet. */
static bool make_room(struct fake_engine *engine, uint32_t p, uint64_t position, uint64_t bytes)
{
	struct fake_partition *partition = &engine->log->partitions[p];
	struct mr_tail *tail = &engine->tails[p];
	uint32_t *done = &engine->reclaimed_groups[p];

	while (position + bytes - tail->page->reclaimed > tail->tail_bytes) {
		const struct fake_group *group = &partition->groups[*done];

		if (*done == partition->group_count)
			return false;
		(*done)++;
		if (group->end <= tail->page->reclaimed)
			continue;
		mr_tail_reclaim(tail, group->end,
				*done < partition->group_count ? partition->groups[*done].offset
							       : partition->offset);
	}
	return true;
}

static void start_segment(struct fake_engine *engine, uint32_t p)
{
	struct fake_partition *partition = &engine->log->partitions[p];
	struct fake_segment *segment = &partition->segments[partition->segment_count];
	struct mr_segment_header header = {.magic = MR_SEGMENT_MAGIC, .version = MR_FORMAT_VERSION};
	uint8_t *at = tail_at(engine, p, partition->position);
	char path[] = "/tmp/mr-fake-XXXXXX";

	mr_assert(partition->segment_count++ < FAKE_SEGMENTS_MAX);
	*segment = (struct fake_segment){
		.fd = mkostemp(path, O_CLOEXEC),
		.id = 0x1234567890u + partition->segment_count,
		.base_position = partition->position,
		.base_offset = partition->offset,
	};
	mr_assert(segment->fd >= 0);
	unlink(path);
	memset(at, 0, MR_BLOCK_BYTES);
	memcpy(at, &header, sizeof(header));
	write_file(segment, segment->base_position, at, MR_BLOCK_BYTES);
	partition->position += MR_BLOCK_BYTES;
}

static struct fake_segment *last_segment(struct fake_partition *partition)
{
	return partition->segment_count ? &partition->segments[partition->segment_count - 1] : NULL;
}

static bool open_group(struct fake_engine *engine, uint32_t p)
{
	struct fake_partition *partition = &engine->log->partitions[p];
	struct fake_segment *segment = last_segment(partition);

	if (engine->groups[p].bytes)
		return make_room(engine, p, engine->tails[p].page->appended, ROOM_BYTES);
	if (!make_room(engine, p, partition->position, ROOM_BYTES + MR_BLOCK_BYTES))
		return false;
	if (!segment || partition->position - segment->base_position > engine->log->segment_bytes)
		start_segment(engine, p);
	engine->group_position[p] = partition->position;
	mr_group_begin(&engine->groups[p], tail_at(engine, p, partition->position),
		       last_segment(partition)->id, partition->offset);
	return true;
}

static void close_group(struct fake_engine *engine, uint32_t p)
{
	struct fake_partition *partition = &engine->log->partitions[p];
	struct mr_group *group = &engine->groups[p];
	struct mr_group_place place = {
		.number = partition->group_count,
		.leader_epoch = 7,
		.previous_crc = partition->previous_crc,
	};
	uint64_t at = engine->group_position[p];
	uint64_t records = group->record_count;
	uint32_t bytes = mr_group_close(group, &place, &partition->previous_crc);

	write_file(last_segment(partition), at, tail_at(engine, p, at), bytes);
	mr_assert(partition->group_count < FAKE_GROUPS_MAX);
	partition->groups[partition->group_count++] =
		(struct fake_group){.position = at, .offset = partition->offset, .end = at + bytes};
	partition->position = at + bytes;
	partition->offset += records;
	group->bytes = NULL;
}

/* ---- the worker --------------------------------------------------------------------------------
 */

static uint64_t end_offset(struct fake_engine *engine, uint32_t p)
{
	uint64_t offset = engine->log->partitions[p].offset;

	return engine->groups[p].bytes ? offset + engine->groups[p].record_count : offset;
}

/* One batch of what the lane has. False: nothing, or no room. */
static bool drain(struct fake_engine *engine, uint32_t number)
{
	struct fake_lane *lane = &engine->lanes[number];
	uint64_t *expected = &engine->next_number[lane->partition][lane->producer_id];
	struct mr_batch_identity identity = {.producer_id = lane->producer_id, .leader_epoch = 7};
	int64_t available = mr_lane_reader_poll(&lane->reader, NULL);
	uint32_t ahead = 0, frames = 0, fresh = 0, bytes = 0;
	enum mr_config_compression compression = engine->knobs->compression;
	struct mr_batch_writer writer;
	uint8_t *at;

	mr_assert(available >= 0);
	if (available == 0 || engine->take_count == FAKE_TAKES_MAX ||
	    !open_group(engine, lane->partition))
		return false;
	identity.base_offset = end_offset(engine, lane->partition);
	at = mr_group_at(&engine->groups[lane->partition]);
	if (compression)
		mr_compressor_begin(engine->compressor, compression, &writer, ROOM_BYTES / 2);
	else
		mr_batch_begin(&writer, at, ROOM_BYTES / 2);
	while (ahead < available && bytes < DRAIN_BYTES / 2) {
		struct mr_lane_frame f;

		mr_assert(mr_lane_reader_frame(&lane->reader, ahead, (uint32_t)available,
					       lane->reader.next_number + frames, &f, NULL) == 0);
		ahead += f.slots;
		frames++;
		if (f.head.number < *expected)
			continue; /* a hand-back: the log has it */
		if (fresh++ == 0)
			identity.base_sequence = (int32_t)f.head.number;
		mr_assert(mr_batch_add(
				  &writer, f.head.timestamp_ms, f.key,
				  f.head.flags & MR_FRAME_NULL_KEY ? -1 : (int32_t)f.head.key_bytes,
				  f.value,
				  f.head.flags & MR_FRAME_NULL_VALUE ? -1
								     : (int32_t)f.head.value_bytes,
				  f.headers, f.header_bytes, f.head.header_count) == 0);
		bytes += f.head.bytes;
	}
	mr_lane_reader_take(&lane->reader, ahead, frames);
	if (fresh > 0) {
		if (compression)
			identity.attributes = mr_compressor_place(engine->compressor, compression,
								  &writer, at, ROOM_BYTES / 2);
		bytes = (uint32_t)mr_batch_end(&writer, &identity);
		mr_group_add(&engine->groups[lane->partition], bytes, fresh);
		mr_tail_publish_appended(&engine->tails[lane->partition],
					 engine->group_position[lane->partition] +
						 sizeof(struct mr_group_header) +
						 engine->groups[lane->partition].batch_bytes,
					 end_offset(engine, lane->partition));
		*expected = lane->reader.next_number;
	}
	engine->takes[engine->take_count++] = (struct fake_take){
		.lane = number,
		.index = mr_lane_reader_index(&lane->reader),
		.number = lane->reader.next_number,
		.base_offset = fresh == frames ? identity.base_offset : MR_OFFSET_UNKNOWN,
		.count = frames,
	};
	return true;
}

static void wake(struct fake_engine *engine)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (int i = 0; i < FAKE_SESSIONS_MAX; i++)
		if (engine->sessions[i].wait && engine->sessions[i].wait->waiting)
			mr_doorbell_ring(engine->sessions[i].bell);
}

static void flush(struct fake_engine *engine)
{
	for (uint32_t p = 0; p < engine->log->partition_count; p++) {
		struct mr_tail *tail = &engine->tails[p];
		uint64_t position = tail->page->appended;

		if (position == tail->page->flushed)
			continue;
		if (engine->groups[p].bytes &&
		    (!engine->knobs->keep_open || engine->groups[p].batch_bytes > OPEN_BYTES))
			close_group(engine, p);
		memcpy(engine->log->partitions[p].next_number, engine->next_number[p],
		       sizeof(engine->next_number[p]));
		mr_tail_publish_flushed(tail, position, tail->page->appended_offset);
		mr_tail_publish_committed(tail, position, tail->page->appended_offset);
	}
	for (uint32_t i = 0; i < engine->take_count; i++) {
		const struct fake_take *take = &engine->takes[i];
		struct fake_lane *lane = &engine->lanes[take->lane];

		if (!lane->used)
			continue;
		mr_lane_acknowledge(&lane->reader, take->index, take->number, take->base_offset,
				    take->count);
		if (mr_lane_producer_waits(&lane->reader))
			mr_doorbell_ring(lane->bell_to_client);
	}
	engine->take_count = 0;
}

/* True if there was something to do. */
static bool work(struct fake_engine *engine)
{
	bool did = false;

	for (uint32_t i = 0; i < FAKE_LANES_MAX && !engine->knobs->hold_drain; i++)
		if (engine->lanes[i].mapped)
			did |= drain(engine, i);
	if (!engine->knobs->hold_flush && (did || engine->take_count > 0)) {
		flush(engine);
		did = true;
	}
	if (did)
		wake(engine);
	return did;
}

/* ---- the conversation --------------------------------------------------------------------------
 */

struct answer {
	const void *body;
	size_t bytes;
	int fds[MR_MESSAGE_FDS_MAX];
	uint32_t fd_count;
	int status;
};

static struct answer refuse(int status, const char *what)
{
	static struct mr_error_reply text;

	memset(&text, 0, sizeof(text));
	snprintf(text.what, sizeof(text.what), "%s", what);
	snprintf(text.hint, sizeof(text.hint), "ask somebody else");
	return (struct answer){.status = status, .body = &text, .bytes = sizeof(text)};
}

static int same_fd(int fd)
{
	int copy = dup(fd);

	mr_assert(copy >= 0);
	return copy;
}

static uint32_t free_lane(struct fake_engine *engine)
{
	for (uint32_t i = 0; i < FAKE_LANES_MAX; i++)
		if (!engine->lanes[i].used)
			return i;
	mr_assert(!"too many lanes");
	return 0;
}

static struct answer open_lane(struct fake_engine *engine, int session)
{
	static struct mr_lane_reply reply;
	const struct mr_open_lane *ask = (const void *)engine->packet.body;
	uint32_t at = free_lane(engine);
	struct fake_lane *lane = &engine->lanes[at];
	struct mr_lane_identity identity = {
		.partition = ask->partition,
		.producer_id = ask->producer_id,
		.acks = ask->acks,
		.lane_bytes = ask->lane_bytes ? ask->lane_bytes : 1 << 16,
	};
	uint8_t mac[32] = {0};
	struct answer answer = {.body = &reply, .bytes = sizeof(reply), .fd_count = 4};

	memset(lane, 0, sizeof(*lane));
	lane->used = true;
	lane->session = session;
	lane->producer_id = ask->producer_id;
	lane->partition = (uint32_t)ask->partition;
	lane->lane_bytes = identity.lane_bytes;
	mr_assert(mr_lane_create_client(identity.lane_bytes, &lane->client_fd, NULL) == 0);
	mr_assert(mr_lane_create_engine(&identity, mac, 8192, 0, 0, &answer.fds[1], &lane->engine,
					NULL) == 0);
	lane->bell_to_worker = mr_doorbell_open(NULL);
	lane->bell_to_client = mr_doorbell_open(NULL);
	answer.fds[0] = same_fd(lane->client_fd);
	answer.fds[2] = same_fd(lane->bell_to_worker);
	answer.fds[3] = same_fd(lane->bell_to_client);
	reply = (struct mr_lane_reply){
		.lane = at, .lane_bytes = identity.lane_bytes, .record_bytes_max = 8192};
	return answer;
}

static struct answer lane_mapped(struct fake_engine *engine)
{
	static struct mr_lane_id id;

	memcpy(&id, engine->packet.body, sizeof(id));
	mr_assert(id.lane < FAKE_LANES_MAX);
	struct fake_lane *lane = &engine->lanes[id.lane];

	mr_assert(mr_region_seal(lane->client_fd, NULL) == 0);
	mr_assert(mr_lane_reader_open(lane->client_fd, lane->engine, lane->lane_bytes,
				      &lane->reader, NULL) == 0);
	lane->mapped = true;
	return (struct answer){.body = &id, .bytes = sizeof(id)};
}

static void forget_lane(struct fake_lane *lane)
{
	if (lane->mapped)
		mr_lane_reader_close(&lane->reader);
	else
		munmap(lane->engine, MR_LANE_ENGINE_BYTES);
	close(lane->client_fd);
	close(lane->bell_to_worker);
	close(lane->bell_to_client);
	lane->used = lane->mapped = false;
}

static struct answer close_lane(struct fake_engine *engine)
{
	static struct mr_lane_id id;

	memcpy(&id, engine->packet.body, sizeof(id));
	mr_assert(id.lane < FAKE_LANES_MAX && engine->lanes[id.lane].used);
	forget_lane(&engine->lanes[id.lane]);
	return (struct answer){.body = &id, .bytes = sizeof(id)};
}

static struct answer hand_back(struct fake_engine *engine, int session)
{
	static struct mr_lane_reply reply;
	uint32_t at = free_lane(engine);
	struct fake_lane *lane = &engine->lanes[at];
	struct answer answer = {.body = &reply, .bytes = sizeof(reply), .fd_count = 3};
	struct mr_lane_engine_page old;

	if (engine->knobs->refuse != 0)
		return refuse(engine->knobs->refuse, "the lane's seal is broken");
	mr_assert(mr_lane_copy_engine(engine->packet.fds[1], &old, NULL) == 0);
	memset(lane, 0, sizeof(*lane));
	lane->used = lane->mapped = true;
	lane->session = session;
	lane->producer_id = old.identity.producer_id;
	lane->partition = (uint32_t)old.identity.partition;
	lane->lane_bytes = old.identity.lane_bytes;
	lane->client_fd = engine->packet.fds[0];
	engine->packet.fds[0] = -1;
	mr_assert(mr_lane_create_engine(&old.identity, old.mac, 8192, old.acknowledged, old.number,
					&answer.fds[0], &lane->engine, NULL) == 0);
	mr_assert(mr_lane_reader_open(lane->client_fd, lane->engine, lane->lane_bytes,
				      &lane->reader, NULL) == 0);
	if (old.identity.acks != MR_ACKS_COMMITTED)
		lane->reader.engine->lost = old.lost + 3;
	lane->bell_to_worker = mr_doorbell_open(NULL);
	lane->bell_to_client = mr_doorbell_open(NULL);
	answer.fds[1] = same_fd(lane->bell_to_worker);
	answer.fds[2] = same_fd(lane->bell_to_client);
	reply = (struct mr_lane_reply){.lane = at, .lane_bytes = lane->lane_bytes};
	return answer;
}

static struct answer open_wait(struct fake_engine *engine, int session)
{
	static struct mr_wait_id id;
	struct fake_session *s = &engine->sessions[session];
	struct answer answer = {.body = &id, .bytes = sizeof(id), .fd_count = 2};

	id.wait = 77;
	s->wait_fd = mr_region_create("fake-wait", MR_PAGE_BYTES, NULL);
	s->bell = mr_doorbell_open(NULL);
	answer.fds[0] = same_fd(s->wait_fd);
	answer.fds[1] = same_fd(s->bell);
	return answer;
}

static struct answer wait_mapped(struct fake_engine *engine, int session)
{
	static struct mr_wait_id id;
	struct fake_session *s = &engine->sessions[session];
	void *map;

	memcpy(&id, engine->packet.body, sizeof(id));
	mr_assert(id.wait == 77);
	mr_assert(mr_region_seal(s->wait_fd, NULL) == 0);
	mr_assert(mr_region_map(s->wait_fd, 0, MR_PAGE_BYTES, false, &map, NULL) == 0);
	close(s->wait_fd);
	s->wait = map;
	mr_assert(s->wait->magic == MR_WAIT_MAGIC);
	return (struct answer){.body = &id, .bytes = sizeof(id)};
}

static struct answer attach_tail(struct fake_engine *engine)
{
	static struct mr_tail_reply reply;
	const struct mr_attach_tail *ask = (const void *)engine->packet.body;
	struct mr_tail *tail = &engine->tails[ask->partition];
	struct answer answer = {.body = &reply, .bytes = sizeof(reply), .fd_count = 1};

	if (engine->knobs->topic_gone)
		return refuse(-ENOENT, "there is no topic 'demo'");
	mr_assert(ask->wait == 77);
	reply = (struct mr_tail_reply){
		.tail_bytes = tail->tail_bytes,
		.log_start_offset = engine->log->partitions[ask->partition].log_start,
		.log_end_offset = tail->page->appended_offset,
		.committed_offset = tail->page->committed_offset,
		.leader_epoch = 7,
	};
	answer.fds[0] = same_fd(tail->fd);
	return answer;
}

static struct answer find_segment(struct fake_engine *engine)
{
	static struct mr_segment_reply reply;
	const struct mr_find_segment *ask = (const void *)engine->packet.body;
	struct fake_partition *partition = &engine->log->partitions[ask->partition];
	struct answer answer = {.body = &reply, .bytes = sizeof(reply), .fd_count = 1};
	uint32_t s = partition->segment_count;
	uint32_t g = partition->group_count;

	if (ask->offset < partition->log_start || ask->offset >= partition->offset)
		return refuse(-ERANGE, "there is no such offset");
	while (s > 1 && partition->segments[s - 1].base_offset > ask->offset)
		s--;
	while (g > 1 && partition->groups[g - 1].offset > ask->offset)
		g--;
	if (g > 1 && partition->groups[g - 2].position > partition->segments[s - 1].base_position)
		g--; /* one early: the index is sparse */
	reply = (struct mr_segment_reply){
		.base_offset = partition->segments[s - 1].base_offset,
		.base_position = partition->segments[s - 1].base_position,
		.segment_id = partition->segments[s - 1].id,
		.group_position = partition->groups[g - 1].position,
		.group_offset = partition->groups[g - 1].offset,
		.end_position = s == partition->segment_count
					? UINT64_MAX
					: partition->segments[s].base_position,
	};
	answer.fds[0] = same_fd(partition->segments[s - 1].fd);
	return answer;
}

static struct answer offsets(struct fake_engine *engine, uint32_t type)
{
	static struct mr_offset_reply reply;
	const struct mr_commit *commit = (const void *)engine->packet.body;
	const struct mr_find_offset *find = (const void *)engine->packet.body;

	if (type == MR_MESSAGE_COMMIT) {
		engine->log->partitions[commit->partition].group_committed = commit->offset;
		return (struct answer){0};
	}
	/* the time index is sparse: it names a place some records early */
	reply.offset = type == MR_MESSAGE_COMMITTED
			       ? engine->log->partitions[commit->partition].group_committed
		       : find->timestamp_ms >= 1000000 ? MR_OFFSET_UNKNOWN
		       : find->timestamp_ms > 5	       ? (uint64_t)find->timestamp_ms - 5
						       : 0;
	return (struct answer){.body = &reply, .bytes = sizeof(reply)};
}

static struct answer open_topic(struct fake_engine *engine)
{
	static struct mr_topic_reply reply;
	const struct mr_open_topic *ask = (const void *)engine->packet.body;

	if (engine->knobs->topic_gone || (!ask->create && strcmp(ask->name, "demo") != 0))
		return refuse(-ENOENT, "there is no such topic");
	reply = (struct mr_topic_reply){
		.partition_count = (int32_t)engine->log->partition_count,
		.producer_id = ask->producer ? engine->log->producers++ : -1,
	};
	memcpy(reply.topic_id, engine->log->topic_id, sizeof(reply.topic_id));
	return (struct answer){.body = &reply, .bytes = sizeof(reply)};
}

static struct answer hello(struct fake_engine *engine)
{
	static struct mr_hello_reply reply;

	reply = (struct mr_hello_reply){
		.format = MR_FORMAT_VERSION, .engine_start = engine->log->starts, .pid = 1};
	memcpy(reply.log_id, engine->log->log_id, sizeof(reply.log_id));
	memcpy(reply.engine_version, "fake", 5);
	return (struct answer){.body = &reply, .bytes = sizeof(reply)};
}

static struct answer answer_to(struct fake_engine *engine, int session)
{
	uint32_t type = engine->packet.head.type;

	switch (type) {
	case MR_MESSAGE_HELLO:
		return hello(engine);
	case MR_MESSAGE_OPEN_TOPIC:
		return open_topic(engine);
	case MR_MESSAGE_OPEN_LANE:
		return open_lane(engine, session);
	case MR_MESSAGE_LANE_MAPPED:
		return lane_mapped(engine);
	case MR_MESSAGE_HAND_BACK:
		return hand_back(engine, session);
	case MR_MESSAGE_CLOSE_LANE:
		return close_lane(engine);
	case MR_MESSAGE_OPEN_WAIT:
		return open_wait(engine, session);
	case MR_MESSAGE_WAIT_MAPPED:
		return wait_mapped(engine, session);
	case MR_MESSAGE_ATTACH_TAIL:
		return attach_tail(engine);
	case MR_MESSAGE_FIND_SEGMENT:
		return find_segment(engine);
	case MR_MESSAGE_DETACH_TAIL:
	case MR_MESSAGE_ADMIN:
		return (struct answer){.body = engine->packet.body,
				       .bytes = engine->packet.body_bytes};
	default:
		return offsets(engine, type);
	}
}

static void end_session(struct fake_engine *engine, int session)
{
	struct fake_session *s = &engine->sessions[session];

	if (s->socket < 0)
		return;
	close(s->socket);
	s->socket = -1;
	if (s->wait) {
		munmap((void *)s->wait, MR_PAGE_BYTES);
		close(s->bell);
		s->wait = NULL;
	}
	for (int i = 0; i < FAKE_LANES_MAX; i++)
		if (engine->lanes[i].used && engine->lanes[i].session == session)
			forget_lane(&engine->lanes[i]);
}

static void talk(struct fake_engine *engine, int session)
{
	int socket = engine->sessions[session].socket;
	int r = mr_packet_receive(socket, &engine->packet);
	struct mr_message_header head;
	struct answer answer;

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		end_session(engine, session);
		return;
	}
	if (engine->knobs->mute) {
		mr_packet_close_fds(&engine->packet);
		return;
	}
	for (int i = 0; i < engine->knobs->signs; i++) {
		head = (struct mr_message_header){.flags = MR_MESSAGE_AT_WORK};
		(void)poll(NULL, 0, 30);
		(void)mr_packet_send(socket, &head, NULL, 0, NULL, 0);
	}
	answer = answer_to(engine, session);
	head = engine->packet.head;
	head.flags = MR_MESSAGE_REPLY;
	head.status = answer.status;
	if (head.type == MR_MESSAGE_ADMIN) { /* in two parts, as long answers come */
		head.flags |= MR_MESSAGE_MORE;
		(void)mr_packet_send(socket, &head, "[", 1, NULL, 0);
		head.flags = MR_MESSAGE_REPLY;
	}
	(void)mr_packet_send(socket, &head, answer.body, answer.bytes, answer.fds, answer.fd_count);
	for (uint32_t i = 0; i < answer.fd_count; i++)
		close(answer.fds[i]);
	mr_packet_close_fds(&engine->packet);
}

static void take_caller(struct fake_engine *engine)
{
	int fd = accept4(engine->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (int i = 0; fd >= 0 && i < FAKE_SESSIONS_MAX; i++) {
		if (engine->sessions[i].socket >= 0)
			continue;
		engine->sessions[i] = (struct fake_session){.socket = fd, .bell = -1};
		return;
	}
	close(fd);
}

/* Sleeps as a worker does: says so, looks once more, and waits for bells, callers and words. */
static void idle(struct fake_engine *engine)
{
	struct pollfd fds[1 + FAKE_SESSIONS_MAX + FAKE_LANES_MAX] = {
		{.fd = engine->listener, .events = POLLIN}};

	for (int i = 0; i < FAKE_SESSIONS_MAX; i++)
		fds[1 + i] = (struct pollfd){.fd = engine->sessions[i].socket, .events = POLLIN};
	for (int i = 0; i < FAKE_LANES_MAX; i++) {
		struct fake_lane *lane = &engine->lanes[i];

		fds[1 + FAKE_SESSIONS_MAX + i] = (struct pollfd){
			.fd = lane->mapped ? lane->bell_to_worker : -1, .events = POLLIN};
		if (lane->mapped)
			mr_lane_set_asleep(&lane->reader, true);
	}
	if (!work(engine))
		poll(fds, sizeof(fds) / sizeof(fds[0]), engine->knobs->idle_ms);
	for (int i = 0; i < FAKE_LANES_MAX; i++) {
		if (!engine->lanes[i].mapped)
			continue;
		mr_lane_set_asleep(&engine->lanes[i].reader, false);
		if (mr_doorbell_wait(engine->lanes[i].bell_to_worker, 0))
			engine->knobs->rings++;
	}
}

static void *run(void *arg)
{
	struct fake_engine *engine = arg;

	while (!engine->stop) {
		take_caller(engine);
		for (int i = 0; i < FAKE_SESSIONS_MAX; i++)
			if (engine->sessions[i].socket >= 0)
				talk(engine, i);
		if (!work(engine))
			idle(engine);
	}
	return NULL;
}

static void listen_at(struct fake_engine *engine, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	unlink(path);
	mr_assert(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	engine->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mr_assert(bind(engine->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	mr_assert(listen(engine->listener, 8) == 0);
}

struct fake_engine *fake_engine_start(struct fake_log *log, struct fake_knobs *knobs,
				      const char *path)
{
	struct fake_engine *engine = calloc(1, sizeof(*engine));

	mr_assert(engine);
	engine->log = log;
	engine->knobs = knobs;
	if (knobs->idle_ms == 0)
		knobs->idle_ms = 1;
	if (knobs->compression)
		mr_assert(mr_compressor_new(ROOM_BYTES / 2, &engine->compressor, NULL) == 0);
	log->starts++;
	for (int i = 0; i < FAKE_SESSIONS_MAX; i++)
		engine->sessions[i].socket = -1;
	for (uint32_t p = 0; p < log->partition_count; p++) {
		struct fake_partition *partition = &log->partitions[p];

		mr_assert(mr_tail_create(log->tail_bytes, log->topic_id, (int32_t)p,
					 partition->position, partition->offset, &engine->tails[p],
					 NULL) == 0);
		mr_tail_publish_log_start(&engine->tails[p], partition->log_start);
		engine->reclaimed_groups[p] = partition->group_count;
		memcpy(engine->next_number[p], partition->next_number,
		       sizeof(engine->next_number[p]));
	}
	listen_at(engine, path);
	mr_assert(pthread_create(&engine->thread, NULL, run, engine) == 0);
	return engine;
}

void fake_engine_kill(struct fake_engine *engine)
{
	engine->stop = true;
	pthread_join(engine->thread, NULL);
	close(engine->listener);
	for (uint32_t p = 0; p < engine->log->partition_count; p++) {
		struct fake_partition *partition = &engine->log->partitions[p];

		/* an open group that was flushed is on the disk, as far as the fake has one */
		if (engine->groups[p].bytes &&
		    engine->tails[p].page->flushed_offset > partition->offset)
			close_group(engine, p);
		mr_tail_destroy(&engine->tails[p]);
	}
	for (int i = 0; i < FAKE_SESSIONS_MAX; i++)
		end_session(engine, i);
	mr_compressor_free(engine->compressor);
	free(engine);
}
