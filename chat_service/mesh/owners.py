"""The way from an edge to the owners of conversations: into the role here, or over a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from chat_service.mesh.links import Links
from chat_service.mesh.placing import server_at, unreachable
from chat_service.model.answer import MENDED, PATIENCE_S, Answer, Appended, Reply
from chat_service.model.creation import Creation
from chat_service.model.entry import Draft
from chat_service.model.ids import conversation_position
from chat_service.model.receipt import Receipt
from chat_service.owner.owner import Owner
from chat_service.owner.pending import Attempt
from chat_service.owner.ports import RingView
from chat_service.owner.receipts import Received
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.failure import Failure
from servicekit.status import from_proto

PAUSE_S: Final = 0.1


class Owners:
    """From an edge to the owners of conversations."""

    def __init__(self, ring: RingView, links: Links, here: Owner) -> None:
        self._ring = ring
        self._links = links
        self._here = here

    def append(self, draft: Draft, attempt: Attempt | None, target: str, reply: Reply) -> None:
        """Have `draft` appended by the server `target`, which the lane took for the owner."""
        if target == self._ring.me.server_id:
            self._here.append(draft, attempt, reply)
            return

        def answered(frame: MeshFrame | None) -> None:
            reply(mesh.read_append_result(frame.append_result) if frame else unreachable())

        self._ask(target, mesh.append(draft, attempt), answered, draft.traceparent)

    async def decide(self, draft: Draft) -> Appended:
        """Have `draft` appended, waiting out a change of owner. Raises what the owner refuses."""

        def tell(target: str, reply: Reply) -> None:
            self.append(draft, None, target, reply)

        return await self._patiently(draft.conversation_id, tell)

    async def reload(self, conversation_id: str) -> None:
        """Have what is appended from now on decided by what is true now beside the log, such as a block."""

        def tell(target: str, reply: Reply) -> None:
            if target == self._ring.me.server_id:
                self._here.reload(conversation_id, reply)
            else:
                self._ask(target, mesh.reload(conversation_id), lambda frame: reply(_answer(frame)))

        await self._patiently(conversation_id, tell)

    def type(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Tell the other members that a member types, or stopped, if that can be done now."""
        target = self.owner_of(conversation_id)
        if target == self._ring.me.server_id:
            self._here.type(user_id, conversation_id, typing)
        elif (link := self._links.to(target)) is not None:
            link.send(mesh.typing(user_id, conversation_id, typing))

    def owner_of(self, conversation_id: str) -> str:
        """The id of the server that owns a conversation; empty while there is no ring."""
        return server_at(self._ring, conversation_position(conversation_id))

    def receive(self, receipt: Receipt, reply: Received) -> None:
        """Have a member's watermarks raised."""
        target = self.owner_of(receipt.conversation_id)
        if target == self._ring.me.server_id:
            self._here.receive(receipt, reply)
        else:
            self._ask(target, mesh.receive(receipt), lambda answer: reply(_refusal(answer)))

    async def received(self, receipt: Receipt) -> None:
        """Have a member's watermarks raised, and wait for it. Raises what the owner refuses."""

        def tell(_: str, reply: Reply) -> None:
            self.receive(receipt, lambda no: reply(no or Appended(0, 0)))

        await self._patiently(receipt.conversation_id, tell)

    async def create(self, creation: Creation) -> None:
        """Have a conversation made, unless it is there. Raises what the owner refuses."""

        def tell(target: str, reply: Reply) -> None:
            if target == self._ring.me.server_id:
                self._here.create(creation, reply)
            else:
                self._ask(target, mesh.create(creation), lambda frame: reply(_answer(frame)))

        await self._patiently(creation.conversation_id, tell)

    def _ask(
        self, target: str, frame: MeshFrame, answered: Callable[[MeshFrame | None], None], traceparent: str = ""
    ) -> None:
        if (link := self._links.to(target)) is not None:
            link.ask(frame, answered, traceparent)
        else:
            answered(None)

    async def _patiently(self, conversation_id: str, tell: Callable[[str, Reply], None]) -> Appended:
        """What the owner answers; whoever is the owner next is asked if this one is not any more."""
        give_up = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            answer = await _answer_of(partial(tell, self.owner_of(conversation_id)))
            if isinstance(answer, Appended):
                return answer
            if answer.reason not in MENDED or asyncio.get_running_loop().time() > give_up:
                raise answer
            await asyncio.sleep(answer.retry_after or PAUSE_S)


async def _answer_of(ask: Callable[[Reply], None]) -> Answer:
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(told: Answer) -> None:
        if not answer.done():
            answer.set_result(told)

    ask(settle)
    return await answer


def _answer(frame: MeshFrame | None) -> Answer:
    """What a frame says that has no place in a log to tell."""
    return _refusal(frame) or Appended(0, 0)


def _refusal(frame: MeshFrame | None) -> Failure | None:
    if frame is None:
        return unreachable()
    return from_proto(frame.refused) if frame.HasField("refused") else None
