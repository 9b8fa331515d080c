/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the catalogue: what was saved is read back, also after a power cut; a damaged
 * file is refused, never half believed; names and ids keep to their bounds.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "io_fake.h"
#include "topics.h"

static struct mr_error err;

static struct mr_topic *new_topic(const char *name, uint8_t id)
{
	struct mr_topic *topic = calloc(1, sizeof(*topic));

	snprintf(topic->name, sizeof(topic->name), "%s", name);
	memset(topic->id, id, sizeof(topic->id));
	topic->partition_count = id + 1;
	topic->created_ms = 1000 + id;
	topic->retention_bytes = 10u * id;
	topic->retention_ms = UINT64_C(1) << 40;
	topic->segment_bytes = 1u << 24;
	topic->storage = id % 2 ? MR_CONFIG_STORAGE_MEMORY : MR_CONFIG_STORAGE_DISK;
	topic->tail_bytes = id % 2 ? 1u << 26 : 0;
	topic->compression = id % 3;
	return topic;
}

static void add(struct mr_topics *topics, const char *name, uint8_t id)
{
	cr_assert_eq(mr_topics_add(topics, new_topic(name, id), &err), 0, "%s", err.what);
}

Test(topics, are_found_by_name_and_id_in_whatever_order_they_came)
{
	static const char *const names[] = {"m", "a", "zz", "b", "z"};
	struct mr_topics topics = {0};

	for (uint8_t i = 0; i < 5; i++)
		add(&topics, names[i], i);
	for (uint8_t i = 0; i < 5; i++) {
		uint8_t id[16];

		memset(id, i, sizeof(id));
		cr_assert_str_eq(mr_topics_find(&topics, names[i])->name, names[i]);
		cr_assert_str_eq(mr_topics_find_id(&topics, id)->name, names[i]);
	}
	cr_assert_null(mr_topics_find(&topics, "y"));
	cr_assert_null(mr_topics_find(&topics, ""));
	for (size_t i = 1; i < topics.count; i++)
		cr_assert_lt(strcmp(topics.topics[i - 1]->name, topics.topics[i]->name), 0);
	mr_topics_deinit(&topics);
}

Test(topics, a_name_is_there_once_and_gone_when_taken)
{
	struct mr_topics topics = {0};
	struct mr_topic *second = new_topic("a", 2);

	add(&topics, "a", 1);
	cr_assert_eq(mr_topics_add(&topics, second, &err), -EEXIST);
	free(second);
	second = mr_topics_find(&topics, "a");
	mr_topics_take(&topics, second);
	cr_assert_null(mr_topics_find(&topics, "a"));
	cr_assert_eq(topics.count, 0);
	cr_assert_eq(mr_topics_add(&topics, second, &err), 0);
	mr_topics_deinit(&topics);
}

Test(topics, survive_a_power_cut_once_saved)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);
		struct mr_topics topics = {0}, found;

		add(&topics, "prices", 3);
		cr_assert_eq(mr_topics_save(io, &topics, &err), 0, "%s", err.what);
		add(&topics, "trades", 4);
		cr_assert_eq(mr_topics_save(io, &topics, &err), 0, "%s", err.what);
		mr_io_fake_crash(io, seed);
		cr_assert_eq(mr_topics_load(io, &found, &err), 0, "%s", err.what);
		cr_assert_eq(found.count, 2);
		for (size_t i = 0; i < 2; i++) {
			cr_assert_str_eq(found.topics[i]->name, topics.topics[i]->name);
			cr_assert_arr_eq(found.topics[i]->id, topics.topics[i]->id, 16);
			cr_assert_eq(found.topics[i]->partition_count,
				     topics.topics[i]->partition_count);
			cr_assert_eq(found.topics[i]->created_ms, topics.topics[i]->created_ms);
			cr_assert_eq(found.topics[i]->retention_bytes,
				     topics.topics[i]->retention_bytes);
			cr_assert_eq(found.topics[i]->retention_ms, topics.topics[i]->retention_ms);
			cr_assert_eq(found.topics[i]->segment_bytes,
				     topics.topics[i]->segment_bytes);
			cr_assert_eq(found.topics[i]->storage, topics.topics[i]->storage);
			cr_assert_eq(found.topics[i]->tail_bytes, topics.topics[i]->tail_bytes);
			cr_assert_eq(found.topics[i]->compression, topics.topics[i]->compression);
		}
		mr_topics_deinit(&found);
		mr_topics_deinit(&topics);
		mr_io_close(io);
	}
}

