"""The native library as functions on torch tensors: what the drop-in `deep_gemm` and the torch operators are made of.

Functions return False (or None, where they return a tensor) when the tensors' device is not one that Deepwell serves.
Everything goes on the current stream of the tensors' device.
"""

from __future__ import annotations

import torch

from . import _devices, _native, errors
from ._doctor import MINIMUM_TORCH


def _accepts_type(kind: type) -> None:
    """Refuses tensor classes that have no memory of their own. Asked once for each class."""
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise errors.bad_type(
            "tensor",
            f"a {kind.__name__}",
            "a tensor with memory; under torch.compile and in fake modes call torch.ops.deepwell.* instead",
        )


def _exchange_api() -> object:
    table = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if table is None:
        needed = ".".join(map(str, MINIMUM_TORCH))
        raise errors.MissingError(
            f"torch {torch.__version__} is too old for Deepwell: pip install 'torch>={needed}'",
            "torch",
            torch.__version__,
            f">= {needed}",
        )
    return table


_native.setup(
    _exchange_api(),
    torch.Tensor,
    (
        errors.BadArgumentError,
        errors.UnsupportedError,
        errors.ToolchainError,
        errors.DeviceError,
        errors.DeepwellError,
    ),
    errors.BadTypeError,
    _devices.decide,
    _accepts_type,
    torch.OutOfMemoryError,
)

fp8_fp4_gemm_nt = _native.fp8_fp4_gemm_nt
grouped_gemm_nt = _native.grouped_gemm_nt
grouped_gemm_alignment = _native.grouped_gemm_alignment
fp8_einsum = _native.fp8_einsum
tf32_hc_prenorm_gemm = _native.tf32_hc_prenorm_gemm
set_pdl = _devices.set_pdl
pdl = _devices.pdl


def _device_key(tensor: torch.Tensor) -> tuple[int, int]:
    device = tensor.device
    if device.type == "cuda":
        return _devices.CUDA, device.index
    if device.type == "cpu":
        return _devices.CPU, 0
    return 0, 0


def serves(tensor: torch.Tensor) -> bool:
    """Whether Deepwell's kernels run on the tensor's device: CUDA 12.0 and 12.1 (9.0 where no other DeepGEMM is), or the CPU
    with an emulated device chosen."""
    kind, index = _device_key(tensor)
    if kind == _devices.CPU and _devices.emulated() is None:
        return False
    return _devices.decide(kind, index) != _devices.NOT_OURS


def sm_count() -> int:
    """Streaming multiprocessors of the current device."""
    return _devices.sm_count(*_devices.current())


def device_major() -> int:
    """Major compute capability of the current device, emulated or real."""
    return _devices.major(*_devices.current())


def keeps_fp32_scales(tensor: torch.Tensor) -> bool:
    """Whether the tensor's device has no block-scaled MMA, so that FP32 scales stay FP32 there."""
    return _devices.major(*_device_key(tensor)) == 9


def _laid_out(scale: torch.Tensor, layout: tuple[bool, tuple, tuple]) -> torch.Tensor:
    is_int32, shape, strides = layout
    dtype = torch.int32 if is_int32 else torch.float32
    return torch.empty_strided(shape, strides, dtype=dtype, device=scale.device)


def transform_scale(
    scale: torch.Tensor,
    mn: int,
    k: int,
    gran_mn: int,
    gran_k: int,
    num_groups: int | None,
    disable_ue8m0_cast: bool,
) -> torch.Tensor | None:
    """Scales into the layout that kernels read fastest; the tensor itself when it is already so."""
    layout = _native.required_scale_layout(scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast)
    if layout is None:
        return scale
    if layout is False:
        return None
    out = _laid_out(scale, layout)
    _native.transform_scale(scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast, out)
    return out


def mn_major_scale(scale: torch.Tensor) -> torch.Tensor | None:
    """FP32 scales column by column, columns padded to 16 bytes; the tensor itself when it is already so."""
    return _write_layout(scale, False)


def packed_scale(scale: torch.Tensor) -> torch.Tensor | None:
    """FP32 or UE8M0 scales as packed words column by column."""
    return _write_layout(scale, True)


def _write_layout(scale: torch.Tensor, packed: bool) -> torch.Tensor | None:
    layout = _native.column_scale_layout(scale, packed)
    if layout is None:
        return scale
    if layout is False:
        return None
    out = _laid_out(scale, layout)
    _native.write_scale_layout(scale, out)
    return out
