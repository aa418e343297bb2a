"""Launch files as a user meets them: `deepwell emulate --launch`, the example of examples/emulate, errors with their path."""

import json
import struct
import tempfile
import unittest
from pathlib import Path

from test_cli import ADD_ONE, run

EXAMPLE = Path(__file__).parents[2] / "examples" / "emulate"

# Stores its parameters one after the other.
PARAMETERS = """
.version 8.7
.target sm_120a
.address_size 64
.visible .entry show(.param .u64 out, .param .u8 a, .param .u16 b, .param .f32 c, .param .align 8 .b8 s[24], .param .u64 p)
{
  .reg .b16 %h<3>;
  .reg .b32 %r<3>;
  .reg .b64 %d<8>;
  .reg .pred %q;
  mov.u32 %r1, %tid.x;
  setp.ne.u32 %q, %r1, 0;
  @%q ret;
  ld.param.u64 %d1, [out];
  ld.param.u8 %h1, [a];
  st.global.u8 [%d1], %h1;
  ld.param.u16 %h2, [b];
  st.global.u16 [%d1+2], %h2;
  ld.param.b32 %r2, [c];
  st.global.b32 [%d1+4], %r2;
  ld.param.b64 %d2, [s];
  ld.param.b64 %d3, [s+8];
  ld.param.b64 %d4, [s+16];
  st.global.v2.b64 [%d1+16], {%d2, %d3};
  st.global.b64 [%d1+32], %d4;
  ld.param.u64 %d5, [p];
  st.global.b64 [%d1+8], %d5;
  ret;
}
"""

# Goes around for ever.
ENDLESS = ".version 8.7\n.target sm_120a\n.address_size 64\n.visible .entry endless() {\nAGAIN:\n  bra AGAIN;\n}\n"


def add_one(count=8, **changes):
    launch = {"block": 32, "params": [{"buffer": "x"}, {"u32": count}]}
    launch.update(changes)
    return {"buffers": {"x": {"dtype": "u32", "shape": [8], "fill": "iota"}}, "launches": [launch]}