Test(topics, no_file_is_an_empty_catalogue)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_topics topics;

	cr_assert_eq(mr_topics_load(io, &topics, &err), 0);
	cr_assert_eq(topics.count, 0);
	mr_topics_deinit(&topics);
	mr_io_close(io);
}

/* The checksum covers all of the line, and the file is nothing but the two lines. */
Test(topics, no_bit_and_no_byte_of_the_file_may_differ)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_topics topics = {0}, found;
	size_t bytes;
	void *file;

	add(&topics, "a", 1);
	cr_assert_eq(mr_topics_save(io, &topics, &err), 0);
	file = mr_io_fake_bytes(io, "catalog", &bytes);
	for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
		mr_io_fake_flip_bit(io, "catalog", bit);
		cr_assert_eq(mr_topics_load(io, &found, &err), -EBADMSG, "bit %lu",
			     (unsigned long)bit);
		cr_assert_eq(found.count, 0);
		mr_io_fake_flip_bit(io, "catalog", bit);
	}
	cr_assert_eq(mr_topics_load(io, &found, &err), 0);
	mr_topics_deinit(&found);
	for (size_t cut = bytes; cut-- > 0;) {
		mr_io_fake_cut(io, "catalog", cut);
		cr_assert_eq(mr_topics_load(io, &found, &err), -EBADMSG, "cut to %zu", cut);
	}
	free(file);
	mr_topics_deinit(&topics);
	mr_io_close(io);
}

static int load_text(const char *json)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_topics topics;
	char text[2048];
	int n = snprintf(text, sizeof(text), "%s\n%08x\n", json, mr_crc32c(0, json, strlen(json)));
	int r;

	cr_assert_eq(mr_io_replace(io, "catalog", text, (size_t)n, &err), 0);
	r = mr_topics_load(io, &topics, &err);
	if (r == 0)
		mr_topics_deinit(&topics);
	else
		cr_assert_eq(topics.count, 0);
	mr_io_close(io);
	return r;
}

#define ID "00112233445566778899aabbccddeeff"
#define ROW(name, id, partitions, bytes)                                                           \
	"{\"name\":" name ",\"id\":" id ",\"partitions\":" partitions                              \
	",\"created_ms\":1,\"retention_bytes\":" bytes ",\"retention_ms\":0,\"segment_bytes\":1}"
#define CATALOG(rows) "{\"version\":1,\"topics\":[" rows "]}"
#define ROW_3(more)                                                                                \
	"{\"version\":3,\"topics\":[{\"name\":\"a\",\"id\":\"" ID "\",\"partitions\":1,"           \
	"\"created_ms\":1,\"retention_bytes\":0,\"retention_ms\":0,\"segment_bytes\":1,"           \
	"\"storage\":\"disk\",\"tail_bytes\":0" more "}]}"
#define REPLICAS(nodes, least, leaders)                                                            \
	",\"replicas\":" nodes ",\"min_insync_replicas\":" least ",\"leaders\":" leaders
#define ROW_2(more)                                                                                \
	"{\"version\":2,\"topics\":[{\"name\":\"a\",\"id\":\"" ID "\",\"partitions\":1,"           \
	"\"created_ms\":1,\"retention_bytes\":0,\"retention_ms\":0,\"segment_bytes\":1" more "}]}"

/* A right checksum says who wrote it last, not that it makes sense. */
Test(topics, a_whole_file_that_makes_no_sense_is_refused)
{
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "1", "0"))), 0, "%s", err.what);
	cr_expect_eq(load_text(CATALOG(ROW("\"a/b\"", "\"" ID "\"", "1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"..\"", "\"" ID "\"", "1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("7", "\"" ID "\"", "1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"0011\"", "1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"X" ID "\"", "1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "0", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "1025", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "-1", "0"))), -EBADMSG);
	cr_expect_eq(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "1", "-1"))), -EBADMSG);
	cr_expect_lt(load_text(CATALOG(ROW("\"a\"", "\"" ID "\"", "1",
					   "0") "," ROW("\"a\"", "\"" ID "\"", "1", "0"))),
		     0);
	cr_expect_eq(load_text("{\"version\":0,\"topics\":[]}"), -EBADMSG);
	cr_expect_eq(load_text("{\"version\":3,\"topics\":[]}"), 0);
	cr_expect_eq(load_text("{\"version\":4,\"topics\":[]}"), -EBADMSG);
	cr_expect_eq(load_text("{\"version\":1,\"topics\":{}}"), -EBADMSG);
	cr_expect_eq(load_text("[]"), -EBADMSG);
	cr_expect_eq(load_text("{"), -EBADMSG);
	cr_expect_eq(load_text(""), -EBADMSG);
}

