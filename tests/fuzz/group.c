/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a group and as a checkpoint, as they are and with their checksums made
 * right. What must hold beside memory safety: a group that checks out has dense, whole batches that
 * fill it; a checkpoint, or a state, that decodes can be encoded and comes back.
 */
#include <errno.h>
#include <string.h>

#include "checkpoint.h"
#include "crc32c.h"
#include "fuzz.h"
#include "group.h"

#define SEGMENT_ID	0x0123456789abcdefu
#define INPUT_BYTES_MAX 65536u

/* What check promises, looked at once more by other means. */
static void walk(const uint8_t *bytes, const struct mr_group_header *header)
{
	const uint8_t *at = bytes + sizeof(*header);
	const uint8_t *end = at + header->batch_bytes;
	uint64_t offset = header->base_offset;
	uint32_t batches = 0;
	struct mr_batch_header batch;

	while (at < end) {
		fuzz_demand(mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0);
		fuzz_demand(mr_batch_check_crc(at, &batch) == 0);
		fuzz_demand(batch.base_offset == offset);
		fuzz_demand(batch.record_count >= 1);
		offset += (uint64_t)batch.record_count;
		at += batch.total_bytes;
		batches++;
	}
	fuzz_demand(at == end);
	fuzz_demand(batches == header->batch_count);
	fuzz_demand(offset == header->base_offset + header->record_count);
}

static void try_group(const uint8_t *bytes, size_t count)
{
	struct mr_group_header header;
	struct mr_error err;
	int r = mr_group_check(bytes, count, SEGMENT_ID, &header, &err);

	fuzz_demand(r == 0 || r == -EBADMSG || r == -EAGAIN || r == -ENODATA);
	if (r == 0) {
		fuzz_demand(header.bytes <= count);
		walk(bytes, &header);
	}
	if (r == -EAGAIN)
		fuzz_demand(header.bytes > count);
}

/* Fills in what no fuzzer guesses: magic, lengths, each batch's checksum and place, the group's. */
static void seal(uint8_t *bytes, size_t count)
{
	struct mr_group_header *header = (struct mr_group_header *)(void *)bytes;
	uint64_t id = SEGMENT_ID;
	uint32_t crc = mr_crc32c(0, &id, sizeof(id));
	uint8_t *at = bytes + sizeof(*header);
	uint8_t *end = bytes + count;
	struct mr_batch_header batch;

	header->magic = MR_GROUP_MAGIC;
	header->batch_count = 0;
	while (mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0) {
		uint32_t batch_crc = mr_crc32c(0, at + 21, batch.total_bytes - 21);

		for (int i = 0; i < 4; i++)
			at[17 + i] = (uint8_t)(batch_crc >> (24 - 8 * i));
		if (header->batch_count == 0 && header->base_offset % 2)
			header->base_offset = batch.base_offset;
		crc = mr_crc32c(crc, at, MR_BATCH_PREFIX_BYTES);
		at += batch.total_bytes;
		header->batch_count++;
	}
	header->batch_bytes = (uint32_t)(at - bytes) - (uint32_t)sizeof(*header);
	header->bytes = ((uint32_t)(at - bytes) + MR_BLOCK_BYTES - 1) & ~(MR_BLOCK_BYTES - 1);
	header->crc = 0;
	header->crc = mr_crc32c(crc, header, sizeof(*header));
}

static void try_sealed_group(const uint8_t *data, size_t count)
{
	size_t whole = (count + MR_BLOCK_BYTES - 1) & ~(size_t)(MR_BLOCK_BYTES - 1);
	uint8_t *copy;

	if (count < sizeof(struct mr_group_header))
		return;
	copy = calloc(1, whole);
	memcpy(copy, data, count);
	seal(copy, count);
	try_group(copy, whole);
	free(copy);
}

/* What another host hands over: an entry alone. */
static void try_state(const uint8_t *bytes, size_t count)
{
	struct mr_checkpoint_partition state, back;
	struct mr_error err;
	uint8_t *again;
	size_t again_count;
	int r = mr_checkpoint_decode_state(bytes, count, &state, &err);

	fuzz_demand(r == 0 || r == -EBADMSG || r == -ENOMEM);
	if (r < 0)
		return;
	fuzz_demand(mr_checkpoint_encode_state(&state, &again, &again_count) == 0);
	fuzz_demand(mr_checkpoint_decode_state(again, again_count, &back, &err) == 0);
	fuzz_demand(back.producer_count == state.producer_count);
	fuzz_demand(back.epoch_count == state.epoch_count);
	free(again);
	mr_checkpoint_partition_deinit(&back);
	mr_checkpoint_partition_deinit(&state);
}

/* One of version 1 is written again as what came after it, which is longer. */
static void try_checkpoint(const uint8_t *bytes, size_t count, bool version_1)
{
	struct mr_checkpoint checkpoint;
	struct mr_checkpoint back;
	struct mr_error err;
	uint8_t *again;
	size_t again_count;
	int r = mr_checkpoint_decode(bytes, count, &checkpoint, &err);

	fuzz_demand(r == 0 || r == -EBADMSG || r == -ENOMEM);
	if (r < 0)
		return;
	fuzz_demand(mr_checkpoint_encode(&checkpoint, &again, &again_count) == 0);
	fuzz_demand(version_1 || again_count <= count);
	fuzz_demand(mr_checkpoint_decode(again, again_count, &back, &err) == 0);
	fuzz_demand(back.partition_count == checkpoint.partition_count);
	fuzz_demand(back.commit_count == checkpoint.commit_count);
	free(again);
	mr_checkpoint_deinit(&back);
	mr_checkpoint_deinit(&checkpoint);
}

static void try_sealed_checkpoint(const uint8_t *data, size_t count)
{
	uint32_t magic = MR_CHECKPOINT_MAGIC;
	uint64_t whole = count;
	uint32_t version;
	uint8_t *copy;
	uint32_t crc;

	if (count < 76)
		return;
	version = data[4] % 2 ? 1 : MR_CHECKPOINT_VERSION;
	copy = malloc(count);
	memcpy(copy, data, count);
	memcpy(copy, &magic, 4);
	memcpy(copy + 4, &version, 4);
	memcpy(copy + 8, &whole, 8);
	crc = mr_crc32c(0, copy, count - 4);
	memcpy(copy + count - 4, &crc, 4);
	try_checkpoint(copy, count, version == 1);
	try_state(copy, count);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	if (count > INPUT_BYTES_MAX)
		return 0;
	try_group(data, count);
	try_sealed_group(data, count);
	try_checkpoint(data, count, count > 4 && data[4] == 1);
	try_state(data, count);
	try_sealed_checkpoint(data, count);
	return 0;
}
