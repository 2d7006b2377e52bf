"""The adapter from gRPC to servicers: authentication, parsing, validation, error statuses and metrics.

A servicer has one method for each method of its service: `await Method(request, call)` for a unary call; an async
iterator `Method(request, call)` or `await Method(request, stream, call)` for a server stream; `await Method(stream,
call)` for a bidirectional or client stream, whose frames it receives as raw bytes. It returns or yields messages, or
bytes that are already serialized. To report an error it raises a Failure, also within a TaskGroup. It is cancelled
when the client disconnects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from servicekit import audit, validation
from servicekit.audit import AuditTable, CallAudit, CallOrigin
from servicekit.auth import Claims
from servicekit.call_metrics import CallRecorder, MethodMetrics
from servicekit.call_reset import UNREAD_TIMEOUT_S, reset_unless_read
from servicekit.errors import NotYetServed, SlowConsumer
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.log_context import bind_caller, bind_request
from servicekit.open_streams import OpenStreams
from servicekit.status import to_grpc
from servicekit.unary_calls import UnaryCalls

# The time to parse and check a request grows with its size and blocks the event loop.
MAX_REQUEST_BYTES: Final = 256 * 1024
_UNEXPECTED: Final = Failure(INTERNAL_ERROR)

Metadata: TypeAlias = Mapping[str, str]
Authenticate: TypeAlias = Callable[[Metadata], Claims | None]
Admit: TypeAlias = Callable[[Claims], Awaitable[None]]
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Response: TypeAlias = Message | bytes
Behaviour: TypeAlias = Callable[[Any, "Call", Context], Awaitable[bytes | None]]
Serve: TypeAlias = Callable[[Any, CallOrigin, CallRecorder, Context], Awaitable[bytes | None]]
ParseRequest: TypeAlias = Callable[[bytes], Message]


@dataclass(frozen=True, slots=True)
class Call:
    """The context of a call: the caller's claims (None: unauthenticated), its text metadata, and the peer address."""

    claims: Claims | None
    metadata: Metadata
    peer: str

    @property
    def caller(self) -> Claims:
        """The claims of the caller. Raises Failure TOKEN_MISSING if the call is unauthenticated."""
        if self.claims is None:
            raise Failure("the call carries no token", code="UNAUTHENTICATED", reason="TOKEN_MISSING")
        return self.claims


class ByteStream(Protocol):
    """A bidirectional stream of raw bytes. One task may read while another one writes."""

    async def read(self) -> bytes | None:
        """Return the next frame; None once the client has half-closed."""

    async def write(self, frame: bytes) -> None:
        """Send a frame; return once the transport has accepted it, which is the backpressure.

        Raises `grpc.aio.BaseError` if the client has disconnected; the servicer's task is then cancelled as well.
        """


class _ContextStream:
    """A ByteStream over a gRPC context; it maps the end of the stream to None."""

    __slots__ = ("_context", "_read", "_started")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read = context.read
        self._started = False

    async def read(self) -> bytes | None:
        frame: object = await self._read()
        return frame if isinstance(frame, bytes) else None

    async def write(self, frame: bytes) -> None:
        if not self._started:
            # Together with the first frame, the headers would wait until the client reads, and the status after them.
            self._started = True
            await self._context.send_initial_metadata(())
        await self._context.write(frame)


class _WriteOnlyStream(_ContextStream):
    """A ByteStream of a server-streaming call; it reads as if the client had half-closed."""

    __slots__ = ()

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
    audited: AuditTable = MappingProxyType({}),
    internal: bool = False,
    request_bytes: int = MAX_REQUEST_BYTES,
    streams: OpenStreams | None = None,
    calls: UnaryCalls | None = None,
    unread_timeout_s: float = UNREAD_TIMEOUT_S,
) -> grpc.GenericRpcHandler:
    """Return the handler of the service of `descriptor`.

    `authenticate` returns the caller's claims from the metadata, or raises; it is skipped for `open_methods`. Then
    `admit` raises if the caller has lost access; it is skipped for `admission_exempt`, and for bidirectional and client
    streams, whose servicers call it themselves. A request of a unary or server-streaming call of more than
    `request_bytes` is rejected without being parsed. Streams, of the client or of the server, are tracked by `streams`,
    which may end them; unary calls of devices are bounded by `calls`. A response of a server stream that the client
    does not read within `unread_timeout_s` ends the stream, and a call whose end it does not read is reset. Calls of
    the `audited` methods are written to the audit log; the actor of a call of an `internal` service is the operator
    that the call names.

    Raises TypeError unless the servicer implements every method, with `async def`.
    """
    _check_complete(descriptor, servicer, {*open_methods, *audited})
    handlers = {}
    for method in descriptor.methods:
        behaviour = _behaviour(method, servicer, request_bytes, unread_timeout_s)
        if streams is not None and (method.client_streaming or method.server_streaming):
            behaviour = _tracked(behaviour, streams)
        elif calls is not None and not (method.client_streaming or method.server_streaming):
            behaviour = _bounded(behaviour, calls)
        authenticator = _no_caller if method.name in open_methods else authenticate
        admission = None if method.client_streaming or method.name in admission_exempt else admit
        serve = _admitted(behaviour, authenticator, admission)
        if method.name in audited:
            serve = _audited(serve, CallAudit(method, audited[method.name]))
        handle = _wrap_method(method, serve, internal, unread_timeout_s)
        handlers[method.name] = _method_handler(method, handle)
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


