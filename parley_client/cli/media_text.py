"""The facts about a file as text: its name, kind, size, and dimensions or duration."""

from __future__ import annotations

from datetime import timedelta

from parley_client.cli.text import one_cell
from parley_client.media.facts import Media, MediaKind

_KINDS = {
    MediaKind.IMAGE: "picture",
    MediaKind.VIDEO: "video",
    MediaKind.AUDIO: "sound",
    MediaKind.FILE: "file",
    MediaKind.UNKNOWN: "file",
}
_UNITS = ("kB", "MB", "GB", "TB")


def describe_media(media: Media) -> str:
    """Return a file as one line, such as "picture cat.jpg, 640 × 480, 1.2 MB"."""
    kind = "voice note" if media.is_voice_note else _KINDS[media.kind]
    name = one_cell(media.file_name)
    if media.kind is MediaKind.UNKNOWN and not name:
        return f"{kind} {media.media_id[:8]}"
    parts = [f"{kind} {name}" if name and not media.is_voice_note else kind]
    if media.width and media.height:
        parts.append(f"{media.width} × {media.height}")
    if media.duration is not None:
        parts.append(format_duration(media.duration))
    if media.size_bytes:
        parts.append(format_size(media.size_bytes))
    return ", ".join(parts)


def format_size(size_bytes: int) -> str:
    """Return a size in decimal units, such as "1.2 MB"."""
    if size_bytes < 1000:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    size, unit = size_bytes / 1000, 0
    # 999,950 would be shown as 1000.0 kB.
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if size < 9.95 else f"{size:.0f} {_UNITS[unit]}"


def format_duration(duration: timedelta) -> str:
    """Return a playing time in minutes and seconds, such as "1:05", or with hours, "1:01:05"."""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
