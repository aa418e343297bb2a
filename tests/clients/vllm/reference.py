"""What the answers must be: the formulas of the interface, in double precision.

Operands are data and scales as a checkpoint or a client has them; nothing here sees vLLM or the drop-in. Scales count as
exact: a UE8M0 byte b is 2^(b - 127), an FP32 scale is its value.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], dtype=torch.float64)
E2M1 = torch.cat([E2M1, -E2M1])


class Sums(NamedTuple):
    """Sums of products, and the sums of their absolute values: what a bound on rounding is a multiple of."""

    value: torch.Tensor
    magnitude: torch.Tensor


def numbers(data: torch.Tensor) -> torch.Tensor:
    """The elements of e4m3 data, or of e2m1 data packed two a byte with the even one in the low nibble."""
    if data.dtype in (torch.int8, torch.uint8):
        codes = data.view(torch.uint8).long()
        return E2M1[torch.stack([codes & 15, codes >> 4], -1).flatten(-2)]
    return data.float().double()


def powers(exponents: torch.Tensor) -> torch.Tensor:
    """UE8M0 bytes as numbers."""
    return torch.exp2(exponents.view(torch.uint8).double() - 127)


def spread(scales: torch.Tensor, rows: int, k: int, block: tuple[int, int]) -> torch.Tensor:
    """One scale per element, from scales [.., ceil(rows / block[0]), ceil(k / block[1])]."""
    return (
        scales.double()
        .repeat_interleave(block[0], -2)[..., :rows, :]
        .repeat_interleave(block[1], -1)[..., :k]
    )


def dequantised(data: torch.Tensor, scales: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    values = numbers(data)
    return values * spread(scales, values.shape[-2], values.shape[-1], block)


def unpacked(words: torch.Tensor, groups: int) -> torch.Tensor:
    """The bytes of packed scales [.., mn, words] as exponents [.., mn, groups], lowest byte first."""
    return (
        torch.stack([words >> 8 * byte & 255 for byte in range(4)], -1)
        .flatten(-2)[..., :groups]
        .to(torch.uint8)
    )


def product(a: torch.Tensor, b: torch.Tensor) -> Sums:
    """a b^T."""
    return Sums(a @ b.mT, a.abs() @ b.abs().mT)


def product_per_group(o: torch.Tensor, w: torch.Tensor) -> Sums:
    """bhr,hdr->bhd: o [tokens, groups, r], w [groups, d, r]."""
    sums = product(o.transpose(0, 1), w)
    return Sums(*(each.transpose(0, 1) for each in sums))


def without_rotation(o: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """o [tokens, heads, dim] turned back: pairs of the last elements as complex numbers, times the conjugate of
    cos + i sin [tokens, pairs]."""
    tail = 2 * cos.shape[-1]
    pairs = torch.view_as_complex(o[..., -tail:].double().unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.complex(cos.double(), -sin.double())[:, None]
    return torch.cat([o[..., :-tail].double(), torch.view_as_real(turned).flatten(-2)], -1)


def indexer_logits(q: torch.Tensor, k: torch.Tensor, k_scale: torch.Tensor, weights: torch.Tensor) -> Sums:
    """For q [tokens, heads, dim] and k [keys, dim]: sum over heads of weight * relu(q k), times the key's scale."""
    dots = torch.einsum("thd,nd->thn", q.float().double(), k.float().double()).relu()
    value = torch.einsum("thn,th->tn", dots, weights.double()) * k_scale.double()
    magnitude = torch.einsum(
        "thd,nd,th->tn", q.float().double().abs(), k.float().double().abs(), weights.double().abs()
    )
    return Sums(value, magnitude * k_scale.double().abs())


def hyper_connection_mix(x: torch.Tensor, fn: torch.Tensor) -> tuple[Sums, Sums]:
    """x fn^T, and the sum of squares of each row of x."""
    squares = x.double().square().sum(-1)
    return product(x.double(), fn.double()), Sums(squares, squares)
