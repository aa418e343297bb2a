"""torch.ops.deepwell.*: the operations with fake implementations and mutation annotations, for torch.compile and CUDA graphs.

No result aliases an input. Every operator takes CUDA tensors, and CPU tensors where an emulated device is chosen.

  fp8_fp4_gemm_nt(a, a_scale, b, b_scale, out_dtype=bfloat16, c=None, recipe=None, recipe_a=None, recipe_b=None) -> d
  fp8_fp4_gemm_nt_out(a, a_scale, b, b_scale, d!, c=None, recipe=None, recipe_a=None, recipe_b=None)
  m_grouped_fp8_fp4_gemm_nt_contiguous(a, a_scale, b, b_scale, grouped_layout, alignment, out_dtype=bfloat16, recipe=None,
      recipe_a=None, recipe_b=None) -> d, zeros in the rows that deep_gemm's function leaves alone
  m_grouped_fp8_fp4_gemm_nt_contiguous_out(a, a_scale, b, b_scale, d!, grouped_layout, alignment, recipe=None, ...)
  m_grouped_fp8_fp4_gemm_nt_masked_out(a, a_scale, b, b_scale, d!, masked_m, expected_m, recipe=None, ...)
  fp8_einsum(equation, a, a_scale, b, b_scale, out_dtype=bfloat16, c=None, recipe=(1, 128, 128)) -> d
  fp8_einsum_out(equation, a, a_scale, b, b_scale, d!, c=None, recipe=(1, 128, 128))
  deepseek_v4_fp8_einsum(a, a_scale, b, b_scale, out!, equation, recipe)
  tf32_hc_prenorm_gemm(a, b, d!, sqr_sum!, num_splits=None)
  transform_scale(scale, mn, k, gran_mn, gran_k, num_groups=None, disable_ue8m0_cast=False) -> scale
  fp8_mqa_logits(q, kv, kv_scale, weights, start, end, max_seqlen_k, clean_logits=False) -> logits
  fp8_paged_mqa_logits(q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, indices=None) -> logits
  paged_mqa_logits_metadata(context_lens, block_kv, num_sms, indices=None) -> schedule_meta

Shapes and dtypes are those of deep_gemm's fp8_fp4_gemm_nt, fp8_einsum, tf32_hc_prenorm_gemm, transform_sf_into_required_layout,
fp8_fp4_mqa_logits, fp8_fp4_paged_mqa_logits and get_paged_mqa_logits_metadata. Rows of logits begin at multiples of 1024 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import _hook, _other, _runtime, errors

_library = torch.library.Library("deepwell", "DEF")


def _served(native, *arguments) -> bool:
    """Whether Deepwell has served the call; it is asked once more where the other DeepGEMM turns out not to load."""
    return native(*arguments) or (_other.other() is None and native(*arguments))


def _elsewhere(name: str):
    """The other DeepGEMM's function, for a device that Deepwell does not serve."""
    function = _other.attribute(name)
    if function is None:
        raise _other.nobody(name, "Deepwell has no kernels for the device of these tensors")
    return function


def _define(schema: str, implementation, fake) -> None:
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.needs_fixed_stride_order,))
    for key in ("CUDA", "CPU"):
        _library.impl(name, implementation, key)
    torch.library.register_fake(f"deepwell::{name}", fake, lib=_library)


# ---- GEMM ----

_RECIPES = "Tensor? c=None, int[]? recipe=None, int[]? recipe_a=None, int[]? recipe_b=None"
_OPERANDS = "Tensor a, Tensor a_scale, Tensor b, Tensor b_scale"


def _gemm_into(a, a_scale, b, b_scale, d, c=None, recipe=None, recipe_a=None, recipe_b=None) -> None:
    arguments = (a, a_scale, b, b_scale, d, c, recipe, recipe_a, recipe_b, False)
    if not _served(_runtime.fp8_fp4_gemm_nt, *arguments):
        _elsewhere("fp8_fp4_gemm_nt")(
            (a, a_scale), (b, b_scale), d, c=c, recipe=recipe, recipe_a=recipe_a, recipe_b=recipe_b
        )


