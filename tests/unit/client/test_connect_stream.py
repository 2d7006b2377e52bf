"""A stream knows when a heartbeat is due, and when the server does not respond any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from parley.chat.v1 import chat_pb2, chat_pb2_grpc
from parley.chat.v1.chat_pb2 import ACTIVITY_BACKGROUND, ACTIVITY_FOREGROUND
from parley_client import Door
from parley_client.channel import Channel
from parley_client.connect_stream import ConnectStream
from tests.eventually import eventually

HEARTBEAT = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest())
# Some of them fill every buffer between the client and a server that does not read.
LARGE = chat_pb2.ConnectRequest(reauthenticate=chat_pb2.ReauthenticateRequest(access_token="x" * 200_000))


class DeafServer(chat_pb2_grpc.ChatServiceServicer):
    """A chat server that answers the hello with `welcome`, then neither reads nor writes."""

    def __init__(self, welcome: chat_pb2.Welcome) -> None:
        self._welcome = welcome

    async def Connect(self, requests: Any, context: Any) -> AsyncIterator[chat_pb2.ConnectResponse]:
        del context
        await anext(aiter(requests))
        yield chat_pb2.ConnectResponse(welcome=self._welcome)
        await asyncio.Event().wait()


@asynccontextmanager
async def stream_to_deaf_server(welcome: chat_pb2.Welcome) -> AsyncIterator[ConnectStream]:
    """Yield an open stream that is being read."""
    rpc = grpc.aio.server()
    chat_pb2_grpc.add_ChatServiceServicer_to_server(DeafServer(welcome), rpc)  # type: ignore[abstract]
    channel = Channel(Door(f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"))
    await rpc.start()
    stream = await ConnectStream.open(channel, "token", "", chat_pb2.Hello())
    reading = asyncio.create_task(stream.read())
    try:
        yield stream
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await channel.close()
        await rpc.stop(None)


def welcome(foreground_ms: int, background_ms: int) -> chat_pb2.Welcome:
    told = chat_pb2.Welcome()
    told.heartbeat_interval.FromMilliseconds(foreground_ms)
    told.background_heartbeat_interval.FromMilliseconds(background_ms)
    return told


async def test_intervals_that_the_welcome_does_not_tell_have_defaults() -> None:
    async with stream_to_deaf_server(chat_pb2.Welcome()) as stream:
        assert stream.heartbeat_interval_s(ACTIVITY_FOREGROUND) == 5.0
        assert stream.heartbeat_interval_s(ACTIVITY_BACKGROUND) == 60.0


async def test_unanswered_heartbeat_makes_stream_dead_in_the_background_too() -> None:
    async with stream_to_deaf_server(welcome(100, 60_000)) as stream:
        await eventually(lambda: stream.time_until_heartbeat(ACTIVITY_FOREGROUND) < -0.1)
        assert 0.0 < stream.time_until_heartbeat(ACTIVITY_BACKGROUND) < 60.0
        assert not stream.is_dead(), "the server was not asked for anything"
        await stream.write(HEARTBEAT)
        assert stream.time_until_heartbeat(ACTIVITY_FOREGROUND) > 0.0
        await eventually(stream.is_dead)


async def test_server_that_holds_up_writes_makes_stream_dead() -> None:
    async def write_much(stream: ConnectStream) -> None:
        while await stream.write(LARGE):
            pass

    async with stream_to_deaf_server(welcome(100, 60_000)) as stream:
        writing = asyncio.create_task(write_much(stream))
        await eventually(stream.is_dead)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
