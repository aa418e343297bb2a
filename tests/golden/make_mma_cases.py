#!/usr/bin/env python3
"""Writes tests/emu/cases/{mma,matrix,convert}: one case per form, expected memory computed here with exact fractions.

Nothing is shared with the C++ sources: formats, fragments and the tensor cores' arithmetic are written down again.
Inputs are the case format's `random SEED` words (splitmix64), narrowed by an AND and an OR in the kernel.
"""

import os
import struct
from fractions import Fraction as F

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emu", "cases")
M64 = (1 << 64) - 1


def random_words(seed, count):
    out = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & M64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        out.append((z ^ (z >> 31)) & 0xFFFFFFFF)
    return out


# name: exponent bits, fraction bits, bias, has infinity, NaN codes (magnitudes), bits in a register
FORMATS = {
    "e4m3": (4, 3, 7, False, {0x7F}, 8),
    "e5m2": (5, 2, 15, True, None, 8),
    "e3m2": (3, 2, 3, False, set(), 8),
    "e2m3": (2, 3, 1, False, set(), 8),
    "e2m1": (2, 1, 1, False, set(), 8),
    "fp4": (2, 1, 1, False, set(), 4),
    "ue4m3": (4, 3, 7, False, {0x7F}, 8),
    "bf16": (8, 7, 127, True, None, 16),
    "f16": (5, 10, 15, True, None, 16),
    "tf32": (8, 10, 127, True, None, 32),
    "f32": (8, 23, 127, True, None, 32),
}


def unpack(fmt, code):
    """(kind, value, exponent): kind is 'nan', 'inf' (value = sign) or 'num'."""
    eb, fb, bias, inf, nans, _ = FORMATS[fmt]
    if fmt == "e2m1":
        code = code >> 2 & 15  # bits 5..2 of its container
    if fmt == "tf32":
        if code & 0x7FFFFFFF > 0x7F800000:
            return "nan", 0, 0
        code >>= 13
    sign = -1 if fmt != "ue4m3" and code >> (eb + fb) & 1 else 1
    field, frac = code >> fb & ((1 << eb) - 1), code & ((1 << fb) - 1)
    if inf and field == (1 << eb) - 1:
        return ("nan", 0, 0) if frac else ("inf", sign, 0)
    if nans and code & ((1 << (eb + fb)) - 1) in nans:
        return "nan", 0, 0
    e = max(field, 1) - bias
    return "num", sign * F(frac + (1 << fb if field else 0), 1 << fb) * F(2) ** e, e


def trunc(x):
    return x.numerator // x.denominator if x >= 0 else -((-x.numerator) // x.denominator)


def floor_log2(x):
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if F(2) ** e <= x else e - 1


def round_to(fmt, x, nearest):
    """Code of x, toward zero or to nearest even; zero results are +0."""
    eb, fb, bias, _, _, bits = FORMATS[fmt]
    sign = 1 << (eb + fb) if x < 0 else 0
    x = abs(x)
    if x == 0:
        return 0
    e = max(floor_log2(x), 1 - bias)
    scaled = x / F(2) ** (e - fb)
    n = trunc(scaled)
    rest = scaled - n
    if nearest and (rest > F(1, 2) or (rest == F(1, 2) and n & 1)):
        n += 1
    if n == 0:
        return 0
    code = ((e + bias - 1) << fb) + n
    return sign | min(code, ((1 << eb) - 1) << fb)


NAN = {"f32": 0x7FFFFFFF, "f16": 0x7FFF}


def special(products, c, acc):
    """NaN or infinity code, or None. products: pairs of unpacked numbers."""
    nan = c[0] == "nan"
    signs = {c[1]} if c[0] == "inf" else set()
    for x, y in products:
        if "nan" in (x[0], y[0]):
            nan = True
        elif "inf" in (x[0], y[0]):
            if (x[0] == "num" and x[1] == 0) or (y[0] == "num" and y[1] == 0):
                nan = True
            else:
                signs.add((1 if x[1] > 0 else -1) * (1 if y[1] > 0 else -1))
    if nan or len(signs) == 2:
        return NAN[acc]
    if signs:
        eb, fb = FORMATS[acc][:2]
        return (((1 << eb) - 1) << fb) | (1 << (eb + fb) if -1 in signs else 0)
    return None


