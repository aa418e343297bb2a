"""The shipped kernels from Python: every operand pair, scale form and shape of call, bitwise against double precision.

On CPU tensors, which run on emulated boards; with DEEPWELL_TEST_DEVICE=cuda the same on a GPU.
"""

from __future__ import annotations

import contextlib

import pytest
import reference as ref
import torch

import deep_gemm
import deepwell
from deepwell import errors

POISON = -12345.0


EMULATED = ref.DEVICE == "cpu"


@pytest.fixture(params=["emu:sm_120a", "emu:sm_121a"] if EMULATED else ["cuda"], autouse=True)
def device(request):
    if not EMULATED:
        yield request.param
        return
    with deepwell.device(request.param):
        yield request.param


def block_scaled() -> bool:
    """Whether FP32 scales are packed for the device; on SM 9.0 they stay."""
    return EMULATED or torch.cuda.get_device_capability()[0] >= 10


def operand(kind: str, rows: int, k: int, seed: int) -> torch.Tensor:
    return ref.e4m3((rows, k), seed) if kind == "fp8" else ref.e2m1(rows, k, seed)


@pytest.mark.parametrize("kind_b", ["fp8", "fp4"])
@pytest.mark.parametrize("kind_a", ["fp8", "fp4"])
@pytest.mark.parametrize("form_a", ["float32", "e8m0", "uint8", "packed"])
def test_gemm_takes_every_pair_and_scale_form(kind_a, kind_b, form_a):
    m, n, k = 5, 72, 256
    a, b = operand(kind_a, m, k, 1), operand(kind_b, n, k, 2)
    exponent_a, exponent_b = ref.exponents((m, k // 128), 3), ref.exponents((n, k // 32), 4)
    want = ref.gemm(a, exponent_a, b, exponent_b, (1, 128), (1, 32))
    for form_b, scale_b in ref.scale_forms(exponent_b).items():
        d = torch.full((m, n), POISON, dtype=torch.float32)
        deep_gemm.fp8_fp4_gemm_nt(
            (a, ref.scale_forms(exponent_a)[form_a]), (b, scale_b), d, recipe_a=(1, 128), recipe_b=(1, 32)
        )
        assert torch.equal(d, want.float()), f"scales of b as {form_b}"


@pytest.mark.parametrize("m", [1, 3, 16, 33, 130])
def test_linear_as_serving_code_calls_it(m):
    n, k = 192, 256
    a, b = ref.e4m3((m, k), 1), ref.e4m3((n, k), 2)
    exponent_a, exponent_b = ref.exponents((m, k // 128), 3), ref.exponents((2, k // 128), 4)
    weight_scale = deep_gemm.transform_sf_into_required_layout(
        sf=ref.scale_values(exponent_b).float()[None],
        mn=n,
        k=k,
        recipe=(1, 128, 128),
        num_groups=1,
        is_sfa=False,
        disable_ue8m0_cast=False,
    )[0]
    if block_scaled():
        assert weight_scale.dtype == torch.int32 and weight_scale.shape == (n, 1)
    else:
        assert weight_scale.dtype == torch.float32 and weight_scale.shape == (2, k // 128)
    d = torch.full((m, n), POISON, dtype=torch.bfloat16)
    deep_gemm.fp8_gemm_nt((a, ref.packed(exponent_a)), (b, weight_scale), d, disable_ue8m0_cast=False)
    want = ref.gemm(a, exponent_a, b, exponent_b, (1, 128), (128, 128))
    assert torch.equal(d, want.to(torch.bfloat16))


def test_strided_output_and_addend_keep_what_lies_between():
    m, n, k = 7, 40, 128
    a, b = ref.e4m3((m, k), 1), ref.e4m3((n, k), 2)
    exponent_a, exponent_b = ref.exponents((m, 1), 3), ref.exponents((n, 1), 4)
    storage = torch.full((m + 2, n + 24), POISON, dtype=torch.float32)
    d = storage[1:-1, 8 : 8 + n]
    c = ref.integers(-100, 100, (m, n), 5).float()
    deep_gemm.fp8_gemm_nt(
        (a, ref.packed(exponent_a)), (b, ref.packed(exponent_b)), d, c=c, recipe=(1, 1, 128)
    )
    want = ref.gemm(a, exponent_a, b, exponent_b, (1, 128), (1, 128), c)
    assert torch.equal(d, want.float())
    untouched = torch.ones_like(storage, dtype=torch.bool)
    untouched[1:-1, 8 : 8 + n] = False
    assert bool((storage[untouched] == POISON).all())
    before = d.clone()
    deep_gemm.fp8_gemm_nt(
        (a, ref.packed(exponent_a)), (b, ref.packed(exponent_b)), d, c=d, recipe=(1, 1, 128)
    )
    assert torch.equal(d, (before.double() + want - c.double()).float())


@pytest.mark.parametrize("form", ["float32", "e8m0", "uint8", "packed"])
@pytest.mark.parametrize("two_axes", [False, True])
def test_o_proj(form, two_axes):
    tokens, groups, rows, r = 3, 2, 128, 256
    a, b = ref.e4m3((tokens, groups, r), 1), ref.e4m3((groups, rows, r), 2)
    exponent_a = ref.exponents((groups, tokens, r // 128), 3)
    exponent_b = ref.exponents((groups, rows if form == "packed" else 1, r // 128), 4)
    want = ref.gemm(
        a.float().transpose(0, 1), exponent_a, b, exponent_b, (1, 128), (1 if form == "packed" else 128, 128)
    )
    scale_b = ref.scale_forms(exponent_b)[form]
    scale_a = ref.packed(exponent_a).transpose(0, 1)
    weight = b
    if two_axes:
        weight = b.flatten(0, 1)
        scale_b = ref.packed(exponent_b.flatten(0, 1)) if form == "packed" else scale_b.flatten(0, 1)
    for call in ("deep_gemm", "deepwell", "operator"):
        z = torch.full((tokens, groups, rows), POISON, dtype=torch.bfloat16)
        if call == "deep_gemm":
            deep_gemm.fp8_einsum("bhr,hdr->bhd", (a, scale_a), (weight, scale_b), z, recipe=(1, 1, 128))
        elif call == "deepwell":
            deepwell.deepseek_v4_fp8_einsum(a, scale_a, weight, scale_b, z, "bhr,hdr->bhd", (1, 1, 128))
        else:
            z = torch.ops.deepwell.fp8_einsum(
                "bhr,hdr->bhd", a, scale_a, weight, scale_b, torch.bfloat16, None, [1, 1, 128]
            )
        assert torch.equal(z, want.transpose(0, 1).to(torch.bfloat16)), call


def test_layouts_bit_for_bit():
    exponent = ref.exponents((37, 5), 1)
    natural = ref.scale_values(exponent).float()
    want = ref.packed(exponent)
    got = deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor(natural)
    assert got.shape == want.shape and got.stride() == (1, 40) and torch.equal(got, want)
    column = deep_gemm.get_mn_major_tma_aligned_tensor(natural)
    assert column.stride() == (1, 40) and torch.equal(column, natural)
    assert deep_gemm.get_mn_major_tma_aligned_tensor(column) is column
    same = deep_gemm.transform_sf_into_required_layout(want, 37, 640, (1, 128))
    assert same is want


def test_empty_and_k_zero():
    d = torch.full((0, 8), POISON)
    scale = torch.empty((0, 1), dtype=torch.float32)
    deep_gemm.fp8_gemm_nt(
        (ref.e4m3((0, 128), 1), scale), (ref.e4m3((8, 128), 2), torch.ones(8, 1)), d, recipe=(1, 1, 128)
    )
    d = torch.full((4, 8), POISON)
    deep_gemm.fp8_gemm_nt(
        (ref.e4m3((4, 0), 1), torch.empty(4, 0)),
        (ref.e4m3((8, 0), 2), torch.empty(8, 0)),
        d,
        recipe=(1, 1, 128),
    )
    assert bool((d == 0).all())


def test_errors_carry_fields_and_leave_outputs_alone():
    a, b = ref.e4m3((4, 256), 1), ref.e4m3((8, 128), 2)
    d = torch.full((4, 8), POISON)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_gemm_nt((a, torch.ones(4, 2)), (b, torch.ones(8, 1)), d, recipe=(1, 1, 128))
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, ValueError)
    assert (
        caught.value.argument.startswith("b") and "256" in caught.value.expected and "128" in caught.value.got
    )
    assert bool((d == POISON).all())
    with pytest.raises(errors.BadTypeError) as caught:
        deep_gemm.fp8_gemm_nt((a, [1.0]), (a, torch.ones(4, 2)), d)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, RuntimeError)
    assert caught.value.argument == "scale_a" and caught.value.got == "list"
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_gemm_nt((a, torch.ones(4, 2)), (a, torch.ones(4, 2)), torch.zeros(4, 4), recipe=(1, 1))
    assert caught.value.argument == "recipe"
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_gemm_nt(
            (a, torch.ones(4, 2)),
            (a, torch.ones(4, 2)),
            torch.zeros(4, 4, dtype=torch.float16),
            recipe=(1, 1, 128),
        )
    assert caught.value.argument == "d.dtype"


def test_numbers_of_any_class():
    import numpy

    scale = torch.ones(4, 1)
    mn, k, recipe = numpy.int64(4), torch.tensor(128), (numpy.int64(1), numpy.int32(128))
    assert deep_gemm.transform_sf_into_required_layout(scale, mn, k, recipe).shape == (4, 1)
    with pytest.raises(errors.BadTypeError):
        deep_gemm.transform_sf_into_required_layout(scale, 4.0, 128, (1, 128))
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.transform_sf_into_required_layout(scale, 4, 128, (2**40, 128))
    assert caught.value.argument == "recipe" and caught.value.got == str(2**40)


def test_tensors_without_plain_memory_are_named():
    a, scale, d = ref.e4m3((4, 128), 1), torch.ones(4, 1), torch.zeros(4, 4)
    for wrong in (torch.empty(4, 1, device="meta"), torch.ones(4, 1).to_sparse()):
        with pytest.raises(errors.BadArgumentError) as caught:
            deep_gemm.fp8_gemm_nt((a, scale), (a, wrong), d, recipe=(1, 1, 128))
        assert caught.value.argument == "scale_b" and "\n" not in str(caught.value)


def test_text_ends_where_it_ends():
    a, scale, d = ref.e4m3((4, 2, 128), 1), torch.ones(4, 2, 1), torch.zeros(4, 2, 4)
    b, scale_b = ref.e4m3((2, 4, 128), 2), torch.ones(2, 1, 1)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_einsum("bhr,hdr->bhd\0junk", (a, scale), (b, scale_b), d)
    assert caught.value.argument == "expr"
    with pytest.raises(errors.BadArgumentError), deepwell.device("emu:sm_120a\0zz"):
        pass


def test_numbers_that_fit_nothing_are_bad_arguments():
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.transform_sf_into_required_layout(torch.ones(4, 1), 2**70, 128, (1, 128))
    assert caught.value.argument == "mn" and "64 bits" in caught.value.got


def test_without_a_device_the_error_says_how_to_choose_one(monkeypatch):
    monkeypatch.delenv("DEEPWELL_DEVICE", raising=False)
    token = deepwell._devices._chosen.set(None)
    try:
        with pytest.raises(errors.BadArgumentError) as caught:
            a, scale = ref.e4m3((4, 128), 1).cpu(), torch.ones(4, 1, device="cpu")
            deep_gemm.fp8_gemm_nt((a, scale), (a, scale), torch.zeros(4, 4, device="cpu"), recipe=(1, 1, 128))
        assert "DEEPWELL_DEVICE=emu:sm_120a" in caught.value.expected
        with pytest.raises(errors.BadArgumentError):
            with deepwell.device("cuda:0"):
                pass
    finally:
        deepwell._devices._chosen.reset(token)


def test_notes_say_that_scales_lost_bits():
    ref.forget_notes()
    natural = torch.full((4, 4), 3.0)
    deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor(natural)
    with pytest.raises(errors.BadArgumentError) as caught:
        deepwell.raise_notes()
    assert caught.value.argument == "lossy_scale"
    deepwell.raise_notes()  # told once
