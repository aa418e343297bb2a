"""Section C: GEMMs whose operands come through tensor maps; their own host code makes the launches."""

import ctypes

import deepwell
import numpy as np
from cases_small import F32, I32, U8, U16, half_input
from formats import E2M1, E4M3, bf16, half_ulp, pack4, to_e4m3, ue8m0
from harness import Wrong, case
from host import Host
from ptx import FENCE

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
    sfa, sfb = (
        run.rng.uniform(0.5, 2, (m, k // 128)).astype(F32),
        run.rng.uniform(0.5, 2, (n // 128, k // 128)).astype(F32),
    )
    host = Host(run.dev, "groupwise")
    put = run.dev.put
    d, work = run.dev.empty((m, n), U16, "d"), run.dev.empty(1 << 20, U8, "work")
    check(
        host.call(
            work,
            SIZE(1 << 20),
            put(a),
            put(b),
            put(np.ascontiguousarray(sfa.T)),
            put(np.ascontiguousarray(sfb.T)),
            d,
            m,
            n,
            k,
        )
    )
    want, size = blocked(x, sfa.astype(np.float64), y, np.repeat(sfb, 128, 0).astype(np.float64), 128)
    judge_product(run, bf16(d.read()), want, size)


def check(status):
    if status:
        raise Wrong(f"the host code says {status}")


def tiled_scales(codes):
    """Scales (rows, blocks of k) as block-scaled MMAs want them: tiles of 128 rows and 4 blocks, row r at 16 (r % 32) + 4 (r / 32)."""
    rows, width = -(-codes.shape[0] // 128) * 128, -(-codes.shape[1] // 4) * 4
    full = np.zeros((rows, width), U8)
    full[: codes.shape[0], : codes.shape[1]] = codes
    return np.ascontiguousarray(full.reshape(rows // 128, 4, 32, width // 4, 4).transpose(0, 3, 2, 1, 4))


# With n = 128 each of the 4 CTAs has one tile; in "turns" CTAs go from one group to the next.
TURNS = {"rows": (4, 132), "n": 256, "k": 384}
GROUPS = (
    ("200+0+56", {"rows": (200, 0, 56), "n": 128, "k": 256}),
    ("4+132", {"rows": (4, 132), "n": 128, "k": 384}),
    ("turns", TURNS),
    ("turns-norace", {**TURNS, "race": False}),
)


def grouped(run, unit, before, after, rows, m, n, race):
    """Calls a grouped GEMM: workspaces, `before`, `after`; the rows of d as doubles."""
    host, d = Host(run.dev, unit, race=race), run.dev.empty((m, n), U16, "d")
    ints, floats = run.dev.empty(1 << 16, U8, "ints"), run.dev.empty(1 << 20, U8, "floats")
    offsets = run.dev.put(np.concatenate([[0], np.cumsum(rows)]).astype(I32), "offsets")
    fill = {"offsets": offsets, "d": d}
    check(
        host.call(
            ints,
            SIZE(1 << 16),
            floats,
            SIZE(1 << 20),
            *before,
            *(fill.get(a, a) if isinstance(a, str) else a for a in after),
        )
    )
    return bf16(d.read())


@case("C", *GROUPS, ("200+0+56-short", {**GROUPS[0][1], "slack": 0}))
def gemm_group_fp8(run, rows, n, k, slack=128, race=True):
    """A group of E4M3 rows with its own B each; f32 scales of 1 x 128 and 128 x 128 blocks, contiguous along m and n."""
    m, groups = sum(rows), len(rows)
    a, x = fp8(run, m, k)
    b, y = fp8(run, groups, n, k)
    sfa = run.rng.uniform(0.5, 2, (m, k // 128)).astype(F32)
    sfb = run.rng.uniform(0.5, 2, (groups, n // 128, k // 128)).astype(F32)
    put = run.dev.put
    before = (
        put(a),
        put(b),
        put(np.append(sfa.T, np.zeros(slack, F32)), "sfa"),
        put(np.ascontiguousarray(sfb.transpose(0, 2, 1))),
    )
    got, at = grouped(run, "group_fp8", before, ("d", "offsets", m, n, k, groups), rows, m, n, race), 0
    for group, count in enumerate(rows):
        part = slice(at, at + count)
        want, size = blocked(
            x[part],
            sfa[part].astype(np.float64),
            y[group],
            np.repeat(sfb[group].astype(np.float64), 128, 0),
            128,
        )
        judge_product(run, got[part], want, size)
        at += count


def group_tiles(rows, codes):
    """The tiled scales of groups of rows: each group begins at a multiple of 128 rows, as far down as the groups before may need."""
    tiles, at = np.zeros(((sum(rows) + len(rows) * 127) // 128 + 1, -(-codes.shape[1] // 4), 32, 4, 4), U8), 0
    for group, count in enumerate(rows):
        mine, first = tiled_scales(codes[at : at + count]), (at + group * 127) // 128
        tiles[first : first + len(mine)] = mine
        at += count
    return tiles


@case("C", *GROUPS)
def gemm_group_mxfp4(run, rows, n, k, race=True):
    """E4M3 rows by E2M1 columns, a UE8M0 scale for 32 of k each."""
    m, groups = sum(rows), len(rows)
    a, x = fp8(run, m, k)
    b = run.rng.integers(0, 16, (groups, n, k)).astype(U8)
    sfa, sfb = (
        run.rng.integers(124, 131, shape).astype(U8) for shape in ((m, k // 32), (groups, n, k // 32))
    )
    put = run.dev.put
    before = (
        put(a),
        put(pack4(b)),
        put(group_tiles(rows, sfa)),
        put(np.stack([tiled_scales(part) for part in sfb])),
    )
    got, at = grouped(run, "group_mxfp4", before, ("d", "offsets", n, k, groups), rows, m, n, race), 0
    for group, count in enumerate(rows):
        part = slice(at, at + count)
        want, size = blocked(x[part], ue8m0(sfa[part]), E2M1[b[group]], ue8m0(sfb[group]), 32)
        judge_product(run, got[part], want, size)
        at += count


@case("C", *GROUPS)
def gemm_group_nvfp4(run, rows, n, k, race=True):
    """E2M1 rows and columns, a UE4M3 scale for 16 of k each, a factor for each group."""
    m, groups = sum(rows), len(rows)
    a, b = (run.rng.integers(0, 16, shape).astype(U8) for shape in ((m, k), (groups, n, k)))
    sfa, sfb = (
        run.rng.integers(0x30, 0x44, shape).astype(U8) for shape in ((m, k // 16), (groups, n, k // 16))
    )
    alpha = run.rng.uniform(0.5, 2, groups).astype(F32)
    put = run.dev.put
    before = (
        put(pack4(a)),
        put(pack4(b)),
        put(group_tiles(rows, sfa)),
        put(np.stack([tiled_scales(part) for part in sfb])),
    )
    got, at = (
        grouped(run, "group_nvfp4", before, ("d", put(alpha), "offsets", n, k, groups), rows, m, n, race),
        0,
    )
    for group, count in enumerate(rows):
        part = slice(at, at + count)
        want, size = blocked(E2M1[a[part]], E4M3[sfa[part]], E2M1[b[group]], E4M3[sfb[group]], 16)
        judge_product(run, got[part], want * alpha[group], size * alpha[group])
        at += count


def bf16_map(run, buffer, rows, k, box):
    spec = {
        "tensorDataType": "BFLOAT16",
        "globalDim": (k, rows),
        "globalStrides": (2 * k,),
        "boxDim": (64, box),
        "swizzle": "128B",
    }
    return deepwell.Struct(128, {0: run.dev.machine.tensor_map(buffer.at(0), **spec)})


TINY = [
    (f"{name}-{shape}", {"pdl": pdl, "bias": bias, "n": n, "k": k})
    for name, pdl, bias in (
        ("plain", False, False),
        ("bias", False, True),
        ("pdl", True, False),
        ("pdl-bias", True, True),
    )
    for shape, n, k in (("48x13x1640", 13, 1640), ("48x1x1024", 1, 1024))
]


@case("C", *TINY, ("bias-as_is", {"pdl": False, "bias": True, "n": 13, "k": 1640, "patches": ()}))
def tinygemm2(run, pdl, bias, n, k, patches=(FENCE,)):
    """Few rows of bf16 by a bf16 matrix. The form with 16 stages needs more shared memory than SM 12.x has."""
    m = 48
    (w, weights), (a, act), (b, added) = (
        half_input(run, "bf16", m, k),
        half_input(run, "bf16", n, k),
        half_input(run, "bf16", m),
    )
    w, a, out = run.dev.put(w), run.dev.put(a), run.dev.empty((n, m), U16)
    word = {False: "false", True: "true"}
    run.dev.launch(
        "tinygemm2",
        f"tinygemm_kernel<16, 16, 8, 64, 4, 4, {word[pdl]}, {word[bias]}>",
        (m // 16, -(-n // 8)),
        384,
        [
            out,
            a,
            w,
            run.dev.put(b) if bias else None,
            I32(m),
            I32(n),
            I32(k),
            bf16_map(run, w, m, k, 16),
            bf16_map(run, a, n, k, 8),
        ],
        4 * 4 * (16 + 8) * 64 * 2,
        patches=patches,
    )
    want, size = act @ weights.T, np.abs(act) @ np.abs(weights).T
    judge_product(run, bf16(out.read()), want + bias * added, size + bias * np.abs(added))


@case(
    "C",
    *(
        (f"{name}-{m}x{n}x{k}", {"swap": swap, "m": m, "n": n, "k": k})
        for name, swap in (("32x128", 0), ("swapab_128x8", 1))
        for m, n, k in ((64, 256, 512), (20, 128, 384))
    ),
)
def gemm_cute_fp8(run, swap, m, n, k):
    """E4M3, f32 scales of 1 x 128 and 128 x 128 blocks, contiguous along m and n."""
    (a, x), (b, y) = fp8(run, m, k), fp8(run, n, k)
    sfa, sfb = (
        run.rng.uniform(0.5, 2, (m, k // 128)).astype(F32),
        run.rng.uniform(0.5, 2, (n // 128, k // 128)).astype(F32),
    )
    put, d = run.dev.put, run.dev.empty((m, n), U16, "d")
    host = Host(run.dev, "cute_fp8")
    host.call(
        swap,
        put(a),
        put(b),
        put(np.ascontiguousarray(sfa.T)),
        put(np.ascontiguousarray(sfb.T)),
        d,
        m,
        n,
        k,
        4,
        result=None,
    )
    want, size = blocked(x, sfa.astype(np.float64), y, np.repeat(sfb, 128, 0).astype(np.float64), 128)
    judge_product(run, bf16(d.read()), want, size)


def packed_scales(codes):
    """UE8M0 scales (rows, blocks of k): words of four blocks, contiguous along rows, whose number is a multiple of 4."""
    rows, width = -(-codes.shape[0] // 4) * 4, -(-codes.shape[1] // 4) * 4
    full = np.zeros((rows, width), U8)
    full[: codes.shape[0], : codes.shape[1]] = codes
    return np.ascontiguousarray(full.view(I32).T)


MXFP8_FORMS = (("g32_64x128", 0, 32), ("g128_32x128", 1, 128), ("g128_swapab_128x8", 2, 128))


@case(
    "C",
    *(
        (f"{name}-{m}x{n}x{k}", {"which": which, "block": block, "m": m, "n": n, "k": k})
        for name, which, block in MXFP8_FORMS
        for m, n, k in ((64, 256, 1024), (20, 128, 384))
    ),
)
def gemm_cute_mxfp8(run, which, block, m, n, k):
    """E4M3 with a UE8M0 scale for 32 or 128 of k."""
    (a, x), (b, y) = fp8(run, m, k), fp8(run, n, k)
    sfa, sfb = (run.rng.integers(124, 131, (rows, k // block)).astype(U8) for rows in (m, n))
    put, d = run.dev.put, run.dev.empty((m, n), U16, "d")
    host = Host(run.dev, "cute_mxfp8")
    scales = put(packed_scales(sfa)), put(packed_scales(sfb))
    host.call(which, put(a), put(b), *scales, d, m, n, k, 4, result=None)
    judge_product(run, bf16(d.read()), *blocked(x, ue8m0(sfa), y, ue8m0(sfb), block))


@case(
    "C",
    *(
        (
            f"{kind}-{m}x{n}x{k}",
            {"stream_k": int("streamk" in kind), "swap": int("swap" in kind), "m": m, "n": n, "k": k},
        )
        for kind in ("plain", "swap", "streamk", "streamk_swap")
        for m, n, k in ((130, 192, 512), (20, 128, 256))
    ),
)
def gemm_fp4(run, stream_k, swap, m, n, k):
    """E2M1 with a UE4M3 scale for 16 of k, and one factor."""
    a, b = (run.rng.integers(0, 16, (rows, k)).astype(U8) for rows in (m, n))
    sfa, sfb = (run.rng.integers(0x30, 0x44, (rows, k // 16)).astype(U8) for rows in (m, n))
    put, d, work = run.dev.put, run.dev.empty((m, n), U16, "d"), run.dev.put(np.zeros(1 << 20, U8), "work")
    alpha = np.array([0.375], F32)
    host = Host(run.dev, "fp4")
    operands = put(pack4(a)), put(pack4(b)), put(tiled_scales(sfa)), put(tiled_scales(sfb)), put(alpha)
    host.call(stream_k, swap, d, *operands, m, n, k, work, SIZE(1 << 20), result=SIZE)
    want, size = blocked(E2M1[a], E4M3[sfa], E2M1[b], E4M3[sfb], 16)
    judge_product(run, bf16(d.read()), want * float(alpha[0]), size * float(alpha[0]))


@case(
    "C",
    *(
        (f"{kind}-{m}x{n}x{k}", {"swap": int(kind == "swap"), "m": m, "n": n, "k": k})
        for kind in ("plain", "swap")
        for m, n, k in ((130, 192, 512), (20, 128, 256))
    ),
)
def gemm_mxfp8(run, swap, m, n, k):
    """E4M3 with a UE8M0 scale for 32 of k."""
    (a, x), (b, y) = fp8(run, m, k), fp8(run, n, k)
    sfa, sfb = (run.rng.integers(124, 131, (rows, k // 32)).astype(U8) for rows in (m, n))
    put, d, work = run.dev.put, run.dev.empty((m, n), U16, "d"), run.dev.put(np.zeros(1 << 20, U8), "work")
    operands = put(a), put(b), put(tiled_scales(sfa)), put(tiled_scales(sfb))
    Host(run.dev, "mxfp8").call(swap, d, *operands, m, n, k, work, SIZE(1 << 20), result=SIZE)
    judge_product(run, bf16(d.read()), *blocked(x, ue8m0(sfa), y, ue8m0(sfb), 32))
