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
	cr_assert_eq(config.node, 0);
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
	cr_assert_eq(config.min_insync_replicas, 1);
	cr_assert_eq(config.producer_ids_max, 65536);
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
	       "node: 63\n"
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
	       "min_insync_replicas: 2\n"
	       "producer_ids_max: 12\n"
	       "producer_expiry: 90 min\n");
	cr_assert_str_eq(config.data, "/srv/mill");
	cr_assert_str_eq(config.socket, "/run/mill.sock");
	cr_assert_eq(config.io, MR_CONFIG_IO_POSIX);
	cr_assert_eq(config.node, 63);
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
	cr_assert_eq(config.min_insync_replicas, 2);
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
	refuse("io: auto\nnode: 64\n",
	       "f.yaml:2: node is '64', expected a whole number from 0 to 63", NULL);
	refuse("segment_bytes: 15 MiB",
	       "f.yaml:1: segment_bytes is '15 MiB', expected a size from 16 MiB to 4 GiB",
	       "write a whole number, alone or with KiB, MiB or GiB");
}
