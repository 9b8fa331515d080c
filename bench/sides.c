/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes on two cores (sides.h). */
#include "sides.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "now.h"

#define PATIENCE_NS 10000000000u
#define PAUSE_NS    1000000u

static void pause_a_little(void)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS};

	(void)nanosleep(&pause, NULL); /* a signal only shortens it */
}

static int pin(int core)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)core, &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) < 0 ? -errno : 0;
}

void mr_sides_say_ready(struct mr_sides_page *page)
{
	atomic_store(&page->ready, 1);
}

int mr_sides_wait_ready(struct mr_sides_page *page, struct mr_error *err)
{
	uint64_t until_ns = mr_bench_now_ns() + PATIENCE_NS;

	while (!atomic_load(&page->ready)) {
		if (mr_bench_now_ns() > until_ns)
			return mr_error_set(err, -ETIMEDOUT,
					    "the other side of a measurement did not begin");
		sched_yield();
	}
	return 0;
}

__attribute__((noreturn)) static void run_there(const struct mr_sides *sides, void *shared,
						pid_t parent)
{
	int r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;

	if (r == 0 && getppid() != parent)
		r = -ESRCH; /* it went before we asked to go with it */
	if (r == 0)
		r = pin(sides->there_core);
	if (r == 0)
		r = sides->there(shared, sides->arg);
	_exit(r < 0 ? -r & 0x7f : 0);
}

/* Waits for the child's end, and kills it where it takes too long. */
static int end_child(pid_t child, struct mr_error *err)
{
	uint64_t until_ns = mr_bench_now_ns() + PATIENCE_NS;
	int status = 0;

	while (waitpid(child, &status, WNOHANG) == 0) {
		if (mr_bench_now_ns() > until_ns)
			(void)kill(child, SIGKILL); /* our own child, not waited for yet */
		pause_a_little();
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status))
		return mr_error_set(err, -WEXITSTATUS(status),
				    "the other side of a measurement failed: %s",
				    strerror(WEXITSTATUS(status)));
	return mr_error_set(err, -EIO, "the other side of a measurement was ended by signal %d",
			    WTERMSIG(status));
}

static int run_both(const struct mr_sides *sides, void *shared, struct mr_error *err)
{
	struct mr_sides_page *page = shared;
	struct mr_error of_child = {0};
	pid_t parent = getpid(), child = fork();
	int r, there;

	if (child < 0)
		return mr_error_set(err, -errno, "cannot start a process: %s", strerror(errno));
	if (child == 0)
		run_there(sides, shared, parent);
	r = pin(sides->here_core);
	if (r < 0)
		mr_error_set(err, r, "cannot run on core %d: %s", sides->here_core, strerror(-r));
	if (r == 0)
		r = sides->here(shared, sides->arg, err);
	atomic_store(&page->stop, 1);
	there = end_child(child, &of_child);
	if (there < 0 && (r == 0 || r == -ETIMEDOUT)) { /* why it waited in vain */
		r = there;
		if (err)
			*err = of_child;
	}
	return r;
}

int mr_sides_run(const struct mr_sides *sides, struct mr_error *err)
{
	cpu_set_t before;
	void *shared;
	int r;

	if (sides->there_core < 0)
		return mr_error_set(err, -ENOTSUP, "two cores are needed for this measurement");
	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return mr_error_set(err, -errno, "cannot tell this thread's cores");
	shared = mmap(NULL, sides->shared_bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		return mr_error_set(err, -errno, "no memory for two processes: %s",
				    strerror(errno));
	r = run_both(sides, shared, err);
	(void)sched_setaffinity(0, sizeof(before), &before); /* was so */
	(void)munmap(shared, sides->shared_bytes);	     /* our own map */
	return r;
}
