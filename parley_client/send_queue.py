"""The queue of a device's unanswered sends, in order within each conversation. Pure: time is an argument.

After a retryable refusal a conversation's queue writes nothing until all of its sends in flight have been answered
and the server's delay has passed; it resumes with the refused send.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from parley.chat.v1 import chat_pb2
from parley_client.errors import SendQueueFull

MAX_QUEUED_SENDS = 1000
# Sends of one conversation in flight at once.
MAX_SENDS_IN_FLIGHT = 32
# Seconds before a retry when a retryable refusal has no RetryInfo.
DEFAULT_RETRY_DELAY_S = 0.5


@dataclass(slots=True, eq=False)
class QueuedSend:
    """One unanswered send."""

    request: chat_pb2.SendMessageRequest
    in_flight: bool = False
    refused: bool = False
    """True after a retryable refusal on this stream, until the send is written again."""

    @property
    def id(self) -> str:
        """The client_message_id of the request."""
        return self.request.client_message_id


@dataclass(slots=True)
class _ConversationQueue:
    """The unanswered sends of one conversation, in order."""

    sends: deque[QueuedSend] = field(default_factory=deque)
    not_before: float = 0.0
    awaiting_replies: bool = False
    """True after a retryable refusal, until all sends in flight have been answered."""

    def in_flight_count(self) -> int:
        return sum(1 for each in self.sends if each.in_flight)

    def next_send(self) -> QueuedSend | None:
        in_flight = self.in_flight_count()
        if (self.awaiting_replies and in_flight) or in_flight >= MAX_SENDS_IN_FLIGHT:
            return None
        self.awaiting_replies = False
        return next((each for each in self.sends if not each.in_flight), None)


class SendQueue:
    """The unanswered sends of a device, at most `capacity`, in one queue for each conversation.

    `needs_new_stream` is True once a refused send was removed: the server's gate stays closed until that send comes
    again, and a new stream has no gate.
    """

    def __init__(self, capacity: int = MAX_QUEUED_SENDS) -> None:
        self._capacity = capacity
        self._queues: OrderedDict[str, _ConversationQueue] = OrderedDict()
        self._by_id: dict[str, QueuedSend] = {}
        self.needs_new_stream = False

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def is_full(self) -> bool:
        """True if another send would raise SendQueueFull."""
        return len(self._by_id) >= self._capacity

    def __contains__(self, client_message_id: str) -> bool:
        return client_message_id in self._by_id

    def add(self, request: chat_pb2.SendMessageRequest) -> None:
        """Append a send to its conversation's queue; an id that is queued already is ignored. Raises SendQueueFull."""
        if request.client_message_id in self._by_id:
            return
        if self.is_full:
            raise SendQueueFull(f"the send queue is full ({self._capacity} messages)", code="RESOURCE_EXHAUSTED")
        send = QueuedSend(request)
        self._by_id[send.id] = send
        self._queues.setdefault(request.conversation_id, _ConversationQueue()).sends.append(send)

    def next_due_send(self, now: float) -> QueuedSend | None:
        """Return the next send that may be written now, conversations in round robin; the caller marks it written."""
        for conversation, queue in self._queues.items():
            if queue.not_before <= now and (send := queue.next_send()) is not None:
                self._queues.move_to_end(conversation)
                return send
        return None

    def mark_written(self, send: QueuedSend) -> None:
        """Count a send as in flight on the present stream."""
        send.in_flight, send.refused = True, False

    def next_due_time(self, now: float) -> float | None:
        """Return the time at which the earliest postponed queue resumes; None: none is postponed."""
        return min((queue.not_before for queue in self._queues.values() if queue.not_before > now), default=None)

    def complete(self, client_message_id: str) -> QueuedSend | None:
        """Remove and return a send that has its final reply, from any stream; None if it is not queued."""
        send = self._by_id.pop(client_message_id, None)
        if send is not None:
            # The server's gate waits for the refused send, which will not be written again.
            self.needs_new_stream = self.needs_new_stream or send.refused
            conversation = send.request.conversation_id
            queue = self._queues[conversation]
            queue.sends.remove(send)
            if not queue.sends:
                del self._queues[conversation]
        return send

    def postpone(self, client_message_id: str, delay_s: float | None, now: float) -> None:
        """Resume the queue from a retryably refused send after `delay_s` seconds; None: after 0.5 s."""
        send = self._by_id.get(client_message_id)
        if send is None:
            # It was cancelled in flight: the server's gate waits for a send that will not be written again.
            self.needs_new_stream = True
            return
        send.in_flight, send.refused = False, True
        queue = self._queues[send.request.conversation_id]
        queue.awaiting_replies = True
        queue.not_before = max(queue.not_before, now + (DEFAULT_RETRY_DELAY_S if delay_s is None else delay_s))

    def cancel(self, client_message_id: str) -> bool:
        """Remove a send, which may have been written already; return False if it is not queued."""
        return self.complete(client_message_id) is not None

    def requeue_in_flight(self) -> None:
        """Queue all sends in flight again when a new stream opens, in order and before new sends."""
        self.needs_new_stream = False
        for queue in self._queues.values():
            queue.awaiting_replies, queue.not_before = False, 0.0
            for send in queue.sends:
                send.in_flight = send.refused = False

    def clear(self) -> list[QueuedSend]:
        """Remove and return all sends."""
        cleared = list(self._by_id.values())
        self._by_id.clear()
        self._queues.clear()
        return cleared
