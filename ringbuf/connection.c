/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the engine of this host. Any thread of the program may talk on it, one at a time.
 * One thread of its own, with all signals blocked, watches for the engine's end; then it connects
 * again, with back-off, on a socket that nobody else knows yet, and hands the lanes back. 'lock' is
 * held for moments only, so no user's thread ever waits for a conversation that the connection's
 * thread leads, and for another user's only as long as it said.
 */
#include "connection.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "deadline.h"
#include "doorbell.h"
#include "error.h"
#include "owner.h"

#define TIMEOUT_MS_DEFAULT 5000u
#define BACK_OFF_MS_FIRST  10u
#define BACK_OFF_MS_MOST   1000u
#define SETTLED_MS	   100u /* an engine that was there this long is asked at once again */
#define NOTICE_MS	   200u /* within this the thread has seen a hang-up */
#define ADMIN_BYTES_MAX	   (64u << 20)
#define PATH_BYTES	   108 /* of a socket's address */

struct mr_connection {
	struct mr_owner owner; /* the process only */
	char path[PATH_BYTES];
	char client_name[64];
	uint32_t timeout_ms;
	int wake; /* rung once: the thread ends */
	pthread_t thread;

	struct mr_conversation conversation; /* of whoever has set 'talking' */

	pthread_mutex_t lock;
	bool talking;
	pthread_cond_t quiet;	/* 'talking' is over */
	pthread_cond_t changed; /* 'up' or 'generation' */
	bool up;
	_Atomic uint64_t generation; /* written under 'lock' by the thread */
	struct mr_hello_reply engine;
	struct mr_error down; /* why there is no engine at the moment */
	struct mr_client_lane *lanes;
};

/* ---- whose turn it is to talk --------------------------------------------------------------- */

/* With 'lock' held. False when the deadline is over. */
static bool wait_for(struct mr_connection *connection, pthread_cond_t *condition, uint64_t deadline)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline / 1000000000u),
		.tv_nsec = (long)(deadline % 1000000000u),
	};

	if (deadline == MR_DEADLINE_NEVER)
		return pthread_cond_wait(condition, &connection->lock) == 0;
	return pthread_cond_timedwait(condition, &connection->lock, &until) == 0;
}

/* 0: the caller alone may use connection->conversation; -ETIMEDOUT. */
static int take_talk(struct mr_connection *connection, uint64_t deadline)
{
	int r = 0;

	pthread_mutex_lock(&connection->lock);
	while (connection->talking && r == 0)
		if (!wait_for(connection, &connection->quiet, deadline))
			r = -ETIMEDOUT;
	if (!connection->talking) {
		connection->talking = true;
		r = 0;
	}
	pthread_mutex_unlock(&connection->lock);
	return r;
}

static void leave_talk(struct mr_connection *connection)
{
	pthread_mutex_lock(&connection->lock);
	connection->talking = false;
	pthread_cond_signal(&connection->quiet);
	pthread_mutex_unlock(&connection->lock);
}

/* ---- hello --------------------------------------------------------------------------------------
 */

static int no_engine(const char *path, int code, struct mr_error *err)
{
	struct stat there;

	mr_error_set(err, code, "cannot reach an engine at '%s'", path);
	if (code == -ENOENT)
		mr_error_why(err, "there is no such socket");
	else if (code == -ECONNREFUSED && stat(path, &there) == 0 && !S_ISSOCK(there.st_mode))
		mr_error_why(err, "that is %s, and no socket",
			     S_ISDIR(there.st_mode) ? "a directory" : "a file");
	else if (code == -ECONNREFUSED)
		mr_error_why(err, "nobody listens there: the engine has stopped");
	else
		mr_error_why(err, "%s", strerror(-code));
	if (code == -EACCES)
		mr_error_hint(err,
			      "ask for access to that socket, or name another: MILLRACE_SOCKET");
	else
		mr_error_hint(err, "start one with 'millrace serve', or name it: MILLRACE_SOCKET");
	return code;
}

static int broken(int code, struct mr_error *err)
{
	switch (code) {
	case -ETIMEDOUT:
		mr_error_set(err, code, "the engine did not answer in time");
		break;
	case -EPIPE:
		mr_error_set(err, code, "the engine hung up");
		mr_error_hint(err, "is it still running? see its messages");
		break;
	case -EPROTO:
		mr_error_set(err, code, "the engine speaks another version of the protocol than %d",
			     MR_PROTOCOL_VERSION);
		mr_error_hint(err, "use the library that came with the engine");
		break;
	default:
		mr_error_set(err, code, "the conversation with the engine broke: %s",
			     strerror(-code));
	}
	return code;
}

