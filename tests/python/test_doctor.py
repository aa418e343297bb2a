"""The Python part of `deepwell doctor`."""

import json
import sys

import pytest

from deepwell import _doctor


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13)), ("2.10", (2, 10)), ("3", (3,)), ("2.15.0a0+git1", (2, 15)), ("", ())],
)
def test_numbers_of_a_version(version, numbers):
    assert _doctor._numbers(version) == numbers


@pytest.mark.parametrize(
    ("version", "ok"),
    [("2.9.1", False), ("2.10.0", True), ("2.13.0+cpu", True), ("1.13", False), ("3.0", True), (None, False)],
)
def test_torch_is_judged_by_its_version(monkeypatch, version, ok):
    monkeypatch.setattr(_doctor, "_version", lambda name: version)
    row = _doctor.torch_row()
    assert (row.state == "ok") == ok
    assert ok or "pip install 'torch>=2.10'" in row.state


def test_c_library_is_judged(monkeypatch):
    monkeypatch.setattr(_doctor.platform, "libc_ver", lambda: ("glibc", "2.17"))
    assert "2.28" in _doctor.glibc_row().state
    monkeypatch.setattr(_doctor.platform, "libc_ver", lambda: ("glibc", "2.35"))
    assert _doctor.glibc_row().state == "ok"
    monkeypatch.setattr(_doctor.platform, "libc_ver", lambda: ("", ""))
    assert _doctor.glibc_row().state != "ok"


def test_modules_are_named(other, monkeypatch):
    assert _doctor.deep_gemm_rows()[0].found == "Deepwell's drop-in"
    folder = other()
    live, rest = _doctor.deep_gemm_rows()
    assert live.found == "Deepwell's drop-in" and str(folder) in rest.found
    monkeypatch.setenv("DEEPWELL_DEEP_GEMM", "off")
    assert str(folder) in _doctor.deep_gemm_rows()[0].found


def test_missing_parts_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(_doctor, "_HERE", str(tmp_path))
    assert {row.found for row in _doctor.part_rows()} == {"not installed"}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "deepwell").touch()
    assert [row.state for row in _doctor.part_rows()][2] == "ok"


def test_report_without_torch_or_a_device(run_python):
    printed = run_python(
        "import sys\nfrom deepwell import _doctor\nprint(_doctor.text())\n"
        "assert 'torch' not in sys.modules and 'deep_gemm' not in sys.modules\n"
    )
    assert printed.startswith("Python\nwhat") and sys.version.split()[0] in printed


def test_command_line_says_what_is_missing(run_python, monkeypatch, tmp_path):
    code = (
        f"import sys\nfrom deepwell import cli\ncli._PACKAGE = {str(tmp_path)!r}\n"
        "sys.argv = ['deepwell', 'doctor', '--json']\ncli.main()"
    )
    done = run_python(code, check=False)
    assert done.returncode == 1 and str(tmp_path) in done.stderr
    assert json.loads(done.stdout)["python"][0]["what"] == "Python"
