"""What a person does in the messenger: each begins at once, and its trouble becomes a notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client import contents
from parley_client.cli.directory import naming_refused_user
from parley_client.cli.errors import CommandError, explain_error
from parley_client.errors import ParleyError
from parley_client.message import Message
from parley_client.messenger.conversation_state import Chat, Outgoing
from parley_client.messenger.model import Messenger

# Muted until somebody says otherwise, as far as calendars go.
ALWAYS = timedelta(days=365 * 10)


class Deeds:
    """The deeds of one person, on `model`."""

    def __init__(self, model: Messenger) -> None:
        self._model = model
        self._calls = model.client

    def send(self, chat: Chat, text: str, reply_to_seq: int = 0) -> None:
        """Send words; members called by "@Name" are mentioned."""
        called = {f"@{self._model.people.cached_name(user)}": user for user in chat.view.others}
        self.send_content(chat, contents.as_content(contents.text(text, called), reply_to_seq))

    def send_content(self, chat: Chat, content: Content) -> None:
        """Send anything. It is shown as being sent until it stands in the log."""
        try:
            sending = self._model.device.send(chat.id, content)
        except ParleyError as error:
            self._model.tell(f"Not sent: {explain_error(error, self._model.door)}")
            return
        except CommandError as sorry:
            self._model.tell(f"Not sent: {sorry}")
            return
        outgoing = Outgoing(sending, content)
        chat.outgoing.append(outgoing)
        sending.answer.add_done_callback(lambda _: self._answered(chat, outgoing))
        self._model.changed(chat.id)

    def send_again(self, chat: Chat, outgoing: Outgoing) -> None:
        """Try again what was refused."""
        self.drop(chat, outgoing)
        self.send_content(chat, outgoing.content)

    def drop(self, chat: Chat, outgoing: Outgoing) -> None:
        """Forget what was refused."""
        chat.outgoing.remove(outgoing)
        self._model.changed(chat.id)

    def typed(self, chat: Chat, typing: bool) -> None:
        """A key was hit in the composer, or the composer is empty now."""
        if self._model.connected:
            self._model.device.typing(chat.id, typing)

    def edit(self, chat: Chat, message: Message, text: str) -> None:
        """Let an own message say something else; what it answers stays."""
        content = contents.as_content(text, message.reply_to_seq)
        self._later(lambda: self._calls.messages.edit(chat.id, message.seq, content))

    def delete(self, chat: Chat, message: Message, *, for_all: bool) -> None:
        """Take a message away."""

        async def run() -> None:
            await self._calls.messages.delete(chat.id, message.seq, for_all=for_all)
            if not for_all:
                chat.view.hide(message.seq)
                self._model.changed(chat.id)

        self._model.begin(run())

    def react(self, chat: Chat, message: Message, emoji: str) -> None:
        """Set the own reaction; the same again takes it back."""
        wanted = "" if message.reactions.get(self._model.me) == emoji else emoji
        self._later(lambda: self._calls.messages.set_reaction(chat.id, message.seq, wanted))

    def forward(self, message: Message, target: Chat) -> None:
        """Pass what a message says on to another conversation."""
        if message.content is not None:
            self.send_content(target, contents.forwarded(message.content))
            self._model.tell(f"Passed on to {self._model.title(target)}.")

    async def find(self, query: str) -> list[Entry]:
        """Messages with all these words, newest first. Raises ParleyError."""
        return [each async for each in self._calls.messages.search(query, limit=50)]

    async def readers(self, chat: Chat, message: Message) -> list[tuple[str, str]]:
        """The other members, and how far each has got with a message. Raises ParleyError."""
        told = []
        for mark in await self._calls.messages.readers(chat.id, message.seq):
            delivered = "has it" if mark.delivered_seq >= message.seq else "not yet"
            told.append((self._model.name(mark.user_id), "read it" if mark.read_seq >= message.seq else delivered))
        return told

    async def begin_direct(self, login_name: str) -> Chat:
        """The conversation with a user. Raises ParleyError and Sorry."""
        user_id = await self._model.people.find_user_id(login_name.strip().removeprefix("@"))
        return self._model.told(await self._calls.conversations.get_or_create_direct(user_id))

    async def begin_group(self, title: str, login_names: Sequence[str]) -> Chat:
        """A new group. Raises ParleyError and Sorry."""
        others = await self._model.people.find_user_ids(login_names)
        with naming_refused_user(others):
            return self._model.told(await self._calls.conversations.create_group(title.strip(), list(others)))

    def add(self, chat: Chat, login_names: Sequence[str]) -> None:
        """Add people to a group."""

        async def run() -> None:
            others = await self._model.people.find_user_ids(login_names)
            with naming_refused_user(others):
                self._model.told(await self._calls.conversations.add_members(chat.id, list(others)))

        self._model.begin(run())

    def remove(self, chat: Chat, user_id: str) -> None:
        """Remove somebody from a group."""
        self._later(lambda: self._calls.conversations.remove_member(chat.id, user_id))

    def leave(self, chat: Chat) -> None:
        """Leave a group."""
        self._later(lambda: self._calls.conversations.leave(chat.id))

    def rename(self, chat: Chat, title: str) -> None:
        """Give a group another title."""
        self._later(lambda: self._calls.conversations.rename(chat.id, title.strip()))

    def set_admin(self, chat: Chat, user_id: str, admin: bool) -> None:
        """Say what a member may do."""
        role = entry_pb2.ROLE_ADMIN if admin else entry_pb2.ROLE_MEMBER
        self._later(lambda: self._calls.conversations.set_role(chat.id, user_id, role))

    def set_admins_only(self, chat: Chat, admins_only: bool) -> None:
        """Say whether only admins may send."""
        self._later(lambda: self._calls.conversations.update(chat.id, admins_only_send=admins_only))

    def pin(self, chat: Chat) -> None:
        """Pin, or unpin."""
        self._personal(chat, lambda: self._calls.conversations.pin(chat.id, not chat.view.settings.pinned))

    def archive(self, chat: Chat) -> None:
        """Archive, or bring back."""
        self._personal(chat, lambda: self._calls.conversations.archive(chat.id, not chat.view.settings.archived))

    def mute(self, chat: Chat) -> None:
        """Silence pushes, or not any more."""
        until = None if chat.view.settings.mute_until else datetime.now(UTC) + ALWAYS
        self._personal(chat, lambda: self._calls.conversations.mute(chat.id, until))

    def block(self, chat: Chat) -> None:
        """Bar the other one of a 1-1 conversation."""
        who = self._model.name(chat.peer_id)

        async def run() -> None:
            await self._calls.accounts.block(chat.peer_id)
            self._model.tell(f"{who} is blocked. `parley unblock` takes it back.")

        self._model.begin(run())

    def _later(self, call: Callable[[], Awaitable[object]]) -> None:
        """Ask for something whose outcome comes as an entry."""

        async def run() -> None:
            await call()

        self._model.begin(run())

    def _personal(self, chat: Chat, call: Callable[[], Awaitable[object]]) -> None:
        """Ask for something that concerns the user alone, and look what is true then."""

        async def run() -> None:
            await call()
            self._model.refresh(chat.id)

        self._model.begin(run())

    def _answered(self, chat: Chat, outgoing: Outgoing) -> None:
        answer = outgoing.sending.answer
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, ParleyError):
            outgoing.trouble = explain_error(error, self._model.door)
            self._model.changed(chat.id)
