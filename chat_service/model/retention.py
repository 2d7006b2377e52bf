"""How long the content of a conversation is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


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


FOREVER: Final = Retention(RetentionRule.FOREVER)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What a deployment says about retention: its default, and the seconds between two looks for what is due."""

    default: Retention = FOREVER
    sweep_interval_s: float = 60.0

    def effective_for(self, own: Retention) -> Retention:
        """What is in force for a conversation that has set `own`; never DEFAULT."""
        return self.default if own.rule is RetentionRule.DEFAULT else own


KEEP_FOREVER: Final = RetentionPolicy()
