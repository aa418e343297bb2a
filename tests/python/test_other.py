"""The other DeepGEMM: which one it is, how it is loaded, what reaches it, and what is said when there is
none.
"""

import importlib
import logging
import pickle
import sys
from pathlib import Path

import deep_gemm
import fakes
import pytest
from deepwell import _hook, _other
from deepwell.errors import BadArgumentError, BadTypeError, MissingError, ToolchainError, UnsupportedError


def test_nothing_is_there(native):
    assert not _other.other_exists()
    assert _other.other() is None
    with pytest.raises(MissingError) as caught:
        deep_gemm.bf16_gemm_nt(1, 2, 3)
    assert "SM 12.x" in str(caught.value) and "BF16" in str(caught.value)
    assert isinstance(caught.value, UnsupportedError) and isinstance(caught.value, RuntimeError)


def test_a_wrong_form_is_said_where_nobody_serves(native):
    for call in (
        lambda: deep_gemm.bf16_gemm_nt(1, 2),
        lambda: deep_gemm.bf16_gemm_nt(1, 2, 3, colour="red"),
        lambda: deep_gemm.batched_syrk(1),
    ):
        with pytest.raises(BadTypeError) as caught:
            call()
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, RuntimeError)


def test_existence_imports_nothing(native, other):
    other()
    before = set(sys.modules)
    assert _other.other_exists()
    assert _other.loaded() is None
    assert not {name for name in set(sys.modules) - before if "deep_gemm" in name}
    assert fakes.loads() == []


def test_installed_is_loaded_under_the_alias_and_reaches_itself(native, other):
    other()
    ours = sys.modules["deep_gemm"]
    theirs = _other.other()
    assert theirs is sys.modules[_hook.ALIAS]
    assert sys.modules["deep_gemm"] is ours and ours is deep_gemm
    assert fakes.loads() == [_hook.ALIAS]
    assert theirs.absolute.MARK == theirs.FROM_MARK == theirs.as_name.MARK == "absolute"
    assert theirs.absolute.me_later() is theirs
    assert theirs.absolute.utils_later() is theirs.utils.only_theirs
    assert theirs.absolute.dotted_later() is theirs.utils.only_theirs
    late = theirs.absolute.renamed_later()
    assert late.__name__ == _hook.ALIAS + ".late" and late.TOP is theirs
    assert not [name for name in sys.modules if name.startswith("deep_gemm.late")]


def test_their_builtins_are_theirs_alone(native, other):
    import builtins

    other()
    theirs = _other.other()
    assert theirs.__dict__["__builtins__"]["__import__"] is not builtins.__import__
    assert importlib.__dict__["__builtins__"]["__import__"] is builtins.__import__


def test_extension_modules_load(native, other):
    """One of numpy's stands for theirs: those of the standard library are built into some Pythons."""
    from numpy.linalg import _umath_linalg as extension

    folder = other(
        init="from . import _umath_linalg\nfrom deep_gemm import _umath_linalg as again\n"
        "assert again is _umath_linalg"
    )
    target = folder / "deep_gemm" / extension.__file__.rsplit("/", 1)[1]
    target.write_bytes(Path(extension.__file__).read_bytes())
    libraries = Path(extension.__file__).parents[2] / "numpy.libs"  # found relative to the module
    if libraries.exists():
        (folder.parent / "numpy.libs").symlink_to(libraries)
    theirs = _other.other()
    assert theirs._umath_linalg.__file__ == str(target)
    assert callable(theirs._umath_linalg.det)


def test_bytecode_only_modules_load(native, other):
    import py_compile

    folder = other(
        init="import deep_gemm.compiled", files={"compiled.py": "import deep_gemm\nTOP = deep_gemm\n"}
    )
    source = folder / "deep_gemm" / "compiled.py"
    py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")))
    source.unlink()
    assert _other.other().compiled.TOP is _other.other()


