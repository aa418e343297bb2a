"""The product in front of hyper-connections."""

from __future__ import annotations

from typing import Any

from ._forward import find, forwarded, given, ours_or_theirs, runtime

__all__ = ["tf32_hc_prenorm_gemm", "mega_mhc", "bf16_mega_gate"]


def _native(*arguments: Any) -> bool:
    """The native tf32_hc_prenorm_gemm, which takes this name's place at the first call: loading it is left
    until then.
    """
    global _native
    _native = runtime().tf32_hc_prenorm_gemm
    return _native(*arguments)


def tf32_hc_prenorm_gemm(a, b, d, sqr_sum, num_splits=None) -> None:
    """D = A B^T in TF32 with FP32 sums, and the sum of squares of each row of a.

    a: [m, k] bfloat16, b: [n, k] float32, last strides 1, any row pitch; n at most 128, any k. Of b's numbers
        only the bits that TF32 has count.
    d: [m, n] float32, last stride 1; sqr_sum: [m] float32.
    num_splits: parts of k, each with a d and sqr_sum of its own: d [num_splits, m, n], sqr_sum [num_splits,
        m], which the caller adds up. Part s takes a range of whole blocks of 64 elements, the first ones one
        block more where blocks are left over; parts without a block are zeros.

    m of 0: nothing happens. Runs on the current stream of the tensors' device; the bits are the same at each
    call. Raises BadArgumentError for operands that do not fit together (before anything is launched).
    """
    ours_or_theirs(
        "tf32_hc_prenorm_gemm",
        a,
        lambda: _native(a, b, d, sqr_sum, num_splits) or None,
        lambda: find("hc_prenorm", "tf32_hc_prenorm_gemm")(a, b, d, sqr_sum, **given(num_splits=num_splits)),
    )


@forwarded("mega")
def mega_mhc(
    x,
    residual,
    shifted_prev_mix,
    post_mix,
    comb_res_mix,
    fn,
    mix_scales,
    mix_bases,
    hc_mult,
    hc_norm_eps,
    hc_pre_eps,
    hc_post_scale,
    sinkhorn_eps,
    num_sinkhorn_iters,
    rmsnorm_weight,
    rmsnorm_eps,
    rmsnorm_scale,
    new_residual,
    new_prev_mix,
    new_post_mix,
    new_comb_res_mix,
    y_bf16=None,
    y_fp8=None,
    y_gemm_sf=None,
    y_routed_sf=None,
    y_shared_sf=None,
    shared_sf_block_m=0,
) -> None:
    """Hyper-connections fused with their norms, for SM 10.x; hc_mult is 4. Forwarded."""


@forwarded("mega")
def bf16_mega_gate(
    x,
    weight,
    num_topk,
    use_shared_as_routed,
    num_shared_experts,
    routed_scaling_factor,
    ep_rank,
    scoring_func="sqrtsoftplus",
    mask=None,
    bias=None,
    image_bias=None,
    image_token_mask=None,
    fix_routing_mask=None,
    to_physical_map=None,
    logical_count=None,
    unmapped_topk_idx=None,
    force_random=None,
    out=None,
):
    """The router's product fused with its top-k, for SM 10.x: (int64 indices, float32 weights). Forwarded."""
