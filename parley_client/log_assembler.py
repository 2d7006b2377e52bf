"""The assembly of one conversation's log from live and fetched entries: ordered, gapless, without repeats. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from parley.chat.v1 import entry_pb2

Entry = entry_pb2.Entry

# Live entries held behind a gap, per conversation. Entries beyond this are dropped; the next fetch returns them.
MAX_HELD_ENTRIES = 500


class LogAssembler:
    """The log of one conversation up to `last_seq`: every entry up to it that the user may see has been returned."""

    __slots__ = ("_held", "known_head", "last_seq")

    def __init__(self, last_seq: int = 0) -> None:
        self.last_seq = last_seq
        self.known_head = last_seq
        self._held: dict[int, Entry] = {}

    @property
    def has_gap(self) -> bool:
        """True if entries are held behind a missing one."""
        return bool(self._held)

    @property
    def is_behind(self) -> bool:
        """True if the log is known to have entries after `last_seq`."""
        return self.known_head > self.last_seq

    def note_head(self, seq: int) -> None:
        """Note that the log reaches `seq`, as an entry, a send result or a watermark shows."""
        self.known_head = max(self.known_head, seq)

    def add_live(self, entry: Entry) -> list[Entry]:
        """Add a live entry and return the entries that are in sequence now. An entry behind a gap is held."""
        self.note_head(entry.seq)
        if entry.seq > self.last_seq and (len(self._held) < MAX_HELD_ENTRIES or entry.seq == self.last_seq + 1):
            self._held[entry.seq] = entry
        return self._pop_contiguous()

    def add_fetched(self, entries: Sequence[Entry], after_seq: int, covered_seq: int) -> list[Entry]:
        """Add a fetched range and return the entries that are in sequence now.

        `entries` are all that the user may see from `after_seq` + 1 to `covered_seq`; a missing seq is not visible to
        the user, or its retention has ended. A range that begins after `last_seq` + 1 is ignored.
        """
        if after_seq > self.last_seq:
            return []
        new = [entry for entry in entries if self.last_seq < entry.seq <= covered_seq]
        self.last_seq = max(self.last_seq, covered_seq)
        self.note_head(self.last_seq)
        self._held = {seq: entry for seq, entry in self._held.items() if seq > self.last_seq}
        return new + self._pop_contiguous()

    def drop_held(self) -> None:
        """Drop held entries and lower the known head to `last_seq`, because the user may not see more of the log."""
        self._held = {}
        self.known_head = self.last_seq

    def release_held(self) -> list[Entry]:
        """Return all held entries in order and skip the gaps."""
        released = [self._held[seq] for seq in sorted(self._held)]
        self._held = {}
        if released:
            self.last_seq = released[-1].seq
        return released

    def _pop_contiguous(self) -> list[Entry]:
        contiguous = []
        while (entry := self._held.pop(self.last_seq + 1, None)) is not None:
            contiguous.append(entry)
            self.last_seq += 1
        return contiguous
