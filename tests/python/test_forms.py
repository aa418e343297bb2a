"""Forms of calls that differ between DeepGEMM 2.5, 2.6 and 2.8: each is accepted, and reaches each other
DeepGEMM in the form that this one takes. Forms that no version has are errors."""

import deep_gemm
import pytest
import torch
from deepwell import _other
from deepwell.errors import BadArgumentError, BadTypeError

VERSIONS = ("2.5.0", "2.6.1", "2.8.1")
START = torch.tensor([0, 1, 2, 3], dtype=torch.int32)
END = torch.tensor([2, 1, 5, 6], dtype=torch.int32)
KEYS = 5
Q = (torch.zeros(4, 2, 8), None)
KV = (torch.zeros(KEYS, 8), torch.ones(KEYS))
WEIGHTS = torch.ones(4, 2)


def last_call():
    name, given = _other.other().CALLS[-1]
    return given


# --- m-grouped ----------------------------------------------------------------------------------------------


@pytest.fixture(params=VERSIONS)
def any_other(request, other):
    other(request.param)
    return request.param


def test_m_grouped_position_after_psum(native, any_other):
    """A bool there is ensure_zero_padding (2.6 and 2.8), an int expected_m_for_psum_layout (2.5)."""
    native.answers["grouped_gemm_nt"] = False
    pairs = ((1, 2), (3, 4), 5, 6)
    call = deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous
    call(*pairs, None, None, None, "nk", False, True, 48)
    assert last_call()["expected_m_for_psum_layout"] == 48 and last_call()["use_psum_layout"] is True
    assert last_call().get("ensure_zero_padding", True) is True
    call(*pairs, None, None, None, "nk", False, True, False, 48)
    assert last_call()["expected_m_for_psum_layout"] == 48
    if any_other != "2.5.0":
        assert last_call()["ensure_zero_padding"] is False
    call(*pairs, None, None, None, "nk", False, True, None)
    assert last_call()["expected_m_for_psum_layout"] is None
    call(*pairs, use_psum_layout=True, ensure_zero_padding=True, expected_m_for_psum_layout=7)
    assert last_call()["expected_m_for_psum_layout"] == 7
    call(*pairs, None, (1, 128), (1, 32), use_psum_layout=False, disable_ue8m0_cast=False)
    assert last_call()["recipe_a"] == (1, 128) and last_call()["recipe_b"] == (1, 32)


def test_m_grouped_bf16_position_after_psum(native, any_other):
    call = deep_gemm.m_grouped_bf16_gemm_nt_contiguous
    call(1, 2, 3, 4, "nk", True, 48)
    assert last_call()["expected_m_for_psum_layout"] == 48
    call(1, 2, 3, 4, "nk", True, True, 48)
    assert last_call()["expected_m_for_psum_layout"] == 48


def test_m_grouped_forms_of_no_version(native, any_other):
    pairs = ((1, 2), (3, 4), 5, 6)
    nt, nn = deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous, deep_gemm.m_grouped_fp8_fp4_gemm_nn_contiguous
    for call, tail in (
        (nt, (48, 64)),
        (nt, (True, 48, None, 1)),
        (nt, ("yes",)),
        (nn, (48,)),
        (nn, (True, None, 1)),
    ):
        with pytest.raises(BadTypeError):
            call(*pairs, None, None, None, "nk", False, True, *tail)
    assert _other.other().CALLS == []


def test_m_grouped_forms_without_another(native):
    with pytest.raises(BadTypeError):
        deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(
            (1, 2), (3, 4), 5, 6, None, None, None, "nk", False, True, 48, 64
        )


@pytest.mark.parametrize("name", ["m_grouped_fp8_gemm_nt_masked", "fp8_m_grouped_gemm_nt_masked"])
def test_masked_by_all_its_names(native, other, name):
    other("2.8.1")
    native.answers["grouped_gemm_nt"] = False
    getattr(deep_gemm, name)((1, 2), (3, 4), 5, 6, 7, recipe=(1, 1, 128))
    assert _other.other().CALLS[-1][0] == "m_grouped_fp8_fp4_gemm_nt_masked"


