"""Warming up: every kernel of a model is compiled and loaded before it serves, and none in the middle."""

from __future__ import annotations

import json
import logging
import operator
import os
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from . import _devices, _native, errors
from . import _runtime as _runtime  # sets the native module up

_log = logging.getLogger("deepwell")


class WarmUp(NamedTuple):
    """What a warm-up did. `kernels` is the sum of the next four."""

    kernels: int
    compiled: int
    from_archive: int
    from_cache: int
    in_memory: int
    seconds: float
    device: str
    target: str


class KernelCounts(NamedTuple):
    """Kernels of a device in this process. `late`: built after a warm-up was over."""

    loaded: int
    compiled: int
    from_archive: int
    from_cache: int
    late: int


def _plain(value: object) -> object:
    """For JSON: NumPy's ints become ints, other classes their text."""
    try:
        return operator.index(value)
    except TypeError:
        return str(value)


def _config_text(config: Mapping) -> str:
    text = json.dumps(dict(config), default=_plain, skipkeys=True)
    if "NaN" in text or "Infinity" in text:  # which JSON has not
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text


def _config(model_config: object) -> tuple[str | None, str | None]:
    """(text of a config.json, path): one of the two, or none for V4-Flash."""
    if model_config is None:
        return None, None
    if isinstance(model_config, (str, os.PathLike)):
        return None, os.fsdecode(model_config)
    if isinstance(model_config, Mapping):
        return _config_text(model_config), None
    for name in ("hf_text_config", "hf_config"):  # vLLM's ModelConfig
        model_config = getattr(model_config, name, model_config)
    to_dict = getattr(model_config, "to_dict", None)
    if not callable(to_dict):
        raise errors.bad_type(
            "model_config",
            f"a {type(model_config).__name__}",
            "a Hugging Face config, a dict, or the path of a config.json or its folder",
        )
    return _config_text(to_dict()), None


def _handle(device: object) -> int:
    """The native context of a device as callers name it."""
    expected = "a CUDA device, or 'emu:sm_120a'"
    emulated = _devices.emulated() if device is None else device
    if isinstance(emulated, str) and not emulated.startswith(("cuda", "cpu")):
        return _devices.handle(emulated)
    index = isinstance(device, int) and not isinstance(device, bool)
    try:
        named = torch.device("cuda" if device is None else f"cuda:{device}" if index else device)
    except (RuntimeError, TypeError) as error:
        raise errors.bad_argument("device", repr(device), expected) from error
    if named.type == "cpu":
        return _devices.decide(_devices.CPU, 0)
    if named.type != "cuda":
        raise errors.bad_argument("device", repr(device), expected)
    if not torch.cuda.is_available():
        raise errors.UnsupportedError("device: torch sees no CUDA device", "device", str(named), expected)
    index = torch.cuda.current_device() if named.index is None else named.index
    if index >= torch.cuda.device_count():
        raise errors.bad_argument("device", str(named), f"one of {torch.cuda.device_count()} CUDA devices")
    handle = _devices.decide(_devices.CUDA, index)
    if handle == _devices.NOT_OURS:
        raise errors.UnsupportedError(
            f"device: no kernels of Deepwell serve cuda:{index}", "device", f"cuda:{index}", "SM 12.0 or 12.1"
        )
    return handle


class _Line:
    """One line of progress on a terminal, drawn over itself."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, done: int, total: int, kernel: str) -> None:
        sys.stderr.write(f"\r\x1b[Kdeepwell: warming up {self._device}  {done}/{total}  {kernel[:60]}")
        sys.stderr.flush()

    def erase(self) -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def warmup(
    model_config: object = None,
    tp: int = 1,
    device: object = None,
    progress: bool | Callable[[int, int, str], object] = True,
) -> WarmUp:
    """Compiles and loads, in parallel, every kernel that a DeepSeek-V4 model needs on one rank.

    Returns when all are loaded. model_config: a Hugging Face config object, a dict like one, the path of a
    config.json or of the folder that holds it; None means V4-Flash. tp: number of tensor-parallel ranks.
    device: as torch names it, or "emu:sm_120a"; default: the one that calls mean now. progress: True draws a
    line where stderr is a terminal; a callable gets (done, total, kernel) and ends the warm-up by raising.

    Kernels come from the archives in DEEPWELL_KERNELS, else from the cache, else from a compiler. Ranks with
    one cache folder that warm up at the same time share the compiling. Afterwards a call that still needs a
    kernel does what DEEPWELL_AFTER_WARMUP says. Raises BadArgumentError naming the argument
    (model_config.FIELD for a field), UnsupportedError for a device or size that nothing serves,
    ToolchainError when a compiler is needed and missing.
    """
    text, path = _config(model_config)
    if isinstance(tp, bool):
        raise errors.bad_type("tp", "a bool", "an int")
    if progress not in (True, False, None) and not callable(progress):
        raise errors.bad_type("progress", f"a {type(progress).__name__}", "a bool or a callable")
    handle = _handle(device)
    name, target = _native.context_names(handle)
    line = _Line(name) if progress is True and sys.stderr.isatty() else None
    try:
        kernels, in_memory, from_archive, from_cache, compiled, seconds = _native.warmup(
            handle, text, path, tp, progress if callable(progress) else line
        )
    finally:
        if line is not None:
            line.erase()
    done = WarmUp(kernels, compiled, from_archive, from_cache, in_memory, seconds, name, target)
    _log.info("%s", done)
    return done


def kernel_counts(device: object = None) -> KernelCounts:
    """How many kernels this process has for a device, and where they came from. `device` as in warmup()."""
    loaded, compiled, from_archive, from_cache, late = _native.kernel_counts(_handle(device))
    return KernelCounts(loaded, compiled, from_archive, from_cache, late)
