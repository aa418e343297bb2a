"""Runs tests/clients/vllm: vLLM's own Python code drives Deepwell's drop-in, capability by capability, setting by setting.

Does its own set-up below build/clients, once: a virtual environment, and the .py files of vLLM's wheel (the download is
336 MB, deleted after unpacking). Then one process for each capability and setting of the environment. Prints how long
each phase took; exit code 1 if a test failed, was skipped, or none ran. docs/clients.md says what is driven and what not.
"""
import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "clients" / "vllm"
BUILD = ROOT / "build" / "clients"
VLLM = "0.33.0"
TORCH = "2.13.0"
DEVICES = {"12.0": "emu:sm_120a", "12.1": "emu:sm_121a"}
SETTINGS = ("default", "no-deep-gemm", "no-e8m0")
TIMEOUT_S = 900


def fail(message):
    sys.exit(f"run_vllm_client: {message}")


def run(command, **options):
    """Runs a command of the set-up; what it says is shown only if it fails."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode != 0:
        fail(f"{' '.join(str(part) for part in command)} failed:\n{done.stdout[-3000:]}")


def unpack(wheel, folder):
    """The .py files of a wheel, complete or not at all. Returns their number."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        archive.extractall(part, names)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return len(names)


def stamp(folder, text, make):
    """Calls make() unless the folder was made from the same text before."""
    file = folder / "made-from.txt"
    if file.is_file() and file.read_text() == text:
        return
    make()
    file.write_text(text)


def environment(torch):
    """The Python of the virtual environment for this version of torch."""
    folder = BUILD / f"venv-torch-{torch}"
    python = folder / "bin" / "python"
    files = [TESTS / "requirements.txt", ROOT / "tools" / "requirements-run.txt"]
    arguments = [f"torch=={torch}"] + [part for file in files for part in ("-r", file)]

    def make():
        venv.create(folder, clear=True, with_pip=True)
        run([python, "-m", "pip", "install", "-q", *arguments])

    stamp(folder, f"torch {torch}\n" + "".join(file.read_text() for file in files), make)
    return python


def download():
    """vLLM's wheel, or None where its files are there already."""
    if (BUILD / f"vllm-{VLLM}" / "vllm").is_dir():
        return None
    folder = BUILD / "download"
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11",
         "--platform", "manylinux_2_28_x86_64", "-d", folder, f"vllm=={VLLM}"])
    return next(folder.glob("*.whl"))


def install(python, deepwell):
    """Deepwell into the environment: a wheel as it is, a folder by a .pth file that does what the wheel's does."""
    packages = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                                   stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    pth = packages / "deepwell-folder.pth"
    pth.unlink(missing_ok=True)
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "deepwell"], check=True, stderr=subprocess.DEVNULL)
    if deepwell.suffix == ".whl":
        run([python, "-m", "pip", "install", "-q", "--no-deps", deepwell])
    else:
        hook = (ROOT / "python" / "deepwell_deep_gemm.pth").read_text()
        pth.write_text(f"{deepwell}\n{hook}")
    run([python, "-c", "import deep_gemm, deepwell, sys; assert deepwell.__path__[0] in deep_gemm.__file__"], cwd=BUILD)


def test_environment(capability):
    """The environment of a run: nothing of the caller's vLLM or Deepwell settings, caches below build/."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("VLLM_", "DEEPWELL_", "DG_", "PYTHON", "PYTEST_"))}
    return kept | {
        "DEEPWELL_DEVICE": DEVICES[capability],
        "DEEPWELL_CACHE_DIR": str(BUILD / "kernels"),
        "VLLM_CACHE_ROOT": str(BUILD / "vllm-cache"),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TORCHDYNAMO_DISABLE": "1",  # vLLM compiles a function that requantises weights; here it runs as it is written
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def count(report):
    """(cases, what is wrong) of a JUnit report."""
    try:
        suites = list(ElementTree.parse(report).iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, ["no report: the process died"]
    total = sum(int(suite.get("tests", 0)) for suite in suites)
    problems = [f"{number} {kind}" for kind in ("failures", "errors", "skipped")
                if (number := sum(int(suite.get(kind, 0)) for suite in suites))]
    return total, problems if total else [*problems, "ran no test"]


def run_tests(python, capability, setting, arguments):
    """One process. Returns (cases, what is wrong)."""
    report = BUILD / "reports" / f"{capability}-{setting}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--vllm={BUILD / f'vllm-{VLLM}'}",
               f"--capability={capability}", f"--setting={setting}", f"--junitxml={report}", *arguments]
    try:
        code = subprocess.run(command, cwd=TESTS, env=test_environment(capability), check=False, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        code = f"none after {TIMEOUT_S} s"
    cases, problems = count(report)
    if code != 0 and not problems:
        problems = [f"exit code {code}"]
    return cases, problems


class Phases:
    """How long the phases took, on the clock and in the processor time of child processes."""

    def __init__(self):
        self.lines = {}

    def timed(self, name, function, *arguments):
        before = self._now()
        try:
            return function(*arguments)
        finally:
            spent = [after - since for after, since in zip(self._now(), before)]
            self.lines[name] = [old + new for old, new in zip(self.lines.get(name, [0.0, 0.0]), spent)]

    def text(self):
        return ", ".join(f"{name} {clock:.0f} s ({processor:.0f} s)" for name, (clock, processor) in self.lines.items())

    @staticmethod
    def _now():
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic(), children.ru_utime + children.ru_stime


def find_deepwell(given):
    """The wheel, or the folder with the package in it, that is to be tested."""
    if given is None:
        given = ROOT / "build" / "release" / "python"
    if given.suffix != ".whl" and not list((given / "deepwell").glob("_native*.so")):
        fail(f"{given}: no built package `deepwell` in it; build it, or give a wheel or a folder with --deepwell")
    return given.resolve()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deepwell", type=Path, help="a wheel, or a folder that holds the package (build/release/python)")
    parser.add_argument("--torch", default=TORCH, help=f"version of torch ({TORCH}; vLLM {VLLM} itself asks for 2.14.0)")
    parser.add_argument("--capability", action="append", choices=list(DEVICES), help="only this one; may be repeated")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="only this one; may be repeated")
    parser.add_argument("pytest", nargs="*", help="test files and options of pytest, after --")
    options = parser.parse_args(arguments)
    deepwell = find_deepwell(options.deepwell)
    BUILD.mkdir(parents=True, exist_ok=True)

    phases = Phases()
    python = phases.timed("environment", environment, options.torch)
    wheel = phases.timed("download", download)
    if wheel is not None:
        phases.timed("unpack", unpack, wheel, BUILD / f"vllm-{VLLM}")
        wheel.unlink()
    phases.timed("install", install, python, deepwell)

    rows, failed = [], False
    for capability in options.capability or DEVICES:
        for setting in options.setting or SETTINGS:
            print(f"== capability {capability}, {setting}", flush=True)
            begin = time.monotonic()
            cases, problems = phases.timed("tests", run_tests, python, capability, setting, options.pytest)
            seconds = time.monotonic() - begin
            failed |= bool(problems)
            rows.append((capability, setting, cases, f"{seconds:.0f} s", ", ".join(problems) or "passed"))

    print()
    for row in rows:
        print("{:<6}{:<14}{:>5} tests {:>6}  {}".format(*row))
    print(f"run_vllm_client: {phases.text()}; in brackets, processor time")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
