/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol's part of a worker's turn. The protocol itself is a pure state machine
 * (replica/protocol.h); here it is told what happened and what it wants is carried out, in the
 * order that tests/sim/host.c shows:
 *
 *	mail of the feed: connections, entries, batches		mr_worker_replica_mail()
 *	who leads now; batches that came ──► log		mr_worker_replica_begin()
 *	(lanes, if this host leads: worker.c)
 *	high watermark ──► readers, answers			mr_worker_replica_commit()
 *	what the protocol wants ──► control thread, feed	mr_worker_replica_act()
 *
 * Batches that find no room in the log stay in their delivery, in order, and are tried again each
 * turn; how many there can be is bounded by the credit that the protocol gave.
 *
 * Lanes are drained only while this host leads. When it ceases to, what was taken and not answered
 * is taken back into the lanes: whether it is in the log of whoever leads then is found out by its
 * sequence numbers.
 */
#include "worker_replica.h"

#include <errno.h>
#include <string.h>

#include "batch.h"
#include "check.h"

#define MAILS_A_TURN   64
#define ACTIONS_A_TURN 16
#define BYTES_A_TURN   (1u << 20) /* of batches into a log */
#define VIEW_NS	       10000000u
#define PUT_OFF_TURNS  40 /* what a worker that may not spin long stays awake for */

/* ---- lanes
 * --------------------------------------------------------------------------------------------- */

void mr_worker_replica_rewind(struct mr_worker_partition *partition)
{
	uint32_t i;

	mr_answers_drop(&partition->replica->forwarder.waiting);
	mr_answers_drop(&partition->disk);
	mr_answers_drop(&partition->committed);
	for (i = 0; i < partition->lane_count; i++)
		mr_worker_rewind(partition->lanes[i]);
}

/* This log is what all follow now: each lane goes on behind what of it is in there. */
static void resume_lanes(struct mr_worker_partition *partition)
{
	uint32_t i;

	for (i = 0; i < partition->lane_count; i++)
		if (partition->lanes[i]->resumed && partition->lanes[i]->reason == MR_LANE_OPEN)
			mr_worker_resume(partition, partition->lanes[i]);
}

/* Whether this host began or ceased to lead, or leads anew, since the last turn. */
static void note_role(struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	enum mr_role role = replica->machine.role;
	int32_t epoch = partition->state.leader_epoch;

	if (role == replica->role && epoch == replica->role_epoch)
		return;
	if (replica->role == MR_ROLE_LEADER || replica->forwarder.connection)
		mr_worker_replica_rewind(partition);
	replica->forwarder.connection = 0; /* another session begins */
	if (role == MR_ROLE_LEADER)
		resume_lanes(partition);
	replica->role = role;
	replica->role_epoch = epoch;
	replica->leader_end = 0;
}

/* ---- the high watermark
 * -------------------------------------------------------------------------------- */

/* Every second mark goes, so that any lag has room, if only roughly. */
static void thin_marks(struct mr_worker_replica *replica)
{
	uint32_t i;

	for (i = 0; i < MR_REPLICA_MARKS / 2; i++)
		replica->marks[i] = replica->marks[2 * i + 1];
	replica->mark_count = MR_REPLICA_MARKS / 2;
}

void mr_worker_replica_flushed(struct mr_worker_partition *partition, uint64_t position)
{
	struct mr_worker_replica *replica = partition->replica;

	(void)mr_replica_flushed(&replica->machine); /* the turn looks at the high watermark */
	if (replica->mark_count == MR_REPLICA_MARKS)
		thin_marks(replica);
	replica->marks[replica->mark_count++] =
		(struct mr_replica_mark){partition->state.flushed, position};
}

/* To the newest mark that is not above 'offset'. */
static void pass_marks(struct mr_worker_replica *replica, uint64_t offset)
{
	uint32_t passed = 0;

	while (passed < replica->mark_count && replica->marks[passed].offset <= offset)
		passed++;
	if (!passed)
		return;
	replica->committed_cursor =
		(struct mr_tail_cursor){.position = replica->marks[passed - 1].position};
	replica->mark_count -= passed;
	memmove(replica->marks, replica->marks + passed,
		replica->mark_count * sizeof(replica->marks[0]));
}

