"""The users of a test on a running system, their devices, and their positions on the ring."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import grpc
from argon2 import PasswordHasher

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain
from chat_service.model.ids import conversation_position
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.devices import MongoDeviceStore
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, chat_pb2
from servicekit.auth import TokenSigner
from servicekit.mongo import Database, connect
from servicekit.ring import Ring, RingMember
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.channels import Options, open_channel
from tests.raw.device import RawDevice

PASSWORD = "correct horse battery staple"
OPTIONS: Options = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 200),
    # Else the windows grow with the traffic of all, and hold megabytes for a device that reads nothing.
    ("grpc.http2.bdp_probe", 0),
]
SAMPLES = 8


class World:
    """Users, devices and channels of one test; an async context manager that closes them.

    Tokens that are signed here are good for `token_seconds`.
    """

    def __init__(self, stack: Stack, token_seconds: float = 600.0) -> None:
        self.stack = stack
        self._token_seconds = token_seconds
        self.devices: list[RawDevice] = []
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._signers: dict[tuple[tuple[str, Any], ...], TokenSigner] = {}
        self._kept: Database | None = None
        # Users whose homes show which servers a server has on its ring.
        self._samples: list[RawDevice] = []

    async def __aenter__(self) -> World:
        self._kept = await connect(self.stack.mongo_uri, "parley")
        self._samples = await self.users(*["sample"] * SAMPLES)
        await self.wait_ring_settled()
        return self

    async def __aexit__(self, *_: object) -> None:
        for device in self.devices:
            await device.close()
        for channel in self._channels.values():
            await channel.close()
        await self._store.client.close()

    def channel(self, address: str) -> grpc.aio.Channel:
        """Return the channel to the door or to one server; one per address."""
        if address not in self._channels:
            self._channels[address] = open_channel(self.stack, address, OPTIONS)
        return self._channels[address]

    async def forget_channel(self, address: str) -> None:
        """Forget the channel to a restarted server."""
        if (channel := self._channels.pop(address, None)) is not None:
            await channel.close()

    # Signing up and in as the contract has it, which takes a password hash each.

    async def register(self, name: str) -> RawDevice:
        """Register a user whose login name begins with `name`; return the first device."""
        login_name = f"{name}-{uuid.uuid4().hex[:8]}"
        request = account_pb2.RegisterRequest(login_name=login_name, password=PASSWORD)
        return self._signed_in((await calls.call(self.channel(self.stack.door), request)).session)

    async def login(self, device: RawDevice) -> RawDevice:
        """Log in another device of a registered user."""
        profile = (await device.call(account_pb2.GetProfileRequest())).profile
        request = account_pb2.LoginRequest(login_name=profile.login_name, password=PASSWORD)
        return self._signed_in((await calls.call(self.channel(self.stack.door), request)).session)

    def _signed_in(self, session: account_pb2.Session) -> RawDevice:
        return self._device(session.user_id, session.device_id, session.access_token)

    # The same without passwords, for tests about other things.

    async def user(self, name: str = "somebody") -> RawDevice:
        """Write a new user with one device into the store; return the device, with a token signed here."""
        return await self._add(uuid.uuid4().hex, name)

    async def listed_user(self, login_name: str, display_name: str) -> RawDevice:
        """Write a searchable user with one device, who may log in with PASSWORD."""
        profile, accounts = Profile(uuid.uuid4().hex, login_name, display_name), MongoAccountStore(self._store)
        account = Account(profile, _password_hash(), created_ms=_now_ms())
        await accounts.insert(account)
        assert await accounts.claim_login_name(login_name, account.user_id)
        await accounts.list_for_search(account.user_id, account.search_keys)
        return await self._add_device(AccountDevices(account.user_id, 0, {}))

    async def users(self, *names: str) -> list[RawDevice]:
        """Write several new users; return their devices."""
        return list(await asyncio.gather(*map(self.user, names)))

    async def add_device(self, device: RawDevice) -> RawDevice:
        """Add a device of a user."""
        return await self._add_device(await MongoDeviceStore(self._store).load(device.user_id))

    async def users_where(self, servers: Sequence[str]) -> list[RawDevice]:
        """Write new users, each with the server at the same position as home."""
        return [await self._user_at(server) for server in servers]

    async def pair(self, owner: str, home: str) -> list[RawDevice]:
        """Two new users, the first with `owner` for a home, which owns their conversation, the second with `home`."""
        # The home of the one with the lower id owns the conversation of two.
        return [await self._user_at(owner, "01234567"), await self._user_at(home, "89abcdef")]

    async def _user_at(self, server: str, begins_with: str = "0123456789abcdef") -> RawDevice:
        while (user_id := uuid.uuid4().hex)[0] not in begins_with or self.home_of(user_id) != server:
            pass
        return await self._add(user_id, "somebody")

    async def _add(self, user_id: str, name: str) -> RawDevice:
        await MongoAccountStore(self._store).insert(
            Account(Profile(user_id, name, name), password_hash="", created_ms=_now_ms())
        )
        return await self._add_device(AccountDevices(user_id, 0, {}))

    async def _add_device(self, devices: AccountDevices) -> RawDevice:
        device_id = uuid.uuid4().hex
        chain, _ = RefreshChain.start(devices.user_id, device_id)
        device = Device(device_id, "raw", Platform.UNSPECIFIED, _now_ms(), _now_ms(), chain)
        assert await MongoDeviceStore(self._store).save_if_unchanged(devices.with_signed_in(device, limit=10))
        return self._device(devices.user_id, device_id, self.token(devices.user_id, device_id))

    def _device(self, user_id: str, device_id: str, token: str) -> RawDevice:
        device = RawDevice(user_id, device_id, token, self.stack.door, self.channel)
        self.devices.append(device)
        return device

    def move(self, device: RawDevice) -> RawDevice:
        """Return a device of a system that was restored here, with its identity and all that it has."""
        moved = self._device(device.user_id, device.device_id, device.token)
        moved.logs, moved.cursor = device.logs, device.cursor
        return moved

    def token(self, user_id: str, device_id: str, **claims: Any) -> str:
        """A token signed with the system's own key; `claims` are those of TokenSigner."""
        terms = {"issuer": "parley", "audience": "parley", "lifetime": self._token_seconds, **claims}
        key = tuple(sorted(terms.items()))
        if key not in self._signers:
            self._signers[key] = TokenSigner.from_file(self.stack.signing_key_file, **terms)
        return self._signers[key].sign(user_id, device_id)[0]

    @property
    def _store(self) -> Database:
        assert self._kept is not None, "the world is entered first"
        return self._kept

    # Where things are.

    @property
    def servers(self) -> list[str]:
        """Return the addresses of the running chat servers, which are also their names on the ring."""
        return [server.address for server in self.stack.chat_servers if server.running]

    @property
    def ring(self) -> Ring:
        """Return the ring of the running servers."""
        return _ring(tuple(self.servers))

    def home_of(self, user_id: str) -> str:
        """Return the home of a user."""
        return self.ring.owner(user_id.encode()).address

    def owner_of(self, conversation_id: str) -> str:
        """Return the owner of a conversation."""
        return self.ring.owner_at(conversation_position(conversation_id)).address

    async def wait_ring_settled(self, timeout: float = 20.0) -> None:
        """Wait until every running server has exactly the running servers on its ring."""
        await eventually(self._is_settled, timeout)

    async def _is_settled(self) -> bool:
        asked = [(server, device) for server in self.servers for device in self._samples]
        with suppress(grpc.aio.AioRpcError):
            told = await asyncio.gather(*(self._located(server, device.token) for server, device in asked))
            return told == [self.home_of(device.user_id) for _, device in asked]
        return False

    async def _located(self, server: str, token: str) -> str:
        metadata = (("authorization", f"Bearer {token}"),)
        return str((await calls.call(self.channel(server), chat_pb2.LocateRequest(), metadata)).home)


@lru_cache
def _ring(servers: tuple[str, ...]) -> Ring:
    return Ring.from_members([RingMember(address, address, "", 0) for address in servers], 1)


@lru_cache
def _password_hash() -> str:
    """Return the hash of PASSWORD, computed once because it is expensive."""
    return PasswordHasher().hash(PASSWORD)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
