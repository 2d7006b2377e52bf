"""The sends of a device that have no answer yet, in order in each conversation. Pure: time is an argument.

A lane is the sends of one conversation. After a refusal for now the lane writes nothing until everything
under way in it has been answered and the server's delay has passed; then it goes on from the refused one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from parley.chat.v1 import chat_pb2
from parley_client.errors import SendQueueFull

CAPACITY = 1000
# Sends of one conversation under way at once.
WINDOW = 32
# When a server refuses for now without saying how long.
DELAY = 0.5


@dataclass(slots=True, eq=False)
class Pending:
    """One send without an answer."""

    request: chat_pb2.SendMessageRequest
    under_way: bool = False
    refused: bool = False
    """Refused for now on this stream, and not written again since."""

    @property
    def id(self) -> str:
        """Its client_message_id."""
        return self.request.client_message_id


@dataclass(slots=True)
class _Lane:
    sends: deque[Pending] = field(default_factory=deque)
    not_before: float = 0.0
    settling: bool = False

    def under_way(self) -> int:
        return sum(1 for each in self.sends if each.under_way)

    def next(self) -> Pending | None:
        under_way = self.under_way()
        if (self.settling and under_way) or under_way >= WINDOW:
            return None
        self.settling = False
        return next((each for each in self.sends if not each.under_way), None)


class Outgoing:
    """All lanes. `needs_new_stream`: a refused send was withdrawn; only a new stream opens its lane again."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._by_id: dict[str, Pending] = {}
        self.needs_new_stream = False

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, client_message_id: str) -> bool:
        return client_message_id in self._by_id

    def add(self, request: chat_pb2.SendMessageRequest) -> None:
        """Put a send at the end of its lane; an id that waits already is not taken twice. SendQueueFull."""
        if request.client_message_id in self._by_id:
            return
        if len(self._by_id) >= self._capacity:
            raise SendQueueFull(f"{self._capacity} messages wait to be sent already", code="RESOURCE_EXHAUSTED")
        pending = Pending(request)
        self._by_id[pending.id] = pending
        self._lanes.setdefault(request.conversation_id, _Lane()).sends.append(pending)

    def due(self, now: float) -> Pending | None:
        """The next send that may be written now, the lanes taking turns; call `written` when it is."""
        for conversation, lane in self._lanes.items():
            if lane.not_before <= now and (pending := lane.next()) is not None:
                self._lanes.move_to_end(conversation)
                return pending
        return None

    def written(self, pending: Pending) -> None:
        """It is being written to the stream."""
        pending.under_way, pending.refused = True, False

    def next_due(self, now: float) -> float | None:
        """When the earliest postponed lane goes on; None: none is postponed."""
        return min((lane.not_before for lane in self._lanes.values() if lane.not_before > now), default=None)

    def settle(self, client_message_id: str) -> Pending | None:
        """It has its last answer, perhaps from a stream that was left; None if it waits no more."""
        pending = self._by_id.pop(client_message_id, None)
        if pending is not None:
            # The server's lane waits for what it refused, and that will not come.
            self.needs_new_stream = self.needs_new_stream or pending.refused
            conversation = pending.request.conversation_id
            lane = self._lanes[conversation]
            lane.sends.remove(pending)
            if not lane.sends:
                del self._lanes[conversation]
        return pending

    def postpone(self, client_message_id: str, delay: float | None, now: float) -> None:
        """It was refused for now: its lane goes on after `delay` seconds, from it."""
        pending = self._by_id.get(client_message_id)
        if pending is None:
            # Withdrawn while it was under way: the server's lane waits for it, and it will not come.
            self.needs_new_stream = True
            return
        pending.under_way, pending.refused = False, True
        lane = self._lanes[pending.request.conversation_id]
        lane.settling = True
        lane.not_before = max(lane.not_before, now + (DELAY if delay is None else delay))

    def withdraw(self, client_message_id: str) -> bool:
        """Nobody waits for it any more; whether it was ever written is not told. False: it was not here."""
        return self.settle(client_message_id) is not None

    def new_stream(self) -> None:
        """Everything without an answer is to be written again, in order, before what is new."""
        self.needs_new_stream = False
        for lane in self._lanes.values():
            lane.settling, lane.not_before = False, 0.0
            for pending in lane.sends:
                pending.under_way = pending.refused = False

    def clear(self) -> list[Pending]:
        """Give all of them up."""
        left = list(self._by_id.values())
        self._by_id.clear()
        self._lanes.clear()
        return left
