/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker sends to the other replicas of its partitions: entries of the protocol, and record
 * batches, from where they lie in the tail. Runs on the partition's worker; owns the parcels, which
 * were made with the partition, and the tail's holds, one a node.
 *
 * Batches: a cursor for each replica walks the tail from batch to batch. What goes into a parcel is
 * under a hold until the parcel is back, and not a moment longer: a replica that takes long finds
 * its place reclaimed and goes on from the segments, which nobody waits for. So does one whose
 * place is so old that a hold there would soon be in the producers' way.
 */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "worker_replica.h"

#define PARCEL_BYTES_MAX   (512u << 10) /* but one batch at least */
#define CATCH_UP_BYTES_MAX (1u << 20)

struct mr_tail_view mr_worker_tail_view(const struct mr_worker_partition *partition)
{
	return (struct mr_tail_view){
		.page = partition->tail.page,
		.data = partition->tail.data,
		.tail_bytes = partition->tail.tail_bytes,
	};
}

/* ---- holds
 * --------------------------------------------------------------------------------------------- */

/* At the oldest byte that is out to this replica. */
static void set_hold(const struct mr_worker_partition *partition,
		     const struct mr_replica_link *link)
{
	uint64_t lowest = MR_TAIL_NO_HOLD;
	uint32_t i;

	for (i = 0; i < MR_REPLICA_PARCELS; i++)
		if (link->batches[i].out && link->batches[i].position < lowest)
			lowest = link->batches[i].position;
	/* W9: the feed's parcel came back by its mailbox, so it has done with the bytes */
	atomic_store_explicit(&partition->tail.holds[link->node].position, lowest,
			      memory_order_release);
}

/* ---- parcels
 * ------------------------------------------------------------------------------------------- */

void mr_worker_parcels_send(struct mr_worker *worker, struct mr_worker_replica *replica,
			    uint32_t node, struct mr_replica_parcel *sent)
{
	sent->parcel.node = node;
	sent->parcel.connection = worker->nodes[node].connection;
	sent->parcel.status = 0;
	sent->out = true;
	replica->parcels_out++;
	mr_feed_port_send(worker->options.port, &sent->parcel);
}

struct mr_replica_link *mr_worker_parcels_link(struct mr_worker_replica *replica, uint32_t node)
{
	uint32_t i;

	for (i = 0; i < replica->link_count; i++)
		if (replica->links[i].node == node)
			return &replica->links[i];
	return NULL;
}

struct mr_replica_parcel *mr_worker_parcels_free_entry(struct mr_replica_link *link)
{
	uint32_t i;

	for (i = 0; i < MR_REPLICA_ENTRIES; i++)
		if (!link->entries[i].out)
			return &link->entries[i];
	return NULL;
}

uint64_t mr_worker_parcels_sendable(const struct mr_worker *worker,
				    struct mr_worker_replica *replica)
{
	uint64_t nodes = 0;
	uint32_t i;

	for (i = 0; i < replica->link_count; i++)
		if (mr_worker_parcels_free_entry(&replica->links[i]))
			nodes |= UINT64_C(1) << replica->links[i].node;
	return nodes & worker->connected;
}

void mr_worker_parcels_send_entry(struct mr_worker *worker, struct mr_worker_replica *replica,
				  uint32_t node, const struct mr_feed_entry *entry)
{
	struct mr_replica_link *link = mr_worker_parcels_link(replica, node);
	struct mr_replica_parcel *sent = link ? mr_worker_parcels_free_entry(link) : NULL;

	mr_assert(sent);
	sent->parcel.entry = *entry;
	sent->parcel.piece_count = 0;
	if (entry->kind == MR_FEED_STATE)
		mr_worker_anew_add_piece(&replica->anew, &sent->parcel);
	mr_worker_parcels_send(worker, replica, node, sent);
}

/* ---- batches
 * ------------------------------------------------------------------------------------------- */

static uint64_t appended(const struct mr_worker_partition *partition)
{
	/* relaxed: this thread writes it */
	return atomic_load_explicit(&partition->tail.page->appended, memory_order_relaxed);
}

/* So old that the log will soon want its place in the tail. */
static bool is_old(const struct mr_worker_partition *partition, uint64_t position)
{
	uint64_t tail_bytes = partition->tail.tail_bytes;

	return appended(partition) - position > tail_bytes - tail_bytes / 4;
}

/*
 * Puts the cursor before the batch that begins with 'offset'. False: the tail does not have it, or
 * no batch begins there, which an honest replica never asks for.
 */
static bool find(const struct mr_worker_partition *partition, const struct mr_tail_view *view,
		 struct mr_replica_link *link, uint64_t offset)
{
	struct mr_batch_header header;
	int r;

