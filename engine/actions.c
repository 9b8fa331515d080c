/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and webhooks of alerts (actions.h). All waiting is one call of curl_multi_poll(), which
 * watches the commands' pidfds beside libcurl's own sockets.
 */
#include "actions.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "pipeline/rule.h"

#define ANSWER_MOST (1u << 20) /* bytes of an answer that are read, and thrown away */

struct action_run {
	bool used;
	enum mr_action_kind kind;
	uint64_t deadline_ns;
	char target[128]; /* its beginning, for sentences */
	pid_t pid;	  /* EXEC: also its group */
	int pidfd;
	CURL *curl; /* WEBHOOK */
	struct curl_slist *headers;
	size_t answer_bytes;
	char why[CURL_ERROR_SIZE];
};

/* Of one number. */
struct action_limit {
	uint64_t limit;
	uint64_t told_ns[2];	 /* by state; 0: never */
	uint32_t told;		 /* the state that was told last */
	struct mr_action *later; /* a copy: came too soon, and nothing else has been told since */
};

struct mr_actions {
	const struct mr_clock *clock;
	uint64_t timeout_ns;
	CURLM *multi;
	struct action_run runs[MR_ACTIONS_RUNNING_MAX];
	struct action_limit limits[MR_ACTIONS_LIMITS];
	uint32_t later_count;
	struct mr_actions_counters counters;
	char failure[512];
};

int mr_actions_open(const struct mr_clock *clock, int64_t timeout_ms, struct mr_actions **out,
		    struct mr_error *err)
{
	struct mr_actions *actions = calloc(1, sizeof(*actions));

	if (!actions)
		return mr_error_set(err, -ENOMEM, "no memory for actions");
	actions->clock = clock;
	actions->timeout_ns = (uint64_t)timeout_ms * 1000000;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		actions->multi = curl_multi_init();
	if (!actions->multi) {
		free(actions);
		return mr_error_set(err, -ENOMEM, "libcurl cannot be started");
	}
	*out = actions;
	return 0;
}

/* ---- how one ends ------------------------------------------------------------------------------
 */

static void forget(struct mr_actions *actions, struct action_run *run)
{
	if (run->kind == MR_ACTION_EXEC) {
		(void)close(run->pidfd); /* a pidfd: nothing can be lost */
	} else {
		curl_multi_remove_handle(actions->multi, run->curl);
		curl_easy_cleanup(run->curl);
		curl_slist_free_all(run->headers);
	}
	memset(run, 0, sizeof(*run));
}

static void fail(struct mr_actions *actions, enum mr_action_kind kind, const char *target,
		 const char *why)
{
	actions->counters.failed++;
	snprintf(actions->failure, sizeof(actions->failure), "%s '%.128s': %s",
		 kind == MR_ACTION_EXEC ? "command" : "webhook", target, why);
}

static void finish(struct mr_actions *actions, struct action_run *run, const char *why)
{
	if (why)
		fail(actions, run->kind, run->target, why);
	else
		actions->counters.done++;
	forget(actions, run);
}

