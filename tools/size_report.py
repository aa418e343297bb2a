"""Lists source files and functions that are longer than the guidance in docs/style.md. It informs; it never fails.

A function is found by its opening line at namespace or class scope, so the figures are near, not exact.
"""
import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_layers import SUFFIXES, without_comments_and_strings  # noqa: E402

FILE_LINES = {"kernels/deepwell/kernel": 500, "kernels": 300, "": 400}  # the first prefix that fits
FUNCTION_LINES = {"kernels": 150, "": 60}
FOLDERS = ("src", "plan", "kernels", "include", "tests", "bench", "tools")
NOT_FUNCTIONS = re.compile(r"\b(namespace|class|struct|enum|union|if|for|while|switch|else|do|try|catch|extern)\b")


def limit_of(path, limits):
    return next(limit for prefix, limit in limits.items() if path.startswith(prefix))


def functions_of(text):
    """(name, first line, number of lines) of the outermost functions in C++ text."""
    lines = without_comments_and_strings(text).split("\n")
    depth, start, name, scopes = 0, None, "", []
    head = ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        for char in line:
            if char == "{":
                if start is None:
                    called = re.search(r"([\w:~]+)\s*\([^;]*$", head)
                    if called and not NOT_FUNCTIONS.search(head.split("(")[0]):
                        start, name = number, called.group(1)
                        function_depth = depth
                    else:
                        scopes.append(depth)
                depth += 1
                head = ""
            elif char == "}":
                depth -= 1
                if start is not None and depth == function_depth:
                    yield name, start, number - start + 1
                    start = None
                elif scopes and depth == scopes[-1]:
                    scopes.pop()
                head = ""
            elif char == ";":
                head = ""
            else:
                head += char
        head += " "


def report(root):
    """(kind, place, lines, limit), the longest excess first."""
    rows = []
    for top in FOLDERS:
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SUFFIXES or not file.is_file():
                continue
            path = file.relative_to(root).as_posix()
            text = file.read_text(encoding="utf-8", errors="replace")
            count = text.count("\n")
            if count > limit_of(path, FILE_LINES):
                rows.append(("file", path, count, limit_of(path, FILE_LINES)))
            for name, line, length in functions_of(text):
                if length > limit_of(path, FUNCTION_LINES):
                    rows.append(("function", f"{path}:{line} {name}", length, limit_of(path, FUNCTION_LINES)))
    return sorted(rows, key=lambda row: row[3] / row[2])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    rows = report(parser.parse_args(arguments).root.resolve())
    for kind, place, count, limit in rows:
        print(f"{count:5} lines (guidance {limit:3})  {kind:8}  {place}")
    print(f"size_report: {len(rows)} longer than the guidance")
    return 0


if __name__ == "__main__":
    sys.exit(main())
