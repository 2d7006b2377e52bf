"""The door: the one gRPC channel of a client, and the stubs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from parley.chat.v1 import account_pb2_grpc, chat_pb2, chat_pb2_grpc, conversation_pb2_grpc
from parley_client.errors import TimedOut, TryLater, from_rpc

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = tuple[tuple[str, str], ...]
ChatStream = grpc.aio.StreamStreamCall[chat_pb2.ConnectRequest, chat_pb2.ConnectResponse]

HOME_HEADER = "x-chat-server"
CALL_SECONDS = 10.0

# gRPC's own wait between attempts would be up to two minutes; ours is in backoff.py.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 4 << 20),
    # Two clients of one program are two devices: they share no connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption to the door. `root_certificates` is PEM; None: the system's."""

    root_certificates: bytes | None = None
    server_name: str | None = None


class _Stubs:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.accounts = account_pb2_grpc.AccountServiceStub(channel)
        self.conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        self.chat = chat_pb2_grpc.ChatServiceStub(channel)


Method = Callable[["Door"], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]
StreamMethod = Callable[["Door"], grpc.aio.UnaryStreamMultiCallable[Request, Response]]


class Door:
    """A channel to `address` ("host:port"), opened at first use."""

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        self.address = address
        self._tls = tls
        self._opened: _Stubs | None = None

    @property
    def accounts(self) -> account_pb2_grpc.AccountServiceStub:
        """The calls of AccountService."""
        return self._stubs().accounts

    @property
    def conversations(self) -> conversation_pb2_grpc.ConversationServiceStub:
        """The calls of ConversationService."""
        return self._stubs().conversations

    @property
    def chat(self) -> chat_pb2_grpc.ChatServiceStub:
        """The calls of ChatService."""
        return self._stubs().chat

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        metadata: Metadata = (),
        seconds: float = CALL_SECONDS,
    ) -> Response:
        """Ask once. Raises ParleyError."""
        call = method(self)(request, metadata=metadata, timeout=seconds)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            # The channel was closed under the call; a cancelled task is another matter.
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            raise TryLater("the connection was given up", code="UNAVAILABLE") from None

    def connect(self, metadata: Metadata) -> ChatStream:
        """Open the stream of a device."""
        return self.chat.Connect(metadata=metadata)

    async def renew(self) -> None:
        """Give the connection up, for it is dead; the next use opens another."""
        opened, self._opened = self._opened, None
        if opened:
            await opened.channel.close()

    close = renew

    def _stubs(self) -> _Stubs:
        if self._opened is None:
            self._opened = _Stubs(self._channel())
        return self._opened

    def _channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        named = (("grpc.ssl_target_name_override", self._tls.server_name),) if self._tls.server_name else ()
        credentials = grpc.ssl_channel_credentials(self._tls.root_certificates)
        return grpc.aio.secure_channel(self.address, credentials, options=(*_OPTIONS, *named))


def too_late(what: str, seconds: float) -> TimedOut:
    """The error when there was no answer in time."""
    return TimedOut(f"no answer to {what} within {seconds:g} s", code="DEADLINE_EXCEEDED")
