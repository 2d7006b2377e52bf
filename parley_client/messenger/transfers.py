"""The files that are being sent and saved, as the status line shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from parley_client.media.progress import ProgressCallback


@dataclass(eq=False, slots=True)
class Transfer:
    """One transfer. `percent` is None until its size is known, as while a file is hashed."""

    name: str
    is_upload: bool
    percent: int | None = None

    def describe(self) -> str:
        """Return the transfer in a few words."""
        percent = "…" if self.percent is None else f" {self.percent} %"
        return f"{'↑' if self.is_upload else '↓'} {self.name}{percent}"


class Transfers:
    """The running transfers. `on_change` is called when the status line should be drawn again."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._running: list[Transfer] = []

    @property
    def upload_count(self) -> int:
        """The number of files that are being sent."""
        return sum(each.is_upload for each in self._running)

    @contextmanager
    def track(self, name: str, *, is_upload: bool) -> Iterator[ProgressCallback]:
        """Show a transfer while the block runs; yield the callback for its progress."""
        transfer = Transfer(name, is_upload)
        self._running.append(transfer)
        self._on_change()

        def report(done: int, total: int) -> None:
            percent = 100 * done // total
            if percent != transfer.percent:
                transfer.percent = percent
                self._on_change()

        try:
            yield report
        finally:
            self._running.remove(transfer)
            self._on_change()

    def describe(self) -> str:
        """Return the transfers in a few words each; empty if there is none."""
        return "  ".join(each.describe() for each in self._running)
