/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as a whole: defaults, then the file's texts, converted row by row of the
 * table, then the question whether the values fit each other. Runs at start on one thread;
 * owns nothing but the lists it hands out.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "config_yaml.h"

void mr_config_defaults(struct mr_config *config)
{
	memset(config, 0, sizeof(*config));
	for (size_t i = 0; i < mr_config_options.count; i++) {
		const struct mr_option *option = &mr_config_options.rows[i];

		int r = 0;

		if (mr_option_is_alone(option))
			r = mr_option_set(option, option->fallback, config, NULL);
		mr_assert(r == 0);
	}
}

void mr_config_deinit(struct mr_config *config)
{
	free(config->topics);
	free(config->peers);
	config->topics = NULL;
	config->topic_count = 0;
	config->peers = NULL;
	config->peer_count = 0;
}

int mr_config_set(struct mr_config *config, const char *option, const char *text,
		  struct mr_error *err)
{
	const struct mr_option *row = mr_option_find(&mr_config_options, option);
	const char *nearest;

	if (row && mr_option_is_alone(row))
		return mr_option_set(row, text, config, err);
	if (row) {
		mr_error_set(err, -EINVAL, "%s cannot be set alone", option);
		mr_error_hint(err, "write it into a configuration file");
		return -EINVAL;
	}
	mr_error_set(err, -EINVAL, "unknown option '%.60s'", option);
	nearest = mr_option_nearest(&mr_config_options, option);
	if (nearest)
		mr_error_hint(err, "did you mean '%s'?", nearest);
	return -EINVAL;
}

static int check_relation(const struct mr_option_relation *relation, const struct mr_config *config,
			  struct mr_error *err)
{
	const struct mr_option *lesser = mr_option_find(&mr_config_options, relation->lesser);
	const struct mr_option *greater = mr_option_find(&mr_config_options, relation->greater);
	uint64_t low = mr_option_get(lesser, config);
	uint64_t high = mr_option_get(greater, config);
	char low_text[32], high_text[32];

	if (high / relation->factor >= low)
		return 0;
	mr_error_set(err, -EINVAL, "%s is %s, expected at least %s%s, which is %s", greater->name,
		     mr_option_format(greater, high, high_text, sizeof(high_text)),
		     relation->factor == 2 ? "twice " : "", lesser->name,
		     mr_option_format(lesser, low, low_text, sizeof(low_text)));
	mr_error_why(err, "%s", relation->why);
	mr_error_hint(err, "raise %s or lower %s", greater->name, lesser->name);
	return -EINVAL;
}

/* What a topic in memory has no files for. */
static int check_memory_topic(const struct mr_config_topic *topic, const struct mr_config *config,
			      struct mr_error *err)
{
	if (topic->retention_bytes == config->retention_bytes &&
	    topic->retention_ms == config->retention_ms &&
	    topic->segment_bytes == config->segment_bytes && topic->replicas == config->replicas)
		return 0;
	mr_error_set(err, -EINVAL,
		     "topic '%.80s' has storage memory: it takes no retention, no segment_bytes "
		     "and no replicas",
		     topic->name);
	mr_error_why(err, "it has no files; its tail_bytes says how much is kept");
	mr_error_hint(err, "leave them out, or say storage: disk");
	return -EINVAL;
}

static int check_topic(const struct mr_config_topic *topic, const struct mr_config *config,
		       struct mr_error *err)
{
	if (topic->tail_bytes < 2 * config->record_bytes_max) {
		mr_error_set(err, -EINVAL,
			     "tail_bytes of topic '%.80s' is less than twice record_bytes_max",
			     topic->name);
		mr_error_hint(err, "raise it, or lower record_bytes_max");
		return -EINVAL;
	}
	if (topic->storage == MR_CONFIG_STORAGE_MEMORY)
		return check_memory_topic(topic, config, err);
	if (topic->segment_bytes >= config->first_segment_bytes)
		return mr_config_check_replicas(config, topic->name, topic->replicas,
						topic->min_insync_replicas, topic->leaders, err);
	mr_error_set(err, -EINVAL,
		     "segment_bytes of topic '%.80s' is less than first_segment_bytes",
		     topic->name);
	mr_error_hint(err, "raise it, or lower first_segment_bytes");
	return -EINVAL;
}

static int check_general_replicas(const struct mr_config *config, struct mr_error *err)
{
	return mr_config_check_replicas(config, NULL, config->replicas, config->min_insync_replicas,
					config->leaders, err);
}

