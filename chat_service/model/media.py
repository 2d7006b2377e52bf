"""Uploaded files, as messages, profiles and groups refer to them, and the port to the catalog of files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from servicekit.failure import Failure

# The value of the protos.
IMAGE_KIND: Final = 1


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """The facts by which a client draws a file before it downloads anything; the values are those of the protos.

    `duration_ns` is the playing time in nanoseconds, None if the file has none or if it is unknown.
    """

    kind: int
    content_type: str
    file_name: str
    size_bytes: int
    width: int = 0
    height: int = 0
    duration_ns: int | None = None
    thumbhash: bytes = b""
    waveform: bytes = b""

    @property
    def is_image(self) -> bool:
        """True if the file is a picture."""
        return self.kind == IMAGE_KIND


ClaimOutcome = MediaFacts | Failure
"""The result of a claim: the facts of the file, or the refusal. Only one with `retry_after` is not final."""


class MediaCatalog(Protocol):
    """The catalog of all uploaded files."""

    async def claim(self, user_id: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        """Return the outcome for each file that the user is about to refer to, at most 100.

        A claimed file is kept for an hour, in which the reference must become durable. If the catalog does not answer,
        that failure is the outcome of each file.
        """
