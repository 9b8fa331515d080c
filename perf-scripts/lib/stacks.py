# SPDX-License-Identifier: Apache-2.0
"""What `perf script` prints, as samples; and samples folded into one flame graph: an SVG file that
needs nothing else, with zoom by click and search by Ctrl-F or the field.
"""
import html
import re
import subprocess

import script

HEAD = re.compile(r"^(?P<comm>.+?)\s+(?P<tid>\d+)\s+(?:\[\d+\]\s+)?(?P<time>\d+\.\d+):\s*"
                  r"(?P<rest>.*)$")
FRAME = re.compile(r"^\s+(?P<ip>[0-9a-f]+)\s+(?P<name>.+?)(?:\s+\((?P<module>[^()]*)\))?$")
KERNEL = re.compile(r"^\[(kernel|guest|unknown)|^/.*\.ko$|^\[[\w-]+\]$")

WIDTH, ROW, TOP, SIDE, BOTTOM = 1200, 17, 66, 12, 30
NARROW = 0.1  # pixels: what is narrower is not drawn
PALETTE = {"millrace": ("#f2a65a", "#e07a3f"), "kernel": ("#8fb8de", "#5b8fc4"),
           "library": ("#a9cfa4", "#7fb285"), "thread": ("#d9d4cc", "#c4bdb1")}


class Sample:
    """One event: its thread, when, what the event said, and its stack from the root on."""

    def __init__(self, match):
        self.comm, self.tid = match["comm"].strip(), int(match["tid"])
        self.time, self.rest, self.frames = float(match["time"]), match["rest"], []


def read(data, fields="comm,tid,time,event,trace,ip,sym,dso", inline=False, patience=300):
    """Samples of a perf data file, as perf resolves them."""
    command = ["perf", "script", "-i", data, "-F", fields]
    if not inline:
        command.append("--no-inline")
    process = script.start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           errors="replace")
    sample = None
    for line in process.stdout:
        line = line.rstrip()
        if not line:
            if sample:
                yield sample
            sample = None
            continue
        match = not line[0].isspace() and HEAD.match(line) or sample is None and HEAD.match(line)
        if match:
            sample = Sample(match)
        elif sample:
            add_frame(sample, line)
    if sample:
        yield sample
    script.end(process, patience=patience)


def add_frame(sample, line):
    match = FRAME.match(line)
    if match:
        name = re.sub(r"\+0x[0-9a-f]+$", "", match["name"])
        sample.frames.insert(0, (name, kind_of(match["module"] or "")))


def kind_of(module):
    if KERNEL.match(module):
        return "kernel"
    return "millrace" if "millrace" in module.rsplit("/", 1)[-1] else "library"


class Node:
    """A frame with what is above it."""

    def __init__(self, name, kind):
        self.name, self.kind, self.value, self.above = name, kind, 0, {}


class Folded:
    """Stacks with a weight each; 'unit' is what the weights count."""

    def __init__(self, unit):
        self.unit, self.root = unit, Node("all", "thread")

    def add(self, frames, value=1):
        node = self.root
        node.value += value
        for name, kind in frames:
            node = node.above.setdefault((name, kind), Node(name, kind))
            node.value += value

    def own(self):
        """[(name, weight)] of frames on top of a stack, heaviest first."""
        found = {}

        def walk(node):
            rest = node.value - sum(child.value for child in node.above.values())
            if rest > 0 and node is not self.root:
                found[node.name] = found.get(node.name, 0) + rest
            for child in node.above.values():
                walk(child)
        walk(self.root)
        return sorted(found.items(), key=lambda pair: -pair[1])

    def text(self):
        """One line a stack, as other tools take them: a;b;c weight."""
        lines = []

        def walk(node, names):
            rest = node.value - sum(child.value for child in node.above.values())
            if rest > 1e-9 and names:
                lines.append(f"{';'.join(names)} {rest:g}")
            for child in node.above.values():
                walk(child, names + [child.name])
        walk(self.root, [])
        return "\n".join(sorted(lines)) + "\n"

    def svg(self, title, subtitle):
        boxes, depth = [], [0]

        def place(node, x, level):
            width = (WIDTH - 2 * SIDE) * node.value / max(self.root.value, 1e-9)
            if width < NARROW:
                return
            depth[0] = max(depth[0], level)
            boxes.append((node, x, width, level))
            for child in sorted(node.above.values(), key=lambda child: child.name):
                place(child, x, level + 1)
                x += (WIDTH - 2 * SIDE) * child.value / max(self.root.value, 1e-9)
        place(self.root, SIDE, 0)
        height = TOP + (depth[0] + 1) * ROW + BOTTOM
        drawn = "\n".join(self._box(*box, height) for box in boxes)
        return TEMPLATE % {"width": WIDTH, "height": height, "title": html.escape(title),
                           "subtitle": html.escape(subtitle), "boxes": drawn, "side": SIDE,
                           "foot": height - 10, "right": WIDTH - SIDE, "legend": self._legend()}

    def _box(self, node, x, width, level, height):
        y = height - BOTTOM - (level + 1) * ROW
        share = 100 * node.value / max(self.root.value, 1e-9)
        light, dark = PALETTE[node.kind]
        # The same function has the same shade everywhere.
        fill = light if sum(node.name.encode()) % 2 else dark
        words = f"{node.name} [{node.kind}]: {node.value:,.5g} {self.unit}, {share:.2f} %"
        room = int((width - 6) / 6.6)
        label = node.name if len(node.name) <= room else node.name[:max(room - 1, 0)] + "…"
        return (f'<g class="f" data-n="{html.escape(node.name)}" data-x="{x:.2f}" '
                f'data-w="{width:.2f}" data-l="{level}"><title>{html.escape(words)}</title>'
                f'<rect x="{x:.2f}" y="{y}" width="{max(width - 0.4, 0.1):.2f}" '
                f'height="{ROW - 1}" fill="{fill}" rx="1.5"/>'
                f'<text x="{x + 3:.2f}" y="{y + 12}">{html.escape(label) if room > 2 else ""}'
                '</text></g>')

    @staticmethod
    def _legend():
        parts, x = [], WIDTH - SIDE - 330
        for kind in ("millrace", "kernel", "library"):
            parts.append(f'<rect x="{x}" y="16" width="11" height="11" rx="2" '
                         f'fill="{PALETTE[kind][1]}"/><text class="s" x="{x + 16}" y="26">{kind}'
                         "</text>")
            x += 84
        return "".join(parts)