static int say_hello(const struct mr_connection *connection, struct mr_conversation *conversation,
		     uint64_t deadline, struct mr_hello_reply *out, struct mr_error *err)
{
	struct mr_hello hello = {.format = MR_FORMAT_VERSION};
	struct mr_request request = {
		.type = MR_MESSAGE_HELLO, .body = &hello, .body_bytes = sizeof(hello)};
	struct mr_packet reply;
	int r;

	memcpy(hello.client_name, connection->client_name, sizeof(hello.client_name));
	r = mr_conversation_ask(conversation, &request, deadline, &reply);
	if (r < 0)
		return broken(r, err);
	r = mr_conversation_check(&reply, sizeof(*out), 0, err);
	if (r < 0)
		return r;
	memcpy(out, reply.body, sizeof(*out));
	out->engine_version[sizeof(out->engine_version) - 1] = '\0';
	return 0;
}

/* Connects and says hello; on success the caller owns conversation->socket. */
static int meet(const struct mr_connection *connection, uint64_t deadline,
		struct mr_conversation *conversation, struct mr_hello_reply *engine,
		struct mr_error *err)
{
	int r;

	conversation->socket = mr_conversation_connect(connection->path);
	if (conversation->socket < 0)
		return no_engine(connection->path, conversation->socket, err);
	r = say_hello(connection, conversation, deadline, engine, err);
	if (r < 0) {
		(void)close(conversation->socket); /* nobody else has it */
		conversation->socket = -1;
	}
	return r;
}

/* ---- the thread ---------------------------------------------------------------------------------
 */

/* Sleeps 'ms'; true if the connection ends. */
static bool rest(const struct mr_connection *connection, uint32_t ms)
{
	struct pollfd wake = {.fd = connection->wake, .events = POLLIN};

	return poll(&wake, 1, (int)ms) > 0;
}

/* Waits until the engine hangs up. False if the connection ends before. */
static bool watch(const struct mr_connection *connection, int socket)
{
	struct pollfd fds[2] = {
		{.fd = socket, .events = POLLRDHUP},
		{.fd = connection->wake, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) <= 0)
			continue; /* interrupted: nothing else can happen to two open descriptors */
		if (fds[1].revents)
			return false;
		if (fds[0].revents)
			return true;
	}
}

static void go_down(struct mr_connection *connection)
{
	uint64_t generation;

	(void)take_talk(connection,
			MR_DEADLINE_NEVER); /* who has it finds the hang-up and leaves */
	pthread_mutex_lock(&connection->lock);
	connection->up = false;
	generation = mr_connection_generation(connection) + 1;
	atomic_store_explicit(&connection->generation, generation, memory_order_release);
	mr_error_set(&connection->down, -EPIPE, "the engine hung up");
	pthread_cond_broadcast(&connection->changed);
	pthread_mutex_unlock(&connection->lock);
	(void)close(connection->conversation.socket); /* the other end is gone */
	connection->conversation.socket = -1;
	leave_talk(connection);
}

/* The next lane that this generation's engine does not have yet, with a reference; or NULL. */
static struct mr_client_lane *next_lane(struct mr_connection *connection)
{
	uint64_t generation = mr_connection_generation(connection);
	struct mr_client_lane *lane;

	pthread_mutex_lock(&connection->lock);
	for (lane = connection->lanes; lane; lane = lane->next)
		if (lane->generation != generation)
			break;
	if (lane)
		lane->references++;
	pthread_mutex_unlock(&connection->lock);
	return lane;
}

static void put_lane(struct mr_connection *connection, struct mr_client_lane *lane)
{
	bool last;

	pthread_mutex_lock(&connection->lock);
	last = --lane->references == 0;
	pthread_mutex_unlock(&connection->lock);
	if (last)
		mr_client_lane_free(lane);
}

