#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of a pipeline whose input has replicas: it runs on all of their hosts, speaks on
one, goes on without a warm-up on the next, and each input is answered once."""
import json
import os
import signal

import hosts
import pipelines
import support

RULE = pipelines.RULE
TOPICS = ("sensors.knowledge", "sensors.alerts", "sensors.knowledge.rejected")


class ReplicaPipelines(hosts.TwoHosts):
    def setUp(self):
        super().setUp()
        for host in (self.a, self.b):
            with open(host.config, "a", encoding="utf-8") as file:
                file.write("pipeline_checkpoint: 100 ms\n")

    def add(self, host, text=RULE):
        return host.good("rule", "add", self.file("rule.yaml", text), "--from", "earliest")

    def begin(self):
        self.start_both()
        self.create("sensors", "--leaders", "a")
        self.wait_for_isr(self.a, "sensors", ["a", "b"])
        self.add(self.a)
        self.wait_for(lambda: self.pipelines(self.b), "b to hear of the pipeline")

    @staticmethod
    def put(host, temperatures):
        lines = [json.dumps({"id": "press", "temp": one}) for one in temperatures]
        host.good("put", "sensors", "--format", "json", "--key", "id",
                  stdin="\n".join(lines) + "\n")

    @staticmethod
    def pipelines(host):
        return host.good("rule", "list", "--json").json()["pipelines"]

    def partition(self, host):
        return self.pipelines(host)[0]["partitions"][0]

    def wait_read(self, host, offset, checkpoint=False):
        name = "checkpoint_offset" if checkpoint else "offset"
        self.wait_for(lambda: self.partition(host)[name] == offset,
                      f"{host.name} to be at {offset}: {self.partition(host)}")

    @staticmethod
    def answered(host):
        return [json.loads(value)["offset"] for value in host.values("sensors.knowledge")]

    def wait_answered(self, host, count):
        self.wait_for(lambda: len(self.answered(host)) >= count, f"{count} answers on {host.name}")
        self.assertEqual(self.answered(host), list(range(count)))

    def promote(self, host, *words):
        for topic in ("sensors", *TOPICS):
            host.good("promote", topic + "/0", *words)

    # ---- the way through -----------------------------------------------------------------

    def test_one_speaks_and_the_other_knows_the_same(self):
        self.begin()
        self.put(self.a, range(100))
        self.wait_answered(self.b, 100)
        self.wait_read(self.b, 100, checkpoint=True)
        self.assertEqual((self.partition(self.a)["active"], self.partition(self.b)["active"]),
                         (1, 0))
        said = [host.good("get", "sensors.knowledge", "press", "--json").json()["found"]
                for host in (self.a, self.b)]
        self.assertEqual(said[0], said[1])
        self.assertEqual(said[0][0]["value"], 99)

    def test_it_goes_on_where_the_leader_goes(self):
        self.begin()
        self.put(self.a, range(100))
        self.wait_answered(self.a, 100)
        self.promote(self.a, "--to", "b")
        self.wait_for(lambda: self.partition(self.b)["active"] == 1 and
                      self.partition(self.a)["active"] == 0, "b to be active")
        self.put(self.b, range(100))
        self.wait_answered(self.b, 200)
        self.wait_answered(self.a, 200)
        self.promote(self.b, "--to", "a")
        self.wait_for(lambda: self.partition(self.a)["active"] == 1, "a to be active")
        self.put(self.b, range(50))
        self.wait_answered(self.a, 250)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        for topic in TOPICS:
            self.assertEqual(self.a.batches(topic), self.b.batches(topic))

    def test_it_goes_on_without_the_host_that_spoke(self):
        self.begin()
        self.put(self.a, [10] * 100)
        self.wait_read(self.b, 100)
        self.wait_for_isr(self.a, "sensors.knowledge", ["a", "b"])
        self.wait_answered(self.b, 100)
        self.a.kill()
        self.wait_for(lambda: not self.b.peer()["connected"], "b to notice")
        self.promote(self.b, "--accept-loss", "--old-leader-is-stopped")
        self.put(self.b, [20])
        self.wait_answered(self.b, 101)
        # four values make the mean: three of them only the state knows
        last = json.loads(self.b.values("sensors.knowledge")[-1])
        self.assertIn("12.5", json.dumps(last))
        self.a.start()
        self.wait_for_isr(self.b, "sensors.knowledge", ["a", "b"])
        self.put(self.b, [30])
        self.wait_answered(self.a, 102)
        self.assertEqual(self.partition(self.a)["active"], 0)

    def test_it_waits_while_its_output_takes_nothing(self):
        """Output below min_insync_replicas: nothing is dropped, the input goes on."""
        self.start_both()
        self.create("sensors", "--leaders", "a")
        self.create("sensors.knowledge", "--leaders", "a", "--min-insync-replicas", "2",
                    "--tail-bytes", "4MiB")
        for topic in ("sensors", "sensors.knowledge"):
            self.wait_for_isr(self.a, topic, ["a", "b"])
        self.add(self.a)
        self.put(self.a, [1])
        self.wait_answered(self.a, 1)
        self.b.kill()
        self.wait_for_isr(self.a, "sensors", ["a"])
        count = 60000
        # all acknowledged: its ingest waits for nobody
        self.put(self.a, [i % 70 for i in range(1, count)])
        self.wait_for(lambda: self.partition(self.a)["waits_for"], "it to say what it waits for")
        self.wait_for(lambda: (self.partition(self.a)["waits_for"] or {}).get("what") == "room",
                      f"the lane to be full: {self.partition(self.a)}")
        waits = self.partition(self.a)["waits_for"]
        self.assertEqual(waits["topic"], "sensors.knowledge")
        self.assertIn("min_insync_replicas is 2; not connected: b", waits["why"])
        self.assertIn("start b", waits["do"])
        self.assertIn("waits for room in sensors.knowledge", self.a.good("rule", "list").out)
        self.assertGreater(self.partition(self.a)["lag"], 0)
        asked = self.a.run("get", "sensors.knowledge", "press")
        self.assertEqual(asked.code, 1, asked)
        self.assertIn("takes nothing now", asked.err)
        self.put(self.a, [5] * 10)
        self.assertEqual(self.a.stop(), 0)  # it ends well even now
        self.a.start()
        self.b.start()
        self.wait_answered(self.a, count + 10)
        self.wait_for(lambda: self.partition(self.a)["lag"] == 0 and
                      self.partition(self.a)["waits_for"] is None, "it to wait no more")

    def given_up(self, end_a, behind):
        """a spoke alone of 50 records that b, which takes over, never had; 'behind' follow there.

        a's state knew those 50. What a says when it leads again is what b would have said.
        """
        self.begin()
        self.put(self.a, [10] * 100)
        self.wait_read(self.b, 100, checkpoint=True)
        self.b.kill()
        self.put(self.a, [95] * 50)  # alone: an alert, and it stays
        self.wait_read(self.a, 150, checkpoint=True)
        end_a()
        self.b.start()
        self.promote(self.b, "--accept-loss", "--old-leader-is-stopped")
        self.put(self.b, [20] * behind)
        self.wait_answered(self.b, 100 + behind)
        self.a.start()
        for topic in ("sensors", *TOPICS):
            self.wait_for_isr(self.b, topic, ["a", "b"])
        self.wait_read(self.a, 100 + behind, checkpoint=True)
        said = [host.good("get", "sensors.knowledge", "press", "--json").json()["found"]
                for host in (self.a, self.b)]
        self.assertEqual(said[0], said[1])
        self.promote(self.b, "--to", "a")
        self.wait_for(lambda: self.partition(self.a)["active"] == 1, "a to be active")
        self.put(self.a, [60, 95])
        self.wait_answered(self.a, 102 + behind)
        last = [json.loads(value)["avg"] for value in self.a.values("sensors.knowledge")[-2:]]
        self.assertEqual(last, [(60 + 3 * 20) / 4, (95 + 60 + 2 * 20) / 4])
        self.assertEqual([json.loads(value)["offset"] for value in
                          self.a.values("sensors.alerts")], [101 + behind])
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        for topic in TOPICS:
            self.assertEqual(self.a.batches(topic), self.b.batches(topic))

    def test_what_was_given_up_is_known_no_more(self):
        self.given_up(self.a.kill, 10)

    def test_nor_where_the_log_is_longer_than_before(self):
        self.given_up(lambda: self.assertEqual(self.a.stop(), 0), 100)

    def test_nothing_is_known_of_a_log_that_begins_anew(self):
        """As above, and the input has lost its beginning: there is nothing to cut it by, so all of
        it comes from b, without a restart, and a's pipeline knows that it cannot speak."""
        self.start_both()
        self.create("sensors", "--leaders", "a", "--segment-bytes", "16MiB", "--retention-bytes",
                    "17MiB")
        self.wait_for_isr(self.a, "sensors", ["a", "b"])
        self.add(self.a)
        line = json.dumps({"id": "press", "temp": 10, "more": "x" * 100000}) + "\n"
        self.a.good("put", "sensors", "--format", "json", "--key", "id", stdin=line * 600)
        for host in (self.a, self.b):
            self.wait_for(lambda host=host: host.partition("sensors")["log_start_offset"] > 100,
                          "retention")
            self.wait_read(host, 600, checkpoint=True)
        self.b.kill()
        self.put(self.a, [95] * 50)
        self.wait_read(self.a, 650, checkpoint=True)
        self.assertEqual(self.a.stop(), 0)
        self.b.start()
        self.promote(self.b, "--accept-loss", "--old-leader-is-stopped")
        self.put(self.b, [20] * 60)
        self.a.start()
        for topic in ("sensors", *TOPICS):
            self.wait_for_isr(self.b, topic, ["a", "b"])
        self.assertIn("a log begins anew: records that were committed here were given up by a "
                      "take-over", self.a.log())
        self.wait_read(self.a, 660)
        self.assertIn("cannot go on for the leader", self.a.good("rule", "list").out)
        self.promote(self.b, "--to", "a")
        self.wait_for(lambda: "has no checkpoint of partition 0" in
                      self.a.good("rule", "list").out, "a to say why it does not speak")
        self.promote(self.a, "--to", "b")
        self.put(self.b, [20] * 10)
        self.wait_answered(self.a, 670)
        self.assertNotIn("cannot go on for the leader", self.b.good("rule", "list").out)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        ends = [self.ends(host) for host in (self.a, self.b)]
        self.assertEqual(ends[0], ends[1])

    @staticmethod
    def ends(host):
        """Of its log, behind what retention may have left."""
        return [row for row in host.batches("sensors") if row["base_offset"] >= 590]

    def test_both_are_killed_and_go_on(self):
        self.begin()
        self.put(self.a, range(100))
        self.a.kill()
        self.b.kill()
        self.start_both()
        self.put(self.a, range(10))
        self.wait_answered(self.a, 110)
        self.wait_answered(self.b, 110)

    def test_a_new_version_is_told_and_so_is_a_removal(self):
        self.begin()
        self.put(self.a, [85])
        self.wait_answered(self.b, 1)
        text = RULE.replace("> 90", "> 70").replace("< 80", "< 60")
        ran = self.b.run("rule", "add", self.file("rule.yaml", text))
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("host a leads partition 0 of topic 'sensors'", ran.err)
        self.add(self.a, text)
        self.wait_for(lambda: self.pipelines(self.b) and self.pipelines(self.b)[0]["version"] == 2,
                      "b to hear of the version")
        self.put(self.a, [85])
        self.wait_for(lambda: self.answered(self.b) == [0, 2], "the answer behind its mark")
        self.wait_for(lambda: len(self.b.values("sensors.alerts")) == 1, "its alert on b")
        self.a.good("rule", "remove", "hot")
        self.wait_for(lambda: not self.pipelines(self.b), "b to hear of the removal")

    # ---- versions, where each host leads a part --------------------------------------------

    def begin_spread(self):
        """Partition 0 is led by a, 1 by b; eight keys lie in both."""
        self.start_both()
        self.create("sensors", "--partitions", "2", "--leaders", "spread")
        self.wait_for_isr(self.a, "sensors", ["a", "b"])
        self.wait_for(lambda: [self.a.register("sensors", p)["leader"] for p in (0, 1)] ==
                      ["a", "b"], "each to lead a partition")
        self.add(self.a)
        self.wait_for(lambda: self.pipelines(self.b), "b to hear of the pipeline")

    def put_round(self, host, temperature):
        lines = [json.dumps({"id": f"press-{one}", "temp": temperature}) for one in range(8)]
        host.good("put", "sensors", "--format", "json", "--key", "id",
                  stdin="\n".join(lines) + "\n")

    def versions(self, host):
        return [one["version"] for one in self.pipelines(host)[0]["partitions"]]

    def wait_rows(self, host, count):
        self.wait_for(lambda: len(host.values("sensors.knowledge")) >= count,
                      f"{count} answers on {host.name}")
        self.assertEqual(len(host.values("sensors.knowledge")), count)

    def averages(self, host):
        """By partition and input offset."""
        rows = host.good("tail", "sensors.knowledge", "--json").json_lines()
        values = [(row["partition"], json.loads(row["value"])) for row in rows]
        return {(part, row["offset"]): row["avg"] for part, row in values}

    def test_a_version_begins_in_partitions_of_several_leaders(self):
        self.begin_spread()
        self.put_round(self.a, 10)
        self.put_round(self.b, 20)
        self.wait_rows(self.a, 16)
        short = RULE.replace("last: 4", "last: 1")
        ran = self.b.run("rule", "add", self.file("rule.yaml", short))
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("host a leads partition 0 of topic 'sensors'", ran.err)
        self.assertIn("version 2", self.add(self.a, short).out)
        for host in (self.a, self.b):
            self.wait_for(lambda: self.versions(host) == [2, 2], f"the version on {host.name}")
        self.put_round(self.b, 30)
        for host in (self.a, self.b):
            self.wait_rows(host, 24)
            averages = list(self.averages(host).values())
            self.assertEqual([averages.count(one) for one in (10, 15, 30)], [8, 8, 8], averages)
            for part, leader in ((0, "a"), (1, "b")):
                key = next(row["key"] for row in host.good(
                    "tail", "sensors", "--json").json_lines() if row["partition"] == part)
                said = host.good("explain", f"{key}@{part}:0").out
                self.assertRegex(said, f"epoch [0-9]+, led by host {leader}")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        for topic in ("sensors", *TOPICS):
            self.assertEqual(self.a.batches(topic), self.b.batches(topic))

    def test_a_version_survives_who_added_it(self):
        """The leader dies before the other host's pipeline has said anything by it."""
        self.begin_spread()
        self.put_round(self.a, 10)
        self.wait_rows(self.a, 8)
        self.add(self.a, RULE.replace("last: 4", "last: 1"))
        self.a.kill()
        self.wait_for(lambda: not self.b.peer()["connected"], "b to notice")
        self.promote(self.b, "--accept-loss", "--old-leader-is-stopped")
        self.wait_for(lambda: self.versions(self.b) == [2, 2], "the version, everywhere")
        self.put_round(self.b, 30)
        self.wait_rows(self.b, 16)
        self.a.start()
        self.wait_for(lambda: self.versions(self.a) == [2, 2], "the version on a")
        self.wait_rows(self.a, 16)
        averages = list(self.averages(self.a).values())
        self.assertEqual([averages.count(one) for one in (10, 30)], [8, 8], averages)
        # and the next one is added where partition 0 is led now
        self.add(self.b, RULE.replace("last: 4", "last: 2"))
        self.wait_for(lambda: self.versions(self.a) == [3, 3], "version 3 on a")

    def windows(self, host):
        found = host.good("get", "sensors.knowledge", "press", "--json").json()["found"]
        return found[0]["windows"]

    def test_a_version_that_was_given_up_is_none(self):
        """Another rule got its number where its mark was given up."""
        self.begin()
        self.put(self.a, [10, 20, 30, 40])
        self.wait_answered(self.b, 4)
        self.b.kill()
        self.wait_for(lambda: not self.a.peer()["connected"], "a to notice")
        for topic in ("sensors", *TOPICS):
            self.wait_for_isr(self.a, topic, ["a"])
        self.add(self.a, RULE.replace("last: 4", "last: 1"))
        self.a.kill()
        self.b.start()
        self.promote(self.b, "--accept-loss", "--old-leader-is-stopped")
        self.put(self.b, [50])
        self.add(self.b, RULE.replace("last: 4", "last: 2"))
        self.a.start()
        for topic in ("sensors", "sensors.knowledge"):
            self.wait_for_isr(self.b, topic, ["a", "b"])
        self.put(self.b, [60, 70])
        for host in (self.a, self.b):
            self.wait_read(host, 8)
            self.assertEqual(self.partition(host)["version"], 2)
            self.assertEqual(self.windows(host)["avg"], 65, host.name)

    def test_what_a_peer_tells_of_a_version_holds(self):
        """As of one that has no mark in the log: retention took it, or an older engine made it."""
        self.begin()
        self.put(self.a, [10, 20])
        self.wait_answered(self.b, 2)
        self.promote(self.a, "--to", "b")
        self.wait_for(lambda: self.partition(self.b)["active"] == 1, "b to be active")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        path = os.path.join(self.a.data, "pipelines.json")
        with open(path, encoding="utf-8") as file:
            catalogue = json.loads(file.readline())
        catalogue["pipelines"][0]["versions"].append(
            {"text": RULE.replace("last: 4", "last: 1"), "at": [3]})
        text = json.dumps(catalogue, separators=(",", ":"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{text}\n{pipelines.crc32c(text.encode()):08x}\n")
        self.start_both()
        self.wait_for(lambda: self.pipelines(self.b)[0]["version"] == 2, "b to be told")
        self.put(self.b, [30, 40, 50])
        for host in (self.a, self.b):
            self.wait_read(host, 5)
            self.assertEqual(self.windows(host)["avg"], 50)
        self.wait_for(lambda: [json.loads(value)["avg"] for value in
                               self.b.values("sensors.knowledge")] == [10, 15, 20, 40, 50],
                      "the answers by both versions")

    def test_who_was_away_hears_of_it(self):
        self.begin()
        self.stop(self.b.engine, signal.SIGKILL)
        self.a.good("rule", "remove", "hot")
        self.b.start()
        self.wait_for(lambda: not self.pipelines(self.b), "b to hear of the removal")
        self.assertEqual(self.pipelines(self.a), [])


if __name__ == "__main__":
    support.main()
