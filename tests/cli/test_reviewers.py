"""The page for reviewers does what it says: its files are written and its commands run, in order, in one folder."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reviewers.md"
BLOCK = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def matches(expected, got):
    """Whether `got` is `expected`, in which "..." stands for any text of a line, and a line "..." for any lines."""
    pattern = ""
    for line in expected.splitlines():
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, got) is not None


class Page(unittest.TestCase):
    def test_expected_output_can_differ(self):
        self.assertTrue(matches("a ... c\n...\nd\n", "a b c\nx\ny\nd\n"))
        self.assertTrue(matches("...\nd\n", "d\n"))
        self.assertFalse(matches("a ... c\n", "a b d\n"))
        self.assertFalse(matches("a\n", "a\nb\n"))

    def test_its_commands_give_what_it_shows(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "bin").mkdir()
            (Path(folder) / "bin" / "deepwell").symlink_to(os.environ["DEEPWELL_BINARY"])
            python = os.environ.get("DEEPWELL_PYTHON", sys.executable)
            (Path(folder) / "bin" / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
            (Path(folder) / "bin" / "python3").chmod(0o755)
            environment = dict(os.environ, EXAMPLE=str(ROOT / "examples" / "emulate"))
            environment["PATH"] = f"{folder}/bin:{environment['PATH']}"
            commands = 0
            for language, file, text in BLOCK.findall(PAGE.read_text()):
                if file:
                    (Path(folder) / file).write_text(text)
                if language != "console":
                    continue
                for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                    command, _, expected = step.partition("\n")
                    with self.subTest(command):
                        result = subprocess.run(
                            ["sh", "-c", command],
                            cwd=folder,
                            env=environment,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True,
                            timeout=120,
                            check=False,
                        )
                        self.assertTrue(matches(expected, result.stdout), f"{command}\n{result.stdout}")
                        commands += 1
            self.assertGreaterEqual(commands, 9)


if __name__ == "__main__":
    unittest.main()
