#!/usr/bin/env python3
# Writes tests/golden/ptxas_isa.txt: spellings of scalar instructions, of memory, control and warp instructions, and the targets
# for which ptxas takes them. The spellings come from the emulator's table, each choice of each row tried, and from the list EXTRA
# below of what the table might lack. Usage: make_ptxas_isa.py DEEPWELL [PTXAS] > tests/golden/ptxas_isa.txt
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = ["sm_90a", "sm_120a", "sm_120f", "sm_121a"]
FAMILIES = """add sub mul mad mul24 mad24 sad div rem abs neg min max popc clz bfind fns brev bfe bfi bmsk szext dp4a dp2a testp
copysign fma rcp sqrt rsqrt sin cos lg2 ex2 tanh set setp selp slct and or xor not cnot lop3 shl shr shf prmt mov cvt cvta isspacep
ld ldu st atom red vote match redux shfl activemask elect bar barrier membar fence nanosleep trap brkpt exit ret pmevent alloca stacksave
stackrestore addc subc madc vadd vsub vmin vmax vabsdiff vset vshl vshr vmad vadd2 vadd4 vsub2 vsub4 vavrg2 vavrg4 vabsdiff2
vabsdiff4 vmin2 vmin4 vmax2 vmax4 vset2 vset4 prefetch prefetchu createpolicy applypriority discard griddepcontrol""".split()
SMALL = re.compile(r"e4m3|e5m2|e2m1|e2m3|e3m2|ue8m0|tf32|\.rs\b|bulk|tensormap")  # others' tests have these
EXTRA = """
add.f32.rn %r1, %r2, %r3
setp.u32.lt %p1, %r2, %r3
mad.s32.lo %r1, %r2, %r3, %r4
mul.u32.lo %r1, %r2, %r3
shf.wrap.l.b32 %r1, %r2, %r3, %r4
cvt.u32.f32.rzi %r1, %r2
cvt.f32.rzi.u32 %r1, %r2
fma.f32 %r1, %r2, %r3, %r4
fma.rn.f16.relu %h1, %h2, %h3, %h4
fma.rn.ftz.relu.f16x2 %r1, %r2, %r3, %r4
fma.rn.oob.relu.bf16x2 %r1, %r2, %r3, %r4
fma.rn.oob.f16 %h1, %h2, %h3, %h4
add.f16.f32 %h1, %h2, %h3
add.rn.f32.f16 %r1, %h2, %r3
sub.rn.f32.bf16 %r1, %h2, %r3
fma.rn.f32.f16 %r1, %h2, %h3, %r4
add.rz.f32x2 %d1, %d2, %d3
min.f32x2 %d1, %d2, %d3
max.f32 %r1, %r2, %r3, %r4
min.NaN.f32 %r1, %r2, %r3, %r4
max.relu.u32 %r1, %r2, %r3
min.s32.relu %r1, %r2, %r3
max.u16x2 %r1, %r2, %r3
add.u8x4 %r1, %r2, %r3
neg.s16x2 %r1, %r2
redux.sync.add.u32 %r1, %r2, %r3
redux.sync.min.f32 %r1, %r2, %r3
redux.sync.max.abs.NaN.f32 %r1, %r2, %r3
redux.sync.add.s64 %d1, %d2, %r3
shfl.idx.b32 %r1, %r2, %r3, %r4
vote.all.pred %p1, %p2
vote.sync.ballot.b32 %r1, %p1, %r2
match.all.sync.b32 %r1|%p1, %r2, %r3
match.sync.all.b32 %r1, %r2, %r3
elect.sync %r1|%p1, %r2
activemask.b32 %r1
tanh.approx.f64 %d1, %d2
ex2.approx.f64 %d1, %d2
ex2.approx.ftz.f16 %h1, %h2
sin.f32 %r1, %r2
div.f32 %r1, %r2, %r3
div.full.ftz.f32 %r1, %r2, %r3
rcp.approx.f64 %d1, %d2
rcp.approx.ftz.f64 %d1, %d2
sqrt.approx.f64 %d1, %d2
rsqrt.approx.f64 %d1, %d2
popc.b16 %r1, %h2
clz.u32 %r1, %r2
brev.b64 %d1, %d2
bfe.u16 %h1, %h2, %r3, %r4
prmt.b32.f4e %r1, %r2, %r3, %r4
lop3.b64 %d1, %d2, %d3, %d4, 3
lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 3, %p2
shl.u32 %r1, %r2, %r3
shr.b32 %r1, %r2, %r3
and.u32 %r1, %r2, %r3
ld.global.b128 %q1, [%d1]
ld.global.v8.f32 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%d1]
ld.global.v4.b64 {%d1, %d2, %d3, %d4}, [%d5]
ld.shared.v8.b32 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%r9]
ld.global.nc.v4.f32 {%r1, %r2, %r3, %r4}, [%d1]
ld.volatile.global.ca.u32 %r1, [%d1]
ld.acquire.gpu.global.u32 %r1, [%d1]
ld.acquire.global.u32 %r1, [%d1]
ld.relaxed.gpu.const.u32 %r1, [%d1]
ld.mmio.relaxed.sys.global.u32 %r1, [%d1]
ld.mmio.global.u32 %r1, [%d1]
ld.f16 %h1, [%d1]
st.const.u32 [%d1], %r1
st.release.cta.shared.u32 [%r1], %r2
st.acquire.gpu.global.u32 [%d1], %r2
st.global.v8.b32 [%d1], {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}
st.nc.global.u32 [%d1], %r2
atom.global.add.s64 %d1, [%d2], %d3
atom.global.add.u64 %d1, [%d2], %d3
atom.global.sub.u32 %r1, [%d2], %r3
atom.global.min.f32 %r1, [%d2], %r3
atom.global.exch.b128 %q1, [%d2], %q3
atom.global.add.f16x2 %r1, [%d2], %r3
atom.global.add.noftz.f16x2 %r1, [%d2], %r3
atom.global.add.v4.f32 {%r1, %r2, %r3, %r4}, [%d2], {%r5, %r6, %r7, %r8}
atom.add.v2.f32 {%r1, %r2}, [%d2], {%r5, %r6}
atom.shared.add.v2.f32 {%r1, %r2}, [%r9], {%r5, %r6}
atom.release.global.add.u32 %r1, [%d2], %r3
atom.global.gpu.add.u32 %r1, [%d2], %r3
red.global.cas.b32 [%d2], %r3, %r4
red.global.inc.u32 [%d2], %r3
red.global.add.noftz.v2.bf16x2 [%d2], {%r3, %r4}
bar.sync 0
bar.sync %r1, %r2
bar.red.popc.u32 %r1, 0, %p1
bar.red.sync.popc.u32 %r1, 0, %p1
bar.arrive 0
bar.arrive 0, 64
bar.warp.sync %r1
barrier.sync.aligned 0
barrier.cta.red.or.aligned.pred %p1, 0, %p2
barrier.cluster.arrive.relaxed
barrier.cluster.arrive.relaxed.aligned
barrier.cluster.wait.acquire
membar.gl
membar.proxy.alias
fence.acq_rel.gpu
fence.sc.cluster
fence.acquire.gpu
fence.acquire.sync_restrict::shared::cluster.cluster
fence.proxy.async
fence.proxy.async.shared::cta
isspacep.shared::cluster %p1, %d1
isspacep.param %p1, %d1
cvta.to.shared.u32 %r1, %r2
cvta.param.u64 %d1, %d2
mov.u32 %r1, %clock
mov.u64 %d1, %clock64
mov.u64 %d1, %globaltimer
mov.u32 %r1, %lanemask_lt
mov.u32 %r1, %pm0
mov.u32 %r1, %envreg3
mov.u32 %r1, %cluster_ctarank
mov.u32 %r1, %aggr_smem_size
mov.u32 %r1, %current_graph_exec
mov.b128 %q1, {%d1, %d2}
mov.b128 {%d1, %d2}, %q1
mov.b16 %h1, {%r1, %r2}
nanosleep.u32 100
nanosleep.u32 %r1
prefetch.global.L2 [%d1]
prefetch.global.L2::evict_last [%d1]
prefetchu.L1 [%d1]
discard.global.L2 [%d1], 128
applypriority.global.L2::evict_normal [%d1], 128
vadd.u32.s32.u32.sat %r1, %r2, %r3
vadd.u32.u32.u32.add %r1, %r2, %r3, %r4
vadd4.u32.u32.u32.sat.add %r1, %r2, %r3, %r4
vset4.u32.u32.lt %r1, %r2, %r3, %r4
vmad.s32.s32.s32.shr15 %r1, %r2, %r3, %r4
mapa.shared::cluster.u32 %r1, %r2, %r3
griddepcontrol.wait
setmaxnreg.inc.sync.aligned.u32 64
tcgen05.wait::ld.sync.aligned
wgmma.fence.sync.aligned
clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 %p1, %q1
txq.width.b32 %r1, [%d1]
istypep.texref %p1, %d1
video.add %r1, %r2
"""


