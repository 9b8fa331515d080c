/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs questions. Two processes:
 *
 *	millrace bench ──fork──► the question: jitter probe, samples, figures
 *	   makes the directory,      └──fork──► engines, loads
 *	   waits, removes it
 *
 * All that the second starts is of its process group and dies with it; whatever a question is doing
 * when Ctrl-C comes, and however it ends, the first kills the group, waits until nothing of it is
 * left, and removes the directory. One thread.
 */
#include "run.h"

#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "jitter.h"

#define REAP_STEP_NS  10000000
#define REAP_PATIENCE 2000 /* steps */

/* ---- what a question is told --------------------------------------------------------------- */

const char *mr_bench_data(const struct mr_bench_run *run)
{
	return run->data;
}

double mr_bench_seconds(const struct mr_bench_run *run, double otherwise)
{
	return run->seconds > 0 ? run->seconds : otherwise;
}

uint32_t mr_bench_cores(const struct mr_bench_run *run, uint32_t cores[], uint32_t max)
{
	uint32_t count = run->core_count < max ? run->core_count : max;

	memcpy(cores, run->cores, count * sizeof(*cores));
	return count;
}

int mr_bench_interrupt_core(const struct mr_bench_run *run)
{
	return run->machine.interrupt_core;
}

void mr_bench_progress(struct mr_bench_run *run, const char *format, ...)
{
	va_list args;

	if (!run->progress)
		return;
	fprintf(run->progress, "%s: ", run->question);
	va_start(args, format);
	vfprintf(run->progress, format, args);
	va_end(args);
	fprintf(run->progress, "\n");
	fflush(run->progress);
}

/* ---- in the question's process ------------------------------------------------------------- */

static void learn_cores(struct mr_bench_run *run)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return;
	for (uint32_t i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus))
			run->cores[run->core_count++] = i;
}

