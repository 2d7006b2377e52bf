"""What retention needs of the stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chat_service.model.conversation import Conversation
from chat_service.model.retention import Retention


@dataclass(frozen=True, slots=True)
class Due:
    """A conversation to look at, and the time that was set for it, in milliseconds since 1970; None: none was."""

    conversation_id: str
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A conversation as it was when a look at it began; nobody else looks until `until_ms`.

    All content up to `gone_seq` is removed.
    """

    conversation: Conversation
    until_ms: int
    gone_seq: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands, how many messages there are up to it, and its time in milliseconds since 1970."""

    seq: int
    message_number: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Stubs:
    """How many entries without content were removed, and the time of the next that can be; None: there is none."""

    removed: int
    next_ms: int | None


class Store(Protocol):
    """Logs and conversations, as far as retention concerns them. Every method raises StoreUnavailable."""

    async def due(self, now_ms: int, default: Retention, mine: Callable[[str], bool], limit: int) -> Sequence[Due]:
        """At most `limit` of my conversations whose time has come, or was set under another default."""

    async def hold(self, due: Due, until_ms: int) -> Held | None:
        """Begin a look; None when something has changed the time since, for example another server."""

    async def settle(self, held: Held, due_ms: int | None, default: Retention | None) -> None:
        """End a look: when to look again (None: not), and the default it depends on. What came between wins."""

    async def places(self, conversation_id: str, first: int, limit: int) -> Sequence[Place]:
        """The entries from seq `first` on, at most `limit`."""

    async def unapplied(self, conversation_id: str, applied_seq: int) -> int | None:
        """The first entry after `applied_seq` whose doing may be nowhere but in the log."""

    async def raise_first(self, conversation_id: str, last: Place) -> None:
        """From now on nothing up to `last` is kept; again changes nothing."""

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        """Remove what the entries from `first` to `last` say, and what edits say about them; again changes nothing."""

    async def remove_stubs(self, conversation_id: str, below_seq: int, before_ms: int, limit: int) -> Stubs:
        """Remove at most `limit` of the lowest entries of before a time, and never the highest."""

    async def device_marks(self, conversation_id: str) -> Mapping[str, int]:
        """How far each device has got, by device; one that never said anything is missing."""

    async def strike_devices(self, conversation_id: str, devices: Collection[str]) -> None:
        """Forget how far devices have got."""


class Devices(Protocol):
    """The devices of users. Every method raises StoreUnavailable."""

    async def signed_in(self, user_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Since when which devices are signed in, in milliseconds since 1970, by user and device."""
