"""The dialog in which the user chooses what is pushed to the user's devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from textual.screen import ModalScreen

from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.push_text import PREVIEWS, SCOPES, describe_preferences
from parley_client.cli.quiet_hours import change_quiet_hours, write_hours
from parley_client.errors import ParleyError
from parley_client.messenger.dialogs import ChoiceDialog, FormDialog
from parley_client.messenger.model import MessengerModel
from parley_client.push_preferences import NotificationPreferences, NotificationPreview, NotificationScope

Result = TypeVar("Result")
# In the order of `describe_preferences`.
_PARTS = ("scope", "preview", "reactions", "quiet_hours")
_SCOPES = [(each.name, text) for each, text in SCOPES.items() if each is not NotificationScope.UNKNOWN]
_PREVIEWS = [(each.name, text) for each, text in PREVIEWS.items() if each is not NotificationPreview.UNKNOWN]
_CHOICES = {
    "scope": ("Messages that are pushed", _SCOPES),
    "preview": ("Notifications show", _PREVIEWS),
    "reactions": ("Reactions to your messages", [("on", "Push them"), ("off", "Do not push them")]),
}


class ShowScreen(Protocol):
    """A function that shows a dialog and returns its result."""

    async def __call__(self, screen: ModalScreen[Result]) -> Result:
        """Show a dialog and return its result."""


async def change_notification_preferences(model: MessengerModel, show: ShowScreen) -> None:
    """Show the preferences; ask for another value of one part, and set it."""
    try:
        preferences = await model.client.push.get_preferences()
    except ParleyError as error:
        model.notify(explain_error(error, model.door))
        return
    parts = list(zip(_PARTS, describe_preferences(preferences), strict=True))
    part = await show(ChoiceDialog("Pushed to your devices", parts))
    value = await _ask_for_value(part, preferences, show) if part else None
    if part and value:
        model.start(_set_preferences(model, part, value))


async def _ask_for_value(part: str, preferences: NotificationPreferences, show: ShowScreen) -> str | None:
    """Ask for another value of a part; return None if the dialog was cancelled."""
    if part in _CHOICES:
        title, choices = _CHOICES[part]
        return await show(ChoiceDialog(title, choices))
    present = write_hours(preferences.quiet_hours)
    hours = await show(FormDialog("Quiet hours, without notifications", ["Such as 22:00-07:00, or none"], [present]))
    return hours[0] if hours else None


async def _set_preferences(model: MessengerModel, part: str, value: str) -> None:
    """Change the preferences as they are now: another device may have changed them while the dialog was open."""
    found = await model.client.push.get_preferences()
    changed = await model.client.push.set_preferences(_change(found, part, value))
    model.notify(describe_preferences(changed)[_PARTS.index(part)])


def _change(preferences: NotificationPreferences, part: str, value: str) -> NotificationPreferences:
    """Return the preferences with another value of a part. Raise CommandError if it is not valid."""
    match part:
        case "scope":
            return replace(preferences, scope=NotificationScope[value])
        case "preview":
            return replace(preferences, preview=NotificationPreview[value])
        case "reactions":
            return replace(preferences, reactions=value == "on")
    try:
        return replace(preferences, quiet_hours=change_quiet_hours(preferences.quiet_hours, value))
    except ValueError as error:
        raise CommandError(f"{error}.") from None
