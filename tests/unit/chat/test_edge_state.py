"""A chat server tells presence_service a snapshot, then every change once, with its age."""

from __future__ import annotations

import pytest

from chat_service.model.delivery import AttachedSession
from chat_service.presence.edge_state import MAX_KEPT, PAGE, WATCHES, EdgeState
from parley.internal.v1.presence_report_pb2 import DeviceState, ReportRequest
from tests.clock import ManualClock

FOREGROUND, BACKGROUND = DeviceState.DEVICE_STATE_FOREGROUND, DeviceState.DEVICE_STATE_BACKGROUND
CLOSED, SILENT = DeviceState.DEVICE_STATE_CLOSED, DeviceState.DEVICE_STATE_SILENT
BOB, CAROL, PHONE, TABLET = "b" * 32, "c" * 32, "1" * 32, "2" * 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def edge(clock: ManualClock) -> EdgeState:
    return EdgeState(clock)


def session(name: str, device: str = PHONE) -> AttachedSession:
    return AttachedSession(name, BOB, device, "chat-1")


def changes(edge: EdgeState) -> list[ReportRequest]:
    return list(edge.take_changes())


def told(frames: list[ReportRequest]) -> list[tuple[str, int]]:
    """Return the sessions and states of the transitions of frames."""
    return [(each.session_id, each.state) for frame in frames for each in frame.transitions.transitions]


def watched(frames: list[ReportRequest]) -> dict[str, list[str]]:
    return {each.watch.device_id: list(each.watch.watched_user_ids) for each in frames if each.HasField("watch")}


def test_snapshot_has_the_open_devices(edge: EdgeState) -> None:
    for name, state in (("1", FOREGROUND), ("2", BACKGROUND), ("3", SILENT), ("4", FOREGROUND)):
        edge.set_state(session(name), state)
    edge.end_session(session("4"), CLOSED)
    ends, page = edge.start_report()
    assert told([ends]) == [("3", SILENT), ("4", CLOSED)]
    assert {each.session_id: each.state for each in page.snapshot.devices} == {"1": FOREGROUND, "2": BACKGROUND}
    assert page.snapshot.last
    assert changes(edge) == [], "the snapshot has told all of it"


def test_snapshot_of_many_devices_has_pages(edge: EdgeState) -> None:
    for number in range(2 * PAGE + 1):
        edge.set_state(session(str(number)), FOREGROUND)
    pages = edge.start_report()
    assert [len(page.snapshot.devices) for page in pages] == [PAGE, PAGE, 1]
    assert [page.snapshot.last for page in pages] == [False, False, True]


def test_snapshot_without_devices_has_one_empty_page(edge: EdgeState) -> None:
    [page] = edge.start_report()
    assert page.snapshot.last
    assert not page.snapshot.devices


def test_snapshot_of_a_full_page_is_the_last(edge: EdgeState) -> None:
    for number in range(PAGE):
        edge.set_state(session(str(number)), FOREGROUND)
    [page] = edge.start_report()
    assert page.snapshot.last


def test_transitions_are_told_in_order_with_their_age(edge: EdgeState, clock: ManualClock) -> None:
    edge.start_report()
    assert changes(edge) == []
    edge.changed.clear()
    edge.set_state(session("1"), FOREGROUND)
    clock.advance(1.5)
    edge.end_session(session("1"), CLOSED)
    assert edge.changed.is_set()
    clock.advance(0.25)
    [frame] = changes(edge)
    assert told([frame]) == [("1", FOREGROUND), ("1", CLOSED)]
    assert [each.age.ToMilliseconds() for each in frame.transitions.transitions] == [1750, 250]
    assert not edge.changed.is_set()
    assert changes(edge) == []


def test_transitions_of_a_stream_are_numbered_over_reports(edge: EdgeState) -> None:
    edge.set_state(session("1"), FOREGROUND)
    edge.set_state(session("1"), BACKGROUND)
    [page] = edge.start_report()
    assert [each.sequence for each in page.snapshot.devices] == [2]
    edge.set_state(session("1"), FOREGROUND)
    edge.set_state(session("2"), FOREGROUND)
    edge.end_session(session("1"), CLOSED)
    [frame] = changes(edge)
    assert [(each.session_id, each.sequence) for each in frame.transitions.transitions] == [
        ("1", 3),
        ("2", 1),
        ("1", 4),
    ]


def test_repeated_state_is_told_once(edge: EdgeState) -> None:
    edge.start_report()
    for _ in range(3):
        edge.set_state(session("1"), FOREGROUND)
    edge.set_state(session("1"), BACKGROUND)
    assert told(changes(edge)) == [("1", FOREGROUND), ("1", BACKGROUND)]


def test_end_is_told_only_of_a_session_that_was_told(edge: EdgeState) -> None:
    edge.start_report()
    edge.end_session(session("1"), CLOSED)
    assert changes(edge) == []
    edge.set_state(session("1"), SILENT)
    edge.end_session(session("1"), CLOSED)
    edge.end_session(session("1"), CLOSED)
    assert told(changes(edge)) == [("1", SILENT), ("1", CLOSED)]


