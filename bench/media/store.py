"""The S3 store of a stack, used directly: the same requests as through the media service, without it and Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import uuid_utils
from pydantic import SecretStr

from bench.media.http1 import Request, exchange_all
from devstack.s3 import BUCKET, REGION, S3Address
from media_service.settings import S3Settings
from media_service.storage.s3 import S3ObjectStore
from servicekit.clock import SystemClock

ADDRESS_LIFETIME_S: Final = 600


class DirectStore:
    """The objects of a store under addresses of its own origin; a context manager."""

    def __init__(self, address: S3Address) -> None:
        self.origin = address.url
        settings = S3Settings(
            s3_url=address.url,
            s3_bucket=BUCKET,
            s3_region=REGION,
            s3_access_key=address.keys.access_key,
            s3_secret_key=SecretStr(address.keys.secret_key),
        )
        self._objects = S3ObjectStore(settings, SystemClock())
        self._runner = asyncio.Runner()

    def upload(self, parts: Sequence[Sequence[memoryview]], connections: int) -> int:
        """Store a new object in parts, each in pieces; return its size in bytes."""
        key = f"bench/{uuid_utils.uuid7()}"
        upload_id = self._runner.run(self._objects.create_parts(key))
        requests = []
        for number, part in enumerate(parts, 1):
            size = sum(map(len, part))
            url = self._objects.sign_part(key, upload_id, number, size, ADDRESS_LIFETIME_S)
            requests.append(Request(url, part))
        sent = exchange_all(self.origin, requests, connections)
        stored = self._runner.run(self._objects.list_parts(key, upload_id))
        self._runner.run(self._objects.complete_parts(key, upload_id, stored))
        return sent

    def sign_download(self, presigned: str) -> str:
        """Return the address at this store of the object to which a presigned address of another origin leads."""
        key = urlsplit(presigned).path.removeprefix(f"/{BUCKET}/")
        return self._objects.sign_download(key, ADDRESS_LIFETIME_S, "application/octet-stream", "attachment")

    def __enter__(self) -> DirectStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._objects.close())
        self._runner.close()
