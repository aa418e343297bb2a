"""Sparse latent attention: paged caches with their decoded rows, and what attention over selected rows is, in double precision."""

from dataclasses import dataclass

import numpy as np
from formats import E2M1, E4M3, bf16, pack4, to_bf16, to_e4m3, ue8m0

U8, U16, I32, F32 = np.uint8, np.uint16, np.int32, np.float32
HALF_BF16, HALF_E4M3 = 2.0**-9, 2.0**-4  # largest relative rounding error, of half the spacing


@dataclass
class Layout:
    """Rows of e4m3 or e2m1 codes with a scale a group, then bf16 values; scales behind the codes, or at the page's end."""

    codes: int  # elements with scales
    group: int
    scale: str  # ue8m0, e4m3, f32, pow2
    rope: int  # bf16 elements
    scale_bytes: int
    inline: bool
    value: int  # the first `value` elements of a row are what is summed
    fp4: bool = False
    pad: int = 0  # bytes behind an inline row

    @property
    def width(self):
        return self.codes + self.rope

    @property
    def data_bytes(self):
        return self.codes // (2 if self.fp4 else 1) + 2 * self.rope

    @property
    def row_bytes(self):
        return self.data_bytes + self.scale_bytes + self.pad


DSV4 = Layout(448, 64, "ue8m0", 64, 8, False, 512)
DOTS3 = Layout(1024, 128, "ue8m0", 64, 8, False, 1024)
DSV41 = Layout(512, 32, "ue8m0", 0, 16, False, 512)
DSV41_FP4 = Layout(512, 16, "e4m3", 0, 32, False, 512, fp4=True)
NVFP4 = Layout(448, 16, "e4m3", 64, 32, False, 512, fp4=True)
DSV32 = Layout(512, 128, "pow2", 64, 16, True, 512)
GLM_NSA = Layout(512, 128, "f32", 64, 16, True, 512)
GLM53 = Layout(512, 128, "f32", 0, 16, True, 512, pad=128)


