"""Decisions about pushes: what was pushed to the devices of a user, or why it was not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from parley.notify.v1 import notify_pb2
from parley_client.push_tokens import PushProvider


class PushOutcome(Enum):
    """The outcome of a decision about a push. UNKNOWN: a newer server has added it.

    ACCEPTED: the provider accepted it. RETRYING: the provider did not, and it is sent again later. FAILED: the provider
    refused it for good, or did not accept it for too long. TOKEN_GONE: the provider does not know the token any more,
    which was removed: the app must register a new one. The others say why nothing was sent to a provider: the user has
    no token (NO_TOKEN) or is NOT_A_MEMBER any more, the device is SIGNED_OUT, the conversation is MUTED, the author is
    BLOCKED, the entry was READ on another device, the preferences have EXCLUDED it, the user has QUIET_HOURS, a device
    of the user was IN_FOREGROUND, the message was DELETED since, or a newer notification of the conversation has
    SUPERSEDED it.
    """

    UNKNOWN = notify_pb2.PUSH_OUTCOME_UNSPECIFIED
    ACCEPTED = notify_pb2.PUSH_OUTCOME_ACCEPTED
    RETRYING = notify_pb2.PUSH_OUTCOME_RETRYING
    FAILED = notify_pb2.PUSH_OUTCOME_FAILED
    TOKEN_GONE = notify_pb2.PUSH_OUTCOME_TOKEN_GONE
    NO_TOKEN = notify_pb2.PUSH_OUTCOME_NO_TOKEN
    SIGNED_OUT = notify_pb2.PUSH_OUTCOME_SIGNED_OUT
    NOT_A_MEMBER = notify_pb2.PUSH_OUTCOME_NOT_A_MEMBER
    MUTED = notify_pb2.PUSH_OUTCOME_MUTED
    BLOCKED = notify_pb2.PUSH_OUTCOME_BLOCKED
    READ = notify_pb2.PUSH_OUTCOME_READ
    EXCLUDED = notify_pb2.PUSH_OUTCOME_EXCLUDED
    SUPERSEDED = notify_pb2.PUSH_OUTCOME_SUPERSEDED
    QUIET_HOURS = notify_pb2.PUSH_OUTCOME_QUIET_HOURS
    IN_FOREGROUND = notify_pb2.PUSH_OUTCOME_IN_FOREGROUND
    DELETED = notify_pb2.PUSH_OUTCOME_DELETED

    @classmethod
    def _missing_(cls, value: object) -> PushOutcome:  # noqa: ARG003
        """Return UNKNOWN for an outcome that a newer server has added."""
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class PushDecision:
    """A decision about pushes of one entry. `time` is the server's.

    `device_id` and `provider` are None if the decision is about all devices. With IN_FOREGROUND, `device_id` is one
    that was. `provider_reason` is the provider's own text, empty if it gave none.
    """

    time: datetime
    conversation_id: str
    seq: int
    outcome: PushOutcome
    device_id: str | None = None
    provider: PushProvider | None = None
    provider_reason: str = ""

    @classmethod
    def from_proto(cls, proto: notify_pb2.PushDecision) -> PushDecision:
        """Convert a proto."""
        return cls(
            proto.decide_time.ToDatetime(tzinfo=UTC),
            proto.conversation_id,
            proto.seq,
            PushOutcome(proto.outcome),
            proto.device_id or None,
            PushProvider(proto.provider) if proto.provider else None,
            proto.provider_reason,
        )


@dataclass(frozen=True, slots=True)
class PushTestResult:
    """The provider's answer to a test notification for one device.

    `outcome` is ACCEPTED, RETRYING (the provider is not available now, and the notification is not repeated), FAILED or
    TOKEN_GONE. `provider_reason` is the provider's own text, empty if it gave none.
    """

    device_id: str
    provider: PushProvider
    outcome: PushOutcome
    provider_reason: str = ""

    @classmethod
    def from_proto(cls, proto: notify_pb2.TestPushResult) -> PushTestResult:
        """Convert a proto."""
        return cls(proto.device_id, PushProvider(proto.provider), PushOutcome(proto.outcome), proto.provider_reason)
