"""The settings of the media service; each is read from the environment variable `PARLEY_` and its name in capitals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from servicekit.config import Settings

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


Origin = Annotated[str, AfterValidator(_normalize_origin)]
"""An address of the form `http://host:port` or `https://host:port`."""


class S3Settings(Settings):
    """The settings of a service that stores objects in S3."""

    s3_url: Origin
    # The address at which clients reach the same store; default: s3_url. It is signed: a proxy must pass `Host` on.
    s3_public_url: Origin | None = None
    s3_bucket: str = Field(default="media", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    s3_region: str = Field(default="us-east-1", min_length=1)
    s3_access_key: str = Field(min_length=1)
    s3_secret_key: SecretStr = Field(min_length=1)
    s3_addressing: S3Addressing = "path"
    # The PEM file of the authorities that sign the certificate of s3_url; default: those of the system.
    s3_ca_file: Path | None = None
