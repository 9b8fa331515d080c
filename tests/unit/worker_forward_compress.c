/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of batches that a host forwards into a topic with compression (pair_rig.h): they
 * are compressed before they travel, and the leader takes them as they are; not so where the leader
 * may know a part of one already, or does not take such: then it compresses them itself; and no
 * host can make it take what it would have to expand.
 */
#include "log/compress.h"
#include "pair_rig.h"

#define RECORDS 20 /* in a batch, enough to be worth it */

static void begin(enum mr_config_compression compression, uint64_t capabilities)
{
	pair_defaults();
	pair.compression = compression;
	pair.capabilities = capabilities;
	pair_begin();
}

static uint16_t codec_of(const struct mr_batch_header *header)
{
	return header->attributes & MR_BATCH_CODEC_MASK;
}

static const struct pair_message *held_forward(uint32_t number)
{
	for (uint32_t i = 0; i < pair.message_count; i++)
		if (pair.messages[i].entry.kind == MR_FEED_FORWARD && number-- == 0)
			return &pair.messages[i];
	return NULL;
}

/* The batch that is on its way as the first, second, ... */
static struct mr_batch_header look(uint32_t number)
{
	const struct pair_message *message;
	struct mr_batch_header header;

	pair_await((message = held_forward(number)) != NULL);
	cr_assert_eq(mr_batch_decode_header(message->batches, message->entry.bytes, &header), 0);
	return header;
}

static struct mr_batch_header publish_and_look(struct pair_client *client, uint32_t records)
{
	pair.hold_forward = true;
	pair_publish(client, records, 100);
	return look(0);
}

static void let_go(struct pair_client *client, uint64_t number)
{
	pair.hold_forward = false;
	pair_await(pair_acknowledged(client) == number);
}

/* Both logs have the same, all of it compressed by 'codec', and each record where it belongs. */
static void check_logs(uint16_t codec, uint64_t count)
{
	static struct pair_batch batches[1024];
	struct mr_batch_reader reader;
	struct mr_message message;
	uint64_t number = 0;

	for (uint32_t node = 0; node < 2; node++) {
		uint32_t found = pair_batches_of(node, batches, 1024), i;

		for (i = 0, number = 0; i < found; i++) {
			cr_assert_eq(codec_of(&batches[i].header), codec);
			cr_assert_eq((uint64_t)batches[i].header.base_sequence, number);
			pair_read_batch(&reader, &batches[i]);
			while (mr_batch_next(&reader, &message) > 0) {
				number++; /* as pair_publish() counts */
				cr_assert_eq(*(const char *)message.value, 'a' + (int)number % 26);
			}
		}
		cr_assert_eq(number, count);
	}
	pair_check_equal();
}

Test(worker_forward_compress, is_done_before_it_travels_and_taken_as_it_is, .fini = pair_end)
{
	struct mr_batch_header header;
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_ZSTD, MR_FEED_TAKES_COMPRESSED);
	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	for (uint64_t i = 1; i <= 5; i++) {
		header = publish_and_look(&client, RECORDS);
		cr_assert_eq(header.record_count, RECORDS);
		cr_assert_eq(codec_of(&header), 4);
		cr_assert_lt(header.total_bytes, 500); /* 2,000 and more without */
		let_go(&client, i * RECORDS);
	}
	check_logs(4, 5 * RECORDS);
	for (int i = 0; i < 2; i++)
		cr_assert_gt(pair.hosts[i].counters[MR_COUNT_PLAIN_BYTES],
			     4 * pair.hosts[i].counters[MR_COUNT_BYTES]);
	pair_close_client(&client);
}

/* It is of the version before: what it appends is its own to compress, or not. */
Test(worker_forward_compress, is_left_out_for_a_leader_that_does_not_take_it, .fini = pair_end)
{
	struct mr_batch_header header;
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_LZ4, 0);
	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	header = publish_and_look(&client, RECORDS);
	cr_assert_eq(codec_of(&header), 0);
	let_go(&client, RECORDS);
	check_logs(3, RECORDS); /* this one does, though */
	pair_close_client(&client);
}

/*
 * The leader has the first ten when the connection breaks; what comes after is a batch of thirty,
 * of which it drops those ten. Only what was never sent is compressed again.
 */
Test(worker_forward_compress, is_left_out_where_a_part_may_be_known, .fini = pair_end)
{
	struct mr_batch_header header;
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_LZ4, MR_FEED_TAKES_COMPRESSED);
	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	pair.batches_below = 0; /* nothing comes back, so nothing is answered */
	pair_publish(&client, 10, 100);
	pair_await(pair_page(0)->flushed_offset == 10);
	pair_link_down();
	pair_pass_ms(10);
	pair_publish(&client, 20, 100);
	pair.hold_forward = true;
	pair_link_up();
	header = look(0);
	cr_assert_eq(header.base_sequence, 0);
	cr_assert_eq(header.record_count, 30);
	cr_assert_eq(codec_of(&header), 0);
	pair_publish(&client, RECORDS, 100);
	header = look(1);
	cr_assert_eq(header.base_sequence, 30);
	cr_assert_eq(codec_of(&header), 3);
	pair.batches_below = PAIR_NEVER;
	let_go(&client, 30 + RECORDS);
	cr_assert_geq(pair.hosts[0].counters[MR_COUNT_DUPLICATES], 10);
	check_logs(3, 30 + RECORDS);
	pair_close_client(&client);
}

