"""The console script `deepwell`: runs the program bin/deepwell of this package. `deepwell doctor` begins with the Python side."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def _python_side(arguments: list[str]) -> None:
    """What only Python knows of this installation; as JSON, a line of its own."""
    from . import _doctor

    if "--json" in arguments:
        import json

        print(json.dumps({"python": _doctor.as_json()}), flush=True)
    else:
        print(_doctor.text(), end="\n\n", flush=True)


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["doctor"] and not {"-h", "--help"} & set(arguments):
        _python_side(arguments)
    program = os.path.join(_PACKAGE, "bin", "deepwell")
    if not os.path.exists(program):
        sys.exit(f"deepwell: this installation has no command line ({program} is missing)")
    if not os.environ.get("DEEPWELL_WHEEL_PATHS"):
        # NVIDIA's wheels are beside this package, or where else this Python finds its modules.
        folders = [folder for folder in sys.path if os.path.isdir(os.path.join(folder, "nvidia"))]
        os.environ["DEEPWELL_WHEEL_PATHS"] = os.pathsep.join(
            dict.fromkeys([os.path.dirname(_PACKAGE), *folders])
        )
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        sys.exit(f"deepwell: cannot run {program}: {error.strerror}")


if __name__ == "__main__":
    main()
