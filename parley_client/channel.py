"""The gRPC channel of a client to the door, and the stubs of the services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio

from parley.chat.v1 import account_pb2_grpc, chat_pb2, chat_pb2_grpc, conversation_pb2_grpc
from parley.media.v1 import media_pb2_grpc
from parley.notify.v1 import notify_pb2_grpc
from parley.presence.v1 import presence_pb2_grpc
from parley_client.door import Door
from parley_client.errors import ServerFault, TimedOut, TryLater, from_rpc
from parley_client.trust import system_authorities

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = tuple[tuple[str, str], ...]
ChatStream = grpc.aio.StreamStreamCall[chat_pb2.ConnectRequest, chat_pb2.ConnectResponse]

# Part of gRPC's own message if a call ends during a write: the status of the server is lost then.
_LOST_STATUS = "Internal error from Core"

HOME_HEADER = "x-chat-server"
CALL_TIMEOUT_S = 10.0

# gRPC's default reconnect backoff grows to two minutes; the SDK waits by backoff.py instead.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 4 << 20),
    # Two clients of one program are two devices and must not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


class _Stubs:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.accounts = account_pb2_grpc.AccountServiceStub(channel)
        self.conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        self.chat = chat_pb2_grpc.ChatServiceStub(channel)
        self.media = media_pb2_grpc.MediaServiceStub(channel)
        self.presence = presence_pb2_grpc.PresenceServiceStub(channel)
        self.notify = notify_pb2_grpc.NotifyServiceStub(channel)


Method = Callable[["Channel"], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]
StreamMethod = Callable[["Channel"], grpc.aio.UnaryStreamMultiCallable[Request, Response]]
UploadMethod = Callable[["Channel"], grpc.aio.StreamUnaryMultiCallable[Request, Response]]


class Channel:
    """A gRPC channel to `door`, opened at first use."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._stubs: _Stubs | None = None

    @property
    def accounts(self) -> account_pb2_grpc.AccountServiceStub:
        """The stub of AccountService."""
        return self._open_stubs().accounts

    @property
    def conversations(self) -> conversation_pb2_grpc.ConversationServiceStub:
        """The stub of ConversationService."""
        return self._open_stubs().conversations

    @property
    def chat(self) -> chat_pb2_grpc.ChatServiceStub:
        """The stub of ChatService."""
        return self._open_stubs().chat

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        metadata: Metadata = (),
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Response:
        """Make one attempt at a call and return the response. Raises ParleyError."""
        return await self._response_of(method(self)(request, metadata=metadata, timeout=timeout_s))

    async def collect(
        self,
        method: StreamMethod[Request, Response],
        request: Request,
        metadata: Metadata = (),
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> list[Response]:
        """Make one attempt at a streaming call and return all its responses. Raises ParleyError."""
        return await self._response_of(_read_all(method(self)(request, metadata=metadata, timeout=timeout_s)))

    async def call_with_frames(
        self,
        method: UploadMethod[Request, Response],
        frames: AsyncIterator[Request],
        metadata: Metadata = (),
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Response:
        """Make one attempt at a call with a stream of frames. Raises ParleyError, and the errors of `frames`.

        The frames are written here: gRPC's own reader of an iterator would cancel the call if the server answers first.
        """
        call = method(self)(metadata=metadata, timeout=timeout_s)
        try:
            await _write_frames(call, frames)
        except BaseException:
            call.cancel()
            raise
        try:
            return await self._response_of(call)
        except ServerFault as error:
            if _LOST_STATUS not in error.message:
                raise
            raise TryLater("the call ended while it was being written", code="UNAVAILABLE") from error

    @staticmethod
    async def _response_of(call: Awaitable[Response]) -> Response:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            # gRPC also cancels a call when its channel closes; only a cancelled task may raise CancelledError.
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            raise TryLater("the channel was closed during the call", code="UNAVAILABLE") from None

    @property
    def media(self) -> media_pb2_grpc.MediaServiceStub:
        """The stub of MediaService."""
        return self._open_stubs().media

    @property
    def presence(self) -> presence_pb2_grpc.PresenceServiceStub:
        """The stub of PresenceService."""
        return self._open_stubs().presence

    @property
    def notify(self) -> notify_pb2_grpc.NotifyServiceStub:
        """The stub of NotifyService."""
        return self._open_stubs().notify

    def connect(self, metadata: Metadata) -> ChatStream:
        """Open a `Connect` stream."""
        return self.chat.Connect(metadata=metadata)

    async def reset(self) -> None:
        """Close the connection, because it does not respond; the next use opens another one."""
        stubs, self._stubs = self._stubs, None
        if stubs:
            await stubs.channel.close()

    close = reset

    def _open_stubs(self) -> _Stubs:
        if self._stubs is None:
            self._stubs = _Stubs(self._create_channel())
        return self._stubs

    def _create_channel(self) -> grpc.aio.Channel:
        address, tls = self.door.address, self.door.tls
        if tls is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        name_override = (("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ()
        credentials = grpc.ssl_channel_credentials(tls.root_certificates or system_authorities())
        return grpc.aio.secure_channel(address, credentials, options=(*_OPTIONS, *name_override))


async def _read_all(call: grpc.aio.UnaryStreamCall[Request, Response]) -> list[Response]:
    return [response async for response in call]


async def _write_frames(call: grpc.aio.StreamUnaryCall[Request, Response], frames: AsyncIterator[Request]) -> None:
    """Write the frames until the last one, or until the server has answered."""
    try:
        async for frame in frames:
            await call.write(frame)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the call is over, and has its status


def timed_out(operation: str, timeout_s: float) -> TimedOut:
    """Return the error for an operation without a response within `timeout_s` seconds."""
    return TimedOut(f"no answer to {operation} within {timeout_s:g} s", code="DEADLINE_EXCEEDED")
