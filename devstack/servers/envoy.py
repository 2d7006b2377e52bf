"""Envoy, the proxy in front of the chat servers."""

from __future__ import annotations

from pathlib import Path

from devstack.binaries import server_binary
from devstack.envoy_config import EnvoyConfig
from devstack.managed_process import ProcessSpec
from devstack.ports import LOOPBACK, Ports


def envoy_spec(config: EnvoyConfig, log: Path, ports: Ports, *, serves_media: bool) -> ProcessSpec:
    """Return the spec of an Envoy that runs with `config`, which may have the listener for presigned addresses."""
    command = (
        *(str(server_binary("envoy")), "-c", str(config.configuration), "--log-level", "warning"),
        # Two worker threads are enough on a machine that runs all other servers too.
        *("--concurrency", "2"),
        # Hot restart uses shared memory by a fixed id, which two stacks on one machine would share.
        "--disable-hot-restart",
    )
    listeners = (ports.door, ports.media) if serves_media else (ports.door,)
    address = f"{LOOPBACK}:{ports.door}"
    return ProcessSpec("envoy", command, log, config.probe, address, (*listeners, ports.envoy_admin))
