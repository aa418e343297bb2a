"""One process of the client tests: one capability, one setting of vLLM's environment.

tools/run_vllm_client.py starts pytest with the options below, once for each combination. A test says in which settings it
runs (marker `settings`); those of other settings are not collected. Skipped tests make the run fail.
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import pytest
import torch

SETTINGS = {  # name -> what the environment of the process has
    "default": {},
    "no-deep-gemm": {"VLLM_USE_DEEP_GEMM": "0"},
    "no-e8m0": {"VLLM_USE_DEEP_GEMM_E8M0": "0"},
}


def pytest_addoption(parser):
    group = parser.getgroup("vllm client")
    group.addoption("--vllm", required=True, help="the folder that holds vLLM's Python files")
    group.addoption("--capability", default="12.0", choices=["12.0", "12.1"])
    group.addoption("--setting", default="default", choices=list(SETTINGS))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "settings(*names): the settings in which a test runs; without it, in all"
    )
    config.addinivalue_line("markers", "forwards: calls of this test are meant to reach another DeepGEMM")
    os.environ.update(SETTINGS[config.getoption("setting")])
    sys.path.insert(0, os.path.abspath(config.getoption("vllm")))
    sys.path.append(str(Path(__file__).parent / "other"))
    import fake_platform
    import stubs

    stubs.install()
    fake_platform.install(tuple(int(part) for part in config.getoption("capability").split(".")))


def pytest_collection_modifyitems(config, items):
    setting = config.getoption("setting")
    other = []
    for item in items:
        marker = item.get_closest_marker("settings")
        assert marker is None or set(marker.args) <= set(SETTINGS), f"{item.nodeid}: unknown setting"
        if marker is not None and setting not in marker.args:
            other.append(item)
    if other:
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if item not in other]


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    not_run = sum(len(reporter.stats.get(kind, [])) for kind in ("skipped", "xfailed", "xpassed"))
    if not_run and exitstatus == 0:
        reporter.write_line(
            f"\n{not_run} tests were skipped or expected to fail: that shows nothing", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def setting(request) -> str:
    return request.config.getoption("setting")


@pytest.fixture(scope="session")
def capability(request) -> tuple[int, ...]:
    return tuple(int(part) for part in request.config.getoption("capability").split("."))


@pytest.fixture
def generator(request) -> torch.Generator:
    """A random generator with a seed of the test's own."""
    seed = zlib.crc32(request.node.nodeid.rsplit("/", 1)[-1].encode())
    print(f"seed {seed}")
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Whatever anyone allocates without writing to it holds NaN, or the largest integer, instead of what was there."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def nothing_is_forwarded(request):
    """The stand-in for another DeepGEMM is not even loaded, but by tests marked `forwards`, which leave nothing behind."""
    from deepwell import _hook, _other

    yield
    module = _other.loaded()
    if request.node.get_closest_marker("forwards") is not None:
        assert module is not None, "nothing was forwarded"
        for name in [name for name in sys.modules if name.split(".")[:2] == _hook.ALIAS.split(".")]:
            del sys.modules[name]
        _other._forget()
        return
    assert module is None, f"another DeepGEMM was loaded and called: {module.CALLS}"


@pytest.fixture
def o_proj_kernel(monkeypatch):
    """The Triton kernel of o_proj in torch."""
    import gpu_kernels
    import vllm.models.deepseek_v4.nvidia.ops.o_proj  # noqa: F401

    module = sys.modules["vllm.models.deepseek_v4.common.ops.fused_inv_rope_fp8_quant"]
    monkeypatch.setattr(module, "_FUSED_INV_ROPE_FP8_QUANT_KERNEL", gpu_kernels.inverse_rope_and_quantise)


@pytest.fixture
def expert_kernels(monkeypatch):
    """The Triton kernels of the routed experts in torch."""
    import gpu_kernels
    from vllm.model_executor.layers.fused_moe import deep_gemm_utils
    from vllm.model_executor.layers.fused_moe.experts import deep_gemm_moe

    for name in ("count_expert_num_tokens", "ep_scatter", "ep_gather"):
        monkeypatch.setattr(deep_gemm_utils, name, getattr(gpu_kernels, name))
    monkeypatch.setattr(deep_gemm_moe, "fused_silu_mul_fp8_quant_packed", gpu_kernels.silu_mul_quant_packed)
