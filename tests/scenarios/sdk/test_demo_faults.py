"""The demo on a system that drops frames, returns wrong results or becomes unreachable."""

from __future__ import annotations

import asyncio

import pytest

from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from parley_client.demo import participants as demo_participants
from parley_client.demo import run_demo
from parley_client.errors import DoorUnreachable
from tests.proxy.frame_faults import Caller, Filter
from tests.proxy.rpc import Proxy

pytestmark = pytest.mark.scenario

Frame = chat_pb2.ConnectResponse


def losing_every(nth: int) -> Filter:
    """Drop every nth live `entries` frame, over all streams."""
    count = 0

    def passed(_: Caller, frame: Frame) -> Frame | None:
        nonlocal count
        if not frame.HasField("entries") or frame.entries.ranges:
            return frame
        count += 1
        return frame if count % nth else None

    return Filter(passed)


async def test_many_dropped_frames_are_repaired(proxy: Proxy) -> None:
    proxy.rule = losing_every(7)
    # The promised time: a lost last entry is fetched after a whole tick, and later on a busy machine.
    report = await run_demo(proxy.address, timeout_s=10.0, sends=5)
    # Of the few words of bob's all may have come by repair, so none crossed between servers by itself.
    assert set(report.broken) <= {"mesh"}, [each for each in report.verdicts if not each.kept]


async def test_wrong_seq_in_send_result_breaks_durability(proxy: Proxy) -> None:
    def with_another_seq(_: Caller, frame: Frame) -> Frame:
        for result in frame.send_results.results:
            if result.appended.seq == 30:
                result.appended.seq = 31
        return frame

    proxy.rule = Filter(with_another_seq)
    assert "P1" in (await run_demo(proxy.address, timeout_s=0.5, sends=5)).broken


async def test_unreachable_door_ends_demo_without_verdict(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_participants, "SEND_TIMEOUT_S", 2.0)
    monkeypatch.setattr(demo_participants, "CONNECT_TIMEOUT_S", 2.0)
    going: list[asyncio.Task[None]] = []
    async with Proxy(stack.door) as proxy:

        def tell(scene: str, done: int, _: int) -> None:
            if scene == "idle sends" and done == 2:
                going.append(asyncio.create_task(proxy.stop()))

        with pytest.raises(DoorUnreachable):
            await run_demo(proxy.address, timeout_s=1.0, sends=5, on_progress=tell)
        await asyncio.gather(*going)
