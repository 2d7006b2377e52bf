"""The asyncio SDK of Parley: a client, its device, the events of the device and the errors of both."""

from parley_client import contents
from parley_client.accounts import Accounts
from parley_client.client import Client
from parley_client.conversations import Conversations
from parley_client.device import Device
from parley_client.door import DEFAULT_DOOR, Door, Tls
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
    WrongDoor,
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
    Membership,
    PersonalSettings,
    PresenceChanged,
    SendRefused,
    TypingChanged,
    WatermarkMoved,
)
from parley_client.live_view import LiveView
from parley_client.message import Message
from parley_client.messages import AppendResult, Messages
from parley_client.session import DamagedFile, DeviceState, FileStore, MemoryStore, Session, SessionStore
from parley_client.stream_protocol import PendingSend
from parley_client.view import ConversationView, DeliveryStatus, Notice, NoticeKind

__all__ = [
    "DEFAULT_DOOR",
    "Accounts",
    "AlreadyExists",
    "AppendResult",
    "CaughtUp",
    "Client",
    "ConnectionChanged",
    "ConnectionState",
    "ConversationChecked",
    "ConversationGone",
    "ConversationView",
    "Conversations",
    "DamagedFile",
    "DeliveryStatus",
    "Device",
    "DeviceState",
    "Door",
    "DoorUnreachable",
    "EntryReceived",
    "Event",
    "FileStore",
    "FrameRefused",
    "InvalidRequest",
    "LiveView",
    "Membership",
    "MemoryStore",
    "Message",
    "Messages",
    "NotAllowed",
    "NotFound",
    "NotPossibleNow",
    "NotServed",
    "Notice",
    "NoticeKind",
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
    "WrongDoor",
    "contents",
]
