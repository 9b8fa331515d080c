/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of the engine's own (own_lane.h): the same memory, seals and checks as a client's, both
 * ends in one process.
 */
#include "own_lane.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control.h"
#include "doorbell.h"
#include "region.h"

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* memory and bells: nothing can be lost */
	*fd = -1;
}

int mr_own_lane_init(struct mr_own_lane *lane, const struct mr_own_lane_events *events, void *owner,
		     struct mr_error *err)
{
	memset(lane, 0, sizeof(*lane));
	lane->events = events;
	lane->owner = owner;
	lane->bell_to_writer = -1;
	lane->bell_to_worker = mr_doorbell_open(err);
	if (lane->bell_to_worker < 0)
		return lane->bell_to_worker;
	lane->bell_to_writer = mr_doorbell_open(err);
	return lane->bell_to_writer < 0 ? lane->bell_to_writer : 0;
}

void mr_own_lane_deinit(struct mr_own_lane *lane)
{
	if (lane->writer.ring)
		mr_lane_writer_close(&lane->writer);
	lane->writer.ring = NULL;
	close_fd(&lane->bell_to_worker);
	close_fd(&lane->bell_to_writer);
}

/* Both ends mapped, in the order that seals allow: the writer, the seal, the reader. */
static int make_ends(struct mr_control *control, uint64_t number, struct mr_local_lane_offer *offer,
		     struct mr_own_lane *lane, struct mr_error *err)
{
	uint32_t lane_bytes = offer->identity.lane_bytes;
	uint32_t record_bytes_max = (uint32_t)control->config->record_bytes_max;
	struct mr_lane_engine_page *engine = NULL;
	int client_fd = -1, engine_fd = -1, r;
	uint8_t mac[32] = {0}; /* never handed back */

	r = mr_lane_create_client(lane_bytes, &client_fd, err);
	if (r == 0)
		r = mr_lane_create_engine(&offer->identity, mac, record_bytes_max, 0, number,
					  &engine_fd, &engine, err);
	if (r == 0)
		r = mr_lane_writer_open(client_fd, engine_fd, lane_bytes, number, &lane->writer,
					err);
	if (r == 0)
		r = mr_region_seal(client_fd, err);
	if (r == 0)
		r = mr_lane_reader_open(client_fd, engine, lane_bytes, &offer->reader, err);
	if (r < 0 && engine)
		munmap(engine, MR_LANE_ENGINE_BYTES);
	close_fd(&client_fd); /* both ends have their maps */
	close_fd(&engine_fd);
	return r;
}

static int give_to_worker(struct mr_control *control, struct mr_hosted *hosted,
			  struct mr_local_lane_offer *offer, struct mr_own_lane *lane,
			  struct mr_error *err)
{
	int bells = mr_worker_bells(hosted->worker);
	int r = mr_doorbell_set_add(bells, lane->bell_to_worker, err);

	offer->bell_to_client = lane->bell_to_writer;
	offer->own = lane;
	if (r == 0) {
		r = control->host.add_lane(control, offer, &lane->handle, err);
		if (r < 0)
			mr_doorbell_set_remove(bells, lane->bell_to_worker);
	}
	if (r < 0)
		mr_lane_reader_close(&offer->reader);
	return r;
}

int mr_own_lane_open(struct mr_control *control, struct mr_hosted *hosted,
		     const struct mr_own_lane_options *options, struct mr_own_lane *lane,
		     struct mr_error *err)
{
	struct mr_local_lane_offer offer = {
		.identity = {.partition = hosted->number,
			     .producer_id = options->producer_id,
			     .acks = options->acks,
			     .lane_bytes = options->lane_bytes,
			     .format = MR_FORMAT_VERSION},
		.resumed = options->producer_id >= 0,
	};
	int r = 0;

	if (options->producer_id < 0)
		r = mr_control_new_producer_id(control, &offer.identity.producer_id, err);
	memcpy(offer.identity.topic_id, hosted->topic->id, 16);
	memcpy(offer.identity.log_id, control->checkpoint.log_id, 16);
	if (r == 0)
		r = make_ends(control, options->number, &offer, lane, err);
	if (r == 0)
		r = give_to_worker(control, hosted, &offer, lane, err);
	if (r < 0 && lane->writer.ring) {
		mr_lane_writer_close(&lane->writer);
		lane->writer.ring = NULL;
	}
	return r;
}

void mr_own_lane_closed(struct mr_own_lane *lane, int bells)
{
	mr_doorbell_set_remove(bells, lane->bell_to_worker);
	mr_lane_writer_close(&lane->writer);
	memset(&lane->writer, 0, sizeof(lane->writer));
	lane->handle = NULL;
	lane->closing = false;
}

void mr_own_lane_publish(struct mr_own_lane *lane)
{
	mr_lane_publish(&lane->writer);
	if (mr_lane_worker_sleeps(&lane->writer))
		mr_doorbell_ring(lane->bell_to_worker);
}

void mr_own_lane_close(struct mr_control *control, struct mr_own_lane *lane)
{
	if (!lane->handle || lane->closing)
		return;
	lane->closing = true;
	control->host.close_lane(control, lane->handle);
}
