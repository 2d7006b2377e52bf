"""References to media on the wire: the facts of files, and the drafts that carry them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration

from chat_service.model.entry import Draft, Message, MessageEdited
from chat_service.model.media import ClaimOutcome, MediaFacts
from parley.chat.v1 import entry_pb2
from parley.internal.v1.media_pb2 import ClaimResponse
from parley.media.v1.media_pb2 import Media, MediaKind
from servicekit.failure import Failure
from servicekit.status import from_proto


def decode_claims(media_ids: Collection[str], response: ClaimResponse) -> dict[str, ClaimOutcome]:
    """Return the outcomes in a ClaimResponse, which has one for each of the `media_ids`, in their order."""
    return {
        media_id: decode_facts(file.media) if file.HasField("media") else from_proto(file.refused)
        for media_id, file in zip(media_ids, response.files, strict=True)
    }


def decode_facts(media: Media) -> MediaFacts:
    """Return the facts in a Media."""
    return MediaFacts(
        kind=media.kind,
        content_type=media.content_type,
        file_name=media.file_name,
        size_bytes=media.size_bytes,
        width=media.width,
        height=media.height,
        duration_ns=media.duration.ToNanoseconds() if media.HasField("duration") else None,
        thumbhash=media.thumbhash,
        waveform=media.waveform,
    )


def add_claim(draft: Draft, outcome: ClaimOutcome) -> Draft | Failure:
    """Return the draft to append once its file was claimed; the failure if the file cannot be claimed at present.

    A final refusal goes to the owner with the draft: it does not hold for the retry of a send that was appended.
    """
    change = draft.change
    if not isinstance(change, Message | MessageEdited):
        raise TypeError(f"only a content refers to media, not {change!r}")
    if isinstance(outcome, Failure):
        return outcome if outcome.retry_after is not None else replace(draft, refusal=outcome)
    with_facts = replace(change, content=_add_facts(change.content, outcome))
    return replace(draft, change=with_facts, fingerprint=change.fingerprint())


def _add_facts(content: bytes, facts: MediaFacts) -> bytes:
    """Return a serialised Content whose MediaReference has the facts of its file."""
    changed = entry_pb2.Content.FromString(content)
    changed.media.MergeFrom(
        entry_pb2.MediaReference(
            kind=MediaKind.ValueType(facts.kind),
            content_type=facts.content_type,
            file_name=facts.file_name,
            size_bytes=facts.size_bytes,
            width=facts.width,
            height=facts.height,
            duration=_duration(facts.duration_ns),
            thumbhash=facts.thumbhash,
            waveform=facts.waveform,
        )
    )
    return changed.SerializeToString(deterministic=True)


def _duration(nanoseconds: int | None) -> Duration | None:
    if nanoseconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(nanoseconds)
    return duration
