"""The import hook, in new interpreters: who answers `import deep_gemm`, and what importing costs and
touches.
"""

import ast
import json
import os
import shutil
from pathlib import Path

import fakes
import pytest
from deepwell import _hook

WHO = (
    "import deep_gemm\n"
    "from deepwell import _hook\n"
    "print('ours' if _hook.is_drop_in(deep_gemm) else 'theirs', getattr(deep_gemm, '__version__', None))\n"
)
START = "import deepwell\n"
PACKAGE_ROOT = str(Path(_hook.__file__).resolve().parents[1])


@pytest.fixture
def site(tmp_path):
    """A folder with an installed fake DeepGEMM."""
    fakes.write_other(tmp_path / "site")
    return tmp_path / "site"


def pth_folder(tmp_path):
    """A folder with the .pth file that wheels install."""
    source = next(
        each
        for each in (
            Path(_hook.__file__).resolve().parents[1] / "deepwell_deep_gemm.pth",
            Path(__file__).resolve().parents[2] / "python" / "deepwell_deep_gemm.pth",
        )
        if each.is_file()
    )
    folder = tmp_path / "with_pth"
    folder.mkdir(exist_ok=True)
    shutil.copy(source, folder)
    return folder


@pytest.mark.parametrize(
    ("mode", "with_other", "alone"),
    [
        (None, "ours", "ours"),
        ("", "ours", "ours"),
        ("prefer", "ours", "ours"),
        (" Prefer ", "ours", "ours"),
        ("always", "ours", "ours"),
        ("fallback", "theirs", "ours"),
        ("off", "theirs", "ModuleNotFoundError"),
    ],
)
def test_modes(run_python, site, mode, with_other, alone):
    environment = {} if mode is None else {"DEEPWELL_DEEP_GEMM": mode}
    assert run_python(START + WHO, path=[site], environment=environment).split()[0] == with_other
    done = run_python(START + WHO, environment=environment, check=False)
    assert alone in (done.stdout.split() or done.stderr.split()[-4:])[0:4] or alone in done.stderr
    assert (done.returncode == 0) == (alone == "ours")


def test_fallback_with_only_a_vendored_one(run_python, tmp_path):
    fakes.write_other(tmp_path / "site", vendored=True)
    out = run_python(
        START
        + WHO
        + "deep_gemm.bf16_gemm_nt(1, 2, 3)\nimport builtins\nprint(builtins.fake_deep_gemm_loads)",
        path=[tmp_path / "site"],
        environment={"DEEPWELL_DEEP_GEMM": "fallback"},
    )
    assert out.split("\n") == ["ours " + out.split()[1], "['vllm.third_party.deep_gemm']"]


def test_an_unknown_mode_is_warned_of_once(run_python, site):
    done = run_python(
        START + WHO + "import importlib.util\nimportlib.util.find_spec('deep_gemm')\n_hook.mode()",
        path=[site],
        environment={"DEEPWELL_DEEP_GEMM": "sometimes"},
        check=False,
    )
    assert done.returncode == 0 and done.stdout.startswith("ours")
    assert done.stderr.count("RuntimeWarning") == 1
    for word in ("DEEPWELL_DEEP_GEMM", "sometimes", *_hook.MODES):
        assert word in done.stderr


def test_find_spec(run_python, site):
    out = run_python(
        START + "import importlib.util, sys, json\n"
        "spec = importlib.util.find_spec('deep_gemm')\n"
        "before = 'deep_gemm' in sys.modules\n"
        "sub = importlib.util.find_spec('deep_gemm.utils.math')\n"
        "import deep_gemm\n"
        "again = importlib.util.find_spec('deep_gemm')\n"
        "mine = deep_gemm.__spec__\n"
        "print(json.dumps([spec.origin, before, sub.origin, again is mine, mine.origin]))",
        path=[site],
    )
    origin, before, sub, again, after = json.loads(out)
    assert origin == after == os.path.join(_hook.DROP_IN, "__init__.py") and again
    assert before is False and sub == os.path.join(_hook.DROP_IN, "utils", "math.py")


def test_find_spec_when_off(run_python, site):
    code = (
        START
        + "import importlib.util\nspec = importlib.util.find_spec('deep_gemm')\nprint(spec and spec.origin)"
    )
    environment = {"DEEPWELL_DEEP_GEMM": "off"}
    assert run_python(code, path=[site], environment=environment) == str(site / "deep_gemm" / "__init__.py")
    assert run_python(code, environment=environment) == "None"


