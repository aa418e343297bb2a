"""tools/size_report.py lists long files and long functions, and only those."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import size_report  # noqa: E402

LONG_FUNCTION = (
    "// x\nnamespace a {\nint long_one(int x) {\n"
    + "  x += 1;\n" * 70
    + "  return x;\n}\nint short_one() { return 1; }\n}\n"
)


class SizeReport(unittest.TestCase):
    def rows(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_text(text)
            return size_report.report(Path(folder))

    def test_short_file_is_not_listed(self):
        self.assertEqual(self.rows({"src/a.cpp": "// x\nint a;\n" * 100}), [])

    def test_long_file_is_listed(self):
        self.assertEqual(self.rows({"src/a.cpp": "// x\n" * 401}), [("file", "src/a.cpp", 401, 400)])

    def test_long_function_is_listed_by_name(self):
        (row,) = self.rows({"src/a.cpp": LONG_FUNCTION})
        self.assertEqual(row, ("function", "src/a.cpp:3 long_one", 73, 60))

    def test_kernels_have_their_own_limits(self):
        self.assertEqual(self.rows({"kernels/deepwell/kernel/a.cuh": LONG_FUNCTION}), [])
        self.assertEqual(len(self.rows({"kernels/deepwell/prim/a.cuh": "// x\n" * 301})), 1)


if __name__ == "__main__":
    unittest.main()
