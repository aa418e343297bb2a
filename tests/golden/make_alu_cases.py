#!/usr/bin/env python3
# Writes the instruction cases of the ALU families (tests/emu/cases/{integer,float,bits,compare,convert}): the expected
# values are computed here, with Python's integers and exact fractions. Usage: make_alu_cases.py OUTPUT_FOLDER
import math
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

LANES = 32
BITS = {"8": "16", "16": "16", "32": "32", "64": "64"}


def f32(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def f64(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def bits32(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def bits64(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def signed(value, width):
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def unsigned(value, width):
    return value & ((1 << width) - 1)


def width(kind):
    return int(kind[1:])


def interesting(kind, seed):
    """32 values of a type, as bit patterns: corners first, then random ones."""
    rng = random.Random(seed)
    w = width(kind)
    if kind[0] == "f":
        if w == 32:
            corners = [
                0,
                0x80000000,
                0x3F800000,
                0xBF800000,
                0x7F800000,
                0xFF800000,
                0x7FC00000,
                1,
                0x80000001,
                0x7F7FFFFF,
                0x00800000,
                0x4B800001,
            ]
            return corners + [bits32(rng.uniform(-100, 100)) for _ in range(LANES - len(corners))]
        corners = [
            0,
            1 << 63,
            bits64(1.0),
            bits64(-1.0),
            bits64(math.inf),
            bits64(-math.inf),
            1,
            bits64(1e300),
        ]
        return corners + [bits64(rng.uniform(-100, 100)) for _ in range(LANES - len(corners))]
    corners = [
        0,
        1,
        2,
        3,
        (1 << w) - 1,
        (1 << w) - 2,
        1 << (w - 1),
        (1 << (w - 1)) - 1,
        (1 << (w - 1)) + 1,
        0x55 % (1 << w),
        31,
        32,
    ]
    return corners + [
        rng.getrandbits(w) >> rng.choice([0, 0, w // 2, w - 5]) for _ in range(LANES - len(corners))
    ]


def exact(bits):
    return Fraction(f32(bits))


def round_f32(value, mode):
    """A fraction rounded to f32 bits; the sign of zero is the caller's."""
    if value == 0:
        return 0
    sign = 0x80000000 if value < 0 else 0
    magnitude = abs(value)
    e = math.frexp(float(magnitude))[1] if magnitude < 2**1000 else 2000
    while Fraction(2) ** (e - 1) > magnitude:
        e -= 1
    while Fraction(2) ** e <= magnitude:
        e += 1
    unit = Fraction(2) ** max(e - 24, -149)
    whole, rest = divmod(magnitude, unit)
    up = {
        "rn": rest * 2 > unit or (rest * 2 == unit and whole % 2 == 1),
        "rz": False,
        "rp": rest > 0 and sign == 0,
        "rm": rest > 0 and sign != 0,
    }[mode]
    result = (whole + (1 if up else 0)) * unit
    if result >= Fraction(2) ** 128:
        to_inf = mode == "rn" or (mode == "rp" and not sign) or (mode == "rm" and sign)
        return sign | (0x7F800000 if to_inf else 0x7F7FFFFF)
    return sign | bits32(float(result))


def is_nan(bits):
    return (bits & 0x7F800000) == 0x7F800000 and bits & 0x7FFFFF


def is_inf(bits):
    return (bits & 0x7FFFFFFF) == 0x7F800000


NAN = 0x7FFFFFFF


def add_f32(a, b, mode="rn"):
    if is_nan(a) or is_nan(b):
        return NAN
    if is_inf(a) or is_inf(b):
        if is_inf(a) and is_inf(b):
            return a if a == b else NAN
        return a if is_inf(a) else b
    total = exact(a) + exact(b)
    if total == 0:
        if a == b:
            return a
        return 0x80000000 if mode == "rm" else 0
    return round_f32(total, mode)


def mul_f32(a, b, mode="rn"):
    if is_nan(a) or is_nan(b):
        return NAN
    sign = (a ^ b) & 0x80000000
    if is_inf(a) or is_inf(b):
        return NAN if (a & 0x7FFFFFFF) == 0 or (b & 0x7FFFFFFF) == 0 else sign | 0x7F800000
    product = exact(a) * exact(b)
    if product == 0:
        return sign
    rounded = round_f32(product, mode)
    return rounded | sign


def fma_f32(a, b, c, mode="rn"):
    if is_nan(a) or is_nan(b) or is_nan(c):
        return NAN
    sign = (a ^ b) & 0x80000000
    if is_inf(a) or is_inf(b):
        if (a & 0x7FFFFFFF) == 0 or (b & 0x7FFFFFFF) == 0:
            return NAN
        return NAN if is_inf(c) and c != sign | 0x7F800000 else sign | 0x7F800000
    if is_inf(c):
        return c
    product = exact(a) * exact(b)
    total = product + exact(c)
    if total == 0:
        if product == 0 and exact(c) == 0 and sign == c & 0x80000000:
            return sign
        return 0x80000000 if mode == "rm" else 0
    return round_f32(total, mode)


def flush(bits):
    return bits & 0x80000000 if (bits & 0x7F800000) == 0 else bits


def text(bits, kind):
    return hex(bits)


def case(
    folder,
    family,
    name,
    isa,
    out,
    ins,
    code,
    function,
    targets="all",
    version="8.8",
    seed=1,
    shared_inputs=None,
    ulps=0,
):
    """One case: `code` uses %d, %a, %b, %c (registers of the types given) and %p1.. (predicates)."""
    inputs = shared_inputs or [interesting(kind, seed * 10 + k) for k, kind in enumerate(ins)]
    if shared_inputs is None and len(inputs) > 1:
        # Pair corners with everything: each further operand is rotated.
        inputs = [values[7 * k :] + values[: 7 * k] for k, values in enumerate(inputs)]
    expected = [unsigned(function(*[values[lane] for values in inputs]), width(out)) for lane in range(LANES)]
    letters = "abc"[: len(ins)]
    lines = [f"// isa: {isa}", f"// targets: {targets}", "// launch: grid=1 block=32"]
    if ulps:
        lines.append(f"// ulps: {ulps}")
    for letter, kind, values in zip(letters, ins, inputs):
        lines.append(
            f"// in {letter} {kind.replace('f', 'b')} 32: " + " ".join(text(v, kind) for v in values[:16])
        )
        lines.append("//      " + " ".join(text(v, kind) for v in values[16:]))
    lines.append(f"// out d {out.replace('f', 'b')} 32: " + " ".join(text(v, out) for v in expected[:16]))
    lines.append("//      " + " ".join(text(v, out) for v in expected[16:]))
    entry = name
    params = ", ".join(f".param .u64 p{x}" for x in letters + "d")
    lines += [
        f".version {version}",
        ".target @TARGET@",
        ".address_size 64",
        f".visible .entry {entry}({params}) {{",
    ]
    lines += [
        "  .reg .pred %p<8>;",
        "  .reg .b16 %h<8>;",
        "  .reg .b32 %w<8>;",
        "  .reg .b64 %l<8>;",
        "  .reg .b64 %rd<8>;",
    ]
    for letter, kind in list(zip(letters, ins)) + [("d", out)]:
        lines.append(f"  .reg .b{BITS[kind[1:]]} %{letter};")
    lines.append("  mov.u32 %w0, %tid.x;")
    for letter, kind in zip(letters, ins):
        lines += [
            f"  mul.wide.u32 %rd0, %w0, {width(kind) // 8};",
            f"  ld.param.u64 %rd1, [p{letter}];",
            "  add.s64 %rd1, %rd1, %rd0;",
            f"  ld.global.{'b' if kind[0] == 'f' else kind[0]}{width(kind)} %{letter}, [%rd1];",
        ]
    lines += ["  " + line.strip() for line in code.strip().split("\n")]
    lines += [
        f"  mul.wide.u32 %rd0, %w0, {width(out) // 8};",
        "  ld.param.u64 %rd1, [pd];",
        "  add.s64 %rd1, %rd1, %rd0;",
        f"  st.global.b{width(out)} [%rd1], %d;",
        "  ret;",
        "}",
    ]
    path = folder / family / f"{name}.ptx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def refusal(folder, family, name, isa, code, registers):
    """A case that neither ptxas nor the emulator accepts."""
    lines = [
        f"// isa: {isa}",
        "// targets: all",
        "// launch: grid=1 block=32",
        "// error: .sat",
        "// ptxas: refuses",
    ]
    lines += [
        ".version 8.8",
        ".target @TARGET@",
        ".address_size 64",
        f".visible .entry {name}() {{",
        *registers,
        f"  {code}",
        "  ret;",
        "}",
    ]
    (folder / family / f"{name}.ptx").write_text("\n".join(lines) + "\n")


def trunc_div(a, b):
    q = abs(a) // abs(b)
    return -q if (a < 0) != (b < 0) else q


def clamp(value, low, high):
    return max(low, min(high, value))


def main():
    folder = Path(sys.argv[1])
    sm90_100 = "sm_120a sm_121a sm_120f"

    # ---- integer arithmetic ----
    for kind in ["u16", "s16", "u32", "s32", "u64", "s64"]:
        w = width(kind)
        v = (lambda x, w=w: signed(x, w)) if kind[0] == "s" else (lambda x: x)
        two = lambda f, v=v: lambda a, b: f(v(a), v(b))
        three = lambda f, v=v: lambda a, b, c: f(v(a), v(b), v(c))
        case(
            folder,
            "integer",
            f"add_{kind}",
            "9.7.1 add",
            kind,
            [kind] * 2,
            f"add.{kind} %d, %a, %b;",
            two(lambda a, b: a + b),
        )
        case(
            folder,
            "integer",
            f"sub_{kind}",
            "9.7.1 sub",
            kind,
            [kind] * 2,
            f"sub.{kind} %d, %a, %b;",
            two(lambda a, b: a - b),
        )
        case(
            folder,
            "integer",
            f"mul_lo_{kind}",
            "9.7.1 mul",
            kind,
            [kind] * 2,
            f"mul.lo.{kind} %d, %a, %b;",
            two(lambda a, b: a * b),
        )
        case(
            folder,
            "integer",
            f"mul_hi_{kind}",
            "9.7.1 mul",
            kind,
            [kind] * 2,
            f"mul.hi.{kind} %d, %a, %b;",
            two(lambda a, b, w=w: (a * b) >> w),
        )
        case(
            folder,
            "integer",
            f"mad_lo_{kind}",
            "9.7.1 mad",
            kind,
            [kind] * 3,
            f"mad.lo.{kind} %d, %a, %b, %c;",
            three(lambda a, b, c: a * b + c),
        )
        case(
            folder,
            "integer",
            f"mad_hi_{kind}",
            "9.7.1 mad",
            kind,
            [kind] * 3,
            f"mad.hi.{kind} %d, %a, %b, %c;",
            three(lambda a, b, c, w=w: ((a * b) >> w) + c),
        )
        case(
            folder,
            "integer",
            f"min_{kind}",
            "9.7.1 min",
            kind,
            [kind] * 2,
            f"min.{kind} %d, %a, %b;",
            two(min),
        )
        case(
            folder,
            "integer",
            f"max_{kind}",
            "9.7.1 max",
            kind,
            [kind] * 2,
            f"max.{kind} %d, %a, %b;",
            two(max),
        )
        case(
            folder,
            "integer",
            f"sad_{kind}",
            "9.7.1 sad",
            kind,
            [kind] * 3,
            f"sad.{kind} %d, %a, %b, %c;",
            three(lambda a, b, c: c + abs(a - b)),
        )
        base = f"or.b{w} %b, %b, 1;\n" if w > 16 else "or.b16 %b, %b, 1;\n"
        case(
            folder,
            "integer",
            f"div_{kind}",
            "9.7.1 div",
            kind,
            [kind] * 2,
            base + f"div.{kind} %d, %a, %b;",
            lambda a, b, v=v: trunc_div(v(a), v(b | 1)),
        )
        case(
            folder,
            "integer",
            f"rem_{kind}",
            "9.7.1 rem",
            kind,
            [kind] * 2,
            base + f"rem.{kind} %d, %a, %b;",
            lambda a, b, v=v: v(a) - v(b | 1) * trunc_div(v(a), v(b | 1)),
        )
        if w < 64:
            wide = f"{kind[0]}{2 * w}"
            case(
                folder,
                "integer",
                f"mul_wide_{kind}",
                "9.7.1 mul",
                wide,
                [kind] * 2,
                f"mul.wide.{kind} %d, %a, %b;",
                two(lambda a, b: a * b),
            )
            case(
                folder,
                "integer",
                f"mad_wide_{kind}",
                "9.7.1 mad",
                wide,
                [kind, kind, wide],
                f"mad.wide.{kind} %d, %a, %b, %c;",
                lambda a, b, c, v=v: v(a) * v(b) + c,
            )
        if kind[0] == "s":
            case(
                folder,
                "integer",
                f"abs_{kind}",
                "9.7.1 abs",
                kind,
                [kind],
                f"abs.{kind} %d, %a;",
                lambda a, v=v: abs(v(a)),
            )
            case(
                folder,
                "integer",
                f"neg_{kind}",
                "9.7.1 neg",
                kind,
                [kind],
                f"neg.{kind} %d, %a;",
                lambda a, v=v: -v(a),
            )
    low, high = -(1 << 31), (1 << 31) - 1
    s = lambda x: signed(x, 32)
    case(
        folder,
        "integer",
        "add_sat_s32",
        "9.7.1 add",
        "s32",
        ["s32"] * 2,
        "add.sat.s32 %d, %a, %b;",
        lambda a, b: clamp(s(a) + s(b), low, high),
    )
    case(
        folder,
        "integer",
        "sub_sat_s32",
        "9.7.1 sub",
        "s32",
        ["s32"] * 2,
        "sub.sat.s32 %d, %a, %b;",
        lambda a, b: clamp(s(a) - s(b), low, high),
    )
    case(
        folder,
        "integer",
        "add_with_carry",
        "9.7.2 add.cc, addc",
        "u64",
        ["u64"] * 2,
        """mov.b64 {%w1, %w2}, %a;
            mov.b64 {%w3, %w4}, %b;
            add.cc.u32 %w1, %w1, %w3;
            addc.u32 %w2, %w2, %w4;
            mov.b64 %d, {%w1, %w2};""",
        lambda a, b: a + b,
    )
    case(
        folder,
        "integer",
        "sub_with_borrow",
        "9.7.2 sub.cc, subc",
        "u64",
        ["u64"] * 2,
        """mov.b64 {%w1, %w2}, %a;
            mov.b64 {%w3, %w4}, %b;
            sub.cc.u32 %w1, %w1, %w3;
            subc.u32 %w2, %w2, %w4;
            mov.b64 %d, {%w1, %w2};""",
        lambda a, b: a - b,
    )
    case(
        folder,
        "integer",
        "mad_with_carry",
        "9.7.2 mad.cc, madc",
        "u64",
        ["u32", "u32", "u64"],
        """mov.b64 {%w1, %w2}, %c;
            mad.lo.cc.u32 %w1, %a, %b, %w1;
            madc.hi.u32 %w2, %a, %b, %w2;
            mov.b64 %d, {%w1, %w2};""",
        lambda a, b, c: a * b + c,
    )
    byte = lambda x, k, sg: signed(x >> (8 * k), 8) if sg else (x >> (8 * k)) & 255
    half = lambda x, k, sg: signed(x >> (16 * k), 16) if sg else (x >> (16 * k)) & 65535
    for ta in "us":
        for tb in "us":
            case(
                folder,
                "integer",
                f"dp4a_{ta}32_{tb}32",
                "9.7.1 dp4a",
                "u32",
                ["u32"] * 3,
                f"dp4a.{ta}32.{tb}32 %d, %a, %b, %c;",
                lambda a, b, c, ta=ta, tb=tb: (
                    c + sum(byte(a, k, ta == "s") * byte(b, k, tb == "s") for k in range(4))
                ),
            )
            for part, shift in (("lo", 0), ("hi", 2)):
                case(
                    folder,
                    "integer",
                    f"dp2a_{part}_{ta}32_{tb}32",
                    "9.7.1 dp2a",
                    "u32",
                    ["u32"] * 3,
                    f"dp2a.{part}.{ta}32.{tb}32 %d, %a, %b, %c;",
                    lambda a, b, c, ta=ta, tb=tb, shift=shift: (
                        c + sum(half(a, k, ta == "s") * byte(b, k + shift, tb == "s") for k in range(2))
                    ),
                )

    # ---- bits ----
    for w in (16, 32, 64):
        b = f"b{w}"
        u = f"u{w}"
        for op, f in (("and", lambda a, b: a & b), ("or", lambda a, b: a | b), ("xor", lambda a, b: a ^ b)):
            case(folder, "bits", f"{op}_{b}", f"9.7.8 {op}", u, [u] * 2, f"{op}.{b} %d, %a, %b;", f)
        case(folder, "bits", f"not_{b}", "9.7.8 not", u, [u], f"not.{b} %d, %a;", lambda a: ~a)
        case(folder, "bits", f"cnot_{b}", "9.7.8 cnot", u, [u], f"cnot.{b} %d, %a;", lambda a: int(a == 0))
        case(
            folder,
            "bits",
            f"shl_{b}",
            "9.7.8 shl",
            u,
            [u, "u32"],
            f"shl.{b} %d, %a, %b;",
            lambda a, n, w=w: a << n if n < w else 0,
        )
        case(
            folder,
            "bits",
            f"shr_u{w}",
            "9.7.8 shr",
            u,
            [u, "u32"],
            f"shr.u{w} %d, %a, %b;",
            lambda a, n, w=w: a >> n if n < w else 0,
        )
        case(
            folder,
            "bits",
            f"shr_s{w}",
            "9.7.8 shr",
            u,
            [u, "u32"],
            f"shr.s{w} %d, %a, %b;",
            lambda a, n, w=w: signed(a, w) >> min(n, w),
        )
    for w in (32, 64):
        u = f"u{w}"
        case(
            folder,
            "bits",
            f"popc_b{w}",
            "9.7.1 popc",
            "u32",
            [u],
            f"popc.b{w} %d, %a;",
            lambda a: bin(a).count("1"),
        )
        case(
            folder,
            "bits",
            f"clz_b{w}",
            "9.7.1 clz",
            "u32",
            [u],
            f"clz.b{w} %d, %a;",
            lambda a, w=w: w - a.bit_length(),
        )
        case(
            folder,
            "bits",
            f"brev_b{w}",
            "9.7.1 brev",
            u,
            [u],
            f"brev.b{w} %d, %a;",
            lambda a, w=w: int(bin(a)[2:].zfill(w)[::-1], 2),
        )
        find = lambda a: a.bit_length() - 1 if a else 0xFFFFFFFF
        case(folder, "bits", f"bfind_u{w}", "9.7.1 bfind", "u32", [u], f"bfind.u{w} %d, %a;", find)
        case(
            folder,
            "bits",
            f"bfind_s{w}",
            "9.7.1 bfind",
            "u32",
            [u],
            f"bfind.s{w} %d, %a;",
            lambda a, w=w: find(a if signed(a, w) >= 0 else unsigned(~a, w)),
        )
        case(
            folder,
            "bits",
            f"bfind_shiftamt_u{w}",
            "9.7.1 bfind",
            "u32",
            [u],
            f"bfind.shiftamt.u{w} %d, %a;",
            lambda a, w=w: w - a.bit_length() if a else 0xFFFFFFFF,
        )

        def bfe(a, pos, count, w, sg):
            if w == 32:
                pos, count = pos & 255, count & 255
            sign = 0
            if sg and count:
                sign = (a >> min(pos + count - 1, w - 1)) & 1
            out = 0
            for k in range(w):
                inside = k < count and pos + k < w
                out |= ((a >> (pos + k)) & 1 if inside else sign) << k
            return out

        case(
            folder,
            "bits",
            f"bfe_u{w}",
            "9.7.1 bfe",
            u,
            [u, "u32", "u32"],
            f"bfe.u{w} %d, %a, %b, %c;",
            lambda a, p, n, w=w: bfe(a, p, n, w, False),
        )
        case(
            folder,
            "bits",
            f"bfe_s{w}",
            "9.7.1 bfe",
            u,
            [u, "u32", "u32"],
            f"bfe.s{w} %d, %a, %b, %c;",
            lambda a, p, n, w=w: bfe(a, p, n, w, True),
        )

        def bfi(a, b, word, w):
            pos, count = word & 255, (word >> 8) & 255
            out = b
            for k in range(count):
                if pos + k < w:
                    out = (out & ~(1 << (pos + k))) | (((a >> k) & 1) << (pos + k))
            return out

        case(
            folder,
            "bits",
            f"bfi_b{w}",
            "9.7.1 bfi",
            u,
            [u, u, "u32"],
            f"""and.b32 %w1, %c, 255;
                 shr.u32 %w2, %c, 8;
                 and.b32 %w2, %w2, 255;
                 bfi.b{w} %d, %a, %b, %w1, %w2;""",
            lambda a, b, c, w=w: bfi(a, b, c, w),
        )
    for table in (0x96, 0xE8, 0xCA, 0x3C, 0x01):

        def lop3(a, b, c, table=table):
            return sum(
                ((table >> ((((a >> k) & 1) << 2) | (((b >> k) & 1) << 1) | ((c >> k) & 1))) & 1) << k
                for k in range(32)
            )

        case(
            folder,
            "bits",
            f"lop3_{table:02x}",
            "9.7.8 lop3",
            "u32",
            ["u32"] * 3,
            f"lop3.b32 %d, %a, %b, %c, {table:#x};",
            lop3,
        )
    for side in "lr":
        for mode in ("wrap", "clamp"):

            def shf(a, b, n, side=side, mode=mode):
                n = n & 31 if mode == "wrap" else min(n, 32)
                both = (b << 32) | a
                return (both << n) >> 32 if side == "l" else both >> n

            case(
                folder,
                "bits",
                f"shf_{side}_{mode}",
                "9.7.8 shf",
                "u32",
                ["u32"] * 3,
                f"shf.{side}.{mode}.b32 %d, %a, %b, %c;",
                shf,
            )

    def prmt(a, b, selectors):
        data = (b << 32) | a
        out = 0
        for k in range(4):
            sel = (selectors >> (4 * k)) & 15
            value = (data >> (8 * (sel & 7))) & 255
            if sel & 8:
                value = 255 if value & 128 else 0
            out |= value << (8 * k)
        return out

    case(folder, "bits", "prmt", "9.7.9 prmt", "u32", ["u32"] * 3, "prmt.b32 %d, %a, %b, %c;", prmt)
    modes = {
        "f4e": ((3, 2, 1, 0), (4, 3, 2, 1), (5, 4, 3, 2), (6, 5, 4, 3)),
        "b4e": ((5, 6, 7, 0), (6, 7, 0, 1), (7, 0, 1, 2), (0, 1, 2, 3)),
        "rc8": ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)),
        "ecl": ((3, 2, 1, 0), (3, 2, 1, 1), (3, 2, 2, 2), (3, 3, 3, 3)),
        "ecr": ((0, 0, 0, 0), (1, 1, 1, 0), (2, 2, 1, 0), (3, 2, 1, 0)),
        "rc16": ((1, 0, 1, 0), (3, 2, 3, 2), (1, 0, 1, 0), (3, 2, 3, 2)),
    }
    for mode, rows in modes.items():

        def special(a, b, c, rows=rows):
            chosen = rows[c & 3]
            return prmt(a, b, sum(chosen[3 - k] << (4 * k) for k in range(4)))

        case(
            folder,
            "bits",
            f"prmt_{mode}",
            "9.7.9 prmt",
            "u32",
            ["u32"] * 3,
            f"prmt.b32.{mode} %d, %a, %b, %c;",
            special,
        )

    # ---- f32 ----
    for mode in ("rn", "rz", "rm", "rp"):
        case(
            folder,
            "float",
            f"add_{mode}_f32",
            "9.7.3 add",
            "f32",
            ["f32"] * 2,
            f"add.{mode}.f32 %d, %a, %b;",
            lambda a, b, m=mode: add_f32(a, b, m),
        )
        case(
            folder,
            "float",
            f"mul_{mode}_f32",
            "9.7.3 mul",
            "f32",
            ["f32"] * 2,
            f"mul.{mode}.f32 %d, %a, %b;",
            lambda a, b, m=mode: mul_f32(a, b, m),
        )
        case(
            folder,
            "float",
            f"fma_{mode}_f32",
            "9.7.3 fma",
            "f32",
            ["f32"] * 3,
            f"fma.{mode}.f32 %d, %a, %b, %c;",
            lambda a, b, c, m=mode: fma_f32(a, b, c, m),
        )

        def div_f32(a, b, m=mode):
            if is_nan(a) or is_nan(b):
                return NAN
            sign = (a ^ b) & 0x80000000
            zero_a, zero_b = (a & 0x7FFFFFFF) == 0, (b & 0x7FFFFFFF) == 0
            if is_inf(a):
                return NAN if is_inf(b) else sign | 0x7F800000
            if is_inf(b):
                return sign
            if zero_b:
                return NAN if zero_a else sign | 0x7F800000
            return sign if zero_a else round_f32(exact(a) / exact(b), m) | sign

        case(
            folder,
            "float",
            f"div_{mode}_f32",
            "9.7.3 div",
            "f32",
            ["f32"] * 2,
            f"div.{mode}.f32 %d, %a, %b;",
            div_f32,
        )
        case(
            folder,
            "float",
            f"rcp_{mode}_f32",
            "9.7.3 rcp",
            "f32",
            ["f32"],
            f"rcp.{mode}.f32 %d, %a;",
            lambda a, m=mode: div_f32(0x3F800000, a, m),
        )
    case(
        folder,
        "float",
        "sub_f32",
        "9.7.3 sub",
        "f32",
        ["f32"] * 2,
        "sub.f32 %d, %a, %b;",
        lambda a, b: add_f32(a, b ^ 0x80000000),
    )
    case(
        folder,
        "float",
        "add_ftz_f32",
        "9.7.3 add",
        "f32",
        ["f32"] * 2,
        "add.ftz.f32 %d, %a, %b;",
        lambda a, b: flush(add_f32(flush(a), flush(b))),
    )
    case(
        folder,
        "float",
        "mul_ftz_f32",
        "9.7.3 mul",
        "f32",
        ["f32"] * 2,
        "mul.ftz.f32 %d, %a, %b;",
        lambda a, b: flush(mul_f32(flush(a), flush(b))),
    )

    def sat(bits):
        return 0 if is_nan(bits) or bits >> 31 else min(bits, 0x3F800000)

    case(
        folder,
        "float",
        "add_sat_f32",
        "9.7.3 add",
        "f32",
        ["f32"] * 2,
        "add.sat.f32 %d, %a, %b;",
        lambda a, b: sat(add_f32(a, b)),
    )

    def order(a):
        return -(a & 0x7FFFFFFF) - 1 if a >> 31 else a

    def min_f32(a, b, larger=False, nan=False):
        if is_nan(a) or is_nan(b):
            if nan or (is_nan(a) and is_nan(b)):
                return NAN
            return b if is_nan(a) else a
        return max(a, b, key=order) if larger else min(a, b, key=order)

    case(folder, "float", "min_f32", "9.7.3 min", "f32", ["f32"] * 2, "min.f32 %d, %a, %b;", min_f32)
    case(
        folder,
        "float",
        "max_f32",
        "9.7.3 max",
        "f32",
        ["f32"] * 2,
        "max.f32 %d, %a, %b;",
        lambda a, b: min_f32(a, b, True),
    )
    case(
        folder,
        "float",
        "max_nan_f32",
        "9.7.3 max",
        "f32",
        ["f32"] * 2,
        "max.NaN.f32 %d, %a, %b;",
        lambda a, b: min_f32(a, b, True, True),
    )

    def xorsign(a, b):
        out = min_f32(a & 0x7FFFFFFF, b & 0x7FFFFFFF)
        return (out & 0x7FFFFFFF) | ((a ^ b) & 0x80000000)

    case(
        folder,
        "float",
        "min_xorsign_abs_f32",
        "9.7.3 min",
        "f32",
        ["f32"] * 2,
        "min.xorsign.abs.f32 %d, %a, %b;",
        xorsign,
        shared_inputs=[
            [v for v in interesting("f32", 5) if not is_nan(v)] + [0x3F000000],
            interesting("f32", 6)[12:] + interesting("f32", 7)[12:24],
        ],
    )
    case(
        folder,
        "float",
        "max3_f32",
        "9.7.3 max",
        "f32",
        ["f32"] * 3,
        "max.f32 %d, %a, %b, %c;",
        lambda a, b, c: min_f32(min_f32(a, b, True), c, True),
        targets=sm90_100,
    )
    case(
        folder,
        "float",
        "neg_f32",
        "9.7.3 neg",
        "f32",
        ["f32"],
        "neg.f32 %d, %a;",
        lambda a: NAN if is_nan(a) else a ^ 0x80000000,
        shared_inputs=[[v for v in interesting("f32", 8) if not is_nan(v)] + [0x3F000000]],
    )
    case(
        folder,
        "float",
        "copysign_f32",
        "9.7.3 copysign",
        "f32",
        ["f32"] * 2,
        "copysign.f32 %d, %a, %b;",
        lambda a, b: (a & 0x80000000) | (b & 0x7FFFFFFF),
    )
    tests = {
        "finite": lambda a: (a & 0x7F800000) != 0x7F800000,
        "infinite": is_inf,
        "number": lambda a: not is_nan(a),
        "notanumber": lambda a: bool(is_nan(a)),
        "normal": lambda a: 0 < (a >> 23) & 255 < 255 or a & 0x7FFFFFFF == 0,
        "subnormal": lambda a: (a >> 23) & 255 == 0 and (a & 0x7FFFFF) != 0,
    }
    for what, f in tests.items():
        case(
            folder,
            "float",
            f"testp_{what}_f32",
            "9.7.3 testp",
            "u32",
            ["f32"],
            f"testp.{what}.f32 %p1, %a;\nselp.u32 %d, 1, 0, %p1;",
            lambda a, f=f: int(f(a)),
        )

    def pair(f):
        return lambda a, b: f(a & 0xFFFFFFFF, b & 0xFFFFFFFF) | (f(a >> 32, b >> 32) << 32)

    floats = interesting("f32", 21)
    joined = [a | (b << 32) for a, b in zip(floats, floats[5:] + floats[:5])]
    other = [a | (b << 32) for a, b in zip(floats[9:] + floats[:9], floats[2:] + floats[:2])]
    for op, f in (("add", add_f32), ("mul", mul_f32)):
        case(
            folder,
            "float",
            f"{op}_f32x2",
            f"9.7.3 {op}",
            "u64",
            ["u64"] * 2,
            f"{op}.rn.f32x2 %d, %a, %b;",
            pair(f),
            targets=sm90_100,
            shared_inputs=[joined, other],
        )
    case(
        folder,
        "float",
        "fma_f32x2",
        "9.7.3 fma",
        "u64",
        ["u64"] * 2,
        "fma.rn.f32x2 %d, %a, %b, %a;",
        pair(lambda a, b: fma_f32(a, b, a)),
        targets=sm90_100,
        shared_inputs=[joined, other],
    )
    finite = [
        bits64(v)
        for v in [0.0, 1.0, -2.5, 1e300, 1e-300, 3.0, 0.1, -7.0]
        + [random.Random(k).uniform(-9, 9) for k in range(24)]
    ]
    shifted = finite[3:] + finite[:3]
    for op, f in (
        ("add", lambda a, b: a + b),
        ("sub", lambda a, b: a - b),
        ("mul", lambda a, b: a * b),
        ("min", min),
        ("max", max),
    ):
        case(
            folder,
            "float",
            f"{op}_f64",
            f"9.7.3 {op}",
            "f64",
            ["f64"] * 2,
            f"{op}.f64 %d, %a, %b;",
            lambda a, b, f=f: bits64(f(f64(a), f64(b))),
            shared_inputs=[finite, shifted],
        )
    powers = [bits32(2.0 ** (k - 16)) for k in range(LANES)]
    case(
        folder,
        "float",
        "ex2_approx_powers",
        "9.7.3 ex2",
        "f32",
        ["f32"],
        "ex2.approx.f32 %d, %a;",
        lambda a: bits32(2.0 ** f32(a)),
        shared_inputs=[[bits32(float(k - 16)) for k in range(LANES)]],
    )
    case(
        folder,
        "float",
        "lg2_approx_powers",
        "9.7.3 lg2",
        "f32",
        ["f32"],
        "lg2.approx.f32 %d, %a;",
        lambda a: bits32(math.log2(f32(a))),
        shared_inputs=[powers],
        ulps=2,
    )
    case(
        folder,
        "float",
        "rcp_approx_powers",
        "9.7.3 rcp",
        "f32",
        ["f32"],
        "rcp.approx.f32 %d, %a;",
        lambda a: bits32(1.0 / f32(a)),
        shared_inputs=[powers],
    )
    case(
        folder,
        "float",
        "sqrt_rn_f32",
        "9.7.3 sqrt",
        "f32",
        ["f32"],
        "sqrt.rn.f32 %d, %a;",
        lambda a: (
            NAN
            if is_nan(a) or (a >> 31 and a != 0x80000000)
            else a
            if is_inf(a)
            else bits32(math.sqrt(f32(a)))
        ),
    )

    # ---- comparison and selection ----
    compare = {
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
    }
    for kind in ("u16", "s16", "u32", "s32", "u64", "s64"):
        w = width(kind)
        v = (lambda x, w=w: signed(x, w)) if kind[0] == "s" else (lambda x: x)
        for op, f in compare.items():
            case(
                folder,
                "compare",
                f"setp_{op}_{kind}",
                "9.7.6 setp",
                "u32",
                [kind] * 2,
                f"setp.{op}.{kind} %p1, %a, %b;\nselp.u32 %d, 1, 0, %p1;",
                lambda a, b, f=f, v=v: int(f(v(a), v(b))),
            )
    for op, f in compare.items():
        real = lambda a, b, f=f, op=op: int(not (is_nan(a) or is_nan(b)) and f(f32(a), f32(b)))
        loose = lambda a, b, f=f: int(bool(is_nan(a) or is_nan(b)) or f(f32(a), f32(b)))
        case(
            folder,
            "compare",
            f"setp_{op}_f32",
            "9.7.6 setp",
            "u32",
            ["f32"] * 2,
            f"setp.{op}.f32 %p1, %a, %b;\nselp.u32 %d, 1, 0, %p1;",
            real,
        )
        case(
            folder,
            "compare",
            f"setp_{op}u_f32",
            "9.7.6 setp",
            "u32",
            ["f32"] * 2,
            f"setp.{op}u.f32 %p1, %a, %b;\nselp.u32 %d, 1, 0, %p1;",
            loose,
        )
    case(
        folder,
        "compare",
        "setp_num_nan_f32",
        "9.7.6 setp",
        "u32",
        ["f32"] * 2,
        """setp.num.f32 %p1, %a, %b;
            setp.nan.f32 %p2, %a, %b;
            selp.u32 %w1, 1, 0, %p1;
            selp.u32 %w2, 2, 0, %p2;
            or.b32 %d, %w1, %w2;""",
        lambda a, b: 2 if is_nan(a) or is_nan(b) else 1,
    )
    for op, f in (("and", lambda a, b: a and b), ("or", lambda a, b: a or b), ("xor", lambda a, b: a != b)):
        case(
            folder,
            "compare",
            f"setp_lt_{op}_pair",
            "9.7.6 setp",
            "u32",
            ["s32", "s32", "u32"],
            f"""and.b32 %w1, %c, 1;
                 setp.ne.u32 %p3, %w1, 0;
                 setp.lt.{op}.s32 %p1|%p2, %a, %b, %p3;
                 selp.u32 %w1, 1, 0, %p1;
                 selp.u32 %w2, 2, 0, %p2;
                 or.b32 %d, %w1, %w2;""",
            lambda a, b, c, f=f: int(f(s(a) < s(b), bool(c & 1))) + 2 * int(f(not s(a) < s(b), bool(c & 1))),
        )
    case(
        folder,
        "compare",
        "set_gt_u32_s32",
        "9.7.6 set",
        "u32",
        ["s32"] * 2,
        "set.gt.u32.s32 %d, %a, %b;",
        lambda a, b: -1 if s(a) > s(b) else 0,
    )
    case(
        folder,
        "compare",
        "set_le_f32_f32",
        "9.7.6 set",
        "f32",
        ["f32"] * 2,
        "set.le.f32.f32 %d, %a, %b;",
        lambda a, b: 0x3F800000 if f32(a) <= f32(b) else 0,
    )
    case(
        folder,
        "compare",
        "slct_s32_s32",
        "9.7.6 slct",
        "u32",
        ["u32", "u32", "s32"],
        "slct.u32.s32 %d, %a, %b, %c;",
        lambda a, b, c: a if s(c) >= 0 else b,
    )

    # ---- conversions ----
    for source in ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"):
        ws = width(source)
        v = (lambda x, w=ws: signed(x, w)) if source[0] == "s" else (lambda x: x)
        for target in ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"):
            wt = width(target)
            if source == target or wt == 8:
                continue
            case(
                folder,
                "convert_integer",
                f"cvt_{target}_{source}",
                "9.7.9 cvt",
                target,
                [source],
                f"cvt.{target}.{source} %d, %a;",
                lambda a, v=v: v(a),
            )
            bounds = (-(1 << (wt - 1)), (1 << (wt - 1)) - 1) if target[0] == "s" else (0, (1 << wt) - 1)
            fits = source[0] == target[0] and wt >= ws or source[0] == "u" and wt > ws
            if fits and source[0] != target[0]:
                refusal(
                    folder,
                    "convert_integer",
                    f"cvt_sat_{target}_{source}",
                    "9.7.9 cvt",
                    f"cvt.sat.{target}.{source} %d, %a;",
                    [
                        f"  .reg .b{wt} %d;",
                        f"  .reg .b{BITS[source[1:]]} %a;",
                        f"  mov.b{BITS[source[1:]]} %a, 5;",
                    ],
                )
            elif not fits:
                case(
                    folder,
                    "convert_integer",
                    f"cvt_sat_{target}_{source}",
                    "9.7.9 cvt",
                    target,
                    [source],
                    f"cvt.sat.{target}.{source} %d, %a;",
                    lambda a, v=v, b=bounds: clamp(v(a), *b),
                )
    for source in ("u32", "s32", "u64", "s64"):
        v = (lambda x, w=width(source): signed(x, w)) if source[0] == "s" else (lambda x: x)
        for mode in ("rn", "rz", "rm", "rp"):
            case(
                folder,
                "convert_float",
                f"cvt_{mode}_f32_{source}",
                "9.7.9 cvt",
                "f32",
                [source],
                f"cvt.{mode}.f32.{source} %d, %a;",
                lambda a, v=v, m=mode: round_f32(Fraction(v(a)), m),
            )
        case(
            folder,
            "convert_float",
            f"cvt_rn_f64_{source}",
            "9.7.9 cvt",
            "f64",
            [source],
            f"cvt.rn.f64.{source} %d, %a;",
            lambda a, v=v: bits64(float(v(a))),
        )

    def whole(value, mode):
        floor = math.floor(value)
        rest = value - floor
        if mode == "rmi":
            return floor
        if mode == "rpi":
            return floor + (1 if rest else 0)
        if mode == "rzi":
            return floor if value >= 0 or rest == 0 else floor + 1
        return floor + (1 if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2) else 0)

    reals = [
        bits32(v)
        for v in [
            0.0,
            -0.0,
            0.5,
            -0.5,
            1.5,
            -1.5,
            2.5,
            -2.5,
            0.49999997,
            1e10,
            -1e10,
            3e38,
            -3e38,
            2147483520.0,
            -2147483648.0,
            4294967040.0,
            65535.5,
            -32768.5,
            127.9,
            -129.0,
        ]
    ]
    reals += [0x7F800000, 0xFF800000, 1, 0x80000001] + [
        bits32(random.Random(k).uniform(-1000, 1000)) for k in range(8)
    ]
    for target in ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"):
        wt = width(target)
        bounds = (-(1 << (wt - 1)), (1 << (wt - 1)) - 1) if target[0] == "s" else (0, (1 << wt) - 1)
        stored = f"{target[0]}16" if wt == 8 else target
        for mode in ("rni", "rzi", "rmi", "rpi"):

            def to_int(a, mode=mode, b=bounds):
                if is_inf(a):
                    return b[0] if a >> 31 else b[1]
                return clamp(whole(exact(a), mode), *b)

            case(
                folder,
                "convert_float",
                f"cvt_{mode}_{target}_f32",
                "9.7.9 cvt",
                stored,
                ["f32"],
                f"cvt.{mode}.{target}.f32 %d, %a;",
                to_int,
                shared_inputs=[reals],
            )
    for mode in ("rn", "rz", "rm", "rp"):
        doubles = [
            bits64(v)
            for v in [0.1, -0.1, 1 / 3, 1e-40, -1e-40, 3.4028235677973366e38, -3.5e38, 1.0, 16777217.0]
        ] + [bits64(random.Random(k).uniform(-1e3, 1e3)) for k in range(23)]
        case(
            folder,
            "convert_float",
            f"cvt_{mode}_f32_f64",
            "9.7.9 cvt",
            "f32",
            ["f64"],
            f"cvt.{mode}.f32.f64 %d, %a;",
            lambda a, m=mode: round_f32(Fraction(f64(a)), m),
            shared_inputs=[doubles],
        )
    case(
        folder,
        "convert_float",
        "cvt_f64_f32",
        "9.7.9 cvt",
        "f64",
        ["f32"],
        "cvt.f64.f32 %d, %a;",
        lambda a: bits64(f32(a)),
        shared_inputs=[[v for v in interesting("f32", 3) if not is_nan(v)] + [0x3F000000]],
    )
    case(
        folder,
        "convert_float",
        "cvt_sat_f32_f32",
        "9.7.9 cvt",
        "f32",
        ["f32"],
        "cvt.sat.f32.f32 %d, %a;",
        sat,
    )
    case(
        folder,
        "convert_float",
        "cvt_rmi_f32_f32",
        "9.7.9 cvt",
        "f32",
        ["f32"],
        "cvt.rmi.f32.f32 %d, %a;",
        lambda a: a if is_inf(a) or (a & 0x7FFFFFFF) == 0 else bits32(float(math.floor(exact(a)))),
        shared_inputs=[[v for v in reals if v not in (1, 0x80000001)] + [0x3F000000, 0x3F000001]],
    )


main()
