/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a file is taken as a whole or refused with the right line, key and
 * expectation; the values are within the table's bounds; docs/CONFIG.md says what the table
 * says.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "config_table.h"

static struct mr_config config;
static struct mr_error err;

static int parse(const char *text)
{
	err = (struct mr_error){.code = 0};
	return mr_config_parse(text, strlen(text), "f.yaml", &config, &err);
}

static void accept(const char *text)
{
	mr_config_deinit(&config);
	cr_assert_eq(parse(text), 0, "%s", err.what);
}

/* 'hint' may be NULL: none is expected. */
static void refuse(const char *text, const char *what, const char *hint)
{
	cr_assert_eq(parse(text), -EINVAL, "taken: %s", text);
	cr_assert_eq(err.code, -EINVAL);
	cr_assert_str_eq(err.what, what);
	cr_assert_str_eq(err.hint, hint ? hint : "");
}

Test(config, has_defaults)
{
	mr_config_defaults(&config);
	cr_assert_str_eq(config.data, "./millrace-data");
	cr_assert_str_empty(config.socket);
	cr_assert_eq(config.io, MR_CONFIG_IO_AUTO);
	cr_assert_str_eq(config.node, "local");
	cr_assert_eq(config.number, 0);
	cr_assert_str_eq(config.cluster, "millrace");
	cr_assert_str_empty(config.listen);
	cr_assert_null(config.peers);
	cr_assert_eq(config.peer_count, 0);
	cr_assert_str_empty(config.tls.key);
	cr_assert(!config.insecure);
	cr_assert_eq(config.catch_up_bytes_per_second, 256u << 20);
	cr_assert(config.auto_create);
	cr_assert_eq(config.partitions, 1);
	cr_assert_eq(config.segment_bytes, 1u << 30);
	cr_assert_eq(config.first_segment_bytes, 16u << 20);
	cr_assert_eq(config.retention_bytes, MR_CONFIG_UNLIMITED);
	cr_assert_eq(config.retention_ms, MR_CONFIG_UNLIMITED);
	cr_assert_eq(config.tail_bytes, 16u << 20);
	cr_assert_eq(config.lane_bytes, 1u << 20);
	cr_assert_eq(config.lane_bytes_max, 64u << 20);
	cr_assert_eq(config.record_bytes_max, 1u << 20);
	cr_assert_eq(config.group_bytes, 1u << 20);
	cr_assert_eq(config.groups_in_flight, 4);
	cr_assert_eq(config.idle, MR_CONFIG_IDLE_ADAPTIVE);
	cr_assert_eq(config.workers, 0);
	cr_assert_eq(config.placement, MR_PLACE_SPREAD);
	cr_assert_eq(config.lanes_per_user, 256);
	cr_assert_eq(config.connections_per_user, 64);
	cr_assert_eq(config.checkpoint_quiet_ms, 100);
	cr_assert_eq(config.replicas, 1);
	cr_assert_eq(config.min_insync_replicas, 0);
	cr_assert_str_eq(config.leaders, "spread");
	cr_assert_eq(config.producer_ids_max, 4096);
	cr_assert_eq(config.producer_expiry_ms, 7u * 86400 * 1000);
	cr_assert_null(config.topics);
	cr_assert_eq(config.topic_count, 0);
	cr_assert_eq(mr_config_check(&config, &err), 0, "%s", err.what);
}

Test(config, takes_every_option)
{
	accept("data: /srv/mill\n"
	       "socket: /run/mill.sock\n"
	       "io: posix\n"
	       "auto_create: false\n"
	       "partitions: 8\n"
	       "segment_bytes: 4 GiB\n"
	       "first_segment_bytes: 33554432\n"
	       "retention_bytes: 100 GiB\n"
	       "retention: 36 h\n"
	       "tail_bytes: 32MiB\n"
	       "lane_bytes: 64 KiB\n"
	       "lane_bytes_max: 16 MiB\n"
	       "record_bytes_max: 2 MiB\n"
	       "group_bytes: 512 KiB\n"
	       "groups_in_flight: 16\n"
	       "idle: park\n"
	       "workers: 3\n"
	       "placement: compact\n"
	       "lanes_per_user: 10\n"
	       "connections_per_user: 11\n"
	       "checkpoint_quiet: 5 s\n"
	       "producer_ids_max: 12\n"
	       "producer_expiry: 90 min\n");
	cr_assert_str_eq(config.data, "/srv/mill");
	cr_assert_str_eq(config.socket, "/run/mill.sock");
	cr_assert_eq(config.io, MR_CONFIG_IO_POSIX);
	cr_assert(!config.auto_create);
	cr_assert_eq(config.partitions, 8);
	cr_assert_eq(config.segment_bytes, UINT64_C(4) << 30);
	cr_assert_eq(config.first_segment_bytes, 32u << 20);
	cr_assert_eq(config.retention_bytes, UINT64_C(100) << 30);
	cr_assert_eq(config.retention_ms, 36u * 3600 * 1000);
	cr_assert_eq(config.tail_bytes, 32u << 20);
	cr_assert_eq(config.lane_bytes, 64u << 10);
	cr_assert_eq(config.lane_bytes_max, 16u << 20);
	cr_assert_eq(config.record_bytes_max, 2u << 20);
	cr_assert_eq(config.group_bytes, 512u << 10);
	cr_assert_eq(config.groups_in_flight, 16);
	cr_assert_eq(config.idle, MR_CONFIG_IDLE_PARK);
	cr_assert_eq(config.workers, 3);
	cr_assert_eq(config.placement, MR_PLACE_COMPACT);
	cr_assert_eq(config.lanes_per_user, 10);
	cr_assert_eq(config.connections_per_user, 11);
	cr_assert_eq(config.checkpoint_quiet_ms, 5000);
	cr_assert_eq(config.producer_ids_max, 12);
	cr_assert_eq(config.producer_expiry_ms, 90u * 60 * 1000);
}