class Cache:
    def __init__(self, run, layout, pages, size, label="kv"):
        self.layout, self.pages, self.size, rows = layout, pages, size, pages * size
        self.stride = size * layout.row_bytes + (0 if layout.inline else 64)
        groups = layout.codes // layout.group
        x = run.normal(rows, layout.codes)
        if layout.fp4:
            codes = run.rng.integers(0, 16, (rows, layout.codes)).astype(U8)
            packed, values = pack4(codes), E2M1[codes]
        else:
            packed = to_e4m3(x * 64)
            values = E4M3[packed]
        if layout.scale == "ue8m0":
            raw = (run.rng.integers(120, 123, (rows, groups))).astype(U8)
            scales = ue8m0(raw)
        elif layout.scale == "e4m3":
            raw = run.rng.integers(0x28, 0x38, (rows, groups)).astype(U8)
            scales = E4M3[raw]
        else:
            values32 = (
                2.0 ** run.rng.integers(-7, -4, (rows, groups))
                * (1 if layout.scale == "pow2" else run.rng.uniform(1, 2, (rows, groups)))
            ).astype(F32)
            raw, scales = values32.view(U8).reshape(rows, -1), values32.astype(np.float64)
        rope = to_bf16(run.normal(rows, layout.rope))
        self.keys = np.concatenate([values * np.repeat(scales, layout.group, 1), bf16(rope)], 1)
        self.values = self.keys[:, : layout.value]
        raw = np.concatenate([raw, np.zeros((rows, layout.scale_bytes - raw.shape[1]), U8)], 1)
        rope_bytes = rope.view(U8).reshape(rows, -1)
        memory = np.zeros((pages, self.stride), U8)
        if layout.inline:
            junk = run.rng.integers(0, 256, (rows, layout.pad)).astype(U8)
            memory[:] = np.concatenate([packed, raw, rope_bytes, junk], 1).reshape(pages, -1)
        else:
            data = np.concatenate([packed, rope_bytes], 1).reshape(pages, -1)
            memory[:, : data.shape[1]] = data
            memory[:, data.shape[1] : data.shape[1] + raw.size // pages] = raw.reshape(pages, -1)
        self.buffer = run.dev.put(memory, label)


def fp8_query(q, layout, exact_scale=False):
    """Queries as these kernels hold them: e4m3 with a scale a group, the largest magnitude / 448, rounded up to a power of two."""
    out = q.copy()
    groups = q[..., : layout.codes].reshape(*q.shape[:-1], -1, layout.group)
    scale = np.maximum(np.abs(groups).max(-1), 1e-4) / 448
    if not exact_scale:
        scale = 2.0 ** np.ceil(np.log2(scale))
    scale = scale[..., None]
    out[..., : layout.codes] = (E4M3[to_e4m3(groups / scale)] * scale).reshape(*q.shape[:-1], -1)
    return out


def without_ties(codes, layout):
    """bf16 queries of which none, over the scale that is no power of two, lies in the middle of two e4m3 values: the kernels divide by an
    approximate reciprocal, so that the middle may go either way."""
    codes = codes.copy()
    for _ in range(8):
        q = bf16(codes)
        groups = q[..., : layout.codes].reshape(*q.shape[:-1], -1, layout.group)
        scaled = groups / (np.maximum(np.abs(groups).max(-1), 1e-4) / 448)[..., None]
        unsure = to_e4m3(scaled * (1 - 2.0**-18)) != to_e4m3(scaled * (1 + 2.0**-18))
        if not unsure.any():
            return codes
        codes[..., : layout.codes] += unsure.reshape(*q.shape[:-1], -1).astype(U16)
    raise AssertionError("ties remain")


def to_fp8_rows(values):
    """FP4 rows as the mixed kernels hold them: e4m3 with a power of two a group of 32, not below 1e-4."""
    groups = values.reshape(len(values), -1, 32)
    scale = 2.0 ** np.ceil(np.log2(np.maximum(np.abs(groups).max(-1) / 448, 1e-4)))[..., None]
    return (E4M3[to_e4m3(groups / scale)] * scale).reshape(values.shape)


def pick(run, cache, tokens, width, lengths):
    """Random rows for every token, some of them -1; entries at and beyond the length would be noticed."""
    rows = run.rng.integers(0, cache.pages * cache.size, (tokens, width)).astype(I32)
    rows[run.rng.random(rows.shape) < 0.1] = -1
    for token, length in enumerate(lengths):
        if 0 < length < width:
            rows[token, 0] = 3
    return rows


@dataclass
class Error:
    """How a kernel's arithmetic may be off: weights and values rounded to `weight` and `value` (half spacing), scores by `score` of
    their magnitude. `flat`: at the least 2^-10 of the largest weight, and of 1 in values, as e4m3 has without scales."""

    weight: float
    score: float = 2.0**-18
    text: str = ""
    value: float = 0.0
    flat: float = 0.0


FP8_WEIGHTS = Error(HALF_E4M3, text="6 sigma of weights rounded to e4m3, scores 2^-18, bf16 partial results")
BF16_WEIGHTS = Error(HALF_BF16, text="6 sigma of weights rounded to bf16, scores 2^-18, bf16 partial results")


def reference(q, parts, scale, sink, error):
    """Attention of one token: q (heads, width); parts: (keys, values) of the selected rows. Output, its bound, log2 of the sum and
    its bound. A head without rows and without a sink gives 0 and -inf."""
    keys, values = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    heads = len(q)
    if not len(keys):
        out = np.zeros((heads, values.shape[1]))
        lse = np.full(heads, -np.inf) if sink is None else sink * np.log2(np.e)
        return out, out + 1e-30, lse, np.full(heads, 1e-5) + 1e-6 * np.abs(np.nan_to_num(lse, neginf=0))
    score = q @ keys.T * scale
    slack = (
        error.score * (np.abs(q) @ np.abs(keys).T * abs(scale)).max(1) + 2e-6 * np.abs(score).max(1) + 1e-6
    )
    top = score.max(1)
    weight = np.exp(score - top[:, None])
    total = weight.sum(1)
    if sink is not None:
        total = total + np.exp(sink - top)
    share = weight / total[:, None]
    out, size = share @ values, share @ np.abs(values)
    moved = np.maximum(share * error.weight, share.max(1)[:, None] * error.flat)
    spread = np.sqrt(
        moved**2 @ values**2 + share**2 @ np.maximum(np.abs(values) * error.value, error.flat) ** 2
    ) / np.sqrt(3)
    floor = 4e-6 * share.max(1)[:, None] * np.abs(values).sum(0)
    bound = 2 * slack[:, None] * size + 6 * spread + floor + 2.0**-8 * size
    return out, bound, np.log2(total) + top * np.log2(np.e), 2 * slack + 1e-5


def judge(run, q, parts_of, scale, sink, error, out, lse, lse_scale=1.0):
    """Compares out (tokens, heads, value) and lse (tokens, heads) with the reference, token by token."""
    for token in range(len(q)):
        want, bound, want_lse, lse_bound = reference(q[token], parts_of(token), scale, sink, error)
        run.close("lse", lse[token], want_lse * lse_scale, lse_bound * max(1.0, lse_scale), "scores 2^-18")
        run.close("out", out[token], want, bound, error.text)
