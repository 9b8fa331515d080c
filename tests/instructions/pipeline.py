#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that a record costs a pipeline, stage by stage, against a table of what they were.

    pipeline.py --valgrind VALGRIND --compiler "gcc 12.2.0" --table FILE PROGRAM
    pipeline.py ... --record        writes the table instead: after a change that is meant

A clock says little on a shared machine; callgrind's counts are the same each time. Each stage may
need at most 5 % more than the table says. A table of another compiler proves nothing: then the
figures are printed and the test is skipped. What the stages are stands in pipeline.c.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from instructions import SKIPPED, count  # noqa: E402  (its folder is only known now)

SHAPES = ("packed", "json")  # in the order of the program's
STAGES = ("read", "parse", "feed", "path")
ALLOWED = 1.05


def text_of(compiler, counts):
    """The table as it is committed."""
    lines = ["# Instructions per record, written by pipeline.py --record.", "compiler " + compiler,
             "shape " + " ".join("%8s" % stage for stage in STAGES)]
    for shape, stages in sorted(counts.items()):
        lines.append("%-6s" % shape + " ".join("%8.1f" % stages[stage] for stage in STAGES))
    return "\n".join(lines) + "\n"


def parse(text):
    """(compiler, counts) of a table."""
    compiler, counts = None, {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["compiler"]:
            compiler = " ".join(words[1:])
        elif words and words[0] in SHAPES:
            counts[words[0]] = dict(zip(STAGES, (float(word) for word in words[1:])))
    return compiler, counts


def compare(counts, recorded):
    """(passed, failed): prints each bound that does not hold, and each that could be lower."""
    passed = failed = 0
    for shape, stages in sorted(counts.items()):
        for stage in STAGES:
            now, then = stages[stage], recorded.get(shape, {}).get(stage, 0.0)
            if now > then * ALLOWED:
                failed += 1
                print("FAILED: %s: %s: %.1f instructions a record, recorded are %.1f" %
                      (shape, stage, now, then))
                continue
            passed += 1
            if now * ALLOWED < then:
                print("note: %s: %s: %.1f, recorded are %.1f: record it anew" %
                      (shape, stage, now, then))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="instructions that a record costs a pipeline")
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("program")
    given = parser.parse_args()
    counts = {SHAPES[shape[0]]: stages
              for shape, stages in count(given.valgrind, given.program).items()}
    if set(counts) != set(SHAPES) or any(set(stages) != set(STAGES) or min(stages.values()) < 20
                                         for stages in counts.values()):
        sys.exit("callgrind counted nothing, or not every stage: %s" % counts)
    print(text_of(given.compiler, counts), end="")
    if given.record:
        with open(given.table, "w", encoding="utf-8") as table:
            table.write(text_of(given.compiler, counts))
        return 0
    with open(given.table, encoding="utf-8") as table:
        compiler, recorded = parse(table.read())
    if compiler != given.compiler:
        print("skipped: the table was recorded with %s, this is %s" % (compiler, given.compiler))
        return SKIPPED
    passed, failed = compare(counts, recorded)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