/* A lane that was handed back: the engine before may have sent any of what was published. */
Test(worker_forward_compress, is_left_out_for_what_was_published_before_a_restart, .fini = pair_end)
{
	struct mr_batch_header header;
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_LZ4, MR_FEED_TAKES_COMPRESSED);
	pair.published_before = RECORDS;
	pair.hold_forward = true;
	pair_open_client_at(&client, 1, 2, MR_ACKS_COMMITTED, 0, true);
	header = look(0);
	cr_assert_eq(header.record_count, RECORDS);
	cr_assert_eq(codec_of(&header), 0);
	let_go(&client, RECORDS);
	header = publish_and_look(&client, RECORDS);
	cr_assert_eq(codec_of(&header), 3);
	let_go(&client, 2 * RECORDS);
	check_logs(3, 2 * RECORDS);
	pair_close_client(&client);
}

/* A pipeline's new lane: what it says again was published into the one before. */
Test(worker_forward_compress, is_left_out_of_a_lane_that_repeats_another, .fini = pair_end)
{
	struct mr_batch_header header;
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_LZ4, MR_FEED_TAKES_COMPRESSED);
	pair.repeats = true;
	pair_open_client_at(&client, 1, 2, MR_ACKS_COMMITTED, 0, true);
	for (uint64_t i = 1; i <= 3; i++) {
		header = publish_and_look(&client, RECORDS);
		cr_assert_eq(codec_of(&header), 0);
		let_go(&client, i * RECORDS);
	}
	check_logs(3, 3 * RECORDS);
	pair_close_client(&client);
}

/* ---- what no host of ours sends ------------------------------------------------------------- */

static struct mr_compressor *compressor;

/* A batch of the producer's records from 'sequence' on, as host 1 would forward it. */
static void forge(uint32_t sequence, int32_t says, enum mr_config_compression compression)
{
	static char value[100];
	const struct mr_replica_forwarder *forwarder = &pair.hosts[1].part->replica->forwarder;
	struct pair_message *message = &pair.messages[pair.message_count];
	struct mr_batch_identity identity = {.producer_id = 2, .base_sequence = (int32_t)sequence};
	uint8_t *bytes = malloc(1u << 16);
	struct mr_batch_writer writer;
	struct mr_error err;

	if (!compressor)
		cr_assert_eq(mr_compressor_new(1u << 16, &compressor, &err), 0);
	mr_compressor_begin(compressor, compression, &writer, 1u << 16);
	for (int i = 0; i < RECORDS; i++)
		cr_assert_eq(mr_batch_add(&writer, 1, NULL, -1, value, sizeof(value), NULL, 0, 0),
			     0);
	identity.attributes =
		mr_compressor_place(compressor, compression, &writer, bytes, 1u << 16);
	writer.record_count = says;
	*message = (struct pair_message){
		.from = 1,
		.connection = pair.connection,
		.entry = {.kind = MR_FEED_FORWARD,
			  .leader_epoch = pair.reg.leader_epoch,
			  .session = forwarder->session + 1000, /* it begins anew */
			  .end_offset = (uint64_t)says,
			  .bytes = (uint32_t)mr_batch_end(&writer, &identity)},
		.batches = bytes,
	};
	pair.message_count++;
}

static void check_refused(uint64_t end)
{
	const struct mr_replica_taken *taken = &pair.hosts[0].part->replica->links[0].taken;

	pair_await(taken->refused);
	cr_assert_eq(taken->refusal.refused, MR_FEED_FORWARD_BAD);
	cr_assert_eq(pair_page(0)->appended_offset, end);
	mr_compressor_free(compressor);
	compressor = NULL;
}

Test(worker_forward_compress, of_what_is_known_in_part_is_refused, .fini = pair_end)
{
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_LZ4, MR_FEED_TAKES_COMPRESSED);
	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	pair_publish(&client, 10, 100);
	pair_await(pair_acknowledged(&client) == 10);
	forge(5, RECORDS, MR_CONFIG_COMPRESSION_LZ4);
	check_refused(10);
	pair_close_client(&client);
}

/* More records than the largest expansion holds would move offsets by what nobody ever wrote. */
Test(worker_forward_compress, of_more_records_than_can_be_is_refused, .fini = pair_end)
{
	struct pair_client client;

	begin(MR_CONFIG_COMPRESSION_ZSTD, MR_FEED_TAKES_COMPRESSED);
	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	pair_publish(&client, 10, 100);
	pair_await(pair_acknowledged(&client) == 10);
	forge(10, 10 << 20, MR_CONFIG_COMPRESSION_ZSTD);
	check_refused(10);
	pair_close_client(&client);
}
