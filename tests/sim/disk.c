/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulated host does with its disk: its log and what it knows of that, its checkpoint,
 * retention, truncation, beginning anew. In the order that the engine must keep, and the power may
 * go between any two steps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "recover_parts.h"
#include "replay.h"
#include "truncate.h"
#include "world.h"

#define SEGMENT_BYTES (16u << 10) /* logs roll often, and are cut across segments */
#define GROUP_BYTES   (4u << 10)
#define BATCH_BYTES   (2u << 10)
#define DROPS_MAX     4

/* ---- what its log holds --------------------------------------------------------------------- */

void sim_log_add(struct sim_log *log, const uint8_t *bytes, const struct mr_batch_header *header)
{
	struct sim_batch *batch;

	if (log->count == log->room) {
		log->room = log->room ? 2 * log->room : 256;
		log->batches = realloc(log->batches, log->room * sizeof(*log->batches));
		mr_assert(log->batches);
	}
	batch = &log->batches[log->count++];
	batch->header = *header;
	batch->bytes = malloc(header->total_bytes);
	mr_assert(batch->bytes);
	memcpy(batch->bytes, bytes, header->total_bytes);
}

void sim_log_clear(struct sim_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->batches[i].bytes);
	log->count = 0;
}

size_t sim_log_find(const struct sim_log *log, uint64_t offset)
{
	size_t low = 0, high = log->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (log->batches[middle].header.base_offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < log->count && log->batches[low].header.base_offset == offset ? low
										  : log->count;
}

size_t sim_log_drop(struct sim_log *log, uint64_t offset)
{
	size_t gone = 0;

	while (gone < log->count && log->batches[gone].header.base_offset < offset)
		free(log->batches[gone++].bytes);
	log->count -= gone;
	memmove(log->batches, log->batches + gone, log->count * sizeof(*log->batches));
	return gone;
}

static int read_back(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	sim_log_add(arg, bytes, header);
	return 0;
}

/* ---- the checkpoint ------------------------------------------------------------------------- */

static const struct mr_checkpoint_partition *entry_of(const struct sim_host *host)
{
	return mr_checkpoint_find(&host->checkpoint, mr_test_topic_id, 0);
}

static void forget_pending(struct sim_host *host)
{
	if (host->is_pending)
		mr_checkpoint_partition_deinit(&host->pending);
	host->is_pending = false;
}

static void save_checkpoint(struct sim *sim, struct sim_host *host)
{
	struct mr_error err = {0};

	if (mr_checkpoint_save(host->disk, &host->checkpoint, &err) < 0)
		sim_broken(sim, "a checkpoint cannot be saved: %s", err.what);
}

static void load_checkpoint(struct sim *sim, struct sim_host *host)
{
	struct mr_error err = {0};
	int r;

	mr_checkpoint_deinit(&host->checkpoint);
	r = mr_checkpoint_load(host->disk, &host->checkpoint, &err);
	if (r < 0 && r != -ENOENT)
		sim_broken(sim, "a checkpoint cannot be read: %s", err.what);
}

/* Of a moment when all is flushed; it is saved when it is final. A log that is void has none. */
static void checkpoint(struct sim *sim, struct sim_host *host)
{
	struct mr_log_state state;

	mr_log_state(host->rig.log, &state);
	if (!host->is_pending && !host->replica.void_log && sim_chance(sim, 5) &&
	    state.flushed_offset == state.end_offset) {
		mr_test_rig_checkpoint(&host->rig, &host->pending);
		host->is_pending = true;
	}
	if (!host->is_pending || !mr_partition_is_final(&host->rig.partition, host->pending.offset))
		return;
	mr_assert(mr_checkpoint_put(&host->checkpoint, &host->pending) == 0);
	host->is_pending = false;
	save_checkpoint(sim, host);
	sim->coverage->checkpoints++;
}

/* ---- retention ------------------------------------------------------------------------------ */

/* The oldest segments go, here and now and on no other host; never what the checkpoint needs. */
static void retain(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	const struct mr_checkpoint_partition *entry = entry_of(host);
	uint64_t keep = entry ? entry->offset : 0, log_start = 0;
	struct mr_error err = {0};
	struct mr_segment *segment;
	size_t gone;

	if (keep > host->rig.partition.high_watermark)
		keep = host->rig.partition.high_watermark;
	if (host->rig.chore_count > 0)
		return;
	sim_observer_look(sim, node); /* which sees what is durable, before it goes */
	for (uint64_t drops = 1 + sim_random(sim, DROPS_MAX); drops > 0; drops--) {
		segment = mr_log_files_retain(host->rig.files, 1, 0, keep, &log_start);
		if (!segment)
			return;
		mr_partition_raise_log_start(&host->rig.partition, log_start);
		if (mr_segment_remove(segment, &err) < 0)
			sim_broken(sim, "a segment cannot be removed: %s", err.what);
		mr_segment_close(segment);
		gone = sim_log_drop(&host->log, log_start);
		mr_assert(gone <= host->noted);
		host->noted -= gone;
		sim->coverage->dropped++;
	}
}

void sim_disk_turn(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];

	checkpoint(sim, host);
	if (sim_chance(sim, 3))
		retain(sim, node);
}

