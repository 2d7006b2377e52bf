"""The keys of the messenger, as the help shows them."""

from __future__ import annotations

from rich.text import Text

KEYS = [
    (
        "Anywhere",
        [
            ("F1", "this help (also ? outside the composer)"),
            ("Tab, Shift+Tab", "conversations, messages, composer"),
            ("Ctrl+↑, Ctrl+↓", "the conversation above, below"),
            ("Ctrl+N", "talk to somebody"),
            ("Ctrl+G", "make a group"),
            ("Ctrl+F", "search"),
            ("Ctrl+O", "this conversation: members, pin, mute, archive …"),
            ("Ctrl+R", "show archived conversations, or the others again"),
            ("Ctrl+Q", "leave"),
        ],
    ),
    (
        "While writing",
        [
            ("Enter", "send"),
            ("Ctrl+J", "another line"),
            ("↑ in an empty line", "choose a message"),
            ("Esc", "neither answer nor edit"),
        ],
    ),
    (
        "On a message",
        [
            ("Enter", "all that can be done with it"),
            ("r  e  d", "reply, edit, delete"),
            ("x or +", "react"),
            ("f  i", "pass it on, see who read it"),
            ("Esc, ↓ below the last", "back to writing"),
        ],
    ),
]
TICKS = "… being sent   ✓ sent   ✓✓ delivered   green ✓✓ read by all   ✗ refused"


def help_text() -> Text:
    """All keys, by where they work."""
    text = Text()
    for place, keys in KEYS:
        text.append(f"{place}\n", style="bold")
        for key, words in keys:
            text.append(f"  {key:<22}", style="cyan").append(f"{words}\n")
    return text.append("Ticks\n", style="bold").append(f"  {TICKS}\n")
