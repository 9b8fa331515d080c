/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start order and its exact reverse on one page (engine.h): lock, disk, control (which starts
 * workers, recovers and listens); then signals and the start-up block.
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"
#include "base/clock.h"
#include "base/diag.h"
#include "control.h"
#include "crc32c.h"
#include "engine_checks.h"

#define LOCK_TRIES  50
#define LOCK_TRY_MS 20

struct mr_engine {
	const struct mr_config *config;
	struct mr_io *io;
	bool own_io;
	struct mr_control *control;
	int lock_fd;
	char data_path[1024];
	char socket_path[108];
	FILE *out;
};

/* ---- the lock: one engine a data directory
 * ------------------------------------------------------------------ */

static void read_owner(int fd, char owner[32])
{
	ssize_t got = pread(fd, owner, 31, 0);

	owner[got > 0 ? got : 0] = '\0';
	owner[strcspn(owner, "\n")] = '\0';
}

/*
 * A killed engine keeps its lock until the kernel has taken it down, which can outlast the moment
 * in which whoever watches it starts the next one. So a lock that is held is asked for a little
 * longer.
 */
static int lock_patiently(int fd)
{
	int tries, r = -EWOULDBLOCK;

	for (tries = 0; tries < LOCK_TRIES && r == -EWOULDBLOCK; tries++) {
		if (tries)
			(void)poll(NULL, 0, LOCK_TRY_MS);
		r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	}
	return r;
}

static int take_lock(struct mr_engine *engine, struct mr_error *err)
{
	char path[1100], owner[32];
	int r;

	snprintf(path, sizeof(path), "%s/LOCK", engine->data_path);
	engine->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (engine->lock_fd < 0)
		return mr_error_set(err, -errno, "cannot open '%s'", path);
	r = lock_patiently(engine->lock_fd);
	if (r < 0 && r != -EWOULDBLOCK)
		return mr_error_set(err, r, "cannot lock '%s'", path);
	if (r < 0) {
		read_owner(engine->lock_fd, owner);
		mr_error_set(err, -EBUSY,
			     "the data directory '%s' is in use by the engine with pid %s",
			     engine->data_path, owner[0] ? owner : "(not known)");
		return mr_error_hint(err,
				     "stop that engine, or give this one its own with --data DIR");
	}
	snprintf(owner, sizeof(owner), "%d\n", (int)getpid());
	if (ftruncate(engine->lock_fd, 0) < 0 ||
	    pwrite(engine->lock_fd, owner, strlen(owner), 0) != (ssize_t)strlen(owner))
		return mr_error_set(err, -errno, "cannot write '%s'", path);
	return 0;
}

