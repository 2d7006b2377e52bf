"""Human-readable error messages: the cause of an error, and the next step."""

from __future__ import annotations

from parley_client.cli.text import one_cell
from parley_client.errors import (
    DoorUnreachable,
    InvalidRequest,
    NotServed,
    ParleyError,
    SignedOut,
    Superseded,
    TimedOut,
    TransferInterrupted,
    TryLater,
    Unauthenticated,
    Violation,
    WrongDoor,
)

_MESSAGES_BY_REASON = {
    "CREDENTIALS_INVALID": "The name or the password is wrong. New here? `parley register NAME`",
    "LOGIN_NAME_TAKEN": "That name is in use. Choose another one, or sign in with `parley login NAME`.",
    "USER_NOT_FOUND": "There is no such user.",
    "CONVERSATION_NOT_FOUND": "There is no such conversation, or you are not a member of it.",
    "PEER_IS_SELF": "That is you. Name somebody else.",
    "BLOCKED": "One of you has blocked the other.",
    "TOO_MANY_DEVICES": "The account has reached its device limit. Sign out one of its devices first.",
    "DISABLED": "This deployment has disabled that.",
    "GROUP_TOO_LARGE": "The group would have too many members.",
    "GROUP_FULL": "The group has reached its member limit. Remove a member first.",
    "LAST_ADMIN": "A group needs an admin. Make another member admin first.",
    "NOT_A_GROUP": "That works for groups only.",
    "MESSAGE_NOT_FOUND": "There is no such message, or it was deleted.",
    "DEVICE_NOT_FOUND": "There is no such device. See `parley devices list`.",
    "TOO_MANY_HIDDEN": "You have reached the limit of messages deleted for yourself in this conversation.",
    "MEDIA_NOT_FOUND": "There is no such file, or you may not see it.",
    "MEDIA_NOT_READY": "The file is not ready yet. Try again in a moment.",
    "MEDIA_REJECTED": "The file was refused: harmful contents were found in it.",
    "QUOTA_EXCEEDED": "Your files would exceed your quota. Delete messages with files first.",
    "PASSWORD_TOO_WEAK": "That password is too easy to guess. Choose another one.",
}
# Patterns of the protos, quoted in the descriptions of violations.
_MESSAGES_BY_PATTERN = {
    "`^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$`": (
        "A login name has 3 to 64 letters (a to z), digits, dots, underscores and hyphens, "
        "and starts with a letter or a digit."
    ),
    "`^([0-9a-f]{2}){1,100}$`": "A token of Apple's service is an even number of hex digits, 200 at most.",
    "`^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$`": "A language is a tag such as en or pt-BR.",
}


_MESSAGES_BY_DESCRIPTION = {
    "must be at least 1 bytes": "is empty",
    "must be one emoji": "is not a single emoji",
}
LIST_ZONES = "`timedatectl list-timezones` lists the names of all zones."
# Next steps, by the beginning of a description.
_HINTS = {"there is no time zone ": f" {LIST_ZONES}"}
# Descriptions that begin so have a subject of their own.
_SUBJECTS = ("this deployment ", "there is ")


class CommandError(Exception):
    """An error that ends the command; its text is shown to the user."""


def explain_error(error: ParleyError, door: str) -> str:
    """Return a sentence that explains `error` and the next step; `door` is the address that was called.

    The sentence is one line without control characters, although the server's message may quote others.
    """
    return one_cell(_explain(error, door))


def _explain(error: ParleyError, door: str) -> str:
    if isinstance(error, DoorUnreachable):
        return _explain_unreachable(error, door)
    if error.reason in _MESSAGES_BY_REASON:
        return _MESSAGES_BY_REASON[error.reason]
    if isinstance(error, Superseded):
        return "This session was opened elsewhere. A device keeps only its newest connection."
    if isinstance(error, WrongDoor):
        return (
            f"The session belongs to {error.session_door}, so it was not sent to {error.door}. Sign in there with "
            f"`parley login NAME --door {door}`. If both are addresses of the same Parley, `parley move-session "
            f"--door {door}` keeps the session."
        )
    if isinstance(error, SignedOut):
        return "You were signed out. Sign in again with `parley login NAME`."
    if isinstance(error, Unauthenticated):
        return "You are not signed in here any more. Sign in again with `parley login NAME`."
    if isinstance(error, NotServed):
        return "This version of Parley cannot do that yet."
    if isinstance(error, InvalidRequest) and error.violations:
        return " ".join(map(_explain_violation, error.violations))
    if isinstance(error, TimedOut):
        return f"Parley at {door} did not answer in time. Try again."
    if isinstance(error, TransferInterrupted):
        return f"{error.message[:1].upper()}{error.message[1:]}. Try again: it continues where it stopped."
    if isinstance(error, TryLater):
        return f"Parley at {door} cannot process that now ({error.message}). Try again in a moment."
    return f"{error.message[:1].upper()}{error.message[1:]}."


def _explain_unreachable(error: DoorUnreachable, door: str) -> str:
    """Explain a failed connection; gRPC reports the cause only in the text of the error."""
    if "resolving" in error.message:
        return f"There is no such host: {door.rpartition(':')[0]}. Check its name and the network."
    if "handshake" in error.message:
        return (
            f"The TLS handshake with {door} failed: it does not serve TLS, or its certificate is not trusted here. "
            "Name the certificates to trust with --ca FILE."
        )
    if "Socket closed" in error.message:
        return f"{door} closed the connection at once. If it serves TLS, add --tls, or its certificates with --ca FILE."
    return (
        f"Nothing answers at {door}. Start Parley with `make run`, "
        "or name another address with --door HOST:PORT or PARLEY_DOOR."
    )


def _explain_violation(violation: Violation) -> str:
    for pattern, message in _MESSAGES_BY_PATTERN.items():
        if pattern in violation.description:
            return message
    if violation.description.startswith(_SUBJECTS):
        hint = next((text for start, text in _HINTS.items() if violation.description.startswith(start)), "")
        return f"{violation.description[:1].upper()}{violation.description[1:]}.{hint}"
    field = violation.field.rpartition(".")[2].partition("[")[0].replace("_", " ")
    description = _MESSAGES_BY_DESCRIPTION.get(violation.description, violation.description)
    return f"The {field} {description}." if field else f"{description}."
