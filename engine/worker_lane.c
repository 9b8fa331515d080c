/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One drain of one lane: frames out of the client's memory, checked, straight into a record batch
 * in the tail. Runs on the partition's worker. One drain makes at most one batch, with the lane's
 * producer id, epoch and the sequence of its first record; batches grow by themselves when much is
 * waiting.
 *
 * A client that writes nonsense loses its lane: what it had published properly before is taken, the
 * reason stands on the lane's engine page, and nobody else notices.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "worker_state.h"

/*
 * A drain is bounded so that one busy lane cannot keep the others waiting; where it compresses,
 * too, by less, since that takes ten times as long, and more at a time is not much smaller.
 */
#define DRAIN_BYTES_MAX	      (256u << 10)
#define DRAIN_BYTES_TO_SHRINK (64u << 10)

bool mr_answers_full(const struct mr_answers *answers)
{
	return answers->head - answers->tail >= MR_ANSWERS_MAX;
}

void mr_answers_drop(struct mr_answers *answers)
{
	for (; answers->tail != answers->head; answers->tail++)
		answers->slots[answers->tail & (MR_ANSWERS_MAX - 1)].lane->unanswered--;
}

/* What was taken is taken once more, in batches that may end elsewhere. */
static void note_again(struct mr_worker_lane *lane)
{
	uint32_t index = mr_lane_reader_index(&lane->reader);

	if (lane->again && (int32_t)(lane->again_index - index) > 0)
		return; /* that was further */
	lane->again = true;
	lane->again_index = index;
}

/* Whether the next batch may be one that another log has a part of. */
static bool may_be_known(struct mr_worker_lane *lane)
{
	uint32_t index = mr_lane_reader_index(&lane->reader);

	if (lane->again && (int32_t)(lane->again_index - index) <= 0)
		lane->again = false;
	return lane->again || lane->repeats;
}

void mr_worker_rewind(struct mr_worker_lane *lane)
{
	mr_assert(lane->unanswered == 0);
	if (lane->reason != MR_LANE_OPEN)
		return;
	note_again(lane);
	mr_lane_reader_rewind(&lane->reader);
	lane->resumed = true;
	lane->forwarded = 0;
}

void mr_answers_push(struct mr_answers *answers, const struct mr_answer *answer)
{
	mr_assert(!mr_answers_full(answers));
	answers->slots[answers->head++ & (MR_ANSWERS_MAX - 1)] = *answer;
	answer->lane->unanswered++;
}

uint32_t mr_worker_answer(struct mr_answers *answers, uint64_t offset,
			  void (*wake)(struct mr_worker_lane *lane, void *arg), void *arg)
{
	uint32_t count = 0;

	while (answers->tail != answers->head) {
		struct mr_answer *answer = &answers->slots[answers->tail & (MR_ANSWERS_MAX - 1)];

		if (answer->end_offset > offset)
			break;
		mr_lane_acknowledge(&answer->lane->reader, answer->index, answer->next_number,
				    answer->base_offset, answer->count);
		mr_assert(answer->lane->unanswered > 0);
		answer->lane->unanswered--;
		wake(answer->lane, arg);
		answers->tail++;
		count++;
	}
	return count;
}

/* Where answers of this lane wait; NULL: it is answered as soon as its records are in the tail. */
static struct mr_answers *answers_of(struct mr_worker_lane *lane)
{
	switch (lane->acks) {
	case MR_ACKS_MEMORY:
		return NULL;
	case MR_ACKS_DISK:
		return &lane->partition->disk;
	case MR_ACKS_COMMITTED:
		break;
	}
	return &lane->partition->committed;
}

static void answer_later(struct mr_worker_lane *lane, uint64_t base_offset, uint32_t count,
			 uint64_t end_offset)
{
	struct mr_answers *answers = answers_of(lane);
	struct mr_answer answer = {
		.lane = lane,
		.end_offset = end_offset,
		.base_offset = base_offset,
		.next_number = lane->reader.next_number,
		.index = mr_lane_reader_index(&lane->reader),
		.count = count,
	};

	if (answers)
		mr_answers_push(answers, &answer);
	else
		mr_lane_acknowledge(&lane->reader, answer.index, answer.next_number, base_offset,
				    count);
}

