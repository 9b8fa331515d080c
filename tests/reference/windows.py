#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What window functions give, by NumPy and SciPy, for tests/unit/window_reference.c to compare.

    windows.py > windows.txt        needs python3-numpy and python3-scipy; only to write it anew

Lines of its output:
    weights W ...                                 of weighted_average, newest first
    stream NAME                                   what follows is another stream
    sample TIME_MS VALUE                          in the order in which they come
    result FN EXTENT SIZE PARAMETER EXPECTED SCALE    after all samples. EXTENT: count, time,
                                                  tumbling; EXPECTED may differ by rounding, and
                                                  the greater SCALE is the more so
Streams are drawn from a generator with a fixed seed; values and times are as printed.
"""
import math

import numpy
import scipy
from scipy import stats

SEED = 20240229
WEIGHTS = numpy.array([8.0, 5.0, 3.0, 2.0, 1.0, 1.0, 0.5, 0.25])
AHEAD = (math.nan, 40.0, -15.0, -90.0)


def streams(random):
    """{name: (times, values, samples come in order)}"""
    count = 130
    walk = numpy.cumsum(random.normal(size=count))
    times = 1_700_000_000_000 + numpy.cumsum(random.integers(1, 40, size=count))
    equal = 1_700_000_000_000 + numpy.cumsum(random.integers(0, 3, size=count) * 10)
    gaps = -5_000 + numpy.cumsum(numpy.where(random.random(count) < 0.05, 3_000, 12))
    swapped = numpy.arange(count) + random.normal(scale=6, size=count)
    return {
        "walk": (times, walk),
        "level": (times, 1e9 + random.uniform(-1e-3, 1e-3, size=count)),
        "equal-times": (equal, walk * 3 + 7),
        "gaps": (gaps, random.normal(size=count) * 20 - 4),
        "late": (times[numpy.argsort(numpy.argsort(swapped))], walk),
        "magnitudes": (times, random.normal(size=count) * 10.0 ** random.integers(-9, 9, count)),
        "few-values": (times, random.integers(0, 4, size=count) * 0.5),
        "outlier": (times, numpy.where(numpy.arange(count) == 80, 1e18, walk)),
    }


def exact(values):
    return values.astype(numpy.longdouble)


def shifted(values):
    """Since the newest: what does not depend on the level keeps its digits."""
    return exact(values) - exact(values)[-1]


def line(times, values, ahead):
    """(slope a ms, value 'ahead' of the newest) of the least-squares line."""
    x = (times - times[-1]).astype(float)
    base = values[-1]
    fit = stats.linregress(x, shifted(values).astype(float))
    return fit.slope, base + fit.intercept + fit.slope * ahead


def interpolated(times, values, ahead):
    x = (times - times[-1]).astype(float)
    if ahead > 0:
        before = numpy.searchsorted(x, x[-1], side="left") - 1
        return values[-1] + (values[-1] - values[before]) / (x[-1] - x[before]) * ahead
    at = numpy.searchsorted(x, ahead, side="right") - 1
    if at < 0:
        return math.nan
    return numpy.interp(ahead, x[at:at + 2], values[at:at + 2])


def one(times, values):
    """Yields (function, parameter, expected, scale) of one window, oldest sample first."""
    count = len(values)
    size = float(numpy.max(numpy.abs(values)))
    spread = float(numpy.std(shifted(values), ddof=1))
    yield "max", 0, numpy.max(values), 0
    yield "min", 0, numpy.min(values), 0
    yield "sum", 0, math.fsum(values), math.fsum(abs(values))
    yield "mean", 0, math.fsum(values) / count, size
    yield "count", 0, count, 0
    yield "stddev", 0, spread, spread
    yield "median", 0, numpy.median(values), size
    for q in (0.0, 0.1, 0.9):
        yield "quantile", q, numpy.quantile(values, q), size
    yield "first", 0, values[0], 0
    yield "last", 0, values[-1], 0
    yield "delta", 0, values[-1] - values[0], size
    span = float(times[-1] - times[0])
    yield "rate", 0, (values[-1] - values[0]) / span * 1000, 2 * size / span * 1000
    for alpha in (0.02, 0.3, 1.0):
        weights = (1 - alpha) ** numpy.arange(count)[::-1]
        yield "ewma", alpha, numpy.average(exact(values), weights=weights), size
    yield "mad", 0, stats.median_abs_deviation(shifted(values)), size
    if spread > 0:
        yield "zscore", 0, stats.zscore(shifted(values), ddof=1)[-1], 10
    slope, _ = line(times, values, 0)
    steep = spread / float(numpy.std(times - times[-1]))
    yield "slope", 0, slope * 1000, steep * 1000
    interval = span / (count - 1)
    for ahead in AHEAD:
        at = interval if math.isnan(ahead) else ahead
        yield "interpolate", ahead, interpolated(times, values, at), 50 * size
        yield "extrapolate", ahead, line(times, values, at)[1], steep * (span + abs(at)) + size


def windows(times, values, tumbling):
    """Yields (extent, size, samples of it)."""
    for count in (2, 16, 100):
        yield "count", count, slice(len(values) - count, None)
    for span in (90, 1500):
        yield "time", span, times > times[-1] - span
    for span in (700,) if tumbling else ():
        newest = times[-1] // span
        yield "tumbling", span, times // span == newest - 1


def main():
    print("# Written by tests/reference/windows.py: NumPy %s, SciPy %s, seed %d" %
          (numpy.__version__, scipy.__version__, SEED))
    print("weights", *WEIGHTS)
    for name, (times, values) in streams(numpy.random.default_rng(SEED)).items():
        print("stream", name)
        for time, value in zip(times, values):
            print("sample", time, repr(float(value)))
        order = numpy.argsort(times, kind="stable")
        times, values = times[order], values[order]
        for extent, size, which in windows(times, values, name != "late"):
            t, v = times[which], values[which]
            if len(v) < 2 or t[0] == t[-1]:
                continue
            for found in one(t, v):
                print("result", found[0], extent, size, *(repr(float(x)) for x in found[1:]))
            if extent == "count" and size >= len(WEIGHTS):
                newest = v[::-1][:len(WEIGHTS)]
                print("result weighted_average count", size, 0.0,
                      repr(float(numpy.average(exact(newest), weights=WEIGHTS))),
                      repr(float(numpy.max(numpy.abs(newest)))))


if __name__ == "__main__":
    main()
