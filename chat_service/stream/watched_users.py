"""The users whose presence a session receives, and what its device knows of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from chat_service.model.ids import direct_id
from chat_service.wire import frames
from chat_service.wire.presence import EncodedPresence
from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Entry
from servicekit.errors import SessionSuperseded
from servicekit.outbox import Outbox
from servicekit.proto_fields import encode_repeated_field

OnFirstWord = Callable[[str], None]
"""Takes a watched user who shows nothing and wrote in the 1-1 conversation: they may be acquainted since."""


class WatchedUsers:
    """The watch of one session. The device is told the presence of all watched users once, then each change."""

    def __init__(self, user_id: str, outbox: Outbox) -> None:
        self._user_id = user_id
        self._outbox = outbox
        self.user_ids: Sequence[str] = ()
        self._watched_ids: frozenset[str] = frozenset()
        self._known: dict[str, EncodedPresence] = {}
        # Changes that the device is told once its outbox has space.
        self._untold: dict[str, bytes] = {}
        # Watched users who show nothing, or are not known yet; and those of them who wrote since the watch began.
        self._unseen: set[str] = set()
        self._authors: set[str] = set()
        # Done once the presence of all is known; None: the device has watched nobody yet.
        self._answer: asyncio.Future[None] | None = None
        self._tells_answer = True
        self._on_first_word: OnFirstWord = lambda _: None

    def replace(self, user_ids: Sequence[str], on_first_word: OnFirstWord, *, tells_answer: bool = True) -> None:
        """Watch exactly these users; with `tells_answer` the stream receives the presence of all once it is known."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(SessionSuperseded("a newer watch of this device has replaced this one"))
            self._answer.exception()
        self._answer = asyncio.get_running_loop().create_future()
        self.user_ids = user_ids
        self._watched_ids = frozenset(user_ids)
        self._known, self._untold = {}, {}
        self._unseen, self._authors = set(user_ids), set()
        self._tells_answer = tells_answer
        self._on_first_word = on_first_word
        if not user_ids:
            self._send_answer(self._answer)

    async def wait_answered(self, timeout_s: float) -> chat_pb2.Presence:
        """Wait until the presence of all watched users is known, and return it.

        Raise SessionSuperseded if another watch replaces this one, and TimeoutError; the stream gets the answer then.
        """
        if self._answer is not None:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(self._answer)
            except TimeoutError:
                self._tells_answer = True
                raise
        return chat_pb2.Presence.FromString(encode_repeated_field(frames.ELEMENT, self._all_known()))

    def update(self, presences: Iterable[EncodedPresence]) -> None:
        """Take the presence of users, and tell the device what it does not know yet."""
        if self._answer is None:
            return
        for presence in presences:
            user_id = presence.user_id
            if user_id not in self._watched_ids or self._known.get(user_id) == presence:
                continue
            self._known[user_id] = presence
            self._note_visibility(user_id, presence.shows_nothing)
            if self._answer.done():
                self._untold[user_id] = presence.element
        if self._untold:
            self.flush()
        elif not self._answer.done() and len(self._known) == len(self.user_ids):
            self._send_answer(self._answer)

    @property
    def has_untold(self) -> bool:
        """True if the outbox was full when the presence of users changed."""
        return bool(self._untold)

    def flush(self) -> None:
        """Tell the device what it was not told, because its outbox was full."""
        while self._untold and not self._outbox.full:
            _, element = self._untold.popitem()
            self._outbox.put(frames.PRESENCE, element)

    def note_entry(self, entry: bytes, actor_id: str) -> None:
        """Note a serialised entry that the device receives: its author may have become visible by it."""
        if actor_id not in self._unseen or actor_id in self._authors:
            return
        if Entry.FromString(entry).conversation_id != direct_id(self._user_id, actor_id):
            return
        self._authors.add(actor_id)
        if actor_id in self._known:
            self._on_first_word(actor_id)

    def _note_visibility(self, user_id: str, shows_nothing: bool) -> None:
        if not shows_nothing:
            self._unseen.discard(user_id)
            return
        if user_id not in self._unseen:
            self._unseen.add(user_id)
            self._authors.discard(user_id)
        elif user_id in self._authors:
            # The author wrote before the answer, which may be older.
            self._on_first_word(user_id)

    def _send_answer(self, answer: asyncio.Future[None]) -> None:
        answer.set_result(None)
        if self._tells_answer:
            self._outbox.put_frame(frames.join_elements(frames.PRESENCE, self._all_known()))

    def _all_known(self) -> list[bytes]:
        return [self._known[user_id].element for user_id in self.user_ids]