/* The whole group goes, and the child is reaped: SIGKILL cannot be put off. */
static void kill_command(struct action_run *run)
{
	siginfo_t info;

	(void)kill(-run->pid, SIGKILL); /* -ESRCH: it has just ended */
	while (waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

static int open_body(const struct mr_action *action)
{
	const uint8_t *at = action->body;
	size_t left = action->body_bytes;
	int fd = memfd_create("millrace-alert", MFD_CLOEXEC);

	while (fd >= 0 && left) {
		ssize_t n = write(fd, at, left);

		if (n < 0) {
			(void)close(fd); /* memory: nothing can be lost */
			return -1;
		}
		at += n;
		left -= (size_t)n;
	}
	if (fd >= 0)
		(void)lseek(fd, 0, SEEK_SET); /* of a memfd: cannot fail */
	return fd;
}

/* PATH, and what was given. */
static void make_environment(const struct mr_action *action, char *path, size_t path_bytes,
			     char *environment[MR_ACTIONS_VARIABLES_MAX + 2])
{
	const char *value = getenv("PATH");
	uint32_t count = 0;

	snprintf(path, path_bytes, "PATH=%s", value ? value : "/usr/bin:/bin");
	environment[count++] = path;
	for (uint32_t i = 0;
	     action->variables && action->variables[i] && i < MR_ACTIONS_VARIABLES_MAX; i++)
		environment[count++] = (char *)action->variables[i];
	environment[count] = NULL;
}

/* 0 or an errno of posix_spawnp(). */
static int spawn(const struct mr_action *action, char *const words[], int body, pid_t *pid)
{
	char *environment[MR_ACTIONS_VARIABLES_MAX + 2];
	char path[4096];
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t all, none;
	int r;

	make_environment(action, path, sizeof(path), environment);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
					       POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setsigdefault(&how, &all);
	posix_spawn_file_actions_adddup2(&files, body, STDIN_FILENO);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(pid, words[0], &files, &how, words, environment);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	return r;
}

static const char *start_command(struct action_run *run, const struct mr_action *action)
{
	char buffer[MR_RULE_TEXT_MAX + 1];
	char *words[MR_RULE_EXEC_WORDS + 1];
	struct mr_error err;
	int body, r;

	if (mr_rule_words(action->target, buffer, words, &err) < 0)
		return "it is no command";
	body = open_body(action);
	if (body < 0)
		return "no memory for its input";
	r = spawn(action, words, body, &run->pid);
	(void)close(body); /* the child has its own */
	if (r)
		return strerrordesc_np(r);
	run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->pidfd < 0) {
		(void)kill(-run->pid, SIGKILL);
		(void)waitpid(run->pid, NULL, 0); /* killed: it ends */
		return "its end could not be watched";
	}
	return NULL;
}

static void look_at_command(struct mr_actions *actions, struct action_run *run)
{
	siginfo_t info = {0};
	char why[64];

	if (waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED | WNOHANG) < 0 || !info.si_pid)
		return;
	if (info.si_code == CLD_EXITED && info.si_status == 0) {
		finish(actions, run, NULL);
		return;
	}
	snprintf(why, sizeof(why),
		 info.si_code == CLD_EXITED ? "ended with status %d" : "was ended by signal %d",
		 info.si_status);
	finish(actions, run, why);
}

/* ---- webhooks ----------------------------------------------------------------------------------
 */

static size_t swallow(char *bytes, size_t size, size_t count, void *arg)
{
	struct action_run *run = arg;

	run->answer_bytes += size * count;
	return run->answer_bytes <= ANSWER_MOST ? size * count : 0;
}

static const char *start_webhook(struct mr_actions *actions, struct action_run *run,
				 const struct mr_action *action)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return "no memory";
	run->curl = curl;
	run->headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(curl, CURLOPT_URL, action->target);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, run->headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MR_VERSION);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)action->body_bytes);
	curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, action->body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(actions->timeout_ns / 1000000));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, run);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, run->why);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, run);
	if (curl_multi_add_handle(actions->multi, curl) == CURLM_OK)
		return NULL;
	curl_easy_cleanup(curl);
	curl_slist_free_all(run->headers);
	return "no memory";
}

static void end_webhook(struct mr_actions *actions, CURL *curl, CURLcode result)
{
	struct action_run *run = NULL;
	char text[CURL_ERROR_SIZE + 64];
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_PRIVATE, &run);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (result == CURLE_OK && status >= 200 && status < 300) {
		finish(actions, run, NULL);
		return;
	}
	if (result == CURLE_OPERATION_TIMEDOUT)
		actions->counters.timed_out++;
	if (result == CURLE_OK)
		snprintf(text, sizeof(text), "answered %ld", status);
	else
		snprintf(text, sizeof(text), "%s",
			 run->why[0] ? run->why : curl_easy_strerror(result));
	finish(actions, run, text);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static struct action_run *free_run(struct mr_actions *actions)
{
	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++)
		if (!actions->runs[i].used)
			return &actions->runs[i];
	return NULL;
}