def test_frames_are_numbered_within_their_report(edge: EdgeState) -> None:
    edge.start_report()
    for number in range(PAGE + 1):
        edge.set_state(session(str(number)), FOREGROUND)
    frames = changes(edge)
    assert [(each.transitions.report_seq, len(each.transitions.transitions)) for each in frames] == [(1, PAGE), (2, 1)]
    edge.start_report()
    edge.set_state(session("0"), BACKGROUND)
    [frame] = changes(edge)
    assert frame.transitions.report_seq == 1


def test_another_report_repeats_watches_and_not_transitions(edge: EdgeState) -> None:
    edge.start_report()
    edge.watch(BOB, PHONE, [CAROL])
    edge.watch(BOB, TABLET, [BOB])
    edge.watch(BOB, TABLET, ())
    edge.set_state(session("1"), FOREGROUND)
    edge.start_report()
    assert edge.changed.is_set()
    frames = changes(edge)
    assert told(frames) == []
    assert watched(frames) == {PHONE: [CAROL]}


def test_newest_watch_of_a_device_is_told(edge: EdgeState) -> None:
    edge.start_report()
    edge.watch(BOB, PHONE, [BOB])
    edge.watch(BOB, PHONE, [CAROL])
    assert watched(changes(edge)) == {PHONE: [CAROL]}
    edge.watch(BOB, PHONE, ())
    edge.watch(BOB, PHONE, ())
    assert watched(changes(edge)) == {PHONE: []}
    edge.watch(BOB, TABLET, ())
    assert changes(edge) == []


def test_relations_outlast_a_report_within_a_bound(edge: EdgeState) -> None:
    for number in range(MAX_KEPT + 1):
        edge.change_relation(f"{number:032x}", CAROL)
    edge.start_report()
    frames = changes(edge)
    assert len(frames) == MAX_KEPT
    assert frames[0].relation_changed.user_id == f"{1:032x}"
    assert frames[0].relation_changed.other_user_id == CAROL
    assert changes(edge) == []


def test_ends_that_were_not_delivered_come_before_the_next_snapshot(edge: EdgeState, clock: ManualClock) -> None:
    edge.start_report()
    for name in ("1", "2", "3", "4"):
        edge.set_state(session(name), FOREGROUND)
    changes(edge)
    edge.acknowledge(1)
    edge.end_session(session("1"), CLOSED)
    changes(edge)
    edge.acknowledge(2)
    # Sent and not acknowledged, not sent, and after the report.
    edge.end_session(session("2"), CLOSED)
    changes(edge)
    edge.end_session(session("3"), SILENT)
    edge.set_state(session("5"), FOREGROUND)
    edge.end_report()
    edge.end_session(session("4"), CLOSED)
    edge.set_state(session("5"), BACKGROUND)
    clock.advance(600)
    ends, page = edge.start_report()
    assert told([ends]) == [("2", CLOSED), ("3", SILENT), ("4", CLOSED)]
    assert {each.age.ToMilliseconds() for each in ends.transitions.transitions} == {600_000}
    assert {each.session_id: each.state for each in page.snapshot.devices} == {"5": BACKGROUND}
    edge.acknowledge(1)
    edge.end_report()
    assert len(edge.start_report()) == 1


def test_relation_that_was_not_acknowledged_is_sent_again(edge: EdgeState) -> None:
    edge.start_report()
    edge.change_relation(BOB, CAROL)
    edge.change_relation(CAROL, BOB)
    first, second = changes(edge)
    edge.acknowledge(first.relation_changed.report_seq)
    edge.end_report()
    edge.start_report()
    [again] = changes(edge)
    assert again.relation_changed.user_id == second.relation_changed.user_id == CAROL


def test_ends_without_a_report_are_kept_within_a_bound(edge: EdgeState) -> None:
    for number in range(MAX_KEPT + 5):
        edge.set_state(session(str(number)), FOREGROUND)
        edge.end_session(session(str(number)), CLOSED)
    frames = edge.start_report()
    assert sum(len(each.transitions.transitions) for each in frames) == MAX_KEPT
    assert frames[0].transitions.transitions[0].session_id == "5"


def test_change_does_not_wait_until_many_watches_are_sent(edge: EdgeState) -> None:
    edge.start_report()
    for number in range(3 * WATCHES):
        edge.watch(BOB, f"{number:032x}", [CAROL])
    frames = edge.take_changes()
    assert watched([next(frames) for _ in range(WATCHES // 2)])
    edge.set_state(session("1"), FOREGROUND)
    edge.change_relation(BOB, CAROL)
    rest = list(frames)
    kinds = [frame.WhichOneof("frame") for frame in rest]
    assert kinds[WATCHES // 2 : WATCHES // 2 + 2] == ["transitions", "relation_changed"]
    assert len(watched(rest)) == 3 * WATCHES - WATCHES // 2
