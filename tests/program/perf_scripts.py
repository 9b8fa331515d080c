#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of perf-scripts/: each has help with an example, refuses wrong input with exit
code 2 and a sentence, works from any directory, leaves no process and no temporary file behind; and
what they compute from the words of perf, callgrind and the harness is right. Packages are not
installed here: what is missing is a skip with its reason."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys

import support

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(ROOT, "perf-scripts")
BUILD = os.path.dirname(support.MILLRACE)

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SCRIPTS, "lib"))
import engine as engines  # noqa: E402 (found only now)
import script  # noqa: E402
import stacks  # noqa: E402


def names():
    """The questions: what is executable there."""
    return sorted(name for name in os.listdir(SCRIPTS)
                  if os.path.isfile(os.path.join(SCRIPTS, name))
                  and os.access(os.path.join(SCRIPTS, name), os.X_OK))


def parts_of(name):
    """A script as a module: its functions, without running it."""
    path = os.path.join(SCRIPTS, name)
    loader = importlib.machinery.SourceFileLoader(re.sub(r"\W", "_", name), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    original, script.run = script.run, lambda main, parser: None
    try:
        loader.exec_module(module)
    finally:
        script.run = original
    return module


class PerfScripts(support.Program):
    def run_script(self, name, *words):
        return support.Ran(subprocess.run([os.path.join(SCRIPTS, name), *words],
                                          capture_output=True, timeout=120, check=False,
                                          cwd=self.directory, env=support.environment()))

    def refused(self, name, *words, sentence, code=2):
        ran = self.run_script(name, *words)
        self.assertEqual(ran.code, code, (name, words, ran))
        self.assertIn(sentence, ran.err)
        self.assertEqual(ran.out, "")

    def temporary(self):
        """What a script might have left in this test's directory."""
        return [name for name in os.listdir(self.directory) if name.startswith("tmp.")]

    def engines_here(self):
        """Engines that work below this test's directory."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                where = os.readlink(f"/proc/{pid}/cwd")
                with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                    if file.read().strip() == "millrace" and where.startswith(self.directory):
                        found.append(pid)
            except OSError:
                pass
        return found


class Usage(PerfScripts):
    def test_each_has_help_with_its_question_and_an_example(self):
        self.assertGreaterEqual(len(names()), 6)
        for name in names():
            with self.subTest(name=name):
                ran = self.run_script(name, "--help")
                self.assertEqual(ran.code, 0, ran)
                self.assertRegex(ran.out, r"\?")
                self.assertIn(f"Examples:\n  perf-scripts/{name}", ran.out)

    def test_each_says_its_question_first_and_is_in_the_readme(self):
        with open(os.path.join(SCRIPTS, "README.md"), encoding="utf-8") as file:
            readme = file.read()
        for name in names():
            with open(os.path.join(SCRIPTS, name), encoding="utf-8") as file:
                self.assertRegex(file.read().split("\n\n")[0], r"(?s)\n# Question: .*\?")
            self.assertRegex(readme, rf"(?m)^\| {name}( [A-Z ]+)? \|")

    def test_each_peer_has_help_and_refuses_wrong_input(self):
        for name in os.listdir(os.path.join(SCRIPTS, "peers.d")):
            peer = os.path.join("peers.d", name)
            ran = self.run_script(peer, "--help")
            self.assertEqual(ran.code, 0, ran)
            self.assertIn(f"Examples:\n  perf-scripts/{peer}", ran.out)
            self.refused(peer, "--seconds", "soon", sentence="--seconds")
            self.refused(peer, "--data", "nowhere", sentence="nowhere")
        self.refused("peers", "--only", "nobody", sentence="there is no peer 'nobody'")
        self.refused("peers", "--build", self.directory, sentence="there is no program")

    def test_wrong_words_are_refused(self):
        for name in names():
            self.refused(name, "--dance", sentence="usage:")
        for name in ("flame", "off-cpu", "syscalls", "cache-misses", "numa"):
            self.refused(name, "--pid", "99999999", sentence="no process 99999999")
            self.refused(name, "--pid", str(os.getpid()), sentence="not an engine")
            self.refused(name, "--pid", "self", sentence="is no number")

    def test_a_missing_build_is_refused(self):
        for name in ("flame", "off-cpu", "syscalls", "cache-misses", "numa", "numa-guest",
                     "interrupt-core"):
            with self.subTest(name=name):
                self.refused(name, "--build", self.directory, sentence="there is no program")

    def test_a_missing_directory_and_wrong_numbers_are_refused(self):
        self.refused("interrupt-core", "--build", BUILD, "--data", "nowhere",
                     sentence="there is no directory 'nowhere'")
        self.refused("interrupt-core", "--build", BUILD, "--cores", "4095",
                     sentence="may not use cpu 4095")
        self.refused("interrupt-core", "--seconds", "0", sentence="--seconds")
        self.refused("numa-guest", "mars", sentence="no guest 'mars'")
        self.refused("syscalls", "--rates", "fast", sentence="--rates")
        self.refused("flame", "--rate", "-1", sentence="--rate")

    def test_without_root_they_say_so(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("takes root and setpriv to become somebody else")
        os.chmod(self.directory, 0o755)
        for name in ("off-cpu", "syscalls"):
            ran = support.Ran(subprocess.run(
                ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable,
                 os.path.join(SCRIPTS, name)], capture_output=True, timeout=60, check=False,
                cwd="/"))
            if "Permission denied" in ran.err:
                self.skipTest("the tree is not readable for others")
            self.assertEqual(ran.code, 1, ran)
            self.assertIn("needs root", ran.err)


class Parts(support.Program):
    def test_packages_are_asked_for_by_a_word_that_mill_knows(self):
        if not shutil.which("dpkg-query"):
            self.skipTest("no Debian system")
        result = subprocess.run([os.path.join(ROOT, "mill"), "packages", "dpkg"], text=True,
                                capture_output=True, check=False, timeout=60)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_pages_of_a_guest_are_judged_by_their_node(self):
        """One page on the wrong node, or none at all, is a failed check."""
        guest = parts_of("numa-guest")
        process = os.path.join(self.directory, "engine")
        os.makedirs(os.path.join(process, "pages"))
        with open(os.path.join(process, "pages", "7f0000000000"), "wb") as file:
            file.write(bytes(8) + bytes(range(16)) + (3).to_bytes(4, "little") + bytes(100))
        for name, text in (
                ("maps", "7f0000000000-7f0000001000 rw-s 00000000 00:01 55 /memfd:millrace-tail\n"
                         "7f0000001000-7f0000003000 rw-s 00001000 00:01 55 /memfd:millrace-tail\n"
                         "7f0000003000-7f0000005000 rw-s 00001000 00:01 55 /memfd:millrace-tail\n"
                         "7f0000005000-7f0000006000 rw-p 00000000 00:00 0\n"),
                ("numa_maps", "7f0000000000 default file=/memfd:x mapmax=1 N0=1\n"
                              "7f0000001000 prefer:1 file=/memfd:x dirty=2 N1=2\n"
                              "7f0000003000 prefer:1 file=/memfd:x dirty=2 N1=2\n"
                              "7f0000005000 default anon=1 N0=1\n")):
            with open(os.path.join(process, name), "w", encoding="utf-8") as file:
                file.write(text)
        region, = guest.Facts(self.directory).regions("engine").values()
        self.assertEqual(region, {"kind": "millrace-tail", "pages": {0: 1, 1: 2},
                                  "of": (bytes(range(16)).hex(), 3)})
        for pages, holds in (({0: 1, 1: 2}, False), ({1: 2}, True), ({}, False)):
            checks = guest.Checks()
            with contextlib.redirect_stdout(io.StringIO()):
                guest.check_region(checks, dict(region, pages=pages), 1, "tail")
            self.assertEqual((checks.passed, checks.failed), (int(holds), int(not holds)))

    def test_modules_of_a_guest_stand_behind_what_they_need(self):
        guest = parts_of("numa-guest")
        for name, depends in (("virtio_blk", b"virtio,virtio-ring"), ("virtio", b""),
                              ("virtio-ring", b"virtio")):
            with open(os.path.join(self.directory, name + ".ko"), "wb") as file:
                file.write(b"ELF\0license=GPL\0depends=" + depends + b"\0name=x\0")
        order = guest.module_order(self.directory, ("virtio_blk", "not_there"), [])
        self.assertEqual([os.path.basename(path) for path in order],
                         ["virtio.ko", "virtio-ring.ko", "virtio_blk.ko"])

    def test_stacks_fold_into_a_graph_that_is_well_formed(self):
        import xml.dom.minidom
        folded = stacks.Folded("samples")
        folded.add([("worker 0", "thread"), ("a<b>&", "millrace"), ("top", "kernel")], 3)
        folded.add([("worker 0", "thread"), ("a<b>&", "millrace")], 1)
        self.assertEqual(folded.text(), "worker 0;a<b>& 1\nworker 0;a<b>&;top 3\n")
        self.assertEqual(folded.own(), [("top", 3), ("a<b>&", 1)])
        document = xml.dom.minidom.parseString(folded.svg("A & B", "x"))
        widths = {group.getAttribute("data-n"): float(group.getAttribute("data-w"))
                  for group in document.getElementsByTagName("g") if group.hasAttribute("data-n")}
        self.assertEqual(widths["all"], widths["a<b>&"])
        self.assertAlmostEqual(widths["top"], 0.75 * widths["all"], delta=0.02)

    def test_samples_are_read_as_perf_prints_them(self):
        match = stacks.HEAD.match("worker 0  4712 [001] 12.000345: sched:sched_switch: rest")
        self.assertEqual((match["comm"], match["tid"], match["time"]),
                         ("worker 0", "4712", "12.000345"))
        sample = stacks.Sample(match)
        for line in ("\tffffffff81 schedule+0x1f ([kernel.kallsyms])",
                     "\t    7f2 mr_worker_turn+0x8 (/x/build/millrace)", "\t 1 read (/libc.so.6)"):
            stacks.add_frame(sample, line)
        self.assertEqual(sample.frames, [("read", "library"), ("mr_worker_turn", "millrace"),
                                         ("schedule", "kernel")])

    def test_time_off_the_core_is_split_into_asleep_and_waiting(self):
        off_cpu = parts_of("off-cpu")
        thread, folded = off_cpu.Thread("worker 0"), stacks.Folded("ms")

        def at(time):
            sample = stacks.Sample(stacks.HEAD.match(f"w 7 {time:.6f}: x"))
            sample.frames = [("f", "kernel")]
            return sample
        off_cpu.leave(thread, at(1), "S")
        thread.woken = 3
        off_cpu.come_back(thread, at(4), folded)
        off_cpu.leave(thread, at(5), "R+")
        off_cpu.come_back(thread, at(5.5), folded)
        self.assertEqual((thread.blocked, thread.runnable, thread.preempted), (2, 1.5, 1))
        self.assertEqual(folded.text(), "worker 0;blocked;f 2000\n"
                                        "worker 0;runnable, no core free;f 1500\n")
        self.assertEqual(off_cpu.switch_of("worker 0:12 [120] S ==> swapper/0:0 [120]"),
                         (12, "S", 0))

    def test_counts_of_threads_are_read(self):
        rows = parts_of("cache-misses").parse_stat(
            "# started\n\nworker 0-18152,14112,,cycles:u,17,100.00,,\n"
            "worker 0-18152,<not supported>,,cache-misses,0,100.00,,\n"
            "millrace-7,5,,instructions,17,100.00,,\n")
        self.assertEqual(rows, {18152: {"cycles": 14112}, 7: {"instructions": 5}})

    def test_interrupts_are_those_that_rise_with_the_writes(self):
        seen = parts_of("interrupt-core").seen_cores
        risen = {("36 disk", 0): 3, ("36 disk", 1): 2100, ("41 net", 0): 30, ("24 x", 0): 0}
        self.assertEqual(seen(risen, 1000), ("irq 36 disk", [1]))
        self.assertEqual(seen({("41 net", 0): 30}, 1000), ("", []))

    def test_the_verdict_on_the_plan_follows_what_was_seen(self):
        compare = parts_of("interrupt-core").compare
        worker, medians = {"worker": 0, "cpu": 0, "may_spin": True}, {0: 130.0, 1: 100.0}
        lines = list(compare([1], [worker], [1], medians))
        self.assertIn("agrees", lines[0])
        self.assertIn("take 1.30 times those of the fastest", lines[1])
        self.assertEqual(len(lines), 2)
        lines = list(compare([1], [{**worker, "cpu": 1}], [1], medians))
        self.assertIn("the fastest", lines[1])
        self.assertIn("may spin on the core of the interrupts", lines[2])
        self.assertIn("DISAGREES", next(compare([1], [worker], [0], medians)))
        self.assertIn("no interrupt rises", next(compare([1], [worker], [], medians)))
        self.assertIn("not pinned", list(compare([1], [{**worker, "cpu": None}], [1], medians))[1])

    def test_pages_away_from_the_worker_are_remote(self):
        numa = parts_of("numa")
        self.assertEqual(numa.verdict({0: 30, 1: 10}, [0]), "25.0 % REMOTE")
        self.assertEqual(numa.verdict({1: 10}, [1]), "local")
        self.assertEqual(numa.verdict({1: 10}, [0, 1]), "-")
        self.assertEqual(numa.cores_of("0-2,5"), {0, 1, 2, 5})
        self.assertEqual(numa.node_of({0, 5}, {0: {0, 1}, 1: {4, 5}}), [0, 1])


FAKE_BENCH = """#!/bin/sh
# A harness whose figures are known: run N gives value BASE + (N * STEP) % 3.
[ "$1 $2 $3" = "bench ack --json" ] || exit 2
n=$(cat $0.count 2>/dev/null || echo 0); echo $((n + 1)) >$0.count
value=$((BASE + n * STEP % 3))
echo "{\\"question\\": \\"ack\\", \\"jitter\\": null, \\"figures\\": [
{\\"name\\": \\"ack p50\\", \\"unit\\": \\"us\\", \\"value\\": $value, \\"ratio\\": 1.5,
 \\"limit_name\\": \\"a raw write\\", \\"disturbed\\": 0.25},
{\\"name\\": \\"nothing\\", \\"unit\\": \\"us\\", \\"value\\": null, \\"ratio\\": null}]}"
"""


class Compare(PerfScripts):
    def fake(self, name, base, step=1):
        """A build directory whose program answers with known figures."""
        os.mkdir(os.path.join(self.directory, name))
        text = FAKE_BENCH.replace("=$((BASE", f"=$(({base}").replace("* STEP", f"* {step}")
        path = self.file(os.path.join(name, "millrace"), text)
        os.chmod(path, 0o755)
        return name

    def compared(self, *words):
        ran = self.run_script("compare", *words, "ack", "--data", self.directory, "--out", "out")
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual(self.temporary(), [])
        return ran.out

    def test_a_difference_beyond_the_spread_is_claimed(self):
        out = self.compared(self.fake("a", 100), self.fake("b", 150))
        self.assertRegex(out, r"B is 49\.\d % higher, us")
        self.assertIn("up to 25 % of a run's windows were disturbed", out)
        self.assertRegex(out, "nothing +has no value in both builds")
        self.assertRegex(self.compared("b", "a"), r"B is 33\.\d % lower")

    def test_a_difference_within_the_spread_is_not_claimed(self):
        self.fake("a", 100)
        self.assertIn("no difference beyond the spread", self.compared("a", self.fake("b", 100, 2)))
        self.assertIn("no difference beyond the spread", self.compared("a", "b", "--by", "ratio"))

    def test_a_few_pairs_prove_nothing(self):
        out = self.compared(self.fake("a", 100), self.fake("b", 150), "--pairs", "4")
        self.assertIn("too few pairs to say (4 of at least 5)", out)

    def test_judging(self):
        judge = parts_of("compare").judge
        self.assertIn("no difference", judge([100] * 5, [101, 102, 130, 101, 101])[-1])
        self.assertIn("no difference", judge([100] * 5, [110, 110, 99, 110, 110])[-1])
        self.assertIn("B is 10.0 % higher", judge([100] * 5, [110, 109, 111, 110, 110])[-1])
        self.assertIsNone(judge([None, 1], [1, None]))

    def test_what_is_no_build_is_refused(self):
        self.refused("compare", self.fake("a", 1), "no-such-revision", "ack",
                     sentence="neither a build directory nor a git revision")
        self.refused("compare", self.directory, "a", "ack", sentence="there is no program")
        self.refused("compare", "a", "a", sentence="QUESTION")
        self.refused("compare", "a", "a", "dance", "--data", self.directory, code=1,
                     sentence="ended with 2")


class Peers(PerfScripts):
    DOCUMENT = {"name": "Example", "kind": "peer", "durable": False, "note": "a note",
                "rows": [{"setting": "1 x 1", "records_per_second": 100.0, "p50_us": 7}]}

    def test_a_document_that_breaks_the_contract_is_said_to(self):
        check = parts_of("peers").check
        self.assertEqual(check(json.dumps(self.DOCUMENT)), self.DOCUMENT)
        for change in ({"rows": [{"setting": "x", "records_per_second": None}]}, {"rows": [{}]},
                       {"durable": "yes"}, {"note": ""}, {"rows": 7}):
            self.assertIsInstance(check(json.dumps({**self.DOCUMENT, **change})), str, change)
        self.assertIsInstance(check("no JSON"), str)

    def test_the_table_has_medians_and_says_what_is_not_durable(self):
        peers = parts_of("peers")
        rounds = [{**self.DOCUMENT, "rows": [{"setting": "1 x 1", "records_per_second": speed}]}
                  for speed in (90.0, 100.0, 180.0)]
        ours = [{**self.DOCUMENT, "name": "Millrace", "durable": True,
                 "rows": [{"setting": "a", "records_per_second": 200.0}]}]
        found = {"example": rounds, "millrace": ours}
        self.assertEqual(peers.best(found), 200)
        lines = peers.table(found, peers.best(found))
        self.assertRegex(lines[1], r"Example .* NO +100 +\(90 to 180\) .* 0\.500$")
        self.assertRegex(lines[2], r"Millrace .* yes +200 .* 1\.000$")
        self.assertIn("Example: a note", lines)
        self.assertIsNone(peers.best({"example": rounds}))

    def test_rows_are_made_of_the_harness_own_figures(self):
        ours = parts_of("peers.d/millrace")
        names = ("ack p50 at 1,000/s", "ack p99 at 1,000/s", "ack p50 at 1,000/s, against paced",
                 "ack p50 at 1,000,000/s")
        figures = [{"name": name, "unit": "us", "value": 100 + i} for i, name in enumerate(names)]
        self.assertEqual([(row["records_per_second"], row["p50_us"], row["p99_us"])
                          for row in ours.ack_rows(figures)],
                         [(1000, 100, 101), (1000000, 103, None)])
        figures.append({"name": "made durable", "unit": "records/s", "value": 5e6})
        self.assertEqual([row["records_per_second"] for row in ours.ingest_rows(figures)], [5e6])

    def test_the_nats_client_compiles_and_refuses_wrong_words(self):
        if not shutil.which("gcc"):
            self.skipTest("no gcc")
        program = os.path.join(self.directory, "nats_publish")
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror",
                        os.path.join(SCRIPTS, "lib", "nats_publish.c"), "-o", program], check=True)
        for words in ((), ("1", "0", "1", "100"), ("1", "1", "1", "100000"),
                      ("1", "1", "1", "100")):
            ran = support.Ran(subprocess.run([program, *words], capture_output=True, check=False))
            self.assertEqual(ran.code, 1, ran)
            self.assertIn("nats_publish: ", ran.err)

    def test_millrace_as_a_peer(self):
        # Of 99 bytes: the harness, which takes its time, measures 100 only.
        ran = self.run_script("peers", "--only", "millrace", "--build", BUILD, "--seconds", "0.2",
                              "--rounds", "1", "--data", self.directory, "--out", "out", "--float",
                              "--bytes", "99")
        self.assertEqual(ran.code, 0, ran)
        self.assertRegex(ran.out, r"(?m)^Millrace +put, 1 lane +yes +[\d,]+ .* 1\.000$")
        self.assertEqual((self.temporary(), self.engines_here()), ([], []))


class Real(PerfScripts):
    def test_interrupt_core(self):
        ran = self.run_script("interrupt-core", "--build", BUILD, "--data", self.directory,
                              "--seconds", "0.5")
        if "takes no direct writes" in ran.err:
            self.skipTest(ran.err)
        self.assertEqual(ran.code, 0, ran)
        for core in sorted(os.sched_getaffinity(0))[:16]:
            self.assertRegex(ran.out, rf"(?m)^  cpu {core} .* \d+  \(\d+ to \d+\)")
        self.assertRegex(ran.out, r"topology (agrees|DISAGREES)|no interrupt rises")
        self.assertEqual(self.temporary(), [])

    def test_numa_knows_every_tail_of_a_running_engine(self):
        engine = self.start_engine()
        self.good("topic", "create", "t", "--partitions", "3")
        ran = self.run_script("numa", "--build", BUILD, "--pid", str(engine.pid))
        if "run this as root" in ran.err:
            self.skipTest(ran.err)
        self.assertEqual(ran.code, 0, ran)
        for partition in range(3):
            self.assertRegex(ran.out, rf"millrace-tail +t/{partition} +\d+ +\d+\.\d+ MiB on node")
        self.assertRegex(ran.out, r"worker 0 +cpu")

    def test_syscalls_are_counted_for_each_thread(self):
        if os.geteuid() != 0 or not shutil.which("perf") or not script_has("linux-perf"):
            self.skipTest("takes root and the package linux-perf")
        ran = self.run_script("syscalls", "--build", BUILD, "--data", self.directory,
                              "--rates", "20000", "--seconds", "1")
        if ran.code == 1 and "raw_syscalls" in ran.err:
            self.skipTest("this kernel counts no system calls: " + ran.err)
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("asked for 20,000", ran.out)
        for thread in ("control", "worker 0", "producer"):
            self.assertRegex(ran.out, rf"(?m)^{thread} +[\d,]+ +\d+\.\d+ ")
        calls = re.search(r"(?m)^worker 0 +([\d,]+)", ran.out)[1]
        self.assertGreater(int(calls.replace(",", "")), 0)
        self.assertEqual((self.temporary(), self.engines_here()), ([], []))

    def test_what_is_interrupted_cleans_up(self):
        process = subprocess.Popen([os.path.join(SCRIPTS, "numa"), "--build", BUILD, "--data",
                                    self.directory], cwd=self.directory,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        self.wait_for(lambda: self.engines_here() or process.poll() is not None, "its engine")
        self.stop(process)
        self.assertEqual((self.temporary(), self.engines_here()), ([], []))

    def test_counters_are_read_as_the_engine_writes_them(self):
        engine = self.start_engine()
        self.good("put", "t", stdin="a\nb\nc\n")
        running = engines.Running(engine.pid)
        self.assertEqual(running.total("appended_records"), 3)
        self.assertIn("worker 0", engines.workers(engine.pid).values())


def script_has(package):
    result = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], text=True,
                            capture_output=True, check=False)
    return result.stdout == "installed"


if __name__ == "__main__":
    support.main()