/* The producer closed the lane while it was handed back. */
static int close_late(struct mr_conversation *conversation, uint64_t lane_id, uint64_t deadline)
{
	struct mr_lane_id body = {.lane = lane_id};
	struct mr_request request = {
		.type = MR_MESSAGE_CLOSE_LANE, .body = &body, .body_bytes = sizeof(body)};
	struct mr_packet reply;
	int r = mr_conversation_ask(conversation, &request, deadline, &reply);

	if (r == 0)
		mr_packet_close_fds(&reply);
	return r;
}

static int hand_back(struct mr_connection *connection, struct mr_client_lane *lane,
		     struct mr_conversation *conversation, bool same_log)
{
	uint64_t deadline = mr_deadline_after(connection->timeout_ms);
	struct mr_error other;
	uint64_t lane_id = MR_LANE_NONE;
	bool removed;
	int r = 0;

	if (same_log) {
		r = mr_client_lane_hand_back(lane, conversation, deadline, &lane_id);
	} else {
		mr_error_set(&other, -EPIPE, "the engine at '%s' serves another data directory now",
			     connection->path);
		mr_error_why(&other, "what was not acknowledged by the one before is lost");
		mr_error_hint(&other, "open the producer again");
		mr_client_lane_fail(lane, &other);
	}
	pthread_mutex_lock(&connection->lock);
	if (r == 0) {
		lane->lane = lane_id;
		lane->generation = mr_connection_generation(connection);
	}
	removed = lane->removed;
	pthread_mutex_unlock(&connection->lock);
	if (r == 0 && removed && lane_id != MR_LANE_NONE)
		r = close_late(conversation, lane_id, deadline);
	return r;
}

static void go_up(struct mr_connection *connection, const struct mr_conversation *conversation,
		  const struct mr_hello_reply *engine)
{
	(void)take_talk(connection, MR_DEADLINE_NEVER);
	connection->conversation = *conversation;
	connection->conversation.wake = -1;
	pthread_mutex_lock(&connection->lock);
	connection->engine = *engine;
	connection->up = true;
	pthread_cond_broadcast(&connection->changed);
	pthread_mutex_unlock(&connection->lock);
	leave_talk(connection);
}

/* One try to have an engine again, with all lanes. */
static int come_back(struct mr_connection *connection)
{
	struct mr_conversation conversation = {.socket = -1, .wake = connection->wake};
	struct mr_hello_reply engine;
	struct mr_client_lane *lane;
	struct mr_error err;
	bool same_log;
	int r = meet(connection, mr_deadline_after(connection->timeout_ms), &conversation, &engine,
		     &err);

	if (r < 0)
		goto fail;
	same_log = memcmp(engine.log_id, connection->engine.log_id, sizeof(engine.log_id)) == 0;
	while ((lane = next_lane(connection))) {
		r = hand_back(connection, lane, &conversation, same_log);
		put_lane(connection, lane);
		if (r < 0) {
			broken(r, &err);
			goto fail;
		}
	}
	go_up(connection, &conversation, &engine);
	return 0;
fail:
	if (conversation.socket >= 0)
		(void)close(conversation.socket); /* the next try makes another */
	pthread_mutex_lock(&connection->lock);
	connection->down = err;
	/* lanes that this try handed back are in no engine's hands: that of the hang-up takes them
	 * again */
	atomic_fetch_add_explicit(&connection->generation, 1, memory_order_release);
	pthread_mutex_unlock(&connection->lock);
	return r;
}

static void *run(void *arg)
{
	struct mr_connection *connection = arg;
	uint64_t settled = 0;

	while (watch(connection, connection->conversation.socket)) {
		/* an engine that takes us in only to hang up again is not asked anew at once */
		uint32_t back_off_ms = BACK_OFF_MS_FIRST;
		bool hasty = !mr_deadline_over(settled);

		go_down(connection);
		while (hasty || come_back(connection) < 0) {
			if (rest(connection, back_off_ms))
				return NULL;
			hasty = false;
			back_off_ms *= 2;
			if (back_off_ms > BACK_OFF_MS_MOST)
				back_off_ms = BACK_OFF_MS_MOST;
		}
		settled = mr_deadline_after(SETTLED_MS);
	}
	return NULL;
}

static int start_thread(struct mr_connection *connection, struct mr_error *err)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(
		SIG_SETMASK, &all,
		&before); /* the new thread inherits it: the program's signals are not ours */
	r = pthread_create(&connection->thread, NULL, run, connection);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return mr_error_set(err, -r, "cannot start the connection's thread: %s",
				    strerror(r));
	return 0;
}

