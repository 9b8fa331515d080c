/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What producers told the parent, and whether the log holds it. Everything here belongs to the
 * parent, which no kill reaches.
 */
#include <stdlib.h>
#include <string.h>

#include "crew.h"

/* One producer's life. */
struct writer {
	enum crew_habit habit;
	bool begun;
	bool killed;
	uint64_t left; /* published when it was killed, for the engine to take */
	bool ended;    /* it told its end */
	int32_t flushed;
	struct mr_producer_state state;
	uint64_t acknowledged[CREW_PARTITIONS_MAX]; /* receipts reach up to this number */
};

struct told_receipt {
	uint32_t writer;
	uint32_t count;
	uint64_t first;
	uint64_t base_offset;
	int32_t partition;
	uint32_t reserved;
};

struct crew_told {
	struct writer writers[CREW_WRITERS_MAX];
	struct told_receipt *receipts;
	size_t count, room;
	uint64_t broken; /* receipts that left a number out or repeated one */
};

struct crew_told *crew_told_new(void)
{
	struct crew_told *told = calloc(1, sizeof(*told));

	if (!told)
		torture_die("no memory");
	return told;
}

void crew_told_free(struct crew_told *told)
{
	free(told->receipts);
	free(told);
}

void crew_told_begin(struct crew_told *told, uint32_t writer, enum crew_habit habit)
{
	if (writer >= CREW_WRITERS_MAX)
		torture_die("more producers than the test can hold");
	told->writers[writer].habit = habit;
	told->writers[writer].begun = true;
}

void crew_told_killed(struct crew_told *told, uint32_t writer, uint64_t published)
{
	told->writers[writer].killed = true;
	told->writers[writer].left = published;
}

bool crew_told_ended(const struct crew_told *told, uint32_t writer)
{
	return told->writers[writer].ended;
}

static void take_receipt(struct crew_told *told, uint32_t number, const struct mr_receipt *receipt)
{
	struct writer *writer = &told->writers[number];

	if (receipt->partition < 0 || receipt->partition >= CREW_PARTITIONS_MAX ||
	    receipt->first != writer->acknowledged[receipt->partition]) {
		told->broken++;
		return;
	}
	writer->acknowledged[receipt->partition] += receipt->count;
	if (told->count == told->room) {
		told->room = told->room ? told->room * 2 : 65536;
		told->receipts = realloc(told->receipts, told->room * sizeof(*told->receipts));
		if (!told->receipts)
			torture_die("no memory for receipts");
	}
	told->receipts[told->count++] = (struct told_receipt){
		.writer = number,
		.count = (uint32_t)receipt->count,
		.first = receipt->first,
		.base_offset = receipt->base_offset,
		.partition = receipt->partition,
	};
}