def _gemm(
    a, a_scale, b, b_scale, out_dtype=torch.bfloat16, c=None, recipe=None, recipe_a=None, recipe_b=None
) -> torch.Tensor:
    d = a.new_empty((a.shape[0], b.shape[0]), dtype=out_dtype)
    _gemm_into(a, a_scale, b, b_scale, d, c, recipe, recipe_a, recipe_b)
    return d


def _gemm_fake(
    a, a_scale, b, b_scale, out_dtype=torch.bfloat16, c=None, recipe=None, recipe_a=None, recipe_b=None
) -> torch.Tensor:
    return a.new_empty((a.shape[0], b.shape[0]), dtype=out_dtype)


def _writes_only(*args, **kwargs) -> None:
    """Fake of an operator that returns nothing."""


_define(
    f"fp8_fp4_gemm_nt({_OPERANDS}, ScalarType out_dtype=bfloat16, {_RECIPES}) -> Tensor", _gemm, _gemm_fake
)
_define(f"fp8_fp4_gemm_nt_out({_OPERANDS}, Tensor(d!) d, {_RECIPES}) -> ()", _gemm_into, _writes_only)


# ---- grouped GEMM ----

_GROUP_RECIPES = "int[]? recipe=None, int[]? recipe_a=None, int[]? recipe_b=None"


def _contiguous_into(
    a, a_scale, b, b_scale, d, grouped_layout, alignment, recipe=None, recipe_a=None, recipe_b=None
) -> None:
    arguments = (a, a_scale, b, b_scale, d, grouped_layout, recipe, recipe_a, recipe_b, False, alignment)
    if not _served(_runtime.grouped_gemm_nt, *arguments):
        _elsewhere("m_grouped_fp8_fp4_gemm_nt_contiguous")(
            (a, a_scale), (b, b_scale), d, grouped_layout, recipe=recipe, recipe_a=recipe_a, recipe_b=recipe_b
        )


def _contiguous(
    a,
    a_scale,
    b,
    b_scale,
    grouped_layout,
    alignment,
    out_dtype=torch.bfloat16,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
) -> torch.Tensor:
    d = a.new_zeros((a.shape[0], b.shape[1]), dtype=out_dtype)
    _contiguous_into(a, a_scale, b, b_scale, d, grouped_layout, alignment, recipe, recipe_a, recipe_b)
    return d


def _contiguous_fake(
    a,
    a_scale,
    b,
    b_scale,
    grouped_layout,
    alignment,
    out_dtype=torch.bfloat16,
    recipe=None,
    recipe_a=None,
    recipe_b=None,
) -> torch.Tensor:
    return a.new_empty((a.shape[0], b.shape[1]), dtype=out_dtype)


def _masked_into(
    a, a_scale, b, b_scale, d, masked_m, expected_m, recipe=None, recipe_a=None, recipe_b=None
) -> None:
    arguments = (a, a_scale, b, b_scale, d, masked_m, recipe, recipe_a, recipe_b, True, expected_m)
    if not _served(_runtime.grouped_gemm_nt, *arguments):
        _elsewhere("m_grouped_fp8_fp4_gemm_nt_masked")(
            (a, a_scale),
            (b, b_scale),
            d,
            masked_m,
            expected_m,
            recipe=recipe,
            recipe_a=recipe_a,
            recipe_b=recipe_b,
        )


_define(
    f"m_grouped_fp8_fp4_gemm_nt_contiguous({_OPERANDS}, Tensor grouped_layout, int alignment, "
    f"ScalarType out_dtype=bfloat16, {_GROUP_RECIPES}) -> Tensor",
    _contiguous,
    _contiguous_fake,
)
_define(
    f"m_grouped_fp8_fp4_gemm_nt_contiguous_out({_OPERANDS}, Tensor(d!) d, Tensor grouped_layout, int alignment, "
    f"{_GROUP_RECIPES}) -> ()",
    _contiguous_into,
    _writes_only,
)
_define(
    f"m_grouped_fp8_fp4_gemm_nt_masked_out({_OPERANDS}, Tensor(d!) d, Tensor masked_m, int expected_m, "
    f"{_GROUP_RECIPES}) -> ()",
    _masked_into,
    _writes_only,
)


# ---- einsum ----

_DEFAULT_RECIPE = (1, 128, 128)


