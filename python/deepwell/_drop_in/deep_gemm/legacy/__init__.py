"""Triton kernels in bfloat16 for SM 8.0. Forwarded to the other DeepGEMM's `legacy`."""

from __future__ import annotations

from .._forward import forwarded, names_of_other

__all__ = [
    "m_grouped_bf16_gemm_nt_contiguous_tl",
    "m_grouped_bf16_gemm_nn_contiguous_tl",
    "a_fused_m_grouped_bf16_gemm_nt_contiguous_tl",
    "a_fused_m_grouped_bf16_gemm_nn_contiguous_tl",
    "a_fused_k_grouped_bf16_gemm_tn_contiguous_tl",
    "b_fused_k_grouped_bf16_gemm_tn_contiguous_tl",
]


@forwarded("legacy", "legacy.m_grouped_bf16_gemm_nt_contiguous_tl")
def m_grouped_bf16_gemm_nt_contiguous_tl(a, b, d, m_indices):
    """a [m, k], b [groups, n, k], d [m, n]; m_indices [m]: the expert of each row, -1 gives zeros.
    Forwarded.
    """


@forwarded("legacy", "legacy.m_grouped_bf16_gemm_nn_contiguous_tl")
def m_grouped_bf16_gemm_nn_contiguous_tl(a, b, d, m_indices):
    """As m_grouped_bf16_gemm_nt_contiguous_tl with b [groups, k, n]. Forwarded."""


@forwarded("legacy", "legacy.a_fused_m_grouped_bf16_gemm_nt_contiguous_tl")
def a_fused_m_grouped_bf16_gemm_nt_contiguous_tl(*args, **kwargs):
    """(a, b, d, (m_indices, m_row_indices)): rows of a are gathered, row -1 is zeros. Forwarded."""


@forwarded("legacy", "legacy.a_fused_m_grouped_bf16_gemm_nn_contiguous_tl")
def a_fused_m_grouped_bf16_gemm_nn_contiguous_tl(*args, **kwargs):
    """As a_fused_m_grouped_bf16_gemm_nt_contiguous_tl with b [groups, k, n]. Forwarded."""


@forwarded("legacy", "legacy.a_fused_k_grouped_bf16_gemm_tn_contiguous_tl")
def a_fused_k_grouped_bf16_gemm_tn_contiguous_tl(*args, **kwargs):
    """(a, b, d, (k_indices, k_start, k_end), acc): D[g] (+)= A^T B over [k_start, k_end), rows of a gathered.
    Forwarded.
    """


@forwarded("legacy", "legacy.b_fused_k_grouped_bf16_gemm_tn_contiguous_tl")
def b_fused_k_grouped_bf16_gemm_tn_contiguous_tl(*args, **kwargs):
    """As a_fused_k_grouped_bf16_gemm_tn_contiguous_tl with rows of b gathered. Forwarded."""


__getattr__ = names_of_other("legacy")
