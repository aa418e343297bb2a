"""Layouts of scales, and the alignment of contiguous grouped layouts: all of `deep_gemm.layout`."""

from ..layout import *  # noqa: F403
from ..layout import __all__  # noqa: F401
