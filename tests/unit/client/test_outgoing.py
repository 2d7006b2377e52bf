"""The sends of a lane leave in order after refusals, delays, withdrawals and reconnects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import chat_pb2
from parley_client.errors import SendQueueFull
from parley_client.send_queue import MAX_SENDS_IN_FLIGHT, SendQueue


def message(name: str, conversation: str = "c") -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(client_message_id=name, conversation_id=conversation)


def written(outgoing: SendQueue, now: float = 0.0) -> list[str]:
    names = []
    while pending := outgoing.next_due_send(now):
        outgoing.mark_written(pending)
        names.append(pending.id)
    return names


def test_sends_leave_in_order_within_the_window() -> None:
    outgoing = SendQueue()
    for n in range(MAX_SENDS_IN_FLIGHT + 5):
        outgoing.add(message(str(n)))
    assert written(outgoing) == [str(n) for n in range(MAX_SENDS_IN_FLIGHT)]
    outgoing.complete("0")
    assert written(outgoing) == [str(MAX_SENDS_IN_FLIGHT)]


def test_send_settled_by_old_stream_after_refusal_needs_new_stream() -> None:
    outgoing = SendQueue()
    outgoing.add(message("1"))
    written(outgoing)
    outgoing.requeue_in_flight()
    written(outgoing)
    outgoing.postpone("1", 0.1, 0.0)
    # The old stream settled the send; the lane of the new stream would wait for it for ever.
    outgoing.complete("1")
    assert outgoing.needs_new_stream


def test_lanes_alternate() -> None:
    outgoing = SendQueue()
    for name in ("a1", "a2", "b1", "b2"):
        outgoing.add(message(name, name[0]))
    assert written(outgoing) == ["a1", "b1", "a2", "b2"]


def test_lane_resumes_from_refused_send_once_all_are_answered() -> None:
    outgoing = SendQueue()
    for name in "abc":
        outgoing.add(message(name))
    assert written(outgoing) == ["a", "b", "c"]
    outgoing.postpone("a", 1.0, now=0.0)
    outgoing.add(message("d"))
    assert written(outgoing, now=5.0) == [], "b and c are still in flight"
    outgoing.postpone("b", 0.0, now=0.1)
    outgoing.postpone("c", 0.0, now=0.1)
    assert written(outgoing, now=0.5) == [], "the server asked for a second"
    assert outgoing.next_due_time(0.5) == 1.0
    assert written(outgoing, now=1.0) == ["a", "b", "c", "d"]


def test_final_refusal_does_not_block_other_sends() -> None:
    outgoing = SendQueue()
    for name in "abc":
        outgoing.add(message(name))
    written(outgoing)
    outgoing.complete("b")
    outgoing.requeue_in_flight()
    assert written(outgoing) == ["a", "c"]


def test_unanswered_sends_precede_new_ones_on_new_stream() -> None:
    outgoing = SendQueue()
    outgoing.add(message("a"))
    outgoing.add(message("b"))
    written(outgoing)
    outgoing.complete("a")
    outgoing.add(message("c"))
    outgoing.requeue_in_flight()
    assert written(outgoing) == ["b", "c"]


@pytest.mark.parametrize("answered_first", [True, False])
def test_withdrawn_refused_send_needs_new_stream(answered_first: bool) -> None:
    outgoing = SendQueue()
    outgoing.add(message("a"))
    written(outgoing)
    if answered_first:
        outgoing.postpone("a", 9.0, now=0.0)
    outgoing.cancel("a")
    if not answered_first:
        outgoing.postpone("a", 9.0, now=0.0)
    assert outgoing.needs_new_stream


def test_queue_is_bounded_and_ignores_repeated_id() -> None:
    outgoing = SendQueue(capacity=2)
    for name in ("a", "a", "b"):
        outgoing.add(message(name))
    with pytest.raises(SendQueueFull):
        outgoing.add(message("c"))


@given(st.lists(st.sampled_from(["write", "accept", "postpone", "stream"]), max_size=80), st.integers(1, 12))
def test_log_contains_every_message_in_send_order(steps: list[str], count: int) -> None:
    """The server answers in order, and after a refusal accepts only the refused send, as the contract says."""
    outgoing, wire, gate = SendQueue(), list[str](), list[str]()
    log: list[str] = []
    for n in range(count):
        outgoing.add(message(str(n)))
    for now, step in enumerate([*steps, "stream", *["write", "accept"] * (count * 3)]):
        if step == "write" and (pending := outgoing.next_due_send(now)):
            outgoing.mark_written(pending)
            wire.append(pending.id)
        elif step == "stream":
            outgoing.requeue_in_flight()
            wire, gate = [], []
        elif step in ("accept", "postpone") and wire:
            name = wire.pop(0)
            gate = gate[1:] if gate[:1] == [name] else gate
            if step == "postpone" or gate:
                gate = gate or [name]
                outgoing.postpone(name, 0.0, now)
            else:
                log += [name] if name not in log else []
                outgoing.complete(name)
    assert log == [str(n) for n in range(count)]
