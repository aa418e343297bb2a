"""Cases: one kernel, its data, its reference, its bounds; what running them says."""

import re
import time
from dataclasses import dataclass, field

import numpy as np
from emulator import Device, Finding
from findings import FINDINGS

CASES = []


@dataclass
class Case:
    name: str
    section: str
    run: object
    options: dict


@dataclass
class Outcome:
    name: str
    section: str
    launches: list = field(
        default_factory=list
    )  # (file, readable entry, PTX lines, grid, block, shared memory)
    result: str = "right"
    detail: str = ""
    worst: float = 0.0  # largest error / bound
    bound: str = ""
    seconds: float = 0.0
    seeds: int = 0


class Wrong(Exception):
    """The kernel's answer is not what its definition says."""


def case(section, *variants):
    """Registers a function as one case, or as one a variant: (name, options)."""

    def register(function):
        for suffix, options in variants or (("", {}),):
            CASES.append(
                Case(function.__name__ + (f"-{suffix}" if suffix else ""), section, function, options)
            )
        return function

    return register


class Run:
    """What a case gets: a device, random data, and comparisons."""

    def __init__(self, name, seed, target):
        self.dev = Device(target, seed)
        self.rng = np.random.default_rng([ord(letter) for letter in name])
        self.worst, self.bounds = 0.0, []

    def normal(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def exact(self, what, got, want):
        got, want = np.asarray(got), np.asarray(want)
        bad = np.argwhere(got != want)
        if got.shape != want.shape or len(bad):
            at = tuple(int(i) for i in bad[0]) if len(bad) else None
            raise Wrong(
                f"{what}: {len(bad)} of {got.size} differ, first at {at}: {got[at]} instead of {want[at]}"
            )
        self._bound(what, "exact")

    def close(self, what, got, want, bound, text):
        """|got - want| <= bound everywhere; infinities and NaNs in the same places. `text` says where the bound comes from."""
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if got.shape != want.shape:
            raise Wrong(f"{what}: shape {got.shape} instead of {want.shape}")
        bound = np.broadcast_to(np.asarray(bound, np.float64), want.shape)
        finite = np.isfinite(want)
        same = np.where(finite, np.isfinite(got), (np.isnan(got) & np.isnan(want)) | (got == want))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(finite & same, np.abs(got - want) / bound, np.where(same, 0.0, np.inf))
            ratio = np.where(np.isnan(ratio), 0.0, ratio)
        top = float(ratio.max(initial=0.0))
        self.worst = max(self.worst, top)
        self._bound(what, text)
        if top > 1:
            at = tuple(int(i) for i in np.unravel_index(ratio.argmax(), ratio.shape))
            raise Wrong(
                f"{what}: {int((ratio > 1).sum())} of {ratio.size} off, worst at {at}: {got[at]:.8g} instead of "
                f"{want[at]:.8g}, bound {bound[at]:.3g}"
            )

    def codes(self, what, got, values, encode, slack, text):
        """`got` are codes of `values`, each known within a relative `slack`: what lies between two codes may be either."""
        values = np.asarray(values, np.float64)
        low, high = encode(values * (1 - slack)), encode(values * (1 + slack))
        bad = (got != low) & (got != high)
        nearest = encode(values)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise Wrong(
                f"{what}: {int(bad.sum())} of {bad.size} codes differ, first at {at}: {got[at]:#x} instead of "
                f"{nearest[at]:#x} for {values[at]:.8g}"
            )
        self._bound(what, text)

    def _bound(self, what, text):
        if (what, text) not in self.bounds:
            self.bounds.append((what, text))


def run_case(one, seeds=4, budget=30.0, target="sm_120a"):
    """Runs a case under up to `seeds` schedules, fewer where one takes long."""
    outcome = Outcome(one.name, one.section)
    started = time.monotonic()
    for seed in range(seeds):
        run = Run(one.name, seed, target)
        try:
            one.run(run, **one.options)
        except (Finding, Wrong) as error:
            expected = [words for pattern, words, _ in FINDINGS if re.search(pattern, one.name)]
            unexplained = "report" if isinstance(error, Finding) else "wrong"
            outcome.result = "finding" if expected and expected[0] in str(error) else unexplained
            outcome.detail = str(error)
        outcome.worst = max(outcome.worst, run.worst)
        outcome.seconds += run.dev.seconds
        outcome.launches = run.dev.launches
        outcome.bound = "; ".join(f"{what}: {text}" for what, text in run.bounds)
        outcome.seeds = seed + 1
        if outcome.result != "right":
            outcome.detail = f"seed {seed}: {outcome.detail}"
            break
        if time.monotonic() - started > budget:
            break
    return outcome


def selected(pattern):
    return [one for one in CASES if re.search(pattern, one.name)]
