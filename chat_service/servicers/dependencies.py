"""The collaborators of the servicers, and the appending of entries for their callers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chat_service.history.history import History
from chat_service.history.message_search import MessageSearch
from chat_service.history.personal_settings import PersonalSettingsService
from chat_service.limits import Limits
from chat_service.mesh.home_router import HomeRouter, StreamRouter
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.model.entry import NO_REFERENCES, Change, References
from chat_service.model.requests import Appended, Unchanged
from chat_service.stream.edge import Edge
from chat_service.wire import requests
from servicekit.clock import Clock
from servicekit.errors import RateLimited
from servicekit.rate_limiter import RateLimiter
from servicekit.rpc import Call


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The local components of this server, and the routers to the homes, streams and owners of all servers."""

    edge: Edge
    homes: HomeRouter
    streams: StreamRouter
    owners: OwnerRouter
    history: History
    personal: PersonalSettingsService
    # None if this deployment does not index words.
    search: MessageSearch | None
    # The rate at which a device may send.
    rates: RateLimiter
    limits: Limits
    clock: Clock


class DraftAppender:
    """Appends entries for callers, within the rate at which a device may send."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._owners = dependencies.owners
        self._rates = dependencies.rates
        self._clock = dependencies.clock

    async def append(
        self,
        call: Call,
        conversation_id: str,
        request_id: str,
        change: Change,
        consent_exempt: frozenset[str] = frozenset(),
        references: References = NO_REFERENCES,
    ) -> Appended | Unchanged:
        """Append `change` for the caller.

        `consent_exempt` are the users in the change whose consent was not checked because they were members: if one
        left meanwhile, the change does not add that user. `references` are those of the content of the change. Raise
        Invalid for a bad `request_id`, RateLimited, and the owner's refusal.
        """
        caller = call.caller
        draft = requests.make_draft(conversation_id, caller.user_id, request_id, change, self._clock.now_ms())
        draft = replace(draft, consent_exempt=consent_exempt, references=references)
        if (wait := self._rates.bucket_of(caller.device_id).take()) > 0:
            raise RateLimited("device send rate limit exceeded", retry_after=wait)
        return await self._owners.append_and_wait(draft)
