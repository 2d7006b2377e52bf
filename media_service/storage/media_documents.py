"""The documents of files in MongoDB.

`_id` is the media id; `owner` and `request` are the user and the id of the request that created it, unique together.
`state` is the number of MediaState. `name`, `type`, `size`, `wave` and `parts` are what the uploader said;
`sha` is the digest of the sent bytes once it is known, `opaque` says that the bytes may not be read, and `bytes` is the
size that counts for the quota: 0 once the file shares the objects of `base`.

`lease` is the call that completes the file, `by` and `until`, and `tries` counts the calls that had one. `due` is the
next time at which the collector or the scan job takes the file, `mark` the id of the batch in which it is now, and
`pinned` the time until which it is claimed. Times are in milliseconds since 1970.
"""

from __future__ import annotations

from typing import Any

from bson import Binary

from media_service.model.media import (
    FileDescription,
    MediaFacts,
    MediaFile,
    MediaKind,
    MediaState,
    StoredVariant,
    Variant,
)
from servicekit.failure import Failure, Violation
from servicekit.mongo import Document


def encode_id(identifier: str) -> Binary:
    """Return an id, 32 hex digits, as 16 bytes."""
    return Binary(bytes.fromhex(identifier))


def encode_file(file: MediaFile) -> Document:
    """Return the document of a new file."""
    description = file.description
    return {
        "_id": encode_id(file.media_id),
        "owner": encode_id(file.owner_id),
        "request": Binary(file.request_id),
        "state": int(file.state),
        "name": description.file_name,
        "type": description.content_type,
        "size": description.size_bytes,
        "bytes": description.size_bytes,
        "announced": Binary(description.sha256),
        "wave": Binary(description.waveform),
        "opaque": description.opaque,
        "parts": file.in_parts,
        "upload": file.upload_id,
        "base": encode_id(file.base_id),
        "created": file.create_ms,
        "expires": file.expire_ms,
        "due": file.expire_ms,
    }


def decode_file(document: Document) -> MediaFile:
    """Return the file of a document."""
    return MediaFile(
        media_id=document["_id"].hex(),
        owner_id=document["owner"].hex(),
        request_id=bytes(document["request"]),
        state=MediaState(document["state"]),
        description=FileDescription(
            document["name"],
            document["type"],
            document["size"],
            bytes(document["announced"]),
            bytes(document["wave"]),
        ),
        create_ms=document["created"],
        expire_ms=document["expires"],
        base_id=document["base"].hex(),
        in_parts=document["parts"],
        upload_id=document["upload"],
        claimed_until_ms=document.get("pinned", 0),
        remove_ms=document.get("removed", 0),
        attempts=document.get("tries", 0),
        facts=_decode_facts(document["facts"]) if "facts" in document else None,
        failure=_decode_failure(document["failure"]) if "failure" in document else None,
    )


def encode_facts(facts: MediaFacts) -> Document:
    """Return the field `facts`."""
    return {
        "kind": int(facts.kind),
        "type": facts.content_type,
        "size": facts.size_bytes,
        "sha": Binary(facts.sha256),
        "rewritten": facts.rewritten,
        "width": facts.width,
        "height": facts.height,
        "duration": facts.duration_ms,
        "thumbhash": Binary(facts.thumbhash),
        "variants": [
            [int(variant), stored.content_type, stored.size_bytes, stored.width, stored.height]
            for variant, stored in facts.variants.items()
        ],
    }


def _decode_facts(fields: Document) -> MediaFacts:
    return MediaFacts(
        kind=MediaKind(fields["kind"]),
        content_type=fields["type"],
        size_bytes=fields["size"],
        sha256=bytes(fields["sha"]),
        rewritten=fields["rewritten"],
        width=fields["width"],
        height=fields["height"],
        duration_ms=fields["duration"],
        thumbhash=bytes(fields["thumbhash"]),
        variants={Variant(number): StoredVariant(*stored) for number, *stored in fields["variants"]},
    )


def encode_failure(failure: Failure) -> Document:
    """Return the field `failure`."""
    violations = [[each.field, each.description] for each in failure.violations]
    return {"code": failure.code, "reason": failure.reason, "message": failure.message, "violations": violations}


def _decode_failure(fields: dict[str, Any]) -> Failure:
    code, reason = fields["code"], fields["reason"]
    violations = tuple(Violation(*each) for each in fields["violations"])
    return Failure.class_of(code, reason)(fields["message"], code=code, reason=reason, violations=violations)