/* Nobody guesses where a topic's records are: what is left out or unknown is refused. */
Test(topics, a_row_of_today_says_its_storage)
{
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"memory\",\"tail_bytes\":1048576")), 0);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"disk\",\"tail_bytes\":0")), 0);
	cr_expect_eq(load_text(ROW_2("")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"memory\"")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"tail_bytes\":0")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"paper\",\"tail_bytes\":0")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":1,\"tail_bytes\":0")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"memory\",\"tail_bytes\":3")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"memory\",\"tail_bytes\":-1")), -EBADMSG);
}

/* An engine before there was compression says nothing of it; nobody guesses what a word means. */
Test(topics, a_row_without_compression_has_none_and_a_strange_one_is_refused)
{
#define COMPRESSED(word) ROW_2(",\"storage\":\"disk\",\"tail_bytes\":0,\"compression\":" word)
	cr_expect_eq(load_text(COMPRESSED("\"lz4\"")), 0);
	cr_expect_eq(load_text(COMPRESSED("\"zstd\"")), 0);
	cr_expect_eq(load_text(COMPRESSED("\"none\"")), 0);
	cr_expect_eq(load_text(COMPRESSED("\"gzip\"")), -EBADMSG);
	cr_expect_eq(load_text(COMPRESSED("\"\"")), -EBADMSG);
	cr_expect_eq(load_text(COMPRESSED("3")), -EBADMSG);
	cr_expect_eq(load_text(COMPRESSED("null")), -EBADMSG);
}

/* What an engine before topics in memory has written. */
Test(topics, the_first_form_is_read_as_topics_on_disk)
{
	static const char text[] = CATALOG(ROW("\"a\"", "\"" ID "\"", "7", "5"));
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_topics topics;
	char file[2048];
	int n = snprintf(file, sizeof(file), "%s\n%08x\n", text, mr_crc32c(0, text, strlen(text)));

	cr_assert_eq(mr_io_replace(io, "catalog", file, (size_t)n, &err), 0);
	cr_assert_eq(mr_topics_load(io, &topics, &err), 0, "%s", err.what);
	cr_assert_eq(topics.topics[0]->storage, MR_CONFIG_STORAGE_DISK);
	cr_assert_eq(topics.topics[0]->tail_bytes, 0);
	cr_assert_eq(topics.topics[0]->partition_count, 7);
	cr_assert_eq(mr_topics_save(io, &topics, &err), 0);
	mr_topics_deinit(&topics);
	cr_assert_eq(mr_topics_load(io, &topics, &err), 0, "%s", err.what);
	cr_assert_eq(topics.topics[0]->partition_count, 7);
	mr_topics_deinit(&topics);
	mr_io_close(io);
}

/* A copy that nobody keeps, or a leader without one: nobody guesses what was meant. */
Test(topics, replicas_are_whole_or_refused)
{
	cr_expect_eq(load_text(ROW_3("")), 0, "%s", err.what);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,63]", "2", "63"))), 0, "%s", err.what);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "1", "\"spread\""))), 0, "%s", err.what);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[]", "1", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,0]", "1", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[64]", "1", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[-1]", "1", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("3", "1", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "0", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "3", "\"spread\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "1", "2"))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "1", "\"all\""))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(REPLICAS("[0,1]", "1", "null"))), -EBADMSG);
	cr_expect_eq(load_text(ROW_3(",\"leaders\":\"spread\"")), -EBADMSG);
	cr_expect_eq(load_text(ROW_2(",\"storage\":\"memory\",\"tail_bytes\":0" REPLICAS(
			     "[0,1]", "1", "0"))),
		     -EBADMSG);
}

