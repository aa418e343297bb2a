"""bench/plot_calls.py: the picture shows the figures that are there, each at its place."""

import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import plot_calls as plot  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


class Picture(unittest.TestCase):
    def test_it_is_the_one_of_the_committed_figures(self):
        self.assertEqual(plot.PICTURE.read_text(), plot.draw(plot.sections()), "python3 bench/plot_calls.py")

    def test_the_axis_is_logarithmic(self):
        self.assertAlmostEqual(plot.place(10) - plot.place(1), plot.place(1000) - plot.place(100))
        self.assertEqual(plot.place(0.0), plot.LEFT)

    def test_every_figure_is_a_bar_of_its_length_with_its_number(self):
        text = plot.draw([("A & B", {"one": {"floor": 1.0, "off": 10.0, "on": 8.5, "peer": None}})])
        root = ElementTree.fromstring(text)
        bars = {rect.get("fill"): float(rect.get("width")) for rect in root.iter(SVG + "rect") if rect.get("height") == str(plot.BAR - 1)}
        self.assertEqual(len(bars), 3)
        for us, colour in ((1.0, "#b8b8b8"), (10.0, "#1f5fa8"), (8.5, "#7fb2e5")):
            self.assertAlmostEqual(bars[colour], plot.place(us) - plot.LEFT, delta=0.1)
        words = [each.text for each in root.iter(SVG + "text")]
        for word in ("A & B", "one", "1", "10", "8.5"):
            self.assertIn(word, words)

    def test_figures_come_from_the_files(self):
        record = {"name": "paged", "requests": 64, "rows": 2, "keys": 32768, "read_us": 60.0, "math_us": 125.0, "us": 200.0}
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(plot, "RESULTS", Path(folder)):
            for name in ("h200_dense_packed.jsonl", "h200_grouped.jsonl", "h200_hc.jsonl"):
                (Path(folder) / name).write_text("")
            (Path(folder) / "h200_mqa.jsonl").write_text(
                "".join(json.dumps(record | {"pdl": pdl}) + "\n" for pdl in (False, True)))
            (Path(folder) / "h200_deepgemm.json").write_text(json.dumps({"paged 64 x 32 K": {"2": 77.2}}))
            rows = plot.sections()[3][1]
        self.assertEqual(list(rows.values()), [{"floor": 125.0, "peer": 77.2, "off": 200.0, "on": 200.0}])

    def test_every_figure_of_the_peer_is_shown(self):
        peer = json.loads((plot.RESULTS / "h200_deepgemm.json").read_text())
        figures = {us for sizes in peer.values() if isinstance(sizes, dict) for us in sizes.values()}
        shown = {row["peer"] for _, rows in plot.sections() for row in rows.values()}
        self.assertEqual(figures - shown, set())


if __name__ == "__main__":
    unittest.main()
