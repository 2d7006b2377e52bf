"""The process of a service: one gRPC server on one port, its stop signals, and its exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2_grpc

from servicekit import health
from servicekit.call_reset import install_task_factory
from servicekit.config import ConfigurationError
from servicekit.log_exceptions import format_exception
from servicekit.reflection import own_services, read_services
from servicekit.rpc import UnknownMethods
from servicekit.transport import PLAIN_TEXT, AllowedCallers, Option, Transport

MAX_MESSAGE_BYTES = 1 << 20
EXIT_DEADLINE_S: Final = 3.0
# A server with thousands of streams has millions of objects, and a collection that visits all of them stops it for
# seconds. By default 700 new objects start one of the young, and what then waits for an answer soon counts as old: a
# burst of requests brings about one full collection after another. With the higher threshold it is gone before.
GC_THRESHOLDS: Final = (50_000, 10, 10)
# The logger of gRPC's asyncio server.
GRPC_LOGGER: Final = "grpc._cython.cygrpc"
# The exit code that shells use for SIGINT.
SIGINT_EXIT_CODE: Final = 130
STREAM_WINDOW_BYTES = 64 << 10
OPTIONS: tuple[Option, ...] = (
    # A second process on the port must fail instead of sharing it.
    ("grpc.so_reuseport", 0),
    # Envoy refuses headers of more than 16 KiB. What passes, and what Envoy adds, must not be refused here.
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    # Every device has a stream, and Envoy multiplexes many of them over one connection.
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.server.max_pending_requests", 8_192),
    ("grpc.server.max_pending_requests_hard_limit", 16_384),
    # A fixed window bounds the bytes in flight from one device.
    ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
    ("grpc.http2.bdp_probe", 0),
    # A peer whose machine vanished is detected within 30 s. Clients may ping every 5 s; the minimum is half of that,
    # because gRPC closes a connection after three pings that are early by the server's clock.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 2_500),
)

NO_CALLERS: Final[AllowedCallers] = MappingProxyType({})

_log = structlog.get_logger("server")


class Server:
    """A grpc.aio server at one address (`host:port`; port 0: any free port), with health and reflection.

    Its health status is NOT_SERVING until `set_serving(True)`. Reflection lists the services in `reflection_file`, a
    FileDescriptorSet, or those of `service_names` if it is None. Health checks also know the `health_parts`, and are
    answered in plain text at `health_address` too. A `transport` with identities admits the `allowed_callers` alone.
    """

    def __init__(
        self,
        address: str,
        handlers: Sequence[grpc.GenericRpcHandler],
        service_names: Sequence[str],
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        reflection_file: Path | None = None,
        health_parts: Sequence[health.HealthPart] = (),
        health_address: str | None = None,
        transport: Transport = PLAIN_TEXT,
        allowed_callers: AllowedCallers = NO_CALLERS,
    ) -> None:
        self._address = address
        self._handlers = handlers
        self._service_names = service_names
        self._options = (*OPTIONS, ("grpc.max_receive_message_length", max_message_bytes))
        self._health = health.Health(service_names, health_parts)
        self._health_address = health_address
        self._reflection_file = reflection_file
        self._transport = transport
        self._interceptors = transport.interceptors(allowed_callers)
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> int:
        """Listen, and return the port.

        Raise ConfigurationError if the address is in use or not local, or the reflection file cannot be read.
        """
        # A grpc.aio server belongs to the event loop that creates it, so it is not created in `__init__`.
        install_task_factory(asyncio.get_running_loop())
        server = grpc.aio.server(options=self._options, interceptors=self._interceptors)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        reflected = read_services(self._reflection_file) if self._reflection_file else own_services(self._service_names)
        reflected.add_to(server)
        logging.getLogger(GRPC_LOGGER).addFilter(drop_unsent_response)
        if self._health_address is not None:
            await self._listen(grpc.aio.server(options=self._options), self._health_address, PLAIN_TEXT)
        return await self._listen(server, self._address, self._transport)

    async def _listen(self, server: grpc.aio.Server, address: str, transport: Transport) -> int:
        """Start a server that also answers health checks, and return its port. Raise ConfigurationError."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        server.add_generic_rpc_handlers((UnknownMethods(),))
        try:
            port = transport.add_port(server, address)
        except RuntimeError:
            raise ConfigurationError(
                f"Cannot listen on {address}: the address is in use, or does not belong to this machine."
            ) from None
        self._servers.append(server)
        await server.start()
        return port

    def set_serving(self, serving: bool) -> None:
        """Set the health status of the server and each of its services."""
        self._health.set_serving(serving)

    async def stop(self, grace: float) -> None:
        """Set NOT_SERVING, reject new calls, and cancel the running ones after `grace` seconds."""
        self._health.close()
        await asyncio.gather(*(server.stop(grace) for server in self._servers))


def drop_unsent_response(record: logging.LogRecord) -> bool:
    """Return False for gRPC's error that a response could not be sent, and log one line at debug level instead.

    gRPC reports it with a traceback for each call whose client leaves while its response waits to be sent, which is no
    error of the server.
    """
    if not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError)):
        return True
    _log.debug("response not sent, the client has left", call=record.getMessage())
    return False


async def wait_for_signal(received: asyncio.Event | None = None) -> None:
    """Wait for SIGTERM or SIGINT, or until `received` is set. A second SIGINT raises KeyboardInterrupt."""
    loop, event = asyncio.get_running_loop(), received or asyncio.Event()

    def on_signal() -> None:
        event.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await event.wait()
    except BaseException:
        loop.remove_signal_handler(signal.SIGINT)
        raise


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service to its end on uvloop; exit 1 with the messages of its configuration errors, if any.

    The process exits at most EXIT_DEADLINE_S after `main` returned or raised, even if other tasks hang: a server that
    accepts no calls must not keep its connections or its membership.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    # Freeze the imported objects, so that no collection scans them, not even the last one, which delays the exit.
    gc.freeze()
    try:
        # All tasks ended before the deadline, so the process stays with the caller.
        uvloop.run(_run_with_deadline(main)).cancel()
    except KeyboardInterrupt:
        sys.exit(SIGINT_EXIT_CODE)
    except Exception as error:
        if message := _configuration_errors(error):
            sys.exit(message)
        raise


async def _run_with_deadline(main: Coroutine[Any, Any, None]) -> threading.Timer:
    """Run `main`, then start the timer that exits the process. Return the timer."""
    try:
        await main
    except BaseException as error:
        start_exit_deadline(error)
        raise
    return start_exit_deadline(None)


def start_exit_deadline(error: BaseException | None) -> threading.Timer:
    """Exit the process in EXIT_DEADLINE_S unless it has ended or the returned timer is cancelled by then.

    The exit code is that of a process that raised `error`, 0 for None.
    """
    timer = threading.Timer(EXIT_DEADLINE_S, _exit_now, [error])
    timer.daemon = True
    timer.start()
    return timer


def _exit_now(error: BaseException | None) -> None:
    code = 0
    if isinstance(error, Exception):
        message = _configuration_errors(error)
        sys.stderr.writelines([message or format_exception(error), "\n"])
        code = 1
    elif error is not None:
        code = SIGINT_EXIT_CODE
    sys.stderr.flush()
    os._exit(code)


def _configuration_errors(error: BaseException) -> str:
    """Return the messages of configuration errors, one a line; empty if there was any other error."""
    leaves = _flatten_group(error)
    if all(isinstance(leaf, ConfigurationError) for leaf in leaves):
        return "\n".join(map(str, leaves))
    return ""


def _flatten_group(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for nested in error.exceptions for leaf in _flatten_group(nested)]
