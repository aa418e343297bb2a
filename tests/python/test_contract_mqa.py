"""The indexer's logits and their schedule where implementations of this interface have been wrong, stuck or out of bounds: one
test for each, which names it. Logits that a row sees are compared bitwise with double precision.
"""

from __future__ import annotations

import pytest
import torch
from contract import device, noted, notes  # noqa: F401
from test_mqa_logits import (
    cache_of,
    compressed_is_right,
    ints,
    keys,
    logits_of,
    paged,
    queries,
    ragged,
    rows_are_right,
)

import deep_gemm
from deepwell import errors

INFINITY = float("inf")


def paged_call(q, cache, weights, lengths, table, schedule, longest, **options):
    return deep_gemm.fp8_fp4_paged_mqa_logits(
        (q, None), cache, weights, lengths, table, schedule, longest, **options
    )


# --- ragged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [32, 64, 128])
@pytest.mark.parametrize("heads", [16, 32, 64])
def test_every_head_dimension_is_read_as_it_lies(heads, dim):
    q, weights, kv, scale, start, end = ragged(heads, dim)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 295)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)


@pytest.mark.parametrize("pitch", [17, 20, 64])
def test_the_pitch_of_weights_counts(pitch):
    q, weights, kv, scale, start, end = ragged(16, 64)
    wide = torch.full((5, pitch), float("nan"))
    wide[:, :16] = weights
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), wide[:, :16], start, end, 295)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)


@pytest.mark.parametrize("count", [297, 298, 299])
def test_nothing_behind_the_last_key_is_read(count):
    """A number of keys that is no multiple of 4: reads in whole vectors would leave the tensor, which the emulator reports."""
    q, weights, _, _, _, _ = ragged(16, 64)
    kv, scale = keys(count, 64)
    start, end = torch.zeros(5, dtype=torch.int32), torch.full((5,), count, dtype=torch.int32)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, count)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)


def test_rows_may_see_no_key():
    q, weights, kv, scale, _, _ = ragged(16, 64)
    start, end = ints(0, 300, 7, 7, 299), ints(0, 300, 7, 8, 299)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 1)
    compressed_is_right(logits, logits_of(q, weights, kv, scale), start, end)
    assert noted() == set()


@pytest.mark.parametrize("distance", [1, 129, 2**30])
def test_ranges_that_are_reversed_are_empty_and_noted(distance):
    """For a whole block of rows too: the difference must not wrap around to billions of keys."""
    q, weights, kv, scale, _, _ = ragged(16, 64)
    start, end = torch.full((5,), distance, dtype=torch.int32), torch.zeros(5, dtype=torch.int32)
    start[4], end[4] = 10, 20
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 295)
    assert torch.equal(logits[4, :10], logits_of(q, weights, kv, scale)[4, 10:20])
    assert noted() == {"clipped_keys"}
    clean = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, clean_logits=True)
    assert (clean[:4] == -INFINITY).all()


def test_ranges_beyond_the_keys_or_the_width_are_clipped_and_noted():
    q, weights, kv, scale, _, _ = ragged(16, 64)
    start, end = ints(-5, 290, 0, 0, -(2**31)), ints(10, 400, 300, 2**31 - 1, 5)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 100)
    want = logits_of(q, weights, kv, scale)
    assert torch.equal(logits[0, :10], want[0, :10])
    assert torch.equal(logits[1, :10], want[1, 290:300])
    assert torch.equal(logits[2], want[2, :100]) and torch.equal(logits[3], want[3, :100])
    assert torch.equal(logits[4, :5], want[4, :5])
    assert noted() == {"clipped_keys"}


def test_the_scale_of_a_key_comes_after_relu_and_the_sum_of_heads():
    """A negative scale turns the sign of a logit and wakes no head."""
    q, weights, kv, scale, start, end = ragged(16, 64)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, -scale), weights, start, end, 295)
    compressed_is_right(logits, -logits_of(q, weights, kv, scale), start, end)


def test_the_sixth_argument_is_the_width_and_a_bool_there_the_older_cleaning():
    q, weights, kv, scale, start, end = ragged(16, 64)
    pair = ((q, None), (kv, scale), weights, start, end)
    want = logits_of(q, weights, kv, scale)
    width = deep_gemm.fp8_fp4_mqa_logits(*pair, 295)
    assert width.shape == (5, 295)
    compressed_is_right(width, want, start, end)
    cleaned = deep_gemm.fp8_fp4_mqa_logits(*pair, True)
    key = torch.arange(300)
    outside = (key < start[:, None]) | (key >= end[:, None])
    assert torch.equal(cleaned, want.masked_fill(outside, -INFINITY))