int mr_config_check(const struct mr_config *config, struct mr_error *err)
{
	struct mr_config_misfit misfit = {0};
	int r = mr_config_check_hosts(config, &misfit, err);

	if (r == 0)
		r = check_general_replicas(config, err);
	for (size_t i = 0; r == 0 && i < MR_OPTION_RELATIONS; i++)
		r = check_relation(&mr_config_relations[i], config, err);
	for (size_t i = 0; r == 0 && i < config->topic_count; i++)
		r = check_topic(&config->topics[i], config, err);
	return r;
}

/* Converts the texts of one table's options that the file gives. */
static int set_all(const struct mr_option_table *table, char *const *texts,
		   const struct mr_config_lines *lines, const char *name, void *fields,
		   struct mr_error *err)
{
	for (size_t i = 0; i < table->count; i++) {
		if (!mr_option_is_alone(&table->rows[i]) || !texts[i])
			continue;
		if (mr_option_set(&table->rows[i], texts[i], fields, err) == 0)
			continue;
		mr_config_yaml_prefix(name, lines->values[i], err);
		return -EINVAL;
	}
	return 0;
}

/* What a topic's row does not give, it has from the general options. */
static void inherit(const struct mr_config *config, struct mr_config_topic *topic)
{
	for (size_t i = 0; i < mr_config_topic_options.count; i++) {
		const struct mr_option *own = &mr_config_topic_options.rows[i];
		const struct mr_option *general = mr_option_find(&mr_config_options, own->name);

		if (!general)
			continue;
		mr_assert(own->bytes == general->bytes);
		memcpy((char *)topic + own->offset, (const char *)config + general->offset,
		       own->bytes);
	}
}

static int compare_names(const void *a, const void *b)
{
	const struct mr_config_topic *const *left = a, *const *right = b;
	int by_name = strcmp((*left)->name, (*right)->name);

	return by_name ? by_name : (*left > *right) - (*left < *right);
}

/* Sorts pointers to the rows and looks at neighbours; the later of two in the file is told. */
static int check_names(const struct mr_config *config, const struct mr_config_yaml *yaml,
		       const char *name, struct mr_error *err)
{
	const struct mr_config_topic **sorted = calloc(config->topic_count, sizeof(*sorted));
	int r = 0;

	if (!sorted)
		return mr_error_set(err, -ENOMEM, "no memory for the list of topics");
	for (size_t i = 0; i < config->topic_count; i++)
		sorted[i] = &config->topics[i];
	qsort(sorted, config->topic_count, sizeof(*sorted), compare_names);
	for (size_t i = 1; r == 0 && i < config->topic_count; i++) {
		size_t first = (size_t)(sorted[i - 1] - config->topics);
		size_t second = (size_t)(sorted[i] - config->topics);

		if (strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
			continue;
		r = mr_error_set(err, -EINVAL,
				 "topic '%.80s' is given a second time; line %u has it "
				 "already",
				 sorted[i]->name, yaml->topic_lines[first].values[0]);
		mr_config_yaml_prefix(name, yaml->topic_lines[second].values[0], err);
	}
	free(sorted);
	return r;
}

static int set_topics(const struct mr_config_yaml *yaml, const char *name, struct mr_config *config,
		      struct mr_error *err)
{
	int r = 0;

	if (yaml->topic_count == 0)
		return 0;
	config->topics = calloc(yaml->topic_count, sizeof(*config->topics));
	if (!config->topics)
		return mr_error_set(err, -ENOMEM, "no memory for the list of topics");
	config->topic_count = yaml->topic_count;
	for (size_t i = 0; r == 0 && i < yaml->topic_count; i++) {
		inherit(config, &config->topics[i]);
		r = set_all(&mr_config_topic_options, yaml->root->topics[i].values,
			    &yaml->topic_lines[i], name, &config->topics[i], err);
	}
	return r < 0 ? r : check_names(config, yaml, name, err);
}

static uint32_t line_of(const struct mr_config_yaml *yaml, const char *option)
{
	return yaml->lines
		.values[mr_option_find(&mr_config_options, option) - mr_config_options.rows];
}

static uint32_t line_of_peer(const struct mr_config_group *peer, const char *option)
{
	uint32_t line = 0;

	if (option)
		line = peer->lines.values[mr_option_find(&mr_config_peer_options, option) -
					  mr_config_peer_options.rows];
	return line ? line : peer->line;
}

static uint32_t line_of_replicas(const struct mr_config_yaml *yaml)
{
	uint32_t lines[] = {line_of(yaml, "replicas"), line_of(yaml, "min_insync_replicas"),
			    line_of(yaml, "leaders")};
	uint32_t last = 0;

	for (size_t i = 0; i < mr_array_count(lines); i++)
		last = lines[i] > last ? lines[i] : last;
	return last;
}

/* Where a value that does not fit another stands: what the file says last of them. */
static uint32_t line_of_misfit(const struct mr_config *config, const struct mr_config_yaml *yaml)
{
	struct mr_config_misfit misfit = {0};

	if (mr_config_check_hosts(config, &misfit, NULL) < 0)
		return misfit.option ? line_of(yaml, misfit.option)
				     : line_of_peer(&yaml->peers[misfit.peer], misfit.of_peer);
	if (check_general_replicas(config, NULL) < 0)
		return line_of_replicas(yaml);
	for (size_t i = 0; i < MR_OPTION_RELATIONS; i++) {
		const struct mr_option_relation *relation = &mr_config_relations[i];
		const struct mr_option *lesser =
			mr_option_find(&mr_config_options, relation->lesser);
		const struct mr_option *greater =
			mr_option_find(&mr_config_options, relation->greater);
		uint32_t low = yaml->lines.values[lesser - mr_config_options.rows];
		uint32_t high = yaml->lines.values[greater - mr_config_options.rows];

		if (check_relation(relation, config, NULL) < 0)
			return low > high ? low : high;
	}
	for (size_t i = 0; i < config->topic_count; i++) {
		if (check_topic(&config->topics[i], config, NULL) < 0)
			return yaml->topic_lines[i].values[0];
	}
	return 0;
}

/* What has no default must be given. */
static int check_given(const struct mr_config_group *group, const char *what, const char *option,
		       size_t row, const char *name, struct mr_error *err)
{
	if (group->texts.values[row])
		return 0;
	mr_error_set(err, -EINVAL, "%s%s%s%s without %s", what, group->name ? " '" : "",
		     group->name ? group->name : "", group->name ? "'" : "", option);
	mr_config_yaml_prefix(name, group->line, err);
	return -EINVAL;
}

static int set_group(const struct mr_option_table *table, const struct mr_config_group *group,
		     const char *what, const char *name, void *fields, struct mr_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->count; i++) {
		if (table->rows[i].fallback)
			r = mr_option_set(&table->rows[i], table->rows[i].fallback, fields, err);
		else
			r = check_given(group, what, table->rows[i].name, i, name, err);
	}
	return r < 0 ? r : set_all(table, group->texts.values, &group->lines, name, fields, err);
}

