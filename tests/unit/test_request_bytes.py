"""The size limit of requests: a larger one is refused before parsing; stream frames are exempt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest

from parley.media.v1 import media_pb2
from servicekit.rpc import MAX_REQUEST_BYTES, ByteStream, Call, service_handler
from servicekit.server import Server
from tests.raw.refusal import Refusal, of_error
from tests.servicers import PartialServicer

SERVICE = media_pb2.DESCRIPTOR.services_by_name["MediaService"]
# An unknown field of bytes with a three-byte length: only the size of the request can be invalid.
KNOWN = media_pb2.GetMediaRequest(media_id="a" * 32).SerializeToString()
UNKNOWN_TAG = b"\x82\x7d"


class MediaServicer(PartialServicer):
    """A servicer that accepts every request."""

    async def GetMedia(self, request: media_pb2.GetMediaRequest, call: Call) -> bytes:
        return request.media_id.encode()

    async def Download(self, request: media_pb2.DownloadRequest, call: Call) -> AsyncIterator[bytes]:
        yield request.media_id.encode()

    async def Upload(self, stream: ByteStream, call: Call) -> bytes:
        sizes = []
        while (frame := await stream.read()) is not None:
            sizes.append(len(frame))
        return str(sizes).encode()


def padded(size: int) -> bytes:
    """Return a valid request of `size` bytes."""
    length = size - len(KNOWN) - len(UNKNOWN_TAG) - 3
    return KNOWN + UNKNOWN_TAG + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + bytes(length)


build_handler = partial(
    service_handler,
    SERVICE,
    MediaServicer(),
    authenticate=lambda _: None,
)


@asynccontextmanager
async def channel_to(handler: grpc.GenericRpcHandler) -> AsyncIterator[grpc.aio.Channel]:
    server = Server("127.0.0.1:0", [handler], [SERVICE.full_name])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        yield channel
    await server.stop(grace=0)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(build_handler()) as channel:
        yield channel


@pytest.fixture
async def limited_channel() -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(build_handler(request_bytes=100)) as channel:
        yield channel


async def call_method(channel: grpc.aio.Channel, method: str, request: bytes) -> bytes:
    path = f"/{SERVICE.full_name}/{method}"
    if method == "Download":
        stream: Any = channel.unary_stream(path)
        return b"".join([part async for part in stream(request)])
    call: Any = channel.unary_unary(path)
    return bytes(await call(request))


async def call_refused(channel: grpc.aio.Channel, method: str, request: bytes) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call_method(channel, method, request)
    return of_error(refused.value)


@pytest.mark.parametrize("method", ["GetMedia", "Download"])
async def test_request_over_size_limit_is_refused(channel: grpc.aio.Channel, method: str) -> None:
    assert MAX_REQUEST_BYTES == 256 * 1024
    assert await call_method(channel, method, padded(MAX_REQUEST_BYTES)) == b"a" * 32
    failure = await call_refused(channel, method, padded(MAX_REQUEST_BYTES + 1))
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "FRAME_TOO_LARGE")
    assert "262144" in failure.message


@pytest.mark.parametrize("method", ["GetMedia", "Download"])
async def test_oversized_request_is_refused_before_parsing(channel: grpc.aio.Channel, method: str) -> None:
    assert (await call_refused(channel, method, b"\xff" * MAX_REQUEST_BYTES)).reason == "FRAME_UNPARSABLE"
    assert (await call_refused(channel, method, b"\xff" * (MAX_REQUEST_BYTES + 1))).reason == "FRAME_TOO_LARGE"


async def test_service_can_set_its_own_size_limit(limited_channel: grpc.aio.Channel) -> None:
    assert await call_method(limited_channel, "GetMedia", KNOWN) == b"a" * 32
    assert (await call_refused(limited_channel, "GetMedia", bytes(101))).reason == "FRAME_TOO_LARGE"


async def test_client_stream_frames_are_not_limited(channel: grpc.aio.Channel) -> None:
    upload: Any = channel.stream_unary(f"/{SERVICE.full_name}/Upload")
    call = upload()
    await call.write(bytes(MAX_REQUEST_BYTES + 1))
    await call.done_writing()
    assert await call == str([MAX_REQUEST_BYTES + 1]).encode()
