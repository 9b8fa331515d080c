#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scores the example pipelines on labelled streams: windows hit and missed, false alerts a week.

    examples/pipelines/score.py BUILD/millrace DATA [OUT]

DATA holds CSV files with the columns timestamp and value, and labels.json or nab-labels.json: for
each file the stretches of time in which a person saw something. Each stream goes into an engine of
its own directory, and `millrace rule test` runs the rule over it; so what is scored is the engine's
own code. OUT gets a plot (SVG, by gnuplot) of values, windows, alerts and labels for each stream.

An alert that is raised inside a labelled stretch hits it; one outside of all is false.
"""
import csv
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
STREAMS = (
    # file, rule, whether its labels were looked at when the rule's numbers were chosen
    ("machine_temperature_system_failure", "machine-temperature.yaml", True),
    ("TravelTime_387", "traffic.yaml", True),
    ("speed_6005", "traffic.yaml", True),
    ("TravelTime_451", "traffic.yaml", False),
    ("occupancy_6005", "traffic.yaml", False),
    ("speed_7578", "traffic.yaml", False),
    ("speed_t4013", "traffic.yaml", False),
)
READY_SECONDS = 30
WEEK_MS = 7 * 24 * 3600 * 1000


def to_ms(text):
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp() * 1000)


def load(data, name):
    with open(data / f"{name}.csv", newline="", encoding="utf-8") as file:
        return [(to_ms(row["timestamp"]), row["value"]) for row in csv.DictReader(file)]


def load_labels(data):
    for name in ("labels.json", "nab-labels.json"):
        if (data / name).exists():
            rows = json.loads((data / name).read_text(encoding="utf-8"))
            return {pathlib.PurePath(key).stem: [(to_ms(a), to_ms(b)) for a, b in windows]
                    for key, windows in rows.items()}
    sys.exit(f"{data}: neither labels.json nor nab-labels.json is there")


class Engine:
    """An engine in a directory of its own, for as long as the block lasts."""

    def __init__(self, millrace):
        self.millrace = millrace

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="millrace-score-")
        self.socket = f"{self.directory.name}/socket"
        self.log = open(f"{self.directory.name}/log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [self.millrace, "serve", "--data", f"{self.directory.name}/data",
             "--socket", self.socket], stdout=self.log, stderr=self.log)
        for _ in range(READY_SECONDS * 10):
            if pathlib.Path(self.socket).exists():
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit("the engine did not start: "
                 + pathlib.Path(self.log.name).read_text(encoding="utf-8"))

    def __exit__(self, *why):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.directory.cleanup()

    def run(self, *words, text=None):
        done = subprocess.run([self.millrace, *words, "--socket", self.socket], input=text,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"millrace {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


def run_rule(engine, name, rule, rows):
    """What the rule says of the stream: its outputs and its alerts, as objects."""
    text = (HERE / rule).read_text(encoding="utf-8")
    topic = next(line.split(":")[1].strip() for line in text.splitlines()
                 if line.startswith("input:"))
    mine = pathlib.Path(engine.directory.name) / rule
    mine.write_text(text.replace(f"input: {topic}", f"input: {name}"), encoding="utf-8")
    lines = "".join(json.dumps({"sensor": name, "time": when, "value": float(value)}) + "\n"
                    for when, value in rows)
    engine.run("topic", "create", name)
    engine.run("put", name, "--format", "json", "--key", "sensor", "--time", "time", text=lines)
    outputs, alerts = [], []
    for line in engine.run("rule", "test", str(mine), "--output").splitlines():
        kind, _, value = line.partition(" ")
        if kind == "output":
            outputs.append(json.loads(value))
        elif kind == "alert" and value.strip().startswith("{"):
            alerts.append(json.loads(value))
    return outputs, alerts


def score(labels, alerts, rows):
    raised = [alert["time"] for alert in alerts if alert["state"] == "raised"]
    hit = sum(any(a <= when <= b for when in raised) for a, b in labels)
    false = sum(not any(a <= when <= b for a, b in labels) for when in raised)
    weeks = (rows[-1][0] - rows[0][0]) / WEEK_MS
    return hit, len(labels), len(raised), false, false / weeks


def plot(out, name, outputs, alerts, labels):
    """Values and windows as lines, labels as grey stretches, alerts as points."""
    windows = [key for key in outputs[-1]
               if key not in ("key", "offset", "time", "value", "alerts")]
    table = out / f"{name}.dat"
    with open(table, "w", encoding="utf-8") as file:
        for row in outputs:
            cells = [row["time"] / 1000, row["value"], *(row[key] for key in windows)]
            file.write(" ".join("nan" if cell is None else repr(cell) for cell in cells) + "\n")
    raised = [row for row in alerts if row["state"] == "raised"]
    script = ["set terminal svg size 1200,420 noenhanced", f"set output '{out / name}.svg'",
              "set xdata time", "set timefmt '%s'", "set format x '%m-%d'", f"set title '{name}'",
              "set key outside"]
    script += [f"set object rectangle from {a / 1000}, graph 0 to {b / 1000}, graph 1 "
               "fillcolor rgb '#dddddd' behind" for a, b in labels]
    script += [f"set arrow from {row['time'] / 1000}, graph 0 to {row['time'] / 1000}, graph 1 "
               "nohead linecolor rgb '#cc0000'" for row in raised]
    lines = [f"'{table}' using 1:2 with lines title 'value' linecolor rgb '#7799bb'"]
    lines += [f"'{table}' using 1:{i + 3} with lines title '{key}'"
              for i, key in enumerate(windows)]
    script.append("plot " + ", ".join(lines))
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    data = pathlib.Path(sys.argv[2])
    out = pathlib.Path(sys.argv[3]) if len(sys.argv) == 4 else None
    labels = load_labels(data)
    if out:
        out.mkdir(parents=True, exist_ok=True)
    print(f"{'stream':36} {'rule':26} {'hit':>6} {'alerts':>7} {'false':>6} {'a week':>7}")
    with Engine(sys.argv[1]) as engine:
        for name, rule, chosen in STREAMS:
            rows = load(data, name)
            outputs, alerts = run_rule(engine, name, rule, rows)
            hit, stretches, raised, false, rate = score(labels[name], alerts, rows)
            print(f"{name:36} {rule:26} {hit:3} of {stretches:1} {raised:7} {false:6} {rate:7.2f}  "
                  f"{'numbers chosen on it' if chosen else 'only scored'}")
            if out:
                plot(out, name, outputs, alerts, labels[name])


if __name__ == "__main__":
    main()
