#!/usr/bin/env python3
"""Writes the instruction cases of clusters and of what works between their CTAs (tests/emu/cases/{cluster,async_copy,barrier,
mbarrier,fence,tensor_map}): one case per operation and type, expected memory computed here.
"""

import os

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emu", "cases")
PRELUDE = """  .reg .pred %p<8>;
  .reg .b16 %h<8>;
  .reg .b32 %r<40>;
  .reg .b64 %rd<40>;
  .shared .align 1024 .b8 smem[8192];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, smem;
  shl.b32 %r3, %r1, 2;
  add.u32 %r4, %r2, %r3;            // smem + 4 tid
  mul.wide.u32 %rd1, %r1, 4;
  setp.eq.u32 %p1, %r1, 0;
"""
BARRIER = """  @%p1 mbarrier.init.shared::cta.b64 [%r2], {count};
  fence.mbarrier_init.release.cluster;
"""
MEET = """  barrier.cluster.arrive.release.aligned;
  barrier.cluster.wait.acquire.aligned;
"""
WAIT = """WAIT:
  mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0;
  @!%p2 bra WAIT;
"""
MASK = {4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}


def values(items):
    return " ".join(hex(v) for v in items)


def case(family, name, isa, launch, inputs, body, targets="all"):
    """inputs: (direction, name, type, values) with the values given, or a whole directive for a tensor map."""
    text = f"// isa: {isa}\n// targets: {targets}\n// launch: {launch}\n"
    parameters = []
    for one in inputs:
        if isinstance(one, str):
            text += f"// {one}\n"
            parameters.append(f".param .align 64 .b8 {one.split()[1]}[128]")
            continue
        direction, parameter, kind, items = one
        text += f"// {direction} {parameter} {kind} {len(items)}: {values(items)}\n"
        parameters.append(f".param .u64 {parameter}")
    text += f".version 8.8\n.target @TARGET@\n.address_size 64\n.visible .entry {name}({', '.join(parameters)}) {{\n"
    text += PRELUDE + body + "  ret;\n}\n"
    os.makedirs(os.path.join(ROOT, family), exist_ok=True)
    with open(os.path.join(ROOT, family, name + ".ptx"), "w") as file:
        file.write(text)


def reduce(op, a, b, size, signed):
    def number(v):
        return v - (1 << (8 * size)) if signed and v >> (8 * size - 1) else v

    if op == "inc":
        return 0 if a >= b else a + 1
    if op == "dec":
        return b if a == 0 or a > b else a - 1
    if op == "add":
        return a + b & MASK[size]
    if op in ("min", "max"):
        return (min if op == "min" else max)(a, b, key=number)
    return {"and": a & b, "or": a | b, "xor": a ^ b}[op]


REDUCTIONS = [("add", t) for t in ("u32", "s32", "u64")] + [
    (o, t) for o in ("min", "max") for t in ("u32", "s32")
]
REDUCTIONS += [("inc", "u32"), ("dec", "u32"), ("and", "b32"), ("or", "b32"), ("xor", "b32")]


def operands(rank, count, size, shift):
    """Words that have all bits, signs and small numbers, by rank and thread."""
    out = []
    for i in range(count):
        word = (0x9E3779B97F4A7C15 * (rank * 1000 + i + 1) >> shift) & MASK[size]
        out.append(word & 0xF if i % 4 == 3 else word)
    return out


