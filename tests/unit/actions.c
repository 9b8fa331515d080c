/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a command gets the alert and nothing of the engine's; whatever it does, the
 * engine goes on, counts it, and leaves nothing of it behind; a webhook is a POST, and only 2xx is
 * success.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actions.h"

static struct mr_actions *actions;
static struct mr_actions_counters counters;
static char directory[] = "/tmp/millrace-actions-XXXXXX";

static void open_actions(int64_t timeout_ms)
{
	struct mr_error err = {0};

	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(mr_actions_open(&mr_clock_system, timeout_ms, &actions, &err), 0, "%s",
		     err.what);
}

static void close_actions(void)
{
	char command[128];

	mr_actions_close(actions);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	cr_assert_eq(system(command), 0);
}

static int run(enum mr_action_kind kind, const char *target)
{
	static const char *const variables[] = {"MILLRACE_KEY=press 9", NULL};
	struct mr_action action = {.kind = kind,
				   .target = target,
				   .body = "{\"alert\":\"hot\"}",
				   .body_bytes = 15,
				   .variables = variables};

	return mr_actions_start(actions, &action);
}

static void wait_for_all(void)
{
	for (int i = 0; i < 200 && mr_actions_wait(actions, 100); i++)
		;
	mr_actions_counters(actions, &counters);
}

static void expect_failure(const char *words)
{
	cr_assert_eq(counters.failed, 1);
	cr_assert_eq(counters.done, 0);
	cr_assert(strstr(mr_actions_last_failure(actions), words), "%s",
		  mr_actions_last_failure(actions));
}

static void read_back(const char *name, char *text, size_t room)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY);
	cr_assert_geq(fd, 0, "%s", path);
	n = read(fd, text, room - 1);
	cr_assert_geq(n, 0);
	text[n] = '\0';
	close(fd);
}

/* ---- commands ----------------------------------------------------------------------------------
 */

Test(actions, a_command_gets_the_alert_its_variables_and_nothing_else, .timeout = 60)
{
	char command[256], text[4096];
	const char *ignored;

	open_actions(10000);
	setenv("SECRET_OF_THE_ENGINE", "x", 1);
	snprintf(command, sizeof(command),
		 "sh -c 'cat > %s/body; env > %s/env; ls /proc/self/fd "
		 "> %s/fds; kill -l 13 > /dev/null; grep -E \"^Sig(Blk|Ign)\" /proc/self/status "
		 "> %s/signals'",
		 directory, directory, directory, directory);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(run(MR_ACTION_EXEC, command), 0);
	wait_for_all();
	cr_assert_eq(counters.done, 1, "%s", mr_actions_last_failure(actions));
	read_back("body", text, sizeof(text));
	cr_assert_str_eq(text, "{\"alert\":\"hot\"}");
	read_back("env", text, sizeof(text));
	cr_assert(strstr(text, "MILLRACE_KEY=press 9\n"), "%s", text);
	cr_assert(strstr(text, "PATH="), "%s", text);
	cr_assert(!strstr(text, "SECRET"), "%s", text);
	read_back("signals", text, sizeof(text));
	cr_assert(strstr(text, "SigBlk:\t0000000000000000"), "%s", text);
	ignored = strstr(text, "SigIgn:");
	cr_assert_not_null(ignored, "%s", text);
	cr_assert_eq(strtoull(ignored + strlen("SigIgn:"), NULL, 16) >> (SIGPIPE - 1) & 1, 0, "%s",
		     text);
	close_actions();
}

Test(actions, words_are_words_and_no_shell_looks_at_them, .timeout = 60)
{
	char command[256], text[256];

	open_actions(10000);
	snprintf(command, sizeof(command), "sh -c 'printf %%s \"$1\" > %s/word' sh '$(id); *'",
		 directory);
	cr_assert_eq(run(MR_ACTION_EXEC, command), 0);
	wait_for_all();
	read_back("word", text, sizeof(text));
	cr_assert_str_eq(text, "$(id); *");
	close_actions();
}