/* ---- open and close
 * ------------------------------------------------------------------------------ */

static int init_locks(struct mr_connection *connection)
{
	pthread_condattr_t monotonic;
	int r = pthread_condattr_init(&monotonic);

	if (r != 0)
		return -r;
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&connection->lock, NULL);
	pthread_cond_init(&connection->changed, &monotonic);
	pthread_cond_init(&connection->quiet, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return 0;
}

static void free_connection(struct mr_connection *connection)
{
	if (connection->conversation.socket >= 0)
		(void)close(connection->conversation.socket); /* the engine learns of it by that */
	if (connection->wake >= 0)
		(void)close(connection->wake); /* a bell */
	pthread_cond_destroy(&connection->quiet);
	pthread_cond_destroy(&connection->changed);
	pthread_mutex_destroy(&connection->lock);
	free(connection);
}

/* Keeps the path good when the program changes its directory, where a socket's address has room for
 * that. */
static int set_path(struct mr_connection *connection, const char *path, struct mr_error *err)
{
	char full[PATH_BYTES], directory[PATH_BYTES];
	size_t bytes = sizeof(connection->path);
	int r = 0;

	if (!path)
		r = mr_socket_default_path(connection->path, bytes);
	else if (strlen(path) < bytes)
		memcpy(connection->path, path, strlen(path) + 1);
	else
		r = -ENAMETOOLONG;
	if (r < 0)
		return mr_error_set(err, r,
				    "the path of the engine's socket is longer than %zu bytes",
				    bytes - 1);
	if (connection->path[0] == '/' || !getcwd(directory, sizeof(directory)))
		return 0;
	if (strlen(directory) + 1 + strlen(connection->path) >= bytes)
		return 0;
	memcpy(full, directory, strlen(directory));
	full[strlen(directory)] = '/';
	memcpy(full + strlen(directory) + 1, connection->path, strlen(connection->path) + 1);
	memcpy(connection->path, full, bytes);
	return 0;
}

static int set_options(struct mr_connection *connection, const struct mr_connect_options *given,
		       struct mr_error *err)
{
	struct mr_connect_options options = {.size = sizeof(options)};
	const char *name;

	if (given && given->size > sizeof(options))
		return mr_error_set(err, -EINVAL,
				    "struct mr_connect_options has %zu bytes, expected %zu",
				    given->size, sizeof(options));
	if (given)
		memcpy(&options, given, given->size);
	connection->timeout_ms = options.timeout_ms ? options.timeout_ms : TIMEOUT_MS_DEFAULT;
	name = options.client_name ? options.client_name : program_invocation_short_name;
	memcpy(connection->client_name, name, strnlen(name, sizeof(connection->client_name) - 1));
	return set_path(connection, options.socket_path, err);
}

int mr_connect(const struct mr_connect_options *options, struct mr_connection **out,
	       struct mr_error *err)
{
	struct mr_connection *connection;
	int r = mr_owner_begin();

	if (r < 0)
		return mr_error_set(err, r, "cannot watch for forks: %s", strerror(-r));
	connection = calloc(1, sizeof(*connection));
	if (!connection || init_locks(connection) < 0) {
		free(connection);
		return mr_error_set(err, -ENOMEM, "no memory for a connection");
	}
	connection->owner = mr_owner_me();
	connection->conversation = (struct mr_conversation){.socket = -1, .wake = -1};
	connection->wake = mr_doorbell_open(err);
	r = connection->wake < 0 ? connection->wake : set_options(connection, options, err);
	if (r < 0)
		goto fail;
	r = meet(connection, mr_connection_deadline(connection), &connection->conversation,
		 &connection->engine, err);
	if (r < 0)
		goto fail;
	connection->up = true;
	atomic_init(&connection->generation, 1);
	r = start_thread(connection, err);
	if (r < 0)
		goto fail;
	*out = connection;
	return 0;
fail:
	free_connection(connection);
	return r;
}

void mr_disconnect(struct mr_connection *connection)
{
	if (!connection || !mr_owner_same_process(&connection->owner))
		return;
	mr_assert(!connection->lanes);
	mr_doorbell_ring(connection->wake);
	pthread_join(connection->thread, NULL);
	if (connection->conversation.socket >= 0)
		/* a child of this process may hold the socket, too: the engine is to see the end of
		 * it all the same */
		(void)shutdown(connection->conversation.socket, SHUT_RDWR);
	free_connection(connection);
}

