"""The messages about records: Redis's sharded channels, one for each watched user, on a connection to each primary."""

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
from servicekit.redis_cluster import ONLY_PRIMARY, list_primaries, open_primary, primary_of, reload_primaries
from servicekit.tasks import Backoff, cancel_requested

# The channels of all presence servers. Permissions that changed: `<user>` for all that concern a user, `<user> <other
# user>` for those between two. Streams that devices have opened: `<device> <number of the watch>`.
PERMISSIONS_CHANNEL: Final = "presence-permissions"
WATCHES_CHANNEL: Final = "presence-watches"
WATCH_NUMBER: Final = "presence:watch-number"
# Keeps a connection in the state of subscribers while no watched user has a channel there.
UNUSED_CHANNEL: Final = "presence-unused"
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


class _Connection:
    """The connection to one primary: commands that are yet to be sent, and the wait for its next message.

    No other task than the one that receives may use the connection: each one would try to repair it.
    """

    def __init__(self) -> None:
        self.to_subscribe = dict[str, None]()
        self.to_unsubscribe = dict[str, None]()
        self._reading: asyncio.Timeout | None = None

    def wake(self) -> None:
        """End the wait for a message, so that what is due is sent."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
            self._reading = None

    async def send(self, pubsub: PubSub, *, in_cluster: bool) -> None:
        """Send what is due. Unsubscribe first: a user may be in both lists."""
        # Channels of one command must be in one slot of a cluster.
        size = 1 if in_cluster else CHANNELS_PER_COMMAND
        while users := _take(self.to_unsubscribe, size):
            await pubsub.sunsubscribe(*map(channel_of, users))
        while users := _take(self.to_subscribe, size):
            await pubsub.ssubscribe(*map(channel_of, users))

    async def next_message(self, pubsub: PubSub) -> Mapping[str, Any] | None:
        """Wait for a message for CHECK_INTERVAL_S, or until something is to be sent."""
        if self.to_subscribe or self.to_unsubscribe:
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


class RedisChannels:
    """Implements Channels, and the channels between presence servers. `run` receives.

    `connect` sets the callbacks, before `run` is started.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # By user: set once Redis has confirmed the subscription of the present connection.
        self._confirmed: dict[str, asyncio.Event] = {}
        # The present connections by the name of their primary.
        self._connections: dict[str, _Connection] = {}
        # Users whose changes may have been missed until the present connections have confirmed all of them.
        self._missed: set[str] = set()

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
        self._subscribe_at_primaries(new)
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
            self._note_heard(user_id)
            if (connection := self._connection_of(user_id)) is not None:
                connection.to_subscribe.pop(user_id, None)
                connection.to_unsubscribe[user_id] = None
                connection.wake()

    def _subscribe_at_primaries(self, user_ids: Collection[str]) -> None:
        """Subscribe on the present connections; without them, the next ones subscribe."""
        for user_id in user_ids:
            if (connection := self._connection_of(user_id)) is not None:
                connection.to_subscribe[user_id] = None
                connection.wake()

    def _connection_of(self, user_id: str) -> _Connection | None:
        """Return the present connection to the primary of a user; None without one."""
        try:
            return self._connections.get(primary_of(self._redis, channel_of(user_id))) if self._connections else None
        except UNREACHABLE:
            # The cluster is changing: this connection will be lost, and the next ones subscribe all.
            return None

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
        """Receive messages until cancelled; lost connections are replaced."""
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while not cancel_requested():
            try:
                await self._receive_all(backoff)
            except UNREACHABLE as error:
                log.warning("pub/sub connection lost", error=str(error))
            finally:
                self._connections = {}
            await asyncio.sleep(backoff.next())

    async def _receive_all(self, backoff: Backoff) -> None:
        """Receive from all primaries until one of the connections is lost: then slots may have moved."""
        await reload_primaries(self._redis)
        primaries = await list_primaries(self._redis)
        for confirmed in self._confirmed.values():
            confirmed.clear()
        self._missed = set(self._confirmed)
        self._connections = {name: _Connection() for name in primaries}
        self._subscribe_at_primaries(self._confirmed)
        tasks = [asyncio.create_task(self._receive(*each, backoff)) for each in self._connections.items()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Not a TaskGroup: before Python 3.13 its failure leaves this task with a request to cancel it.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _receive(self, primary: str, connection: _Connection, backoff: Backoff) -> None:
        async with open_primary(self._redis, primary) as redis, redis.pubsub() as pubsub:
            # Every node of a cluster hears what is published on these.
            is_first = connection is next(iter(self._connections.values()))
            await pubsub.subscribe(*(self._on_notice if is_first else [UNUSED_CHANNEL]))
            loop = asyncio.get_running_loop()
            heard_at = loop.time()
            while not cancel_requested():
                await connection.send(pubsub, in_cluster=primary != ONLY_PRIMARY)
                message = await connection.next_message(pubsub)
                if message is not None:
                    heard_at = loop.time()
                    self._handle(message)
                    backoff.reset()
                elif loop.time() - heard_at > 2 * CHECK_INTERVAL_S:
                    raise ConnectionLost("no answer to a ping")
                elif loop.time() - heard_at >= CHECK_INTERVAL_S:
                    await pubsub.ping()

    def _handle(self, message: Mapping[str, Any]) -> None:
        kind, channel, data = message["type"], message["channel"], message["data"]
        if kind == "smessage":
            self._on_record(user_of_channel(channel), decode_message(data))
        elif kind == "ssubscribe":
            user_id = user_of_channel(channel)
            if (confirmed := self._confirmed.get(user_id)) is not None:
                confirmed.set()
            self._note_heard(user_id)
        elif kind == "sunsubscribe":
            confirmed = self._confirmed.get(user_of_channel(channel))
            if confirmed is not None and confirmed.is_set():
                raise ConnectionLost("the slot of a channel moves to another primary")
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


def _take(users: dict[str, None], size: int) -> list[str]:
    """Remove and return as many users as one command may have."""
    taken = list(islice(users, size))
    for user_id in taken:
        del users[user_id]
    return taken
