"""docs/calls.md says what happens, and the tool that writes it sees calls that go astray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import deep_gemm
import deepwell
from deepwell import _other

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import call_table  # noqa: E402


def test_the_page_says_what_happens(clean):
    assert call_table.page() == call_table.PAGE.read_text(), "tools/call_table.py --write"


def rows_of(title: str) -> list[list[str]]:
    section = call_table.PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.split("\n") if line.startswith("| `")]
    assert rows
    return rows


def test_deepwell_serves_all_that_vllm_calls():
    assert all(
        "| Deepwell |" in "| " + " | ".join(row) + " |"
        for row in rows_of("What vLLM 0.33 calls for DeepSeek-V4")
    )


def test_nothing_is_lost_on_the_way():
    text = call_table.PAGE.read_text()
    assert "NOBODY" not in text and "NOT WRITTEN" not in text and "no NotImplementedError" not in text


def test_the_page_has_every_function_of_the_interface():
    text = call_table.PAGE.read_text()
    shown = {getattr(deep_gemm, name) for name in dir(deep_gemm) if f"`{name}`" in text}
    missing = [name for name in call_table.functions_of_surface() if getattr(deep_gemm, name) not in shown]
    assert len(call_table.functions_of_surface()) > 50 and not missing


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (False, "| `fp8_mqa_logits` |  | forwarded | `MissingError` |"),
        (torch.full((4, 128), float("nan")), "| `fp8_mqa_logits` |  | NOT WRITTEN |  |"),
    ],
)
def test_what_goes_astray_is_seen(clean, monkeypatch, answer, row):
    """An operation that Deepwell no longer serves, and one that says so and writes nothing."""
    native = deep_gemm._forward.runtime()
    monkeypatch.setattr(native, "fp8_mqa_logits", lambda *arguments: None if answer is False else answer)
    seen = call_table.Seen(torch, deepwell, _other)
    calls = call_table.Calls(torch, deep_gemm)
    assert seen.row("fp8_mqa_logits", "", lambda: calls.ragged(legacy=True)) == row
