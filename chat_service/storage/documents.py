"""The encoding of log entries as documents of MongoDB.

`_id` is the 16 bytes of the conversation and the big-endian seq, so a log is one sequential range, and two writers
cannot fork it. `c` is the conversation, `k` the idempotency key (unique with `c`), `h` the fingerprint of the request,
`n` the number of messages up to the entry, `t` its time in milliseconds since 1970, and `y` its kind (the number of its
field in the contract's Entry). The fields of the change follow. `x` marks entries that an owner applies when it loads
the conversation: 1 if they change an earlier message, 2 if they change the conversation. `g` is the seq of the message
that an entry changes.

A message holds its present state: `b` is its content (absent if deleted or removed by retention), `w` its words, `o`
its rank for searches, `e` the seq of its last edit, `d` the seq of its deletion, and `r` its reactions by user, each
with emoji `e` and seq `s`.

`f` is the media that an entry refers to: that of the content `b` of a message or edit, and it is set and removed
together with `b`; or the picture that an update sets, until nobody is shown that picture any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from bson import Binary

from chat_service.model.conversation import Interval
from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageDeleted,
    MessageEdited,
    Reaction,
    ReactionChanged,
    Role,
)
from chat_service.model.retention import Retention, RetentionRule
from servicekit.mongo import Document

ExtractWords = Callable[[bytes], list[str]]
ExtractMedia = Callable[[bytes], str]

MESSAGE: Final = 10
EDITED: Final = 11
DELETED: Final = 12
REACTION: Final = 13
MEMBERSHIP: Final = 14
UPDATED: Final = 15
# The lowest bits of a rank are those of the seq: they order messages of the same millisecond.
RANK_BITS: Final = 21


def entry_id(conversation_id: str, seq: int) -> Binary:
    """Return the `_id` of an entry: 24 bytes that sort by conversation, then by seq."""
    return Binary(bytes.fromhex(conversation_id) + seq.to_bytes(8, "big"))


def one_entry(conversation_id: str, seq: int) -> Document:
    """Return the condition for one entry, with the shard key."""
    return {"c": encode_id(conversation_id), "_id": entry_id(conversation_id, seq)}


def entry_range(conversation_id: str, first: int, last: int) -> Document:
    """Return the condition for the entries from seq `first` to `last`, with the shard key."""
    return {"c": encode_id(conversation_id), "_id": id_range(conversation_id, first, last)}


def id_range(conversation_id: str, first: int, last: int) -> Document:
    """Return a condition on `_id` for the entries from seq `first` to `last`."""
    return {"$gte": entry_id(conversation_id, first), "$lte": entry_id(conversation_id, last)}


def seq_of(document: Document) -> int:
    """Return the seq of an entry's document."""
    return int.from_bytes(document["_id"][16:], "big")


def rank_of(entry: Entry) -> int:
    """Return the rank of a message: it grows with the time and is unique within the conversation."""
    return entry.time_ms << RANK_BITS | entry.seq & ((1 << RANK_BITS) - 1)


@dataclass(frozen=True, slots=True)
class ContentFields:
    """The fields that are derived from a content: its words, and the media that it refers to.

    `extract_words` returns the words of a content, `extract_media` the id of its media or an empty string. Without a
    function its field is not stored.
    """

    extract_words: ExtractWords | None = None
    extract_media: ExtractMedia | None = None

    def encode(self, content: bytes) -> Document:
        """Return the fields of a message; a field without a value is absent, which keeps it out of its index."""
        words = self.extract_words(content) if self.extract_words is not None else []
        return ({"w": words} if words else {}) | self.encode_media(content)

    def encode_media(self, content: bytes) -> Document:
        """Return the field of an edit."""
        media_id = self.extract_media(content) if self.extract_media is not None else ""
        return {"f": encode_id(media_id)} if media_id else {}


NO_CONTENT_FIELDS: Final = ContentFields()


def encode_entry(entry: Entry, fields: ContentFields = NO_CONTENT_FIELDS) -> Document:
    """Return the document of a new entry. If words are extracted, a message also gets its rank."""
    document: Document = {
        "_id": entry_id(entry.conversation_id, entry.seq),
        "c": encode_id(entry.conversation_id),
        "k": Binary(entry.key),
        "h": Binary(entry.fingerprint),
        "n": entry.message_number,
        "t": entry.time_ms,
        **_encode_change(entry.change),
    }
    if isinstance(entry.change, Message):
        document |= fields.encode(entry.change.content)
        if fields.extract_words is not None:
            # Set the rank of a message without words too: an edit may add words.
            document["o"] = rank_of(entry)
    elif isinstance(entry.change, MessageEdited):
        document |= fields.encode_media(entry.change.content)
    return document


