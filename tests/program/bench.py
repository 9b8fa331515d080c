#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of `millrace bench`: wrong words are refused with a sentence, help has every
question, the JSON has its shape, and however it ends, no process and no file of it is left.

How fast anything is, is no test."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import support

QUESTIONS = ("limits", "lane", "ingest", "ack", "consume", "recover", "idle", "scale", "replica",
             "knowledge", "soak")
QUESTION = "ingest"  # engines, loads and raw writes; quick with short samples
PROGRAM_PATIENCE = 120

WRONG = (
    ((), "name the question"),
    (("dance",), "no question 'dance'"),
    (("lane", "ack"), "one question at a time: 'ack'"),
    (("lane", "--seconds", "0"), "--seconds: '0'"),
    (("lane", "--seconds", "-1"), "--seconds: '-1'"),
    (("lane", "--seconds", "nan"), "--seconds: 'nan'"),
    (("lane", "--seconds", "inf"), "--seconds: 'inf'"),
    (("lane", "--seconds", "2s"), "--seconds: '2s'"),
    (("lane", "--seconds", ""), "--seconds: ''"),
    (("--seconds", "1"), "name the question"),
)

FIGURE = {"name": str, "unit": str, "value": (int, float), "limit": (int, float, type(None)),
          "limit_name": (str, type(None)), "ratio": (int, float, type(None)),
          "ratio_min": (int, float, type(None)), "ratio_max": (int, float, type(None)),
          "bar": (int, float, type(None)), "sense": str, "met": (bool, type(None)),
          "disturbed": (int, float), "note": (str, type(None)), "pairs": list}
MACHINE = {"cpu": str, "hypervisor": str, "cores": int, "cpus": int, "nodes": int,
           "memory_bytes": int, "kernel": str, "file_system": str, "disk": str, "io": str,
           "interrupt_core": (int, type(None)), "date": str, "version": str}
CORE = {"core": int, "seconds": float, "lost": float, "gaps": int, "gaps_per_second": float,
        "longest_us": float}


