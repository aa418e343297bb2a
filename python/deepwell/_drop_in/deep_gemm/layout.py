"""Scales into the layouts that kernels read. docs/formats.md describes them; A4(x) is x rounded up to a
multiple of 4.
"""

from __future__ import annotations

from typing import Any

from deepwell import _other
from deepwell.errors import bad_argument, bad_type

from ._forward import find, given, ours_or_theirs, runtime, shown_as, takes
from .settings import (
    get_k_alignment_for_contiguous_layout,
    get_m_alignment_for_contiguous_layout,
    get_mk_alignment_for_contiguous_layout,
    get_theoretical_mk_alignment_for_contiguous_layout,
    set_mk_alignment_for_contiguous_layout,
)

__all__ = [
    "transform_sf_into_required_layout",
    "get_tma_aligned_size",
    "get_mn_major_tma_aligned_tensor",
    "get_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_k_alignment_for_contiguous_layout",
    "get_m_alignment_for_contiguous_layout",
    "get_mk_alignment_for_contiguous_layout",
    "get_theoretical_mk_alignment_for_contiguous_layout",
    "set_mk_alignment_for_contiguous_layout",
]


def transform_sf_into_required_layout(
    sf, mn, k, recipe, num_groups=None, is_sfa=None, disable_ue8m0_cast=False, psum_layout=None
):
    """The scale as the kernels of the device read it fastest.

    sf: float32 [(groups,) ceil(mn / gran_mn), ceil(k / gran_k)] or int32 [(groups,) mn, ceil(k / (4
        gran_k))].
    mn, k: size of the operand in elements. recipe: (gran_m, gran_n, gran_k) with is_sfa True (gran_m counts)
        or False (gran_n), or (gran_mn, gran_k) with is_sfa None. num_groups: None for an sf without that
        axis.
    disable_ue8m0_cast: keep FP32 scales. psum_layout: int32 [groups], rows of padding get scale bytes of 0;
        forwarded.
    Returns int32 [(groups,) mn, ceil(k / (4 gran_k))], four UE8M0 bytes a word, strides 1 and A4(mn); or
    float32, for SM 9.0 or disable_ue8m0_cast. sf itself where nothing is to do.
    Raises BadArgumentError for a shape or recipe that does not fit.
    """
    try:
        parts = len(recipe)
    except TypeError:
        raise bad_type("recipe", type(recipe).__name__, "two or three ints") from None
    if parts == 3:
        if is_sfa is None:
            raise bad_argument("is_sfa", None, "True or False beside a recipe of three")
        gran_mn, gran_k = (recipe[0] if is_sfa else recipe[1]), recipe[2]
    elif parts == 2:
        if is_sfa is not None:
            raise bad_argument("is_sfa", is_sfa, "None beside a recipe of two")
        gran_mn, gran_k = recipe
    else:
        raise bad_argument("recipe", recipe, "(gran_m, gran_n, gran_k) or (gran_mn, gran_k)")

    def native() -> Any:
        return runtime().transform_scale(sf, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast)

    def theirs(function: Any) -> Any:
        return function(
            sf,
            mn,
            k,
            recipe,
            **given(num_groups=num_groups, disable_ue8m0_cast=disable_ue8m0_cast, psum_layout=psum_layout),
            **({} if is_sfa is None else {"is_sfa": is_sfa}),
        )

    return _ours_or_theirs(
        "transform_sf_into_required_layout", sf, native if psum_layout is None else None, theirs
    )


def get_tma_aligned_size(x, element_size) -> int:
    """x elements of element_size bytes (a divisor of 16), rounded up to a multiple of 16 bytes; in
    elements.
    """
    if not isinstance(element_size, int) or element_size <= 0 or 16 % element_size:
        raise bad_argument("element_size", element_size, "1, 2, 4, 8 or 16")
    step = 16 // element_size
    return -(-x // step) * step


def get_mn_major_tma_aligned_tensor(sf):
    """float32 [(groups,) mn, ceil(k / gran_k)] with strides 1 along mn and A4(mn) along k; sf itself if it is
    so already.
    """
    return _ours_or_theirs(
        "get_mn_major_tma_aligned_tensor",
        sf,
        lambda: runtime().mn_major_scale(sf),
        lambda function: function(sf),
    )


def get_mn_major_tma_aligned_packed_ue8m0_tensor(sf, psum_layout=None):
    """float32 powers of two [(groups,) mn, scales] as int32 [(groups,) mn, ceil(scales / 4)], four UE8M0
    bytes a word.

    Strides 1 along mn and A4(mn) along words. psum_layout: as in transform_sf_into_required_layout.
    """
    return _ours_or_theirs(
        "get_mn_major_tma_aligned_packed_ue8m0_tensor",
        sf,
        (lambda: runtime().packed_scale(sf)) if psum_layout is None else None,
        lambda function: function(sf, **given(psum_layout=psum_layout)),
    )


_NO = object()


@shown_as(lambda sf, grouped_layout, ks_cpu, gran_k, k_alignment, use_psum_layout=False: None)
def get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor(
    sf,
    grouped_layout=_NO,
    ks_cpu=_NO,
    gran_k=_NO,
    k_alignment=_NO,
    use_psum_layout=False,
    ks_tensor=_NO,
    ks=_NO,
):
    """Scales of a k-grouped operand, float32 [sum ceil(k_g / gran_k), mn], packed: int32 [sum ceil(k_g / (4
    gran_k)), mn].

    Each group begins with a fresh row of words. grouped_layout: int32 [groups] on the device; ks_cpu: each
    k_g, on the host. gran_k: 32 or 128. k_alignment: what each k_g is a multiple of. Forwarded. Before
    DeepGEMM 2.6 the form was (sf, ks_tensor, ks, gran_k).
    """
    grouped_layout = _one_of("grouped_layout", grouped_layout, ks_tensor)
    ks_cpu = _one_of("ks_cpu", ks_cpu, ks)
    if gran_k is _NO:
        raise bad_type("gran_k", "nothing", "32 or 128")
    name = "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"
    function = find("k_grouped", name)
    if takes(function, "k_alignment") is False or takes(function, "ks_tensor"):
        if use_psum_layout:
            raise _other.nobody(
                name, "Deepwell has no k-grouped layouts yet, and the psum layout came with DeepGEMM 2.6"
            )
        return function(sf, grouped_layout, ks_cpu, gran_k)
    if k_alignment is _NO:
        k_alignment = get_mk_alignment_for_contiguous_layout()
    return function(sf, grouped_layout, ks_cpu, gran_k, k_alignment, **given(use_psum_layout=use_psum_layout))


def _one_of(name: str, new: Any, old: Any) -> Any:
    if (new is _NO) == (old is _NO):
        raise bad_type(name, "nothing, or both of its names", "one value")
    return old if new is _NO else new


def _ours_or_theirs(name: str, sf: Any, native: Any, theirs: Any) -> Any:
    return ours_or_theirs(name, sf, native, lambda: theirs(find("scale_layout", name)))
