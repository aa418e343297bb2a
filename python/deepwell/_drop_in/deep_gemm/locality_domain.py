"""Memory near a part of a GPU's SMs, on SM 10.x. Forwarded to the other DeepGEMM by name."""

from __future__ import annotations

from ._forward import forwarded, names_of_other

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


__getattr__ = names_of_other("locality_domain")
