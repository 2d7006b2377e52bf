"""A member record round-trips, and a malformed one is left out of the ring."""

import json
from dataclasses import replace

import pytest

from servicekit.member_record import MemberRecord, parse_records
from servicekit.ring import RingMember

RECORD = MemberRecord(RingMember("chat-1", "10.0.0.1:5101", "10.0.0.1:6101", 1_800_000_000_000), 0x694D77AA)


def test_record_round_trips() -> None:
    assert MemberRecord.from_bytes(RECORD.to_bytes()) == RECORD


def test_leaving_record_round_trips_and_is_no_other_member() -> None:
    leaving = replace(RECORD, leaving=True)
    assert MemberRecord.from_bytes(leaving.to_bytes()) == leaving
    assert leaving.member == RECORD.member
    assert b"leaving" not in RECORD.to_bytes()


def test_record_of_later_version_is_accepted() -> None:
    later = {**json.loads(RECORD.to_bytes()), "zone": "b"}
    assert MemberRecord.from_bytes(json.dumps(later).encode()) == RECORD


@pytest.mark.parametrize(
    "data", [b"", b"1", b"[]", b"{}", b"\xff", RECORD.to_bytes().replace(b'"10.0.0.1:5101"', b"7")]
)
def test_malformed_record_is_left_out(data: bytes) -> None:
    assert parse_records({"chat-1": RECORD.to_bytes(), "odd": data}) == {"chat-1": RECORD}
