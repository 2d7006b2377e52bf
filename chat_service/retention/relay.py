"""How much of a log all devices have that were signed in when it was written. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from chat_service.model.conversation import ConversationMember
from chat_service.retention.ports import EntryPosition


def delivered_to_all(
    places: Sequence[EntryPosition],
    members: Mapping[str, ConversationMember],
    devices: Mapping[str, Mapping[str, int]],
    marks: Mapping[str, int],
) -> int:
    """How many of the first `places` no device of a member lacks.

    A device lacks what is above its mark, unless it was signed in only later or its user joined only later. Who is no
    member any more, and what is signed out, lacks nothing. `devices` tells since when a user's are signed in.
    """
    seqs, times = [each.seq for each in places], [each.time_ms for each in places]
    had = len(places)
    for user, member in members.items():
        for device, since_ms in devices.get(user, {}).items():
            new_to_it = bisect_right(seqs, max(marks.get(device, 0), member.joined_seq - 1))
            had = min(had, max(new_to_it, bisect_left(times, since_ms)))
    return had