/* ---- opening -------------------------------------------------------------------------------- */

static struct mr_truncation truncation_at(uint64_t offset, bool reset)
{
	struct mr_truncation truncation = {
		.offset = offset, .reset = reset, .segment_bytes = SEGMENT_BYTES};

	memcpy(truncation.topic_id, mr_test_topic_id, sizeof(truncation.topic_id));
	memcpy(truncation.log_id, mr_test_log_id, sizeof(truncation.log_id));
	return truncation;
}

static int cut_log(struct sim_host *host, const struct mr_truncation *truncation,
		   struct mr_error *err)
{
	static const char *const path[] = {".", "topics", "topics/0123", RIG_DIRECTORY};
	int r = 0;

	for (int i = 1; i < 4 && r == 0; i++) {
		r = mr_io_make_directory(host->disk, path[i], err);
		if (r == 0)
			r = mr_io_sync_directory(host->disk, path[i - 1], err);
	}
	return r < 0 ? r : mr_log_truncate(host->disk, RIG_DIRECTORY, truncation, err);
}

/* Nobody vouches for what is there: it is nothing. An engine would leave the files until it begins
 * anew. */
static void empty_log(struct sim *sim, struct sim_host *host)
{
	struct mr_truncation truncation = truncation_at(0, true);
	struct mr_error err = {0};

	host->lost_data = true;
	if (cut_log(host, &truncation, &err) < 0)
		sim_broken(sim, "a log that is void cannot be emptied: %s", err.what);
}

void sim_disk_open(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	struct mr_test_rig_options options = mr_test_rig_defaults();
	struct mr_replay_options replay = {.batch = read_back, .arg = &host->log};
	struct mr_error err = {0};

	options.replicated = true;
	options.producers_max = 16;
	options.segment_bytes = SEGMENT_BYTES;
	options.log.group_bytes = GROUP_BYTES;
	options.log.batch_bytes_max = BATCH_BYTES;
	mr_io_fake_allow(host->disk, MR_IO_FAKE_ALL);
	load_checkpoint(sim, host);
	host->lost_data = false;
	if (!entry_of(host))
		empty_log(sim, host);
	mr_test_rig_open(&host->rig, &options, host->disk, entry_of(host));
	if (entry_of(host) && host->rig.recovered.start.offset < entry_of(host)->offset)
		sim_broken(sim, "host %u has lost its log", node);
	sim_log_clear(&host->log);
	host->noted = 0;
	replay.from_offset = host->rig.recovered.log_start;
	replay.end_offset = host->rig.recovered.start.offset;
	if (mr_log_replay(host->rig.files, &replay, &err) < 0)
		sim_broken(sim, "a recovered log cannot be read: %s", err.what);
	host->durable = host->rig.recovered.start.offset;
}

void sim_disk_close(struct sim_host *host)
{
	forget_pending(host);
	if (host->rig.log)
		mr_test_rig_close(&host->rig);
	free(host->kept);
	free(host->coming);
	host->kept = host->coming = NULL;
	host->kept_bytes = host->coming_bytes = 0;
}

void sim_disk_free(struct sim_host *host)
{
	sim_disk_close(host);
	mr_checkpoint_deinit(&host->checkpoint);
	sim_log_clear(&host->log);
	free(host->log.batches);
	if (host->disk)
		mr_io_close(host->disk);
}

/* ---- what others need to begin anew --------------------------------------------------------- */

/*
 * The newest entry of the checkpoint. What stands behind it is padding, so that there are states of
 * several pieces.
 */
void sim_disk_keep_state(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	const struct mr_checkpoint_partition *entry = entry_of(host);
	size_t padding = sim_random(sim, 3) * (MR_FEED_STATE_PIECE_MAX - 7);

	if (!entry) {
		mr_replica_keeps_state(&host->replica, 0, 0);
		return;
	}
	mr_assert(!host->kept);
	mr_assert(mr_checkpoint_encode_state(entry, &host->kept, &host->kept_bytes) == 0);
	host->kept = realloc(host->kept, host->kept_bytes + padding);
	mr_assert(host->kept);
	memset(host->kept + host->kept_bytes, 0xee, padding);
	host->kept_bytes += padding;
	mr_replica_keeps_state(&host->replica, entry->offset, (uint32_t)host->kept_bytes);
}

void sim_disk_drop_state(struct sim *sim, uint32_t node)
{
	free(sim->hosts[node].kept);
	sim->hosts[node].kept = NULL;
}

