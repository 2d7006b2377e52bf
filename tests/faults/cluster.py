"""A system with clustered stores, whose parts are connected by TCP relays that can be cut."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis

from devstack.layout import StoreAddresses
from devstack.managed_process import ManagedProcess
from devstack.ports import LOOPBACK, PortBlock, Ports
from devstack.s3 import read_keys
from devstack.secret_files import ensure_secret_files
from devstack.servers.etcd import etcd_spec
from devstack.servers.mongod import mongo_uri, mongod_spec
from devstack.servers.seaweedfs import s3_address, seaweedfs_spec
from devstack.servers.service import ServiceReplica
from devstack.servers.valkey import valkey_spec
from devstack.services import SERVICES, with_replicas
from devstack.stack import Stack
from devstack.tracing import Tracing
from tests.eventually import eventually
from tests.faults.files import times
from tests.proxy.wire import Relay

MEMBERS = 3
CHAT_SERVERS = 3
MEDIA_SERVERS = 2
HEALTHY_S = 60.0
ENVIRONMENT = {"PARLEY_DRAIN_SECONDS": "2", "PYTHONFAULTHANDLER": "1", **times.ENVIRONMENT}


class Cluster:
    """Three mongod, three members of etcd, Valkey with a replica, SeaweedFS, Envoy, and the servers of all services.

    There are three chat servers, and two of presence, of notify and of media each.

    An async context manager. With fewer `members` of each cluster it is up sooner, and without `files` as well, which
    need SeaweedFS and media servers. With a `sabotage`, the name of one, its servers break a promise. With `tracing`
    they record traces. `redis` is the
    cable to Valkey, of which two servers may be at the other end, and `mesh` has by name of the chat server the cable
    on which others reach it. `phones` is a cable to the door.
    """

    def __init__(
        self,
        folder: Path,
        *,
        members: int = MEMBERS,
        sabotage: str = "",
        files: bool = True,
        tracing: Tracing | None = None,
    ) -> None:
        self._folder = folder
        self._tracing = tracing
        self._members = members
        self._sabotage = sabotage
        self._block = PortBlock()
        ports = self._block.ports
        self.mongods = [self._mongod(number, ports) for number in range(members)]
        self.etcds = [self._etcd(number, ports) for number in range(members)]
        self.valkeys = [self._valkey(number, ports) for number in range(min(2, members))]
        self._identities = ensure_secret_files(folder / "secrets").s3_identities
        self._seaweedfs = [self._store_of_objects(ports)] if files else []
        self.redis = Relay(self.valkeys[0].address)
        # What its parts did that they should not have done.
        self.complaints: list[str] = []
        self.mesh: dict[str, Relay] = {}
        self.stack: Stack
        self.phones: Relay
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        await self._open.__aenter__()
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for part in self._stores:
            part.resume()
        await self._open.aclose()
        self._block.release()

    async def _begin(self) -> None:
        self._open.push_async_callback(asyncio.to_thread, stop, self._stores)
        await asyncio.to_thread(start, self._stores)
        if self._members > 1:
            await self.follow()
        await self._open.enter_async_context(self.redis)
        environment_of = {}
        for number in range(1, CHAT_SERVERS + 1):
            # Where it leads is known once the stack has its ports.
            relay = await self._open.enter_async_context(Relay(""))
            self.mesh[f"chat-{number}"] = relay
            environment_of[f"chat-{number}"] = {"PARLEY_INTERNAL_ADVERTISE": relay.address}
        stores = StoreAddresses(
            mongo_uri(*(each.spec.ports[0] for each in self.mongods)),
            f"redis://{self.redis.address}/0",
            ",".join(each.address for each in self.etcds),
            s3_address(self.seaweedfs.spec.ports[0], read_keys(self._identities)) if self._seaweedfs else None,
        )
        self.stack = Stack(
            self._folder,
            CHAT_SERVERS,
            services=with_replicas(SERVICES, "media", MEDIA_SERVERS),
            stores=stores,
            tracing=self._tracing,
            environment=ENVIRONMENT,
            environment_of=environment_of,
        )
        for server in self.chat_servers:
            self.mesh[server.name].lead_to(server.internal_address)
        if self._sabotage:
            for server in (*self.chat_servers, *self.media_servers, *self.notify_servers):
                command = (sys.executable, "-m", "tests.faults.saboteur", self._sabotage, server.name)
                server.spec = replace(server.spec, command=command)
        self._open.push_async_callback(asyncio.to_thread, self.stack.__exit__, None, None, None)
        await asyncio.to_thread(self.stack.start)
        self.phones = await self._open.enter_async_context(Relay(self.stack.door))

    @property
    def doors(self) -> list[str]:
        """Return the addresses of the door: its own, and that of the cable to it."""
        return [self.stack.door, self.phones.address]

    @property
    def chat_servers(self) -> list[ServiceReplica]:
        """Return all chat servers."""
        return self.stack.chat_servers

    @property
    def media_servers(self) -> list[ServiceReplica]:
        """Return all media servers."""
        return self.stack.replicas("media") if self._seaweedfs else []

    @property
    def presence_servers(self) -> list[ServiceReplica]:
        """Return all presence servers."""
        return self.stack.replicas("presence")

    @property
    def notify_servers(self) -> list[ServiceReplica]:
        """Return all notify servers."""
        return self.stack.replicas("notify")

    @property
    def seaweedfs(self) -> ManagedProcess:
        """Return the S3 store of a cluster with files."""
        return self._seaweedfs[0]

    @property
    def envoy(self) -> ManagedProcess:
        """Return Envoy."""
        return self.stack.processes["envoy"]

    @property
    def parts(self) -> list[ManagedProcess]:
        """Return every part of the system."""
        services = (*self.chat_servers, *self.media_servers, *self.presence_servers, *self.notify_servers)
        return [*self._stores, *services, self.envoy]

    @property
    def _stores(self) -> list[ManagedProcess]:
        return [*self.mongods, *self.etcds, *self.valkeys, *self._seaweedfs]

    def _mongod(self, number: int, ports: Ports) -> ManagedProcess:
        name, members = f"mongod-{number + 1}", [ports.base + each for each in range(self._members)]
        return ManagedProcess(mongod_spec(self.data(name), self._log(name), members[number], name=name, ports=members))

    def _etcd(self, number: int, ports: Ports) -> ManagedProcess:
        peers = {f"etcd-{each + 1}": ports.base + 20 + each for each in range(self._members)}
        name = f"etcd-{number + 1}"
        return ManagedProcess(
            etcd_spec(self.data(name), self._log(name), ports.base + 10 + number, peers[name], name=name, peers=peers)
        )

    def _valkey(self, number: int, ports: Ports) -> ManagedProcess:
        name = f"valkey-{number + 1}"
        return ManagedProcess(valkey_spec(self.data(name), self._log(name), ports.base + 30 + number, name=name))

    def _store_of_objects(self, ports: Ports) -> ManagedProcess:
        name, own = "seaweedfs", range(ports.base + 40, ports.base + 50)
        return ManagedProcess(seaweedfs_spec(self.data(name), self._log(name), own, self._identities))

    def data(self, name: str) -> Path:
        """Return the data folder of a store."""
        return self._folder / "data" / name

    def _log(self, name: str) -> Path:
        folder = self._folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    # Where things are.

    async def primary(self) -> ManagedProcess:
        """Return the current primary mongod."""
        found: list[ManagedProcess] = []

        async def known() -> bool:
            found.extend([each for each in self.mongods if each.running and await self._is_primary(each)])
            return bool(found)

        await eventually(known, HEALTHY_S)
        return found[-1]

    async def secondaries(self) -> list[ManagedProcess]:
        """Return the secondaries."""
        primary = await self.primary()
        return [each for each in self.mongods if each is not primary]

    async def _is_primary(self, part: ManagedProcess) -> bool:
        async with mongo(part) as client:
            try:
                return bool((await client.admin.command("hello"))["isWritablePrimary"])
            except PyMongoError:
                return False

    @property
    def master(self) -> ManagedProcess:
        """Return the Valkey that the relay leads to."""
        return self.valkeys[0]

    @property
    def replica(self) -> ManagedProcess:
        """Return the Valkey that the relay does not lead to."""
        return self.valkeys[1]

    async def detach_replica(self) -> None:
        """Stop replication from the master to the replica."""
        async with valkey_at(self.replica) as replica:
            await replica.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]

    async def promote(self) -> None:
        """Promote the detached replica and lead the relay to it."""
        self.valkeys.reverse()
        self.redis.lead_to(self.master.address)

    async def follow(self) -> None:
        """Make the Valkey behind the relay the master of the other one."""
        async with valkey_at(self.replica) as follower:
            await follower.execute_command("REPLICAOF", *self.master.address.split(":"))  # type: ignore[no-untyped-call]


@asynccontextmanager
async def killed(parts: Sequence[ManagedProcess]) -> AsyncIterator[None]:
    """Kill processes, and start them again in the end."""
    for part in parts:
        part.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(start, parts)


@asynccontextmanager
async def one_frozen(parts: Sequence[ManagedProcess], random: Random) -> AsyncIterator[None]:
    """Freeze one of these processes, and resume it in the end."""
    part = random.choice(parts)
    part.freeze()
    try:
        yield
    finally:
        part.resume()


async def restart_in_turn(parts: Sequence[ManagedProcess]) -> None:
    """Stop and start processes one after the other."""
    for part in parts:
        await asyncio.to_thread(stop, [part])
        await asyncio.to_thread(start, [part])


def start(parts: Sequence[ManagedProcess]) -> None:
    """Start parts and block until all are healthy."""
    for part in parts:
        part.resume()
        part.start()
    for part in parts:
        part.wait_healthy(HEALTHY_S)


def stop(parts: Sequence[ManagedProcess]) -> None:
    """Stop parts and block until all have ended."""
    for part in parts:
        part.request_stop()
    for part in parts:
        part.wait_exited(grace=5.0)


@asynccontextmanager
async def mongo(part: ManagedProcess) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """Return a direct client of one member of the replica set."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        f"mongodb://{part.address}/?directConnection=true", serverSelectionTimeoutMS=1000, socketTimeoutMS=5000
    )
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def valkey_at(part: ManagedProcess) -> AsyncIterator[Redis]:
    """Return a direct client of one Valkey."""
    host, _, port = part.address.partition(":")
    client = Redis(host=host or LOOPBACK, port=int(port), socket_timeout=5, socket_connect_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()
