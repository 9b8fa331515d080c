#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of the questions about durable records whatever the machine: each answers, its
figures agree with each other, and nothing is left behind. None is judged here: a measurement is no
test."""
import json
import math
import os
import re
import select
import signal
import statistics
import subprocess

import support

LONG = 240  # seconds; a question takes many short samples


class Durable(support.Program):
    def ask(self, question, seconds):
        """The JSON of one question with short samples."""
        ran = support.Ran(subprocess.run(
            [support.MILLRACE, "bench", question, "--seconds", str(seconds), "--json"],
            capture_output=True, timeout=LONG, check=False, cwd=self.directory,
            env=support.environment()))
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual(os.listdir(self.directory), [], "the run's directory is removed")
        answer = ran.json()
        self.assertEqual(answer["question"], question)
        self.check_ratios(answer)
        return {figure["name"]: figure for figure in answer["figures"]}, answer["series"]

    def check_ratios(self, answer):
        """Each ratio is the median of its pairs', and the verdict is about it."""
        for figure in answer["figures"]:
            with self.subTest(figure=figure["name"]):
                self.assertIsNotNone(figure["value"])
                judged = figure["value"]
                if figure["limit_name"]:
                    ratios = [pair["ours"] / pair["limit"] for pair in figure["pairs"]]
                    judged = statistics.median(ratios)
                    self.assertTrue(math.isclose(figure["ratio"], judged, rel_tol=1e-6), figure)
                if figure["sense"] == "at least":
                    self.assertEqual(figure["met"], judged >= figure["bar"], figure)
                elif figure["sense"] == "at most":
                    self.assertEqual(figure["met"], judged <= figure["bar"], figure)

    def check_curves(self, series, plots):
        self.assertEqual({curve["plot"] for curve in series}, plots)
        for curve in series:
            self.assertTrue(curve["points"], curve["name"])
            for x, y in curve["points"]:
                self.assertGreater(x, 0, curve)
                self.assertGreater(y, 0, curve)

    def test_ingest(self):
        figures, series = self.ask("ingest", 0.3)
        value = {name: figure["value"] for name, figure in figures.items()}
        records = value["records of 100 B made durable"]
        self.assertGreater(records, 0)
        # a record of 100 bytes takes 107 to 170 in the log, the batch's share included
        a_record = value["log bytes made durable, no padding"] / records
        self.assertGreater(a_record, 100)
        self.assertLess(a_record, 300)
        self.assertLessEqual(value["worker CPU per durable record"],
                             value["CPU of all engine threads per record"])
        self.assertGreaterEqual(value["padding of what is written"], 0)
        self.assertLess(value["padding of what is written"], 100)
        self.check_curves(series, {"durable records against record size",
                                   "durable bytes against record size"})

    def test_ack(self):
        figures, series = self.ask("ack", 0.3)
        for rate in ("1,000/s", "10,000/s", "100,000/s", "1,000,000/s"):
            with self.subTest(rate=rate):
                at = [figures[f"ack {share} at {rate}"] for share in ("p50", "p90", "p99", "p99.9")]
                for lower, higher in zip(at, at[1:]):
                    self.assertLessEqual(lower["value"], higher["value"])
                    self.assertLessEqual(lower["limit"], higher["limit"])
        alone = figures["bytes on disk per record, 10/s of 100 B"]["value"]
        self.assertGreater(alone, 0)
        self.assertLessEqual(alone, 4096, "a record that is due alone takes one block")
        self.check_curves(series, {"latency, due to acknowledged", "latency against offered load"})

    def test_scale(self):
        figures, _ = self.ask("scale", 0.1)
        for kind in ("acks committed", "in memory"):
            for count in ("2 lanes", "4 lanes", "8 lanes", "2 partitions", "4 partitions"):
                self.assertGreater(figures[f"{count} against 1, {kind}"]["value"], 0)
            self.assertGreater(figures[f"1 lane, {kind}"]["value"], 0)

    def test_soak_says_on_ctrl_c_what_there_is(self):
        terminal, its_end = os.openpty()  # progress is told where a person may be looking
        self.addCleanup(os.close, terminal)
        process = self.start("bench", "soak", "--seconds", "60", "--json", "--data",
                             self.directory, stdout=subprocess.PIPE, stderr=its_end)
        os.close(its_end)
        said = bytearray()
        self.wait_for(lambda: b" of 60 s: " in self.listen(terminal, said), "a sample", LONG)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=LONG)
        self.assertEqual(process.returncode, 0, said)
        figures = {figure["name"]: figure for figure in json.loads(out)["figures"]}
        self.assertRegex(figures["offered, 70 % of the durable rate"]["note"],
                         r"^interrupted: what there was after [0-9]+ of 60 s")
        growth = figures["growth of open descriptors"]
        self.assertTrue(re.match(r"[0-9]+ descriptors in the first third", growth["note"]), growth)
        self.assertEqual(os.listdir(self.directory), [], "the run's directory is removed")

    def listen(self, terminal, said):
        if select.select([terminal], [], [], 0)[0]:
            said += os.read(terminal, 65536)
        return said


if __name__ == "__main__":
    support.main()
