"""The `deepwell` program as a user meets it: exit codes, messages on stderr, JSON that parses, a PTX file that runs.

The environment variable DEEPWELL_BINARY names the program, DEEPWELL_LOADING_BINARY the one that has the emulator in a library;
ctest sets them.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ADD_ONE = """
.version 8.7
.target sm_120a
.address_size 64
.visible .entry add_one(.param .u64 p, .param .u32 n)
{
  .reg .pred %q;
  .reg .b32 %r<4>;
  .reg .b64 %d<4>;
  ld.param.u64 %d1, [p];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %tid.x;
  setp.ge.u32 %q, %r2, %r1;
  @%q bra DONE;
  mul.wide.u32 %d2, %r2, 4;
  add.s64 %d3, %d1, %d2;
  ld.global.u32 %r3, [%d3];
  add.u32 %r3, %r3, 1;
  st.global.u32 [%d3], %r3;
DONE:
  ret;
}
"""


def run(*arguments):
    environment = dict(os.environ, DEEPWELL_DEVICE="emu:sm_120a")
    return subprocess.run(
        [os.environ["DEEPWELL_BINARY"], *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


class Usage(unittest.TestCase):
    def test_help_succeeds_and_names_the_commands(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0, result.stderr)
        for command in ("isa", "doctor", "emulate"):
            self.assertIn(command, result.stdout)

    def test_bad_usage_is_exit_code_2(self):
        for arguments in (
            (),
            ("nonsense",),
            ("isa", "--nonsense"),
            ("emulate",),
            ("emulate", "/nonexistent.ptx"),
            ("doctor", "extra"),
        ):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertTrue(result.stderr.startswith("deepwell: "), result.stderr)
                self.assertEqual(result.stdout, "")


class Check(unittest.TestCase):
    FIELDS = ["op", "case", "device", "kernel", "status", "error", "bound", "seconds", "schedule", "reason"]

    def test_json_has_its_fields_on_every_line(self):
        result = run("check", "--json", "--filter", "3x40x96")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertGreater(len(lines), 1)
        for line in lines:
            self.assertEqual(list(line), self.FIELDS)
            self.assertEqual(line["status"], "pass", line)
            self.assertEqual(line["device"], "emu:sm_120a")
            self.assertGreater(line["seconds"], 0)
            self.assertLessEqual(line["error"], line["bound"])

    def test_stats_are_held_against_the_least(self):
        result = run("check", "--stats", "--filter", "exact 3x40x64")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("useful", result.stdout)
        self.assertIn("conflicts", result.stdout)
        result = run("check", "--stats", "--json", "--filter", "exact 3x40x64")
        for line in map(json.loads, result.stdout.splitlines()):
            self.assertEqual(list(line), self.FIELDS + ["efficiency", "statistics"])
            # 3 columns of 8, 40 rows of 16, 64 of k.
            self.assertEqual(line["efficiency"]["useful_mma"], 3 * 1 * 2)
            self.assertEqual(line["efficiency"]["mma"], line["statistics"]["mma"])
            self.assertGreater(line["efficiency"]["floor_sectors"], 0)

    def test_stats_need_an_emulated_device(self):
        result = run("check", "--stats", "--device", "null:sm_120a", "--filter", "exact 3x40x64")
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("--stats", result.stderr)

    def test_exact_data_are_said_to_be_compared_bitwise(self):
        result = run("check", "--filter", "exact 3x40x64")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("0 / bitwise", result.stdout)

    def test_every_mutation_is_rejected(self):
        result = run("check", "--mutate", "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual({line["status"] for line in lines}, {"pass"})
        self.assertEqual({line["verdict"] for line in lines if line["mutation"] == "none"}, {"accepted"})
        self.assertLessEqual(
            {"zero d", "stale d", "half-written d", "last k group dropped", "c dropped"},
            {line["mutation"] for line in lines if line["verdict"] == "rejected"},
        )

    def test_no_case_is_bad_usage(self):
        self.assertEqual(run("check", "--filter", "no such case").returncode, 2)


class Isa(unittest.TestCase):
    def rows(self, *arguments):
        result = run("isa", "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_rows_say_where_they_come_from(self):
        rows = self.rows()
        self.assertGreater(len(rows), 100)
        for row in rows:
            self.assertTrue(row["instruction"] and row["section"] and row["targets"], row)

    def test_targets_differ(self):
        block_scaled = lambda rows: [row for row in rows if "block_scale" in row["instruction"]]
        self.assertTrue(block_scaled(self.rows("--target", "sm_120a")))
        self.assertFalse(block_scaled(self.rows("--target", "sm_90a")))

    def test_nothing_found_is_an_error(self):
        self.assertEqual(run("isa", "no_such_instruction").returncode, 2)
        self.assertEqual(run("isa", "--target", "sm_1").returncode, 2)


class Doctor(unittest.TestCase):
    def test_json_has_every_section(self):
        result = run("doctor", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["target"], "sm_120a")
        self.assertIn("emu:sm_120a", [device["id"] for device in report["devices"]])
        self.assertEqual([(note["name"], note["count"]) for note in report["notes"]],
                         [(name, 0) for name in ("lossy_scale", "bad_group_id", "bad_group_size", "clipped_keys", "bad_page",
                                                "nan_logit")])
        self.assertTrue(report["options"])
        self.assertEqual({row["state"] for row in report["coverage"]} - {"works", "missing"}, set())

    def test_unknown_device_leaves_coverage_unknown(self):
        result = run("doctor", "--json", "--device", "emu:sm_1")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertTrue(report["error"])
        self.assertEqual({row["state"] for row in report["coverage"]}, {"unknown"})

    def test_text(self):
        result = run("doctor")
        self.assertEqual(result.returncode, 0, result.stderr)
        for heading in (
            "Devices",
            "Compilers",
            "Kernel cache",
            "Device notes of emu:sm_120a",
            "Options",
            "Coverage",
        ):
            self.assertIn(heading, result.stdout)
        self.assertIn("dw_context_notes", result.stdout)


class StartUp(unittest.TestCase):
    """Archives of kernels: built without a GPU, served without a compiler, and damaged in all ways."""

    CONFIG = {"model_type": "deepseek_v4", "hidden_size": 4096, "num_attention_heads": 64, "head_dim": 512, "q_lora_rank": 1024,
              "o_groups": 8, "o_lora_rank": 1024, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 512,
              "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 6, "moe_intermediate_size": 2048, "hc_mult": 4}

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = Path(cls.folder.name)
        cls.archive = cls.root / "kernels.dwk"
        cls.exported = cls.run_in(cls.root / "cache", "compile", "--target", "sm_120a", "--tp", "1,8", "--export",
                                  str(cls.archive), "--json")

    @classmethod
    def run_in(cls, cache, *arguments, **variables):
        environment = dict(os.environ, DEEPWELL_DEVICE="emu:sm_120a", DEEPWELL_CACHE_DIR=str(cache), **variables)
        return subprocess.run([os.environ["DEEPWELL_BINARY"], *arguments], capture_output=True, text=True, timeout=600,
                              env=environment, check=False)

    def total(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout.splitlines()[-1])

    def test_export_says_what_it_made(self):
        total = self.total(self.exported)
        kernels = self.exported.stdout.splitlines()[:-1]
        self.assertEqual(len(kernels), total["kernels"])
        self.assertGreater(total["kernels"], 20)
        self.assertEqual((total["compiled"], total["cached"], total["failed"]), (total["kernels"], 0, 0))
        self.assertEqual(total["archive_bytes"], self.archive.stat().st_size)
        self.assertGreater(total["seconds"], 0)
        self.assertEqual([path.name for path in self.root.iterdir() if path.name.startswith(".kernels")], [])

    def test_the_same_kernels_are_the_same_bytes(self):
        (self.root / "config.json").write_text(json.dumps(self.CONFIG))
        second = self.root / "second.dwk"
        result = self.run_in(self.root / "cache", "compile", "--model", str(self.root), "--target", "sm_120a", "--tp", "1,8",
                             "--export", str(second))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("0 compiled", result.stdout)
        self.assertEqual(second.read_bytes(), self.archive.read_bytes())

    CASES = (("--filter", "exact 200x264x640 e4m3:packed.1x128.c x e4m3:packed.1x128.c -> bf16"),
             ("--op", "layout", "--filter", "mn 131 k 416 per 1x128"))

    def check(self, case, **variables):
        return self.run_in(self.root / "unused", "check", *case, DEEPWELL_COMPILER="none", **variables)

    def test_serves_without_a_compiler(self):
        for case in self.CASES:
            with self.subTest(case):
                result = self.check(case, DEEPWELL_KERNELS=str(self.archive))
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                result = self.check(case)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("DEEPWELL_COMPILER is none", result.stdout + result.stderr)

    def test_doctor_shows_archives(self):
        doctor = json.loads(self.run_in(self.root / "unused", "doctor", "--json", DEEPWELL_KERNELS=str(self.archive)).stdout)
        (archive,) = doctor["archives"]
        kernels = self.total(self.exported)["kernels"]
        self.assertEqual((archive["unusable"], archive["kernels"], archive["damaged"]), ("", kernels, 0))
        self.assertEqual(archive["fitting"], {"sm_120a": kernels})
        sets = {each["target"]: (each["in_archives"], each["kernels"]) for each in doctor["v4_flash_in_archives"]}
        self.assertEqual(sets["sm_120a"], (kernels, kernels))
        self.assertEqual(sets["sm_121a"], (0, kernels))
        text = self.run_in(self.root / "unused", "doctor", DEEPWELL_KERNELS=str(self.archive)).stdout
        self.assertIn(f"V4-Flash on sm_120a: {kernels} of its {kernels} kernels", text)
        self.assertFalse((self.root / "unused").exists())

    def test_a_bad_archive_is_named_and_not_used(self):
        whole = self.archive.read_bytes()
        for name, content, reason in (("short", whole[:-1], "cut short"), ("empty", b"", "no archive"),
                                      ("newer", whole[:16] + b"\x09" + whole[17:], "version 9"),
                                      ("index", whole[:200] + b"!" + whole[201:], "hash")):
            with self.subTest(name):
                path = self.root / name
                path.write_bytes(content)
                result = self.check(self.CASES[1], DEEPWELL_KERNELS=str(path))
                self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
                self.assertEqual(result.stderr.count(f"{path} is not used"), 1, result.stderr)
                self.assertIn(reason, result.stderr)
                doctor = json.loads(self.run_in(self.root / "unused", "doctor", "--json", DEEPWELL_KERNELS=str(path)).stdout)
                self.assertIn(reason, doctor["archives"][0]["unusable"])

    def test_mistakes_are_named(self):
        config = self.root / "bad.json"
        config.write_text(json.dumps({name: value for name, value in self.CONFIG.items() if name != "o_groups"}))
        for arguments, words in ((("--model", str(config)), ("bad.json: o_groups", "absent")),
                                 (("--model", str(self.root / "nowhere")), ("nowhere", "config.json")),
                                 (("--tp", "3"), ("tp", "o_groups")), (("--tp", "x"), ("--tp", "x")),
                                 (("--tp", "1", "--set", "all"), ("--set", "model")),
                                 (("--model", str(config), "--n", "4", "--k", "64"), ("--model", "--n")),
                                 (("--export", str(self.root / "no" / "such")), ("--export", "folder")),
                                 (("--export", str(self.root)), ("--export", "not a folder")),
                                 (("--target", "sm_120a,sm_1", "--set", "model"), ("sm_1", "sm_120a"))):
            with self.subTest(arguments):
                result = self.run_in(self.root / "cache", "compile", *arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                for word in words:
                    self.assertIn(word, result.stderr)

    def test_processes_share_the_work(self):
        files = [self.root / f"rank{rank}.dwk" for rank in range(3)]
        environment = dict(os.environ, DEEPWELL_CACHE_DIR=str(self.root / "shared"))
        command = [os.environ["DEEPWELL_BINARY"], "compile", "--target", "sm_120a", "--n", "4096", "--k", "4096", "--threads", "1",
                   "--json", "--export"]
        ranks = [subprocess.Popen([*command, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
                 for file in files]
        totals = []
        for rank in ranks:
            out, err = rank.communicate(timeout=600)
            self.assertEqual(rank.returncode, 0, err)
            totals.append(json.loads(out.splitlines()[-1]))
        self.assertEqual(sum(total["compiled"] for total in totals), 5, totals)
        for total, file in zip(totals, files):
            self.assertEqual(total["compiled"] + total["cached"], total["kernels"])
            self.assertEqual(file.read_bytes(), files[0].read_bytes())


class EmulatorLibrary(unittest.TestCase):
    def doctor(self, emulator, *arguments):
        environment = dict(
            os.environ,
            DEEPWELL_DEVICE="best",
            DEEPWELL_CUDA_DRIVER="/there/is/none.so",
            DEEPWELL_EMULATOR=emulator,
        )
        return subprocess.run(
            [os.environ["DEEPWELL_LOADING_BINARY"], "doctor", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            check=False,
        )

    def test_doctor_says_which_library_it_found(self):
        report = json.loads(self.doctor("", "--json").stdout)
        self.assertEqual(report["target"], "sm_120a")
        self.assertEqual(Path(report["emulator"]["place"]).name, "libdeepwell_emulator.so")
        self.assertEqual(report["emulator"]["unusable"], "")
        self.assertEqual(json.loads(run("doctor", "--json").stdout)["emulator"]["place"], "linked in")

    def test_doctor_says_that_the_library_is_missing(self):
        result = self.doctor("/there/is/no/emulator.so", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        reason = report["emulator"]["unusable"]
        self.assertIn("/there/is/no/emulator.so", reason)
        emulated = [device for device in report["devices"] if device["id"].startswith("emu:")]
        self.assertTrue(emulated)
        self.assertEqual({device["unusable"] for device in emulated}, {reason})
        self.assertIn(reason, report["error"])
        self.assertIn(reason, self.doctor("/there/is/no/emulator.so").stdout)


class Emulate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = Path(self.folder.name) / "add_one.ptx"
        self.file.write_text(ADD_ONE)

    def emulate(self, *arguments):
        return run("emulate", str(self.file), *arguments)

    def test_runs_and_dumps(self):
        result = self.emulate("--param", "buffer:32:iota", "--param", "u32:5", "--dump", "0:u32")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("add_one on sm_120a: 1 CTAs", result.stdout)
        self.assertIn("0: 1 2 3 4 5 5 6 7\n", result.stdout)

    def test_json_statistics(self):
        result = self.emulate(
            "--param",
            "buffer:128:iota",
            "--param",
            "u32:32",
            "--json",
            "--grid",
            "2",
            "--seed",
            "3",
            "--no-race",
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual((report["kernel"], report["ctas"]), ("add_one", 2))
        self.assertGreater(report["warp_instructions"], 10)

    def test_a_race_is_reported_with_a_command_that_repeats_it(self):
        example = (
            "emulate",
            "docs/examples/stage_release.ptx",
            "--block",
            "64",
            "--param",
            "buffer:1k:iota",
            "--param",
            "buffer:128",
        )
        result = run(*example, "--seeds", "3")
        self.assertEqual(result.returncode, 1, result.stdout)
        for text in (
            "seed 0 of 3",
            "race: write of 128 bytes",
            "stage_release.cu:39",
            "stage_release.cu:48",
            "missing: ",
        ):
            self.assertIn(text, result.stderr)
        repeat = result.stderr.split("repeat: deepwell ")[1].split()
        again = run(*repeat)
        self.assertEqual(again.returncode, 1, again.stdout)
        self.assertIn("race: write of 128 bytes", again.stderr)
        self.assertEqual(run(*example, "--no-race").returncode, 0)

    def test_several_operations(self):
        def listed(*ops):
            result = run("check", "--list", *ops)
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout.splitlines()

        layouts, mixes = listed("--op", "layout"), listed("--op", "hc_prenorm")
        self.assertTrue(layouts and mixes)
        self.assertEqual(listed("--op", "hc_prenorm,layout"), layouts + mixes)
        self.assertEqual(listed("--op", "layout", "--op", "hc_prenorm"), layouts + mixes)
        self.assertEqual(run("check", "--list", "--op", "layout,mixes").returncode, 2)

    def test_schedules_explore_cases(self):
        result = run("check", "--filter", "exact 3x40x64", "--device", "emu:sm_121a", "--seeds", "5")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        layout = ("check", "--op", "layout", "--filter", "mn 131 k 416 per 1x128", "--seeds", "3", "--device")
        result = run(*layout, "emu:sm_121a")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("0 unsupported on emu:sm_121a, 3 schedules a case", result.stdout)
        for refused in (
            ("--device", "null:sm_120a", "--seeds", "5"),
            ("--device", "null:sm_120a", "--schedule", "2"),
            ("--mutate", "--seeds", "5"),
            ("--seeds", "0"),
        ):
            with self.subTest(refused):
                result = run("check", "--filter", "exact 3x40x64", *refused)
                self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
                self.assertIn("--se" if "--seeds" in refused else "--schedule", result.stderr)

    def test_stats_count_sectors(self):
        arguments = ("--param", "buffer:128:iota", "--param", "u32:32", "--stats")
        result = self.emulate(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        for text in ("coalescing", "100.0 %", "ld.global.u32", "warp instructions"):
            self.assertIn(text, result.stdout)
        result = self.emulate(*arguments, "--json")
        statistics = json.loads(result.stdout)["statistics"]
        self.assertEqual(
            statistics["global"]["load"],
            {"requests": 1, "lanes": 32, "bytes": 128, "sectors": 4, "ideal_sectors": 4},
        )
        self.assertEqual(statistics["by_kind"]["global"], 2)
        self.assertEqual(statistics["by_opcode"]["ld.global.u32"], 1)
        self.assertNotIn("statistics", json.loads(self.emulate(*arguments[:-1], "--json").stdout))

    def test_access_outside_is_a_report_and_exit_code_1(self):
        result = self.emulate("--param", "buffer:32:iota", "--param", "u32:9")
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertTrue(result.stderr.startswith("deepwell: "), result.stderr)
        self.assertIn("add_one", result.stderr)

    def test_poison_is_a_report_and_exit_code_1(self):
        result = self.emulate("--param", "buffer:32:poison", "--param", "u32:8")
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertEqual(
            self.emulate("--param", "buffer:32:poison", "--param", "u32:8", "--no-check").returncode, 0
        )

    def test_bad_input_is_exit_code_2(self):
        good = ("--param", "buffer:32", "--param", "u32:8")
        for arguments in (
            ("--param", "buffer:32"),
            (*good, "--param", "u32:1"),
            ("--param", "buffer:0", "--param", "u32:8"),
            (*good, "--kernel", "other"),
            (*good, "--dump", "1"),
            (*good, "--grid", "0"),
            (*good, "--target", "sm_1"),
        ):
            with self.subTest(arguments):
                result = self.emulate(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertTrue(result.stderr.startswith("deepwell: "), result.stderr)

    def test_unknown_instruction_names_its_line(self):
        self.file.write_text(ADD_ONE.replace("add.u32 %r3, %r3, 1;", "frobnicate.u32 %r3, %r3, 1;"))
        result = self.emulate("--param", "buffer:32", "--param", "u32:8")
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("frobnicate", result.stderr)


if __name__ == "__main__":
    unittest.main()