void crew_told_take(struct crew_told *told, const struct crew_report *report)
{
	struct writer *writer;

	if (report->writer >= CREW_WRITERS_MAX)
		torture_die("a report of producer %u", report->writer);
	writer = &told->writers[report->writer];
	if (report->kind == CREW_RECEIPT) {
		take_receipt(told, report->writer, &report->receipt);
		return;
	}
	writer->state = report->state;
	writer->flushed = report->flushed;
	writer->ended = report->kind == CREW_END;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* What the log holds of one producer in one partition. */
struct found {
	uint64_t next; /* number after the last one seen */
	uint64_t count;
};

struct finding {
	const struct crew_told *told;
	const struct crew_page *page;
	struct crew_verdict *verdict;
	struct found found[CREW_WRITERS_MAX][CREW_PARTITIONS_MAX];
};

static bool is_weak(const struct writer *writer)
{
	return writer->habit == CREW_SMALL;
}

static void read_partition(struct finding *finding, int32_t partition)
{
	uint64_t end = atomic_load(&finding->page->next[CREW_READER][partition]);

	for (uint64_t offset = 0; offset < end; offset++) {
		const struct crew_entry *entry =
			&finding->page->seen[CREW_READER][partition][offset];
		struct found *found;

		finding->verdict->records++;
		if (entry->writer == 0 || entry->writer > CREW_WRITERS_MAX ||
		    !finding->told->writers[entry->writer - 1].begun) {
			finding->verdict->strange++;
			continue;
		}
		found = &finding->found[entry->writer - 1][partition];
		if (entry->number < found->next)
			finding->verdict->doubled++;
		else if (entry->number > found->next &&
			 !is_weak(&finding->told->writers[entry->writer - 1]))
			finding->verdict->disordered++;
		if (entry->number < found->next)
			continue; /* no further record, but one of those again */
		found->next = (uint64_t)entry->number + 1;
		found->count++;
	}
}

static void compare_seers(struct finding *finding, int32_t partition)
{
	const struct crew_page *page = finding->page;
	uint64_t end = atomic_load(&page->next[CREW_READER][partition]);
	uint64_t seen = atomic_load(&page->next[CREW_CONSUMER][partition]);

	if (seen != end)
		finding->verdict->differing += seen > end ? seen - end : end - seen;
	for (uint64_t offset = 0; offset < end && offset < seen; offset++)
		if (memcmp(&page->seen[CREW_READER][partition][offset],
			   &page->seen[CREW_CONSUMER][partition][offset],
			   sizeof(struct crew_entry)) != 0)
			finding->verdict->differing++;
}

/* Each record that a receipt placed lies there, unless its lane promised less than the disk. */
static void check_receipt(struct finding *finding, const struct told_receipt *receipt)
{
	const struct crew_entry *seen = finding->page->seen[CREW_READER][receipt->partition];
	uint64_t end = atomic_load(&finding->page->next[CREW_READER][receipt->partition]);

	finding->verdict->acknowledged += receipt->count;
	if (receipt->base_offset == MR_OFFSET_UNKNOWN ||
	    is_weak(&finding->told->writers[receipt->writer]))
		return;
	for (uint32_t i = 0; i < receipt->count; i++) {
		uint64_t offset = receipt->base_offset + i;

		if (offset >= end || seen[offset].writer != receipt->writer + 1 ||
		    seen[offset].number != (uint32_t)(receipt->first + i))
			finding->verdict->misplaced++;
	}
}

static void check_writer(struct finding *finding, uint32_t number)
{
	const struct writer *writer = &finding->told->writers[number];
	struct crew_verdict *verdict = finding->verdict;
	uint64_t count = 0;

	for (int32_t i = 0; i < CREW_PARTITIONS_MAX; i++) {
		const struct found *found = &finding->found[number][i];

		count += found->count;
		if (writer->killed && !is_weak(writer) && found->count < writer->acknowledged[i])
			verdict->lost += writer->acknowledged[i] - found->count;
	}
	if (writer->killed) {
		if (count < writer->left)
			verdict->left += writer->left - count;
		return;
	}
	if (!writer->ended || writer->flushed < 0) {
		verdict->unflushed++;
		return;
	}
	if (is_weak(writer)) {
		verdict->memory_lost += writer->state.published - count;
		verdict->memory_told += writer->state.lost;
	} else if (count != writer->state.published) {
		verdict->lost += writer->state.published - count;
	}
}

void crew_told_check(const struct crew_told *told, const struct crew_page *page,
		     struct crew_verdict *verdict)
{
	struct finding *finding = calloc(1, sizeof(*finding));

	if (!finding)
		torture_die("no memory");
	memset(verdict, 0, sizeof(*verdict));
	finding->told = told;
	finding->page = page;
	finding->verdict = verdict;
	verdict->misplaced = told->broken;
	for (int32_t i = 0; i < (int32_t)page->partitions; i++) {
		read_partition(finding, i);
		compare_seers(finding, i);
	}
	for (size_t i = 0; i < told->count; i++)
		check_receipt(finding, &told->receipts[i]);
	for (uint32_t i = 0; i < CREW_WRITERS_MAX; i++)
		if (told->writers[i].begun)
			check_writer(finding, i);
	free(finding);
}
