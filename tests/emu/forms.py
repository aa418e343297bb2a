# Candidates for statements of the tensor cores, small formats, matrices, mbarriers, clusters and copies: a grammar that is
# wider than the language, for compare_forms.py to ask ptxas and the emulator about.
#
# Statements use %p<2> (predicates), %c<2> (b8), %h<10> (b16), %r<80> (b32), %d<70> (b64), %q<1> (b128) and the array `sm`.
import itertools

ROUNDINGS = ["", ".rn", ".rz", ".rm", ".rp"]
LAYOUTS = [f"{a}.{b}" for a in ("row", "col") for b in ("row", "col")]
BYTES = ["e4m3", "e5m2", "e3m2", "e2m3", "e2m1"]
OPERATIONS = ["add", "min", "max", "inc", "dec", "and", "or", "xor"]
HINTS = ["", ".L2::cache_hint"]


def product(*choices):
    return itertools.product(*choices)


def registers(count, first=0, kind="r"):
    return "{" + ", ".join(f"%{kind}{first + i}" for i in range(max(count, 1))) + "}"


def mma(head, d, a, b, c, tail="", kind="r"):
    c_first = 20 if kind == "d" else 60
    return (
        f"{head} {registers(d, 0, kind)}, {registers(a, 20, kind)}, {registers(b, 40, kind)}, "
        f"{registers(c, c_first, kind)}{tail};"
    )


def hint(modifier):
    return ", %d0" if modifier else ""


def accumulators(kind, rows=16):
    return (4 if kind != "f16" else 2) * rows // 16