/*
 * Where the batch ends that 'offset' is the end of. Beyond marks, which are groups' ends, batches
 * are walked; those that the tail does not have any more are not: then the last mark stands for
 * it. Below where the tail begins nobody knows, and nothing is said.
 */
static uint64_t position_of(struct mr_worker_partition *partition, uint64_t offset)
{
	struct mr_worker_replica *replica = partition->replica;
	struct mr_tail_view view = mr_worker_tail_view(partition);
	uint64_t limit = mr_log_flushed_position(partition->log);
	struct mr_batch_header header;

	if (offset < partition->start.offset)
		return 0;
	pass_marks(replica, offset);
	if (offset == partition->state.flushed)
		return limit;
	while (mr_tail_cursor_next(&replica->committed_cursor, &view, limit, &header) == 1 &&
	       header.base_offset + (uint32_t)header.last_offset_delta < offset)
		mr_tail_cursor_pass(&replica->committed_cursor, &header);
	return replica->committed_cursor.position;
}

bool mr_worker_replica_commit(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	uint64_t offset = partition->state.high_watermark;
	uint64_t position;

	if (offset == replica->committed || !partition->log || partition->failed)
		return false;
	mr_assert(offset > replica->committed);
	position = position_of(partition, offset);
	mr_tail_publish_committed(&partition->tail, position, offset);
	replica->committed = offset;
	replica->rose =
		mr_worker_answer(&partition->committed, offset, mr_worker_wake_lane, worker) > 0;
	replica->rose_turn = worker->turns;
	mr_counter_set(partition->counters[MR_GAUGE_HIGH_WATERMARK], offset);
	return true;
}

/*
 * Who was just told that its records are committed may publish the next ones at once, and their
 * batch tells the other hosts, too: so for some turns nothing is told in a message of its own, as
 * long as the worker finds nothing else to do, and does not sleep (mr_worker_replica_tell()).
 */
static bool puts_off(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	uint32_t turns = worker->turns - replica->rose_turn;

	if (!replica->rose)
		return false;
	replica->rose = turns < mr_worker_turns_within(worker, PUT_OFF_TURNS) &&
			worker->idle + 1 >= turns && mr_replica_untold(&replica->machine);
	worker->untold |= replica->rose;
	return replica->rose;
}

/* ---- what came
 * ----------------------------------------------------------------------------------------- */

static void use_up(struct mr_worker *worker, struct mr_feed_delivery *delivery, uint32_t count)
{
	mr_assert(delivery->unused >= count);
	delivery->unused -= count;
	if (!delivery->unused)
		mr_feed_port_return(worker->options.port, delivery);
}

/* The peer is believed no more than a disk: a batch is checked before it is anything. */
static int check_batch(const struct mr_worker_partition *partition, const struct mr_feed_item *item,
		       struct mr_batch_header *header)
{
	struct mr_error err;

	if (mr_batch_decode_header(item->batches, item->entry.bytes, header) < 0 ||
	    header->total_bytes > partition->log_options.batch_bytes_max ||
	    header->base_offset != partition->state.log_end ||
	    header->leader_epoch > item->entry.leader_epoch ||
	    header->leader_epoch < mr_epochs_last(&partition->state.epochs) ||
	    mr_compress_check(header) < 0)
		return -EBADMSG;
	return mr_batch_check(item->batches, header->total_bytes, true, header, &err);
}

uint8_t *mr_worker_replica_reserve(struct mr_worker *worker, struct mr_worker_partition *partition,
				   uint32_t bytes)
{
	enum mr_log_room room;
	uint8_t *at;

	room = mr_log_reserve(partition->log, bytes, &at);
	if (room != MR_LOG_ROOM && mr_worker_submit(worker, partition))
		room = mr_log_reserve(partition->log, bytes, &at);
	if (room == MR_LOG_ROOM)
		return at;
	mr_counter_add(partition->counters[room == MR_LOG_NO_SEGMENT ? MR_COUNT_NO_SEGMENT
								     : MR_COUNT_TAIL_FULL],
		       1);
	return NULL;
}