def widths():
    out = {"pred": 1, "b8": 8, "u8": 8, "s8": 8, "f16": 16, "bf16": 16, "tf32": 32}
    for kind in "busf":
        for bits in (16, 32, 64, 128):
            out.setdefault(f"{kind}{bits}", bits)
    for name in ("f16x2", "bf16x2", "u16x2", "s16x2", "u8x4", "s8x4"):
        out[name] = 32
    out["f32x2"] = 64
    return out


WIDTHS = widths()
REGISTER = {1: "p", 8: "h", 16: "h", 32: "r", 64: "d", 128: "q"}


def spellings(pattern, rng):
    items = pattern.split()
    choices = []
    for item in items[1:]:
        if item[0] == ".":
            choices.append([item])
        else:
            inner = item[1:-1].split("|")
            choices.append((["", *inner]) if item[0] == "[" else inner)
    total = 1
    for one in choices:
        total *= len(one)
    if total <= 48:
        picked = list(itertools.product(*choices))
    else:
        base = [one[0] for one in choices]
        picked = [tuple(base)]
        for k, one in enumerate(choices):
            for value in one[1:]:
                picked.append(tuple(base[:k] + [value] + base[k + 1 :]))
        picked += [tuple(rng.choice(one) for one in choices) for _ in range(24)]
    return sorted({items[0] + "".join(one) for one in picked})


