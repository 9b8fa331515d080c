#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must hold of bench/report.py: every figure is on the page, with its verdict; what was
disturbed or has no answer is said; the page needs nothing from elsewhere and no text of it is
markup; a broken input is refused with a sentence."""
import csv
import html.parser
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import support

REPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "report.py")
EMPTY_TAGS = {"meta", "img", "br", "hr", "link", "input"}
FAKE_GNUPLOT = """#!/usr/bin/env python3
import re, sys
script = sys.stdin.read()
path = re.search("set output '([^']*)'", script).group(1)
if "refuse this" in script:
    sys.exit("gnuplot: refused")
with open(path, "w") as file:
    file.write("<svg xmlns='http://www.w3.org/2000/svg'></svg>")
with open(path + ".script", "w") as file:
    file.write(script)
"""


def figure(name, **more):
    made = {"name": name, "unit": "us", "value": 250.0, "limit": 200.0, "limit_name": "raw write",
            "ratio": 1.25, "ratio_min": 1.1, "ratio_max": 1.4, "bar": 1.7, "sense": "at most",
            "met": True, "disturbed": 0.0, "note": None,
            "pairs": [{"ours": 250.0, "limit": 200.0, "ratio": 1.25, "disturbed": 0.0}]}
    made.update(more)
    return made


def reported(name, **more):
    made = {"limit": None, "limit_name": None, "ratio": None, "ratio_min": None,
            "ratio_max": None, "bar": None, "sense": "report", "met": None}
    made.update(more)
    return figure(name, **made)


def curve(plot, name, points, **more):
    made = {"plot": plot, "name": name, "x": "records/s", "y": "us", "log_x": True, "log_y": True,
            "points": points}
    made.update(more)
    return made


def answer(question, figures, series=()):
    return {"question": question,
            "machine": {"cpu": "A <fast> one", "hypervisor": "none", "cores": 2, "cpus": 2,
                        "nodes": 1, "memory_bytes": 8 << 30, "kernel": "6.1", "disk": "sda",
                        "file_system": "ext4", "io": "uring", "interrupt_core": None,
                        "date": "2026-11-22T12:00:00Z", "version": "0.1.0"},
            "jitter": {"scheduling": "fifo", "period_us": 500.0, "gap_us": 1000.0, "cores": [
                {"core": 0, "seconds": 3.0, "lost": 0.071, "gaps": 4, "gaps_per_second": 1.33,
                 "longest_us": 8123.0}]},
            "figures": figures, "series": list(series)}


class Page(html.parser.HTMLParser):
    """Checks that tags close, and keeps the text and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.sources, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("\n".join(self.words).split())


