"""Page tokens: opaque strings that continue one list request after the last item of a page.

A token holds a digest of its request and the position of the last item. The digest covers the type of the request
and all fields but `page_size` and `page_token`: a token is refused if another request got it, or the same request with
other arguments. The digest is no secret and protects no data: every position is checked as untrusted input.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from copy import deepcopy
from hashlib import sha256
from typing import Any, Final, TypeAlias, TypeVar

from servicekit.errors import PageTokenInvalid

T = TypeVar("T")

# Any request message with the fields `page_size` and `page_token`.
ListRequest: TypeAlias = Any

# A position that is an id.
ID_POSITION: Final = re.compile(r"[0-9a-f]{32}")

DIGEST_BYTES: Final = 6


def encode_page_token(request: ListRequest, position: str) -> str:
    """Return the token for the items of `request` after `position`."""
    return urlsafe_b64encode(_digest(request) + position.encode()).decode().rstrip("=")


def decode_page_token(request: ListRequest, pattern: re.Pattern[str]) -> str:
    """Return the position in the page token of `request`; empty for the first page, whose request has no token.

    Raise PageTokenInvalid if the token belongs to another request or its position does not match `pattern`.
    """
    token = request.page_token
    if not token:
        return ""
    position = _position(token)
    # The comparison covers the digest and refuses other spellings of the same bytes.
    if not pattern.fullmatch(position) or encode_page_token(request, position) != token:
        raise PageTokenInvalid("page token belongs to another request; start again with the first page")
    return position


def next_page_token(request: ListRequest, found: Sequence[T], size: int, position: Callable[[T], str]) -> str:
    """Return the token for the page after the first `size` items of `found`; empty if there are no others."""
    return encode_page_token(request, position(found[size - 1])) if len(found) > size else ""


def _position(token: str) -> str:
    """Return the position in a token, its digest unchecked; empty if the token cannot be decoded."""
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4))[DIGEST_BYTES:].decode()
    except ValueError:
        return ""


def _digest(request: ListRequest) -> bytes:
    query = deepcopy(request)
    query.ClearField("page_size")
    query.ClearField("page_token")
    content = request.DESCRIPTOR.full_name.encode() + b"\0" + query.SerializeToString(deterministic=True)
    return sha256(content).digest()[:DIGEST_BYTES]