/* The name stands where a key does; its row of the table says what names are made of. */
static int set_peer_name(const struct mr_config_group *group, const char *name,
			 struct mr_config_peer *peer, struct mr_error *err)
{
	struct mr_option row = *mr_option_find(&mr_config_options, "node");

	row.name = "a peer's name";
	row.offset = offsetof(struct mr_config_peer, name);
	if (mr_option_set(&row, group->name, peer, err) == 0)
		return 0;
	mr_config_yaml_prefix(name, group->line, err);
	return -EINVAL;
}

static int set_hosts(const struct mr_config_yaml *yaml, const char *name, struct mr_config *config,
		     struct mr_error *err)
{
	int r = 0;

	if (yaml->tls.line)
		r = set_group(&mr_config_tls_options, &yaml->tls, "tls", name, &config->tls, err);
	if (r < 0 || yaml->peer_count == 0)
		return r;
	config->peers = calloc(yaml->peer_count, sizeof(*config->peers));
	if (!config->peers)
		return mr_error_set(err, -ENOMEM, "no memory for the list of peers");
	config->peer_count = yaml->peer_count;
	for (size_t i = 0; r == 0 && i < yaml->peer_count; i++) {
		r = set_peer_name(&yaml->peers[i], name, &config->peers[i], err);
		if (r == 0)
			r = set_group(&mr_config_peer_options, &yaml->peers[i], "peer", name,
				      &config->peers[i], err);
	}
	return r;
}

static int set_from_yaml(const struct mr_config_yaml *yaml, const char *name,
			 struct mr_config *config, struct mr_error *err)
{
	int r;

	if (!yaml->root)
		return 0;
	r = set_all(&mr_config_options, yaml->root->values, &yaml->lines, name, config, err);
	if (r == 0)
		r = set_hosts(yaml, name, config, err);
	if (r == 0)
		r = set_topics(yaml, name, config, err);
	if (r < 0)
		return r;
	r = mr_config_check(config, err);
	if (r < 0)
		mr_config_yaml_prefix(name, line_of_misfit(config, yaml), err);
	return r;
}

