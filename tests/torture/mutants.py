#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Engines with a known fault each, under torture: what real processes and a history can find.

    mutants.py make NAME ROOT OUT        the source that NAME changes, with the change, into OUT
    mutants.py check NAME MILLRACE       tortures that engine until the fault is seen
    mutants.py list | sources            their names | what they change

The simulator finds more, and sooner (tests/sim/mutants.py); this is for what it does not run:
lanes, forwarding, the feed, the control thread, and the programs that look at it from outside. A
fault that torture does not find in its rounds fails the test: then torture is blind to it.

What no kill -9 shows is not here: bytes that the kernel has are written whoever dies, so a flush
that is left out, or an answer before it, is seen by the simulator and the power cut test alone. Nor
is a leader that does not know that it is none any more: every record must be on two disks here, so
alone it commits nothing. Nor is what a leader drops by sequence of what it is sent once more: who
sends it has its log again by then, and sends only what is not in it (tests/unit/worker_forward.c
has it without that).
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "sim"))
import mutants as simulated  # noqa: E402, pylint: disable=import-self,wrong-import-position

PARTITION = "engine/log/partition.c"
PROTOCOL = "engine/replica/protocol.c"
LANE = "engine/worker_lane.c"
REPLICA = "engine/worker_replica.c"

ROUNDS = "25"
SEEDS = (1, 2, 3)
HOSTS = {"shows-what-is-not-committed": "3"}

# name: (file, text that is there once, text instead, what is broken, faults that find it)
MUTANTS = {
    "commits-without-the-follower": (
        PARTITION,
        "	for (uint64_t left = partition->isr; left; left &= left - 1) {",
        "	for (uint64_t left = partition->isr & UINT64_C(1) << partition->self; left;\n"
        "	     left &= left - 1) {",
        "R4: acknowledged before the follower has it",
        "cut_and_kill,kill_leader"),
    "counts-what-it-sent-as-flushed": (
        PROTOCOL,
        "	peer->sent_bytes += entry->bytes;\n	note_told(replica, peer);",
        "	peer->sent_bytes += entry->bytes;\n"
        "	(void)mr_partition_replica_flushed(replica->partition, node, "
        "entry->end_offset);\n"
        "	note_told(replica, peer);",
        "R6: acknowledged when the bytes are with the kernel",
        "cut_and_kill,kill_leader,cut_both_ways"),
    "never-truncates": (
        PROTOCOL,
        "	if (agreed < partition->log_end) {\n"
        "		mr_replica_truncate_to(replica, agreed, false, false);\n"
        "		return;\n	}\n",
        "",
        "R5: what the new leader does not have stays",
        "cut_and_kill,kill_leader"),
    "shows-what-is-not-committed": (
        PROTOCOL,
        "	(void)mr_partition_follow_watermark(replica->partition,\n"
        "					    replica->leader_watermark); "
        "/* the host looks at it */",
        "	(void)mr_partition_follow_watermark(replica->partition, "
        "replica->partition->flushed);",
        "I4: a follower's consumers see what may vanish",
        "cut_one_and_kill"),
    "answers-what-it-forwarded": (
        LANE,
        "	if (!known || known->epoch != lane->producer_epoch ||\n"
        "	    mr_sequence_distance(known->last_sequence, last) < 0)\n"
        "		return false;\n"
        "	if (answers && mr_answers_full(answers))",
        "	if (!known)\n		return false;\n"
        "	if (answers && mr_answers_full(answers))",
        "I1: a forwarded record is answered before it came back",
        "cut_and_kill,kill_leader"),
    "forgets-what-its-lanes-sent": (
        REPLICA,
        "	for (i = 0; i < partition->lane_count; i++)\n"
        "		mr_worker_rewind(partition->lanes[i]);",
        "	for (i = 0; i < partition->lane_count; i++)\n"
        "		(void)partition->lanes[i];",
        "I1: what was under way when the leader changed is not sent again",
        "kill_leader,cut_and_kill"),
}


def make(name, root, out):
    simulated.write_changed({name: MUTANTS[name][:4]}, name, root, out)


def run(name, millrace, seed):
    return subprocess.run(
        [sys.executable, os.path.join(HERE, "replicas.py"), "--hosts", HOSTS.get(name, "2"),
         "--rounds", ROUNDS, "--seed", str(seed), "--faults", MUTANTS[name][4], "--discard"],
        env={**os.environ, "MILLRACE": millrace}, capture_output=True, text=True, timeout=900,
        check=False)


def check(name, millrace):
    """Exit code 0: the fault was found."""
    for seed in SEEDS:
        done = run(name, millrace, seed)
        if done.returncode == 77:
            print(done.stdout, end="")
            sys.exit(77)
        seen = [line for line in done.stdout.splitlines() if line.startswith("FAILED: ")]
        if done.returncode == 1 and seen:
            rounds = len(re.findall(r"^round \d+: ", done.stdout, re.MULTILINE))
            print(f"found: {name}, seed {seed}, after {rounds} rounds")
            print("\n".join(seen))
            sys.exit(0)
        if done.returncode != 0:
            sys.exit(f"torture itself failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    sys.exit(f"the fault was not found in {len(SEEDS)} x {ROUNDS} rounds: torture is blind to it")


def main():
    if sys.argv[1:2] == ["list"]:
        print("\n".join(MUTANTS))
    elif sys.argv[1:2] == ["sources"]:
        print("\n".join(sorted({row[0] for row in MUTANTS.values()})))
    elif sys.argv[1:2] == ["make"] and len(sys.argv) == 5:
        make(*sys.argv[2:])
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 4:
        check(*sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
