/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace demo: a whole Millrace for a while. This process starts two others of the same program,
 *the engine (`serve`) and a collector (`collect host`), and is itself a consumer of what the
 *collector publishes and a producer of heartbeats, whose way to the disk and back it measures:
 *
 *	collect host ──► engine ──► this: the last values
 *	this: heartbeat ──► engine ──► acknowledged
 *
 * It ends the two by their pids in that order, and removes the directory that it made.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "cli.h"
#include "clock.h"
#include "connection.h"
#include "demo_view.h"

#define SECONDS_UNWATCHED 15u
#define START_PATIENCE_NS UINT64_C(20000000000)
#define STOP_PATIENCE_NS  UINT64_C(15000000000)
#define STEP_NS		  UINT64_C(20000000)
#define SHOW_NS		  UINT64_C(500000000)
#define FLUSH_TIMEOUT_MS  2000u
#define POLL_MS		  20u
#define TABLE_ROWS_MAX	  30u

enum {
	OPTION_SECONDS = MR_CLI_FIRST_OWN,
};

struct arguments {
	const char *data;
	uint64_t seconds; /* 0: until a signal, or SECONDS_UNWATCHED where nobody watches */
};

struct demo {
	char directory[1024];
	char socket[1100];
	bool made_directory;
	bool watched; /* standard output is a terminal */
	pid_t engine; /* 0: none */
	pid_t collector;
	struct mr_connection *connection;
	struct mr_producer *producer;
	struct mr_consumer *consumer;
	struct mr_demo_view view;
	uint32_t lines; /* of the table that stands on the terminal */
	struct mr_error err;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_DATA:
		arguments->data = arg;
		return 0;
	case OPTION_SECONDS:
		if (mr_argument_number(arg, 1, 86400, &arguments->seconds) < 0)
			argp_error(state, "--seconds: '%s' is no number from 1 to 86400", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"seconds", OPTION_SECONDS, "N", 0,
	 "end after N seconds (default: Ctrl-C; 15 s where nobody watches)", 0},
	{"data", MR_CLI_DATA, "DIR", 0,
	 "keep the data in DIR (default: a new directory, removed at the end)", 0},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Start an engine on a data directory of its own, collect metrics of this very host "
	       "into its topic 'host', and show them as a consumer gets them, with the time from "
	       "publishing a record to its being durable."
	       "\vExamples:\n"
	       "  millrace demo\n"
	       "  millrace demo --seconds 30 --data ./demo-data",
};

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

/* ---- the directory ------------------------------------------------------------------------- */

/* A new directory here, else under $TMPDIR, else under /tmp. */
static int make_directory(struct demo *demo)
{
	const char *temporary = getenv("TMPDIR");
	const char *const parents[] = {".", temporary && temporary[0] ? temporary : "/tmp", "/tmp"};

	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
		snprintf(demo->directory, sizeof(demo->directory), "%s/millrace-demo-XXXXXX",
			 parents[i]);
		if (mkdtemp(demo->directory)) {
			demo->made_directory = true;
			return 0;
		}
	}
	mr_error_set(&demo->err, -errno, "cannot make a directory here nor in /tmp");
	return mr_error_hint(&demo->err, "name one with --data DIR");
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	return remove(path);
}

/* Only what mkdtemp() made for us, and nothing through a link. */
static void remove_directory(struct demo *demo)
{
	if (!demo->made_directory)
		return;
	if (nftw(demo->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		fprintf(stderr, "millrace: could not remove '%s': %s\n", demo->directory,
			strerror(errno));
}

/* ---- the two processes --------------------------------------------------------------------- */

/* In the child: its own process group, so that Ctrl-C reaches only us; ends when we do. */
static void become(char *const argv[], pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0); /* of a child just born: cannot fail */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == parent)
		execv("/proc/self/exe", argv);
	_exit(127);
}

static pid_t start(struct demo *demo, char *const argv[])
{
	pid_t parent = getpid();
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		become(argv, parent);
	if (child < 0)
		return mr_error_set(&demo->err, -errno, "cannot start '%s %s'", argv[0], argv[1]);
	return child;
}

