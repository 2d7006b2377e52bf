"""etcd, alone in its cluster."""

from __future__ import annotations

import json
from pathlib import Path

from devstack.binaries import binary
from devstack.part import Probe, Recipe
from devstack.ports import LOOPBACK
from devstack.web import page


def etcd(folder: Path, log: Path, port: int, peer_port: int) -> Recipe:
    """Data in `folder`. It does not wait for the disk: leases and members are worthless after a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    # etcd wants it closed to others, and says so in its log otherwise.
    folder.chmod(0o700)
    client, peer = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer_port}"
    command = (
        *(str(binary("etcd")), "--name", "devstack", "--data-dir", str(folder), "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"devstack={peer}", "--log-level", "warn"),
    )
    return Recipe("etcd", command, log, _probe(f"{client}/health"), f"{LOOPBACK}:{port}", (port, peer_port))


def _probe(url: str) -> Probe:
    def look() -> str | None:
        try:
            health = json.loads(page(url))
        except OSError as error:
            return str(error)
        return None if health.get("health") == "true" else f"it says {health}"

    return look
