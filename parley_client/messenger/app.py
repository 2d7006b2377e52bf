"""The textual application of the messenger: its layout, its keys and its redraws."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import OptionList, Static

from parley_client.cli.errors import explain_error
from parley_client.cli.formatting import describe_content
from parley_client.errors import ParleyError
from parley_client.events import EntryReceived
from parley_client.messenger.actions import Actions
from parley_client.messenger.conversation_list import ConversationList
from parley_client.messenger.conversation_pane import ConversationPane
from parley_client.messenger.conversation_state import ConversationState
from parley_client.messenger.dialogs import TextDialog
from parley_client.messenger.keys import help_text
from parley_client.messenger.kitty import KittyPictures
from parley_client.messenger.message_list import MessageList
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.notifier import NotificationKind, Notifier
from parley_client.messenger.pictures import PictureStyle
from parley_client.messenger.prompts import Prompts
from parley_client.messenger.status import status_line
from parley_client.messenger.thumbnails import Thumbnails
from parley_client.session import DamagedFile

# A terminal with fewer columns shows either the list or the conversation.
NARROW_COLUMNS = 60
# A terminal with more columns shows more of each conversation's newest message.
WIDE_COLUMNS = 110
# Changes within this delay are drawn together.
REDRAW_DELAY_S = 0.03
# A notice disappears after this time.
NOTICE_DURATION_S = 8.0


class MessengerApp(App[Exception | None]):
    """The messenger, which opens the conversation `first` if given; its result is the error that ended it."""

    CSS_PATH = "messenger.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", show=False, priority=True),
        Binding("question_mark", "help", show=False),
        Binding("ctrl+n", "direct", show=False, priority=True),
        Binding("ctrl+g", "group", show=False, priority=True),
        Binding("ctrl+f", "search", show=False, priority=True),
        Binding("ctrl+t", "file", show=False, priority=True),
        Binding("ctrl+o", "conversation", show=False, priority=True),
        Binding("ctrl+l", "newest", show=False, priority=True),
        Binding("ctrl+r", "archived", show=False, priority=True),
        Binding("ctrl+p", "visibility", show=False, priority=True),
        Binding("ctrl+s", "notification_preferences", show=False, priority=True),
        Binding("ctrl+up", "neighbour(-1)", show=False, priority=True),
        Binding("ctrl+down", "neighbour(1)", show=False, priority=True),
        Binding("escape", "go_back", show=False),
        Binding("ctrl+q", "leave", show=False, priority=True),
    ]

    def __init__(
        self,
        model: MessengerModel,
        first: str = "",
        notifications: NotificationKind = NotificationKind.BELL,
        pictures: PictureStyle = PictureStyle.OFF,
    ) -> None:
        super().__init__()
        self.theme = "ansi-dark"
        self._model = model
        self._initial_id = first
        self._prompts = Prompts(self, model, actions := Actions(model))
        self._list = ConversationList(model)
        self._pane = ConversationPane(model, actions, self._prompts)
        self._status = Static(id="status")
        if pictures is not PictureStyle.OFF:
            kitty = KittyPictures(self._write_to_terminal) if pictures is PictureStyle.KITTY else None
            model.thumbnails = Thumbnails(model.client.files, self._on_picture_loaded, kitty)
        self._notifier = Notifier(notifications, self._write_to_terminal)
        self._changed: set[str] = set()
        self._redraw_timer: Timer | None = None
        self._notice_timer: Timer | None = None
        self._shown_notice = ""
        self._unsent_warning_shown = False

    def compose(self) -> ComposeResult:
        """Lay out the list, the conversation and the status line."""
        with Horizontal(id="main"):
            yield self._list
            yield self._pane
        yield self._status

    def on_mount(self) -> None:
        """Start the model and draw it."""
        self._model.on_change = self._on_model_change
        self._model.on_message = self._announce
        self._list.focus()
        self.run_worker(self._run_model())
        self._on_model_change("")

    async def _run_model(self) -> None:
        try:
            await self._model.run()
        except (ParleyError, DamagedFile, OSError) as error:
            self.exit(error)

    def _on_model_change(self, conversation_id: str) -> None:
        self._changed.add(conversation_id)
        if self._redraw_timer is None and self.is_running:
            self._redraw_timer = self.set_timer(REDRAW_DELAY_S, self._redraw)

    def _on_picture_loaded(self) -> None:
        if self._model.open_conversation is not None:
            self._on_model_change(self._model.open_conversation.id)

    def _announce(self, conversation: ConversationState, event: EntryReceived) -> None:
        """Announce a message that the user does not see, unless the conversation is muted or archived."""
        settings = conversation.view.settings
        is_visible = conversation is self._model.open_conversation and self._pane.terminal_focused
        if is_visible or settings.mute_until or settings.archived:
            return
        text = describe_content(event.entry.message_appended.content)
        self._notifier.announce(self._model.title(conversation), text)

    def _write_to_terminal(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    def _redraw(self) -> None:
        changed, self._changed, self._redraw_timer = self._changed, set(), None
        if not self._pane.is_attached:
            return  # the application is ending
        self._list.refresh_list()
        conversation = self._model.open_conversation
        if conversation is None and self._initial_id in self._model.conversations:
            self._open_conversation(self._model.conversations[self._initial_id])
        elif conversation is not None and conversation.id in changed:
            self._pane.redraw(conversation)
        if "" in changed:
            self._pane.redraw_title()
        self._pane.screen.set_class(self._model.list_loaded and not self._model.conversations, "empty")
        if self._model.notice != self._shown_notice:
            self._shown_notice = self._model.notice
            self._start_notice_timer()
        self._status.update(status_line(self._model))

    def _start_notice_timer(self) -> None:
        if self._notice_timer is not None:
            self._notice_timer.stop()
        self._notice_timer = self.set_timer(NOTICE_DURATION_S, self._clear_notice)

    def _clear_notice(self) -> None:
        self._model.notify("")

    def _open_conversation(self, conversation: ConversationState) -> None:
        self._initial_id = ""
        self._pane.open(conversation)
        self._pane.screen.set_class(False, "listing")
        self._list.refresh_list()
        self._list.highlight(conversation.id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open the selected conversation."""
        if event.option_list is self._list and event.option_id:
            self._open_conversation(self._model.conversations[event.option_id])

    def action_neighbour(self, step: int) -> None:
        """Open the conversation `step` lines below the open one."""
        self._pane.call_after_keys(lambda: self._open_neighbour(step))

    def _open_neighbour(self, step: int) -> None:
        neighbour_id = self._list.neighbour(
            self._model.open_conversation.id if self._model.open_conversation else "", step
        )
        if neighbour_id and not self._prompts.dialog_open:
            self._open_conversation(self._model.conversations[neighbour_id])

    def action_newest(self) -> None:
        """Go to the newest message of the open conversation."""
        if not self._prompts.dialog_open:
            self._pane.show_newest()

    def action_archived(self) -> None:
        """Switch the list between archived and other conversations."""
        self._list.show_archived = not self._list.show_archived
        self._list.refresh_list()
        self._list.focus()
        self._model.notify("Archived conversations. Ctrl+R: back to the others." if self._list.show_archived else "")

    def action_direct(self) -> None:
        """Open the dialog for a new 1-1 conversation."""
        self._prompts.start(self._open_direct())

    def action_group(self) -> None:
        """Open the dialog for a new group."""
        self._prompts.start(self._create_group())

    def action_search(self) -> None:
        """Open the search dialog."""
        self._prompts.start(self._search())

    def action_file(self) -> None:
        """Open the dialog that sends a file to the open conversation."""
        conversation = self._model.open_conversation
        if conversation is not None and not conversation.read_only_reason:
            self._prompts.start(self._prompts.send_file(conversation))

    def action_conversation(self) -> None:
        """Open the menu of the open conversation."""
        if self._model.open_conversation:
            self._prompts.start(self._prompts.show_conversation_menu(self._model.open_conversation))

    def action_visibility(self) -> None:
        """Open the dialog that says who may see the user's presence."""
        self._prompts.start(self._prompts.change_visibility())

    def action_notification_preferences(self) -> None:
        """Open the dialog that says what is pushed to the user's devices."""
        self._prompts.start(self._prompts.change_notification_preferences())

    async def _open_direct(self) -> None:
        if conversation := await self._prompts.open_direct():
            self._open_conversation(conversation)

    async def _create_group(self) -> None:
        if conversation := await self._prompts.create_group():
            self._open_conversation(conversation)

    async def _search(self) -> None:
        selected = await self._prompts.search_messages()
        if selected is None:
            return
        conversation, seq = selected
        self._open_conversation(conversation)
        try:
            await self._model.load_back_to(conversation, seq)
        except ParleyError as error:
            self._model.notify(explain_error(error, self._model.door))
            return
        self._pane.redraw(conversation)
        self._pane.highlight_message(seq)

    def action_help(self) -> None:
        """Show the keys."""
        if not self._prompts.dialog_open:
            self.push_screen(TextDialog("Keys", help_text()))

    def action_go_back(self) -> None:
        """Cancel a reply or edit; otherwise focus the composer, or the list if the composer has focus."""
        if self._pane.cancel_reply_or_edit():
            return
        if self._model.open_conversation and isinstance(self.focused, MessageList | ConversationList):
            self.screen.set_class(False, "listing")
            self._pane.focus_composer()
        else:
            self.screen.set_class(True, "listing")
            self._list.focus()

    def action_leave(self) -> None:
        """Quit; warn once if messages have not been sent yet, because they would be lost."""
        self._pane.call_after_keys(self._leave)

    def _leave(self) -> None:
        if self._model.unsent_count and not self._unsent_warning_shown:
            self._unsent_warning_shown = True
            self._model.notify(f"{self._model.unsent_count} not sent yet. Ctrl+Q again: quit anyway.")
        else:
            self.exit(None)

    def action_help_quit(self) -> None:
        """Name the key that quits: Ctrl+C copies."""
        self._model.notify("Ctrl+Q: quit")

    def on_resize(self, event: events.Resize) -> None:
        """Show either the list or the conversation if the terminal is narrow."""
        base = self._pane.screen
        base.set_class(event.size.width < NARROW_COLUMNS, "narrow")
        base.set_class(event.size.width > WIDE_COLUMNS, "wide")
        base.set_class(self._model.open_conversation is None, "listing")

    def on_app_blur(self) -> None:
        """Be away, and stop marking messages as read, while the terminal is not focused."""
        self._pane.terminal_focused = False
        self._model.set_foreground(False)

    def on_app_focus(self) -> None:
        """Be online, and mark messages as read again."""
        self._pane.terminal_focused = True
        self._model.set_foreground(True)
        if self._model.open_conversation:
            self._on_model_change(self._model.open_conversation.id)
