/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a counter is read as it was last written, by others, also after its writer died;
 * garbage is refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counters.h"

static char path[] = "/tmp/mr-counters-XXXXXX";

static void remove_file(void)
{
	unlink(path);
}

/* A new empty file at 'path'. */
static int new_file(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	return fd;
}

static struct mr_counters *create(int fd)
{
	struct mr_counters *counters;
	struct mr_error err = {0};

	cr_assert_eq(mr_counters_create(fd, &counters, &err), 0, "%s", err.what);
	return counters;
}

/* What a reading found, of the one name that is asked for, and how many in all. */
struct found {
	const char *name;
	uint64_t value;
	enum mr_counter_kind kind;
	int hits;
	int all;
};

static int note(const char *name, enum mr_counter_kind kind, uint64_t value, void *arg)
{
	struct found *found = arg;

	found->all++;
	if (strcmp(name, found->name) != 0)
		return 0;
	found->hits++;
	found->value = value;
	found->kind = kind;
	return 0;
}

static struct found look(const char *name)
{
	struct found found = {.name = name};
	struct mr_error err = {0};

	cr_assert_eq(mr_counters_read(path, note, &found, &err), 0, "%s", err.what);
	return found;
}

Test(counters, are_read_by_name, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	_Atomic uint64_t *rising =
		mr_counters_add(counters, MR_COUNTER_RISING, "millrace.lane.%d.records", 7);
	_Atomic uint64_t *gauge = mr_counters_add(counters, MR_COUNTER_GAUGE, "millrace.lanes");
	struct found found = look("millrace.lane.7.records");

	cr_assert_eq(found.hits, 1);
	cr_assert_eq(found.value, 0);
	cr_assert_eq(found.all, 2);
	mr_counter_add(rising, 40);
	mr_counter_add(rising, 2);
	mr_counter_set(gauge, 99);
	mr_counter_set(gauge, 3);
	found = look("millrace.lane.7.records");
	cr_assert_eq(found.value, 42);
	cr_assert_eq(found.kind, MR_COUNTER_RISING);
	found = look("millrace.lanes");
	cr_assert_eq(found.value, 3);
	cr_assert_eq(found.kind, MR_COUNTER_GAUGE);
	mr_counters_close(counters);
	cr_assert_eq(look("millrace.lane.7.records").value, 42, "closing keeps the file");
}

Test(counters, removed_ones_are_gone_and_their_places_come_back, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	_Atomic uint64_t *first = mr_counters_add(counters, MR_COUNTER_RISING, "a.b.c");
	_Atomic uint64_t *again;

	mr_counter_add(first, 5);
	mr_counters_remove(counters, first);
	cr_assert_eq(look("a.b.c").all, 0);
	again = mr_counters_add(counters, MR_COUNTER_GAUGE, "d.e.f");
	cr_assert_eq(again, first);
	cr_assert_eq(look("d.e.f").value, 0, "the old value is gone");
	mr_counters_close(counters);
}

Test(counters, owners_have_cache_lines_of_their_own, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	uintptr_t lines[2][8];

	for (int i = 0; i < 8; i++)
		for (int owner = 0; owner < 2; owner++)
			lines[owner][i] = (uintptr_t)mr_counters_add(counters, MR_COUNTER_RISING,
								     "owner.%d.n%d", owner, i) /
					  64;
	for (int i = 1; i < 8; i++) {
		cr_assert_eq(lines[0][i], lines[0][0]);
		cr_assert_eq(lines[1][i], lines[1][0]);
	}
	cr_assert_neq(lines[0][0], lines[1][0]);
	mr_counters_close(counters);
}

Test(counters, none_are_left_is_told_and_is_not_fatal, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	_Atomic uint64_t *last = NULL;

	/* More owners than lines: in the end they share. */
	for (int i = 0; i < MR_COUNTERS_MAX; i++) {
		last = mr_counters_add(counters, MR_COUNTER_RISING, "owner.%d.n", i);
		cr_assert_not_null(last);
		mr_counter_add(last, 1);
	}
	cr_assert_null(mr_counters_add(counters, MR_COUNTER_RISING, "one.more"));
	cr_assert_eq(look("owner.8191.n").all, MR_COUNTERS_MAX);
	mr_counters_remove(counters, last);
	cr_assert_eq(mr_counters_add(counters, MR_COUNTER_RISING, "one.more"), last);
	mr_counters_close(counters);
}

Test(counters, names_fit_or_are_refused, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	char name[MR_COUNTER_NAME_BYTES + 1];

	memset(name, 'x', sizeof(name));
	name[MR_COUNTER_NAME_BYTES] = '\0';
	cr_assert_null(mr_counters_add(counters, MR_COUNTER_RISING, "%s", name));
	name[MR_COUNTER_NAME_BYTES - 1] = '\0';
	cr_assert_not_null(mr_counters_add(counters, MR_COUNTER_RISING, "%s", name));
	cr_assert_eq(look(name).hits, 1);
	cr_assert_null(mr_counters_add(counters, MR_COUNTER_RISING, "%s", ""));
	cr_assert_not_null(mr_counters_add(counters, MR_COUNTER_RISING, "a b\n%s", "\xc3\xa4"));
	cr_assert_eq(look("a_b___").hits, 1);
	mr_counters_close(counters);
}

