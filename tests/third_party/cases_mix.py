"""Section A, third part: hyper-connections, rotary embeddings, paged caches."""
import numpy as np
from cases_small import F32, I32, I64, TYPES, U8, U16, U32, U64, half_input, judge_fp4
from emulator import blob
from formats import bf16, half_ulp, to_e4m3, unpack4
from harness import case

POST = {  # kernel, hidden size, tokens, block, grid
    "persistent-4096": (r"persistent_split_vec_kernel<128, 1024, 2048, 4096l>", 4096, 3, 128, (4, 3)),
    "persistent-7168": (r"persistent_split_vec_kernel<128, 1024, 2048, 7168l>", 7168, 3, 128, (7, 2)),
    "token-7168": (r"token_vec_kernel<1, 4, false, 7168l>", 7168, 3, 256, 3),
    "token4-1280": (r"token_vec_kernel<4, 3, true, 0l>", 1280, 5, 256, 2),
    "token4-2048": (r"token_vec_kernel<4, 4, true, 0l>", 2048, 5, 256, 2),
    "split-2560": (r"mhc_post_bf16_hc4_split_vec_kernel<160, 1280, 0l>", 2568, 3, 160, (3, 3)),
    "token-5120": (r"token_vec_kernel<1, 4, false, 0l>", 5120, 2, 256, 2),
    "token-9216": (r"token_vec_kernel<1, 8, false, 0l>", 9216, 2, 256, 2),
    "scalar-1283": (r"scalar_kernel", 1283, 3, 256, 16),
}


@case("A", *((name, {"name": name}) for name in POST))
def mhc_post(run, name):
    kernel, hidden, tokens, block, grid = POST[name]
    x_codes, x = half_input(run, "bf16", tokens, hidden)
    res_codes, res = half_input(run, "bf16", tokens, 4, hidden)
    post, comb = run.normal(tokens, 4), run.normal(tokens, 4, 4)
    out = run.dev.empty((tokens, 4, hidden), U16)
    run.dev.launch("mhc_post", kernel, grid, block, [run.dev.put(x_codes), run.dev.put(res_codes), run.dev.put(post),
                                                     run.dev.put(comb), out, I64(tokens), I64(hidden)])
    terms = np.concatenate([post[:, None, :, None] * x[:, None, None], comb[..., None].astype(np.float64) * res[:, :, None]], 1)
    want, size = terms.sum(1), np.abs(terms).sum(1)
    run.close("out", bf16(out.read()), want, half_ulp(want, "bf16") + 5 * 2.0**-24 * size, "half a bf16 ulp + 5 x 2^-24 of the terms")


@case("A", *((f"s{splits}-b{block}{'-sum' if square else ''}", {"splits": splits, "block": block, "square": square})
             for splits, square in ((1, False), (2, False), (4, False), (8, False), (16, False), (1, True)) for block in (512, 256, 128)))
def mhc_pre_big_fuse(run, splits, block, square):
    tokens, hidden, rounds = 3, 1288, 20
    eps, pre_eps, sinkhorn_eps, mult = F32(1e-6), F32(1e-4), F32(1e-5), F32(2)
    mix = run.normal(splits, tokens, 24, scale=20.0)
    codes, res = half_input(run, "bf16", tokens, 4, hidden)
    squares = (res**2).sum((1, 2))
    parts = run.rng.dirichlet(np.ones(splits), tokens).T * squares
    sq = parts.astype(F32)
    scale, base = run.normal(3), run.normal(24)
    post, comb, y = run.dev.empty((tokens, 4), F32), run.dev.empty((tokens, 4, 4), F32), run.dev.empty((tokens, hidden), U16)
    run.dev.launch("mhc_pre_big_fuse", rf"mhc_pre_big_fuse_kernel<{splits}, {block}, {'true' if square else 'false'}>", tokens, block,
                   [run.dev.put(mix), None if square else run.dev.put(sq), run.dev.put(codes), run.dev.put(scale), run.dev.put(base),
                    post, comb, y, I32(tokens), I32(4 * hidden), I32(hidden), eps, pre_eps, sinkhorn_eps, mult, I32(rounds)])
    total = squares if square else sq.astype(np.float64).sum(0)
    rstd = 1 / np.sqrt(total / (4 * hidden) + float(eps))
    v = mix.astype(np.float64).sum(0) * rstd[:, None]
    scales = np.repeat(scale.astype(np.float64), (4, 4, 16))
    v = v * scales + base
    # What v may be off: sums over splits, three products and an approximate square root.
    slack = (splits + 6) * 2.0**-23 * (np.abs(mix).sum(0) * rstd[:, None] * np.abs(scales) + np.abs(base))
    sigmoid = 1 / (1 + np.exp(-v))
    pre, want_post = sigmoid[:, :4] + float(pre_eps), sigmoid[:, 4:8] * float(mult)
    want_comb = doubly_stochastic(v[:, 8:].reshape(tokens, 4, 4), rounds, float(sinkhorn_eps))
    run.close("post", post.read(), want_post, mult * slack[:, 4:8] + 8 * 2.0**-23, "the error of the argument + 2^-20")
    reach = slack[:, 8:].max(1)[:, None, None] * 8 + rounds * 2 * 4 * 2.0**-23
    run.close("comb", comb.read(), want_comb, reach * np.maximum(want_comb, 1e-3), "8 x the error of the argument + 2^-20 a round")
    terms = pre[:, :, None] * res
    bound = half_ulp(terms.sum(1), "bf16") + (slack[:, :4, None] * np.abs(res)).sum(1) + 16 * 2.0**-23 * np.abs(terms).sum(1)
    run.close("y", bf16(y.read()), terms.sum(1), bound, "half a bf16 ulp + the error of the mix")


