"""Valkey, a server of the Redis protocol."""

from __future__ import annotations

import socket
from pathlib import Path

from devstack.binaries import server_binary
from devstack.managed_process import Probe, ProcessSpec
from devstack.ports import LOOPBACK


def valkey_spec(folder: Path, log: Path, port: int, *, name: str = "valkey") -> ProcessSpec:
    """Return the spec of a Valkey with an append-only file in `folder`, synced every second as in production."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        *(str(server_binary("valkey")), "--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
        # Writes must fail instead of evicting keys: clients rely on a change index that loses nothing unnoticed.
        *("--maxmemory-policy", "noeviction"),
    )
    return ProcessSpec(name, command, log, _probe(port), f"{LOOPBACK}:{port}", (port,))


def redis_url(port: int) -> str:
    """Return the URL of a Valkey on `port`."""
    return f"redis://{LOOPBACK}:{port}/0"


def _probe(port: int) -> Probe:
    def probe() -> str | None:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
        except OSError as error:
            return str(error)
        return None if reply.startswith(b"+PONG") else f"it replies {reply.decode(errors='replace').strip()}"

    return probe
