"""What the owner needs of the world: stores, an index of changes, a ring, and a way to members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from chat_service.model.conversation import Watermark
from chat_service.model.entry import Entry
from servicekit.ring import Ring, RingMember


class Publisher(Protocol):
    """The way to members' devices; never waits."""

    def publish(self, users: Collection[str], entries: Sequence[Entry], traceparent: str) -> None:
        """Bring entries of one conversation to the devices of `users`."""

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        """Tell the devices of `users` that somebody types, or stopped."""

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        """Bring watermarks of members to the devices of `users`."""


class RingView(Protocol):
    """The ring as this server sees it now."""

    @property
    def ring(self) -> Ring:
        """The ring in force."""

    @property
    def me(self) -> RingMember:
        """This server."""