void mr_worker_replica_appended(struct mr_worker *worker, struct mr_worker_partition *partition,
				const uint8_t *at, const struct mr_batch_header *header)
{
	uint64_t plain_bytes = mr_compress_plain_bytes(at, header);
	int64_t producer_id = header->base_sequence < 0 ? MR_PRODUCER_ID_NONE : header->producer_id;
	uint64_t end;
	int noted;

	noted = mr_epochs_note(&partition->state.epochs, header->leader_epoch, header->base_offset);
	mr_assert(noted == 0); /* checked before */
	(void)mr_partition_append(&partition->state, producer_id, header->producer_epoch,
				  header->base_sequence, (uint32_t)header->record_count,
				  mr_clock_wall_ms(worker->options.clock));
	end = mr_log_append(partition->log, header->total_bytes, (uint32_t)header->record_count,
			    header->max_timestamp_ms);
	mr_assert(end == partition->state.log_end);
	mr_counter_add(partition->counters[MR_COUNT_RECORDS], (uint64_t)header->record_count);
	mr_counter_add(partition->counters[MR_COUNT_BATCHES], 1);
	mr_counter_add(partition->counters[MR_COUNT_BYTES], header->total_bytes);
	mr_counter_add(partition->counters[MR_COUNT_PLAIN_BYTES], plain_bytes);
}

bool mr_worker_replica_append(struct mr_worker *worker, struct mr_worker_partition *partition,
			      const uint8_t *bytes, const struct mr_batch_header *header)
{
	uint8_t *at = mr_worker_replica_reserve(worker, partition, header->total_bytes);

	if (!at)
		return false;
	memcpy(at, bytes, header->total_bytes);
	mr_batch_place(at, header->base_offset, header->leader_epoch);
	mr_worker_replica_appended(worker, partition, at, header);
	return true;
}

/*
 * Appends what it can of an entry's batches, and cuts that off its front. What is no batch that
 * could follow ends the entry: it is asked for again.
 */
static uint32_t append_batches(struct mr_worker *worker, struct mr_worker_partition *partition,
			       struct mr_feed_item *item)
{
	struct mr_replica *machine = &partition->replica->machine;
	struct mr_feed_entry taken = item->entry;
	struct mr_batch_header header;

	taken.bytes = 0;
	while (item->entry.bytes && taken.bytes < BYTES_A_TURN) {
		if (check_batch(partition, item, &header) < 0) {
			machine->refused++;
			item->entry.bytes = 0;
			break;
		}
		if (!mr_worker_replica_append(worker, partition, item->batches, &header))
			break;
		item->batches += header.total_bytes;
		item->entry.bytes -= header.total_bytes;
		taken.bytes += header.total_bytes;
	}
	item->entry.offset = partition->state.log_end;
	taken.end_offset = partition->state.log_end;
	if (taken.bytes)
		mr_replica_took(machine, &taken);
	return taken.bytes;
}

static void drop_first(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	struct mr_feed_arrival *first = replica->arrivals;

	replica->arrivals = first->next;
	if (!replica->arrivals)
		replica->arrivals_end = &replica->arrivals;
	use_up(worker, first->delivery, 1);
}

/* False: no room for all of it now. */
static bool take_arrival(struct mr_worker *worker, struct mr_worker_partition *partition,
			 struct mr_feed_arrival *first)
{
	struct mr_feed_entry *entry = &first->item.entry;
	uint32_t taken;

	if (partition->removing || partition->failed || !partition->log) {
		entry->bytes = 0;
		return true;
	}
	if (entry->kind == MR_FEED_FORWARD)
		return mr_worker_forward_take(worker, partition, first);
	if (mr_replica_take(&partition->replica->machine, first->delivery->node, entry) !=
	    MR_TAKE_APPEND) {
		entry->bytes = 0; /* not now, or not any more */
		return true;
	}
	taken = append_batches(worker, partition, &first->item);
	return !entry->bytes || taken >= BYTES_A_TURN;
}

