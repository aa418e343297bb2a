"""Grouped products where implementations of this interface have been wrong, silent or stuck: one test for each, which names it.

Answers are compared bitwise with double precision; rows that nobody owns hold what they held before.
"""

from __future__ import annotations

import pytest
import reference as ref
import torch
from contract import POISON, device, noted, notes, untouched  # noqa: F401
from test_grouped import Experts, rounded

import deep_gemm
from deepwell import errors


@pytest.fixture(autouse=True)
def at_rest():
    yield
    deep_gemm.set_mk_alignment_for_contiguous_layout(128)
    deep_gemm.set_num_sms(0)


def contiguous(
    e: Experts, ids: torch.Tensor, d: torch.Tensor, alignment=16, form="packed", **options
) -> None:
    deep_gemm.set_mk_alignment_for_contiguous_layout(alignment)
    scale = ref.scale_forms(e.exponent_a)[form]
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous((e.a, scale), e.b, d, ids, **{**e.recipes(), **options})


def output(rows: int, n: int, dtype=torch.bfloat16) -> torch.Tensor:
    return torch.full((rows, n), POISON, dtype=dtype)


def ids_of(*runs: tuple[int, int]) -> torch.Tensor:
    """(expert, rows) one after the other."""
    return torch.cat([torch.full((rows,), expert, dtype=torch.int32) for expert, rows in runs])


def rows_are_right(e: Experts, d: torch.Tensor, owners: list[int]) -> None:
    for row, expert in enumerate(owners):
        want = rounded(e.product(row, expert)) if expert >= 0 else torch.full((e.n,), POISON).bfloat16()
        assert torch.equal(d[row], want), f"row {row} of expert {expert}"


