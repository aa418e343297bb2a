"""The build backend of the Python package: scikit-build-core's, which finds the headers that it needs installed.

pip calls these functions, by the names that PEP 517 and PEP 660 give them. On Debian as root, `pip install .` installs what is missing
(tools/setup.sh wheel); elsewhere it ends with the command that does.
"""
import os
import platform
import subprocess
import sys
from pathlib import Path

from scikit_build_core import build as _backend

get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_editable = _backend.get_requires_for_build_editable
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
build_sdist = _backend.build_sdist

ROOT = Path(__file__).resolve().parent.parent
GLIBC = "2_28"  # the oldest that cmake/zig.cmake compiles for


def _set_up():
    done = subprocess.run([str(ROOT / "tools/setup.sh"), "wheel"], env=dict(os.environ, DEEPWELL_PYTHON=sys.executable))
    if done.returncode != 0:
        raise SystemExit(done.returncode)


def _with_tag(settings):
    """zig's binaries need no newer glibc than they are told, which the tag that the machine suggests does not say."""
    settings = dict(settings or {})
    settings.setdefault("wheel.tags", f"cp310-abi3-manylinux_{GLIBC}_{platform.machine()}")
    return settings


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    return _backend.prepare_metadata_for_build_wheel(metadata_directory, _with_tag(config_settings))


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    return _backend.prepare_metadata_for_build_editable(metadata_directory, _with_tag(config_settings))


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _set_up()
    return _backend.build_wheel(wheel_directory, _with_tag(config_settings), metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    _set_up()
    return _backend.build_editable(wheel_directory, _with_tag(config_settings), metadata_directory)
