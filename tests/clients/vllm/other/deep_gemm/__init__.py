"""Stands in for another DeepGEMM beside Deepwell: has every name, notes each call, and computes nothing."""

__version__ = "2.8.1"
CALLS: list[str] = []


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)

    def call(*args, **kwargs):
        CALLS.append(name)

    call.__name__ = name
    return call
