/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes that are open on a host which does not lead: their records go to the leader's log by the
 * feed, and come back by replication. Runs on the partition's worker, on both sides.
 *
 *	lane ──► batch ──► FORWARD ──► leader: checked by sequence, as a lane's ──► log
 *	lane ◄── answer ◄── our own log ◄── BATCHES ◄────────────────────────────────┘
 *
 * The lane itself keeps what is not answered. A record is answered when our own log has it, and
 * is as safe as the lane's level asks; how far that is says the producer's last sequence, which
 * replication brings. So nothing needs to be remembered across a change of leader, a connection
 * that breaks, or a refusal: another session begins at what was not answered, and what the leader
 * has of it already is dropped there by its sequence. Forwarding begins only when the leader has
 * answered FETCH on this connection, so that nothing of a session is dropped but all behind it.
 *
 * In a topic with compression batches are compressed before they travel, and the leader takes them
 * as they are. But what it may know a part of already travels plain, since it drops that record by
 * record: what was sent before, of a lane that was taken back, was handed back, or stands in for
 * one of an engine before. So does everything to a leader that says that it takes no others. What
 * came plain the leader compresses.
 *
 * What a session may send is bounded by the leader's credit, which it raises as it takes; it
 * refuses a gap, an older producer epoch, or what is no batch, and then takes nothing more of that
 * session, so that nothing is ever taken out of order.
 */
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "worker_replica.h"

/* A record may need more bytes in a batch that begins elsewhere: its timestamp's distance. */
#define MOVED_RECORD_BYTES 12u

/* ---- the host that does not lead
 * -------------------------------------------------------------------- */

static int parcel_at_home(const struct mr_replica_forwarder *forwarder)
{
	int i;

	for (i = 0; i < MR_REPLICA_PARCELS; i++)
		if (!forwarder->parcels[i].out)
			return i;
	return -1;
}

/* The leader has said on this connection that it leads. */
static bool leader_listens(const struct mr_worker *worker, const struct mr_worker_replica *replica)
{
	const struct mr_replica *machine = &replica->machine;

	return machine->role == MR_ROLE_FOLLOWER && machine->step == MR_FOLLOW_FETCH &&
	       machine->fetch_heard && !machine->options.lost_data &&
	       (worker->connected & UINT64_C(1) << machine->known.leader);
}

static bool may_send(const struct mr_worker *worker, const struct mr_worker_partition *partition)
{
	const struct mr_worker_replica *replica = partition->replica;
	const struct mr_replica_forwarder *forwarder = &replica->forwarder;

	if (partition->removing || partition->failed || !partition->lane_count ||
	    !leader_listens(worker, replica) || mr_answers_full(&forwarder->waiting) ||
	    parcel_at_home(forwarder) < 0)
		return false;
	return forwarder->broken ||
	       forwarder->connection != worker->nodes[replica->machine.known.leader].connection ||
	       forwarder->sent_bytes < forwarder->credit_bytes;
}

/* From what was not answered yet. */
static void begin_session(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	struct mr_replica_forwarder *forwarder = &replica->forwarder;
	uint64_t connection = worker->nodes[replica->machine.known.leader].connection;

	if (forwarder->connection == connection && !forwarder->broken &&
	    forwarder->epoch == replica->machine.known.leader_epoch)
		return;
	mr_worker_replica_rewind(partition);
	forwarder->session++;
	forwarder->broken = false;
	forwarder->epoch = replica->machine.known.leader_epoch;
	forwarder->connection = connection;
	forwarder->sent_bytes = 0;
	forwarder->credit_bytes = MR_FEED_FORWARD_CREDIT;
}

