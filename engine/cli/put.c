/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace put: publishes the lines of a file. Runs on the main thread, which owns everything here:
 *
 *	lines (1 MiB at a time) ──► intake (line to record) ──► up to BATCH records ──► the
 *producer's lane
 *
 * Records point into the input's buffer, so a batch is published before the buffer moves. A full
 *lane makes it wait; receipts tell where the records went.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "cli.h"
#include "clock.h"
#include "intake.h"
#include "lines.h"
#include "millrace/format.h"
#include "put_report.h"
#include "waits.h"

#define BATCH		  512u
#define RECEIPTS	  64u
#define FULL_WAIT_MS	  100u
#define FLUSH_STEP_MS	  200u
#define FLUSH_PATIENCE_NS UINT64_C(30000000000)
#define PACE_NS		  UINT64_C(10000000) /* with --rate: how often some are published */

enum {
	OPTION_FORMAT = MR_CLI_FIRST_OWN,
	OPTION_KEY,
	OPTION_TIME,
	OPTION_ACKS,
	OPTION_RATE,
	OPTION_PARTITION,
	OPTION_SKIP_BAD,
};

struct arguments {
	const char *topic;
	const char *file; /* NULL or "-": standard input */
	const char *socket;
	struct mr_intake_options intake;
	enum mr_acks acks;
	uint64_t rate; /* records a second; 0: as fast as it goes */
	int32_t partition;
	bool skip_bad;
	bool json;
};

/* One run. */
struct put {
	const struct arguments *arguments;
	struct mr_connection *connection;
	struct mr_producer *producer;
	struct mr_intake *intake;
	struct mr_lines lines;
	struct mr_record batch[BATCH];
	uint64_t batch_lines[BATCH]; /* which line each came from */
	uint32_t batched;
	struct mr_put_report report;
	uint64_t started_ns;
	struct mr_waits waits;
	struct mr_error err;
};

static void set_format(struct arguments *arguments, const char *arg, struct argp_state *state)
{
	if (mr_intake_format_parse(arg, &arguments->intake.format) < 0)
		argp_error(state, "--format: '%s' is neither raw, json nor csv", arg);
}

static void set_number(struct argp_state *state, const char *option, const char *arg, uint64_t min,
		       uint64_t max, uint64_t *out)
{
	if (mr_argument_number(arg, min, max, out) < 0)
		argp_error(state, "--%s: '%s' is no number from %" PRIu64 " to %" PRIu64, option,
			   arg, min, max);
}

static error_t parse_words(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (!arguments->topic)
			arguments->topic = arg;
		else if (!arguments->file)
			arguments->file = arg;
		else
			argp_error(state, "one file at a time: '%s' is one too many", arg);
		return 0;
	case ARGP_KEY_END:
		if (!arguments->topic)
			argp_error(state, "name the topic");
		if (arguments->intake.format == MR_INTAKE_RAW &&
		    (arguments->intake.key_field || arguments->intake.time_field))
			argp_error(state, "--key and --time need --format json or csv");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t number = 0;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case OPTION_FORMAT:
		set_format(arguments, arg, state);
		return 0;
	case OPTION_KEY:
		arguments->intake.key_field = arg;
		return 0;
	case OPTION_TIME:
		arguments->intake.time_field = arg;
		return 0;
	case OPTION_ACKS:
		if (mr_argument_acks(arg, &arguments->acks) < 0)
			argp_error(state, "--acks: '%s' is neither committed, disk nor memory",
				   arg);
		return 0;
	case OPTION_RATE:
		set_number(state, "rate", arg, 1, 1000000000, &arguments->rate);
		return 0;
	case OPTION_PARTITION:
		set_number(state, "partition", arg, 0, MR_PARTITIONS_MAX - 1, &number);
		arguments->partition = (int32_t)number;
		return 0;
	case OPTION_SKIP_BAD:
		arguments->skip_bad = true;
		return 0;
	default:
		return parse_words(key, arg, state);
	}
}

