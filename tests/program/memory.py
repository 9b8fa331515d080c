#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of a topic in memory: it says what it does not promise, no acks level is weaker
than its name, who falls behind or comes after a restart is told what is gone, and its offsets never
go back."""
import glob
import json
import os
import signal
import subprocess
import time

import support

BLOCK = 1 << 36  # offsets that a start reserves


class Memory(support.Program):
    def create(self, name="quotes", *words):
        return self.good("topic", "create", name, "--storage", "memory", *words)

    def put(self, text, name="quotes"):
        return self.good("put", name, "--acks", "memory", "--json", stdin=text).json()

    def offsets(self, name="quotes"):
        """First and last offset kept, and that all between are there."""
        rows = self.good("tail", name, "--json").json_lines()
        found = [row["offset"] for row in rows]
        self.assertEqual(found, list(range(found[0], found[0] + len(found))))
        return found[0], found[-1]

    def segments(self):
        return glob.glob(os.path.join(self.data, "topics", "**", "*.log"), recursive=True)

    # ---- making one ----------------------------------------------------------------------

    def test_it_says_what_it_does_not_promise(self):
        self.start_engine()
        said = self.create("quotes", "--tail-bytes", "4MiB").out
        for part in ("gone when the engine or this host stops", "4194304 bytes",
                     "overwritten", "told which offsets it missed", "acks: memory"):
            self.assertIn(part, said)
        self.assertIn("gone when", self.good("topic", "describe", "quotes").out)
        self.assertRegex(self.good("topic", "list").out, r"(?m)^quotes +memory +none +1 ")
        row = self.good("topic", "describe", "quotes", "--json").json()
        self.assertEqual((row["storage"], row["tail_bytes"]), ("memory", 4 << 20))
        self.assertNotIn("flushed_offset", row["partitions"][0], "nothing of it ever is")

    def test_other_topics_are_on_disk(self):
        self.start_engine()
        self.good("topic", "create", "a")
        self.good("topic", "create", "b", "--storage", "disk", "--tail-bytes", "8MiB")
        rows = self.good("topic", "list", "--json").json()["topics"]
        self.assertEqual([(row["storage"], row["tail_bytes"]) for row in rows],
                         [("disk", 16 << 20), ("disk", 8 << 20)])
        self.good("put", "b", stdin="x\n")
        self.assertEqual(self.values("b"), ["x"])

    def test_wrong_words_are_refused(self):
        self.start_engine()
        for words, code, said in (
                (("--storage", "paper"), 2, "expected disk or memory"),
                (("--storage", "memory", "--retention", "7d"), 2, "--retention"),
                (("--storage", "memory", "--retention-bytes", "1GiB"), 2, "--retention-bytes"),
                (("--storage", "memory", "--segment-bytes", "1GiB"), 2, "--segment-bytes"),
                (("--storage", "memory", "--tail-bytes", "lots"), 2, "--tail-bytes"),
                (("--storage", "memory", "--tail-bytes", "3MiB"), 2, "power of two"),
                (("--storage", "memory", "--tail-bytes", "64KiB"), 2, "--tail-bytes"),
                (("--storage", "memory", "--tail-bytes", "1MiB"), 1, "a group needs")):
            ran = self.client("topic", "create", "q", *words)
            self.assertEqual(ran.code, code, (words, ran))
            self.assertIn(said, ran.err)
        ran = self.client("topic", "delete", "q", "--storage", "memory")
        self.assertEqual(ran.code, 2, ran)
        self.assertEqual(self.good("topic", "list", "--json").json()["topics"], [])

    def test_the_configuration_makes_one(self):
        self.start_engine("topics:\n  - name: quotes\n    storage: memory\n"
                          "    tail_bytes: 4 MiB\n    partitions: 2\n")
        self.put("a\nb\n")
        row = self.good("topic", "describe", "quotes", "--json").json()
        self.assertEqual((row["storage"], row["tail_bytes"], len(row["partitions"])),
                         ("memory", 4 << 20, 2))

    # ---- acks ----------------------------------------------------------------------------

    def test_stronger_acks_are_refused_at_the_door(self):
        self.start_engine()
        self.create()
        for words in ((), ("--acks", "committed"), ("--acks", "disk")):
            ran = self.client("put", "quotes", *words, stdin="x\n")
            self.assertEqual(ran.code, 1, ran)
            for part in ("'quotes'", "storage memory", words[-1] if words else "committed",
                         "--acks memory", "MR_ACKS_MEMORY"):
                self.assertIn(part, ran.err)
        self.assertEqual(self.good("tail", "quotes").out, "", "nothing came in")
        ran = self.client("put", "quotes", "--acks", "memory", stdin="x\n")
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("1 acknowledged as memory", ran.out)

    # ---- reading -------------------------------------------------------------------------

    def test_what_is_put_is_read_by_any_beginning(self):
        self.start_engine()
        self.create()
        self.put("a\nb\nc\n")
        self.assertEqual(self.values("quotes"), ["a", "b", "c"])
        self.assertEqual(self.values("quotes", "--from", "1"), ["b", "c"])
        self.assertEqual(self.values("quotes", "--from", "2020-01-01"), ["a", "b", "c"])
        self.assertEqual(self.values("quotes", "--view", "appended"), ["a", "b", "c"])

    def test_a_consumer_that_is_overtaken_is_told_what_it_missed(self):
        self.start_engine()
        self.create("quotes", "--tail-bytes", "2MiB")
        self.put("".join(f"{i}\n" for i in range(10)))
        self.assertEqual(self.good("tail", "quotes", "--group", "g", "--count", "5").out,
                         "0\n1\n2\n3\n4\n")
        report = self.put("".join(f"{i:0100d}\n" for i in range(200000)))
        self.assertEqual(report["acknowledged"], 200000, "nobody waits for a consumer")
        first, last = self.offsets()
        self.assertGreater(first, 5)
        self.assertEqual(last, 200009)
        self.assertGreater((last - first) * 100, 1 << 20, "the tail is used")
        ran = self.client("tail", "quotes", "--group", "g")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("has no offset 5", ran.err)
        self.assertIn(f"it has {first} to {last + 1}", ran.err)
        self.assertIn(f"offsets 5 to {first - 1} are no longer kept", ran.err)
        self.assertEqual(len(self.good("tail", "quotes", "--from", str(first)).out.splitlines()),
                         last - first + 1)

    def test_there_are_no_files_of_it(self):
        engine = self.start_engine()
        self.create()
        self.put("x" * 1000 + "\n")
        self.assertEqual(self.segments(), [])
        self.stop(engine)
        self.assertEqual(self.segments(), [])
        ran = self.run_command("verify", self.data)
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("quotes/0: in memory only", ran.out)
        verdict = self.run_command("verify", self.data, "--json").json()
        self.assertEqual([one["state"] for one in verdict["partitions"]], ["memory"])
        ran = self.run_command("repair", self.data)
        self.assertEqual((ran.code, ran.out), (0, "nothing is damaged\n"))
        ran = self.run_command("dump", self.data, "--topic", "quotes")
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("in memory only", ran.out)
        rows = self.run_command("dump", self.data, "--json").json_lines()
        self.assertEqual([row["what"] for row in rows], ["partition", "nothing"])

    # ---- restarts ------------------------------------------------------------------------

    def test_offsets_go_on_above_after_every_end(self):
        engine = self.start_engine()
        self.create()
        self.good("topic", "create", "disk")
        self.good("put", "disk", stdin="kept\n")
        highest = -1
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            self.put("a\nb\n")
            first, last = self.offsets()
            self.assertGreater(first, highest)
            self.assertEqual(last, first + 1)
            highest = last
            self.stop(engine, how)
            engine = self.start_engine()
            self.assertEqual(self.good("tail", "quotes").out, "", "the records are gone")
        self.assertEqual(self.values("disk"), ["kept"])
        row = self.good("topic", "describe", "quotes", "--json").json()["partitions"][0]
        self.assertEqual(row["log_start_offset"], 4 * BLOCK)
        self.assertEqual(row["log_end_offset"], 4 * BLOCK)

    def test_a_kill_right_after_it_was_made_reuses_no_offset(self):
        engine = self.start_engine()
        self.create()
        self.put("a\n")
        self.stop(engine, signal.SIGKILL)
        self.start_engine()
        self.put("b\n")
        self.assertEqual(self.offsets(), (BLOCK, BLOCK))

    def test_a_group_is_told_what_a_restart_took(self):
        engine = self.start_engine()
        self.create()
        self.put("a\nb\nc\n")
        self.assertEqual(self.good("tail", "quotes", "--group", "g", "--count", "2").out, "a\nb\n")
        self.stop(engine)
        self.start_engine()
        self.put("d\n")
        ran = self.client("tail", "quotes", "--group", "g")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("has no offset 2", ran.err)
        self.assertIn(f"it has {BLOCK} to {BLOCK + 1}", ran.err)

    def test_a_consumer_that_waits_is_told_too(self):
        engine = self.start_engine()
        self.create()
        self.put("a\n")
        tail = self.start("tail", "quotes", "--follow", "--format", "raw", "--socket", self.socket,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(tail.stdout.readline(), b"a\n")
        self.stop(engine, signal.SIGKILL)
        self.start_engine()
        self.assertEqual(tail.wait(timeout=support.PATIENCE), 1)
        self.assertIn(b"has no offset 1", tail.stderr.read())

    def test_a_producer_is_told_how_many_a_kill_cost(self):
        engine = self.start_engine()
        self.create()
        put = self.start("put", "quotes", "--acks", "memory", "--rate", "2000", "--json",
                         "--socket", self.socket, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        put.stdin.write("".join(f"{i}\n" for i in range(4000)).encode())
        put.stdin.flush()
        self.wait_for(lambda: self.client("tail", "quotes").out != "", "the first records")
        time.sleep(0.3)
        self.stop(engine, signal.SIGKILL)
        self.start_engine()
        put.stdin.write("".join(f"{i}\n" for i in range(4000, 8000)).encode())
        put.stdin.close()
        put.stdin = None
        report = json.loads(put.stdout.read())
        self.assertEqual(put.wait(timeout=support.PATIENCE), 4, "done, but not without a loss")
        self.assertEqual((report["published"], report["acknowledged"]), (8000, 8000))
        self.assertGreater(report["lost"], 0)
        kept = self.values("quotes")
        self.assertEqual(kept, [str(i) for i in range(report["lost"], 8000)],
                         "what is not counted as lost is there, once and in order")
        self.assertGreaterEqual(self.offsets()[0], BLOCK)

    def test_a_name_that_is_made_again_inherits_nothing(self):
        self.start_engine()
        self.create()
        self.put("a\n")
        self.good("topic", "delete", "quotes")
        self.good("put", "quotes", stdin="b\n")
        row = self.good("topic", "describe", "quotes", "--json").json()
        self.assertEqual(row["storage"], "disk")
        self.assertEqual(self.values("quotes"), ["b"])


if __name__ == "__main__":
    support.main()
