"""Section C: a video model's fused projections: norm and quantisation, and the GEMM with its activation behind it."""

import deepwell
import numpy as np
from cases_gemm import blocked, fp8, tiled_scales
from cases_small import F32, I32, U8, U16, half_input
from formats import E2M1, E4M3, bf16, half_ulp, pack4, unpack4
from harness import case

HIDDEN, FFN = 5376, 14336
NAME = "h3_{}_sm120a::kernel"


def byte_map(run, buffer, inner, rows, box_inner, box_rows, swizzle="NONE"):
    """A matrix of bytes, loaded in boxes."""
    spec = {
        "globalDim": (inner, rows),
        "globalStrides": (inner,),
        "boxDim": (box_inner, box_rows),
        "swizzle": swizzle,
    }
    return deepwell.Struct(128, {0: run.dev.machine.tensor_map(buffer.at(0), tensorDataType="UINT8", **spec)})


def modulated(run, m):
    """Operands of the norm, the values that it quantises, and what three roundings to bf16 may change in them."""
    x, values = half_input(run, "bf16", m, HIDDEN)
    w, weight = half_input(run, "bf16", HIDDEN)
    (s, scale), (t, shift) = half_input(run, "bf16", 9, HIDDEN, scale=0.3), half_input(run, "bf16", 9, HIDDEN)
    index = run.rng.integers(0, 9, m).astype(I32)
    index[1], index[m - 1] = 9, -1  # rows outside of the tables are zero
    normed = values / np.sqrt((values**2).mean(1, keepdims=True) + 1e-5) * weight
    inside = (index >= 0) & (index < 9)
    row = np.where(inside, index, 0)
    product = normed * (1 + scale[row])
    want = np.where(inside[:, None], product + shift[row], 0)
    # n, 1 + scale, their product and the sum are rounded, each by at most 2^-8.
    slack = np.where(inside[:, None], 3.1 * 2.0**-8 * np.abs(product) + 1.1 * 2.0**-8 * np.abs(want), 0)
    put = run.dev.put
    return [put(x), put(w), put(s), put(t), put(index)], want, slack


@case("C", ("fc1", {"unit": "h3_fc1"}), ("pre_attention", {"unit": "h3_pre_attention"}))
def h3_norm_quant_fp8(run, unit, m=9):
    args, want, slack = modulated(run, m)
    q, scale = run.dev.empty((m, HIDDEN), U8, "q"), run.dev.empty(m, F32, "scale")
    run.dev.launch(
        unit, NAME.format("norm_adaln_quant_fp8"), 4, 128, [*args, q, scale, I32(m), F32(1e-5)], 128
    )
    got, s = E4M3[q.read()], scale.read().astype(np.float64)
    top = np.abs(want).max(1)
    run.close(
        "scales",
        s,
        np.where(top > 0, top / 448, s),
        (top / 448 + 1e-30) * 2.0**-7,
        "2^-7 relative: roundings to bf16",
    )
    step = np.maximum(2.0**-4 * np.abs(want) * (1 + 2.0**-6), 2.0**-10 * s[:, None]) + 1e-30
    run.close("values", got * s[:, None], want, slack + step, "four roundings to bf16, half an ulp of E4M3")


