"""Host time of a warm call from Python, by the ways in: the native module, the drop-in deep_gemm, torch operators, apache-tvm-ffi.

One JSON object a line: name, nanoseconds (least and median of the rounds), calls a round. A round issues its calls without
waiting for the device and then synchronises outside the measured time, so that the launch queue never fills.

  python bench/python/call_overhead.py                          device null:sm_120a, which runs nothing: Python and library only
  python bench/python/call_overhead.py --device cuda            a GPU (DEEPWELL_DEEP_GEMM=always for SM 9.0)
  ... --tvm-ffi build/tvm_ffi_gemm.so                           also through apache-tvm-ffi (tvm_ffi_gemm.cpp says how it is built)
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time


def measure(name: str, call, calls: int, rounds: int, synchronize) -> None:
    for _ in range(50):
        call()
    synchronize()
    took = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        took.append((time.perf_counter_ns() - start) / calls)
        synchronize()
    print(
        json.dumps(
            {
                "name": name,
                "least_ns": round(min(took)),
                "median_ns": round(statistics.median(took)),
                "calls": calls,
            }
        )
    )


def operands(torch, device: str, m: int, n: int, k: int) -> dict:
    """FP8 tokens with packed scales, FP8 weights with packed scales, as serving code passes them."""
    words = (k + 511) // 512
    pitch = (m + 3) // 4 * 4
    return {
        "a": torch.zeros(m, k, dtype=torch.uint8, device=device).view(torch.float8_e4m3fn),
        "scale_a": torch.full((words, pitch), 0x7F7F7F7F, dtype=torch.int32, device=device).T[:m],
        "b": torch.zeros(n, k, dtype=torch.uint8, device=device).view(torch.float8_e4m3fn),
        "scale_b": torch.full((words, n), 0x7F7F7F7F, dtype=torch.int32, device=device).T,
        "d": torch.empty(m, n, dtype=torch.bfloat16, device=device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="null", choices=["null", "cuda"])
    parser.add_argument("--tvm-ffi", help="the library made of tvm_ffi_gemm.cpp")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--shape", type=int, nargs=3, default=[1, 128, 512], metavar=("M", "N", "K"))
    parser.add_argument("--split-shape", type=int, nargs=3, default=[1, 256, 4096], metavar=("M", "N", "K"))
    options = parser.parse_args()

    import torch

    import deepwell
    from deepwell import _native

    cuda = options.device == "cuda"
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    if not cuda:
        device = deepwell.device("null:sm_120a")
        device.__enter__()
    deepwell.register_ops()
    import deep_gemm

    machine = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    print(json.dumps({"machine": machine, "torch": torch.__version__, "python": platform.python_version()}))
    for label, shape in (("", options.shape), (", split k", options.split_shape)):
        o = operands(torch, "cuda" if cuda else "cpu", *shape)
        a, scale_a, b, scale_b, d = o.values()
        left, right = (a, scale_a), (b, scale_b)
        size = f" {shape[0]}x{shape[1]}x{shape[2]}{label}"

        def report(name: str, call) -> None:
            measure(name + size, call, options.calls, options.rounds, synchronize)

        native = _native.fp8_fp4_gemm_nt
        report("deepwell._native", lambda: native(a, scale_a, b, scale_b, d, None, None, None, None, False))
        report("deep_gemm.fp8_gemm_nt", lambda: deep_gemm.fp8_gemm_nt(left, right, d))
        report(
            "deep_gemm.fp8_gemm_nt, keywords",
            lambda: deep_gemm.fp8_gemm_nt(
                left, right, d, recipe_a=(1, 128), recipe_b=(1, 128), disable_ue8m0_cast=False
            ),
        )
        op = torch.ops.deepwell.fp8_fp4_gemm_nt_out.default
        report("torch.ops.deepwell.fp8_fp4_gemm_nt_out", lambda: op(a, scale_a, b, scale_b, d))
        if options.tvm_ffi:
            import tvm_ffi

            module = tvm_ffi.load_module(options.tvm_ffi)
            module["open_device"]("cuda:0" if cuda else "null:sm_120a")
            foreign = module["fp8_fp4_gemm_nt"]
            report("apache-tvm-ffi", lambda: foreign(a, scale_a, b, scale_b, d))


if __name__ == "__main__":
    main()
