/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a whole engine in the test's own process, over both back ends. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_rig.h"
#include "log/checkpoint.h"

#define TOPIC	    "things"
#define VALUE_BYTES 1000
#define PATIENCE_MS 20000

static struct mr_test_engine rig;
static struct mr_connection *connection;
static struct mr_error err;

static bool have_uring(void)
{
	struct mr_io *io;

	if (mr_io_open_directory("/tmp", "uring", &io, NULL) < 0)
		return false;
	mr_io_close(io);
	return true;
}

static void start(void)
{
	cr_assert_eq(mr_test_engine_start(&rig, &err), 0, "%s", err.what);
}

/* Runs 'body' over each back end, with an engine set up by 'configure' that runs already. */
static void over_both(void (*configure)(struct mr_config *config), void (*body)(void))
{
	static const char *const backends[] = {"posix", "uring"};
	size_t i;

	for (i = 0; i < 2; i++) {
		if (i == 1 && !have_uring())
			continue;
		mr_test_engine_init(&rig, backends[i]);
		if (configure)
			configure(&rig.config);
		start();
		connection = mr_test_engine_connect(&rig);
		body();
		mr_disconnect(connection);
		if (rig.engine)
			cr_expect_eq(mr_test_engine_stop(&rig), 0);
		mr_test_engine_deinit(&rig);
	}
}

/* ---- producing and reading ------------------------------------------------------------------- */

static int open_producer(enum mr_acks acks, struct mr_producer **out)
{
	struct mr_producer_options options = {.size = sizeof(options),
					      .topic = TOPIC,
					      .acks = acks,
					      .lane_bytes = 64 << 10,
					      .full_wait_ms = PATIENCE_MS};

	return mr_producer_open(connection, &options, out, &err);
}

static struct mr_producer *producer_of(enum mr_acks acks)
{
	struct mr_producer *producer = NULL;

	cr_assert_eq(open_producer(acks, &producer), 0, "%s", err.what);
	return producer;
}

/* Record 'number' says so in its value, and is 'number' seconds old since 1970. */
static int put(struct mr_producer *producer, uint64_t number)
{
	uint8_t value[VALUE_BYTES];
	struct mr_record record = {.value = value,
				   .value_bytes = VALUE_BYTES,
				   .key_bytes = MR_NULL_BYTES,
				   .timestamp_ms = (int64_t)number * 1000};

	memset(value, (int)(number & 0xff), sizeof(value));
	memcpy(value, &number, sizeof(number));
	return mr_producer_put(producer, &record);
}

static void put_some(struct mr_producer *producer, uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		cr_assert_eq(put(producer, from), 0, "record %" PRIu64, from);
}

static void flush(struct mr_producer *producer)
{
	cr_assert_eq(mr_producer_flush(producer, PATIENCE_MS), 0);
}

static void publish(uint64_t from, uint64_t to)
{
	struct mr_producer *producer = producer_of(MR_ACKS_COMMITTED);

	put_some(producer, from, to);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

static struct mr_consumer *consumer_of(enum mr_from from, int64_t value, enum mr_view view)
{
	struct mr_consumer_options options = {.size = sizeof(options),
					      .topic = TOPIC,
					      .from = from,
					      .from_value = value,
					      .group = "readers",
					      .view = view};
	struct mr_consumer *consumer = NULL;

	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), 0, "%s", err.what);
	return consumer;
}

static void check(const struct mr_message *message, uint64_t number)
{
	uint64_t found;

	cr_assert_eq(message->offset, number);
	cr_assert_eq(message->value_bytes, VALUE_BYTES);
	memcpy(&found, message->value, sizeof(found));
	cr_assert_eq(found, number, "offset %" PRIu64 " holds %" PRIu64, number, found);
	cr_assert_eq(message->timestamp_ms, (int64_t)number * 1000);
}

