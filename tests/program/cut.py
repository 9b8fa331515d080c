#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of a log that was truncated: a segment ends where the next one begins, whatever
its file still holds behind. What is looked at offline, what an engine finds, and what consumers
read out of segments is one and the same log."""
import glob
import json
import os
import shutil
import signal
import subprocess

import pipelines
import support

CUT_LOG = os.environ["CUT_LOG"]


class Cut(support.Program):
    def fill(self):
        """Two runs of an engine, 12,000 records; keeps the first run's checkpoint aside."""
        for run, count in enumerate((4000, 8000)):
            engine = self.start_engine()
            for part in range(4):
                self.good("put", "t", stdin="".join(
                    f"{run}-{part}-{i}-{'x' * 900}\n" for i in range(count // 4)))
            self.assertEqual(self.stop(engine), 0)
            if run == 0:
                self.kept = self.path("kept")
                os.mkdir(self.kept)
                for name in ("checkpoint.0", "checkpoint.1"):
                    shutil.copy(os.path.join(self.data, name), self.kept)
        rows = self.dump("records")
        self.before = [row["value"] for row in rows if "offset" in row and "what" not in row]
        self.assertEqual(len(self.before), 12000)
        self.log = os.path.dirname(rows[1]["path"])

    def path(self, name):
        return os.path.join(self.directory, name)

    def dump(self, depth, code=0):
        ran = self.run_command("dump", self.data, "--topic", "t", "--depth", depth, "--json")
        self.assertEqual(ran.code, code, ran)
        return ran.json_lines()

    def groups(self):
        """Of the second run: below that is the checkpoint's, and never cut."""
        return [row for row in self.dump("groups")
                if row.get("what") == "group" and row["base_offset"] >= 4000]

    def cut(self, offset):
        ran = None

        def is_cut():  # who was killed may hold its files a moment longer
            nonlocal ran
            ran = subprocess.run([CUT_LOG, self.data, self.log, str(offset)], capture_output=True,
                                 timeout=support.PATIENCE, check=False)
            return b"is locked by another" not in ran.stderr

        self.wait_for(is_cut, "the log to be free")
        self.assertEqual(ran.returncode, 0, ran)

    def set_checkpoint(self, older):
        """One from before the cut, or none: one behind it would be damage."""
        for name in ("checkpoint.0", "checkpoint.1"):
            path = os.path.join(self.data, name)
            if older:
                shutil.copy(os.path.join(self.kept, name), path)
            elif os.path.exists(path):
                os.remove(path)

    def check(self, end):
        """Offline the log is whole and ends at 'end'."""
        ran = self.run_command("verify", self.data, "--json")
        self.assertEqual(ran.code, 0, ran)
        mine = [one for one in ran.json()["partitions"] if one["topic"] == "t"][0]
        self.assertEqual((mine["state"], mine["records"], mine["log_start_offset"],
                          mine["log_end_offset"]), ("ok", end, 0, end))
        self.assertIn("nothing is damaged", self.run_command("repair", self.data).out)
        rows = self.dump("records")
        records = [row for row in rows if "offset" in row and "what" not in row]
        self.assertEqual([row["offset"] for row in records], list(range(end)))
        self.assertEqual([row["value"] for row in records], self.before[:end])
        self.assertEqual((rows[-1]["what"], rows[-1]["offset"], rows[-1]["damaged"]),
                         ("end", end, False))

    def segments(self):
        return sorted(glob.glob(os.path.join(self.data, self.log, "*.log")))

    def go_on(self, end):
        """An engine takes the log and goes on; consumers read all of it, out of segments."""
        engine = self.start_engine()
        self.assertEqual(self.values("t"), self.before[:end])
        for _ in range(8): # an older checkpoint gives producers' ids out again
            self.good("put", "other", stdin="x\n")
        more = [f"more-{i}" for i in range(300)]
        self.good("put", "t", stdin="\n".join(more) + "\n")
        self.before = self.before[:end] + more
        self.stop(engine, signal.SIGKILL)
        engine = self.start_engine()
        self.assertEqual(self.values("t"), self.before)
        for offset in (0, end - 700, end - 1, end, end + 1, end + 299):
            rows = self.good("tail", "t", "--from", str(offset), "--json").json_lines()
            self.assertEqual([row["offset"] for row in rows], list(range(offset, end + 300)))
            self.assertEqual([row["value"] for row in rows], self.before[offset:])
        self.assertEqual(self.stop(engine), 0)
        self.check(end + 300)

    def test_cut_in_the_middle_of_a_segment(self):
        self.fill()
        groups = self.groups()
        batches = [row["base_offset"] for row in self.dump("batches")
                   if row.get("what") == "batch"]
        middle = groups[len(groups) * 3 // 4]
        inside = [offset for offset in batches
                  if middle["base_offset"] < offset < middle["base_offset"] + middle["records"]]
        end = inside[len(inside) // 2] if inside else middle["base_offset"]
        count = len(self.segments())
        self.cut(end)
        self.assertGreaterEqual(len(self.segments()), min(2, count))
        self.set_checkpoint(True)
        self.check(end)
        self.go_on(end)

    def test_cut_twice_each_inside_a_segment_and_no_checkpoint(self):
        self.fill()
        for part in (3, 1):
            groups = self.groups()
            end = groups[len(groups) * part // 4]["base_offset"]
            self.cut(end)
            self.set_checkpoint(False)
            self.check(end)
        self.set_checkpoint(True)
        self.go_on(end)

    def test_damage_behind_the_cut_is_none(self):
        self.fill()
        groups = self.groups()
        middle = groups[len(groups) * 3 // 4]
        home = [path for path in self.segments()
                if int(os.path.basename(path)[:20]) <= middle["base_offset"]][-1]
        base = [row for row in self.dump("segments")
                if row.get("what") == "segment" and home.endswith(row["path"])][0]
        self.cut(middle["base_offset"])
        self.set_checkpoint(True)
        with open(home, "r+b") as file:
            file.seek(middle["position"] - base["base_position"] + 100)
            file.write(b"damage")
        self.check(middle["base_offset"])

    def test_where_the_next_segment_is_damaged_what_was_cut_does_not_come_back(self):
        self.fill()
        groups = self.groups()
        end = groups[len(groups) * 3 // 4]["base_offset"]
        self.cut(end)
        self.set_checkpoint(True)
        self.assertEqual(int(os.path.basename(self.segments()[-1])[:20]), end)
        with open(self.segments()[-1], "r+b") as file:
            file.seek(60)
            file.write(b"damage")
        verdict = self.run_command("verify", self.data, "--json").json()
        mine = [one for one in verdict["partitions"] if one["topic"] == "t"][0]
        self.assertEqual((mine["state"], mine["damage_offset"]), ("damaged", end))
        rows = self.dump("records", 1)
        records = [row for row in rows if "offset" in row and "what" not in row]
        self.assertEqual([row["value"] for row in records], self.before[:end])
        ran = self.run_command("repair", self.data, "--accept-loss")
        self.assertEqual(ran.code, 0, ran)
        self.check(end)
        self.go_on(end)


class OutputCut(Cut):
    """The output of a pipeline lost its end, and what the pipeline wrote down knows of more."""

    TOPICS = (pipelines.TOPICS[0], pipelines.TOPICS[2])
    CONFIG = "pipeline_checkpoint: 100 ms\n"

    def put(self, count):
        self.assertEqual(self.try_to_put(count).code, 0)

    def try_to_put(self, count):
        lines = [json.dumps({"id": "k", "temp": i % 7 if i % 50 else "what", "n": "x" * 400})
                 for i in range(count)]
        return self.client("put", "sensors", "--format", "json", "--key", "id",
                           stdin="\n".join(lines) + "\n")

    def row(self):
        return self.good("rule", "list", "--json").json()["pipelines"][0]

    def is_done(self):
        part = self.row()["partitions"][0]
        return part["lag"] == 0 and part["checkpoint_offset"] == part["offset"] > 0

    def said(self):
        return [self.good("tail", topic, "--json").out for topic in self.TOPICS]

    def fill_and_cut(self, *create):
        self.engine = self.start_engine(self.CONFIG)
        self.good("topic", "create", "sensors", *create)
        self.good("rule", "add", self.file("rule.yaml", pipelines.RULE), "--from", "earliest")
        self.put(3000)
        self.wait_for(self.is_done, "the pipeline to have read all")
        self.assertEqual(self.stop(self.engine), 0)
        self.kept = self.path("kept")
        os.mkdir(self.kept)
        for name in ("checkpoint.0", "checkpoint.1"):
            shutil.copy(os.path.join(self.data, name), self.kept)
        self.engine = self.start_engine(self.CONFIG)
        self.put(3000)
        self.wait_for(self.is_done, "the pipeline to have read the rest")

    def lose_ends(self):
        self.before = self.said()
        self.assertEqual(self.stop(self.engine, signal.SIGKILL), -signal.SIGKILL)
        for topic in self.TOPICS:
            ran = self.run_command("dump", self.data, "--topic", topic, "--depth", "groups",
                                   "--json")
            groups = [one for one in ran.json_lines() if one.get("what") == "group"]
            log = next(os.path.dirname(one["path"]) for one in ran.json_lines() if "path" in one)
            self.log = log
            self.cut(groups[-2]["base_offset"])
        self.set_checkpoint(older=True)
        self.engine = self.start_engine(self.CONFIG)

    def test_what_the_output_lost_is_said_again(self):
        self.fill_and_cut()
        self.lose_ends()
        self.wait_for(self.is_done, "the pipeline to have said it again")
        self.assertEqual(self.said(), self.before)
        self.assertIn("a pipeline's output is shorter than it was", self.engine_log())
        # the older checkpoint gives a producer's number out again, which is refused
        self.wait_for(lambda: self.try_to_put(50).code == 0, "a producer of its own")
        self.wait_for(self.is_done, "what follows")
        self.assertEqual(len(self.said()[0].splitlines()), len(self.before[0].splitlines()) + 49)

    def test_where_the_input_is_gone_too_the_loss_is_said(self):
        self.fill_and_cut("--segment-bytes", "16MiB", "--retention-bytes", "17MiB")
        line = json.dumps({"id": "k", "temp": 5, "more": "x" * 100000}) + "\n"
        self.good("put", "sensors", "--format", "json", "--key", "id", stdin=line * 500)
        self.wait_for(lambda: self.good("topic", "describe", "sensors", "--json").json()
                      ["partitions"][0]["log_start_offset"] > 0, "retention")
        self.wait_for(self.is_done, "the pipeline to have read all")
        self.lose_ends()
        self.wait_for(lambda: self.row()["state"] == "stopped" and self.row()["reason"],
                      "the pipeline to stop")
        row = self.row()
        self.assertRegex(row["reason"], "does not end where|no longer kept")
        self.assertIn("remove the pipeline and add it again", row["hint"])
        for now, before in zip(self.said(), self.before):
            self.assertTrue(before.startswith(now), "it went on as if nothing were missing")


if __name__ == "__main__":
    support.main()
