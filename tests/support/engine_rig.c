/* SPDX-License-Identifier: Apache-2.0 */
/* The engine inside a test (engine_rig.h). The test's thread owns the rig; the engine has its own.
 */
#include "engine_rig.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "connection.h"

#define TIMEOUT_MS 10000

static struct mr_test_engine *rig_of(const struct mr_clock *clock)
{
	return (struct mr_test_engine *)((char *)clock - offsetof(struct mr_test_engine, clock));
}

static uint64_t rig_monotonic_ns(const struct mr_clock *clock)
{
	return mr_clock_monotonic_ns(&mr_clock_system) + rig_of(clock)->ahead_ms * 1000000;
}

static int64_t rig_wall_ms(const struct mr_clock *clock)
{
	return mr_clock_wall_ms(&mr_clock_system) + (int64_t)rig_of(clock)->ahead_ms;
}

void mr_test_engine_init(struct mr_test_engine *rig, const char *backend)
{
	struct mr_config *config = &rig->config;
	struct mr_error err;
	int r;

	memset(rig, 0, sizeof(*rig));
	rig->parent = strcmp(backend, "posix") == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm"
										     : "/tmp";
	snprintf(rig->data, sizeof(rig->data), "%s/mr-engine-XXXXXX", rig->parent);
	mr_assert(mkdtemp(rig->data) != NULL);
	mr_config_defaults(config);
	snprintf(config->data, sizeof(config->data), "%s", rig->data);
	snprintf(config->socket, sizeof(config->socket), "%s/sock", rig->data);
	config->segment_bytes = 128 << 10;
	config->first_segment_bytes = 64 << 10;
	config->tail_bytes = 256 << 10;
	config->group_bytes = 16 << 10;
	config->record_bytes_max = 8 << 10;
	config->producer_ids_max = 256;
	config->workers = 1;
	config->checkpoint_quiet_ms = 2;
	rig->clock = (struct mr_clock){rig_monotonic_ns, rig_wall_ms};
	r = mr_io_open_directory(rig->data, backend, &rig->disk, &err);
	mr_assert(r == 0);
	rig->fault = mr_io_fault_new(rig->disk);
}

void mr_test_engine_deinit(struct mr_test_engine *rig)
{
	struct mr_io *io;

	if (rig->engine)
		(void)mr_test_engine_stop(rig);
	mr_io_close(rig->fault);
	mr_io_close(rig->disk);
	mr_config_deinit(&rig->config);
	if (mr_io_open_directory(rig->parent, "posix", &io, NULL) == 0) {
		(void)mr_io_remove_tree(io, rig->data + strlen(rig->parent) + 1,
					NULL); /* litter at worst */
		mr_io_close(io);
	}
}

static void *run(void *arg)
{
	struct mr_test_engine *rig = arg;

	rig->result = mr_engine_run(rig->engine);
	rig->ended = true;
	return NULL;
}

int mr_test_engine_start(struct mr_test_engine *rig, struct mr_error *err)
{
	struct mr_engine_options options = {.config = &rig->config,
					    .io = rig->fault,
					    .clock = &rig->clock,
					    .feed_version_max = rig->feed_version_max};
	int r = mr_engine_open(&options, &rig->engine, err);

	if (r < 0) {
		rig->engine = NULL;
		return r;
	}
	rig->ended = false;
	r = pthread_create(&rig->thread, NULL, run, rig);
	mr_assert(r == 0);
	return 0;
}

int mr_test_engine_stop(struct mr_test_engine *rig)
{
	mr_engine_stop(rig->engine);
	pthread_join(rig->thread, NULL);
	mr_engine_close(rig->engine);
	rig->engine = NULL;
	return rig->result;
}

void mr_test_engine_advance(struct mr_test_engine *rig, uint64_t ms)
{
	rig->ahead_ms += ms;
}

struct mr_connection *mr_test_engine_connect(struct mr_test_engine *rig)
{
	struct mr_connect_options options = {.size = sizeof(options),
					     .socket_path = rig->config.socket,
					     .client_name = "test",
					     .timeout_ms = TIMEOUT_MS};
	struct mr_connection *connection;
	struct mr_error err;

	if (mr_connect(&options, &connection, &err) < 0) {
		fprintf(stderr, "cannot connect: %s\n", err.what);
		abort();
	}
	return connection;
}

char *mr_test_engine_ask(struct mr_connection *connection, const char *request,
			 struct mr_error *err)
{
	char *reply = NULL;

	return mr_connection_admin(connection, request, &reply, err) < 0 ? NULL : reply;
}

int64_t mr_test_engine_number(struct mr_connection *connection, const char *topic,
			      int32_t partition, const char *name)
{
	char request[320];
	char *reply;
	json_t *json, *row;
	int64_t number = -1;

	snprintf(request, sizeof(request), "{\"do\":\"topic.describe\",\"name\":\"%s\"}", topic);
	reply = mr_test_engine_ask(connection, request, NULL);
	json = reply ? json_loads(reply, 0, NULL) : NULL;
	row = json_array_get(json_object_get(json, "partitions"), (size_t)partition);
	row = json_object_get(row, name);
	if (json_is_integer(row))
		number = json_integer_value(row);
	json_decref(json);
	free(reply);
	return number;
}

bool mr_test_engine_await(struct mr_connection *connection, const char *topic, int32_t partition,
			  const char *name, int64_t value, uint32_t timeout_ms)
{
	uint32_t waited;

	for (waited = 0; waited <= timeout_ms; waited++) {
		if (mr_test_engine_number(connection, topic, partition, name) >= value)
			return true;
		(void)poll(NULL, 0, 1); /* the engine needs a moment */
	}
	return false;
}

void mr_test_engine_text(struct mr_connection *connection, const char *name, char out[320])
{
	char *reply = mr_test_engine_ask(connection, "{\"do\":\"engine.describe\"}", NULL);
	json_t *json = reply ? json_loads(reply, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(json, name));

	snprintf(out, 320, "%s", text ? text : "");
	json_decref(json);
	free(reply);
}