/* Batches that came, oldest first, as far as there is room. */
static void take_arrivals(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	uint64_t bytes = 0;

	while (replica->arrivals && bytes < BYTES_A_TURN) {
		struct mr_feed_arrival *first = replica->arrivals;
		uint32_t before = first->item.entry.bytes;

		if (!take_arrival(worker, partition, first)) {
			partition->waiting_for_room = true;
			return;
		}
		bytes += before - first->item.entry.bytes;
		worker->replica_work++;
		if (!first->item.entry.bytes)
			drop_first(worker, replica);
	}
}

static void note_leader_end(struct mr_worker_replica *replica, uint32_t node,
			    const struct mr_feed_entry *entry)
{
	uint64_t end = entry->kind == MR_FEED_BATCHES ? entry->end_offset : entry->offset;

	if ((entry->kind == MR_FEED_BATCHES || entry->kind == MR_FEED_WATERMARK) &&
	    replica->machine.known.leader == (int32_t)node &&
	    entry->leader_epoch == replica->machine.known.leader_epoch && end > replica->leader_end)
		replica->leader_end = end;
}

/* An entry of a delivery. True: it was used; else it waits for its turn. */
static bool arrive(struct mr_worker *worker, struct mr_feed_delivery *delivery,
		   struct mr_feed_arrival *arrival)
{
	struct mr_worker_partition *partition = arrival->owner;
	struct mr_worker_replica *replica = partition->replica;

	if (partition->removing || partition->resting || partition->failed)
		return true;
	note_leader_end(replica, delivery->node, &arrival->item.entry);
	if (arrival->item.entry.kind == MR_FEED_FORWARDED) {
		mr_worker_forward_heard(worker, partition, delivery->node, &arrival->item.entry);
		return true;
	}
	if (arrival->item.entry.kind == MR_FEED_STATE) {
		mr_worker_anew_arrived(replica, delivery->node, &arrival->item);
		return true;
	}
	if (!mr_feed_has_batches(arrival->item.entry.kind)) {
		mr_replica_received(&replica->machine, delivery->node, &arrival->item.entry);
		return true;
	}
	arrival->delivery = delivery;
	arrival->next = NULL;
	*replica->arrivals_end = arrival;
	replica->arrivals_end = &arrival->next;
	return false;
}

static void take_delivery(struct mr_worker *worker, struct mr_feed_delivery *delivery)
{
	uint32_t i, used = 0;

	delivery->unused = delivery->count + 1; /* it does not go back while it is walked */
	for (i = 0; i < delivery->count; i++)
		if (worker->nodes[delivery->node].connection != delivery->connection ||
		    arrive(worker, delivery, &delivery->arrivals[i]))
			used++;
	use_up(worker, delivery, used + 1);
}

/* ---- connections
 * --------------------------------------------------------------------------------------- */

static bool is_replica(const struct mr_worker_partition *partition, uint32_t node)
{
	return partition->replica && !partition->failed &&
	       (partition->replica->machine.options.replicas & UINT64_C(1) << node);
}

static bool is_watched(const struct mr_worker_node *node)
{
	return node->capabilities & MR_FEED_CAN_SAY_ALIVE;
}

static void connected(struct mr_worker *worker, const struct mr_feed_delivery *delivery)
{
	uint32_t i;

	mr_assert(delivery->node < MR_NODES_MAX);
	worker->connected |= UINT64_C(1) << delivery->node;
	worker->nodes[delivery->node] = (struct mr_worker_node){
		delivery->connection, delivery->incarnation, delivery->capabilities};
	for (i = 0; i < worker->partition_count; i++)
		if (is_replica(worker->partitions[i], delivery->node))
			mr_replica_connected(&worker->partitions[i]->replica->machine,
					     delivery->node, delivery->incarnation,
					     is_watched(&worker->nodes[delivery->node]));
}

static void disconnected(struct mr_worker *worker, const struct mr_feed_delivery *delivery)
{
	uint32_t i;

	mr_assert(delivery->node < MR_NODES_MAX);
	if (worker->nodes[delivery->node].connection != delivery->connection)
		return; /* there is a newer one */
	worker->connected &= ~(UINT64_C(1) << delivery->node);
	worker->nodes[delivery->node] = (struct mr_worker_node){0};
	for (i = 0; i < worker->partition_count; i++)
		if (is_replica(worker->partitions[i], delivery->node))
			mr_replica_disconnected(&worker->partitions[i]->replica->machine,
						delivery->node);
}

