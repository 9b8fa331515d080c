/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint's two slots: to bytes and back, to disk and back. Runs as a chore and at start;
 * owns what it has read. Layout, little-endian, no padding:
 *
 *	head		magic u32, version u32, bytes u64 (of all, with the checksum),
 *			generation u64, engine start u64, log id 16 bytes, next producer id i64,
 *			commits offset u64, partitions u32, commits u32
 *	partitions	80 bytes each, and right behind each its producers, 112 bytes each,
 *			and its leader epochs, 12 bytes each (version 1: 72 bytes, no epochs)
 *	commits		topic id 16 bytes, partition i32, name's bytes u32, offset u64, when i64,
 *			node u32, name (before version 3: no time and no node)
 *	checksum	CRC-32C of all before it, u32
 *
 * A slot that is not there yet is made whole under another name first, so that a file which does
 * not check out is either torn while it was overwritten (then the other slot is whole) or damaged.
 */
#include "checkpoint.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crc32c.h"
#include "millrace/format.h"

#define HEAD_BYTES	     80u
#define PARTITION_BYTES_V1   72u
#define PARTITION_BYTES	     80u
#define PRODUCER_BYTES	     112u
#define EPOCH_BYTES	     12u
#define COMMIT_BYTES	     44u
#define COMMIT_BYTES_V2	     32u
#define FLAG_CLEAN	     UINT64_C(1)
#define CRC_BYTES	     4u
#define CHECKPOINT_BYTES_MAX (1u << 30)
#define STATE_HEAD_BYTES     16u /* magic u32, version u32, bytes u64 */

static const char *const slot_names[2] = {"checkpoint.0", "checkpoint.1"};

/* ---- numbers ------------------------------------------------------------- */

/* Writing: the buffer is known to be large enough. Reading: 'left' is checked before. */
struct cursor {
	uint8_t *at;
	size_t left;
};

static void put(struct cursor *c, const void *bytes, size_t count)
{
	mr_assert(count <= c->left);
	memcpy(c->at, bytes, count);
	c->at += count;
	c->left -= count;
}

static void put_u8(struct cursor *c, uint8_t value)
{
	put(c, &value, sizeof(value));
}

static void put_u16(struct cursor *c, uint16_t value)
{
	value = htole16(value);
	put(c, &value, sizeof(value));
}

static void put_u32(struct cursor *c, uint32_t value)
{
	value = htole32(value);
	put(c, &value, sizeof(value));
}

static void put_u64(struct cursor *c, uint64_t value)
{
	value = htole64(value);
	put(c, &value, sizeof(value));
}

static void get(struct cursor *c, void *bytes, size_t count)
{
	mr_assert(count <= c->left);
	memcpy(bytes, c->at, count);
	c->at += count;
	c->left -= count;
}

static uint8_t get_u8(struct cursor *c)
{
	uint8_t value;

	get(c, &value, sizeof(value));
	return value;
}

static uint16_t get_u16(struct cursor *c)
{
	uint16_t value;

	get(c, &value, sizeof(value));
	return le16toh(value);
}

static uint32_t get_u32(struct cursor *c)
{
	uint32_t value;

	get(c, &value, sizeof(value));
	return le32toh(value);
}

static uint64_t get_u64(struct cursor *c)
{
	uint64_t value;

	get(c, &value, sizeof(value));
	return le64toh(value);
}

/* ---- encoding ------------------------------------------------------------ */

static size_t partition_bytes(const struct mr_checkpoint_partition *partition)
{
	return PARTITION_BYTES + (size_t)partition->producer_count * PRODUCER_BYTES +
	       (size_t)partition->epoch_count * EPOCH_BYTES;
}

static size_t encoded_bytes(const struct mr_checkpoint *checkpoint)
{
	size_t bytes = HEAD_BYTES + CRC_BYTES;

	for (uint32_t i = 0; i < checkpoint->partition_count; i++)
		bytes += partition_bytes(&checkpoint->partitions[i]);
	for (uint32_t i = 0; i < checkpoint->commit_count; i++)
		bytes += COMMIT_BYTES + strlen(checkpoint->commits[i].group);
	return bytes;
}

