"""How long the content of a conversation is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class RetentionRule(IntEnum):
    """The kinds of retention; DEFAULT: what the deployment says."""

    DEFAULT = 0
    FOREVER = 1
    MAX_AGE = 2
    RELAY_ONLY = 3


@dataclass(frozen=True, slots=True)
class Retention:
    """A rule; `max_age_s` is in seconds and means something with MAX_AGE only."""

    rule: RetentionRule = RetentionRule.DEFAULT
    max_age_s: int = 0