def test_their_objects_can_be_pickled(native, other):
    other(init="class Thing:\n    pass\n")
    thing = _other.other().Thing()
    assert type(pickle.loads(pickle.dumps(thing))) is type(thing)


def test_vendored_is_found_without_importing_vllm(native, other):
    other(vendored=True)
    assert _other.other_exists()
    assert "vllm" not in sys.modules
    theirs = _other.other()
    assert theirs is sys.modules[_other.VENDORED]
    assert fakes.loads() == [_other.VENDORED]
    assert importlib.import_module(_other.VENDORED) is theirs
    assert fakes.loads() == [_other.VENDORED]


def test_installed_comes_before_vendored_and_only_one_is_loaded(native, other):
    other(vendored=True)
    other()
    assert _other.other().__name__ == _hook.ALIAS
    deep_gemm.bf16_gemm_nt(1, 2, 3)
    assert fakes.loads() == [_hook.ALIAS]


def test_vendored_that_is_imported_already_is_taken(native, other):
    other(vendored=True)
    other()
    present = importlib.import_module(_other.VENDORED)
    assert _other.other() is present
    assert fakes.loads() == [_other.VENDORED]


def test_one_imported_as_deep_gemm_before_the_hook_is_taken(run_python, tmp_path):
    fakes.write_other(tmp_path / "site")
    out = run_python(
        "import sys\n"
        "if 'deepwell' in sys.modules:\n"  # an installed wheel's .pth file has put the hook there
        "    sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, 'deepwell_hook', False)]\n"
        "import deep_gemm as theirs\n"
        "import deepwell; deepwell._hook.install()\n"
        "from deepwell import _other\n"
        "import builtins, deep_gemm\n"
        "print(deep_gemm is theirs, _other.other_exists(), _other.other() is theirs)\n"
        "print(builtins.fake_deep_gemm_loads)",
        path=[tmp_path / "site"],
    )
    assert out == "True True True\n['deep_gemm']"


def test_a_folder_left_behind_is_no_deep_gemm(native, monkeypatch, tmp_path):
    (tmp_path / "deep_gemm" / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not _other.is_installed() and not _other.other_exists()


def test_drop_in_on_the_path_is_not_the_other(native, monkeypatch):
    monkeypatch.syspath_prepend(_hook.DROP_IN[: -len("/deep_gemm")])
    assert not _other.other_exists()


def test_a_finder_of_an_editable_install_counts(native, other, monkeypatch):
    folder = other()
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(folder)])
    assert not _other.other_exists()

    class Editable:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "deep_gemm":
                file = folder / "deep_gemm" / "__init__.py"
                return importlib.util.spec_from_file_location(
                    name, file, submodule_search_locations=[str(file.parent)]
                )
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
    _other._forget()
    assert _other.other_exists()
    assert _other.other().absolute.me_later() is _other.other()


def test_a_finder_that_forbids_the_name(native, other, monkeypatch):
    """As some tests put in front: there is no other one then, and asking is no error."""
    other()
    other(vendored=True)

    class Forbids:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name in ("deep_gemm", "vllm"):
                raise ImportError(f"{name} is not to be used here")

    monkeypatch.setattr(sys, "meta_path", [sys.meta_path[0], Forbids, *sys.meta_path[1:]])
    assert not _other.other_exists()
    with pytest.raises(MissingError):
        deep_gemm.bf16_gemm_nt(1, 2, 3)


def test_their_functions_can_be_compiled_by_torch(native, other):
    """Builtins of their own do not keep torch.compile from tracing them in one graph."""
    import torch

    other(
        init="def traced(x):\n    from deep_gemm.utils import only_theirs\n"
        "    return x * len(only_theirs.MARK) + max(1, 2)\n"
    )
    function = torch.compile(_other.other().traced, backend="eager", fullgraph=True)
    assert torch.equal(function(torch.ones(3)), torch.full((3,), 8.0))


