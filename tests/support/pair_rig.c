/* SPDX-License-Identifier: Apache-2.0 */
/* See pair_rig.h. */
#include "pair_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mailbox.h"
#include "batches.h"
#include "doorbell.h"
#include "io_fake.h"
#include "log/recover.h"
#include "log/replay.h"
#include "region.h"

#define DIRECTORY     "topics/0123/0"
#define SEGMENT_BYTES (2u << 20) /* of which half is used: nobody fills it with zeros ahead */
#define LANE_BYTES    (256u << 10)
#define RECORD_MAX    (16u << 10)

static const uint8_t topic_id[16] = {1}, log_id[16] = {2};
static struct mr_error err;
struct pair pair;
enum mr_config_compression pair_compression;

/* ---- the feed: one worker's end ------------------------------------------------------------- */

void mr_feed_port_send(struct mr_feed_port *port, struct mr_feed_parcel *parcel)
{
	cr_assert_eq(mr_mailbox_send(port->to_feed, parcel), 0);
}

void mr_feed_port_return(struct mr_feed_port *port, struct mr_feed_delivery *delivery)
{
	cr_assert_eq(mr_mailbox_send(port->to_feed, delivery), 0);
}

struct mr_feed_mail *mr_feed_port_receive(struct mr_feed_port *port)
{
	return mr_mailbox_receive(port->to_worker);
}

int mr_feed_port_fd(const struct mr_feed_port *port)
{
	return mr_mailbox_fd(port->to_worker);
}

bool mr_feed_port_sleep(struct mr_feed_port *port, bool parcels)
{
	(void)parcels; /* it is never in doubt */
	return mr_mailbox_sleep(port->to_worker);
}

void mr_feed_port_wake(struct mr_feed_port *port)
{
	mr_mailbox_wake(port->to_worker);
}

/* ---- the rig -------------------------------------------------------------------------------- */

void pair_defaults(void)
{
	memset(&pair, 0, sizeof(pair));
	pair.tail_bytes = 1u << 20;
	pair.lag_max_ns = PAIR_MS(60000);
	pair.heartbeat_ns = PAIR_MS(20);
	pair.window_bytes = 512u << 10;
	pair.min_insync = 1;
	pair.idle = MR_CONFIG_IDLE_PARK;
	pair.compression = pair_compression;
	pair.capabilities = MR_FEED_TAKES_COMPRESSED;
	pair.batches_below = PAIR_NEVER;
	pair.may_lead = 1;
	pair.reg = (struct mr_coord_state){.version = 1, .isr = PAIR_BOTH, .leader = MR_NODE_NONE};
}

static struct mr_replica_options replica_options(uint32_t node)
{
	return (struct mr_replica_options){
		.self = node,
		.incarnation = 1,
		.replicas = PAIR_BOTH,
		.min_insync_replicas = pair.min_insync,
		.window_bytes = pair.window_bytes,
		.lag_max_ns = pair.lag_max_ns,
		.ask_again_ns = 10 * pair.heartbeat_ns,
		.heartbeat_ns = pair.heartbeat_ns,
		.lost_data = pair.lost_data >> node & 1,
	};
}

/* A partition of what creation or recovery found. */
static struct mr_worker_partition *make_part(struct pair_host *host, struct mr_recovered *found,
					     struct mr_partition *state,
					     struct mr_worker_partition *cut)
{
	struct mr_replica_options replica = replica_options(host->node);
	struct mr_worker_partition_options options = {
		.tail_bytes = pair.tail_bytes,
		.node = MR_PLACE_ANY,
		.log = {32u << 10, 2 * RECORD_MAX, 4, .in_memory = false},
		.start = found->start,
		.replica = &replica,
		.compression = pair.compression,
		.cut = cut,
		.owner = host,
	};
	struct mr_worker_partition *part;

