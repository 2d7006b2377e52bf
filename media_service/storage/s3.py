"""The store of objects on S3."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Final

import structlog

from media_service.model.object_store import ObjectNotFound, StoredPart
from media_service.settings import S3Settings
from media_service.storage.exact_body import ExactBody
from media_service.storage.s3_bucket import S3Bucket
from media_service.storage.s3_responses import (
    S3Refusal,
    encode_parts,
    encode_region,
    parse_parts,
    parse_upload_id,
    parse_uploads,
)
from media_service.storage.s3_transport import DEFAULT_LIMITS, S3Limits, S3Transport
from servicekit.clock import Clock
from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable
from servicekit.health import HealthPart
from servicekit.tasks import cancel_requested, gather_limited

CONCURRENT_CALLS: Final = 8
"""The number of calls at a time that one deletion makes."""

PROBE_INTERVAL_S: Final = 5.0
"""The time between two checks of the store."""

# A bucket without a region is in this one, which must not be named.
_DEFAULT_REGION: Final = "us-east-1"
_RANGE_NOT_SATISFIABLE: Final = 416

_log = structlog.get_logger("store.s3")


class S3ObjectStore:
    """An ObjectStore in one bucket. Raise ConfigurationError if the file of authorities cannot be read.

    A store tells a missing object from missing rights only if the access key may list the bucket: `prepare` checks it.
    """

    def __init__(self, settings: S3Settings, clock: Clock, limits: S3Limits = DEFAULT_LIMITS) -> None:
        self._settings = settings
        self._clock = clock
        self._limits = limits
        self._transport = S3Transport(settings, clock, limits)
        self._public = S3Bucket(settings.s3_public_url or settings.s3_url, settings.s3_bucket, settings.s3_addressing)

    async def prepare(self) -> None:
        """Check the access to the bucket, and create the bucket if it does not exist.

        Raise StoreUnavailable if the store does not answer; a service may start all the same, and repeat the call.
        Raise ConfigurationError if the store refuses, or its certificate is refused.
        """
        try:
            await self._transport.probe("list_bucket", "GET", {"list-type": "2", "max-keys": "1"})
        except StoreUnavailable as failure:
            if reason := _describe_certificate_error(failure):
                raise ConfigurationError(
                    f"The certificate of the S3 store at {self._settings.s3_url} is refused: {reason}. "
                    "PARLEY_S3_CA_FILE names its authority."
                ) from None
            raise
        except S3Refusal as refusal:
            if refusal.code != "NoSuchBucket":
                raise self._misconfigured("list", refusal) from None
            await self._create_bucket()

    @property
    def health(self) -> HealthPart:
        """The status of the store, for health checks."""
        return self._transport.outages.health

    async def run(self) -> None:
        """Check the store every PROBE_INTERVAL_S until cancelled, so that its state is known without other requests."""
        logged = ""
        while not cancel_requested():
            try:
                # An outage is logged when it begins.
                with suppress(StoreUnavailable):
                    await self.prepare()
                logged = ""
            except ConfigurationError as error:
                if str(error) != logged:
                    _log.error("S3 store refused a check", error=str(error))
                logged = str(error)
            await self._clock.sleep(PROBE_INTERVAL_S)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def put(self, key: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        """Store an object of exactly `size_bytes`, streamed from `chunks`."""
        await self._transport.send("put", key, ExactBody(size_bytes, chunks))

    async def read(self, key: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes from `offset` (None: up to the end), in chunks of at most 64 KiB."""
        try:
            with _missing_is_not_found():
                async with aclosing(self._transport.receive("read", key, _range_headers(offset, length))) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except S3Refusal as refusal:
            if refusal.status != _RANGE_NOT_SATISFIABLE:
                raise

    async def size_of(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""
        try:
            return int((await self._transport.call("size_of", "HEAD", key)).headers["content-length"])
        except S3Refusal as refusal:
            if refusal.is_not_found:
                return None
            raise

    async def delete(self, keys: Collection[str]) -> None:
        """Remove the objects of these keys; those that do not exist are ignored.

        Each key takes a call: the call for many keys differs between stores.
        """
        await gather_limited(lambda key: self._remove("delete", key), keys, limit=CONCURRENT_CALLS)

    async def create_parts(self, key: str) -> str:
        """Begin an upload in parts, and return its id in the store."""
        return parse_upload_id((await self._transport.call("create_parts", "POST", key, {"uploads": ""})).body)

    async def list_parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """Return the parts that the store has, in order of their numbers. Raise ObjectNotFound."""
        parts: dict[int, StoredPart] = {}
        query = {"uploadId": upload_id, "max-parts": str(self._limits.page_items)}
        while True:
            with _missing_is_not_found():
                page = parse_parts((await self._transport.call("list_parts", "GET", key, query)).body)
            parts |= page.parts
            if page.next_marker is None:
                return list(parts.values())
            query["part-number-marker"] = page.next_marker

    async def complete_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Join the parts to the object. Raise ObjectNotFound."""
        query, body = {"uploadId": upload_id}, encode_parts(parts)
        try:
            with _missing_is_not_found():
                await self._transport.call("complete_parts", "POST", key, query, body, self._limits.complete_s)
        except S3Refusal as refusal:
            if refusal.code == "InvalidPart":
                raise StoreUnavailable("a part was uploaded again while the parts were being joined") from refusal
            raise

    async def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        """Abort one upload in parts to this key (None: all), and remove its parts; one that is unknown is ignored."""
        for each in [each async for each in self._list_uploads(key)] if upload_id is None else [upload_id]:
            await self._remove("abort_parts", key, {"uploadId": each})

    def sign_part(self, key: str, upload_id: str, number: int, size_bytes: int, expires_s: int) -> str:
        """Return the public URL to which a client may PUT the part for `expires_s` seconds."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._sign("PUT", key, query, {"content-length": str(size_bytes)}, expires_s)

    def sign_download(self, key: str, expires_s: int, content_type: str, disposition: str) -> str:
        """Return the public URL from which a client may GET the object, or a range, for `expires_s` seconds."""
        query = {"response-content-type": content_type, "response-content-disposition": disposition}
        return self._sign("GET", key, query, {}, expires_s)

    def _sign(self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], expires_s: int) -> str:
        url = self._public.url(key, query)
        return self._transport.signer.sign_address(method, url, headers, self._transport.now(), expires_s)

    async def _remove(self, operation: str, key: str, query: Mapping[str, str] | None = None) -> None:
        try:
            await self._transport.call(operation, "DELETE", key, query or {})
        except S3Refusal as refusal:
            if not refusal.is_not_found:
                raise

    async def _list_uploads(self, key: str) -> AsyncIterator[str]:
        """Yield the ids of the uploads in parts to `key`; the store lists those of all keys that begin with it."""
        query = {"uploads": "", "prefix": key, "max-uploads": str(self._limits.page_items)}
        while True:
            page = parse_uploads((await self._transport.call("list_uploads", "GET", query=query)).body)
            for upload_key, upload_id in page.uploads:
                if upload_key == key:
                    yield upload_id
            # A store that does not understand the markers would answer with the same page for ever.
            if page.next_page is None or page.next_page.items() <= query.items():
                return
            query |= page.next_page

    async def _create_bucket(self) -> None:
        region = self._settings.s3_region
        body = b"" if region == _DEFAULT_REGION else encode_region(region)
        try:
            await self._transport.probe("create_bucket", "PUT", body=body)
        except S3Refusal as refusal:
            # Another server created it meanwhile.
            if refusal.code != "BucketAlreadyOwnedByYou":
                raise self._misconfigured("create", refusal) from None

    def _misconfigured(self, action: str, refusal: S3Refusal) -> ConfigurationError:
        settings = self._settings
        return ConfigurationError(
            f"The S3 store at {settings.s3_url} refuses to {action} the bucket {settings.s3_bucket} ({refusal}). "
            "Check the settings PARLEY_S3_*, and the rights of the access key."
        )


@contextmanager
def _missing_is_not_found() -> Iterator[None]:
    try:
        yield
    except S3Refusal as refusal:
        if refusal.is_not_found:
            raise ObjectNotFound(str(refusal)) from None
        raise


def _describe_certificate_error(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, if that is one of the causes of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _range_headers(offset: int, length: int | None) -> dict[str, str]:
    """Return the headers of a read. Raise ValueError for an empty range: stores answer with the whole object."""
    if offset < 0 or (length is not None and length < 1):
        raise ValueError(f"{length} bytes from {offset} are no range")
    if offset == 0 and length is None:
        return {}
    return {"range": f"bytes={offset}-{'' if length is None else offset + length - 1}"}
