/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane: the writer's half runs on the producing thread, the reader's half on the partition's
 * worker. Each half owns its struct and a private rte_ring; what they share is one page each that
 * only the other writes, and the slots.
 *
 * Promises to the engine: whatever the client writes, no read leaves the lane, no header field is
 * used that was not checked in a private copy, and nonsense is told by -EBADMSG and a sentence.
 * Promises to the client: a slot is not reused before the engine's index has passed it.
 */
#include "lane.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "region.h"

static_assert(sizeof(struct rte_ring) <= MR_PAGE_BYTES, "the private ring has one page");
static_assert(sizeof(struct mr_frame) % MR_SLOT_BYTES == 0, "frames begin with whole slots");

/* ---- both sides ------------------------------------------------------------------------------ */

static int check_lane_bytes(uint32_t lane_bytes, struct mr_error *err)
{
	if (lane_bytes >= MR_LANE_BYTES_MIN && lane_bytes <= MR_LANE_BYTES_MAX &&
	    (lane_bytes & (lane_bytes - 1)) == 0)
		return 0;
	return mr_error_set(err, -EINVAL,
			    "a lane of %u bytes cannot be: it must be a power of two from %u to %u",
			    lane_bytes, MR_LANE_BYTES_MIN, MR_LANE_BYTES_MAX);
}

/*
 * A private ring over the slots of 'client_fd': empty, both ends at 'index'. Geometry comes from
 * our side, and the struct ends where the slots begin, since rte_ring finds them at &ring[1].
 */
static int map_ring(int client_fd, uint32_t lane_bytes, bool writable, uint32_t index,
		    struct rte_ring **out, struct mr_error *err)
{
	struct rte_ring *ring;
	void *map;
	int r = mr_region_map_twice(client_fd, MR_PAGE_BYTES, lane_bytes, writable, MR_PAGE_BYTES,
				    &map, err);

	if (r < 0)
		return r;
	r = mr_region_populate((uint8_t *)map + MR_PAGE_BYTES, 2 * (size_t)lane_bytes, writable,
			       err);
	if (r < 0) {
		(void)munmap(map, MR_PAGE_BYTES + 2 * (size_t)lane_bytes); /* just mapped */
		return r;
	}
	ring = (struct rte_ring *)(void *)((uint8_t *)map + MR_PAGE_BYTES) - 1;
	ring->flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	ring->size = lane_bytes / MR_SLOT_BYTES;
	ring->mask = ring->size - 1;
	ring->capacity = ring->size - 1;
	ring->prod.sync_type = RTE_RING_SYNC_ST;
	ring->prod.head = index;
	ring->prod.tail = index;
	ring->cons.sync_type = RTE_RING_SYNC_ST;
	ring->cons.head = index;
	ring->cons.tail = index;
	*out = ring;
	return 0;
}

static void unmap_ring(struct rte_ring *ring, uint32_t lane_bytes)
{
	if (ring)
		(void)munmap((uint8_t *)(ring + 1) - MR_PAGE_BYTES, /* our own map */
			     MR_PAGE_BYTES + 2 * (size_t)lane_bytes);
}

static void unmap(const void *at, size_t bytes)
{
	if (at)
		(void)munmap((void *)at, bytes); /* our own map */
}

static int check_mark(const char *whose, uint32_t magic, uint32_t expected, uint32_t version,
		      struct mr_error *err)
{
	if (magic != expected)
		return mr_error_set(err, -EBADMSG,
				    "the lane's %s page has magic 0x%08x, expected 0x%08x", whose,
				    magic, expected);
	if (version != MR_FORMAT_VERSION)
		return mr_error_set(err, -EBADMSG,
				    "the lane's %s page has format version %u, expected %u", whose,
				    version, MR_FORMAT_VERSION);
	return 0;
}

/* ---- the producer's side --------------------------------------------------------------------- */

static int map_engine_page(int engine_fd, const struct mr_lane_engine_page **out,
			   struct mr_error *err)
{
	const struct mr_lane_engine_page *page;
	void *map;
	int r = mr_region_check(engine_fd, MR_LANE_ENGINE_BYTES, true, err);

