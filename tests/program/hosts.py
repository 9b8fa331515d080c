# SPDX-License-Identifier: Apache-2.0
"""Two engines that know each other, for tests of the whole program."""
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

    def peer(self):
        return self.good("peers", "--json").json()["peers"][0]

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


class TwoHosts(support.Program):
    """Engines a and b, not started yet."""

    def setUp(self):
        super().setUp()
        names = ("a", "b")
        ports = dict(zip(names, free_ports(len(names))))
        self.a, self.b = (Host(self, name, i, ports) for i, name in enumerate(names))

    def start_both(self):
        self.a.start()
        self.b.start()
        self.wait_for(lambda: self.a.peer()["connected"] and self.b.peer()["connected"],
                      "the hosts to find each other")

    def create(self, name, *words, on=None):
        (on or self.a).good("topic", "create", name, "--replicas", "2", *words)
        self.wait_for(lambda: name in self.a.topics() and name in self.b.topics(),
                      f"topic {name} to be on both")

    def wait_for_values(self, host, topic, expected):
        self.wait_for(lambda: host.values(topic) == expected,
                      f"{len(expected)} records of {topic} on {host.name}")

    def wait_for_isr(self, host, topic, names, number=0):
        self.wait_for(lambda: host.partition(topic, number).get("isr") == names,
                      f"{topic}/{number} to have in sync {names}: "
                      f"{host.partition(topic, number)}")
