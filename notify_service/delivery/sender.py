"""Sending pushes: the provider of each token, its suspension, and what follows from an outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from notify_service.delivery.push_times import PushTimes
from notify_service.delivery.send_lanes import SendLanes
from notify_service.model.decision import PushOutcome
from notify_service.model.ports import TokenStore
from notify_service.model.push import (
    Accepted,
    CredentialsRefused,
    Outcome,
    Push,
    PushProvider,
    Rejected,
    RetryLater,
    TokenGone,
)
from notify_service.model.registration import ProviderKind, Registration
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.failure import INTERNAL_ERROR

# A provider that refuses the credentials is not called for this time.
SUSPENSION_S: Final = 60.0
# Fewer users may have tokens that were made with an old VAPID key, or that the provider forgot.
MIN_REFUSED_USERS: Final = 3

Providers = Mapping[ProviderKind, PushProvider[Any]]
"""The push providers that the deployment uses."""

_SENDS: Final = Counter("parley_push_sends", "Pushes by provider and outcome", ["provider", "outcome"])
_DELAY: Final = Histogram(
    "parley_push_delay_seconds",
    "Seconds from the queueing of an event to the acceptance of its push",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
_SUSPENDED: Final = Gauge("parley_push_suspended", "1 while a provider refuses the credentials, else 0", ["provider"])

log = structlog.get_logger("notify.sender")


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of a push: `retry_s` is the delay that the provider asks for, None without one."""

    outcome: PushOutcome
    reason: str = ""
    retry_s: float | None = None


SUPERSEDED: Final = SendResult(PushOutcome.SUPERSEDED)


class PushSender:
    """Sends pushes on the lanes of their tokens, removes tokens that are gone, and suspends providers."""

    def __init__(self, providers: Providers, tokens: TokenStore, times: PushTimes, clock: Clock) -> None:
        self._providers = providers
        self._tokens = tokens
        self._times = times
        self._clock = clock
        self._lanes = SendLanes(self._send_once, clock)
        self._suspended_until: dict[ProviderKind, float] = {}
        # Users whose tokens had worked, and were refused with the credentials since the provider accepted a push, at
        # most MIN_REFUSED_USERS.
        self._refused_users: dict[ProviderKind, set[str]] = {kind: set() for kind in providers}
        for kind in providers:
            _SUSPENDED.labels(_name(kind)).set(0)

    async def send(
        self, registration: Registration, push: Push, queued_ms: int, valid_until: float = math.inf
    ) -> SendResult:
        """Send a push, and return the result: it is to be sent again if its turn comes after `valid_until`."""
        outcome = await self._lanes.send(registration, push, valid_until)
        if outcome is None:
            return SUPERSEDED
        result = await self._conclude(registration, outcome)
        _SENDS.labels(_name(registration.provider), result.outcome.name.lower()).inc()
        if result.outcome is PushOutcome.ACCEPTED and queued_ms:
            _DELAY.observe(max(self._clock.now_ms() - queued_ms, 0) / 1000)
        return result

    async def _send_once(self, registration: Registration, push: Push) -> Outcome:
        kind = registration.provider
        provider = self._providers.get(kind)
        if provider is None:
            return Rejected("the deployment does not use this provider any more")
        remaining_s = self._suspended_until.get(kind, 0.0) - self._clock.monotonic()
        if remaining_s > 0:
            return RetryLater("the provider is suspended", remaining_s)
        try:
            outcome = await provider.send(registration.token, push)
        except Exception:
            # A dead letter: repeating the event would send its other pushes again.
            log.exception("push not sent", provider=_name(kind))
            return Rejected(INTERNAL_ERROR)
        self._note_credentials(registration, outcome)
        return outcome

    def _note_credentials(self, registration: Registration, outcome: Outcome) -> None:
        match outcome:
            case Accepted():
                self._note_accepted(registration.provider)
            case CredentialsRefused(reason):
                self._note_refused(registration, reason)

    def _note_accepted(self, kind: ProviderKind) -> None:
        self._refused_users[kind].clear()
        if self._suspended_until.pop(kind, None) is not None:
            _SUSPENDED.labels(_name(kind)).set(0)
            log.info("provider accepts the credentials again", provider=_name(kind))

    def _note_refused(self, registration: Registration, reason: str) -> None:
        """Suspend the provider if it refuses the credentials for all tokens, as far as it is known.

        Tokens to which no push was accepted say nothing: a user may register as many as liked that were made with
        other credentials, such as subscriptions of browsers with another VAPID key.
        """
        kind, users = registration.provider, self._refused_users[registration.provider]
        if registration.last_push_ms and len(users) < MIN_REFUSED_USERS:
            users.add(registration.user_id)
        if not registration.last_push_ms or len(users) < MIN_REFUSED_USERS:
            log.warning("credentials refused for a token", provider=_name(kind), reason=reason)
            return
        self._suspended_until[kind] = self._clock.monotonic() + SUSPENSION_S
        _SUSPENDED.labels(_name(kind)).set(1)
        log.error("provider suspended: it refuses the credentials", provider=_name(kind), reason=reason)

    async def _conclude(self, registration: Registration, outcome: Outcome) -> SendResult:
        match outcome:
            case Accepted(provider_id):
                self._log_accepted(registration, provider_id)
                self._times.note(registration)
                return SendResult(PushOutcome.ACCEPTED)
            case TokenGone(reason=reason) if outcome.applies_to(registration.register_ms):
                await self._remove(registration)
                return SendResult(PushOutcome.TOKEN_GONE, reason)
            case Rejected(reason):
                return SendResult(PushOutcome.FAILED, reason)
            case RetryLater(reason, delay_s):
                return SendResult(PushOutcome.RETRYING, reason, delay_s)
            case CredentialsRefused(reason):
                return SendResult(PushOutcome.RETRYING, reason, SUSPENSION_S)
            case TokenGone(reason=reason):
                # It was registered again since the provider found that.
                return SendResult(PushOutcome.RETRYING, reason)

    def _log_accepted(self, registration: Registration, provider_id: str) -> None:
        # The id of a Web Push is an address: who knows it may withdraw or read the push.
        shown = "" if registration.provider is ProviderKind.WEB_PUSH else provider_id
        log.debug("push accepted", provider=_name(registration.provider), provider_id=shown)

    async def _remove(self, registration: Registration) -> None:
        try:
            await self._tokens.delete_token(registration)
        except StoreUnavailable as failure:
            # The next push to the token removes it; the other pushes of this event are not repeated for that.
            log.info("token not removed", error=failure.message)


def _name(kind: ProviderKind) -> str:
    return kind.name.lower()
