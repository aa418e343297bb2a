#!/usr/bin/env python3
"""Makes tests/golden/hopper_alu.txt (what an H200 gives for random inputs of every arithmetic instruction that ptxas takes)
and tests/golden/ptxas_refuses.txt (spellings that match the emulator's table but that ptxas takes for no target).

  make_hopper_alu.py list ACCEPTED REFUSED           expands the table's rows and asks ptxas (sm_90a, and sm_120a)
  emu_tests --device=cuda --list=ACCEPTED --measure=RESULTS --seeds=32        on the GPU
  make_hopper_alu.py hash RESULTS > hopper_alu.txt   a line an instruction: opcode, types, FNV-1a of all results

Instructions whose result the manual leaves open (.approx, .full) are left out of the hashes.
"""

import itertools
import re
import subprocess
import sys
from pathlib import Path

ROWS = Path(__file__).parents[2] / "src/emu/instr"
FAMILIES = ["alu_integer", "alu_float", "alu_half", "alu_bits", "alu_compare", "alu_convert", "convert"]
TYPE = re.compile(
    r"([usb])(8|16|32|64)(x2|x4)?|f(16|32|64)(x2)?|bf16(x2)?|tf32|(?:e4m3|e5m2|ue8m0|e2m3|e3m2)x2|e2m1x2"
)


def width(name):
    if not TYPE.fullmatch(name):
        return None
    if name == "tf32" or name in ("bf16x2", "f16x2", "u16x2", "s16x2"):
        return 32
    if name == "f32x2":
        return 64
    if name == "bf16" or re.fullmatch(r"(e4m3|e5m2|ue8m0|e2m3|e3m2)x2", name):
        return 16
    return 8 if name == "e2m1x2" else int(re.sub(r"\D", "", name))


def table():
    for family in FAMILIES:
        text = (ROWS / f"{family}.cpp").read_text()
        macros = dict(re.findall(r'#define (DW_\w+) ("(?:[^"\\]|\\.)*")\s*$', text, re.M))
        text = re.sub(r"//.*", "", text)
        named = re.findall(r'\.pattern\s*=\s*((?:"[^"]*"|DW_\w+|\s)+),\s*\.operands\s*=\s*"([^"]*)"', text)
        for pattern, operands in named + re.findall(r'row\(((?:"[^"]*"|DW_\w+|\s)+),\s*"([^"]*)"', text):
            yield "".join(macros.get(t, t)[1:-1] for t in re.findall(r'"[^"]*"|DW_\w+', pattern)), operands


def spellings(pattern):
    items = pattern.split()
    choices = [[""] + i[1:-1].split("|") if i[0] == "[" else i.strip("()").split("|") for i in items[1:]]
    for chosen in itertools.product(*choices):
        yield items[0] + "".join(chosen)


def operand_types(opcode, operands):
    """One of p, b8, b16, b32, b64 an operand; nothing where an operand is neither a register nor as wide as a type."""
    known = [width(m) for m in opcode.split(".")[1:] if width(m)]
    out = []
    for operand in re.split(r",\s*", operands):
        if operand.startswith("?"):
            break
        found = re.fullmatch(r"[ds]>?(T|U|W|\d+)", operand.split("|")[0])
        if not found or (found[1] in "TW" and not known) or (found[1] == "U" and len(known) < 2):
            return None
        bits = {"T": lambda: known[-1], "U": lambda: known[-2], "W": lambda: 2 * known[-1]}.get(
            found[1], lambda: int(found[1])
        )()
        out.append("p" if bits == 1 else f"b{bits}")
    return out


def candidates():
    out = {}
    for pattern, operands in table():
        if ".cc" in pattern or re.match(r"addc|subc|madc|lop3", pattern):
            continue  # the carry of another instruction, an immediate operand: cases of their own
        for opcode in spellings(pattern):
            twice = any(opcode.count(m) > 1 for m in (".relu", ".satfinite"))
            combines = opcode.startswith("set") and re.search(r"\.(and|or|xor)\b", opcode)
            types = operand_types(opcode, operands)
            if types and not twice and not combines:
                out.setdefault(opcode, types)
    return [f"{opcode} {' '.join(types)}" for opcode, types in out.items()]


def accepted(lines, target, ptxas="ptxas"):
    """The lines that ptxas assembles, asked by the hundred: it names the lines of all its errors."""
    good = []
    for start in range(0, len(lines), 200):
        part = lines[start : start + 200]
        text, at = [".version 8.8", f".target {target}", ".address_size 64"], {}
        for k, line in enumerate(part):
            opcode, *types = line.split()
            registers = " ".join(f".reg .{'pred' if t == 'p' else t} %x{n};" for n, t in enumerate(types))
            text += [
                f".visible .entry k{k}() {{ {registers}",
                f"{opcode} {', '.join(f'%x{n}' for n in range(len(types)))};",
                "ret; }",
            ]
            at[len(text) - 1] = k
        bad = set()
        while True:
            source = "\n".join("" if at.get(n + 1) in bad else line for n, line in enumerate(text)) + "\n"
            path = Path("/tmp/deepwell_spellings.ptx")
            path.write_text(source)
            done = subprocess.run(
                [ptxas, f"-arch={target}", "-o", "/dev/null", str(path)], capture_output=True, text=True
            )
            if done.returncode == 0:
                break
            new = {at[int(n)] for n in re.findall(r"line (\d+)[;,]", done.stderr) if int(n) in at} - bad
            if not new:
                sys.exit(done.stderr)
            bad |= new
        good += [line for k, line in enumerate(part) if k not in bad]
    return good


def results(path):
    data, at = path.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        sized = data.index(b"\n", end + 1)
        line, size = data[at:end].decode(), data[end + 1 : sized].decode()
        at = sized + 1
        if size.startswith("-1"):
            sys.exit(f"{line}: {size}")
        yield line, data[at : at + int(size)]
        at += int(size)


def fnv(data):
    out = 0xCBF29CE484222325
    for byte in data:
        out = ((out ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return out


def main():
    if sys.argv[1] == "list":
        lines = candidates()
        hopper = accepted(lines, "sm_90a")
        taken = set(hopper) | set(accepted(lines, "sm_120a"))
        Path(sys.argv[2]).write_text("\n".join(hopper) + "\n")
        Path(sys.argv[3]).write_text("\n".join(line for line in lines if line not in taken) + "\n")
    else:
        for line, data in results(Path(sys.argv[2])):
            if not re.search(r"\.(approx|full)\b", line):
                print(f"{line} {fnv(data):016x}")


if __name__ == "__main__":
    main()
