"""The edge: it admits devices, serves their streams, and drains them when the server stops."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from chat_service.errors import StreamNotConnected
from chat_service.history.history import History
from chat_service.limits import Limits
from chat_service.model.media import MediaCatalog
from chat_service.stream.admission import Admission
from chat_service.stream.edge_presence import EdgePresence
from chat_service.stream.handler import StreamHandler
from chat_service.stream.home_registrar import HomeRegistrar
from chat_service.stream.limiters import Handshake, HandshakeLimiter
from chat_service.stream.ports import Homes, Owners
from chat_service.stream.rejections import count_rejected_frame
from chat_service.stream.session import StreamSession
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import frames, requests
from parley.chat.v1 import chat_pb2
from servicekit import tracing
from servicekit.clock import Clock
from servicekit.errors import FrameEmpty, HelloMissing, ServerDraining
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.open_streams import StreamLimiter
from servicekit.rate_limiter import RateLimiter
from servicekit.ring import Ring
from servicekit.rpc import ByteStream, Call
from servicekit.tasks import cancel_requested

HELLO_TIMEOUT_S: Final = 10.0
HANDSHAKE_TIMEOUT_S: Final = 10.0
# Devices are asked to leave at random times within this share of the drain.
DRAIN_SPREAD: Final = 0.6
# The mean interval of the periodic recheck, which repairs a loss that no server noticed.
RECHECK_INTERVAL_S: Final = 300.0
# Within this time every server has learned of a ring change.
RING_SETTLE_S: Final = 5.0
# Within this time every server has learned of a new generation of the change index.
GENERATION_SETTLE_S: Final = 60.0

log = structlog.get_logger("edge")


class Edge:
    """The streams of devices that end at this server."""

    def __init__(
        self,
        sessions: SessionRegistry,
        owners: Owners,
        homes: Homes,
        catalog: MediaCatalog,
        history: History,
        admission: Admission,
        presence: EdgePresence,
        send_rates: RateLimiter,
        limits: Limits,
        clock: Clock,
        server_id: str,
    ) -> None:
        self._sessions = sessions
        self._owners = owners
        self._homes = homes
        self._catalog = catalog
        self._history = history
        self._admission = admission
        self._limits = limits
        self._clock = clock
        self._server_id = server_id
        self._registrar = HomeRegistrar(homes, admission.revalidate, clock)
        self._presence = presence
        self._send_rates = send_rates
        self._stream_limiter = StreamLimiter(limits.device_streams)
        self._handshake_limiter = HandshakeLimiter(limits.handshakes)
        self._tasks = asyncio.TaskGroup()
        self._draining = False

    async def run(self) -> None:
        """Keep sessions attached, reported and rechecked until cancelled."""
        async with self._tasks as group:
            group.create_task(self._registrar.run())
            group.create_task(self._presence.run())
            group.create_task(self._recheck_loop())

    async def connect(self, stream: ByteStream, call: Call) -> None:
        """Serve a Connect stream, whose first frame is hello, until it ends. Raises the Failure that ended it."""
        self._stream_limiter.count_stream(call.caller.device_id)
        await self._run_handshake(await self._read_hello(stream), stream, call)

    async def subscribe(self, hello: chat_pb2.Hello, stream: ByteStream, call: Call) -> None:
        """Serve a Subscribe stream, whose request is `hello`, until it ends. Raises the Failure that ended it."""
        self._stream_limiter.count_stream(call.caller.device_id)
        await self._run_handshake(hello, stream, call)

    async def _run_handshake(self, hello: chat_pb2.Hello, stream: ByteStream, call: Call) -> None:
        claims = call.caller
        self._check_not_draining()
        handshake = await self._handshake_limiter.acquire()
        try:
            # The drain may have begun while the handshake waited.
            self._check_not_draining()
            send_rate = self._send_rates.bucket_of(claims.device_id)
            session = StreamSession(
                claims, self._limits, self._clock, self._server_id, self._owners, self._catalog, send_rate
            )
            session.cursor = requests.decode_cursor(hello)
            session.note_frame(hello.activity)
            foreground = hello.activity != chat_pb2.ACTIVITY_BACKGROUND
            session.attached_session = replace(
                session.attached_session,
                foreground=foreground,
                instance_id=hello.instance_id,
                stream_number=hello.stream_number,
            )
            # Of Envoy's span: it lets no traceparent of a client through.
            context = call.metadata.get("traceparent", "")
            session.stream_context = context if tracing.is_sampled(context) else ""
            await self._run_session(session, stream, handshake)
        finally:
            handshake.release()

    async def _run_session(self, session: StreamSession, stream: ByteStream, handshake: Handshake) -> None:
        claims = session.claims
        self._sessions.add(session)
        log.info("session started", session_id=session.session_id, user_id=claims.user_id, device_id=claims.device_id)
        try:
            await self._welcome_and_serve(session, stream, handshake)
        finally:
            self._registrar.detach(session)
            self._presence.end_session(session)
            self._sessions.remove(session)
            session.end()

    def _check_not_draining(self) -> None:
        if self._draining:
            raise ServerDraining("this server is draining; connect again")

    def handle_unary_frame_for_peer(
        self, session_id: str, frame: bytes, reply: Callable[[bytes | Failure], None]
    ) -> None:
        """Run `handle_unary_frame` in a task, for the server that received the call; `reply` is called once."""

        async def handle() -> None:
            try:
                reply(await self.handle_unary_frame(session_id, frame))
            except Failure as failure:
                reply(failure)
            except Exception:
                log.exception("unary frame failed", session_id=session_id)
                reply(Failure(INTERNAL_ERROR))

        self._tasks.create_task(handle())

    async def handle_unary_frame(self, session_id: str, frame: bytes) -> bytes:
        """Handle a frame that a device sent to its session as a unary call, and return the serialised response.

        The caller has checked that the device is signed in. Raises StreamNotConnected if the session has ended, and
        Failure if the frame is refused.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise StreamNotConnected("this device has no open stream; connect first")
        kind, request = requests.decode_frame(frame)
        self._presence.note_frame(session, request.heartbeat.activity)
        if kind == "reauthenticate":
            self._admission.replace_token(session, request.reauthenticate.access_token)
            return frames.reauthenticate_response(session.claims.expires_at)
        if kind == "heartbeat":
            return frames.heartbeat_response(self._clock.now_ms())
        if kind == "watch_presence":
            watched = await self._presence.watch_and_wait(session, list(request.watch_presence.user_ids))
            return frames.watch_presence_response(watched)
        raise FrameEmpty(f"a frame of kind {kind} cannot be sent as a unary call")

    def on_ring_changed(self, old: Ring, new: Ring) -> None:
        """Attach sessions to their new homes.

        If a server left the ring, all sessions are rechecked: it may have died before all its deliveries were sent.
        """
        departed = old.members.keys() - new.members.keys()
        for session in self._sessions:
            moved = session.home != self._homes.home_of(session.claims.user_id)
            if moved:
                self._registrar.mark_detached(session)
            elif departed:
                session.request_recheck()
            if moved or departed:
                # An owner that learned of the ring later published to the old home meanwhile.
                session.call_later(RING_SETTLE_S, session.request_recheck)

    def on_home_lost(self, server_id: str) -> None:
        """Attach again at a home whose peer stream ended: it has dropped the sessions of this edge."""
        for session in self._sessions:
            if session.home == server_id:
                self._registrar.mark_detached(session)

    def on_generation_changed(self) -> None:
        """Recheck all sessions now, and again once every server uses the new generation of the change index."""
        self._sessions.recheck()
        for session in self._sessions:
            session.call_later(GENERATION_SETTLE_S, session.request_recheck)

    async def drain(self, timeout_s: float) -> None:
        """Ask every device to leave after a random delay; end the sessions that are left after `timeout_s` seconds."""
        self._draining = True
        for session in self._sessions:
            # Not for cryptography: the delays only have to differ.
            delay_s = random.uniform(0, timeout_s * DRAIN_SPREAD)  # noqa: S311
            session.outbox.put_frame(frames.drain_frame(delay_s, ""))
        try:
            async with asyncio.timeout(timeout_s):
                await self._sessions.wait_empty()
        except TimeoutError:
            for session in self._sessions:
                session.close(ServerDraining("this server is draining; connect again"))

    async def _read_hello(self, stream: ByteStream) -> chat_pb2.Hello:
        try:
            return await self._read_first_frame(stream)
        except Failure as failure:
            count_rejected_frame(failure)
            raise

    async def _read_first_frame(self, stream: ByteStream) -> chat_pb2.Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                data = await stream.read()
        except TimeoutError:
            raise HelloMissing(f"no hello received within {HELLO_TIMEOUT_S:.0f} s") from None
        if data is None:
            raise HelloMissing("the stream was closed before hello")
        kind, frame = requests.decode_frame(data)
        if kind != "hello":
            raise HelloMissing(f"the first frame must be hello, not {kind}")
        requests.check_frame(data, frame, self._limits)
        return frame.hello

    async def _welcome_and_serve(self, session: StreamSession, stream: ByteStream, handshake: Handshake) -> None:
        user_id = session.claims.user_id
        self._admission.schedule_expiry(session)
        # A device that does not read its changes must not occupy a handshake slot for longer.
        session.call_later(HANDSHAKE_TIMEOUT_S, handshake.release)
        session.outbox.put_frame(
            frames.welcome_frame(
                session.session_id,
                self._homes.address_of(user_id),
                self._limits,
                now_ms=self._clock.now_ms(),
                expires_at=session.claims.expires_at,
            )
        )
        # Attach before the change index is read: later changes are pushed, and the index lists earlier ones.
        await self._registrar.attach_new(session)
        # Check after the attachment: if the device is signed out from now on, its home finds the session.
        await self._admission.check_signed_in(session)
        self._presence.start_session(session)
        session.request_recheck()
        handler = StreamHandler(
            session,
            stream,
            self._history,
            self._presence,
            self._limits,
            self._clock,
            self._admission.revalidate,
            self._admission.reauthenticate,
            handshake.release,
        )
        await handler.run()

    async def _recheck_loop(self) -> None:
        while not cancel_requested():
            # Random intervals, so that servers that started together do not all read the index together.
            await asyncio.sleep(RECHECK_INTERVAL_S * random.uniform(0.8, 1.2))  # noqa: S311
            self._sessions.recheck()