	if (r < 0)
		return r;
	r = mr_region_map(engine_fd, 0, MR_LANE_ENGINE_BYTES, false, &map, err);
	if (r < 0)
		return r;
	page = map;
	r = check_mark("engine", page->magic, MR_LANE_ENGINE_MAGIC, page->version, err);
	if (r < 0) {
		unmap(map, MR_LANE_ENGINE_BYTES);
		return r;
	}
	*out = page;
	return 0;
}

static void use_engine_page(struct mr_lane_writer *writer, const struct mr_lane_engine_page *page)
{
	writer->engine = page;
	writer->receipts = (const void *)((const uint8_t *)page + MR_PAGE_BYTES);
	writer->receipts_taken = 0;
	writer->record_bytes_max =
		mr_lane_frame_bytes_max(writer->lane_bytes, page->record_bytes_max) -
		(uint32_t)sizeof(struct mr_frame);
}

static void begin_client_page(struct mr_lane_client_page *client, uint32_t index)
{
	client->magic = MR_LANE_CLIENT_MAGIC;
	client->version = MR_FORMAT_VERSION;
	/* relaxed: "mapped" is said over the socket before the engine looks */
	atomic_store_explicit(&client->published, index, memory_order_relaxed);
}

int mr_lane_writer_open(int client_fd, int engine_fd, uint32_t lane_bytes, uint64_t number,
			struct mr_lane_writer *out, struct mr_error *err)
{
	struct mr_lane_writer writer = {
		.number = number,
		.published = number,
		.receipts_number = number,
		.lane_bytes = lane_bytes,
	};
	uint32_t index;
	void *map;
	int r = check_lane_bytes(lane_bytes, err);

	if (r < 0)
		return r;
	r = mr_region_check(client_fd, (size_t)MR_PAGE_BYTES + lane_bytes, false, err);
	if (r < 0)
		return r;
	r = map_engine_page(engine_fd, &writer.engine, err);
	if (r < 0)
		return r;
	use_engine_page(&writer, writer.engine);
	r = mr_region_map(client_fd, 0, MR_PAGE_BYTES, true, &map, err);
	if (r < 0)
		goto fail;
	writer.client = map;
	/* R2: nothing is in the slots yet. */
	index = atomic_load_explicit(&writer.engine->acknowledged, memory_order_acquire);
	r = map_ring(client_fd, lane_bytes, true, index, &writer.ring, err);
	if (r < 0)
		goto fail;
	writer.slots = (uint8_t *)(writer.ring + 1);
	writer.mask = writer.ring->mask;
	writer.head = index;
	writer.limit = index + writer.ring->capacity;
	begin_client_page(writer.client, index);
	*out = writer;
	return 0;
fail:
	mr_lane_writer_close(&writer);
	return r;
}

/*
 * The engine's index if it is one that can be: between what we knew to be free and what we
 * published.
 */
static bool look_at_index(const struct mr_lane_writer *writer,
			  const struct mr_lane_engine_page *page, uint32_t *index)
{
	uint32_t known = writer->ring->cons.tail;

	/* R2: pairs with W2. The engine has done with the slots before the index. */
	*index = atomic_load_explicit(&page->acknowledged, memory_order_acquire);
	return *index - known <= writer->ring->prod.tail - known;
}

int mr_lane_writer_switch(struct mr_lane_writer *writer, int engine_fd, const void **old,
			  struct mr_error *err)
{
	const struct mr_lane_engine_page *page;
	uint32_t index;
	int r = map_engine_page(engine_fd, &page, err);

	if (r < 0)
		return r;
	if (!look_at_index(writer, page, &index)) {
		unmap(page, MR_LANE_ENGINE_BYTES);
		return mr_error_set(err, -EBADMSG,
				    "the new engine's index is %u, expected one from %u to %u",
				    index, writer->ring->cons.tail, writer->ring->prod.tail);
	}
	*old = writer->engine;
	use_engine_page(writer, page);
	return 0;
}

void mr_lane_writer_close(struct mr_lane_writer *writer)
{
	unmap_ring(writer->ring, writer->lane_bytes);
	unmap(writer->client, MR_PAGE_BYTES);
	unmap(writer->engine, MR_LANE_ENGINE_BYTES);
	*writer = (struct mr_lane_writer){0};
}

/* Slots in what is known to be free; NULL: there are not so many. */
static uint8_t *take_slots(struct mr_lane_writer *writer, uint32_t slots)
{
	struct rte_ring *ring = writer->ring;
	struct rte_ring_zc_data place;

	ring->prod.head = writer->head;
	if (rte_ring_enqueue_zc_bulk_elem_start(ring, MR_SLOT_BYTES, slots, &place, NULL) != slots)
		return NULL;
	writer->head = ring->prod.head;
	return place.ptr1;
}

