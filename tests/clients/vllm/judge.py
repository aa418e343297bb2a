"""Verdicts on results. All of them fail for NaN, which is what memory holds that nobody has written (conftest.py).

What a tensor core of SM 12.x may lose over k products of one element's sum, with S the sum of their absolute values: per
step of 32 products at most 33 addends lose 2^-25 S each, and the accumulator 2^-23 S when it is truncated to FP32. That is
less than 1.2 * 2^-25 S a product; FP32 scales applied outside add less than 2^-22 S a group of 128. Together less than
k 2^-24 S. On top comes the rounding of the output, half a unit of its last place.
"""

from __future__ import annotations

import torch
from reference import Sums

HALF_UNIT = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}  # relative, at most


def _complain(wrong: torch.Tensor, got: torch.Tensor, want: torch.Tensor, what: str) -> None:
    if not wrong.any():
        return
    places = wrong.nonzero()
    shown = [
        f"{tuple(place)}: {got[tuple(place)].item()!r}, not {want[tuple(place)].item()!r}"
        for place in places[:4].tolist()
    ]
    unwritten = int(got.isnan().sum()) if got.is_floating_point() else 0
    notes = [f"{unwritten} are NaN"] if unwritten else []
    if not got.any():
        notes.append("all are zero")
    raise AssertionError(
        f"{what}: {len(places)} of {want.numel()} elements of {tuple(want.shape)} are wrong"
        + "".join(f", {note}" for note in notes)
        + "; "
        + "; ".join(shown)
    )


def _check_form(got: torch.Tensor, shape: torch.Size, dtype: torch.dtype, what: str) -> None:
    assert tuple(got.shape) == tuple(shape), f"{what}: shape {tuple(got.shape)}, not {tuple(shape)}"
    assert got.dtype == dtype, f"{what}: {got.dtype}, not {dtype}"


def same(got: torch.Tensor, want: torch.Tensor, what: str = "result") -> None:
    """Equal in shape, type and every element."""
    _check_form(got, want.shape, want.dtype, what)
    _complain(~(got == want), got, want, what)


def exact(
    got: torch.Tensor, want: Sums, step: float, dtype: torch.dtype = torch.bfloat16, what: str = "result"
) -> None:
    """The exact sums, rounded once. `step`: all products are multiples of it, so that no sum can lose anything."""
    assert want.magnitude.max() < 2.0**24 * step, "the inputs of this test are too large for exact sums"
    assert torch.equal(torch.round(want.value / step) * step, want.value), (
        "the inputs of this test have smaller steps"
    )
    assert want.value.any() and want.value.unique().numel() > 8, "the inputs of this test hardly differ"
    same(got, want.value.float().to(dtype), what)


def bound(want: Sums, k: int, dtype: torch.dtype) -> torch.Tensor:
    """How far a correct result may be off."""
    loss = k * 2.0**-24 * want.magnitude
    return loss + HALF_UNIT[dtype] * (want.value.abs() + loss)


def close(
    got: torch.Tensor, want: Sums, k: int, dtype: torch.dtype = torch.bfloat16, what: str = "result"
) -> None:
    """Within the bound for sums of k products."""
    within(got, want.value, bound(want, k, dtype), dtype, what)


def within(
    got: torch.Tensor, want: torch.Tensor, limit: torch.Tensor, dtype: torch.dtype, what: str = "result"
) -> None:
    """Of this type, and nowhere farther from `want` than `limit`, which must be small enough to tell right from wrong."""
    _check_form(got, want.shape, dtype, what)
    assert limit.mean() < want.abs().mean() / 8, f"{what}: the bound of this test accepts anything"
    _complain(~((got.double() - want).abs() <= limit), got, want, what)
