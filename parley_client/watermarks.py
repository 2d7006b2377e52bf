"""Watermarks: the seqs up to which a member has received and read everything. They never decrease. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parley.chat.v1 import chat_pb2
from parley_client.events import WatermarkMoved

# The contract's limit.
MAX_RECEIPTS_PER_FRAME = 100

Watermark = tuple[int, int]
"""(delivered_seq, read_seq)"""


class Watermarks:
    """The known watermarks of all members, by conversation and user."""

    def __init__(self) -> None:
        self._watermarks: dict[str, dict[str, Watermark]] = {}

    def get(self, conversation: str, user: str) -> Watermark:
        """Return the watermark of a member; (0, 0) if none is known."""
        return self._watermarks.get(conversation, {}).get(user, (0, 0))

    def advance(self, conversation: str, user: str, delivered: int, read: int) -> WatermarkMoved | None:
        """Raise a member's watermark; return the change, or None if there is none. `read` implies delivered."""
        old_delivered, old_read = self.get(conversation, user)
        new = (max(old_delivered, delivered, read), max(old_read, read))
        if new == (old_delivered, old_read):
            return None
        self._watermarks.setdefault(conversation, {})[user] = new
        return WatermarkMoved(conversation, user, *new)

    def remove(self, conversation: str) -> None:
        """Forget a conversation that the user may no longer see."""
        self._watermarks.pop(conversation, None)


@dataclass(slots=True)
class _OwnWatermark:
    """The user's watermark of one conversation: on this device, as sent to the server, and as confirmed by it."""

    local: Watermark = (0, 0)
    """The entries that this device has received, and that the user has read on it."""
    sent: Watermark = (0, 0)
    confirmed: Watermark = (0, 0)
    """The server's watermark of the user, raised by any device."""
    device_reported_seq: int = 0
    """The delivered_seq that this device has sent on the present stream; the server tracks each device."""

    @property
    def target(self) -> Watermark:
        return _maximum(self.local, self.confirmed)

    @property
    def is_unsent(self) -> bool:
        return self.target != _maximum(self.sent, self.confirmed)

    @property
    def is_device_unreported(self) -> bool:
        return self.local[0] > self.device_reported_seq


def _maximum(first: Watermark, second: Watermark) -> Watermark:
    return max(first[0], second[0]), max(first[1], second[1])


class ReceiptTracker:
    """The user's own watermarks, and the receipts that are to be sent for them.

    `unconfirmed` are the watermarks that the previous run did not get confirmed. A receipt that raises the user's
    watermark is sent immediately. If the server knows the watermark from another device, this device's receipt is sent
    at the next tick: relay-only content is deleted once every device has sent one.
    """

    def __init__(self, unconfirmed: Mapping[str, Watermark] | None = None) -> None:
        self._watermarks: dict[str, _OwnWatermark] = {}
        self._due: dict[str, None] = {}
        self._unreported: set[str] = set()
        self._sent_on_stream: set[str] = set()
        for conversation, watermark in (unconfirmed or {}).items():
            self.advance(conversation, *watermark)

    def advance(self, conversation: str, delivered: int = 0, read: int = 0) -> bool:
        """Raise the watermark on this device; return True if that raises the user's watermark."""
        watermark = self._watermarks.setdefault(conversation, _OwnWatermark())
        previous_target = watermark.target
        watermark.local = _maximum(watermark.local, (max(delivered, read), read))
        if watermark.is_unsent:
            self._due[conversation] = None
        if watermark.is_device_unreported:
            self._unreported.add(conversation)
        return watermark.target != previous_target

    def confirm(self, conversation: str, delivered: int, read: int) -> None:
        """Raise the confirmed watermark: by the server's watermark, or by the user's own message in the log."""
        watermark = self._watermarks.setdefault(conversation, _OwnWatermark())
        watermark.confirmed = _maximum(watermark.confirmed, (delivered, read))
        if not watermark.is_unsent:
            self._due.pop(conversation, None)

    def start_stream(self) -> None:
        """Schedule the receipts of the previous stream again, because the server may not have received them."""
        for conversation in self._sent_on_stream:
            watermark = self._watermarks[conversation]
            watermark.sent, watermark.device_reported_seq = watermark.confirmed, 0
            self._unreported.add(conversation)
        self._sent_on_stream = set()
        for conversation, watermark in self._watermarks.items():
            if watermark.is_unsent:
                self._due[conversation] = None

    def tick(self) -> None:
        """Schedule the receipts that raise only this device's mark, and not the user's watermark."""
        self._due |= dict.fromkeys(self._unreported)
        self._unreported = set()

    def take_due(self, limit: int = MAX_RECEIPTS_PER_FRAME) -> list[chat_pb2.Receipt]:
        """Return at most `limit` receipts to send now, and count them as sent."""
        receipts = []
        for conversation in list(self._due)[:limit]:
            del self._due[conversation]
            watermark = self._watermarks[conversation]
            watermark.sent, watermark.device_reported_seq = watermark.local, watermark.local[0]
            self._unreported.discard(conversation)
            self._sent_on_stream.add(conversation)
            receipts.append(
                chat_pb2.Receipt(
                    conversation_id=conversation, delivered_seq=watermark.local[0], read_seq=watermark.local[1]
                )
            )
        return receipts

    def unconfirmed(self) -> dict[str, Watermark]:
        """Return the watermarks to store for the next run: not confirmed, or not yet sent by this device."""
        return {
            conversation: watermark.local
            for conversation, watermark in self._watermarks.items()
            if watermark.target != watermark.confirmed or watermark.is_device_unreported
        }

    def remove(self, conversation: str) -> None:
        """Forget a conversation that the user may no longer see."""
        self._watermarks.pop(conversation, None)
        self._due.pop(conversation, None)
        self._unreported.discard(conversation)
        self._sent_on_stream.discard(conversation)
