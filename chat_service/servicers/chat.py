"""ChatService: the stream of a device, its frames as unary calls, and messages."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from chat_service.errors import Invalid, PageTokenInvalid, SearchDisabled
from chat_service.history.history import ChangesPosition, RangeRequest
from chat_service.history.message_search import HIGHEST, Rank
from chat_service.model.cursor import Cursor, Resync
from chat_service.model.entry import Message, MessageDeleted, MessageEdited, ReactionChanged
from chat_service.model.requests import Receipt
from chat_service.model.words import MessageQuery
from chat_service.servicers.dependencies import Dependencies, DraftAppender
from chat_service.wire import frames, ranges, requests
from chat_service.wire.conversations import ID_PATTERN, SEQ_PATTERN, decode_page_token, encode_page_token
from chat_service.wire.entries import encode_for_viewer
from parley.chat.v1 import chat_pb2, entry_pb2
from servicekit.failure import Failure, Violation
from servicekit.rpc import ByteStream, Call

# It needs no store, so it is answered also while none can be reached.
ADMISSION_EXEMPT: Final = frozenset({"Locate"})
MESSAGES_PAGE: Final = 50
READERS_PAGE: Final = 100
BEFORE: Final = "before"
AFTER: Final = "after"
READERS: Final = "readers"
FOUND: Final = "found"
FOUND_PAGE: Final = 20
# The place of a message among all, and its conversation.
RANK_PATTERN: Final = re.compile(r"[0-9]{1,18}:[0-9a-f]{32}|[1-8][0-9]{18}:[0-9a-f]{32}")
CHANGES: Final = "changes"
CHANGES_PAGE: Final = 500
DEFAULT_ENTRIES: Final = 100
# What does not fit into an answer any more is left out of it.
ANSWER_BYTES: Final = 1024 * 1024
# resync, generation and time of the first page's cursor ("-" for none), the last id.
POSITION_PATTERN: Final = re.compile(r"[0-4]:(-|[0-9]{1,18}):(-|[0-9]{1,18}):[0-9a-f]{32}")


class ChatServicer:
    """Serves ChatService."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._edge = dependencies.edge
        self._homes = dependencies.homes
        self._streams = dependencies.streams
        self._owners = dependencies.owners
        self._history = dependencies.history
        self._personal = dependencies.personal
        self._search = dependencies.search
        self._limits = dependencies.limits
        self._append = DraftAppender(dependencies).append

    async def Connect(self, stream: ByteStream, call: Call) -> None:
        """The stream of a device."""
        await self._edge.connect(stream, call)

    async def Subscribe(self, request: chat_pb2.SubscribeRequest, stream: ByteStream, call: Call) -> None:
        """The stream of a browser: the frames down are the same, and there are none up."""
        await self._edge.subscribe(request.hello, stream, call)

    async def Locate(self, _: chat_pb2.LocateRequest, call: Call) -> chat_pb2.LocateResponse:
        """The name of the caller's home."""
        return chat_pb2.LocateResponse(home=self._homes.address_of(call.caller.user_id))

    async def Heartbeat(self, request: chat_pb2.HeartbeatRequest, call: Call) -> bytes:
        """The device is there."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(heartbeat=request)))

    async def WatchPresence(self, request: chat_pb2.WatchPresenceRequest, call: Call) -> bytes:
        """Whose presence the device's stream is told from now on."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(watch_presence=request)))

    async def Reauthenticate(self, request: chat_pb2.ReauthenticateRequest, call: Call) -> bytes:
        """A newer token for the device's stream; the caller was admitted just now."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(reauthenticate=request)))

    async def SendMessage(self, request: chat_pb2.SendMessageRequest, call: Call) -> chat_pb2.SendMessageResponse:
        """Appends a message."""
        change = Message(requests.encode_content(request.content, self._limits))
        appended = await self._append(call, request.conversation_id, request.client_message_id, change)
        return chat_pb2.SendMessageResponse(appended=frames.encode_appended(appended))

    async def EditMessage(self, request: chat_pb2.EditMessageRequest, call: Call) -> chat_pb2.EditMessageResponse:
        """Replaces what a message of the caller says."""
        change = MessageEdited(request.target_seq, requests.encode_content(request.content, self._limits))
        appended = await self._append(call, request.conversation_id, request.request_id, change)
        return chat_pb2.EditMessageResponse(appended=frames.encode_appended(appended))

    async def DeleteMessage(self, request: chat_pb2.DeleteMessageRequest, call: Call) -> chat_pb2.DeleteMessageResponse:
        """Takes a message away, from all or from the caller's view."""
        if not request.for_all:
            await self._personal.hide_message(call.caller.user_id, request.conversation_id, request.target_seq)
            return chat_pb2.DeleteMessageResponse()
        change = MessageDeleted(request.target_seq)
        appended = await self._append(call, request.conversation_id, request.request_id, change)
        return chat_pb2.DeleteMessageResponse(appended=frames.encode_appended(appended))

    async def SetReaction(self, request: chat_pb2.SetReactionRequest, call: Call) -> chat_pb2.SetReactionResponse:
        """Sets or removes the caller's reaction."""
        change = ReactionChanged(request.target_seq, request.emoji)
        appended = await self._append(call, request.conversation_id, request.request_id, change)
        return chat_pb2.SetReactionResponse(appended=frames.encode_appended(appended))

    async def ListMessages(self, request: chat_pb2.ListMessagesRequest, call: Call) -> chat_pb2.ListMessagesResponse:
        """Messages as they are shown, in either direction."""
        user_id, size = call.caller.user_id, request.page_size or MESSAGES_PAGE
        direction, place = _read_direction(request)
        found = await self._history.list_messages(
            user_id,
            request.conversation_id,
            before_seq=place if direction == BEFORE else 0,
            after_seq=place if direction == AFTER else 0,
            limit=size + 1,
        )
        shown_ones = [entry_pb2.Entry.FromString(encode_for_viewer(entry, user_id)) for entry in found[:size]]
        more = encode_page_token(direction, str(found[size - 1].seq)) if len(found) > size else ""
        return chat_pb2.ListMessagesResponse(messages=shown_ones, next_page_token=more)

    async def SearchMessages(
        self, request: chat_pb2.SearchMessagesRequest, call: Call
    ) -> chat_pb2.SearchMessagesResponse:
        """Messages by their words, newest first."""
        if self._search is None:
            raise SearchDisabled("this deployment keeps no words of messages, so nothing can be found")
        user_id, size, query = call.caller.user_id, request.page_size or FOUND_PAGE, MessageQuery.of(request.query)
        below = _decode_rank(decode_page_token(FOUND, request.page_token, RANK_PATTERN))
        if not query:
            raise Invalid("there is no word in this query", violations=(Violation("query", "must have a word"),))
        found = await self._search.search(user_id, request.conversation_id, query, below, size + 1)
        last = found[size - 1].rank if len(found) > size else None
        return chat_pb2.SearchMessagesResponse(
            messages=[entry_pb2.Entry.FromString(encode_for_viewer(each.entry, user_id)) for each in found[:size]],
            next_page_token=encode_page_token(FOUND, f"{last.order}:{last.conversation_id}") if last else "",
        )

    async def ListReaders(self, request: chat_pb2.ListReadersRequest, call: Call) -> chat_pb2.ListReadersResponse:
        """Who has a message and who read it."""
        user_id, size = call.caller.user_id, request.page_size or READERS_PAGE
        after = decode_page_token(READERS, request.page_token, ID_PATTERN)
        message = await self._history.get_message(user_id, request.conversation_id, request.seq)
        sight = await self._history.load_visible(user_id, request.conversation_id)
        # Who came later has neither received nor read it.
        there = (each for each in sight.conversation.members if sight.conversation.can_see(each, request.seq))
        members = sorted(each for each in there if each > after and each != message.actor_id)
        marks = [
            frames.encode_watermark(request.conversation_id, each, sight.conversation.members[each].watermark)
            for each in members[:size]
        ]
        more = encode_page_token(READERS, members[size - 1]) if len(members) > size else ""
        return chat_pb2.ListReadersResponse(watermarks=marks, next_page_token=more)

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


def _read_direction(request: chat_pb2.ListMessagesRequest) -> tuple[str, int]:
    """In which direction from which seq to read. Raises Invalid."""
    if request.before_seq and request.after_seq:
        raise Invalid(
            "at most one of before_seq and after_seq may be set",
            violations=(Violation("after_seq", "must be 0 when before_seq is set"),),
        )
    direction = AFTER if request.after_seq else BEFORE
    token = decode_page_token(direction, request.page_token, SEQ_PATTERN)
    return direction, int(token) if token else request.after_seq or request.before_seq


def _decode_rank(place: str) -> Rank:
    """Below which rank a page goes on."""
    order, _, conversation_id = place.partition(":")
    return Rank(int(order), conversation_id) if place else HIGHEST


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


def _frame(said: chat_pb2.ConnectRequest) -> bytes:
    return said.SerializeToString()