static void take_mail(struct mr_worker *worker, struct mr_feed_mail *mail)
{
	struct mr_feed_delivery *delivery = (struct mr_feed_delivery *)mail;

	if (mail->kind == MR_MAIL_PARCEL) {
		mr_worker_parcels_returned(worker, (struct mr_feed_parcel *)mail);
		return;
	}
	if (delivery->what == MR_DELIVERY_ARRIVALS) {
		take_delivery(worker, delivery);
		return;
	}
	if (delivery->what == MR_DELIVERY_CONNECTED)
		connected(worker, delivery);
	else
		disconnected(worker, delivery);
	mr_feed_port_return(worker->options.port, delivery);
}

void mr_worker_replica_time(struct mr_worker *worker)
{
	uint32_t i;

	worker->replica_work = 0;
	if (!worker->replica_count)
		return;
	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i]->replica)
			mr_replica_time(&worker->partitions[i]->replica->machine, worker->now_ns);
}

/* What was put into the port before a partition was let go by the feed has been seen. */
static void note_empty(struct mr_worker *worker)
{
	uint32_t i;

	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i]->replica && worker->partitions[i]->removing)
			worker->partitions[i]->replica->mail_seen = true;
}

uint32_t mr_worker_replica_mail(struct mr_worker *worker)
{
	uint32_t count;

	if (!worker->options.port)
		return 0;
	for (count = 0; count < MAILS_A_TURN; count++) {
		struct mr_feed_mail *mail = mr_feed_port_receive(worker->options.port);

		if (!mail) {
			note_empty(worker);
			break;
		}
		take_mail(worker, mail);
	}
	return count;
}

/* ---- a partition's turn
 * -------------------------------------------------------------------------------- */

void mr_worker_replica_begin(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	partition->waiting_for_room = false;
	note_role(partition);
	if (partition->replica->arrivals)
		take_arrivals(worker, partition);
	if (mr_worker_replica_drains(partition->replica))
		return;
	mr_worker_forward_settle(worker, partition);
	mr_worker_forward(worker, partition);
}

/* relaxed: each is a number for people, by itself */
static void show(_Atomic uint64_t *shown, uint64_t value)
{
	atomic_store_explicit(shown, value, memory_order_relaxed);
}

/* Why 'node' is in sync no longer, by what its leader sees of it now. */
static enum mr_out_of_sync why_out(const struct mr_replica *machine, uint32_t node)
{
	const struct mr_replica_peer *peer = &machine->peers[node];
	const struct mr_coord_state *ours = &machine->proposal.wanted;
	bool asked = ours->version == machine->known.version && !(ours->isr >> node & 1);

	if (machine->role != MR_ROLE_LEADER)
		return MR_OUT_NOT_KNOWN;
	if (!peer->connected) /* it may have been left out of a claim, which nobody proposes */
		return MR_OUT_AWAY;
	if (!asked)
		return MR_OUT_ITSELF;
	return peer->fetching ? MR_OUT_LATE : MR_OUT_APART;
}

static void show_peers(struct mr_worker_replica *replica, uint64_t now_ns)
{
	const struct mr_replica *machine = &replica->machine;
	uint64_t changed = replica->isr ^ machine->known.isr;
	uint32_t i;

	for (i = 0; i < replica->link_count; i++) {
		uint32_t node = replica->links[i].node;
		struct mr_worker_replica_peer_view *view = &replica->view.peers[node];

		show(&view->flushed, replica->partition->state.replica_flushed[node]);
		show(&view->caught_up_ns, machine->peers[node].caught_up_ns);
		show(&view->sent_offset, machine->peers[node].sent_offset);
		if (!(changed & UINT64_C(1) << node))
			continue;
		show(&view->changed_ns, now_ns);
		/* relaxed: as show() */
		if (replica->isr & UINT64_C(1) << node)
			atomic_store_explicit(&view->why, why_out(machine, node),
					      memory_order_relaxed);
	}
	replica->isr = machine->known.isr;
}