static void put_producer(struct cursor *c, const struct mr_producer_entry *entry)
{
	put_u64(c, (uint64_t)entry->producer_id);
	put_u64(c, entry->last_offset);
	put_u64(c, (uint64_t)entry->last_append_ms);
	put_u32(c, (uint32_t)entry->last_sequence);
	put_u16(c, (uint16_t)entry->epoch);
	put_u8(c, entry->recent_count);
	put_u8(c, entry->recent_next);
	for (uint32_t i = 0; i < MR_RECENT_BATCHES; i++) {
		put_u32(c, (uint32_t)entry->recent[i].first_sequence);
		put_u32(c, (uint32_t)entry->recent[i].count);
		put_u64(c, entry->recent[i].base_offset);
	}
}

static void put_partition(struct cursor *c, const struct mr_checkpoint_partition *partition)
{
	put(c, partition->topic_id, sizeof(partition->topic_id));
	put_u32(c, (uint32_t)partition->partition);
	put_u32(c, (uint32_t)partition->leader_epoch);
	put_u64(c, partition->log_start);
	put_u64(c, partition->offset);
	put_u64(c, partition->position);
	put_u64(c, partition->group_number);
	put_u32(c, partition->previous_crc);
	put_u32(c, partition->producer_count);
	put_u64(c, partition->clean ? FLAG_CLEAN : 0);
	put_u32(c, partition->epoch_count);
	put_u32(c, 0);
	for (uint32_t i = 0; i < partition->producer_count; i++)
		put_producer(c, &partition->producers[i]);
	for (uint32_t i = 0; i < partition->epoch_count; i++) {
		put_u32(c, (uint32_t)partition->epochs[i].leader_epoch);
		put_u64(c, partition->epochs[i].start_offset);
	}
}

static void put_commit(struct cursor *c, const struct mr_checkpoint_commit *commit)
{
	uint32_t name_bytes = (uint32_t)strlen(commit->group);

	put(c, commit->topic_id, sizeof(commit->topic_id));
	put_u32(c, (uint32_t)commit->partition);
	put_u32(c, name_bytes);
	put_u64(c, commit->offset);
	put_u64(c, (uint64_t)commit->committed_ms);
	put_u32(c, commit->node);
	put(c, commit->group, name_bytes);
}

int mr_checkpoint_encode(const struct mr_checkpoint *checkpoint, uint8_t **out, size_t *bytes)
{
	size_t count = encoded_bytes(checkpoint);
	uint8_t *start = count <= CHECKPOINT_BYTES_MAX ? malloc(count) : NULL;
	struct cursor c = {start, count};

	if (!start)
		return -ENOMEM;
	put_u32(&c, MR_CHECKPOINT_MAGIC);
	put_u32(&c, MR_CHECKPOINT_VERSION);
	put_u64(&c, count);
	put_u64(&c, checkpoint->generation);
	put_u64(&c, checkpoint->engine_start);
	put(&c, checkpoint->log_id, sizeof(checkpoint->log_id));
	put_u64(&c, (uint64_t)checkpoint->next_producer_id);
	put_u64(&c, checkpoint->commits_offset);
	put_u64(&c, checkpoint->window_bytes);
	put_u32(&c, checkpoint->partition_count);
	put_u32(&c, checkpoint->commit_count);
	mr_assert(c.at == start + HEAD_BYTES);
	for (uint32_t i = 0; i < checkpoint->partition_count; i++)
		put_partition(&c, &checkpoint->partitions[i]);
	for (uint32_t i = 0; i < checkpoint->commit_count; i++)
		put_commit(&c, &checkpoint->commits[i]);
	mr_assert(c.left == CRC_BYTES);
	put_u32(&c, mr_crc32c(0, start, count - CRC_BYTES));
	*out = start;
	*bytes = count;
	return 0;
}

/* ---- decoding ------------------------------------------------------------ */

static int get_producer(struct cursor *c, struct mr_producer_entry *entry)
{
	entry->producer_id = (int64_t)get_u64(c);
	entry->last_offset = get_u64(c);
	entry->last_append_ms = (int64_t)get_u64(c);
	entry->last_sequence = (int32_t)get_u32(c);
	entry->epoch = (int16_t)get_u16(c);
	entry->recent_count = get_u8(c);
	entry->recent_next = get_u8(c);
	for (uint32_t i = 0; i < MR_RECENT_BATCHES; i++) {
		entry->recent[i].first_sequence = (int32_t)get_u32(c);
		entry->recent[i].count = (int32_t)get_u32(c);
		entry->recent[i].base_offset = get_u64(c);
	}
	if (entry->producer_id < 0 || entry->last_sequence < 0 ||
	    entry->recent_count > MR_RECENT_BATCHES || entry->recent_next >= MR_RECENT_BATCHES)
		return -EBADMSG;
	return 0;
}

