"""What the command says: to whom nothing answers, what went wrong, and what to do next."""

from __future__ import annotations

from parley_client.errors import (
    DoorUnreachable,
    InvalidRequest,
    NotServed,
    ParleyError,
    SignedOut,
    Superseded,
    TimedOut,
    TryLater,
    Unauthenticated,
    Violation,
)

_MESSAGES_BY_REASON = {
    "CREDENTIALS_INVALID": "The name or the password is wrong. New here? `parley register NAME`",
    "LOGIN_NAME_TAKEN": "That name is taken. Choose another one, or sign in with `parley login NAME`.",
    "USER_NOT_FOUND": "There is no such user.",
    "CONVERSATION_NOT_FOUND": "There is no such conversation, or you are not a member of it.",
    "PEER_IS_SELF": "That is you. Name somebody else.",
    "BLOCKED": "One of you has blocked the other.",
    "TOO_MANY_DEVICES": "The account is signed in on as many devices as it may be. Sign one of them out.",
    "DISABLED": "This deployment has switched that off.",
    "GROUP_TOO_LARGE": "The group would have too many members.",
    "GROUP_FULL": "The group has as many members as it may have. Remove somebody first.",
    "LAST_ADMIN": "A group needs an admin. Make somebody else one first.",
    "NOT_A_GROUP": "That works for groups only.",
    "MESSAGE_NOT_FOUND": "There is no such message, or it was deleted.",
    "DEVICE_NOT_FOUND": "There is no such device. See `parley devices list`.",
    "TOO_MANY_HIDDEN": "You have deleted as many messages of this conversation for yourself as may be.",
    "PASSWORD_TOO_WEAK": "That password is too easy to guess. Choose another one.",
}
# The contract's patterns, as its violations name them.
_MESSAGES_BY_PATTERN = {
    "`^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$`": (
        "A login name has 3 to 64 letters (a to z), digits, dots, underscores and hyphens, "
        "and begins with a letter or a digit."
    ),
}


class CommandError(Exception):
    """The command cannot go on; the text is for the person at the terminal."""


def explain_error(error: ParleyError, door: str) -> str:
    """A sentence about `error`, and what to do next."""
    if isinstance(error, DoorUnreachable):
        return _explain_unreachable(error, door)
    if error.reason in _MESSAGES_BY_REASON:
        return _MESSAGES_BY_REASON[error.reason]
    if isinstance(error, Superseded):
        return "This sign-in was opened elsewhere, and only its newest connection stays."
    if isinstance(error, SignedOut | Unauthenticated):
        return "You are not signed in here any more. Sign in with `parley login NAME`."
    if isinstance(error, NotServed):
        return "This version of Parley cannot do that yet."
    if isinstance(error, InvalidRequest) and error.violations:
        return " ".join(map(_explain_violation, error.violations))
    if isinstance(error, TimedOut):
        return f"Parley at {door} did not answer in time. Try again."
    if isinstance(error, TryLater):
        return f"Parley at {door} cannot take that now ({error.message}). Try again in a moment."
    return f"{error.message[:1].upper()}{error.message[1:]}."


def _explain_unreachable(error: DoorUnreachable, door: str) -> str:
    """What keeps a connection from coming about; gRPC tells it in words alone."""
    if "resolving" in error.message:
        return f"There is no such host: {door.rpartition(':')[0]}, or the network is away."
    if "handshake" in error.message:
        return (
            f"Somebody answers at {door}, but no TLS connection comes about: that door takes calls without TLS, "
            "or its certificate is not trusted here (--ca FILE names others to trust)."
        )
    return (
        f"Nobody answers at {door}. Start Parley with `make run`, "
        "or name another door with --door HOST:PORT or PARLEY_DOOR."
    )


def _explain_violation(broken: Violation) -> str:
    for pattern, words in _MESSAGES_BY_PATTERN.items():
        if pattern in broken.description:
            return words
    field = broken.field.rpartition(".")[2].partition("[")[0].replace("_", " ")
    return f"The {field} {broken.description}." if field else f"{broken.description}."
