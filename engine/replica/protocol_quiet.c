/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a leader says how far is committed, and how often leader and follower say again what the
 * other knows (protocol.h): a word may be lost. A part of the protocol's machine: runs where that
 * does, owns nothing but its struct.
 *
 * On a connection that is watched neither a word nor the other host is lost without a sign, and
 * thousands of partitions may be idle. There both say again what did not change only in rounds of
 * quiet_ns, which begin at the same time for all partitions of a host: so they share messages and
 * wake-ups. As soon as a follower lacks something its leader is as talkative as on any other.
 */
#include "protocol_parts.h"

static bool another_round(const struct mr_replica *replica, uint64_t since_ns)
{
	return replica->now_ns / replica->options.quiet_ns != since_ns / replica->options.quiet_ns;
}

/* As its leader knows. */
static bool has_all(const struct mr_replica *replica, uint32_t node)
{
	return replica->partition->replica_flushed[node] >= replica->partition->log_end;
}

bool mr_replica_peer_untold(const struct mr_replica *replica, const struct mr_replica_peer *peer)
{
	return peer->fetching && replica->partition->high_watermark > peer->told_watermark;
}

bool mr_replica_untold(const struct mr_replica *replica)
{
	uint64_t left = replica->options.replicas & ~bit(replica->options.self);

	for (; left && replica->role == MR_ROLE_LEADER; left &= left - 1)
		if (mr_replica_peer_untold(replica, &replica->peers[__builtin_ctzll(left)]))
			return true;
	return false;
}

void mr_replica_put_off(struct mr_replica *replica, bool put_off)
{
	replica->put_off = put_off;
}

bool mr_replica_heartbeat_due(const struct mr_replica *replica, uint32_t node)
{
	const struct mr_replica_peer *peer = &replica->peers[node];

	if (peer->watched && has_all(replica, node))
		return another_round(replica, peer->told_ns);
	return passed(replica, peer->told_ns, replica->options.heartbeat_ns);
}

bool mr_replica_flushed_due(const struct mr_replica *replica)
{
	if (replica->peers[replica->known.leader].watched)
		return another_round(replica, replica->said_ns);
	return passed(replica, replica->said_ns, replica->options.ask_again_ns);
}

uint64_t mr_replica_silence_max_ns(const struct mr_replica *replica)
{
	bool watched = replica->peers[replica->known.leader].watched;

	return replica->options.ask_again_ns + (watched ? replica->options.quiet_ns : 0);
}

static bool leader_is_quiet(const struct mr_replica *replica)
{
	uint64_t left = replica->options.replicas & ~bit(replica->options.self);

	for (; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		const struct mr_replica_peer *peer = &replica->peers[i];

		if (peer->connected && !(peer->watched && peer->fetching && has_all(replica, i)))
			return false;
	}
	return true;
}

static bool follower_is_quiet(const struct mr_replica *replica)
{
	const struct mr_replica_peer *leader = &replica->peers[replica->known.leader];
	const struct mr_partition *partition = replica->partition;

	if (replica->step == MR_FOLLOW_TRUNCATE || !leader->connected)
		return true;
	return leader->watched && replica->step == MR_FOLLOW_FETCH && replica->fetch_heard &&
	       partition->flushed == partition->log_end;
}

bool mr_replica_is_quiet(const struct mr_replica *replica)
{
	if (replica->read_due || replica->proposing != MR_PROPOSING_NOTHING)
		return false;
	if (replica->role == MR_ROLE_LEADER)
		return leader_is_quiet(replica);
	return replica->role == MR_ROLE_FOLLOWER && follower_is_quiet(replica);
}
