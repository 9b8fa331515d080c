/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as the frame of a compressed batch. The first byte says which codec and
 * how many records the header counts. What must hold beside memory safety: no more memory than is
 * allowed, and the same records from an expander that was used before as from a new one.
 */
#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "expand.h"
#include "fuzz.h"

#define INPUT_BYTES_MAX 65536u

static void walk(const struct mr_batch_header *header, const uint8_t *records, size_t bytes)
{
	struct mr_batch_reader reader;
	struct mr_message message;
	volatile uint32_t touched = 0;
	int32_t seen = 0;

	mr_batch_read_records(&reader, header, records, bytes);
	while (mr_batch_next(&reader, &message) == 1) {
		if (message.key)
			touched = mr_crc32c(0, message.key, (size_t)message.key_bytes);
		if (message.value)
			touched = mr_crc32c(0, message.value, (size_t)message.value_bytes);
		seen++;
	}
	(void)touched;
	fuzz_demand(seen <= header->record_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mr_expander used;
	struct mr_expander fresh = {0};
	struct mr_batch_header header = {0};
	const uint8_t *records, *again;
	size_t bytes, again_bytes;
	struct mr_error err;
	uint8_t *batch;
	int r;

	if (size < 1 || size > INPUT_BYTES_MAX)
		return 0;
	header.attributes = data[0] & MR_BATCH_CODEC_MASK;
	header.record_count = data[0] >> 3;
	header.last_offset_delta = header.record_count - 1;
	header.total_bytes = (uint32_t)(MR_BATCH_HEADER_BYTES + size - 1);
	if (header.attributes == 0)
		return 0;		       /* nobody asks */
	batch = calloc(1, header.total_bytes); /* not a byte longer */
	memcpy(batch + MR_BATCH_HEADER_BYTES, data + 1, size - 1);
	mr_expander_begin(&used);
	r = mr_expander_records(&used, batch, &header, &records, &bytes, &err);
	fuzz_demand(r == 1 || r == -EBADMSG || r == -ENOTSUP);
	fuzz_demand(used.capacity <= MR_BATCH_EXPANDED_BYTES_MAX);
	fuzz_demand(mr_expander_records(&fresh, batch, &header, &again, &again_bytes, &err) == r);
	if (r == 1) {
		fuzz_demand(bytes == again_bytes && memcmp(records, again, bytes) == 0);
		walk(&header, records, bytes);
	}
	mr_expander_close(&fresh);
	free(batch);
	return 0;
}