def operand(rule, parts, counter):
    role, rest = rule[0], rule[1:]
    if role == "a":
        shared = any(p.startswith("shared") for p in parts)
        counter["a"] += 1
        return "[%r39]" if shared else f"[%d{7 + counter['a'] % 2}]"
    rest = rest.lstrip("#>f")
    vector = 1
    if rest.startswith("v"):
        rest = rest[1:]
        for n in (2, 4, 8):
            vector = n if f"v{n}" in parts else vector
    elif "x" in rest and rest.split("x")[0].isdigit():
        vector = int(rest.split("x")[0])
        rest = rest.split("x", 1)[1]
    rest = rest.lstrip(">")
    pair = rest.endswith("|1")
    rest = rest.split("|")[0]
    types = [WIDTHS[p] for p in parts[1:] if p in WIDTHS]
    if rest in "TUW" and types:
        bits = types[-1] if rest == "T" else types[-2] if rest == "U" and len(types) > 1 else 2 * types[-1]
    elif rest == "*" or rest in "TUW":
        bits = 32
    else:
        bits = int(rest)
    kind = REGISTER[bits]

    def one():
        counter[kind] = counter.get(kind, 0) + 1
        return f"%{kind}{counter[kind]}"

    if vector > 1:
        return "{" + ", ".join(one() for _ in range(vector)) + "}"
    return one() + ("|%p8" if pair and parts[0] in ("elect", "lop3", "match") else "")


def statements(rows):
    rng = random.Random(5)
    out = []
    for row in rows:
        base = row["instruction"].split()[0]
        rules = [r.strip() for r in row["operands"].split(",") if r.strip()]
        if base not in FAMILIES or any(r.lstrip("?")[0] in "xlnc" for r in rules):
            continue
        for opcode in spellings(row["instruction"], rng):
            if SMALL.search(opcode) or re.search(r"(\.\w+)\1", opcode):  # written twice: ptxas does not mind
                continue
            counter = {"a": 0}
            parts = opcode.split(".")
            optional = False
            operands = []
            for rule in rules:
                optional = optional or rule[0] == "?"
                if optional and not ("cache_hint" in opcode and rule.lstrip("?") == "s64"):
                    continue
                operands.append(operand(rule.lstrip("?"), parts, counter))
            out.append((opcode + " " + ", ".join(operands)).strip())
    out += [line for line in EXTRA.strip().splitlines()]
    return sorted(set(out))


def module(target, lines):
    head = (
        f".version 9.0\n.target {target}\n.address_size 64\n.visible .entry k(.param .u64 p) {{\n"
        ".reg .pred %p<10>; .reg .b16 %h<10>; .reg .b32 %r<40>; .reg .b64 %d<10>; .reg .b128 %q<6>;\n"
    )
    return head + "".join(line + ";\n" for line in lines) + "ret;\n}\n"


def accepted(ptxas, target, lines):
    """Lines that ptxas takes: what it complains about is taken out until it is content."""
    lines = list(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ptx"
        for _ in range(400):
            path.write_text(module(target, lines))
            done = subprocess.run(
                [ptxas, f"-arch={target}", "-O0", "-o", "/dev/null", str(path)],
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return set(lines)
            if done.returncode < 0:  # it crashed
                half = len(lines) // 2
                if half == 0:
                    return set()
                return accepted(ptxas, target, lines[:half]) | accepted(ptxas, target, lines[half:])
            bad = {int(n) - 6 for n in re.findall(r"line (\d+); (?:error|fatal)", done.stderr)}
            bad |= {int(n) - 6 for n in re.findall(r"32-bit address on line '(\d+)'", done.stderr)}
            bad = {n for n in bad if 0 <= n < len(lines)}
            if not bad and (found := re.search(r"'(\w+)' ignored", done.stderr)):  # said without a line
                bad = {n for n, line in enumerate(lines) if line.startswith(found.group(1))}
            if not bad:
                raise SystemExit(f"{target}: {done.returncode} {done.stdout} {done.stderr[:400]}")
            lines = [line for n, line in enumerate(lines) if n not in bad]
    raise SystemExit(f"{target}: ptxas is never content")


def main():
    deepwell = sys.argv[1]
    ptxas = sys.argv[2] if len(sys.argv) > 2 else "ptxas"
    rows = [
        json.loads(line)
        for line in subprocess.check_output([deepwell, "isa", "--json"], text=True).splitlines()
    ]
    lines = statements(rows)
    takes = {target: accepted(ptxas, target, lines) for target in TARGETS}
    print(
        f"# For which of {' '.join(TARGETS)} ptxas 13.0 takes the instruction; - where for none. Made by make_ptxas_isa.py."
    )
    for line in lines:
        print(f"{line} : {' '.join(t for t in TARGETS if line in takes[t]) or '-'}")


if __name__ == "__main__":
    main()
