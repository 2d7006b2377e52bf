"""Presence in Redis: the records of users, the leases of chat servers, and which streams each server has."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from presence_service.model.leases import CLAIM_MS, LEASE_MS, Lease, Leases
from presence_service.model.presence import (
    CLOSE_GRACE_MS,
    NO_RECORD,
    DeviceStream,
    PresenceRecord,
    StreamState,
    Transition,
)
from presence_service.storage.scripts import (
    CLAIM_END,
    ERASE_RECORD,
    OPEN_LEASE,
    POLL_EPOCH,
    REMOVE_LEASE,
    RENEW_LEASE,
    TRANSITION,
)
from servicekit.errors import SessionSuperseded
from servicekit.redis import redis_errors, run_scripts
from servicekit.redis_cluster import read_run_ids

LEASES: Final = "presence:leases"
# By server: the number of the lease under which it has reported all its devices.
COMPLETE: Final = "presence:complete-leases"
EPOCH: Final = "presence:epoch"
# No replica of presence was there for longer than this: a new epoch begins.
EPOCH_GAP_MS: Final = 3_000
# A stream that has ended is kept in its record for so long, so that an earlier transition that arrives late finds it.
ENDED_STREAM_KEPT_MS: Final = 30_000
# A record without open streams, and what a server that never came back left.
RECORD_TTL_MS: Final = 86_400_000
SESSIONS_TTL_MS: Final = 7 * RECORD_TTL_MS
# Records read in one round trip.
READ_BATCH: Final = 500


class RedisPresenceStore:
    """Implements PresenceStore; every method raises StoreUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def apply(
        self,
        server_id: str,
        incarnation: int,
        number: int,
        transitions: Sequence[Transition],
        known: Container[str] = (),
    ) -> None:
        """See PresenceStore."""
        if not transitions:
            return
        opened: dict[Any, Any] = {
            each.session_id: each.user_id for each in transitions if each.state.is_open and each.session_id not in known
        }
        ended = [each.session_id for each in transitions if not each.state.is_open]
        sessions = _sessions_key(server_id, incarnation)
        with redis_errors():
            if opened:
                # First, so that every stream of a record is found when its server dies.
                async with self._redis.pipeline(transaction=False) as pipeline:
                    pipeline.hset(sessions, mapping=opened)
                    pipeline.pexpire(sessions, SESSIONS_TTL_MS)
                    await pipeline.execute()
            await run_scripts(
                self._redis,
                [
                    TRANSITION.call(
                        [record_key(each.user_id)],
                        each.session_id,
                        server_id,
                        incarnation,
                        int(each.state),
                        each.age_ms,
                        each.sequence,
                        channel_of(each.user_id),
                        CLOSE_GRACE_MS,
                        ENDED_STREAM_KEPT_MS,
                        RECORD_TTL_MS,
                        number,
                    )
                    for each in transitions
                ],
            )
            if ended:
                await self._redis.hdel(sessions, *ended)

    async def find_all(self, user_ids: Collection[str]) -> dict[str, PresenceRecord]:
        """See PresenceStore."""
        found, ids = dict[str, PresenceRecord](), list(user_ids)
        for start in range(0, len(ids), READ_BATCH):
            batch = ids[start : start + READ_BATCH]
            with redis_errors():
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for user_id in batch:
                        pipeline.hgetall(record_key(user_id))
                    replies: list[Any] = await pipeline.execute()
            found |= {user_id: decode_record(reply) for user_id, reply in zip(batch, replies, strict=True)}
        return found

    async def delete(self, user_id: str) -> None:
        """See PresenceStore."""
        await self._run(ERASE_RECORD.call([record_key(user_id)], channel_of(user_id)))

    async def find_sessions(self, server_id: str, incarnation: int) -> dict[str, str]:
        """See PresenceStore."""
        with redis_errors():
            found: Any = await self._redis.hgetall(_sessions_key(server_id, incarnation))
        return {session.decode(): user.decode() for session, user in found.items()}

    async def find_lease(self, server_id: str) -> Lease | None:
        """See PresenceStore."""
        with redis_errors():
            value: Any = await self._redis.hget(LEASES, server_id)
        return _decode_lease(value) if value is not None else None

    async def open_lease(self, server_id: str, incarnation: int, report_id: str) -> int:
        """See PresenceStore."""
        number = await self._run(OPEN_LEASE.call([LEASES], server_id, incarnation, report_id, CLAIM_MS))
        if number is None:
            raise SessionSuperseded("the streams of this server are being ended; connect again")
        return int(number)

    async def complete_lease(self, server_id: str, number: int) -> None:
        """See PresenceStore."""
        with redis_errors():
            await self._redis.hset(COMPLETE, server_id, str(number))

    async def renew_lease(self, server_id: str, report_id: str) -> bool:
        """See PresenceStore."""
        return bool(await self._run(RENEW_LEASE.call([LEASES], server_id, report_id, LEASE_MS)))

    async def claim_end(self, server_id: str, incarnation: int, report_id: str = "") -> bool:
        """See PresenceStore."""
        call = CLAIM_END.call([LEASES], server_id, incarnation, report_id, LEASE_MS, CLAIM_MS)
        return bool(await self._run(call))

    async def remove_lease(self, server_id: str, incarnation: int) -> None:
        """See PresenceStore."""
        if await self._run(REMOVE_LEASE.call([LEASES], server_id, incarnation)):
            with redis_errors():
                await self._redis.hdel(COMPLETE, server_id)

    async def find_epoch(self) -> int:
        """See PresenceStore."""
        _, epoch_ms = await self._poll_epoch()
        return epoch_ms

    async def _poll_epoch(self) -> tuple[int, int]:
        with redis_errors():
            run_ids = await read_run_ids(self._redis)
        now_ms, epoch_ms = await self._run(POLL_EPOCH.call([EPOCH], EPOCH_GAP_MS, run_ids))
        return int(now_ms), int(epoch_ms)

    async def poll(self) -> Leases:
        """See PresenceStore."""
        # The epoch is read last: leases that are missing because of a loss are never taken for older than it.
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(LEASES)
                pipeline.hgetall(COMPLETE)
                leases, complete = await pipeline.execute()
        now_ms, epoch_ms = await self._poll_epoch()
        by_server = {
            server_id.decode(): _decode_lease(value, complete.get(server_id)) for server_id, value in leases.items()
        }
        return Leases(now_ms, epoch_ms, by_server)

    async def _run(self, call: Any) -> Any:
        with redis_errors():
            [reply] = await run_scripts(self._redis, [call])
        return reply


