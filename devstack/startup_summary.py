"""The text that `make run` prints once the stack is healthy: the addresses, and commands to try."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from devstack.managed_process import ManagedProcess
from devstack.options import DEFAULT_DOOR
from devstack.servers.service import ServiceReplica
from devstack.stack import Stack

_DESCRIPTIONS = {
    "mongod": "MongoDB: the conversation logs and accounts",
    "valkey": "Valkey: the change index",
    "etcd": "etcd: the members of the ring",
    "seaweedfs": "SeaweedFS: the files, an S3 store",
    "envoy": "Envoy: the gateway, gRPC and grpc-web",
}


def startup_summary(stack: Stack) -> str:
    """Return the summary of a running stack, several lines."""
    processes = stack.processes.values()
    width = max((len(process.name) for process in processes), default=0)
    rows = [f"  {process.name:<{width}}  {process.address:<15}  {_describe(process)}" for process in processes]
    return "\n".join(
        (
            f"Parley is up at {stack.door}, presigned addresses of files at {stack.media_origin}.",
            *rows,
            "Try, in another terminal:",
            *(f"  {line}" for line in _commands_to_try(stack)),
            f"Logs are in {_shortest_path(stack.layout.folder / 'logs')}, "
            f"data and secrets in {_shortest_path(stack.layout.folder)}. Ctrl-C stops everything.",
        )
    )


def _describe(process: ManagedProcess) -> str:
    if isinstance(process, ServiceReplica):
        return f"{process.description}; metrics at http://{process.metrics_address}/metrics"
    return _DESCRIPTIONS[process.name]


def _commands_to_try(stack: Stack) -> list[str]:
    if not stack.chat_servers:
        return [f"curl -i http://{stack.door}/   (there are no chat servers: Envoy answers 401 without a token)"]
    bin_folder = _shortest_path(Path(sys.prefix, "bin"))
    door = "" if stack.layout.ports.door == DEFAULT_DOOR else f" --door {stack.door}"
    return [
        f"{bin_folder}/parley demo{door}",
        f"{bin_folder}/parley register alice{door}",
        f"{bin_folder}/parley register bob{door}",
        f"{bin_folder}/parley chat bob --as alice{door}",
        f"{bin_folder}/grpcurl -plaintext {stack.door} list",
    ]


def _shortest_path(path: Path) -> str:
    """Return `path` relative to the current folder if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