/* Reserves in what is known to be free. */
static int reserve_known(struct mr_lane_writer *writer, const struct mr_record *record,
			 uint32_t header_bytes, void **payload)
{
	uint32_t key_bytes = record->key_bytes < 0 ? 0 : (uint32_t)record->key_bytes;
	uint32_t value_bytes = record->value_bytes < 0 ? 0 : (uint32_t)record->value_bytes;
	uint64_t record_bytes = (uint64_t)key_bytes + value_bytes + header_bytes;
	struct mr_frame *head;

	if (record_bytes > writer->record_bytes_max || record->header_count > UINT16_MAX)
		return -EMSGSIZE;
	/* R3: pairs with W3. */
	if (atomic_load_explicit(&writer->engine->reason, memory_order_acquire) != MR_LANE_OPEN)
		return -EPIPE;
	head = (void *)take_slots(writer, ((uint32_t)record_bytes + sizeof(*head) + MR_SLOT_BYTES -
					   1) / MR_SLOT_BYTES);
	if (!head)
		return -EAGAIN;
	*head = (struct mr_frame){
		.bytes = (uint32_t)(sizeof(*head) + record_bytes),
		.kind = MR_FRAME_RECORD,
		.flags = (uint8_t)((record->key_bytes < 0 ? MR_FRAME_NULL_KEY : 0) |
				   (record->value_bytes < 0 ? MR_FRAME_NULL_VALUE : 0)),
		.header_count = (uint16_t)record->header_count,
		.number = writer->number,
		.timestamp_ms = record->timestamp_ms,
		.key_bytes = key_bytes,
		.value_bytes = value_bytes,
	};
	*payload = (uint8_t *)(head + 1) + key_bytes;
	writer->number++;
	if (key_bytes > 0)
		memcpy(head + 1, record->key, key_bytes);
	return 0;
}

__attribute__((noinline)) int mr_lane_reserve_any(struct mr_lane_writer *writer,
						  const struct mr_record *record,
						  uint32_t header_bytes, void **payload)
{
	int r = reserve_known(writer, record, header_bytes, payload);
	uint32_t index;

	if (r != -EAGAIN)
		return r;
	/* the room known is too small: the same after a look at the engine's index */
	if (!look_at_index(writer, writer->engine, &index))
		return -EAGAIN;
	writer->ring->cons.head = index;
	writer->ring->cons.tail = index;
	writer->limit = index + writer->ring->capacity;
	return reserve_known(writer, record, header_bytes, payload);
}

uint32_t mr_lane_abandon(struct mr_lane_writer *writer)
{
	uint32_t frames = mr_lane_reserved(writer);

	writer->head = writer->ring->prod.tail;
	writer->number = writer->published;
	return frames;
}

bool mr_lane_worker_sleeps(const struct mr_lane_writer *writer)
{
	/* Dekker: W1 stands before the fence, W5 before the worker's; one of us sees the other's.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	/* R5, relaxed: the fence orders it */
	return atomic_load_explicit(&writer->engine->asleep, memory_order_relaxed) != 0;
}

void mr_lane_set_waiting(struct mr_lane_writer *writer, bool waiting)
{
	/* W6, relaxed: the fence orders it before the look that follows */
	atomic_store_explicit(&writer->client->waiting, waiting, memory_order_relaxed);
	if (waiting)
		atomic_thread_fence(memory_order_seq_cst);
}

uint64_t mr_lane_acknowledged(const struct mr_lane_writer *writer)
{
	/* R4: pairs with W4. The receipts of all records before it are visible. */
	return atomic_load_explicit(&writer->engine->number, memory_order_acquire);
}

uint32_t mr_lane_free_bytes(const struct mr_lane_writer *writer)
{
	uint32_t index;

	if (!look_at_index(writer, writer->engine, &index))
		index = writer->ring->cons.tail;
	return (writer->ring->capacity - (writer->head - index)) * MR_SLOT_BYTES;
}

enum mr_lane_reason mr_lane_reason(const struct mr_lane_writer *writer, char text[248])
{
	/* R3: pairs with W3. The sentence is whole. */
	uint32_t reason = atomic_load_explicit(&writer->engine->reason, memory_order_acquire);

