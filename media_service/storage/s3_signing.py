"""Signature Version 4 of S3: signed headers for requests of this service, and signed addresses for its clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import SplitResult, quote, urlencode

from minio.credentials.credentials import Credentials
from minio.signer import get_credential_string, sign_v4_s3

MAX_EXPIRES_S: Final = 7 * 24 * 3600
"""The longest time that S3 accepts for a signed address."""

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class S3Signer:
    """Signs requests to one region with one access key. It needs no network. Times have the zone UTC."""

    credentials: Credentials
    region: str

    def sign_headers(
        self, method: str, url: SplitResult, headers: Mapping[str, str], at: datetime, body: bytes | None
    ) -> dict[str, str]:
        """Return `headers` (lower case) with those that authorize a request; it must be sent within minutes.

        `url` has an encoded path and query. The signature covers `body`; None is a body that is not covered.
        """
        digest = UNSIGNED_PAYLOAD if body is None else sha256(body).hexdigest()
        signed = {
            **headers,
            "host": url.netloc,
            "x-amz-content-sha256": digest,
            "x-amz-date": at.strftime(_DATE_FORMAT),
        }
        return {**signed, "authorization": self._authorization(method, url, signed, digest, at)}

    def sign_address(
        self, method: str, url: SplitResult, headers: Mapping[str, str], at: datetime, expires_s: int
    ) -> str:
        """Return the address of `url` with a signature that is valid for `expires_s` seconds from `at`.

        The store refuses a request with other values of `headers` (lower case); it may have any body. Raise ValueError
        if `expires_s` is not from 1 to MAX_EXPIRES_S.
        """
        if not 1 <= expires_s <= MAX_EXPIRES_S:
            raise ValueError(f"an address is valid for 1 to {MAX_EXPIRES_S} seconds, not for {expires_s}")
        signed = {**headers, "host": url.netloc}
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": get_credential_string(self.credentials.access_key, at, self.region),
            "X-Amz-Date": at.strftime(_DATE_FORMAT),
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        unsigned = url._replace(query="&".join(filter(None, (url.query, encode_query(parameters)))))
        # An address has the signature that the SDK puts at the end of the header, with another spelling around it.
        authorization = self._authorization(method, unsigned, signed, UNSIGNED_PAYLOAD, at)
        signature = authorization.rpartition("Signature=")[2]
        return unsigned._replace(query=f"{unsigned.query}&X-Amz-Signature={signature}").geturl()

    def _authorization(
        self, method: str, url: SplitResult, headers: Mapping[str, str], digest: str, at: datetime
    ) -> str:
        signed = sign_v4_s3(
            method=method,
            url=url,
            region=self.region,
            headers=dict(headers),
            credentials=self.credentials,
            content_sha256=digest,
            date=at,
        )
        return str(signed["Authorization"])


def encode_key(key: str) -> str:
    """Return a key as a path: all but letters, digits, `-._~` and `/` is percent-encoded, as the signature has it."""
    return quote(key, safe="/")


def encode_query(parameters: Mapping[str, str]) -> str:
    """Return parameters as a query, encoded as the signature has it."""
    return urlencode(parameters, quote_via=quote, safe="")
