"""Pushes that wait for long before they can be sent: what was decided may not hold any more."""

from __future__ import annotations

import asyncio

import pytest

from notify_service.delivery.dispatcher import DECISION_LIFETIME_S
from notify_service.delivery.job_loop import PAUSE_S
from notify_service.model.push import FcmToken, Outcome, Push, PushToken
from notify_service.model.registration import Registration
from notify_service.providers.recording import RecordingProvider
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.integration.notify.environment import BOB, CAROL, CHAT, DeliveryEnvironment, running_server

pytestmark = pytest.mark.integration


class SilentProvider(RecordingProvider):
    """A provider that answers once `answering` is set; `called` counts the calls."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.answering = asyncio.Event()
        self.called = 0

    async def send(self, token: PushToken, push: Push) -> Outcome:
        self.called += 1
        await self.answering.wait()
        return await super().send(token, push)


async def test_push_that_waited_too_long_is_not_sent_to_the_new_user_of_a_token(
    environment: DeliveryEnvironment,
) -> None:
    clock = ManualClock()
    provider = SilentProvider(clock)
    [phone] = await environment.register(BOB, "phone")
    async with running_server(environment, clock=clock, provider=provider) as server:
        await environment.queue_entries(5)
        await eventually(lambda: provider.called == 1)
        await environment.queue_entries(6)

        async def is_decided() -> bool:
            pushed = await environment.pushed_entries.find(CHAT, [BOB])
            return pushed == {BOB: 6}

        await eventually(is_decided)
        await environment.tokens.put(Registration(CAROL, phone.device_id, FcmToken("phone"), "en", 2))
        clock.advance(DECISION_LIFETIME_S + 1)
        provider.answering.set()

        async def is_settled() -> bool:
            clock.advance(PAUSE_S)
            return await environment.is_empty()

        await eventually(is_settled)
    assert server.sent == [("phone", "message", 5)], "the phone was bob's when it was sent"
