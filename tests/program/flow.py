#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold: what was put is what is tailed, in every format; each refusal has its code."""
import base64
import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import time
import unittest

import support


class Flow(support.Program):
    def setUp(self):
        super().setUp()
        self.engine = self.start_engine()

    # ---- round trips ---------------------------------------------------------------------

    def test_raw_lines_come_back_as_they_were(self):
        text = "one\n\n  three \t\nfür\r\n" + "x" * 100000 + "\nlast without a break"
        ran = self.good("put", "t", stdin=text)
        self.assertIn("6 records published into 't'", ran.out)
        self.assertIn("6 acknowledged as committed", ran.out)
        self.assertIn("partition 0: 6 records, offsets 0 to 5", ran.out)
        self.assertEqual(self.good("tail", "t", "--format", "raw").out, text + "\n")

    def test_raw_bytes_come_back_as_they_were(self):
        blob = bytes(byte for byte in range(256) if byte != 10)
        self.good("put", "t", stdin=blob + b"\n")
        rows = self.good("tail", "t", "--json").json_lines()
        self.assertEqual(base64.b64decode(rows[0]["value_base64"]), blob)

    def test_an_empty_input_is_no_record(self):
        report = self.good("put", "t", "--json", stdin="").json()
        self.assertEqual((report["published"], report["partitions"]), (0, []))
        self.assertEqual(self.good("tail", "t").out, "")

    def test_a_file_and_its_name(self):
        path = self.file("lines.txt", "a\nb\n")
        self.good("put", "t", path)
        self.good("put", "t", "-", stdin="c\n")
        self.assertEqual(self.values("t"), ["a", "b", "c"])

    def test_json_keys_and_times(self):
        lines = ['{"id":"a","m":{"at":"2026-01-02T03:04:05Z"},"v":1}',
                 '{"id":7,"m":{"at":1700000000},"v":2}']
        self.good("put", "t", "--format", "json", "--key", "id", "--time", "m.at",
                  stdin="\n".join(lines) + "\n")
        rows = self.good("tail", "t", "--json").json_lines()
        self.assertEqual([row["value"] for row in rows], lines)
        self.assertEqual([row["key"] for row in rows], ["a", "7"])
        self.assertEqual([row["timestamp_ms"] for row in rows], [1767323045000, 1700000000000])

    def test_csv_keys_and_times(self):
        text = 'timestamp,name,value\r\n2015-07-10 14:24:00,"a, b",1\r\n1436538241,"x\ny",2\r\n'
        self.good("put", "t", "--format", "csv", "--key", "name", "--time", "timestamp",
                  stdin=text)
        rows = self.good("tail", "t", "--json").json_lines()
        self.assertEqual([row["key"] for row in rows], ["a, b", "x\ny"])
        self.assertEqual([row["timestamp_ms"] for row in rows], [1436538240000, 1436538241000])
        self.assertEqual(rows[0]["value"], '2015-07-10 14:24:00,"a, b",1')

    def test_csv_output_is_read_by_others(self):
        values = ['plain', 'com,ma', 'quo"te', '', 'two words']
        self.good("put", "t", stdin="\n".join(values) + "\n")
        rows = list(csv.reader(io.StringIO(self.good("tail", "t", "--format", "csv").out)))
        self.assertEqual(rows[0], ["partition", "offset", "timestamp", "key", "value"])
        self.assertEqual([row[4] for row in rows[1:]], values)
        self.assertEqual([row[1] for row in rows[1:]], ["0", "1", "2", "3", "4"])

    def test_the_table_is_one_line_a_record(self):
        self.good("put", "t", stdin="a\nb\x1b[2J\n")
        lines = self.good("tail", "t", "--format", "table").out.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("0:1", lines[2])
        self.assertNotIn("\x1b", lines[2])

    def test_many_records_are_all_there_once(self):
        count = 300000
        text = "".join(f"{i}\n" for i in range(count))
        report = self.good("put", "t", "--json", stdin=text).json()
        self.assertEqual((report["published"], report["acknowledged"]), (count, count))
        self.assertEqual(report["partitions"][0]["first_offset"], 0)
        self.assertEqual(report["partitions"][0]["last_offset"], count - 1)
        self.assertEqual(self.good("tail", "t").out, text)

    # ---- refusals ------------------------------------------------------------------------

    def test_a_bad_line_ends_it_after_what_was_good(self):
        ran = self.client("put", "t", "--format", "json", stdin='{"a":1}\n{"a":2}\n{"a":\n{}\n')
        self.assertEqual(ran.code, 1, ran)
        self.assertRegex(ran.err, r"millrace: line 3: no JSON: .*\(EBADMSG\)")
        self.assertIn("2 records published", ran.out)
        self.assertEqual(self.values("t"), ['{"a":1}', '{"a":2}'])

    def test_bad_lines_can_be_left_out(self):
        ran = self.client("put", "t", "--format", "json", "--skip-bad", "--json",
                          stdin='{"a":1}\nno\n{"a":2}\n[\n')
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual((ran.json()["published"], ran.json()["bad_lines"]), (2, 2))
        self.assertIn("left out: line 2:", ran.err)
        self.assertIn("left out: line 4:", ran.err)

    def test_a_first_row_that_names_the_key_twice_is_refused(self):
        ran = self.client("put", "t", "--format", "csv", "--key", "id", "--skip-bad",
                          stdin="id,v,id\n1,2,3\n")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("the first row names field 'id' twice (EINVAL)\n  why: it is: id,v,id",
                      ran.err)
        self.good("put", "t", "--format", "csv", "--key", "v", stdin="id,v,id\n1,2,3\n")

    def test_where_all_lines_are_bad_nothing_is_done(self):
        ran = self.client("put", "t", "--format", "json", "--skip-bad", stdin="no\nnone\n")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("0 records published", ran.out)
        self.assertIn("2 bad lines left out", ran.out)

    def test_a_first_row_without_the_column_is_never_skipped(self):
        ran = self.client("put", "t", "--format", "csv", "--key", "id", "--skip-bad",
                          stdin="a,b\n1,2\n")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("names no field 'id'", ran.err)
        self.assertIn("0 records published", ran.out)

    def test_a_record_that_is_too_large_is_its_lines_fault(self):
        text = "small\n" + "x" * (8 << 20) + "\nafter\n"
        ran = self.client("put", "t", stdin=text)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("line 2", ran.err)
        ran = self.good("put", "u", "--skip-bad", stdin=text)
        self.assertEqual(self.values("u"), ["small", "after"])

    def test_consumers_never_make_a_topic(self):
        ran = self.client("tail", "nowhere")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("nowhere", ran.err)
        self.assertEqual(self.good("topic", "list", "--json").json()["topics"], [])

    def test_places_that_are_not_there_are_refused(self):
        self.good("put", "t", stdin="a\n")
        for words in (("tail", "t", "--partition", "5"), ("put", "t", "--partition", "5")):
            ran = self.client(*words, stdin="x\n")
            self.assertEqual(ran.code, 1, ran)

    # ---- where it begins and ends --------------------------------------------------------

    def test_from_and_count(self):
        self.good("put", "t", stdin="".join(f"{i}\n" for i in range(10)))
        self.assertEqual(self.values("t", "--from", "earliest", "--count", "2"), ["0", "1"])
        self.assertEqual(self.values("t", "--from", "7"), ["7", "8", "9"])
        self.assertEqual(self.values("t", "--from", "latest"), [])
        self.assertEqual(self.values("t", "--from", "10"), [])

    def test_from_a_time(self):
        lines = [json.dumps({"at": f"2026-01-0{day}T00:00:00Z", "n": day}) for day in range(1, 8)]
        self.good("put", "t", "--format", "json", "--time", "at", stdin="\n".join(lines))
        self.assertEqual(self.values("t", "--from", "2026-01-05"), lines[4:])
        self.assertEqual(self.values("t", "--from", "2026-01-04T12:00"), lines[4:])
        self.assertEqual(self.values("t", "--from", "2025-01-01"), lines)
        self.assertEqual(self.values("t", "--from", "2027-01-01"), [])

    def test_a_group_goes_on_where_it_was(self):
        self.good("put", "t", stdin="a\nb\nc\nd\n")
        self.assertEqual(self.values("t", "--group", "g", "--count", "3"), ["a", "b", "c"])
        self.assertEqual(self.values("t", "--group", "g"), ["d"])
        self.assertEqual(self.values("t", "--group", "g"), [])
        self.assertEqual(self.values("t", "--group", "other"), ["a", "b", "c", "d"])
        self.assertEqual(self.stop(self.engine), 0)
        self.start_engine()
        self.good("put", "t", stdin="e\n")
        self.assertEqual(self.values("t", "--group", "g"), ["e"], "durable over a restart")
        self.assertEqual(self.values("t", "--group", "g", "--from", "1", "--count", "1"), ["b"])
        self.assertEqual(self.values("t", "--group", "g", "--count", "1"), ["c"])

    def test_a_group_takes_nothing_that_was_not_written(self):
        self.good("put", "t", stdin="".join(f"{i}\n" for i in range(50000)))
        for words in ((), ("--follow",)):
            with open("/dev/full", "wb") as full:
                ran = self.start("tail", "t", "--group", "g", *words, "--socket", self.socket,
                                 stdout=full, stderr=subprocess.PIPE)
                self.assertIn(b"cannot write to standard output (", ran.stderr.read())
            self.assertEqual(ran.wait(), 4)
        self.assertEqual(self.values("t", "--group", "g", "--count", "1"), ["0"])

    def test_a_closed_place_is_not_taken_by_another_file(self):
        def run(what, *words):
            return subprocess.run(["sh", "-c", f'exec "$@" {what}', "sh", support.MILLRACE, *words,
                                   "--socket", self.socket], capture_output=True, check=False,
                                  timeout=support.PATIENCE)
        ran = run("<&-", "put", "t")
        self.assertEqual((ran.returncode, ran.stderr),
                         (1, b"millrace: cannot read the input (EBADF)\n"), ran)
        ran = run(">&-", "topic", "list")
        self.assertEqual(ran.returncode, 4, ran)
        self.assertIn(b"cannot write to standard output (EBADF)", ran.stderr)
        self.assertEqual(run("2>&-", "topic", "list").returncode, 0)

    def test_follow_waits_for_more_and_ends_on_a_signal(self):
        self.good("put", "t", stdin="a\n")
        tail = self.start("tail", "t", "--follow", "--format", "raw", "--socket", self.socket,
                          stdout=subprocess.PIPE)
        self.assertEqual(tail.stdout.readline(), b"a\n")
        self.good("put", "t", stdin="b\n")
        self.assertEqual(tail.stdout.readline(), b"b\n")
        self.assertEqual(self.stop(tail, signal.SIGINT), 0)

    def test_the_appended_view_has_the_records_too(self):
        self.good("put", "t", "--acks", "memory", stdin="a\nb\n")
        self.assertEqual(self.values("t", "--view", "appended"), ["a", "b"])

    # ---- partitions ----------------------------------------------------------------------

    def test_keys_choose_partitions(self):
        self.good("topic", "create", "t", "--partitions", "4")
        lines = "".join(json.dumps({"k": f"key{i % 50}", "i": i}) + "\n" for i in range(1000))
        report = self.good("put", "t", "--format", "json", "--key", "k", "--json",
                           stdin=lines).json()
        self.assertEqual(sum(one["records"] for one in report["partitions"]), 1000)
        self.assertGreater(len(report["partitions"]), 1)
        rows = self.good("tail", "t", "--json").json_lines()
        self.assertEqual(sorted(json.loads(row["value"])["i"] for row in rows),
                         list(range(1000)))
        places = {}
        for row in rows:
            self.assertEqual(places.setdefault(row["key"], row["partition"]), row["partition"])
        for number in range(4):
            mine = [row for row in rows if row["partition"] == number]
            self.assertEqual([row["offset"] for row in mine], list(range(len(mine))))
            order = [json.loads(row["value"])["i"] for row in mine]
            self.assertEqual(order, sorted(order))

    def test_one_partition_by_its_number(self):
        self.good("topic", "create", "t", "--partitions", "3")
        self.good("put", "t", "--partition", "2", stdin="a\nb\n")
        rows = self.good("tail", "t", "--partition", "2", "--json").json_lines()
        self.assertEqual([row["partition"] for row in rows], [2, 2])
        self.assertEqual(self.good("tail", "t", "--partition", "0").out, "")

    # ---- pace and signals ----------------------------------------------------------------

    def test_rate_is_kept(self):
        begun = time.monotonic()
        self.good("put", "t", "--rate", "100", stdin="x\n" * 150)
        elapsed = time.monotonic() - begun
        self.assertGreater(elapsed, 1.3)
        self.assertEqual(len(self.values("t")), 150)

    def test_a_signal_flushes_and_reports(self):
        put = self.start("put", "t", "--json", "--socket", self.socket, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        put.stdin.write(b"a\nb\nnot yet a line")
        put.stdin.flush()
        self.wait_for(lambda: self.client("tail", "t").out == "a\nb\n", "two records")
        self.assertEqual(self.stop(put, signal.SIGINT), 0)
        report = json.loads(put.stdout.read())
        self.assertEqual((report["published"], report["acknowledged"]), (2, 2))
        self.assertTrue(report["stopped"])

    def test_weaker_acks_are_named(self):
        ran = self.good("put", "t", "--acks", "memory", stdin="a\n")
        self.assertIn("memory: lost if", ran.out)
        self.assertIn("disk: durable", self.good("put", "t", "--acks", "disk", stdin="a\n").out)

    def test_a_topic_that_goes_under_a_producer_is_told(self):
        put = self.start("put", "t", "--socket", self.socket, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            put.stdin.write(b"a\n")
            put.stdin.flush()
            self.wait_for(lambda: self.client("tail", "t").out == "a\n", "a record")
            tail = self.start("tail", "t", "--follow", "--socket", self.socket,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(tail.stdout.readline(), b"a\n")
            self.good("topic", "delete", "t")
            put.stdin.write(b"b\n")
            put.stdin.flush()
            self.assertEqual(put.wait(timeout=support.PATIENCE), 4)
            self.assertIn(b"deleted", put.stderr.read())
            self.assertEqual(tail.wait(timeout=support.PATIENCE), 1)
            self.assertIn(b"topic 't' is gone", tail.stderr.read())
        finally:
            with contextlib.suppress(BrokenPipeError):
                put.stdin.close()
            put.stdin = None

    # ---- topics --------------------------------------------------------------------------

    def test_topics_from_their_making_to_their_end(self):
        made = self.good("topic", "create", "trades", "--partitions", "2", "--retention", "7d",
                         "--retention-bytes", "1GiB", "--json").json()
        self.assertEqual((made["name"], len(made["partitions"])), ("trades", 2))
        self.assertEqual((made["retention_ms"], made["retention_bytes"]), (604800000, 1 << 30))
        ran = self.client("topic", "create", "trades")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("EEXIST", ran.err)
        self.assertIn("trades", self.good("topic", "list").out)
        said = self.good("topic", "describe", "trades").out
        self.assertIn("id " + made["id"], said)
        self.assertIn("kept: by age 7 d, by size 1 GiB a partition; segments of 1 GiB\n", said)
        said = self.good("topic", "create", "ever", "--retention", "0", "--segment-bytes",
                         "17000001").out
        self.assertIn("kept: by age no limit, by size no limit; segments of 17000001 bytes", said)
        self.good("topic", "delete", "trades")
        ran = self.client("topic", "describe", "trades")
        self.assertEqual(ran.code, 1, ran)
        self.assertEqual(self.client("topic", "delete", "trades").code, 1)
        again = self.good("topic", "create", "trades", "--json").json()
        self.assertNotEqual(again["id"], made["id"], "a name that is used again is another topic")

    def test_wrong_names_are_refused(self):
        for name in ("a/b", "", "x" * 250, "grün", "."):
            ran = self.client("topic", "create", name)
            self.assertIn(ran.code, (1, 2), ran)
            self.assertNotEqual(ran.err, "")

    # ---- the collector -------------------------------------------------------------------

    def test_the_collector_publishes_what_proc_says(self):
        collector = self.start("collect", "host", "--every", "100ms", "--socket", self.socket,
                               stderr=subprocess.PIPE)
        self.wait_for(lambda: b"cpu.total.busy" in
                      self.client("tail", "host", "--json").out.encode("utf-8", "replace"),
                      "metrics")
        self.assertEqual(self.stop(collector, signal.SIGINT), 0)
        rows = self.good("tail", "host", "--json").json_lines()
        keys = {row["key"] for row in rows}
        self.assertIn("memory.used", keys)
        self.assertIn("load.1min", keys)
        for row in rows:
            value = json.loads(row["value"])
            self.assertIsInstance(value["value"], (int, float))
            self.assertIn(value["unit"], ("%", "bytes", "bytes/s", "1/s", "tasks"))


if __name__ == "__main__":
    support.main()