@case("C", ("fc1", {"unit": "h3_fc1"}), ("pre_attention", {"unit": "h3_pre_attention"}))
def h3_norm_quant_nvfp4(run, unit, m=9, g=97.0):
    args, want, slack = modulated(run, m)
    q, sf = run.dev.empty((m, HIDDEN // 2), U8, "q"), run.dev.empty((m, HIDDEN // 16), U8, "sf")
    params = [*args, q, sf, run.dev.put(np.array([g], F32)), I32(m), F32(1e-5)]
    run.dev.launch(unit, NAME.format("norm_adaln_quant_nvfp4"), 4, 128, params, 128)
    s = E4M3[sf.read()]
    top = np.abs(want).reshape(m, -1, 16).max(-1)
    ideal = g * top / 6
    run.close(
        "scales",
        s,
        ideal,
        np.maximum(ideal * (2.0**-4 + 2.0**-6), 2.0**-10),
        "half an ulp of E4M3, roundings to bf16",
    )
    values = E2M1[unpack4(q.read())] * np.repeat(s, 16, 1) / g
    # Half of the largest distance between codes, two below six; more where the scale was rounded down and a value is cut to six.
    step = np.repeat(s, 16, 1) / g + np.maximum(np.abs(want) - 6 * np.repeat(s, 16, 1) / g, 0)
    run.close("values", values, want, slack + np.minimum(step, np.abs(want) * 0.34 + 0.26 * np.repeat(s, 16, 1) / g) + 1e-30,
              "four roundings to bf16, half a step of E2M1")  # fmt: skip


def swiglu(run, got, h, spread):
    """got against silu(gate) up for h (rows, gate and up by turns of 8), each known to within spread."""
    pairs, near = h.reshape(len(h), -1, 2, 8), (half_ulp(h, "bf16") + spread).reshape(len(h), -1, 2, 8)
    gate, up = pairs[:, :, 0].reshape(len(h), -1), pairs[:, :, 1].reshape(len(h), -1)
    near_gate, near_up = near[:, :, 0].reshape(len(h), -1), near[:, :, 1].reshape(len(h), -1)
    silu = gate / (1 + np.exp(-gate))
    silu_near = 1.1 * near_gate + 1.01 * half_ulp(silu, "bf16") + 2.0**-20 * np.abs(silu)
    want = silu * up
    bound = silu_near * (np.abs(up) + near_up) + np.abs(silu) * near_up + 1.01 * half_ulp(want, "bf16")
    run.close(
        "out",
        got,
        want,
        bound,
        "roundings to bf16 of gate, up, silu and result, 2^-18 of the sum of magnitudes",
    )


def fc1(run, form, m, tiles, maps, scales, alpha, shared):
    """Launches the GEMM for the first tiles of 128 columns; returns these columns."""
    out = run.dev.empty((m, FFN), U16, "out")
    rows = -(-m // 128)
    params = [*maps, *scales, out, I32(m), I32(rows), I32(rows * tiles), F32(alpha)]
    run.dev.launch(
        "h3_fc1", NAME.format(f"fc1_swiglu_gemm_{form}"), min(4, rows * tiles), 256, params, shared
    )
    return bf16(out.read()[:, : 128 * tiles])


@case("C", ("100", {"m": 100, "tiles": 2}), ("130", {"m": 130, "tiles": 1}))
def h3_fc1_fp8(run, m, tiles):
    """E4M3 with a scale a row and a column; gate and up by turns of 8 columns."""
    (a, x), (b, y) = fp8(run, m, HIDDEN), fp8(run, 256 * tiles, HIDDEN)
    row, column = (
        run.rng.uniform(0.5, 2, m).astype(F32) / 5000,
        run.rng.uniform(0.5, 2, len(b)).astype(F32) / 16,
    )
    a, b = run.dev.put(a), run.dev.put(b)
    maps = byte_map(run, a, HIDDEN, m, 64, 128, "64B"), byte_map(run, b, HIDDEN, 256 * tiles, 64, 256, "64B")
    got = fc1(
        run,
        "fp8",
        m,
        tiles,
        (*maps, bytes(128), bytes(128)),
        (run.dev.put(row), run.dev.put(column)),
        1,
        99328,
    )
    scale = row.astype(np.float64)[:, None] * column
    swiglu(run, got, x @ y.T * scale, np.abs(x) @ np.abs(y).T * scale * 2.0**-18)


@case("C", ("100", {"m": 100, "tiles": 2}), ("130", {"m": 130, "tiles": 1}))
def h3_fc1_nvfp4(run, m, tiles):
    """E2M1 with a UE4M3 scale for 16 of k: of rows in rows, of columns in tiles."""
    a, b = (run.rng.integers(0, 16, (rows, HIDDEN)).astype(U8) for rows in (m, 256 * tiles))
    sfa, sfb = (run.rng.integers(0x30, 0x44, (rows, HIDDEN // 16)).astype(U8) for rows in (m, 256 * tiles))
    put, alpha, packed = run.dev.put, F32(1 / 700), HIDDEN // 2
    da, db, dsfa, dsfb = put(pack4(a)), put(pack4(b)), put(sfa), put(tiled_scales(sfb))
    maps = (
        byte_map(run, da, packed, m, 64, 128, "64B"),
        byte_map(run, db, packed, 256 * tiles, 64, 256, "64B"),
        byte_map(run, dsfa, HIDDEN // 16, m, 16, 128),
        byte_map(run, dsfb, 256, 2 * tiles * 168, 256, 4),
    )
    got = fc1(run, "nvfp4", m, tiles, maps, (None, None), alpha, 84992)
    want, size = blocked(E2M1[a], E4M3[sfa], E2M1[b], E4M3[sfb], 16)
    swiglu(run, got, want * float(alpha), size * float(alpha) * 2.0**-18)


ATTN = 7168


def gated(run, got, o, near, gate, index, residual):
    """got against residual + gate[index] o, o (rows, columns) known to within near before it is rounded."""
    near = near + half_ulp(o, "bf16")
    inside = ((index >= 0) & (index < 9))[:, None]
    factor = np.where(inside, gate[np.where(inside[:, 0], index, 0)], 0)
    product = factor * o
    want = residual + product
    bound = np.abs(factor) * near + 1.01 * half_ulp(product, "bf16") + 1.01 * half_ulp(want, "bf16")
    text = "roundings to bf16 of projection, gated projection and sum, 2^-18 of the sum of magnitudes"
    run.close("out", got, want, bound, text)


@case("C", *((f"{form}-{m}", {"form": form, "m": m}) for form in ("fp8", "nvfp4") for m in (5, 40)))
def h3_out_proj(run, form, m, tiles=1):
    """Quantises its rows, multiplies and adds to the residual, in one launch: CTAs wait for the rows that others quantise."""
    nv, packed = form == "nvfp4", ATTN // 2 if form == "nvfp4" else ATTN
    x, _ = half_input(run, "bf16", m, ATTN)
    (gate, gate_values), columns = half_input(run, "bf16", 9, 5376), 128 * tiles
    residual, residual_values = half_input(run, "bf16", m, 5376)
    index = run.rng.integers(0, 9, m).astype(I32)
    index[2] = 9
    put, empty = run.dev.put, run.dev.empty
    b = run.rng.integers(0, 16, (columns, ATTN)).astype(U8) if nv else fp8(run, columns, ATTN)[0]
    db, q, out = put(pack4(b) if nv else b), empty((m, packed), U8, "q"), empty((m, 5376), U16, "out")
    maps = [byte_map(run, q, packed, m, 64, 256, "64B"), byte_map(run, db, packed, columns, 64, 128, "64B")]
    alpha, g = F32(1 / 3000 if nv else 1), np.full(1, 150 if nv else 1, F32)
    if nv:
        sfb = run.rng.integers(0x30, 0x44, (columns, ATTN // 16)).astype(U8)
        sf, dsfb, column = empty((m, ATTN // 16), U8, "sf"), put(tiled_scales(sfb)), put(np.ones(16, F32))
        row = put(np.ones(16, F32))
        maps += [byte_map(run, sf, ATTN // 16, m, 16, 256), byte_map(run, dsfb, 256, 224 * tiles, 256, 4)]
    else:
        factors = run.rng.uniform(0.5, 2, columns).astype(F32) / 300
        sf, row, column = None, empty(m, F32, "row"), put(factors)
        maps += [bytes(128), bytes(128)]
    params = [
        *maps,
        put(x),
        q,
        sf,
        row,
        put(g),
        column,
        put(gate),
        put(index),
        put(residual),
        out,
        put(np.zeros(1, np.uint32)),
    ]
    params += [I32(m), I32(1), I32(tiles), alpha]
    run.dev.launch("h3_out_proj", f"h3_out_proj_gemm_{form}_sm120a", max(1, tiles), 384, params, 94208)
    got = bf16(out.read()[:, :columns])
    # The projection is judged from the rows as they were quantised, these from what they stand for.
    if nv:
        rows, scales = E2M1[unpack4(q.read())], E4M3[sf.read()]
        want, size = blocked(rows, scales, E2M1[b], E4M3[sfb], 16)
        want, size, back = (
            want * float(alpha),
            size * float(alpha),
            rows * np.repeat(scales, 16, 1) / float(g[0]),
        )
        step = 0.26 * np.repeat(scales, 16, 1) / float(g[0]) + 0.34 * np.abs(bf16(x))
    else:
        scales = row.read().astype(np.float64)[:, None]
        rows = E4M3[q.read()]
        want, size = ((f(rows) @ f(E4M3[b]).T) * scales * factors for f in (np.asarray, np.abs))
        back, step = rows * scales, np.maximum(2.0**-4 * np.abs(bf16(x)) * 1.001, 2.0**-10 * scales)
    run.close(
        "rows", back, bf16(x), step, "half a step of E2M1, and its scale's" if nv else "half an ulp of E4M3"
    )
    gated(run, got, want, size * 2.0**-18, gate_values[:, :columns], index, residual_values[:, :columns])


@case(
    "C",
    *((f"{form}-{out}", {"form": form, "out": out}) for form in ("fp8", "nvfp4") for out in ("bf16", "e4m3")),
)
def h3_pre_attention(run, form, out, m=70):
    """Q, K and V of one head: product, norm of Q and K, rotation of their first 96 channels."""
    nv, packed = form == "nvfp4", HIDDEN // 2 if form == "nvfp4" else HIDDEN
    put, empty, heads = run.dev.put, run.dev.empty, 56
    if nv:
        a, b = (run.rng.integers(0, 16, (rows, HIDDEN)).astype(U8) for rows in (m, 384))
        sfa, sfb = (run.rng.integers(0x30, 0x44, (rows, HIDDEN // 16)).astype(U8) for rows in (m, 384))
        alpha, da, db, dsfa, dsfb = (
            F32(1 / 700),
            put(pack4(a)),
            put(pack4(b)),
            put(sfa),
            put(tiled_scales(sfb)),
        )
        y, size = blocked(E2M1[a], E4M3[sfa], E2M1[b], E4M3[sfb], 16)
        y, size, scales = y * float(alpha), size * float(alpha), (None, None)
        maps = [byte_map(run, dsfa, HIDDEN // 16, m, 16, 128), byte_map(run, dsfb, 256, 3 * 168, 256, 8)]
    else:
        (a, x), (b, w) = fp8(run, m, HIDDEN), fp8(run, 384, HIDDEN)
        row, column = (
            run.rng.uniform(0.5, 2, m).astype(F32) / 5000,
            run.rng.uniform(0.5, 2, 384).astype(F32) / 16,
        )
        scale, alpha, da, db, maps = (
            row.astype(np.float64)[:, None] * column,
            F32(1),
            put(a),
            put(b),
            [bytes(128)] * 2,
        )
        y, size, scales = x @ w.T * scale, np.abs(x) @ np.abs(w).T * scale, (put(row), put(column))
    maps = [
        byte_map(run, da, packed, m, 128, 128, "128B"),
        byte_map(run, db, packed, 384, 128, 128, "128B"),
        *maps,
    ]
    (qw, q_weight), (kw, k_weight), (cs, angle) = (
        half_input(run, "bf16", *shape) for shape in ((128,), (128,), (m, 96))
    )
    kind = U16 if out == "bf16" else U8
    results = [empty((m, heads, 128), kind, name) for name in "qkv"]
    factors = [F32(f) for f in (1.0, 1.0, 1.0)] if out == "bf16" else [F32(f) for f in (20.0, 30.0, 2.0)]
    params = [
        *maps,
        *scales,
        put(qw),
        put(kw),
        put(cs),
        *results,
        None,
        None,
        None,
        I32(m),
        I32(1),
        I32(3),
        F32(1e-5),
        alpha,
    ]
    params += [*factors, F32(1), F32(1), F32(1)]
    run.dev.launch("h3_pre_attention", f"h3_qkv_gemm_{form}_{out}_sm120a", 3, 288, params, 91648)
    near = half_ulp(y, "bf16") + size * 2.0**-18
    for at, (result, weight) in enumerate(zip(results, (q_weight, k_weight, None))):
        part = slice(128 * at, 128 * at + 128)
        want, bound = y[:, part], near[:, part]
        if weight is not None:
            norm = np.sqrt((want**2).mean(1, keepdims=True) + 1e-5)
            relative = np.sqrt((bound**2).mean(1, keepdims=True)) / norm
            want = want / norm * weight
            bound = bound / norm * np.abs(weight) + np.abs(want) * relative + 1.1 * half_ulp(want, "bf16")
            want, bound = rotated(want, bound, angle)
        got = result.read()[:, 0]
        if out == "bf16":
            run.close(
                "qkv"[at],
                bf16(got),
                want,
                bound + 1.1 * half_ulp(want, "bf16"),
                "roundings to bf16 of each step",
            )
        else:
            want, bound = want * float(factors[at]), bound * float(factors[at]) * 1.01
            want = np.clip(want, -448, 448)
            step = np.maximum(2.0**-4 * np.abs(want), 2.0**-10)
            run.close(
                "qkv"[at],
                E4M3[got],
                want,
                bound + step + 1.1 * half_ulp(want, "bf16"),
                "the same, and half an ulp of E4M3",
            )


def rotated(want, bound, angle):
    """The first 96 channels, in halves of 48, turned by angle = [cosines, sines]."""
    c, s = angle[:, :48], angle[:, 48:]
    x, y, dx, dy = want[:, :48], want[:, 48:96], bound[:, :48], bound[:, 48:96]
    first, second = x * c - y * s, y * c + x * s
    # Products and sums may be rounded to bf16, or not.
    more = 2.0**-8 * (np.abs(x * c) + np.abs(y * s)), 2.0**-8 * (np.abs(y * c) + np.abs(x * s))
    near = dx * np.abs(c) + dy * np.abs(s) + more[0], dy * np.abs(c) + dx * np.abs(s) + more[1]
    return np.concatenate([first, second, want[:, 96:]], 1), np.concatenate([*near, bound[:, 96:]], 1)
