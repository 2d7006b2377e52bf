"""The scan hook: an HTTP address of the deployment that decides whether a file is harmful.

The service POSTs a JSON object with `media_id`, `owner_id`, `content_type`, `file_name`, `size_bytes`, `sha256` (hex)
and `url`, an address that serves the file for an hour. The scanner answers 200 with `{"verdict": "clean"}` or
`{"verdict": "harmful"}`; any other answer, or none, is tried again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httpx2

from media_service.model.media import OPAQUE, MediaFile, Variant, variant_key
from media_service.model.object_store import ObjectStore

# The whole time of a scan: a scanner may read a large file before it answers.
SCAN_TIMEOUT_S: Final = 120.0
URL_LIFETIME_S: Final = 3600
VERDICTS: Final = {"clean": True, "harmful": False}


class ScannerUnavailable(Exception):
    """The scanner gave no verdict."""


class Scanner:
    """Asks the scanner at `address` about files. Close it when the process stops."""

    def __init__(self, address: str, objects: ObjectStore) -> None:
        self._address = address
        self._objects = objects
        self._client = httpx2.AsyncClient(timeout=SCAN_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def is_clean(self, file: MediaFile) -> bool:
        """Return the verdict on the stored bytes of a file. Raise ScannerUnavailable."""
        try:
            async with asyncio.timeout(SCAN_TIMEOUT_S):
                response = await self._client.post(self._address, json=self._question(file))
            answer = response.raise_for_status().json()
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            raise ScannerUnavailable(f"{type(error).__name__}: {error}") from error
        verdict = answer.get("verdict") if isinstance(answer, dict) else None
        if not isinstance(verdict, str) or verdict not in VERDICTS:
            raise ScannerUnavailable('the answer has no verdict; it must be {"verdict": "clean"} or "harmful"')
        return VERDICTS[verdict]

    def _question(self, file: MediaFile) -> dict[str, object]:
        url = self._objects.sign_download(variant_key(file, Variant.ORIGINAL), URL_LIFETIME_S, OPAQUE, "attachment")
        return {
            "media_id": file.media_id,
            "owner_id": file.owner_id,
            "content_type": file.known_facts.content_type,
            "file_name": file.description.file_name,
            "size_bytes": file.known_facts.size_bytes,
            "sha256": file.known_facts.sha256.hex(),
            "url": url,
        }
