"""The way from an edge to the homes of users: into the role here, or over a link."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from chat_service.errors import OwnerUnavailable, StreamNotConnected
from chat_service.home.home import Home
from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.routing import peer_unreachable, request, server_at
from chat_service.model.delivery import AttachedSession
from chat_service.model.ids import user_position
from chat_service.model.requests import RETRY_WINDOW_S
from chat_service.owner.ports import RingView
from chat_service.stream.edge import Edge
from chat_service.wire import mesh
from servicekit.auth import Claims
from servicekit.failure import Failure

PAUSE_S: Final = 0.1


class HomeRouter:
    """From an edge to the homes of users."""

    def __init__(self, ring: RingView, links: PeerPool, here: Home) -> None:
        self._ring = ring
        self._links = links
        self._local = here

    def home_of(self, user_id: str) -> str:
        """The id of the server that is home to a user; empty while there is no ring."""
        return server_at(self._ring, user_position(user_id))

    def address_of(self, user_id: str) -> str:
        """The public address of a user's home; empty while there is no ring."""
        member = self._ring.ring.members.get(self.home_of(user_id))
        return member.address if member else ""

    async def attach(self, home: str, attachment: AttachedSession, again: bool) -> bool:
        """Tell the home of a session, a new one or `again`; whether it knows."""
        if home == self._ring.me.server_id:
            self._local.attach(attachment, again)
            return True
        if (link := self._links.stream_to(home)) is None:
            return False
        try:
            await request(link, mesh.encode_attach(attachment, again))
        except OwnerUnavailable:
            return False
        return True

    async def find_session(self, user_id: str, device_id: str) -> tuple[str, str] | None:
        """The edge and the id of a device's session, as far as its home can be asked."""
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            here = self._local.find_session(user_id, device_id)
            return (here.edge, here.session_id) if here else None
        answer = await request(self._links.stream_to(home), mesh.encode_find(user_id, device_id))
        return (answer.found.edge, answer.found.session_id) if answer.found.edge else None

    async def watch(self, home: str, session_id: str, user_ids: Collection[str]) -> Collection[str]:
        """Have a session told of users there and of no others there; who is online. Raises OwnerUnavailable."""
        me = self._ring.me.server_id
        if home == me:
            return self._local.presence.watch(me, session_id, user_ids)
        answer = await request(self._links.stream_to(home), mesh.encode_watch(session_id, user_ids))
        return answer.watched.online_user_ids

    def unwatch(self, home: str, session_id: str) -> None:
        """Have a session told nothing any more."""
        if home == self._ring.me.server_id:
            self._local.presence.unwatch(session_id)
        elif (link := self._links.stream_to(home)) is not None:
            link.send_unbounded(mesh.encode_watch(session_id, ()))

    def recheck_user(self, user_id: str) -> None:
        """Something beside the logs is another for a user: have its sessions look."""
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            self._local.recheck_user(user_id)
        elif (link := self._links.stream_to(home)) is not None:
            link.send_unbounded(mesh.encode_recheck_user(user_id))

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session is gone."""
        if home == self._ring.me.server_id:
            self._local.detach(user_id, session_id)
        elif (link := self._links.stream_to(home)) is not None:
            link.send_unbounded(mesh.encode_detach(user_id, session_id))

    async def close_device_sessions(self, user_id: str, device_id: str, failure: Failure) -> None:
        """Have the stream of a device ended, wherever it is, waiting out a change of home. Raises OwnerUnavailable.

        A session that its home does not know yet, or has forgotten, finds out when it is attached again.
        """
        give_up = asyncio.get_running_loop().time() + RETRY_WINDOW_S
        while True:
            home = self.home_of(user_id)
            if home == self._ring.me.server_id:
                self._local.close_device_sessions(user_id, device_id, failure)
                return
            try:
                async with asyncio.timeout_at(give_up):
                    await request(self._links.stream_to(home), mesh.encode_sign_out(user_id, device_id, failure))
                    return
            except (OwnerUnavailable, TimeoutError):
                if asyncio.get_running_loop().time() > give_up:
                    raise peer_unreachable() from None
            await asyncio.sleep(PAUSE_S)


class StreamRouter:
    """Finds the stream of a device by its home, and says to it what the device said in a call."""

    def __init__(self, ring: RingView, links: PeerPool, homes: HomeRouter, here: Edge) -> None:
        self._ring = ring
        self._links = links
        self._homes = homes
        self._local = here

    async def forward_frame(self, who: Claims, frame: bytes) -> bytes:
        """What the stream answers to a serialised ConnectRequest. Raises StreamNotConnected, OwnerUnavailable."""
        found = await self._homes.find_session(who.user_id, who.device_id)
        if found is None:
            raise StreamNotConnected("this device has no stream; open one first")
        edge, session_id = found
        if edge == self._ring.me.server_id:
            return await self._local.handle_unary_frame(session_id, frame)
        return (await request(self._links.stream_to(edge), mesh.encode_tell(session_id, frame))).told.response
