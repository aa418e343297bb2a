#!/usr/bin/env python3
# Writes the instruction cases of the machine families (tests/emu/cases/{memory,atomic,warp,barrier,control,special,half}).
# Usage: make_machine_cases.py OUTPUT_FOLDER
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
PRELUDE = """  .reg .pred %p<10>;
  .reg .b16 %h<10>;
  .reg .b32 %r<40>;
  .reg .f32 %f<10>;
  .reg .b64 %rd<20>;
  .reg .b128 %q<4>;
  mov.u32 %r0, %tid.x;
  mul.wide.u32 %rd0, %r0, 4;
"""
LOAD_D = """  ld.param.u64 %rd1, [d];
  add.s64 %rd1, %rd1, %rd0;
"""


def show(values, kind="u32"):
    return " ".join(hex(v & ((1 << int(kind[1:])) - 1)) for v in values)


def case(family, name, isa, header, params, body, targets="all", declarations="", launch="grid=1 block=32"):
    lines = [f"// isa: {isa}", f"// targets: {targets}", f"// launch: {launch}"] + [
        "// " + line for line in header
    ]
    signature = ", ".join(f".param .{t} {n}" for t, n in params)
    text = (
        "\n".join(lines)
        + f"\n.version 8.8\n.target @TARGET@\n.address_size 64\n{declarations}.visible .entry {name}({signature}) {{\n"
    )
    text += PRELUDE + body.strip("\n") + "\n  ret;\n}\n"
    path = FOLDER / family / f"{name}.ptx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lanes(family, name, isa, expected, body, kind="u32", **options):
    """32 lanes, one 32-bit result each in %r1."""
    case(
        family,
        name,
        isa,
        [f"out d {kind} 32: {show(expected, kind)}"],
        [("u64", "d")],
        body + LOAD_D + "  st.global.b32 [%rd1], %r1;\n",
        **options,
    )


L = range(32)

