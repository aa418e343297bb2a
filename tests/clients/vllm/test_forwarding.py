"""Nothing that vLLM calls for V4 reaches another DeepGEMM, and a call that does is seen.

Another one stands beside Deepwell in every process of these tests (other/deep_gemm). conftest.py fails each test in which it is
so much as loaded, unless the test is marked `forwards`.
"""

from __future__ import annotations

import collections
import functools
import sys

import layers
import operands
import pytest
import test_binding
import test_experts
import test_hyper_connections
import test_indexer
import test_o_proj
import torch
import vllm.utils.deep_gemm as wrappers
from deepwell import _other

# Bound name in vLLM's module -> a call of it, as V4's code makes it.
SITES = {
    "transform_sf_into_required_layout": lambda generator: layers.linear_layer(generator, 128, 256),
    "fp8_gemm_nt": lambda generator: linear(generator),
    "fp8_einsum": lambda generator: o_proj(generator),
    "grouped_fp4": lambda generator: test_experts.check_fp4_experts(generator, 2),
    "get_theoretical_mk_alignment_for_contiguous_layout": lambda generator: (
        wrappers.get_theoretical_mk_alignment_for_contiguous_layout(6, 256)
    ),
    "get_mk_alignment_for_contiguous_layout": lambda generator: scope(),
    "grouped": lambda generator: test_experts.test_fp8_experts_contiguous(generator),
    "grouped_masked": lambda generator: test_experts.test_fp8_experts_masked(generator),
    "fp8_fp4_mqa_logits": lambda generator: test_indexer.test_prefill(generator),
    "get_paged_mqa_logits_metadata": lambda generator: test_indexer.test_decode(generator, 2),
    "fp8_fp4_paged_mqa_logits": lambda generator: test_indexer.test_decode(generator, 1),
    "tf32_hc_prenorm_gemm": lambda generator: test_hyper_connections.check(generator, 33, 256, 1024),
    "get_mn_major_tma_aligned_tensor": lambda generator: wrappers.get_col_major_tma_aligned_tensor(
        torch.rand(5, 3, generator=generator)
    ),
    "get_mn_major_tma_aligned_packed_ue8m0_tensor": lambda generator: (
        wrappers._get_mn_major_tma_aligned_packed_ue8m0_tensor_impl(torch.ones(5, 3))
    ),
    "pack_ue8m0_to_int": lambda generator: wrappers._pack_ue8m0_to_int_impl(torch.ones(5, 4)),
}

# Bound by vLLM, and called by nothing of V4.
RESOLVED_ONLY = {"cublaslt_gemm_nt", "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"}


def linear(generator) -> None:
    layer = layers.linear_layer(generator, 128, 256)
    layer.kernel.apply_weights(layer.module, operands.real(generator, (3, 256)))


def o_proj(generator) -> None:
    module, _ = test_o_proj.wo_a(generator, 2, 128, 512, "3d-packed")
    o, _ = test_o_proj.quantised_activation(operands.integers(generator, (3, 2, 512)), generator)
    test_o_proj.project(o, module, 2, 128)


def scope() -> None:
    with wrappers.mk_alignment_scope(16):
        pass


def test_the_list_has_every_name_that_vllm_binds_for_v4():
    assert set(SITES) | RESOLVED_ONLY == set(test_binding.NEEDED)


def count_calls(monkeypatch) -> collections.Counter:
    """How often vLLM calls each function that it has bound, from now on."""
    wrappers._lazy_init()
    counts = collections.Counter()

    def counted(name, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    for attribute, function in list(vars(wrappers).items()):
        if attribute.endswith("_impl") and callable(function):
            monkeypatch.setattr(wrappers, attribute, counted(attribute[1 : -len("_impl")], function))
    return counts


@pytest.mark.settings("default")
def test_no_call_of_the_list_reaches_another(generator, monkeypatch, expert_kernels):
    assert _other.other_exists(), "there must be one that could be reached"
    counts = count_calls(monkeypatch)
    for name, site in SITES.items():
        before = counts[name]
        site(generator)
        assert counts[name] > before, f"vLLM has not called {name}"
        assert _other.loaded() is None, f"{name} made Deepwell ask another DeepGEMM"
    assert "vllm.third_party.deep_gemm" not in sys.modules


def forwarded(name: str, *arguments) -> None:
    getattr(sys.modules["deep_gemm"], name)(*arguments)


FORWARDED = {
    "cublaslt_gemm_nt": lambda m: wrappers._cublaslt_gemm_nt_impl(m, m, m),
    "bf16_gemm_nt": lambda m: forwarded("bf16_gemm_nt", m, m, m),
    "m_grouped_bf16_gemm_nt_contiguous": lambda m: forwarded(
        "m_grouped_bf16_gemm_nt_contiguous", m, m[None], m, torch.zeros(16, dtype=torch.int32)
    ),
    "fp8_fp4_sparse_mqa_logits": lambda m: forwarded("fp8_fp4_sparse_mqa_logits", m, m, m, m, 4, 8),
}


@pytest.mark.forwards
@pytest.mark.parametrize("name", FORWARDED)
def test_a_call_that_is_forwarded_is_counted(name):
    """What Deepwell has no kernels for, by the same way and with the same stand-in."""
    wrappers._lazy_init()
    assert _other.loaded() is None
    FORWARDED[name](torch.zeros(16, 16, dtype=torch.bfloat16))
    assert [call for call in _other.loaded().CALLS if not call.startswith("set_")] == [name]


@pytest.mark.forwards
@pytest.mark.settings("default")
def test_an_operation_that_deepwell_no_longer_serves_is_counted(generator, monkeypatch):
    """A kind of call of the list that goes astray is what the first test is there to see."""
    from deepwell import _runtime

    monkeypatch.setattr(_runtime, "tf32_hc_prenorm_gemm", lambda *arguments: False)
    module = sys.modules["deep_gemm.hyperconnection"]
    monkeypatch.setattr(module, "_native", _runtime.tf32_hc_prenorm_gemm)
    with pytest.raises(AssertionError):
        test_hyper_connections.check(generator, 33, 256, 1024)
    assert "tf32_hc_prenorm_gemm" in _other.loaded().CALLS
