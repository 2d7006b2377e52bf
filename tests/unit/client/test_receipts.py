"""Own watermarks are sent until they are confirmed, and no watermark ever decreases."""

from hypothesis import given
from hypothesis import strategies as st

from parley_client.events import WatermarkMoved
from parley_client.watermarks import MAX_RECEIPTS_PER_FRAME, ReceiptTracker, Watermarks

marks = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=20)


def sent_receipts(receipts: ReceiptTracker) -> dict[str, tuple[int, int]]:
    return {each.conversation_id: (each.delivered_seq, each.read_seq) for each in receipts.take_due()}


def test_waiting_receipts_are_merged() -> None:
    receipts = ReceiptTracker()
    for seq in range(1, 50):
        receipts.advance("c", delivered=seq)
    receipts.advance("c", read=7)
    assert sent_receipts(receipts) == {"c": (49, 7)}
    assert sent_receipts(receipts) == {}


def test_unconfirmed_receipts_are_sent_again_after_welcome() -> None:
    receipts = ReceiptTracker()
    receipts.advance("a", delivered=3)
    receipts.advance("b", delivered=4)
    sent_receipts(receipts)
    receipts.confirm("a", 3, 0)
    receipts.start_stream()
    assert sent_receipts(receipts) == {"b": (4, 0)}
    receipts.tick()
    assert sent_receipts(receipts) == {"a": (3, 0)}, (
        "it is unknown whether the earlier stream delivered this device's receipt"
    )
    assert receipts.unconfirmed() == {"b": (4, 0)}


def test_device_sends_its_own_lower_watermark() -> None:
    receipts = ReceiptTracker()
    receipts.confirm("c", 9, 9)
    assert not receipts.advance("c", delivered=6)
    assert sent_receipts(receipts) == {}
    assert receipts.unconfirmed() == {"c": (6, 0)}
    receipts.tick()
    assert sent_receipts(receipts) == {"c": (6, 0)}
    receipts.tick()
    assert sent_receipts(receipts) == {}
    assert receipts.unconfirmed() == {}


def test_confirmed_own_message_needs_no_receipt() -> None:
    receipts = ReceiptTracker()
    receipts.advance("c", delivered=4)
    receipts.confirm("c", 5, 5)
    assert sent_receipts(receipts) == {}
    assert not receipts.advance("c", read=5)


def test_restored_unconfirmed_receipts_are_sent() -> None:
    assert sent_receipts(ReceiptTracker({"c": (9, 2)})) == {"c": (9, 2)}


def test_receipts_per_frame_are_bounded() -> None:
    receipts = ReceiptTracker()
    for n in range(MAX_RECEIPTS_PER_FRAME + 1):
        receipts.advance(f"{n}", delivered=1)
    assert len(receipts.take_due()) == MAX_RECEIPTS_PER_FRAME
    assert len(receipts.take_due()) == 1


@given(marks)
def test_watermarks_never_fall_and_read_implies_delivered(moves: list[tuple[int, int]]) -> None:
    known, before = Watermarks(), (0, 0)
    for delivered, read in moves:
        moved = known.advance("c", "u", delivered, read)
        now = known.get("c", "u")
        assert now[0] >= max(before[0], delivered, read)
        assert now[1] >= max(before[1], read)
        assert moved == (WatermarkMoved("c", "u", *now) if now != before else None)
        before = now