# ---- memory ----
case(
    "memory",
    "ld_st_vectors",
    "9.7.9 ld, st",
    ["in a u32 256: iota 1 1", "out d u32 256: iota 1 1"],
    [("u64", "a"), ("u64", "d")],
    """
  mul.wide.u32 %rd0, %r0, 32;
  ld.param.u64 %rd1, [a];
  ld.param.u64 %rd2, [d];
  add.s64 %rd1, %rd1, %rd0;
  add.s64 %rd2, %rd2, %rd0;
  ld.global.nc.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];
  ld.global.v2.b64 {%rd3, %rd4}, [%rd1+16];
  st.global.v2.u32 [%rd2], {%r1, %r2};
  st.global.v2.u32 [%rd2+8], {%r3, %r4};
  st.global.v2.b64 [%rd2+16], {%rd3, %rd4};
""",
)
case(
    "memory",
    "ld_st_v8_b32",
    "9.7.9 ld, st",
    ["in a u32 256: iota 1 1", "out d u32 256: iota 1 1"],
    [("u64", "a"), ("u64", "d")],
    """
  mul.wide.u32 %rd0, %r0, 32;
  ld.param.u64 %rd1, [a];
  ld.param.u64 %rd2, [d];
  add.s64 %rd1, %rd1, %rd0;
  add.s64 %rd2, %rd2, %rd0;
  ld.global.v8.b32 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%rd1];
  st.global.v8.b32 [%rd2], {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8};
""",
    targets="sm_120a sm_121a sm_120f",
)
case(
    "memory",
    "ld_narrow_extends",
    "9.7.9 ld",
    [
        "in a u8 32: iota 0xf0 1",
        "out d u32 32: "
        + show([(0xF0 + x & 255) | ((0xFFFFFF00 if (0xF0 + x & 255) >= 128 else 0) << 0) for x in L]),
    ],
    [("u64", "a"), ("u64", "d")],
    """
  ld.param.u64 %rd2, [a];
  cvt.u64.u32 %rd3, %r0;
  add.s64 %rd2, %rd2, %rd3;
  ld.global.s8 %r1, [%rd2];
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r1;\n",
)
case(
    "memory",
    "st_narrow_truncates",
    "9.7.9 st",
    ["out d u8 32: " + " ".join(hex((0x1F0 + x) & 255) for x in L)],
    [("u64", "d")],
    """
  add.u32 %r1, %r0, 0x1f0;
  ld.param.u64 %rd1, [d];
  cvt.u64.u32 %rd3, %r0;
  add.s64 %rd1, %rd1, %rd3;
  st.global.u8 [%rd1], %r1;
""",
)
lanes(
    "memory",
    "shared_generic_and_direct",
    "9.7.9 ld, st, cvta",
    [(31 - x) * 3 for x in L],
    """
  mov.u32 %r2, buf;
  mul.lo.u32 %r3, %r0, 3;
  shl.b32 %r4, %r0, 2;
  add.u32 %r5, %r2, %r4;
  st.shared.u32 [%r5], %r3;
  bar.warp.sync 0xffffffff;
  cvta.shared.u64 %rd5, buf;
  sub.u32 %r6, 31, %r0;
  mul.wide.u32 %rd6, %r6, 4;
  add.s64 %rd5, %rd5, %rd6;
  ld.u32 %r1, [%rd5];
""",
    declarations=".shared .align 16 .b8 buf[128];\n",
)
lanes(
    "memory",
    "dynamic_shared_behind_static",
    "9.7.9 ld, st",
    [x + 100 for x in L],
    """
  shl.b32 %r4, %r0, 2;
  mov.u32 %r2, dyn;
  add.u32 %r5, %r2, %r4;
  mov.u32 %r7, fixed;
  add.u32 %r8, %r7, %r4;
  add.u32 %r3, %r0, 100;
  st.shared.u32 [%r5], %r3;
  st.shared.u32 [%r8], 7;
  ld.shared.u32 %r1, [%r5];
""",
    declarations=".shared .align 4 .b8 fixed[128];\n.extern .shared .align 16 .b8 dyn[];\n",
    launch="grid=1 block=32 smem=128",
)
lanes(
    "memory",
    "address_of_32_bits_wraps",
    "9.7.9 ld",
    [(31 - x) * 5 for x in L],
    """
  mov.u32 %r2, buf;
  shl.b32 %r4, %r0, 2;
  add.u32 %r5, %r2, %r4;
  mul.lo.u32 %r3, %r0, 5;
  st.shared.u32 [%r5], %r3;
  bar.warp.sync 0xffffffff;
  sub.u32 %r6, %r2, %r4;
  sub.u32 %r6, %r6, 0x8000;
  ld.shared.u32 %r1, [%r6+32892];
""",
    declarations=".shared .align 16 .b8 buf[128];\n",
)
lanes(
    "memory",
    "local_memory_per_thread",
    "9.7.9 ld, st",
    [x * x for x in L],
    """
  .local .align 8 .b8 depot[16];
  mov.u64 %rd2, depot;
  cvta.local.u64 %rd3, %rd2;
  mul.lo.u32 %r2, %r0, %r0;
  st.u32 [%rd3+8], %r2;
  ld.local.u32 %r1, [%rd2+8];
""",
)
lanes(
    "memory",
    "constant_and_global_variables",
    "5.1 state spaces",
    [[5, 6, 7, 8][x % 4] + 1000 for x in L],
    """
  and.b32 %r2, %r0, 3;
  mul.wide.u32 %rd2, %r2, 4;
  mov.u64 %rd3, table;
  add.s64 %rd3, %rd3, %rd2;
  ld.const.u32 %r3, [%rd3];
  ld.global.u64 %rd4, [pointer];
  ld.u32 %r4, [%rd4+4];
  add.u32 %r1, %r3, %r4;
""",
    declarations=".const .align 4 .b32 table[4] = {5, 6, 7, 8};\n.global .align 4 .b32 data[2] = {1, 1000};\n.global .align 8 .u64 pointer = generic(data);\n",
)
case(
    "memory",
    "parameter_block",
    "5.1.6 parameters",
    ["param u8 9", "out d u32 32: " + show([x + 9 + 0x1234 for x in L]), "param u16 0x1234"],
    [("u8", "a"), ("u64", "d"), ("u16", "b")],
    """
  ld.param.u8 %r2, [a];
  ld.param.u16 %h1, [b];
  cvt.u32.u16 %r3, %h1;
  add.u32 %r1, %r0, %r2;
  add.u32 %r1, %r1, %r3;
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r1;\n",
)
lanes(
    "memory",
    "mov_packs_and_unpacks",
    "9.7.9 mov",
    [(x << 16) | (0xFFFF - x) for x in L],
    """
  cvt.u16.u32 %h1, %r0;
  not.b16 %h2, %h1;
  mov.b32 %r2, {%h1, %h2};
  mov.b64 %rd2, {%r2, %r0};
  mov.b64 {%r3, _}, %rd2;
  mov.b32 {%h3, %h4}, %r3;
  mov.b32 %r1, {%h4, %h3};
""",
)
lanes(
    "memory",
    "b128_moves",
    "9.7.9 mov",
    [x + 3 for x in L],
    """
  cvt.u64.u32 %rd2, %r0;
  mov.b128 %q1, {%rd2, 3};
  mov.b128 {%rd3, %rd4}, %q1;
  add.s64 %rd5, %rd3, %rd4;
  cvt.u32.u64 %r1, %rd5;
""",
)
lanes(
    "memory",
    "isspacep",
    "9.7.9 isspacep",
    [0b011] * 32,
    """
  cvta.shared.u64 %rd2, buf;
  isspacep.shared %p1, %rd2;
  ld.param.u64 %rd3, [d];
  isspacep.global %p2, %rd3;
  isspacep.local %p3, %rd3;
  selp.u32 %r2, 1, 0, %p1;
  selp.u32 %r3, 2, 0, %p2;
  selp.u32 %r4, 4, 0, %p3;
  or.b32 %r1, %r2, %r3;
  or.b32 %r1, %r1, %r4;
""",
    declarations=".shared .align 4 .b8 buf[4];\n",
)
for name, error, body in (
    (
        "error_out_of_bounds",
        "outside every allocation",
        "  ld.global.u32 %r1, [%rd1+128];\n  st.global.u32 [%rd1], %r1;\n",
    ),
    ("error_misaligned", "misaligned", "  st.global.u32 [%rd1+2], %r0;\n"),
    ("error_poison_to_global", "never defined", "  st.global.u32 [%rd1], %r30;\n"),
    ("error_poison_address", "the address", "  add.s64 %rd2, %rd1, %rd15;\n  st.global.u32 [%rd2], %r0;\n"),
    (
        "error_poison_guard",
        "the guard predicate",
        "  setp.eq.u32 %p1, %r30, 0;\n  @%p1 st.global.u32 [%rd1], %r0;\n",
    ),
    ("error_shared_bounds", "outside shared memory", "  st.shared.u32 [%r0+4096], %r0;\n"),
    (
        "error_param_write",
        "read-only",
        "  mov.u64 %rd2, d;\n  cvta.param.u64 %rd3, %rd2;\n  st.u32 [%rd3], %r0;\n",
    ),
    (
        "error_uninitialised_load",
        "never defined",
        "  ld.global.u32 %r1, [%rd1];\n  st.global.u32 [%rd1], %r1;\n",
    ),
    ("error_trap", "trap", "  trap;\n"),
):
    start = "out d u32 32: fill 0" if "uninitialised" in name else "in d u32 32: fill 0"
    case(
        "memory", name, "4.3 the machine's checks", [f"error: {error}", start], [("u64", "d")], LOAD_D + body
    )


