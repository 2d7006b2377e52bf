"""Which port each part listens on: fixed ones for a person, a free block for each stack of a test."""

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

# Under the range the kernel takes for outgoing connections (32768 and up, unless set otherwise): there a port
# that is free now may be the near end of somebody's connection when a killed part wants it back.
_BLOCKS_FROM, _BLOCKS_TO, _BLOCK_SIZE = 10_000, 32_000, 100


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack: the door, and 100 at `base` for what is behind it.

    base + 1 to + 20 are the chat servers' public ports, + 21 to + 40 their mesh ports, + 41 to + 60 their
    metrics, and the stores follow from + 71.
    """

    door: int
    base: int

    def chat(self, number: int) -> int:
        """The public port of chat server `number`, from 1."""
        return self.base + self._check_number(number)

    def mesh(self, number: int) -> int:
        """The port it is called on by other servers."""
        return self.base + MAX_CHAT_SERVERS + self._check_number(number)

    def metrics(self, number: int) -> int:
        """The port Prometheus reads."""
        return self.base + 2 * MAX_CHAT_SERVERS + self._check_number(number)

    def _check_number(self, number: int) -> int:
        if not 1 <= number <= MAX_CHAT_SERVERS:
            raise SetupError(f"There is room for {MAX_CHAT_SERVERS} chat servers on one machine, not for {number}.")
        return number

    @property
    def mongod(self) -> int:
        """MongoDB."""
        return self.base + 71

    @property
    def valkey(self) -> int:
        """Valkey."""
        return self.base + 72

    @property
    def etcd(self) -> int:
        """etcd, for clients."""
        return self.base + 73

    @property
    def etcd_peer(self) -> int:
        """etcd, for peers it does not have."""
        return self.base + 74

    @property
    def envoy_admin(self) -> int:
        """Envoy's administration page."""
        return self.base + 75


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class PortBlock:
    """A hundred free ports that no other stack of this user takes while this object lives.

    Held by a lock on a file, which the kernel lets go of when we die, however we die.
    """

    def __init__(self) -> None:
        blocks = list(range(_BLOCKS_FROM, _BLOCKS_TO, _BLOCK_SIZE))
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
        raise SetupError(f"No {_BLOCK_SIZE} free ports in a row between {_BLOCKS_FROM} and {_BLOCKS_TO}.")

    def release(self) -> None:
        """Lets others take the block."""
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
