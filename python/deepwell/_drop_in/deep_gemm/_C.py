"""`deep_gemm._C`, which some callers reach into: the same functions, and whatever the other DeepGEMM's has
besides.
"""

from __future__ import annotations

from typing import Any

from deepwell import _other

from . import epilogue  # noqa: F401
from .attention import *  # noqa: F403
from .einsum import *  # noqa: F403
from .gemm import *  # noqa: F403
from .grouped import *  # noqa: F403
from .hyperconnection import *  # noqa: F403
from .layout import *  # noqa: F403
from .mega import *  # noqa: F403
from .settings import *  # noqa: F403


def init(*args: Any) -> None:
    """Nothing to do: the other DeepGEMM is initialised by its own import."""


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        theirs = _other.attribute(f"_C.{name}")
        if theirs is not None:
            return theirs
    raise AttributeError(f"module 'deep_gemm._C' has no attribute {name!r}")
