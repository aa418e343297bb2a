"""Section A, second part: writers of quantised caches, and the quantiser of attention operands."""

import numpy as np
from cases_small import F32, I32, I64, TYPES, U8, U16, U64, half_input, judge_fp4
from formats import bf16, half_ulp, to_e4m3, unpack4
from harness import case

IDS = {"int": I32, "long": I64}


class Pages:
    """A paged cache of `pages` x `size` tokens: `data` bytes a token, then in a footer of the page `scales` bytes a token."""

    def __init__(self, run, pages, size, data, scales, pad=0):
        self.pages, self.size, self.data, self.scales = pages, size, data, scales
        self.stride = size * (data + scales) + pad
        self.start = run.rng.integers(0, 256, (pages, self.stride)).astype(U8)
        self.buffer = run.dev.put(self.start)

    def read(self):
        """Bytes of all tokens: (tokens, data) and (tokens, scales), before and after."""

        def cut(page):
            split = self.size * self.data
            return (
                page[:, :split].reshape(-1, self.data),
                page[:, split : split + self.size * self.scales].reshape(-1, self.scales),
            )

        return cut(self.buffer.read()), cut(self.start)


def judge_tokens(run, cache, slots, judge):
    """Every slot holds the token that `slots` sends there first, or what was there."""
    (data, scales), (old_data, old_scales) = cache.read()
    first = {}
    for token, slot in enumerate(slots):
        if 0 <= slot < cache.pages * cache.size:
            first.setdefault(int(slot), token)
    used = sorted(first)
    rest = [slot for slot in range(cache.pages * cache.size) if slot not in first]
    run.exact("untouched tokens", data[rest], old_data[rest])
    run.exact("untouched scales", scales[rest], old_scales[rest])
    judge([first[slot] for slot in used], data[used], scales[used])


def judge_dsv41_fp4(run, x):
    def judge(tokens, data, scales):
        judge_fp4(run, unpack4(data), scales, x[tokens].reshape(len(tokens), 32, 16), floor=2.0**-9)

    return judge


def judge_dsv41_fp8(run, x):
    def judge(tokens, data, scales):
        groups = x[tokens].reshape(len(tokens), 16, 32)
        ratio = np.maximum((np.maximum(np.abs(groups).max(-1), F32(1e-4)) / 448), F32(1e-4))
        exponent = np.ceil(np.log2(ratio))
        run.exact("scales", scales, (exponent + 127).astype(U8))
        run.exact("elements", data.reshape(groups.shape), to_e4m3(groups / 2.0 ** exponent[..., None]))

    return judge


def judge_dsv4(run, codes, x):
    def judge(tokens, data, scales):
        judge_fp4(run, unpack4(data[:, :224]), scales[:, :28], x[tokens, :448].reshape(len(tokens), 28, 16))
        run.exact("position part", data[:, 224:].copy().view(U16), codes[tokens, 448:])
        run.exact("padding", scales[:, 28:], np.zeros((len(tokens), 4), U8))

    return judge


FORMATS = {
    "dsv41_fp4_cache_ops": (256, 32, judge_dsv41_fp4),
    "dsv41_fp8_cache_ops": (512, 16, judge_dsv41_fp8),
}


@case("A", *((f"{unit[:9]}-{kind}", {"unit": unit, "kind": kind}) for unit in FORMATS for kind in TYPES))
def cache_pack(run, unit, kind):
    data, scales, judge = FORMATS[unit]
    cache = Pages(run, 2, 3, data, scales, pad=64)
    codes, x = half_input(run, kind, 6, 512)
    run.dev.launch(
        unit,
        rf"QuantizePackKernel<{TYPES[kind]}>",
        (2, 3),
        32,
        [run.dev.put(codes), cache.buffer, I32(2), I32(3), U64(cache.stride)],
    )
    judge_tokens(run, cache, range(6), judge(run, x))


SLOTS = [4, -1, 0, 7, 4, 100, 11, 0]  # two doubles, one negative, one beyond the cache


