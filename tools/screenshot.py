"""Screenshots of terminals as SVG, with colours.

`python -m tools.screenshot docs/demo.svg .venv/bin/parley demo` captures the output of a command;
`python -m tools.screenshot docs/messenger.svg messenger` captures the messenger, on the system of `make run`.
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
    """Write the screenshot and return the exit code of the command."""
    if command[0] == "messenger":
        Path(target).write_text(asyncio.run(messenger_svg(os.environ.get("PARLEY_DOOR", DOOR))))
        return 0
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    console = Console(record=True, width=WIDTH, force_terminal=True)
    command_line = " ".join([Path(command[0]).name, *command[1:]])
    output = completed.stdout
    console.print(Text.assemble(("$ ", "bold green"), command_line))
    console.print(Text.from_ansi(output.rsplit("\r", 1)[-1] if "\r" in output else output))
    Path(target).write_text(console.export_svg(title=command_line))
    return completed.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
