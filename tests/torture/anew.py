#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A follower that begins anew from its leader's state, killed at any moment of it.

    anew.py [--rounds N] [--seed S] [--keep]

The leader's log no longer begins at 0, so that a follower without its data needs more than records:
what producers had sent before. Each round it loses its disk, or only its life; it is started and
killed again at random moments, several times; then it must come back, in sync. Every few rounds it
leads for a while: then producers send again, and what it was told of them decides that nothing is
there twice. In the end the history is checked as in replicas.py; the logs are equal as far as both
reach back.
"""
import argparse
import os
import shutil
import sys
import time

import cluster
import history
import replicas

RETENTION = "8MiB"
FILL_SECONDS = 120
PRODUCERS = 3
NOTICE = "a log begins anew"


class Leaders(replicas.Clients):
    """On the leader's host alone: the other's loses the key that lanes are handed back by."""

    def __init__(self, host, directory, seed):
        super().__init__([host], directory, seed)
        for i in range(1, PRODUCERS):
            name = f"{host.name}{i}"
            self.producers.append(self.start(f"producer-{name}", "producer", host.socket,
                                             replicas.TOPIC, i + 1, seed * 64 + i, 5000))
            self.names.append(name)

    def said(self):
        producers = [self.read(history.Producer(number + 1), f"producer-{name}")
                     for number, name in enumerate(self.names)]
        return producers, [self.read(history.Consumer(self.names[0]), "consumer-a")]


class Anew(replicas.Run):
    """Host a leads, host b begins anew."""

    def __init__(self, hosts, seed):
        super().__init__(hosts, seed)
        self.kills = self.lost = 0

    def begun(self):
        """The partitions that b said begin anew, in all its lives."""
        with open(self.hosts[1].log, encoding="utf-8", errors="replace") as log:
            return [line.split("partition=")[1].strip() for line in log if NOTICE in line]

    def wait_begun(self, before):
        """Else the leader may not have heard yet that b is in sync no more."""
        end = time.monotonic() + replicas.SYNC_SECONDS
        while len(set(self.begun()[before:])) < replicas.PARTITIONS:
            if time.monotonic() > end:
                raise replicas.Failed(f"b lost its disk, and only these began anew: "
                                      f"{self.begun()[before:]}")
            time.sleep(0.1)

    def log_starts(self):
        return [row["log_start_offset"] for row in
                self.hosts[0].ask("topic", "describe", replicas.TOPIC)["partitions"]]

    def begin(self, seed):
        a, b = self.hosts
        for host in (a, b):
            host.start()
        for host in (a, b):
            host.wait_ready()
        a.command("topic", "create", replicas.TOPIC, "--partitions", str(replicas.PARTITIONS),
                  "--replicas", "2", "--min-insync-replicas", "1", "--leaders", "a",
                  "--retention-bytes", RETENTION)
        self.wait_in_sync()
        self.clients = Leaders(a, self.cluster.directory, seed)
        self.clients.burst(True)
        end = time.monotonic() + FILL_SECONDS
        while not all(self.log_starts()):
            if time.monotonic() > end:
                raise replicas.Failed(f"retention took nothing in {FILL_SECONDS} s: "
                                      f"{self.log_starts()}")
            time.sleep(0.5)
        self.clients.burst(False)

    def kill_in_between(self, most):
        b = self.hosts[1]
        for _ in range(self.random.randrange(1, 5)):
            b.start()
            time.sleep(self.random.uniform(0, most))
            b.kill()
            self.kills += 1

    def round(self, number):
        b = self.hosts[1]
        loses = self.random.random() < 0.8
        began = time.monotonic()
        before = len(self.begun())
        print(f"round {number}: b loses its {'disk' if loses else 'life'}", end="", flush=True)
        b.kill()
        if loses:
            shutil.rmtree(b.data)
            self.lost += 1
        self.kill_in_between(1.5 if loses else 0.5)
        b.start()
        b.wait_ready()
        if loses:
            self.wait_begun(before)
        self.wait_in_sync()
        if number % 4 == 0:
            self.lead_for_a_while()
        self.clients.check_living()
        print(f", in sync again after {time.monotonic() - began:.1f} s", flush=True)

    def lead_for_a_while(self):
        for host in (self.hosts[1], self.hosts[0]):
            for partition in range(replicas.PARTITIONS):
                self.promote(self.hosts[0], partition, "--to", host.name)
                self.moved += 1
            self.wait_in_sync()
            self.pause_a_while()

    def batches(self, host):
        """From where both logs reach back to."""
        found = super().batches(host)
        other = super().batches(self.hosts[1 - host.number])
        for partition, rows in found.items():
            first = max(rows[0][0], other[partition][0][0])
            found[partition] = [row for row in rows if row[0] >= first]
        return found

    def heal(self):
        """Nothing else goes wrong."""


def main():
    parser = argparse.ArgumentParser(description="kill a follower that begins anew")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--keep", action="store_true", help="leave all files where they are")
    arguments = parser.parse_args()
    try:
        cluster.require()
    except cluster.Missing as missing:
        print(f"SKIPPED: nothing began anew: {missing}")
        sys.exit(77)
    print(f"{arguments.rounds} rounds, seed {arguments.seed}")
    with cluster.Cluster(2, replicas.MILLRACE, keep=arguments.keep) as hosts:
        run = Anew(hosts, arguments.seed)
        held = replicas.torture(run, arguments.rounds, arguments.seed)
        print(f"{run.lost} disks lost, {run.kills} kills, {len(run.begun())} logs begun anew")
        if not all(held):
            hosts.keep = True
            print(f"left in {hosts.directory}; again: --rounds {arguments.rounds} --seed "
                  f"{arguments.seed}")
    print(f"{sum(held)} passed, {len(held) - sum(held)} failed")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
