"""Weight scales as vLLM transforms them after loading, compared byte by byte."""

from __future__ import annotations

import judge
import layers
import operands
import pytest
import reference
import torch
from vllm.model_executor.layers.fused_moe.oracle.mxfp4 import _pack_deepgemm_mxfp4_scales
from vllm.model_executor.layers.quantization.utils.fp8_utils import deepgemm_post_process_fp8_weight_block


def up4(rows: int) -> int:
    return -(-rows // 4) * 4


def check_packed(words: torch.Tensor, exponents: torch.Tensor) -> None:
    """MN-major packed words hold these exponents [(groups,) rows, k groups]; spare bytes of the last word are 0."""
    *batch, rows, groups = exponents.shape
    num_words = -(-groups // 4)
    assert words.dtype == torch.int32 and tuple(words.shape) == (*batch, rows, num_words)
    strides = (1, up4(rows))
    assert words.stride() == ((num_words * up4(rows), *strides) if batch else strides)
    judge.same(reference.unpacked(words, groups), exponents, "packed exponents")
    spare = torch.stack([words >> 8 * byte & 255 for byte in range(4)], -1).flatten(-2)[..., groups:]
    assert not spare.any(), "spare bytes of the last word are not 0"


# k: a part of a word, whole words, words and a part; n: whole blocks and a part of one.
@pytest.mark.settings("default")
@pytest.mark.parametrize(("n", "k"), [(128, 128), (256, 512), (192, 640), (1536, 4096), (64, 1152)])
@pytest.mark.parametrize("form", ["e8m0", "uint8"])
def test_block_scales_of_a_linear_layer(generator, n, k, form):
    layer = layers.linear_layer(generator, n, k, "e8m0")  # draws the same numbers as below
    generator.manual_seed(generator.initial_seed())
    weight = operands.e4m3(operands.integers(generator, (n, k)))
    scales, _ = layers.block_scales(generator, n, k, form)
    prepared, words = deepgemm_post_process_fp8_weight_block(weight, scales, (128, 128), use_e8m0=True)
    exponents = scales.view(torch.uint8).repeat_interleave(128, 0)[:n]
    judge.same(prepared.float(), weight.float(), "weight")
    check_packed(words, exponents)
    check_packed(layer.module.weight_scale_inv.data, exponents)


@pytest.mark.settings("default")
@pytest.mark.parametrize("form", ["f32", "fraction"])
def test_fp32_block_scales_are_quantised_anew(generator, form):
    """vLLM requantises weights with FP32 scales to powers of two before it transforms them: the product of both must still
    be the weight, exactly where the scales were powers of two, else to half a unit of e4m3's last place."""
    values = operands.integers(generator, (256, 640))
    scales, scale_values = layers.block_scales(generator, 256, 640, form)
    want = values * reference.spread(scale_values, 256, 640, layers.BLOCK)
    weight, words = deepgemm_post_process_fp8_weight_block(
        operands.e4m3(values), scales, (128, 128), use_e8m0=True
    )
    assert words.dtype == torch.int32
    scale = reference.powers(reference.unpacked(words, 5))
    got = reference.dequantised(weight, scale, (1, 128))
    if form == "f32":
        judge.same(got, want, "weight times scale")
    judge.within(
        got,
        want,
        want.abs() / 16 + 2.0**-10 * scale.repeat_interleave(128, 1),
        torch.float64,
        "weight times scale",
    )


@pytest.mark.settings("default")
@pytest.mark.parametrize(("groups", "rows", "k"), [(2, 1024, 4096), (3, 128, 640)])
def test_wo_a_becomes_one_matrix_per_group(generator, groups, rows, k):
    layer = layers.linear_layer(generator, groups * rows, k, groups=groups)
    weight, words = layer.module.weight, layer.module.weight_scale_inv.data
    assert tuple(weight.shape) == (groups, rows, k)
    scale = reference.powers(reference.unpacked(words, k // 128))
    judge.same(
        reference.dequantised(weight, scale, (1, 128)),
        layer.weight.view(groups, rows, k),
        "weight times scale",
    )
    check_packed(words, reference.unpacked(words, k // 128))


@pytest.mark.settings("default")
@pytest.mark.parametrize(("hidden", "intermediate"), [(512, 256), (256, 384)])
def test_scales_of_fp4_experts(generator, hidden, intermediate):
    experts = 3
    w13, w2 = (
        operands.e2m1(generator, shape)
        for shape in ((experts, 2 * intermediate, hidden), (experts, hidden, intermediate))
    )
    scales13 = operands.exponents(generator, (experts, 2 * intermediate, hidden // 32), -8, 8)
    scales2 = operands.exponents(generator, (experts, hidden, intermediate // 32), -8, 8)
    for view in (torch.uint8, operands.E8M0):
        words13, words2 = _pack_deepgemm_mxfp4_scales(w13, w2, scales13.view(view), scales2.view(view))
        check_packed(words13, scales13)
        check_packed(words2, scales2)


@pytest.mark.settings("default")
def test_extreme_exponents_survive(generator):
    """Byte 0 is 2^-127, which vLLM's way through FP32 turns into 0 and packing into byte 0 again."""
    exponents = torch.randint(0, 255, (1, 256, 16), generator=generator, dtype=torch.uint8)
    exponents[0, 0, :4] = torch.tensor([0, 1, 254, 127], dtype=torch.uint8)
    w13, w2 = operands.e2m1(generator, (1, 256, 512)), operands.e2m1(generator, (1, 512, 128))
    scales2 = operands.exponents(generator, (1, 512, 4))
    words13, _ = _pack_deepgemm_mxfp4_scales(w13, w2, exponents, scales2)
    check_packed(words13, exponents)


@pytest.mark.settings("no-e8m0")
@pytest.mark.parametrize("form", ["e8m0", "f32", "fraction"])
def test_fp32_scales_stay_fp32(generator, form):
    """VLLM_USE_DEEP_GEMM_E8M0=0 asks for no cast: block scales come back as numbers, whatever the checkpoint has."""
    layer = layers.linear_layer(generator, 192, 640, form)
    scales = layer.module.weight_scale_inv.data
    assert scales.dtype == torch.float32 and tuple(scales.shape) == (2, 5)
    judge.same(
        reference.dequantised(layer.module.weight, scales, layers.BLOCK), layer.weight, "weight times scale"
    )


@pytest.mark.settings("no-e8m0")
def test_scales_of_fp4_experts_without_a_cast(generator):
    """The same setting asks so for FP4 experts too, where DeepGEMM itself knows no form of FP32 scales."""
    w13, w2 = operands.e2m1(generator, (3, 256, 512)), operands.e2m1(generator, (3, 512, 128))
    exponents13, exponents2 = (
        operands.exponents(generator, (3, *shape), -8, 8) for shape in ((256, 16), (512, 4))
    )
    for scales, exponents in zip(
        _pack_deepgemm_mxfp4_scales(w13, w2, exponents13, exponents2), (exponents13, exponents2)
    ):
        if scales.dtype == torch.int32:
            check_packed(scales, exponents)
        else:
            judge.same(scales.double(), reference.powers(exponents), "scales")
