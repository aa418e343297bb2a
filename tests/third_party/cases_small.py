"""Section A, first part: routing, the layout probe, merges, the router, quantisation and packing of caches."""

import numpy as np
from emulator import blob
from formats import E2M1, E4M3, bf16, half_ulp, pack4, to_bf16, to_e2m1, to_e4m3, unpack4
from harness import case

F32, I32, I64, U64, U32, U8, U16 = np.float32, np.int32, np.int64, np.uint64, np.uint32, np.uint8, np.uint16
TYPES = {"bf16": "__nv_bfloat16", "f16": "__half"}
APPROX = 2.0**-20  # a few operations in f32, .approx among them


def half_input(run, kind, *shape, scale=1.0):
    """Codes of random 16-bit floats and their values."""
    values = run.normal(*shape, scale=scale)
    if kind == "bf16":
        codes = to_bf16(values)
        return codes, bf16(codes)
    half = values.astype(np.float16)
    return half.view(U16), half.astype(np.float64)


@case("A", ("plain", {"pdl": False}), ("pdl", {"pdl": True}), ("shared", {"pdl": True, "shared": 1}))
def hash_topk(run, pdl, shared=0):
    tokens, experts, k, vocab = 11, 256, 6, 40
    logits = run.normal(tokens, experts, scale=4.0)
    ids = run.rng.integers(0, vocab, tokens).astype(I64)
    table = np.stack([run.rng.permutation(experts)[:k] for _ in range(vocab)]).astype(I32)
    scale = F32(2.5)
    out_ids, weights = run.dev.empty((tokens, k + shared), I32), run.dev.empty((tokens, k + shared), F32)
    params = blob(
        run.dev.put(logits),
        run.dev.put(ids),
        run.dev.put(table),
        out_ids,
        weights,
        U32(tokens),
        U32(k),
        U32(experts),
        U32(shared),
        scale,
    )
    run.dev.launch(
        "hash_topk", f"moe_hash_topk_fused<{'true' if pdl else 'false'}>", -(-tokens // 4), 128, [params]
    )
    chosen = table[ids]
    picked = np.take_along_axis(logits.astype(np.float64), chosen, 1)
    weight = np.sqrt(np.logaddexp(0, picked))
    weight /= weight.sum(1, keepdims=True)
    if shared:
        chosen = np.concatenate([chosen, np.full((tokens, 1), experts)], 1)
        weight = np.concatenate([weight, np.full((tokens, 1), 1 / float(scale))], 1)
    run.exact("experts", out_ids.read(), chosen)
    run.close("weights", weights.read(), weight, 4e-6 * weight, "2^-18 relative")


@case("A", ("row-major", {"trans": False}), ("candidate-major", {"trans": True}))
def layout_probe(run, trans):
    n = 8 if trans else 32
    a, b = run.rng.integers(0, 16, (16, 64)), run.rng.integers(0, 16, (n, 64))
    sfa, sfb = run.rng.integers(0x20, 0x50, (16, 4)), run.rng.integers(0x20, 0x50, (n, 4))
    out, rounds = run.dev.empty((16, n), F32), 3
    packed_b = pack4(b.T) if trans else pack4(b)
    kernel = "NVFP4M16N8K64CandidateMajorKernel" if trans else "NVFP4M16N32K64Kernel"
    run.dev.launch(
        "layout_probe",
        kernel,
        1,
        32,
        [
            run.dev.put(pack4(a)),
            run.dev.put(packed_b),
            run.dev.put(sfa.astype(U8)),
            run.dev.put(sfb.astype(U8)),
            out,
            I32(rounds),
        ],
    )
    x = E2M1[a] * np.repeat(E4M3[sfa], 16, 1)
    y = E2M1[b] * np.repeat(E4M3[sfb], 16, 1)
    want = rounds * x @ y.T
    # Each of the MMAs cuts at most 2^-23 of the largest term or of the sum.
    bound = rounds * 2.0**-23 * (rounds * np.abs(x) @ np.abs(y).T)
    run.close("d", out.read(), want, bound, "3 x 2^-23 of the sum of magnitudes")


def split_data(run, tokens, heads, splits, empty):
    """Partial outputs and their logarithmic weights (base 2); some splits, and all of one head, are empty."""
    mid, values = half_input(run, "bf16", tokens, heads, splits, 512)
    lse = run.normal(tokens, heads, splits, scale=3.0)
    lse[run.rng.random(lse.shape) < 0.2] = empty
    lse[0, 0] = empty
    return mid, values, lse


def merged(values, lse, sink):
    """Softmax over splits, and the sink; empty splits have no weight."""
    valid = lse > -1e29
    top = np.where(valid, lse, -np.inf).max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    weight = np.where(valid, np.exp2(np.where(valid, lse, 0.0) - top), 0.0)
    total = weight.sum(-1, keepdims=True)
    if sink is not None:
        total = total + np.exp2(sink[None, :, None] * np.log2(np.e) - top)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, weight / total, 0.0)
        out_lse = np.where(total > 0, np.log2(total) + top, -np.inf)[..., 0]
    magnitude = (share[..., None] * np.abs(values)).sum(2)
    return (share[..., None] * values).sum(2), magnitude, out_lse


