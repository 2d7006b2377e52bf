"""Valkey, which speaks Redis's protocol."""

from __future__ import annotations

import socket
from pathlib import Path

from devstack.binaries import server_binary
from devstack.managed_process import Probe, ProcessSpec
from devstack.ports import LOOPBACK


def valkey_spec(folder: Path, log: Path, port: int, *, name: str = "valkey") -> ProcessSpec:
    """Data in `folder`, appended to a file and synced each second, as it would run in earnest."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        *(str(server_binary("valkey")), "--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
        # Nothing may be thrown away to make room: an index that forgets in silence breaks promises.
        *("--maxmemory-policy", "noeviction"),
    )
    return ProcessSpec(name, command, log, _probe(port), f"{LOOPBACK}:{port}", (port,))


def redis_url(port: int) -> str:
    """The address as clients want it."""
    return f"redis://{LOOPBACK}:{port}/0"


def _probe(port: int) -> Probe:
    def look() -> str | None:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError as error:
            return str(error)
        return None if answer.startswith(b"+PONG") else f"it says {answer.decode(errors='replace').strip()}"

    return look
