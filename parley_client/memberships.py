"""The seqs at which the users of a conversation joined and left it, from entries and snapshots in any order. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Final

NEVER: Final = float("inf")


class Memberships:
    """The known seqs at which users joined and left one conversation.

    While `user_id` was not a member, others may have left by entries that this user cannot see. They count as having
    left together with the user, which is no later than they did.
    """

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._joined: defaultdict[str, set[int]] = defaultdict(set)
        self._left: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, user: str, joined_seq: int = 0, left_seq: int = 0) -> None:
        """Add that a user joined, left, or both; 0: not known."""
        if joined_seq:
            self._joined[user].add(joined_seq)
        if left_seq:
            self._left[user].add(left_seq)

    def add_absent(self, present: Collection[str]) -> set[str]:
        """Add that all but `present` who joined before the user returned left while the user was out; return them."""
        joined = max(self._joined[self._user_id], default=0)
        if not (left := self.left_before(self._user_id, joined)):
            return set()
        users = (self._joined.keys() | self._left.keys()) - set(present)
        last_joined = {user: max(self._joined[user], default=0) for user in users}
        absent = {user for user in users if last_joined[user] < joined}
        for user in absent:
            if not self.has_left_since(user, last_joined[user]):
                self._left[user].add(left)
        return absent

    def has_left_since(self, user: str, joined_seq: int) -> bool:
        """Return True if a user is known to have left after `joined_seq`."""
        return any(each > joined_seq for each in self._left.get(user, ()))

    def joined_seqs(self, user: str) -> list[int]:
        """Return the known seqs at which a user joined, in order."""
        return sorted(self._joined.get(user, ()))

    def left_before(self, user: str, seq: int) -> int:
        """Return the last known seq before `seq` at which a user left; 0: none."""
        return max((each for each in self._left.get(user, ()) if each < seq), default=0)

    def deciding_users(self, seq: int, present: Collection[str]) -> set[str]:
        """Return the users whose watermarks decide the delivery status of the user's message `seq`.

        They are those who have been members since; if there are none, the one whose membership at that time ended last.
        `present` are the present members.
        """
        users = (self._joined.keys() | self._left.keys() | set(present)) - {self._user_id}
        ends = {user: end for user in users if (end := self._end_of(user, seq, user in present)) is not None}
        last = max(ends.values(), default=0)
        return {user for user, end in ends.items() if end == last}

    def _end_of(self, user: str, seq: int, present: bool) -> float | None:
        """Return the end of the membership that contains `seq`, infinity if it has not ended; None: not a member."""
        joined = max((each for each in self._joined.get(user, ()) if each <= seq), default=0)
        next_joined = min((each for each in self._joined.get(user, ()) if each > seq), default=NEVER)
        # A user leaves once between two joins; the entry of that is later than what stands in for it.
        end = max((each for each in self._left.get(user, ()) if joined < each < next_joined), default=NEVER)
        if end < seq:
            return None
        if end < NEVER or (present and next_joined == NEVER):
            return end
        if not joined:
            return None
        # The entry by which the user left is unseen: it is from before the return of that user, or of this one.
        returned = max(self.joined_seqs(self._user_id), default=0) if next_joined == NEVER else int(next_joined)
        end = self.left_before(self._user_id, returned)
        return end if end >= seq else None