def aligned_sum(terms, bits, floor, acc):
    """terms: (value, exponent). Align to the largest exponent, truncate each, add, round once."""
    terms = [t for t in terms if t[0] != 0]
    if not terms:
        return 0
    top = max(e for _, e in terms)
    if floor is not None:
        top = max(top, floor)
    unit = F(2) ** (top - bits)
    return round_to(acc, sum(trunc(v / unit) for v, _ in terms) * unit, nearest=acc == "f16")


def fused(xs, ys, c_code, acc, scale=F(1), scale_exponent=0):
    c = unpack(acc, c_code)
    bad = special(list(zip(xs, ys)), c, acc)
    if bad is not None:
        return bad
    terms = [(x[1] * y[1] * scale, x[2] + y[2] + scale_exponent) for x, y in zip(xs, ys)] + [(c[1], c[2])]
    return aligned_sum(terms, 25, -133, acc)


def hopper_fp8(a_fmt, b_fmt, a, b, c_code, acc):
    def widen(fmt, code):
        kind, value, _ = unpack(fmt, code)
        if kind != "num" or value == 0:
            return kind, value, -14
        return kind, value, max(floor_log2(abs(value)), -14)

    total = 0
    for half in ((0, 1), (2, 3)):
        picked = [i for i in range(len(a)) if i % 4 in half]
        total = fused([widen(a_fmt, a[i]) for i in picked], [widen(b_fmt, b[i]) for i in picked], total, acc)
    x, y = unpack(acc, total), unpack(acc, c_code)
    bad = special([(x, ("num", F(1), 0))], y, acc)
    if bad is not None:
        return bad
    return round_to(acc, x[1] + y[1], nearest=True)


def a_place(per, lane, i):
    reg = i // per
    return lane // 4 + 8 * (reg & 1), 4 * per * (reg >> 1) + per * (lane % 4) + i % per


def b_place(per, lane, i):
    return 4 * per * (i // per) + per * (lane % 4) + i % per, lane // 4


def c_place(lane, i):
    return lane // 4 + 8 * (i >> 1), 2 * (lane % 4) + (i & 1)


class Registers:
    """Random registers of all lanes: word(lane, r) after AND and OR."""

    def __init__(self, name, count, seed, mask_and, mask_or):
        self.name, self.count, self.seed, self.mask_and, self.mask_or = name, count, seed, mask_and, mask_or
        self.words = [w & mask_and | mask_or for w in random_words(seed, 32 * count)]

    def word(self, lane, r):
        return self.words[lane * self.count + r]

    def element(self, lane, i, bits):
        return self.word(lane, i * bits // 32) >> (i * bits % 32) & ((1 << bits) - 1)

    def directive(self):
        return f"// in {self.name} b32 {32 * self.count}: random {self.seed}\n"

    def load(self, first):
        out = f"ld.param.u64 %rd1, [{self.name}];\n    mad.wide.u32 %rd1, %r63, {4 * self.count}, %rd1;\n"
        for r in range(self.count):
            reg = f"%r{first + r}"
            out += (
                f"    ld.global.b32 {reg}, [%rd1+{4 * r}];\n    and.b32 {reg}, {reg}, {self.mask_and:#x};\n"
            )
            if self.mask_or:
                out += f"    or.b32 {reg}, {reg}, {self.mask_or:#x};\n"
        return "    " + out


HEADER = """    .reg .b8 %b<4>;
    .reg .b16 %h<8>;
    .reg .b32 %r<64>;
    .reg .b64 %rd<4>;
    mov.u32 %r63, %laneid;
"""


def words_text(words):
    lines = []
    for i in range(0, len(words), 8):
        lines.append(" ".join(f"{w:#x}" for w in words[i : i + 8]))
    return "\n//   ".join(lines)


def write(family, name, title, isa, targets, inputs, out_words, body, extra=""):
    text = f"// {title}\n// isa: {isa}\n// targets: {targets}\n// launch: grid=1 block=32\n"
    text += "".join(r.directive() for r in inputs)
    text += f"// out d b32 {len(out_words)}: {words_text(out_words)}\n"
    text += ".version 8.8\n.target @TARGET@\n.address_size 64\n"
    params = ", ".join(f".param .u64 {r.name}" for r in inputs) + ", .param .u64 d"
    text += f".visible .entry case_kernel({params}) {{\n" + HEADER + extra + body + "    ret;\n}\n"
    folder = os.path.join(ROOT, family)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".ptx"), "w") as f:
        f.write(text)


