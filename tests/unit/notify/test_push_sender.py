"""The sender of pushes: suspension of a provider, tokens that are gone, and times that are written behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from notify_service.delivery.push_times import WRITE_INTERVAL_S, PushTimes
from notify_service.delivery.sender import MIN_REFUSED_USERS, SUSPENSION_S, PushSender
from notify_service.model.decision import PushOutcome
from notify_service.model.push import (
    AUTH_SECRET_BYTES,
    PUBLIC_KEY_BYTES,
    Accepted,
    CredentialsRefused,
    EncryptionKey,
    FcmToken,
    Notification,
    Outcome,
    Push,
    PushToken,
    TokenGone,
    WebPushSubscription,
)
from notify_service.model.registration import ProviderKind, Registration
from notify_service.providers.recording import RecordingProvider
from servicekit.errors import StoreUnavailable
from tests.clock import ManualClock
from tests.eventually import run_ready

PHONE = Registration("a" * 32, "b" * 32, FcmToken("phone"), register_ms=100, last_push_ms=200)


class FailingTokens:
    """A store of tokens that does not answer while it is `down`."""

    def __init__(self) -> None:
        self.down = False
        self.deleted: list[Registration] = []
        self.times: dict[bytes, int] = {}

    async def delete_token(self, registration: Registration) -> None:
        if self.down:
            raise StoreUnavailable
        self.deleted.append(registration)

    async def note_pushes(self, accepted_ms: Mapping[bytes, int]) -> None:
        if self.down:
            raise StoreUnavailable
        self.times |= accepted_ms


class Sending:
    """A sender whose provider answers with `outcomes`, then accepts."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.clock = ManualClock()
        self.tokens = cast("Any", FailingTokens())
        self.times = PushTimes(self.tokens, self.clock)
        answers = iter(outcomes)

        def respond(token: PushToken, push: Push) -> Outcome:
            return next(answers, Accepted())

        self.provider = RecordingProvider(self.clock, respond=respond)
        self.sender = PushSender({ProviderKind.FCM: self.provider}, self.tokens, self.times, self.clock)

    async def send(self, seq: int = 5, device: Registration = PHONE) -> tuple[PushOutcome, float | None]:
        result = await self.sender.send(device, Notification("chat", "chat", seq, "t", "b"), self.clock.now_ms())
        return result.outcome, result.retry_s


def suspended() -> float:
    return REGISTRY.get_sample_value("parley_push_suspended", {"provider": "fcm"}) or 0.0


def devices_of_users(count: int, last_push_ms: int = 200) -> list[Registration]:
    return [
        Registration(f"{user:032}", "b" * 32, FcmToken(f"phone {user}"), last_push_ms=last_push_ms)
        for user in range(count)
    ]


async def test_provider_that_refuses_credentials_is_not_called_until_its_suspension_ends() -> None:
    sending = Sending(*[CredentialsRefused("expired")] * MIN_REFUSED_USERS)
    for device in devices_of_users(MIN_REFUSED_USERS):
        assert suspended() == 0
        assert await sending.send(device=device) == (PushOutcome.RETRYING, SUSPENSION_S)
    sending.clock.advance(SUSPENSION_S / 2)
    assert await sending.send() == (PushOutcome.RETRYING, SUSPENSION_S / 2)
    assert (len(sending.provider.pushes), suspended()) == (MIN_REFUSED_USERS, 1)
    sending.clock.advance(SUSPENSION_S / 2)
    assert await sending.send() == (PushOutcome.ACCEPTED, None)
    assert (len(sending.provider.pushes), suspended()) == (MIN_REFUSED_USERS + 1, 0)


async def test_provider_that_still_refuses_credentials_is_suspended_again_at_once() -> None:
    sending = Sending(*[CredentialsRefused("expired")] * (MIN_REFUSED_USERS + 1))
    for device in devices_of_users(MIN_REFUSED_USERS):
        await sending.send(device=device)
    sending.clock.advance(SUSPENSION_S)
    await sending.send()
    assert await sending.send() == (PushOutcome.RETRYING, SUSPENSION_S)
    assert (len(sending.provider.pushes), suspended()) == (MIN_REFUSED_USERS + 1, 1)


