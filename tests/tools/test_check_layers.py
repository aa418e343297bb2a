"""tools/check_layers.py finds each kind of violation in a tree where one was planted, and nothing in a clean one."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import check_layers  # noqa: E402

CLEAN = {
    "plan/deepwell/common.h": "// Shared.\n#pragma once\n",
    "plan/deepwell/gemm.h": '// Plan.\n#pragma once\n#include "deepwell/common.h"\n',
    "kernels/deepwell/ptx/mma.cuh": '// Wrapper.\n#include "deepwell/common.h"\nasm volatile("x");\n',
    "kernels/deepwell/kernel/gemm.cuh": '// Kernel.\n#include "deepwell/gemm.h"\n#include "deepwell/ptx/mma.cuh"\n',
    "src/base/error.hpp": "// Errors.\n#pragma once\n#include <string>\n",
    "src/base/options.cpp": '// Options.\n#include "base/error.hpp"\nauto x = getenv("A");\n',
    "src/base/log.cpp": '// Log.\nvoid log() { fputs("", stderr); }\n',
    "src/num/e4m3.hpp": '// Numbers.\n#pragma once\n#include "base/error.hpp"\n',
    "src/tensor/tensor.hpp": '// Views.\n#pragma once\n#include "deepwell/common.h"\n',
    "src/emu/emu.hpp": '// Emulator.\n#pragma once\n#include "num/e4m3.hpp"\n',
    "src/jit/jit.hpp": '// JIT.\n#pragma once\n#include "base/error.hpp"\n',
    "src/jit/json.cpp": "// JSON.\n#include <nlohmann/json.hpp>\n",
    "src/backend/backend.hpp": '// Backend.\n#pragma once\n#include "tensor/tensor.hpp"\n',
    "src/backend/cuda/cuda.cpp": '// CUDA.\n#include <cuda.h>\n#include "backend/backend.hpp"\n',
    "src/backend/emu/emu.cpp": '// Adapter.\n#include "emu/emu.hpp"\n',
    "src/ops/gemm/gemm.hpp": '// GEMM.\n#pragma once\n#include "backend/backend.hpp"\n#include "deepwell/gemm.h"\n',
    "src/ref/gemm.cpp": '// Reference.\n#include "tensor/tensor.hpp"\n#include "deepwell/common.h"\n',
    "src/cli/main.cpp": '// Main.\n#include <CLI/CLI.hpp>\n#include "ops/gemm/gemm.hpp"\nint main() { std::puts("a"); exit(1); }\n',
    "python/deepwell/__init__.py": '"""Package."""\nfrom . import _hook\n',
    "python/deepwell/_hook.py": '"""Hook."""\nimport os\nimport sys\ndef f():\n    import warnings\n    return sys.meta_path\n',
    "python/deepwell/_ops.py": '"""Operators."""\nimport torch\nL = torch.library.Library("deepwell", "DEF")\n',
    "python/deepwell/_drop_in/deep_gemm/math.py": '"""Casts."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch\n',
}

