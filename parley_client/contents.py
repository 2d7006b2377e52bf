"""Constructors of message contents: texts with mentions, locations, contacts, custom payloads, replies, forwards."""

from __future__ import annotations

from collections.abc import Mapping

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content


def as_content(content: str | Content, reply_to_seq: int = 0) -> Content:
    """Return content as it is, and a str as a text. `reply_to_seq` is the message it replies to; 0: none."""
    converted = text(content) if isinstance(content, str) else content
    return reply(converted, reply_to_seq) if reply_to_seq else converted


def text(body: str, mentions: Mapping[str, str] | None = None) -> Content:
    """Return a text of at most 16 KiB. `mentions` maps a name ("@bob") to a user id; every occurrence is marked."""
    content = Content(text=entry_pb2.Text(body=body))
    covered: set[int] = set()
    # Longest name first, so that "@bobby" is not marked as "@bob".
    for name in sorted(filter(None, mentions or {}), key=len, reverse=True):
        for offset in _offsets(body, name):
            if covered.isdisjoint(range(offset, offset + len(name))):
                covered.update(range(offset, offset + len(name)))
                content.text.mentions.add(user_id=(mentions or {})[name], offset=offset, length=len(name))
    content.text.mentions.sort(key=lambda mention: mention.offset)
    return content


def location(latitude: float, longitude: float, name: str = "") -> Content:
    """Return a location, in degrees north and east (WGS 84)."""
    return Content(location=entry_pb2.Location(latitude=latitude, longitude=longitude, name=name))


def contact(display_name: str, *, user_id: str = "", vcard: str = "") -> Content:
    """Return a contact card: the display name, the user id if the contact has an account, a vCard 4.0 up to 4 KiB."""
    return Content(contact_card=entry_pb2.ContactCard(display_name=display_name, user_id=user_id, vcard=vcard))


def custom(content_type: str, payload: bytes) -> Content:
    """Return a payload of the application, at most 64 KiB; `content_type` is a media type."""
    return Content(custom=entry_pb2.CustomPayload(content_type=content_type, payload=payload))


def reply(content: Content, to_seq: int) -> Content:
    """Return a copy of `content` as a reply to the message `to_seq` of the same conversation."""
    copy = Content()
    copy.CopyFrom(content)
    copy.reply_to_seq = to_seq
    return copy


def forwarded(content: Content) -> Content:
    """Return a forwarded copy of `content`, without its reply reference and its mentions."""
    copy = Content()
    copy.CopyFrom(content)
    copy.reply_to_seq, copy.forwarded = 0, True
    if copy.HasField("text"):
        copy.text.ClearField("mentions")
    return copy


def _offsets(body: str, name: str) -> list[int]:
    offsets, offset = [], body.find(name)
    while offset >= 0:
        offsets.append(offset)
        offset = body.find(name, offset + len(name))
    return offsets