@case(
    "A",
    *(
        (f"{unit[:9]}-{kind}-{ids}", {"unit": unit, "kind": kind, "ids": ids})
        for unit in FORMATS
        for kind in TYPES
        for ids in IDS
    ),
)
def cache_append(run, unit, kind, ids):
    data, scales, judge = FORMATS[unit]
    cache = Pages(run, 3, 4, data, scales)
    codes, x = half_input(run, kind, len(SLOTS), 512)
    run.dev.launch(
        unit,
        rf"QuantizeAppendKernel<{TYPES[kind]}, {ids}>",
        len(SLOTS),
        32,
        [
            run.dev.put(codes),
            run.dev.put(np.array(SLOTS, IDS[ids])),
            I32(len(SLOTS)),
            cache.buffer,
            I32(3),
            I32(4),
            U64(cache.stride),
        ],
    )
    judge_tokens(run, cache, SLOTS, judge(run, x))


@case("A", *((kind, {"kind": kind}) for kind in TYPES))
def dsv4_pack(run, kind):
    cache = Pages(run, 2, 3, 352, 32, pad=32)
    codes, x = half_input(run, kind, 6, 512)
    run.dev.launch(
        "dsv4_nvfp4_cache_ops",
        rf"QuantizePackKernel<{TYPES[kind]}>",
        (2, 3),
        32,
        [run.dev.put(codes), cache.buffer, I32(2), I32(3), U64(cache.stride)],
    )
    judge_tokens(run, cache, range(6), judge_dsv4(run, codes, x))


@case("A", *((f"{kind}-{ids}", {"kind": kind, "ids": ids}) for kind in TYPES for ids in IDS))
def dsv4_append(run, kind, ids):
    cache = Pages(run, 3, 4, 352, 32)
    codes, x = half_input(run, kind, len(SLOTS), 512)
    run.dev.launch(
        "dsv4_nvfp4_cache_ops",
        rf"QuantizeAppendFirstKernel<{TYPES[kind]}, {ids}>",
        len(SLOTS),
        32,
        [
            run.dev.put(codes),
            run.dev.put(np.array(SLOTS, IDS[ids])),
            I32(len(SLOTS)),
            cache.buffer,
            I32(3),
            I32(4),
            U64(cache.stride),
        ],
    )
    judge_tokens(run, cache, SLOTS, judge_dsv4(run, codes, x))