Test(counters, survive_the_death_of_their_writer, .fini = remove_file)
{
	int fd = new_file(), ready[2], status;
	char byte;
	pid_t child;

	cr_assert_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct mr_counters *counters = create(fd);
		_Atomic uint64_t *value =
			mr_counters_add(counters, MR_COUNTER_RISING, "engine.turns");

		mr_counter_add(value, 123);
		(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(look("engine.turns").value, 123);
	close(fd);
}

Test(counters, a_new_engine_begins_anew, .fini = remove_file)
{
	int fd = new_file();
	struct mr_counters *counters = create(dup(fd));

	mr_counter_add(mr_counters_add(counters, MR_COUNTER_RISING, "old.value"), 7);
	mr_counters_close(counters);
	counters = create(fd);
	cr_assert_eq(look("old.value").all, 0);
	mr_counter_add(mr_counters_add(counters, MR_COUNTER_RISING, "new.value"), 8);
	cr_assert_eq(look("new.value").value, 8);
	mr_counters_close(counters);
}

static int stop_at_once(const char *name, enum mr_counter_kind kind, uint64_t value, void *arg)
{
	(*(int *)arg)++;
	return -ECANCELED;
}

Test(counters, a_reader_can_stop, .fini = remove_file)
{
	struct mr_counters *counters = create(new_file());
	int calls = 0;

	mr_counters_add(counters, MR_COUNTER_RISING, "a.a");
	mr_counters_add(counters, MR_COUNTER_RISING, "a.b");
	cr_assert_eq(mr_counters_read(path, stop_at_once, &calls, NULL), -ECANCELED);
	cr_assert_eq(calls, 1);
	mr_counters_close(counters);
}

static void refused(const char *says)
{
	struct found found = {.name = ""};
	struct mr_error err = {0};

	cr_assert_eq(mr_counters_read(path, note, &found, &err), -EBADMSG);
	cr_assert(strstr(err.what, says), "'%s' does not say '%s'", err.what, says);
}

/* A good file with one counter, then 'bytes' written over it. */
static void spoil(off_t at, const void *bytes, size_t count)
{
	int fd;

	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = new_file();
	struct mr_counters *counters = create(dup(fd));

	mr_counters_add(counters, MR_COUNTER_RISING, "a.b");
	mr_counters_close(counters);
	cr_assert_eq(pwrite(fd, bytes, count, at), (ssize_t)count);
	close(fd);
}

Test(counters, garbage_is_refused_by_name, .fini = remove_file)
{
	uint32_t nine = 9;
	char full[MR_COUNTER_NAME_BYTES];
	struct mr_error err = {0};
	int fd;

	memset(full, 'x', sizeof(full));
	spoil(0, &nine, 4);
	refused("magic 0x00000009");
	unlink(path);
	spoil(4, &nine, 4);
	refused("format version 9, expected 1");
	unlink(path);
	spoil(8, &nine, 4);
	refused("room for 9 counters");
	unlink(path);
	spoil(MR_PAGE_BYTES + 4, &nine, 4);
	refused("entry 0 has kind 9");
	unlink(path);
	spoil(MR_PAGE_BYTES + 16, full, sizeof(full));
	refused("name of entry 0");
	unlink(path);
	spoil(MR_PAGE_BYTES + 16, "a\nb", 3);
	refused("name of entry 0");
	unlink(path);
	spoil(MR_PAGE_BYTES + 16, "\0\0\0\0", 4);
	refused("name of entry 0");
	fd = open(path, O_RDWR);
	cr_assert_eq(ftruncate(fd, 100), 0);
	refused("has 100 bytes");
	cr_assert_eq(ftruncate(fd, 0), 0);
	refused("has 0 bytes");
	close(fd);
	unlink(path);
	cr_assert_eq(mr_counters_read(path, note, NULL, &err), -ENOENT);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused("no counters file");
}

Test(counters, one_that_is_for_ever_being_written_is_left_out, .fini = remove_file)
{
	uint32_t odd = 3;

	spoil(MR_PAGE_BYTES, &odd, 4);
	cr_assert_eq(look("a.b").all, 0);
}

Test(counters, no_room_on_the_disk_is_an_error_at_start_not_a_signal_later)
{
	struct mr_counters *counters;
	struct mr_error err = {0};
	int fd = memfd_create("small", MFD_ALLOW_SEALING);

	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	cr_assert_eq(mr_counters_create(fd, &counters, &err), -EPERM);
	cr_assert(strstr(err.what, "cannot make the counters file 1118208 bytes big"));
	cr_assert_lt(fcntl(fd, F_GETFD), 0, "taken even when it fails");
}