static const struct argp_option options[] = {
	{"format", OPTION_FORMAT, "FORMAT", 0, "raw (the default), json, csv", 0},
	{"key", OPTION_KEY, "FIELD", 0, "the record's key: a dotted path in JSON, a column in CSV",
	 0},
	{"time", OPTION_TIME, "FIELD", 0,
	 "the record's time: seconds or milliseconds since 1970, or ISO 8601 (UTC without a zone)",
	 0},
	{"acks", OPTION_ACKS, "LEVEL", 0,
	 "when a record counts as safe: committed (the default), disk, memory", 0},
	{"rate", OPTION_RATE, "N", 0, "publish N records a second", 0},
	{"partition", OPTION_PARTITION, "N", 0, "publish into this one (default: by key)", 0},
	{"skip-bad", OPTION_SKIP_BAD, NULL, 0,
	 "count bad lines and go on, not stop at the first; if all are bad the exit code is 1", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "TOPIC [FILE]",
	.doc = "Publish the lines of FILE (or of standard input), one record each. The value is "
	       "the "
	       "line as it stands; in CSV the first row names the columns and is no record. Ends "
	       "when all records are acknowledged, and says where they are."
	       "\vExamples:\n"
	       "  seq 1000000 | millrace put numbers\n"
	       "  millrace put trades trades.json --format json --key symbol --time at\n"
	       "  millrace put sensors log.csv --format csv --key id --skip-bad --json\n"
	       "  tail -f app.log | millrace put app --acks disk\n"
	       "  millrace put quotes ticks.txt --acks memory",
};

/* ---- publishing ---------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

static void take_receipts(struct put *put)
{
	struct mr_receipt receipts[RECEIPTS];
	int count;

	do {
		count = mr_producer_receipts(put->producer, receipts, RECEIPTS);
		for (int i = 0; i < count; i++)
			mr_put_report_receipt(&put->report, &receipts[i]);
	} while (count == (int)RECEIPTS);
}

static void take_state(struct put *put)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	uint64_t before = put->report.acknowledged;

	take_receipts(put);
	if (mr_producer_state(put->producer, &state) == 0) {
		put->report.published = state.published;
		put->report.acknowledged = state.acknowledged;
		put->report.lost = state.lost;
	}
	put->report.elapsed_ns = now_ns() - put->started_ns;
	/* who has nothing out waits for nobody but its input */
	if (put->report.published > put->report.acknowledged || put->waits.said_ns)
		mr_waits_turn(&put->waits, put->report.acknowledged > before, now_ns());
	else
		mr_waits_begin(&put->waits, now_ns());
}

/* How many records may go now, with --rate; waits until it is at least one or a stop was asked for.
 */
static uint32_t wait_for_turn(struct put *put, uint32_t wanted)
{
	uint64_t rate = put->arguments->rate;

	if (rate == 0)
		return wanted;
	while (!mr_stop_asked()) {
		uint64_t elapsed_ns = now_ns() - put->started_ns;
		uint64_t due = (uint64_t)((double)elapsed_ns * (double)rate / 1e9) + 1;

		if (due > put->report.published) {
			uint64_t open = due - put->report.published;

			return open < wanted ? (uint32_t)open : wanted;
		}
		mr_stop_wait(-1, rate > 100 ? PACE_NS : UINT64_C(1000000000) / rate);
		mr_put_report_progress(&put->report, now_ns());
	}
	return 0;
}

/* The producer's own sentence. */
static int fail(struct put *put, int code)
{
	mr_producer_error(put->producer, &put->err);
	if (put->err.code == 0)
		mr_error_set(&put->err, code, "cannot publish into topic '%s'",
			     put->arguments->topic);
	return code;
}

/* A record that is too large is its line's fault. */
static int refuse_large(struct put *put, uint32_t at)
{
	mr_producer_error(put->producer, &put->err);
	put->err.code = -EBADMSG;
	mr_error_prefix(&put->err, "line %" PRIu64 ", %d bytes: ", put->batch_lines[at],
			put->batch[at].value_bytes);
	mr_error_hint(&put->err, "split it, leave it out with --skip-bad, or raise lane_bytes (a "
				 "record takes half of it at most) and record_bytes_max in the "
				 "engine's configuration");
	if (!put->arguments->skip_bad)
		return -EBADMSG;
	mr_put_report_bad(&put->report, &put->err);
	return 1;
}

