"""The decision of a home which deliveries are queued for the notify service, and for whom."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from chat_service.model.delivery import Delivery, UnpushedEntry
from chat_service.wire import push
from servicekit.clock import Clock, Timer

# After a change of the ring, edges attach their sessions again within this time; until then nobody is taken for away.
HOLD_S: Final = 5.0
# Deliveries that are held until then; beyond them pushes are queued at once, also for users who may be there.
MAX_HELD: Final = 10_000
# Pairs of a user and a conversation of which this home knows whether something was queued and not read since.
MAX_REMEMBERED: Final = 200_000
# Of a pair of which nothing was remembered: another home may have queued something.
UNKNOWN: Final[tuple[int | None, int]] = (None, 0)
# A device that is silent now was taken for in the foreground for this long, and may not have got what came meanwhile.
UNHEARD_MS: Final = 15_000
# So many of the last deliveries are kept for each user in the foreground.
MAX_UNHEARD: Final = 10


class PushQueue(Protocol):
    """The queue of events for the notify service."""

    def add(self, event: bytes) -> None:
        """Queue a serialised QueuedPush. It does not wait."""


TestUser = Callable[[str], bool]
Forward = Callable[[Collection[str], Delivery], None]
"""Offers a delivery to the present homes of users."""


class PendingPushes:
    """Queues what users who are not in the foreground should be notified of.

    While it is not certain who is away, deliveries are held: for HOLD_S after a change of the ring, and for users
    whose home is another server by the ring of this one. Those are handed to their homes then.

    `is_in_foreground` returns True if a session of a user is in the foreground, `is_home_of` if this server is the home
    of a user by the ring.
    """

    def __init__(
        self,
        queue: PushQueue,
        is_in_foreground: TestUser,
        is_home_of: TestUser,
        forward: Forward,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._is_in_foreground = is_in_foreground
        self._is_home_of = is_home_of
        self._forward = forward
        self._clock = clock
        # Users, the delivery, and its time.
        self._held: list[tuple[Sequence[str], Delivery, int]] = []
        self._is_holding = True
        self._timer: Timer | None = None
        # By user and conversation: the highest seq that this or another home may have queued and that was not read
        # since, 0 if there is none, None if it is unknown; and the highest read seq that was queued.
        self._remembered: OrderedDict[tuple[str, str], tuple[int | None, int]] = OrderedDict()
        # By user with a session here: the last deliveries that came while one was in the foreground, and their times.
        self._unpushed: dict[str, deque[tuple[int, Delivery]]] = {}
        self.hold()

    def hold(self) -> None:
        """Hold deliveries for HOLD_S, because sessions may not be attached yet."""
        self._is_holding = True
        # Users who move away and come back may have pushes of another home.
        self._remembered.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(HOLD_S, self.decide_held)

    def offer(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Take a delivery for users of this home: queue its entries for those who are away, and what they have read."""
        if delivery.entries:
            now_ms = self._clock.now_ms()
            away = self._find_away(user_ids, delivery, now_ms)
            if not away:
                return
            if len(self._held) >= MAX_HELD or (not self._is_holding and all(map(self._is_home_of, away))):
                self._queue_entries(away, delivery)
            else:
                self._hold_delivery(away, delivery, now_ms)
        elif delivery.watermarks:
            self._queue_reads(frozenset(user_ids), delivery)

    def _find_away(self, user_ids: Collection[str], delivery: Delivery, time_ms: int) -> list[str]:
        """Return the users who are away, and note for the others that a delivery of this time is not pushed."""
        away, present = list[str](), list[str]()
        for user_id in user_ids:
            (present if self._is_in_foreground(user_id) else away).append(user_id)
        # What is offered again is old.
        if present and not delivery.push_only:
            self._note_live(present, delivery, time_ms)
        return away

    def _note_live(self, user_ids: Sequence[str], delivery: Delivery, time_ms: int) -> None:
        """Note a delivery that is not pushed to these users, who are in the foreground."""
        conversation_id, seq = push.oldest_entry(delivery)
        author_ids = {each.actor_id for each in delivery.entries}
        only_author_id = author_ids.pop() if len(author_ids) == 1 else ""
        for user_id in user_ids:
            # Nobody is notified of their own entries.
            if user_id != only_author_id:
                self._note_unpushed(user_id, (time_ms, delivery))
            newest, read = self._remembered.get((user_id, conversation_id), UNKNOWN)
            if newest is None:
                # What another home may have queued is older than what comes here.
                self._remember((user_id, conversation_id), seq - 1, read)

    def _note_unpushed(self, user_id: str, noted: tuple[int, Delivery]) -> None:
        last = self._unpushed.setdefault(user_id, deque(maxlen=MAX_UNHEARD))
        if not last or last[-1][0] <= noted[0]:
            last.append(noted)
        while last[0][0] < last[-1][0] - UNHEARD_MS:
            last.popleft()

    def offer_unheard(self, user_id: str) -> None:
        """Offer again what came in the last seconds, because the session that it was for is silent now."""
        if not self._is_in_foreground(user_id):
            since_ms = self._clock.now_ms() - UNHEARD_MS
            for time_ms, delivery in self._unpushed.pop(user_id, ()):
                if time_ms >= since_ms:
                    self.offer([user_id], delivery)

    def find_unpushed(self, user_id: str) -> UnpushedEntry | None:
        """Return the last entry by another user that came while a session of the user was in the foreground."""
        if not (noted := self._unpushed.get(user_id)):
            return None
        time_ms, delivery = noted[-1]
        conversation_id, seq = push.newest_entry(delivery, user_id)
        return UnpushedEntry(conversation_id, seq, time_ms)

    def forget_user(self, user_id: str) -> None:
        """Forget what came while a session of the user was in the foreground: there is none here any more."""
        self._unpushed.pop(user_id, None)

    def _hold_delivery(self, user_ids: Sequence[str], delivery: Delivery, time_ms: int) -> None:
        self._held.append((user_ids, delivery, time_ms))
        if self._timer is None:
            self._timer = self._clock.call_later(HOLD_S, self.decide_held)

    def decide_held(self) -> None:
        """Queue the held deliveries for the users who are away now, and hand those of moved users to their homes."""
        self._is_holding, self._timer = False, None
        held, self._held = self._held, []
        for user_ids, delivery, time_ms in held:
            away = self._find_away(user_ids, delivery, time_ms)
            here = [user_id for user_id in away if self._is_home_of(user_id)]
            if here:
                self._queue_entries(here, delivery)
            if moved := [user_id for user_id in away if user_id not in here]:
                self._forward(moved, delivery)

    def _queue_entries(self, user_ids: Sequence[str], delivery: Delivery) -> None:
        conversation_id, seq = push.newest_entry(delivery)
        self._queue.add(push.encode_entries(user_ids, conversation_id, delivery, self._clock.now_ms()))
        for user_id in user_ids:
            pair = user_id, conversation_id
            newest, read = self._remembered.get(pair, UNKNOWN)
            self._remember(pair, max(seq, newest or 0), read)

    def _remember(self, pair: tuple[str, str], newest: int | None, read: int) -> None:
        self._remembered[pair] = newest, read
        self._remembered.move_to_end(pair)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _queue_reads(self, user_ids: Collection[str], delivery: Delivery) -> None:
        """Queue what users have read themselves, unless this home knows that nothing was pushed of it."""
        for mark in map(push.decode_watermark, delivery.watermarks):
            pair = mark.user_id, mark.conversation_id
            newest, read = self._remembered.get(pair, UNKNOWN)
            if mark.user_id not in user_ids or mark.read_seq <= read or newest == 0:
                continue
            self._queue.add(push.encode_read(*pair, mark.read_seq, self._clock.now_ms()))
            is_all_read = newest is not None and mark.read_seq >= newest
            self._remember(pair, 0 if is_all_read else newest, mark.read_seq)
