"""What accounts need from outside: stores, a signer, and word to the streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from chat_service.accounts.account import Account, Profile, ProfileChange
from chat_service.accounts.attempts import Allowance
from chat_service.accounts.device import Devices
from chat_service.accounts.search import Query, SearchKeys

HomeOf = Callable[[str], str]
"""The public address of a user's home; empty when it is not known now."""

OnSignedOut = Callable[[str, str, str], Awaitable[None]]
"""Ends the streams of a device: `await on_signed_out(user_id, device_id, reason)`, reason one of the contract's.

It may be called again for the same device. What it raises, the caller of Logout gets, who may try again.
"""


class Signer(Protocol):
    """Makes access tokens."""

    def sign(self, user_id: str, device_id: str) -> tuple[str, float]:
        """A token and when it ends, in seconds since 1970."""


class AccountStore(Protocol):
    """Keeps accounts and login names. Every method raises StoreUnavailable."""

    async def add(self, account: Account) -> None:
        """Keep an account that is not listed; one that is there stays as it is."""

    async def claim(self, login_name: str, user_id: str) -> bool:
        """Give the name to the account; False when it is another's. Claiming one's own again is True."""

    async def drop(self, user_id: str) -> None:
        """Forget an account that got no name."""

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """Let searches find the account, which makes it listed."""

    async def owner_of(self, login_name: str) -> str | None:
        """The user whose login name it is."""

    async def account(self, user_id: str) -> Account | None:
        """The account of a user."""

    async def set_password_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace a password hash, unless it is not `old` any more: then False."""

    async def change_profile(self, user_id: str, change: ProfileChange) -> Profile | None:
        """Change a profile at once as a whole, and give it as it is then; None: no such user."""

    async def profiles_matching(self, query: Query, after: str, limit: int) -> list[Profile]:
        """At most `limit` listed users, by login name, beginning after the login name `after`."""

    async def existing(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` that are users."""


class DeviceStore(Protocol):
    """Keeps the devices of accounts. Every method raises StoreUnavailable."""

    async def devices_of(self, user_id: str) -> Devices:
        """All devices of an account."""

    async def replace(self, devices: Devices) -> bool:
        """Keep them as the revision after `devices.revision`; False when somebody else changed them since."""

    async def is_signed_in(self, user_id: str, device_id: str) -> bool | None:
        """Whether a device is signed in; None when the account has no such device."""


class Tries(Protocol):
    """Counts tries by key, for all servers together. Every method raises StoreUnavailable."""

    async def take(self, key: str, allowance: Allowance, now_ms: int) -> float:
        """Count a try and give 0, or count none and give the seconds until there is one to be had."""

    async def give_back(self, key: str, allowance: Allowance) -> None:
        """Count one try less."""
