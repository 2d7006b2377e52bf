"""A service made callable: bytes in, an answer or a status out, with authentication, checks and metrics.

A servicer has one method for each of its service's: `await Method(request, call)` for unary calls, an async
iterator `Method(request, call)` or `await Method(request, stream, call)` for server streams, `await Method(stream,
call)` for bidirectional and client streams, which get their frames as raw bytes. What it returns or yields are
messages, or bytes already serialised. It says no by raising a Failure, also in a TaskGroup; it is cancelled when the
client goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from servicekit import validation
from servicekit.auth import Claims
from servicekit.call_metrics import CallRecorder, MethodMetrics
from servicekit.failure import Failure
from servicekit.status import to_grpc

# Parsing and checking take time in proportion, and everybody waits meanwhile.
MAX_REQUEST_BYTES: Final = 256 * 1024

Metadata: TypeAlias = Mapping[str, str]
Authenticate: TypeAlias = Callable[[Metadata], Claims | None]
Admit: TypeAlias = Callable[[Claims], Awaitable[None]]
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Response: TypeAlias = Message | bytes
Behaviour: TypeAlias = Callable[[Any, "Call", Context], Awaitable[bytes | None]]
ParseRequest: TypeAlias = Callable[[bytes], Message]


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call beside its request: who makes it, its text metadata, and from where."""

    claims: Claims | None
    metadata: Metadata
    peer: str

    @property
    def caller(self) -> Claims:
        """Who makes the call. Raises Failure TOKEN_MISSING when it is made by nobody known."""
        if self.claims is None:
            raise Failure("the call carries no token", code="UNAUTHENTICATED", reason="TOKEN_MISSING")
        return self.claims


class ByteStream(Protocol):
    """The two directions of a stream, raw bytes. At any time one task may read and one may write."""

    async def read(self) -> bytes | None:
        """The next frame; None when the client half-closed."""

    async def write(self, frame: bytes) -> None:
        """Send a frame; returns when the transport has taken it, which is the backpressure.

        Raises `grpc.aio.BaseError` when the client is gone; the servicer's task is cancelled then as well.
        """


class _ContextStream:
    """A stream straight over gRPC's own context: nothing between the two but the end of the stream."""

    __slots__ = ("_read", "write")

    def __init__(self, context: Context) -> None:
        self._read = context.read
        self.write = context.write

    async def read(self) -> bytes | None:
        frame: object = await self._read()
        return frame if isinstance(frame, bytes) else None


class _WriteOnlyStream:
    """The one direction of a server stream, as the stream of a client that half-closed."""

    __slots__ = ("write",)

    def __init__(self, context: Context) -> None:
        self.write = context.write

    async def read(self) -> bytes | None:
        return None


def service_handler(
    descriptor: ServiceDescriptor,
    servicer: object,
    *,
    authenticate: Authenticate,
    admit: Admit | None = None,
    open_methods: Collection[str] = (),
    admission_exempt: Collection[str] = (),
    not_yet_served: Collection[str] = (),
    request_bytes: int = MAX_REQUEST_BYTES,
) -> grpc.GenericRpcHandler:
    """One handler for the whole service of `descriptor`.

    `authenticate` tells from the metadata who calls, or raises; it is not asked for `open_methods`. Then `admit`
    raises if the caller may not act any more; it is not asked for those `admitted_anyway`, nor for bidirectional
    and client streams, whose servicers ask at the moment that is right for them. Every
    method is either the servicer's or in `not_yet_served`. Raises TypeError when one is neither or both.
    The request of a unary call or a server stream that is larger than `request_bytes` is refused unread.
    """
    names = {method.name for method in descriptor.methods}
    _check_complete(descriptor, names, servicer, set(not_yet_served), set(open_methods))
    handlers = {}
    for method in descriptor.methods:
        behaviour = (
            _raise_not_yet_served if method.name in not_yet_served else _behaviour(method, servicer, request_bytes)
        )
        knows = _no_caller if method.name in open_methods else authenticate
        asks = None if method.client_streaming or method.name in admission_exempt else admit
        handlers[method.name] = _method_handler(method, _wrap_method(method, behaviour, knows, asks))
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _check_complete(
    descriptor: ServiceDescriptor, names: set[str], servicer: object, unserved: set[str], opened: set[str]
) -> None:
    served = {name for name in names if hasattr(servicer, name)}
    complaints = {
        "neither served nor declared not_yet_served": names - served - unserved,
        "both served and declared not_yet_served": served & unserved,
        "not in the service": (unserved | opened) - names,
    }
    for complaint, which in complaints.items():
        if which:
            raise TypeError(f"{descriptor.full_name}: {complaint}: {', '.join(sorted(which))}")


