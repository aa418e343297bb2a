"""deepwell.emulate and deepwell.Emulator: arrays in, arrays and findings out."""

import os
import pathlib
import subprocess
import sys

import numpy
import pytest

import deepwell

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "emulate"

HEAD = ".version 8.7\n.target sm_120a\n.address_size 64\n"
# y[i] = a x[i] + y[i] for i < n, by one thread each.
AXPY = (
    HEAD
    + """
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n)
{
  .reg .pred %q;
  .reg .b32 %r<6>;
  .reg .f32 %f<4>;
  .reg .b64 %d<6>;
  ld.param.u64 %d1, [x];
  ld.param.u64 %d2, [y];
  ld.param.f32 %f1, [a];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mad.lo.u32 %r2, %r3, %r4, %r2;
  setp.ge.u32 %q, %r2, %r1;
  @%q ret;
  mul.wide.u32 %d3, %r2, 4;
  add.s64 %d4, %d1, %d3;
  add.s64 %d5, %d2, %d3;
  ld.global.f32 %f2, [%d4];
  ld.global.f32 %f3, [%d5];
  fma.rn.f32 %f3, %f1, %f2, %f3;
  st.global.f32 [%d5], %f3;
  ret;
}
"""
)
# out[0] = *(s.pointer) + s.add, of a struct {u64 pointer; u32 pad, add}.
INDIRECT = (
    HEAD
    + """
.visible .entry indirect(.param .u64 out, .param .align 8 .b8 s[16])
{
  .reg .b32 %r<4>;
  .reg .b64 %d<3>;
  ld.param.u64 %d1, [out];
  ld.param.u64 %d2, [s];
  ld.param.u32 %r1, [s+12];
  ld.global.u32 %r2, [%d2];
  add.u32 %r3, %r1, %r2;
  st.global.u32 [%d1], %r3;
  ret;
}
"""
)


def data(count=100):
    x = numpy.linspace(-1, 1, count, dtype=numpy.float32)
    return x, numpy.arange(count, dtype=numpy.float32)


def axpy(x, y, n=None, **options):
    n = len(x) if n is None else n
    return deepwell.emulate(AXPY, args=[x, y, numpy.float32(2), numpy.uint32(n)], grid=4, block=32, **options)


def test_one_launch_gives_new_arrays_and_leaves_the_given_ones_alone():
    x, y = data()
    before = y.copy()
    result = axpy(x, y, seeds=4)
    assert result.ok and result.seeds == 4 and result.findings == []
    numpy.testing.assert_array_equal(y, before)
    numpy.testing.assert_array_equal(result.args[1], 2 * x + y)
    assert result.args[1].dtype == numpy.float32 and result.args[2] is None
    assert result.raise_findings() is result
    assert result.launches[0]["statistics"]["ctas"] == 4


def test_a_finding_has_its_place_and_can_be_raised():
    x, y = data()
    result = axpy(x[:50], y, n=100)
    assert not result.ok
    (finding,) = result.findings
    assert (finding.kind, finding.kernel, finding.cta, finding.warp, finding.lane) == (
        "memory",
        "axpy",
        (1, 0, 0),
        0,
        18,
    )
    assert finding.instruction == "ld.global.f32 %f2, [%d4]"
    assert AXPY.split("\n")[finding.line - 1].strip() == finding.instruction + ";"
    with pytest.raises(deepwell.errors.DeviceError, match="args\\[0\\]") as raised:
        result.raise_findings()
    assert raised.value.got == "memory"


def test_memory_that_was_never_written_is_poison_and_stays_so():
    x, _ = data()
    result = axpy(x, deepwell.poison(100, "f32"))
    assert [one.kind for one in result.findings] == ["poison"]
    unchecked = axpy(x, deepwell.poison(100, "f32"), check=False)
    assert unchecked.ok
    emulator = deepwell.Emulator()
    out = emulator.empty(4, "u32", name="out")
    word = emulator.buffer(numpy.array([40], dtype=numpy.uint32))
    emulator.launch(INDIRECT, args=[out, deepwell.Struct(16, {0: word, 12: numpy.uint32(2)})])
    result = emulator.run()
    assert result.ok and result["out"][0] == 42
    assert result.written["out"].tolist() == [1] * 4 + [0] * 12
    emulator.launch(INDIRECT, args=[word, deepwell.Struct(16, {0: out.at(4), 12: ("u32", 2)})])
    assert [one.kind for one in emulator.run().findings] == ["poison"]


