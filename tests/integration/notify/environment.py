"""A notify server's delivery on real stores, with a directory and providers that the test controls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis

from notify_service.delivery.consumer import EventConsumer
from notify_service.delivery.decider import Decider
from notify_service.delivery.dispatcher import PushDispatcher
from notify_service.delivery.job_loop import JobLoop
from notify_service.delivery.push_times import PushTimes
from notify_service.delivery.sender import PushSender
from notify_service.delivery.signed_in import SignedInDevices
from notify_service.delivery.withdrawals import Withdrawals
from notify_service.model.decision import ConversationContext, PushDecision, PushOutcome, RecipientState
from notify_service.model.push import Accepted, FcmToken, Notification, Outcome, Push, PushToken
from notify_service.model.registration import ProviderKind, Registration
from notify_service.providers.recording import RecordingProvider
from notify_service.storage.preferences import MongoPreferencesStore
from notify_service.storage.push_queue import QUEUE, RedisPushQueue
from notify_service.storage.pushed_entries import RedisPushedEntryStore
from notify_service.storage.tokens import MongoTokenStore
from notify_service.storage.traces import RedisTraceStore
from parley.chat.v1 import entry_pb2
from parley.internal.v1 import notify_pb2
from servicekit.clock import Clock, SystemClock
from servicekit.mongo import Database

ALICE, BOB, CAROL = (f"{digit * 8}{uuid.uuid4().hex[8:]}" for digit in "abc")
CHAT = uuid.uuid4().hex

Respond = Callable[[PushToken, Push], Outcome]


@dataclass
class KnownChat:
    """A directory with one conversation, a group in which alice writes. It raises `failures` first, one a call."""

    states: dict[str, RecipientState] = field(default_factory=dict)
    signed_out: set[str] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    unpushed: PushDecision | None = None
    deleted: frozenset[int] = frozenset()
    calls: int = 0

    async def describe(
        self,
        conversation_id: str,
        author_id: str,
        user_ids: Collection[str],
        target_seqs: Collection[int],
        newest_seq: int = 0,
        message_seqs: Collection[int] = (),
    ) -> ConversationContext:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        member = RecipientState(is_member=True, badge=1)
        states = {each: self.states.get(each, member) for each in user_ids}
        deleted = self.deleted & set(message_seqs)
        return ConversationContext(True, "Friday", "Alice", states, dict.fromkeys(target_seqs, BOB), deleted)

    async def find_unpushed(self, user_id: str) -> PushDecision | None:
        del user_id
        if self.failures:
            raise self.failures.pop(0)
        return self.unpushed

    async def filter_signed_in(self, user_id: str, device_ids: Collection[str]) -> set[str]:
        return set(device_ids) - self.signed_out

    def change(self, user_id: str, **changes: Any) -> None:
        """Change the state of a member."""
        self.states[user_id] = replace(self.states.get(user_id, RecipientState(is_member=True, badge=1)), **changes)


class DeliveryEnvironment:
    """The stores, and servers of notify on them."""

    def __init__(self, redis: Redis, database: Database) -> None:
        self.redis: Any = redis
        self.queue = RedisPushQueue(redis)
        self.tokens = MongoTokenStore(database)
        self.preferences = MongoPreferencesStore(database)
        self.pushed_entries = RedisPushedEntryStore(redis)
        self.traces = RedisTraceStore(redis)
        self.chat = KnownChat()

    async def register(self, user_id: str, *names: str) -> list[Registration]:
        """Register devices of a user with tokens of these names."""
        found = [Registration(user_id, uuid.uuid4().hex, FcmToken(name), "en", 1) for name in names]
        for each in found:
            await self.tokens.put(each)
        return found

    async def queue_entries(self, *seqs: int, users: Sequence[str] = (BOB,), queued_ms: int | None = None) -> None:
        """Queue messages of alice as chat does."""
        entries = [
            entry_pb2.Entry(
                conversation_id=CHAT,
                seq=seq,
                actor_id=ALICE,
                message_appended=entry_pb2.MessageAppended(
                    content=entry_pb2.Content(text=entry_pb2.Text(body=f"message {seq}"))
                ),
            )
            for seq in seqs
        ]
        queued = notify_pb2.QueuedEntries(conversation_id=CHAT, entries=entries, user_ids=users)
        await self._add(notify_pb2.QueuedPush(entries=queued), queued_ms)

    async def queue_deletion(self, seq: int, target_seq: int, *users: str) -> None:
        """Queue the deletion of a message by alice as chat does; from now on the directory knows of it."""
        self.chat.deleted |= {target_seq}
        deleted = entry_pb2.MessageDeleted(target_seq=target_seq)
        entry = entry_pb2.Entry(conversation_id=CHAT, seq=seq, actor_id=ALICE, message_deleted=deleted)
        queued = notify_pb2.QueuedEntries(conversation_id=CHAT, entries=[entry], user_ids=users)
        await self._add(notify_pb2.QueuedPush(entries=queued), None)

    async def queue_read(self, user_id: str, seq: int) -> None:
        """Queue a read watermark as chat does."""
        read = notify_pb2.QueuedRead(user_id=user_id, conversation_id=CHAT, read_seq=seq)
        await self._add(notify_pb2.QueuedPush(read=read), None)

    async def _add(self, push: notify_pb2.QueuedPush, queued_ms: int | None) -> None:
        push.queue_time.FromMilliseconds(SystemClock().now_ms() if queued_ms is None else queued_ms)
        await self.redis.xadd(QUEUE, {"event": push.SerializeToString()})

    async def outcomes(self, user_id: str) -> list[PushOutcome]:
        """Return the outcomes of the last decisions about a user, the oldest first."""
        return [each.outcome for each in reversed(await self.traces.find(user_id))]

    async def is_read_by_nobody(self) -> bool:
        """Return whether no server waits for events."""
        return bool((await self.redis.info("clients"))["blocked_clients"] == 0)

    async def is_empty(self) -> bool:
        """Return whether nothing waits."""
        depth = await self.queue.measure()
        return (depth.events, depth.jobs) == (0, 0)


class Answers:
    """Answers of a provider by token, in order; then it accepts everything."""

    def __init__(self, **answers: list[Outcome]) -> None:
        self.answers = answers

    def __call__(self, token: PushToken, push: Push) -> Outcome:
        assert isinstance(token, FcmToken)
        left = self.answers.get(token.token)
        return left.pop(0) if left else Accepted()


class SlowProvider(RecordingProvider):
    """A provider that answers once `gate` is set; `started` counts the calls."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.gate = asyncio.Event()
        self.started = 0

    async def send(self, token: PushToken, push: Push) -> Outcome:
        self.started += 1
        await self.gate.wait()
        return await super().send(token, push)


