"""Memory near a part of a GPU's SMs, on SM 10.x. Forwarded to the other DeepGEMM by name."""

from __future__ import annotations

from typing import Any

from deepwell import _other

from ._forward import forwarded

__all__ = [
    "get_num_locality_domains",
    "is_localization_available",
    "localize",
    "is_localized",
    "destroy_localizer",
]


@forwarded("mega", "locality_domain.get_num_locality_domains")
def get_num_locality_domains(*args, **kwargs):
    """How many parts the GPU has. Forwarded."""


@forwarded("mega", "locality_domain.is_localization_available")
def is_localization_available(*args, **kwargs):
    """Whether memory can be placed. Forwarded."""


@forwarded("mega", "locality_domain.localize")
def localize(*args, **kwargs):
    """A tensor whose memory is near the SMs that use it. Forwarded."""


@forwarded("mega", "locality_domain.is_localized")
def is_localized(*args, **kwargs):
    """Whether a tensor is one of localize's. Forwarded."""


@forwarded("mega", "locality_domain.destroy_localizer")
def destroy_localizer(*args, **kwargs):
    """Ends the helper process. Forwarded."""


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        theirs = _other.attribute(f"locality_domain.{name}")
        if theirs is not None:
            return theirs
    raise AttributeError(f"module 'deep_gemm.locality_domain' has no attribute {name!r}")