	text[0] = '\0';
	if (reason == MR_LANE_OPEN)
		return MR_LANE_OPEN;
	memcpy(text, writer->engine->reason_text, sizeof(writer->engine->reason_text));
	text[sizeof(writer->engine->reason_text) - 1] = '\0';
	return reason;
}

/*
 * Receipt 'index' by three loads. R10: each pairs with W10, so what it finds brings the count
 * before it.
 */
static struct mr_lane_receipt copy_receipt(const struct mr_lane_receipt *receipts, uint64_t index)
{
	const struct mr_lane_receipt *from = &receipts[index % MR_RECEIPTS];

	return (struct mr_lane_receipt){
		.base_offset = __atomic_load_n(&from->base_offset, __ATOMIC_ACQUIRE),
		.count = __atomic_load_n(&from->count, __ATOMIC_ACQUIRE),
		.first = __atomic_load_n(&from->first, __ATOMIC_ACQUIRE),
	};
}

/*
 * Copies the oldest receipt not taken yet that is still there; false if all were taken. A receipt
 * may be overwritten while it is copied: only if the count read afterwards still keeps its place
 * was the copy whole.
 */
static bool look_at_receipt(struct mr_lane_writer *writer, struct mr_lane_receipt *out)
{
	const _Atomic uint64_t *written = &writer->engine->receipts;
	/* R4: pairs with W4. */
	uint64_t count = atomic_load_explicit(written, memory_order_acquire);

	while (writer->receipts_taken < count) {
		uint64_t index = writer->receipts_taken;

		if (count - index >= MR_RECEIPTS) /* the oldest place may be written right now */
			index = count - (MR_RECEIPTS - 1);
		writer->receipts_taken = index;
		*out = copy_receipt(writer->receipts, index);
		count = atomic_load_explicit(written, memory_order_acquire); /* R4 again */
		if (count - index < MR_RECEIPTS)
			return true;
	}
	return false;
}

/*
 * The whole number whose low half is 'low': the nearest to 'near', since no receipt is 2^31 records
 * old.
 */
static uint64_t whole_number(uint64_t near, uint32_t low)
{
	return near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near);
}

static void add_receipt(struct mr_lane_writer *writer, struct mr_receipt *receipt, uint64_t end,
			uint64_t base_offset)
{
	*receipt = (struct mr_receipt){
		.first = writer->receipts_number,
		.count = end - writer->receipts_number,
		.base_offset = base_offset,
		.partition = writer->engine->identity.partition,
	};
	writer->receipts_number = end;
}

uint32_t mr_lane_receipts(struct mr_lane_writer *writer, struct mr_receipt *receipts, uint32_t max)
{
	/* First the number, then the receipts: all receipts of records before it are then there. */
	uint64_t acknowledged = mr_lane_acknowledged(writer);
	struct mr_lane_receipt receipt;
	uint32_t taken = 0;

	while (taken < max && look_at_receipt(writer, &receipt)) {
		uint64_t first = whole_number(acknowledged, receipt.first);
		uint64_t base_offset = receipt.base_offset;

		if (first >
		    writer->receipts_number) { /* overwritten or never given; then look again */
			add_receipt(writer, &receipts[taken++], first, MR_OFFSET_UNKNOWN);
			continue;
		}
		/* The first records may be covered by a receipt of the engine before this one. */
		if (base_offset != MR_OFFSET_UNKNOWN)
			base_offset += writer->receipts_number - first;
		if (first + receipt.count > writer->receipts_number)
			add_receipt(writer, &receipts[taken++], first + receipt.count, base_offset);
		writer->receipts_taken++;
	}
	if (taken < max && acknowledged > writer->receipts_number)
		add_receipt(writer, &receipts[taken++], acknowledged, MR_OFFSET_UNKNOWN);
	return taken;
}

/* ---- the engine's side ----------------------------------------------------------------------- */

int mr_lane_create_client(uint32_t lane_bytes, int *client_fd, struct mr_error *err)
{
	int r = check_lane_bytes(lane_bytes, err);

	if (r < 0)
		return r;
	r = mr_region_create("millrace-lane", (size_t)MR_PAGE_BYTES + lane_bytes, err);
	if (r < 0)
		return r;
	*client_fd = r;
	return 0;
}