/* ---- what is known of the engine
 * ----------------------------------------------------------------- */

uint64_t mr_connection_deadline(const struct mr_connection *connection)
{
	return mr_deadline_after(connection->timeout_ms);
}

uint64_t mr_connection_generation(const struct mr_connection *connection)
{
	return atomic_load_explicit(&connection->generation, memory_order_acquire);
}

bool mr_connection_is_up(struct mr_connection *connection)
{
	bool up;

	pthread_mutex_lock(&connection->lock);
	up = connection->up;
	pthread_mutex_unlock(&connection->lock);
	return up;
}

bool mr_connection_wait_up(struct mr_connection *connection, uint64_t deadline)
{
	bool up;

	pthread_mutex_lock(&connection->lock);
	while (!connection->up && wait_for(connection, &connection->changed, deadline))
		;
	up = connection->up;
	pthread_mutex_unlock(&connection->lock);
	return up;
}

bool mr_connection_wait_next(struct mr_connection *connection, uint64_t generation,
			     uint64_t deadline)
{
	uint64_t noticed = mr_deadline_after(NOTICE_MS);
	bool gone;

	if (deadline < noticed)
		noticed = deadline;
	pthread_mutex_lock(&connection->lock);
	while (mr_connection_generation(connection) == generation &&
	       wait_for(connection, &connection->changed, noticed))
		;
	gone = mr_connection_generation(connection) != generation;
	pthread_mutex_unlock(&connection->lock);
	return gone && mr_connection_wait_up(connection, deadline);
}

void mr_connection_engine(struct mr_connection *connection, struct mr_hello_reply *hello)
{
	if (!mr_owner_same_process(&connection->owner)) {
		memset(hello, 0, sizeof(*hello));
		return;
	}
	pthread_mutex_lock(&connection->lock);
	*hello = connection->engine;
	pthread_mutex_unlock(&connection->lock);
}

/* ---- talking
 * ------------------------------------------------------------------------------------- */

static int not_up(struct mr_connection *connection, struct mr_error *err)
{
	pthread_mutex_lock(&connection->lock);
	mr_error_set(err, -EPIPE, "there is no engine at '%s' at the moment", connection->path);
	mr_error_why(err, "%.150s", connection->down.what);
	pthread_mutex_unlock(&connection->lock);
	mr_error_hint(err, "the library goes on trying; start it with 'millrace serve'");
	return -EPIPE;
}

/* Takes the right to talk and asks; on 0 the caller still has it, and the reply. */
static int begin_talk(struct mr_connection *connection, const struct mr_request *request,
		      uint64_t deadline, struct mr_packet *reply, struct mr_error *err)
{
	int r;

	if (!mr_owner_same_process(&connection->owner))
		return mr_error_set(err, -EPERM,
				    "the connection belongs to the parent of this process");
	if (request->body_bytes > MR_PACKET_BODY_MAX)
		return mr_error_set(err, -EMSGSIZE, "a request of %zu bytes is longer than %zu",
				    request->body_bytes, (size_t)MR_PACKET_BODY_MAX);
	r = take_talk(connection, deadline);
	if (r < 0)
		return broken(r, err);
	if (connection->conversation.socket < 0) {
		leave_talk(connection);
		return not_up(connection, err);
	}
	r = mr_conversation_ask(&connection->conversation, request, deadline, reply);
	if (r == 0)
		return 0;
	if (r == -EBADMSG || r == -EPROTO)
		/* the thread finds the hang-up and begins anew */
		(void)shutdown(connection->conversation.socket, SHUT_RDWR);
	leave_talk(connection);
	return broken(r, err);
}

int mr_connection_call(struct mr_connection *connection, enum mr_message_type type,
		       const void *body, size_t body_bytes, const int *fds, uint32_t fd_count,
		       struct mr_packet *reply, struct mr_error *err)
{
	struct mr_request request = {type, body, body_bytes, fds, fd_count, connection->timeout_ms};
	int r = begin_talk(connection, &request, mr_connection_deadline(connection), reply, err);

	if (r < 0)
		return r;
	leave_talk(connection);
	if (reply->head.status < 0)
		return mr_conversation_check(reply, 0, 0, err);
	return 0;
}

