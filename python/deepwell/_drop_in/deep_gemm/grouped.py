"""Products of many experts in one call.

m-grouped: A's rows belong to experts, b is one matrix per expert. k-grouped: the sum runs over one expert's
part of k, d is one matrix per expert. Deepwell's kernels serve the m-grouped products of FP8 and FP4, with a
list of ids and masked; psum layouts, BF16 and the k-grouped ones are forwarded.

Older forms are accepted where names or types tell them apart. In the contiguous m-grouped calls the position
after `use_psum_layout` is `ensure_zero_padding` (a bool) since DeepGEMM 2.6, and was
`expected_m_for_psum_layout` (an int) before; in the k-grouped calls `ks` and `ks_tensor` became `ks_cpu` and
`grouped_layout`.
"""

from __future__ import annotations

from typing import Any

from deepwell import _other
from deepwell.errors import BadArgumentError, BadTypeError, bad_type

from ._forward import forwarded, no_pair, on_cpu, runtime, served_first, takes
from .settings import get_mk_alignment_for_contiguous_layout

__all__ = [
    "m_grouped_fp8_fp4_gemm_nt_contiguous",
    "m_grouped_fp8_fp4_gemm_nn_contiguous",
    "m_grouped_fp8_fp4_gemm_nt_masked",
    "m_grouped_fp8_gemm_nt_contiguous",
    "m_grouped_fp8_gemm_nn_contiguous",
    "m_grouped_fp8_gemm_nt_masked",
    "m_grouped_fp4_gemm_nt_contiguous",
    "m_grouped_fp4_gemm_nt_masked",
    "fp8_m_grouped_gemm_nt_masked",
    "m_grouped_bf16_gemm_nt_contiguous",
    "m_grouped_bf16_gemm_nn_contiguous",
    "m_grouped_bf16_gemm_nt_masked",
    "bf16_m_grouped_gemm_nt_masked",
    "k_grouped_fp8_gemm_nt_contiguous",
    "k_grouped_fp8_gemm_tn_contiguous",
    "k_grouped_fp4_gemm_nt_contiguous",
    "k_grouped_bf16_gemm_tn_contiguous",
]


