"""The judge itself: wrong answers planted between vLLM and the drop-in are rejected, and so are tests that show nothing."""

from __future__ import annotations

import judge
import layers
import operands
import pytest
import reference
import served
import test_linear
import test_o_proj
import torch
import vllm.utils.deep_gemm as wrappers

pytestmark = pytest.mark.settings("default")


def zero(d, right):
    d.zero_()


def transposed(d, right):
    d.copy_(right.mT.reshape(right.shape))


def half_written(d, right):
    d[..., : d.shape[-1] // 2] = right[..., : d.shape[-1] // 2]


def last_row_missing(d, right):
    d[:-1] = right[:-1]


def unwritten(d, right):
    pass


def rows_swapped(d, right):
    d.copy_(right.flip(0))


def one_element_off(d, right):
    d.copy_(right)
    d.view(-1)[-1] *= 1.01


DAMAGES = [zero, transposed, half_written, last_row_missing, unwritten, rows_swapped, one_element_off]


def plant(monkeypatch, name: str, damage) -> None:
    """The function that vLLM has bound computes into a tensor of ours; the caller's output gets a damaged answer."""
    wrappers._lazy_init()
    function = getattr(wrappers, name)
    position = 2 if name == "_fp8_gemm_nt_impl" else 3

    def damaged(*args, **kwargs):
        right = torch.empty_like(args[position])
        function(*args[:position], right, *args[position + 1 :], **kwargs)
        damage(args[position], right)

    monkeypatch.setattr(wrappers, name, damaged)


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_linear_layers_are_rejected(generator, monkeypatch, damage):
    plant(monkeypatch, "_fp8_gemm_nt_impl", damage)
    with pytest.raises(AssertionError, match="elements of .* are wrong"):
        test_linear.test_integers_are_exact(generator, 192, 640, 3, "all")


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_projections_are_rejected(generator, monkeypatch, damage):
    plant(monkeypatch, "_fp8_einsum_impl", damage)
    with pytest.raises(AssertionError, match="elements of .* are wrong"):
        test_o_proj.test_forms_of_the_weight(generator, "2d-e8m0", 3)


@pytest.mark.parametrize("damage", [zero, transposed, half_written, unwritten, rows_swapped])
def test_wrong_real_numbers_are_rejected(generator, monkeypatch, damage):
    plant(monkeypatch, "_fp8_gemm_nt_impl", damage)
    with pytest.raises(AssertionError, match="elements of .* are wrong"):
        test_linear.test_real_numbers_are_within_the_bound(generator, 33)


def test_answer_of_the_previous_call_is_rejected(generator):
    """What memory still holds from the call before, with the same weight and other activations."""
    layer = layers.linear_layer(generator, 192, 640)
    first, second = (test_linear.activations(generator, 3, 640) for _ in range(2))
    stale = test_linear.apply(layer, first.to(torch.bfloat16))
    with pytest.raises(AssertionError, match="are wrong"):
        judge.exact(stale, reference.product(second, layer.weight), test_linear.STEP)


def test_scales_of_the_wrong_rows_or_groups_are_rejected(generator):
    exponents = operands.exponents(generator, (192, 5))
    values = operands.integers(generator, (3, 640)), operands.integers(generator, (192, 640))
    right = reference.product(
        values[0], values[1] * reference.spread(reference.powers(exponents), 192, 640, (1, 128))
    )
    for wrong in (
        exponents.flip(0),
        exponents.flip(1),
        exponents.roll(1, 1),
        torch.full_like(exponents, 127),
    ):
        result = values[0] @ (values[1] * reference.spread(reference.powers(wrong), 192, 640, (1, 128))).T
        with pytest.raises(AssertionError, match="are wrong"):
            judge.exact(result.to(torch.bfloat16), right, 0.25)


def test_shape_and_type_are_part_of_the_answer(generator):
    want = reference.product(operands.integers(generator, (4, 64)), operands.integers(generator, (16, 64)))
    right = want.value.to(torch.bfloat16)
    judge.exact(right, want, 1.0)
    for wrong in (right.float(), right[:3], right.view(2, 2, 16)):
        with pytest.raises(AssertionError):
            judge.exact(wrong, want, 1.0)


def test_inputs_that_show_nothing_are_rejected(generator):
    ones = torch.ones(4, 64).double()
    with pytest.raises(AssertionError, match="hardly differ"):
        judge.exact((ones @ ones.T).to(torch.bfloat16), reference.product(ones, ones), 1.0)
    large = operands.integers(generator, (4, 64), 100_000)
    with pytest.raises(AssertionError, match="too large"):
        judge.exact((large @ large.T).float(), reference.product(large, large), 1.0, torch.float32)
    noise = reference.Sums(torch.randn(8, 8, generator=generator).double(), torch.full((8, 8), 1e6).double())
    with pytest.raises(AssertionError, match="accepts anything"):
        judge.close(noise.value.to(torch.bfloat16), noise, 4096)


def test_packed_bytes_by_hand():
    words = torch.tensor([[0x04030201, 0x7F]], dtype=torch.int32)
    assert reference.unpacked(words, 5).tolist() == [[1, 2, 3, 4, 127]]
    assert reference.unpacked(torch.tensor([[-1]], dtype=torch.int32), 4).tolist() == [[255] * 4]
    assert reference.powers(torch.tensor([0, 127, 254], dtype=torch.uint8)).tolist() == [
        2.0**-127,
        1.0,
        2.0**127,
    ]
    assert reference.numbers(torch.tensor([[0x92]], dtype=torch.uint8)).tolist() == [[1.0, -0.5]]


def test_fresh_memory_is_poisoned():
    assert torch.empty(8, dtype=torch.bfloat16).isnan().all()
    assert (torch.empty_strided((3, 2), (1, 4), dtype=torch.int32) == 2**31 - 1).all()


def test_errors_of_other_kinds_are_not_taken_for_missing_kernels():
    name = next(iter(served.SERVED))
    for error in (RuntimeError("no kernels"), NotImplementedError(name), TypeError(name)):
        with pytest.raises(AssertionError):
            served.check_error(name, error)
