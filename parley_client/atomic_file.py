"""JSON files that are replaced atomically, so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: Any, *, durable: bool = True) -> None:
    """Replace `path` by a JSON file (mode 0600), and create its folder. Raises OSError.

    A `durable` file survives a crash of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Each writer has its own temporary file: threads and programs may write concurrently, and the last rename wins.
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    Path(temporary).replace(path)
