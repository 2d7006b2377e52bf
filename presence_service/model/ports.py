"""The ports of presence: what it needs of stores and of the directory."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Protocol

from presence_service.model.leases import Lease, Leases
from presence_service.model.presence import PresenceRecord, Transition
from presence_service.model.visibility import Audience, Pair, Relation, Visibility


class PresenceStore(Protocol):
    """The records of users and the leases of chat servers; every method raises StoreUnavailable."""

    async def apply(
        self,
        server_id: str,
        incarnation: int,
        number: int,
        transitions: Sequence[Transition],
        known: Container[str] = (),
    ) -> None:
        """Record transitions of streams of a server, in order, and publish the records that change.

        Streams that were reported under a later lease than that with this number do not change. The sessions in `known`
        are already stored as open streams of the server.
        """

    async def find_all(self, user_ids: Collection[str]) -> dict[str, PresenceRecord]:
        """Return the record of each user, an empty one for a user without."""

    async def delete(self, user_id: str) -> None:
        """Delete the record of a user."""

    async def find_sessions(self, server_id: str, incarnation: int) -> dict[str, str]:
        """Return the users of the open streams of a server, by session id."""

    async def find_lease(self, server_id: str) -> Lease | None:
        """Return the lease of a server, None if it has none."""

    async def open_lease(self, server_id: str, incarnation: int, report_id: str) -> int:
        """Give a report the lease of its server; return the number of the lease, which is higher than those before.

        Raise SessionSuperseded while the streams of the server are being ended.
        """

    async def complete_lease(self, server_id: str, number: int) -> None:
        """Note that all devices of a server were reported under the lease with this number."""

    async def renew_lease(self, server_id: str, report_id: str) -> bool:
        """Renew the lease of a server; return False if another report has it, or if it has ended."""

    async def claim_end(self, server_id: str, incarnation: int, report_id: str = "") -> bool:
        """Claim to end all streams of an incarnation, whose lease is void from now on.

        Return False if it is not that report that has the lease, or, without `report_id`, if the lease has not ended or
        another server has claimed it within CLAIM_MS.
        """

    async def remove_lease(self, server_id: str, incarnation: int) -> None:
        """Remove the lease of an incarnation whose end was claimed."""

    async def find_epoch(self) -> int:
        """Return when presence was last lost or interrupted; it is newer than any loss before this call."""

    async def poll(self) -> Leases:
        """Renew the mark of the epoch, and return the leases of all chat servers."""


class LastSeenStore(Protocol):
    """The last-seen times of users, for as long as their accounts exist; every method raises StoreUnavailable."""

    async def raise_all(self, seen_ms: Mapping[str, int]) -> None:
        """Store when users were last online, unless a later time is stored."""

    async def find_all(self, user_ids: Collection[str]) -> dict[str, int]:
        """Return when users were last online, in ms; users without are left out."""

    async def delete(self, user_id: str) -> None:
        """Delete what is stored of a user."""


class VisibilityStore(Protocol):
    """The settings of users; every method raises StoreUnavailable."""

    async def find_all(self, user_ids: Collection[str]) -> dict[str, Visibility]:
        """Return the settings of users; those who never set any are left out."""

    async def update(self, user_id: str, online: Audience | None, last_seen: Audience | None) -> Visibility:
        """Change the given settings of a user, and return all."""

    async def delete(self, user_id: str) -> None:
        """Delete the settings of a user."""


class Directory(Protocol):
    """The relations of users, which chat knows; raises StoreUnavailable and ServiceUnavailable."""

    async def find_relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        """Return, for each viewer and other user, the relation of that user to the viewer."""
