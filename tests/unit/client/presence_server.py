"""Scaffolding of the tests of presence watches: a PresenceService in this process, whose streams the test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from parley.presence.v1 import presence_pb2, presence_pb2_grpc
from parley_client import Client, Door, MemoryStore, Session
from servicekit.failure import Failure
from servicekit.status import to_grpc

Frame = presence_pb2.WatchPresenceResponse


class PlayedWatch:
    """A stream of a watch: the test puts its frames, and at last a Failure, or None for an end without one."""

    def __init__(self, request: presence_pb2.WatchPresenceRequest, authorization: str) -> None:
        self.request = request
        self.authorization = authorization
        self.frames: asyncio.Queue[Frame | Failure | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    def send_snapshot(self, interval_s: float = 15.0, **states: presence_pb2.PresenceState.ValueType) -> None:
        """Send the snapshot; the users are named by their first letter."""
        snapshot = Frame.Snapshot(presences=_presences(states))
        snapshot.heartbeat_interval.FromMilliseconds(round(interval_s * 1000))
        self.frames.put_nowait(Frame(snapshot=snapshot))

    def send_changes(self, **states: presence_pb2.PresenceState.ValueType) -> None:
        """Send changes."""
        self.frames.put_nowait(Frame(changes=Frame.Changes(presences=_presences(states))))


class PresenceServer(presence_pb2_grpc.PresenceServiceServicer):
    """The servicer, and the client of it; `refusals` are the failures of the next streams, before any frame."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[PlayedWatch] = asyncio.Queue()
        self.refusals: list[Failure] = []
        self.page_sizes: list[int] = []
        self.store = MemoryStore()
        self.client: Client

    async def GetPresence(
        self, request: presence_pb2.GetPresenceRequest, context: Any
    ) -> presence_pb2.GetPresenceResponse:
        del context
        self.page_sizes.append(len(request.user_ids))
        offline = presence_pb2.PRESENCE_STATE_OFFLINE
        presences = [presence_pb2.Presence(user_id=each, state=offline) for each in request.user_ids]
        return presence_pb2.GetPresenceResponse(presences=presences)

    async def WatchPresence(self, request: presence_pb2.WatchPresenceRequest, context: Any) -> AsyncIterator[Frame]:
        if self.refusals:
            await context.abort_with_status(to_grpc(self.refusals.pop(0)))
        watch = PlayedWatch(request, str(dict(context.invocation_metadata())["authorization"]))
        self.opened.put_nowait(watch)
        try:
            while (frame := await watch.frames.get()) is not None:
                if isinstance(frame, Failure):
                    await context.abort_with_status(to_grpc(frame))
                else:
                    yield frame
        finally:
            watch.ended.set()


@asynccontextmanager
async def presence_server(retry_timeout_s: float = 5.0) -> AsyncIterator[PresenceServer]:
    """Run the server, with a client that is signed in."""
    server = PresenceServer()  # type: ignore[abstract]  # the settings have no part in a watch
    rpc = grpc.aio.server()
    presence_pb2_grpc.add_PresenceServiceServicer_to_server(server, rpc)
    door = f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
    server.store.save(Session("a" * 32, "b" * 32, "alice", "token", time.time() + 3600, "", door=Door(door)))
    await rpc.start()
    try:
        async with Client(door, store=server.store, retry_timeout_s=retry_timeout_s) as server.client:
            yield server
    finally:
        await rpc.stop(None)


def _presences(states: dict[str, presence_pb2.PresenceState.ValueType]) -> list[presence_pb2.Presence]:
    return [presence_pb2.Presence(user_id=name * 32, state=state) for name, state in states.items()]
