/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine of its own for a question (engine_process.h). The engine is a child of the question's
 * process and of its process group: it dies with either. Its standard output is a pipe, of which
 * only "ready" is wanted; its messages go into NAME.log beside its data. One thread.
 */
#include "engine_process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "counters.h"

#define START_PATIENCE_NS UINT64_C(300000000000) /* a recovery reads as much as there is */
#define STOP_PATIENCE_NS  UINT64_C(20000000000)
#define STEP_NS		  1000000
#define PATH_BYTES	  (PATH_MAX + 128)

struct mr_bench_engine {
	pid_t pid; /* 0: it ended and was waited for */
	int status;
	int output; /* the reading end of its standard output */
	uint64_t start_ns;
	char name[64];
	char directory[PATH_BYTES];
	char config[PATH_BYTES]; /* of its file; empty: none */
	char log[PATH_BYTES];
	char socket[PATH_BYTES];
};

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

/* ---- starting ------------------------------------------------------------------------------ */

static int write_config(struct mr_bench_engine *engine, const char *config, struct mr_error *err)
{
	FILE *out;
	bool bad;

	out = fopen(engine->config, "we");
	if (!out)
		return mr_error_set(err, -errno, "cannot write '%s'", engine->config);
	bad = fputs(config, out) < 0;
	if (fclose(out) != 0 || bad)
		return mr_error_set(err, -errno, "cannot write '%s'", engine->config);
	return 0;
}

/* The run's directory is the working one, so that a socket's name fits however deep that is. */
static void name_paths(struct mr_bench_engine *engine, const struct mr_bench_run *run,
		       const char *name)
{
	const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	const char *data = mr_bench_data(run);

	snprintf(engine->name, sizeof(engine->name), "%s", name);
	snprintf(engine->directory, sizeof(engine->directory), "%s/%s", data, engine->name);
	snprintf(engine->log, sizeof(engine->log), "%s/%s.log", data, engine->name);
	snprintf(engine->socket, sizeof(engine->socket), "%s/%s.sock", data, engine->name);
	if (strlen(engine->socket) >= room)
		snprintf(engine->socket, sizeof(engine->socket), "%s.sock", engine->name);
}

/* In the child. */
static void become_engine(const struct mr_bench_engine *engine, int output, pid_t parent)
{
	char *const argv[] = {"millrace",
			      "serve",
			      "--data",
			      (char *)engine->directory,
			      "--socket",
			      (char *)engine->socket,
			      engine->config[0] ? "--config" : NULL,
			      (char *)engine->config,
			      NULL};
	int log = open(engine->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent && log >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
	    dup2(log, STDERR_FILENO) >= 0)
		execv("/proc/self/exe", argv);
	_exit(127);
}

static int spawn(struct mr_bench_engine *engine, struct mr_error *err)
{
	pid_t self = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return mr_error_set(err, -errno, "cannot make a pipe for an engine");
	fflush(NULL); /* else the child might write it again */
	engine->pid = fork();
	if (engine->pid == 0)
		become_engine(engine, ends[1], self);
	(void)close(ends[1]); /* the child has it */
	engine->output = ends[0];
	if (engine->pid < 0) {
		engine->pid = 0;
		return mr_error_set(err, -errno, "cannot start an engine");
	}
	return 0;
}

/* The last thing that the engine said, as the reason. */
static int explain(const struct mr_bench_engine *engine, struct mr_error *err)
{
	char line[512], last[160] = "";
	FILE *log = fopen(engine->log, "re");

	while (log && fgets(line, sizeof(line), log)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			snprintf(last, sizeof(last), "%.150s", line);
	}
	if (log)
		fclose(log);
	if (last[0])
		mr_error_why(err, "%s", last);
	return err ? err->code : 0;
}

/* A line of its output, kept over several reads; lines that are too long are cut. */
struct line {
	char text[256];
	size_t bytes;
};

static bool says_ready(struct line *line, const char *text, ssize_t bytes)
{
	for (ssize_t i = 0; i < bytes; i++) {
		if (text[i] != '\n') {
			if (line->bytes < sizeof(line->text))
				line->text[line->bytes++] = text[i];
			continue;
		}
		if (line->bytes >= 5 && memcmp(line->text, "ready", 5) == 0)
			return true;
		line->bytes = 0;
	}
	return false;
}

