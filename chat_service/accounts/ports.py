"""What accounts need from outside: stores, a signer, and word to the streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices
from chat_service.accounts.privacy import WhoMayAdd
from chat_service.accounts.user_search import SearchKeys, UserQuery
from servicekit.rate_limiter import RateLimit

HomeOf = Callable[[str], str]
"""The public address of a user's home; empty when it is not known now."""

OnSignedOut = Callable[[str, str, str], Awaitable[None]]
"""Ends the streams of a device: `await on_signed_out(user_id, device_id, reason)`, reason one of the contract's.

It may be called again for the same device. What it raises, the caller of Logout gets, who may try again.
"""


class Signer(Protocol):
    """Makes access tokens."""

    def sign(self, user_id: str, device_id: str, sign_in: str = "") -> tuple[str, float]:
        """A token and when it ends, in seconds since 1970."""


class AccountStore(Protocol):
    """Keeps accounts and login names. Every method raises StoreUnavailable."""

    async def insert(self, account: Account) -> None:
        """Keep an account that is not listed; one that is there stays as it is."""

    async def claim_login_name(self, login_name: str, user_id: str) -> bool:
        """Give the name to the account; False when it is another's. Claiming one's own again is True."""

    async def delete_unclaimed(self, user_id: str) -> None:
        """Forget an account that got no name."""

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """Let searches find the account, which makes it listed."""

    async def find_user_id(self, login_name: str) -> str | None:
        """The user whose login name it is."""

    async def load(self, user_id: str) -> Account | None:
        """The account of a user; of one that was buried nothing but the id, leaving."""

    async def set_password_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace a password hash, unless it is not `old` any more: then False."""

    async def update(self, before: Account, after: Account, keys: SearchKeys | None) -> bool:
        """Make of an account's profile and privacy those of `after`, where they differ from `before`.

        False, and nothing changes, when they are not as `before` there any more, or in what search keys are made
        from when one of those changes.
        """

    async def load_adding_rules(self, user_ids: Collection[str]) -> Mapping[str, WhoMayAdd]:
        """Who may add these users to groups; those whom everyone may add need not be named."""

    async def mark_deleting(self, user_id: str, now_ms: int) -> None:
        """Let an account be on its way out: no user any more, and found by nobody; again changes nothing."""

    async def list_deleting(self, limit: int) -> list[tuple[str, int]]:
        """At most `limit` accounts on their way out, and since when, in milliseconds since 1970."""

    async def release_name(self, user_id: str) -> None:
        """Let the login name of an account be free again, once nobody takes the one for the other."""

    async def purge(self, user_id: str, now_ms: int) -> None:
        """Keep of an account on its way out only that there was one."""

    async def search_profiles(self, query: UserQuery, after: str, limit: int) -> list[Profile]:
        """At most `limit` listed users, by login name, beginning after the login name `after`.

        Of those with hidden keys only the one whose login name is the whole query.
        """

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """The profiles of those of `user_ids` that are users."""

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` that are users."""


class DeviceStore(Protocol):
    """Keeps the devices of accounts. Every method raises StoreUnavailable."""

    async def load(self, user_id: str) -> AccountDevices:
        """All devices of an account."""

    async def save_if_unchanged(self, devices: AccountDevices) -> bool:
        """Keep them as the revision after `devices.revision`; False when somebody else changed them since."""

    async def delete(self, user_id: str) -> None:
        """Forget all devices of an account."""

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Whether a device is signed in, by this sign-in if one is named; None when the account has no such device."""


class BlockStore(Protocol):
    """Keeps who blocks whom. Every method raises StoreUnavailable."""

    async def block(self, user_id: str, other_id: str) -> None:
        """`user_id` blocks `other_id`; again changes nothing."""

    async def unblock(self, user_id: str, other_id: str) -> None:
        """`user_id` does not block `other_id` any more."""

    async def list_blocked(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """Whom `user_id` blocks, with ids above `after`, in order, at most `limit` (0: all)."""


class AttemptCounter(Protocol):
    """Counts tries by key, for all servers together. Every method raises StoreUnavailable."""

    async def take(self, key: str, limit: RateLimit, now_ms: int) -> float:
        """Count a try and give 0, or count none and give the seconds until there is one to be had."""

    async def refund(self, key: str, limit: RateLimit) -> None:
        """Count one try less."""
