"""The players of the demo: accounts with fresh names, and devices that write down all they see."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType

from parley_client.channel import Tls
from parley_client.client import Client
from parley_client.demo.record import AcknowledgedMessage, DeviceRecord, record_entry
from parley_client.device import Device
from parley_client.errors import DoorUnreachable, ParleyError
from parley_client.events import ConnectionChanged, ConnectionState, ConversationGone, EntryReceived
from parley_client.session import Session
from parley_client.view import ConversationView

# How long a send may take, whatever happens to the servers.
SEND_TIMEOUT_S = 20.0


class ObservationTimeout(Exception):
    """Something that should have happened did not, in time."""


@dataclass(eq=False)
class Participant:
    """One device of one account. Between `join` and `leave` it is connected and takes notes."""

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
        self.device: Device | None = None

    @property
    def session(self) -> Session:
        """Who the player is."""
        session = self.client.session
        assert session is not None, "players are signed in"  # noqa: S101
        return session

    @property
    def user_id(self) -> str:
        """The account's user."""
        return self.session.user_id

    async def connect(self, seconds: float = 10.0) -> None:
        """Connect, and begin to take notes."""
        device = self.client.connect(repair=self.repair, home_hint=self.home_hint)
        self.device = await self._stack.enter_async_context(device)
        self._recording = asyncio.create_task(self._record_events(device))
        await device.wait_connected(seconds)

    async def disconnect(self) -> None:
        """Go away; the place in every conversation is kept for the next `join`."""
        if self._recording:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)
        await self._stack.aclose()
        self.device = None

    def rename(self, name: str) -> None:
        """Take a role."""
        self.name = self.record.device_name = name

    async def send(self, conversation_id: str, text: str) -> AcknowledgedMessage:
        """Send, and wait for the answer. Raises ParleyError."""
        return await self.send_with_id(conversation_id, text, self.client.new_id())

    async def send_with_id(
        self, conversation_id: str, text: str, client_message_id: str, *, count: bool = True
    ) -> AcknowledgedMessage:
        """Send with an id of the caller's choice. `count` False: it is a repeat, and is not noted."""
        number, self._send_count = self._send_count, self._send_count + 1
        sent = await self._connected_device().send(
            conversation_id, text, client_message_id=client_message_id, seconds=SEND_TIMEOUT_S
        )
        answer = AcknowledgedMessage(conversation_id, self.name, number, self.user_id, text, sent.seq)
        if count:
            self.sent.append(answer)
        return answer

    async def send_unrecorded(self, conversation_id: str, text: str) -> AcknowledgedMessage:
        """Send what will change, so that nobody looks for these words in the end."""
        return await self.send_with_id(conversation_id, text, self.client.new_id(), count=False)

    def view(self, conversation_id: str) -> ConversationView:
        """A conversation as this device shows it, whatever it was away for."""
        return self._views.setdefault(conversation_id, ConversationView(conversation_id, self.user_id))

    def fetch(self, conversation_id: str) -> None:
        """Ask for a conversation, whoever's it is."""
        self._connected_device().look(conversation_id)

    def mark_read(self, conversation_id: str, seq: int) -> None:
        """The user has read up to here."""
        self._connected_device().mark_read(conversation_id, seq)

    async def wait_received(self, text: str, seconds: float) -> float:
        """When a message came, by time.perf_counter(). Raises Silence."""
        await self.wait_until(lambda: text in self.arrival_times, f"“{text}” did not reach {self.name}", seconds)
        return self.arrival_times[text]

    async def wait_until(self, condition: Callable[[], object], failure: str, seconds: float) -> None:
        """Wait until `holds()`, looking whenever something happens. Raises Silence."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._event_received.clear()
                    await self._event_received.wait()
        except TimeoutError:
            raise ObservationTimeout(f"{failure} within {seconds:g} s") from None

    def has_read_watermark(self, conversation_id: str, user_id: str, seq: int) -> bool:
        """Whether this device knows that a member has received and read everything up to `seq`."""
        return min(self._connected_device().watermark(conversation_id, user_id)) >= seq

    def _connected_device(self) -> Device:
        if self.device is None:
            raise ObservationTimeout(f"{self.name} is away")
        return self.device

    async def _record_events(self, device: Device) -> None:
        async for event in device:
            if conversation_id := getattr(event, "conversation_id", ""):
                self.view(conversation_id).take(event)
            if isinstance(event, EntryReceived):
                self.record.append(event.entry, event.live)
                self.arrival_times.setdefault(record_entry(event.entry).content, time.perf_counter())
            elif isinstance(event, ConnectionChanged) and event.state is ConnectionState.ENDED:
                self.end_error = event.error
            elif isinstance(event, ConversationGone):
                self.lost_conversations.add(event.conversation_id)
            self._event_received.set()


class ParticipantPool:
    """Makes players, and sends them home at the end."""

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
        for player in self._participants:
            await player.disconnect()
        await self._stack.aclose()

    async def register(self, name: str) -> Participant:
        """A new account and its first device."""
        player = await self._create(f"{name}'s phone")
        await player.client.accounts.register(
            f"demo-{name}-{self._suffix}",
            self._password,
            display_name=name.capitalize(),
            device_name=player.name,
        )
        return player

    async def add_device(self, player: Participant, name: str) -> Participant:
        """Another device of the same account."""
        other = await self._create(name)
        await other.client.accounts.login(player.session.login_name, self._password, device_name=name)
        return other

    async def check_reachable(self) -> None:
        """Raises DoorUnreachable when nobody is at the door any more."""
        try:
            await self._participants[0].client.accounts.profile()
        except DoorUnreachable:
            raise
        except ParleyError:
            # Whatever it is, somebody said so.
            pass

    async def _create(self, name: str) -> Participant:
        client = await self._stack.enter_async_context(Client(self._door, tls=self._tls))
        player = Participant(name, client, self._repair)
        self._participants.append(player)
        return player