/* True once it ended; then *pid is 0. */
static bool has_ended(pid_t *pid)
{
	int status;

	if (*pid > 0 && waitpid(*pid, &status, WNOHANG) != *pid)
		return false;
	*pid = 0;
	return true;
}

static void stop(pid_t *pid)
{
	uint64_t give_up_ns = now_ns() + STOP_PATIENCE_NS;

	if (*pid <= 0)
		return;
	kill(*pid, SIGTERM);
	while (!has_ended(pid)) {
		struct timespec step = {.tv_nsec = (long)STEP_NS};

		if (now_ns() > give_up_ns)
			kill(*pid, SIGKILL);
		nanosleep(&step, NULL);
	}
}

static int start_engine(struct demo *demo)
{
	char *const argv[] = {"millrace", "serve",	"--data", demo->directory,
			      "--socket", demo->socket, NULL};

	demo->engine = start(demo, argv);
	return demo->engine < 0 ? demo->engine : 0;
}

static int start_collector(struct demo *demo)
{
	char *const argv[] = {"millrace", "collect",  "host",	    "--every",
			      "250ms",	  "--socket", demo->socket, NULL};

	demo->collector = start(demo, argv);
	return demo->collector < 0 ? demo->collector : 0;
}

/* ---- our own two ends ---------------------------------------------------------------------- */

/* Until the engine answers; it says itself why it ended if it does. */
static int connect_engine(struct demo *demo)
{
	struct mr_connect_options wanted = {
		.size = sizeof(wanted),
		.socket_path = demo->socket,
		.client_name = "millrace demo",
	};
	uint64_t give_up_ns = now_ns() + START_PATIENCE_NS;

	while (!mr_stop_asked() && now_ns() < give_up_ns) {
		if (mr_connect(&wanted, &demo->connection, &demo->err) == 0)
			return 0;
		if (has_ended(&demo->engine))
			return mr_error_set(&demo->err, -ECONNREFUSED, "the engine ended at start");
		(void)mr_stop_wait(-1, STEP_NS); /* any end is good */
	}
	return mr_stop_asked() ? -EINTR : demo->err.code;
}

/* Made before the collector needs it; it may be there already with --data. */
static int make_topic(struct demo *demo)
{
	char *reply = NULL;
	int r = mr_connection_admin(demo->connection,
				    "{\"do\":\"topic.create\",\"name\":\"host\",\"partitions\":2}",
				    &reply, &demo->err);

	free(reply);
	return r == -EEXIST ? 0 : r;
}

static int open_ends(struct demo *demo)
{
	struct mr_producer_options heartbeat = {
		.size = sizeof(heartbeat),
		.topic = "heartbeat",
		.full_wait_ms = FLUSH_TIMEOUT_MS,
	};
	struct mr_consumer_options metrics = {
		.size = sizeof(metrics),
		.topic = "host",
		.from = MR_FROM_LATEST,
	};
	int r = make_topic(demo);

	if (r == 0)
		r = mr_producer_open(demo->connection, &heartbeat, &demo->producer, &demo->err);
	if (r == 0)
		r = mr_consumer_open(demo->connection, &metrics, &demo->consumer, &demo->err);
	return r;
}

/* One record's way to the disk and back. */
static int beat(struct demo *demo)
{
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES,
		.value = "heartbeat",
		.value_bytes = 9,
		.timestamp_ms = MR_TIMESTAMP_NOW,
	};
	uint64_t begun_ns = now_ns();
	int r = mr_producer_put(demo->producer, &record);

	if (r == 0)
		r = mr_producer_flush(demo->producer, FLUSH_TIMEOUT_MS);
	if (r == 0)
		mr_demo_view_heartbeat(&demo->view, now_ns() - begun_ns);
	else if (r != -EAGAIN && r != -ETIMEDOUT)
		mr_producer_error(demo->producer, &demo->err);
	return r == -EAGAIN || r == -ETIMEDOUT ? 0 : r;
}

