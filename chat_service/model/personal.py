"""What one user has set for a conversation, and nobody else sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """`mute_until_ms` in milliseconds since 1970, 0: not muted; `hidden`: messages deleted only from the own view."""

    mute_until_ms: int = 0
    pinned: bool = False
    archived: bool = False
    hidden: tuple[int, ...] = ()


DEFAULT_SETTINGS: Final = PersonalSettings()
# Messages a user may delete from the own view of one conversation.
MAX_HIDDEN: Final = 1000
