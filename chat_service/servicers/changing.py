"""What all calls that append an entry have in common."""

from __future__ import annotations

from dataclasses import replace

from chat_service.errors import RateLimited
from chat_service.model.answer import Appended
from chat_service.model.entry import Change
from chat_service.servicers.roles import Dependencies
from chat_service.wire import requests
from servicekit.rpc import Call


class ChangingCalls:
    """Calls that append to a log, at the rate at which a device may send."""

    def __init__(self, roles: Dependencies) -> None:
        self._owners = roles.owners
        self._history = roles.history
        self._rates = roles.rates
        self._clock = roles.clock

    async def _append(
        self,
        call: Call,
        conversation_id: str,
        request_id: str,
        change: Change,
        not_asked: frozenset[str] = frozenset(),
    ) -> Appended:
        """Have `change` appended for the caller. Raises Invalid, RateLimited, and what the owner refuses."""
        caller = call.caller
        draft = requests.make_draft(conversation_id, caller.user_id, request_id, change, self._clock.now_ms())
        draft = replace(draft, consent_exempt=not_asked)
        if (wait := self._rates.bucket_of(caller.device_id).take()) > 0:
            raise RateLimited("this device sends faster than it may", retry_after=wait)
        return await self._owners.append_and_wait(draft)
