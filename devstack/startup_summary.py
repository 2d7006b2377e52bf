"""What `make run` says when all is up: what runs where, and what to try next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from devstack.managed_process import Part
from devstack.servers.chat import ChatServer
from devstack.stack import Stack

_WHAT = {
    "mongod": "MongoDB: the truth",
    "valkey": "Valkey: the index of changes",
    "etcd": "etcd: who is in the ring",
    "envoy": "Envoy: the door, gRPC and grpc-web",
}


def guide(stack: Stack) -> str:
    """Lines for the person."""
    rows = [f"  {part.name:<8} {part.address:<16} {_what(part)}" for part in stack.parts.values()]
    return "\n".join(
        (
            f"Parley is up. Its door is {stack.door}.",
            *rows,
            "Try, in another terminal:",
            *(f"  {line}" for line in _things_to_try(stack)),
            f"Logs are in {_short(stack.layout.folder / 'logs')}, data and secrets in {_short(stack.layout.folder)}. "
            "Ctrl-C stops everything.",
        )
    )


def _what(part: Part) -> str:
    if isinstance(part, ChatServer):
        return f"a chat server; metrics at http://{part.metrics_address}/metrics"
    return _WHAT[part.name]


def _things_to_try(stack: Stack) -> list[str]:
    if not stack.chat_servers:
        return [f"curl -i http://{stack.door}/   (there are no chat servers: 401 is the door asking for a token)"]
    bin_folder = _short(Path(sys.prefix, "bin"))
    door = "" if stack.layout.ports.door == DEFAULT_DOOR else f" --door {stack.door}"
    return [
        f"{bin_folder}/parley demo{door}",
        f"{bin_folder}/parley register alice{door}",
        f"{bin_folder}/parley register bob{door}",
        f"{bin_folder}/parley chat bob --as alice{door}",
        f"{bin_folder}/grpcurl -plaintext {stack.door} list",
    ]


DEFAULT_DOOR = 8080
"""Where the `parley` command looks when it is not told."""


def _short(path: Path) -> str:
    """Relative to where the person is, when that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
