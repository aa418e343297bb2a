"""Deepwell: kernels for DeepSeek-V4 on SM 12.x, and an emulator that runs them on a CPU.

Importing this package touches no device, creates no CUDA context and does not import torch. It makes `import deep_gemm` find
Deepwell's drop-in (DEEPWELL_DEEP_GEMM says whether; see docs/drop-in.md), and on first use registers torch.ops.deepwell.*.

  with deepwell.device("emu:sm_120a"):     CPU tensors run on an emulated board (also DEEPWELL_DEVICE=emu:sm_120a)
  deepwell.deepseek_v4_fp8_einsum(...)     o_proj's product; also torch.ops.deepwell.deepseek_v4_fp8_einsum
  deepwell.warmup(config, tp=1)            compiles and loads every kernel of a model before it serves
  deepwell.register_ops()                  registers torch.ops.deepwell.* (any use of the functions here does)
  deepwell.emulate(ptx, args=[...], ...)   any PTX on the CPU, every access checked; deepwell.Emulator for lists of launches
  deepwell.errors                          what is raised: RuntimeError subclasses with argument, got, expected
"""

from . import _hook

__all__ = [
    "Emulator",
    "Struct",
    "deepseek_v4_fp8_einsum",
    "deepseek_v4_fp8_einsum_config",
    "device",
    "emulate",
    "errors",
    "kernel_counts",
    "poison",
    "raise_notes",
    "register_ops",
    "warmup",
    "__version__",
]

_hook.install()

_FROM = {
    "Emulator": "_emulate",
    "Struct": "_emulate",
    "deepseek_v4_fp8_einsum": "_ops",
    "deepseek_v4_fp8_einsum_config": "_ops",
    "device": "_devices",
    "emulate": "_emulate",
    "kernel_counts": "_startup",
    "poison": "_emulate",
    "raise_notes": "_devices",
    "warmup": "_startup",
}


def register_ops() -> None:
    """Makes torch.ops.deepwell.* known to torch. Raises MissingError when torch is too old."""
    from . import _ops  # noqa: F401


def __getattr__(name: str) -> object:
    if name == "__version__":
        from . import _native

        return _native.version()
    from importlib import import_module

    if name == "errors":
        return import_module(".errors", __name__)
    if name not in _FROM:
        raise AttributeError(f"module 'deepwell' has no attribute {name!r}")
    return getattr(import_module(f".{_FROM[name]}", __name__), name)
