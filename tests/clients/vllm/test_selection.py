"""What vLLM chooses for V4 on this capability, setting by setting: what the rest of these tests builds on."""

from __future__ import annotations

import types

import layers
import operands
import pytest
import test_hyper_connections
import test_o_proj
import vllm.utils.deep_gemm as wrappers

LINEAR = {
    "default": "DeepGemmFp8BlockScaledMMKernel",
    "no-deep-gemm": "CutlassFp8BlockScaledMMKernel",
    "no-e8m0": "DeepGemmFp8BlockScaledMMKernel",
}
EXPERTS = {"default": "DEEPGEMM_MXFP4", "no-deep-gemm": "MARLIN", "no-e8m0": "DEEPGEMM_MXFP4"}

# What reaches deep_gemm: when a layer is prepared, by a linear layer, by o_proj, by the first layer's hyper-connections.
CALLS = {
    "default": {"transform_sf_into_required_layout", "fp8_gemm_nt", "fp8_einsum", "tf32_hc_prenorm_gemm"},
    "no-deep-gemm": {"fp8_einsum", "tf32_hc_prenorm_gemm"},
    "no-e8m0": {"transform_sf_into_required_layout", "fp8_gemm_nt", "fp8_einsum", "tf32_hc_prenorm_gemm"},
}

# V4-Flash: wq_a with wkv, wq_b, wo_a, wo_b, a shared expert's halves
V4_SHAPES = [(1536, 4096), (32768, 1024), (8192, 4096), (4096, 8192), (4096, 4096), (4096, 2048)]


@pytest.mark.parametrize("shape", V4_SHAPES)
def test_linear_kernel(shape, setting):
    with layers.model_configuration():
        assert type(layers.choose_kernel(shape)).__name__ == LINEAR[setting]


def test_attention_class():
    from vllm.models.deepseek_v4.nvidia.model import _select_dsv4_attn_cls

    configuration = types.SimpleNamespace(
        attention_config=types.SimpleNamespace(backend=None),
        parallel_config=types.SimpleNamespace(prefill_context_parallel_size=1),
    )
    assert _select_dsv4_attn_cls(configuration).__name__ == "DeepseekV4FlashInferSM120Attention"


def test_expert_kernel(setting):
    from vllm.model_executor.layers.fused_moe.activation import MoEActivation
    from vllm.model_executor.layers.fused_moe.oracle import mxfp4

    parallel = types.SimpleNamespace(
        use_batched_activation_format=False,
        use_fi_nvl_two_sided_kernels=False,
        use_fi_nvl_one_sided_kernels=False,
        use_all2all_kernels=False,
        use_deepep_v2_kernels=False,
        use_ep=False,
        enable_eplb=False,
        is_sequence_parallel=False,
        ep_size=1,
        dp_size=1,
        tp_size=1,
    )
    configuration = types.SimpleNamespace(
        moe_parallel_config=parallel,
        moe_backend="auto",
        is_act_and_mul=True,
        activation=MoEActivation.SILU,
        has_hash_routing=True,
        require_decomposed_backend=False,
        routing_method=mxfp4.RoutingMethodType.DeepseekV4,
        router_logits_dtype=None,
        hidden_dim=4096,
        is_lora_enabled=False,
        has_bias=False,
        ep_size=1,
        tp_size=1,
    )
    backend, _ = mxfp4.select_deepseek_v4_mxfp4_moe_backend(configuration)
    assert backend.value == EXPERTS[setting]


def record(monkeypatch) -> set[str]:
    """The names of the functions of deep_gemm that vLLM calls from now on."""
    wrappers._lazy_init()
    called = set()

    def recorded(name, function):
        def call(*args, **kwargs):
            called.add(name)
            return function(*args, **kwargs)

        return call

    for attribute, function in list(vars(wrappers).items()):
        if attribute.endswith("_impl") and callable(function):
            monkeypatch.setattr(wrappers, attribute, recorded(attribute[1 : -len("_impl")], function))
    return called


def test_what_still_calls_deep_gemm(generator, monkeypatch, setting):
    called = record(monkeypatch)
    layer = layers.linear_layer(generator, 128, 256)
    x = operands.real(generator, (3, 256))
    if setting == "no-deep-gemm":
        with pytest.raises(AttributeError, match="cutlass_scaled_mm"):  # a compiled kernel, which is not here
            layer.kernel.apply_weights(layer.module, x)
    else:
        layer.kernel.apply_weights(layer.module, x)
    module = layers.linear_layer(generator, 256, 512, groups=2).module
    o, _ = test_o_proj.quantised_activation(operands.integers(generator, (3, 2, 512)), generator)
    assert not test_o_proj.project(o, module, 2, 128).isnan().any()
    test_hyper_connections.check(generator, 3, 256, 256, use_tilelang_fallback=False)
    assert called == CALLS[setting]