	memcpy(options.topic_id, topic_id, sizeof(topic_id));
	for (int i = 0; i < MR_PARTITION_COUNTERS; i++)
		options.counters[i] = &host->counters[i];
	host->active = found->segments[found->segment_count - 1];
	cr_assert_eq(mr_log_files_open(found->segments, found->segment_count, &host->files, &err),
		     0);
	mr_partition_start(state, found->log_start, found->start.offset, found->leader_epoch);
	free(found->segments);
	if (pair.compression)
		cr_assert_eq(mr_worker_compressor(host->worker, options.log.batch_bytes_max,
						  &options.compressor, &err),
			     0);
	cr_assert_eq(mr_worker_partition_new(&options, state, &part, &err), 0, "%s", err.what);
	return part;
}

static void add_part(struct pair_host *host)
{
	host->add = (struct mr_worker_message){
		.kind = MR_WORKER_ADD_PARTITION, .partition = host->part, .owner = host};
	mr_worker_send(host->worker, &host->add);
}

static void begin_host(uint32_t node)
{
	struct mr_place_entry place = {.cpu = MR_PLACE_ANY,
				       .core = MR_PLACE_ANY,
				       .node = MR_PLACE_ANY,
				       .package = MR_PLACE_ANY};
	struct pair_host *host = &pair.hosts[node];
	struct mr_worker_options worker = {
		.number = node,
		.place = &place,
		.clock = &mr_clock_system,
		.idle = pair.idle,
		.groups_in_flight = 4,
		.port = &host->port,
	};
	struct mr_recovered created = {0};
	struct mr_partition state;

	host->node = node;
	host->io = mr_io_fake_new(node + 1);
	worker.io = host->io;
	for (int i = 0; i < MR_WORKER_COUNTERS; i++)
		worker.counters[i] = &host->worker_counters[i];
	cr_assert_eq(mr_mailbox_open(8192, MR_MAILBOX_BELL_IF_ASLEEP, &host->port.to_worker, &err),
		     0);
	cr_assert_eq(mr_mailbox_open(8192, MR_MAILBOX_BELL_IF_ASLEEP, &host->port.to_feed, &err),
		     0);
	cr_assert_eq(mr_io_make_directory(host->io, "topics", &err), 0);
	cr_assert_eq(mr_io_make_directory(host->io, "topics/0123", &err), 0);
	cr_assert_eq(mr_log_create(host->io, DIRECTORY, topic_id, 0, log_id, SEGMENT_BYTES,
				   &created, &err),
		     0, "%s", err.what);
	cr_assert_eq(mr_partition_init(&state, 64, pair.min_insync, &err), 0);
	cr_assert_eq(mr_worker_start(&worker, &host->worker, &err), 0, "%s", err.what);
	host->part = make_part(host, &created, &state, NULL);
	add_part(host);
}

void pair_coordinated(struct pair_host *host, enum mr_coord_event_kind kind)
{
	struct mr_worker_message *message;

	if (host->remove.kind && !host->cutting)
		return; /* it may be gone when that is read */
	host->events_out++;
	message = calloc(1, sizeof(*message));
	message->kind = MR_WORKER_COORDINATED;
	message->partition = host->part;
	message->coordinated = (struct mr_coord_event){.kind = kind, .state = pair.reg};
	mr_worker_send(host->worker, message);
}

static void coordinate(struct pair_host *host, struct mr_worker_message *message)
{
	const struct mr_coord_state *wanted = &message->proposal.wanted;
	bool claims = wanted->leader_epoch > pair.reg.leader_epoch;
	bool done = wanted->version == pair.reg.version + 1 &&
		    (!claims || (pair.may_lead & 1u << host->node));

	if (wanted->version && done) {
		pair.reg = *wanted;
		pair_coordinated(host, MR_COORD_ACCEPTED);
		for (int i = 0; i < 2; i++)
			pair_coordinated(&pair.hosts[i], MR_COORD_STATE);
	} else {
		pair_coordinated(host, wanted->version ? MR_COORD_REFUSED : MR_COORD_STATE);
	}
	mr_worker_send(host->worker, message);
}

