"""What the person sees: a moving display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from devstack.managed_process import Part
from devstack.watcher import Watcher


@contextmanager
def _if_somebody_reads() -> Iterator[None]:
    """Output meanwhile. Once nobody reads it, because the terminal or the pipe was closed, it goes nowhere.

    A stack must be stopped in order also when there is nobody left to tell.
    """
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Screen(Watcher, Protocol):
    """A watcher that can also say things; a context manager for the time of the start."""

    def say(self, text: str) -> None:
        """One or more lines."""

    def __enter__(self) -> Screen: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainScreen:
    """A line for each event, complete at once, for logs and pipes."""

    def say(self, text: str) -> None:
        """One or more lines."""
        with _if_somebody_reads():
            print(text, flush=True)

    def starting(self, part: Part) -> None:
        """A start is not worth a line: its end is."""

    def healthy(self, part: Part, seconds: float) -> None:
        """A line."""
        self.say(f"{part.name} is healthy after {seconds:.1f} s (process {part.pid}, {part.address})")

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


class RichScreen:
    """A row for each part, which turns until the part is healthy."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[address]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._rows: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """One or more lines, above the rows while they are shown."""
        with _if_somebody_reads():
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def starting(self, part: Part) -> None:
        """A new row."""
        self._rows[part.name] = self._progress.add_task(part.name, total=1, address=part.address)

    def healthy(self, part: Part, seconds: float) -> None:  # noqa: ARG002
        """Its row is done, and shows the time itself."""
        self._progress.update(self._rows[part.name], completed=1)

    def __enter__(self) -> RichScreen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _if_somebody_reads():
            self._progress.stop()


def screen() -> Screen:
    """The one that suits where our output goes."""
    console = Console()
    return RichScreen(console) if console.is_terminal else PlainScreen()
