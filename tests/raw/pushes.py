"""Pushes of a running system: registrations of devices, the queue as chat writes it, and what was recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from redis.asyncio import Redis

from devstack.servers.service import ServiceReplica
from parley.chat.v1 import chat_pb2, entry_pb2
from parley.internal.v1 import directory_pb2
from parley.internal.v1 import notify_pb2 as internal_pb2
from parley.notify.v1 import notify_pb2
from tests.eventually import eventually
from tests.raw.calls import PATIENCE
from tests.raw.device import RawDevice
from tests.raw.directory import Directory, credential_of
from tests.raw.watcher import beating
from tests.raw.world import World

QUEUE = "notify:queue"
GROUP = "notify"
ADMIN = {
    method.input_type.full_name: method
    for method in internal_pb2.DESCRIPTOR.services_by_name["NotifyAdminService"].methods
}

Recorded = dict[str, Any]
"""A line of the recording provider."""


class Pushes:
    """The pushes of the system of a world; an async context manager that closes its connection to Redis.

    Meanwhile each connected device in `heard` sends heartbeats; `register` adds devices to it.
    """

    def __init__(self, world: World, redis: Redis | None = None) -> None:
        self._world = world
        self._redis: Any = redis or Redis.from_url(world.stack.redis_url)
        self._resources = AsyncExitStack()
        self.heard: list[RawDevice] = []

    async def __aenter__(self) -> Pushes:
        self._resources.push_async_callback(self._redis.aclose)
        await self._resources.enter_async_context(beating(self.heard))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def register(self, device: RawDevice, *, prefix: str = "", **request: Any) -> str:
        """Register a token of FCM for a device, and return it: the id of the device, after a prefix."""
        fcm = notify_pb2.FcmToken(token=prefix + device.device_id)
        await device.call(notify_pb2.RegisterPushTokenRequest(fcm=fcm, **request))
        self.heard.append(device)
        return fcm.token

    async def move_to_background(self, device: RawDevice) -> None:
        """Let a connected device say that it is in the background, and wait until its home knows it."""
        background = chat_pb2.HeartbeatRequest(activity=chat_pb2.ACTIVITY_BACKGROUND)
        await device.stream.send_frame(heartbeat=background)
        request = directory_pb2.DescribeForegroundRequest(user_id=device.user_id)

        async def is_in_background() -> bool:
            return device.device_id not in (await Directory(self._world).call(request)).device_ids

        await eventually(is_in_background)

    async def queue(self, entries: Sequence[entry_pb2.Entry], *users: RawDevice) -> None:
        """Queue entries of one conversation for users, as their home does."""
        queued = internal_pb2.QueuedEntries(
            conversation_id=entries[0].conversation_id, entries=entries, user_ids=[each.user_id for each in users]
        )
        await self.add(internal_pb2.QueuedPush(entries=queued))

    async def queue_sent(self, sender: RawDevice, conversation_id: str, seq: int, *users: RawDevice) -> None:
        """Queue an entry that a connected device of its sender has."""
        await eventually(lambda: seq in sender.logs[conversation_id])
        await self.queue([sender.logs[conversation_id][seq]], *users)

    async def queue_read(self, user: RawDevice, conversation_id: str, seq: int) -> None:
        """Queue the read watermark of a user, as the home does."""
        read = internal_pb2.QueuedRead(user_id=user.user_id, conversation_id=conversation_id, read_seq=seq)
        await self.add(internal_pb2.QueuedPush(read=read))

    async def add(self, push: internal_pb2.QueuedPush) -> None:
        """Add an event to the queue."""
        push.queue_time.FromMilliseconds(time.time_ns() // 1_000_000)
        await self.add_fields({"event": push.SerializeToString()})

    async def add_fields(self, fields: dict[str, bytes | str]) -> None:
        """Add an entry with these fields to the queue, whatever they are."""
        await self._redis.xadd(QUEUE, fields)

    async def flush(self) -> None:
        """Remove all data of Redis."""
        await self._redis.flushall()

    async def wait_queued(self, recipients: int) -> None:
        """Wait until messages for so many users are in the queue, a user once for each message."""

        async def are_queued() -> bool:
            events = [
                internal_pb2.QueuedPush.FromString(fields[b"event"]) for _, fields in await self._redis.xrange(QUEUE)
            ]
            messages = [
                (entry.conversation_id, entry.seq, user_id)
                for event in events
                for entry in event.entries.entries
                for user_id in event.entries.user_ids
                if entry.HasField("message_appended")
            ]
            return len(set(messages)) >= recipients

        await eventually(are_queued, 20.0)

    async def wait_taken(self) -> None:
        """Wait until a server has taken an event, and not acknowledged it."""

        async def is_taken() -> bool:
            return bool((await self._redis.xpending(QUEUE, GROUP))["pending"])

        await eventually(is_taken)

    async def wait_drained(self, timeout: float = 20.0) -> None:
        """Wait until no event waits, and no push is to be sent again."""

        async def drained() -> bool:
            waiting = await self._redis.xlen(QUEUE) + await self._redis.zcard(f"{{{QUEUE}}}:retry")
            return bool(waiting == 0)

        await eventually(drained, timeout)

    def recorded(self, *devices: RawDevice) -> list[Recorded]:
        """Return what was sent to devices with a token of `register`, in order."""
        return self.recorded_for(*(each.device_id for each in devices))

    def recorded_for(self, *tokens: str) -> list[Recorded]:
        """Return what was sent to tokens, in order."""
        path = self._world.stack.layout.recorded_pushes
        # Names of users may have characters at which `str.splitlines` splits, and the last line may be incomplete.
        lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["token"] in tokens]

    def kinds(self, *devices: RawDevice) -> list[tuple[str, int]]:
        """Return kind and seq of what was sent to devices."""
        return [(each["kind"], each["seq"]) for each in self.recorded(*devices)]

    async def outcomes(self, device: RawDevice) -> list[str]:
        """Return the outcomes of the last decisions of notify about the user of a device, the newest first."""
        response = await device.call(notify_pb2.ListPushDecisionsRequest())
        return [
            notify_pb2.PushOutcome.Name(each.outcome).removeprefix("PUSH_OUTCOME_").lower()
            for each in response.decisions
            if each.outcome != notify_pb2.PUSH_OUTCOME_IN_FOREGROUND
        ]

    async def unpushed(self, device: RawDevice) -> list[tuple[str, int, str]]:
        """Return what was not pushed because a device was in the foreground: the conversation, the seq, the device."""
        response = await device.call(notify_pb2.ListPushDecisionsRequest())
        return [
            (each.conversation_id, each.seq, each.device_id)
            for each in response.decisions
            if each.outcome == notify_pb2.PUSH_OUTCOME_IN_FOREGROUND
        ]

    @property
    def servers(self) -> list[ServiceReplica]:
        """Return the notify servers."""
        return self._world.stack.replicas("notify")

    async def call_admin(self, request: Message) -> Any:
        """Return the response of the first notify server to a request of an operator. Raises AioRpcError."""
        method = ADMIN[request.DESCRIPTOR.full_name]
        unary: Any = self._world.channel(self.servers[0].internal_address).unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = credential_of(self._world.stack)
        return await unary(request.SerializeToString(), metadata=metadata, timeout=PATIENCE)
