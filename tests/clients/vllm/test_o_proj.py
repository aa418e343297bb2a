"""o_proj: vLLM undoes the rotation, quantises per group of heads, and calls fp8_einsum with wo_a's weight and scales.

Weights come in three dimensions where vLLM's DeepGEMM kernel has prepared them, in two where any other linear kernel has;
scales packed, as UE8M0 bytes or in FP32. vLLM passes the activation scales packed and the recipe (1, 1, 128) in every case.
"""

from __future__ import annotations

import judge
import layers
import operands
import pytest
import reference
import torch
from vllm.model_executor.layers.fusion.quant_activation import QuantizedActivation
from vllm.models.deepseek_v4.nvidia.ops import o_proj

STEP = 2.0**-4
FORMS = {  # of wo_a: dimensions of the weight, form of its scales
    "3d-packed": (3, "packed"),
    "3d-e8m0": (3, "e8m0"),
    "3d-f32": (3, "f32"),
    "3d-fraction": (3, "fraction"),
    "2d-packed": (2, "packed"),
    "2d-e8m0": (2, "e8m0"),
    "2d-f32": (2, "f32"),
    "2d-fraction": (2, "fraction"),
    "2d-uint8": (2, "uint8"),
}


def quantised_activation(
    values: torch.Tensor, generator: torch.Generator
) -> tuple[QuantizedActivation, torch.Tensor]:
    """values [tokens, groups, k], integers, in the layout of vLLM's kernels: groups outermost, scales packed with the
    tokens next to each other. Returns also what they stand for: random powers of two are the scales."""
    tokens, groups, k = values.shape
    exponents = operands.exponents(generator, (groups, tokens, k // 128))
    data = torch.empty(groups, tokens, k, dtype=operands.E4M3).transpose(0, 1)
    data.copy_(operands.e4m3(values))
    padded = -(-tokens // 4) * 4
    words = torch.empty(groups, k // 512, padded, dtype=torch.int32).permute(2, 0, 1)[:tokens]
    bytes_ = exponents.view(groups, tokens, k // 512, 4).int()
    packed = sum(bytes_[..., byte] << 8 * byte for byte in range(4))
    words.copy_(packed.transpose(0, 1))
    activation = QuantizedActivation(
        data=data,
        scale=words,
        orig_dtype=torch.bfloat16,
        orig_shape=data.shape,
        quant_key=o_proj.kFp8Dynamic128Sym,
    )
    scale = reference.powers(exponents).transpose(0, 1).repeat_interleave(128, -1)
    return activation, values * scale


def wo_a(
    generator: torch.Generator, groups: int, rows: int, k: int, form: str
) -> tuple[torch.nn.Module, torch.Tensor]:
    """wo_a in one of FORMS, and its weight [groups, rows, k] in double precision."""
    dimensions, scale_form = FORMS[form]
    if scale_form == "packed":
        layer = layers.linear_layer(generator, groups * rows, k, groups=groups if dimensions == 3 else 0)
        assert layer.module.weight.dim() == dimensions
        assert layer.module.weight_scale_inv.dtype == torch.int32
        return layer.module, layer.weight.view(groups, rows, k)
    values = operands.integers(generator, (groups * rows, k))
    scales, scale_values = layers.block_scales(generator, groups * rows, k, scale_form)
    weight = operands.e4m3(values)
    if dimensions == 3:
        weight, scales = weight.view(groups, rows, k), scales.view(groups, rows // 128, k // 128)
    dequantised = values * reference.spread(scale_values, groups * rows, k, layers.BLOCK)
    return layers.raw_layer(weight, scales, groups), dequantised.view(groups, rows, k)


def project(
    o, module, groups: int, rows: int, *, positions=None, table=None, head_dim=512, rope_dim=64, heads=8
):
    """vLLM's o_proj with wo_b left out: [tokens, groups, rows]."""
    recipe, tma_aligned = o_proj.compute_fp8_einsum_recipe()
    assert recipe == (1, 1, 128) and tma_aligned
    z = o_proj.deep_gemm_fp8_o_proj(
        o,
        positions,
        table,
        module,
        lambda z: z,
        n_groups=groups,
        heads_per_group=heads,
        nope_dim=head_dim - rope_dim,
        rope_dim=rope_dim,
        o_lora_rank=rows,
        einsum_recipe=recipe,
        tma_aligned_scales=tma_aligned,
    )
    return z.view(-1, groups, rows)


@pytest.mark.settings("default")
@pytest.mark.parametrize("tokens", [1, 3, 16, 33])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_weight(generator, form, tokens):
    groups, rows, k = 2, 128, 512
    module, weight = wo_a(generator, groups, rows, k, form)
    o, values = quantised_activation(operands.integers(generator, (tokens, groups, k)), generator)
    z = project(o, module, groups, rows)
    judge.exact(z, reference.product_per_group(values, weight), 2.0**-6)


@pytest.mark.settings("default")
@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize(
    ("groups", "form"), [(1, "3d-packed"), (1, "2d-e8m0"), (1, "2d-packed"), (3, "3d-packed"), (3, "2d-f32")]
)
def test_two_words_of_scales(generator, groups, form, tokens):
    """One group is what a board has where eight share V4-Flash."""
    module, weight = wo_a(generator, groups, 256, 1024, form)
    o, values = quantised_activation(operands.integers(generator, (tokens, groups, 1024)), generator)
    judge.exact(project(o, module, groups, 256), reference.product_per_group(values, weight), STEP)


@pytest.mark.settings("default")
@pytest.mark.parametrize(("form", "groups"), [("3d-packed", 8), ("2d-e8m0", 2)])
def test_size_of_v4_flash(generator, form, groups):
    """4096 to 1024 for 8 groups, or the 2 of one of four boards, out of 16 that vLLM's own allocation has: the others hold
    NaN."""
    rows, k, tokens = 1024, 4096, 2
    module, weight = wo_a(generator, groups, rows, k, form)
    o = o_proj.rope_quant_attn_out(tokens, torch.device("cpu"))
    assert tuple(o.data.shape) == (tokens, 16, k) and o.scale.stride() == (1, 8 * 4, 4)
    live, values = quantised_activation(operands.integers(generator, (tokens, groups, k), 2), generator)
    o.data[:, :groups].copy_(live.data)
    o.scale[:, :groups].copy_(live.scale)
    judge.exact(project(o, module, groups, rows), reference.product_per_group(values, weight), STEP)


@pytest.mark.settings("default")
def test_real_numbers_are_within_the_bound(generator):
    groups, rows, k, tokens = 2, 256, 1024, 17
    module, weight = wo_a(generator, groups, rows, k, "3d-packed")
    data = torch.randn(tokens, groups, k, generator=generator).to(operands.E4M3)
    o, values = quantised_activation(data.double(), generator)
    judge.close(project(o, module, groups, rows), reference.product_per_group(values, weight), k)


@pytest.mark.settings("default", "no-deep-gemm", "no-e8m0")
@pytest.mark.parametrize("form", ["3d-packed", "2d-e8m0", "2d-f32"])
def test_from_attention_output(generator, form, setting, o_proj_kernel):
    """From bf16 attention output, with rotations by multiples of 90 degrees, which are exact."""
    if FORMS[form][1] == "packed" and setting != "default":
        form = "3d-e8m0"
    tokens, groups, heads, head_dim, rope_dim, rows = 5, 2, 2, 512, 64, 128
    module, weight = wo_a(generator, groups, rows, heads * head_dim, form)
    quarter_turns = torch.randint(0, 4, (9, rope_dim // 2), generator=generator)
    cos, sin = (
        torch.tensor([1.0, 0.0, -1.0, 0.0])[quarter_turns],
        torch.tensor([0.0, 1.0, 0.0, -1.0])[quarter_turns],
    )
    positions = torch.tensor([8, 0, 3, 3, 5])
    o = operands.integers(generator, (tokens, groups * heads, head_dim), 7)
    z = project(
        o.to(torch.bfloat16),
        module,
        groups,
        rows,
        positions=positions,
        table=torch.cat([cos, sin], -1),
        head_dim=head_dim,
        rope_dim=rope_dim,
        heads=heads,
    )
    turned = reference.without_rotation(o, cos[positions], sin[positions])
    judge.exact(z, reference.product_per_group(turned.view(tokens, groups, -1), weight), STEP)


@pytest.mark.settings("no-e8m0")
@pytest.mark.parametrize("form", ["f32", "fraction"])
def test_without_e8m0_vllm_leaves_fp32_scales(generator, form):
    """VLLM_USE_DEEP_GEMM_E8M0=0: the DeepGEMM kernel prepares wo_a with FP32 scales, o_proj still passes packed ones."""
    groups, rows, k, tokens = 2, 256, 512, 5
    layer = layers.linear_layer(generator, groups * rows, k, form, groups=groups)
    assert layer.module.weight.dim() == 3 and layer.module.weight_scale_inv.dtype == torch.float32
    o, values = quantised_activation(operands.integers(generator, (tokens, groups, k)), generator)
    want = reference.product_per_group(values, layer.weight.view(groups, rows, k))
    judge.exact(project(o, layer.module, groups, rows), want, 2.0**-6)


@pytest.mark.settings("no-deep-gemm")
@pytest.mark.parametrize("form", ["e8m0", "f32"])
def test_without_deep_gemm_the_weight_stays_flat(generator, form):
    """VLLM_USE_DEEP_GEMM=0: another kernel prepares wo_a and leaves it in two dimensions; o_proj calls fp8_einsum
    nevertheless, which in DeepGEMM itself ends with `t.dim() == N`."""
    groups, rows, k, tokens = 2, 256, 512, 5
    layer = layers.linear_layer(generator, groups * rows, k, form, groups=groups)
    assert layer.module.weight.dim() == 2
    assert layer.module.weight_scale_inv.dtype == (operands.E8M0 if form == "e8m0" else torch.float32)
    o, values = quantised_activation(operands.integers(generator, (tokens, groups, k)), generator)
    want = reference.product_per_group(values, layer.weight.view(groups, rows, k))
    judge.exact(project(o, layer.module, groups, rows), want, STEP)
