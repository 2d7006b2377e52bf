"""The users of a workload: inserted directly into the store, with tokens signed by the stack's own key.

The homes of users are the same in every run: ids come from a random generator with a fixed seed, and are chosen so that
each server has an equal share.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

from bench.load.device import DeviceIdentity
from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.devices import MongoDeviceStore
from notify_service.model.push import FcmToken
from notify_service.model.registration import Registration
from notify_service.storage.tokens import MongoTokenStore
from presence_service.model.visibility import Audience
from presence_service.storage.visibility import MongoVisibilityStore
from servicekit.auth import TokenSigner
from servicekit.mongo import Database, connect
from servicekit.ring import Ring, RingMember

TOKEN_LIFETIME_S: Final = 3600.0
MAX_CONCURRENT_WRITES: Final = 50
LOW, HIGH, ANY = "01234567", "89abcdef", "0123456789abcdef"


class BenchUsers:
    """A factory of users. `servers` has the addresses of the chat servers by server id."""

    def __init__(self, mongo_uri: str, signing_key: Path, servers: Mapping[str, str]) -> None:
        self._mongo_uri = mongo_uri
        self._signer = TokenSigner.from_file(signing_key, issuer="parley", audience="parley", lifetime=TOKEN_LIFETIME_S)
        self._servers = servers
        self._ring = Ring.from_members([RingMember(name, address, "", 0) for name, address in servers.items()], 1)
        # A fixed seed, so that the ids are the same in every run; they need not be secure.
        self._random = random.Random(1)

    def home_of(self, user_id: str) -> str:
        """Return the address of the home of a user."""
        return self._ring.owner(user_id.encode()).address

    def create_users(self, count: int) -> list[DeviceIdentity]:
        """Create users without a conversation; each server is the home of an equal share."""
        homes = cycle(self._servers.values())
        return self._save([self._generate_user(next(homes)) for _ in range(count)])

    def create_pairs(self, count: int) -> list[tuple[DeviceIdentity, DeviceIdentity]]:
        """Create pairs, equally many for each combination of homes; the first user's home owns the conversation."""
        servers = list(self._servers.values())
        homes = [(servers[i % len(servers)], servers[i // len(servers) % len(servers)]) for i in range(count)]
        # The home of the user with the lower id owns a direct conversation.
        users = [
            self._generate_user(home, first_digits)
            for pair in homes
            for home, first_digits in zip(pair, (LOW, HIGH), strict=True)
        ]
        self._save(users)
        return list(zip(users[::2], users[1::2], strict=True))

    def show_presence(self, users: Sequence[DeviceIdentity]) -> None:
        """Let users show their presence to everyone."""
        asyncio.run(_insert_visibility(self._mongo_uri, [user.user_id for user in users]))

    def register_tokens(self, users: Sequence[DeviceIdentity]) -> None:
        """Give each user a push token, which is the user's id."""
        asyncio.run(_insert_tokens(self._mongo_uri, [user.user_id for user in users]))

    def _generate_user(self, home: str, first_digits: str = ANY) -> DeviceIdentity:
        user_id = self._random_id()
        while user_id[0] not in first_digits or self.home_of(user_id) != home:
            user_id = self._random_id()
        token, _ = self._signer.sign(user_id, user_id)
        return DeviceIdentity(user_id, token, home, "")

    def _random_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _save(self, users: list[DeviceIdentity]) -> list[DeviceIdentity]:
        asyncio.run(_insert_users(self._mongo_uri, [user.user_id for user in users]))
        return users


async def _insert_users(mongo_uri: str, user_ids: Sequence[str]) -> None:
    await _insert_all(mongo_uri, user_ids, _insert_user)


async def _insert_visibility(mongo_uri: str, user_ids: Sequence[str]) -> None:
    async def insert(database: Database, user_id: str) -> None:
        await MongoVisibilityStore(database).update(user_id, Audience.EVERYONE, Audience.EVERYONE)

    await _insert_all(mongo_uri, user_ids, insert)


async def _insert_tokens(mongo_uri: str, user_ids: Sequence[str]) -> None:
    now_ms = time.time_ns() // 1_000_000

    async def insert(database: Database, user_id: str) -> None:
        await MongoTokenStore(database).put(Registration(user_id, user_id, FcmToken(user_id), "en", now_ms))

    await _insert_all(mongo_uri, user_ids, insert)


async def _insert_all(
    mongo_uri: str, user_ids: Sequence[str], insert: Callable[[Database, str], Awaitable[None]]
) -> None:
    database, semaphore = await connect(mongo_uri, "parley"), asyncio.Semaphore(MAX_CONCURRENT_WRITES)

    async def insert_one(user_id: str) -> None:
        async with semaphore:
            await insert(database, user_id)

    try:
        await asyncio.gather(*map(insert_one, user_ids))
    finally:
        await database.client.close()


async def _insert_user(database: Database, user_id: str) -> None:
    """Insert an account with one device, whose id is the user id."""
    now_ms = time.time_ns() // 1_000_000
    profile = Profile(user_id, f"bench-{user_id}", "somebody")
    await MongoAccountStore(database).insert(Account(profile, password_hash="", created_ms=now_ms))
    chain, _ = RefreshChain.start(user_id, user_id)
    device = Device(user_id, "bench", Platform.UNSPECIFIED, now_ms, now_ms, chain)
    await MongoDeviceStore(database).save_if_unchanged(AccountDevices(user_id, 0, {}).with_signed_in(device, limit=1))
