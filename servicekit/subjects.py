"""Who a token is of: the ids of user and device in its claims, of our own issuer's tokens and of others'."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from servicekit.failure import Failure

ReadIds = Callable[[Mapping[str, Any]], tuple[str, str]]
"""The ids of user and device, 32 hex digits each, in the claims of a token. Raises Failure TOKEN_INVALID."""

MAX_CLAIM_LENGTH: Final = 255
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def native_ids(claims: Mapping[str, Any]) -> tuple[str, str]:
    """Those of a token of ours: `sub` and `did` as they are."""
    user_id, device_id = claims["sub"], claims.get("did")
    if not all(isinstance(each, str) and _ID.fullmatch(each) for each in (user_id, device_id)):
        _raise_token_invalid("sub and did of an access token are 32 hex digits each")
    return user_id, str(device_id)


def external_ids(issuer: str) -> ReadIds:
    """Those of another issuer's tokens: `sub`, and `did` or, without one, `sid`, whatever they look like.

    32 hex digits are an id as they are; of anything else the id is a UUIDv5, which everybody can compute: for a user
    of `sub`, for a device of `sub`, a line feed and `did`, in the namespace that is the UUIDv5 of the issuer's URL.
    """
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, issuer)

    def ids(claims: Mapping[str, Any]) -> tuple[str, str]:
        subject, device = _read_claim(claims, "sub"), _read_claim(claims, "did", "sid")
        return _hex_id(namespace, subject, subject), _hex_id(namespace, device, f"{subject}\n{device}")

    return ids


def _hex_id(namespace: uuid.UUID, text: str, unique: str) -> str:
    return text if _ID.fullmatch(text) else uuid.uuid5(namespace, unique).hex


def _read_claim(claims: Mapping[str, Any], *names: str) -> str:
    """The first of these claims that the token has."""
    text = next((claims[name] for name in names if name in claims), None)
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CLAIM_LENGTH:
        _raise_token_invalid(f"an access token has {' or '.join(names)}, of 1 to {MAX_CLAIM_LENGTH} characters")
    return text


def _raise_token_invalid(message: str) -> NoReturn:
    raise Failure(message, code="UNAUTHENTICATED", reason="TOKEN_INVALID")
