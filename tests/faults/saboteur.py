"""`python -m tests.faults.saboteur NAME SERVER`: a chat, media or notify server that breaks one promise.

The product has no switch for this: a function is replaced before the server starts.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from secrets import token_bytes
from typing import Any, Final

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

import chat_service.__main__ as chat
import media_service.__main__ as media
import notify_service.__main__ as notify
from chat_service.mesh.fan_out import FanOut
from chat_service.model.conversation import Conversation, Interval
from chat_service.model.delivery import Delivery
from chat_service.model.entry import LAST_SEQ, Draft, Entry, EntryHeader, Message
from chat_service.model.requests import AppendOutcome, Attempt, OnAppended
from chat_service.model.stores import Conflict
from chat_service.owner import owned_conversation as conversation_memory
from chat_service.owner.owner import Owner
from chat_service.storage import log as log_storage
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.documents import encode_entry
from chat_service.storage.generation_store import GenerationRecord, MongoGenerationStore
from chat_service.storage.log import MongoLog
from chat_service.stream.session import StreamSession
from media_service.storage.s3 import S3ObjectStore
from media_service.wire.directory import DirectoryClient
from notify_service.delivery.dispatcher import PushDispatcher
from notify_service.delivery.failed_pushes import FailedPushes
from notify_service.model.events import PushEvent
from notify_service.model.ports import QueuedPayload
from notify_service.storage.push_queue import RedisPushQueue
from servicekit.server import run

LATE_S: Final = 1.0
# Who is in a conversation, and its title.
FIRST_ENTRIES: Final = 2
# Longer than devices may take to be back.
WAIT_S: Final = 20.0

_append = MongoLog.append_batch
_owner_append = Owner.append_draft
_background: set[asyncio.Task[Any]] = set()


def acknowledges_before_commit() -> None:
    """P1: acknowledge messages and write them a second later, if the server still runs."""

    async def append(self: MongoLog, entries: Sequence[Entry]) -> Conflict | None:
        if not all(isinstance(entry.change, Message) for entry in entries):
            return await _append(self, entries)

        async def write() -> None:
            await asyncio.sleep(LATE_S)
            await _append(self, entries)

        task = asyncio.create_task(write())
        _background.add(task)
        task.add_done_callback(_background.discard)
        return None

    _put(MongoLog, "append_batch", append)


def fences_nothing() -> None:
    """P2: let an owner with a stale log overwrite entries of others."""

    async def tail(self: MongoLog, conversation_id: str, length: int) -> list[EntryHeader]:
        known = await _tail(self, conversation_id, length)
        return known[:-1] if len(known) > FIRST_ENTRIES else known

    async def append(self: MongoLog, entries: Sequence[Entry]) -> Conflict | None:
        documents = [encode_entry(entry) for entry in entries]
        writes = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in documents]
        with suppress(BulkWriteError):
            # That one of them stands somewhere else already is overlooked as well.
            await self._entries.with_options(write_concern=WriteConcern("majority")).bulk_write(writes, ordered=False)
        return None

    _tail = MongoLog.read_tail
    _put(MongoLog, "read_tail", tail)
    _put(MongoLog, "append_batch", append)


def lets_later_sends_pass() -> None:
    """P2: delay some sends and let later ones pass."""
    count = itertools.count()

    def append(self: Owner, draft: Draft, attempt: Attempt | None, reply: OnAppended) -> None:
        if not isinstance(draft.change, Message) or next(count) % 10:
            _owner_append(self, draft, attempt, reply)
        else:
            asyncio.get_running_loop().call_later(LATE_S, _owner_append, self, draft, None, reply)

    _put(Owner, "append_draft", append)


def forgets_who_sent_what() -> None:
    """P3: append a retry as a new message; delay answers so that some are lost with a connection."""

    def append(self: Owner, draft: Draft, attempt: Attempt | None, reply: OnAppended) -> None:
        def late(answer: AppendOutcome) -> None:
            asyncio.get_running_loop().call_later(LATE_S, reply, answer)

        _owner_append(self, draft, attempt, late)

    def document(entry: Entry, *how: Any) -> dict[str, Any]:
        made = encode_entry(entry, *how)
        return {**made, "k": made["k"][:16] + token_bytes(len(made["k"]) - 16)}

    _put(log_storage, "encode_entry", document)
    _put(conversation_memory, "MAX_REMEMBERED", 0)
    _put(Owner, "append_draft", append)


def tells_not_everybody() -> None:
    """P4: skip delivery to the last member, and its touch in the change index."""

    def publish(self: FanOut, users: Collection[str], entries: Sequence[Entry], traces: Mapping[int, str]) -> None:
        _publish(self, sorted(users)[:-1], entries, traces)

    async def touch(*_: object) -> None:
        return None

    _publish = FanOut.publish
    _put(FanOut, "publish", publish)
    _put(RedisChangeIndex, "touch", touch)


def leaves_the_generation_alone() -> None:
    """P5: treat a change index that lost its data as complete."""

    async def advance(
        self: MongoGenerationStore, known: GenerationRecord, run_id: str
    ) -> tuple[GenerationRecord, bool]:
        del self, run_id
        return known, True

    async def clear_dirty(self: MongoGenerationStore, *_: object) -> tuple[GenerationRecord, bool]:
        return await self.load(), True

    _put(MongoGenerationStore, "advance", advance)
    _put(MongoGenerationStore, "clear_dirty", clear_dirty)


def pushes_late() -> None:
    """P6: deliver entries too late."""

    def deliver(self: StreamSession, entries: list[tuple[bytes, bytes, str]], delivery: Delivery) -> bool:
        def deliver_late() -> None:
            _deliver(self, entries, delivery)

        self.call_later(WAIT_S, deliver_late)
        return True

    _deliver = StreamSession.deliver
    _put(StreamSession, "deliver", deliver)


def shows_everything() -> None:
    """P8: show every entry to every former member."""

    def visible_intervals(self: Conversation, user_id: str) -> tuple[Interval, ...]:
        known = user_id in self.members or user_id in self.past_memberships
        return (Interval(1, LAST_SEQ),) if known else ()

    _put(Conversation, "visible_intervals", visible_intervals)


def acknowledges_before_it_sends() -> None:
    """P12: remove events from the queue before their pushes are sent, which takes a second."""

    async def read(self: RedisPushQueue, consumer: str, count: int, wait_s: float) -> list[QueuedPayload]:
        events = await _read(self, consumer, count, wait_s)
        for event in events:
            await self.acknowledge(event.event_id)
        return events

    async def deliver(self: PushDispatcher, event: PushEvent) -> FailedPushes:
        await asyncio.sleep(LATE_S)
        return await _deliver(self, event)

    _read, _deliver = RedisPushQueue.read, PushDispatcher.deliver
    _put(RedisPushQueue, "read", read)
    _put(PushDispatcher, "deliver", deliver)


def removes_files_in_use() -> None:
    """P13: let the collector find no reference to any file."""

    async def filter_referenced(*_: object) -> set[str]:
        return set()

    _put(DirectoryClient, "filter_referenced", filter_referenced)


def leaves_objects() -> None:
    """P13: delete no object."""

    async def delete(*_: object) -> None:
        return None

    _put(S3ObjectStore, "delete", delete)


def _put(where: object, name: str, what: object) -> None:
    assert hasattr(where, name), f"{where} has no {name} any more"
    setattr(where, name, what)


SABOTAGES: Final[Mapping[str, Callable[[], None]]] = {
    each.__name__: each
    for each in (
        acknowledges_before_commit,
        fences_nothing,
        lets_later_sends_pass,
        forgets_who_sent_what,
        tells_not_everybody,
        leaves_the_generation_alone,
        pushes_late,
        shows_everything,
        acknowledges_before_it_sends,
        removes_files_in_use,
        leaves_objects,
    )
}

if __name__ == "__main__":
    _, name, server = sys.argv
    SABOTAGES[name]()
    mains = {"chat": chat.main, "media": media.main, "notify": notify.main}
    run(mains[server.partition("-")[0]]())