def dense_mma():
    head = "mma.sync.aligned"
    for layout, d, c in product(LAYOUTS, ("f16", "f32"), ("f16", "f32")):
        counts = {"f16": 4, "f32": 8}
        yield mma(f"{head}.m8n8k4.{layout}.{d}.f16.f16.{c}", counts[d], 2, 2, counts[c])
        for k in (4, 8, 16, 32):
            yield mma(
                f"{head}.m16n8k{k}.{layout}.{d}.f16.f16.{c}", accumulators(d), k // 4, k // 8, accumulators(c)
            )
    for k, d in product((4, 8, 16, 32), ("f32", "bf16", "f16")):
        count = 4 if d == "f32" else 2
        yield mma(f"{head}.m16n8k{k}.row.col.{d}.bf16.bf16.{d}", count, k // 4, k // 8, count)
    for k in (4, 8, 16):
        yield mma(f"{head}.m16n8k{k}.row.col.f32.tf32.tf32.f32", 4, k // 2, k // 4, 4)
    for r, after in product(ROUNDINGS, (False, True)):
        types = f".f64.f64.f64.f64{r}" if after else f"{r}.f64.f64.f64.f64"
        yield mma(f"{head}.m8n8k4.row.col{types}", 2, 1, 1, 2, kind="d")
        for k in (4, 8, 16):
            yield mma(f"{head}.m16n8k{k}.row.col{types}", 4, k // 2, k // 4, 4, kind="d")


def integer_mma():
    head = "mma.sync.aligned"
    for s, x, y in product(("", ".satfinite"), ("s8", "u8", "s4"), ("s8", "u8", "u4")):
        yield mma(f"{head}.m8n8k16.row.col{s}.s32.{x}.{y}.s32", 2, 1, 1, 2)
        for k in (16, 32, 64):
            yield mma(f"{head}.m16n8k{k}.row.col{s}.s32.{x}.{y}.s32", 4, k // 8, k // 16, 4)
    for s, x, y in product(("", ".satfinite"), ("s4", "u4"), ("s4", "u4")):
        yield mma(f"{head}.m8n8k32.row.col{s}.s32.{x}.{y}.s32", 2, 1, 1, 2)
        for k in (32, 64, 128):
            yield mma(f"{head}.m16n8k{k}.row.col{s}.s32.{x}.{y}.s32", 4, k // 16, k // 32, 4)
    for op, after, s in product(("xor", "and", "or"), (False, True), ("", ".satfinite")):
        types = f"{s}.s32.b1.b1.s32.{op}.popc" if after else f"{s}.{op}.popc.s32.b1.b1.s32"
        yield mma(f"{head}.m8n8k128.row.col{types}", 2, 1, 1, 2)
        for k in (128, 256):
            yield mma(f"{head}.m16n8k{k}.row.col{types}", 4, k // 64, k // 128, 4)


def with_kind(head, shape, kind, types):
    """The kind stands before the shape or after the layouts."""
    yield f"{head}{kind}{shape}.row.col{types}"
    yield f"{head}{shape}.row.col{kind}{types}"


SCALES = ", %r30, {%h0, %h1}, %r31, {%h2, %h3}"


def small_mma(sparse):
    """FP8, FP6 and FP4, scaled or not; sparse ones have twice the k, B in twice the registers, and metadata."""
    metadata = ", %r70, 0" if sparse else ""
    for verb in ("mma.sp", "mma.sp::ordered_metadata") if sparse else ("mma",):
        head = f"{verb}.sync.aligned"
        for x, y, acc, k in product(BYTES, BYTES, ("f32", "f16"), (16, 32, 64)):
            n = accumulators(acc)
            a = k // (16 if sparse else 8)
            b = k // 16
            types = f".{acc}.{x}.{y}.{acc}"
            yield mma(f"{head}.m16n8k{k}.row.col{types}", n, a, b, n, metadata)
            for text in with_kind(head, f".m16n8k{k}", ".kind::f8f6f4", types):
                yield mma(text, n, a, b, n, metadata)
        b = 4 if sparse else 2
        for x, y, vector, scale in product(
            BYTES, BYTES, ("", ".scale_vec::1X", ".scale_vec::2X"), ("ue8m0", "ue4m3")
        ):
            shape = ".m16n8k64" if sparse else ".m16n8k32"
            kind = f".kind::mxf8f6f4.block_scale{vector}"
            for text in with_kind(head, shape, kind, f".f32.{x}.{y}.f32.{scale}"):
                yield mma(text, 4, 4, b, 4, metadata + SCALES)
        for name, vector, scale in product(
            ("mxf4", "mxf4nvf4"),
            ("", ".scale_vec::1X", ".scale_vec::2X", ".scale_vec::4X"),
            ("ue8m0", "ue4m3"),
        ):
            shape = ".m16n8k128" if sparse else ".m16n8k64"
            for text in with_kind(
                head, shape, f".kind::{name}.block_scale{vector}", f".f32.e2m1.e2m1.f32.{scale}"
            ):
                yield mma(text, 4, 4, b, 4, metadata + SCALES)


def scale_ids():
    forms = [("mxf8f6f4", "1X", "ue8m0", "e4m3", 1), ("mxf4", "2X", "ue8m0", "e2m1", 2)]
    forms.append(("mxf4nvf4", "4X", "ue4m3", "e2m1", 2))
    for kind, vector, scale, format, wide in forms:
        for sparse in (False, True):
            k = 32 * wide * (2 if sparse else 1)
            verb = "mma.sp::ordered_metadata" if sparse else "mma"
            types = f"f32.{format}.{format}.f32.{scale}"
            head = (
                f"{verb}.sync.aligned.m16n8k{k}.row.col.kind::{kind}.block_scale.scale_vec::{vector}.{types}"
            )
            metadata = ", %r70, 0" if sparse else ""
            ids = [f", %r30, {{{b}, {t}}}, %r31, {{0, 0}}" for b, t in product(range(5), range(5))]
            ids += [f", %r30, {{0, 0}}, %r31, {{{b}, {t}}}" for b, t in product(range(5), range(5))]
            ids += [", {%r30}, {0, %h1}, {%r31}, {%h1, 0}", ", 0, {0, 0}, %r31, {0, 0}"]
            for text in ids:
                yield mma(head, 4, 4, 4 if sparse else 2, 4, metadata + text)


def sparse_mma():
    for verb, selector in product(("mma.sp", "mma.sp::ordered_metadata"), (*range(5), "%r71")):
        head, tail = f"{verb}.sync.aligned", f", %r70, {selector}"
        for k, d, c in product((8, 16, 32, 64), ("f16", "f32"), ("f16", "f32")):
            yield mma(
                f"{head}.m16n8k{k}.row.col.{d}.f16.f16.{c}",
                accumulators(d),
                k // 8,
                k // 8,
                accumulators(c),
                tail,
            )
        for k in (16, 32):
            yield mma(f"{head}.m16n8k{k}.row.col.f32.bf16.bf16.f32", 4, k // 8, k // 8, 4, tail)
        for k in (8, 16):
            yield mma(f"{head}.m16n8k{k}.row.col.f32.tf32.tf32.f32", 4, k // 4, k // 4, 4, tail)
        for s, x, y in product(("", ".satfinite"), ("s", "u"), ("s", "u")):
            for k in (32, 64, 128):
                yield mma(f"{head}.m16n8k{k}.row.col{s}.s32.{x}8.{y}8.s32", 4, k // 16, k // 16, 4, tail)
            for k in (64, 128, 256):
                yield mma(f"{head}.m16n8k{k}.row.col{s}.s32.{x}4.{y}4.s32", 4, k // 32, k // 32, 4, tail)
        yield mma(f"{head}.m16n8k64.row.col.f32.e4m3.e5m2.f32", 4, 4, 4, 4, tail)
        yield mma(f"{head}.m16n8k16.row.row.f32.f16.f16.f32", 4, 2, 2, 4, tail)


def wmma_fragments():
    spaces = ["", ".global", ".shared", ".shared::cta"]
    counts = {  # registers of A and B
        "f16": {s: (8, 8) for s in ("m16n16k16", "m32n8k16", "m8n32k16")},
        "bf16": {"m16n16k16": (4, 4), "m32n8k16": (8, 2), "m8n32k16": (2, 8)},
        "s8": {"m16n16k16": (2, 2), "m32n8k16": (4, 1), "m8n32k16": (1, 4)},
        "tf32": {"m16n16k8": (4, 4)},
        "s4": {"m8n8k32": (1, 1)},
        "b1": {"m8n8k128": (1, 1)},
    }
    counts["u8"], counts["u4"] = counts["s8"], counts["s4"]
    for type, shapes in counts.items():
        for (shape, (a, b)), matrix, layout, space in product(shapes.items(), "ab", ("row", "col"), spaces):
            fragment = registers(a if matrix == "a" else b)
            for order in (f"{layout}.{shape}", f"{shape}.{layout}"):
                for stride in (", %r70", ""):
                    yield f"wmma.load.{matrix}.sync.aligned.{order}{space}.{type} {fragment}, [%d9]{stride};"
    results = [(s, t, n) for s in counts["f16"] for t, n in (("f16", 4), ("f32", 8), ("s32", 8))]
    results += [
        ("m16n16k8", "f32", 8),
        ("m8n8k32", "s32", 2),
        ("m8n8k128", "s32", 2),
        ("m16n16k16", "bf16", 4),
    ]
    for (shape, type, count), layout, space in product(results, ("row", "col"), spaces):
        yield f"wmma.load.c.sync.aligned.{layout}.{shape}{space}.{type} {registers(count)}, [%d9], %r70;"
        yield f"wmma.store.d.sync.aligned.{layout}.{shape}{space}.{type} [%d9], {registers(count)}, %r70;"
        yield f"wmma.store.d.sync.aligned.{shape}.{layout}{space}.{type} [%d9], {registers(count)};"
    for layout, space in product(("row", "col"), spaces):
        for matrix, count in (("a", 1), ("b", 1), ("c", 2)):
            yield f"wmma.load.{matrix}.sync.aligned.{layout}.m8n8k4{space}.f64 {registers(count, 0, 'd')}, [%d9], %r70;"
        yield f"wmma.store.d.sync.aligned.{layout}.m8n8k4{space}.f64 [%d9], {registers(2, 0, 'd')}, %r70;"


def wmma_products():
    head = "wmma.mma"
    shapes = {"m16n16k16": ((4, 4), (2, 2)), "m32n8k16": ((8, 2), (4, 1)), "m8n32k16": ((2, 8), (1, 4))}
    for layout in LAYOUTS:
        for (shape, (halves, bytes)), s in product(shapes.items(), ("", ".satfinite")):
            for d, c in product(("f16", "f32"), ("f16", "f32")):
                counts = {"f16": 4, "f32": 8}
                yield mma(f"{head}.sync.aligned.{layout}.{shape}.{d}.{c}{s}", counts[d], 8, 8, counts[c])
                yield mma(
                    f"{head}.sync.aligned.{layout}.{shape}.{d}.f16.f16.{c}{s}", counts[d], 8, 8, counts[c]
                )
            yield mma(f"{head}.sync.aligned.{layout}.{shape}.f32.bf16.bf16.f32{s}", 8, *halves, 8)
            for x, y in product(("s8", "u8"), ("s8", "u8")):
                yield mma(f"{head}.sync.aligned.{layout}.{shape}.s32.{x}.{y}.s32{s}", 8, *bytes, 8)
        yield mma(f"{head}.sync.aligned.{layout}.m16n16k8.f32.tf32.tf32.f32", 8, 4, 4, 8)
        for r, after in product(ROUNDINGS, (False, True)):
            types = f".f64.f64.f64.f64{r}" if after else f"{r}.f64.f64.f64.f64"
            yield mma(f"{head}.sync.aligned.{layout}.m8n8k4{types}", 2, 1, 1, 2, kind="d")
        for x, y, s in product(("s4", "u4"), ("s4", "u4"), ("", ".satfinite")):
            yield mma(f"{head}.sync.aligned.{layout}.m8n8k32.s32.{x}.{y}.s32{s}", 2, 1, 1, 2)
        for op in ("xor", "and"):
            yield mma(f"{head}.{op}.popc.sync.aligned.{layout}.m8n8k128.s32.b1.b1.s32", 2, 1, 1, 2)


def conversions():
    narrow = {f"{t}x2": "h" for t in ("e4m3", "e5m2", "e2m3", "e3m2", "ue8m0")} | {"e2m1x2": "c"}
    modifiers = ["", ".relu", ".satfinite", ".satfinite.relu", ".relu.satfinite"]
    for r, m in product(["", ".rn", ".rz", ".rp", ".rm", ".rna", ".rs"], modifiers):
        for type, kind in narrow.items():
            yield f"cvt{r}{m}.{type}.f32 %{kind}0, %r0, %r1;"
            for half in ("f16x2", "bf16x2"):
                yield f"cvt{r}{m}.{type}.{half} %{kind}0, %r0;"
                yield f"cvt{r}{m}.{half}.{type} %r0, %{kind}0;"
        for half in ("f16x2", "bf16x2"):
            yield f"cvt{r}{m}.{half}.f32 %r0, %r1, %r2;"
            yield f"cvt{r}{m}.{half}.f32 %r0, %r1, %r2, %r3;"
        for type in ("e4m3x4", "e5m2x4", "e2m3x4", "e3m2x4", "e2m1x4"):
            yield f"cvt{r}{m}.{type}.f32 %{'h' if type == 'e2m1x4' else 'r'}0, {{%r1, %r2, %r3, %r4}}, %r5;"
        yield f"cvt{r}{m}.f16.f32 %h0, %r0;"
        yield f"cvt{r}{m}.bf16.f32 %h0, %r0;"
        yield f"cvt{r}{m}.tf32.f32 %r0, %r1;"


def matrices():
    spaces = ["", ".shared", ".shared::cta", ".shared::cluster", ".global"]
    packed = [".b8x16.b6x16_p32", ".b8x16.b4x16_p64"]
    for trans, space, (n, x) in product(("", ".trans"), spaces, ((1, ".x1"), (2, ".x2"), (4, ".x4"))):
        for shape in (".m8n8", ".m8n16", ".m16n16", ".m16n8"):
            for order in sorted({"".join(p) for p in itertools.permutations([shape, x, trans])}):
                for type in [".b16", ".b8", *packed]:
                    count = 2 * n if shape == ".m16n16" else n
                    yield f"ldmatrix.sync.aligned{order}{space}{type} {registers(count)}, [%d9];"
                    yield f"stmatrix.sync.aligned{order}{space}{type} [%d9], {registers(n)};"
    yield "movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;"
    yield "movmatrix.sync.aligned.m8n8.b16 %r0, %r1;"


def mbarriers():
    spaces = ["", ".shared", ".shared::cta", ".shared::cluster"]
    scopes = ["", ".cta", ".cluster", ".gpu", ".sys"]
    orders = ["", ".release", ".relaxed", ".acquire"]
    for space in spaces:
        yield f"mbarrier.init{space}.b64 [%d9], %r0;"
        yield f"mbarrier.inval{space}.b64 [%d9];"
        for suffix in ("", ".noinc"):
            yield f"cp.async.mbarrier.arrive{suffix}{space}.b64 [%d9];"
    for space, order, scope in product(spaces, orders, scopes):
        for op in ("expect_tx", "complete_tx"):
            yield f"mbarrier.{op}{order}{scope}{space}.b64 [%d9], %r0;"
        for op, tx, to, count in product(
            ("arrive", "arrive_drop"), ("", ".expect_tx", ".noComplete"), ("%d0", "_"), ("", ", %r1")
        ):
            yield f"mbarrier.{op}{tx}{order}{scope}{space}.b64 {to}, [%d9]{count};"
        for op, limit in product(("test_wait", "try_wait"), ("", ", %r2")):
            yield f"mbarrier.{op}{order}{scope}{space}.b64 %p0, [%d9], %d1{limit};"
            yield f"mbarrier.{op}.parity{order}{scope}{space}.b64 %p0, [%d9], %r1{limit};"
    yield "mbarrier.pending_count.b64 %r0, %d1;"


def clusters():
    for space, (type, kind) in product(("", ".shared::cluster", ".shared"), ((".u32", "r"), (".u64", "d"))):
        for address, rank in product((f"%{kind}1", "sm", "sm+16"), ("%r2", "1")):
            yield f"mapa{space}{type} %{kind}0, {address}, {rank};"
        for address in (f"%{kind}1", "sm+4"):
            yield f"getctarank{space}{type} %r0, {address};"
    for op, order, aligned in product(
        ("arrive", "wait"), ("", ".release", ".acquire", ".relaxed"), ("", ".aligned")
    ):
        yield f"barrier.cluster.{op}{order}{aligned};"
    complete = ".mbarrier::complete_tx::bytes"
    for order, scope, space, done in product(
        ("", ".weak", ".relaxed", ".release", ".mmio.release"),
        ("", ".cluster", ".gpu", ".sys"),
        ("", ".shared::cluster", ".shared", ".shared::cta", ".global"),
        (complete, ""),
    ):
        for n, (type, kind) in product(
            (1, 2, 4), (("b32", "r"), ("f32", "r"), ("s32", "r"), ("u64", "d"), ("f64", "d"))
        ):
            vector, value = (f".v{n}", registers(n, 0, kind)) if n > 1 else ("", f"%{kind}0")
            yield f"st.async{order}{scope}{space}{done}{vector}.{type} [%d9], {value}{', [%d8]' if done else ''};"
    for order, scope, space, op in product(
        ("", ".relaxed"), ("", ".cluster", ".gpu"), ("", ".shared::cluster"), OPERATIONS
    ):
        for type in ("b32", "u32", "s32", "f32", "u64", "s64", "b64"):
            value = "%d0" if type.endswith("64") else "%r0"
            yield f"red.async{order}{scope}{space}{complete}.{op}.{type} [%d9], {value}, [%d8];"
    for space, all in product(("", ".shared::cta", ".shared"), ("", ".multicast::cluster::all")):
        yield f"clusterlaunchcontrol.try_cancel.async{space}{complete}{all}.b128 [%d9], [%d8];"
    yield "clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 %p0, %q0;"
    yield "clusterlaunchcontrol.query_cancel.get_first_ctaid.v4.b32.b128 {%r0, %r1, %r2, %r3}, %q0;"
    for axis in "xyzw":
        yield f"clusterlaunchcontrol.query_cancel.get_first_ctaid::{axis}.b32.b128 %r0, %q0;"
    for order, scope in product(
        ("", ".relaxed", ".acquire", ".release", ".acq_rel"), ("", ".cta", ".cluster", ".gpu", ".sys")
    ):
        for op, type in (
            ("add", "u32"),
            ("min", "s32"),
            ("and", "b32"),
            ("inc", "u32"),
            ("add", "f32"),
            ("max", "u64"),
        ):
            value = "%d1" if type.endswith("64") else "%r1"
            to = "%d0" if type.endswith("64") else "%r0"
            yield f"atom{order}{scope}.shared::cluster.{op}.{type} {to}, [%d9], {value};"
            yield f"red{order}{scope}.shared::cluster.{op}.{type} [%d9], {value};"


def bulk_copies():
    complete = ".mbarrier::complete_tx::bytes"
    for to, source, many, h in product(
        (".shared::cluster", ".shared::cta", ".shared"),
        (".global", ".shared::cta"),
        ("", ".multicast::cluster"),
        HINTS,
    ):
        mask = ", %h0" if many else ""
        yield f"cp.async.bulk{to}{source}{complete}{many}{h} [%d9], [%d8], %r0, [%d7]{mask}{hint(h)};"
    for h, mask in product(HINTS, ("", ".cp_mask")):
        yield f"cp.async.bulk.global.shared::cta.bulk_group{h}{mask} [%d9], [%d8], %r0{hint(h)}{', %h0' if mask else ''};"
    for h in HINTS:
        yield f"cp.async.bulk.prefetch.L2.global{h} [%d9], %r0{hint(h)};"
    types = ("f16", "bf16", "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64")
    for op, type, noftz, h in product(OPERATIONS, types, ("", ".noftz"), HINTS):
        to = f"cp.reduce.async.bulk.global.shared::cta.bulk_group{h}.{op}{noftz}.{type}"
        yield f"{to} [%d9], [%d8], %r0{hint(h)};"
        to = f"cp.reduce.async.bulk.shared::cluster.shared::cta{complete}{h}.{op}{noftz}.{type}"
        yield f"{to} [%d9], [%d8], %r0, [%d7]{hint(h)};"
    for wait in ("commit_group", "wait_group 0", "wait_group.read 0", "wait_group 7"):
        yield f"cp.async.bulk.{wait};"


def tensor_copies():
    complete = ".mbarrier::complete_tx::bytes"
    for n, mode, h in product(
        range(1, 6), ("", ".tile", ".im2col", ".im2col::w", ".im2col::w::128", ".tile::gather4"), HINTS
    ):
        at = ", ".join(f"%r{i + 1}" for i in range(5 if "gather4" in mode else n))
        offsets = ", ".join(f"%h{i + 1}" for i in range(max(n - 2, 1)))
        extra = {".im2col": f", {{{offsets}}}", ".im2col::w": ", {%h1, %h2}", ".im2col::w::128": ", %h1"}.get(
            mode, ""
        )
        for to, many in product((".shared::cluster", ".shared::cta"), ("", ".multicast::cluster")):
            mask = ", %h9" if many else ""
            head = f"cp.async.bulk.tensor.{n}d{to}.global{mode}{complete}{many}{h}"
            yield f"{head} [%d9], [%d8, {{{at}}}], [%d7]{extra}{mask}{hint(h)};"
        yield f"cp.async.bulk.prefetch.tensor.{n}d.L2.global{mode}{h} [%d8, {{{at}}}]{extra}{hint(h)};"
    for n, mode, h in product(
        range(1, 6), ("", ".tile", ".im2col_no_offs", ".im2col", ".tile::scatter4"), HINTS
    ):
        at = ", ".join(f"%r{i + 1}" for i in range(5 if "scatter4" in mode else n))
        yield f"cp.async.bulk.tensor.{n}d.global.shared::cta{mode}.bulk_group{h} [%d8, {{{at}}}], [%d9]{hint(h)};"
        for op in OPERATIONS:
            head = f"cp.reduce.async.bulk.tensor.{n}d.global.shared::cta.{op}{mode}.bulk_group{h}"
            yield f"{head} [%d8, {{{at}}}], [%d9]{hint(h)};"


def tensor_maps():
    numbers = ("rank", "elemtype", "interleave_layout", "swizzle_mode", "fill_mode", "swizzle_atomicity")
    for mode, space, size in product(
        (".tile", ""), ("", ".global", ".shared::cta", ".shared"), (".b1024", ".b128")
    ):
        head = f"tensormap.replace{mode}"
        yield f"{head}.global_address{space}{size}.b64 [%d9], %d0;"
        for field, value in product(numbers, ("%r0", "0", "2", "3", "4", "12", "13", "14", "15", "16")):
            yield f"{head}.{field}{space}{size}.b32 [%d9], {value};"
        for field, at in product(("box_dim", "global_dim", "element_stride"), ("0", "4", "5", "%r1")):
            yield f"{head}.{field}{space}{size}.b32 [%d9], {at}, %r0;"
        for at in ("0", "3", "4", "5"):
            yield f"{head}.global_stride{space}{size}.b64 [%d9], {at}, %d0;"
    for scope in (".cta", ".cluster", ".gpu", ".sys"):
        yield f"tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release{scope}.sync.aligned [%d9], [%d8], 128;"
        yield f"fence.proxy.tensormap::generic.acquire{scope} [%d9], 128;"
        yield f"fence.proxy.tensormap::generic.release{scope};"
    for space in ("", ".param", ".const", ".global"):
        yield f"prefetch{space}.tensormap [%d9];"
    for proxy in ("alias", "async", "async.global", "async.shared::cta", "async.shared::cluster"):
        yield f"fence.proxy.{proxy};"
    for order, memory in product(("acquire", "release"), ("cluster", "cta")):
        yield f"fence.{order}.sync_restrict::shared::{memory}.cluster;"
        yield f"fence.proxy.async::generic.{order}.sync_restrict::shared::{memory}.cluster;"
    yield "fence.mbarrier_init.release.cluster;"


def statements():
    families = (dense_mma(), integer_mma(), small_mma(False), small_mma(True), scale_ids(), sparse_mma())
    families += (wmma_fragments(), wmma_products(), conversions(), matrices(), mbarriers(), clusters())
    families += (bulk_copies(), tensor_copies(), tensor_maps())
    return list(dict.fromkeys(itertools.chain(*families)))
