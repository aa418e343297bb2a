"""Products of many experts from Python: rows of any order of experts, masked slabs, forms, errors; bitwise."""

from __future__ import annotations

import fakes
import pytest
import reference as ref
import torch

import deep_gemm
import deepwell
from deepwell import _other
from deepwell.errors import BadArgumentError, MissingError, UnsupportedError

POISON = -12345.0
EMULATED = ref.DEVICE == "cpu"


@pytest.fixture(params=["emu:sm_120a", "emu:sm_121a"] if EMULATED else ["cuda"])
def device(request):
    if not EMULATED:
        yield request.param
        return
    with deepwell.device(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def at_rest():
    yield
    deep_gemm.set_mk_alignment_for_contiguous_layout(128)


class Experts:
    """Weights [experts, n, k] in FP8 or packed FP4, activations [rows, k], and both in double precision."""

    def __init__(self, kind="fp4", experts=5, n=72, k=256, rows=48):
        gran = 32 if kind == "fp4" else 128
        self.n, self.k, self.rows, self.experts, self.gran = n, k, rows, experts, gran
        flat = ref.e2m1(experts * n, k, 2) if kind == "fp4" else ref.e4m3((experts * n, k), 2)
        self.exponent_b = ref.exponents((experts, n, k // gran), 4)
        self.b = (flat.unflatten(0, (experts, n)), ref.packed(self.exponent_b))
        self.a = ref.e4m3((rows, k), 1)
        self.exponent_a = ref.exponents((rows, k // 128), 3)

    def product(self, row, expert, a=None, exponent_a=None):
        a, exponent_a = (self.a, self.exponent_a) if a is None else (a, exponent_a)
        return ref.gemm(
            a[row : row + 1],
            exponent_a[row : row + 1],
            self.b[0][expert],
            self.exponent_b[expert],
            (1, 128),
            (1, self.gran),
        )[0]

    def recipes(self):
        return {"recipe_a": (1, 128), "recipe_b": (1, self.gran)}


def rounded(values):
    return values.to(torch.bfloat16)


@pytest.mark.parametrize("kind", ["fp4", "fp8"])
@pytest.mark.parametrize("alignment", [8, 16, 24, 128])
@pytest.mark.parametrize("form", ["float32", "packed"])
def test_rows_get_their_experts(device, kind, alignment, form):
    """As vLLM calls it: alignment set around the call, segments that end in padding, blocks of padding."""
    e = Experts(kind, rows=3 * max(alignment, 16))
    ids = torch.full((e.rows,), -1, dtype=torch.int32)
    ids[:5] = 3
    ids[alignment : alignment + 2] = 0
    owner = ids.clone()
    owner[:alignment] = 3
    owner[alignment : 2 * alignment] = 0
    d = torch.full((e.rows, e.n), POISON, dtype=torch.bfloat16)
    deep_gemm.set_mk_alignment_for_contiguous_layout(alignment)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(
        (e.a, ref.scale_forms(e.exponent_a)[form]), e.b, d, ids, use_psum_layout=False, **e.recipes()
    )
    for row, expert in enumerate(owner.tolist()):
        want = torch.full((e.n,), POISON, dtype=torch.bfloat16)
        if expert >= 0:
            want = rounded(e.product(row, expert))
        assert torch.equal(d[row], want), f"row {row} of expert {expert}"


def test_unsorted_ids_are_right_at_rest(device):
    """vLLM's warm-up: random experts, the alignment of 128 untouched. Ids out of range are padding."""
    e = Experts("fp8")
    ids = ref.integers(0, e.experts, (e.rows,), 9).int()
    ids[7], ids[8], ids[9] = e.experts, -7, 2**31 - 1
    d = torch.full((e.rows, e.n), POISON, dtype=torch.bfloat16)
    deep_gemm.m_grouped_fp8_gemm_nt_contiguous((e.a, ref.packed(e.exponent_a)), e.b, d, ids)
    for row in range(e.rows):
        expert = ids[6 if 7 <= row <= 9 else row].item()
        assert torch.equal(d[row], rounded(e.product(row, expert))), row
    assert deep_gemm.get_mk_alignment_for_contiguous_layout() == 128


@pytest.mark.parametrize("expected", [0, 1, 20, 100])
def test_masked_rows(device, expected):
    e = Experts("fp4", experts=3)
    capacity = 21
    a = ref.e4m3((e.experts, capacity, e.k), 5)
    exponent_a = ref.exponents((e.experts, capacity, e.k // 128), 6)
    live = torch.tensor([4, 0, 30], dtype=torch.int32)  # the last one is clipped
    d = torch.full((e.experts, capacity, e.n), POISON, dtype=torch.bfloat16)
    deep_gemm.fp8_m_grouped_gemm_nt_masked(
        (a, ref.scale_values(exponent_a).float()), e.b, d, live, expected, **e.recipes()
    )
    for expert, count in enumerate([4, 0, capacity]):
        for row in range(capacity):
            want = torch.full((e.n,), POISON, dtype=torch.bfloat16)
            if row < count:
                want = rounded(e.product(row, expert, a[expert], exponent_a[expert]))
            assert torch.equal(d[expert, row], want), (expert, row)


def test_weights_given_transposed(device):
    e = Experts("fp8")
    ids = torch.arange(e.rows, dtype=torch.int32) % e.experts
    want = torch.empty(e.rows, e.n, dtype=torch.bfloat16)
    scale_a = ref.packed(e.exponent_a)
    deep_gemm.m_grouped_fp8_gemm_nt_contiguous((e.a, scale_a), e.b, want, ids)
    views = (e.b[0].mT, e.b[1].mT)
    stored = (e.b[0].mT.contiguous(), e.b[1].mT)
    for b in (views, stored):
        d = torch.full((e.rows, e.n), POISON, dtype=torch.bfloat16)
        deep_gemm.m_grouped_fp8_gemm_nn_contiguous((e.a, scale_a), b, d, ids)
        assert torch.equal(d, want)


def test_experts_of_no_rows(device):
    e = Experts("fp4")
    d = torch.full((0, e.n), POISON, dtype=torch.bfloat16)
    empty = torch.empty(0, dtype=torch.int32)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(
        (e.a[:0], ref.scale_values(e.exponent_a[:0]).float()), e.b, d, empty, **e.recipes()
    )


def test_mistakes_are_named(device):
    e = Experts("fp8")
    ids = torch.zeros(e.rows, dtype=torch.int32)
    a, d = (e.a, ref.packed(e.exponent_a)), torch.full((e.rows, e.n), POISON, dtype=torch.bfloat16)
    call = deep_gemm.m_grouped_fp8_gemm_nt_contiguous
    for arguments, name in (
        ((a, e.b, d, ids.long()), "grouped_layout.dtype"),
        ((a, e.b, d, ids[1:]), "grouped_layout.shape"),
        ((a, e.b, d[:, 1:], ids), "d.shape"),
        (((e.a[:, 32:], a[1]), e.b, d, ids), "b.shape"),
        ((a, (e.b[0][0], e.b[1]), d, ids), "b.rank"),
    ):
        with pytest.raises(BadArgumentError) as caught:
            call(*arguments)
        assert caught.value.argument == name and caught.value.expected
    assert bool((d == POISON).all())


# --- who serves ---------------------------------------------------------------------------------------------


PAIRS = ((1, 2), (3, 4), 5, 6)


def test_the_kernels_get_what_is_given(native):
    deep_gemm.set_mk_alignment_for_contiguous_layout(16)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(*PAIRS, None, (1, 128), (1, 32))
    deep_gemm.m_grouped_fp8_gemm_nt_masked(*PAIRS, 7, recipe=(1, 1, 128))
    assert native.calls == [
        ("grouped_gemm_nt", (1, 2, 3, 4, 5, 6, None, (1, 128), (1, 32), False, 16)),
        ("grouped_gemm_nt", (1, 2, 3, 4, 5, 6, (1, 1, 128), None, None, True, 7)),
    ]


@pytest.mark.parametrize("answer", [False, UnsupportedError("no kernel", "problem", "", "")])
def test_what_is_refused_goes_on(native, other, answer):
    other("2.8.1")
    native.answers["grouped_gemm_nt"] = answer
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(*PAIRS)
    assert [name for name, _ in _other.other().CALLS] == ["m_grouped_fp8_fp4_gemm_nt_contiguous"]


def test_what_nobody_serves(native):
    native.answers["grouped_gemm_nt"] = UnsupportedError("no kernel", "problem", "", "")
    with pytest.raises(UnsupportedError, match="no kernel"):
        deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(*PAIRS)
    native.answers["grouped_gemm_nt"] = False
    with pytest.raises(MissingError, match="m_grouped"):
        deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(*PAIRS)
    with pytest.raises(MissingError, match="m_grouped"):
        deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(*PAIRS, use_psum_layout=True)


def test_mistakes_do_not_go_on(native, other):
    other("2.8.1")
    native.answers["grouped_gemm_nt"] = BadArgumentError("no", "d.shape", "", "")
    b = (torch.zeros(2, 4, 32).to(torch.float8_e4m3fn), torch.zeros(2, 4, 1))
    with pytest.raises(BadArgumentError):
        deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous((1, 2), b, 5, 6)
    assert _other.other().CALLS == []


def test_fakes_are_used(native):
    assert isinstance(deep_gemm._forward.runtime(), fakes.Native)