void mr_worker_poison(struct mr_worker_lane *lane, enum mr_lane_reason reason, const char *text)
{
	if (lane->reason != MR_LANE_OPEN)
		return;
	lane->reason = reason;
	mr_lane_poison(&lane->reader, reason, text);
}

/* True when the worker has nothing more to do for a lane that is closing. */
bool mr_worker_lane_done(const struct mr_worker_lane *lane)
{
	if (lane->unanswered)
		return false;
	return lane->reason != MR_LANE_OPEN ||
	       (int32_t)(mr_lane_reader_index(&lane->reader) - lane->close_index) >= 0;
}

/*
 * The first frames of a lane that was handed back may be in the log already. They are dropped and
 * answered: what the log has is flushed, or will be before the high watermark passes it.
 */
static struct mr_lane_drain drop_duplicates(struct mr_worker_partition *partition,
					    struct mr_worker_lane *lane, uint32_t available,
					    uint32_t duplicates)
{
	const struct mr_producer_entry *known =
		mr_partition_find_producer(&partition->state, lane->producer_id);
	uint64_t end_offset = known ? known->last_offset + 1 : partition->state.log_end;
	struct mr_lane_drain drain = {0};
	struct mr_lane_frame frame = {0};
	uint32_t slots = 0, frames = 0;
	uint64_t base = MR_OFFSET_UNKNOWN;
	struct mr_error err;

	while (slots < available && frames < duplicates) {
		uint64_t number = lane->reader.next_number + frames;
		int32_t sequence = (int32_t)(number & INT32_MAX);
		uint64_t offset;

		if (mr_lane_reader_frame(&lane->reader, slots, available, number, &frame, &err) <
		    0) {
			if (!frames) /* else it is met again when nothing stands before it */
				mr_worker_poison(lane, MR_LANE_BAD_FRAME, err.what);
			break;
		}
		offset = mr_partition_find_sequence(&partition->state, lane->producer_id, sequence);
		if (!frames)
			base = offset;
		else if (base == MR_OFFSET_UNKNOWN ? offset != base : offset != base + frames)
			break; /* a receipt covers one dense run */
		slots += frame.slots;
		frames++;
	}
	if (!frames)
		return drain;
	mr_lane_reader_take(&lane->reader, slots, frames);
	answer_later(lane, base, frames, end_offset);
	mr_counter_add(partition->counters[MR_COUNT_DUPLICATES], frames);
	drain.frames = frames;
	drain.bytes = slots * MR_SLOT_BYTES;
	return drain;
}

/* Appends one frame's record to the batch. -ENOSPC: it does not fit; -EBADMSG: its headers are
 * nonsense. */
static inline int encode_frame(struct mr_batch_writer *writer, const struct mr_lane_frame *frame)
{
	const struct mr_frame *head = &frame->head;
	struct mr_batch_writer before = *writer;
	int r;

	r = mr_batch_add(writer, head->timestamp_ms, frame->key,
			 head->flags & MR_FRAME_NULL_KEY ? -1 : (int32_t)head->key_bytes,
			 frame->value,
			 head->flags & MR_FRAME_NULL_VALUE ? -1 : (int32_t)head->value_bytes,
			 frame->headers, frame->header_bytes, head->header_count);
	if (r < 0 || !frame->header_bytes)
		return r;
	/* the copy in the tail is checked: the client may be changing its own */
	r = mr_headers_check(writer->at - frame->header_bytes, frame->header_bytes,
			     head->header_count);
	if (r < 0)
		*writer = before;
	return r;
}

/*
 * Encodes frames from slot 'slots' on as long as they are plain: nearly all are. Returns the slot
 * where it ended; why it ended the slower way finds out.
 */
