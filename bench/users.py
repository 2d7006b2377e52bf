"""The users of the scenes: written straight into the store, with tokens signed by the system's own key.

Whom the ring gives to which server is the same in every run: ids are drawn from a fixed seed, and chosen so that the
servers have equal shares.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

from bench.load.device import Identity
from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.mongo import Database, connect
from servicekit.auth import TokenSigner
from servicekit.ring import Ring, RingMember

TOKEN_LIFETIME_S: Final = 3600.0
MAX_CONCURRENT_WRITES: Final = 50
LOW, HIGH, ANY = "01234567", "89abcdef", "0123456789abcdef"


class BenchUsers:
    """Makes users. `servers` are the addresses of the chat servers by their names on the ring."""

    def __init__(self, mongo_uri: str, signing_key: Path, servers: Mapping[str, str]) -> None:
        self._mongo_uri = mongo_uri
        self._signer = TokenSigner.from_file(signing_key, issuer="parley", audience="parley", lifetime=TOKEN_LIFETIME_S)
        self._servers = servers
        self._ring = Ring.from_members([RingMember(name, address, "", 0) for name, address in servers.items()], 1)
        # Not for cryptography: these ids shall be the same in every run.
        self._random = random.Random(1)

    def home_of(self, user_id: str) -> str:
        """The address of a user's home."""
        return self._ring.owner(user_id.encode()).address

    def create_users(self, count: int) -> list[Identity]:
        """New users without a conversation, as many at home at each server."""
        homes = cycle(self._servers.values())
        return self._save([self._generate_user(next(homes)) for _ in range(count)])

    def create_pairs(self, count: int) -> list[tuple[Identity, Identity]]:
        """New pairs: the first one's home owns their conversation; every two servers have as many of them."""
        homes = list(self._servers.values())
        places = [(homes[each % len(homes)], homes[each // len(homes) % len(homes)]) for each in range(count)]
        # The home of the one with the lower id owns the conversation of two.
        people = [
            self._generate_user(home, begin) for pair in places for home, begin in zip(pair, (LOW, HIGH), strict=True)
        ]
        self._save(people)
        return list(zip(people[::2], people[1::2], strict=True))

    def _generate_user(self, home: str, begins_with: str = ANY) -> Identity:
        while (user_id := f"{self._random.getrandbits(128):032x}")[0] not in begins_with or self.home_of(
            user_id
        ) != home:
            pass
        token, _ = self._signer.sign(user_id, user_id)
        return Identity(user_id, token, home, "")

    def _save(self, users: list[Identity]) -> list[Identity]:
        asyncio.run(_insert_users(self._mongo_uri, [each.user_id for each in users]))
        return users


async def _insert_users(mongo_uri: str, user_ids: Sequence[str]) -> None:
    database = await connect(mongo_uri, "parley")
    turns = asyncio.Semaphore(MAX_CONCURRENT_WRITES)

    async def one(user_id: str) -> None:
        async with turns:
            await _insert_user(database, user_id)

    try:
        await asyncio.gather(*map(one, user_ids))
    finally:
        await database.client.close()


async def _insert_user(database: Database, user_id: str) -> None:
    """An account whose one device has the same id."""
    now_ms = time.time_ns() // 1_000_000
    profile = Profile(user_id, f"bench-{user_id}", "somebody")
    await MongoAccountStore(database).insert(Account(profile, password_hash="", created_ms=now_ms))
    chain, _ = RefreshChain.start(user_id, user_id)
    device = Device(user_id, "bench", Platform.UNSPECIFIED, now_ms, now_ms, chain)
    await MongoDeviceStore(database).save_if_unchanged(AccountDevices(user_id, 0, {}).with_signed_in(device, limit=1))