int mr_lane_create_engine(const struct mr_lane_identity *identity, const uint8_t mac[32],
			  uint32_t record_bytes_max, uint32_t start_index, uint64_t start_number,
			  int *engine_fd, struct mr_lane_engine_page **engine, struct mr_error *err)
{
	struct mr_lane_engine_page *page;
	void *map;
	int fd = mr_region_create("millrace-lane-engine", MR_LANE_ENGINE_BYTES, err);
	int r;

	if (fd < 0)
		return fd;
	r = mr_region_map(fd, 0, MR_LANE_ENGINE_BYTES, true, &map, err);
	if (r < 0)
		goto fail;
	r = mr_region_seal(fd, err);
	if (r < 0) {
		unmap(map, MR_LANE_ENGINE_BYTES);
		goto fail;
	}
	page = map;
	page->magic = MR_LANE_ENGINE_MAGIC;
	page->version = MR_FORMAT_VERSION;
	page->record_bytes_max = record_bytes_max;
	page->identity = *identity;
	memcpy(page->mac, mac, sizeof(page->mac));
	/* nobody else has it yet */
	atomic_init(&page->acknowledged, start_index);
	atomic_init(&page->number, start_number);
	*engine_fd = fd;
	*engine = page;
	return 0;
fail:
	(void)close(fd); /* nobody else has it */
	return r;
}

int mr_lane_copy_engine(int engine_fd, struct mr_lane_engine_page *copy, struct mr_error *err)
{
	ssize_t got;
	int r = mr_region_check(engine_fd, MR_LANE_ENGINE_BYTES, true, err);

	if (r < 0)
		return r;
	got = pread(engine_fd, copy, sizeof(*copy), 0);
	if (got != (ssize_t)sizeof(*copy))
		return mr_error_set(err, -EBADMSG,
				    "the lane's engine page gave %zd bytes, expected %zu", got,
				    sizeof(*copy));
	return check_mark("engine", copy->magic, MR_LANE_ENGINE_MAGIC, copy->version, err);
}

static int map_client_page(int client_fd, const struct mr_lane_client_page **out,
			   struct mr_error *err)
{
	const struct mr_lane_client_page *page;
	void *map;
	int r = mr_region_map(client_fd, 0, MR_PAGE_BYTES, false, &map, err);

	if (r < 0)
		return r;
	page = map;
	r = mr_region_populate(map, MR_PAGE_BYTES, false, err);
	if (r < 0)
		goto fail;
	/* relaxed: each is looked at once, and a client that changes them later harms nobody */
	r = check_mark("client", __atomic_load_n(&page->magic, __ATOMIC_RELAXED),
		       MR_LANE_CLIENT_MAGIC, __atomic_load_n(&page->version, __ATOMIC_RELAXED),
		       err);
	if (r < 0)
		goto fail;
	*out = page;
	return 0;
fail:
	unmap(map, MR_PAGE_BYTES);
	return r;
}

int mr_lane_reader_open(int client_fd, struct mr_lane_engine_page *engine, uint32_t lane_bytes,
			struct mr_lane_reader *out, struct mr_error *err)
{
	/* relaxed: this thread wrote it, or got it from the one that did */
	uint32_t index = atomic_load_explicit(&engine->acknowledged, memory_order_relaxed);
	struct mr_lane_reader reader = {
		.receipts = (void *)((uint8_t *)engine + MR_PAGE_BYTES),
		.next_number = atomic_load_explicit(&engine->number, memory_order_relaxed),
		.receipts_written = atomic_load_explicit(&engine->receipts, memory_order_relaxed),
		.cursor = index,
		.acknowledged = index,
		.mask = lane_bytes / MR_SLOT_BYTES - 1,
		.lane_bytes = lane_bytes,
		.frame_bytes_max = mr_lane_frame_bytes_max(lane_bytes, engine->record_bytes_max),
	};
	int r = check_lane_bytes(lane_bytes, err);

	if (r < 0)
		return r;
	r = mr_region_check(client_fd, (size_t)MR_PAGE_BYTES + lane_bytes, true, err);
	if (r < 0)
		return r;
	r = map_client_page(client_fd, &reader.client, err);
	if (r < 0)
		return r;
	r = map_ring(client_fd, lane_bytes, false, index, &reader.ring, err);
	if (r < 0) {
		mr_lane_reader_close(&reader);
		return r;
	}
	reader.slots = (const uint8_t *)(reader.ring + 1);
	reader.engine = engine;
	*out = reader;
	return 0;
}