def judge_merge(run, out, out_lse, values, lse, sink, scale):
    want, magnitude, want_lse = merged(values, lse.astype(np.float64), sink)
    run.close(
        "out", bf16(out.read()), want, half_ulp(want, "bf16") + 6e-6 * magnitude, "half a bf16 ulp + 2^-18"
    )
    run.close(
        "lse", out_lse.read(), want_lse * float(scale), 1e-6 * np.maximum(1, np.abs(want_lse)) * 4, "4e-6"
    )


@case(
    "A",
    *(
        (f"h{heads}{'-sink' if sink else ''}", {"heads": heads, "sink": sink})
        for heads in (8, 16, 32, 64, 128)
        for sink in (False, True)
    ),
)
def nvfp4_merge2(run, heads, sink):
    tokens, scale = 3, F32(np.log(2))
    mid, values, lse = split_data(run, tokens, heads, 2, F32(-1e30))
    sinks = run.normal(heads) if sink else None
    out, out_lse = run.dev.empty((tokens, heads, 512), U16), run.dev.empty((tokens, heads), F32)
    run.dev.launch(
        "dsv4_nvfp4_dispatch",
        rf"merge2_kernel<{heads}>",
        (tokens, -(-heads // 16)),
        512,
        [
            run.dev.put(mid),
            run.dev.put(lse),
            out,
            out_lse,
            run.dev.put(sinks) if sink else None,
            I32(tokens),
            scale,
        ],
    )
    judge_merge(run, out, out_lse, values, lse, sinks, scale)


@case(
    "A",
    *(
        (f"h{heads}{'-sink' if sink else ''}", {"heads": heads, "sink": sink, "rows": rows})
        for heads, sink, rows in (
            (8, False, 8),
            (8, True, 8),
            (16, True, 16),
            (32, False, 32),
            (64, True, 64),
            (128, False, 128),
            (0, True, 24),
        )
    ),
)
def dec_merge(run, heads, sink, rows):
    tokens, splits, scale = 2, 5, F32(1)
    mid, values, lse = split_data(run, tokens, rows, splits, F32(-1e30))
    sinks = run.normal(rows) if sink else None
    out, out_lse = run.dev.empty((tokens, rows, 512), U16), run.dev.empty((tokens, rows), F32)
    run.dev.launch(
        "decode_dispatch",
        rf"merge_kernel<{heads}, 512, 64, 8>",
        (tokens, rows),
        64,
        [
            run.dev.put(mid),
            run.dev.put(lse),
            out,
            out_lse,
            run.dev.put(sinks) if sink else None,
            I32(tokens),
            I32(splits),
            I32(rows),
            I32(rows),
            U64(rows),
            scale,
        ],
        smem=4 * splits,
    )
    judge_merge(run, out, out_lse, values, lse, sinks, scale)


ROUTERS = [
    ("float", 256, 7168),
    ("__nv_bfloat16", 256, 7168),
    ("__nv_bfloat16", 128, 7168),
    ("float", 256, 6144),
    ("float", 384, 7168),
    ("__nv_bfloat16", 384, 7168),
    ("float", 896, 7168),
    ("__nv_bfloat16", 896, 7168),
]


@case(
    "A",
    *(
        (f"t{t}-e{e}-h{h}-{'f32' if o == 'float' else 'bf16'}", {"t": t, "e": e, "h": h, "o": o})
        for o, e, h in ROUTERS
        for t in ((1, 4, 7, 16) if (o, e) == ("float", 256) and h == 7168 else (1,))
    ),
)
def router(run, t, e, h, o):
    act, x = half_input(run, "bf16", t, h)
    weight, w = half_input(run, "bf16", e, h, scale=0.02)
    out = run.dev.empty((t, e), F32 if o == "float" else U16)
    run.dev.launch(
        "router",
        rf"router_gemm_kernel<__nv_bfloat16, {o}, 128, 8, {t}, {e}, {h}>",
        e,
        128,
        [out, run.dev.put(act), run.dev.put(weight)],
    )
    want, magnitude = x @ w.T, np.abs(x) @ np.abs(w).T
    bound = 100 * 2.0**-24 * magnitude  # chains of 56 additions a thread and the reduction
    if o == "float":
        run.close("logits", out.read(), want, bound, "100 x 2^-24 of the sum of magnitudes")
    else:
        run.close(
            "logits",
            bf16(out.read()),
            want,
            1.01 * bound + half_ulp(want, "bf16"),
            "half a bf16 ulp + the same",
        )


@case("A", *((kind, {"kind": kind}) for kind in TYPES))
def fp4_kv_quantization(run, kind):
    m, k, g = 5, 1056, F32(0.013)
    codes, x = half_input(run, kind, m, k)
    x[2, 16:32] = 0
    codes[2, 16:32] = 0
    fp4, sf = run.dev.empty((m, k // 2), U8), run.dev.empty((m, k // 16), U8)
    run.dev.launch(
        "fp4_kv_quantization",
        rf"nvfp4_quant_kernel<{TYPES[kind]}",
        m,
        128,
        [run.dev.put(codes), run.dev.put(np.array([g])), fp4, sf, I32(m), I32(k)],
    )
    judge_fp4(run, unpack4(fp4.read()), sf.read(), x.reshape(m, -1, 16), float(g))


def judge_fp4(run, codes, scales, groups, g=1.0, floor=0.0):
    """E2M1 codes and E4M3 scales of groups of 16: scale = largest magnitude / 6 (/ g), elements over scale."""
    run.codes(
        "scales",
        scales,
        np.maximum(np.abs(groups).max(-1) / 6 / g, floor),
        to_e4m3,
        APPROX,
        "nearest E4M3 of what is within 2^-20",
    )
    scale = np.repeat(E4M3[scales], 16, -1).reshape(groups.shape) * g
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(scale > 0, groups / scale, np.copysign(0.0, groups))
    run.codes(
        "elements",
        codes.reshape(groups.shape),
        scaled,
        to_e2m1,
        APPROX,
        "nearest E2M1 of what is within 2^-20",
    )


@case("A", *((kind, {"kind": kind}) for kind in TYPES))
def fp4_kv_dequantization(run, kind):
    m, k, g = 4, 2080, F32(0.37)
    codes, scales = run.rng.integers(0, 16, (m, k)), run.rng.integers(8, 0x70, (m, k // 16)).astype(U8)
    out = run.dev.empty((m, k), U16)
    run.dev.launch(
        "fp4_kv_dequantization",
        rf"nvfp4_dequant_vectorized_kernel<{TYPES[kind]}",
        m,
        128,
        [run.dev.put(pack4(codes)), run.dev.put(scales), run.dev.put(np.array([g])), out, I32(m), I32(k)],
        smem=4 + k // 16,
    )
    want = E2M1[codes] * np.repeat(E4M3[scales], 16, 1) * float(g)
    judge_half(run, "values", out.read(), want, kind)


def judge_half(run, what, got, want, kind, slack=2.0**-22):
    """16-bit floats: the rounding, and `slack` for the f32 arithmetic before it."""
    values = bf16(got) if kind == "bf16" else got.view(np.float16).astype(np.float64)
    run.close(what, values, want, half_ulp(want, kind) + slack * np.abs(want), f"half a {kind} ulp")


@case("A", *((f"{kind}-{ids}", {"kind": kind, "ids": ids}) for kind in TYPES for ids in ("int", "long")))
def fp4_kv_dequantization_paged(run, kind, ids):
    batch, longest, page, heads, dim, pages, g = 2, 9, 4, 2, 128, 7, F32(0.5)
    codes = run.rng.integers(0, 16, (pages, page, heads, dim))
    scales = run.rng.integers(8, 0x70, (pages, page, heads, dim // 16)).astype(U8)
    tables = run.rng.permutation(pages)[: batch * 3].reshape(batch, 3)
    lengths = np.array([9, 5], I32)
    start = np.full((batch, longest, heads, dim), 0x5555, U16)
    out = run.dev.put(start)
    run.dev.launch(
        "fp4_kv_dequantization",
        rf"nvfp4_paged_dequant_kernel<{TYPES[kind]}, {ids}>",
        batch * longest * heads,
        min(dim // 2, 128),
        [
            run.dev.put(pack4(codes)),
            run.dev.put(scales),
            run.dev.put(tables.astype(I32 if ids == "int" else I64)),
            run.dev.put(lengths),
            run.dev.put(np.array([g])),
            out,
            *(I32(v) for v in (batch, longest, 3, pages, page, heads, dim)),
            *(
                I64(v)
                for v in (
                    page * heads * dim // 2,
                    heads * dim // 2,
                    dim // 2,
                    page * heads * dim // 16,
                    heads * dim // 16,
                    dim // 16,
                )
            ),
        ],
    )
    values = E2M1[codes] * np.repeat(E4M3[scales], 16, -1) * float(g)
    got = out.read()
    for b in range(batch):
        for t in range(longest):
            if t < lengths[b]:
                judge_half(run, "values", got[b, t], values[tables[b, t // page], t % page], kind)
            else:
                run.exact("rows beyond the length", got[b, t], start[b, t])


@case("A", ("h12", {"static": 12, "heads": 12}), ("h5", {"static": 0, "heads": 5}))
def mla_kv_pack_fp8(run, static, heads):
    tokens = 11
    kv, x = half_input(run, "bf16", tokens, heads, 256, scale=60.0)
    pe, y = half_input(run, "bf16", tokens, 64, scale=3.0)
    kv[0, 0, :4], x[0, 0, :4] = [0x7F80, 0xFF80, 0x7FC0, 0x4480], [448, -448, np.nan, 448]
    key, value = run.dev.empty((tokens, heads, 192), U8), run.dev.empty((tokens, heads, 128), U8)
    run.dev.launch(
        "mla_kv_pack_fp8",
        rf"MLAKVPackFP8Kernel<{static}>",
        -(-tokens // 8),
        256,
        [run.dev.put(kv), run.dev.put(pe), key, value, I64(tokens), I32(heads)],
    )
    code = np.where(np.isnan(x), 0x7F, to_e4m3(np.nan_to_num(x)))
    run.exact(
        "key", key.read(), np.concatenate([code[..., :128], np.repeat(to_e4m3(y)[:, None], heads, 1)], -1)
    )
    run.exact("value", value.read(), code[..., 128:])


@case(
    "A",
    *(
        (name, {"kind": kind, "size": size})
        for name, kind, size in (
            ("f16", "__half", 2),
            ("bf16", "__nv_bfloat16", 2),
            ("e4m3", "__nv_fp8_e4m3", 1),
            ("e5m2", "__nv_fp8_e5m2", 1),
        )
    ),
)
def concat_mla(run, kind, size):
    tokens, dtype = 3, (U8 if size == 1 else U16)
    nope = run.rng.integers(0, 1 << 8 * size, (tokens, 128, 128)).astype(dtype)
    rope = run.rng.integers(0, 1 << 8 * size, (tokens, 64)).astype(dtype)
    k = run.dev.empty((tokens, 128, 192), dtype)
    run.dev.launch(
        "concat_mla",
        rf"ConcatMLAKKernel<{kind}>",
        -(-tokens * 8 // 8),
        256,
        [
            k,
            run.dev.put(nope),
            run.dev.put(rope),
            I32(tokens),
            I64(128 * 192),
            I32(192),
            I64(128 * 128),
            I32(128),
            I64(64),
        ],
    )
    run.exact("k", k.read(), np.concatenate([nope, np.repeat(rope[:, None], 128, 1)], -1))