def test_buffers_keep_what_launches_left_for_later_ones():
    x, y = data()
    emulator = deepwell.Emulator("sm_120a:48")
    a, b = emulator.buffer(x, name="x"), emulator.buffer(y, name="y")
    args = [a, b, numpy.float32(2), numpy.uint32(100)]
    for _ in range(2):
        emulator.launch(AXPY, grid=4, args=args)
    first = emulator.run()
    kept = first["y"]
    emulator.launch(AXPY, "axpy", grid=4, args={0: a, 8: b, 16: numpy.float32(2), 20: numpy.uint32(100)})
    second = emulator.run(expect={b: y + 6 * x}, absolute=1e-4)
    assert len(first.launches) == 2 and len(second.launches) == 1
    numpy.testing.assert_allclose(first["y"], y + 4 * x, rtol=1e-5)
    assert first["y"] is kept and second[b] is not kept
    assert second.ok and second.comparisons["y"].compared == 100
    emulator.launch(AXPY, grid=4, args=args)
    third = emulator.run(expect={"y": y})
    assert not third.ok and third.comparisons["y"].mismatches == 100 - sum(y + 8 * x == y)
    with pytest.raises(deepwell.errors.DeviceError, match="y: "):
        third.raise_findings()


def test_launches_on_streams_race_unless_ordered():
    x, y = data()
    for after, ok in (([], False), ([0], True)):
        emulator = deepwell.Emulator()
        args = [emulator.buffer(x), emulator.buffer(y), numpy.float32(1), numpy.uint32(100)]
        emulator.launch(AXPY, grid=4, args=args, stream=0)
        emulator.launch(AXPY, grid=4, args=args, stream=1, after=after)
        result = emulator.run(seeds=8)
        assert result.ok == ok
        assert ok or result.findings[0].kind == "race"


def test_the_example_with_a_tensor_map():
    matrix = numpy.arange(800, dtype=numpy.float32).reshape(20, 40)
    for kernel, kind in (("row_means", None), ("row_means_early", "race")):
        emulator = deepwell.Emulator()
        source, means = emulator.buffer(matrix), emulator.empty(20)
        tensor_map = emulator.tensor_map(
            source,
            tensorDataType="FLOAT32",
            globalDim=[40, 20],
            globalStrides=[160],
            boxDim=[32, 8],
            swizzle="CU_TENSOR_MAP_SWIZZLE_NONE",
        )
        args = [tensor_map, means, numpy.int32(20), numpy.int32(40)]
        emulator.launch(EXAMPLE / "row_means.ptx", kernel, grid=3, block=64, args=args)
        result = emulator.run(seeds=4)
        if kind is None:
            numpy.testing.assert_array_equal(result[means], matrix.mean(axis=1))
        else:
            assert [one.kind for one in result.findings] == [kind]
            assert result.findings[0].source == "row_means.cu:20"


def test_element_types_and_packed_elements():
    emulator = deepwell.Emulator()
    assert emulator.empty((2, 6), "e2m1").array.shape == (2, 3)
    assert emulator.empty(3, "bf16").array.dtype == numpy.uint16
    assert emulator.buffer(numpy.zeros(3, numpy.uint16), dtype="bf16").dtype == "bf16"
    assert emulator.buffer(numpy.zeros(3, numpy.float64)).dtype == "f64"
    fortran = numpy.asfortranarray(numpy.arange(6, dtype=numpy.int32).reshape(2, 3))
    assert emulator.buffer(fortran).array.flags["C_CONTIGUOUS"]


def test_a_trace_is_written(tmp_path):
    x, y = data()
    assert axpy(x, y, trace=tmp_path / "trace.txt").ok
    lines = (tmp_path / "trace.txt").read_text().splitlines()
    assert lines[0] == "seed 0"
    assert any(line.startswith("launch 0 cta 3,0,0 warp 0 lanes 0x0000000f") for line in lines)


