"""Answers of S3 are understood: refusals of every kind, and listings with and without a namespace."""

from __future__ import annotations

import pytest

from media_service.model.object_store import StoredPart
from media_service.storage.s3_responses import (
    S3Refusal,
    encode_parts,
    encode_region,
    parse_parts,
    parse_refusal,
    parse_upload_id,
    parse_uploads,
)

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>It failed.</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, error("NoSuchKey"), "not found"),
        (404, error("NoSuchUpload"), "not found"),
        (404, b"", "not found"),
        (404, error("NoSuchBucket"), "denial"),
        (403, error("SignatureDoesNotMatch"), "denial"),
        (403, b"", "denial"),
        (401, b"", "denial"),
        (301, error("PermanentRedirect"), "denial"),
        (400, error("AuthorizationHeaderMalformed"), "denial"),
        (503, error("SlowDown"), "outage"),
        (500, b"<html>Bad gateway</html>", "outage"),
        (502, b"<html>Bad gateway", "outage"),
        (429, b"", "outage"),
        (400, error("RequestTimeout"), "outage"),
        (409, error("OperationAborted"), "outage"),
        (200, error("InternalError"), "outage"),
        (400, error("EntityTooSmall"), "other"),
        (416, error("InvalidRange"), "other"),
    ],
)
def test_refusal_is_classified(status: int, body: bytes, expected: str) -> None:
    refusal = parse_refusal(status, body)
    assert refusal is not None
    kinds = {"outage": refusal.is_outage, "denial": refusal.is_denial, "not found": refusal.is_not_found}
    assert [kind for kind, holds in kinds.items() if holds] == ([expected] if expected in kinds else [])


@pytest.mark.parametrize("body", [b"", b"data", b"<Result/>", b"<ErrorLog/>"])
def test_success_is_no_refusal(body: bytes) -> None:
    assert parse_refusal(200, body) is None
    assert parse_refusal(204, body) is None


def test_refusal_names_status_code_and_message() -> None:
    assert str(parse_refusal(404, error("NoSuchKey"))) == "status 404: NoSuchKey: It failed."


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_upload_id_is_found(namespace: str) -> None:
    body = f"<InitiateMultipartUploadResult {namespace}><UploadId>id-1</UploadId></InitiateMultipartUploadResult>"
    assert parse_upload_id(body.encode()) == "id-1"


@pytest.mark.parametrize("body", [b"", b"<html>", b"<Result/>", b"<Result><UploadId/></Result>"])
def test_answer_without_upload_id_is_refused(body: bytes) -> None:
    with pytest.raises(S3Refusal):
        parse_upload_id(body)


def part(number: int, size: int, tag: str, second: int = 0) -> str:
    return (
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size>"
        f"<LastModified>2026-01-01T00:00:{second:02}Z</LastModified></Part>"
    )


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_page_of_parts_is_understood(namespace: str) -> None:
    items = part(1, 10, "a", 1) + part(2, 20, "c", 5) + part(2, 20, "b", 2)
    body = f"<ListPartsResult {namespace}>{items}<IsTruncated>%s</IsTruncated></ListPartsResult>"
    page = parse_parts((body % "true").encode())
    assert page.parts == {1: StoredPart(1, 10, "a"), 2: StoredPart(2, 20, "c")}
    assert page.next_marker == "2"
    assert parse_parts((body % "false").encode()).next_marker is None


def test_empty_page_ends_the_listing() -> None:
    assert parse_parts(b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>").next_marker is None
    body = b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"
    assert parse_uploads(body).next_page is None


KEY, UPLOAD = "<NextKeyMarker>b</NextKeyMarker>", "<NextUploadIdMarker>2</NextUploadIdMarker>"


@pytest.mark.parametrize(
    ("markers", "query"),
    [(KEY + UPLOAD, {"key-marker": "b", "upload-id-marker": "2"}), (UPLOAD, {"upload-id-marker": "2"}), ("", None)],
    ids=["Amazon", "SeaweedFS", "none"],
)
def test_page_of_uploads_is_understood(markers: str, query: dict[str, str] | None) -> None:
    items = "".join(
        f"<Upload><Key>{key}</Key><UploadId>{upload_id}</UploadId></Upload>"
        for key, upload_id in (("a", "1"), ("b", "2"))
    )
    name = "ListMultipartUploadsResult"
    body = f"<{name} {NAMESPACE}>{markers}{items}<IsTruncated>%s</IsTruncated></{name}>"
    page = parse_uploads((body % "true").encode())
    assert page.uploads == [("a", "1"), ("b", "2")]
    assert page.next_page == query
    assert parse_uploads((body % "false").encode()).next_page is None


def test_parts_are_encoded_in_order() -> None:
    body = encode_parts([StoredPart(1, 10, "a"), StoredPart(2, 10, "b")]).decode()
    assert body == (
        f"<CompleteMultipartUpload {NAMESPACE}>"
        '<Part><PartNumber>1</PartNumber><ETag>"a"</ETag></Part>'
        '<Part><PartNumber>2</PartNumber><ETag>"b"</ETag></Part>'
        "</CompleteMultipartUpload>"
    )


def test_region_is_encoded() -> None:
    assert b"<LocationConstraint>eu-west-1</LocationConstraint>" in encode_region("eu-west-1")
