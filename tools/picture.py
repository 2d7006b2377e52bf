"""Takes a picture of a terminal: `python -m tools.picture docs/demo.svg .venv/bin/parley demo`.

Runs a command, shows what it prints, and writes it with its colours as an SVG.
"""

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 96


def main(target: str, *command: str) -> int:
    """Writes the picture and gives the exit code of the command."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    console = Console(record=True, width=WIDTH, force_terminal=True)
    shown = " ".join([Path(command[0]).name, *command[1:]])
    console.print(Text.assemble(("$ ", "bold green"), shown))
    console.print(Text.from_ansi(done.stdout.rsplit("\r", 1)[-1] if "\r" in done.stdout else done.stdout))
    Path(target).write_text(console.export_svg(title=shown))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
