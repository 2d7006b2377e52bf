"""Each audited call has one line with its outcome, its caller and its target, and no line has text of a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

import grpc
import pytest
from structlog.testing import capture_logs

from notes.v1 import notes_pb2
from servicekit import audit
from servicekit.audit import AuditRule, CallAudit, CallOrigin, record_event
from servicekit.auth import Claims
from servicekit.errors import RateLimited, Unauthenticated
from servicekit.rpc import Call, service_handler
from tests.eventually import eventually

NOTES: Final = notes_pb2.DESCRIPTOR.services_by_name["NotesService"]
NOTE: Final = "0123456789abcdef" * 2
RULES: Final = {
    "AddNote": AuditRule(
        "note_addition",
        lambda request, response: {"note": request.note_id, "stored": response is not None},
        lambda request, _: {"bytes": len(request.text)},
    ),
    "WatchNotes": AuditRule("note_watch", failures_only=True),
}
FIELDS: Final = {
    *("event", "outcome", "reason", "actor", "actor_device", "target", "details", "source", "method", "request_id"),
    *("trace_id", "log_level"),
}


class Notes:
    """Fails or waits as the text of a note says."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()

    async def AddNote(self, request: notes_pb2.AddNoteRequest, _: Call) -> notes_pb2.AddNoteResponse:
        if request.text == "too many":
            raise RateLimited("too many notes")
        if request.text == "faulty":
            raise ZeroDivisionError
        if request.text == "slow":
            self.waiting.set()
            await asyncio.Event().wait()
        audit.add_target(owner="a user")
        return notes_pb2.AddNoteResponse()

    async def WatchNotes(
        self, request: notes_pb2.WatchNotesRequest, call: Call
    ) -> AsyncIterator[notes_pb2.WatchNotesResponse]:
        if call.metadata.get("refuse"):
            raise RateLimited("too many watches")
        yield notes_pb2.WatchNotesResponse(note_id=NOTE, text="hello")


def authenticate(metadata: Mapping[str, str]) -> Claims | None:
    if metadata.get("token") == "stale":
        raise Unauthenticated("stale", reason="TOKEN_EXPIRED")
    return Claims("user-1", "device-1", 2e9) if "token" in metadata else None


class Caller:
    def __init__(self, notes: Notes, address: str) -> None:
        self.notes = notes
        self._channel = grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])

    def add(self, text: str, note_id: str = NOTE, **metadata: str) -> Any:
        unary: Any = self._channel.unary_unary("/notes.v1.NotesService/AddNote")
        request = notes_pb2.AddNoteRequest(note_id=note_id, text=text)
        return unary(request.SerializeToString(), metadata=_headers(metadata), timeout=20)

    async def watch(self, **metadata: str) -> None:
        stream: Any = self._channel.unary_stream("/notes.v1.NotesService/WatchNotes")
        async for _ in stream(b"", metadata=_headers(metadata), timeout=20):
            pass

    async def close(self) -> None:
        await self._channel.close()


def _headers(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in metadata.items())