static void start_in(struct mr_actions *actions, struct action_run *run,
		     const struct mr_action *action, uint64_t now)
{
	const char *why;

	memset(run, 0, sizeof(*run));
	run->kind = action->kind;
	run->deadline_ns = now + actions->timeout_ns;
	snprintf(run->target, sizeof(run->target), "%s", action->target);
	actions->counters.started++;
	why = action->kind == MR_ACTION_EXEC ? start_command(run, action)
					     : start_webhook(actions, run, action);
	if (why)
		fail(actions, action->kind, action->target, why);
	else
		run->used = true;
}

/* ---- what comes too soon -----------------------------------------------------------------------
 */

static void free_copy(struct mr_action *copy)
{
	free((char *)(uintptr_t)copy->target); /* ours since copy_action() */
	free((void *)(uintptr_t)copy->body);
	for (size_t i = 0; copy->variables && copy->variables[i]; i++)
		free((char *)(uintptr_t)copy->variables[i]);
	free((void *)(uintptr_t)copy->variables);
	free(copy);
}

/* NULL: no memory. */
static const char *const *copy_variables(const char *const *variables)
{
	const char **copy;
	size_t count = 0;

	while (variables && variables[count])
		count++;
	copy = calloc(count + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < count; i++)
		copy[i] = strdup(variables[i]); /* one for which there is no memory ends the list */
	return copy;
}

/* NULL: no memory. */
static struct mr_action *copy_action(const struct mr_action *action)
{
	struct mr_action *copy = malloc(sizeof(*copy));
	void *body;

	if (!copy)
		return NULL;
	*copy = *action;
	copy->target = strdup(action->target);
	copy->body = body = malloc(action->body_bytes + 1);
	copy->variables = copy_variables(action->variables);
	if (!copy->target || !body || !copy->variables) {
		free_copy(copy);
		return NULL;
	}
	memcpy(body, action->body, action->body_bytes);
	return copy;
}

static void drop_later(struct mr_actions *actions, struct action_limit *limit)
{
	if (!limit->later)
		return;
	free_copy(limit->later);
	limit->later = NULL;
	actions->later_count--;
	actions->counters.limited++;
}

/* Of those whose numbers share a place the newest is remembered. */
static struct action_limit *limit_of(struct mr_actions *actions, const struct mr_action *action)
{
	struct action_limit *limit = &actions->limits[action->limit % MR_ACTIONS_LIMITS];

	if (limit->limit != action->limit) {
		drop_later(actions, limit);
		*limit = (struct action_limit){.limit = action->limit};
	}
	return limit;
}

static bool is_too_soon(const struct action_limit *limit, const struct mr_action *action,
			uint64_t now)
{
	return limit->told_ns[action->state] &&
	       now - limit->told_ns[action->state] < (uint64_t)action->every_ms * 1000000;
}

static void keep_for_later(struct mr_actions *actions, struct action_limit *limit,
			   const struct mr_action *action)
{
	drop_later(actions, limit);
	if (limit->told != action->state)
		limit->later = copy_action(action);
	if (limit->later)
		actions->later_count++;
	else
		actions->counters.limited++;
}

static void note_told(struct action_limit *limit, uint32_t state, uint64_t now)
{
	limit->told = state;
	limit->told_ns[state] = now;
}

static void start_due(struct mr_actions *actions, uint64_t now)
{
	for (size_t i = 0; actions->later_count && i < MR_ACTIONS_LIMITS; i++) {
		struct action_limit *limit = &actions->limits[i];
		struct action_run *run;

		if (!limit->later || is_too_soon(limit, limit->later, now))
			continue;
		run = free_run(actions);
		if (!run)
			return;
		start_in(actions, run, limit->later, now);
		note_told(limit, limit->later->state, now);
		free_copy(limit->later);
		limit->later = NULL;
		actions->later_count--;
	}
}

