"""Failures of calls, independent of the transport: a code, a reason, and details that help the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

RETRYABLE = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})
DEFAULT_RETRY_AFTER_S = 1.0
INTERNAL_ERROR = "internal error; see the server's log"
"""The message of a failure whose cause only the log has."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that violates a rule: its path, such as `content.text.body`, and the rule in words."""

    field: str
    description: str


class Failure(Exception):
    """An error that is reported to the caller. `code` names a gRPC code, `reason` is one of the contract's reasons.

    `retry_after` is in seconds; a retryable code without one gets DEFAULT_RETRY_AFTER_S. A subclass that sets
    `default_reason` is the class of that reason: a failure that another server reported is raised as that class again.
    """

    default_code: ClassVar[str] = "INTERNAL"
    default_reason: ClassVar[str] = "INTERNAL"
    _class_of: ClassVar[dict[str, type[Failure]]] = {}

    def __init_subclass__(cls) -> None:
        if (reason := cls.__dict__.get("default_reason")) is not None:
            if reason in Failure._class_of:
                raise TypeError(f"{cls.__name__} and {Failure._class_of[reason].__name__} have the reason {reason}")
            Failure._class_of[reason] = cls

    @staticmethod
    def class_of(code: str, reason: str) -> type[Failure]:
        """Return the class of a reason that has this code; Failure itself if there is none."""
        found = Failure._class_of.get(reason, Failure)
        return found if found.default_code == code else Failure

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
