"""tools/run_tests.py counts cases and objects to skipped cases, empty programs and reports that were cut short."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import run_tests  # noqa: E402


def report(*results):
    cases = [
        {"name": f"case{i}", "status": "NOTRUN" if result == "SUPPRESSED" else "RUN", "result": result}
        for i, result in enumerate(results)
    ]
    return json.dumps({"testsuites": [{"name": "Suite", "testsuite": cases}]})


class CountCases(unittest.TestCase):
    def count(self, **reports):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in reports.items():
                (Path(folder) / f"{name}.json").write_text(text)
            return run_tests.count_cases(Path(folder))

    def test_sums_programs(self):
        self.assertEqual(self.count(a=report("COMPLETED", "COMPLETED"), b=report("COMPLETED")), (3, []))

    def test_skipped_case_is_a_problem(self):
        total, problems = self.count(a=report("COMPLETED", "SKIPPED"))
        self.assertEqual((total, problems), (1, ["a: Suite.case1 was skipped"]))

    def test_empty_program_is_a_problem(self):
        self.assertEqual(self.count(a=report())[1], ["a: ran no case"])
        self.assertEqual(self.count(a=report("SUPPRESSED"))[1], ["a: ran no case"])

    def test_broken_report_is_a_problem(self):
        self.assertEqual(len(self.count(a='{"testsuites": [')[1]), 1)


if __name__ == "__main__":
    unittest.main()
