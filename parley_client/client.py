"""A client: one door, one session, and everything a signed-in user may do."""

from __future__ import annotations

from types import TracebackType

from parley.chat.v1 import chat_pb2
from parley_client.accounts import Accounts
from parley_client.calls import Calls
from parley_client.channel import Door, Tls
from parley_client.clock import ServerClock
from parley_client.conversations import Conversations
from parley_client.device import Device
from parley_client.event_queue import CAPACITY
from parley_client.messages import Messages
from parley_client.session import MemoryStore, Session, SessionStore
from parley_client.tokens import Tokens

DEFAULT_DOOR = "127.0.0.1:8080"


class Client:
    """Used as `async with Client(door) as client`. `store` keeps the session; by default only in memory.

    Each login makes a device of the account, of which there may be ten: keep the session in a store, or log out.
    `patience` is how long, in seconds, calls are asked again while the server is away.

        async with Client(store=FileStore(Path("alice.json"))) as client:
            if client.session is None:
                await client.accounts.login("alice", password, device_name="my program")
            bob = await client.accounts.find("bob")
            chat = await client.conversations.get_or_create_direct(bob.user_id)
            async with client.connect() as device:
                sent = await device.send(chat.conversation_id, "hello")
                async for event in device:
                    ...
    """

    def __init__(
        self,
        door: str = DEFAULT_DOOR,
        *,
        tls: Tls | None = None,
        store: SessionStore | None = None,
        patience: float = 10.0,
    ) -> None:
        self._door = Door(door, tls)
        self._store = store or MemoryStore()
        self._clock = ServerClock()
        self._tokens = Tokens(self._door, self._store, self._clock)
        self._calls = Calls(self._door, self._tokens, patience)
        self.accounts = Accounts(self._calls, self._tokens)
        self.conversations = Conversations(self._calls, self._clock)
        self.messages = Messages(self._calls, self._clock)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._door.close()

    @property
    def session(self) -> Session | None:
        """Who is signed in; None: nobody."""
        return self._tokens.signed_in

    def new_id(self) -> str:
        """A UUIDv7 for a message or a request, by the server's clock if the device's is wrong."""
        return self._clock.new_id()

    async def locate(self) -> str:
        """The user's home ("host:port"). Raises ParleyError."""
        answer = await self._calls.ask(lambda door: door.chat.Locate, chat_pb2.LocateRequest())
        self._tokens.move(answer.home)
        return answer.home

    def connect(
        self,
        *,
        repair: bool = True,
        history_from_start: bool = True,
        listen: bool = True,
        home_hint: str | None = None,
        capacity: int = CAPACITY,
    ) -> Device:
        """The device of this session, to be used as `async with`. Raises Unauthenticated if nobody is signed in.

        `repair` False leaves gaps as they are, which shows what they would do. `history_from_start` False
        begins conversations the device does not know at their newest entry. `home_hint` is sent as
        `x-chat-server` instead of the user's home. `capacity` is how many events may wait.
        """
        return Device(
            self._door,
            self._tokens,
            self._store,
            self._clock,
            repair=repair,
            history_from_start=history_from_start,
            listen=listen,
            home_hint=home_hint,
            capacity=capacity,
        )
