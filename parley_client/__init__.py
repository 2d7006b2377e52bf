"""The asyncio SDK of Parley: a client, its device, the events of the device and the errors of both."""

from parley_client import contents
from parley_client.channel import Tls
from parley_client.client import DEFAULT_DOOR, Client
from parley_client.device import Device
from parley_client.errors import (
    AlreadyExists,
    DoorUnreachable,
    InvalidRequest,
    NotAllowed,
    NotFound,
    NotPossibleNow,
    NotServed,
    ParleyError,
    SendQueueFull,
    ServerFault,
    SignedOut,
    Superseded,
    TimedOut,
    TryLater,
    Unauthenticated,
    Violation,
)
from parley_client.events import (
    CaughtUp,
    ConnectionChanged,
    ConnectionState,
    ConversationChecked,
    ConversationGone,
    EntryReceived,
    Event,
    FrameRefused,
    PersonalSettings,
    PresenceChanged,
    SendRefused,
    TypingChanged,
    WatermarkMoved,
)
from parley_client.message import Message
from parley_client.messages import AppendResult
from parley_client.session import DamagedFile, DeviceState, FileStore, MemoryStore, Session, SessionStore
from parley_client.stream_protocol import PendingSend
from parley_client.view import ConversationView, DeliveryStatus, Notice

__all__ = [
    "DEFAULT_DOOR",
    "AlreadyExists",
    "AppendResult",
    "CaughtUp",
    "Client",
    "ConnectionChanged",
    "ConnectionState",
    "ConversationChecked",
    "ConversationGone",
    "ConversationView",
    "DamagedFile",
    "DeliveryStatus",
    "Device",
    "DeviceState",
    "DoorUnreachable",
    "EntryReceived",
    "Event",
    "FileStore",
    "FrameRefused",
    "InvalidRequest",
    "MemoryStore",
    "Message",
    "NotAllowed",
    "NotFound",
    "NotPossibleNow",
    "NotServed",
    "Notice",
    "ParleyError",
    "PendingSend",
    "PersonalSettings",
    "PresenceChanged",
    "SendQueueFull",
    "SendRefused",
    "ServerFault",
    "Session",
    "SessionStore",
    "SignedOut",
    "Superseded",
    "TimedOut",
    "Tls",
    "TryLater",
    "TypingChanged",
    "Unauthenticated",
    "Violation",
    "WatermarkMoved",
    "contents",
]
