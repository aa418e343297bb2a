"""tools/run_vllm_client.py: what counts as passed, what is taken from vLLM's wheel, and what a run inherits."""

import os
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import run_vllm_client as client  # noqa: E402


class Count(unittest.TestCase):
    def count(self, text):
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            if text is not None:
                report.write_text(text)
            return client.count(report)

    def suite(self, **numbers):
        attributes = " ".join(f'{name}="{number}"' for name, number in numbers.items())
        return self.count(f"<testsuites><testsuite {attributes}/></testsuites>")

    def test_all_passed(self):
        self.assertEqual(self.suite(tests=7, failures=0, errors=0, skipped=0), (7, []))

    def test_failures_errors_and_skipped_tests_are_problems(self):
        self.assertEqual(
            self.suite(tests=7, failures=1, errors=2, skipped=3), (7, ["1 failures", "2 errors", "3 skipped"])
        )

    def test_no_tests_is_a_problem(self):
        self.assertEqual(self.suite(tests=0, failures=0, errors=0, skipped=0), (0, ["ran no test"]))

    def test_missing_or_cut_report_is_a_problem(self):
        for text in (None, "<testsuites><testsuite"):
            self.assertEqual(self.count(text), (0, ["no report: the process died"]))


class Unpack(unittest.TestCase):
    def test_takes_python_files_only(self):
        with tempfile.TemporaryDirectory() as folder:
            wheel, out = Path(folder) / "vllm.whl", Path(folder) / "vllm"
            with zipfile.ZipFile(wheel, "w") as archive:
                for name in (
                    "vllm/__init__.py",
                    "vllm/_C.abi3.so",
                    "vllm/data.json",
                    "vllm/utils/deep_gemm.py",
                ):
                    archive.writestr(name, "")
            self.assertEqual(client.unpack(wheel, out), 2)
            found = sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
            self.assertEqual(found, ["vllm/__init__.py", "vllm/utils/deep_gemm.py"])

    def test_broken_wheel_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            wheel, out = Path(folder) / "vllm.whl", Path(folder) / "vllm"
            wheel.write_bytes(b"PK cut short")
            with self.assertRaises(zipfile.BadZipFile):
                client.unpack(wheel, out)
            self.assertFalse(out.exists())


class Stamp(unittest.TestCase):
    def test_makes_once_per_text(self):
        with tempfile.TemporaryDirectory() as folder:
            made = []
            for text in ("one", "one", "two"):
                client.stamp(Path(folder), text, lambda text=text: made.append(text))
            self.assertEqual(made, ["one", "two"])

    def test_failure_leaves_no_stamp(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(SystemExit):
                client.stamp(Path(folder), "one", lambda: client.fail("planted"))
            made = []
            client.stamp(Path(folder), "one", lambda: made.append(1))
            self.assertEqual(made, [1])


class Environment(unittest.TestCase):
    def test_nothing_of_the_callers_settings_is_inherited(self):
        theirs = {
            "VLLM_USE_DEEP_GEMM": "0",
            "DEEPWELL_DEEP_GEMM": "off",
            "DG_JIT_CACHE_DIR": "/x",
            "PYTHONPATH": "/y",
            "HOME": "/z",
        }
        with mock.patch.dict(os.environ, theirs, clear=True):
            ours = client.test_environment("12.1")
        self.assertEqual(ours["DEEPWELL_DEVICE"], "emu:sm_121a")
        self.assertEqual(ours["HOME"], "/z")
        self.assertFalse(
            {"VLLM_USE_DEEP_GEMM", "DEEPWELL_DEEP_GEMM", "DG_JIT_CACHE_DIR", "PYTHONPATH"} & set(ours)
        )

    def test_folder_without_a_built_package_is_refused(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(SystemExit):
            client.find_deepwell(Path(folder))


if __name__ == "__main__":
    unittest.main()
