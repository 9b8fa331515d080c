#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of topics with compression, as people use them: what is put on either of two
hosts is read on both, byte for byte, after a kill and a change of leader; both logs hold the same
batches, and they are smaller; and whoever asks is told by how much."""
import hashlib
import json
import os
import struct
import sys

import hosts
import support

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "torture"))
from pipeline import crc32c  # noqa: E402

GROUP_HEADER, BATCH_HEADER, BATCH_PREFIX = 64, 61, 21


def readings(begin, end):
    return [json.dumps({"sensor": f"press-{i % 7}", "temp": 20 + i * 37 % 100 / 10, "unit": "C",
                        "state": "running"}) for i in range(begin, end)]


def digest(values):
    return hashlib.md5("\n".join(values).encode()).hexdigest()


class Compressed(hosts.TwoHosts):
    def check_both(self, topic, values):
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: digest(host.values(topic)) == digest(values),
                          f"{len(values)} records of {topic} on {host.name}")

    def test_it_is_read_on_both_hosts_whoever_led_and_was_killed(self):
        self.start_both()
        for topic in ("lz4", "zstd"):
            self.create(topic, "--leaders", "a", "--compression", topic)
            self.wait_for_isr(self.a, topic, ["a", "b"])
            self.a.put(topic, readings(0, 2000))
            self.b.put(topic, readings(2000, 4000))  # forwarded
            self.check_both(topic, readings(0, 4000))
        self.a.good("promote", "lz4/0", "--to", "b")
        self.wait_for(lambda: self.b.partition("lz4").get("role") == "leader", "b to lead")
        self.a.put("lz4", readings(4000, 5000))
        self.check_both("lz4", readings(0, 5000))
        self.b.kill()
        self.b.start()
        self.wait_for_isr(self.b, "lz4", ["a", "b"])
        self.a.put("lz4", readings(5000, 5500))
        self.check_both("lz4", readings(0, 5500))
        self.check_told()
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.check_logs("lz4", 5500)
        self.check_logs("zstd", 4000)

    def check_told(self):
        row = self.a.good("topic", "describe", "zstd", "--json").json()
        self.assertEqual(row["compression"], "zstd")
        part = row["partitions"][0]
        self.assertGreater(part["plain_bytes"], 3 * part["appended_bytes"])
        self.assertRegex(self.a.good("topic", "describe", "zstd").out,
                         r"(?m)^compressed by zstd: since the start 0\.[0-3]\d of \d")
        self.assertRegex(self.a.good("topic", "list").out, r"(?m)^lz4 +disk +lz4 +1 ")
        peer = self.a.peer()
        self.assertGreater(peer["sent_plain_bytes"], 2 * peer["sent_batch_bytes"])
        self.assertGreater(peer["received_plain_bytes"], 2 * peer["received_batch_bytes"])
        self.assertRegex(self.a.good("peers").out, r"without compression: "
                         r"0\.[0-4]\d of [\d.]+ kB there, 0\.[0-4]\d of [\d.]+ kB back")

    def check_logs(self, topic, count):
        batches = self.a.batches(topic)
        self.assertEqual(batches, self.b.batches(topic))
        self.assertEqual(sum(batch["records"] for batch in batches), count)
        for host in (self.a, self.b):
            self.assertEqual(self.run_command("verify", host.data).code, 0)

    def said_of(self, topic):
        return self.a.good("topic", "describe", topic, "--json").json()["compression"]

    def test_a_topic_is_as_the_configuration_said_when_it_was_made(self):
        with open(self.a.config, encoding="utf-8") as file:
            before = file.read()
        self.file(self.a.config, before + "compression: lz4\ntopics:\n"
                  "  - {name: raw, compression: none}\n")
        self.a.start()
        for topic in ("made", "raw"):
            self.a.put(topic, readings(0, 500))
        self.assertEqual((self.said_of("made"), self.said_of("raw")), ("lz4", "none"))
        self.a.kill()
        self.file(self.a.config, before)
        self.a.start()
        self.assertEqual((self.said_of("made"), self.said_of("raw")), ("lz4", "none"))
        for topic in ("made", "raw"):
            self.a.put(topic, readings(500, 900))
            self.assertEqual(self.a.values(topic), readings(0, 900))

    def spoil_last_frame(self, topic):
        """What no disk does by itself: a frame that is none, under checksums that are right."""
        rows = self.run_command("dump", self.a.data, "--topic", topic, "--depth", "groups",
                                "--json").json_lines()
        group = [row for row in rows if row["what"] == "group"][-1]
        segment = [row for row in rows if row["what"] == "segment"
                   and row["base_position"] <= group["position"]][-1]
        with open(os.path.join(self.a.data, segment["path"]), "r+b") as file:
            file.seek(group["position"] - segment["base_position"])
            data = bytearray(file.read(group["bytes"]))
            data[GROUP_HEADER + BATCH_HEADER] ^= 1  # of the frame's magic
            prefixes, at = b"", GROUP_HEADER
            while at < GROUP_HEADER + struct.unpack_from("<I", data, 8)[0]:
                end = at + 12 + struct.unpack_from(">i", data, at + 8)[0]
                struct.pack_into(">I", data, at + 17, crc32c(data[at + BATCH_PREFIX:end]))
                prefixes += data[at:at + BATCH_PREFIX]
                at = end
            struct.pack_into("<I", data, 60, 0)
            seed = struct.pack("<Q", int(segment["segment_id"], 16))
            struct.pack_into("<I", data, 60, crc32c(seed + prefixes + data[:GROUP_HEADER]))
            file.seek(group["position"] - segment["base_position"])
            file.write(data)
        return group["base_offset"]

    def test_a_frame_that_does_not_expand_is_named(self):
        self.a.start()
        self.a.good("topic", "create", "t", "--compression", "zstd")
        for begin in (0, 500):
            self.a.put("t", readings(begin, begin + 500))
        self.assertEqual(self.a.stop(), 0)
        offset = self.spoil_last_frame("t")
        verdict = self.run_command("verify", self.a.data)
        self.assertEqual(verdict.code, 1, verdict)
        self.assertIn(f"from offset {offset} on", verdict.out)
        self.assertIn(f"the batch at offset {offset}: its zstd frame does not expand", verdict.out)
        self.assertEqual(self.run_command("dump", self.a.data, "--depth", "groups").code, 0)
        self.assertEqual(self.run_command("dump", self.a.data, "--depth", "records").code, 1)
        self.a.start()  # which takes batches as they are
        ran = self.a.run("tail", "t")
        self.assertNotEqual(ran.code, 0)
        self.assertEqual(ran.out.splitlines(), readings(0, offset))
        self.assertIn(f"partition 0 is damaged at offset {offset}", ran.err)
        self.assertIn("its zstd frame does not expand", ran.err)
        self.assertEqual(self.a.stop(), 0)


if __name__ == "__main__":
    support.main()
