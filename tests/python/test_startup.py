"""Warming up from Python: ranks that share the compiling, archives, late kernels, mistakes by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import deepwell
from deepwell import errors

NULL = "null:sm_120a"  # a device that runs nothing and needs no code
CONFIG = {
    "model_type": "deepseek_v4",
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "head_dim": 512,
    "q_lora_rank": 1024,
    "o_groups": 8,
    "o_lora_rank": 1024,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "index_topk": 512,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 2048,
    "hc_mult": 4,
}
PACKAGE_ROOT = Path(deepwell.__file__).absolute().parents[1]
RANKS = 3


def start(code, **variables):
    """A new interpreter that runs `code`; nothing of DEEPWELL_* but what is given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEPWELL_")}
    environment.update(PYTHONPATH=str(PACKAGE_ROOT), PYTHONDONTWRITEBYTECODE="1", **variables)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=pipe, stderr=pipe, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1]), err


WARM = """
import json, deepwell
done = deepwell.warmup({config!r}, tp={tp}, device="emu:sm_120a")
print(json.dumps(done._asdict()))
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """(cache folder, what each of several ranks got that warmed up at the same time with an empty one)."""
    cache = tmp_path_factory.mktemp("cache")
    code = WARM.format(config=CONFIG, tp=4)
    processes = [
        start(code, DEEPWELL_CACHE_DIR=str(cache), DEEPWELL_COMPILE_THREADS="2") for _ in range(RANKS)
    ]
    return cache, [finish(process)[0] for process in processes]


def test_ranks_compile_each_kernel_once(ranks):
    _, done = ranks
    kernels = done[0]["kernels"]
    assert kernels > 20
    assert sum(each["compiled"] for each in done) == kernels, done
    for each in done:
        assert each["kernels"] == kernels
        assert each["compiled"] + each["from_cache"] == kernels
        assert each["from_archive"] == each["in_memory"] == 0
        assert (each["device"], each["target"]) == ("emu:sm_120a", "sm_120a")
        assert each["seconds"] > 0


AFTER = """
import json, sys, torch, deepwell, deep_gemm
sys.path.insert(0, {tests!r})
import reference as ref
deepwell.warmup({config!r}, tp=1, device="emu:sm_120a")
before = deepwell.kernel_counts("emu:sm_120a")
n, k = 192, 256
with deepwell.device("emu:sm_120a"):
    b, exponent_b = ref.e4m3((n, k), 2), ref.exponents((2, k // 128), 4)
    weight = ref.scale_values(exponent_b).float()[None]
    scale_b = deep_gemm.transform_sf_into_required_layout(
        sf=weight, mn=n, k=k, recipe=(1, 128, 128), num_groups=1, is_sfa=False, disable_ue8m0_cast=False)[0]
    for m in (1, 9, 17, 33, 65):
        a, exponent_a = ref.e4m3((m, k), 1), ref.exponents((m, k // 128), 3)
        forms = ref.scale_forms(exponent_a)
        for form in ("float32", "packed"):
            d = torch.empty(m, n, dtype=torch.bfloat16)
            deep_gemm.fp8_gemm_nt((a, forms[form]), (b, scale_b), d, disable_ue8m0_cast=False)
    groups, tokens = 2, 5
    a, w = ref.e4m3((tokens, groups, k), 5), ref.e4m3((groups, n, k), 6)
    out = torch.empty(tokens, groups, n, dtype=torch.bfloat16)
    deep_gemm.fp8_einsum("bhr,hdr->bhd", (a, torch.ones(tokens, groups, k // 128)),
                         (w, torch.full((groups, 2, k // 128), 127, dtype=torch.uint8)), out, recipe=(1, 128, 128))
    after = deepwell.kernel_counts("emu:sm_120a")
    try:
        deep_gemm.fp8_gemm_nt((ref.e4m3((1, k), 1), forms["packed"][:1]), (b, scale_b), torch.empty(1, n))
        late = None
    except deepwell.errors.DeepwellError as error:
        late = [str(error), error.argument, type(error).__name__]
print(json.dumps([before, after, late]))
"""


def test_calls_after_it_build_nothing_and_others_are_named(ranks):
    code = AFTER.format(config=CONFIG, tests=str(Path(__file__).parent))
    environment = {"DEEPWELL_CACHE_DIR": str(ranks[0]), "DEEPWELL_BACKGROUND_BUILDS": "0"}
    (before, after, late), _ = finish(start(code, DEEPWELL_AFTER_WARMUP="error", **environment))
    assert before == after
    assert after[-1] == 0
    assert "gemm_mx" in late[0]
    assert late[1:] == ["DEEPWELL_AFTER_WARMUP", "DeepwellError"]  # which goes to no other DeepGEMM
    (before, after, late), log = finish(start(code, **environment))  # warn
    assert before == after and late is None
    assert "is not part of the warm-up: compiled in" in log


def test_archives_serve_without_a_compiler(ranks, tmp_path):
    program = PACKAGE_ROOT / "deepwell" / "bin" / "deepwell"
    archive = tmp_path / "kernels.dwk"
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    environment = {**os.environ, "DEEPWELL_CACHE_DIR": str(ranks[0])}
    command = [
        program,
        "compile",
        "--model",
        tmp_path,
        "--tp",
        "4",
        "--target",
        "sm_120a",
        "--export",
        archive,
    ]
    if "DEEPWELL_WHEEL_PATHS" not in environment:
        environment["DEEPWELL_WHEEL_PATHS"] = str(Path(torch.__file__).parents[1])
    made = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert made.returncode == 0, made.stderr
    none = {"DEEPWELL_CACHE_DIR": str(tmp_path / "none"), "DEEPWELL_COMPILER": "none"}
    code = WARM.format(config=str(tmp_path), tp=4)
    done, log = finish(start(code, DEEPWELL_KERNELS=str(archive), **none))
    assert done["from_archive"] == done["kernels"] == ranks[1][0]["kernels"]
    assert log == "" and not (tmp_path / "none").exists()
    archive.write_bytes(archive.read_bytes()[:-1])
    process = start(code, DEEPWELL_KERNELS=str(archive), **none)
    _, log = process.communicate(timeout=600)
    assert process.returncode != 0
    assert log.count(f"{archive} is not used: it is cut short") == 1
    assert "ToolchainError" in log and "DEEPWELL_COMPILER is none" in log


# ---- arguments ----


class HuggingFace:
    """As much of a config object as is looked at."""

    def __init__(self, fields=CONFIG):
        self.fields = fields

    def to_dict(self):
        return {
            **self.fields,
            "torch_dtype": torch.bfloat16,
            "rope_scaling": {"factor": float("inf"), 3: float("nan")},
            ("a", "tuple"): 1,
        }


class VllmModelConfig:
    hf_config = HuggingFace()


class Index:
    def __index__(self):
        return 4096


@pytest.mark.parametrize(
    "config",
    [
        None,
        CONFIG,
        {"text_config": CONFIG},
        HuggingFace(),
        VllmModelConfig(),
        {**CONFIG, "hidden_size": Index()},
        {**CONFIG, "hidden_size": torch.tensor(4096)},
    ],
)
def test_forms_of_a_config(config):
    seen = []
    done = deepwell.warmup(config, device=NULL, progress=lambda *at: seen.append(at))
    assert done.kernels == done.in_memory == len(seen) > 20
    assert [at[0] for at in seen] == list(range(1, done.kernels + 1))
    assert {at[1] for at in seen} == {done.kernels}
    assert any("scale_layout" in at[2] for at in seen) and any("gemm_mx" in at[2] for at in seen)
    assert deepwell.kernel_counts(NULL).loaded == done.kernels


def test_a_path_of_a_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    for path in (tmp_path, str(tmp_path), tmp_path / "config.json", os.fsencode(tmp_path).decode()):
        assert deepwell.warmup(path, tp=2, device=NULL, progress=False).kernels > 20


def test_the_chosen_device_is_the_default(monkeypatch):
    with deepwell.device(NULL):
        assert deepwell.warmup().device == NULL
        assert deepwell.warmup(device="cpu").device == NULL
        assert deepwell.kernel_counts().loaded > 0
    monkeypatch.setenv("DEEPWELL_DEVICE", "null:sm_121a")
    assert deepwell.warmup().target == "sm_121a"


WITHOUT = {name: value for name, value in CONFIG.items() if name != "o_groups"}


@pytest.mark.parametrize(
    ("arguments", "argument", "kind"),
    [
        ({"model_config": WITHOUT}, "model_config.o_groups", errors.BadArgumentError),
        ({"model_config": HuggingFace(WITHOUT)}, "model_config.o_groups", errors.BadArgumentError),
        ({"model_config": {**CONFIG, "head_dim": 51.5}}, "model_config.head_dim", errors.BadArgumentError),
        ({"model_config": {**CONFIG, "model_type": "x"}}, "model_config.model_type", errors.BadArgumentError),
        ({"model_config": 7}, "model_config", errors.BadTypeError),
        ({"model_config": [CONFIG]}, "model_config", errors.BadTypeError),
        ({"model_config": "a\0b"}, "model_config", errors.BadArgumentError),
        ({"model_config": "/there/is/none"}, "/there/is/none", errors.BadArgumentError),
        ({"model_config": {**CONFIG, "q_lora_rank": 1000}}, "attn.wq_b", errors.UnsupportedError),
        ({"tp": 3}, "tp", errors.BadArgumentError),
        ({"tp": 0}, "tp", errors.BadArgumentError),
        ({"tp": 2**40}, "tp", errors.BadArgumentError),
        ({"tp": "2"}, "tp", errors.BadTypeError),
        ({"tp": True}, "tp", errors.BadTypeError),
        ({"progress": "yes"}, "progress", errors.BadTypeError),
        ({"device": "tpu"}, "device", errors.BadArgumentError),
        ({"device": 1.5}, "device", errors.BadArgumentError),
        ({"device": -1}, "device", errors.BadArgumentError),
        ({"device": "meta"}, "device", errors.BadArgumentError),
        ({"device": torch.device("meta")}, "device", errors.BadArgumentError),
        ({"device": "emu:sm_1"}, "target", errors.UnsupportedError),
    ],
)
def test_mistakes_are_named(arguments, argument, kind):
    with pytest.raises(kind) as caught:
        deepwell.warmup(**{"device": NULL, **arguments})
    assert caught.value.argument == argument


def test_no_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:0", 0, torch.device("cuda", 1)):
        with pytest.raises(errors.UnsupportedError) as caught:
            deepwell.warmup(device=device)
        assert caught.value.argument == "device"


def test_what_progress_raises_comes_out():
    def stop(done, total, kernel):
        if done == 2:
            raise KeyError(kernel)

    with pytest.raises(KeyError, match="gemm_mx"):
        deepwell.warmup(device=NULL, progress=stop)
    with pytest.raises(TypeError):
        deepwell.warmup(device=NULL, progress=lambda: None)


def test_it_can_be_interrupted():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            deepwell.warmup(device=NULL, progress=lambda *at: os.kill(os.getpid(), signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert deepwell.warmup(device=NULL).kernels > 20


def test_a_terminal_gets_a_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    done = deepwell.warmup(device=NULL)
    line = capsys.readouterr().err
    assert f"{done.kernels}/{done.kernels}" in line and line.endswith("\r\x1b[K")
    deepwell.warmup(device=NULL, progress=False)
    assert capsys.readouterr().err == ""
