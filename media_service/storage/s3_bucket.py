"""The addresses of a bucket and its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from media_service.settings import S3Addressing
from media_service.storage.s3_signing import encode_key, encode_query

NO_QUERY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket of the store at `origin` (`scheme://host[:port]`)."""

    origin: str
    name: str
    addressing: S3Addressing = "path"

    def url(self, key: str = "", query: Mapping[str, str] = NO_QUERY) -> SplitResult:
        """Return the encoded address of an object, or of the bucket itself if `key` is empty."""
        origin = urlsplit(self.origin)
        if self.addressing == "host":
            path, host = f"/{encode_key(key)}", f"{self.name}.{origin.netloc}"
        else:
            path, host = f"/{self.name}/{encode_key(key)}" if key else f"/{self.name}", origin.netloc
        return SplitResult(origin.scheme, host, path, encode_query(query), "")