def reductions():
    """Each CTA of a pair reduces into the other's memory, with the bulk copy unit and with red.async."""
    for op, kind in [*REDUCTIONS, ("add", "s64")]:
        size = int(kind[1:]) // 8
        there = [operands(r, 32, size, 3) for r in range(2)]
        mine = [operands(r + 2, 32, size, 7) for r in range(2)]
        result = [
            reduce(op, a, b, size, kind[0] == "s") for r in range(2) for a, b in zip(there[r], mine[1 - r])
        ]
        inputs = [
            ("in", "a", f"u{8 * size}", there[0] + there[1]),
            ("in", "b", f"u{8 * size}", mine[0] + mine[1]),
        ]
        inputs.append(("out", "d", f"u{8 * size}", result))
        register = "%rd20" if size == 8 else "%r20"
        load = f"""  ld.param.u64 %rd30, [a];
  ld.param.u64 %rd31, [b];
  ld.param.u64 %rd32, [d];
  mov.u32 %r5, %cluster_ctarank;
  mad.lo.u32 %r6, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r6, {size};
  add.u64 %rd30, %rd30, %rd3;
  add.u64 %rd31, %rd31, %rd3;
  add.u64 %rd32, %rd32, %rd3;
  mad.lo.u32 %r7, %r1, {size}, %r2;
  ld.global.b{8 * size} {register}, [%rd30];
  st.shared.b{8 * size} [%r7+1024], {register};
  ld.global.b{8 * size} {register}, [%rd31];
  st.shared.b{8 * size} [%r7+2048], {register};
"""
        begin = f"  @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {32 * size};\n  xor.b32 %r8, %r5, 1;\n"
        end = (
            WAIT
            + f"  ld.shared.b{8 * size} {register}, [%r7+1024];\n  st.global.b{8 * size} [%rd32], {register};\n"
            + MEET
        )
        complete = "mbarrier::complete_tx::bytes"
        bulk = f"""  fence.proxy.async.shared::cta;
  mapa.shared::cluster.u32 %r9, %r2, %r8;
  add.u32 %r10, %r9, 1024;
  add.u32 %r11, %r2, 2048;
  @%p1 cp.reduce.async.bulk.shared::cluster.shared::cta.{complete}.{op}.{kind} [%r10], [%r11], {32 * size}, [%r9];
"""
        if kind != "s64":
            case(
                "async_copy",
                f"bulk_reduce_shared_{op}_{kind}",
                "9.7.9.25.4.2 cp.reduce.async.bulk",
                "grid=2 block=32 cluster=2",
                inputs,
                BARRIER.format(count=1) + load + begin + "  bar.sync 0;\n" + MEET + bulk + end,
            )
        single = f"""  mapa.shared::cluster.u32 %r9, %r2, %r8;
  mapa.shared::cluster.u32 %r10, %r7, %r8;
  red.async.relaxed.cluster.shared::cluster.{complete}.{op}.{kind} [%r10+1024], {register}, [%r9];
"""
        case(
            "cluster",
            f"red_async_{op}_{kind}",
            "9.7.13 red.async",
            "grid=2 block=32 cluster=2",
            inputs,
            BARRIER.format(count=1) + load + begin + MEET + single + end,
        )


def async_stores():
    for prefix, kind, count in (
        ("", "b64", 1),
        (".weak", "u64", 2),
        (".cluster", "b32", 4),
        (".cluster", "f32", 1),
        (".cluster", "s64", 2),
        (".weak", "u32", 2),
    ):
        size = int(kind[1:]) // 8
        data = [operands(r, 32 * count, size, 5) for r in range(2)]
        names = [f"%rd{20 + i}" if size == 8 else f"%r{20 + i}" for i in range(count)]
        value = names[0] if count == 1 else "{" + ", ".join(names) + "}"
        vector = "" if count == 1 else f".v{count}"
        each = size * count
        body = (
            BARRIER.format(count=1)
            + f"""  ld.param.u64 %rd30, [a];
  ld.param.u64 %rd32, [d];
  mov.u32 %r5, %cluster_ctarank;
  mad.lo.u32 %r6, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r6, {each};
  add.u64 %rd30, %rd30, %rd3;
  add.u64 %rd32, %rd32, %rd3;
  mad.lo.u32 %r7, %r1, {each}, %r2;
  ld.global{vector}.b{8 * size} {value}, [%rd30];
  @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {32 * each};
  xor.b32 %r8, %r5, 1;
"""
            + MEET
            + f"""  mapa.shared::cluster.u32 %r9, %r2, %r8;
  mapa.shared::cluster.u32 %r10, %r7, %r8;
  st.async{prefix}.shared::cluster.mbarrier::complete_tx::bytes{vector}.{kind} [%r10+1024], {value}, [%r9];
"""
            + WAIT
            + f"""  ld.shared{vector}.b{8 * size} {value}, [%r7+1024];
  st.global{vector}.b{8 * size} [%rd32], {value};
"""
            + MEET
        )
        case(
            "cluster",
            f"st_async{prefix.replace('.', '_')}_{'v' + str(count) + '_' if count > 1 else ''}{kind}",
            "9.7.9 st.async",
            "grid=2 block=32 cluster=2",
            [("in", "a", f"u{8 * size}", data[0] + data[1]), ("out", "d", f"u{8 * size}", data[1] + data[0])],
            body,
        )