void mr_lane_reader_close(struct mr_lane_reader *reader)
{
	unmap_ring(reader->ring, reader->lane_bytes);
	unmap(reader->client, MR_PAGE_BYTES);
	unmap(reader->engine, MR_LANE_ENGINE_BYTES);
	*reader = (struct mr_lane_reader){0};
}

int64_t mr_lane_reader_poll(struct mr_lane_reader *reader, struct mr_error *err)
{
	/*
	 * R1: pairs with W1 in mr_lane_publish(). Frames before the index are whole; it is loaded
	 * once.
	 */
	uint32_t published = atomic_load_explicit(&reader->client->published, memory_order_acquire);
	uint32_t unacknowledged = published - reader->acknowledged;
	uint32_t taken = reader->cursor - reader->acknowledged;

	if (unacknowledged > reader->ring->capacity || unacknowledged < taken)
		return mr_error_set(err, -EBADMSG,
				    "the lane's published index is %u, expected one from %u to %u",
				    published, reader->cursor,
				    reader->acknowledged + reader->ring->capacity);
	reader->ring->prod.head = published;
	reader->ring->prod.tail = published;
	return unacknowledged - taken;
}

static void refuse(struct mr_error *err, uint64_t number, const char *field, uint64_t found,
		   const char *expected, uint64_t bound)
{
	(void)mr_error_set(err, -EBADMSG,
			   "frame of record %" PRIu64 ": %s is %" PRIu64 ", expected %s%" PRIu64,
			   number, field, found, expected, bound);
}

static void refuse_sizes(const struct mr_lane_reader *reader, const struct mr_frame *head,
			 uint32_t slots_left, uint64_t number, struct mr_error *err)
{
	uint64_t known = sizeof(*head) + (uint64_t)head->key_bytes + head->value_bytes;

	if (head->bytes < known)
		refuse(err, number, "bytes", head->bytes, "at least ", known);
	else if (head->bytes > reader->frame_bytes_max)
		refuse(err, number, "bytes", head->bytes, "at most ", reader->frame_bytes_max);
	else if (head->bytes > (uint64_t)slots_left * MR_SLOT_BYTES)
		refuse(err, number, "bytes", head->bytes,
		       "no more than published: ", (uint64_t)slots_left * MR_SLOT_BYTES);
	else if (head->header_count == 0)
		refuse(err, number, "header bytes", head->bytes - known, "", 0);
	else
		refuse(err, number, "header bytes", head->bytes - known, "at least ",
		       2u * head->header_count);
}

void mr_lane_refuse(const struct mr_lane_reader *reader, const struct mr_frame *head,
		    uint32_t slots_left, uint64_t expected, struct mr_error *err)
{
	if (!head)
		refuse(err, expected, "bytes published", slots_left * MR_SLOT_BYTES, "at least ",
		       sizeof(*head));
	else if (head->kind != MR_FRAME_RECORD)
		refuse(err, expected, "kind", head->kind, "", MR_FRAME_RECORD);
	else if (head->number != expected)
		refuse(err, expected, "number", head->number, "", expected);
	else if (head->flags & ~(MR_FRAME_NULL_KEY | MR_FRAME_NULL_VALUE))
		refuse(err, expected, "flags", head->flags, "at most ",
		       MR_FRAME_NULL_KEY | MR_FRAME_NULL_VALUE);
	else if ((head->flags & MR_FRAME_NULL_KEY) && head->key_bytes > 0)
		refuse(err, expected, "key_bytes of a null key", head->key_bytes, "", 0);
	else if ((head->flags & MR_FRAME_NULL_VALUE) && head->value_bytes > 0)
		refuse(err, expected, "value_bytes of a null value", head->value_bytes, "", 0);
	else
		refuse_sizes(reader, head, slots_left, expected, err);
}

void mr_lane_reader_resume(struct mr_lane_reader *reader)
{
	const uint8_t *at = reader->slots + (size_t)(reader->cursor & reader->mask) * MR_SLOT_BYTES;
	uint64_t number = mr_lane_copy_head(at).number;
	uint32_t frames_max = (reader->mask + 1) / (sizeof(struct mr_frame) / MR_SLOT_BYTES);

	if (number <= reader->next_number && reader->next_number - number <= frames_max)
		reader->next_number = number;
}