def _contiguous(position: int, has_hint: bool) -> Any:
    """Adapts a contiguous m-grouped call; `position` is the one after `use_psum_layout`."""

    def adapt(function: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if len(args) > position:
            args, kwargs = args[:position], {**kwargs, **_tail(args[position:], has_hint)}
        if "ensure_zero_padding" in kwargs and takes(function, "ensure_zero_padding") is False:
            kwargs = {name: value for name, value in kwargs.items() if name != "ensure_zero_padding"}
        return args, kwargs

    return adapt


def _tail(tail: tuple, has_hint: bool) -> dict[str, Any]:
    """The positional arguments after `use_psum_layout` by their names."""
    first = tail[0]
    if isinstance(first, bool):
        names = ("ensure_zero_padding", "expected_m_for_psum_layout", "epilogue")
        if not has_hint:
            names = ("ensure_zero_padding", "epilogue")
    elif has_hint and (first is None or isinstance(first, int)) and len(tail) == 1:
        names = ("expected_m_for_psum_layout",)
    else:
        raise bad_type(
            "ensure_zero_padding",
            repr(first),
            "a bool, or as the last positional argument the number of rows that DeepGEMM 2.5 took here",
        )
    if len(tail) > len(names):
        raise bad_type(
            "positional arguments", f"{len(tail)} after use_psum_layout", f"at most {len(names)}: {names}"
        )
    return {name: value for name, value in zip(names, tail, strict=False) if value is not None}


_K_NAMES = {"ks": "ks_cpu", "ks_tensor": "grouped_layout"}


def _k_grouped(function: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Adapts a k-grouped call: the names of its fourth and fifth arguments."""
    if not any(old in kwargs or new in kwargs for old, new in _K_NAMES.items()):
        return args, kwargs
    old_form = takes(function, "ks_tensor")
    renamed = {}
    for name, value in kwargs.items():
        new = _K_NAMES.get(name, name)
        if new in renamed:
            raise bad_type(name, "given beside its other name", "one of the two names")
        renamed[new] = value
    if old_form:
        back = {new: old for old, new in _K_NAMES.items()}
        renamed = {back.get(name, name): value for name, value in renamed.items()}
    return args, renamed


def _k_major(data: Any) -> bool:
    return data.stride(-1) == 1 or data.shape[-1] <= 1


def _serve(a, b, d, layout, recipe, recipe_a, recipe_b, masked, rows) -> bool:
    """One call of Deepwell's kernels, which read b k-major. A float8 b in the other order goes to the other
    DeepGEMM if there is one, else it is copied: one temporary of its size per call, the same answer.
    """
    try:
        arguments = (a[0], a[1], b[0], b[1], d, layout, recipe, recipe_a, recipe_b, masked, rows)
        return runtime().grouped_gemm_nt(*arguments)
    except BadTypeError:
        raise
    except BadArgumentError:
        if _k_major(b[0]) or b[0].element_size() != 1 or not b[0].dtype.is_floating_point:
            raise
        if not on_cpu(b[0]) and _other.other() is not None:
            return False
        copied = b[0].contiguous()
        return runtime().grouped_gemm_nt(
            a[0], a[1], copied, b[1], d, layout, recipe, recipe_a, recipe_b, masked, rows
        )
    except (TypeError, IndexError) as error:
        raise no_pair(a, b, error) from error


def _contiguous_nt(
    a,
    b,
    d,
    grouped_layout,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    use_psum_layout=False,
    ensure_zero_padding=True,
    expected_m_for_psum_layout=None,
    epilogue=None,
) -> bool:
    if use_psum_layout or epilogue is not None:
        return False
    alignment = get_mk_alignment_for_contiguous_layout()
    return _serve(a, b, d, grouped_layout, recipe, recipe_a, recipe_b, False, alignment)


def _contiguous_nn(
    a,
    b,
    d,
    grouped_layout,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    use_psum_layout=False,
    ensure_zero_padding=True,
    epilogue=None,
) -> bool:
    if use_psum_layout or epilogue is not None:
        return False
    try:
        turned = (b[0].mT, b[1].mT)
    except (TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise no_pair(a, b, error) from error
    alignment = get_mk_alignment_for_contiguous_layout()
    return _serve(a, turned, d, grouped_layout, recipe, recipe_a, recipe_b, False, alignment)


def _masked_nt(
    a,
    b,
    d,
    masked_m,
    expected_m,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    epilogue=None,
) -> bool:
    if epilogue is not None:
        return False
    return _serve(a, b, d, masked_m, recipe, recipe_a, recipe_b, True, expected_m)


@served_first(_contiguous_nt)
@forwarded(
    "m_grouped",
    "m_grouped_fp8_fp4_gemm_nt_contiguous",
    "m_grouped_fp8_gemm_nt_contiguous",
    adapt=_contiguous(10, True),
)
def m_grouped_fp8_fp4_gemm_nt_contiguous(
    a,
    b,
    d,
    grouped_layout,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    use_psum_layout=False,
    ensure_zero_padding=True,
    expected_m_for_psum_layout=None,
    epilogue=None,
) -> None:
    """D[i] = A[i] B[expert of i]^T for rows of one tensor.

    a: pair; data [m, k] float8_e4m3fn or [m, k/2] packed e2m1, k-major, scales as in fp8_fp4_gemm_nt.
    b: pair; data [groups, n, k], scale [groups, ...]. d: [m, n] bfloat16; Deepwell also writes float32.
    grouped_layout: int32 on the device. Plain: [m], the expert of each row, -1 for padding. With
        use_psum_layout (forwarded): [groups], the row after each expert's last one. Each expert starts at a
        multiple of get_mk_alignment_for_contiguous_layout().
    ensure_zero_padding: rows of padding that are zero in a are zero in d. expected_m_for_psum_layout: rows
        per expert, a hint, only with use_psum_layout; DeepGEMM 2.5 takes it in the position of
        ensure_zero_padding. epilogue: forwarded.

    On Deepwell's kernels ids may come in any order and change at any row, whatever the alignment is; it says
    which rows of padding are written: those in a block of so many rows, counted from row 0, that also holds a row
    with an expert. Other rows of d are left alone. An id that names no expert counts as padding and is noted
    (`deepwell doctor`). No row of padding reaches a row with an expert.
    Raises BadArgumentError for operands that do not fit together, UnsupportedError for a form that nothing
    here serves.
    """


@served_first(_contiguous_nn)
@forwarded(
    "m_grouped",
    "m_grouped_fp8_fp4_gemm_nn_contiguous",
    "m_grouped_fp8_gemm_nn_contiguous",
    adapt=_contiguous(10, False),
)
def m_grouped_fp8_fp4_gemm_nn_contiguous(
    a,
    b,
    d,
    grouped_layout,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    use_psum_layout=False,
    ensure_zero_padding=True,
    epilogue=None,
) -> None:
    """As m_grouped_fp8_fp4_gemm_nt_contiguous with b's data and scale given with the last two axes exchanged.
    Deepwell copies float8 data that is not k-major, and does not serve packed e2m1 in that order.
    """


@served_first(_masked_nt)
@forwarded(
    "m_grouped",
    "m_grouped_fp8_fp4_gemm_nt_masked",
    "m_grouped_fp8_gemm_nt_masked",
    "fp8_m_grouped_gemm_nt_masked",
)
def m_grouped_fp8_fp4_gemm_nt_masked(
    a,
    b,
    d,
    masked_m,
    expected_m,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    epilogue=None,
) -> None:
    """One slab of rows per expert, of which the first masked_m[g] count.

    a: pair, data [groups, m, k]; b: pair, data [groups, n, k]; both k-major. d: [groups, m, n] bfloat16,
    defined in the rows that count; Deepwell's kernels leave the others alone. masked_m: int32 [groups] on the
    device; a number below 0 or above m is clipped and noted. expected_m: rows per expert, a hint, 0 for none.
    """


m_grouped_fp8_gemm_nt_contiguous = m_grouped_fp4_gemm_nt_contiguous = m_grouped_fp8_fp4_gemm_nt_contiguous
m_grouped_fp8_gemm_nn_contiguous = m_grouped_fp8_fp4_gemm_nn_contiguous
m_grouped_fp8_gemm_nt_masked = m_grouped_fp4_gemm_nt_masked = m_grouped_fp8_fp4_gemm_nt_masked
fp8_m_grouped_gemm_nt_masked = m_grouped_fp8_gemm_nt_masked


@forwarded("bf16", adapt=_contiguous(6, True))
def m_grouped_bf16_gemm_nt_contiguous(
    a,
    b,
    d,
    grouped_layout,
    compiled_dims="nk",
    use_psum_layout=False,
    ensure_zero_padding=True,
    expected_m_for_psum_layout=None,
    epilogue=None,
) -> None:
    """As m_grouped_fp8_fp4_gemm_nt_contiguous in bfloat16, without scales: a [m, k], b [groups, n, k].
    Forwarded.
    """


@forwarded("bf16", adapt=_contiguous(6, False))
def m_grouped_bf16_gemm_nn_contiguous(
    a,
    b,
    d,
    grouped_layout,
    compiled_dims="nk",
    use_psum_layout=False,
    ensure_zero_padding=True,
    epilogue=None,
) -> None:
    """As m_grouped_bf16_gemm_nt_contiguous with b given as [groups, k, n]. Forwarded."""


@forwarded("bf16", "m_grouped_bf16_gemm_nt_masked", "bf16_m_grouped_gemm_nt_masked")
def m_grouped_bf16_gemm_nt_masked(a, b, d, masked_m, expected_m, compiled_dims="nk", epilogue=None) -> None:
    """As m_grouped_fp8_fp4_gemm_nt_masked in bfloat16, without scales. Forwarded."""


bf16_m_grouped_gemm_nt_masked = m_grouped_bf16_gemm_nt_masked


@forwarded("k_grouped", adapt=_k_grouped)
def k_grouped_fp8_gemm_nt_contiguous(
    a,
    b,
    d,
    ks_cpu,
    grouped_layout,
    c=None,
    recipe=(1, 1, 128),
    compiled_dims="mn",
    use_psum_layout=False,
    epilogue=None,
) -> None:
    """D[g] = C[g] + A_g B_g^T over each expert's part of k. Forwarded.

    a: pair; data of sum(k) * m elements, per expert a row-major [m, k_g]; b likewise with n. Scales float32
    [sum ceil(k_g / gran_k), mn] or transposed. ks_cpu: each k_g, on the host; grouped_layout: the same as
    int32 on the device. d, c: [groups, m, n] float32 contiguous. Before DeepGEMM 2.6 the two were called ks
    and ks_tensor.
    """


@forwarded("k_grouped", adapt=_k_grouped)
def k_grouped_fp8_gemm_tn_contiguous(
    a,
    b,
    d,
    ks_cpu,
    grouped_layout,
    c=None,
    recipe=(1, 1, 128),
    compiled_dims="mn",
    use_psum_layout=False,
    epilogue=None,
) -> None:
    """As k_grouped_fp8_gemm_nt_contiguous with a [sum k, m] and b [sum k, n], contiguous. Forwarded."""


@forwarded("k_grouped", adapt=_k_grouped)
def k_grouped_fp4_gemm_nt_contiguous(
    a,
    b,
    d,
    ks_cpu,
    grouped_layout,
    c=None,
    recipe=(1, 1, 32),
    compiled_dims="mn",
    use_psum_layout=False,
    epilogue=None,
) -> None:
    """As k_grouped_fp8_gemm_nt_contiguous with packed e2m1: a [m, sum k / 2], b [n, sum k / 2] int8. SM 10.x.
    Forwarded.
    """


@forwarded("k_grouped", adapt=_k_grouped)
def k_grouped_bf16_gemm_tn_contiguous(
    a, b, d, ks_cpu, grouped_layout, c=None, compiled_dims="mn", use_psum_layout=False, epilogue=None
) -> None:
    """As k_grouped_fp8_gemm_tn_contiguous in bfloat16, without scales. Forwarded."""
