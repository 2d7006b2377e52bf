"""A cluster of three Valkeys, each the primary of a third of the slots."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from devstack.managed_process import ManagedProcess, Probe
from devstack.ports import LOOPBACK, PortBlock
from devstack.servers.valkey import valkey_spec

NODES: Final = 3
_SLOTS: Final = 16_384


class ValkeyCluster:
    """A running cluster; a context manager that starts and stops it. `nodes` are its processes."""

    def __init__(self, folder: Path) -> None:
        self._block = PortBlock()
        base = self._block.ports.base
        self._ports = range(base, base + NODES)
        self._folder = folder
        self.nodes = [self._node(folder, number, port) for number, port in enumerate(self._ports)]

    @property
    def url(self) -> str:
        """The URL of the cluster, with all its nodes."""
        return f"redis://{','.join(f'{LOOPBACK}:{port}' for port in self._ports)}/0"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a service that uses it."""
        return {"PARLEY_REDIS_URL": self.url, "PARLEY_REDIS_CLUSTER": "true"}

    def _node(self, folder: Path, number: int, port: int) -> ManagedProcess:
        name = f"valkey-{number + 1}"
        spec = valkey_spec(folder / name, folder / f"{name}.log", port, name=name)
        # Without a replica nobody takes over: a node that is gone for a moment is the same primary afterwards.
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(port + NODES), "--cluster-node-timeout", "1000")
        # A primary would wait for its replica before it stops, and for more replicas before it sends its data.
        at_once = ("--shutdown-timeout", "0", "--repl-diskless-sync-delay", "0")
        return ManagedProcess(replace(spec, command=(*spec.command, *cluster, *at_once)))

    def __enter__(self) -> ValkeyCluster:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_healthy()
        self._join()
        return self

    def _join(self) -> None:
        """Give each node its slots, let them meet, and wait until each knows all."""
        bounds = [_SLOTS * number // NODES for number in range(NODES + 1)]
        for port, (first, end) in zip(self._ports, pairwise(bounds), strict=True):
            with Redis(LOOPBACK, port) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
                client.execute_command("CLUSTER MEET", LOOPBACK, self._ports[0], self._ports[0] + NODES)
        for node, port in zip(self.nodes, self._ports, strict=True):
            # From now on a node is healthy if it has joined, also after a restart.
            node.spec = replace(node.spec, probe=_is_complete(port))
            node.wait_healthy()

    def add_replica(self) -> None:
        """Add a replica of the first node, which takes over if that one dies."""
        port = self._ports[-1] + NODES + 1
        replica = self._node(self._folder, NODES, port)
        replica.spec = replace(replica.spec, probe=_follows(port, self._ports[0]))
        self.nodes.append(replica)
        replica.start()
        replica.wait_healthy()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.request_stop()
        for node in self.nodes:
            node.wait_exited(5)
        self._block.release()


def _follows(port: int, primary: int) -> Probe:
    """Return a probe that makes a node the replica of a primary, and waits until it has its data."""

    def probe() -> str | None:
        with Redis(LOOPBACK, primary) as client:
            primary_id = client.execute_command("CLUSTER MYID").decode()
        with Redis(LOOPBACK, port) as client:
            try:
                client.execute_command("CLUSTER MEET", LOOPBACK, primary, primary + NODES)
                client.execute_command("CLUSTER REPLICATE", primary_id)
                link = client.info("replication").get("master_link_status")
            except RedisError as error:
                return str(error)
        return None if link == "up" else "it has not synced yet"

    return probe


def _is_complete(port: int) -> Probe:
    def probe() -> str | None:
        with Redis(LOOPBACK, port) as client:
            try:
                info = client.execute_command("CLUSTER INFO")
            except RedisError as error:
                return str(error)
        nodes, state = int(info["cluster_known_nodes"]), info["cluster_state"]
        return None if state == "ok" and nodes == NODES else f"its state is {state}, and it knows {nodes} nodes"

    return probe
