"""`python -m bench.profiled_server FILE MODULE`: a service that writes its CPU profile to FILE when it exits."""

from __future__ import annotations

import cProfile
import sys
from importlib import import_module
from pathlib import Path

from servicekit.server import run


def serve(file: Path, module: str) -> None:
    """Run the service of `python -m <module>` until SIGTERM, then write its profile to `file`."""
    main = import_module(f"{module}.__main__").main
    profile = cProfile.Profile()
    try:
        profile.runcall(run, main())
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