def _einsum_into(equation, a, a_scale, b, b_scale, d, c=None, recipe=_DEFAULT_RECIPE) -> None:
    if not _served(_runtime.fp8_einsum, equation, a, a_scale, b, b_scale, d, c, recipe):
        _elsewhere("fp8_einsum")(equation, (a, a_scale), (b, b_scale), d, c=c, recipe=tuple(recipe))


def _einsum_shape(equation: str, a: torch.Tensor, b: torch.Tensor) -> tuple:
    if equation != "bhr,hdr->bhd":
        raise errors.UnsupportedError(
            f"equation: got {equation!r}, expected 'bhr,hdr->bhd'", "equation", equation, "'bhr,hdr->bhd'"
        )
    heads = a.shape[1]
    return a.shape[0], heads, b.shape[1] if b.dim() == 3 else b.shape[0] // heads


def _einsum(
    equation, a, a_scale, b, b_scale, out_dtype=torch.bfloat16, c=None, recipe=_DEFAULT_RECIPE
) -> torch.Tensor:
    d = a.new_empty(_einsum_shape(equation, a, b), dtype=out_dtype)
    _einsum_into(equation, a, a_scale, b, b_scale, d, c, recipe)
    return d


def _einsum_fake(
    equation, a, a_scale, b, b_scale, out_dtype=torch.bfloat16, c=None, recipe=_DEFAULT_RECIPE
) -> torch.Tensor:
    return a.new_empty(_einsum_shape(equation, a, b), dtype=out_dtype)


_define(
    f"fp8_einsum(str equation, {_OPERANDS}, ScalarType out_dtype=bfloat16, Tensor? c=None, "
    "int[] recipe=[1, 128, 128]) -> Tensor",
    _einsum,
    _einsum_fake,
)
_define(
    f"fp8_einsum_out(str equation, {_OPERANDS}, Tensor(d!) d, Tensor? c=None, "
    "int[] recipe=[1, 128, 128]) -> ()",
    _einsum_into,
    _writes_only,
)


# ---- o_proj as serving code names it ----


def deepseek_v4_fp8_einsum_config(
    device: torch.device | int | str | None = None,
) -> tuple[tuple[int, int, int], bool]:
    """The recipe of deepseek_v4_fp8_einsum on a device, and whether activation scales are packed and TMA-aligned there.

    SM 10.x and 12.x: ((1, 1, 128), True), packed int32 scales [tokens, groups, ceil(r / 512)], column by column. SM 9.0:
    ((1, 128, 128), False), FP32 scales [tokens, groups, r / 128]. Default, and for "cpu": the emulated device if one is chosen, else
    the current GPU.
    """
    if device is None or torch.device(device).type == "cpu":
        major = _runtime.device_major()
    else:
        major = torch.cuda.get_device_capability(device)[0]
    return ((1, 128, 128), False) if major == 9 else ((1, 1, 128), True)


