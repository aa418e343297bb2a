"""Stands in for another DeepGEMM beside Deepwell: has every name, notes each call, and computes nothing."""

__version__ = "2.8.1"
CALLS: list[str] = []


class Name:
    """A function, or a module with functions."""

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, *args, **kwargs):
        CALLS.append(self.__name__)

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return Name(f"{self.__name__}.{name}")


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)
    return Name(name)
