"""Writes docs/third_party.md: what ran, kernel by kernel, what was found, and what did not run."""

import json
import re
from collections import defaultdict

import build
import ptx
from findings import FINDINGS
from host_units import HOST_UNITS
from not_run import reason_of
from units import FLASHINFER, UNITS

DOC = build.ROOT / "docs" / "third_party.md"
HEAD = """# Third parties' kernels

Kernels that others wrote for SM 12.x, in the emulator: {package} from PyPI, its CUDA files compiled to PTX outside of the tree (nothing of it is part of this one), run with every checker on, compared with references that `tests/third_party` computes in double precision from what a kernel is documented to do. Written by `tools/third_party.py`; {date}.

```
tools/third_party.py fetch       # into build/third_party
tools/third_party.py compile     # about an hour and a half on one core, most of it for section C
PYTHONPATH=build/release/python tools/third_party.py run
```

{cases} cases (a kernel, its data, a shape): {right} right, {finding} end with a report that is right ([findings](#findings)), {bad} wrong or reported wrongly. Of {entries} kernels in {units} files {ran} ran; [the others](#what-did-not-run) are listed with the reason. Each case runs under up to {seeds} seeds, fewer where one takes long. *Worst* is the largest error as a part of its bound ([bounds](#bounds)); *repairs* counts instructions that were added to a kernel because a checker is right about it, so that the rest can be judged: a fence behind `mbarrier.init`, a `__syncwarp`.

Seconds are of one emulated run of all launches of the case that took longest, on one core.
"""


def short(name):
    """A readable name without return type, parameters and namespaces."""
    depth, end = 0, len(name)
    for at, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and not name.startswith("(anonymous", at) and at > 0:
            end = at
            break
    name = re.sub(r"^void ", "", name[:end]).replace("(anonymous namespace)::", "")
    name = re.sub(r"\b(?:[A-Za-z_]\w*::)+", "", name)
    name = re.sub(r"\((?:int|bool|unsigned int|unsigned long)\)", "", name)
    return name if len(name) <= 120 else name[:119] + "…"


def kernels_of(results):
    """{(unit, readable entry): cases that launched it}."""
    out = defaultdict(list)
    for outcome in results.values():
        for unit, entry, *launch in outcome["launches"]:
            out[unit, entry].append((launch, outcome))
    return out


def verdict(uses):
    kinds = [outcome["result"] for _, outcome in uses]
    last = [
        outcome
        for launch, outcome in uses
        if outcome["result"] != "right" and outcome["launches"][-1][2:] == launch
    ]
    words = []
    if "right" in kinds:
        words.append("right")
    for kind in ("finding", "report", "wrong"):
        if any(outcome["result"] == kind for outcome in last):
            words.append(kind)
    return ", ".join(words) or "finding"


def shape(size):
    size = size if isinstance(size, (list, tuple)) else [size]
    return "x".join(str(n) for n in size)


def kernel_rows(results):
    files = {
        unit.name: unit.source.rsplit("/", 1)[-1] if unit.source else f"host code of {unit.name}"
        for unit in UNITS + HOST_UNITS
    }
    rows = []
    for (unit, entry), uses in sorted(kernels_of(results).items()):
        launch, _ = max(uses, key=lambda use: use[1]["seconds"])
        lines, grid, block, shared, _ = launch
        outcomes = [outcome for _, outcome in uses]
        repairs = {launch[4] for launch, outcome in uses if outcome["result"] == "right"}
        rows.append(
            f"| {files[unit]} | `{short(entry)}` | {lines} | {shape(grid)} · {shape(block)}, {shared} | {len({o['name'] for o in outcomes})} | "
            f"{max(o['seeds'] for o in outcomes)} | {verdict(uses)} | {max(o['worst'] for o in outcomes):.2f} | "
            f"{max(o['seconds'] / max(1, o['seeds']) for o in outcomes):.2f} | {max(repairs, default=0) or ''} |"
        )
    return rows


