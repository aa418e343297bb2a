"""The version that callers compare: of the DeepGEMM whose interface this is, Deepwell's behind the plus."""

import deepwell

INTERFACE = "2.8.1"


def version() -> str:
    """As PEP 440 has it: compares as INTERFACE does where what is behind the plus is not asked for."""
    try:
        own = str(deepwell.__version__)
    except Exception:  # the native module says it, and a version is no reason to fail
        own = ""
    return f"{INTERFACE}+deepwell" + (f".{own}" if own else "")
