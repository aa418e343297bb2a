"""What vLLM takes for a CUDA board of capability 12.x, in a process that has only a CPU.

Everything that is not vLLM's own code is here, in stubs.py and in gpu_kernels.py:

- the platform: a subclass of vLLM's CudaPlatformBase that answers what a driver would answer, found through vLLM's own
  plugin mechanism (an entry point of the group vllm.platform_plugins). Operators are dispatched to CPU tensors;
- torch.cuda: device 0's properties, number and capability, which some of vLLM's functions ask for directly;
- vLLM's compiled extensions: empty modules, five questions about CUTLASS answered yes as the wheel's binary answers them
  on family 120, the two operators that quantise activations (gpu_kernels.py); a stub for the flash attention package.
"""

import importlib.metadata
import sys
import types

import gpu_kernels
import stubs
import torch

NUM_SMS = 188
MEMORY_BYTES = 96 << 30

CUTLASS_QUESTIONS = (
    "cutlass_scaled_mm_supports_fp8",
    "cutlass_scaled_mm_supports_block_fp8",
    "cutlass_scaled_mm_supports_fp4",
    "cutlass_group_gemm_supported",
    "mxfp4_experts_quant_supported",
)

_capability = (12, 0)
_library = None


class _PluginDistribution(importlib.metadata.Distribution):
    """An installed distribution, as far as importlib.metadata sees, whose entry point is `platform_class_name` below."""

    FILES = {
        "METADATA": "Metadata-Version: 2.1\nName: deepwell-client-platform\nVersion: 1\n",
        "entry_points.txt": "[vllm.platform_plugins]\nfake_sm12x = fake_platform:platform_class_name\n",
    }

    def read_text(self, filename):
        return self.FILES.get(filename)

    def locate_file(self, path):
        raise NotImplementedError("this distribution has no files")


class _PluginFinder(importlib.metadata.DistributionFinder):
    def find_spec(self, fullname, path=None, target=None):
        return None

    def find_distributions(self, context=importlib.metadata.DistributionFinder.Context()):
        if context.name in (None, "deepwell-client-platform"):
            yield _PluginDistribution()


def platform_class_name() -> str:
    """vLLM's question to a platform plugin: which class."""
    return "fake_platform.platform_class"


def __getattr__(name: str):
    if name != "platform_class":
        raise AttributeError(name)
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    class FakeSm12x(CudaPlatformBase):
        dispatch_key = "CPU"

        @classmethod
        def get_device_capability(cls, device_id=0):
            return DeviceCapability(*_capability)

        @classmethod
        def get_device_name(cls, device_id=0):
            return f"board of capability {_capability[0]}.{_capability[1]}, not there"

        @classmethod
        def get_device_total_memory(cls, device_id=0):
            return MEMORY_BYTES

        @classmethod
        def is_pin_memory_available(cls):
            return False

    globals()[name] = FakeSm12x
    return FakeSm12x


def _fake_torch_cuda() -> None:
    properties = types.SimpleNamespace(
        multi_processor_count=NUM_SMS,
        major=_capability[0],
        minor=_capability[1],
        total_memory=MEMORY_BYTES,
        is_integrated=False,
    )
    torch.cuda.get_device_properties = lambda device=None: properties
    torch.cuda.get_device_capability = lambda device=None: _capability
    torch.cuda.current_device = lambda: 0


def _fake_extensions() -> None:
    global _library
    for name in ("_C_stable_libtorch", "_moe_C_stable_libtorch"):
        sys.modules[f"vllm.{name}"] = types.ModuleType(f"vllm.{name}")
    sys.modules["vllm.vllm_flash_attn"] = stubs.StubModule("vllm.vllm_flash_attn")
    _library = torch.library.Library("_C", "FRAGMENT")
    for name in CUTLASS_QUESTIONS:
        _library.define(f"{name}(int capability) -> bool")
        _library.impl(name, lambda capability: True, "CompositeExplicitAutograd")
    _library.define(
        "per_token_group_fp8_quant(Tensor input, Tensor! output_q, Tensor! output_s, int group_size, float eps,"
        " float fp8_min, float fp8_max, bool scale_ue8m0, bool column_major, bool tma_aligned) -> ()"
    )
    _library.impl("per_token_group_fp8_quant", gpu_kernels.per_token_group_fp8_quant, "CPU")
    _library.define(
        "per_token_group_fp8_quant_packed(Tensor input, Tensor! output_q, Tensor! output_s, int group_size,"
        " float eps, float fp8_min, float fp8_max) -> ()"
    )
    _library.impl("per_token_group_fp8_quant_packed", gpu_kernels.per_token_group_fp8_quant_packed, "CPU")


def install(capability: tuple[int, int]) -> None:
    """Before vLLM is imported: a board of this capability."""
    global _capability
    _capability = capability
    sys.meta_path.append(_PluginFinder())
    _fake_torch_cuda()
    _fake_extensions()