@case(
    "A",
    *(
        (
            f"{kind}-{ids}{'-doubles' if double else ''}{'' if race else '-norace'}",
            {"kind": kind, "ids": ids, "double": double, "race": race},
        )
        for kind in TYPES
        for ids in IDS
        for double in (False, True)
        for race in (False, True)
    ),
)
def dsv4_append_owners(run, kind, ids, double, race):
    """Three launches: owners reset, claimed (the lowest token), the winners write."""
    tokens = 300
    slots = run.rng.permutation(400)[:tokens] - 20
    if double:
        slots[250:280] = slots[20:50]
    cache = Pages(run, 6, 64, 352, 32)
    codes, x = half_input(run, kind, tokens, 512)
    where = [
        run.dev.put(slots.astype(IDS[ids])),
        I32(tokens),
        cache.buffer,
        I32(6),
        I32(64),
        U64(cache.stride),
    ]
    for name in ("Reset", "Claim"):
        run.dev.launch(
            "dsv4_nvfp4_cache_ops", rf"{name}AppendOwnersKernel<{ids}>", -(-tokens // 256), 256, where
        )
    run.dev.launch(
        "dsv4_nvfp4_cache_ops",
        rf"QuantizeAppendWinnerKernel<{TYPES[kind]}, {ids}>",
        tokens,
        32,
        [run.dev.put(codes), *where],
        race=race,
    )
    judge_tokens(run, cache, slots, judge_dsv4(run, codes, x))


@case(
    "A",
    *(
        (f"{form}-d{dim}-{kind}", {"form": form, "dim": dim, "kind": kind})
        for form in ("plain", "permuted", "transposed")
        for dim in (64, 128)
        for kind in TYPES
    ),
)
def nvfp4_attn_quantize(run, form, dim, kind):
    """Groups of 16 along the head dimension, or transposed along tokens; scales in blocks of 64 rows, 4 columns a 256 bytes."""
    batch, heads, tokens, padded = 2, 2, 150, 256
    codes, x = half_input(run, kind, batch, heads, tokens, dim)
    full = np.zeros((batch, heads, padded, dim))
    full[:, :, :tokens] = x
    transposed = form == "transposed"
    rows, columns = (dim, padded) if transposed else (padded, dim)
    out, sf = (
        run.dev.empty((batch, heads, rows, columns // 2), U8),
        run.dev.empty((batch, heads, rows, columns // 16), U8),
    )
    name = (
        rf"scaled_fp4_quant_trans_kernel<{dim}u, 128u, {TYPES[kind]}>"
        if transposed
        else rf"scaled_fp4_quant_kernel<{dim}u, 128u, {'true' if form == 'permuted' else 'false'}, {TYPES[kind]}>"
    )
    strides = (
        heads * tokens * dim,
        tokens * dim,
        dim,
        heads * rows * columns // 2,
        rows * columns // 2,
        columns // 2,
        heads * rows * columns // 16,
        rows * columns // 16,
        columns // 16,
    )
    run.dev.launch(
        "nvfp4_attn_quantize",
        name,
        (padded // 128, batch, heads),
        128 * dim // 16,
        [run.dev.put(codes), out, sf, *(I32(v) for v in (batch, heads, tokens, *strides))],
    )
    if transposed:
        full = full.swapaxes(2, 3)
    if form == "permuted":
        # In each 32 rows, row 8a + 2b + c is taken from 2a + 8b + c.
        source = np.arange(padded)
        within = source % 32
        source = source - within + within // 8 * 2 + within % 8 // 2 * 8 + within % 2
        full = full[:, :, source]
    row, column = np.meshgrid(np.arange(rows), np.arange(columns // 16), indexing="ij")
    place = (
        row // 64 * 64 * (columns // 16) + column // 4 * 256 + row % 16 * 16 + row % 64 // 16 * 4 + column % 4
    )
    scales = sf.read().reshape(batch, heads, -1)[:, :, place]
    judge_fp4(run, unpack4(out.read()), scales, full.reshape(batch, heads, rows, -1, 16))


QKV = [(padded, form) for padded in (8, 16, 32, 64, 128) for form in ("", "_noqrope", "_inplace")]
POSITIONS = np.array([3, 0, 17, 8, 31, 22, 11, 40, 5], np.int64)


SLOT_OF = np.array([2, 9, -1, 0, 77, 5, 13, 6, 7])  # the last two are beyond num_tokens_insert: not inserted


def rotate(x, table):
    """Pairs (2p, 2p+1) of the last 64 turned by cos[p], sin[p]; also the sum of magnitudes of each result's two terms."""
    cos, sin = table[..., :32].astype(np.float64), table[..., 32:].astype(np.float64)
    even, odd = x[..., 448::2], x[..., 449::2]
    turned, size = x.copy(), np.abs(x)
    turned[..., 448::2], turned[..., 449::2] = even * cos - odd * sin, even * sin + odd * cos
    size[..., 448::2] = size[..., 449::2] = np.abs(even) * np.abs(cos) + np.abs(odd) * np.abs(sin)
    return turned, size


def judge_turned(run, what, got, turned, size):
    run.close(what, bf16(got), turned, half_ulp(turned, "bf16") + 2.0**-21 * size, "half a bf16 ulp + 2^-21")


def judge_inserted(run, cache, slots, codes, x, table):
    turned, size = rotate(x, table)

    def judge(tokens, data, scales):
        judge_fp4(run, unpack4(data[:, :224]), scales[:, :28], x[tokens, :448].reshape(len(tokens), 28, 16))
        judge_turned(
            run, "position part", data[:, 224:].copy().view(U16), turned[tokens, 448:], size[tokens, 448:]
        )
        run.exact("padding", scales[:, 28:], np.zeros((len(tokens), 4), U8))

    judge_tokens(run, cache, slots, judge)


@case(
    "A",
    *(
        (f"p{padded}{form}-{slot}", {"padded": padded, "form": form, "slot": slot})
        for padded, form in QKV
        for slot in ("s32", "s64")
    ),
    *(
        (f"p{padded}-{slot}-short", {"padded": padded, "form": "", "slot": slot, "short": True})
        for padded, slot in ((8, "s32"), (64, "s64"))
    ),
)
def rope_insert_qkv(run, padded, form, slot, short=False):
    tokens, inserted = len(POSITIONS), 7
    heads = padded if form == "_inplace" else padded - 3
    slots = SLOT_OF[:7] if short else SLOT_OF
    cache = Pages(run, 4, 4, 352, 32, pad=32)
    q_codes, q = half_input(run, "bf16", tokens, heads, 512)
    kv_codes, kv = half_input(run, "bf16", tokens, 512)
    table = run.normal(48, 64)
    source = run.dev.put(q_codes)
    out = source if form == "_inplace" else run.dev.empty((tokens, padded, 512), U16)
    per_token = padded // 8 if form == "_inplace" else padded + 1
    ids = run.dev.put(slots.astype(I32 if slot == "s32" else I64), "slots")
    run.dev.launch(
        "rope_insert",
        rf"::qkv_p{padded}{form}_{slot}::",
        -(-tokens * per_token // 8),
        256,
        [
            source,
            run.dev.put(kv_codes),
            cache.buffer,
            ids if slot == "s64" else None,
            ids if slot == "s32" else None,
            run.dev.put(POSITIONS),
            run.dev.put(table),
            out,
            I32(tokens),
            I32(inserted),
            I32(heads),
            I32(4),
            I64(cache.stride),
            I64(16),
        ],
    )
    got = out.read()
    if form == "_noqrope":
        run.exact("q", got[:, :heads], q_codes)
    else:
        turned, size = rotate(q, table[POSITIONS][:, None])
        judge_turned(run, "q", got[:, :heads], turned, size)
        run.exact("q, first part", got[:, :heads, :448], q_codes[..., :448])
    run.exact("padding heads", got[:, heads:], np.zeros((tokens, padded - heads, 512), U16))
    judge_inserted(run, cache, slots[:7], kv_codes, kv, table[POSITIONS])


@case(
    "A",
    *((f"r{ratio}-{slot}", {"ratio": ratio, "slot": slot}) for ratio in (1, 2) for slot in ("s32", "s64")),
    ("r1-s32-short", {"ratio": 1, "slot": "s32", "short": True}),
)
def rope_insert_kv(run, ratio, slot, short=False):
    tokens = len(POSITIONS)
    slots = SLOT_OF[:7] if short else SLOT_OF
    cache = Pages(run, 4, 4, 352, 32)
    kv_codes, kv = half_input(run, "bf16", tokens, 512)
    table = run.normal(48, 64)
    ids = run.dev.put(slots.astype(I32 if slot == "s32" else I64), "slots")
    run.dev.launch(
        "rope_insert",
        rf"::kv_r{ratio}_{slot}::",
        -(-tokens // 8),
        256,
        [
            None,
            run.dev.put(kv_codes),
            cache.buffer,
            ids if slot == "s64" else None,
            ids if slot == "s32" else None,
            run.dev.put(POSITIONS),
            run.dev.put(table),
            None,
            I32(tokens),
            I32(7),
            I32(0),
            I32(4),
            I64(cache.stride),
            I64(16),
        ],
    )
    kept = np.where((POSITIONS[:7] + 1) % ratio == 0, slots[:7], -1)
    judge_inserted(run, cache, kept, kv_codes, kv, table[POSITIONS // ratio * ratio])
