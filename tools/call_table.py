"""Who serves the calls of deep_gemm on SM 12.x: makes each one on emulated boards and writes down what happened.

    python3 tools/call_table.py            prints docs/calls.md as it must be
    python3 tools/call_table.py --write    writes it
    python3 tools/call_table.py --check    exit code 1 if it says something else

Needs torch and the built package (--package, build/release/python). Each call is made twice on each board: beside a stand-in
for another DeepGEMM that has every name and notes what reaches it (tests/clients/vllm/other), and with none. A call counts as
Deepwell's only if nothing reached the stand-in and no element of the result is what was there before.
"""
import argparse
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calls.md"
SURFACE = ROOT / "tests" / "python" / "data" / "surface.txt"
STAND_IN = ROOT / "tests" / "clients" / "vllm" / "other"
BOARDS = ("emu:sm_120a", "emu:sm_121a")
HEAD = """# Who serves a call

What `tools/call_table.py` has seen happen on emulated SM 12.0 and 12.1 boards; a test compares this page with it. "Deepwell": a kernel of Deepwell has
written the whole result. "forwarded": the call went to the other DeepGEMM as it was made; where there is none, it ends in the error of the last column.
Both errors are a `NotImplementedError`, and say in words what is missing. What happens on other devices: [drop-in.md](drop-in.md#who-serves-a-call).
"""


