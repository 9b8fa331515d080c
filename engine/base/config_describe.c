/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/CONFIG.md from the option table, so that what is written about an option is what is
 * checked. Runs in a tool and in a test; owns nothing.
 */
#include <errno.h>
#include <string.h>

#include "config_table.h"

static const char introduction[] =
	"# Configuration\n"
	"\n"
	"This page is made from the option table (`engine/base/config_table.c`): change that, "
	"then\n"
	"`ninja -C build docs-config`.\n"
	"\n"
	"`millrace serve --config FILE` reads a YAML file. It is taken as a whole or refused with "
	"the\n"
	"line, what was found there and what is expected. What it does not give has its default.\n"
	"\n"
	"```yaml\n"
	"data: /var/lib/millrace\n"
	"segment_bytes: 256 MiB\n"
	"retention: 7 d\n"
	"topics:\n"
	"  - name: trades\n"
	"    partitions: 4\n"
	"```\n"
	"\n"
	"A host with a replica on another one, which has number 0 and connects to it:\n"
	"\n"
	"```yaml\n"
	"node: b\n"
	"number: 1\n"
	"listen: 10.0.0.2:7420\n"
	"peers:\n"
	"  a: {number: 0, address: \"10.0.0.1:7420\"}\n"
	"tls: {authority: ca.pem, certificate: b.pem, key: b.key}\n"
	"replicas: 2\n"
	"```\n"
	"\n"
	"Sizes are whole numbers of bytes, or of `KiB`, `MiB`, `GiB` (`16 MiB`). Times are whole "
	"numbers\n"
	"with `ms`, `s`, `min`, `h` or `d` (`7 d`). Anchors, aliases and second documents are "
	"refused.\n"
	"\n"
	"## Options\n"
	"\n";

static const char table_head[] = "| option | default | expected | meaning |\n"
				 "|---|---|---|---|\n";

/* A topic's options have the general ones' values for defaults; what must be given has none. */
static void describe_row(const struct mr_option *option, FILE *out)
{
	char expected[120];
	const char *fallback = option->fallback;

	mr_option_expected(option, expected, sizeof(expected));
	fprintf(out, "| `%s` | ", option->name);
	if (!fallback)
		fprintf(out, "%s",
			mr_option_find(&mr_config_options, option->name) ? "as above" : "");
	else if (!fallback[0])
		fprintf(out, "empty");
	else if (!mr_option_is_alone(option))
		fprintf(out, "%s", fallback);
	else
		fprintf(out, "`%s`", fallback);
	fprintf(out, " | %s | %s |\n", expected, option->meaning);
}

static void describe_table(const struct mr_option_table *table, FILE *out)
{
	fputs(table_head, out);
	for (size_t i = 0; i < table->count; i++)
		describe_row(&table->rows[i], out);
}

int mr_config_describe(FILE *out)
{
	fputs(introduction, out);
	describe_table(&mr_config_options, out);
	fputs("\n## Options of a topic in `topics`\n\n", out);
	describe_table(&mr_config_topic_options, out);
	fputs("\n## Options of a host in `peers`\n\n", out);
	describe_table(&mr_config_peer_options, out);
	fputs("\n## Options in `tls`\n\n", out);
	describe_table(&mr_config_tls_options, out);
	fputs("\n## What must fit\n\n", out);
	for (size_t i = 0; i < MR_OPTION_RELATIONS; i++) {
		const struct mr_option_relation *relation = &mr_config_relations[i];

		fprintf(out, "- `%s` is at least %s`%s`: %s.\n", relation->greater,
			relation->factor == 2 ? "twice " : "", relation->lesser, relation->why);
	}
	fputs("- A topic's `segment_bytes` is at least `first_segment_bytes`.\n"
	      "- A topic's `tail_bytes` is at least twice `record_bytes_max`.\n"
	      "- `record_bytes_max` is the same on all hosts: else a topic with replicas takes "
	      "what the smallest of its hosts that were met allows, and `millrace peers` says "
	      "so.\n"
	      "- Names and numbers of hosts differ, this host's from its peers', too.\n"
	      "- A peer with a higher number has an `address`; where one has a lower number there "
	      "is a `listen`.\n"
	      "- Other hosts are spoken to with `tls`, or with `insecure: true`.\n"
	      "- `replicas` is at most the number of hosts, `min_insync_replicas` at most "
	      "`replicas`, and `leaders` is a host; of a topic, too.\n",
	      out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