void pair_ask_removal(struct pair_host *host, int why)
{
	host->remove = (struct mr_worker_message){
		.kind = MR_WORKER_REMOVE_PARTITION, .status = why, .partition = host->part};
	mr_worker_send(host->worker, &host->remove);
}

/* The chore between the two partitions. */
static void cut_log(struct pair_host *host)
{
	struct mr_recover_options recover = {.window_bytes = 1u << 20};
	struct mr_recovered found;
	struct mr_partition state;

	mr_worker_partition_close_log(host->part);
	mr_log_files_close(host->files);
	mr_segment_close(host->active);
	host->cut.segment_bytes = SEGMENT_BYTES;
	memcpy(host->cut.topic_id, topic_id, sizeof(topic_id));
	memcpy(host->cut.log_id, log_id, sizeof(log_id));
	cr_assert_eq(mr_log_truncate(host->io, DIRECTORY, &host->cut, &err), 0, "%s", err.what);
	cr_assert_eq(mr_partition_init(&state, 64, pair.min_insync, &err), 0);
	cr_assert_eq(mr_recover(host->io, DIRECTORY, topic_id, 0,
				host->cut_has_entry ? &host->cut_entry : NULL, &recover, &state,
				&found, &err),
		     0, "%s", err.what);
	cr_assert_not(found.corrupt);
	host->old = host->part;
	host->part = make_part(host, &found, &state, host->old);
	add_part(host);
	host->cuts++;
}

/* ---- what is handed to who begins anew ------------------------------------------------------ */

/* Owned by the message; with padding, which decoding does not look at. */
static void keep_state(struct pair_host *host, struct mr_worker_message *message)
{
	size_t bytes;

	cr_assert_null(message->state);
	message->state_bytes = 0;
	if (host->has_entry) {
		cr_assert_eq(mr_checkpoint_encode_state(&host->entry, &message->state, &bytes), 0);
		message->state = realloc(message->state, bytes + pair.state_padding);
		memset(message->state + bytes, 0xee, pair.state_padding);
		message->state_bytes = (uint32_t)bytes + pair.state_padding;
		message->offset = host->entry.offset;
		host->states_kept++;
	}
	mr_worker_send(host->worker, message);
}

static void make_room(struct pair_host *host, struct mr_worker_message *message)
{
	host->states_dropped += message->state_bytes == 0;
	host->rooms += message->state_bytes > 0;
	free(message->state);
	message->state = message->state_bytes ? malloc(message->state_bytes) : NULL;
	mr_worker_send(host->worker, message);
}

/* False: it is none, and goes back. */
static bool take_state(struct pair_host *host, struct mr_worker_message *message)
{
	int r;

	mr_checkpoint_partition_deinit(&host->cut_entry);
	host->cut_has_entry = false;
	if (!message->state)
		return true;
	r = mr_checkpoint_decode_state(message->state, message->state_bytes, &host->cut_entry,
				       &err);
	free(message->state);
	message->state = NULL;
	if (r < 0) {
		mr_worker_send(host->worker, message);
		return false;
	}
	mr_checkpoint_begin_anew(&host->cut_entry, message->offset);
	host->cut_has_entry = true;
	return true;
}

static void take_snapshot(struct pair_host *host)
{
	const struct mr_worker_snapshot *snapshot = &host->snapshot;
	struct mr_checkpoint_partition said = {
		.leader_epoch = snapshot->epoch_count
					? snapshot->epochs[snapshot->epoch_count - 1].leader_epoch
					: 0,
		.log_start = snapshot->log_start,
		.offset = snapshot->log.end_offset,
		.position = snapshot->log.end_position,
		.group_number = snapshot->log.end_group_number,
		.previous_crc = snapshot->log.end_crc,
		.producer_count = snapshot->producer_count,
		.epoch_count = snapshot->epoch_count,
		.producers = snapshot->producers,
		.epochs = snapshot->epochs,
	};

	cr_assert_eq(host->snapshot_message.status, 0);
	memcpy(said.topic_id, topic_id, sizeof(topic_id));
	mr_checkpoint_partition_deinit(&host->entry);
	cr_assert_eq(mr_checkpoint_copy_partition(&said, &host->entry), 0);
	host->has_entry = true;
}

