"""The demo names the promise that broke: on a stage that keeps them all, and on stages that break one."""

import asyncio

import pytest

from parley_client.demo import Report, run_demo
from parley_client.demo import cast as demo_cast
from parley_client.errors import DoorUnreachable
from tests.unit.client.conftest import Cast
from tests.unit.client.stage import Frame, Stage, Stream
from tests.unit.client.stage_servicers import serve


async def play(cast: Cast, *, repair: bool = True, patience: float = 4.0) -> Report:
    return await run_demo(cast.door, repair=repair, patience=patience, sends=5)


async def test_a_system_that_keeps_its_promises_passes(cast: Cast) -> None:
    report = await play(cast)
    assert report.ok, [each for each in report.verdicts if not each.kept]
    assert len(report.latencies) == 5


class Loss:
    """Loses every `nth` frame of live entries; `lost` counts them."""

    def __init__(self, nth: int) -> None:
        self.lost = 0
        self._live = 0
        self._nth = nth

    def __call__(self, _: Stream, frame: Frame) -> Frame | None:
        if not frame.HasField("entries") or frame.entries.ranges:
            return frame
        self._live += 1
        if self._live % self._nth:
            return frame
        self.lost += 1
        return None


async def test_lost_frames_are_repaired(cast: Cast, stage: Stage) -> None:
    stage.filter = loss = Loss(7)
    report = await play(cast)
    assert loss.lost > 0
    # Of the few words of bob's all may have come by repair, so none crossed between servers by itself.
    assert set(report.broken) <= {"mesh"}, [each for each in report.verdicts if not each.kept]


async def test_lost_frames_break_order_and_delivery_when_they_are_not_repaired(cast: Cast, stage: Stage) -> None:
    stage.filter = Loss(7)
    report = await play(cast, repair=False, patience=0.5)
    assert {"P2", "P4"} <= set(report.broken)


async def test_one_server_alone_is_not_enough(cast: Cast, stage: Stage) -> None:
    stage.homes = ["server-a:1"]
    report = await play(cast)
    assert report.broken == ["mesh"]
    assert "two chat servers" in report.verdicts[-1].detail


async def test_a_lost_acknowledged_message_breaks_durability(cast: Cast, stage: Stage) -> None:
    def forget(_: Stream, frame: Frame) -> Frame | None:
        for result in frame.send_results.results:
            if result.appended.seq == 30:
                result.appended.seq = 31
        return frame

    stage.filter = forget
    assert "P1" in (await play(cast, patience=0.5)).broken


async def test_a_system_that_goes_away_is_not_judged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_cast, "ANSWER_SECONDS", 2.0)
    server, door = await serve(stage)
    going: list[asyncio.Task[None]] = []

    def tell(scene: str, done: int, _: int) -> None:
        if scene == "idle sends" and done == 2:
            going.append(asyncio.create_task(server.stop(0)))

    with pytest.raises(DoorUnreachable):
        await run_demo(door, patience=1.0, sends=5, tell=tell)
    await asyncio.gather(*going)