@pytest.mark.parametrize(("width", "pitch"), [(1, 256), (128, 256), (256, 256), (257, 512), (600, 768)])
def test_rows_of_the_result_have_the_pitch_of_the_interface(width, pitch):
    q, weights, kv, scale, _, _ = ragged(16, 64)
    start = torch.zeros(5, dtype=torch.int32)
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, start + 1, width)
    assert logits.shape == (5, width) and logits.stride() == (pitch, 1)


def test_no_rows_and_no_keys():
    q, weights, kv, scale, start, end = ragged(16, 64)
    none = deep_gemm.fp8_fp4_mqa_logits((q[:0], None), (kv, scale), weights[:0], start[:0], end[:0], 8)
    assert none.shape == (0, 8)
    zero = torch.zeros(5, dtype=torch.int32)
    empty = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv[:0], scale[:0]), weights, zero, zero, 8)
    assert empty.shape == (5, 8)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float8_e4m3fn, torch.float16, "float32"])
def test_a_type_of_logits_that_the_interface_does_not_have_is_named(dtype):
    """In the older form, which has that argument."""
    q, weights, kv, scale, start, end = ragged(16, 64)
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, True, 0, dtype)
    assert caught.value.argument == "logits_dtype"
    q, cache, weights, lengths, table, longest, _ = paged(1, 64, 16, 64)
    with pytest.raises(errors.BadArgumentError) as caught:
        paged_call(q, cache, weights, lengths, table, None, longest, logits_dtype=dtype)
    assert caught.value.argument == "logits_dtype"


@pytest.mark.parametrize("what", ["key", "query", "scale", "weight"])
def test_no_logit_is_nan(what):
    """Top-k over NaN emits indices that nobody wrote: -inf stands there, and it is noted."""
    q, weights, kv, scale, _, _ = ragged(16, 64)
    start, end = torch.zeros(5, dtype=torch.int32), torch.full((5,), 300, dtype=torch.int32)
    if what == "key":
        kv.view(torch.uint8)[7, 3] = 0x7F
    elif what == "query":
        q.view(torch.uint8)[2, 0, 0] = 0xFF
    elif what == "scale":
        scale[9] = float("nan")
    else:
        weights[1, 4] = float("nan")
    logits = deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 300)
    assert not logits.isnan().any() and (logits == -INFINITY).any()
    assert noted() == {"nan_logit"}


def test_two_launches_give_the_same_bits():
    generator = torch.Generator("cpu").manual_seed(6)
    q = torch.randn((5, 64, 128), generator=generator).to(torch.float8_e4m3fn)
    weights = torch.randn((5, 64), generator=generator)
    kv, scale = torch.randn((300, 128), generator=generator).to(torch.float8_e4m3fn), torch.rand(300) + 0.5
    start, end = torch.zeros(5, dtype=torch.int32), torch.full((5,), 300, dtype=torch.int32)
    first, second = (
        deep_gemm.fp8_fp4_mqa_logits((q, None), (kv, scale), weights, start, end, 300) for _ in range(2)
    )
    assert torch.equal(first, second)


# --- paged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [32, 64, 128])
@pytest.mark.parametrize("next_n", [1, 2, 3, 6])
def test_every_page_size_with_any_number_of_tokens(page, next_n):
    q, cache, weights, lengths, table, longest, want = paged(next_n, page, 16, 64)
    logits = paged_call(q, cache, weights, lengths, table, None, longest)
    rows_are_right(logits, want, lengths)


@pytest.mark.parametrize("gap", [4, 16, 384])
def test_pages_may_lie_apart(gap):
    """As beside another cache; gaps that vectors of 16 bytes cannot take, too."""
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64, gap)
    rows_are_right(paged_call(q, cache, weights, lengths, table, None, longest), want, lengths)


