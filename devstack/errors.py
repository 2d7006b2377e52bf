"""The errors of a stack that its user can fix; they are printed as a sentence, never as a traceback."""

from __future__ import annotations


class SetupError(Exception):
    """An error whose message tells the user what is wrong and what to do."""


class ProcessFailed(SetupError):
    """A process ended or did not become healthy in time; the message has the last lines of its log."""

    def __init__(self, name: str, reason: str, log_lines: list[str]) -> None:
        self.name = name
        self.reason = reason
        self.log_lines = log_lines
        tail = "".join(f"\n    {line}" for line in log_lines) or "\n    (the log is empty)"
        super().__init__(f"{name} {reason}. The last lines of its log:{tail}")


class PortInUse(SetupError):
    """Another program listens on a port of the stack."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(f"Port {port}, which {name} needs, is in use by another program.")


class StopRequested(Exception):
    """The user requested a stop while the stack was starting."""
