"""Takes a picture of a terminal, with its colours, as an SVG.

`python -m tools.screenshot docs/demo.svg .venv/bin/parley demo` shows what a command prints;
`python -m tools.screenshot docs/messenger.svg messenger` the messenger, on the system that `make run` started.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tools.demo_conversation import messenger_svg

WIDTH = 96
DOOR = "127.0.0.1:8080"


def main(target: str, *command: str) -> int:
    """Writes the picture and gives the exit code of the command."""
    if command[0] == "messenger":
        Path(target).write_text(asyncio.run(messenger_svg(os.environ.get("PARLEY_DOOR", DOOR))))
        return 0
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