# --- k-grouped ----------------------------------------------------------------------------------------------


def test_k_grouped_names(native, any_other):
    call = deep_gemm.k_grouped_fp8_gemm_tn_contiguous
    for given in (
        {"ks": [128], "ks_tensor": "t"},
        {"ks_cpu": [128], "grouped_layout": "t"},
        {"ks": [128], "grouped_layout": "t"},
    ):
        call((1, 2), (3, 4), 5, c=6, **given)
        got = last_call()
        assert (got.get("ks", got.get("ks_cpu")), got.get("ks_tensor", got.get("grouped_layout"))) == (
            [128],
            "t",
        )
        assert got["c"] == 6
    call((1, 2), (3, 4), 5, [128], "t", 6, (1, 1, 32))
    assert last_call()["recipe"] == (1, 1, 32)
    with pytest.raises(BadTypeError):
        call((1, 2), (3, 4), 5, ks=[1], ks_cpu=[1], grouped_layout="t")


def test_k_grouped_scales(native, any_other):
    call = deep_gemm.get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor
    deep_gemm.set_mk_alignment_for_contiguous_layout(64)
    for given in (("t", [128], 32), ("t", [128], 32, 256)):
        call("sf", *given)
        got = last_call()
        assert got["sf"] == "sf" and got["gran_k"] == 32
        assert got.get("ks_tensor", got.get("grouped_layout")) == "t"
        if any_other != "2.5.0":
            assert got["k_alignment"] == (256 if len(given) == 4 else 64)
    call("sf", ks_tensor="t", ks=[128], gran_k=128)
    assert last_call()["gran_k"] == 128
    for wrong in (
        {"ks_tensor": "t", "ks": [1]},
        {"ks_tensor": "t", "grouped_layout": "t", "ks": [1], "gran_k": 32},
        {"gran_k": 32},
    ):
        with pytest.raises(BadTypeError):
            call("sf", **wrong)
    if any_other == "2.5.0":
        with pytest.raises(RuntimeError):
            call("sf", "t", [128], 32, 128, use_psum_layout=True)
    else:
        call("sf", "t", [128], 32, 128, True)
        assert last_call()["use_psum_layout"] is True


# --- einsum -------------------------------------------------------------------------------------------------


def test_einsum_cublaslt(native, any_other):
    """Kept for a DeepGEMM that has the choice, dropped for one that makes it by itself."""
    for args, kwargs in (((None, True), {}), ((), {"use_cublaslt": True})):
        deep_gemm.einsum("bhr,hdr->bhd", 1, 2, 3, *args, **kwargs)
        assert last_call().get("use_cublaslt", "absent") == ("absent" if any_other == "2.8.1" else True)
        assert last_call().get("epilogue") is None
    deep_gemm.einsum("bhr,hdr->bhd", 1, 2, 3, epilogue=None)
    deep_gemm.einsum("bhr,hdr->bhd", 1, 2, 3, 4)
    assert last_call()["c"] == 4
    with pytest.raises(BadTypeError):
        deep_gemm.einsum("bhr,hdr->bhd", 1, 2, 3, None, True, use_cublaslt=True)


# --- MQA logits ---------------------------------------------------------------------------------------------


def full_logits():
    """A logit for every pair of a query and a key."""
    return torch.arange(4.0)[:, None] * 10 + torch.arange(KEYS)


def answer_2_8_1(q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, max_seqlen_k, schedule_meta):
    """Compressed; NaN where nothing is defined."""
    out = torch.full((4, max_seqlen_k), float("nan"))
    for row in range(4):
        first, last = int(cu_seq_len_k_start[row]), min(int(cu_seq_len_k_end[row]), KEYS)
        out[row, : last - first] = full_logits()[row, first:last] if last > first else out[row, :0]
    return out


def answer_older(
    q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean_logits, max_seqlen_k, logits_dtype
):
    if max_seqlen_k:
        assert not clean_logits
        out = answer_2_8_1(q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, max_seqlen_k, None)
    else:
        key = torch.arange(KEYS)
        inside = (key >= cu_seq_len_k_start[:, None]) & (key < cu_seq_len_k_end[:, None])
        out = full_logits().masked_fill(~inside, float("-inf" if clean_logits else "nan"))
    return out.to(logits_dtype or torch.float32)


