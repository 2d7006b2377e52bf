"""Rolling restarts of the servers of a system."""

from __future__ import annotations

import asyncio

from devstack.stack import Stack


async def restart_in_turn(stack: Stack, service: str) -> None:
    """Restart the servers of a service, each once Envoy routes to the one before."""
    for server in stack.replicas(service):
        assert await asyncio.to_thread(server.terminate) == 0
        server.start()
        await asyncio.to_thread(server.wait_healthy)
        running = [each.address for each in stack.replicas(service)]
        await asyncio.to_thread(stack.wait_healthy_endpoints, service, running)
