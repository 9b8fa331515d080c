/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace collect host: publishes what this host does, at a steady pace, one record for each
 * metric with the metric's name as its key. Runs on the main thread, which owns the two samples. A
 * file of /proc that is not there is said once and left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "check.h"
#include "cli.h"
#include "clock.h"
#include "host_metrics.h"

#define FILE_BYTES_MAX	 (1u << 20)
#define FULL_WAIT_MS	 100u
#define CLOSE_TIMEOUT_MS 5000u
#define EVERY_MS_MIN	 10u
#define EVERY_MS_MAX	 86400000u
#define NS_PER_MS	 UINT64_C(1000000)

enum {
	OPTION_EVERY = MR_CLI_FIRST_OWN,
	OPTION_TOPIC,
};

struct arguments {
	const char *what;
	const char *topic;
	const char *socket;
	uint64_t every_ms;
};

/* The files, in the order of enum source_name. */
enum source_name {
	SOURCE_STAT,
	SOURCE_MEMINFO,
	SOURCE_LOADAVG,
	SOURCE_DISKSTATS,
	SOURCE_NET_DEV,
	SOURCE_PRESSURE_CPU,
	SOURCE_PRESSURE_MEMORY,
	SOURCE_PRESSURE_IO,
	SOURCES,
};

static const char *const source_paths[SOURCES] = {
	[SOURCE_STAT] = "/proc/stat",
	[SOURCE_MEMINFO] = "/proc/meminfo",
	[SOURCE_LOADAVG] = "/proc/loadavg",
	[SOURCE_DISKSTATS] = "/proc/diskstats",
	[SOURCE_NET_DEV] = "/proc/net/dev",
	[SOURCE_PRESSURE_CPU] = "/proc/pressure/cpu",
	[SOURCE_PRESSURE_MEMORY] = "/proc/pressure/memory",
	[SOURCE_PRESSURE_IO] = "/proc/pressure/io",
};

struct collector {
	struct mr_connection *connection;
	struct mr_producer *producer;
	char *text; /* owned: one file at a time */
	bool missing[SOURCES];
	struct mr_host_sample samples[2];
	uint32_t newest;
	bool has_before;
	struct mr_host_metrics metrics;
	uint64_t published;
	uint64_t left_out; /* the lane was full */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case OPTION_TOPIC:
		arguments->topic = arg;
		return 0;
	case OPTION_EVERY:
		if (mr_argument_duration_ms(arg, &arguments->every_ms) < 0 ||
		    arguments->every_ms < EVERY_MS_MIN || arguments->every_ms > EVERY_MS_MAX)
			argp_error(state, "--every: '%s' is no duration from %u ms to 24 h", arg,
				   EVERY_MS_MIN);
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->what || strcmp(arg, "host") != 0)
			argp_error(state, "cannot collect '%s': only host", arg);
		arguments->what = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->what)
			argp_error(state, "say what to collect: host");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"every", OPTION_EVERY, "TIME", 0, "how often, as in 1s (the default) or 250ms", 0},
	{"topic", OPTION_TOPIC, "NAME", 0, "publish into this topic (default: host)", 0},
	MR_CLI_OPTION_SOCKET,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "host",
	.doc = "Publish CPU, memory, pressure, disk, network and load of this host until Ctrl-C: "
	       "one "
	       "record for each metric, its key the metric's name, its value JSON."
	       "\vExamples:\n"
	       "  millrace collect host\n"
	       "  millrace collect host --every 250ms --topic metrics\n"
	       "  millrace tail host --follow --from latest",
};

/* ---- reading ------------------------------------------------------------------------------- */

/* The whole file, terminated; NULL where it cannot be read, which is said once. */
static const char *read_source(struct collector *collector, enum source_name source)
{
	size_t used = 0;
	ssize_t n = 0;
	int fd;

	if (collector->missing[source])
		return NULL;
	fd = open(source_paths[source], O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		do {
			n = read(fd, collector->text + used, FILE_BYTES_MAX - used);
			used += n > 0 ? (size_t)n : 0;
		} while (n > 0 && used < FILE_BYTES_MAX);
	}
	if (fd < 0 || n < 0) {
		fprintf(stderr, "millrace: without %s: %s\n", source_paths[source],
			strerror(errno));
		collector->missing[source] = true;
	}
	if (fd >= 0)
		(void)close(fd); /* was only read */
	collector->text[used] = '\0';
	return collector->missing[source] ? NULL : collector->text;
}

