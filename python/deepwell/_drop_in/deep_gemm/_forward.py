"""Who serves a call: Deepwell's native module, the other DeepGEMM, or nobody (an error that says so).

`SERVED` says for which kinds of calls Deepwell has kernels. For those, a function of this package asks the
native module first, which answers False (or None) for tensors of a device that is not Deepwell's, and raises
UnsupportedError for a form that no kernel takes; both go on to the other DeepGEMM. All other calls go there
at once, as they were made.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from typing import Any

from deepwell import _other
from deepwell.errors import (
    BadTypeError,
    DeepwellError,
    DeviceError,
    ToolchainError,
    UnsupportedError,
    bad_type,
)

from .epilogue import Epilogue

log = logging.getLogger("deepwell")

# Kind of call -> whether Deepwell's kernels serve it. To add kernels: flip the entry, and ask the native
# module in the function, as fp8_fp4_gemm_nt does.
SERVED = {
    "gemm": True,  # dense FP8 and FP4
    "fp8_einsum": True,  # bhr,hdr->bhd
    "scale_layout": True,
    "m_grouped": True,  # FP8 and FP4, ids of rows and masked
    "k_grouped": False,
    "bf16": False,
    "einsum": False,
    "mqa_logits": True,  # FP8, ragged and paged
    "mqa_schedule": False,  # of ragged logits
    "sparse_mqa_logits": False,
    "hc_prenorm": True,
    "skip_head_mid": False,
    "cublaslt": False,
    "mega": False,
    "legacy": False,
}

_WHAT = {
    "gemm": "this form of an FP8 or FP4 GEMM",
    "fp8_einsum": "this form of an FP8 einsum",
    "scale_layout": "this transform of scales",
    "m_grouped": "this form of an m-grouped GEMM",
    "k_grouped": "k-grouped GEMMs",
    "bf16": "BF16 GEMMs",
    "einsum": "BF16 einsums",
    "mqa_logits": "this form of MQA logits",
    "mqa_schedule": "schedules of ragged MQA logits",
    "sparse_mqa_logits": "sparse MQA logits",
    "hc_prenorm": "this form of the hyper-connection GEMM",
    "skip_head_mid": "GEMMs that skip the middle of heads",
    "cublaslt": "cuBLASLt products",
    "mega": "mega kernels",
    "legacy": "the Triton kernels for SM 8.0",
}

_runtime: Any = None


class NoRuntime:
    """Stands in for the native module where it does not load: it serves nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def fp8_fp4_gemm_nt(self, *arguments: Any) -> bool:
        return False

    def grouped_gemm_nt(self, *arguments: Any) -> bool:
        return False

    def fp8_einsum(self, *arguments: Any) -> bool:
        return False

    def tf32_hc_prenorm_gemm(self, *arguments: Any) -> bool:
        return False

    def transform_scale(self, *arguments: Any) -> None:
        return None

    def mn_major_scale(self, scale: Any) -> None:
        return None

    def packed_scale(self, scale: Any) -> None:
        return None

    def fp8_mqa_logits(self, *arguments: Any) -> None:
        return None

    def fp8_paged_mqa_logits(self, *arguments: Any) -> None:
        return None

    def paged_mqa_logits_metadata(self, *arguments: Any) -> None:
        return None

    def set_pdl(self, on: bool) -> None:
        pass

    def serves(self, tensor: Any) -> bool:
        return False

    def sm_count(self) -> int:
        import torch

        return torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count

    def device_major(self) -> int:
        import torch

        return torch.cuda.get_device_capability()[0]


def runtime() -> Any:
    """The native module `deepwell._runtime`, loaded at the first call; a NoRuntime if it does not load."""
    global _runtime
    if _runtime is None:
        try:
            _runtime = importlib.import_module("deepwell._runtime")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.warning("Deepwell's native module did not load, its kernels are not used: %s", reason)
            _runtime = NoRuntime(reason)
        for callback in _on_runtime:
            callback(_runtime)
    return _runtime


_on_runtime: list[Callable[[Any], None]] = []


def on_runtime(callback: Callable[[Any], None]) -> None:
    """Calls `callback(module)` once the native module is loaded."""
    _on_runtime.append(callback)