/* Publishes the batch; keeps waiting while the lane is full. -EINTR: a stop was asked for. */
static int publish(struct put *put)
{
	uint32_t at = 0;
	int r = 0;

	while (at < put->batched && r >= 0) {
		uint32_t count = wait_for_turn(put, put->batched - at);

		if (count == 0 || mr_stop_asked()) {
			r = -EINTR;
			break;
		}
		r = mr_producer_put_many(put->producer, put->batch + at, count);
		if (r == -EAGAIN)
			r = 0;
		else if (r == -EMSGSIZE)
			r = refuse_large(put, at);
		else if (r > 0)
			put->report.published += (uint64_t)r;
		else if (r < 0)
			r = fail(put, r);
		at += r > 0 ? (uint32_t)r : 0;
		take_state(put);
		mr_put_report_progress(&put->report, now_ns());
	}
	put->batched = 0;
	mr_intake_forget(put->intake);
	return r < 0 ? r : 0;
}

/* Adds the line's record to the batch. */
static int take_line(struct put *put, const char *line, size_t bytes)
{
	struct mr_record *record = &put->batch[put->batched];
	int r = mr_intake_line(put->intake, line, bytes, record, &put->err);

	if (r < 0)
		mr_error_prefix(&put->err, "line %" PRIu64 ": ", put->lines.line);
	if (r == -EBADMSG && put->arguments->skip_bad) {
		mr_put_report_bad(&put->report, &put->err);
		return 0;
	}
	if (r <= 0)
		return r;
	put->batch_lines[put->batched++] = put->lines.line;
	return put->batched < BATCH ? 0 : publish(put);
}

static int refuse_long_line(struct put *put)
{
	mr_error_set(&put->err, -EMSGSIZE, "line %" PRIu64 " is longer than %u bytes",
		     put->lines.next_line, MR_LINE_BYTES_MAX);
	if (put->lines.rows)
		mr_error_why(&put->err, "a double quote may be open that is never closed");
	return -EMSGSIZE;
}

/* All lines; what is in the batch when a bad one is met is published first. */
static int publish_lines(struct put *put)
{
	char *line;
	size_t bytes;
	int r = 0;

	while (r >= 0) {
		r = mr_lines_next(&put->lines, &line, &bytes);
		if (r == 0)
			break;
		if (r == 1) {
			r = take_line(put, line, bytes);
		} else if (r == -EAGAIN) {
			r = publish(put);
			/* Asked here and not for each line: it is a system call. */
			if (r == 0 && mr_stop_asked())
				break;
			if (r == 0)
				r = mr_lines_fill(&put->lines, &put->err);
			mr_put_report_progress(&put->report, now_ns());
		} else {
			r = refuse_long_line(put);
		}
	}
	if (r == 0)
		return publish(put);
	if (r == -EBADMSG || r == -EMSGSIZE || r == -EINVAL) {
		struct mr_error why = put->err;
		int published = publish(put);

		put->err = published < 0 && published != -EINTR ? put->err : why;
	}
	return r;
}

/* The records that are out may have been taken, and may yet be. */
static int not_acknowledged(struct put *put, bool stopped)
{
	mr_error_set(&put->err, stopped ? -EINTR : -ETIMEDOUT,
		     "%s%" PRIu64 " records are published, not acknowledged",
		     stopped ? "stopped: " : "", put->report.published - put->report.acknowledged);
	if (!mr_waits_why(&put->waits, &put->err))
		mr_error_why(&put->err, "the engine did not say that they are safe in this time");
	return mr_error_hint(&put->err,
			     "look with 'millrace peers' and 'millrace status'; they "
			     "may be in the log, or come into it later: 'millrace tail'");
}

/* Waits until all is acknowledged. Who stops it is not kept waiting, a second signal ends it. */
static int flush(struct put *put)
{
	uint64_t give_up_ns = now_ns() + FLUSH_PATIENCE_NS;
	bool last;
	int r;

	do {
		last = mr_stop_asked() || now_ns() >= give_up_ns;
		r = mr_producer_flush(put->producer, FLUSH_STEP_MS);
		take_state(put);
		mr_put_report_progress(&put->report, now_ns());
	} while (r == -ETIMEDOUT && !last);
	put->report.stopped = mr_stop_asked();
	if (r == -ETIMEDOUT)
		return not_acknowledged(put, put->report.stopped);
	return r < 0 ? fail(put, r) : r;
}

