#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up what the test programs say, for ./mill test.

    tally.py --add FILE testlog.json...      one stage's results by meson, into FILE
    tally.py --add FILE --text OUTPUT CODE   one script's output and exit code, into FILE
    tally.py --total FILE --failed-stages F  prints "N passed, N failed"; exit code 1 if any failed

A Criterion program counts as many tests as its synthesis line says. Any other program may end with
a line "N passed, N failed"; without one it is one test. A sanitizer's report is a failure whatever
the exit code says: Criterion passes a test that leaks. A stage that failed with no failed test of
its own (it did not build) counts as one. What failed is shown once more above the last line: who
has only the end of a long run sees why.
"""
import argparse
import json
import os
import re
import sys

SYNTHESIS = re.compile(r"Synthesis: Tested: .*?(\d+).*?\| Passing: .*?(\d+).*?\| Failing: .*?(\d+)"
                       r".*?\| Crashing: .*?(\d+)")
COUNTED = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.MULTILINE)
LINES_SHOWN = 300
LINES_AT_THE_END = 60  # of each
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
REPORT = re.compile(r"ERROR: (?:Address|Leak)Sanitizer|WARNING: ThreadSanitizer|"
                    r"^.*: runtime error: ", re.MULTILINE)


def count(output, good):
    """(passed, failed, note) of one program's output; 'good' is its verdict by exit code."""
    output = COLOUR.sub("", output)
    synthesis = SYNTHESIS.findall(output)
    counted = COUNTED.findall(output)
    if synthesis:
        passed = sum(int(row[1]) for row in synthesis)
        failed = sum(int(row[2]) + int(row[3]) for row in synthesis)
    elif counted:
        passed, failed = (int(number) for number in counted[-1])
    else:
        passed, failed = (1, 0) if good else (0, 1)
    if failed == 0 and not good:
        return passed, 1, "ended with an error"
    if failed == 0 and REPORT.search(output):
        return passed, 1, "a sanitizer reported something"
    return passed, failed, ""


def read_log(path):
    """(name, output, result) of each program in meson's testlog.json."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = [json.loads(line) for line in log]
    except OSError:
        return None
    return [(row["name"], row.get("stdout", "") + "\n" + row.get("stderr", ""), row["result"])
            for row in lines]


def last_lines(output, count):
    """Enough of a failed program's output to see why."""
    lines = output.strip().splitlines()
    return "\n".join(lines[-count:])


def kept(tally):
    """Where what failed is kept until the end."""
    return tally + ".failed"


def keep(tally, verdict, output):
    with open(kept(tally), "a", encoding="utf-8") as file:
        file.write(f"{last_lines(output, LINES_AT_THE_END)}\n{verdict}\n")


def add_log(path, tally):
    """Adds up one testlog.json, says what failed."""
    rows = read_log(path)
    if rows is None:
        print(f"tally: no test ran: there is no {path}")
        return 0, 1
    passed = failed = 0
    for name, output, result in rows:
        if result == "SKIP":
            print(f"tally: skipped: {name}")
            continue
        good, bad, note = count(output, result in ("OK", "EXPECTEDFAIL"))
        passed += good
        failed += bad
        if bad:
            verdict = f"tally: FAILED: {name}: {bad} failed {note}".rstrip()
            print(f"{last_lines(output, LINES_SHOWN)}\n{verdict}")
            keep(tally, verdict, output)
    return passed, failed


def total(tally, stages):
    """The last line, and whether all is well."""
    rows = [line.split() for line in open(tally, encoding="utf-8")]
    passed = sum(int(row[0]) for row in rows)
    failed = sum(int(row[1]) for row in rows)
    failed_stages = sum(1 for _ in open(stages, encoding="utf-8"))
    failed = max(failed, failed_stages)
    if passed == 0 and failed == 0:
        failed = 1
    if os.path.exists(kept(tally)):
        with open(kept(tally), encoding="utf-8") as file:
            print(file.read(), end="")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--add")
    parser.add_argument("--text", nargs=2, metavar=("OUTPUT", "CODE"))
    parser.add_argument("--total")
    parser.add_argument("--failed-stages")
    parser.add_argument("logs", nargs="*")
    options = parser.parse_args()
    if options.total:
        return total(options.total, options.failed_stages)
    if options.text:
        with open(options.text[0], encoding="utf-8", errors="replace") as file:
            output = file.read()
        passed, failed, _ = count(output, options.text[1] == "0")
        if failed:
            keep(options.add, f"tally: FAILED: {options.text[0]}: {failed} failed", output)
    else:
        results = [add_log(path, options.add) for path in options.logs]
        passed = sum(row[0] for row in results)
        failed = sum(row[1] for row in results)
    with open(options.add, "a", encoding="utf-8") as file:
        file.write(f"{passed} {failed}\n")
    print(f"tally: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
