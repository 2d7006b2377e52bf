"""`python -m bench.profiled_server FILE`: a chat server that writes its CPU profile to FILE when it exits."""

from __future__ import annotations

import cProfile
import sys
from pathlib import Path

from chat_service.__main__ import main
from servicekit.server import run


def serve(file: Path) -> None:
    """Run a chat server until SIGTERM, then write its profile to `file`."""
    profile = cProfile.Profile()
    try:
        profile.runcall(run, main())
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
