"""The statuses of the calls that Envoy itself refuses: a reason for each cause, as a server would give it."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any, Final

from servicekit.errors import (
    FrameTooLarge,
    Invalid,
    NotYetServed,
    RateLimited,
    ServiceUnavailable,
    TimedOut,
    Unauthenticated,
)
from servicekit.failure import Failure
from servicekit.status import to_proto

UNSERVED: Final = NotYetServed("this deployment does not serve this method")
_IS_GRPC: Final = "request.headers['content-type'].startsWith('application/grpc')"

# The first expression that is true of an answer of Envoy applies. The details are the causes that Envoy logs.
_REFUSALS: Final[tuple[tuple[str, Failure], ...]] = (
    (
        # An empty bearer token is malformed to Envoy, and missing to a server.
        "response.code_details.startsWith('jwt_authn_access_denied{Jwt_is_missing')"
        " || request.headers['authorization'].matches('^Bearer *$')",
        Unauthenticated("the call carries no bearer token", reason="TOKEN_MISSING"),
    ),
    (
        "response.code_details.startsWith('jwt_authn_access_denied{Jwt_is_expired')",
        Unauthenticated("the access token has expired; refresh it", reason="TOKEN_EXPIRED"),
    ),
    (
        "response.code_details.startsWith('jwt_authn_access_denied{Audiences_in_Jwt')",
        Unauthenticated("the access token is for another audience", reason="TOKEN_WRONG_AUDIENCE"),
    ),
    (
        "response.code_details.startsWith('jwt_authn_access_denied')",
        Unauthenticated("the access token is not valid", reason="TOKEN_INVALID"),
    ),
    # A path with an encoded slash or without a leading one names no method.
    ("response.code == 404 || response.code_details.contains('path')", UNSERVED),
    ("response.code == 408", TimedOut("the call took longer than its deadline, or than 30 s")),
    ("response.code == 429", RateLimited("too many calls")),
    ("response.code == 431", FrameTooLarge("the headers of a call may have at most 16 KiB and 64 fields")),
    ("response.code >= 500", ServiceUnavailable("no server of this service answers; try again")),
    ("response.code >= 400", Invalid("the request is not valid HTTP", reason="FRAME_UNPARSABLE")),
)


def refusal_mappers(pattern: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the mappers of local replies: `pattern` for each refusal, with its expression and its status."""
    return [_mapper(pattern, expression, failure) for expression, failure in _REFUSALS]


def _mapper(pattern: dict[str, Any], expression: str, failure: Failure) -> dict[str, Any]:
    mapper = deepcopy(pattern)
    mapper["filter"]["extension_filter"]["typed_config"]["expression"] = f"{_IS_GRPC} && ({expression})"
    headers = {
        "grpc-status": str(to_proto(failure).code),
        "grpc-message": failure.message,
        "grpc-status-details-bin": details_header(failure),
    }
    mapper["headers_to_add"] = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers.items()
    ]
    return mapper


def details_header(failure: Failure) -> str:
    """Return the value of the header `grpc-status-details-bin` of `failure`; gRPC sends base64 without padding."""
    return base64.b64encode(to_proto(failure).SerializeToString()).decode().rstrip("=")
