"""Casts to and from FP8 and FP4 with block scales, in plain PyTorch, on any device.

A scale is the largest magnitude of its block, at least 1e-4, divided by the format's largest value (448 for
e4m3, 6 for e2m1); with `use_ue8m0` it is rounded up to a power of two. Elements are multiplied by its
reciprocal and rounded to nearest, ties to even. docs/formats.md describes the formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepwell.errors import bad_argument, bad_type

from .._forward import names_of_other

if TYPE_CHECKING:  # torch is imported by the functions: `import deep_gemm` alone does not need it
    import torch

__all__ = [
    "ceil_div",
    "align",
    "ceil_to_ue8m0",
    "pack_ue8m0_to_int",
    "unpack_ue8m0_from_int",
    "unpack_e4m3_sf_from_int",
    "per_token_cast_to_fp8",
    "per_channel_cast_to_fp8",
    "per_block_cast_to_fp8",
    "per_custom_dims_cast_to_fp8",
    "per_token_cast_to_fp4",
    "per_token_cast_to_nvfp4",
    "transpose_packed_fp4",
    "cast_back_from_fp4",
    "cast_back_from_fp8",
]

_MIN_AMAX = 1e-4
_E4M3_MAX = 448.0
_E2M1_MAX = 6.0


def ceil_div(x: int, y: int) -> int:
    """x / y rounded up; y positive."""
    return -(-x // y)


def align(x: int, y: int) -> int:
    """x rounded up to a multiple of y."""
    return ceil_div(x, y) * y


# --- scales -------------------------------------------------------------------------------------------------


def ceil_to_ue8m0(x: torch.Tensor) -> torch.Tensor:
    """|x| rounded up to a power of two, float32; at least 2^-126 and at most 2^127."""
    import torch

    bits = x.abs().float().contiguous().view(torch.int32)
    exponent = (bits >> 23) + ((bits & 0x7FFFFF) != 0).int()
    return (exponent.clamp(1, 254) << 23).view(torch.float32)


def pack_ue8m0_to_int(x: torch.Tensor) -> torch.Tensor:
    """float32 powers of two [..., n], n a multiple of 4, to int32 [..., n / 4]: four exponent bytes, the
    first lowest.

    Raises BadArgumentError for values that are no powers of two; on a GPU the check waits for it.
    """
    import torch

    if x.dtype != torch.float32:
        raise bad_type("x", x.dtype, "float32")
    if x.shape[-1] % 4:
        raise bad_argument("x.shape", tuple(x.shape), "a last axis that is a multiple of 4")
    bits = x.contiguous().view(torch.int32)
    if (bits & -0x7F800001).any():  # sign and fraction
        raise bad_argument(
            "x", "values that are not powers of two", "non-negative powers of two (ceil_to_ue8m0)"
        )
    exponent = bits >> 23
    first, second, third, fourth = (exponent[..., index::4] for index in range(4))
    return (first | second << 8 | third << 16 | fourth << 24).contiguous()


def unpack_ue8m0_from_int(packed_sf: torch.Tensor) -> torch.Tensor:
    """The inverse of pack_ue8m0_to_int: int32 [..., n] to float32 [..., 4 n]. Byte 0, which pads, gives 0."""
    import torch

    return (packed_sf.contiguous().view(torch.uint8).int() << 23).view(torch.float32)


def unpack_e4m3_sf_from_int(packed_sf: torch.Tensor) -> torch.Tensor:
    """int32 words of four UE4M3 bytes [..., n] to float32 [..., 4 n]."""
    import torch

    return packed_sf.contiguous().view(torch.float8_e4m3fn).float()


def _scale(amax: torch.Tensor, largest: float, use_ue8m0: bool) -> torch.Tensor:
    scale = amax.float().clamp(min=_MIN_AMAX) / largest
    return ceil_to_ue8m0(scale) if use_ue8m0 else scale


def _packed(sf: torch.Tensor) -> torch.Tensor:
    """Packed, after scales of 1 that fill the last word."""
    import torch

    return pack_ue8m0_to_int(torch.nn.functional.pad(sf, (0, align(sf.shape[1], 4) - sf.shape[1]), value=1.0))


def _row_groups(x: torch.Tensor, gran_k: int) -> torch.Tensor:
    """[m, n] as float32 [m, ceil(n / gran_k), gran_k], zeros after n."""
    import torch

    _check_matrix(x)
    m, n = x.shape
    groups = ceil_div(n, gran_k)
    return torch.nn.functional.pad(x.float(), (0, groups * gran_k - n)).view(m, groups, gran_k)


def _check_matrix(x: torch.Tensor) -> None:
    if x.dim() != 2:
        raise bad_argument("x.shape", tuple(x.shape), "two axes")


# --- FP8 ----------------------------------------------------------------------------------------------------


def per_token_cast_to_fp8(
    x: torch.Tensor, use_ue8m0: bool, gran_k: int = 128, use_packed_ue8m0: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, n] to float8_e4m3fn [m, n] with one scale per row and gran_k columns.

    Scales: float32 [m, ceil(n / gran_k)], or with use_packed_ue8m0 int32 [m, ceil(n / (4 gran_k))], the last
    word filled with scales of 1.
    """
    import torch

    groups = _row_groups(x, gran_k)
    m, n = x.shape
    sf = _scale(groups.abs().amax(dim=2), _E4M3_MAX, use_ue8m0)
    data = (
        (groups * (1.0 / sf)[:, :, None])
        .to(torch.float8_e4m3fn)
        .view(m, groups.shape[1] * gran_k)[:, :n]
        .contiguous()
    )
    return data, _packed(sf) if use_packed_ue8m0 else sf


