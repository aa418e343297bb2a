"""Section A, third part: hyper-connections, rotary embeddings."""

import numpy as np
from cases_small import F32, I32, I64, TYPES, U16, U32, U64, half_input
from formats import bf16, half_ulp
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
    run.dev.launch(
        "mhc_post",
        kernel,
        grid,
        block,
        [
            run.dev.put(x_codes),
            run.dev.put(res_codes),
            run.dev.put(post),
            run.dev.put(comb),
            out,
            I64(tokens),
            I64(hidden),
        ],
    )
    terms = np.concatenate(
        [post[:, None, :, None] * x[:, None, None], comb[..., None].astype(np.float64) * res[:, :, None]], 1
    )
    want, size = terms.sum(1), np.abs(terms).sum(1)
    run.close(
        "out",
        bf16(out.read()),
        want,
        half_ulp(want, "bf16") + 5 * 2.0**-24 * size,
        "half a bf16 ulp + 5 x 2^-24 of the terms",
    )


@case(
    "A",
    *(
        (
            f"s{splits}-b{block}{'-sum' if square else ''}",
            {"splits": splits, "block": block, "square": square},
        )
        for splits, square in ((1, False), (2, False), (4, False), (8, False), (16, False), (1, True))
        for block in (512, 256, 128)
    ),
)
def mhc_pre_big_fuse(run, splits, block, square):
    tokens, hidden, rounds = 3, 1288, 20
    eps, pre_eps, sinkhorn_eps, mult = F32(1e-6), F32(1e-4), F32(1e-5), F32(2)
    mix = run.normal(splits, tokens, 24, scale=20.0)
    codes, res = half_input(run, "bf16", tokens, 4, hidden)
    squares = (res**2).sum((1, 2))
    parts = run.rng.dirichlet(np.ones(splits), tokens).T * squares
    sq = parts.astype(F32)
    scale, base = run.normal(3), run.normal(24)
    post, comb, y = (
        run.dev.empty((tokens, 4), F32),
        run.dev.empty((tokens, 4, 4), F32),
        run.dev.empty((tokens, hidden), U16),
    )
    run.dev.launch(
        "mhc_pre_big_fuse",
        rf"mhc_pre_big_fuse_kernel<{splits}, {block}, {'true' if square else 'false'}>",
        tokens,
        block,
        [
            run.dev.put(mix),
            None if square else run.dev.put(sq),
            run.dev.put(codes),
            run.dev.put(scale),
            run.dev.put(base),
            post,
            comb,
            y,
            I32(tokens),
            I32(4 * hidden),
            I32(hidden),
            eps,
            pre_eps,
            sinkhorn_eps,
            mult,
            I32(rounds),
        ],
    )
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
    run.close(
        "post",
        post.read(),
        want_post,
        mult * slack[:, 4:8] + 8 * 2.0**-23,
        "the error of the argument + 2^-20",
    )
    reach = slack[:, 8:].max(1)[:, None, None] * 8 + rounds * 2 * 4 * 2.0**-23
    run.close(
        "comb",
        comb.read(),
        want_comb,
        reach * np.maximum(want_comb, 1e-3),
        "8 x the error of the argument + 2^-20 a round",
    )
    terms = pre[:, :, None] * res
    bound = (
        half_ulp(terms.sum(1), "bf16")
        + (slack[:, :4, None] * np.abs(res)).sum(1)
        + 16 * 2.0**-23 * np.abs(terms).sum(1)
    )
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


@case(
    "A",
    *(
        (f"d{dim}-{kind}-{'pairs' if pairs else 'halves'}", {"dim": dim, "kind": kind, "pairs": pairs})
        for dim in (64, 128, 256, 512)
        for kind in TYPES
        for pairs in (True, False)
    ),
)
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
    run.dev.launch(
        "rope",
        rf"CosSinCacheHeadParallelismKernel<{'true' if pairs else 'false'}, {dim}u, {vec}u, {threads}u, {TYPES[kind]}, int>",
        (-(-tokens // rows), heads_q + heads_k),
        (threads, rows),
        [
            run.dev.put(q_codes),
            run.dev.put(k_codes),
            q_out,
            k_out,
            run.dev.put(table),
            run.dev.put(pos),
            U32(tokens),
            U32(heads_q),
            U32(heads_k),
            U32(dim),
            *(U64(v) for v in strides),
        ],
    )
    for what, x, out in (("q", q, q_out), ("k", k, k_out)):
        cos, sin = (
            table[pos][:, None, : dim // 2].astype(np.float64),
            table[pos][:, None, dim // 2 :].astype(np.float64),
        )
        first, second = (x[..., 0::2], x[..., 1::2]) if pairs else (x[..., : dim // 2], x[..., dim // 2 :])
        parts = first * cos - second * sin, second * cos + first * sin
        sizes = np.abs(first * cos) + np.abs(second * sin), np.abs(second * cos) + np.abs(first * sin)
        join = (lambda a: np.stack(a, -1).reshape(x.shape)) if pairs else (lambda a: np.concatenate(a, -1))
        want, got = join(parts), out.read()
        got = bf16(got) if kind == "bf16" else got.view(np.float16).astype(np.float64)
        run.close(
            what, got, want, half_ulp(want, kind) + 2.0**-22 * join(sizes), f"half a {kind} ulp + 2^-22"
        )
