"""The inspection of a complete file: its type, its private metadata, its facts, and its smaller pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final

import structlog

from media_service.errors import field_invalid
from media_service.model.media import (
    OPAQUE,
    MediaFacts,
    MediaFile,
    MediaKind,
    StoredVariant,
    Variant,
    object_keys,
    sent_key,
)
from media_service.model.object_store import ObjectStore
