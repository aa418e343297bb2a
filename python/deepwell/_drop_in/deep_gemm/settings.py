"""Settings of the process. Kept here; passed on to the other DeepGEMM when it is loaded, and at each change
after that.

None changes a result. Values that were never set are not passed on: the other keeps its own defaults.
"""

from __future__ import annotations

import operator
from types import ModuleType
from typing import Any

from deepwell import _hook, _other
from deepwell.errors import bad_argument, bad_type

from ._forward import SERVED, device_major, loaded_runtime, on_runtime, runtime, sm_count

__all__ = [
    "set_num_sms",
    "get_num_sms",
    "set_tc_util",
    "get_tc_util",
    "set_pdl",
    "get_pdl",
    "set_ignore_compile_dims",
    "set_block_size_multiple_of",
    "use_deterministic_algorithms",
    "set_mk_alignment_for_contiguous_layout",
    "get_mk_alignment_for_contiguous_layout",
    "get_theoretical_mk_alignment_for_contiguous_layout",
    "get_m_alignment_for_contiguous_layout",
    "get_k_alignment_for_contiguous_layout",
    "shutdown",
]

_given: dict[str, Any] = {}  # setter -> the value it was last called with


def _set(setter: str, value: Any) -> None:
    theirs = _other.loaded()
    if theirs is not None:
        _pass_on(theirs, setter, value)
    _given[setter] = value


def _pass_on(theirs: ModuleType, setter: str, value: Any) -> None:
    function = getattr(theirs, setter, None)
    if function is not None:  # an older one has fewer
        function(sm_count() if setter == "set_num_sms" and value == 0 else value)


def _apply_to_other(theirs: ModuleType) -> None:
    """One that is refused keeps none of the others from arriving; the first refusal is reported at the end."""
    refused = None
    for setter, value in list(_given.items()):
        try:
            _pass_on(theirs, setter, value)
        except Exception as error:
            refused = refused or error
    if refused is not None:
        raise refused


_other.on_load(_apply_to_other)


def _apply_to_runtime(native: Any) -> None:
    """Gives a native module that has just been loaded the settings that it knows."""
    if "set_pdl" in _given:
        native.set_pdl(_given["set_pdl"])


on_runtime(_apply_to_runtime)


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise bad_type(name, value, "an int")
    try:
        return operator.index(value)
    except TypeError:
        raise bad_type(name, type(value).__name__, "an int") from None


def set_num_sms(new_num_sms) -> None:
    """How many SMs kernels may count on, 1 to the device's number; 0 means all again. Deepwell's kernels use
    all.
    """
    number = _integer("new_num_sms", new_num_sms)
    if number < 0:
        raise bad_argument("new_num_sms", number, "0 or more")
    if number > 0 and number > sm_count():
        raise bad_argument("new_num_sms", number, f"at most the device's {sm_count()}")
    _set("set_num_sms", number)


def get_num_sms() -> int:
    """What set_num_sms has set, else the number of SMs of the current device."""
    return _given.get("set_num_sms") or sm_count()


def set_tc_util(new_tc_util) -> None:
    """How much of the tensor cores to use, in percent, 0 to 100; a hint to kernels of SM 9.0 and 10.x."""
    percent = _integer("new_tc_util", new_tc_util)
    if not 0 <= percent <= 100:
        raise bad_argument("new_tc_util", percent, "0 to 100")
    _set("set_tc_util", percent)


def get_tc_util() -> int:
    """What set_tc_util has set, in percent; 100 where that is 0 or nothing."""
    return _given.get("set_tc_util") or 100


def set_pdl(new_enable_pdl) -> None:
    """Whether kernels may start before their predecessor has ended (programmatic dependent launch). Off at
    first.
    """
    on = bool(new_enable_pdl)
    native = loaded_runtime()
    if native is not None:
        native.set_pdl(on)
    _set("set_pdl", on)


def get_pdl() -> bool:
    """What set_pdl has set."""
    return _given.get("set_pdl", False)


