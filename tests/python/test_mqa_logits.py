"""The indexer's logits from Python: every form of call, bitwise against double precision; errors; torch operators.

On CPU tensors, which run on emulated boards; with DEEPWELL_TEST_DEVICE=cuda the same on a GPU.
"""

from __future__ import annotations

import pytest
import reference as ref
import torch
from torch.library import opcheck

import deep_gemm
import deepwell
from deepwell import errors

EMULATED = ref.DEVICE == "cpu"


@pytest.fixture(params=["emu:sm_120a", "emu:sm_121a", "emu:sm_90a"] if EMULATED else ["cuda"], autouse=True)
def device(request, monkeypatch):
    if EMULATED:
        monkeypatch.setenv("DEEPWELL_DEVICE", request.param)
    return request.param


def few(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return ref.integers(-2, 3, shape, seed).float().to(torch.float8_e4m3fn)


def queries(rows: int, heads: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    return few((rows, heads, dim), 1), ref.integers(-3, 4, (rows, heads), 2).float()


def keys(count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    return few((count, dim), 3), ref.scale_values(ref.exponents((count,), 4)).float()


def logits_of(q, weights, kv, scale) -> torch.Tensor:
    """A logit for every row and key, exact."""
    dots = torch.einsum("rhd,kd->rhk", q.double(), kv.double()).relu()
    return (torch.einsum("rhk,rh->rk", dots, weights.double()) * scale.double()).float()


def cache_of(kv, scale, pages: int, page: int, gap: int = 0) -> torch.Tensor:
    """[pages, page, 1, dim + 4] uint8: in a page all values, then all scales; `gap` bytes of 0xff between pages."""
    dim = kv.shape[1]
    size = page * (dim + 4)
    canvas = torch.full((pages, size + gap), 0xFF, dtype=torch.uint8)
    canvas[:, : page * dim] = kv.view(torch.uint8).reshape(pages, page * dim)
    canvas[:, page * dim : size] = scale.view(torch.uint8).reshape(pages, page * 4)
    return canvas.as_strided((pages, page, 1, dim + 4), (size + gap, dim + 4, dim + 4, 1))


def ints(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def ragged(heads=64, dim=128, count=300):
    start, end = ints(0, 5, 64, 9, 299), ints(1, 300, 64, 200, 300)
    q, weights = queries(5, heads, dim)
    kv, scale = keys(count, dim)
    return q, weights, kv, scale, start, end


def compressed_is_right(logits, want, start, end):
    for row, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        assert torch.equal(logits[row, : last - first], want[row, first:last]), f"row {row}"


@pytest.mark.parametrize(("heads", "dim"), [(64, 128), (32, 64), (24, 128), (1, 32)])
def test_ragged(heads, dim):
    q, weights, kv, scale, start, end = ragged(heads, dim)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 295)
    assert logits.shape == (5, 295) and logits.dtype == torch.float32 and logits.stride() == (512, 1)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)


def test_ragged_older_forms():
    q, weights, kv, scale, start, end = ragged(16, 64)
    want = logits_of(q, weights, kv, scale)
    key = torch.arange(300)
    outside = (key < start[:, None]) | (key >= end[:, None])
    pair = ((kv, scale), weights, start, end)
    for logits in (
        deep_gemm.fp8_fp4_mqa_logits((q, None), *pair),
        deep_gemm.fp8_fp4_mqa_logits((q, None), *pair, True),
        deep_gemm.fp8_mqa_logits(q, *pair),
    ):
        assert torch.equal(logits, want.masked_fill(outside, float("-inf")))
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), *pair, False)
    assert torch.equal(logits.masked_fill(outside, 0), want.masked_fill(outside, 0))
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), *pair, True, 0, torch.bfloat16)
    assert torch.equal(logits, want.masked_fill(outside, float("-inf")).bfloat16())
    compressed_is_right(deep_gemm.fp8_mqa_logits(q, *pair, False, 295), want, start, end)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_fp4_mqa_logits((q, None), *pair, True, 295)
    assert caught.value.argument == "clean_logits"


def test_views_that_are_not_contiguous():
    """Slices of wider tensors: queries, weights and keys."""
    q, weights, kv, scale, start, end = ragged(16, 64)
    want = logits_of(q, weights, kv, scale)
    wide_q = torch.zeros(5, 16, 65, dtype=torch.uint8)
    wide_q[:, :, 1:] = q.view(torch.uint8)
    wide_kv = torch.zeros(300, 80, dtype=torch.uint8)
    wide_kv[:, :64] = kv.view(torch.uint8)
    wide_weights = torch.zeros(5, 19)
    wide_weights[:, 2:18] = weights
    logits = deep_gemm.fp8_fp4_mqa_logits(
        (wide_q[:, :, 1:].view(torch.float8_e4m3fn), None),
        (wide_kv[:, :64].view(torch.float8_e4m3fn), scale),
        wide_weights[:, 2:18],
        start,
        end,
        295,
    )
    compressed_is_right(logits, want, start, end)