/* One lane's next batch behind those in the buffer. */
static void add_batch(struct mr_worker *worker, struct mr_worker_partition *partition,
		      struct mr_worker_lane *lane, uint8_t *buffer, struct mr_feed_parcel *parcel)
{
	struct mr_feed_entry *entry = &parcel->entry;
	struct mr_replica_forwarder *forwarder = &partition->replica->forwarder;
	const struct mr_worker_node *leader =
		&worker->nodes[partition->replica->machine.known.leader];
	struct mr_worker_letter letter = {
		.at = buffer + entry->bytes,
		.room = forwarder->buffer_bytes - entry->bytes,
		.offset = entry->end_offset,
		.compressed = leader->capabilities & MR_FEED_TAKES_COMPRESSED,
	};
	struct mr_answer sent = {.lane = lane, .base_offset = MR_OFFSET_UNKNOWN};
	struct mr_lane_drain drain;
	uint32_t bytes;

	drain = mr_worker_drain_for_leader(partition, lane, &letter, &bytes);
	if (lane->reason != MR_LANE_OPEN)
		mr_worker_report_poisoned(worker, lane);
	worker->replica_work += drain.frames;
	if (!bytes)
		return;
	entry->bytes += bytes;
	parcel->plain_bytes += letter.plain_bytes;
	entry->end_offset += drain.frames;
	sent.next_number = lane->reader.next_number;
	sent.index = mr_lane_reader_index(&lane->reader);
	sent.count = drain.frames;
	lane->forwarded++;
	mr_answers_push(&forwarder->waiting, &sent);
}

static void add_batches(struct mr_worker *worker, struct mr_worker_partition *partition,
			uint8_t *buffer, struct mr_feed_parcel *parcel)
{
	uint32_t count = partition->lane_count, place, i;

	if (partition->next_lane >= count)
		partition->next_lane = 0; /* lanes have gone */
	place = partition->next_lane++;
	for (i = 0; i < count && !mr_answers_full(&partition->replica->forwarder.waiting); i++) {
		add_batch(worker, partition, partition->lanes[place], buffer, parcel);
		place = place + 1 < count ? place + 1 : 0;
	}
}

void mr_worker_forward(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	struct mr_replica_forwarder *forwarder = &replica->forwarder;
	uint32_t leader = (uint32_t)replica->machine.known.leader;
	struct mr_replica_parcel *parcel;
	struct mr_feed_entry *entry;
	int at;

	forwarder->may = may_send(worker, partition);
	if (!forwarder->may)
		return;
	begin_session(worker, partition);
	at = parcel_at_home(forwarder);
	parcel = &forwarder->parcels[at];
	entry = &parcel->parcel.entry;
	*entry = (struct mr_feed_entry){
		.kind = MR_FEED_FORWARD,
		.leader_epoch = forwarder->epoch,
		.session = forwarder->session,
	};
	parcel->parcel.plain_bytes = 0;
	add_batches(worker, partition, forwarder->buffers[at], &parcel->parcel);
	if (!entry->bytes)
		return;
	parcel->parcel.piece_count = 1;
	parcel->parcel.pieces[0] = (struct iovec){forwarder->buffers[at], entry->bytes};
	forwarder->sent_bytes += entry->bytes;
	mr_worker_parcels_send(worker, replica, leader, parcel);
	forwarder->may = may_send(worker, partition);
}

void mr_worker_forward_settle(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_answers *waiting = &partition->replica->forwarder.waiting;

	if (partition->replica->machine.step != MR_FOLLOW_FETCH)
		return; /* what our log holds is perhaps not the leader's */
	while (waiting->tail != waiting->head) {
		const struct mr_answer *first =
			&waiting->slots[waiting->tail & (MR_ANSWERS_MAX - 1)];

		if (!mr_worker_answer_forwarded(worker, partition, first))
			return;
		first->lane->unanswered--;
		first->lane->forwarded--;
		waiting->tail++;
	}
}

static struct mr_worker_lane *lane_of(const struct mr_worker_partition *partition,
				      int64_t producer_id)
{
	uint32_t i;

	for (i = 0; i < partition->lane_count; i++)
		if (partition->lanes[i]->producer_id == producer_id)
			return partition->lanes[i];
	return NULL;
}