void mr_lane_reader_take(struct mr_lane_reader *reader, uint32_t slots, uint32_t frames)
{
	struct rte_ring *ring = reader->ring;
	struct rte_ring_zc_data place;
	uint32_t got =
		rte_ring_dequeue_zc_bulk_elem_start(ring, MR_SLOT_BYTES, slots, &place, NULL);

	mr_assert(got == slots); /* polled before */
	rte_ring_dequeue_zc_elem_finish(ring, slots);
	reader->cursor = ring->cons.tail;
	reader->next_number += frames;
}

void mr_lane_reader_rewind(struct mr_lane_reader *reader)
{
	struct rte_ring *ring = reader->ring;

	ring->cons.head = reader->acknowledged;
	ring->cons.tail = reader->acknowledged;
	reader->cursor = reader->acknowledged;
	/* relaxed: only this thread writes it */
	reader->next_number = atomic_load_explicit(&reader->engine->number, memory_order_relaxed);
}

static void write_receipt(struct mr_lane_reader *reader, uint64_t first, uint64_t base_offset,
			  uint32_t count)
{
	struct mr_lane_receipt *to = &reader->receipts[reader->receipts_written % MR_RECEIPTS];

	/* W10: the count before it is visible before any word of it is. Pairs with R10. */
	__atomic_store_n(&to->base_offset, base_offset, __ATOMIC_RELEASE);
	__atomic_store_n(&to->count, count, __ATOMIC_RELEASE);
	__atomic_store_n(&to->first, (uint32_t)first, __ATOMIC_RELEASE);
	reader->receipts_written++;
	/* W4: the receipt is visible before the count is. Pairs with R4. */
	atomic_store_explicit(&reader->engine->receipts, reader->receipts_written,
			      memory_order_release);
}

/*
 * After a hand-back the first records may be below it: the engine before died on its way to the
 * index.
 */
static void raise_number(struct mr_lane_engine_page *page, uint64_t number)
{
	/* relaxed: only this thread writes it */
	if (number <= atomic_load_explicit(&page->number, memory_order_relaxed))
		return;
	/* W4: receipts are visible before the number is. Pairs with R4. */
	atomic_store_explicit(&page->number, number, memory_order_release);
}

void mr_lane_acknowledge(struct mr_lane_reader *reader, uint32_t index, uint64_t next_number,
			 uint64_t base_offset, uint32_t count)
{
	mr_assert(index - reader->acknowledged <= reader->cursor - reader->acknowledged);
	mr_assert(next_number <= reader->next_number);
	mr_assert(count <= next_number);
	if (count > 0)
		write_receipt(reader, next_number - count, base_offset, count);
	raise_number(reader->engine, next_number);
	reader->acknowledged = index;
	/*
	 * W2: we have read the slots, and the number is visible, before the index is. Pairs with
	 * R2.
	 */
	atomic_store_explicit(&reader->engine->acknowledged, index, memory_order_release);
}

void mr_lane_poison(struct mr_lane_reader *reader, enum mr_lane_reason reason, const char *text)
{
	struct mr_lane_engine_page *page = reader->engine;
	size_t bytes = strnlen(text, sizeof(page->reason_text) - 1);

	mr_assert(reason != MR_LANE_OPEN);
	/* relaxed: only this thread writes it */
	if (atomic_load_explicit(&page->reason, memory_order_relaxed) != MR_LANE_OPEN)
		return;
	memcpy(page->reason_text, text, bytes);
	page->reason_text[bytes] = '\0';
	/* W3: the sentence is visible before the reason is. Pairs with R3. */
	atomic_store_explicit(&page->reason, reason, memory_order_release);
}

void mr_lane_set_asleep(struct mr_lane_reader *reader, bool asleep)
{
	/* W5, relaxed: the fence orders it before the poll that follows */
	atomic_store_explicit(&reader->engine->asleep, asleep, memory_order_relaxed);
	if (asleep)
		atomic_thread_fence(memory_order_seq_cst);
}

bool mr_lane_producer_waits(const struct mr_lane_reader *reader)
{
	/* Dekker: W2 stands before the fence, W6 before the producer's; one of us sees the other's.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return mr_lane_producer_waits_fenced(reader);
}
