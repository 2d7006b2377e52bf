"""Own watermarks are told until they are confirmed, and neither they nor others' ever fall."""

from hypothesis import given
from hypothesis import strategies as st

from parley_client.events import WatermarkMoved
from parley_client.watermarks import RECEIPTS, Receipts, Watermarks

marks = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=20)


def told(receipts: Receipts) -> dict[str, tuple[int, int]]:
    return {each.conversation_id: (each.delivered_seq, each.read_seq) for each in receipts.due()}


def test_what_waits_is_told_in_one_word() -> None:
    receipts = Receipts()
    for seq in range(1, 50):
        receipts.want("c", delivered=seq)
    receipts.want("c", read=7)
    assert told(receipts) == {"c": (49, 7)}
    assert told(receipts) == {}


def test_after_a_welcome_only_the_unconfirmed_is_told_again() -> None:
    receipts = Receipts()
    receipts.want("a", delivered=3)
    receipts.want("b", delivered=4)
    told(receipts)
    receipts.confirm("a", 3, 0)
    receipts.welcome()
    assert told(receipts) == {"b": (4, 0)}
    receipts.tick()
    assert told(receipts) == {"a": (3, 0)}, "whether this device was heard on the stream before is not known"
    assert receipts.unconfirmed() == {"b": (4, 0)}


def test_a_device_tells_what_it_has_itself_though_the_user_has_more() -> None:
    receipts = Receipts()
    receipts.confirm("c", 9, 9)
    assert not receipts.want("c", delivered=6)
    assert told(receipts) == {}
    assert receipts.unconfirmed() == {"c": (6, 0)}
    receipts.tick()
    assert told(receipts) == {"c": (6, 0)}
    receipts.tick()
    assert told(receipts) == {}
    assert receipts.unconfirmed() == {}


def test_an_own_message_implies_both_marks() -> None:
    receipts = Receipts()
    receipts.want("c", delivered=4)
    receipts.confirm("c", 5, 5)
    assert told(receipts) == {}
    assert not receipts.want("c", read=5)


def test_the_next_run_tells_what_this_one_left_unconfirmed() -> None:
    assert told(Receipts({"c": (9, 2)})) == {"c": (9, 2)}


def test_one_frame_is_bounded() -> None:
    receipts = Receipts()
    for n in range(RECEIPTS + 1):
        receipts.want(f"{n}", delivered=1)
    assert len(receipts.due()) == RECEIPTS
    assert len(receipts.due()) == 1


@given(marks)
def test_watermarks_never_fall_and_reading_means_having_received(moves: list[tuple[int, int]]) -> None:
    known, before = Watermarks(), (0, 0)
    for delivered, read in moves:
        moved = known.raise_to("c", "u", delivered, read)
        now = known.of("c", "u")
        assert now[0] >= max(before[0], delivered, read)
        assert now[1] >= max(before[1], read)
        assert moved == (WatermarkMoved("c", "u", *now) if now != before else None)
        before = now