/* Reads [from, to); returns the last record's leader epoch. */
static int32_t read_some(struct mr_consumer *consumer, uint64_t from, uint64_t to)
{
	const struct mr_message *messages;
	int32_t epoch = -1;
	int count, i;

	while (from < to) {
		count = mr_consumer_poll(consumer, PATIENCE_MS, &messages);
		mr_consumer_error(consumer, &err);
		cr_assert_gt(count, 0, "at offset %" PRIu64 ": %d %s", from, count, err.what);
		for (i = 0; i < count; i++, from++) {
			check(&messages[i], from);
			epoch = messages[i].leader_epoch;
		}
	}
	cr_assert_eq(from, to);
	return epoch;
}

static int32_t read_all(uint64_t from, uint64_t to)
{
	struct mr_consumer *consumer = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	int32_t epoch = read_some(consumer, from, to);
	const struct mr_message *messages;

	cr_expect_eq(mr_consumer_poll(consumer, 20, &messages), 0, "more than was published");
	mr_consumer_close(consumer);
	return epoch;
}

static void restart(void)
{
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
	start();
	connection = mr_test_engine_connect(&rig);
}

static int64_t number_of(const char *name)
{
	return mr_test_engine_number(connection, TOPIC, 0, name);
}

static void await(const char *name, int64_t value)
{
	cr_assert(mr_test_engine_await(connection, TOPIC, 0, name, value, PATIENCE_MS),
		  "%s is %" PRId64 ", expected %" PRId64, name, number_of(name), value);
}

static void ask(const char *request)
{
	char *reply = mr_test_engine_ask(connection, request, &err);

	cr_assert_not_null(reply, "%s: %s", request, err.what);
	free(reply);
}

/* ---- one engine a data directory ------------------------------------------------------------- */

static void second_engine(void)
{
	struct mr_engine_options options = {.config = &rig.config, .io = rig.disk};
	struct mr_engine *second;
	char pid[32];

	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	cr_expect_eq(mr_engine_open(&options, &second, &err), -EBUSY);
	cr_expect(strstr(err.what, pid), "%s", err.what);
	cr_expect(strstr(err.what, rig.data), "%s", err.what);
	cr_expect(err.hint[0]);
	publish(0, 10); /* and the first one does not care */
	read_all(0, 10);
}

Test(engine, refuses_a_second_one_and_names_the_first)
{
	over_both(NULL, second_engine);
}

/* ---- its number ------------------------------------------------------------------------------ */

static int64_t next_producer_id(void)
{
	struct mr_checkpoint checkpoint = {0};
	int64_t next;

	cr_assert_eq(mr_checkpoint_load(rig.disk, &checkpoint, &err), 0, "%s", err.what);
	next = checkpoint.next_producer_id;
	mr_checkpoint_deinit(&checkpoint);
	return next;
}

static void start_as(uint32_t number)
{
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
	rig.config.number = number;
	start();
	connection = mr_test_engine_connect(&rig);
}

/* I6: no two hosts give the same producer id, and no host one twice. */
static void number_producers(void)
{
	publish(0, 10);
	cr_expect_lt(next_producer_id(), INT64_C(1) << 40, "alone, as ever");
	start_as(3);
	publish(10, 20);
	cr_expect_gt(next_producer_id(), INT64_C(3) << 40);
	cr_expect_lt(next_producer_id(), INT64_C(4) << 40);
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
	rig.config.number = 2;
	cr_expect_eq(mr_test_engine_start(&rig, &err), -EINVAL);
	cr_expect(strstr(err.what, "is of host number 3, and the configuration says number: 2"),
		  "%s", err.what);
	rig.config.number = 3;
	start();
	connection = mr_test_engine_connect(&rig);
	read_all(0, 20);
}

Test(engine, gives_producer_ids_of_its_own_number)
{
	over_both(NULL, number_producers);
}

/* ---- a start that fails ---------------------------------------------------------------------- */

