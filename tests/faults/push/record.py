"""The record of the provider for development, read while it grows."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.faults.push.journal import Pushed


class PushRecord:
    """Reads the lines that notify servers append to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        # The provider tells the time of day.
        self._epoch = time.time() - time.monotonic()

    def read_new(self) -> list[Pushed]:
        """Return the pushes that were recorded since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            # A line is one write, but its end may not be there yet.
            complete = file.read().rpartition(b"\n")
        self._read_bytes += len(complete[0]) + len(complete[1])
        return [self._decode(line) for line in complete[0].splitlines()]

    def _decode(self, line: bytes) -> Pushed:
        fields = json.loads(line)
        return Pushed(
            fields["token"],
            fields["kind"],
            fields["conversation_id"],
            fields["seq"],
            fields["collapse_id"],
            fields.get("title", ""),
            fields.get("body", ""),
            fields["time_ms"] / 1000 - self._epoch,
        )
