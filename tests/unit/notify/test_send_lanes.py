"""Send lanes: one push at a time for a device and conversation, and the newest of those that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from notify_service.delivery.send_lanes import TOO_LATE, SendLanes
from notify_service.model.push import Accepted, FcmToken, Notification, Outcome, Push
from notify_service.model.registration import Registration
from tests.clock import ManualClock
from tests.eventually import run_ready

PHONE = Registration("a" * 32, "b" * 32, FcmToken("phone"))
LAPTOP = Registration("a" * 32, "c" * 32, FcmToken("laptop"))


class Wire:
    """A provider that answers when the test lets it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, int]] = []
        self.answers: list[asyncio.Future[Outcome]] = []
        self.clock = ManualClock()
        self.lanes = SendLanes(self._send, self.clock)

    def submit(
        self, seq: int, chat: str = "chat", to: Registration = PHONE, collapse_id: str = ""
    ) -> asyncio.Task[Outcome | None]:
        return asyncio.ensure_future(_task(self.lanes.send(to, Notification(collapse_id or chat, chat, seq, "t", "b"))))

    async def answer(self) -> None:
        self.answers.pop(0).set_result(Accepted())
        await run_ready()

    async def _send(self, registration: Registration, push: Push) -> Outcome:
        self.sent.append((registration.device_id[0], push.conversation_id, push.seq))
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer


async def _task(sending: Awaitable[Outcome | None]) -> Outcome | None:
    return await sending


async def test_pushes_of_a_lane_follow_each_other_and_the_newest_wins() -> None:
    wire = Wire()
    first, second, third = wire.submit(1), wire.submit(2), wire.submit(3)
    await run_ready()
    late = wire.submit(2)
    await run_ready()
    assert wire.sent == [("b", "chat", 1)]
    assert (await second, await late) == (None, None)
    await wire.answer()
    assert wire.sent == [("b", "chat", 1), ("b", "chat", 3)]
    await wire.answer()
    assert (await first, await third) == (Accepted(), Accepted())
    assert await wire.submit(2) is None, "an older push that comes late is not sent"
    again = wire.submit(4)
    await run_ready()
    await wire.answer()
    assert await again == Accepted()


async def test_lanes_of_other_devices_and_conversations_do_not_wait() -> None:
    wire = Wire()
    tasks = [wire.submit(1), wire.submit(1, "other"), wire.submit(1, to=LAPTOP)]
    await run_ready()
    assert len(wire.sent) == 3
    for _ in tasks:
        await wire.answer()
    assert await asyncio.gather(*tasks) == [Accepted()] * 3


async def test_lane_goes_on_after_a_push_that_was_cancelled() -> None:
    wire = Wire()
    sending, waiting = wire.submit(1), wire.submit(2)
    await run_ready()
    waiting.cancel()
    await run_ready()
    sending.cancel()
    for task in (sending, waiting):
        with suppress(asyncio.CancelledError):
            await task
    after = wire.submit(3)
    await run_ready()
    wire.answers[-1].set_result(Accepted())
    assert await after == Accepted()


async def test_lane_that_becomes_free_as_its_next_push_is_cancelled_is_not_stuck() -> None:
    wire = Wire()
    sending, waiting = wire.submit(1), wire.submit(2)
    await run_ready()
    wire.answers.pop(0).set_result(Accepted())
    # The first task runs before the second, and frees the lane; the second is cancelled before it runs.
    await sending
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    after = wire.submit(3)
    await run_ready()
    wire.answers[-1].set_result(Accepted())
    assert await after == Accepted()


async def test_seqs_of_other_conversations_are_not_compared() -> None:
    wire = Wire()
    tasks = [wire.submit(9, collapse_id="badge"), wire.submit(1, "other", collapse_id="badge")]
    await run_ready()
    for _ in tasks:
        await wire.answer()
    assert await asyncio.gather(*tasks) == [Accepted()] * 2


async def test_push_whose_turn_comes_too_late_is_not_sent_and_frees_the_lane() -> None:
    wire = Wire()
    first = wire.submit(1)
    await run_ready()
    late = asyncio.ensure_future(_task(wire.lanes.send(PHONE, Notification("chat", "chat", 2, "t", "b"), 5.0)))
    await run_ready()
    wire.clock.advance(5.1)
    await wire.answer()
    assert (await first, await late) == (Accepted(), TOO_LATE)
    after = wire.submit(3)
    await run_ready()
    await wire.answer()
    assert (await after, [seq for _, _, seq in wire.sent]) == (Accepted(), [1, 3])