def _encode_change(change: Change) -> Document:
    if isinstance(change, Message):
        return {"y": MESSAGE, "b": Binary(change.content)}
    if isinstance(change, MessageEdited):
        return {"y": EDITED, "x": 1, "g": change.target_seq, "b": Binary(change.content)}
    if isinstance(change, MessageDeleted):
        return {"y": DELETED, "x": 1, "g": change.target_seq}
    if isinstance(change, ReactionChanged):
        return {"y": REACTION, "x": 1, "g": change.target_seq, "emoji": change.emoji}
    if isinstance(change, MembershipChanged):
        members = [[encode_id(user), int(role)] for user, role in change.members]
        return {"y": MEMBERSHIP, "x": 2, "m": int(change.kind), "u": members}
    return {"y": UPDATED, "x": 2, **_encode_update(change)}


def _encode_update(change: ConversationUpdated) -> Document:
    fields: Document = {
        "title": change.title,
        "picture": change.picture_media_id,
        "f": encode_id(change.picture_media_id) if change.picture_media_id else None,
        "admins_only": change.admins_only_send,
        "retention": encode_retention(change.retention) if change.retention else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def encode_retention(retention: Retention) -> Document:
    """Return the fields of a retention."""
    return {"rule": int(retention.rule), "max_age_s": retention.max_age_s}


def decode_retention(fields: Document | None) -> Retention:
    """Return the retention of these fields; the default for None."""
    return Retention(RetentionRule(fields["rule"]), fields["max_age_s"]) if fields else Retention()


def decode_entry(document: Document) -> Entry:
    """Return the entry that a document holds."""
    key = bytes(document["k"])
    return Entry(
        conversation_id=document["c"].hex(),
        seq=seq_of(document),
        message_number=document["n"],
        time_ms=document["t"],
        actor_id=key[:16].hex(),
        request_id=key[16:],
        change=_DECODERS[document["y"]](document),
        fingerprint=bytes(document["h"]),
    )


def _decode_message(document: Document) -> Message:
    content, deleted = bytes(document.get("b", b"")), document.get("d", 0)
    if "e" not in document and "r" not in document and not deleted:
        return Message(content)
    # A reaction may have been written after the deletion; it is not shown.
    stored = {} if deleted else document.get("r", {})
    reactions = {user: Reaction(each["e"], each["s"]) for user, each in stored.items() if each["e"]}
    return Message(content, document.get("e", 0), deleted, reactions)


def _decode_membership(document: Document) -> MembershipChanged:
    members = tuple((user.hex(), Role(role)) for user, role in document["u"])
    return MembershipChanged(MembershipKind(document["m"]), members)


def _decode_update(document: Document) -> ConversationUpdated:
    retention = document.get("retention")
    return ConversationUpdated(
        document.get("title"),
        document.get("picture"),
        document.get("admins_only"),
        decode_retention(retention) if retention else None,
    )


_DECODERS: Final[dict[int, Any]] = {
    MESSAGE: _decode_message,
    EDITED: lambda document: MessageEdited(document["g"], bytes(document.get("b", b""))),
    DELETED: lambda document: MessageDeleted(document["g"]),
    REACTION: lambda document: ReactionChanged(document["g"], document["emoji"]),
    MEMBERSHIP: _decode_membership,
    UPDATED: _decode_update,
}


def encode_id(identifier: str) -> Binary:
    """Return the bytes of a hexadecimal id."""
    return Binary(bytes.fromhex(identifier))


# Seqs at most this far apart are read as one range, with the entries between them.
MAX_GAP: Final = 32


def coalesce_ranges(seqs: Collection[int]) -> list[Interval]:
    """Return ranges that cover these seqs, in order; seqs at most MAX_GAP apart share a range."""
    ranges: list[Interval] = []
    for seq in sorted(seqs):
        if ranges and seq - ranges[-1].last <= MAX_GAP:
            ranges[-1] = Interval(ranges[-1].first, seq)
        else:
            ranges.append(Interval(seq, seq))
    return ranges
