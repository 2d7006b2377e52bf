"""The facts of films and sounds: dimensions as shown and playing time, by media type of the container."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from media_service.processing.byte_ranges import Parser
from media_service.processing.container_facts import ContainerFacts
from media_service.processing.matroska import read_matroska_facts
from media_service.processing.movie_facts import read_movie_facts

CONTAINERS: Final = MappingProxyType[str, Callable[[int], Parser[ContainerFacts]]](
    {
        "video/mp4": read_movie_facts,
        "video/quicktime": read_movie_facts,
        "video/x-m4v": read_movie_facts,
        "video/3gpp": read_movie_facts,
        "audio/mp4": read_movie_facts,
        "audio/x-m4a": read_movie_facts,
        "video/webm": read_matroska_facts,
        "audio/webm": read_matroska_facts,
        "video/x-matroska": read_matroska_facts,
        "audio/x-matroska": read_matroska_facts,
    }
)
"""The media types of which the facts are read here, and their parsers."""


def read_container(content_type: str, size_bytes: int) -> Parser[ContainerFacts | None]:
    """Return the facts of a film or sound; None if containers of this type are not read here.

    Raise Malformed if the file is not a well-formed file of this type.
    """
    if (read := CONTAINERS.get(content_type)) is None:
        return None
    return (yield from read(size_bytes))