static uint32_t encode_plain_frames(const struct mr_worker_lane *lane, uint32_t slots,
				    uint32_t available, struct mr_batch_writer *writer)
{
	const struct mr_lane_reader *reader = &lane->reader;
	struct mr_batch_writer batch = *writer; /* a copy of our own stays in registers */
	const uint8_t *from =
		reader->slots + (size_t)((reader->cursor + slots) & reader->mask) * MR_SLOT_BYTES;
	const uint8_t *at = from, *end = from + (size_t)(available - slots) * MR_SLOT_BYTES;
	uint64_t number = reader->next_number + (uint32_t)batch.record_count;
	struct mr_lane_plain frame;

	if (end - from < (ptrdiff_t)(sizeof(struct mr_frame) + MR_LANE_SLACK_BYTES))
		return slots; /* a lone record is not worth the copies */
	while (mr_lane_reader_plain(reader, at, end, number, &frame)) {
		if (!mr_batch_add_plain(&batch, frame.timestamp_ms, frame.payload, frame.key_bytes,
					frame.null_key, frame.value_bytes, frame.null_value))
			break;
		at = frame.next;
		number++;
	}
	*writer = batch;
	return slots + (uint32_t)((size_t)(at - from) / MR_SLOT_BYTES);
}

/* Encodes as many frames as fit; returns slots taken. A bad frame ends it, with 'err' set. */
static uint32_t encode_frames(struct mr_worker_lane *lane, uint32_t available,
			      struct mr_batch_writer *writer, int *status, struct mr_error *err)
{
	struct mr_lane_frame frame = {0};
	uint32_t slots = 0;

	*status = 0;
	while ((slots = encode_plain_frames(lane, slots, available, writer)) < available) {
		uint64_t number = lane->reader.next_number + (uint32_t)writer->record_count;
		int r = mr_lane_reader_frame(&lane->reader, slots, available, number, &frame, err);

		if (r < 0) {
			*status = r;
			break;
		}
		r = encode_frame(writer, &frame);
		if (r == -ENOSPC)
			break;
		if (r < 0) {
			*status = mr_error_set(err, -EBADMSG,
					       "record %llu: its %u headers are not well formed",
					       (unsigned long long)number, frame.head.header_count);
			break;
		}
		slots += frame.slots;
	}
	return slots;
}

/* Where a batch is to lie, and whether it gets there by way of the staging buffer. */
struct place {
	uint8_t *at;
	uint32_t room;
	bool by_staging;
};

/*
 * As encode_frames(), of a batch that begins in the staging buffer. The bound is passed only for a
 * record that is larger; one that leaves no room to compress it does not fit at all.
 */
static uint32_t encode_staged(struct mr_worker_lane *lane, uint32_t available, uint32_t room,
			      struct mr_batch_writer *writer, int *status, struct mr_error *err)
{
	const struct mr_worker_partition *partition = lane->partition;
	uint32_t rooms[] = {room < DRAIN_BYTES_TO_SHRINK ? room : DRAIN_BYTES_TO_SHRINK, room};
	uint32_t slots = 0, i;

	for (i = 0; i < mr_array_count(rooms); i++) {
		mr_compressor_begin(partition->compressor, partition->compression, writer,
				    rooms[i]);
		slots = encode_frames(lane, available, writer, status, err);
		if (writer->record_count || *status < 0)
			break;
	}
	return slots;
}

/* As encode_frames(), of a batch that begins here: where it is to lie, if not by way of staging. */
static inline uint32_t encode_batch(struct mr_worker_lane *lane, uint32_t available,
				    const struct place *place, struct mr_batch_writer *writer,
				    int *status, struct mr_error *err)
{
	if (place->by_staging) {
		uint32_t slots = encode_staged(lane, available, place->room, writer, status, err);

		if (writer->record_count || *status < 0)
			return slots;
	}
	mr_batch_begin(writer, place->at, place->room);
	return encode_frames(lane, available, writer, status, err);
}

/* The batch is in its place, whole. Returns its bytes. */
static uint32_t end_batch(const struct mr_worker_partition *partition,
			  struct mr_batch_writer *writer, const struct place *place,
			  struct mr_batch_identity *identity)
{
	if (writer->bytes != place->at)
		identity->attributes =
			mr_compressor_place(partition->compressor, partition->compression, writer,
					    place->at, place->room);
	return (uint32_t)mr_batch_end(writer, identity);
}

