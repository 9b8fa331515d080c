#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of what people are shown: the tutorial of docs/RULES.md says what its commands
print, line by line; and the examples that no score runs over raise their alert where they
should."""
import json
import os
import re
import subprocess

import support

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def steps():
    """Commands of the tutorial with the lines that they print: "$ " begins one, "> " goes on."""
    with open(os.path.join(ROOT, "docs", "RULES.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```console\n(.*?)^```$", file.read(), re.M | re.S)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = part.splitlines()
            more = 1
            while more < len(lines) and lines[more].startswith("> "):
                more += 1
            command = [lines[0]] + [line[2:] for line in lines[1:more]]
            yield "\n".join(command), lines[more:]


class Examples(support.Program):
    def setUp(self):
        super().setUp()
        self.start_engine("pipeline_checkpoint: 100 ms\n")

    def example(self, name):
        return os.path.join(ROOT, "examples", "pipelines", name)

    def settled(self):
        rows = self.good("rule", "list", "--json").json()["pipelines"]
        return all(one["lag"] == 0 and one["checkpoint_offset"] == one["offset"]
                   for row in rows for one in row["partitions"])

    def run_example(self, name, topic, lines):
        self.good("put", topic, stdin="\n".join(lines) + "\n")
        self.good("rule", "add", self.example(name), "--from", "earliest")
        self.wait_for(self.settled, "the example to have read all")
        return self.good("rule", "list", "--json").json()["pipelines"][0]["partitions"][0]

    def alerts(self, topic):
        return [(one["key"], one["alert"], one["state"], one["offset"])
                for one in map(json.loads, self.values(topic))]

    def test_the_tutorial_prints_what_it_says(self):
        done = list(steps())
        self.assertGreaterEqual(len(done), 10)
        os.symlink(support.MILLRACE, os.path.join(self.directory, "millrace"))
        env = support.environment(MILLRACE_SOCKET=self.socket,
                                  PATH=f"{self.directory}:{os.environ['PATH']}")
        for command, said in done:
            ran = subprocess.run(["sh", "-c", command], cwd=self.directory, env=env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                 timeout=support.PATIENCE)
            lines = [line.rstrip() for line in ran.stdout.splitlines()]
            wanted = "\n".join(re.escape(line.rstrip()).replace(r"\.\.\.", ".*") for line in said)
            self.assertEqual(ran.returncode, 0, f"$ {command}\n{ran.stdout}")
            self.assertTrue(re.fullmatch(wanted, "\n".join(lines)),
                            f"$ {command}\nprinted:\n{ran.stdout}\nthe tutorial says:\n"
                            + "\n".join(said))
            self.wait_for(self.settled, "the pipeline to have read all")

    def test_csv_a_jam_is_told_when_it_begins_and_ends(self):
        def row(minute):
            speed = 30 if 1500 <= minute < 1600 else 70 + minute % 7
            day, rest = divmod(minute, 1440)
            return f"t4013,2015-09-{day + 8:02} {rest // 60:02}:{rest % 60:02}:00,{speed}"

        lines = [row(minute) for minute in range(0, 2880, 5)]
        lines[10:10] = ["t4013,2015-09-08 00:50:00", "t4013,2015-09-08 00:50:00,300"]
        counts = self.run_example("road-speed-csv.yaml", "road", lines)
        self.assertEqual((counts["records"], counts["kept"]), (len(lines), len(lines) - 2))
        self.assertEqual(sum(counts["rejected"].values()), 1, "the row without a speed")
        self.assertEqual(counts["dropped"]["range"], 1)
        told = self.alerts("road.alerts")
        self.assertEqual([one[:3] for one in told],
                         [("t4013", "jam", "raised"), ("t4013", "jam", "cleared")])
        self.assertIn(told[0][3], range(302, 312), "within fifty minutes of minute 1500")
        self.assertIn(told[1][3], range(322, 330), "within forty minutes of minute 1600")
        hours = [one["hourly"] for one in map(json.loads, self.values("road.knowledge"))]
        self.assertIsNone(hours[0], "no hour is complete")
        self.assertEqual(hours[-1], sum(70 + minute % 7 for minute in range(2760, 2820, 5)) / 12)

    def test_line_protocol_a_load_that_leaves_its_habit(self):
        def line(i):
            load = 4 + (i - 400) / 100 if 400 <= i < 460 else 0.5
            return (f"system,host=web\\ 1 load1={load:.2f},n_cpus=8i "
                    f"{1700000000000000000 + i * 10**10}")

        lines = [line(i) for i in range(600)]
        counts = self.run_example("load-line-protocol.yaml", "metrics", lines + ["nonsense"])
        self.assertEqual((counts["kept"], sum(counts["rejected"].values())), (600, 1))
        told = self.alerts("load.alerts")
        self.assertEqual([one[:3] for one in told], [("web 1", "overloaded", "raised"),
                                                     ("web 1", "overloaded", "cleared")])
        self.assertIn(told[0][3], range(404, 412))
        self.assertIn(told[1][3], range(460, 475))
        state = self.good("get", "load.knowledge", "web 1", "--json").json()["found"][0]
        self.assertEqual((state["value"], state["windows"]["usual"]), (0.5, 0.5))
        rows = self.good("tail", "metrics", "--rule", "load").out.splitlines()
        self.assertEqual(len(rows), 1 + 600 + 2, "a head, packed results, two alerts")


if __name__ == "__main__":
    support.main()