def processes_in(directory):
    """Pids that run there, or that were told of it."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            where = os.readlink(f"/proc/{name}/cwd")
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        if where.startswith(directory + "/") or directory in words:
            found.append(int(name))
    return found


class Bench(support.Program):
    def bench(self, *words):
        return self.run_command("bench", *words)

    def answer(self, *words):
        """A quick question, answered; skipped where its disk has no room."""
        ran = self.bench(QUESTION, "--seconds", "0.1", *words)
        if ran.code == 1 and "ENOSPC" in ran.err:
            self.skipTest(ran.err.strip())
        self.assertEqual(ran.code, 0, ran)
        return ran

    def assert_shape(self, thing, shape):
        self.assertEqual(set(thing), set(shape))
        for key, kinds in shape.items():
            self.assertIsInstance(thing[key], kinds, f"{key}: {thing[key]!r}")

    def assert_nothing_left(self):
        self.assertEqual(processes_in(self.directory), [])
        self.assertEqual(os.listdir(self.directory), [])

    def assert_three_lines(self, ran):
        lines = ran.err.splitlines()
        self.assertRegex(lines[0], r"^millrace: .* \([A-Z]+\)$")
        self.assertLessEqual(len(lines), 3, ran)
        for line in lines[1:]:
            self.assertRegex(line, r"^  (why: |do:  )")
        self.assertTrue(lines[-1].startswith("  do:  "), ran)

    # ---- words ---------------------------------------------------------------------------

    def test_wrong_words_are_refused_in_three_lines(self):
        for words, sentence in WRONG:
            with self.subTest(words=words):
                ran = self.bench(*words)
                self.assertEqual(ran.code, 2, ran)
                self.assertIn(sentence, ran.err)
                self.assertEqual(ran.out, "")
                self.assert_three_lines(ran)
        self.assert_nothing_left()

    def test_a_directory_that_cannot_be_used_is_refused(self):
        self.file("a-file", "")
        for data, sentence in (("not-there", "cannot use the directory 'not-there'"),
                               ("a-file", "'a-file' is no directory"),
                               ("/sys", "")):
            with self.subTest(data=data):
                ran = self.bench("lane", "--data", data)
                self.assertEqual(ran.code, 1, ran)
                self.assertIn(sentence, ran.err)
                self.assert_three_lines(ran)
        ran = self.bench("lane", "--save", "a-file")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("'a-file' is no directory", ran.err)

    @unittest.skipUnless(os.access("/proc", os.W_OK), "only root may try to write there")
    def test_without_room_it_does_not_begin(self):
        """No file system of this host is smaller than /proc."""
        ran = self.bench("ingest", "--data", "/proc")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("'/proc' has 0.0 GiB free, the question 'ingest' needs 8.0 GiB", ran.err)
        self.assertIn("ENOSPC", ran.err)
        self.assert_three_lines(ran)

    @unittest.skipUnless(os.path.ismount("/dev/shm") and os.access("/dev/shm", os.W_OK),
                         "there is no file system in memory")
    def test_memory_is_no_disk(self):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
            process = self.start("bench", QUESTION, "--seconds", "600", "--data", place,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = process.stderr.readline().decode()
            self.stop(process, signal.SIGINT)
            process.stderr.close()
            if "ENOSPC" not in said:
                self.assertIn("this directory is memory, no disk", said)
            self.assertEqual(os.listdir(place), [])

    def test_help_has_every_question(self):
        ran = self.bench("--help")
        self.assertEqual(ran.code, 0, ran)
        for name in QUESTIONS + ("all",):
            self.assertRegex(ran.out, rf"(?m)^  {name} ")
        for name in QUESTIONS:
            for words in ((name, "--help"), ("--help", name), (name, "--seconds", "1", "--help")):
                ran = self.bench(*words)
                self.assertEqual(ran.code, 0, ran)
                self.assertTrue(ran.out.startswith(f"millrace bench {name}:\n"), ran)
                self.assertIn("Examples:", ran.out)
                for line in ran.out.splitlines():
                    self.assertLessEqual(len(line), 80, line)

    # ---- answers -------------------------------------------------------------------------

    def check_figure(self, figure):
        self.assert_shape(figure, FIGURE)
        self.assertGreater(len(figure["pairs"]), 0)
        self.assertIn(figure["sense"], ("report", "at least", "at most"))
        self.assertTrue(0 <= figure["disturbed"] <= 1, figure)
        self.assertEqual(figure["met"] is None, figure["sense"] == "report", figure)
        self.assertEqual(figure["bar"] is None, figure["sense"] == "report", figure)
        self.assertEqual(figure["limit"] is None, figure["limit_name"] is None, figure)
        for pair in figure["pairs"]:
            self.assertEqual(set(pair), {"ours", "limit", "ratio", "disturbed"})
        if figure["limit"] is not None:
            self.assertLessEqual(figure["ratio_min"], figure["ratio"])
            self.assertLessEqual(figure["ratio"], figure["ratio_max"])

    def test_json_has_its_shape_and_nothing_is_left(self):
        ran = self.answer("--json")
        said = [line for line in ran.err.splitlines() if " warning " not in line]
        self.assertEqual(said, [], "nobody watches")
        self.assertEqual(len(ran.out.splitlines()), 1)
        found = ran.json()
        self.assertEqual(set(found), {"question", "machine", "jitter", "figures", "series"})
        self.assertEqual(found["question"], QUESTION)
        self.assert_shape(found["machine"], MACHINE)
        self.assertIn(found["jitter"]["scheduling"], ("fifo", "normal"))
        self.assertEqual(len(found["jitter"]["cores"]), len(os.sched_getaffinity(0)))
        for core in found["jitter"]["cores"]:
            self.assert_shape(core, CORE)
            self.assertGreater(core["seconds"], 0.1)
        self.assertGreater(len(found["figures"]), 0)
        for figure in found["figures"]:
            self.check_figure(figure)
        self.assert_nothing_left()

    def test_the_table_fits_and_what_is_saved_is_the_json(self):
        saved = os.path.join(self.directory, "saved")
        ran = self.answer("--save", "saved")
        for line in ran.out.splitlines():
            self.assertLessEqual(len(line), 100, line)
        self.assertEqual(os.listdir(saved), [QUESTION + ".json"])
        with open(os.path.join(saved, QUESTION + ".json"), encoding="utf-8") as file:
            figures = json.load(file)["figures"]
        for figure in figures:
            self.assertIn(figure["name"], ran.out)

    # ---- ends ----------------------------------------------------------------------------

    def stop_in_the_middle(self, how):
        """Signals it once it runs an engine. Returns its exit code."""
        log = open(os.path.join(self.directory, "log"), "wb")
        process = self.start("bench", QUESTION, "--seconds", "600", stdout=log, stderr=log)
        log.close()
        self.wait_for(lambda: process.poll() is not None or self.runs_an_engine(),
                      "an engine of the question's")
        if process.poll() is not None:
            with open(os.path.join(self.directory, "log"), encoding="utf-8") as file:
                said = file.read()
            if "ENOSPC" in said:
                self.skipTest(said.strip())
            self.fail("it ended by itself: " + said)
        code = self.stop(process, how)
        os.unlink(os.path.join(self.directory, "log"))
        return code

    def runs_an_engine(self):
        for pid in processes_in(self.directory):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if b"\0serve\0" in file.read():
                        return True
            except OSError:
                pass
        return False

    def test_a_signal_ends_all_and_removes_all(self):
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(how=how):
                self.assertEqual(self.stop_in_the_middle(how), 4)
                self.assert_nothing_left()

    def test_killed_it_leaves_no_process(self):
        """Its directory stays then: nobody is left to remove it."""
        self.stop_in_the_middle(signal.SIGKILL)
        end = time.monotonic() + PROGRAM_PATIENCE
        while processes_in(self.directory) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(processes_in(self.directory), [])


if __name__ == "__main__":
    support.main()
