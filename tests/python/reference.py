"""Operands that are exact in their formats, and products in double precision, independent of the library.

Values of e4m3 and e2m1 operands are small integers or halves, scales powers of two near 1: every product and sum is exact in FP32, so that
results compare bitwise after one rounding to d's type.
"""

from __future__ import annotations

import os

import torch

# Where tests put their tensors: the CPU, whose tensors run on emulated devices, or "cuda" (SM 9.0 or 12.x).
DEVICE = os.environ.get("DEEPWELL_TEST_DEVICE", "cpu")
torch.set_default_device(DEVICE)

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=torch.float64)


def integers(
    low: int, high: int, shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.int64
) -> torch.Tensor:
    """Random integers from low to high - 1, the same on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator, dtype=dtype, device="cpu").to(DEVICE)


def e4m3(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Integers from -8 to 8, different from row to row and from column to column."""
    return integers(-8, 9, shape, seed).float().to(torch.float8_e4m3fn)


def e2m1(rows: int, k: int, seed: int) -> torch.Tensor:
    """[rows, k / 2] int8, two codes a byte, the even element in the low half."""
    codes = integers(0, 16, (rows, k), seed, torch.uint8)
    return (codes[:, 0::2] | codes[:, 1::2] << 4).view(torch.int8)


def exponents(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Biased exponents of 1/4 to 4."""
    return integers(125, 130, shape, seed, torch.uint8)


def values(operand: torch.Tensor) -> torch.Tensor:
    """An operand's numbers in float64; int8 and uint8 are packed e2m1."""
    if operand.dtype in (torch.int8, torch.uint8):
        codes = operand.view(torch.uint8).long()
        return E2M1[torch.stack((codes & 15, codes >> 4), dim=-1).flatten(-2)]
    return operand.double()


def scale_values(exponent: torch.Tensor) -> torch.Tensor:
    return torch.exp2(exponent.double() - 127)


def spread(scale: torch.Tensor, gran_mn: int, gran_k: int, rows: int, k: int) -> torch.Tensor:
    """Natural scales [..., ceil(rows / gran_mn), ceil(k / gran_k)] -> one for each element [..., rows, k]."""
    out = scale.repeat_interleave(gran_mn, dim=-2).repeat_interleave(gran_k, dim=-1)
    return out[..., :rows, :k]


def packed(exponent: torch.Tensor) -> torch.Tensor:
    """Exponents [..., rows, groups of k] -> int32 [..., rows, words], column by column, pitch a multiple of 4; padding poisoned."""
    rows, columns = exponent.shape[-2:]
    words, pitch = (columns + 3) // 4, (rows + 3) // 4 * 4
    padded = torch.zeros((*exponent.shape[:-1], words * 4), dtype=torch.int64)
    padded[..., :columns] = exponent
    word = padded.unflatten(-1, (words, 4)) << torch.tensor([0, 8, 16, 24])
    word = word.sum(-1)
    word = torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)
    out = torch.full((*exponent.shape[:-2], words, pitch), -1, dtype=torch.int32).transpose(-1, -2)[
        ..., :rows, :
    ]
    out.copy_(word)
    return out


def scale_forms(exponent: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same scales in every form that a caller may have."""
    return {
        "float32": scale_values(exponent).float(),
        "e8m0": exponent.view(torch.float8_e8m0fnu),
        "uint8": exponent,
        "packed": packed(exponent),
    }


def gemm(
    a, exponent_a, b, exponent_b, gran_a: tuple[int, int], gran_b: tuple[int, int], c=None
) -> torch.Tensor:
    """a b^T (+ c) in float64 with both operands dequantised."""
    left, right = values(a), values(b)
    rows, k = left.shape[-2:]
    left = left * spread(scale_values(exponent_a), *gran_a, rows, k)
    right = right * spread(scale_values(exponent_b), *gran_b, right.shape[-2], k)
    out = left @ right.transpose(-1, -2)
    return out if c is None else out + c.double()


def forget_notes() -> None:
    """What earlier tests have made kernels note is told."""
    import deepwell

    while True:
        try:
            deepwell.raise_notes()
            return
        except deepwell.errors.BadArgumentError:
            pass