def record_key(user_id: str) -> str:
    """Return the key of the record of a user."""
    return f"presence:{{{user_id}}}"


def channel_of(user_id: str) -> str:
    """Return the channel on which the changes of a user's record are published; it is in the slot of the record."""
    return f"presence-record:{{{user_id}}}"


def user_of_channel(channel: bytes) -> str:
    """Return the user of a channel."""
    return channel.decode().partition("{")[2][:-1]


def decode_message(data: bytes) -> PresenceRecord:
    """Return the record that was published."""
    parts = data.split(b"\n")
    return decode_record(dict(zip(parts[::2], parts[1::2], strict=True)))


def decode_record(fields: Mapping[bytes, bytes]) -> PresenceRecord:
    """Return the record of these fields."""
    if not fields:
        return NO_RECORD
    streams = tuple(_decode_stream(value) for value in fields.values() if b" " in value)
    return PresenceRecord(
        streams, int(fields.get(b"seen", 0)), int(fields.get(b"version", 0)), is_erased=b"erased" in fields
    )


def _decode_stream(value: bytes) -> DeviceStream:
    activity, closed_ms, _, _, incarnation, server_id = value.split(b" ", 5)
    return DeviceStream(server_id.decode(), int(incarnation), int(activity) == StreamState.FOREGROUND, int(closed_ms))


def _decode_lease(value: bytes, complete: bytes | None = None) -> Lease:
    """Return a lease; `complete` is the number of the complete lease of its server."""
    incarnation, report_id, renewed_ms, number = value.split(b" ")
    is_ending = report_id == b"ending"
    return Lease(int(incarnation), int(renewed_ms), int(number), is_ending, is_complete=number == complete)


def _sessions_key(server_id: str, incarnation: int) -> str:
    return f"presence:sessions:{server_id}:{incarnation}"