def _behaviour(method: MethodDescriptor, servicer: object, request_bytes: int) -> Behaviour:
    serve = getattr(servicer, method.name)
    if method.client_streaming:
        return _streaming(serve)
    read = partial(_parse_and_check, GetMessageClass(method.input_type), request_bytes)
    if not method.server_streaming:
        return _unary(read, serve)
    return _server_streaming_by_write(read, serve) if iscoroutinefunction(serve) else _server_streaming(read, serve)


def _unary(read: ParseRequest, serve: Callable[[Any, Call], Awaitable[Response]]) -> Behaviour:
    async def behave(data: bytes, call: Call, _: Context) -> bytes:
        return _serialize(await serve(read(data), call))

    return behave


def _server_streaming(read: ParseRequest, serve: Callable[[Any, Call], AsyncIterator[Response]]) -> Behaviour:
    async def behave(data: bytes, call: Call, context: Context) -> None:
        answers = serve(read(data), call)
        try:
            async for answer in answers:
                await context.write(_serialize(answer))
        finally:
            # The servicer lets go of what it holds now, not when the collector comes by.
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()

    return behave


def _server_streaming_by_write(
    read: ParseRequest, serve: Callable[[Any, ByteStream, Call], Awaitable[None]]
) -> Behaviour:
    async def behave(data: bytes, call: Call, context: Context) -> None:
        await serve(read(data), _WriteOnlyStream(context), call)

    return behave


def _streaming(serve: Callable[[ByteStream, Call], Awaitable[Response | None]]) -> Behaviour:
    async def behave(_: object, call: Call, context: Context) -> bytes | None:
        answer = await serve(_ContextStream(context), call)
        return None if answer is None else _serialize(answer)

    return behave


async def _raise_not_yet_served(_: object, __: Call, ___: Context) -> None:
    raise Failure("this version does not serve this yet", code="UNIMPLEMENTED", reason="NOT_YET_SERVED")


def _wrap_method(
    method: MethodDescriptor, behaviour: Behaviour, authenticate: Authenticate, admit: Admit | None
) -> Callable[..., Any]:
    """`behaviour` behind the door: before it who calls is known, after it what it raises becomes a status."""
    observed = MethodMetrics(method.containing_service.full_name, method.name, long_lived=method.client_streaming)

    async def handle(request: Any, context: Context) -> bytes | None:
        metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        peer = context.peer()
        with observed.record_call(metadata, peer) as sighting:
            try:
                claims = sighting.claims = authenticate(metadata)
                if claims is not None and admit is not None:
                    await admit(claims)
                return await behaviour(request, Call(claims, metadata, peer), context)
            except Exception as error:  # noqa: BLE001  what a servicer lets slip becomes a status too
                failure = _failure_for_client(error, sighting)
            return await context.abort_with_status(to_grpc(failure))

    return handle


def _failure_for_client(error: Exception, recorder: CallRecorder) -> Failure:
    """What the client is told of `error`. Raises CancelledError when the client is not there to be told."""
    causes = _flatten_group(error)
    if any(not isinstance(cause, Failure | grpc.aio.BaseError) for cause in causes):
        recorder.record_internal_error(error)
        return Failure("a fault of ours; the log has the trace")
    failure = next((cause for cause in causes if isinstance(cause, Failure)), None)
    if failure is None:
        # gRPC could not write: the client went away, and nobody is to blame.
        raise asyncio.CancelledError from error
    recorder.record_failure(failure)
    return failure


def _flatten_group(error: Exception) -> list[Exception]:
    """What went wrong: `error`, or what the tasks of a TaskGroup met."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [cause for each in error.exceptions for cause in _flatten_group(each)]


def _method_handler(method: MethodDescriptor, handle: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    return make(handle)


def _no_caller(_: Metadata) -> None:
    return None


def _parse_and_check(request_type: type[Message], max_bytes: int, data: bytes) -> Message:
    if len(data) > max_bytes:
        raise Failure(
            f"a request may have {max_bytes} bytes, this one has {len(data)}",
            code="INVALID_ARGUMENT",
            reason="FRAME_TOO_LARGE",
        )
    request = validation.parse(request_type, data)
    validation.check(request)
    return request


def _serialize(answer: Response) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