@pytest.mark.parametrize(
    "failure", ["ImportError('no GPU code')", "AssertionError('no CUDA')", "OSError('torn file')"]
)
def test_the_reason_why_it_does_not_load_is_kept(native, other, failure):
    other(fails=failure)
    assert _other.other_exists()
    for _ in range(2):
        with pytest.raises(MissingError) as caught:
            deep_gemm.bf16_gemm_nt(1, 2, 3)
        assert failure.split("'")[1] in str(caught.value)
        assert failure.split("'")[1] in str(caught.value.__cause__)
    assert fakes.loads() == [_hook.ALIAS]  # not tried again and again
    assert not _other.other_exists()
    assert not [name for name in sys.modules if name.startswith(_hook.ALIAS)]


def test_a_failure_at_the_end_leaves_no_modules(native, other):
    other(init="raise ImportError('at the end')")
    assert _other.other() is None
    assert not [name for name in sys.modules if name.startswith(_hook.ALIAS)]
    assert "at the end" in _other.failure()


def test_threads_load_it_once(native, other):
    """The second one waits for the first, and settings are passed on before either calls."""
    from concurrent.futures import ThreadPoolExecutor

    other(init="import time\ntime.sleep(0.3)\n")
    deep_gemm.set_pdl(True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: deep_gemm.bf16_gemm_nt(number, 2, 3), range(4)))
    assert fakes.loads() == [_hook.ALIAS]
    names = [name for name, _ in _other.other().CALLS]
    assert names == ["set_pdl"] + ["bf16_gemm_nt"] * 4


def test_vendored_is_taken_where_installed_does_not_load(native, other):
    other(vendored=True)
    other(fails="ImportError('built for another torch')")
    deep_gemm.bf16_gemm_nt(1, 2, 3)
    assert fakes.loads() == [_hook.ALIAS, _other.VENDORED]
    assert _other.other_exists()


def test_vendored_is_not_tried_after_operators_were_registered(native, other):
    """Two registrations of torch.ops.deep_gemm end in an error: a broken one that got so far is the last."""
    import torch

    other(vendored=True)
    other(
        init="import torch\n"
        "torch._fake_library = torch.library.Library('deep_gemm', 'DEF')\n"
        "torch._fake_library.define('fake_of_a_test() -> int')\n"
        "raise RuntimeError('after registering')\n"
    )
    try:
        with pytest.raises(MissingError, match="after registering"):
            deep_gemm.bf16_gemm_nt(1, 2, 3)
        assert fakes.loads() == [_hook.ALIAS]
    finally:
        torch._fake_library._destroy()
        del torch._fake_library


def test_a_package_from_before_2_0_does_not_count(native, other, monkeypatch):
    folder = other(vendored=True)
    old = folder.parent / "old" / "deep_gemm"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text("__version__ = '1.0.0'\ndef gemm_fp8_fp8_bf16_nt(lhs, rhs, out): pass\n")
    monkeypatch.syspath_prepend(str(old.parent))
    assert _other.other().__name__ == _other.VENDORED
    assert "1.0.0" in _other.failure()


def test_loading_is_logged_once(native, other, caplog):
    folder = other()
    with caplog.at_level(logging.INFO, logger="deepwell"):
        for _ in range(3):
            deep_gemm.bf16_gemm_nt(1, 2, 3)
    lines = [record.getMessage() for record in caplog.records if str(folder) in record.getMessage()]
    assert len(lines) == 1 and "2.8.1" in lines[0]


def test_calls_are_forwarded_as_they_were_made(native, other):
    other()
    theirs = _other.other()
    theirs.ANSWERS["bf16_gemm_nt"] = "answer"
    assert deep_gemm.bf16_gemm_nt(1, 2, d=3, c=4) == "answer"
    defaults = {"compiled_dims": "nk", "alpha": None, "epilogue": None}
    assert theirs.CALLS == [("bf16_gemm_nt", {"a": 1, "b": 2, "d": 3, "c": 4, **defaults})]


