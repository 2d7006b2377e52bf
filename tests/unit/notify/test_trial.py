"""Test notifications: one provider that does not answer delays no other device."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from notify_service.delivery.push_times import PushTimes
from notify_service.delivery.sender import PushSender
from notify_service.model.push import Accepted, FcmToken, Outcome, Push, PushToken, RetryLater
from notify_service.model.registration import ProviderKind, Registration
from notify_service.servicers.trial import TrialPushes
from parley.notify.v1 import notify_pb2
from tests.clock import ManualClock

USER = "a" * 32
DEVICES = [letter * 32 for letter in "bcd"]


class MeetingProvider:
    """A provider that answers once every device is being sent to; the first token is not accepted now."""

    def __init__(self) -> None:
        self._all_there = asyncio.Barrier(len(DEVICES))

    async def send(self, token: PushToken, push: Push) -> Outcome:
        del push
        await self._all_there.wait()
        return RetryLater("busy", 1.0) if token == FcmToken(DEVICES[0]) else Accepted()


class Registrations:
    """The registrations of three devices of a user."""

    async def find_registrations(self, user_id: str) -> list[Registration]:
        return [Registration(user_id, device, FcmToken(device)) for device in DEVICES]


async def test_all_devices_of_a_user_are_sent_to_at_once() -> None:
    clock, tokens = ManualClock(), cast("Any", None)
    provider: Any = MeetingProvider()
    sender = PushSender({ProviderKind.FCM: provider}, tokens, PushTimes(tokens, clock), clock)
    trial = TrialPushes(cast("Any", Registrations()), sender)
    async with asyncio.timeout(10):
        results = await trial.send(USER, "")
    assert [(each.device_id, each.outcome, each.provider_reason) for each in results] == [
        (DEVICES[0], notify_pb2.PUSH_OUTCOME_RETRYING, "busy"),
        (DEVICES[1], notify_pb2.PUSH_OUTCOME_ACCEPTED, ""),
        (DEVICES[2], notify_pb2.PUSH_OUTCOME_ACCEPTED, ""),
    ]