int mr_config_parse(const void *bytes, size_t count, const char *name, struct mr_config *out,
		    struct mr_error *err)
{
	struct mr_config_yaml yaml;
	struct mr_config config;
	int r;

	if (count > MR_CONFIG_FILE_BYTES_MAX)
		return mr_error_set(err, -EFBIG, "'%.160s' has more than %u bytes", name,
				    MR_CONFIG_FILE_BYTES_MAX);
	mr_config_defaults(&config);
	r = mr_config_yaml_read(bytes, count, name, &yaml, err);
	if (r == 0)
		r = set_from_yaml(&yaml, name, &config, err);
	mr_config_yaml_deinit(&yaml);
	if (r < 0)
		mr_config_deinit(&config);
	else
		*out = config;
	return r;
}

/* Reads up to 'room' bytes; how many, or a negative errno. */
static ssize_t read_whole(const char *path, char *bytes, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && used < room) {
		n = read(fd, bytes + used, room - used);
		if (n > 0)
			used += (size_t)n;
	}
	if (n < 0)
		n = -errno;
	(void)close(fd); /* nothing was written */
	return n < 0 ? n : (ssize_t)used;
}

int mr_config_load(const char *path, struct mr_config *out, struct mr_error *err)
{
	const size_t room = MR_CONFIG_FILE_BYTES_MAX + 1;
	char *bytes = malloc(room);
	ssize_t count;
	int r;

	if (!bytes)
		return mr_error_set(err, -ENOMEM, "no memory to read '%.160s'", path);
	count = read_whole(path, bytes, room);
	if (count < 0) {
		r = mr_error_set(err, (int)count, "cannot read configuration '%.160s'", path);
		mr_error_why(err, "%s", strerrordesc_np((int)-count));
	} else {
		r = mr_config_parse(bytes, (size_t)count, path, out, err);
	}
	free(bytes);
	return r;
}

const struct mr_config_topic *mr_config_topic_find(const struct mr_config *config, const char *name)
{
	for (size_t i = 0; i < config->topic_count; i++) {
		if (strcmp(config->topics[i].name, name) == 0)
			return &config->topics[i];
	}
	return NULL;
}

void mr_config_topic_defaults(const struct mr_config *config, const char *name,
			      struct mr_config_topic *out)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "%s", name);
	inherit(config, out);
}

const char *mr_config_io_word(enum mr_config_io io)
{
	static const char *const words[] = {
		[MR_CONFIG_IO_AUTO] = "auto",
		[MR_CONFIG_IO_URING] = "uring",
		[MR_CONFIG_IO_POSIX] = "posix",
	};

	mr_assert((size_t)io < mr_array_count(words));
	return words[io];
}

const char *mr_config_idle_word(enum mr_config_idle idle)
{
	static const char *const words[] = {
		[MR_CONFIG_IDLE_SPIN] = "spin",
		[MR_CONFIG_IDLE_ADAPTIVE] = "adaptive",
		[MR_CONFIG_IDLE_PARK] = "park",
	};

	mr_assert((size_t)idle < mr_array_count(words));
	return words[idle];
}

static const char *const storage_words[] = {
	[MR_CONFIG_STORAGE_DISK] = "disk",
	[MR_CONFIG_STORAGE_MEMORY] = "memory",
};

const char *mr_config_storage_word(enum mr_config_storage storage)
{
	mr_assert((size_t)storage < mr_array_count(storage_words));
	return storage_words[storage];
}

int mr_config_storage_parse(const char *word, enum mr_config_storage *out)
{
	for (size_t i = 0; i < mr_array_count(storage_words); i++) {
		if (strcmp(word, storage_words[i]) == 0) {
			*out = (enum mr_config_storage)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mr_config_compression_word(enum mr_config_compression compression)
{
	static const char *const words[] = {
		[MR_CONFIG_COMPRESSION_NONE] = "none",
		[MR_CONFIG_COMPRESSION_LZ4] = "lz4",
		[MR_CONFIG_COMPRESSION_ZSTD] = "zstd",
	};

	mr_assert((size_t)compression < mr_array_count(words));
	return words[compression];
}

int mr_config_compression_parse(const char *word, enum mr_config_compression *out,
				struct mr_error *err)
{
	struct mr_config_topic topic = {0};
	int r = mr_option_set(mr_option_find(&mr_config_topic_options, "compression"), word, &topic,
			      err);

	if (r == 0)
		*out = topic.compression;
	return r;
}
