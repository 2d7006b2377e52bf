"""The count of entries that every device has received that must receive them."""

from __future__ import annotations

import pytest

from chat_service.model.conversation import ConversationMember
from chat_service.model.entry import Role
from chat_service.retention.ports import EntryPosition
from chat_service.retention.sweep import count_delivered_to_all

# Entries 3 to 7, one a second.
PLACES = [EntryPosition(seq, seq, seq * 1000) for seq in range(3, 8)]
MEMBERS = {"alice": ConversationMember(Role.MEMBER, 1), "bob": ConversationMember(Role.MEMBER, 1)}


@pytest.mark.parametrize(
    ("devices", "marks", "had"),
    [
        ({}, {}, 5),
        ({"alice": {"phone": 0}}, {}, 0),
        ({"alice": {"phone": 0}}, {"phone": 2}, 0),
        ({"alice": {"phone": 0}}, {"phone": 5}, 3),
        ({"alice": {"phone": 0}}, {"phone": 100}, 5),
        ({"alice": {"phone": 0, "tablet": 0}, "bob": {"desk": 0}}, {"phone": 7, "tablet": 4, "desk": 6}, 2),
        # Signed in at second 5: entries 3 and 4 are not required.
        ({"alice": {"phone": 5000}}, {}, 2),
        ({"alice": {"phone": 5000}}, {"phone": 6}, 4),
        ({"alice": {"phone": 9000}}, {}, 5),
        # Not a member, so its devices do not count.
        ({"eve": {"phone": 0}}, {}, 5),
    ],
)
def test_entries_on_every_device_are_counted(
    devices: dict[str, dict[str, int]], marks: dict[str, int], had: int
) -> None:
    assert count_delivered_to_all(PLACES, MEMBERS, devices, marks) == had


def test_later_member_does_not_miss_earlier_entries() -> None:
    members = {"alice": ConversationMember(Role.MEMBER, 6)}
    assert count_delivered_to_all(PLACES, members, {"alice": {"phone": 0}}, {}) == 3
    assert count_delivered_to_all(PLACES, members, {"alice": {"phone": 0}}, {"phone": 6}) == 4
