"""One stack per folder: a lock that lasts as long as the launcher, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.trouble import Trouble


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process. Raises Trouble when another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Trouble(
                f"A stack already runs on {folder} (process {file.read().strip()}). Stop that one first, or start "
                'another beside it: make run ARGS="--folder .parley2 --port 9080 --base-port 5300"'
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