static int get_producers(struct cursor *c, uint32_t count,
			 struct mr_checkpoint_partition *partition)
{
	if (count > c->left / PRODUCER_BYTES)
		return -EBADMSG;
	partition->producers = calloc(count + 1, sizeof(*partition->producers));
	if (!partition->producers)
		return -ENOMEM;
	partition->producer_count = count;
	for (uint32_t i = 0; i < count; i++)
		if (get_producer(c, &partition->producers[i]) < 0)
			return -EBADMSG;
	return 0;
}

/* Both numbers rise, and none begins where no record was yet. */
static int get_epochs(struct cursor *c, uint32_t count, struct mr_checkpoint_partition *partition)
{
	int64_t last_epoch = MR_EPOCH_NONE;
	uint64_t least = 0;

	if (count > MR_EPOCHS_MAX || count > c->left / EPOCH_BYTES)
		return -EBADMSG;
	partition->epochs = calloc(count + 1, sizeof(*partition->epochs));
	if (!partition->epochs)
		return -ENOMEM;
	partition->epoch_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct mr_epoch *epoch = &partition->epochs[i];

		epoch->leader_epoch = (int32_t)get_u32(c);
		epoch->start_offset = get_u64(c);
		if (epoch->leader_epoch <= last_epoch || epoch->start_offset < least ||
		    epoch->start_offset >= partition->offset)
			return -EBADMSG;
		last_epoch = epoch->leader_epoch;
		least = epoch->start_offset + 1;
	}
	return 0;
}

static int get_partition(struct cursor *c, uint32_t version,
			 struct mr_checkpoint_partition *partition)
{
	uint32_t count, epoch_count = 0;
	int r;

	if (c->left < (version == 1 ? PARTITION_BYTES_V1 : PARTITION_BYTES))
		return -EBADMSG;
	get(c, partition->topic_id, sizeof(partition->topic_id));
	partition->partition = (int32_t)get_u32(c);
	partition->leader_epoch = (int32_t)get_u32(c);
	partition->log_start = get_u64(c);
	partition->offset = get_u64(c);
	partition->position = get_u64(c);
	partition->group_number = get_u64(c);
	partition->previous_crc = get_u32(c);
	count = get_u32(c);
	partition->clean = get_u64(c) & FLAG_CLEAN; /* other bits: room to grow */
	if (version > 1) {
		epoch_count = get_u32(c);
		(void)get_u32(c); /* room to grow */
	}
	if (partition->partition < 0 || partition->log_start > partition->offset ||
	    partition->position % MR_BLOCK_BYTES)
		return -EBADMSG;
	r = get_producers(c, count, partition);
	return r < 0 ? r : get_epochs(c, epoch_count, partition);
}

static int get_commit(struct cursor *c, uint32_t version, struct mr_checkpoint_commit *commit)
{
	uint32_t name_bytes;

	if (c->left < (version < 3 ? COMMIT_BYTES_V2 : COMMIT_BYTES))
		return -EBADMSG;
	get(c, commit->topic_id, sizeof(commit->topic_id));
	commit->partition = (int32_t)get_u32(c);
	name_bytes = get_u32(c);
	commit->offset = get_u64(c);
	if (version >= 3) {
		commit->committed_ms = (int64_t)get_u64(c);
		commit->node = get_u32(c);
	}
	if (commit->partition < 0 || name_bytes > MR_GROUP_NAME_MAX || name_bytes > c->left ||
	    memchr(c->at, '\0', name_bytes))
		return -EBADMSG;
	commit->group = calloc(1, name_bytes + 1);
	if (!commit->group)
		return -ENOMEM;
	get(c, commit->group, name_bytes);
	return 0;
}

