"""The notification preferences of a user, as the SDK shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from enum import Enum

from parley.notify.v1 import notify_pb2


class NotificationScope(Enum):
    """The messages that notify: ALL, MENTIONS or NONE.

    MENTIONS: in groups only those that mention the user or reply to the user; in 1-1 conversations all. UNKNOWN: a
    newer server has added the scope.
    """

    UNKNOWN = notify_pb2.NOTIFICATION_SCOPE_UNSPECIFIED
    ALL = notify_pb2.NOTIFICATION_SCOPE_ALL
    MENTIONS = notify_pb2.NOTIFICATION_SCOPE_MENTIONS
    NONE = notify_pb2.NOTIFICATION_SCOPE_NONE

    @classmethod
    def _missing_(cls, value: object) -> NotificationScope:  # noqa: ARG003
        """Return UNKNOWN for a scope that a newer server has added."""
        return cls.UNKNOWN


class NotificationPreview(Enum):
    """The part of a message that a notification shows.

    FULL: the sender, the conversation and the beginning of the text. SENDER: the sender and the conversation. NONE:
    only that there is a new message. UNKNOWN: a newer server has added the preview.
    """

    UNKNOWN = notify_pb2.NOTIFICATION_PREVIEW_UNSPECIFIED
    FULL = notify_pb2.NOTIFICATION_PREVIEW_FULL
    SENDER = notify_pb2.NOTIFICATION_PREVIEW_SENDER
    NONE = notify_pb2.NOTIFICATION_PREVIEW_NONE

    @classmethod
    def _missing_(cls, value: object) -> NotificationPreview:  # noqa: ARG003
        """Return UNKNOWN for a preview that a newer server has added."""
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A period of the day in which nothing notifies.

    `start` and `end` are times of the wall clock, to the minute, in the IANA time zone `time_zone`. An end before the
    start is on the next day; an equal one means all day. Raises ValueError for times with seconds or a time zone.
    """

    start: time
    end: time
    time_zone: str

    def __post_init__(self) -> None:
        for each in (self.start, self.end):
            if each.tzinfo is not None or each.second or each.microsecond:
                raise ValueError(f"{each} is not a time of day to the minute, without a time zone")

    @classmethod
    def from_proto(cls, proto: notify_pb2.QuietHours) -> QuietHours:
        """Convert a proto."""
        start, end = (time(*divmod(minute, 60)) for minute in (proto.start_minute, proto.end_minute))
        return cls(start, end, proto.time_zone)

    def to_proto(self) -> notify_pb2.QuietHours:
        """Convert to a proto."""
        start, end = (each.hour * 60 + each.minute for each in (self.start, self.end))
        return notify_pb2.QuietHours(start_minute=start, end_minute=end, time_zone=self.time_zone)


@dataclass(frozen=True, slots=True)
class NotificationPreferences:
    """The preferences of a user, for all devices.

    `reactions`: whether reactions to the user's own messages notify. `quiet_hours` None: there are none. When they are
    set, an UNKNOWN part keeps its present value.
    """

    scope: NotificationScope = NotificationScope.ALL
    preview: NotificationPreview = NotificationPreview.FULL
    reactions: bool = True
    quiet_hours: QuietHours | None = None

    @classmethod
    def from_proto(cls, proto: notify_pb2.Preferences) -> NotificationPreferences:
        """Convert a proto."""
        return cls(
            NotificationScope(proto.scope),
            NotificationPreview(proto.preview),
            proto.reactions,
            QuietHours.from_proto(proto.quiet_hours) if proto.HasField("quiet_hours") else None,
        )

    def to_proto(self) -> notify_pb2.Preferences:
        """Convert to a proto."""
        quiet_hours = self.quiet_hours.to_proto() if self.quiet_hours else None
        return notify_pb2.Preferences(
            scope=self.scope.value, preview=self.preview.value, reactions=self.reactions, quiet_hours=quiet_hours
        )