def stale_schedules():
    sms = 188
    other_lengths = torch.full((3, 1), 100000, dtype=torch.int32)
    return {
        "none": None,
        "of other lengths": lambda: deep_gemm.get_paged_mqa_logits_metadata(
            other_lengths, 64, deep_gemm.get_num_sms()
        ),
        "of other next tokens": lambda: deep_gemm.get_paged_mqa_logits_metadata(
            torch.ones(3, 4, dtype=torch.int32), 64, deep_gemm.get_num_sms()
        ),
        "of fewer workers": lambda: deep_gemm.get_paged_mqa_logits_metadata(other_lengths, 64, 3),
        "zeros": lambda: torch.zeros(sms + 1, 2, dtype=torch.int32),
        "largest numbers": lambda: torch.full((sms + 1, 2), 2**31 - 1, dtype=torch.int32),
        "negative": lambda: torch.full((sms + 1, 2), -1, dtype=torch.int32),
    }


@pytest.mark.parametrize("name", stale_schedules())
def test_a_stale_schedule_changes_no_bit_and_ends(name):
    q, cache, weights, lengths, table, longest, want = paged(2, 64, 16, 64)
    make = stale_schedules()[name]
    logits = paged_call(q, cache, weights, lengths, table, make and make(), longest)
    rows_are_right(logits, want, lengths)


def test_each_token_has_its_own_length():
    """Not the last token's for all of a request."""
    q, cache, weights, lengths, table, longest, want = paged(2, 64, 16, 64)
    lengths = ints(3, 200, 150, 9, 0, 256).view(3, 2)
    logits = paged_call(q, cache, weights, lengths, table, None, longest)
    rows_are_right(logits, want, lengths)
    assert noted() == set()


def test_lengths_beyond_the_result_do_not_write_into_the_next_row():
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    lengths = ints(longest, longest, longest)[:, None].contiguous()
    logits = paged_call(q, cache, weights, lengths, table, None, 100)
    assert torch.equal(logits, want[:, :100])
    assert noted() == {"clipped_keys"}


def test_a_table_that_is_narrower_than_the_lengths_is_not_read_past_its_end():
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    lengths = ints(200, 200, 200)[:, None].contiguous()
    logits = paged_call(q, cache, weights, lengths, table[:, :2], None, 200)
    assert torch.equal(logits[:, :128], want[:, :128])
    assert (logits[:, 128:] == -INFINITY).all()
    assert noted() == {"bad_page"}


@pytest.mark.parametrize("entry", [-1, 14, -(2**31), 2**31 - 1])
def test_entries_of_the_table_that_are_no_pages_give_minus_infinity(entry):
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    lengths = ints(200, 200, 200)[:, None].contiguous()
    table = table.clone()
    table[1, 1] = entry
    logits = paged_call(q, cache, weights, lengths, table, None, 200)
    assert torch.equal(logits[[0, 2]], want[[0, 2], :200])
    assert torch.equal(logits[1, :64], want[1, :64]) and torch.equal(logits[1, 128:], want[1, 128:200])
    assert (logits[1, 64:128] == -INFINITY).all()
    assert noted() == {"bad_page"}


