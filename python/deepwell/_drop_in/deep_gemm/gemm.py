"""Dense products: FP8 and FP4 with block scales, BF16, cuBLASLt.

D = A B^T (+ C). A `pair` is (data, scale). In nt, A is [m, k] and B is [n, k]; a letter n for A or t for B in
the other names' places means that this operand and its scale are given transposed: nn takes B as [k, n], tn
takes A as [k, m] and B as [k, n], tt takes A as [k, m]. Data and scale are turned by views, then everything
is as in nt.

Deepwell's kernels read operands whose last stride is 1 (k-major). An operand in the other order goes to the
other DeepGEMM if there is one; else it is copied into k-major order, one temporary of its size per call, and
the answer is the same.
"""

from __future__ import annotations

from typing import Any

from deepwell import _other
from deepwell.errors import (
    BadArgumentError,
    BadTypeError,
    DeepwellError,
    ToolchainError,
    UnsupportedError,
    bad_type,
)

from ._forward import find, forwarded, given, no_pair, on_cpu, runtime, their_epilogue

__all__ = [
    "fp8_fp4_gemm_nt",
    "fp8_fp4_gemm_nn",
    "fp8_fp4_gemm_tn",
    "fp8_fp4_gemm_tt",
    "fp8_gemm_nt",
    "fp8_gemm_nn",
    "fp8_gemm_tn",
    "fp8_gemm_tt",
    "fp4_gemm_nt",
    "fp8_gemm_nt_skip_head_mid",
    "bf16_gemm_nt",
    "bf16_gemm_nn",
    "bf16_gemm_tn",
    "bf16_gemm_tt",
    "cublaslt_gemm_nt",
    "cublaslt_gemm_nn",
    "cublaslt_gemm_tn",
    "cublaslt_gemm_tt",
    "cublaslt_nvfp4_gemm_nt",
    "batched_syrk",
    "batched_symm",
]


def _native(*arguments: Any) -> bool:
    """The native fp8_fp4_gemm_nt, which takes this name's place at the first call: loading it is left until
    then.
    """
    global _native
    _native = runtime().fp8_fp4_gemm_nt
    return _native(*arguments)


def fp8_fp4_gemm_nt(
    a,
    b,
    d,
    c=None,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    alpha=None,
    epilogue=None,
) -> None:
    """D = A B^T (+ C), sums in FP32, C added before the final rounding.

    a: pair; data [m, k] float8_e4m3fn, or [m, k/2] int8 with two e2m1 elements a byte, the even one in the
        low nibble.
    b: pair; data [n, k] or [n, k/2], format independent of a's.
    Scales: float32 or UE8M0 bytes [ceil(mn / gran_mn), ceil(k / gran_k)] with any strides, or int32 holding
        four UE8M0 bytes [mn, ceil(k / (4 gran_k))], MN-major. FP32 scales are used as they are, whether
        powers of two or not.
    d: [m, n] bfloat16 or float32, last stride 1. c: none, d itself, or a tensor of d's shape and dtype.
    recipe: (gran_m, gran_n, gran_k), or recipe_a: (gran_m, gran_k) with recipe_b: (gran_n, gran_k); rows and
        elements of k per scale, 1 or 128, and 32 or 128. None: (1, 128, 128), or (1, 1, 128) where b's scale
        is int32.
    compiled_dims: which sizes a DeepGEMM may build into its kernel; no effect on results, ignored here.
    disable_ue8m0_cast: no effect on Deepwell's kernels, which never round scales.
    alpha, epilogue: kernels of SM 10.x only, forwarded.

    m or n of 0: nothing happens. k of 0: d becomes c, or zeros. Runs on the current stream of the tensors'
    device.
    Raises BadArgumentError for operands that do not fit together (before anything is launched),
    UnsupportedError for a form that nothing here serves.
    """
    try:
        if (
            alpha is None
            and epilogue is None
            and _native(a[0], a[1], b[0], b[1], d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast)
        ):
            return
    except DeepwellError as error:
        _after(error, "nt", a, b, a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast)
        return
    except (TypeError, IndexError) as error:
        raise no_pair(a, b, error) from error
    _elsewhere(
        "nt", a, b, a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast, alpha, epilogue
    )


def fp8_fp4_gemm_nn(
    a,
    b,
    d,
    c=None,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="nk",
    disable_ue8m0_cast=False,
    alpha=None,
    epilogue=None,
) -> None:
    """As fp8_fp4_gemm_nt with b given transposed: data [k, n] (packed e2m1: [k, n/2]), scale [ceil(k /
    gran_k), ceil(n / gran_n)].
    """
    _viewed("nn", a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast, alpha, epilogue)