static void handle(struct pair_host *host, struct mr_worker_message *message)
{
	switch (message->kind) {
	case MR_WORKER_WAKE:
		mr_waker_ring(message->waker);
		break;
	case MR_WORKER_LANE_POISONED:
		host->poisoned++;
		break;
	case MR_WORKER_LOG_EVENT:
		mr_worker_send(host->worker, message);
		break;
	case MR_WORKER_COORDINATE:
		coordinate(host, message);
		break;
	case MR_WORKER_COORDINATED:
		host->events_out--;
		free(message);
		break;
	case MR_WORKER_KEEP_STATE:
		keep_state(host, message);
		break;
	case MR_WORKER_STATE_ROOM:
		make_room(host, message);
		break;
	case MR_WORKER_SNAPSHOT:
		if (message->status == 0)
			take_snapshot(host);
		message->owner = NULL; /* it is back */
		break;
	case MR_WORKER_LOG_START:
		message->owner = NULL; /* it is back */
		break;
	case MR_WORKER_TRUNCATE:
		if (host->remove.kind) { /* it goes anyway */
			free(message->state);
			break;
		}
		if (!take_state(host, message))
			break;
		host->cutting = true;
		host->cut.offset = message->offset;
		host->cut.reset = message->reset;
		pair_ask_removal(host, -ESTALE);
		break;
	case MR_WORKER_REMOVE_PARTITION:
		if (host->cut.segment_bytes == 0 && message->partition->resting)
			cut_log(host);
		else
			host->removed++;
		break;
	case MR_WORKER_ADD_PARTITION:
		cr_assert_eq(message->status, 0);
		mr_worker_partition_free(host->old);
		host->old = NULL;
		host->cut = (struct mr_truncation){0};
		host->remove.kind = 0;
		host->cutting = false;
		break;
	case MR_WORKER_ADD_LANE:
	case MR_WORKER_CLOSE_LANE:
		message->owner = message; /* it is back */
		break;
	default:
		cr_assert_fail("message of kind %d", (int)message->kind);
	}
}

/* ---- the network ---------------------------------------------------------------------------- */

static int keep_batch(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	struct pair_message *message = arg;

	if (message->entry.bytes &&
	    message->entry.bytes + header->total_bytes > message->entry.credit_bytes)
		return 1;
	message->batches = realloc(message->batches, message->entry.bytes + header->total_bytes);
	memcpy(message->batches + message->entry.bytes, bytes, header->total_bytes);
	message->entry.bytes += header->total_bytes;
	message->entry.end_offset = header->base_offset + (uint64_t)header->record_count;
	return 0;
}

/* What the catch-up reader does, on a log that stands still. */
static void read_segments(struct pair_host *host, struct mr_feed_parcel *parcel,
			  struct pair_message *message)
{
	struct mr_replay_options replay = {
		.from_offset = parcel->entry.offset,
		.end_offset = parcel->entry.end_offset,
		.batch = keep_batch,
		.arg = message,
	};

	message->entry.credit_bytes = parcel->entry.bytes; /* as far as here only */
	message->entry.bytes = 0;
	cr_assert_geq(mr_log_replay(host->files, &replay, &err), 0, "%s", err.what);
	message->entry.credit_bytes = 0;
	parcel->entry = message->entry;
	host->catch_ups++;
}

