#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of a push and its results must not grow with the length of the window.

    windows.py --valgrind VALGRIND PROGRAM

A clock says little on a shared machine; callgrind's counts are the same each time. For the
functions whose cost is said to be independent of K, K = 4096 may need at most 15 % more than
K = 256 does; finding a time in a window is a search by halves, so interpolate and the like may
need a little more. The others are printed. The queue of max and min is longer for a longer window,
but a sample joins and leaves it once; up to 16 samples there is none, they are looked through.
With "late" every other sample is older than the one before, in a window by time.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from instructions import count  # noqa: E402  (its folder is only known now)

GROWS = ("weighted_average", "median", "quantile", "mad", "pair")
SHORT, LONG = 256, 4096
ALLOWED = 1.15
LOGARITHM = {"interpolate": 1.3, "ewma": 1.2}


def allowed(stage):
    """How many times the instructions of the short window the long one may need, or None."""
    name = stage.removesuffix("_by_time")
    return None if name in GROWS else LOGARITHM.get(name, ALLOWED)


def compare(counts):
    """(passed, failed): prints all, and each that grows."""
    passed = failed = 0
    lengths = sorted(counts)
    print("%-28s" % "K" + "".join("%9d" % length for length in lengths))
    for stage in sorted(counts[SHORT]):
        print("%-28s" % stage + "".join("%9.1f" % counts[length][stage] for length in lengths))
        bound = allowed(stage)
        if bound is None:
            continue
        if counts[LONG][stage] > counts[SHORT][stage] * bound:
            failed += 1
            print("FAILED: %s: more than %g times the instructions" % (stage, bound))
            continue
        passed += 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="instructions per push and results")
    parser.add_argument("--valgrind", required=True)
    parser.add_argument("program")
    given = parser.parse_args()
    counts = {shape[0]: stages for shape, stages in count(given.valgrind, given.program).items()}
    if SHORT not in counts or LONG not in counts or \
            any(set(stages) != set(counts[SHORT]) or min(stages.values()) < 20
                for stages in counts.values()):
        sys.exit("callgrind counted nothing, or not every function: %s" % counts)
    passed, failed = compare(counts)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or passed < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
