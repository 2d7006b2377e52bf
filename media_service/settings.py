"""The settings of a media server, read from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from media_service.collection.times import CollectionTimes
from media_service.processing.worker_pool import PoolLimits
from media_service.processing.worker_process import WorkerLimits
from media_service.uploads.uploads import UploadLimits
from servicekit.config import Address, MediaTypes, Settings
from servicekit.rate_limiter import RateLimit
from servicekit.settings import MongoSettings, ServiceSettings

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400.0


S3Addressing = Literal["path", "host"]
"""The place of the bucket in addresses: the path (`s3.example.com/media/…`) or the host (`media.s3.example.com/…`)."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _normalize_origin(value: str) -> str:
    """Return `scheme://host[:port]`. Clients leave a default port out of the header `host`, which is signed."""
    url = urlsplit(value)
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.path.strip("/") or url.query or url.username:
        raise ValueError("must be http://host:port or https://host:port")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


def _validate_http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ValueError("must be an address that begins with http:// or https://")
    return value


HttpUrl = Annotated[str, AfterValidator(_validate_http_url)]
"""An address of the form `http://host:port/path`, or with `https`."""

Origin = Annotated[str, AfterValidator(_normalize_origin)]
"""An address of the form `http://host:port` or `https://host:port`."""


class S3Settings(Settings):
    """The settings of a service that stores objects in S3."""

    # The address of the S3 store, http://host:port or https://host:port.
    s3_url: Origin
    # The address at which clients reach the same store; default: the same. It is signed: a proxy must pass `Host` on.
    s3_public_url: Origin | None = None
    # The bucket of the files; it must exist.
    s3_bucket: str = Field(default="media", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    # The region that signatures name.
    s3_region: str = Field(default="us-east-1", min_length=1)
    # The access key of an identity that may read, write, list and delete in the bucket.
    s3_access_key: str = Field(min_length=1)
    # Its secret key.
    s3_secret_key: SecretStr = Field(min_length=1)
    # The place of the bucket in addresses: path (`s3.example.com/media/…`) or host (`media.s3.example.com/…`).
    s3_addressing: S3Addressing = "path"
    # The PEM file of the authorities that sign the certificate of the store; default: those of the system.
    s3_ca_file: Path | None = None


class MediaSettings(ServiceSettings, MongoSettings, S3Settings):
    """The settings of a media server, in addition to those of every service."""

    # As for every service.
    listen: Address = "127.0.0.1:5201"
    # As for every service.
    internal_listen: Address = "127.0.0.1:6201"
    # The largest file of one Upload call, in bytes. Chat servers tell it to clients, and read the same variable.
    media_upload_bytes: int = Field(default=10 * MIB, gt=0, le=64 * MIB)
    # The largest file that is uploaded in parts, in bytes. Chat servers read the same variable.
    media_file_bytes: int = Field(default=2 * GIB, gt=0, le=5 * GIB)
    # The media types of files that may be uploaded, as detected from their bytes; empty: any. Also for chat servers.
    media_types: MediaTypes = ()
    # The bytes that the files of a user may have.
    media_quota_bytes: int = Field(default=10 * GIB, gt=0)
    # The files that a user may have.
    media_quota_files: int = Field(default=100_000, gt=0)
    # The unfinished uploads that a user may have.
    media_quota_uploads: int = Field(default=100, gt=0)
    # Uploads that a device may begin per second.
    media_uploads_per_second: float = Field(default=5.0, gt=0)
    # The burst of these uploads.
    media_uploads_burst: int = Field(default=100, gt=0)
    # Seconds until an unfinished upload, or a file to which nothing refers, is removed.
    media_unreferenced_seconds: float = Field(default=DAY_S, gt=0)
    # Seconds between two checks whether something still refers to a file.
    media_recheck_seconds: float = Field(default=DAY_S, gt=0)
    # Seconds for which a file is kept for a message that is about to refer to it; longer than a send may take.
    media_claim_seconds: float = Field(default=3600.0, gt=0)
    # Seconds between two queries for files to check, to scan or to remove, while none is due.
    media_collection_pause_seconds: float = Field(default=5.0, gt=0)
    # Seconds after which another server may go on with an upload whose server has died.
    media_lease_seconds: float = Field(default=30.0, gt=0)
    # Seconds after which another server checks and removes files of a server that has died.
    media_collection_timeout_seconds: float = Field(default=300.0, gt=0)
    # Seconds until the objects of a removed file are deleted for the second time, and its record with them: longer than
    # a frozen server or store may still write an object.
    media_tombstone_seconds: float = Field(default=600.0, gt=0)
    # Seconds for which an address to download from is valid.
    media_url_seconds: int = Field(default=600, ge=1, le=7 * 86_400)
    # False: private metadata stays in pictures and videos.
    media_remove_metadata: bool = True
    # Processes of a server that decode pictures.
    media_picture_workers: int = Field(default=2, gt=0)
    # The largest picture that is decoded, in pixels.
    media_picture_pixels: int = Field(default=100_000_000, gt=0)
    # The HTTP address of a scanner, which decides whether files may be downloaded; unset: files are not scanned.
    media_scanner_url: HttpUrl | None = None
    # Seconds between two attempts to have a file scanned.
    media_scan_retry_seconds: float = Field(default=10.0, gt=0)

    @property
    def upload_limits(self) -> UploadLimits:
        """Return the limits of uploads."""
        return UploadLimits(
            streamed_bytes=self.media_upload_bytes,
            file_bytes=self.media_file_bytes,
            quota_bytes=self.media_quota_bytes,
            quota_files=self.media_quota_files,
            quota_uploads=self.media_quota_uploads,
            lifetime_s=self.media_unreferenced_seconds,
        )

    @property
    def upload_rate(self) -> RateLimit:
        """Return the rate at which a device may begin uploads."""
        return RateLimit(self.media_uploads_per_second, self.media_uploads_burst)

    @property
    def pool_limits(self) -> PoolLimits:
        """Return the limits of the processes that decode pictures."""
        return PoolLimits(workers=self.media_picture_workers, worker=WorkerLimits(max_pixels=self.media_picture_pixels))

    @property
    def collection_times(self) -> CollectionTimes:
        """Return the times of the collector."""
        return CollectionTimes(
            recheck_s=self.media_recheck_seconds,
            pause_s=self.media_collection_pause_seconds,
            timeout_s=self.media_collection_timeout_seconds,
            tombstone_s=self.media_tombstone_seconds,
            # An adoption is over within its lease, or goes on with the next call of the client.
            adoption_s=2 * self.media_lease_seconds,
            unreferenced_s=self.media_unreferenced_seconds,
            rejected_s=self.media_unreferenced_seconds,
            scan_retry_s=self.media_scan_retry_seconds,
        )