def fp8_fp4_gemm_tn(
    a,
    b,
    d,
    c=None,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="mn",
    disable_ue8m0_cast=False,
    alpha=None,
    epilogue=None,
) -> None:
    """As fp8_fp4_gemm_nt with a and b given transposed: data [k, m] and [k, n], scales transposed
    likewise.
    """
    _viewed("tn", a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast, alpha, epilogue)


def fp8_fp4_gemm_tt(
    a,
    b,
    d,
    c=None,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
    compiled_dims="mn",
    disable_ue8m0_cast=False,
    alpha=None,
    epilogue=None,
) -> None:
    """As fp8_fp4_gemm_nt with a given transposed: data [k, m], scale [ceil(k / gran_k), ceil(m / gran_m)]."""
    _viewed("tt", a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast, alpha, epilogue)


fp8_gemm_nt = fp4_gemm_nt = fp8_fp4_gemm_nt
fp8_gemm_nn = fp8_fp4_gemm_nn
fp8_gemm_tn = fp8_fp4_gemm_tn
fp8_gemm_tt = fp8_fp4_gemm_tt


def _viewed(
    form, a, b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast, alpha, epilogue
) -> None:
    """nn, tn and tt: nt with views."""
    try:
        view_a = (a[0].mT, a[1].mT) if form[0] == "t" else (a[0], a[1])
        view_b = (b[0].mT, b[1].mT) if form[1] == "n" else (b[0], b[1])
    except (TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise no_pair(a, b, error) from error
    try:
        if (
            alpha is None
            and epilogue is None
            and _native(
                view_a[0],
                view_a[1],
                view_b[0],
                view_b[1],
                d,
                c,
                recipe,
                recipe_a,
                recipe_b,
                disable_ue8m0_cast,
            )
        ):
            return
    except DeepwellError as error:
        _after(
            error,
            form,
            a,
            b,
            view_a,
            view_b,
            d,
            c,
            recipe,
            recipe_a,
            recipe_b,
            compiled_dims,
            disable_ue8m0_cast,
        )
        return
    _elsewhere(
        form,
        a,
        b,
        view_a,
        view_b,
        d,
        c,
        recipe,
        recipe_a,
        recipe_b,
        compiled_dims,
        disable_ue8m0_cast,
        alpha,
        epilogue,
    )


def _k_major(data: Any) -> bool:
    return data.dim() != 2 or data.stride(-1) == 1 or data.shape[-1] <= 1


def _copied(pair: Any) -> Any:
    """The pair with its data in k-major order."""
    data = pair[0]
    if _k_major(data) or data.element_size() != 1:
        return pair
    if data.dtype.is_floating_point and "float4" not in str(data.dtype):
        return data.contiguous(), pair[1]
    import torch

    from .utils.math import transpose_packed_fp4

    # [mn/2, k] with rows of k next to each other: as [k, mn/2] its bytes pair elements along mn.
    return transpose_packed_fp4(data.mT.contiguous().view(torch.int8)), pair[1]


def _after(
    error, form, a, b, view_a, view_b, d, c, recipe, recipe_a, recipe_b, compiled_dims, disable_ue8m0_cast
) -> None:
    """What follows a refusal of Deepwell's: the other DeepGEMM, or a copy in the order that the kernels
    read.
    """
    refused_order = (
        isinstance(error, (UnsupportedError, BadArgumentError))
        and not isinstance(error, BadTypeError)
        and not (_k_major(view_a[0]) and _k_major(view_b[0]))
    )
    if not refused_order and not isinstance(error, (UnsupportedError, ToolchainError)):
        raise error
    if _other.attribute(f"fp8_fp4_gemm_{form}") or _other.attribute(f"fp8_gemm_{form}"):
        try:
            _elsewhere(
                form,
                a,
                b,
                view_a,
                view_b,
                d,
                c,
                recipe,
                recipe_a,
                recipe_b,
                compiled_dims,
                disable_ue8m0_cast,
            )
            return
        except Exception:
            if not on_cpu(view_a[0]):
                raise
    if not refused_order:
        raise error
    a, b = _copied(view_a), _copied(view_b)
    if not _native(a[0], a[1], b[0], b[1], d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast):
        raise error


def _elsewhere(
    form,
    a,
    b,
    view_a,
    view_b,
    d,
    c,
    recipe,
    recipe_a,
    recipe_b,
    compiled_dims,
    disable_ue8m0_cast,
    alpha=None,
    epilogue=None,
) -> None:
    """The other DeepGEMM; Deepwell once more where the other one turns out not to load."""
    if (
        _other.other() is None
        and alpha is None
        and epilogue is None
        and _native(
            view_a[0], view_a[1], view_b[0], view_b[1], d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast
        )
    ):
        return
    name = f"fp8_fp4_gemm_{form}"
    function = find("gemm", name, f"fp8_gemm_{form}")
    options = given(
        c=c,
        recipe=recipe,
        recipe_a=recipe_a,
        recipe_b=recipe_b,
        disable_ue8m0_cast=disable_ue8m0_cast,
        alpha=alpha,
        epilogue=their_epilogue(epilogue),
    )
    if compiled_dims != ("nk" if form[0] == "n" else "mn"):
        options["compiled_dims"] = compiled_dims
    function(a, b, d, **options)


def fp8_gemm_nt_skip_head_mid(
    a, b, d, head_splits, recipe=None, compiled_dims="nk", disable_ue8m0_cast=False
) -> None:
    """FP8 product whose columns are spread over heads with a gap. Dropped in DeepGEMM 2.8; forwarded.

    a, b: pairs as in fp8_fp4_gemm_nt, float8_e4m3fn, gran_k 128. head_splits: (left, mid, right) columns.
    d: [m, n + heads * mid] bfloat16 or float32 with heads = n / (left + right); in each head the `mid`
    columns after `left` are not written.
    """
    options = given(recipe=recipe, disable_ue8m0_cast=disable_ue8m0_cast)
    if compiled_dims != "nk":
        options["compiled_dims"] = compiled_dims
    find("skip_head_mid", "fp8_gemm_nt_skip_head_mid")(a, b, d, head_splits, **options)


@forwarded("bf16")
def bf16_gemm_nt(a, b, d, c=None, compiled_dims="nk", alpha=None, epilogue=None) -> None:
    """D = A B^T (+ C): a [m, k], b [n, k] bfloat16 with one of the last strides 1; d [m, n] bfloat16 or
    float32. Forwarded.
    """


@forwarded("bf16")
def bf16_gemm_nn(a, b, d, c=None, compiled_dims="nk", alpha=None, epilogue=None) -> None:
    """As bf16_gemm_nt with b given as [k, n]. Forwarded."""


@forwarded("bf16")
def bf16_gemm_tn(a, b, d, c=None, compiled_dims="mn", alpha=None, epilogue=None) -> None:
    """As bf16_gemm_nt with a given as [k, m] and b as [k, n]. Forwarded."""


@forwarded("bf16")
def bf16_gemm_tt(a, b, d, c=None, compiled_dims="mn", alpha=None, epilogue=None) -> None:
    """As bf16_gemm_nt with a given as [k, m]. Forwarded."""


@forwarded("cublaslt")
def cublaslt_gemm_nt(a, b, d, c=None) -> None:
    """D = A B^T (+ C) by cuBLASLt: a [m, k], b [n, k], d [m, n] of the dtypes it takes, without scales.
    Forwarded.
    """


@forwarded("cublaslt")
def cublaslt_gemm_nn(a, b, d, c=None) -> None:
    """As cublaslt_gemm_nt with b given as [k, n]. Forwarded."""


@forwarded("cublaslt")
def cublaslt_gemm_tn(a, b, d, c=None) -> None:
    """As cublaslt_gemm_nt with a given as [k, m] and b as [k, n]. Forwarded."""


@forwarded("cublaslt")
def cublaslt_gemm_tt(a, b, d, c=None) -> None:
    """As cublaslt_gemm_nt with a given as [k, m]. Forwarded."""


@forwarded("cublaslt")
def cublaslt_nvfp4_gemm_nt(a, b, d, c=None) -> None:
    """NVFP4 by cuBLASLt: pairs of packed e2m1 [mn, k/2] int8 and UE4M3 scales, one per 16 elements of k, in
    tiles of shape [ceil(mn / 128), ceil(k / 64), 32, 4, 4]. k a multiple of 32. Forwarded."""


@forwarded("cublaslt")
def batched_syrk(a, d) -> None:
    """D = A A^T for 2-D or 3-D a and d of one dtype. Forwarded."""


@forwarded("cublaslt")
def batched_symm(a, b, d) -> None:
    """D = A B with a symmetric a, 2-D or 3-D, one dtype. Forwarded."""