class LaunchFile(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "add_one.ptx").write_text(ADD_ONE)
        (self.folder / "show.ptx").write_text(PARAMETERS)
        (self.folder / "endless.ptx").write_text(ENDLESS)

    def emulate(self, document, *arguments, ptx="add_one.ptx"):
        text = document if isinstance(document, str) else json.dumps(document)
        (self.folder / "launch.json").write_text(text)
        files = [str(self.folder / ptx)] if ptx else []
        return run("emulate", *files, "--launch", str(self.folder / "launch.json"), *arguments)

    def report(self, document, *arguments, code=0, **keywords):
        result = self.emulate(document, "--json", *arguments, **keywords)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def test_the_example_is_right_and_its_race_is_found(self):
        result = run("emulate", "--launch", str(EXAMPLE / "launch.json"))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("means: 20 elements as expected", result.stdout)
        self.assertIn("ok: 8 seeds", result.stdout)
        result = run("emulate", "--launch", str(EXAMPLE / "race.json"), "--json")
        self.assertEqual(result.returncode, 1, result.stderr)
        finding = json.loads(result.stdout)["findings"][0]
        self.assertEqual((finding["finding"], finding["kernel"]), ("race", "row_means_early"))
        self.assertEqual(finding["place"]["source"], "row_means.cu:20")
        self.assertIn("row_means.cu:46", finding["message"])

    def test_every_kind_of_parameter_in_order_and_by_offset(self):
        s = {"struct": [{"at": 0, "buffer": "q", "offset": 8}, {"at": 9, "bytes": "a1 b2"}, {"at": 16, "s16": -2}], "size": 24}
        values = [("buffer", "out", 0), ("u8", 200, 8), ("u16", "0xbeef", 10), ("f32", 0.5, 12), (None, s, 16), ("buffer", "q", 40)]
        in_order = [value if name is None else {name: value} for name, value, _ in values]
        by_offset = [{**one, "at": at} for one, (_, _, at) in zip(in_order, values)][::-1]
        for params in (in_order, by_offset):
            document = {
                "buffers": {
                    "out": {"dtype": "u8", "shape": [40], "fill": "poison", "output": "out.raw"},
                    "q": {"dtype": "u64", "shape": [2], "fill": "zero"},
                },
                "launches": [{"block": 32, "params": params}],
            }
            report = self.report(document, ptx="show.ptx")
            self.assertEqual(report["buffers"]["out"]["undefined_bytes"], 1)
            raw = (self.folder / "out.raw").read_bytes()
            a, b, c, p = struct.unpack_from("<BxHfQ", raw)
            self.assertEqual((a, b, c), (200, 0xBEEF, 0.5))
            self.assertEqual(struct.unpack_from("<Q", raw, 16)[0], p + 8)
            self.assertEqual(raw[25:27], b"\xa1\xb2")
            self.assertEqual(struct.unpack_from("<h", raw, 32)[0], -2)

    def test_buffers_go_through_npy_files(self):
        document = add_one()
        document["buffers"]["x"]["output"] = "x.npy"
        self.report(document)
        document["buffers"]["x"] = {"file": "x.npy", "expect": {"values": list(range(2, 10))}}
        report = self.report(document)
        self.assertEqual(report["buffers"]["x"]["shape"], [8])
        self.assertTrue(report["buffers"]["x"]["expected"]["ok"])

    def test_what_differs_is_said_and_is_exit_code_1(self):
        document = add_one()
        document["buffers"]["x"]["expect"] = {"values": [1, 2, 3, 4, 5, 6, 9, 8], "absolute": 1}
        result = self.emulate(document)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("x: 1 of 8 elements differ", result.stdout)
        self.assertIn("first at 6: got 7, expected 9", result.stdout)
        document["buffers"]["x"]["expect"]["absolute"] = 2
        self.assertEqual(self.emulate(document).returncode, 0)

    def test_findings_are_exit_code_1_and_every_seed_may_go_on(self):
        document = add_one(count=9)
        report = self.report(document, "--seeds", "3", code=1)
        self.assertEqual([(one["finding"], one["seed"]) for one in report["findings"]], [("memory", 0)])
        report = self.report(document, "--seeds", "3", "--every-seed", code=1)
        self.assertEqual([one["seed"] for one in report["findings"]], [0, 1, 2])
        document["buffers"]["x"]["fill"] = "poison"
        self.assertEqual(self.report(add_one(count=8), "--no-check")["checked"], False)
        document["launches"][0]["params"][1] = {"u32": 8}
        self.assertEqual(self.report(document, code=1)["findings"][0]["finding"], "poison")

    def test_launches_of_a_list_follow_each_other(self):
        document = add_one()
        document["launches"] *= 3
        document["buffers"]["x"]["expect"] = {"values": list(range(3, 11))}
        self.assertEqual(len(self.report(document, "--seeds", "4")["launches"]), 3)
        document["launches"] = [dict(one) for one in document["launches"]]
        for i, launch in enumerate(document["launches"]):
            launch["stream"] = i
        self.assertEqual(self.report(document, "--seeds", "8", code=1)["findings"][0]["finding"], "race")
        document["launches"][1]["after"], document["launches"][2]["after"] = [0], [1]
        self.report(document, "--seeds", "8")

    def test_a_trace_has_every_instruction_with_its_results(self):
        self.report(add_one(), "--trace", str(self.folder / "trace.txt"))
        lines = (self.folder / "trace.txt").read_text().splitlines()
        self.assertEqual(lines[0], "seed 0")
        self.assertEqual(len(lines), 1 + 11)
        loaded = next(line for line in lines if "ld.global.u32 %r3" in line)
        self.assertIn("lanes 0x000000ff line 17", loaded)
        self.assertIn("-> %r3 = 0x0 0x1 0x2", loaded)
        document = add_one()
        document["options"] = {"trace": {"file": "other.txt", "warp": 1}}
        self.report(document)
        self.assertEqual((self.folder / "other.txt").read_text(), "seed 0\n")

    def test_endless_programs_end(self):
        for options in ({"max_steps": 1000}, {"max_total_steps": 1000}):
            document = {"launches": [{"block": 32}], "options": options}
            for check in (True, False):
                report = self.report(document, f"--{'' if check else 'no-'}check", code=1, ptx="endless.ptx")
                self.assertEqual(report["findings"][0]["finding"], "deadlock")
                self.assertIn("more than 1000 warp-instructions", report["findings"][0]["message"])

    def test_a_cooperative_launch_has_to_fit_the_board(self):
        document = add_one(cooperative=True, grid=64)
        self.assertEqual(self.report(document, "--target", "sm_120a:1", "--no-race", code=1)["findings"][0]["finding"], "resource")
        self.report(document, "--target", "sm_120a:2", "--no-race")

    def test_mistakes_are_named_with_path_value_and_what_was_expected(self):
        x = {"dtype": "u32", "shape": [8], "fill": "iota"}
        tmap = {"tensorDataType": "UINT32", "globalAddress": "x", "globalDim": [8], "boxDim": [4]}

        def with_buffer(**changes):
            return {**add_one(), "buffers": {"x": {**x, **changes}}}

        for document, path, expected in (
            ("{", "launch.json", "a JSON document"),
            ("[" * 100 + "]" * 100, "launch.json", "levels"),
            ({"launches": []}, "launches", "1 to 512"),
            ({"launch": []}, "launch", "no such member"),
            ({**add_one(), "target": "sm_1"}, "", "sm_120a"),
            (with_buffer(dtype="f31"), "buffers.x.dtype", "bf16"),
            (with_buffer(shape=[-1]), "buffers.x.shape[0]", "0 to"),
            (with_buffer(shape=[1 << 40, 1 << 40]), "buffers.x.shape", "bytes"),
            (with_buffer(dtype="e2m1", shape=[3]), "buffers.x.shape", "even"),
            (with_buffer(values=[1]), "buffers.x", "one of"),
            (with_buffer(fill="nothing"), "buffers.x.fill", "poison"),
            (with_buffer(fill={"uniform": [2, 1]}), "buffers.x.fill.uniform", "lower bound"),
            (with_buffer(fill={"constant": 1 << 32}), "buffers.x.fill.constant", "4294967295"),
            (with_buffer(output="../x.npy"), "buffers.x.output", "folder"),
            (with_buffer(output="/x.npy"), "buffers.x.output", "folder"),
            (with_buffer(expect={"values": [1, 2]}), "buffers.x.expect.values", "array of 8"),
            (with_buffer(expect={"fill": "poison"}), "buffers.x.expect.fill", "contents"),
            ({**add_one(), "buffers": {"x": {"file": "none.npy"}}}, "buffers.x.file", "readable"),
            ({**add_one(), "buffers": {"x": {"file": "add_one.ptx", "dtype": "u64", "shape": [1]}}}, "buffers.x.file", "shape"),
            (add_one(block=[1, 2, 3, 4]), "launches[0].block", "1 to 3"),
            (add_one(grid=0), "launches[0].grid", "1 to"),
            (add_one(kernel="other"), "launches[0].kernel", "add_one"),
            (add_one(module="other"), "launches[0].module", "name in"),
            (add_one(after=[0]), "launches[0].after[0]", "none before"),
            (add_one(params=[]), "launches[0].params", "the 2 of add_one"),
            (add_one(params=[{"buffer": "y"}, {"u32": 1}]), "launches[0].params[0].buffer", "name of a buffer"),
            (add_one(params=[{"buffer": "x"}, {"u64": 1}]), "launches[0].params[1]", "4 bytes of n"),
            (add_one(params=[{"buffer": "x"}, {"u32": -1}]), "launches[0].params[1].u32", "4294967295"),
            (add_one(params=[{"buffer": "x"}, {"u32": 1, "f32": 1}]), "launches[0].params[1]", "either"),
            (add_one(params=[{"buffer": "x", "at": 0}, {"u32": 1}]), "launches[0].params[1]", '"at"'),
            (add_one(params=[{"buffer": "x", "at": 0}, {"u32": 1, "at": 7}]), "launches[0].params[1]", "no parameter before"),
            (add_one(params=[{"buffer": "x", "at": 8}]), "launches[0].params[0]", "within the 12"),
            (add_one(params=[{"bytes": "0"}, {"u32": 1}]), "launches[0].params[0].bytes", "hexadecimal"),
            ({**add_one(), "tensor_maps": {"m": {**tmap, "swizzle": "12B"}}}, "tensor_maps.m.swizzle", "128B_ATOM_32B"),
            ({**add_one(), "tensor_maps": {"m": {**tmap, "boxDim": [3]}}}, "tensor_maps.m.boxDim[0]", "16 bytes"),
            (
                {**add_one(), "tensor_maps": {"m": {**tmap, "globalAddress": {"buffer": "x", "offset": 4}}}},
                "tensor_maps.m.globalAddress",
                "multiple of 16",
            ),
            ({**add_one(), "options": {"seeds": 0}}, "options.seeds", "1 to"),
            ({**add_one(), "options": {"memory_bytes": 16}}, "buffers.x.shape", "16 bytes"),
        ):
            with self.subTest(path=path, expected=expected):
                result = self.emulate(document)
                self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
                self.assertTrue(result.stderr.startswith("deepwell: "), result.stderr)
                self.assertIn(path + ": got " if path.count(".") else path, result.stderr)
                self.assertIn(expected, result.stderr)

    def test_the_command_line_goes_before_the_file_and_says_what_does_not_fit(self):
        document = {**add_one(), "target": "sm_120a", "options": {"seed": 5, "seeds": 2}}
        report = self.report(document, "--seed", "9")
        self.assertEqual((report["first_seed"], report["seeds"]), (9, 2))
        for arguments in (("--grid", "2"), ("--param", "u32:1"), ("--dump", "0")):
            result = self.emulate(document, *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
            self.assertIn(arguments[0], result.stderr)
        self.assertEqual(run("emulate", str(self.folder / "add_one.ptx"), "--trace", "x").returncode, 2)
        self.assertEqual(run("emulate").returncode, 2)
        outside = with_file = {**add_one(), "buffers": {"x": {"file": str(self.folder / "x.raw"), "dtype": "u32"}}}
        (self.folder / "x.raw").write_bytes(bytes(32))
        self.assertEqual(self.emulate(with_file).returncode, 0)
        (self.folder / "inner").mkdir()
        (self.folder / "inner" / "launch.json").write_text(json.dumps(outside))
        command = ("emulate", str(self.folder / "add_one.ptx"), "--launch", str(self.folder / "inner" / "launch.json"))
        self.assertEqual(run(*command).returncode, 2)
        self.assertEqual(run(*command, "--any-path").returncode, 0)


if __name__ == "__main__":
    unittest.main()
