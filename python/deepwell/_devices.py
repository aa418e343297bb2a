"""Which device serves a tensor: contexts of the native library, made when they are first needed.

CUDA tensors belong to the context of their device; tensors on the CPU to the emulated device that the caller has chosen, by
`deepwell.device(...)` or by the environment variable DEEPWELL_DEVICE=emu:sm_120a.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import sysconfig
import threading
from collections.abc import Iterator

from . import _hook, _native, _other, errors

CPU, CUDA = 1, 2  # DLPack's kDLCPU and kDLCUDA
NOT_OURS = -1
_FOR_CPU_TENSORS = ("emu:", "null:")  # "null:sm_120a" runs nothing: for measuring what a call costs the host

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("deepwell.device", default=None)
_lock = threading.RLock()
_handles: dict[str, int] = {}  # by device as asked for
_capabilities: dict[int, tuple[int, int]] = {}  # of CUDA devices
_pdl = False


def _check_name(device: str) -> str:
    if not isinstance(device, str):
        raise errors.bad_type("device", type(device).__name__, "a str: 'emu:sm_120a' or 'emu:sm_121a'")
    if not device.startswith(_FOR_CPU_TENSORS):
        raise errors.bad_argument(
            "device",
            repr(device),
            "an emulated device for CPU tensors: 'emu:sm_120a', 'emu:sm_121a', 'emu:sm_90a'",
        )
    return device


@contextlib.contextmanager
def device(name: str) -> Iterator[None]:
    """Runs Deepwell's functions on CPU tensors in an emulated device, for the duration of a `with` block.

    `name` is "emu:sm_120a", "emu:sm_121a" or "emu:sm_90a", with ":<SMs>" behind it if the number of SMs matters. It holds for
    the current thread (more exactly, the current contextvars context). CUDA tensors are not affected. Raises BadArgumentError for
    another name, MissingError when the emulator is not installed.
    """
    _handle(_check_name(name))
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def emulated() -> str | None:
    """The emulated device on which CPU tensors run now, or None: `deepwell.device(...)`, else DEEPWELL_DEVICE."""
    chosen = _chosen.get()
    if chosen is None:
        chosen = os.environ.get("DEEPWELL_DEVICE", "")
    return chosen if chosen.startswith(_FOR_CPU_TENSORS) else None


def _handle(name: str) -> int:
    """The native context of a device."""
    known = _handles.get(name)
    if known is not None:
        return known
    with _lock:
        if name not in _handles:
            handle = _native.create_context(name)
            _native.set_pdl(handle, _pdl)
            _handles[name] = handle
        return _handles[name]


def handle(name: str) -> int:
    """The native context of an emulated device by its name. Raises BadArgumentError for another name."""
    return _handle(_check_name(name))


def _capability(index: int) -> tuple[int, int]:
    known = _capabilities.get(index)
    if known is None:
        import torch

        known = _capabilities[index] = torch.cuda.get_device_capability(index)
    return known


def serves_capability(major: int, minor: int) -> bool:
    """Whether Deepwell's kernels serve CUDA devices of this compute capability.

    12.0 and 12.1 always. 9.0 where no other DeepGEMM is installed, or with DEEPWELL_DEEP_GEMM=always.
    """
    if (major, minor) in ((12, 0), (12, 1)):
        return True
    if (major, minor) == (9, 0):
        return _hook.mode() == "always" or not _other.other_exists()
    return False


def decide(device_type: int, index: int) -> int:
    """The context's handle for tensors of a device, or NOT_OURS. What the native module asks.

    Raises BadArgumentError for tensors on the CPU when no emulated device is chosen: no other DeepGEMM takes them either.
    """
    if device_type == CPU:
        name = emulated()
        if name is None:
            raise errors.bad_argument(
                "device",
                "tensors on the CPU",
                "CUDA tensors, or an emulated device for those on the CPU: DEEPWELL_DEVICE=emu:sm_120a in the "
                "environment, or `with deepwell.device('emu:sm_120a'):`",
            )
        return _handle(name)
    if device_type == CUDA and serves_capability(*_capability(index)):
        return _handle(f"cuda:{index}")
    return NOT_OURS


def current() -> tuple[int, int]:
    """(DLPack device type, index) of the device that calls without tensors mean: an emulated one if chosen, else CUDA's current."""
    if emulated() is not None:
        return CPU, 0
    import torch

    return CUDA, torch.cuda.current_device()


def target(device_type: int, index: int) -> str:
    """ "sm_120a", "sm_90a", ...: what kernels are compiled for on a device of ours."""
    handle = decide(device_type, index)
    if handle == NOT_OURS:
        raise errors.UnsupportedError(
            f"no kernels of Deepwell serve DLPack device ({device_type}, {index})",
            "device",
            f"({device_type}, {index})",
        )
    return _native.context_names(handle)[1]


def major(device_type: int, index: int) -> int:
    """Major compute capability of a device, ours or not."""
    if device_type == CPU:
        return int(target(device_type, index).removeprefix("sm_").rstrip("af")) // 10
    return _capability(index)[0]


def sm_count(device_type: int, index: int) -> int:
    """Streaming multiprocessors of a device, ours or not."""
    if device_type == CPU:
        return _native.sm_count(decide(device_type, index))
    import torch

    return torch.cuda.get_device_properties(index).multi_processor_count


def set_pdl(on: bool) -> None:
    """Programmatic dependent launch for all later launches on every device."""
    global _pdl
    with _lock:
        _pdl = bool(on)
        for handle in _handles.values():
            _native.set_pdl(handle, _pdl)


def pdl() -> bool:
    """Whether launches use programmatic dependent launch."""
    return _pdl


def raise_notes() -> None:
    """Raises BadArgumentError when kernels have noted something since the last call, such as FP32 scales that lost bits when they
    were packed to exponents. Does not wait for a device: synchronise first to hear of work that still runs."""
    for handle in list(_handles.values()):
        _native.raise_notes(handle)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _handles.clear()
    _native.forget_after_fork()


def _find_wheels() -> None:
    """NVRTC may be a wheel beside this package: the library looks where Python would."""
    if os.environ.get("DEEPWELL_WHEEL_PATHS"):
        return
    places = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    for name in ("purelib", "platlib"):
        place = sysconfig.get_path(name)
        if place and place not in places:
            places.append(place)
    _native.set_option("DEEPWELL_WHEEL_PATHS", ":".join(places))


_find_wheels()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_native.close)