/* Where peers would connect to somebody else is. */
Test(engine, says_that_its_address_is_taken)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(other, 0);
	cr_assert_eq(bind(other, (struct sockaddr *)&at, bytes), 0);
	cr_assert_eq(listen(other, 1), 0);
	cr_assert_eq(getsockname(other, (struct sockaddr *)&at, &bytes), 0);
	mr_test_engine_init(&rig, "posix");
	snprintf(rig.config.listen, sizeof(rig.config.listen), "127.0.0.1:%u",
		 (unsigned int)ntohs(at.sin_port));
	cr_expect_eq(mr_test_engine_start(&rig, &err), -EADDRINUSE);
	cr_expect_not_null(strstr(err.what, rig.config.listen), "%s", err.what);
	close(other);
	start();
	cr_expect_eq(mr_test_engine_stop(&rig), 0);
	mr_test_engine_deinit(&rig);
}

/* ---- restart --------------------------------------------------------------------------------- */

static void survive(void)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	struct mr_consumer *consumer;
	int32_t epoch, last = -1;
	uint64_t i;

	for (i = 0; i < 4; i++) {
		publish(i * 300, i * 300 + 300);
		epoch = read_all(0, i * 300 + 300);
		cr_expect_gt(epoch, last, "start %" PRIu64 ": epoch %d after %d", i, epoch, last);
		last = epoch;
		consumer = consumer_of(MR_FROM_COMMITTED, 0, MR_VIEW_COMMITTED);
		cr_assert_eq(mr_consumer_position(consumer, 0, &position), 0);
		cr_expect_eq(position.offset, i * 250, "the group's offset");
		read_some(consumer, i * 250, i * 300 + 300);
		cr_assert_eq(mr_consumer_seek(consumer, 0, i * 250 + 250), 0);
		cr_assert_eq(mr_consumer_commit(consumer, PATIENCE_MS), 0);
		mr_consumer_close(consumer);
		restart();
	}
}

Test(engine, keeps_records_offsets_and_groups_over_restarts)
{
	over_both(NULL, survive);
}

/* ---- topics ---------------------------------------------------------------------------------- */

static void make_again(void)
{
	struct mr_producer *producer = producer_of(MR_ACKS_COMMITTED);
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	int r, tries;

	put_some(producer, 0, 100);
	flush(producer);
	consumer = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_some(consumer, 0, 100);
	ask("{\"do\":\"topic.delete\",\"name\":\"" TOPIC "\"}");
	for (tries = 0, r = 0; tries < 2000 && r == 0; tries++) {
		r = put(producer, 100);
		(void)poll(NULL, 0, 1);
	}
	cr_expect_eq(r, -EPIPE);
	mr_producer_error(producer, &err);
	cr_expect(strstr(err.what, "delete") || strstr(err.why, "delete"), "%s / %s", err.what,
		  err.why);
	(void)mr_producer_close(producer, 0);
	for (tries = 0, r = 0; tries < 2000 && r == 0; tries++)
		r = mr_consumer_poll(consumer, 1, &messages);
	cr_expect_eq(r, -EPIPE);
	mr_consumer_error(consumer, &err);
	cr_expect(err.what[0]);
	mr_consumer_close(consumer);
	publish(0, 50); /* a topic of the same name, with nothing of the old one */
	read_all(0, 50);
	restart();
	read_all(0, 50);
}

Test(engine, makes_another_topic_of_a_deleted_ones_name)
{
	over_both(NULL, make_again);
}

/* ---- retention ------------------------------------------------------------------------------- */

static void keep_bytes(struct mr_config *config)
{
	config->retention_bytes = 300 << 10;
}

static void keep_an_hour(struct mr_config *config)
{
	config->retention_ms = 3600 * 1000;
}

