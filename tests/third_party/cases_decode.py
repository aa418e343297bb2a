"""Section B: decode over sparse latent caches in FP8, with splits that a second kernel merges."""

import numpy as np
from attention import (
    BF16_WEIGHTS,
    DOTS3,
    DSV32,
    DSV4,
    DSV41,
    DSV41_FP4,
    FP8_WEIGHTS,
    GLM53,
    GLM_NSA,
    Cache,
    fp8_query,
    judge,
    pick,
    to_fp8_rows,
)
from cases_page import divider
from cases_small import F32, I32, U16, U64, half_input
from emulator import blob
from formats import bf16
from harness import case
from ptx import FENCE, WARP_SYNC

FIXES = (FENCE, WARP_SYNC)
SCALE = F32(1 / np.sqrt(512))


def merge(run, unit, heads, template, mid, lse, tokens, splits, mid_heads, value, sink):
    """The second kernel: partial results to outputs."""
    out, out_lse = run.dev.empty((tokens, heads, value), U16), run.dev.empty((tokens, heads), F32)
    run.dev.launch(
        unit,
        rf"merge_kernel<{template}, {value}, 64, {value // 64}>",
        (tokens, heads),
        64,
        [
            mid,
            lse,
            out,
            out_lse,
            None if sink is None else run.dev.put(sink),
            I32(tokens),
            I32(splits),
            I32(heads),
            I32(mid_heads),
            U64(heads),
            F32(1),
        ],
        smem=4 * splits,
    )
    return bf16(out.read()), out_lse.read()


def selected(cache, rows, lengths, convert=None):
    def of(token):
        chosen = [int(r) for r in rows[token, : lengths[token]] if r >= 0]
        parts = cache.keys[chosen], cache.values[chosen]
        return tuple(convert(p) for p in parts) if convert and chosen else parts

    return of


