"""The progress of a transfer, reported to the application: it never goes back, and ends at the total."""

from __future__ import annotations

from collections.abc import Callable, Mapping

ProgressCallback = Callable[[int, int], None]
"""Called with the transferred bytes and the total. The first number never falls, and the last call has both equal."""


class Progress:
    """The bytes that several parts of one file have transferred. A part that is repeated does not count twice."""

    def __init__(self, total_bytes: int, on_progress: ProgressCallback | None) -> None:
        self._total_bytes = total_bytes
        self._on_progress = on_progress
        self._bytes_by_part: dict[int, int] = {}
        self._reported_bytes = -1

    def begin(self, bytes_by_part: Mapping[int, int]) -> None:
        """Report what an earlier attempt has transferred; nothing in a first attempt."""
        self._bytes_by_part.update(bytes_by_part)
        self._report(min(sum(self._bytes_by_part.values()), self._total_bytes - 1))

    def set_part(self, part: int, transferred_bytes: int) -> None:
        """Set the bytes of one part; a lower number than before means that the part is repeated."""
        self._bytes_by_part[part] = transferred_bytes
        # The total is reported once the file is complete and verified.
        self._report(min(sum(self._bytes_by_part.values()), self._total_bytes - 1))

    def finish(self) -> None:
        """Report the total."""
        self._report(self._total_bytes)

    def _report(self, transferred_bytes: int) -> None:
        if transferred_bytes > self._reported_bytes:
            self._reported_bytes = transferred_bytes
            if self._on_progress is not None:
                self._on_progress(transferred_bytes, self._total_bytes)