def store(first, count):
    out = f"    ld.param.u64 %rd2, [d];\n    mad.wide.u32 %rd2, %r63, {4 * count}, %rd2;\n"
    for r in range(count):
        out += f"    st.global.b32 [%rd2+{4 * r}], %r{first + r};\n"
    return out


def braces(first, count):
    return "{" + ", ".join(f"%r{first + i}" for i in range(count)) + "}"


# Narrow random words to a useful range of exponents (AND, OR); about one element in some hundred stays special.
NARROW = {
    "e4m3": (0xFFFFFFFF, 0),
    "e5m2": (0xBFBFBFBF, 0),
    "e3m2": (0x3F3F3F3F, 0),
    "e2m3": (0x3F3F3F3F, 0),
    "e2m1": (0x3C3C3C3C, 0),
    "fp4": (0xFFFFFFFF, 0),
    "bf16": (0x87FF87FF, 0x38003800),
    "f16": (0xBFFFBFFF, 0),
    "tf32": (0x87FFFFFF, 0x38000000),
    "f32": (0x87FFFFFF, 0x38000000),
}


def mma_case(
    name,
    opcode,
    a_fmt,
    b_fmt,
    k,
    acc,
    targets,
    isa,
    seed,
    hopper=False,
    blocks=0,
    ids=None,
    scale_fmt="ue8m0",
):
    bits = FORMATS[a_fmt][5]
    per = 32 // bits
    na, nb, nc = 16 * k * bits // 1024, 8 * k * bits // 1024, 2 if acc == "f16" else 4
    a = Registers("a", na, seed, *NARROW[a_fmt])
    b = Registers("b", nb, seed + 1, *NARROW[b_fmt])
    c = Registers("c", nc, seed + 2, *NARROW[acc])
    inputs = [a, b, c]
    rows = [[0] * k for _ in range(16)]
    cols = [[0] * k for _ in range(8)]
    for lane in range(32):
        for i in range(na * per):
            r, q = a_place(per, lane, i)
            rows[r][q] = a.element(lane, i, bits)
        for i in range(nb * per):
            q, n = b_place(per, lane, i)
            cols[n][q] = b.element(lane, i, bits)
    body = a.load(0) + b.load(8) + c.load(16)
    scales = ""
    if blocks:
        mask = (0x07070707, 0x78787878) if scale_fmt == "ue8m0" else (0x3F3F3F3F, 0)
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
            if a_fmt == "fp4":
                results.append(
                    fp4_dot(
                        rows[m],
                        cols[n],
                        code,
                        blocks,
                        scale_fmt,
                        scale_bytes(sa, 4 * (m % 8) + 2 * ids[1] + m // 8, ids[0], blocks),
                        scale_bytes(sb, 4 * n + ids[3], ids[2], blocks),
                    )
                )
            elif hopper:
                results.append(hopper_fp8(a_fmt, b_fmt, rows[m], cols[n], code, acc))
            else:
                scale, exponent = F(1), 0
                if blocks:
                    exponent = (
                        scale_bytes(sa, 4 * (m % 8) + 2 * ids[1] + m // 8, ids[0], 1)[0]
                        + scale_bytes(sb, 4 * n + ids[3], ids[2], 1)[0]
                        - 254
                    )
                    scale = F(2) ** exponent
                results.append(
                    fused(
                        [unpack(a_fmt, x) for x in rows[m]],
                        [unpack(b_fmt, y) for y in cols[n]],
                        code,
                        acc,
                        scale,
                        exponent,
                    )
                )
        out += [results[0] | results[1] << 16, results[2] | results[3] << 16] if acc == "f16" else results
    body += (
        f"    {opcode} {braces(32, nc)}, {braces(0, na)}, {braces(8, nb)}, {braces(16, nc)}{scales};\n"
        + store(32, nc)
    )
    write(
        "mma",
        name,
        f"{opcode}: random operands, sums as the tensor cores form them.",
        isa,
        targets,
        inputs,
        out,
        body,
    )


def scale_bytes(registers, lane, first, count):
    return [registers.word(lane, 0) >> (8 * (first + i)) & 0xFF for i in range(count)]


def fp4_dot(x, y, c_code, blocks, scale_fmt, scale_x, scale_y):
    def scale(code):
        return ("num", F(2) ** (code - 127), code - 127) if scale_fmt == "ue8m0" else unpack("ue4m3", code)

    c = unpack("f32", c_code)
    terms = [(c[1], c[2])]
    for g in range(4):
        u, v = scale(scale_x[g * blocks // 4]), scale(scale_y[g * blocks // 4])
        s = sum(unpack("fp4", x[i])[1] * unpack("fp4", y[i])[1] for i in range(16 * g, 16 * g + 16))
        terms.append((s * u[1] * v[1], u[2] + v[2]))
    return aligned_sum(terms, 35, None, "f32")


MMA = "9.7 Warp-level matrix instructions: mma"
SCALED = "9.7 Warp-level matrix instructions: mma with block scaling"
ALL = "all"
BLACKWELL = "sm_120a sm_121a sm_120f"


def mma_cases():
    seed = 1000
    for fmt, k, acc in (
        ("f16", 16, "f32"),
        ("f16", 8, "f32"),
        ("f16", 16, "f16"),
        ("f16", 8, "f16"),
        ("bf16", 16, "f32"),
        ("bf16", 8, "f32"),
        ("tf32", 8, "f32"),
        ("tf32", 4, "f32"),
    ):
        seed += 10
        mma_case(
            f"{fmt}_k{k}_{acc}",
            f"mma.sync.aligned.m16n8k{k}.row.col.{acc}.{fmt}.{fmt}.{acc}",
            fmt,
            fmt,
            k,
            acc,
            ALL,
            MMA,
            seed,
        )
    for x, y in (("e4m3", "e4m3"), ("e4m3", "e5m2"), ("e5m2", "e5m2")):
        for k in (32, 16):
            for acc in ("f32", "f16"):
                seed += 10
                opcode = f"mma.sync.aligned.m16n8k{k}.row.col.{acc}.{x}.{y}.{acc}"
                mma_case(f"{x}_{y}_k{k}_{acc}", opcode, x, y, k, acc, BLACKWELL, MMA, seed)
                mma_case(f"{x}_{y}_k{k}_{acc}_sm90", opcode, x, y, k, acc, "sm_90a", MMA, seed, hopper=True)
    small = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1")
    for i, x in enumerate(small):
        for j, y in enumerate(small):
            seed += 10
            ids = ((i + j) % 4, i % 2, j % 4, (i + 2 * j) % 4)
            mma_case(
                f"mxf8f6f4_{x}_{y}",
                f"mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.{x}.{y}.f32.ue8m0",
                x,
                y,
                32,
                "f32",
                BLACKWELL,
                SCALED,
                seed,
                blocks=1,
                ids=ids,
            )
            if (i + j) % 2:
                mma_case(
                    f"f8f6f4_{x}_{y}",
                    f"mma.sync.aligned.kind::f8f6f4.m16n8k32.row.col.f32.{x}.{y}.f32",
                    x,
                    y,
                    32,
                    "f32",
                    BLACKWELL,
                    MMA,
                    seed,
                )
    for name, kind, blocks, fmt, ids in (
        ("mxf4_2x", "mxf4.block_scale.scale_vec::2X", 2, "ue8m0", (2, 1, 0, 3)),
        ("mxf4nvf4_2x", "mxf4nvf4.block_scale.scale_vec::2X", 2, "ue8m0", (0, 0, 2, 1)),
        ("mxf4nvf4_4x", "mxf4nvf4.block_scale.scale_vec::4X", 4, "ue4m3", (0, 1, 0, 2)),
    ):
        seed += 10
        mma_case(
            name,
            f"mma.sync.aligned.kind::{kind}.m16n8k64.row.col.f32.e2m1.e2m1.f32.{fmt}",
            "fp4",
            "fp4",
            64,
            "f32",
            BLACKWELL,
            SCALED,
            seed,
            blocks=blocks,
            ids=ids,
            scale_fmt=fmt,
        )
    for k in (16, 32):
        for sat in ("", ".satfinite"):
            for x, y in (("s8", "s8"), ("u8", "s8"), ("u8", "u8")):
                seed += 10
                int_case(
                    f"{x}_{y}_k{k}" + sat.replace(".", "_"),
                    f"mma.sync.aligned.m16n8k{k}.row.col{sat}.s32.{x}.{y}.s32",
                    k,
                    x,
                    y,
                    bool(sat),
                    seed,
                )


def int_case(name, opcode, k, x, y, sat, seed):
    na, nb = k // 8, k // 16
    a, b = Registers("a", na, seed, 0xFFFFFFFF, 0), Registers("b", nb, seed + 1, 0xFFFFFFFF, 0)
    c = Registers("c", 4, seed + 2, 0x8000FFFF, 0x7FFF0000)

    def value(byte, kind):
        return byte - 256 if kind == "s8" and byte > 127 else byte

    rows, cols = [[0] * k for _ in range(16)], [[0] * k for _ in range(8)]
    for lane in range(32):
        for i in range(4 * na):
            r, q = a_place(4, lane, i)
            rows[r][q] = value(a.element(lane, i, 8), x)
        for i in range(4 * nb):
            q, n = b_place(4, lane, i)
            cols[n][q] = value(b.element(lane, i, 8), y)
    out = []
    for lane in range(32):
        for i in range(4):
            m, n = c_place(lane, i)
            w = c.word(lane, i)
            s = (w - (1 << 32) if w >> 31 else w) + sum(p * q for p, q in zip(rows[m], cols[n]))
            if sat:
                s = max(-(1 << 31), min((1 << 31) - 1, s))
            out.append(s & 0xFFFFFFFF)
    body = a.load(0) + b.load(8) + c.load(16)
    body += f"    {opcode} {braces(32, 4)}, {braces(0, na)}, {braces(8, nb)}, {braces(16, 4)};\n" + store(
        32, 4
    )
    write("mma", name, f"{opcode}: sums that cross the ends of the range.", MMA, ALL, [a, b, c], out, body)


def matrix_cases():
    tile = Registers("a", 4, 31, 0xFFFFFFFF, 0)  # lane's 16 bytes are row (5 * lane) % 32 of shared memory
    rows = {}
    for lane in range(32):
        rows[5 * lane % 32] = b"".join(struct.pack("<I", tile.word(lane, r)) for r in range(4))
    memory = [rows[r] for r in range(32)]
    fill = (
        tile.load(0)
        + """    mov.u32 %r62, tile;
    mul.lo.u32 %r40, %r63, 5;
    and.b32 %r40, %r40, 31;
    mad.lo.u32 %r40, %r40, 16, %r62;
    st.shared.v4.b32 [%r40], {%r0, %r1, %r2, %r3};
    bar.warp.sync 0xffffffff;
    xor.b32 %r41, %r63, 3;
    mad.lo.u32 %r41, %r41, 16, %r62;
"""
    )
    shared = "    .shared .align 16 .b8 tile[512];\n"
    source = [memory[lane ^ 3] for lane in range(32)]  # row i of the instruction: what lane i points at

    def packed(row, i, bits):
        return int.from_bytes(row, "little") >> (bits * i) & ((1 << bits) - 1)

    def word(values, bits):
        return sum(v << (bits * i) for i, v in enumerate(values))

    forms = []
    for n in (1, 2, 4):
        forms.append(
            (
                f"ldmatrix_x{n}",
                f"ldmatrix.sync.aligned.m8n8.x{n}.shared.b16",
                n,
                ALL,
                lambda l, r: word(
                    [packed(source[8 * r + l // 4], 2 * (l % 4) + i, 16) for i in range(2)], 16
                ),
            )
        )
        forms.append(
            (
                f"ldmatrix_x{n}_trans",
                f"ldmatrix.sync.aligned.x{n}.trans.m8n8.shared.b16",
                n,
                ALL,
                lambda l, r: word(
                    [packed(source[8 * r + 2 * (l % 4) + i], l // 4, 16) for i in range(2)], 16
                ),
            )
        )
        for bits, kind in ((4, "b4x16_p64"), (6, "b6x16_p32")):
            forms.append(
                (
                    f"ldmatrix_m8n16_x{n}_{kind}",
                    f"ldmatrix.sync.aligned.m8n16.x{n}.shared.b8x16.{kind}",
                    n,
                    BLACKWELL,
                    lambda l, r, bits=bits: word(
                        [packed(source[8 * r + l // 4], 4 * (l % 4) + i, bits) for i in range(4)], 8
                    ),
                )
            )
    for n in (1, 2):
        for bits, kind in ((8, "b8"), (4, "b8x16.b4x16_p64"), (6, "b8x16.b6x16_p32")):
            forms.append(
                (
                    f"ldmatrix_m16n16_x{n}_" + kind.replace(".", "_"),
                    f"ldmatrix.sync.aligned.m16n16.x{n}.trans.shared.{kind}",
                    2 * n,
                    BLACKWELL,
                    lambda l, r, bits=bits: word(
                        [
                            packed(source[16 * (r // 2) + 4 * (l % 4) + i], l // 4 + 8 * (r % 2), bits)
                            for i in range(4)
                        ],
                        8,
                    ),
                )
            )
    for name, opcode, count, targets, want in forms:
        out = [want(lane, r) for lane in range(32) for r in range(count)]
        write(
            "matrix",
            name,
            f"{opcode}: where every element goes.",
            "9.7 Warp-level matrix instructions: ldmatrix",
            targets,
            [tile],
            out,
            fill + f"    {opcode} {braces(32, count)}, [%r41];\n" + store(32, count),
            shared,
        )

    # Stores: the fragments of `tile` land in shared memory, which is then read row by row.
    def stored(n, place):
        out = [bytearray(16) for _ in range(8 * n)]
        for lane in range(32):
            for r in range(n):
                for i in range(4):
                    row, at = place(lane, r, i)
                    out[row][at] = tile.word(lane, r) >> (8 * i) & 0xFF
        return [w for row in out for w in struct.unpack("<4I", bytes(row))]

    for n in (1, 2, 4):
        stores = [
            (
                f"stmatrix_x{n}",
                f"stmatrix.sync.aligned.m8n8.x{n}.shared.b16",
                ALL,
                lambda l, r, i: (8 * r + l // 4, 4 * (l % 4) + i),
            ),
            (
                f"stmatrix_x{n}_trans",
                f"stmatrix.sync.aligned.m8n8.x{n}.trans.shared.b16",
                ALL,
                lambda l, r, i: (8 * r + 2 * (l % 4) + i // 2, 2 * (l // 4) + i % 2),
            ),
            (
                f"stmatrix_m16n8_x{n}_b8",
                f"stmatrix.sync.aligned.m16n8.x{n}.trans.shared.b8",
                BLACKWELL,
                lambda l, r, i: (8 * r + 2 * (l % 4) + i % 2, l // 4 + 8 * (i // 2)),
            ),
        ]
        for name, opcode, targets, place in stores:
            out = stored(n, place)
            body = tile.load(0) + "    mov.u32 %r62, tile;\n    mad.lo.u32 %r40, %r63, 16, %r62;\n"
            body += f"    {opcode} [%r40], {braces(0, n)};\n    bar.warp.sync 0xffffffff;\n    .reg .pred %p;\n    setp.lt.u32 %p, %r63, {8 * n};\n"
            body += "    ld.param.u64 %rd2, [d];\n    mad.wide.u32 %rd2, %r63, 16, %rd2;\n"
            body += "    @%p ld.shared.v4.b32 {%r32, %r33, %r34, %r35}, [%r40];\n    @%p st.global.v4.b32 [%rd2], {%r32, %r33, %r34, %r35};\n"
            write(
                "matrix",
                name,
                f"{opcode}: where every byte goes.",
                "9.7 Warp-level matrix instructions: stmatrix",
                targets,
                [tile],
                out,
                body,
                shared,
            )
    one = Registers("a", 1, 32, 0xFFFFFFFF, 0)
    halves = [
        [one.word(4 * row + col // 2, 0) >> (16 * (col % 2)) & 0xFFFF for col in range(8)] for row in range(8)
    ]
    out = [halves[2 * (l % 4)][l // 4] | halves[2 * (l % 4) + 1][l // 4] << 16 for l in range(32)]
    write(
        "matrix",
        "movmatrix",
        "movmatrix.sync.aligned.m8n8.trans.b16: the transposed matrix.",
        "9.7 Warp-level matrix instructions: movmatrix",
        ALL,
        [one],
        out,
        one.load(0) + "    movmatrix.sync.aligned.m8n8.trans.b16 %r32, %r0;\n" + store(32, 1),
    )


def encode(fmt, item, satfinite=False, relu=False, nearest=True):
    kind, value, _ = item
    eb, fb, bias, inf, nans, _ = FORMATS[fmt]
    top = {
        "e4m3": 0x7E,
        "e5m2": 0x7B,
        "e3m2": 0x1F,
        "e2m3": 0x1F,
        "e2m1": 7,
        "fp4": 7,
        "f16": 0x7BFF,
        "bf16": 0x7F7F,
    }[fmt]
    if kind == "nan":
        return {"e4m3": 0x7F, "e5m2": 0x7F, "f16": 0x7FFF, "bf16": 0x7FFF}.get(fmt, top)
    sign = 1 << (eb + fb) if value < 0 else 0
    if relu and sign:
        return 0
    if kind == "inf":
        return sign | (top if satfinite else ((1 << eb) - 1) << fb)
    code = round_to(fmt, value, nearest) & ~(1 << (eb + fb))
    if fmt in ("e3m2", "e2m3", "fp4", "e4m3"):  # no infinity: continue above the top before clamping
        e = max(floor_log2(abs(value)), 1 - bias) if value else 1 - bias
        scaled = abs(value) / F(2) ** (e - fb)
        n = trunc(scaled)
        rest = scaled - n
        if nearest and (rest > F(1, 2) or (rest == F(1, 2) and n & 1)):
            n += 1
        code = ((e + bias - 1) << fb) + n
    if code > top:
        code = top if satfinite or not nearest else ((1 << eb) - 1) << fb
    return sign | code


def ue8m0(item, up):
    kind, value, _ = item
    if kind == "nan":
        return 0xFF
    if kind == "inf":
        return 0xFE
    value = abs(value)
    if value <= F(2) ** -127:
        return 0
    e = floor_log2(value)
    if up and value != F(2) ** e:
        e += 1
    return max(0, min(e + 127, 0xFE))


def convert_cases():
    isa = "9.7 Data movement and conversion instructions: cvt"

    def item(word):
        return unpack("f32", word)

    def packed_from_f32(name, opcode, fmt, width, targets, registers, **how):
        out = []
        for lane in range(32):
            high, low = registers.word(lane, 0), registers.word(lane ^ 1, 0)
            out.append(encode(fmt, item(high), **how) << width | encode(fmt, item(low), **how))
        body = registers.load(0) + "    shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff;\n"
        body += {
            16: f"    {opcode} %r32, %r0, %r1;\n",
            8: f"    {opcode} %h0, %r0, %r1;\n    cvt.u32.u16 %r32, %h0;\n",
            4: f"    {opcode} %b0, %r0, %r1;\n    mov.b16 %h0, {{%b0, %b0}};\n    cvt.u32.u16 %r32, %h0;\n    and.b32 %r32, %r32, 0xff;\n",
        }[width]
        write(
            "convert",
            name,
            f"{opcode}: the first source goes to the upper half.",
            isa,
            targets,
            [registers],
            out,
            body + store(32, 1),
        )

    near_one = Registers("a", 1, 43, 0x83FFFFFF, 0x3C000000)  # 2^-7 .. 2, fine
    large = Registers("a", 1, 44, 0x87FFFFFF, 0x40000000)  # 2 .. 2^17: beyond the small formats
    for label, registers in (("", near_one), ("_large", large)):
        packed_from_f32(f"bf16x2_rn{label}", "cvt.rn.bf16x2.f32", "bf16", 16, ALL, registers)
        packed_from_f32(
            f"bf16x2_rn_relu{label}", "cvt.rn.relu.bf16x2.f32", "bf16", 16, ALL, registers, relu=True
        )
        packed_from_f32(f"bf16x2_rz{label}", "cvt.rz.bf16x2.f32", "bf16", 16, ALL, registers, nearest=False)
        packed_from_f32(f"f16x2_rn{label}", "cvt.rn.f16x2.f32", "f16", 16, ALL, registers)
        packed_from_f32(
            f"f16x2_rn_satfinite{label}",
            "cvt.rn.satfinite.f16x2.f32",
            "f16",
            16,
            ALL,
            registers,
            satfinite=True,
        )
        packed_from_f32(
            f"e4m3x2{label}", "cvt.rn.satfinite.e4m3x2.f32", "e4m3", 8, ALL, registers, satfinite=True
        )
        packed_from_f32(
            f"e4m3x2_relu{label}",
            "cvt.rn.satfinite.relu.e4m3x2.f32",
            "e4m3",
            8,
            ALL,
            registers,
            satfinite=True,
            relu=True,
        )
        packed_from_f32(
            f"e5m2x2{label}", "cvt.rn.satfinite.e5m2x2.f32", "e5m2", 8, ALL, registers, satfinite=True
        )
        packed_from_f32(
            f"e2m3x2{label}", "cvt.rn.satfinite.e2m3x2.f32", "e2m3", 8, BLACKWELL, registers, satfinite=True
        )
        packed_from_f32(
            f"e3m2x2{label}", "cvt.rn.satfinite.e3m2x2.f32", "e3m2", 8, BLACKWELL, registers, satfinite=True
        )
        packed_from_f32(
            f"e2m1x2{label}", "cvt.rn.satfinite.e2m1x2.f32", "fp4", 4, BLACKWELL, registers, satfinite=True
        )
    anything = Registers("a", 1, 45, 0xFFFFFFFF, 0)
    for mode in ("rz", "rp"):
        opcode = f"cvt.{mode}.satfinite.ue8m0x2.f32"
        out = [
            ue8m0(item(anything.word(l, 0)), mode == "rp") << 8
            | ue8m0(item(anything.word(l ^ 1, 0)), mode == "rp")
            for l in range(32)
        ]
        body = anything.load(0) + "    shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff;\n"
        body += f"    {opcode} %h0, %r0, %r1;\n    cvt.u32.u16 %r32, %h0;\n"
        write(
            "convert",
            f"ue8m0x2_{mode}",
            f"{opcode}: the sign is ignored.",
            isa,
            BLACKWELL,
            [anything],
            out,
            body + store(32, 1),
        )
    for fmt in ("e4m3", "e5m2", "e2m3", "e3m2"):
        registers = Registers("a", 1, 46, 0xFFFF if fmt in ("e4m3", "e5m2") else 0x3F3F, 0)
        out = []
        for lane in range(32):
            codes = [registers.word(lane, 0) >> (8 * i) & 0xFF for i in range(2)]
            sign_bit = 1 << (FORMATS[fmt][0] + FORMATS[fmt][1])
            halves = []
            for code in codes:
                kind, value, e = unpack(fmt, code)
                halves.append(
                    0x8000
                    if kind == "num" and value == 0 and code & sign_bit
                    else encode("f16", (kind, value, e))
                )
            out.append(halves[0] | halves[1] << 16)
        body = registers.load(0) + f"    cvt.u16.u32 %h0, %r0;\n    cvt.rn.f16x2.{fmt}x2 %r32, %h0;\n"
        write(
            "convert",
            f"f16x2_{fmt}x2",
            f"cvt.rn.f16x2.{fmt}x2: exact.",
            isa,
            ALL if fmt in ("e4m3", "e5m2") else BLACKWELL,
            [registers],
            out,
            body + store(32, 1),
        )


if __name__ == "__main__":
    mma_cases()
    matrix_cases()
    convert_cases()
