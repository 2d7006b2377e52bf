"""The router to the owners of conversations: to the local role, or over a peer stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from chat_service.mesh.peer_pool import PeerPool
from chat_service.mesh.routing import peer_unreachable, server_at
from chat_service.model.entry import Draft
from chat_service.model.ids import conversation_position
from chat_service.model.requests import (
    RETRY_WINDOW_S,
    RETRYABLE,
    Appended,
    Attempt,
    Creation,
    Done,
    DoneOutcome,
    OnAppended,
    OnDone,
    Receipt,
    Unchanged,
)
from chat_service.owner.owner import Owner
from chat_service.owner.ports import RingView
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import MeshFrame
from servicekit.failure import Failure
from servicekit.status import from_proto

RETRY_INTERVAL_S: Final = 0.1

Result = TypeVar("Result")


class OwnerRouter:
    """Routes requests to the owners of conversations; implements the edge's Owners."""

    def __init__(self, ring: RingView, peers: PeerPool, local: Owner) -> None:
        self._ring = ring
        self._peers = peers
        self._local = local

    def route_append(self, draft: Draft, attempt: Attempt | None, target: str, reply: OnAppended) -> None:
        """Send `draft` to the server `target` to append it; `reply` is called once.

        The caller chooses `target`, so that all sends of an attempt go to the same server.
        """
        if target == self._ring.me.server_id:
            self._local.append_draft(draft, attempt, reply)
            return

        def on_response(response: MeshFrame | None) -> None:
            reply(mesh.decode_append_result(response.append_result) if response else peer_unreachable())

        self._request(target, mesh.encode_append(draft, attempt), on_response, draft.traceparent)

    async def append_and_wait(self, draft: Draft) -> Appended | Unchanged:
        """Append `draft`, and retry for RETRY_WINDOW_S while the owner changes or cannot be reached.

        Raises the owner's refusal.
        """

        def send(target: str, reply: OnAppended) -> None:
            self.route_append(draft, None, target, reply)

        return await self._retry_until_owned(draft.conversation_id, send)

    async def invalidate_and_wait(self, conversation_id: str) -> None:
        """Make the owner reload the state that it keeps from outside the log, such as blocks.

        All appends after the return are authorized by the reloaded state. Raises the owner's refusal.
        """

        def send(target: str, reply: OnDone) -> None:
            if target == self._ring.me.server_id:
                self._local.invalidate_conversation(conversation_id, reply)
            else:
                frame = mesh.encode_reload(conversation_id)
                self._request(target, frame, lambda response: reply(_read_result(response)))

        await self._retry_until_owned(conversation_id, send)

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Tell the other members that a member is typing or has stopped, if the owner can be reached now."""
        target = self.owner_of(conversation_id)
        if target == self._ring.me.server_id:
            self._local.publish_typing(user_id, conversation_id, typing)
        elif (stream := self._peers.stream_to(target)) is not None:
            stream.send(mesh.encode_typing(user_id, conversation_id, typing))

    def owner_of(self, conversation_id: str) -> str:
        """Return the id of the server that owns a conversation; empty while there is no ring."""
        return server_at(self._ring, conversation_position(conversation_id))

    def send_receipt(self, receipt: Receipt, reply: OnDone) -> None:
        """Send a receipt to the owner; `reply` is called once, when the watermarks are stored or refused."""
        target = self.owner_of(receipt.conversation_id)
        if target == self._ring.me.server_id:
            self._local.receive_receipt(receipt, reply)
        else:
            self._request(target, mesh.encode_receipt(receipt), lambda response: reply(_read_result(response)))

    async def send_receipt_and_wait(self, receipt: Receipt) -> None:
        """Raise a member's watermarks, and retry as `append_and_wait` does. Raises the owner's refusal."""

        def send(_: str, reply: OnDone) -> None:
            self.send_receipt(receipt, reply)

        await self._retry_until_owned(receipt.conversation_id, send)

    async def create_and_wait(self, creation: Creation) -> None:
        """Create a conversation unless it exists, and retry as `append_and_wait` does.

        Raises the owner's refusal.
        """

        def send(target: str, reply: OnDone) -> None:
            if target == self._ring.me.server_id:
                self._local.create_conversation(creation, reply)
            else:
                self._request(target, mesh.encode_create(creation), lambda response: reply(_read_result(response)))

        await self._retry_until_owned(creation.conversation_id, send)

    def _request(
        self, target: str, frame: MeshFrame, on_response: Callable[[MeshFrame | None], None], traceparent: str = ""
    ) -> None:
        if (stream := self._peers.stream_to(target)) is not None:
            stream.request(frame, on_response, traceparent)
        else:
            on_response(None)

    async def _retry_until_owned(
        self, conversation_id: str, send: Callable[[str, Callable[[Result | Failure], None]], None]
    ) -> Result:
        """Return the owner's result; `send` is called again, with the owner at that time, after a retryable refusal."""
        deadline = asyncio.get_running_loop().time() + RETRY_WINDOW_S
        while True:
            outcome: Result | Failure = await _wait_result(partial(send, self.owner_of(conversation_id)))
            if not isinstance(outcome, Failure):
                return outcome
            if outcome.reason not in RETRYABLE or asyncio.get_running_loop().time() > deadline:
                raise outcome
            await asyncio.sleep(outcome.retry_after or RETRY_INTERVAL_S)


async def _wait_result(send: Callable[[Callable[[Result | Failure], None]], None]) -> Result | Failure:
    pending: asyncio.Future[Result | Failure] = asyncio.get_running_loop().create_future()

    def reply(outcome: Result | Failure) -> None:
        if not pending.done():
            pending.set_result(outcome)

    send(reply)
    return await pending


def _read_result(response: MeshFrame | None) -> DoneOutcome:
    """Return the outcome that a response reports, or OwnerUnavailable if the stream closed before it."""
    if response is None:
        return peer_unreachable()
    return from_proto(response.refused) if response.HasField("refused") else Done()