static void send(struct pair_host *host, struct mr_feed_parcel *parcel)
{
	struct pair_message message = {
		.from = host->node, .connection = parcel->connection, .entry = parcel->entry};
	uint32_t at = 0;

	parcel->status = parcel->connection == pair.connection ? 0 : -ENOTCONN;
	if (parcel->status == 0 && parcel->catch_up) {
		read_segments(host, parcel, &message);
	} else if (parcel->status == 0 && parcel->entry.bytes) {
		message.batches = malloc(parcel->entry.bytes);
		for (uint32_t i = 0; i < parcel->piece_count; i++) {
			memcpy(message.batches + at, parcel->pieces[i].iov_base,
			       parcel->pieces[i].iov_len);
			at += (uint32_t)parcel->pieces[i].iov_len;
		}
		cr_assert_eq(at, parcel->entry.bytes);
		if (parcel->entry.kind == MR_FEED_STATE && parcel->entry.at == 0 &&
		    pair.damaged_states > 0) {
			message.batches[40] ^= 1;
			pair.damaged_states--;
		}
	}
	if (parcel->status == 0) {
		cr_assert_lt(pair.message_count, PAIR_MESSAGES_MAX);
		pair.messages[pair.message_count++] = message;
	}
	if (pair.hold_parcels && parcel->entry.kind == MR_FEED_BATCHES)
		host->held[host->parcels_held++] = parcel;
	else
		cr_assert_eq(mr_mailbox_send(host->port.to_worker, parcel), 0);
}

void pair_give_parcels_back(struct pair_host *host)
{
	while (host->parcels_held)
		cr_assert_eq(
			mr_mailbox_send(host->port.to_worker, host->held[--host->parcels_held]), 0);
}

/* A delivery, and what it lies in. */
struct brought {
	struct mr_feed_delivery delivery;
	struct mr_feed_arrival arrival;
	uint8_t *batches;
};

static struct brought *bring(struct pair_host *to, enum mr_feed_delivery_kind what,
			     uint64_t connection)
{
	struct brought *brought = calloc(1, sizeof(*brought));

	brought->delivery = (struct mr_feed_delivery){
		.mail = {.kind = MR_MAIL_DELIVERY},
		.what = what,
		.node = !to->node,
		.connection = connection,
		.incarnation = 1,
		.capabilities = pair.capabilities,
		.arrivals = &brought->arrival,
		.count = what == MR_DELIVERY_ARRIVALS,
	};
	to->deliveries_out++;
	return brought;
}

static void deliver(const struct pair_message *message)
{
	struct pair_host *to = &pair.hosts[!message->from];
	struct brought *brought = bring(to, MR_DELIVERY_ARRIVALS, message->connection);

	brought->batches = message->batches;
	brought->arrival.owner = to->part;
	brought->arrival.item.entry = message->entry;
	brought->arrival.item.batches = message->batches;
	cr_assert_eq(mr_mailbox_send(to->port.to_worker, brought), 0);
}

static bool held_back(const struct pair_message *message)
{
	return (pair.hold_forward && message->entry.kind == MR_FEED_FORWARD) ||
	       (pair.hold_flushed && message->entry.kind == MR_FEED_FLUSHED) ||
	       (message->entry.kind == MR_FEED_BATCHES &&
		message->entry.end_offset > pair.batches_below);
}

/* Messages of a connection that is gone are lost; so are those to a partition that is removed. */
static void move_messages(void)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < pair.message_count; i++) {
		struct pair_message *message = &pair.messages[i];
		struct pair_host *to = &pair.hosts[!message->from];

		if (message->connection != pair.connection || to->remove.kind || to->old) {
			free(message->batches);
			continue;
		}
		if (held_back(message))
			pair.messages[kept++] = *message;
		else
			deliver(message);
	}
	pair.message_count = kept;
}

static void take_mail(struct pair_host *host)
{
	struct mr_feed_mail *mail;

	while ((mail = mr_mailbox_receive(host->port.to_feed)) != NULL) {
		struct brought *brought = (struct brought *)mail;

		if (mail->kind == MR_MAIL_PARCEL) {
			send(host, (struct mr_feed_parcel *)mail);
			continue;
		}
		host->deliveries_out--;
		free(brought->batches);
		free(brought);
	}
}

