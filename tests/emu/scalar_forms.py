# Candidates for statements of scalar instructions: arithmetic, comparisons, conversions, loads, stores, atomics, votes. As in forms.py,
# wider than the language: every modifier of an instruction with every type, and operands of the wrong kind.
import itertools

ROUND = ["", ".rn", ".rz", ".rm", ".rp"]
TO_INTEGER = [".rni", ".rzi", ".rmi", ".rpi"]
FTZ, SAT = ["", ".ftz"], ["", ".sat"]
INTEGERS = [f"{kind}{bits}" for bits in (8, 16, 32, 64) for kind in "us"]
BITS = ["b8", "b16", "b32", "b64", "b128"]
FLOATS = ["f16", "f16x2", "bf16", "bf16x2", "f32", "f32x2", "f64", "tf32"]
PACKED = ["u16x2", "s16x2", "u8x4", "s8x4"]
TYPES = [*INTEGERS, *BITS, *FLOATS, *PACKED, "pred"]
NUMBERS = [t for t in TYPES if not t.endswith("8") and t not in ("b128", "tf32", "u8x4", "s8x4")]
PLAIN = ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f16", "f32", "f64"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"]
COMPARE += ["equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"]
WIDTH = {"pred": 1, "f16x2": 32, "bf16x2": 32, "f32x2": 64, "tf32": 32, "bf16": 16}
WIDTH |= {t: 32 for t in PACKED}
KIND = {1: "p", 8: "c", 16: "h", 32: "r", 64: "d", 128: "q"}
COUNT = {1: 2, 8: 2, 16: 10, 32: 40, 64: 40, 128: 1}
SCOPES = ["", ".cta", ".cluster", ".gpu", ".sys"]
ANY_SPACE = [
    ".const",
    ".global",
    ".local",
    ".param",
    ".param::entry",
    ".param::func",
    ".shared",
    ".shared::cta",
]
ANY_SPACE = ["", *ANY_SPACE, ".shared::cluster"]


def width(type):
    return WIDTH[type] if type in WIDTH else int(type[1:])


def cross(base, *slots):
    return [base + "".join(choice) for choice in itertools.product(*slots)]


def dots(names):
    return ["." + name for name in names]


def at(bits, k):
    """The k-th register of that width."""
    return f"%{KIND[bits]}{k % COUNT[bits]}"


def say(opcode, *widths):
    return f"{opcode} {', '.join(at(bits, k) for k, bits in enumerate(widths))};"


def same(opcodes, count):
    """Operands all as wide as the last type."""
    for opcode in opcodes:
        yield say(opcode, *[width(opcode.rsplit(".", 1)[1])] * count)


