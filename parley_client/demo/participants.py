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
from parley_client.demo.record import Acknowledged, Notebook, seen
from parley_client.device import Device
from parley_client.errors import DoorUnreachable, ParleyError
from parley_client.events import ConnectionChanged, ConnectionState, ConversationGone, EntryReceived
from parley_client.session import Session
from parley_client.view import ConversationView

# How long a send may take, whatever happens to the servers.
ANSWER_SECONDS = 20.0


class Silence(Exception):
    """Something that should have happened did not, in time."""


@dataclass(eq=False)
class Player:
    """One device of one account. Between `join` and `leave` it is connected and takes notes."""

    name: str
    client: Client
    repair: bool = True
    hint: str | None = None
    notebook: Notebook = field(init=False)
    sent: list[Acknowledged] = field(default_factory=list)
    arrivals: dict[str, float] = field(default_factory=dict)
    ended: ParleyError | None = None
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.notebook = Notebook(self.name)
        self._number = 0
        self._views: dict[str, ConversationView] = {}
        self._noticed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._notes: asyncio.Task[None] | None = None
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

    async def join(self, seconds: float = 10.0) -> None:
        """Connect, and begin to take notes."""
        device = self.client.connect(repair=self.repair, home_hint=self.hint)
        self.device = await self._stack.enter_async_context(device)
        self._notes = asyncio.create_task(self._take_notes(device))
        await device.wait_connected(seconds)

    async def leave(self) -> None:
        """Go away; the place in every conversation is kept for the next `join`."""
        if self._notes:
            self._notes.cancel()
            await asyncio.gather(self._notes, return_exceptions=True)
        await self._stack.aclose()
        self.device = None

    def rename(self, name: str) -> None:
        """Take a role."""
        self.name = self.notebook.owner = name

    async def say(self, conversation_id: str, text: str) -> Acknowledged:
        """Send, and wait for the answer. Raises ParleyError."""
        return await self.say_as(conversation_id, text, self.client.new_id())

    async def say_as(
        self, conversation_id: str, text: str, client_message_id: str, *, count: bool = True
    ) -> Acknowledged:
        """Send with an id of the caller's choice. `count` False: it is a repeat, and is not noted."""
        number, self._number = self._number, self._number + 1
        sent = await self._connected().send(
            conversation_id, text, client_message_id=client_message_id, seconds=ANSWER_SECONDS
        )
        answer = Acknowledged(conversation_id, self.name, number, self.user_id, text, sent.seq)
        if count:
            self.sent.append(answer)
        return answer

    async def say_unnoted(self, conversation_id: str, text: str) -> Acknowledged:
        """Send what will change, so that nobody looks for these words in the end."""
        return await self.say_as(conversation_id, text, self.client.new_id(), count=False)

    def view(self, conversation_id: str) -> ConversationView:
        """A conversation as this device shows it, whatever it was away for."""
        return self._views.setdefault(conversation_id, ConversationView(conversation_id, self.user_id))

    def look(self, conversation_id: str) -> None:
        """Ask for a conversation, whoever's it is."""
        self._connected().look(conversation_id)

    def mark_read(self, conversation_id: str, seq: int) -> None:
        """The user has read up to here."""
        self._connected().mark_read(conversation_id, seq)

    async def arrival(self, text: str, seconds: float) -> float:
        """When a message came, by time.perf_counter(). Raises Silence."""
        await self.until(lambda: text in self.arrivals, f"“{text}” did not reach {self.name}", seconds)
        return self.arrivals[text]

    async def until(self, holds: Callable[[], object], otherwise: str, seconds: float) -> None:
        """Wait until `holds()`, looking whenever something happens. Raises Silence."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._noticed.clear()
                    await self._noticed.wait()
        except TimeoutError:
            raise Silence(f"{otherwise} within {seconds:g} s") from None

    def knows_read(self, conversation_id: str, user_id: str, seq: int) -> bool:
        """Whether this device knows that a member has received and read everything up to `seq`."""
        return min(self._connected().watermark(conversation_id, user_id)) >= seq

    def _connected(self) -> Device:
        if self.device is None:
            raise Silence(f"{self.name} is away")
        return self.device

    async def _take_notes(self, device: Device) -> None:
        async for event in device:
            if conversation_id := getattr(event, "conversation_id", ""):
                self.view(conversation_id).take(event)
            if isinstance(event, EntryReceived):
                self.notebook.note(event.entry, event.live)
                self.arrivals.setdefault(seen(event.entry).what, time.perf_counter())
            elif isinstance(event, ConnectionChanged) and event.state is ConnectionState.ENDED:
                self.ended = event.error
            elif isinstance(event, ConversationGone):
                self.gone.add(event.conversation_id)
            self._noticed.set()


class Cast:
    """Makes players, and sends them home at the end."""

    def __init__(self, door: str, tls: Tls | None, *, repair: bool) -> None:
        self._door = door
        self._tls = tls
        self._repair = repair
        self._stack = AsyncExitStack()
        self._players: list[Player] = []
        self._suffix = secrets.token_hex(3)
        self._password = secrets.token_urlsafe(16)

    async def __aenter__(self) -> Cast:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for player in self._players:
            await player.leave()
        await self._stack.aclose()

    async def newcomer(self, name: str) -> Player:
        """A new account and its first device."""
        player = await self._player(f"{name}'s phone")
        await player.client.accounts.register(
            f"demo-{name}-{self._suffix}",
            self._password,
            display_name=name.capitalize(),
            device_name=player.name,
        )
        return player

    async def another(self, player: Player, name: str) -> Player:
        """Another device of the same account."""
        other = await self._player(name)
        await other.client.accounts.login(player.session.login_name, self._password, device_name=name)
        return other

    async def knock(self) -> None:
        """Raises DoorUnreachable when nobody is at the door any more."""
        try:
            await self._players[0].client.accounts.profile()
        except DoorUnreachable:
            raise
        except ParleyError:
            # Whatever it is, somebody said so.
            pass

    async def _player(self, name: str) -> Player:
        client = await self._stack.enter_async_context(Client(self._door, tls=self._tls))
        player = Player(name, client, self._repair)
        self._players.append(player)
        return player
