"""References to media on the wire: what a client says of a file is dropped, and the facts of the catalog are added."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chat_service.limits import Limits
from chat_service.model.entry import NO_REFERENCES, Draft, Message, MessageEdited, References
from chat_service.model.media import MediaFacts
from chat_service.model.requests import Attempt
from chat_service.wire import mesh
from chat_service.wire.contents import decode_references, encode_content
from chat_service.wire.entries import extract_media, extract_words
from chat_service.wire.media import add_claim, decode_claims, decode_facts
from parley.chat.v1 import entry_pb2
from parley.internal.v1.media_pb2 import ClaimedMedia, ClaimResponse
from parley.internal.v1.mesh_pb2 import MeshFrame
from parley.media.v1 import media_pb2
from servicekit.errors import ServiceUnavailable
from servicekit.failure import Failure
from servicekit.status import to_proto

CONVERSATION, ALICE, FILE, OTHER = "c" * 32, "a" * 32, "f" * 32, "e" * 32
MEDIA = media_pb2.Media(
    media_id=FILE,
    owner_id=ALICE,
    state=media_pb2.MEDIA_STATE_READY,
    kind=media_pb2.MEDIA_KIND_AUDIO,
    content_type="audio/ogg",
    file_name="Möwe.ogg",
    size_bytes=3_000_000_000,
    sha256=b"x" * 32,
    width=1,
    height=2,
    duration=Duration(seconds=3, nanos=4),
    create_time=Timestamp(seconds=5),
    thumbhash=b"\x01\x02",
    waveform=b"\xff\x00",
)
SENT = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=FILE, caption="a gull"), reply_to_seq=7)
NOT_FOUND = Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")


def draft(change: Message | MessageEdited | None = None) -> Draft:
    references = decode_references(SENT)
    change = change or Message(encode_content(SENT, Limits()))
    return Draft(CONVERSATION, ALICE, b"r" * 16, change, made_ms=0, references=references)


def claimed(one: Draft, facts: MediaFacts) -> Draft:
    ready = add_claim(one, facts)
    assert isinstance(ready, Draft)
    return ready


def test_facts_that_a_client_sends_are_dropped() -> None:
    said = entry_pb2.Content()
    said.CopyFrom(SENT)
    said.media.MergeFrom(
        entry_pb2.MediaReference(kind=media_pb2.MEDIA_KIND_IMAGE, content_type="image/png", width=9, waveform=b"x")
    )
    assert encode_content(said, Limits()) == encode_content(SENT, Limits())


@pytest.mark.parametrize(
    ("content", "references"),
    [
        (SENT, References(7, frozenset(), FILE)),
        (entry_pb2.Content(media=entry_pb2.MediaReference(media_id=FILE)), References(0, frozenset(), FILE)),
        (entry_pb2.Content(text=entry_pb2.Text(body="hi")), NO_REFERENCES),
    ],
)
def test_reference_to_a_file_is_decoded(content: entry_pb2.Content, references: References) -> None:
    assert decode_references(content) == references
    # The check of the body must not set one.
    assert content.WhichOneof("body") == ("media" if references.media_id else "text")


@pytest.mark.parametrize("edited", [False, True])
def test_claimed_draft_has_the_facts_and_the_fingerprint_of_what_was_sent(edited: bool) -> None:
    content = encode_content(SENT, Limits())
    change = MessageEdited(3, content) if edited else Message(content)
    ready = claimed(draft(change), decode_facts(MEDIA))
    assert isinstance(ready.change, Message | MessageEdited)
    expected = entry_pb2.Content()
    expected.CopyFrom(SENT)
    for field in entry_pb2.MediaReference.DESCRIPTOR.fields:
        if field.name in (
            "kind",
            "content_type",
            "file_name",
            "size_bytes",
            "width",
            "height",
            "thumbhash",
            "waveform",
        ):
            setattr(expected.media, field.name, getattr(MEDIA, field.name))
    expected.media.duration.CopyFrom(MEDIA.duration)
    assert entry_pb2.Content.FromString(ready.change.content) == expected
    assert ready.fingerprint == change.fingerprint() != ready.change.fingerprint()
    assert (ready.refusal, ready.key, ready.references) == (None, draft().key, draft().references)


def test_every_field_of_a_reference_is_sent_by_the_client_or_is_a_fact() -> None:
    ready = claimed(draft(), decode_facts(MEDIA))
    assert isinstance(ready.change, Message)
    reference = entry_pb2.Content.FromString(ready.change.content).media
    assert {field.name for field, _ in reference.ListFields()} == set(reference.DESCRIPTOR.fields_by_name)


def test_unknown_playing_time_stays_unset() -> None:
    media = media_pb2.Media()
    media.CopyFrom(MEDIA)
    media.ClearField("duration")
    ready = claimed(draft(), decode_facts(media))
    assert isinstance(ready.change, Message)
    assert not entry_pb2.Content.FromString(ready.change.content).media.HasField("duration")


def test_stored_content_names_the_file_and_its_caption_alone() -> None:
    ready = claimed(draft(), decode_facts(MEDIA))
    assert isinstance(ready.change, Message)
    assert extract_media(ready.change.content) == FILE
    assert extract_words(ready.change.content) == extract_words(encode_content(SENT, Limits()))


def test_temporary_failure_is_no_draft_and_final_refusal_goes_with_it() -> None:
    failure = ServiceUnavailable("no media server")
    assert add_claim(draft(), failure) is failure
    refused = add_claim(draft(), NOT_FOUND)
    assert isinstance(refused, Draft)
    assert (refused.refusal, refused.change, refused.fingerprint) == (NOT_FOUND, draft().change, b"")


def test_claims_are_decoded_in_order() -> None:
    response = ClaimResponse(files=[ClaimedMedia(refused=to_proto(NOT_FOUND)), ClaimedMedia(media=MEDIA)])
    outcomes = decode_claims([OTHER, FILE], response)
    assert list(outcomes) == [OTHER, FILE]
    assert isinstance(outcomes[OTHER], Failure)
    assert outcomes[FILE] == decode_facts(MEDIA)
    with pytest.raises(ValueError, match="zip"):
        decode_claims([FILE], response)


def test_claim_travels_between_servers() -> None:
    ready = claimed(draft(), decode_facts(MEDIA))
    frame = MeshFrame.FromString(mesh.encode_append(ready, Attempt("s", 1)).SerializeToString())
    decoded, _ = mesh.decode_append(frame)
    assert (decoded.change, decoded.fingerprint, decoded.refusal) == (ready.change, ready.fingerprint, None)


def test_refusal_travels_between_servers() -> None:
    refused = add_claim(draft(), NOT_FOUND)
    assert isinstance(refused, Draft)
    frame = MeshFrame.FromString(mesh.encode_append(refused, None).SerializeToString())
    decoded, _ = mesh.decode_append(frame)
    assert decoded.refusal is not None
    assert vars(decoded.refusal) == vars(NOT_FOUND)
    assert (decoded.change, decoded.fingerprint) == (refused.change, b"")
