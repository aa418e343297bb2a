"""tools/check_docs.py finds dead links, dead file names and undocumented options, and passes a clean tree."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import check_docs  # noqa: E402

CLEAN = {
    "README.md": "# Title\nSee [the map](docs/map.md#two-words), `src/ops/gemm.cpp` and `src/ops/{gemm,check}.cpp`.\n",
    "docs/map.md": "# Map\n## Two words\n[up](../README.md) [here](#map) `src/**/*.cpp` `src/<folder>/x.cpp` "
    "`DEEPWELL_CACHE` `DEEPWELL_STATIC` [out](https://example.com/x)\n```\n[not a link](nowhere)\n```\n",
    "docs/options.md": "# Options\n`DEEPWELL_CACHE`\n",
    "src/ops/gemm.cpp": "// x\n",
    "src/ops/check.cpp": "// x\n",
    "src/base/options.cpp": '// x\nOption{"DEEPWELL_CACHE"};\n',
    "CMakeLists.txt": "option(DEEPWELL_STATIC)\n",
}

PLANTED = {
    "dead link": ("docs/bad.md", "[x](nothing.md)\n", "no such file"),
    "dead heading": ("docs/bad.md", "[x](map.md#three-words)\n", "no such heading"),
    "dead file name": ("docs/bad.md", "`src/ops/nothing.cpp`\n", "no such file or folder"),
    "dead name in braces": ("docs/bad.md", "`src/ops/{gemm,nothing}.cpp`\n", "no such file or folder"),
    "dead pattern": ("docs/bad.md", "`src/ops/*.cuh`\n", "no such file or folder"),
    "undocumented option": (
        "src/base/options.cpp",
        '// x\n"DEEPWELL_CACHE" "DEEPWELL_NEW"\n',
        "DEEPWELL_NEW is not documented",
    ),
    "option that is none": ("docs/bad.md", "set `DEEPWELL_OLD`\n", "DEEPWELL_OLD is no option"),
}


class CheckDocs(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_text(text)
            return check_docs.check_tree(Path(folder))

    def test_clean_tree_passes(self):
        self.assertEqual(self.check(CLEAN), ([], 3))

    def test_each_planted_violation_is_found(self):
        for what, (file, text, part) in PLANTED.items():
            with self.subTest(what):
                violations, _ = self.check({**CLEAN, file: text})
                self.assertEqual(len(violations), 1, violations)
                self.assertIn(part, violations[0])

    def test_empty_tree_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_docs.main([folder]), 1)


if __name__ == "__main__":
    unittest.main()
