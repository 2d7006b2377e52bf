"""A device that speaks the contract without the SDK and records every received frame."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import uuid_utils
from google.protobuf.message import Message

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.refusal import Refusal, of_status
from tests.raw.stream import FRAME_TIMEOUT_S, RawStream


def new_id() -> str:
    """Return a UUIDv7 of the current time."""
    return str(uuid_utils.uuid7())


def id_at(at_ms: int) -> str:
    """Return a UUIDv7 of a time in milliseconds since 1970."""
    value = uuid.UUID(new_id()).int & ((1 << 80) - 1)
    return str(uuid.UUID(int=at_ms << 80 | value))


def text(body: str) -> entry_pb2.Content:
    """Return a text content."""
    return entry_pb2.Content(text=entry_pb2.Text(body=body))


@dataclass
class Fetched:
    """The response to a fetch: its entries and the result of each range."""

    entries: list[entry_pb2.Entry] = field(default_factory=list)
    ranges: list[chat_pb2.RangeResult] = field(default_factory=list)

    @property
    def seqs(self) -> list[int]:
        """Return the seqs of the entries."""
        return [entry.seq for entry in self.entries]


class RawDevice:
    """One device of one user. State received over all its streams is kept.

    `logs` has the entries by conversation and seq, `heads` the highest seq of each, `arrived` all entries in order with
    their repeats, `answers` the results by client_message_id, `marks` (delivered, read) by conversation and user,
    `cursor` where it stands.
    """

    def __init__(
        self, user_id: str, device_id: str, token: str, door: str, channel: Callable[[str], grpc.aio.Channel]
    ) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.token = token
        self.logs: dict[str, dict[int, entry_pb2.Entry]] = defaultdict(dict)
        self.heads: dict[str, int] = {}
        self.arrived: list[entry_pb2.Entry] = []
        self.answers: dict[str, list[chat_pb2.SendResult]] = defaultdict(list)
        self.watermarks: dict[tuple[str, str], tuple[int, int]] = {}
        # All that were told live, in order.
        self.marks_told: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self.cursor: chat_pb2.Cursor | None = None
        # Told by `hello`.
        self.activity = chat_pb2.ACTIVITY_UNSPECIFIED
        # False: somebody else judges what it is given.
        self.strict = True
        # Told of every entry as it comes, whatever is wrong with it.
        self.on_entry: Callable[[entry_pb2.Entry], object] = lambda _: None
        # Told of every presence frame as it comes.
        self.on_presence: Callable[[chat_pb2.Presence], object] = lambda _: None
        self.ranges_heard = 0
        self._door = door
        self._channel = channel
        self._stream: RawStream | None = None

    @property
    def stream(self) -> RawStream:
        """Return the latest stream."""
        assert self._stream is not None, "this device was never opened"
        return self._stream

    @property
    def connected(self) -> bool:
        """Return true if the latest stream has not ended."""
        return self._stream is not None and self._stream.open

    def dial(self, *, at: str = "", home: str = "", token: str | None = None) -> RawStream:
        """Open a stream without `hello`: through the door (routed to `home`, if set), or directly to `at`."""
        metadata = [("authorization", f"Bearer {self.token if token is None else token}")]
        if home:
            metadata.append(("x-chat-server", home))
        self._stream = RawStream(self._channel(at or self._door), tuple(metadata), self._record_frame)
        return self._stream

    async def open(self, cursor: chat_pb2.Cursor | None = None, **where: str) -> chat_pb2.Welcome:
        """Open a stream, send `hello` and wait for `welcome`; `where` is as for `dial`."""
        stream = self.dial(**where)
        await stream.send_frame(hello=chat_pb2.Hello(cursor=cursor, activity=self.activity))
        welcome: chat_pb2.Welcome = await stream.next_frame("welcome")
        return welcome

    async def connect(self, cursor: chat_pb2.Cursor | None = None, **where: str) -> chat_pb2.Welcome:
        """Open a stream and wait for `changes`, so that later entries arrive live."""
        welcome = await self.open(cursor, **where)
        await self.changes()
        return welcome

    async def changes(self) -> tuple[list[str], Any]:
        """Return the conversations of the next `changes`, over all pages, and the resync reason."""
        named: list[str] = []
        while True:
            page: chat_pb2.Changes = await self.stream.next_frame("changes")
            named += page.conversation_ids
            if page.last_page:
                return named, page.resync

    async def send(
        self, conversation_id: str, what: str | entry_pb2.Content, *, client_message_id: str | None = None
    ) -> str:
        """Send without waiting for the result; return the client_message_id."""
        key = new_id() if client_message_id is None else client_message_id
        content = text(what) if isinstance(what, str) else what
        await self.stream.send_frame(
            send_message=chat_pb2.SendMessageRequest(
                client_message_id=key, conversation_id=conversation_id, content=content
            )
        )
        return key

    async def next_result(self, client_message_id: str, timeout: float = FRAME_TIMEOUT_S) -> chat_pb2.SendResult:
        """Return the next unread result of a send."""
        await eventually(lambda: self.answers[client_message_id] or self._check_open(), timeout)
        return self.answers[client_message_id].pop(0)

    async def sent(self, conversation_id: str, what: str | entry_pb2.Content, **how: str) -> int:
        """Send and return the appended seq."""
        answer = await self.next_result(await self.send(conversation_id, what, **how))
        assert answer.HasField("appended"), answer
        return answer.appended.seq

    async def refused(self, conversation_id: str, what: str | entry_pb2.Content, **how: str) -> Refusal:
        """Send and return the refusal."""
        answer = await self.next_result(await self.send(conversation_id, what, **how))
        assert answer.HasField("refused"), answer
        return of_status(answer.refused)

    async def fetch(self, conversation_id: str, after_seq: int = 0, limit: int = 0) -> Fetched:
        """Fetch one range, with no other fetch in progress."""
        return await self.fetch_all(
            [chat_pb2.EntryRange(conversation_id=conversation_id, after_seq=after_seq, limit=limit)]
        )

    async def fetch_all(self, ranges: Sequence[chat_pb2.EntryRange]) -> Fetched:
        """Fetch ranges in one frame, with no other fetch in progress; live entries may be in the response."""
        await self.stream.send_frame(fetch=chat_pb2.Fetch(ranges=ranges))
        fetched = Fetched()
        while len(fetched.ranges) < len(ranges):
            frame: chat_pb2.Entries = await self.stream.next_frame("entries")
            if frame.ranges:
                fetched.entries += frame.entries
                fetched.ranges += frame.ranges
        return fetched

    async def receipt(self, conversation_id: str, *, delivered: int = 0, read: int = 0) -> None:
        """Send a receipt."""
        receipt = chat_pb2.Receipt(conversation_id=conversation_id, delivered_seq=delivered, read_seq=read)
        await self.stream.send_frame(receipts=chat_pb2.UpdateReceiptsRequest(receipts=[receipt]))

    async def has(self, conversation_id: str, *bodies: str, timeout: float = FRAME_TIMEOUT_S) -> None:
        """Wait until the conversation has exactly these texts, in order."""

        def told() -> bool:
            assert self.bodies(conversation_id) == list(bodies)
            return True

        await eventually(told, timeout)

    async def has_all(self, conversation_id: str, head: int, timeout: float = FRAME_TIMEOUT_S) -> None:
        """Wait until the device has a log without gaps up to at least `head`."""
        await eventually(lambda: head in self.logs[conversation_id], timeout)
        held = sorted(self.logs[conversation_id])
        assert held == list(range(held[0], held[-1] + 1)), "a gap"

    async def has_receipts(
        self, conversation_id: str, who: RawDevice, *, delivered: int, read: int, timeout: float = FRAME_TIMEOUT_S
    ) -> None:
        """Wait until the device has these watermarks of a user."""
        wanted = (delivered, read)
        await eventually(lambda: self.watermarks.get((conversation_id, who.user_id)) == wanted, timeout)

    def bodies(self, conversation_id: str) -> list[str]:
        """Return the received texts of a conversation, in order of seq."""
        log = self.logs[conversation_id]
        messages = [log[seq].message_appended for seq in sorted(log) if log[seq].HasField("message_appended")]
        return [message.content.text.body for message in messages]

    def live_seqs(self, conversation_id: str) -> list[int]:
        """Return the seqs of a conversation in order of arrival, repeats included."""
        return [entry.seq for entry in self.arrived if entry.conversation_id == conversation_id]

    async def call(self, request: Message, **where: str) -> Any:
        """Return the response of a unary call. Raises AioRpcError."""
        return await calls.call(self._channel(where.get("at", self._door)), request, self.metadata)

    async def refusal(self, request: Message, **where: str) -> Refusal:
        """Return the refusal of a unary call."""
        return await calls.refused(self._channel(where.get("at", self._door)), request, self.metadata)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of the device's calls."""
        return (("authorization", f"Bearer {self.token}"),)

    async def direct(self, peer: RawDevice) -> str:
        """Return the id of the direct conversation with another user."""
        answer = await self.call(conversation_pb2.GetOrCreateDirectRequest(peer_id=peer.user_id))
        return str(answer.conversation.conversation_id)

    async def group(self, title: str, others: Sequence[RawDevice]) -> str:
        """Create a group and return its id."""
        members = [other.user_id for other in others]
        request = conversation_pb2.CreateGroupRequest(request_id=new_id(), title=title, member_ids=members)
        return str((await self.call(request)).conversation.conversation_id)

    async def close(self) -> None:
        """Cancel the stream."""
        if self._stream is not None:
            await self._stream.close()

    def _check_open(self) -> bool:
        assert self.stream.open, f"the stream ended: {self.stream}"
        return False

    def _record_frame(self, frame: chat_pb2.ConnectResponse) -> None:
        for entry in frame.entries.entries:
            self.on_entry(entry)
            log = self.logs[entry.conversation_id]
            self.heads[entry.conversation_id] = max(entry.seq, self.heads.get(entry.conversation_id, 0))
            kept = log.setdefault(entry.seq, entry)
            assert not self.strict or same_entry(kept, entry), f"one seq, two entries: {kept} and {entry}"
            # A later look shows a later state.
            log[entry.seq] = entry
            self.arrived.append(entry)
        if frame.HasField("presence"):
            self.on_presence(frame.presence)
        self.ranges_heard += len(frame.entries.ranges)
        for result in frame.send_results.results:
            self.answers[result.client_message_id].append(result)
        for mark in [*frame.watermarks.watermarks, *(m for r in frame.entries.ranges for m in r.watermarks)]:
            self.watermarks[mark.conversation_id, mark.user_id] = (mark.delivered_seq, mark.read_seq)
        for mark in frame.watermarks.watermarks:
            self.marks_told[mark.conversation_id, mark.user_id].append((mark.delivered_seq, mark.read_seq))
        if frame.changes.HasField("cursor"):
            self.cursor = frame.changes.cursor


def same_entry(one: entry_pb2.Entry, other: entry_pb2.Entry) -> bool:
    """Return true if both are the same entry, ignoring edits, deletions and reactions."""
    if one == other:
        return True
    first, second = _immutable_part(one), _immutable_part(other)
    if first.WhichOneof("kind") == second.WhichOneof("kind") == "message_appended":
        changed = any(not each.message_appended.HasField("content") for each in (first, second))
        for each in (first, second) if changed else ():
            each.message_appended.Clear()
    return first == second


def _immutable_part(entry: entry_pb2.Entry) -> entry_pb2.Entry:
    """Return an entry without its mutable fields: content, edit, deletion and reactions."""
    lasting = entry_pb2.Entry()
    lasting.CopyFrom(entry)
    if lasting.HasField("message_edited"):
        lasting.message_edited.ClearField("content")
    if lasting.HasField("message_appended"):
        lasting.message_appended.ClearField("reactions")
        if lasting.message_appended.edit_seq or lasting.message_appended.delete_seq:
            lasting.message_appended.Clear()
    return lasting