def findings_text(results):
    out = []
    for pattern, words, why in FINDINGS:
        hits = sorted(
            o["name"] for o in results.values() if o["result"] == "finding" and re.search(pattern, o["name"])
        )
        if not hits:
            continue
        sample = next(o for o in results.values() if o["name"] == hits[0])
        detail = re.sub(
            r"_Z\w+",
            lambda match: match.group()[:24] + "…" if len(match.group()) > 24 else match.group(),
            sample["detail"],
        )
        shown = ", ".join(f"`{name}`" for name in hits[:3]) + (
            f" and {len(hits) - 3} more" if len(hits) > 3 else ""
        )
        out.append(
            f"- {why}\n\n  Cases: {shown}. The report of the first:\n\n  ```\n"
            + "\n".join("  " + line[:400] for line in detail.strip().splitlines()[:8])
            + "\n  ```\n"
        )
    return "\n".join(out)


def template(name):
    return short(name).split("<")[0].split("…")[0]


def not_run_text(results):
    """Rows (unit, template, how many of its instantiations ran, why not all), number of kernels, of files."""
    ran, lines, entries, files = set(kernels_of(results)), [], 0, 0
    for unit in UNITS + HOST_UNITS:
        path = build.ptx_of(unit.name, "sm_120a")
        if not path.exists():
            lines.append(f"| {unit.name} | all | 0 | {reason_of(unit.name, '') or 'not compiled'} |")
            continue
        files += 1
        groups = defaultdict(set)
        for name in ptx.load(path).readable.values():
            groups[template(name)].add(name)
        for kernel, names in sorted(groups.items()):
            entries += len(names)
            done = [name for name in names if (unit.name, name) in ran]
            if len(done) == len(names):
                continue
            missing = next(name for name in sorted(names) if name not in done)
            why = reason_of(unit.name, missing) or ("other instantiations ran" if done else "no case")
            lines.append(f"| {unit.name} | `{kernel}` | {len(done)} of {len(names)} | {why} |")
    return lines, entries, files


def bounds(results):
    families = defaultdict(set)
    for outcome in results.values():
        if outcome["bound"]:
            families[outcome["name"].split("-")[0]].update(outcome["bound"].split("; "))
    return [f"| `{name}` | {'; '.join(sorted(texts))} |" for name, texts in sorted(families.items())]


def other_targets_text():
    """A paragraph for each other target that was run."""
    out = []
    for path in sorted(build.BUILD.glob("results.sm_*.json")):
        outcomes = json.loads(path.read_text()).values()
        kinds = [outcome["result"] for outcome in outcomes]
        bad = len(kinds) - sum(kinds.count(kind) for kind in ("right", "finding", "not compiled"))
        out.append(
            f"On {path.stem.removeprefix('results.')}, compiled for it (`--target`), {max(o['date'] for o in outcomes)}: "
            f"{kinds.count('right')} right, {kinds.count('finding')} with the findings below, {bad} wrong or reported wrongly; "
            f"{kinds.count('not compiled')} cases of units that were not compiled for it: those that need host code, and the "
            f"largest files.\n"
        )
    return out


def write(results):
    kinds = [outcome["result"] for outcome in results.values()]
    missing, entries, files = not_run_text(results)
    ran = len(kernels_of(results))
    bad = [outcome for outcome in results.values() if outcome["result"] not in ("right", "finding")]
    text = [
        HEAD.format(
            package=FLASHINFER,
            date=max(o["date"] for o in results.values()),
            cases=len(kinds),
            right=kinds.count("right"),
            finding=kinds.count("finding"),
            bad=len(bad),
            entries=entries,
            units=files,
            ran=ran,
            seeds=max(o["seeds"] for o in results.values()),
        )
    ]
    text += other_targets_text()
    if bad:
        text += (
            ["## Not right\n"]
            + [f"- `{o['name']}`: {o['result']}: {o['detail'].splitlines()[0][:300]}" for o in bad]
            + [""]
        )
    text += [
        "## Findings\n",
        findings_text(results),
        "## Kernels\n",
        "| file | kernel | PTX lines | grid · block, shared bytes | cases | seeds | result | worst | seconds | repairs |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *kernel_rows(results),
        "",
        "## What did not run\n",
        "| unit | kernel | ran | why not all |",
        "|---|---|---|---|",
        *missing,
        "",
        "## Bounds\n",
        "| cases | what is compared, and how near |",
        "|---|---|",
        *bounds(results),
        "",
    ]
    DOC.write_text("\n".join(text))
