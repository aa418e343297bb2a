"""Installing and removing Deepwell and another `deep_gemm` with pip, in every order, in an environment of its
own.

The other distribution is a wheel made here. Deepwell's is the one that DEEPWELL_WHEEL names, else a wheel
made here from the Python files of this tree, without the native module.
"""

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import fakes
import pytest

PYTHON_FOLDER = Path(__file__).resolve().parents[2] / "python"

PROBE = """
import importlib.metadata, json, sys
found = {}
try:
    import deep_gemm
    found["file"] = deep_gemm.__file__
    found["version"] = deep_gemm.__version__
    try:
        deep_gemm.bf16_gemm_nt(1, 2, 3)
        found["served"] = True
    except RuntimeError as error:
        found["served"] = type(error).__name__
except ImportError as error:
    found["error"] = str(error)
for name in ("deep_gemm", "deepwell"):
    try:
        found[f"distribution {name}"] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[f"distribution {name}"] = None
owners = importlib.metadata.packages_distributions()
found["owners"] = owners.get("deep_gemm")
print(json.dumps(found))
"""


def write_wheel(folder, name, version, files):
    """A wheel of text files, made by hand: no build tool is needed."""
    info = f"{name}-{version}.dist-info"
    folders = sorted({path.split("/")[0] for path in files if "/" in path})
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": "\n".join(folders) + "\n",  # what Python 3.10 asks for a package's owner
    }
    records = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        records.append(f"{path},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def files_below(folder, prefix=""):
    return {
        prefix + path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".pth", ".pyi", ".typed")
    }


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """name -> wheel, and the other's files."""
    folder = tmp_path_factory.mktemp("wheels")
    fakes.write_other(folder / "source")
    other_files = files_below(folder / "source")
    deepwell = os.environ.get("DEEPWELL_WHEEL") and Path(os.environ["DEEPWELL_WHEEL"]).resolve()
    if not deepwell:
        deepwell = write_wheel(folder, "deepwell", "0.1.0", files_below(PYTHON_FOLDER))
    return {
        "deep_gemm": write_wheel(folder, "deep_gemm", "2.8.1", other_files),
        "deepwell": deepwell,
    }, other_files


class Environment:
    """A virtual environment without torch, and pip in it."""

    def __init__(self, folder):
        venv.create(folder, with_pip=True, symlinks=True)
        self.python = folder / "bin" / "python"
        (self.site,) = (folder / "lib").glob("python*/site-packages")
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEEPWELL_", "PYTHON", "PIP_"))
        }
        self.variables["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(self, *arguments):
        done = subprocess.run(
            [self.python, *arguments],
            env=self.variables,
            cwd=self.site.parent,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def pip(self, *arguments):
        self.run("-m", "pip", "--disable-pip-version-check", *arguments)

    def install(self, wheel):
        self.pip("install", "--no-index", "--no-deps", "--no-compile", "--force-reinstall", str(wheel))

    def probe(self):
        done = self.run("-c", PROBE)
        without_native = (
            "native module did not load"  # said by the wheel that is made here, and nothing else is
        )
        assert [line for line in done.stderr.splitlines() if without_native not in line] == []
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment") / "venv")


def check(environment, present, other_files):
    """What `import deep_gemm` gives with these distributions installed, and that the other's files are as
    they were.
    """
    found = environment.probe()
    theirs = environment.site / "deep_gemm"
    if "deepwell" in present:
        assert found["file"] == str(environment.site / "deepwell" / "_drop_in" / "deep_gemm" / "__init__.py")
        assert found["version"].startswith("2.8.1+deepwell")
        assert found["served"] == (True if "deep_gemm" in present else "MissingError")
    elif "deep_gemm" in present:
        assert found["file"] == str(theirs / "__init__.py")
        assert found["version"] == "2.8.1" and found["served"] is True
    else:
        assert found["error"] == "No module named 'deep_gemm'"
    assert found["distribution deep_gemm"] == ("2.8.1" if "deep_gemm" in present else None)
    assert (found["distribution deepwell"] is not None) == ("deepwell" in present)
    assert found["owners"] == (["deep_gemm"] if "deep_gemm" in present else None)
    if "deep_gemm" in present:
        assert files_below(theirs, "deep_gemm/") == other_files
    else:
        assert not theirs.exists()
    if "deepwell" not in present:
        assert not list(environment.site.glob("*deepwell*"))


ORDERS = [
    (first, second, removed)
    for first, second in itertools.permutations(("deepwell", "deep_gemm"))
    for removed in (first, second)
]


@pytest.mark.parametrize(("first", "second", "removed"), ORDERS)
def test_install_and_remove(environment, wheels, first, second, removed):
    files, other_files = wheels
    left = second if removed == first else first
    for name, present in ((first, {first}), (second, {first, second})):
        environment.install(files[name])
        check(environment, present, other_files)
    for name, present in ((removed, {left}), (left, set())):
        environment.pip("uninstall", "-y", name)
        check(environment, present, other_files)


def test_installing_again_over_itself(environment, wheels):
    files, other_files = wheels
    for name in ("deepwell", "deep_gemm", "deepwell", "deep_gemm"):
        environment.install(files[name])
    check(environment, {"deepwell", "deep_gemm"}, other_files)
    environment.pip("uninstall", "-y", "deepwell", "deep_gemm")
    check(environment, set(), other_files)


def test_the_deepwell_wheel_installs_no_deep_gemm(wheels):
    with zipfile.ZipFile(wheels[0]["deepwell"]) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith("deep_gemm/")]
    assert "deepwell/_drop_in/deep_gemm/__init__.py" in names
    assert [name for name in names if name.endswith(".pth") and "/" not in name] == ["deepwell_deep_gemm.pth"]
    assert sys.version_info >= (3, 10)
