"""The dialogs that gather the input of an action and then run it."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC
from typing import Any, TypeVar

from rich.text import Text
from textual.app import App
from textual.screen import ModalScreen

from parley.chat.v1 import entry_pb2
from parley.chat.v1.account_pb2 import Profile
from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.formatting import describe_content
from parley_client.cli.media_text import describe_media
from parley_client.cli.text import one_cell
from parley_client.errors import ParleyError
from parley_client.media.facts import Media
from parley_client.message import Message
from parley_client.messenger.actions import Actions
from parley_client.messenger.conversation_state import ConversationState
from parley_client.messenger.dialogs import ChoiceDialog, FormDialog, LiveSearchDialog, SearchDialog, TextDialog
from parley_client.messenger.file_dialog import FileDialog, default_download_folder
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.notification_prompt import change_notification_preferences
from parley_client.messenger.rows import summarize_message
from parley_client.messenger.terminal_text import one_line
from parley_client.messenger.visibility_prompt import change_visibility

REACTIONS = ("👍", "❤", "😂", "😮", "😢", "🎉", "🙏", "👎")
Result = TypeVar("Result")


class Prompts:
    """The dialogs of the messenger, shown on `app`; confirmed input is passed to `actions`.

    The coroutines wait for the person and must run in a worker: see `start`.
    """

    def __init__(self, app: App[Exception | None], model: MessengerModel, actions: Actions) -> None:
        self._app = app
        self._model = model
        self._actions = actions

    @property
    def dialog_open(self) -> bool:
        """True while a dialog is open."""
        return len(self._app.screen_stack) > 1

    def start(self, dialog: Coroutine[Any, Any, None]) -> None:
        """Run a dialog in a worker, unless one is already open."""
        if self.dialog_open:
            dialog.close()
        else:
            self._app.run_worker(dialog)

    async def choose_message_action(self, conversation: ConversationState, message: Message) -> str:
        """Show the menu of a message; return the selected action, or "" if the menu was cancelled."""
        is_own, has_content = message.actor_id == self._model.own_id, message.content is not None
        choices = [
            ("reply", "Reply", not conversation.read_only_reason and has_content),
            ("react", "React", not conversation.view.is_former_member and has_content),
            ("edit", "Edit", is_own and bool(message.text) and not conversation.view.is_former_member),
            ("forward", "Forward", has_content),
            ("copy", "Copy", has_content),
            ("save", "Save the file", message.media is not None),
            ("readers", "Who read it", is_own and not conversation.view.is_former_member),
            ("delete", "Delete", not message.deleted and not conversation.view.is_former_member),
        ]
        allowed_choices = [(key, label) for key, label, allowed in choices if allowed]
        return await self._show(ChoiceDialog(summarize_message(self._model, message), allowed_choices)) or ""

    async def send_file(self, conversation: ConversationState) -> None:
        """Ask for a file and a caption, and send it."""
        answer = await self._show(FileDialog("Send a file", "The file", can_be_folder=False, has_caption=True))
        if answer is not None:
            path, caption = answer
            self._actions.send_file(conversation, path, caption)

    async def save_file(self, media: Media) -> None:
        """Ask for a folder or a file name, and save a file there."""
        folder = default_download_folder()
        dialog = FileDialog(f"Save the {describe_media(media)}", "Where", folder, can_be_folder=True)
        answer = await self._show(dialog)
        if answer is not None:
            self._actions.save_file(media, answer[0])

    async def delete_message(self, conversation: ConversationState, message: Message) -> None:
        """Ask for whom a message is to be deleted, and delete it."""
        choices = [("me", "Only for me")]
        if message.actor_id == self._model.own_id or conversation.is_admin:
            choices.insert(0, ("all", "For everybody"))
        scope = await self._show(ChoiceDialog(f"Delete “{summarize_message(self._model, message, 30)}”?", choices))
        if scope:
            self._actions.delete(conversation, message, for_all=scope == "all")

    async def react_to_message(self, conversation: ConversationState, message: Message) -> None:
        """Ask for a reaction and set it; the user's current reaction is offered for removal."""
        choices = [(emoji, emoji) for emoji in REACTIONS]
        if own := message.reactions.get(self._model.own_id):
            choices = [(own, f"Remove {one_line(own)}"), *[choice for choice in choices if choice[0] != own]]
        keys = {str(n): emoji for n, (emoji, _) in enumerate(choices)}
        numbered = [(f"n{n}", label) for n, (_, label) in enumerate(choices)]
        target = summarize_message(self._model, message, 30)
        chosen = await self._show(ChoiceDialog(f"React to “{target}”", numbered))
        if chosen:
            self._actions.react(conversation, message, keys[chosen[1:]])

    async def forward_message(self, message: Message) -> None:
        """Ask for a conversation and forward a message to it."""
        targets = [
            conversation for conversation in self._model.sorted_conversations() if not conversation.read_only_reason
        ]
        choices = [(f"c{conversation.id}", self._model.title(conversation)) for conversation in targets]
        chosen = await self._show(ChoiceDialog("Forward to", choices))
        if chosen:
            self._actions.forward(message, self._model.conversations[chosen[1:]])

    async def show_readers(self, conversation: ConversationState, message: Message) -> None:
        """Show the delivery state of a message for each other member."""
        try:
            readers = await self._actions.fetch_readers(conversation, message)
        except ParleyError as error:
            self._model.notify(explain_error(error, self._model.door))
            return
        lines = "\n".join(f"{state:<8} {name}" for name, state in readers)
        await self._show(TextDialog("Who read it", Text(lines)))

    async def open_direct(self) -> ConversationState | None:
        """Search a user; return the 1-1 conversation, or None if cancelled or refused."""
        login_names: dict[str, str] = {}

        async def find(query: str) -> list[tuple[str, str]] | str:
            try:
                profiles = await self._actions.search_users(query.removeprefix("@"))
            except ParleyError as error:
                return explain_error(error, self._model.door)
            login_names.update({profile.user_id: profile.login_name for profile in profiles})
            return [(profile.user_id, _profile_label(profile)) for profile in profiles]

        def is_exact(query: str, user_id: str) -> bool:
            return login_names[user_id] == query.removeprefix("@").lower()

        user_id = await self._show(
            LiveSearchDialog("Start a conversation", "the beginning of a name", find, "Nobody was found.", is_exact)
        )
        return await self._notify_on_error(self._actions.open_direct(user_id)) if user_id else None

    async def create_group(self) -> ConversationState | None:
        """Ask for a title and members; return the new group, or None if cancelled or refused."""
        answer = await self._show(FormDialog("Create a group", ["Title", "Login names, separated by spaces"]))
        if answer is None:
            return None
        return await self._notify_on_error(self._actions.create_group(answer[0], answer[1].replace(",", " ").split()))

    async def search_messages(self) -> tuple[ConversationState, int] | None:
        """Show the search dialog; return the conversation and seq of the selected message, or None."""
        chosen = await self._show(
            SearchDialog(
                "Search in all conversations",
                "words that must all occur in the message",
                self._search,
                "Nothing was found. A message must contain all the words.",
            )
        )
        if not chosen:
            return None
        _, conversation_id, seq = chosen.split("-")
        return self._model.conversations[conversation_id], int(seq)

    async def show_conversation_menu(self, conversation: ConversationState) -> None:
        """Show the menu of a conversation and run the selected action."""
        choices = _conversation_choices(conversation)
        action = await self._show(ChoiceDialog(self._model.title(conversation), choices)) if choices else None
        if action == "members":
            await self._show_members(conversation)
        elif action == "add":
            answer = await self._show(FormDialog("Add people", ["Login names, separated by spaces"]))
            if answer:
                self._actions.add_members(conversation, answer[0].replace(",", " ").split())
        elif action == "rename":
            answer = await self._show(FormDialog("Rename", ["Title"], [one_cell(conversation.view.title)]))
            if answer:
                self._actions.rename(conversation, answer[0])
        elif action == "admins":
            self._actions.set_admins_only_send(conversation, not conversation.view.admins_only_send)
        elif action == "leave":
            if await self._confirm(f"Leave {self._model.title(conversation)}?", "Leave"):
                self._actions.leave(conversation)
        elif action == "block":
            if await self._confirm(f"Block {self._model.title(conversation)}?", "Block"):
                self._actions.block(conversation)
        elif action == "pin":
            self._actions.toggle_pin(conversation)
        elif action == "mute":
            self._actions.toggle_mute(conversation)
        elif action == "archive":
            self._actions.toggle_archive(conversation)

    async def change_visibility(self) -> None:
        """Ask who may see the user's presence, and set it."""
        await change_visibility(self._model, self._show)

    async def change_notification_preferences(self) -> None:
        """Ask what is to be pushed to the user's devices, and set it."""
        await change_notification_preferences(self._model, self._show)

    async def _show_members(self, conversation: ConversationState) -> None:
        def label(user: str) -> str:
            role = conversation.view.members[user]
            return self._model.display_name(user) + ("  (admin)" if role == entry_pb2.ROLE_ADMIN else "")

        # The user comes first, then the others by name; the view orders them by id.
        members = sorted(
            conversation.view.members, key=lambda user: (user != self._model.own_id, self._model.display_name(user))
        )
        user = await self._show(ChoiceDialog("Members", [(f"u{member}", label(member)) for member in members]))
        if not user or not conversation.is_admin or user[1:] == self._model.own_id:
            return
        user, is_admin = user[1:], conversation.view.members.get(user[1:]) == entry_pb2.ROLE_ADMIN
        role = ("role", "Make a plain member" if is_admin else "Make an admin")
        action = await self._show(
            ChoiceDialog(self._model.display_name(user), [role, ("remove", "Remove from the group")])
        )
        if action == "role":
            self._actions.set_admin(conversation, user, not is_admin)
        elif action == "remove":
            self._actions.remove_member(conversation, user)

    async def _search(self, query: str) -> list[tuple[str, str]] | str:
        try:
            matches = await self._actions.search(query)
        except ParleyError as error:
            return explain_error(error, self._model.door)
        results = []
        for entry in matches:
            if (conversation := self._model.conversations.get(entry.conversation_id)) is not None:
                time = entry.create_time.ToDatetime(tzinfo=UTC).astimezone()
                text = one_line(describe_content(entry.message_appended.content))
                source = f"{self._model.title(conversation)} · {self._model.display_name(entry.actor_id)}"
                results.append((f"m-{conversation.id}-{entry.seq}", f"{time:%d %b %H:%M}  {source}: {text}"))
        return results

    async def _confirm(self, question: str, yes: str) -> bool:
        return await self._show(ChoiceDialog(question, [("yes", yes), ("no", "No")])) == "yes"

    async def _notify_on_error(self, call: Coroutine[Any, Any, ConversationState]) -> ConversationState | None:
        try:
            return await call
        except ParleyError as error:
            self._model.notify(explain_error(error, self._model.door))
        except CommandError as error:
            self._model.notify(str(error))
        return None

    async def _show(self, screen: ModalScreen[Result]) -> Result:
        return await self._app.push_screen_wait(screen)


def _profile_label(profile: Profile) -> str:
    """Return the display name and the login name of a user; the display name comes last, because others chose it."""
    return f"{one_line(profile.login_name):<20}  {one_line(profile.display_name)}"


def _conversation_choices(conversation: ConversationState) -> list[tuple[str, str]]:
    settings, is_group, is_member = (
        conversation.view.settings,
        conversation.is_group,
        not conversation.view.is_former_member,
    )
    senders = "Let all members write" if conversation.view.admins_only_send else "Let only admins write"
    choices = [
        ("members", "Members", is_group and is_member),
        ("add", "Add people", conversation.is_admin),
        ("rename", "Rename", conversation.is_admin),
        ("admins", senders, conversation.is_admin),
        ("pin", "Unpin" if settings.pinned else "Pin to the top", is_member),
        ("mute", "Unmute" if settings.mute_until else "Mute", is_member),
        ("archive", "Unarchive" if settings.archived else "Archive", is_member),
        ("block", "Block", not is_group),
        ("leave", "Leave the group", is_group and is_member),
    ]
    return [(key, label) for key, label, allowed in choices if allowed]
