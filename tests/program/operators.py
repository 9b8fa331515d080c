#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people see of hosts that keep copies: whatever waits says for what, since when, and what to
do, once and not again and again; and where nothing can be acknowledged nothing says ok."""
import os
import re
import signal
import subprocess
import time

import hosts
import support


class Operator(hosts.TwoHosts):
    def waits(self, host, topic="t"):
        """Why the partitions of a topic acknowledge nothing, by status --json."""
        return {row["partition"]: row for row in host.good("status", "--json").json()["waits"]
                if row["topic"] == topic}

    def begin(self, *words):
        self.start_both()
        self.create("t", "--leaders", "a", *words)
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.wait_for_values(self.b, "t", [str(i) for i in range(100)])

    def background(self, host, *words, **more):
        """A command and where its words on standard error go."""
        path = os.path.join(self.directory, f"said-{len(self.processes)}")
        with open(path, "wb") as file:
            process = self.start(*words, "--socket", host.socket, stderr=file,
                                 stdout=subprocess.PIPE, **more)
        return process, lambda: open(path, encoding="utf-8").read()

    # ---- status ----------------------------------------------------------------------------

    def test_status_names_what_acknowledges_nothing(self):
        self.begin("--min-insync-replicas", "2")
        good = self.a.good("status", "--check")
        self.assertIn("host a: ok", good.out)
        self.b.kill()
        self.wait_for(lambda: "in sync: a;" in self.waits(self.a).get(0, {}).get("why", ""),
                      "a to be alone in sync")
        row = self.waits(self.a)[0]
        self.assertEqual(row["why"],
                         "in sync: a; min_insync_replicas is 2; not connected: b")
        self.assertIn("start b", row["do"])
        self.assertEqual(self.a.run("status").code, 0)
        ran = self.a.run("status", "--check")
        self.assertEqual(ran.code, 4, ran)
        self.assertRegex(ran.out, r"(?m)^host a: waiting$")
        self.assertRegex(ran.out, r"(?m)^  t/0 for \S+ \S+\n    why: in sync: a;")
        self.assertEqual(self.a.run("status", "--check", "--json").code, 4)
        before = self.waits(self.a)[0]["for_ms"]
        time.sleep(0.2)
        self.assertGreaterEqual(self.waits(self.a)[0]["for_ms"], before + 200)
        self.b.start()
        self.wait_for(lambda: self.a.run("status", "--check").code == 0, "all to be well again")
        self.assertEqual(self.waits(self.a), {})

    def test_status_says_that_a_leader_is_away_and_that_a_start_waits_for_word(self):
        self.begin("--min-insync-replicas", "1")
        self.a.kill()
        self.wait_for(lambda: self.waits(self.b), "b to notice")
        row = self.waits(self.b)[0]
        self.assertEqual(row["why"], "its leader is not connected: a")
        self.assertIn("promote TOPIC/PARTITION --accept-loss", row["do"])
        said = re.sub(r"\s+", " ", self.b.good("status").out)
        self.assertIn("promote t/0 --accept-loss --old-leader-is-stopped", said)
        self.b.kill()
        self.a.start()
        self.wait_for(lambda: "not heard since this start: b" in
                      self.waits(self.a).get(0, {}).get("why", ""), "a to wait for word of b")
        self.assertEqual(self.a.run("status", "--check").code, 4)
        self.b.start()
        self.wait_for(lambda: not self.waits(self.a) and not self.waits(self.b), "both to go on")

    def test_many_that_wait_are_told_in_few_lines(self):
        self.start_both()
        self.a.good("topic", "create", "t", "--replicas", "2", "--partitions", "24",
                    "--tail-bytes", "4MiB")
        self.wait_for(lambda: "t" in self.b.topics(), "t to be on b")
        self.wait_for_isr(self.b, "t", ["a", "b"], 23)
        self.a.kill()
        self.wait_for(lambda: len(self.waits(self.b)) == 24, "all to wait")
        out = self.b.good("status").out
        self.assertLess(len(out.splitlines()), 20, out)
        self.assertLessEqual(max(len(line) for line in out.splitlines()), 80, out)
        self.assertIn("partitions) for ", out)
        out = self.b.good("peers").out
        every = self.b.good("peers", "--all").out
        self.assertLess(len(out.splitlines()), len(every.splitlines()), out)
        self.assertEqual(len(re.findall(r"(?m)^  t/\d+:", every)), 24)

    def test_a_change_that_waits_for_a_host_says_what_to_do(self):
        """The leader claims with both, and after ten seconds by itself: so long this takes."""
        self.a.start()
        for least in ("1", "2"):
            self.a.good("topic", "create", "t" + least, "--replicas", "2",
                        "--min-insync-replicas", least, "--leaders", "a")
        def hint(topic):
            row = self.waits(self.a, topic).get(0, {})
            return row.get("do", "") if "is not written down yet by: b" in row.get("why", "") \
                else ""
        self.wait_for(lambda: hint("t1") and hint("t2"), "both to wait for b")
        self.assertEqual(hint("t1"),
                         "start b; or wait some seconds: this host goes on without it")
        self.assertIn("gone for good: start this engine anew, then millrace promote", hint("t2"))
        ran = self.a.run("promote", "t2/0", "--to", "b")
        self.assertRegex(ran.err, r"not written down yet by b \(EAGAIN\)\n  do:  .*status")
        self.wait_for(lambda: self.a.partition("t1").get("isr") == ["a"] and
                      not self.waits(self.a, "t1"), "a to go on without b")
        self.assertIn("b: NOT in sync", self.a.good("peers").out)
        self.assertIn("since it was not connected", self.a.good("peers").out)
        # what the sentence says helps, and loses nothing that is on this disk
        self.a.stop()
        self.a.start()
        self.a.good("promote", "t2/0", "--accept-loss", "--old-leader-is-stopped")
        self.wait_for(lambda: self.waits(self.a, "t2").get(0, {}).get("why", "").startswith(
            "in sync: a; min_insync_replicas is 2"), "a to lead t2")

    def test_a_peers_quota_is_shown(self):
        self.a.start()
        self.assertNotIn("sent at most", self.a.good("peers").out)
        self.a.stop()
        with open(self.a.config, encoding="utf-8") as file:
            text = file.read()
        self.file(self.a.config, text.replace("{number: 1,", "{number: 1, bytes_per_second: "
                                              "2000000,"))
        self.start_both()
        self.assertRegex(self.a.good("peers").out,
                         r"(?m)^  sent at most: 2\.0 MB/s \(bytes_per_second\)$")
        self.assertEqual(self.a.peer()["bytes_per_second_max"], 2000000)
        self.assertEqual(self.b.peer()["bytes_per_second_max"], 0)

    def test_an_error_before_the_connection_is_said_to_be_one(self):
        self.a.start()
        self.wait_for(lambda: re.search("  last error: cannot connect", self.a.good("peers").out),
                      "a to have tried")
        self.b.start()
        self.wait_for(lambda: self.a.peer()["connected"], "a to try again")
        self.assertRegex(self.a.good("peers").out, "  error before that: cannot connect")

    # ---- who waits -------------------------------------------------------------------------

    def test_tail_says_what_it_waits_for_and_that_it_goes_on(self):
        self.begin()
        self.a.kill()
        self.wait_for(lambda: self.waits(self.b), "b to notice")
        tail, said = self.background(self.b, "tail", "t", "--follow")
        self.wait_for(lambda: "do:" in said(), "tail to say it")
        self.assertIn("why: its leader is not connected: a", said())
        self.assertIn("millrace peers", said())
        time.sleep(2.5)
        self.assertEqual(said().count("why:"), 1, said())
        self.assertNotIn("going on", said())
        self.a.start()
        self.wait_for(lambda: "going on, after" in said(), "tail to say that it goes on")
        self.stop(tail)
        # who does not follow ends, and says that there may be more
        self.a.kill()
        self.wait_for(lambda: self.waits(self.b), "b to notice")
        ran = self.b.good("tail", "t")
        self.assertIn("its leader is not connected: a", ran.err)
        self.assertEqual(len(ran.out.splitlines()), 100)

    def test_tail_of_a_quiet_topic_says_nothing(self):
        self.begin()
        for _ in range(5):  # a machine that stands still is told of, rightly
            tail, said = self.background(self.b, "tail", "t", "--follow")
            time.sleep(4)
            self.stop(tail)
            if "silent" not in said() and "not connected" not in said():
                break
        self.assertEqual(said(), "")
        self.assertEqual(self.b.good("tail", "t").err, "")

    def test_put_that_is_stopped_ends_at_once_and_says_what_is_known(self):
        self.begin("--min-insync-replicas", "2")
        self.b.kill()
        self.wait_for(lambda: self.waits(self.a), "a to notice")
        for how in (signal.SIGINT, signal.SIGTERM):
            put, said = self.background(self.a, "put", "t", stdin=subprocess.PIPE)
            put.stdin.write(b"1\n2\n3\n")
            put.stdin.close()
            self.wait_for(lambda said=said: "why: in sync: a;" in said(), "put to say it waits")
            began = time.monotonic()
            put.send_signal(how)
            out = put.stdout.read().decode()
            self.assertEqual(put.wait(timeout=support.PATIENCE), 4)
            self.assertLess(time.monotonic() - began, 10)  # it was thirty seconds
            self.assertIn("0 acknowledged as", out)
            self.assertIn("3 not acknowledged", out)
            self.assertIn("stopped: 3 records are published, not acknowledged", said())
            self.assertRegex(said(), r"(?m)why: t/0: in sync: a; .*not connected: b$")
            self.assertIn("millrace peers", said())

    # ---- what will hurt later ----------------------------------------------------------------

    def test_a_certificate_that_ends_soon_is_told_of(self):
        directory = os.path.join(self.directory, "certificates")
        for days, warns in (("400", False), ("20", True)):
            ran = self.run_command("cert", "init", "--days", days, "--ca-days", "500", "a", "b",
                                   "--dir", directory + days)
            self.assertEqual(ran.code, 0, ran)
            for host in (self.a, self.b):
                with open(host.config, encoding="utf-8") as file:
                    text = file.read().split("tls:")[0]
                files = ", ".join(f"{key}: {directory}{days}/{name}" for key, name in
                                  (("authority", "ca.pem"), ("certificate", host.name + ".pem"),
                                   ("key", host.name + ".key")))
                self.file(host.config, f"{text}tls: {{{files}}}\n")
            self.start_both()
            self.assertIn("TLS 1.3", self.a.good("peers").out)
            time.sleep(1.2)
            self.assertEqual("a certificate ends soon" in self.a.log(), warns, self.a.log())
            for command in ("peers", "status"):
                self.assertEqual("the certificate of this host ends on" in
                                 self.a.good(command).out, warns)
                self.assertNotIn("certificate of authority", self.a.good(command).out)
            self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertRegex(self.a.log(), r"ends soon.* whose=this-host file=\S+a\.pem .*days=(19|20)")
        self.assertEqual(self.a.log().count("ends soon"), 1)

    def test_a_largest_record_that_differs_is_told_of(self):
        with open(self.b.config, encoding="utf-8") as file:
            self.file(self.b.config, file.read() + "record_bytes_max: 64KiB\n")
        self.start_both()
        self.wait_for(lambda: "record_bytes_max differs" in self.a.log(), "a to say so")
        self.assertRegex(self.a.log(), r"here=1048576 peer=b there=65536")
        self.assertRegex(self.b.log(), r"here=65536 peer=a there=1048576")
        self.assertIn("record_bytes_max is 65536 there and 1048576 here", self.a.good("peers").out)
        # what one of both would never take is refused at once, and the partition goes on
        self.create("t", "--leaders", "a")
        ran = self.a.run("put", "t", stdin="x" * 100000 + "\n")
        self.assertNotEqual(ran.code, 0, ran)
        self.assertIn("line 1, 100000 bytes: the record is larger than the ", ran.err)
        self.a.put("t", range(10))
        self.wait_for_values(self.b, "t", [str(i) for i in range(10)])
        self.a.good("topic", "create", "own")
        self.assertIn("1 acknowledged", self.a.good("put", "own", stdin="x" * 100000 + "\n").out)

    def test_a_connection_that_does_not_come_about_says_what_to_do(self):
        for change, why, hint in (
                (None, "Connection refused", "start the engine there"),
                (("node: b", "node: b\ncluster: other"), "another cluster", "the same 'cluster'"),
                (("{number: 0,", "{number: 5,"), "is no peer of", "compare 'node', 'number'")):
            self.a.start()
            with open(self.b.config, encoding="utf-8") as file:
                before = file.read()
            if change:
                self.assertIn(change[0], before)
                self.file(self.b.config, before.replace(*change))
                self.b.start()
            self.wait_for(lambda why=why: re.search(rf'why="[^"]*{why}.* do="', self.a.log()),
                          f"a to say {why}")
            self.wait_for(lambda hint=hint: hint in self.a.good("peers").out, f"peers: {hint}")
            self.assertIn(hint, self.a.log())
            if change:
                self.b.stop()
            self.a.stop()
            self.file(self.b.config, before)

    def test_a_topic_that_another_host_has_is_not_made_a_second_time(self):
        self.b.start()
        ran = self.b.run("tail", "own")
        self.assertIn("what these have is not heard yet: a", ran.err)
        self.a.start()
        self.wait_for(lambda: self.b.peer()["connected"], "b to find a")
        self.a.good("put", "own", stdin="1\n")
        for words in (("tail", "own"), ("put", "own"), ("topic", "describe", "own")):
            self.wait_for(lambda words=words: "on host b: it is on a" in
                          self.b.run(*words, stdin="2\n").err, f"{words} to say where it is")
            self.assertRegex(self.b.run(*words, stdin="2\n").err,
                             r"\A.* does not exist on host b: it is on a \(ENOENT\)\n"
                             r"  why: b keeps no copy of it\n"
                             r"  do:  publish and read it on a; .*millrace topic create own\n\Z")
        ran = self.b.run("topic", "create", "own", "--replicas", "2")
        self.assertRegex(ran.err, r"topic 'own' is there already: on a \(EEXIST\)")
        self.assertEqual(self.b.topics(), [])
        # it stays known when a is away, and also after a start that hears of nobody
        file = os.path.join(self.b.data, "elsewhere")
        self.wait_for(lambda: os.path.exists(file), "b to write it down")
        self.a.kill()
        self.wait_for(lambda: not self.b.peer()["connected"], "b to notice")
        self.assertIn("it is on a", self.b.run("put", "own", stdin="2\n").err)
        self.b.kill()
        self.b.start()
        self.assertIn("it is on a", self.b.run("put", "own", stdin="2\n").err)
        # without it the engine starts, too
        self.b.stop()
        with open(file, "ab") as damaged:
            damaged.write(b"x")
        self.b.start()
        self.assertIn("to be heard anew", self.b.log())
        self.a.start()
        self.a.good("topic", "delete", "own")
        self.wait_for(lambda: self.b.run("put", "own", stdin="3\n").code == 0,
                      "b to hear that the name is free")
        self.assertEqual(self.b.values("own"), ["3"])

    def test_who_means_a_topic_of_its_own_gets_one(self):
        with open(self.b.config, encoding="utf-8") as file:
            self.file(self.b.config, file.read() + "topics:\n  - {name: mine}\n")
        self.start_both()
        self.a.good("put", "host", stdin="1\n")
        self.a.good("put", "mine", stdin="1\n")
        self.wait_for(lambda: "it is on a" in self.b.run("tail", "host").err and
                      "it is on a" in self.b.run("tail", "mine").err, "b to hear of them")
        self.b.good("topic", "create", "host")
        self.b.good("put", "host", stdin="2\n")
        self.b.good("put", "mine", stdin="2\n")
        self.assertEqual([host.values(topic) for host in (self.a, self.b)
                          for topic in ("host", "mine")], [["1"], ["1"], ["2"], ["2"]])

    def test_an_end_says_that_producers_still_wait(self):
        self.begin("--min-insync-replicas", "2")
        self.b.kill()
        lines = os.path.join(self.directory, "lines")
        self.file(lines, "".join(f"{i}\n" for i in range(100, 200)))
        puts, said = self.background(self.a, "put", "t", lines)
        self.wait_for(lambda: "waiting" in said(), "put to wait")
        self.assertEqual(self.a.stop(), 0)
        self.assertRegex(self.a.log(), r"(?m)^stopped; NOT all that was published is acknowledged: "
                         r"1 lanes were not empty in time\. ")
        self.start_both()
        puts.communicate()
        self.assertEqual(puts.returncode, 0, said())
        for host in (self.a, self.b):
            self.wait_for_values(host, "t", [str(i) for i in range(200)])
        self.assertEqual((self.b.stop(), self.a.stop()), (0, 0))
        self.assertRegex(self.a.log(), r"stopped; everything published was taken and is durable\n$")

    # ---- promote and create ----------------------------------------------------------------

    def test_a_needless_acceptance_of_loss_is_said(self):
        self.begin()
        words = ("promote", "t/0", "--to", "b")
        accept = ("--accept-loss", "--old-leader-is-stopped")
        self.assertIn("--accept-loss was not needed", self.a.good(*words, *accept).out)
        self.assertIn("--accept-loss was not needed", self.b.good(*words, *accept).out)
        self.assertNotIn("not needed", self.a.good(*words).out)
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        self.wait_for(lambda: not self.a.peer()["connected"], "a to notice")
        self.assertEqual(self.a.good("promote", "t/0", *accept).out, "a leads t/0\n")

    def test_who_promotes_waits_for_a_leader_that_is_slow(self):
        """It has three seconds until the person hears of it, and ten until it is let go; a machine
        that takes longer for what is between them is tried again."""
        self.begin()
        for _ in range(5):
            self.a.engine.send_signal(signal.SIGSTOP)
            promotes, said = self.background(self.b, "promote", "t/0")
            self.wait_for(said, "it to say that it waits")
            self.a.engine.send_signal(signal.SIGCONT)
            self.assertRegex(said(), "^waiting: no answer came from the leader yet: it may be")
            out, _ = promotes.communicate()
            if "ECONNRESET" not in said():
                break
            self.wait_for(lambda: self.b.peer()["connected"], "a to be back")
        self.assertEqual((promotes.returncode, out.decode()), (0, "b leads t/0\n"), said())
        self.b.put("t", [100])
        self.wait_for_values(self.a, "t", [str(i) for i in range(101)])

    def test_a_new_topic_has_its_leaders_when_it_is_shown(self):
        self.start_both()
        for i in range(5):
            began = time.monotonic()
            out = self.a.good("topic", "create", f"t{i}", "--replicas", "2", "--leaders", "a").out
            if time.monotonic() - began < 2:  # the command waits no longer for that
                self.assertRegex(out, r"(?m)^ +0 a +leader ")
                self.assertNotIn("nobody", out)

    # ---- topics that come together ---------------------------------------------------------

    def test_topics_that_come_together_are_written_down_together(self):
        self.a.start()
        for i in range(40):
            self.a.good("topic", "create", f"t{i:02}", "--replicas", "2", "--tail-bytes", "4MiB")
        self.b.start()
        self.wait_for(lambda: len(self.b.topics()) == 40, "all topics to be on b")
        log = self.b.log()
        lines = re.findall(r"topics of a peer were made here.* count=(\d+)", log)
        lines += ["0"] * sum(int(number) for number in
                             re.findall(r"were made here suppressed=(\d+)", log))
        self.assertLess(len(lines), 10, log)  # one of each a topic would be 40
        self.b.kill()
        self.b.start()
        self.assertEqual(len(self.b.topics()), 40)


if __name__ == "__main__":
    support.main()
