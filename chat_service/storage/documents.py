"""Entries of a log as documents of MongoDB, and back.

`_id` is the 16 bytes of the conversation and the big-endian seq, so a log is one sequential range and two
writers cannot fork it. `c` conversation, `k` key of the append (unique with `c`), `h` fingerprint of what was
asked, `n` number of messages so far, `t` milliseconds since 1970, `y` kind (the number of its field in the
contract's Entry), then the change itself; `x` marks entries that an owner that loads the conversation applies to
what is beside the log: 1 where they concern an earlier message, 2 where they concern the conversation; `g` is the
seq of the message that an entry changes.

A message shows its present state: `b` content (absent: deleted, or no longer kept), `w` its words, `o` where it stands
among all that searches find, `e` seq of its last edit, `d` seq of its deletion, `r` reactions: by user, what and by
which entry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from chat_service.storage.mongo import Document

ExtractWords = Callable[[bytes], list[str]]

MESSAGE: Final = 10
EDITED: Final = 11
DELETED: Final = 12
REACTION: Final = 13
MEMBERSHIP: Final = 14
UPDATED: Final = 15
# Messages of one millisecond are told apart by so many bits of their seq.
RANK_BITS: Final = 21


def entry_id(conversation_id: str, seq: int) -> Binary:
    """The `_id` of an entry: 24 bytes that sort by conversation, then by seq."""
    return Binary(bytes.fromhex(conversation_id) + seq.to_bytes(8, "big"))


def seq_of(document: Document) -> int:
    """The seq of an entry's document."""
    return int.from_bytes(document["_id"][16:], "big")


def rank_of(entry: Entry) -> int:
    """Where a message stands among those of all conversations: later ones have more, two of one conversation differ."""
    return entry.time_ms << RANK_BITS | entry.seq & ((1 << RANK_BITS) - 1)


def encode_entry(entry: Entry, extract_words: ExtractWords | None = None) -> Document:
    """An entry as it is first written; `words_of` tells the words of a content, where messages are to be found."""
    document: Document = {
        "_id": entry_id(entry.conversation_id, entry.seq),
        "c": encode_id(entry.conversation_id),
        "k": Binary(entry.key),
        "h": Binary(entry.fingerprint),
        "n": entry.message_number,
        "t": entry.time_ms,
        **_change_fields(entry.change),
    }
    if extract_words is not None and isinstance(entry.change, Message):
        # Also of one without words: an edit may bring some.
        document |= {"o": rank_of(entry), **encode_words(extract_words(entry.change.content))}
    return document


def encode_words(words: list[str]) -> Document:
    """The words of a message as they are kept; those without any stay out of the index."""
    return {"w": words} if words else {}


def _change_fields(change: Change) -> Document:
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
    return {"y": UPDATED, "x": 2, **_update_fields(change)}


def _update_fields(change: ConversationUpdated) -> Document:
    said: Document = {
        "title": change.title,
        "picture": change.picture_media_id,
        "admins_only": change.admins_only_send,
        "retention": encode_retention(change.retention) if change.retention else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def encode_retention(retention: Retention) -> Document:
    """A retention as it is kept."""
    return {"rule": int(retention.rule), "max_age_s": retention.max_age_s}


def decode_retention(fields: Document | None) -> Retention:
    """A retention that was kept; the default if none was."""
    return Retention(RetentionRule(fields["rule"]), fields["max_age_s"]) if fields else Retention()


def decode_entry(document: Document) -> Entry:
    """The entry of a document."""
    key = bytes(document["k"])
    return Entry(
        conversation_id=document["c"].hex(),
        seq=seq_of(document),
        message_number=document["n"],
        time_ms=document["t"],
        actor_id=key[:16].hex(),
        request_id=key[16:],
        change=_CHANGES[document["y"]](document),
        fingerprint=bytes(document["h"]),
    )


def _message(document: Document) -> Message:
    content, deleted = bytes(document.get("b", b"")), document.get("d", 0)
    if "e" not in document and "r" not in document and not deleted:
        return Message(content)
    # One that was late to the deletion shows no more than the others.
    said = {} if deleted else document.get("r", {})
    reactions = {user: Reaction(each["e"], each["s"]) for user, each in said.items() if each["e"]}
    return Message(content, document.get("e", 0), deleted, reactions)


def _membership(document: Document) -> MembershipChanged:
    members = tuple((user.hex(), Role(role)) for user, role in document["u"])
    return MembershipChanged(MembershipKind(document["m"]), members)


def _updated(document: Document) -> ConversationUpdated:
    retention = document.get("retention")
    return ConversationUpdated(
        document.get("title"),
        document.get("picture"),
        document.get("admins_only"),
        decode_retention(retention) if retention else None,
    )


_CHANGES: Final[dict[int, Any]] = {
    MESSAGE: _message,
    EDITED: lambda document: MessageEdited(document["g"], bytes(document.get("b", b""))),
    DELETED: lambda document: MessageDeleted(document["g"]),
    REACTION: lambda document: ReactionChanged(document["g"], document["emoji"]),
    MEMBERSHIP: _membership,
    UPDATED: _updated,
}


def encode_id(identifier: str) -> Binary:
    """An id as it is kept."""
    return Binary(bytes.fromhex(identifier))


# Of two places so near to each other, what is between is read as well rather than each alone.
MAX_GAP: Final = 32


def coalesce_ranges(seqs: Collection[int]) -> list[Interval]:
    """Ranges that cover these seqs, in order."""
    found: list[Interval] = []
    for seq in sorted(seqs):
        if found and seq - found[-1].last <= MAX_GAP:
            found[-1] = Interval(found[-1].first, seq)
        else:
            found.append(Interval(seq, seq))
    return found
