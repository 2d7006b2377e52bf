"""Streams end with ServerDraining when their server drains."""

import asyncio

import pytest

from servicekit.drain import StreamDrain
from servicekit.errors import ServerDraining
from tests.eventually import run_ready


async def stream_until_drained(streams: StreamDrain) -> None:
    async with streams.track_stream():
        await asyncio.Event().wait()


async def test_open_streams_end_within_the_time() -> None:
    streams = StreamDrain()
    tasks = [asyncio.create_task(stream_until_drained(streams)) for _ in range(20)]
    await run_ready()
    streams.begin(0.05)
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(failure) for failure in failures} == {ServerDraining}
    delays = {failure.retry_after for failure in failures if isinstance(failure, ServerDraining)}
    assert len(delays) > 1


async def test_new_stream_of_a_draining_server_is_refused() -> None:
    streams = StreamDrain()
    streams.begin(60)
    with pytest.raises(ServerDraining):
        await stream_until_drained(streams)


async def test_timeout_of_the_servicer_itself_is_no_drain() -> None:
    with pytest.raises(TimeoutError):
        async with StreamDrain().track_stream():
            raise TimeoutError


async def test_ended_stream_is_not_drained() -> None:
    streams = StreamDrain()
    async with streams.track_stream():
        pass
    streams.begin(0)
    await run_ready()
