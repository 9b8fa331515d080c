#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A simulated plant beside the live metrics of this host: rules, alerts, and an explanation.

    ./mill demo sensors [--seconds N]

One engine in a directory of its own. Three presses send their temperatures every 20 ms, sometimes
twice, sometimes none, with spikes; one of them overheats a third of the way in and is cooled
again at two thirds. The metrics of this very host go through a rule beside it. What the pipelines
say is shown as it comes; at the end the first alert is explained, and all is counted: each
temperature must have been answered once, or dropped with a reason.
"""
import argparse
import json
import math
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
HERE = os.path.dirname(os.path.abspath(__file__))
READY_SECONDS = 30
SETTLE_SECONDS = 15
EVERY_SECONDS = 0.02
PRESSES = ("press-7", "press-8", "press-9")


def say(*words):
    print(*words, flush=True)


class Demo:
    def __init__(self, directory, seconds):
        self.directory = directory
        self.seconds = seconds
        self.started = []
        self.sent = 0

    def start(self, *words, **how):
        process = subprocess.Popen((MILLRACE, *words), text=True, env=self.environment(), **how)
        self.started.append(process)
        return process

    def environment(self):
        return {**os.environ, "MILLRACE_SOCKET": f"{self.directory}/socket"}

    def run(self, *words):
        done = subprocess.run((MILLRACE, *words), capture_output=True, text=True, timeout=60,
                              env=self.environment(), check=False)
        if done.returncode:
            raise RuntimeError(f"millrace {' '.join(words[:3])}: {done.stderr.strip()}")
        return done.stdout

    def start_engine(self):
        log = open(f"{self.directory}/log", "w", encoding="utf-8")
        engine = self.start("serve", "--data", f"{self.directory}/data", "--socket",
                            f"{self.directory}/socket", stdout=log, stderr=log)
        for _ in range(READY_SECONDS * 10):
            if os.path.exists(f"{self.directory}/socket"):
                return
            if engine.poll() is not None:
                break
            time.sleep(0.1)
        with open(log.name, encoding="utf-8") as said:
            raise RuntimeError(f"the engine did not start: {said.read().strip()}")

    def temperature(self, press, at):
        """A slow wave and noise; press-9 overheats in the middle third."""
        value = 78 + 4 * math.sin(at / 3 + PRESSES.index(press)) + random.gauss(0, 0.3)
        if press == "press-9" and self.seconds / 3 < at < self.seconds * 2 / 3:
            value += min(20, (at - self.seconds / 3) * 8)
        if random.random() < 0.003:
            value += random.choice((-40, 60))
        return round(value, 2)

    def publish(self):
        put = self.start("put", "sensors", "--format", "json", "--key", "machine", "--time", "ts",
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        begun = time.time()
        while time.time() - begun < self.seconds:
            at = time.time() - begun
            for press in PRESSES:
                row = {"machine": press, "ts": round(time.time(), 3),
                       "temp": self.temperature(press, at)}
                if random.random() < 0.01:
                    row["temp"] = None
                line = json.dumps(row) + "\n"
                for _ in range(2 if random.random() < 0.01 else 1):
                    put.stdin.write(line)
                    self.sent += 1
            put.stdin.flush()
            time.sleep(EVERY_SECONDS)
        put.stdin.close()
        if put.wait(30):
            raise RuntimeError("not all temperatures were acknowledged")

    def show(self, process):
        """Alerts as they come; of the rows one in a hundred and fifty."""
        for number, line in enumerate(process.stdout):
            if number % 150 == 0 or "ALERT" in line:
                say(line.rstrip()[:110])

    def follow(self, topic, rule):
        process = self.start("tail", topic, "--rule", rule, "--follow", stdout=subprocess.PIPE)
        thread = threading.Thread(target=self.show, args=(process,), daemon=True)
        thread.start()

    def pipelines(self):
        return {row["name"]: row for row in
                json.loads(self.run("rule", "list", "--json"))["pipelines"]}

    def settle(self):
        """Until all that was published is read and what was said of it is safe."""
        for _ in range(SETTLE_SECONDS * 10):
            rows = self.pipelines()["hot-press"]["partitions"]
            read = sum(row["records"] for row in rows)
            if read == self.sent and all(row["lag"] == 0 for row in rows):
                return rows
            time.sleep(0.1)
        raise RuntimeError("the pipeline did not read all in time")

    def explain(self):
        alerts = [json.loads(line) for line in
                  self.run("tail", "sensors.alerts", "--format", "raw").splitlines()]
        first = next((row for row in alerts if row["alert"] == "hot"), None)
        if not first:
            raise RuntimeError("press-9 overheated, and no alert said so")
        record = f"{first['key']}@{first['partition']}:{first['offset']}"
        say(f"\nwhy was the first one raised?   millrace explain {record} --rule hot-press\n")
        say(self.run("explain", record, "--rule", "hot-press", "--window", "avg").rstrip())
        return first

    def count(self, rows):
        kept = sum(row["kept"] for row in rows)
        dropped = sum(sum(row["dropped"].values()) for row in rows)
        rejected = sum(sum(row["rejected"].values()) for row in rows)
        answers = len(self.run("tail", "sensors.knowledge", "--format", "raw").splitlines())
        say(f"\n{self.sent} temperatures: {answers} answered, {dropped} dropped by cleaning, "
            f"{rejected} rejected; {self.sent - answers - dropped - rejected} unaccounted for")
        if answers != kept or answers + dropped + rejected != self.sent:
            raise RuntimeError("some were not answered once")

    def stop(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run_all(self):
        self.start_engine()
        say("one engine, two rules: examples/pipelines/hot-press.yaml and host-metrics.yaml\n")
        self.run("topic", "create", "sensors", "--partitions", "1")
        self.start("collect", "host", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.run("rule", "add", f"{HERE}/pipelines/hot-press.yaml", "--from", "earliest")
        for _ in range(READY_SECONDS):
            try:
                self.run("rule", "add", f"{HERE}/pipelines/host-metrics.yaml")
                break
            except RuntimeError:
                time.sleep(1)  # its topic is there when the first metrics are
        self.follow("sensors", "hot-press")
        self.follow("host", "host-metrics")
        self.publish()
        rows = self.settle()
        host = self.pipelines()["host-metrics"]["partitions"]
        self.explain()
        self.count(rows)
        say(f"host metrics beside it: {sum(row['kept'] for row in host)} values answered")


def main():
    parser = argparse.ArgumentParser(usage="./mill demo sensors [--seconds N]")
    parser.add_argument("--seconds", type=int, default=45, help="how long the plant runs (45)")
    seconds = parser.parse_args().seconds
    if seconds < 10:
        parser.error("a plant runs 10 seconds at least")
    directory = tempfile.mkdtemp(prefix="millrace-sensors-")
    demo = Demo(directory, seconds)
    try:
        demo.run_all()
    except RuntimeError as why:
        say(f"demo: {why}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        demo.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
