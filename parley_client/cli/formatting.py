"""Log entries and message contents formatted for a terminal."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING

from rich.text import Text

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client.cli.media_text import describe_media
from parley_client.cli.text import one_cell, printable
from parley_client.media.facts import Media

if TYPE_CHECKING:
    from parley_client.cli.directory import UserDirectory

# These colours are readable on light and on dark backgrounds.
_COLOURS = ("cyan", "magenta", "green", "blue", "red", "bright_magenta")

# Continuation lines of a message start below its sender's name, after the time.
_MARGIN = " " * len("00:00 ")


def user_colour(user_id: str) -> str:
    """Return the colour of a user, which is the same in every run."""
    return _COLOURS[zlib.crc32(user_id.encode()) % len(_COLOURS)]


def describe_content(content: Content) -> str:
    """Return a content as text; bodies other than text become a short description."""
    kind = content.WhichOneof("body")
    if kind == "text":
        return content.text.body
    if kind == "media":
        return f"[{describe_media(Media.from_reference(content.media))}] {content.media.caption}".rstrip()
    if kind == "location":
        return f"[{content.location.latitude:.4f}, {content.location.longitude:.4f}] {content.location.name}"
    if kind == "contact_card":
        return f"[contact {content.contact_card.display_name}]"
    return f"[{content.custom.content_type}]" if kind == "custom" else "(deleted)"


def summarize_reactions(reactions: Iterable[str]) -> str:
    """Return the distinct reactions, most frequent first, each with its count if that is above 1."""
    return "  ".join(f"{emoji} {count}" if count > 1 else emoji for emoji, count in Counter(reactions).most_common())


async def format_entry(entry: Entry, directory: UserDirectory) -> Text:
    """Return an entry as a line: time, name, text."""
    name = one_cell(await directory.display_name(entry.actor_id))
    time = entry.create_time.ToDatetime(tzinfo=UTC).astimezone()
    text = Text(f"{time:%H:%M} ", style="dim")
    if entry.HasField("message_appended"):
        text.append(name, style=f"bold {user_colour(entry.actor_id)}")
        body = printable(describe_content(entry.message_appended.content))
        text.append("  " + body.replace("\n", f"\n{_MARGIN}"), style="default")
        if entry.message_appended.edit_seq and not entry.message_appended.delete_seq:
            text.append(" (edited)", style="dim")
        if reactions := summarize_reactions(one_cell(reaction.emoji) for reaction in entry.message_appended.reactions):
            text.append(f"  {reactions}", style="dim")
        return text
    return text.append(f"— {name} {one_cell(await _describe_event(entry, directory))}", style="dim")


async def _describe_event(entry: Entry, directory: UserDirectory) -> str:
    kind = entry.WhichOneof("kind")
    if kind == "message_edited":
        return f"edited a message: {describe_content(entry.message_edited.content)}"
    if kind == "message_deleted":
        return "deleted a message"
    if kind == "reaction_changed":
        return f"reacted {entry.reaction_changed.emoji}" if entry.reaction_changed.emoji else "removed a reaction"
    if kind == "membership_changed":
        return await _describe_membership_change(entry.membership_changed, directory)
    if entry.conversation_updated.HasField("title"):
        return f"renamed the group to “{entry.conversation_updated.title}”"
    return "changed the settings"


async def _describe_membership_change(changed: entry_pb2.MembershipChanged, directory: UserDirectory) -> str:
    names = ", ".join([await directory.display_name(member.user_id) for member in changed.members])
    descriptions = {
        entry_pb2.MembershipChanged.KIND_CREATED: "started this conversation",
        entry_pb2.MembershipChanged.KIND_ADDED: f"added {names}",
        entry_pb2.MembershipChanged.KIND_REMOVED: f"removed {names}",
        entry_pb2.MembershipChanged.KIND_LEFT: "left",
        entry_pb2.MembershipChanged.KIND_ROLE_CHANGED: f"changed the role of {names}",
    }
    return descriptions.get(changed.kind, "changed the members")