def bad(call, argument, expected=deepwell.errors.BadArgumentError):
    with pytest.raises(expected) as raised:
        call()
    assert raised.value.argument == argument, str(raised.value)
    assert str(raised.value)


def test_mistakes_name_the_argument():
    x, y = data()
    emulator = deepwell.Emulator()
    other = deepwell.Emulator().buffer(x)
    buffer = emulator.buffer(x, name="x")
    bad(lambda: emulator.buffer(x, name="x"), "name")
    bad(lambda: emulator.buffer(numpy.zeros(2, numpy.complex64)), "array")
    bad(lambda: emulator.buffer(x, dtype="bf16"), "dtype")
    bad(lambda: emulator.empty(3, "f31"), "dtype")
    bad(lambda: emulator.empty(3, "e2m1"), "shape")
    bad(lambda: emulator.launch(AXPY, args=[other]), "buffer", deepwell.errors.BadTypeError)
    bad(lambda: emulator.launch(AXPY, args=[5]), "args[0]", deepwell.errors.BadTypeError)
    bad(lambda: emulator.launch(7), "ptx", deepwell.errors.BadTypeError)
    bad(lambda: emulator.launch(AXPY, grid="many"), "grid", deepwell.errors.BadTypeError)

    def launch(**changes):
        emulator = deepwell.Emulator(changes.pop("target", "sm_120a"))
        args = changes.pop("args", None) or [
            emulator.buffer(x),
            emulator.buffer(y),
            numpy.float32(1),
            numpy.uint32(1),
        ]
        emulator.launch(changes.pop("ptx", AXPY), args=args, **changes)
        return emulator.run()

    bad(lambda: launch(args=[numpy.uint64(0)]), "launches[0].params")
    bad(
        lambda: launch(args=[numpy.uint64(0), numpy.uint64(0), numpy.float64(1), numpy.uint32(1)]),
        "launches[0].params[2]",
    )
    bad(lambda: launch(kernel="other"), "launches[0].kernel")
    bad(lambda: launch(block=[1, 1, 1, 1]), "launches[0].block")
    bad(lambda: launch(target="sm_1"), "target", deepwell.errors.UnsupportedError)
    bad(
        lambda: launch(ptx=AXPY.replace("fma.rn", "fma.rx")),
        "module.ptx:26",
        deepwell.errors.UnsupportedError,
    )
    bad(lambda: emulator.run(expect={"z": x}), "expect")
    bad(lambda: emulator.run(expect={buffer: x[:5]}), "expect")


def test_addresses_stay_whatever_comes_later():
    emulator = deepwell.Emulator()
    z = emulator.buffer(numpy.array([40, 50], dtype=numpy.uint32), name="z")
    out = emulator.empty(4, "u32", name="out")
    assert z.address % 256 == 0 and out.address >= z.address + 8
    pointers = emulator.buffer(numpy.array([z.address + 4], dtype=numpy.uint64), name="pointers")
    args = [out, deepwell.Struct(16, {0: numpy.uint64(pointers.array[0]), 12: numpy.uint32(2)})]
    for name in (None, "a", "zz"):  # names before and after the others
        emulator.launch(INDIRECT, args=args)
        result = emulator.run()
        assert result.ok and result["out"][0] == 52
        for buffer in (z, out, pointers):
            assert result.report["buffers"][buffer.name]["address"] == hex(buffer.address)
        emulator.buffer(numpy.zeros(1000, dtype=numpy.float32), name=name)


def test_results_are_the_same_every_time():
    x, y = data()
    reports = []
    for _ in range(2):
        report = axpy(x, y, seed=7, statistics=True).report
        report.pop("seconds")
        reports.append(report)
    assert reports[0] == reports[1]
    assert reports[0]["launches"][0]["statistics"]["global"]["load"]["sectors"] == 26


def test_it_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import deepwell, numpy; "
        "r = deepwell.emulate('''" + INDIRECT + "''', args=[deepwell.poison(1, 'u32'), bytes(16)]); "
        "assert [f.kind for f in r.findings] == ['memory'], r"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
