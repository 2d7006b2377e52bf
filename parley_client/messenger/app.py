"""The messenger as an application: the screen, its keys, and what is shown when the model changes."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import OptionList, Static

from parley_client.cli.errors import explain_error
from parley_client.errors import ParleyError
from parley_client.messenger.actions import Deeds
from parley_client.messenger.conversation_list import ChatList
from parley_client.messenger.conversation_pane import Talk
from parley_client.messenger.conversation_state import Chat
from parley_client.messenger.dialogs import Page
from parley_client.messenger.keys import help_text
from parley_client.messenger.message_list import MessageList
from parley_client.messenger.model import Messenger
from parley_client.messenger.prompts import Menus
from parley_client.messenger.status import status
from parley_client.session import DamagedFile

# A terminal of fewer columns shows the list or the conversation, not both.
NARROW = 60
# In seconds: what changes within the first is drawn at once; a notice stays for the second.
GATHER = 0.03
NOTICE = 8.0


class MessengerApp(App[Exception | None]):
    """Shows `model`, beginning with the conversation `first` if it is given. Its result is what ended it."""

    CSS_PATH = "messenger.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", show=False, priority=True),
        Binding("question_mark", "help", show=False),
        Binding("ctrl+n", "direct", show=False, priority=True),
        Binding("ctrl+g", "group", show=False, priority=True),
        Binding("ctrl+f", "search", show=False, priority=True),
        Binding("ctrl+o", "conversation", show=False, priority=True),
        Binding("ctrl+r", "archived", show=False, priority=True),
        Binding("ctrl+up", "neighbour(-1)", show=False, priority=True),
        Binding("ctrl+down", "neighbour(1)", show=False, priority=True),
        Binding("escape", "out", show=False),
        Binding("ctrl+q", "leave", show=False, priority=True),
    ]

    def __init__(self, model: Messenger, first: str = "") -> None:
        super().__init__()
        self.theme = "ansi-dark"
        self._model = model
        self._first = first
        self._menus = Menus(self, model, deeds := Deeds(model))
        self._chats = ChatList(model)
        self._talk = Talk(model, deeds, self._menus)
        self._status = Static(id="status")
        self._changed: set[str] = set()
        self._drawing: Timer | None = None
        self._forgetting: Timer | None = None
        self._told = ""
        self._warned = False

    def compose(self) -> ComposeResult:
        """The list, the conversation, and one line for everything that may be wrong."""
        with Horizontal(id="main"):
            yield self._chats
            yield self._talk
        yield self._status

    def on_mount(self) -> None:
        """Begin to listen."""
        self._model.changed = self._note
        self._chats.focus()
        self.run_worker(self._listen())
        self._note("")

    async def _listen(self) -> None:
        try:
            await self._model.run()
        except (ParleyError, DamagedFile, OSError) as error:
            self.exit(error)

    def _note(self, conversation_id: str) -> None:
        self._changed.add(conversation_id)
        if self._drawing is None and self.is_running:
            self._drawing = self.set_timer(GATHER, self._draw)

    def _draw(self) -> None:
        changed, self._changed, self._drawing = self._changed, set(), None
        self._chats.show()
        chat = self._model.opened
        if chat is None and self._first in self._model.chats:
            self._open(self._model.chats[self._first])
        elif chat is not None and chat.id in changed:
            self._talk.draw(chat)
        if self._model.notice != self._told:
            self._told = self._model.notice
            self._forget_later()
        self._status.update(status(self._model))

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.stop()
        self._forgetting = self.set_timer(NOTICE, self._forget)

    def _forget(self) -> None:
        self._model.tell("")

    def _open(self, chat: Chat) -> None:
        self._first = ""
        self._talk.open(chat)
        self._talk.screen.set_class(False, "listing")
        self._chats.show()
        self._chats.choose(chat.id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A conversation was chosen."""
        if event.option_list is self._chats and event.option_id:
            self._open(self._model.chats[event.option_id])

    def action_neighbour(self, step: int) -> None:
        """The conversation above or below."""
        self._talk.after_keys(lambda: self._go(step))

    def _go(self, step: int) -> None:
        found = self._chats.neighbour(self._model.opened.id if self._model.opened else "", step)
        if found and not self._menus.asking:
            self._open(self._model.chats[found])

    def action_archived(self) -> None:
        """The archived conversations, or the others again."""
        self._chats.archived = not self._chats.archived
        self._chats.show()
        self._chats.focus()
        self._model.tell("Archived conversations. Ctrl+R: the others again." if self._chats.archived else "")

    def action_direct(self) -> None:
        """Talk to somebody."""
        self._menus.begin(self._direct())

    def action_group(self) -> None:
        """Make a group."""
        self._menus.begin(self._group())

    def action_search(self) -> None:
        """Search."""
        self._menus.begin(self._search())

    def action_conversation(self) -> None:
        """What can be done with the open conversation."""
        if self._model.opened:
            self._menus.begin(self._menus.conversation(self._model.opened))

    async def _direct(self) -> None:
        if chat := await self._menus.direct():
            self._open(chat)

    async def _group(self) -> None:
        if chat := await self._menus.group():
            self._open(chat)

    async def _search(self) -> None:
        found = await self._menus.search()
        if found is None:
            return
        chat, seq = found
        self._open(chat)
        try:
            await self._model.load_back_to(chat, seq)
        except ParleyError as error:
            self._model.tell(explain_error(error, self._model.door))
            return
        self._talk.draw(chat)
        self._talk.choose(seq)

    def action_help(self) -> None:
        """All keys."""
        if not self._menus.asking:
            self.push_screen(Page("Keys", help_text()))

    def action_out(self) -> None:
        """From answering or editing, from the messages to writing; in a narrow terminal to the list."""
        if self._talk.give_up_intent():
            return
        if self._model.opened and isinstance(self.focused, MessageList | ChatList):
            self.screen.set_class(False, "listing")
            self._talk.write()
        else:
            self.screen.set_class(True, "listing")
            self._chats.focus()

    def action_leave(self) -> None:
        """Leave; what is not sent yet would be lost, which is said once."""
        self._talk.after_keys(self._leave)

    def _leave(self) -> None:
        if self._model.unsent and not self._warned:
            self._warned = True
            self._model.tell(f"{self._model.unsent} not sent yet. Ctrl+Q again: leave all the same.")
        else:
            self.exit(None)

    def action_help_quit(self) -> None:
        """Ctrl+C is for copying here."""
        self._model.tell("Ctrl+Q leaves.")

    def on_resize(self, event: events.Resize) -> None:
        """A narrow terminal shows one thing at a time."""
        base = self._talk.screen
        base.set_class(event.size.width < NARROW, "narrow")
        base.set_class(self._model.opened is None, "listing")

    def on_app_blur(self) -> None:
        """Nobody looks: nothing is read."""
        self._talk.in_front = False

    def on_app_focus(self) -> None:
        """Somebody looks again."""
        self._talk.in_front = True
        if self._model.opened:
            self._note(self._model.opened.id)
