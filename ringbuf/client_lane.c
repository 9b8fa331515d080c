/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing a lane back: runs on the connection's thread, except for mr_client_lane_take(). The
 * lane's records stay where they are, in the client's memfd; the next engine reads on where the
 * last one stopped and brings a page of its own. Promises that the producing thread never waits for
 * this: it finds the new page in an atomic slot.
 */
#include "client_lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "doorbell.h"
#include "error.h"
#include "region.h"

struct mr_client_lane *mr_client_lane_new(void)
{
	struct mr_client_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->client_fd = -1;
	lane->engine_fd = -1;
	return lane;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* memory or a bell: nothing can be lost */
}

void mr_client_lane_free(struct mr_client_lane *lane)
{
	if (!lane)
		return;
	mr_lane_swap_free(mr_client_lane_take(lane));
	close_fd(lane->client_fd);
	close_fd(lane->engine_fd);
	free(lane);
}

void mr_lane_swap_free(struct mr_lane_swap *swap)
{
	if (!swap)
		return;
	close_fd(swap->engine_fd);
	close_fd(swap->bell_to_worker);
	close_fd(swap->bell_to_client);
	free(swap);
}

static void tell(struct mr_client_lane *lane)
{
	/* W13: 'swap', 'failed' and what they bring are visible before. Pairs with R13. */
	atomic_store_explicit(&lane->news, 1, memory_order_release);
}

void mr_client_lane_fail(struct mr_client_lane *lane, const struct mr_error *error)
{
	lane->error = *error;
	/* W13: the sentence is visible before the number. */
	atomic_store_explicit(&lane->failed, error->code, memory_order_release);
	tell(lane);
}

struct mr_lane_swap *mr_client_lane_take(struct mr_client_lane *lane)
{
	/* Cleared before the look, so that news which come in between are seen at the next call. */
	atomic_store_explicit(&lane->news, 0, memory_order_seq_cst);
	return atomic_exchange_explicit(&lane->swap, NULL, memory_order_seq_cst);
}

/*
 * Leaves the new page, then rings once: a record that was published after the new worker fell
 * asleep, by a thread that still looked at the old page, is found then (the producing thread looks
 * here after it has published).
 */
static void give(struct mr_client_lane *lane, struct mr_lane_swap *swap)
{
	int bell = fcntl(swap->bell_to_worker, F_DUPFD_CLOEXEC, 0);

	mr_lane_swap_free(atomic_exchange_explicit(&lane->swap, swap, memory_order_seq_cst));
	tell(lane);
	atomic_thread_fence(memory_order_seq_cst);
	if (bell >= 0)
		mr_doorbell_ring(bell);
	close_fd(bell);
}

/* True if the engine that is gone had closed the lane: its reason stands, and nobody takes the lane
 * again. */
static bool was_closed(const struct mr_client_lane *lane)
{
	const struct mr_lane_engine_page *page;
	uint32_t reason;
	void *map;

	if (mr_region_map(lane->engine_fd, 0, MR_LANE_ENGINE_BYTES, false, &map, NULL) < 0)
		return false;
	page = map;
	/* R3: pairs with W3. */
	reason = atomic_load_explicit(&page->reason, memory_order_acquire);
	(void)munmap(map, MR_LANE_ENGINE_BYTES); /* just mapped */
	return reason != MR_LANE_OPEN;
}

static int take_reply(struct mr_client_lane *lane, struct mr_packet *packet, uint64_t *lane_id,
		      struct mr_error *err)
{
	struct mr_lane_swap *swap = calloc(1, sizeof(*swap));
	struct mr_lane_reply reply;
	int kept = fcntl(packet->fds[0], F_DUPFD_CLOEXEC, 0);
	int r;

	if (!swap || kept < 0) {
		r = mr_error_set(err, -ENOMEM, "no memory for a lane that was handed back");
		goto fail;
	}
	r = mr_region_check(kept, MR_LANE_ENGINE_BYTES, true, err);
	if (r < 0)
		goto fail;
	memcpy(&reply, packet->body, sizeof(reply));
	*swap = (struct mr_lane_swap){
		.engine_fd = packet->fds[0],
		.bell_to_worker = packet->fds[1],
		.bell_to_client = packet->fds[2],
		.lost = reply.lost,
		.hand_backs = ++lane->hand_backs,
	};
	packet->fds[0] = packet->fds[1] = packet->fds[2] = -1;
	close_fd(lane->engine_fd);
	lane->engine_fd = kept;
	*lane_id = reply.lane;
	give(lane, swap);
	return 0;
fail:
	close_fd(kept);
	free(swap);
	mr_packet_close_fds(packet);
	return r;
}

int mr_client_lane_hand_back(struct mr_client_lane *lane, struct mr_conversation *conversation,
			     uint64_t deadline, uint64_t *lane_id)
{
	/* relaxed: a number for a report */
	struct mr_hand_back body = {
		.published = atomic_load_explicit(&lane->published, memory_order_relaxed)};
	struct mr_request request = {
		.type = MR_MESSAGE_HAND_BACK,
		.body = &body,
		.body_bytes = sizeof(body),
		.fds = (int[]){lane->client_fd, lane->engine_fd},
		.fd_count = 2,
	};
	struct mr_packet packet;
	struct mr_error err;
	int r;

	*lane_id = MR_LANE_NONE;
	if (atomic_load_explicit(&lane->failed, memory_order_relaxed) < 0 || was_closed(lane))
		return 0; /* relaxed: this thread wrote it */
	r = mr_conversation_ask(conversation, &request, deadline, &packet);
	if (r < 0)
		return r;
	r = mr_conversation_check(&packet, sizeof(struct mr_lane_reply), 3, &err);
	if (r == 0)
		r = take_reply(lane, &packet, lane_id, &err);
	if (r == -EAGAIN || r == -EBUSY || r == -ETIMEDOUT || r == -ENOMEM)
		return r; /* not ready yet: begin again */
	if (r < 0)
		mr_client_lane_fail(lane, &err);
	return 0;
}
