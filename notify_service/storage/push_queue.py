"""The queue of pushes in Redis: a stream of events, a sorted set of jobs by due time, a stream of dead letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from notify_service.model.ports import DeadLetter, DelayedJob, QueueConsumer, QueueDepth, QueuedPayload
from notify_service.storage.scripts import (
    ACKNOWLEDGE,
    MEASURE,
    REMOVE_CONSUMERS,
    RENEW,
    REQUEUE,
    TAKE_DUE,
    TRIM_DEAD_LETTERS,
)
from servicekit.redis import ScriptCall, redis_errors, run_scripts

# Chat servers write it. The other keys are in its slot: the whole name is their hash tag.
QUEUE: Final = "notify:queue"
JOBS: Final = "{notify:queue}:retry"
DEAD_LETTERS: Final = "{notify:queue}:dead"
GROUP: Final = "notify"
# The field of an event, and the fields of dead letters.
EVENT: Final = "event"
JOB: Final = "job"
MAX_DEAD_LETTERS: Final = 100_000
_LETTERS_PER_PAGE: Final = 1000
# Redis looks at ten times as many pending events as it may claim in one call.
_MAX_CLAIM_PAGES: Final = 100

_KEYS: Final = (QUEUE, JOBS, DEAD_LETTERS)


class RedisPushQueue:
    """Implements PushQueue."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, consumer: str, count: int, wait_s: float) -> list[QueuedPayload]:
        """See PushQueue."""
        wait_ms = max(round(wait_s * 1000), 1)
        return _first_deliveries(await self._read_group(consumer, ">", count, block=wait_ms))

    async def read_own(self, consumer: str, count: int) -> list[QueuedPayload]:
        """See PushQueue."""
        return await self._with_deliveries(await self._read_group(consumer, "0", count))

    async def claim(self, consumer: str, idle_s: float, count: int) -> list[QueuedPayload]:
        """See PushQueue."""
        entries, cursor = list[Any](), b"0-0"
        for _ in range(_MAX_CLAIM_PAGES):
            claimed: Any = await self._call(
                "xautoclaim", QUEUE, GROUP, consumer, round(idle_s * 1000), start_id=cursor, count=count
            )
            if claimed is None:
                return []
            cursor, entries = claimed[0], claimed[1]
            if entries or cursor == b"0-0":
                break
        return await self._with_deliveries(entries)

    async def renew(self, consumer: str, event_ids: Collection[str]) -> None:
        """See PushQueue."""
        if event_ids:
            await self._run(RENEW.call([QUEUE], GROUP, consumer, *event_ids))

    async def remove_consumers(self, idle_s: float) -> None:
        """See PushQueue."""
        await self._run(REMOVE_CONSUMERS.call([QUEUE], GROUP, round(idle_s * 1000)))

    async def trim_dead_letters(self, age_s: float) -> None:
        """See PushQueue."""
        await self._run(TRIM_DEAD_LETTERS.call([DEAD_LETTERS], round(age_s * 1000)))

    async def acknowledge(
        self, event_id: str, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """See PushQueue."""
        await self._run(_acknowledge_call(event_id, b"", jobs, dead_letters))

    async def acknowledge_job(
        self, payload: bytes, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """See PushQueue."""
        await self._run(_acknowledge_call("", payload, jobs, dead_letters))

    async def take_due(self, count: int, lease_s: float) -> list[bytes]:
        """See PushQueue."""
        return list(await self._run(TAKE_DUE.call([JOBS], count, round(lease_s * 1000))))

    async def list_dead_letters(self, after: str, count: int) -> list[DeadLetter]:
        """See PushQueue."""
        with redis_errors():
            found: Any = await self._redis.xrange(DEAD_LETTERS, min=f"({after}" if after else "-", count=count)
        return [_decode_letter(letter_id, fields) for letter_id, fields in found]

    async def find_dead_letters(self, letter_ids: Collection[str]) -> list[DeadLetter]:
        """See PushQueue."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for letter_id in letter_ids:
                    pipeline.xrange(DEAD_LETTERS, min=letter_id, max=letter_id)
                found: Any = await pipeline.execute()
        return [_decode_letter(letter_id, fields) for letter_id, fields in chain.from_iterable(found)]

    async def delete_dead_letters_of(self, user_id: str) -> None:
        """See PushQueue. Payloads have ids of users as text."""
        named, after = user_id.encode(), ""
        while letters := await self.list_dead_letters(after, _LETTERS_PER_PAGE):
            after = letters[-1].letter_id
            await self.delete_dead_letters([each.letter_id for each in letters if named in each.payload])

    async def delete_dead_letters(self, letter_ids: Collection[str]) -> int:
        """See PushQueue."""
        if not letter_ids:
            return 0
        with redis_errors():
            return int(await self._redis.xdel(DEAD_LETTERS, *letter_ids))

    async def requeue(self, letters: Sequence[DeadLetter]) -> int:
        """See PushQueue."""
        if not letters:
            return 0
        values = list[bytes | str | int]()
        for each in letters:
            values += [each.letter_id, _field(each), each.payload]
        return int(await self._run(REQUEUE.call(_KEYS, *values)))

    async def measure(self) -> QueueDepth:
        """See PushQueue."""
        events, jobs, dead_letters, oldest_ms = await self._run(MEASURE.call(_KEYS))
        return QueueDepth(events, oldest_ms / 1000, jobs, dead_letters)

    async def list_consumers(self) -> list[QueueConsumer]:
        """See PushQueue."""
        with redis_errors():
            try:
                found: Any = await self._redis.xinfo_consumers(QUEUE, GROUP)
            except ResponseError as error:
                # Redis has neither the stream nor its group before the first event.
                if "no such key" not in str(error) and not str(error).startswith("NOGROUP"):
                    raise
                return []
        consumers = [QueueConsumer(each["name"].decode(), each["pending"], each["idle"] / 1000) for each in found]
        return sorted(consumers, key=lambda consumer: consumer.name)

    async def _read_group(self, consumer: str, after: str, count: int, block: int | None = None) -> list[Any]:
        found: Any = await self._call("xreadgroup", GROUP, consumer, {QUEUE: after}, count=count, block=block)
        streams = found.values() if isinstance(found, Mapping) else [entries for _, entries in found or ()]
        # redis-py nests the entries once more under RESP3.
        return [entry for entries in streams for entry in _flatten(entries)]

    async def _call(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Return the reply to a command of the group, which is created if Redis does not have it; None then."""
        with redis_errors():
            try:
                return await getattr(self._redis, command)(*arguments, **options)
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                await self._create_group()
                return None

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(QUEUE, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            # Another server created it at the same moment.
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _with_deliveries(self, entries: Sequence[Any]) -> list[QueuedPayload]:
        """Return entries that were delivered before; those that were removed from the stream meanwhile are left out."""
        found = _first_deliveries(entries)
        if not found:
            return []
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for each in found:
                    pipeline.xpending_range(QUEUE, GROUP, min=each.event_id, max=each.event_id, count=1)
                pending: Any = await pipeline.execute()
        return [
            replace(each, deliveries=state[0]["times_delivered"])
            for each, state in zip(found, pending, strict=True)
            if state
        ]

    async def _run(self, call: ScriptCall) -> Any:
        with redis_errors():
            [reply] = await run_scripts(self._redis, [call])
        return reply


def _acknowledge_call(
    event_id: str, payload: bytes, jobs: Sequence[DelayedJob], dead_letters: Sequence[DeadLetter]
) -> ScriptCall:
    values = list[bytes | str | int]()
    for delayed in jobs:
        values += [round(delayed.delay_s * 1000), delayed.payload]
    for letter in dead_letters:
        values += [_field(letter), letter.payload, letter.reason]
    return ACKNOWLEDGE.call(_KEYS, GROUP, event_id, payload, MAX_DEAD_LETTERS, len(jobs), *values)


def _flatten(entries: Sequence[Any]) -> Sequence[Any]:
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _first_deliveries(entries: Sequence[Any]) -> list[QueuedPayload]:
    # An entry that was trimmed while it was pending has no fields.
    return [
        QueuedPayload(entry_id.decode(), (fields or {}).get(b"event", b""), requeued=b"requeued" in (fields or {}))
        for entry_id, fields in entries
    ]


def _field(letter: DeadLetter) -> str:
    return EVENT if letter.is_event else JOB


def _decode_letter(letter_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    is_event = EVENT.encode() in fields
    payload = fields[EVENT.encode() if is_event else JOB.encode()]
    return DeadLetter(payload, fields[b"reason"].decode(), is_event, letter_id.decode())
