"""An assembly surfaces every entry once and in order for any mix of live and fetched entries."""

from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import entry_pb2
from parley_client.log_assembler import MAX_HELD_ENTRIES, LogAssembler


def entry(seq: int) -> entry_pb2.Entry:
    return entry_pb2.Entry(seq=seq)


def seqs(entries: list[entry_pb2.Entry]) -> list[int]:
    return [each.seq for each in entries]


def test_repeated_entry_is_dropped() -> None:
    log = LogAssembler()
    assert seqs(log.add_live(entry(1))) == [1]
    assert seqs(log.add_live(entry(1))) == []
    assert seqs(log.add_live(entry(2))) == [2]


def test_entry_behind_a_gap_waits_for_the_fetch() -> None:
    log = LogAssembler(4)
    assert log.add_live(entry(7)) == []
    assert log.has_gap
    assert seqs(log.add_fetched([entry(5), entry(6)], 4, covered_seq=6)) == [5, 6, 7]
    assert (log.has_gap, log.last_seq) == (False, 7)


def test_invisible_seqs_are_skipped() -> None:
    log = LogAssembler(10)
    assert seqs(log.add_fetched([entry(50), entry(51)], 10, covered_seq=51)) == [50, 51]
    assert log.last_seq == 51


def test_response_beginning_beyond_the_last_seq_is_ignored() -> None:
    log = LogAssembler(3)
    assert log.add_fetched([entry(9)], after_seq=8, covered_seq=9) == []
    assert log.last_seq == 3


def test_empty_response_advances_to_its_covered_seq() -> None:
    log = LogAssembler(3)
    assert log.add_fetched([], 3, covered_seq=9) == []
    assert log.last_seq == 9


def test_released_gap_is_skipped() -> None:
    log = LogAssembler(1)
    log.add_live(entry(3))
    log.add_live(entry(5))
    assert seqs(log.release_held()) == [3, 5]
    assert seqs(log.add_live(entry(6))) == [6]


def test_announced_seq_marks_log_as_behind() -> None:
    log = LogAssembler(5)
    log.note_head(6)
    assert log.is_behind
    log.add_live(entry(6))
    assert not log.is_behind


def test_entries_held_behind_a_gap_are_bounded() -> None:
    log = LogAssembler()
    for seq in range(2, MAX_HELD_ENTRIES * 2):
        log.add_live(entry(seq))
    assert len(log.add_live(entry(1))) == MAX_HELD_ENTRIES + 1


@given(st.data())
def test_any_losses_and_repeats_end_in_the_complete_ordered_log(data: st.DataObject) -> None:
    head = data.draw(st.integers(1, 30))
    arrivals = data.draw(st.lists(st.integers(1, head), max_size=60))
    log, surfaced = LogAssembler(), []
    for seq in arrivals:
        surfaced += seqs(log.add_live(entry(seq)))
        if log.has_gap and data.draw(st.booleans()):
            after = data.draw(st.integers(0, log.last_seq))
            covers = data.draw(st.integers(after, head))
            surfaced += seqs(log.add_fetched([entry(n) for n in range(after + 1, covers + 1)], after, covers))
    surfaced += seqs(log.add_fetched([entry(n) for n in range(1, head + 1)], 0, head))
    assert surfaced == list(range(1, head + 1))
