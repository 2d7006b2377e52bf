"""The objects and uploads that an S3 store holds, as a client of another maker lists them."""

from __future__ import annotations

import asyncio
from io import BytesIO

from minio import Minio

from devstack.s3 import BUCKET, REGION
from devstack.stack import Stack


class Bucket:
    """The bucket of a stack."""

    def __init__(self, stack: Stack) -> None:
        address = stack.layout.s3
        assert address is not None
        self._client = Minio(
            address.endpoint, address.keys.access_key, address.keys.secret_key, secure=False, region=REGION
        )

    async def objects(self, media_id: str = "") -> set[str]:
        """Return the keys of the objects, by default of all files."""
        return await asyncio.to_thread(self._list_objects, media_id)

    async def uploads(self, media_id: str = "") -> set[str]:
        """Return the keys of the uploads in parts that are neither completed nor aborted."""
        return await asyncio.to_thread(self._list_uploads, media_id)

    def read_all(self) -> dict[str, bytes]:
        """Return all objects by their keys. It blocks."""
        return {key: self._client.get_object(BUCKET, key).data for key in self._list_objects("")}

    async def get(self, key: str) -> bytes:
        """Return the bytes of an object."""
        return await asyncio.to_thread(self._read, key)

    async def put(self, key: str, data: bytes) -> None:
        """Store an object that the service knows nothing of."""
        await asyncio.to_thread(self._client.put_object, BUCKET, key, BytesIO(data), len(data))

    async def begin_upload(self, key: str) -> None:
        """Begin an upload in parts that the service knows nothing of."""
        await asyncio.to_thread(self._client._create_multipart_upload, BUCKET, key, {})

    async def delete(self, key: str) -> None:
        """Delete an object, whatever needs it."""
        await asyncio.to_thread(self._client.remove_object, BUCKET, key)

    def _read(self, key: str) -> bytes:
        with self._client.get_object(BUCKET, key) as response:
            data: bytes = response.read()
        return data

    def _list_objects(self, prefix: str) -> set[str]:
        found = self._client.list_objects(BUCKET, prefix=prefix, recursive=True)
        return {str(each.object_name) for each in found if not each.is_dir}

    def _list_uploads(self, prefix: str) -> set[str]:
        found = self._client._list_multipart_uploads(BUCKET, prefix=prefix)
        return {str(each.object_name) for each in found.uploads}