def many_ctas():
    """Clusters of 2, 4 and 8: remote loads, stores, atomics and arrivals, ranks, and one copy to all."""
    for n in (2, 4, 8):
        expected = []
        for rank in range(n):
            from_ = (rank + 1) % n  # whose memory is read
            for t in range(32):
                expected += [100 * from_ + t, 1000 * ((rank - 1) % n) + t, sum(range(n)) * 1, rank]
        body = (
            BARRIER.format(count=n)
            + f"""  ld.param.u64 %rd32, [d];
  mov.u32 %r5, %cluster_ctarank;
  mad.lo.u32 %r6, %r5, 100, %r1;
  st.shared.u32 [%r4+1024], %r6;
  mov.u32 %r7, 0;
  st.shared.u32 [%r4+2048], %r7;
  st.shared.u32 [%r4+3072], %r7;
"""
            + MEET
            + f"""  add.u32 %r8, %r5, 1;
  rem.u32 %r8, %r8, {n};
  mapa.shared::cluster.u32 %r9, %r4, %r8;
  ld.shared::cluster.u32 %r20, [%r9+1024];
  mad.lo.u32 %r10, %r5, 1000, %r1;
  st.shared::cluster.u32 [%r9+2048], %r10;
  mov.u32 %r11, 0;
EACH:
  mapa.shared::cluster.u32 %r12, %r4, %r11;
  red.relaxed.cluster.shared::cluster.add.u32 [%r12+3072], %r5;
  mapa.shared::cluster.u32 %r13, %r2, %r11;
  bar.warp.sync 0xffffffff;
  @%p1 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r13];
  add.u32 %r11, %r11, 1;
  setp.lt.u32 %p3, %r11, {n};
  @%p3 bra EACH;
WAIT:
  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p2, [%r2], 0;
  @!%p2 bra WAIT;
"""
            + MEET
            + f"""  ld.shared.u32 %r21, [%r4+2048];
  ld.shared.u32 %r22, [%r4+3072];
  getctarank.shared::cluster.u32 %r23, %r9;
  sub.u32 %r23, %r23, 1;
  add.u32 %r23, %r23, {n};
  rem.u32 %r23, %r23, {n};
  mad.lo.u32 %r14, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r14, 16;
  add.u64 %rd32, %rd32, %rd3;
  st.global.v4.u32 [%rd32], {{%r20, %r21, %r22, %r23}};
"""
        )
        case(
            "cluster",
            f"remote_memory_of_{n}",
            "9.7.9 mapa",
            f"grid={n} block=32 cluster={n}",
            [("out", "d", "u32", expected)],
            body,
        )
        data = list(range(500, 532))
        mask = (1 << n) - 1
        body = (
            BARRIER.format(count=1)
            + """  ld.param.u64 %rd30, [a];
  ld.param.u64 %rd32, [d];
  @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128;
"""
            + MEET
            + f"""  mov.u32 %r5, %cluster_ctarank;
  setp.eq.and.u32 %p3, %r5, {n - 1}, %p1;
  mov.b16 %h1, {mask};
  add.u32 %r6, %r2, 1024;
  @%p3 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r6], [%rd30], 128, [%r2], %h1;
"""
            + WAIT
            + """  ld.shared.u32 %r20, [%r4+1024];
  mad.lo.u32 %r11, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r11, 4;
  add.u64 %rd4, %rd32, %rd3;
  st.global.u32 [%rd4], %r20;
"""
            + MEET
        )
        case(
            "cluster",
            f"multicast_to_{n}",
            "9.7.9.25.4.1 cp.async.bulk",
            f"grid={n} block=32 cluster={n}",
            [("in", "a", "u32", data), ("out", "d", "u32", data * n)],
            body,
        )
    remote = (
        BARRIER.format(count=1)
        + """  ld.param.u64 %rd32, [d];
  mov.u32 %r5, %cluster_ctarank;
  xor.b32 %r8, %r5, 1;
"""
        + MEET
        + """  mapa.shared::cluster.u32 %r9, %r2, %r8;
  @%p1 mbarrier.expect_tx.relaxed.cluster.shared::cluster.b64 [%r9], 64;
  @%p1 mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%r9], 64;
  @%p1 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r9], 1;
"""
        + WAIT
        + """  mad.lo.u32 %r11, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r11, 4;
  add.u64 %rd4, %rd32, %rd3;
  st.global.u32 [%rd4], %r11;
"""
        + MEET
    )
    case(
        "mbarrier",
        "remote_bytes_and_arrival",
        "9.7.13.15.11 mbarrier.expect_tx",
        "grid=2 block=32 cluster=2",
        [("out", "d", "u32", list(range(64)))],
        remote,
    )