def set_ignore_compile_dims(new_value) -> None:
    """Whether a DeepGEMM ignores `compiled_dims`. Deepwell always does."""
    _set("set_ignore_compile_dims", bool(new_value))


def set_block_size_multiple_of(value) -> None:
    """An int, or (m, n): tile sizes of a DeepGEMM are multiples of it. No effect on Deepwell's kernels."""
    if not isinstance(value, int):
        value = tuple(_integer("value", each) for each in value)
        if len(value) not in (1, 2):
            raise bad_argument("value", value, "an int, or two")
    _set("set_block_size_multiple_of", value)


def use_deterministic_algorithms(enabled) -> None:
    """Whether a DeepGEMM avoids sums in changing order. Deepwell's kernels always do."""
    _set("use_deterministic_algorithms", bool(enabled))


def set_mk_alignment_for_contiguous_layout(value) -> None:
    """In rows: where experts begin in contiguous grouped layouts. 128 at first."""
    rows = _integer("value", value)
    if rows <= 0:
        raise bad_argument("value", rows, "1 or more")
    _set("set_mk_alignment_for_contiguous_layout", rows)


def get_mk_alignment_for_contiguous_layout() -> int:
    """What set_mk_alignment_for_contiguous_layout has set, in rows."""
    return _given.get("set_mk_alignment_for_contiguous_layout", 128)


get_m_alignment_for_contiguous_layout = get_mk_alignment_for_contiguous_layout
get_k_alignment_for_contiguous_layout = get_mk_alignment_for_contiguous_layout


def get_theoretical_mk_alignment_for_contiguous_layout(expected_m=None, num_groups=None) -> int:
    """The alignment that suits the implementation which will run grouped GEMMs, in rows.

    expected_m: rows of all experts together where num_groups is given, else of one. num_groups: experts.
    Deepwell's kernels: 8, 16, 32 or 64, the least that is twice the rows of one expert, else 128; 128 where nothing
    is expected. On devices that it does not serve the other DeepGEMM answers, for the rows of one expert, whichever
    number of arguments it takes. Where there is none, its rules: 128 on SM 9.0, 256 on SM 10.x, 64 up to 64
    rows and else 128 on SM 12.x.
    """
    rows = None if expected_m is None else _integer("expected_m", expected_m)
    if rows is not None and num_groups is not None:
        groups = _integer("num_groups", num_groups)
        if groups <= 0:
            raise bad_argument("num_groups", groups, "1 or more")
        rows = -(-rows // groups)
    if SERVED["m_grouped"] and _runs_here():
        return 128 if rows is None else runtime().grouped_gemm_alignment(rows, 1)
    theirs = _other.attribute("get_theoretical_mk_alignment_for_contiguous_layout")
    if theirs is not None:
        try:
            return theirs() if rows is None else theirs(rows)
        except (RuntimeError, AssertionError):
            if _has_cuda():
                raise
    return _by_architecture(rows)


def _runs_here() -> bool:
    """Whether Deepwell's kernels will run; without a device nobody's will."""
    try:
        return _is_deepwells_device()
    except Exception:
        return False


def _is_deepwells_device() -> bool:
    """Whether the current device is one whose calls Deepwell serves before the other DeepGEMM is asked."""
    major = device_major()
    return major == 12 or (major == 9 and (_hook.mode() == "always" or not _other.other_exists()))


def _has_cuda() -> bool:
    """Whether this process sees a GPU: the other DeepGEMM asks it for its architecture, an emulated device
    has none.
    """
    import torch

    return torch.cuda.is_available()


def _by_architecture(rows: int | None) -> int:
    try:
        major = device_major()
    except Exception:  # without a device no kernel will run
        return 128
    if major == 10:
        return 256
    return 64 if major == 12 and rows is not None and rows <= 64 else 128


def shutdown() -> None:
    """Frees what the other DeepGEMM holds, if it is loaded and can: its cuBLASLt handle and workspaces."""
    function = getattr(_other.loaded(), "shutdown", None)
    if function is not None:
        function()
