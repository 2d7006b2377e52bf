"""The events of the queue and the jobs that are sent again, as bytes."""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from notify_service.model.events import (
    AddedToGroup,
    Change,
    ContentKind,
    NewMessage,
    NewReaction,
    NotifyingEntry,
    PushEvent,
    PushJob,
    QueuedEntries,
    QueuedRead,
)
from parley.chat.v1 import entry_pb2
from parley.internal.v1 import notify_pb2
from parley.media.v1 import media_pb2
from servicekit.failure import Failure
from servicekit.validation import check

MessageT = TypeVar("MessageT", bound=Message)

_MEDIA_KINDS: Final = {
    media_pb2.MEDIA_KIND_IMAGE: ContentKind.IMAGE,
    media_pb2.MEDIA_KIND_VIDEO: ContentKind.VIDEO,
    media_pb2.MEDIA_KIND_AUDIO: ContentKind.AUDIO,
}
_ADDING: Final = (
    entry_pb2.MembershipChanged.KIND_CREATED,
    entry_pb2.MembershipChanged.KIND_ADDED,
)
_DELETED: Final = "message_deleted"


def decode_event(payload: bytes) -> PushEvent:
    """Return the event of the queue. Raise ValueError if the bytes are none."""
    return _decode_push(_parse(notify_pb2.QueuedPush, payload))


def decode_job(payload: bytes) -> PushJob:
    """Return a job. Raise ValueError if the bytes are none."""
    job = _parse(notify_pb2.PushJob, payload)
    first_ms = job.first_attempt_time.ToMilliseconds()
    return PushJob(_decode_push(job.push), job.user_id, job.device_id, job.attempts, first_ms)


def encode_job(job: PushJob) -> bytes:
    """Return a job as bytes: the same for equal jobs."""
    encoded = notify_pb2.PushJob(
        push=_encode_push(job.event), user_id=job.user_id, device_id=job.device_id, attempts=job.attempts
    )
    encoded.first_attempt_time.FromMilliseconds(job.first_attempt_ms)
    return encoded.SerializeToString(deterministic=True)


def _encode_push(event: PushEvent) -> notify_pb2.QueuedPush:
    """Return the event of a job as chat queues it. Nothing that it deletes is in a job."""
    push = notify_pb2.QueuedPush(queue_time=_timestamp(event.queued_ms))
    match event:
        case QueuedEntries():
            push.entries.conversation_id = event.conversation_id
            push.entries.user_ids.extend(event.user_ids)
            push.entries.entries.extend(entry_pb2.Entry.FromString(each.source) for each in event.entries)
        case QueuedRead():
            push.read.user_id, push.read.conversation_id = event.user_id, event.conversation_id
            push.read.read_seq = event.read_seq
    return push


def _decode_push(push: notify_pb2.QueuedPush) -> PushEvent:
    queued_ms = push.queue_time.ToMilliseconds()
    match push.WhichOneof("event"):
        case "entries":
            queued = push.entries
            found = (_decode_entry(each) for each in queued.entries)
            entries = tuple(each for each in found if each is not None)
            deleted = tuple(each.message_deleted.target_seq for each in queued.entries if each.HasField(_DELETED))
            user_ids = tuple(dict.fromkeys(queued.user_ids))
            return QueuedEntries(queued.conversation_id, entries, user_ids, queued_ms, deleted)
        case "read":
            return QueuedRead(push.read.user_id, push.read.conversation_id, push.read.read_seq, queued_ms)
        case _:
            raise ValueError("the event is empty, or of a kind that this version does not know")


def _decode_entry(entry: entry_pb2.Entry) -> NotifyingEntry | None:
    """Return an entry, None if it notifies nobody."""
    change = _decode_change(entry)
    if change is None:
        return None
    return NotifyingEntry(entry.seq, entry.actor_id, change, entry.SerializeToString())


def _decode_change(entry: entry_pb2.Entry) -> Change | None:
    match entry.WhichOneof("kind"):
        case "message_appended" if entry.message_appended.HasField("content"):
            return _decode_content(entry.message_appended.content)
        case "reaction_changed" if entry.reaction_changed.emoji:
            return NewReaction(entry.reaction_changed.target_seq, entry.reaction_changed.emoji)
        case "membership_changed" if entry.membership_changed.kind in _ADDING:
            return AddedToGroup(frozenset(each.user_id for each in entry.membership_changed.members))
        case _:
            return None


def _decode_content(content: entry_pb2.Content) -> NewMessage:
    reply = content.reply_to_seq
    match content.WhichOneof("body"):
        case "text":
            mentions = frozenset(each.user_id for each in content.text.mentions)
            return NewMessage(ContentKind.TEXT, content.text.body, mentions, reply)
        case "media":
            kind = _MEDIA_KINDS.get(content.media.kind, ContentKind.FILE)
            name = content.media.caption or (content.media.file_name if kind is ContentKind.FILE else "")
            return NewMessage(kind, name, reply_to_seq=reply)
        case "location":
            return NewMessage(ContentKind.LOCATION, content.location.name, reply_to_seq=reply)
        case "contact_card":
            return NewMessage(ContentKind.CONTACT, content.contact_card.display_name, reply_to_seq=reply)
        case _:
            return NewMessage(ContentKind.OPAQUE, reply_to_seq=reply)


def _parse(kind: type[MessageT], payload: bytes) -> MessageT:
    try:
        message = kind.FromString(payload)
        check(message)
    except (DecodeError, Failure) as error:
        raise ValueError(f"the bytes are not a valid {kind.DESCRIPTOR.name}") from error
    return message


def _timestamp(ms: int) -> Timestamp:
    time = Timestamp()
    time.FromMilliseconds(ms)
    return time
