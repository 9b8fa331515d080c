#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two Millrace engines on this machine, and what happens when one of them dies.

    ./mill demo replica [--seconds N]

Each engine has a network namespace of its own (or a port of its own where you are not root). The
metrics of this very host are published on both and read on the other one, numbered records beside
them. Then the leader is killed, the follower takes over by `millrace promote`, the dead one comes
back. At the end every number is looked for: each must be there once, in order.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MILLRACE = os.path.abspath(os.environ.get("MILLRACE", "build/millrace"))
WAIT_SECONDS = 30
SHOWN = ("cpu.total.busy", "memory.used_share", "load.1min")

CONFIG = """\
node: {name}
number: {number}
cluster: demo
{listen}insecure: true
peers: {{{peer}: {{number: {peer_number}{address}}}}}
data: {data}
socket: {socket}
replicas: 2
min_insync_replicas: 1
leaders: a
first_segment_bytes: 4 MiB
segment_bytes: 16 MiB
tail_bytes: 4 MiB
idle: park
"""


def say(*words):
    print(*words, flush=True)


def run(*words, check=True):
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(words[:4])} ...: {(result.stderr or result.stdout).strip()}")
    return result


class Network:
    """Two namespaces and a veth pair; or, without root, the loopback."""

    def __init__(self):
        self.made = []
        self.names = {host: f"mill{os.getpid()}{host}" for host in "ab"}
        self.real = os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter")
        if self.real:
            try:
                self.make()
            except RuntimeError as why:
                say(f"(no network namespaces here: {why})")
                self.remove()
                self.real = False
        if self.real:
            self.listen = "10.231.9.2:7420"
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.listen = f"127.0.0.1:{free.getsockname()[1]}"

    def make(self):
        for host in "ab":
            run("ip", "netns", "add", self.names[host])
            self.made.append(self.names[host])
        ends = [f"ml{os.getpid() % 1000000}{host}" for host in "ab"]
        run("ip", "link", "add", ends[0], "netns", self.names["a"], "type", "veth",
            "peer", "name", ends[1], "netns", self.names["b"])
        for host, end, last in (("a", ends[0], 1), ("b", ends[1], 2)):
            run(*self.inside(host, "ip", "address", "add", f"10.231.9.{last}/30", "dev", end))
            run(*self.inside(host, "ip", "link", "set", end, "up"))
            run(*self.inside(host, "ip", "link", "set", "lo", "up"))

    def inside(self, host, *words):
        if not self.real:
            return words
        return ("nsenter", f"--net=/run/netns/{self.names[host]}") + words

    def remove(self):
        for name in self.made:
            run("ip", "netns", "del", name, check=False)
        self.made = []