/* The engine's own output is for people, and may be a pipe that nobody reads. */
Test(actions, what_a_command_says_is_thrown_away, .timeout = 60)
{
	int ours[2];
	char text[8];

	open_actions(10000);
	cr_assert_eq(pipe(ours), 0);
	cr_assert_geq(fcntl(ours[0], F_SETFL, O_NONBLOCK), 0);
	cr_assert_geq(dup2(ours[1], STDOUT_FILENO), 0);
	cr_assert_geq(dup2(ours[1], STDERR_FILENO), 0);
	cr_assert_eq(run(MR_ACTION_EXEC, "sh -c 'echo loud; echo louder >&2'"), 0);
	wait_for_all();
	cr_assert_eq(counters.done, 1, "%s", mr_actions_last_failure(actions));
	cr_expect_lt(read(ours[0], text, sizeof(text)), 0);
	close_actions();
}

Test(actions, a_command_that_fails_is_counted_and_named, .timeout = 60)
{
	open_actions(10000);
	cr_assert_eq(run(MR_ACTION_EXEC, "sh -c 'exit 3'"), 0);
	wait_for_all();
	expect_failure("'sh -c 'exit 3'': ended with status 3");
	close_actions();
}

Test(actions, a_command_that_dies_is_counted_and_named, .timeout = 60)
{
	open_actions(10000);
	cr_assert_eq(run(MR_ACTION_EXEC, "sh -c 'kill -9 $$'"), 0);
	wait_for_all();
	expect_failure("was ended by signal 9");
	close_actions();
}

Test(actions, a_command_that_is_not_there_is_counted_and_named, .timeout = 60)
{
	open_actions(10000);
	cr_assert_eq(run(MR_ACTION_EXEC, "/no/such/command"), 0);
	wait_for_all();
	expect_failure("'/no/such/command': No such file or directory");
	close_actions();
}

Test(actions, a_command_that_hangs_is_killed_with_its_children, .timeout = 60)
{
	char command[256], text[64];
	pid_t child;

	open_actions(500);
	snprintf(command, sizeof(command), "sh -c 'sleep 300 & echo $! > %s/pid; wait'", directory);
	cr_assert_eq(run(MR_ACTION_EXEC, command), 0);
	wait_for_all();
	expect_failure("was not done in time, and was killed");
	cr_assert_eq(counters.timed_out, 1);
	read_back("pid", text, sizeof(text));
	child = (pid_t)strtol(text, NULL, 10);
	cr_assert_gt(child, 1);
	for (int i = 0; i < 100 && kill(child, 0) == 0; i++) {
		char path[64], state[256] = "";
		FILE *file;

		/* whoever took the orphan may not have reaped it yet */
		snprintf(path, sizeof(path), "/proc/%d/stat", child);
		file = fopen(path, "r");
		if (file && !fgets(state, sizeof(state), file))
			state[0] = '\0';
		if (file)
			fclose(file);
		if (strstr(state, ") Z "))
			break;
		cr_assert_lt(i, 99, "the child is still there: %s", state);
		usleep(10000);
	}
	close_actions();
}

Test(actions, only_so_many_run_at_a_time_and_closing_ends_them, .timeout = 60)
{
	open_actions(60000);
	for (int i = 0; i < MR_ACTIONS_RUNNING_MAX; i++)
		cr_assert_eq(run(MR_ACTION_EXEC, "sleep 300"), 0);
	cr_assert_eq(run(MR_ACTION_EXEC, "sleep 300"), -EAGAIN);
	cr_assert_eq(mr_actions_wait(actions, 1), MR_ACTIONS_RUNNING_MAX);
	close_actions();
	cr_assert_eq(system("! pgrep -P $PPID sleep > /dev/null"), 0, "children are left");
}

static uint64_t now_ns;

static uint64_t fake_ns(const struct mr_clock *clock)
{
	return now_ns;
}