@pytest.fixture
def mqa_other(any_other):
    theirs = _other.other()
    theirs.ANSWERS["fp8_fp4_mqa_logits"] = answer_2_8_1 if any_other == "2.8.1" else answer_older
    theirs.ANSWERS["fp8_mqa_logits"] = lambda **given: answer_older(**given, logits_dtype=None)
    return theirs


def compressed_is_right(out, width):
    assert out.shape == (4, width)
    for row in range(4):
        first, last = int(START[row]), min(int(END[row]), KEYS)
        assert torch.equal(out[row, : last - first].float(), full_logits()[row, first:last])


def uncompressed_is_right(out):
    inside = (torch.arange(KEYS) >= START[:, None]) & (torch.arange(KEYS) < END[:, None])
    assert torch.equal(out.float(), full_logits().masked_fill(~inside, float("-inf")))


def test_mqa_current_form(native, mqa_other):
    """An int in the sixth place is max_seqlen_k, whichever form the other DeepGEMM has."""
    call = deep_gemm.fp8_fp4_mqa_logits
    compressed_is_right(call(Q, KV, WEIGHTS, START, END, 4), 4)
    compressed_is_right(call(Q, KV, WEIGHTS, START, END, max_seqlen_k=3), 3)
    compressed_is_right(call(Q, KV, WEIGHTS, START, END, 4, None), 4)
    compressed_is_right(call(Q, KV, WEIGHTS, START, END, clean_logits=False, max_seqlen_k=4), 4)


def test_mqa_older_form(native, mqa_other):
    call = deep_gemm.fp8_fp4_mqa_logits
    uncompressed_is_right(call(Q, KV, WEIGHTS, START, END))
    uncompressed_is_right(call(Q, KV, WEIGHTS, START, END, True))
    uncompressed_is_right(call(Q, KV, WEIGHTS, START, END, True, 0, torch.float32))
    uncompressed_is_right(call(Q, KV, WEIGHTS, START, END, clean_logits=True))
    compressed_is_right(call(Q, KV, WEIGHTS, START, END, False, 4), 4)
    for out in (
        call(Q, KV, WEIGHTS, START, END, True, 0, torch.bfloat16),
        call(Q, KV, WEIGHTS, START, END, logits_dtype=torch.bfloat16),
    ):
        assert out.dtype == torch.bfloat16
        uncompressed_is_right(out)
    uncompressed_is_right(deep_gemm.fp8_mqa_logits(Q[0], KV, WEIGHTS, START, END))
    compressed_is_right(deep_gemm.fp8_mqa_logits(Q[0], KV, WEIGHTS, START, END, False, 4), 4)


def test_mqa_forms_of_no_version(native, mqa_other):
    call = deep_gemm.fp8_fp4_mqa_logits
    for args, kwargs in (
        ((4, 5), {}),
        ((True, True), {}),
        ((True, 0, torch.float32, 1), {}),
        ((True,), {"clean_logits": True}),
        ((True, 0, torch.float32), {"logits_dtype": torch.float32}),
        (("4",), {}),
        ((4,), {"colour": 1}),
        ((4, None, torch.float32), {}),
    ):
        with pytest.raises(BadTypeError) as caught:
            call(Q, KV, WEIGHTS, START, END, *args, **kwargs)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, RuntimeError)


def test_mqa_clean_and_compressed_is_refused(native, other):
    other("2.8.1")
    with pytest.raises(BadArgumentError):
        deep_gemm.fp8_fp4_mqa_logits(Q, KV, WEIGHTS, START, END, True, 4)


def test_mqa_schedule_is_passed_on(native, other):
    other("2.8.1")
    meta = torch.zeros(3, dtype=torch.int32)
    deep_gemm.fp8_fp4_mqa_logits(Q, KV, WEIGHTS, START, END, 4, meta)
    assert last_call()["schedule_meta"] is meta


