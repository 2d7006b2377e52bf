"""The rotation of the logs of `make run`: at each start, and of a log that has grown large while its process runs."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 32 << 20
KEPT_LOGS: Final = 3


def rotate_logs(folder: Path) -> None:
    """Rename the logs of the previous run to `.log.1`, and older ones to higher numbers, up to KEPT_LOGS."""
    for log in folder.glob("*.log"):
        _shift_old(log)
        log.replace(_numbered(log, 1))


def rotate_large_logs(folder: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Copy each log of more than `max_bytes` to `.log.1`, and empty it.

    Its process goes on writing to the same file, at its new end, because it appends. What it writes between the copy
    and the truncation is lost. A log that cannot be copied, because the disk is full, is emptied without a copy.
    """
    for log in folder.glob("*.log"):
        # Logs are not worth a running stack: the user may delete one at any time.
        with suppress(OSError):
            if log.stat().st_size > max_bytes:
                _shift_old(log)
                _copy(log, _numbered(log, 1))
                os.truncate(log, 0)


def _shift_old(log: Path) -> None:
    for number in range(KEPT_LOGS - 1, 0, -1):
        if (old := _numbered(log, number)).exists():
            old.replace(_numbered(log, number + 1))


def _copy(log: Path, target: Path) -> None:
    try:
        with log.open("rb") as source, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as copy:
            shutil.copyfileobj(source, copy)
    except OSError:
        target.unlink(missing_ok=True)


def _numbered(log: Path, number: int) -> Path:
    return log.with_suffix(f".log.{number}")