def barriers():
    truth = [t % 3 == 0 for t in range(64)]
    low = truth[:32]
    rows = [all(truth), any(truth), sum(truth), all(low), any(low), sum(low)]
    expected = []
    for t in range(64):
        expected += [int(v) for v in (rows[:3] if t >= 32 else rows[:3])] + [
            int(v) for v in (rows[3:] if t < 32 else [9, 9, 9])
        ]
    for verb, suffix in (("bar", ""), ("barrier", ""), ("barrier", ".aligned")):
        half = "\n".join(
            f"  @%p4 {verb}.red.{op}{suffix}.{kind} {to}, 2, 32, %p3;"
            for op, kind, to in (("and", "pred", "%p5"), ("or", "pred", "%p6"), ("popc", "u32", "%r23"))
        )
        # The threads of one warp are the ones that take part in barrier 2.
        half = half.replace("@%p4 ", "")
        body = f"""  ld.param.u64 %rd32, [d];
  rem.u32 %r5, %r1, 3;
  setp.eq.u32 %p3, %r5, 0;
  setp.lt.u32 %p4, %r1, 32;
  {verb}.red.and{suffix}.pred %p5, 1, %p3;
  {verb}.red.or{suffix}.pred %p6, 1, %p3;
  {verb}.red.popc{suffix}.u32 %r22, 1, %p3;
  selp.u32 %r20, 1, 0, %p5;
  selp.u32 %r21, 1, 0, %p6;
  mov.u32 %r23, 9;
  mov.u32 %r24, 9;
  mov.u32 %r25, 9;
  @!%p4 bra DONE;
{half}
  mov.u32 %r25, %r23;
  selp.u32 %r23, 1, 0, %p5;
  selp.u32 %r24, 1, 0, %p6;
DONE:
  mul.wide.u32 %rd3, %r1, 24;
  add.u64 %rd32, %rd32, %rd3;
  st.global.v2.u32 [%rd32], {{%r20, %r21}};
  st.global.v2.u32 [%rd32+8], {{%r22, %r23}};
  st.global.v2.u32 [%rd32+16], {{%r24, %r25}};
"""
        name = f"{verb}_reductions{suffix.replace('.', '_')}"
        case(
            "barrier",
            name,
            "9.7.13 bar.red, barrier.red",
            "grid=1 block=64",
            [("out", "d", "u32", expected)],
            body,
        )
    body = """  ld.param.u64 %rd32, [d];
  setp.lt.u32 %p4, %r1, 32;
  @!%p4 bra READ;
  st.shared.u32 [%r4+1024], %r1;
  bar.arrive 3, 64;
  bra DONE;
READ:
  bar.sync 3, 64;
  ld.shared.u32 %r20, [%r4+896];
  add.u64 %rd2, %rd32, %rd1;
  st.global.u32 [%rd2+-128], %r20;
DONE:
"""
    case(
        "barrier",
        "bar_arrive",
        "9.7.13 bar.arrive",
        "grid=1 block=64",
        [("out", "d", "u32", list(range(32)))],
        body,
    )


