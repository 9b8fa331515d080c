#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The torture of many hosts does to them what it says: links are cut one way and healed, what is
delayed is late, a disk is full and is not. Without engines."""
import os
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "program"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402  (the path comes first)
import support  # noqa: E402

# Sends datagrams for a while, or says whether one came.
SEND = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(10):
    try:
        s.sendto(b"x", (sys.argv[1], 9))
    except OSError:
        pass
    time.sleep(0.02)
"""
RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 9))
print("listening", flush=True)
sys.stdin.readline()  # all is sent
s.settimeout(1)
try:
    s.recv(10)
    print("came")
except TimeoutError:
    print("nothing")
"""
ECHO = """
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 7420))
s.listen()
print("listening", flush=True)
c = s.accept()[0]
while True:
    data = c.recv(100)
    if not data:
        break
    c.sendall(data)
"""
TIME = """
import socket, time
s = socket.create_connection(("127.0.0.1", 7421))
for _ in range(2):
    began = time.monotonic()
    s.sendall(b"x")
    assert s.recv(1) == b"x"
print(int((time.monotonic() - began) * 1000))
"""


class Torture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(3, "/bin/false", small_disk=1)
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        directory = cls.cluster.directory
        cls.cluster.__exit__(None, None, None)
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
        assert f"mr{os.getpid()}" not in left.stdout, left.stdout
        assert not os.path.exists(directory)

    def reaches(self, sender, receiver):
        there = subprocess.Popen(receiver.inside(sys.executable, "-c", RECEIVE),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        there.stdout.readline()
        subprocess.run(sender.inside(sys.executable, "-c", SEND,
                                     receiver.addresses[sender.name]), check=True)
        said = there.communicate("look\n", timeout=30)[0].strip()
        return said == "came"

    def test_a_cut_is_one_way_until_it_is_healed(self):
        a, b, c = self.cluster.hosts
        self.assertTrue(self.reaches(a, b))
        self.cluster.cut(a, b)
        self.assertFalse(self.reaches(a, b))
        self.assertTrue(self.reaches(b, a))
        self.assertTrue(self.reaches(a, c))
        self.cluster.cut(b, a)
        self.assertFalse(self.reaches(b, a))
        self.cluster.heal()
        self.assertTrue(self.reaches(a, b))
        self.assertTrue(self.reaches(b, a))

    def round_trip_ms(self):
        a, b = self.cluster.hosts[:2]
        there = subprocess.Popen(b.inside(sys.executable, "-c", ECHO), stdout=subprocess.PIPE,
                                 text=True)
        there.stdout.readline()
        said = subprocess.run(a.inside(sys.executable, "-c", TIME), capture_output=True, text=True,
                              check=True, timeout=20)
        there.communicate(timeout=10)
        return int(said.stdout)

    def test_what_is_delayed_is_late_both_ways(self):
        self.assertLess(self.round_trip_ms(), 200)
        self.cluster.delay(150)
        self.assertGreaterEqual(self.round_trip_ms(), 300)
        self.cluster.delay(0)

    def test_a_full_disk_is_full_until_it_is_freed(self):
        b = self.cluster.hosts[1]
        b.fill_disk()
        with self.assertRaises(OSError):
            with open(os.path.join(b.directory, "more"), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 1 << 20)
        b.free_disk()
        with open(os.path.join(b.directory, "more"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 1 << 20)


if __name__ == "__main__":
    try:
        cluster.require()
    except cluster.Missing as missing:
        print(f"SKIPPED: no host was tortured: {missing}")
        sys.exit(77)
    support.main()
