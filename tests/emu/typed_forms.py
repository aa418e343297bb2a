# Statements in which each register in turn is declared with another type: an .f32 register in an add.s32, say.
import itertools
import re

from scalar_forms import KIND, PLAIN, at, operand_forms, say, width

# What a register can be declared as beside .b8 to .b64, by width; one is called %f32_5.
DECLARED = {
    8: ["u8", "s8"],
    16: ["u16", "s16", "f16"],
    32: ["u32", "s32", "f32", "f16x2"],
    64: ["u64", "s64", "f64"],
}
MIXED_SET = itertools.product(
    ("u32", "f16", "bf16", "u16", "f32"), ("s16", "b32", "f32", "f16", "bf16", "f64")
)
ATOMS = ["add.u32", "add.f32", "add.f64", "add.noftz.f16", "add.noftz.f16x2", "add.noftz.bf16x2"]
ATOMS += ["min.s64", "exch.b32", "inc.u32", "or.b64"]
OTHERS = """
cvt.rn.f16.f32 %h0, %r1;
cvt.rn.f16.f32 %r0, %r1;
cvt.rn.bf16.f32 %h0, %r1;
cvt.rzi.u8.f16 %c0, %h1;
cvt.rn.f16x2.f32 %r0, %r1, %r2;
cvt.rn.bf16x2.f32 %r0, %r1, %r2;
cvt.rna.tf32.f32 %r0, %r1;
cvt.rn.satfinite.e4m3x2.f32 %h0, %r1, %r2;
cvt.rn.f16x2.e4m3x2 %r0, %h1;
cvt.rp.ue8m0x2.bf16x2 %h0, %r1;
cvt.rn.bf16x2.ue8m0x2 %r0, %h1;
add.f32.f16 %r0, %h1, %r2;
add.f32.bf16 %r0, %h1, %r2;
fma.rn.f32.f16 %r0, %h1, %h2, %r3;
fma.rn.f32.bf16 %r0, %h1, %h2, %r3;
set.lt.f16x2.f16x2 %r0, %r1, %r2;
set.lt.u32.f16x2 %r0, %r1, %r2;
set.lt.bf16x2.bf16x2 %r0, %r1, %r2;
set.lt.u32.bf16x2 %r0, %r1, %r2;
vset.s32.u32.lt.min %r0, %r1, %r2, %r3;
vset2.u32.u32.eq %r0, %r1, %r2, %r3;
mov.b64 %d0, {%r0, %r1};
mov.b64 {%r0, %r1}, %d0;
cvta.to.global.u64 %d0, %d1;
isspacep.shared %p0, %d1;
ld.global.v2.f32 {%r0, %r1}, [%d1];
ld.global.v4.u16 {%h0, %h1, %h2, %h3}, [%d1];
ld.global.L2::cache_hint.f32 %r0, [%d1], %d2;
ld.shared.b32 %r0, [%r1+4];
ld.local.b64 %d0, [%d1];
st.global.v2.f64 [%d1], {%d2, %d3};
prefetch.global.L2 [%d1];
createpolicy.cvt.L2.b64 %d0, %d1;
createpolicy.fractional.L2::evict_last.b64 %d0, %r1;
atom.global.cas.b32 %r0, [%d1], %r2, %r3;
red.shared.add.f32 [%r1], %r2;
shfl.sync.idx.b32 %r0|%p0, %r1, %r2, %r3, %r4;
vote.sync.ballot.b32 %r0, %p0, %r1;
match.any.sync.b32 %r0, %r1, %r2;
match.all.sync.b64 %r0|%p0, %d1, %r2;
activemask.b32 %r0;
redux.sync.add.s32 %r0, %r1, %r2;
redux.sync.and.b32 %r0, %r1, %r2;
elect.sync %r0|%p0, %r2;
bar.sync %r0, %r1;
barrier.red.popc.u32 %r0, %r1, %p0;
bar.warp.sync %r0;
nanosleep.u32 %r0;
mbarrier.init.shared.b64 [%d1], %r0;
mbarrier.arrive.shared.b64 %d0, [%d1];
mbarrier.try_wait.parity.shared.b64 %p0, [%d1], %r0;
cp.async.cg.shared.global [%d1], [%d2], 16, %r1;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%d1], [%d2], %r1, [%d3];
fence.proxy.tensormap::generic.acquire.gpu [%d1], 128;
ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}, [%d1];
wmma.load.a.sync.aligned.row.m16n16k16.global.s8 {%r0, %r1}, [%d1], %r9;
"""


def plain_statements():
    for opcode, widths in operand_forms():
        yield say(opcode, *widths)
    for type in PLAIN:
        to, of = at(width(type), 0), at(width(type), 1)
        yield f"mov.{type} {to}, {of};"
        yield f"st.shared.{type} [%d1], {to};"
        yield f"ld.global.{type} {to}, [%d1];"
        yield f"ldu.global.{type} {to}, [%d1];"
    for bits in (8, 16, 32, 64, 128):  # wider ones, too
        yield f"ld.global.u8 {at(bits, 0)}, [%d1];"
        yield f"ld.global.b16 {at(bits, 0)}, [%d1];"
        yield f"ld.global.f32 {at(bits, 0)}, [%d1];"
        yield f"cvt.rn.f32.s8 {at(bits, 0)}, %r1;"
        for of in (8, 16, 32, 64):
            yield f"cvt.u32.u8 {at(bits, 0)}, {at(of, 1)};"
    for to, of in MIXED_SET:
        yield f"set.lt.{to}.{of} {at(width(to), 0)}, {at(width(of), 1)}, {at(width(of), 2)};"
    for op in ATOMS:
        bits = width(op.rsplit(".", 1)[1])
        yield f"atom.global.{op} {at(bits, 0)}, [%d1], {at(bits, 2)};"
    yield from OTHERS.split("\n")[1:-1]


def statements():
    widths = {letter: bits for bits, letter in KIND.items()}
    out = []
    for statement in plain_statements():
        for match in re.finditer(r"%([chrd])(\d+)", statement):
            for type in DECLARED[widths[match[1]]]:
                name = f"%{type}_{match[2]}"
                out.append(statement[: match.start()] + name + statement[match.end() :])
    return list(dict.fromkeys(out))


if __name__ == "__main__":
    print(len(statements()))
