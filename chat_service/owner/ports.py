"""The interfaces through which the owner publishes to members and reads the ring."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from chat_service.model.conversation import Watermark
from chat_service.model.entry import Entry
from servicekit.ring import Ring, RingMember


class Publisher(Protocol):
    """Publishes to the devices of members. No method waits."""

    def publish(self, users: Collection[str], entries: Sequence[Entry], traces: Mapping[int, str]) -> None:
        """Send entries of one conversation to the devices of `users`.

        `traces` has, by seq, the W3C trace contexts of those that are traced.
        """

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Send to the devices of `users` that `user_id` started typing, or stopped if `typing` is False."""

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Send watermarks, by member, to the devices of `users`."""


class RingView(Protocol):
    """The current ring and this server's member record."""

    @property
    def ring(self) -> Ring:
        """The current ring."""

    @property
    def me(self) -> RingMember:
        """The ring member of this server."""
