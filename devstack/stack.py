"""A stack of real servers as one object, for `make run` and for tests that need their own."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Event
from types import TracebackType

from devstack.errors import PortInUse, SetupError, StopRequested
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
    """The processes of a system with its data in `folder`; a context manager that starts and stops them.

    `environment` is added to the settings of every chat server, `environment_of["chat-2"]` to those of one. Without
    `ports` the stack reserves a free block, so any number of stacks may run at the same time. An external `issuer`
    signs users in; by default the stack does. `only` selects processes by name: `Stack(folder, only=["mongod"])` has no
    chat servers. With external `stores` it has none of its own. Calls block, and processes that end are not restarted.
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
        individual = self._environment_of.get(f"chat-{number}", {})
        server = self.layout.chat_server(number, {**self._environment, **individual, **environment})
        self.chat_servers.append(server)
        return server

    @property
    def processes(self) -> dict[str, ManagedProcess]:
        """All processes by name: mongod, valkey, etcd, envoy, chat-1, chat-2 and so on."""
        return {**self._servers, **{server.name: server for server in self.chat_servers}}

    @property
    def door(self) -> str:
        """The address of Envoy for clients, as `ip:port`."""
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
        """Start all as `start_processes` does, and stop all again if that fails."""
        try:
            self.start_processes(timeout, stop, watcher)
        except BaseException:
            self.stop()
            raise

    def start_processes(self, timeout: float, stop: Event | None = None, watcher: Watcher | None = None) -> None:
        """Start all and block until all are healthy; each group of processes may take `timeout` seconds.

        Raises:
            ProcessFailed: a process ended or is not healthy in time.
            PortInUse: another program listens on a port; nothing was started.
            StopRequested: `stop` was set.
        """
        self._check_ports()
        # Chat servers start before Envoy, so that its first health checks succeed.
        for group in (self._store_processes(), self.chat_servers, self._proxy_processes()):
            _start_group(group, timeout, stop, watcher or NullWatcher())
        self.wait_envoy_healthy(timeout, stop)

    def _check_ports(self) -> None:
        for process in self.processes.values():
            for port in process.spec.ports:
                if not process.running and not is_free(port):
                    raise PortInUse(port, process.name)

    def _store_processes(self) -> list[ManagedProcess]:
        return [process for name, process in self._servers.items() if name in STORES]

    def _proxy_processes(self) -> list[ManagedProcess]:
        if "envoy" not in self._servers:
            return []
        self._set_all_endpoints()
        return [self._servers["envoy"]]

    def stop(self, kill_now: Event | None = None) -> None:
        """Stop the running processes in order; each one has its grace until `kill_now` is set."""
        # Chat servers stop first, while Envoy still serves their streams: they drain, and write to the stores, which
        # stop last.
        for group in (
            self.chat_servers,
            [p for n, p in self._servers.items() if n not in STORES],
            self._store_processes(),
        ):
            for process in group:
                process.request_stop()
            for process in group:
                process.wait_exited(kill_now=kill_now)

    def set_endpoints(self, addresses: Sequence[str]) -> None:
        """Set the chat servers (`ip:port`) that Envoy routes to; a test may pass its own."""
        self.layout.envoy.set_endpoints(addresses)

    def _set_all_endpoints(self) -> None:
        self.set_endpoints([server.address for server in self.chat_servers])

    def wait_envoy_healthy(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Block until Envoy routes calls to every running chat server and to no other one.

        Raises:
            SetupError: it does not within `timeout` seconds.
            StopRequested: `stop` was set.
        """
        if "envoy" in self._servers and self.chat_servers:
            self.wait_healthy_endpoints(
                [server.address for server in self.chat_servers if server.running], timeout, stop
            )

    def wait_healthy_endpoints(
        self, addresses: Collection[str], timeout: float = 30.0, stop: Event | None = None
    ) -> None:
        """Block until exactly these endpoints (`ip:port`) are healthy in Envoy. Raise as `wait_envoy_healthy` does."""
        deadline = time.monotonic() + timeout
        while (healthy := self.layout.envoy.healthy_endpoints()) != set(addresses):
            if stop is not None and stop.is_set():
                raise StopRequested
            if time.monotonic() > deadline:
                raise SetupError(
                    f"Envoy reports {sorted(healthy)} as healthy after {timeout:g} s, not {sorted(addresses)}."
                )
            time.sleep(0.05)

    def add_chat_server(self, environment: Mapping[str, str] | None = None, timeout: float = 30.0) -> ChatServer:
        """Start another chat server and block until Envoy routes to it. Raise ProcessFailed or SetupError."""
        number = max((server.number for server in self.chat_servers), default=0) + 1
        server = self._create_chat_server(number, environment or {})
        _start_group([server], timeout, None, NullWatcher())
        self._set_all_endpoints()
        self.wait_envoy_healthy(timeout)
        return server

    def remove_chat_server(self, name: str) -> None:
        """Stop a chat server by SIGTERM, and remove it from the stack and from Envoy's endpoints."""
        server = next(server for server in self.chat_servers if server.name == name)
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
    started_at = time.monotonic()
    for process in processes:
        process.start()
        watcher.process_started(process)
    for process in processes:
        process.wait_healthy(max(0.0, started_at + timeout - time.monotonic()), stop)
        watcher.process_healthy(process, time.monotonic() - started_at)
