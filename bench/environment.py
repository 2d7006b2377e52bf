"""The system under test: a stack of its own, with two chat servers without effective rate limits behind Envoy."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

from bench import calls
from bench.usage import child_pids
from bench.users import BenchUsers
from devstack.errors import SetupError
from devstack.stack import SERVERS, Stack
from devstack.watcher import Watcher

CHAT_SERVERS: Final = 2
# Devices send as fast as they can, so the rate limits must not apply.
LIMITS: Final = {
    "PARLEY_SENDS_PER_SECOND": "1000000",
    "PARLEY_SENDS_BURST": "1000000",
    "PARLEY_ENTRIES_PER_SECOND": "1000000",
    "PARLEY_ENTRIES_BURST": "1000000",
}
RING_TIMEOUT_S: Final = 20.0
SAMPLE_USERS: Final = 8


class BenchEnvironment:
    """A running system; a context manager. The replica that is named as the file `profile` writes its profile to it."""

    def __init__(self, folder: Path, profile: Path | None = None) -> None:
        names = {f"chat-{number}": f"bench-{number}" for number in range(1, CHAT_SERVERS + 1)}
        # Fixed server ids, so that the ring is the same in every run though the ports differ.
        server_ids = {server: {"PARLEY_SERVER_ID": name} for server, name in names.items()}
        self.stack = Stack(folder, CHAT_SERVERS, environment=LIMITS, environment_of=server_ids)
        self._addresses = {names[server.name]: server.address for server in self.stack.chat_servers}
        if profile is not None:
            replica = self.stack.processes[profile.name]
            python, _, module = replica.spec.command
            replica.spec = replace(replica.spec, command=(python, "-m", "bench.profiled_server", str(profile), module))

    def start(self, watcher: Watcher) -> None:
        """Start the stack, and wait until its servers agree on the ring. Raise SetupError if either fails."""
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
        """The address of Envoy for clients."""
        return self.stack.door

    @cached_property
    def users(self) -> BenchUsers:
        """The factory of users."""
        return BenchUsers(self.stack.mongo_uri, self.stack.signing_key_file, self._addresses)

    def pids(self) -> dict[str, list[int]]:
        """Return the process ids by kind of process. Raise SetupError if a process has ended."""
        single = {name: [self.stack.processes[name].pid] for name in SERVERS}
        replicas = {
            name: [replica.pid for replica in self.stack.replicas(name)]
            for name in ("chat", "media", "presence", "notify")
        }
        workers = [child for media in replicas["media"] for child in child_pids(media)]
        return {**replicas, "workers": workers, **single, "bench": [os.getpid()]}

    def _wait_ring_agreed(self) -> None:
        users = self.users.create_users(SAMPLE_USERS)
        expected = [user.home for user in users]
        deadline = time.monotonic() + RING_TIMEOUT_S
        while not all(calls.locate_homes(server, users) == expected for server in self._addresses.values()):
            if time.monotonic() > deadline:
                raise SetupError(f"The chat servers do not agree on the ring after {RING_TIMEOUT_S:.0f} s.")
            time.sleep(0.1)
