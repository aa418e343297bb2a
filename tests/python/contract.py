"""What the contract tests share: the devices that they run on, and a cast that packs scales as the interface defines it."""

from __future__ import annotations

import pytest
import reference as ref
import torch

import deepwell

EMULATED = ref.DEVICE == "cpu"
DEVICES = ["emu:sm_120a", "emu:sm_121a"] if EMULATED else ["cuda"]
POISON = -12345.0


@pytest.fixture(params=DEVICES, autouse=True)
def device(request):
    """Runs a test on both boards of the family. Imported by a test file, it counts for all of its tests."""
    if not EMULATED:
        yield request.param
        return
    with deepwell.device(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def notes():
    """A test begins without notes of others."""
    ref.forget_notes()


def noted() -> set[str]:
    """The names of what kernels have noted since the last question."""
    found = set()
    while True:
        try:
            deepwell.raise_notes()
            return found
        except deepwell.errors.BadArgumentError as error:
            found.add(str(error.argument))


def untouched(tensor: torch.Tensor) -> bool:
    return bool((tensor == POISON).all())
