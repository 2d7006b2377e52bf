"""ChatService: the stream of a device, its frames as unary calls, and messages."""

from __future__ import annotations

import asyncio
from typing import Final

from chat_service.errors import ConversationNotFound
from chat_service.history.history import RangeRequest
from chat_service.history.message_search import HIGHEST_RANK
from chat_service.model.entry import Message, MessageDeleted, MessageEdited, ReactionChanged
from chat_service.model.reactions import is_emoji
from chat_service.model.requests import Receipt
from chat_service.model.words import MessageQuery
from chat_service.servicers.dependencies import Dependencies, DraftAppender
from chat_service.stream.message_spans import await_in_span, start_call_span
from chat_service.wire import contents, frames, positions, ranges, requests
from chat_service.wire.entries import entry_to_proto
from parley.chat.v1 import chat_pb2
from servicekit import tracing
from servicekit.errors import Disabled, Invalid
from servicekit.failure import Failure, Violation
from servicekit.page_tokens import ID_POSITION, decode_page_token, encode_page_token, next_page_token
from servicekit.rpc import ByteStream, Call

DEFAULT_CHANGES_PAGE: Final = 500
DEFAULT_MESSAGES_PAGE: Final = 50
DEFAULT_SEARCH_PAGE: Final = 20
DEFAULT_READERS_PAGE: Final = 100
DEFAULT_RANGE_ENTRIES: Final = 100
# ListEntries returns no further range once its response has more bytes than this.
MAX_RESPONSE_BYTES: Final = 1024 * 1024


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
        """Serve the stream of a device until it ends."""
        await self._edge.connect(stream, call)

    async def Subscribe(self, request: chat_pb2.SubscribeRequest, stream: ByteStream, call: Call) -> None:
        """Serve the stream of a browser: the frames of Connect from the server, none from the device."""
        await self._edge.subscribe(request.hello, stream, call)

    async def SendMessage(self, request: chat_pb2.SendMessageRequest, call: Call) -> chat_pb2.SendMessageResponse:
        """Append a message."""
        message = Message(contents.encode_content(request.content, self._limits))
        span = start_call_span(request, call.caller.user_id) if tracing.is_enabled() else None
        answer = self._append(
            call,
            request.conversation_id,
            request.client_message_id,
            message,
            references=contents.decode_references(request.content),
            traceparent=span.traceparent if span is not None else "",
        )
        appended = await await_in_span(span, answer)
        return chat_pb2.SendMessageResponse(appended=frames.encode_appended(appended))

    async def UpdateReceipts(
        self, request: chat_pb2.UpdateReceiptsRequest, call: Call
    ) -> chat_pb2.UpdateReceiptsResponse:
        """Raise the caller's watermarks. All receipts are sent; the first failure is raised afterwards."""
        caller = call.caller
        receipts = [
            Receipt(caller.user_id, caller.device_id, receipt.conversation_id, receipt.delivered_seq, receipt.read_seq)
            for receipt in request.receipts
        ]
        outcomes = await asyncio.gather(*map(self._owners.send_receipt_and_wait, receipts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return chat_pb2.UpdateReceiptsResponse()

    async def ListChanges(self, request: chat_pb2.ListChangesRequest, call: Call) -> chat_pb2.ListChangesResponse:
        """Return the conversations that changed since a cursor."""
        token = decode_page_token(request, positions.CHANGES)
        page = await self._history.list_changes_page(
            call.caller.user_id,
            requests.decode_cursor(request),
            positions.decode_changes_position(token) if token else None,
            request.page_size or DEFAULT_CHANGES_PAGE,
        )
        end = page.next_position
        return chat_pb2.ListChangesResponse(
            changes=frames.encode_changes(page.reading, page.reading.conversation_ids, last=end is None),
            next_page_token=encode_page_token(request, positions.encode_changes_position(end)) if end else "",
        )

    async def ListEntries(self, request: chat_pb2.ListEntriesRequest, call: Call) -> bytes:
        """Return ranges of logs, up to the one that exceeds MAX_RESPONSE_BYTES."""
        user_id, size, parts = call.caller.user_id, 0, list[bytes]()
        for requested in request.fetch.ranges:
            limit = requested.limit or DEFAULT_RANGE_ENTRIES
            span = RangeRequest(requested.conversation_id, requested.after_seq, limit)
            [found] = await self._history.read_ranges(user_id, [span])
            part = (
                ranges.encode_refused_range(span, found)
                if isinstance(found, Failure)
                else ranges.encode_range(found, user_id)
            )
            parts.append(part)
            size += len(part)
            if size > MAX_RESPONSE_BYTES:
                break
        # Serialised messages of one type merge when concatenated: their repeated fields are appended.
        return frames.list_entries_response(b"".join(parts))

    async def SetTyping(self, request: chat_pb2.SetTypingRequest, call: Call) -> chat_pb2.SetTypingResponse:
        """Tell the other members that the caller types, or stopped. Raise ConversationNotFound for a non-member."""
        if (await self._history.load_visible(call.caller.user_id, request.conversation_id)).member is None:
            raise ConversationNotFound("conversation not found")
        self._owners.publish_typing(call.caller.user_id, request.conversation_id, request.typing)
        return chat_pb2.SetTypingResponse()

    async def WatchPresence(self, request: chat_pb2.WatchPresenceRequest, call: Call) -> bytes:
        """Replace the set of users whose presence the device's stream receives."""
        return await self._forward(call, chat_pb2.ConnectRequest(watch_presence=request))

    async def Heartbeat(self, request: chat_pb2.HeartbeatRequest, call: Call) -> bytes:
        """Keep the device's stream open."""
        return await self._forward(call, chat_pb2.ConnectRequest(heartbeat=request))

    async def Reauthenticate(self, request: chat_pb2.ReauthenticateRequest, call: Call) -> bytes:
        """Extend the device's stream to the expiry of a newer token."""
        return await self._forward(call, chat_pb2.ConnectRequest(reauthenticate=request))

    async def ListMessages(self, request: chat_pb2.ListMessagesRequest, call: Call) -> chat_pb2.ListMessagesResponse:
        """Return messages in their present state, backwards or forwards from a seq."""
        user_id, size = call.caller.user_id, request.page_size or DEFAULT_MESSAGES_PAGE
        before_seq, after_seq = _decode_bounds(request)
        found = await self._history.list_messages(
            user_id, request.conversation_id, before_seq=before_seq, after_seq=after_seq, limit=size + 1
        )
        return chat_pb2.ListMessagesResponse(
            messages=[entry_to_proto(entry, user_id) for entry in found[:size]],
            next_page_token=next_page_token(request, found, size, lambda entry: str(entry.seq)),
        )

    async def EditMessage(self, request: chat_pb2.EditMessageRequest, call: Call) -> chat_pb2.EditMessageResponse:
        """Replace the content of a message of the caller."""
        appended = await self._append(
            call,
            request.conversation_id,
            request.request_id,
            MessageEdited(request.target_seq, contents.encode_content(request.content, self._limits)),
            references=contents.decode_references(request.content),
        )
        return chat_pb2.EditMessageResponse(appended=frames.encode_appended(appended))

    async def DeleteMessage(self, request: chat_pb2.DeleteMessageRequest, call: Call) -> chat_pb2.DeleteMessageResponse:
        """Delete a message for all members, or hide it from the caller."""
        if not request.for_all:
            await self._personal.hide_message(call.caller.user_id, request.conversation_id, request.target_seq)
            return chat_pb2.DeleteMessageResponse()
        change = MessageDeleted(request.target_seq)
        appended = await self._append(call, request.conversation_id, request.request_id, change)
        return chat_pb2.DeleteMessageResponse(appended=frames.encode_appended(appended))

    async def SetReaction(self, request: chat_pb2.SetReactionRequest, call: Call) -> chat_pb2.SetReactionResponse:
        """Set or remove the caller's reaction to a message."""
        if request.emoji and not self._limits.text_reactions and not is_emoji(request.emoji):
            raise Invalid("the reaction is not a single emoji", violations=(Violation("emoji", "must be one emoji"),))
        change = ReactionChanged(request.target_seq, request.emoji)
        appended = await self._append(call, request.conversation_id, request.request_id, change)
        return chat_pb2.SetReactionResponse(appended=frames.encode_appended(appended))

    async def SearchMessages(
        self, request: chat_pb2.SearchMessagesRequest, call: Call
    ) -> chat_pb2.SearchMessagesResponse:
        """Return the messages that contain all words of a query, newest first."""
        if self._search is None:
            raise Disabled("this deployment does not index words, so messages cannot be searched")
        user_id, size = call.caller.user_id, request.page_size or DEFAULT_SEARCH_PAGE
        queries = MessageQuery.alternatives(request.query)
        token = decode_page_token(request, positions.RANK)
        if not queries[0]:
            raise Invalid("the query has no word", violations=(Violation("query", "must have a word"),))
        below = positions.decode_rank(token) if token else HIGHEST_RANK
        found = await self._search.search(user_id, request.conversation_id, queries, below, size + 1)
        return chat_pb2.SearchMessagesResponse(
            messages=[entry_to_proto(hit.entry, user_id) for hit in found[:size]],
            next_page_token=next_page_token(request, found, size, lambda hit: positions.encode_rank(hit.rank)),
        )

    async def ListReaders(self, request: chat_pb2.ListReadersRequest, call: Call) -> chat_pb2.ListReadersResponse:
        """Return the watermarks of the members who may see a message, its sender excepted."""
        user_id, size = call.caller.user_id, request.page_size or DEFAULT_READERS_PAGE
        after = decode_page_token(request, ID_POSITION)
        message = await self._history.get_message(user_id, request.conversation_id, request.seq)
        conversation = (await self._history.load_visible(user_id, request.conversation_id)).conversation
        # A member added after the message has neither received nor read it.
        readers = sorted(
            member
            for member in conversation.members
            if conversation.can_see(member, request.seq) and member > after and member != message.actor_id
        )
        members = {each: conversation.members[each] for each in readers[:size]}
        return chat_pb2.ListReadersResponse(
            watermarks=[
                frames.encode_watermark(
                    request.conversation_id, each, member.watermark_for(own=each == user_id), member.joined_seq
                )
                for each, member in members.items()
            ],
            next_page_token=next_page_token(request, readers, size, str),
        )

    async def Locate(self, _: chat_pb2.LocateRequest, call: Call) -> chat_pb2.LocateResponse:
        """Return the address of the caller's home."""
        return chat_pb2.LocateResponse(home=self._homes.address_of(call.caller.user_id))

    async def _forward(self, call: Call, frame: chat_pb2.ConnectRequest) -> bytes:
        """Forward a frame to the stream of the calling device and return the serialised response."""
        return await self._streams.forward_frame(call.caller, frame.SerializeToString())


def _decode_bounds(request: chat_pb2.ListMessagesRequest) -> tuple[int, int]:
    """Return `before_seq` and `after_seq` of a page, one of them 0. Raise Invalid if the request sets both."""
    if request.before_seq and request.after_seq:
        raise Invalid(
            "at most one of before_seq and after_seq may be set",
            violations=(Violation("after_seq", "must be 0 when before_seq is set"),),
        )
    token = decode_page_token(request, positions.SEQ)
    if request.after_seq:
        return 0, int(token or request.after_seq)
    return int(token or request.before_seq), 0
