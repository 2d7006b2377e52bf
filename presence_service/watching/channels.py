"""The messages about records: Redis's sharded channels, one for each watched user, over one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as ConnectionLost

from presence_service.model.presence import PresenceRecord
from presence_service.storage.presence_store import channel_of, decode_message, user_of_channel
from presence_service.storage.scripts import PUBLISH_WATCH
from servicekit.errors import StoreUnavailable
from servicekit.redis import UNREACHABLE, redis_errors, run_scripts
from servicekit.tasks import Backoff, cancel_requested

# The channels of all presence servers. Permissions that changed: `<user>` for all that concern a user, `<user> <other
# user>` for those between two. Streams that devices have opened: `<device> <number of the watch>`.
PERMISSIONS_CHANNEL: Final = "presence-permissions"
WATCHES_CHANNEL: Final = "presence-watches"
WATCH_NUMBER: Final = "presence:watch-number"
CONFIRM_TIMEOUT_S: Final = 2.0
# Without a message for this long the connection is checked; without an answer for as long again it is replaced.
CHECK_INTERVAL_S: Final = 2.0
CHANNELS_PER_COMMAND: Final = 1000
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0

OnRecord = Callable[[str, PresenceRecord], None]
"""Takes the record of a user that was published."""

OnPermissions = Callable[[str, str], None]
"""Takes a user whose settings changed, or two users whose relation changed; the second is empty otherwise."""

PublishPermissions = Callable[[str, str], Awaitable[None]]
"""Tells all presence servers what OnPermissions takes. Raises StoreUnavailable."""

OnWatch = Callable[[str, str], None]
"""Takes a device that has opened a watch, and the number of the watch."""

OnReconnected = Callable[[], None]
"""Reads again what may have been missed. It is also called for the first connection."""

log = structlog.get_logger("channels")


class RedisChannels:
    """Implements Channels, and the channels between presence servers. `run` receives.

    `connect` sets the callbacks, before `run` is started.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # By user: set once Redis has confirmed the subscription of the present connection.
        self._confirmed: dict[str, asyncio.Event] = {}
        # What `run` has yet to send. No other task may use the connection: each one would try to repair it.
        self._to_subscribe = dict[str, None]()
        self._to_unsubscribe = dict[str, None]()
        # Users whose changes may have been missed until the present connection has confirmed all of them.
        self._missed: set[str] = set()
        # While `run` waits for a message.
        self._reading: asyncio.Timeout | None = None

    def connect(
        self, on_record: OnRecord, on_permissions: OnPermissions, on_watch: OnWatch, on_reconnected: OnReconnected
    ) -> None:
        """Hear records, permissions and watches; `on_reconnected` is called when messages may have been lost."""
        self._on_record = on_record
        self._on_notice = {PERMISSIONS_CHANNEL: on_permissions, WATCHES_CHANNEL: on_watch}
        self._on_reconnected = on_reconnected

    async def subscribe(self, user_ids: Collection[str]) -> None:
        """See Channels."""
        new = [user_id for user_id in user_ids if user_id not in self._confirmed]
        self._confirmed |= {user_id: asyncio.Event() for user_id in new}
        self._to_subscribe |= dict.fromkeys(new)
        if new:
            self._wake()
        waiting = [self._confirmed[user_id].wait() for user_id in user_ids if user_id in self._confirmed]
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                await asyncio.gather(*waiting)
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None

    async def retain(self, user_ids: Collection[str]) -> None:
        """See Channels."""
        left = [user_id for user_id in self._confirmed if user_id not in user_ids]
        for user_id in left:
            del self._confirmed[user_id]
            self._to_subscribe.pop(user_id, None)
            self._note_heard(user_id)
        self._to_unsubscribe |= dict.fromkeys(left)
        if left:
            self._wake()

    def _wake(self) -> None:
        """Make `run` send what is due, though it waits for a message."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
            self._reading = None

    async def publish_permissions(self, user_id: str, other_id: str = "") -> None:
        """See PublishPermissions."""
        with redis_errors():
            await self._redis.publish(PERMISSIONS_CHANNEL, f"{user_id} {other_id}".rstrip())

    async def publish_watch(self, device_id: str) -> int:
        """Tell all presence servers that a device has opened a watch; return its number. Raise StoreUnavailable."""
        with redis_errors():
            [number] = await run_scripts(self._redis, [PUBLISH_WATCH.call([WATCH_NUMBER], WATCHES_CHANNEL, device_id)])
        return int(number)

    async def run(self) -> None:
        """Receive messages until cancelled; a lost connection is replaced."""
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while not cancel_requested():
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._receive(pubsub, backoff)
            except UNREACHABLE as error:
                log.warning("pub/sub connection lost", error=str(error))
            await asyncio.sleep(backoff.next())

    async def _receive(self, pubsub: PubSub, backoff: Backoff) -> None:
        for confirmed in self._confirmed.values():
            confirmed.clear()
        self._to_subscribe, self._to_unsubscribe = dict.fromkeys(self._confirmed), {}
        self._missed = set(self._confirmed)
        await pubsub.subscribe(*self._on_notice)
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while not cancel_requested():
            await self._send(pubsub)
            message = await self._next_message(pubsub)
            if message is not None:
                heard_at = loop.time()
                self._handle(message)
                backoff.reset()
            elif loop.time() - heard_at > 2 * CHECK_INTERVAL_S:
                raise ConnectionLost("no answer to a ping")
            elif loop.time() - heard_at >= CHECK_INTERVAL_S:
                await pubsub.ping()

    async def _send(self, pubsub: PubSub) -> None:
        """Send what is due. Unsubscribe first: a user may be in both lists."""
        while users := _take(self._to_unsubscribe):
            await pubsub.sunsubscribe(*map(channel_of, users))
        while users := _take(self._to_subscribe):
            await pubsub.ssubscribe(*map(channel_of, users))

    async def _next_message(self, pubsub: PubSub) -> Mapping[str, Any] | None:
        """Wait for a message for CHECK_INTERVAL_S, or until something is to be sent."""
        if self._to_subscribe or self._to_unsubscribe:
            return None
        message: Mapping[str, Any] | None = None
        try:
            async with asyncio.timeout(None) as self._reading:
                message = await pubsub.get_message(timeout=CHECK_INTERVAL_S)
        except TimeoutError:
            pass
        finally:
            self._reading = None
        return message

    def _handle(self, message: Mapping[str, Any]) -> None:
        kind, channel, data = message["type"], message["channel"], message["data"]
        if kind == "smessage":
            self._on_record(user_of_channel(channel), decode_message(data))
        elif kind == "ssubscribe":
            user_id = user_of_channel(channel)
            if (confirmed := self._confirmed.get(user_id)) is not None:
                confirmed.set()
            self._note_heard(user_id)
        elif kind == "message":
            subject, _, other = data.decode().partition(" ")
            self._on_notice[channel.decode()](subject, other)
        elif kind == "subscribe" and channel.decode() == WATCHES_CHANNEL and not self._missed:
            self._on_reconnected()

    def _note_heard(self, user_id: str) -> None:
        """Note that the changes of a user are heard, or wanted, again; the last one ends a reconnection."""
        if user_id in self._missed:
            self._missed.discard(user_id)
            if not self._missed:
                self._on_reconnected()


def _take(users: dict[str, None]) -> list[str]:
    """Remove and return as many users as one command may have."""
    taken = list(islice(users, CHANNELS_PER_COMMAND))
    for user_id in taken:
        del users[user_id]
    return taken
