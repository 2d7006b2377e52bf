"""The audit log: one line of one schema for each act of administration, in the logger `audit`.

The acts are calls. The table of a service maps its methods to events, and the RPC layer writes the line when the call
ends, whatever its outcome. An act without a call of its own, such as a deletion that a job completes, is written with
`record_event`. Lines name users, devices and conversations by their ids. They contain no content, title, name, password
or token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from servicekit import tracing
from servicekit.auth import Claims
from servicekit.errors import StoreUnavailable
from servicekit.failure import Failure
from servicekit.telemetry import AUDIT_LOGGER

Fields: TypeAlias = Mapping[str, object]
Describe: TypeAlias = Callable[[Any, Any], Fields]
"""Returns fields of the line from the request, and from the response, which is None unless the call succeeded."""

OPERATOR_HEADER: Final = "x-parley-operator"
CLIENT_ADDRESS_HEADER: Final = "x-envoy-external-address"
SUCCESS: Final = "success"
FAILURE: Final = "failure"
# The client left, the server stopped, or a server or store failed before the end: the call may have taken effect.
UNKNOWN: Final = "unknown"
# Text of clients that is written as it is.
_PLAIN_TEXT: Final = re.compile(r"[!-~]{1,128}")

_log = structlog.get_logger(AUDIT_LOGGER)


def _nothing(_: object, __: object) -> Fields:
    return {}


@dataclass(frozen=True, slots=True)
class AuditRule:
    """The event of a method.

    `target` returns the ids of the users, devices and other things that the call acts on, `details` what it changes.
    With `failures_only` calls that succeed are not written: they are no administration.
    """

    event: str
    target: Describe = _nothing
    details: Describe = _nothing
    failures_only: bool = False


AuditTable: TypeAlias = Mapping[str, AuditRule]
"""The rules of a gRPC service, by name of the method."""


@dataclass(slots=True)
class CallOrigin:
    """The origin of a call: its text metadata, the address of its peer, and the claims of the caller once verified.

    A call on the internal port is `internal`. `request` is the request once it was found to follow the contract.
    `noted` are ids that were added to the target while the call ran.
    """

    metadata: Mapping[str, str]
    peer: str
    internal: bool
    claims: Claims | None = None
    request: Message | None = None
    noted: dict[str, object] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        """The id of the calling user, or `operator:` and the name that a calling operator stated; else empty."""
        if self.claims is not None:
            return self.claims.user_id
        return f"operator:{_plain(self.metadata.get(OPERATOR_HEADER, ''))}" if self.internal else ""

    @property
    def source(self) -> str:
        """The address that the call came from, without its port."""
        return peer_address(self.peer) if self.internal else client_address(self.metadata, self.peer)


_current_call: ContextVar[CallOrigin | None] = ContextVar("current_call", default=None)


def enter_call(origin: CallOrigin) -> None:
    """Make `origin` the call that the current task serves."""
    _current_call.set(origin)


def set_request(request: Message) -> None:
    """Let the line of the current call describe its request, which follows the contract."""
    if (origin := _current_call.get()) is not None:
        origin.request = request


def add_target(**ids: str) -> None:
    """Add ids to the target of the event of the current call, which the request does not state."""
    if (origin := _current_call.get()) is not None:
        origin.noted.update(ids)


def record_event(event: str, target: Fields, details: Fields | None = None) -> None:
    """Write an act that succeeded and is no call. If it happened within a call, the line has the origin of that."""
    _write(event, _current_call.get(), target, details or {}, SUCCESS, "", "")


class CallAudit:
    """The writer of the lines of one method. Raises TypeError for a method with a stream of requests."""

    def __init__(self, method: MethodDescriptor, rule: AuditRule) -> None:
        if method.client_streaming:
            raise TypeError(f"{method.full_name} has a stream of requests, of which no single one says what it does")
        self._name = f"/{method.containing_service.full_name}/{method.name}"
        self._rule = rule
        # A stream of responses has none that says what was done.
        self._response_type = None if method.server_streaming else GetMessageClass(method.output_type)

    def record_success(self, origin: CallOrigin, response: bytes | None) -> None:
        """Write that the call succeeded."""
        if not self._rule.failures_only:
            parsed = None if response is None or not self._response_type else self._response_type.FromString(response)
            self._write(origin, parsed, SUCCESS, "")

    def record_failure(self, origin: CallOrigin, failure: Failure) -> None:
        """Write that the call was refused, or that its outcome is unknown because a store failed."""
        self._write(origin, None, UNKNOWN if isinstance(failure, StoreUnavailable) else FAILURE, failure.reason)

    def record_unknown(self, origin: CallOrigin, reason: str) -> None:
        """Write that the outcome of the call is unknown, because it was cancelled or the server failed."""
        self._write(origin, None, UNKNOWN, reason)

    def _write(self, origin: CallOrigin, response: Message | None, outcome: str, reason: str) -> None:
        target, details = self._describe(origin.request, response)
        _write(self._rule.event, origin, target, details, outcome, reason, self._name)

    def _describe(self, request: Message | None, response: Message | None) -> tuple[Fields, Fields]:
        """Return target and details; both are empty for a request that breaks a rule: any text may be in its fields."""
        if request is None:
            return {}, {}
        try:
            return self._rule.target(request, response), self._rule.details(request, response)
        except Exception:  # noqa: BLE001  the call has taken effect, whatever the rule makes of it
            _log.exception("audited call not described", method=self._name)
            return {}, {}


def client_address(metadata: Mapping[str, str], peer: str) -> str:
    """Return the address that a client calls from, without its port: the one that Envoy says, if it came through Envoy.

    Envoy overwrites the header in each call with the address of its peer, or with the one that the outermost trusted
    proxy in front of Envoy appended to `x-forwarded-for`. The last entry of that header would be the proxy itself. A
    client that reaches the server without Envoy can forge the header.
    """
    return metadata.get(CLIENT_ADDRESS_HEADER, "") or peer_address(peer)


def peer_address(peer: str) -> str:
    """Return the address of a peer as gRPC names it, such as `ipv4:127.0.0.1:5101`, without its port."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]") or peer


def _write(
    event: str, origin: CallOrigin | None, target: Fields, details: Fields, outcome: str, reason: str, method: str
) -> None:
    """Write a line. Every line has every field."""
    carried = origin.metadata.get("traceparent", "") if origin else ""
    _log.info(
        event,
        outcome=outcome,
        reason=reason,
        actor=origin.actor if origin else "",
        actor_device=origin.claims.device_id if origin and origin.claims else "",
        target={**(origin.noted if origin else {}), **target},
        details=dict(details),
        source=_plain(origin.source) if origin else "",
        method=method,
        request_id=_plain(origin.metadata.get("x-request-id", "")) if origin else "",
        trace_id=tracing.current_trace_id() or tracing.trace_id_of(carried),
    )


def _plain(text: str) -> str:
    """Return a text of a client; empty if it is long or has other characters than those of ids and addresses."""
    return text if _PLAIN_TEXT.fullmatch(text) else ""
