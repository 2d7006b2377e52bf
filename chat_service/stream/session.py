"""A session: one stream of one device, from `hello` to its end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final
from uuid import UUID

import uuid_utils

from chat_service.errors import RateLimited, SessionSuperseded
from chat_service.limits import Limits
from chat_service.model.cursor import Cursor
from chat_service.model.delivery import AttachedSession, Delivery
from chat_service.model.entry import Draft, Message
from chat_service.model.requests import AppendOutcome, Attempt
from chat_service.stream.outbox import WHOLE_FRAME, Outbox, SlowConsumerDetector
from chat_service.stream.ports import Owners
from chat_service.stream.receipt_sender import ReceiptSender
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import SendLane
from chat_service.wire import frames
from servicekit.auth import Claims
from servicekit.clock import Clock, Timer
from servicekit.failure import Failure
from servicekit.rate_limiter import TokenBucket

MAX_LANES: Final = 1000
# Decisions that a session remembers: a device may send again what was decided, before it hears so.
RECENTLY_ANSWERED: Final = 1024
# Lanes that are kept though nothing is on its way in them.
MAX_IDLE_LANES: Final = 32
# More than a lane's patience.
MAX_SUPERSEDED_S: Final = 12.0
# A device that has too much unanswered is told to wait so long.
FULL_RETRY_S: Final = 0.5


class StreamSession:
    """What the edge keeps of a stream: whose it is, what waits for it, and what of its sends is unanswered."""

    def __init__(
        self, claims: Claims, limits: Limits, clock: Clock, edge: str, owners: Owners, rate: TokenBucket
    ) -> None:
        self.claims = claims
        self.outbox = Outbox(limits.outbox_bytes)
        # Ids in the order of their making: of two sessions of a device the newer one stays.
        self.attached_session = AttachedSession(uuid_utils.uuid7().hex, claims.user_id, claims.device_id, edge)
        # The server that knows of this session as its home, or is being told; empty: none yet.
        self.home = ""
        self.cursor: Cursor | None = None
        # Whose presence the device is told, as it knows it (None: it was not told yet); and the homes that tell.
        self.watched: dict[str, bool | None] = {}
        self.watched_homes: set[str] = set()
        self._superseded = False
        self._recheck_wanted = False
        self._woken = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._owners = owners
        self._lanes: OrderedDict[str, SendLane] = OrderedDict()
        self._attempts = count(1)
        self._recently_answered = RecentlyAnswered(RECENTLY_ANSWERED)
        self._unanswered_bytes = 0
        self._rate = rate
        self._timers: set[Timer] = set()
        self._expiry: Timer | None = None
        self._ended = False
        self._slow_consumer = SlowConsumerDetector(
            self.outbox, claims.user_id, limits.outbox_patience_seconds, self.call_later
        )
        self.receipts = ReceiptSender(claims.user_id, claims.device_id, owners, self.call_later)

    @property
    def session_id(self) -> str:
        """The name of the session."""
        return self.attached_session.session_id

    def submit_send(self, draft: Draft) -> None:
        """A send of the device; its answer goes to the outbox."""
        wait = self._rate.take()
        refusal = RateLimited("this device sends faster than it may", retry_after=wait) if wait else None
        if self._unanswered_bytes > self._limits.unanswered_bytes:
            refusal = RateLimited("too much of what this device sent is unanswered", retry_after=FULL_RETRY_S)
        lane = self._lane(draft.conversation_id)
        self._unanswered_bytes += _size(draft)
        lane.enqueue(draft, refusal)

    def publish_typing(self, conversation_id: str, typing: bool) -> None:
        """The user types, or stopped."""
        self._owners.publish_typing(self.claims.user_id, conversation_id, typing)

    def refuse_send(self, conversation_id: str, client_message_id: str, failure: Failure) -> None:
        """Answer a send that never became a draft, this time."""
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            with suppress(ValueError):
                lane.forget_refused((conversation_id, UUID(client_message_id).bytes))
        self.outbox.put(frames.RESULTS, frames.encode_send_result(conversation_id, client_message_id, failure))

    def deliver(self, entries: list[tuple[bytes, bytes, str]], delivery: Delivery) -> None:
        """What an owner published: entries as (for others, for the actor's devices, actor), and watermarks.

        What finds no room is named to the device once it has read what waits.
        """
        fits = True
        for plain, own, actor in entries:
            fits = self.outbox.offer(frames.ENTRIES, own if actor == self.claims.user_id else plain) and fits
        for mark in delivery.watermarks:
            fits = self.outbox.offer(frames.WATERMARKS, mark) and fits
        if delivery.typing:
            # Nobody looks for that later.
            self.outbox.offer(WHOLE_FRAME, frames.typing_frame(delivery.typing))
        if delivery.presence:
            self.update_presence(delivery.presence.user_id, delivery.presence.online)
        if not fits:
            self.request_recheck()
            self._slow_consumer.on_overflow()

    def update_presence(self, user_id: str, online: bool) -> None:
        """Whether a user that the device watches is online; it is told if it knows otherwise."""
        before = self.watched.get(user_id, online)
        if before != online:
            self.watched[user_id] = online
            if before is not None:
                self.outbox.offer(WHOLE_FRAME, frames.presence_frame({user_id: online}))

    def close(self, failure: Failure | None) -> None:
        """End the stream once what waits is written; a superseded one is told the answers it waits for first."""
        if failure is None or failure.reason != SessionSuperseded.default_reason:
            self.outbox.close(failure)
            return
        self.outbox.put_frame(frames.error_frame(failure, final=True))
        self._superseded = True
        self._close_if_answered()
        self.call_later(MAX_SUPERSEDED_S, lambda: self.outbox.close(None))

    def _close_if_answered(self) -> None:
        if self._superseded and all(lane.all_answered for lane in self._lanes.values()):
            self.outbox.close(None)

    def request_recheck(self) -> None:
        """The device may have missed something: have somebody look."""
        self._recheck_wanted = True
        self._woken.set()

    def take_recheck_request(self) -> bool:
        """Whether somebody must look for what was missed; asked once, it is done."""
        wanted, self._recheck_wanted = self._recheck_wanted, False
        return wanted

    def wake(self) -> None:
        """There is something to read for the device."""
        self._woken.set()

    async def wait_woken(self) -> None:
        """Wait until there is something to read for the device."""
        await self._woken.wait()
        self._woken.clear()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in `seconds`, unless the session has ended by then."""
        if not self._ended:
            self._call_later(seconds, call)

    def schedule_expiry(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in `seconds`, in the place of what was to be called by an earlier token."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._timers.discard(self._expiry)
        self._expiry = self._call_later(seconds, call)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        def fire() -> None:
            self._timers.discard(handle)
            call()

        handle = self._clock.call_later(seconds, fire)
        self._timers.add(handle)
        return handle

    def end(self) -> None:
        """Nothing happens in this session any more."""
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.outbox.close(None)

    def _lane(self, conversation_id: str) -> SendLane:
        lane = self._lanes.get(conversation_id)
        if lane is None:
            self._evict_idle_lanes()
            lane = self._lanes[conversation_id] = SendLane(
                partial(self._owners.owner_of, conversation_id),
                self._forward,
                self._put_result,
                self.call_later,
                self._clock,
                self._limits.lane_sends,
                self._attempts,
                self._recently_answered,
            )
        self._lanes.move_to_end(conversation_id)
        return lane

    def _evict_idle_lanes(self) -> None:
        if len(self._lanes) < MAX_IDLE_LANES:
            return
        at_rest = [each for each, lane in self._lanes.items() if lane.idle]
        for conversation_id in at_rest[: max(0, len(at_rest) - MAX_IDLE_LANES // 2)]:
            del self._lanes[conversation_id]
        if len(self._lanes) >= MAX_LANES:
            # On a new stream it begins anew, with what is unanswered or refused, in order.
            self.close(
                RateLimited("sends to too many conversations are unanswered; connect again", retry_after=FULL_RETRY_S)
            )

    def _forward(self, draft: Draft, attempt: int, target: str, reply: Callable[[AppendOutcome], None]) -> None:
        self._owners.route_append(draft, Attempt(self.session_id, attempt), target, reply)

    def _put_result(self, draft: Draft, answer: AppendOutcome) -> None:
        client_message_id = str(UUID(bytes=draft.request_id))
        self._unanswered_bytes -= _size(draft)
        self.outbox.put(frames.RESULTS, frames.encode_send_result(draft.conversation_id, client_message_id, answer))
        self._close_if_answered()


def _size(draft: Draft) -> int:
    return len(draft.change.content) if isinstance(draft.change, Message) else 0