@pytest.fixture(params=["public", "internal"])
def port(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def caller(port: str) -> AsyncIterator[Caller]:
    notes, server = Notes(), grpc.aio.server()
    handler = service_handler(NOTES, notes, authenticate=authenticate, audited=RULES, internal=port == "internal")
    server.add_generic_rpc_handlers((handler,))
    bound = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    caller = Caller(notes, f"127.0.0.1:{bound}")
    yield caller
    await caller.close()
    await server.stop(0)


async def lines_of(*calls: Any) -> list[dict[str, Any]]:
    """Return the lines that calls write; a call may be refused."""
    with capture_logs() as logs:
        for call in calls:
            with suppress(grpc.aio.AioRpcError):
                await call
    return [dict(each) for each in logs if each["event"] in ("note_addition", "note_watch")]


@pytest.mark.parametrize("port", ["public"], indirect=True)
async def test_line_of_a_successful_call_has_every_field(caller: Caller) -> None:
    headers = {
        "token": "good",
        "x_forwarded_for": "198.51.100.1",
        "x_envoy_external_address": "203.0.113.7",
        "x_request_id": "r-1",
    }
    trace = "0af7651916cd43dd8448eb211c80319c"
    [line] = await lines_of(caller.add("hello", **headers, traceparent=f"00-{trace}-b7ad6b7169203331-01"))
    assert line == {
        "event": "note_addition",
        "outcome": "success",
        "reason": "",
        "actor": "user-1",
        "actor_device": "device-1",
        "target": {"note": NOTE, "stored": True, "owner": "a user"},
        "details": {"bytes": 5},
        "source": "203.0.113.7",
        "method": "/notes.v1.NotesService/AddNote",
        "request_id": "r-1",
        "trace_id": trace,
        "log_level": "info",
    }


@pytest.mark.parametrize("port", ["public"], indirect=True)
async def test_each_failure_is_written_with_its_reason(caller: Caller) -> None:
    # A call runs from its creation on.
    [refused] = await lines_of(caller.add("too many", token="good"))
    [faulty] = await lines_of(caller.add("faulty"))
    [stale] = await lines_of(caller.add("hello", token="stale"))
    assert [(each["outcome"], each["reason"]) for each in (refused, faulty, stale)] == [
        ("failure", "RATE_LIMITED"),
        ("unknown", "INTERNAL"),
        ("failure", "TOKEN_EXPIRED"),
    ]
    assert refused["actor"] == "user-1"
    assert faulty["actor"] == stale["actor"] == ""
    assert all(each["target"] == {"note": NOTE, "stored": False} for each in (refused, faulty))
    # Nothing is read of a request whose caller is not known.
    assert stale["target"] == {}
    assert all(set(each) == FIELDS for each in (refused, faulty, stale))


@pytest.mark.parametrize("port", ["public"], indirect=True)
async def test_call_whose_client_leaves_has_an_unknown_outcome(caller: Caller) -> None:
    with capture_logs() as logs:
        call = caller.add("slow", token="good")
        await caller.notes.waiting.wait()
        call.cancel()
        await eventually(lambda: logs)
    assert [(each["outcome"], each["reason"], each["actor"]) for each in logs] == [("unknown", "CANCELLED", "user-1")]


@pytest.mark.parametrize("port", ["public"], indirect=True)
async def test_request_that_breaks_a_rule_is_written_without_its_fields(caller: Caller) -> None:
    [line] = await lines_of(caller.add("hush", note_id="my password", token="good"))
    assert (line["reason"], line["target"], line["details"]) == ("FIELD_INVALID", {}, {})
    assert "password" not in json.dumps(line)


@pytest.mark.parametrize("port", ["public"], indirect=True)
async def test_method_with_failures_only_writes_no_success(caller: Caller) -> None:
    [line] = await lines_of(caller.watch(token="good"), caller.watch(token="good", refuse="yes"))
    assert (line["event"], line["reason"]) == ("note_watch", "RATE_LIMITED")


async def test_only_the_internal_port_names_operators_and_only_the_public_one_trusts_envoy(
    caller: Caller, port: str
) -> None:
    headers = {"x_parley_operator": "ann@laptop", "x_envoy_external_address": "203.0.113.7"}
    [line] = await lines_of(caller.add("hello", **headers))
    expected = {"internal": ("operator:ann@laptop", "127.0.0.1"), "public": ("", "203.0.113.7")}
    assert (line["actor"], line["source"]) == expected[port]


@pytest.mark.parametrize("text", ["two words", "x" * 200, "", "ü"])
async def test_header_with_other_text_than_an_id_is_left_out(text: str) -> None:
    origin = CallOrigin(
        {"x-request-id": text, "x-envoy-external-address": text or "a b"}, "ipv4:127.0.0.1:1", internal=False
    )
    with capture_logs() as logs:
        CallAudit(NOTES.methods_by_name["AddNote"], RULES["AddNote"]).record_unknown(origin, "CANCELLED")
    assert (logs[0]["request_id"], logs[0]["source"]) == ("", "")


def test_act_that_is_no_call_has_every_field_too() -> None:
    with capture_logs() as logs:
        record_event("account_purge", {"user": "user-1"})
    [line] = logs
    assert set(line) == FIELDS
    assert (line["outcome"], line["target"], line["actor"], line["source"]) == ("success", {"user": "user-1"}, "", "")


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:127.0.0.1:80", "127.0.0.1"), ("ipv6:%5B::1%5D:80", "::1"), ("unix:/tmp/socket", "unix:/tmp/socket")],
)
def test_peer_is_named_by_its_address(peer: str, address: str) -> None:
    assert audit.peer_address(peer) == address
