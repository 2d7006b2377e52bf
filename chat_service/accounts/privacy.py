"""Privacy settings, and the consent of users to be added to groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

FilterUsers = Callable[[Collection[str], str], Awaitable[set[str]]]
"""Returns the subset of users that have a relation to another user: `(user_ids, other_id)`."""

LoadAddingRules = Callable[[Collection[str]], Awaitable[Mapping[str, "WhoMayAdd"]]]
"""Returns by user who may add them to groups; users whom everyone may add may be left out."""


class WhoMayAdd(IntEnum):
    """A rule about adding a user to groups. The numbers are those of the protos and are stored."""

    EVERYONE = 1
    CONTACTS = 2
    NOBODY = 3


@dataclass(frozen=True, slots=True)
class Privacy:
    """The privacy settings of a user. The whole login name also finds a user who is not `found_by_search`."""

    who_may_add: WhoMayAdd = WhoMayAdd.EVERYONE
    found_by_search: bool = True


PUBLIC: Final = Privacy()
"""The privacy settings of a new account."""


@dataclass(frozen=True, slots=True)
class PrivacyChange:
    """A change of privacy settings; None leaves a field unchanged."""

    who_may_add: WhoMayAdd | None = None
    found_by_search: bool | None = None


class GroupConsent:
    """The consent of users to be added to groups by another user, the adder.

    `filter_blocking` returns the users that block the adder. `filter_acquainted` returns the users that are acquainted
    with the adder, because they began the 1-1 conversation or wrote in it: an adder cannot become a contact of a user
    by writing to that user.
    """

    def __init__(
        self, load_adding_rules: LoadAddingRules, filter_blocking: FilterUsers, filter_acquainted: FilterUsers
    ) -> None:
        self._load_adding_rules = load_adding_rules
        self._filter_blocking = filter_blocking
        self._filter_acquainted = filter_acquainted

    async def find_refusing(self, adder_id: str, user_ids: Collection[str]) -> set[str]:
        """Return those `user_ids` whom `adder_id` may not add to a group. Raise StoreUnavailable."""
        others = [user_id for user_id in user_ids if user_id != adder_id]
        rules = await self._load_adding_rules(others)
        contacts_only = [user_id for user_id in others if rules.get(user_id) is WhoMayAdd.CONTACTS]
        non_contacts = set(contacts_only) - await self._filter_acquainted(contacts_only, adder_id)
        refuse_all = {user_id for user_id in others if rules.get(user_id) is WhoMayAdd.NOBODY}
        return refuse_all | non_contacts | await self._filter_blocking(others, adder_id)