async def test_tokens_of_one_user_suspend_no_provider() -> None:
    attempts = MIN_REFUSED_USERS * 2
    sending = Sending(*[CredentialsRefused("another key")] * attempts)
    for seq in range(attempts):
        device = Registration("a" * 32, f"{seq:032}", FcmToken(f"phone {seq}"), last_push_ms=200)
        assert await sending.send(seq, device) == (PushOutcome.RETRYING, SUSPENSION_S)
    assert (len(sending.provider.pushes), suspended()) == (attempts, 0)
    assert await sending.send(device=devices_of_users(1)[0]) == (PushOutcome.ACCEPTED, None)


async def test_tokens_that_never_worked_suspend_no_provider() -> None:
    attempts = MIN_REFUSED_USERS * 2
    sending = Sending(*[CredentialsRefused("another key")] * attempts)
    for device in devices_of_users(attempts, last_push_ms=0):
        assert await sending.send(device=device) == (PushOutcome.RETRYING, SUSPENSION_S)
    assert suspended() == 0
    assert await sending.send() == (PushOutcome.ACCEPTED, None)


async def test_users_refused_before_an_acceptance_do_not_count() -> None:
    before, after = [[CredentialsRefused("another key")] * (MIN_REFUSED_USERS - 1) for _ in range(2)]
    sending = Sending(*before, Accepted(), *after)
    for device in devices_of_users(2 * MIN_REFUSED_USERS - 1):
        await sending.send(device=device)
    assert (len(sending.provider.pushes), suspended()) == (2 * MIN_REFUSED_USERS - 1, 0)


async def test_token_registered_since_the_provider_lost_it_stays() -> None:
    sending = Sending(TokenGone("410", since_ms=50), TokenGone("410", since_ms=150))
    assert await sending.send() == (PushOutcome.RETRYING, None)
    assert sending.tokens.deleted == []
    assert await sending.send() == (PushOutcome.TOKEN_GONE, None)
    assert sending.tokens.deleted == [PHONE]


async def test_store_that_is_down_makes_no_push_fail() -> None:
    sending = Sending(TokenGone("410"))
    sending.tokens.down = True
    assert await sending.send() == (PushOutcome.TOKEN_GONE, None)
    assert await sending.send() == (PushOutcome.ACCEPTED, None)


async def test_provider_that_the_deployment_no_longer_uses_fails_the_push() -> None:
    sending = Sending()
    sender = PushSender({}, sending.tokens, sending.times, sending.clock)
    result = await sender.send(PHONE, Notification("chat", "chat", 5, "t", "b"), 0)
    assert (result.outcome, len(sending.provider.pushes)) == (PushOutcome.FAILED, 0)


async def test_address_that_a_web_push_service_returns_is_not_logged() -> None:
    key = EncryptionKey(b"\x04" * PUBLIC_KEY_BYTES, b"a" * AUTH_SECRET_BYTES)
    browser = Registration("a" * 32, "b" * 32, WebPushSubscription("https://push.example.com/s", key))
    sending = Sending(Accepted("https://push.example.com/m/secret"), Accepted("projects/p/messages/7"))
    providers = dict.fromkeys(ProviderKind, sending.provider)
    sender = PushSender(providers, sending.tokens, sending.times, sending.clock)
    with capture_logs() as lines:
        for device in (browser, PHONE):
            await sender.send(device, Notification("chat", "chat", 5, "t", "b"), 0)
    ids = [line["provider_id"] for line in lines if line["event"] == "push accepted"]
    assert ids == ["", "projects/p/messages/7"]


async def test_times_of_pushes_are_written_once_a_second() -> None:
    sending = Sending()
    writing = asyncio.create_task(sending.times.run())
    await run_ready()
    for seq in range(5, 9):
        await sending.send(seq)
    assert sending.tokens.times == {}
    sending.clock.advance(WRITE_INTERVAL_S)
    await run_ready()
    assert sending.tokens.times == {PHONE.token_id: sending.clock.now_ms() - 1000}
    sending.tokens.down = True
    await sending.send(9)
    sending.clock.advance(WRITE_INTERVAL_S)
    await run_ready()
    assert not writing.done()
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