Test(config, an_empty_file_is_all_defaults)
{
	static const char *const empty[] = {"",		  "\n\n", "# nothing\n", "---\n",
					    "---\n...\n", "{}",	  "\xef\xbb\xbf"};

	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		accept(empty[i]);
		cr_assert_eq(config.segment_bytes, 1u << 30);
	}
}

Test(config, names_an_unknown_key_and_its_line)
{
	refuse("# comment\n\ndata: x\nsegmnt_bytes: 1 GiB\nio: auto\n",
	       "f.yaml:4: unknown key 'segmnt_bytes', expected an option",
	       "did you mean 'segment_bytes'?");
	refuse("retention_ms: 5 s\n", "f.yaml:1: unknown key 'retention_ms', expected an option",
	       "did you mean 'retention'?");
	refuse("weather: fine\n", "f.yaml:1: unknown key 'weather', expected an option",
	       "docs/CONFIG.md lists all options");
	refuse("topic:\n", "f.yaml:1: unknown key 'topic', expected an option",
	       "did you mean 'topics'?");
}

Test(config, names_a_value_out_of_bounds)
{
	refuse("io: auto\nnumber: 64\n",
	       "f.yaml:2: number is '64', expected a whole number from 0 to 63", NULL);
	refuse("segment_bytes: 15 MiB",
	       "f.yaml:1: segment_bytes is '15 MiB', expected a size from 16 MiB to 4 GiB",
	       "write a whole number, alone or with KiB, MiB or GiB");
}

Test(config, sizes_and_times_have_units)
{
	accept("retention_bytes: 0\nretention: 0\n");
	cr_assert_eq(config.retention_ms, 0);
	accept("retention: 0 d\n");
	cr_assert_eq(config.retention_ms, 0);
	accept("retention: 1500ms\n");
	cr_assert_eq(config.retention_ms, 1500);
	accept("retention_bytes: 1 KiB");
	cr_assert_eq(config.retention_bytes, 1024);
	accept("retention_bytes: '1024'");
	cr_assert_eq(config.retention_bytes, 1024);
}

/* Nothing that a person may take for a number is taken for another one. */
Test(config, refuses_what_is_no_whole_number)
{
	static const char *const values[] = {
		"-1",
		"+1",
		"1.5 GiB",
		"1e9",
		"0x10",
		"1 GB",
		"1 gib",
		"GiB",
		"1 GiB GiB",
		"18446744073709551616",
		"20000000000 GiB",
		"1_000",
		"''",
		"' 1'",
		"one",
		"1 MiB # x",
		"\"1\\t\"",
		"99999999999999999999999999999999 KiB",
	};
	char text[100];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(text, sizeof(text), "segment_bytes: %s\n", values[i]);
		cr_assert_eq(parse(text), -EINVAL, "%s", values[i]);
		cr_assert_not_null(strstr(err.what, "expected a size from 16 MiB to 4 GiB"), "%s",
				   err.what);
	}
}

/* A bare number could be anything: seconds to one person, milliseconds to another. */
Test(config, a_time_needs_its_unit)
{
	refuse("producer_expiry: 3600\n",
	       "f.yaml:1: producer_expiry is '3600', expected a time from 1 min to 3650 d",
	       "write a whole number with ms, s, min, h or d");
}

Test(config, a_power_of_two_is_one)
{
	refuse("\ntail_bytes: 24 MiB\n",
	       "f.yaml:2: tail_bytes is '24 MiB', expected a power of two from 1 MiB to 4 GiB",
	       "write a whole number, alone or with KiB, MiB or GiB");
}

Test(config, names_the_nearest_word)
{
	refuse("io: urin\n", "f.yaml:1: io is 'urin', expected auto, uring or posix",
	       "did you mean 'uring'?");
	refuse("auto_create: yes\n", "f.yaml:1: auto_create is 'yes', expected false or true",
	       NULL);
	refuse("idle: Adaptive\n", "f.yaml:1: idle is 'Adaptive', expected spin, adaptive or park",
	       "did you mean 'adaptive'?");
	refuse("placement: spre\n", "f.yaml:1: placement is 'spre', expected spread or compact",
	       "did you mean 'spread'?");
}

Test(config, each_bound_is_taken_and_its_neighbour_refused)
{
	struct mr_error why;

	for (size_t i = 0; i < mr_config_options.count; i++) {
		const struct mr_option *option = &mr_config_options.rows[i];
		char text[40];

		if (!mr_option_is_number(option) || option->words)
			continue;
		mr_config_defaults(&config);
		mr_option_format(option, option->least, text, sizeof(text));
		cr_assert_eq(mr_config_set(&config, option->name, text, &why), 0, "%s", why.what);
		cr_assert_eq(mr_option_get(option, &config), option->least);
		mr_option_format(option, option->most, text, sizeof(text));
		cr_assert_eq(mr_config_set(&config, option->name, text, &why), 0, "%s", why.what);
		cr_assert_eq(mr_option_get(option, &config), option->most);
		mr_option_format(option, option->most + 1, text, sizeof(text));
		cr_assert_eq(mr_config_set(&config, option->name, text, &why), -EINVAL);
		cr_assert_eq(mr_option_get(option, &config), option->most, "left as it was");
		if (option->least == 0)
			continue;
		mr_option_format(option, option->least - 1, text, sizeof(text));
		cr_assert_eq(mr_config_set(&config, option->name, text, &why), -EINVAL);
	}
}

