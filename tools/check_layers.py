"""Checks that includes go down the layers only, and that each dangerous thing is used where it belongs and nowhere else.

The tables below are the rules; docs/style.md explains them. Prints one line per violation, exit code 1 if there is one.
"""
import argparse
import ast
import re
import sys
from pathlib import Path

# Folder -> level. An include may go to a lower level, or stay inside its folder.
LEVELS = {
    "plan": 0,
    "src/base": 0,
    "src/num": 1,
    "src/tensor": 2,
    "src/checkpoint": 3,
    "src/emu": 3,
    "src/jit": 3,
    "src/backend": 4,
    "src/ops": 5,
    "src/ref": 5,
    "src/model": 6,
    "src/check": 6,
    "src/capi": 7,
    "src/cli": 8,
}

# Folders that see less than their level allows: the folders (or single files) that they may include, and no others.
ONLY = {
    "plan": ["plan"],
    "kernels": ["plan", "kernels"],
    "include": ["include"],
    "src/emu": ["src/emu", "src/base", "src/num"],
    "src/jit": ["src/jit", "src/base"],
    "src/ref": ["src/ref", "src/base", "src/num", "src/tensor", "plan/deepwell/common.h"],
}

# Pairs that the levels allow and the design does not: (who, what, why).
NEVER = [
    ("src/ops", "src/backend/cuda", "operations see Backend, not a device's own code"),
    ("src/ops", "src/backend/emu", "operations see Backend, not a device's own code"),
    ("src/ops", "src/emu", "operations run on any Backend; the emulator is one of them"),
    ("src/capi", "src/emu", "the emulator is reached through a Backend"),
]

# Where the text of an #include is looked for, in this order; an include of none of these is a system header.
INCLUDE_ROOTS = ["src", "plan", "kernels", "include", "tests", "bench"]

LIBRARY = ["src", "include", "plan", "kernels", "bench"]  # the folders that ownership rules are about
CODE = LIBRARY + ["tests", "tools"]

# Ownership: what (a pattern on code without comments and strings), the folders that are searched, who may, and why.
OWNERS = [
    (r"^\s*#\s*include\s*[<\"]cuda(_runtime|_runtime_api)?\.h[>\"]", CODE, ["src/backend/cuda/", "tests/third_party/fake_runtime.cpp"],
     "CUDA's own headers"),
    (r"^\s*#\s*include\s*[<\"]nvrtc\.h[>\"]", CODE, ["src/jit/nvrtc_compiler.cpp"], "NVRTC's own header"),
    (r"^\s*#\s*include\s*[<\"](torch|ATen|c10|pybind11|nanobind)/", CODE, ["python/"], "torch and Python bindings"),
    (r"\b(asm|__asm__|__asm)\b", CODE, ["kernels/deepwell/ptx/", "tests/corpus/"], "inline assembly"),
    (r"\b(getenv|secure_getenv)\b", LIBRARY, ["src/base/options.cpp"], "reading the environment"),
    (r"\benviron\b", LIBRARY, ["src/base/subprocess.cpp"], "handing the environment on to a child"),
    (r"(?<![\w.>])(std\s*::\s*)?(printf|puts|putchar|perror|vprintf)\s*\(|\bstd\s*::\s*(cout|cerr|clog)\b|\b(stdout|stderr)\b"
     r"|\bfmt\s*::\s*print(ln)?\s*\(", LIBRARY, ["src/base/log.cpp", "src/cli/", "bench/"], "writing to the terminal"),
    (r"(?<![\w.>])(std\s*::\s*)?(exit|quick_exit|abort|terminate)\s*\(", LIBRARY, ["src/cli/", "bench/"], "ending the process"),
    (r"^\s*#\s*include\s*[<\"]CLI/", CODE, ["src/cli/", "tests/unit/cli/", "bench/"], "the command-line library"),
]

# JSON and command-line libraries are slow to compile: in .cpp files only.
CPP_ONLY = re.compile(r"^\s*#\s*include\s*[<\"](nlohmann/|CLI/)")