def _local_groups(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    """Says what does not fit between tokens, weights and output before scales are looked at."""
    for name, tensor in (("a", a), ("out", out)):
        if tensor.dim() != 3:
            raise errors.bad_argument(
                f"{name}.shape", tuple(tensor.shape), "three axes: tokens, groups, elements"
            )
    groups, rows = out.shape[1], out.shape[2]
    if a.shape[1] != groups or a.shape[0] != out.shape[0]:
        raise errors.bad_argument(
            "out.shape", tuple(out.shape), f"({a.shape[0]}, {a.shape[1]}, ...): the tokens and groups of a"
        )
    if b.dim() == 2 and b.shape[0] != groups * rows:
        detail = f"{groups * rows} rows: {groups} groups (this rank's, as in out) of {rows}"
        raise errors.bad_argument("b.shape", tuple(b.shape), detail)
    if b.dim() == 3 and tuple(b.shape[:2]) != (groups, rows):
        raise errors.bad_argument(
            "b.shape", tuple(b.shape), f"({groups}, {rows}, ...): groups and rows of out"
        )


def _deepseek_v4(a, a_scale, b, b_scale, out, equation: str, recipe: Sequence[int]) -> None:
    if equation == "bhr,hdr->bhd":
        _local_groups(a, b, out)
    if _served(_runtime.fp8_einsum, equation, a, a_scale, b, b_scale, out, None, recipe):
        return
    if b.dim() == 2:  # other implementations take three axes only
        groups = out.shape[1]
        b = b.unflatten(0, (groups, -1))
        b_scale = b_scale.unflatten(0, (groups, -1)) if b_scale.dim() == 2 else b_scale
    _elsewhere("fp8_einsum")(equation, (a, a_scale), (b, b_scale), out, recipe=tuple(recipe))


_define(
    f"deepseek_v4_fp8_einsum({_OPERANDS}, Tensor(out!) out, str equation, int[] recipe) -> ()",
    _deepseek_v4,
    _writes_only,
)


def deepseek_v4_fp8_einsum(
    a: torch.Tensor,
    a_scale: torch.Tensor,
    b: torch.Tensor,
    b_scale: torch.Tensor,
    out: torch.Tensor,
    equation: str,
    recipe: Sequence[int],
) -> None:
    """o_proj's first product, group by group: out[t, g, :] = b[g] a[t, g, :].

    a [tokens, groups, r] e4m3, last stride 1. b [groups, rows, r] or [groups * rows, r] e4m3; the groups are this rank's, counted
    in `out`. Scales: FP32, UE8M0 (float8_e8m0fnu or uint8) or packed int32, of a per row and 128 (or 32) elements, of b per
    row or per 128 rows; their shapes say which. out [tokens, groups, rows] bf16 or f32 is written. `equation` is "bhr,hdr->bhd";
    `recipe` as deepseek_v4_fp8_einsum_config() gives it. Raises BadArgumentError naming what does not fit, UnsupportedError for another equation.
    Also torch.ops.deepwell.deepseek_v4_fp8_einsum.
    """
    torch.ops.deepwell.deepseek_v4_fp8_einsum(a, a_scale, b, b_scale, out, equation, list(recipe))


# ---- hyper-connections ----


def _hc_prenorm(a, b, d, sqr_sum, num_splits=None) -> None:
    if not _served(_runtime.tf32_hc_prenorm_gemm, a, b, d, sqr_sum, num_splits):
        options = {} if num_splits is None else {"num_splits": num_splits}
        _elsewhere("tf32_hc_prenorm_gemm")(a, b, d, sqr_sum, **options)


_define(
    "tf32_hc_prenorm_gemm(Tensor a, Tensor b, Tensor(d!) d, Tensor(s!) sqr_sum, int? num_splits=None) -> ()",
    _hc_prenorm,
    _writes_only,
)


# ---- scale layouts ----


def _scale_layout(
    scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast, keeps_fp32
) -> tuple[torch.dtype, tuple, tuple]:
    """Element type, shape and strides of what transform_scale returns."""
    fp32 = scale.dtype == torch.float32 and (disable_ue8m0_cast or keeps_fp32)
    if fp32 and gran_mn != 1:
        return torch.float32, tuple(scale.shape), tuple(scale.contiguous().stride())
    groups = () if num_groups is None else (num_groups,)
    columns = (k + gran_k - 1) // gran_k
    if not fp32:
        columns = (columns + 3) // 4
    pitch = (mn + 3) // 4 * 4
    strides = (1, pitch) if num_groups is None else (pitch * columns, 1, pitch)
    return torch.float32 if fp32 else torch.int32, (*groups, mn, columns), strides


def _transform(scale, mn, k, gran_mn, gran_k, num_groups=None, disable_ue8m0_cast=False) -> torch.Tensor:
    dtype, shape, strides = _scale_layout(
        scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast, _runtime.keeps_fp32_scales(scale)
    )
    if scale.dtype == torch.int32 and scale.shape == shape:  # packed already, in strides of any kind
        return scale.new_empty_strided(shape, strides).copy_(scale)
    arguments = (scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast)
    out = _runtime.transform_scale(*arguments)
    if out is None and _other.other() is None:
        out = _runtime.transform_scale(*arguments)
    if out is None:
        out = _elsewhere("transform_sf_into_required_layout")(
            scale, mn, k, (gran_mn, gran_k), num_groups=num_groups, disable_ue8m0_cast=disable_ue8m0_cast
        )
    if out is scale or out.stride() != strides:
        out = scale.new_empty_strided(shape, strides, dtype=dtype).copy_(out)
    return out


def _transform_fake(scale, mn, k, gran_mn, gran_k, num_groups=None, disable_ue8m0_cast=False) -> torch.Tensor:
    dtype, shape, strides = _scale_layout(
        scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast, _runtime.keeps_fp32_scales(scale)
    )
    return scale.new_empty_strided(shape, strides, dtype=dtype)


_define(
    "transform_scale(Tensor scale, int mn, int k, int gran_mn, int gran_k, int? num_groups=None, "
    "bool disable_ue8m0_cast=False) -> Tensor",
    _transform,
    _transform_fake,
)


# ---- logits of the indexer ----


def _ours(native, *arguments):
    """What the native function returns; it is asked once more where the other DeepGEMM turns out not to load."""
    result = native(*arguments)
    return native(*arguments) if result is None and _other.other() is None else result


def _drop_in():
    """The drop-in, which knows the forms that other versions have of these functions."""
    import deep_gemm

    if _hook.is_drop_in(deep_gemm):
        return deep_gemm
    raise errors.UnsupportedError(
        "Deepwell has no kernels for the device of these tensors, and forwards logits only where `import deep_gemm` gives "
        f"its drop-in: it gives {deep_gemm.__file__} (DEEPWELL_DEEP_GEMM={_hook.mode()})",
        "DEEPWELL_DEEP_GEMM",
        _hook.mode(),
        "prefer or always",
    )


def _as_logits(result: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Another DeepGEMM's logits in the strides of the fake implementation."""
    return result if result.stride() == like.stride() else like.copy_(result)


def _logits_like(q: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    pitch = _runtime.mqa_logits_pitch(columns)
    return q.new_empty_strided((rows, columns), (pitch, 1), dtype=torch.float32)


def _mqa_fake(q, kv, kv_scale, weights, start, end, max_seqlen_k, clean_logits=False) -> torch.Tensor:
    return _logits_like(q, q.shape[0], max_seqlen_k if max_seqlen_k else kv.shape[0])


def _mqa(q, kv, kv_scale, weights, start, end, max_seqlen_k, clean_logits=False) -> torch.Tensor:
    arguments = (q, kv, kv_scale, weights, start, end, max_seqlen_k, clean_logits)
    logits = _ours(_runtime.fp8_mqa_logits, *arguments)
    if logits is None:
        logits = _drop_in().fp8_fp4_mqa_logits(
            (q, None), (kv, kv_scale), weights, start, end, clean_logits, max_seqlen_k
        )
        logits = _as_logits(logits, _mqa_fake(*arguments))
    return logits


_define(
    "fp8_mqa_logits(Tensor q, Tensor kv, Tensor kv_scale, Tensor weights, Tensor start, Tensor end, int max_seqlen_k, "
    "bool clean_logits=False) -> Tensor",
    _mqa,
    _mqa_fake,
)


def _paged_mqa_fake(
    q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, indices=None
) -> torch.Tensor:
    return _logits_like(q, q.shape[0] * q.shape[1], max_context_len)


def _paged_mqa(
    q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, indices=None
) -> torch.Tensor:
    arguments = (q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, indices)
    logits = _ours(_runtime.fp8_paged_mqa_logits, *arguments)
    if logits is None:
        logits = _drop_in().fp8_fp4_paged_mqa_logits((q, None), *arguments[1:])
        logits = _as_logits(logits, _paged_mqa_fake(*arguments))
    return logits


_define(
    "fp8_paged_mqa_logits(Tensor q, Tensor kv_cache, Tensor weights, Tensor context_lens, Tensor block_table, "
    "Tensor? schedule_meta, int max_context_len, Tensor? indices=None) -> Tensor",
    _paged_mqa,
    _paged_mqa_fake,
)


def _metadata_fake(context_lens, block_kv, num_sms, indices=None) -> torch.Tensor:
    return context_lens.new_empty((num_sms + 1, 2), dtype=torch.int32)


def _metadata(context_lens, block_kv, num_sms, indices=None) -> torch.Tensor:
    schedule = _ours(_runtime.paged_mqa_logits_metadata, context_lens, block_kv, num_sms, indices)
    if schedule is None:
        options = {} if indices is None else {"indices": indices}
        schedule = _elsewhere("get_paged_mqa_logits_metadata")(context_lens, block_kv, num_sms, **options)
    return schedule


_define(
    "paged_mqa_logits_metadata(Tensor context_lens, int block_kv, int num_sms, Tensor? indices=None) -> Tensor",
    _metadata,
    _metadata_fake,
)
