/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local consumers: pages to sleep on, tails, segments, offsets of groups. Runs on the control
 * thread (local.h). Consumers read by themselves; the engine only hands out what they may read, and
 * wakes them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "doorbell.h"
#include "local_state.h"
#include "region.h"

static void wait_free(struct mr_local_wait *wait)
{
	struct mr_local_wait **at = &wait->session->waits;

	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
	if (wait->page)
		munmap((void *)wait->page, MR_PAGE_BYTES);
	if (wait->memory_fd >= 0)
		(void)close(wait->memory_fd); /* memory: nothing can be lost */
	if (wait->bell >= 0)
		(void)close(wait->bell); /* the same */
	if (wait->wait_bell >= 0)
		(void)close(wait->wait_bell); /* the same */
	wait->session->wait_count--;
	free(wait);
}

static struct mr_local_wait *find_wait(struct mr_local_session *session, uint64_t id)
{
	struct mr_local_wait *wait;

	for (wait = session->waits; wait; wait = wait->next)
		if (wait->id == id && !wait->ended)
			return wait;
	return NULL;
}

int mr_local_open_wait(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err)
{
	struct mr_local_wait *wait;
	struct mr_wait_id reply;
	int fds[2], r;

	if (session->wait_count >= MR_LOCAL_WAITS_MAX)
		return mr_error_set(err, -ENOBUFS, "this connection has %u consumers already",
				    session->wait_count);
	wait = calloc(1, sizeof(*wait));
	if (!wait)
		return mr_error_set(err, -ENOMEM, "no memory for a consumer");
	wait->session = session;
	wait->id = session->next_id++;
	wait->bell = -1;
	wait->wait_bell = -1;
	wait->next = session->waits;
	session->waits = wait;
	session->wait_count++;
	wait->memory_fd = mr_region_create("millrace-wait", MR_PAGE_BYTES, err);
	r = wait->memory_fd;
	if (r >= 0)
		r = mr_doorbell_open_pair(&wait->bell, &wait->wait_bell, err);
	if (r < 0) {
		wait_free(wait);
		return r;
	}
	reply.wait = wait->id;
	fds[0] = wait->memory_fd;
	fds[1] = wait->wait_bell;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), fds, 2);
	return 0;
}

int mr_local_wait_mapped(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err)
{
	struct mr_local_wait *wait;
	struct mr_wait_id request;
	void *at;
	int r;

	memcpy(&request, packet->body, sizeof(request));
	wait = find_wait(session, request.wait);
	if (!wait || wait->page)
		return mr_error_set(err, -ENOENT,
				    "wait page %llu was not offered on this connection",
				    (unsigned long long)request.wait);
	r = mr_region_seal(wait->memory_fd, err);
	if (r == 0)
		r = mr_region_map(wait->memory_fd, 0, MR_PAGE_BYTES, false, &at, err);
	if (r == 0)
		r = mr_region_populate(at, MR_PAGE_BYTES, false, err);
	if (r < 0)
		return r;
	wait->page = at;
	mr_local_reply(session, &packet->head, &request, sizeof(request), NULL, 0);
	return 0;
}

/* ---- watches: a wait page beside a partition
 * ----------------------------------------------------------- */

static struct mr_local_watch *find_watch(const struct mr_local_wait *wait,
					 const struct mr_attach_tail *request)
{
	struct mr_local_watch *watch;

	for (watch = wait->watches; watch; watch = watch->next)
		if (!watch->removing && watch->partition == request->partition &&
		    !memcmp(watch->topic_id, request->topic_id, 16))
			return watch;
	return NULL;
}

static int add_watch(struct mr_local_session *session, const struct mr_attach_tail *request,
		     struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_wait *wait = find_wait(session, request->wait);
	struct mr_local_watch *watch;
	int r;

	if (!wait || !wait->page)
		return mr_error_set(err, -ENOENT, "wait page %llu is not mapped on this connection",
				    (unsigned long long)request->wait);
	if (find_watch(wait, request))
		return 0;
	if (wait->watch_count >= MR_LOCAL_WATCHES_MAX)
		return mr_error_set(err, -ENOBUFS, "this consumer reads %u partitions already",
				    wait->watch_count);
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return mr_error_set(err, -ENOMEM, "no memory for a consumer");
	watch->local = session->local;
	watch->wait = wait;
	memcpy(watch->topic_id, request->topic_id, 16);
	watch->partition = request->partition;
	r = host->add_watch(host->engine, request->topic_id, request->partition,
			    &wait->page->waiting, wait->bell, watch, &watch->handle, err);
	if (r < 0) {
		free(watch);
		return r;
	}
	watch->next = wait->watches;
	wait->watches = watch;
	wait->watch_count++;
	session->local->watches_out++;
	return 0;
}

static void remove_watch(struct mr_local_watch *watch)
{
	const struct mr_local_host *host = watch->local->options.host;

	if (watch->removing)
		return;
	watch->removing = true;
	host->remove_watch(host->engine, watch->handle);
}