/*
 * Room to ask the log for: a frame's 32 bytes of header are about what a record's varints need at
 * most, so a batch is hardly larger than its frames. Never more than the log takes, which is
 * enough for the largest frame.
 */
static uint32_t batch_room(const struct mr_worker_lane *lane, uint32_t available)
{
	const struct mr_worker_partition *partition = lane->partition;
	uint64_t wanted = (uint64_t)available * (MR_SLOT_BYTES + 1);
	uint64_t least = mr_batch_record_bytes_max(lane->reader.frame_bytes_max);

	if (wanted > DRAIN_BYTES_MAX)
		wanted = least > DRAIN_BYTES_MAX ? least : DRAIN_BYTES_MAX;
	wanted += MR_BATCH_HEADER_BYTES + MR_BATCH_RECORD_BYTES_OVERHEAD_MAX;
	wanted += mr_compress_room(partition->compression, (uint32_t)wanted);
	if (wanted > partition->log_options.batch_bytes_max)
		wanted = partition->log_options.batch_bytes_max;
	return (uint32_t)wanted;
}

static void finish_batch(struct mr_worker_partition *partition, struct mr_worker_lane *lane,
			 struct mr_batch_writer *writer, const struct place *place, uint32_t slots,
			 const struct mr_clock *clock)
{
	uint32_t count = (uint32_t)writer->record_count;
	uint64_t end;
	int noted;
	struct mr_batch_identity identity = {
		.base_offset = partition->state.log_end,
		.leader_epoch = partition->state.leader_epoch,
		.producer_id = lane->producer_id,
		.producer_epoch = lane->producer_epoch,
		.base_sequence = (int32_t)(lane->reader.next_number & INT32_MAX),
	};
	int64_t max_timestamp_ms = writer->max_timestamp_ms;
	size_t plain_bytes = (size_t)(writer->at - writer->bytes);
	uint32_t bytes = end_batch(partition, writer, place, &identity);

	mr_assert(mr_log_end_offset(partition->log) == identity.base_offset);
	/* first what others wait for, then the books */
	end = mr_log_append(partition->log, bytes, count, max_timestamp_ms);
	mr_lane_reader_take(&lane->reader, slots, count);
	answer_later(lane, identity.base_offset, count, end);
	noted = mr_epochs_note(&partition->state.epochs, identity.leader_epoch,
			       identity.base_offset);
	mr_assert(noted == 0); /* a leader's epochs only rise */
	(void)mr_partition_append(&partition->state, lane->producer_id, lane->producer_epoch,
				  identity.base_sequence, count, mr_clock_wall_ms(clock));
	mr_assert(end == partition->state.log_end);
	mr_counter_add(partition->counters[MR_COUNT_RECORDS], count);
	mr_counter_add(partition->counters[MR_COUNT_BATCHES], 1);
	mr_counter_add(partition->counters[MR_COUNT_BYTES], bytes);
	mr_counter_add(partition->counters[MR_COUNT_PLAIN_BYTES], plain_bytes);
}

