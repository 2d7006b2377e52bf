"""The decisions about pushes to a user: those of notify, and the last unpushed entry of chat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notify_service.model.decision import MAX_DECISIONS, PushDecision, PushOutcome
from notify_service.servicers.decisions import DecisionReader
from servicekit.errors import ServiceUnavailable
from servicekit.failure import Failure
from tests.integration.notify.environment import BOB, CHAT, DeliveryEnvironment

pytestmark = pytest.mark.integration

UNPUSHED = PushDecision(25, CHAT, 9, PushOutcome.IN_FOREGROUND, "d" * 32)


async def listed(environment: DeliveryEnvironment) -> list[int]:
    """Return the times of the decisions."""
    found = await DecisionReader(environment.traces, environment.chat).read(BOB)
    return [each.time_ms for each in found]


async def trace(environment: DeliveryEnvironment, *times_ms: int) -> None:
    decisions = [PushDecision(each, CHAT, each, PushOutcome.MUTED) for each in times_ms]
    await environment.traces.add([(BOB, each) for each in decisions])


async def test_unpushed_entry_is_among_the_decisions_by_time(environment: DeliveryEnvironment) -> None:
    environment.chat.unpushed = UNPUSHED
    assert await listed(environment) == [25]
    await trace(environment, 10, 20, 30, 40)
    assert await listed(environment) == [40, 30, 25, 20, 10]
    environment.chat.unpushed = replace(UNPUSHED, time_ms=5)
    assert await listed(environment) == [40, 30, 20, 10, 5]
    environment.chat.unpushed = None
    assert await listed(environment) == [40, 30, 20, 10]


async def test_list_stays_within_its_bound(environment: DeliveryEnvironment) -> None:
    await trace(environment, *range(100, 100 + MAX_DECISIONS))
    environment.chat.unpushed = replace(UNPUSHED, time_ms=500)
    assert (await listed(environment))[0] == 500
    assert len(await listed(environment)) == MAX_DECISIONS


@pytest.mark.parametrize(
    "failure", [ServiceUnavailable("no chat server"), Failure("the home is gone", code="UNAVAILABLE", reason="OTHER")]
)
async def test_list_comes_without_it_if_chat_does_not_answer(
    environment: DeliveryEnvironment, failure: Failure
) -> None:
    await trace(environment, 10)
    environment.chat.unpushed = UNPUSHED
    environment.chat.failures = [failure]
    assert await listed(environment) == [10]