def paged(next_n=1, page=64, heads=64, dim=128, gap=0):
    requests, columns, pages = 3, 4, 14
    q, weights = queries(requests * next_n, heads, dim)
    kv, scale = keys(pages * page, dim)
    table = torch.randperm(pages, generator=torch.Generator().manual_seed(5), device="cpu")[:12]
    table = table.reshape(requests, columns).int().to(ref.DEVICE)
    longest = columns * page
    lengths = (ints(1, page + 7, longest - next_n + 1)[:, None] + ints(*range(next_n))).contiguous()
    cache = cache_of(kv, scale, pages, page, gap)
    want = []
    for row in range(requests * next_n):
        at = (table[row // next_n].long()[:, None] * page + torch.arange(page)).flatten()
        want.append(logits_of(q[row : row + 1], weights[row : row + 1], kv[at], scale[at])[0])
    return q.view(requests, next_n, heads, dim), cache, weights, lengths, table, longest, torch.stack(want)


def rows_are_right(logits, want, lengths):
    for row, length in enumerate(lengths.flatten().tolist()):
        assert torch.equal(logits[row, :length], want[row, :length]), f"row {row}"


@pytest.mark.parametrize(
    ("next_n", "page", "heads", "dim", "gap"),
    [(1, 64, 64, 128, 0), (2, 64, 64, 128, 384), (3, 32, 32, 64, 0), (9, 128, 8, 32, 16), (1, 32, 16, 64, 4)],
)
def test_paged_as_serving_code_calls_it(next_n, page, heads, dim, gap):
    q, cache, weights, lengths, table, longest, want = paged(next_n, page, heads, dim, gap)
    schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, page, deep_gemm.get_num_sms())
    assert schedule.dtype == torch.int32 and schedule.shape == (deep_gemm.get_num_sms() + 1, 2)
    logits = deep_gemm.fp8_fp4_paged_mqa_logits(
        (q, None), cache, weights, lengths, table, schedule, longest + 3
    )
    assert logits.shape == (3 * next_n, longest + 3) and logits.stride() == (
        (longest + 3 + 255) // 256 * 256,
        1,
    )
    rows_are_right(logits, want, lengths)


def test_paged_older_forms_and_any_schedule():
    q, cache, weights, lengths, table, longest, want = paged(heads=16, dim=32)
    hostile = torch.full((7, 2), 2**31 - 1, dtype=torch.int32)
    arguments = (cache, weights, lengths, table, hostile, longest)
    rows_are_right(deep_gemm.fp8_fp4_paged_mqa_logits((q, None), *arguments, False), want, lengths)
    rows_are_right(deep_gemm.fp8_paged_mqa_logits(q, *arguments), want, lengths)
    indices = ints(0, 1, 1)
    rows_are_right(deep_gemm.fp8_fp4_paged_mqa_logits((q, None), *arguments, indices), want, lengths)
    logits = deep_gemm.fp8_fp4_paged_mqa_logits((q, None), *arguments, False, torch.bfloat16)
    rows_are_right(logits, want.bfloat16(), lengths)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_fp4_paged_mqa_logits((q, None), *arguments, True)
    assert caught.value.argument == "clean_logits"


def test_schedule_shares_the_tiles(device):
    """Entry i is the unit and its tile where the i-th of equal shares begins: tiles of 256 keys on SM 9.0, of 128 on SM 12.x."""
    hopper = "sm_90a" in device if EMULATED else torch.cuda.get_device_capability()[0] == 9
    keys = 256 if hopper else 128
    counts = [300, 0, 1, 1000]
    places = [(unit, tile) for unit, count in enumerate(counts) for tile in range(-(-count // keys))]
    places.append((4, 0))
    lengths = ints(*counts)[:, None].contiguous()
    schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, 64, 5).tolist()
    assert schedule == [list(places[(len(places) - 1) * share // 5]) for share in range(6)]


def test_what_does_not_fit_is_bounded_and_noted():
    ref.forget_notes()
    q, cache, weights, lengths, table, longest, want = paged(heads=16, dim=32)
    table = table.clone()
    table[1, 0] = -3
    cache = cache.clone(memory_format=torch.preserve_format)
    cache[int(table[2, 1]), 0, 0, 0] = 0x7F  # the first byte of that page: NaN in its key 0
    lengths[0, 0] = longest + 99
    logits = deep_gemm.fp8_fp4_paged_mqa_logits((q, None), cache, weights, lengths, table, None, longest)
    assert torch.equal(logits[0, :longest], want[0])
    assert (logits[1, :64] == float("-inf")).all()
    assert logits[2, 64] == float("-inf") and torch.equal(logits[2, 65:128], want[2, 65:128])
    for note in ("clipped_keys", "bad_page", "nan_logit"):
        with pytest.raises(errors.BadArgumentError, match=note):
            deepwell.raise_notes()
    deepwell.raise_notes()


def test_wrong_arguments_are_named():
    q, weights, kv, scale, start, end = ragged(16, 64)
    good = {"q": (q, None), "kv": (kv, scale), "weights": weights, "start": start, "end": end, "width": 295}
    for change, argument, kind in (
        ({"q": q}, "q", errors.BadTypeError),
        ({"kv": kv}, "kv", errors.BadTypeError),
        ({"q": (q.float(), None)}, "q.dtype", errors.BadArgumentError),
        ({"q": (q[:, :, :48], None)}, "kv.shape", errors.BadArgumentError),
        ({"kv": (kv, scale[:-1])}, "kv_scale.shape", errors.BadArgumentError),
        ({"kv": (kv, scale.double())}, "kv_scale.dtype", errors.BadArgumentError),
        ({"weights": weights.bfloat16()}, "weights.dtype", errors.BadArgumentError),
        ({"weights": weights[:-1]}, "weights.shape", errors.BadArgumentError),
        ({"start": start.long()}, "cu_seq_len_k_start.dtype", errors.BadArgumentError),
        ({"end": end[:-1]}, "cu_seq_len_k_end.shape", errors.BadArgumentError),
        ({"width": -1}, "max_seqlen_k", errors.BadArgumentError),
        ({"q": (torch.zeros(5, 16, 32, dtype=torch.int8), None)}, "q.dtype", errors.UnsupportedError),
    ):
        call = {**good, **change}
        with pytest.raises(kind) as caught:
            deep_gemm.fp8_fp4_mqa_logits(
                call["q"], call["kv"], call["weights"], call["start"], call["end"], call["width"]
            )
        assert caught.value.argument == argument, change
    with pytest.raises(errors.UnsupportedError, match="65 heads"):
        wide_q, wide_weights = queries(5, 65, 64)
        deep_gemm.fp8_fp4_mqa_logits((wide_q, None), (kv, scale), wide_weights, start, end, 295)


def test_forms_without_kernels_say_so():
    fp4 = (torch.zeros(5, 64, 64, dtype=torch.int8), torch.zeros(5, 64, dtype=torch.int32))
    keys4 = (torch.zeros(300, 64, dtype=torch.int8), torch.zeros(300, dtype=torch.int32))
    with pytest.raises(errors.UnsupportedError, match="FP4"):
        deep_gemm.fp8_fp4_mqa_logits(fp4, keys4, torch.zeros(5, 64), ints(*[0] * 5), ints(*[9] * 5), 9)
    q, weights, kv, scale, start, end = ragged(16, 64)
    with pytest.raises(errors.UnsupportedError) as caught:
        deep_gemm.fp8_fp4_mqa_logits((q, scale), (kv, scale), weights, start, end, 9)
    assert caught.value.argument == "fp8_fp4_mqa_logits"


def ops_cases():
    """Calls that write every element: opcheck compares two of them."""
    ops = torch.ops.deepwell
    q, weights, kv, scale, start, end = ragged(16, 64)
    pq, cache, pweights, lengths, table, longest, _ = paged(heads=8, dim=32)
    whole = (torch.zeros_like(start), torch.full_like(end, 300))
    return {
        "ragged": (ops.fp8_mqa_logits.default, (q, kv, scale, weights, *whole, 300)),
        "clean": (ops.fp8_mqa_logits.default, (q, kv, scale, weights, start, end, 0, True)),
        "paged": (
            ops.fp8_paged_mqa_logits.default,
            (pq, cache, pweights, torch.full_like(lengths, longest), table, None, longest),
        ),
        "metadata": (ops.paged_mqa_logits_metadata.default, (lengths, 64, 7)),
    }


@pytest.mark.parametrize("name", ["ragged", "clean", "paged", "metadata"])
def test_operators(name):
    deepwell.register_ops()
    operator, arguments = ops_cases()[name]
    # torch's test of the schema lacks a function for FP8 on CPUs.
    tests = ("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    options = {} if name == "metadata" else {"test_utils": tests}
    assert set(opcheck(operator, arguments, **options).values()) == {"SUCCESS"}
    result = operator(*arguments).untyped_storage().data_ptr()
    for argument in arguments:
        assert not isinstance(argument, torch.Tensor) or argument.untyped_storage().data_ptr() != result


def test_operators_give_the_drop_ins_answer():
    deepwell.register_ops()
    q, weights, kv, scale, start, end = ragged(16, 64)
    logits = torch.ops.deepwell.fp8_mqa_logits(q, kv, scale, weights, start, end, 295)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)
    q, cache, weights, lengths, table, longest, want = paged(heads=8, dim=32)
    schedule = torch.ops.deepwell.paged_mqa_logits_metadata(lengths, 64, 9)
    rows_are_right(
        torch.ops.deepwell.fp8_paged_mqa_logits(q, cache, weights, lengths, table, schedule, longest),
        want,
        lengths,
    )
