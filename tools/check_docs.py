"""Checks the documentation against the tree: links and file names exist, and every option is documented.

- In README.md and docs/: the target of each relative link exists, and so does the heading after a `#`.
- There too, each code span that names a file or folder of this tree names one that exists. `*` and `{a,b}` are expanded;
  a name with `<...>` or `...` in it is a pattern and is not looked up.
- Each DEEPWELL_* option of src/base/options.cpp stands in docs/options.md, and each DEEPWELL_* name in the documentation is
  an option, a CMake option, or a variable of the set-up, the Python package or its tests.

Prints one line per violation, exit code 1 if there is one.
"""
import argparse
import re
import sys
from pathlib import Path

TOP_FOLDERS = ("src", "plan", "kernels", "include", "tests", "tools", "docs", "cmake", "python", "bench", "examples", ".ci")
TOP_FILES = ("Makefile", "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE")
PYTHON_NAMES = ("python/deepwell/_hook.py", "tests/python/reference.py", "tests/python/test_install.py")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
OPTION = re.compile(r"\bDEEPWELL_[A-Z0-9_]+\b")
OPTION_SOURCE = "src/base/options.cpp"
OPTION_PAGE = "docs/options.md"
OTHER_NAMES = (
    "CMakeLists.txt", "cmake/tests.cmake", "cmake/emulator_library.cmake", "cmake/embed_sources.cmake", "tools/setup.sh", "Makefile",
)


def lines_of(text):
    """(number, line, inside a fenced block) of a Markdown text."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            yield number, "", True
        else:
            yield number, line, fenced


def anchors_of(text):
    """The anchors that the headings of a Markdown text get."""
    found = set()
    for _, line, fenced in lines_of(text):
        if not fenced and line.startswith("#"):
            title = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(title.replace(" ", "-"))
    return found


def expand(name):
    """`a/{b,c}.x` -> a/b.x, a/c.x"""
    braces = re.search(r"\{([^{}]*)\}", name)
    if not braces:
        return [name]
    return [each for part in braces.group(1).split(",")
            for each in expand(name[:braces.start()] + part.strip() + name[braces.end():])]


def looks_like_path(span):
    if re.search(r"[<>\s$=()]|\.\.\.|…", span) or span.startswith(("-", "/")):
        return False
    return span in TOP_FILES or ("/" in span and span.split("/", 1)[0] in TOP_FOLDERS)


def check_page(root, page):
    text = (root / page).read_text(encoding="utf-8")
    found = []
    for number, line, fenced in lines_of(text):
        if fenced:
            continue
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (root / page).parent / name if name else root / page
            if not file.exists():
                found.append((number, f"link to {target}: no such file"))
            elif anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text(encoding="utf-8")):
                found.append((number, f"link to {target}: no such heading"))
        for span in SPAN.findall(line):
            if not looks_like_path(span):
                continue
            for name in expand(span.split(":", 1)[0]):
                matches = any(root.glob(name.rstrip("/"))) if "*" in name else (root / name).exists()
                if not matches:
                    found.append((number, f"`{span}`: no such file or folder"))
                    break
    return [f"{page}:{number}: {why}" for number, why in found]


def check_options(root, pages):
    source = root / OPTION_SOURCE
    if not source.exists():
        return []
    options = set(OPTION.findall(source.read_text(encoding="utf-8")))
    page = root / OPTION_PAGE
    documented = set(OPTION.findall(page.read_text(encoding="utf-8"))) if page.exists() else set()
    found = [f"{OPTION_PAGE}: option {name} is not documented" for name in sorted(options - documented)]

    known = set(options)
    for other in OTHER_NAMES + PYTHON_NAMES:
        if (root / other).exists():
            known |= set(OPTION.findall((root / other).read_text(encoding="utf-8")))
    for name in pages:
        for number, line in enumerate((root / name).read_text(encoding="utf-8").split("\n"), 1):
            for option in OPTION.findall(line):
                if option not in known:
                    found.append(f"{name}:{number}: {option} is no option")
    return found


def check_tree(root):
    """All violations of the documentation below `root`, and the number of pages."""
    root = root.resolve()
    files = [root / "README.md"] + sorted((root / "docs").rglob("*.md"))
    pages = [file.relative_to(root).as_posix() for file in files if file.exists()]
    violations = [violation for page in pages for violation in check_page(root, page)]
    return violations + check_options(root, pages), len(pages)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args(arguments).root
    violations, pages = check_tree(root)
    for violation in violations:
        print(violation)
    if pages == 0:
        print(f"check_docs: found no page below {root}")
        return 1
    print(f"check_docs: {pages} pages, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
