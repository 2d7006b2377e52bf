"""A watch of presence yields each change once, over lost, drained, silent and refused streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from google.protobuf.duration_pb2 import Duration

from parley.presence.v1.presence_pb2 import PRESENCE_STATE_BACKGROUND, PRESENCE_STATE_OFFLINE, PRESENCE_STATE_ONLINE
from parley_client import NotServed, ParleyError, PresenceState, Superseded, TryLater, UserPresence
from servicekit.failure import Failure
from tests.unit.client.presence_server import Frame, PlayedWatch, PresenceServer, presence_server

TIMEOUT_S = 10.0
UNAVAILABLE = Failure("down", code="UNAVAILABLE", reason="STORE_UNAVAILABLE", retry_after=0.0)
DRAINING = Failure("leaving", code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=0.0)
EXPIRED = Failure("expired", code="UNAUTHENTICATED", reason="TOKEN_EXPIRED")
SUPERSEDED = Failure("replaced", code="ABORTED", reason="SESSION_SUPERSEDED")
NOT_SERVED = Failure("none here", code="UNIMPLEMENTED", reason="NOT_YET_SERVED")


@dataclass(slots=True)
class Watch:
    """A watch of bob (b) and carol (c), and what it reported of its connection: "lost" or "back"."""

    server: PresenceServer
    presences: AsyncGenerator[UserPresence, None]
    connection: list[str] = field(default_factory=list)

    async def stream(self) -> PlayedWatch:
        """Return the next stream that is opened, while the watch is read."""
        return await asyncio.wait_for(self.server.opened.get(), TIMEOUT_S)

    async def next(self) -> str:
        """Return the next presence, such as "b ONLINE"."""
        presence = await asyncio.wait_for(anext(self.presences), TIMEOUT_S)
        return f"{presence.user_id[0]} {presence.state.name}"

    def note(self, error: ParleyError | None) -> None:
        self.connection.append("back" if error is None else "lost")

    async def begin(self, interval_s: float = 15.0) -> PlayedWatch:
        """Open the first stream, on which bob is online and carol offline; return it."""
        first = asyncio.ensure_future(self.next())
        stream = await self.stream()
        stream.send_snapshot(interval_s, b=PRESENCE_STATE_ONLINE, c=PRESENCE_STATE_OFFLINE)
        assert [await first, await self.next()] == ["b ONLINE", "c OFFLINE"]
        return stream


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    async with presence_server() as server:
        watch: Watch
        presences = server.client.presence.watch(["b" * 32, "c" * 32], on_connection_change=lambda e: watch.note(e))
        watch = Watch(server, presences)
        try:
            yield watch
        finally:
            await presences.aclose()


async def test_watch_yields_every_user_then_changes(watch: Watch) -> None:
    stream = await watch.begin()
    assert list(stream.request.user_ids) == ["b" * 32, "c" * 32]
    stream.frames.put_nowait(Frame(heartbeat=Frame.Heartbeat()))
    stream.send_changes(b=PRESENCE_STATE_BACKGROUND)
    assert await watch.next() == "b BACKGROUND"
    stream.send_snapshot(b=PRESENCE_STATE_BACKGROUND, c=PRESENCE_STATE_ONLINE)
    assert await watch.next() == "c ONLINE", "what is known is not repeated"
    assert watch.connection == []


@pytest.mark.parametrize("end", [UNAVAILABLE, None, Failure("bug", code="INTERNAL", reason="INTERNAL")])
async def test_lost_watch_is_reopened_and_yields_what_changed(watch: Watch, end: Failure | None) -> None:
    (await watch.begin()).frames.put_nowait(end)
    following = asyncio.ensure_future(watch.next())
    stream = await watch.stream()
    assert watch.connection == ["lost"]
    watch.server.refusals = [UNAVAILABLE]
    stream.frames.put_nowait(UNAVAILABLE)
    again = await watch.stream()
    again.send_snapshot(b=PRESENCE_STATE_OFFLINE, c=PRESENCE_STATE_OFFLINE)
    assert await following == "b OFFLINE"
    assert watch.connection == ["lost", "back"], "an attempt that fails is part of the same loss"


async def test_drained_watch_moves_without_a_report(watch: Watch) -> None:
    stream = await watch.begin()
    stream.frames.put_nowait(Frame(drain=Frame.Drain(delay=Duration(nanos=1_000_000))))
    following = asyncio.ensure_future(watch.next())
    moved = await watch.stream()
    await asyncio.wait_for(stream.ended.wait(), TIMEOUT_S)
    moved.frames.put_nowait(DRAINING)
    (await watch.stream()).send_snapshot(b=PRESENCE_STATE_ONLINE, c=PRESENCE_STATE_ONLINE)
    assert await following == "c ONLINE"
    assert watch.connection == []


async def test_silent_watch_is_reopened(watch: Watch) -> None:
    await watch.begin(interval_s=0.1)
    following = asyncio.ensure_future(watch.next())
    (await watch.stream()).send_snapshot(b=PRESENCE_STATE_BACKGROUND, c=PRESENCE_STATE_OFFLINE)
    assert await following == "b BACKGROUND"
    assert watch.connection == ["lost", "back"]


async def test_watch_whose_token_expired_goes_on_with_the_next_one(watch: Watch) -> None:
    stream = await watch.begin()
    session = watch.server.store.load()
    assert session is not None
    watch.server.store.save(replace(session, access_token="newer"))
    stream.frames.put_nowait(EXPIRED)
    following = asyncio.ensure_future(watch.next())
    again = await watch.stream()
    assert (stream.authorization, again.authorization) == ("Bearer token", "Bearer newer")
    again.send_snapshot(b=PRESENCE_STATE_ONLINE, c=PRESENCE_STATE_ONLINE)
    assert await following == "c ONLINE"
    assert watch.connection == []


async def test_superseded_watch_ends(watch: Watch) -> None:
    (await watch.begin()).frames.put_nowait(SUPERSEDED)
    with pytest.raises(Superseded):
        await watch.next()


async def test_first_stream_is_retried_like_a_call(watch: Watch) -> None:
    watch.server.refusals = [UNAVAILABLE, UNAVAILABLE]
    await watch.begin()
    assert watch.connection == []


async def test_refused_request_is_raised(watch: Watch) -> None:
    watch.server.refusals = [NOT_SERVED]
    with pytest.raises(NotServed):
        await watch.next()


async def test_outage_at_the_beginning_is_raised_after_the_timeout() -> None:
    async with presence_server(retry_timeout_s=0.0) as server:
        server.refusals = [UNAVAILABLE]
        presences = server.client.presence.watch(["b" * 32])
        with pytest.raises(TryLater):
            await anext(presences)


async def test_closed_watch_ends_its_call(watch: Watch) -> None:
    stream = await watch.begin()
    await watch.presences.aclose()
    await asyncio.wait_for(stream.ended.wait(), TIMEOUT_S)


async def test_presence_of_many_users_is_asked_for_in_pages() -> None:
    async with presence_server() as server:
        assert await server.client.presence.get([]) == {}
        user_ids = [f"{n:032x}" for n in range(1001)]
        found = await server.client.presence.get([*user_ids, user_ids[0]])
    assert list(found) == user_ids
    assert {each.state for each in found.values()} == {PresenceState.OFFLINE}
    assert server.page_sizes == [1000, 1]
