"""Invalid frames on a stream: the ones that end it, with their reasons, and the ones it survives."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id, text
from tests.raw.stream import RawStream
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario

INVALID = "INVALID_ARGUMENT"
HELLO = chat_pb2.ConnectRequest(hello=chat_pb2.Hello()).SerializeToString()
HEARTBEAT = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest()).SerializeToString()
UNKNOWN_KIND = b"\x7a\x00"  # field 15, empty
TORN = HELLO[:1]
FAR = 2**63 - 1


def send_of(body: bytes) -> bytes:
    """Return a hand-encoded send whose text is these bytes."""
    message = chat_pb2.SendMessageRequest(
        client_message_id=new_id(), conversation_id=uuid.uuid4().hex, content=text("?" * len(body))
    )
    return chat_pb2.ConnectRequest(send_message=message).SerializeToString().replace(b"?" * len(body), body)


@pytest.fixture(params=["through the door", "straight"])
async def stream(request: pytest.FixtureRequest, scene: Scene) -> RawStream:
    """A stream of alice without `hello`, on the server of the other users."""
    return scene.alice.dial(home=scene.edge) if request.param == "through the door" else scene.alice.dial(at=scene.edge)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (HEARTBEAT, "HELLO_MISSING"),
        (send_of(b"hi"), "HELLO_MISSING"),
        (b"", "FRAME_EMPTY"),
        (UNKNOWN_KIND, "FRAME_EMPTY"),
        (TORN, "FRAME_UNPARSABLE"),
        (b"\xff" * 100, "FRAME_UNPARSABLE"),
    ],
    ids=["a heartbeat", "a send", "nothing", "an unknown kind", "torn", "noise"],
)
async def test_stream_without_hello_is_ended(stream: RawStream, first: bytes, reason: str) -> None:
    await stream.write(first)
    assert (await stream.wait_ended()).code_and_reason == (INVALID, reason)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (HELLO, "HELLO_REPEATED"),
        (b"", "FRAME_EMPTY"),
        (UNKNOWN_KIND, "FRAME_EMPTY"),
        (TORN, "FRAME_UNPARSABLE"),
        (send_of(b"\xff\xfe"), "FRAME_UNPARSABLE"),
        (send_of(b"\xed\xa0\x80"), "FRAME_UNPARSABLE"),
    ],
    ids=["hello again", "nothing", "an unknown kind", "torn", "not UTF-8", "half a surrogate"],
)
async def test_protocol_violation_ends_stream_with_reason(stream: RawStream, frame: bytes, reason: str) -> None:
    await stream.write(HELLO)
    await stream.next_frame("changes")
    await stream.write(frame)
    assert (await stream.final_error()).code_and_reason == (INVALID, reason)
    assert (await stream.wait_ended()).code_and_reason == (INVALID, reason)


async def test_stream_closed_before_hello_is_refused_with_reason(stream: RawStream) -> None:
    await stream.half_close()
    assert (await stream.wait_ended()).code_and_reason == (INVALID, "HELLO_MISSING")


async def test_sends_before_violation_are_kept(scene: Scene) -> None:
    alice, conversation = scene.alice, scene.conversation
    keys = [await alice.send(conversation, f"{number}") for number in range(10)]
    await alice.stream.write(b"")
    await alice.stream.wait_ended()
    await alice.open()
    for seq, key in enumerate(keys, start=2):
        assert await alice.sent(conversation, f"{seq - 2}", client_message_id=key) == seq


async def test_oversized_frame_is_refused_and_stream_continues(scene: Scene) -> None:
    alice = scene.alice
    assert (await alice.refused(scene.conversation, "x" * 262_144)).code_and_reason == (INVALID, "FRAME_TOO_LARGE")
    await alice.stream.send_frame(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=["a" * 32] * 9_000))
    assert (await alice.stream.refusal()).code_and_reason == (INVALID, "FRAME_TOO_LARGE")
    assert await alice.sent(scene.conversation, "shorter") == 2


async def test_frame_above_transport_limit_ends_stream(stream: RawStream) -> None:
    await stream.write(HELLO)
    await stream.next_frame("welcome")
    await stream.write(send_of(b"x" * (1 << 20)))
    assert (await stream.wait_ended()).code == "RESOURCE_EXHAUSTED"


async def resync(device: RawDevice, cursor: chat_pb2.Cursor | None) -> tuple[Sequence[str], int]:
    await device.open(cursor)
    named, reason = await device.changes()
    return sorted(named), reason


async def test_invalid_cursor_resyncs_all_conversations(scene: Scene) -> None:
    alice, reasons = scene.alice, chat_pb2.Changes
    assert alice.cursor is not None
    here = chat_pb2.Cursor(generation=alice.cursor.generation, time_ms=alice.cursor.time_ms)
    all_of_them = [scene.conversation]
    assert await resync(alice, None) == (all_of_them, reasons.RESYNC_NO_CURSOR)
    for generation in (here.generation + 1000, here.generation - 1, 0, -1, FAR, -FAR - 1):
        cursor = chat_pb2.Cursor(generation=generation, time_ms=here.time_ms)
        assert await resync(alice, cursor) == (all_of_them, reasons.RESYNC_OTHER_GENERATION)
    for time_ms in (here.time_ms + 86_400_000, FAR):
        cursor = chat_pb2.Cursor(generation=here.generation, time_ms=time_ms)
        assert await resync(alice, cursor) == (all_of_them, reasons.RESYNC_CURSOR_FROM_FUTURE)
    for time_ms in (0, -FAR - 1):
        cursor = chat_pb2.Cursor(generation=here.generation, time_ms=time_ms)
        # Older than what the index keeps.
        assert await resync(alice, cursor) == (all_of_them, reasons.RESYNC_OTHER_GENERATION)


@pytest.mark.parametrize(
    ("ranges", "field"),
    [
        ([], "fetch.ranges"),
        ([chat_pb2.EntryRange(conversation_id="a" * 32)] * 101, "fetch.ranges"),
        ([chat_pb2.EntryRange(conversation_id="a" * 32, limit=501)], "fetch.ranges[0].limit"),
        ([chat_pb2.EntryRange(conversation_id="a" * 32, limit=-1)], "fetch.ranges[0].limit"),
        ([chat_pb2.EntryRange(conversation_id="a" * 32, after_seq=-1)], "fetch.ranges[0].after_seq"),
        ([chat_pb2.EntryRange(conversation_id="A" * 32)], "fetch.ranges[0].conversation_id"),
    ],
)
async def test_fetch_violating_rules_is_refused(scene: Scene, ranges: list[chat_pb2.EntryRange], field: str) -> None:
    await scene.alice.stream.send_frame(fetch=chat_pb2.Fetch(ranges=ranges))
    refusal = await scene.alice.stream.refusal()
    assert (refusal.code_and_reason, refusal.fields) == ((INVALID, "FIELD_INVALID"), (field,))
    assert (await scene.alice.fetch(scene.conversation)).seqs == [1]


async def test_fetch_returns_own_ranges_and_refuses_each_foreign_range(scene: Scene) -> None:
    alice = scene.alice
    secret = await scene.bob.direct(await scene.world.user("mallory"))
    asked = [secret, scene.conversation, uuid.uuid4().hex]
    fetched = await alice.fetch_all([chat_pb2.EntryRange(conversation_id=each) for each in asked])
    assert [each.conversation_id for each in fetched.ranges] == asked
    not_hers, own, not_there = (each.status for each in fetched.ranges)
    assert not own.code
    assert not_hers == not_there
    assert {entry.conversation_id for entry in fetched.entries} == {scene.conversation}


async def test_fetch_beyond_head_is_empty(scene: Scene) -> None:
    for after_seq in (1, 2, FAR - 1, FAR):
        fetched = await scene.alice.fetch(scene.conversation, after_seq)
        [result] = fetched.ranges
        assert (fetched.seqs, result.head_seq, result.complete, result.after_seq) == ([], 1, True, after_seq)


async def test_pending_fetches_are_limited(scene: Scene) -> None:
    alice, asked = scene.alice, 200
    ranges = [chat_pb2.EntryRange(conversation_id=scene.conversation)] * 100
    for _ in range(asked):
        await alice.stream.send_frame(fetch=chat_pb2.Fetch(ranges=ranges))
    await eventually(lambda: alice.stream.kinds.count("error") + alice.ranges_heard // 100 == asked, timeout=30)
    assert alice.ranges_heard >= 32 * 100
    assert (await alice.stream.refusal()).code_and_reason == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert await alice.sent(scene.conversation, "enough") == 2
