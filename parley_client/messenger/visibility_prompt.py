"""The dialog in which the user chooses who may see the user's presence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.screen import ModalScreen

from parley_client.cli.errors import explain_error
from parley_client.cli.presence_text import AUDIENCES
from parley_client.errors import ParleyError
from parley_client.messenger.dialogs import ChoiceDialog
from parley_client.messenger.model import MessengerModel
from parley_client.presence_state import Audience

_PARTS = {"online": "whether you are online", "last_seen": "when you last were online"}
_LABELS = {"online": "Online", "last_seen": "Last seen"}
_CHOICES = [
    (Audience.EVERYONE.name, "Everyone"),
    (Audience.ACQUAINTED.name, "Users you have written to"),
    (Audience.NOBODY.name, "Nobody; then you do not see it of others"),
]


async def change_visibility(
    model: MessengerModel, show: Callable[[ModalScreen[str | None]], Awaitable[str | None]]
) -> None:
    """Show who may see which part of the presence; ask for another audience of one part, and set it."""
    try:
        visibility = await model.client.presence.get_visibility()
    except ParleyError as error:
        model.notify(explain_error(error, model.door))
        return
    audiences = {"online": visibility.online, "last_seen": visibility.last_seen}
    parts = [(part, f"{_LABELS[part]}: {AUDIENCES[audience]}") for part, audience in audiences.items()]
    part = await show(ChoiceDialog("Who sees your presence", parts))
    audience = await show(ChoiceDialog(f"Who sees {_PARTS[part]}?", _CHOICES)) if part else None
    if part and audience:
        model.start(_set_visibility(model, part, Audience[audience]))


async def _set_visibility(model: MessengerModel, part: str, audience: Audience) -> None:
    await model.client.presence.set_visibility(**{part: audience})
    model.notify(f"Users who see {_PARTS[part]}: {AUDIENCES[audience]}.")
