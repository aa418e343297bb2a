"""The Python part of `deepwell doctor`: which versions meet here, which parts are installed, which `deep_gemm` an import finds.

Imports neither torch nor any deep_gemm.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import NamedTuple

from . import _hook, _other

_HERE = os.path.dirname(os.path.abspath(__file__))
MINIMUM_PYTHON = (3, 10)
MINIMUM_TORCH = (2, 10)
MINIMUM_GLIBC = (2, 28)


class Row(NamedTuple):
    what: str
    found: str
    state: str  # "ok", or what to do


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 13) of "2.13.0+cpu"."""
    numbers = []
    for part in version.split("+")[0].split(".")[:2]:
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def python_row() -> Row:
    ok = sys.version_info[:2] >= MINIMUM_PYTHON
    return Row("Python", platform.python_version(), "ok" if ok else "needs 3.10 or newer")


def glibc_row() -> Row:
    name, version = platform.libc_ver()
    ok = name == "glibc" and _numbers(version) >= MINIMUM_GLIBC
    return Row("C library", f"{name} {version}".strip(), "ok" if ok else "needs glibc 2.28 or newer")


def torch_row() -> Row:
    version = _version("torch")
    needed = "pip install 'torch>=2.10'"
    if version is None:
        return Row("torch", "not installed", f"needed for everything on tensors: {needed}")
    ok = _numbers(version) >= MINIMUM_TORCH
    return Row("torch", version, "ok" if ok else f"too old: {needed}")


def part_rows() -> list[Row]:
    """The parts of the package, which may be installed separately."""
    rows = []
    for what, file, without in (
        ("runtime", "lib/libdeepwell.so", "nothing works without it: reinstall deepwell"),
        ("emulator", "lib/libdeepwell_emulator.so", "CPU tensors cannot run: reinstall deepwell"),
        ("command line", "bin/deepwell", "only this report: reinstall deepwell"),
    ):
        present = os.path.exists(os.path.join(_HERE, file))
        rows.append(
            Row(f"Deepwell's {what}", file if present else "not installed", "ok" if present else without)
        )
    return rows


def deep_gemm_rows() -> list[Row]:
    """What `import deep_gemm` gives, and what serves the rest."""
    mode = _hook.mode()
    hooked = any(getattr(finder, "deepwell_hook", False) for finder in sys.meta_path)
    other = _other.location()
    installed = _other.is_installed()
    if not hooked:
        live = "another one, or none: the import hook is not active (python -S?)"
    elif mode == "off" or (mode == "fallback" and installed):
        live = other.file if installed and other else "none"
    else:
        live = "Deepwell's drop-in"
    rows = [
        Row("import deep_gemm", live, "ok" if live == "Deepwell's drop-in" else f"{_hook.VARIABLE}={mode}")
    ]
    if other is None:
        rows.append(
            Row("the other DeepGEMM", "none", "what Deepwell does not serve is an error that says so")
        )
    else:
        kind = "installed" if installed else "vLLM's"
        version = f" {_version('deep_gemm')}" if installed and _version("deep_gemm") else ""
        rows.append(
            Row("the other DeepGEMM", f"{kind}{version}: {other.file}", "gets what Deepwell does not serve")
        )
    return rows


def rows() -> list[Row]:
    return [python_row(), glibc_row(), torch_row(), *part_rows(), *deep_gemm_rows()]


def as_json() -> list[dict[str, str]]:
    return [row._asdict() for row in rows()]


def text() -> str:
    """The report as a table."""
    table = [Row("what", "found", "state"), *rows()]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    lines = [f"{row.what:<{widths[0]}}  {row.found:<{widths[1]}}  {row.state}".rstrip() for row in table]
    lines.insert(1, "  ".join("-" * width for width in (*widths, max(len(row.state) for row in table))))
    return "\n".join(["Python", *lines])
