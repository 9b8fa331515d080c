#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of two hosts that keep copies of each other's records: what is published on one is
read on the other, either may be killed and comes back to the same bytes, leaders change places on a
person's word, and nothing that was acknowledged is gone."""
import os
import shutil
import signal
import subprocess
import time

import hosts
import support


class Replicas(hosts.TwoHosts):
    # ---- the way through -----------------------------------------------------------------

    def test_what_is_published_on_one_is_read_on_the_other(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        values = [str(i) for i in range(1000)]
        self.a.put("t", values)
        self.wait_for_values(self.b, "t", values)
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.assertEqual(self.a.partition("t")["leader"], "a")
        self.wait_for(lambda: "nothing missing" in self.a.good("peers").out, "a to know it")
        said = self.a.good("peers").out
        self.assertRegex(said, r"(?m)^b \(number 1\)")
        self.assertRegex(said, r"connected for .*plain")
        self.assertRegex(said, r"t/0: leader a, epoch \d+, in sync: a, b")
        self.assertRegex(said, r"b: in sync.*nothing missing")
        self.assertEqual(self.a.good("status", "--json").json()["on_one_disk"], [])

    def test_a_producer_beside_a_follower_publishes_all_the_same(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.put("t", range(1000))
        expected = [str(i) for i in range(1000)]
        self.wait_for_values(self.b, "t", expected)
        self.assertEqual(self.a.values("t"), expected)

    def test_a_follower_that_is_killed_comes_back_to_the_same_bytes(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        self.a.put("t", range(100, 200))  # goes on when the ISR is confirmed without b
        self.assertEqual(self.a.partition("t")["isr"], ["a"],
                         self.a.good("peers", "--json").out + self.a.log())
        alone = self.a.good("status", "--json").json()["on_one_disk"]
        self.assertEqual([(row["topic"], row["records"]) for row in alone], [("t", 100)])
        self.assertRegex(self.a.good("status").out, r"t/0: 100 records, .* for ")
        self.assertRegex(self.a.good("peers").out, r"not connected for")
        self.assertRegex(self.a.good("peers").out, r"b: NOT in sync for \d.*s, since it was not "
                         r"connected, lacks 100 records, at most .*B, behind for \d")
        self.wait_for(lambda: "in sync no longer peer=b partitions=1 first=t/0 why=\"it was not "
                      "connected\"" in self.a.log(), "a to tell people of it")
        self.b.start()
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.wait_for_values(self.b, "t", [str(i) for i in range(200)])
        self.wait_for(lambda: "a replica is in sync again peer=b partitions=1 first=t/0" in
                      self.a.log(), "a to tell people that all is well")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertEqual(self.a.batches("t"), self.b.batches("t"))

    def test_retention_waits_until_it_is_known_what_is_committed(self):
        """Of a start that hears of no leader nothing is, whatever the checkpoint says."""
        for host in (self.a, self.b):
            with open(host.config, "a", encoding="utf-8") as file:
                file.write("first_segment_bytes: 1MiB\ngroup_bytes: 64KiB\n"
                           "record_bytes_max: 64KiB\n")
        self.start_both()
        self.create("t", "--leaders", "a", "--retention", "8s")
        self.a.good("put", "t", stdin=("x" * 50000 + "\n") * 200)  # segments of 1, 2, 4 MiB...
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.assertEqual((self.b.stop(), self.a.stop()), (0, 0))
        time.sleep(8)
        self.b.start()
        before = self.b.partition("t")["log_start_offset"]  # 0, unless this took long
        for _ in range(30):
            self.assertEqual(self.b.partition("t")["log_start_offset"], before)
            time.sleep(0.1)
        self.a.start()
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: host.partition("t")["log_start_offset"] > 50,
                          f"retention on {host.name}")

    def test_a_host_that_hangs_is_said_to_be_silent_and_left(self):
        """Its kernel goes on taking bytes, so TCP has no complaint. It takes ten seconds, which
        are waited for only."""
        self.start_both()
        self.create("t", "--leaders", "a")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.assertFalse(self.a.peer()["silent"])
        self.b.engine.send_signal(signal.SIGSTOP)
        self.wait_for(lambda: self.a.peer()["silent"], "a to miss it")
        self.assertTrue(self.a.peer()["connected"])
        self.assertRegex(self.a.good("peers").out, r"connected for .*plain, SILENT for \d")
        self.assertRegex(self.a.good("peers").out, r"do: look at the engine there: it may be")
        self.wait_for(lambda: "in sync and silent, until it is taken out: b" in
                      self.a.good("status").out, "its status to say so")
        self.assertEqual(self.a.run("status", "--check").code, 4)
        self.wait_for(lambda: not self.a.peer()["connected"], "a to let go of it")
        self.assertRegex(self.a.good("peers").out, r"'a' heard nothing from 'b' for 10\.0 s")
        self.b.engine.send_signal(signal.SIGCONT)
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: host.peer()["connected"], f"{host.name} to be back")
            self.assertIn("'a' heard nothing from 'b' for 10.0 s", host.log())
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.put("t", range(10))
        self.wait_for_values(self.b, "t", [str(i) for i in range(10)])

    def test_leaders_change_places_on_a_persons_word(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        said = self.a.good("promote", "t/0", "--to", "b").out
        self.assertEqual(said, "b leads t/0\n")
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: host.partition("t")["leader"] == "b",
                          f"{host.name} to know the new leader")
            again = host.good("promote", "t/0", "--to", "b").out  # an answer may be lost
            self.assertEqual(again, "b leads t/0\n")
        self.b.put("t", range(100, 200))
        self.wait_for_values(self.a, "t", [str(i) for i in range(200)])
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertEqual(self.a.batches("t"), self.b.batches("t"))

    def test_a_leader_that_is_gone_is_replaced_on_two_words_only(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.kill()
        self.wait_for(lambda: not self.b.peer()["connected"], "b to notice")
        refused = self.b.run("promote", "t/0")
        self.assertNotEqual(refused.code, 0, refused)
        self.assertIn("accept-loss", refused.err)
        self.assertEqual(self.b.run("promote", "t/0", "--accept-loss").code, 2)
        self.b.good("promote", "t/0", "--accept-loss", "--old-leader-is-stopped")
        self.b.put("t", range(100, 200))
        said = self.b.good("status").out
        self.assertRegex(said, r"t/0 from a to b: loss accepted; in sync were a, b")
        self.a.start()
        self.wait_for_isr(self.b, "t", ["a", "b"])
        self.wait_for_values(self.a, "t", [str(i) for i in range(200)])
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertEqual(self.a.batches("t"), self.b.batches("t"))

    def test_what_the_old_leader_had_alone_is_cut_off_and_counted(self):
        self.takes_over(self.a.kill)

    def test_so_it_is_where_its_checkpoint_counts_that_as_committed(self):
        self.takes_over(lambda: self.assertEqual(self.a.stop(), 0))

    def takes_over(self, end_a):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        self.a.put("t", range(100, 150))  # alone
        end_a()
        self.b.start()
        self.b.good("promote", "t/0", "--accept-loss", "--old-leader-is-stopped")
        self.b.put("t", range(1000, 1010))
        self.a.start()
        self.wait_for_isr(self.b, "t", ["a", "b"])
        expected = [str(i) for i in [*range(100), *range(1000, 1010)]]
        self.wait_for_values(self.a, "t", expected)
        self.assertEqual(self.b.values("t"), expected)
        self.assertRegex(self.a.log(), r"cut off a log.*topic=t partition=0 records=50 from=100")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertEqual(self.a.batches("t"), self.b.batches("t"))

    def test_both_end_and_go_on(self):
        self.start_both()
        self.create("t", "--partitions", "2")  # one leads each
        self.a.put("t", range(50))
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.start_both()
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: [host.partition("t", i)["leader"] for i in (0, 1)] ==
                          ["a", "b"], "the leaders of before")
            self.wait_for(lambda host=host: len(host.values("t")) == 50, "all records")

    def begins_anew(self, lose, said):
        """b loses something, and is back in sync with all of it only by copying."""
        self.start_both()
        self.create("t", "--leaders", "a", "--min-insync-replicas", "1")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        lose()
        self.b.start()
        self.wait_for(lambda: "t" in self.b.topics(), "the topic to be on b")
        self.wait_for_values(self.b, "t", [str(i) for i in range(100)])
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.put("t", range(100, 200))
        self.wait_for_values(self.b, "t", [str(i) for i in range(200)])
        self.b.stop()
        self.b.start()  # and it knows that it has all
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.assertEqual(self.b.log().count(said), 1)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        self.assertEqual(self.a.batches("t"), self.b.batches("t"))

    def test_a_host_with_a_new_disk_gets_everything_again(self):
        self.begins_anew(lambda: shutil.rmtree(self.b.data), "a log begins anew")

    def test_a_leader_with_a_new_disk_leads_nothing_before_it_has_all(self):
        """It left the in-sync replicas first: the other one leads, and nothing is gone."""
        values = [str(i) for i in range(100)]
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", values)
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.good("promote", "t/0", "--to", "b")
        self.wait_for(lambda: self.a.partition("t")["leader"] == "b", "b to lead")
        self.b.kill()
        shutil.rmtree(self.b.data)
        self.b.start()
        self.wait_for(lambda: "t" in self.b.topics(), "the topic to be on b")
        self.wait_for_values(self.b, "t", values)
        self.assertEqual(self.b.partition("t")["leader"], "a")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.put("t", ["more"])
        self.wait_for_values(self.b, "t", [*values, "more"])

    def test_a_follower_that_leads_by_configuration_leaves_with_its_disk(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.good("promote", "t/0", "--to", "b")
        self.wait_for(lambda: self.a.partition("t")["leader"] == "b", "b to lead")
        before = self.b.register("t")["register_version"]
        self.a.kill()
        shutil.rmtree(self.a.data)
        self.a.start()
        self.wait_for(lambda: "t" in self.a.topics(), "the topic to be on a")
        self.wait_for_values(self.a, "t", [str(i) for i in range(100)])
        self.wait_for_isr(self.b, "t", ["a", "b"])
        self.assertGreaterEqual(self.b.register("t")["register_version"], before + 2,
                                "out, and in again")

    # ---- damage --------------------------------------------------------------------------

    def test_a_damaged_replica_is_made_whole_by_its_leader(self):
        self.begins_anew(self.b.damage, "a log begins anew")
        self.assertIn("is damaged and read-only", self.b.log())

    def test_so_it_is_where_the_leader_has_let_the_oldest_records_go(self):
        self.begins_anew_behind_a_log_start(self.b.damage)

    def test_a_damaged_leader_leads_no_more_before_it_is_whole(self):
        values = [str(i) for i in range(100)]
        self.start_both()
        self.create("t", "--leaders", "b")
        self.b.put("t", values)
        self.wait_for_isr(self.b, "t", ["a", "b"])
        self.b.kill()
        self.b.damage()
        self.b.start()
        self.wait_for(lambda: self.b.partition("t")["leader"] == "a", "the other one to lead")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.wait_for_values(self.b, "t", values)
        self.assertEqual(self.b.partition("t")["state"], "ok")
        self.b.put("t", ["more"])
        self.wait_for_values(self.a, "t", [*values, "more"])

    def fill_segments(self, *words):
        self.create("t", "--leaders", "a", "--min-insync-replicas", "1", "--segment-bytes",
                    "16MiB", *words)
        self.put_much(0)

    def test_damage_that_keeps_a_follower_from_catching_up_is_told(self):
        self.start_both()
        self.fill_segments()
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        shutil.rmtree(self.b.data)
        self.a.damage_in_the_middle()
        self.b.start()
        self.wait_for(lambda: "what a follower lacks cannot be read from the log here "
                      "topic=t partition=0 peer=b" in self.a.log(), "a to say so")
        ran = self.a.run("status", "--check")
        self.assertEqual(ran.code, 4, ran)
        self.assertRegex(ran.out, r"host a: damaged\n(?s:.*)damaged on this disk\n"
                         r"  t/0: segment '.*\.log', byte \d+: batch at offset \d+ has a checksum")
        mine = self.a.partition("t")
        self.assertEqual((mine["state"], mine["isr"]), ("damaged", ["a"]))
        self.assertIn("has a checksum that is not its own", mine["reason"])
        self.assertIn("no other host is in sync to copy from", ran.out)
        self.a.put("t", ["it goes on"])

    def only_a_has_all(self, lose):
        self.start_both()
        self.create("t", "--leaders", "a", "--min-insync-replicas", "1")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.b.kill()
        self.a.put("t", range(100, 200))
        self.a.kill()
        lose()
        self.a.start()
        self.b.start()

    def test_a_damaged_log_that_nobody_else_has_waits_for_a_person(self):
        self.only_a_has_all(self.a.damage)
        self.wait_for(lambda: "its log is damaged here, and no other host is in sync" in
                      " ".join(self.a.good("status").out.split()), "a to say what it waits for")
        self.assertEqual(self.a.register("t")["isr"], ["a"])
        ran = self.a.run("promote", "t/0", "--to", "a")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("the log of 't' partition 0 is damaged here (EPERM)", ran.err)
        self.assertEqual(self.a.partition("t")["state"], "read-only")
        self.a.stop()
        self.b.good("promote", "t/0", "--accept-loss", "--old-leader-is-stopped")
        self.b.put("t", ["b goes on"])
        self.a.start()
        self.wait_for_isr(self.b, "t", ["a", "b"])
        self.wait_for_values(self.a, "t", [*map(str, range(100)), "b goes on"])
        self.assertEqual(self.a.partition("t")["state"], "ok")

    def test_what_nobody_vouches_for_counts_again_by_a_persons_word(self):
        """The last one in sync lost its checkpoint: its log may be whole, and only a person can
        say that it is to count."""
        def lose():
            for slot in ("checkpoint.0", "checkpoint.1"):
                os.remove(os.path.join(self.a.data, slot))
        self.only_a_has_all(lose)
        self.wait_for(lambda: "no host is in sync any more" in
                      " ".join(self.a.good("status").out.split()), "a to say so")
        ran = self.a.run("promote", "t/0", "--to", "a")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("one is chosen at host a, with --accept-loss", ran.err)
        self.a.good("promote", "t/0", "--to", "a", "--accept-loss", "--old-leader-is-stopped")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        values = [str(i) for i in range(200)]
        self.assertEqual(self.a.values("t"), values)
        self.wait_for_values(self.b, "t", values)
        self.a.kill()
        self.a.start()  # and it counts from now on
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.a.put("t", ["more"])
        self.assertEqual(self.a.values("t"), [*values, "more"])

    # ---- a start that is refused ---------------------------------------------------------

    def serve_refused(self, host, *changes):
        with open(host.config, encoding="utf-8") as file:
            text = file.read()
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = self.file(os.path.join(host.name, "wrong.yaml"), text)
        ran = self.run_command("serve", "--config", path, "--data", host.data, "--socket",
                               host.socket)
        self.assertNotIn(ran.code, (0, -signal.SIGSEGV, -signal.SIGABRT), ran)
        return ran.err

    def test_a_number_that_is_not_its_own_is_refused_and_changes_nothing(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.b.stop()
        said = self.serve_refused(self.b, ("number: 1\n", "number: 3\n"))
        self.assertIn("has a copy of topic 't', of which host number 3 is to keep none", said)
        self.b.start()  # under its own again

    def test_a_certificate_of_another_host_is_refused(self):
        directory = os.path.join(self.directory, "certificates")
        ran = self.run_command("cert", "init", "a", "b", "--dir", directory)
        self.assertEqual(ran.code, 0, ran)
        files = ", ".join(f"{key}: {os.path.join(directory, name)}" for key, name in
                          (("authority", "ca.pem"), ("certificate", "b.pem"), ("key", "b.key")))
        said = self.serve_refused(self.a, ("node: a\n", f"node: a\ntls: {{{files}}}\n"))
        self.assertRegex(said, r"b\.pem is that of host 'b', and the configuration says node: a")
        self.assertIn("cert init a", said)

    def test_a_host_that_lost_its_checkpoint_trusts_no_log_of_its_own(self):
        def lose():
            for slot in ("checkpoint.0", "checkpoint.1"):
                os.remove(os.path.join(self.b.data, slot))
        self.begins_anew(lose, "cut off a log")

    def keep_little(self):
        """Small segments, of which a lets the oldest go; all of it is in sync on both."""
        self.start_both()
        self.create("t", "--leaders", "a", "--min-insync-replicas", "1", "--segment-bytes", "16MiB",
                    "--retention-bytes", "16MiB")
        self.a.put("t", range(100))
        self.wait_for_isr(self.a, "t", ["a", "b"])

    def put_much(self, first):
        """By producers that never come back, and more than a keeps. Returns the
        end."""
        for i in range(first, first + 240, 4):
            self.a.put("t", [f"{i + j} " + "x" * 200000 for j in range(4)])
        return first + 240

    def wait_for_log_start(self, above):
        self.wait_for(lambda: self.a.partition("t")["log_start_offset"] > above,
                      "a to let its oldest segments go")

    def is_whole_on_b(self):
        """b has what a has, from the same log start on, also after it was started again."""
        ends = ("high_watermark", "flushed_offset", "log_end_offset")
        self.wait_for_isr(self.a, "t", ["a", "b"])
        self.wait_for(lambda: [self.a.partition("t").get(end) for end in ends] ==
                      [self.b.partition("t").get(end) for end in ends], "b to have all of it")

    def equal_logs(self):
        """Of both hosts, stopped: the same batches where both have some, and b as many as it
        could get."""
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        a, b = self.a.batches("t"), self.b.batches("t")
        self.assertGreater(len(b), 0)
        self.assertEqual(a[-1], b[-1])
        first = max(a[0]["base_offset"], b[0]["base_offset"])
        self.assertEqual([row for row in a if row["base_offset"] >= first],
                         [row for row in b if row["base_offset"] >= first])

    def begins_anew_behind_a_log_start(self, lose):
        self.keep_little()
        put = self.a_producer_that_stays(["early"])
        self.b.kill()
        end = self.put_much(100)
        self.wait_for_log_start(110)
        lose()
        self.b.start()
        self.wait_for(lambda: "t" in self.b.topics(), "the topic to be on b")
        self.is_whole_on_b()
        self.assertGreater(self.b.partition("t")["log_start_offset"], 110)
        cuts = self.b.log().count("a log begins anew")
        self.assertGreater(cuts, 0, self.b.log())
        self.b.kill()
        self.b.start()  # and it knows that it has all
        self.is_whole_on_b()
        self.assertEqual(self.b.log().count("a log begins anew"), cuts, self.b.log())
        self.assertGreater(end, 110)
        self.a.good("promote", "t/0", "--to", "b")
        self.wait_for(lambda: self.a.partition("t")["leader"] == "b", "a to know it")
        self.b.put("t", ["by b"])
        put.stdin.write(b"late\n")
        put.stdin.flush()
        self.wait_for_isr(self.b, "t", ["a", "b"])
        self.b.good("promote", "t/0", "--to", "a")
        self.wait_for(lambda: self.values_in_short(self.a)[-2:] == ["by b", "late"],
                      "what the producer had open all the while")
        put.stdin.close()
        self.assertEqual(put.wait(timeout=support.PATIENCE), 0)
        self.assertEqual(self.values_in_short(self.a).count("late"), 1)
        self.is_whole_on_b()
        self.equal_logs()

    def values_in_short(self, host):
        return [value[:20] for value in host.values("t")]

    def a_producer_that_stays(self, values):
        with open(os.path.join(self.directory, "put"), "wb") as out:
            put = self.start("put", "t", "--socket", self.a.socket, stdin=subprocess.PIPE,
                             stdout=out, stderr=out)
        put.stdin.write("".join(f"{value}\n" for value in values).encode())
        put.stdin.flush()
        self.wait_for(lambda: self.a.values("t")[-1:] == values[-1:], "its records")
        return put

    def test_a_new_disk_where_the_leader_has_dropped_its_oldest_records(self):
        self.begins_anew_behind_a_log_start(lambda: shutil.rmtree(self.b.data))

    def test_a_host_that_was_away_until_the_leader_had_dropped_what_it_lacks(self):
        self.begins_anew_behind_a_log_start(lambda: None)

    def test_a_group_goes_on_where_another_host_left_off(self):
        self.start_both()
        self.create("t", "--leaders", "a")
        self.a.put("t", range(100))
        self.wait_for_values(self.b, "t", [str(i) for i in range(100)])
        self.assertEqual(self.read_as_group(self.a, 60), (0, 59))
        self.wait_for_commits()
        self.assertEqual(self.read_as_group(self.b, 20), (60, 79))
        self.wait_for_commits()
        self.assertEqual(self.read_as_group(self.a, 5), (80, 84))
        self.wait_for_commits()
        self.b.kill()
        self.b.start()  # what is committed it hears from its leader
        self.wait_for_values(self.b, "t", [str(i) for i in range(100)])
        self.assertEqual(self.read_as_group(self.b, 5), (85, 89))

    def read_as_group(self, host, count):
        """First and last offset that the group read there."""
        rows = host.good("tail", "t", "--json", "--group", "g", "--count",
                         str(count)).json_lines()
        self.assertEqual(len(rows), count)
        return rows[0]["offset"], rows[-1]["offset"]

    def wait_for_commits(self):
        """Each host has written down every commit of both."""
        def written(host):
            ran = host.run("topic", "describe", "__offsets", "--json")
            return ran.json()["partitions"][0]["high_watermark"] if ran.code == 0 else 0
        self.wait_for(lambda: written(self.a) == written(self.b) > 0, "commits to be on both")

    # ---- topics --------------------------------------------------------------------------

    def test_a_topic_made_while_one_was_away_is_there_when_it_comes(self):
        self.a.start()
        self.a.good("topic", "create", "early", "--replicas", "2", "--leaders", "a")
        self.a.put("early", range(10))
        self.b.start()
        self.wait_for(lambda: "early" in self.b.topics(), "the topic to be on b")
        self.wait_for_values(self.b, "early", [str(i) for i in range(10)])
        self.wait_for_isr(self.a, "early", ["a", "b"])

    def test_who_came_late_keeps_what_it_has_at_its_next_start(self):
        self.a.start()
        self.a.good("topic", "create", "t", "--replicas", "2", "--partitions", "2")
        self.b.start()
        self.wait_for(lambda: "t" in self.b.topics(), "the topic to be on b")
        for number in (0, 1):
            self.wait_for_isr(self.b, "t", ["a", "b"], number)
        self.a.put("t", range(100))
        self.b.stop()
        self.b.start()
        for number in (0, 1):
            self.wait_for_isr(self.b, "t", ["a", "b"], number)
        self.wait_for(lambda: len(self.b.values("t")) == 100, "all records on b")
        for line in self.b.log().splitlines():
            if "cut off a log" in line:
                self.assertIn("records=0 ", line)

    def test_a_deleted_topic_goes_everywhere_also_where_nobody_was_home(self):
        self.start_both()
        self.create("t")
        self.create("u")
        self.b.good("topic", "delete", "t")
        self.wait_for(lambda: "t" not in self.a.topics(), "t to be gone on a")
        self.b.kill()
        self.a.good("topic", "delete", "u")
        self.b.start()
        self.wait_for(lambda: "u" not in self.b.topics(), "u to be gone on b")
        self.assertNotIn("u", self.a.topics())
        self.assertNotIn("t", self.a.topics())

    def test_one_name_given_twice_is_said_and_nothing_is_mixed(self):
        self.a.start()
        self.a.good("topic", "create", "t", "--replicas", "2", "--leaders", "a")
        self.a.stop()
        self.b.start()
        self.b.good("topic", "create", "t")
        self.b.put("t", ["b's own"])
        self.a.start()
        self.wait_for(lambda: "is another one here" in self.b.log(), "b to say so")
        self.assertIn("topic t on a is another one than here", self.b.good("peers").out)
        self.assertEqual(self.b.values("t"), ["b's own"])
        self.b.good("topic", "delete", "t")
        self.b.stop()
        self.b.start()
        self.wait_for(lambda: "t" in self.b.topics(), "a's topic to come in its place")
        self.assertEqual(self.b.good("peers", "--json").json()["same_name"], [])

    def test_wrong_wishes_are_refused(self):
        self.start_both()
        for words, sentence in ((("--replicas", "3"), "expected at most 2"),
                                (("--replicas", "2", "--leaders", "c"), "expected spread"),
                                (("--replicas", "2", "--min-insync-replicas", "3"), "fewer"),
                                (("--replicas", "2", "--storage", "memory"), "no replicas"),
                                (("--replicas", "0"), "a whole number from 1 to 64")):
            ran = self.a.run("topic", "create", "t", *words)
            self.assertIn(ran.code, (1, 2), ran)
            self.assertIn(sentence, ran.err)
        self.assertEqual(self.a.topics(), [])
        self.a.good("topic", "create", "lone")
        for words, sentence in ((("lone/0",), "no replicas"), (("none/0",), "does not exist"),
                                (("lone",), "no partition"),
                                (("lone/7",), "partitions 0 to 0, not 7")):
            ran = self.a.run("promote", *words)
            self.assertIn(ran.code, (1, 2), ran)
            self.assertIn(sentence, ran.err)


class ThreeReplicas(hosts.ThreeHosts):
    def test_a_leader_that_met_damage_is_made_whole_by_what_status_says(self):
        a, b, c = self.hosts
        self.start_all()
        a.good("topic", "create", "t", "--replicas", "3", "--leaders", "a", "--segment-bytes",
               "16MiB")
        self.wait_for(lambda: "t" in c.topics(), "the topic to be on c")
        values = [f"{i} " + "x" * 200000 for i in range(240)]
        for i in range(0, len(values), 4):
            a.put("t", values[i:i + 4])
        self.wait_for_isr(a, "t", ["a", "b", "c"])
        c.kill()
        self.wait_for(lambda: a.partition("t")["isr"] == ["a", "b"], "c to be out")
        shutil.rmtree(c.data)
        a.damage_in_the_middle()
        c.start()
        self.wait_for(lambda: "let another host lead (millrace promote), stop this engine, then "
                      "millrace repair --accept-loss" in a.good("status").out, "what to do")
        a.good("promote", "t/0", "--to", "b")
        self.wait_for(lambda: b.partition("t")["leader"] == "b", "b to lead")
        a.stop()
        ran = self.run_command("repair", a.data, "--accept-loss")
        self.assertEqual(ran.code, 0, ran)
        a.start()
        self.wait_for(lambda: b.partition("t")["isr"] == ["a", "b", "c"], "all to be in sync")
        self.assertEqual(a.partition("t")["state"], "ok")
        for host in self.hosts:
            self.wait_for_values(host, "t", values)
        b.put("t", ["more"])


if __name__ == "__main__":
    support.main()
