/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the protocol share. Private to replica/.
 */
#ifndef MR_PROTOCOL_PARTS_H
#define MR_PROTOCOL_PARTS_H

#include "protocol.h"

static inline uint64_t bit(uint32_t node)
{
	return UINT64_C(1) << node;
}

static inline bool holds(uint64_t nodes, uint32_t node)
{
	return (nodes & bit(node)) != 0;
}

static inline bool is_member(const struct mr_replica *replica)
{
	return holds(replica->known.isr, replica->options.self);
}

static inline bool passed(const struct mr_replica *replica, uint64_t since_ns, uint64_t span_ns)
{
	return replica->now_ns - since_ns >= span_ns;
}

/* A new agreement with the leader begins; one that was under way is void. */
void mr_replica_begin_asking(struct mr_replica *replica);

/* Whether consumers may have read anything of this log in this life. */
static inline bool mr_replica_was_read(const struct mr_replica *replica)
{
	return replica->partition->high_watermark > replica->partition->log_start;
}

void mr_replica_truncate_to(struct mr_replica *replica, uint64_t offset, bool reset, bool state);

/* ---- protocol_quiet.c ------------------------------------------------------------------------ */

/* A leader has not told it how far is committed. */
bool mr_replica_peer_untold(const struct mr_replica *replica, const struct mr_replica_peer *peer);
/* A leader says where it is, though the follower was told. */
bool mr_replica_heartbeat_due(const struct mr_replica *replica, uint32_t node);
/* A follower says what it has flushed, though that did not change. */
bool mr_replica_flushed_due(const struct mr_replica *replica);
/* A leader that says nothing for so long let go of this agreement, or lost it in a new life. */
uint64_t mr_replica_silence_max_ns(const struct mr_replica *replica);

/* ---- protocol_state.c ------------------------------------------------------------------------ */

/* Nothing here is known to be the leader's, whose log begins at 'log_start'. */
void mr_replica_begin_anew(struct mr_replica *replica, uint64_t log_start);
/* As leader: ASK_STATE came. */
void mr_replica_asked_for_state(struct mr_replica *replica, uint32_t node,
				const struct mr_feed_entry *entry);
/* As leader: a piece that is to be sent now. */
bool mr_replica_says_state(struct mr_replica *replica, uint32_t node, struct mr_feed_entry *entry);
/* Keep, drop, or nothing. */
enum mr_action_kind mr_replica_about_state(struct mr_replica *replica);

#endif
