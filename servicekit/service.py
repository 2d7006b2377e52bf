"""The lifecycle of a service process: settings, telemetry, stores, servers, registration, and drain.

A service's `__main__` runs `serve` with a function that builds a `Service` on the `Platform` of the process.
Everything else is the same for all services: health, reflection, metrics, traces, authentication, rate limits,
registration in etcd, signals, and the order of start and stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from pymongo.errors import OperationFailure
from redis.asyncio import Redis

from servicekit import mongo, telemetry, tracing
from servicekit.audit import AuditTable
from servicekit.auth import Claims, ServiceCredential, TokenVerifier
from servicekit.client import ServiceChannel
from servicekit.clock import Clock, SystemClock
from servicekit.config import ConfigurationError
from servicekit.errors import RateLimited, StoreUnavailable
from servicekit.etcd import Etcd
from servicekit.health import HealthPart
from servicekit.lifecycle import Lifecycle, ServerState
from servicekit.log_exceptions import log_unhandled_exceptions
from servicekit.membership import Membership, Superseded
from servicekit.open_streams import OpenStreams
from servicekit.rate_limiter import MAX_DEVICES, RateLimiter
from servicekit.redis import check_redis, connect_redis
from servicekit.ring import RingMember
from servicekit.rpc import Admit, service_handler
from servicekit.server import MAX_MESSAGE_BYTES, Server, start_exit_deadline, wait_for_signal
from servicekit.servicer_admin import ADMIN, AUDITED, AdminServicer
from servicekit.settings import MongoSettings, RedisSettings, ServiceSettings
from servicekit.subjects import external_ids, native_ids
from servicekit.tasks import cancel_requested
from servicekit.transport import GATEWAY, OPERATOR, create_transport
from servicekit.unary_calls import UnaryCalls

STOP_TIMEOUT_S: Final = 2.0
BUILD_NOTICE_S: Final = 30.0

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)
Run = Callable[[], Coroutine[Any, Any, None]]
"""A loop: it runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class ServedService:
    """A gRPC service of a port, and its servicer.

    Calls of `open_methods` need no token. Calls of `admission_exempt` need one, but neither `Service.admit` nor the
    rate limit applies to them. Calls of `audited` methods are written to the audit log. With TLS only the gateway calls
    a public service, and only the services `allowed_callers` an internal one.
    """

    descriptor: ServiceDescriptor
    servicer: object
    open_methods: Collection[str] = ()
    admission_exempt: Collection[str] = ()
    audited: AuditTable = field(default_factory=dict)
    allowed_callers: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The gRPC services of a process, and the loops that it runs.

    Users call the `public` services, other servers the `internal` ones, with messages of up to
    `internal_message_bytes`. `admit` raises if a caller has lost access. `components` run from the start of the servers
    to their stop, `jobs` from the registration to the drain. `drain(seconds)` moves the clients to other servers within
    that time. By default each stream ends with ServerDraining at a random time within it, and calls are served until
    its end. Health checks on both ports know the `health_parts`, such as a store.
    """

    public: Sequence[ServedService]
    internal: Sequence[ServedService] = ()
    internal_message_bytes: int = MAX_MESSAGE_BYTES
    admit: Admit | None = None
    components: Sequence[Run] = ()
    jobs: Sequence[Run] = ()
    drain: Callable[[float], Awaitable[None]] | None = None
    health_parts: Sequence[HealthPart] = ()


class Platform(Generic[SettingsT]):
    """The parts of a process that every service has, and the functions that open stores and channels.

    What is opened, and what is added to `exit_stack`, is closed when the process stops.
    """

    def __init__(self, name: str, settings: SettingsT, etcd: Etcd, exit_stack: contextlib.AsyncExitStack) -> None:
        self.name = name
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.credential = ServiceCredential.from_file(settings.service_credential_file)
        self.transport = create_transport(settings, name, self.clock)
        self.membership = Membership(etcd, _member(settings), service=name)
        self.exit_stack = exit_stack
        self.etcd = etcd
        self._channels: list[ServiceChannel] = []

    @cached_property
    def verifier(self) -> TokenVerifier:
        """The verifier of the tokens of users."""
        settings = self.settings
        return TokenVerifier.from_file(
            settings.jwks_file,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            read_ids=native_ids if settings.sign_in_here else external_ids(settings.token_issuer),
            clock=self.clock,
        )

    @property
    def components(self) -> Sequence[Run]:
        """The loops of the certificate and the channels."""
        return [self.transport.run, *(channel.run for channel in self._channels)]

    async def open_database(self, settings: MongoSettings) -> mongo.Database:
        """Connect to MongoDB. Raise ConfigurationError if the URI is invalid or refused, or no server answers."""
        try:
            database = await mongo.connect(
                settings.mongo_uri.get_secret_value(), settings.mongo_database, service=f"parley-{self.name}"
            )
        except StoreUnavailable as failure:
            # Names of servers and errors of sockets, such as a connection that was closed because it has no TLS.
            reason = str(failure.__cause__).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
            raise ConfigurationError(f"MongoDB does not answer at the address in PARLEY_MONGO_URI: {reason}.") from None
        self.exit_stack.push_async_callback(database.client.close)
        return database

    async def open_redis(self, settings: RedisSettings) -> Redis:
        """Return a client of Redis, which need not answer yet.

        Raise ConfigurationError if the URL is invalid or Redis refuses it.
        """
        redis = connect_redis(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
        self.exit_stack.push_async_callback(redis.aclose)
        await check_redis(redis)
        return redis

    def open_channel(self, service: str) -> ServiceChannel:
        """Return a channel to the internal ports of all servers of another service.

        `build` opens it; the channel learns of the servers once the process runs.
        """
        channel = ServiceChannel(service, self.etcd, self.credential, self.transport)
        self.exit_stack.push_async_callback(channel.close)
        self._channels.append(channel)
        return channel


Build = Callable[[Platform[SettingsT]], Awaitable[Service]]


async def serve(name: str, settings_type: type[SettingsT], build: Build[SettingsT]) -> None:
    """Run a process of the service `name` until SIGTERM or SIGINT, then drain and stop it.

    Raise ConfigurationError, also if a store refuses the service, or does not answer while it is built.
    """
    settings = settings_type.load()
    telemetry.configure_logging(settings.log_format, settings.log_level)
    log_unhandled_exceptions(asyncio.get_running_loop())
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(configure_tracing(name, settings))
        if settings.metrics_listen:
            stack.callback(telemetry.start_metrics(settings.metrics_listen))
        etcd = await stack.enter_async_context(Etcd.from_settings(settings))
        platform = Platform(name, settings, etcd, stack)
        try:
            process = _Process(platform, await _build_service(platform, build))
        except StoreUnavailable as failure:
            raise ConfigurationError(
                f"The server cannot start: {failure.message}. Start the store, or correct its address in the settings."
            ) from None
        except OperationFailure as error:
            if refusal := mongo.describe_refusal(error):
                raise ConfigurationError(refusal) from None
            raise
        try:
            await process.run()
        except* Superseded:
            raise ConfigurationError(
                f"A process that started later uses the server id {platform.membership.me.server_id}; "
                "set another PARLEY_SERVER_ID."
            ) from None


async def _build_service(platform: Platform[SettingsT], build: Build[SettingsT]) -> Service:
    """Return the service, and log every BUILD_NOTICE_S that it is not built: a large index takes hours."""
    notice = asyncio.create_task(_log_waiting())
    try:
        return await build(platform)
    finally:
        notice.cancel()


async def _log_waiting() -> None:
    while not cancel_requested():
        await asyncio.sleep(BUILD_NOTICE_S)
        structlog.get_logger("service").info("waiting for the stores; MongoDB may be building an index of this release")


def configure_tracing(name: str, settings: ServiceSettings) -> Callable[[], None]:
    """Start tracing with the endpoint and ratio of the settings, and return the function that flushes and ends it."""
    return tracing.configure_tracing(
        name,
        endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_ratio,
        client_rate=settings.trace_client_rate,
        instance=_member(settings).server_id,
    )


class _Process:
    """The servers, components and jobs of a service, from start to stop."""

    def __init__(self, platform: Platform[SettingsT], service: Service) -> None:
        self._settings = platform.settings
        self._membership = platform.membership
        self._etcd = platform.etcd
        self._service = service
        self._components = (*platform.components, *service.components)
        self._log = structlog.get_logger(platform.name)
        self._streams = OpenStreams(platform.clock)
        self._lifecycle = Lifecycle()
        admin = AdminServicer(
            platform.name, platform.settings, platform.membership, platform.etcd, self._lifecycle, platform.clock
        )
        internal = [*service.internal, ServedService(ADMIN, admin, audited=AUDITED, allowed_callers=[OPERATOR])]
        self._public = Server(
            platform.settings.listen,
            _public_handlers(platform, service, None if service.drain else self._streams),
            [served.descriptor.full_name for served in service.public],
            reflection_file=platform.settings.reflection_file,
            health_parts=service.health_parts,
            health_address=platform.settings.health_listen,
            transport=platform.transport,
            allowed_callers={served.descriptor.full_name: (GATEWAY,) for served in service.public},
        )
        self._internal = Server(
            platform.settings.internal_listen,
            _internal_handlers(platform, internal),
            [served.descriptor.full_name for served in internal],
            max_message_bytes=service.internal_message_bytes,
            health_parts=service.health_parts,
            transport=platform.transport,
            allowed_callers={served.descriptor.full_name: served.allowed_callers for served in internal},
        )

    async def run(self) -> None:
        """Serve until a signal or an operator stops it, then drain. Raise Superseded, in an ExceptionGroup."""
        async with asyncio.TaskGroup() as group:
            # A signal that comes before the server is registered stops it too, and revokes its lease.
            stopping = group.create_task(wait_for_signal(self._lifecycle.stop_requested))
            components = [group.create_task(component()) for component in self._components]
            registration = group.create_task(self._listen_and_register())
            registered = group.create_task(self._membership.wait_registered())
            await asyncio.wait([stopping, registered], return_when=asyncio.FIRST_COMPLETED)
            registered.cancel()
            if not stopping.done():
                await self._serve(group, stopping)
            registration.cancel()
            await asyncio.wait([registration])
            await self._public.stop(STOP_TIMEOUT_S)
            for component in components:
                component.cancel()
            await self._internal.stop(STOP_TIMEOUT_S)
            # A component that ignores its cancellation does not keep the process.
            start_exit_deadline(None)
        self._log.info("server stopped")

    async def _listen_and_register(self) -> None:
        """Listen and register this process, until cancelled.

        The ports stay closed until etcd answers: peers read the refusal as the death of the previous process with this
        id, and skip it.
        """
        await self._etcd.wait_reachable()
        await self._internal.start()
        await self._public.start()
        await self._membership.run()

    async def _serve(self, group: asyncio.TaskGroup, stopping: asyncio.Task[None]) -> None:
        """Serve calls until `stopping` is done, then drain."""
        self._set_serving(True)
        self._lifecycle.state = ServerState.SERVING
        self._log.info("server started", address=self._settings.listen, server_id=self._membership.me.server_id)
        jobs = [group.create_task(job()) for job in self._service.jobs]
        await stopping
        self._log.info("server draining")
        self._lifecycle.state = ServerState.DRAINING
        self._set_serving(False)
        for job in jobs:
            job.cancel()
        await self._drain()

    def _set_serving(self, serving: bool) -> None:
        self._public.set_serving(serving)
        self._internal.set_serving(serving)

    async def _drain(self) -> None:
        seconds = self._settings.drain_seconds
        if self._service.drain is not None:
            await self._service.drain(seconds)
            return
        self._streams.drain(seconds)
        # Envoy and other servers notice within this time that the server does not take new calls.
        await asyncio.sleep(seconds)


def _public_handlers(
    platform: Platform[SettingsT], service: Service, streams: OpenStreams | None
) -> list[grpc.GenericRpcHandler]:
    rates, calls = RateLimiter(platform.settings.call_limit, platform.clock, MAX_DEVICES), UnaryCalls(platform.clock)
    admit = rate_limited(service.admit, rates)
    return [
        service_handler(
            served.descriptor,
            served.servicer,
            authenticate=platform.verifier.authenticate,
            admit=admit,
            open_methods=served.open_methods,
            admission_exempt=served.admission_exempt,
            audited=served.audited,
            streams=streams,
            calls=calls,
        )
        for served in service.public
    ]


def _internal_handlers(
    platform: Platform[SettingsT], internal: Sequence[ServedService]
) -> list[grpc.GenericRpcHandler]:
    return [
        service_handler(
            served.descriptor,
            served.servicer,
            authenticate=platform.credential.check,
            audited=served.audited,
            internal=True,
        )
        for served in internal
    ]


def rate_limited(admit: Admit | None, rates: RateLimiter) -> Admit:
    """Return `admit` behind a rate limit by device, which raises RateLimited."""

    async def admit_within_rate(claims: Claims) -> None:
        if (wait := rates.take(claims.device_id)) > 0:
            raise RateLimited("device call rate limit exceeded", retry_after=wait)
        if admit is not None:
            await admit(claims)

    return admit_within_rate


def _member(settings: ServiceSettings) -> RingMember:
    address = settings.advertise or settings.listen
    return RingMember(
        server_id=settings.server_id or address,
        address=address,
        internal_address=settings.internal_advertise or settings.internal_listen,
        started_ms=time.time_ns() // 1_000_000,
    )
