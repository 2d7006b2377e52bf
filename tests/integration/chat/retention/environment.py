"""The stores of a retention test, sweeps by a manual clock, and helpers that send and read messages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

import uuid_utils

from chat_service.accounts.devices import Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain
from chat_service.history.history import History
from chat_service.model.entry import (
    Change,
    Draft,
    Entry,
    Message,
    MessageEdited,
)
from chat_service.model.requests import Done
from chat_service.model.retention import Retention, RetentionPolicy, RetentionRule
from chat_service.retention.sweep import DAY_MS, RetentionSweep, SweepResult
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.log import MongoLog
from chat_service.storage.retention import MongoRetentionStore
from servicekit.mongo import Database
from tests.clock import ManualClock
from tests.integration.chat.conftest import (
    ALICE,
    RunningOwner,
    direct,
    draft,
    request_time_ms,
    seq_of,
)

DAY_S = DAY_MS // 1000
A_DAY = RetentionPolicy(Retention(RetentionRule.MAX_AGE, DAY_S))
RELAY = RetentionPolicy(Retention(RetentionRule.RELAY_ONLY))


def owns_all(_: str) -> bool:
    return True


async def skip_reload(_: str) -> None:
    """Reload no owner: none has the conversation in memory."""


async def skip_touch(_: Mapping[str, Collection[str]]) -> None:
    """Touch no index: no device resumes."""


@dataclass
class RetentionEnvironment:
    """The stores of a retention test, and sweeps by a manual clock."""

    database: Database
    history: History
    clock: ManualClock = field(default_factory=lambda: ManualClock(time.time_ns() // 1_000_000))

    @property
    def store(self) -> MongoRetentionStore:
        return MongoRetentionStore(self.database)

    def new_sweep(
        self, terms: RetentionPolicy, reload: Callable[[str], Awaitable[None]] = skip_reload
    ) -> RetentionSweep:
        return RetentionSweep(self.store, MongoDeviceStore(self.database), terms, self.clock, reload, skip_touch)

    async def sweep_due(
        self, terms: RetentionPolicy, reload: Callable[[str], Awaitable[None]] = skip_reload
    ) -> list[SweepResult]:
        """Sweep all due conversations and return the results."""
        due = await self.store.list_due(self.clock.now_ms(), terms.default, owns_all, 100)
        results = [await self.new_sweep(terms, reload).sweep(each) for each in due]
        return [each for each in results if each is not None]

    async def days_until_due(self, conversation_id: str) -> float | None:
        """Return the days until the next sweep of the conversation, or None if none is due."""
        document = await self.database["conversations"].find_one({"_id": bytes.fromhex(conversation_id)})
        due_ms = (document or {}).get("due")
        return None if due_ms is None else (due_ms - self.clock.now_ms()) / DAY_MS

    async def bodies(self, conversation_id: str, user: str = ALICE, before: int = 0, limit: int = 100) -> list[str]:
        found = await self.history.list_messages(user, conversation_id, before_seq=before, after_seq=0, limit=limit)
        return [each.change.content.decode() for each in found if isinstance(each.change, Message)]

    async def entries(self, conversation_id: str) -> list[Entry]:
        return list((await MongoLog(self.database).read_page(conversation_id, 1, 1000)).entries)

    async def contents(self, conversation_id: str) -> list[bytes]:
        changes = [each.change for each in await self.entries(conversation_id)]
        return [each.content for each in changes if isinstance(each, Message | MessageEdited) and each.content]

    async def sign_in(self, user: str, device: str, since_ms: int = 0) -> None:
        devices = await MongoDeviceStore(self.database).load(user)
        chain, _ = RefreshChain.start(user, device)
        new = Device(device, "test", Platform.UNSPECIFIED, since_ms, since_ms, chain)
        assert await MongoDeviceStore(self.database).save_if_unchanged(devices.with_signed_in(new, limit=10))

    async def sign_out(self, user: str, device: str) -> None:
        devices = await MongoDeviceStore(self.database).load(user)
        assert await MongoDeviceStore(self.database).save_if_unchanged(devices.with_signed_out(device))


async def create_direct(running: RunningOwner) -> str:
    creation = direct()
    assert await running.create(creation) == Done()
    return creation.conversation_id


async def send_texts(running: RunningOwner, conversation_id: str, *bodies: str, sender: str = ALICE) -> list[int]:
    return [seq_of(await running.append(draft(conversation_id, sender, body))) for body in bodies]


def change(conversation_id: str, changed: Change, actor: str = ALICE) -> Draft:
    request_id = uuid_utils.uuid7().bytes
    return Draft(conversation_id, actor, request_id, changed, request_time_ms(request_id))
