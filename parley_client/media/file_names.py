"""Names of files: of one's own for others, and of others for one's own folders. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath

# The bound of the contract, and of most file systems.
MAX_NAME_BYTES = 255
# Control characters, surrogates, line breaks, and the overrides, embeddings and isolates of the direction of text.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")
_SEPARATORS = re.compile(r'[/\\:*?"<>|]')
# Devices of Windows, whatever the extension; a file of such a name could not be copied there.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
# Letters, digits, punctuation and symbols; the Hangul fillers and the blank Braille pattern look like nothing.
_VISIBLE_CATEGORIES = "LNPS"
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
_MAX_EXTENSION_BYTES = 16

_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/mp4": ".m4a",
    "audio/wav": ".wav",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
}


def sendable_name(name: str) -> str:
    """Return the name of a local file as a name that the contract allows; empty if nothing of it is visible."""
    visible = _FORBIDDEN.sub("", name).replace("/", "_").replace("\\", "_")
    return cut_name(visible, MAX_NAME_BYTES) if any(map(_is_visible, visible)) else ""


def safe_name(name: str, content_type: str = "", *, fallback: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name of another user as the name of a file in a folder, which it cannot leave or hide in.

    Separators and characters that no file system or terminal should see become "_" or vanish, dots and spaces at the
    ends are removed, and a name reserved by Windows begins with "_". If nothing remains, the name is `fallback` with
    the extension of `content_type`.
    """
    cleaned = _SEPARATORS.sub("_", _FORBIDDEN.sub("", unicodedata.normalize("NFC", name))).strip(". ")
    if not any(_is_visible(char) for char in cleaned if char != "_"):
        cleaned = f"{fallback}{_EXTENSIONS.get(content_type, '')}"
    if _RESERVED.fullmatch(cleaned):
        cleaned = f"_{cleaned}"
    return cut_name(cleaned, max_bytes).strip(". ")


def cut_name(name: str, max_bytes: int) -> str:
    """Return `name` cut to `max_bytes` bytes of UTF-8, with its extension."""
    if len(name.encode()) <= max_bytes:
        return name
    extension = PurePath(name).suffix
    if len(extension.encode()) > _MAX_EXTENSION_BYTES:
        extension = ""
    stem = name.removesuffix(extension).encode()[: max_bytes - len(extension.encode())]
    return stem.decode(errors="ignore") + extension


def numbered_paths(path: Path, max_bytes: int = MAX_NAME_BYTES) -> Iterator[Path]:
    """Yield `path`, then "name (1).ext", "name (2).ext" and so on."""
    yield path
    for number in range(1, 10_000):
        extension = f" ({number}){path.suffix}"
        stem = path.stem.encode()[: max_bytes - len(extension.encode())].decode(errors="ignore")
        yield path.with_name(f"{stem}{extension}")


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] in _VISIBLE_CATEGORIES and char not in _BLANK_LETTERS
