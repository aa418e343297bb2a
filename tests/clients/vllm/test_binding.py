"""Which module vLLM binds, what its gates say then, and the settings that go through it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import fake_platform
import pytest
import vllm.utils.deep_gemm as wrappers
from served import SERVED

# What V4 resolves on capability 12.x, by the names in vLLM's module.
NEEDED = (
    "fp8_gemm_nt",
    "fp8_einsum",
    "grouped",
    "grouped_masked",
    "grouped_fp4",
    "fp8_fp4_mqa_logits",
    "fp8_fp4_paged_mqa_logits",
    "get_paged_mqa_logits_metadata",
    "tf32_hc_prenorm_gemm",
    "get_mn_major_tma_aligned_tensor",
    "get_mk_alignment_for_contiguous_layout",
    "get_theoretical_mk_alignment_for_contiguous_layout",
    "transform_sf_into_required_layout",
    "pack_ue8m0_to_int",
    "get_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor",
    "cublaslt_gemm_nt",
)


def test_vllm_takes_the_drop_in():
    wrappers._lazy_init()
    module = wrappers._import_deep_gemm()
    assert module is sys.modules["deep_gemm"]
    installed = Path(importlib.import_module("deepwell").__file__).parent
    assert installed in Path(module.__file__).parents, module.__file__


def test_vllms_own_copy_is_there_and_not_used():
    wrappers._lazy_init()
    import vllm

    assert (Path(vllm.__file__).parent / "third_party/deep_gemm/__init__.py").is_file()
    assert "vllm.third_party.deep_gemm" not in sys.modules


@pytest.mark.parametrize("name", NEEDED)
def test_name_is_resolved(name):
    wrappers._lazy_init()
    function = getattr(wrappers, f"_{name}_impl")
    assert callable(function)
    assert function.__module__.split(".")[0] in ("deep_gemm", "deepwell"), function.__module__


def test_table_of_what_is_served_has_names_of_the_interface():
    for name in SERVED:
        assert callable(getattr(sys.modules["deep_gemm"], name))


def test_platform(capability):
    from vllm.platforms import current_platform

    assert os.environ["DEEPWELL_DEVICE"] == f"emu:sm_{capability[0]}{capability[1]}a", (
        "CPU tensors run on the same board"
    )
    assert current_platform.is_cuda()
    assert tuple(current_platform.get_device_capability()) == capability
    assert current_platform.is_device_capability_family(120)
    assert current_platform.support_deep_gemm()


def test_gates(setting):
    assert wrappers.is_deep_gemm_supported() == (setting != "no-deep-gemm")
    assert wrappers.is_deep_gemm_e8m0_used() == (setting == "default")
    packed = wrappers.DeepGemmQuantScaleFMT.from_oracle()
    assert packed.name == ("UE8M0" if setting == "default" else "FLOAT32")
    assert wrappers.get_paged_mqa_page_sizes() == (64,)
    assert not wrappers.mqa_logits_use_mx_scales()


def test_programmatic_dependent_launch_is_switched_on():
    wrappers._lazy_init()
    assert sys.modules["deep_gemm"].get_pdl() is True


def test_number_of_sms():
    number = wrappers.get_num_sms()
    assert number > 2
    wrappers.set_num_sms(number - 2)
    try:
        assert wrappers.get_num_sms() == number - 2
    finally:
        wrappers.set_num_sms(number)
    assert wrappers.get_num_sms() == number


def test_alignment_is_128_at_rest_and_scoped():
    assert wrappers.get_mk_alignment_for_contiguous_layout() == [128, 128]
    with wrappers.mk_alignment_scope(32):
        assert wrappers.get_mk_alignment_for_contiguous_layout() == [32, 32]
    assert wrappers.get_mk_alignment_for_contiguous_layout() == [128, 128]


@pytest.mark.parametrize("tokens", [1, 8, 64, 4096])
def test_alignment_query_with_two_arguments_is_answered(tokens):
    """vLLM swallows every exception of this query and then pads each expert's rows to 128."""
    alignment = wrappers.get_theoretical_mk_alignment_for_contiguous_layout(
        expected_m=6 * tokens, num_groups=256
    )
    assert alignment in (8, 16, 32, 64, 128)

    from vllm.model_executor.layers.fused_moe.deep_gemm_utils import compute_aligned_M_and_alignment

    rows, used = compute_aligned_M_and_alignment(tokens, 6, 256, 128, None)
    assert used == alignment and rows % used == 0
    assert rows >= 6 * tokens + min(6 * tokens, 256) * (used - 1)
    if tokens <= 64:
        assert used <= 64, f"{6 * tokens} rows for 256 experts are padded to {rows}"


def test_platform_came_through_vllms_plugin_mechanism():
    """Nothing of vLLM was replaced for it."""
    from vllm.platforms import current_platform

    assert type(current_platform) is fake_platform.platform_class
    assert not current_platform.is_out_of_tree()
