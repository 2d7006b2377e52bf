"""A device of the load generator: it connects, sends messages and sends receipts as the SDK does."""

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
class DeviceIdentity:
    """The identity of a device: its user and token, the address of the user's home, and its conversation ("": none)."""

    user_id: str
    token: str
    home: str
    conversation_id: str


class Device:
    """A device with one stream. `on_end` is called with the reason when the stream ends.

    The future `ready` completes with the last page of changes, after which new entries are delivered live.
    """

    def __init__(self, identity: DeviceIdentity, counters: LoadCounters, on_end: Callable[[str], None]) -> None:
        self._identity = identity
        self._counters = counters
        self._on_end = on_end
        self._stream: Http2Stream | None = None
        self._delivered_seq = self._reported_seq = 0
        self._receipt_scheduled = False
        self._frame = _send_template(identity.conversation_id)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Set by the workload.
        self.sends_receipts = False
        self.on_result: Callable[[], None] | None = None
        self.on_presence: Callable[[chat_pb2.Presence], None] = lambda _: None
        self.on_heartbeat: Callable[[], None] = lambda: None

    @property
    def user_id(self) -> str:
        """The id of the device's user."""
        return self._identity.user_id

    async def connect(self, door: str) -> None:
        """Connect, and return once the device is ready. Raise OSError if the connection fails."""
        metadata = {"authorization": f"Bearer {self._identity.token}", "x-chat-server": self._identity.home}
        preface = connection_preface(CONNECT, door, metadata)
        host, _, port = door.rpartition(":")
        loop = asyncio.get_running_loop()
        stream = Http2Stream(preface, self._handle_frame, self._on_end)
        await loop.create_connection(lambda: stream, host, int(port))
        self._stream = stream
        stream.send(chat_pb2.ConnectRequest(hello=chat_pb2.Hello()).SerializeToString())
        await self.ready

    def send(self) -> None:
        """Send a message with its send time in the text, which the receiver computes the latency from."""
        before, between, after = self._frame
        stamp = f"{time.monotonic_ns():0{_STAMP_DIGITS}}".encode()
        self.send_frame(b"".join((before, str(uuid_utils.uuid7()).encode(), between, stamp, after)))
        self._counters.sent += 1

    def close(self) -> None:
        """Abort the connection."""
        if self._stream is not None:
            self._stream.close()

    def send_frame(self, frame: bytes) -> None:
        """Send a serialised ConnectRequest."""
        assert self._stream is not None, "a device connects first"
        self._stream.send(frame)

    def _handle_frame(self, data: bytes) -> None:
        frame = Frame.FromString(data)
        kind = frame.WhichOneof("frame")
        if kind == "entries":
            self._receive_entries(frame.entries)
        elif kind == "send_results":
            self._count_results(frame.send_results)
        elif kind == "presence":
            self.on_presence(frame.presence)
        elif kind == "heartbeat":
            self.on_heartbeat()
        elif kind == "changes":
            if frame.changes.last_page and not self.ready.done():
                self.ready.set_result(None)
        elif kind == "error":
            self._on_end(f"the server sent an error: {frame.error.status.message}")

    def _receive_entries(self, entries: chat_pb2.Entries) -> None:
        now, me, counters = time.monotonic_ns(), self._identity.user_id, self._counters
        for entry in entries.entries:
            if entry.actor_id != me:
                counters.delivered += 1
                counters.latencies.append((now - parse_sent_ns(entry.message_appended.content.text.body)) // 1000)
                self._delivered_seq = max(self._delivered_seq, entry.seq)
        if self.sends_receipts and self._delivered_seq > self._reported_seq and not self._receipt_scheduled:
            self._receipt_scheduled = True
            # A receipt covers all frames that arrive in the same iteration of the event loop.
            asyncio.get_running_loop().call_soon(self._send_receipt)

    def _send_receipt(self) -> None:
        self._receipt_scheduled, self._reported_seq = False, self._delivered_seq
        receipt = chat_pb2.Receipt(
            conversation_id=self._identity.conversation_id,
            delivered_seq=self._reported_seq,
            read_seq=self._reported_seq,
        )
        request = chat_pb2.UpdateReceiptsRequest(receipts=[receipt])
        self.send_frame(chat_pb2.ConnectRequest(receipts=request).SerializeToString())
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
    """Return a serialized send in three parts: before the message id, between id and send time, and after it."""
    content = entry_pb2.Content(text=entry_pb2.Text(body=_STAMP.ljust(BODY_BYTES, ".")))
    request = chat_pb2.SendMessageRequest(client_message_id=_ID, conversation_id=conversation_id, content=content)
    frame = chat_pb2.ConnectRequest(send_message=request).SerializeToString()
    before, _, rest = frame.partition(_ID.encode())
    between, _, after = rest.partition(_STAMP.encode())
    return before, between, after


def parse_sent_ns(body: str) -> int:
    """Return the send time of a message in monotonic nanoseconds, from its text."""
    return int(body[:_STAMP_DIGITS])
