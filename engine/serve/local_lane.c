/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of local producers: making their memory, sealing it when the client has mapped it (S1),
 * giving them to a worker, taking them back from a client that outlived another engine. Runs on the
 * control thread (local.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/place.h"
#include "check.h"
#include "doorbell.h"
#include "local_state.h"
#include "region.h"

#define LANE_BYTES_MIN (64u << 10)

static const char *acks_word(uint32_t acks)
{
	switch (acks) {
	case MR_ACKS_COMMITTED:
		return "committed";
	case MR_ACKS_DISK:
		return "disk";
	case MR_ACKS_MEMORY:
		return "memory";
	default:
		return NULL;
	}
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* memory and eventfds: nothing can be lost */
	*fd = -1;
}

static void lane_free(struct mr_local_lane *lane)
{
	struct mr_local_lane **at = &lane->local->lanes;

	while (*at != lane)
		at = &(*at)->next;
	*at = lane->next;
	lane->local->lane_count--;
	if (lane->session)
		lane->session->lane_count--;
	if (lane->engine)
		munmap(lane->engine, MR_LANE_ENGINE_BYTES);
	close_fd(&lane->client_fd);
	close_fd(&lane->engine_fd);
	close_fd(&lane->bell_to_worker);
	close_fd(&lane->bell_to_client);
	close_fd(&lane->bell_at_client);
	free(lane);
}

static struct mr_local_lane *lane_new(struct mr_local_session *session,
				      const struct mr_lane_identity *identity, struct mr_error *err)
{
	struct mr_local_lane *lane = calloc(1, sizeof(*lane));

	if (!lane) {
		mr_error_set(err, -ENOMEM, "no memory for a lane");
		return NULL;
	}
	lane->local = session->local;
	lane->session = session;
	lane->identity = *identity;
	lane->id = session->next_id++;
	lane->client_fd = -1;
	lane->engine_fd = -1;
	lane->bell_to_worker = -1;
	lane->bell_to_client = -1;
	lane->bell_at_client = -1;
	lane->next = lane->local->lanes;
	lane->local->lanes = lane;
	lane->local->lane_count++;
	session->lane_count++;
	return lane;
}

static struct mr_local_lane *find_lane(struct mr_local_session *session, uint64_t id)
{
	struct mr_local_lane *lane;

	for (lane = session->local->lanes; lane; lane = lane->next)
		if (lane->session == session && lane->id == id)
			return lane;
	return NULL;
}

/* ---- may it be?
 * -------------------------------------------------------------------------------------- */

/* Lanes count until the worker has let go of them: their memory lives as long. */
static int check_share(struct mr_local_session *session, struct mr_error *err)
{
	const struct mr_local_lane *lane;
	uint32_t share = session->local->options.lanes_per_user, count = 0;

	for (lane = session->local->lanes; lane; lane = lane->next)
		count += lane->identity.uid == session->uid;
	if (count < share)
		return 0;
	mr_error_set(err, -ENOBUFS, "user %u has %u lanes already", session->uid, count);
	return mr_error_hint(err, "close producers, or raise lanes_per_user in the configuration");
}

/* I6: two live lanes of one producer id on one partition would mix their sequences. */
static int check_alone(const struct mr_local *local, const struct mr_lane_identity *identity,
		       struct mr_error *err)
{
	const struct mr_local_lane *lane;

	for (lane = local->lanes; lane; lane = lane->next)
		if (lane->identity.producer_id == identity->producer_id &&
		    lane->identity.partition == identity->partition &&
		    !memcmp(lane->identity.topic_id, identity->topic_id, 16))
			return mr_error_set(err, -EBUSY,
					    "producer %lld has a lane into partition %d already",
					    (long long)identity->producer_id, identity->partition);
	return 0;
}

/* No level is weaker than its name: what is never on a disk is not acknowledged as if it were. */
static int check_acks(const struct mr_local_partition *partition, uint32_t acks,
		      struct mr_error *err)
{
	if (!partition->in_memory || acks == MR_ACKS_MEMORY)
		return 0;
	mr_error_set(err, -EOPNOTSUPP, "topic '%.100s' has storage memory: acks %s cannot be given",
		     partition->topic, acks_word(acks));
	mr_error_why(err, "nothing of it is ever on a disk");
	return mr_error_hint(err,
			     "ask for acks memory: --acks memory, or .acks = MR_ACKS_MEMORY in "
			     "struct mr_producer_options");
}

static uint32_t round_lane_bytes(const struct mr_local_options *options, uint32_t wanted)
{
	uint64_t bytes = LANE_BYTES_MIN;
	uint64_t least = wanted ? wanted : options->lane_bytes;

	while (bytes < least)
		bytes *= 2;
	return (uint32_t)bytes;
}

static int check_lane_bytes(const struct mr_local_options *options, uint32_t wanted,
			    struct mr_error *err)
{
	if (wanted <= options->lane_bytes_max)
		return 0;
	mr_error_set(err, -EINVAL, "a lane of %u bytes is wanted, at most %llu are allowed", wanted,
		     (unsigned long long)options->lane_bytes_max);
	return mr_error_hint(err, "ask for less, or raise lane_bytes_max in the configuration");
}

/* ---- making one
 * -------------------------------------------------------------------------------------- */

static int make_bells(struct mr_local_lane *lane, struct mr_error *err)
{
	lane->bell_to_worker = mr_doorbell_open(err);
	if (lane->bell_to_worker < 0)
		return lane->bell_to_worker;
	return mr_doorbell_open_pair(&lane->bell_to_client, &lane->bell_at_client, err);
}

/* The policy of a memfd's pages belongs to the memfd: set once through a map of our own, before the
 * first touch. */
static int bind_to_node(int fd, size_t bytes, int32_t node, struct mr_error *err)
{
	void *at;
	int r;

	if (node < 0)
		return 0;
	r = mr_region_map(fd, 0, bytes, false, &at, err);
	if (r < 0)
		return r;
	r = mr_place_bind_memory(at, bytes, node, err);
	munmap(at, bytes);
	return r;
}

static int make_engine_page(struct mr_local_lane *lane, const struct mr_local_partition *partition,
			    uint32_t index, uint64_t number, struct mr_error *err)
{
	uint8_t mac[32];
	int r;

	if (mr_secret_mac(lane->local->options.secret, &lane->identity, sizeof(lane->identity),
			  mac) < 0)
		return mr_error_set(err, -EIO, "cannot compute the mark of a lane");
	mr_place_prefer_node(partition->node); /* its first touch is there, its writer too */
	r = mr_lane_create_engine(&lane->identity, mac, partition->record_bytes_max, index, number,
				  &lane->engine_fd, &lane->engine, err);
	mr_place_prefer_node(MR_PLACE_ANY);
	return r;
}

static void send_lane(struct mr_local_lane *lane, const struct mr_packet *request,
		      const struct mr_local_partition *partition, uint64_t number, bool with_client)
{
	struct mr_lane_reply reply = {
		.lane = lane->id,
		.number = number,
		.lane_bytes = lane->identity.lane_bytes,
		.record_bytes_max = partition->record_bytes_max,
	};
	int fds[4] = {lane->client_fd, lane->engine_fd, lane->bell_to_worker, lane->bell_at_client};

	mr_local_reply(lane->session, &request->head, &reply, sizeof(reply),
		       with_client ? fds : fds + 1, with_client ? 4 : 3);
}

/* Maps the client's memory for reading and gives the lane to its worker. */
static int give_to_worker(struct mr_local_lane *lane, const struct mr_local_partition *partition,
			  bool resumed, struct mr_error *err)
{
	const struct mr_local_host *host = lane->local->options.host;
	struct mr_local_lane_offer offer = {
		.identity = lane->identity,
		.bell_to_client = lane->bell_to_client,
		.resumed = resumed,
		.lane = lane,
	};
	int r;

	r = mr_region_seal(lane->client_fd, err);
	if (r < 0)
		return r;
	mr_place_prefer_node(partition->node); /* the reader's own header is the worker's */
	r = mr_lane_reader_open(lane->client_fd, lane->engine, lane->identity.lane_bytes,
				&offer.reader, err);
	mr_place_prefer_node(MR_PLACE_ANY);
	if (r < 0)
		return r;
	lane->engine = NULL; /* the reader's now */
	r = mr_doorbell_set_add(partition->bells, lane->bell_to_worker, err);
	if (r == 0) {
		lane->bells = partition->bells;
		r = host->add_lane(host->engine, &offer, &lane->handle, err);
		if (r < 0)
			mr_doorbell_set_remove(partition->bells, lane->bell_to_worker);
	}
	if (r < 0) {
		mr_lane_reader_close(&offer.reader);
		return r;
	}
	lane->stage = MR_LOCAL_LANE_OPEN;
	/* the worker has its maps, the client its own: the memory needs no descriptors of ours any
	 * more */
	close_fd(&lane->client_fd);
	close_fd(&lane->engine_fd);
	close_fd(&lane->bell_at_client);
	return 0;
}

int mr_local_open_lane(struct mr_local_session *session, const struct mr_packet *packet,
		       struct mr_error *err)
{
	const struct mr_local_options *options = &session->local->options;
	struct mr_lane_identity identity = {.format = MR_FORMAT_VERSION, .uid = session->uid};
	struct mr_local_partition partition;
	struct mr_open_lane request;
	struct mr_local_lane *lane;
	int r;

	memcpy(&request, packet->body, sizeof(request));
	if (!acks_word(request.acks))
		return mr_error_set(err, -EINVAL,
				    "acks level %u: 0 (committed), 1 (disk) and 2 (memory) "
				    "are allowed",
				    request.acks);
	r = check_lane_bytes(options, request.lane_bytes, err);
	if (r == 0)
		r = check_share(session, err);
	if (r == 0)
		r = options->host->find_partition(options->host->engine, request.topic_id,
						  request.partition, &partition, err);
	if (r == 0)
		r = check_acks(&partition, request.acks, err);
	if (r < 0)
		return r;
	memcpy(identity.topic_id, request.topic_id, 16);
	memcpy(identity.log_id, options->log_id, 16);
	identity.partition = request.partition;
	identity.producer_id = request.producer_id;
	identity.acks = request.acks;
	identity.lane_bytes = round_lane_bytes(options, request.lane_bytes);
	if (request.producer_id < 0)
		return mr_error_set(err, -EINVAL, "a lane needs a producer id");
	r = check_alone(session->local, &identity, err);
	if (r < 0)
		return r;
	lane = lane_new(session, &identity, err);
	if (!lane)
		return -ENOMEM;
	r = mr_lane_create_client(identity.lane_bytes, &lane->client_fd, err);
	if (r == 0)
		r = bind_to_node(lane->client_fd, MR_PAGE_BYTES + identity.lane_bytes,
				 partition.node, err);
	if (r == 0)
		r = make_engine_page(lane, &partition, 0, 0, err);
	if (r == 0)
		r = make_bells(lane, err);
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	send_lane(lane, packet, &partition, 0, true);
	return 0;
}

int mr_local_lane_mapped(struct mr_local_session *session, const struct mr_packet *packet,
			 struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_partition partition;
	struct mr_local_lane *lane;
	struct mr_lane_id request;
	int r;

	memcpy(&request, packet->body, sizeof(request));
	lane = find_lane(session, request.lane);
	if (!lane || lane->stage != MR_LOCAL_LANE_OFFERED)
		return mr_error_set(err, -ENOENT, "lane %llu was not offered on this connection",
				    (unsigned long long)request.lane);
	r = host->find_partition(host->engine, lane->identity.topic_id, lane->identity.partition,
				 &partition, err);
	if (r == 0)
		r = give_to_worker(lane, &partition, false, err);
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	mr_local_reply(session, &packet->head, &request, sizeof(request), NULL, 0);
	return 0;
}

/* ---- taking one back
 * --------------------------------------------------------------------------------- */

/*
 * What an engine before this one wrote about the lane: a page that only an engine could write,
 * since its memory was sealed before the client got it, and an identity under our mark. Copied
 * once, then checked.
 */
static int read_old_page(struct mr_local_session *session, int fd, struct mr_lane_engine_page *page,
			 struct mr_error *err)
{
	const struct mr_local_options *options = &session->local->options;
	const struct mr_lane_identity *identity = &page->identity;
	int r = mr_lane_copy_engine(fd, page, err);

	if (r < 0)
		return r;
	if (!mr_secret_check(options->secret, identity, sizeof(*identity), page->mac) ||
	    memcmp(identity->log_id, options->log_id, 16) != 0)
		return mr_error_set(err, -EACCES,
				    "the lane was not made by an engine of this data directory");
	/* the mark covers the identity only: a client can show a page of its own making */
	if (page->number > INT64_MAX)
		return mr_error_set(err, -EBADMSG, "the lane's page says record %llu",
				    (unsigned long long)page->number);
	if (identity->uid != session->uid)
		return mr_error_set(err, -EACCES, "the lane belongs to user %u, not to user %u",
				    identity->uid, session->uid);
	return 0;
}

int mr_local_hand_back(struct mr_local_session *session, struct mr_packet *packet,
		       struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_partition partition;
	struct mr_lane_identity identity;
	struct mr_lane_engine_page page;
	struct mr_local_lane *lane;
	int r;

	r = read_old_page(session, packet->fds[1], &page, err);
	identity = page.identity;
	if (r == 0)
		r = mr_region_check(packet->fds[0], MR_PAGE_BYTES + (size_t)identity.lane_bytes,
				    false, err);
	if (r == 0)
		r = check_share(session, err);
	if (r == 0)
		r = check_alone(session->local, &identity, err);
	if (r == 0)
		r = host->find_partition(host->engine, identity.topic_id, identity.partition,
					 &partition, err);
	if (r == 0)
		r = check_acks(&partition, identity.acks, err);
	if (r < 0)
		return r;
	/* what a weaker lane lost must not be missed as a gap: a new epoch begins a new sequence
	 * (I6) */
	if (identity.acks != MR_ACKS_COMMITTED)
		identity.producer_epoch = (identity.producer_epoch + 1) & INT16_MAX;
	lane = lane_new(session, &identity, err);
	if (!lane)
		return -ENOMEM;
	lane->client_fd = packet->fds[0];
	packet->fds[0] = -1;
	r = make_engine_page(lane, &partition, page.acknowledged, page.number, err);
	if (r == 0)
		r = make_bells(lane, err);
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	lane->engine->lost = page.lost; /* the worker adds what this hand-back costs */
	lane->engine->lost_before = page.lost_before;
	/* the answer carries descriptors that give_to_worker() closes: it is sent first, the lane
	 * follows at once */
	send_lane(lane, packet, &partition, page.number, false);
	if (session->ended)
		return 0; /* it hung up meanwhile, and the lane went with it */
	r = give_to_worker(lane, &partition, true, err);
	if (r < 0)
		mr_local_hang_up(session); /* it has an answer already: it comes again */
	return 0;
}

/* ---- closing
 * ----------------------------------------------------------------------------------------- */

static void close_open_lane(struct mr_local_lane *lane)
{
	const struct mr_local_host *host = lane->local->options.host;

	lane->stage = MR_LOCAL_LANE_CLOSING;
	host->close_lane(host->engine, lane->handle);
}

int mr_local_close_lane(struct mr_local_session *session, const struct mr_packet *packet,
			struct mr_error *err)
{
	struct mr_local_lane *lane;
	struct mr_lane_id request;

	memcpy(&request, packet->body, sizeof(request));
	lane = find_lane(session, request.lane);
	if (!lane || lane->stage == MR_LOCAL_LANE_CLOSING)
		return mr_error_set(err, -ENOENT, "lane %llu is not open on this connection",
				    (unsigned long long)request.lane);
	if (lane->stage == MR_LOCAL_LANE_OFFERED) {
		lane_free(lane);
		mr_local_reply(session, &packet->head, &request, sizeof(request), NULL, 0);
		return 0;
	}
	lane->close_request = packet->head.request_id;
	close_open_lane(lane);
	return 0;
}

/* The engine's half is let go at once; the client's maps stay, with the reason on the engine's
 * page. */
void mr_local_lane_poisoned(struct mr_local_lane *lane)
{
	if (lane->stage == MR_LOCAL_LANE_OPEN)
		close_open_lane(lane);
}

void mr_local_lane_closed(struct mr_local_lane *lane)
{
	struct mr_message_header request = {
		.type = MR_MESSAGE_CLOSE_LANE,
		.request_id = lane->close_request,
	};
	struct mr_lane_id reply = {.lane = lane->id};

	mr_assert(lane->stage == MR_LOCAL_LANE_CLOSING);
	mr_doorbell_set_remove(lane->bells, lane->bell_to_worker);
	if (lane->session && lane->close_request)
		mr_local_reply(lane->session, &request, &reply, sizeof(reply), NULL, 0);
	lane_free(lane);
}

/* The session is over: its lanes are emptied and let go; their memory lives until the worker is
 * done. */
void mr_local_end_lanes(struct mr_local_session *session)
{
	struct mr_local_lane *lane, *next;

	for (lane = session->local->lanes; lane; lane = next) {
		next = lane->next;
		if (lane->session != session)
			continue;
		lane->session = NULL;
		session->lane_count--;
		if (lane->stage == MR_LOCAL_LANE_OFFERED)
			lane_free(lane);
		else if (lane->stage == MR_LOCAL_LANE_OPEN)
			close_open_lane(lane);
	}
}
