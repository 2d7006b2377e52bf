"""The way from an edge to the homes of users: into the role here, or over a link."""

from __future__ import annotations

import asyncio

from chat_service.home.home import Attachment, Home
from chat_service.mesh.links import Links
from chat_service.mesh.placing import server_at
from chat_service.model.ids import user_position
from chat_service.owner.ports import RingView
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.failure import Failure


class Homes:
    """From an edge to the homes of users."""

    def __init__(self, ring: RingView, links: Links, here: Home) -> None:
        self._ring = ring
        self._links = links
        self._here = here

    def home_of(self, user_id: str) -> str:
        """The id of the server that is home to a user; empty while there is no ring."""
        return server_at(self._ring, user_position(user_id))

    def address_of(self, user_id: str) -> str:
        """The public address of a user's home; empty while there is no ring."""
        member = self._ring.ring.members.get(self.home_of(user_id))
        return member.address if member else ""

    async def attach(self, home: str, attachment: Attachment, again: bool) -> bool:
        """Tell the home of a session, a new one or `again`; whether it knows."""
        if home == self._ring.me.server_id:
            self._here.attach(attachment, again)
            return True
        if (link := self._links.to(home)) is None:
            return False
        known: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def answered(frame: MeshFrame | None) -> None:
            if not known.done():
                known.set_result(frame is not None)

        link.ask(mesh.attach(attachment, again), answered)
        return await known

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session is gone."""
        if home == self._ring.me.server_id:
            self._here.detach(user_id, session_id)
        elif (link := self._links.to(home)) is not None:
            link.tell(mesh.detach(user_id, session_id))

    def sign_out(self, user_id: str, device_id: str, failure: Failure) -> None:
        """Have the stream of a device ended, wherever it is."""
        home = self.home_of(user_id)
        if home == self._ring.me.server_id:
            self._here.sign_out(user_id, device_id, failure)
        elif (link := self._links.to(home)) is not None:
            link.tell(mesh.sign_out(user_id, device_id, failure))
