"""Objects for the `epilogue` argument of products: what happens to sums on their way to d.

Only kernels of SM 10.x have epilogues. A call that names one goes to the other DeepGEMM, with its own object
in place of this one.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Identity", "Alpha", "FP8Quantization", "BF16StochasticRounding"]


class Epilogue:
    """Base of the four. `kind` is the number that DeepGEMM's operators use."""

    kind = 0
    __slots__ = ()

    def arguments(self) -> tuple[Any, ...]:
        """What the object was made of."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.arguments()))})"


class Identity(Epilogue):
    """The sum as it is."""

    kind = 1
    __slots__ = ()


class Alpha(Epilogue):
    """The product times a number; c is not multiplied."""

    kind = 2
    __slots__ = ("alpha",)

    def __init__(self, alpha: float) -> None:
        self.alpha = float(alpha)


class FP8Quantization(Epilogue):
    """d in float8_e4m3fn, its UE8M0 scales (one per row and 32 columns) written to sfd, int32."""

    kind = 3
    __slots__ = ("sfd",)

    def __init__(self, sfd: Any) -> None:
        self.sfd = sfd


class BF16StochasticRounding(Epilogue):
    """d in bfloat16, rounded up with a probability that is the part cut off; no c."""

    kind = 4
    __slots__ = ()
