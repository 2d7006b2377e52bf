"""What is asked before a deed is done: choices and forms, one after the other."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC
from typing import Any, TypeVar

from rich.text import Text
from textual.app import App
from textual.screen import ModalScreen

from parley.chat.v1 import entry_pb2
from parley_client.cli.errors import CommandError, explain_error
from parley_client.errors import ParleyError
from parley_client.message import Message
from parley_client.messenger.actions import Deeds
from parley_client.messenger.conversation_state import Chat
from parley_client.messenger.dialogs import Choice, Form, Page, Search
from parley_client.messenger.model import Messenger
from parley_client.messenger.rows import brief, said_of
from parley_client.messenger.terminal_text import tidy

REACTIONS = ("👍", "❤", "😂", "😮", "😢", "🎉", "🙏", "👎")
Answer = TypeVar("Answer")


class Menus:
    """Asks on `app`, and does on `deeds`. The methods wait for the person, and so run beside the rest."""

    def __init__(self, app: App[Exception | None], model: Messenger, deeds: Deeds) -> None:
        self._app = app
        self._model = model
        self._deeds = deeds

    @property
    def asking(self) -> bool:
        """Whether the person is being asked something."""
        return len(self._app.screen_stack) > 1

    def begin(self, asking: Coroutine[Any, Any, None]) -> None:
        """Ask, unless something is being asked already."""
        if self.asking:
            asking.close()
        else:
            self._app.run_worker(asking)

    async def message(self, chat: Chat, message: Message) -> str:
        """What to do with a message: the name of the deed, or nothing."""
        mine, kept = message.actor_id == self._model.me, message.content is not None
        choices = [
            ("reply", "Reply", not chat.silent and kept),
            ("react", "React", not chat.view.former and kept),
            ("edit", "Edit", mine and bool(message.text) and not chat.view.former),
            ("forward", "Pass on", kept),
            ("readers", "Who read it", mine and not chat.view.former),
            ("delete", "Delete", not message.deleted and not chat.view.former),
        ]
        possible = [(key, words) for key, words, can in choices if can]
        return await self._ask(Choice(brief(self._model, message), possible)) or ""

    async def delete(self, chat: Chat, message: Message) -> None:
        """From all or from the own view."""
        choices = [("me", "Only for me")]
        if message.actor_id == self._model.me or chat.admin:
            choices.insert(0, ("all", "For everybody"))
        how = await self._ask(Choice(f"Delete “{brief(self._model, message, 30)}”?", choices))
        if how:
            self._deeds.delete(chat, message, for_all=how == "all")

    async def react(self, chat: Chat, message: Message) -> None:
        """With one of a few, or with none."""
        choices = [(emoji, emoji) for emoji in REACTIONS]
        if own := message.reactions.get(self._model.me):
            choices = [(own, f"Take {own} back"), *[each for each in choices if each[0] != own]]
        keys = {str(n): emoji for n, (emoji, _) in enumerate(choices)}
        listed = [(f"n{n}", words) for n, (_, words) in enumerate(choices)]
        chosen = await self._ask(Choice("React with", listed))
        if chosen:
            self._deeds.react(chat, message, keys[chosen[1:]])

    async def forward(self, message: Message) -> None:
        """To one of the conversations."""
        targets = [chat for chat in self._model.listing() if not chat.silent]
        choices = [(f"c{chat.id}", self._model.title(chat)) for chat in targets]
        chosen = await self._ask(Choice("Pass on to", choices))
        if chosen:
            self._deeds.forward(message, self._model.chats[chosen[1:]])

    async def readers(self, chat: Chat, message: Message) -> None:
        """Who has it and who read it."""
        try:
            told = await self._deeds.readers(chat, message)
        except ParleyError as error:
            self._model.tell(explain_error(error, self._model.door))
            return
        lines = "\n".join(f"{how:<8} {name}" for name, how in told)
        await self._ask(Page("Who read it", Text(lines)))

    async def direct(self) -> Chat | None:
        """Somebody to talk to."""
        answer = await self._ask(Form("Talk to somebody", ["Login name"]))
        if answer is None:
            return None
        return await self._or_told(self._deeds.begin_direct(answer[0]))

    async def group(self) -> Chat | None:
        """A new group."""
        answer = await self._ask(Form("Make a group", ["Title", "Login names, with spaces between"]))
        if answer is None:
            return None
        return await self._or_told(self._deeds.begin_group(answer[0], answer[1].replace(",", " ").split()))

    async def search(self) -> tuple[Chat, int] | None:
        """A message to go to: its conversation and seq."""
        chosen = await self._ask(Search(self._find))
        if not chosen:
            return None
        _, conversation_id, seq = chosen.split("-")
        return self._model.chats[conversation_id], int(seq)

    async def conversation(self, chat: Chat) -> None:
        """What can be done with a conversation."""
        settings, group, there = chat.view.settings, chat.group, not chat.view.former
        choices = [
            ("members", "Members", group and there),
            ("add", "Add people", chat.admin),
            ("rename", "Rename", chat.admin),
            ("admins", "Let everybody write" if chat.view.admins_only_send else "Let only admins write", chat.admin),
            ("pin", "Unpin" if settings.pinned else "Pin to the top", there),
            ("mute", "Unmute" if settings.mute_until else "Mute", there),
            ("archive", "Bring back from the archive" if settings.archived else "Archive", there),
            ("block", "Block", not group),
            ("leave", "Leave the group", group and there),
        ]
        possible = [(key, words) for key, words, can in choices if can]
        deed = await self._ask(Choice(self._model.title(chat), possible)) if possible else None
        if deed == "members":
            await self._members(chat)
        elif deed == "add":
            answer = await self._ask(Form("Add people", ["Login names, with spaces between"]))
            if answer:
                self._deeds.add(chat, answer[0].replace(",", " ").split())
        elif deed == "rename":
            answer = await self._ask(Form("Rename", ["Title"], [chat.view.title]))
            if answer:
                self._deeds.rename(chat, answer[0])
        elif deed == "admins":
            self._deeds.set_admins_only(chat, not chat.view.admins_only_send)
        elif deed == "leave":
            if await self._sure(f"Leave {self._model.title(chat)}?", "Leave"):
                self._deeds.leave(chat)
        elif deed == "block":
            if await self._sure(f"Block {self._model.title(chat)}?", "Block"):
                self._deeds.block(chat)
        elif deed:
            getattr(self._deeds, deed)(chat)

    async def _members(self, chat: Chat) -> None:
        def words(user: str) -> str:
            role = chat.view.members[user]
            return self._model.name(user) + ("  (admin)" if role == entry_pb2.ROLE_ADMIN else "")

        # Oneself first, the others by name: ids, in whose order they come, mean nothing to anybody.
        members = sorted(chat.view.members, key=lambda each: (each != self._model.me, self._model.name(each)))
        user = await self._ask(Choice("Members", [(f"u{each}", words(each)) for each in members]))
        if not user or not chat.admin or user[1:] == self._model.me:
            return
        user, is_admin = user[1:], chat.view.members.get(user[1:]) == entry_pb2.ROLE_ADMIN
        role = ("role", "Make a plain member" if is_admin else "Make an admin")
        deed = await self._ask(Choice(self._model.name(user), [role, ("remove", "Remove from the group")]))
        if deed == "role":
            self._deeds.set_admin(chat, user, not is_admin)
        elif deed == "remove":
            self._deeds.remove(chat, user)

    async def _find(self, words: str) -> list[tuple[str, str]] | str:
        try:
            found = await self._deeds.find(words)
        except ParleyError as error:
            return explain_error(error, self._model.door)
        listed = []
        for entry in found:
            if (chat := self._model.chats.get(entry.conversation_id)) is not None:
                day = entry.create_time.ToDatetime(tzinfo=UTC).astimezone()
                said = tidy(said_of(entry.message_appended.content))
                who = f"{self._model.title(chat)} · {self._model.name(entry.actor_id)}"
                listed.append((f"m-{chat.id}-{entry.seq}", f"{day:%d %b %H:%M}  {who}: {said}"))
        return listed

    async def _sure(self, question: str, yes: str) -> bool:
        return await self._ask(Choice(question, [("yes", yes), ("no", "No")])) == "yes"

    async def _or_told(self, begun: Coroutine[Any, Any, Chat]) -> Chat | None:
        try:
            return await begun
        except ParleyError as error:
            self._model.tell(explain_error(error, self._model.door))
        except CommandError as sorry:
            self._model.tell(str(sorry))
        return None

    async def _ask(self, screen: ModalScreen[Answer]) -> Answer:
        return await self._app.push_screen_wait(screen)
