"""The actions of the messenger's user: each starts a call and shows its error as a notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from parley.chat.v1 import entry_pb2
from parley.chat.v1.account_pb2 import Profile
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client import contents
from parley_client.cli.directory import name_user_in_errors
from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.media_text import describe_media
from parley_client.cli.mute_times import ENDLESS_MUTE
from parley_client.errors import ParleyError
from parley_client.media.facts import Media
from parley_client.message import Message
from parley_client.messenger.conversation_state import ConversationState, OutgoingMessage
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.terminal_text import one_line

# A search of users shows at most so many; a longer beginning of the name finds the others.
MAX_FOUND_USERS = 20


class Actions:
    """The actions of the signed-in user on the conversations of `model`."""

    def __init__(self, model: MessengerModel) -> None:
        self._model = model
        self._client = model.client

    def send(self, conversation: ConversationState, text: str, reply_to_seq: int = 0) -> None:
        """Send a text; "@Name" of a member becomes a mention."""
        mentions = {f"@{self._model.directory.cached_name(user)}": user for user in conversation.view.other_members}
        self.send_content(conversation, contents.as_content(contents.text(text, mentions), reply_to_seq))

    def send_file(self, conversation: ConversationState, path: Path, caption: str) -> None:
        """Upload a file, which the status line shows, then send it with a caption."""

        async def run() -> None:
            with (
                self._model.transfers.track(one_line(path.name), is_upload=True) as on_progress,
                _explain_file_errors(),
            ):
                file = await self._client.files.upload(path, on_progress=on_progress)
            shown = Content(media=file.to_reference(caption))
            self.send_content(conversation, contents.media(file, caption), shown)

        self._model.start(run())

    def save_file(self, media: Media, target: Path) -> None:
        """Download a file to a folder or to a new file, which the status line shows."""

        async def run() -> None:
            name = one_line(media.file_name) or describe_media(media)
            with self._model.transfers.track(name, is_upload=False) as on_progress, _explain_file_errors():
                path = await self._client.files.download(media, target, on_progress=on_progress)
            self._model.notify(f"Saved {path}.")

        self._model.start(run())

    def send_content(
        self, conversation: ConversationState, content: Content, shown_content: Content | None = None
    ) -> None:
        """Send a content. It, or `shown_content`, is shown as being sent until it is in the log."""
        try:
            sending = self._model.device.send(conversation.id, content)
        except ParleyError as error:
            self._model.notify(f"Not sent: {explain_error(error, self._model.door)}")
            return
        except CommandError as error:
            self._model.notify(f"Not sent: {error}")
            return
        outgoing = OutgoingMessage(sending, content, shown_content=shown_content)
        conversation.outgoing.append(outgoing)
        sending.result.add_done_callback(lambda _: self._on_answer(conversation, outgoing))
        self._model.on_change(conversation.id)

    def resend(self, conversation: ConversationState, outgoing: OutgoingMessage) -> None:
        """Send a refused message again, as a new message."""
        self.discard(conversation, outgoing)
        self.send_content(conversation, outgoing.content, outgoing.shown_content)

    def discard(self, conversation: ConversationState, outgoing: OutgoingMessage) -> None:
        """Remove a refused message."""
        conversation.outgoing.remove(outgoing)
        self._model.on_change(conversation.id)

    def set_typing(self, conversation: ConversationState, typing: bool) -> None:
        """Report whether the user is typing."""
        if self._model.connected:
            self._model.device.set_typing(conversation.id, typing)

    def edit(self, conversation: ConversationState, message: Message, text: str) -> None:
        """Replace the text of the user's message; its reply stays."""
        content = contents.as_content(text, message.reply_to_seq)
        self._start_call(lambda: self._client.messages.edit(conversation.id, message.seq, content))

    def delete(self, conversation: ConversationState, message: Message, *, for_all: bool) -> None:
        """Delete a message for everybody or for the user alone."""

        async def run() -> None:
            await self._client.messages.delete(conversation.id, message.seq, for_all=for_all)
            if not for_all:
                conversation.view.hide(message.seq)
                self._model.on_change(conversation.id)

        self._model.start(run())

    def react(self, conversation: ConversationState, message: Message, emoji: str) -> None:
        """Set the user's reaction, or remove it if it is already `emoji`."""
        reaction = "" if message.reactions.get(self._model.own_id) == emoji else emoji
        self._start_call(lambda: self._client.messages.set_reaction(conversation.id, message.seq, reaction))

    def forward(self, message: Message, target: ConversationState) -> None:
        """Forward a message to another conversation."""
        if message.content is not None:
            self.send_content(target, contents.forwarded(message.content))
            self._model.notify(f"Forwarded to {self._model.title(target)}.")

    async def search(self, query: str) -> list[Entry]:
        """Return up to 50 messages that contain all words, newest first. Raise ParleyError if the call fails."""
        return [message.entry async for message in self._client.messages.search(query, limit=50)]

    async def fetch_readers(self, conversation: ConversationState, message: Message) -> list[tuple[str, str]]:
        """Return the other members' names, each with the delivery state. Raise ParleyError if the call fails."""
        readers = []
        for mark in await self._client.messages.list_readers(conversation.id, message.seq):
            delivered = "received" if mark.delivered_seq >= message.seq else "not yet"
            readers.append(
                (self._model.display_name(mark.user_id), "read" if mark.read_seq >= message.seq else delivered)
            )
        return readers

    async def search_users(self, query: str) -> list[Profile]:
        """Return up to 20 other users whose names begin with `query`. Raise ParleyError if the call fails."""
        found: list[Profile] = []
        async for profile in self._client.accounts.search(query):
            found += [profile] if profile.user_id != self._model.own_id else []
            if len(found) == MAX_FOUND_USERS:
                break
        return found

    async def open_direct(self, user_id: str) -> ConversationState:
        """Open the 1-1 conversation with a user. Raise ParleyError if that fails."""
        return self._model.update_conversation(await self._client.conversations.get_or_create_direct(user_id))

    async def create_group(self, title: str, login_names: Sequence[str]) -> ConversationState:
        """Create a group. Raise ParleyError or CommandError if that fails."""
        names_by_id = await self._model.directory.find_user_ids(login_names)
        with name_user_in_errors(names_by_id):
            return self._model.update_conversation(
                await self._client.conversations.create_group(title.strip(), list(names_by_id))
            )

    def add_members(self, conversation: ConversationState, login_names: Sequence[str]) -> None:
        """Add users to a group."""

        async def run() -> None:
            names_by_id = await self._model.directory.find_user_ids(login_names)
            with name_user_in_errors(names_by_id):
                self._model.update_conversation(
                    await self._client.conversations.add_members(conversation.id, list(names_by_id))
                )

        self._model.start(run())

    def remove_member(self, conversation: ConversationState, user_id: str) -> None:
        """Remove a member from a group."""
        self._start_call(lambda: self._client.conversations.remove_member(conversation.id, user_id))

    def leave(self, conversation: ConversationState) -> None:
        """Leave a group."""
        self._start_call(lambda: self._client.conversations.leave(conversation.id))

    def rename(self, conversation: ConversationState, title: str) -> None:
        """Change the title of a group."""
        self._start_call(lambda: self._client.conversations.rename(conversation.id, title.strip()))

    def set_admin(self, conversation: ConversationState, user_id: str, admin: bool) -> None:
        """Make a member an admin or a plain member."""
        role = entry_pb2.ROLE_ADMIN if admin else entry_pb2.ROLE_MEMBER
        self._start_call(lambda: self._client.conversations.set_role(conversation.id, user_id, role))

    def set_admins_only_send(self, conversation: ConversationState, admins_only: bool) -> None:
        """Allow sending for admins only, or for all members."""
        self._start_call(lambda: self._client.conversations.update(conversation.id, admins_only_send=admins_only))

    def toggle_pin(self, conversation: ConversationState) -> None:
        """Pin or unpin a conversation."""
        self._update_settings(
            conversation, lambda: self._client.conversations.pin(conversation.id, not conversation.view.settings.pinned)
        )

    def toggle_archive(self, conversation: ConversationState) -> None:
        """Archive or unarchive a conversation."""
        self._update_settings(
            conversation,
            lambda: self._client.conversations.archive(conversation.id, not conversation.view.settings.archived),
        )

    def toggle_mute(self, conversation: ConversationState) -> None:
        """Mute or unmute the push notifications of a conversation."""
        until = None if conversation.view.settings.mute_until else datetime.now(UTC) + ENDLESS_MUTE
        self._update_settings(conversation, lambda: self._client.conversations.mute(conversation.id, until))

    def block(self, conversation: ConversationState) -> None:
        """Block the other member of a 1-1 conversation."""
        name = self._model.display_name(conversation.peer_id)

        async def run() -> None:
            await self._client.accounts.block(conversation.peer_id)
            self._model.notify(f"{name} is blocked. Unblock with `parley unblock`.")

        self._model.start(run())

    def _start_call(self, call: Callable[[], Awaitable[object]]) -> None:
        """Start a call whose outcome arrives as a log entry."""

        async def run() -> None:
            await call()

        self._model.start(run())

    def _update_settings(self, conversation: ConversationState, call: Callable[[], Awaitable[object]]) -> None:
        """Start a call that changes the user's settings of a conversation, then refresh the conversation."""

        async def run() -> None:
            await call()
            self._model.refresh(conversation.id)

        self._model.start(run())

    def _on_answer(self, conversation: ConversationState, outgoing: OutgoingMessage) -> None:
        answer = outgoing.sending.result
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, ParleyError):
            outgoing.error = explain_error(error, self._model.door)
            self._model.on_change(conversation.id)


@contextmanager
def _explain_file_errors() -> Iterator[None]:
    """Raise CommandError for the error of a local file, such as a missing one or a full disk."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
