"""JSON files that are replaced atomically, so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

# What the name of a temporary file has more than that of the file: a dot, eight characters and a suffix.
_SUFFIX: Final = ".new"
ADDED_NAME_BYTES: Final = 9 + len(_SUFFIX)


def write_atomically(path: Path, content: Any, *, durable: bool = True) -> None:
    """Replace `path` by a JSON file (mode 0600), and create its folder. Raises OSError.

    A `durable` file survives a crash of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Each writer has its own temporary file: threads and programs may write concurrently, and the last rename wins.
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=_SUFFIX, dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    Path(temporary).replace(path)
