"""`python -m tests.compat` records a system of this commit, for the tests of later commits."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.compat.coverage import missing_kinds
from tests.compat.record import record


def main() -> None:
    """Record, and print the file. Exit with 1 if the story misses a kind of frame or document."""
    with tempfile.TemporaryDirectory(prefix="parley-recording-") as folder:
        recording = asyncio.run(record(Path(folder)))
    if missing := missing_kinds(recording):
        raise SystemExit("The story of tests/compat/story.py has no:\n" + "\n".join(missing))
    path = recording.save()
    print(f"{path}, {path.stat().st_size:,} bytes")


main()
