"""The relations of a user to other users: acquaintance and blocks, each in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
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


Pair = tuple[str, str]
"""A user and another user, in this order."""


class ContactReader(Protocol):
    """The acquaintance of users. Every method raises StoreUnavailable."""

    async def find_acquainted(self, pairs: Collection[Pair]) -> set[Pair]:
        """Return who of the two users of each pair is acquainted with the other: (the one, the other)."""


class BlockReader(Protocol):
    """The blocks of users. Every method raises StoreUnavailable."""

    async def find_blocks(self, pairs: Collection[Pair]) -> set[Pair]:
        """Return who of the two users of each pair has blocked the other: (the one, the other)."""

    async def filter_blocking(self, user_ids: Collection[str], other_id: str) -> set[str]:
        """Return those of `user_ids` that have blocked `other_id`."""


class RelationReader:
    """Reads relations with a few queries, however many users a call names."""

    def __init__(self, contacts: ContactReader, blocks: BlockReader) -> None:
        self._contacts = contacts
        self._blocks = blocks

    async def load_relations(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[list[Relation]]:
        """Return, for each user with others, the relation to each of the others, in order. Raise StoreUnavailable."""
        pairs = {(user_id, other_id) for user_id, others in requests for other_id in others}
        acquainted, blocks = await asyncio.gather(
            self._contacts.find_acquainted(pairs), self._blocks.find_blocks(pairs)
        )

        def relate(user_id: str, other_id: str) -> Relation:
            pair, reverse = (user_id, other_id), (other_id, user_id)
            return Relation(other_id, pair in acquainted, reverse in acquainted, pair in blocks, reverse in blocks)

        return [[relate(user_id, other_id) for other_id in others] for user_id, others in requests]
