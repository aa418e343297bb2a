"""Section A, fourth part: appending to paged caches."""

import numpy as np
from cases_small import F32, I32, I64, TYPES, U8, U16, U32, U64, half_input, judge_fp4
from emulator import blob
from formats import to_e4m3, unpack4
from harness import case


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
        self.where = [
            (int(self.indices[self.indptr[b] + p // page]), int(p % page))
            for b, p in zip(self.batch, self.position)
        ]
        self.put = [run.dev.put(a) for a in (self.indices, self.indptr, self.last)]
        self.put_tokens = [run.dev.put(a) for a in (self.batch, self.position)]


# Bytes from one element to the next.
ELEMENTS = {"__half": 2, "__nv_bfloat16": 2, "__nv_fp8_e4m3": 1, "__nv_fp8_e5m2": 1, "__nv_fp4_e2m1": 1}


def check_pages(run, tables, kind, *caches):
    """Caches (pages, page, ...) are as they were, but for the appended rows; of e2m1 first that half of each row arrives."""
    wanted = []
    for what, got, start, rows in caches:
        want = start.copy()
        for (page, entry), row in zip(tables.where, rows):
            want[page, entry] = row
        wanted.append((what, got.read(), start, want))
    half = kind == "__nv_fp4_e2m1"
    for what, got, start, want in wanted if half else ():
        run.exact(what, got, np.where(np.arange(start.shape[-1]) % 16 < 8, want, start))
    for what, got, _, want in wanted:
        run.exact(what + ", all 16 bytes" * half, got, want)


@case(
    "A",
    *(
        (f"d{dim}-{kind.strip('_')}-p{page}", {"dim": dim, "kind": kind, "page": page})
        for kind in ELEMENTS
        for dim in (64, 128, 256, 512)
        for page in ((5, 16) if dim == 128 else (5,))
    ),
)
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
    run.dev.launch(
        "page",
        rf"AppendPagedKVCacheKernel<{dim}u, {vec}u, {kind}, int>",
        4,
        (dim // vec, heads),
        [
            struct,
            run.dev.put(keys),
            run.dev.put(values),
            *tables.put_tokens,
            U32(6),
            *(U64(s) for s in (heads * dim, dim) * 2),
        ],
    )
    check_pages(run, tables, kind, ("keys", k, caches[0], keys), ("values", v, caches[1], values))


def mla_struct(tables, page, ckv, kpe, dims, divide):
    return blob(
        *divide,
        U32(512),
        U32(64),
        U32(3),
        U32(page * dims[0]),
        U32(page * dims[1]),
        U32(dims[0]),
        U32(dims[1]),
        ckv,
        kpe,
        *tables.put,
        U64(0),
    )


@case("A", *((kind.strip("_"), {"kind": kind}) for kind in ELEMENTS))
def page_append_mla(run, kind):
    size, page = ELEMENTS[kind], 5
    vec = max(16 // size, 4)
    tables, dtype, top = Tables(run, page), (U8 if size == 1 else U16), 1 << (8 * size)
    ckv, kpe = (run.rng.integers(0, top, (6, d)).astype(dtype) for d in (512, 64))
    caches = [run.rng.integers(0, top, (tables.pages, page, d)).astype(dtype) for d in (512, 64)]
    a, b = (run.dev.put(c) for c in caches)
    run.dev.launch(
        "page",
        rf"AppendPagedKVMlaCacheKernel<512u, 64u, {vec}u, {kind}, int>",
        4,
        512 // vec,
        [
            mla_struct(tables, page, a, b, (512, 64), divider(page)),
            run.dev.put(ckv),
            run.dev.put(kpe),
            *tables.put_tokens,
            U32(6),
            U64(512),
            U64(64),
        ],
    )
    check_pages(run, tables, kind, ("latents", a, caches[0], ckv), ("positions", b, caches[1], kpe))


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
    struct = blob(
        *divider(page), U32(heads), U32(dim // 2), U32(3), *strides, *strides, k, v, *tables.put, U64(0)
    )
    run.dev.launch(
        "page",
        rf"NVFP4QuantizeAppendPagedKVCacheKernel<{dim}u, {TYPES[kind]}, int>",
        (6, heads),
        32,
        [
            struct,
            run.dev.put(data[0][0]),
            run.dev.put(data[1][0]),
            *tables.put_tokens,
            U32(6),
            *(U64(s) for s in (heads * dim, dim) * 2),
            ksf,
            vsf,
            *sf,
            *sf,
            gk,
            gv,
        ],
    )
    for what, (_, x), cache, scales, g in (("keys", data[0], k, ksf, gk), ("values", data[1], v, vsf, gv)):
        at = tuple(np.array(tables.where).T)
        judge_appended(run, what, cache.read()[at], scales.read()[at], x, float(g))


@case(
    "A",
    *(
        (f"d{dim}-{kind}-{ids}", {"dim": dim, "kind": kind, "ids": ids})
        for dim in (64, 128, 256, 512)
        for kind in TYPES
        for ids in ("int", "long")
    ),
)
def page_append_nvfp4_slots(run, dim, kind, ids):
    page, pages, heads, gk, gv = 4, 3, 2, F32(0.25), F32(0.03)
    slots = np.array([7, -1, 0, 11, 12, 5])
    data = [half_input(run, kind, 6, heads, dim) for _ in range(2)]
    k, v = (run.dev.put(np.full((pages * page, heads, dim // 2), 0x77, U8)) for _ in range(2))
    ksf, vsf = (run.dev.put(np.full((pages * page, heads, dim // 16), 0x77, U8)) for _ in range(2))
    strides = [U64(page * heads * dim // 2), U64(heads * dim // 2), U64(dim // 2)]
    sf = [U64(page * heads * dim // 16), U64(heads * dim // 16), U64(dim // 16)]
    run.dev.launch(
        "page",
        rf"NVFP4QuantizeAppendPagedKVCacheWithSlotMappingKernel<{dim}u, {TYPES[kind]}, {ids}>",
        (6, heads),
        32,
        [
            run.dev.put(data[0][0]),
            run.dev.put(data[1][0]),
            run.dev.put(slots.astype(I32 if ids == "int" else I64)),
            U32(6),
            U32(heads),
            U32(page),
            U32(pages),
            *(U64(s) for s in (heads * dim, dim) * 2),
            k,
            v,
            ksf,
            vsf,
            *strides,
            *strides,
            *sf,
            *sf,
            run.dev.put(np.array([gk])),
            run.dev.put(np.array([gv])),
        ],
    )
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
    run.dev.launch(
        "page",
        rf"NVFP4QuantizeAppendPagedKVMlaCacheKernel<512u, 64u, {TYPES[kind]}, int>",
        4,
        64,
        [
            mla_struct(tables, page, ckv, kpe, (256, 64), divider(page)),
            run.dev.put(codes),
            run.dev.put(pe_codes),
            *tables.put_tokens,
            U32(6),
            U64(512),
            U64(64),
            sf,
            U64(page * 32),
            U64(32),
            g,
            gp,
        ],
    )
    at = tuple(np.array(tables.where).T)
    judge_appended(run, "latents", ckv.read()[at], sf.read()[at], x, float(g))
    run.exact("positions", kpe.read()[at], to_e4m3(pe / float(gp)))
