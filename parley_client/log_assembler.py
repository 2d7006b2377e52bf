"""The log of one conversation as a device puts it together: repeats dropped, gaps seen, order kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from parley.chat.v1 import entry_pb2

Entry = entry_pb2.Entry

# Live entries kept behind a gap, per conversation. What is dropped beyond this the next fetch brings again.
HELD = 500


class Assembly:
    """What a device has of one log. `last_seq`: everything the user may see up to here has been surfaced."""

    __slots__ = ("_held", "heard_of", "last_seq")

    def __init__(self, last_seq: int = 0) -> None:
        self.last_seq = last_seq
        self.heard_of = last_seq
        self._held: dict[int, Entry] = {}

    @property
    def has_gap(self) -> bool:
        """Whether entries wait behind one that has not come."""
        return bool(self._held)

    @property
    def is_behind(self) -> bool:
        """Whether the log is known to be longer than what the device has."""
        return self.heard_of > self.last_seq

    def hear_of(self, seq: int) -> None:
        """Something other than an entry (an answer, a watermark) showed that the log reaches `seq`."""
        self.heard_of = max(self.heard_of, seq)

    def live(self, entry: Entry) -> list[Entry]:
        """A live entry came: what may be surfaced now, in order. Behind a gap it is held."""
        self.hear_of(entry.seq)
        if entry.seq > self.last_seq and (len(self._held) < HELD or entry.seq == self.last_seq + 1):
            self._held[entry.seq] = entry
        return self._following()

    def fetched(self, entries: Sequence[Entry], after_seq: int, covers: int) -> list[Entry]:
        """A fetch answered: `entries` are all that the user may see from `after_seq` + 1 to `covers`.

        Seqs missing in between are not the user's to see, or their retention ended. An answer that begins
        after what the device has is of no use, and changes nothing.
        """
        if after_seq > self.last_seq:
            return []
        new = [entry for entry in entries if self.last_seq < entry.seq <= covers]
        self.last_seq = max(self.last_seq, covers)
        self.hear_of(self.last_seq)
        self._held = {seq: entry for seq, entry in self._held.items() if seq > self.last_seq}
        return new + self._following()

    def give_up(self) -> None:
        """The user may not see more of it: nothing is waited for any longer."""
        self._held = {}
        self.heard_of = self.last_seq

    def release(self) -> list[Entry]:
        """Give up on the gaps: everything held, in order."""
        released = [self._held[seq] for seq in sorted(self._held)]
        self._held = {}
        if released:
            self.last_seq = released[-1].seq
        return released

    def _following(self) -> list[Entry]:
        following = []
        while (entry := self._held.pop(self.last_seq + 1, None)) is not None:
            following.append(entry)
            self.last_seq += 1
        return following
