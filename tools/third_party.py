"""Third parties' SM 12.x kernels in the emulator: fetches them, compiles them to PTX, runs them against references.

    PYTHONPATH=build/release/python python3 tools/third_party.py fetch | compile [PATTERN] | run [PATTERN] | table

`run` keeps its results in build/third_party/results.json; without a pattern it ends with `table`, which writes
docs/third_party.md. The exit code is 1 where an answer is wrong, a checker reports what tests/third_party/findings.py
does not explain, or a unit does not compile.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import json
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "third_party"))
MODULES = "small cache mix page topk decode prefill nvfp4 cake gemm h3 h3_attn".split()


def load_cases():
    import importlib

    import harness

    for name in MODULES:
        importlib.import_module(f"cases_{name}")
    return harness


def run_one(name, seeds, budget, target):
    harness = load_cases()
    (case,) = [one for one in harness.CASES if one.name == name]
    try:
        return dataclasses.asdict(harness.run_case(case, seeds, budget, target))
    except FileNotFoundError as error:
        return dataclasses.asdict(harness.Outcome(name, case.section, result="not compiled", detail=str(error)))
    except Exception:
        return dataclasses.asdict(
            harness.Outcome(name, case.section, result="broken", detail=traceback.format_exc()[-600:])
        )


def run(args):
    import build
    import report

    names = [one.name for one in load_cases().selected(args.pattern)]
    path = build.results_of(args.target)
    results = json.loads(path.read_text()) if path.exists() else {}
    fine = ("right", "finding") if args.target == build.MAIN_TARGET else ("right", "finding", "not compiled")
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        pending = {pool.submit(run_one, name, args.seeds, args.budget, args.target): name for name in names}
        for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
            outcome = future.result()
            results[outcome["name"]] = outcome | {"date": str(datetime.date.today())}
            if outcome["result"] not in fine:
                print(f"{outcome['name']}: {outcome['result']}: {outcome['detail'][:600]}", flush=True)
            if done % 50 == 0:
                print(f"{done} of {len(names)}", flush=True)
    path.write_text(json.dumps(results, indent=0))
    mine = [results[name]["result"] for name in names]
    print(", ".join(f"{mine.count(kind)} {kind}" for kind in sorted(set(mine))) or "no such case")
    if not args.pattern and args.target == build.MAIN_TARGET:
        report.write(results)
    return any(kind not in fine for kind in mine) or not mine


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("fetch", "compile", "run", "table"))
    parser.add_argument(
        "pattern", nargs="?", default="", help="of units (compile) or cases (run), a regular expression"
    )
    parser.add_argument("--seeds", type=int, default=4, help="schedules for each case")
    parser.add_argument(
        "--budget", type=float, default=30, help="seconds after which a case gets no further seed"
    )
    parser.add_argument(
        "--target", default="sm_120a", help="sm_120a, or another one, for which units with host code are left out"
    )
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    args = parser.parse_args()
    if args.command == "run":
        return run(args)
    import build

    if args.command == "fetch":
        build.fetch()
        return 0
    if args.command == "compile":
        build.fetch()
        return build.compile_all(args.pattern, args.target) > 0
    import report

    report.write(json.loads(build.results_of(build.MAIN_TARGET).read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
