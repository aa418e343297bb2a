"""torch.ops.deepwell.*: opcheck, torch.compile in one graph, fake shapes, no aliases."""

from __future__ import annotations

import sys

import pytest
import reference as ref
import test_mqa_logits
import torch
from torch.library import opcheck

import deepwell

deepwell.register_ops()
OPS = torch.ops.deepwell


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setenv("DEEPWELL_DEVICE", "emu:sm_120a")


def operand(kind: str, rows: int, k: int, seed: int) -> torch.Tensor:
    return ref.e4m3((rows, k), seed) if kind == "fp8" else ref.e2m1(rows, k, seed)


def gemm_operands(kind="fp8", m=4, n=24, k=128):
    exponent_a, exponent_b = ref.exponents((m, k // 128), 3), ref.exponents((n, k // 128), 4)
    a, b = operand(kind, m, k, 1), operand(kind, n, k, 2)
    want = ref.gemm(a, exponent_a, b, exponent_b, (1, 128), (1, 128))
    return (a, ref.packed(exponent_a), b, ref.packed(exponent_b)), want


def einsum_operands(kind="fp8", tokens=3, groups=2, rows=128, r=128):
    exponent_a, exponent_b = ref.exponents((groups, tokens, 1), 3), ref.exponents((groups, 1, 1), 4)
    a = operand(kind, tokens * groups, r, 1).unflatten(0, (tokens, groups))
    b = operand(kind, groups * rows, r, 2).unflatten(0, (groups, rows))
    left = a.float() if kind == "fp8" else a
    want = ref.gemm(left.transpose(0, 1), exponent_a, b, exponent_b, (1, 128), (128, 128)).transpose(0, 1)
    return (a, ref.packed(exponent_a).transpose(0, 1), b, ref.scale_values(exponent_b).float()), want


def cases(kind="fp8"):
    gemm, _ = gemm_operands(kind)
    einsum, _ = einsum_operands(kind)
    d = torch.zeros(4, 24, dtype=torch.bfloat16)
    z = torch.zeros(3, 2, 128, dtype=torch.bfloat16)
    experts = (ref.e4m3((6, 24, 128), 7), ref.packed(ref.exponents((6, 24, 1), 8)))
    if kind == "fp4":
        experts = (ref.e2m1(6 * 24, 128, 7).unflatten(0, (6, 24)), experts[1])
    ids = torch.tensor([5, -1, 0, 0], dtype=torch.int32)
    slabs = (operand(kind, 12, 128, 9).unflatten(0, (6, 2)), ref.packed(ref.exponents((6, 2, 1), 10)))
    counts = torch.tensor([1, 0, 2, 2, 1, 0], dtype=torch.int32)
    y = torch.zeros(6, 2, 24, dtype=torch.bfloat16)
    fp4 = (ref.e2m1(24, 128, 5), ref.packed(ref.exponents((24, 4), 6)))
    return {
        "gemm": (OPS.fp8_fp4_gemm_nt.default, gemm, {}),
        "gemm f32, c": (OPS.fp8_fp4_gemm_nt.default, (*gemm, torch.float32, torch.ones(4, 24)), {}),
        "gemm, b fp4": (
            OPS.fp8_fp4_gemm_nt.default,
            (*gemm[:2], *fp4),
            {"recipe_a": [1, 128], "recipe_b": [1, 32]},
        ),
        "gemm_out": (OPS.fp8_fp4_gemm_nt_out.default, (*gemm, d), {}),
        "gemm_out, recipe": (OPS.fp8_fp4_gemm_nt_out.default, (*gemm, d), {"recipe": [1, 1, 128]}),
        "contiguous": (
            OPS.m_grouped_fp8_fp4_gemm_nt_contiguous.default,
            (*gemm[:2], *experts, ids, 8),
            {},
        ),
        "contiguous_out": (
            OPS.m_grouped_fp8_fp4_gemm_nt_contiguous_out.default,
            (*gemm[:2], *experts, d, ids, 8),
            {"recipe_a": [1, 128], "recipe_b": [1, 128]},
        ),
        "masked_out": (
            OPS.m_grouped_fp8_fp4_gemm_nt_masked_out.default,
            (*slabs, *experts, y, counts, 1),
            {},
        ),
        "einsum": (OPS.fp8_einsum.default, ("bhr,hdr->bhd", *einsum), {}),
        "einsum_out": (OPS.fp8_einsum_out.default, ("bhr,hdr->bhd", *einsum, z), {}),
        "deepseek_v4": (OPS.deepseek_v4_fp8_einsum.default, (*einsum, z, "bhr,hdr->bhd", [1, 1, 128]), {}),
    }


def layout_cases():
    op = OPS.transform_scale.default
    natural = ref.scale_values(ref.exponents((37, 5), 1)).float()
    return {
        "rows": (op, (natural, 37, 640, 1, 128), {}),
        "blocks": (op, (natural[:2], 200, 640, 128, 128), {}),
        "groups": (op, (natural[None].repeat(2, 1, 1), 37, 640, 1, 128, 2), {}),
        "fp32": (op, (natural, 37, 640, 1, 128, None, True), {}),
        "fp32 blocks": (op, (natural[:2], 200, 640, 128, 128, None, True), {}),
        "packed": (op, (ref.packed(ref.exponents((37, 5), 1)), 37, 640, 1, 128), {}),
    }


def hc_prenorm_operands(m=5, n=24, k=200):
    a = ref.integers(-8, 9, (m, k), 1).to(torch.bfloat16)
    b = ref.integers(-8, 9, (n, k), 2).float()
    return (a, b), (a.double() @ b.double().T, a.double().square().sum(-1))


def hc_prenorm_cases():
    op = OPS.tf32_hc_prenorm_gemm.default
    operands, _ = hc_prenorm_operands()
    return {
        "hc_prenorm": (op, (*operands, torch.zeros(5, 24), torch.zeros(5)), {}),
        "hc_prenorm, splits": (op, (*operands, torch.zeros(3, 5, 24), torch.zeros(3, 5), 3), {}),
    }


def check(case, **options):
    op, args, kwargs = case
    result = opcheck(op, args, kwargs, **options)
    assert set(result.values()) == {"SUCCESS"}, result


# With FP8 operands torch's test of the schema cannot run: it compares inputs by a function that FP8 lacks on CPUs. The same
# operators on packed FP4 (int8) go through it.
@pytest.mark.parametrize("name", cases())
def test_opcheck_fp8(name):
    check(
        cases()[name],
        test_utils=("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"),
    )


@pytest.mark.parametrize("name", cases())
def test_opcheck_fp4(name):
    check(cases("fp4")[name])


@pytest.mark.parametrize("name", layout_cases())
def test_opcheck_layouts(name):
    check(layout_cases()[name])


@pytest.mark.parametrize("name", hc_prenorm_cases())
def test_opcheck_hc_prenorm(name):
    check(hc_prenorm_cases()[name])


def test_compile_keeps_the_product_before_hyper_connections():
    operands, (want_d, want_sqr) = hc_prenorm_operands()

    def mix(a, b):
        d = torch.empty(2, a.shape[0], b.shape[0])
        sqr_sum = torch.empty(2, a.shape[0])
        OPS.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, 2)
        return d.sum(0), sqr_sum.sum(0)

    torch._dynamo.reset()
    d, sqr_sum = torch.compile(mix, fullgraph=True, backend="aot_eager")(*operands)
    assert torch.equal(d, want_d.float()) and torch.equal(sqr_sum, want_sqr.float())


def test_every_operator_is_checked():
    every_case = cases() | layout_cases() | hc_prenorm_cases() | test_mqa_logits.ops_cases()
    registered = {
        name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("deepwell::")
    }
    assert registered == {op._schema.name.split("::")[1] for op, *_ in every_case.values()}


def test_compile_keeps_one_graph_and_the_bits():
    operands, want = gemm_operands()
    o_proj, want_z = einsum_operands()

    def layer(a, scale_a, b, scale_b, x, scale_x, w, scale_w):
        d = OPS.fp8_fp4_gemm_nt(a, scale_a, b, scale_b)
        z = torch.empty(x.shape[0], x.shape[1], w.shape[1], dtype=torch.bfloat16)
        OPS.deepseek_v4_fp8_einsum(x, scale_x, w, scale_w, z, "bhr,hdr->bhd", [1, 1, 128])
        e = torch.zeros_like(d)
        OPS.fp8_fp4_gemm_nt_out(a, scale_a, b, scale_b, e)
        return d + 0, z * 1, e - d

    for backend in ("eager", "aot_eager"):
        torch._dynamo.reset()
        d, z, difference = torch.compile(layer, fullgraph=True, backend=backend)(*operands, *o_proj)
        assert torch.equal(d, want.to(torch.bfloat16))
        assert torch.equal(z, want_z.to(torch.bfloat16))
        assert bool((difference == 0).all())


def test_dynamic_shapes_under_compile():
    compiled = torch.compile(
        lambda *args: OPS.fp8_fp4_gemm_nt(*args) + 0, fullgraph=True, backend="aot_eager", dynamic=True
    )
    for m in (2, 5, 9):
        operands, want = gemm_operands(m=m)
        assert torch.equal(compiled(*operands), want.to(torch.bfloat16))


def test_config_of_a_device():
    assert deepwell.deepseek_v4_fp8_einsum_config() == ((1, 1, 128), True)
    assert deepwell.deepseek_v4_fp8_einsum_config("cpu") == ((1, 1, 128), True)
    with deepwell.device("emu:sm_90a"):
        assert deepwell.deepseek_v4_fp8_einsum_config() == ((1, 128, 128), False)


def test_asked_once_more_when_the_other_one_does_not_load(monkeypatch):
    from deepwell import _ops

    answers = iter([False, True])
    monkeypatch.setattr(_ops._runtime, "fp8_fp4_gemm_nt", lambda *arguments: next(answers))
    monkeypatch.setattr(_ops._other, "other", lambda: None)
    operands, _ = gemm_operands()
    OPS.fp8_fp4_gemm_nt(*operands)
    assert next(answers, "asked twice") == "asked twice"


def test_results_alias_nothing():
    scale = ref.packed(ref.exponents((37, 5), 1))
    out = OPS.transform_scale(scale, 37, 640, 1, 128)
    assert out.data_ptr() != scale.data_ptr() and torch.equal(out, scale) and out.stride() == (1, 40)


def test_logits_are_not_handed_to_another_version_as_they_are(monkeypatch):
    """Versions of DeepGEMM differ in the order of arguments: only the drop-in may forward."""
    import types

    from deepwell import _ops
    from deepwell.errors import UnsupportedError

    asked = []
    other = types.SimpleNamespace(__file__="/other/deep_gemm/__init__.py", fp8_fp4_mqa_logits=asked.append)
    monkeypatch.setitem(sys.modules, "deep_gemm", other)
    monkeypatch.setattr(_ops, "_ours", lambda *arguments: None)  # as on a device that is not Deepwell's
    ones = torch.ones(2)
    with pytest.raises(UnsupportedError, match="/other/deep_gemm"):
        _ops._mqa(ones, ones, ones, ones, ones, ones, 8)
    assert asked == []
