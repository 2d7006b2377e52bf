"""A session: the state of one stream of one device, from `hello` to its end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final
from uuid import UUID

import uuid_utils

from chat_service.limits import Limits
from chat_service.model.cursor import Cursor
from chat_service.model.delivery import AttachedSession, Delivery
from chat_service.model.entry import Draft, Message
from chat_service.model.media import MediaCatalog
from chat_service.model.requests import AppendOutcome, Attempt
from chat_service.model.spans import end_with_outcome
from chat_service.stream.media_claims import MediaClaimQueue
from chat_service.stream.message_spans import DeliverySpans, EncodedEntry
from chat_service.stream.ports import Owners
from chat_service.stream.receipt_sender import ReceiptSender
from chat_service.stream.rejections import count_refused_send
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import LaneWait, SendLane
from chat_service.stream.watched_users import WatchedUsers
from chat_service.wire import frames
from chat_service.wire.media import add_claim
from parley.chat.v1 import chat_pb2
from servicekit.auth import Claims
from servicekit.clock import Clock, Timer
from servicekit.errors import RateLimited, SessionSuperseded, SlowConsumer
from servicekit.failure import Failure
from servicekit.outbox import WHOLE_FRAME, Outbox, SlowConsumerDetector
from servicekit.rate_limiter import TokenBucket
from servicekit.tracing import OpenSpan

MAX_LANES: Final = 1000
# Answered sends that a session remembers, because a device may retry a send before it receives the answer.
MAX_RECENTLY_ANSWERED: Final = 1024
# From this many lanes on, idle lanes are evicted until half as many idle ones are left.
MAX_IDLE_LANES: Final = 32
# A superseded session may wait this long for its answers: longer than RETRY_WINDOW_S of a lane.
SUPERSEDED_TIMEOUT_S: Final = 12.0
# Sends of a session whose files wait to be claimed.
MAX_CLAIMS: Final = 256
# A device with too many unanswered sends is asked to retry after this delay.
UNANSWERED_RETRY_S: Final = 0.5


class StreamSession:
    """One stream of one device at its edge: its claims, its outbox, its send lanes and its timers."""

    def __init__(
        self,
        claims: Claims,
        limits: Limits,
        clock: Clock,
        edge: str,
        owners: Owners,
        catalog: MediaCatalog,
        send_rate: TokenBucket,
    ) -> None:
        self.claims = claims
        self.outbox = Outbox(limits.outbox_bytes, frames.join_elements, frames.final_error_frame)
        # Session ids are ordered by time: of two sessions of a device the home keeps the newer one.
        self.attached_session = AttachedSession(uuid_utils.uuid7().hex, claims.user_id, claims.device_id, edge)
        # The home that this session is attached to, or is being attached to; empty: none.
        self.home = ""
        self.cursor: Cursor | None = None
        # Foreground unless the device says otherwise, and when it last sent a frame.
        self.activity = chat_pb2.ACTIVITY_FOREGROUND
        self.heard_at = clock.monotonic()
        # True once presence_service may count the device.
        self.reported = False
        # True if it was reported as silent.
        self.silent = False
        self.watched = WatchedUsers(claims.user_id, self.outbox)
        self._superseded = False
        self._recheck_requested = False
        self._woken = asyncio.Event()
        self._limits = limits
        self._clock = clock
        self._owners = owners
        self._lanes: OrderedDict[str, SendLane] = OrderedDict()
        self._attempts = count(1)
        self._recently_answered = RecentlyAnswered(MAX_RECENTLY_ANSWERED)
        self._unanswered_bytes = 0
        # The spans of the unanswered sends that are traced, by trace context.
        self._send_spans: dict[str, OpenSpan] = {}
        # The trace context of the stream; empty unless it is traced.
        self.stream_context = ""
        self._media_claims = MediaClaimQueue(claims.user_id, catalog)
        self._send_rate = send_rate
        self._timers: set[Timer] = set()
        self._expiry: Timer | None = None
        self._ended = False
        self._slow_consumer = SlowConsumerDetector(
            self.outbox, claims.user_id, limits.outbox_patience_seconds, self.call_later
        )
        self.receipts = ReceiptSender(claims.user_id, claims.device_id, owners, self.call_later)

    @property
    def session_id(self) -> str:
        """The id of the session: a UUIDv7 in hex."""
        return self.attached_session.session_id

    def submit_send(self, draft: Draft, span: OpenSpan | None = None) -> None:
        """Add a send of the device to its lane. The answer, or the refusal by a limit, goes to the outbox.

        `span` is the span of a traced send, which ends with the answer.
        """
        if span is not None:
            self._send_spans[draft.traceparent] = span
        wait_s = self._send_rate.take()
        refusal = RateLimited("device rate limit exceeded", retry_after=wait_s) if wait_s else None
        if self._unanswered_bytes > self._limits.unanswered_bytes:
            refusal = RateLimited("too many bytes of unanswered sends on this stream", retry_after=UNANSWERED_RETRY_S)
        if draft.references.media_id and len(self._media_claims) >= MAX_CLAIMS:
            refusal = RateLimited("too many sends of files are unanswered", retry_after=UNANSWERED_RETRY_S)
        lane = self._get_or_create_lane(draft.conversation_id)
        self._unanswered_bytes += _content_bytes(draft)
        lane.enqueue(draft, refusal)

    def waiting_lanes(self) -> Iterator[tuple[str, LaneWait]]:
        """Yield the conversations of the lanes in which sends wait."""
        for conversation_id, lane in self._lanes.items():
            if (waiting := lane.waiting) is not None:
                yield conversation_id, waiting

    def publish_typing(self, conversation_id: str, typing: bool) -> None:
        """Tell the owner that the user is typing or has stopped."""
        self._owners.publish_typing(self.claims.user_id, conversation_id, typing)

    def refuse_send(self, conversation_id: str, client_message_id: str, failure: Failure) -> None:
        """Answer with `failure` a send that was refused before it became a draft."""
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            with suppress(ValueError):
                lane.forget_refused((conversation_id, UUID(client_message_id).bytes))
        self._answer_send(conversation_id, client_message_id, failure)

    def deliver(self, entries: list[EncodedEntry], delivery: Delivery) -> bool:
        """Put a delivery into the outbox; `entries` are (for other users, for the actor's devices, actor id).

        If the outbox is full, entries and watermarks are dropped, and False is returned. The session is then rechecked,
        so that the device learns of the changed conversations once it has read what is queued.
        """
        fits = True
        for plain, own, actor_id in entries:
            fits = self.outbox.offer(frames.ENTRIES, own if actor_id == self.claims.user_id else plain) and fits
            self.watched.note_entry(plain, actor_id)
        for watermark in delivery.watermarks:
            fits = self.outbox.offer(frames.WATERMARKS, watermark) and fits
        if delivery.typing:
            # Typing is transient: a dropped one is not fetched later.
            self.outbox.offer(WHOLE_FRAME, frames.typing_frame(delivery.typing))
        if not fits:
            self.request_recheck()
            self._slow_consumer.on_overflow()
        return fits

    def deliver_traced(self, entries: list[EncodedEntry], delivery: Delivery) -> None:
        """Put a delivery with traced entries into the outbox as `deliver` does, within spans.

        They end once it is written, and are lost if the outbox is discarded.
        """
        spans = DeliverySpans.start(delivery, self.attached_session, self.stream_context)
        if self.deliver(spans.add_contexts(entries), delivery):
            self.outbox.put_mark(spans.end)
        else:
            spans.end(failure=SlowConsumer("the outbox of the device is full"))

    def note_frame(self, activity: chat_pb2.Activity.ValueType = chat_pb2.ACTIVITY_UNSPECIFIED) -> None:
        """Note that the device has sent something, and whether it is in the foreground if it says so."""
        self.heard_at = self._clock.monotonic()
        self.activity = activity or self.activity

    def close(self, failure: Failure | None) -> None:
        """End the stream once the outbox is written; the last frame is `failure`.

        A superseded stream gets the failure at once and then the answers to its unanswered sends, within
        SUPERSEDED_TIMEOUT_S.
        """
        if failure is None or failure.reason != SessionSuperseded.default_reason:
            self.outbox.close(failure)
            return
        self.outbox.put_frame(frames.error_frame(failure, final=True))
        self._superseded = True
        self._close_if_answered()
        self.call_later(SUPERSEDED_TIMEOUT_S, lambda: self.outbox.close(None))

    def _close_if_answered(self) -> None:
        if self._superseded and all(lane.all_answered for lane in self._lanes.values()):
            self.outbox.close(None)

    def request_recheck(self) -> None:
        """Request a read of the change index, because the device may have missed something."""
        self._recheck_requested = True
        self._woken.set()

    def take_recheck_request(self) -> bool:
        """Return True if a recheck was requested since the last call."""
        requested, self._recheck_requested = self._recheck_requested, False
        return requested

    def wake(self) -> None:
        """Wake the task that reads stores for the device."""
        self._woken.set()

    async def wait_woken(self) -> None:
        """Wait until `wake` is called; return at once if it was called since the last wait."""
        await self._woken.wait()
        self._woken.clear()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Run `call` after `seconds`, unless the session has ended by then."""
        if not self._ended:
            self._call_later(seconds, call)

    def schedule_expiry(self, seconds: float, call: Callable[[], None]) -> None:
        """Run `call` after `seconds`, and cancel the expiry of an earlier token."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._timers.discard(self._expiry)
        self._expiry = self._call_later(seconds, call)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        def fire() -> None:
            self._timers.discard(timer)
            call()

        timer = self._clock.call_later(seconds, fire)
        self._timers.add(timer)
        return timer

    def end(self) -> None:
        """Cancel all timers and claims, and close the outbox."""
        self._ended = True
        self._media_claims.cancel()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for span in self._send_spans.values():
            span.end({"parley.answered": False})
        self.outbox.close(None)

    def _get_or_create_lane(self, conversation_id: str) -> SendLane:
        lane = self._lanes.get(conversation_id)
        if lane is None:
            self._evict_idle_lanes()
            lane = self._lanes[conversation_id] = SendLane(
                partial(self._owners.owner_of, conversation_id),
                self._forward,
                self._claim_media,
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
        idle = [conversation_id for conversation_id, lane in self._lanes.items() if lane.idle]
        for conversation_id in idle[: max(0, len(idle) - MAX_IDLE_LANES // 2)]:
            del self._lanes[conversation_id]
        if len(self._lanes) >= MAX_LANES:
            # On a new stream the device retries its unanswered and refused sends in order.
            too_many = "too many conversations have unanswered sends; connect again"
            self.close(RateLimited(too_many, retry_after=UNANSWERED_RETRY_S))

    def _forward(self, draft: Draft, attempt: int, target: str, reply: Callable[[AppendOutcome], None]) -> None:
        self._owners.route_append(draft, Attempt(self.session_id, attempt), target, reply)

    def _claim_media(self, draft: Draft, reply: Callable[[Draft | Failure], None]) -> None:
        self._media_claims.add(draft.references.media_id, lambda outcome: reply(add_claim(draft, outcome)))

    def _put_result(self, draft: Draft, outcome: AppendOutcome) -> None:
        self._unanswered_bytes -= _content_bytes(draft)
        if draft.traceparent and (span := self._send_spans.pop(draft.traceparent, None)) is not None:
            end_with_outcome(span, outcome)
        self._answer_send(draft.conversation_id, str(UUID(bytes=draft.request_id)), outcome)
        self._close_if_answered()

    def _answer_send(self, conversation_id: str, client_message_id: str, outcome: AppendOutcome) -> None:
        if isinstance(outcome, Failure):
            count_refused_send(outcome)
        self.outbox.put(frames.RESULTS, frames.encode_send_result(conversation_id, client_message_id, outcome))


def _content_bytes(draft: Draft) -> int:
    return len(draft.change.content) if isinstance(draft.change, Message) else 0