static void hear_refusal(struct mr_worker *worker, struct mr_worker_partition *partition,
			 const struct mr_feed_entry *entry)
{
	struct mr_worker_lane *lane = lane_of(partition, entry->producer_id);

	mr_worker_replica_rewind(partition);
	partition->replica->forwarder.broken = true;
	if (!lane)
		return; /* it has gone since */
	if (entry->refused == MR_FEED_FORWARD_GAP)
		mr_worker_lane_missed(lane, entry->sequence);
	else if (entry->refused == MR_FEED_FORWARD_FENCED)
		mr_worker_poison(lane, MR_LANE_FENCED,
				 "its producer has written under a newer epoch since");
	else
		mr_worker_poison(lane, MR_LANE_BAD_FRAME,
				 "the host that leads its partition does not take its records; "
				 "is record_bytes_max lower there?");
	if (lane->reason != MR_LANE_OPEN)
		mr_worker_report_poisoned(worker, lane);
	mr_worker_wake_lane(lane, worker);
}

void mr_worker_forward_heard(struct mr_worker *worker, struct mr_worker_partition *partition,
			     uint32_t node, const struct mr_feed_entry *entry)
{
	struct mr_worker_replica *replica = partition->replica;
	struct mr_replica_forwarder *forwarder = &replica->forwarder;

	if (replica->machine.role != MR_ROLE_FOLLOWER ||
	    replica->machine.known.leader != (int32_t)node ||
	    entry->leader_epoch != forwarder->epoch || entry->session != forwarder->session ||
	    forwarder->connection != worker->nodes[node].connection || forwarder->broken)
		return; /* of a session before */
	if (entry->refused != MR_FEED_FORWARD_TAKEN)
		hear_refusal(worker, partition, entry);
	else if (entry->credit_bytes > forwarder->credit_bytes)
		forwarder->credit_bytes = entry->credit_bytes;
}

/* ---- the leader
 * --------------------------------------------------------------------------------------- */

static uint64_t credit_of(const struct mr_replica_taken *taken)
{
	return taken->taken_bytes + MR_FEED_FORWARD_CREDIT;
}

static void refuse(struct mr_replica_taken *taken, const struct mr_batch_header *header,
		   enum mr_feed_forward_refusal why, int32_t expected)
{
	taken->refused = true;
	taken->due = true;
	taken->refusal = (struct mr_feed_entry){
		.refused = why,
		.producer_id = header->producer_id >= 0 ? header->producer_id : 0,
		.sequence = expected,
	};
}

/* A batch of another host on its way into the log: it stands at 'at' in the end. */
struct coming {
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	uint8_t *at;
	uint32_t room;
};

/* Room for 'bytes' bytes, and for what compressing may need besides. False: none now. */
static bool make_room(struct mr_worker *worker, struct mr_worker_partition *partition,
		      uint64_t bytes, struct coming *coming)
{
	uint64_t most = partition->log_options.batch_bytes_max;
	uint64_t wanted = bytes < most ? bytes : most;

	wanted += mr_compress_room(partition->compression, (uint32_t)wanted);
	coming->room = (uint32_t)(wanted < most ? wanted : most);
	coming->at = mr_worker_replica_reserve(worker, partition, coming->room);
	return coming->at != NULL;
}

/* What was written, there or elsewhere, is the log's next batch; compressed if the topic says so.
 */
static void append_written(struct mr_worker *worker, struct mr_worker_partition *partition,
			   struct coming *coming)
{
	struct mr_batch_header *header = &coming->header;
	struct mr_batch_identity identity = {
		.base_offset = partition->state.log_end,
		.leader_epoch = partition->state.leader_epoch,
		.attributes = header->attributes,
		.producer_id = header->producer_id,
		.producer_epoch = header->producer_epoch,
		.base_sequence = header->base_sequence,
	};

	if (coming->writer.bytes != coming->at)
		identity.attributes |=
			mr_compressor_place(partition->compressor, partition->compression,
					    &coming->writer, coming->at, coming->room);
	header->base_offset = identity.base_offset;
	header->leader_epoch = identity.leader_epoch;
	header->attributes = identity.attributes;
	header->record_count = coming->writer.record_count;
	header->max_timestamp_ms = coming->writer.max_timestamp_ms;
	header->total_bytes = (uint32_t)mr_batch_end(&coming->writer, &identity);
	mr_worker_replica_appended(worker, partition, coming->at, header);
}

