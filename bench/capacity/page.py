"""The outputs of commands in docs/capacity.md: `python -m bench.capacity.page` writes the present ones."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

from bench.capacity.__main__ import main as print_capacity
from bench.results import ROOT
from bench.ring.__main__ import main as print_ring

PAGE: Final = ROOT / "docs" / "capacity.md"
PLOTS: Final = "docs"
"""The folder of the plots in the commands of the page, relative to the root of the repository."""
# A block of text whose first line is a command. The groups are its module, its arguments, and its output.
BLOCK: Final = re.compile(r"(?<=```\n)\$ \.venv/bin/python -m (bench\.\w+)([^\n]*)\n(.*?)(?=```)", re.DOTALL)
COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {
    "bench.capacity": print_capacity,
    "bench.ring": print_ring,
}


def run_block(module: str, arguments: str, folder: Path) -> str:
    """Return what a command prints now; its plots are written to `folder`."""
    output = io.StringIO()
    listed = [
        part.replace(PLOTS, str(folder), 1) if part.startswith(PLOTS) else part for part in shlex.split(arguments)
    ]
    with redirect_stdout(output):
        COMMANDS[module](listed)
    return output.getvalue()


def update_page(page: str, folder: Path) -> str:
    """Return a page with the present outputs of its commands; their plots are written to `folder`."""

    def replace(match: re.Match[str]) -> str:
        module, arguments, _ = match.groups()
        return f"$ .venv/bin/python -m {module}{arguments}\n{run_block(module, arguments, folder)}"

    return BLOCK.sub(replace, page)


if __name__ == "__main__":
    PAGE.write_text(update_page(PAGE.read_text(encoding="utf-8"), PAGE.parent), encoding="utf-8")
