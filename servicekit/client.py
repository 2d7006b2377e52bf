"""Calls to the servers of another service: one channel for all of them, with a deadline and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Final, NoReturn, TypeVar

import grpc
import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from servicekit import tracing
from servicekit.auth import ServiceCredential
from servicekit.errors import ServerDraining, ServiceUnavailable
from servicekit.etcd import Etcd
from servicekit.failure import Failure
from servicekit.ring import Ring, RingMember
from servicekit.ring_watcher import RingWatcher
from servicekit.status import from_grpc
from servicekit.tasks import Backoff
from servicekit.transport import PLAIN_TEXT, Transport

CALL_TIMEOUT_S: Final = 5.0
# The share of its deadline that a call waits for one server, so that another one can be tried.
ATTEMPT_SHARE: Final = 0.5
# A server that did not answer is ejected for this time: it is called only if no other is left.
EJECTION_S: Final = 3.0
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0
# Calls in flight have this time after a renewal of the certificate: longer than any call waits.
RENEWAL_GRACE_S: Final = 60.0
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

StubT = TypeVar("StubT")

_log = structlog.get_logger("client")
_CALLS = Counter("parley_outgoing_calls", "Calls to other services, by status code.", ["method", "code"])
_SECONDS = Histogram("parley_outgoing_call_seconds", "Duration of calls to other services in seconds.", ["method"])


class ServiceChannel:
    """A channel to the internal ports of all servers of `service`, for the stubs of its services.

    Unary calls are spread round-robin; each carries the service credential and the trace of the caller, and has a
    deadline: its `timeout`, CALL_TIMEOUT_S by default. If a server cannot be reached, drains, or does not answer within
    half of that time, the call is retried at another one. After a refusal with a retry delay it is retried too. So
    every method of an internal service must be idempotent.

    A call raises the failure that the server reported, and ServiceUnavailable if no server answered before the
    deadline. The failure is of the class of its reason, or a plain Failure if this process has no class for it.
    """

    def __init__(
        self, service: str, etcd: Etcd, credential: ServiceCredential, transport: Transport = PLAIN_TEXT
    ) -> None:
        self._service = service
        self._transport = transport
        transport.subscribe(self._replace_channels)
        self._credential = credential
        self._watcher = RingWatcher(etcd, service=service)
        self._watcher.subscribe(self._close_channels_of_removed)
        self._channels: dict[RingMember, grpc.aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._call_numbers = count()
        # By server that did not answer: the time until which it is ejected.
        self._ejected: dict[RingMember, float] = {}

    def stub(self, make: Callable[[Any], StubT]) -> StubT:
        """Return a stub on this channel; `make` is the class of a generated stub."""
        return make(self)

    async def run(self) -> None:
        """Watch the servers of the service until cancelled."""
        await self._watcher.run()

    async def close(self) -> None:
        """Cancel the running calls and close the connections."""
        for channel in self._channels.values():
            await channel.close()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def unary_unary(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: object
    ) -> Callable[..., Awaitable[Any]]:
        """Return the function that calls a unary method; a stub calls this for each of its methods."""

        async def attempt(request: Any, member: RingMember, timeout_s: float) -> Any:
            method = self._channel_to(member).unary_unary(path, request_serializer, response_deserializer)
            metadata = (*self._credential.metadata(), *tracing.trace_carrier().items())
            return await method(request, metadata=metadata, timeout=timeout_s)

        async def call(request: Any, *, timeout: float = CALL_TIMEOUT_S) -> Any:
            with tracing.span(path, kind=SpanKind.CLIENT), _record_call(path):
                return await self._call_until_answered(partial(attempt, request), timeout)

        return call

    def unary_stream(self, path: str, *_: object, **__: object) -> Callable[..., NoReturn]:
        """Return a function that raises TypeError: only unary methods can be called through this channel."""

        def refuse(*_: object, **__: object) -> NoReturn:
            raise TypeError(f"{path} streams; a ServiceChannel calls unary methods only")

        return refuse

    stream_unary = stream_stream = unary_stream

    async def _call_until_answered(
        self, attempt: Callable[[RingMember, float], Awaitable[Any]], timeout_s: float
    ) -> Any:
        loop, backoff, tried = asyncio.get_running_loop(), Backoff(FIRST_PAUSE_S, MAX_PAUSE_S), set[RingMember]()
        deadline = loop.time() + timeout_s
        failure: Failure = ServiceUnavailable(f"no {self._service} server is registered")
        while (remaining_s := deadline - loop.time()) > 0:
            member = self._next_member(tried)
            if member is None:
                tried.clear()
                await asyncio.sleep(min(backoff.next(), remaining_s))
                continue
            try:
                return await attempt(member, min(remaining_s, timeout_s * ATTEMPT_SHARE))
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error, self._service)
            if isinstance(failure, ServerDraining | ServiceUnavailable):
                tried.add(member)
                self._ejected[member] = loop.time() + EJECTION_S
            elif failure.retry_after is not None and failure.retry_after < deadline - loop.time():
                await asyncio.sleep(failure.retry_after)
            else:
                break
        raise failure

    def _next_member(self, tried: set[RingMember]) -> RingMember | None:
        """Return the next untried server, round-robin; an ejected one only if all are; None if all were tried."""
        now = asyncio.get_running_loop().time()
        untried = [member for member in self._watcher.ring.members.values() if member not in tried]
        members = [member for member in untried if self._ejected.get(member, 0) <= now] or untried
        return members[next(self._call_numbers) % len(members)] if members else None

    def _channel_to(self, member: RingMember) -> grpc.aio.Channel:
        if member not in self._channels:
            self._channels[member] = self._transport.open_channel(self._service, member.internal_address, OPTIONS)
        return self._channels[member]

    def _close_channels_of_removed(self, _: Ring, new: Ring) -> None:
        self._ejected = {member: until for member, until in self._ejected.items() if member in new.members.values()}
        for member in self._channels.keys() - set(new.members.values()):
            self._close_channel(member, CALL_TIMEOUT_S)

    def _replace_channels(self) -> None:
        """Let new calls connect with the renewed certificate."""
        for member in list(self._channels):
            self._close_channel(member, RENEWAL_GRACE_S)

    def _close_channel(self, member: RingMember, grace_s: float) -> None:
        """Close the channel to a server once its calls are answered, after `grace_s` seconds at the latest."""
        task = asyncio.create_task(self._channels.pop(member).close(grace=grace_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def failure_of(error: grpc.aio.AioRpcError, service: str) -> Failure:
    """Return the failure that the server reported, or ServiceUnavailable if none answered."""
    if (failure := from_grpc(error)) is not None:
        return failure
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return ServiceUnavailable(f"a {service} server does not answer")
    return Failure(error.details() or "", code=error.code().name)


@contextmanager
def _record_call(path: str) -> Iterator[None]:
    """Count and time the call in the block, and log its failure."""
    # The code of a call that ends neither with a response nor with a failure.
    started_at, code = perf_counter(), "CANCELLED"
    try:
        yield
        code = "OK"
    except Failure as failure:
        code = failure.code
        _log.info("call to another service failed", method=path, reason=failure.reason, error=failure.message)
        raise
    finally:
        tracing.set_status(code)
        _CALLS.labels(path, code).inc()
        _SECONDS.labels(path).observe(perf_counter() - started_at)
