"""The help text of the messenger's keys."""

from __future__ import annotations

from rich.text import Text

KEYS = [
    (
        "Anywhere",
        [
            ("F1", "show this help (also ? outside the composer)"),
            ("Tab, Shift+Tab", "go to conversations, messages, composer"),
            ("Ctrl+↑, Ctrl+↓", "open the conversation above, below"),
            ("Ctrl+N", "start a conversation"),
            ("Ctrl+G", "create a group"),
            ("Ctrl+F", "search messages"),
            ("Ctrl+O", "open the conversation's menu: members, pin, mute, archive …"),
            ("Ctrl+R", "switch between archived and other conversations"),
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
            ("f  i", "forward, show who read it"),
            ("Esc, ↓ below the last", "go back to the composer"),
        ],
    ),
]
TICKS = "… being sent   ✓ sent   ✓✓ delivered   green ✓✓ read by all   ✗ refused"


def help_text() -> Text:
    """Return all keys and ticks, grouped by where they apply."""
    text = Text()
    for section, keys in KEYS:
        text.append(f"{section}\n", style="bold")
        for key, description in keys:
            text.append(f"  {key:<22}", style="cyan").append(f"{description}\n")
    return text.append("Ticks\n", style="bold").append(f"  {TICKS}\n")