/* What the partition thinks of the frame that comes next. True: append from here on. */
static bool admit(struct mr_worker_partition *partition, struct mr_worker_lane *lane,
		  uint32_t available, struct mr_lane_drain *drain)
{
	int32_t sequence = (int32_t)(lane->reader.next_number & INT32_MAX);
	const struct mr_producer_entry *known = NULL;
	uint32_t duplicates = 0;
	int32_t expected = 0;
	char text[200];

	/* what came in under the epoch before the hand-back is in the log once, whatever epoch goes
	 * on */
	if (lane->resumed)
		known = mr_partition_find_producer(&partition->state, lane->producer_id);
	if (known && known->epoch > lane->producer_epoch)
		known = NULL; /* fenced, as any lane */
	switch (mr_partition_check(&partition->state, lane->producer_id,
				   known ? known->epoch : lane->producer_epoch, sequence, available,
				   &duplicates, &expected)) {
	case MR_SEQUENCE_NEXT:
	case MR_SEQUENCE_BASE:
		lane->resumed = false;
		return true;
	case MR_SEQUENCE_DUPLICATE:
		/* a bad frame is never looked at again: what was bad could be good by then */
		*drain = drop_duplicates(partition, lane, available, duplicates);
		return false;
	case MR_SEQUENCE_GAP:
		if (lane->resumed && lane->acks != MR_ACKS_COMMITTED) {
			lane->resumed = false; /* told by mr_worker_resume(); a new epoch begins */
			if (partition->replica && known && known->epoch >= lane->producer_epoch)
				lane->producer_epoch = (int16_t)(known->epoch + 1);
			return true;
		}
		snprintf(text, sizeof(text),
			 "producer %lld: record with sequence %d follows sequence %d: %d records "
			 "are missing",
			 (long long)lane->producer_id, sequence,
			 mr_sequence_add(expected, INT32_MAX),
			 mr_sequence_distance(sequence, expected));
		mr_worker_poison(lane, MR_LANE_GAP, text);
		return false;
	case MR_SEQUENCE_FENCED:
		snprintf(text, sizeof(text),
			 "producer %lld: epoch %d is over, a newer one has written since",
			 (long long)lane->producer_id, lane->producer_epoch);
		mr_worker_poison(lane, MR_LANE_FENCED, text);
		return false;
	}
	return false;
}

static uint32_t slots_waiting(struct mr_worker_lane *lane)
{
	struct mr_error err;
	int64_t available = mr_lane_reader_poll(&lane->reader, &err);

	if (available >= 0)
		return (uint32_t)available;
	mr_worker_poison(lane, MR_LANE_BAD_FRAME, err.what);
	return 0;
}

/*
 * Counts what is missing between the log's records of a weak lane and the next one, on the engine's
 * page. What an engine before has told is not told again: it may have died before anything that it
 * took behind the gap was durable, so that the gap is found once more, and longer.
 */
static void tell_lost(struct mr_worker_lane *lane, uint64_t missing)
{
	struct mr_lane_engine_page *page = lane->reader.engine;
	uint64_t next = lane->reader.next_number, first = next - missing;

	if (first < page->lost_before)
		first = page->lost_before;
	if (missing == 0 || first >= next)
		return;
	page->lost_before = next;
	/* relaxed: a number for people */
	atomic_fetch_add_explicit(&page->lost, next - first, memory_order_relaxed);
}

/*
 * A lane that was handed back: its frames say where it goes on (the old engine may have died
 * between writing number and index). What an acks level weaker than committed has cost is told at
 * once, on the engine's page.
 */
void mr_worker_resume(struct mr_worker_partition *partition, struct mr_worker_lane *lane)
{
	uint32_t available = slots_waiting(lane), duplicates;
	const struct mr_producer_entry *known;
	uint64_t missing = 0;
	int32_t sequence, expected;

	if (available)
		mr_lane_reader_resume(&lane->reader);
	known = mr_partition_find_producer(&partition->state, lane->producer_id);
	sequence = (int32_t)(lane->reader.next_number & INT32_MAX);
	if (!known)
		missing = lane->reader.next_number;
	else if (mr_partition_check(&partition->state, lane->producer_id, known->epoch, sequence, 1,
				    &duplicates, &expected) == MR_SEQUENCE_GAP)
		missing = (uint64_t)mr_sequence_distance(sequence, expected);
	if (lane->acks == MR_ACKS_COMMITTED)
		return; /* there a gap is refused when it is met */
	tell_lost(lane, missing);
	/* each change of leader may have begun one that the lane's identity does not say */
	if (partition->replica && known && known->epoch > lane->producer_epoch)
		lane->producer_epoch = known->epoch;
}

uint64_t mr_worker_lane_next(const struct mr_worker_lane *lane)
{
	const struct mr_producer_entry *known =
		mr_partition_find_producer(&lane->partition->state, lane->producer_id);

	return known ? (uint64_t)mr_sequence_add(known->last_sequence, 1) : MR_OFFSET_UNKNOWN;
}

/* ---- lanes of a host that does not lead
 * ----------------------------------------------------------------- */

