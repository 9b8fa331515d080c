#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Known-bad variants of the replication protocol, one for each rule that it must keep.

    mutants.py make NAME ROOT OUT   the source that NAME changes, with the change, into OUT
    mutants.py check SIM            runs a simulator built with a variant: it must find the fault
    mutants.py list                 their names; list-static: those of the static coordinator

A fault that is switched off must make its test fail: if the simulator does not see one of these, it
would not see the same mistake in the protocol either.
"""
import subprocess
import sys

PROTOCOL = "engine/replica/protocol.c"
STATE = "engine/replica/protocol_state.c"
PARTITION = "engine/log/partition.c"
RECOVER = "engine/log/recover.c"
LOG = "engine/log/log.c"
SEEDS = "20000"
SECONDS = "150"

# name: (file, text that is there once, text instead, which rule or known fault it is)
MUTANTS = {
    "anybody-is-elected": (
        PROTOCOL,
        "replica->truncating ||\n	    !is_member(replica))",
        "replica->truncating)",
        "R2: only a member of the ISR of that very version may lead",
    ),
    "an-epoch-is-resumed": (
        PROTOCOL,
        "	       replica->known.leader_incarnation == replica->options.incarnation &&\n"
        "	       replica->known.leader_epoch == replica->claimed_epoch && "
        "replica->claimed_epoch > 0;",
        "	       replica->known.leader_epoch > replica->partition->leader_epoch - 1;",
        "R2: an engine never resumes an epoch",
    ),
    "isr-falls-below-the-minimum": (
        PROTOCOL,
        "	return late && count_of(out->wanted.isr) >= "
        "replica->options.min_insync_replicas;",
        "	return late != 0;",
        "R2: the recorded ISR never shrinks below min_insync_replicas",
    ),
    "joins-before-it-caught-up": (
        PROTOCOL,
        "replica->peers[node].fetching && flushed >= partition->high_watermark &&\n"
        "	       flushed >= partition->epoch_start &&",
        "replica->peers[node].fetching && flushed + 1 > 0 &&",
        "R3: flushed up to the high watermark and the epoch's start",
    ),
    "an-earlier-life-joins": (
        PROTOCOL,
        "		out->guard = (int32_t)i;\n",
        "		out->guard = MR_NODE_NONE;\n",
        "R3, KIP-903: it is another life that joins than the one that caught up",
    ),
    "a-proposed-isr-counts": (
        PROTOCOL,
        "		(void)mr_partition_set_isr(replica->partition, replica->known.isr,\n"
        "					   replica->proposed_isr);",
        "		(void)mr_partition_set_isr(replica->partition, replica->proposed_isr,\n"
        "					   replica->proposed_isr & 0);",
        "R4: first the answer, then the smaller ISR",
    ),
    "too-few-in-sync-commit": (
        PARTITION,
        "	if ((uint32_t)__builtin_popcountll(partition->isr_known) < "
        "partition->min_insync_replicas)\n		return false;",
        "",
        "R4: |known ISR| >= min_insync_replicas",
    ),
    "truncates-by-the-high-watermark": (
        PROTOCOL,
        "	uint64_t agreed = parted ? entry->log_start : common_end(partition, entry);\n",
        "	uint64_t agreed = parted ? entry->log_start : partition->high_watermark;\n",
        "R5, KIP-101 (the first scenario): truncation by the high watermark",
    ),
    "truncates-once": (
        PROTOCOL,
        "	if (replica->role == "
        "MR_ROLE_FOLLOWER)\n		mr_replica_begin_asking(replica);\n}\n\n"
        "static void hear_watermark",
        "	if (replica->role == MR_ROLE_FOLLOWER) {\n"
        "		mr_replica_begin_asking(replica);\n"
        "		replica->step = MR_FOLLOW_FETCH;\n	}\n}\n\n"
        "static void hear_watermark",
        "R5, KIP-279: asked again until both agree",
    ),
    "never-truncates": (
        PROTOCOL,
        "	if (agreed < partition->log_end) {\n"
        "		mr_replica_truncate_to(replica, agreed, false, false);\n"
        "		return;\n	}\n",
        "",
        "R5, KIP-101 (the second scenario): logs that parted go on as they are",
    ),
    "fetches-before-it-is-flushed": (
        PROTOCOL,
        "		if (!again || flushed < replica->partition->log_end)",
        "		if (!again)",
        "R5: flushes, then fetches",
    ),
    "an-older-leader-is-followed": (
        PROTOCOL,
        "	if (entry->leader_epoch != replica->known.leader_epoch) {\n"
        "		mr_replica_received(replica, node, entry); /* "
        "says so, to whoever is behind "
        "*/\n		return MR_TAKE_DROP;\n	}\n"
        "	if (replica->role != MR_ROLE_FOLLOWER || "
        "replica->known.leader != (int32_t)node ||\n"
        "	    replica->step != MR_FOLLOW_FETCH || entry->session != replica->session ||\n",
        "	if (replica->role != MR_ROLE_FOLLOWER ||\n",
        "R6: batches of a leader that is none any more",
    ),
    "lost-data-stays-in-sync": (
        PROTOCOL,
        "	if (!replica->options.lost_data || "
        "!is_member(replica))\n		return false;",
        "	if (out)\n		return false;",
        "R7: a replica that lost data leaves every ISR first",
    ),
    "answers-before-it-is-flushed": (
        PROTOCOL,
        "	uint64_t flushed = replica->partition->flushed;\n\n	if "
        "(replica->options.lost_data)",
        "	uint64_t flushed = replica->partition->log_end;\n\n	if "
        "(replica->options.lost_data)",
        "D1, etcd 14370, NATS 2.12.1: a follower says what it has in memory",
    ),
    "leader-answers-before-it-is-flushed": (
        PARTITION,
        "	for (uint64_t left = partition->isr; left; left &= left - 1) {",
        "	for (uint64_t left = partition->isr & ~(UINT64_C(1) << partition->self); left;\n"
        "	     left &= left - 1) {",
        "D1: the leader's own disk does not count",
    ),
    "a-segment-without-a-name-counts": (
        LOG,
        "		if (log->active_named || flight->position < log->active->base_position)\n",
        "		if (log)\n",
        "D7, RocksDB 10573: a segment whose name a crash takes away",
    ),
    "shows-before-its-epoch-is-committed": (
        PARTITION,
        "	if (lowest < partition->epoch_start || lowest <= partition->high_watermark)",
        "	if (lowest <= partition->high_watermark)",
        "I4: no high watermark before the epoch's start is committed",
    ),
    "checkpoint-of-what-is-not-committed": (
        PARTITION,
        "	return offset <= partition->high_watermark;",
        "	return offset <= partition->flushed;",
        "R5, I6: a checkpoint that a truncation makes wrong",
    ),
    "begins-anew-without-the-state": (
        STATE,
        "	} else if (beginning(replica, log_start) == 0) {\n"
        "		mr_replica_truncate_to(replica, 0, true, false);",
        "	} else if (log_start + 1 > 0) {\n"
        "		mr_replica_truncate_to(replica, log_start, true, false);",
        "I6: producers whose records retention took are told to who begins anew",
    ),
    "a-state-from-before-the-log-start": (
        STATE,
        "return replica->kept_bytes > 0 && "
        "replica->kept_offset >= replica->partition->log_start;",
        "return replica->kept_bytes > 0;",
        "I6: no record is in neither the state nor the log",
    ),
    "a-start-forgets-older-epochs": (
        RECOVER,
        "i < re->checkpoint->epoch_count; i++)",
        "i < (re->checkpoint->epoch_count & 0); i++)",
        "R5: the table of epochs reaches further back than what recovery reads",
    ),
}

COORD = "engine/replica/coord_static.c"
PROMOTE = "engine/replica/coord_promote.c"

# The same of the static coordinator, for the simulator with one on each host.
STATIC = {
    "leads-unseen-after-a-start": (
        COORD,
        "	reg->released = !mr_coord_others(us, reg);",
        "	reg->released = true;",
        "what a host led before a start is held back until the others were heard",
    ),
    "answers-before-it-is-durable": (
        COORD,
        "	if (kind != MR_COORD_NOTHING)\n"
        "		mr_register_answer(us, reg, kind, &reg->durable.state);\n"
        "	mr_coord_static_save(us);",
        "	if (kind == MR_COORD_NOTHING && mr_register_is_ours(us, reg))\n"
        "		mr_register_answer(us, reg, MR_COORD_ACCEPTED, &proposal->wanted);\n"
        "	else if (kind != MR_COORD_NOTHING)\n"
        "		mr_register_answer(us, reg, kind, &reg->durable.state);\n"
        "	mr_coord_static_save(us);",
        "accepted is what a crash does not take back",
    ),
    "accepted-before-the-members-have-it": (
        COORD,
        "	       !(members & ~reg->has);",
        "	       members + 1 > 0;",
        "what was acted upon is not lost with one disk",
    ),
    "a-take-over-is-one-more-version": (
        PROMOTE,
        "taken_over ? MR_COORD_TAKEOVER : 1",
        "1",
        "a take-over is newer than all that the old leader wrote unseen",
    ),
    "a-take-over-keeps-the-epoch": (
        PROMOTE,
        "		state.leader_epoch += MR_COORD_TAKEOVER_EPOCH;\n",
        "",
        "and above all epochs that it took unseen",
    ),
    "a-new-disk-believes-anybody": (
        COORD,
        "	if (reg->blank)\n		return true;\n",
        "",
        "R7: a host that lost its data hears of the owner whether it is in sync",
    ),
    "handed-over-to-the-lagging": (
        PROMOTE,
        "	if (reg->now.state.isr && "
        "!(reg->now.state.isr & mr_coord_bit(wanted->to))) {",
        "	if (reg->replicas == 0) {",
        "leadership goes to a member of the ISR",
    ),
    "handed-to-an-earlier-life": (
        COORD,
        "	       (value->state.leader_incarnation == us->options.incarnation ||\n"
        "		handed_to == us->options.incarnation);",
        "	       (value->state.leader_incarnation || handed_to + 1);",
        "a hand-over counts for the life that it was meant for",
    ),
    "joins-the-register-before-it-caught-up": MUTANTS["joins-before-it-caught-up"],
    "a-merge-forgets-versions": (
        COORD,
        "		return a->state.version > b->state.version ? 1 : -1;",
        "		return 1;",
        "the greater version is the newer one",
    ),
}
ALL = MUTANTS | STATIC


def write_changed(variants, name, root, out):
    path, old, new, _ = variants[name]
    with open(f"{root}/{path}", encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"mutants.py: '{name}' wants to change a text that stands {text.count(old)} "
                 f"times in {path}, expected once: bring mutants.py up to date")
    with open(out, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def check(sim):
    run = subprocess.run([sim, "--count", SEEDS, "--seconds", SECONDS], capture_output=True,
                         text=True, timeout=600, check=False)
    print(run.stderr or run.stdout, end="")
    if run.returncode == 0:
        sys.exit("the fault was not found: the simulator is blind to it")
    if run.returncode != 1 and "a promise of the program is broken" not in run.stderr:
        sys.exit(f"ended with {run.returncode}, expected a broken promise")


def main():
    if sys.argv[1:2] == ["list"]:
        for name in MUTANTS:
            print(name)
    elif sys.argv[1:2] == ["list-static"]:
        for name in STATIC:
            print(name)
    elif sys.argv[1:2] == ["make"] and len(sys.argv) == 5:
        write_changed(ALL, *sys.argv[2:])
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 3:
        check(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
