"""A device that visits: in the foreground, in the background, or not connected; some users read what comes."""

from __future__ import annotations

import time

from tests.faults.push.journal import PushJournal, ReadUpTo, Visit
from tests.faults.staying_device import StayingDevice
from tests.raw.device import RawDevice
from tests.raw.presence import BACKGROUND, ONLINE


class Visitor(StayingDevice):
    """Records when it may be in the foreground, as far as the servers were told, and what it reads if it `reads`."""

    def __init__(self, device: RawDevice, state: str, journal: PushJournal, at: str, *, reads: bool = False) -> None:
        super().__init__(device, state, at)
        self._journal = journal
        self._reads = reads
        self._read_seqs: dict[str, int] = {}
        self._visit: Visit | None = None

    def on_tell(self, state: str) -> None:
        """Begin a visit before the server knows of it."""
        if state == ONLINE and self._visit is None:
            self._visit = Visit(self.device.user_id, time.monotonic())
            self._journal.visits.append(self._visit)

    async def on_answer(self, state: str) -> None:
        """End the visit once the server knows of it, or read."""
        if state == BACKGROUND:
            self._end_visit()
        elif self._reads:
            await self._read()

    def on_close(self) -> None:
        """End the visit."""
        self._end_visit()

    def _end_visit(self) -> None:
        if self._visit is not None:
            self._visit.until = time.monotonic()
            self._visit = None

    async def _read(self) -> None:
        for conversation, head in list(self.device.heads.items()):
            if head > self._read_seqs.get(conversation, 0):
                self._read_seqs[conversation] = head
                self._journal.reads.append(ReadUpTo(self.device.user_id, conversation, head, time.monotonic()))
                await self.device.receipt(conversation, read=head)
