"""Parley's SDK for asyncio: a client, its device, and what they tell."""

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
    PresenceChanged,
    SendRefused,
    Settings,
    TypingChanged,
    WatermarkMoved,
)
from parley_client.message import Message
from parley_client.messages import Sent
from parley_client.session import DamagedFile, DeviceState, FileStore, MemoryStore, Session, SessionStore
from parley_client.stream_protocol import Sending
from parley_client.view import ConversationView, Notice, Tick

__all__ = [
    "DEFAULT_DOOR",
    "AlreadyExists",
    "CaughtUp",
    "Client",
    "ConnectionChanged",
    "ConnectionState",
    "ConversationChecked",
    "ConversationGone",
    "ConversationView",
    "DamagedFile",
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
    "PresenceChanged",
    "SendQueueFull",
    "SendRefused",
    "Sending",
    "Sent",
    "ServerFault",
    "Session",
    "SessionStore",
    "Settings",
    "SignedOut",
    "Superseded",
    "Tick",
    "TimedOut",
    "Tls",
    "TryLater",
    "TypingChanged",
    "Unauthenticated",
    "Violation",
    "WatermarkMoved",
    "contents",
]
