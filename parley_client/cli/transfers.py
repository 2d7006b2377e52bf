"""The transfer of a file by a command: its progress bar, and what to do after an interruption."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from parley_client.cli.command import err
from parley_client.cli.text import one_cell
from parley_client.media.progress import ProgressCallback


@contextmanager
def show_transfer(description: str) -> Iterator[ProgressCallback]:
    """Yield a callback that draws a progress bar on a terminal. After Ctrl-C, name the command that continues."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            bar = progress.add_task(one_cell(description), total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
    except asyncio.CancelledError:
        command = one_cell(shlex.join(["parley", *sys.argv[1:]]))
        err.print(f"Interrupted. Continue with `{command}`.", style="yellow", soft_wrap=True)
        raise
