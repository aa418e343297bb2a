#!/usr/bin/env python3
# Asks ptxas and the emulator about every statement of forms.py, for each target: both must take it or both refuse it. What the
# emulator refuses by name all the same is listed here, each with its reason.
# Usage: compare_forms.py --emulator=emu_tests [--ptxas=PTXAS] [--show=20]
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from forms import statements

TARGETS = ["sm_90a", "sm_120a", "sm_121a", "sm_120f"]
BATCH = 400
SCOPE = (
    "{ .reg .pred %p<2>; .reg .b8 %c<2>; .reg .b16 %h<10>; .reg .b32 %r<80>; .reg .b64 %d<70>; .reg .b128 %q<1>; "
    ".shared .align 128 .b8 sm[128];"
)
# What ptxas takes and the emulator does not.
REFUSED = [
    (r"im2col", "maps of the machine are tiled"),
    (r"^st\.async(?!.*mbarrier::)", "asynchronous stores without an mbarrier"),
    (
        r"^mma\.sp.*m16n8k32.*f16\.b?f16.*, [23];$",
        "two pairs of lanes can hold the metadata: selectors 0 and 1",
    ),
    (r"^tensormap\.replace\.tile\.global_stride.*, 4, ", "a map has four strides"),
]


def ptxas_takes(ptxas, lines, target):
    """A boolean for each line. ptxas names the lines of all its errors; the rest is asked again until there is none."""
    taken = [True] * len(lines)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "forms.ptx"
        for start in range(0, len(lines), BATCH):
            part = range(start, min(start + BATCH, len(lines)))
            while True:
                text, at = [".version 9.0", f".target {target}", ".address_size 64"], {}
                for k in part:
                    if taken[k]:
                        text += [f".visible .entry k{k}() {SCOPE}", lines[k], "ret; }"]
                        at[len(text) - 1] = k
                source.write_text("\n".join(text) + "\n")
                command = [ptxas, f"-arch={target}", "-O0", "-o", str(Path(folder) / "out"), str(source)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode == 0:
                    break
                errors = re.findall(r"line (\d+)[;,]\s*(?:error|fatal|Parsing error)", done.stderr)
                refused = {at[int(number)] for number in errors if int(number) in at}
                if not refused:
                    sys.exit(f"{target}: ptxas fails without naming a statement:\n{done.stderr[:2000]}")
                for k in refused:
                    taken[k] = False
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
    lines = statements()
    used, wrong = set(), []
    for target in TARGETS:
        theirs, ours = (
            ptxas_takes(options.ptxas, lines, target),
            emulator_takes(options.emulator, lines, target),
        )
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
