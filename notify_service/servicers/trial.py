"""Test notifications, sent at once to devices of a user."""

from __future__ import annotations

from typing import Final

from notify_service.delivery.decider import Decider
from notify_service.delivery.sender import PushSender
from notify_service.model.composition import compose_test
from notify_service.model.registration import Registration
from parley.notify.v1 import notify_pb2
from servicekit.tasks import gather_limited

# More than the devices of an account by default.
MAX_CONCURRENT: Final = 20


class TrialPushes:
    """Sends test notifications."""

    def __init__(self, decider: Decider, sender: PushSender) -> None:
        self._decider = decider
        self._sender = sender

    async def send(self, user_id: str, device_id: str) -> list[notify_pb2.TestPushResult]:
        """Send one to a device of a user, or to all if `device_id` is empty; return a result for each."""
        registrations = await self._decider.find_registrations(user_id)
        chosen = [each for each in registrations if device_id in ("", each.device_id)]
        # At once: the gateway ends the call after 30 s, and a provider that does not answer takes much of that.
        return await gather_limited(self._send_one, chosen, limit=MAX_CONCURRENT)

    async def _send_one(self, registration: Registration) -> notify_pb2.TestPushResult:
        result = await self._sender.send(registration, compose_test(registration.language), 0)
        return notify_pb2.TestPushResult(
            device_id=registration.device_id,
            provider=notify_pb2.PushProvider.ValueType(registration.provider),
            outcome=notify_pb2.PushOutcome.ValueType(result.outcome),
            provider_reason=result.reason,
        )
