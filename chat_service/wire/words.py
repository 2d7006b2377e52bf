"""The words of a content, by which its message is found."""

from __future__ import annotations

from chat_service.model import words
from parley.chat.v1 import entry_pb2


def words_of(content: bytes) -> list[str]:
    """The distinct words of a serialised Content: those of a text, a caption, the name of a place or of somebody."""
    return words.extract_words(_text(entry_pb2.Content.FromString(content)))


def _text(content: entry_pb2.Content) -> str:
    kind = content.WhichOneof("body")
    if kind == "text":
        return content.text.body
    if kind == "media":
        return content.media.caption
    if kind == "location":
        return content.location.name
    return content.contact_card.display_name if kind == "contact_card" else ""
