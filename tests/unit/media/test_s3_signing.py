"""Signatures equal those of the worked examples in the S3 documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from minio.credentials.credentials import Credentials

from media_service.storage.s3_signing import MAX_EXPIRES_S, S3Signer, encode_key, encode_query

AT = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"
SIGNER = S3Signer(Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1")


def signature_of_headers(path: str, headers: dict[str, str]) -> str:
    signed = SIGNER.sign_headers("GET", urlsplit(f"{HOST}{path}"), headers, AT, b"")
    return signed["authorization"].rpartition("Signature=")[2]


def test_signed_address_equals_the_documented_one() -> None:
    assert SIGNER.sign_address("GET", urlsplit(f"{HOST}/test.txt"), {}, AT, 86400) == (
        f"{HOST}/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    ("path", "headers", "signature"),
    [
        (
            "/test.txt",
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        ("/?lifecycle=", {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", {}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_signed_headers_equal_the_documented_ones(path: str, headers: dict[str, str], signature: str) -> None:
    assert signature_of_headers(path, headers) == signature


def test_signed_headers_are_complete() -> None:
    signed = SIGNER.sign_headers("PUT", urlsplit(f"{HOST}/a"), {"content-length": "5"}, AT, None)
    assert signed["content-length"] == "5"
    assert signed["host"] == "examplebucket.s3.amazonaws.com"
    assert signed["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "SignedHeaders=content-length;host;x-amz-content-sha256;x-amz-date," in signed["authorization"]


def test_every_part_of_an_address_changes_its_signature() -> None:
    def signature(
        method: str = "PUT",
        url: str = f"{HOST}/a?partNumber=1",
        size: str = "5",
        at: datetime = AT,
        expires_s: int = 60,
        signer: S3Signer = SIGNER,
    ) -> str:
        address = signer.sign_address(method, urlsplit(url), {"content-length": size}, at, expires_s)
        return parse_qs(urlsplit(address).query)["X-Amz-Signature"][0]

    signatures = [
        signature(),
        signature(method="GET"),
        signature(url=f"{HOST}/b?partNumber=1"),
        signature(url=f"{HOST}/a?partNumber=2"),
        signature(url=f"{HOST}/a"),
        signature(url="http://localhost:8333/a?partNumber=1"),
        signature(size="6"),
        signature(at=AT.replace(second=1)),
        signature(expires_s=61),
        signature(signer=S3Signer(SIGNER.credentials, "eu-west-1")),
        signature(signer=S3Signer(Credentials("AKIAIOSFODNN7EXAMPLE", "another"), "us-east-1")),
    ]
    assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize("expires_s", [-1, 0, MAX_EXPIRES_S + 1])
def test_time_beyond_the_limits_is_refused(expires_s: int) -> None:
    with pytest.raises(ValueError, match="604800"):
        SIGNER.sign_address("GET", urlsplit(f"{HOST}/a"), {}, AT, expires_s)


def test_keys_and_queries_are_encoded_as_rfc_3986_has_it() -> None:
    assert encode_key("a/b c+d~e'f%2F") == "a/b%20c%2Bd~e%27f%252F"
    assert encode_query({"a": "b c+d/e~", "f": ""}) == "a=b%20c%2Bd%2Fe~&f="
