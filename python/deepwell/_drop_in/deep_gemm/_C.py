"""`deep_gemm._C`, which some callers reach into: the same functions, and whatever the other DeepGEMM's has
besides.
"""

from __future__ import annotations

from typing import Any

from . import epilogue  # noqa: F401
from .attention import *  # noqa: F403
from ._forward import names_of_other
from .einsum import *  # noqa: F403
from .gemm import *  # noqa: F403
from .grouped import *  # noqa: F403
from .hyperconnection import *  # noqa: F403
from .layout import *  # noqa: F403
from .settings import *  # noqa: F403


def init(*args: Any) -> None:
    """Nothing to do: the other DeepGEMM is initialised by its own import."""


__getattr__ = names_of_other("_C")
