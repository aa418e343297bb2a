"""The hyper-connections' product, which vLLM calls from its mHC code; with VLLM_USE_DEEP_GEMM=0 too, in the first layer."""

from __future__ import annotations

import judge
import operands
import pytest
import reference
import served
import torch
from vllm.model_executor.kernels.mhc import tilelang

STREAMS, MIXES = 4, 24


def check(generator, tokens: int, hidden: int, k: int, **options) -> None:
    x = operands.integers(generator, (tokens, k))
    fn = operands.integers(generator, (MIXES, k))
    result = served.call(
        "tf32_hc_prenorm_gemm",
        tilelang._hc_prenorm_gemm_outputs,
        x.to(torch.bfloat16),
        fn.float(),
        hidden_size=hidden,
        hc_mult=STREAMS,
        **options,
    )
    if result is served.MISSING:
        return
    mixes, squares = result
    want_mixes, want_squares = reference.hyper_connection_mix(x, fn)
    judge.exact(mixes.double().sum(0), want_mixes, 1.0, torch.float64, "mixes")
    judge.same(squares.double().sum(0), want_squares.value, "sums of squares")


@pytest.mark.settings("default", "no-e8m0")
@pytest.mark.parametrize("tokens", [1, 33, 100])
def test_residual_streams(generator, tokens):
    check(generator, tokens, 1024, STREAMS * 1024)


@pytest.mark.parametrize("tokens", [1, 33])
def test_first_layer(generator, tokens):
    """The streams are still equal there: one of them is enough, and TileLang has no kernel for it."""
    check(generator, tokens, 1024, 1024, use_tilelang_fallback=False)


@pytest.mark.settings("default")
@pytest.mark.parametrize(("tokens", "first"), [(33, True), (33, False), (1, False)])
def test_size_of_v4_flash(generator, tokens, first):
    """4 streams of 4096, or one of them; the number of splits is vLLM's for 188 SMs."""
    hidden = 4096
    options = {"use_tilelang_fallback": False} if first else {}
    check(generator, tokens, hidden, hidden if first else STREAMS * hidden, **options)