void mr_local_watch_removed(struct mr_local_watch *watch)
{
	struct mr_local_wait *wait = watch->wait;
	struct mr_local_watch **at = &wait->watches;

	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	wait->watch_count--;
	watch->local->watches_out--;
	free(watch);
	if (wait->ended && !wait->watches)
		wait_free(wait);
}

void mr_local_end_waits(struct mr_local_session *session)
{
	struct mr_local_wait *wait, *next;
	struct mr_local_watch *watch, *next_watch;

	for (wait = session->waits; wait; wait = next) {
		next = wait->next;
		wait->ended = true;
		if (!wait->watches) {
			wait_free(wait);
			continue;
		}
		for (watch = wait->watches; watch; watch = next_watch) {
			next_watch = watch->next;
			remove_watch(watch);
		}
	}
}

int mr_local_attach_tail(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_partition partition;
	struct mr_attach_tail request;
	struct mr_tail_reply reply = {0};
	const struct mr_tail_page *page;
	int r;

	memcpy(&request, packet->body, sizeof(request));
	r = host->find_partition(host->engine, request.topic_id, request.partition, &partition,
				 err);
	if (r == 0 && request.wait)
		r = add_watch(session, &request, err);
	if (r < 0)
		return r;
	page = partition.tail->page;
	reply.tail_bytes = partition.tail->tail_bytes;
	/* relaxed: numbers for a first orientation; the reader takes them from the page again */
	reply.log_start_offset =
		atomic_load_explicit(&page->log_start_offset, memory_order_relaxed);
	reply.log_end_offset = atomic_load_explicit(&page->appended_offset, memory_order_relaxed);
	reply.committed_offset =
		atomic_load_explicit(&page->committed_offset, memory_order_relaxed);
	reply.leader_epoch = partition.leader_epoch;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), &partition.tail->fd, 1);
	return 0;
}

static bool any_other_stays(const struct mr_local_wait *wait, const struct mr_local_watch *leaving)
{
	const struct mr_local_watch *watch;

	for (watch = wait->watches; watch; watch = watch->next)
		if (watch != leaving && !watch->removing)
			return true;
	return false;
}

int mr_local_detach_tail(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err)
{
	struct mr_attach_tail request;
	struct mr_local_watch *watch;
	struct mr_local_wait *wait;

	memcpy(&request, packet->body, sizeof(request));
	wait = find_wait(session, request.wait);
	watch = wait ? find_watch(wait, &request) : NULL;
	if (!watch)
		return mr_error_set(err, -ENOENT, "partition %d is not attached on this wait page",
				    request.partition);
	/* a consumer that detached from all is gone; its page goes with the last watch, perhaps at
	 * once */
	wait->ended = !any_other_stays(wait, watch);
	remove_watch(watch);
	mr_local_reply(session, &packet->head, &request, sizeof(request), NULL, 0);
	return 0;
}

/* ---- older records, and offsets
 * ------------------------------------------------------------------------ */

int mr_local_find_segment(struct mr_local_session *session, const struct mr_packet *packet,
			  struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_find_segment request;
	struct mr_segment_reply reply = {0};
	int fd = -1, r;

	memcpy(&request, packet->body, sizeof(request));
	r = host->find_segment(host->engine, &request, &reply, &fd, err);
	if (r < 0)
		return r;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), &fd, 1);
	(void)close(fd); /* the client has its own now */
	return 0;
}

int mr_local_find_offset(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_find_offset request;
	struct mr_offset_reply reply = {0};
	int r;

	memcpy(&request, packet->body, sizeof(request));
	r = host->find_offset(host->engine, &request, &reply.offset, err);
	if (r < 0)
		return r;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), NULL, 0);
	return 0;
}

static int take_commit(const struct mr_packet *packet, struct mr_commit *request,
		       struct mr_error *err)
{
	memcpy(request, packet->body, sizeof(*request));
	request->group[sizeof(request->group) - 1] = '\0';
	if (!request->group[0] || strlen(request->group) > MR_GROUP_NAME_MAX)
		return mr_error_set(err, -EINVAL, "a group's name has 1 to %u bytes",
				    MR_GROUP_NAME_MAX);
	return 0;
}

int mr_local_commit(struct mr_local_session *session, const struct mr_packet *packet,
		    struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_ticket *ticket;
	struct mr_commit request;
	int r = take_commit(packet, &request, err);

	if (r < 0)
		return r;
	ticket = mr_local_ticket_new(session, &packet->head);
	if (!ticket)
		return mr_error_set(err, -ENOMEM, "no memory for a commit");
	r = host->commit(host->engine, &request, ticket, err);
	if (r < 0)
		mr_local_ticket_free(ticket);
	return r;
}

int mr_local_committed(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_offset_reply reply = {0};
	struct mr_commit request;
	int r = take_commit(packet, &request, err);

	if (r == 0)
		r = host->committed(host->engine, &request, &reply.offset, err);
	if (r < 0)
		return r;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), NULL, 0);
	return 0;
}