static int get_partitions(struct cursor *c, uint32_t version, uint32_t count,
			  struct mr_checkpoint *out)
{
	if (count > c->left / (version == 1 ? PARTITION_BYTES_V1 : PARTITION_BYTES))
		return -EBADMSG;
	out->partitions = calloc(count ? count : 1, sizeof(*out->partitions));
	if (!out->partitions)
		return -ENOMEM;
	while (out->partition_count < count) {
		/* counted first, so that what it took is freed if it is bad */
		int r = get_partition(c, version, &out->partitions[out->partition_count++]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int get_commits(struct cursor *c, uint32_t version, uint32_t count,
		       struct mr_checkpoint *out)
{
	if (count > c->left / (version < 3 ? COMMIT_BYTES_V2 : COMMIT_BYTES))
		return -EBADMSG;
	out->commits = calloc(count ? count : 1, sizeof(*out->commits));
	if (!out->commits)
		return -ENOMEM;
	while (out->commit_count < count) {
		int r = get_commit(c, version, &out->commits[out->commit_count++]);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * What stands before everything else, at least 'head_bytes'; the whole is 'count' bytes at most.
 * Returns its size or -EBADMSG.
 */
static int64_t check_frame(const uint8_t *bytes, size_t count, size_t head_bytes, uint32_t *version,
			   struct mr_error *err)
{
	struct cursor c = {(uint8_t *)bytes, count};
	uint32_t crc;
	uint32_t computed;
	uint32_t magic;
	uint64_t whole;

	if (count < head_bytes + CRC_BYTES)
		return mr_error_set(err, -EBADMSG, "checkpoint of %zu bytes is too short", count);
	magic = get_u32(&c);
	*version = get_u32(&c);
	whole = get_u64(&c);
	if (magic != MR_CHECKPOINT_MAGIC)
		return mr_error_set(err, -EBADMSG, "checkpoint has magic %08x, expected %08x",
				    magic, MR_CHECKPOINT_MAGIC);
	if (whole < head_bytes + CRC_BYTES || whole > count)
		return mr_error_set(err, -EBADMSG,
				    "checkpoint says it has %" PRIu64 " bytes, there are %zu",
				    whole, count);
	c = (struct cursor){(uint8_t *)bytes + whole - CRC_BYTES, CRC_BYTES};
	crc = get_u32(&c);
	computed = mr_crc32c(0, bytes, whole - CRC_BYTES);
	if (crc != computed)
		return mr_error_set(err, -EBADMSG, "checkpoint has crc %08x, computed %08x", crc,
				    computed);
	if (*version < 1 || *version > MR_CHECKPOINT_VERSION)
		return mr_error_set(err, -EBADMSG, "checkpoint is of version %u, expected 1 to %u",
				    *version, MR_CHECKPOINT_VERSION);
	return (int64_t)whole;
}

int mr_checkpoint_decode(const uint8_t *bytes, size_t count, struct mr_checkpoint *out,
			 struct mr_error *err)
{
	struct mr_checkpoint checkpoint = {0};
	uint32_t version = 0;
	int64_t whole = check_frame(bytes, count, HEAD_BYTES, &version, err);
	uint32_t partition_count;
	uint32_t commit_count;
	struct cursor c;
	int r;

	if (whole < 0)
		return (int)whole;
	c = (struct cursor){(uint8_t *)bytes + 16, (size_t)whole - 16 - CRC_BYTES};
	checkpoint.generation = get_u64(&c);
	checkpoint.engine_start = get_u64(&c);
	get(&c, checkpoint.log_id, sizeof(checkpoint.log_id));
	checkpoint.next_producer_id = (int64_t)get_u64(&c);
	checkpoint.commits_offset = get_u64(&c);
	checkpoint.window_bytes = get_u64(&c);
	partition_count = get_u32(&c);
	commit_count = get_u32(&c);
	r = get_partitions(&c, version, partition_count, &checkpoint);
	if (r == 0)
		r = get_commits(&c, version, commit_count, &checkpoint);
	if (r == 0 && (c.left != 0 || checkpoint.next_producer_id < 0))
		r = -EBADMSG;
	if (r < 0) {
		mr_checkpoint_deinit(&checkpoint);
		return mr_error_set(err, r, "checkpoint's content does not fit its checksum");
	}
	*out = checkpoint;
	return 0;
}

void mr_checkpoint_partition_deinit(struct mr_checkpoint_partition *partition)
{
	free(partition->producers);
	free(partition->epochs);
	partition->producers = NULL;
	partition->epochs = NULL;
	partition->producer_count = 0;
	partition->epoch_count = 0;
}

void mr_checkpoint_deinit(struct mr_checkpoint *checkpoint)
{
	for (uint32_t i = 0; i < checkpoint->partition_count; i++)
		mr_checkpoint_partition_deinit(&checkpoint->partitions[i]);
	for (uint32_t i = 0; i < checkpoint->commit_count; i++)
		free(checkpoint->commits[i].group);
	free(checkpoint->partitions);
	free(checkpoint->commits);
	memset(checkpoint, 0, sizeof(*checkpoint));
}

const struct mr_checkpoint_partition *mr_checkpoint_find(const struct mr_checkpoint *checkpoint,
							 const uint8_t topic_id[16],
							 int32_t partition)
{
	for (uint32_t i = 0; i < checkpoint->partition_count; i++) {
		const struct mr_checkpoint_partition *p = &checkpoint->partitions[i];

		if (p->partition == partition && memcmp(p->topic_id, topic_id, 16) == 0)
			return p;
	}
	return NULL;
}

/* ---- an entry of its own ------------------------------------------------- */

static int make_tables(struct mr_checkpoint_partition *to, uint32_t producers, uint32_t epochs)
{
	to->producers = calloc(producers + 1, sizeof(*to->producers));
	to->epochs = calloc(epochs + 1, sizeof(*to->epochs));
	to->producer_count = to->epoch_count = 0;
	if (to->producers && to->epochs)
		return 0;
	mr_checkpoint_partition_deinit(to);
	return -ENOMEM;
}

int mr_checkpoint_take_tables(struct mr_checkpoint_partition *to,
			      const struct mr_partition *partition)
{
	int r = make_tables(to, partition->producer_count, partition->epochs.count);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < partition->producers_max; i++)
		if (partition->producers[i].producer_id >= 0)
			to->producers[to->producer_count++] = partition->producers[i];
	to->epoch_count = partition->epochs.count;
	memcpy(to->epochs, partition->epochs.entries, to->epoch_count * sizeof(*to->epochs));
	return 0;
}

int mr_checkpoint_copy_partition(const struct mr_checkpoint_partition *from,
				 struct mr_checkpoint_partition *to)
{
	int r;

	*to = *from;
	r = make_tables(to, from->producer_count, from->epoch_count);
	if (r < 0)
		return r;
	to->producer_count = from->producer_count;
	to->epoch_count = from->epoch_count;
	if (to->producer_count)
		memcpy(to->producers, from->producers, to->producer_count * sizeof(*to->producers));
	if (to->epoch_count)
		memcpy(to->epochs, from->epochs, to->epoch_count * sizeof(*to->epochs));
	return 0;
}

void mr_checkpoint_forget(struct mr_checkpoint *checkpoint, const uint8_t topic_id[16],
			  int32_t partition)
{
	struct mr_checkpoint_partition *one = (struct mr_checkpoint_partition *)mr_checkpoint_find(
		checkpoint, topic_id, partition);

	if (!one)
		return;
	mr_checkpoint_partition_deinit(one);
	*one = checkpoint->partitions[--checkpoint->partition_count];
}

int mr_checkpoint_put(struct mr_checkpoint *checkpoint, struct mr_checkpoint_partition *taken)
{
	struct mr_checkpoint_partition *grown =
		realloc(checkpoint->partitions,
			(checkpoint->partition_count + 1) * sizeof(*checkpoint->partitions));

	if (!grown)
		return -ENOMEM;
	checkpoint->partitions = grown;
	mr_checkpoint_forget(checkpoint, taken->topic_id, taken->partition);
	grown[checkpoint->partition_count++] = *taken;
	*taken = (struct mr_checkpoint_partition){0};
	return 0;
}

int mr_checkpoint_encode_state(const struct mr_checkpoint_partition *partition, uint8_t **out,
			       size_t *bytes)
{
	size_t count = STATE_HEAD_BYTES + partition_bytes(partition) + CRC_BYTES;
	uint8_t *start = count <= CHECKPOINT_BYTES_MAX ? malloc(count) : NULL;
	struct cursor c = {start, count};

	if (!start)
		return -ENOMEM;
	put_u32(&c, MR_CHECKPOINT_MAGIC);
	put_u32(&c, MR_CHECKPOINT_VERSION);
	put_u64(&c, count);
	put_partition(&c, partition);
	mr_assert(c.left == CRC_BYTES);
	put_u32(&c, mr_crc32c(0, start, count - CRC_BYTES));
	*out = start;
	*bytes = count;
	return 0;
}

int mr_checkpoint_decode_state(const uint8_t *bytes, size_t count,
			       struct mr_checkpoint_partition *out, struct mr_error *err)
{
	struct mr_checkpoint_partition partition = {0};
	uint32_t version = 0;
	int64_t whole = check_frame(bytes, count, STATE_HEAD_BYTES, &version, err);
	struct cursor c;
	int r;

	if (whole < 0)
		return (int)whole;
	c = (struct cursor){(uint8_t *)bytes + STATE_HEAD_BYTES,
			    (size_t)whole - STATE_HEAD_BYTES - CRC_BYTES};
	r = get_partition(&c, version, &partition);
	if (r == 0 && c.left != 0)
		r = -EBADMSG;
	if (r < 0) {
		mr_checkpoint_partition_deinit(&partition);
		return mr_error_set(err, r, "a replica's state does not fit its checksum");
	}
	*out = partition;
	return 0;
}

void mr_checkpoint_begin_anew(struct mr_checkpoint_partition *state, uint64_t offset)
{
	mr_assert(offset <= state->offset);
	state->log_start = offset;
	state->offset = offset;
	state->position = 0;
	state->group_number = 1;
	state->previous_crc = 0;
	state->clean = false;
	while (state->epoch_count > 0 &&
	       state->epochs[state->epoch_count - 1].start_offset >= offset)
		state->epoch_count--;
}

/* ---- the disk ------------------------------------------------------------ */

/* 0 and the slot's content; -ENOENT; -EBADMSG; or an I/O error. */
static int load_slot(struct mr_io *io, const char *name, struct mr_checkpoint *out,
		     struct mr_error *err)
{
	void *bytes = NULL;
	size_t count = 0;
	int r = mr_io_load(io, name, CHECKPOINT_BYTES_MAX, &bytes, &count, err);

	if (r == -EFBIG)
		return mr_error_set(err, -EBADMSG, "'%s' is too large for a checkpoint", name);
	if (r < 0)
		return r;
	r = mr_checkpoint_decode(bytes, count, out, err);
	free(bytes);
	if (r == -EBADMSG)
		mr_error_prefix(err, "'%s': ", name);
	return r;
}

int mr_checkpoint_load(struct mr_io *io, struct mr_checkpoint *out, struct mr_error *err)
{
	struct mr_checkpoint slots[2] = {{0}, {0}};
	int result[2];
	int newest;

	for (int i = 0; i < 2; i++) {
		result[i] = load_slot(io, slot_names[i], &slots[i], err);
		if (result[i] < 0 && result[i] != -ENOENT && result[i] != -EBADMSG) {
			mr_checkpoint_deinit(&slots[0]);
			return result[i];
		}
	}
	if (result[0] < 0 && result[1] < 0) {
		if (result[0] == -ENOENT && result[1] == -ENOENT)
			return mr_error_set(err, -ENOENT, "there is no checkpoint");
		mr_error_set(err, -EBADMSG, "no checkpoint checks out");
		return mr_error_why(err, "'checkpoint.0' and 'checkpoint.1' are both damaged or "
					 "missing");
	}
	newest = result[0] < 0 || (result[1] == 0 && slots[1].generation > slots[0].generation);
	mr_checkpoint_deinit(&slots[!newest]);
	*out = slots[newest];
	return 0;
}

/* Over an older generation in its place; the other slot stays whole meanwhile. */
static int overwrite(struct mr_io *io, const char *name, const uint8_t *bytes, size_t count,
		     struct mr_error *err)
{
	size_t padded = (count + MR_IO_BLOCK_BYTES - 1) & ~(size_t)(MR_IO_BLOCK_BYTES - 1);
	struct mr_io_file *file = NULL;
	uint8_t *block;
	int r = mr_io_open(io, name, MR_IO_WRITE, &file, err);

	if (r < 0)
		return r;
	block = aligned_alloc(MR_IO_BLOCK_BYTES, padded);
	if (!block) {
		mr_io_file_close(file);
		return mr_error_set(err, -ENOMEM, "no memory for a checkpoint of %zu bytes", count);
	}
	memcpy(block, bytes, count);
	memset(block + count, 0, padded - count);
	r = mr_io_write(file, block, padded, 0, err);
	if (r == 0)
		r = mr_io_sync(file, err);
	free(block);
	mr_io_file_close(file);
	return r;
}

int mr_checkpoint_save(struct mr_io *io, struct mr_checkpoint *checkpoint, struct mr_error *err)
{
	const char *name = slot_names[(checkpoint->generation + 1) & 1];
	uint8_t *bytes = NULL;
	size_t count = 0;
	int r;

	checkpoint->generation++;
	r = mr_checkpoint_encode(checkpoint, &bytes, &count);
	if (r < 0) {
		mr_error_set(err, r, "no memory for a checkpoint");
		goto out;
	}
	r = overwrite(io, name, bytes, count, err);
	if (r == -ENOENT)
		r = mr_io_replace(io, name, bytes, count, err);
out:
	if (r < 0)
		checkpoint->generation--;
	free(bytes);
	return r;
}
