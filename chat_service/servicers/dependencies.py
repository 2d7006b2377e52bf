"""The collaborators of the servicers, and the appending of entries for their callers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chat_service.history.history import History
from chat_service.history.message_search import MessageSearch
from chat_service.history.personal_settings import PersonalSettingsService
from chat_service.limits import Limits
from chat_service.mesh.home_router import HomeRouter, StreamRouter
from chat_service.mesh.owner_router import OwnerRouter
from chat_service.model.entry import NO_REFERENCES, Change, Draft, References
from chat_service.model.media import MediaCatalog
from chat_service.model.requests import Appended, Unchanged
from chat_service.stream.edge import Edge
from chat_service.stream.rejections import count_refused_send
from chat_service.wire import requests
from chat_service.wire.media import add_claim
from servicekit import tracing
from servicekit.clock import Clock
from servicekit.errors import Invalid, RateLimited
from servicekit.failure import Failure, Violation
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
    catalog: MediaCatalog
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
        self._catalog = dependencies.catalog
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
        traceparent: str = "",
    ) -> Appended | Unchanged:
        """Append `change` for the caller.

        `consent_exempt` are the users in the change whose consent was not checked because they were members: if one
        left meanwhile, the change does not add that user. `references` are those of the content of the change; a file
        among them is claimed first. `traceparent` is the trace context of the change; empty: that of the call.

        Raise Invalid for a bad `request_id`, RateLimited, and the refusal of the file or of the owner.
        """
        caller = call.caller
        now_ms, trace = self._clock.now_ms(), traceparent or tracing.current_traceparent()
        draft = requests.make_draft(conversation_id, caller.user_id, request_id, change, now_ms, traceparent=trace)
        draft = replace(draft, consent_exempt=consent_exempt, references=references)
        try:
            return await self._append(draft, caller.device_id)
        except Failure as refusal:
            count_refused_send(refusal)
            raise

    async def _append(self, draft: Draft, device_id: str) -> Appended | Unchanged:
        if (wait := self._rates.bucket_of(device_id).take()) > 0:
            raise RateLimited("device send rate limit exceeded", retry_after=wait)
        if draft.references.media_id:
            draft = await self._claim_media(draft)
        return await self._owners.append_and_wait(draft)

    async def _claim_media(self, draft: Draft) -> Draft:
        media_id = draft.references.media_id
        claimed = add_claim(draft, (await self._catalog.claim(draft.actor_id, [media_id]))[media_id])
        if isinstance(claimed, Failure):
            raise claimed
        return claimed


async def claim_picture(catalog: MediaCatalog, user_id: str, media_id: str) -> None:
    """Claim the file of `picture_media_id` in a request of a user; an empty one removes the picture.

    Raise Invalid for a file that is not a picture, and the refusal of the file.
    """
    if not media_id:
        return
    outcome = (await catalog.claim(user_id, [media_id]))[media_id]
    if isinstance(outcome, Failure):
        raise outcome
    if not outcome.is_image:
        violation = Violation("picture_media_id", f"must be a picture, not {outcome.content_type}")
        raise Invalid("the file is not a picture", violations=(violation,))
