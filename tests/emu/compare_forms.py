#!/usr/bin/env python3
# Asks ptxas and the emulator about every statement of forms.py, scalar_forms.py and typed_forms.py, for each target: both must take it
# or both refuse it. What the emulator refuses by name all the same is listed here, each with its reason.
# Usage: compare_forms.py --emulator=emu_tests [--ptxas=PTXAS] [--show=20]
import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forms
import scalar_forms
import typed_forms

TARGETS = ["sm_90a", "sm_120a", "sm_121a", "sm_120f"]
BATCH = 400
NAMED = r"forms\.ptx, line (\d+)[;,]\s*(?:error|fatal|Parsing error)"  # not in its macros
NARROW = r"32-bit address on line '(\d+)'"  # a warning, but then it gives up
SCOPE = (
    "{ .reg .pred %p<2>; .reg .b8 %c<2>; .reg .b16 %h<10>; .reg .b32 %r<80>; .reg .b64 %d<70>; .reg .b128 %q<1>; "
    ".shared .align 128 .b8 sm[128];"
)
for bits, types in typed_forms.DECLARED.items():
    count = {8: 2, 16: 10, 32: 80, 64: 70}[bits]
    SCOPE += "".join(f" .reg .{type} %{type}_<{count}>;" for type in types)
# What ptxas takes and the emulator does not.
REFUSED = [
    (r"im2col", "maps of the machine are tiled"),
    (r"^st\.async(?!.*mbarrier::)", "asynchronous stores without an mbarrier"),
    (
        r"^mma\.sp.*m16n8k32.*f16\.b?f16.*, [23];$",
        "two pairs of lanes can hold the metadata: selectors 0 and 1",
    ),
    (r"^tensormap\.replace\.tile\.global_stride.*, 4, ", "a map has four strides"),
    (r"^(add|sub|mad)c\S*(16|\.sat\.s32) ", "carries of forms that the manual does not have"),
    (r"^fma\.r[zmp](\.relu)?\.bf16", "roundings of bf16 that the manual does not have"),
    (r"^rcp\.r.\.ftz\.f64", "the manual has .ftz for f64 in rcp.approx alone"),
    (r"^cvt\.b?f16\.b?f16 ", "the manual asks for a rounding"),
    (r"^cvt.* %clock64", "only mov reads clocks"),
    (r"^isspacep\.const", "constant memory is part of global memory"),
    (r"^mov\.b128 .*%tid;", "a special register as a vector"),
    (r"%[hrdp]\d\+1[,;]", "an offset after a register outside of an address"),
    (r"\[%h\d\]", "addresses of 16 bits"),
    (r"^st.*\.v8\.b16 ", "8 narrow elements"),
    (r"^st\.global\.v2\.\w+ \[%d1\], {(0f|0d|-?1,|%tid)", "numbers of another type in a vector"),
    (r"^max\.bf16x2.*{", "vectors where a register belongs"),
]


def ptxas_takes(ptxas, lines, target):
    """A boolean for each line. ptxas names the lines of all its errors; the rest is asked again until there is none."""
    taken = [True] * len(lines)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "forms.ptx"
        command = [ptxas, f"-arch={target}", "-O0", "-o", str(Path(folder) / "out"), str(source)]
        parts = [range(k, min(k + BATCH, len(lines))) for k in range(0, len(lines), BATCH)]
        while parts:
            part = parts.pop()
            text, at = [".version 9.0", f".target {target}", ".address_size 64"], {}
            text.append(f".visible .entry k() {SCOPE}")
            for k in part:
                if taken[k]:
                    text.append(lines[k])
                    at[len(text)] = k
            source.write_text("\n".join([*text, "ret; }"]) + "\n")
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                continue
            numbers = re.findall(NAMED, done.stderr) or re.findall(NARROW, done.stderr)
            refused = {at[int(number)] for number in numbers if int(number) in at}
            for k in refused:
                taken[k] = False
            if refused:
                parts.append(part)
            elif len(part) > 1:  # it crashed, or gave up without a line
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                taken[part[0]] = False
    return taken


def emulator_takes(emulator, lines, target):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        command = [emulator, f"--parse={file.name}", f"--target={target}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    if len(answers) != len(lines):
        sys.exit(f"{emulator} answered {len(answers)} of {len(lines)} statements")
    return [answer == "ok" for answer in answers]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ptxas", default="ptxas")
    arguments.add_argument("--emulator", required=True)
    arguments.add_argument("--show", type=int, default=20)
    options = arguments.parse_args()
    lines = list(
        dict.fromkeys(forms.statements() + scalar_forms.statements() + typed_forms.statements())
    )
    used, wrong = set(), []
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda target: ptxas_takes(options.ptxas, lines, target), TARGETS))
    for target, theirs in zip(TARGETS, answers):
        ours = emulator_takes(options.emulator, lines, target)
        print(f"{target}: ptxas takes {sum(theirs)} of {len(lines)} statements, the emulator {sum(ours)}")
        for line, their, our in zip(lines, theirs, ours):
            if their == our:
                continue
            reason = [k for k, (pattern, _) in enumerate(REFUSED) if re.search(pattern, line)]
            if their and reason:
                used.update(reason)
            else:
                wrong.append(f"{target}: only {'ptxas' if their else 'the emulator'} takes {line}")
    wrong += [f"no statement differs for: {why}" for k, (_, why) in enumerate(REFUSED) if k not in used]
    print("\n".join(wrong[: options.show] + [f"{len(wrong)} differences"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
