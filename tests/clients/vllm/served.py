"""Which of the functions that vLLM calls for V4 on capability 12.x Deepwell's kernels serve.

A test of a function marked False expects an error that says what is missing, and fails as soon as the function works:
then the entry becomes True, and the same test checks results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SERVED = {
    "m_grouped_fp8_fp4_gemm_nt_contiguous": True,  # routed experts, FP4
    "m_grouped_fp8_gemm_nt_contiguous": True,  # routed experts, FP8
    "m_grouped_fp8_gemm_nt_masked": True,  # the same, batched
    "get_paged_mqa_logits_metadata": False,  # indexer, decode: its schedule
    "fp8_fp4_paged_mqa_logits": False,  # indexer, decode
    "fp8_fp4_mqa_logits": False,  # indexer, prefill
    "tf32_hc_prenorm_gemm": True,  # hyper-connections
}

MISSING = object()


def call(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of function(*args, **kwargs), a function of vLLM that ends in deep_gemm's `name`; MISSING where the
    table says that it is not served, and the error is as it should be."""
    if SERVED[name]:
        return function(*args, **kwargs)
    try:
        function(*args, **kwargs)
    except Exception as error:
        check_error(name, error)
        return MISSING
    raise AssertionError(f"{name} did not raise: if it is served now, the table in served.py has to say so")


def check_error(name: str, error: Exception) -> None:
    """A NotImplementedError, which is a RuntimeError, of Deepwell's own; it names the function and says what is missing."""
    assert isinstance(error, NotImplementedError), f"{name}: {type(error).__name__}: {error}"
    assert isinstance(error, RuntimeError)
    assert type(error).__module__ == "deepwell.errors", type(error)
    module = sys.modules["deep_gemm"]  # some functions have several names
    assert getattr(module, error.argument, None) is getattr(module, name), (
        f"the error is about {error.argument!r}"
    )
    assert error.argument in str(error)
    assert error.expected, f"it does not say what would be needed: {error}"
