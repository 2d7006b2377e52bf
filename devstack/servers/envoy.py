"""Envoy, the door."""

from __future__ import annotations

from pathlib import Path

from devstack.binaries import binary
from devstack.envoy_config import Door
from devstack.managed_process import Recipe
from devstack.ports import LOOPBACK, Ports


def envoy(door: Door, log: Path, ports: Ports) -> Recipe:
    """Follows the files of `door`."""
    command = (
        *(str(binary("envoy")), "-c", str(door.configuration), "--log-level", "warning"),
        # Two workers are plenty for one machine, which has others to feed.
        *("--concurrency", "2"),
        # Hot restart shares memory with an older Envoy by a number: two stacks would meet there.
        "--disable-hot-restart",
    )
    return Recipe("envoy", command, log, door.unready, f"{LOOPBACK}:{ports.door}", (ports.door, ports.envoy_admin))