Test(actions, of_one_kind_one_in_so_long_is_done, .timeout = 60)
{
	static const struct mr_clock clock = {.monotonic_ns = fake_ns};
	struct mr_action action = {
		.kind = MR_ACTION_EXEC, .target = "true", .body = "", .limit = 7, .every_ms = 1000};
	struct mr_error err;

	now_ns = 5000000000;
	cr_assert_eq(mr_actions_open(&clock, 60000, &actions, &err), 0);
	mr_actions_start(actions, &action);
	now_ns += 999000000;
	mr_actions_start(actions, &action);
	action.limit = 8;
	mr_actions_start(actions, &action);
	action.limit = 7;
	now_ns += 1000000;
	mr_actions_start(actions, &action);
	wait_for_all();
	cr_assert_eq(counters.started, 3);
	cr_assert_eq(counters.limited, 1);
	cr_assert_eq(counters.done, 3);
	mr_actions_close(actions);
}

/* Told by a command, with the state's name in a variable; the test's clock stands still meanwhile.
 */
static void tell(uint64_t limit, uint32_t state)
{
	char variable[32], command[128];
	const char *const variables[] = {variable, NULL};
	struct mr_action action = {.kind = MR_ACTION_EXEC,
				   .target = command,
				   .body = "body",
				   .body_bytes = 4,
				   .variables = variables,
				   .limit = limit,
				   .state = state,
				   .every_ms = 1000};

	snprintf(variable, sizeof(variable), "STATE=%s", state ? "raised" : "cleared");
	snprintf(command, sizeof(command), "sh -c 'echo $STATE `cat` >> %s/told'", directory);
	cr_assert_eq(mr_actions_start(actions, &action), 0);
	wait_for_all();
}

static void expect_told(const char *words, uint64_t limited)
{
	char text[512];

	wait_for_all();
	read_back("told", text, sizeof(text));
	cr_assert_str_eq(text, words);
	cr_assert_eq(counters.limited, limited);
}

#define SECOND UINT64_C(1000000000)

Test(actions, nobody_is_left_with_a_state_that_is_over, .timeout = 60)
{
	static const struct mr_clock clock = {.monotonic_ns = fake_ns};
	struct mr_error err;

	now_ns = 5 * SECOND;
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(mr_actions_open(&clock, 60000, &actions, &err), 0);
	tell(7, 1);
	now_ns += SECOND / 10;
	tell(7, 0);
	expect_told("raised body\ncleared body\n", 0);
	now_ns += SECOND / 10;
	tell(7, 1); /* too soon, and it is what holds */
	expect_told("raised body\ncleared body\n", 0);
	now_ns += SECOND / 10;
	tell(7, 0); /* as was told last: there is nothing to say */
	tell(7, 1);
	tell(7, 1);
	expect_told("raised body\ncleared body\n", 3);
	now_ns += SECOND * 7 / 10 - 1;
	expect_told("raised body\ncleared body\n", 3);
	now_ns += 1;
	expect_told("raised body\ncleared body\nraised body\n", 3);
	tell(7, 0); /* too soon, and over before its time */
	tell(7, 1);
	now_ns += SECOND;
	tell(7, 0);
	expect_told("raised body\ncleared body\nraised body\ncleared body\n", 5);
	tell(7, 1);
	expect_told("raised body\ncleared body\nraised body\ncleared body\nraised body\n", 5);
	tell(7, 0);
	tell(7 + MR_ACTIONS_LIMITS,
	     1); /* takes its place: it is forgotten, and may go on at once */
	now_ns += SECOND;
	expect_told("raised body\ncleared body\nraised body\ncleared body\nraised body\n"
		    "raised body\n",
		    6);
	tell(7 + MR_ACTIONS_LIMITS, 0);
	tell(7 + MR_ACTIONS_LIMITS, 1);
	tell(7 + MR_ACTIONS_LIMITS, 0);
	close_actions(); /* with one that waits, or none: all memory is given back */
}

