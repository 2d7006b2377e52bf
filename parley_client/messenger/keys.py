"""The texts that explain the messenger: its keys, and the first steps."""

from __future__ import annotations

from rich.text import Text

from parley_client.messenger.model import MessengerModel

KEYS = [
    (
        "Anywhere",
        [
            ("F1", "show this help (also: ?)"),
            ("Tab, Shift+Tab", "go to conversations, messages, composer"),
            ("Ctrl+↑, Ctrl+↓", "open the conversation above, below"),
            ("Ctrl+L", "go to the newest message"),
            ("Ctrl+N", "write to another user"),
            ("Ctrl+G", "create a group"),
            ("Ctrl+F", "search messages"),
            ("Ctrl+T", "send a picture or a file"),
            ("Ctrl+O", "open the conversation's menu: members, pin, mute, archive …"),
            ("Ctrl+R", "show or leave the archive"),
            ("Ctrl+P", "choose who sees you online"),
            ("Ctrl+S", "choose what is pushed to you"),
            ("Ctrl+Q", "quit"),
        ],
    ),
    (
        "While writing",
        [
            ("Enter", "send"),
            ("Ctrl+J", "start a new line"),
            ("↑ if nothing is written", "select a message"),
            ("Esc", "cancel the reply or edit"),
        ],
    ),
    (
        "On a message",
        [
            ("Enter", "open the message's menu"),
            ("r  e  d", "reply, edit, delete"),
            ("x or +", "react"),
            ("f  c", "forward, copy to the clipboard"),
            ("s", "save its file"),
            ("i", "show who read it"),
            ("Esc, ↓ below the last", "go back to the composer"),
        ],
    ),
]
FIRST_STEPS = [
    ("Ctrl+N", "find a user and write to them"),
    ("Ctrl+G", "create a group"),
    ("F1", "show all keys"),
    ("Ctrl+Q", "quit"),
]
PRESENCE = "● online   ○ away"
TICKS = "… being sent   ✓ sent   ✓✓ delivered   green ✓✓ read by all   ✗ refused"


def help_text() -> Text:
    """Return all keys, grouped by where they apply, and the marks of messages and users."""
    text = Text()
    for section, keys in KEYS:
        text.append(f"{section}\n", style="bold")
        for key, description in keys:
            text.append(f"  {key:<22}", style="cyan").append(f"{description}\n")
    text.append("Ticks\n", style="bold").append(f"  {TICKS}\n")
    return text.append("Presence\n", style="bold").append(f"  {PRESENCE}\n")


def welcome_text(model: MessengerModel) -> Text:
    """Return what to do while no conversation is open; empty until the conversations are known."""
    if not model.list_loaded:
        return Text()
    if model.conversations:
        return Text("↑ ↓ Enter: open a conversation\nCtrl+N: start a new one   F1: all keys", style="dim")
    text = Text("You have no conversations yet.\n\n", style="bold")
    for key, description in FIRST_STEPS:
        text.append(f"  {key:<8}", style="not bold cyan").append(f"{description}\n", style="not bold")
    session = model.client.session
    name = f"\nOthers find you by the name {session.login_name}." if session and session.login_name else ""
    return text.append(name, style="not bold")
