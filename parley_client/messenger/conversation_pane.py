"""The open conversation: its title, its messages, and where one writes."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from parley_client.message import Message
from parley_client.messenger.actions import Deeds
from parley_client.messenger.composer import Composer
from parley_client.messenger.conversation_state import Chat, Draft
from parley_client.messenger.message_list import MessageList
from parley_client.messenger.model import Messenger
from parley_client.messenger.prompts import Menus
from parley_client.messenger.rows import brief, message_of, outgoing_of, rows


class Talk(Vertical):
    """Shows the conversation that the model has open. `in_front`: somebody looks at the terminal."""

    def __init__(self, model: Messenger, deeds: Deeds, menus: Menus) -> None:
        super().__init__(id="talk")
        self._model = model
        self._deeds = deeds
        self._menus = menus
        self.in_front = True
        self._title = Static(id="title")
        self._messages = MessageList()
        self._intent = Static(id="intent")
        self._composer = Composer(self._send)

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        self._composer.disabled = True
        yield self._title
        yield self._messages
        yield self._intent
        yield self._composer

    @property
    def writing(self) -> str:
        """What stands in the composer."""
        return self._composer.text

    def open(self, chat: Chat) -> None:
        """Show another conversation; what was being written in the one before waits there."""
        if self._model.opened:
            self._model.opened.draft.text = self.writing
        self._model.open(chat)
        self.draw(chat, end=True)
        self._composer.fill(chat.draft.text)
        self.write()

    def draw(self, chat: Chat, *, end: bool = False) -> None:
        """Show what is true now; `end`: go to the newest message."""
        self._messages.show(rows(self._model, chat), end=end)
        title = Text(self._model.title(chat))
        if chat.group and not chat.view.former:
            title.append(f"  {len(chat.view.members)} members", style="dim not bold")
        self._title.update(title)
        self._composer.disabled = bool(chat.silent)
        self._composer.placeholder = chat.silent or "Write, Enter sends. F1: all keys"
        self._draw_intent(chat)
        self.see()

    def see(self) -> None:
        """The newest message is read, if somebody looks at it."""
        if self.in_front and self._model.opened and self._messages.at_end:
            self._model.see(self._model.opened)

    def write(self) -> None:
        """To the composer, or where nothing can be written to the messages."""
        self._messages.highlighted = None
        self.screen.set_focus(self._messages if self._composer.disabled else self._composer)

    def choose(self, seq: int) -> None:
        """To a message."""
        if self._messages.choose(f"message {seq}"):
            self.screen.set_focus(self._messages)

    def give_up_intent(self) -> bool:
        """Neither answer nor edit; False if neither was meant."""
        chat = self._model.opened
        if chat is None or not (chat.draft.reply_to_seq or chat.draft.edit_seq):
            return False
        self._draft(chat, Draft("" if chat.draft.edit_seq else self.writing))
        return True

    def after_keys(self, deed: Callable[[], None]) -> None:
        """Do something once the composer has taken the keys that came before."""
        self._composer.call_later(deed)

    def _send(self, text: str) -> None:
        """Send, answer or edit."""
        chat = self._model.opened
        if chat is None:
            return
        draft, chat.draft = chat.draft, Draft()
        edited = chat.view.message(draft.edit_seq)
        if edited is not None:
            self._deeds.edit(chat, edited, text)
        else:
            self._deeds.send(chat, text, draft.reply_to_seq)
        self._composer.fill("")
        self.draw(chat, end=edited is None)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """The others are told that one types."""
        chat = self._model.opened
        if chat is not None and event.text_area.has_focus and not chat.draft.edit_seq:
            self._deeds.typed(chat, bool(event.text_area.text))

    def on_composer_above(self) -> None:
        """Choose a message."""
        self._messages.focus()
        self._messages.choose_last()

    def on_message_list_left(self) -> None:
        """Back to writing."""
        self.write()

    def on_message_list_at_end(self) -> None:
        """The newest message is in sight."""
        self.see()

    def on_message_list_at_top(self) -> None:
        """Fetch what was said before."""
        if self._model.opened:
            self._model.load(self._model.opened)

    def on_message_list_deed(self, event: MessageList.Deed) -> None:
        """Do something with a message."""
        chat = self._model.opened
        if chat is None:
            return
        message, outgoing = message_of(chat, event.key), outgoing_of(chat, event.key)
        if message is not None:
            self._menus.begin(self._do(chat, event.deed, message))
        elif outgoing is not None and outgoing.trouble and event.deed in ("menu", "delete"):
            (self._deeds.send_again if event.deed == "menu" else self._deeds.drop)(chat, outgoing)

    async def _do(self, chat: Chat, deed: str, message: Message) -> None:
        if deed == "menu":
            deed = await self._menus.message(chat, message)
        if deed == "reply" and not chat.silent and message.content is not None:
            self._draft(chat, Draft(self.writing, reply_to_seq=message.seq))
        elif deed == "edit" and message.actor_id == self._model.me and message.text:
            self._draft(chat, Draft(message.text, edit_seq=message.seq))
        elif deed == "edit":
            self._model.tell("Only your own words can be edited.")
        elif deed == "delete" and not message.deleted:
            await self._menus.delete(chat, message)
        elif deed == "react" and message.content is not None:
            await self._menus.react(chat, message)
        elif deed == "forward" and message.content is not None:
            await self._menus.forward(message)
        elif deed == "readers":
            await self._menus.readers(chat, message)

    def _draft(self, chat: Chat, draft: Draft) -> None:
        chat.draft = draft
        self._composer.fill(draft.text)
        self._draw_intent(chat)
        self.write()

    def _draw_intent(self, chat: Chat) -> None:
        answered = chat.view.message(chat.draft.reply_to_seq or chat.draft.edit_seq)
        self._intent.display = answered is not None
        if answered is not None:
            how = "Answering" if chat.draft.reply_to_seq else "Editing"
            self._intent.update(Text(f"{how} (Esc: not) {brief(self._model, answered)}"))
