"""One device of the load: says hello, sends, and tells how far it has got, as the SDK would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import uuid_utils

from bench.load.counters import LoadCounters
from bench.load.http2_stream import Http2Stream, connection_preface
from parley.chat.v1 import chat_pb2, entry_pb2

CONNECT: Final = "/parley.chat.v1.ChatService/Connect"
BODY_BYTES: Final = 100
_STAMP_DIGITS: Final = 20
_ID: Final = "#" * 36
_STAMP: Final = "@" * _STAMP_DIGITS

Frame = chat_pb2.ConnectResponse


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is, where its user is at home, and the conversation it takes part in (empty: none)."""

    user_id: str
    token: str
    home: str
    conversation_id: str


class Device:
    """`ready` is done once all that is appended from now on comes live; `over` is called when its stream ends."""

    def __init__(self, identity: Identity, counters: LoadCounters, on_end: Callable[[str], None]) -> None:
        self._identity = identity
        self._counters = counters
        self._on_end = on_end
        self._stream: Http2Stream | None = None
        self._reached = self._told = 0
        self._receipt_scheduled = False
        self._frame = _send_template(identity.conversation_id)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What the scene wants of it.
        self.receipts = False
        self.on_result: Callable[[], None] | None = None

    async def connect(self, door: str) -> None:
        """Connect, and be ready. Raises OSError."""
        metadata = {"authorization": f"Bearer {self._identity.token}", "x-chat-server": self._identity.home}
        opening = connection_preface(CONNECT, door, metadata)
        host, _, port = door.rpartition(":")
        loop = asyncio.get_running_loop()
        wire = Http2Stream(opening, self._handle_frame, self._on_end)
        await loop.create_connection(lambda: wire, host, int(port))
        self._stream = wire
        wire.send(chat_pb2.ConnectRequest(hello=chat_pb2.Hello()).SerializeToString())
        await self.ready

    def send(self) -> None:
        """A message that says when it was sent."""
        before, between, after = self._frame
        stamp = f"{time.monotonic_ns():0{_STAMP_DIGITS}}".encode()
        self._send_frame(b"".join((before, str(uuid_utils.uuid7()).encode(), between, stamp, after)))
        self._counters.sent += 1

    def close(self) -> None:
        """Go away without a word."""
        if self._stream is not None:
            self._stream.close()

    def _send_frame(self, frame: bytes) -> None:
        assert self._stream is not None, "a device connects first"
        self._stream.send(frame)

    def _handle_frame(self, data: bytes) -> None:
        frame = Frame.FromString(data)
        kind = frame.WhichOneof("frame")
        if kind == "entries":
            self._receive_entries(frame.entries)
        elif kind == "send_results":
            self._count_results(frame.send_results)
        elif kind == "changes":
            if frame.changes.last_page and not self.ready.done():
                self.ready.set_result(None)
        elif kind == "error":
            self._on_end(f"the server says: {frame.error.status.message}")

    def _receive_entries(self, entries: chat_pb2.Entries) -> None:
        now, me, tally = time.monotonic_ns(), self._identity.user_id, self._counters
        for entry in entries.entries:
            if entry.actor_id != me:
                tally.delivered += 1
                tally.latencies.append((now - _sent_at(entry)) // 1000)
                self._reached = max(self._reached, entry.seq)
        if self.receipts and self._reached > self._told and not self._receipt_scheduled:
            self._receipt_scheduled = True
            # What else has arrived by now goes into the same receipt.
            asyncio.get_running_loop().call_soon(self._send_receipt)

    def _send_receipt(self) -> None:
        self._receipt_scheduled, self._told = False, self._reached
        receipt = chat_pb2.Receipt(
            conversation_id=self._identity.conversation_id, delivered_seq=self._told, read_seq=self._told
        )
        told = chat_pb2.UpdateReceiptsRequest(receipts=[receipt])
        self._send_frame(chat_pb2.ConnectRequest(receipts=told).SerializeToString())
        self._counters.receipts += 1

    def _count_results(self, results: chat_pb2.SendResults) -> None:
        for result in results.results:
            if result.HasField("appended"):
                self._counters.answered += 1
            else:
                self._counters.refusals[result.refused.message] += 1
            if self.on_result is not None:
                self.on_result()


def _send_template(conversation_id: str) -> tuple[bytes, bytes, bytes]:
    """A send, with the id and the time it was sent cut out."""
    content = entry_pb2.Content(text=entry_pb2.Text(body=_STAMP.ljust(BODY_BYTES, ".")))
    request = chat_pb2.SendMessageRequest(client_message_id=_ID, conversation_id=conversation_id, content=content)
    whole = chat_pb2.ConnectRequest(send_message=request).SerializeToString()
    before, _, rest = whole.partition(_ID.encode())
    between, _, after = rest.partition(_STAMP.encode())
    return before, between, after


def _sent_at(entry: entry_pb2.Entry) -> int:
    return int(entry.message_appended.content.text.body[:_STAMP_DIGITS])
