"""Where the scenes play: a system of their own behind Envoy, two chat servers with limits out of the way."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

from bench import calls
from bench.users import BenchUsers
from devstack.errors import SetupError
from devstack.stack import Stack
from devstack.watcher import Watcher

CHAT_SERVERS: Final = 2
# A device of a scene sends as much as it can.
LIMITS: Final = {
    "PARLEY_SENDS_PER_SECOND": "1000000",
    "PARLEY_SENDS_BURST": "1000000",
    "PARLEY_ENTRIES_PER_SECOND": "1000000",
    "PARLEY_ENTRIES_BURST": "1000000",
}
RING_TIMEOUT_S: Final = 20.0
SAMPLE_USERS: Final = 8


class BenchEnvironment:
    """A running system; a context manager. With `profile`, the first chat server writes its profile there."""

    def __init__(self, folder: Path, profile: Path | None = None) -> None:
        names = {f"chat-{number}": f"bench-{number}" for number in range(1, CHAT_SERVERS + 1)}
        # Names of their own on the ring, which does not change with the ports then.
        named = {server: {"PARLEY_SERVER_ID": name} for server, name in names.items()}
        self.stack = Stack(folder, CHAT_SERVERS, environment=LIMITS, environment_of=named)
        self._addresses = {names[each.name]: each.address for each in self.stack.chat_servers}
        if profile is not None:
            first = self.stack.chat_servers[0]
            python = first.spec.command[0]
            first.spec = replace(first.spec, command=(python, "-m", "bench.profiled_server", str(profile)))

    def start(self, watcher: Watcher) -> None:
        """Start it, and wait until its servers agree about the ring. Raises Trouble."""
        self.stack.start(watcher=watcher)
        self._wait_ring_agreed()

    def __enter__(self) -> BenchEnvironment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)

    @property
    def door(self) -> str:
        """Where Envoy takes calls."""
        return self.stack.door

    @cached_property
    def users(self) -> BenchUsers:
        """Who makes users."""
        return BenchUsers(self.stack.mongo_uri, self.stack.signing_key_file, self._addresses)

    def pids(self) -> dict[str, list[int]]:
        """Process ids by what they run. Raises Trouble when one has ended."""
        alone = {name: [self.stack.processes[name].pid] for name in ("mongod", "valkey", "envoy", "etcd")}
        return {"chat": [server.pid for server in self.stack.chat_servers], **alone, "bench": [os.getpid()]}

    def _wait_ring_agreed(self) -> None:
        some = self.users.create_users(SAMPLE_USERS)
        wanted = [each.home for each in some]
        deadline = time.monotonic() + RING_TIMEOUT_S
        while not all(calls.locate_homes(server, some) == wanted for server in self._addresses.values()):
            if time.monotonic() > deadline:
                raise SetupError(f"The chat servers do not agree about their ring after {RING_TIMEOUT_S:.0f} s.")
            time.sleep(0.1)
