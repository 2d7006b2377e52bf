"""The errors of chat alone: one class for each reason. Those of every service are in `servicekit.errors`.

Failure
├── ConversationNotFound, UserNotFound,
│   MessageNotFound                                 NOT_FOUND
├── RoleInsufficient, Blocked                       PERMISSION_DENIED
├── NotAGroup, GroupFull, LastAdmin, TooManyHidden,
│   StreamNotConnected                              FAILED_PRECONDITION
├── MessageIdInvalid, MessageIdExpired,
│   MessageIdFromFuture, PeerIsSelf,
│   GroupTooLarge                                   INVALID_ARGUMENT
├── MessageIdReused, ConversationExists             ALREADY_EXISTS
├── ConversationBusy                                RESOURCE_EXHAUSTED, with a delay
└── EarlierSendRefused, OwnerUnavailable            UNAVAILABLE, with a delay
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.errors import Exhausted, Forbidden, Invalid, NotFound, Precondition, Unavailable
from servicekit.failure import Failure


class ConversationNotFound(NotFound):
    """The conversation does not exist, or the caller is not a member; both have the same error."""

    default_reason: ClassVar[str] = "CONVERSATION_NOT_FOUND"


class UserNotFound(NotFound):
    """The user does not exist."""

    default_reason: ClassVar[str] = "USER_NOT_FOUND"


class MessageIdInvalid(Invalid):
    """The message id is not a UUIDv7."""

    default_reason: ClassVar[str] = "MESSAGE_ID_INVALID"


class MessageIdExpired(Invalid):
    """The message id was made more than 30 days ago."""

    default_reason: ClassVar[str] = "MESSAGE_ID_EXPIRED"


class MessageIdFromFuture(Invalid):
    """The time of the message id is more than 10 minutes in the future."""

    default_reason: ClassVar[str] = "MESSAGE_ID_FROM_FUTURE"


class PeerIsSelf(Invalid):
    """The peer of a 1-1 conversation is the caller."""

    default_reason: ClassVar[str] = "PEER_IS_SELF"


class GroupTooLarge(Invalid):
    """The group would be created with more members than the limit."""

    default_reason: ClassVar[str] = "GROUP_TOO_LARGE"


class MessageNotFound(NotFound):
    """The message does not exist, or the caller may not see it."""

    default_reason: ClassVar[str] = "MESSAGE_NOT_FOUND"


class RoleInsufficient(Forbidden):
    """The caller's role does not permit this."""

    default_reason: ClassVar[str] = "ROLE_INSUFFICIENT"


class Blocked(Forbidden):
    """One of the two users has blocked the other."""

    default_reason: ClassVar[str] = "BLOCKED"


class NotAGroup(Precondition):
    """The conversation is not a group."""

    default_reason: ClassVar[str] = "NOT_A_GROUP"


class GroupFull(Precondition):
    """The group would exceed the limit of members."""

    default_reason: ClassVar[str] = "GROUP_FULL"


class LastAdmin(Precondition):
    """The change would leave a group without an admin."""

    default_reason: ClassVar[str] = "LAST_ADMIN"


class TooManyHidden(Precondition):
    """The caller has hidden the maximum number of messages in this conversation."""

    default_reason: ClassVar[str] = "TOO_MANY_HIDDEN"


class StreamNotConnected(Precondition):
    """The device has no open stream."""

    default_reason: ClassVar[str] = "STREAM_NOT_CONNECTED"


class MessageIdReused(Failure):
    """The message id was used before, with other content."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "MESSAGE_ID_REUSED"


class ConversationExists(Failure):
    """The conversation to create exists; clients get the existing one instead of this error."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"


class ConversationBusy(Exhausted):
    """The conversation exceeds its rate limit, or its queue is full."""

    default_reason: ClassVar[str] = "CONVERSATION_BUSY"


class OwnerUnavailable(Unavailable):
    """The owner of the conversation, or the home of the user, is unreachable or is another server."""

    default_reason: ClassVar[str] = "OWNER_UNAVAILABLE"


class EarlierSendRefused(Unavailable):
    """An earlier send to this conversation was refused and has not been sent again yet."""

    default_reason: ClassVar[str] = "EARLIER_SEND_REFUSED"
