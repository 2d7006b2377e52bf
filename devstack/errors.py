"""What can go wrong on a machine that its owner can mend: said in a sentence, never as a trace."""

from __future__ import annotations


class SetupError(Exception):
    """A sentence for the person at the terminal: what is wrong, and what to do about it."""


class ProcessFailed(SetupError):
    """A part ended or did not become healthy in time; carries the last lines of its log."""

    def __init__(self, name: str, reason: str, log_lines: list[str]) -> None:
        self.name = name
        self.reason = reason
        self.log_lines = log_lines
        tail = "".join(f"\n    {line}" for line in log_lines) or "\n    (the log is empty)"
        super().__init__(f"{name} {reason}. The last lines of its log:{tail}")


class PortTaken(SetupError):
    """Another program listens where a part should."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(f"Port {port}, which {name} needs, is taken by another program.")


class StopRequested(Exception):
    """The person asked to stop while something was still being waited for."""
