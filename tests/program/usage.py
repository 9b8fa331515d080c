#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold: wrong input is refused with exit code 2 and a sentence, help has examples, and
without an engine every client says so with exit code 3."""
import json
import os

import support

COMMANDS = ("serve", "demo", "topology", "topic", "put", "tail", "collect", "verify", "dump",
            "repair", "cert", "rule", "get", "explain", "fit", "bench", "version")

WRONG = (
    ((), "usage"),
    (("dance",), "no command 'dance'"),
    (("serve", "--data"), "requires an argument"),
    (("serve", "extra"), "Too many arguments"),
    (("serve", "--config", "not-there.yaml"), "not-there.yaml"),
    (("demo", "--seconds", "0"), "--seconds"),
    (("demo", "--seconds", "soon"), "--seconds"),
    (("topology", "--workers", "0"), "--workers"),
    (("topology", "--placement", "high"), "--placement"),
    (("topology", "--idle", "never"), "--idle"),
    (("topology", "--interrupts", "1;2"), "--interrupts"),
    (("topic",), "say what to do"),
    (("topic", "rename"), "no 'rename'"),
    (("topic", "create"), "needs a topic"),
    (("topic", "list", "t"), "takes no topic"),
    (("topic", "delete", "a", "b"), "one too many"),
    (("topic", "create", "t", "--partitions", "0"), "--partitions"),
    (("topic", "create", "t", "--partitions", "1025"), "--partitions"),
    (("topic", "create", "t", "--retention", "long"), "--retention is 'long', expected a time"),
    (("topic", "create", "t", "--retention", "7"), "a whole number with ms, s, min, h or d"),
    (("topic", "create", "t", "--retention", "36501d"), "from 0 to 36500 d"),
    (("topic", "create", "t", "--retention-bytes", "10GB"), "alone or with KiB, MiB or GiB"),
    (("topic", "create", "t", "--tail-bytes", "3MiB"), "expected a power of two from 1 MiB"),
    (("topic", "create", "t", "--segment-bytes", "1"), "expected a size from 16 MiB to 4 GiB"),
    (("topic", "create", "t", "--storage", "tape"), "expected disk or memory"),
    (("topic", "describe", "t", "--partitions", "2"), "takes no sizes"),
    (("topic", "create", "t", "--compression", "lz"), "did you mean 'lz4'?"),
    (("topic", "describe", "t", "--compression", "lz4"), "takes no sizes"),
    (("put",), "name the topic"),
    (("put", "t", "a", "b"), "one too many"),
    (("put", "t", "--format", "xml"), "--format"),
    (("put", "t", "--key", "id"), "--format json or csv"),
    (("put", "t", "--acks", "all"), "--acks"),
    (("put", "t", "--rate", "0"), "--rate"),
    (("put", "t", "--rate", "-5"), "--rate"),
    (("put", "t", "--partition", "x"), "--partition"),
    (("tail",), "name the topic"),
    (("tail", "a", "b"), "one too many"),
    (("tail", "t", "--from", "noon"), "--from"),
    (("tail", "t", "--from", "2026-02-30"), "--from"),
    (("tail", "t", "--count", "0"), "--count"),
    (("tail", "t", "--format", "xml"), "--format"),
    (("tail", "t", "--view", "all"), "--view"),
    (("tail", "t", "--group", ""), "--group"),
    (("collect",), "say what to collect"),
    (("collect", "moon"), "moon"),
    (("collect", "host", "--every", "1ms"), "--every"),
    (("verify",), "name the data directory"),
    (("dump",), "name the data directory"),
    (("dump", "d", "--depth", "bytes"), "--depth"),
    (("repair",), "name the data directory"),
    (("cert",), "say what to do"),
    (("cert", "make"), "no 'make'"),
    (("cert", "init"), "name the nodes"),
    (("cert", "init", "a", "b c"), "no name of a node"),
    (("cert", "init", "../a"), "no name of a node"),
    (("cert", "init", "a" * 65), "no name of a node"),
    (("cert", "init", "ca"), "cannot be called"),
    (("cert", "init", "a", "b", "A"), "twice"),
    (("cert", "init", "--days", "0", "a"), "--days"),
    (("cert", "init", "--days", "36501", "a"), "--days"),
    (("cert", "init", "--ca-days", "ten", "a"), "--ca-days"),
    (("cert", "init", "--dir", "", "a"), "--dir"),
    (("cert", "init", "--cluster", "x y", "a"), "--cluster"),
    (("cert", "init", *(f"n{i}" for i in range(65))), "at most"),
    (("explan", "press-9@0:1"), "did you mean 'explain'?"),
    (("rul",), "did you mean 'rule'?"),
    (("rule", "dance"), "no command 'rule dance'"),
    (("rule", "chek", "x"), "did you mean 'rule check'?"),
    (("rule", "add"), "name the rule's file"),
    (("rule", "remove"), "name the pipeline"),
    (("rule", "test"), "name the rule's file"),
    (("rule", "test", "r", "--from", "latest"), "neither earliest, an offset nor a date"),
    (("rule", "test", "r", "--to", "0"), "no offset from 1 on"),
    (("get", "t"), "a topic and a key"),
    (("explain", "press-9@0"), "no KEY@PARTITION:OFFSET"),
    (("fit",), "name the topic"),
    (("fit", "t", "--last", "1"), "from 2 to 512"),
    (("fit", "t", "--value", "temp"), "--value: 'temp' is no path into JSON"),
    (("fit", "t", "--value", "$.v", "--key-field", "k"), "--key-field: 'k' is no path into JSON"),
    (("fit", "t", "--parse", "jsno", "--value", "$.v"), "did you mean 'json'?"),
    (("rule", "check"), "name the rule's file"),
    (("rule", "check", "--loud"), "unrecognized option"),
    (("version", "--loud"), "unrecognized option"),
)


class Usage(support.Program):
    def test_wrong_words_are_refused_with_a_sentence(self):
        for words, sentence in WRONG:
            with self.subTest(words=words):
                ran = self.run_command(*words)
                self.assertEqual(ran.code, 2, ran)
                self.assertIn(sentence, ran.err)
                self.assertEqual(ran.out, "")

    def test_every_command_has_help_with_examples(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                ran = self.run_command(command, "--help")
                self.assertEqual(ran.code, 0, ran)
                self.assertIn("Examples:", ran.out)
                self.assertIn(f"millrace {command}", ran.out)
                for line in ran.out.splitlines():
                    self.assertLessEqual(len(line), 90, line)

    def test_the_list_of_commands_is_whole(self):
        ran = self.run_command("--help")
        self.assertEqual(ran.code, 0, ran)
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", ran.out)
        self.assertIn("Exit codes", ran.out)

    def test_version(self):
        self.assertRegex(self.run_command("version").out, r"^millrace \d+\.\d+\.\d+ ")
        self.assertIn("version", self.run_command("version", "--json").json())
        self.assertEqual(self.run_command("--version").code, 0)

    def test_without_an_engine_clients_say_so(self):
        for words in (("put", "t"), ("tail", "t"), ("topic", "list"), ("collect", "host")):
            with self.subTest(words=words):
                ran = self.client(*words)
                self.assertEqual(ran.code, 3, ran)
                lines = ran.err.splitlines()
                self.assertRegex(lines[0], r"^millrace: .*\((ENOENT|ECONNREFUSED)\)$")
                self.assertIn(self.socket, ran.err)
                self.assertRegex(ran.err, r"(?m)^  do:  ")

    def test_a_socket_that_is_none_is_said(self):
        for path, what in ((self.directory, "a directory"), (self.file("a", ""), "a file")):
            ran = self.run_command("status", "--socket", path)
            self.assertEqual(ran.code, 3, ran)
            self.assertIn(f"cannot reach an engine at '{path}' (ECONNREFUSED)\n"
                          f"  why: that is {what}, and no socket\n", ran.err)

    def test_a_missing_input_file_is_said(self):
        ran = self.client("put", "t", "not-there.txt")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("not-there.txt", ran.err)

    def test_a_directory_without_data_is_refused(self):
        for command in ("verify", "dump", "repair"):
            ran = self.run_command(command, self.directory)
            self.assertEqual(ran.code, 1, ran)
            self.assertIn("no data directory", ran.err)
            self.assertEqual(os.listdir(self.directory), [], "nothing may be made there")

    def test_a_wrong_configuration_is_refused_by_its_line(self):
        path = self.file("wrong.yaml", "partitions: 1\nsegment_bites: 7\n")
        ran = self.run_command("serve", "--data", self.data, "--config", path)
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("wrong.yaml:2:", ran.err)
        self.assertFalse(os.path.exists(self.data))

    def test_the_examples_are_good_rules(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                              "examples", "pipelines")
        files = sorted(os.path.join(folder, name) for name in os.listdir(folder)
                       if name.endswith(".yaml"))
        self.assertGreaterEqual(len(files), 2)
        ran = self.run_command("rule", "check", *files)
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual(ran.out.count(" is good\n"), len(files))
        for words in ("topic sensors, json; key $.machine", "last 1min", "each 5min",
                      "stddev(32)", "cleared: avg < 85", "alerts sensors.alerts", "bytes for its"):
            self.assertIn(words, ran.out)
        checked = self.run_command("rule", "check", "--json", *files).json()
        self.assertEqual([one["ok"] for one in checked], [True] * len(files))
        self.assertGreater(checked[0]["key_window_bytes"], 0)

    def test_a_wrong_rule_is_refused_by_its_line(self):
        good = self.file("good.yaml", "pipeline: p\ninput: a\nparse: number\noutput: b\n")
        wrong = self.file("wrong.yaml", "pipeline: p\ninptu: a\n")
        ran = self.run_command("rule", "check", wrong, good)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("wrong.yaml:2: a rule has no 'inptu' (EINVAL)\n  do:  did you mean 'input'?",
                      ran.err)
        self.assertIn("good.yaml: pipeline p is good", ran.out, "the others are checked, too")
        checked = self.run_command("rule", "check", wrong, "--json")
        self.assertEqual(checked.code, 1)
        self.assertEqual(checked.json()[0]["hint"], "did you mean 'input'?")
        for path, why in (("not-there.yaml", "No such file"), (self.directory, "a directory")):
            for word in ("check", "test", "add"):
                ran = self.run_command("rule", word, path)
                self.assertEqual(ran.code, 1, ran)
                self.assertIn(f"cannot read the rule '{path}'", ran.err)
                self.assertIn(why, ran.err)
                self.assertIn("name a rule's file", ran.err)

    def test_a_rule_has_one_limit_of_bytes_and_may_come_from_standard_input(self):
        rule = "pipeline: p\ninput: a\nparse: number\noutput: b\n"
        full = rule + "#" * (49152 - len(rule))
        ran = self.run_command("rule", "check", "-", stdin=full)
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("-: pipeline p is good", ran.out)
        for word in ("check", "test", "add"):
            ran = self.run_command("rule", word, "-", stdin=full + "#")
            self.assertEqual(ran.code, 1, ran)
            self.assertIn("standard input: a rule has at most 49152 bytes", ran.err)

    def test_topology_prints_the_plan(self):
        ran = self.run_command("topology")
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("worker 0", ran.out)
        synthetic = support.environment(HWLOC_SYNTHETIC="node:2 core:4 pu:2")
        plan = json.loads(self.run_command("topology", "--json", env=synthetic).out)
        self.assertIn("4", json.dumps(plan))
        ran = self.run_command("topology", "--workers", "3", env=synthetic)
        self.assertIn("worker 2", ran.out)
        self.assertNotIn("worker 3", ran.out)

    def test_topology_plans_for_nothing_that_is_not_there(self):
        ran = self.run_command("topology", "--data", os.path.join(self.directory, "none"))
        self.assertEqual(ran.code, 1, ran)
        self.assertRegex(ran.err, r"cannot look at the data directory '.*/none' \(ENOENT\)")
        cpus = os.sysconf("SC_NPROCESSORS_CONF")
        ran = self.run_command("topology", "--interrupts", str(cpus))
        self.assertEqual(ran.code, 1, ran)
        self.assertIn(f"there is no CPU {cpus} here, expected 0 to {cpus - 1}", ran.err)

    def test_topology_plans_for_other_disks_and_workers(self):
        synthetic = support.environment(HWLOC_SYNTHETIC="node:2 core:4 pu:2")

        def cores(*arguments):
            ran = self.run_command("topology", "--json", "--interrupts", "13", *arguments,
                                   env=synthetic)
            threads = json.loads(ran.out)["threads"]
            return [thread["core"] for thread in threads if thread["role"] == "worker"]

        self.assertEqual(cores()[0], 6, "cpu 13 is a thread of core 6")
        self.assertNotIn(6, cores("--idle", "spin"))


if __name__ == "__main__":
    support.main()
