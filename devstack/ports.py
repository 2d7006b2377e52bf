"""The ports of a stack: fixed ones for `make run`, a free block for each stack of a test."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devstack.errors import SetupError
from devstack.services import Services, ServiceType

LOOPBACK = "127.0.0.1"
SERVICE_PORTS = 180
"""The number of ports that all services of a stack have together."""

# The blocks, and what is SEAWEEDFS_ADMIN_OFFSET above them, are below the kernel's ephemeral ports (32768 and up by
# default). One of those may be taken by an outgoing connection when a killed process wants to listen on it again.
_FIRST_PORT, _PORTS_END, _BLOCK_SIZE = 10_000, 20_000, 200
_MEDIA_OFFSET = 196
# SeaweedFS's worker dials the admin server there, whatever the options say; in vain, it uses a tenth of a processor.
SEAWEEDFS_ADMIN_OFFSET = 10_000


@dataclass(frozen=True, slots=True)
class ReplicaPorts:
    """The ports of one replica of a service: for clients, for other services, and for Prometheus."""

    public: int
    internal: int
    metrics: int


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack: two of Envoy, and 200 from `base` on for the servers behind it.

    `door` is for calls, `media` for presigned addresses. Services take their ports from base + 1 on, in the order of
    their table; the stores follow from + 181. SeaweedFS's admin server alone listens SEAWEEDFS_ADMIN_OFFSET higher.
    """

    door: int
    media: int
    base: int

    def replica(self, services: Services, service: ServiceType, number: int) -> ReplicaPorts:
        """Return the ports of replica `number`, from 1. Raise SetupError if the stack has none for it.

        A service has a range of public ports, then one of internal ports, then one of metrics ports, each of
        `max_replicas`.
        """
        count = service.max_replicas
        if not 1 <= number <= count:
            raise SetupError(f"One machine can run {count} {service.name} servers, not {number}.")
        skipped = sum(_port_count(each) for each in services[: services.index(service)])
        if skipped + _port_count(service) > SERVICE_PORTS:
            raise SetupError(f"The services need more than {SERVICE_PORTS} ports, with those of {service.name}.")
        public = self.base + skipped + number
        return ReplicaPorts(public, public + count, public + 2 * count)

    @property
    def mongod(self) -> int:
        """The port of MongoDB."""
        return self.base + 181

    @property
    def valkey(self) -> int:
        """The port of Valkey."""
        return self.base + 182

    @property
    def etcd(self) -> int:
        """The client port of etcd."""
        return self.base + 183

    @property
    def etcd_peer(self) -> int:
        """The peer port of etcd; a single node listens on it as well."""
        return self.base + 184

    @property
    def envoy_admin(self) -> int:
        """The port of Envoy's administration interface."""
        return self.base + 185

    @property
    def seaweedfs(self) -> Sequence[int]:
        """The ten ports of SeaweedFS, from base + 186 on; the first is that of S3, the last the admin server's gRPC."""
        ports = range(self.base + 186, self.base + 195)
        return (*ports, ports[-1] + SEAWEEDFS_ADMIN_OFFSET)


def _port_count(service: ServiceType) -> int:
    return 3 * service.max_replicas


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
    """A block of 200 free ports, reserved against other stacks of this user while the object lives.

    The reservation is a file lock, which the kernel releases when the process ends for any reason.
    """

    def __init__(self) -> None:
        blocks = list(range(_FIRST_PORT, _PORTS_END, _BLOCK_SIZE))
        random.shuffle(blocks)
        for base in blocks:
            lock = _try_lock(_lock_folder() / str(base))
            if lock is None:
                continue
            ports = Ports(door=base, media=base + _MEDIA_OFFSET, base=base)
            if all(is_free(port) for port in {*range(base, base + _BLOCK_SIZE), *ports.seaweedfs}):
                self._lock, self.ports = lock, ports
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
