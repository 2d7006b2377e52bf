"""A stack of real servers as one object: for `make run`, and for tests that need one of their own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from threading import Event
from types import TracebackType

from devstack.part import Part
from devstack.ports import LOOPBACK, PortBlock, Ports
from devstack.recipes.etcd import etcd
from devstack.recipes.mongod import mongo_uri, mongod
from devstack.recipes.valkey import redis_url, valkey

STORES = ("mongod", "valkey", "etcd")


class Stack:
    """The parts of a system, kept in `folder`; a context manager that starts and stops them. Its calls block.

    Without `ports` it takes a free block, so any number of stacks may stand side by side. `only` names the parts
    wanted, when not all are: `Stack(folder, only=["mongod"])`. Nothing is started again by itself here.
    """

    def __init__(self, folder: Path, *, ports: Ports | None = None, only: Collection[str] = STORES) -> None:
        self.folder = folder
        self._block = None if ports else PortBlock()
        self.ports = ports or self._block_ports()
        self.parts: dict[str, Part] = {}
        for name in only:
            self._add_store(name)

    def _block_ports(self) -> Ports:
        assert self._block is not None
        return self._block.ports

    def _add_store(self, name: str) -> None:
        data, log = self.folder / "data" / name, self.folder / "logs" / f"{name}.log"
        match name:
            case "mongod":
                recipe = mongod(data, log, self.ports.mongod)
            case "valkey":
                recipe = valkey(data, log, self.ports.valkey)
            case "etcd":
                recipe = etcd(data, log, self.ports.etcd, self.ports.etcd_peer)
            case _:
                raise ValueError(f"no part is called {name}")
        self.parts[name] = Part(recipe)

    @property
    def mongo_uri(self) -> str:
        """The connection string of the replica set."""
        return mongo_uri(self.ports.mongod)

    @property
    def redis_url(self) -> str:
        """The address of Valkey."""
        return redis_url(self.ports.valkey)

    @property
    def etcd_endpoint(self) -> str:
        """As `ip:port`."""
        return f"{LOOPBACK}:{self.ports.etcd}"

    def start(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Starts all and blocks until each is healthy; when one is not, stops them and raises PartFailed."""
        try:
            for part in self.parts.values():
                part.start()
            for part in self.parts.values():
                part.wait_healthy(timeout, stop)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops what runs, in order, and gives the ports back."""
        for part in reversed(self.parts.values()):
            part.terminate()
        if self._block is not None:
            self._block.release()

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