def per_channel_cast_to_fp8(
    x: torch.Tensor, use_ue8m0: bool, gran_k: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, n] to float8_e4m3fn [m, n] with one float32 scale per gran_k rows and column, [m / gran_k, n]."""
    import torch

    _check_matrix(x)
    m, n = x.shape
    if m % gran_k:
        raise bad_argument("x.shape", tuple(x.shape), f"a multiple of {gran_k} rows")
    groups = x.float().reshape(m // gran_k, gran_k, n)
    sf = _scale(groups.abs().amax(dim=1), _E4M3_MAX, use_ue8m0)
    return (groups * (1.0 / sf)[:, None, :]).to(torch.float8_e4m3fn).view(m, n), sf


def per_block_cast_to_fp8(
    x: torch.Tensor, use_ue8m0: bool, gran_k: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, n] to float8_e4m3fn [m, n] with one float32 scale per block of gran_k squared, [ceil(m / g), ceil(n
    / g)].
    """
    import torch

    _check_matrix(x)
    m, n = x.shape
    rows, columns = ceil_div(m, gran_k), ceil_div(n, gran_k)
    padded = torch.nn.functional.pad(x.float(), (0, columns * gran_k - n, 0, rows * gran_k - m))
    blocks = padded.view(rows, gran_k, columns, gran_k)
    sf = _scale(blocks.abs().amax(dim=(1, 3)), _E4M3_MAX, use_ue8m0)
    data = (
        (blocks * (1.0 / sf)[:, None, :, None]).to(torch.float8_e4m3fn).view(rows * gran_k, columns * gran_k)
    )
    return data[:m, :n].contiguous(), sf


