#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of the commands that look at knowledge: what they show is what the pipeline said;
what is asked for and is not there is refused in three lines; and an alert's actions are done."""
import http.server
import json
import math
import os
import socket
import threading
import time

import support

RULE = """pipeline: hot
input: sensors
parse: json
value: $.temp
clean: {range: [-100, 200]}
windows:
  avg: {fn: weighted_average, last: 4, weights: [4, 3, 2, 1]}
  peak: {fn: max, last: 2}
alert:
  - {name: hot, when: "avg > 90", clear: "avg < 80", severity: critical}
output: sensors.knowledge
"""


class Knowledge(support.Program):
    def setUp(self):
        super().setUp()
        self.config = "pipeline_checkpoint: 100 ms\n"
        self.engine = self.start_engine(self.config)

    def rule(self, text=RULE):
        return self.file("rule.yaml", text)

    def put(self, temperatures, key="press-9"):
        lines = [json.dumps({"id": key, "temp": one}) for one in temperatures]
        self.good("put", "sensors", "--format", "json", "--key", "id",
                  stdin="\n".join(lines) + "\n")

    def row(self):
        return self.good("rule", "list", "--json").json()["pipelines"][0]

    def add(self, text=RULE):
        self.good("rule", "add", self.rule(text), "--from", "earliest")
        self.wait_for(lambda: all(one["lag"] == 0 and one["checkpoint_offset"] == one["offset"]
                                  for one in self.row()["partitions"]), "all to be read")

    def refused(self, *words, code=1, says):
        ran = self.client(*words)
        self.assertEqual(ran.code, code, ran)
        self.assertRegex(ran.err, says)
        self.assertLessEqual(len(ran.err.splitlines()), 3, ran)

    def test_a_trial_says_what_the_pipeline_then_says(self):
        self.put([70, 95, 99, 98, 500, 60, 60, 60])
        tried = self.good("rule", "test", self.rule(), "--output").out
        self.assertNotIn("sensors.knowledge", self.good("topic", "list").out)
        self.add()
        for kind, topic in (("output", "sensors.knowledge"), ("alert", "sensors.alerts")):
            lines = [line.split(None, 1)[1] for line in tried.splitlines()
                     if line.startswith(kind + " ") and "{" in line]
            self.assertEqual(lines, self.values(topic), kind)
        counts = self.good("rule", "test", self.rule(), "--json").json()
        self.assertEqual((counts["records"], counts["kept"]), (8, 7))
        self.assertEqual(counts["dropped"], {"range": 1})
        self.assertEqual(counts["raised"], {"hot": 1})
        self.assertEqual(self.good("rule", "test", self.rule(), "--to", "2", "--json")
                         .json()["raised"], {"hot": 0})
        self.refused("rule", "test", self.rule(RULE.replace("sensors\n", "nothing\n")),
                     says="'nothing' does not exist")

    def test_a_result_is_explained_by_what_it_was_made_of(self):
        self.put([70, 95, 999, 99, 98, 97])
        self.put([1], key="other")
        self.add()
        said = json.loads(self.values("sensors.knowledge")[4])
        out = self.good("explain", "press-9@0:5").out
        self.assertEqual(said["offset"], 5)
        self.assertIn(f"avg = {said['avg']:.10g}: weighted_average of the last 4 values", out)
        weighed = [line.split() for line in out.splitlines() if " share " in line]
        self.assertEqual([(int(row[0]), float(row[2])) for row in weighed],
                         [(5, 97), (4, 98), (3, 99), (1, 95)])
        self.assertEqual([float(row[row.index("weight") + 1]) for row in weighed], [4, 3, 2, 1])
        self.assertEqual([float(row[row.index("share") + 1]) for row in weighed],
                         [0.4, 0.3, 0.2, 0.1])
        self.assertRegex(out, r"cleaning dropped 1 records of this key up to here:\n +2 .*range")
        self.assertRegex(out, r"alert hot: raised ")
        self.assertRegex(self.good("explain", "press-9@0:2").out, "dropped by cleaning: range")
        early = self.good("explain", "press-9@0:1", "--window", "avg").out
        self.assertEqual([float(line.split()[-1]) for line in early.splitlines()
                          if " share " in line], [0.5714, 0.4286], "of the weights in use")
        only = self.good("explain", "press-9@0:5", "--window", "peak").out
        self.assertIn("peak = 98", only)
        self.assertNotIn("avg =", only)
        self.refused("explain", "press-9@0:6", says="is of another key: 'other'")
        self.refused("explain", "press-9@0:77",
                     says=r"no record at offset 77 .*\n  why: what can be read are offsets 0 to 6")
        self.refused("explain", "press-9@4:1", says="1 partitions, none is number 4")
        self.refused("explain", "press-9@0:5", "--rule", "cold", says="no pipeline 'cold'")
        self.refused("explain", "press-9@0:5", "--rule", "hott", says="did you mean 'hot'?")
        ran = self.client("explain", "press-9@0:5", "--window", "peek")
        self.assertEqual((ran.code, ran.out), (1, ""), "nothing is half explained")
        self.assertRegex(ran.err, r"no window 'peek' \(ENOENT\)\n  do:  did you mean 'peak'\?")
        self.refused("explain", "press-9", code=2, says="KEY@PARTITION:OFFSET")

    def test_who_misspelt_a_name_is_told_the_one_that_was_meant(self):
        self.put([70])
        self.add()
        near = self.rule(RULE.replace("input: sensors\n", "input: sensor\n"))
        far = self.file("far.yaml", RULE.replace("input: sensors\n", "input: windmills\n"))
        for words, meant in ((("rule", "remove", "hott"), "hot"),
                             (("rule", "test", near), "sensors"),
                             (("rule", "add", near), "sensors"),
                             (("fit", "senors", "--parse", "number"), "sensors"),
                             (("tail", "sensrs"), "sensors"),
                             (("topic", "describe", "sensors.alert"), "sensors.alerts"),
                             (("topic", "delete", "sensos"), "sensors"),
                             (("get", "sensors.knowlege", "press-9"), "sensors.knowledge")):
            self.refused(*words, says=rf"\(ENOENT\)\n  do:  did you mean '{meant}'\?")
        for words in (("rule", "remove", "windmills"), ("get", "windmills", "x")):
            self.refused(*words, says="do:  .*millrace rule list")
        for words in (("rule", "test", far), ("rule", "add", far), ("tail", "windmills")):
            self.refused(*words, says="millrace topic create windmills")

    def test_a_rule_that_is_taken_for_good_fits_into_a_request(self):
        """Quoted as JSON it is longer, and the request has room for so much."""
        self.put([70])
        for letter, fits in (("x", 48900), ('"', 28000), ("\\", 28000), ("\n", 28000)):
            good = RULE + "#" + letter * (fits - len(RULE) - 400)
            self.assertEqual(self.run_command("rule", "check", self.rule(good)).code, 0)
            self.good("rule", "add", self.rule(good))
            self.good("rule", "remove", "hot")
            if letter == "x":
                continue
            bad = self.rule(RULE + "#" + letter * 29000)
            says = r"has \d+ bytes quoted, expected at most 57344"
            self.assertRegex(self.run_command("rule", "check", bad).err, says)
            for word in ("add", "test"):
                self.refused("rule", word, bad, says=says)

    def test_an_explanation_follows_the_versions(self):
        self.put([70, 80, 90])
        self.add()
        self.add(RULE.replace("weights: [4, 3, 2, 1]", "weights: [1, 0, 0, 0]"))
        # the log ends with the version's mark, which is none of the records
        self.refused("explain", "press-9@0:3", says="the engine's own mark stands there")
        self.assertIn("3 records", self.good("rule", "test", self.rule()).out)
        self.put([50])
        self.wait_for(lambda: len(self.values("sensors.knowledge")) == 4, "the fourth answer")
        self.assertIn("version 1", self.good("explain", "press-9@0:2").out)
        self.refused("explain", "press-9@0:3", says="the engine's own mark stands there")
        newest = self.good("explain", "press-9@0:4").out
        self.assertIn("version 2", newest)
        self.assertIn("avg = 50:", newest)

    def test_rows_and_alerts_side_by_side(self):
        self.put([70, 95, 99, 98, 60, 60, 60])
        self.add()
        lines = self.good("tail", "sensors", "--rule", "hot").out.splitlines()
        self.assertRegex(lines[0], "time +key +value +avg +peak")
        self.assertEqual(len([line for line in lines if "ALERT" not in line]), 8)
        self.assertRegex(lines[-2], r"ALERT hot raised \(critical\): avg > 90 +@0:2")
        self.assertRegex(lines[-1], r"ALERT hot cleared \(critical\): avg < 80 +@0:5")
        packed = RULE.replace("output: sensors.knowledge",
                              "output: {topic: packed.knowledge, format: packed}")
        self.add(packed.replace("pipeline: hot", "pipeline: packed"))
        self.wait_for(lambda: len(self.good("tail", "sensors", "--rule", "packed")
                                  .out.splitlines()) == 10, "all rows")
        rows = self.good("tail", "sensors", "--rule", "packed").out.splitlines()
        self.assertEqual(rows, lines)
        self.refused("tail", "sensors.alerts", "--rule", "hot", says="reads topic 'sensors'")
        self.refused("tail", "sensors", "--rule", "hot", "--json", code=2, says="rows of its own")

    def test_weights_are_found_and_said_not_to_win(self):
        wave = [50 + 10 * math.sin(0.3 * i + 1) for i in range(600)]
        self.put(wave)
        found = self.good("fit", "sensors", "--value", "$.temp", "--last", "3", "--json").json()
        cosine = math.cos(0.3)
        for mine, true in zip(found["weights"], (1 + 2 * cosine, -1 - 2 * cosine, 1)):
            self.assertAlmostEqual(mine, true, places=6)
        self.assertEqual(found["best"], "fitted")
        self.assertLess(found["errors"]["fitted"]["rms"], found["errors"]["last value"]["rms"])
        self.put([i % 2 for i in range(300)], key="press-8")
        self.refused("fit", "sensors", "--value", "$.temp", says="several keys")
        text = self.good("fit", "sensors", "--value", "$.temp", "--key", "press-9").out
        self.assertRegex(text, "The fitted weights (win|do NOT win)")
        self.refused("fit", "sensors", "--value", "$.temp", "--key", "nobody",
                     says="0 values are too few")
        self.refused("fit", "sensors", "--value", "$.tmp", "--key", "press-9",
                     says="of 600 records of 'press-9' cleaning kept none: is the value where")
        self.refused("fit", "sensors", code=2, says="where the value is")

    def test_weights_that_are_fitted_stay_with_the_version(self):
        fitted = RULE.replace("last: 4, weights: [4, 3, 2, 1]", "last: 3, weights: fitted")
        self.put([50 + 10 * math.sin(0.3 * i + 1) for i in range(600)])
        self.refused("rule", "add", self.rule(fitted), says="wants weights that are fitted")
        self.refused("rule", "add", self.rule(fitted), "--fit-key", "nobody",
                     says="window 'avg': 0 values are too few")
        self.refused("rule", "add", self.rule(), "--fit-key", "press-9",
                     says="pipeline 'hot' has no weights to fit to 'press-9'")
        ran = self.good("rule", "add", self.rule(fitted), "--fit-key", "press-9",
                        "--from", "earliest")
        self.assertIn("window avg: fitted to 600 values of press-9", ran.err)
        self.wait_for(lambda: len(self.values("sensors.knowledge")) == 600, "all answers")
        rows = [json.loads(value) for value in self.values("sensors.knowledge")]
        for before, now in zip(rows[3:], rows[4:]):  # the average is the next value's forecast
            self.assertAlmostEqual(before["avg"], now["value"], places=4)
        self.assertRegex(self.good("explain", "press-9@0:500", "--window", "avg").out,
                         "weight 2.9107 +share 2.9107")

    def test_a_webhook_gets_what_the_topic_of_alerts_has(self):
        posted = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append((self.path, self.headers["Content-Type"],
                               self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(204 if len(posted) < 3 else 500)
                self.end_headers()

            def log_message(self, *what):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.put([70, 95, 99, 98, 60, 60, 60])
        self.add(RULE.replace("severity: critical", "severity: critical, every: 1ms, webhook: "
                              f"\"http://127.0.0.1:{server.server_address[1]}/hook\""))
        self.wait_for(lambda: self.row()["actions"]["done"] == 2, "both posts")
        self.assertEqual({one[:2] for one in posted}, {("/hook", "application/json")})
        self.assertEqual(sorted(one[2] for one in posted),
                         sorted(self.values("sensors.alerts")))
        self.put([99, 99, 99, 99])
        self.wait_for(lambda: self.row()["actions"]["failed"] == 1, "the refusal to be counted")

    def listen(self):
        """A port that takes connections and never says a word."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.addCleanup(listener.close)
        return listener

    def hook(self, port, every="1ms"):
        return RULE.replace("severity: critical", f"severity: critical, every: {every}, webhook: "
                            f"\"http://127.0.0.1:{port}/hook\"")

    def test_a_webhook_that_never_answers_holds_up_nobody(self):
        listener = self.listen()
        self.good("topic", "create", "sensors")
        self.add(self.hook(listener.getsockname()[1]))
        began = time.monotonic()
        for turn in range(30):  # more alerts than actions may be under way
            self.put([99] * 4 + [1] * 4)
            self.wait_for(lambda: len(self.values("sensors.knowledge")) == (turn + 1) * 8,
                          "answers while webhooks hang")
        actions = self.row()["actions"]
        self.assertEqual(actions["done"], 0)
        self.assertLessEqual(actions["started"] - actions["failed"], 16)
        if time.monotonic() - began < 9:  # after 10 seconds the first is given up
            self.assertEqual(actions["failed"], 0)
        began = time.monotonic()
        self.assertEqual(self.stop(self.engine), 0)
        self.assertLess(time.monotonic() - began, 8)  # it did not wait for their 10 seconds

    def test_a_webhook_that_nobody_takes_is_counted(self):
        listener = self.listen()
        port = listener.getsockname()[1]
        listener.close()
        self.good("topic", "create", "sensors")
        self.add(self.hook(port))
        self.put([99] * 4)
        self.wait_for(lambda: self.row()["actions"]["failed"] == 1, "the refusal to be counted")
        self.assertEqual(self.row()["actions"]["done"], 0)
        self.wait_for(lambda: len(self.values("sensors.knowledge")) == 4, "the answers")
        self.wait_for(lambda: "an alert's action failed" in self.engine_log(), "people to be told")

    def engine_log(self):
        with open(os.path.join(self.directory, "engine.log"), encoding="utf-8") as file:
            return file.read()

    def test_actions_come_no_faster_than_the_rule_says(self):
        said = os.path.join(self.directory, "said")
        self.put(([99] * 4 + [1] * 4) * 5)
        self.add(RULE.replace("severity: critical", "severity: critical, every: 1h, exec: "
                              f"\"sh -c 'echo $MILLRACE_STATE >> {said}'\""))
        self.wait_for(lambda: sum(self.row()["actions"][name] for name in ("done", "limited"))
                      == 10, "five alerts to be raised and cleared")
        actions = self.row()["actions"]
        self.assertEqual((actions["done"], actions["limited"], actions["failed"]), (2, 8, 0))
        with open(said, encoding="utf-8") as file:
            self.assertEqual(sorted(file.read().split()), ["cleared", "raised"])

    def test_an_alerts_actions_are_done_and_counted(self):
        said = os.path.join(self.data, "..", "said")
        self.put([70, 95, 99, 98, 60, 60, 60])
        self.add(RULE.replace("severity: critical",
                              "severity: critical, every: 1ms, exec: \"sh -c 'echo $MILLRACE_STATE "
                              f"$MILLRACE_KEY >> {os.path.abspath(said)}'\""))
        self.wait_for(lambda: self.row()["actions"]["done"] == 2, "both actions")
        with open(said, encoding="utf-8") as file:
            self.assertEqual(sorted(file.read().split("\n")),
                             ["", "cleared press-9", "raised press-9"])
        self.assertEqual(self.row()["actions"]["failed"], 0)
        self.add(RULE.replace("severity: critical", "severity: critical, exec: \"false\""))
        self.put([99, 99, 99, 99])
        self.wait_for(lambda: self.row()["actions"]["failed"] == 1, "the one that fails")
        self.put([1])  # nothing is held up by it
        self.wait_for(lambda: len(self.values("sensors.knowledge")) == 12, "the next answer")


if __name__ == "__main__":
    support.main()
