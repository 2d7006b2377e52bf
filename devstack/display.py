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

from devstack.managed_process import ManagedProcess
from devstack.watcher import Watcher


@contextmanager
def _ignoring_closed_output() -> Iterator[None]:
    """Output meanwhile. Once nobody reads it, because the terminal or the pipe was closed, it goes nowhere.

    A stack must be stopped in order also when there is nobody left to tell.
    """
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Display(Watcher, Protocol):
    """A watcher that can also say things; a context manager for the time of the start."""

    def print_text(self, text: str) -> None:
        """One or more lines."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainDisplay:
    """A line for each event, complete at once, for logs and pipes."""

    def print_text(self, text: str) -> None:
        """One or more lines."""
        with _ignoring_closed_output():
            print(text, flush=True)

    def process_started(self, part: ManagedProcess) -> None:
        """A start is not worth a line: its end is."""

    def process_healthy(self, part: ManagedProcess, seconds: float) -> None:
        """A line."""
        self.print_text(f"{part.name} is healthy after {seconds:.1f} s (process {part.pid}, {part.address})")

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


class RichDisplay:
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

    def print_text(self, text: str) -> None:
        """One or more lines, above the rows while they are shown."""
        with _ignoring_closed_output():
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def process_started(self, part: ManagedProcess) -> None:
        """A new row."""
        self._rows[part.name] = self._progress.add_task(part.name, total=1, address=part.address)

    def process_healthy(self, part: ManagedProcess, seconds: float) -> None:  # noqa: ARG002
        """Its row is done, and shows the time itself."""
        self._progress.update(self._rows[part.name], completed=1)

    def __enter__(self) -> RichDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _ignoring_closed_output():
            self._progress.stop()


def create_display() -> Display:
    """The one that suits where our output goes."""
    console = Console()
    return RichDisplay(console) if console.is_terminal else PlainDisplay()
