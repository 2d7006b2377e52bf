"""Retention: how long the content of a conversation is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class RetentionRule(IntEnum):
    """The kinds of retention; DEFAULT is the default of the deployment."""

    DEFAULT = 0
    FOREVER = 1
    MAX_AGE = 2
    RELAY_ONLY = 3


@dataclass(frozen=True, slots=True)
class Retention:
    """A retention rule; `max_age_s`, in seconds, counts with MAX_AGE only."""

    rule: RetentionRule = RetentionRule.DEFAULT
    max_age_s: int = 0

    def __str__(self) -> str:
        return f"{self.max_age_s}s" if self.rule is RetentionRule.MAX_AGE else self.rule.name.lower()


FOREVER: Final = Retention(RetentionRule.FOREVER)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The retention of a deployment: the default rule, and the seconds between two sweeps."""

    default: Retention = FOREVER
    sweep_interval_s: float = 60.0

    def effective_for(self, own: Retention) -> Retention:
        """Return the rule in force for a conversation whose own rule is `own`; never DEFAULT."""
        return self.default if own.rule is RetentionRule.DEFAULT else own


KEEP_FOREVER: Final = RetentionPolicy()