@pytest.mark.parametrize("k", [128, 384, 640, 1408])
@pytest.mark.parametrize("per", ["32", "128"])
def test_all_of_k_counts_where_fp8_meets_fp4(k, per):
    """Also the blocks of k that fill no whole word of scales, with scales per 128 on both sides."""
    e = Experts("fp4", experts=2, n=24, k=k, rows=16)
    if per == "128":
        e.gran, e.exponent_b = 128, ref.exponents((2, 24, k // 128), 4)
        e.b = (e.b[0], ref.packed(e.exponent_b))
    d = output(16, 24)
    contiguous(e, ids_of((1, 16)), d)
    rows_are_right(e, d, [1] * 16)


@pytest.mark.parametrize("n", [1, 7, 33, 65])
def test_every_column_is_written_where_n_is_odd_and_rows_have_a_pitch(n):
    e = Experts("fp8", experts=2, n=n, rows=16)
    wide = output(16, n + 5)
    contiguous(e, ids_of((0, 8), (1, 8)), wide[:, 2 : 2 + n], alignment=8)
    rows_are_right(e, wide[:, 2 : 2 + n], [0] * 8 + [1] * 8)
    assert untouched(wide[:, :2]) and untouched(wide[:, 2 + n :])


@pytest.mark.parametrize("n", [24, 32, 40])
def test_the_pitch_of_the_result_counts_where_n_is_small(n):
    e = Experts("fp4", experts=2, n=n, rows=32)
    wide = output(32, 64)
    contiguous(e, ids_of((1, 16), (0, 16)), wide[:, :n])
    rows_are_right(e, wide[:, :n], [1] * 16 + [0] * 16)
    assert untouched(wide[:, n:])


@pytest.mark.parametrize("alignment", [1, 24, 192, 240])
def test_no_tile_straddles_experts_whatever_the_alignment(alignment):
    """Alignments that are no multiple of a tile, and those that are smaller than any."""
    rows = max(2 * alignment, 24)
    e = Experts("fp8", experts=3, n=24, rows=rows)
    runs = [(2, alignment), (0, rows - alignment)]
    d = output(rows, 24)
    contiguous(e, ids_of(*runs), d, alignment=alignment)
    rows_are_right(e, d, [2] * alignment + [0] * (rows - alignment))


def test_experts_may_change_inside_any_block():
    e = Experts("fp4", rows=48)
    ids = ref.integers(0, e.experts, (48,), 11).int()
    d = output(48, e.n)
    contiguous(e, ids, d, alignment=128)
    rows_are_right(e, d, ids.tolist())


@pytest.mark.parametrize("n", [24, 72])
@pytest.mark.parametrize("kind", ["fp4", "fp8"])
def test_rows_of_padding_are_zero_where_their_activations_are(kind, n):
    """In a block that also holds rows of an expert, before or after them, for small n too."""
    e = Experts(kind, experts=2, n=n, rows=32)
    ids = ids_of((-1, 3), (1, 5), (-1, 8), (0, 1), (-1, 15))
    e.a.view(torch.uint8)[ids == -1] = 0
    d = output(32, n)
    contiguous(e, ids, d)
    assert (d[ids == -1] == 0).all()
    for row in (ids >= 0).nonzero().flatten().tolist():
        assert torch.equal(d[row], rounded(e.product(row, int(ids[row]))))


def test_nan_in_rows_of_padding_reaches_no_other_row():
    e = Experts("fp8", experts=2, rows=32)
    ids = ids_of((1, 5), (-1, 11), (0, 9), (-1, 7))
    e.a.view(torch.uint8)[ids == -1] = 0x7F
    scale = ref.scale_values(e.exponent_a).float()
    scale[ids == -1] = float("nan")
    d = output(32, e.n)
    deep_gemm.set_mk_alignment_for_contiguous_layout(16)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous((e.a, scale), e.b, d, ids, **e.recipes())
    for row in (ids >= 0).nonzero().flatten().tolist():
        assert torch.equal(d[row], rounded(e.product(row, int(ids[row])))), row


def test_blocks_without_an_expert_are_left_alone():
    e = Experts("fp4", rows=64)
    d = output(64, e.n)
    contiguous(e, ids_of((-1, 16), (3, 16), (-1, 32)), d)
    rows_are_right(e, d, [-1] * 16 + [3] * 16 + [-1] * 32)


def test_ids_that_name_no_expert_are_padding_and_noted():
    e = Experts("fp8", rows=32)
    ids = ids_of((e.experts, 16), (1, 16))
    ids[20], ids[21] = -(2**31), 2**31 - 1
    d = output(32, e.n)
    contiguous(e, ids, d)
    assert untouched(d[:16])
    for row in [16, 19, 22, 31]:
        assert torch.equal(d[row], rounded(e.product(row, 1)))
    assert noted() == {"bad_group_id"}


@pytest.mark.parametrize("capacity", [1, 21, 65, 130])
def test_slabs_whose_height_is_no_multiple_of_a_tile_do_not_overrun(capacity):
    """The last rows of one expert and the first of the next one."""
    e = Experts("fp8", experts=3, n=24)
    a = ref.e4m3((3, capacity, e.k), 5)
    exponent_a = ref.exponents((3, capacity, e.k // 128), 6)
    live = torch.tensor([capacity, capacity, 1], dtype=torch.int32)
    d = torch.full((3, capacity, e.n), POISON, dtype=torch.bfloat16)
    deep_gemm.m_grouped_fp8_gemm_nt_masked((a, ref.packed(exponent_a)), e.b, d, live, 128, **e.recipes())
    for expert, count in enumerate(live.tolist()):
        for row in {0, count - 1}:
            want = rounded(e.product(row, expert, a[expert], exponent_a[expert]))
            assert torch.equal(d[expert, row], want), (expert, row)
        assert untouched(d[expert, count:])


@pytest.mark.parametrize("count", [-1, -(2**31), 2**31 - 1, 22])
def test_counts_below_zero_or_above_the_slab_are_clipped_and_noted(count):
    """Neither a huge loop nor a row of the next expert."""
    e = Experts("fp4", experts=2, n=24)
    a = ref.e4m3((2, 21, e.k), 5)
    exponent_a = ref.exponents((2, 21, e.k // 128), 6)
    d = torch.full((2, 21, e.n), POISON, dtype=torch.bfloat16)
    live = torch.tensor([count, 2], dtype=torch.int32)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_masked((a, ref.packed(exponent_a)), e.b, d, live, 8, **e.recipes())
    assert untouched(d[1, 2:])
    if count < 0:
        assert untouched(d[0])
    else:
        assert torch.equal(d[0, 20], rounded(e.product(20, 0, a[0], exponent_a[0])))
    assert torch.equal(d[1, 1], rounded(e.product(1, 1, a[1], exponent_a[1])))
    assert noted() == {"bad_group_size"}


@pytest.mark.parametrize("expected", [1, 16, 64, 500])
def test_the_expected_rows_of_an_expert_are_a_hint(expected):
    e = Experts("fp8", experts=2, n=24)
    a = ref.e4m3((2, 70, e.k), 5)
    exponent_a = ref.exponents((2, 70, e.k // 128), 6)
    live = torch.tensor([70, 33], dtype=torch.int32)
    d = torch.full((2, 70, e.n), POISON, dtype=torch.bfloat16)
    deep_gemm.m_grouped_fp8_gemm_nt_masked((a, ref.packed(exponent_a)), e.b, d, live, expected)
    for expert, row in ((0, 0), (0, 69), (1, 32)):
        assert torch.equal(d[expert, row], rounded(e.product(row, expert, a[expert], exponent_a[expert])))
    assert untouched(d[1, 33:])


def test_fp32_scales_that_are_no_powers_of_two_are_used_as_they_are():
    e = Experts("fp8", experts=2, n=24, rows=16)
    scale = ref.integers(1, 8, (16, 2), 3).float() / 4
    d = output(16, 24)
    contiguous_with = {"recipe_a": (1, 128), "recipe_b": (1, 128)}
    deep_gemm.set_mk_alignment_for_contiguous_layout(16)
    deep_gemm.m_grouped_fp8_gemm_nt_contiguous((e.a, scale), e.b, d, ids_of((1, 16)), **contiguous_with)
    a = ref.values(e.a) * ref.spread(scale.double(), 1, 128, 16, e.k)
    b = ref.values(e.b[0][1]) * ref.spread(ref.scale_values(e.exponent_b[1]), 1, 128, 24, e.k)
    assert torch.equal(d, rounded(a @ b.T))
    assert noted() == set()


def test_fp32_scales_that_are_not_aligned_are_read():
    """A slice of rows of a wider tensor: vector loads of 16 bytes would fault."""
    e = Experts("fp4", experts=2, n=24, rows=16)
    wide = torch.full((17, 2), float("nan"))
    wide[1:] = ref.scale_values(e.exponent_a).float()
    assert wide[1:].data_ptr() % 16 != 0
    d = output(16, 24)
    deep_gemm.set_mk_alignment_for_contiguous_layout(16)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous((e.a, wide[1:]), e.b, d, ids_of((0, 16)), **e.recipes())
    rows_are_right(e, d, [0] * 16)


@pytest.mark.parametrize("form", ["float32", "packed", "e8m0", "uint8"])
def test_every_form_of_scales_of_tokens_gives_the_same_bits(form):
    e = Experts("fp4", experts=2, rows=16)
    d = output(16, e.n)
    contiguous(e, ids_of((1, 16)), d, form=form, disable_ue8m0_cast=False)
    rows_are_right(e, d, [1] * 16)


def test_the_same_bits_with_every_alignment_and_number_of_sms():
    e = Experts("fp4", rows=48)
    ids = ids_of((3, 16), (0, 16), (3, 16))
    results = []
    for alignment in (1, 8, 16, 128):
        for number in (0, 7):
            deep_gemm.set_num_sms(number)
            d = output(48, e.n)
            contiguous(e, ids, d, alignment=alignment)
            results.append(d)
    assert all(torch.equal(d, results[0]) for d in results)


def test_one_granularity_without_the_other_is_named():
    e = Experts("fp8", rows=16)
    for given, missing in (("recipe_a", "recipe_b"), ("recipe_b", "recipe_a")):
        with pytest.raises(errors.BadArgumentError) as caught:
            deep_gemm.m_grouped_fp8_gemm_nt_contiguous(
                (e.a, ref.packed(e.exponent_a)),
                e.b,
                output(16, e.n),
                ids_of((0, 16)),
                **{given: (1, 128)},
            )
        assert caught.value.argument == missing


def test_psum_layouts_are_refused_by_name_and_touch_nothing():
    e = Experts("fp8", rows=32)
    d = output(32, e.n)
    ends = torch.tensor([16, 32, 32, 32, 32], dtype=torch.int32)
    with pytest.raises(NotImplementedError, match="m_grouped"):
        contiguous(e, ends, d, use_psum_layout=True)
    assert untouched(d)


def test_k_grouped_products_are_refused_by_name():
    a, d = torch.zeros(128, 64), torch.zeros(1, 64, 64)
    for name in ("k_grouped_fp8_gemm_tn_contiguous", "k_grouped_fp8_gemm_nt_contiguous"):
        with pytest.raises(NotImplementedError, match=name):
            getattr(deep_gemm, name)((a, a), (a, a), d, [128], torch.tensor([128]), d)
