"""Section C: a video model's attention, in bf16 and with E4M3 operands: no mask, sequences one after the other."""

import deepwell
import numpy as np
from cases_small import F32, I32, U8, U16, U32, half_input
from formats import E4M3, bf16, half_ulp, to_bf16
from harness import case
from ptx import ELECT_SYNC


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def rows_map(run, buffer, tokens, box):
    """bf16 rows of 56 heads of 128 channels: a head's tile in two halves of 64 channels."""
    spec = {
        "globalDim": (64, tokens, 56, 2),
        "globalStrides": (56 * 256, 256, 128),
        "boxDim": (64, box, 1, 2),
    }
    spec |= {"tensorDataType": "BFLOAT16", "swizzle": "128B"}
    return deepwell.Struct(128, {0: run.dev.machine.tensor_map(buffer.at(0), **spec)})


@case(
    "C",
    *(
        (f"{n}-{split}", {"tokens": n, "split": split, "ctas": ctas})
        for n, split, ctas in ((40, 1, 2), (100, 2, 2), (200, 2, 4))
    ),
    ("200-2-elect_only", {"tokens": 200, "split": 2, "ctas": 4, "patches": ()}),
)
def h3_dense_attn(run, tokens, split, ctas, heads=3, patches=(ELECT_SYNC,)):
    """Of 56 heads the first ones; what is left for the last round is split over the CTAs."""
    (q, queries), (k, keys), (v, values) = (half_input(run, "bf16", tokens, 56, 128) for _ in "qkv")
    put, tiles, parts = run.dev.put, -(-tokens // 128), -(-tokens // 64)
    items = tiles * heads
    q, k, v, out = put(q), put(k), put(v), run.dev.empty((tokens, 56, 128), U16, "out")
    partial, counters = run.dev.empty(ctas * 68 * 256, F32, "partial"), put(np.zeros(ctas, I32), "counters")
    base = items - items % ctas if split > 1 else items
    work = base + (items - base) * split
    run.dev.launch("h3_dense_attn", "kernel_minimax_h3_dense_attention", ctas, 256, [
        rows_map(run, q, tokens, 128), rows_map(run, k, tokens, 64), rows_map(run, v, tokens, 64), out, partial, counters,
        I32(tokens), I32(tiles), I32(parts), U32(work), U32(base), I32(split), I32(-(-parts // split)), F32(np.log2(np.e)),
        U32(0x3DB53DB5)], 99456, patches=patches)  # fmt: skip
    queries = bf16(to_bf16((queries * bf16(0x3DB5)).astype(F32)))
    got = bf16(out.read())
    for head in range(heads):
        share, held = softmax(queries[:, head] @ keys[:, head].T), values[:, head]
        want, size = share @ held, share @ np.abs(held)
        # Weights are rounded to bf16; the sums of their roundings are taken as six standard deviations.
        bound = 6 * 2.0**-9 * np.sqrt(share**2 @ held**2 / 3) + 2.0**-12 * size + half_ulp(want, "bf16")
        run.close(
            "out",
            got[:, head],
            want,
            bound,
            "6 sigma of weights rounded to bf16, 2^-12 of the sum of magnitudes",
        )


def byte_rows(run, buffer, dims, strides, box):
    spec = {
        "globalDim": dims,
        "globalStrides": strides,
        "boxDim": box,
        "tensorDataType": "UINT8",
        "swizzle": "128B",
    }
    return deepwell.Struct(128, {0: run.dev.machine.tensor_map(buffer.at(0), **spec)})


@case(
    "C",
    ("70", {"lengths": (70,)}),
    ("5+0+150", {"lengths": (5, 0, 150)}),
    ("300", {"lengths": (300,)}),
    ("300-elect_only", {"lengths": (300,), "patches": ()}),
)
def h3_varlen_attn_fp8(run, lengths, heads=2, patches=(ELECT_SYNC,)):
    """Statistics of K and V, their quantisation, and the attention: each judged from what it is given."""
    tokens, segments, grid = sum(lengths), len(lengths), 2
    (q, queries), (k, keys), (v, values) = (half_input(run, "bf16", tokens, heads, 128) for _ in "qkv")
    begins = np.concatenate([[0], np.cumsum(lengths)]).astype(I32)
    tiles = [(s, t) for s, length in enumerate(lengths) for t in range(-(-length // 128))]
    first = np.concatenate([[0], np.cumsum([-(-length // 128) for length in lengths])]).astype(I32)
    units = [(s, h << 16 | t) for s, t in tiles for h in range(heads)]
    blocks = -(-tokens // 128)
    put, empty = run.dev.put, run.dev.empty
    q, k, v, bounds = put(q), put(k), put(v), put(begins)
    table, unit_table = put(np.array(tiles, I32)), put(np.array(units, I32))
    begin, length, tile_begin = put(begins[:-1].copy()), put(np.array(lengths, I32)), put(first)
    partials = empty(len(tiles) * heads * 256, F32, "partials")
    mean, v_scale = (empty((segments, heads, 128), F32, name) for name in ("mean", "v_scale"))
    q8, k8 = (empty((tokens, heads, 128), U8, name) for name in ("q8", "k8"))
    vt8, out = empty((heads, 128, blocks * 128), U8, "vt8"), empty((tokens, heads, 128), U16, "out")
    q_scale, k_scale = empty(tokens * heads, F32, "q_scale"), empty((heads, blocks), F32, "k_scale")

    def launch(kernel, threads, params, shared, patches=()):
        run.dev.launch("h3_quant_attn", f"{kernel}_sm120a::", grid, threads, params, shared, patches=patches)

    launch(
        "h3_varlen_kv_stats", 256, [k, v, table, begin, length, partials, I32(len(tiles)), I32(heads)], 16384
    )
    launch(
        "h3_varlen_kv_stats_finalize",
        256,
        [partials, tile_begin, length, mean, v_scale, I32(segments), I32(heads)],
        0,
    )
    launch("h3_varlen_quantize_fp8", 256, [q, k, v, bounds, mean, v_scale, q8, k8, vt8, q_scale, k_scale, I32(tokens),
                                          I32(blocks * 128), I32(segments), I32(heads), I32(blocks)], 128)  # fmt: skip
    rows, strides = (128, tokens, heads), (heads * 128, 128)
    maps = [byte_rows(run, one, rows, strides, (128, 128, 1)) for one in (q8, k8)]
    maps.append(
        byte_rows(run, vt8, (blocks * 128, 128, heads), (blocks * 128, blocks * 128 * 128), (128, 128, 1))
    )
    params = [*maps, out, q_scale, k_scale, v_scale, begin, length, unit_table]
    factor = 128**-0.5
    params += [I32(len(units)), I32(heads), I32(blocks), F32(factor * np.log2(np.e))]
    launch("h3_varlen_attention_fp8", 256, params, 82944, patches)

    means, v_scales, got = mean.read().astype(np.float64), v_scale.read().astype(np.float64), bf16(out.read())
    held_q, held_k = E4M3[q8.read()], E4M3[k8.read()]
    q_scales, k_scales = q_scale.read().astype(np.float64), k_scale.read().astype(np.float64)
    # V is kept as the MMA's lanes want it: of each 16 keys in this order.
    order = np.array([0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15])
    held_v = np.empty((heads, 128, blocks * 8, 16))
    held_v[..., order] = E4M3[vt8.read()].reshape(heads, 128, blocks * 8, 16)
    held_v = held_v.reshape(heads, 128, blocks * 128)[..., :tokens].transpose(2, 0, 1)
    q_scales = near_scales(q_scales, queries, tokens, heads)
    back_q, back_k = held_q * q_scales[..., None], held_k * np.repeat(k_scales.T, 128, 0)[:tokens, :, None]
    run.close("q", back_q, queries, half_step(queries, q_scales[..., None]), "half an ulp of E4M3")
    for s in range(segments):
        part = slice(begins[s], begins[s + 1])
        if lengths[s] == 0:
            continue
        exact = keys[part].mean(0)
        run.close(
            "means",
            means[s],
            exact,
            2.0**-18 * np.abs(keys[part]).mean(0) + 1e-30,
            "2^-18 of the mean magnitude",
        )
        top = np.abs(values[part]).max(0)
        run.close("V scales", v_scales[s], top / 448, top / 448 * 2.0**-20, "2^-20 relative")
        scale = np.repeat(k_scales.T, 128, 0)[:tokens][part][..., None]
        shifted = keys[part] - means[s]
        run.close("k", back_k[part], shifted, half_step(shifted, scale) + 2.0**-20, "half an ulp of E4M3")
        run.close(
            "v",
            held_v[part] * v_scales[s],
            values[part],
            half_step(values[part], v_scales[s]),
            "half an ulp of E4M3",
        )
        for head in range(heads):
            share = softmax(back_q[part, head] @ back_k[part, head].T * factor)
            held = held_v[part, head] * v_scales[s, head]
            want, size = share @ held, share @ np.abs(held)
            bound = 6 * 2.0**-4 * np.sqrt(share**2 @ held**2 / 3) + 2.0**-10 * size + half_ulp(want, "bf16")
            run.close(
                "out",
                got[part, head],
                want,
                bound,
                "6 sigma of weights rounded to E4M3, 2^-10 of the sum of magnitudes",
            )


def half_step(values, scale):
    return np.maximum(2.0**-4 * np.abs(values) * 1.001, 2.0**-10 * scale) + 1e-30


def near_scales(scales, queries, tokens, heads):
    """(tokens, heads), whichever of the two is contiguous."""
    top = np.abs(queries).max(-1) / 448
    return min(
        (scales.reshape(tokens, heads), scales.reshape(heads, tokens).T),
        key=lambda one: np.abs(one - top).max(),
    )
