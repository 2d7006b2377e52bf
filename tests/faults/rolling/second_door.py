"""A second Envoy, which takes the place of the first one on the same port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx2
import yaml

from devstack.local_http import fetch
from devstack.managed_process import ManagedProcess
from devstack.ports import LOOPBACK
from devstack.stack import Stack

# A port of the stack's block that nothing else uses.
ADMIN_OFFSET: Final = 195


@asynccontextmanager
async def replaced_door(stack: Stack) -> AsyncIterator[None]:
    """Start another Envoy, let the present one take no more connections, then stop it.

    Both listen on one port with SO_REUSEPORT, like two pods behind the address of a Service: a new connection reaches
    either while both listen. The other one runs until the context is left.
    """
    first = stack.processes["envoy"]
    second = _another(stack, first)
    second.start()
    try:
        await asyncio.to_thread(second.wait_healthy)
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://{LOOPBACK}:{stack.layout.ports.envoy_admin}/drain_listeners")
            answer.raise_for_status()
        await asyncio.to_thread(first.terminate)
        yield
    finally:
        await asyncio.to_thread(second.terminate)


def _another(stack: Stack, first: ManagedProcess) -> ManagedProcess:
    port = stack.layout.ports.base + ADMIN_OFFSET
    before, after = (str(path) for path in _configurations(stack, port))

    def probe() -> str | None:
        try:
            fetch(f"http://{LOOPBACK}:{port}/ready")
        except OSError as error:
            return str(error)
        return None

    command = tuple(after if part == before else part for part in first.spec.command)
    log = stack.layout.log_path("envoy-second")
    return ManagedProcess(replace(first.spec, name="envoy-second", command=command, log=log, probe=probe))


def _configurations(stack: Stack, admin_port: int) -> tuple[Path, Path]:
    """Return the configuration of the present Envoy, and that of another one with its own administration port."""
    path = stack.layout.envoy.configuration
    configuration = yaml.safe_load(path.read_text())
    configuration["admin"]["address"]["socket_address"]["port_value"] = admin_port
    other = path.with_name("envoy-second.yaml")
    other.write_text(yaml.safe_dump(configuration))
    return path, other