static void show_view(struct mr_worker_replica *replica, uint64_t now_ns)
{
	const struct mr_replica *machine = &replica->machine;
	struct mr_worker_replica_view *view = &replica->view;

	if (now_ns - replica->view_ns < VIEW_NS && replica->isr == machine->known.isr &&
	    atomic_load_explicit(&view->role, memory_order_relaxed) == machine->role)
		return;
	replica->view_ns = now_ns;
	/* relaxed: as show() */
	atomic_store_explicit(&view->role, machine->role, memory_order_relaxed);
	atomic_store_explicit(&view->step, machine->step, memory_order_relaxed);
	atomic_store_explicit(&view->leader, machine->known.leader, memory_order_relaxed);
	atomic_store_explicit(&view->leader_epoch, machine->known.leader_epoch,
			      memory_order_relaxed);
	show(&view->leader_end, replica->leader_end);
	show(&view->leader_watermark, machine->leader_watermark);
	show(&view->truncations, machine->truncations);
	show(&view->refused, machine->refused);
	show_peers(replica, now_ns);
	show(&view->isr, machine->known.isr); /* the last: who sees it looks for the reason */
}

/* A read that is still out will do; a proposal of which nothing was heard may be carried out. */
static void coordinate(struct mr_worker *worker, struct mr_worker_replica *replica,
		       const struct mr_replica_action *action)
{
	static const struct mr_coord_event unknown = {.kind = MR_COORD_UNKNOWN};
	bool read = action->kind == MR_ACTION_READ;
	struct mr_worker_message *message = read ? &replica->read : &replica->propose;
	bool *out = read ? &replica->read_out : &replica->propose_out;

	if (*out && !read)
		mr_replica_coordinated(&replica->machine, &unknown);
	if (*out)
		return;
	*out = true;
	message->partition = replica->partition;
	message->proposal = action->proposal; /* of a read: zeros */
	mr_worker_tell(worker, message);
}

static void ask_truncation(struct mr_worker *worker, struct mr_worker_replica *replica,
			   const struct mr_replica_action *action)
{
	replica->truncate.partition = replica->partition;
	replica->truncate.offset = action->offset;
	replica->truncate.reset = action->reset;
	replica->truncate.state = NULL;
	if (action->state)
		mr_worker_anew_hand_over(&replica->anew, &replica->truncate);
	mr_worker_tell(worker, &replica->truncate);
}

void mr_worker_replica_act(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	uint32_t i;

	show_view(replica, worker->now_ns);
	if (partition->removing || partition->failed)
		return;
	mr_worker_forward_answer(worker, replica);
	mr_replica_put_off(&replica->machine, puts_off(worker, replica));
	for (i = 0; i < ACTIONS_A_TURN; i++) {
		struct mr_replica_action action = mr_replica_next(
			&replica->machine, mr_worker_parcels_sendable(worker, replica));

		if (action.kind == MR_ACTION_NOTHING)
			break;
		worker->replica_work++;
		if (action.kind == MR_ACTION_SEND)
			mr_worker_parcels_send_entry(worker, replica, action.node, &action.entry);
		else if (action.kind == MR_ACTION_TRUNCATE)
			ask_truncation(worker, replica, &action);
		else if (action.kind == MR_ACTION_KEEP_STATE)
			mr_worker_anew_keep(&replica->anew);
		else if (action.kind == MR_ACTION_DROP_STATE)
			mr_worker_anew_drop(&replica->anew);
		else
			coordinate(worker, replica, &action);
	}
	mr_worker_anew_turn(worker, replica);
	mr_worker_parcels_send_batches(worker, replica);
}

bool mr_worker_replica_tell(struct mr_worker *worker)
{
	bool told = worker->untold;
	uint32_t i;

	for (i = 0; worker->untold && i < worker->partition_count; i++) {
		struct mr_worker_replica *replica = worker->partitions[i]->replica;

		if (!replica || !replica->rose || worker->partitions[i]->resting)
			continue;
		replica->rose = false;
		mr_worker_replica_act(worker, worker->partitions[i]);
	}
	worker->untold = false;
	return told;
}

/* ---- requests
 * ------------------------------------------------------------------------------------------ */

