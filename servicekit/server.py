"""The life of a service: one gRPC server on one port, what stops it, and how it is run from a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import grpc
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from servicekit import health
from servicekit.config import ConfigurationError

Option = tuple[str, int | str]

MAX_MESSAGE_BYTES = 1 << 20
EXIT_DEADLINE_S: Final = 3.0
# What a shell has for SIGINT.
SIGINT_EXIT_CODE: Final = 130
STREAM_WINDOW_BYTES = 64 << 10
OPTIONS: tuple[Option, ...] = (
    # A second process on the port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # Every device is a stream, and many share the connection of the door.
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.server.max_pending_requests", 8_192),
    ("grpc.server.max_pending_requests_hard_limit", 16_384),
    # A window that does not grow: what one device may have in flight towards us.
    ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
    ("grpc.http2.bdp_probe", 0),
    # A peer whose machine vanished is noticed within 30 s; clients may ask as often as every 5 s, and one that is
    # a little early by our clock is no offender: three times, and gRPC would cut it off.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 2_500),
)


class Server:
    """One grpc.aio server at one address (host:port; port 0 takes a free one), with health and reflection.

    It says NOT_SERVING until `set_serving`.
    """

    def __init__(
        self,
        address: str,
        handlers: Sequence[grpc.GenericRpcHandler],
        service_names: Sequence[str],
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._address = address
        self._handlers = handlers
        self._service_names = service_names
        self._options = (*OPTIONS, ("grpc.max_receive_message_length", max_message_bytes))
        self._health = health.Health(service_names)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises ConfigurationError when the address cannot be had."""
        # A grpc.aio server belongs to the loop it is made in, so it is made here.
        self._server = server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*self._service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            port = server.add_insecure_port(self._address)
        except RuntimeError:
            raise ConfigurationError(
                f"Cannot listen on {self._address}: it is taken, or not an address of this machine."
            ) from None
        await server.start()
        return port

    def set_serving(self, serving: bool) -> None:
        """Tell health checks whether calls are wanted, for the server and each of its services."""
        self._health.set_serving(serving)

    async def stop(self, grace: float) -> None:
        """NOT_SERVING, no new calls, and at most `grace` seconds for those that run; then they are cancelled."""
        self._health.close()
        if self._server is not None:
            await self._server.stop(grace)


async def wait_for_signal() -> None:
    """Until SIGTERM or SIGINT. A second SIGINT is Python's own again."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service to its end on uvloop; exits 1 with a sentence when its configuration is wrong.

    However `main` ended, the process is gone ENDING_S after it let go of what it used, whatever tasks hang: what takes
    no more calls must not keep those it has, nor its place.
    """
    try:
        # All has ended in time, and the process is the caller's again.
        uvloop.run(_run_with_deadline(main)).cancel()
    except KeyboardInterrupt:
        sys.exit(SIGINT_EXIT_CODE)
    except Exception as error:
        if sentences := _configuration_errors(error):
            sys.exit(sentences)
        raise


async def _run_with_deadline(main: Coroutine[Any, Any, None]) -> threading.Timer:
    """Have `main` run. What it returns, and leaves behind where `main` failed, ends the process soon."""
    try:
        await main
    except BaseException as error:
        _exit_later(error)
        raise
    return _exit_later(None)


def _exit_later(error: BaseException | None) -> threading.Timer:
    timer = threading.Timer(EXIT_DEADLINE_S, _exit_now, [error])
    timer.daemon = True
    timer.start()
    return timer


def _exit_now(error: BaseException | None) -> None:
    code = 0
    if isinstance(error, Exception):
        sentences = _configuration_errors(error)
        sys.stderr.writelines([sentences, "\n"] if sentences else traceback.format_exception(error))
        code = 1
    elif error is not None:
        code = SIGINT_EXIT_CODE
    sys.stderr.flush()
    os._exit(code)


def _configuration_errors(error: BaseException) -> str:
    """What is wrong with the configuration, in sentences; empty when something else went wrong."""
    leaves = _flatten_group(error)
    if all(isinstance(leaf, ConfigurationError) for leaf in leaves):
        return "\n".join(map(str, leaves))
    return ""


def _flatten_group(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _flatten_group(each)]
