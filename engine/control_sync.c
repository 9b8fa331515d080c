/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For people: replicas that are in sync no longer, or again, in the partitions that this host leads
 * (control_peers.h). What was a copy is none from then on, so each change is said, once, in one
 * line for each of the other hosts, however many partitions it is of. Looked at every second; what
 * comes and goes within one is only in 'millrace peers'. Control thread.
 */
#include "control_peers.h"

#include "base/diag.h"

/* What happened to one of the other hosts since the last look. */
struct change {
	uint32_t out, in;		  /* partitions */
	const struct mr_hosted *first;	  /* that it left */
	const struct mr_hosted *first_in; /* that it came back to */
	const char *why;
};

/* It was sent something and does not have it: its disk may be why, if it says so. */
static const char *why_late(const struct mr_disk_state *disk)
{
	switch (disk->kind) {
	case MR_DISK_WELL:
		break;
	case MR_DISK_SHORT:
		return "is short of room on its disk: millrace status there";
	case MR_DISK_FAILED:
		return "has a disk that failed: millrace status there";
	}
	return "did not say in time that it has on its disk what it was sent (stopped, "
	       "slow, or its disk is full: millrace status there)";
}

const char *mr_control_sync_why(const struct mr_control_peers *peers, uint32_t node,
				const struct mr_worker_replica_peer_view *view)
{
	/* relaxed: for people */
	switch ((enum mr_out_of_sync)atomic_load_explicit(&view->why, memory_order_relaxed)) {
	case MR_OUT_NOT_KNOWN:
		break;
	case MR_OUT_AWAY:
		return "was not connected";
	case MR_OUT_APART:
		return "had not agreed with its leader where their logs part";
	case MR_OUT_LATE:
		return why_late(&peers->disks[node]);
	case MR_OUT_ITSELF:
		return "gave up its copy, to get all of it again";
	}
	return "";
}

static void note(struct change changes[MR_NODES_MAX], const struct mr_hosted *hosted,
		 const struct mr_worker_replica_view *view, uint64_t isr)
{
	uint64_t left = (hosted->told_isr ^ isr) & hosted->topic->replicas;

	for (; left; left &= left - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(left);
		struct change *change = &changes[node];

		if (isr >> node & 1) {
			change->first_in = change->in++ ? change->first_in : hosted;
		} else if (!change->out++) {
			change->first = hosted;
			change->why = mr_control_sync_why(hosted->control->peers, node,
							  &view->peers[node]);
		}
	}
}

static void tell(const struct mr_control *control, uint32_t node, const struct change *change)
{
	char room[16];
	const char *name = mr_control_node_name(control, node, room);

	if (change->out)
		mr_diag_warn("a replica is in sync no longer",
			     "peer=%s partitions=%u first=%s/%d why=\"it %s\" do=\"millrace peers "
			     "and millrace status say what exists on one disk only\"",
			     name, change->out, change->first->topic->name, change->first->number,
			     change->why[0] ? change->why : "left");
	if (change->in)
		mr_diag_notice("a replica is in sync again", "peer=%s partitions=%u first=%s/%d",
			       name, change->in, change->first_in->topic->name,
			       change->first_in->number);
}

/* What its leader spoke when it was looked at last; 0: that is not known. */
static uint32_t version_of(const struct mr_control_peers *peers, int32_t node)
{
	const struct mr_peer_samples *now = &peers->sampled[0];

	for (uint32_t i = 0; i < now->count; i++)
		if ((int32_t)now->peers[i].node == node)
			return now->peers[i].connected ? now->peers[i].version : 0;
	return 0;
}

const char *mr_control_follow_why(const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view =
		hosted->part ? mr_worker_partition_replica(hosted->part) : NULL;
	uint32_t version;

	/* relaxed: for people */
	if (!view || atomic_load_explicit(&view->role, memory_order_relaxed) != MR_ROLE_FOLLOWER ||
	    atomic_load_explicit(&view->step, memory_order_relaxed) != MR_FOLLOW_STATE)
		return "";
	version = version_of(hosted->control->peers,
			     atomic_load_explicit(&view->leader, memory_order_relaxed));
	if (!version || version >= MR_FEED_VERSION_STATE)
		return "";
	return "the engine of its leader is too old to hand its state to a copy that begins anew: "
	       "run a newer one there";
}

/* Once while it is connected, whatever their number. */
static void tell_old(struct mr_control_peers *peers, const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view = mr_worker_partition_replica(hosted->part);
	/* relaxed: for people */
	uint32_t leader = (uint32_t)atomic_load_explicit(&view->leader, memory_order_relaxed);
	char room[16];

	if (peers->told_old & mr_node_bit(leader))
		return;
	peers->told_old |= mr_node_bit(leader);
	mr_diag_warn("a copy cannot begin anew", "topic=%s partition=%d leader=%s why=\"%s\"",
		     hosted->topic->name, hosted->number,
		     mr_control_node_name(peers->control, leader, room),
		     mr_control_follow_why(hosted));
}

/* Its leader tells; 0: not that yet. Who begins to lead takes what it finds. */
static uint64_t isr_of(const struct mr_worker_replica_view *view)
{
	/* relaxed: for people */
	if (!view || atomic_load_explicit(&view->role, memory_order_relaxed) != MR_ROLE_LEADER)
		return 0;
	return atomic_load_explicit(&view->isr, memory_order_relaxed);
}

void mr_control_sync_second(struct mr_control_peers *peers)
{
	struct change changes[MR_NODES_MAX] = {0};
	struct mr_hosted *hosted;

	mr_control_each(peers->control, hosted)
	{
		const struct mr_worker_replica_view *view =
			hosted->part ? mr_worker_partition_replica(hosted->part) : NULL;
		uint64_t isr = isr_of(view);

		if (isr && hosted->told_isr)
			note(changes, hosted, view, isr);
		hosted->told_isr = isr;
		if (mr_control_follow_why(hosted)[0])
			tell_old(peers, hosted);
	}
	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		tell(peers->control, node, &changes[node]);
}
