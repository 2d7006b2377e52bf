"""Envoy, the door."""

from __future__ import annotations

from pathlib import Path

from devstack.binaries import server_binary
from devstack.envoy_config import EnvoyConfig
from devstack.managed_process import ProcessSpec
from devstack.ports import LOOPBACK, Ports


def envoy_spec(config: EnvoyConfig, log: Path, ports: Ports) -> ProcessSpec:
    """Follows the files of `door`."""
    command = (
        *(str(server_binary("envoy")), "-c", str(config.configuration), "--log-level", "warning"),
        # Two workers are plenty for one machine, which has others to feed.
        *("--concurrency", "2"),
        # Hot restart shares memory with an older Envoy by a number: two stacks would meet there.
        "--disable-hot-restart",
    )
    return ProcessSpec("envoy", command, log, config.probe, f"{LOOPBACK}:{ports.door}", (ports.door, ports.envoy_admin))