/* The default as it is written in the table and the docs is what the table itself allows. */
Test(config, every_word_of_every_choice_is_taken)
{
	for (size_t i = 0; i < mr_config_options.count; i++) {
		const struct mr_option *option = &mr_config_options.rows[i];
		const char *word = option->words;

		for (uint64_t index = 0; word && *word; index++) {
			size_t bytes = strcspn(word, "|");
			char text[32];

			snprintf(text, sizeof(text), "%.*s", (int)bytes, word);
			mr_config_defaults(&config);
			cr_assert_eq(mr_config_set(&config, option->name, text, &err), 0);
			cr_assert_eq(mr_option_get(option, &config), index);
			word += bytes + (word[bytes] == '|');
		}
	}
}

/* libcyaml says nothing of a key that comes twice: the last one silently won. */
Test(config, refuses_a_key_given_twice)
{
	refuse("node: 1\nio: auto\nnode: 1\n",
	       "f.yaml:3: node is given a second time; line 1 has it already", NULL);
	refuse("topics:\n- name: a\n  name: b\n",
	       "f.yaml:3: name is given a second time; line 2 has it already", NULL);
	refuse("topics: []\ntopics: []\n",
	       "f.yaml:2: topics is given a second time; line 1 has it already", NULL);
}

Test(config, refuses_a_wrong_shape)
{
	refuse("- data\n", "f.yaml:1: the file is a list, expected options, as 'data: ...'", NULL);
	refuse("hello\n", "f.yaml:1: the file is a plain value, expected options, as 'data: ...'",
	       NULL);
	refuse("node:\n  - 1\n", "f.yaml:2: node is a list, expected a plain value", NULL);
	refuse("node: {a: b}\n", "f.yaml:1: node is a group of keys, expected a plain value", NULL);
	refuse("? [a]\n: b\n", "f.yaml:1: a key is a list, expected a plain value", NULL);
	refuse("topics: 3\n", "f.yaml:1: topics is a plain value, expected a list of topics", NULL);
	refuse("topics:\n", "f.yaml:1: topics is nothing, expected a list of topics", NULL);
	refuse("topics:\n  name: a\n",
	       "f.yaml:2: topics is a group of keys, expected a list of topics", NULL);
	refuse("topics:\n- a\n",
	       "f.yaml:2: a topic is a plain value, expected its options, as 'name: ...'", NULL);
	refuse("topics:\n- name: [a]\n", "f.yaml:2: name is a list, expected a plain value", NULL);
	refuse("node: 1\n---\nnode: 2\n",
	       "f.yaml:2: a second document begins, expected the end of the file", NULL);
}

Test(config, a_value_left_out_is_not_zero)
{
	refuse("number:\nio: auto\n",
	       "f.yaml:1: number is '', expected a whole number from 0 to 63", NULL);
	refuse("data:\n", "f.yaml:1: data is '', expected a path of 1 to 1023 bytes", NULL);
}

/* A few lines of aliases can stand for billions of values. */
Test(config, refuses_anchors_and_aliases)
{
	refuse("data: &a x\nsocket: *a\n", "f.yaml:1: anchors and aliases are not taken here",
	       NULL);
	refuse("topics: &a []\n", "f.yaml:1: anchors and aliases are not taken here", NULL);
	refuse("node: 1\ntopics:\n- &b\n  name: a\n",
	       "f.yaml:3: anchors and aliases are not taken here", NULL);
	refuse("a: *nowhere\n", "f.yaml:1: unknown key 'a', expected an option",
	       "docs/CONFIG.md lists all options");
}

Test(config, tells_where_it_is_no_yaml)
{
	cr_assert_eq(parse("node: 1\ndata: 'open\nio: auto\n"), -EINVAL);
	cr_assert_eq(strncmp(err.what, "f.yaml:4: this is not YAML: ", 28), 0, "%s", err.what);
	cr_assert_eq(parse("node: 1\n\tio: auto\n"), -EINVAL);
	cr_assert_eq(strncmp(err.what, "f.yaml:2: this is not YAML: ", 28), 0, "%s", err.what);
	cr_assert_eq(parse("data: \xff\xfe\n"), -EINVAL);
	cr_assert_eq(strncmp(err.what, "f.yaml:1: this is not YAML: ", 28), 0, "%s", err.what);
}

Test(config, a_zero_byte_does_not_hide_the_rest)
{
	refuse("data: \"a\\0b\"\n", "f.yaml:1: data has a zero byte in it", NULL);
	refuse("\"data\\0x\": a\n", "f.yaml:1: a key has a zero byte in it", NULL);
	cr_assert_eq(mr_config_parse("data: a\0b\n", 10, "f.yaml", &config, &err), -EINVAL);
}

Test(config, paths_are_bounded_and_printable)
{
	char text[2000], path[1200];

	refuse("data: \"a\\nb\"\n", "f.yaml:1: data is 'a\nb', expected a path of 1 to 1023 bytes",
	       NULL);
	memset(path, 'p', sizeof(path));
	path[1023] = '\0';
	snprintf(text, sizeof(text), "data: %s\n", path);
	accept(text);
	cr_assert_str_eq(config.data, path);
	path[1023] = 'p';
	path[1024] = '\0';
	snprintf(text, sizeof(text), "data: %s\n", path);
	refuse(text,
	       "f.yaml:1: data is 'pppppppppppppppppppppppppppppppppppppppp...', expected a path "
	       "of "
	       "1 to 1023 bytes",
	       NULL);
}