/* What is due next is said in time though nothing happens. */
static void set_park(struct mr_worker *worker, const struct mr_replica_options *options)
{
	uint64_t ms = options->heartbeat_ns / 2000000;

	if (!ms)
		ms = 1;
	if (!worker->park_ms || ms < worker->park_ms)
		worker->park_ms = (uint32_t)ms;
}

uint32_t mr_worker_replica_park_ms(const struct mr_worker *worker, uint32_t most)
{
	uint32_t i;

	if (!worker->replica_count || worker->park_ms >= most)
		return most;
	for (i = 0; i < worker->partition_count; i++) {
		const struct mr_worker_partition *partition = worker->partitions[i];

		if (partition->replica && !mr_replica_is_quiet(&partition->replica->machine))
			return worker->park_ms;
	}
	return most;
}

void mr_worker_replica_added(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;
	uint64_t left = worker->connected;

	worker->replica_count++;
	set_park(worker, &replica->machine.options);
	mr_replica_time(&replica->machine, worker->now_ns);
	for (; left; left &= left - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(left);

		if (is_replica(partition, node))
			mr_replica_connected(&replica->machine, node,
					     worker->nodes[node].incarnation,
					     is_watched(&worker->nodes[node]));
	}
}

static void move_lanes(struct mr_worker_partition *from, struct mr_worker_partition *to)
{
	struct mr_worker_lane **lanes = to->lanes;
	struct mr_waker **watches = to->watches;
	uint32_t i;

	to->lanes = from->lanes;
	to->lane_count = from->lane_count;
	to->watches = from->watches;
	to->watch_count = from->watch_count;
	from->lanes = lanes;
	from->lane_count = 0;
	from->watches = watches;
	from->watch_count = 0;
	for (i = 0; i < to->lane_count; i++)
		to->lanes[i]->partition = to;
}

void mr_worker_replica_moved(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_partition *old = partition->cut;
	struct mr_worker_replica *replica = old->replica;

	mr_assert(old->resting && replica->parcels_out == 0);
	move_lanes(old, partition);
	partition->cut = NULL;
	partition->replica = replica;
	old->replica = NULL;
	replica->partition = partition;
	replica->machine.partition = &partition->state;
	replica->mail_seen = false;
	replica->mark_count = 0;
	replica->committed = partition->state.high_watermark; /* as its tail says */
	replica->committed_cursor = (struct mr_tail_cursor){.position = partition->start.position};
	mr_replica_time(&replica->machine, worker->now_ns);
	mr_replica_truncated(&replica->machine, partition->state.log_start,
			     partition->state.log_end);
	mr_tail_publish_closed(&old->tail); /* who reads it finds the way to the new one */
	mr_worker_wake_sleepers(worker, partition, MR_NEWS_COMMITTED | MR_NEWS_APPENDED);
}

void mr_worker_replica_removing(struct mr_worker_partition *partition)
{
	partition->replica->mail_seen = false;
	partition->replica->forwarder.may = false;
	mr_worker_replica_rewind(partition);
}

bool mr_worker_replica_settled(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_replica *replica = partition->replica;

	while (replica->arrivals)
		drop_first(worker, replica);
	return replica->parcels_out == 0 && !replica->read_out && !replica->propose_out &&
	       mr_worker_anew_settled(&replica->anew) &&
	       (replica->mail_seen || !worker->options.port);
}

/* D3: what this host says no longer counts, and it leads nothing. */
void mr_worker_replica_failed(struct mr_worker_partition *partition)
{
	static const struct mr_coord_event resign = {.kind = MR_COORD_RESIGN};

	mr_replica_coordinated(&partition->replica->machine, &resign);
}

void mr_worker_replica_coordinated(struct mr_worker_partition *partition,
				   const struct mr_coord_event *event)
{
	if (!partition->failed)
		mr_replica_coordinated(&partition->replica->machine, event);
}

void mr_worker_replica_returned(struct mr_worker_message *message)
{
	struct mr_worker_replica *replica = message->partition->replica;

	if (message == &replica->read)
		replica->read_out = false;
	else if (message == &replica->propose)
		replica->propose_out = false;
	else
		mr_worker_anew_returned(replica, message);
}
