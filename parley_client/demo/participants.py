"""The participants of the demo: new accounts, and devices that record every entry they receive."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType

from parley_client.client import Client
from parley_client.demo.record import AcknowledgedMessage, DeviceRecord, record_entry
from parley_client.device import Device
from parley_client.door import Tls
from parley_client.errors import DoorUnreachable, ParleyError, TimedOut
from parley_client.events import CaughtUp, ConnectionChanged, ConnectionState, ConversationGone, EntryReceived
from parley_client.session import Session
from parley_client.view import ConversationView

CONNECT_TIMEOUT_S = 10.0
# A send may take this long, even if a server fails meanwhile.
SEND_TIMEOUT_S = 20.0


class ObservationTimeout(Exception):
    """An expected event was not observed in time."""


@dataclass(eq=False)
class Participant:
    """One device of one account. Between `connect` and `disconnect` it records the entries it receives."""

    name: str
    client: Client
    repair: bool = True
    home_hint: str | None = None
    record: DeviceRecord = field(init=False)
    sent: list[AcknowledgedMessage] = field(default_factory=list)
    arrival_times: dict[str, float] = field(default_factory=dict)
    end_error: ParleyError | None = None
    lost_conversations: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.record = DeviceRecord(self.name)
        self._send_count = 0
        self._views: dict[str, ConversationView] = {}
        self._event_received = asyncio.Event()
        self._stack = AsyncExitStack()
        self._recording: asyncio.Task[None] | None = None
        self._caught_up = False
        self.device: Device | None = None

    @property
    def session(self) -> Session:
        """The session of the participant, who is signed in."""
        session = self.client.session
        assert session is not None, "participants are signed in"  # noqa: S101
        return session

    @property
    def user_id(self) -> str:
        """The user id of the account."""
        return self.session.user_id

    async def connect(self) -> None:
        """Connect, start recording, and return once the device has caught up: what follows reaches it live or never.

        Raise TimedOut after `CONNECT_TIMEOUT_S`.
        """
        device = self.client.connect(repair=self.repair, home_hint=self.home_hint)
        self.device = await self._stack.enter_async_context(device)
        self._caught_up = False
        self._recording = asyncio.create_task(self._record_events(device))
        await device.wait_connected(CONNECT_TIMEOUT_S)
        try:
            await self.wait_until(lambda: self._caught_up, f"{self.name} did not catch up", CONNECT_TIMEOUT_S)
        except ObservationTimeout as error:
            raise TimedOut(str(error)) from None

    async def disconnect(self) -> None:
        """Disconnect; the cursor of every conversation is kept for the next `connect`."""
        if self._recording:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)
        await self._stack.aclose()
        self.device = None

    def rename(self, name: str) -> None:
        """Change the name in the records."""
        self.name = self.record.device_name = name

    async def send(self, conversation_id: str, text: str) -> AcknowledgedMessage:
        """Send a text and return it with its seq. Raise ParleyError if it is refused."""
        return await self.send_with_id(conversation_id, text, self.client.new_id())

    async def send_with_id(
        self, conversation_id: str, text: str, client_message_id: str, *, recorded: bool = True
    ) -> AcknowledgedMessage:
        """Send with the caller's client_message_id. `recorded` False: the message is left out of the checks."""
        index, self._send_count = self._send_count, self._send_count + 1
        sent = await self._connected_device().send(
            conversation_id, text, client_message_id=client_message_id, timeout_s=SEND_TIMEOUT_S
        )
        answer = AcknowledgedMessage(conversation_id, self.name, index, self.user_id, text, sent.seq)
        if recorded:
            self.sent.append(answer)
        return answer

    async def send_unrecorded(self, conversation_id: str, text: str) -> AcknowledgedMessage:
        """Send a message that will be changed, so that the checks do not expect its first text."""
        return await self.send_with_id(conversation_id, text, self.client.new_id(), recorded=False)

    def view(self, conversation_id: str) -> ConversationView:
        """Return the conversation as this device shows it, across reconnects."""
        return self._views.setdefault(conversation_id, ConversationView(conversation_id, self.user_id))

    def fetch(self, conversation_id: str) -> None:
        """Fetch a conversation over the stream, whether or not the user is a member."""
        self._connected_device().refresh(conversation_id)

    def mark_read(self, conversation_id: str, seq: int) -> None:
        """Mark the conversation as read up to `seq`."""
        self._connected_device().mark_read(conversation_id, seq)

    async def wait_received(self, text: str, timeout_s: float) -> float:
        """Wait for a message; return its time by time.perf_counter(). Raise ObservationTimeout after `timeout_s`."""
        await self.wait_until(lambda: text in self.arrival_times, f"“{text}” did not reach {self.name}", timeout_s)
        return self.arrival_times[text]

    async def wait_until(self, condition: Callable[[], object], failure: str, timeout_s: float) -> None:
        """Wait until `condition()` is true after an event. Raise ObservationTimeout after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._event_received.clear()
                    await self._event_received.wait()
        except TimeoutError:
            raise ObservationTimeout(f"{failure} within {timeout_s:g} s") from None

    def has_read_watermark(self, conversation_id: str, user_id: str, seq: int) -> bool:
        """Return True if this device has learned that a member received and read everything up to `seq`."""
        return min(self._connected_device().watermark(conversation_id, user_id)) >= seq

    def _connected_device(self) -> Device:
        if self.device is None:
            raise ObservationTimeout(f"{self.name} is disconnected")
        return self.device

    async def _record_events(self, device: Device) -> None:
        async for event in device:
            if conversation_id := getattr(event, "conversation_id", ""):
                self.view(conversation_id).apply(event)
            if isinstance(event, EntryReceived):
                self.record.append(event.entry, event.live)
                self.arrival_times.setdefault(record_entry(event.entry).content, time.perf_counter())
            elif isinstance(event, CaughtUp):
                self._caught_up = True
            elif isinstance(event, ConnectionChanged) and event.state is ConnectionState.ENDED:
                self.end_error = event.error
            elif isinstance(event, ConversationGone):
                self.lost_conversations.add(event.conversation_id)
            self._event_received.set()


class ParticipantPool:
    """Creates participants, and disconnects them on exit."""

    def __init__(self, door: str, tls: Tls | None, *, repair: bool) -> None:
        self._door = door
        self._tls = tls
        self._repair = repair
        self._stack = AsyncExitStack()
        self._participants: list[Participant] = []
        self._suffix = secrets.token_hex(3)
        self._password = secrets.token_urlsafe(16)

    async def __aenter__(self) -> ParticipantPool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for participant in self._participants:
            await participant.disconnect()
        await self._stack.aclose()

    async def register(self, name: str) -> Participant:
        """Create an account and return its first device."""
        participant = await self._new_participant(f"{name}'s phone")
        await participant.client.accounts.register(
            f"demo-{name}-{self._suffix}",
            self._password,
            display_name=name.capitalize(),
            device_name=participant.name,
        )
        return participant

    async def add_device(self, participant: Participant, name: str) -> Participant:
        """Sign in on another device of the same account and return it."""
        other = await self._new_participant(name)
        await other.client.accounts.login(participant.session.login_name, self._password, device_name=name)
        return other

    async def check_reachable(self) -> None:
        """Raise DoorUnreachable if the system does not answer any more."""
        try:
            await self._participants[0].client.accounts.get_profile()
        except DoorUnreachable:
            raise
        except ParleyError:
            # Any other error is an answer.
            pass

    async def _new_participant(self, name: str) -> Participant:
        client = await self._stack.enter_async_context(Client(self._door, tls=self._tls))
        participant = Participant(name, client, self._repair)
        self._participants.append(participant)
        return participant
