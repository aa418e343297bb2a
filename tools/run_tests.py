"""Runs all tests of a build folder through ctest and counts the cases inside the test programs.

ctest counts programs; most of ours hold many cases. A program that ran no case, and a case that was skipped, count as
failures: neither has shown anything. ctest's closing summary is printed last.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SUMMARY = re.compile(r"^\d+% tests passed")


def count_cases(folder):
    """Cases that ran, and what is wrong, from the googletest reports (JSON) in `folder`."""
    total, problems = 0, []
    for report in sorted(folder.glob("*.json")):
        try:
            data = json.loads(report.read_text())
        except ValueError:
            problems.append(f"{report.stem}: its report is cut short (the program died?)")
            continue
        ran = 0
        for suite in data.get("testsuites", []):
            for case in suite.get("testsuite", []):
                name = f"{suite['name']}.{case['name']}"
                if case.get("result") == "SKIPPED":
                    problems.append(f"{report.stem}: {name} was skipped")
                elif case.get("status") == "RUN":
                    ran += 1
        if ran == 0:
            problems.append(f"{report.stem}: ran no case")
        total += ran
    return total, problems


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, help="the build folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--filter", default="", help="only ctest tests whose name matches")
    options = parser.parse_args(arguments)

    reports = options.build.resolve() / "test-reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    command = ["ctest", "--test-dir", str(options.build), "--output-on-failure", "--no-tests=error",
               "-j", str(options.jobs)]
    if options.filter:
        command += ["-R", options.filter]
    environment = dict(os.environ, GTEST_OUTPUT=f"json:{reports}/")

    closing = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=environment) as ctest:
        for line in ctest.stdout:
            if closing or SUMMARY.match(line):
                closing.append(line)
            else:
                print(line, end="", flush=True)
    failed = ctest.returncode != 0

    total, problems = count_cases(reports)
    for problem in problems:
        print(f"run_tests: {problem}", flush=True)
    print(f"run_tests: {total} cases ran in {len(list(reports.glob('*.json')))} test programs\n", flush=True)
    print("".join(closing), end="", flush=True)
    if problems and not failed:
        print(f"run_tests: {len(problems)} problems, listed above the summary", file=sys.stderr)
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
