"""The ports of a stack: fixed ones for `make run`, a free block for each stack of a test."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devstack.errors import SetupError

LOOPBACK = "127.0.0.1"
MAX_CHAT_SERVERS = 20

# The blocks are below the kernel's range of ephemeral ports (32768 and up by default). A port in that range may be
# taken by an outgoing connection when a killed process wants to listen on it again.
_FIRST_PORT, _PORTS_END, _BLOCK_SIZE = 10_000, 32_000, 100


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack: the one of Envoy, and 100 from `base` on for the servers behind it.

    base + 1 to + 20 are the chat servers' public ports, + 21 to + 40 their mesh ports, + 41 to + 60 their
    metrics, and the stores follow from + 71.
    """

    door: int
    base: int

    def chat(self, number: int) -> int:
        """The public port of chat server `number`, from 1."""
        return self.base + self._check_number(number)

    def mesh(self, number: int) -> int:
        """The mesh port of chat server `number`, which other servers connect to."""
        return self.base + MAX_CHAT_SERVERS + self._check_number(number)

    def metrics(self, number: int) -> int:
        """The metrics port of chat server `number`, which Prometheus scrapes."""
        return self.base + 2 * MAX_CHAT_SERVERS + self._check_number(number)

    def _check_number(self, number: int) -> int:
        if not 1 <= number <= MAX_CHAT_SERVERS:
            raise SetupError(f"One machine can run {MAX_CHAT_SERVERS} chat servers, not {number}.")
        return number

    @property
    def mongod(self) -> int:
        """The port of MongoDB."""
        return self.base + 71

    @property
    def valkey(self) -> int:
        """The port of Valkey."""
        return self.base + 72

    @property
    def etcd(self) -> int:
        """The client port of etcd."""
        return self.base + 73

    @property
    def etcd_peer(self) -> int:
        """The peer port of etcd; a single node listens on it as well."""
        return self.base + 74

    @property
    def envoy_admin(self) -> int:
        """The port of Envoy's administration interface."""
        return self.base + 75


def is_free(port: int) -> bool:
    """Return True if a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class PortBlock:
    """A block of 100 free ports, reserved against other stacks of this user while the object lives.

    The reservation is a file lock, which the kernel releases when the process ends for any reason.
    """

    def __init__(self) -> None:
        blocks = list(range(_FIRST_PORT, _PORTS_END, _BLOCK_SIZE))
        random.shuffle(blocks)
        for base in blocks:
            lock = _try_lock(_lock_folder() / str(base))
            if lock is None:
                continue
            if all(is_free(port) for port in range(base, base + _BLOCK_SIZE)):
                self._lock = lock
                self.ports = Ports(door=base, base=base)
                return
            lock.close()
        raise SetupError(f"There are no {_BLOCK_SIZE} consecutive free ports between {_FIRST_PORT} and {_PORTS_END}.")

    def release(self) -> None:
        """Release the block for other stacks."""
        self._lock.close()


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir(), f"parley-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _try_lock(path: Path) -> IO[bytes] | None:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
