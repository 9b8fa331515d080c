#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pipeline whose engine is killed again and again, under load.

    pipeline.py [--kills N] [--seed S] [--keep]

A producer publishes without a pause; a pipeline reads it, and its rule is replaced now and then.
The engine is killed with SIGKILL at a moment that nobody chose, and started again, N times. Then
all that the pipeline said is taken down: output, alerts, rejected records. What must hold is that
an engine that was never killed says the very same bytes about the same input: a copy of the data
directory, from which the pipeline and its topics were removed, is given the same versions of the
rule at the same offsets.

The seed repeats the same plan; where in the engine it strikes is up to the machine.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

MILLRACE = os.path.abspath(os.environ.get("MILLRACE", "build/millrace"))
PATIENCE = 60
TOPICS = ("sensors.knowledge", "sensors.alerts", "sensors.knowledge.rejected")
PARTITIONS = 3
RATE = 4000  # records a second
CONFIG = """pipeline_checkpoint: 200 ms
first_segment_bytes: 16 MiB
"""
RULE = """pipeline: hot
input: sensors
parse: json
value: $.temp
clean: {{range: [-100, 200], drop: [duplicate]}}
windows:
  avg: {{fn: mean, last: 8}}
  top: {{fn: max, last: 16}}
  next: {{fn: interpolate, last: 4}}
alert:
  - {{name: hot, when: "avg > {limit}", clear: "avg < 50"}}
output: sensors.knowledge
"""


class Failed(Exception):
    """Something that must hold did not."""


class Engine:
    def __init__(self, directory, name):
        self.data = os.path.join(directory, name)
        self.socket = os.path.join(directory, name + ".sock")
        self.log = os.path.join(directory, name + ".log")
        self.config = os.path.join(directory, "millrace.yaml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [MILLRACE, "serve", "--data", self.data, "--socket", self.socket, "--config",
                 self.config], stdout=log, stderr=log)
        self.wait(lambda: os.path.exists(self.socket) and self.run("topic", "list").returncode == 0,
                  "the engine to be ready")

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                raise Failed(f"the engine ended while somebody waited for {what}: see {self.log}")
            if time.monotonic() > end:
                raise Failed(f"waited in vain for {what}")
            time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=PATIENCE) != 0:
            raise Failed("the engine did not end well")

    def run(self, *words, **more):
        return subprocess.run([MILLRACE, *words, "--socket", self.socket], capture_output=True,
                              check=False, timeout=PATIENCE, **more)

    def good(self, *words, **more):
        ran = self.run(*words, **more)
        if ran.returncode != 0:
            raise Failed(f"millrace {' '.join(words)}: {ran.stderr.decode()}")
        return ran.stdout

    def pipeline(self):
        rows = json.loads(self.good("rule", "list", "--json"))["pipelines"]
        return rows[0] if rows else None

    def is_done(self):
        row = self.pipeline()
        return row["state"] == "running" and all(
            one["lag"] == 0 and one["checkpoint_offset"] == one["offset"]
            for one in row["partitions"])

    def said(self):
        return {topic: self.good("tail", topic, "--json") for topic in TOPICS}