def doubly_stochastic(v, rounds, eps):
    """Sinkhorn: softmax over rows + eps, then rows and columns divided in turn by their sums + eps; columns end it."""
    m = np.exp(v - v.max(-1, keepdims=True))
    m = m / m.sum(-1, keepdims=True) + eps
    m = m / (m.sum(-2, keepdims=True) + eps)
    for _ in range(1, rounds):
        m = m / (m.sum(-1, keepdims=True) + eps)
        m = m / (m.sum(-2, keepdims=True) + eps)
    return m


@case("A", *((f"d{dim}-{kind}-{'pairs' if pairs else 'halves'}", {"dim": dim, "kind": kind, "pairs": pairs})
             for dim in (64, 128, 256, 512) for kind in TYPES for pairs in (True, False)))
def rope_cos_sin(run, dim, kind, pairs):
    tokens, heads_q, heads_k, positions = 11, 3, 2, 40
    vec = max(8, dim // 32)
    threads = dim // vec
    rows = 128 // threads
    q_codes, q = half_input(run, kind, tokens, heads_q, dim)
    k_codes, k = half_input(run, kind, tokens, heads_k, dim)
    table = run.normal(positions, dim)
    pos = run.rng.integers(0, positions, tokens).astype(I32)
    q_out, k_out = run.dev.empty(q.shape, U16), run.dev.empty(k.shape, U16)
    strides = (heads_q * dim, dim, heads_k * dim, dim, heads_q * dim, dim, heads_k * dim, dim)
    run.dev.launch("rope", rf"CosSinCacheHeadParallelismKernel<{'true' if pairs else 'false'}, {dim}u, {vec}u, {threads}u, {TYPES[kind]}, int>",
                   (-(-tokens // rows), heads_q + heads_k), (threads, rows),
                   [run.dev.put(q_codes), run.dev.put(k_codes), q_out, k_out, run.dev.put(table), run.dev.put(pos), U32(tokens), U32(heads_q),
                    U32(heads_k), U32(dim), *(U64(v) for v in strides)])
    for what, x, out in (("q", q, q_out), ("k", k, k_out)):
        cos, sin = table[pos][:, None, : dim // 2].astype(np.float64), table[pos][:, None, dim // 2:].astype(np.float64)
        first, second = (x[..., 0::2], x[..., 1::2]) if pairs else (x[..., : dim // 2], x[..., dim // 2:])
        parts = first * cos - second * sin, second * cos + first * sin
        sizes = np.abs(first * cos) + np.abs(second * sin), np.abs(second * cos) + np.abs(first * sin)
        join = (lambda a: np.stack(a, -1).reshape(x.shape)) if pairs else (lambda a: np.concatenate(a, -1))
        want, got = join(parts), out.read()
        got = bf16(got) if kind == "bf16" else got.view(np.float16).astype(np.float64)
        run.close(what, got, want, half_ulp(want, kind) + 2.0**-22 * join(sizes), f"half a {kind} ulp + 2^-22")


def divider(d):
    """cuda::fast_mod_div of an unsigned divisor, and the divisor: divisor, multiplier, addend, shift; n / d by one multiplication."""
    shift = d.bit_length() - 1
    if d & (d - 1) == 0:
        return [U32(d), U32(0), U32(0), U32(shift), U32(d)]
    power = 1 << (32 + shift)
    quotient, rest = divmod(power, d)
    up = rest >= d - (1 << shift)
    return [U32(d), U32((quotient + up) & 0xFFFFFFFF), U32(not up), U32(shift), U32(d)]


class Tables:
    """Requests of a paged cache: their pages, and where appended tokens go."""

    def __init__(self, run, page, ids=I32):
        self.page, self.pages = page, 9
        self.indptr = np.array([0, 3, 5, 8], ids)
        self.indices = run.rng.permutation(self.pages)[:8].astype(ids)
        self.last = np.array([1, 2, 3], ids)
        self.batch = np.array([0, 0, 1, 2, 2, 2], ids)
        self.position = np.array([2 * page, 2 * page + 1, page, 0, page + 1, 2 * page - 1], ids)
        self.where = [(int(self.indices[self.indptr[b] + p // page]), int(p % page)) for b, p in zip(self.batch, self.position)]
        self.put = [run.dev.put(a) for a in (self.indices, self.indptr, self.last)]
        self.put_tokens = [run.dev.put(a) for a in (self.batch, self.position)]


ELEMENTS = {"__half": 2, "__nv_bfloat16": 2, "__nv_fp8_e4m3": 1, "__nv_fp8_e5m2": 1, "float": 4}


def check_pages(run, tables, got, start, rows, what):
    """The cache (pages, page, ...) is as it was, but for the appended rows."""
    want = start.copy()
    for (page, entry), row in zip(tables.where, rows):
        want[page, entry] = row
    run.exact(what, got, want)


@case("A", *((f"d{dim}-{kind.strip('_')}-p{page}", {"dim": dim, "kind": kind, "page": page}) for kind in list(ELEMENTS)[:4] for dim in (64, 128, 256, 512)
             for page in ((5, 16) if dim == 128 else (5,))))
def page_append(run, dim, kind, page):
    size, heads = ELEMENTS[kind], 2
    vec = max(16 // size, dim // 32)
    tables = Tables(run, page)
    dtype = U8 if size == 1 else U16
    top = 1 << (8 * size)
    keys, values = (run.rng.integers(0, top, (6, heads, dim)).astype(dtype) for _ in range(2))
    caches = [run.rng.integers(0, top, (tables.pages, page, heads, dim)).astype(dtype) for _ in range(2)]
    k, v = (run.dev.put(c) for c in caches)
    strides = [U32(page * heads * dim), U32(heads * dim), U32(dim)]
    struct = blob(*divider(page), U32(heads), U32(dim), U32(3), *strides, *strides, k, v, *tables.put, U64(0))
    run.dev.launch("page", rf"AppendPagedKVCacheKernel<{dim}u, {vec}u, {kind}, int>", 4, (dim // vec, heads),
                   [struct, run.dev.put(keys), run.dev.put(values), *tables.put_tokens, U32(6), *(U64(s) for s in (heads * dim, dim) * 2)])
    check_pages(run, tables, k.read(), caches[0], keys, "keys")
    check_pages(run, tables, v.read(), caches[1], values, "values")


def mla_struct(tables, page, ckv, kpe, dims, divide):
    return blob(*divide, U32(512), U32(64), U32(3), U32(page * dims[0]), U32(page * dims[1]), U32(dims[0]), U32(dims[1]), ckv, kpe,
                *tables.put, U64(0))


@case("A", *((kind.strip("_"), {"kind": kind}) for kind in list(ELEMENTS)[:4]))
def page_append_mla(run, kind):
    size, page = ELEMENTS[kind], 5
    vec = max(16 // size, 4)
    tables, dtype, top = Tables(run, page), (U8 if size == 1 else U16), 1 << (8 * size)
    ckv, kpe = (run.rng.integers(0, top, (6, d)).astype(dtype) for d in (512, 64))
    caches = [run.rng.integers(0, top, (tables.pages, page, d)).astype(dtype) for d in (512, 64)]
    a, b = (run.dev.put(c) for c in caches)
    run.dev.launch("page", rf"AppendPagedKVMlaCacheKernel<512u, 64u, {vec}u, {kind}, int>", 4, 512 // vec,
                   [mla_struct(tables, page, a, b, (512, 64), divider(page)), run.dev.put(ckv), run.dev.put(kpe), *tables.put_tokens, U32(6),
                    U64(512), U64(64)])
    check_pages(run, tables, a.read(), caches[0], ckv, "latents")
    check_pages(run, tables, b.read(), caches[1], kpe, "positions")


def judge_appended(run, what, got, scales, x, g):
    judge_fp4(run, unpack4(got), scales, x.reshape(*x.shape[:-1], -1, 16), g)


@case("A", *((f"d{dim}-{kind}", {"dim": dim, "kind": kind}) for dim in (64, 128, 256, 512) for kind in TYPES))
def page_append_nvfp4(run, dim, kind):
    page, heads, gk, gv = 5, 2, F32(0.25), F32(0.03)
    tables = Tables(run, page)
    data = [half_input(run, kind, 6, heads, dim) for _ in range(2)]
    k, v = (run.dev.put(np.zeros((tables.pages, page, heads, dim // 2), U8)) for _ in range(2))
    ksf, vsf = (run.dev.put(np.zeros((tables.pages, page, heads, dim // 16), U8)) for _ in range(2))
    strides = [U32(page * heads * dim // 2), U32(heads * dim // 2), U32(dim // 2)]
    sf = [U64(page * heads * dim // 16), U64(heads * dim // 16), U64(dim // 16)]
    struct = blob(*divider(page), U32(heads), U32(dim // 2), U32(3), *strides, *strides, k, v, *tables.put, U64(0))
    run.dev.launch("page", rf"NVFP4QuantizeAppendPagedKVCacheKernel<{dim}u, {TYPES[kind]}, int>", (6, heads), 32,
                   [struct, run.dev.put(data[0][0]), run.dev.put(data[1][0]), *tables.put_tokens, U32(6), *(U64(s) for s in (heads * dim, dim) * 2),
                    ksf, vsf, *sf, *sf, gk, gv])
    for what, (_, x), cache, scales, g in (("keys", data[0], k, ksf, gk), ("values", data[1], v, vsf, gv)):
        at = tuple(np.array(tables.where).T)
        judge_appended(run, what, cache.read()[at], scales.read()[at], x, float(g))


@case("A", *((f"d{dim}-{kind}-{ids}", {"dim": dim, "kind": kind, "ids": ids}) for dim in (64, 128, 256, 512) for kind in TYPES for ids in ("int", "long")))
def page_append_nvfp4_slots(run, dim, kind, ids):
    page, pages, heads, gk, gv = 4, 3, 2, F32(0.25), F32(0.03)
    slots = np.array([7, -1, 0, 11, 12, 5])
    data = [half_input(run, kind, 6, heads, dim) for _ in range(2)]
    k, v = (run.dev.put(np.full((pages * page, heads, dim // 2), 0x77, U8)) for _ in range(2))
    ksf, vsf = (run.dev.put(np.full((pages * page, heads, dim // 16), 0x77, U8)) for _ in range(2))
    strides = [U64(page * heads * dim // 2), U64(heads * dim // 2), U64(dim // 2)]
    sf = [U64(page * heads * dim // 16), U64(heads * dim // 16), U64(dim // 16)]
    run.dev.launch("page", rf"NVFP4QuantizeAppendPagedKVCacheWithSlotMappingKernel<{dim}u, {TYPES[kind]}, {ids}>", (6, heads), 32,
                   [run.dev.put(data[0][0]), run.dev.put(data[1][0]), run.dev.put(slots.astype(I32 if ids == "int" else I64)), U32(6), U32(heads),
                    U32(page), U32(pages), *(U64(s) for s in (heads * dim, dim) * 2), k, v, ksf, vsf, *strides, *strides, *sf, *sf,
                    run.dev.put(np.array([gk])), run.dev.put(np.array([gv]))])
    kept = [0, 2, 3, 5]
    rest = [i for i in range(pages * page) if i not in slots[kept]]
    for what, (_, x), cache, scales, g in (("keys", data[0], k, ksf, gk), ("values", data[1], v, vsf, gv)):
        judge_appended(run, what, cache.read()[slots[kept]], scales.read()[slots[kept]], x[kept], float(g))
        run.exact("untouched", cache.read()[rest], np.full((len(rest), heads, dim // 2), 0x77))


@case("A", *((kind, {"kind": kind}) for kind in TYPES))
def page_append_mla_nvfp4(run, kind):
    page, g, gp = 5, F32(0.25), F32(0.5)
    tables = Tables(run, page)
    codes, x = half_input(run, kind, 6, 512)
    pe_codes, pe = half_input(run, kind, 6, 64)
    ckv, kpe = (run.dev.put(np.zeros((tables.pages, page, d), U8)) for d in (256, 64))
    sf = run.dev.put(np.zeros((tables.pages, page, 32), U8))
    run.dev.launch("page", rf"NVFP4QuantizeAppendPagedKVMlaCacheKernel<512u, 64u, {TYPES[kind]}, int>", 4, 64,
                   [mla_struct(tables, page, ckv, kpe, (256, 64), divider(page)), run.dev.put(codes), run.dev.put(pe_codes), *tables.put_tokens, U32(6),
                    U64(512), U64(64), sf, U64(page * 32), U64(32), g, gp])
    at = tuple(np.array(tables.where).T)
    judge_appended(run, "latents", ckv.read()[at], sf.read()[at], x, float(g))
    run.exact("positions", kpe.read()[at], to_e4m3(pe / float(gp)))