def loaded_runtime() -> Any:
    """What `runtime` has loaded, or None."""
    return _runtime


def sm_count() -> int:
    """SMs of the current device, real or emulated. Raises DeviceError where there is none."""
    return _of_device("sm_count")


def device_major() -> int:
    """The compute capability's first number of the current device. Raises DeviceError where there is none."""
    return _of_device("device_major")


def _of_device(question: str) -> int:
    try:
        return getattr(runtime(), question)()
    except DeepwellError:
        raise
    except (RuntimeError, AssertionError) as error:  # what torch says without a GPU
        instead = "no emulated device is chosen"
        if isinstance(_runtime, NoRuntime):
            instead = f"Deepwell's native module did not load ({_runtime.reason})"
        raise DeviceError(f"no GPU: {error}; and {instead}") from error


def device_text() -> str:
    """The device at hand for an error message: `SM 12.x`, or that there is none."""
    try:
        return f"SM {device_major()}.x"
    except Exception:
        return "no device"


def nobody(name: str, kind: str) -> DeepwellError:
    """The error for a call of this kind that nothing here serves."""
    lacks = f"Deepwell does not serve {_WHAT[kind]} on this device ({device_text()})"
    if not SERVED[kind]:
        lacks = f"Deepwell has no kernels for {_WHAT[kind]} yet (device: {device_text()})"
    elif isinstance(_runtime, NoRuntime):
        lacks = f"Deepwell's native module did not load ({_runtime.reason})"
    return _other.nobody(name, lacks)


def takes(function: Any, parameter: str) -> bool | None:
    """Whether a function of the other DeepGEMM has a parameter of that name; None where its form cannot be
    read.

    The three versions bind their functions in three ways: Python functions, pybind11 functions whose
    docstring lists the parameters, and operators with a schema.
    """
    code = getattr(function, "__code__", None)
    if code is not None:
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return parameter in names if names else None
    schema = getattr(getattr(function, "default", None), "_schema", None)
    if schema is not None:
        return any(argument.name == parameter for argument in schema.arguments)
    first_line = (getattr(function, "__doc__", None) or "").strip().split("\n", 1)[0]
    return f"{parameter}:" in first_line if "(" in first_line else None


def find(kind: str, *names: str) -> Callable[..., Any]:
    """The other DeepGEMM's function under the first name that it has. Raises the error for `kind` if it has
    none.
    """
    for name in names:
        function = _other.attribute(name)
        if function is not None:
            return function
    raise nobody(names[0], kind)


def given(**options: Any) -> dict[str, Any]:
    """The options that are neither None nor False: an older DeepGEMM need not know what a caller has not
    asked for.
    """
    return {name: value for name, value in options.items() if value is not None and value is not False}


def ours_or_theirs(name: str, on: Any, native: Any, theirs: Any) -> Any:
    """`native()`, a tensor or None for a device that is not Deepwell's; else `theirs()`. `native` None: not asked.

    `name`: the other DeepGEMM's function. `on`: a tensor of the call. What Deepwell refuses or cannot compile goes to
    the other one if there is one. Deepwell is asked once more where the other does not load.
    """
    refusal = None
    if native is not None:
        try:
            result = native()
            if result is None and _other.other() is None:
                result = native()
            if result is not None:
                return result
        except (UnsupportedError, ToolchainError) as error:
            refusal = error
    if refusal is None:
        return theirs()
    if _other.attribute(name) is None:
        raise refusal
    try:
        return theirs()
    except Exception:
        if on_cpu(on):
            raise refusal from None
        raise


def on_cpu(tensor: Any) -> bool:
    """Whether a tensor is an emulated device's. Another DeepGEMM has no kernels for it: what it says about
    one that Deepwell has refused helps nobody.
    """
    return getattr(getattr(tensor, "device", None), "type", None) == "cpu"


def names_of_other(path: str) -> Callable[[str], Any]:
    """A module's __getattr__ for the names that only the other DeepGEMM's module `path` has."""

    def __getattr__(name: str) -> Any:
        if not name.startswith("__"):
            theirs = _other.attribute(f"{path}.{name}")
            if theirs is not None:
                return theirs
        raise AttributeError(f"module 'deep_gemm.{path}' has no attribute {name!r}")

    return __getattr__