/* One look at everything that the test plays. */
void pair_pump(void)
{
	struct mr_worker_message *message;

	for (int i = 0; i < 2; i++) {
		while ((message = mr_worker_take(pair.hosts[i].worker)) != NULL)
			handle(&pair.hosts[i], message);
		take_mail(&pair.hosts[i]);
	}
	move_messages();
}

void pair_pass_ms(int ms)
{
	for (int i = 0; i < ms; i++) {
		pair_pump();
		(void)poll(NULL, 0, 1);
	}
}

void pair_link_up(void)
{
	pair.connection = ++pair.connections;
	for (int i = 0; i < 2; i++)
		cr_assert_eq(mr_mailbox_send(
				     pair.hosts[i].port.to_worker,
				     bring(&pair.hosts[i], MR_DELIVERY_CONNECTED, pair.connection)),
			     0);
}

void pair_link_down(void)
{
	for (int i = 0; i < 2; i++)
		cr_assert_eq(mr_mailbox_send(pair.hosts[i].port.to_worker,
					     bring(&pair.hosts[i], MR_DELIVERY_DISCONNECTED,
						   pair.connection)),
			     0);
	pair.connection = 0;
}

/* ---- looking -------------------------------------------------------------------------------- */

const struct mr_tail_page *pair_page(uint32_t node)
{
	return mr_worker_partition_tail(pair.hosts[node].part)->page;
}

const struct mr_worker_replica_view *pair_view(uint32_t node)
{
	return mr_worker_partition_replica(pair.hosts[node].part);
}

bool pair_leads(uint32_t node)
{
	return pair_view(node)->role == MR_ROLE_LEADER;
}

void pair_begin_apart(void)
{
	begin_host(0);
	begin_host(1);
}

void pair_begin(void)
{
	pair_begin_apart();
	pair_link_up();
	pair_await(pair_leads(0) && pair_view(1)->role == MR_ROLE_FOLLOWER &&
		   pair_view(1)->step == MR_FOLLOW_FETCH);
}

void pair_begin_as_usual(void)
{
	pair_defaults();
	pair_begin();
}

uint32_t pair_batches_of(uint32_t node, struct pair_batch *batches, uint32_t max)
{
	struct mr_tail_view tail = mr_worker_tail_view(pair.hosts[node].part);
	uint64_t limit = pair_page(node)->appended;
	struct mr_tail_cursor cursor = {.position = pair_page(node)->reclaimed};
	struct mr_batch_header header;
	uint32_t count = 0;

	while (mr_tail_cursor_next(&cursor, &tail, limit, &header) == 1) {
		cr_assert_lt(count, max);
		batches[count++] =
			(struct pair_batch){mr_tail_view_at(&tail, cursor.position),
					    cursor.position + header.total_bytes, header};
		mr_tail_cursor_pass(&cursor, &header);
	}
	return count;
}

/* What both tails still hold is the same, byte for byte. */
void pair_check_equal(void)
{
	static struct pair_batch a[8192], b[8192];
	uint32_t x = 0, y = 0, same = 0;
	uint32_t a_count = pair_batches_of(0, a, 8192), b_count = pair_batches_of(1, b, 8192);

	cr_assert_eq(pair_page(0)->appended_offset, pair_page(1)->appended_offset);
	while (x < a_count && y < b_count) {
		if (a[x].header.base_offset < b[y].header.base_offset) {
			x++;
			continue;
		}
		if (b[y].header.base_offset < a[x].header.base_offset) {
			y++;
			continue;
		}
		cr_assert_eq(a[x].header.total_bytes, b[y].header.total_bytes);
		cr_assert_eq(memcmp(a[x].bytes, b[y].bytes, a[x].header.total_bytes), 0,
			     "offset %llu", (unsigned long long)a[x].header.base_offset);
		x++;
		y++;
		same++;
	}
	cr_assert_gt(same, 0);
}