class Load(threading.Thread):
    """Publishes through `millrace put`, which outlives its engine, until it is told to end."""

    def __init__(self, engine, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.ending = False
        self.count = 0
        self.put = subprocess.Popen(
            [MILLRACE, "put", "sensors", "--format", "json", "--key", "id", "--skip-bad",
             "--socket", engine.socket, "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def line(self):
        key = f"press-{self.random.randrange(40)}"
        chance = self.random.random()
        if chance < 0.01:
            return json.dumps({"id": key, "temp": "what"})
        if chance < 0.02:
            return json.dumps({"id": key, "temp": 1000})
        return json.dumps({"id": key, "temp": round(self.random.uniform(20, 90), 2),
                           "n": self.count})

    def run(self):
        begun = time.monotonic()
        while not self.ending:
            if self.count > RATE * (time.monotonic() - begun):
                time.sleep(0.005)
                continue
            lines = []
            for _ in range(20):
                lines.append(self.line() + "\n")
                self.count += 1
            self.put.stdin.write("".join(lines).encode())
            self.put.stdin.flush()

    def end(self):
        self.ending = True
        self.join(PATIENCE)
        out, _ = self.put.communicate(timeout=PATIENCE)
        report = json.loads(out)
        if report["acknowledged"] != self.count:
            raise Failed(f"{self.count} records were put, {report['acknowledged']} acknowledged")


def rule_file(directory, limit):
    path = os.path.join(directory, "rule.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(RULE.format(limit=limit))
    return path


def replace_rule(engine, directory, limit):
    """May be refused while the pipeline begins; then the next kill has one version less."""
    engine.run("rule", "add", rule_file(directory, limit))


def kill_often(engine, directory, kills, seed):
    rng = random.Random(seed)
    for kill in range(kills):
        time.sleep(rng.uniform(0.02, 0.7))
        if rng.random() < 0.15:
            replacing = threading.Thread(target=replace_rule,
                                         args=(engine, directory, rng.randrange(52, 60)))
            replacing.start()
            time.sleep(rng.uniform(0, 0.15))
        else:
            replacing = None
        engine.kill()
        if replacing:
            replacing.join()
        engine.start()
        if kill % 20 == 19:
            print(f"{kill + 1} kills", flush=True)


def definitions(engine):
    with open(os.path.join(engine.data, "pipelines.json"), encoding="utf-8") as file:
        return json.loads(file.readline())["pipelines"][0]


def feed_versions(engine, definition, directory):
    """The same versions at the same offsets: only the catalogue can say so, so it is edited."""
    engine.start()
    first = os.path.join(directory, "first.yaml")
    with open(first, "w", encoding="utf-8") as file:
        file.write(definition["versions"][0]["text"])
    engine.good("rule", "remove", definition["name"])
    for topic in TOPICS:
        engine.good("topic", "delete", topic)
    # added while it has nothing to read, it is given all its versions before it begins
    engine.good("rule", "add", first, "--from", "latest")
    engine.stop()
    edit_catalogue(engine, definition["versions"])
    engine.start()
    engine.wait(engine.is_done, "the copy's pipeline")


def edit_catalogue(engine, versions):
    path = os.path.join(engine.data, "pipelines.json")
    with open(path, encoding="utf-8") as file:
        catalogue = json.loads(file.readline())
    catalogue["pipelines"][0]["versions"] = versions
    text = json.dumps(catalogue, separators=(",", ":"))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{text}\n{crc32c(text.encode()):08x}\n")
    # what it wrote down of the beginning that was given to it first is of no use
    shutil.rmtree(os.path.join(engine.data, "pipelines"))


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def compare(killed, quiet):
    for topic in TOPICS:
        one, other = killed[topic].splitlines(), quiet[topic].splitlines()
        one.sort(key=place)
        other.sort(key=place)
        for number, (mine, reference) in enumerate(zip(one, other)):
            if mine != reference:
                raise Failed(f"{topic}: record {number} differs:\n  {mine}\n  {reference}")
        if len(one) != len(other):
            raise Failed(f"{topic}: {len(one)} records, and {len(other)} in the run that nobody "
                         "killed")
        print(f"{topic}: {len(one)} records, the same bytes")


def place(line):
    row = json.loads(line)
    return row["partition"], row["offset"]


def check_sums(row, said):
    """What was fed is answered, dropped or rejected, each once, and the logs have just that."""
    parts = row["partitions"]
    for one in parts:
        sums = one["kept"] + sum(one["dropped"].values()) + sum(one["rejected"].values())
        if sums != one["records"] or one["kept"] != one["outputs"]:
            raise Failed(f"the counts do not add up: {one}")
    for topic, count in zip(TOPICS, ("outputs", "alerts", "rejects")):
        wanted, found = sum(one[count] for one in parts), len(said[topic].splitlines())
        if wanted != found:
            raise Failed(f"{topic} has {found} records, the pipeline counts {wanted}")
    if sum(sum(one["rejected"].values()) for one in parts) != sum(one["rejects"] for one in parts):
        raise Failed(f"rejected records without a row: {parts}")


def run(directory, kills, seed):
    engine = Engine(directory, "a")
    engine.start()
    engine.good("topic", "create", "sensors", "--partitions", str(PARTITIONS))
    engine.good("rule", "add", rule_file(directory, 60), "--from", "earliest")
    load = Load(engine, seed)
    load.start()
    try:
        kill_often(engine, directory, kills, seed)
        load.end()
    finally:
        load.ending = True
        if load.put.poll() is None:
            load.put.kill()
    engine.wait(engine.is_done, "the pipeline to have read all")
    row = engine.pipeline()
    said = engine.said()
    fed = sum(one["records"] for one in row["partitions"])
    if fed != load.count or any(one["skipped"] for one in row["partitions"]):
        raise Failed(f"{load.count} records, the pipeline says that it was fed {fed}")
    check_sums(row, said)
    engine.stop()
    print(f"{load.count} records, {kills} kills, {row['version']} versions of the rule")
    definition = definitions(engine)
    copy = Engine(directory, "b")
    shutil.copytree(engine.data, copy.data)
    feed_versions(copy, definition, directory)
    compare(said, copy.said())
    copy.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--keep", action="store_true", help="leave the directory behind")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="mr-", dir=os.environ.get("TMPDIR", "/tmp"))
    print(f"seed {arguments.seed}, in {directory}", flush=True)
    try:
        run(directory, arguments.kills, arguments.seed)
    except Failed as failed:
        print(f"FAILED with seed {arguments.seed}: {failed}")
        for name in ("a.log", "b.log"):
            path = os.path.join(directory, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    print(f"--- {name}", "".join(file.readlines()[-15:]), sep="\n")
        sys.exit(1)
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print("passed")


if __name__ == "__main__":
    main()