class Report(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="mr-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.out = os.path.join(self.directory, "report")
        self.tools = os.path.join(self.directory, "tools")
        os.makedirs(os.path.join(self.out, "raw"))
        os.mkdir(self.tools)

    def tearDown(self):
        shutil.rmtree(self.directory)

    def fake_gnuplot(self):
        path = os.path.join(self.tools, "gnuplot")
        with open(path, "w", encoding="utf-8") as file:
            file.write(FAKE_GNUPLOT.replace("/usr/bin/env python3", sys.executable))
        os.chmod(path, stat.S_IRWXU)

    def save(self, name, content):
        with open(os.path.join(self.out, "raw", name), "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))

    def run_report(self, tools=None):
        environment = dict(os.environ, PATH=tools or self.tools)
        return subprocess.run([sys.executable, REPORT, self.out], capture_output=True, text=True,
                              timeout=60, check=False, env=environment)

    def page(self, **more):
        ran = self.run_report(**more)
        self.assertEqual(ran.returncode, 0, ran)
        with open(os.path.join(self.out, "index.html"), encoding="utf-8") as file:
            page = Page(file.read())
        self.assertEqual(page.open, [], "every tag is closed")
        return page, ran.stdout

    # ---- what it says --------------------------------------------------------------------

    def test_every_figure_with_its_verdict(self):
        self.save("ack.json", answer("ack", [
            figure("p50 at 10,000/s"),
            figure("p99", met=False, ratio=9.5, ratio_min=6.0, ratio_max=40.0, bar=8),
            reported("bytes on disk", unit="bytes", value=4096.0, note="publish together"),
            reported("idle", unit="cores", value=0.00033),
            reported("memory", unit="bytes", value=5 << 20, bar=24 << 20, sense="at most",
                     met=True)]))
        page, said = self.page()
        for words in ("p50 at 10,000/s", "250 us", "200 us", "1.25", "1.10 … 1.40", "≤ 1.7",
                      "limit: raw write", "not met", "9.50", "4.00 KiB", "publish together",
                      "reported", "≤ 24.0 MiB", "0.033 % of a core", "2 of 3 bars are met",
                      "8.12 ms", "7.1 %",
                      "8.00 GiB", "A <fast> one"):
            self.assertIn(words, page.text)
        self.assertIn("2 of 3 bars are met.", said)
        self.assertIn("  ack: p99", said)

    def test_what_was_disturbed_is_said(self):
        self.save("ack.json", answer("ack", [figure("quiet"), figure("a little", disturbed=0.04),
                                             figure("very much", disturbed=0.43)]))
        page, said = self.page()
        self.assertIn("2 of 3 figures were disturbed", page.text)
        self.assertIn("disturbed 4 %", page.text)
        self.assertIn("disturbed 43 %", page.text)
        self.assertIn("1 of them lost 20 % or more; repeat these before you believe them:\n"
                      "  ack: very much (43 %)\n1 of them lost less:\n  ack: a little (4 %)\n",
                      said)
        self.assertNotIn("  ack: quiet", said)

    def test_the_worst_disturbed_come_first(self):
        self.save("ack.json", answer("ack", [figure("third", disturbed=0.21),
                                             figure("first", disturbed=1.0),
                                             figure("second", disturbed=0.5)]))
        said = self.page()[1]
        self.assertIn("  ack: first (100 %)\n  ack: second (50 %)\n  ack: third (21 %)\n", said)
        self.assertNotIn("lost less", said)

    def test_a_probe_without_priority_is_said(self):
        one = answer("ack", [figure("x")])
        self.save("ack.json", one)
        self.assertNotIn("no real-time priority", self.page()[0].text)
        one["jitter"]["scheduling"] = "normal"
        self.save("ack.json", one)
        self.assertIn("no real-time priority", self.page()[0].text)

    def test_questions_without_an_answer_are_said(self):
        self.save("lane.json", answer("lane", [figure("x")]))
        page, said = self.page()
        self.assertIn("Without an answer in this run:", page.text)
        self.assertIn("  ingest\n", said)
        self.assertNotIn("  lane\n", said)
        self.assertNotIn("  soak\n", said, "it is asked by itself")

    def test_questions_come_in_their_order(self):
        for name in ("scale", "limits", "lane"):
            self.save(name + ".json", answer(name, [figure("of " + name)]))
        text = self.page()[0].text
        self.assertLess(text.index("of limits"), text.index("of lane"))
        self.assertLess(text.index("of lane"), text.index("of scale"))

    def test_no_text_is_markup_and_nothing_is_loaded(self):
        self.fake_gnuplot()
        evil = "<script>alert(1)</script>'\"&"
        self.save("ack.json", answer("ack", [figure(evil, limit_name=evil, note=evil)],
                                     [curve(evil, evil, [[1, 2], [3, 4]])]))
        page, _ = self.page()
        self.assertNotIn("script", page.tags)
        self.assertIn(evil, page.text)
        self.assertEqual(len(page.sources), 1)
        for source in page.sources:
            self.assertTrue(source.startswith("data:image/svg+xml;base64,"), source)

    # ---- tables --------------------------------------------------------------------------

    def test_csv_has_all(self):
        points = [[1000, 210.5], [10000, 250], [100000, None]]
        self.save("ack.json", answer("ack", [figure("a, with \"comma\""), reported("b")],
                                     [curve("latency", "p50", points)]))
        self.page()
        with open(os.path.join(self.out, "figures.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["name"] for row in rows], ["a, with \"comma\"", "b"])
        self.assertEqual(float(rows[0]["ratio"]), 1.25)
        self.assertEqual(rows[1]["ratio"], "")
        with open(os.path.join(self.out, "series.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["y"] for row in rows], ["210.5", "250", ""])

    # ---- plots ---------------------------------------------------------------------------

    def scripts(self):
        folder = os.path.join(self.out, "plots")
        found = {}
        for name in sorted(os.listdir(folder)):
            if name.endswith(".script"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found[name.removesuffix(".svg.script")] = file.read()
        return found

    def test_curves_of_a_plot_share_it(self):
        self.fake_gnuplot()
        self.save("ack.json", answer("ack", [
            figure("x"), reported("stage: publish", unit="ns", value=25.0),
            reported("worker CPU per durable record", unit="ns", value=31.0),
            reported("a wake-up", unit="ns", value=9000.0)], [
            curve("against load", "p50", [[1000, 210], [10000, 250]]),
            curve("against load", "p99", [[1000, 400], [10000, 0], [20000, None]]),
            curve("percentiles", "1,000/s", [[1, 5], [10000, 50]],
                  x="1 / (1 - share of records)")]))
        page, said = self.page()
        scripts = self.scripts()
        self.assertEqual(list(scripts), ["ack-against-load", "ack-percentiles",
                                         "cost-per-record-by-stage"])
        load = scripts["ack-against-load"]
        self.assertIn("'p50'", load)
        self.assertIn("'p99'", load)
        self.assertIn("set logscale x", load)
        self.assertIn("set logscale y", load)
        self.assertIn("10000 250", load)
        self.assertNotIn("10000 0", load, "a logarithmic axis has no zero")
        self.assertNotIn("None", load)
        self.assertIn("'99.99 %%' 10000", scripts["ack-percentiles"])
        self.assertIn("25.0 0 25.0", scripts["cost-per-record-by-stage"])
        self.assertIn("31.0 1 31.0", scripts["cost-per-record-by-stage"])
        self.assertNotIn("9000", scripts["cost-per-record-by-stage"], "that is no cost of a record")
        self.assertEqual(page.tags.count("img"), 3)
        self.assertIn("3 plots", said)

    def test_what_scales_stands_side_by_side_by_unit(self):
        self.fake_gnuplot()
        self.save("scale.json", answer("scale", [
            reported("1 lane", unit="records/s", value=30e6),
            reported("8 lanes", unit="records/s", value=29e6),
            reported("8 lanes against 1", unit="ratio", value=0.97)]))
        self.page()
        scripts = self.scripts()
        self.assertEqual(list(scripts), ["scale-ratio", "scale-records-s"])
        self.assertIn("30000000.0 0 30.0M", scripts["scale-records-s"])
        self.assertIn("29000000.0 1 29.0M", scripts["scale-records-s"])
        self.assertIn("0.97 0 0.97", scripts["scale-ratio"])

    def test_the_terminal_is_not_flooded(self):
        self.save("ack.json", answer("ack", [figure(f"f{i}", met=False) for i in range(40)]))
        page, said = self.page()
        self.assertIn("  and 28 more: see the page", said)
        self.assertNotIn("ack: f39", said)
        self.assertIn("ack: f39", page.text)

    def test_without_gnuplot_the_page_says_so(self):
        self.save("ack.json", answer("ack", [figure("x")], [curve("p", "c", [[1, 2]])]))
        page, said = self.page()
        self.assertIn("gnuplot is not installed", page.text)
        self.assertIn("gnuplot is not installed", said)
        self.assertEqual(page.tags.count("img"), 0)

    def test_a_plot_that_fails_is_said_and_the_rest_is_drawn(self):
        self.fake_gnuplot()
        self.save("ack.json", answer("ack", [figure("x")], [
            curve("refuse this", "c", [[1, 2]]), curve("draw this", "c", [[1, 2]])]))
        page, said = self.page()
        self.assertIn("gnuplot did not draw 'ack: refuse this': gnuplot: refused", said)
        self.assertEqual(page.tags.count("img"), 1)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_the_real_gnuplot_takes_the_scripts(self):
        self.save("ack.json", answer("ack", [
            reported("stage: it's \"100 %\" _of_ {x}", unit="ns", value=25.0)], [
            curve("it's {/bold x}_1\n", "a 'curve' $1", [[1, 2], [3, 4.5]]),
            curve("linear", "c", [[0, 0], [1, 1]], log_x=False, log_y=False),
            curve("percentiles", "c", [[1, 5], [10000, 50]], x="1 / (1 - share of records)")]))
        page, said = self.page(tools=os.environ["PATH"])
        self.assertNotIn("did not draw", said)
        self.assertEqual(page.tags.count("img"), 4)

    # ---- wrong input ---------------------------------------------------------------------

    def test_wrong_input_is_refused_with_a_sentence(self):
        for content, sentence in (("{", "cannot read"), ("[1]", "no answer of millrace bench"),
                                  ('{"question": "ack"}', 'has no "machine"'),
                                  (answer("ack", [{"name": "x"}]), 'a figure has no "unit"')):
            with self.subTest(content=content):
                self.save("ack.json", content)
                ran = self.run_report()
                self.assertEqual(ran.returncode, 1, ran)
                self.assertIn(sentence, ran.stderr)
                self.assertNotIn("Traceback", ran.stderr)
                self.assertFalse(os.path.exists(os.path.join(self.out, "index.html")))

    def test_nothing_to_report_is_said(self):
        ran = self.run_report()
        self.assertEqual(ran.returncode, 1, ran)
        self.assertIn("there is no answer in", ran.stderr)
        shutil.rmtree(os.path.join(self.out, "raw"))
        ran = self.run_report()
        self.assertIn("cannot look into", ran.stderr)
        self.assertNotIn("Traceback", ran.stderr)


if __name__ == "__main__":
    support.main()