static void await_retention(void)
{
	int tries;

	for (tries = 0; tries < PATIENCE_MS && number_of("log_start_offset") <= 0; tries++) {
		mr_test_engine_advance(&rig, 1001);
		(void)poll(NULL, 0, 1);
	}
	cr_assert_gt(number_of("log_start_offset"), 0);
}

/* Who asks for what is gone hears so, and goes on from where he chooses. */
static void lose_the_start(void)
{
	struct mr_consumer *consumer = consumer_of(MR_FROM_LATEST, 0, MR_VIEW_COMMITTED);
	const struct mr_message *messages;
	uint64_t log_start;

	await_retention();
	(void)poll(NULL, 0, 50);
	log_start = (uint64_t)number_of("log_start_offset");
	cr_assert_eq(mr_consumer_seek(consumer, 0, 0), 0);
	cr_expect_eq(mr_consumer_poll(consumer, PATIENCE_MS, &messages), -ERANGE);
	mr_consumer_error(consumer, &err);
	cr_expect(err.what[0]);
	cr_assert_eq(mr_consumer_seek(consumer, 0, log_start), 0);
	read_some(consumer, log_start, 1000);
	mr_consumer_close(consumer);
	restart();
	read_all(log_start, 1000);
}

static void drop_by_bytes(void)
{
	int tries;

	publish(0, 1000);
	lose_the_start();
	for (tries = 0; tries < PATIENCE_MS && number_of("bytes") > 300 << 10; tries++) {
		mr_test_engine_advance(&rig, 1001);
		(void)poll(NULL, 0, 1);
	}
	cr_expect_leq(number_of("bytes"), 300 << 10);
}

Test(engine, lets_go_by_bytes)
{
	over_both(keep_bytes, drop_by_bytes);
}

static void drop_by_age(void)
{
	publish(0, 900);
	(void)poll(NULL, 0, 20); /* a checkpoint */
	mr_test_engine_advance(&rig, 2000);
	cr_expect_eq(number_of("log_start_offset"), 0);
	mr_test_engine_advance(&rig, 3600 * 1000);
	publish(900, 1000); /* young */
	lose_the_start();
	cr_expect_leq(number_of("log_start_offset"), 900);
}

Test(engine, lets_go_by_age)
{
	over_both(keep_an_hour, drop_by_age);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void find_by_time(void)
{
	static const uint64_t numbers[] = {0, 1, 57, 58, 500, 999};
	struct mr_consumer *consumer;
	size_t i;

	publish(0, 1000);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		consumer = consumer_of(MR_FROM_TIME, (int64_t)numbers[i] * 1000, MR_VIEW_COMMITTED);
		read_some(consumer, numbers[i], 1000);
		mr_consumer_close(consumer);
	}
	restart(); /* from the files' own indexes */
	consumer = consumer_of(MR_FROM_TIME, 500 * 1000 - 1, MR_VIEW_COMMITTED);
	read_some(consumer, 500, 1000);
	mr_consumer_close(consumer);
}

Test(engine, finds_by_time)
{
	over_both(NULL, find_by_time);
}

static void overtake(void)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	struct mr_producer *producer = producer_of(MR_ACKS_COMMITTED);
	struct mr_consumer *consumer;
	uint64_t i;

	put_some(producer, 0, 10);
	flush(producer);
	consumer = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_some(consumer, 0, 10);
	for (i = 0; i < 3; i++) { /* the tail holds about 250 of them */
		put_some(producer, 10 + i * 1000, 10 + (i + 1) * 1000);
		flush(producer);
		read_some(consumer, 10 + i * 1000, 10 + (i + 1) * 1000);
	}
	cr_assert_eq(mr_consumer_position(consumer, 0, &position), 0);
	cr_expect_geq(position.overtaken, 3);
	mr_consumer_close(consumer);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, lets_an_overtaken_consumer_go_on_from_the_files)
{
	over_both(NULL, overtake);
}

