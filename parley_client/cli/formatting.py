"""Entries as lines of a terminal."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC

from rich.text import Text

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client.cli.directory import UserDirectory

# Those that can be read on a light background and on a dark one.
_COLOURS = ("cyan", "magenta", "green", "blue", "red", "bright_magenta")


# Where the name begins, after the time; further lines of a message begin there too.
_MARGIN = " " * len("00:00 ")


def user_colour(user_id: str) -> str:
    """The colour of a user: always the same."""
    return _COLOURS[zlib.crc32(user_id.encode()) % len(_COLOURS)]


def printable(text: str) -> str:
    """What a user wrote, without the control characters that would steer the terminal."""
    return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())


def describe_content(content: Content) -> str:
    """What a content says, in one line."""
    kind = content.WhichOneof("body")
    if kind == "text":
        return content.text.body
    if kind == "media":
        return f"[media {content.media.media_id[:8]}] {content.media.caption}".rstrip()
    if kind == "location":
        return f"[{content.location.latitude:.4f}, {content.location.longitude:.4f}] {content.location.name}"
    if kind == "contact_card":
        return f"[contact {content.contact_card.display_name}]"
    return f"[{content.custom.content_type}]" if kind == "custom" else "(deleted)"


def summarize_reactions(reactions: Iterable[str]) -> str:
    """The reactions a message has, the most frequent first, each with how many gave it where these are several."""
    return "  ".join(f"{emoji} {count}" if count > 1 else emoji for emoji, count in Counter(reactions).most_common())


async def format_entry(entry: Entry, people: UserDirectory) -> Text:
    """An entry as a line: time, name, words."""
    name = printable(await people.display_name(entry.actor_id))
    time = entry.create_time.ToDatetime(tzinfo=UTC).astimezone()
    text = Text(f"{time:%H:%M} ", style="dim")
    if entry.HasField("message_appended"):
        text.append(name, style=f"bold {user_colour(entry.actor_id)}")
        said = printable(describe_content(entry.message_appended.content))
        text.append("  " + said.replace("\n", f"\n{_MARGIN}"), style="default")
        if entry.message_appended.edit_seq and not entry.message_appended.delete_seq:
            text.append(" (edited)", style="dim")
        if reacted := summarize_reactions(printable(each.emoji) for each in entry.message_appended.reactions):
            text.append(f"  {reacted}", style="dim")
        return text
    return text.append(f"— {name} {printable(await _describe_event(entry, people))}", style="dim")


async def _describe_event(entry: Entry, people: UserDirectory) -> str:
    kind = entry.WhichOneof("kind")
    if kind == "message_edited":
        return f"changed a message: {describe_content(entry.message_edited.content)}"
    if kind == "message_deleted":
        return "deleted a message"
    if kind == "reaction_changed":
        return f"reacted {entry.reaction_changed.emoji}" if entry.reaction_changed.emoji else "took a reaction back"
    if kind == "membership_changed":
        return await _describe_membership_change(entry.membership_changed, people)
    if entry.conversation_updated.HasField("title"):
        return f"called the group “{entry.conversation_updated.title}”"
    return "changed the settings"


async def _describe_membership_change(changed: entry_pb2.MembershipChanged, people: UserDirectory) -> str:
    names = ", ".join([await people.display_name(member.user_id) for member in changed.members])
    deeds = {
        entry_pb2.MembershipChanged.KIND_CREATED: "began this conversation",
        entry_pb2.MembershipChanged.KIND_ADDED: f"added {names}",
        entry_pb2.MembershipChanged.KIND_REMOVED: f"removed {names}",
        entry_pb2.MembershipChanged.KIND_LEFT: "left",
        entry_pb2.MembershipChanged.KIND_ROLE_CHANGED: f"changed what {names} may do",
    }
    return deeds.get(changed.kind, "changed the members")
