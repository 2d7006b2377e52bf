"""A device of the SDK on a stream that drops frames, refuses sends, falls silent, drains or breaks."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from parley.chat.v1 import chat_pb2
from parley_client import CaughtUp, TimedOut
from servicekit.failure import Failure
from servicekit.status import to_proto
from tests.eventually import eventually
from tests.proxy.frame_faults import Caller, Filter
from tests.proxy.rpc import ProxiedStream, Proxy
from tests.raw.refusal import of_status
from tests.scenarios.sdk.people import Pair, People, until
from tests.scenarios.sdk.test_device import texts

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

Frame = chat_pb2.ConnectResponse
DRAINING = to_proto(Failure(code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=0.0))
OWNER_AWAY = to_proto(Failure(code="UNAVAILABLE", reason="OWNER_UNAVAILABLE", retry_after=30.0))
# More than a device may send, wherever they come within two seconds.
TOO_MANY = 100


def losing(device: str, *seqs: int) -> Filter:
    """Drop the live entries with these seqs for one device."""

    def passed(caller: Caller, frame: Frame) -> Frame | None:
        if caller.device_id != device or not frame.entries.entries or frame.entries.ranges:
            return frame
        kept = [entry for entry in frame.entries.entries if entry.seq not in seqs]
        return Frame(entries=chat_pb2.Entries(entries=kept)) if kept else None

    return Filter(passed)


def losing_all(kind: str) -> Filter:
    """Drop all frames of a kind."""
    return Filter(lambda _, frame: None if frame.HasField(kind) else frame)  # type: ignore[arg-type]


SILENCE = Filter(lambda *_: None)


async def test_rate_limited_sends_keep_their_order(people: People, proxy: Proxy, pair: Pair) -> None:
    refused: Counter[str] = Counter()

    def without_limits(_: Caller, frame: Frame) -> Frame:
        if frame.HasField("welcome"):
            frame.welcome.limits.sends_per_second = frame.welcome.limits.sends_burst = 1000
        results = frame.send_results.results
        refused.update(of_status(each.refused).reason for each in results if each.HasField("refused"))
        return frame

    proxy.rule = Filter(without_limits)
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    said = [f"word {n}" for n in range(TOO_MANY)]
    await asyncio.gather(*[alices.send(pair.chat, word) for word in said])
    assert await texts(bobs, TOO_MANY) == said
    assert refused["RATE_LIMITED"]


async def test_dropped_frames_are_fetched_once_and_in_order(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    await until(bobs, CaughtUp)
    people.proxy.rule = losing(bobs.device_id, 3, 4)
    for word in ("two", "three", "four", "five"):
        await alices.send(pair.chat, word)
    assert await texts(bobs, 4) == ["two", "three", "four", "five"]


async def test_dropped_last_frame_is_detected_by_peer_receipt(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    other = await people.device(await people.client("bob"))
    await until(bobs, CaughtUp)
    people.proxy.rule = losing(bobs.device_id, 2)
    await alices.send(pair.chat, "the last word")
    await texts(other, 1)
    assert await texts(bobs, 1) == ["the last word"], "the receipt of the other device showed it"


async def test_dropped_frame_stays_missing_without_repair(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob, repair=False)
    await until(bobs, CaughtUp)
    people.proxy.rule = losing(bobs.device_id, 3)
    for word in ("two", "three", "four"):
        await alices.send(pair.chat, word)
    assert await texts(bobs, 2) == ["two", "four"]


async def test_unanswered_sends_are_resent_in_order_on_next_stream(people: People, proxy: Proxy, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    proxy.rule = losing_all("send_results")
    sendings = [alices.send(pair.chat, str(n)) for n in range(10)]
    assert await texts(bobs, 10) == [str(n) for n in range(10)]
    proxy.rule = None
    await proxy.end_all(DRAINING)
    sendings.append(alices.send(pair.chat, "new"))
    assert [(await sending).seq for sending in sendings] == list(range(2, 13))
    assert await texts(bobs, 1) == ["new"]


async def test_timed_out_gated_send_makes_device_reconnect(people: People, proxy: Proxy, pair: Pair) -> None:
    async def refused(stream: ProxiedStream, request: chat_pb2.ConnectRequest) -> bool:
        if stream is not proxy.streams[0] or not request.HasField("send_message"):
            return False
        send = request.send_message
        result = chat_pb2.SendResult(
            conversation_id=send.conversation_id, client_message_id=send.client_message_id, refused=OWNER_AWAY
        )
        await stream.send_frame(send_results=chat_pb2.SendResults(results=[result]))
        return True

    proxy.answered = refused
    alices = await people.device(pair.alice)
    with pytest.raises(TimedOut):
        await alices.send(pair.chat, "never", timeout_s=0.1)
    assert (await alices.send(pair.chat, "after")).seq == 2
    assert len(proxy.streams) == 2


async def test_drained_device_reconnects_without_loss(people: People, proxy: Proxy, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    await until(bobs, CaughtUp)
    drain = chat_pb2.Drain()
    drain.delay.FromMilliseconds(50)
    await proxy.send_to_all(drain=drain)
    sendings = [alices.send(pair.chat, str(n)) for n in range(10)]
    assert [(await sending).seq for sending in sendings] == list(range(2, 12))
    await eventually(lambda: len(proxy.streams) == 4)
    await alices.send(pair.chat, "after")
    assert await texts(bobs, 11) == [*(str(n) for n in range(10)), "after"]


async def test_silent_stream_is_replaced(people: People, proxy: Proxy, pair: Pair) -> None:
    def beating_often(_: Caller, frame: Frame) -> Frame:
        if frame.HasField("welcome"):
            frame.welcome.heartbeat_interval.FromMilliseconds(100)
        return frame

    proxy.rule = Filter(beating_often)
    alices = await people.device(pair.alice)
    proxy.rule = SILENCE
    await eventually(lambda: not alices.connected)
    proxy.rule = None
    await alices.wait_connected()
    assert (await alices.send(pair.chat, "still here")).seq == 2


async def test_receipts_are_resent_until_confirmed(people: People, proxy: Proxy, pair: Pair) -> None:
    await pair.alice.messages.send(pair.chat, "hello")
    bobs = await people.device(pair.bob)
    await texts(bobs, 1)
    proxy.rule = losing_all("watermarks")
    bobs.mark_read(pair.chat, 2)
    await eventually(lambda: read_receipts(proxy, 2) == 1)
    proxy.rule = None
    await proxy.end_all(DRAINING)
    await eventually(lambda: bobs.watermark(pair.chat, bobs.user_id) == (2, 2))
    await proxy.end_all(DRAINING)
    await bobs.wait_connected()


def read_receipts(proxy: Proxy, seq: int) -> int:
    return sum(each.read_seq == seq for request in proxy.requests for each in request.receipts.receipts)
