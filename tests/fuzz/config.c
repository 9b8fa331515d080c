/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a configuration file. What must hold beside memory safety: what is
 * taken is within the table's bounds and fits, what is refused says so under the file's name.
 */
#include <errno.h>
#include <string.h>

#include "config.h"
#include "config_table.h"
#include "fuzz.h"

static void check_numbers(const struct mr_option_table *table, const void *fields)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct mr_option *option = &table->rows[i];
		uint64_t value;

		if (!mr_option_is_number(option) || option->words)
			continue;
		value = mr_option_get(option, fields);
		fuzz_demand(value >= option->least);
		fuzz_demand(value <= option->most);
	}
}

static void check_taken(const struct mr_config *config)
{
	check_numbers(&mr_config_options, config);
	fuzz_demand(mr_config_check(config, NULL) == 0);
	fuzz_demand(config->data[0] != '\0');
	fuzz_demand(memchr(config->data, '\0', sizeof(config->data)));
	fuzz_demand(memchr(config->socket, '\0', sizeof(config->socket)));
	for (size_t i = 0; i < config->peer_count; i++) {
		const struct mr_config_peer *peer = &config->peers[i];

		check_numbers(&mr_config_peer_options, peer);
		fuzz_demand(mr_config_peer_find(config, peer->name) == peer);
		fuzz_demand(mr_config_peer_numbered(config, peer->number) == peer);
		fuzz_demand(!peer->address[0] || mr_address_parse(peer->address, NULL, NULL) == 0);
		fuzz_demand(peer->address[0] ||
			    (peer->number < config->number && config->listen[0]));
	}
	for (size_t i = 0; i < config->topic_count; i++) {
		check_numbers(&mr_config_topic_options, &config->topics[i]);
		fuzz_demand(mr_config_topic_find(config, config->topics[i].name) ==
			    &config->topics[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_config config;
	struct mr_error err = {.code = 0};
	int r = mr_config_parse(data, count, "f", &config, &err);

	if (r == 0) {
		check_taken(&config);
		mr_config_deinit(&config);
		return 0;
	}
	fuzz_demand(r == -EINVAL || r == -EFBIG);
	fuzz_demand(err.code == r);
	fuzz_demand(r == -EFBIG || strncmp(err.what, "f:", 2) == 0);
	/* What the first pass lets through, libcyaml binds. */
	fuzz_demand(strncmp(err.what, "f: cannot be read", 17) != 0);
	return 0;
}