static void read_into(struct mr_host_sample *sample, enum source_name source, const char *text)
{
	switch (source) {
	case SOURCE_STAT:
		mr_host_read_stat(text, sample);
		break;
	case SOURCE_MEMINFO:
		mr_host_read_meminfo(text, sample);
		break;
	case SOURCE_LOADAVG:
		mr_host_read_loadavg(text, sample);
		break;
	case SOURCE_DISKSTATS:
		mr_host_read_diskstats(text, sample);
		break;
	case SOURCE_NET_DEV:
		mr_host_read_net_dev(text, sample);
		break;
	case SOURCE_PRESSURE_CPU:
	case SOURCE_PRESSURE_MEMORY:
	case SOURCE_PRESSURE_IO:
		mr_host_read_pressure(
			text, (enum mr_host_pressure_kind)(source - SOURCE_PRESSURE_CPU), sample);
		break;
	case SOURCES:
		break;
	}
}

static void take_sample(struct collector *collector)
{
	struct mr_host_sample *now = &collector->samples[!collector->newest];
	const struct mr_host_sample *before =
		collector->has_before ? &collector->samples[collector->newest] : NULL;

	mr_host_sample_clear(now);
	now->at_ns = mr_clock_monotonic_ns(&mr_clock_system);
	for (int i = 0; i < SOURCES; i++) {
		const char *text = read_source(collector, (enum source_name)i);

		if (text)
			read_into(now, (enum source_name)i, text);
	}
	mr_host_metrics_make(before, now, &collector->metrics);
	collector->newest = !collector->newest;
	collector->has_before = true;
}

/* ---- publishing ---------------------------------------------------------------------------- */

/* One tick's records carry one time. A full lane leaves records out: the next tick brings new ones.
 */
static int publish(struct collector *collector)
{
	int64_t now_ms = mr_clock_wall_ms(&mr_clock_system);
	char value[96];

	for (uint32_t i = 0; i < collector->metrics.count; i++) {
		const struct mr_host_metric *metric = &collector->metrics.metrics[i];
		struct mr_record record = {
			.key = metric->name,
			.key_bytes = (int32_t)strlen(metric->name),
			.value = value,
			.value_bytes = mr_host_metric_text(metric, value, sizeof(value)),
			.timestamp_ms = now_ms,
		};
		int r = mr_producer_put(collector->producer, &record);

		if (r == -EAGAIN)
			collector->left_out++;
		else if (r < 0)
			return r;
		else
			collector->published++;
	}
	return 0;
}

static int run(struct collector *collector, uint64_t every_ms)
{
	uint64_t due_ns = mr_clock_monotonic_ns(&mr_clock_system);
	struct mr_error err;

	while (!mr_stop_asked()) {
		uint64_t now_ns = mr_clock_monotonic_ns(&mr_clock_system);
		int r;

		if (now_ns < due_ns) {
			(void)mr_stop_wait(-1, due_ns - now_ns); /* any end is good */
			continue;
		}
		take_sample(collector);
		r = publish(collector);
		if (r < 0) {
			mr_producer_error(collector->producer, &err);
			return mr_cli_fail(&err);
		}
		due_ns += every_ms * NS_PER_MS;
		if (due_ns < now_ns) /* ticks that were missed are not caught up with */
			due_ns = now_ns + every_ms * NS_PER_MS;
	}
	return MR_EXIT_DONE;
}

static int open_producer(struct collector *collector, const struct arguments *arguments)
{
	struct mr_producer_options wanted = {
		.size = sizeof(wanted),
		.topic = arguments->topic,
		.partition = MR_PARTITION_BY_KEY,
		.full_wait_ms = FULL_WAIT_MS,
	};
	struct mr_error err;
	int code = mr_cli_connect(arguments->socket, "collect", &collector->connection);

	if (code != MR_EXIT_DONE)
		return code;
	if (mr_producer_open(collector->connection, &wanted, &collector->producer, &err) < 0)
		return mr_cli_fail(&err);
	return MR_EXIT_DONE;
}

int mr_command_collect(int argc, char **argv)
{
	static struct collector collector; /* large, and only one */
	static char text[FILE_BYTES_MAX + 1];
	struct arguments arguments = {.topic = "host", .every_ms = 1000};
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	collector.text = text;
	mr_stop_watch();
	code = open_producer(&collector, &arguments);
	if (code == MR_EXIT_DONE)
		code = run(&collector, arguments.every_ms);
	if (collector.producer &&
	    mr_producer_close(collector.producer, CLOSE_TIMEOUT_MS) == -ETIMEDOUT) {
		fprintf(stderr, "millrace: the last records are not acknowledged\n");
		code = code == MR_EXIT_DONE ? MR_EXIT_DEGRADED : code;
	}
	mr_disconnect(collector.connection);
	fprintf(stderr, "%" PRIu64 " records published into '%s'", collector.published,
		arguments.topic);
	if (collector.left_out)
		fprintf(stderr, ", %" PRIu64 " left out while the lane was full",
			collector.left_out);
	fprintf(stderr, "\n");
	return code;
}