def test_paged_forms(native, any_other):
    call = deep_gemm.fp8_fp4_paged_mqa_logits
    theirs = _other.other()
    theirs.ANSWERS["fp8_fp4_paged_mqa_logits"] = lambda **given: torch.zeros(
        1, dtype=given.get("logits_dtype")
    )
    first = (Q, "cache", WEIGHTS, "lens", "table", "meta", 64)
    indices = torch.zeros(4, dtype=torch.int32)
    for args, kwargs, wanted, dtype in (
        ((), {}, None, torch.float32),
        ((indices,), {}, indices, torch.float32),
        ((None,), {}, None, torch.float32),
        ((), {"indices": indices}, indices, torch.float32),
        ((False,), {}, None, torch.float32),
        ((False, torch.bfloat16), {}, None, torch.bfloat16),
        ((False, torch.float32, indices), {}, indices, torch.float32),
        (
            (),
            {"clean_logits": False, "logits_dtype": torch.bfloat16, "indices": indices},
            indices,
            torch.bfloat16,
        ),
    ):
        out = call(*first, *args, **kwargs)
        assert last_call()["indices"] is wanted and last_call()["max_context_len"] == 64
        assert out.dtype == dtype
    for args, kwargs in (
        ((3,), {}),
        ((None, torch.float32), {}),
        ((False, torch.float32, None, 1), {}),
        ((False,), {"clean_logits": False}),
        ((), {"colour": 1}),
    ):
        with pytest.raises(BadTypeError):
            call(*first, *args, **kwargs)
    if any_other == "2.8.1":
        with pytest.raises(BadArgumentError):
            call(*first, True)


def test_paged_fp8_form(native, any_other):
    deep_gemm.fp8_paged_mqa_logits("q", "cache", WEIGHTS, "lens", "table", "meta", 64)
    assert last_call()["q"] == ("q" if any_other != "2.8.1" else ("q", None))


def test_vllms_calls(native, other):
    """As vLLM 0.33 makes them: positional."""
    other("2.8.1")
    theirs = _other.other()
    for name in ("grouped_gemm_nt", "tf32_hc_prenorm_gemm"):
        native.answers[name] = False  # as on a device that is not Deepwell's
    deep_gemm.get_paged_mqa_logits_metadata("lens", 64, 188)
    deep_gemm.fp8_fp4_paged_mqa_logits(Q, "cache", WEIGHTS, "lens", "table", "meta", 1024)
    deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4, 64)
    deep_gemm.m_grouped_fp8_fp4_gemm_nt_contiguous(
        (1, 2),
        (3, 4),
        5,
        6,
        use_psum_layout=False,
        recipe_a=(1, 128),
        recipe_b=(1, 32),
        disable_ue8m0_cast=False,
    )
    assert [name for name, _ in theirs.CALLS] == [
        "get_paged_mqa_logits_metadata",
        "fp8_fp4_paged_mqa_logits",
        "tf32_hc_prenorm_gemm",
        "m_grouped_fp8_fp4_gemm_nt_contiguous",
    ]


# --- how forms are recognised -------------------------------------------------------------------------------


def test_takes_reads_three_kinds_of_functions():
    takes = deep_gemm._forward.takes

    def python(a, b=1):
        pass

    class Pybind:
        __doc__ = "f(q: object, clean_logits: bool = True) -> object\n"

    library = torch.library.Library("deepwell_test_forms", "DEF")
    library.define("f(int new_value, int? other=None) -> ()")
    operator = torch.ops.deepwell_test_forms.f
    assert operator.default is not None
    assert takes(python, "b") is True and takes(python, "c") is False
    assert takes(Pybind(), "clean_logits") is True and takes(Pybind(), "indices") is False
    assert takes(operator, "new_value") is True and takes(operator, "c") is False
    assert takes(lambda *args, **kwargs: None, "c") is None
    assert takes(object(), "c") is None
    library._destroy()


def test_takes_reads_an_operator_that_was_not_touched():
    """The overload of an operator is looked up by its schema, not by what has been asked for before."""
    library = torch.library.Library("deepwell_test_forms_2", "DEF")
    library.define("g(int ks_cpu) -> ()")
    assert deep_gemm._forward.takes(torch.ops.deepwell_test_forms_2.g, "ks_cpu") is True
    library._destroy()
