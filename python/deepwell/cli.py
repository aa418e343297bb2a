"""The console script `deepwell`: runs the program bin/deepwell of this package."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    program = os.path.join(_PACKAGE, "bin", "deepwell")
    if not os.path.exists(program):
        sys.exit(f"deepwell: this installation has no command line ({program} is missing)")
    if not os.environ.get("DEEPWELL_WHEEL_PATHS"):
        # NVIDIA's wheels are beside this package, or where else this Python finds its modules.
        folders = [folder for folder in sys.path if os.path.isdir(os.path.join(folder, "nvidia"))]
        os.environ["DEEPWELL_WHEEL_PATHS"] = os.pathsep.join(dict.fromkeys([os.path.dirname(_PACKAGE), *folders]))
    try:
        os.execv(program, [program, *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"deepwell: cannot run {program}: {error.strerror}")


if __name__ == "__main__":
    main()
