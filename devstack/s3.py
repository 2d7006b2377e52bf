"""The S3 store of a stack: its bucket, its region, and the identity that the services sign their requests with."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUCKET: Final = "media"
REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Keys:
    """The keys of an identity: `access_key` names it, `secret_key` signs its requests."""

    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class S3Address:
    """The address of an S3 store: `url` (`http://host:port`), and an identity that may use its bucket `media`."""

    url: str
    keys: S3Keys

    @property
    def endpoint(self) -> str:
        """The host and port, as `host:port`."""
        return self.url.partition("://")[2]

    @property
    def host(self) -> str:
        """The host, a name or an address."""
        return self.endpoint.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port."""
        return int(self.endpoint.rpartition(":")[2])


def generate_identities() -> bytes:
    """Return a new identity file of SeaweedFS, in JSON: one identity, which may use the objects of the bucket alone."""
    identity = {
        "name": "media",
        "credentials": [{"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_urlsafe(30)}],
        "actions": [f"{action}:{BUCKET}" for action in ("Read", "Write", "List")],
    }
    return json.dumps({"identities": [identity]}, indent=2).encode()


def read_keys(identities: Path) -> S3Keys:
    """Return the keys of the identity in a file that `generate_identities` made."""
    [identity] = json.loads(identities.read_bytes())["identities"]
    [credential] = identity["credentials"]
    return S3Keys(credential["accessKey"], credential["secretKey"])
