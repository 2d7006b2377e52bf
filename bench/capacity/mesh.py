"""The frames between chat servers: their number grows with the servers, because fewer homes share a server."""

from __future__ import annotations

from typing import Final

# A 1-1 conversation is owned by one participant's home. In half of the sends that is the sender's, and one frame goes
# to the recipient's home; in the other half the send and its answer cross, and the delivery stays. A receipt is the
# mirror image.
DIRECT_FRAMES: Final = 1.5
RECEIPT_FRAMES: Final = 1.5
# A send to a group and its answer, a receipt to a group, its answer, and what the sender is told of it.
GROUP_SEND_FRAMES: Final = 2.0
GROUP_RECEIPT_FRAMES: Final = 3.0


def crossing_share(servers: float) -> float:
    """Return the share of pairs of roles that are on two servers, if `servers` have equal shares of the keys."""
    return 1 - 1 / servers if servers > 1 else 0.0


def distinct_homes(recipients: float, servers: float) -> float:
    """Return the expected number of servers that are the home of at least one of the recipients."""
    return servers * (1 - (1 - 1 / servers) ** recipients) if servers > 1 else float(recipients > 0)


def direct_frames(servers: float, receipts: float) -> float:
    """Return the frames of a 1-1 message with `receipts` receipt frames."""
    return crossing_share(servers) * (DIRECT_FRAMES + receipts * RECEIPT_FRAMES)


def group_frames(servers: float, recipients: float, receipts: float) -> float:
    """Return the frames of a message to a group: one to each home of a recipient on another server.

    The homes of recipients who are away get it as well, because they queue the pushes.
    """
    homes = distinct_homes(recipients, servers)
    return crossing_share(servers) * (GROUP_SEND_FRAMES + homes + receipts * GROUP_RECEIPT_FRAMES)


def streams_in_all(servers: int) -> int:
    """Return the mesh streams of a deployment: one for each pair, opened by the lower id."""
    return servers * (servers - 1) // 2
