"""What a user lets others do, and who therefore refuses to be added to a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

FilterUsers = Callable[[list[str], str], Awaitable[set[str]]]
"""Which of some users have something to do with another: `await among(user_ids, other_id)`."""

LoadAddingRules = Callable[[Collection[str]], Awaitable[Mapping[str, "WhoMayAdd"]]]


class WhoMayAdd(IntEnum):
    """Who may add a user to groups; the numbers are the contract's and are stored."""

    EVERYONE = 1
    CONTACTS = 2
    NOBODY = 3


@dataclass(frozen=True, slots=True)
class Privacy:
    """What a user lets others do. The whole login name finds also who is not `found_by_search`."""

    who_may_add: WhoMayAdd = WhoMayAdd.EVERYONE
    found_by_search: bool = True


PUBLIC: Final = Privacy()
"""What is true of an account that says nothing else."""


@dataclass(frozen=True, slots=True)
class PrivacyChange:
    """What shall become of a privacy; None leaves it."""

    who_may_add: WhoMayAdd | None = None
    found_by_search: bool | None = None


class GroupConsent:
    """Who lets whom add them to groups.

    `blocking` tells which users block another, `writing_to` which have begun their 1-1 conversation with another or
    written in it: that others have begun one makes them no contacts.
    """

    def __init__(
        self, load_adding_rules: LoadAddingRules, filter_blocking: FilterUsers, filter_contacts: FilterUsers
    ) -> None:
        self._rules_of = load_adding_rules
        self._blocking = filter_blocking
        self._writing_to = filter_contacts

    async def find_refusing(self, adder_id: str, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` whom `by` may not add to a group. Raises StoreUnavailable."""
        others = [user_id for user_id in user_ids if user_id != adder_id]
        rules = await self._rules_of(others)
        choosy = [user_id for user_id in others if rules.get(user_id) is WhoMayAdd.CONTACTS]
        strangers = set(choosy) - await self._writing_to(choosy, adder_id)
        nobody = {user_id for user_id in others if rules.get(user_id) is WhoMayAdd.NOBODY}
        return nobody | strangers | await self._blocking(others, adder_id)
