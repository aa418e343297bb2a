"""Helpers around the kernels: casts in plain PyTorch, layouts of scales, settings of grouped layouts,
processes.
"""

from .._forward import names_of_other
from . import dist, layout, math
from .dist import *  # noqa: F403
from .layout import *  # noqa: F403
from .math import *  # noqa: F403

__all__ = [*math.__all__, *layout.__all__, *dist.__all__]

__getattr__ = names_of_other("utils")