class Reader(threading.Thread):
    """What a consumer on one host sees, while it comes."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process = process
        self.count = 0
        self.last = {}
        self.newest_ms = 0
        self.start()

    def run(self):
        for line in self.process.stdout:
            try:
                record = json.loads(line)
                self.last[record.get("key")] = json.loads(record["value"])
            except (ValueError, KeyError):
                continue
            self.count += 1
            self.newest_ms = record["timestamp_ms"]

    def line(self):
        age = time.time() - self.newest_ms / 1000 if self.newest_ms else 0
        shown = ", ".join(f"{name} {self.last[name]['value']} {self.last[name]['unit']}"
                          for name in SHOWN if name in self.last)
        return f"{self.count:6} metrics, the newest {age:4.1f} s old: {shown}"


class Demo:
    """The two engines and the programs around them."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="millrace-demo-")
        self.network = Network()
        self.processes = []
        self.engines = {}
        self.numbers = None
        self.given = 0
        self.readers = {}

    def socket_of(self, host):
        return os.path.join(self.directory, f"{host}.sock")

    def command(self, host, *words, check=True):
        return run(MILLRACE, *words, "--socket", self.socket_of(host), check=check)

    def start(self, *words, **more):
        process = subprocess.Popen(words, start_new_session=True, **more)
        self.processes.append(process)
        return process

    # ---- the engines ----

    def configure(self):
        for number, host, peer in ((0, "a", "b"), (1, "b", "a")):
            listen = f"listen: \"{self.network.listen}\"\n" if host == "b" else ""
            address = f", address: \"{self.network.listen}\"" if host == "a" else ""
            with open(os.path.join(self.directory, f"{host}.yaml"), "w", encoding="utf-8") as file:
                file.write(CONFIG.format(name=host, number=number, listen=listen, peer=peer,
                                         peer_number=1 - number, address=address,
                                         data=os.path.join(self.directory, host),
                                         socket=self.socket_of(host)))

    def start_engine(self, host):
        with open(os.path.join(self.directory, f"{host}.log"), "ab") as log:
            self.engines[host] = self.start(
                *self.network.inside(host, MILLRACE, "serve", "--config",
                                     os.path.join(self.directory, f"{host}.yaml")),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.wait_for(lambda: self.command(host, "topic", "list", check=False).returncode == 0,
                      f"the engine of {host}")

    def wait_for(self, condition, what):
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"waited {WAIT_SECONDS} s in vain for {what}")
            time.sleep(0.1)

    def partitions(self, host):
        return json.loads(self.command(host, "peers", "--json").stdout)["partitions"]

    def in_sync(self):
        rows = self.partitions("a") + self.partitions("b")
        return rows and all(sorted(row.get("isr", [])) == ["a", "b"] for row in rows)

    # ---- the programs ----

    def start_programs(self):
        for host in "ab":
            self.start(MILLRACE, "collect", "host", "--socket", self.socket_of(host),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.readers[host] = Reader(self.start(
                MILLRACE, "tail", "host", "--json", "--follow", "--socket", self.socket_of(host),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        self.numbers = self.start(MILLRACE, "put", "numbers", "--json", "--socket",
                                  self.socket_of("a"), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def watch(self, seconds, hosts):
        """Numbers go in, and each second is shown what a consumer there sees."""
        end = time.monotonic() + seconds
        shown = 0
        while time.monotonic() < end:
            self.given += 1
            self.numbers.stdin.write(f"{self.given}\n")
            self.numbers.stdin.flush()
            time.sleep(0.05)
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                for host in hosts:
                    say(f"    on {host}: {self.readers[host].line()}")

    # ---- the story ----

    def begin(self):
        where = ("a network namespace each, joined by a veth pair" if self.network.real
                 else "both on the loopback (as root each gets a network namespace)")
        say(f"Two engines, a and b: {where}.")
        self.configure()
        for host in "ab":
            self.start_engine(host)
        for topic in ("host", "numbers"):
            self.command("a", "topic", "create", topic, "--partitions", "1", "--replicas", "2",
                         "--min-insync-replicas", "1", "--leaders", "a")
        self.wait_for(self.in_sync, "both engines to be in sync")
        self.start_programs()
        say("a leads, b has a copy: a record is committed when it is on both disks.")
        say("Metrics of this host go in on a and on b; this is what a consumer on b sees, from "
            "b's own memory:")

    def kill(self):
        say("\n*** kill -9: the engine of a is dead, with all that it had in memory.\n")
        self.engines["a"].kill()
        self.engines["a"].wait()
        say("What was committed is on b. Two hosts have no majority, so b does not simply go on:")
        self.watch(3, "b")
        asked = self.command("b", "promote", "numbers/0", check=False)
        say("\n$ millrace promote numbers/0\n" + asked.stderr.strip())

    def take_over(self):
        say("\nA person knows that a is dead, and says so:")
        for topic in ("host", "numbers"):
            words = ("promote", f"{topic}/0", "--accept-loss", "--old-leader-is-stopped")
            self.wait_for(lambda words=words: self.command("b", *words, check=False)
                          .returncode == 0, "b to take over")
            say("$ millrace " + " ".join(words))
        say("b leads. What is published on b goes on; what was published on a waits in the "
            "memory of its producers:")

    def come_back(self):
        say("\n*** a is started again: it follows b, gets what it missed, cuts off what nobody "
            "else has, and its producers hand over what they kept.\n")
        self.start_engine("a")
        self.wait_for(self.in_sync, "a to be in sync again")
        say("Both are in sync again:")

    def hand_back(self):
        for topic in ("host", "numbers"):
            say(f"\n$ millrace promote {topic}/0 --to a\n" +
                self.command("b", "promote", f"{topic}/0", "--to", "a").stdout.strip())
        say("A planned move: nothing is lost, nobody has to know:")

    def count(self):
        """True: each number is there once, in order, on both."""
        self.numbers.stdin.close()
        said = json.loads(self.numbers.stdout.read())
        self.numbers.wait(timeout=WAIT_SECONDS)
        say(f"\n{self.given} numbers were published on a, {said['acknowledged']} acknowledged, "
            f"{said['lost']} lost.")
        good = said["acknowledged"] == self.given and said["lost"] == 0
        for host in "ab":
            there = self.command(host, "tail", "numbers", "--format", "raw").stdout.split()
            expected = [str(number) for number in range(1, self.given + 1)]
            lost = len(set(expected) - set(there))
            doubled = len(there) - len(set(there))
            order = "in order" if there == sorted(there, key=int) else "NOT in order"
            say(f"  on {host}: {len(there)} records, {lost} lost, {doubled} twice, {order}")
            good = good and there == expected
        return good

    def play(self, seconds):
        self.begin()
        self.watch(seconds * 0.3, "b")
        self.kill()
        self.take_over()
        self.watch(seconds * 0.2, "b")
        self.come_back()
        self.watch(seconds * 0.15, "ab")
        self.hand_back()
        self.watch(seconds * 0.1, "ab")
        return self.count()

    def end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        for process in reversed(self.processes):
            try:
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.network.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="./mill demo replica", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=45, help="about how long (default 45)")
    arguments = parser.parse_args()
    demo = Demo()
    try:
        good = demo.play(max(arguments.seconds, 10))
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as why:
        say(f"the demo failed: {why}")
        good = False
        for host in "ab":
            path = os.path.join(demo.directory, f"{host}.log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as log:
                    say(f"last words of {host}:", "".join(log.readlines()[-5:]))
    except KeyboardInterrupt:
        good = True
    finally:
        demo.end()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
