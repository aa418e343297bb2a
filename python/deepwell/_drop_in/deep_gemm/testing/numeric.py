"""Comparisons of results, and the bytes that a call moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._forward import names_of_other

if TYPE_CHECKING:
    import torch


def calc_diff(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor | float:
    """1 - 2 <x, y> / (<x, x> + <y, y>) in float64: 0 for equal tensors, 1 for orthogonal ones. 0.0 if both
    are zero.
    """
    x, y = x.double(), y.double()
    total = (x * x + y * y).sum()
    if total == 0:
        return 0.0
    return 1 - 2 * (x * y).sum() / total


def count_bytes(*tensors: Any) -> int:
    """Bytes of all tensors in nested tuples and lists; None counts nothing."""
    total = 0
    for each in tensors:
        if isinstance(each, (tuple, list)):
            total += count_bytes(*each)
        elif each is not None:
            total += each.numel() * each.element_size()
    return total


def assert_bitwise_equal(x: torch.Tensor, y: torch.Tensor, label: str = "") -> None:
    """Raises AssertionError, naming how many elements differ and the first of them, unless all bits are
    equal.
    """
    import torch

    prefix = f"{label}: " if label else ""
    assert x.shape == y.shape and x.dtype == y.dtype, (
        f"{prefix}{tuple(x.shape)} {x.dtype} is not comparable with {tuple(y.shape)} {y.dtype}"
    )
    size = x.element_size()
    left, right = (each.contiguous().reshape(-1, 1).view(torch.uint8).view(-1, size) for each in (x, y))
    different = (left != right).any(dim=1)
    if different.any():
        first = int(different.int().argmax())
        raise AssertionError(
            f"{prefix}{int(different.sum())} of {x.numel()} elements differ, the first at {first}: "
            f"{x.reshape(-1)[first].item()} and {y.reshape(-1)[first].item()}"
        )


__getattr__ = names_of_other("testing.numeric")
