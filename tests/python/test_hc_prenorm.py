"""tf32_hc_prenorm_gemm from Python: bitwise on exact data, close on others, every layout, and mistakes by name.

On CPU tensors, which run on emulated boards; with DEEPWELL_TEST_DEVICE=cuda the same on a GPU.
"""

from __future__ import annotations

import pytest
import reference as ref
import torch

import deep_gemm
import deepwell
from deep_gemm.testing import calc_diff
from deepwell import errors

POISON = -12345.0
EMULATED = ref.DEVICE == "cpu"


@pytest.fixture(params=["emu:sm_120a", "emu:sm_121a", "emu:sm_90a"] if EMULATED else ["cuda"], autouse=True)
def device(request):
    if not EMULATED:
        yield request.param
        return
    with deepwell.device(request.param):
        yield request.param


def operands(m: int, n: int, k: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Small integers; those of b have bits that TF32 does not have."""
    a = ref.integers(-8, 9, (m, k), seed).to(torch.bfloat16)
    tail = ref.integers(0, 1 << 13, (n, k), seed + 2, torch.int32)
    b = (ref.integers(-8, 9, (n, k), seed + 1).float().view(torch.int32) | tail).view(torch.float32)
    return a, b


def cut(b: torch.Tensor) -> torch.Tensor:
    return (b.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


def parts_of(k: int, splits: int) -> list[slice]:
    blocks = (k + 63) // 64
    ends = [0]
    for s in range(splits):
        ends.append(ends[-1] + blocks // splits + (s < blocks % splits))
    return [slice(64 * first, min(64 * last, k)) for first, last in zip(ends, ends[1:])]


def want(a: torch.Tensor, b: torch.Tensor, splits: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = a.double(), cut(b).double()
    if splits is None:
        return x @ y.T, x.square().sum(-1)
    parts = parts_of(a.shape[1], splits)
    return (
        torch.stack([x[:, part] @ y[:, part].T for part in parts]),
        torch.stack([x[:, part].square().sum(-1) for part in parts]),
    )


def outputs(m: int, n: int, splits: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    axes = () if splits is None else (splits,)
    return torch.full((*axes, m, n), POISON), torch.full((*axes, m), POISON)


@pytest.mark.parametrize("splits", [None, 1, 3, 16, 64])
@pytest.mark.parametrize("m,n,k", [(1, 24, 1024), (33, 24, 640), (5, 7, 1000), (17, 128, 512), (4, 1, 63)])
def test_bitwise(m, n, k, splits):
    a, b = operands(m, n, k)
    d, sqr_sum = outputs(m, n, splits)
    assert deep_gemm.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, splits) is None
    want_d, want_sqr = want(a, b, splits)
    assert torch.equal(d, want_d.float())
    assert torch.equal(sqr_sum, want_sqr.float())


@pytest.mark.parametrize("splits", [None, 16])
def test_close_to_a_tf32_product(splits):
    m, n, k = 13, 24, 7168
    generator = torch.Generator("cpu").manual_seed(5)
    a = torch.randn((m, k), generator=generator, device="cpu").to(torch.bfloat16).to(ref.DEVICE)
    b = torch.randn((n, k), generator=generator, device="cpu").to(ref.DEVICE)
    d, sqr_sum = outputs(m, n, splits)
    deep_gemm.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, num_splits=splits)
    if splits is not None:
        d, sqr_sum = d.sum(0), sqr_sum.sum(0)
    want_d, want_sqr = want(a, b, None)
    assert calc_diff(d, want_d) < 1e-8
    assert calc_diff(sqr_sum, want_sqr) < 1e-8
    again = outputs(m, n, splits)
    deep_gemm.tf32_hc_prenorm_gemm(a, b, *again, num_splits=splits)
    assert torch.equal(again[0] if splits is None else again[0].sum(0), d)


@pytest.mark.parametrize("splits", [None, 5])
def test_any_pitch_and_any_start(splits):
    """Rows at odd distances, starts at no multiple of 16 bytes, sums with gaps: nothing in between is touched."""
    m, n, k = 9, 24, 200
    a, b = operands(m, n, k)
    strange_a = torch.full((m, k + 3), float("nan"), dtype=torch.bfloat16)[:, 1 : 1 + k]
    strange_b = torch.full((n, k + 5), float("nan"))[:, 3 : 3 + k]
    strange_a.copy_(a)
    strange_b.copy_(b)
    parts = 1 if splits is None else splits
    storage = torch.full((parts, m, n + 7), POISON)
    sums = torch.full((parts, m, 3), POISON)
    d, sqr_sum = storage[:, :, 5 : 5 + n], sums[:, :, 1]
    if splits is None:
        d, sqr_sum = d[0], sqr_sum[0]
    deep_gemm.tf32_hc_prenorm_gemm(strange_a, strange_b, d, sqr_sum, splits)
    want_d, want_sqr = want(a, b, splits)
    assert torch.equal(d, want_d.float()) and torch.equal(sqr_sum, want_sqr.float())
    storage[:, :, 5 : 5 + n] = POISON
    sums[:, :, 1] = POISON
    assert bool((storage == POISON).all()) and bool((sums == POISON).all())


def test_repeated_rows_of_a():
    a, b = operands(1, 24, 128)
    d, sqr_sum = outputs(3, 24, None)
    deep_gemm.tf32_hc_prenorm_gemm(a.expand(3, 128), b, d, sqr_sum)
    assert torch.equal(d, want(a, b, None)[0].float().expand(3, 24))


def test_no_tokens():
    for splits in (None, 16):
        a, b = operands(0, 24, 256)
        deep_gemm.tf32_hc_prenorm_gemm(a, b, *outputs(0, 24, splits), splits)


def refused(argument: str, **changes) -> None:
    a, b = operands(4, 24, 128)
    splits = changes.get("num_splits")
    d, sqr_sum = outputs(4, 24, splits if isinstance(splits, int) and splits > 0 else None)
    arguments = {"a": a, "b": b, "d": d, "sqr_sum": sqr_sum, **changes}
    with pytest.raises(errors.DeepwellError) as caught:
        deep_gemm.tf32_hc_prenorm_gemm(**arguments)
    assert caught.value.argument == argument, caught.value
    assert isinstance(caught.value, (errors.BadArgumentError, errors.BadTypeError))
    assert isinstance(caught.value, RuntimeError)
    for out in (d, sqr_sum):
        assert bool((out == POISON).all())


def test_mistakes_are_named():
    a, b = operands(4, 24, 128)
    refused("a.dtype", a=a.float())
    refused("b.dtype", b=b.to(torch.bfloat16))
    refused("d.dtype", d=torch.zeros(4, 24, dtype=torch.bfloat16))
    refused("sqr_sum.dtype", sqr_sum=torch.zeros(4, dtype=torch.float64).to(torch.float16))
    refused("a.rank", a=a[None])
    refused("d.rank", d=torch.zeros(1, 4, 24))
    refused("sqr_sum.rank", sqr_sum=torch.zeros(1, 4))
    refused("b.shape", b=b[:, :64])
    refused("b.shape", b=torch.zeros(129, 128), d=torch.zeros(4, 129))
    refused("b.shape", b=torch.zeros(0, 128), d=torch.zeros(4, 0))
    refused("a.shape", a=a[:, :0], b=b[:, :0])
    refused("d.shape", d=torch.zeros(5, 24))
    refused("sqr_sum.shape", sqr_sum=torch.zeros(5))
    refused("a.strides", a=torch.zeros(128, 4, dtype=torch.bfloat16).T)
    refused("b.strides", b=torch.zeros(128, 24).T)
    refused("d.strides", d=torch.zeros(24, 4).T)
    refused("d.strides", d=torch.zeros(1, 24).expand(4, 24))
    refused("sqr_sum.strides", sqr_sum=torch.zeros(1).expand(4))
    refused("d", b=b, d=b[:4, :24])
    refused("sqr_sum", b=b, sqr_sum=b[0, :4])
    refused("num_splits", num_splits=0, d=torch.zeros(1, 4, 24), sqr_sum=torch.zeros(1, 4))
    refused("num_splits", num_splits=-1, d=torch.zeros(1, 4, 24), sqr_sum=torch.zeros(1, 4))
    refused("num_splits", num_splits=1025, d=torch.zeros(1025, 4, 24), sqr_sum=torch.zeros(1025, 4))
    refused("num_splits", num_splits=4.0, d=torch.zeros(4, 4, 24), sqr_sum=torch.zeros(4, 4))
    refused("d.rank", num_splits=2, d=torch.zeros(4, 24), sqr_sum=torch.zeros(2, 4))
    refused("d.shape", num_splits=2, d=torch.zeros(3, 4, 24), sqr_sum=torch.zeros(2, 4))
    refused("sqr_sum.shape", num_splits=2, sqr_sum=torch.zeros(3, 4))
    refused("a", a=[1.0])


def test_both_outputs_in_one_tensor_are_refused():
    """They lie between each other: the check looks at ranges of bytes."""
    a, b = operands(4, 24, 128)
    both = torch.full((4, 25), POISON)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.tf32_hc_prenorm_gemm(a, b, both[:, :24], both[:, 24])
    assert caught.value.argument == "sqr_sum"
