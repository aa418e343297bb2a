"""Section B: the generated decode, prefill and merge kernels."""

import numpy as np
from attention import BF16_WEIGHTS, DSV41, DSV41_FP4, HALF_E4M3, NVFP4, Cache, Error, judge, pick
from attention_nvfp4 import query, without_ties
from cases_decode import SCALE, selected
from cases_small import F32, I32, I64, U16, half_input, judge_merge, split_data
from formats import bf16
from harness import case

# Values in NVFP4 become e4m3 or f16 on the way to the tensor core; weights as well.
NVFP4_WEIGHTS = Error(
    HALF_E4M3,
    value=HALF_E4M3,
    flat=2.0**-10,
    text="6 sigma of weights and values rounded to e4m3, scores 2^-18, bf16 partial results",
)


def run_cake(
    run,
    unit,
    kernel,
    heads,
    per_cta,
    threads,
    smem,
    main,
    extra,
    error,
    direct,
    major=None,
    merge=None,
    nvfp4=False,
    prefill=False,
):
    tokens, topk, page = 3, 192, 48
    splits, per_split = (1, 16) if direct else (4, 1)
    cache = Cache(run, main, 4, page)
    other = Cache(run, extra, 5, 16, "extra") if extra else None
    codes, q = half_input(run, "bf16", tokens, heads, 512)
    if nvfp4:
        codes = without_ties(codes, bf16)
        q = query(bf16(codes))
    lengths, more_lengths = np.array([topk, 77, 1], I32), np.array([64, 20, 0], I32)
    rows = pick(run, cache, tokens, topk, lengths)
    more = pick(run, other, tokens, 64, more_lengths) if extra else None
    sinks = run.normal(heads)
    put = run.dev.put
    sink = put(sinks)
    out, lse = run.dev.empty((tokens, heads, 512), U16), run.dev.empty((tokens, heads), F32, "lse")
    mid, mid_lse = (
        (None, None)
        if direct
        else (
            run.dev.empty((tokens, heads, splits, 512), U16, "mid"),
            run.dev.empty((tokens, heads, splits), F32, "mid_lse"),
        )
    )
    extras = [other.buffer, put(more)] if extra else [None, None]
    blocks = -(-heads // per_cta)
    first_major = major is not None and major
    grid = (blocks, tokens) if first_major else (tokens, blocks)
    pages = [I32(page), I64(cache.stride), I32(16 if extra else 1), I64(other.stride if extra else 0)]
    head = [
        put(codes),
        cache.buffer,
        put(rows),
        *extras,
        put(lengths),
        put(more_lengths) if extra else None,
        sink,
        out,
        lse,
    ]
    if prefill:
        params = [
            *head,
            I32(tokens),
            I32(topk),
            I32(64 if extra else 0),
            *pages,
            SCALE,
            F32(1),
            I32(0),
            I32(first_major),
        ]
    else:
        params = [
            *head,
            mid,
            mid_lse,
            I32(topk),
            I32(64 if extra else 0),
            *pages,
            I32(splits),
            I32(per_split),
            SCALE,
            F32(1),
            I32(direct),
        ]
        params += [] if major is None else [I32(major)]
        grid = (*grid, splits)
    run.dev.launch(unit, kernel, grid, threads, params, smem=smem)
    if merge:
        merge(run, mid, mid_lse, sink, out, lse, tokens, heads, splits)
    first = selected(cache, rows, lengths)
    second = selected(other, more, more_lengths) if extra else None
    judge(
        run,
        q,
        lambda t: [first(t)] + ([second(t)] if extra else []),
        float(SCALE),
        sinks,
        error,
        bf16(out.read()),
        lse.read(),
    )


def merge_mixed(unit, major):
    def launch(run, mid, mid_lse, sink, out, lse, tokens, heads, splits):
        run.dev.launch(
            unit,
            rf"merge_body<{heads}>",
            (heads, tokens) if major else (tokens, heads),
            64,
            [mid, mid_lse, sink, out, lse, I32(splits), I32(splits), F32(1), I32(major)],
        )

    return launch


MIXED = {
    "h8": ("mixed_h8_single", 8, 16, False),
    "h16": ("mixed_h16_dual", 16, 16, True),
    "h64": ("mixed_h64_dual", 64, 32, True),
}


@case(
    "B",
    *(
        (
            f"{name}{'-direct' if direct else ''}{'-major' if major else ''}",
            {"name": name, "direct": direct, "major": major},
        )
        for name in MIXED
        for direct in (False, True)
        for major in (0, 1)
    ),
)
def cake_mixed(run, name, direct, major):
    unit, heads, per_cta, dual = MIXED[name]
    run_cake(
        run,
        unit,
        "sparse_mla_decode",
        heads,
        per_cta,
        384,
        96384,
        DSV41,
        DSV41_FP4 if dual else None,
        BF16_WEIGHTS,
        direct,
        major,
        None if direct else merge_mixed("mixed_merge_mo2" if major else "mixed_merge", major),
    )


@case(
    "B",
    *(
        (f"{unit[6:]}-h{heads}", {"unit": unit, "heads": heads})
        for unit, all_heads in (
            ("mixed_merge", (8, 16, 32, 48, 64, 80, 96, 112, 128)),
            ("mixed_merge_mo2", (8, 16, 32, 64, 128)),
        )
        for heads in all_heads
    ),
)
def cake_merge(run, unit, heads):
    tokens, splits, scale = 2, 5, F32(np.log(2))
    mid, values, lse = split_data(run, tokens, heads, splits, F32(-1e30))
    sinks = run.normal(heads)
    out, out_lse = run.dev.empty((tokens, heads, 512), U16), run.dev.empty((tokens, heads), F32)
    run.dev.launch(
        unit,
        rf"merge_body<{heads}>",
        (tokens, heads),
        64,
        [
            run.dev.put(mid),
            run.dev.put(lse),
            run.dev.put(sinks),
            out,
            out_lse,
            I32(splits),
            I32(splits),
            scale,
            I32(0),
        ],
    )
    judge_merge(run, out, out_lse, values, lse, sinks, scale)


def merge_nvfp4(run, mid, mid_lse, sink, out, lse, tokens, heads, splits):
    run.dev.launch(
        "cake_nvfp4_h8",
        "::merge::",
        (tokens, -(-heads // 16)),
        256,
        [mid, mid_lse, sink, out, lse, I32(splits), I32(splits), F32(1)],
    )


@case(
    "B",
    *(
        (f"{'dual' if dual else 'single'}{'-direct' if direct else ''}", {"dual": dual, "direct": direct})
        for dual in (False, True)
        for direct in (False, True)
    ),
)
def cake_nvfp4_dec(run, dual, direct):
    run_cake(
        run,
        "cake_nvfp4_h8",
        "::decode_dual::" if dual else "::decode::",
        8,
        16,
        320,
        90240,
        NVFP4,
        NVFP4 if dual else None,
        NVFP4_WEIGHTS,
        direct,
        merge=None if direct else merge_nvfp4,
        nvfp4=True,
    )


@case(
    "B", *((name, {"name": name, "splits": splits}) for name, splits in (("merge", 5), ("merge_batched", 11)))
)
def cake_nvfp4_merge(run, name, splits):
    tokens, heads, scale = 2, 8, F32(np.log(2))
    mid, values, lse = split_data(run, tokens, heads, splits, F32(-1e30))
    sinks = run.normal(heads)
    out, out_lse = run.dev.empty((tokens, heads, 512), U16), run.dev.empty((tokens, heads), F32)
    run.dev.launch(
        "cake_nvfp4_h8",
        rf"::{name}::",
        (tokens, 1),
        256,
        [
            run.dev.put(mid),
            run.dev.put(lse),
            run.dev.put(sinks),
            out,
            out_lse,
            I32(splits),
            I32(splits),
            scale,
        ],
    )
    judge_merge(run, out, out_lse, values, lse, sinks, scale)


@case(
    "B",
    *(
        (
            f"{'dual' if dual else 'single'}-s{stages}{'-major' if major else ''}",
            {"dual": dual, "stages": stages, "major": major},
        )
        for dual in (False, True)
        for stages in (2, 3)
        for major in (0, 1)
    ),
)
def cake_nvfp4_prefill(run, dual, stages, major):
    name = f"::prefill_{'dual_' if dual else ''}ht1{'_s3' if stages == 3 else ''}::"
    run_cake(
        run,
        "cake_nvfp4_prefill_h16",
        name,
        16,
        16,
        384,
        98688 if stages == 3 else 73856,
        NVFP4,
        NVFP4 if dual else None,
        NVFP4_WEIGHTS,
        True,
        major,
        nvfp4=True,
        prefill=True,
    )