def per_custom_dims_cast_to_fp8(
    x: torch.Tensor, dims: tuple[int, ...], use_ue8m0: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """x to float8_e4m3fn with one float32 scale per position along `dims`: all other axes share it. Axes of 1
    are dropped from the scales."""
    import torch

    kept = {each % x.dim() for each in dims}
    shared = tuple(each for each in range(x.dim()) if each not in kept)
    magnitude = x.abs().float()
    sf = _scale(magnitude.amax(dim=shared, keepdim=True) if shared else magnitude, _E4M3_MAX, use_ue8m0)
    return (x.float() * (1.0 / sf)).to(torch.float8_e4m3fn), sf.squeeze()


def cast_back_from_fp8(
    x_fp8: torch.Tensor, sf: torch.Tensor, gran_k: int = 128, use_packed_ue8m0: bool = False
) -> torch.Tensor:
    """float8_e4m3fn [m, n] times its scales, as per_token_cast_to_fp8 gives them, to float32 [m, n]."""
    sf = unpack_ue8m0_from_int(sf) if use_packed_ue8m0 else sf.float()
    return x_fp8.float() * _per_column(sf, x_fp8.shape[1], gran_k)


def _per_column(sf: torch.Tensor, n: int, gran_k: int) -> torch.Tensor:
    return sf[:, : ceil_div(n, gran_k)].repeat_interleave(gran_k, dim=1)[:, :n]


# --- FP4 ----------------------------------------------------------------------------------------------------


def _e2m1_codes(x: torch.Tensor) -> torch.Tensor:
    """uint8 codes of the nearest e2m1 values; a value midway takes the even code; no negative zero; saturates
    at 6.
    """
    import torch

    magnitude = x.abs()
    code = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
    # Between codes c and c + 1; the upper one is even where c is odd.
    for lower, middle in enumerate((0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)):
        code += magnitude >= middle if lower % 2 else magnitude > middle
    return code | ((x < 0) & (code != 0)).to(torch.uint8) << 3


def _pack_codes(codes: torch.Tensor) -> torch.Tensor:
    """Codes [m, n] two a byte, int8 [m, n / 2], the even column in the low nibble."""
    import torch

    return (codes[:, 0::2] | codes[:, 1::2] << 4).contiguous().view(torch.int8)


def _unpack_codes(packed: torch.Tensor) -> torch.Tensor:
    """The inverse of _pack_codes."""
    import torch

    data = packed.contiguous().view(torch.uint8)
    return torch.stack((data & 15, data >> 4), dim=2).view(data.shape[0], 2 * data.shape[1])


def per_token_cast_to_fp4(
    x: torch.Tensor, use_ue8m0: bool, gran_k: int = 128, use_packed_ue8m0: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, n], n even, to packed e2m1 int8 [m, n / 2] with one scale per row and gran_k columns.

    Scales as per_token_cast_to_fp8 gives them.
    """
    groups = _row_groups(x, gran_k)
    m, n = x.shape
    if n % 2:
        raise bad_argument("x.shape", tuple(x.shape), "an even number of columns: a byte holds two")
    sf = _scale(groups.abs().amax(dim=2), _E2M1_MAX, use_ue8m0)
    codes = _e2m1_codes(groups * (1.0 / sf)[:, :, None]).view(m, groups.shape[1] * gran_k)[:, :n]
    return _pack_codes(codes), _packed(sf) if use_packed_ue8m0 else sf


def per_token_cast_to_nvfp4(
    x: torch.Tensor,
    gran_k: int = 16,
    use_packed_e4m3: bool = False,
    global_scale: float | torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, n] to packed e2m1 int8 [m, n / 2] with UE4M3 scales, one per row and gran_k columns; n a multiple
    of gran_k.

    An element is its code's value times its scale times global_scale (None: 1). A scale is the block's
    largest magnitude over 6 and over global_scale, rounded to e4m3, from 2^-9 to 448. Returned as float32 [m,
    n / gran_k], or with use_packed_e4m3 as int32 [m, ceil(n / (4 gran_k))] of four bytes, the last word
    filled with scales of 1.
    """
    import torch

    _check_matrix(x)
    m, n = x.shape
    if n % gran_k or n % 2:
        raise bad_argument("x.shape", tuple(x.shape), f"a multiple of {gran_k} columns, and an even number")
    outer = 1.0 if global_scale is None else global_scale
    groups = x.float().reshape(m, n // gran_k, gran_k) / outer
    sf = (groups.abs().amax(dim=2) / _E2M1_MAX).clamp(2.0**-9, _E4M3_MAX).to(torch.float8_e4m3fn)
    packed = _pack_codes(_e2m1_codes(groups / sf.float()[:, :, None]).view(m, n))
    if not use_packed_e4m3:
        return packed, sf.float()
    filled = torch.nn.functional.pad(sf.float(), (0, align(sf.shape[1], 4) - sf.shape[1]), value=1.0)
    return packed, filled.to(torch.float8_e4m3fn).view(torch.int32)


def transpose_packed_fp4(a: torch.Tensor) -> torch.Tensor:
    """Packed e2m1 int8 [m, n / 2] to its transpose, packed along m: int8 [n, m / 2]; m even."""
    if a.shape[0] % 2:
        raise bad_argument(
            "a.shape", tuple(a.shape), "an even number of rows: a byte of the result holds two"
        )
    return _pack_codes(_unpack_codes(a).T)


def cast_back_from_fp4(
    packed: torch.Tensor, sf: torch.Tensor, gran_k: int = 128, use_packed_ue8m0: bool = False
) -> torch.Tensor:
    """Packed e2m1 int8 [m, n / 2] times its scales, as per_token_cast_to_fp4 gives them, to float32 [m,
    n].
    """
    import torch

    values = torch.tensor((0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), device=packed.device)
    codes = _unpack_codes(packed)
    data = torch.cat((values, -values))[codes.int()]
    sf = unpack_ue8m0_from_int(sf) if use_packed_ue8m0 else sf.float()
    return data * _per_column(sf, data.shape[1], gran_k)


__getattr__ = names_of_other("utils.math")
