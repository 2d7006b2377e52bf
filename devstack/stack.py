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
from devstack.s3 import S3Address
from devstack.servers.service import ServiceReplica
from devstack.services import SERVICES, Services, find_service, with_replicas, without_s3
from devstack.tracing import Tracing
from devstack.watcher import NullWatcher, Watcher

STORES = ("mongod", "valkey", "etcd", "seaweedfs")
PROXIES = ("envoy",)
SERVERS = (*STORES, *PROXIES)


class Stack:
    """The processes of a system with its data in `folder`; a context manager that starts and stops them.

    It runs the replicas of the table `services`, and `chat_servers` replicas of chat if that is given. `environment` is
    added to the settings of every replica, `environment_of["chat-2"]` to those of one. Without `ports` the stack
    reserves a free block, so any number of stacks may run at the same time. An external `issuer` signs users in; by
    default the stack does. `only` selects processes by name: `Stack(folder, only=["mongod"])` has no replicas. With
    external `stores` it has none of its own, and without an S3 store among them none of the services that need one.
    With `tls` clients and services speak TLS; the stores do not. With `tracing` Envoy and the services record traces.
    Calls block, and processes that end are not restarted.
    """

    def __init__(
        self,
        folder: Path,
        chat_servers: int | None = None,
        *,
        services: Services = SERVICES,
        ports: Ports | None = None,
        issuer: Issuer | None = None,
        only: Collection[str] | None = None,
        stores: StoreAddresses | None = None,
        tracing: Tracing | None = None,
        environment: Mapping[str, str] | None = None,
        environment_of: Mapping[str, Mapping[str, str]] | None = None,
        tls: bool = False,
    ) -> None:
        if chat_servers is not None:
            services = with_replicas(services, "chat", chat_servers)
        self._services = services if stores is None or stores.s3 is not None else without_s3(services)
        self._block = PortBlock() if ports is None else None
        block_ports = ports or self._block_ports()
        self.layout = Layout(folder, block_ports, self._services, issuer, stores, tracing=tracing, tls=tls)
        self._environment = dict(environment or {})
        self._environment_of = dict(environment_of or {})
        names = _server_names(self._services) if stores is None else PROXIES
        self._servers = {
            name: ManagedProcess(self.layout.process_spec(name)) for name in (names if only is None else only)
        }
        self._replicas: dict[str, list[ServiceReplica]] = {service.name: [] for service in self._services}
        for service in self._services if only is None else ():
            for number in range(1, service.replicas + 1):
                self._create_replica(service.name, number, {})

    def _block_ports(self) -> Ports:
        assert self._block is not None
        return self._block.ports

    def _create_replica(self, service: str, number: int, environment: Mapping[str, str]) -> ServiceReplica:
        individual = self._environment_of.get(f"{service}-{number}", {})
        settings = {**self._environment, **individual, **environment}
        replica = self.layout.replica(find_service(self._services, service), number, settings)
        self._replicas[service].append(replica)
        return replica

    def replicas(self, service: str) -> list[ServiceReplica]:
        """Return the replicas of a service of the table, by its name. Raise KeyError for another name."""
        return list(self._replicas[service])

    @property
    def chat_servers(self) -> list[ServiceReplica]:
        """The replicas of chat."""
        return self.replicas("chat")

    @property
    def processes(self) -> dict[str, ManagedProcess]:
        """All processes by name: mongod, valkey, etcd, seaweedfs, envoy, chat-1, chat-2 and so on."""
        return {**self._servers, **{replica.name: replica for replica in self._all_replicas()}}

    def _all_replicas(self) -> list[ServiceReplica]:
        return [replica for replicas in self._replicas.values() for replica in replicas]

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
    def s3(self) -> S3Address:
        """The S3 store, with an identity that may use the bucket `media`. Raise SetupError if the stack has none."""
        if self.layout.s3 is None:
            raise SetupError("The external stores of this stack have no S3 store.")
        return self.layout.s3

    @property
    def media_origin(self) -> str:
        """The origin of presigned addresses, `http(s)://ip:port`: Envoy's listener in front of the S3 store."""
        return self.layout.media_origin

    @property
    def ca_file(self) -> Path | None:
        """The certificate of the authority that clients of the door and of presigned addresses trust; None: no TLS."""
        return self.layout.certificates.ca_file if self.layout.certificates is not None else None

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
        # Services start before Envoy, so that its first health checks succeed.
        for group in (self._store_processes(), self._all_replicas(), self._proxy_processes()):
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
        # Services stop first, while Envoy still serves their streams: they drain, and write to the stores, which stop
        # last.
        for group in (
            self._all_replicas(),
            [p for n, p in self._servers.items() if n not in STORES],
            self._store_processes(),
        ):
            for process in group:
                process.request_stop()
            for process in group:
                process.wait_exited(kill_now=kill_now)

    def set_endpoints(self, service: str, addresses: Sequence[str]) -> None:
        """Set the replicas (`ip:port`) of a service that Envoy routes to; a test may pass its own."""
        self.layout.envoy.set_endpoints(service, addresses)

    def _set_all_endpoints(self) -> None:
        for service, replicas in self._replicas.items():
            self.set_endpoints(service, [replica.address for replica in replicas])

    def wait_envoy_healthy(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Block until Envoy routes calls to every running replica of every service and to no other one.

        Raises:
            SetupError: it does not within `timeout` seconds.
            StopRequested: `stop` was set.
        """
        for service, replicas in self._replicas.items():
            if "envoy" in self._servers and replicas:
                running = [replica.address for replica in replicas if replica.running]
                self.wait_healthy_endpoints(service, running, timeout, stop)

    def wait_healthy_endpoints(
        self, service: str, addresses: Collection[str], timeout: float = 30.0, stop: Event | None = None
    ) -> None:
        """Block until exactly these endpoints (`ip:port`) of a service are healthy in Envoy.

        Raise as `wait_envoy_healthy` does.
        """
        deadline = time.monotonic() + timeout
        while (healthy := self.layout.envoy.healthy_endpoints(service)) != set(addresses):
            if stop is not None and stop.is_set():
                raise StopRequested
            if time.monotonic() > deadline:
                raise SetupError(
                    f"Envoy reports {sorted(healthy)} of {service} as healthy after {timeout:g} s, not "
                    f"{sorted(addresses)}."
                )
            time.sleep(0.05)

    def add_replica(
        self, service: str, environment: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> ServiceReplica:
        """Start another replica of a service and block until Envoy routes to it. Raise ProcessFailed or SetupError."""
        [replica] = self.add_replicas(service, 1, environment, timeout)
        return replica

    def add_chat_server(self, environment: Mapping[str, str] | None = None, timeout: float = 30.0) -> ServiceReplica:
        """Add a replica of chat, as `add_replica` does."""
        return self.add_replica("chat", environment, timeout)

    def add_replicas(
        self, service: str, count: int, environment: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> list[ServiceReplica]:
        """Start more replicas of a service at once and block until Envoy routes to them.

        Raise ProcessFailed or SetupError.
        """
        first = max((replica.number for replica in self._replicas[service]), default=0) + 1
        replicas = [self._create_replica(service, first + each, environment or {}) for each in range(count)]
        _start_group(replicas, timeout, None, NullWatcher())
        self._set_all_endpoints()
        self.wait_envoy_healthy(timeout)
        return replicas

    def remove_replica(self, *names: str) -> None:
        """Stop replicas by SIGTERM, all at once, and remove them from the stack and from Envoy's endpoints."""
        leaving = [replica for replica in self._all_replicas() if replica.name in names]
        for replica in leaving:
            replica.request_stop()
        for replica in leaving:
            replica.wait_exited()
        for service, replicas in self._replicas.items():
            self._replicas[service] = [replica for replica in replicas if replica not in leaving]
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


def _server_names(services: Services) -> list[str]:
    """Return the servers that a stack with stores of its own runs: an S3 store only for services that use one."""
    return [name for name in SERVERS if name != "seaweedfs" or any(service.uses_s3 for service in services)]


def _start_group(processes: Sequence[ManagedProcess], timeout: float, stop: Event | None, watcher: Watcher) -> None:
    started_at = time.monotonic()
    for process in processes:
        process.start()
        watcher.process_started(process)
    for process in processes:
        process.wait_healthy(max(0.0, started_at + timeout - time.monotonic()), stop)
        watcher.process_healthy(process, time.monotonic() - started_at)
