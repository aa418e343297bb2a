"""Deepwell's drop-in for `deep_gemm`: the interface of DeepGEMM 2.8.1, with Deepwell's kernels where it has
some.

Each call is served by Deepwell or, where it has no kernel for the device or the form, by the other DeepGEMM
of this environment (`deepwell._other`). Older forms of calls are accepted where names or types tell them
apart. Functions launch on the tensors' current stream and write into the caller's tensors. Importing this
package touches no device and imports no torch. Errors are RuntimeErrors with fields (`deepwell.errors`).
"""

# ruff: noqa: F401, F403

from __future__ import annotations

from typing import Any

from deepwell import _other

from . import _C, epilogue, layout, legacy, locality_domain, mega, settings, testing, utils
from .attention import *
from .einsum import *
from .gemm import *
from .grouped import *
from .hyperconnection import *
from .layout import *
from .locality_domain import *
from .mega import *
from .settings import *
from .utils import *
from .utils import dist, math


def __getattr__(name: str) -> Any:
    """The version, which asks Deepwell for its own at first use; names that only the other DeepGEMM has."""
    if name == "__version__":
        from ._version import version

        globals()[name] = version()
        return globals()[name]
    if not name.startswith("_"):
        theirs = _other.attribute(name)
        if theirs is not None:
            return theirs
    raise AttributeError(f"module 'deep_gemm' has no attribute {name!r}")
