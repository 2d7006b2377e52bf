"""A chat server put together: its roles, the ways between them, and their common life."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from chat_service.history.history import History
from chat_service.history.search import Search
from chat_service.history.sight import Sights
from chat_service.home.home import Home
from chat_service.limits import Limits
from chat_service.mesh.dispatch import Dispatch
from chat_service.mesh.edges import Edges
from chat_service.mesh.fan_out import FanOut
from chat_service.mesh.homes import Homes
from chat_service.mesh.link import Link
from chat_service.mesh.links import Links
from chat_service.mesh.owners import Owners
from chat_service.mesh.strangers import Strangers
from chat_service.mesh.streams import Streams
from chat_service.model.retention import KEPT_FOREVER, Terms
from chat_service.owner.owner import Owner, OwnerLimits
from chat_service.personal.personal import PersonalViews
from chat_service.retention.job import RetentionJob
from chat_service.retention.look import Looks
from chat_service.stores import Stores
from chat_service.stream.admission import Admission
from chat_service.stream.edge import Edge
from chat_service.stream.rates import DeviceRates
from chat_service.stream.sessions import Sessions
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.auth import ServiceCredential
from servicekit.clock import Clock
from servicekit.ending import asked_to_end
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.ring import Ring

LAST_COMMITS_S: Final = 5.0

log = structlog.get_logger("server")


class ChatServer:
    """Edge, home and owner in one process; each speaks to the others as if they were elsewhere."""

    def __init__(
        self,
        membership: Membership,
        credential: ServiceCredential,
        stores: Stores,
        admission: Admission,
        limits: Limits,
        clock: Clock,
        terms: Terms = KEPT_FOREVER,
    ) -> None:
        self.membership = membership
        self.stores = stores
        self.history = History(stores.log, stores.conversations, stores.memberships, stores.index)
        sights = Sights(stores.log, stores.conversations, stores.memberships)
        self.search = Search(stores.words, stores.memberships, sights) if stores.words else None
        self.links = Links(membership, credential, self._take, self._link_broken)
        self.sessions = Sessions()
        self.rates = DeviceRates(limits.sends_per_second, limits.sends_burst, clock)
        self.home = Home(Edges(membership, self.links, self.sessions), clock)
        fan_out = FanOut(membership, self.links, self.home)
        self.owner = _owner(stores, fan_out, membership, limits, clock, terms)
        self.owners = Owners(membership, self.links, self.owner)
        self.homes = Homes(membership, self.links, self.home)
        self.edge = Edge(
            self.sessions,
            self.owners,
            self.homes,
            self.history,
            admission,
            stores.blocks.barred_from,
            self.rates,
            limits,
            clock,
            membership.me.server_id,
        )
        looks = Looks(stores.retention, stores.devices, terms, clock, self.owners.reload)
        self.retention = RetentionJob(stores.retention, looks, terms, clock, self._mine)
        self.personal = PersonalViews(stores.memberships, self.history, stores.index, self.homes)
        strangers = Strangers(self._moved, self.homes.recheck, clock)
        self._dispatch = Dispatch(self.edge, self.sessions, self.home, self.owner, strangers.missed)
        self.streams = Streams(membership, self.links, self.homes, self.edge)
        self._generation_moved = asyncio.Event()

    async def run(self) -> None:
        """All roles, until cancelled."""
        self.membership.subscribe(self._ring_changed)
        self.stores.index.life.on_generation(self._generation_moved.set)
        async with asyncio.TaskGroup() as group:
            for role in (self.links, self.stores.index.life, self.owner, self.edge, self.retention):
                group.create_task(role.run())
            group.create_task(self._follow_generation())

    async def sign_out(self, user_id: str, device_id: str, reason: str) -> None:
        """End the stream of a device that was signed out, wherever it is. Raises OwnerUnavailable."""
        signed_out = Failure("this device was signed out", code="UNAUTHENTICATED", reason=reason)
        await self.homes.sign_out(user_id, device_id, signed_out)

    async def drain(self, within: float) -> None:
        """Let devices move, and finish what was taken in; at most about `within` seconds."""
        await self.edge.drain(within)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_COMMITS_S):
                await self.owner.drain()

    def _mine(self, conversation_id: str) -> bool:
        return self.owners.owner_of(conversation_id) == self.membership.me.server_id

    def _take(self, peer: str, frame: MeshFrame, link: Link) -> None:
        self._dispatch.take(peer, frame, link)

    def _ring_changed(self, old: Ring, new: Ring) -> None:
        log.info("ring", revision=new.revision, members=sorted(new.members))
        self.home.ring_changed(self._moved)
        self.owner.ring_changed()
        self.edge.ring_changed(old, new)

    def _moved(self, user_id: str) -> bool:
        return self.homes.home_of(user_id) != self.membership.me.server_id

    def _link_broken(self, peer: str) -> None:
        """What was on its way over the link may be lost, and what the peer knew of sessions here with it."""
        self.home.forget_edge(peer)
        self.home.recheck()
        self.edge.home_lost(peer)

    async def _follow_generation(self) -> None:
        while not asked_to_end():
            await self._generation_moved.wait()
            self._generation_moved.clear()
            await self.owner.generation_moved()
            self.edge.generation_moved()


def _owner(
    stores: Stores, fan_out: FanOut, membership: Membership, limits: Limits, clock: Clock, terms: Terms
) -> Owner:
    rates = OwnerLimits(limits.entries_per_second, limits.entries_burst)
    return Owner(stores.log, stores.conversations, stores.index, fan_out, membership, clock, rates, terms)
