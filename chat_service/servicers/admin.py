"""ChatAdminService: the load of this server, and the server of a key, for operators."""

from __future__ import annotations

from heapq import nlargest, nsmallest
from typing import Final

from chat_service.home.home import Home
from chat_service.mesh.home_router import HomeRouter
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.mesh.peer_pool import PeerPool
from chat_service.owner.owner import HotConversation, Owner
from chat_service.owner.ports import RingView
from chat_service.stream.send_lane import LaneWait
from chat_service.stream.session import StreamSession
from chat_service.stream.session_registry import SessionRegistry
from parley.internal.v1 import chat_admin_pb2
from servicekit.clock import Clock
from servicekit.durations import to_duration
from servicekit.rpc import Call

DEFAULT_LIMIT: Final = 10


class ChatAdminServicer:
    """Serves ChatAdminService. A load is computed when it is asked for, in time proportional to the open streams."""

    def __init__(
        self,
        sessions: SessionRegistry,
        home: Home,
        owner: Owner,
        peers: PeerPool,
        homes: HomeRouter,
        owners: OwnerRouter,
        ring: RingView,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._home = home
        self._owner = owner
        self._peers = peers
        self._homes = homes
        self._owners = owners
        self._ring = ring
        self._clock = clock

    async def GetLoad(self, request: chat_admin_pb2.GetLoadRequest, _: Call) -> chat_admin_pb2.GetLoadResponse:
        """Return the busiest conversations, streams and send lanes."""
        limit, now = request.limit or DEFAULT_LIMIT, self._clock.monotonic()
        outboxes = [session for session in self._sessions if session.outbox.queued_bytes]
        deepest = nlargest(limit, outboxes, key=lambda session: session.outbox.queued_bytes)
        lanes = [(session, *lane) for session in self._sessions for lane in session.waiting_lanes()]
        slowest = nsmallest(limit, lanes, key=lambda lane: lane[2].oldest_s)
        return chat_admin_pb2.GetLoadResponse(
            streams=len(self._sessions),
            connected_users=self._home.user_count,
            owned_conversations=self._owner.conversation_count,
            peer_streams=self._peers.stream_count,
            hot_conversations=map(_encode_conversation, self._owner.list_hottest(limit)),
            deep_outboxes=[_encode_outbox(session, now) for session in deepest],
            slow_lanes=[_encode_lane(*lane, now) for lane in slowest],
        )

    async def LocateKey(self, request: chat_admin_pb2.LocateKeyRequest, _: Call) -> chat_admin_pb2.LocateKeyResponse:
        """Return the home of a user, or the owner of a conversation."""
        is_user = request.WhichOneof("key") == "user_id"
        found = self._homes.home_of(request.user_id) if is_user else self._owners.owner_of(request.conversation_id)
        return chat_admin_pb2.LocateKeyResponse(server_id=found, ring_revision=self._ring.ring.revision)


def _encode_conversation(hot: HotConversation) -> chat_admin_pb2.HotConversation:
    return chat_admin_pb2.HotConversation(
        conversation_id=hot.conversation_id,
        entries_per_second=hot.entries_per_second,
        members=hot.members,
        queued_sends=hot.queued_sends,
    )


def _encode_outbox(session: StreamSession, now: float) -> chat_admin_pb2.DeepOutbox:
    return chat_admin_pb2.DeepOutbox(
        user_id=session.claims.user_id,
        device_id=session.claims.device_id,
        queued_bytes=session.outbox.queued_bytes,
        silence=to_duration(now - session.heard_at),
    )


def _encode_lane(session: StreamSession, conversation_id: str, lane: LaneWait, now: float) -> chat_admin_pb2.SlowLane:
    return chat_admin_pb2.SlowLane(
        user_id=session.claims.user_id,
        device_id=session.claims.device_id,
        conversation_id=conversation_id,
        oldest_send_age=to_duration(now - lane.oldest_s),
        waiting_sends=lane.sends,
        owner_server_id=lane.target,
    )