class Calls:
    """The calls. Operands are small; outputs hold NaN, or -1 in integers, until somebody writes them."""

    def __init__(self, torch, deep_gemm):
        self.torch, self.deep_gemm = torch, deep_gemm
        self.fp8 = torch.float8_e4m3fn

    # --- operands -------------------------------------------------------------------------------------------

    def e4m3(self, *shape):
        return self.torch.ones(shape).to(self.fp8)

    def e2m1(self, *shape):
        return self.torch.full((*shape[:-1], shape[-1] // 2), 0x22, dtype=self.torch.int8)

    def out(self, *shape, dtype=None):
        return self.torch.full(shape, float("nan"), dtype=dtype or self.torch.bfloat16)

    def words(self, *shape):
        """Packed scales of 1, [(groups,) rows, words], column by column."""
        *batch, rows, words = shape
        pitch = -(-rows // 4) * 4
        return self.torch.full((*batch, words, pitch), 0x7F7F7F7F, dtype=self.torch.int32).mT[..., :rows, :]

    def pair(self, rows, k, fp4=False, form="packed", gran=128, groups=()):
        data = (self.e2m1 if fp4 else self.e4m3)(*groups, rows, k)
        columns = k // gran
        scale = {
            "packed": lambda: self.words(*groups, rows, -(-columns // 4)),
            "float32": lambda: self.torch.ones(*groups, rows, columns),
            "block": lambda: self.torch.ones(*groups, -(-rows // 128), columns),
            "bytes": lambda: self.torch.full((*groups, -(-rows // 128), columns), 127, dtype=self.torch.uint8),
        }[form]()
        return data, scale

    def ids(self, *values):
        return self.torch.tensor(values, dtype=self.torch.int32)

    # --- products ---------------------------------------------------------------------------------------------

    def gemm(self, name="fp8_fp4_gemm_nt", a=None, b=None, d=None, **options):
        d = self.out(4, 128) if d is None else d
        getattr(self.deep_gemm, name)(a or self.pair(4, 256), b or self.pair(128, 256), d, **options)
        return d

    def turned(self, name):
        """nn, tn, tt: operands as those forms take them, as views of k-major ones."""
        a, b = self.pair(4, 256), self.pair(128, 256)
        form = name[-2:]
        a = tuple(each.mT for each in a) if form[0] == "t" else a
        b = tuple(each.mT for each in b) if form[1] == "n" else b
        return self.gemm(name, a, b)

    def grouped(self, name, b=None, form="float32", gran=128, **options):
        d = self.out(16, 128)
        b = b or self.pair(128, 256, fp4=gran == 32, gran=gran, groups=(3,))
        recipes = {"recipe_a": (1, 128), "recipe_b": (1, gran)}
        if name.endswith("nn_contiguous"):
            b = (b[0].mT, b[1].mT)
        layout = self.ids(*[1] * 16)
        if options.get("use_psum_layout"):
            layout = self.ids(16, 16, 16)
        getattr(self.deep_gemm, name)(self.pair(16, 256, form=form), b, d, layout, **recipes, **options)
        return d

    def masked(self, name, gran=128, **options):
        d = self.out(3, 16, 128)
        b = self.pair(128, 256, fp4=gran == 32, gran=gran, groups=(3,))
        recipes = {"recipe_a": (1, 128), "recipe_b": (1, gran)}
        counts = self.ids(16, 16, 16)
        getattr(self.deep_gemm, name)(self.pair(16, 256, groups=(3,)), b, d, counts, 16, **recipes, **options)
        return d

    def einsum(self, expression="bhr,hdr->bhd", weights="block", flat=False, **options):
        a = (self.e4m3(4, 2, 512), self.words(2, 4, 1).transpose(0, 1))
        b = self.pair(128, 512, form=weights, groups=(2,))
        if flat:
            b = tuple(each.flatten(0, 1) for each in b)
        d = self.out(4, 2, 128)
        self.deep_gemm.fp8_einsum(expression, a, b, d, recipe=(1, 1, 128), **options)
        return d

    def hc(self, splits):
        axes = () if splits is None else (splits,)
        d, sums = (self.out(*axes, 33, *tail, dtype=self.torch.float32) for tail in ((24,), ()))
        a, b = self.torch.ones(33, 1024).bfloat16(), self.torch.ones(24, 1024)
        self.deep_gemm.tf32_hc_prenorm_gemm(a, b, d, sums, splits)
        return self.torch.cat([d.flatten(), sums.flatten()])

    # --- logits -----------------------------------------------------------------------------------------------

    def ragged(self, fp4=False, older=None, legacy=False, **options):
        q = (self.e4m3(4, 64, 128), None)
        keys = (self.e4m3(128, 128), self.torch.ones(128))
        if fp4:
            q = (self.e2m1(4, 64, 128), self.torch.zeros(4, 64, dtype=self.torch.int32))
            keys = (self.e2m1(128, 128), self.torch.zeros(128, dtype=self.torch.int32))
        rest = (keys, self.torch.ones(4, 64), self.ids(0, 0, 0, 0), self.ids(128, 128, 128, 128))
        if legacy:
            return self.deep_gemm.fp8_mqa_logits(q[0], *rest)
        return self.deep_gemm.fp8_fp4_mqa_logits(q, *rest, *(older or (128,)), **options)

    def paged(self, page=64, next_n=1, fp4=False, legacy=False, **options):
        q = (self.e4m3(2, next_n, 64, 128), None)
        bytes_ = 132
        if fp4:
            q = (self.e2m1(2, next_n, 64, 128), self.torch.zeros(2, next_n, 64, dtype=self.torch.int32))
            bytes_ = 68
        cache = self.torch.zeros(4, page, 1, bytes_, dtype=self.torch.uint8)
        lengths = self.torch.full((2, next_n), page, dtype=self.torch.int32)
        table = self.torch.zeros(2, 1, dtype=self.torch.int32)
        rest = (cache, self.torch.ones(2 * next_n, 64), lengths, table, None, page)
        if legacy:
            return self.deep_gemm.fp8_paged_mqa_logits(q[0], *rest)
        return self.deep_gemm.fp8_fp4_paged_mqa_logits(q, *rest, **options)

    def schedule(self, **options):
        return self.deep_gemm.get_paged_mqa_logits_metadata(self.ids(9, 300)[:, None].contiguous(), 64, 8, **options)

    def transform(self, *shape, mn, k, recipe, **options):
        return self.deep_gemm.transform_sf_into_required_layout(
            sf=self.torch.ones(shape), mn=mn, k=k, recipe=recipe, **options
        )

    # --- the list ---------------------------------------------------------------------------------------------

    def served_by_serving_code(self):
        """What vLLM calls for DeepSeek-V4 on capability 12.x: (function, form, call)."""
        word, f32 = self.words(4, 1), self.torch.float32
        return [
            ("fp8_gemm_nt", "packed scales of both", lambda: self.gemm("fp8_gemm_nt")),
            ("fp8_gemm_nt", "FP32 scales of a beside packed ones (warm-up)",
             lambda: self.gemm("fp8_gemm_nt", self.pair(4, 256, form="float32"))),
            ("fp8_gemm_nt", "FP32 scales of both",
             lambda: self.gemm("fp8_gemm_nt", self.pair(4, 256, form="float32"), self.pair(128, 256, form="block"))),
            ("m_grouped_fp8_fp4_gemm_nt_contiguous", "FP4 weights, FP32 scales of tokens",
             lambda: self.grouped("m_grouped_fp8_fp4_gemm_nt_contiguous", gran=32)),
            ("m_grouped_fp8_fp4_gemm_nt_contiguous", "FP4 weights, packed scales of tokens",
             lambda: self.grouped("m_grouped_fp8_fp4_gemm_nt_contiguous", gran=32, form="packed")),
            ("m_grouped_fp8_gemm_nt_contiguous", "FP8 weights",
             lambda: self.grouped("m_grouped_fp8_gemm_nt_contiguous")),
            ("m_grouped_fp8_gemm_nt_masked", "FP8 weights", lambda: self.masked("m_grouped_fp8_gemm_nt_masked")),
            ("fp8_einsum", "bhr,hdr->bhd, weights of three axes, packed scales", lambda: self.einsum(weights="packed")),
            ("fp8_einsum", "weights of two axes, UE8M0 bytes", lambda: self.einsum(weights="bytes", flat=True)),
            ("fp8_einsum", "weights of two axes, FP32 scales", lambda: self.einsum(flat=True)),
            ("tf32_hc_prenorm_gemm", "in 64 splits", lambda: self.hc(64)),
            ("fp8_fp4_mqa_logits", "FP8, compressed", lambda: self.ragged()),
            ("fp8_fp4_paged_mqa_logits", "FP8, page 64, one token", lambda: self.paged()),
            ("fp8_fp4_paged_mqa_logits", "FP8, page 64, two tokens", lambda: self.paged(next_n=2)),
            ("get_paged_mqa_logits_metadata", "lengths of two axes", lambda: self.schedule()),
            ("transform_sf_into_required_layout", "(1, 128, 128), one group",
             lambda: self.transform(1, 1, 2, mn=128, k=256, recipe=(1, 128, 128), num_groups=1, is_sfa=False)),
            ("transform_sf_into_required_layout", "(1, 1, 32), groups",
             lambda: self.transform(3, 128, 8, mn=128, k=256, recipe=(1, 1, 32), num_groups=3, is_sfa=False)),
            ("transform_sf_into_required_layout", "(1, 1, 32), groups, no cast",
             lambda: self.transform(3, 128, 8, mn=128, k=256, recipe=(1, 1, 32), num_groups=3, is_sfa=False,
                                    disable_ue8m0_cast=True)),
            ("get_mn_major_tma_aligned_tensor", "", lambda: self.deep_gemm.get_mn_major_tma_aligned_tensor(word.to(f32))),
            ("get_mn_major_tma_aligned_packed_ue8m0_tensor", "",
             lambda: self.deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor(self.torch.ones(5, 3))),
            ("get_theoretical_mk_alignment_for_contiguous_layout", "two arguments",
             lambda: self.deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(6, 256)),
            ("get_theoretical_mk_alignment_for_contiguous_layout", "one argument",
             lambda: self.deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(6)),
            ("set_mk_alignment_for_contiguous_layout", "",
             lambda: self.deep_gemm.set_mk_alignment_for_contiguous_layout(128)),
            ("get_mk_alignment_for_contiguous_layout", "", self.deep_gemm.get_mk_alignment_for_contiguous_layout),
            ("set_pdl", "", lambda: self.deep_gemm.set_pdl(True)),
            ("set_num_sms", "", lambda: self.deep_gemm.set_num_sms(8)),
            ("get_num_sms", "", self.deep_gemm.get_num_sms),
        ]

    def other_forms(self):
        fp4 = self.pair(128, 256, fp4=True, gran=32)
        mixed = {"recipe_a": (1, 128), "recipe_b": (1, 32)}
        f32 = self.torch.float32
        return [
            ("fp8_fp4_gemm_nt", "FP4 weights", lambda: self.gemm(b=fp4, **mixed)),
            ("fp8_fp4_gemm_nt", "FP4 of both",
             lambda: self.gemm(a=self.pair(4, 256, fp4=True, gran=32), b=fp4, recipe=(1, 1, 32))),
            ("fp8_fp4_gemm_nt", "FP32 result, c added",
             lambda: self.gemm(d=self.out(4, 128, dtype=f32), c=self.torch.ones(4, 128, dtype=f32))),
            ("fp8_fp4_gemm_nt", "alpha", lambda: self.gemm(alpha=2.0)),
            ("fp8_fp4_gemm_nt", "an epilogue", lambda: self.gemm(epilogue=self.deep_gemm.epilogue.Alpha(2.0))),
            ("fp8_fp4_gemm_nn", "", lambda: self.turned("fp8_fp4_gemm_nn")),
            ("fp8_fp4_gemm_tn", "", lambda: self.turned("fp8_fp4_gemm_tn")),
            ("fp8_fp4_gemm_tt", "", lambda: self.turned("fp8_fp4_gemm_tt")),
            ("m_grouped_fp8_fp4_gemm_nn_contiguous", "FP8 weights",
             lambda: self.grouped("m_grouped_fp8_fp4_gemm_nn_contiguous")),
            ("m_grouped_fp8_fp4_gemm_nt_contiguous", "psum layout",
             lambda: self.grouped("m_grouped_fp8_fp4_gemm_nt_contiguous", use_psum_layout=True)),
            ("m_grouped_fp8_fp4_gemm_nt_masked", "FP4 weights",
             lambda: self.masked("m_grouped_fp8_fp4_gemm_nt_masked", gran=32)),
            ("fp8_einsum", "bhd,hdr->bhr", lambda: self.einsum("bhd,hdr->bhr")),
            ("fp8_einsum", "bhd,bhr->hdr", lambda: self.einsum("bhd,bhr->hdr")),
            ("tf32_hc_prenorm_gemm", "whole", lambda: self.hc(None)),
            ("fp8_fp4_mqa_logits", "FP8, older form, cleaned", lambda: self.ragged(older=(True,))),
            ("fp8_fp4_mqa_logits", "FP8, BF16 logits (older form)",
             lambda: self.ragged(older=(True, 0, self.torch.bfloat16))),
            ("fp8_fp4_mqa_logits", "FP4", lambda: self.ragged(fp4=True)),
            ("fp8_fp4_mqa_logits", "with a schedule", lambda: self.ragged(schedule_meta=self.ids(0))),
            ("fp8_fp4_paged_mqa_logits", "FP8, page 32", lambda: self.paged(page=32)),
            ("fp8_fp4_paged_mqa_logits", "FP8, page 128, six tokens", lambda: self.paged(page=128, next_n=6)),
            ("fp8_fp4_paged_mqa_logits", "FP8, tokens that share sequences", lambda: self.paged(indices=self.ids(0, 0))),
            ("fp8_fp4_paged_mqa_logits", "FP4", lambda: self.paged(fp4=True)),
            ("get_paged_mqa_logits_metadata", "tokens that share sequences", lambda: self.schedule(indices=self.ids(0, 0))),
            ("fp8_mqa_logits", "", lambda: self.ragged(legacy=True)),
            ("fp8_paged_mqa_logits", "", lambda: self.paged(legacy=True)),
            ("transform_sf_into_required_layout", "psum layout",
             lambda: self.transform(4, 2, mn=4, k=256, recipe=(1, 128), psum_layout=self.ids(4))),
            ("get_mn_major_tma_aligned_packed_ue8m0_tensor", "psum layout",
             lambda: self.deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor(self.torch.ones(4, 2), self.ids(4))),
        ]

    def rest(self, names):
        """Every other function, called with as many tensors as it wants: what is forwarded is not looked at."""
        import inspect

        matrix = self.torch.zeros(16, 16, dtype=self.torch.bfloat16)
        rows = []
        for name in names:
            function = getattr(self.deep_gemm, name)
            required = [] if isinstance(function, type) else [
                each for each in inspect.signature(function).parameters.values()
                if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
            ]
            rows.append((name, "", lambda function=function, count=len(required): function(*[matrix] * count)))
        return rows


def functions_of_surface():
    """Names of functions that do work on a device, in the order of the list, without aliases, settings and torch code."""
    names, section = [], ""
    for line in SURFACE.read_text().split("\n"):
        if line.startswith("# "):
            section = line[2:]
        elif line and " = " not in line.split("(")[0] and not line.startswith(("module", "_")):
            if section not in ("settings", "utils", "modules") and line != "get_tma_aligned_size(x, element_size)":
                names.append(re.match(r"\w+", line)[0])
    return names


class Seen:
    """What happened to one call, on all boards."""

    def __init__(self, torch, deepwell, other):
        self.torch, self.deepwell, self.other = torch, deepwell, other

    def _forget(self):
        for name in [name for name in sys.modules if name.startswith("deepwell._other_deep_gemm")]:
            del sys.modules[name]
        self.other._forget()

    def _written(self, result):
        if isinstance(result, self.torch.Tensor):
            return result.numel() > 0 and not bool(result.float().isnan().any())
        return True

    def beside_another(self, call):
        """Deepwell, or the name under which the call reached the stand-in."""
        sys.path.append(str(STAND_IN))
        try:
            result = call()
            module = self.other.loaded()
            calls = [name for name in module.CALLS if not name.startswith(("set_", "shutdown"))] if module else []
            if calls:
                return f"forwarded as `{calls[-1]}`"
            return "Deepwell" if self._written(result) else "NOT WRITTEN"
        except Exception as error:
            return f"NOBODY: {type(error).__name__}: {error}"
        finally:
            sys.path.remove(str(STAND_IN))
            self._forget()

    def alone(self, call):
        try:
            return "Deepwell" if self._written(call()) else "NOT WRITTEN"
        except Exception as error:
            kind = "" if isinstance(error, NotImplementedError) else " (no NotImplementedError)"
            return f"`{type(error).__name__}`{kind}"
        finally:
            self._forget()

    def row(self, name, form, call):
        outcomes = set()
        for board in BOARDS:
            with self.deepwell.device(board):
                outcomes.add((self.beside_another(call), self.alone(call)))
        if len(outcomes) != 1:
            raise SystemExit(f"call_table: {name} ({form}): the boards differ: {sorted(outcomes)}")
        beside, alone = outcomes.pop()
        beside = "forwarded" if beside == f"forwarded as `{name}`" else beside
        return f"| `{name}` | {form} | {beside} | {'' if alone == beside else alone} |"


def table(rows):
    return "\n".join(["| function | form | served by | where there is no other DeepGEMM |", "|---|---|---|---|", *rows])


def page():
    """docs/calls.md as it must be. Imports torch and the package."""
    import torch

    import deep_gemm
    import deepwell
    from deepwell import _other

    calls, seen = Calls(torch, deep_gemm), Seen(torch, deepwell, _other)
    serving, forms = calls.served_by_serving_code(), calls.other_forms()
    known = {name for name, _, _ in serving + forms}
    aliases = {getattr(deep_gemm, name) for name in known}
    rest = [name for name in functions_of_surface()
            if name not in known and getattr(deep_gemm, name) not in aliases]
    parts = [HEAD]
    for title, rows in (
        ("What vLLM 0.33 calls for DeepSeek-V4", serving),
        ("Other forms of these and their relatives", forms),
        ("Everything else of the interface", calls.rest(rest)),
    ):
        parts.append(f"\n## {title}\n\n{table([seen.row(*row) for row in rows])}\n")
    deep_gemm.set_num_sms(0)
    deep_gemm.set_pdl(False)
    return "".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, default=ROOT / "build" / "release" / "python")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(options.package))
    import deepwell  # noqa: F401  installs the import hook

    text = page()
    if options.write:
        PAGE.write_text(text)
    elif options.check:
        is_there = PAGE.read_text() if PAGE.exists() else ""
        lines = list(difflib.unified_diff(is_there.split("\n"), text.split("\n"), "docs/calls.md", "seen", lineterm=""))
        print("\n".join(lines) or "docs/calls.md says what happens")
        return 1 if lines else 0
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
