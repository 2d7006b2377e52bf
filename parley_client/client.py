"""The client: one channel, one session, and all calls and streams of the signed-in user."""

from __future__ import annotations

from types import TracebackType
from weakref import WeakValueDictionary

from parley.chat.v1 import chat_pb2
from parley_client.accounts import Accounts
from parley_client.calls import AuthenticatedCalls
from parley_client.channel import Channel
from parley_client.clock import ServerClock
from parley_client.conversations import Conversations
from parley_client.device import Device
from parley_client.door import Door, Tls, resolve_door
from parley_client.event_queue import MAX_QUEUED_EVENTS
from parley_client.files import Files
from parley_client.live_view import LiveView
from parley_client.media.upload_records import FileUploadRecords, MemoryUploadRecords
from parley_client.messages import Messages
from parley_client.presence import Presence
from parley_client.push import Push
from parley_client.session import FileStore, MemoryStore, Session, SessionStore
from parley_client.tokens import TokenSource


class Client:
    """A client of the server at `door`, used as `async with Client(door) as client`.

    `door` is "host:port", or a URL: "http://host:port" without TLS, "https://host" with TLS. `tls` names certificates
    to trust. The default is the door of the stored session, with its TLS settings; without a session, DEFAULT_DOOR
    without TLS. Raises ValueError for another `door`.

    `store` holds the session; the default store is in memory. A session belongs to the door that issued it: at
    another door, calls raise WrongDoor until the user logs in there. Each login adds a device to the account, which
    may have ten: keep the session in a FileStore, or log out. While the server is unavailable, calls are retried for
    up to `retry_timeout_s` seconds.

        async with Client(store=FileStore(Path("alice.json"))) as client:
            if client.session is None:
                await client.accounts.login("alice", password, device_name="my program")
            bob = await client.accounts.find("bob")
            chat = await client.conversations.get_or_create_direct(bob.user_id)
            async with client.connect() as device:
                view = await client.view(chat.conversation_id)
                sent = await device.send(chat.conversation_id, "hello")
                async for event in device:
                    print(view.unread_count, [message.text for message in view.messages])
    """

    def __init__(
        self,
        door: str | None = None,
        *,
        tls: Tls | None = None,
        store: SessionStore | None = None,
        retry_timeout_s: float = 10.0,
    ) -> None:
        self._store = store or MemoryStore()
        session = self._store.load()
        self._channel = Channel(resolve_door(door, tls, session.bound_door if session else None))
        self._clock = ServerClock()
        self._tokens = TokenSource(self._channel, self._store, self._clock, session)
        self._calls = AuthenticatedCalls(self._channel, self._tokens, retry_timeout_s)
        self._accounts = Accounts(self._calls, self._tokens)
        self._conversations = Conversations(self._calls, self._clock)
        uploads = self._store.uploads_path if isinstance(self._store, FileStore) else None
        records = FileUploadRecords(uploads) if uploads else MemoryUploadRecords()
        self._files = Files(self._channel, self._calls, self._tokens, self._clock, records)
        self._messages = Messages(self._calls, self._clock, self._files)
        self._presence = Presence(self._calls, self._tokens, self._channel.door, retry_timeout_s)
        self._push = Push(self._calls)
        # An application that drops a view needs it no longer.
        self._views: WeakValueDictionary[str, LiveView] = WeakValueDictionary()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._files.close()
        await self._channel.close()

    @property
    def accounts(self) -> Accounts:
        """Signing up, in and out; profiles, devices, blocks, privacy, and searches for users."""
        return self._accounts

    @property
    def conversations(self) -> Conversations:
        """The conversations of the user: 1-1 and groups, their members and settings."""
        return self._conversations

    @property
    def messages(self) -> Messages:
        """History, search, and calls that send, edit, delete and react."""
        return self._messages

    @property
    def files(self) -> Files:
        """Uploads and downloads of pictures and other files."""
        return self._files

    @property
    def presence(self) -> Presence:
        """The presence of users, by calls and watches without a device, and the audiences of the user's own."""
        return self._presence

    @property
    def push(self) -> Push:
        """Push notifications: tokens of devices, preferences, and why something was pushed or was not."""
        return self._push

    @property
    def door(self) -> Door:
        """The address of the gateway and the TLS settings that the client uses."""
        return self._channel.door

    @property
    def session(self) -> Session | None:
        """The session of the signed-in user; None: no user is signed in, or the server has signed the device out."""
        return self._tokens.session

    def move_session(self) -> Session:
        """Bind the stored session to the door of this client, which is another address of the same deployment.

        From then on its tokens are sent there. Raises Unauthenticated if no user is signed in.
        """
        return self._tokens.move_session()

    def new_id(self) -> str:
        """Return a UUIDv7 for a message or a request; corrected to the server's clock if the device's is wrong."""
        return self._clock.new_id()

    async def locate(self) -> str:
        """Return the user's home ("host:port"). Raises ParleyError."""
        response = await self._calls.call(lambda channel: channel.chat.Locate, chat_pb2.LocateRequest())
        self._tokens.set_home(response.home)
        return response.home

    async def view(self, conversation_id: str) -> LiveView:
        """Return a conversation with its title, members, unread count and newest messages, and keep it current.

        While the application iterates the device of `connect`, or awaits `Device.run`, the view shows every change
        before the event is yielded. `LiveView.load_older` loads more history. Raises ParleyError: NotFound if the
        user is not a member.
        """
        user_id = self._tokens.active_session.user_id
        view = self._views.get(conversation_id)
        if view is None or view.user_id != user_id:
            view = LiveView(conversation_id, user_id, self._accounts, self._conversations, self._messages)
            # The device applies events from now on, so that none is missed during the load.
            self._views[conversation_id] = view
        await view.load()
        return view

    def connect(
        self,
        *,
        repair: bool = True,
        history_from_start: bool = True,
        listen: bool = True,
        home_hint: str | None = None,
        capacity: int = MAX_QUEUED_EVENTS,
    ) -> Device:
        """Return the session's device, to be used as `async with`.

        Raises Unauthenticated if no user is signed in (SignedOut if the device was signed out), and WrongDoor.

        With `repair` False entries behind a gap are not held and missing ones not fetched; the demo shows gaps so.
        `history_from_start` False starts conversations that are new to the device at their newest entry.
        `listen` False discards events, for a program that only sends. `home_hint` is sent as `x-chat-server`
        instead of the user's home. `capacity` bounds the queue of events.
        """
        return Device(
            self._channel,
            self._tokens,
            self._store,
            self._clock,
            repair=repair,
            history_from_start=history_from_start,
            listen=listen,
            home_hint=home_hint,
            capacity=capacity,
            calls=self._messages,
            views=self._views,
        )
