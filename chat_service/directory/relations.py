"""The relations of a user to other users: acquaintance and blocks, each in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Relation:
    """The relation of a user to one other user.

    A user is `acquainted` with another if the user began their 1-1 conversation or wrote in it; `acquainted_by` and
    `blocked_by` are the reverse of `acquainted` and `blocks`.
    """

    other_id: str
    acquainted: bool
    acquainted_by: bool
    blocks: bool
    blocked_by: bool


class ContactReader(Protocol):
    """The contacts of users: those with whom they are acquainted. Every method raises StoreUnavailable."""

    async def filter_contacts(self, user_id: str, others: Collection[str]) -> set[str]:
        """Return those of `others` with whom `user_id` is acquainted."""

    async def filter_acquainted(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that are acquainted with `other_id`."""


class BlockReader(Protocol):
    """The blocks of users. Every method raises StoreUnavailable."""

    async def filter_blocked(self, user_id: str, others: Collection[str]) -> set[str]:
        """Return those of `others` that `user_id` has blocked."""

    async def filter_blocking(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that have blocked `other_id`."""


class RelationReader:
    """Reads relations with a few queries, however many users a call names."""

    def __init__(self, contacts: ContactReader, blocks: BlockReader) -> None:
        self._contacts = contacts
        self._blocks = blocks

    async def load_relations(self, user_id: str, others: Collection[str]) -> list[Relation]:
        """Return the relation of `user_id` to each of `others`, in order. Raises StoreUnavailable."""
        contacts, acquainted_by, blocked, blocked_by = await asyncio.gather(
            self._contacts.filter_contacts(user_id, others),
            self._contacts.filter_acquainted(others, user_id),
            self._blocks.filter_blocked(user_id, others),
            self._blocks.filter_blocking(others, user_id),
        )
        return [
            Relation(each, each in contacts, each in acquainted_by, each in blocked, each in blocked_by)
            for each in others
        ]