	if (link->cursor_offset == offset && mr_tail_view_valid(view, link->cursor.position))
		return true;
	link->cursor_offset = MR_OFFSET_UNKNOWN;
	if (mr_tail_cursor_find(view, offset, appended(partition), &link->cursor) != 1)
		return false;
	while ((r = mr_tail_cursor_next(&link->cursor, view, appended(partition), &header)) == 1) {
		if (header.base_offset >= offset)
			break;
		mr_tail_cursor_pass(&link->cursor, &header);
	}
	if (r != 1 || header.base_offset != offset)
		return false;
	link->cursor_offset = offset;
	return true;
}

/* Batches that follow each other in one group are one piece. False: no piece is left. */
static bool add_piece(struct mr_feed_parcel *parcel, const uint8_t *at, uint32_t bytes)
{
	struct iovec *last = parcel->piece_count ? &parcel->pieces[parcel->piece_count - 1] : NULL;

	if (last && (const uint8_t *)last->iov_base + last->iov_len == at) {
		last->iov_len += bytes;
		return true;
	}
	if (parcel->piece_count == MR_PARCEL_PIECES)
		return false;
	parcel->pieces[parcel->piece_count++] = (struct iovec){(void *)at, bytes};
	return true;
}

/* Takes batches from the cursor on, 'limit' bytes of them at most, without a copy. */
static void fill(const struct mr_worker_partition *partition, const struct mr_tail_view *view,
		 struct mr_replica_link *link, struct mr_replica_parcel *filled, uint64_t limit)
{
	struct mr_feed_parcel *parcel = &filled->parcel;
	uint64_t end = appended(partition), most = partition->tail.tail_bytes / 8;
	struct mr_batch_header header;

	if (most > PARCEL_BYTES_MAX)
		most = PARCEL_BYTES_MAX;
	parcel->piece_count = 0;
	parcel->plain_bytes = 0;
	parcel->catch_up = false;
	while (mr_tail_cursor_next(&link->cursor, view, end, &header) == 1) {
		uint64_t bytes = (uint64_t)parcel->entry.bytes + header.total_bytes;
		const uint8_t *batch = mr_tail_view_at(view, link->cursor.position);

		if (bytes > limit || (parcel->entry.bytes && bytes > most))
			break;
		if (!add_piece(parcel, batch, header.total_bytes))
			break;
		if (!parcel->entry.bytes)
			filled->position = link->cursor.position;
		parcel->entry.bytes = (uint32_t)bytes;
		parcel->plain_bytes += mr_compress_plain_bytes(batch, &header);
		parcel->entry.end_offset =
			header.base_offset + (uint32_t)header.last_offset_delta + 1;
		mr_tail_cursor_pass(&link->cursor, &header);
	}
	link->cursor_offset = parcel->entry.bytes ? parcel->entry.end_offset : link->cursor_offset;
}

static struct mr_replica_parcel *free_parcel(struct mr_replica_link *link)
{
	uint32_t i;

	for (i = 0; i < MR_REPLICA_PARCELS; i++)
		if (!link->batches[i].out)
			return &link->batches[i];
	return NULL;
}

/* What the tail does not have any more, or not for long: alone, and only what is flushed. */
static void send_from_segments(struct mr_worker *worker, struct mr_worker_replica *replica,
			       struct mr_replica_link *link, uint64_t limit)
{
	struct mr_replica_parcel *parcel = free_parcel(link);
	const struct mr_partition *state = &replica->partition->state;

	if (link->busy || parcel->parcel.entry.offset >= state->flushed ||
	    worker->now_ns < link->retry_ns)
		return;
	parcel->parcel.catch_up = true;
	parcel->parcel.piece_count = 0;
	parcel->parcel.entry.end_offset = state->flushed; /* no further */
	parcel->parcel.entry.bytes =
		(uint32_t)(limit < CATCH_UP_BYTES_MAX ? limit : CATCH_UP_BYTES_MAX);
	parcel->position = MR_TAIL_NO_HOLD;
	link->catching_up = true;
	link->cursor_offset = MR_OFFSET_UNKNOWN;
	link->busy++;
	mr_worker_parcels_send(worker, replica, link->node, parcel);
}

/* True: a parcel went out of the tail, and there may be one more. */
static bool send_batches(struct mr_worker *worker, struct mr_worker_replica *replica,
			 struct mr_replica_link *link)
{
	struct mr_worker_partition *partition = replica->partition;
	struct mr_tail_view view = mr_worker_tail_view(partition);
	struct mr_replica_parcel *parcel = free_parcel(link);
	uint64_t offset, limit;

