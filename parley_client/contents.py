"""What a message can say: words with mentions, places, contacts, an application's own bytes; answers; passed on."""

from __future__ import annotations

from collections.abc import Mapping

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content


def as_content(said: str | Content, reply_to_seq: int = 0) -> Content:
    """Words as content; content as it is. `reply_to_seq`: the message of the conversation it answers; 0: none."""
    content = text(said) if isinstance(said, str) else said
    return reply(content, reply_to_seq) if reply_to_seq else content


def text(body: str, mentions: Mapping[str, str] | None = None) -> Content:
    """Words, at most 16 KiB. `mentions` has the user's id for each name ("@bob") that is marked wherever it occurs."""
    content = Content(text=entry_pb2.Text(body=body))
    taken: set[int] = set()
    # The longest first, so that "@bobby" is not taken for "@bob".
    for name in sorted(filter(None, mentions or {}), key=len, reverse=True):
        for offset in _places(body, name):
            if taken.isdisjoint(range(offset, offset + len(name))):
                taken.update(range(offset, offset + len(name)))
                content.text.mentions.add(user_id=(mentions or {})[name], offset=offset, length=len(name))
    content.text.mentions.sort(key=lambda mention: mention.offset)
    return content


def location(latitude: float, longitude: float, name: str = "") -> Content:
    """A place on Earth, in degrees north and east (WGS 84)."""
    return Content(location=entry_pb2.Location(latitude=latitude, longitude=longitude, name=name))


def contact(display_name: str, *, user_id: str = "", vcard: str = "") -> Content:
    """Somebody's address: the name to show, the user here if there is one, and a vCard 4.0 of at most 4 KiB."""
    return Content(contact_card=entry_pb2.ContactCard(display_name=display_name, user_id=user_id, vcard=vcard))


def custom(content_type: str, payload: bytes) -> Content:
    """An application's own bytes, at most 64 KiB; `content_type` is a media type."""
    return Content(custom=entry_pb2.CustomPayload(content_type=content_type, payload=payload))


def reply(content: Content, to_seq: int) -> Content:
    """The same as an answer to the message `to_seq` of the conversation it goes to."""
    answer = Content()
    answer.CopyFrom(content)
    answer.reply_to_seq = to_seq
    return answer


def forwarded(content: Content) -> Content:
    """The same as passed on: what it answered, and who was meant by name, stays where it came from."""
    passed = Content()
    passed.CopyFrom(content)
    passed.reply_to_seq, passed.forwarded = 0, True
    if passed.HasField("text"):
        passed.text.ClearField("mentions")
    return passed


def _places(body: str, name: str) -> list[int]:
    places, at = [], body.find(name)
    while at >= 0:
        places.append(at)
        at = body.find(name, at + len(name))
    return places