/* While no segment can be named, nothing in it is committed. */
static void names_fail(bool fail)
{
	mr_io_fault_set(rig.fault, &(struct mr_io_fault_plan){.kind = MR_IO_FAULT_RENAME,
							      .nth = fail,
							      .error = -ENOSPC,
							      .from_then_on = true});
}

static void look_ahead(void)
{
	struct mr_producer *producer = producer_of(MR_ACKS_MEMORY);
	struct mr_consumer *committed, *appended;
	const struct mr_message *messages;
	int64_t end;

	put_some(producer, 0, 10);
	flush(producer);
	await("high_watermark", 10);
	names_fail(true);
	put_some(producer, 10, 100);
	flush(producer);
	await("log_end_offset", 100);
	await("high_watermark", 11); /* at least one record more */
	(void)poll(NULL, 0, 100);    /* and its last writes end */
	end = number_of("high_watermark");
	cr_assert_lt(end, 100);
	committed = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	appended = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_APPENDED);
	read_some(appended, 0, 100);
	read_some(committed, 0, (uint64_t)end);
	cr_expect_eq(mr_consumer_poll(committed, 50, &messages), 0);
	names_fail(false);
	mr_test_engine_advance(&rig, 1001);
	await("high_watermark", 100);
	read_some(committed, (uint64_t)end, 100);
	mr_consumer_close(committed);
	mr_consumer_close(appended);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, shows_the_appended_before_it_is_committed)
{
	over_both(NULL, look_ahead);
}

/* ---- hand-back ------------------------------------------------------------------------------- */

/* The producer lives on while engines come and go. */
static void hand_back(void)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_producer *producer = producer_of(MR_ACKS_COMMITTED);
	uint64_t i;

	for (i = 0; i < 3; i++) {
		put_some(producer, i * 100, i * 100 + 100); /* some of it stays in the lane */
		cr_assert_eq(mr_test_engine_stop(&rig), 0);
		start();
	}
	put_some(producer, 300, 400);
	flush(producer);
	cr_assert_eq(mr_producer_state(producer, &state), 0);
	cr_expect_eq(state.published, 400);
	cr_expect_eq(state.acknowledged, 400);
	cr_expect_eq(state.lost, 0);
	cr_expect_geq(state.hand_backs, 3);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
	read_all(0, 400);
}