static int wait_ready(struct mr_bench_engine *engine, struct mr_error *err)
{
	uint64_t give_up_ns = now_ns() + START_PATIENCE_NS;
	struct line line = {.bytes = 0};

	while (now_ns() < give_up_ns) {
		struct pollfd waited = {.fd = engine->output, .events = POLLIN};
		char text[4096];
		ssize_t bytes;

		if (poll(&waited, 1, 1000) <= 0)
			continue;
		bytes = read(engine->output, text, sizeof(text));
		if (bytes <= 0)
			return mr_error_set(err, -ECHILD, "the engine '%s' ended at its start",
					    engine->name);
		if (says_ready(&line, text, bytes))
			return 0;
	}
	return mr_error_set(err, -ETIMEDOUT, "the engine '%s' was not ready after %llu s",
			    engine->name, (unsigned long long)(START_PATIENCE_NS / 1000000000));
}

int mr_bench_engine_start(struct mr_bench_run *run, const struct mr_bench_engine_options *options,
			  struct mr_bench_engine **out, struct mr_error *err)
{
	struct mr_bench_engine *engine = calloc(1, sizeof(*engine));
	uint64_t began_ns;
	int r = 0;

	if (!engine)
		return mr_error_set(err, -ENOMEM, "no memory for an engine's paths");
	engine->output = -1;
	name_paths(engine, run, options->name);
	if (options->config) {
		snprintf(engine->config, sizeof(engine->config), "%s/%s.yaml", mr_bench_data(run),
			 engine->name);
		r = write_config(engine, options->config, err);
	}
	began_ns = now_ns();
	if (r == 0)
		r = spawn(engine, err);
	if (r == 0)
		r = wait_ready(engine, err);
	engine->start_ns = now_ns() - began_ns;
	if (r < 0) {
		explain(engine, err);
		mr_bench_engine_kill(engine);
		return r;
	}
	*out = engine;
	return 0;
}

/* ---- ending -------------------------------------------------------------------------------- */

/* True once it ended; then 'pid' is 0. */
static bool has_ended(struct mr_bench_engine *engine)
{
	if (engine->pid > 0 && waitpid(engine->pid, &engine->status, WNOHANG) != engine->pid)
		return false;
	engine->pid = 0;
	return true;
}

static bool wait_end(struct mr_bench_engine *engine, uint64_t patience_ns)
{
	uint64_t give_up_ns = now_ns() + patience_ns;

	while (!has_ended(engine)) {
		struct timespec step = {.tv_nsec = STEP_NS};

		if (now_ns() > give_up_ns)
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

static void forget(struct mr_bench_engine *engine)
{
	if (engine->output >= 0)
		(void)close(engine->output); /* was only read */
	free(engine);
}

void mr_bench_engine_kill(struct mr_bench_engine *engine)
{
	if (!engine)
		return;
	if (engine->pid > 0) {
		(void)kill(engine->pid, SIGKILL); /* it may have ended by itself */
		(void)waitpid(engine->pid, &engine->status, 0);
	}
	forget(engine);
}

int mr_bench_engine_stop(struct mr_bench_engine *engine, struct mr_error *err)
{
	int r = 0;

	if (!engine)
		return 0;
	if (engine->pid > 0)
		(void)kill(engine->pid, SIGTERM);
	if (!wait_end(engine, STOP_PATIENCE_NS))
		r = mr_error_set(err, -ETIMEDOUT, "the engine '%s' did not end in time",
				 engine->name);
	else if (WIFSIGNALED(engine->status))
		r = mr_error_set(err, -ECHILD, "the engine '%s' was ended by signal %d",
				 engine->name, WTERMSIG(engine->status));
	else if (WEXITSTATUS(engine->status) != 0)
		r = mr_error_set(err, -ECHILD, "the engine '%s' ended with code %d", engine->name,
				 WEXITSTATUS(engine->status));
	if (r < 0)
		explain(engine, err);
	mr_bench_engine_kill(engine);
	return r;
}

/* ---- asking -------------------------------------------------------------------------------- */

pid_t mr_bench_engine_pid(const struct mr_bench_engine *engine)
{
	return engine->pid;
}

const char *mr_bench_engine_socket(const struct mr_bench_engine *engine)
{
	return engine->socket;
}

const char *mr_bench_engine_directory(const struct mr_bench_engine *engine)
{
	return engine->directory;
}

uint64_t mr_bench_engine_start_ns(const struct mr_bench_engine *engine)
{
	return engine->start_ns;
}

/* Calls 'each' for the threads whose name begins with 'threads'. */
static void each_thread(const struct mr_bench_engine *engine, const char *threads,
			void (*each)(const char *task, pid_t thread, uint64_t *sum), uint64_t *sum)
{
	char folder[64], task[80 + NAME_MAX], path[96 + NAME_MAX], name[64];
	struct dirent *entry;
	DIR *list;

	snprintf(folder, sizeof(folder), "/proc/%d/task", (int)engine->pid);
	list = opendir(folder);
	while (list && (entry = readdir(list))) {
		FILE *file;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(task, sizeof(task), "%s/%s", folder, entry->d_name);
		snprintf(path, sizeof(path), "%s/comm", task);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) &&
		    strncmp(name, threads, strlen(threads)) == 0)
			each(task, (pid_t)strtol(entry->d_name, NULL, 10), sum);
		if (file)
			fclose(file);
	}
	if (list)
		closedir(list);
}