/* ---- the command --------------------------------------------------------------------------- */

static int open_input(const struct arguments *arguments, struct mr_error *err)
{
	struct stat found;
	int fd;

	if (!arguments->file || strcmp(arguments->file, "-") == 0)
		return STDIN_FILENO;
	fd = open(arguments->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return mr_error_set(err, -errno, "cannot open '%s'", arguments->file);
	if (fstat(fd, &found) == 0 && S_ISDIR(found.st_mode)) {
		(void)close(fd); /* was not read */
		return mr_error_set(err, -EISDIR, "'%s' is a directory, expected a file of lines",
				    arguments->file);
	}
	return fd;
}

/* Publishes and flushes; returns the exit code. */
static int run(struct put *put)
{
	int code = MR_EXIT_DONE;
	int r;

	put->started_ns = now_ns();
	put->waits = (struct mr_waits){
		.connection = put->connection,
		.topic = put->arguments->topic,
		.partition = put->arguments->partition >= 0 ? put->arguments->partition : -1};
	mr_waits_begin(&put->waits, put->started_ns);
	r = publish_lines(put);
	if (r < 0 && r != -EINTR) {
		mr_put_report_end_progress(&put->report);
		code = mr_cli_fail(&put->err);
	}
	if (r == -EPIPE) { /* the engine closed the lane: some may be safe, some may not */
		code = MR_EXIT_DEGRADED;
	} else {
		r = flush(put);
		if (r < 0) {
			mr_put_report_end_progress(&put->report);
			code = mr_cli_fail(&put->err);
			code = r == -EINTR ? MR_EXIT_DEGRADED : code;
		}
	}
	mr_put_report_end_progress(&put->report);
	if (put->report.lost > 0 && code == MR_EXIT_DONE)
		code = MR_EXIT_DEGRADED;
	if (put->report.bad > 0 && put->report.published == 0 && code == MR_EXIT_DONE)
		code = MR_EXIT_REFUSED; /* a wrong format, most likely */
	if (put->arguments->json)
		mr_put_report_json(&put->report, stdout);
	else
		mr_put_report_print(&put->report, stdout);
	return code;
}

static int open_producer(struct put *put)
{
	struct mr_producer_options wanted = {
		.size = sizeof(wanted),
		.topic = put->arguments->topic,
		.partition = put->arguments->partition,
		.acks = put->arguments->acks,
		.full_wait_ms = FULL_WAIT_MS,
	};
	int code = mr_cli_connect(put->arguments->socket, "put", &put->connection);

	if (code != MR_EXIT_DONE)
		return code;
	if (mr_producer_open(put->connection, &wanted, &put->producer, &put->err) < 0)
		return mr_cli_fail(&put->err);
	return MR_EXIT_DONE;
}

int mr_command_put(int argc, char **argv)
{
	static struct put put; /* large, and only one */
	struct arguments arguments = {.partition = MR_PARTITION_BY_KEY};
	int fd;
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	put.arguments = &arguments;
	fd = open_input(&arguments, &put.err);
	if (fd < 0)
		return mr_cli_fail(&put.err);
	mr_put_report_init(&put.report, arguments.topic, arguments.acks, isatty(STDERR_FILENO));
	mr_stop_watch();
	code = open_producer(&put);
	if (code == MR_EXIT_DONE &&
	    (mr_intake_open(&arguments.intake, &put.intake, &put.err) < 0 ||
	     mr_lines_init(&put.lines, fd, arguments.intake.format == MR_INTAKE_CSV, &put.err) < 0))
		code = mr_cli_fail(&put.err);
	if (code == MR_EXIT_DONE)
		code = run(&put);
	(void)mr_producer_close(put.producer, 0); /* flushed, or said so, before */
	mr_disconnect(put.connection);
	mr_intake_close(put.intake);
	mr_lines_deinit(&put.lines);
	mr_put_report_deinit(&put.report);
	if (fd != STDIN_FILENO)
		(void)close(fd); /* was only read */
	return mr_cli_finish_output(code);
}
