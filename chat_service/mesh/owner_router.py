"""The way from an edge to the owners of conversations: into the role here, or over a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.routing import peer_unreachable, server_at
from chat_service.model.entry import Draft
from chat_service.model.ids import conversation_position
from chat_service.model.requests import (
    RETRY_WINDOW_S,
    RETRYABLE,
    Appended,
    AppendOutcome,
    Attempt,
    Creation,
    OnAppended,
    Receipt,
)
from chat_service.owner.owner import Owner
from chat_service.owner.ports import RingView
from chat_service.owner.receipt_writer import OnReceiptKept
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.failure import Failure
from servicekit.status import from_proto

PAUSE_S: Final = 0.1


class OwnerRouter:
    """From an edge to the owners of conversations."""

    def __init__(self, ring: RingView, links: PeerPool, here: Owner) -> None:
        self._ring = ring
        self._links = links
        self._local = here

    def route_append(self, draft: Draft, attempt: Attempt | None, target: str, reply: OnAppended) -> None:
        """Have `draft` appended by the server `target`, which the lane took for the owner."""
        if target == self._ring.me.server_id:
            self._local.append_draft(draft, attempt, reply)
            return

        def answered(frame: MeshFrame | None) -> None:
            reply(mesh.decode_append_result(frame.append_result) if frame else peer_unreachable())

        self._request(target, mesh.encode_append(draft, attempt), answered, draft.traceparent)

    async def append_and_wait(self, draft: Draft) -> Appended:
        """Have `draft` appended, waiting out a change of owner. Raises what the owner refuses."""

        def tell(target: str, reply: OnAppended) -> None:
            self.route_append(draft, None, target, reply)

        return await self._retry_until_owned(draft.conversation_id, tell)

    async def invalidate_and_wait(self, conversation_id: str) -> None:
        """Have what is appended from now on decided by what is true now beside the log, such as a block."""

        def tell(target: str, reply: OnAppended) -> None:
            if target == self._ring.me.server_id:
                self._local.invalidate_conversation(conversation_id, reply)
            else:
                self._request(target, mesh.encode_reload(conversation_id), lambda frame: reply(_read_result(frame)))

        await self._retry_until_owned(conversation_id, tell)

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Tell the other members that a member types, or stopped, if that can be done now."""
        target = self.owner_of(conversation_id)
        if target == self._ring.me.server_id:
            self._local.publish_typing(user_id, conversation_id, typing)
        elif (link := self._links.stream_to(target)) is not None:
            link.send(mesh.encode_typing(user_id, conversation_id, typing))

    def owner_of(self, conversation_id: str) -> str:
        """The id of the server that owns a conversation; empty while there is no ring."""
        return server_at(self._ring, conversation_position(conversation_id))

    def send_receipt(self, receipt: Receipt, reply: OnReceiptKept) -> None:
        """Have a member's watermarks raised."""
        target = self.owner_of(receipt.conversation_id)
        if target == self._ring.me.server_id:
            self._local.receive_receipt(receipt, reply)
        else:
            self._request(target, mesh.encode_receipt(receipt), lambda answer: reply(_refusal(answer)))

    async def send_receipt_and_wait(self, receipt: Receipt) -> None:
        """Have a member's watermarks raised, and wait for it. Raises what the owner refuses."""

        def tell(_: str, reply: OnAppended) -> None:
            self.send_receipt(receipt, lambda no: reply(no or Appended(0, 0)))

        await self._retry_until_owned(receipt.conversation_id, tell)

    async def create_and_wait(self, creation: Creation) -> None:
        """Have a conversation made, unless it is there. Raises what the owner refuses."""

        def tell(target: str, reply: OnAppended) -> None:
            if target == self._ring.me.server_id:
                self._local.create_conversation(creation, reply)
            else:
                self._request(target, mesh.encode_create(creation), lambda frame: reply(_read_result(frame)))

        await self._retry_until_owned(creation.conversation_id, tell)

    def _request(
        self, target: str, frame: MeshFrame, answered: Callable[[MeshFrame | None], None], traceparent: str = ""
    ) -> None:
        if (link := self._links.stream_to(target)) is not None:
            link.request(frame, answered, traceparent)
        else:
            answered(None)

    async def _retry_until_owned(self, conversation_id: str, tell: Callable[[str, OnAppended], None]) -> Appended:
        """What the owner answers; whoever is the owner next is asked if this one is not any more."""
        give_up = asyncio.get_running_loop().time() + RETRY_WINDOW_S
        while True:
            answer = await _wait_result(partial(tell, self.owner_of(conversation_id)))
            if isinstance(answer, Appended):
                return answer
            if answer.reason not in RETRYABLE or asyncio.get_running_loop().time() > give_up:
                raise answer
            await asyncio.sleep(answer.retry_after or PAUSE_S)


async def _wait_result(ask: Callable[[OnAppended], None]) -> AppendOutcome:
    answer: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()

    def settle(told: AppendOutcome) -> None:
        if not answer.done():
            answer.set_result(told)

    ask(settle)
    return await answer


def _read_result(frame: MeshFrame | None) -> AppendOutcome:
    """What a frame says that has no place in a log to tell."""
    return _refusal(frame) or Appended(0, 0)


def _refusal(frame: MeshFrame | None) -> Failure | None:
    if frame is None:
        return peer_unreachable()
    return from_proto(frame.refused) if frame.HasField("refused") else None
