/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a log of a few flushed groups, and behind them whatever the input says: bytes as
 * they are, or groups with a right checksum that claim anything. What must hold: the flushed groups
 * are kept, recovery ends, what it ends with is what it ends with the next time, and a corrupt log
 * is left as it was.
 *
 * Input: flags, then pieces until it ends: { block u8, kind u8, bytes u16, bytes }.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "log_rig.h"

#define PREFIX_GROUPS 5
#define FIRST	      RIG_DIRECTORY "/00000000000000000000.log"
#define FILE_BLOCKS   32u

static struct {
	struct mr_io *disk;
	struct mr_test_rig_options options;
	struct mr_checkpoint_partition checkpoint;
	uint64_t segment_id;
} made;

static void make_disk(void)
{
	static struct mr_test_rig rig;

	made.disk = mr_io_fake_new(1);
	mr_io_fake_allow(made.disk, MR_IO_FAKE_ALL);
	made.options = mr_test_rig_defaults();
	mr_test_rig_open(&rig, &made.options, made.disk, NULL);
	made.segment_id = mr_log_files_at(rig.files, 0)->segment_id;
	for (int i = 0; i < PREFIX_GROUPS; i++) {
		if (i == 2)
			mr_test_rig_checkpoint(&rig, &made.checkpoint);
		mr_test_rig_put(&rig, 1, 100);
	}
	mr_test_rig_close(&rig);
}

/* A group of one record with a right checksum; its header's claims come from the input. */
static size_t forge(const uint8_t *claims, size_t count, uint8_t *out, size_t capacity)
{
	struct mr_test_batch batch = {.producer_id = -1, .records = 1, .value_bytes = 100};
	struct mr_group_place place = {0};
	uint8_t fields[5] = {0};
	uint32_t crc;

	memcpy(fields, claims, count < sizeof(fields) ? count : sizeof(fields));
	batch.base_offset = fields[0];
	place.number = fields[1];
	place.flushed_offset = fields[2] < fields[0] ? fields[2] : fields[0];
	place.leader_epoch = fields[3] & 3;
	place.previous_crc = fields[4] & 1 ? made.checkpoint.previous_crc : fields[4];
	return mr_test_group(&batch, &place, made.segment_id, out, capacity, &crc);
}

static void write_piece(struct mr_io_file *file, const uint8_t *piece, size_t count)
{
	static _Alignas(4096) uint8_t blocks[4 * 4096];
	uint32_t at = 1 + PREFIX_GROUPS + piece[0] % (FILE_BLOCKS - 1 - PREFIX_GROUPS);
	size_t whole = 4096;

	memset(blocks, 0, sizeof(blocks));
	if (piece[1] % 2) {
		whole = forge(piece + 4, count, blocks, sizeof(blocks));
	} else {
		memcpy(blocks, piece + 4, count < sizeof(blocks) ? count : sizeof(blocks));
		whole = count <= 4096 ? 4096 : (count + 4095) & ~(size_t)4095;
	}
	if (whole > sizeof(blocks))
		whole = sizeof(blocks);
	if (at * 4096 + whole > FILE_BLOCKS * 4096)
		whole = 4096;
	fuzz_demand(mr_io_write(file, blocks, whole, at * 4096, NULL) == 0);
}

static void write_pieces(struct mr_io *disk, const uint8_t *data, size_t count)
{
	struct mr_io_file *file;

	fuzz_demand(mr_io_open(disk, FIRST, MR_IO_WRITE, &file, NULL) == 0);
	while (count >= 4) {
		size_t bytes = data[2] | (size_t)data[3] << 8;

		if (bytes > count - 4)
			bytes = count - 4;
		write_piece(file, data, bytes);
		data += 4 + bytes;
		count -= 4 + bytes;
	}
	fuzz_demand(mr_io_sync(file, NULL) == 0);
	mr_io_file_close(file);
}

static void look(struct mr_io *disk, bool from_checkpoint, struct mr_recovered *recovered)
{
	struct mr_recover_options options = {.window_bytes =
						     mr_log_window_bytes(&made.options.log)};
	struct mr_partition partition;
	struct mr_error err;

	fuzz_demand(mr_partition_init(&partition, 8, 1, &err) == 0);
	fuzz_demand(mr_recover(disk, RIG_DIRECTORY, mr_test_topic_id, 0,
			       from_checkpoint ? &made.checkpoint : NULL, &options, &partition,
			       recovered, &err) == 0);
	fuzz_demand(partition.log_end == recovered->start.offset);
	mr_partition_deinit(&partition);
}

static void check_corrupt(struct mr_io *disk, struct mr_recovered *recovered, const void *before,
			  size_t bytes)
{
	size_t count;
	void *after = mr_io_fake_bytes(disk, FIRST, &count);
	uint64_t lost;

	fuzz_demand(count == bytes && memcmp(before, after, count) == 0);
	fuzz_demand(recovered->corrupt_offset >= PREFIX_GROUPS);
	fuzz_demand(recovered->damage.code == -EBADMSG);
	fuzz_demand(mr_recover_accept_loss(disk, RIG_DIRECTORY, recovered, &lost, NULL) == 0);
	free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_recovered first;
	struct mr_recovered second;
	struct mr_io *disk;
	void *before;
	size_t bytes;
	bool from_checkpoint;
	uint64_t kept;

	if (count < 1 || count > 32768)
		return 0;
	if (!made.disk)
		make_disk();
	disk = mr_io_fake_clone(made.disk, 1);
	from_checkpoint = data[0] & 1;
	write_pieces(disk, data + 1, count - 1);
	before = mr_io_fake_bytes(disk, FIRST, &bytes);
	look(disk, from_checkpoint, &first);
	fuzz_demand(first.start.offset >= PREFIX_GROUPS);
	kept = first.start.offset;
	if (first.corrupt)
		check_corrupt(disk, &first, before, bytes);
	mr_recovered_deinit(&first);
	free(before);
	look(disk, !from_checkpoint, &second);
	fuzz_demand(!second.corrupt);
	fuzz_demand(second.start.offset == kept);
	fuzz_demand(second.cut_bytes == 0);
	mr_recovered_deinit(&second);
	mr_io_close(disk);
	return 0;
}
