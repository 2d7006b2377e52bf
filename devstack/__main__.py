"""The command behind `make run`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from devstack.display import create_display
from devstack.errors import SetupError
from devstack.launcher import launch
from devstack.ports import MAX_CHAT_SERVERS, Ports
from devstack.startup_summary import DEFAULT_DOOR


class LogLevel(StrEnum):
    """How much chat servers log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def parley_on_one_machine() -> None:
    """Parley on one machine, on real servers."""


@app.command()
def run(
    chat_servers: Annotated[
        int, typer.Option(min=0, max=MAX_CHAT_SERVERS, help="How many chat servers stand in the ring.")
    ] = 2,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Envoy, the door, takes calls.")] = DEFAULT_DOOR,
    base_port: Annotated[
        int,
        typer.Option(min=1, max=65435, help="What is behind the door takes ports from here to 99 further on."),
    ] = 5100,
    folder: Annotated[Path, typer.Option(help="Where data, secrets and logs are kept.")] = Path(".parley"),
    log_level: Annotated[LogLevel, typer.Option(help="How much chat servers log.")] = LogLevel.INFO,
) -> None:
    """Start MongoDB, Valkey, etcd, Envoy and chat servers, and keep them up until Ctrl-C."""
    # The few who talk here are soon asked to move, and whoever presses Ctrl-C waits for it.
    environment = {"PARLEY_LOG_LEVEL": log_level, "PARLEY_DRAIN_SECONDS": "2"}
    try:
        launch(folder, Ports(door=port, base=base_port), chat_servers, environment, create_display())
    except SetupError as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    app()