def mbarriers():
    body = """  ld.param.u64 %rd32, [d];
  @%p1 mbarrier.init.shared::cta.b64 [%r2], 33;
  bar.sync 0;
  @%p1 mbarrier.arrive_drop.expect_tx.release.cta.shared::cta.b64 _, [%r2], 32;
  @%p1 mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r2], 32;
  bar.warp.sync 0xffffffff;
  mbarrier.arrive.release.cta.shared::cta.b64 %rd5, [%r2];
TOKEN:
  mbarrier.try_wait.acquire.cta.shared::cta.b64 %p2, [%r2], %rd5;
  @!%p2 bra TOKEN;
  mbarrier.arrive.shared::cta.b64 %rd5, [%r2];
AGAIN:
  mbarrier.try_wait.relaxed.cta.shared::cta.b64 %p2, [%r2], %rd5, 1000;
  @!%p2 bra AGAIN;
  add.u64 %rd2, %rd32, %rd1;
  st.global.u32 [%rd2], %r1;
"""
    case(
        "mbarrier",
        "arrive_drop_expect_tx_and_tokens",
        "9.7.13.15.14 mbarrier.arrive_drop",
        "grid=1 block=32",
        [("out", "d", "u32", list(range(32)))],
        body,
    )


def fences():
    body = """  ld.param.u64 %rd32, [d];
  mov.u32 %r5, %cluster_ctarank;
  st.shared.u32 [%r4+1024], %r1;
  membar.proxy.alias;
  fence.release.sync_restrict::shared::cta.cluster;
  barrier.cluster.arrive.relaxed.aligned;
  barrier.cluster.wait.aligned;
  fence.acquire.sync_restrict::shared::cluster.cluster;
  xor.b32 %r8, %r5, 1;
  mapa.shared::cluster.u32 %r9, %r4, %r8;
  ld.shared::cluster.u32 %r20, [%r9+1024];
  mad.lo.u32 %r11, %r5, 32, %r1;
  mul.wide.u32 %rd3, %r11, 4;
  add.u64 %rd4, %rd32, %rd3;
  st.global.u32 [%rd4], %r20;
  fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster;
"""
    case(
        "fence",
        "restricted_to_shared_memory",
        "9.7.13 fence",
        "grid=2 block=32 cluster=2",
        [("out", "d", "u32", list(range(32)) * 2)],
        body,
    )


def policies():
    body = """  ld.param.u64 %rd30, [a];
  ld.param.u64 %rd32, [d];
  createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %rd5, [%rd30], 128, 256;
  createpolicy.fractional.L2::evict_first.b64 %rd6, 0f3F000000;
  createpolicy.cvt.L2.b64 %rd7, 0x1000000000000000;
  @%p1 applypriority.global.L2::evict_normal [%rd30], 128;
  add.u64 %rd2, %rd30, %rd1;
  ld.global.L2::cache_hint.u32 %r20, [%rd2], %rd5;
  add.u64 %rd4, %rd32, %rd1;
  st.global.L2::cache_hint.u32 [%rd4], %r20, %rd6;
  @%p1 discard.global.L2 [%rd32+128], 128;
"""
    text = body.replace("[%rd32+128]", "[%rd33]").replace(
        "  ld.param.u64 %rd32, [d];\n", "  ld.param.u64 %rd32, [d];\n  ld.param.u64 %rd33, [e];\n"
    )
    case(
        "memory",
        "policies_priority_and_discard",
        "9.7.9 createpolicy, applypriority, discard",
        "grid=1 block=32",
        [
            ("in", "a", "u32", list(range(40, 104))),
            ("out", "d", "u32", list(range(40, 72))),
            ("in", "e", "u32", list(range(32))),
        ],
        text,
    )


