#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the JSON of `millrace bench` to a page for people. Called by `./mill bench`.

    bench/report.py [DIR]	(default bench-report)

Reads DIR/raw/*.json, one a question, as `millrace bench all --save DIR/raw` writes them, and makes

    DIR/index.html      one page with everything in it, light or dark as the reader likes
    DIR/plots/*.svg     by gnuplot; without gnuplot the page says so
    DIR/figures.csv     every figure
    DIR/series.csv      every point of every curve

Python's own library only.
"""
import base64
import csv
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys

QUESTIONS = ("limits", "lane", "ingest", "ack", "consume", "recover", "idle", "scale")
DISTURBED_SAID = 0.005  # less rounds to nothing
DISTURBED_MUCH = 0.20   # a figure to repeat before it is believed
FIGURE_COLUMNS = ("name", "unit", "value", "limit", "limit_name", "ratio", "ratio_min",
                  "ratio_max", "bar", "sense", "met", "disturbed", "note")
NAMES_PRINTED = 12      # on the terminal, of one kind
SCALES = {
    "times": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")),
    "rates": ((1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "speeds": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    "sizes": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
}
TIMES_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")
PERCENTILES = ((1, "0"), (2, "50"), (10, "90"), (100, "99"), (1000, "99.9"), (10000, "99.99"))


class Trouble(Exception):
    """A sentence for a person."""


# ---- reading -----------------------------------------------------------------------------------

def read_one(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        for key in ("question", "machine", "figures", "series"):
            if key not in found:
                raise Trouble(f"'{path}' has no \"{key}\": it is no answer of millrace bench")
        for figure in found["figures"]:
            missing = [key for key in FIGURE_COLUMNS if key not in figure]
            if missing:
                raise Trouble(f"'{path}': a figure has no \"{missing[0]}\"")
    except (OSError, ValueError, TypeError) as error:
        raise Trouble(f"cannot read '{path}': {error}") from error
    return found


def read_all(directory):
    """The answers, in the order in which they are asked."""
    raw = os.path.join(directory, "raw")
    try:
        names = sorted(name for name in os.listdir(raw) if name.endswith(".json"))
    except OSError as error:
        raise Trouble(f"cannot look into '{raw}': {error.strerror}") from error
    answers = [read_one(os.path.join(raw, name)) for name in names]
    if not answers:
        raise Trouble(f"there is no answer in '{raw}': run 'millrace bench all --save {raw}'")
    order = {name: place for place, name in enumerate(QUESTIONS)}
    return sorted(answers, key=lambda answer: order.get(answer["question"], len(order)))


# ---- words for numbers -------------------------------------------------------------------------

def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def digits(value):
    size = abs(value)
    if size >= 1e5:
        return f"{value:.3g}"
    return f"{value:.{2 if size < 10 else 1 if size < 100 else 0}f}"


def scaled(value, scale):
    factor, unit = next((step for step in SCALES[scale] if abs(value) >= step[0]),
                        SCALES[scale][-1])
    return f"{digits(value / factor)} {unit}"


def quantity(value, unit):
    if not is_number(value):
        return "–"
    if unit in TIMES_NS:
        return scaled(value * TIMES_NS[unit], "times")
    if unit == "bytes":
        return scaled(value, "sizes")
    if unit == "bytes/s":
        return scaled(value, "speeds")
    if unit.endswith("/s"):
        return scaled(value, "rates")
    if unit == "cores":
        return f"{value * 100:.3g} % of a core"
    return f"{value:.4g}" + ("" if unit == "ratio" else f" {unit}")


def ratio(value):
    return f"{value:.2f}" if is_number(value) else "–"


def short(value):
    """One word, as 21.3M."""
    factor, letter = next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k"))
                           if abs(value) >= step[0]), (1, ""))
    return digits(value / factor) + letter


def percent(share):
    return f"{share * 100:.0f} %"


def verdict(figure):
    return {True: "met", False: "not met", None: "reported"}[figure["met"]]


def is_disturbed(figure, share=DISTURBED_SAID):
    return (figure["disturbed"] or 0) >= share


# ---- what it comes to --------------------------------------------------------------------------

def all_figures(answers):
    return [(answer["question"], figure) for answer in answers for figure in answer["figures"]]


def names_of(pairs):
    return [f"{question}: {figure['name']}" for question, figure in pairs]


def disturbed_names(pairs):
    """Worst first, each with the share of its windows that is gone."""
    return [f"{question}: {figure['name']} ({percent(figure['disturbed'])})"
            for question, figure in sorted(pairs, key=lambda pair: -pair[1]["disturbed"])]


def summary(answers):
    """What every reader should know, as (sentence, names) pairs."""
    figures = all_figures(answers)
    judged = [pair for pair in figures if pair[1]["met"] is not None]
    missed = [pair for pair in judged if not pair[1]["met"]]
    disturbed = [pair for pair in figures if is_disturbed(pair[1])]
    much = [pair for pair in disturbed if is_disturbed(pair[1], DISTURBED_MUCH)]
    little = [pair for pair in disturbed if pair not in much]
    answered = {answer["question"] for answer in answers}
    silent = [name for name in QUESTIONS if name not in answered]
    said = [(f"{len(judged) - len(missed)} of {len(judged)} bars are met.", [])]
    if missed:
        said.append((f"{len(missed)} not met:", names_of(missed)))
    said.append((f"{len(disturbed)} of {len(figures)} figures were disturbed: the machine took "
                 "time away from windows that were then left out.", []))
    if much:
        said.append((f"{len(much)} of them lost {percent(DISTURBED_MUCH)} or more; repeat these "
                     "before you believe them:", disturbed_names(much)))
    if little:
        said.append((f"{len(little)} of them lost less:", disturbed_names(little)))
    if silent:
        said.append(("Without an answer in this run:", silent))
    return said


# ---- CSV ---------------------------------------------------------------------------------------

def write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_tables(directory, answers):
    write_csv(os.path.join(directory, "figures.csv"), ("question",) + FIGURE_COLUMNS,
              ([question] + [figure[key] for key in FIGURE_COLUMNS]
               for question, figure in all_figures(answers)))
    write_csv(os.path.join(directory, "series.csv"),
              ("question", "plot", "curve", "x_label", "y_label", "x", "y"),
              ((answer["question"], curve["plot"], curve["name"], curve["x"], curve["y"], *point)
               for answer in answers for curve in answer["series"]
               for point in curve["points"]))


# ---- plots -------------------------------------------------------------------------------------

def quoted(text):
    """For gnuplot, between single quotes; it knows no control characters."""
    return "'" + re.sub(r"[\x00-\x1f]", " ", str(text)).replace("'", "''") + "'"


def tic(text):
    """As the label of a tic, which gnuplot takes for a format."""
    return quoted(text).replace("%", "%%")


def file_name(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "plot"


def good_points(curve):
    """Those that can be drawn: a logarithmic axis has no zero."""
    return [(x, y) for x, y in curve["points"] if is_number(x) and is_number(y)
            and not (curve["log_x"] and x <= 0) and not (curve["log_y"] and y <= 0)]


def head(title, output):
    return ["set terminal svg size 900,440 dynamic enhanced font 'sans-serif,13' "
            "background rgb 'white'",
            f"set output {quoted(output)}",
            f"set title {quoted(title)} noenhanced",
            "set grid lc rgb '#cccccc'", "set key outside right top vertical noenhanced samplen 2"]


def curves_script(title, curves, output):
    first = curves[0]
    lines = head(title if len(curves) > 1 else f"{title}: {first['name']}", output)
    lines += [f"set xlabel {quoted(first['x'])} noenhanced",
              f"set ylabel {quoted(first['y'])} noenhanced"]
    lines += ["set logscale y" if any(curve["log_y"] for curve in curves) else "set yrange [0:*]",
              "set format y '%.0s%c'"]
    if first["x"].startswith("1 / (1 - share"):
        tics = ", ".join(f"'{label} %%' {x}" for x, label in PERCENTILES)
        lines += ["set logscale x", f"set xtics ({tics})", "set xlabel 'percentile'"]
    elif any(curve["log_x"] for curve in curves):
        lines += ["set logscale x", "set format x '%.0s%c'"]
    drawn = []
    if len(curves) == 1:
        lines.append("unset key")
    for number, curve in enumerate(curves):
        lines += [f"$curve{number} << END"]
        lines += [f"{x!r} {y!r}" for x, y in good_points(curve)] + ["END"]
        drawn.append(f"$curve{number} using 1:2 with linespoints lw 2 pt 7 ps 0.4 "
                     f"lc rgb '{COLOURS[number % len(COLOURS)]}' title {quoted(curve['name'])}")
    return "\n".join(lines + ["plot " + ", \\\n  ".join(drawn), ""])


def bars_script(title, bars, label, output):
    """Horizontal bars: (name, value) pairs, the first on top."""
    lines = head(title, output)
    lines += [f"set xlabel {quoted(label)} noenhanced", "unset key", "set style fill solid 0.8",
              f"set yrange [{len(bars) - 0.4}:-0.6]", "set xrange [0:*]", "set lmargin 42",
              "set format x '%.0s%c'" if max(value for _, value in bars) >= 1e4 else "",
              "set ytics (" + ", ".join(f"{tic(name[:44])} {place}"
                                        for place, (name, _) in enumerate(bars)) + ") noenhanced",
              "$bars << END"]
    lines += [f"{value!r} {place} {short(value)}" for place, (_, value) in enumerate(bars)]
    lines += ["END", "plot $bars using ($1/2.0):2:($1/2.0):(0.35) with boxxyerror "
              f"lc rgb '{COLOURS[0]}', $bars using 1:2:3 "
              "with labels left offset char 0.7,0 noenhanced", ""]
    return "\n".join(lines)


def stages(answers):
    """What one record costs, by stage: the figures in nanoseconds that speak of a record."""
    return [(figure["name"].removeprefix("stage: "), figure["value"])
            for question, figure in all_figures(answers)
            if figure["unit"] == "ns" and is_number(figure["value"])
            and (figure["name"].startswith("stage: ") or re.search(r"\bper\b.*\brecord",
                                                                   figure["name"]))]


def scale_bars(answers):
    """{unit: bars}: what more lanes and partitions bring, side by side."""
    found = {}
    for question, figure in all_figures(answers):
        if question == "scale" and is_number(figure["value"]):
            found.setdefault(figure["unit"], []).append((figure["name"], figure["value"]))
    return found


def scripts(answers, folder):
    """(title, path, script) of each plot; curves that name the same plot share it."""
    plots = {}
    for answer in answers:
        for curve in answer["series"]:
            if good_points(curve):
                plots.setdefault((answer["question"], curve["plot"]), []).append(curve)
    made = []
    for (question, plot), curves in plots.items():
        path = os.path.join(folder, f"{question}-{file_name(plot)}.svg")
        made.append((f"{question}: {plot}", path, curves_script(plot, curves, path)))
    charts = [("cost per record by stage", stages(answers), "ns per record")]
    charts += [(f"scale: {unit}", bars, unit) for unit, bars in scale_bars(answers).items()]
    for title, bars, label in charts:
        path = os.path.join(folder, file_name(title) + ".svg")
        if bars:
            made.append((title, path, bars_script(title, bars, label, path)))
    return made


def draw(answers, directory):
    """[(title, path)] of the plots that gnuplot drew, and why others are not there."""
    folder = os.path.join(directory, "plots")
    shutil.rmtree(folder, ignore_errors=True)
    gnuplot = shutil.which("gnuplot")
    if not gnuplot:
        return [], ["There are no plots: gnuplot is not installed (Debian: gnuplot-nox)."]
    os.makedirs(folder, exist_ok=True)
    drawn, missing = [], []
    for title, path, script in scripts(answers, folder):
        ran = subprocess.run([gnuplot, "-"], input=script, text=True, capture_output=True,
                             check=False)
        if ran.returncode == 0 and os.path.isfile(path) and os.path.getsize(path):
            drawn.append((title, path))
        else:
            words = (ran.stderr.strip().splitlines() or ["no word why"])[-1]
            missing.append(f"gnuplot did not draw '{title}': {words}")
    return drawn, missing


# ---- the page ----------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1f; --soft: #5c5c66; --line: #d5d5dc;
  --good: #1a7f37; --bad: #c62828; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --back: #15161a; --text: #e6e6ea; --soft: #9a9aa6;
  --line: #34353d; --good: #56d364; --bad: #ff7b72; --warn: #e3b341; }
  img { filter: invert(0.9) hue-rotate(180deg); } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 2em auto; max-width: 78em; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3em .6em; text-align: left;
  vertical-align: top; } td.number, th.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); font-size: .87em; } .met { color: var(--good); font-weight: 600; }
.not-met { color: var(--bad); font-weight: 600; } .disturbed { color: var(--warn); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30em, 1fr)); gap: 1em; }
figure { margin: 0; } img { width: 100%; height: auto; }
"""

READING = """<p>A <b>limit</b> is what this machine can do with nothing of Millrace in it,
measured in the same run, in turn with Millrace: limit, ours, ours, limit, … The <b>ratio</b> is the
median of the pairs' ratios, the <b>spread</b> the least and the most of them; a <b>bar</b> is for
the ratio, or for the value where there is no limit. <b>Disturbed</b> is the share of windows in
which a core did not run for more than a millisecond although it should have; they are left out.
Absolute times and rates mean little on a shared or virtual machine; ratios of a disturbed run mean
less.</p>"""


def escape(text):
    return html.escape(str(text))


def figure_row(figure):
    bar = {"at least": "≥ ", "at most": "≤ "}.get(figure["sense"], "")
    # A bar of a value has its unit, one of a ratio has none.
    if figure["bar"] is None:
        bar = "–"
    elif figure["limit_name"] is None:
        bar += quantity(figure["bar"], figure["unit"])
    else:
        bar += f"{figure['bar']:.4g}"
    spread = "–"
    if is_number(figure["ratio_min"]) and is_number(figure["ratio_max"]):
        spread = f"{ratio(figure['ratio_min'])} … {ratio(figure['ratio_max'])}"
    small = [f"limit: {figure['limit_name']}"] if figure["limit_name"] else []
    small += [figure["note"]] if figure["note"] else []
    more = "".join(f'<div class="soft">{escape(words)}</div>' for words in small)
    words = verdict(figure)
    disturbed = ""
    if is_disturbed(figure):
        disturbed = f'<span class="disturbed">disturbed {percent(figure["disturbed"])}</span>'
    cells = [quantity(figure["value"], figure["unit"]), quantity(figure["limit"], figure["unit"]),
             ratio(figure["ratio"]), spread, bar]
    return (f"<tr><td>{escape(figure['name'])}{more}</td>"
            + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
            + f'<td class="{words.replace(" ", "-")}">{words}</td><td>{disturbed}</td></tr>')


def question_table(answer):
    rows = "\n".join(figure_row(figure) for figure in answer["figures"])
    heads = "".join(f'<th class="number">{name}</th>'
                    for name in ("value", "limit", "ratio", "spread", "bar"))
    return (f"<h2>{escape(answer['question'])}</h2>\n<div class=\"scroll\"><table>\n"
            f"<tr><th>figure</th>{heads}<th>verdict</th><th>disturbed</th></tr>\n"
            f"{rows}\n</table></div>")


def machine_table(machine):
    words = dict(machine)
    if is_number(words.get("memory_bytes")):
        words["memory"] = quantity(words.pop("memory_bytes"), "bytes")
    if words.get("interrupt_core") is None:
        words["interrupt_core"] = "not known"
    rows = "".join(f"<tr><td>{escape(key.replace('_', ' '))}</td><td>{escape(value)}</td></tr>\n"
                   for key, value in words.items() if value != "")
    return f"<h2>machine</h2>\n<table>\n{rows}</table>"


def jitter_table(answers):
    rows = []
    normal = False
    for answer in answers:
        jitter = answer.get("jitter") or {}
        normal = normal or jitter.get("scheduling") == "normal"
        for core in jitter.get("cores", []):
            rows.append(f"<tr><td>{escape(answer['question'])}</td><td>{core['core']}</td>"
                        f"<td class=\"number\">{core['lost'] * 100:.1f} %</td>"
                        f"<td class=\"number\">{core['gaps_per_second']:.2f}</td>"
                        f"<td class=\"number\">{quantity(core['longest_us'], 'us')}</td></tr>")
    warning = ""
    if normal:
        warning = ("<p class=\"disturbed\">The probe had no real-time priority: what it missed is "
                   "also what the measured programs used.</p>")
    return ("<h2>jitter</h2>\n" + warning + "<table>\n<tr><th>question</th><th>core</th>"
            "<th class=\"number\">time lost</th><th class=\"number\">gaps over 1 ms per second</th>"
            "<th class=\"number\">longest</th></tr>\n" + "\n".join(rows) + "\n</table>")


def plot_figure(title, path):
    with open(path, "rb") as file:
        data = base64.b64encode(file.read()).decode("ascii")
    return (f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption class=\"soft\">{escape(title)}</figcaption></figure>")


def page(answers, plots, missing):
    said = "\n".join(f"<p>{escape(sentence)}</p>" + ("<ul>" + "".join(
        f"<li>{escape(name)}</li>" for name in names) + "</ul>" if names else "")
        for sentence, names in summary(answers))
    drawn = "\n".join(plot_figure(*plot) for plot in plots)
    missing = "\n".join(f"<p class=\"soft\">{escape(words)}</p>" for words in missing)
    machine = answers[0]["machine"]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Millrace, measured</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head><body>
<h1>Millrace {escape(machine.get('version', ''))}, measured {escape(machine.get('date', ''))}</h1>
{said}
{READING}
{"".join(question_table(answer) for answer in answers)}
<h2>plots</h2>
<div class="plots">{drawn}</div>
{missing}
{jitter_table(answers)}
{machine_table(machine)}
</body></html>
"""


def main(words):
    if len(words) > 1 or words[:1] in (["--help"], ["-h"]):
        print(__doc__.strip())
        return 0 if len(words) == 1 else 2
    directory = words[0] if words else "bench-report"
    try:
        answers = read_all(directory)
        write_tables(directory, answers)
        plots, missing = draw(answers, directory)
        path = os.path.join(directory, "index.html")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page(answers, plots, missing))
    except (Trouble, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    for sentence, names in summary(answers):
        print(sentence)
        for name in names[:NAMES_PRINTED]:
            print(f"  {name}")
        if len(names) > NAMES_PRINTED:
            print(f"  and {len(names) - NAMES_PRINTED} more: see the page")
    for words in missing:
        print(words)
    print(f"{path}: {len(all_figures(answers))} figures, {len(plots)} plots")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
