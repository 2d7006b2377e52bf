"""The calls of ChatService about messages: saying, changing, reading and finding them."""

from __future__ import annotations

import re
from typing import Final

from chat_service.errors import Invalid, SearchDisabled
from chat_service.history.search import HIGHEST, Rank
from chat_service.model.entry import Message, MessageDeleted, MessageEdited, ReactionChanged
from chat_service.model.words import MessageQuery
from chat_service.servicers.changing import ChangingCalls
from chat_service.servicers.roles import Dependencies
from chat_service.wire import frames, requests
from chat_service.wire.conversations import ID_PATTERN, SEQ_PATTERN, decode_page_token, encode_page_token
from chat_service.wire.entries import encode_for_viewer
from parley.chat.v1 import chat_pb2, entry_pb2
from servicekit.failure import Violation
from servicekit.rpc import Call

MESSAGES_PAGE: Final = 50
READERS_PAGE: Final = 100
BEFORE: Final = "before"
AFTER: Final = "after"
READERS: Final = "readers"
FOUND: Final = "found"
FOUND_PAGE: Final = 20
# The place of a message among all, and its conversation.
RANK_PATTERN: Final = re.compile(r"[0-9]{1,18}:[0-9a-f]{32}|[1-8][0-9]{18}:[0-9a-f]{32}")


class MessageCalls(ChangingCalls):
    """What a device does to messages, one call each."""

    def __init__(self, roles: Dependencies) -> None:
        super().__init__(roles)
        self._personal = roles.personal
        self._search = roles.search
        self._limits = roles.limits

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
