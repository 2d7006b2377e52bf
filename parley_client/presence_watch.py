"""A watch of the presence of users on a stream of its own, reopened after errors, drains and token renewals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import grpc.aio

from parley.presence.v1 import presence_pb2
from parley_client.backoff import Backoff
from parley_client.calls import auth_metadata
from parley_client.channel import CALL_TIMEOUT_S, Channel, timed_out
from parley_client.errors import (
    ParleyError,
    SignedOut,
    Superseded,
    TimedOut,
    TryLater,
    Unauthenticated,
    WrongDoor,
    from_rpc,
)
from parley_client.presence_state import UserPresence
from parley_client.tokens import TokenSource

# Heartbeat intervals without a frame after which the stream is dead.
MAX_SILENT_INTERVALS = 3
DEFAULT_HEARTBEAT_INTERVAL_S = 15.0

_Call = grpc.aio.UnaryStreamCall[presence_pb2.WatchPresenceRequest, presence_pb2.WatchPresenceResponse]


class PresenceWatch:
    """The consecutive streams of one watch, on `channel`, which it closes.

    `on_connection_change` is called with the error when the connection is lost, and with None when it is back.
    """

    def __init__(
        self,
        channel: Channel,
        tokens: TokenSource,
        user_ids: list[str],
        retry_timeout_s: float,
        on_connection_change: Callable[[ParleyError | None], None],
    ) -> None:
        self._channel = channel
        self._tokens = tokens
        self._request = presence_pb2.WatchPresenceRequest(user_ids=user_ids)
        self._retry_timeout_s = retry_timeout_s
        self._on_connection_change = on_connection_change
        self._known: dict[str, UserPresence] = {}
        self._backoff = Backoff()
        self._lost = False
        self._token_refused = False

    async def run(self) -> AsyncGenerator[UserPresence, None]:
        """Yield every presence, then each change. Raises ParleyError."""
        deadline = asyncio.get_running_loop().time() + self._retry_timeout_s
        try:
            while True:
                try:
                    async with aclosing(self._watch_once()) as presences:
                        async for presence in presences:
                            if self._known.get(presence.user_id) != presence:
                                self._known[presence.user_id] = presence
                                yield presence
                except ParleyError as error:
                    await self._wait_before_retry(error, deadline)
        finally:
            await self._channel.close()

    async def _watch_once(self) -> AsyncGenerator[UserPresence, None]:
        """Yield the presences of one stream, until it is to be replaced. Raises ParleyError."""
        device_id = self._tokens.active_session.device_id
        token = await self._tokens.access_token()
        call = self._channel.presence.WatchPresence(self._request, metadata=auth_metadata(token))
        try:
            async with aclosing(_read_presences(call)) as frames:
                async for presences in frames:
                    self._note_open()
                    for presence in presences:
                        yield UserPresence.from_proto(presence)
        except SignedOut as error:
            await self._tokens.end_session(device_id, error)
            raise
        except Unauthenticated:
            # The server ends the stream of an expired token; Envoy refuses one without a reason.
            if self._token_refused:
                raise
            self._token_refused = True
            await self._tokens.renew_token(token)
        finally:
            call.cancel()

    def _note_open(self) -> None:
        self._token_refused = False
        self._backoff.reset()
        if self._lost:
            self._lost = False
            self._on_connection_change(None)

    async def _wait_before_retry(self, error: ParleyError, deadline: float) -> None:
        """Wait before the next stream. Raise `error` if it is final; before the first presence, also at `deadline`."""
        delay_s = self._backoff.next(error.retry_after)
        if self._known:
            # The server accepted the request before, so that only the session can be at fault.
            is_final = isinstance(error, Unauthenticated | Superseded | WrongDoor)
        else:
            expired = asyncio.get_running_loop().time() + delay_s > deadline
            is_final = expired or not isinstance(error, TryLater | TimedOut)
        if is_final:
            raise error
        if self._known and not self._lost and error.reason != "SERVER_DRAINING":
            self._lost = True
            self._on_connection_change(error)
        if isinstance(error, TimedOut):
            await self._channel.reset()
        await asyncio.sleep(delay_s)


async def _read_presences(call: _Call) -> AsyncGenerator[list[presence_pb2.Presence], None]:
    """Yield the presences of each frame, none for a heartbeat, until the server's drain is due. Raises ParleyError."""
    loop = asyncio.get_running_loop()
    timeout_s, drain_time = CALL_TIMEOUT_S, float("inf")
    while True:
        try:
            async with asyncio.timeout(min(timeout_s, drain_time - loop.time())):
                frame = await _read_frame(call)
        except TimeoutError:
            if loop.time() >= drain_time:
                return
            raise timed_out("the watch", timeout_s) from None
        if frame.HasField("snapshot"):
            interval_s = frame.snapshot.heartbeat_interval.ToMilliseconds() / 1000 or DEFAULT_HEARTBEAT_INTERVAL_S
            timeout_s = MAX_SILENT_INTERVALS * interval_s
            yield list(frame.snapshot.presences)
        elif frame.HasField("drain"):
            drain_time = loop.time() + frame.drain.delay.ToMilliseconds() / 1000
        else:
            yield list(frame.changes.presences)


async def _read_frame(call: _Call) -> presence_pb2.WatchPresenceResponse:
    """Return the next frame. Raises ParleyError, also at the end of the stream."""
    try:
        frame = await call.read()
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        raise TryLater("the channel was closed during the watch", code="UNAVAILABLE") from None
    if not isinstance(frame, presence_pb2.WatchPresenceResponse):
        raise TryLater("the watch ended", code="UNAVAILABLE")
    return frame
