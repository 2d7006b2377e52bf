"""The errors of chat: one subclass of servicekit's Failure per reason.

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
    """The conversation does not exist, or the caller is not a member; both have the same error."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "CONVERSATION_NOT_FOUND"


class UserNotFound(Failure):
    """The user does not exist."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "USER_NOT_FOUND"


class Invalid(Failure):
    """The request is invalid; the caller must change it."""

    default_code: ClassVar[str] = "INVALID_ARGUMENT"
    default_reason: ClassVar[str] = "FIELD_INVALID"


class ContentTooLarge(Invalid):
    """The content is larger than the limit."""

    default_reason: ClassVar[str] = "CONTENT_TOO_LARGE"


class FrameTooLarge(Invalid):
    """The frame is larger than the limit."""

    default_reason: ClassVar[str] = "FRAME_TOO_LARGE"


class FrameEmpty(Invalid):
    """The frame is empty, or of a kind that this server does not know."""

    default_reason: ClassVar[str] = "FRAME_EMPTY"


class HelloMissing(Invalid):
    """The first frame was not `hello`."""

    default_reason: ClassVar[str] = "HELLO_MISSING"


class HelloRepeated(Invalid):
    """The stream sent `hello` twice."""

    default_reason: ClassVar[str] = "HELLO_REPEATED"


class MessageIdInvalid(Invalid):
    """The message id is not a UUIDv7."""

    default_reason: ClassVar[str] = "MESSAGE_ID_INVALID"


class MessageIdExpired(Invalid):
    """The message id was made more than 30 days ago."""

    default_reason: ClassVar[str] = "MESSAGE_ID_EXPIRED"


class MessageIdFromFuture(Invalid):
    """The time of the message id is more than 10 minutes in the future."""

    default_reason: ClassVar[str] = "MESSAGE_ID_FROM_FUTURE"


class PageTokenInvalid(Invalid):
    """The page token was not issued by this service for this request."""

    default_reason: ClassVar[str] = "PAGE_TOKEN_INVALID"


class PeerIsSelf(Invalid):
    """The peer of a 1-1 conversation is the caller."""

    default_reason: ClassVar[str] = "PEER_IS_SELF"


class GroupTooLarge(Invalid):
    """The group would be created with more members than the limit."""

    default_reason: ClassVar[str] = "GROUP_TOO_LARGE"


class MessageNotFound(Failure):
    """The message does not exist, or the caller may not see it."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "MESSAGE_NOT_FOUND"


class Forbidden(Failure):
    """The caller is not permitted to do this."""

    default_code: ClassVar[str] = "PERMISSION_DENIED"
    default_reason: ClassVar[str] = "ROLE_INSUFFICIENT"


class RoleInsufficient(Forbidden):
    """The caller's role does not permit this."""


class Blocked(Forbidden):
    """One of the two users has blocked the other."""

    default_reason: ClassVar[str] = "BLOCKED"


class SearchDisabled(Forbidden):
    """This deployment does not index messages for search."""

    default_reason: ClassVar[str] = "DISABLED"


class Precondition(Failure):
    """The state of the conversation or stream does not allow this."""

    default_code: ClassVar[str] = "FAILED_PRECONDITION"
    default_reason: ClassVar[str] = "NOT_A_GROUP"


class NotAGroup(Precondition):
    """The conversation is not a group."""


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


class RequestIdReused(MessageIdReused):
    """The request id was used before, with another request."""

    default_reason: ClassVar[str] = "REQUEST_ID_REUSED"


class ConversationExists(Failure):
    """The conversation to create exists; clients get the existing one instead of this error."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "REQUEST_ID_REUSED"


class Exhausted(Failure):
    """A rate or size limit is exceeded; the same request may succeed later."""

    default_code: ClassVar[str] = "RESOURCE_EXHAUSTED"
    default_reason: ClassVar[str] = "RATE_LIMITED"


class RateLimited(Exhausted):
    """The device exceeds its rate limit."""


class ConversationBusy(Exhausted):
    """The conversation exceeds its rate limit, or its queue is full."""

    default_reason: ClassVar[str] = "CONVERSATION_BUSY"


class SlowConsumer(Exhausted):
    """The device does not read its stream fast enough."""

    default_reason: ClassVar[str] = "SLOW_CONSUMER"


class Unavailable(Failure):
    """The request cannot be served at present; the same request may succeed later."""

    default_code: ClassVar[str] = "UNAVAILABLE"
    default_reason: ClassVar[str] = "OWNER_UNAVAILABLE"


class OwnerUnavailable(Unavailable):
    """The owner of the conversation, or the home of the user, is unreachable or is another server."""


class EarlierSendRefused(Unavailable):
    """An earlier send to this conversation was refused and has not been sent again yet."""

    default_reason: ClassVar[str] = "EARLIER_SEND_REFUSED"


class StoreUnavailable(Unavailable):
    """A store did not answer in time, or left the outcome unknown: a write may or may not have happened."""

    default_reason: ClassVar[str] = "STORE_UNAVAILABLE"


class ServerBusy(Unavailable):
    """Too many devices are connecting to this server."""

    default_reason: ClassVar[str] = "SERVER_BUSY"


class ServerDraining(Unavailable):
    """The server is draining and accepts no new requests."""

    default_reason: ClassVar[str] = "SERVER_DRAINING"


class SessionSuperseded(Failure):
    """A newer stream of the device has replaced this one."""

    default_code: ClassVar[str] = "ABORTED"
    default_reason: ClassVar[str] = "SESSION_SUPERSEDED"


class NotYetServed(Failure):
    """The method or frame is defined in the protos and not served by this version."""

    default_code: ClassVar[str] = "UNIMPLEMENTED"
    default_reason: ClassVar[str] = "NOT_YET_SERVED"
