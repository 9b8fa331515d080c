#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions per record, stage by stage, against a table of what they were.

    instructions.py --valgrind VALGRIND --compiler "gcc 12.2.0" --table FILE PROGRAM
    instructions.py ... --record        writes the table instead: after a change that is meant

A clock says little on a shared machine; callgrind's counts are the same each time. The path of a
record (lane, drain and close together), and each way to read it, may need at most 10 % more than
the table says. A table of another compiler proves nothing: then the figures are printed and the
test is skipped. What moves the counts besides is the C library's choice of memcpy: it is told to
take the one that every x86-64 has.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

SKIPPED = 77
ALLOWED = 1.10
STAGES = ("put", "lane", "drain", "close", "place", "copy")
BOUNDS = (("lane + drain + close", ("lane", "drain", "close")), ("put", ("put",)),
          ("place", ("place",)),
          ("copy", ("copy",)))
RINGS = ("put",)  # later publishes of a round ring or not, by chance: what counts is the most
PLAIN_MEMCPY = ("glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX512VL,-AVX512F,-ERMS,"
                "-FSRM")
TRIGGER = re.compile(r"^desc: Trigger: Client Request: (\w+) (-?\d+) (-?\d+) (\d+) (\d+)$",
                     re.MULTILINE)
SUMMARY = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def count(valgrind, program):
    """{(value, key, publish): {stage: instructions per record}}; the least of the rounds."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, GLIBC_TUNABLES=PLAIN_MEMCPY)
        ran = subprocess.run(
            [valgrind, "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
             "--callgrind-out-file=" + os.path.join(folder, "counts"), program],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if ran.returncode != 0:
            sys.exit("%s ended with %d:\n%s" % (program, ran.returncode, ran.stdout.decode()))
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as dump:
                text = dump.read()
            stage = TRIGGER.search(text)
            if not stage:
                continue
            value, key, publish, records = (int(number) for number in stage.groups()[1:])
            total = int(SUMMARY.search(text).group(1))
            found.setdefault((value, key, publish), {}).setdefault(stage.group(1), []).append(
                total / records)
    return {shape: {stage: round((max if stage in RINGS else min)(counts), 1)
                    for stage, counts in stages.items()} for shape, stages in found.items()}


def text_of(compiler, counts):
    """The table as it is committed."""
    lines = ["# Instructions per record, written by instructions.py --record.",
             "# Bytes of value and of key (-1: none), records per publish; then the stages.",
             "compiler " + compiler,
             "%5s %4s %7s" % ("value", "key", "publish") + "".join("%8s" % s for s in STAGES)]
    for shape, stages in sorted(counts.items()):
        lines.append("%5d %4d %7d" % shape + "".join("%8.1f" % stages[s] for s in STAGES))
    return "\n".join(lines) + "\n"


def parse(text):
    """(compiler, counts) of a table."""
    compiler, counts = None, {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] in ("#", "value"):
            continue
        if words[0] == "compiler":
            compiler = " ".join(words[1:])
            continue
        counts[tuple(int(word) for word in words[:3])] = dict(
            zip(STAGES, (float(word) for word in words[3:])))
    return compiler, counts


def compare(counts, recorded):
    """(passed, failed): prints each bound that does not hold, and each that could be lower."""
    passed = failed = 0
    for shape, stages in sorted(counts.items()):
        before = recorded.get(shape)
        for name, parts in BOUNDS:
            now = sum(stages[part] for part in parts)
            then = sum(before[part] for part in parts) if before else 0.0
            what = "value %d, key %d, %d per publish: %s" % (*shape, name)
            if now > then * ALLOWED:
                failed += 1
                print("FAILED: %s: %.1f instructions per record, recorded are %.1f" %
                      (what, now, then))
                continue
            passed += 1
            if now * ALLOWED < then:
                print("note: %s: %.1f, recorded are %.1f: record it anew" % (what, now, then))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="instructions per record")
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("program")
    given = parser.parse_args()
    counts = count(given.valgrind, given.program)
    if len(counts) == 0 or any(set(stages) != set(STAGES) for stages in counts.values()):
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