int mr_connection_ask(struct mr_connection *connection, enum mr_message_type type, const void *body,
		      size_t body_bytes, size_t reply_bytes, uint32_t reply_fds, uint64_t deadline,
		      struct mr_packet *reply, struct mr_error *err)
{
	struct mr_request request = {.type = type, .body = body, .body_bytes = body_bytes};
	uint64_t most = mr_connection_deadline(connection);
	int r = begin_talk(connection, &request, deadline < most ? deadline : most, reply, err);

	if (r < 0)
		return r;
	leave_talk(connection);
	return mr_conversation_check(reply, reply_bytes, reply_fds, err);
}

static int append_text(char **text, size_t *bytes, const struct mr_packet *packet,
		       struct mr_error *err)
{
	char *longer;

	if (*bytes + packet->body_bytes > ADMIN_BYTES_MAX)
		return mr_error_set(err, -EMSGSIZE, "the engine's answer is longer than %u bytes",
				    ADMIN_BYTES_MAX);
	longer = realloc(*text, *bytes + packet->body_bytes + 1);
	if (!longer)
		return mr_error_set(err, -ENOMEM, "no memory for the engine's answer");
	memcpy(longer + *bytes, packet->body, packet->body_bytes);
	*bytes += packet->body_bytes;
	longer[*bytes] = '\0';
	*text = longer;
	return 0;
}

/* All packets of the answer. The caller has the right to talk. */
static int gather_text(struct mr_connection *connection, uint64_t deadline,
		       struct mr_packet *packet, char **text, struct mr_error *err)
{
	size_t bytes = 0;
	int r;

	for (;;) {
		mr_packet_close_fds(packet); /* there are none in an administrator's answer */
		if (packet->head.status < 0)
			return mr_conversation_check(packet, 0, 0, err);
		r = append_text(text, &bytes, packet, err);
		if (r < 0 || !(packet->head.flags & MR_MESSAGE_MORE))
			return r;
		r = mr_conversation_more(&connection->conversation, deadline, packet);
		if (r < 0)
			return broken(r, err);
	}
}

int mr_connection_admin(struct mr_connection *connection, const char *request, char **reply,
			struct mr_error *err)
{
	struct mr_request ask = {
		.type = MR_MESSAGE_ADMIN,
		.body = request,
		.body_bytes = strlen(request),
		.patience_ms = connection->timeout_ms,
	};
	struct mr_packet packet;
	char *text = NULL;
	int r = begin_talk(connection, &ask, mr_connection_deadline(connection), &packet, err);

	if (r < 0)
		return r;
	r = gather_text(connection, mr_connection_deadline(connection), &packet, &text, err);
	leave_talk(connection);
	if (r < 0) {
		free(text);
		return r;
	}
	*reply = text;
	return 0;
}

/* ---- lanes
 * --------------------------------------------------------------------------------------- */

int mr_connection_add_lane(struct mr_connection *connection, struct mr_client_lane *lane,
			   uint64_t generation, struct mr_error *err)
{
	int r = 0;

	pthread_mutex_lock(&connection->lock);
	if (generation == mr_connection_generation(connection)) {
		lane->generation = generation;
		lane->references = 1;
		lane->next = connection->lanes;
		connection->lanes = lane;
	} else {
		r = mr_error_set(err, -EPIPE, "the engine hung up while a lane was opened");
	}
	pthread_mutex_unlock(&connection->lock);
	return r;
}

void mr_connection_drop_lane(struct mr_connection *connection, struct mr_client_lane *lane,
			     uint64_t deadline)
{
	struct mr_lane_id body;
	struct mr_packet reply;
	struct mr_client_lane **at;

	pthread_mutex_lock(&connection->lock);
	for (at = &connection->lanes; *at != lane; at = &(*at)->next)
		mr_assert(*at);
	*at = lane->next;
	lane->removed = true;
	body.lane = lane->generation == mr_connection_generation(connection) ? lane->lane
									     : MR_LANE_NONE;
	pthread_mutex_unlock(&connection->lock);
	if (body.lane != MR_LANE_NONE)
		/* an engine that does not answer finds out when the connection ends */
		(void)mr_connection_ask(connection, MR_MESSAGE_CLOSE_LANE, &body, sizeof(body),
					sizeof(body), 0, deadline, &reply, NULL);
	put_lane(connection, lane);
}
