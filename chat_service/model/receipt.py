"""How far a device says it has got in a conversation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Receipt:
    """All up to `delivered_seq` is on the device, and all up to `read_seq` was read; 0: unchanged.

    `device_id` is empty when a server of an earlier version passed it on.
    """

    user_id: str
    device_id: str
    conversation_id: str
    delivered_seq: int
    read_seq: int

    @property
    def highest_seq(self) -> int:
        """What is read has come."""
        return max(self.delivered_seq, self.read_seq)