/*
 * Its first frames may be in the leader's log under the producer epoch before the hand-back: under
 * that one they are sent, and only if records are missing before them under a newer one.
 */
static void resume_for_leader(struct mr_worker_partition *partition, struct mr_worker_lane *lane)
{
	const struct mr_producer_entry *known =
		mr_partition_find_producer(&partition->state, lane->producer_id);

	mr_lane_reader_resume(&lane->reader);
	if (lane->acks != MR_ACKS_COMMITTED && known &&
	    (lane->raised || known->epoch > lane->producer_epoch))
		lane->producer_epoch = known->epoch;
	else if (lane->raised && lane->producer_epoch > 0)
		lane->producer_epoch--;
	lane->raised = false;
	lane->resumed = false;
}

/* False: what comes next is in our log, so in the leader's, or may never be; see *drain. */
static bool may_forward(struct mr_worker_partition *partition, struct mr_worker_lane *lane,
			uint32_t available, struct mr_lane_drain *drain)
{
	int32_t sequence = (int32_t)(lane->reader.next_number & INT32_MAX), expected;
	uint32_t duplicates;

	switch (mr_partition_check(&partition->state, lane->producer_id, lane->producer_epoch,
				   sequence, available, &duplicates, &expected)) {
	case MR_SEQUENCE_DUPLICATE:
		if (!lane->forwarded) /* else those before it are answered first */
			*drain = drop_duplicates(partition, lane, available, duplicates);
		return false;
	case MR_SEQUENCE_FENCED:
		mr_worker_poison(lane, MR_LANE_FENCED,
				 "its producer has written under a newer epoch since");
		return false;
	case MR_SEQUENCE_NEXT:
	case MR_SEQUENCE_BASE:
	case MR_SEQUENCE_GAP: /* our log is behind the leader's: that one knows */
		break;
	}
	return true;
}

struct mr_lane_drain mr_worker_drain_for_leader(struct mr_worker_partition *partition,
						struct mr_worker_lane *lane,
						struct mr_worker_letter *letter, uint32_t *bytes)
{
	struct mr_answers *answers = answers_of(lane);
	struct mr_batch_identity identity = {.base_offset = letter->offset,
					     .producer_id = lane->producer_id};
	struct place place = {.at = letter->at, .room = letter->room};
	struct mr_lane_drain drain = {0};
	struct mr_batch_writer writer;
	struct mr_error err;
	uint32_t available, slots;
	int status;

	*bytes = 0;
	if (lane->reason != MR_LANE_OPEN || lane->stopped || place.room < MR_BATCH_HEADER_BYTES)
		return drain;
	available = slots_waiting(lane);
	if (!available || (answers && mr_answers_full(answers)))
		return drain;
	if (lane->asleep) {
		lane->asleep = false;
		mr_lane_set_asleep(&lane->reader, false);
	}
	if (lane->resumed)
		resume_for_leader(partition, lane);
	if (!may_forward(partition, lane, available, &drain))
		return drain;
	if (place.room > partition->log_options.batch_bytes_max)
		place.room =
			partition->log_options.batch_bytes_max; /* as the leader's, one hopes */
	place.by_staging =
		mr_worker_compresses(partition) && letter->compressed && !may_be_known(lane);
	slots = encode_batch(lane, available, &place, &writer, &status, &err);
	drain.frames = (uint32_t)writer.record_count;
	drain.bytes = slots * MR_SLOT_BYTES;
	if (drain.frames) {
		identity.producer_epoch = lane->producer_epoch;
		identity.base_sequence = (int32_t)(lane->reader.next_number & INT32_MAX);
		letter->plain_bytes = (uint64_t)(writer.at - writer.bytes);
		*bytes = end_batch(partition, &writer, &place, &identity);
		mr_lane_reader_take(&lane->reader, slots, drain.frames);
	}
	if (status < 0)
		mr_worker_poison(lane, MR_LANE_BAD_FRAME, err.what);
	return drain;
}

