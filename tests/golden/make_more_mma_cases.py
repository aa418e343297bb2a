#!/usr/bin/env python3
"""Writes tests/emu/cases/{mma_sparse,mma_other,wmma}: one case per form, expected memory computed here with exact fractions.

Sparse A, 4-bit integers, single bits, f64, m8n8k4 of f16, and wmma from memory to memory. Nothing is shared with the C++
sources; formats and the tensor cores' sums are those of make_mma_cases.py.
"""

import random
import struct
from fractions import Fraction as F

import make_mma_cases as base
from make_mma_cases import (
    ALL,
    BLACKWELL,
    FORMATS,
    NARROW,
    Registers,
    a_place,
    b_place,
    braces,
    c_place,
    fp4_dot,
    fused,
    hopper_fp8,
    round_to,
    scale_bytes,
    store,
    unpack,
    words_text,
    write,
)

PAIRS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
SPARSE = "9.7 Warp-level matrix instructions: mma.sp"
OTHER = "9.7 Warp-level matrix instructions: mma"
WMMA = "9.7 Warp-level matrix instructions: wmma"


class Words:
    """Given words, an input of the case."""

    def __init__(self, name, words):
        self.name, self.words = name, words

    def directive(self):
        return f"// in {self.name} b32 {len(self.words)}: {words_text(self.words)}\n"

    def load(self, register):
        return (
            f"    ld.param.u64 %rd1, [{self.name}];\n    mad.wide.u32 %rd1, %r63, 4, %rd1;\n"
            f"    ld.global.b32 %r{register}, [%rd1];\n"
        )


