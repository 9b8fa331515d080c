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


def judge(bounds, allowed):
    """(passed, failed): prints each (what, now, recorded) that does not hold or could be lower."""
    passed = failed = 0
    for what, now, then in bounds:
        if now > then * allowed:
            failed += 1
            print("FAILED: %s: %.1f instructions per record, recorded are %.1f" %
                  (what, now, then))
            continue
        passed += 1
        if now * allowed < then:
            print("note: %s: %.1f, recorded are %.1f: record it anew" % (what, now, then))
    return passed, failed


class Table:
    """What is counted, and how it is written down. A row's shape are its first words."""
    script = "instructions.py"
    head = ("# Bytes of value and of key (-1: none), records per publish; then the stages.",)
    shape_head = "%5s %4s %7s" % ("value", "key", "publish")
    stages = STAGES
    allowed = ALLOWED
    columns = 3  # of a shape

    def arrange(self, found):
        """Of what count() found: {shape: {stage: instructions}}."""
        return found

    def is_whole(self, counts):
        """Every shape has every stage."""
        return bool(counts) and all(set(row) == set(self.stages) for row in counts.values())

    def shape_text(self, shape):
        """As it stands in its row."""
        return "%5d %4d %7d" % shape

    def shape_of(self, words):
        """Of a row's first words; None: this is no row."""
        try:
            return tuple(int(word) for word in words)
        except ValueError:
            return None

    def bounds(self, counts, recorded):
        """(what, now, recorded) of all that may not grow."""
        for shape, row in sorted(counts.items()):
            before = recorded.get(shape, {})
            for name, parts in BOUNDS:
                yield ("value %d, key %d, %d per publish: %s" % (*shape, name),
                       sum(row[part] for part in parts),
                       sum(before.get(part, 0.0) for part in parts))

    def write(self, compiler, counts):
        """The table as it is committed."""
        lines = ["# Instructions per record, written by %s --record." % self.script, *self.head,
                 "compiler " + compiler,
                 self.shape_head + "".join("%8s" % stage for stage in self.stages)]
        for shape, row in sorted(counts.items()):
            lines.append(self.shape_text(shape) +
                         "".join("%8.1f" % row[stage] for stage in self.stages))
        return "\n".join(lines) + "\n"

    def read(self, text):
        """(compiler, counts) of a table."""
        compiler, counts = None, {}
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["compiler"]:
                compiler = " ".join(words[1:])
                continue
            shape = self.shape_of(words[:self.columns])
            if shape is not None and len(words) == self.columns + len(self.stages):
                counts[shape] = dict(zip(self.stages,
                                         (float(word) for word in words[self.columns:])))
        return compiler, counts


def main(table, description):
    """Counts, then records or compares; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("program")
    given = parser.parse_args()
    counts = table.arrange(count(given.valgrind, given.program))
    if not table.is_whole(counts):
        sys.exit("callgrind counted nothing, or not every stage: %s" % counts)
    print(table.write(given.compiler, counts), end="")
    if given.record:
        with open(given.table, "w", encoding="utf-8") as file:
            file.write(table.write(given.compiler, counts))
        return 0
    with open(given.table, encoding="utf-8") as file:
        compiler, recorded = table.read(file.read())
    if compiler != given.compiler:
        print("skipped: the table was recorded with %s, this is %s" % (compiler, given.compiler))
        return SKIPPED
    passed, failed = judge(table.bounds(counts, recorded), table.allowed)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Table(), "instructions per record"))