Test(engine, takes_lanes_back_and_each_record_once)
{
	over_both(NULL, hand_back);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* The partition's directory below the data directory, and its segments in order. */
static void find_segment(size_t which, char path[700])
{
	struct dirent **names;
	char topics[128], directory[420];
	int count, i;
	size_t seen = 0;

	snprintf(topics, sizeof(topics), "%s/topics", rig.data);
	count = scandir(topics, &names, NULL, alphasort);
	cr_assert_eq(count, 3); /* one topic, and the two dots */
	snprintf(directory, sizeof(directory), "%s/%s/0", topics, names[2]->d_name);
	for (i = 0; i < count; i++)
		free(names[i]);
	free(names);
	count = scandir(directory, &names, NULL, alphasort);
	path[0] = '\0';
	for (i = 0; i < count; i++) {
		if (strstr(names[i]->d_name, ".log") && seen++ == which)
			snprintf(path, 700, "%s/%s", directory, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	cr_assert(path[0]);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	cr_assert_geq(fd, 0);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	cr_assert_eq(fsync(fd), 0);
	close(fd);
}

static void meet_damage(void)
{
	struct mr_producer *producer = NULL;
	const struct mr_message *messages;
	struct mr_consumer *consumer;
	uint64_t next = 0;
	char path[700];
	int count, r;

	publish(0, 30);
	publish(30, 300);
	find_segment(1, path);
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
	flip(path, 4096 + 5000);
	/* a checkpoint further on would keep recovery from reading it */
	snprintf(path, sizeof(path), "%s/checkpoint.0", rig.data);
	cr_expect_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/checkpoint.1", rig.data);
	cr_expect_eq(unlink(path), 0);
	start();
	connection = mr_test_engine_connect(&rig);
	consumer = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	while ((count = mr_consumer_poll(consumer, PATIENCE_MS, &messages)) > 0)
		for (int i = 0; i < count; i++, next++)
			check(&messages[i], next);
	cr_expect_eq(count, -EBADMSG);
	cr_expect_geq(next, 30);
	cr_expect_lt(next, 300);
	mr_consumer_error(consumer, &err);
	cr_expect(strstr(err.what, ".log") && strstr(err.what, "offset"), "%s", err.what);
	mr_consumer_close(consumer);
	r = open_producer(MR_ACKS_COMMITTED, &producer);
	if (r == 0) {
		r = put(producer, 300);
		if (r == 0)
			r = mr_producer_flush(producer, PATIENCE_MS);
		mr_producer_error(producer, &err);
		(void)mr_producer_close(producer, 0);
	}
	cr_expect(r == -EPIPE || r == -EBADMSG, "%d", r);
	cr_expect(strstr(err.what, "damaged") || strstr(err.why, "damaged"), "%s / %s", err.what,
		  err.why);
}

Test(engine, reads_up_to_damage_and_takes_nothing_behind_it)
{
	over_both(NULL, meet_damage);
}

/* One segment, so that only the window tells damage from an end that a crash leaves. */
static void one_segment(struct mr_config *config)
{
	config->segment_bytes = 16 << 20;
	config->first_segment_bytes = 16 << 20;
	config->tail_bytes = 1 << 20;
	config->groups_in_flight = 16;
}

static bool says(const char *request, const char *text)
{
	char *reply = mr_test_engine_ask(connection, request, &err);
	bool there = reply && strstr(reply, text);

	free(reply);
	return there;
}

/* The proof lies further behind the damage than the engines after it write ahead. */
static void damage_stays(void)
{
	static const uint8_t zeros[64 << 10];
	char path[700], checkpoint[128];
	int fd;

	publish(0, 30);
	publish(30, 300);
	find_segment(0, path);
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
	fd = open(path, O_RDWR);
	cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), 4096), (ssize_t)sizeof(zeros));
	cr_assert_eq(fsync(fd), 0);
	close(fd);
	for (int i = 0; i < 2; i++) {
		snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint.%d", rig.data, i);
		cr_expect_eq(unlink(checkpoint), 0);
	}
	rig.config.groups_in_flight = 1;
	for (int i = 0; i < 3; i++) {
		start();
		connection = mr_test_engine_connect(&rig);
		cr_expect(says("{\"do\":\"topic.describe\",\"name\":\"" TOPIC "\"}", "read-only"),
			  "start %d", i);
		if (i == 2)
			break;
		mr_disconnect(connection);
		cr_assert_eq(mr_test_engine_stop(&rig), 0);
	}
}

