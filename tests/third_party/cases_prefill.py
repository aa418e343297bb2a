"""Section B: prefill over sparse latent caches in FP8, one kernel from queries to outputs."""

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
    without_ties,
)
from cases_decode import SCALE, selected
from cases_page import divider
from cases_small import F32, I32, U8, U16, U64, half_input
from emulator import blob
from formats import bf16
from harness import case
from ptx import FENCE, WARP_SYNC


def run_prefill(
    run,
    kernel,
    heads,
    per_cta,
    main,
    threads,
    smem,
    error,
    order,
    extra=None,
    topk=128,
    query=None,
    convert=None,
    sink=False,
    patches=(FENCE,),
    page=64,
    extra_page=16,
    window=None,
    ties=True,
    full=False,
):
    tokens = 2
    cache = Cache(run, main, 4, page)
    other = Cache(run, extra, 6, extra_page, "extra") if extra else None
    codes, q = half_input(run, "bf16", tokens, heads, main.width)
    if not ties:
        codes = without_ties(codes, main)
        q = bf16(codes)
    lengths = np.array([topk, topk if full else 70], I32)
    rows = pick(run, cache, tokens, topk, lengths)
    extra_topk = 64 if extra else 0
    more_lengths = np.array([64, 64 if full else 20], I32)
    more = pick(run, other, tokens, extra_topk, more_lengths) if extra else None
    sinks = run.normal(heads) if sink else None
    out, lse = run.dev.empty((tokens, heads, main.value), U16), run.dev.empty((tokens, heads), F32, "lse")
    put = run.dev.put
    q_at, rows_at, sink_at, lengths_at = put(codes), put(rows), put(sinks) if sink else U64(0), put(lengths)
    if full:  # without lengths, all entries count
        lengths_at = U64(0)
    extra_at, more_at, more_lengths_at = (
        (other.buffer, put(more), put(more_lengths)) if extra else (U64(0),) * 3
    )
    if full:
        more_lengths_at = U64(0)
    if order == "attention":
        struct = blob(
            I32(heads),
            I32(topk),
            q_at,
            cache.buffer,
            rows_at,
            U64(0),
            U64(0),
            lengths_at,
            out,
            lse,
            sink_at,
            extra_at,
            more_at,
            more_lengths_at,
            I32(extra_topk),
            I32(extra_page),
            U64(other.stride if extra else 0),
            I32(tokens),
            I32(0),
            I32(0),
            SCALE,
            U64(cache.stride),
            U64(topk),
            U64(extra_topk),
            U64(heads),
            I32(page),
            U8(extra is DSV41_FP4),
            F32(1),
        )
        params = [struct]
    else:
        stride = main.row_bytes if main.inline else cache.stride
        cold = blob(
            SCALE,
            I32(tokens),
            U64(stride),
            U64(other.stride if extra else 0),
            U64(heads),
            I32(topk),
            I32(extra_topk),
            sink_at,
            lengths_at,
            more_lengths_at,
            extra_at,
            more_at,
            I32(extra_page),
            I32(page),
            *divider(page),
            *divider(extra_page),
            F32(1),
        )
        sink_parameter = sink_at if sink else None
        params = {
            "sg": [q_at, cache.buffer, rows_at, sink_parameter, out, lse, cold],
            "mg": [q_at, cache.buffer, rows_at, out, lse, sink_parameter, cold],
            "dual": [q_at, cache.buffer, rows_at, extra_at, more_at, out, lse, sink_parameter, cold],
        }[order]
    run.dev.launch(
        "prefill_dispatch", kernel, tokens * -(-heads // per_cta), threads, params, smem=smem, patches=patches
    )
    used = np.minimum(lengths, window) if window else lengths
    first = selected(cache, rows, used)
    second = selected(other, more, more_lengths, convert) if extra else None
    judge(
        run,
        query(q) if query else q,
        lambda t: [first(t)] + ([second(t)] if extra else []),
        float(SCALE),
        sinks,
        error,
        bf16(out.read()),
        lse.read(),
    )


@case(
    "B",
    *(
        (f"h{template}{'-fp4' if fp4 else ''}", {"template": template, "heads": heads, "fp4": fp4})
        for template, heads in ((8, 8), (16, 16), (32, 32), (64, 64), (128, 128), (0, 24))
        for fp4 in (False, True)
    ),
)
def pre_dsv41_bf16(run, template, heads, fp4):
    run_prefill(
        run,
        rf"sparse_mla_prefill_dsv41_bf16_kernel<{template}, {'true' if fp4 else 'false'}>",
        heads,
        16,
        DSV41,
        256,
        86784,
        BF16_WEIGHTS,
        "attention",
        extra=DSV41_FP4 if fp4 else DSV41,
        sink=fp4,
        patches=(),
    )


@case(
    "B",
    *((f"h{heads}", {"heads": heads}) for heads in (8, 16, 32, 64)),
    ("h16-as_is", {"heads": 16, "patches": ()}),
)
def pre_sg_dsv41(run, heads, patches=(FENCE,)):
    run_prefill(
        run,
        rf"prefill_kernel<\(ModelType\)5, \(QkComputeMode\)0, {heads}, 64, Dsv41PrefillGatherSchedule>",
        heads,
        16,
        DSV41,
        384,
        71696,
        FP8_WEIGHTS,
        "sg",
        query=lambda q: fp8_query(q, DSV41),
        sink=True,
        patches=patches,
    )


@case(
    "B",
    *((f"h{heads}", {"heads": heads}) for heads in (8, 16, 32, 64)),
    ("h16-as_is", {"heads": 16, "patches": ()}),
)
def pre_sg_dsv41_mixed(run, heads, patches=(FENCE,)):
    run_prefill(
        run,
        rf"prefill_kernel<\(ModelType\)5, \(QkComputeMode\)0, {heads}, 64, Dsv41MixedCachePrefillSchedule>",
        heads,
        16,
        DSV41,
        512,
        90144,
        FP8_WEIGHTS,
        "sg",
        extra=DSV41_FP4,
        convert=to_fp8_rows,
        query=lambda q: fp8_query(q, DSV41),
        sink=True,
        patches=patches,
    )


@case(
    "B",
    *((f"h{heads}-p{page}", {"heads": heads, "page": page}) for heads in (8, 16, 32, 64) for page in (64, 0)),
    ("h16-as_is", {"heads": 16, "page": 64, "patches": ()}),
    ("h16-fence_only", {"heads": 16, "page": 64, "patches": (FENCE,)}),
)
def pre_sg_dots3(run, heads, page, patches=(FENCE, WARP_SYNC)):
    run_prefill(
        run,
        rf"prefill_kernel<\(ModelType\)4, \(QkComputeMode\)0, {heads}, {page}, Dsv41PrefillGatherSchedule>",
        heads,
        16,
        DOTS3,
        384,
        100368,
        FP8_WEIGHTS,
        "sg",
        topk=576,
        window=513,
        query=lambda q: fp8_query(q, DOTS3),
        page=page or 48,
        patches=patches,
    )


V32 = {
    "dsv32": (0, DSV32, 84368, 91920, 93216),
    "glm": (2, GLM_NSA, 84368, 91920, 93216),
    "glm53": (3, GLM53, 82320, 91920, 76832),
}


@case(
    "B",
    *((f"{name}-h{heads}", {"name": name, "heads": heads}) for name in V32 for heads in (8, 16)),
    ("dsv32-h16-as_is", {"name": "dsv32", "heads": 16, "patches": ()}),
)
def pre_sg_v32(run, name, heads, patches=(FENCE,)):
    model, layout, smem, _, _ = V32[name]
    run_prefill(
        run,
        rf"prefill_kernel<\(ModelType\){model}, \(QkComputeMode\)0, {heads}, 64, Dsv41PrefillGatherSchedule>",
        heads,
        16,
        layout,
        384,
        smem,
        FP8_WEIGHTS,
        "sg",
        query=lambda q: fp8_query(q, layout),
        sink=True,
        patches=patches,
    )


@case(
    "B",
    *((f"{name}-h{heads}", {"name": name, "heads": heads}) for name in V32 for heads in (32, 64, 128)),
    ("dsv32-h32-as_is", {"name": "dsv32", "heads": 32, "patches": ()}),
)
def pre_mg_v32(run, name, heads, patches=(FENCE,)):
    model, layout, _, smem, _ = V32[name]
    run_prefill(
        run,
        rf"prefill_mg_kernel<\(ModelType\){model}, \(QkComputeMode\)0, {heads}, 64, 2>",
        heads,
        32,
        layout,
        384,
        smem,
        FP8_WEIGHTS,
        "mg",
        query=lambda q: fp8_query(q, layout),
        sink=True,
        patches=patches,
    )


@case(
    "B",
    *((f"{name}-h{heads}", {"name": name, "heads": heads}) for name in V32 for heads in (64, 128)),
    ("dsv32-h64-as_is", {"name": "dsv32", "heads": 64, "patches": ()}),
)
def pre_swapab(run, name, heads, patches=(FENCE,)):
    model, layout, _, _, smem = V32[name]
    run_prefill(
        run,
        rf"prefill_swapab_kernel<\(ModelType\){model}, {heads}>",
        heads,
        64,
        layout,
        384,
        smem,
        FP8_WEIGHTS,
        "sg",
        query=lambda q: fp8_query(q, layout, layout.scale == "f32"),
        sink=True,
        patches=patches,
        ties=layout.scale != "f32",
    )


MG = tuple((heads, 1 if heads <= 16 else 2) for heads in (8, 16, 32, 64, 128))


@case(
    "B",
    *(
        (f"h{heads}-{'bf16' if mode else 'fp8'}", {"heads": heads, "groups": groups, "mode": mode})
        for heads, groups in MG
        for mode in (0, 1)
    ),
    ("h16-as_is", {"heads": 16, "groups": 1, "mode": 0, "patches": ()}),
)
def pre_mg_dsv4(run, heads, groups, mode, patches=(FENCE,)):
    run_prefill(
        run,
        rf"prefill_mg_kernel<\(ModelType\)1, \(QkComputeMode\){mode}, {heads}, 0, {groups}>",
        heads,
        16 * groups,
        DSV4,
        384,
        97936 if mode else 84496,
        FP8_WEIGHTS,
        "mg",
        query=None if mode else (lambda q: fp8_query(q, DSV4)),
        sink=True,
        page=48,
        patches=patches,
    )


@case(
    "B",
    *(
        (
            f"h{heads}-p{page}{'-full' if full else ''}",
            {"heads": heads, "groups": groups, "page": page, "full": full},
        )
        for heads, groups in MG
        for page in (2, 0)
        for full in (False, True)
    ),
    ("h16-as_is", {"heads": 16, "groups": 1, "page": 0, "full": False, "patches": ()}),
)
def pre_mg_dual(run, heads, groups, page, full, patches=(FENCE,)):
    name = (
        rf"mg_dual_fulltile_kernel<\(ModelType\)1, {heads}, 0, {page}, {groups}>"
        if full
        else rf"mg_dual_kernel<\(ModelType\)1, \(QkComputeMode\)1, {heads}, 0, {page}, {groups}>"
    )
    run_prefill(
        run,
        name,
        heads,
        16 * groups,
        DSV4,
        384,
        97936,
        FP8_WEIGHTS,
        "dual",
        extra=DSV4,
        sink=True,
        page=48,
        extra_page=page or 16,
        patches=patches,
        full=full,
    )