# ---- atomics ----
def atom(name, isa, start, op, value, final, olds_sum=None, kind="u32", targets="all"):
    w = 64 if kind.endswith("64") else 32
    reg = "%rd5" if w == 64 else "%r5"
    val = "%rd6" if w == 64 else "%r6"
    case(
        "atomic",
        name,
        isa,
        [f"inout x {kind} 1: {start} -> {final}"],
        [("u64", "x")],
        f"""
  ld.param.u64 %rd1, [x];
{value}
  {op} {reg}, [%rd1], {val};
""",
        targets=targets,
    )
    if not op.startswith("atom.global.exch") and "exch" not in op:
        red = op.replace("atom", "red", 1)
        case(
            "atomic",
            name.replace("atom", "red", 1),
            isa.replace("atom", "red"),
            [f"inout x {kind} 1: {start} -> {final}"],
            [("u64", "x")],
            f"""
  ld.param.u64 %rd1, [x];
{value}
  {red} [%rd1], {val};
""",
            targets=targets,
        )


tid32 = "  mov.u32 %r6, %r0;"
tid64 = "  cvt.u64.u32 %rd6, %r0;"
atom("atom_add_u32", "9.7.13 atom", 5, "atom.global.add.u32", tid32, 5 + 496)
atom("atom_add_u64", "9.7.13 atom", 5, "atom.relaxed.gpu.global.add.u64", tid64, 5 + 496, kind="u64")
atom(
    "atom_add_f32",
    "9.7.13 atom",
    "0.5",
    "atom.global.add.f32",
    "  cvt.rn.f32.u32 %f1, %r0;\n  mov.b32 %r6, %f1;",
    "496.5",
    kind="f32",
)
atom(
    "atom_and_b32", "9.7.13 atom", "0xffffffff", "atom.global.and.b32", "  not.b32 %r6, %r0;", hex(0xFFFFFFE0)
)
atom(
    "atom_or_b32",
    "9.7.13 atom",
    0,
    "atom.global.or.b32",
    "  mov.u32 %r7, 1;\n  shl.b32 %r6, %r7, %r0;",
    "0xffffffff",
)
atom("atom_xor_b32", "9.7.13 atom", 3, "atom.global.xor.b32", tid32, 3)
atom("atom_min_s32", "9.7.13 atom", 4, "atom.global.min.s32", "  sub.s32 %r6, 10, %r0;", "0xffffffeb")
atom(
    "atom_max_s32",
    "9.7.13 atom",
    "0xfffffff0",
    "atom.global.max.s32",
    "  sub.s32 %r6, %r0, 40;",
    hex((31 - 40) & 0xFFFFFFFF),
)
atom(
    "atom_min_u64",
    "9.7.13 atom",
    40,
    "atom.global.min.u64",
    "  add.u32 %r7, %r0, 3;\n  cvt.u64.u32 %rd6, %r7;",
    3,
    kind="u64",
)
atom("atom_max_u32", "9.7.13 atom", 1, "atom.global.max.u32", tid32, 31)
atom("atom_inc_u32", "9.7.13 atom", 0, "atom.global.inc.u32", "  mov.u32 %r6, 9;", 2)
atom("atom_dec_u32", "9.7.13 atom", 3, "atom.global.dec.u32", "  mov.u32 %r6, 9;", 1)
lanes(
    "atomic",
    "atom_shared_add_returns_old",
    "9.7.13 atom",
    [496] * 32,
    """
  st.shared.u32 [cell], 0;
  bar.warp.sync 0xffffffff;
  atom.shared.add.u32 %r2, [cell], 1;
  redux.sync.add.u32 %r1, %r2, 0xffffffff;
""",
    declarations=".shared .align 4 .b32 cell;\n",
)
case(
    "atomic",
    "atom_cas_b32",
    "9.7.13 atom",
    ["inout x u32 1: 7 -> 100", "out d u32 1: 7"],
    [("u64", "x"), ("u64", "d")],
    """
  ld.param.u64 %rd1, [x];
  ld.param.u64 %rd2, [d];
  setp.ne.u32 %p1, %r0, 0;
  @%p1 bra DONE;
  atom.global.cas.b32 %r2, [%rd1], 7, 100;
  atom.global.cas.b32 %r3, [%rd1], 7, 200;
  st.global.u32 [%rd2], %r2;
DONE:
""",
)
case(
    "atomic",
    "atom_cas_b16",
    "9.7.13 atom",
    ["inout x u16 2: 1 2 -> 1 9"],
    [("u64", "x")],
    """
  ld.param.u64 %rd1, [x];
  mov.u16 %h1, 2;
  mov.u16 %h2, 9;
  setp.eq.u32 %p1, %r0, 5;
  @%p1 atom.global.cas.b16 %h3, [%rd1+2], %h1, %h2;
""",
)
case(
    "atomic",
    "atom_exch_b128",
    "9.7.13 atom",
    ["inout x u64 2: 11 22 -> 1 2", "out d u64 2: 11 22"],
    [("u64", "x"), ("u64", "d")],
    """
  ld.param.u64 %rd1, [x];
  ld.param.u64 %rd2, [d];
  mov.u64 %rd3, 1;
  mov.u64 %rd4, 2;
  mov.b128 %q1, {%rd3, %rd4};
  setp.ne.u32 %p1, %r0, 0;
  @%p1 bra DONE;
  atom.global.exch.b128 %q2, [%rd1], %q1;
  mov.b128 {%rd5, %rd6}, %q2;
  st.global.v2.u64 [%rd2], {%rd5, %rd6};
DONE:
""",
)
case(
    "atomic",
    "red_add_v2_f32",
    "9.7.13 red",
    ["inout x f32 2: 1 2 -> 33 66"],
    [("u64", "x")],
    """
  ld.param.u64 %rd1, [x];
  mov.f32 %f1, 0f3F800000;
  mov.f32 %f2, 0f40000000;
  red.global.add.v2.f32 [%rd1], {%f1, %f2};
""",
)
case(
    "atomic",
    "atom_add_noftz_f16x2",
    "9.7.13 atom",
    ["inout x u32 1: 0 -> 0x54005000"],
    [("u64", "x")],
    """
  ld.param.u64 %rd1, [x];
  mov.b32 %r2, 0x40003c00;
  red.global.add.noftz.f16x2 [%rd1], %r2;
""",
)

