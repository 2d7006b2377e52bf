"""The way from an edge to the owners of conversations: into the role here, or over a link."""

from __future__ import annotations

import asyncio

from chat_service.mesh.links import Links
from chat_service.mesh.placing import server_at, unreachable
from chat_service.model.answer import Answer, Reply
from chat_service.model.creation import Creation
from chat_service.model.entry import Draft
from chat_service.model.ids import conversation_position
from chat_service.owner.owner import Owner
from chat_service.owner.pending import Lane
from chat_service.owner.ports import RingView
from chat_service.owner.receipts import Received
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.failure import Failure
from servicekit.status import from_proto


class Owners:
    """From an edge to the owners of conversations."""

    def __init__(self, ring: RingView, links: Links, here: Owner) -> None:
        self._ring = ring
        self._links = links
        self._here = here

    def append(self, draft: Draft, lane: Lane, target: str, reply: Reply) -> None:
        """Have `draft` appended by the server `target`, which the lane took for the owner."""
        if target == self._ring.me.server_id:
            self._here.append(draft, lane, reply)
            return
        if (link := self._links.to(target)) is None:
            reply(unreachable())
            return

        def answered(frame: MeshFrame | None) -> None:
            reply(mesh.read_append_result(frame.append_result) if frame else unreachable())

        link.ask(mesh.append(draft, lane), answered, draft.traceparent)

    def owner_of(self, conversation_id: str) -> str:
        """The id of the server that owns a conversation; empty while there is no ring."""
        return server_at(self._ring, conversation_position(conversation_id))

    def receive(self, user_id: str, conversation_id: str, delivered_seq: int, read_seq: int, reply: Received) -> None:
        """Have a member's watermarks raised."""
        target = self.owner_of(conversation_id)
        if target == self._ring.me.server_id:
            self._here.receive(user_id, conversation_id, delivered_seq, read_seq, reply)
        elif (link := self._links.to(target)) is not None:
            frame = mesh.receive(user_id, conversation_id, delivered_seq, read_seq)
            link.ask(frame, lambda answer: reply(_refusal(answer)))
        else:
            reply(unreachable())

    async def create(self, creation: Creation) -> None:
        """Have a conversation made, unless it is there. Raises what the owner refuses."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def settle(told: Answer | None) -> None:
            if not answer.done():
                answer.set_result(told)

        target = self.owner_of(creation.conversation_id)
        if target == self._ring.me.server_id:
            self._here.create(creation, settle)
        elif (link := self._links.to(target)) is not None:
            link.ask(mesh.create(creation), lambda frame: settle(_refusal(frame)))
        else:
            raise unreachable()
        if isinstance(told := await answer, Failure):
            raise told


def _refusal(frame: MeshFrame | None) -> Failure | None:
    if frame is None:
        return unreachable()
    return from_proto(frame.refused) if frame.HasField("refused") else None
