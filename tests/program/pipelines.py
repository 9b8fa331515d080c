#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of pipelines: each input is answered once, across restarts, kills, new versions;
bad records stop nothing; what cannot be is refused in three lines."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torture"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import support  # noqa: E402  (the path comes first)
from pipeline import crc32c  # noqa: E402

RULE = """pipeline: hot
input: sensors
parse: json
value: $.temp
clean: {range: [-100, 200]}
windows:
  avg: {fn: mean, last: 4}
alert:
  - {name: hot, when: "value > 90", clear: "value < 80"}
output: sensors.knowledge
"""
TOPICS = ("sensors.knowledge", "sensors.alerts", "sensors.knowledge.rejected")


class Pipelines(support.Program):
    def setUp(self):
        super().setUp()
        self.config = "pipeline_checkpoint: 100 ms\n"
        self.engine = self.start_engine(self.config)

    # ---- helpers -------------------------------------------------------------------------

    def rule(self, text=RULE, name="rule.yaml"):
        return self.file(name, text)

    def add(self, *words, text=RULE):
        return self.good("rule", "add", self.rule(text), *words)

    def put(self, temperatures, key="press-1"):
        lines = [json.dumps({"id": key, "temp": one}) for one in temperatures]
        self.good("put", "sensors", "--format", "json", "--key", "id",
                  stdin="\n".join(lines) + "\n")

    def pipelines(self):
        return self.good("rule", "list", "--json").json()["pipelines"]

    def partition(self, number=0):
        return self.pipelines()[0]["partitions"][number]

    def is_done(self):
        """All is read, and what was said about it is acknowledged: only then that counts."""
        row = self.pipelines()[0]
        return row["state"] == "running" and all(
            one["lag"] == 0 and one["checkpoint_offset"] == one["offset"]
            for one in row["partitions"])

    def wait_done(self):
        self.wait_for(self.is_done, "the pipeline to have read all")

    def said(self, topic="sensors.knowledge"):
        return [json.loads(value) for value in self.values(topic)]

    def all_said(self):
        return [self.good("tail", topic, "--json").out for topic in TOPICS]

    def restart(self, how=signal.SIGTERM):
        self.stop(self.engine, how)
        self.engine = self.start_engine(self.config)

    def refused(self, *words, code=1, says):
        ran = self.client(*words)
        self.assertEqual(ran.code, code, ran)
        self.assertRegex(ran.err, says)
        self.assertLessEqual(len(ran.err.splitlines()), 3, ran)

    # ---- one after the other -------------------------------------------------------------

    def test_each_record_is_answered_once(self):
        self.put([10, 20, 30])
        self.add("--from", "earliest")
        self.put([95, "warm", 1000, 70])
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [0, 1, 2, 3, 6])
        self.assertEqual([row["value"] for row in self.said()], [10, 20, 30, 95, 70])
        alerts = self.good("tail", "sensors.alerts", "--json").json_lines()
        self.assertEqual(len(alerts), 2)
        rejected = self.said("sensors.knowledge.rejected")
        self.assertEqual([row["offset"] for row in rejected], [4])
        row = self.partition()
        self.assertEqual((row["records"], row["kept"], row["outputs"]), (7, 5, 5))
        self.assertEqual(row["dropped"]["range"], 1)
        self.assertEqual(sum(row["rejected"].values()), 1)

    def test_latest_is_what_comes_from_now_on(self):
        self.put([1, 2, 3])
        self.add()
        self.put([4])
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [3])

    def test_a_key_is_answered_from_state(self):
        self.put([1])
        self.add("--from", "earliest")
        self.put([91], key="press-7")
        self.wait_done()
        found = self.good("get", "sensors.knowledge", "press-7", "--json").json()["found"]
        self.assertEqual(len(found), 1)
        self.assertEqual((found[0]["value"], found[0]["offset"], found[0]["alerts"]),
                         (91, 1, ["hot"]))
        self.assertEqual(found[0]["windows"]["avg"], 91)
        self.assertIn("press-7", self.good("get", "sensors", "press-7").out)
        self.refused("get", "sensors", "nobody", says="pipeline 'hot' knows no key 'nobody'")
        ran = self.client("get", "sensors", "nobody", "--json")
        self.assertEqual((ran.code, ran.json()["found"]), (1, []))
        self.refused("get", "nothing", "x", says="no pipeline reads or writes topic 'nothing'")

    # ---- restarts ------------------------------------------------------------------------

    def test_a_restart_changes_nothing(self):
        self.put(range(100))
        self.add("--from", "earliest")
        self.wait_done()
        before = self.all_said()
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.restart(how)
            self.wait_done()
            self.assertEqual(self.all_said(), before)
        self.put([1])
        self.wait_done()
        last = self.said()[-1]
        self.assertEqual((last["offset"], last["value"]), (100, 1))
        self.assertEqual(self.partition()["records"], 101)

    def checkpoint(self, partition=0):
        row = self.pipelines()[0]
        return os.path.join(self.data, "pipelines", row["id"], str(partition))

    def test_without_its_checkpoint_it_says_the_same_and_the_log_drops_it(self):
        self.put(range(50))
        self.add("--from", "earliest")
        self.wait_done()
        before = self.all_said()
        path = self.checkpoint()
        for damage in (os.remove, lambda name: open(name, "r+b").write(b"nonsense")):
            self.stop(self.engine, signal.SIGKILL)
            damage(path)
            self.engine = self.start_engine(self.config)
            self.wait_done()
            self.assertEqual(self.all_said(), before)
        self.put([5])
        self.wait_done()
        self.assertEqual(self.said()[-1]["offset"], 50)

    def test_with_an_old_checkpoint_it_says_the_same(self):
        self.put(range(50))
        self.add("--from", "earliest")
        self.wait_done()
        self.restart()
        with open(self.checkpoint(), "rb") as file:
            old = file.read()
        self.put(range(60))
        self.wait_done()
        before = self.all_said()
        self.stop(self.engine)
        with open(os.path.join(self.data, "pipelines", os.listdir(
                os.path.join(self.data, "pipelines"))[0], "0"), "wb") as file:
            file.write(old)
        self.engine = self.start_engine(self.config)
        self.put([7])
        self.wait_done()
        self.assertEqual(self.all_said()[1:], before[1:])
        self.assertEqual([row["offset"] for row in self.said()], list(range(111)))

    # ---- versions ------------------------------------------------------------------------

    def test_a_new_version_takes_over_between_two_records(self):
        self.put([85])
        self.add("--from", "earliest")
        self.wait_done()
        ran = self.add(text=RULE.replace("> 90", "> 70").replace("< 80", "< 60"))
        self.assertIn("version 2", ran.out)
        self.put([85])
        self.wait_done()
        self.assertEqual(len(self.said("sensors.alerts")), 1)
        # its mark stands between them, and nobody reads it
        self.assertEqual([row["offset"] for row in self.said()], [0, 2])
        self.assertEqual(len(self.values("sensors")), 2)
        before = self.all_said()
        self.stop(self.engine, signal.SIGKILL)
        os.remove(os.path.join(self.data, "pipelines",
                               os.listdir(os.path.join(self.data, "pipelines"))[0], "0"))
        self.engine = self.start_engine(self.config)
        self.wait_done()
        self.assertEqual(self.all_said(), before)
        self.assertEqual(self.pipelines()[0]["version"], 2)

    def test_the_same_rule_again_is_no_new_version(self):
        self.put([1])
        self.add()
        self.assertIn("version 1", self.add().out)

    def test_a_version_goes_on_where_the_old_one_read(self):
        self.put([1])
        self.add()
        self.refused("rule", "add", self.rule(RULE.replace("output: sensors", "output: other")),
                     says="would get other topics to write to")
        self.assertEqual(self.pipelines()[0]["version"], 1)

    # ---- refusals ------------------------------------------------------------------------

    def test_a_version_without_a_record_counts_when_it_is_read_again(self):
        other = RULE.replace("last: 4", "last: 5")
        self.put([20, 40])
        self.add("--from", "earliest")
        self.wait_done()
        self.add(text=other)
        self.add()  # as at first, but what the first one knew is gone
        self.put([50])
        self.wait_done()
        before = self.all_said()
        self.assertEqual(self.said()[-1]["avg"], 50)
        self.stop(self.engine, signal.SIGKILL)
        os.remove(os.path.join(self.data, "pipelines", os.listdir(
            os.path.join(self.data, "pipelines"))[0], "0"))
        self.engine = self.start_engine(self.config)
        self.put([70])
        self.wait_done()
        self.assertEqual(self.said()[-1]["avg"], 60)
        self.assertEqual(self.all_said()[1:], before[1:])

    def test_a_version_begins_behind_what_was_answered_before_a_kill(self):
        self.config = "pipeline_checkpoint: 60 s\n"
        self.restart()
        self.put([one % 80 for one in range(100000)])
        self.add("--from", "earliest")
        self.wait_for(lambda: len(self.said()) == 100000, "all answers")
        self.restart(signal.SIGKILL)
        # it reads all of them again, and the version waits behind them
        ran = self.add(text=RULE.replace("last: 4", "last: 5"))
        for line in ran.err.splitlines():
            self.assertRegex(line, r"^waiting: version 2 of pipeline 'hot' begins at offset 100000 "
                             r"of topic 'sensors' partition 0, and the pipeline has read up to "
                             r"\d+$")
        self.put([7])
        self.wait_for(lambda: len(self.said()) == 100001, "the last answer")
        self.assertEqual(self.pipelines()[0]["version"], 2)
        self.assertEqual(self.said()[-1]["avg"], 7)

    def test_a_version_may_be_the_first_with_alerts(self):
        quiet = RULE[:RULE.index("alert:")] + RULE[RULE.index("output:"):]
        self.put([95])
        self.add("--from", "earliest", text=quiet)
        self.wait_done()
        self.add()
        self.put([95])
        self.wait_done()
        self.assertEqual(len(self.said("sensors.alerts")), 1)
        before = self.all_said()
        self.restart(signal.SIGKILL)
        self.put([96])
        self.wait_done()
        self.assertEqual(len(self.said()), 3)
        self.assertEqual(self.all_said()[1:], before[1:])

    def hold(self):
        """The pipeline reads nothing, since it cannot be what it is stored as; until let_go()."""
        self.stop(self.engine, signal.SIGKILL)
        self.edit_rule("hot", lambda text: text.replace("clean:", "cleen:"))
        self.engine = self.start_engine(self.config)
        self.wait_for(lambda: self.pipelines()[0]["state"] == "stopped", "it to stop")

    def let_go(self):
        self.stop(self.engine, signal.SIGKILL)
        self.edit_rule("hot", lambda text: text.replace("cleen:", "clean:"))
        self.engine = self.start_engine(self.config)

    def add_in_vain(self, text, says):
        adds = self.start("rule", "add", self.rule(text), "--socket", self.socket,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertRegex(adds.stderr.readline().decode(), says)
        adds.kill()
        adds.wait()
        adds.stderr.close()

    def test_while_a_version_comes_there_is_no_other(self):
        quiet = RULE[:RULE.index("alert:")] + RULE[RULE.index("output:"):]
        self.put([95, 95])
        self.add("--from", "earliest", text=quiet)
        self.wait_done()
        self.hold()
        self.add_in_vain(RULE, "^waiting: version 2 of pipeline 'hot' begins at offset 2 ")
        # its topic for alerts is its own already, and going back would be a version of its own
        self.refused("topic", "delete", "sensors.alerts", says="written by pipeline 'hot'")
        self.add_in_vain(quiet, "^waiting: another version of pipeline 'hot' is coming")
        self.let_go()
        self.put([95])
        self.wait_for(lambda: len(self.said("sensors.alerts")) == 1, "the alert of version 2")
        self.assertEqual(self.pipelines()[0]["version"], 2)

    def test_a_mark_of_a_pipeline_that_is_no_more_is_passed_over(self):
        self.put([1])
        self.add("--from", "earliest")
        self.add(text=RULE.replace("last: 4", "last: 5"))
        self.good("rule", "remove", "hot")
        for topic in ("sensors.knowledge", "sensors.alerts", "sensors.knowledge.rejected"):
            self.good("topic", "delete", topic)
        self.add("--from", "earliest")
        self.put([2])
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [0, 2])
        self.assertEqual(self.pipelines()[0]["version"], 1)

    def test_a_stored_rule_that_is_none_to_this_engine_holds_its_pipeline_only(self):
        """As after an upgrade whose reader takes less."""
        self.put([1])
        self.add("--from", "earliest")
        other = RULE.replace("pipeline: hot", "pipeline: other").replace("sensors.", "others.")
        self.add("--from", "earliest", text=other)
        self.wait_for(lambda: len(self.said()) == 1, "its answer")
        self.stop(self.engine)
        self.edit_rule("hot", lambda text: text.replace("clean:", "cleen:"))
        self.engine = self.start_engine(self.config)
        self.put([2])
        self.wait_for(lambda: len(self.said("others.knowledge")) == 2, "the other to go on")
        self.wait_for(lambda: self.row("hot")["state"] == "stopped", "hot to say that it stopped")
        listed = self.good("rule", "list").out
        self.assertIn("version 1 of pipeline 'hot' is stored here, and this engine does not take "
                      "it: hot:5: ", listed)
        self.assertIn("millrace rule remove hot", listed)
        self.assertEqual(len(self.said()), 1)
        self.stop(self.engine)
        self.edit_rule("hot", lambda text: text.replace("cleen:", "clean:"))
        self.engine = self.start_engine(self.config)
        self.wait_for(lambda: [row["offset"] for row in self.said()] == [0, 1], "hot to go on")

    def row(self, name):
        return next(row for row in self.pipelines() if row["name"] == name)

    def edit_rule(self, name, edit):
        path = os.path.join(self.data, "pipelines.json")
        with open(path, encoding="utf-8") as file:
            catalogue = json.loads(file.readline())
        for row in catalogue["pipelines"]:
            if row["name"] == name:
                row["versions"][0]["text"] = edit(row["versions"][0]["text"])
        text = json.dumps(catalogue, separators=(",", ":"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{text}\n{crc32c(text.encode()):08x}\n")

    def test_what_cannot_be_is_refused(self):
        self.refused("rule", "add", self.rule(), says="its input topic 'sensors' does not exist")
        self.good("topic", "create", "sensors", "--partitions", "3")
        self.refused("rule", "add", self.rule(RULE.replace("value:", "key: $.id\nvalue:")),
                     says="has key: .* and topic 'sensors' has 3 partitions")
        self.good("topic", "create", "narrow", "--partitions", "1")
        self.refused("rule", "add", self.rule(RULE.replace("sensors.knowledge", "narrow")),
                     says="topic 'narrow' exists with 1 partitions")
        self.refused("rule", "add", self.rule(RULE.replace("sensors.knowledge", "sensors")),
                     says="input and output are one topic, 'sensors'")
        self.refused("rule", "add", os.path.join(self.directory, "none.yaml"),
                     says="cannot read the rule")
        self.refused("rule", "add", self.rule("pipeline: x\n"), says="rule.yaml")
        self.refused("rule", "remove", "nobody", says="there is no pipeline 'nobody'")
        self.refused("rule", "add", self.rule(), "--from", "yesterday", code=2,
                     says="neither earliest nor latest")
        self.assertEqual(self.pipelines(), [])

    def test_a_loop_over_two_pipelines_is_refused(self):
        self.put([1])
        self.add()
        other = RULE.replace("pipeline: hot", "pipeline: back") \
                    .replace("input: sensors", "input: sensors.knowledge") \
                    .replace("output: sensors.knowledge", "output: sensors") \
                    .replace("$.temp", "$.value")
        self.refused("rule", "add", self.rule(other), says="would read what it writes")

    def test_one_after_the_other_is_none(self):
        self.put([1, 2, 3])
        self.add("--from", "earliest")
        other = RULE.replace("pipeline: hot", "pipeline: second") \
                    .replace("input: sensors", "input: sensors.knowledge") \
                    .replace("output: sensors.knowledge", "output: more") \
                    .replace("$.temp", "$.value")
        self.add("--from", "earliest", text=other)
        self.wait_for(lambda: len(self.said("more")) == 3, "the second pipeline")
        self.restart(signal.SIGKILL)
        self.wait_done()
        self.assertEqual([row["value"] for row in self.said("more")], [1, 2, 3])

    def test_topics_in_use_stay(self):
        self.put([1])
        self.add()
        for topic in ("sensors", *TOPICS):
            self.refused("topic", "delete", topic, says=f"topic '{topic}' is (read|written) by "
                                                        "pipeline 'hot'")
        self.good("rule", "remove", "hot")
        for topic in ("sensors", *TOPICS):
            self.good("topic", "delete", topic)

    # ---- removing ------------------------------------------------------------------------

    def test_what_is_removed_leaves_its_outputs_and_nothing_else(self):
        self.put([1, 2])
        self.add("--from", "earliest")
        self.wait_done()
        self.good("rule", "remove", "hot")
        self.assertEqual(self.pipelines(), [])
        self.assertEqual(len(self.said()), 2)
        self.assertEqual(os.listdir(os.path.join(self.data, "pipelines")), [])
        # another one of that name is another one
        self.add("--from", "earliest")
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [0, 1, 0, 1])

    def test_what_was_removed_stays_so(self):
        self.put([1])
        self.add()
        self.good("rule", "remove", "hot")
        self.restart(signal.SIGKILL)
        self.assertEqual(self.pipelines(), [])

    # ---- in memory -----------------------------------------------------------------------

    def test_outputs_may_be_in_memory(self):
        self.put([1, 2])
        text = RULE.replace("output: sensors.knowledge",
                            "output: {topic: sensors.knowledge, storage: memory}")
        self.add("--from", "earliest", text=text)
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [0, 1])
        self.restart()
        self.put([3])
        self.wait_done()
        self.assertEqual([row["offset"] for row in self.said()], [2])

    # ---- input that is gone --------------------------------------------------------------

    def test_what_retention_took_is_counted_and_told(self):
        self.good("topic", "create", "sensors", "--segment-bytes", "16MiB",
                  "--retention-bytes", "20MiB")
        self.put([1, 2])
        self.add("--from", "earliest")
        self.wait_done()
        self.stop(self.engine)
        definition = os.path.join(self.data, "pipelines.json")
        self.assertTrue(os.path.exists(definition))
        # an engine without the pipeline lets its input go
        os.rename(definition, definition + ".away")
        os.rename(os.path.join(self.data, "pipelines"), os.path.join(self.data, "away"))
        self.engine = self.start_engine(self.config)
        big = "x" * 100000
        line = json.dumps({"id": "k", "temp": 5, "more": big}) + "\n"
        self.good("put", "sensors", "--format", "json", "--key", "id", stdin=line * 600)
        self.wait_for(self.is_cut, "retention")
        self.stop(self.engine)
        os.rename(definition + ".away", definition)
        os.rename(os.path.join(self.data, "away"), os.path.join(self.data, "pipelines"))
        self.engine = self.start_engine(self.config)
        self.wait_done()
        row = self.partition()
        offsets = [one["offset"] for one in self.said()]
        self.assertEqual(offsets[:2], [0, 1])
        self.assertEqual(row["skipped"], offsets[2] - 2)
        self.assertEqual(offsets[2:], list(range(offsets[2], 602)))
        self.assertIn("input was gone before a pipeline had read it", self.engine_log())
        self.assertIn("gone before they were read", self.good("rule", "list").out)
        before = self.all_said()
        self.restart(signal.SIGKILL)
        self.wait_done()
        self.assertEqual(self.all_said(), before)

    def test_a_mark_among_what_is_left_out_counts(self):
        """Retention took input, and of what is there nobody knows how far it was answered."""
        self.config = "pipeline_checkpoint: 60 s\n"
        self.restart()
        self.good("topic", "create", "sensors", "--segment-bytes", "16MiB",
                  "--retention-bytes", "20MiB")
        self.add("--from", "earliest")
        self.put(range(50))
        self.wait_for(lambda: len(self.said()) == 50, "its answers")
        self.hold()
        line = json.dumps({"id": "k", "temp": 5, "more": "x" * 100000}) + "\n"
        self.good("put", "sensors", "--format", "json", "--key", "id", stdin=line * 500)
        self.add_in_vain(RULE.replace("last: 4", "last: 1"), "^waiting: version 2 of pipeline")
        self.put([7, 8, 9])
        self.wait_for(self.is_cut, "retention")
        self.let_go()
        self.wait_for(lambda: self.partition()["skipped"] > 0, "what is there to be left out")
        self.put([20, 40])
        self.wait_for(lambda: len(self.said()) == 52, "the answers behind it")
        self.assertEqual([row["avg"] for row in self.said()[-2:]], [20, 40])
        self.assertEqual(self.pipelines()[0]["version"], 2)

    def is_cut(self):
        topic = self.good("topic", "describe", "sensors", "--json").json()
        return topic["partitions"][0]["log_start_offset"] > 100

    def test_help_has_examples(self):
        for words in (("rule",), ("rule", "add"), ("rule", "list"), ("rule", "remove"), ("get",)):
            ran = self.run_command(*words, "--help")
            self.assertEqual(ran.code, 0, ran)
            self.assertIn("millrace " + words[0], ran.out)
        for words in (("rule",), ("rule", "fly"), ("rule", "add"), ("get", "x")):
            self.assertEqual(self.run_command(*words).code, 2)


if __name__ == "__main__":
    support.main()
