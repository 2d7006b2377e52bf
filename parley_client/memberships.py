"""The seqs at which the users of a conversation joined and left it, from entries and snapshots in any order. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection


class Memberships:
    """The known seqs at which users joined and left one conversation."""

    def __init__(self) -> None:
        self._joined: defaultdict[str, set[int]] = defaultdict(set)
        self._left: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, user: str, joined_seq: int = 0, left_seq: int = 0) -> None:
        """Add that a user joined, left, or both; 0: not known."""
        if joined_seq:
            self._joined[user].add(joined_seq)
        if left_seq:
            self._left[user].add(left_seq)

    def joined_seqs(self, user: str) -> list[int]:
        """Return the known seqs at which a user joined, in order."""
        return sorted(self._joined.get(user, ()))

    def left_before(self, user: str, seq: int) -> int:
        """Return the last known seq before `seq` at which a user left; 0: none."""
        return max((each for each in self._left.get(user, ()) if each < seq), default=0)

    def deciding_users(self, seq: int, author: str, present: Collection[str]) -> set[str]:
        """Return the users whose watermarks decide the delivery status of the message `seq`.

        They are those who have been members since; if there are none, the one whose membership at that time ended last.
        `present` are the present members; the entries by which some of them joined may not be known.
        """
        users = (self._joined.keys() | self._left.keys() | set(present)) - {author}
        ends = {user: end for user in users if (end := self._end_of(user, seq, user in present)) is not None}
        last = max(ends.values(), default=0)
        return {user for user, end in ends.items() if end == last}

    def _end_of(self, user: str, seq: int, present: bool) -> float | None:
        """Return the end of the membership that contains `seq`, infinity if it has not ended; None: not a member."""
        joined = max((each for each in self._joined.get(user, ()) if each <= seq), default=0)
        later_joins = [each for each in self._joined.get(user, ()) if each > seq]
        end = min((each for each in self._left.get(user, ()) if each > joined), default=float("inf"))
        if end < seq or (not joined and later_joins and end > min(later_joins)):
            return None
        return end if joined or present or end < float("inf") else None
