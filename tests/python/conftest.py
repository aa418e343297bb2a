"""Fixtures of the Python tests.

`deepwell` is the installed one if there is one, else the folder python/ of this tree, which lacks the native
module: these tests put a fake in its place where they need one (`fakes.py`).
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))
if importlib.util.find_spec("deepwell") is None:
    sys.path.insert(0, str(ROOT / "python"))

import deepwell  # noqa: E402
import fakes  # noqa: E402

os.environ.pop("DEEPWELL_DEEP_GEMM", None)
PACKAGE_ROOT = Path(deepwell.__file__).absolute().parents[1]


@pytest.fixture
def clean():
    """No other DeepGEMM has been looked for, no setting made, no native module loaded; the same again
    afterwards.
    """
    fakes.reset()
    yield
    fakes.reset()


@pytest.fixture
def native(clean, monkeypatch):
    """A fake native module, in place."""
    fake = fakes.Native()
    fakes.put_in_place(fake, monkeypatch)
    return fake


@pytest.fixture
def other(clean, monkeypatch, tmp_path):
    """other(version, ...) writes a fake DeepGEMM and puts its folder on sys.path; see fakes.write_other."""

    def make(version="2.8.1", vendored=False, **options):
        folder = tmp_path / ("vendored" if vendored else "installed")
        fakes.write_other(folder, version, vendored=vendored, **options)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return make


@pytest.fixture
def run_python(tmp_path):
    """Runs code in a new interpreter whose path begins with the given folders and ends with deepwell's."""

    def run(code, path=(), environment=None, arguments=("-c",), check=True):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("DEEPWELL_")}
        variables["PYTHONPATH"] = os.pathsep.join([*map(str, path), str(PACKAGE_ROOT)])
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        variables.update(environment or {})
        done = subprocess.run(
            [sys.executable, *arguments, code],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()
        return done

    return run


def pytest_sessionfinish(session, exitstatus):
    """A skipped test counts as a failure: it has shown nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line("skipped tests count as failures", red=True)
        session.exitstatus = 1