# ---- warp ----
for mode, f in (
    ("up", lambda x, b: x - b if x - b >= 0 else x),
    ("down", lambda x, b: x + b if x + b <= 31 else x),
    ("bfly", lambda x, b: x ^ b),
    ("idx", lambda x, b: b),
):
    c = "0" if mode == "up" else "31"
    lanes(
        "warp",
        f"shfl_{mode}",
        "9.7.9 shfl.sync",
        [10 + f(x, 5) + (100 if mode in ("bfly", "idx") or f(x, 5) != x else 0) for x in L],
        f"""
  add.u32 %r2, %r0, 10;
  shfl.sync.{mode}.b32 %r3|%p1, %r2, 5, {c}, 0xffffffff;
  selp.u32 %r4, 100, 0, %p1;
  add.u32 %r1, %r3, %r4;
""",
    )
lanes(
    "warp",
    "shfl_idx_segments_of_8",
    "9.7.9 shfl.sync",
    [(x & 24) | 3 for x in L],
    "  shfl.sync.idx.b32 %r1, %r0, 3, 0x181f, 0xffffffff;\n",
)
lanes(
    "warp",
    "shfl_four_lane_masks",
    "9.7.9 shfl.sync",
    [(x & ~3) + 1 for x in L],
    """
  and.b32 %r2, %r0, 28;
  mov.u32 %r3, 15;
  shl.b32 %r4, %r3, %r2;
  shfl.sync.idx.b32 %r1, %r0, 1, 0x1c1f, %r4;
""",
)
lanes(
    "warp",
    "vote_ballot_all_any_uni",
    "9.7.13 vote.sync",
    [0xFFFFFC00 if x % 2 else 2 for x in L],
    """
  setp.ge.u32 %p1, %r0, 10;
  vote.sync.ballot.b32 %r2, %p1, 0xffffffff;
  vote.sync.all.pred %p2, %p1, 0xffffffff;
  vote.sync.any.pred %p3, %p1, 0xffffffff;
  vote.sync.uni.pred %p4, %p1, 0xffffffff;
  selp.u32 %r3, 1, 0, %p2;
  selp.u32 %r4, 2, 0, %p3;
  selp.u32 %r5, 4, 0, %p4;
  or.b32 %r3, %r3, %r4;
  or.b32 %r3, %r3, %r5;
  and.b32 %r6, %r0, 1;
  setp.eq.u32 %p5, %r6, 1;
  selp.u32 %r1, %r2, %r3, %p5;
""",
)
lanes(
    "warp",
    "match_any_b32",
    "9.7.13 match.sync",
    [sum(1 << y for y in L if y % 3 == x % 3) for x in L],
    "  rem.u32 %r2, %r0, 3;\n  match.any.sync.b32 %r1, %r2, 0xffffffff;\n",
)
lanes(
    "warp",
    "match_all_b64",
    "9.7.13 match.sync",
    [0xFFFFFFFF] * 32,
    "  mov.u64 %rd5, 77;\n  match.all.sync.b64 %r1|%p1, %rd5, 0xffffffff;\n",
)
for op, kind, value in (
    ("add", "u32", 496),
    ("min", "s32", 0),
    ("max", "u32", 31),
    ("or", "b32", 31),
    ("and", "b32", 0),
    ("xor", "b32", 0),
):
    lanes(
        "warp",
        f"redux_{op}_{kind}",
        "9.7.13 redux.sync",
        [value] * 32,
        f"  redux.sync.{op}.{kind} %r1, %r0, 0xffffffff;\n",
    )
