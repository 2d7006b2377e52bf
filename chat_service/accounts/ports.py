"""The ports of accounts: stores, the signer of tokens, and the closing of a device's streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices
from chat_service.accounts.privacy import WhoMayAdd
from chat_service.accounts.user_search import SearchKeys, UserQuery
from servicekit.rate_limiter import RateLimit

HomeOf = Callable[[str], str]
"""Returns the public address of a user's home; empty if it is unknown."""

OnSignedOut = Callable[[str, str, str], Awaitable[None]]
"""Ends the streams of a device: `(user_id, device_id, reason)`, with an error reason of the protos. Idempotent.

Its failures are raised to the caller of Logout, who may repeat the call.
"""


class Signer(Protocol):
    """Signs access tokens."""

    def sign(self, user_id: str, device_id: str, sign_in: str = "") -> tuple[str, float]:
        """Return a token and its expiry in seconds since 1970."""


class AccountStore(Protocol):
    """Stores accounts and login names. Every method may raise StoreUnavailable."""

    async def insert(self, account: Account) -> None:
        """Insert an account that is not listed. An existing account stays unchanged."""

    async def claim_login_name(self, login_name: str, user_id: str) -> bool:
        """Claim a login name for an account. Return False if another account has it. Idempotent."""

    async def delete_unclaimed(self, user_id: str) -> None:
        """Delete an account without a login name."""

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """List an account: from now on searches find it by `keys`."""

    async def find_user_id(self, login_name: str) -> str | None:
        """Return the user with this login name; None if there is none."""

    async def load(self, user_id: str) -> Account | None:
        """Return the account of a user; None if it never existed. A purged account has its id only, and is deleting."""

    async def set_password_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace the password hash `old`. Return False if the stored hash is another."""

    async def update(self, before: Account, after: Account, keys: SearchKeys | None) -> bool:
        """Write the fields of profile and privacy in which `after` differs from `before`, and `keys` if not None.

        Change nothing and return False if one of these fields is not as in `before`, or, when a field that search
        keys are made from changes, if another such field is not.
        """

    async def load_adding_rules(self, user_ids: Collection[str]) -> Mapping[str, WhoMayAdd]:
        """Return the rule of each user about being added to groups. Users whom everyone may add may be absent."""

    async def mark_deleting(self, user_id: str, now_ms: int) -> None:
        """Mark an account as deleting: from then on it is not a user and searches omit it. Idempotent."""

    async def list_deleting(self, limit: int) -> list[tuple[str, int]]:
        """Return at most `limit` deleting accounts and the time of their mark, in milliseconds since 1970."""

    async def release_name(self, user_id: str) -> None:
        """Release the login name of a deleting account, so that another account may claim it."""

    async def purge(self, user_id: str, now_ms: int) -> None:
        """Remove all data of a deleting account but its id."""

    async def search_profiles(self, query: UserQuery, after: str, limit: int) -> list[Profile]:
        """Return at most `limit` listed users that match, by login name, above the login name `after`.

        A user with hidden keys matches only if the query is the whole login name.
        """

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """Return the profiles of the `user_ids` that exist."""

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """Return the `user_ids` that exist; the ids of deleting and purged accounts do not."""


class DeviceStore(Protocol):
    """Stores the devices of accounts. Every method may raise StoreUnavailable."""

    async def load(self, user_id: str) -> AccountDevices:
        """Return the devices of an account."""

    async def save_if_unchanged(self, devices: AccountDevices) -> bool:
        """Write the devices as the revision after `devices.revision`. Return False if that is not the stored one."""

    async def delete(self, user_id: str) -> None:
        """Delete the devices of an account."""

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Return True if a device is signed in, False if it is signed out, None if the account does not have it.

        Unless `sign_in` is empty, a device that has signed in again since counts as signed out.
        """


class BlockStore(Protocol):
    """Stores blocks. Every method may raise StoreUnavailable."""

    async def block(self, user_id: str, other_id: str) -> None:
        """Store that `user_id` blocks `other_id`. Idempotent."""

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Delete the block of `other_id` by `user_id`. Idempotent."""

    async def list_blocked(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """Return the ids of at most `limit` users (0: all) that `user_id` blocks, in order, above `after`."""


class AttemptCounter(Protocol):
    """Counts attempts by key, across all servers. Every method may raise StoreUnavailable."""

    async def take(self, key: str, limit: RateLimit, now_ms: int, n: int = 1) -> float:
        """Count `n` attempts and return 0, or count none and return the seconds until `n` are allowed.

        `n` is at most the burst of the limit.
        """

    async def refund(self, key: str, limit: RateLimit, n: int = 1) -> None:
        """Uncount `n` attempts."""