Test(config, values_must_fit_each_other)
{
	refuse("tail_bytes: 1 MiB\n",
	       "f.yaml:1: tail_bytes is 1 MiB, expected at least twice record_bytes_max, which is "
	       "1 MiB",
	       "raise tail_bytes or lower record_bytes_max");
	refuse("lane_bytes_max: 4 MiB\n\nlane_bytes: 8 MiB\n",
	       "f.yaml:3: lane_bytes_max is 4 MiB, expected at least lane_bytes, which is 8 MiB",
	       "raise lane_bytes_max or lower lane_bytes");
	refuse("topics:\n- name: a\n  segment_bytes: 16 MiB\n- segment_bytes: 16 MiB\n  name: b\n"
	       "first_segment_bytes: 32 MiB\n",
	       "f.yaml:2: segment_bytes of topic 'a' is less than first_segment_bytes",
	       "raise it, or lower first_segment_bytes");
	accept("tail_bytes: 1 MiB\nrecord_bytes_max: 512 KiB\ngroup_bytes: 512 KiB\n"
	       "first_segment_bytes: 1 MiB\n");
}

Test(config, topics_have_the_general_values_or_their_own)
{
	const struct mr_config_topic *trades, *audit;

	accept("topics:\n"
	       "  - name: trades\n"
	       "    partitions: 4\n"
	       "    retention: 1 h\n"
	       "  - {segment_bytes: 64 MiB, name: audit, retention_bytes: 0}\n"
	       "partitions: 2\n"
	       "retention_bytes: 1 GiB\n"
	       "retention: 7 d\n");
	cr_assert_eq(config.topic_count, 2);
	trades = mr_config_topic_find(&config, "trades");
	audit = mr_config_topic_find(&config, "audit");
	cr_assert_null(mr_config_topic_find(&config, "other"));
	cr_assert_eq(trades, &config.topics[0], "in the file's order");
	cr_assert_eq(trades->partitions, 4);
	cr_assert_eq(trades->retention_ms, 3600 * 1000);
	cr_assert_eq(trades->retention_bytes, 1u << 30);
	cr_assert_eq(trades->segment_bytes, 1u << 30);
	cr_assert_str_eq(audit->name, "audit");
	cr_assert_eq(audit->partitions, 2);
	cr_assert_eq(audit->retention_ms, 7u * 86400 * 1000);
	cr_assert_eq(audit->retention_bytes, 0);
	cr_assert_eq(audit->segment_bytes, 64u << 20);
	mr_config_deinit(&config);
	cr_assert_null(config.topics);
}

Test(config, a_topic_says_where_its_records_are)
{
	const struct mr_config_topic *quotes, *trades;
	struct mr_config_topic other;

	accept("topics:\n"
	       "  - {name: quotes, storage: memory, tail_bytes: 64 MiB}\n"
	       "  - {name: trades, storage: disk}\n"
	       "retention: 7 d\n"
	       "tail_bytes: 4 MiB\n");
	quotes = mr_config_topic_find(&config, "quotes");
	trades = mr_config_topic_find(&config, "trades");
	cr_assert_eq(quotes->storage, MR_CONFIG_STORAGE_MEMORY);
	cr_assert_eq(quotes->tail_bytes, 64u << 20);
	cr_assert_eq(trades->storage, MR_CONFIG_STORAGE_DISK);
	cr_assert_eq(trades->tail_bytes, 4u << 20);
	mr_config_topic_defaults(&config, "other", &other);
	cr_assert_str_eq(other.name, "other");
	cr_assert_eq(other.storage, MR_CONFIG_STORAGE_DISK);
	cr_assert_eq(other.tail_bytes, 4u << 20);
	cr_assert_eq(other.retention_ms, 7u * 86400 * 1000);
	cr_assert_eq(other.partitions, 1);
	mr_config_deinit(&config);
	refuse("topics:\n- name: a\n  storage: memry\n",
	       "f.yaml:3: storage is 'memry', expected disk or memory", "did you mean 'memory'?");
	refuse("topics:\n- name: a\n  storage: memory\n  retention: 1 d\n",
	       "f.yaml:2: topic 'a' has storage memory: it takes no retention, no segment_bytes "
	       "and no replicas",
	       "leave them out, or say storage: disk");
	refuse("topics:\n- name: a\n  tail_bytes: 1 MiB\n",
	       "f.yaml:2: tail_bytes of topic 'a' is less than twice record_bytes_max",
	       "raise it, or lower record_bytes_max");
}

/* Of topics made on first use the general word goes; a row has its own. */
Test(config, a_topics_compression_is_its_own_or_the_general_one)
{
	struct mr_config_topic other;

	accept("compression: lz4\n"
	       "topics:\n"
	       "  - {name: events, compression: zstd}\n"
	       "  - {name: trades, partitions: 2}\n"
	       "  - {name: raw, compression: none}\n");
	mr_config_topic_defaults(&config, "other", &other);
	cr_assert_eq(other.compression, MR_CONFIG_COMPRESSION_LZ4);
	cr_assert_eq(mr_config_topic_find(&config, "events")->compression,
		     MR_CONFIG_COMPRESSION_ZSTD);
	cr_assert_eq(mr_config_topic_find(&config, "trades")->compression,
		     MR_CONFIG_COMPRESSION_LZ4);
	cr_assert_eq(mr_config_topic_find(&config, "raw")->compression, MR_CONFIG_COMPRESSION_NONE);
	mr_config_deinit(&config);
	accept("partitions: 2\n");
	mr_config_topic_defaults(&config, "other", &other);
	cr_assert_eq(other.compression, MR_CONFIG_COMPRESSION_NONE);
	mr_config_deinit(&config);
	refuse("compression: gzip\n", "f.yaml:1: compression is 'gzip', expected none, lz4 or zstd",
	       NULL);
	refuse("topics:\n- name: a\n  compression: ztsd\n",
	       "f.yaml:3: compression is 'ztsd', expected none, lz4 or zstd",
	       "did you mean 'zstd'?");
}

