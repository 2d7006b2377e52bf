"""The calls of ChatService by which a browser keeps in step: what changed, entries, receipts, typing."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from chat_service.errors import PageTokenInvalid
from chat_service.history.history import ChangesPosition, RangeRequest
from chat_service.model.cursor import Cursor, Resync
from chat_service.model.receipt import Receipt
from chat_service.servicers.roles import Dependencies
from chat_service.wire import frames, ranges
from chat_service.wire.conversations import decode_page_token, encode_page_token
from parley.chat.v1 import chat_pb2
from servicekit.failure import Failure
from servicekit.rpc import Call

CHANGES: Final = "changes"
CHANGES_PAGE: Final = 500
DEFAULT_ENTRIES: Final = 100
# What does not fit into an answer any more is left out of it.
ANSWER_BYTES: Final = 1024 * 1024
# resync, generation and time of the first page's cursor ("-" for none), the last id.
POSITION_PATTERN: Final = re.compile(r"[0-4]:(-|[0-9]{1,18}):(-|[0-9]{1,18}):[0-9a-f]{32}")


class CatchingUpCalls:
    """Frames of the stream as calls, with the same powers."""

    def __init__(self, roles: Dependencies) -> None:
        self._owners = roles.owners
        self._history = roles.history

    async def ListChanges(self, request: chat_pb2.ListChangesRequest, call: Call) -> chat_pb2.ListChangesResponse:
        """The conversations that changed since a cursor."""
        cursor = Cursor(request.cursor.generation, request.cursor.time_ms) if request.HasField("cursor") else None
        place = _decode_position(request.page_token)
        page = await self._history.list_changes_page(
            call.caller.user_id, cursor, place, request.page_size or CHANGES_PAGE
        )
        return chat_pb2.ListChangesResponse(
            changes=frames.encode_changes(page.reading, page.reading.conversation_ids, last=page.next_position is None),
            next_page_token=_encode_position(page.next_position) if page.next_position else "",
        )

    async def ListEntries(self, request: chat_pb2.ListEntriesRequest, call: Call) -> bytes:
        """Ranges of logs; those that do not fit are left out."""
        user_id, size, parts = call.caller.user_id, 0, list[bytes]()
        for each in request.fetch.ranges:
            span = RangeRequest(each.conversation_id, each.after_seq, each.limit or DEFAULT_ENTRIES)
            [found] = await self._history.read_ranges(user_id, [span])
            part = (
                ranges.encode_refused_range(span, found)
                if isinstance(found, Failure)
                else ranges.encode_range(found, user_id)
            )
            parts.append(part)
            size += len(part)
            if size > ANSWER_BYTES:
                break
        # Messages of one type, one after the other, are one message with the elements of all.
        return frames.list_entries_response(b"".join(parts))

    async def UpdateReceipts(
        self, request: chat_pb2.UpdateReceiptsRequest, call: Call
    ) -> chat_pb2.UpdateReceiptsResponse:
        """Moves the caller's watermarks; all are tried, also if one is refused."""
        who = call.caller.user_id, call.caller.device_id
        receipts = [Receipt(*who, each.conversation_id, each.delivered_seq, each.read_seq) for each in request.receipts]
        outcomes = await asyncio.gather(*map(self._owners.send_receipt_and_wait, receipts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return chat_pb2.UpdateReceiptsResponse()

    async def SetTyping(self, request: chat_pb2.SetTypingRequest, call: Call) -> chat_pb2.SetTypingResponse:
        """Tells the other members that the caller types."""
        await self._history.load_visible(call.caller.user_id, request.conversation_id)
        self._owners.publish_typing(call.caller.user_id, request.conversation_id, request.typing)
        return chat_pb2.SetTypingResponse()


def _encode_position(place: ChangesPosition) -> str:
    cursor = place.cursor
    where = f"{cursor.generation}:{cursor.time_ms}" if cursor else "-:-"
    return encode_page_token(CHANGES, f"{place.resync:d}:{where}:{place.after}")


def _decode_position(token: str) -> ChangesPosition | None:
    said = decode_page_token(CHANGES, token, POSITION_PATTERN)
    if not said:
        return None
    resync, generation, time_ms, after = said.split(":")
    if (generation == "-") != (time_ms == "-"):
        raise PageTokenInvalid("this page token was not made here")
    cursor = None if generation == "-" else Cursor(int(generation), int(time_ms))
    return ChangesPosition(Resync(int(resync)), cursor, after)
