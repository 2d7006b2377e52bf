"""The times of media servers under test: days and minutes of a deployment are seconds here."""

from __future__ import annotations

from typing import Final

# A file to which nothing refers, and an unfinished upload, stay for this long.
UNREFERENCED_S: Final = 20.0
# Longer than any send takes, also one that waits for a frozen server and an election.
CLAIM_S: Final = 30.0
LEASE_S: Final = 3.0
# Longer than servers and stores are frozen.
TOMBSTONE_S: Final = 15.0
# All that nothing needs is gone after the last claim, the check that follows, two looks at the removed file, and the
# batch of a server that died meanwhile; and a margin.
SETTLED_S: Final = CLAIM_S + UNREFERENCED_S + 2 * TOMBSTONE_S + 20.0

ENVIRONMENT: Final = {
    "PARLEY_MEDIA_UNREFERENCED_SECONDS": str(UNREFERENCED_S),
    "PARLEY_MEDIA_CLAIM_SECONDS": str(CLAIM_S),
    "PARLEY_MEDIA_LEASE_SECONDS": str(LEASE_S),
    "PARLEY_MEDIA_TOMBSTONE_SECONDS": str(TOMBSTONE_S),
    "PARLEY_MEDIA_RECHECK_SECONDS": "1",
    "PARLEY_MEDIA_COLLECTION_PAUSE_SECONDS": "0.2",
    "PARLEY_MEDIA_COLLECTION_TIMEOUT_SECONDS": "5",
}
