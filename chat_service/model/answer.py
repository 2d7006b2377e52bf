"""What a sender is told: where the entry went, or why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from servicekit.failure import Failure

# An owner may change, or a store pause, for this long before the device is told.
RETRY_WINDOW_S: Final = 10.0
# Refusals that another try mends, perhaps with another owner.
RETRYABLE: Final = frozenset({"OWNER_UNAVAILABLE", "STORE_UNAVAILABLE", "SERVER_DRAINING"})


@dataclass(frozen=True, slots=True)
class Appended:
    """Durable at this seq; time in milliseconds since 1970."""

    seq: int
    time_ms: int


AppendOutcome = Appended | Failure
OnAppended = Callable[[AppendOutcome], None]