def no_pair(a: Any, b: Any, error: Exception) -> DeepwellError:
    """The error for operands of which one is no pair of data and scale."""
    for name, pair in (("a", a), ("b", b)):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            return bad_type(name, type(pair).__name__, "a pair (data, scale)")
    return bad_type("a, b, d", str(error), "pairs (data, scale) of tensors, and a tensor")


def their_epilogue(epilogue: Any) -> Any:
    """An epilogue object of this package as one of the other DeepGEMM's; anything else as it is."""
    if not isinstance(epilogue, Epilogue):
        return epilogue
    theirs = _other.attribute(f"epilogue.{type(epilogue).__name__}")
    if theirs is None:
        raise _other.nobody(
            f"epilogue.{type(epilogue).__name__}", "Deepwell has no epilogues other than adding c"
        )
    return theirs(*epilogue.arguments())


def shown_as(form: Callable[..., Any]) -> Callable[[Any], Any]:
    """Gives a function that also accepts older forms the signature of the current one."""

    def decorate(function: Any) -> Any:
        function.__wrapped__ = form
        return function

    return decorate


def forwarded(kind: str, *other_names: str, adapt: Callable[..., Any] | None = None) -> Callable[[Any], Any]:
    """Makes a function whose calls go to the other DeepGEMM as they were made.

    The decorated function gives name, signature and documentation; its body is not used. `other_names`: where
    the other has it, if not under the same name. `adapt(function, args, kwargs)` returns args and kwargs in
    the form that the other's function takes.
    """

    def decorate(form: Any) -> Any:
        names = other_names or (form.__name__,)

        @functools.wraps(form)
        def call(*args: Any, **kwargs: Any) -> Any:
            for name in names:
                function = _other.attribute(name)
                if function is not None:
                    break
            else:
                raise _wrong_form(form, args, kwargs, adapt) or nobody(names[0], kind)
            if adapt is not None:
                args, kwargs = adapt(function, args, kwargs)
            if kwargs and "epilogue" in kwargs:
                kwargs["epilogue"] = their_epilogue(kwargs["epilogue"])
                if kwargs["epilogue"] is None:  # an older one has no such name
                    del kwargs["epilogue"]
            elif args and isinstance(args[-1], Epilogue):
                args = (*args[:-1], their_epilogue(args[-1]))
            return function(*args, **kwargs)

        return call

    return decorate


def served_first(serve: Callable[..., bool]) -> Callable[[Any], Any]:
    """Makes a forwarded function ask `serve(*args, **kwargs)` first, which has its current signature, runs the call on
    Deepwell's kernels and returns True, or returns False for a form or a device that is not Deepwell's. Who serves
    what is refused: see ours_or_theirs.
    """

    def decorate(forward: Any) -> Any:
        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            def native() -> bool | None:
                try:
                    return serve(*args, **kwargs) or None
                except TypeError as error:
                    if isinstance(error, DeepwellError) or _fits(serve, args, kwargs):
                        raise
                    return None  # an older form: its arguments are adapted where they are forwarded

            on = args[0] if args else kwargs.get("a")
            ours_or_theirs(forward.__name__, data_of(on), native, lambda: forward(*args, **kwargs))

        return call

    return decorate


def _fits(function: Any, args: Any, kwargs: Any) -> bool:
    import inspect

    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def data_of(operand: Any) -> Any:
    """The tensor of a pair (data, scale), or the tensor itself."""
    return operand[0] if isinstance(operand, (tuple, list)) and operand else operand


def _wrong_form(form: Any, args: Any, kwargs: Any, adapt: Any) -> DeepwellError | None:
    """The error for arguments that fit no version of the interface, where nobody is there to say so."""
    import inspect

    if adapt is not None:
        try:
            args, kwargs = adapt(form, args, kwargs)
        except DeepwellError as error:
            return error
    try:
        inspect.signature(form).bind(*args, **kwargs)
    except TypeError as error:
        return BadTypeError(
            f"{form.__name__}: {error}", form.__name__, str(error), f"{inspect.signature(form)}"
        )
    return None
