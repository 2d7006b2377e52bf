"""A session: one stream of one device, from `hello` to its end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, Protocol
from uuid import UUID

import uuid_utils

from chat_service.errors import RateLimited, SessionSuperseded
from chat_service.home.home import Attachment
from chat_service.limits import Limits
from chat_service.model.answer import Answer
from chat_service.model.cursor import Cursor
from chat_service.model.delivery import Delivery
from chat_service.model.entry import Draft, Message
from chat_service.owner.pending import Attempt
from chat_service.stream.backlog import Backlog
from chat_service.stream.lane import Lane
from chat_service.stream.outbox import WHOLE, Outbox
from chat_service.stream.places import Decided
from chat_service.stream.receipts import Receipts, Receivers
from chat_service.wire import frames
from servicekit.auth import Claims
from servicekit.bucket import TokenBucket
from servicekit.clock import Clock, Timer
from servicekit.failure import Failure

LANES: Final = 1000
# Decisions that a session remembers: a device may send again what was decided, before it hears so.
DECIDED: Final = 1024
# Lanes that are kept though nothing is on its way in them.
LANES_AT_REST: Final = 32
# More than a lane's patience.
LONGEST_LEAVE_S: Final = 12.0
# A device that has too much unanswered is told to wait so long.
FULL_S: Final = 0.5


class Owners(Receivers, Protocol):
    """The owners of conversations, as far as a session concerns them."""

    def append(self, draft: Draft, attempt: Attempt, target: str, reply: Callable[[Answer], None]) -> None:
        """Have `draft` appended by the server `target`."""

    def type(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Tell the other members that a member types, or stopped."""

    def owner_of(self, conversation_id: str) -> str:
        """The id of the server that owns a conversation; empty while there is no ring."""


