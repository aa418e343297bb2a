"""Inputs of tests: random, different in every row and column, and exact in their formats."""

from __future__ import annotations

import torch

E8M0 = torch.float8_e8m0fnu
E4M3 = torch.float8_e4m3fn


def integers(generator: torch.Generator, shape: tuple[int, ...], largest: int = 4) -> torch.Tensor:
    """Integers from -largest to largest, as doubles."""
    return torch.randint(-largest, largest + 1, shape, generator=generator).double()


def e4m3(values: torch.Tensor) -> torch.Tensor:
    """Numbers that e4m3 holds exactly."""
    data = values.float().to(E4M3)
    assert torch.equal(data.float().double(), values), "not exact in e4m3"
    return data


def e2m1(generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Any codes, two a byte: uint8 [.., k / 2], as checkpoints have them."""
    return torch.randint(0, 256, (*shape[:-1], shape[-1] // 2), generator=generator, dtype=torch.uint8)


def exponents(
    generator: torch.Generator, shape: tuple[int, ...], low: int = -2, high: int = 2
) -> torch.Tensor:
    """UE8M0 bytes of the powers of two from 2^low to 2^high."""
    return torch.randint(127 + low, 128 + high, shape, generator=generator, dtype=torch.uint8)


def real(generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Normally distributed numbers, as bf16."""
    return torch.randn(shape, generator=generator).to(torch.bfloat16)
