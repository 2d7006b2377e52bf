"""Unary calls about messages: history, search, receipts, sends without a stream, edits, deletions and reactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.calls import AuthenticatedCalls
from parley_client.clock import ServerClock
from parley_client.contents import as_content, forwarded
from parley_client.contents import media as media_content
from parley_client.files import Files
from parley_client.media.progress import ProgressCallback
from parley_client.message import Message
from parley_client.tracing import await_in_span, start_send


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The seq and the server's time of an appended entry; the seq is 0 if the request changed nothing."""

    seq: int
    time: datetime

    @classmethod
    def from_proto(cls, appended: chat_pb2.Appended) -> AppendResult:
        """Convert a proto."""
        return cls(appended.seq, appended.create_time.ToDatetime(tzinfo=UTC))


class Messages:
    """The messages of the signed-in user's conversations. Every method raises ParleyError."""

    def __init__(self, calls: AuthenticatedCalls, clock: ServerClock, files: Files) -> None:
        self._calls = calls
        self._clock = clock
        self.files = files

    async def list_before(self, conversation_id: str, seq: int = 0, limit: int = 50) -> AsyncIterator[Message]:
        """Yield at most `limit` messages before `seq`, newest first; 0: from the newest."""
        request = chat_pb2.ListMessagesRequest(conversation_id=conversation_id, before_seq=seq)
        async for message in self._list_pages(request, limit):
            yield message

    async def list_after(self, conversation_id: str, seq: int, limit: int = 50) -> AsyncIterator[Message]:
        """Yield at most `limit` messages after `seq` (1 or more), oldest first."""
        request = chat_pb2.ListMessagesRequest(conversation_id=conversation_id, after_seq=seq)
        async for message in self._list_pages(request, limit):
            yield message

    async def list_entries(self, ranges: Sequence[chat_pb2.EntryRange]) -> chat_pb2.Entries:
        """Return the entries and results of 1 to 100 ranges, in the contract's form: the log itself, changes included.

        Ranges that a response omits are requested again.
        """
        merged, remaining = chat_pb2.Entries(), list(ranges)
        while remaining:
            request = chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=remaining))
            response = (await self._calls.call(lambda channel: channel.chat.ListEntries, request)).entries
            merged.MergeFrom(response)
            answered = {(each.conversation_id, each.after_seq) for each in response.ranges}
            if not answered:
                break
            remaining = [each for each in remaining if (each.conversation_id, each.after_seq) not in answered]
        return merged

    async def send(
        self,
        conversation_id: str,
        content: str | Content,
        *,
        reply_to_seq: int = 0,
        client_message_id: str | None = None,
    ) -> AppendResult:
        """Append one message by a unary call. To send many messages in order, use a Device."""
        request = chat_pb2.SendMessageRequest(
            client_message_id=client_message_id or self._clock.new_id(),
            conversation_id=conversation_id,
            content=as_content(content, reply_to_seq),
        )
        span = start_send(request)
        response = await await_in_span(span, self._calls.call(lambda channel: channel.chat.SendMessage, request))
        return AppendResult.from_proto(response.appended)

    async def send_file(
        self,
        conversation_id: str,
        path: Path | str,
        *,
        caption: str = "",
        file_name: str | None = None,
        content_type: str = "",
        waveform: bytes = b"",
        reply_to_seq: int = 0,
        on_progress: ProgressCallback | None = None,
    ) -> AppendResult:
        """Upload a file as `Files.upload` does, and append a message with it by a unary call. Raises OSError too."""
        media = await self.files.upload(
            path, file_name=file_name, content_type=content_type, waveform=waveform, on_progress=on_progress
        )
        return await self.send(conversation_id, media_content(media, caption), reply_to_seq=reply_to_seq)

    async def forward(self, conversation_id: str, content: Content) -> AppendResult:
        """Forward the content of a message to this conversation."""
        return await self.send(conversation_id, forwarded(content))

    async def edit(self, conversation_id: str, seq: int, content: str | Content) -> AppendResult:
        """Replace the content of one of the caller's messages."""
        request = chat_pb2.EditMessageRequest(
            request_id=self._clock.new_id(),
            conversation_id=conversation_id,
            target_seq=seq,
            content=as_content(content),
        )
        return AppendResult.from_proto(
            (await self._calls.call(lambda channel: channel.chat.EditMessage, request)).appended
        )

    async def delete(self, conversation_id: str, seq: int, *, for_all: bool) -> AppendResult | None:
        """Delete a message for all members (author or admin), or hide it from the caller only and return None."""
        request = chat_pb2.DeleteMessageRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, target_seq=seq, for_all=for_all
        )
        response = await self._calls.call(lambda channel: channel.chat.DeleteMessage, request)
        return AppendResult.from_proto(response.appended) if response.HasField("appended") else None

    async def set_reaction(self, conversation_id: str, seq: int, emoji: str) -> AppendResult:
        """Set the caller's reaction to a message; an empty emoji removes it."""
        request = chat_pb2.SetReactionRequest(
            request_id=self._clock.new_id(), conversation_id=conversation_id, target_seq=seq, emoji=emoji
        )
        return AppendResult.from_proto(
            (await self._calls.call(lambda channel: channel.chat.SetReaction, request)).appended
        )

    async def mark_read(self, conversation_id: str, seq: int) -> None:
        """Mark everything up to `seq` as read by the user; a connected device has `Device.mark_read` for it.

        It may be repeated: the position only rises, and a seq above the newest entry counts as that one.
        """
        receipt = chat_pb2.Receipt(conversation_id=conversation_id, read_seq=seq)
        request = chat_pb2.UpdateReceiptsRequest(receipts=[receipt])
        await self._calls.call(lambda channel: channel.chat.UpdateReceipts, request)

    async def list_readers(self, conversation_id: str, seq: int) -> list[chat_pb2.Watermark]:
        """Return the watermarks of all members but the sender of the message `seq`: its receipts."""
        request = chat_pb2.ListReadersRequest(conversation_id=conversation_id, seq=seq)
        watermarks: list[chat_pb2.Watermark] = []
        while True:
            response = await self._calls.call(lambda channel: channel.chat.ListReaders, request)
            watermarks += response.watermarks
            if not response.next_page_token:
                return watermarks
            request.page_token = response.next_page_token

    async def search(self, query: str, conversation_id: str = "", limit: int = 20) -> AsyncIterator[Message]:
        """Yield at most `limit` messages with all these words, newest first; an empty `conversation_id` means all."""
        request = chat_pb2.SearchMessagesRequest(query=query, conversation_id=conversation_id)
        remaining = limit
        while remaining > 0:
            request.page_size = min(remaining, 100)
            response = await self._calls.call(lambda channel: channel.chat.SearchMessages, request)
            for entry in response.messages[:remaining]:
                yield Message.from_entry(entry, self)
            remaining -= len(response.messages)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def _list_pages(self, request: chat_pb2.ListMessagesRequest, limit: int) -> AsyncIterator[Message]:
        remaining = limit
        while remaining > 0:
            request.page_size = min(remaining, 200)
            response = await self._calls.call(lambda channel: channel.chat.ListMessages, request)
            for entry in response.messages[:remaining]:
                yield Message.from_entry(entry, self)
            remaining -= len(response.messages)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token