/* A worker that is not pinned has no core of its own. */
static void add_core(const char *task, pid_t thread, uint64_t *cores)
{
	cpu_set_t cpus;

	if (sched_getaffinity(thread, sizeof(cpus), &cpus) < 0 || CPU_COUNT(&cpus) != 1)
		return;
	for (int i = 0; i < 64; i++)
		if (CPU_ISSET(i, &cpus))
			*cores |= UINT64_C(1) << i;
}

uint64_t mr_bench_engine_worker_cores(const struct mr_bench_engine *engine)
{
	uint64_t cores = 0;

	each_thread(engine, "worker", add_core, &cores);
	return cores;
}

static void add_cpu(const char *task, pid_t thread, uint64_t *sum)
{
	char path[112 + NAME_MAX], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/schedstat", task);
	file = fopen(path, "re");
	if (file && fgets(line, sizeof(line), file))
		*sum += strtoull(line, NULL, 10);
	if (file)
		fclose(file);
}

uint64_t mr_bench_engine_cpu_ns(const struct mr_bench_engine *engine, const char *threads)
{
	uint64_t sum = 0;

	each_thread(engine, threads, add_cpu, &sum);
	return sum;
}

long mr_bench_engine_status_kib(const struct mr_bench_engine *engine, const char *name)
{
	size_t bytes = strlen(name);
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)engine->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, bytes) == 0 && line[bytes] == ':')
			value = strtol(line + bytes + 1, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

uint32_t mr_bench_engine_descriptors(const struct mr_bench_engine *engine)
{
	struct dirent *entry;
	uint32_t count = 0;
	char path[64];
	DIR *list;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)engine->pid);
	list = opendir(path);
	while (list && (entry = readdir(list)))
		count += entry->d_name[0] != '.';
	if (list)
		closedir(list);
	return count;
}

struct sum {
	const char *name;
	uint64_t value;
};

/* "millrace.partition.3f2a.0.written_bytes": what stands after the last dot is the name. */
static int add_counter(const char *name, enum mr_counter_kind kind, uint64_t value, void *arg)
{
	const char *dot = strrchr(name, '.');
	struct sum *sum = arg;

	if (strcmp(dot ? dot + 1 : name, sum->name) == 0)
		sum->value += value;
	return 0;
}

uint64_t mr_bench_engine_counter(const struct mr_bench_engine *engine, const char *name)
{
	struct sum sum = {.name = name};
	char path[PATH_BYTES + 16];

	snprintf(path, sizeof(path), "%s/counters", engine->directory);
	if (mr_counters_read(path, add_counter, &sum, NULL) < 0)
		return 0; /* a figure that is plainly wrong; the engine is most likely gone */
	return sum.value;
}

struct mr_connection *mr_bench_engine_connect(const struct mr_bench_engine *engine,
					      struct mr_error *err)
{
	struct mr_connect_options options = {
		.size = sizeof(options),
		.socket_path = engine->socket,
		.client_name = "millrace bench",
	};
	struct mr_connection *connection;

	return mr_connect(&options, &connection, err) == 0 ? connection : NULL;
}
