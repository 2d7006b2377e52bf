"""Page tokens: opaque strings that continue one list request after the last item of a page.

A token holds a digest of its request and the position of the last item. The digest covers the type of the request
and all fields but `page_size` and `page_token`: a token that another request got, or the same request with other
arguments, is refused. The digest is no secret and protects no data: every position is checked as untrusted input.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from copy import deepcopy
from hashlib import sha256
from typing import Final, TypeVar

from chat_service.errors import PageTokenInvalid
from chat_service.history.history import ChangesPosition
from chat_service.history.message_search import Rank
from chat_service.model.cursor import Cursor, Resync
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import directory_pb2

T = TypeVar("T")

ListRequest = (
    account_pb2.SearchUsersRequest
    | account_pb2.ListDevicesRequest
    | account_pb2.ListBlockedRequest
    | chat_pb2.ListChangesRequest
    | chat_pb2.ListMessagesRequest
    | chat_pb2.SearchMessagesRequest
    | chat_pb2.ListReadersRequest
    | conversation_pb2.ListConversationsRequest
    | directory_pb2.ListMembersRequest
)

# The forms of positions.
ID: Final = re.compile(r"[0-9a-f]{32}")
SEQ: Final = re.compile(r"[1-9][0-9]{0,17}")
LOGIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,63}")
# Milliseconds since 1970, 15 digits, and the id of the device.
DEVICE_AGE: Final = re.compile(r"[0-9]{15}:[0-9a-f]{32}")
# The order of a message in the search index, below 9 * 10**18 to fit an int64, and the id of its conversation.
RANK: Final = re.compile(r"(?:[0-9]{1,18}|[1-8][0-9]{18}):[0-9a-f]{32}")
# Resync, the generation and time of the first page's cursor ("-" without one), and the last conversation's id.
CHANGES: Final = re.compile(r"[0-4]:(?:-:-|[0-9]{1,18}:[0-9]{1,18}):[0-9a-f]{32}")

DIGEST_BYTES: Final = 6


def encode_page_token(request: ListRequest, position: str) -> str:
    """Return the token for the items of `request` after `position`."""
    return urlsafe_b64encode(_digest(request) + position.encode()).decode().rstrip("=")


def decode_page_token(request: ListRequest, form: re.Pattern[str]) -> str:
    """Return the position in the page token of `request`; empty without a token, which is the first page.

    Raise PageTokenInvalid if the token belongs to another request or its position does not match `form`.
    """
    token = request.page_token
    if not token:
        return ""
    position = _position(token)
    # The comparison covers the digest and refuses other spellings of the same bytes.
    if not form.fullmatch(position) or encode_page_token(request, position) != token:
        raise PageTokenInvalid("page token belongs to another request; start again with the first page")
    return position


def next_page_token(request: ListRequest, found: Sequence[T], size: int, position: Callable[[T], str]) -> str:
    """Return the token for the page after the first `size` items of `found`; empty if there are no others."""
    return encode_page_token(request, position(found[size - 1])) if len(found) > size else ""


def encode_rank(rank: Rank) -> str:
    """Return a rank as a position of form RANK."""
    return f"{rank.order}:{rank.conversation_id}"


def decode_rank(position: str) -> Rank:
    """Return the rank in a position of form RANK."""
    order, _, conversation_id = position.partition(":")
    return Rank(int(order), conversation_id)


def encode_changes_position(position: ChangesPosition) -> str:
    """Return a position in a list of changes as a position of form CHANGES."""
    cursor = position.cursor
    start = f"{cursor.generation}:{cursor.time_ms}" if cursor else "-:-"
    return f"{position.resync:d}:{start}:{position.after}"


def decode_changes_position(position: str) -> ChangesPosition:
    """Return the position in a list of changes from a position of form CHANGES."""
    resync, generation, time_ms, after = position.split(":")
    cursor = None if generation == "-" else Cursor(int(generation), int(time_ms))
    return ChangesPosition(Resync(int(resync)), cursor, after)


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