void sim_disk_take_state(struct sim *sim, uint32_t node, const struct mr_feed_entry *entry,
			 const uint8_t *bytes)
{
	struct sim_host *host = &sim->hosts[node];

	if (entry->at == 0) {
		free(host->coming);
		host->coming = malloc(entry->total_bytes);
		host->coming_bytes = entry->total_bytes;
		mr_assert(host->coming);
	}
	memcpy(host->coming + entry->at, bytes, entry->bytes);
}

/* ---- truncation ----------------------------------------------------------------------------- */

/* True: the power is gone, here and now. */
static bool power_goes(struct sim *sim, uint32_t node)
{
	if (!sim->faults || !sim_chance(sim, 4))
		return false;
	sim->coverage->crashes++;
	sim_host_crash(sim, node);
	return true;
}

/* What the checkpoint is to say of a log that begins anew. */
static void make_entry(struct sim *sim, struct sim_host *host,
		       const struct mr_replica_action *action,
		       struct mr_checkpoint_partition *entry)
{
	int32_t leader_epoch = host->rig.partition.leader_epoch;
	struct mr_error err = {0};

	*entry = (struct mr_checkpoint_partition){.group_number = 1};
	memcpy(entry->topic_id, mr_test_topic_id, sizeof(entry->topic_id));
	if (action->state &&
	    mr_checkpoint_decode_state(host->coming, host->coming_bytes, entry, &err) < 0)
		sim_broken(sim, "a state that came is none: %s", err.what);
	if (!action->state)
		entry->offset = action->offset;
	mr_checkpoint_begin_anew(entry, action->offset);
	entry->leader_epoch = leader_epoch;
}

/* Its entry goes first, from both slots; then the log; then there is a new one. */
static bool begin_anew(struct sim *sim, uint32_t node, const struct mr_replica_action *action,
		       struct mr_error *err)
{
	struct mr_truncation truncation = truncation_at(action->offset, true);
	struct sim_host *host = &sim->hosts[node];
	struct mr_checkpoint_partition entry;
	bool gone;

	make_entry(sim, host, action, &entry);
	mr_test_rig_close(&host->rig);
	mr_checkpoint_forget(&host->checkpoint, mr_test_topic_id, 0);
	save_checkpoint(sim, host);
	save_checkpoint(sim, host);
	gone = power_goes(sim, node);
	if (!gone && cut_log(host, &truncation, err) < 0)
		sim_broken(sim, "host %u cannot begin anew: %s", node, err->what);
	gone = gone || power_goes(sim, node);
	if (gone) {
		mr_checkpoint_partition_deinit(&entry);
		return false;
	}
	mr_assert(mr_checkpoint_put(&host->checkpoint, &entry) == 0);
	save_checkpoint(sim, host);
	sim->coverage->begun_anew++;
	return !power_goes(sim, node);
}

static bool cut(struct sim *sim, uint32_t node, const struct mr_replica_action *action,
		struct mr_error *err)
{
	struct mr_truncation truncation = truncation_at(action->offset, false);
	struct sim_host *host = &sim->hosts[node];

	truncation.keep_offset = entry_of(host) ? entry_of(host)->offset : 0;
	mr_test_rig_close(&host->rig);
	if (cut_log(host, &truncation, err) < 0)
		sim_broken(sim, "host %u cannot cut its log at %llu: %s", node,
			   (unsigned long long)action->offset, err->what);
	return !power_goes(sim, node);
}

/* As the engine does where its checkpoint counts what goes: now and then, whatever that says. */
static bool is_uncuttable(const struct sim_host *host, const struct mr_replica_action *action)
{
	const struct mr_partition *partition = &host->rig.partition;

	return !action->reset && partition->log_start > 0 && action->offset % 4 == 0 &&
	       partition->high_watermark == partition->log_start;
}

bool sim_disk_truncate(struct sim *sim, uint32_t node, const struct mr_replica_action *action)
{
	struct sim_host *host = &sim->hosts[node];
	bool was_read = host->rig.partition.high_watermark > host->rig.partition.log_start;
	struct mr_error err = {0};

	if (is_uncuttable(host, action)) {
		mr_replica_not_truncated(&host->replica);
		return true;
	}
	forget_pending(host);
	if (!(action->reset ? begin_anew : cut)(sim, node, action, &err))
		return false;
	sim_disk_open(sim, node);
	if (host->rig.recovered.start.offset > action->offset)
		sim_broken(sim, "host %u was cut at %llu and ends at %llu", node,
			   (unsigned long long)action->offset,
			   (unsigned long long)host->rig.recovered.start.offset);
	mr_replica_truncated(&host->replica, host->rig.recovered.log_start,
			     host->rig.recovered.start.offset);
	if (!was_read) /* it may begin before where it began */
		host->shown = host->rig.partition.high_watermark;
	return true;
}