def arithmetic():
    for base in ("add", "sub"):
        yield from same(cross(base, ROUND, FTZ, SAT, dots(NUMBERS)), 3)
        yield from same(cross(base, ["", ".cc"], SAT, dots(TYPES)), 3)
        yield from same(cross(base + "c", ["", ".cc"], SAT, dots(NUMBERS)), 3)
        for opcode in cross(
            base, ROUND, FTZ, SAT, (".f32", ".f64", ".f16"), (".f16", ".bf16", ".f16x2", ".f32")
        ):
            yield say(opcode, 32, 16, 32)
    yield from same(cross("mul", ROUND, FTZ, SAT, dots(NUMBERS)), 3)
    yield from same(cross("mad", ROUND, FTZ, SAT, dots(NUMBERS)), 4)
    for opcode in cross("mad", ROUND, FTZ, (".lo", ".hi"), (".u32", ".f32")):
        yield say(opcode, 32, 32, 32, 32)
    for part in (".lo", ".hi", ".wide"):
        for type in TYPES:
            bits = min(width(type), 64)
            wide = min(max(2 * bits, 8), 128) if part == ".wide" else bits
            for s in (*SAT, ".ftz", ".rn"):
                yield say(f"mul{part}{s}.{type}", wide, bits, bits)
                yield say(f"mad{part}{s}.{type}", wide, bits, bits, wide)
            for base, s in itertools.product(("mad", "madc"), ("", ".cc", ".cc.sat", ".sat")):
                yield say(f"{base}{part}{s}.{type}", wide, bits, bits, wide)
            for s in SAT:
                yield say(f"mul24{part}{s}.{type}", bits, bits, bits)
                yield say(f"mad24{part}{s}.{type}", bits, bits, bits, bits)
    fma = ["", ".relu", ".oob", ".oob.relu"]
    yield from same(cross("fma", ROUND, FTZ, SAT, fma[:2], dots(NUMBERS)), 4)
    yield from same(cross("fma.rn", FTZ, SAT, ["", ".relu", ".relu.sat"], dots(FLOATS)), 4)
    for opcode in cross("fma", ROUND, FTZ, SAT, (".f32", ".f64", ".f16"), (".f16", ".bf16", ".f32")):
        yield say(opcode, 32, 16, 16, 32)
    for base in ("div", "rem"):
        yield from same(cross(base, [*ROUND, ".approx", ".full"], FTZ, SAT, dots(NUMBERS)), 3)
    for base in ("rcp", "sqrt", "rsqrt"):
        yield from same(cross(base, [*ROUND, ".approx"], FTZ, SAT, dots(NUMBERS)), 2)
    for base in ("sin", "cos", "lg2", "ex2", "tanh"):
        yield from same(cross(base, ["", ".approx", ".rn"], FTZ, SAT, dots(NUMBERS)), 2)
    for base in ("abs", "neg"):
        yield from same(cross(base, ["", ".rn"], FTZ, SAT, dots(TYPES)), 2)
    extremes = [["", ".NaN"], ["", ".xorsign"], ["", ".abs"], ["", ".relu"]]
    for base in ("min", "max"):
        yield from same(cross(base, FTZ, *extremes, dots(NUMBERS)), 3)
        yield from same(cross(base, FTZ, *extremes, dots(FLOATS)), 4)
        yield from same(cross(base, ["", ".rn", ".sat"], dots(TYPES)), 3)
    for type in TYPES:
        yield from same(cross("sad", SAT, dots([type])), 4)
        yield from same(cross("copysign", FTZ, dots([type])), 3)
        for test in ("finite", "infinite", "number", "notanumber", "normal", "subnormal", "zero"):
            yield say(f"testp.{test}.{type}", 1, width(type))
    for a, b in itertools.product((*INTEGERS[:6], "b32", "f32"), repeat=2):
        for part in ("", ".lo", ".hi", ".sat"):
            yield say(f"dp4a{part}.{a}.{b}", 32, 32, 32, 32)
            yield say(f"dp2a{part}.{a}.{b}", 32, 32, 32, 32)


