#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replication between real engines in network namespaces, with everything done to them.

    replicas.py [--rounds N] [--hosts 2|3] [--seed S] [--faults NAME,...] [--late]
                [--keep | --discard]

A producer and a consumer are attached on every host throughout. Each round one thing goes wrong:
engines are killed or stopped, links are cut one way or both, what passes is late, a follower's disk
is full. A dead leader's partitions are taken over by `millrace promote`, or it comes back by
itself; then all is healed, a partition's leadership is moved, and all replicas must get in sync
again. With --late the last of three hosts is started only when the others hold a while's records.
Afterwards the history is checked (history.py): nothing acknowledged lost, nothing there
twice, order kept, all consumers saw the same, all logs equal.

The seed repeats the same plan; where in the engines it strikes is up to the machine. Every record
must be on two disks to be committed, so that whatever one host loses, nothing acknowledged is.
"""
import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import cluster
import history

MILLRACE = os.path.abspath(os.environ.get("MILLRACE", "build/millrace"))
CLIENT = os.path.abspath(os.environ.get("REPLICA_CLIENT",
                                        "build/tests/torture/torture-replica-client"))
TOPIC = "torture"
PARTITIONS = 4
SYNC_SECONDS = 40
PROMOTE_SECONDS = 60
SHOWN = 5  # sentences of each kind


class Failed(Exception):
    """Something that must hold did not; the rounds end."""


class Clients:
    """A producer and a consumer on each host, and where they write what they say."""

    def __init__(self, hosts, directory, seed):
        self.directory = directory
        self.producers = [self.start(f"producer-{host.name}", "producer", host.socket, TOPIC,
                                     host.number + 1, seed * 64 + host.number, 5000)
                          for host in hosts]
        self.consumers = [self.start(f"consumer-{host.name}", "consumer", host.socket, TOPIC)
                          for host in hosts]
        self.names = [host.name for host in hosts]

    def start(self, name, *words):
        """What is sent to it before it can listen waits until it does."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
        try:
            with open(self.path(name), "wb") as said:
                return subprocess.Popen([CLIENT, *(str(word) for word in words)], stdout=said,
                                        stdin=subprocess.DEVNULL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def path(self, name):
        return os.path.join(self.directory, name)

    def check_living(self):
        for kind, processes in (("producer", self.producers), ("consumer", self.consumers)):
            for name, process in zip(self.names, processes):
                if process.poll() is not None:
                    with open(self.path(f"{kind}-{name}"), encoding="utf-8") as said:
                        last = said.readlines()[-1:]
                    raise Failed(f"the {kind} on {name} ended by itself ({process.returncode}): "
                                 f"{last}")

    def burst(self, on):
        for process in self.producers:
            process.send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)

    def end(self, processes, seconds):
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()  # the checker says that it did not come to its end
                process.wait()

    def kill(self):
        for process in self.producers + self.consumers:
            if process.poll() is None:
                process.kill()
            process.wait()

    def read(self, reader, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as said:
            return reader.read(line for line in said if line.strip())

    def said(self):
        producers = [self.read(history.Producer(number + 1), f"producer-{name}")
                     for number, name in enumerate(self.names)]
        consumers = [self.read(history.Consumer(name), f"consumer-{name}") for name in self.names]
        return producers, consumers


class Run:
    """The hosts under torture, and the plan by its seed."""

    def __init__(self, hosts, seed, faults=""):
        known = {fault.__name__: fault for fault in self.FAULTS + self.SELDOM}
        self.faults = [known[name] for name in faults.split(",")] if faults else self.FAULTS
        self.cluster = hosts
        self.hosts = hosts.hosts
        self.random = random.Random(seed)
        self.late = False
        self.clients = None
        self.counts = {}
        self.took_over = 0
        self.moved = 0
        self.refusals = collections.Counter()  # what promote said that did not do it
        self.slowest = 0.0  # promote, from the first asking on

    # ---- what is known ----

    def rows(self, host):
        """This host's view of the partitions; {} where it does not answer."""
        try:
            said = host.ask("peers")
        except (RuntimeError, subprocess.TimeoutExpired, json.JSONDecodeError):
            return {}
        return {row["partition"]: row for row in said["partitions"] if row["topic"] == TOPIC}

    def newest(self, hosts, partition):
        """The register that was written last, as far as these hosts know."""
        rows = [self.rows(host).get(partition) for host in hosts]
        rows = [row for row in rows if row and "register_version" in row]
        return max(rows, key=lambda row: row["register_version"], default=None)

    def leader(self, partition):
        row = self.newest([host for host in self.hosts if host.is_up() and not host.stopped],
                          partition)
        if not row or not row.get("leader"):
            raise Failed(f"nobody knows a leader of partition {partition}")
        return self.cluster.by_name(row["leader"])

    def out_of_sync(self):
        """Why not all replicas of all partitions are in sync; empty: they are."""
        names = sorted(host.name for host in self.hosts)
        for host in self.hosts:
            rows = self.rows(host)
            if len(rows) != PARTITIONS:
                return f"{host.name} knows {len(rows)} partitions of {PARTITIONS}"
            for partition, row in rows.items():
                if sorted(row.get("isr", [])) != names:
                    return (f"{host.name}: partition {partition}: in sync are "
                            f"{row.get('isr')}, leader {row.get('leader')}")
                expected = "leader" if row["leader"] == host.name else "follower"
                if row.get("role") != expected:
                    return (f"{host.name}: partition {partition}: role {row.get('role')}, "
                            f"expected {expected}")
        return ""

    def wait_in_sync(self):
        end = time.monotonic() + SYNC_SECONDS
        why = self.out_of_sync()
        while why:
            if time.monotonic() > end:
                raise Failed(f"not in sync after {SYNC_SECONDS} s: {why}")
            time.sleep(0.1)
            why = self.out_of_sync()

    # ---- what a person does ----

    def move(self):
        """Leadership of a partition to another host, which is in sync: must succeed."""
        partition = self.random.randrange(PARTITIONS)
        leader = self.leader(partition)
        to = self.random.choice([host for host in self.hosts if host is not leader])
        self.promote(self.random.choice(self.hosts), partition, "--to", to.name)
        self.moved += 1

    def promote(self, asked, partition, *how):
        """Must succeed in time; every sentence that says it did not is kept."""
        began = time.monotonic()
        while True:
            said = asked.command("promote", f"{TOPIC}/{partition}", *how, check=False)
            passed = time.monotonic() - began
            if said.returncode == 0:
                self.slowest = max(self.slowest, passed)
                return
            sentence = f"promote {' '.join(how)} on {asked.name}: {said.stderr.strip()}"
            self.refusals[re.sub(r"\d+", "N", sentence)] += 1
            if passed > PROMOTE_SECONDS:
                raise Failed(f"partition {partition}: {sentence}")
            time.sleep(0.1)

    def take_over(self, dead, by=None):
        """What the dead host led goes to one that is in sync by the newest register."""
        living = [host for host in self.hosts if host is not dead]
        for partition in range(PARTITIONS):
            row = self.newest(living, partition)
            if not row or row["leader"] != dead.name:
                continue
            fit = [host for host in living
                   if host.name in row["isr"] and (by is None or host is by)]
            if not fit:
                continue
            by = self.random.choice(fit)
            self.promote(by, partition, "--accept-loss", "--old-leader-is-stopped")
            self.took_over += 1

    # ---- what goes wrong; each leaves it so, heal() ends it ----

    def some_leader(self):
        return self.leader(self.random.randrange(PARTITIONS))

    def other(self, host):
        return self.random.choice([other for other in self.hosts if other is not host])

    def pause_a_while(self, least=0.2, most=1.0):
        time.sleep(self.random.uniform(least, most))

    def kill_leader(self):
        dead = self.some_leader()
        dead.kill()
        self.pause_a_while()
        if self.random.random() < 0.6:
            self.take_over(dead)
            self.pause_a_while()

    def kill_follower(self):
        self.other(self.some_leader()).kill()
        self.pause_a_while()

    def kill_both(self):
        one = self.some_leader()
        two = self.other(one)
        one.kill()
        self.pause_a_while(0, 0.2)
        two.kill()
        self.pause_a_while()

    def kill_both_take_over(self):
        """What the one that comes back recovered is all there is."""
        dead = self.some_leader()
        other = self.other(dead)
        other.kill()
        dead.kill()
        self.pause_a_while(0, 0.3)
        other.start()
        other.wait_ready()
        self.take_over(dead)
        self.pause_a_while()

    def kill_again(self):
        """In the middle of its coming back."""
        dead = self.some_leader()
        for _ in range(3):
            dead.kill()
            dead.start()
            self.pause_a_while(0, 0.5)
        dead.kill()

    def stop_leader(self):
        self.some_leader().pause()
        self.pause_a_while(0.5, 2.0)

    def stop_follower(self):
        self.other(self.some_leader()).pause()
        self.pause_a_while(0.5, 2.0)

    def cut_one_way(self):
        one = self.random.choice(self.hosts)
        self.cluster.cut(one, self.other(one))
        self.pause_a_while(0.5, 2.0)

    def cut_both_ways(self):
        one = self.random.choice(self.hosts)
        two = self.other(one)
        self.cluster.cut(one, two)
        self.cluster.cut(two, one)
        self.pause_a_while(0.5, 2.0)

    def cut_long(self):
        """Longer than anybody waits for a follower, and meanwhile a disk is full."""
        one = self.random.choice(self.hosts)
        two = self.other(one)
        self.cluster.cut(one, two)
        self.cluster.cut(two, one)
        self.clients.burst(True)
        self.pause_a_while(4.0, 8.0)
        self.hosts[1].fill_disk()
        self.pause_a_while(4.0, 8.0)
        self.clients.burst(False)

    def cut_and_kill(self):
        """The leader is alone for a while, and dies so."""
        dead = self.some_leader()
        for host in self.hosts:
            if host is not dead:
                self.cluster.cut(dead, host)
        self.pause_a_while()
        dead.kill()
        self.cluster.heal()
        self.take_over(dead)
        self.pause_a_while()

    def kill_unheard(self):
        """What the leader took is on its disk alone; it comes back, and is sent it again."""
        dead = self.some_leader()
        self.cluster.cut(dead, self.other(dead))
        self.clients.burst(True)
        self.pause_a_while()
        dead.kill()
        self.clients.burst(False)

    def cut_one_and_kill(self):
        """Who did not hear the leader's last words takes over: the others go back to that."""
        dead = self.some_leader()
        deaf = self.other(dead)
        self.cluster.cut(dead, deaf)
        self.pause_a_while()
        dead.kill()
        self.cluster.heal()
        self.take_over(dead, deaf)
        self.pause_a_while()

    def late(self):
        self.cluster.delay(self.random.randrange(10, 120))
        self.pause_a_while(0.5, 1.5)
        if self.random.random() < 0.5:
            self.some_leader().kill()

    def full_disk(self):
        self.clients.burst(True)
        self.hosts[1].fill_disk()
        self.pause_a_while(1.0, 2.0)
        self.clients.burst(False)
        if self.random.random() < 0.3:
            self.hosts[1].kill()

    FAULTS = (kill_leader, kill_leader, kill_leader, kill_follower, kill_follower, kill_both,
              kill_both_take_over, kill_again, stop_leader, stop_follower, cut_one_way, cut_one_way,
              cut_both_ways, cut_and_kill, cut_one_and_kill, kill_unheard, late, full_disk)
    SELDOM = (cut_long,)  # by name only: they take long

    def heal(self):
        self.cluster.heal()
        self.cluster.delay(0)
        self.hosts[1].free_disk()
        for host in self.hosts:
            if host.is_up():
                host.go_on()
            else:
                if host.engine is not None:
                    raise Failed(f"the engine of {host.name} ended by itself "
                                 f"({host.engine.returncode}): {host.last_words()}")
                host.start()
        for host in self.hosts:
            host.wait_ready()

    # ---- the whole ----

    def begin(self, seed):
        first = self.hosts[:-1] if self.late else self.hosts
        for host in first:
            host.start()
        for host in first:
            host.wait_ready()
        first[0].command("topic", "create", TOPIC, "--partitions", str(PARTITIONS),
                         "--replicas", str(len(self.hosts)), "--min-insync-replicas", "2",
                         "--leaders", first[0].name if self.late else "spread")
        if self.late:
            self.clients = Clients(first, self.cluster.directory, seed)
            self.join_late(self.hosts[-1])
        self.wait_in_sync()
        if not self.clients:
            self.clients = Clients(self.hosts, self.cluster.directory, seed)

    def join_late(self, host):
        """The others have gone on without it: their first segments are full."""
        self.clients.burst(True)
        time.sleep(15)
        self.clients.burst(False)
        host.start()
        host.wait_ready()

    def round(self, number):
        fault = self.random.choice(self.faults)
        began = time.monotonic()
        print(f"round {number}: {fault.__name__}", end="", flush=True)
        fault(self)
        self.heal()
        self.wait_in_sync()
        self.move()
        self.clients.check_living()
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        print(f", in sync again after {time.monotonic() - began:.1f} s", flush=True)

    def ends(self):
        return [{row["partition"]: row.get("log_end_offset")
                 for row in host.ask("topic", "describe", TOPIC)["partitions"]}
                for host in self.hosts]

    def finish(self):
        """All have said all; the engines are stopped. Returns the verdict."""
        self.wait_in_sync()
        self.clients.end(self.clients.producers, 60)
        time.sleep(2)  # a follower learns what is committed with the next message
        self.clients.end(self.clients.consumers, 60)
        self.wait_in_sync()
        for host in self.hosts:
            code = host.end()
            if code != 0:
                raise Failed(f"the engine of {host.name} ended with {code}: {host.last_words()}")
        producers, consumers = self.clients.said()
        return history.check(producers, consumers,
                             {host.name: self.batches(host) for host in self.hosts})

    def batches(self, host):
        """All batches by partition, as the disk has them."""
        said = cluster.run(MILLRACE, "dump", host.data, "--topic", TOPIC, "--depth", "batches",
                           "--json", seconds=120)
        found = {}
        partition = None
        for line in said.stdout.splitlines():
            row = json.loads(line)
            if row["what"] == "partition":
                partition = found.setdefault(row["partition"], [])
            elif row["what"] == "batch":
                partition.append((row["base_offset"], row["records"], row["leader_epoch"],
                                  row["crc"]))
            elif row["what"] == "end" and row["damaged"]:
                raise Failed(f"{host.name}: the log is damaged: {row}")
        return found


def show_run(run):
    print(f"faults: {', '.join(f'{name} {count}' for name, count in sorted(run.counts.items()))}; "
          f"{run.took_over} take-overs, {run.moved} moves, the slowest promotion took "
          f"{run.slowest:.1f} s")
    for sentence, count in run.refusals.most_common():
        print(f"  {count} times {sentence}")


def show(verdict):
    print(verdict)
    for kind, sentences in verdict.found.items():
        for sentence in sentences[:SHOWN]:
            print(f"  {kind}: {sentence}")


def check(held, sentence):
    print(f"{'ok' if held else 'FAILED'}: {sentence}")
    return held


def torture(run, rounds, seed):
    """How many of what must hold held, and did not."""
    held = []
    done = 0
    try:
        run.begin(seed)
        while done < rounds:
            run.round(done + 1)
            done += 1
        verdict = run.finish()
        show(verdict)
        for kind, sentences in verdict.found.items():
            held.append(check(not sentences, f"{kind}: {len(sentences)}"))
        held.append(check(verdict.acknowledged > 20 * rounds,
                          f"{verdict.acknowledged} records were acknowledged meanwhile"))
    except (Failed, RuntimeError, subprocess.TimeoutExpired) as failure:
        print()
        held.append(check(False, str(failure)))
        for host in run.hosts:
            if host.is_up() and not host.stopped:
                print(host.command("peers", check=False).stdout)
                print(json.dumps(run.rows(host)))
    finally:
        if run.clients:
            run.clients.kill()
    show_run(run)
    held.append(check(done == rounds, f"{done} of {rounds} rounds"))
    return held


def main():
    parser = argparse.ArgumentParser(description="torture replicas in network namespaces")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--hosts", type=int, default=2, choices=(2, 3))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--faults", default="", help="what goes wrong: these only, by name")
    parser.add_argument("--late", action="store_true", help="the last host joins late")
    parser.add_argument("--keep", action="store_true", help="leave all files where they are")
    parser.add_argument("--discard", action="store_true", help="also those of a run that failed")
    arguments = parser.parse_args()
    try:
        cluster.require()
    except cluster.Missing as missing:
        print(f"SKIPPED: no replica was tortured: {missing}")
        sys.exit(77)
    print(f"{arguments.hosts} hosts, {arguments.rounds} rounds, seed {arguments.seed}")
    with cluster.Cluster(arguments.hosts, MILLRACE, small_disk=1, keep=arguments.keep) as hosts:
        run = Run(hosts, arguments.seed, arguments.faults)
        run.late = arguments.late
        held = torture(run, arguments.rounds, arguments.seed)
        if not all(held) and not arguments.discard:
            hosts.keep = True
            print(f"left in {hosts.directory}; again: --hosts {arguments.hosts} --rounds "
                  f"{arguments.rounds} --seed {arguments.seed}")
    print(f"{sum(held)} passed, {len(held) - sum(held)} failed")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