Test(config, a_compression_is_read_back_from_its_word)
{
	enum mr_config_compression found = MR_CONFIG_COMPRESSION_NONE;

	for (int i = MR_CONFIG_COMPRESSION_NONE; i <= MR_CONFIG_COMPRESSION_ZSTD; i++) {
		cr_assert_eq(mr_config_compression_parse(
				     mr_config_compression_word((enum mr_config_compression)i),
				     &found, &err),
			     0);
		cr_assert_eq(found, (enum mr_config_compression)i);
	}
	cr_assert_eq(mr_config_compression_parse("LZ4", &found, &err), -EINVAL);
	cr_assert_eq(mr_config_compression_parse("", &found, NULL), -EINVAL);
	cr_assert_eq(found, MR_CONFIG_COMPRESSION_ZSTD, "untouched");
}

Test(config, refuses_topics_that_cannot_be)
{
	refuse("topics:\n- name: a\n- partitions: 3\n", "f.yaml:3: a topic without a name", NULL);
	refuse("topics:\n- {}\n", "f.yaml:2: a topic without a name", NULL);
	refuse("topics:\n- name: a b\n",
	       "f.yaml:2: name is 'a b', expected a name of 1 to 249 characters",
	       "a name is made of a-z A-Z 0-9 . _ -");
	refuse("topics:\n- name: ..\n",
	       "f.yaml:2: name is '..', expected a name of 1 to 249 characters",
	       "a name is made of a-z A-Z 0-9 . _ -");
	refuse("topics:\n- name: b\n- name: a\n- name: c\n- name: b\n",
	       "f.yaml:5: topic 'b' is given a second time; line 2 has it already", NULL);
	refuse("topics:\n- name: b\n  retntion: 1 d\n",
	       "f.yaml:3: unknown key 'retntion', expected an option of a topic",
	       "did you mean 'retention'?");
	refuse("topics:\n- name: b\n  partitions: 1025\n",
	       "f.yaml:3: partitions is '1025', expected a whole number from 1 to 1024", NULL);
}

static char *many_topics(size_t count)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	fputs("topics:\n", out);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "- name: topic-%zu\n", i);
	fclose(out);
	return text;
}

Test(config, many_topics_are_taken_and_too_many_refused)
{
	char *text = many_topics(MR_CONFIG_TOPICS_MAX);

	accept(text);
	cr_assert_eq(config.topic_count, MR_CONFIG_TOPICS_MAX);
	cr_assert_str_eq(config.topics[MR_CONFIG_TOPICS_MAX - 1].name, "topic-4095");
	free(text);
	text = many_topics(MR_CONFIG_TOPICS_MAX + 1);
	refuse(text, "f.yaml:4098: more than 4096 topics", NULL);
	free(text);
}

Test(config, a_refused_file_leaves_the_struct_alone)
{
	struct mr_config before;

	memset(&config, 0x5a, sizeof(config));
	before = config;
	cr_assert_eq(parse("topics:\n- name: a\nnumber: x\n"), -EINVAL);
	cr_assert_eq(memcmp(&before, &config, sizeof(before)), 0);
}

/* Every beginning of a good file, and every file with one byte changed, is taken or refused. */
Test(config, survives_cut_and_changed_files, .timeout = 60)
{
	static const char good[] = "data: \"x\"\nretention: 7 d\ntopics:\n  - name: a\n    "
				   "partitions: 4\n  - {name: b, segment_bytes: 64 MiB}\n"
				   "peers: {b: {number: 1, address: '127.0.0.1:1'}}\n"
				   "tls: {authority: a, certificate: b, key: c}\n";
	static const char others[] = "\0\n\t \"'[]{}:-&*?!|>%@#x\xff";

	for (size_t count = 0; count < sizeof(good); count++) {
		if (mr_config_parse(good, count, "cut", &config, &err) == 0)
			mr_config_deinit(&config);
	}
	for (size_t at = 0; at < sizeof(good) - 1; at++) {
		for (size_t k = 0; k < sizeof(others) - 1; k++) {
			char text[sizeof(good)];

			memcpy(text, good, sizeof(good));
			text[at] = others[k];
			if (mr_config_parse(text, sizeof(good) - 1, "changed", &config, &err) == 0)
				mr_config_deinit(&config);
			else
				cr_assert_eq(strncmp(err.what, "changed:", 8), 0, "%s", err.what);
		}
	}
}