# Python: what the import of a file may not bring about: (place, modules, why). Only imports that run when the module is
# imported count: those inside functions and under TYPE_CHECKING do not. A place's own part of the tree comes first.
PYTHON = "python"
PYTHON_IMPORTS = [
    ("python/deepwell/_hook.py", None, "the hook runs at the start of every interpreter: os and sys only"),
    ("python/deepwell/__init__.py", ["torch", "deepwell._native", "deepwell._runtime"], "importing deepwell loads neither torch "
     "nor the native library"),
    ("python/deepwell/errors.py", ["torch", "deepwell._native", "deepwell._runtime"], "errors are raised where there is no torch"),
    ("python/deepwell/_other.py", ["torch", "deepwell._native", "deepwell._runtime"], "finding another DeepGEMM needs neither"),
    ("python/deepwell/_drop_in", ["torch", "deepwell._native", "deepwell._runtime"], "importing deep_gemm loads neither torch nor "
     "the native library"),
]
HOOK_MODULES = ["os", "sys"]

# Python, in code without comments: (pattern, who may, why).
PYTHON_OWNERS = [
    (r"\b(Library|custom_op|register_fake|triton_op)\(\s*f?[\"']deep_gemm\b", [], "torch.ops.deep_gemm belongs to DeepGEMM"),
    (r"\bmeta_path\b", ["python/deepwell/_hook.py", "python/deepwell/_other.py", "python/deepwell/_doctor.py"], "the import "
     "system belongs to the hook"),
]

SUFFIXES = {".hpp", ".cpp", ".h", ".cuh", ".cu"}
HEADERS = {".hpp", ".h", ".cuh"}
INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def without_comments_and_strings(text):
    """The code with comments blanked and literals emptied; line numbers and #include lines stay as they are."""
    out, i, end = [], 0, len(text)
    while i < end:
        two = text[i:i + 2]
        if two == "//":
            stop = text.find("\n", i)
            i = end if stop < 0 else stop
        elif two == "/*":
            stop = text.find("*/", i + 2)
            stop = end if stop < 0 else stop + 2
            out.append("\n" * text.count("\n", i, stop))
            i = stop
        elif text[i] == '"' and i and text[i - 1] == "R":
            opened = re.match(r'"([^()\\\s]*)\(', text[i:])
            close = f"){opened.group(1)}\"" if opened else '"'
            stop = text.find(close, i + 1)
            stop = end if stop < 0 else stop + len(close)
            out.append('""' + "\n" * text.count("\n", i, stop))
            i = stop
        elif text[i] == '"' or (text[i] == "'" and not (i and (text[i - 1].isalnum() or text[i - 1] == "_"))):
            quote, stop = text[i], i + 1
            while stop < end and text[stop] != quote and text[stop] != "\n":
                stop += 2 if text[stop] == "\\" else 1
            line_start = text.rfind("\n", 0, i) + 1
            keep = text[line_start:i].lstrip().startswith("#")
            out.append(text[i:stop + 1] if keep else quote + quote)
            i = stop + 1
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


def folder_of(path):
    """The folder of LEVELS or ONLY that `path` (relative, with /) belongs to, or None."""
    parts = path.split("/")
    for count in (2, 1):
        name = "/".join(parts[:count])
        if len(parts) > count and (name in LEVELS or name in ONLY):
            return name
    return None


def is_under(path, place):
    return path == place or path.startswith(place.rstrip("/") + "/")


def resolve(root, including, text, quoted):
    """The file of this tree that an #include means, relative to the root, or None for a system header."""
    candidates = [f"{base}/{text}" for base in INCLUDE_ROOTS]
    if quoted:
        candidates.insert(0, (Path(including).parent / text).as_posix())
    for candidate in candidates:
        if (root / candidate).is_file():
            return (root / candidate).resolve().relative_to(root).as_posix()
    return None


def check_include(including, included):
    """Why the include is not allowed, or None."""
    source, target = folder_of(including), folder_of(included)
    if source is None or target is None or source == target:
        return None
    for who, what, why in NEVER:
        if is_under(including, who) and is_under(included, what):
            return why
    if source in ONLY:
        if any(is_under(included, place) for place in ONLY[source]):
            return None
        return f"{source} includes only {', '.join(ONLY[source])}"
    if target in ("kernels",):
        return "kernels are compiled at run time, no host code includes them"
    if target == "include":
        return None
    if LEVELS[target] >= LEVELS[source]:
        return f"{source} is on level {LEVELS[source]}, {target} on level {LEVELS[target]}: includes go down only"
    return None


