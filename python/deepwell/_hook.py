"""The import hook: `import deep_gemm` gives Deepwell's drop-in, which lies below this package.

The drop-in is not installed as site-packages/deep_gemm: installers let two distributions overwrite each
other's files there, and removing one of them would break the other. This module is imported at the start of
every interpreter, so it imports nothing but `os` and `sys`, and reads no file.

DEEPWELL_DEEP_GEMM, read when `deep_gemm` is imported, says who answers:

    prefer    (or unset) Deepwell; what it does not serve goes on to the other DeepGEMM (`_other.py`)
    always    as prefer, and Deepwell's kernels run on SM 9.0 too, where otherwise the other one is asked
        first
    fallback  Deepwell only if no other deep_gemm is installed
    off       never Deepwell: the import does what it would do without it

Any other value is warned of, once, and means prefer.
"""

import os
import sys

NAME = "deep_gemm"
ALIAS = "deepwell._other_deep_gemm"  # the name under which an installed other one is loaded
VARIABLE = "DEEPWELL_DEEP_GEMM"
MODES = ("prefer", "always", "fallback", "off")
DROP_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_drop_in", NAME)

_warned = set()


def mode() -> str:
    """One of MODES: what DEEPWELL_DEEP_GEMM asks for now."""
    value = os.environ.get(VARIABLE, "").strip().lower() or MODES[0]
    if value in MODES:
        return value
    if value not in _warned:
        import warnings

        _warned.add(value)
        warnings.warn(
            f"{VARIABLE}: got {value!r}, expected one of {', '.join(MODES)}; taken as {MODES[0]}",
            RuntimeWarning,
            stacklevel=2,
        )
    return MODES[0]


class DropInFinder:
    """First on sys.meta_path: finds the drop-in, and the other DeepGEMM under its alias."""

    deepwell_hook = True

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname == NAME:
            return _drop_in_spec()
        if fullname.startswith(ALIAS):
            from . import _other

            return _other.find_alias(fullname, path)
        return None


class LeftoverFinder:
    """Last on sys.meta_path: submodules that the drop-in lacks and the other DeepGEMM has."""

    deepwell_hook = True

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname.startswith(NAME + ".") and is_drop_in(sys.modules.get(NAME)):
            from . import _other

            return _other.find_leftover(fullname)
        return None


def is_drop_in(module) -> bool:
    """Whether a module is Deepwell's drop-in."""
    return os.path.dirname(getattr(module, "__file__", None) or "") == DROP_IN


def install() -> None:
    """Puts the finders on sys.meta_path, unless they are there."""
    if not any(getattr(finder, "deepwell_hook", False) for finder in sys.meta_path):
        sys.meta_path.insert(0, DropInFinder)
        sys.meta_path.append(LeftoverFinder)


def _drop_in_spec():
    asked = mode()
    if asked == "off":
        return None
    if asked == "fallback":
        from . import _other

        if _other.is_installed():
            return None
    file = os.path.join(DROP_IN, "__init__.py")
    if not os.path.isfile(file):  # removed while this process runs
        return None
    from importlib.util import spec_from_file_location

    return spec_from_file_location(NAME, file, submodule_search_locations=[DROP_IN])
