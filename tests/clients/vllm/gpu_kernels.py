"""Kernels of vLLM that need a GPU, in torch: those that stand between vLLM's Python and its calls of deep_gemm.

Two compiled operators that quantise activations (fake_platform.py registers them), and the Triton kernels of o_proj and
of the routed experts, which tests that need them put in the place of vLLM's launchers (fixtures in conftest.py).
"""

import torch


def group_scales(
    x: torch.Tensor, group_size: int, eps: float, fp8_max: float, power_of_two: bool
) -> torch.Tensor:
    """The smallest scales, one per group of a row, with which the values fit e4m3; rounded up to powers of two or not."""
    scales = x.float().unflatten(-1, (-1, group_size)).abs().amax(-1).clamp(min=eps) / fp8_max
    return torch.exp2(torch.ceil(torch.log2(scales))) if power_of_two else scales


def quantised(
    x: torch.Tensor, scales: torch.Tensor, group_size: int, low: float, high: float
) -> torch.Tensor:
    return (x.float() / scales.repeat_interleave(group_size, -1)).clamp(low, high)


def packed_words(scales: torch.Tensor, words: int) -> torch.Tensor:
    """The exponents of power-of-two scales [rows, groups], four a word, the first in the lowest byte; spare bytes 0."""
    exponents = scales.contiguous().view(torch.int32) >> 23
    out = torch.zeros(scales.shape[0], words, dtype=torch.int32)
    for group in range(exponents.shape[-1]):
        out[:, group // 4] |= exponents[:, group] << 8 * (group % 4)
    return out


# --- compiled operators -----------------------------------------------------------------------------------------------


def per_token_group_fp8_quant(
    x, out, scales_out, group_size, eps, fp8_min, fp8_max, ue8m0, column_major, tma_aligned
):
    """`_C::per_token_group_fp8_quant`: FP32 scales, in whatever strides the caller has made."""
    scales = group_scales(x, group_size, eps, fp8_max, ue8m0)
    out.copy_(quantised(x, scales, group_size, fp8_min, fp8_max))
    scales_out.copy_(scales)


def per_token_group_fp8_quant_packed(x, out, scales_out, group_size, eps, fp8_min, fp8_max):
    """`_C::per_token_group_fp8_quant_packed`: power-of-two scales, packed."""
    scales = group_scales(x, group_size, eps, fp8_max, True)
    out.copy_(quantised(x, scales, group_size, fp8_min, fp8_max))
    scales_out.copy_(packed_words(scales.flatten(0, -2), scales_out.shape[1]))


# --- o_proj -----------------------------------------------------------------------------------------------------------


def inverse_rope_and_quantise(
    o,
    positions,
    cos_sin_cache,
    out,
    scales_out,
    num_tokens,
    *,
    heads_per_group,
    quant_group_size,
    chunks_per_head,
    nope_dim,
    half_rope,
    tma_aligned_scales,
    quantize,
    fp8_max,
    launch_pdl,
    grid,
):
    """The Triton kernel behind `fused_inv_rope_fp8_quant`: undoes the rotation of each head's last elements, gathers heads
    into groups, quantises along 128 elements."""
    assert quantize and tma_aligned_scales, "what V4 asks for on capability 12.x"
    x = o.float().clone()
    cos = cos_sin_cache[positions][:, None, :half_rope]
    sin = cos_sin_cache[positions][:, None, half_rope:]
    even, odd = x[..., nope_dim::2].clone(), x[..., nope_dim + 1 :: 2].clone()
    x[..., nope_dim::2] = even * cos + odd * sin
    x[..., nope_dim + 1 :: 2] = odd * cos - even * sin
    groups = x.unflatten(1, (-1, heads_per_group)).flatten(2).transpose(0, 1)
    scales = group_scales(groups, quant_group_size, 1e-10, fp8_max, True)
    out.copy_(quantised(groups, scales, quant_group_size, -fp8_max, fp8_max))
    for group in range(groups.shape[0]):
        scales_out[group].copy_(packed_words(scales[group], scales_out.shape[-1]))


# --- routed experts ---------------------------------------------------------------------------------------------------


def count_expert_num_tokens(topk_ids, num_local_experts, expert_map):
    assert expert_map is None
    return torch.bincount(topk_ids.flatten().long(), minlength=num_local_experts).int()


def ep_scatter(
    *,
    recv_x,
    recv_x_scale,
    recv_topk,
    num_recv_tokens_per_expert,
    expert_map,
    expert_start_loc,
    output_tensor,
    output_tensor_scale,
    m_indices,
    output_index,
    align_m,
    block_size,
    pack_ue8m0,
    use_psum_layout,
):
    """Copies each token's row and scales to each of its experts' segments, which begin at multiples of align_m. Rows of an
    expert come in falling order of tokens: on a GPU, atomics decide. Padding rows stay as they were, -1 in m_indices."""
    assert expert_map is None and not pack_ue8m0 and not use_psum_layout
    start = 0
    for expert, count in enumerate(num_recv_tokens_per_expert.tolist()):
        expert_start_loc[expert] = start
        places = (recv_topk == expert).nonzero().flip(0).tolist()
        for row, (token, slot) in enumerate(places, start):
            output_tensor[row] = recv_x[token]
            output_tensor_scale[row] = recv_x_scale[token]
            output_index[token, slot] = row
        m_indices[start : start + count] = expert
        start += -(-count // align_m) * align_m


def silu_mul_quant_packed(*, input, output_q, group_size, clamp_limit, expert_ends, expert_alignment):
    """Clamped SwiGLU over the two halves of each row, quantised along 128 elements with packed power-of-two scales. All
    rows, padding too: what is not a number there gives NaN data and NaN scales."""
    assert expert_ends is None
    gate, up = input.float().chunk(2, -1)
    hidden = torch.nn.functional.silu(gate.clamp(max=clamp_limit)) * up.clamp(-clamp_limit, clamp_limit)
    scales = group_scales(hidden, group_size, 1e-10, 448.0, True)
    output_q.copy_(quantised(hidden, scales, group_size, -448.0, 448.0))
    words = -(-scales.shape[-1] // 4)
    rows = input.shape[0]
    packed = torch.empty(words, -(-rows // 4) * 4, dtype=torch.int32).T[:rows]
    packed.copy_(packed_words(scales, words))
    return output_q, packed


def ep_gather(*, input_tensor, recv_topk_ids, recv_topk_weight, input_index, expert_map, output_tensor):
    """Each token's sum over its experts' rows, weighted."""
    assert expert_map is None
    rows = input_tensor[input_index.long()].float()
    output_tensor.copy_((rows * recv_topk_weight[..., None]).sum(1))
