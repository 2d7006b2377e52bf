"""The contents of messages: checked beyond the rules of the protos, serialised, and their references."""

from __future__ import annotations

from collections.abc import Collection

from chat_service.limits import Limits
from chat_service.model.entry import NO_REFERENCES, References
from parley.chat.v1 import entry_pb2
from servicekit.errors import ContentTooLarge, Invalid
from servicekit.failure import Violation


def encode_content(content: entry_pb2.Content, limits: Limits, path: str = "content") -> bytes:
    """Return the serialised Content to store and deliver. Raise ContentTooLarge, and Invalid for mentions.

    `path` is the path of the content in the request, for the violations of Invalid.
    """
    # The limits do not bound fields that this version does not know, so they are dropped.
    content.DiscardUnknownFields()
    _check_size(content, limits)
    if content.text.mentions:
        _check_mentions(content.text, path)
    if content.HasField("media"):
        _drop_facts(content.media)
    return content.SerializeToString(deterministic=True)


def decode_references(content: entry_pb2.Content) -> References:
    """Return the message, the users and the file that a content refers to."""
    if not content.reply_to_seq and not content.text.mentions and not content.media.media_id:
        return NO_REFERENCES
    mentioned_ids = frozenset(mention.user_id for mention in content.text.mentions)
    return References(content.reply_to_seq, mentioned_ids, content.media.media_id)


def retain_mentions(content: bytes, user_ids: Collection[str]) -> bytes:
    """Return a serialised Content with the mentions of these users only."""
    changed = entry_pb2.Content.FromString(content)
    retained = [mention for mention in changed.text.mentions if mention.user_id in user_ids]
    del changed.text.mentions[:]
    changed.text.mentions.extend(retained)
    return changed.SerializeToString(deterministic=True)


def _check_size(content: entry_pb2.Content, limits: Limits) -> None:
    kind = content.WhichOneof("body")
    if kind == "text":
        size, max_bytes = len(content.text.body.encode()), limits.text_bytes
    elif kind == "custom":
        size, max_bytes = len(content.custom.payload), limits.custom_payload_bytes
    else:
        return
    if size > max_bytes:
        raise ContentTooLarge(f"{kind} has at most {max_bytes} bytes, this one has {size}")


def _drop_facts(reference: entry_pb2.MediaReference) -> None:
    """Remove what the server fills in: a client could claim that a file is what it is not."""
    reference.CopyFrom(entry_pb2.MediaReference(media_id=reference.media_id, caption=reference.caption))


def _check_mentions(text: entry_pb2.Text, path: str) -> None:
    """Raise Invalid if a mention exceeds the text, or begins within another one."""
    end, length = 0, len(text.body)
    for index, mention in sorted(enumerate(text.mentions), key=lambda each: each[1].offset):
        if mention.offset + mention.length > length:
            raise _mention_invalid(path, index, f"must end within the text, which has {length} code points")
        if mention.offset < end:
            raise _mention_invalid(path, index, "must not overlap another mention")
        end = mention.offset + mention.length


def _mention_invalid(path: str, index: int, description: str) -> Invalid:
    field = f"{path}.text.mentions[{index}]"
    return Invalid(f"{field}: {description}", violations=(Violation(field, description),))