lanes(
    "warp",
    "activemask_in_a_branch",
    "9.7.13 activemask",
    [0xFFFF0000 if x >= 16 else 5 for x in L],
    """
  mov.u32 %r1, 5;
  setp.lt.u32 %p1, %r0, 16;
  @%p1 bra SKIP;
  activemask.b32 %r1;
SKIP:
  bar.warp.sync 0xffffffff;
""",
)
lanes(
    "warp",
    "elect_sync",
    "9.7.13 elect.sync",
    [100 + 4 if x == 4 else 4 if x > 4 else 0 for x in L],
    """
  mov.u32 %r1, 0;
  setp.lt.u32 %p1, %r0, 4;
  @%p1 bra SKIP;
  elect.sync %r2|%p2, 0xfffffff0;
  selp.u32 %r3, 100, 0, %p2;
  add.u32 %r1, %r2, %r3;
SKIP:
""",
)

# ---- barriers ----
case(
    "barrier",
    "bar_sync_reverses_across_warps",
    "9.7.13 bar.sync",
    ["out d u32 128: " + " ".join(str(127 - x) for x in range(128))],
    [("u64", "d")],
    """
  shl.b32 %r2, %r0, 2;
  mov.u32 %r3, buf;
  add.u32 %r4, %r3, %r2;
  st.shared.u32 [%r4], %r0;
  bar.sync 0;
  sub.u32 %r5, 508, %r2;
  add.u32 %r6, %r3, %r5;
  ld.shared.u32 %r1, [%r6];
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r1;\n",
    declarations=".shared .align 4 .b8 buf[512];\n",
    launch="grid=1 block=128",
)
case(
    "barrier",
    "named_producer_consumer",
    "9.7.13 bar.arrive",
    ["out d u32 32: " + " ".join(str(x + 50) for x in L)],
    [("u64", "d")],
    """
  and.b32 %r20, %r0, 31;
  shl.b32 %r2, %r20, 2;
  mov.u32 %r3, buf;
  add.u32 %r4, %r3, %r2;
  setp.ge.u32 %p1, %r0, 32;
  @%p1 bra CONSUMER;
  add.u32 %r5, %r20, 50;
  st.shared.u32 [%r4], %r5;
  barrier.cta.arrive 3, 64;
  bra DONE;
CONSUMER:
  mov.u32 %r7, 3;
  mov.u32 %r8, 64;
  barrier.cta.sync %r7, %r8;
  ld.shared.u32 %r1, [%r4];
  ld.param.u64 %rd1, [d];
  mul.wide.u32 %rd0, %r20, 4;
  add.s64 %rd1, %rd1, %rd0;
  st.global.u32 [%rd1], %r1;
DONE:
""",
    declarations=".shared .align 4 .b8 buf[128];\n",
    launch="grid=1 block=64",
)
case(
    "barrier",
    "bar_red",
    "9.7.13 bar.red",
    ["out d u32 64: " + " ".join(["43"] * 64)],
    [("u64", "d")],
    """
  setp.lt.u32 %p1, %r0, 42;
  bar.red.popc.u32 %r2, 0, %p1;
  bar.red.and.pred %p2, 1, %p1;
  bar.red.or.pred %p3, 2, %p1;
  selp.u32 %r3, 100, 0, %p2;
  selp.u32 %r4, 1, 0, %p3;
  add.u32 %r1, %r2, %r3;
  add.u32 %r1, %r1, %r4;
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r1;\n",
    launch="grid=1 block=64",
)
case(
    "barrier",
    "exited_warps_do_not_count",
    "9.7.13 bar.sync",
    ["out d u32 64: " + " ".join(str(x) for x in range(64))],
    [("u64", "d")],
    """
  setp.ge.u32 %p1, %r0, 64;
  @%p1 exit;
  bar.sync 0;
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r0;\n",
    launch="grid=1 block=128",
)


# ---- control ----
def collatz(n):
    steps = 0
    while n != 1:
        n = 3 * n + 1 if n & 1 else n // 2
        steps += 1
    return steps


lanes(
    "control",
    "divergent_loop",
    "9.7.12 bra",
    [collatz(x + 1) for x in L],
    """
  add.u32 %r2, %r0, 1;
  mov.u32 %r1, 0;
LOOP:
  setp.eq.u32 %p1, %r2, 1;
  @%p1 bra DONE;
  and.b32 %r3, %r2, 1;
  setp.eq.u32 %p2, %r3, 0;
  @%p2 bra EVEN;
  mad.lo.u32 %r2, %r2, 3, 1;
  bra.uni NEXT;
EVEN:
  shr.u32 %r2, %r2, 1;
NEXT:
  add.u32 %r1, %r1, 1;
  bra LOOP;
DONE:
""",
)
lanes(
    "control",
    "brx_idx",
    "9.7.12 brx.idx",
    [[10, 20, 30][x % 3] for x in L],
    """
  rem.u32 %r2, %r0, 3;
TARGETS: .branchtargets A, B, C;
  brx.idx %r2, TARGETS;
A:
  mov.u32 %r1, 10;
  bra DONE;
B:
  mov.u32 %r1, 20;
  bra DONE;
C:
  mov.u32 %r1, 30;
DONE:
""",
)
lanes(
    "control",
    "scopes_repeat_names",
    "4.3.3 blocks",
    [x + 3 for x in L],
    """
  mov.u32 %r1, %r0;
  {
    .reg .pred P1;
    .reg .b32 n;
    mov.u32 n, 0;
  LAB:
    add.u32 n, n, 1;
    setp.lt.u32 P1, n, 2;
    @P1 bra LAB;
    add.u32 %r1, %r1, n;
  }
  {
    .reg .pred P1;
    setp.ge.u32 P1, %r0, 0;
    @!P1 bra LAB;
    add.u32 %r1, %r1, 1;
  LAB:
  }
""",
)
lanes(
    "control",
    "lane_spins_on_a_lane_ahead",
    "9.7.12 bra",
    [7] * 32,
    """
  setp.eq.u32 %p1, %r0, 0;
  @%p1 bra WRITER;
WAIT:
  ld.volatile.shared.u32 %r1, [flag];
  setp.ne.u32 %p2, %r1, 7;
  @%p2 bra WAIT;
  bra DONE;
WRITER:
  st.volatile.shared.u32 [flag], 7;
  mov.u32 %r1, 7;
DONE:
""".replace(
        "  setp.eq.u32 %p1", "  st.shared.u32 [flag], 1;\n  bar.warp.sync 0xffffffff;\n  setp.eq.u32 %p1", 1
    ),
    declarations=".shared .align 4 .b32 flag;\n",
)
lanes(
    "control",
    "full_mask_sync_in_a_loop_that_lanes_left",
    "9.7.13 bar.warp.sync",
    [x + 1 for x in L],
    """
  mov.u32 %r1, 0;
LOOP:
  add.u32 %r1, %r1, 1;
  bar.warp.sync 0xffffffff;
  setp.le.u32 %p1, %r1, %r0;
  @%p1 bra LOOP;
  bar.warp.sync 0xffffffff;
""",
)
for name, error, body in (
    ("error_deadlock_named_barrier", "deadlock", "  bar.sync 1, 64;\n"),
    (
        "error_shfl_missing_lane",
        "deadlock",
        "  setp.lt.u32 %p1, %r0, 16;\n  @%p1 bra HALF;\nHALF_WAIT:\n  bar.sync 1, 64;\nHALF:\n  shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xffffffff;\n",
    ),
    ("error_call", "calls are not modelled", "  call.uni helper, ();\n"),
):
    case(
        "control",
        name,
        "4.3 the machine's checks",
        [f"error: {error}", "in d u32 32: fill 0"],
        [("u64", "d")],
        body,
        declarations=".extern .func helper ();\n" if "call" in name else "",
    )

# ---- special registers ----
case(
    "special",
    "thread_and_grid_shape",
    "10 special registers",
    ["out d u32 48: " + " ".join(str(t) for t in range(48))],
    [("u64", "d")],
    """
  mov.u32 %r1, %tid.y;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.y;
  mad.lo.u32 %r5, %r1, %r2, %r0;
  mul.lo.u32 %r6, %r2, %r4;
  mad.lo.u32 %r7, %r3, %r6, %r5;
  mul.wide.u32 %rd0, %r7, 4;
"""
    + LOAD_D
    + "  st.global.u32 [%rd1], %r7;\n",
    launch="grid=3 block=8x2",
)
lanes(
    "special",
    "lane_masks",
    "10 special registers",
    [((1 << x) - 1) ^ (0xFFFFFFFF & ~((1 << x) - 1)) ^ (1 << x) ^ x for x in L],
    """
  mov.u32 %r2, %lanemask_lt;
  mov.u32 %r3, %lanemask_ge;
  mov.u32 %r4, %lanemask_eq;
  mov.u32 %r5, %laneid;
  xor.b32 %r1, %r2, %r3;
  xor.b32 %r1, %r1, %r4;
  xor.b32 %r1, %r1, %r5;
""",
)

# ---- half ----
import struct


def h(value):
    return struct.unpack("<H", struct.pack("<e", value))[0]


def b(value):
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


for op, f in (
    ("add", lambda x, y: x + y),
    ("sub", lambda x, y: x - y),
    ("mul", lambda x, y: x * y),
    ("min", min),
    ("max", max),
):
    for kind, code in (("f16", h), ("bf16", b)):
        xs, ys = [0.5 * x - 4 for x in L], [2.0 if x % 2 else -1.5 for x in L]
        case(
            "half",
            f"{op}_{kind}x2",
            f"9.7.4 {op}",
            [
                "in a u32 32: " + show([code(x) | code(y) << 16 for x, y in zip(xs, ys)]),
                "in c u32 32: " + show([code(y) | code(x) << 16 for x, y in zip(xs, ys)]),
                "out d u32 32: " + show([code(f(x, y)) | code(f(y, x)) << 16 for x, y in zip(xs, ys)]),
            ],
            [("u64", "a"), ("u64", "c"), ("u64", "d")],
            f"""
  ld.param.u64 %rd2, [a];
  ld.param.u64 %rd3, [c];
  add.s64 %rd2, %rd2, %rd0;
  add.s64 %rd3, %rd3, %rd0;
  ld.global.u32 %r2, [%rd2];
  ld.global.u32 %r3, [%rd3];
  {op}.{kind}x2 %r1, %r2, %r3;
"""
            + LOAD_D
            + "  st.global.u32 [%rd1], %r1;\n",
        )
for kind, code in (("f16", h), ("bf16", b)):
    lanes(
        "half",
        f"fma_{kind}x2",
        "9.7.4 fma",
        [code(3.0 * 2.0 + 1.0) | code(-1.0 * 0.5 + 4.0) << 16] * 32,
        f"""
  mov.b32 %r2, {hex(code(3.0) | code(-1.0) << 16)};
  mov.b32 %r3, {hex(code(2.0) | code(0.5) << 16)};
  mov.b32 %r4, {hex(code(1.0) | code(4.0) << 16)};
  fma.rn.{kind}x2 %r1, %r2, %r3, %r4;
""",
    )
