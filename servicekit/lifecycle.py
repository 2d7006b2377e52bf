"""The state of a server from its start to its drain, which a signal or an operator begins."""

from __future__ import annotations

import asyncio
import enum


class ServerState(enum.Enum):
    """The step of the life of a server."""

    STARTING = enum.auto()
    SERVING = enum.auto()
    DRAINING = enum.auto()


class Lifecycle:
    """The state of this server, and the request to stop it, which begins the drain."""

    def __init__(self) -> None:
        self.state = ServerState.STARTING
        self.stop_requested = asyncio.Event()
