"""Open streams are bounded per device, and end when their token expires or their server drains."""

import asyncio

import pytest

from servicekit.auth import Claims
from servicekit.clock import SystemClock
from servicekit.errors import RateLimited, ServerDraining, Unauthenticated
from servicekit.open_streams import EXPIRY_GRACE_S, MAX_DEVICE_STREAMS, OpenStreams
from tests.eventually import run_ready

CLOCK = SystemClock()


@pytest.fixture
def streams() -> OpenStreams:
    return OpenStreams(CLOCK)


def claims(device_id: str = "b" * 32, seconds: float = 600.0) -> Claims:
    """Return the claims of a token that expires in some seconds."""
    return Claims("a" * 32, device_id, CLOCK.now_ms() / 1000 + seconds)


async def stream(streams: OpenStreams, caller: Claims | None = None) -> None:
    """Stream until the stream is ended."""
    async with streams.track_stream(caller):
        await asyncio.Event().wait()


async def test_open_streams_end_within_the_time_of_the_drain(streams: OpenStreams) -> None:
    tasks = [asyncio.create_task(stream(streams)) for _ in range(20)]
    await run_ready()
    streams.drain(0.05)
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(failure) for failure in failures} == {ServerDraining}
    delays = {failure.retry_after for failure in failures if isinstance(failure, ServerDraining)}
    assert len(delays) > 1


async def test_new_stream_of_a_draining_server_is_refused(streams: OpenStreams) -> None:
    streams.drain(60)
    with pytest.raises(ServerDraining):
        await stream(streams)


async def test_stream_ends_some_time_after_its_token(streams: OpenStreams) -> None:
    with pytest.raises(Unauthenticated) as ended:
        await stream(streams, claims(seconds=0.05 - EXPIRY_GRACE_S))
    assert ended.value.reason == "TOKEN_EXPIRED"


async def test_streams_of_a_device_are_bounded(streams: OpenStreams) -> None:
    tasks = [asyncio.create_task(stream(streams, claims())) for _ in range(MAX_DEVICE_STREAMS)]
    await run_ready()
    with pytest.raises(RateLimited):
        await stream(streams, claims())
    other = asyncio.create_task(stream(streams, claims("c" * 32)))
    tasks.pop().cancel()
    await run_ready()
    tasks += [other, asyncio.create_task(stream(streams, claims()))]
    await run_ready()
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()


async def test_timeout_of_the_servicer_itself_is_raised(streams: OpenStreams) -> None:
    with pytest.raises(TimeoutError):
        async with streams.track_stream(None):
            raise TimeoutError


async def test_ended_stream_is_not_ended_again(streams: OpenStreams) -> None:
    async with streams.track_stream(None):
        pass
    streams.drain(0)
    await run_ready()


async def test_drain_does_not_extend_a_stream_beyond_its_token(streams: OpenStreams) -> None:
    task = asyncio.create_task(stream(streams, claims(seconds=0.05 - EXPIRY_GRACE_S)))
    await run_ready()
    streams.drain(1e6)
    with pytest.raises(ServerDraining):
        await asyncio.wait_for(task, 5)


async def test_stream_that_is_ending_does_not_disturb_the_drain(streams: OpenStreams) -> None:
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def end_slowly() -> None:
        async with streams.track_stream(claims(seconds=-EXPIRY_GRACE_S)):
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await may_end.wait()

    slow, other = asyncio.create_task(end_slowly()), asyncio.create_task(stream(streams))
    await ending.wait()
    streams.drain(0)
    with pytest.raises(ServerDraining):
        await other
    may_end.set()
    with pytest.raises(ServerDraining):
        await slow
