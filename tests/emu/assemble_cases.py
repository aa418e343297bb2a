#!/usr/bin/env python3
# Assembles every instruction case with ptxas for each target it lists, so that no case expects results of a program that
# is not valid PTX. A case with `// ptxas: refuses` must not assemble; one that expects another error may do either. Of a
# planted bug both programs must assemble.
# Usage: assemble_cases.py [--ptxas=PTXAS] [--cases=FOLDER] [--targets=sm_90a,sm_120a]
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ALL = ["sm_90a", "sm_120a", "sm_121a", "sm_120f"]


def directives(text):
    out = {}
    for line in text.splitlines():
        found = re.match(r"// (isa|targets|error|ptxas): *(.*)", line)
        if found:
            out[found.group(1)] = found.group(2).strip()
    return out


def variants(text):
    """A planted bug's two programs, by name; any other text alone."""
    if not re.search(r"^// bug:", text, re.MULTILINE):
        return {"": text}
    lines = text.splitlines()
    return {
        name: "\n".join("" if line.rstrip().endswith(f"//@ {other}") else line for line in lines)
        for name, other in (("bug", "fixed"), ("fixed", "bug"))
    }


def assemble(ptxas, path, text, target):
    """Nothing where ptxas accepts the text, else its first line."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "case.ptx"
        source.write_text(text.replace("@TARGET@", target))
        done = subprocess.run(
            [ptxas, f"-arch={target}", "-O0", "-o", str(Path(folder) / "case.cubin"), str(source)],
            capture_output=True,
            text=True,
        )
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip().splitlines()[0]


def check(ptxas, path, targets):
    text = path.read_text()
    known = directives(text)
    listed = ALL if known["targets"] == "all" else known["targets"].split()
    wrong = []
    runs = 0
    for target in listed:
        if target not in targets:
            continue
        for variant, program in variants(text).items():
            message = assemble(ptxas, path, program, target)
            runs += 1
            name = f"{path} ({variant})" if variant else path
            if known.get("ptxas") == "refuses":
                if message is None:
                    wrong.append(f"{name} on {target}: assembles, but the case says that ptxas refuses it")
            elif message is not None and "error" not in known:
                wrong.append(f"{name} on {target}: {message}")
    return runs, wrong


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ptxas", default="ptxas")
    arguments.add_argument("--cases", type=Path, default=Path(__file__).parent / "cases")
    arguments.add_argument("--targets", default="sm_90a,sm_120a")
    options = arguments.parse_args()
    paths = sorted(options.cases.rglob("*.ptx"))
    if not paths:
        sys.exit(f"{options.cases}: no cases")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda path: check(options.ptxas, path, options.targets.split(",")), paths))
    wrong = [line for _, lines in results for line in lines]
    print("\n".join(wrong + [f"{sum(runs for runs, _ in results)} assembled, {len(wrong)} wrong"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
