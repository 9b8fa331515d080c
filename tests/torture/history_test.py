#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The history checker finds each thing that must not be, and nothing where all is well."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "program"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import history  # noqa: E402  (the path comes first)
import support  # noqa: E402


def good():
    """Two producers, two consumers, two hosts."""
    producers = [
        ["receipt 0 0 2 0", "receipt 1 0 1 0", "receipt 0 2 1 -1", "end 0 4 4 0 1"],
        ["receipt 0 0 1 2", "end 0 1 1 0 0"],
    ]
    seen = ["seen 0 0 1 0", "seen 0 1 1 1", "seen 1 0 1 0", "seen 0 2 2 0", "seen 0 3 1 2",
            "end 0"]
    logs = {"a": {0: [(0, 2, 1, "aa"), (2, 2, 65, "bb")], 1: [(0, 1, 1, "cc")]}}
    logs["b"] = {partition: list(batches) for partition, batches in logs["a"].items()}
    return producers, [list(seen), list(seen)], logs


def judge(producers, consumers, logs):
    return history.check([history.Producer(i + 1).read(lines) for i, lines in enumerate(producers)],
                         [history.Consumer(str(i)).read(lines)
                          for i, lines in enumerate(consumers)],
                         logs)


class Checker(unittest.TestCase):
    def expect(self, verdict, *kinds):
        found = {kind for kind, sentences in verdict.found.items() if sentences}
        self.assertEqual(found, set(kinds), verdict.found)

    def test_what_is_well_passes(self):
        verdict = judge(*good())
        self.expect(verdict)
        self.assertTrue(verdict.holds())
        self.assertEqual((verdict.records, verdict.acknowledged), (5, 5))

    def test_an_acknowledged_record_that_is_gone_is_lost(self):
        producers, consumers, logs = good()
        for seen in consumers:
            seen.remove("seen 0 3 1 2")
        self.expect(judge(producers, consumers, logs), "lost")

    def test_a_flushed_record_without_a_receipt_is_lost_too(self):
        producers, consumers, logs = good()
        producers[0].remove("receipt 0 2 1 -1")
        self.expect(judge(producers, consumers, logs))
        for seen in consumers:
            seen.remove("seen 0 3 1 2")
        self.expect(judge(producers, consumers, logs), "lost")

    def test_twice_in_the_log(self):
        producers, consumers, logs = good()
        for seen in consumers:
            seen.insert(-1, "seen 0 4 1 2")
        self.expect(judge(producers, consumers, logs), "doubled")

    def test_order(self):
        producers, consumers, logs = good()
        producers[0][0] = "receipt 0 0 2 -1"
        for seen in consumers:
            seen[0], seen[1] = "seen 0 0 1 1", "seen 0 1 1 0"
        self.expect(judge(producers, consumers, logs), "disordered")

    def test_a_receipt_that_names_another_place(self):
        producers, consumers, logs = good()
        producers[1][0] = "receipt 0 0 1 3"
        self.expect(judge(producers, consumers, logs), "misplaced")

    def test_consumers_that_saw_different_records(self):
        producers, consumers, logs = good()
        producers[1][0] = "receipt 0 0 1 -1"
        producers[0][2] = ""
        producers[0].remove("")
        consumers[1][3], consumers[1][4] = "seen 0 2 1 2", "seen 0 3 2 0"
        self.expect(judge(producers, consumers, logs), "differing")

    def test_a_record_that_changed_after_it_was_seen(self):
        producers, consumers, logs = good()
        consumers[0].insert(2, "seen 0 1 2 0")
        self.expect(judge(producers, consumers, logs), "faults")

    def test_an_offset_left_out(self):
        producers, consumers, logs = good()
        consumers[0].remove("seen 0 1 1 1")
        self.assertIn("faults", {kind for kind, all_of in
                                 judge(producers, consumers, logs).found.items() if all_of})

    def test_a_consumer_that_did_not_see_the_end(self):
        producers, consumers, logs = good()
        consumers[0].remove("seen 0 3 1 2")
        self.expect(judge(producers, consumers, logs), "unended")

    def test_a_producer_that_could_not_flush(self):
        producers, consumers, logs = good()
        producers[0][-1] = "end -110 5 4 0 1"
        self.expect(judge(producers, consumers, logs), "unended")
        producers[0][-1] = "fault put: closed"
        self.expect(judge(producers, consumers, logs), "unended", "faults")

    def test_logs_that_differ(self):
        for change in ((0, 2, 1, "ab"), (0, 2, 65, "aa"), None):
            producers, consumers, logs = good()
            logs["b"][0][0:1] = [change] if change else []
            self.expect(judge(producers, consumers, logs), "logs differing")
        producers, consumers, logs = good()
        del logs["b"][1]
        self.expect(judge(producers, consumers, logs), "logs differing")


if __name__ == "__main__":
    support.main()