/* I8: what was found damaged once was taken for a torn end at the next start, and cut. */
Test(engine, damage_stays_damage_when_less_is_in_flight_later)
{
	over_both(one_segment, damage_stays);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void few(struct mr_config *config)
{
	config->lanes_per_user = 2; /* connections of this very process are nobody's */
}

static void reach_limits(void)
{
	struct mr_producer *one = producer_of(MR_ACKS_COMMITTED);
	struct mr_producer *two = producer_of(MR_ACKS_COMMITTED), *three = NULL;

	cr_expect_eq(open_producer(MR_ACKS_COMMITTED, &three), -ENOBUFS);
	cr_expect(strstr(err.what, "2"), "%s", err.what);
	cr_expect(err.hint[0]);
	put_some(one, 0, 10); /* the others do not notice */
	flush(one);
	cr_assert_eq(mr_producer_close(one, PATIENCE_MS), 0);
	cr_assert_eq(open_producer(MR_ACKS_COMMITTED, &three), 0, "%s", err.what);
	cr_assert_eq(mr_producer_close(two, PATIENCE_MS), 0);
	cr_assert_eq(mr_producer_close(three, PATIENCE_MS), 0);
}

Test(engine, refuses_more_than_a_users_share_with_a_hint)
{
	over_both(few, reach_limits);
}

/* ---- a topic in memory ----------------------------------------------------------------------- */

static void make_in_memory(void)
{
	ask("{\"do\":\"topic.create\",\"name\":\"" TOPIC "\",\"storage\":\"memory\","
	    "\"tail_bytes\":1048576}");
}

/* A disk on which everything fails is none of its business: nothing is even tried. */
static void leave_the_disk_alone(void)
{
	struct mr_io_fault_plan plan = {MR_IO_FAULT_ANY, 1, -ENOSPC, MR_IO_FAULT_BEFORE, true};
	struct mr_producer *producer;

	make_in_memory();
	producer = producer_of(MR_ACKS_MEMORY);
	put_some(producer, 0, 10);
	flush(producer);
	(void)poll(NULL, 0, 300); /* what the making of a topic leaves to do */
	mr_io_fault_set(rig.fault, &plan);
	for (uint64_t i = 0; i < 5; i++) {
		put_some(producer, 10 + i * 1000, 1010 + i * 1000);
		flush(producer);
		mr_test_engine_advance(&rig, 11000); /* past every time for a checkpoint */
		(void)poll(NULL, 0, 150);
	}
	await("high_watermark", 5010);
	cr_expect_eq(mr_io_fault_hits(rig.fault), 0);
	mr_io_fault_set(rig.fault, &(struct mr_io_fault_plan){0});
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, writes_nothing_of_a_topic_in_memory)
{
	over_both(NULL, leave_the_disk_alone);
}

static void fall_behind_in_memory(void)
{
	struct mr_producer *producer;
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	char expected[64];
	int64_t start;

	make_in_memory();
	producer = producer_of(MR_ACKS_MEMORY);
	put_some(producer, 0, 10);
	flush(producer);
	await("high_watermark", 10);
	consumer = consumer_of(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_some(consumer, 0, 10);
	put_some(producer, 10, 5000); /* the tail holds about 1,000 */
	flush(producer);
	await("high_watermark", 5000);
	start = number_of("log_start_offset");
	cr_assert_gt(start, 3900);
	cr_assert_lt(start, 4200, "more than a group or two was let go");
	cr_assert_eq(mr_consumer_poll(consumer, 20, &messages), -ERANGE);
	cr_assert_eq(mr_consumer_poll(consumer, 20, &messages), -ERANGE, "until it moves");
	mr_consumer_error(consumer, &err);
	snprintf(expected, sizeof(expected), "offsets 10 to %" PRId64 " are no longer", start - 1);
	cr_assert(strstr(err.why, expected), "%s", err.why);
	cr_assert_eq(mr_consumer_seek(consumer, 0, (uint64_t)start), 0);
	read_some(consumer, (uint64_t)start, 5000);
	mr_consumer_close(consumer);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, tells_a_consumer_what_memory_no_longer_has)
{
	over_both(NULL, fall_behind_in_memory);
}

/* Who asks for the oldest record has missed nothing before it has read one. */
static void begin_late_in_memory(void)
{
	static const enum mr_from floating[] = {MR_FROM_EARLIEST, MR_FROM_TIME, MR_FROM_COMMITTED};
	struct mr_consumer *consumers[3], *fixed, *latest;
	const struct mr_message *messages;
	struct mr_producer *producer;
	uint64_t start;

	make_in_memory();
	producer = producer_of(MR_ACKS_MEMORY);
	latest = consumer_of(MR_FROM_LATEST, 0, MR_VIEW_COMMITTED);
	put_some(producer, 0, 10);
	flush(producer);
	await("high_watermark", 10);
	for (int i = 0; i < 3; i++)
		consumers[i] = consumer_of(floating[i], 0, MR_VIEW_COMMITTED);
	fixed = consumer_of(MR_FROM_OFFSET, 0, MR_VIEW_COMMITTED);
	put_some(producer, 10, 5000);
	flush(producer);
	await("high_watermark", 5000);
	start = (uint64_t)number_of("log_start_offset");
	cr_assert_gt(start, 10);
	for (int i = 0; i < 3; i++) {
		read_some(consumers[i], start, 5000);
		mr_consumer_close(consumers[i]);
	}
	cr_expect_eq(mr_consumer_poll(fixed, 20, &messages), -ERANGE);
	cr_expect_eq(mr_consumer_poll(latest, 20, &messages), -ERANGE);
	mr_consumer_close(fixed);
	mr_consumer_close(latest);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, begins_with_the_oldest_that_memory_has_by_then)
{
	over_both(NULL, begin_late_in_memory);
}

static void ask_for_more(void)
{
	struct mr_producer *producer;

	make_in_memory();
	cr_assert_eq(open_producer(MR_ACKS_COMMITTED, &producer), -EOPNOTSUPP);
	cr_assert(strstr(err.what, TOPIC) && strstr(err.what, "storage memory"), "%s", err.what);
	cr_assert(strstr(err.hint, "MR_ACKS_MEMORY"), "%s", err.hint);
	cr_assert_eq(open_producer(MR_ACKS_DISK, &producer), -EOPNOTSUPP);
	cr_assert_eq(number_of("lanes"), 0);
	producer = producer_of(MR_ACKS_MEMORY);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, gives_no_lane_that_promises_more_than_memory)
{
	over_both(NULL, ask_for_more);
}

/* D3: one rule for all of an engine's partitions. */
static void fail_the_disk(void)
{
	struct mr_producer_options options = {
		.size = sizeof(options), .topic = "on-disk", .full_wait_ms = PATIENCE_MS};
	struct mr_producer *producer, *other;
	struct mr_record record = {.value = "x", .value_bytes = 1, .key_bytes = MR_NULL_BYTES};
	char state[320];
	int r = 0;

	make_in_memory();
	producer = producer_of(MR_ACKS_MEMORY);
	put_some(producer, 0, 10);
	flush(producer);
	cr_assert_eq(mr_producer_open(connection, &options, &other, &err), 0, "%s", err.what);
	mr_io_fault_set(rig.fault, &(struct mr_io_fault_plan){.kind = MR_IO_FAULT_QUEUE_WRITE,
							      .nth = 1,
							      .error = -EIO,
							      .from_then_on = true});
	cr_assert_eq(mr_producer_put(other, &record), 0);
	for (int ms = 0; ms < PATIENCE_MS && r >= 0; ms++) {
		r = put(producer, 10);
		(void)poll(NULL, 0, 1);
	}
	cr_assert_eq(r, -EPIPE);
	mr_producer_error(producer, &err);
	cr_assert(strstr(err.why, "data directory failed"), "%s", err.why);
	mr_test_engine_text(connection, "state", state);
	cr_assert_str_eq(state, "degraded");
	(void)mr_producer_close(producer, 0); /* it cannot be flushed any more */
	(void)mr_producer_close(other, 0);    /* the same */
	mr_disconnect(connection);
	(void)mr_test_engine_stop(&rig); /* it says that it failed */
	mr_io_fault_set(rig.fault, &(struct mr_io_fault_plan){0});
	start();
	connection = mr_test_engine_connect(&rig);
	producer = producer_of(MR_ACKS_MEMORY);
	put_some(producer, 0, 10);
	flush(producer);
	cr_assert_gt(number_of("log_end_offset"), 10);
	cr_assert_eq(mr_producer_close(producer, PATIENCE_MS), 0);
}

Test(engine, ends_a_topic_in_memory_with_the_failed_disk)
{
	over_both(NULL, fail_the_disk);
}
