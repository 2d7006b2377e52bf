"""Constructors of message contents: texts with mentions, files, locations, contacts, payloads, replies, forwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.media.facts import Media

# Thai, Lao, Myanmar, Hangul, Khmer, Kana, Han: a name may stand between letters, because spaces do not separate words.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U000323af"
)
_WORD: Final = rf"(?:(?![{_UNSPACED}])\w)"
_ACCENTS: Final = "\u0300-\u036f"


def as_content(content: str | Content, reply_to_seq: int = 0) -> Content:
    """Return content as it is, and a str as a text. `reply_to_seq` is the message it replies to; 0: none."""
    converted = text(content) if isinstance(content, str) else content
    return reply(converted, reply_to_seq) if reply_to_seq else converted


def text(body: str, mentions: Mapping[str, str] | None = None) -> Content:
    """Return a text of at most 16 KiB. `mentions` maps a name ("@bob") to a user id.

    Every occurrence that is no part of a longer word is marked: not the "@bob" of "@bobby" or "carol@bob.example".
    """
    content = Content(text=entry_pb2.Text(body=body))
    covered: set[int] = set()
    # Longest name first, so that "@bob smith" is not marked as "@bob".
    for name in sorted(filter(None, mentions or {}), key=len, reverse=True):
        for offset in _offsets(body, name):
            if covered.isdisjoint(range(offset, offset + len(name))):
                covered.update(range(offset, offset + len(name)))
                content.text.mentions.add(user_id=(mentions or {})[name], offset=offset, length=len(name))
    content.text.mentions.sort(key=lambda mention: mention.offset)
    return content


def media(file: Media | str, caption: str = "") -> Content:
    """Return a reference to an uploaded file, as `Files.upload` returns it or its id; the caption has up to 1 KiB."""
    media_id = file.media_id if isinstance(file, Media) else file
    return Content(media=entry_pb2.MediaReference(media_id=media_id, caption=caption))


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
    """Return the offsets of the name in the text where no word begins before it or continues behind it."""
    before = f"(?<!{_WORD})" if re.match(f"@|{_WORD}", name) else ""
    # A dot or hyphen may continue a name: the "@bob" of "@bob.example" is another one.
    after = f"(?![.-]?{_WORD})" if re.search(f"{_WORD}$", name) else ""
    return [match.start() for match in re.finditer(f"{before}{re.escape(name)}{after}(?![{_ACCENTS}])", body)]
