"""The routed experts: vLLM's DeepGemmFP4Experts over two grouped products, and the wrappers of the FP8 ones.

Activations in the three formats, real routing, and alignment at rest afterwards.
"""

from __future__ import annotations

import types

import gpu_kernels
import judge
import operands
import pytest
import reference
import served
import torch
import vllm.utils.deep_gemm as wrappers
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.config import mxfp4_w4a8_moe_quant_config
from vllm.model_executor.layers.fused_moe.experts.deep_gemm_moe import DeepGemmFP4Experts
from vllm.model_executor.layers.fused_moe.oracle.mxfp4 import _pack_deepgemm_mxfp4_scales

CLAMP = 10.0


class Experts:
    """The weights of experts in double precision, each when it is asked for."""

    def __init__(self, codes: torch.Tensor, exponents: torch.Tensor):
        self.codes, self.exponents = codes, exponents

    def __getitem__(self, expert: int) -> torch.Tensor:
        return reference.dequantised(self.codes[expert], reference.powers(self.exponents[expert]), (1, 32))


def fp4_experts(generator, experts: int, hidden: int, intermediate: int):
    """vLLM's object with prepared scales, the weights as it gets them, and both weights in double precision."""
    w13 = operands.e2m1(generator, (experts, 2 * intermediate, hidden))
    w2 = operands.e2m1(generator, (experts, hidden, intermediate))
    scales13 = operands.exponents(generator, (experts, 2 * intermediate, hidden // 32), -6, -3)
    scales2 = operands.exponents(generator, (experts, hidden, intermediate // 32), -3, 0)
    words13, words2 = _pack_deepgemm_mxfp4_scales(w13, w2, scales13, scales2)
    quantisation = mxfp4_w4a8_moe_quant_config(words13, words2, gemm1_clamp_limit=CLAMP)
    module = object.__new__(
        DeepGemmFP4Experts
    )  # its constructor wants the whole configuration of a parallel model
    torch.nn.Module.__init__(module) if isinstance(module, torch.nn.Module) else None
    module.moe_config = types.SimpleNamespace(in_dtype=torch.bfloat16)
    module.quant_config, module.gemm1_clamp_limit = quantisation, CLAMP
    return module, (w13, w2), (Experts(w13, scales13), Experts(w2, scales2))


def routing(generator, tokens: int, experts: int, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.stack([torch.randperm(experts, generator=generator)[:top] for _ in range(tokens)]).int()
    return ids, torch.rand(tokens, top, generator=generator) + 0.25


def expected(values, ids, weights, w13, w2) -> tuple[torch.Tensor, torch.Tensor]:
    """The experts' answer and how far off it may be: the first product is exact, the activation is the one that also stands
    in for vLLM's kernel, the second product has its bound, and so has the weighted sum."""
    tokens, hidden = values.shape
    answer, limit = torch.zeros(tokens, hidden).double(), torch.zeros(tokens, hidden).double()
    for token in range(tokens):
        for expert, weight in zip(ids[token].tolist(), weights[token].double().tolist()):
            first = reference.product(values[token : token + 1], w13[expert])
            rounded = first.value.float().to(torch.bfloat16)
            data = torch.empty(1, first.value.shape[-1] // 2, dtype=operands.E4M3)
            data, words = gpu_kernels.silu_mul_quant_packed(
                input=rounded,
                output_q=data,
                group_size=128,
                clamp_limit=CLAMP,
                expert_ends=None,
                expert_alignment=0,
            )
            scale = reference.powers(reference.unpacked(words, data.shape[-1] // 128))
            second = reference.product(reference.dequantised(data, scale, (1, 128)), w2[expert])
            answer[token] += weight * second.value[0]
            limit[token] += weight * judge.bound(second, data.shape[-1], torch.bfloat16)[0]
    return answer, limit + judge.HALF_UNIT[torch.bfloat16] * (answer.abs() + limit) + ids.shape[
        1
    ] * 2.0**-23 * answer.abs()


def check_fp4_experts(
    generator, tokens: int, experts: int = 6, top: int = 3, hidden: int = 512, intermediate: int = 256
):
    """vLLM's own apply(): alignment query, permutation, both grouped products, activation, gathering."""
    module, (w13, w2), exact = fp4_experts(generator, experts, hidden, intermediate)
    ids, weights = routing(generator, tokens, experts, top)
    data = operands.e4m3(operands.integers(generator, (tokens, hidden)))
    scales = reference.powers(operands.exponents(generator, (tokens, hidden // 128)))
    shape13, shape2, _ = module.workspace_shapes(
        tokens, 2 * intermediate, hidden, top, experts, experts, None, MoEActivation.SILU
    )
    output = torch.empty(tokens, hidden, dtype=torch.bfloat16)
    result = served.call(
        "m_grouped_fp8_fp4_gemm_nt_contiguous",
        module.apply,
        output=output,
        hidden_states=data,
        w1=w13,
        w2=w2,
        topk_weights=weights,
        topk_ids=ids,
        activation=MoEActivation.SILU,
        global_num_experts=experts,
        expert_map=None,
        a1q_scale=scales.float(),
        a2_scale=None,
        workspace13=torch.empty(shape13, dtype=torch.bfloat16),
        workspace2=torch.empty(shape2, dtype=torch.bfloat16),
        expert_tokens_meta=None,
        apply_router_weight_on_input=False,
    )
    assert wrappers.get_mk_alignment_for_contiguous_layout() == [128, 128], "the alignment is back at rest"
    if result is served.MISSING:
        assert output.isnan().all()
        return
    values = reference.dequantised(data, scales, (1, 128))
    answer, limit = expected(values, ids, weights, *exact)
    judge.within(output, answer, limit, torch.bfloat16)


@pytest.mark.settings("default")
@pytest.mark.parametrize("tokens", [1, 5, 8, 64])
def test_fp4_experts(generator, tokens, expert_kernels):
    check_fp4_experts(generator, tokens)


@pytest.mark.settings("default")
@pytest.mark.parametrize("tokens", [1, 64])
def test_alignment_is_set_around_the_products_and_back_after_them(
    generator, tokens, expert_kernels, monkeypatch
):
    """Both products see the alignment that the query answered, which pads the rows; a failure restores it too."""
    experts, top = 6, 3
    answered = wrappers.get_theoretical_mk_alignment_for_contiguous_layout(tokens * top, experts)
    assert answered < 128, "else this test shows nothing"
    product, seen = wrappers._grouped_fp4_impl, []

    def watched(a, b, d, layout, **options):
        seen.append((wrappers.get_mk_alignment_for_contiguous_layout()[0], layout))
        return product(a, b, d, layout, **options)

    monkeypatch.setattr(wrappers, "_grouped_fp4_impl", watched)
    check_fp4_experts(generator, tokens)
    assert [alignment for alignment, _ in seen] == [answered, answered]
    for alignment, layout in seen:
        assert len(layout) % alignment == 0
        blocks = layout.view(-1, alignment)
        assert ((blocks == -1) | (blocks == blocks[:, :1])).all(), (
            "each block of the alignment has one expert"
        )
    assert wrappers.get_mk_alignment_for_contiguous_layout() == [128, 128]

    def broken(*arguments, **options):
        raise RuntimeError("planted")

    monkeypatch.setattr(wrappers, "_grouped_fp4_impl", broken)
    with pytest.raises(RuntimeError, match="planted"):
        check_fp4_experts(generator, tokens)
    assert wrappers.get_mk_alignment_for_contiguous_layout() == [128, 128]


def fp8_operands(generator, rows: int, experts: int, n: int, k: int):
    """Activations with FP32 scales, weights of each expert with packed ones, and both in double precision."""
    a, b = operands.integers(generator, (rows, k)), operands.integers(generator, (experts, n, k))
    scale_a = reference.powers(operands.exponents(generator, (rows, k // 128)))
    exponents_b = operands.exponents(generator, (experts, n // 128, k // 128))
    scale_b = reference.powers(exponents_b)
    words = wrappers.transform_sf_into_required_layout(
        sf=scale_b.float(), mn=n, k=k, recipe=(1, 128, 128), num_groups=experts, is_sfa=False
    )
    exact = a * reference.spread(scale_a, rows, k, (1, 128)), b * reference.spread(scale_b, n, k, (128, 128))
    return (operands.e4m3(a), scale_a.float()), (operands.e4m3(b), words), exact


@pytest.mark.settings("default")
def test_fp8_experts_contiguous(generator):
    """Segments of 128 rows, the last of which ends in padding."""
    experts, n, k, rows = 3, 128, 256, 384
    a, b, exact = fp8_operands(generator, rows, experts, n, k)
    owner = torch.tensor([2, 0, 1], dtype=torch.int32).repeat_interleave(128)
    owner[-50:] = -1
    out = torch.empty(rows, n, dtype=torch.bfloat16)
    result = served.call(
        "m_grouped_fp8_gemm_nt_contiguous", wrappers.m_grouped_fp8_gemm_nt_contiguous, a, b, out, owner
    )
    if result is served.MISSING:
        assert out.isnan().all()
        return
    live = owner >= 0
    want = [
        reference.product(exact[0][row : row + 1], exact[1][owner[row]]) for row in live.nonzero().flatten()
    ]
    judge.exact(out[live], reference.Sums(*(torch.cat(each) for each in zip(*want))), 2.0**-4)


@pytest.mark.settings("default")
def test_fp8_experts_masked(generator):
    experts, n, k, capacity = 3, 128, 256, 128
    a, b, exact = fp8_operands(generator, experts * capacity, experts, n, k)
    a = tuple(each.view(experts, capacity, -1) for each in a)
    live = torch.tensor([5, 0, 33], dtype=torch.int32)
    out = torch.empty(experts, capacity, n, dtype=torch.bfloat16)
    result = served.call(
        "m_grouped_fp8_gemm_nt_masked", wrappers.fp8_m_grouped_gemm_nt_masked, a, b, out, live, 20
    )
    if result is served.MISSING:
        assert out.isnan().all()
        return
    values = exact[0].view(experts, capacity, k)
    for expert, count in enumerate(live.tolist()):
        if count:
            judge.exact(
                out[expert, :count], reference.product(values[expert, :count], exact[1][expert]), 2.0**-4
            )