void pair_read_batch(struct mr_batch_reader *reader, const struct pair_batch *batch)
{
	static uint8_t expanded[1u << 20];
	struct mr_batch_header header = batch->header;
	const uint8_t *bytes = batch->bytes;

	if (header.attributes & MR_BATCH_CODEC_MASK) {
		mr_test_expand(bytes, &header, expanded, sizeof(expanded));
		bytes = expanded;
	}
	cr_assert_eq(mr_batch_read(reader, bytes, &header), 0);
}

void pair_end(void)
{
	struct pair_host *host;

	pair_give_parcels_back(&pair.hosts[0]);
	pair_give_parcels_back(&pair.hosts[1]);
	pair.hold_parcels = false;
	for (int i = 0; i < 2; i++) {
		host = &pair.hosts[i];
		mr_io_fake_allow(host->io, MR_IO_FAKE_ALL);
		pair_await(!host->cutting);
		if (!host->removed)
			pair_ask_removal(host, -ESHUTDOWN);
	}
	pair_await(pair.hosts[0].removed && pair.hosts[1].removed);
	pair_await(!pair.hosts[0].deliveries_out && !pair.hosts[1].deliveries_out);
	pair_await(!pair.hosts[0].events_out && !pair.hosts[1].events_out);
	for (int i = 0; i < 2; i++) {
		host = &pair.hosts[i];
		mr_worker_partition_free(host->part);
		mr_worker_stop(host->worker);
		mr_log_files_close(host->files);
		mr_segment_close(host->active);
		mr_mailbox_close(host->port.to_worker);
		mr_mailbox_close(host->port.to_feed);
		mr_io_close(host->io);
		mr_checkpoint_partition_deinit(&host->entry);
		mr_checkpoint_partition_deinit(&host->cut_entry);
		free(host->snapshot.producers);
		free(host->snapshot.epochs);
	}
}

/* ---- producers ------------------------------------------------------------------------------ */

static void publish_silently(struct pair_client *client, uint32_t records, uint32_t value_bytes)
{
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES, .value_bytes = (int32_t)value_bytes, .timestamp_ms = 1};
	void *payload;

	for (uint32_t i = 0; i < records; i++) {
		int r = -EAGAIN;

		pair_await(r == 0 ||
			   (r = mr_lane_reserve(&client->writer, &record, 0, &payload)) == 0);
		memset(payload, 'a' + (int)(client->writer.number % 26), value_bytes);
		mr_lane_publish(&client->writer);
	}
}

void pair_open_client_at(struct pair_client *client, uint32_t node, int64_t producer_id,
			 enum mr_acks acks, uint64_t number, bool resumed)
{
	struct pair_host *host = &pair.hosts[node];
	struct mr_worker_lane_options options = {
		.partition = host->part,
		.identity = {.producer_id = producer_id,
			     .producer_epoch = resumed && acks != MR_ACKS_COMMITTED,
			     .acks = acks,
			     .lane_bytes = LANE_BYTES,
			     .format = MR_FORMAT_VERSION},
		.resumed = resumed,
		.repeats = pair.repeats,
	};
	struct mr_lane_engine_page *engine;
	uint8_t mac[32] = {0};

