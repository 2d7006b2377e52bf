"""The cursor advances only after every conversation listed before it was fetched, by fetches started afterwards."""

from parley.chat.v1 import chat_pb2
from parley_client.catchup import FETCH_TIMEOUT_S, Catchup


def page(*names: str, cursor: int | None = None, resync: bool = False) -> chat_pb2.Changes:
    changes = chat_pb2.Changes(conversation_ids=names, last_page=cursor is not None)
    if cursor:
        changes.cursor.time_ms = cursor
    if resync:
        changes.resync = chat_pb2.Changes.RESYNC_NO_CURSOR
    return changes


def cursors(catchup: Catchup) -> list[int]:
    return [done.cursor.time_ms for done in catchup.pop_finished_rounds() if done.cursor]


def test_pages_are_one_round() -> None:
    catchup = Catchup()
    catchup.add_page(page("a", "b", resync=True))
    assert catchup.start_due_fetches(0) == ["a", "b"]
    catchup.complete_fetch("a")
    catchup.complete_fetch("b")
    assert cursors(catchup) == []
    catchup.add_page(page("c", cursor=7))
    assert catchup.start_due_fetches(0) == ["c"]
    catchup.complete_fetch("c")
    (done,) = catchup.pop_finished_rounds()
    assert done.resync
    assert done.cursor == chat_pb2.Cursor(time_ms=7)


def test_empty_page_moves_cursor_at_once() -> None:
    catchup = Catchup()
    catchup.add_page(page(cursor=7))
    assert cursors(catchup) == [7]


def test_unavailable_index_moves_no_cursor() -> None:
    catchup = Catchup()
    catchup.add_page(page(cursor=0))
    (done,) = catchup.pop_finished_rounds()
    assert done.cursor is None


def test_fetch_in_flight_does_not_complete_a_later_round() -> None:
    catchup = Catchup()
    catchup.add_page(page("a", cursor=1))
    catchup.start_due_fetches(0)
    catchup.add_page(page("a", cursor=2))
    catchup.complete_fetch("a")
    assert cursors(catchup) == [1]
    assert catchup.start_due_fetches(0) == ["a"]
    catchup.complete_fetch("a")
    assert cursors(catchup) == [2]


def test_later_round_waits_for_the_earlier_one() -> None:
    catchup = Catchup()
    catchup.add_page(page("a", cursor=1))
    catchup.start_due_fetches(0)
    catchup.add_page(page(cursor=2))
    assert cursors(catchup) == []
    catchup.complete_fetch("a")
    assert cursors(catchup) == [1, 2]


def test_incomplete_fetch_continues_and_refused_fetch_waits() -> None:
    catchup = Catchup()
    catchup.add_page(page("a", "b", cursor=1))
    catchup.start_due_fetches(0)
    catchup.retry_fetch("a")
    catchup.retry_fetch("b", not_before=5.0)
    assert catchup.start_due_fetches(1.0) == ["a"]
    assert catchup.next_due_time() == 5.0
    assert catchup.start_due_fetches(5.0) == ["b"]


def test_fetches_in_flight_are_bounded() -> None:
    catchup = Catchup(max_in_flight=2)
    catchup.add_page(page("a", "b", "c", cursor=1))
    assert catchup.start_due_fetches(0) == ["a", "b"]
    assert catchup.start_due_fetches(0) == []
    catchup.complete_fetch("a")
    assert catchup.start_due_fetches(0) == ["c"]


def test_unanswered_fetch_is_sent_again() -> None:
    catchup = Catchup()
    catchup.request_fetch("a")
    assert catchup.start_due_fetches(0) == ["a"]
    assert catchup.start_due_fetches(FETCH_TIMEOUT_S - 1) == []
    assert catchup.start_due_fetches(FETCH_TIMEOUT_S) == ["a"]