# what is planted -> (file, text, a part of the report)
PLANTED = {
    "include up": ("src/num/bad.cpp", '// x\n#include "ops/gemm/gemm.hpp"\n', "includes go down only"),
    "include on the same level": (
        "src/jit/bad.cpp",
        '// x\n#include "emu/emu.hpp"\n',
        "src/jit includes only",
    ),
    "the emulator sees tensors": (
        "src/emu/bad.cpp",
        '// x\n#include "tensor/tensor.hpp"\n',
        "src/emu includes only",
    ),
    "operations see the emulator": ("src/ops/bad.cpp", '// x\n#include "emu/emu.hpp"\n', "one of them"),
    "operations see a backend's inside": (
        "src/ops/a/bad.cpp",
        '// x\n#include "backend/cuda/cuda.cpp"\n',
        "device's own",
    ),
    "a reference sees plans": (
        "src/ref/bad.cpp",
        '// x\n#include "deepwell/gemm.h"\n',
        "src/ref includes only",
    ),
    "a reference sees operations": (
        "src/ref/bad.cpp",
        '// x\n#include "ops/gemm/gemm.hpp"\n',
        "src/ref includes only",
    ),
    "plan sees host code": ("plan/deepwell/bad.h", '// x\n#include "base/error.hpp"\n', "plan includes only"),
    "a kernel needs a system header": (
        "kernels/deepwell/prim/bad.cuh",
        "// x\n#include <cstdint>\n",
        "empty include path",
    ),
    "host code includes a kernel": (
        "src/ops/bad.cpp",
        '// x\n#include "deepwell/kernel/gemm.cuh"\n',
        "at run time",
    ),
    "cuda.h outside its owner": ("src/ops/bad.cpp", "// x\n#include <cuda.h>\n", "CUDA's own headers"),
    "nvrtc.h outside its owner": ("src/jit/bad.cpp", "// x\n#include <nvrtc.h>\n", "NVRTC's own header"),
    "torch below Python": ("src/capi/bad.cpp", "// x\n#include <torch/torch.h>\n", "torch"),
    "asm in a kernel": (
        "kernels/deepwell/kernel/bad.cuh",
        '// x\nvoid f() { asm volatile("bar.sync 0;"); }\n',
        "assembly",
    ),
    "asm on the host": ("src/emu/bad.cpp", '// x\nvoid f() { __asm__("nop"); }\n', "assembly"),
    "getenv": ("src/jit/bad.cpp", '// x\nauto v = std::getenv("HOME");\n', "environment"),
    "printf": ("src/ops/bad.cpp", '// x\nvoid f() { printf("x"); }\n', "terminal"),
    "std::cerr": ("src/ops/bad.cpp", "// x\nvoid f() { std::cerr << 1; }\n", "terminal"),
    "fmt::print": ("src/ops/bad.cpp", '// x\nvoid f() { fmt::print("x"); }\n', "terminal"),
    "stderr": ("src/ops/bad.cpp", '// x\nvoid f() { fputs("x", stderr); }\n', "terminal"),
    "exit in the library": ("src/ops/bad.cpp", "// x\nvoid f() { std::exit(1); }\n", "ending the process"),
    "JSON in a header": (
        "src/jit/bad.hpp",
        "// x\n#pragma once\n#include <nlohmann/json.hpp>\n",
        ".cpp files only",
    ),
    "CLI11 in a header": (
        "src/cli/bad.hpp",
        "// x\n#pragma once\n#include <CLI/CLI.hpp>\n",
        ".cpp files only",
    ),
    "CLI11 in the library": ("src/ops/bad.cpp", "// x\n#include <CLI/CLI.hpp>\n", "command-line library"),
    "no purpose line": ("src/ops/bad.cpp", "int x;\n", "first line"),
    "no include guard": ("src/ops/bad.hpp", "// x\nint x;\n", "#pragma once"),
    "torch at the import of deep_gemm": (
        "python/deepwell/_drop_in/deep_gemm/bad.py",
        '"""x"""\nimport torch.cuda\n',
        "neither",
    ),
    "torch in a class": (
        "python/deepwell/_drop_in/deep_gemm/bad.py",
        '"""x"""\nclass A:\n    from torch import nn\n',
        "neither",
    ),
    "torch in a try": (
        "python/deepwell/_other.py",
        '"""x"""\ntry:\n    import torch\nexcept ImportError:\n    pass\n',
        "neither",
    ),
    "the native library at import": (
        "python/deepwell/_drop_in/deep_gemm/bad.py",
        '"""x"""\nfrom deepwell import _runtime\n',
        "neither",
    ),
    "the same, relative": ("python/deepwell/errors.py", '"""x"""\nfrom . import _native\n', "no torch"),
    "a heavy hook": ("python/deepwell/_hook.py", '"""x"""\nimport importlib.util\n', "os and sys only"),
    "DeepGEMM's operators": (
        "python/deepwell/bad.py",
        '"""x"""\nimport torch\nL = torch.library.Library("deep_gemm", "DEF")\n',
        "belongs to DeepGEMM",
    ),
    "another hook": (
        "python/deepwell/bad.py",
        '"""x"""\nimport sys\nsys.meta_path.append(1)\n',
        "belongs to the hook",
    ),
    "no docstring": ("python/deepwell/bad.py", "import sys\n", "docstring"),
    "no Python": ("python/deepwell/bad.py", "def f(:\n", "invalid syntax"),
    "a folder without a level": ("src/misc/bad.cpp", "// x\n", "no level"),
}


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class CheckLayers(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root, files)
            return check_layers.check_tree(root)

    def test_clean_tree_passes(self):
        self.assertEqual(self.check(CLEAN), ([], len(CLEAN)))

    def test_each_planted_violation_is_found(self):
        for what, (file, text, part) in PLANTED.items():
            with self.subTest(what):
                violations, _ = self.check({**CLEAN, file: text})
                self.assertEqual(len(violations), 1, violations)
                self.assertTrue(violations[0].startswith(file + ":"), violations)
                self.assertIn(part, violations[0])

    def test_line_number(self):
        violations, _ = self.check(
            {**CLEAN, "src/ops/bad.cpp": '// x\n/* a\n b */\n"s";\nauto v = getenv("A");\n'}
        )
        self.assertTrue(violations[0].startswith("src/ops/bad.cpp:5:"), violations)

    def test_comments_and_literals_do_not_count(self):
        text = (
            '// asm getenv("x")\n/* printf( */\nauto a = "asm getenv( std::cout";\nauto b = R"ptx(\n asm ")ptx";\n'
            "char c = '\"'; int d = 1'000;\n"
        )
        self.assertEqual(self.check({**CLEAN, "src/ops/good.cpp": text})[0], [])

    def test_code_after_a_literal_counts(self):
        violations, _ = self.check({**CLEAN, "src/ops/bad.cpp": '// x\nauto a = "\\""; asm("b");\n'})
        self.assertEqual(len(violations), 1, violations)

    def test_empty_tree_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_layers.main([folder]), 1)

    def test_exit_code(self):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), CLEAN)
            self.assertEqual(check_layers.main([folder]), 0)
            write(Path(folder), {"src/ops/bad.cpp": "// x\n#include <cuda.h>\n"})
            self.assertEqual(check_layers.main([folder]), 1)


if __name__ == "__main__":
    unittest.main()
