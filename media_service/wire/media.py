"""Files and uploads, converted between the protos and the domain."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from media_service.model.media import PART_BYTES, FileDescription, MediaFile, MediaState, StoredVariant, Variant
from parley.internal.v1 import media_pb2 as catalog_pb2
from parley.media.v1 import media_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto


def decode_description(file: media_pb2.FileDescription) -> FileDescription:
    """Return the description of a file; it has passed the rules of the protos."""
    return FileDescription(file.file_name, file.content_type, file.size_bytes, file.sha256, file.waveform)


def decode_variant(variant: media_pb2.MediaVariant.ValueType) -> Variant:
    """Return the variant; the original if it is unset."""
    return Variant(variant) if variant else Variant.ORIGINAL


def encode_media(file: MediaFile) -> media_pb2.Media:
    """Return a visible file; one without facts has the announced type and size."""
    description = file.description
    media = media_pb2.Media(
        media_id=file.media_id,
        owner_id=file.owner_id,
        state=media_pb2.MediaState.ValueType(file.state),
        content_type=description.content_type,
        file_name=description.file_name,
        size_bytes=description.size_bytes,
        waveform=description.waveform,
        create_time=timestamp(file.create_ms),
        expire_time=timestamp(file.expire_ms) if file.expire_ms else None,
    )
    if file.state is not MediaState.UPLOADING and file.facts is not None:
        media.MergeFrom(_encode_facts(file))
    return media


def _encode_facts(file: MediaFile) -> media_pb2.Media:
    facts = file.known_facts
    return media_pb2.Media(
        kind=media_pb2.MediaKind.ValueType(facts.kind),
        content_type=facts.content_type,
        size_bytes=facts.size_bytes,
        sha256=facts.sha256,
        width=facts.width,
        height=facts.height,
        duration=_duration(facts.duration_ms) if facts.duration_ms else None,
        thumbhash=facts.thumbhash,
        thumbnail=_encode_variant(facts.variants.get(Variant.THUMBNAIL)),
        preview=_encode_variant(facts.variants.get(Variant.PREVIEW)),
    )


def _encode_variant(stored: StoredVariant | None) -> media_pb2.Thumbnail | None:
    if stored is None:
        return None
    return media_pb2.Thumbnail(
        content_type=stored.content_type, size_bytes=stored.size_bytes, width=stored.width, height=stored.height
    )


def encode_upload(file: MediaFile) -> media_pb2.Upload:
    """Return an upload in parts."""
    return media_pb2.Upload(
        media_id=file.media_id,
        part_size_bytes=PART_BYTES,
        part_count=file.part_count,
        expire_time=timestamp(file.expire_ms or file.create_ms),
    )


def encode_part(file: MediaFile, number: int, url: str, url_expire_ms: int) -> media_pb2.Part:
    """Return a part of an upload; `url` is empty if the store has the part."""
    return media_pb2.Part(
        part_number=number,
        offset_bytes=(number - 1) * PART_BYTES,
        size_bytes=file.part_bytes(number),
        stored=not url,
        url=url,
        url_expire_time=timestamp(url_expire_ms) if url else None,
    )


def encode_claimed(result: MediaFile | Failure) -> catalog_pb2.ClaimedMedia:
    """Return the result of a claim."""
    if isinstance(result, Failure):
        return catalog_pb2.ClaimedMedia(refused=to_proto(result))
    return catalog_pb2.ClaimedMedia(media=encode_media(result))


def timestamp(milliseconds: int) -> Timestamp:
    """Return a time, given in milliseconds since 1970."""
    result = Timestamp()
    result.FromMilliseconds(milliseconds)
    return result


def _duration(milliseconds: int) -> Duration:
    result = Duration()
    result.FromMilliseconds(milliseconds)
    return result