bool mr_worker_answer_forwarded(struct mr_worker *worker, struct mr_worker_partition *partition,
				const struct mr_answer *forwarded)
{
	struct mr_worker_lane *lane = forwarded->lane;
	struct mr_answers *answers = answers_of(lane);
	const struct mr_producer_entry *known =
		mr_partition_find_producer(&partition->state, lane->producer_id);
	int32_t last = (int32_t)((forwarded->next_number - 1) & INT32_MAX);
	int32_t first = (int32_t)((forwarded->next_number - forwarded->count) & INT32_MAX);
	struct mr_answer answer = *forwarded;
	uint64_t last_offset;

	if (!known || known->epoch != lane->producer_epoch ||
	    mr_sequence_distance(known->last_sequence, last) < 0)
		return false;
	if (answers && mr_answers_full(answers))
		return false;
	last_offset = mr_partition_find_sequence(&partition->state, lane->producer_id, last);
	answer.base_offset =
		mr_partition_find_sequence(&partition->state, lane->producer_id, first);
	answer.end_offset =
		(last_offset == MR_OFFSET_UNKNOWN ? known->last_offset : last_offset) + 1;
	if (answer.base_offset + answer.count != answer.end_offset)
		answer.base_offset = MR_OFFSET_UNKNOWN; /* a receipt covers one dense run */
	if (answers) {
		mr_answers_push(answers, &answer);
		return true;
	}
	mr_lane_acknowledge(&lane->reader, answer.index, answer.next_number, answer.base_offset,
			    answer.count);
	mr_worker_wake_lane(lane, worker);
	return true;
}

void mr_worker_lane_missed(struct mr_worker_lane *lane, int32_t sequence)
{
	int32_t next = (int32_t)(lane->reader.next_number & INT32_MAX);
	int32_t missing = mr_sequence_distance(next, sequence);
	char text[200];

	if (missing <= 0)
		return;
	if (lane->acks != MR_ACKS_COMMITTED) {
		tell_lost(lane, (uint64_t)missing);
		lane->producer_epoch++;
		return;
	}
	snprintf(text, sizeof(text),
		 "producer %lld: record with sequence %d follows sequence %d in the leader's log: "
		 "%d records are missing",
		 (long long)lane->producer_id, next, mr_sequence_add(sequence, INT32_MAX), missing);
	mr_worker_poison(lane, MR_LANE_GAP, text);
}

struct mr_lane_drain mr_worker_drain(struct mr_worker_partition *partition,
				     struct mr_worker_lane *lane, const struct mr_clock *clock)
{
	struct mr_answers *answers = answers_of(lane);
	struct mr_lane_drain drain = {0};
	struct mr_batch_writer writer;
	struct place place = {.by_staging = mr_worker_compresses(partition)};
	struct mr_error err;
	uint32_t available, slots;
	enum mr_log_room verdict;
	int status;

	if (lane->reason != MR_LANE_OPEN || lane->stopped)
		return drain;
	available = slots_waiting(lane);
	if (!available)
		return drain;
	if (lane->asleep) {
		lane->asleep = false; /* no ring is needed while somebody looks (worker_wait.c) */
		mr_lane_set_asleep(&lane->reader, false);
	}
	if (answers && mr_answers_full(answers)) {
		drain.no_room = true;
		return drain;
	}
	if (!admit(partition, lane, available, &drain))
		return drain;

	place.room = batch_room(lane, available);
	verdict = mr_log_reserve(partition->log, place.room, &place.at);
	if (verdict != MR_LOG_ROOM) {
		mr_counter_add(
			partition->counters[verdict == MR_LOG_NO_SEGMENT ? MR_COUNT_NO_SEGMENT
									 : MR_COUNT_TAIL_FULL],
			1);
		drain.no_room = true;
		return drain;
	}
	slots = encode_batch(lane, available, &place, &writer, &status, &err);
	drain.frames = (uint32_t)writer.record_count;
	drain.bytes = slots * MR_SLOT_BYTES;
	if (drain.frames)
		finish_batch(partition, lane, &writer, &place, slots, clock);
	if (status < 0)
		mr_worker_poison(lane, MR_LANE_BAD_FRAME, err.what);
	return drain;
}