@dataclass
class RunningServer:
    """A server of notify: its provider, and its loops, each of which a test may end."""

    provider: RecordingProvider
    consumer: EventConsumer
    loops: list[asyncio.Task[None]]

    @property
    def sent(self) -> list[tuple[str, str, int]]:
        """Return the pushes in order: the token, `message` or `read`, and the seq."""
        return [
            (
                each.token.token if isinstance(each.token, FcmToken) else "",
                "message" if isinstance(each.push, Notification) else "read",
                each.push.seq,
            )
            for each in self.provider.pushes
        ]

    async def kill(self) -> None:
        """End all loops at once, as the end of the process does."""
        for loop in self.loops:
            loop.cancel()
        for loop in self.loops:
            with suppress(asyncio.CancelledError):
                await loop


@asynccontextmanager
async def running_server(
    environment: DeliveryEnvironment,
    respond: Respond | None = None,
    name: str = "notify-1",
    clock: Clock | None = None,
    provider: Any = None,
    queue: RedisPushQueue | None = None,
) -> AsyncIterator[RunningServer]:
    """Yield a running server of notify, and end it."""
    clock = clock or SystemClock()
    recording = provider or RecordingProvider(clock, respond=respond)
    devices = SignedInDevices(environment.chat, environment.tokens, clock)
    decider = Decider(environment.tokens, environment.preferences, environment.chat, devices, clock)
    times = PushTimes(environment.tokens, clock)
    sender = PushSender(dict.fromkeys(ProviderKind, recording), environment.tokens, times, clock)
    withdrawals = Withdrawals(decider, environment.chat, environment.pushed_entries, sender)
    dispatcher = PushDispatcher(decider, sender, withdrawals, environment.pushed_entries, environment.traces, clock)
    queue = queue or environment.queue
    consumer = EventConsumer(queue, dispatcher, name, clock)
    job_loop = JobLoop(queue, dispatcher, clock)
    loops = [
        asyncio.create_task(run())
        for run in (consumer.run, consumer.read, consumer.claim, job_loop.run, job_loop.take, times.run)
    ]
    server = RunningServer(recording, consumer, loops)
    try:
        yield server
    finally:
        await server.kill()
