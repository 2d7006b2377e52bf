"""A stack of real servers as one object: for `make run`, and for tests that need one of their own."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Event
from types import TracebackType

from devstack.errors import PortTaken, StopRequested, SetupError
from devstack.issuer import Issuer
from devstack.layout import Layout, StoreAddresses
from devstack.managed_process import ManagedProcess
from devstack.ports import LOOPBACK, PortBlock, Ports, is_free
from devstack.servers.chat import ChatServer
from devstack.watcher import NullWatcher, Watcher

STORES = ("mongod", "valkey", "etcd")
PROXIES = ("envoy",)
SERVERS = (*STORES, *PROXIES)


class Stack:
    """The parts of a system, kept in `folder`; a context manager that starts and stops them. Its calls block.

    `environment` is added to that of every chat server, `environment_of["chat-2"]` to that of one. Without `ports`
    it takes a free block, so any number of stacks may stand side by side. With an `issuer` that one signs users in.
    `only` names the parts wanted, when not all are: `Stack(folder, only=["mongod"])` has no chat servers. With `stores`
    elsewhere it has none of its own. Nothing is started again by itself here.
    """

    def __init__(
        self,
        folder: Path,
        chat_servers: int = 3,
        *,
        ports: Ports | None = None,
        issuer: Issuer | None = None,
        only: Collection[str] | None = None,
        stores: StoreAddresses | None = None,
        environment: Mapping[str, str] | None = None,
        environment_of: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._block = PortBlock() if ports is None else None
        self.layout = Layout(folder, ports or self._block_ports(), issuer, stores)
        self._environment = dict(environment or {})
        self._environment_of = dict(environment_of or {})
        names = SERVERS if stores is None else PROXIES
        self._servers = {
            name: ManagedProcess(self.layout.process_spec(name)) for name in (names if only is None else only)
        }
        self.chat_servers: list[ChatServer] = []
        for number in range(1, chat_servers + 1 if only is None else 1):
            self._create_chat_server(number, {})

    def _block_ports(self) -> Ports:
        assert self._block is not None
        return self._block.ports

    def _create_chat_server(self, number: int, environment: Mapping[str, str]) -> ChatServer:
        own = self._environment_of.get(f"chat-{number}", {})
        server = self.layout.chat_server(number, {**self._environment, **own, **environment})
        self.chat_servers.append(server)
        return server

    @property
    def processes(self) -> dict[str, ManagedProcess]:
        """All by name: mongod, valkey, etcd, envoy, chat-1, chat-2 and so on."""
        return {**self._servers, **{server.name: server for server in self.chat_servers}}

    @property
    def door(self) -> str:
        """Where Envoy takes calls, as `ip:port`."""
        return f"{LOOPBACK}:{self.layout.ports.door}"

    @property
    def mongo_uri(self) -> str:
        """The connection string of the replica set."""
        return self.layout.stores.mongo_uri

    @property
    def redis_url(self) -> str:
        """The address of Valkey."""
        return self.layout.stores.redis_url

    @property
    def etcd_endpoint(self) -> str:
        """The address of etcd, as `ip:port`."""
        return self.layout.stores.etcd_endpoint

    @property
    def signing_key_file(self) -> Path:
        """The private key that signs tokens, in PEM."""
        return self.layout.secrets.signing_key

    def start(self, timeout: float = 60.0, stop: Event | None = None, watcher: Watcher | None = None) -> None:
        """As `bring_up`, with everything stopped again when that fails."""
        try:
            self.start_processes(timeout, stop, watcher)
        except BaseException:
            self.stop()
            raise

    def start_processes(self, timeout: float, stop: Event | None = None, watcher: Watcher | None = None) -> None:
        """Starts all and blocks until all is healthy; each group of parts may take `timeout` seconds.

        Raises:
            PartFailed: a part ended or is not healthy in time.
            PortTaken: nothing was started.
            Stopped: `stop` was set meanwhile.
        """
        self._check_ports()
        # Chat servers before the door, which then finds them healthy at its first look.
        for group in (self._store_processes(), self.chat_servers, self._proxy_processes()):
            _start_group(group, timeout, stop, watcher or NullWatcher())
        self.wait_envoy_healthy(timeout, stop)

    def _check_ports(self) -> None:
        for part in self.processes.values():
            for port in part.spec.ports:
                if not part.running and not is_free(port):
                    raise PortTaken(port, part.name)

    def _store_processes(self) -> list[ManagedProcess]:
        return [part for name, part in self._servers.items() if name in STORES]

    def _proxy_processes(self) -> list[ManagedProcess]:
        if "envoy" not in self._servers:
            return []
        self._set_all_endpoints()
        return [self._servers["envoy"]]

    def stop(self, kill_now: Event | None = None) -> None:
        """Stops what runs, in order; each part may take its grace, or none once `hurry` is set."""
        # The chat servers first, while the door is open: they tell their streams that they go, and write what they
        # hold to the stores, which go last.
        for group in (
            self.chat_servers,
            [p for n, p in self._servers.items() if n not in STORES],
            self._store_processes(),
        ):
            for part in group:
                part.request_stop()
            for part in group:
                part.wait_exited(kill_now=kill_now)

    def set_endpoints(self, addresses: Sequence[str]) -> None:
        """Makes other servers (`ip:port`) the chat servers that the door leads to: a test's own, for example."""
        self.layout.envoy.set_endpoints(addresses)

    def _set_all_endpoints(self) -> None:
        self.set_endpoints([server.address for server in self.chat_servers])

    def wait_envoy_healthy(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Blocks until Envoy finds every running chat server healthy, and sends nobody to the others.

        Raises:
            Trouble: it does not within `timeout` seconds.
            Stopped: `stop` was set meanwhile.
        """
        if "envoy" in self._servers and self.chat_servers:
            self.wait_healthy_endpoints(
                [server.address for server in self.chat_servers if server.running], timeout, stop
            )

    def wait_healthy_endpoints(
        self, addresses: Collection[str], timeout: float = 30.0, stop: Event | None = None
    ) -> None:
        """Blocks until exactly these (`ip:port`) are healthy in Envoy's eyes. Raises as `wait_door` does."""
        deadline = time.monotonic() + timeout
        while (healthy := self.layout.envoy.healthy_endpoints()) != set(addresses):
            if stop is not None and stop.is_set():
                raise StopRequested
            if time.monotonic() > deadline:
                raise SetupError(f"Envoy finds {sorted(healthy)} healthy after {timeout:g} s, not {sorted(addresses)}.")
            time.sleep(0.05)

    def add_chat_server(self, environment: Mapping[str, str] | None = None, timeout: float = 30.0) -> ChatServer:
        """One more, started and led to; blocks until the door finds it healthy. Raises PartFailed or Trouble."""
        number = max((server.number for server in self.chat_servers), default=0) + 1
        server = self._create_chat_server(number, environment or {})
        _start_group([server], timeout, None, NullWatcher())
        self._set_all_endpoints()
        self.wait_envoy_healthy(timeout)
        return server

    def remove_chat_server(self, name: str) -> None:
        """One less, for good: it ends as on SIGTERM, and then the door forgets it."""
        server = next(each for each in self.chat_servers if each.name == name)
        server.terminate()
        self.chat_servers.remove(server)
        self._set_all_endpoints()

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._block is not None:
            self._block.release()


def _start_group(processes: Sequence[ManagedProcess], timeout: float, stop: Event | None, watcher: Watcher) -> None:
    begun = time.monotonic()
    for part in processes:
        part.start()
        watcher.process_started(part)
    for part in processes:
        part.wait_healthy(max(0.0, begun + timeout - time.monotonic()), stop)
        watcher.process_healthy(part, time.monotonic() - begun)
