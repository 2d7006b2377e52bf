"""The XML of S3: refusals, listings and the body that completes an upload in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, ParseError, fromstring

from minio.datatypes import Part, Upload
from minio.xml import Element as new_element  # noqa: N813  a function
from minio.xml import SubElement, findall, findtext, getbytes

from media_service.model.object_store import StoredPart

# The codes of refusals that other requests share, though their status is that of a wrong request.
_OUTAGE_CODES: Final = frozenset({"OperationAborted", "RequestTimeout", "SlowDown"})
_DENIAL_CODES: Final = frozenset({"AuthorizationHeaderMalformed", "NoSuchBucket"})
_TOO_MANY_REQUESTS: Final = 429


class S3Refusal(Exception):
    """An answer of the store other than success: its status, S3's code (empty if it has none) and S3's message."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(": ".join(filter(None, (f"status {status}", code, message))))

    @property
    def is_outage(self) -> bool:
        """True if the store cannot serve the request at present."""
        return self.status >= 500 or self.status == _TOO_MANY_REQUESTS or self.code in _OUTAGE_CODES

    @property
    def is_denial(self) -> bool:
        """True if the store serves no request of this service: access key, bucket, region or address are wrong."""
        return self.status in (401, 403) or 300 <= self.status < 400 or self.code in _DENIAL_CODES

    @property
    def is_not_found(self) -> bool:
        """True if there is no such object or upload."""
        return self.status == 404 and not self.is_denial


def parse_refusal(status: int, body: bytes) -> S3Refusal | None:
    """Return the refusal of an answer; None if it is a success. S3 sends some errors with status 200."""
    root = _parse_xml(body)
    if root is not None and root.tag.rpartition("}")[2] == "Error":
        # An error with status 200 happened after S3 had begun to answer.
        status = 500 if status < 300 else status
        return S3Refusal(status, findtext(root, "Code") or "", findtext(root, "Message") or "")
    return None if 200 <= status < 300 else S3Refusal(status)


def parse_upload_id(body: bytes) -> str:
    """Return the id of an upload in parts that was created. Raise S3Refusal if `body` has none."""
    upload_id = findtext(_root(body), "UploadId")
    if not upload_id:
        raise S3Refusal(200, message="the answer has no UploadId")
    return upload_id


@dataclass(frozen=True, slots=True)
class PartsPage:
    """A page of the parts of an upload by their numbers; `next_marker` continues the listing, None if it is complete.

    SeaweedFS lists each version of a part that was sent again. The page has the newest.
    """

    parts: Mapping[int, StoredPart]
    next_marker: str | None


def parse_parts(body: bytes) -> PartsPage:
    """Return a page of parts, in order of their numbers."""
    root = _root(body)
    found = [Part.fromxml(element) for element in findall(root, "Part")]
    found.sort(key=lambda part: (part.part_number, part.last_modified.timestamp() if part.last_modified else 0))
    parts = {part.part_number: StoredPart(part.part_number, part.size or 0, part.etag) for part in found}
    return PartsPage(parts, str(max(parts)) if parts and _is_truncated(root) else None)


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """A page of uploads in parts, as pairs of key and upload id; `next_page` is the query of the next page, if any."""

    uploads: Sequence[tuple[str, str]]
    next_page: Mapping[str, str] | None


def parse_uploads(body: bytes) -> UploadsPage:
    """Return a page of uploads in parts."""
    root = _root(body)
    found = [Upload(element, findtext(root, "EncodingType")) for element in findall(root, "Upload")]
    uploads = [(upload.object_name, upload.upload_id or "") for upload in found]
    return UploadsPage(uploads, _next_uploads(root) if _is_truncated(root) else None)


def _next_uploads(root: Element) -> dict[str, str] | None:
    """Return the markers that the store names. SeaweedFS names no key: it takes a key marker for the one to list."""
    named = {
        "key-marker": findtext(root, "NextKeyMarker"),
        "upload-id-marker": findtext(root, "NextUploadIdMarker"),
    }
    return {name: value for name, value in named.items() if value} or None


def encode_parts(parts: Sequence[StoredPart]) -> bytes:
    """Return the body that joins parts to an object."""
    root = new_element("CompleteMultipartUpload")
    for part in parts:
        element = SubElement(root, "Part")
        SubElement(element, "PartNumber", str(part.number))
        SubElement(element, "ETag", f'"{part.tag}"')
    return getbytes(root)


def encode_region(region: str) -> bytes:
    """Return the body that creates a bucket in a region."""
    root = new_element("CreateBucketConfiguration")
    SubElement(root, "LocationConstraint", region)
    return getbytes(root)


def _is_truncated(root: Element) -> bool:
    return (findtext(root, "IsTruncated") or "").lower() == "true"


def _root(body: bytes) -> Element:
    root = _parse_xml(body)
    if root is None:
        raise S3Refusal(200, message="the answer is not XML")
    return root


def _parse_xml(body: bytes) -> Element | None:
    try:
        return fromstring(body)  # noqa: S314  from the store of the deployment
    except ParseError:
        return None
