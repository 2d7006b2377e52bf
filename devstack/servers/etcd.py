"""etcd, as a single node or a member of a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from devstack.binaries import server_binary
from devstack.local_http import fetch
from devstack.managed_process import Probe, ProcessSpec
from devstack.ports import LOOPBACK

DEFAULT_NAME = "devstack"


def etcd_spec(
    folder: Path,
    log: Path,
    port: int,
    peer_port: int,
    *,
    name: str = DEFAULT_NAME,
    peers: Mapping[str, int] | None = None,
) -> ProcessSpec:
    """Return the spec of an etcd with its data in `folder`.

    It does not sync to the disk, because leases and members are worthless after a power cut. `peers` has the peer port
    of each member of the cluster by name; without them it is a single node.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # etcd logs a warning if other users can read the folder.
    folder.chmod(0o700)
    client, peer = f"http://{LOOPBACK}:{port}", _peer_url(peer_port)
    cluster = peers or {name: peer_port}
    command = (
        *(str(server_binary("etcd")), "--name", name, "--data-dir", str(folder), "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *(
            "--initial-cluster",
            ",".join(f"{member}={_peer_url(peer_port)}" for member, peer_port in cluster.items()),
            "--log-level",
            "warn",
        ),
    )
    return ProcessSpec(
        "etcd" if peers is None else name,
        command,
        log,
        _probe(f"{client}/health"),
        f"{LOOPBACK}:{port}",
        (port, peer_port),
    )


def _peer_url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _probe(url: str) -> Probe:
    def probe() -> str | None:
        try:
            health = json.loads(fetch(url))
        except OSError as error:
            return str(error)
        return None if health.get("health") == "true" else f"its health is {health}"

    return probe