def run_decode(
    run,
    unit,
    kernel,
    template,
    heads,
    main,
    threads,
    smem,
    error,
    extra=None,
    page=64,
    topk=128,
    fp8=True,
    sink=False,
    patches=FIXES,
    convert=None,
):
    tokens, splits, per_block = 3, 4, 1
    cache = Cache(run, main, 4, page)
    other = Cache(run, extra, 5, 16, "extra") if extra else None
    codes, q = half_input(run, "bf16", tokens, heads, main.width)
    lengths = np.array([topk, 77, 1], I32)
    rows = pick(run, cache, tokens, topk, lengths)
    if main is DOTS3:
        lengths_used = np.minimum(lengths, 513)  # its window
    else:
        lengths_used = lengths
    extra_topk = 64 if extra else 0
    more_lengths = np.array([64, 20, 0], I32)
    more = pick(run, other, tokens, extra_topk, more_lengths) if extra else None
    mid_heads = heads if template else -(-heads // 16) * 16
    if main is DOTS3:
        per_block = 5
    mid, lse = (
        run.dev.empty((tokens, mid_heads, splits, main.value), U16, "mid"),
        run.dev.empty((tokens, mid_heads, splits), F32, "mid_lse"),
    )
    sinks = run.normal(heads) if sink else None
    put = run.dev.put
    pages = (
        blob(*divider(page), *divider(16))
        if main is DSV4
        else packed(divider(page))
        if main is DOTS3
        else I32(page)
    )
    run.dev.launch(
        unit,
        kernel,
        (tokens, -(-heads // 16), splits),
        threads,
        [
            put(codes),
            cache.buffer,
            put(rows),
            mid,
            lse,
            put(lengths),
            *([other.buffer, put(more), put(more_lengths)] if extra else [None] * 3),
            I32(extra_topk),
            I32(16),
            U64(other.stride if extra else 0),
            I32(tokens),
            I32(heads),
            I32(topk),
            I32(splits),
            I32(per_block),
            SCALE,
            U64(cache.stride),
            U64(topk),
            U64(extra_topk),
            pages,
        ],
        smem=smem,
        patches=patches,
    )
    out, out_lse = merge(run, unit, heads, template, mid, lse, tokens, splits, mid_heads, main.value, sinks)
    first = selected(cache, rows, lengths_used)
    second = selected(other, more, more_lengths, convert) if extra else None
    judge(
        run,
        fp8_query(q, main) if fp8 else q,
        lambda t: [first(t)] + ([second(t)] if extra else []),
        float(SCALE),
        sinks,
        error,
        out,
        out_lse,
    )


def packed(parts):
    return b"".join(part.tobytes() for part in parts)


HEADS = ((8, 8), (16, 16), (32, 32), (64, 64), (128, 128), (0, 24))


@case(
    "B",
    *(
        (f"h{template}{'-fp4' if fp4 else ''}", {"template": template, "heads": heads, "fp4": fp4})
        for template, heads in HEADS
        for fp4 in (False, True)
    ),
)
def dec_dsv41_bf16(run, template, heads, fp4):
    run_decode(
        run,
        "decode_dispatch",
        rf"sparse_mla_decode_dsv41_bf16_kernel<{template}, {'true' if fp4 else 'false'}>",
        template,
        heads,
        DSV41,
        256,
        86784,
        BF16_WEIGHTS,
        DSV41_FP4 if fp4 else DSV41,
        fp8=False,
        sink=fp4,
        patches=(),
    )


@case(
    "B",
    *(
        (f"h{template}{'-extra' if extra else ''}", {"template": template, "heads": heads, "extra": extra})
        for template, heads in HEADS
        for extra in (False, True)
    ),
    ("h16-as_is", {"template": 16, "heads": 16, "extra": True, "patches": ()}),
    ("h16-fence_only", {"template": 16, "heads": 16, "extra": True, "patches": (FENCE,)}),
)
def dec_dsv4(run, template, heads, extra, patches=FIXES):
    run_decode(
        run,
        "decode_dispatch",
        rf"sparse_mla_decode_dsv4_kernel<\(ModelType\)1, {template}, Fp8DecodeGatherSchedule>",
        template,
        heads,
        DSV4,
        288,
        90784,
        FP8_WEIGHTS,
        DSV4 if extra else None,
        page=48,
        sink=extra,
        patches=patches,
    )


@case(
    "B",
    *(
        (f"h{template}{'-extra' if extra else ''}", {"template": template, "heads": heads, "extra": extra})
        for template, heads in HEADS
        for extra in (False, True)
    ),
    ("h16-as_is", {"template": 16, "heads": 16, "extra": True, "patches": ()}),
    ("h16-fence_only", {"template": 16, "heads": 16, "extra": True, "patches": (FENCE,)}),
)
def dec_dsv41_fp8(run, template, heads, extra, patches=FIXES):
    run_decode(
        run,
        "decode_dispatch",
        rf"sparse_mla_decode_dsv4_kernel<\(ModelType\)5, {template}, Fp8DecodeGatherSchedule>",
        template,
        heads,
        DSV41,
        288,
        86304,
        FP8_WEIGHTS,
        DSV41 if extra else None,
        sink=extra,
        patches=patches,
    )


@case(
    "B",
    *((f"h{template}", {"template": template, "heads": heads}) for template, heads in HEADS),
    ("h16-as_is", {"template": 16, "heads": 16, "patches": ()}),
)
def dec_dsv41_mixed(run, template, heads, patches=(FENCE,)):
    run_decode(
        run,
        "decode_dispatch",
        rf"sparse_mla_decode_dsv4_kernel<\(ModelType\)5, {template}, Dsv41MixedCacheDecodeSchedule>",
        template,
        heads,
        DSV41,
        384,
        65840,
        FP8_WEIGHTS,
        DSV41_FP4,
        sink=True,
        patches=patches,
        convert=to_fp8_rows,
    )


@case(
    "B",
    *(
        (f"h{template}", {"template": template, "heads": heads})
        for template, heads in HEADS
        if template != 128
    ),
    ("h16-as_is", {"template": 16, "heads": 16, "patches": ()}),
    ("h16-fence_only", {"template": 16, "heads": 16, "patches": (FENCE,)}),
)
def dec_dots3(run, template, heads, patches=FIXES):
    run_decode(
        run,
        "decode_dispatch",
        rf"sparse_mla_decode_dsv4_kernel<\(ModelType\)4, {template}, Fp8DecodeGatherSchedule>",
        template,
        heads,
        DOTS3,
        160,
        97056,
        FP8_WEIGHTS,
        topk=576,
        patches=patches,
    )


V32 = {"dsv32": (0, DSV32, 98608), "glm": (2, GLM_NSA, 98608), "glm53": (3, GLM53, 80176)}


@case(
    "B",
    *(
        (f"{name}-h{template}", {"name": name, "template": template, "heads": heads})
        for name in V32
        for template, heads in HEADS
        if (name, template) != ("glm53", 128)
    ),
    *((f"{name}-h16-as_is", {"name": name, "template": 16, "heads": 16, "patches": ()}) for name in V32),
)
def dec_dsv32(run, name, template, heads, patches=FIXES):
    model, layout, smem = V32[name]
    tokens, splits, page, topk = 3, 3, 48, 160
    cache = Cache(run, layout, 4, page)
    codes, q = half_input(run, "bf16", tokens, heads, layout.width)
    lengths = np.array([topk, 77, 1], I32)
    rows = pick(run, cache, tokens, topk, lengths)
    mid_heads = heads if template else -(-heads // 16) * 16
    mid, lse = (
        run.dev.empty((tokens, mid_heads, splits, 512), U16, "mid"),
        run.dev.empty((tokens, mid_heads, splits), F32, "mid_lse"),
    )
    put = run.dev.put
    run.dev.launch(
        "dsv32_decode",
        rf"sparse_mla_decode_dsv3_2_kernel<\(ModelType\){model}, {template}>",
        (tokens, -(-heads // 16), splits),
        288,
        [
            put(codes),
            cache.buffer,
            put(rows),
            mid,
            lse,
            put(lengths),
            I32(tokens),
            I32(heads),
            I32(topk),
            I32(splits),
            I32(1),
            SCALE,
            U64(cache.stride),
            U64(topk),
            I32(layout.row_bytes),
            packed(divider(page)),
        ],
        smem=smem,
        patches=patches and (FENCE,),
    )
    out, out_lse = merge(run, "dsv32_decode", heads, template, mid, lse, tokens, splits, mid_heads, 512, None)
    first = selected(cache, rows, lengths)
    judge(run, fp8_query(q, layout), lambda t: [first(t)], float(SCALE), None, FP8_WEIGHTS, out, out_lse)
