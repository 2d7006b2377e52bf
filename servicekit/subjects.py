"""Token subjects: the user id and device id in the claims of our own tokens and of external issuers' tokens."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from servicekit.failure import Failure

ReadIds = Callable[[Mapping[str, Any]], tuple[str, str]]
"""A function from claims to user id and device id, 32 hex digits each. It raises Failure TOKEN_INVALID."""

MAX_CLAIM_LENGTH: Final = 255
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def native_ids(claims: Mapping[str, Any]) -> tuple[str, str]:
    """Return the ids of a token of our own: `sub` and `did` unchanged. Raise Failure TOKEN_INVALID."""
    user_id, device_id = claims["sub"], claims.get("did")
    if not all(isinstance(claim, str) and _ID.fullmatch(claim) for claim in (user_id, device_id)):
        _raise_token_invalid("sub and did of an access token must be 32 hex digits each")
    return user_id, str(device_id)


def external_ids(issuer: str) -> ReadIds:
    """Return the function that reads the ids of an external issuer's tokens from `sub`, and `did` or else `sid`.

    A claim of 32 hex digits is used unchanged. Any other text is mapped to a UUIDv5 that others can compute too: the
    namespace is the UUIDv5 of the issuer's URL, the name is `sub` for a user, and `sub`, a line feed and `did` for a
    device.
    """
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, issuer)

    def read_ids(claims: Mapping[str, Any]) -> tuple[str, str]:
        subject, device = _read_claim(claims, "sub"), _read_claim(claims, "did", "sid")
        return _hex_id(namespace, subject, subject), _hex_id(namespace, device, f"{subject}\n{device}")

    return read_ids


def _hex_id(namespace: uuid.UUID, text: str, unique: str) -> str:
    return text if _ID.fullmatch(text) else uuid.uuid5(namespace, unique).hex


def _read_claim(claims: Mapping[str, Any], *names: str) -> str:
    """Return the first of the claims `names` that is present. Raise Failure TOKEN_INVALID if none is usable."""
    text = next((claims[name] for name in names if name in claims), None)
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CLAIM_LENGTH:
        _raise_token_invalid(f"an access token must have {' or '.join(names)} of 1 to {MAX_CLAIM_LENGTH} characters")
    return text


def _raise_token_invalid(message: str) -> NoReturn:
    raise Failure(message, code="UNAUTHENTICATED", reason="TOKEN_INVALID")