Test(config, one_option_can_be_set_from_the_command_line)
{
	mr_config_defaults(&config);
	cr_assert_eq(mr_config_set(&config, "data", "/x", &err), 0);
	cr_assert_str_eq(config.data, "/x");
	cr_assert_eq(mr_config_set(&config, "tail_bytes", "1 MiB", &err), 0);
	cr_assert_eq(mr_config_check(&config, &err), -EINVAL);
	cr_assert_eq(mr_config_set(&config, "dat", "/x", &err), -EINVAL);
	cr_assert_str_eq(err.what, "unknown option 'dat'");
	cr_assert_str_eq(err.hint, "did you mean 'data'?");
	cr_assert_eq(mr_config_set(&config, "topics", "[]", &err), -EINVAL);
	cr_assert_str_eq(err.what, "topics cannot be set alone");
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static void accept_hosts(const char *text)
{
	accept(text);
	mr_config_deinit(&config);
}

Test(config, takes_every_option_of_hosts)
{
	accept("node: mill-1\n"
	       "number: 63\n"
	       "cluster: Works.7\n"
	       "listen: 127.0.0.1:7420\n"
	       "peers: {b: {number: 1, address: 'b.example:7420', bytes_per_second: 1 MiB}}\n"
	       "tls: {authority: ca.pem, certificate: b.pem, key: b.key}\n"
	       "insecure: false\n"
	       "catch_up_bytes_per_second: 2 MiB\n"
	       "replicas: 2\n"
	       "min_insync_replicas: 2\n"
	       "leaders: b\n");
	cr_assert_str_eq(config.node, "mill-1");
	cr_assert_eq(config.number, 63);
	cr_assert_str_eq(config.cluster, "Works.7");
	cr_assert_str_eq(config.listen, "127.0.0.1:7420");
	cr_assert_eq(config.peer_count, 1);
	cr_assert_str_eq(config.peers[0].name, "b");
	cr_assert_eq(config.peers[0].number, 1);
	cr_assert_str_eq(config.peers[0].address, "b.example:7420");
	cr_assert_eq(config.peers[0].bytes_per_second, 1u << 20);
	cr_assert_str_eq(config.tls.authority, "ca.pem");
	cr_assert_str_eq(config.tls.certificate, "b.pem");
	cr_assert_str_eq(config.tls.key, "b.key");
	cr_assert_eq(config.catch_up_bytes_per_second, 2u << 20);
	cr_assert_eq(config.replicas, 2);
	cr_assert_str_eq(config.leaders, "b");
	cr_assert_eq(config.min_insync_replicas, 2);
	mr_config_deinit(&config);
}

Test(config, takes_the_hosts_of_a_cluster)
{
	accept("node: b\n"
	       "number: 1\n"
	       "listen: \"[::]:7420\"\n"
	       "insecure: true\n"
	       "peers:\n"
	       "  a: {number: 0}\n"
	       "  c:\n"
	       "    number: 7\n"
	       "    address: 10.0.0.3:7420\n"
	       "    bytes_per_second: 10 MiB\n"
	       "replicas: 3\n"
	       "topics:\n"
	       "  - {name: t, replicas: 2, leaders: c}\n"
	       "  - {name: u, min_insync_replicas: 3}\n");
	cr_assert_eq(config.peer_count, 2);
	cr_assert_eq(mr_config_peer_find(&config, "c"), &config.peers[1]);
	cr_assert_eq(mr_config_peer_numbered(&config, 0), &config.peers[0]);
	cr_assert_null(mr_config_peer_find(&config, "b"), "not itself");
	cr_assert_null(mr_config_peer_numbered(&config, 1));
	cr_assert_str_empty(config.peers[0].address, "it connects to us");
	cr_assert_eq(config.peers[0].bytes_per_second, 0);
	cr_assert_eq(config.peers[1].bytes_per_second, 10u << 20);
	cr_assert_eq(config.topics[0].replicas, 2);
	cr_assert_eq(config.topics[0].min_insync_replicas, 0);
	cr_assert_str_eq(config.topics[0].leaders, "c");
	cr_assert_eq(config.topics[1].replicas, 3);
	cr_assert_eq(config.topics[1].min_insync_replicas, 3);
	cr_assert_str_eq(config.topics[1].leaders, "spread");
	mr_config_deinit(&config);
	cr_assert_null(config.peers);
}

/* R11: two hosts go on alone after one is out of sync, three do not. */
Test(config, the_least_in_sync_follow_from_the_replicas)
{
	cr_assert_eq(mr_config_least_in_sync(0, 1), 1);
	cr_assert_eq(mr_config_least_in_sync(0, 2), 1);
	cr_assert_eq(mr_config_least_in_sync(0, 3), 2);
	cr_assert_eq(mr_config_least_in_sync(0, 5), 2);
	cr_assert_eq(mr_config_least_in_sync(2, 2), 2);
	cr_assert_eq(mr_config_least_in_sync(1, 3), 1);
}

/* By SHA-256, so that every build on every machine says the same. */
Test(config, a_clusters_id_is_its_names)
{
	static const uint8_t millrace[16] = {0x59, 0x0c, 0x91, 0x0f, 0x43, 0xb1, 0x42, 0x9c,
					     0x4c, 0xa7, 0xdd, 0x97, 0x17, 0xaa, 0xbf, 0xa5};
	uint8_t id[16], other[16];

	mr_config_defaults(&config);
	mr_config_cluster_id(&config, id);
	cr_assert_arr_eq(id, millrace, 16);
	cr_assert_eq(mr_config_set(&config, "cluster", "works", &err), 0);
	mr_config_cluster_id(&config, other);
	cr_assert_neq(memcmp(id, other, 16), 0);
}

Test(config, names_and_numbers_of_hosts_differ)
{
	refuse("node: a\npeers:\n  a: {number: 1, address: '127.0.0.1:1'}\n",
	       "f.yaml:3: peer 'a' has this host's own name",
	       "list the other hosts only, and give each its name in node");
	refuse("peers:\n  b: {number: 1, address: '127.0.0.1:1'}\n"
	       "  b: {number: 2, address: '127.0.0.1:1'}\n",
	       "f.yaml:3: peer 'b' is given a second time; line 2 has it already", NULL);
	refuse("number: 1\nlisten: 127.0.0.1:1\npeers:\n  b:\n    address: '127.0.0.1:1'\n"
	       "    number: 1\n",
	       "f.yaml:6: number of peer 'b' is 1, which is this host's own",
	       "each host of the cluster has a number of its own, from 0 to 63");
	refuse("peers:\n  b: {number: 1, address: '127.0.0.1:1'}\n"
	       "  c: {number: 1, address: '127.0.0.1:1'}\n",
	       "f.yaml:3: number of peer 'c' is 1, which is that of 'b'",
	       "each host of the cluster has a number of its own, from 0 to 63");
	refuse("peers:\n  b: {address: '127.0.0.1:1'}\n", "f.yaml:2: peer 'b' without number",
	       NULL);
	refuse("peers: {b: {number: 64}}\n",
	       "f.yaml:1: number is '64', expected a whole number from 0 to 63", NULL);
	refuse("node: spread\n", "f.yaml:1: node is 'spread', expected another name", NULL);
	refuse("peers: {spread: {number: 3, address: '127.0.0.1:3'}}\n",
	       "f.yaml:1: a peer's name is 'spread', expected another one", NULL);
	refuse("node: a b\n", "f.yaml:1: node is 'a b', expected a name of 1 to 64 characters",
	       "a name is made of a-z A-Z 0-9 . _ -");
	refuse("peers: {'b/..': {number: 3}}\n",
	       "f.yaml:1: a peer's name is 'b/..', expected a name of 1 to 64 characters",
	       "a name is made of a-z A-Z 0-9 . _ -");
}

/* Of two hosts the one with the lower number connects, so the other must listen. */
Test(config, every_peer_can_be_reached)
{
	refuse("node: a\npeers:\n  b: {number: 1}\n",
	       "f.yaml:3: peer 'b' has no address, expected one as 10.0.0.2:7420", NULL);
	cr_assert_str_eq(err.why,
			 "its number 1 is higher than this host's 0, so this host connects "
			 "to it");
	refuse("node: b\nnumber: 1\npeers:\n  a: {address: '127.0.0.1:1', number: 0}\n",
	       "f.yaml:4: peer 'a' cannot connect: there is no listen",
	       "say where, as listen: 10.0.0.1:7420");
	accept_hosts("node: b\nnumber: 1\nlisten: localhost:7420\npeers: {a: {number: 0}}\n");
	accept_hosts("node: a\npeers: {b: {number: 1, address: '[::1]:7420'}}\n");
	refuse("listen: 127.0.0.1\n",
	       "f.yaml:1: listen is '127.0.0.1', expected an address with a port",
	       "write a host and a port, as 10.0.0.2:7420, [::1]:7420 or host.example:7420");
	refuse("peers:\n  b:\n    number: 1\n    address: nowhere\n",
	       "f.yaml:4: address is 'nowhere', expected an address with a port",
	       "write a host and a port, as 10.0.0.2:7420, [::1]:7420 or host.example:7420");
}

Test(config, nothing_goes_to_another_host_in_the_clear_unasked)
{
	static const char hint[] = "make certificates with 'millrace cert init' and name them in "
				   "tls, or say insecure: true";

	refuse("peers:\n  b: {number: 1, address: '10.0.0.2:7420'}\n",
	       "f.yaml:2: peer 'b' at 10.0.0.2:7420 would be spoken to without TLS", hint);
	refuse("listen: 0.0.0.0:7420\n",
	       "f.yaml:1: listen is 0.0.0.0:7420, which other hosts reach, without TLS", hint);
	accept_hosts("listen: 0.0.0.0:7420\ninsecure: true\n");
	accept_hosts("listen: 0.0.0.0:7420\ntls: {authority: a, certificate: b, key: c}\n");
	accept_hosts("peers: {b: {number: 1, address: '10.0.0.2:7420'}}\ninsecure: true\n");
	refuse("tls: {authority: a, certificate: b, key: c}\ninsecure: true\n",
	       "f.yaml:2: insecure is true, and there are certificates in tls",
	       "leave out one of them");
	refuse("io: auto\ntls: {authority: a, key: c}\n", "f.yaml:2: tls without certificate",
	       NULL);
	refuse("tls:\n  authority: ''\n  certificate: b\n  key: c\n",
	       "f.yaml:2: authority is '', expected a path of 1 to 1023 bytes", NULL);
	refuse("tls: {authorty: a}\n",
	       "f.yaml:1: unknown key 'authorty', expected an option of tls",
	       "did you mean 'authority'?");
}

Test(config, there_are_hosts_for_all_copies)
{
	refuse("io: auto\nreplicas: 2\n", "f.yaml:2: replicas is 2, expected at most 1", NULL);
	cr_assert_str_eq(err.why, "so many hosts there are: this one and its peers");
	refuse("min_insync_replicas: 2\n",
	       "f.yaml:1: min_insync_replicas is 2, expected at most replicas, which is 1", NULL);
	refuse("peers: {b: {number: 1, address: '127.0.0.1:1'}}\n"
	       "topics:\n- name: t\n  replicas: 3\n",
	       "f.yaml:3: replicas of topic 't' is 3, expected at most 2", NULL);
	refuse("peers: {b: {number: 1, address: '127.0.0.1:1'}}\n"
	       "topics:\n- name: t\n  min_insync_replicas: 2\n",
	       "f.yaml:3: min_insync_replicas of topic 't' is 2, expected at most replicas, which "
	       "is 1",
	       NULL);
	refuse("node: a\nleaders: b\n",
	       "f.yaml:2: leaders is 'b', expected spread, 'a' or the name of a peer", NULL);
	refuse("node: a\ntopics: [{name: t, leaders: b}]\n",
	       "f.yaml:2: leaders of topic 't' is 'b', expected spread, 'a' or the name of a peer",
	       NULL);
	accept_hosts("node: a\nleaders: a\n");
}

Test(config, peers_have_their_shape)
{
	refuse("peers: []\n",
	       "f.yaml:1: peers is a list, expected hosts by name, as 'b: {number: 1}'", NULL);
	refuse("peers:\n",
	       "f.yaml:1: peers is nothing, expected hosts by name, as 'b: {number: 1}'", NULL);
	refuse("peers:\n  b: 10.0.0.2\n",
	       "f.yaml:2: peer 'b' is a plain value, expected its options, as 'number: 1'", NULL);
	refuse("peers:\n  ? [b]\n  : {}\n",
	       "f.yaml:2: a peer's name is a list, expected a plain value", NULL);
	refuse("peers: {b: {numbr: 1}}\n",
	       "f.yaml:1: unknown key 'numbr', expected an option of a peer",
	       "did you mean 'number'?");
	refuse("peers: {b: {number: 1, number: 1}}\n",
	       "f.yaml:1: number is given a second time; line 1 has it already", NULL);
	refuse("tls: x\n", "f.yaml:1: tls is a plain value, expected its options, as 'key: ...'",
	       NULL);
	refuse("peers: {b: &x {number: 1}}\n", "f.yaml:1: anchors and aliases are not taken here",
	       NULL);
	cr_assert_eq(mr_config_set(&config, "peers", "{}", &err), -EINVAL);
	cr_assert_str_eq(err.what, "peers cannot be set alone");
	accept_hosts("peers: {}\n");
}

Test(config, a_cluster_has_64_hosts)
{
	char text[8192];
	size_t used = (size_t)snprintf(text, sizeof(text), "peers:\n");

	for (int i = 1; i < 64; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "  h%d: {number: %d, address: '127.0.0.1:%d'}\n", i, i, i);
	accept_hosts(text);
	snprintf(text + used, sizeof(text) - used, "  h64: {number: 0}\n");
	refuse(text, "f.yaml:65: more than 63 peers", NULL);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char path[] = "/tmp/millrace-config-XXXXXX";

static void make_path(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void remove_path(void)
{
	unlink(path);
}

static void write_file(const char *text, size_t bytes)
{
	FILE *file = fopen(path, "w");

	cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
	cr_assert_eq(fclose(file), 0);
}

Test(config, loads_a_file, .init = make_path, .fini = remove_path)
{
	char what[200];

	write_file("node: n7\n", 9);
	cr_assert_eq(mr_config_load(path, &config, &err), 0, "%s", err.what);
	cr_assert_str_eq(config.node, "n7");
	write_file("nod: 7\n", 7);
	cr_assert_eq(mr_config_load(path, &config, &err), -EINVAL);
	snprintf(what, sizeof(what), "%s:1: unknown key 'nod', expected an option", path);
	cr_assert_str_eq(err.what, what);
}

Test(config, a_large_file_is_taken_up_to_the_bound, .init = make_path, .fini = remove_path)
{
	char *text = malloc(MR_CONFIG_FILE_BYTES_MAX + 1);

	memset(text, '\n', MR_CONFIG_FILE_BYTES_MAX + 1);
	write_file(text, MR_CONFIG_FILE_BYTES_MAX);
	cr_assert_eq(mr_config_load(path, &config, &err), 0, "%s", err.what);
	write_file(text, MR_CONFIG_FILE_BYTES_MAX + 1);
	cr_assert_eq(mr_config_load(path, &config, &err), -EFBIG);
	free(text);
}

Test(config, says_why_a_file_cannot_be_read)
{
	cr_assert_eq(mr_config_load("/nowhere/f.yaml", &config, &err), -ENOENT);
	cr_assert_str_eq(err.what, "cannot read configuration '/nowhere/f.yaml'");
	cr_assert_str_eq(err.why, "No such file or directory");
	cr_assert_eq(mr_config_load("/tmp", &config, &err), -EISDIR);
}

Test(config, words_are_those_of_the_table)
{
	for (int i = 0; i < 3; i++) {
		mr_config_defaults(&config);
		cr_assert_eq(mr_config_set(&config, "io", mr_config_io_word(i), &err), 0);
		cr_assert_eq((int)config.io, i);
		cr_assert_eq(mr_config_set(&config, "idle", mr_config_idle_word(i), &err), 0);
		cr_assert_eq((int)config.idle, i);
	}
}

Test(config, policies_are_those_of_the_table)
{
	for (int i = 0; i < 2; i++) {
		mr_config_defaults(&config);
		cr_assert_eq(mr_config_set(&config, "placement", mr_place_policy_word(i), &err), 0);
		cr_assert_eq((int)config.placement, i);
	}
}

/* Who changes the table makes the page anew: ninja docs-config. */
Test(config, the_page_says_what_the_table_says)
{
	char *made = NULL, *page;
	size_t made_bytes = 0, page_bytes;
	FILE *out = open_memstream(&made, &made_bytes);
	FILE *file = fopen(MR_SOURCE_ROOT "/docs/CONFIG.md", "r");

	cr_assert_eq(mr_config_describe(out), 0);
	fclose(out);
	cr_assert_not_null(file);
	page = malloc(made_bytes + 100);
	page_bytes = fread(page, 1, made_bytes + 100, file);
	fclose(file);
	cr_assert_eq(page_bytes, made_bytes);
	cr_assert_eq(memcmp(page, made, made_bytes), 0, "run: ninja docs-config");
	free(page);
	free(made);
}

Test(config, a_page_that_cannot_be_written_is_told)
{
	FILE *full = fopen("/dev/full", "w");

	cr_assert_eq(mr_config_describe(full), -EIO);
}
