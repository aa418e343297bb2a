"""Linear layers: vLLM quantises the activations and calls fp8_gemm_nt through its operator vllm::fp8_gemm_nt_op.

Activations are small integers, which e4m3 holds exactly under vLLM's scales: the answer is then exact, from the bf16
activation to the bf16 output, and compared bitwise.
"""

from __future__ import annotations

import judge
import layers
import operands
import pytest
import reference
import torch
from vllm.model_executor.kernels.linear.scaled_mm.deep_gemm import DeepGemmFp8BlockScaledMMKernel

TOKENS = (1, 3, 16, 33)
STEP = 2.0**-4  # of products: integers, powers of two from 1/4, quarters


def activations(generator: torch.Generator, tokens: int, k: int) -> torch.Tensor:
    """Integers from -7 to 7 with a 7 in every group of 128, so that FP32 scales (7 / 448) are powers of two too."""
    values = operands.integers(generator, (tokens, k), 7)
    values[:, 5::128] = 7
    return values


def apply(layer: layers.Layer, x: torch.Tensor) -> torch.Tensor:
    assert type(layer.kernel) is DeepGemmFp8BlockScaledMMKernel
    return layer.kernel.apply_weights(layer.module, x)


@pytest.mark.settings("default", "no-e8m0")
@pytest.mark.parametrize("quantiser", ["all", "none"])
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize(("n", "k"), [(256, 512), (192, 640)])
def test_integers_are_exact(generator, n, k, tokens, quantiser):
    """quantiser "all": packed scales by the compiled operator (in torch); "none": vLLM's own torch code, whose FP32 scales
    stand column by column without padding."""
    layer = layers.linear_layer(generator, n, k, custom_ops=quantiser)
    x = activations(generator, tokens, k)
    y = apply(layer, x.to(torch.bfloat16))
    judge.exact(y, reference.product(x, layer.weight), STEP)


@pytest.mark.settings("default", "no-e8m0")
def test_leading_axes(generator):
    layer = layers.linear_layer(generator, 128, 256)
    x = activations(generator, 6, 256)
    y = apply(layer, x.to(torch.bfloat16).view(2, 3, 256))
    want = reference.product(x, layer.weight)
    judge.exact(y, reference.Sums(*(each.view(2, 3, 128) for each in want)), STEP)


@pytest.mark.settings("default", "no-e8m0")
@pytest.mark.parametrize("tokens", [1, 33])
def test_real_numbers_are_within_the_bound(generator, tokens):
    """What vLLM's quantiser makes of normally distributed activations, against its own scales as exact numbers."""
    n, k = 192, 640
    layer = layers.linear_layer(generator, n, k)
    x = operands.real(generator, (tokens, k))
    data, scales = layer.kernel.quant_fp8(x)
    if scales.dtype == torch.int32:
        scales = reference.powers(reference.unpacked(scales, k // 128))
    a = reference.dequantised(data, scales, (1, 128))
    step = scales.double().repeat_interleave(128, 1)
    judge.within(
        a, x.double(), x.double().abs() / 16 + step * 2.0**-10, torch.float64, "quantised activations"
    )
    judge.close(apply(layer, x), reference.product(a, layer.weight), k)


@pytest.mark.settings("no-e8m0")
@pytest.mark.parametrize("tokens", TOKENS)
def test_fp32_weight_scales_are_used_as_they_are(generator, tokens):
    """1 to 7 quarters of powers of two: neither rounded nor packed."""
    n, k = 192, 640
    layer = layers.linear_layer(generator, n, k, "fraction")
    assert layer.module.weight_scale_inv.dtype == torch.float32
    x = activations(generator, tokens, k)
    judge.exact(apply(layer, x.to(torch.bfloat16)), reference.product(x, layer.weight), STEP)


@pytest.mark.settings("default", "no-e8m0")
@pytest.mark.parametrize("form", ["f32", "fraction"])
def test_checkpoints_with_fp32_scales(generator, form, setting):
    """The weight that vLLM has made of it, in `default` requantised to powers of two, times the activations."""
    n, k = 192, 640
    layer = layers.linear_layer(generator, n, k, form)
    scales = layer.module.weight_scale_inv.data
    if setting == "default":
        weight = reference.dequantised(
            layer.module.weight, reference.powers(reference.unpacked(scales, k // 128)), (1, 128)
        )
    else:
        weight = reference.dequantised(layer.module.weight, scales, layers.BLOCK)
    x = activations(generator, 16, k)
    judge.exact(apply(layer, x.to(torch.bfloat16)), reference.product(x, weight), 2.0**-9)


@pytest.mark.settings("default")
def test_operator_writes_its_output_and_nothing_else(generator):
    """The operator alone, into rows of a larger tensor; activation scales packed, their padding poisoned."""
    n, k, tokens = 192, 640, 5
    layer = layers.linear_layer(generator, n, k)
    x = activations(generator, tokens, k)
    data, words = layer.kernel.quant_fp8(x.to(torch.bfloat16))
    assert words.stride() == (1, 8)
    canvas = torch.full((tokens + 4, n), -77.0, dtype=torch.bfloat16)
    canvas[2:-2] = float("nan")
    torch.ops.vllm.fp8_gemm_nt_op(
        data, words, layer.module.weight, layer.module.weight_scale_inv, canvas[2:-2], True
    )
    judge.exact(canvas[2:-2], reference.product(x, layer.weight), STEP)
    assert (canvas[:2] == -77).all() and (canvas[-2:] == -77).all()


@pytest.mark.settings("default")
def test_same_answer_each_time(generator):
    layer = layers.linear_layer(generator, 192, 640)
    x = operands.real(generator, (33, 640))
    first = apply(layer, x)
    apply(layer, operands.real(generator, (33, 640)))
    judge.same(apply(layer, x), first)


@pytest.mark.settings("default")
def test_no_tokens(generator):
    layer = layers.linear_layer(generator, 128, 256)
    assert tuple(apply(layer, torch.empty(0, 256, dtype=torch.bfloat16)).shape) == (0, 128)


@pytest.mark.settings("default", "no-e8m0")
def test_warm_up_goes_through(generator, monkeypatch):
    """vLLM warms up with FP32 activation scales, all zero, beside the prepared weights."""
    from vllm.model_executor.warmup import deep_gemm_warmup

    monkeypatch.setenv("VLLM_DEEP_GEMM_WARMUP", "full")
    layer = layers.linear_layer(generator, 128, 256)
    weight, scales = layer.kernel.get_deep_gemm_warmup_weights(layer.module)
    deep_gemm_warmup.FP8_GEMM_NT_WARMUP_CACHE.clear()
    deep_gemm_warmup._deepgemm_fp8_gemm_nt_warmup(weight, scales, 20)
    assert weight.size() in deep_gemm_warmup.FP8_GEMM_NT_WARMUP_CACHE
