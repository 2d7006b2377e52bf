"""Strangers reach one user, and one user reaches strangers, at a limited rate; acquaintances are not counted."""

from __future__ import annotations

import pytest

from chat_service.accounts.stranger_limits import StrangerLimiter, StrangerLimits
from chat_service.storage.attempts import MongoAttemptCounter
from servicekit.errors import RateLimited
from servicekit.rate_limiter import RateLimit
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration

ALICE, BOB, CAROL, DAVE, ERIN = ("0123456789abcdef"[number] * 32 for number in range(5))
LIMITS = StrangerLimits(per_user=RateLimit(rate=0.1, burst=3), per_actor=RateLimit(rate=0.1, burst=4))


class Users:
    """Users, some of whom are acquainted, and the limiters of several servers."""

    def __init__(self, environment: AccountsEnvironment) -> None:
        self.acquainted: set[tuple[str, str]] = set()
        self.clock = environment.clock
        self._servers = [
            StrangerLimiter(self._filter_acquainted, MongoAttemptCounter(environment.database), self.clock, LIMITS)
            for _ in range(2)
        ]
        self._next = 0

    async def reach(self, actor: str, *user_ids: str) -> None:
        """Count a call of an actor, on each server in turn."""
        self._next = 1 - self._next
        await self._servers[self._next].count(actor, user_ids)

    async def _filter_acquainted(self, user_ids: object, other_id: str) -> set[str]:
        return {user_id for user_id, other in self.acquainted if other == other_id}


@pytest.fixture
def users(environment: AccountsEnvironment) -> Users:
    return Users(environment)


async def test_many_strangers_reach_one_user_at_a_limited_rate(users: Users) -> None:
    for stranger in (BOB, CAROL, DAVE):
        await users.reach(stranger, ALICE)
    with pytest.raises(RateLimited) as refused:
        await users.reach(ERIN, ALICE)
    assert refused.value.retry_after == 10
    assert refused.value.metadata == {"user_id": ALICE}
    await users.reach(ERIN, BOB)
    users.clock.advance(10)
    await users.reach(ERIN, ALICE)


async def test_acquaintances_of_a_user_are_not_counted(users: Users) -> None:
    users.acquainted = {(ALICE, BOB)}
    for _ in range(10):
        await users.reach(BOB, ALICE, BOB)
    for _ in range(3):
        await users.reach(CAROL, ALICE)
    await users.reach(BOB, ALICE)
    # Acquaintance has a direction.
    for _ in range(3):
        await users.reach(ALICE, BOB)
    with pytest.raises(RateLimited):
        await users.reach(ALICE, BOB)


async def test_one_user_reaches_strangers_at_a_limited_rate(users: Users) -> None:
    await users.reach(ALICE, BOB, CAROL, DAVE)
    with pytest.raises(RateLimited, match="you have"):
        await users.reach(ALICE, BOB, ERIN)
    await users.reach(ALICE, ERIN)


async def test_refused_call_counts_for_nobody(users: Users) -> None:
    for _ in range(3):
        await users.reach(BOB, CAROL)
    for _ in range(10):
        with pytest.raises(RateLimited):
            await users.reach(ALICE, CAROL, DAVE)
    for _ in range(3):
        await users.reach(ALICE, DAVE)
