"""Times of calls and of single kernels on a GPU. Without a GPU nothing is measured; the functions say what
they return.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from deepwell.errors import bad_argument

from .._forward import names_of_other

_L2_BYTES = 256 << 20  # more than any L2 cache


def bench(
    fn: Callable[[], Any], num_warmups: int = 5, num_tests: int = 10, high_precision: bool = False
) -> float:
    """Seconds per call by GPU events, on average, after the L2 cache was overwritten. Without a GPU: by the
    host's clock.

    high_precision: a long product is launched first, so that the host's launches do not show.
    """
    import torch

    if not torch.cuda.is_available():
        return _host_bench(fn, num_warmups, num_tests)
    torch.cuda.synchronize()
    torch.empty(_L2_BYTES, dtype=torch.int8, device="cuda").zero_()
    for _ in range(num_warmups):
        fn()
    if high_precision:
        square = torch.randn((8192, 8192), device="cuda")
        square @ square
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(num_tests):
        fn()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / num_tests / 1e3


def _host_bench(fn: Callable[[], Any], num_warmups: int, num_tests: int) -> float:
    import time

    for _ in range(num_warmups):
        fn()
    start = time.perf_counter()
    for _ in range(num_tests):
        fn()
    return (time.perf_counter() - start) / num_tests


def bench_kineto(
    fn: Callable[[], Any],
    kernel_names: str | tuple[str, ...],
    num_tests: int = 30,
    suppress_kineto_output: bool = False,
    trace_path: str | None = None,
    flush_l2: bool = True,
    with_multiple_kernels: bool = False,
    barrier: Callable[[], Any] | None = None,
) -> float | tuple[float, ...]:
    """Seconds per launch of the kernels whose names contain kernel_names, by the profiler; a tuple for a
    tuple.

    A name that matches no kernel gives 0; one that matches several is an error unless with_multiple_kernels,
    where their launches are averaged. flush_l2: 256 MB are overwritten before each call. barrier: called
    before each call.
    trace_path: where a Chrome trace is written. suppress_kineto_output: hides what the profiler prints.
    With DG_USE_NVIDIA_TOOLS set to anything but 0, and without a GPU, fn runs once and each name gives 1.
    """
    import torch

    names = (kernel_names,) if isinstance(kernel_names, str) else tuple(kernel_names)
    if int(os.environ.get("DG_USE_NVIDIA_TOOLS", "0")) or not torch.cuda.is_available():
        fn()
        return 1 if isinstance(kernel_names, str) else (1,) * len(names)

    def call() -> None:
        if flush_l2:
            torch.empty(_L2_BYTES // 4, dtype=torch.int32, device="cuda").zero_()
        if barrier is not None:
            barrier()
        fn()

    fn()  # builds what has to be built outside of the profile
    with _quiet() if suppress_kineto_output else contextlib.nullcontext():
        profiler = _profile(call, num_tests, torch.profiler.ProfilerActivity.CUDA, torch.cuda.synchronize)
    if trace_path is not None:
        profiler.export_chrome_trace(trace_path)
    rows = [(row.key, row.self_device_time_total, row.count) for row in profiler.key_averages()]
    times = tuple(_time_of(name, rows, with_multiple_kernels) for name in names)
    return times[0] if isinstance(kernel_names, str) else times


def _profile(call: Callable[[], Any], num_calls: int, activity: Any, synchronize: Callable[[], Any]) -> Any:
    """torch's profiler with num_calls calls in it, after as many that warm up."""
    import torch

    schedule = torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=1)
    with torch.profiler.profile(activities=[activity], schedule=schedule, acc_events=True) as profiler:
        for _ in range(2):
            for _ in range(num_calls):
                call()
            synchronize()
            profiler.step()
    return profiler


def _time_of(name: str, rows: list[tuple[str, float, int]], several: bool) -> float:
    """Seconds per launch from (kernel, microseconds of all launches, launches)."""
    found = [row for row in rows if name in row[0]]
    if len(found) > 1 and not several:
        raise bad_argument(
            "kernel_names",
            f"{name}, which {len(found)} kernels have in their names",
            "a part of one kernel's name",
        )
    launches = sum(row[2] for row in found)
    return sum(row[1] for row in found) / launches / 1e6 if launches else 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing written to the process's output streams arrives, also not from C++."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nothing, contextlib.ExitStack() as restore:
        for number in (1, 2):
            saved = os.dup(number)
            restore.callback(os.close, saved)
            restore.callback(os.dup2, saved, number)
            os.dup2(nothing.fileno(), number)
        yield


__getattr__ = names_of_other("testing.bench")
