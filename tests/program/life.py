#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold over an engine's life: one at a time, nothing lost over its end, damage is found
and given up only on a person's word, and a program notices a restart as time only."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

import support


class Life(support.Program):
    # ---- start and stop ------------------------------------------------------------------

    def test_the_start_is_said_and_the_end_is_clean(self):
        engine = self.start_engine()
        self.assertRegex(self.engine_log(), r"(?m)^ready$")
        self.assertIn(f"pid {engine.pid}", self.engine_log())
        self.good("put", "t", stdin="a\nb\n")
        self.assertEqual(self.stop(engine), 0)
        self.assertFalse(os.path.exists(self.socket), "no socket is left behind")
        self.start_engine()
        self.assertEqual(self.values("t"), ["a", "b"])

    def test_who_reads_that_it_is_ready_may_stop_it_at_once(self):
        # it was said before signals were caught, so that they killed it
        for _ in range(20):
            engine = self.start("serve", "--data", self.data, "--socket", self.socket,
                                stdout=subprocess.PIPE)
            while engine.stdout.readline() != b"ready\n":
                self.assertIsNone(engine.poll(), "it ended before it was ready")
            self.assertEqual(self.stop(engine), 0)
            engine.stdout.close()

    def test_more_partitions_than_are_counted_go_as_well(self):
        engine = self.start_engine("group_bytes: 64 KiB\nrecord_bytes_max: 64 KiB\n")
        for topic in ("one", "other"):
            self.good("topic", "create", topic, "--partitions", "300", "--storage", "memory",
                      "--tail-bytes", "1MiB")
        self.good("topic", "delete", "other")
        self.assertEqual(self.stop(engine), 0)

    def test_sizes_that_are_no_whole_blocks(self):
        """Segments are; what a person asks for need not be."""
        config = ("first_segment_bytes: 3000001\nsegment_bytes: 17000001\ngroup_bytes: 65537\n"
                  "record_bytes_max: 100001\n")
        engine = self.start_engine(config)
        self.good("topic", "create", "odd", "--segment-bytes", "16777217")
        for topic in ("odd", "default"):
            self.good("put", topic, stdin="x" * 50000 + "\n" + ("y" * 40000 + "\n") * 1000)
        self.assertEqual(self.stop(engine), 0)
        self.start_engine(config)
        for topic in ("odd", "default"):
            self.assertEqual([len(value) for value in self.values(topic)], [50000] + [40000] * 1000)
        sizes = [os.path.getsize(path) for path in glob.glob(f"{self.data}/topics/*/*/*.log")]
        self.assertGreater(len(sizes), 6)
        self.assertEqual([size % 4096 for size in sizes], [0] * len(sizes))

    def test_what_the_host_has_no_room_for_is_refused(self):
        """It would be the kernel that ends some process for it."""
        engine = self.start_engine("tail_bytes: 4 MiB\nfirst_segment_bytes: 4 MiB\n")
        ran = self.client("topic", "create", "t", "--partitions", "1024", "--tail-bytes", "4GiB")
        self.assertEqual(ran.code, 1, ran)
        self.assertRegex(ran.err, r"1024 partitions: their tails take 4\.0 TiB of memory, and "
                         r"this host has \d+\.\d GiB free \(ENOMEM\)\n  do:  ")
        self.good("topic", "create", "t", "--partitions", "128")
        self.assertEqual(self.stop(engine), 0)
        config = self.file("large.yaml", "tail_bytes: 4 GiB\n")
        ran = self.run_command("serve", "--data", self.data, "--socket", self.socket, "--config",
                               config)
        self.assertEqual(ran.code, 3, ran)
        self.assertIn("the partitions of this data directory: their tails take 512.0 GiB", ran.err)
        self.start_engine("tail_bytes: 4 MiB\nfirst_segment_bytes: 1 GiB\n")
        ran = self.client("topic", "create", "u", "--partitions", "1024")
        self.assertEqual(ran.code, 1, ran)
        self.assertRegex(ran.err, r"first segments take 2\.0 TiB of the disk, which has "
                         r"\d+\.\d GiB free \(ENOSPC\)")

    def test_ctrl_c_ends_it_too(self):
        engine = self.start_engine()
        self.assertEqual(self.stop(engine, signal.SIGINT), 0)

    def test_what_is_no_socket_stays_where_it_is(self):
        path = self.file("mine.yaml", "tail_bytes: 1 MiB\n")
        ran = self.run_command("serve", "--data", self.data, "--socket", path)
        self.assertEqual(ran.code, 3, ran)
        self.assertIn("'" + path + "' is there, and is no socket (ENOTSOCK)", ran.err)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "tail_bytes: 1 MiB\n")

    def test_who_has_too_many_connections_is_told(self):
        self.start_engine("connections_per_user: 2\n")
        self.good("put", "t", stdin="a\n")
        follow = [self.start("tail", "t", "--follow", "--socket", self.socket,
                             stdout=subprocess.PIPE) for _ in range(2)]
        for one in follow:
            self.assertEqual(one.stdout.readline(), b"a\n")
        ran = self.client("status")
        self.assertEqual(ran.code, 3, ran)
        self.assertRegex(ran.err, r"user \d+ has 2 connections to the engine already \(EMFILE\)\n"
                         r"  do:  close some, or raise connections_per_user")
        self.assertIn("its user has connections_per_user of them user=", self.engine_log())
        follow[0].kill()
        self.wait_for(lambda: self.client("status").code == 0, "the place that is free")

    def test_the_engines_own_connections_are_no_users(self):
        engine = self.start_engine("connections_per_user: 2\n")
        self.good("topic", "create", "t")
        for i in range(4):
            self.good("rule", "add", self.file("rule.yaml", f"pipeline: p{i}\ninput: t\n"
                      f"parse: json\nkey: $.k\nvalue: $.v\noutput: {{topic: o{i}}}\nalert:\n"
                      "  - {name: hot, when: \"value > 1\", exec: \"/bin/true\"}\n"))
        self.good("put", "t", "--format", "json", "--key", "k", stdin='{"k": "a", "v": 2}\n')
        self.wait_for(lambda: [one["actions"]["done"] for one in self.good(
            "rule", "list", "--json").json()["pipelines"]] == [1] * 4, "four actions")
        self.assertEqual(self.stop(engine), 0)
        self.start_engine("connections_per_user: 2\n")
        self.wait_for(lambda: self.client("rule", "remove", "p3").code == 0, "one to be removed")

    def as_nobody(self, command, *words):
        """Whoever may reach the socket may connect."""
        os.chmod(self.directory, 0o711)
        ran = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", support.MILLRACE,
                              command, *words, "--socket", self.socket], input=b"x\n",
                             capture_output=True, timeout=support.PATIENCE, check=False)
        return support.Ran(ran)

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_others_publish_and_read_and_take_nothing_away(self):
        self.start_engine()
        rule = self.file("rule.yaml", "pipeline: p\ninput: t\nparse: number\noutput: {topic: o}\n"
                         "alert:\n  - {name: hot, when: \"value > 1\", exec: \"/bin/true\"}\n")
        os.chmod(rule, 0o644)
        self.assertEqual(self.as_nobody("put", "t").code, 0)
        self.assertEqual(self.as_nobody("tail", "t").out, "x\n")
        self.assertEqual(self.as_nobody("status").code, 0)
        for words in (("rule", "add", rule), ("rule", "remove", "p"), ("topic", "delete", "t"),
                      ("promote", "t/0")):
            ran = self.as_nobody(*words)
            self.assertEqual(ran.code, 1, ran)
            self.assertRegex(ran.err, r"user 65534 may not do this: \S+ \(EPERM\)\n  why: .*\n"
                             r"  do:  do it as root or as the engine's own user, 0$")
        self.good("rule", "add", rule)
        self.good("rule", "remove", "p")
        self.good("topic", "delete", "t")

    def test_a_second_engine_is_refused_by_the_firsts_pid(self):
        engine = self.start_engine()
        ran = self.run_command("serve", "--data", self.data, "--socket", self.socket + "2")
        self.assertIn(ran.code, (1, 3), ran)
        self.assertIn(str(engine.pid), ran.err)
        self.good("put", "t", stdin="still here\n")

    def test_kill_9_loses_nothing_acknowledged(self):
        engine = self.start_engine()
        self.good("put", "t", stdin="".join(f"{i}\n" for i in range(5000)))
        self.stop(engine, signal.SIGKILL)
        self.start_engine()
        self.assertEqual(self.values("t"), [str(i) for i in range(5000)])

    def test_a_kill_while_a_topic_is_made_leaves_all_of_it_or_nothing(self):
        """Its folders are made first, then its logs, then the catalogue names it."""
        folders = os.path.join(self.data, "topics")
        small = "tail_bytes: 1 MiB\ngroup_bytes: 64 KiB\nrecord_bytes_max: 16 KiB\n"
        engine = self.start_engine(small)
        for i, parts in enumerate((1, 20)):  # logs of it that there are when it is killed
            before = set(os.listdir(folders))
            made = self.start("topic", "create", f"t{i}", "--partitions", "40", "--socket",
                              self.socket, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for(lambda: len(set(os.listdir(folders)) - before) == 1, "its folder")
            topic = os.path.join(folders, (set(os.listdir(folders)) - before).pop())
            self.wait_for(lambda: len(glob.glob(f"{topic}/*/*.log")) >= parts, f"{parts} logs")
            self.stop(engine, signal.SIGKILL)
            made.kill()
            engine = self.start_engine(small)
            listed = self.good("topic", "list", "--json").json()["topics"]
            there = [len(row["partitions"]) for row in listed if row["name"] == f"t{i}"]
            self.assertIn(there, ([], [40]))
            self.assertEqual(os.path.exists(topic), bool(there), "what nobody names is gone")
            self.good("put", f"t{i}", stdin="it works\n")
            self.assertEqual(self.values(f"t{i}"), ["it works"])

    SMALL = "tail_bytes: 1 MiB\ngroup_bytes: 64 KiB\nrecord_bytes_max: 16 KiB\n"

    def test_others_are_served_while_a_topic_is_made(self):
        self.start_engine(self.SMALL)
        makes = self.start("topic", "create", "big", "--partitions", "200", "--socket",
                           self.socket, stdout=subprocess.PIPE)
        self.wait_for(lambda: "is being made" in self.client("topic", "describe", "big").err,
                      "it to be begun")
        self.good("put", "other", stdin="a\n")
        self.assertEqual(self.values("other"), ["a"])
        self.good("topic", "create", "small")
        for words in (("topic", "create", "big"), ("topic", "delete", "big"), ("tail", "big")):
            ran = self.client(*words)
            self.assertEqual(ran.code, 1, ran)
            self.assertRegex(ran.err, r"topic 'big' is being made: \d+ of 200 partitions are "
                             r"\(EAGAIN\)\n  do:  wait a moment$")
        self.assertIsNone(makes.poll(), "it was quicker than all of this")
        self.assertIn("topic big, id", makes.communicate()[0].decode())
        self.assertEqual(makes.returncode, 0)
        self.good("put", "big", stdin="".join(f"{i}\n" for i in range(1000)))
        self.assertEqual(len(self.values("big")), 1000)

    def test_an_end_comes_before_a_topic_that_is_made(self):
        engine = self.start_engine(self.SMALL)
        makes = self.start("topic", "create", "big", "--partitions", "200", "--socket",
                           self.socket, stderr=subprocess.PIPE)
        self.wait_for(lambda: "is being made" in self.client("topic", "describe", "big").err,
                      "it to be begun")
        self.assertEqual(self.stop(engine), 0)
        self.assertIn(b"topic 'big' cannot be made: the engine is stopping (EIO)",
                      makes.communicate()[1])
        self.assertEqual(os.listdir(os.path.join(self.data, "topics")), [])
        self.start_engine(self.SMALL)
        self.assertEqual(self.good("topic", "list", "--json").json()["topics"], [])

    def test_a_restart_is_only_time_for_a_producer(self):
        engine = self.start_engine()
        put = self.start("put", "t", "--rate", "2000", "--json", "--socket", self.socket,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        put.stdin.write("".join(f"{i}\n" for i in range(6000)).encode())
        put.stdin.close()
        put.stdin = None
        for _ in range(3):
            time.sleep(0.4)
            self.stop(engine, signal.SIGKILL)
            engine = self.start_engine()
        report = json.loads(put.stdout.read())
        self.assertEqual(put.wait(timeout=support.PATIENCE), 0)
        self.assertEqual((report["published"], report["acknowledged"], report["lost"]),
                         (6000, 6000, 0))
        self.assertEqual(self.values("t"), [str(i) for i in range(6000)])

    def test_a_restart_is_only_time_for_a_consumer(self):
        engine = self.start_engine()
        self.good("put", "t", stdin="a\n")
        tail = self.start("tail", "t", "--follow", "--format", "raw", "--socket", self.socket,
                          stdout=subprocess.PIPE)
        self.assertEqual(tail.stdout.readline(), b"a\n")
        self.stop(engine, signal.SIGKILL)
        self.start_engine()
        self.good("put", "t", stdin="b\n")
        self.assertEqual(tail.stdout.readline(), b"b\n")
        self.assertEqual(self.stop(tail, signal.SIGINT), 0)

    # ---- looking at it offline -----------------------------------------------------------

    def fill(self):
        """A stopped engine's directory with 20,000 records, in many groups and two segments."""
        engine = self.start_engine()
        for part in range(4):
            self.good("put", "t", stdin="".join(f"{part}-{i}-{'x' * 900}\n" for i in range(5000)))
        self.assertEqual(self.stop(engine), 0)

    def test_offline_commands_keep_off_a_running_engine(self):
        engine = self.start_engine()
        for command in ("verify", "dump", "repair"):
            ran = self.run_command(command, self.data)
            self.assertEqual(ran.code, 1, ran)
            self.assertIn(f"pid {engine.pid}", ran.err)

    def test_a_good_directory_is_verified(self):
        self.fill()
        ran = self.run_command("verify", self.data)
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("20000 records", ran.out)
        verdict = self.run_command("verify", self.data, "--json").json()
        mine = [one for one in verdict["partitions"] if one["topic"] == "t"]
        self.assertTrue(verdict["ok"])
        self.assertEqual((mine[0]["records"], mine[0]["log_end_offset"]), (20000, 20000))
        self.assertIn("nothing is damaged", self.run_command("repair", self.data).out)

    def test_a_dump_has_everything(self):
        self.fill()
        rows = self.run_command("dump", self.data, "--topic", "t", "--depth", "records",
                                "--json").json_lines()
        records = [row for row in rows if "offset" in row and "what" not in row]
        self.assertEqual([row["offset"] for row in records], list(range(20000)))
        groups = [row for row in rows if row.get("what") == "group"]
        batches = [row for row in rows if row.get("what") == "batch"]
        self.assertEqual(sum(row["records"] for row in groups), 20000)
        self.assertEqual(sum(row["records"] for row in batches), 20000)
        self.assertEqual(sum(row["batches"] for row in groups), len(batches))
        numbers = [row["number"] for row in groups]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(groups))))
        text = self.run_command("dump", self.data, "--depth", "segments").out
        self.assertIn("segment topics/", text)
        self.assertNotIn("group", text)
        self.assertEqual(self.run_command("dump", self.data, "--topic", "no").code, 1)

    def damage(self):
        """Flips one bit in the middle of the log; returns the offset of the group that it hits."""
        rows = self.run_command("dump", self.data, "--topic", "t", "--depth", "groups",
                                "--json").json_lines()
        groups = [row for row in rows if row.get("what") == "group"]
        segments = [row for row in rows if row.get("what") == "segment"]
        victim = groups[len(groups) // 2]
        home = [row for row in segments if row["base_position"] <= victim["position"]][-1]
        path = os.path.join(self.data, home["path"])
        with open(path, "r+b") as file:
            file.seek(victim["position"] - home["base_position"] + victim["bytes"] // 3)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        return victim["base_offset"]

    def test_a_flipped_bit_is_found_by_name_and_offset(self):
        self.fill()
        offset = self.damage()
        ran = self.run_command("verify", self.data)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn(f"from offset {offset} on", ran.out)
        self.assertRegex(ran.out, r"\d{20}\.log")
        verdict = self.run_command("verify", self.data, "--json").json()
        self.assertFalse(verdict["ok"])
        mine = [one for one in verdict["partitions"] if one["topic"] == "t"][0]
        self.assertEqual((mine["state"], mine["damage_offset"]), ("damaged", offset))
        self.assertEqual(self.run_command("dump", self.data).code, 1)
        again = mine["readable_again_offset"]
        self.assertIn(f"readable again from offset {again} on: millrace tail t --partition 0 "
                      f"--from {again}\n", ran.out)
        self.start_engine()
        ran = self.client("tail", "t", "--json")
        self.assertEqual(ran.code, 1, ran.err)
        self.assertIn(len(ran.json_lines()), range(offset, again), "up to the batch that is hit")
        rows = self.good("tail", "t", "--partition", "0", "--from", str(again),
                         "--json").json_lines()
        self.assertEqual([row["offset"] for row in rows], list(range(again, 20000)))

    def test_repair_gives_up_only_what_it_is_told_to(self):
        self.fill()
        offset = self.damage()
        before = self.bytes_of_the_log()
        ran = self.run_command("repair", self.data)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn(f"records from offset {offset} on", ran.out)
        self.assertIn("nothing was changed", ran.out)
        self.assertEqual(self.bytes_of_the_log(), before)
        ran = self.run_command("repair", self.data, "--accept-loss", "--json")
        self.assertEqual(ran.code, 0, ran)
        loss = ran.json()["losses"][0]
        self.assertEqual((loss["offset"], loss["records"]), (offset, 20000 - offset))
        self.assertGreater(loss["bytes"], 0)
        self.assertEqual(self.run_command("verify", self.data).code, 0)
        self.start_engine()
        kept = [f"{i // 5000}-{i % 5000}-{'x' * 900}" for i in range(offset)]
        self.assertEqual(self.values("t"), kept)
        self.good("put", "t", stdin="goes on\n")
        rows = self.good("tail", "t", "--from", str(offset), "--json").json_lines()
        self.assertEqual([(row["offset"], row["value"]) for row in rows], [(offset, "goes on")])

    def bytes_of_the_log(self):
        content = {}
        for path in glob.glob(os.path.join(self.data, "topics", "*", "*", "*.log")):
            with open(path, "rb") as file:
                content[path] = file.read()
        return content

    # ---- the demo ------------------------------------------------------------------------

    def test_the_demo_shows_this_host_and_leaves_nothing(self):
        ran = self.run_command("demo", "--seconds", "3")
        self.assertEqual(ran.code, 0, ran)
        self.assertRegex(ran.out, r"(?m)^ready$")
        found = re.search(r"(?m)^records   (\d+) of topic 'host', (\d+) heartbeats", ran.out)
        self.assertGreater(int(found.group(1)), 0)
        self.assertGreater(int(found.group(2)), 0)
        self.assertIn("cpu.total.busy", ran.out)
        self.assertNotIn("\x1b", ran.out)
        self.assertEqual(os.listdir(self.directory), [])

    def test_the_demo_ends_cleanly_on_a_signal(self):
        demo = self.start("demo", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while demo.stdout.readline() != b"ready\n":
            self.assertIsNone(demo.poll())
        self.assertEqual(self.stop(demo, signal.SIGINT), 0)
        self.assertEqual(os.listdir(self.directory), [])

    def test_the_demo_keeps_a_directory_that_was_named(self):
        ran = self.run_command("demo", "--seconds", "2", "--data", self.data)
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual(self.run_command("verify", self.data).code, 0)
        shutil.rmtree(self.data)


if __name__ == "__main__":
    support.main()