def test_entries_behind_the_length_are_not_read():
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    table = table.clone()
    for row, length in enumerate(lengths.flatten().tolist()):
        table[row, -(-length // 64) :] = -1
    rows_are_right(paged_call(q, cache, weights, lengths, table, None, longest), want, lengths)
    assert noted() == set()


def test_nan_in_a_page_that_a_request_does_not_see_reaches_nobody():
    """Nor what lies in the rest of its own last page."""
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    lengths = ints(1, 70, 130)[:, None].contiguous()
    seen = {int(table[row, entry]) for row, entries in enumerate((1, 2, 3)) for entry in range(entries)}
    for page in set(range(14)) - seen:
        cache[page] = 0x7F
    for row, length in enumerate(lengths.flatten().tolist()):
        flat = cache[int(table[row, length // 64])].flatten()
        flat[length % 64 * 64 : 64 * 64] = 0x7F
    rows_are_right(paged_call(q, cache, weights, lengths, table, None, longest), want, lengths)
    assert noted() == set()


@pytest.mark.parametrize("kind", ["lengths that fall", "other pages", "lengths that rise"])
def test_tokens_that_share_a_sequence_keep_their_own_lengths_and_pages(kind):
    q, cache, weights, lengths, table, longest, want = paged(1, 64, 16, 64)
    if kind == "lengths that fall":
        lengths = ints(200, 100, 50)[:, None].contiguous()
    if kind != "other pages":
        table = table[:1].expand(3, 4).contiguous()
        single = paged_call(
            q[:1].expand(3, 1, 16, 64).contiguous(), cache, weights, lengths, table, None, longest
        )
        rows_are_right(
            paged_call(
                q[:1].expand(3, 1, 16, 64).contiguous(),
                cache,
                weights,
                lengths,
                table,
                None,
                longest,
                indices=ints(0, 0, 0),
            ),
            single,
            lengths,
        )
        return
    logits = paged_call(q, cache, weights, lengths, table, None, longest, indices=ints(0, 0, 0))
    rows_are_right(logits, want, lengths)


@pytest.mark.parametrize(("width", "pitch"), [(1, 256), (256, 256), (257, 512)])
def test_rows_of_paged_results_have_the_pitch_of_the_interface(width, pitch):
    q, cache, weights, lengths, table, _, _ = paged(1, 64, 16, 64)
    logits = paged_call(q, cache, weights, torch.ones_like(lengths), table, None, width)
    assert logits.shape == (3, width) and logits.stride() == (pitch, 1)


def test_a_request_without_keys_and_a_cache_without_pages():
    q, weights = queries(2, 16, 64)
    cache = cache_of(*keys(64, 64), 1, 64)
    lengths, table = torch.zeros(2, 1, dtype=torch.int32), torch.zeros(2, 1, dtype=torch.int32)
    for pages in (cache, cache[:0]):
        logits = paged_call(q.view(2, 1, 16, 64), pages, weights, lengths, table, None, 64)
        assert logits.shape == (2, 64)
    assert noted() == set()


# --- schedule -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sms", [1, 7, 48, 188])
@pytest.mark.parametrize("next_n", [1, 2, 4])
def test_a_schedule_has_one_row_more_than_workers_and_two_columns(sms, next_n):
    """Odd numbers of SMs too, and the same shape whatever the lengths are: servers copy it into a buffer of that size."""
    for length in (0, 1, 100000):
        lengths = torch.full((3, next_n), length, dtype=torch.int32)
        schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, 64, sms)
        assert schedule.dtype == torch.int32 and schedule.shape == (sms + 1, 2)
        assert schedule.is_contiguous()


def test_a_schedule_covers_all_tiles_once_and_in_order():
    lengths = ints(300, 0, 1, 1000, 0)[:, None].contiguous()
    schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, 64, 5).tolist()
    tiles = [-(-int(length) // 128) for length in lengths.flatten()]
    places = [sum(tiles[:unit]) + tile for unit, tile in schedule]
    assert places[0] == 0 and places[-1] == sum(tiles) and places == sorted(places)
    assert max(last - first for first, last in zip(places, places[1:])) <= -(-sum(tiles) // 5)


def test_requests_of_no_keys_in_a_schedule():
    lengths = ints(0, 0, 0, 130, 0, 0)[:, None].contiguous()
    schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, 64, 4)
    assert schedule.shape == (5, 2) and (schedule >= 0).all()


def test_more_requests_than_shared_memory_holds_have_a_schedule():
    """30,000 requests, or as many tokens of shared sequences, where others stop at 25,344 and 8,416."""
    lengths = torch.full((30000, 1), 65, dtype=torch.int32)
    indices = torch.arange(30000, dtype=torch.int32) // 3
    for options in ({}, {"indices": indices}):
        schedule = deep_gemm.get_paged_mqa_logits_metadata(lengths, 64, 8, **options).tolist()
        assert schedule[0] == [0, 0] and len(schedule) == 9
        assert schedule == sorted(schedule)


def test_lengths_of_one_axis_are_named():
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.get_paged_mqa_logits_metadata(ints(1, 2, 3), 64, 8)
    assert caught.value.argument == "context_lens.rank"
    q, cache, weights, lengths, table, longest, _ = paged(1, 64, 16, 64)
    with pytest.raises(errors.BadArgumentError) as caught:
        paged_call(q, cache, weights, lengths.flatten(), table, None, longest)
    assert caught.value.argument == "context_lens.rank"


def test_schedules_of_ragged_logits_are_refused_by_name():
    with pytest.raises(NotImplementedError, match="get_mqa_logits_metadata"):
        deep_gemm.get_mqa_logits_metadata(ints(0), ints(1), 8, 64)


def test_cleaning_of_paged_logits_is_refused_before_a_launch():
    q, cache, weights, lengths, table, longest, _ = paged(1, 64, 16, 64)
    with pytest.raises(errors.BadArgumentError) as caught:
        paged_call(q, cache, weights, lengths, table, None, longest, clean_logits=True)
    assert caught.value.argument == "clean_logits"