static int read_metrics(struct demo *demo)
{
	const struct mr_message *messages;
	int count = mr_consumer_poll(demo->consumer, POLL_MS, &messages);

	if (count < 0 && count != -EINTR) {
		mr_consumer_error(demo->consumer, &demo->err);
		return count;
	}
	for (int i = 0; i < count; i++)
		mr_demo_view_record(&demo->view, &messages[i]);
	return 0;
}

/* ---- showing ------------------------------------------------------------------------------- */

static uint32_t table_rows(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 8)
		return TABLE_ROWS_MAX;
	return size.ws_row - 2 < (int)TABLE_ROWS_MAX ? size.ws_row - 2u : TABLE_ROWS_MAX;
}

/* Writes the table over the one before. */
static void show(struct demo *demo)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return; /* the next one may have memory */
	if (demo->lines > 0)
		printf("\033[%" PRIu32 "A\033[J", demo->lines);
	demo->lines = mr_demo_view_print(&demo->view, table_rows(), out);
	fclose(out);
	if (text)
		fputs(text, stdout);
	free(text);
	fflush(stdout);
}

static int run(struct demo *demo, uint64_t seconds)
{
	uint64_t begun_ns = now_ns();
	uint64_t show_ns = begun_ns;
	int r = 0;

	while (r == 0 && !mr_stop_asked()) {
		uint64_t at_ns = now_ns();

		if (seconds && at_ns - begun_ns >= seconds * UINT64_C(1000000000))
			break;
		if (has_ended(&demo->engine) || has_ended(&demo->collector))
			return mr_error_set(&demo->err, -ECHILD, "a part of the demo ended early");
		r = beat(demo);
		if (r == 0)
			r = read_metrics(demo);
		mr_demo_view_tick(&demo->view, now_ns());
		if (demo->watched && at_ns >= show_ns) {
			show(demo);
			show_ns = at_ns + SHOW_NS;
		}
	}
	return r;
}

static int run_all(struct demo *demo, uint64_t seconds)
{
	int r = start_engine(demo);

	if (r == 0)
		r = connect_engine(demo);
	if (r == 0)
		r = open_ends(demo);
	if (r == 0)
		r = start_collector(demo);
	if (r == 0)
		r = run(demo, seconds);
	return r;
}

static int finish(struct demo *demo, int r)
{
	(void)mr_producer_close(demo->producer, FLUSH_TIMEOUT_MS); /* it counts only what it knew */
	mr_consumer_close(demo->consumer);
	mr_disconnect(demo->connection);
	if (r == 0 && !demo->watched)
		(void)mr_demo_view_print(&demo->view, TABLE_ROWS_MAX, stdout);
	fflush(stdout);
	stop(&demo->collector);
	stop(&demo->engine);
	remove_directory(demo);
	if (r < 0 && r != -EINTR)
		return mr_cli_fail(&demo->err);
	if (demo->view.records == 0 && !mr_stop_asked()) {
		fprintf(stderr, "millrace: not one record came\n");
		return MR_EXIT_DEGRADED;
	}
	return mr_cli_finish_output(MR_EXIT_DONE);
}

int mr_command_demo(int argc, char **argv)
{
	static struct demo demo; /* large, and only one */
	struct arguments arguments = {0};
	int r = 0;

	mr_cli_parse(&argp, argc, argv, &arguments);
	demo.watched = isatty(STDOUT_FILENO);
	if (arguments.seconds == 0 && !demo.watched)
		arguments.seconds = SECONDS_UNWATCHED;
	mr_stop_watch();
	if (arguments.data)
		snprintf(demo.directory, sizeof(demo.directory), "%s", arguments.data);
	else
		r = make_directory(&demo);
	if (r < 0)
		return mr_cli_fail(&demo.err);
	snprintf(demo.socket, sizeof(demo.socket), "%s/millrace.sock", demo.directory);
	return finish(&demo, run_all(&demo, arguments.seconds));
}
