"""The harness of tools/third_party.py can tell right from wrong, and cuts PTX files as it says."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "third_party"))

import build  # noqa: E402
import formats  # noqa: E402
import harness  # noqa: E402
import ptx  # noqa: E402

HEAD = ".version 8.7\n.target sm_120a\n.address_size 64\n"
ENTRY = """
.visible .entry {name}(.param .u64 x, .param .align 8 .b8 box[16], .param .u32 n)
{{
  .reg .b32 %r<4>;
  .reg .b64 %d<4>;
  ld.param.u64 %d1, [x];
  mov.u32 %r1, %tid.x;
  {extra}
  mul.wide.u32 %d2, %r1, 4;
  add.s64 %d3, %d1, %d2;
  {store}
  ret;
}}
"""
STORE = "st.global.u32 [%d3], %r1;"


@pytest.fixture
def unit(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BUILD", tmp_path)
    (tmp_path / "ptx").mkdir()
    text = HEAD + ".shared .align 4 .b8 used[4];\n.shared .align 4 .b8 other[4];\n"
    text += ENTRY.format(name="counts", extra="mov.u32 %r2, used;", store=STORE)
    text += ENTRY.format(name="races", extra="", store="st.global.u32 [%d1], %r1;")
    build.ptx_of("own", "sm_120a").write_text(text)
    return "own"


def run(unit, entry, want):
    def body(run):
        out = run.dev.empty(32, np.uint32)
        run.dev.launch(unit, entry, 1, 32, [out, bytes(16), np.uint32(1)])
        run.close("x", out.read(), want, 0.5, "half a unit")

    return harness.run_case(harness.Case("own", "A", body, {}), seeds=2)


def test_a_right_answer_is_right(unit):
    outcome = run(unit, "counts", np.arange(32))
    assert (outcome.result, outcome.seeds, outcome.worst) == ("right", 2, 0)
    assert outcome.launches[0][:2] == (unit, "counts")


def test_a_wrong_answer_is_wrong(unit):
    outcome = run(unit, "counts", np.arange(32) + (np.arange(32) == 7))
    assert outcome.result == "wrong" and "(7,)" in outcome.detail and outcome.worst == 2


def test_a_report_that_nobody_explains_is_a_report(unit):
    outcome = run(unit, "races", np.zeros(32))
    assert outcome.result == "report" and "race" in outcome.detail


def test_nan_is_not_near_anything():
    judge = harness.Run("own", 0, "sm_120a")
    with pytest.raises(harness.Wrong):
        judge.close("x", [np.nan], [1.0], 10.0, "")
    with pytest.raises(harness.Wrong):
        judge.close("x", [1.0], [np.inf], 10.0, "")
    judge.close("x", [np.nan, np.inf], [np.nan, np.inf], 0.5, "")


def test_parameters_must_be_those_of_the_kernel(unit):
    device = harness.Run("own", 0, "sm_120a").dev
    with pytest.raises(LookupError):
        device.launch(unit, "counts", 1, 32, [None, np.uint32(1)])
    with pytest.raises(LookupError):
        device.launch(unit, "counts", 1, 32, [None, bytes(8), np.uint32(1)])


def test_a_module_of_one_kernel(unit):
    module = ptx.load(build.ptx_of(unit, "sm_120a"))
    assert module.parameters("counts") == [(8, 8), (16, 8), (4, 4)]
    text = module.text_of("counts")
    assert "used[4]" in text and "other[4]" not in text and "races" not in text


def test_a_repair_that_finds_nothing_is_an_error():
    with pytest.raises(LookupError):
        ptx.patched("ret;", (ptx.FENCE,))
    assert ptx.patched("mbarrier.init.shared.b64 [%r1], 1;", (ptx.FENCE,)).endswith("fence.proxy.async;")


def test_formats_round_to_nearest_even():
    codes = np.arange(127)
    assert (formats.to_e4m3(formats.E4M3[codes]) == codes).all()
    assert formats.to_e4m3(np.array([1.0625, 1.1875, 1e9, -0.0])).tolist() == [0x38, 0x3A, 0x7E, 0x80]
    assert formats.to_e2m1(np.array([0.25, 0.75, 2.5, -5.0, 7.0])).tolist() == [0, 2, 4, 14, 7]
    assert formats.to_bf16(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8])).tolist() == [0x3F80, 0x3F82]
    assert (formats.unpack4(formats.pack4(codes[:16] % 16)) == codes[:16] % 16).all()
