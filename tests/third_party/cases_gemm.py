"""Section C: GEMMs whose operands come through tensor maps; their own host code makes the launches."""
import numpy as np
from cases_small import F32, I32, U8, U16
from formats import E2M1, E4M3, bf16, half_ulp, pack4, to_e4m3, ue8m0
from harness import Wrong, case
from host import Host

import ctypes

SIZE = ctypes.c_size_t


def fp8(run, *shape):
    codes = to_e4m3(run.normal(*shape) * 16)
    return codes, E4M3[codes]


def judge_product(run, got, want, size, what="d", text="half a bf16 ulp + 2^-18 of the sum of magnitudes"):
    """bf16 results of sums whose partial sums are cut at 2^-25 and scaled in f32."""
    run.close(what, got, want, half_ulp(want, "bf16") + 2.0**-18 * size, text)


def blocked(a, sfa, b, sfb, k):
    """a (m, k) and b (n, k) with scales for blocks of k, and the same of magnitudes."""
    x, y = a * np.repeat(sfa, k, 1), b * np.repeat(sfb, k, 1)
    return x @ y.T, np.abs(x) @ np.abs(y).T


@case("C", ("256x256x512", {"m": 256, "n": 256, "k": 512}), ("100x128x256", {"m": 100, "n": 128, "k": 256}))
def gemm_groupwise(run, m, n, k):
    """E4M3, f32 scales of 1 x 128 and 128 x 128 blocks, rows of scales contiguous along m."""
    a, x = fp8(run, m, k)
    b, y = fp8(run, n, k)
    sfa, sfb = run.rng.uniform(0.5, 2, (m, k // 128)).astype(F32), run.rng.uniform(0.5, 2, (n // 128, k // 128)).astype(F32)
    host = Host(run.dev, "groupwise")
    put = run.dev.put
    d, work = run.dev.empty((m, n), U16, "d"), run.dev.empty(1 << 20, U8, "work")
    status = host.call(work, SIZE(1 << 20), put(a), put(b), put(np.ascontiguousarray(sfa.T)), put(np.ascontiguousarray(sfb.T)), d, m, n, k)
    if status:
        raise Wrong(f"the host code says {status}")
    want, size = blocked(x, sfa.astype(np.float64), y, np.repeat(sfb, 128, 0).astype(np.float64), 128)
    judge_product(run, bf16(d.read()), want, size)
