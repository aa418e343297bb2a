"""Attention in NVFP4: queries, weights and values in E2M1 with an E4M3 scale a group of 16, and how far off that may be."""

import numpy as np
from attention import NVFP4
from formats import E2M1, E4M3, to_e2m1, to_e4m3

SLACK = 2.0**-18  # of divisions by approximate reciprocals


def quantised(groups):
    """Groups along the last axis of 16 in NVFP4: values, and how much more they may be off where a code is unsure."""
    scale = E4M3[to_e4m3(np.abs(groups).max(-1) / 6)][..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(scale > 0, groups / scale, 0.0)
    values = E2M1[to_e2m1(scaled)] * scale
    unsure = np.abs(E2M1[to_e2m1(scaled * (1 + SLACK))] - E2M1[to_e2m1(scaled * (1 - SLACK))]) * scale
    return values, unsure


def query(q):
    """Queries as these kernels hold them, from bf16 values."""
    out = q.copy()
    values, _ = quantised(q[..., :448].reshape(*q.shape[:-1], 28, 16))
    out[..., :448] = values.reshape(*q.shape[:-1], 448)
    return out


def without_ties(codes, bf16):
    """bf16 queries whose codes and scales do not depend on the last bits of a division."""
    codes = codes.copy()
    for _ in range(12):
        groups = bf16(codes)[..., :448].reshape(*codes.shape[:-1], 28, 16)
        raw = np.abs(groups).max(-1) / 6
        scales_differ = to_e4m3(raw * (1 - SLACK)) != to_e4m3(raw * (1 + SLACK))
        _, unsure = quantised(groups)
        bad = (unsure > 0) | (
            scales_differ[..., None] & (np.abs(groups) == np.abs(groups).max(-1, keepdims=True))
        )
        if not bad.any():
            return codes
        codes[..., :448] += bad.reshape(*codes.shape[:-1], 448).astype(np.uint16)
    raise AssertionError("ties remain")


def half_step(x):
    """How far E2M1 rounding moves a value, at most."""
    x = np.abs(x)
    return np.where(x < 2, 0.25, np.where(x < 4, 0.5, 1.0))


def reference(q, sections, scale, sink, quantise_values=True):
    """Attention of one token, as attention.reference says. sections: (keys, values, used) padded to whole tiles, in the kernel's order;
    groups are 16 neighbours of these."""
    keys, values, used = (np.concatenate([s[i] for s in sections]) for i in range(3))
    score = np.where(used, q @ keys.T * scale, -np.inf)
    if not used.any():
        out = np.zeros((len(q), values.shape[1]))
        lse = np.full(len(q), -np.inf) if sink is None else sink * np.log2(np.e)
        return out, out + 1e-30, lse, np.full(len(q), 1e-5) + 1e-6 * np.abs(np.nan_to_num(lse, neginf=0))
    slack = (
        2.0**-18 * (np.abs(q) @ np.abs(keys).T * scale).max(1)
        + 2e-6 * np.abs(np.where(used, score, 0)).max(1)
        + 1e-6
    )
    top = score.max(1)
    weight = np.exp(score - top[:, None])
    total = weight.sum(1) + (0 if sink is None else np.exp(sink - top))
    share = weight / total[:, None]
    groups = values[:, :448].reshape(-1, 16, 448).swapaxes(1, 2)
    held, unsure = quantised(groups) if quantise_values else (groups, np.zeros_like(groups))
    held, unsure = (a.swapaxes(1, 2).reshape(-1, 448) for a in (held, unsure))
    held = np.concatenate([held, values[:, 448:]], 1)
    out, size = share @ held, share @ np.abs(held)
    step = np.repeat(share.reshape(len(q), -1, 16).max(-1) / 6 * 1.07, 16, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(step > 0, half_step(share / step) * step, 0.0)
    spread = np.sqrt(moved**2 @ held[:, :448] ** 2 / 3)
    bound = 2 * slack[:, None] * size + 2.0**-8 * size
    bound[:, :448] += 6 * spread + share @ unsure
    bound[:, 448:] += 6 * np.sqrt(share**2 @ held[:, 448:] ** 2) * 2.0**-9
    return out, bound, np.log2(total) + top * np.log2(np.e), 2 * slack + 1e-5


def sections_of(cache, rows, length, tile=64):
    """Rows of one token, in tiles of `tile`; entries that are not used are zero rows."""
    padded = -(-length // tile) * tile
    chosen = np.full(padded, -1)
    chosen[:length] = rows[:length]
    used = chosen >= 0
    keys, values = (
        np.where(used[:, None], x[np.maximum(chosen, 0)], 0.0) for x in (cache.keys, cache.values)
    )
    return keys, values, used


def judge(run, q, of, scale, sink, out, lse):
    for token in range(len(q)):
        want, bound, want_lse, lse_bound = reference(q[token], of(token), scale, sink)
        run.close("lse", lse[token], want_lse, lse_bound, "scores 2^-18")
        run.close(
            "out",
            out[token],
            want,
            bound,
            "6 sigma of weights rounded to E2M1 in groups of 16, scores 2^-18, bf16 partial results",
        )


LAYOUT = NVFP4
