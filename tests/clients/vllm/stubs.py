"""Empty stand-ins for third-party packages that vLLM imports at its top and the tested paths never use.

Only packages of the list below, and only those that are not installed. What a stub hands out is good for being imported,
inherited from, used as a decorator or in an annotation, and for nothing else: it computes nothing.

Triton, FlashInfer, CUTLASS's Python package, numba and ray are not in the list. vLLM has branches for their absence, and
those are the ones that run. TileLang is, because vLLM's mHC code does not import without it; its kernels do not run.
"""

import importlib.abc
import importlib.machinery
import re
import sys
import types

PACKAGES = frozenset(
    """
    PIL aiohttp cachetools cbor2 cloudpickle cpuinfo cv2 einops fastapi huggingface_hub llguidance openai openai_harmony
    partial_json_parser prometheus_client psutil pybase64 requests safetensors tilelang tqdm transformers urllib3 uvloop
    xgrammar yaml zmq
""".split()
)


class Placeholder(type):
    """The class of stub classes: every attribute is another stub class."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        value = placeholder(name)
        setattr(cls, name, value)
        return value

    def __or__(cls, other):
        return cls

    __ror__ = __or__

    def __iter__(cls):
        return iter(())


def placeholder(name: str) -> Placeholder:
    """A class that can be inherited from, called, subscribed and used as a decorator. Named like an error, it is one."""

    def any_schema(cls, source, handler):
        from pydantic_core import core_schema

        return core_schema.any_schema()

    base = (Exception,) if name.endswith(("Error", "Exception")) else ()
    return Placeholder(
        name,
        base,
        {
            "__init__": lambda self, *args, **kwargs: None,
            "__call__": lambda self, *args, **kwargs: args[0] if args else None,
            "__class_getitem__": classmethod(lambda cls, item: cls),
            "__get_pydantic_core_schema__": classmethod(any_schema),
        },
    )


class StubModule(types.ModuleType):
    """A module in which every name is a stub class."""

    __path__: list[str] = []
    __version__ = "0"

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        value = placeholder(name)
        setattr(self, name, value)
        return value


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last on sys.meta_path: finds what nobody else found."""

    used: set[str] = set()

    def find_spec(self, fullname, path=None, target=None):
        top = fullname.split(".")[0]
        if top not in PACKAGES:
            return None
        self.used.add(top)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return StubModule(spec.name)

    def exec_module(self, module):
        pass


def install() -> None:
    """Puts the finder in place. `regex`, which vLLM uses for patterns that `re` also takes, becomes `re`."""
    sys.modules.setdefault("regex", re)
    if not any(isinstance(finder, StubFinder) for finder in sys.meta_path):
        sys.meta_path.append(StubFinder())
