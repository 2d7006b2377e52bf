"""A chat server: its roles, the routers between them, and their common start and drain."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from chat_service.directory.media_access import MediaAccess
from chat_service.history.history import History
from chat_service.history.message_search import MessageSearch
from chat_service.history.personal_settings import PersonalSettingsService
from chat_service.history.visibility import VisibilityResolver
from chat_service.home.home import Home
from chat_service.limits import Limits
from chat_service.media.catalog import Catalog
from chat_service.mesh.dispatch import FrameDispatcher, MisroutedDeliveries
from chat_service.mesh.fan_out import EdgeRouter, FanOut
from chat_service.mesh.home_router import HomeRouter, StreamRouter
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.peer_stream import PeerStream
from chat_service.mesh.recent_deliveries import RecentDeliveries
from chat_service.model.retention import KEEP_FOREVER, RetentionPolicy
from chat_service.owner.owner import Owner, OwnerLimits
from chat_service.presence.reporter import PresenceReporter
from chat_service.push.pending_pushes import PendingPushes, PushQueue
from chat_service.push.recheck import PushRecheck
from chat_service.retention.job import RetentionJob
from chat_service.retention.sweep import RetentionSweep
from chat_service.storage.touched_conversations import NotingIndex
from chat_service.stores import Stores
from chat_service.stream.admission import Admission
from chat_service.stream.edge import Edge
from chat_service.stream.edge_presence import EdgePresence
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import contents
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.auth import ServiceCredential
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.rate_limiter import MAX_DEVICES, RateLimit, RateLimiter
from servicekit.ring import Ring
from servicekit.tasks import cancel_requested
from servicekit.transport import PLAIN_TEXT, Transport

COMMIT_TIMEOUT_S: Final = 5.0


class ChatServer:
    """The roles edge, home and owner in one process, which reach each other and other servers through routers."""

    def __init__(
        self,
        membership: Membership,
        credential: ServiceCredential,
        stores: Stores,
        admission: Admission,
        catalog: Catalog,
        reporter: PresenceReporter | None,
        push_queue: PushQueue | None,
        limits: Limits,
        clock: Clock,
        retention: RetentionPolicy = KEEP_FOREVER,
        transport: Transport = PLAIN_TEXT,
    ) -> None:
        self.membership = membership
        self.stores = stores
        self.catalog = catalog
        self.history = History(stores.log, stores.conversations, stores.memberships, stores.index)
        self.search = _make_search(stores)
        self.media_access = MediaAccess(stores.media, stores.memberships, _make_visibility(stores))
        self.peers = PeerPool(membership, credential, self._dispatch_frame, self._on_peer_closed, transport)
        self.sessions = SessionRegistry(clock)
        self.rates = RateLimiter(RateLimit(limits.sends_per_second, limits.sends_burst), clock, MAX_DEVICES)
        self.home = Home(EdgeRouter(membership, self.peers, self.sessions), clock)
        recent = RecentDeliveries(clock) if push_queue is not None else None
        self.fan_out = FanOut(membership, self.peers, self.home, recent)
        self.owner = self._make_owner(limits, clock, retention)
        self.owners = OwnerRouter(membership, self.peers, self.owner)
        self.homes = HomeRouter(membership, self.peers, self.home)
        self.recheck = self._connect_pushes(push_queue, clock) if push_queue is not None else None
        self.presence = EdgePresence(self.sessions, self.homes, reporter.state if reporter is not None else None, clock)
        if reporter is not None:
            reporter.on_presences = self.presence.take_presences
        self.edge = self._make_edge(admission, limits, clock)
        self.streams = StreamRouter(membership, self.peers, self.homes, self.edge)
        self.personal = PersonalSettingsService(stores.memberships, self.history, stores.index, self.homes.recheck_user)
        self.retention = self._make_retention_job(retention, clock)
        self._dispatcher = self._make_dispatcher(clock)
        self._generation_changed = asyncio.Event()

    def _make_owner(self, limits: Limits, clock: Clock, retention: RetentionPolicy) -> Owner:
        stores = self.stores
        return Owner(
            stores.log,
            stores.conversations,
            NotingIndex(stores.index, stores.touched) if self.fan_out.recent is not None else stores.index,
            self.fan_out,
            self.membership,
            clock,
            owner_limits(limits),
            retention,
            contents.retain_mentions,
        )

    def _connect_pushes(self, queue: PushQueue, clock: Clock) -> PushRecheck:
        """Let the home queue pushes, and return the re-check of those that may be lost."""

        def is_home_of(user_id: str) -> bool:
            return not self._home_is_elsewhere(user_id)

        home, stores = self.home, self.stores
        home.pushes = PendingPushes(queue, home.is_in_foreground, is_home_of, self.fan_out.offer, clock)
        return PushRecheck(stores.touched, self.fan_out, self.membership, self._owns, self.history, stores.log)

    def _make_edge(self, admission: Admission, limits: Limits, clock: Clock) -> Edge:
        return Edge(
            self.sessions,
            self.owners,
            self.homes,
            self.catalog,
            self.history,
            admission,
            self.presence,
            self.rates,
            limits,
            clock,
            self.membership.me.server_id,
        )

    def _make_retention_job(self, policy: RetentionPolicy, clock: Clock) -> RetentionJob:
        store, devices = self.stores.retention, self.stores.devices
        sweep = RetentionSweep(store, devices, policy, clock, self.owners.invalidate_and_wait, self.stores.index.touch)
        return RetentionJob(store, sweep, policy, clock, self._owns)

    def _make_dispatcher(self, clock: Clock) -> FrameDispatcher:
        misrouted = MisroutedDeliveries(self._home_is_elsewhere, self.homes.recheck_user, clock)
        return FrameDispatcher(self.edge, self.sessions, self.home, self.owner, misrouted.record)

    async def run(self) -> None:
        """Run all components until cancelled."""
        self.membership.subscribe(self._on_ring_changed)
        self.stores.index.generation.subscribe(self._generation_changed.set)
        async with asyncio.TaskGroup() as group:
            for component in (self.peers, self.stores.index.generation, self.owner, self.edge, self.retention):
                group.create_task(component.run())
            group.create_task(self._follow_generation())
            if self.recheck is not None:
                group.create_task(self.recheck.run())

    async def sign_out(self, user_id: str, device_id: str, reason: str) -> None:
        """Close the stream of a signed-out device, on whichever server it is. Raise OwnerUnavailable."""
        signed_out = Failure("this device was signed out", code="UNAUTHENTICATED", reason=reason)
        await self.homes.close_device_sessions(user_id, device_id, signed_out)

    async def drain(self, timeout_s: float) -> None:
        """Let the devices move to other servers within `timeout_s` seconds, then finish the accepted sends.

        The accepted sends have COMMIT_TIMEOUT_S seconds more.
        """
        await self.edge.drain(timeout_s)
        if self.home.pushes is not None:
            self.home.pushes.decide_held()
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self.owner.drain()
                if self.recheck is not None:
                    # All its entries are published: no other server has to look for them.
                    await self.stores.touched.forget()
        if self.home.pushes is not None:
            self.home.pushes.decide_held()

    def _owns(self, conversation_id: str) -> bool:
        return self.owners.owner_of(conversation_id) == self.membership.me.server_id

    def _dispatch_frame(self, peer: str, frame: MeshFrame, stream: PeerStream) -> None:
        self._dispatcher.dispatch(peer, frame, stream)

    def _on_ring_changed(self, old: Ring, new: Ring) -> None:
        self.home.on_ring_changed(self._home_is_elsewhere)
        self.owner.on_ring_changed()
        self.edge.on_ring_changed(old, new)

    def _home_is_elsewhere(self, user_id: str) -> bool:
        return self.homes.home_of(user_id) != self.membership.me.server_id

    def _on_peer_closed(self, peer: str) -> None:
        """Recheck the sessions and homes that depend on a peer, because frames on its closed stream may be lost."""
        if self.fan_out.recent is not None:
            self.fan_out.recent.mark_lost(peer)
        if self.home.pushes is not None:
            # The sessions of the peer are attached again soon: until then nobody is known to be away.
            self.home.pushes.hold()
        self.home.forget_edge(peer)
        self.home.recheck_all()
        self.edge.on_home_lost(peer)

    async def _follow_generation(self) -> None:
        while not cancel_requested():
            await self._generation_changed.wait()
            self._generation_changed.clear()
            if self.fan_out.recent is not None:
                self.fan_out.recent.mark_all_lost()
            await self.owner.on_generation_changed()
            self.edge.on_generation_changed()


def _make_search(stores: Stores) -> MessageSearch | None:
    if stores.words is None:
        return None
    return MessageSearch(stores.words, stores.memberships, _make_visibility(stores))


def _make_visibility(stores: Stores) -> VisibilityResolver:
    return VisibilityResolver(stores.log, stores.conversations, stores.memberships)


def owner_limits(limits: Limits) -> OwnerLimits:
    """Return the limits that the owner enforces: those that `welcome` states to clients."""
    return OwnerLimits(
        entries_per_second=limits.entries_per_second,
        entries_burst=limits.entries_burst,
        group_members=limits.group_members,
    )
