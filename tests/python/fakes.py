"""Fakes: a native module and other DeepGEMMs. Nothing here computes what the real ones compute, unless it
says so.
"""

import sys
import textwrap
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
SETTERS = """
    set_num_sms(value)
    set_tc_util(value)
    set_pdl(value)
    set_ignore_compile_dims(value)
    set_block_size_multiple_of(value)
    set_mk_alignment_for_contiguous_layout(value)
"""
ABSOLUTE_IMPORTS = """
import deep_gemm.absolute
from deep_gemm.absolute import MARK as FROM_MARK
import deep_gemm.absolute as as_name
"""


def functions_text(forms):
    """Python text of functions that note their calls in CALLS as (name, arguments that were given)."""
    text = [
        "CALLS = []",
        "ANSWERS = {}",
        "def _note(name, arguments):",
        "    CALLS.append((name, arguments))",
        "    answer = ANSWERS.get(name)",
        "    return answer(**arguments) if callable(answer) else answer",
    ]
    for form in textwrap.dedent(forms).strip().split("\n"):
        form = form.strip()
        if form and not form.startswith("#"):
            text += [f"def {form}:", f"    return _note({form.split('(')[0]!r}, dict(locals()))"]
    return "\n".join(text) + "\n"


def write_other(folder, version="2.8.1", vendored=False, init="", files=None, fails=None):
    """Writes a fake DeepGEMM: `deep_gemm` below `folder`, or `vllm/third_party/deep_gemm`.

    init: text at the end of its __init__; files: more files, path -> text; fails: an expression that it
    raises at import. It imports its own modules in every way that real ones do, and notes how often it was
    loaded in the builtins.
    """
    package = folder / "deep_gemm"
    if vendored:
        vllm = folder / "vllm"
        package = vllm / "third_party" / "deep_gemm"
        package.mkdir(parents=True)
        (vllm / "__init__.py").write_text("LOADED = True\n")
        (vllm / "third_party" / "__init__.py").write_text("")
    package.mkdir(parents=True, exist_ok=True)
    text = [
        "import builtins",
        "builtins.fake_deep_gemm_loads = getattr(builtins, 'fake_deep_gemm_loads', []) + [__name__]",
        f"__version__ = {version!r}",
        f"raise {fails}" if fails else "",
        "from . import relative",
        "from ._functions import *",
        "from ._functions import CALLS, ANSWERS",
        "from . import utils",
        "" if vendored else ABSOLUTE_IMPORTS,
        init,
    ]
    (package / "__init__.py").write_text("\n".join(text) + "\n")
    (package / "_functions.py").write_text(
        functions_text((DATA / f"forms_{version}.txt").read_text() + SETTERS)
    )
    (package / "relative.py").write_text("from .utils import only_theirs\nMARK = 'relative'\n")
    (package / "absolute.py").write_text(
        textwrap.dedent("""
            MARK = 'absolute'
            def me_later():
                import deep_gemm
                return deep_gemm
            def utils_later():
                from deep_gemm.utils import only_theirs
                return only_theirs
            def dotted_later():
                import deep_gemm.utils.only_theirs
                return deep_gemm.utils.only_theirs
            def renamed_later():
                import deep_gemm.late as name
                return name
        """)
    )
    (package / "late.py").write_text("import deep_gemm\nTOP = deep_gemm\n")
    (package / "utils").mkdir(exist_ok=True)
    (package / "utils" / "__init__.py").write_text("from . import only_theirs\n")
    (package / "utils" / "only_theirs.py").write_text("MARK = 'theirs'\n")
    for path, content in (files or {}).items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


class Native:
    """A fake of deepwell._runtime: notes calls, and answers what `answers` says."""

    def __init__(self):
        self.calls = []
        self.answers = {}
        self.major = 12
        self.sms = 188

    def _answer(self, name, arguments, default):
        self.calls.append((name, arguments))
        answer = self.answers.get(name, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer(*arguments) if callable(answer) else answer

    def fp8_fp4_gemm_nt(self, a, scale_a, b, scale_b, d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast):
        arguments = (a, scale_a, b, scale_b, d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast)
        return self._answer("fp8_fp4_gemm_nt", arguments, True)

    def grouped_gemm_nt(self, a, scale_a, b, scale_b, d, layout, recipe, recipe_a, recipe_b, masked, rows):
        arguments = (a, scale_a, b, scale_b, d, layout, recipe, recipe_a, recipe_b, masked, rows)
        return self._answer("grouped_gemm_nt", arguments, True)

    def grouped_gemm_alignment(self, rows, groups):
        return self._answer("grouped_gemm_alignment", (rows, groups), 16)

    def fp8_einsum(self, expression, a, scale_a, b, scale_b, d, c, recipe):
        return self._answer("fp8_einsum", (expression, a, scale_a, b, scale_b, d, c, recipe), True)

    def tf32_hc_prenorm_gemm(self, a, b, d, sqr_sum, num_splits):
        return self._answer("tf32_hc_prenorm_gemm", (a, b, d, sqr_sum, num_splits), True)

    def transform_scale(self, scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast):
        arguments = (scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast)
        return self._answer("transform_scale", arguments, "transformed")

    def mn_major_scale(self, scale):
        return self._answer("mn_major_scale", (scale,), "mn-major")

    def packed_scale(self, scale):
        return self._answer("packed_scale", (scale,), "packed")

    def set_pdl(self, on):
        self._answer("set_pdl", (on,), None)

    def pdl(self):
        return False

    def sm_count(self):
        return self.sms

    def serves(self, tensor):
        return True

    def device_major(self):
        if isinstance(self.major, BaseException):
            raise self.major
        return self.major


def put_in_place(fake, monkeypatch):
    """Makes the drop-in use a fake native module."""
    import deep_gemm

    sys.modules["deepwell._runtime"] = fake
    monkeypatch.setattr(deep_gemm._forward, "_runtime", fake)
    monkeypatch.setattr(sys.modules["deep_gemm.gemm"], "_native", fake.fp8_fp4_gemm_nt)
    monkeypatch.setattr(sys.modules["deep_gemm.einsum"], "_native", fake.fp8_einsum)
    monkeypatch.setattr(sys.modules["deep_gemm.hyperconnection"], "_native", fake.tf32_hc_prenorm_gemm)


def reset():
    """Forgets other DeepGEMMs, settings, and modules that fakes have put into sys.modules."""
    import builtins

    import deepwell
    from deepwell import _hook, _other

    for name in list(sys.modules):
        if name.startswith((_hook.ALIAS, "vllm")):
            del sys.modules[name]
    if isinstance(sys.modules.get("deepwell._runtime"), Native):
        del sys.modules["deepwell._runtime"]
    for name in ("_other_deep_gemm",):
        if hasattr(deepwell, name):
            delattr(deepwell, name)
    builtins.__dict__.pop("fake_deep_gemm_loads", None)
    _other._forget()
    import deep_gemm.settings

    deep_gemm.settings._given.clear()


def loads():
    """The names under which fake DeepGEMMs have been loaded in this process."""
    import builtins

    return getattr(builtins, "fake_deep_gemm_loads", [])
