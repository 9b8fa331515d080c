/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters: the control thread names and drops them, each value has one writing thread, and any
 * program reads. Owns the file's map; what is free is remembered in private memory, so that nothing
 * in the file leads the writer astray.
 *
 * Values of one owner (all that stands before the name's last dot) share cache lines of eight; two
 * owners share one only when no line is free. All blocks of the file are allocated at start: a
 * store into it can then never fail for want of space.
 */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "error.h"

enum {
	LINE_VALUES = 8,
	LINE_COUNT = MR_COUNTERS_MAX / LINE_VALUES,
	LOOKS_MAX = 100, /* at an entry that is being written */
};

struct mr_counters {
	uint8_t *map;
	uint64_t owners[LINE_COUNT]; /* hash of whose line it is; of no meaning while used[] is 0 */
	uint8_t used[LINE_COUNT];    /* a bit for each of its values */
	int fd;
};

static struct mr_counter_entry *entries_of(const uint8_t *map)
{
	return (void *)(map + sizeof(struct mr_counters_header));
}

static _Atomic uint64_t *values_of(const uint8_t *map)
{
	return (void *)(entries_of(map) + MR_COUNTERS_MAX);
}

static int map_file(int fd, uint8_t **out, struct mr_error *err)
{
	void *map;
	int r = posix_fallocate(fd, 0, MR_COUNTERS_BYTES);

	if (r == 0 && ftruncate(fd, MR_COUNTERS_BYTES) < 0)
		r = errno;
	if (r != 0)
		return mr_error_set(err, -r, "cannot make the counters file %zu bytes big: %s",
				    MR_COUNTERS_BYTES, strerror(r));
	map = mmap(NULL, MR_COUNTERS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return mr_error_set(err, -errno, "cannot map the counters file: %s",
				    strerror(errno));
	(void)madvise(map, MR_COUNTERS_BYTES, MADV_DONTFORK); /* a child would only count wrongly */
	*out = map;
	return 0;
}

/*
 * A reader may hold the old file mapped, so it is never cut: first it is no counters file, then a
 * new one.
 */
static void begin_anew(uint8_t *map)
{
	struct mr_counters_header *header = (void *)map;

	atomic_store_explicit(&header->magic, 0, memory_order_relaxed); /* relaxed: W11 follows */
	memset(map + sizeof(uint32_t), 0, MR_COUNTERS_BYTES - sizeof(uint32_t));
	header->version = MR_FORMAT_VERSION;
	header->count_max = MR_COUNTERS_MAX;
	header->pid = (uint32_t)getpid();
	/* W11: the file is empty before it is one. Pairs with R11. */
	atomic_store_explicit(&header->magic, MR_COUNTERS_MAGIC, memory_order_release);
}

int mr_counters_create(int fd, struct mr_counters **out, struct mr_error *err)
{
	struct mr_counters *counters = calloc(1, sizeof(*counters));
	int r;

	if (!counters) {
		(void)close(fd); /* nothing was written to it */
		return mr_error_set(err, -ENOMEM, "no memory for the counters");
	}
	counters->fd = fd;
	r = map_file(fd, &counters->map, err);
	if (r < 0) {
		mr_counters_close(counters);
		return r;
	}
	begin_anew(counters->map);
	*out = counters;
	return 0;
}

void mr_counters_close(struct mr_counters *counters)
{
	if (!counters)
		return;
	if (counters->map)
		(void)munmap(counters->map, MR_COUNTERS_BYTES); /* our own map */
	(void)close(counters->fd); /* counters are no data: a lost one is not worth a stop */
	free(counters);
}

/* FNV-1a of what stands before the last dot. */
static uint64_t owner_of(const char *name)
{
	const char *end = strrchr(name, '.');
	uint64_t hash = 0xcbf29ce484222325u;

	for (const char *at = name; at < end; at++)
		hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
	return hash;
}

/* The first line that is 'owner's and has room, else a free one, else any with room; or -1. */
static int find_line(const struct mr_counters *counters, uint64_t owner)
{
	int empty = -1, any = -1;

	for (int i = 0; i < LINE_COUNT; i++) {
		if (counters->used[i] == UINT8_MAX)
			continue;
		if (counters->used[i] != 0 && counters->owners[i] == owner)
			return i;
		if (counters->used[i] == 0 && empty < 0)
			empty = i;
		if (any < 0)
			any = i;
	}
	return empty >= 0 ? empty : any;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

/*
 * W12: 'odd' is visible before any word of the name, each word before 'even'. Pairs with R12: who
 * reads the same even generation before and after has read one entry.
 */
static void write_entry(struct mr_counter_entry *entry, enum mr_counter_kind kind,
			const uint64_t name[MR_COUNTER_NAME_BYTES / 8], _Atomic uint64_t *value)
{
	/* relaxed: only this thread writes it */
	uint32_t even = atomic_load_explicit(&entry->generation, memory_order_relaxed);

	atomic_store_explicit(&entry->generation, even + 1, memory_order_relaxed);
	for (int i = 0; i < MR_COUNTER_NAME_BYTES / 8; i++)
		__atomic_store_n(&entry->name[i], name[i], __ATOMIC_RELEASE);
	atomic_store_explicit(&entry->kind, kind, memory_order_release);
	atomic_store_explicit(value, 0, memory_order_release);
	atomic_store_explicit(&entry->generation, even + 2, memory_order_release);
}

_Atomic uint64_t *mr_counters_add(struct mr_counters *counters, enum mr_counter_kind kind,
				  const char *format, ...)
{
	char name[MR_COUNTER_NAME_BYTES] = "";
	uint64_t words[MR_COUNTER_NAME_BYTES / 8];
	va_list args;
	int bytes, line, place, index;

	mr_assert(kind == MR_COUNTER_RISING || kind == MR_COUNTER_GAUGE);
	va_start(args, format);
	bytes = vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	if (bytes <= 0 || (size_t)bytes >= sizeof(name))
		return NULL;
	for (char *at = name; *at; at++)
		if (!name_char(*at))
			*at = '_';
	line = find_line(counters, owner_of(name));
	if (line < 0)
		return NULL;
	if (counters->used[line] == 0)
		counters->owners[line] = owner_of(name);
	place = __builtin_ctz(~(unsigned int)counters->used[line]);
	counters->used[line] |= (uint8_t)(1u << place);
	index = line * LINE_VALUES + place;
	memcpy(words, name, sizeof(words));
	write_entry(&entries_of(counters->map)[index], kind, words,
		    &values_of(counters->map)[index]);
	return &values_of(counters->map)[index];
}

void mr_counters_remove(struct mr_counters *counters, _Atomic uint64_t *value)
{
	static const uint64_t no_name[MR_COUNTER_NAME_BYTES / 8];
	ptrdiff_t index = value - values_of(counters->map);
	uint8_t bit = (uint8_t)(1u << (index % LINE_VALUES));

	mr_assert(index >= 0);
	mr_assert(index < MR_COUNTERS_MAX);
	mr_assert(counters->used[index / LINE_VALUES] & bit);
	write_entry(&entries_of(counters->map)[index], MR_COUNTER_FREE, no_name, value);
	counters->used[index / LINE_VALUES] &= (uint8_t)~bit;
}

/* ---- reading from outside -------------------------------------------------------------------- */

static int check_header(const char *path, const struct mr_counters_header *header,
			struct mr_error *err)
{
	/* R11: pairs with W11. */
	uint32_t magic = atomic_load_explicit(&header->magic, memory_order_acquire);
	uint32_t version = header->version, count_max = header->count_max;

	if (magic != MR_COUNTERS_MAGIC)
		return mr_error_set(err, -EBADMSG,
				    "counters file '%s' has magic 0x%08x, expected 0x%08x", path,
				    magic, MR_COUNTERS_MAGIC);
	if (version != MR_FORMAT_VERSION)
		return mr_error_set(err, -EBADMSG,
				    "counters file '%s' has format version %u, expected %u", path,
				    version, MR_FORMAT_VERSION);
	if (count_max != MR_COUNTERS_MAX)
		return mr_error_set(err, -EBADMSG,
				    "counters file '%s' has room for %u counters, expected %u",
				    path, count_max, MR_COUNTERS_MAX);
	return 0;
}

/* An entry and its value, copied. */
struct seen {
	union {
		uint64_t words[MR_COUNTER_NAME_BYTES / 8];
		char text[MR_COUNTER_NAME_BYTES];
	} name;
	uint64_t value;
	uint32_t kind;
};

/* False if the entry changed while it was copied (R12). */
static bool copy_entry(const struct mr_counter_entry *entry, const _Atomic uint64_t *value,
		       struct seen *seen)
{
	uint32_t before = atomic_load_explicit(&entry->generation, memory_order_acquire);

	seen->kind = atomic_load_explicit(&entry->kind, memory_order_acquire);
	for (int i = 0; i < MR_COUNTER_NAME_BYTES / 8; i++)
		seen->name.words[i] = __atomic_load_n(&entry->name[i], __ATOMIC_ACQUIRE);
	seen->value = atomic_load_explicit(value, memory_order_acquire);
	/* relaxed: the acquiring loads above stand before it */
	return before % 2 == 0 &&
	       before == atomic_load_explicit(&entry->generation, memory_order_relaxed);
}

static bool name_is_good(const char *name)
{
	size_t bytes = strnlen(name, MR_COUNTER_NAME_BYTES);

	if (bytes == 0 || bytes == MR_COUNTER_NAME_BYTES)
		return false;
	for (size_t i = 0; i < bytes; i++)
		if (!name_char(name[i]))
			return false;
	return true;
}

/*
 * Copies entry 'index': 1, 0 if it is free or never stood still (its writer may have died in it),
 * -EBADMSG.
 */
static int read_entry(const char *path, const uint8_t *map, int index, struct seen *seen,
		      struct mr_error *err)
{
	int looks = 0;

	while (!copy_entry(&entries_of(map)[index], &values_of(map)[index], seen))
		if (++looks == LOOKS_MAX)
			return 0;
	if (seen->kind == MR_COUNTER_FREE)
		return 0;
	if (seen->kind > MR_COUNTER_GAUGE)
		return mr_error_set(err, -EBADMSG,
				    "counters file '%s': entry %d has kind %u, expected at most %d",
				    path, index, seen->kind, MR_COUNTER_GAUGE);
	if (!name_is_good(seen->name.text))
		return mr_error_set(err, -EBADMSG,
				    "counters file '%s': the name of entry %d is no name", path,
				    index);
	return 1;
}

static int open_file(const char *path, struct mr_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
	struct stat found = {0};

	if (fd < 0)
		return mr_error_set(err, -errno, "cannot open the counters file '%s': %s", path,
				    strerror(errno));
	if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) &&
	    (uint64_t)found.st_size == MR_COUNTERS_BYTES)
		return fd;
	(void)close(fd); /* only read */
	return mr_error_set(err, -EBADMSG,
			    "'%s' is no counters file: it has %" PRId64 " bytes, expected %zu",
			    path, (int64_t)found.st_size, MR_COUNTERS_BYTES);
}

int mr_counters_read(const char *path,
		     int (*each)(const char *name, enum mr_counter_kind kind, uint64_t value,
				 void *arg),
		     void *arg, struct mr_error *err)
{
	int fd = open_file(path, err);
	struct seen seen;
	uint8_t *map;
	int r;

	if (fd < 0)
		return fd;
	map = mmap(NULL, MR_COUNTERS_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd); /* only read; the map stays */
	if (map == MAP_FAILED)
		return mr_error_set(err, -errno, "cannot map the counters file '%s': %s", path,
				    strerror(errno));
	r = check_header(path, (const void *)map, err);
	for (int i = 0; r >= 0 && i < MR_COUNTERS_MAX; i++) {
		r = read_entry(path, map, i, &seen, err);
		if (r == 1)
			r = each(seen.name.text, seen.kind, seen.value, arg);
	}
	(void)munmap(map, MR_COUNTERS_BYTES); /* our own map */
	return r < 0 ? r : 0;
}