/* As many of the records behind the first 'known' as there is room for. */
static void encode_rest(const uint8_t *bytes, const struct mr_batch_header *header, uint32_t known,
			struct mr_batch_writer *writer)
{
	struct mr_batch_reader reader;
	struct mr_message message;

	if (mr_batch_read(&reader, bytes, header) < 0)
		return;
	while (mr_batch_next(&reader, &message) > 0)
		if (message.offset - header->base_offset >= known &&
		    mr_batch_add(writer, message.timestamp_ms, message.key, message.key_bytes,
				 message.value, message.value_bytes, message.headers,
				 message.header_bytes, message.header_count) < 0)
			return; /* the others are the rest of the rest */
}

/* What of a batch is not in the log yet, record by record, as a batch of its own. */
static bool append_rest(struct mr_worker *worker, struct mr_worker_partition *partition,
			const uint8_t *bytes, const struct mr_batch_header *header, uint32_t known)
{
	uint64_t wanted = header->total_bytes + (uint64_t)header->record_count * MOVED_RECORD_BYTES;
	struct coming rest = {.header = *header};

	if (!make_room(worker, partition, wanted, &rest))
		return false;
	if (mr_worker_compresses(partition)) {
		mr_compressor_begin(partition->compressor, partition->compression, &rest.writer,
				    rest.room);
		encode_rest(bytes, header, known, &rest.writer);
	}
	if (!rest.writer.record_count) { /* or the first is so large that it cannot be tried */
		mr_batch_begin(&rest.writer, rest.at, rest.room);
		encode_rest(bytes, header, known, &rest.writer);
	}
	if (!rest.writer.record_count)
		return false;
	rest.header.base_sequence = mr_sequence_add(header->base_sequence, known);
	append_written(worker, partition, &rest);
	return true;
}

/* As it is, but compressed where the topic wants it and its host could not. */
static bool append_whole(struct mr_worker *worker, struct mr_worker_partition *partition,
			 const uint8_t *bytes, const struct mr_batch_header *header)
{
	struct coming whole = {
		.header = *header,
		.writer = {.bytes = (uint8_t *)bytes,
			   .at = (uint8_t *)bytes + header->total_bytes,
			   .base_timestamp_ms = header->base_timestamp_ms,
			   .max_timestamp_ms = header->max_timestamp_ms,
			   .record_count = header->record_count},
	};

	if (!mr_worker_compresses(partition) || (header->attributes & MR_BATCH_CODEC_MASK)) {
		whole.header.base_offset = partition->state.log_end;
		whole.header.leader_epoch = partition->state.leader_epoch;
		return mr_worker_replica_append(worker, partition, bytes, &whole.header);
	}
	if (!make_room(worker, partition, header->total_bytes, &whole))
		return false;
	append_written(worker, partition, &whole);
	return true;
}

enum taken {
	TAKEN,	 /* all of it is in the log */
	PARTLY,	 /* look at it once more */
	NO_ROOM, /* now */
	REFUSED, /* and told */
};

/* As worker_lane.c does it with what a lane holds. */
static enum taken take_batch(struct mr_worker *worker, struct mr_worker_partition *partition,
			     struct mr_replica_taken *taken, const uint8_t *bytes,
			     const struct mr_batch_header *header)
{
	uint32_t count = (uint32_t)header->record_count, duplicates;
	int32_t expected;

	switch (mr_partition_check(&partition->state, header->producer_id, header->producer_epoch,
				   header->base_sequence, count, &duplicates, &expected)) {
	case MR_SEQUENCE_DUPLICATE:
		mr_counter_add(partition->counters[MR_COUNT_DUPLICATES], duplicates);
		if (duplicates == count)
			return TAKEN;
		if (header->attributes & MR_BATCH_CODEC_MASK) {
			refuse(taken, header, MR_FEED_FORWARD_BAD, 0); /* no host of ours does */
			return REFUSED;
		}
		return append_rest(worker, partition, bytes, header, duplicates) ? PARTLY : NO_ROOM;
	case MR_SEQUENCE_GAP:
		refuse(taken, header, MR_FEED_FORWARD_GAP, expected);
		return REFUSED;
	case MR_SEQUENCE_FENCED:
		refuse(taken, header, MR_FEED_FORWARD_FENCED, 0);
		return REFUSED;
	case MR_SEQUENCE_NEXT:
	case MR_SEQUENCE_BASE:
		break;
	}
	return append_whole(worker, partition, bytes, header) ? TAKEN : NO_ROOM;
}

