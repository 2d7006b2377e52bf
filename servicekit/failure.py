"""Failures of calls, independent of the transport: a code, a reason, and details that help the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

RETRYABLE = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})
DEFAULT_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that violates a rule: its path, such as `content.text.body`, and the rule in words."""

    field: str
    description: str


class Failure(Exception):
    """An error that is reported to the caller. `code` names a gRPC code, `reason` is one of the contract's reasons.

    `retry_after` is in seconds; a retryable code without one gets DEFAULT_RETRY_AFTER_S.
    """

    default_code: ClassVar[str] = "INTERNAL"
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        self.code = code or self.default_code
        self.reason = reason or self.default_reason
        self.message = message or self.reason
        self.metadata = dict(metadata or {})
        self.retry_after = DEFAULT_RETRY_AFTER_S if retry_after is None and self.code in RETRYABLE else retry_after
        self.violations = violations
        super().__init__(f"{self.code} {self.reason}: {self.message}")