def check_file(root, path):
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    suffix = Path(path).suffix
    found = []

    first = text.split("\n", 1)[0]
    if not first.startswith("//"):
        found.append((1, "the first line is a comment that says what the file is for"))
    if suffix in HEADERS and is_under(path, "src") and "#pragma once" not in text:
        found.append((1, "a header begins with #pragma once"))

    code = without_comments_and_strings(text)
    for match in INCLUDE.finditer(code):
        line = code.count("\n", 0, match.start(2)) + 1
        included = resolve(root, path, match.group(2), match.group(1) == '"')
        if included is None:
            if match.group(1) == '"' and folder_of(path) in ("plan", "kernels"):
                found.append((line, f'"{match.group(2)}" is not in plan/ or kernels/: device code includes nothing else'))
            continue
        why = check_include(path, included)
        if why:
            found.append((line, f"includes {included}: {why}"))
    if folder_of(path) in ("plan", "kernels"):
        for match in re.finditer(r"^\s*#\s*include\s*<([^>]+)>", code, re.MULTILINE):
            if resolve(root, path, match.group(1), False) is None:
                line = code.count("\n", 0, match.start(1)) + 1
                found.append((line, f"<{match.group(1)}>: device code compiles with an empty include path"))

    for number, line in enumerate(code.split("\n"), 1):
        if suffix in HEADERS and CPP_ONLY.search(line):
            found.append((number, "nlohmann/json and CLI11 are included by .cpp files only"))
        for pattern, where, owners, what in OWNERS:
            if any(is_under(path, place) for place in where) and re.search(pattern, line):
                if not any(path.startswith(owner) for owner in owners):
                    found.append((number, f"{what} belongs to {', '.join(owners)}"))
    return [f"{path}:{line}: {why}" for line, why in found]


def imports_at_import(tree, package):
    """(line, absolute name) of each import that runs when the module is imported."""
    pending = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        for field in ("body", "orelse", "handlers", "finalbody"):
            pending += getattr(node, field, [])


def check_python(root, path):
    """Violations in one file of the Python package."""
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [f"{path}:{error.lineno}: {error.msg}"]
    found = []
    if ast.get_docstring(tree) is None:
        found.append((1, "the first line is a docstring that says what the file is for"))
    package = path.removeprefix(PYTHON + "/").split("/")[:-1]
    for line, name in imports_at_import(tree, package):
        top = name.split(".")[0]
        for place, modules, why in PYTHON_IMPORTS:
            if not is_under(path, place):
                continue
            if modules is None and top not in HOOK_MODULES:
                found.append((line, f"imports {name}: {why}"))
            elif modules is not None and any(name == each or name.startswith(each + ".") for each in modules):
                found.append((line, f"imports {name}: {why}"))
    for number, line in enumerate(text.split("\n"), 1):
        code = line.split("#", 1)[0]
        for pattern, owners, why in PYTHON_OWNERS:
            if re.search(pattern, code) and path not in owners:
                found.append((number, why))
    return [f"{path}:{line}: {why}" for line, why in found]


def check_tree(root):
    """All violations below `root`, and the number of files that were read."""
    root = root.resolve()
    violations, files = [], 0
    for top in CODE:
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SUFFIXES or not file.is_file():
                continue
            path = file.relative_to(root).as_posix()
            if path.startswith("src/") and folder_of(path) is None:
                violations.append(f"{path}:1: this folder has no level in tools/check_layers.py")
            violations += check_file(root, path)
            files += 1
    for file in sorted((root / PYTHON).rglob("*.py")):
        violations += check_python(root, file.relative_to(root).as_posix())
        files += 1
    return violations, files


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args(arguments).root
    violations, files = check_tree(root)
    for violation in violations:
        print(violation)
    if files == 0:
        print(f"check_layers: found no source file below {root}")
        return 1
    print(f"check_layers: {files} files, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
