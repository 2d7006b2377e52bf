"""The output of `make run`: progress rows on a terminal, plain lines elsewhere."""

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
    """Redirect stdout to /dev/null if output within the block fails, because the terminal or the pipe was closed.

    Output must not fail then, because the stack still has to be stopped in order.
    """
    try:
        yield
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class Display(Watcher, Protocol):
    """A watcher that can also print text; as a context manager it shows the progress of the start."""

    def print_text(self, text: str) -> None:
        """Print one or more lines."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainDisplay:
    """A display that prints a complete line for each event, for logs and pipes."""

    def print_text(self, text: str) -> None:
        """Print one or more lines."""
        with _ignoring_closed_output():
            print(text, flush=True)

    def process_started(self, process: ManagedProcess) -> None:
        """Do nothing: a line is printed once the process is healthy."""

    def process_healthy(self, process: ManagedProcess, seconds: float) -> None:
        """Print a line with the time to become healthy, the process id and the address."""
        self.print_text(f"{process.name} is healthy after {seconds:.1f} s (process {process.pid}, {process.address})")

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""


class RichDisplay:
    """A display with a row and a spinner for each process, until the process is healthy."""

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
        """Print one or more lines, above the rows while they are shown."""
        with _ignoring_closed_output():
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def process_started(self, process: ManagedProcess) -> None:
        """Add a row."""
        self._rows[process.name] = self._progress.add_task(process.name, total=1, address=process.address)

    def process_healthy(self, process: ManagedProcess, seconds: float) -> None:  # noqa: ARG002
        """Complete the row, which shows the elapsed time itself."""
        self._progress.update(self._rows[process.name], completed=1)

    def __enter__(self) -> RichDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _ignoring_closed_output():
            self._progress.stop()


def create_display() -> Display:
    """Return a RichDisplay if stdout is a terminal, else a PlainDisplay."""
    console = Console()
    return RichDisplay(console) if console.is_terminal else PlainDisplay()