def bits():
    for base, count in (("and", 3), ("or", 3), ("xor", 3), ("not", 2), ("cnot", 2), ("andn", 3)):
        yield from same(cross(base, SAT, dots(TYPES)), count)
    for base, type in itertools.product(("shl", "shr"), TYPES):
        for amount in (16, 32, 64):
            yield say(f"{base}.{type}", width(type), width(type), amount)
    for opcode in cross("shf", ("", ".l", ".r"), ("", ".wrap", ".clamp"), dots(TYPES)):
        bits = width(opcode.rsplit(".", 1)[1])
        yield say(opcode, bits, bits, bits, 32)
        yield say(opcode, bits, bits, bits, bits)
    for type in TYPES:
        bits = width(type)
        for way in ("", ".and", ".or", ".xor"):
            for table in ("0", "128", "255", "256", "-1", "%r5"):
                plain = say(f"lop3{way}.{type}", bits, bits, bits, bits)[:-1]
                yield f"{plain}, {table};"
                yield f"{plain}, {table}, %p0;"
                yield f"{plain.replace(',', '|%p1,', 1)}, {table}, %p0;"
                yield f"{plain.replace(at(bits, 0) + ',', '_|%p1,', 1)}, {table}, %p0;"
        for mode in ("", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"):
            yield say(f"prmt.{type}{mode}", bits, bits, bits, 32)
            yield say(f"prmt{mode}.{type}", bits, bits, bits, 32)
        for result, count in itertools.product((16, 32, 64), (16, 32, 64)):
            yield say(f"bfe.{type}", result, bits, count, count)
            yield say(f"bfi.{type}", result, bits, bits, count, count)
        for base, result in itertools.product(
            ("popc", "clz", "brev", "bfind", "bfind.shiftamt"), (16, 32, 64)
        ):
            yield say(f"{base}.{type}", result, bits)
        for mode in ("", ".clamp", ".wrap"):
            yield say(f"bmsk{mode}.{type}", bits, bits, 32)
            yield say(f"szext{mode}.{type}", bits, bits, 32)
        yield say(f"fns.{type}", bits, bits, 32, 32)


def comparisons():
    for compare in COMPARE:
        for f, type in itertools.product(FTZ, NUMBERS):
            bits = width(type)
            yield say(f"setp.{compare}{f}.{type}", 1, bits, bits)
            plain = say(f"setp.{compare}{f}.{type}", 1, bits, bits).replace("%p0", "%p0|%p1")
            yield plain
            for result in ("u32", "s32", "f32"):
                yield say(f"set.{compare}{f}.{result}.{type}", 32, bits, bits)
    for op, f, type in itertools.product(("and", "or", "xor", "not"), FTZ, NUMBERS):
        bits = width(type)
        for negated in ("", "!"):
            yield f"setp.gt.{op}{f}.{type} %p0|%p1, {at(bits, 1)}, {at(bits, 2)}, {negated}%p0;"
            for result in ("u32", "f32", "f16", "bf16", "u16", type):
                to = at(width(result), 0)
                yield f"set.lt.{op}{f}.{result}.{type} {to}, {at(bits, 1)}, {at(bits, 2)}, {negated}%p0;"
        yield f"setp.{op}.gt{f}.{type} %p0, {at(bits, 1)}, {at(bits, 2)}, %p1;"
    for result, f, type in itertools.product(TYPES, FTZ, NUMBERS):
        yield say(f"set.eq{f}.{result}.{type}", width(result), width(type), width(type))
        yield say(f"set.le{f}.{result}.{type}", width(result), width(type), width(type))
    for type in TYPES:
        bits = width(type)
        yield say(f"setp.ne.{type}", 1, bits, bits)
        for f in FTZ:
            yield say(f"selp{f}.{type}", bits, bits, bits, 1)
            for control in TYPES:
                yield say(f"slct{f}.{type}.{control}", bits, bits, bits, width(control))


def conversions():
    to = [*INTEGERS, *FLOATS, *BITS[:4], "u16x2", "pred"]
    rounds = [*ROUND, *TO_INTEGER, ".rna"]
    for r, f, s, d, a in itertools.product(rounds, FTZ, SAT, to, to):
        odd = d in BITS or a in BITS or d == "pred" or a == "pred" or d == "u16x2" or a == "u16x2"
        if odd and (r not in ("", ".rn", ".rzi") or f or s):
            continue
        yield say(f"cvt{r}{f}{s}.{d}.{a}", width(d), width(a))
    for d, a, dw, aw in itertools.product(
        ("u8", "s16", "u32", "s64"), ("s8", "u16", "s32", "u64"), KIND, KIND
    ):
        yield say(f"cvt.{d}.{a}", dw, aw)
    for r, d, a, dw, aw in itertools.product(
        (".rn", ".rzi"), ("f32", "u8", "f16"), ("f32", "s8", "f16"), KIND, KIND
    ):
        yield say(f"cvt{r}.{d}.{a}", dw, aw)
    for m, type in itertools.product(("", ".relu", ".satfinite", ".relu.satfinite"), FLOATS):
        for r in rounds:
            yield say(f"cvt{r}{m}.{type}.f32", width(type), 32)
            yield say(f"cvt{r}{m}.ftz.{type}.f32", width(type), 32)
            yield say(f"cvt{r}{m}.{type}.f16", width(type), 16)


def moves():
    for type in TYPES:
        bits = width(type)
        for other in KIND:
            yield say(f"mov.{type}", bits, other)
            yield say(f"mov.{type}", other, bits)
        for source in (
            "1",
            "-1",
            "0f3F800000",
            "0d3FF0000000000000",
            "sm",
            "sm+4",
            "%tid.x",
            "%tid",
            "%clock64",
            "%p1",
            "!%p1",
        ):
            yield f"mov.{type} {at(bits, 0)}, {source};"
        for kind, count in itertools.product("chrdf", (2, 4, 8)):
            if kind == "c" and count > 2:
                continue
            vector = "{" + ", ".join(f"%{'r' if kind == 'f' else kind}{k}" for k in range(count)) + "}"
            yield f"mov.{type} {at(bits, 0)}, {vector};"
            yield f"mov.{type} {vector}, {at(bits, 0)};"
            yield f"mov.{type} {vector.replace('%' + kind + '0', '_')}, {at(bits, 0)};"
    for to, space, type in itertools.product(("", ".to"), ANY_SPACE, TYPES):
        for bits in (32, 64):
            yield say(f"cvta{to}{space}.{type}", bits, bits)
    for space, bits in itertools.product(ANY_SPACE, (32, 64)):
        yield say(f"isspacep{space}", 1, bits)
    yield "cvta.to.shared.u64 %d0, sm;"
    yield "cvta.shared.u64 %d0, sm;"
    yield "cvta.shared.u64 %d0, sm+4;"


def vector(type, count):
    bits = width(type)
    names = [f"%{KIND[bits]}{k if bits > 8 and bits < 128 else k % COUNT[bits]}" for k in range(count)]
    return names[0] if count == 1 else "{" + ", ".join(names) + "}"


def memory():
    """Loads and stores: pairs of choices crossed, the rest as it mostly is."""
    orders = [
        "",
        ".weak",
        ".volatile",
        ".relaxed",
        ".acquire",
        ".release",
        ".mmio",
        ".mmio.relaxed",
        ".sc",
        ".acq_rel",
    ]
    spaces = [*ANY_SPACE, ".tex"]
    caches = ["", ".ca", ".cg", ".cs", ".lu", ".cv", ".wb", ".wt", ".cc"]
    evict = [
        "",
        ".L1::evict_normal",
        ".L1::evict_unchanged",
        ".L1::evict_first",
        ".L1::evict_last",
        ".L1::no_allocate",
    ]
    second = ["", ".L2::evict_normal", ".L2::evict_first", ".L2::evict_last", ".L2::evict_unchanged"]
    fetch = ["", ".L2::64B", ".L2::128B", ".L2::256B", ".L2::cache_hint"]

    def both(modifiers, type="b32", count=1, address="%d39", policy=""):
        value, vec = vector(type, count), f".v{count}" if count > 1 else ""
        yield f"ld{modifiers}{vec}.{type} {value}, [{address}]{policy};"
        if ".param" not in modifiers:  # ptxas crashes
            yield f"st{modifiers}{vec}.{type} [{address}], {value}{policy};"

    for order, scope, space in itertools.product(orders, SCOPES, spaces):
        yield from both(order + scope + space)
        yield from both(order + scope + space, "f64", 2)
    for order, scope, type in itertools.product(orders, ("", ".gpu", ".cta"), TYPES):
        yield from both(f"{order}{scope}.global", type)
    for space, type, count in itertools.product(spaces, TYPES, (1, 2, 4, 8)):
        if count < 8 or width(type) >= 32:  # ptxas crashes at most of the others
            yield from both(space, type, count)
    yield f"st.global.v8.b16 [%d39], {vector('b16', 8)};"
    for order, scope, count, type in itertools.product(
        orders, ("", ".sys"), (2, 4, 8), ("b16", "f32", "u64", "b8", "b128")
    ):
        if count < 8 or width(type) >= 32:
            yield from both(f"{order}{scope}.global", type, count)
    for order, space, cache in itertools.product(orders, spaces, caches):
        yield from both(order + (".gpu" if "elax" in order or "acq" in order else "") + space + cache)
    for space, nc, cache, e in itertools.product(
        ("", ".global", ".const", ".shared"), ("", ".nc"), caches, evict
    ):
        yield from both(space + cache + nc + e)
    for nc, order, space in itertools.product((".nc",), orders, spaces):
        yield from both(order + space + nc)
    for space, nc, e, l2 in itertools.product(
        ("", ".global", ".shared", ".local"), ("", ".nc"), evict, second
    ):
        for count, type in ((1, "b32"), (2, "b64"), (4, "f32"), (8, "b32"), (4, "b64")):
            yield from both(space + nc + e + l2, type, count)
    for space, nc, e, f in itertools.product(
        ("", ".global", ".shared", ".const"), ("", ".nc", ".cg"), evict, fetch
    ):
        yield from both(space + nc + e + f, policy=", %d1" if "hint" in f else "")
        yield from both(space + nc + e + f, policy="" if "hint" in f else ", %d1")
    for l2, f, f2 in itertools.product(second, fetch, fetch):
        yield from both(".global" + l2 + f + f2, policy=", %d1" if "hint" in f + f2 else "")
    for order, e in itertools.product(orders, evict):
        yield from both(order + (".gpu" if "elax" in order or "acq" in order else "") + ".global" + e)
    for space, type, kind in itertools.product(spaces, ("b8", "u16", "s32", "f32", "b64", "b128"), KIND):
        yield f"ld{space}.{type} {at(kind, 0)}, [%d1];"
        if ".param" not in space:
            yield f"st{space}.{type} [%d1], {at(kind, 0)};"
    for space, address in itertools.product(
        spaces, ("%r1", "%h1", "sm", "sm+4", "%d1+4", "%d1+-4", "%r1+8", "128", "%q0")
    ):
        if address.startswith(("%r", "1")) and space in ("", ".global"):
            continue  # whether ptxas takes it depends on the other addresses of the module
        yield from both(space, address=address)
        yield f"atom{space}.add.u32 %r0, [{address}], %r1;"
    for value in ("1", "0f3F800000", "0d3FF0000000000000", "-1", "sm", "%tid.x"):
        for type in ("b8", "u16", "s32", "f32", "b32", "b64", "f64", "b128"):
            yield f"st.global.{type} [%d1], {value};"
            yield f"st.global.v2.{type} [%d1], {{{value}, {at(width(type), 0)}}};"
    for type in ("b8", "u16", "s32", "f32", "b64", "b128"):
        yield f"ld.global.v2.{type} {{_, {at(width(type), 0)}}}, [%d1];"
        yield f"ld.shared.v4.{type} {{_, {at(width(type), 0)}, _, {at(width(type), 1)}}}, [%d1];"
    for space, count, type in itertools.product(("", ".global", ".shared"), (1, 2, 4, 8), TYPES):
        yield f"ldu{space}{f'.v{count}' if count > 1 else ''}.{type} {vector(type, count)}, [%d39];"


def atomics():
    ops = ["add", "sub", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"]
    spaces = ["", ".global", ".shared", ".shared::cta", ".shared::cluster", ".local", ".const", ".param"]
    orders = ["", ".relaxed", ".acquire", ".release", ".acq_rel", ".weak", ".sc", ".volatile"]

    def both(modifiers, op, type, count=1, policy="", ftz=""):
        value, vec = vector(type, count), f".v{count}" if count > 1 else ""
        more = f", {value}" if op == "cas" else ""
        yield f"atom{modifiers}.{op}{ftz}{vec}.{type} {value}, [%d39], {value}{more}{policy};"
        yield f"red{modifiers}.{op}{ftz}{vec}.{type} [%d39], {value}{more}{policy};"

    for space, op, ftz, type in itertools.product(spaces[:6], ops, ("", ".noftz", ".ftz"), TYPES):
        if ftz == ".ftz" and space not in ("", ".shared"):
            continue
        yield from both(space, op, type, ftz=ftz)
    for order, scope, space in itertools.product(orders, SCOPES, spaces):
        yield from both(order + scope + space, "add", "u32")
        yield from both(order + scope + space, "cas", "b64")
    for order, space, op, type in itertools.product(
        ("", ".acq_rel", ".release"), spaces[:3], ops, ("f32", "u64", "s64", "b128", "b16")
    ):
        yield from both(order + space, op, type)
    for space, op, ftz, count, type in itertools.product(
        ("", ".global", ".shared"), ("add", "min", "max", "exch"), ("", ".noftz"), (2, 4, 8), TYPES
    ):
        yield from both(space, op, type, count, ftz=ftz)
    for order, op in itertools.product(("", ".relaxed", ".acquire"), ("add", "min", "max")):
        yield from both(order + ".gpu.global", op, "f32", 2)
        yield from both(order + ".cta.global", op, "bf16x2", 4, ftz=".noftz")
    for op, policy in itertools.product(ops, ("", ", %d1")):
        yield from both(".global", op, "b32", policy=policy)
        for type, space in itertools.product(("u32", "b64", "b128", "s32"), ("", ".global", ".shared")):
            yield from both(space, f"{op}.L2::cache_hint", type, policy=policy)


def lanes():
    for sync, mode, type in itertools.product(
        ("", ".sync"), ("all", "any", "uni", "ballot"), ("pred", "b32", "u32", "b64")
    ):
        for to, source, member in itertools.product(
            ("%p0", "%r0"), ("%p1", "!%p1", "%r1"), (", %r2", ", -1", "")
        ):
            yield f"vote{sync}.{mode}.{type} {to}, {source}{member};"
    for sync, mode, type in itertools.product(("", ".sync"), ("up", "down", "bfly", "idx", "xor"), TYPES):
        bits = width(type)
        for clamp, pair in itertools.product(("%r2", "31"), ("", "|%p0")):
            member = ", -1" if sync else ""
            yield f"shfl{sync}.{mode}.{type} {at(bits, 0)}{pair}, {at(bits, 1)}, %r1, {clamp}{member};"
    for order, type in itertools.product((".any.sync", ".all.sync", ".sync.any", ".any", ".eq.sync"), TYPES):
        for pair in ("", "|%p0"):
            yield f"match{order}.{type} %r0{pair}, {at(width(type), 1)}, %r2;"
    for op, abs, nan, type in itertools.product(
        ("add", "sub", "min", "max", "inc", "and", "or", "xor"), ("", ".abs"), ("", ".NaN"), TYPES
    ):
        yield f"redux.sync.{op}{abs}{nan}.{type} {at(width(type), 0)}, {at(width(type), 1)}, -1;"
    for type in TYPES:
        yield f"activemask.{type} {at(width(type), 0)};"
        yield f"nanosleep.{type} {at(width(type), 0)};"
    for to in ("%r0|%p0", "%r0", "%p0"):
        yield f"elect.sync {to}, %r2;"
        yield f"elect.sync {to}, -1;"


OTHERS = [
    "1",
    "-1",
    "70000",
    "0x123456789",
    "0f3F800000",
    "0d3FF0000000000000",
    "!%p1",
    "sm",
    "%laneid",
    "%tid.x",
]
OTHERS += ["%clock64", "{%r1, %r2}"]


def operand_forms():
    """Opcodes with the widths of their operands."""
    forms = [(f"{base}.{type}", [width(type)] * 3) for base in ("add", "sub", "min") for type in PLAIN[3:]]
    forms += [(f"mul.lo.{t}", [width(t)] * 3) for t in PLAIN[3:9]] + [("mul.wide.u16", [32, 16, 16])]
    forms += [
        (f"{base}.{t}", [width(t)] * 3) for base in ("and", "or") for t in ("pred", "b16", "b32", "b64")
    ]
    forms += [("mad.lo.u32", [32] * 4), ("mad.wide.s32", [64, 32, 32, 64]), ("fma.rn.f32", [32] * 4)]
    forms += [
        ("fma.rn.f16x2", [32] * 4),
        ("add.bf16", [16] * 3),
        ("neg.f32", [32] * 2),
        ("not.b64", [64] * 2),
    ]
    forms += [
        ("div.rn.f64", [64] * 3),
        ("rem.s32", [32] * 3),
        ("abs.s16", [16] * 2),
        ("sqrt.rn.f32", [32] * 2),
    ]
    forms += [
        ("shl.b32", [32] * 3),
        ("shr.s64", [64, 64, 32]),
        ("shf.l.wrap.b32", [32] * 4),
        ("prmt.b32", [32] * 4),
    ]
    forms += [("popc.b64", [32, 64]), ("clz.b32", [32, 32]), ("bfind.u64", [32, 64]), ("brev.b32", [32, 32])]
    forms += [
        ("bfe.s64", [64, 64, 32, 32]),
        ("bfi.b32", [32] * 5),
        ("setp.lt.f32", [1, 32, 32]),
        ("sad.u32", [32] * 4),
    ]
    forms += [("setp.eq.u16", [1, 16, 16]), ("set.gt.u32.f64", [32, 64, 64]), ("selp.b64", [64, 64, 64, 1])]
    forms += [("setp.lt.f16x2", [1, 32, 32]), ("setp.ge.f64", [1, 64, 64]), ("setp.ge.s64", [1, 64, 64])]
    forms += [
        ("slct.f32.s32", [32, 32, 32, 32]),
        ("slct.u64.f32", [64, 64, 64, 32]),
        ("dp4a.u32.s32", [32] * 4),
    ]
    forms += [("selp.f32", [32, 32, 32, 1]), ("selp.u16", [16, 16, 16, 1]), ("add.f32.f16", [32, 16, 32])]
    forms += [
        ("cvt.u32.u64", [32, 64]),
        ("cvt.rn.f32.s32", [32, 32]),
        ("cvt.f64.f32", [64, 32]),
        ("min.u16x2", [32] * 3),
    ]
    forms += [("copysign.f64", [64] * 3), ("testp.finite.f32", [1, 32]), ("ex2.approx.f32", [32] * 2)]
    forms += [("add.f32x2", [64] * 3), ("tanh.approx.bf16x2", [32] * 2), ("vadd.u32.u32.s32.min", [32] * 4)]
    forms += [
        ("mad.hi.cc.u32", [32] * 4),
        ("addc.u64", [64] * 3),
        ("bmsk.clamp.b32", [32] * 3),
        ("fns.b32", [32] * 4),
    ]
    forms += [("add.f16x2", [32] * 3), ("max.f16", [16] * 3), ("max.bf16x2", [32] * 3), ("neg.s64", [64] * 2)]
    return forms


def operands():
    """Each operand in turn is of another width, or no register."""
    for opcode, widths in operand_forms():
        plain = [at(bits, k) for k, bits in enumerate(widths)]
        yield f"{opcode} {', '.join(plain[:-1])};"
        yield f"{opcode} {', '.join([*plain, plain[-1]])};"
        for k in range(len(widths)):
            others = [at(bits, k) for bits in KIND if bits != widths[k]] + OTHERS
            for other in [*others, f"{plain[k]}+1"]:
                yield f"{opcode} {', '.join([*plain[:k], other, *plain[k + 1 :]])};"


def orders():
    """Modifiers in any order, and at most one of a kind."""
    words = [(("add",), (".rn", ".ftz", ".sat", ".f32"), 3), (("fma",), (".rn", ".sat", ".f32"), 4)]
    words += [(("fma",), (".rn", ".relu", ".f16x2"), 4), (("min",), (".NaN", ".xorsign", ".abs", ".f32"), 3)]
    words += [
        (("mul",), (".lo", ".u32"), 3),
        (("mad",), (".lo", ".cc", ".u32"), 4),
        (("mul",), (".rz", ".ftz", ".f32"), 3),
    ]
    words += [
        (("div",), (".full", ".ftz", ".f32"), 3),
        (("sqrt",), (".approx", ".ftz", ".f32"), 2),
        (("max",), (".relu", ".s32"), 3),
    ]
    words += [
        (("mad",), (".hi", ".sat", ".s32"), 4),
        (("set",), (".eq", ".ftz", ".u32", ".f32"), 3),
        (("shf",), (".l", ".wrap", ".b32"), 4),
    ]
    words += [(("cvt",), (".rn", ".sat", ".f32", ".s32"), 2), (("cvt",), (".rzi", ".ftz", ".u32", ".f32"), 2)]
    words += [
        (("add",), (".rn", ".sat", ".f32", ".f32"), 3),
        (("slct",), (".ftz", ".f32", ".f32"), 4),
        (("dp2a",), (".lo", ".u32", ".s32"), 4),
    ]
    words += [
        (("bfind",), (".shiftamt", ".u32"), 2),
        (("bmsk",), (".clamp", ".b32"), 3),
        (("fma",), (".rn", ".ftz", ".sat", ".relu", ".f16x2"), 4),
    ]
    words += [
        (("prmt",), (".b32", ".f4e"), 4),
        (("szext",), (".wrap", ".s32"), 3),
        (("ex2",), (".approx", ".ftz", ".f32"), 2),
    ]
    for (base,), parts, count in words:
        for order in itertools.permutations(parts):
            yield say(base + "".join(order), *[32] * count)
    for parts, operands in (
        ((".lt", ".and", ".f32"), "%p0, %r1, %r2, %p1"),
        ((".gt", ".ftz", ".f32"), "%p0|%p1, %r1, %r2"),
        ((".lt", ".or", ".ftz", ".f32"), "%p0, %r1, %r2, !%p1"),
    ):
        for order in itertools.permutations(parts):
            yield f"setp{''.join(order)} {operands};"
    for parts, operands in (
        ((".relaxed", ".gpu", ".global", ".b32"), "%r0, [%d1]"),
        ((".volatile", ".global", ".v2", ".b32"), "{%r0, %r1}, [%d1]"),
        ((".global", ".nc", ".L1::evict_last", ".L2::128B", ".f32"), "%r0, [%d1]"),
        ((".global", ".cg", ".v4", ".u32"), "{%r0, %r1, %r2, %r3}, [%d1]"),
    ):
        for order in itertools.permutations(parts):
            yield f"ld{''.join(order)} {operands};"
    for order in itertools.permutations((".release", ".gpu", ".global", ".u32")):
        yield f"st{''.join(order)} [%d1], %r0;"
    for order in itertools.permutations((".acq_rel", ".gpu", ".global", ".add", ".u32")):
        yield f"atom{''.join(order)} %r0, [%d1], %r1;"
    for order in itertools.permutations((".gpu", ".global", ".add", ".noftz", ".f16x2")):
        yield f"red{''.join(order)} [%d1], %r1;"
    for order in itertools.permutations((".sync", ".idx", ".b32")):
        yield f"shfl{''.join(order)} %r0, %r1, %r2, 31, -1;"
    for order in itertools.permutations((".sync", ".ballot", ".b32")):
        yield f"vote{''.join(order)} %r0, %p1, -1;"
    for order in itertools.permutations((".sync", ".max", ".NaN", ".f32")):
        yield f"redux{''.join(order)} %r0, %r1, -1;"
    for order in itertools.permutations((".to", ".shared", ".u64")):
        yield f"cvta{''.join(order)} %d0, %d1;"


def sinks():
    """Results that nobody wants. ptxas gives up at the first that it refuses."""
    for text in (
        "add.u32 _, %r0, %r1",
        "mov.b32 _, %r0",
        "ld.global.b32 _, [%d1]",
        "setp.eq.s32 _, %r0, %r1",
        "setp.eq.s32 _|%p0, %r0, %r1",
        "setp.eq.s32 %p0|_, %r0, %r1",
        "lop3.or.b32 _|%p0, %r0, %r1, %r2, 3, %p1",
        "lop3.or.b32 %r0|_, %r0, %r1, %r2, 3, %p1",
        "shfl.sync.idx.b32 _, %r1, %r2, 31, -1",
        "shfl.sync.idx.b32 _|%p0, %r1, %r2, 31, -1",
        "shfl.sync.idx.b32 %r0|_, %r1, %r2, 31, -1",
        "match.all.sync.b32 _|%p0, %r1, -1",
        "match.all.sync.b32 %r0|_, %r1, -1",
        "match.any.sync.b32 _, %r1, -1",
        "elect.sync _|%p0, -1",
        "elect.sync %r0|_, -1",
        "vote.sync.any.pred _, %p0, -1",
        "redux.sync.add.u32 _, %r1, -1",
        "activemask.b32 _",
        "cvt.u32.u16 _, %h0",
        "selp.b32 _, %r0, %r1, %p0",
        "popc.b32 _, %r0",
        "fma.rn.f32 _, %r0, %r1, %r2",
        "atom.global.add.u32 _, [%d1], %r1",
        "atom.global.add.v2.f32 {_, %r0}, [%d1], {%r1, %r2}",
        "atom.global.exch.b64 _, [%d1], %d2",
        "isspacep.global _, %d1",
        "add.u32 %r0, _, %r1",
        "st.global.b32 [%d1], _",
    ):
        yield f"{text};"


FAMILIES = [
    arithmetic,
    bits,
    comparisons,
    conversions,
    moves,
    memory,
    atomics,
    lanes,
    operands,
    sinks,
    orders,
]


def statements():
    return list(dict.fromkeys(itertools.chain(*(family() for family in FAMILIES))))


if __name__ == "__main__":
    for family in FAMILIES:
        print(family.__name__, len(set(family())))
    print(len(statements()))