def tensor_maps():
    """A map of u32 that becomes one of s32 in two dimensions with another swizzle; a box at (4, 1)."""
    for swizzle, span in ((0, 0), (1, 32), (2, 64), (3, 128)):
        width = 8 if swizzle < 2 else 16 if swizzle == 2 else 32
        data = list(range(1000, 1000 + 64 * 8))
        linear = [data[64 * (1 + y) + 4 + x] for y in range(4) for x in range(width)]
        image = [0] * (width * 4)
        bits = {0: 0, 32: 1, 64: 3, 128: 7}[span]
        for i, v in enumerate(linear):
            at = 4 * i
            at ^= ((at >> 7) & bits) << 4
            image[at // 4] = v
        words = width * 4
        body = (
            f"""  ld.param.u64 %rd32, [d];
  ld.param.u64 %rd34, [work];
  mov.b64 %rd33, tm;
  cvta.param.u64 %rd33, %rd33;
  add.u64 %rd3, %rd33, %rd1;
  ld.u32 %r5, [%rd3];
  st.shared.u32 [%r4+6144], %r5;
  bar.warp.sync 0xffffffff;
  add.u32 %r6, %r2, 6144;
  cvt.u64.u32 %rd4, %r6;
  mov.u32 %r10, 1;
  mov.u32 %r11, 64;
  mov.u32 %r12, 8;
  mov.u32 %r13, {width};
  mov.u32 %r14, 4;
  mov.u64 %rd6, 256;
  @%p1 tensormap.replace.tile.rank.shared::cta.b1024.b32 [%rd4], %r10;
  @%p1 tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%rd4], 3;
  @%p1 tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%rd4], 0;
  @%p1 tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%rd4], {swizzle};
  @%p1 tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%rd4], 0;
  @%p1 tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%rd4], 0, %r11;
  @%p1 tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%rd4], 1, %r12;
  @%p1 tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%rd4], 0, %rd6;
  @%p1 tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%rd4], 0, %r13;
  @%p1 tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%rd4], 1, %r14;
  @%p1 tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%rd4], 1, %r10;
  bar.warp.sync 0xffffffff;
  tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd34], [%rd4], 128;
  fence.proxy.tensormap::generic.acquire.gpu [%rd34], 128;
  @%p1 mbarrier.init.shared::cta.b64 [%r2], 1;
  fence.mbarrier_init.release.cluster;
  bar.sync 0;
  mov.u32 %r20, 4;
  mov.u32 %r21, 1;
  add.u32 %r7, %r2, 1024;
  @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {4 * words};
  @%p1 cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes [%r7], [%rd34, {{%r20, %r21}}], [%r2];
"""
            + WAIT
            + "".join(
                f"  ld.shared.u32 %r22, [%r4+{1024 + 128 * k}];\n  add.u64 %rd2, %rd32, %rd1;\n  st.global.u32 [%rd2+{128 * k}], %r22;\n"
                for k in range(words // 32)
            )
        )
        case(
            "tensor_map",
            f"replace_every_field_swizzle_{span}",
            "9.7.9.27.1.1 tensormap.replace",
            "grid=1 block=32",
            [
                ("in", "a", "u32", data),
                ("out", "d", "u32", image),
                ("in", "work", "u32", [0] * 32),
                "map tm of a: element=s32 dims=64,8,1 strides=256,2048 box=4,2,1 swizzle=none",
            ],
            body,
        )


if __name__ == "__main__":
    reductions()
    async_stores()
    many_ctas()
    barriers()
    mbarriers()
    fences()
    policies()
    tensor_maps()
