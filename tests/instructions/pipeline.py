#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that a record costs a pipeline, stage by stage, against a table of what they were.

    pipeline.py --valgrind VALGRIND --compiler "gcc 12.2.0" --table FILE PROGRAM
    pipeline.py ... --record        writes the table instead: after a change that is meant

A clock says little on a shared machine; callgrind's counts are the same each time. Each stage may
need at most 5 % more than the table says. A table of another compiler proves nothing: then the
figures are printed and the test is skipped. What the stages are stands in pipeline.c.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import instructions  # noqa: E402  (its folder is only known now)

SHAPES = ("packed", "json")  # in the order of the program's
LEAST = 20  # instructions that every stage takes, if anything was counted


class Table(instructions.Table):
    """A row for each shape, by its name."""
    script = "pipeline.py"
    head = ()
    shape_head = "%-6s" % "shape"
    stages = ("read", "parse", "feed", "path")
    allowed = 1.05
    columns = 1

    def arrange(self, found):
        return {SHAPES[shape[0]]: row for shape, row in found.items()}

    def is_whole(self, counts):
        return (super().is_whole(counts) and set(counts) == set(SHAPES) and
                all(min(row.values()) >= LEAST for row in counts.values()))

    def shape_text(self, shape):
        return "%-6s" % shape

    def shape_of(self, words):
        return words[0] if words and words[0] in SHAPES else None

    def bounds(self, counts, recorded):
        for shape, row in sorted(counts.items()):
            for stage in self.stages:
                yield "%s: %s" % (shape, stage), row[stage], recorded.get(shape, {}).get(stage, 0.0)


if __name__ == "__main__":
    sys.exit(instructions.main(Table(), "instructions that a record costs a pipeline"))