class UnknownMethods(grpc.GenericRpcHandler):
    """The handler of the methods that no handler before it serves; it gives its refusal a reason, as every refusal."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler that refuses a call of any kind at once."""
        return grpc.stream_stream_rpc_method_handler(_refuse_unknown_method)


async def _refuse_unknown_method(_: object, context: Context) -> None:
    await context.abort_with_status(to_grpc(NotYetServed("this server does not serve this method")))


def _check_complete(descriptor: ServiceDescriptor, servicer: object, opened: set[str]) -> None:
    served = {method.name: getattr(servicer, method.name, None) for method in descriptor.methods}
    # A method that streams responses alone may be an async iterator.
    awaited = {method.name for method in descriptor.methods if method.client_streaming or not method.server_streaming}
    errors = {
        "not served": {name for name, serve in served.items() if serve is None},
        "not async": {name for name in awaited if served[name] and not iscoroutinefunction(served[name])},
        "not in the service": opened - served.keys(),
    }
    for error, methods in errors.items():
        if methods:
            raise TypeError(f"{descriptor.full_name}: {error}: {', '.join(sorted(methods))}")


def _behaviour(method: MethodDescriptor, servicer: object, request_bytes: int, write_timeout_s: float) -> Behaviour:
    serve = getattr(servicer, method.name)
    if method.client_streaming:
        return _streaming(serve)
    read = partial(_parse_and_check, GetMessageClass(method.input_type), request_bytes)
    if not method.server_streaming:
        return _unary(read, serve)
    if iscoroutinefunction(serve):
        return _server_streaming_by_write(read, serve)
    return _server_streaming(read, serve, write_timeout_s)


def _unary(read: ParseRequest, serve: Callable[[Any, Call], Awaitable[Response]]) -> Behaviour:
    async def handle(data: bytes, call: Call, _: Context) -> bytes:
        return _serialize(await serve(read(data), call))

    return handle


def _server_streaming(
    read: ParseRequest, serve: Callable[[Any, Call], AsyncIterator[Response]], write_timeout_s: float
) -> Behaviour:
    async def handle(data: bytes, call: Call, context: Context) -> None:
        responses, stream = serve(read(data), call), _WriteOnlyStream(context)
        try:
            async for response in responses:
                await _write(stream, _serialize(response), write_timeout_s)
        finally:
            # Release the servicer's resources now and not at the next garbage collection.
            if isinstance(responses, AsyncGenerator):
                await responses.aclose()

    return handle