/* The other host is believed no more than a client. */
static int check_forwarded(const struct mr_worker_partition *partition,
			   const struct mr_feed_item *item, struct mr_batch_header *header)
{
	struct mr_error err;

	if (mr_batch_decode_header(item->batches, item->entry.bytes, header) < 0) {
		header->producer_id = MR_PRODUCER_ID_NONE;
		return -EBADMSG;
	}
	if (header->total_bytes > partition->log_options.batch_bytes_max ||
	    header->producer_id < 0 || mr_compress_check(header) < 0)
		return -EBADMSG;
	return mr_batch_check(item->batches, header->total_bytes, false, header, &err);
}

/* Whether it belongs to what is taken now; a new session begins with its first entry. */
static bool belongs(const struct mr_worker *worker, struct mr_worker_replica *replica,
		    const struct mr_feed_delivery *delivery, const struct mr_feed_entry *entry,
		    struct mr_replica_taken *taken)
{
	if (!mr_replica_leads(&replica->machine) ||
	    entry->leader_epoch != replica->machine.known.leader_epoch ||
	    worker->nodes[delivery->node].connection != delivery->connection)
		return false;
	if (taken->connection != delivery->connection || taken->session != entry->session)
		*taken = (struct mr_replica_taken){
			.connection = delivery->connection,
			.session = entry->session,
			.told_credit = MR_FEED_FORWARD_CREDIT,
		};
	return !taken->refused;
}

bool mr_worker_forward_take(struct mr_worker *worker, struct mr_worker_partition *partition,
			    struct mr_feed_arrival *arrival)
{
	struct mr_worker_replica *replica = partition->replica;
	struct mr_replica_link *link = mr_worker_parcels_link(replica, arrival->delivery->node);
	struct mr_feed_item *item = &arrival->item;
	struct mr_batch_header header;
	enum taken verdict = TAKEN;

	if (!link || !belongs(worker, replica, arrival->delivery, &item->entry, &link->taken)) {
		item->entry.bytes = 0;
		return true;
	}
	while (item->entry.bytes && verdict != REFUSED) {
		if (check_forwarded(partition, item, &header) < 0) {
			refuse(&link->taken, &header, MR_FEED_FORWARD_BAD, 0);
			break;
		}
		verdict = take_batch(worker, partition, &link->taken, item->batches, &header);
		if (verdict == NO_ROOM)
			return false;
		if (verdict != TAKEN)
			continue;
		item->batches += header.total_bytes;
		item->entry.bytes -= header.total_bytes;
		link->taken.taken_bytes += header.total_bytes;
	}
	item->entry.bytes = 0;
	if (credit_of(&link->taken) - link->taken.told_credit >= MR_FEED_FORWARD_CREDIT / 2)
		link->taken.due = true;
	return true;
}

void mr_worker_forward_answer(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	uint32_t i;

	if (!mr_replica_leads(&replica->machine))
		return;
	for (i = 0; i < replica->link_count; i++) {
		struct mr_replica_link *link = &replica->links[i];
		struct mr_replica_taken *taken = &link->taken;
		struct mr_feed_entry entry = taken->refusal;

		if (!taken->due || !mr_worker_parcels_free_entry(link) ||
		    worker->nodes[link->node].connection != taken->connection)
			continue;
		entry.kind = MR_FEED_FORWARDED;
		entry.leader_epoch = replica->machine.known.leader_epoch;
		entry.session = taken->session;
		entry.credit_bytes = credit_of(taken);
		taken->told_credit = entry.credit_bytes;
		taken->due = false;
		mr_worker_parcels_send_entry(worker, replica, link->node, &entry);
	}
}
