"""The one other DeepGEMM: what serves the calls that Deepwell does not.

It is the installed one, else the one that vLLM vendors; never both, because both register
`torch.ops.deep_gemm`. One that the process has imported already, by whatever way, is taken before anything is
looked for. It is loaded at the first call that needs it.

An installed one is loaded as `deepwell._other_deep_gemm`, since `sys.modules["deep_gemm"]` is the drop-in.
Its modules get builtins of their own, with an `__import__` that turns the name `deep_gemm` into the alias, so
that `import deep_gemm.x`, at load time or later inside a function, reaches itself. Not covered:
`importlib.import_module` with the absolute name.
"""

from __future__ import annotations

import builtins
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any, NamedTuple

from . import _hook
from .errors import MissingError, UnsupportedError

VENDORED = "vllm.third_party.deep_gemm"

log = logging.getLogger("deepwell")


class Location(NamedTuple):
    """Where the other DeepGEMM is: how to import it, and the file of its __init__."""

    name: str
    file: str


class _State:
    """What is known in this process."""

    def __init__(self) -> None:
        self.module: ModuleType | None = None
        self.failures: list[str] = []  # why each candidate did not load; set when all have been tried
        self.cause: BaseException | None = None
        self.looked_along: list[str] | None = None  # the sys.path that `location` belongs to
        self.location: Location | None = None


_state = _State()
_lock = threading.RLock()
_on_load: list[Callable[[ModuleType], None]] = []


# --- finding ------------------------------------------------------------------------------------------------


def _specs(name: str) -> Iterator[ModuleSpec]:
    """What the import system would find without Deepwell, finder by finder."""
    for finder in list(sys.meta_path):
        if getattr(finder, "deepwell_hook", False) or not hasattr(finder, "find_spec"):
            continue
        try:
            spec = finder.find_spec(name, None, None)
        except ImportError:  # some finders forbid a name so
            return
        if spec is not None:
            yield spec


def _installed_spec() -> ModuleSpec | None:
    """What `import deep_gemm` would load without Deepwell, as far as it is a package in files."""
    for spec in _specs(_hook.NAME):
        if not isinstance(spec.loader, (SourceFileLoader, SourcelessFileLoader)):
            continue  # also a folder without __init__, as a removal may leave it behind
        if spec.submodule_search_locations and spec.origin and os.path.dirname(spec.origin) != _hook.DROP_IN:
            return spec
    return None


def _vendored_file() -> str | None:
    """The __init__ of the copy inside vLLM, found without importing vLLM."""
    folders = getattr(sys.modules.get("vllm"), "__path__", None)
    if folders is None:
        folders = next((spec.submodule_search_locations for spec in _specs("vllm")), None)
    for folder in folders or ():
        file = os.path.join(folder, "third_party", "deep_gemm", "__init__.py")
        if os.path.isfile(file):
            return file
    return None


def _imported() -> str | None:
    """The name of another DeepGEMM that this process has imported already."""
    if VENDORED in sys.modules:
        return VENDORED
    present = sys.modules.get(_hook.NAME)
    if present is not None and not _hook.is_drop_in(present) and getattr(present, "__file__", None):
        return _hook.NAME
    return None


def is_installed() -> bool:
    """Whether a distribution other than Deepwell's brings `deep_gemm`. Imports nothing."""
    return _installed_spec() is not None


def location() -> Location | None:
    """Where the other DeepGEMM would be loaded from. Imports nothing; looks again only after sys.path has
    changed.
    """
    if _state.looked_along == sys.path:
        return _state.location
    path = list(sys.path)
    found = None
    spec = _installed_spec()
    if spec is not None:
        found = Location(_hook.ALIAS, str(spec.origin))
    else:
        file = _vendored_file()
        if file is not None:
            found = Location(VENDORED, file)
    _state.location, _state.looked_along = found, path
    return found


def other_exists() -> bool:
    """Whether there is another DeepGEMM to forward to. Cheap; imports nothing. One that did not load does not
    count.
    """
    if _state.module is not None:
        return True
    if _state.failures:
        return False
    return location() is not None or _imported() is not None


# --- loading ------------------------------------------------------------------------------------------------


def loaded() -> ModuleType | None:
    """The other DeepGEMM if a call has needed it already."""
    return _state.module


def other() -> ModuleType | None:
    """The other DeepGEMM, loaded now if it is not yet; None if there is none or it does not load
    (`failure`).
    """
    if _state.module is not None:
        return _state.module
    if not other_exists():
        return None
    with _lock:
        if _state.module is None and not _state.failures:
            _load()
    return _state.module


def failure() -> str:
    """Why the other DeepGEMM did not load; empty if it did, or if there is none."""
    return "; ".join(_state.failures)


def on_load(callback: Callable[[ModuleType], None]) -> None:
    """Calls `callback(module)` once the other DeepGEMM is loaded, now if it is."""
    _on_load.append(callback)
    if _state.module is not None:
        callback(_state.module)


