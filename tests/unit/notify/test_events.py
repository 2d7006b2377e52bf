"""Events as chat queues them, and jobs, as bytes."""

from __future__ import annotations

from typing import Any

import pytest

from notify_service.model.events import (
    AddedToGroup,
    ContentKind,
    NewMessage,
    NewReaction,
    PushJob,
    QueuedEntries,
    QueuedRead,
)
from notify_service.wire.events import decode_event, decode_job, encode_job
from parley.chat.v1 import entry_pb2
from parley.internal.v1 import notify_pb2
from parley.media.v1 import media_pb2

ALICE, BOB, CHAT = "a" * 32, "b" * 32, "c" * 32
Changed = entry_pb2.MembershipChanged


def entry(seq: int = 5, **kind: Any) -> entry_pb2.Entry:
    return entry_pb2.Entry(conversation_id=CHAT, seq=seq, actor_id=ALICE, **kind)


def message(**content: Any) -> entry_pb2.Entry:
    return entry(message_appended=entry_pb2.MessageAppended(content=entry_pb2.Content(**content)))


def event(*entries: entry_pb2.Entry, users: tuple[str, ...] = (BOB,)) -> bytes:
    push = notify_pb2.QueuedPush(
        entries=notify_pb2.QueuedEntries(conversation_id=CHAT, entries=entries, user_ids=users)
    )
    push.queue_time.FromMilliseconds(7)
    return push.SerializeToString()


def decoded(*entries: entry_pb2.Entry) -> QueuedEntries:
    found = decode_event(event(*entries))
    assert isinstance(found, QueuedEntries)
    return found


MEDIA = entry_pb2.MediaReference(media_id="d" * 32, file_name="cat.jpg")


def media(kind: media_pb2.MediaKind.ValueType, caption: str = "") -> entry_pb2.Entry:
    reference = entry_pb2.MediaReference(media_id="d" * 32, file_name="name", kind=kind, caption=caption)
    return message(media=reference)


@pytest.mark.parametrize(
    ("found", "change"),
    [
        (
            message(
                text=entry_pb2.Text(body="hi", mentions=[entry_pb2.Mention(user_id=BOB, length=1)]), reply_to_seq=3
            ),
            NewMessage(ContentKind.TEXT, "hi", frozenset({BOB}), 3),
        ),
        (media(media_pb2.MEDIA_KIND_IMAGE), NewMessage(ContentKind.IMAGE)),
        (media(media_pb2.MEDIA_KIND_VIDEO, "look"), NewMessage(ContentKind.VIDEO, "look")),
        (media(media_pb2.MEDIA_KIND_AUDIO), NewMessage(ContentKind.AUDIO)),
        (media(media_pb2.MEDIA_KIND_FILE), NewMessage(ContentKind.FILE, "name")),
        (media(media_pb2.MEDIA_KIND_UNSPECIFIED), NewMessage(ContentKind.FILE, "name")),
        (message(location=entry_pb2.Location(name="here")), NewMessage(ContentKind.LOCATION, "here")),
        (message(contact_card=entry_pb2.ContactCard(display_name="Eve")), NewMessage(ContentKind.CONTACT, "Eve")),
        (
            message(custom=entry_pb2.CustomPayload(content_type="x/y", payload=b"secret")),
            NewMessage(ContentKind.OPAQUE),
        ),
        (entry(reaction_changed=entry_pb2.ReactionChanged(target_seq=3, emoji="👍")), NewReaction(3, "👍")),
        (
            entry(membership_changed=Changed(kind=Changed.KIND_ADDED, members=[entry_pb2.Member(user_id=BOB)])),
            AddedToGroup(frozenset({BOB})),
        ),
        (
            entry(membership_changed=Changed(kind=Changed.KIND_CREATED, members=[entry_pb2.Member(user_id=BOB)])),
            AddedToGroup(frozenset({BOB})),
        ),
    ],
)
def test_entry_that_notifies_is_decoded(found: entry_pb2.Entry, change: object) -> None:
    [one] = decoded(found).entries
    assert (one.seq, one.author_id, one.change) == (5, ALICE, change)


@pytest.mark.parametrize(
    "quiet",
    [
        entry(message_appended=entry_pb2.MessageAppended(delete_seq=9)),
        entry(message_edited=entry_pb2.MessageEdited(target_seq=3)),
        entry(message_deleted=entry_pb2.MessageDeleted(target_seq=3)),
        entry(reaction_changed=entry_pb2.ReactionChanged(target_seq=3)),
        entry(membership_changed=Changed(kind=Changed.KIND_REMOVED)),
        entry(membership_changed=Changed(kind=Changed.KIND_LEFT)),
        entry(conversation_updated=entry_pb2.ConversationUpdated(title="new")),
        entry(),
    ],
)
def test_entry_that_notifies_nobody_is_left_out(quiet: entry_pb2.Entry) -> None:
    assert decoded(quiet).entries == ()


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b"", notify_pb2.QueuedPush(read=notify_pb2.QueuedRead(user_id="x", read_seq=1)).SerializeToString()],
)
def test_bytes_that_are_no_event_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a valid QueuedPush|is empty"):
        decode_event(payload)


def test_entries_may_be_joined_as_bytes() -> None:
    # A home has entries as bytes: a repeated message is its bytes, each behind its tag and length.
    entries = [message(text=entry_pb2.Text(body=body)) for body in ("one", "two")]
    joined = b"".join(b"\x12" + bytes([each.ByteSize()]) + each.SerializeToString() for each in entries)
    queued = notify_pb2.QueuedEntries.FromString(b"\x0a\x20" + CHAT.encode() + joined)
    assert list(queued.entries) == entries


def test_deleted_messages_are_those_of_the_event_alone() -> None:
    deletion = entry(6, message_deleted=entry_pb2.MessageDeleted(target_seq=4))
    event_ = decoded(message(text=entry_pb2.Text(body="hi")), deletion)
    assert event_.deleted_seqs == (4,)
    assert event_.only(event_.entries[0], BOB).deleted_seqs == ()


def test_job_survives_the_way_through_the_store() -> None:
    entries = decoded(message(text=entry_pb2.Text(body="hi")))
    read = QueuedRead(BOB, CHAT, 9, 7)
    for each in (entries.only(entries.entries[0], BOB), read):
        job = PushJob(each, BOB, "d" * 32, 3, 11)
        assert decode_job(encode_job(job)) == job
        assert encode_job(decode_job(encode_job(job))) == encode_job(job)
