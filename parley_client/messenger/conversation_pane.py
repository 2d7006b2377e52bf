"""The pane of the open conversation: its title, messages and composer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from parley_client.cli.formatting import describe_content
from parley_client.message import Message
from parley_client.messenger.actions import Actions
from parley_client.messenger.composer import Composer
from parley_client.messenger.conversation_state import ComposerDraft, ConversationState
from parley_client.messenger.keys import welcome_text
from parley_client.messenger.message_list import MessageList
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.prompts import Prompts
from parley_client.messenger.rows import conversation_rows, find_message, find_outgoing, summarize_message


class ConversationPane(Vertical):
    """The open conversation of the model. Messages are marked as read only while `terminal_focused`."""

    def __init__(self, model: MessengerModel, actions: Actions, prompts: Prompts) -> None:
        super().__init__(id="conversation")
        self._model = model
        self._actions = actions
        self._prompts = prompts
        self.terminal_focused = True
        self._title = Static(id="title")
        self._welcome = Static(id="welcome")
        self._messages = MessageList()
        self._below = Static(id="below")
        self._intent = Static(id="intent")
        self._composer = Composer(self._send, self._select_newest)

    def compose(self) -> ComposeResult:
        """Lay out title, messages, reply or edit line, and composer."""
        self._composer.disabled = True
        yield self._title
        yield self._welcome
        yield self._messages
        yield self._below
        yield self._intent
        yield self._composer

    @property
    def draft_text(self) -> str:
        """The text of the composer."""
        return self._composer.text

    def open(self, conversation: ConversationState) -> None:
        """Show another conversation and keep the draft of the previous one."""
        if self._model.open_conversation:
            self._model.open_conversation.draft.text = self.draft_text
        self._model.open(conversation)
        conversation.seen_seq = conversation.view.head_seq
        self.redraw(conversation, end=True)
        self._composer.fill(conversation.draft.text)
        self.focus_composer()

    def redraw(self, conversation: ConversationState, *, end: bool = False) -> None:
        """Show the current state of a conversation; with `end`, scroll to the newest message."""
        renamed = {f"outgoing {sent}": f"message {seq}" for sent, seq in conversation.sent_seqs.items()}
        self._messages.show_rows(conversation_rows(self._model, conversation), end=end, renamed=renamed)
        self._welcome.display = False
        self._redraw_below()
        self.redraw_title()
        self._composer.disabled = bool(conversation.read_only_reason)
        self._composer.placeholder = conversation.read_only_reason or "Write, Enter sends. F1: all keys"
        self._redraw_intent(conversation)
        self.mark_read_if_visible()
        self.call_after_refresh(self._load_visible_pictures)

    def redraw_title(self) -> None:
        """Show the title with the number of members or the presence; without a conversation, show what to do."""
        conversation = self._model.open_conversation
        if conversation is None:
            self._title.update("")
            self._welcome.update(welcome_text(self._model))
            return
        title = Text(self._model.title(conversation))
        if not conversation.is_group:
            presence = self._model.presence.describe(conversation.peer_id, datetime.now().astimezone())
            if presence:
                title.append(f"  {presence}", style="not bold green" if presence == "online" else "not bold dim")
        elif not conversation.view.is_former_member:
            title.append(f"  {len(conversation.view.members)} members", style="not bold dim")
        self._title.update(title)

    def show_newest(self) -> None:
        """Scroll to the newest message and go back to the composer."""
        if self._model.open_conversation:
            self._messages.scroll_to_newest()
            self.focus_composer()

    @property
    def shows_newest(self) -> bool:
        """True if the newest message is visible and the terminal has focus."""
        return self.terminal_focused and self._messages.at_end

    def mark_read_if_visible(self) -> None:
        """Mark the conversation as read if its newest message is visible and the terminal has focus."""
        if self._model.open_conversation and self.shows_newest:
            self._model.mark_read(self._model.open_conversation)

    def focus_composer(self) -> None:
        """Focus the composer, or the messages if the user cannot write."""
        self._messages.highlighted = None
        self.screen.set_focus(self._messages if self._composer.disabled else self._composer)

    def highlight_message(self, seq: int) -> None:
        """Highlight a message and focus the list."""
        if self._messages.highlight_row(f"message {seq}"):
            self.screen.set_focus(self._messages)

    def cancel_reply_or_edit(self) -> bool:
        """Cancel the reply or edit; return False if there was none."""
        conversation = self._model.open_conversation
        if conversation is None or not (conversation.draft.reply_to_seq or conversation.draft.edit_seq):
            return False
        self._set_draft(conversation, ComposerDraft("" if conversation.draft.edit_seq else self.draft_text))
        return True

    def call_after_keys(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the composer has handled all earlier keys."""
        self._composer.call_later(callback)

    def _send(self, text: str) -> None:
        """Send the text as a message or reply, or as the new text of the edited message."""
        conversation = self._model.open_conversation
        if conversation is None:
            return
        draft, conversation.draft = conversation.draft, ComposerDraft()
        edited_message = conversation.view.message(draft.edit_seq)
        if edited_message is not None:
            self._actions.edit(conversation, edited_message, text)
        else:
            self._actions.send(conversation, text, draft.reply_to_seq)
        self._composer.fill("")
        self.redraw(conversation, end=edited_message is None)

    def _select_newest(self) -> None:
        """Focus the messages and highlight the newest."""
        self.screen.set_focus(self._messages)
        self._messages.highlight_last()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Report that the user is typing, except while editing."""
        conversation = self._model.open_conversation
        if conversation is not None and event.text_area.has_focus and not conversation.draft.edit_seq:
            self._actions.set_typing(conversation, bool(event.text_area.text))

    def on_message_list_left_below(self) -> None:
        """Go back to the composer."""
        self.focus_composer()

    def on_message_list_scrolled(self) -> None:
        """Mark the visible newest message as read, and count the new messages below again."""
        self.mark_read_if_visible()
        self._redraw_below()
        self._load_visible_pictures()

    def on_message_list_top_reached(self) -> None:
        """Load older messages."""
        if self._model.open_conversation:
            self._model.load_older(self._model.open_conversation)

    def on_message_list_action_requested(self, event: MessageList.ActionRequested) -> None:
        """Run an action on a message, or resend or discard a refused one."""
        conversation = self._model.open_conversation
        if conversation is None:
            return
        message, outgoing = find_message(conversation, event.key), find_outgoing(conversation, event.key)
        if message is not None:
            self._prompts.start(self._perform(conversation, event.action, message))
        elif outgoing is not None and outgoing.error and event.action in ("menu", "delete"):
            (self._actions.resend if event.action == "menu" else self._actions.discard)(conversation, outgoing)

    async def _perform(self, conversation: ConversationState, action: str, message: Message) -> None:
        if action == "menu":
            action = await self._prompts.choose_message_action(conversation, message)
        if action == "reply" and not conversation.read_only_reason and message.content is not None:
            self._set_draft(conversation, ComposerDraft(self.draft_text, reply_to_seq=message.seq))
        elif action == "edit" and message.actor_id == self._model.own_id and message.text:
            self._set_draft(conversation, ComposerDraft(message.text, edit_seq=message.seq))
        elif action == "edit":
            self._model.notify("You can edit only your own messages that contain text.")
        elif action == "delete" and not message.deleted:
            await self._prompts.delete_message(conversation, message)
        elif action == "react" and message.content is not None:
            await self._prompts.react_to_message(conversation, message)
        elif action == "forward" and message.content is not None:
            await self._prompts.forward_message(message)
        elif action == "copy" and message.content is not None:
            self.app.copy_to_clipboard(message.text or describe_content(message.content))
            self._model.notify("Copied.")
        elif action == "save" and message.media is not None:
            await self._prompts.save_file(message.media)
        elif action == "save":
            self._model.notify("The message has no file.")
        elif action == "readers":
            await self._prompts.show_readers(conversation, message)

    def _load_visible_pictures(self) -> None:
        conversation, thumbnails = self._model.open_conversation, self._model.thumbnails
        if conversation is None or thumbnails is None:
            return
        for key in self._messages.visible_keys:
            message = find_message(conversation, key)
            media = message.media if message is not None else None
            if media is not None and thumbnails.needs_load(media):
                self._model.start(thumbnails.load(media))

    def _redraw_below(self) -> None:
        """Count the messages of others that are newer than every message seen so far, and show the number."""
        conversation = self._model.open_conversation
        if conversation is None:
            return
        visible = find_message(conversation, self._messages.last_visible_key)
        seen_seq = conversation.view.head_seq if self._messages.rests_at_end else visible.seq if visible else 0
        conversation.seen_seq = max(conversation.seen_seq, seen_seq)
        new = [each for each in conversation.view.messages if each.seq > conversation.seen_seq]
        count = sum(each.actor_id != self._model.own_id for each in new)
        self._below.display = bool(count)
        self._below.update(f"↓ {count} new message{'s' if count > 1 else ''} below (Ctrl+L: go there)")

    def _set_draft(self, conversation: ConversationState, draft: ComposerDraft) -> None:
        conversation.draft = draft
        self._composer.fill(draft.text)
        self._redraw_intent(conversation)
        self.focus_composer()

    def _redraw_intent(self, conversation: ConversationState) -> None:
        target = conversation.view.message(conversation.draft.reply_to_seq or conversation.draft.edit_seq)
        self._intent.display = target is not None
        if target is not None:
            intent = "Replying to" if conversation.draft.reply_to_seq else "Editing"
            self._intent.update(Text(f"{intent} (Esc: cancel) {summarize_message(self._model, target)}"))
