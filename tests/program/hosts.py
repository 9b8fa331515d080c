# SPDX-License-Identifier: Apache-2.0
"""Engines that know each other, for tests of the whole program."""
import glob
import os
import random
import signal
import socket

import support


class Host:
    """One engine with its own data and socket, known to the other by name."""

    def __init__(self, test, name, number, ports, **more):
        self.test, self.name, self.number = test, name, number
        self.directory = os.path.join(test.directory, name)
        os.mkdir(self.directory)
        self.data = os.path.join(self.directory, "data")
        self.socket = os.path.join(self.directory, "s")
        self.engine = None
        peers = "".join(f'  {other}: {{number: {i}, address: "127.0.0.1:{port}"}}\n'
                        for i, (other, port) in enumerate(ports.items()) if other != name)
        settings = "".join(f"{key}: {value}\n" for key, value in more.items())
        self.config = test.file(os.path.join(name, "millrace.yaml"),
                                f"node: {name}\nnumber: {number}\n"
                                f"listen: 127.0.0.1:{ports[name]}\npeers:\n{peers}{settings}")

    def start(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.engine = self.test.start("serve", "--config", self.config, "--data", self.data,
                                          "--socket", self.socket, stdout=log, stderr=log)
        self.test.wait_for(self.is_ready, f"host {self.name} to be ready")
        return self

    def is_ready(self):
        if self.engine.poll() is not None:
            self.test.fail(f"host {self.name} ended: {self.log()}")
        return self.run("topic", "list").code == 0

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8") as file:
            return file.read()

    def kill(self):
        self.test.stop(self.engine, signal.SIGKILL)

    def stop(self):
        return self.test.stop(self.engine)

    def run(self, command, *words, stdin=b""):
        return self.test.run_command(command, *words, "--socket", self.socket, stdin=stdin)

    def good(self, command, *words, stdin=b""):
        ran = self.run(command, *words, stdin=stdin)
        self.test.assertEqual(ran.code, 0, ran)
        return ran

    def put(self, topic, values):
        """Acknowledged when committed."""
        report = self.good("put", topic, "--json",
                           stdin="".join(f"{value}\n" for value in values)).json()
        self.test.assertEqual(report["acknowledged"], len(values), report)

    def values(self, topic):
        return [row["value"] for row in self.good("tail", topic, "--json").json_lines()]

    def topics(self):
        return [row["name"] for row in self.good("topic", "list", "--json").json()["topics"]]

    def partition(self, topic, number=0):
        return self.good("topic", "describe", topic, "--json").json()["partitions"][number]

    def register(self, topic, number=0):
        return next(row for row in self.good("peers", "--json").json()["partitions"]
                    if (row["topic"], row["partition"]) == (topic, number))

    def peers(self):
        return self.good("peers", "--json").json()["peers"]

    def peer(self):
        return self.peers()[0]

    def logs(self):
        """Of the first partition of the only topic that it has; the newest is the last."""
        return sorted(glob.glob(os.path.join(self.data, "topics", "*", "0", "*.log")))

    def flip_bit(self, path, position):
        with open(path, "r+b") as file:
            file.seek(position)
            byte = file.read(1)
            file.seek(position)
            file.write(bytes([byte[0] ^ 1]))

    def damage(self):
        """The newest segment's header: a start sees it at once."""
        self.flip_bit(self.logs()[-1], 40)

    def damage_in_the_middle(self):
        """Below what any start looks at: it is met by who reads it."""
        paths = self.logs()
        self.test.assertGreater(len(paths), 2, "the second one is full, and not the last")
        self.flip_bit(paths[1], 5000000)

    def batches(self, topic):
        """Of its log, while it is stopped: each with its checksum, without where it lies."""
        ran = self.test.run_command("dump", self.data, "--topic", topic, "--json")
        self.test.assertEqual(ran.code, 0, ran)
        return [row for row in ran.json_lines() if row["what"] == "batch"]


def free_ports(count):
    """Below those that the kernel gives to connections: a host that is away finds its own again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        end = int(file.read().split()[0])
    found = []
    for port in random.sample(range(1024, end), 1000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
            found.append(port)
        except OSError:
            continue
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports below {end}")


class Hosts(support.Program):
    """Engines that know each other, not started yet."""
    NAMES = ()

    def setUp(self):
        super().setUp()
        ports = dict(zip(self.NAMES, free_ports(len(self.NAMES))))
        self.hosts = [Host(self, name, i, ports) for i, name in enumerate(self.NAMES)]

    def start_all(self):
        for host in self.hosts:
            host.start()
        self.wait_for(lambda: all(peer["connected"] for host in self.hosts
                                  for peer in host.peers()), "the hosts to find each other")

    def wait_for_values(self, host, topic, expected):
        self.wait_for(lambda: host.values(topic) == expected,
                      f"{len(expected)} records of {topic} on {host.name}")

    def wait_for_isr(self, host, topic, names, number=0):
        self.wait_for(lambda: host.partition(topic, number).get("isr") == names,
                      f"{topic}/{number} to have in sync {names}: "
                      f"{host.partition(topic, number)}")


class TwoHosts(Hosts):
    NAMES = ("a", "b")

    def setUp(self):
        super().setUp()
        self.a, self.b = self.hosts

    def start_both(self):
        self.start_all()

    def create(self, name, *words, on=None):
        (on or self.a).good("topic", "create", name, "--replicas", "2", *words)
        self.wait_for(lambda: name in self.a.topics() and name in self.b.topics(),
                      f"topic {name} to be on both")


class ThreeHosts(Hosts):
    NAMES = ("a", "b", "c")