def test_importing_deepwell_imports_next_to_nothing(run_python):
    out = run_python(
        "import os, sys\nbefore = set(sys.modules)\n"
        "import deepwell\nprint(sorted(set(sys.modules) - before))",
        arguments=("-S", "-c"),
    )
    assert set(ast.literal_eval(out)) <= {"deepwell", "deepwell._hook", "deepwell.errors", "__future__"}


def test_importing_deep_gemm_loads_no_torch_no_native_module_and_no_other(run_python, site):
    out = run_python(
        START + "import sys, deep_gemm\n"
        "print([name for name in ('torch', 'numpy', 'deepwell._runtime') if name in sys.modules])\n"
        "import builtins; print(getattr(builtins, 'fake_deep_gemm_loads', None))",
        path=[site],
    )
    assert out == "[]\nNone"


def test_importing_touches_no_device(run_python):
    """Any question to CUDA, and any question to torch about it, would be an error here."""
    out = run_python(
        START + "import torch\n"
        "def refuse(*args, **kwargs): raise AssertionError('a device was touched')\n"
        "for name in ('init', '_lazy_init', 'is_available', 'device_count', 'current_device',\n"
        "             'get_device_capability',\n"
        "             'get_device_properties', 'set_device', 'current_stream'):\n"
        "    setattr(torch.cuda, name, refuse)\n"
        "for name in ('_cuda_init', '_cuda_getDeviceCount'):\n"
        "    if hasattr(torch._C, name): setattr(torch._C, name, refuse)\n"
        "import deep_gemm, deep_gemm.testing, deep_gemm.utils.dist, deep_gemm.legacy, deep_gemm._C\n"
        "deep_gemm.set_pdl(True); deep_gemm.get_pdl(); deep_gemm.set_mk_alignment_for_contiguous_layout(64)\n"
        "x = deep_gemm.utils.per_token_cast_to_fp8(torch.ones(2, 128), True)\n"
        "print(torch.cuda.is_initialized(), len(x))"
    )
    assert out == "False 2"


def test_fork_after_import(run_python, site):
    """A child can do everything: cast, set, load and call the other one."""
    out = run_python(
        START + "import os, sys, torch, deep_gemm\n"
        "deep_gemm.set_pdl(True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        torch.ones(64, 64) @ torch.ones(64, 64)\n"
        "        deep_gemm.utils.per_token_cast_to_fp4(torch.ones(2, 128), True)\n"
        "        deep_gemm.bf16_gemm_nt(1, 2, 3)\n"
        "        from deepwell import _other\n"
        "        calls = _other.other().CALLS\n"
        "        assert [name for name, _ in calls] == ['set_pdl', 'bf16_gemm_nt'], calls\n"
        "        assert not torch.cuda._is_in_bad_fork()\n"
        "        os._exit(0)\n"
        "    except BaseException as error:\n"
        "        print(repr(error), file=sys.stderr, flush=True)\n"
        "        os._exit(1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "from deepwell import _other\n"
        "print(os.waitstatus_to_exitcode(status), _other.loaded())",
        path=[site],
    )
    assert out == "0 None"


def test_installing_twice_is_once(run_python):
    out = run_python(
        START + "import sys\nfrom deepwell import _hook\n_hook.install()\n_hook.install()\n"
        "ours = [getattr(f, 'deepwell_hook', False) for f in sys.meta_path]\n"
        "print(sum(ours))"  # where they stand is up to what else this Python installs at its start
    )
    assert out == "2"


def test_reload(run_python, site):
    out = run_python(
        START + "import importlib, deep_gemm\nagain = importlib.reload(deep_gemm)\n"
        "print(again is deep_gemm, again.fp8_gemm_nt is again.fp8_fp4_gemm_nt)",
        path=[site],
    )
    assert out == "True True"


def test_functions_can_be_pickled(run_python):
    out = run_python(
        START + "import pickle, deep_gemm\n"
        "for name in ('fp8_gemm_nt', 'bf16_gemm_nt', 'fp8_fp4_mqa_logits', 'SymmBuffer', 'get_num_sms'):\n"
        "    function = getattr(deep_gemm, name)\n"
        "    assert pickle.loads(pickle.dumps(function)) is function, name\n"
        "print('all')"
    )
    assert out == "all"


