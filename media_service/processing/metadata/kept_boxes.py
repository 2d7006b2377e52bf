"""The boxes of films and sounds that a player needs, by the box that contains them. All others are removed."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from media_service.processing.boxes import TOP_LEVEL

USER_DATA: Final = frozenset({b"udta", b"meta"})
"""Boxes of tags: place, maker, model and software, but also title and artist of a sound."""

TIMED: Final = frozenset({b"mvhd", b"tkhd", b"mdhd"})
"""Headers that begin with the times of recording and of the last change."""

FILE: Final = b""
"""The key of the top level."""

KEPT: Final = MappingProxyType[bytes, frozenset[bytes]](
    {
        FILE: TOP_LEVEL,
        b"moov": frozenset({b"mvhd", b"trak", b"mvex", b"iods", b"pssh", b"ctab", b"clip"}),
        b"trak": frozenset({b"tkhd", b"mdia", b"edts", b"tref", b"trgr", b"load", b"clip", b"matt", b"tapt", b"txas"}),
        b"mdia": frozenset({b"mdhd", b"hdlr", b"minf", b"elng"}),
        b"minf": frozenset({b"vmhd", b"smhd", b"hmhd", b"nmhd", b"sthd", b"gmhd", b"hdlr", b"dinf", b"stbl"}),
        b"moof": frozenset({b"mfhd", b"traf", b"pssh"}),
        b"traf": frozenset({b"tfhd", b"tfdt", b"trun", b"sdtp", b"sbgp", b"sgpd", b"subs", b"saiz", b"saio", b"senc"}),
        # Of sounds alone: films lose all of their tags.
        b"udta": frozenset({b"titl", b"auth", b"perf", b"gnre", b"albm", b"yrrc", b"cprt", b"chpl", b"name"})
        | frozenset({b"\xa9nam", b"\xa9ART", b"\xa9alb", b"\xa9day", b"\xa9gen", b"\xa9wrt", b"\xa9cpy"}),
        b"meta": frozenset({b"hdlr", b"ilst"}),
        b"ilst": frozenset({b"\xa9nam", b"\xa9ART", b"aART", b"\xa9alb", b"\xa9day", b"\xa9gen", b"gnre", b"\xa9wrt"})
        | frozenset({b"trkn", b"disk", b"covr", b"cpil", b"pgap", b"tmpo", b"rtng", b"stik", b"\xa9grp", b"\xa9lyr"})
        | frozenset({b"sonm", b"soar", b"soaa", b"soal", b"soco", b"cprt"}),
    }
)

CONTENT_HANDLERS: Final = frozenset(
    # Pictures and sound, captions and chapters, then what a player needs to find its way.
    {b"vide", b"auxv", b"pict", b"soun"} | {b"text", b"sbtl", b"subt", b"clcp"} | {b"hint", b"tmcd", b"odsm", b"sdsm"}
)
"""The types of tracks that are played. Others record the camera: where it was, how it moved, whom it saw."""

VIDEO_HANDLER: Final = b"vide"
TAGS_HANDLER: Final = b"mdir"
"""The type of the tags of a sound in a box `meta`. Other types name their tags in ways that are not read here."""
