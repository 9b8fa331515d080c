/* SPDX-License-Identifier: Apache-2.0 */
/* An engine in a process of its own, to be killed (torture.h). */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "counters.h"
#include "engine.h"
#include "torture.h"

#define OPTIONS_MAX 24

static const char *const *options_of_all; /* of the one engine that a program has */

void torture_engine_init(struct torture_engine *engine, const char *name,
			 const char *const *options)
{
	char path[128];

	memset(engine, 0, sizeof(*engine));
	options_of_all = options;
	snprintf(engine->directory, sizeof(engine->directory), "torture-%s-XXXXXX", name);
	if (!mkdtemp(engine->directory))
		torture_die("cannot make '%s': %s", engine->directory, strerror(errno));
	snprintf(engine->socket, sizeof(engine->socket), "%s/sock", engine->directory);
	snprintf(path, sizeof(path), "%s/messages", engine->directory);
	engine->messages_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (engine->messages_fd < 0)
		torture_die("cannot make '%s': %s", path, strerror(errno));
	engine->ready_fd = -1;
}

void torture_engine_start(struct torture_engine *engine)
{
	const char *words[OPTIONS_MAX + 5] = {"engine", engine->directory};
	char ready[16], messages[16];
	int ends[2], messages_fd = dup(engine->messages_fd), i;

	if (pipe(ends) < 0 || messages_fd < 0)
		torture_die("no descriptors: %s", strerror(errno));
	snprintf(ready, sizeof(ready), "%d", ends[1]);
	snprintf(messages, sizeof(messages), "%d", messages_fd);
	words[2] = ready;
	words[3] = messages;
	for (i = 0; options_of_all[i] && i < OPTIONS_MAX; i++)
		words[4 + i] = options_of_all[i];
	(void)fcntl(ends[0], F_SETFD, FD_CLOEXEC); /* cannot fail on an open descriptor */
	if (engine->ready_fd >= 0)
		(void)close(engine->ready_fd); /* of the one before */
	engine->ready_fd = ends[0];
	engine->ready = false;
	engine->started_us = torture_now_us();
	engine->starts++;
	engine->pid = torture_spawn(words);
	(void)close(ends[1]);	  /* the child's */
	(void)close(messages_fd); /* the child's */
}

/* The last lines that the engine said, so that a failed run explains itself. */
static void show_messages(const struct torture_engine *engine)
{
	char path[128], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/messages", engine->directory);
	file = fopen(path, "r");
	if (!file)
		return;
	(void)fseek(file, -4000, SEEK_END); /* a short file is shown from its start */
	while (fgets(line, sizeof(line), file))
		printf("engine: %s", line);
	(void)fclose(file); /* was read only */
}

bool torture_engine_ready(struct torture_engine *engine, uint32_t timeout_ms)
{
	struct pollfd ready = {.fd = engine->ready_fd, .events = POLLIN};
	char byte;
	int status;

	if (engine->ready)
		return true;
	if (poll(&ready, 1, (int)timeout_ms) != 1)
		return false;
	if (read(engine->ready_fd, &byte, 1) == 1) {
		engine->ready = true;
		engine->ready_us = (uint32_t)(torture_now_us() - engine->started_us);
		engine->all_ready_us += engine->ready_us;
		engine->readies++;
		return true;
	}
	(void)torture_kill(engine->pid, &status); /* it closed the pipe: it is ending */
	show_messages(engine);
	torture_die("start %u of the engine %s (data left in %s)", engine->starts,
		    torture_status_text(status), engine->directory);
}

void torture_engine_kill(struct torture_engine *engine)
{
	int status;

	if (torture_kill(engine->pid, &status))
		return;
	show_messages(engine);
	torture_die("start %u of the engine %s by itself (data left in %s)", engine->starts,
		    torture_status_text(status), engine->directory);
}

int torture_engine_stop(struct torture_engine *engine, uint32_t timeout_ms)
{
	int code;

	if (kill(engine->pid, SIGTERM) < 0)
		torture_die("cannot end the engine: %s", strerror(errno));
	code = torture_wait(engine->pid, timeout_ms);
	if (code != 0)
		show_messages(engine);
	return code;
}

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *at)
{
	return remove(path);
}

void torture_engine_clean(struct torture_engine *engine)
{
	if (torture_failed()) {
		show_messages(engine);
		printf("data left in %s\n", engine->directory);
		return;
	}
	(void)nftw(engine->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* litter only */
}

/* ---- the role -------------------------------------------------------------------------------- */

static struct mr_engine *serving; /* for the handler: set before the signal is let through */

static void on_signal(int number)
{
	mr_engine_stop(serving);
}

static void set_option(struct mr_config *config, const char *word)
{
	const char *value = strchr(word, '=');
	struct mr_error err;
	char name[64];

	if (!value || (size_t)(value - word) >= sizeof(name))
		torture_die("'%s' is no option", word);
	memcpy(name, word, (size_t)(value - word));
	name[value - word] = '\0';
	if (mr_config_set(config, name, value + 1, &err) < 0)
		torture_die("%s", err.what);
}

static int descriptor(const char *word)
{
	return (int)strtol(word, NULL, 10);
}

/* engine DIRECTORY READY_FD MESSAGES_FD OPTION... */
void torture_engine_main(int count, char **words)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct mr_engine_options options = {0};
	struct mr_config config;
	struct mr_error err = {0};
	int ready_fd = descriptor(words[2]), i, r;

	(void)dup2(descriptor(words[3]), STDERR_FILENO); /* else it says less */
	(void)close(descriptor(words[3]));		 /* has its place now */
	mr_config_defaults(&config);
	snprintf(config.data, sizeof(config.data), "%s/data", words[1]);
	snprintf(config.socket, sizeof(config.socket), "%s/sock", words[1]);
	for (i = 4; i < count; i++)
		set_option(&config, words[i]);
	if (mr_config_check(&config, &err) < 0)
		torture_die("%s", err.what);
	options.config = &config;
	r = mr_engine_open(&options, &serving, &err);
	if (r < 0) {
		mr_diag_error(&err);
		exit(3);
	}
	(void)sigaction(SIGTERM, &action, NULL); /* cannot fail with these arguments */
	if (write(ready_fd, "r", 1) != 1)
		exit(4);
	(void)close(ready_fd); /* said */
	r = mr_engine_run(serving);
	(void)signal(SIGTERM, SIG_IGN); /* the engine is going already */
	mr_engine_close(serving);
	mr_config_deinit(&config);
	exit(r < 0 ? 4 : 0);
}

/* ---- counters -------------------------------------------------------------------------------- */

struct sum {
	const char *ending;
	uint64_t value;
};

static int add_counter(const char *name, enum mr_counter_kind kind, uint64_t value, void *arg)
{
	const char *last = strrchr(name, '.');
	struct sum *sum = arg;

	if (last && strcmp(last + 1, sum->ending) == 0)
		sum->value += value;
	return 0;
}

uint64_t torture_counter(const struct torture_engine *engine, const char *ending)
{
	struct sum sum = {.ending = ending};
	char path[128];

	snprintf(path, sizeof(path), "%s/data/counters", engine->directory);
	(void)mr_counters_read(path, add_counter, &sum, NULL); /* none yet: 0 */
	return sum.value;
}
