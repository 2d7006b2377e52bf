"""Routers from an edge to the homes of users and to their streams: to the local role, or over a peer stream."""

from __future__ import annotations

import asyncio
from typing import Final

from chat_service.errors import OwnerUnavailable, StreamNotConnected
from chat_service.home.home import Home
from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.routing import peer_unreachable, request, server_at
from chat_service.model.delivery import AttachedSession, Foreground
from chat_service.model.ids import user_position
from chat_service.model.requests import RETRY_WINDOW_S
from chat_service.owner.ports import RingView
from chat_service.stream.edge import Edge
from chat_service.wire import mesh
from servicekit.auth import Claims
from servicekit.failure import Failure

RETRY_INTERVAL_S: Final = 0.1


class HomeRouter:
    """Routes requests to the homes of users; implements the edge's Homes."""

    def __init__(self, ring: RingView, peers: PeerPool, local: Home) -> None:
        self._ring = ring
        self._peers = peers
        self._local = local

    def home_of(self, user_id: str) -> str:
        """Return the id of the server that is home to a user; empty while there is no ring."""
        return server_at(self._ring, user_position(user_id))

    def address_of(self, user_id: str) -> str:
        """Return the public address of a user's home; empty while there is no ring."""
        member = self._ring.ring.members.get(self.home_of(user_id))
        return member.address if member else ""

    async def attach(self, home: str, session: AttachedSession, reattach: bool) -> bool:
        """Attach a session to its home, a new one or with `reattach`; return False if the home cannot be reached."""
        if home == self._ring.me.server_id:
            self._local.attach(session, reattach)
            return True
        if (stream := self._peers.stream_to(home)) is None:
            return False
        try:
            await request(stream, mesh.encode_attach(session, reattach))
        except OwnerUnavailable:
            return False
        return True

    def set_activity(self, home: str, session: AttachedSession) -> None:
        """Tell the home that a session has moved between foreground and background."""
        if home == self._ring.me.server_id:
            self._local.set_activity(
                session.user_id, session.session_id, foreground=session.foreground, silent=session.silent
            )
        elif (stream := self._peers.stream_to(home)) is not None:
            stream.send_unbounded(mesh.encode_activity(session))

    async def find_session(self, user_id: str, device_id: str) -> tuple[str, str] | None:
        """Return the edge and the id of a device's session, or None if it has none.

        Raises OwnerUnavailable if the home cannot be reached.
        """
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            session = self._local.find_session(user_id, device_id)
            return (session.edge, session.session_id) if session else None
        response = await request(self._peers.stream_to(home), mesh.encode_find(user_id, device_id))
        found = response.found
        return (found.edge, found.session_id) if found.edge else None

    async def describe_foreground(self, user_id: str) -> Foreground:
        """Return the devices of a user in the foreground, and the last entry that was not pushed because of one.

        Raises OwnerUnavailable if the home cannot be reached.
        """
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            return self._local.describe_foreground(user_id)
        response = await request(self._peers.stream_to(home), mesh.encode_describe_foreground(user_id))
        return mesh.decode_foreground(response.foreground)

    def recheck_user(self, user_id: str) -> None:
        """Make the sessions of a user read again what changed for the user outside the logs."""
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            self._local.recheck_user(user_id)
        elif (stream := self._peers.stream_to(home)) is not None:
            stream.send_unbounded(mesh.encode_recheck_user(user_id))

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session ended."""
        if home == self._ring.me.server_id:
            self._local.detach(user_id, session_id)
        elif (stream := self._peers.stream_to(home)) is not None:
            stream.send_unbounded(mesh.encode_detach(user_id, session_id))

    async def close_device_sessions(self, user_id: str, device_id: str, failure: Failure) -> None:
        """End the stream of a device at whatever edge it is, and retry while the home cannot be reached.

        Raises OwnerUnavailable after RETRY_WINDOW_S. A session that its home does not know is not ended here: it ends
        when its edge attaches it and finds the device signed out.
        """
        deadline = asyncio.get_running_loop().time() + RETRY_WINDOW_S
        while True:
            home = self.home_of(user_id)
            if home == self._ring.me.server_id:
                self._local.close_device_sessions(user_id, device_id, failure)
                return
            try:
                async with asyncio.timeout_at(deadline):
                    await request(self._peers.stream_to(home), mesh.encode_sign_out(user_id, device_id, failure))
                    return
            except (OwnerUnavailable, TimeoutError):
                if asyncio.get_running_loop().time() > deadline:
                    raise peer_unreachable() from None
            await asyncio.sleep(RETRY_INTERVAL_S)


class StreamRouter:
    """Forwards the frame of a unary call to the stream of the calling device, which its home finds."""

    def __init__(self, ring: RingView, peers: PeerPool, homes: HomeRouter, local: Edge) -> None:
        self._ring = ring
        self._peers = peers
        self._homes = homes
        self._local = local

    async def forward_frame(self, caller: Claims, frame: bytes) -> bytes:
        """Return the stream's serialised response to a serialised ConnectRequest.

        Raises StreamNotConnected, OwnerUnavailable, and the Failure of a refused frame.
        """
        found = await self._homes.find_session(caller.user_id, caller.device_id)
        if found is None:
            raise StreamNotConnected("this device has no open stream; connect first")
        edge, session_id = found
        if edge == self._ring.me.server_id:
            return await self._local.handle_unary_frame(session_id, frame)
        return (await request(self._peers.stream_to(edge), mesh.encode_tell(session_id, frame))).told.response
