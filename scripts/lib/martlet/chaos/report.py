"""The report of a chaos run: one HTML file with its tables, plots and timeline, and no script."""

import html
import time

from .clients import ACKNOWLEDGED

BUCKET = 0.25
WIDTH, HEIGHT, LEFT, TOP = 1180, 190, 52, 34
COLOURS = ["#3b6fb6", "#b6633b", "#3b9a6f"]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Chaos run, seed %(seed)d</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; color: #222 }
h2 { margin-top: 2.2rem } table { border-collapse: collapse; font-size: 13px }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left }
td.bad { color: #b00020; font-weight: 600 } svg { display: block; margin: 8px 0 26px }
pre { font-size: 12px; background: #f6f6f6; padding: 12px; overflow-x: auto }
</style></head><body><h1>Chaos run</h1>
<p>Seed %(seed)d, %(rounds)d rounds of each fault, node timeout %(timeout)d ms, %(when)s.</p>
<h2>Faults</h2>%(faults)s
<p>Unavailable: the longest time in which some shard had no acknowledged write from any client.
Lost: acknowledged and not there afterwards; aside: of these, kept in a lost-writes file.</p>
<h2>By kind of client</h2><p>Longest time without an acknowledged write, median / worst ms.</p>
%(clients)s
%(plots)s
<h2>Timeline</h2><pre>%(timeline)s</pre></body></html>
"""


def write(path, args, timeline, parts, faults, clients):
    plots = []
    for results, writes in parts:
        if results:
            title = "%s, %s" % (results[0].server, results[0].world)
            plots.append("<h2>Acknowledged writes each second: %s</h2>" % html.escape(title))
            plots += plots_of(results, writes, timeline.begun)
    lines = ["%8.2f s  %s%s" % (at, label + ": " if label else "", text)
             for at, label, text in timeline.lines]
    with open(path, "w") as file:
        file.write(PAGE % {
            "seed": args.seed, "rounds": args.rounds, "timeout": args.timeout,
            "when": time.strftime("%Y-%m-%d %H:%M"), "faults": table_of(*faults),
            "clients": table_of(*clients), "plots": "\n".join(plots),
            "timeline": html.escape("\n".join(lines)),
        })


def table_of(rows, header):
    suspicious = {index for index, name in enumerate(header) if name in ("lost", "problems")}
    out = ["<table><tr>", "".join("<th>%s</th>" % html.escape(name) for name in header), "</tr>"]
    for row in rows:
        out.append("<tr>")
        for index, cell in enumerate(row):
            bad = index in suspicious and str(cell) not in ("0", "-")
            out.append("<td%s>%s</td>" % (' class="bad"' if bad else "", html.escape(str(cell))))
        out.append("</tr>")
    return "".join(out + ["</table>"])


def plots_of(results, writes, zero):
    """A plot for each fault: an hour of one would show nothing."""
    names = []
    for result in results:
        if result.fault not in names:
            names.append(result.fault)
    moments = sorted((w.ended, w.lane) for w in writes if w.fate == ACKNOWLEDGED)
    out = []
    for name in names:
        group = [r for r in results if r.fault == name]
        begun, ended = group[0].begun - 2, group[-1].ended + 1
        inside = [(at, lane) for at, lane in moments if begun <= at < ended]
        out.append(plot(name, group, inside, begun, ended, zero))
    return out


def plot(name, group, moments, begun, ended, zero):
    count = max(1, int((ended - begun) / BUCKET))
    lanes = sorted({lane for _, lane in moments}) or [0]
    series = {lane: [0] * (count + 1) for lane in lanes}
    for at, lane in moments:
        series[lane][min(count, int((at - begun) / BUCKET))] += 1
    most = max(max(values) for values in series.values()) / BUCKET or 1
    x = lambda at: LEFT + (at - begun) / (ended - begun) * (WIDTH - LEFT - 10)
    y = lambda rate: TOP + (1 - rate / most) * (HEIGHT - TOP - 24)
    out = ['<svg width="%d" height="%d" role="img" aria-label="%s" font-size="11">'
           % (WIDTH, HEIGHT, html.escape(name))]
    out.append('<text x="%d" y="14" font-size="14" font-weight="600">%s</text>'
               % (LEFT, html.escape(name)))
    for result in group:
        left, right = x(result.hit), x(result.ended)
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f3d9d9"/>'
                   % (left, TOP, max(1, right - left), HEIGHT - TOP - 24))
        out.append('<text x="%.1f" y="%d" fill="#802020">round %d: %.0f ms, %d lost</text>'
                   % (left + 3, TOP - 5, result.number, result.unavailable * 1e3, result.lost))
    for share in (0, 0.5, 1):
        level = y(most * share)
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ccc"/>'
                   % (LEFT, WIDTH - 10, level, level))
        out.append('<text x="%d" y="%.1f" text-anchor="end">%.0f</text>'
                   % (LEFT - 6, level + 4, most * share))
    for lane, values in series.items():
        points = " ".join("%.1f,%.1f" % (x(begun + (i + 0.5) * BUCKET), y(v / BUCKET))
                          for i, v in enumerate(values[:count]))
        out.append('<polyline fill="none" stroke="%s" stroke-width="1.3" points="%s"/>'
                   % (COLOURS[lane % len(COLOURS)], points))
    step = max(1, int((ended - begun) / 10))
    for at in range(int(begun - zero) + 1, int(ended - zero), step):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d s</text>'
                   % (x(at + zero), HEIGHT - 8, at))
    return "".join(out + ["</svg>"])
