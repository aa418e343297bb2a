"""The lightning indexer's logits through vLLM's wrappers, in the forms and strides that V4 passes."""

from __future__ import annotations

import judge
import operands
import pytest
import reference
import served
import torch
import vllm.utils.deep_gemm as wrappers

pytestmark = pytest.mark.settings("default")

HEADS, DIM, PAGE = 64, 128, 64
STEP = 2.0**-2


def keys(generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 data [count, DIM] and FP32 scales, powers of two."""
    data = operands.e4m3(operands.integers(generator, (count, DIM), 2))
    return data, reference.powers(operands.exponents(generator, (count,))).float()


def queries(generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 data [count, HEADS, DIM] and the weight of each head."""
    return (
        operands.e4m3(operands.integers(generator, (count, HEADS, DIM), 2)),
        operands.integers(generator, (count, HEADS), 3).float(),
    )


def test_prefill(generator):
    """Ranges of keys that begin anywhere; row i of the answer begins at column 0."""
    tokens, count = 7, 300
    q, weights = queries(generator, tokens)
    k, scales = keys(generator, count)
    start = torch.tensor([0, 0, 5, 64, 100, 299, 17], dtype=torch.int32)
    end = torch.tensor([1, 300, 130, 192, 101, 300, 290], dtype=torch.int32)
    width = int((end - start).max())
    logits = served.call(
        "fp8_fp4_mqa_logits", wrappers.fp8_fp4_mqa_logits, (q, None), (k, scales), weights, start, end, width
    )
    if logits is served.MISSING:
        return
    assert tuple(logits.shape) == (tokens, width)
    want = reference.indexer_logits(q, k, scales, weights)
    for row in range(tokens):
        first, last = int(start[row]), int(end[row])
        sums = reference.Sums(*(each[row, first:last] for each in want))
        got = logits[row, : last - first]
        if last - first > 8:
            judge.exact(got, sums, STEP, torch.float32, f"row {row}")
        else:
            judge.same(got, sums.value.float(), f"row {row}")


def paged_cache(generator, pages: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pages as vLLM's cache has them, beside pages of another kind: [pages, PAGE, 1, DIM + 4] uint8 with a free page
    stride; in a page all values, then all scales. What lies between pages is NaN. Also data and scales by page."""
    data, scales = keys(generator, pages * PAGE)
    data, scales = data.view(pages, PAGE, DIM), scales.view(pages, PAGE)
    page_bytes = PAGE * (DIM + 4)
    canvas = torch.full((pages, 3 * page_bytes), 0xFF, dtype=torch.uint8)
    canvas[:, : PAGE * DIM] = data.view(torch.uint8).flatten(1)
    canvas[:, PAGE * DIM : page_bytes] = scales.view(torch.uint8).flatten(1)
    return canvas.as_strided((pages, PAGE, 1, DIM + 4), (3 * page_bytes, DIM + 4, DIM + 4, 1)), data, scales


@pytest.mark.parametrize("next_n", [1, 2])
def test_decode(generator, next_n):
    requests, pages, longest = 3, 9, 256
    q, weights = queries(generator, requests * next_n)
    cache, data, scales = paged_cache(generator, pages)
    table = torch.randperm(pages, generator=generator)[: requests * 3].view(requests, 3).int()
    lengths = torch.tensor([1, 100, 192], dtype=torch.int32)[:, None] + torch.arange(
        next_n, dtype=torch.int32
    )
    lengths = lengths.clamp(max=192).contiguous()
    sms = wrappers.get_num_sms()
    schedule = served.call(
        "get_paged_mqa_logits_metadata", wrappers.get_paged_mqa_logits_metadata, lengths, PAGE, sms
    )
    if schedule is served.MISSING:
        schedule = torch.zeros(sms + 1, 2, dtype=torch.int32)
    assert (
        schedule.dtype == torch.int32
        and schedule.dim() == 2
        and schedule.shape[1] == 2
        and len(schedule) <= sms + 1
    )
    logits = served.call(
        "fp8_fp4_paged_mqa_logits",
        wrappers.fp8_fp4_paged_mqa_logits,
        (q.view(requests, next_n, HEADS, DIM), None),
        cache,
        weights,
        lengths,
        table,
        schedule,
        longest,
    )
    if logits is served.MISSING:
        return
    assert tuple(logits.shape) == (requests * next_n, longest)
    for row in range(requests * next_n):
        chosen = table[row // next_n].long()
        length = int(lengths[row // next_n, row % next_n])
        want = reference.indexer_logits(
            q[row : row + 1], data[chosen].flatten(0, 1), scales[chosen].flatten(), weights[row : row + 1]
        )
        sums = reference.Sums(*(each[0, :length] for each in want))
        if length > 8:
            judge.exact(logits[row, :length], sums, STEP, torch.float32, f"row {row}")
        else:
            judge.same(logits[row, :length], sums.value.float(), f"row {row}")