TEMPLATE = """<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %(width)d %(height)d" width="100%%"
	font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">
<style>
	.h { font: 600 17px system-ui, sans-serif; fill: #26221d }
	.s { font: 12px system-ui, sans-serif; fill: #6b645a }
	.f { cursor: pointer } .f text { pointer-events: none; fill: #26221d }
	.f:hover rect { stroke: #26221d; stroke-width: 1 } .dim { opacity: .45 }
	.hit rect { fill: #c23b75 } .hit text { fill: #fff } .b { cursor: pointer }
</style>
<rect width="100%%" height="100%%" fill="#faf8f5"/>
<text class="h" x="%(side)d" y="26">%(title)s</text>
<text class="s" x="%(side)d" y="46">%(subtitle)s</text>
%(legend)s
<text class="s b" id="find" x="%(right)d" y="26" text-anchor="end">search</text>
<text class="s b" id="back" x="%(right)d" y="46" text-anchor="end"></text>
<text class="s" id="about" x="%(side)d" y="%(foot)d">hover for figures, click to zoom</text>
<g id="all">
%(boxes)s
</g>
<script><![CDATA[
"use strict";
const W = %(width)d, S = %(side)d, frames = [...document.querySelectorAll(".f")];
const about = document.getElementById("about"), back = document.getElementById("back");
const quiet = about.textContent;
function show(g, x, w) {
	const rect = g.querySelector("rect"), text = g.querySelector("text"), n = g.dataset.n;
	const hidden = w < 0.1 || x >= W - S || x + w <= S;
	g.style.display = hidden ? "none" : "";
	if (hidden) return;
	const left = Math.max(x, S), width = Math.min(x + w, W - S) - left;
	rect.setAttribute("x", left);
	rect.setAttribute("width", Math.max(width - 0.4, 0.1));
	text.setAttribute("x", left + 3);
	const room = Math.floor((width - 6) / 6.6);
	text.textContent = room < 3 ? "" : n.length <= room ? n : n.slice(0, room - 1) + "\\u2026";
}
function zoom(on) {
	const x0 = +on.dataset.x, w0 = +on.dataset.w, l0 = +on.dataset.l, k = (W - 2 * S) / w0;
	for (const g of frames) {
		const x = +g.dataset.x, w = +g.dataset.w;
		show(g, S + (x - x0) * k, w * k);
		g.classList.toggle("dim", +g.dataset.l < l0);
	}
	back.textContent = l0 ? "zoom out" : "";
}
function search() {
	const word = prompt("Functions whose name matches (a regular expression):", "");
	let pattern = null, left = -1, sum = 0;
	try { pattern = word ? new RegExp(word, "i") : null; } catch (e) { return; }
	for (const g of frames) {
		const hit = pattern !== null && pattern.test(g.dataset.n);
		g.classList.toggle("hit", hit);
		/* Frames come in the order of a walk: what lies above a hit is counted with it. */
		if (hit && +g.dataset.x >= left - 1e-6) {
			sum += +g.dataset.w;
			left = +g.dataset.x + +g.dataset.w;
		}
	}
	about.textContent = !pattern ? quiet : word + ": " +
		(100 * sum / (W - 2 * S)).toFixed(2) + " %%";
}
for (const g of frames) {
	g.addEventListener("click", () => zoom(g));
	g.addEventListener("mouseenter", () => {
		about.textContent = g.querySelector("title").textContent;
	});
}
back.addEventListener("click", () => zoom(frames[0]));
document.getElementById("find").addEventListener("click", search);
addEventListener("keydown", (e) => {
	if ((e.ctrlKey || e.metaKey) && e.key === "f") { e.preventDefault(); search(); }
	if (e.key === "Escape") zoom(frames[0]);
});
]]></script>
</svg>
"""
