"""Conditions of tests. They are evaluated when the test is called: importing touches no device."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from .._forward import device_major, names_of_other


def get_arch_major() -> int:
    """The compute capability's first number of the current device, real or emulated."""
    return device_major()


def test_filter(condition: Callable[[], bool]) -> Callable[[Any], Any]:
    """Decorator: the function runs only where condition() is true; else it says so and returns None."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if condition():
                return function(*args, **kwargs)
            print(f"{function.__name__}: left out, its condition does not hold here")
            return None

        return call

    return decorate


test_filter.__test__ = False  # no test itself, whatever its name says


def ignore_env(name: str, condition: Callable[[], bool]) -> Callable[[Any], Any]:
    """Decorator: while the function runs, the environment variable is unset if condition() is true."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            saved = os.environ.pop(name, None) if condition() else None
            try:
                return function(*args, **kwargs)
            finally:
                if saved is not None:
                    os.environ[name] = saved

        return call

    return decorate


__getattr__ = names_of_other("testing.utils")