async def _write(stream: ByteStream, frame: bytes, timeout_s: float) -> None:
    """Send a frame. Raise SlowConsumer if the client does not read it within `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            await stream.write(frame)
    except TimeoutError:
        raise SlowConsumer("the client does not read the stream; call again") from None


def _server_streaming_by_write(
    read: ParseRequest, serve: Callable[[Any, ByteStream, Call], Awaitable[None]]
) -> Behaviour:
    async def handle(data: bytes, call: Call, context: Context) -> None:
        await serve(read(data), _WriteOnlyStream(context), call)

    return handle


def _streaming(serve: Callable[[ByteStream, Call], Awaitable[Response | None]]) -> Behaviour:
    async def handle(_: object, call: Call, context: Context) -> bytes | None:
        response = await serve(_ContextStream(context), call)
        return None if response is None else _serialize(response)

    return handle


def _tracked(behaviour: Behaviour, streams: OpenStreams) -> Behaviour:
    async def handle(request: Any, call: Call, context: Context) -> bytes | None:
        async with streams.track_stream(call.claims):
            return await behaviour(request, call, context)

    return handle


def _bounded(behaviour: Behaviour, calls: UnaryCalls) -> Behaviour:
    async def handle(request: Any, call: Call, context: Context) -> bytes | None:
        if call.claims is None:
            return await behaviour(request, call, context)
        return await calls.serve(call.claims.device_id, partial(behaviour, request, call, context))

    return handle


def _admitted(behaviour: Behaviour, authenticate: Authenticate, admit: Admit | None) -> Serve:
    """Return `behaviour` with authentication and admission before it."""

    async def serve(request: Any, origin: CallOrigin, recorder: CallRecorder, context: Context) -> bytes | None:
        claims = recorder.claims = origin.claims = authenticate(origin.metadata)
        if claims is not None:
            bind_caller(claims)
            if admit is not None:
                await admit(claims)
        return await behaviour(request, Call(claims, origin.metadata, origin.peer), context)

    return serve


def _audited(serve: Serve, call_audit: CallAudit) -> Serve:
    """Return `serve` with a line of the audit log after it."""

    async def serve_and_record(
        request: Any, origin: CallOrigin, recorder: CallRecorder, context: Context
    ) -> bytes | None:
        try:
            response = await serve(request, origin, recorder, context)
        except Exception as error:
            failure = _find_failure(error)
            if failure is None or failure is _UNEXPECTED:
                call_audit.record_unknown(origin, "CANCELLED" if failure is None else "INTERNAL")
            else:
                call_audit.record_failure(origin, failure)
            raise
        except asyncio.CancelledError:
            call_audit.record_unknown(origin, "CANCELLED")
            raise
        call_audit.record_success(origin, response)
        return response

    return serve_and_record


def _wrap_method(method: MethodDescriptor, serve: Serve, internal: bool, unread_timeout_s: float) -> Callable[..., Any]:
    """Return `serve` with metrics, and its exceptions as statuses after it."""
    metrics = MethodMetrics(method.containing_service.full_name, method.name, long_lived=method.client_streaming)

    async def handle(request: Any, context: Context) -> bytes | None:
        metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        origin = CallOrigin(metadata, context.peer(), internal)
        audit.enter_call(origin)
        with metrics.record_call(metadata, origin.peer) as recorder:
            try:
                response = await serve(request, origin, recorder, context)
            except Exception as error:  # noqa: BLE001  an unexpected exception becomes a status too
                status = to_grpc(_failure_for_client(error, recorder))
            else:
                reset_unless_read(metrics.name, unread_timeout_s)
                return response
            reset_unless_read(metrics.name, unread_timeout_s)
            return await context.abort_with_status(status)

    return handle


def _failure_for_client(error: Exception, recorder: CallRecorder) -> Failure:
    """Return the failure to report for `error`. Raise CancelledError if the client has disconnected."""
    failure = _find_failure(error)
    if failure is None:
        # gRPC could not write because the client disconnected, which is no error.
        raise asyncio.CancelledError from error
    if failure is _UNEXPECTED:
        recorder.record_internal_error(error)
    else:
        recorder.record_failure(failure)
    # Its traceback refers to the frames of the call, and so to the call: a session that keeps it would keep both.
    return failure.with_traceback(None)


def _find_failure(error: Exception) -> Failure | None:
    """Return the failure that ended a call, _UNEXPECTED for an unexpected exception.

    None if the client has disconnected.
    """
    causes = _flatten_group(error)
    if any(not isinstance(cause, Failure | grpc.aio.BaseError) for cause in causes):
        return _UNEXPECTED
    return next((cause for cause in causes if isinstance(cause, Failure)), None)


def _flatten_group(error: Exception) -> list[Exception]:
    """Return `error`, or the exceptions of a TaskGroup's tasks."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [cause for nested in error.exceptions for cause in _flatten_group(nested)]


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
            f"a request may have at most {max_bytes} bytes; this one has {len(data)}",
            code="INVALID_ARGUMENT",
            reason="FRAME_TOO_LARGE",
        )
    request = validation.parse(request_type, data)
    bind_request(request)
    validation.check(request)
    audit.set_request(request)
    return request


def _serialize(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
