"""Draws bench/results/h200_v4_calls.svg: floor, Deepwell and DeepGEMM for each call of a V4-Flash server, on a log axis.

    python3 bench/plot_calls.py            writes it from the .jsonl files and h200_deepgemm.json beside it
    python3 bench/plot_calls.py --check    exit code 1 if it shows other figures
"""
import argparse
import json
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

RESULTS = Path(__file__).resolve().parent / "results"
PICTURE = RESULTS / "h200_v4_calls.svg"
SERIES = (  # key, what it is called, colour
    ("floor", "floor", "#b8b8b8"),
    ("off", "Deepwell", "#1f5fa8"),
    ("on", "Deepwell, programmatic dependent launch", "#7fb2e5"),
    ("peer", "DeepGEMM 2.8.1", "#e08a2e"),
)
LEFT, WIDTH, BAR, GAP, TITLE = 262, 1010, 11, 8, 34
LOWEST, HIGHEST = 0.3, 2000.0
FONT = "font-family='Helvetica, Arial, sans-serif'"


def lines(name):
    return [json.loads(line) for line in (RESULTS / name).read_text().splitlines() if line.strip()]


class Rows:
    """Rows of one section: label -> figures of the series."""

    def __init__(self, peer):
        self.peer, self.rows = peer, {}

    def add(self, label, operation, size, floor, record):
        row = self.rows.setdefault(label, {"floor": floor, "peer": self.peer.get(operation, {}).get(str(size))})
        row["on" if record["pdl"] else "off"] = record["us"]


def sections():
    """(title, rows) of the picture."""
    peer = json.loads((RESULTS / "h200_deepgemm.json").read_text())
    dense, experts, streams, logits = (Rows(peer) for _ in range(4))
    for r in lines("h200_dense_packed.jsonl"):
        if r["m"] in (1, 8, 16):
            dense.add(f"{r['name']}  {r['n']} x {r['k']}, {tokens(r['m'])}", r["name"], r["m"], r["floor_us"], r)
    for r in lines("h200_grouped.jsonl"):
        weights = "FP4" if r["b"] == "e2m1" else "FP8"
        label = f"{r['name']}, {weights} weights, {tokens(r['tokens'])}"
        experts.add(label, r["name"], r["tokens"], r["floor_us"], r)
    for r in lines("h200_hc.jsonl"):
        if r.get("chosen", True):
            streams.add(f"{r['n']} x {r['k']} in {r['splits']} parts, {tokens(r['m'])}", "hc_prenorm", r["m"], r["floor_us"], r)
    for r in lines("h200_mqa.jsonl"):
        floor, keys = max(r["read_us"], r["math_us"]), r["keys"] // 1024
        if r["name"] == "paged":
            label = f"paged, {r['requests']} x {keys} K keys, {r['rows']} token{'s' if r['rows'] > 1 else ''} each"
            logits.add(label, f"paged {r['requests']} x {keys} K", r["rows"], floor, r)
        else:
            logits.add(f"ragged, {r['rows']} x {keys} K keys", f"ragged {keys} K", r["rows"], floor, r)
    return [
        ("Dense products, FP8, packed scales", dense.rows),
        ("Experts: 256, top 6 (DeepGEMM: FP8 weights)", experts.rows),
        ("Product in front of hyper-connections", streams.rows),
        ("Indexer logits, 64 heads of 128, FP8", logits.rows),
    ]


def tokens(count):
    return f"{count} token{'s' if count > 1 else ''}"


def place(us):
    """Where a time stands on the axis."""
    share = math.log(max(us, LOWEST) / LOWEST) / math.log(HIGHEST / LOWEST)
    return LEFT + share * (WIDTH - LEFT - 60)


def number(us):
    return f"{us:.0f}" if us >= 100 else f"{us:.3g}"


def draw(parts):
    """The picture as SVG text."""
    body, y = [], 96
    for title, rows in parts:
        body.append(f"<text x='14' y='{y + 20}' font-size='15' font-weight='bold'>{escape(title)}</text>")
        y += TITLE
        for label, row in rows.items():
            bars = [(row.get(key), colour) for key, _, colour in SERIES if row.get(key) is not None]
            middle = y + len(bars) * BAR / 2 + 4
            body.append(f"<text x='{LEFT - 8}' y='{middle:.1f}' font-size='12' text-anchor='end'>{escape(label)}</text>")
            for us, colour in bars:
                end = place(us)
                body.append(f"<rect x='{LEFT}' y='{y}' width='{end - LEFT:.1f}' height='{BAR - 1}' fill='{colour}'/>")
                body.append(f"<text x='{end + 4:.1f}' y='{y + BAR - 2}' font-size='9.5' fill='#333'>{number(us)}</text>")
                y += BAR
            y += GAP
    bottom, grid = y, []
    for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000):
        x = place(tick)
        grid.append(f"<line x1='{x:.1f}' y1='92' x2='{x:.1f}' y2='{bottom}' stroke='#e4e4e4'/>")
        for at in (86, bottom + 16):
            grid.append(f"<text x='{x:.1f}' y='{at}' font-size='11' text-anchor='middle' fill='#555'>{tick:g}</text>")
    legend, x = [], 14
    for _, name, colour in SERIES:
        legend.append(f"<rect x='{x}' y='46' width='12' height='12' fill='{colour}'/>"
                      f"<text x='{x + 18}' y='57' font-size='13'>{escape(name)}</text>")
        x += 44 + 7.2 * len(name)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{bottom + 30}' {FONT}>\n"
        "<rect width='100%' height='100%' fill='white'/>\n"
        "<text x='14' y='28' font-size='18' font-weight='bold'>What a V4-Flash server calls, on one H200: "
        "microseconds a call (log axis, shorter is better)</text>\n"
        + "\n".join(legend + grid + body) + "\n</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = draw(sections())
    if parser.parse_args().check:
        same = PICTURE.exists() and PICTURE.read_text() == text
        print(f"{PICTURE.name}: {'as the figures are' if same else 'shows other figures: python3 bench/plot_calls.py'}")
        return 0 if same else 1
    PICTURE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
