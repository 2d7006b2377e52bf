"""The facts about a file: what an application needs to show it before it downloads anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from parley.chat.v1.entry_pb2 import MediaReference
from parley.media.v1 import media_pb2


class MediaKind(Enum):
    """The kind of a file. UNKNOWN: the message was sent by an earlier version of the server."""

    UNKNOWN = media_pb2.MEDIA_KIND_UNSPECIFIED
    IMAGE = media_pb2.MEDIA_KIND_IMAGE
    VIDEO = media_pb2.MEDIA_KIND_VIDEO
    AUDIO = media_pb2.MEDIA_KIND_AUDIO
    FILE = media_pb2.MEDIA_KIND_FILE

    @classmethod
    def _missing_(cls, value: object) -> MediaKind:  # noqa: ARG003
        """Return FILE for a kind that a newer server has added."""
        return cls.FILE


class MediaState(Enum):
    """The state of a file: SCANNING until the scanner of the deployment has decided, REJECTED if it found harm."""

    UPLOADING = media_pb2.MEDIA_STATE_UPLOADING
    READY = media_pb2.MEDIA_STATE_READY
    SCANNING = media_pb2.MEDIA_STATE_SCANNING
    REJECTED = media_pb2.MEDIA_STATE_REJECTED

    @classmethod
    def _missing_(cls, value: object) -> MediaState:  # noqa: ARG003
        """Return SCANNING, which means not ready, for a state that a newer server has added."""
        return cls.SCANNING


class MediaVariant(Enum):
    """A form in which a file can be downloaded: itself, or a smaller WebP picture of it (320 or 1,280 pixels)."""

    ORIGINAL = media_pb2.MEDIA_VARIANT_ORIGINAL
    THUMBNAIL = media_pb2.MEDIA_VARIANT_THUMBNAIL
    PREVIEW = media_pb2.MEDIA_VARIANT_PREVIEW


@dataclass(frozen=True, slots=True)
class Media:
    """A file, as its message or the media service describes it.

    `file_name` and `caption` are texts of other users: `Files.download` makes a safe name of the first.
    """

    media_id: str
    """32 lower-case hex digits."""
    kind: MediaKind
    content_type: str = ""
    """The media type detected from the bytes, such as `image/jpeg`."""
    file_name: str = ""
    size_bytes: int = 0
    width: int = 0
    """As shown, in pixels. 0: unknown, or not a picture."""
    height: int = 0
    duration: timedelta | None = None
    thumbhash: bytes = b""
    """A blurred placeholder for `decode_thumbhash`; empty: there is none."""
    waveform: bytes = b""
    """At most 64 peaks of a voice note, each from 0 (silent) to 255."""
    caption: str = ""
    """The caption of the message; empty for a file that did not come from a message."""
    sha256: bytes = b""
    """The SHA-256 of the stored bytes; empty if it is not known, as in a message."""
    state: MediaState = MediaState.READY

    @property
    def is_voice_note(self) -> bool:
        """True for sound with a waveform."""
        return bool(self.waveform)

    @classmethod
    def from_reference(cls, reference: MediaReference) -> Media:
        """Convert the reference in a message."""
        return cls(
            reference.media_id,
            MediaKind(reference.kind),
            reference.content_type,
            reference.file_name,
            reference.size_bytes,
            reference.width,
            reference.height,
            reference.duration.ToTimedelta() if reference.HasField("duration") else None,
            reference.thumbhash,
            reference.waveform,
            reference.caption,
        )

    def to_reference(self, caption: str = "") -> MediaReference:
        """Convert to the reference that the server makes for a message."""
        reference = MediaReference(
            media_id=self.media_id,
            caption=caption,
            kind=self.kind.value,
            content_type=self.content_type,
            file_name=self.file_name,
            size_bytes=self.size_bytes,
            width=self.width,
            height=self.height,
            thumbhash=self.thumbhash,
            waveform=self.waveform,
        )
        if self.duration is not None:
            reference.duration.FromTimedelta(self.duration)
        return reference

    @classmethod
    def from_proto(cls, media: media_pb2.Media) -> Media:
        """Convert the metadata that the media service returned."""
        return cls(
            media.media_id,
            MediaKind(media.kind),
            media.content_type,
            media.file_name,
            media.size_bytes,
            media.width,
            media.height,
            media.duration.ToTimedelta() if media.HasField("duration") else None,
            media.thumbhash,
            media.waveform,
            sha256=media.sha256,
            state=MediaState(media.state),
        )
