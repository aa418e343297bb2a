"""tf32_hc_prenorm_gemm where implementations of this interface have been wrong or faulted: one test for each, which names it."""

from __future__ import annotations

import pytest
import reference as ref
import torch
from contract import POISON, device, notes, untouched  # noqa: F401
from test_hc_prenorm import operands, outputs, want

import deep_gemm
from deepwell import errors


def right(a, b, d, sqr_sum, splits) -> None:
    deep_gemm.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, splits)
    want_d, want_sqr = want(a, b, splits)
    assert torch.equal(d, want_d.float()) and torch.equal(sqr_sum, want_sqr.float())


@pytest.mark.parametrize("pitch", [25, 28, 31, 64])
@pytest.mark.parametrize("splits", [None, 2])
def test_the_pitch_of_the_result_counts_even_if_it_is_odd(pitch, splits):
    """Stores of two floats would fault where rows begin at odd floats."""
    a, b = operands(9, 24, 256)
    axes = () if splits is None else (splits,)
    wide, sums = torch.full((*axes, 9, pitch), POISON), torch.full((*axes, 9), POISON)
    right(a, b, wide[..., :24], sums, splits)
    assert untouched(wide[..., 24:])


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_result_may_begin_at_any_float(first):
    a, b = operands(5, 24, 256)
    storage = torch.full((5 * 24 + first,), POISON)
    d = storage[first:].view(5, 24)
    assert d.data_ptr() % 16 == 4 * first
    right(a, b, d, torch.full((5,), POISON), None)
    assert untouched(storage[:first])


@pytest.mark.parametrize("n", [1, 23, 24, 33, 128])
@pytest.mark.parametrize("k", [1, 63, 100, 640])
def test_sizes_that_are_no_multiple_of_anything(n, k):
    a, b = operands(3, n, k)
    right(a, b, *outputs(3, n, None), None)


@pytest.mark.parametrize("splits", [1, 3, 16, 37, 64])
def test_any_number_of_splits_that_serving_code_computes(splits):
    """SMs over tiles of tokens, at most 64: with fewer blocks of k than splits some parts are empty, and zero."""
    a, b = operands(5, 24, 1024)
    d, sqr_sum = outputs(5, 24, splits)
    right(a, b, d, sqr_sum, splits)
    if splits > 16:
        assert (d[16:] == 0).all() and (sqr_sum[16:] == 0).all()


def test_parts_of_k_are_those_of_the_definition():
    """The first parts have one block of 64 more: each part by itself, not only their sum."""
    a, b = operands(4, 24, 7 * 64)
    d, sqr_sum = outputs(4, 24, 3)
    right(a, b, d, sqr_sum, 3)
    first = a[:, : 3 * 64].double()
    assert torch.equal(sqr_sum[0], first.square().sum(-1).float())


def test_bits_that_tf32_does_not_have_are_dropped_from_weights():
    a, b = operands(4, 24, 512)
    d, sqr_sum = outputs(4, 24, None)
    right(a, b, d, sqr_sum, None)
    exact = (a.double() @ b.double().T).float()
    assert not torch.equal(d, exact), "the weights of this test have bits below TF32"


def test_two_calls_give_the_same_bits():
    generator = torch.Generator("cpu").manual_seed(5)
    a = torch.randn((33, 1024), generator=generator, device="cpu").to(torch.bfloat16).to(ref.DEVICE)
    b = torch.randn((24, 1024), generator=generator, device="cpu").to(ref.DEVICE)
    first, second = outputs(33, 24, 16), outputs(33, 24, 16)
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *first, 16)
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *second, 16)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_no_tokens_launch_nothing():
    a, b = operands(0, 24, 256)
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *outputs(0, 24, 4), 4)


@pytest.mark.parametrize(("n", "splits"), [(129, None), (24, 0), (24, -1), (24, 1025)])
def test_sizes_without_a_kernel_are_named_and_touch_nothing(n, splits):
    a, b = operands(4, n, 128)
    d, sqr_sum = outputs(4, n, splits if splits and splits > 0 else None)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, splits)
    assert caught.value.argument == ("b.shape" if n > 128 else "num_splits")
    assert untouched(d) and untouched(sqr_sum)