Test(topics, replicas_and_what_is_known_of_others_are_read_back)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_topics topics = {0}, found;
	struct mr_topic_deleted gone = {.id = {7}, .replicas = 5, .deleted_ms = 1234};
	struct mr_topic *topic = new_topic("a", 2);

	topic->replicas = UINT64_C(1) << 63 | 9;
	topic->min_insync_replicas = 2;
	topic->leaders = 63;
	topic->lost = true;
	cr_assert_eq(mr_topics_add(&topics, topic, &err), 0);
	add(&topics, "b", 4);
	topics.met = 6;
	cr_assert_eq(mr_topics_note_deleted(&topics, &gone), 0);
	cr_assert_eq(mr_topics_save(io, &topics, &err), 0);
	cr_assert_eq(mr_topics_load(io, &found, &err), 0, "%s", err.what);
	cr_expect_eq(found.topics[0]->replicas, topic->replicas);
	cr_expect_eq(found.topics[0]->min_insync_replicas, 2);
	cr_expect_eq(found.topics[0]->leaders, 63);
	cr_expect(found.topics[0]->lost);
	cr_expect(!found.topics[1]->lost);
	cr_expect(!mr_topic_replicated(found.topics[1]));
	cr_expect_eq(found.topics[1]->min_insync_replicas, 1);
	cr_expect_eq(found.met, 6);
	cr_assert_eq(found.deleted_count, 1);
	cr_expect_arr_eq(found.deleted[0].id, gone.id, 16);
	cr_expect_eq(found.deleted[0].replicas, 5);
	cr_expect_eq(found.deleted[0].deleted_ms, 1234);
	mr_topics_deinit(&found);
	mr_topics_deinit(&topics);
	mr_io_close(io);
}

/* Bounded; a topic of this host alone leaves nothing behind. */
Test(topics, of_deleted_topics_the_oldest_are_forgotten)
{
	struct mr_topics topics = {0};
	struct mr_topic_deleted one = {.replicas = 0};

	cr_assert_eq(mr_topics_note_deleted(&topics, &one), 0);
	cr_assert_eq(topics.deleted_count, 0);
	one.replicas = 3;
	for (uint32_t i = 0; i <= MR_TOPICS_DELETED_MAX; i++) {
		memcpy(one.id, &i, sizeof(i));
		cr_assert_eq(mr_topics_note_deleted(&topics, &one), 0);
		cr_assert_eq(mr_topics_note_deleted(&topics, &one), 0);
		cr_assert(mr_topics_is_deleted(&topics, one.id));
	}
	cr_expect_eq(topics.deleted_count, MR_TOPICS_DELETED_MAX);
	memset(one.id, 0, sizeof(one.id));
	cr_expect(!mr_topics_is_deleted(&topics, one.id));
	mr_topics_deinit(&topics);
}

Test(topics, leaders_are_spread_over_the_replicas_in_turn)
{
	struct mr_topic topic = {.replicas = 1u << 2 | 1u << 5 | UINT64_C(1) << 63,
				 .leaders = MR_TOPIC_LEADERS_SPREAD};
	static const uint32_t expected[] = {2, 5, 63, 2, 5, 63, 2};

	for (int32_t i = 0; i < 7; i++)
		cr_expect_eq(mr_topic_leader(&topic, i), expected[i]);
	topic.leaders = 5;
	for (int32_t i = 0; i < 7; i++)
		cr_expect_eq(mr_topic_leader(&topic, i), 5);
}

Test(topics, a_name_keeps_to_letters_and_length)
{
	char name[MR_TOPIC_NAME_MAX + 2];

	cr_expect_eq(mr_topic_check_name("A.b_c-9", &err), 0);
	cr_expect_eq(mr_topic_check_name("", &err), -EINVAL);
	cr_expect_eq(mr_topic_check_name(".", &err), -EINVAL);
	cr_expect_eq(mr_topic_check_name("..", &err), -EINVAL);
	cr_expect_eq(mr_topic_check_name("...", &err), 0);
	cr_expect_eq(mr_topic_check_name("a b", &err), -EINVAL);
	cr_expect_eq(mr_topic_check_name("a/b", &err), -EINVAL);
	cr_expect_eq(mr_topic_check_name("a\xff", &err), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[MR_TOPIC_NAME_MAX + 1] = '\0';
	cr_expect_eq(mr_topic_check_name(name, &err), -EINVAL);
	name[MR_TOPIC_NAME_MAX] = '\0';
	cr_expect_eq(mr_topic_check_name(name, &err), 0);
}

Test(topics, a_directory_comes_from_the_id_not_from_the_name)
{
	uint8_t id[16] = {0, 0x11, 0xab, 0xff};
	char path[64], partition[80];

	mr_topic_directory(id, path);
	cr_assert_str_eq(path, "topics/0011abff000000000000000000000000");
	mr_topic_partition_directory(id, 1023, partition);
	cr_assert_str_eq(partition, "topics/0011abff000000000000000000000000/1023");
}
