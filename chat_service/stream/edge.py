"""The role of the edge: lets devices in, keeps their sessions, and ends them in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from chat_service.errors import FrameEmpty, HelloMissing, ServerDraining, StreamNotConnected
from chat_service.history.history import History
from chat_service.limits import Limits
from chat_service.stream.admission import Admission
from chat_service.stream.handler import StreamHandler
from chat_service.stream.home_registrar import HomeRegistrar
from chat_service.stream.limiters import Handshake, HandshakeLimiter, StreamLimiter
from chat_service.stream.ports import Homes, Owners
from chat_service.stream.presence_subscriptions import FindHidden, PresenceSubscriptions
from chat_service.stream.session import StreamSession
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import frames, requests
from parley.chat.v1 import chat_pb2
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.rate_limiter import RateLimiter
from servicekit.ring import Ring
from servicekit.rpc import ByteStream, Call
from servicekit.tasks import cancel_requested

HELLO_S: Final = 10.0
HANDSHAKE_S: Final = 10.0
# Of W3C's version 00; it goes with every message, so nothing longer is passed on.
TRACEPARENT_CHARS: Final = 55
# The share of a drain over which devices are asked to leave.
DRAIN_SPREAD: Final = 0.6
# Even a loss that nobody noticed is mended within this.
RECHECK_S: Final = 300.0
# By then every server has learned of a ring.
RING_SETTLED_S: Final = 5.0
# What covers the moment between two servers' learning of a new generation.
MARGIN_S: Final = 60.0

log = structlog.get_logger("edge")


class Edge:
    """The streams that end here."""

    def __init__(
        self,
        sessions: SessionRegistry,
        owners: Owners,
        homes: Homes,
        history: History,
        admission: Admission,
        who_hides: FindHidden,
        rates: RateLimiter,
        limits: Limits,
        clock: Clock,
        server_id: str,
    ) -> None:
        self._sessions = sessions
        self._owners = owners
        self._homes = homes
        self._history = history
        self._admission = admission
        self._limits = limits
        self._clock = clock
        self._server_id = server_id
        self._registrar = HomeRegistrar(homes, admission.may_stay, clock)
        self._presence = PresenceSubscriptions(homes, who_hides)
        self._rates = rates
        self._stream_limiter = StreamLimiter(limits.device_streams)
        self._handshake_limiter = HandshakeLimiter(limits.handshakes)
        self._tasks = asyncio.TaskGroup()
        self._draining = False

    async def run(self) -> None:
        """Keep sessions attached and in step until cancelled."""
        async with self._tasks as group:
            group.create_task(self._registrar.run())
            group.create_task(self._presence.run())
            group.create_task(self._recheck_loop())

    async def connect(self, stream: ByteStream, call: Call) -> None:
        """Serve a stream until it ends. Raises why it was ended."""
        with self._stream_limiter.count_stream(call.caller.device_id):
            await self._run_handshake(await self._read_hello(stream), stream, call)

    async def subscribe(self, hello: chat_pb2.Hello, stream: ByteStream, call: Call) -> None:
        """The same, once `hello` was said."""
        with self._stream_limiter.count_stream(call.caller.device_id):
            await self._run_handshake(hello, stream, call)

    async def _run_handshake(self, hello: chat_pb2.Hello, stream: ByteStream, call: Call) -> None:
        claims = call.caller
        self._refuse_when_draining()
        handshake = await self._handshake_limiter.acquire()
        try:
            # It may have waited for long.
            self._refuse_when_draining()
            rate = self._rates.bucket_of(claims.device_id)
            session = StreamSession(claims, self._limits, self._clock, self._server_id, self._owners, rate)
            session.cursor = requests.decode_cursor(hello)
            await self._run_session(session, stream, handshake, call.metadata.get("traceparent", ""))
        finally:
            handshake.release()

    async def _run_session(
        self, session: StreamSession, stream: ByteStream, handshake: Handshake, traceparent: str
    ) -> None:
        claims = session.claims
        self._sessions.add(session)
        log.info("session", session_id=session.session_id, user_id=claims.user_id, device_id=claims.device_id)
        try:
            await self._welcome_and_serve(
                session, stream, handshake, traceparent if len(traceparent) == TRACEPARENT_CHARS else ""
            )
        finally:
            self._registrar.detach(session)
            self._presence.remove(session)
            self._sessions.remove(session)
            session.end()

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise ServerDraining("this server is going away; connect again")

    def handle_unary_frame_for_peer(
        self, session_id: str, frame: bytes, reply: Callable[[bytes | Failure], None]
    ) -> None:
        """As `hear`, for another server; `reply` is called once."""

        async def answer() -> None:
            try:
                reply(await self.handle_unary_frame(session_id, frame))
            except Failure as failure:
                reply(failure)
            except Exception:
                log.exception("call not answered", session_id=session_id)
                reply(Failure("this call could not be answered"))

        self._tasks.create_task(answer())

    async def handle_unary_frame(self, session_id: str, frame: bytes) -> bytes:
        """What a session answers to a frame that its device sent as a call; who calls was admitted already.

        Raises StreamNotConnected when it has ended, and what is wrong with the frame.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise StreamNotConnected("this device has no stream; open one first")
        kind, said = requests.decode_frame(frame)
        if kind == "reauthenticate":
            self._admission.renew_admitted(session, said.reauthenticate.access_token)
            return frames.reauthenticate_response(session.claims.expires_at)
        if kind == "heartbeat":
            return frames.heartbeat_response(self._clock.now_ms())
        if kind == "watch_presence":
            return frames.watch_presence_response(
                await self._presence.watch(session, list(said.watch_presence.user_ids))
            )
        raise FrameEmpty(f"{kind} is no call that concerns a stream")

    def on_ring_changed(self, old: Ring, new: Ring) -> None:
        """Attach sessions to their new homes; a server that left may have died before it told everybody."""
        self._presence.on_ring_changed(list(self._sessions))
        left = old.members.keys() - new.members.keys()
        for session in self._sessions:
            moved = session.home != self._homes.home_of(session.claims.user_id)
            if moved:
                self._registrar.mark_detached(session)
            elif left:
                session.request_recheck()
            if moved or left:
                # An owner that learned of the ring later still told the old home.
                session.call_later(RING_SETTLED_S, session.request_recheck)

    def on_home_lost(self, server_id: str) -> None:
        """The link to a home broke: it has forgotten the sessions here, and whom they watch."""
        self._presence.on_home_lost(server_id, list(self._sessions))
        for session in self._sessions:
            if session.home == server_id:
                self._registrar.mark_detached(session)

    def on_generation_changed(self) -> None:
        """All that was noted may be lost: look at once, and when everybody has learned of it."""
        self._sessions.recheck()
        for session in self._sessions:
            session.call_later(MARGIN_S, session.request_recheck)

    async def drain(self, within: float) -> None:
        """Ask every device to leave, each at its own moment; end the sessions still here after `within` seconds."""
        self._draining = True
        for session in self._sessions:
            # Not for cryptography: the moments shall only differ.
            session.outbox.put_frame(frames.drain_frame(random.uniform(0, within * DRAIN_SPREAD), ""))  # noqa: S311
        try:
            async with asyncio.timeout(within):
                await self._sessions.wait_empty()
        except TimeoutError:
            for session in self._sessions:
                session.close(ServerDraining("this server is going away; connect again"))

    async def _read_hello(self, stream: ByteStream) -> chat_pb2.Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                data = await stream.read()
        except TimeoutError:
            raise HelloMissing(f"hello must come within {HELLO_S:.0f} s") from None
        if data is None:
            raise HelloMissing("the stream was closed before hello")
        kind, frame = requests.decode_frame(data)
        if kind != "hello":
            raise HelloMissing(f"the first frame must be hello, not {kind}")
        requests.check_frame(data, frame, self._limits)
        return frame.hello

    async def _welcome_and_serve(
        self, session: StreamSession, stream: ByteStream, handshake: Handshake, traceparent: str
    ) -> None:
        user_id = session.claims.user_id
        self._admission.schedule_expiry(session)
        # Who reads nothing of what is told keeps nobody out for longer.
        session.call_later(HANDSHAKE_S, handshake.release)
        session.outbox.put_frame(
            frames.welcome_frame(
                session.session_id,
                self._homes.address_of(user_id),
                self._limits,
                now_ms=self._clock.now_ms(),
                expires_at=session.claims.expires_at,
            )
        )
        # Attached before the index is read: what comes later is pushed, what came before is named.
        await self._registrar.attach_new(session)
        # Only now: a device that is signed out later than this is found by its home.
        await self._admission.check_signed_in(session)
        session.request_recheck()
        dialogue = StreamHandler(
            session,
            stream,
            self._history,
            self._presence,
            self._limits,
            self._clock,
            self._admission.may_stay,
            self._admission.reauthenticate,
            handshake.release,
            traceparent,
        )
        await dialogue.run()

    async def _recheck_loop(self) -> None:
        while not cancel_requested():
            # At their own moments, so that servers that started together do not read together.
            await asyncio.sleep(RECHECK_S * random.uniform(0.8, 1.2))  # noqa: S311
            self._sessions.recheck()
