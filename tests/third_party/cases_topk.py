"""Section A, last part: the largest k of each row, by radix select in one CTA, several CTAs or clusters."""

import numpy as np
from cases_small import F32, I32, I64, U32
from harness import Wrong, case

STATE = 3 * 256 * 4 + 24 + 8  # RadixRowState
SCRATCH = 2 * 256 * 4  # RadixDeterministicCollectScratch


def judge_top(run, logits, k, indices, values=None, what="indices"):
    """k different places that hold the k largest values, whatever their order; values are those of the places."""
    for row, places in enumerate(indices):
        if len(set(places.tolist())) != k or places.min() < 0 or places.max() >= logits.shape[1]:
            raise Wrong(f"{what}: row {row} has {len(set(places.tolist()))} different places of {k}")
        run.exact(what, np.sort(logits[row][places]), np.sort(logits[row])[-k:])
        if values is not None:
            run.exact("values", values[row], logits[row][places])


def tied(run, rows, length):
    """Logits of which many are equal."""
    return (np.round(run.normal(rows, length) * 64) / 64).astype(F32)


KINDS = [
    (f"v{vec}-{'det' if det else 'free'}", {"vec": vec, "det": det})
    for vec in (1, 2, 4)
    for det in (False, True)
]


@case("A", *KINDS, ("v4-free-reuse", {"vec": 4, "det": False, "ctas": 2}))
def topk_radix_single(run, vec, det, ctas=3):
    """A CTA a row; where there are fewer, CTAs go on with another row."""
    rows, length, k = 3, {4: 2048, 2: 2050, 1: 2049}[vec], 300
    logits = tied(run, rows, length)
    indices, values = run.dev.empty((rows, k), I32), run.dev.empty((rows, k), F32)
    chunk = -(-length // vec) * vec
    run.dev.launch(
        "topk",
        rf"RadixTopKKernel_Unified<1024u, {vec}u, true, {'true' if det else 'false'}, \(.*RadixTopKMode\)0, float, int,",
        ctas,
        1024,
        [
            run.dev.put(logits),
            indices,
            values,
            None,
            None,
            None,
            None,
            None,
            I64(0),
            U32(k),
            U32(length),
            U32(rows),
            None,
            None,
            U32(chunk),
            U32(1),
        ],
        smem=2080 + 4 * chunk,
    )
    judge_top(run, logits, k, indices.read(), values.read())


@case(
    "A",
    *KINDS,
    ("v4-free-reuse", {"vec": 4, "det": False, "rows": 3}),
    *((f"{name}-norace", {**options, "race": False}) for name, options in KINDS),
)
def topk_radix_multi(run, vec, det, rows=2, race=True):
    """Rows are split over three CTAs, which wait for each other at counters in global memory; two groups serve the rows."""
    length, k, ctas, groups = {4: 6144, 2: 6142, 1: 6143}[vec], 500, 3, 2
    logits = tied(run, rows, length)
    indices, values = run.dev.empty((rows, k), I32), run.dev.empty((rows, k), F32)
    state = run.dev.put(np.zeros(groups * STATE, np.uint8), "states")
    scratch = run.dev.put(np.zeros(groups * SCRATCH, np.uint8), "scratch") if det else None
    run.dev.launch(
        "topk",
        rf"RadixTopKKernel_Unified<1024u, {vec}u, false, {'true' if det else 'false'}, \(.*RadixTopKMode\)0, float, int,",
        groups * ctas,
        1024,
        [
            run.dev.put(logits),
            indices,
            values,
            None,
            None,
            None,
            None,
            None,
            I64(0),
            U32(k),
            U32(length),
            U32(rows),
            state,
            scratch,
            U32(2048),
            U32(ctas),
        ],
        smem=2080 + 4 * 2048,
        race=race,
    )
    judge_top(run, logits, k, indices.read(), values.read())
    run.exact(
        "arrival counters, cleared for the next launch",
        state.read().reshape(groups, STATE)[:, 3080:3084],
        np.zeros((groups, 4)),
    )


CLUSTERS = (1, 2, 4, 8)


def smem_of(k, cached):
    return cached * 16 + 4 * k + 4 * (5 + 768 + 8)


@case(
    "A",
    *(
        (f"c{c}-{ids}{'' if pdl else '-nopdl'}", {"c": c, "ids": ids, "pdl": pdl})
        for c in CLUSTERS
        for ids in ("int", "long")
        for pdl in (True, False)
    ),
    *((f"c{c}-int-norace", {"c": c, "ids": "int", "pdl": True, "race": False}) for c in CLUSTERS),
)
def fast_topk_exact(run, c, ids, pdl, race=True):
    rows, length, k, cached = 2, 5000, 512, 256
    logits = tied(run, rows, length)
    indices, values = run.dev.empty((rows, k), I32 if ids == "int" else I64), run.dev.empty((rows, k), F32)
    overflow = run.dev.empty((rows, 4 * 8192), I32, "overflow")
    run.dev.launch(
        "fast_topk",
        rf"fast_topk_clusters_exact_kernel<float, {ids}, {c}, {'true' if pdl else 'false'}>",
        rows * c,
        1024,
        [
            run.dev.put(logits),
            indices,
            values,
            I32(length),
            None,
            overflow,
            I32(8192 // c),
            I32(length),
            I32(k),
            I32(cached),
            I32(k),
        ],
        smem=smem_of(k, cached),
        cluster=(c, 1, 1),
        race=race,
    )
    judge_top(run, logits, k, indices.read(), values.read())


@case(
    "A",
    *((f"c{c}-{form}", {"c": c, "form": form}) for c in CLUSTERS for form in ("page", "ragged")),
    *(
        (f"c{c}-{form}-norace", {"c": c, "form": form, "race": False})
        for c in CLUSTERS[1:]
        for form in ("page", "ragged")
    ),
)
def fast_topk_transform(run, c, form, race=True):
    """Places become entries of a page table, or are shifted by an offset; a row shorter than k is filled with -1."""
    rows, length, k, cached = 3, 4000, 512, 256
    lengths = np.array([4000, 300, 2500], I32)
    logits = tied(run, rows, length)
    indices = run.dev.empty((rows, k), I32)
    overflow = run.dev.empty((rows, 4 * 8192), I32, "overflow")
    table = np.stack([run.rng.permutation(100000)[:length] for _ in range(rows)]).astype(I32)
    offsets = np.array([100000, 7, 5000], I32)
    extra = [I32(length)] if form == "page" else []
    name = "page_table_transform" if form == "page" else "ragged_transform"
    run.dev.launch(
        "fast_topk",
        rf"fast_topk_clusters_exact_{name}_kernel<float, {c}, true>",
        rows * c,
        1024,
        [
            run.dev.put(logits),
            indices,
            run.dev.put(lengths),
            run.dev.put(table if form == "page" else offsets),
            None,
            overflow,
            I32(8192 // c),
            I32(length),
            I32(k),
            *extra,
            I32(cached),
            I32(k),
        ],
        smem=smem_of(k, cached),
        cluster=(c, 1, 1),
        race=race,
    )
    got = indices.read()
    for row in range(rows):
        if lengths[row] <= k:
            places = np.full(k, -1)
            places[: lengths[row]] = (
                table[row, : lengths[row]] if form == "page" else offsets[row] + np.arange(lengths[row])
            )
            run.exact("short row", got[row], places)
            continue
        where = {int(entry): place for place, entry in enumerate(table[row])} if form == "page" else None
        places = np.array([where.get(int(e), -1) for e in got[row]]) if where else got[row] - offsets[row]
        judge_top(run, logits[row : row + 1, : lengths[row]], k, places[None])
