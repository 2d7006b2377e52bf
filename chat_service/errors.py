"""How chat says no: one class a reason, all of them servicekit's Failure.

Failure
├── ConversationNotFound, UserNotFound,
│   MessageNotFound                                 NOT_FOUND
├── RoleInsufficient, Blocked, SearchDisabled       PERMISSION_DENIED
├── NotAGroup, GroupFull, LastAdmin,
│   StreamNotConnected                              FAILED_PRECONDITION
├── FieldInvalid, ContentTooLarge, FrameTooLarge,
│   FrameEmpty, HelloMissing, HelloRepeated,
│   MessageIdInvalid, MessageIdExpired,
│   MessageIdFromFuture, PageTokenInvalid, PeerIsSelf   INVALID_ARGUMENT
├── MessageIdReused, RequestIdReused,
│   ConversationExists                              ALREADY_EXISTS
├── RateLimited, ConversationBusy, SlowConsumer     RESOURCE_EXHAUSTED, with a delay
├── EarlierSendRefused, OwnerUnavailable,
│   StoreUnavailable, ServerBusy, ServerDraining    UNAVAILABLE, with a delay
├── SessionSuperseded                               ABORTED
└── NotYetServed                                    UNIMPLEMENTED
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.failure import Failure


class ConversationNotFound(Failure):
    """No such conversation, or the caller is not a member: the two look the same."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "CONVERSATION_NOT_FOUND"


class UserNotFound(Failure):
    """No such user."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "USER_NOT_FOUND"


class Invalid(Failure):
    """The caller must change what it asks."""

    default_code: ClassVar[str] = "INVALID_ARGUMENT"
    default_reason: ClassVar[str] = "FIELD_INVALID"


class ContentTooLarge(Invalid):
    """The content is larger than the limit."""

    default_reason: ClassVar[str] = "CONTENT_TOO_LARGE"


class FrameTooLarge(Invalid):
    """The frame is larger than the limit."""

    default_reason: ClassVar[str] = "FRAME_TOO_LARGE"


class FrameEmpty(Invalid):
    """A frame with nothing in it, or of a kind this server does not know."""

    default_reason: ClassVar[str] = "FRAME_EMPTY"


class HelloMissing(Invalid):
    """The first frame was not `hello`."""

    default_reason: ClassVar[str] = "HELLO_MISSING"


class HelloRepeated(Invalid):
    """A second `hello`."""

    default_reason: ClassVar[str] = "HELLO_REPEATED"


class MessageIdInvalid(Invalid):
    """Not a UUIDv7."""

    default_reason: ClassVar[str] = "MESSAGE_ID_INVALID"


class MessageIdExpired(Invalid):
    """Made more than 30 days ago."""

    default_reason: ClassVar[str] = "MESSAGE_ID_EXPIRED"


class MessageIdFromFuture(Invalid):
    """Made more than 10 minutes ahead."""

    default_reason: ClassVar[str] = "MESSAGE_ID_FROM_FUTURE"


class PageTokenInvalid(Invalid):
    """Not a page token of ours."""

    default_reason: ClassVar[str] = "PAGE_TOKEN_INVALID"


class PeerIsSelf(Invalid):
    """A 1-1 conversation with oneself."""

    default_reason: ClassVar[str] = "PEER_IS_SELF"


class GroupTooLarge(Invalid):
    """More members than the limit."""

    default_reason: ClassVar[str] = "GROUP_TOO_LARGE"


class MessageNotFound(Failure):
    """No such message, or not one the caller may see."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "MESSAGE_NOT_FOUND"


class Forbidden(Failure):
    """The caller may not do this."""

    default_code: ClassVar[str] = "PERMISSION_DENIED"
    default_reason: ClassVar[str] = "ROLE_INSUFFICIENT"


class RoleInsufficient(Forbidden):
    """The caller's role does not allow this."""


class Blocked(Forbidden):
    """One of the two has blocked the other."""

    default_reason: ClassVar[str] = "BLOCKED"


class SearchDisabled(Forbidden):
    """This deployment keeps no words of messages."""

    default_reason: ClassVar[str] = "DISABLED"


class Precondition(Failure):
    """Not as things are; something else must happen first."""

    default_code: ClassVar[str] = "FAILED_PRECONDITION"
    default_reason: ClassVar[str] = "NOT_A_GROUP"


class NotAGroup(Precondition):
    """This works for groups only."""


class GroupFull(Precondition):
    """The group has as many members as it may have."""

    default_reason: ClassVar[str] = "GROUP_FULL"


class LastAdmin(Precondition):
    """The last admin of a group stays one."""

    default_reason: ClassVar[str] = "LAST_ADMIN"


class TooManyHidden(Precondition):
    """So many messages were deleted from the own view already."""

    default_reason: ClassVar[str] = "TOO_MANY_HIDDEN"


class StreamNotConnected(Precondition):
    """The device has no stream."""

    default_reason: ClassVar[str] = "STREAM_NOT_CONNECTED"


class MessageIdReused(Failure):
    """The id came before, with other content."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "MESSAGE_ID_REUSED"


class RequestIdReused(MessageIdReused):
    """The id came before, with another request."""

    default_reason: ClassVar[str] = "REQUEST_ID_REUSED"


class ConversationExists(Failure):
    """What was to be made is there; never told to a client, who gets what is there."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "REQUEST_ID_REUSED"


class Exhausted(Failure):
    """Too much for now."""

    default_code: ClassVar[str] = "RESOURCE_EXHAUSTED"
    default_reason: ClassVar[str] = "RATE_LIMITED"


class RateLimited(Exhausted):
    """The device sends faster than it may."""


class ConversationBusy(Exhausted):
    """The conversation takes in more than it may."""

    default_reason: ClassVar[str] = "CONVERSATION_BUSY"


class SlowConsumer(Exhausted):
    """The device does not read what is sent to it."""

    default_reason: ClassVar[str] = "SLOW_CONSUMER"


class Unavailable(Failure):
    """Not now; the same again later."""

    default_code: ClassVar[str] = "UNAVAILABLE"
    default_reason: ClassVar[str] = "OWNER_UNAVAILABLE"


class OwnerUnavailable(Unavailable):
    """The owner of the conversation, or the home of the user, cannot be reached or is another server."""


class EarlierSendRefused(Unavailable):
    """An earlier send to this conversation was refused and has not been sent again yet."""

    default_reason: ClassVar[str] = "EARLIER_SEND_REFUSED"


class StoreUnavailable(Unavailable):
    """A store did not answer in time, or not with certainty: a write may or may not have happened."""

    default_reason: ClassVar[str] = "STORE_UNAVAILABLE"


class ServerBusy(Unavailable):
    """Too many devices connect to this server at the moment."""

    default_reason: ClassVar[str] = "SERVER_BUSY"


class ServerDraining(Unavailable):
    """The server is going away."""

    default_reason: ClassVar[str] = "SERVER_DRAINING"


class SessionSuperseded(Failure):
    """A newer stream of the device took over."""

    default_code: ClassVar[str] = "ABORTED"
    default_reason: ClassVar[str] = "SESSION_SUPERSEDED"


class NotYetServed(Failure):
    """Part of the contract, not served by this version."""

    default_code: ClassVar[str] = "UNIMPLEMENTED"
    default_reason: ClassVar[str] = "NOT_YET_SERVED"