# --- the .pth file ------------------------------------------------------------------------------------------


def test_the_pth_file_is_one_short_import_line(tmp_path):
    (file,) = pth_folder(tmp_path).iterdir()
    text = file.read_text()
    assert text.count("\n") == 1 and text.startswith("import ")


def test_the_pth_file_installs_the_hook_at_start(run_python, tmp_path, site):
    folder = pth_folder(tmp_path)
    code = f"import site, sys\nsite.addsitedir({str(folder)!r})\n" + WHO
    for arguments in (("-c",), ("-S", "-c")):
        assert run_python(code, path=[site], arguments=arguments).startswith("ours")
    # Children of multiprocessing start from nothing too.
    code = (
        f"import site, sys\nsite.addsitedir({str(folder)!r})\n"
        "print(sorted(name for name in sys.modules if 'deepwell' in name), 'torch' in sys.modules)"
    )
    modules, torch = run_python(code, arguments=("-S", "-c")).rsplit(" ", 1)
    assert set(ast.literal_eval(modules)) <= {"deepwell", "deepwell._hook", "deepwell.errors"}
    assert torch == "False"


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a package without the hook"])
def test_the_pth_file_is_harmless_without_deepwell(run_python, tmp_path, left):
    folder = pth_folder(tmp_path)
    if left != "nothing":
        (folder / "deepwell").mkdir()
    if left == "a package without the hook":
        (folder / "deepwell" / "__init__.py").write_text("")
    done = run_python(
        f"import site\nsite.addsitedir({str(folder)!r})\n"
        "try:\n    import deep_gemm\nexcept ModuleNotFoundError as error:\n    print(error.name)",
        arguments=("-S", "-c"),
        environment={"PYTHONPATH": str(tmp_path / "nowhere")},
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "deep_gemm", "")


def test_import_deepwell_installs_the_hook_without_a_pth_file(run_python, site):
    """As after an install with --target, or with -S."""
    assert run_python(START + WHO, path=[site], arguments=("-S", "-c")).startswith("ours")


def test_a_package_that_was_removed_while_running(run_python, tmp_path, site):
    """The finder is still there, its files are not: the import does what it would do without Deepwell."""
    copy = tmp_path / "copy"
    shutil.copytree(
        Path(_hook.__file__).parent, copy / "deepwell", ignore=shutil.ignore_patterns("__pycache__", "*.so*")
    )
    out = run_python(
        "import shutil, sys\n"
        f"sys.path[:] = [{str(copy)!r}, {str(site)!r}, *(p for p in sys.path if p != {PACKAGE_ROOT!r})]\n"
        "for name in [n for n in sys.modules if n.startswith('deepwell')]: del sys.modules[name]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, 'deepwell_hook', False)]\n"
        "import deepwell\n"
        f"shutil.rmtree({str(copy)!r})\n"
        "import deep_gemm\n"
        "print(deep_gemm.__file__)",
        arguments=("-c",),
    )
    assert out == str(site / "deep_gemm" / "__init__.py")


@pytest.mark.parametrize("builds", [True, False], ids=["while kernels are built", "kernels built before"])
def test_threads_that_still_call_at_exit(run_python, tmp_path, builds):
    """The process ends cleanly while daemon threads are inside the native library, and kernels being compiled."""
    cache = {"DEEPWELL_CACHE_DIR": str(tmp_path / "cache")} if builds else {}
    done = run_python(
        "import threading, torch, deepwell, deep_gemm\n"
        "import time\n"
        "a = (torch.zeros(64, 1024).to(torch.float8_e4m3fn), torch.ones(64, 8))\n"
        "d = torch.empty(64, 64)\n"
        "def work():\n"
        "    while True:\n"
        "        deep_gemm.fp8_gemm_nt(a, a, d, recipe=(1, 1, 128))\n"
        "deep_gemm.fp8_gemm_nt(a, a, d, recipe=(1, 1, 128))\n"
        "for _ in range(2): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.5)\n",
        environment={"DEEPWELL_DEVICE": "emu:sm_120a", **cache},
        check=False,
    )
    assert done.returncode == 0, done.stderr