static int write_json(const struct mr_bench_run *run, FILE *out, struct mr_error *err)
{
	json_t *document = mr_bench_json(run);
	int r = document ? json_dumpf(document, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -1;

	json_decref(document);
	if (r < 0)
		return mr_error_set(err, -ENOMEM, "cannot write the figures of '%s' as JSON",
				    run->question);
	fputc('\n', out);
	return 0;
}

static int save_json(const struct mr_bench_run *run, const char *directory, struct mr_error *err)
{
	char path[PATH_MAX + 64];
	FILE *out;
	int r;

	snprintf(path, sizeof(path), "%s/%s.json", directory, run->question);
	out = fopen(path, "we");
	if (!out)
		return mr_error_set(err, -errno, "cannot write '%s'", path);
	r = write_json(run, out, err);
	if (fclose(out) != 0 && r == 0)
		r = mr_error_set(err, -errno, "cannot write '%s'", path);
	return r;
}

static int hand_out(const struct mr_bench_run *run, const struct mr_bench_options *options,
		    struct mr_error *err)
{
	int r = 0;

	if (run->no_memory)
		return mr_error_set(err, -ENOMEM, "no memory for a figure of '%s'", run->question);
	if (options->json)
		r = write_json(run, options->out, err);
	else
		mr_bench_table(run, options->out);
	if (r == 0 && options->save)
		r = save_json(run, options->save, err);
	if (r == 0 && fflush(options->out) != 0)
		r = mr_error_set(err, -errno, "cannot write the figures of '%s'", run->question);
	return r;
}

static int start_probe(struct mr_bench_run *run, struct mr_error *err)
{
	run->jitter = mr_jitter_new(run->cores, run->core_count);
	if (!run->jitter)
		return mr_error_set(err, -ENOMEM, "no memory for the jitter probe");
	return mr_jitter_start(run->jitter, err);
}

static int answer(const struct mr_bench_question *question, const struct mr_bench_options *options,
		  const char *data, struct mr_error *err)
{
	static struct mr_bench_run run; /* large, and only one */
	int r;

	run.question = question->name;
	run.seconds = options->seconds;
	run.progress = options->progress;
	snprintf(run.data, sizeof(run.data), "%s", data);
	learn_cores(&run);
	r = mr_bench_machine_learn(data, &run.machine, err);
	if (r == 0 && chdir(data) < 0) /* names of sockets are short then */
		r = mr_error_set(err, -errno, "cannot go into '%s'", data);
	if (r == 0)
		r = start_probe(&run, err);
	if (r == 0)
		r = question->run(&run, err);
	if (r == 0)
		r = hand_out(&run, options, err);
	mr_jitter_free(run.jitter);
	mr_bench_figures_free(&run);
	return r;
}

bool mr_bench_disturbed(const struct mr_bench_run *run, uint64_t mask, uint64_t from_ns,
			uint64_t to_ns)
{
	return run->jitter && mr_jitter_disturbed(run->jitter, mask, from_ns, to_ns);
}

void mr_bench_probe_pause(struct mr_bench_run *run)
{
	if (run->jitter)
		mr_jitter_stop(run->jitter);
}

int mr_bench_probe_resume(struct mr_bench_run *run, struct mr_error *err)
{
	return run->jitter ? mr_jitter_start(run->jitter, err) : 0;
}

/* ---- the two processes --------------------------------------------------------------------- */

/* What the question's process leaves behind; in memory that both have. */
struct outcome {
	bool written;
	int result;
	struct mr_error err;
};

struct watch {
	pid_t pid;
	struct outcome *outcome;
	sigset_t signals, before; /* blocked while we wait for them; the mask we found */
};

static void block_signals(struct watch *watch)
{
	struct sigaction normal = {.sa_handler = SIG_DFL};

	sigaction(SIGCHLD, &normal, NULL); /* ignored, it would reap for us */
	sigemptyset(&watch->signals);
	sigaddset(&watch->signals, SIGINT);
	sigaddset(&watch->signals, SIGTERM);
	sigaddset(&watch->signals, SIGHUP);
	sigaddset(&watch->signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &watch->signals, &watch->before);
}

static void be_the_question(const struct mr_bench_question *question,
			    const struct mr_bench_options *options, const char *data,
			    struct outcome *outcome, pid_t parent)
{
	struct sigaction ignored = {.sa_handler = SIG_IGN};
	sigset_t none;

	(void)setpgid(0, 0); /* of a child just born: cannot fail */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigaction(SIGTTOU, &ignored, NULL); /* it is no more the terminal's foreground */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	outcome->result = answer(question, options, data, &outcome->err);
	outcome->written = true;
	_exit(0);
}

/* Kills the group until nothing of it is left. True when nothing is. */
static bool end_group(pid_t group)
{
	for (int i = 0; i < REAP_PATIENCE; i++) {
		struct timespec step = {.tv_nsec = REAP_STEP_NS};
		pid_t reaped;

		(void)kill(-group, SIGKILL); /* fails once it is empty */
		do
			reaped = waitpid(-1, NULL, WNOHANG);
		while (reaped > 0);
		if (reaped < 0 && errno == ECHILD)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

/*
 * Until the question ended (0 or what it said) or a signal asks for the end (-EINTR). A
 * long-running one is told of the first Ctrl-C, and says what it has so far.
 */
static int wait_for(struct watch *watch, const char *question, bool long_running,
		    struct mr_error *err)
{
	int status = 0, got;

	do {
		got = sigwaitinfo(&watch->signals, NULL);
		if (got == SIGINT && long_running) {
			(void)kill(watch->pid, SIGINT); /* it may just have ended */
			long_running = false;
			continue;
		}
		if (got == SIGINT || got == SIGTERM || got == SIGHUP)
			return mr_error_set(err, -EINTR, "'%s' was stopped", question);
	} while (waitpid(watch->pid, &status, WNOHANG) != watch->pid);
	if (!watch->outcome->written)
		return mr_error_set(err, -ECHILD, "'%s' ended without a word, by %s %d", question,
				    WIFSIGNALED(status) ? "signal" : "exit code",
				    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (watch->outcome->result < 0 && err)
		*err = watch->outcome->err;
	return watch->outcome->result;
}

static int run_apart(const struct mr_bench_question *question,
		     const struct mr_bench_options *options, const char *data, struct mr_error *err)
{
	struct watch watch = {0};
	pid_t self = getpid();
	int r;

	watch.outcome = mmap(NULL, sizeof(*watch.outcome), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (watch.outcome == MAP_FAILED)
		return mr_error_set(err, -ENOMEM, "no memory for the outcome of '%s'",
				    question->name);
	block_signals(&watch);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(NULL); /* else the child would write it again */
	watch.pid = fork();
	if (watch.pid == 0)
		be_the_question(question, options, data, watch.outcome, self);
	if (watch.pid < 0) {
		r = mr_error_set(err, -errno, "cannot start the question '%s'", question->name);
	} else {
		(void)setpgid(watch.pid, watch.pid); /* either of us is first */
		r = wait_for(&watch, question->name, question->long_running, err);
		if (!end_group(watch.pid) && r == 0)
			r = mr_error_set(err, -EBUSY, "processes of '%s' do not end",
					 question->name);
	}
	sigprocmask(SIG_SETMASK, &watch.before, NULL);
	munmap(watch.outcome, sizeof(*watch.outcome));
	return r;
}

/* ---- the directory ------------------------------------------------------------------------- */

static int check_space(const struct mr_bench_question *question, const char *data,
		       struct mr_error *err)
{
	struct statvfs disk;
	uint64_t free_bytes;

	if (statvfs(data, &disk) < 0)
		return mr_error_set(err, -errno, "cannot ask for the room in '%s'", data);
	free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	if (free_bytes >= question->free_bytes)
		return 0;
	mr_error_set(err, -ENOSPC, "'%s' has %.1f GiB free, the question '%s' needs %.1f GiB", data,
		     (double)free_bytes / (1 << 30), question->name,
		     (double)question->free_bytes / (1 << 30));
	mr_error_why(err, "a log is filled there as long as it takes to reach a steady state");
	return mr_error_hint(err, "make room, or name a larger disk with --data DIR");
}

/* A warning and no refusal: whether it answers can be tried there, too. */
static void check_disk(const struct mr_bench_question *question, const char *data)
{
	struct statfs found;

	if (question->free_bytes == 0 || statfs(data, &found) < 0)
		return;
	if (found.f_type == TMPFS_MAGIC || found.f_type == RAMFS_MAGIC)
		mr_diag_warn("this directory is memory, no disk: what is said of durable records "
			     "and of reading them means nothing",
			     "directory=%s do=\"name a directory on a disk with --data\"", data);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	return remove(path);
}

/* Only what mkdtemp() made for us, and nothing through a link. */
static int remove_directory(const char *path, struct mr_error *err)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
		return 0;
	mr_error_set(err, -errno, "cannot remove '%s'", path);
	return mr_error_hint(err, "remove it by hand: nothing uses it any more");
}

static int run_one(const struct mr_bench_question *question, const struct mr_bench_options *options,
		   const char *parent, struct mr_error *err)
{
	char data[PATH_MAX + 32];
	struct mr_error trouble = {0};
	int r = check_space(question, parent, err);

	if (r < 0)
		return r;
	check_disk(question, parent);
	snprintf(data, sizeof(data), "%s/millrace-bench-XXXXXX", parent);
	if (!mkdtemp(data)) {
		mr_error_set(err, -errno, "cannot make a directory in '%s'", parent);
		return mr_error_hint(err, "name a directory that you may write with --data DIR");
	}
	r = run_apart(question, options, data, err);
	if (remove_directory(data, &trouble) < 0) {
		if (r < 0)
			mr_diag_error(&trouble);
		else if (err)
			*err = trouble;
		r = r < 0 ? r : trouble.code;
	}
	return r;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static int check_options(const struct mr_bench_options *options, struct mr_error *err)
{
	if (strcmp(options->question, "all") != 0 && !mr_bench_find(options->question)) {
		mr_error_set(err, -EINVAL, "there is no question '%s'", options->question);
		return mr_error_hint(err, "'millrace bench --help' lists the questions");
	}
	if (!(options->seconds >= 0) || !isfinite(options->seconds)) {
		mr_error_set(err, -EINVAL, "%g s is no time for a sample", options->seconds);
		return mr_error_hint(err, "give more than 0 seconds, or none");
	}
	return 0;
}

static int find_directory(const char *name, char path[PATH_MAX], struct mr_error *err)
{
	struct stat status;

	if (!realpath(name, path) || stat(path, &status) < 0)
		mr_error_set(err, -errno, "cannot use the directory '%s'", name);
	else if (!S_ISDIR(status.st_mode))
		mr_error_set(err, -ENOTDIR, "'%s' is no directory", name);
	else if (access(path, W_OK | X_OK) < 0)
		mr_error_set(err, -errno, "cannot write into '%s'", name);
	else
		return 0;
	return mr_error_hint(err, "name a directory that is there and that you may write");
}

static int run_all(const struct mr_bench_options *options, const char *parent, struct mr_error *err)
{
	uint32_t asked = 0, failed = 0;

	for (size_t i = 0; i < mr_bench_question_count; i++) {
		struct mr_error one = {0};
		int r;

		if (mr_bench_questions[i].long_running)
			continue;
		asked++;
		r = run_one(&mr_bench_questions[i], options, parent, &one);
		if (r == -EINTR) {
			*err = one;
			return r;
		}
		if (r < 0) {
			failed++;
			mr_diag_error(&one);
		}
	}
	if (failed == 0)
		return 0;
	return mr_error_set(err, -ENODATA, "%u of %u questions have no answer", failed, asked);
}

/*
 * A name that one process of this host can have, and that goes with it. It is no lock: who wants
 * two at once, as tests do, may.
 */
static int say_we_measure(void)
{
	static const char name[] = "\0millrace-bench";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t bytes = offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, name, sizeof(name) - 1);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) < 0 && errno == EADDRINUSE)
		mr_diag_warn("another millrace bench runs on this machine: each is disturbed by "
			     "the other",
			     "");
	return fd;
}

static int run_asked(const struct mr_bench_options *options, const char *parent,
		     struct mr_error *err)
{
	int claim = say_we_measure();
	int r = strcmp(options->question, "all") == 0
			? run_all(options, parent, err)
			: run_one(mr_bench_find(options->question), options, parent, err);

	if (claim >= 0)
		(void)close(claim); /* nothing was sent */
	return r;
}

int mr_bench_main(const struct mr_bench_options *options, struct mr_error *err)
{
	struct mr_bench_options settled = *options;
	char parent[PATH_MAX], save[PATH_MAX];
	struct mr_error scratch;
	int r;

	if (!err)
		err = &scratch;
	r = check_options(options, err);
	if (r == 0)
		r = find_directory(options->data ? options->data : ".", parent, err);
	if (r == 0 && options->save) {
		(void)mkdir(options->save, 0777); /* it may be there; looked at next */
		r = find_directory(options->save, save, err);
		settled.save = save;
	}
	return r < 0 ? r : run_asked(&settled, parent, err);
}