def metadata(rng, stored, kind, selector):
    """Which elements of a row are stored, [16][stored], and the words of the 32 lanes that say so. kind: 'half' (16-bit
    elements), 'byte', 'pair' (4-bit elements) or 'tf32'."""
    places, streams = [], []
    for _ in range(16):
        row, bits, at = [], 0, 0
        units = stored // 2 if kind == "pair" else stored
        for chunk in range(units if kind == "tf32" else units // 2):
            if kind == "tf32":
                chosen = rng.randrange(2)
                row.append(2 * chunk + chosen)
                bits |= (0b1110 if chosen else 0b0100) << (4 * chunk)
                continue
            low, high = rng.choice(PAIRS)
            bits |= (low | high << 2) << (4 * chunk)
            for unit in (4 * chunk + low, 4 * chunk + high):
                row += [2 * unit, 2 * unit + 1] if kind == "pair" else [unit]
        at = 4 * stored if kind == "tf32" else stored if kind == "pair" else 2 * stored
        places.append(row)
        streams.append((bits, at))
    words = [rng.getrandbits(32) for _ in range(32)]
    for g in range(8):
        (low, count), (high, _) = streams[g], streams[g + 8]
        if count == 16:
            words[4 * g + selector] = low | high << 16
        elif count == 32 and kind in ("half", "tf32"):
            words[4 * g + 2 * selector] = low & 0xFFFF | (high & 0xFFFF) << 16
            words[4 * g + 2 * selector + 1] = low >> 16 | high >> 16 << 16
        elif count == 32:
            words[4 * g + 2 * selector], words[4 * g + 2 * selector + 1] = low, high
        else:
            words[4 * g], words[4 * g + 1] = low & 0xFFFFFFFF, high & 0xFFFFFFFF
            words[4 * g + 2], words[4 * g + 3] = low >> 32, high >> 32
    return places, words


def sparse_case(
    name, opcode, a_fmt, b_fmt, k, acc, targets, seed, selector=0, hopper=False, blocks=0, ids=None
):
    bits, stored = FORMATS[a_fmt][5], k // 2
    per = 32 // bits
    na, nb, nc = 16 * stored * bits // 1024, 8 * k * bits // 1024, 2 if acc == "f16" else 4
    a, b = Registers("a", na, seed, *NARROW[a_fmt]), Registers("b", nb, seed + 1, *NARROW[b_fmt])
    c = Registers("c", nc, seed + 2, *NARROW[acc])
    kind = {32: "tf32", 16: "half", 8: "byte", 4: "pair"}[bits]
    places, words = metadata(random.Random(seed), stored, kind, selector)
    meta = Words("meta", words)
    rows, cols = [[0] * stored for _ in range(16)], [[0] * k for _ in range(8)]
    for lane in range(32):
        for i in range(na * per):
            r, q = a_place(per, lane, i)
            rows[r][q] = a.element(lane, i, bits)
        for i in range(nb * per):
            q, n = b_place(per, lane, i)
            cols[n][q] = b.element(lane, i, bits)
    inputs, scales = [a, b, c, meta], ""
    body = a.load(0) + b.load(8) + c.load(16) + meta.load(40)
    if blocks:
        mask = (0x3F3F3F3F, 0) if blocks == 4 else (0x07070707, 0x78787878)
        sa, sb = Registers("sa", 1, seed + 3, *mask), Registers("sb", 1, seed + 4, *mask)
        inputs += [sa, sb]
        body += sa.load(24) + sb.load(25)
        scales = f", {{%r24}}, {{{ids[0]}, {ids[1]}}}, {{%r25}}, {{{ids[2]}, {ids[3]}}}"
    out = []
    for lane in range(32):
        results = []
        for i in range(4):
            m, n = c_place(lane, i)
            code = c.element(lane, i, 16) if acc == "f16" else c.word(lane, i)
            x, y = rows[m], [cols[n][p] for p in places[m]]
            if blocks:
                x_scale = scale_bytes(sa, 4 * (m % 8) + 2 * ids[1] + m // 8, ids[0], blocks)
                y_scale = scale_bytes(sb, 4 * n + ids[3], ids[2], blocks)
            if a_fmt == "fp4":
                fmt = "ue4m3" if blocks == 4 else "ue8m0"
                results.append(fp4_dot(x, y, code, blocks, fmt, x_scale, y_scale))
            elif hopper:
                results.append(hopper_fp8(a_fmt, b_fmt, x, y, code, acc))
            else:
                exponent = x_scale[0] + y_scale[0] - 254 if blocks else 0
                xs, ys = [unpack(a_fmt, v) for v in x], [unpack(b_fmt, v) for v in y]
                results.append(fused(xs, ys, code, acc, F(2) ** exponent, exponent))
        out += [results[0] | results[1] << 16, results[2] | results[3] << 16] if acc == "f16" else results
    body += (
        f"    {opcode} {braces(32, nc)}, {braces(0, na)}, {braces(8, nb)}, {braces(16, nc)}, %r40, {selector}{scales};\n"
        + store(32, nc)
    )
    title = (
        f"{opcode}: random operands and metadata, sums of the stored elements as the tensor cores form them."
    )
    write("mma_sparse", name, title, SPARSE, targets, inputs, out, body)


def small(value, bits, signed):
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def wrapped(sum_, saturates):
    if saturates:
        sum_ = max(-(1 << 31), min((1 << 31) - 1, sum_))
    return sum_ & 0xFFFFFFFF


def integer_case(name, opcode, m_rows, k, x, y, sat, seed, sparse=False, selector=0):
    bits, stored = int(x[1:]), k // 2 if sparse else k
    per = 32 // bits
    na, nb, nc = m_rows * stored * bits // 1024, 8 * k * bits // 1024, m_rows // 4
    a, b = Registers("a", na, seed, 0xFFFFFFFF, 0), Registers("b", nb, seed + 1, 0xFFFFFFFF, 0)
    c = Registers("c", nc, seed + 2, 0x80000FFF, 0x7FFFF000 if sat else 0)
    rows, cols = [[0] * stored for _ in range(16)], [[0] * k for _ in range(8)]
    for lane in range(32):
        for i in range(na * per):
            r, q = a_place(per, lane, i)
            rows[r][q] = small(a.element(lane, i, bits), bits, x[0] == "s")
        for i in range(nb * per):
            q, n = b_place(per, lane, i)
            cols[n][q] = small(b.element(lane, i, bits), bits, y[0] == "s")
    inputs, body = [a, b, c], a.load(0) + b.load(8) + c.load(16)
    places, tail = [list(range(k))] * 16, ""
    if sparse:
        places, words = metadata(random.Random(seed), stored, "pair" if bits == 4 else "byte", selector)
        meta = Words("meta", words)
        inputs.append(meta)
        body += meta.load(40)
        tail = f", %r40, {selector}"
    out = []
    for lane in range(32):
        for i in range(nc):
            m, n = c_place(lane, i)
            total = small(c.word(lane, i), 32, True) + sum(
                p * cols[n][at] for p, at in zip(rows[m], places[m])
            )
            out.append(wrapped(total, sat))
    body += (
        f"    {opcode} {braces(32, nc)}, {braces(0, na)}, {braces(8, nb)}, {braces(16, nc)}{tail};\n"
        + store(32, nc)
    )
    family, isa = ("mma_sparse", SPARSE) if sparse else ("mma_other", OTHER)
    write(family, name, f"{opcode}: exact sums.", isa, ALL, inputs, out, body)


def bits_case(name, opcode, m_rows, k, op, seed):
    na, nb, nc = m_rows * k // 1024, 8 * k // 1024, m_rows // 4
    a, b = Registers("a", na, seed, 0xFFFFFFFF, 0), Registers("b", nb, seed + 1, 0xFFFFFFFF, 0)
    c = Registers("c", nc, seed + 2, 0xFFFFFFFF, 0)
    rows, cols = [[0] * (k // 32) for _ in range(16)], [[0] * (k // 32) for _ in range(8)]
    for lane in range(32):
        for r in range(na):
            rows[lane // 4 + 8 * (r & 1)][4 * (r >> 1) + lane % 4] = a.word(lane, r)
        for r in range(nb):
            cols[lane // 4][4 * r + lane % 4] = b.word(lane, r)
    out = []
    for lane in range(32):
        for i in range(nc):
            m, n = c_place(lane, i)
            ones = sum(bin(x & y if op == "and" else x ^ y).count("1") for x, y in zip(rows[m], cols[n]))
            out.append(c.word(lane, i) + ones & 0xFFFFFFFF)
    body = a.load(0) + b.load(8) + c.load(16)
    body += f"    {opcode} {braces(32, nc)}, {braces(0, na)}, {braces(8, nb)}, {braces(16, nc)};\n" + store(
        32, nc
    )
    write("mma_other", name, f"{opcode}: ones counted.", OTHER, ALL, [a, b, c], out, body)


def doubles(rng, count):
    return [rng.uniform(-4, 4) * 2.0 ** rng.randrange(-20, 20) for _ in range(count)]


def double_words(values):
    return [w for v in values for w in struct.unpack("<II", struct.pack("<d", v))]


def to_double(value, mode):
    """A fraction rounded to f64: nearest, or toward zero, up, down."""
    near = float(value)
    exact = F(near)
    if mode == "rn" or exact == value:
        return near
    down = mode == "rm" or (mode == "rz" and value > 0)
    bits = struct.unpack("<q", struct.pack("<d", near))[0]
    if (exact > value) == down:
        bits += -1 if (near > 0) == down else 1
    return struct.unpack("<d", struct.pack("<q", bits))[0]


def f64_case(name, m_rows, k, mode, seed):
    """A chain of fma, k upward from C."""
    rng = random.Random(seed)
    halves = m_rows // 8
    na, nb, nc = halves * k // 4, k // 4, 2 * halves
    a, b, c = doubles(rng, 32 * na), doubles(rng, 32 * nb), doubles(rng, 32 * nc)
    rows, cols = [[0] * k for _ in range(16)], [[0] * k for _ in range(8)]
    for lane in range(32):
        for r in range(na):
            rows[lane // 4 + 8 * (r % halves)][4 * (r // halves) + lane % 4] = a[lane * na + r]
        for r in range(nb):
            cols[lane // 4][4 * r + lane % 4] = b[lane * nb + r]
    out = []
    for lane in range(32):
        for i in range(nc):
            m, n = lane // 4 + 8 * (i >> 1), 2 * (lane % 4) + (i & 1)
            total = c[lane * nc + i]
            for x, y in zip(rows[m], cols[n]):
                total = to_double(F(x) * F(y) + F(total), mode)
            out.append(total)
    text, at = "    .reg .f64 %f<24>;\n", 0
    for word, values, count, first in (("a", a, na, 0), ("b", b, nb, 8), ("c", c, nc, 12)):
        text += f"    ld.param.u64 %rd1, [{word}];\n    mad.wide.u32 %rd1, %r63, {8 * count}, %rd1;\n"
        for r in range(count):
            text += f"    ld.global.f64 %f{first + r}, [%rd1+{8 * r}];\n"

    def list_(first, count):
        return "{" + ", ".join(f"%f{first + i}" for i in range(count)) + "}"

    suffix = "" if mode == "rn" else f".{mode}"
    opcode = f"mma.sync.aligned.m{m_rows}n8k{k}.row.col{suffix}.f64.f64.f64.f64"
    text += f"    {opcode} {list_(16, nc)}, {list_(0, na)}, {list_(8, nb)}, {list_(12, nc)};\n"
    text += f"    ld.param.u64 %rd2, [d];\n    mad.wide.u32 %rd2, %r63, {8 * nc}, %rd2;\n"
    for r in range(nc):
        text += f"    st.global.f64 [%rd2+{8 * r}], %f{16 + r};\n"
    inputs = [Words("a", double_words(a)), Words("b", double_words(b)), Words("c", double_words(c))]
    write("mma_other", name, f"{opcode}: a chain of fma.", OTHER, ALL, inputs, double_words(out), text)


def quads_case(name, a_layout, b_layout, d_type, c_type, seed):
    """m8n8k4: lanes 4q.. and 16 above form product q. In FP32: what code for chips without the unit computes."""
    a, b = Registers("a", 2, seed, *NARROW["f16"]), Registers("b", 2, seed + 1, *NARROW["f16"])
    nc, nd = (4 if t == "f16" else 8 for t in (c_type, d_type))
    c = Registers("c", nc, seed + 2, *NARROW[c_type])

    def element(registers, lane, i):
        return unpack("f16", registers.element(lane, i, 16))

    def vector(registers, quad, index, whole):
        if whole:
            return [element(registers, 4 * quad + index % 4 + 16 * (index // 4), k) for k in range(4)]
        return [element(registers, 4 * quad + k + 16 * (index // 4), index % 4) for k in range(4)]

    def place(type, lane, i):
        if type == "f16":
            return lane % 4 + 4 * (lane // 16), i
        return (lane & 1) + (i & 2) + 4 * (lane // 16), (i & 4) + (lane & 2) + (i & 1)

    addends = {}
    for lane in range(32):
        for i in range(8):
            code = c.element(lane, i, 16) if c_type == "f16" else c.word(lane, i)
            addends[(lane % 16 // 4, *place(c_type, lane, i))] = unpack(c_type, code)

    def single(value):
        return unpack("f32", round_to("f32", value, True))[1]

    out = []
    for lane in range(32):
        results = []
        for i in range(8):
            quad = lane % 16 // 4
            m, n = place(d_type, lane, i)
            x, y, z = (
                vector(a, quad, m, a_layout == "row"),
                vector(b, quad, n, b_layout == "col"),
                addends[(quad, m, n)],
            )
            bad = base.special(list(zip(x, y)), z, d_type)
            if bad is not None:
                results.append(bad)
                continue
            p = [u[1] * v[1] for u, v in zip(x, y)]
            if d_type == "f16":
                first, second = single(p[1] + single(p[0])), single(p[3] + single(p[2]))
                results.append(round_to("f16", single(single(z[1] + first) + second), True))
            else:
                total = F(0)
                for value in p:
                    total = single(value + total)
                results.append(round_to("f32", z[1] + total, True))
        out += [results[i] | results[i + 1] << 16 for i in range(0, 8, 2)] if d_type == "f16" else results
    opcode = f"mma.sync.aligned.m8n8k4.{a_layout}.{b_layout}.{d_type}.f16.f16.{c_type}"
    body = a.load(0) + b.load(8) + c.load(16)
    body += f"    {opcode} {braces(32, nd)}, {braces(0, 2)}, {braces(8, 2)}, {braces(16, nc)};\n" + store(
        32, nd
    )
    write("mma_other", name, f"{opcode}: four products.", OTHER, ALL, [a, b, c], out, body)


def wmma_case(name, shape, types, a_layout, b_layout, d_layout, seed, sat=False, shared=False):
    """From memory through fragments to memory: no layout of a fragment is known here."""
    m_size, n_size, k = shape
    fmt, acc, c_fmt = types
    rng = random.Random(seed)
    bits = {"s8": 8, "u8": 8, "s4": 4, "u4": 4, "b1": 1}.get(fmt) or FORMATS[fmt][5]
    integer = fmt in ("s8", "u8", "s4", "u4", "b1")
    mask = (0xFFFFFFFF, 0) if integer else NARROW[fmt]

    def matrix(rows, columns, by_row, width, low, high):
        """The words in memory, and the codes by row and column."""
        count = rows * columns * width // 32
        words = [w & low | high for w in base.random_words(rng.getrandbits(32), count)]
        codes = [[0] * columns for _ in range(rows)]
        for r in range(rows):
            for q in range(columns):
                at = r * columns + q if by_row else q * rows + r
                codes[r][q] = words[at * width // 32] >> (at * width % 32) & ((1 << width) - 1)
        return words, codes

    a_words, a = matrix(m_size, k, a_layout == "row", bits, *mask)
    b_words, b = matrix(k, n_size, b_layout == "row", bits, *mask)
    c_bits = 16 if c_fmt == "f16" else 32
    c_words, c = matrix(
        m_size, n_size, d_layout == "row", c_bits, *(NARROW[c_fmt] if not integer else (0x8000FFFF, 0))
    )
    results = [[0] * n_size for _ in range(m_size)]
    for m in range(m_size):
        for n in range(n_size):
            x, y = a[m], [b[q][n] for q in range(k)]
            if fmt == "b1":
                results[m][n] = c[m][n] + sum(p ^ q for p, q in zip(x, y)) & 0xFFFFFFFF
            elif integer:
                signed = fmt[0] == "s"
                total = sum(small(p, bits, signed) * small(q, bits, signed) for p, q in zip(x, y))
                results[m][n] = wrapped(small(c[m][n], 32, True) + total, sat)
            else:
                inner = "f16" if acc == c_fmt == "f16" else "f32"
                code = c[m][n]
                if c_fmt != inner:
                    value = unpack("f16", code)
                    code = base.special([], value, "f32")
                    code = round_to("f32", value[1], True) if code is None else code
                step = 4 if fmt == "tf32" else k
                for at in range(0, k, step):
                    xs, ys = (
                        [unpack(fmt, v) for v in x[at : at + step]],
                        [unpack(fmt, v) for v in y[at : at + step]],
                    )
                    code = fused(xs, ys, code, inner)
                if acc != inner:
                    value = unpack("f32", code)
                    code = base.special([], value, "f16")
                    code = round_to("f16", value[1], True) if code is None else code
                results[m][n] = code
    d_bits = 16 if acc == "f16" else 32
    out = [0] * (m_size * n_size * d_bits // 32)
    for m in range(m_size):
        for n in range(n_size):
            at = m * n_size + n if d_layout == "row" else n * m_size + m
            out[at * d_bits // 32] |= results[m][n] << (at * d_bits % 32)
    shape_name = f"m{m_size}n{n_size}k{k}"
    counts = {"f16": (8, 8)}.get(fmt) or (m_size * k * bits // 1024, n_size * k * bits // 1024)
    c_count, d_count = m_size * n_size * c_bits // 1024, m_size * n_size * d_bits // 1024
    product = f".{acc}.{c_fmt}" if fmt == "f16" else f".{acc}.{fmt}.{fmt}.{c_fmt}"
    verb = "wmma.mma.xor.popc" if fmt == "b1" else "wmma.mma"
    opcode = f"{verb}.sync.aligned.{a_layout}.{b_layout}.{shape_name}{product}{'.satfinite' if sat else ''}"
    body = ""
    for matrix_name, count, first, layout, width in (
        ("a", counts[0], 0, a_layout, fmt),
        ("b", counts[1], 8, b_layout, fmt),
        ("c", c_count, 16, d_layout, c_fmt),
    ):
        body += f"    ld.param.u64 %rd1, [{matrix_name}];\n"
        body += f"    wmma.load.{matrix_name}.sync.aligned.{layout}.{shape_name}.global.{width} {braces(first, count)}, [%rd1];\n"
    body += f"    {opcode} {braces(32, d_count)}, {braces(0, counts[0])}, {braces(8, counts[1])}, {braces(16, c_count)};\n"
    body += f"    ld.param.u64 %rd2, [d];\n    wmma.store.d.sync.aligned.{d_layout}.{shape_name}.global.{acc} [%rd2], {braces(32, d_count)};\n"
    inputs = [Words("a", a_words), Words("b", b_words), Words("c", c_words)]
    write("wmma", name, f"{opcode}: from memory to memory.", WMMA, ALL, inputs, out, body)


def sparse_cases():
    seed = 20000
    for verb, text in (("mma.sp", "sp"), ("mma.sp::ordered_metadata", "ordered")):
        for fmt, k, acc, selectors in (
            ("f16", 16, "f32", (0, 3)),
            ("f16", 32, "f32", (0, 1)),
            ("f16", 16, "f16", (1,)),
            ("f16", 32, "f16", (1,)),
            ("bf16", 16, "f32", (2,)),
            ("bf16", 32, "f32", (0,)),
            ("tf32", 8, "f32", (0, 3)),
            ("tf32", 16, "f32", (0, 1)),
        ):
            for selector in selectors:
                seed += 10
                opcode = f"{verb}.sync.aligned.m16n8k{k}.row.col.{acc}.{fmt}.{fmt}.{acc}"
                sparse_case(
                    f"{text}_{fmt}_k{k}_{acc}_{selector}", opcode, fmt, fmt, k, acc, ALL, seed, selector
                )
        for x, y in (("e4m3", "e4m3"), ("e5m2", "e4m3")):
            seed += 10
            opcode = f"{verb}.sync.aligned.m16n8k64.row.col.f32.{x}.{y}.f32"
            sparse_case(f"{text}_{x}_{y}_k64", opcode, x, y, 64, "f32", BLACKWELL, seed)
            sparse_case(f"{text}_{x}_{y}_k64_sm90", opcode, x, y, 64, "f32", "sm_90a", seed, hopper=True)
        for k, x, y, selectors in (
            (32, "s8", "u8", (0, 1)),
            (64, "u8", "s8", (0,)),
            (64, "s4", "u4", (0, 1)),
            (128, "s4", "s4", (0,)),
        ):
            for selector in selectors:
                for sat in ("", ".satfinite"):
                    seed += 10
                    opcode = f"{verb}.sync.aligned.m16n8k{k}.row.col{sat}.s32.{x}.{y}.s32"
                    name = f"{text}_{x}_{y}_k{k}_{selector}{sat.replace('.', '_')}"
                    integer_case(name, opcode, 16, k, x, y, bool(sat), seed, sparse=True, selector=selector)
    ordered = "mma.sp::ordered_metadata.sync.aligned"
    for x, y in (("e4m3", "e2m1"), ("e3m2", "e5m2"), ("e2m1", "e2m3")):
        for acc in ("f32", "f16"):
            seed += 10
            opcode = f"{ordered}.kind::f8f6f4.m16n8k64.row.col.{acc}.{x}.{y}.{acc}"
            sparse_case(f"f8f6f4_{x}_{y}_{acc}", opcode, x, y, 64, acc, BLACKWELL, seed)
        seed += 10
        opcode = f"{ordered}.m16n8k64.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.{x}.{y}.f32.ue8m0"
        sparse_case(f"mxf8f6f4_{x}_{y}", opcode, x, y, 64, "f32", BLACKWELL, seed, blocks=1, ids=(3, 1, 2, 3))
    for kind, blocks, scale, ids in (
        ("mxf4", 2, "ue8m0", (2, 1, 0, 3)),
        ("mxf4nvf4", 2, "ue8m0", (0, 0, 2, 1)),
        ("mxf4nvf4", 4, "ue4m3", (0, 1, 0, 2)),
    ):
        seed += 10
        opcode = f"{ordered}.m16n8k128.row.col.kind::{kind}.block_scale.scale_vec::{blocks}X.f32.e2m1.e2m1.f32.{scale}"
        sparse_case(
            f"{kind}_{blocks}x",
            opcode,
            "fp4",
            "fp4",
            128,
            "f32",
            "sm_120a sm_121a",
            seed,
            blocks=blocks,
            ids=ids,
        )


def other_cases():
    seed = 30000
    for m_rows, k in ((8, 32), (16, 32), (16, 64)):
        for x, y in (("s4", "s4"), ("u4", "s4"), ("u4", "u4")):
            for sat in ("", ".satfinite"):
                seed += 10
                opcode = f"mma.sync.aligned.m{m_rows}n8k{k}.row.col{sat}.s32.{x}.{y}.s32"
                integer_case(
                    f"{x}_{y}_m{m_rows}k{k}{sat.replace('.', '_')}", opcode, m_rows, k, x, y, bool(sat), seed
                )
    for x, y in (("s8", "s8"), ("u8", "s8")):
        for sat in ("", ".satfinite"):
            seed += 10
            opcode = f"mma.sync.aligned.m8n8k16.row.col{sat}.s32.{x}.{y}.s32"
            integer_case(f"{x}_{y}_m8k16{sat.replace('.', '_')}", opcode, 8, 16, x, y, bool(sat), seed)
    for m_rows, k in ((8, 128), (16, 128), (16, 256)):
        for op in ("xor", "and"):
            seed += 10
            opcode = f"mma.sync.aligned.m{m_rows}n8k{k}.row.col.s32.b1.b1.s32.{op}.popc"
            bits_case(f"b1_m{m_rows}k{k}_{op}", opcode, m_rows, k, op, seed)
    for m_rows, k in ((8, 4), (16, 4), (16, 8), (16, 16)):
        for mode in ("rn", "rz", "rm", "rp"):
            seed += 10
            f64_case(f"f64_m{m_rows}k{k}_{mode}", m_rows, k, mode, seed)
    for a_layout in ("row", "col"):
        for b_layout in ("row", "col"):
            for d_type, c_type in (("f32", "f32"), ("f16", "f16"), ("f32", "f16")):
                seed += 10
                quads_case(
                    f"m8n8k4_{a_layout}_{b_layout}_{d_type}_{c_type}",
                    a_layout,
                    b_layout,
                    d_type,
                    c_type,
                    seed,
                )


def wmma_cases():
    seed = 40000
    layouts = [(a, b, d) for a in ("row", "col") for b in ("row", "col") for d in ("row", "col")]
    for i, shape in enumerate(((16, 16, 16), (32, 8, 16), (8, 32, 16))):
        text = "m{}n{}k{}".format(*shape)
        for j, types in enumerate(
            (
                ("f16", "f32", "f32"),
                ("f16", "f16", "f16"),
                ("f16", "f32", "f16"),
                ("f16", "f16", "f32"),
                ("bf16", "f32", "f32"),
            )
        ):
            for step in range(2):
                seed += 10
                a, b, d = layouts[(i + 3 * j + 5 * step) % 8]
                wmma_case(f"{text}_{'_'.join(types)}_{a}_{b}_{d}", shape, types, a, b, d, seed)
        for fmt in ("s8", "u8"):
            for sat in (False, True):
                seed += 10
                a, b, d = layouts[(seed // 10) % 8]
                wmma_case(
                    f"{text}_{fmt}_{a}_{b}_{d}{'_satfinite' if sat else ''}",
                    shape,
                    (fmt, "s32", "s32"),
                    a,
                    b,
                    d,
                    seed,
                    sat,
                )
    for a, b, d in layouts[::3]:
        seed += 10
        wmma_case(f"m16n16k8_tf32_{a}_{b}_{d}", (16, 16, 8), ("tf32", "f32", "f32"), a, b, d, seed)
    for fmt, k in (("s4", 32), ("u4", 32), ("b1", 128)):
        for d in ("row", "col"):
            seed += 10
            wmma_case(f"m8n8k{k}_{fmt}_{d}", (8, 8, k), (fmt, "s32", "s32"), "row", "col", d, seed)


if __name__ == "__main__":
    sparse_cases()
    other_cases()
    wmma_cases()
