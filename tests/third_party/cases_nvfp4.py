"""Section B: attention over NVFP4 caches."""

import numpy as np
from attention import NVFP4, Cache, pick
from attention_nvfp4 import judge, query, sections_of, without_ties
from cases_decode import SCALE
from cases_small import F32, I32, U8, U16, U64, half_input
from formats import bf16
from harness import case
from ptx import FENCE, GATHER_SYNC

UNIT = "dsv4_nvfp4_dispatch"


class Setting:
    """Caches, queries and selected rows of three tokens."""

    def __init__(self, run, heads, topk, dual, page):
        self.tokens, self.topk = 3, topk
        self.cache = Cache(run, NVFP4, 4, page)
        self.other = Cache(run, NVFP4, 5, 16, "extra") if dual else None
        codes, _ = half_input(run, "bf16", self.tokens, heads, 512)
        codes = without_ties(codes, bf16)
        self.q = query(bf16(codes))
        self.lengths, self.more_lengths = np.array([min(topk, 160), 77, 1], I32), np.array([64, 20, 0], I32)
        self.rows = pick(run, self.cache, self.tokens, topk, self.lengths)
        self.more = pick(run, self.other, self.tokens, 64, self.more_lengths) if dual else None
        put = run.dev.put
        self.main = [put(codes), self.cache.buffer, put(self.rows)]
        self.extra = (
            [
                self.other.buffer,
                put(self.more),
                put(self.more_lengths),
                I32(64),
                I32(16),
                U64(self.other.stride),
            ]
            if dual
            else [None, None, None, I32(0), I32(1), U64(0)]
        )
        self.length_buffer = put(self.lengths)

    def of(self, token):
        out = [sections_of(self.cache, self.rows[token], self.lengths[token])]
        return out + (
            [sections_of(self.other, self.more[token], self.more_lengths[token])] if self.other else []
        )


HEADS = (8, 16, 32, 64, 128)
VARIANTS = [
    (
        f"h{heads}-k{topk}-p{page}{'-dual' if dual else ''}{'-direct' if direct else ''}",
        {"heads": heads, "topk": topk, "page": page, "dual": dual, "direct": direct},
    )
    for heads in HEADS
    for topk in (128, 512)
    for page in (0, 64)
    for dual in (False, True)
    for direct in (dual == (page == 0),)
]


def launch(run, kernel, grid, threads, smem, streaming, heads, topk, page, dual, direct, patches):
    size = page or 48
    setting = Setting(run, heads, topk, dual, size)
    splits = 1 if direct else 4 if topk == 512 else 3
    per_split = 8 if direct else 1
    shape = (setting.tokens, heads, splits)
    mid, mid_lse = (
        (None, None)
        if direct
        else (run.dev.empty((*shape, 512), U16, "mid"), run.dev.empty(shape, F32, "mid_lse"))
    )
    out, lse = (
        run.dev.empty((setting.tokens, heads, 512), U16),
        run.dev.empty((setting.tokens, heads), F32, "lse"),
    )
    sinks = run.normal(heads)
    sink = run.dev.put(sinks)
    results = [out, lse, mid, mid_lse] if streaming else [mid, mid_lse, out, lse]
    run.dev.launch(
        UNIT,
        kernel,
        (setting.tokens, grid, splits),
        threads,
        [
            *setting.main,
            *results,
            sink,
            setting.length_buffer,
            *setting.extra,
            I32(setting.tokens),
            I32(splits),
            I32(per_split),
            SCALE,
            I32(size),
            U64(setting.cache.stride),
            U8(direct),
            F32(1),
        ],
        smem=smem,
        patches=patches,
    )
    if not direct:
        run.dev.launch(
            UNIT,
            rf"merge_kernel<{heads}, 512, 64, 8>",
            (setting.tokens, heads),
            64,
            [
                mid,
                mid_lse,
                out,
                lse,
                sink,
                I32(setting.tokens),
                I32(splits),
                I32(heads),
                I32(heads),
                U64(heads),
                F32(1),
            ],
            smem=4 * splits,
        )
    judge(run, setting.q, setting.of, float(SCALE), sinks, bf16(out.read()), lse.read())


@case(
    "B",
    *VARIANTS,
    (
        "h16-k128-p64-as_is",
        {"heads": 16, "topk": 128, "page": 64, "dual": False, "direct": True, "patches": ()},
    ),
    (
        "h16-k128-p64-fence_only",
        {"heads": 16, "topk": 128, "page": 64, "dual": False, "direct": True, "patches": (FENCE,)},
    ),
)
def nvfp4_dec(run, heads, topk, page, dual, direct, patches=(FENCE, GATHER_SYNC)):
    launch(
        run,
        rf"sparse_mla_decode_dsv4_nvfp4_kernel<\(ModelType\)1, {heads}, {topk}, {page}, {'true' if dual else 'false'}>",
        -(-heads // 16),
        320,
        75632,
        False,
        heads,
        topk,
        page,
        dual,
        direct,
        patches,
    )


@case(
    "B",
    *(v for v in VARIANTS if v[1]["heads"] >= 16),
    (
        "h16-k128-p64-as_is",
        {"heads": 16, "topk": 128, "page": 64, "dual": False, "direct": True, "patches": ()},
    ),
    (
        "h16-k128-p64-fence_only",
        {"heads": 16, "topk": 128, "page": 64, "dual": False, "direct": True, "patches": (FENCE,)},
    ),
)
def nvfp4_stream(run, heads, topk, page, dual, direct, patches=(FENCE, GATHER_SYNC)):
    launch(
        run,
        rf"sparse_mla_streaming_dsv4_nvfp4_kernel<{heads}, {topk}, {page}, {'true' if dual else 'false'}>",
        -(-heads // 64),
        512,
        101168,
        True,
        heads,
        topk,
        page,
        dual,
        direct,
        patches,
    )