	if (!parcel || link->catching_up)
		return false;
	limit = mr_replica_sendable(&replica->machine, link->node, &offset);
	if (!limit)
		return false;
	mr_replica_describe(&replica->machine, link->node, &parcel->parcel.entry);
	parcel->parcel.entry.offset = offset;
	if (!find(partition, &view, link, offset) ||
	    (is_old(partition, link->cursor.position) && offset < partition->state.flushed)) {
		send_from_segments(worker, replica, link, limit);
		return false;
	}
	fill(partition, &view, link, parcel, limit);
	if (!parcel->parcel.entry.bytes)
		return false; /* more credit is needed for it */
	parcel->out = true;
	set_hold(partition, link); /* this thread reclaims: nothing was given up meanwhile */
	mr_replica_sent(&replica->machine, link->node, &parcel->parcel.entry);
	link->busy++;
	mr_worker_parcels_send(worker, replica, link->node, parcel);
	return true;
}

void mr_worker_parcels_send_batches(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	uint32_t i;

	if (!mr_replica_leads(&replica->machine) || !replica->partition->log ||
	    replica->partition->removing || replica->partition->failed)
		return;
	for (i = 0; i < replica->link_count; i++)
		while (worker->connected & UINT64_C(1) << replica->links[i].node)
			if (!send_batches(worker, replica, &replica->links[i]))
				break;
}

/* ---- who waits
 * ----------------------------------------------------------------------------------------- */

static bool is_awaited(const struct mr_worker_replica *replica, struct mr_replica_link *link)
{
	return link->catching_up || link->busy == MR_REPLICA_PARCELS ||
	       !mr_worker_parcels_free_entry(link) || replica->anew.drop_due;
}

/* The next batch of its producers has none to go into. */
static bool is_forwarding(const struct mr_replica_forwarder *forwarder)
{
	uint32_t i;

	for (i = 0; i < MR_REPLICA_PARCELS; i++)
		if (!forwarder->parcels[i].out)
			return false;
	return true;
}

bool mr_worker_parcels_awaited(struct mr_worker *worker)
{
	uint32_t i, j;

	for (i = 0; i < worker->partition_count; i++) {
		const struct mr_worker_partition *partition = worker->partitions[i];
		struct mr_worker_replica *replica = partition->replica;

		if (!replica || !replica->parcels_out)
			continue;
		if (partition->removing || partition->resting || partition->waiting_for_room ||
		    is_forwarding(&replica->forwarder))
			return true;
		for (j = 0; j < replica->link_count; j++)
			if (is_awaited(replica, &replica->links[j]))
				return true;
	}
	return false;
}

/* ---- back
 * ---------------------------------------------------------------------------------------------- */

/* It counts as sent if the replica still stands where it stood when it was asked for. */
static void caught_up(struct mr_worker *worker, struct mr_worker_replica *replica,
		      struct mr_replica_link *link, const struct mr_feed_parcel *parcel)
{
	const struct mr_feed_entry *entry = &parcel->entry;
	const struct mr_replica_peer *peer = &replica->machine.peers[link->node];
	struct mr_feed_entry now;
	uint64_t offset;

	link->catching_up = false;
	link->retry_ns = worker->now_ns + replica->machine.options.ask_again_ns;
	if (parcel->status < 0 || !entry->bytes || !replica->partition->log)
		return;
	if (!mr_replica_sendable(&replica->machine, link->node, &offset))
		return;
	mr_replica_describe(&replica->machine, link->node, &now);
	if (now.session != entry->session || now.leader_epoch != entry->leader_epoch ||
	    offset != entry->offset || peer->sent_offset != offset || entry->end_offset <= offset ||
	    entry->end_offset > replica->partition->state.log_end)
		return;
	mr_replica_sent(&replica->machine, link->node, entry);
	link->retry_ns = 0;
}

void mr_worker_parcels_returned(struct mr_worker *worker, struct mr_feed_parcel *parcel)
{
	struct mr_replica_parcel *back = (struct mr_replica_parcel *)parcel;
	struct mr_worker_replica *replica = parcel->owner;
	struct mr_replica_link *link = mr_worker_parcels_link(replica, parcel->node);

	mr_assert(link && back->out);
	back->out = false;
	mr_assert(replica->parcels_out > 0);
	replica->parcels_out--;
	if (!mr_feed_has_batches(parcel->entry.kind) || parcel->entry.kind == MR_FEED_FORWARD)
		return;
	mr_assert(link->busy > 0);
	link->busy--;
	if (parcel->catch_up)
		caught_up(worker, replica, link, parcel);
	else
		set_hold(replica->partition, link);
}
