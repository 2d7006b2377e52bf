"""Messages by call: history, search and readers, a send without a stream, and what changes an earlier message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client.calls import Calls
from parley_client.clock import ServerClock
from parley_client.contents import as_content, forwarded


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a message went: its seq, and the server's time of it."""

    seq: int
    time: datetime

    @classmethod
    def of(cls, appended: chat_pb2.Appended) -> Sent:
        """As the server told it."""
        return cls(appended.seq, appended.create_time.ToDatetime(tzinfo=UTC))


class Messages:
    """The messages of the signed-in user's conversations. Every method raises ParleyError."""

    def __init__(self, calls: Calls, clock: ServerClock) -> None:
        self._calls = calls
        self._clock = clock

    async def before(self, conversation_id: str, seq: int = 0, limit: int = 50) -> AsyncIterator[Entry]:
        """At most `limit` messages before `seq`, newest first; 0: from the newest."""
        async for entry in self._pages(
            chat_pb2.ListMessagesRequest(conversation_id=conversation_id, before_seq=seq), limit
        ):
            yield entry

    async def after(self, conversation_id: str, seq: int, limit: int = 50) -> AsyncIterator[Entry]:
        """At most `limit` messages after `seq` (1 or more), oldest first."""
        async for entry in self._pages(
            chat_pb2.ListMessagesRequest(conversation_id=conversation_id, after_seq=seq), limit
        ):
            yield entry

    async def entries(self, ranges: Sequence[chat_pb2.EntryRange]) -> chat_pb2.Entries:
        """Ranges of logs, 1 to 100 of them, and what each amounts to; what fits into no answer is asked for again."""
        whole, left = chat_pb2.Entries(), list(ranges)
        while left:
            request = chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=left))
            answer = (await self._calls.ask(lambda door: door.chat.ListEntries, request)).entries
            whole.MergeFrom(answer)
            came = {(each.conversation_id, each.after_seq) for each in answer.ranges}
            left = [each for each in left if (each.conversation_id, each.after_seq) not in came] if came else []
        return whole

    async def send(
        self,
        conversation_id: str,
        said: str | Content,
        *,
        reply_to_seq: int = 0,
        client_message_id: str | None = None,
    ) -> Sent:
        """Append one message by call. A program that sends many holds a Device, which keeps their order."""
        request = chat_pb2.SendMessageRequest(
            client_message_id=client_message_id or self._clock.new_id(),
            conversation_id=conversation_id,
            content=as_content(said, reply_to_seq),
        )
        answer = await self._calls.ask(lambda door: door.chat.SendMessage, request)
        return Sent.of(answer.appended)

    async def forward(self, conversation_id: str, content: Content) -> Sent:
        """Pass what a message of another conversation says on to this one."""
        return await self.send(conversation_id, forwarded(content))

    async def edit(self, conversation_id: str, seq: int, said: str | Content) -> Sent:
        """Replace the content of an own message."""
        request = chat_pb2.EditMessageRequest(
            request_id=self._clock.new_id(),
            conversation_id=conversation_id,
            target_seq=seq,
            content=as_content(said),
        )
        return Sent.of((await self._calls.ask(lambda door: door.chat.EditMessage, request)).appended)

    async def delete(self, conversation_id: str, seq: int, *, for_all: bool) -> Sent | None:
        """Take a message away from everybody (own ones; admins any), or from the own view, which gives None."""
        request = chat_pb2.DeleteMessageRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, target_seq=seq, for_all=for_all
        )
        answer = await self._calls.ask(lambda door: door.chat.DeleteMessage, request)
        return Sent.of(answer.appended) if answer.HasField("appended") else None

    async def set_reaction(self, conversation_id: str, seq: int, emoji: str) -> Sent:
        """Set the own reaction to a message; empty removes it."""
        request = chat_pb2.SetReactionRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, target_seq=seq, emoji=emoji
        )
        return Sent.of((await self._calls.ask(lambda door: door.chat.SetReaction, request)).appended)

    async def readers(self, conversation_id: str, seq: int) -> list[chat_pb2.Watermark]:
        """How far every member but the sender has got, to tell who has the message `seq` and who read it."""
        request = chat_pb2.ListReadersRequest(conversation_id=conversation_id, seq=seq)
        marks: list[chat_pb2.Watermark] = []
        while True:
            answer = await self._calls.ask(lambda door: door.chat.ListReaders, request)
            marks += answer.watermarks
            if not answer.next_page_token:
                return marks
            request.page_token = answer.next_page_token

    async def search(self, query: str, conversation_id: str = "", limit: int = 20) -> AsyncIterator[Entry]:
        """At most `limit` messages with all these words, newest first; `conversation_id` empty: anywhere."""
        request = chat_pb2.SearchMessagesRequest(query=query, conversation_id=conversation_id)
        left = limit
        while left > 0:
            request.page_size = min(left, 100)
            answer = await self._calls.ask(lambda door: door.chat.SearchMessages, request)
            for entry in answer.messages[:left]:
                yield entry
            left -= len(answer.messages)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def _pages(self, request: chat_pb2.ListMessagesRequest, limit: int) -> AsyncIterator[Entry]:
        left = limit
        while left > 0:
            request.page_size = min(left, 200)
            answer = await self._calls.ask(lambda door: door.chat.ListMessages, request)
            for entry in answer.messages[:left]:
                yield entry
            left -= len(answer.messages)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token
