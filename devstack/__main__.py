"""The command line of `make run`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from devstack.display import create_display
from devstack.errors import SetupError
from devstack.launcher import launch
from devstack.ports import Ports
from devstack.services import CHAT
from devstack.startup_summary import DEFAULT_DOOR


class LogLevel(StrEnum):
    """The log levels of services."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def parley_on_one_machine() -> None:
    """Run Parley on one machine, with real servers."""


@app.command()
def run(
    chat_servers: Annotated[
        int, typer.Option(min=0, max=CHAT.max_replicas, help="The number of chat servers in the ring.")
    ] = CHAT.replicas,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of Envoy, for clients.")] = DEFAULT_DOOR,
    base_port: Annotated[
        int,
        typer.Option(min=1, max=65335, help="The first of the 200 ports of the servers behind Envoy."),
    ] = 5100,
    folder: Annotated[Path, typer.Option(help="The folder of data, secrets and logs.")] = Path(".parley"),
    log_level: Annotated[LogLevel, typer.Option(help="The log level of the services.")] = LogLevel.INFO,
) -> None:
    """Start MongoDB, Valkey, etcd, Envoy and the services, and keep them running until Ctrl-C."""
    # A local system has few streams to move, and Ctrl-C waits for the drain, so it is short.
    environment = {"PARLEY_LOG_LEVEL": log_level, "PARLEY_DRAIN_SECONDS": "2"}
    try:
        launch(folder, Ports(door=port, base=base_port), chat_servers, environment, create_display())
    except SetupError as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    app()