/* Read by other programs while the engine runs, and after it ended. */
static int open_counters(const struct mr_engine *engine, struct mr_error *err)
{
	char path[1100];
	int fd;

	snprintf(path, sizeof(path), "%s/counters", engine->data_path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? mr_error_set(err, -errno, "cannot open '%s'", path) : fd;
}

/* ---- where things are
 * ----------------------------------------------------------------------------------------- */

static int find_places(struct mr_engine *engine, struct mr_error *err)
{
	const char *data = engine->config->data, *given = engine->config->socket;
	const char *environment = getenv("MILLRACE_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (mkdir(data, 0700) < 0 && errno != EEXIST)
		return mr_error_set(err, -errno, "cannot make the data directory '%s'", data);
	if (!realpath(data, engine->data_path))
		return mr_error_set(err, -errno, "cannot find the data directory '%s'", data);
	if (given[0])
		n = snprintf(engine->socket_path, sizeof(engine->socket_path), "%s", given);
	else if (environment && environment[0])
		n = snprintf(engine->socket_path, sizeof(engine->socket_path), "%s", environment);
	else if (runtime && runtime[0] && access(runtime, W_OK) == 0)
		n = snprintf(engine->socket_path, sizeof(engine->socket_path), "%s/millrace.sock",
			     runtime);
	else
		n = snprintf(engine->socket_path, sizeof(engine->socket_path), "%s/millrace.sock",
			     engine->data_path);
	if (n < 0 || (size_t)n >= sizeof(engine->socket_path)) {
		mr_error_set(err, -ENAMETOOLONG, "the socket's path is longer than %zu bytes",
			     sizeof(engine->socket_path) - 1);
		return mr_error_hint(err, "give a short one: --socket PATH");
	}
	return 0;
}

/* ---- the start-up block
 * ----------------------------------------------------------------------------------------- */

static void print_host(const struct mr_engine *engine)
{
	const struct mr_place_host *host = &engine->control->plan.host;
	const struct mr_io_facts *facts = &engine->io->facts;

	fprintf(engine->out, "millrace %s, pid %d\n", MR_VERSION, (int)getpid());
	fprintf(engine->out, "  host        %u cores, %u NUMA node%s, %" PRIu64 " MiB, %s%s%s\n",
		host->cores, host->nodes, host->nodes == 1 ? "" : "s", host->memory_bytes >> 20,
		host->model, host->hypervisor[0] ? ", hypervisor " : "", host->hypervisor);
	fprintf(engine->out, "  data        %s (%s, %s, %u-byte blocks)\n", engine->data_path,
		facts->file_system, facts->direct ? "O_DIRECT" : "buffered", facts->block_bytes);
	fprintf(engine->out, "  disk        %s%s%s\n", facts->backend,
		facts->fallback_reason[0] ? ", because " : "", facts->fallback_reason);
	if (facts->warning[0])
		fprintf(engine->out, "  warning     %s\n", facts->warning);
}

static void print_flush(const struct mr_engine *engine)
{
	uint64_t median_ns, worst_ns;

	if (mr_engine_measure_flush(engine->io, &mr_clock_system, &median_ns, &worst_ns) < 0)
		return;
	fprintf(engine->out,
		"  flush       a durable 4 KiB write takes %.2f ms (median of %d, worst %.2f)\n",
		(double)median_ns / 1e6, MR_ENGINE_FLUSHES, (double)worst_ns / 1e6);
}

static void print_threads(const struct mr_engine *engine)
{
	const struct mr_place_plan *plan = &engine->control->plan;
	char list[40];
	uint32_t i;

	for (i = 0; i < plan->entry_count; i++) {
		const struct mr_place_entry *entry = &plan->entries[i];
		char name[32], where[64] = "";

		if (entry->role == MR_PLACE_WORKER)
			snprintf(name, sizeof(name), "worker %u", entry->worker);
		else
			snprintf(name, sizeof(name), "%s", mr_place_role_word(entry->role));
		if (entry->cpu != MR_PLACE_ANY && plan->host.nodes > 1)
			snprintf(where, sizeof(where), "cpu %d, node %d: ", entry->cpu,
				 entry->node);
		else if (entry->cpu != MR_PLACE_ANY)
			snprintf(where, sizeof(where), "cpu %d: ", entry->cpu);
		fprintf(engine->out, "  %-11s %s%s\n", name, where, entry->reason);
	}
	mr_place_format_list(&plan->beside, list, sizeof(list));
	fprintf(engine->out, "  clients     %s%s\n", list[0] ? "cpu " : "no core is left", list);
}

static void print_ready(const struct mr_engine *engine)
{
	const struct mr_control *control = engine->control;

	print_host(engine);
	print_flush(engine);
	print_threads(engine);
	fprintf(engine->out, "  topics      %zu, leader epoch %d, start %" PRIu64 "\n",
		control->topics.count, control->leader_epoch, control->checkpoint.engine_start);
	fprintf(engine->out, "  socket      %s\n", engine->socket_path);
	fprintf(engine->out, "ready\n");
	fflush(engine->out);
}

static void say(const char *line, void *arg)
{
	mr_diag_warn("recovered", "%s", line);
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------ */

static uint32_t isal_update(uint32_t state, const void *bytes, size_t count)
{
	return mr_engine_crc32c_update(state, bytes, count);
}

/* A lane takes two descriptors, a segment one: as many as the administrator allows. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer do, until they are used up */
}

static int open_parts(struct mr_engine *engine, const struct mr_engine_options *options,
		      struct mr_error *err)
{
	struct mr_control_options control = {
		.config = engine->config,
		.clock = options->clock ? options->clock : &mr_clock_system,
		.data_path = engine->data_path,
		.socket_path = engine->socket_path,
		.say = say,
		.arg = engine,
		.feed_version_max = options->feed_version_max,
	};
	int r = mr_engine_check_host(err);

	raise_descriptors();
	if (r == 0)
		r = find_places(engine, err);
	if (r == 0)
		r = take_lock(engine, err);
	if (r == 0 && !options->io) {
		r = mr_io_open_directory(engine->data_path, mr_config_io_word(engine->config->io),
					 &engine->io, err);
		engine->own_io = r == 0;
	}
	if (r < 0)
		return r;
	control.io = engine->io;
	control.counters_fd = open_counters(engine, err);
	if (control.counters_fd < 0)
		return control.counters_fd;
	return mr_control_open(&control, &engine->control, err);
}

int mr_engine_open(const struct mr_engine_options *options, struct mr_engine **out,
		   struct mr_error *err)
{
	struct mr_engine *engine = calloc(1, sizeof(*engine));
	int r;

	if (!engine)
		return mr_error_set(err, -ENOMEM, "no memory for the engine");
	mr_crc32c_use(isal_update);
	engine->config = options->config;
	engine->io = options->io;
	engine->out = options->out;
	engine->lock_fd = -1;
	r = open_parts(engine, options, err);
	if (r < 0) {
		mr_engine_close(engine);
		return r;
	}
	if (engine->out)
		print_ready(engine);
	*out = engine;
	return 0;
}

int mr_engine_run(struct mr_engine *engine)
{
	mr_control_run(engine->control);
	return mr_control_degraded(engine->control) ? -EIO
						    : (int)mr_control_lanes_left(engine->control);
}

void mr_engine_stop(struct mr_engine *engine)
{
	mr_control_stop(engine->control);
}

void mr_engine_close(struct mr_engine *engine)
{
	if (!engine)
		return;
	mr_control_close(engine->control);
	if (engine->own_io)
		mr_io_close(engine->io);
	if (engine->lock_fd >= 0)
		(void)close(engine->lock_fd); /* lets the lock go */
	free(engine);
}

const char *mr_engine_socket(const struct mr_engine *engine)
{
	return engine->socket_path;
}

/* ---- millrace serve -------------------------------------------------------------------------- */

static struct mr_engine *serving; /* for the handler: set before the signals are let through */

static void on_signal(int number)
{
	mr_engine_stop(serving);
}

static void handle(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	sigaction(number, &action, NULL);
}

static void catch_signals(struct mr_engine *engine)
{
	serving = engine;
	handle(SIGTERM, on_signal);
	handle(SIGINT, on_signal);
	handle(SIGPIPE, SIG_IGN);
}

/* Who stops a host goes by this. */
static void say_stopped(FILE *out, int r)
{
	if (r < 0)
		fprintf(out, "stopped; the data directory failed, see above\n");
	else if (r > 0)
		fprintf(out,
			"stopped; NOT all that was published is acknowledged: %d lanes were not "
			"empty in time. Their producers hold it for the next engine while they "
			"run\n",
			r);
	else
		fprintf(out, "stopped; everything published was taken and is durable\n");
	fflush(out);
}

int mr_engine_serve(const struct mr_config *config, FILE *out)
{
	struct mr_engine_options options = {.config = config};
	struct mr_engine *engine = NULL;
	struct mr_error err = {0};
	int r = mr_engine_open(&options, &engine, &err);

	if (r < 0) {
		mr_diag_error(&err);
		return r == -EBADMSG ? 1 : 3;
	}
	catch_signals(engine);
	engine->out = out;
	print_ready(engine); /* who reads it may stop the engine at once */
	r = mr_engine_run(engine);
	handle(SIGTERM, SIG_IGN);
	handle(SIGINT, SIG_IGN);
	mr_engine_close(engine);
	say_stopped(out, r);
	return r < 0 ? 4 : 0;
}
