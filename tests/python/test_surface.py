"""Names and forms against the list in data/surface.txt, which was written from the interface's
description.
"""

import importlib
import inspect
import re
from pathlib import Path

import deep_gemm
import pytest

LINES = [
    line
    for line in (Path(__file__).parent / "data" / "surface.txt").read_text().split("\n")
    if line and not line.startswith("#")
]
FUNCTIONS = [line for line in LINES if re.match(r"\w+\(", line)]
ALIASES = [line for line in LINES if " = " in line and "(" not in line]
NAMES = [line.split()[0] for line in LINES if line.endswith(" ...")]
MODULES = [line for line in LINES if line.startswith("module ")]


def shown(function):
    """The signature without annotations."""
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_every_line_is_understood():
    assert len(FUNCTIONS) + len(ALIASES) + len(NAMES) + len(MODULES) == len(LINES)
    assert len(FUNCTIONS) > 70 and len(ALIASES) > 10 and len(MODULES) > 10


@pytest.mark.parametrize("line", FUNCTIONS, ids=lambda line: line.split("(")[0])
def test_form(line):
    name, parameters = line.split("(", 1)
    function = getattr(deep_gemm, name)
    assert shown(function) == "(" + parameters
    assert function.__name__ == name
    assert inspect.getdoc(function), "no documentation"


@pytest.mark.parametrize("line", ALIASES)
def test_alias(line):
    one, two = line.split(" = ")
    assert getattr(deep_gemm, one) is getattr(deep_gemm, two)


@pytest.mark.parametrize("name", NAMES)
def test_name(name):
    assert getattr(deep_gemm, name) is not None


@pytest.mark.parametrize("line", MODULES)
def test_module(line):
    name, _, inside = line.removeprefix("module ").partition(": ")
    module = importlib.import_module(name)
    for each in inside.split(", "):
        assert hasattr(module, each), each


def test_older_parameters_are_not_shown_but_forms_are_real():
    """What inspect shows can be called: each required parameter by position."""
    for line in FUNCTIONS:
        function = getattr(deep_gemm, line.split("(")[0])
        real = inspect.signature(function, follow_wrapped=False)
        public = inspect.signature(function)
        required = [each for each in public.parameters.values() if each.default is inspect.Parameter.empty]
        real.bind(*[None] * len(required))
        real.bind(**{each.name: None for each in required})


def test_version_compares_as_2_8_1():
    import packaging.version as packaging

    version = packaging.Version(deep_gemm.__version__)
    assert version >= packaging.Version("2.8.1") and version < packaging.Version("2.8.2")
    assert version.public == "2.8.1"
    assert "deepwell" in deep_gemm.__version__


def test_a_version_that_deepwell_cannot_tell(monkeypatch):
    from deep_gemm import _version

    class Broken:
        @property
        def __version__(self):
            raise OSError("the native module is missing")

    monkeypatch.setattr(_version, "deepwell", Broken())
    assert _version.version() == "2.8.1+deepwell"


def test_no_torch_library_of_that_name_is_registered():
    import torch

    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("deep_gemm::")]
    assert names == []


def test_file_and_path():
    assert deep_gemm.__file__.endswith("deep_gemm/__init__.py")
    assert list(deep_gemm.__path__) == [deep_gemm.__file__.rsplit("/", 1)[0]]
    assert deep_gemm.__spec__.name == "deep_gemm"