/* ---- webhooks ----------------------------------------------------------------------------------
 */

struct server {
	int listener;
	uint16_t port;
	const char *answer; /* NULL: it says nothing */
	char request[4096];
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *server = arg;
	int fd = accept(server->listener, NULL, NULL);
	size_t have = 0;

	while (fd >= 0 && have < sizeof(server->request) - 1) {
		ssize_t n = read(fd, server->request + have, sizeof(server->request) - 1 - have);

		if (n <= 0)
			break;
		have += (size_t)n;
		if (strstr(server->request, "{\"alert\":\"hot\"}"))
			break;
	}
	if (server->answer)
		(void)send(fd, server->answer, strlen(server->answer),
			   MSG_NOSIGNAL); /* whoever asked may have heard enough */
	if (!server->answer)
		(void)!read(fd, server->request + have, 1); /* until the other side gives up */
	close(fd);
	return NULL;
}

static void start_server(struct server *server, const char *answer)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);

	memset(server, 0, sizeof(*server));
	server->answer = answer;
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(server->listener, 1), 0);
	getsockname(server->listener, (struct sockaddr *)&address, &bytes);
	server->port = ntohs(address.sin_port);
	cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void post(struct server *server, const char *answer, int64_t timeout_ms)
{
	char address[64];

	open_actions(timeout_ms);
	start_server(server, answer);
	snprintf(address, sizeof(address), "http://127.0.0.1:%u/hook?a=1", server->port);
	cr_assert_eq(run(MR_ACTION_WEBHOOK, address), 0);
	wait_for_all();
	cr_assert_eq(pthread_join(server->thread, NULL), 0);
	close(server->listener);
}

Test(actions, a_webhook_is_a_post_of_json, .timeout = 60)
{
	struct server server;

	post(&server, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 10000);
	cr_assert_eq(counters.done, 1, "%s", mr_actions_last_failure(actions));
	cr_assert_eq(strncmp(server.request, "POST /hook?a=1 HTTP/1.1\r\n", 25), 0, "%s",
		     server.request);
	cr_assert(strstr(server.request, "Content-Type: application/json\r\n"));
	cr_assert(strstr(server.request, "\r\n\r\n{\"alert\":\"hot\"}"));
	close_actions();
}

Test(actions, an_answer_that_is_not_2xx_is_a_failure_and_redirections_stay, .timeout = 60)
{
	struct server server;

	post(&server,
	     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"
	     "Connection: close\r\n\r\n",
	     10000);
	expect_failure("answered 302");
	close_actions();
}

/* Nobody reads it: a server that sends for ever is no reason to take it for ever. */
Test(actions, an_answer_without_end_is_not_taken, .timeout = 60)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
	static char answer[(1 << 20) + 4096];
	struct server server;

	memset(answer, 'x', sizeof(answer) - 1);
	memcpy(answer, head, sizeof(head) - 1);
	post(&server, answer, 10000);
	expect_failure("webhook 'http://127.0.0.1:");
	cr_expect_eq(counters.timed_out, 0);
	close_actions();
}

Test(actions, a_server_that_says_nothing_times_out, .timeout = 60)
{
	struct server server;

	post(&server, NULL, 300);
	expect_failure("webhook 'http://127.0.0.1:");
	cr_assert_eq(counters.timed_out, 1);
	close_actions();
}

Test(actions, nobody_there_and_other_protocols_are_failures, .timeout = 60)
{
	open_actions(10000);
	cr_assert_eq(run(MR_ACTION_WEBHOOK, "file:///etc/hostname"), 0);
	wait_for_all();
	expect_failure("webhook 'file:///etc/hostname': ");
	cr_assert_eq(run(MR_ACTION_WEBHOOK, "http://127.0.0.1:1/"), 0);
	wait_for_all();
	cr_assert_eq(counters.failed, 2);
	close_actions();
}
