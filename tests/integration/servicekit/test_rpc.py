"""A service built by servicekit, called over a real connection: requests, streams and failures."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from bench.load.http2_stream import (
    DATA,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    SETTINGS,
    STREAM,
    connection_preface,
    encode_frame,
)
from parley.chat.v1 import chat_pb2
from parley.media.v1 import media_pb2
from servicekit.auth import Claims, TokenSigner, TokenVerifier, generate_signing_key, jwks_of
from servicekit.failure import Failure
from servicekit.rpc import ByteStream, Call, service_handler
from servicekit.server import Server
from tests.eventually import eventually
from tests.raw.refusal import Refusal, of_error
from tests.servicers import PartialServicer

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = generate_signing_key()
USER, DEVICE = "a" * 32, "b" * 32
SIGNER = TokenSigner(KEY, issuer="parley", audience="parley")
VERIFIER = TokenVerifier(jwks_of(KEY), issuer="parley", audience="parley")
CHAT = chat_pb2.DESCRIPTOR.services_by_name["ChatService"]
MEDIA = media_pb2.DESCRIPTOR.services_by_name["MediaService"]
CONVERSATION = "c" * 32
LIST_READERS = chat_pb2.ListReadersRequest(conversation_id=CONVERSATION, seq=1).SerializeToString()

MetadataPairs = tuple[tuple[str, str | bytes], ...]


def authenticated() -> tuple[tuple[str, str], ...]:
    """Return the metadata of a new token: one made at import would expire in a long run of all tests."""
    token, _ = SIGNER.sign(USER, DEVICE)
    return (("authorization", f"Bearer {token}"),)


class ChatServicer(PartialServicer):
    """A servicer whose methods give distinguishable responses."""

    def __init__(self) -> None:
        self.callers: list[Claims] = []
        self.ended = 0

    async def Locate(self, request: chat_pb2.LocateRequest, call: Call) -> chat_pb2.LocateResponse:
        return chat_pb2.LocateResponse(home=call.metadata.get("x-chat-server", "nowhere"))

    async def Heartbeat(self, request: chat_pb2.HeartbeatRequest, call: Call) -> bytes:
        self.callers.append(call.caller)
        return b""

    async def ListReaders(self, request: chat_pb2.ListReadersRequest, call: Call) -> bytes:
        return bytes(100_000)

    async def SetTyping(self, request: chat_pb2.SetTypingRequest, call: Call) -> bytes:
        if request.typing:
            raise ZeroDivisionError("a secret of ours")
        raise Failure("conversation not found", code="NOT_FOUND", reason="CONVERSATION_NOT_FOUND")

    async def Subscribe(self, request: chat_pb2.SubscribeRequest, call: Call) -> AsyncIterator[Message | bytes]:
        yield chat_pb2.SubscribeResponse(welcome=chat_pb2.Welcome(home="here"))
        yield b"as it is"
        raise Failure(code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=0.5)

    async def Connect(self, stream: ByteStream, call: Call) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(echo(stream))
        finally:
            self.ended += 1


async def echo(stream: ByteStream) -> None:
    while (frame := await stream.read()) is not None:
        if frame == b"bad":
            raise Failure(code="INVALID_ARGUMENT", reason="FRAME_EMPTY")
        while frame == b"flood":
            await stream.write(bytes(16_384))
        await stream.write(frame + b"!")
    await stream.write(b"bye")


class MediaServicer(PartialServicer):
    async def Upload(self, stream: ByteStream, call: Call) -> media_pb2.UploadResponse:
        size = 0
        while (frame := await stream.read()) is not None:
            size += len(frame)
        return media_pb2.UploadResponse(media=media_pb2.Media(size_bytes=size))


def handler_of(descriptor: ServiceDescriptor, servicer: object, *open_methods: str) -> grpc.GenericRpcHandler:
    return service_handler(descriptor, servicer, authenticate=VERIFIER.authenticate, open_methods=open_methods)


@pytest.fixture(scope="module")
def chat() -> ChatServicer:
    return ChatServicer()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grpc_server(chat: ChatServicer) -> AsyncIterator[int]:
    handlers = [handler_of(CHAT, chat, "Locate"), handler_of(MEDIA, MediaServicer())]
    server = Server("127.0.0.1:0", handlers, [CHAT.full_name, MEDIA.full_name])
    yield await server.start()
    await server.stop(grace=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grpc_channel(grpc_server: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_server}") as channel:
        yield channel


async def unary(
    channel: grpc.aio.Channel, method: str, request: bytes = b"", metadata: MetadataPairs | None = None
) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{CHAT.full_name}/{method}")
    return await call(request, metadata=authenticated() if metadata is None else metadata)


def subscribe(channel: grpc.aio.Channel, request: bytes) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{CHAT.full_name}/Subscribe")
    return call(request, metadata=authenticated())


async def refusal(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return of_error(refused.value)


def connect(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    return channel.stream_stream("/parley.chat.v1.ChatService/Connect")(metadata=authenticated())


def finished_calls(method: str, code: str) -> float:
    labels = {"service": CHAT.full_name, "method": method, "code": code}
    return REGISTRY.get_sample_value("parley_rpc_finished_total", labels) or 0.0


async def test_open_method_needs_no_token_and_receives_metadata(grpc_channel: grpc.aio.Channel) -> None:
    answer = await unary(grpc_channel, "Locate", metadata=(("x-chat-server", "chat-2"), ("x-bin", b"\x00")))
    assert chat_pb2.LocateResponse.FromString(answer).home == "chat-2"


async def test_method_receives_caller_claims(grpc_channel: grpc.aio.Channel, chat: ChatServicer) -> None:
    assert await unary(grpc_channel, "Heartbeat") == b""
    assert (chat.callers[-1].user_id, chat.callers[-1].device_id) == (USER, DEVICE)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [((), "TOKEN_MISSING"), ((("authorization", "Bearer x.y.z"),), "TOKEN_INVALID")],
)
async def test_call_without_valid_token_is_refused(
    grpc_channel: grpc.aio.Channel, metadata: MetadataPairs, reason: str
) -> None:
    for method in ("Heartbeat", "ListMessages"):
        failure = await refusal(unary(grpc_channel, method, metadata=metadata))
        assert (failure.code, failure.reason) == ("UNAUTHENTICATED", reason)


async def test_failure_carries_its_reason(grpc_channel: grpc.aio.Channel) -> None:
    request = chat_pb2.SetTypingRequest(conversation_id=CONVERSATION)
    failure = await refusal(unary(grpc_channel, "SetTyping", request.SerializeToString()))
    assert (failure.code, failure.reason) == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")
    assert failure.message == "conversation not found"


async def test_unparsable_request_is_invalid_argument(grpc_channel: grpc.aio.Channel) -> None:
    failure = await refusal(unary(grpc_channel, "SetTyping", b"\xff\xff\xff"))
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "FRAME_UNPARSABLE")


async def test_field_out_of_bounds_is_named(grpc_channel: grpc.aio.Channel) -> None:
    request = chat_pb2.SetTypingRequest(conversation_id="not an id")
    failure = await refusal(unary(grpc_channel, "SetTyping", request.SerializeToString()))
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert failure.fields == ("conversation_id",)


@pytest.mark.parametrize("path", [f"/{CHAT.full_name}/Fly", "/unknown.v1.Service/Method", "/"])
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_stream"])
async def test_unknown_method_is_refused_with_the_reason(grpc_channel: grpc.aio.Channel, path: str, kind: str) -> None:
    make: Any = getattr(grpc_channel, kind)(path)
    call = make() if kind == "stream_stream" else make(b"")
    failure = await refusal(call if kind == "unary_unary" else call.read())
    assert (failure.code, failure.reason) == ("UNIMPLEMENTED", "NOT_YET_SERVED")


async def test_long_headers_reach_the_servicer(grpc_channel: grpc.aio.Channel) -> None:
    # Envoy passes headers of up to 16 KiB and adds some of its own.
    answer = await unary(grpc_channel, "Locate", metadata=(("x-chat-server", "x" * 20_000),))
    assert len(chat_pb2.LocateResponse.FromString(answer).home) == 20_000


async def test_client_that_leaves_while_its_response_waits_is_not_an_error(
    grpc_server: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, headers = f"/{CHAT.full_name}/ListReaders", dict(authenticated())
    _, writer = await asyncio.open_connection("127.0.0.1", grpc_server)
    # The client lets the server send no byte of the response.
    no_window = encode_frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
    request = encode_frame(DATA, END_STREAM, STREAM, struct.pack(">BI", 0, len(LIST_READERS)) + LIST_READERS)
    before = finished_calls("ListReaders", "OK")
    with capture_logs() as logged:
        writer.write(connection_preface(path, "server", headers) + no_window + request)
        await eventually(lambda: finished_calls("ListReaders", "OK") == before + 1)
        writer.transport.abort()
        await eventually(lambda: [line for line in logged if path in line.get("call", "")])
    assert {line["log_level"] for line in logged} == {"debug"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_internal_error_is_logged_and_hidden_from_caller(
    grpc_channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    request = chat_pb2.SetTypingRequest(conversation_id=CONVERSATION, typing=True)
    failure = await refusal(unary(grpc_channel, "SetTyping", request.SerializeToString()))
    assert (failure.code, failure.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in failure.message
    logged = capsys.readouterr().out
    assert "ZeroDivisionError: a secret of ours" in logged
    assert "/parley.chat.v1.ChatService/SetTyping" in logged


async def test_server_stream_ends_with_its_failure(grpc_channel: grpc.aio.Channel) -> None:
    call = subscribe(grpc_channel, chat_pb2.SubscribeRequest(hello=chat_pb2.Hello()).SerializeToString())
    first = await call.read()
    assert isinstance(first, bytes)
    assert chat_pb2.SubscribeResponse.FromString(first).welcome.home == "here"
    assert await call.read() == b"as it is"
    failure = await refusal(call.read())
    assert (failure.code, failure.reason, failure.retry_after) == ("UNAVAILABLE", "SERVER_DRAINING", 0.5)


async def test_server_stream_validates_its_request(grpc_channel: grpc.aio.Channel) -> None:
    call = subscribe(grpc_channel, b"")
    assert (await refusal(call.read())).reason == "FIELD_INVALID"


async def test_bidirectional_stream_carries_bytes_and_survives_half_close(
    grpc_channel: grpc.aio.Channel,
) -> None:
    call = connect(grpc_channel)
    for frame in (b"\xff", b"", b"two"):
        await call.write(frame)
        assert await call.read() == frame + b"!"
    await call.done_writing()
    assert await call.read() == b"bye"
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK


async def test_failure_in_stream_task_is_the_stream_status(grpc_channel: grpc.aio.Channel) -> None:
    call = connect(grpc_channel)
    await call.write(b"bad")
    failure = await refusal(call.read())
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "FRAME_EMPTY")


@pytest.mark.parametrize("frame", [b"a word", b"flood"])
async def test_cancelled_client_is_not_an_error(
    grpc_channel: grpc.aio.Channel, chat: ChatServicer, caplog: pytest.LogCaptureFixture, frame: bytes
) -> None:
    before, errors, ended = finished_calls("Connect", "CANCELLED"), finished_calls("Connect", "INTERNAL"), chat.ended
    with capture_logs() as logged:
        call = connect(grpc_channel)
        await call.write(frame)
        await call.read()
        call.cancel()
        await eventually(lambda: finished_calls("Connect", "CANCELLED") == before + 1)
    assert chat.ended == ended + 1
    assert finished_calls("Connect", "INTERNAL") == errors
    assert not [line for line in logged if line["log_level"] not in {"debug", "info"}]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_oversized_frame_ends_only_its_stream(grpc_channel: grpc.aio.Channel) -> None:
    call, other = connect(grpc_channel), connect(grpc_channel)
    await call.write(bytes((1 << 20) + 1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await other.write(b"here")
    assert await other.read() == b"here!"
    other.cancel()


async def test_client_stream_returns_one_response(grpc_channel: grpc.aio.Channel) -> None:
    upload: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = grpc_channel.stream_unary(f"/{MEDIA.full_name}/Upload")
    call = upload(metadata=authenticated())
    for _ in range(3):
        await call.write(bytes(100))
    await call.done_writing()
    assert media_pb2.UploadResponse.FromString(await call).media.size_bytes == 300


async def test_calls_are_counted_by_code(grpc_channel: grpc.aio.Channel) -> None:
    good, bad = finished_calls("Heartbeat", "OK"), finished_calls("Heartbeat", "UNAUTHENTICATED")
    await unary(grpc_channel, "Heartbeat")
    await refusal(unary(grpc_channel, "Heartbeat", metadata=()))
    # A call is counted at its end, after its response.
    await eventually(
        lambda: (
            (finished_calls("Heartbeat", "OK"), finished_calls("Heartbeat", "UNAUTHENTICATED")) == (good + 1, bad + 1)
        )
    )