def test_the_product_before_hyper_connections_goes_where_it_is_served(native, other):
    deep_gemm.tf32_hc_prenorm_gemm(1, 2, d=3, sqr_sum=4, num_splits=5)
    assert native.calls == [("tf32_hc_prenorm_gemm", (1, 2, 3, 4, 5))]
    native.answers["tf32_hc_prenorm_gemm"] = False
    with pytest.raises(MissingError):
        deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4)
    _other._forget()
    other()
    theirs = _other.other()
    deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4)
    deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4, num_splits=5)
    wanted = [{"a": 1, "b": 2, "d": 3, "sqr_sum": 4, "num_splits": splits} for splits in (None, 5)]
    assert theirs.CALLS == [("tf32_hc_prenorm_gemm", arguments) for arguments in wanted]
    native.answers["tf32_hc_prenorm_gemm"] = ToolchainError("no compiler", "compiler", "none", "NVRTC")
    deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4)
    assert len(theirs.CALLS) == 3
    native.answers["tf32_hc_prenorm_gemm"] = BadArgumentError("wrong", "d.shape", "this", "that")
    with pytest.raises(BadArgumentError):
        deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3, 4)
    assert len(theirs.CALLS) == 3


def test_a_name_that_neither_has(native, other):
    other()
    with pytest.raises(UnsupportedError) as caught:
        deep_gemm.fp8_gemm_nt_skip_head_mid(1, 2, 3, (64, 0, 64))
    assert not isinstance(caught.value, MissingError)
    assert "2.8.1" in str(caught.value)


def test_names_that_only_the_other_has(native, other):
    other(init="def brand_new(x):\n    return x + 1\n")
    assert deep_gemm.brand_new(1) == 2
    assert not hasattr(deep_gemm, "never_heard_of")
    with pytest.raises(AttributeError):
        deep_gemm._private  # noqa: B018


def test_submodules_that_only_the_other_has(native, other):
    other(files={"envs.py": "MARK = 'envs'\nimport deep_gemm\nTOP = deep_gemm\n"})
    try:
        found = importlib.import_module("deep_gemm.envs")
        assert found.MARK == "envs"
        assert found is sys.modules[_hook.ALIAS + ".envs"]
        assert found.__spec__.name == _hook.ALIAS + ".envs"
        assert importlib.import_module("deep_gemm.utils.only_theirs").MARK == "theirs"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("deep_gemm.never_heard_of")
    finally:
        for name in ("deep_gemm.envs", "deep_gemm.utils.only_theirs"):
            sys.modules.pop(name, None)


def test_c_module_gives_what_the_other_has(native, other):
    other(files={"_C.py": "def get_symm_buffer_size():\n    return 7\n"}, init="from . import _C")
    assert deep_gemm._C.fp8_gemm_nt is deep_gemm.fp8_gemm_nt
    assert deep_gemm._C.get_symm_buffer_size() == 7
    with pytest.raises(AttributeError):
        deep_gemm._C.never_heard_of  # noqa: B018


def test_classes_of_the_other(native, other):
    other(init="class SymmBuffer:\n    def __init__(self, group, *, hidden):\n        self.hidden = hidden\n")
    assert not isinstance(1, deep_gemm.SymmBuffer)
    made = deep_gemm.SymmBuffer(None, hidden=7)
    assert made.hidden == 7 and type(made) is _other.other().SymmBuffer
    assert isinstance(made, deep_gemm.SymmBuffer)


def test_classes_without_the_other(native):
    with pytest.raises(MissingError):
        deep_gemm.SymmBuffer(None)


