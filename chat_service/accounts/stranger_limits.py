"""Limits of what users may do to users who are not acquainted with them: add them to groups, and begin conversations.

A user is acquainted with those with whom the user began the 1-1 conversation, or in whose 1-1 conversation the user
wrote. Additions and new 1-1 conversations by others are counted across all servers: for the user, so that many accounts
together cannot flood one user, and for the account that acts, so that one account cannot reach all users.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from chat_service.accounts.ports import AttemptCounter
from chat_service.accounts.privacy import FilterUsers
from servicekit.clock import Clock
from servicekit.errors import RateLimited
from servicekit.rate_limiter import RateLimit
from servicekit.tasks import gather_limited

MAX_CONCURRENT_WRITES = 16


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """The limit for the strangers who reach one user, and the limit for the strangers whom one actor reaches."""

    per_user: RateLimit
    per_actor: RateLimit


class StrangerLimiter:
    """Counts additions to groups and new 1-1 conversations. `filter_acquainted` is as for GroupConsent."""

    def __init__(
        self, filter_acquainted: FilterUsers, attempts: AttemptCounter, clock: Clock, limits: StrangerLimits
    ) -> None:
        self._filter_acquainted = filter_acquainted
        self._attempts = attempts
        self._clock = clock
        self._limits = limits

    async def count(self, actor_id: str, user_ids: Collection[str]) -> None:
        """Count that `actor_id` reaches each of these users; those who are acquainted with the actor do not count.

        Raise RateLimited, and count nothing, if a limit is exceeded. Raise StoreUnavailable.
        """
        others = set(user_ids) - {actor_id}
        strangers = sorted(others - await self._filter_acquainted(others, actor_id))
        if not strangers:
            return
        now_ms, many = self._clock.now_ms(), len(strangers)
        if (wait := await self._attempts.take(_reaches(actor_id), self._limits.per_actor, now_ms, many)) > 0:
            raise RateLimited("you have added or written to too many users who do not know you", retry_after=wait)

        async def take(user_id: str) -> float:
            return await self._attempts.take(_reached(user_id), self._limits.per_user, now_ms)

        async def refund(user_id: str) -> None:
            await self._attempts.refund(_reached(user_id), self._limits.per_user)

        waits = await gather_limited(take, strangers, limit=MAX_CONCURRENT_WRITES)
        if refused := [user_id for user_id, wait in zip(strangers, waits, strict=True) if wait]:
            await self._attempts.refund(_reaches(actor_id), self._limits.per_actor, many)
            await gather_limited(
                refund, [each for each in strangers if each not in refused], limit=MAX_CONCURRENT_WRITES
            )
            raise RateLimited(
                "too many users whom this user does not know have added or written to this user",
                metadata={"user_id": refused[0]},
                retry_after=max(waits),
            )


# A login name contains no line feed, so these are no keys of sign-in attempts.
def _reaches(actor_id: str) -> str:
    return f"\nreaches\n{actor_id}"


def _reached(user_id: str) -> str:
    return f"\nreached\n{user_id}"