def _load() -> None:
    module, failures, cause = None, [], None
    for name, where in _candidates():
        try:
            module = _import(name)
            break
        except Exception as error:
            cause = error
            failures.append(f"DeepGEMM at {where} did not load: {type(error).__name__}: {error}")
            log.warning("%s", failures[-1])
        if _has_registered():
            break
    if module is None:
        _state.cause, _state.failures = cause, failures  # only now: other threads ask without the lock
        return
    log.info(
        "what Deepwell does not serve goes to DeepGEMM %s at %s",
        getattr(module, "__version__", "(no version)"),
        getattr(module, "__file__", module.__name__),
    )
    for callback in _on_load:
        try:
            callback(module)
        except Exception as error:
            log.warning("DeepGEMM at %s did not take a setting: %s", getattr(module, "__file__", "?"), error)
    _state.module = module  # now: other threads call it from here on
    _state.cause, _state.failures = cause, failures


def _candidates() -> list[tuple[str, str]]:
    """(name to import, where it is), best first."""
    present = _imported()
    if present is not None:
        return [(present, str(getattr(sys.modules[present], "__file__", present)))]
    found = []
    spec = _installed_spec()
    if spec is not None:
        found.append((_hook.ALIAS, str(spec.origin)))
    file = _vendored_file()
    if file is not None:
        found.append((VENDORED, file))
    return found


def _import(name: str) -> ModuleType:
    """The module; one from before 2.0 is refused. An alias that does not load leaves nothing in sys.modules."""
    try:
        module = importlib.import_module(name)
        if hasattr(module, "gemm_fp8_fp8_bf16_nt") and not hasattr(module, "fp8_gemm_nt"):
            version = getattr(module, "__version__", "1.x")
            raise ImportError(f"version {version} has only names from before 2.0")
        return module
    except Exception:
        if name == _hook.ALIAS:
            for left in [each for each in sys.modules if each.startswith(_hook.ALIAS)]:
                del sys.modules[left]
        raise


def _has_registered() -> bool:
    """Whether a DeepGEMM got as far as registering its operators: a second one must not be tried then."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    return any(name.startswith("deep_gemm::") for name in torch._C._dispatch_get_all_op_names())


# --- the alias ----------------------------------------------------------------------------------------------


def _import_itself(name, globals=None, locals=None, fromlist=(), level=0):
    """`__import__` for the modules of an installed other: `deep_gemm` means the alias there."""
    if level == 0 and (name == _hook.NAME or name.startswith(_hook.NAME + ".")):
        name = _hook.ALIAS + name[len(_hook.NAME) :]
        if not fromlist:
            importlib.import_module(name)
            return sys.modules[_hook.ALIAS]
    return builtins.__import__(name, globals, locals, fromlist, level)


class _OwnBuiltins:
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = dict(vars(builtins), __import__=_import_itself)
        super().exec_module(module)


def _with_own_builtins(kind: type) -> type:
    """A loader as `kind`, which may be one that an import hook has derived, for modules with their own builtins."""
    return type(kind.__name__, (_OwnBuiltins, kind), {})


def find_alias(fullname: str, path: Any) -> ModuleSpec | None:
    """The spec of the installed other, or of a module in it, under the alias. For the hook."""
    if fullname == _hook.ALIAS:
        spec = _installed_spec()
    elif fullname.startswith(_hook.ALIAS + "."):
        spec = PathFinder.find_spec(fullname, path)
    else:
        return None
    if spec is None or not spec.origin:
        return spec
    if not isinstance(spec.loader, (SourceFileLoader, SourcelessFileLoader)):
        return spec  # an extension module: it imports through its caller's frame or by C, and has no builtins
    return spec_from_file_location(
        fullname,
        spec.origin,
        loader=_with_own_builtins(type(spec.loader))(fullname, spec.origin),
        submodule_search_locations=spec.submodule_search_locations,
    )


class _Existing:
    """Loader of a module that exists under another name."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has put the new name's spec there


def find_leftover(fullname: str) -> ModuleSpec | None:
    """The spec of `deep_gemm.x` where only the other DeepGEMM has an x. For the hook."""
    module = other()
    if module is None:
        return None
    theirs = module.__name__ + fullname[len(_hook.NAME) :]
    try:
        found = importlib.import_module(theirs)
    except ModuleNotFoundError as error:
        if error.name is not None and theirs.startswith(error.name):
            return None
        raise
    return ModuleSpec(fullname, _Existing(found), origin=getattr(found, "__file__", None))


# --- calling ------------------------------------------------------------------------------------------------


def attribute(path: str) -> Any:
    """An attribute of the other DeepGEMM by its dotted path, or None if there is none."""
    found: Any = _state.module or other()
    if "." not in path:
        return getattr(found, path, None)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def nobody(name: str, what: str) -> UnsupportedError:
    """The error for a call that nothing here serves. `what` says what Deepwell lacks."""
    start = f"deep_gemm.{name}: {what}"
    if _state.module is not None:
        where = getattr(_state.module, "__file__", _state.module.__name__)
        version = getattr(_state.module, "__version__", "without a version")
        return UnsupportedError(
            f"{start}, and DeepGEMM {version} at {where} has no {name}", name, "", "a name that either has"
        )
    if _state.failures:
        error = MissingError(f"{start}, and {failure()}", name, failure(), "a DeepGEMM that loads")
        error.__cause__ = _state.cause
        return error
    return MissingError(
        f"{start}, and no other DeepGEMM is installed to forward to (vLLM's wheel brings one)",
        name,
        "no other DeepGEMM",
        "a DeepGEMM beside Deepwell",
    )


def _after_fork() -> None:
    """In a child, where the thread that held the lock may be gone."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def _forget() -> None:
    """For tests: nothing has been looked for yet. Modules that were imported stay so."""
    _state.__init__()