def test_legacy_and_mega_are_forwarded(native, other):
    other(
        files={
            "legacy.py": "def m_grouped_bf16_gemm_nt_contiguous_tl(a, b, d, m_indices):\n"
            "    return 'legacy', a, m_indices\n"
        },
        init="from . import legacy\ndef fp8_fp4_mega_moe(*args, **kwargs):\n    return args, kwargs\n",
    )
    assert deep_gemm.legacy.m_grouped_bf16_gemm_nt_contiguous_tl(1, 2, 3, m_indices=4) == ("legacy", 1, 4)
    assert deep_gemm.fp8_fp4_mega_moe(1, activation="swiglu") == ((1,), {"activation": "swiglu"})


def test_epilogues_become_the_others(native, other):
    other(
        files={"epilogue.py": "class Alpha:\n    def __init__(self, alpha):\n        self.alpha = alpha\n"},
        init="from . import epilogue",
    )
    theirs = _other.other()
    mine = deep_gemm.epilogue.Alpha(2)
    deep_gemm.bf16_gemm_nt(1, 2, 3, epilogue=mine)
    deep_gemm.bf16_gemm_nt(1, 2, 3, None, "nk", None, mine)
    deep_gemm.fp8_fp4_gemm_nt((1, 2), (3, 4), 5, epilogue=mine)
    for _, arguments in theirs.CALLS:
        assert type(arguments["epilogue"]) is theirs.epilogue.Alpha and arguments["epilogue"].alpha == 2.0
    assert native.calls == []  # Deepwell has no kernel with an epilogue
    with pytest.raises(UnsupportedError):
        deep_gemm.bf16_gemm_nt(1, 2, 3, epilogue=deep_gemm.epilogue.Identity())


def test_others_wait_while_the_second_candidate_loads(native, other, monkeypatch):
    """The first one is broken, the second slow: no thread may conclude meanwhile that there is none."""
    import threading

    other(init="raise RuntimeError('broken')\n")
    other(vendored=True)
    started, may_go_on = threading.Event(), threading.Event()
    real = _other._import

    def slowly(name):
        if name == _other.VENDORED:
            started.set()
            assert may_go_on.wait(20)
        return real(name)

    monkeypatch.setattr(_other, "_import", slowly)
    found = []
    threads = [threading.Thread(target=lambda: found.append(_other.other())) for _ in range(2)]
    threads[0].start()
    assert started.wait(20)
    assert _other.other_exists()
    threads[1].start()
    may_go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(found) == 2 and found[0] is found[1] is not None


def test_loaders_of_import_hooks(native, other, monkeypatch):
    """Type checkers and the like load modules by classes derived from the standard loader."""
    from importlib.machinery import FileFinder, SourceFileLoader

    class Checking(SourceFileLoader):
        pass

    folder = other(
        init="import deep_gemm.part\nfrom . import part as again\n",
        files={"part.py": "import deep_gemm\nTOP = deep_gemm\n"},
    )
    hook = FileFinder.path_hook((Checking, [".py"]))
    monkeypatch.setattr(sys, "path_hooks", [hook, *sys.path_hooks])
    sys.path_importer_cache.clear()
    try:
        theirs = _other.other()
        assert isinstance(theirs.__loader__, Checking) and str(folder) in theirs.__file__
        assert theirs.part.TOP is theirs and sys.modules["deep_gemm"] is deep_gemm
    finally:
        sys.path_importer_cache.clear()


def test_a_fork_while_the_lock_is_held(native):
    import os
    import threading

    held, done = threading.Event(), threading.Event()

    def hold():
        with _other._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if _other._lock.acquire(timeout=5) else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_of_modules_that_only_the_other_has(native, other):
    from deep_gemm import testing
    from deep_gemm.utils import math

    with pytest.raises(AttributeError):
        testing.suppress_output
    other(files={"testing.py": "def suppress_output():\n    return 7\n"}, init="from . import testing\n")
    _other._forget()
    assert testing.suppress_output() == 7
    with pytest.raises(AttributeError, match="deep_gemm.utils.math"):
        math.nothing_of_this_name