	memset(client, 0, sizeof(*client));
	client->host = host;
	cr_assert_eq(mr_lane_create_client(LANE_BYTES, &client->client_fd, &err), 0);
	cr_assert_eq(mr_lane_create_engine(&options.identity, mac, RECORD_MAX, 0, number,
					   &client->engine_fd, &engine, &err),
		     0);
	cr_assert_eq(mr_lane_writer_open(client->client_fd, client->engine_fd, LANE_BYTES, number,
					 &client->writer, &err),
		     0);
	cr_assert_eq(mr_region_seal(client->client_fd, &err), 0);
	cr_assert_eq(
		mr_lane_reader_open(client->client_fd, engine, LANE_BYTES, &options.reader, &err),
		0);
	client->bell_to_client = mr_doorbell_open(&err);
	client->bell_to_worker = mr_doorbell_open(&err);
	cr_assert_eq(
		mr_doorbell_set_add(mr_worker_bells(host->worker), client->bell_to_worker, &err),
		0);
	options.bell_to_client = client->bell_to_client;
	publish_silently(client, pair.published_before, 100);
	client->lane = mr_worker_lane_new(&options);
	client->add.kind = MR_WORKER_ADD_LANE;
	client->add.lane = client->lane;
	mr_worker_send(host->worker, &client->add);
	pair_await(client->add.owner);
	cr_assert_eq(client->add.status, 0);
}

void pair_open_client(struct pair_client *client, uint32_t node, int64_t producer_id,
		      enum mr_acks acks)
{
	pair_open_client_at(client, node, producer_id, acks, 0, false);
}

void pair_close_client(struct pair_client *client)
{
	client->close.kind = MR_WORKER_CLOSE_LANE;
	client->close.lane = client->lane;
	mr_worker_send(client->host->worker, &client->close);
	pair_await(client->close.owner);
	mr_worker_lane_free(client->lane);
	mr_lane_writer_close(&client->writer);
	close(client->client_fd);
	close(client->engine_fd);
	close(client->bell_to_client);
	close(client->bell_to_worker);
}

void pair_publish(struct pair_client *client, uint32_t records, uint32_t value_bytes)
{
	publish_silently(client, records, value_bytes);
	mr_doorbell_ring(client->bell_to_worker);
}

uint64_t pair_acknowledged(struct pair_client *client)
{
	return mr_lane_acknowledged(&client->writer);
}

enum mr_lane_reason pair_reason(struct pair_client *client)
{
	char text[248];

	return mr_lane_reason(&client->writer, text);
}

/* The coordinator finds that the leader's session is over; only 'node' may claim. */
void pair_elect(uint32_t node)
{
	pair.may_lead = 1u << node;
	pair_coordinated(&pair.hosts[node], MR_COORD_LEADER_GONE);
	pair_await(pair_leads(node) && pair.reg.leader == (int32_t)node);
}

int pair_ask_snapshot(uint32_t node)
{
	struct pair_host *host = &pair.hosts[node];

	if (!host->snapshot.producers) {
		host->snapshot.producers = calloc(64, sizeof(*host->snapshot.producers));
		host->snapshot.epochs = calloc(MR_EPOCHS_MAX, sizeof(*host->snapshot.epochs));
	}
	host->has_entry = false;
	host->snapshot_message = (struct mr_worker_message){.kind = MR_WORKER_SNAPSHOT,
							    .partition = host->part,
							    .snapshot = &host->snapshot,
							    .owner = host};
	mr_worker_send(host->worker, &host->snapshot_message);
	pair_await(!host->snapshot_message.owner);
	return host->snapshot_message.status;
}

void pair_take_snapshot(uint32_t node)
{
	cr_assert_eq(pair_ask_snapshot(node), 0);
	cr_assert(pair.hosts[node].has_entry);
}

void pair_raise_log_start(uint32_t node, uint64_t offset)
{
	struct pair_host *host = &pair.hosts[node];

	host->log_start = (struct mr_worker_message){.kind = MR_WORKER_LOG_START,
						     .partition = host->part,
						     .offset = offset,
						     .owner = host};
	mr_worker_send(host->worker, &host->log_start);
	pair_await(!host->log_start.owner);
}

bool pair_entry_has(uint32_t node, int64_t producer_id, int32_t last_sequence)
{
	const struct mr_checkpoint_partition *entry = &pair.hosts[node].entry;

	for (uint32_t i = 0; i < entry->producer_count; i++)
		if (entry->producers[i].producer_id == producer_id)
			return entry->producers[i].last_sequence == last_sequence;
	return false;
}
