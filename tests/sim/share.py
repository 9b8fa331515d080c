#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the simulator did in a run of all tests: printed, and enough of it, or it is a failure.
The model's searches, with their states, are printed beside it.

    share.py testlog.json     as meson writes it
"""
import json
import re
import sys

EVENTS_LEAST = 10_000_000  # messages delivered and writes completed, of all runs together
TOTALS = re.compile(r"^(\d+) seeds, (\d+) steps, (\d+) messages delivered, (\d+) writes completed",
                    re.MULTILINE)


def runs(path, begin):
    """(name, output, seconds) of each test whose name begins so: no known-bad variant's does."""
    with open(path, encoding="utf-8", errors="replace") as log:
        rows = [json.loads(line) for line in log]
    return [(row["name"], row.get("stdout") or "", row["duration"]) for row in rows
            if row["name"].split(" / ")[-1].startswith(begin)]


def show(name, output, seconds):
    print(f"{name}, {seconds:.0f} s\n" + "".join(f"  {line}\n" for line in
                                                 output.strip().splitlines()), end="")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    seeds = events = 0
    for name, output, seconds in runs(sys.argv[1], "model"):
        show(name, output, seconds)
    for name, output, seconds in runs(sys.argv[1], "sim"):
        show(name, output, seconds)
        for row in TOTALS.findall(output):
            seeds += int(row[0])
            events += int(row[2]) + int(row[3])
    print(f"the simulator: {seeds} seeds, {events} messages delivered and writes completed, "
          f"expected at least {EVENTS_LEAST}")
    enough = events >= EVENTS_LEAST
    print(f"{int(enough)} passed, {int(not enough)} failed")
    sys.exit(0 if enough else 1)


if __name__ == "__main__":
    main()