int mr_actions_start(struct mr_actions *actions, const struct mr_action *action)
{
	struct action_run *run = free_run(actions);
	uint64_t now = mr_clock_monotonic_ns(actions->clock);
	struct action_limit *limit;

	mr_assert(action->state < 2);
	if (!run)
		return -EAGAIN;
	if (action->every_ms <= 0) {
		start_in(actions, run, action, now);
		return 0;
	}
	limit = limit_of(actions, action);
	if (is_too_soon(limit, action, now)) {
		keep_for_later(actions, limit, action);
		return 0;
	}
	drop_later(actions, limit);
	start_in(actions, run, action, now);
	note_told(limit, action->state, now);
	return 0;
}

void mr_actions_close(struct mr_actions *actions)
{
	if (!actions)
		return;
	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++) {
		struct action_run *run = &actions->runs[i];

		if (!run->used)
			continue;
		if (run->kind == MR_ACTION_EXEC)
			kill_command(run);
		forget(actions, run);
	}
	for (size_t i = 0; i < MR_ACTIONS_LIMITS; i++)
		if (actions->limits[i].later)
			free_copy(actions->limits[i].later);
	curl_multi_cleanup(actions->multi);
	free(actions);
}

static void look(struct mr_actions *actions, uint64_t now)
{
	struct CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(actions->multi, &left)))
		if (message->msg == CURLMSG_DONE)
			end_webhook(actions, message->easy_handle, message->data.result);
	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++) {
		struct action_run *run = &actions->runs[i];

		if (!run->used || run->kind != MR_ACTION_EXEC)
			continue;
		look_at_command(actions, run);
		if (!run->used || now < run->deadline_ns)
			continue;
		kill_command(run);
		actions->counters.timed_out++;
		finish(actions, run, "was not done in time, and was killed");
	}
}

static uint32_t count_runs(const struct mr_actions *actions)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++)
		count += actions->runs[i].used;
	return count;
}

/* Not beyond the next command's deadline. */
static int poll_ms(const struct mr_actions *actions, uint64_t now, uint32_t timeout_ms)
{
	uint64_t least = (uint64_t)timeout_ms * 1000000;

	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++) {
		const struct action_run *run = &actions->runs[i];
		uint64_t left;

		if (!run->used)
			continue;
		left = run->deadline_ns > now ? run->deadline_ns - now : 0;
		if (left < least)
			least = left;
	}
	return (int)((least + 999999) / 1000000);
}

uint32_t mr_actions_wait(struct mr_actions *actions, uint32_t timeout_ms)
{
	struct curl_waitfd fds[MR_ACTIONS_RUNNING_MAX];
	uint32_t count = 0;
	int running;

	start_due(actions, mr_clock_monotonic_ns(actions->clock));
	(void)curl_multi_perform(actions->multi, &running); /* each tells its own failure */
	look(actions, mr_clock_monotonic_ns(actions->clock));
	if (!count_runs(actions))
		return 0;
	for (uint32_t i = 0; i < MR_ACTIONS_RUNNING_MAX; i++)
		if (actions->runs[i].used && actions->runs[i].kind == MR_ACTION_EXEC)
			fds[count++] = (struct curl_waitfd){.fd = actions->runs[i].pidfd,
							    .events = CURL_WAIT_POLLIN};
	(void)curl_multi_poll(actions->multi, fds, count,
			      poll_ms(actions, mr_clock_monotonic_ns(actions->clock), timeout_ms),
			      NULL);
	(void)curl_multi_perform(actions->multi, &running);
	look(actions, mr_clock_monotonic_ns(actions->clock));
	return count_runs(actions);
}

void mr_actions_counters(const struct mr_actions *actions, struct mr_actions_counters *out)
{
	*out = actions->counters;
}

const char *mr_actions_last_failure(const struct mr_actions *actions)
{
	return actions->failure;
}