class Session:
    """What the edge keeps of a stream: whose it is, what waits for it, and what of its sends is unanswered."""

    def __init__(
        self, claims: Claims, limits: Limits, clock: Clock, edge: str, owners: Owners, rate: TokenBucket
    ) -> None:
        self.claims = claims
        self.outbox = Outbox(limits.outbox_bytes)
        # Ids in the order of their making: of two sessions of a device the newer one stays.
        self.attachment = Attachment(uuid_utils.uuid7().hex, claims.user_id, claims.device_id, edge)
        # The server that knows of this session as its home, or is being told; empty: none yet.
        self.home = ""
        self.cursor: Cursor | None = None
        # Whose presence the device is told, as it knows it (None: it was not told yet); and the homes that tell.
        self.watched: dict[str, bool | None] = {}
        self.watched_at: set[str] = set()
        self._superseded = False
        self._recheck_wanted = False
        self._woken = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._owners = owners
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._attempts = count(1)
        self._decided = Decided(DECIDED)
        self._unanswered_bytes = 0
        self._rate = rate
        self._timers: set[Timer] = set()
        self._expiry: Timer | None = None
        self._ended = False
        self._backlog = Backlog(self.outbox, claims.user_id, limits.outbox_patience_seconds, self.later)
        self.receipts = Receipts(claims.user_id, claims.device_id, owners, self.later)

    @property
    def session_id(self) -> str:
        """The name of the session."""
        return self.attachment.session_id

    def submit(self, draft: Draft) -> None:
        """A send of the device; its answer goes to the outbox."""
        wait = self._rate.take()
        refusal = RateLimited("this device sends faster than it may", retry_after=wait) if wait else None
        if self._unanswered_bytes > self._limits.unanswered_bytes:
            refusal = RateLimited("too much of what this device sent is unanswered", retry_after=FULL_S)
        lane = self._lane(draft.conversation_id)
        self._unanswered_bytes += _size(draft)
        lane.submit(draft, refusal)

    def type(self, conversation_id: str, typing: bool) -> None:
        """The user types, or stopped."""
        self._owners.type(self.claims.user_id, conversation_id, typing)

    def refuse(self, conversation_id: str, client_message_id: str, failure: Failure) -> None:
        """Answer a send that never became a draft, this time."""
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            with suppress(ValueError):
                lane.settle((conversation_id, UUID(client_message_id).bytes))
        self.outbox.put(frames.RESULTS, frames.result(conversation_id, client_message_id, failure))

    def push(self, entries: list[tuple[bytes, bytes, str]], delivery: Delivery) -> None:
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
            self.outbox.offer(WHOLE, frames.typed(delivery.typing))
        if delivery.presence:
            self.presence_is(delivery.presence.user_id, delivery.presence.online)
        if not fits:
            self.want_recheck()
            self._backlog.grew()

    def presence_is(self, user_id: str, online: bool) -> None:
        """Whether a user that the device watches is online; it is told if it knows otherwise."""
        before = self.watched.get(user_id, online)
        if before != online:
            self.watched[user_id] = online
            if before is not None:
                self.outbox.offer(WHOLE, frames.presence({user_id: online}))

    def close(self, failure: Failure | None) -> None:
        """End the stream once what waits is written; a superseded one is told the answers it waits for first."""
        if failure is None or failure.reason != SessionSuperseded.default_reason:
            self.outbox.close(failure)
            return
        self.outbox.put_frame(frames.error(failure, final=True))
        self._superseded = True
        self._leave_if_answered()
        self.later(LONGEST_LEAVE_S, lambda: self.outbox.close(None))

    def _leave_if_answered(self) -> None:
        if self._superseded and all(lane.answered for lane in self._lanes.values()):
            self.outbox.close(None)

    def want_recheck(self) -> None:
        """The device may have missed something: have somebody look."""
        self._recheck_wanted = True
        self._woken.set()

    def recheck_wanted(self) -> bool:
        """Whether somebody must look for what was missed; asked once, it is done."""
        wanted, self._recheck_wanted = self._recheck_wanted, False
        return wanted

    def wake(self) -> None:
        """There is something to read for the device."""
        self._woken.set()

    async def woken(self) -> None:
        """Wait until there is something to read for the device."""
        await self._woken.wait()
        self._woken.clear()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in `seconds`, unless the session has ended by then."""
        if not self._ended:
            self._call_later(seconds, call)

    def expire_in(self, seconds: float, call: Callable[[], None]) -> None:
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

    def _lane(self, conversation_id: str) -> Lane:
        lane = self._lanes.get(conversation_id)
        if lane is None:
            self._make_room()
            lane = self._lanes[conversation_id] = Lane(
                partial(self._owners.owner_of, conversation_id),
                self._forward,
                self._tell,
                self.later,
                self._clock,
                self._limits.lane_sends,
                self._attempts,
                self._decided,
            )
        self._lanes.move_to_end(conversation_id)
        return lane

    def _make_room(self) -> None:
        if len(self._lanes) < LANES_AT_REST:
            return
        at_rest = [each for each, lane in self._lanes.items() if lane.at_rest]
        for conversation_id in at_rest[: max(0, len(at_rest) - LANES_AT_REST // 2)]:
            del self._lanes[conversation_id]
        if len(self._lanes) >= LANES:
            # On a new stream it begins anew, with what is unanswered or refused, in order.
            self.close(RateLimited("sends to too many conversations are unanswered; connect again", retry_after=FULL_S))

    def _forward(self, draft: Draft, attempt: int, target: str, reply: Callable[[Answer], None]) -> None:
        self._owners.append(draft, Attempt(self.session_id, attempt), target, reply)

    def _tell(self, draft: Draft, answer: Answer) -> None:
        client_message_id = str(UUID(bytes=draft.request_id))
        self._unanswered_bytes -= _size(draft)
        self.outbox.put(frames.RESULTS, frames.result(draft.conversation_id, client_message_id, answer))
        self._leave_if_answered()


def _size(draft: Draft) -> int:
    return len(draft.change.content) if isinstance(draft.change, Message) else 0
